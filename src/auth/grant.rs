//! What the auth step verified, which is all that stays with a connection.
//!
//! *Shape*: as JSON `{"access":"write","claims":{...},"expiresAtMs":1700000000000,"payload":...,"headers":{...}}`;
//! what there is none of is absent, `access` is `write` or `read`. It travels from the
//! Worker to the object in a header and is kept with the socket. The payload, which may hold a token, is in it only
//! where hooks want to see it.

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
    /// The sync payload as JSON text, if hooks asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "payload")]
    pub payload: Option<String>,
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
    /// Pull only, as an operator who looks on: no hook is asked, and nobody is kept waiting or alive for it. No token
    /// grants it.
    #[serde(rename = "inspect")]
    Inspect,
}

impl Grant {
    /// That of an operator who looks on.
    #[must_use]
    pub fn inspector() -> Self {
        Self {
            access: Access::Inspect,
            ..Self::default()
        }
    }

    /// Whom its token names, the claim `sub`, as JSON text.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        let mut subject = None;
        let read = json::read(self.claims.as_deref()?, |value| {
            value.object(|value, key| {
                if key == "sub" {
                    subject = Some(value.raw()?);
                }
                Ok(())
            })
        });
        read.ok().and(subject)
    }

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

    /// Adds headers that are the members of a JSON object; none where `json` is anything else.
    pub fn add_headers(&mut self, json: &str) {
        #[derive(Deserialize)]
        #[serde(transparent)]
        struct Added(#[serde(with = "headers")] headers::Headers);

        if let Ok(Added(added)) = serde_json::from_str(json) {
            self.headers.extend(added);
        }
    }

    /// What [`Grant::json`] wrote.
    #[must_use]
    #[inline(never)]
    pub fn from_json(text: &str) -> Option<Self> {
        json::object(text).ok()
    }
}

/// A payload stands in JSON as it was sent.
mod payload {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, ser};
    use serde_json::value::RawValue;

    #[allow(clippy::ref_option)] // `serde` gives it so.
    pub(super) fn serialize<S: Serializer>(
        json: &Option<String>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let json = json.as_deref().map(serde_json::from_str::<&RawValue>);
        let json = json.transpose().map_err(ser::Error::custom)?;
        json.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        Ok(Some(json.to_owned()))
    }
}

/// Claims stand in JSON as they were signed.
mod claims {
    use serde::Deserializer;
    use serde::de::Error as _;

    use super::payload;
    pub(super) use super::payload::serialize;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<String>, D::Error> {
        let claims = payload::deserialize(deserializer)?;
        if !claims
            .as_ref()
            .is_some_and(|claims| claims.starts_with('{'))
        {
            return Err(D::Error::custom("claims are an object"));
        }
        Ok(claims)
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
            ..Grant::default()
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
    fn headers_are_added_in_their_order() {
        let mut grant = Grant::default();
        grant.add_headers(r#"{"x-b":"1","x-a":"\""}"#);
        grant.add_headers(r#"{"x-c":""}"#);
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let added = [header("x-b", "1"), header("x-a", "\""), header("x-c", "")];
        assert_eq!(grant.headers, added);
        for no_headers in ["", "[]", r#"{"a":1}"#, "null"] {
            grant.add_headers(no_headers);
        }
        assert_eq!(grant.headers, added);
    }

    #[test]
    fn a_payload_is_embedded_as_it_is() {
        for payload in [r#"{"authToken": "\u0061"}"#, "null", "\"a\"", "[1,\t2]"] {
            let grant = Grant {
                payload: Some(payload.to_owned()),
                headers: vec![("a".to_owned(), "b".to_owned())],
                ..grant("{}")
            };
            let json = grant.json();
            let expected = format!(
                r#"{{"access":"read","claims":{{}},"expiresAtMs":1700000000000,"payload":{payload},"headers":{{"a":"b"}}}}"#
            );
            assert_eq!(json, expected);
            assert_eq!(Grant::from_json(&json).as_ref(), Some(&grant));
        }
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
