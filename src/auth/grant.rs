//! What the auth step verified, which is all that stays with a connection.
//!
//! *Shape*: as JSON `{"access":"write","claims":{...},"expiresAtMs":1700000000000,"headers":{...}}`; what
//! there is none of is absent, `access` is `write` or `read`. It travels from the
//! Worker to the object in a header and is kept with the socket. Refuses to know the token.

use serde::{Deserialize, Serialize};

use crate::json;

/// What a connection may do, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    /// What it may do.
    pub access: Access,
    /// The verified claims as the text of a JSON object, never the token; `None` without a JWT.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "claims")]
    pub claims: Option<String>,
    /// When it ends: the token's `exp` plus `JWT_GRACE_SECONDS`. *Units*: milliseconds since the epoch,
    /// at most 2^53 - 1. `None` when it does not end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// Request headers that hooks asked for: names in lower case, and values.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "headers")]
    pub headers: Vec<(String, String)>,
}

/// What a connection may do with the events of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Pull and push.
    #[default]
    #[serde(rename = "write")]
    ReadWrite,
    /// Pull only.
    #[serde(rename = "read")]
    ReadOnly,
}

impl Grant {
    /// Whether it has ended. The moment it ends at is no longer part of it.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| now_ms >= end)
    }

    /// The grant as JSON; nothing when its claims are none.
    #[must_use]
    #[inline(never)]
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Bytes of it as a connection keeps it: in ASCII.
    #[must_use]
    pub fn ascii_bytes(&self) -> usize {
        json::to_ascii(self.json()).len()
    }

    /// What [`Grant::json`] wrote.
    #[must_use]
    #[inline(never)]
    pub fn from_json(text: &str) -> Option<Self> {
        json::object(text)
    }
}

/// Claims stand in JSON as they were signed.
mod claims {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, ser};
    use serde_json::value::RawValue;

    #[allow(clippy::ref_option)] // `serde` gives it so.
    pub(super) fn serialize<S: Serializer>(
        claims: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let claims = claims.as_deref().map(serde_json::from_str::<&RawValue>);
        let claims = claims.transpose().map_err(ser::Error::custom)?;
        claims.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let claims = <&RawValue>::deserialize(deserializer)?.get();
        if !claims.starts_with('{') {
            return Err(D::Error::custom("claims are an object"));
        }
        Ok(Some(claims.to_owned()))
    }
}

/// Headers stand in JSON as the members of an object.
mod headers {
    use std::fmt;

    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};

    pub(super) type Headers = Vec<(String, String)>;

    pub(super) fn serialize<S: Serializer>(
        headers: &Headers,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(headers.iter().map(|(name, value)| (name, value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Headers, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Headers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("names and values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Headers, A::Error> {
                let mut headers = Vec::new();
                while let Some(header) = map.next_entry()? {
                    headers.push(header);
                }
                Ok(headers)
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::TIME_MS_MAX;

    fn grant(claims: &str) -> Grant {
        Grant {
            claims: Some(claims.to_owned()),
            access: Access::ReadOnly,
            expires_at_ms: Some(1_700_000_000_000),
            headers: Vec::new(),
        }
    }

    #[test]
    fn the_default_may_everything_forever() {
        let grant = Grant::default();
        assert_eq!(grant.access, Access::ReadWrite);
        assert!(!grant.is_expired(u64::MAX));
        assert_eq!(grant.json(), r#"{"access":"write"}"#);
        assert_eq!(Grant::from_json(r#"{"access":"write"}"#), Some(grant));
    }

    #[test]
    fn the_end_is_not_part_of_it() {
        let grant = grant("{}");
        for (now_ms, is_expired) in [
            (0, false),
            (1_699_999_999_999, false),
            (1_700_000_000_000, true),
            (u64::MAX, true),
        ] {
            assert_eq!(grant.is_expired(now_ms), is_expired, "{now_ms}");
        }
    }

    #[test]
    fn claims_are_embedded_as_they_are() {
        let grant = grant(r#"{"sub":"a", "n":1.50}"#);
        let json = grant.json();
        assert_eq!(
            json,
            r#"{"access":"read","claims":{"sub":"a", "n":1.50},"expiresAtMs":1700000000000}"#
        );
        assert_eq!(Grant::from_json(&json), Some(grant));
    }

    #[test]
    fn forwarded_headers_are_members_in_their_order() {
        let mut grant = Grant::default();
        for name in ["x-b", "x-a"] {
            grant.headers.push((name.to_owned(), "\"".to_owned()));
        }
        let json = grant.json();
        assert_eq!(
            json,
            r#"{"access":"write","headers":{"x-b":"\"","x-a":"\""}}"#
        );
        assert_eq!(Grant::from_json(&json), Some(grant));
    }

    #[test]
    fn claims_that_are_no_object_make_a_grant_that_nobody_reads() {
        for claims in ["", "{", "{} {}", "\n", "[]", "null"] {
            assert_eq!(Grant::from_json(&grant(claims).json()), None, "{claims}");
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for header in [
            "null",
            "{}",
            r#"{"claims":{}}"#,
            r#"{"access":null}"#,
            r#"{"access":"admin"}"#,
            r#"{"access":"ReadWrite"}"#,
            r#"{"access":"write","claims":"{}"}"#,
            r#"{"access":"write","claims":[]}"#,
            r#"{"access":"write","claims":7}"#,
            r#"{"access":"write","expiresAtMs":-1}"#,
            r#"{"access":"write","expiresAtMs":1.5}"#,
            r#"{"access":"write","expiresAtMs":"1"}"#,
            r#"{"access":"write"} {}"#,
            r#"{"access":"write","access":"read"}"#,
            r#"{"access":"write","claims":null}"#,
            r#"{"access":"write","headers":[["a","b"]]}"#,
            r#"[{"a":1},"write",null]"#,
        ] {
            assert_eq!(Grant::from_json(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_claims_come_back(name in any::<String>(), value in any::<String>(), end in 0..=TIME_MS_MAX) {
            let claims = serde_json::json!({ name.clone(): value.clone() });
            let headers = vec![(name, value)];
            let grant = Grant { expires_at_ms: Some(end), headers, ..grant(&claims.to_string()) };
            let back = Grant::from_json(&grant.json()).unwrap();
            let read: serde_json::Value = serde_json::from_str(&back.claims.clone().unwrap()).unwrap();
            prop_assert_eq!(read, claims);
            prop_assert_eq!((back.access, back.expires_at_ms), (grant.access, grant.expires_at_ms));
            prop_assert_eq!(back.headers, grant.headers);
        }

        #[test]
        fn no_text_does_harm(text in any::<String>()) {
            let _ = Grant::from_json(&text);
        }
    }
}
