//! The query of a sync request, and the door it leads to.

use std::borrow::Cow;

use crate::event::StoreId;
use crate::json;
use crate::wire::Family;

/// The query of a sync request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncQuery {
    /// The store.
    pub store_id: StoreId,
    /// `transport`, absent for 0.3 clients.
    pub transport: Option<String>,
    /// The sync payload as JSON text.
    pub payload: Option<String>,
}

/// Why a query is not that of a sync request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// `storeId` is missing or stands there twice.
    StoreId,
    /// `payload` is not JSON, encoded twice.
    Payload,
}

impl SyncQuery {
    /// Parses a query. `payload` is JSON that was encoded as a URI component and then as a form value,
    /// the way every client sends it.
    ///
    /// # Errors
    /// The parameter that does not fit.
    pub fn parse(query: &str) -> Result<Self, QueryError> {
        let one = |name: &str| {
            let mut values =
                form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == name);
            let first = values.next().map(|(_, value)| value);
            (first, values.next().is_some())
        };
        let (Some(store_id), false) = one("storeId") else {
            return Err(QueryError::StoreId);
        };
        let payload = match one("payload") {
            (None, _) => None,
            (Some(encoded), false) => Some(decode_payload(&encoded).ok_or(QueryError::Payload)?),
            (Some(_), true) => return Err(QueryError::Payload),
        };
        let transport = one("transport").0.map(Cow::into_owned);
        Ok(Self {
            store_id: StoreId::new(store_id),
            transport,
            payload,
        })
    }
}

/// `decodeURIComponent`, then a check that it is JSON.
fn decode_payload(encoded: &str) -> Option<String> {
    let is_encoded = encoded.split('%').skip(1).all(|after| {
        let mut digits = after.bytes().take(2);
        digits.len() == 2 && digits.all(|digit| digit.is_ascii_hexdigit())
    });
    if !is_encoded {
        return None;
    }
    let json = percent_encoding::percent_decode_str(encoded)
        .decode_utf8()
        .ok()?;
    json::is_valid(&json).then(|| json.into_owned())
}

/// The door by which a sync request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// A socket of this family.
    Socket(Family),
    /// One request over HTTP.
    Http,
}

/// Which door a path and query lead to, `None` when to none.
#[must_use]
pub fn door_of(path: &str, transport: Option<&str>) -> Option<Door> {
    match transport {
        None if path.ends_with("/websocket") => Some(Door::Socket(Family::Plain)),
        Some("ws") => Some(Door::Socket(Family::Rpc)),
        Some("http") => Some(Door::Http),
        _ => None,
    }
}

/// The store that a request in a list names, for an object that was not addressed by a name.
#[must_use]
pub fn store_in(requests: &str) -> Option<StoreId> {
    let mut found = None;
    let read = json::read(requests, |reader| {
        reader.array(|reader| {
            reader.object(|reader, key| {
                if key != "payload" {
                    return reader.skip();
                }
                reader.object(|reader, key| {
                    if key != "storeId" {
                        return reader.skip();
                    }
                    found.get_or_insert(StoreId::new(reader.string()?));
                    Ok(())
                })
            })
        })
    });
    read.ok().and(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_decoded_twice_and_once_encoded_ones_work_without_percent_signs() {
        let cases = [
            ("%257B%2522a%2522%253A1%257D", Some(r#"{"a":1}"#)),
            ("%7B%22a%22%3A1%7D", Some(r#"{"a":1}"#)),
            ("%2522%25C3%25A9%2522", Some("\"é\"")),
            ("%25E9", None),
            ("%25", None),
            ("a", None),
        ];
        for (encoded, expected) in cases {
            let query = SyncQuery::parse(&format!("storeId=s&payload={encoded}"));
            assert_eq!(
                query.ok().and_then(|query| query.payload).as_deref(),
                expected,
                "{encoded}"
            );
        }
    }
}
