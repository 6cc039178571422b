//! The members of a JSON object: a token's header, its claims, a set of keys.
//!
//! Values stay text until someone asks for them. An object in which a name stands twice is refused,
//! because two readers could take it for two things. *Source*: RFC 7515 section 4, RFC 7519 section 4.

use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::json;
use crate::limits::JSON_MEMBERS_MAX;

/// The names of an object and the JSON of their values.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Distinct;

        impl<'de> Visitor<'de> for Distinct {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members(Vec::new());
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.0.len() == JSON_MEMBERS_MAX || members.raw(&name).is_some() {
                        return Err(A::Error::custom("a name twice, or too many"));
                    }
                    members.0.push((name, value));
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Distinct)
    }
}

impl<'a> Members<'a> {
    /// The object in `text`, or `None` if it is none, has a name twice or too many of them.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| *value)
    }

    /// Whether there is a member of this name, whatever it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A member of a type; `None` when there is none, or it is something else.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.raw(name)?.get()).ok()
    }

    /// A member that is a text, or a list of nothing else.
    pub(super) fn texts(&self, name: &str) -> Option<Vec<String>> {
        let one = self.get(name).map(|text| vec![text]);
        one.or_else(|| self.get(name))
    }

    /// A thousand times a member that is a number, without its fraction. Read digit by digit, for a moment is
    /// not to be a little early or late, nor beyond what there is.
    pub(super) fn thousandths(&self, name: &str) -> Option<i64> {
        json::truncated(self.raw(name)?.get(), 3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_name_however_it_is_written() {
        let members = Members::parse(r#" {"a":1, "\u0062" : "x", "c":[ 2 ]} "#).unwrap();
        assert_eq!(members.get::<u8>("a"), Some(1));
        assert_eq!(members.get::<String>("b").as_deref(), Some("x"));
        assert_eq!(members.get::<Vec<u8>>("c"), Some(vec![2]));
        assert_eq!(members.get::<String>("d"), None);
        assert_eq!(members.get::<String>("a"), None);
        assert!(members.has("a") && !members.has("d"));
    }

    #[test]
    fn what_is_no_object_with_distinct_names_is_refused() {
        for text in [
            "",
            "null",
            "1",
            r#""a""#,
            "[]",
            r#"[["a",1]]"#,
            "{",
            r#"{"a":1}x"#,
            r#"{"a":1}{}"#,
            r#"{"a":1,}"#,
            "{a:1}",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":2,"\u0061":1}"#,
            r#"{"\ud800":1}"#,
        ] {
            assert!(Members::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn an_object_may_have_so_many_members_and_no_more() {
        let object = |count: usize| {
            let members: Vec<String> = (0..count).map(|name| format!("\"{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        assert!(Members::parse(&object(JSON_MEMBERS_MAX)).is_some());
        assert!(Members::parse(&object(JSON_MEMBERS_MAX + 1)).is_none());
    }

    #[test]
    fn texts_are_one_or_a_list_of_them() {
        let texts = |json: &str| {
            let text = format!(r#"{{"a":{json}}}"#);
            let texts = Members::parse(&text).unwrap().texts("a");
            texts.map(|texts| texts.join("|"))
        };
        assert_eq!(texts(r#""a""#).as_deref(), Some("a"));
        assert_eq!(texts(r#"["a", "b"]"#).as_deref(), Some("a|b"));
        assert_eq!(texts("[]").as_deref(), Some(""));
        for json in ["1", "null", "true", "{}", r#"["a",1]"#, r#"[["a"]]"#] {
            assert_eq!(texts(json), None, "{json}");
        }
        assert_eq!(Members::parse("{}").unwrap().texts("a"), None);
    }

    #[test]
    fn a_moment_is_read_digit_by_digit() {
        for (json, expected) in [
            ("1700000000.001", Some(1_700_000_000_001)),
            ("1699999999.999", Some(1_699_999_999_999)),
            ("1e400", Some(i64::MAX)),
            ("-1e400", Some(i64::MIN)),
            ("\"1\"", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"exp":{json}}}"#);
            let members = Members::parse(&text).unwrap();
            assert_eq!(members.thousandths("exp"), expected, "{json}");
        }
    }

    #[test]
    fn nesting_without_end_is_read_without_harm() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        let members = Members::parse(&text).unwrap();
        assert!(members.has("a"));
        assert!(members.texts("a").is_none());
    }
}
