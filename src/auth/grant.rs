//! What the auth step verified, which is all that stays with a connection.
//!
//! *Shape*: as JSON `{"access":"write","claims":{...},"expiresAtMs":1700000000000,"headers":{...}}`; what
//! there is none of is absent, `access` is `write` or `read`. It travels from the
//! Worker to the object in a header and is kept with the socket. Refuses to know the token.

use crate::json::{self, JsonError, Kind, Reader, push_quoted};

/// What a connection may do, and until when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The verified claims as the text of a JSON object, never the token; `None` without a JWT.
    pub claims: Option<String>,
    /// What it may do.
    pub access: Access,
    /// When it ends: the token's `exp` plus `JWT_GRACE_SECONDS`. *Units*: milliseconds since the epoch,
    /// at most 2^53 - 1. `None` when it does not end.
    pub expires_at_ms: Option<u64>,
    /// Request headers that hooks asked for: names in lower case, and values.
    pub headers: Vec<(String, String)>,
}

/// What a connection may do with the events of its store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Access {
    /// Pull and push.
    #[default]
    ReadWrite,
    /// Pull only.
    ReadOnly,
}

impl Grant {
    /// Whether it has ended. The moment it ends at is no longer part of it.
    #[must_use]
    pub fn is_expired(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_some_and(|end| now_ms >= end)
    }

    /// The grant as JSON.
    #[must_use]
    #[inline(never)]
    pub fn json(&self) -> String {
        let access = match self.access {
            Access::ReadWrite => "write",
            Access::ReadOnly => "read",
        };
        let mut json = format!(r#"{{"access":"{access}""#);
        if let Some(claims) = &self.claims {
            json.push_str(r#","claims":"#);
            json.push_str(claims);
        }
        if let Some(expires_at_ms) = self.expires_at_ms {
            json.push_str(r#","expiresAtMs":"#);
            json.push_str(&expires_at_ms.to_string());
        }
        let mut before = r#","headers":{"#;
        for (name, value) in &self.headers {
            json.push_str(before);
            push_quoted(name, &mut json);
            json.push(':');
            push_quoted(value, &mut json);
            before = ",";
        }
        json.push_str(if self.headers.is_empty() { "}" } else { "}}" });
        json
    }

    /// Reads what [`Grant::json`] wrote.
    ///
    /// # Errors
    /// When it is something else.
    #[inline(never)]
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, JsonError> {
        let (mut grant, mut access) = (Self::default(), None);
        let start = reader.clone();
        reader.object(|reader, key| {
            match key {
                "access" => access = Some(reader.string()?),
                "claims" => {
                    if reader.kind()? != Kind::Object {
                        return Err(reader.shape("claims are an object"));
                    }
                    grant.claims = Some(reader.raw()?.to_owned());
                }
                "expiresAtMs" => {
                    let Ok(expires_at_ms) = u64::try_from(reader.integer()?) else {
                        return Err(reader.shape("a time was expected"));
                    };
                    grant.expires_at_ms = Some(expires_at_ms);
                }
                "headers" => reader.object(|reader, name| {
                    let value = reader.string()?.into_owned();
                    grant.headers.push((name.to_owned(), value));
                    Ok(())
                })?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        grant.access = match access.as_deref() {
            Some("write") => Access::ReadWrite,
            Some("read") => Access::ReadOnly,
            _ => return Err(start.shape("access is 'write' or 'read'")),
        };
        Ok(grant)
    }

    /// The grant as JSON that may stand in a header: printable ASCII, everything else escaped.
    #[must_use]
    pub fn to_header(&self) -> String {
        let json = self.json();
        let mut header = String::with_capacity(json.len());
        for letter in json.chars() {
            match letter {
                ' '..='~' => header.push(letter),
                // Outside of strings JSON has white space, and within them no control characters.
                '\0'..' ' => header.push(' '),
                _ => {
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        header.push_str("\\u");
                        for shift in [12, 8, 4, 0] {
                            let digit = u32::from(*unit >> shift & 15);
                            header.push(char::from_digit(digit, 16).unwrap_or('0'));
                        }
                    }
                }
            }
        }
        header
    }

    /// The grant in a header that [`Grant::to_header`] wrote. Claims that were not ASCII come back
    /// escaped, which means the same.
    #[must_use]
    pub fn from_header(header: &str) -> Option<Self> {
        json::read(header, Self::read).ok()
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

    fn is_header_safe(header: &str) -> bool {
        header.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }

    #[test]
    fn the_default_may_everything_forever() {
        let grant = Grant::default();
        assert_eq!(grant.access, Access::ReadWrite);
        assert!(!grant.is_expired(u64::MAX));
        assert_eq!(grant.to_header(), r#"{"access":"write"}"#);
        assert_eq!(Grant::from_header(r#"{"access":"write"}"#), Some(grant));
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
        let header = grant.to_header();
        assert_eq!(
            header,
            r#"{"access":"read","claims":{"sub":"a", "n":1.50},"expiresAtMs":1700000000000}"#
        );
        assert_eq!(Grant::from_header(&header), Some(grant.clone()));
        assert_eq!(grant.json(), header);
    }

    #[test]
    fn a_header_is_ascii_on_one_line() {
        let grant = grant("{\r\n\t\"name\":\"Zoë 日本 🎉\u{7f}\\n\",\"é\":1}");
        let header = grant.to_header();
        assert!(is_header_safe(&header), "{header}");
        let escaped = r#"{   "name":"Zo\u00eb \u65e5\u672c \ud83c\udf89\u007f\n","\u00e9":1}"#;
        assert!(header.contains(escaped), "{header}");
        let back = Grant::from_header(&header).unwrap();
        let value = |claims: Option<String>| -> serde_json::Value {
            serde_json::from_str(&claims.unwrap()).unwrap()
        };
        assert_eq!(value(back.claims.clone()), value(grant.claims.clone()));
        assert_eq!(back.to_header(), header);
    }

    #[test]
    fn claims_that_are_no_json_make_a_header_that_nobody_reads() {
        for claims in ["", "{", "{} {}", "\n"] {
            assert_eq!(
                Grant::from_header(&grant(claims).to_header()),
                None,
                "{claims}"
            );
        }
        assert_eq!(Grant::from_header(&grant("[]").to_header()), None);
        assert_eq!(Grant::from_header(""), None);
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
            r#"[{"a":1},"write",null]"#,
        ] {
            assert_eq!(Grant::from_header(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_claims_come_back_from_a_header(name in any::<String>(), value in any::<String>(), end in 0..=TIME_MS_MAX) {
            let claims = serde_json::json!({ name.clone(): value.clone() });
            let headers = vec![(name, value)];
            let grant = Grant { expires_at_ms: Some(end), headers, ..grant(&claims.to_string()) };
            let header = grant.to_header();
            prop_assert!(is_header_safe(&header));
            let back = Grant::from_header(&header).unwrap();
            let read: serde_json::Value = serde_json::from_str(&back.claims.clone().unwrap()).unwrap();
            prop_assert_eq!(read, claims);
            prop_assert_eq!((back.access, back.expires_at_ms), (grant.access, grant.expires_at_ms));
            prop_assert_eq!(back.headers, grant.headers);
        }

        #[test]
        fn no_header_does_harm(header in any::<String>()) {
            let _ = Grant::from_header(&header);
        }
    }
}
