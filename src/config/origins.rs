//! `ALLOWED_ORIGINS`: which pages may use this backend from a browser.

use super::variable::Variables;

/// Which pages may use this backend from a browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Pages of the same origin, and whatever is not a browser.
    SameOrigin,
    /// Every page.
    Any,
    /// Pages of these origins too.
    Listed(Vec<OriginPattern>),
}

/// One entry of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginPattern {
    /// This origin, as browsers send it, in lower case.
    Exact(String),
    /// Any host below a domain: `https://*.example.com`. In lower case.
    Below {
        /// Up to the star: `https://`.
        scheme: String,
        /// After the star: `.example.com`, with the port if there is one.
        domain: String,
    },
}

/// What a page in a file sends as its origin, or in a frame that has none of its own.
const NULL: &str = "null";
const FILE: &str = "file://";

impl Origins {
    /// Those that the variable names. An entry that is no origin is left out, and warned of.
    #[cold]
    #[inline(never)]
    pub(super) fn of(variables: Variables<'_>) -> Self {
        const NAME: &str = "ALLOWED_ORIGINS";
        let expected = "an origin such as 'https://app.example.com' or 'https://*.example.com', 'null' or 'file://', \
                        or '*' alone";
        if variables.trimmed(NAME).as_deref() == Some("*") {
            return Self::Any;
        }
        let listed = variables.list(NAME, expected, OriginPattern::parse);
        listed.map_or(Self::SameOrigin, Self::Listed)
    }
}

impl OriginPattern {
    /// Parses an entry, also as it stands in an address bar: with a slash behind it, or the port that browsers leave out.
    fn parse(entry: &str) -> Option<Self> {
        let entry = entry.to_ascii_lowercase();
        if entry == NULL {
            return Some(Self::Exact(entry));
        }
        let (scheme, host) = entry
            .split_once("://")
            .filter(|(scheme, _)| !scheme.is_empty())?;
        let host = host.strip_suffix('/').unwrap_or(host);
        if scheme == "file" && host.is_empty() {
            return Some(Self::Exact(FILE.to_owned()));
        }
        let usual_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => "",
        };
        let host = host.strip_suffix(usual_port).unwrap_or(host);
        let is_host = |host: &str| {
            let mut bytes = host.bytes();
            !host.is_empty()
                && bytes.all(|byte| byte.is_ascii_graphic() && !b"/*?#@\\".contains(&byte))
        };
        match host.strip_prefix('*') {
            None => is_host(host).then(|| Self::Exact(format!("{scheme}://{host}"))),
            Some(domain) => {
                let is_domain = domain.strip_prefix('.').is_some_and(is_host);
                is_domain.then(|| Self::Below {
                    scheme: format!("{scheme}://"),
                    domain: domain.to_owned(),
                })
            }
        }
    }
}

/// Whether an origin is that of one site, and not what any page may send that has none of its own.
#[must_use]
pub fn is_site(origin: &str) -> bool {
    let is = |other: &str| origin.eq_ignore_ascii_case(other);
    !is(NULL) && !is(FILE)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::super::variable::Warning;
    use super::*;

    fn parse(list: &str) -> (Origins, Vec<Warning>) {
        let warnings = RefCell::default();
        let origins = Origins::of(Variables::new(&|_| Some(list.to_owned()), &warnings));
        (origins, warnings.take())
    }

    #[test]
    fn origins_are_listed_as_people_write_them() {
        for (entry, origin) in [
            ("https://app.example.com", "https://app.example.com"),
            ("https://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://app.example.com:80/", "http://app.example.com"),
            ("https://app.example.com:80", "https://app.example.com:80"),
            (
                "https://app.example.com:8443/",
                "https://app.example.com:8443",
            ),
            ("http://[::1]:5173/", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
            ("null", "null"),
            ("NULL", "null"),
            ("file://", "file://"),
            ("file:///", "file://"),
        ] {
            let listed = Origins::Listed(vec![OriginPattern::Exact(origin.to_owned())]);
            assert_eq!(parse(entry), (listed, Vec::new()), "{entry}");
        }
        let below = OriginPattern::Below {
            scheme: "https://".to_owned(),
            domain: ".example.com".to_owned(),
        };
        for entry in ["https://*.example.com", "https://*.Example.com:443/"] {
            let listed = Origins::Listed(vec![below.clone()]);
            assert_eq!(parse(entry), (listed, Vec::new()), "{entry}");
        }
        assert_eq!(parse(" * "), (Origins::Any, Vec::new()));
        assert_eq!(parse("  "), (Origins::SameOrigin, Vec::new()));
    }

    #[test]
    fn an_entry_that_is_no_origin_is_named_and_the_others_count() {
        for entry in [
            "example.com",
            "*",
            "https://",
            "https:///",
            "https://*",
            "https://*example.com",
            "https://*.",
            "https://a/b",
            "https://a//",
            "https://a*.b",
            "https://user@a",
            "https://a b",
            "https://exämple.com",
            "://a",
            "file://a/b",
        ] {
            let (origins, warnings) = parse(&format!("https://a.io, {entry},null"));
            let good = ["https://a.io", "null"];
            let good = good.map(|origin| OriginPattern::Exact(origin.to_owned()));
            assert_eq!(origins, Origins::Listed(good.to_vec()), "{entry}");
            let [warning] = warnings.as_slice() else {
                panic!("{entry}: {warnings:?}");
            };
            assert_eq!(warning.name, "ALLOWED_ORIGINS");
            let start = format!("ALLOWED_ORIGINS has '{entry}', which is left out: ");
            assert!(warning.message.starts_with(&start), "{}", warning.message);
            assert_eq!(warning.in_force.as_deref(), Some("https://a.io,null"));
        }
        // Where nothing else is listed, no foreign page is let in.
        let (origins, warnings) = parse("a, b");
        assert_eq!(origins, Origins::Listed(Vec::new()));
        let names = warnings.iter().map(|warning| &warning.in_force);
        assert_eq!(names.collect::<Vec<_>>(), [&None, &None]);
    }

    #[test]
    fn what_many_pages_send_is_the_origin_of_no_site() {
        assert!(is_site("https://app.example.com"));
        assert!(!is_site("null") && !is_site("file://"));
    }
}
