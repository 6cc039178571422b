//! `DEV_HOSTS`: where else than on localhost a development server is reached.

use super::variable::Variables;

/// The hosts of a development server beside localhost: an address on the local network, the name of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevHosts(Vec<HostPattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPattern {
    /// This host, in lower case.
    Exact(String),
    /// Any below a domain, which begins with a dot.
    Below(String),
}

impl DevHosts {
    /// Those that the variable names. An entry that is no host is left out, and warned of.
    pub(super) fn of(variables: Variables<'_>) -> Self {
        let expected = "a host such as '192.168.0.2', 'my-phone.local' or '*.trycloudflare.com'";
        let hosts = variables.list("DEV_HOSTS", expected, HostPattern::parse);
        Self(hosts.unwrap_or_default())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a host, in lower case and without a port, is one of them.
    #[must_use]
    pub fn has(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            HostPattern::Exact(exact) => exact == host,
            HostPattern::Below(domain) => host
                .strip_suffix(domain.as_str())
                .is_some_and(|label| !label.is_empty()),
        })
    }
}

impl HostPattern {
    /// Parses an entry. A port behind it does not count.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        let host = match entry.rsplit_once(':') {
            Some((host, port)) if !entry.ends_with(']') => {
                port.parse::<u16>().ok().map(|_| host)?
            }
            _ => &entry,
        };
        let is_name = |name: &str| {
            let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            !name.is_empty() && !name.starts_with('.') && name.bytes().all(is_of_name)
        };
        if let Some(domain) = host.strip_prefix('*') {
            let is_domain = domain.strip_prefix('.').is_some_and(is_name);
            return is_domain.then(|| Self::Below(domain.to_owned()));
        }
        let of_brackets = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let is_of_address = |byte: u8| byte.is_ascii_hexdigit() || b":.".contains(&byte);
        let is_address =
            of_brackets.is_some_and(|host| host.contains(':') && host.bytes().all(is_of_address));
        (is_address || is_name(host)).then(|| Self::Exact(host.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::variable::Warning;
    use super::*;

    fn parse(list: &str) -> (DevHosts, Vec<Warning>) {
        let warnings = RefCell::default();
        let hosts = DevHosts::of(Variables::new(&|_| Some(list.to_owned()), &warnings));
        (hosts, warnings.take())
    }

    #[test]
    fn hosts_are_those_that_are_listed_and_no_others() {
        let (hosts, warnings) =
            parse("192.168.0.2, My-Mac.local:8787, *.trycloudflare.com, [fe80::1]");
        assert_eq!(warnings, []);
        for (host, is_listed) in [
            ("192.168.0.2", true),
            ("my-mac.local", true),
            ("some-words.trycloudflare.com", true),
            ("[fe80::1]", true),
            ("192.168.0.20", false),
            ("trycloudflare.com", false),
            (".trycloudflare.com", false),
            ("eviltrycloudflare.com", false),
            ("other.my-mac.local", false),
            ("localhost", false),
            ("", false),
        ] {
            assert_eq!(hosts.has(host), is_listed, "{host}");
        }
        let (none, _) = parse("");
        assert!(none.is_empty() && !none.has(""));
    }

    #[test]
    fn what_is_no_host_is_named_and_lets_nobody_in() {
        for entry in [
            "*",
            "*.",
            "*com",
            "a.*",
            "**.com",
            "http://192.168.0.2",
            "a/b",
            "a b",
            "a:b",
            "a:70000",
            ":8787",
            ".local",
            "[a]",
            "::1",
        ] {
            let (hosts, warnings) = parse(entry);
            assert!(hosts.is_empty(), "{entry}");
            let [warning] = warnings.as_slice() else {
                panic!("{entry}: {warnings:?}");
            };
            let start = format!("DEV_HOSTS has '{entry}', which is left out: ");
            assert!(warning.message.starts_with(&start), "{}", warning.message);
        }
    }
}
