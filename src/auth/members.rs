//! The members of a JSON object: a token's header, its claims, a key.
//!
//! Values stay text until someone asks for them. An object in which a name stands twice is refused,
//! because two readers could take it for two things. *Source*: RFC 7515 section 4, RFC 7519 section 4.

use std::borrow::Cow;

use crate::json::{self, Reader};
use crate::limits::JSON_MEMBERS_MAX;

/// The names of an object and the JSON text of their values.
pub(super) struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// The object in `text`, or `None` if it is none, has a name twice or too many of them.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let mut members = Self(Vec::new());
        let read = json::read(text, |reader| {
            reader.object(|reader, name| {
                if members.0.len() == JSON_MEMBERS_MAX || members.get(name).is_some() {
                    return Err(reader.shape("a name twice, or too many"));
                }
                members.0.push((name.to_owned(), reader.raw()?));
                Ok(())
            })
        });
        read.ok().map(|()| members)
    }

    /// The JSON text of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| *value)
    }

    /// A member that is a string.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        self.get(name).and_then(string)
    }
}

/// The string in `json`.
pub(super) fn string(json: &str) -> Option<String> {
    json::read(json, Reader::string).ok().map(Cow::into_owned)
}

/// The JSON texts of the elements of the array in `json`.
pub(super) fn elements(json: &str) -> Option<Vec<&str>> {
    let mut elements = Vec::new();
    let read = json::read(json, |reader| {
        reader.array(|reader| {
            elements.push(reader.raw()?);
            Ok(())
        })
    });
    read.ok().map(|()| elements)
}

/// A thousand times the number in `json`, without its fraction.
pub(super) fn thousandths(json: &str) -> Option<i64> {
    json::read(json, |reader| reader.truncated(3)).ok()
}

/// The strings in `json`, which is a string or an array of nothing else.
pub(super) fn strings(json: &str) -> Option<Vec<String>> {
    let texts = elements(json).unwrap_or_else(|| vec![json]);
    texts.into_iter().map(string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_name_however_it_is_written() {
        let members = Members::parse(r#" {"a":1, "\u0062" : "x", "c":[ 2 ]} "#).unwrap();
        assert_eq!(members.get("a"), Some("1"));
        assert_eq!(members.string("b").as_deref(), Some("x"));
        assert_eq!(members.get("c"), Some("[ 2 ]"));
        assert_eq!(members.get("d"), None);
        assert_eq!(members.string("a"), None);
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
    fn strings_are_one_or_an_array_of_them() {
        let texts = |json| strings(json).map(|texts| texts.join("|"));
        assert_eq!(texts(r#""a""#).as_deref(), Some("a"));
        assert_eq!(texts(r#"["a", "b"]"#).as_deref(), Some("a|b"));
        assert_eq!(texts("[]").as_deref(), Some(""));
        for json in ["1", "null", "true", "{}", r#"["a",1]"#, r#"[["a"]]"#] {
            assert_eq!(texts(json), None, "{json}");
        }
    }

    #[test]
    fn nesting_without_end_is_read_without_harm() {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Members::parse(&text).is_some_and(|members| {
            members
                .get("a")
                .is_some_and(|value| strings(value).is_none())
        }));
    }
}
