//! The cookie in which a token is looked for.

/// What a browser lets nobody set but the host itself, over https, and what it lets nobody set but over https.
/// *Source*: RFC 6265bis section 4.1.3. The stricter one comes first.
const PREFIXES: [&str; 2] = ["__Host-", "__Secure-"];

/// The name of a cookie. A cookie of this name behind `__Host-` or `__Secure-` is meant as well, and goes before the other: libraries
/// put these before the names that they are told as soon as an app is served over https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookieName(String);

impl Default for CookieName {
    fn default() -> Self {
        Self(Self::DEFAULT.to_owned())
    }
}

impl CookieName {
    /// The one that is looked for where nothing else is said.
    pub const DEFAULT: &'static str = "authToken";

    /// A name; `None` if it is none. *Source*: RFC 6265 section 4.1.1, a token of HTTP.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let is_of_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        (!name.is_empty() && name.bytes().all(is_of_token)).then(|| Self(name.to_owned()))
    }

    /// The value of the cookie in a header `Cookie`, without the quotes that may be around it.
    pub(super) fn find<'a>(&self, cookies: &'a str) -> Option<&'a str> {
        let value_of = |prefix: &str| {
            let mut pairs = cookies.split(';').filter_map(|pair| pair.split_once('='));
            let is_named = |name: &str| name.trim().strip_prefix(prefix) == Some(self.0.as_str());
            let (_, value) = pairs.find(|(name, _)| is_named(name))?;
            Some(value.trim().trim_matches('"'))
        };
        let strict = PREFIXES.into_iter().find_map(value_of);
        strict.or_else(|| value_of(""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_browsers_send() {
        for name in [
            "authToken",
            "better-auth.session_data",
            "__Secure-better-auth.session_data",
            "__Host-session",
            "a",
        ] {
            assert_eq!(CookieName::new(name), Some(CookieName(name.to_owned())));
        }
        for name in ["", "a b", "a=b", "a;b", "a,b", "\"a\"", "(a)", "k\u{fc}che"] {
            assert_eq!(CookieName::new(name), None, "{name}");
        }
    }

    #[test]
    fn a_cookie_is_found_by_its_name_and_behind_the_prefixes_of_browsers() {
        let find = |name, cookies| CookieName::new(name).unwrap().find(cookies);
        for (cookies, expected) in [
            ("s=1", Some("1")),
            ("a=b; s=\"1\" ;c=d", Some("1")),
            ("s=a=b", Some("a=b")),
            ("s=", Some("")),
            ("s=1; s=2", Some("1")),
            ("__Secure-s=1", Some("1")),
            ("__Host-s=1", Some("1")),
            ("s=1; __Secure-s=2", Some("2")),
            ("s=1; __Secure-s=2; __Host-s=3", Some("3")),
            ("__Secure-__Host-s=1", None),
            ("__secure-s=1", None),
            ("S=1", None),
            ("xs=1", None),
            ("s", None),
            ("", None),
        ] {
            assert_eq!(find("s", cookies), expected, "{cookies}");
        }
        // One that is named with its prefix is no other.
        assert_eq!(find("__Host-s", "s=1; __Secure-s=2; __Host-s=3"), Some("3"));
        assert_eq!(find("__Host-s", "s=1; __Secure-s=2"), None);
    }
}
