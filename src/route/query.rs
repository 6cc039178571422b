//! The query of a sync request, and the door it leads to.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::event::StoreId;
use crate::json;
use crate::wire::{Family, Transport};

/// The door by which a sync request comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "DoorName", into = "DoorName")]
pub enum Door {
    /// A socket of this family.
    Socket(Family),
    /// One request over HTTP.
    Http,
}

/// A door as the object is told of it.
#[derive(Serialize, Deserialize)]
enum DoorName {
    #[serde(rename = "socket-v03")]
    SocketV03,
    #[serde(rename = "socket-rpc")]
    SocketRpc,
    #[serde(rename = "http")]
    Http,
}

impl From<Door> for DoorName {
    fn from(door: Door) -> Self {
        match door {
            Door::Socket(Family::Plain) => Self::SocketV03,
            Door::Socket(Family::Rpc) => Self::SocketRpc,
            Door::Http => Self::Http,
        }
    }
}

impl From<DoorName> for Door {
    fn from(name: DoorName) -> Self {
        match name {
            DoorName::SocketV03 => Self::Socket(Family::Plain),
            DoorName::SocketRpc => Self::Socket(Family::Rpc),
            DoorName::Http => Self::Http,
        }
    }
}

impl Door {
    /// Whether it is that of 0.3 clients, which are answered in other words.
    pub(super) fn is_v03(self) -> bool {
        self == Self::Socket(Family::Plain)
    }

    /// How what comes in by it goes on.
    #[must_use]
    pub fn transport(self) -> Transport {
        match self {
            Self::Socket(_) => Transport::WebSocket,
            Self::Http => Transport::Http,
        }
    }
}

/// What a client says in the query of its URL, as JSON such as `{"storeId":"a","payload":{…},"transport":"ws"}`; `None`
/// where sync-cf finds no request to sync either.
#[must_use]
pub fn sync_params(query: &str) -> Option<String> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Params<'a> {
        store_id: &'a StoreId,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
        transport: &'static str,
    }
    let query = Query::read(query);
    let door = query.door("").filter(|_| !query.transport.is_repeated)?;
    let (store_id, payload) = query.parse().ok()?;
    let payload = payload.as_deref().map(serde_json::from_str);
    let params = Params {
        store_id: &store_id,
        payload: payload.transpose().ok()?,
        transport: door.transport().name(),
    };
    serde_json::to_string(&params).ok()
}

/// What a query says about a sync request, read in one pass: the first value of each parameter, and whether
/// there are more.
#[derive(Debug, Default)]
pub(super) struct Query<'a> {
    store_id: Parameter<'a>,
    payload: Parameter<'a>,
    transport: Parameter<'a>,
}

#[derive(Debug, Default)]
struct Parameter<'a> {
    first: Option<Cow<'a, str>>,
    is_repeated: bool,
}

impl<'a> Parameter<'a> {
    fn add(&mut self, value: Cow<'a, str>) {
        if self.first.is_some() {
            self.is_repeated = true;
        } else {
            self.first = Some(value);
        }
    }
}

/// Why a query is not that of a sync request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum QueryError {
    /// `storeId` is missing or stands there twice.
    StoreId,
    /// `payload` is not JSON, encoded twice.
    Payload,
}

impl QueryError {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::StoreId => "storeId must be given once",
            Self::Payload => "payload must be JSON, encoded twice",
        }
    }
}

impl<'a> Query<'a> {
    pub(super) fn read(query: &'a str) -> Self {
        let mut read = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "storeId" => read.store_id.add(value),
                "payload" => read.payload.add(value),
                "transport" => read.transport.add(value),
                _ => {}
            }
        }
        read
    }

    /// The door it leads to at a path, `None` when to none.
    pub(super) fn door(&self, path: &str) -> Option<Door> {
        match self.transport.first.as_deref() {
            None if path.ends_with("/websocket") => Some(Door::Socket(Family::Plain)),
            Some("ws") => Some(Door::Socket(Family::Rpc)),
            Some("http") => Some(Door::Http),
            _ => None,
        }
    }

    /// The store and the sync payload as JSON text. That is JSON which was encoded as a URI component and
    /// then as a form value, the way every client sends it.
    pub(super) fn parse(self) -> Result<(StoreId, Option<String>), QueryError> {
        let store_id = match self.store_id {
            Parameter {
                first: Some(store_id),
                is_repeated: false,
            } => StoreId::new(store_id),
            _ => return Err(QueryError::StoreId),
        };
        let payload = match (self.payload.first, self.payload.is_repeated) {
            (None, _) => None,
            (Some(encoded), false) => Some(decode_payload(&encoded).ok_or(QueryError::Payload)?),
            (Some(_), true) => return Err(QueryError::Payload),
        };
        Ok((store_id, payload))
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

/// The store that a request in a list names, for an object that was not addressed by a name.
#[must_use]
pub fn store_in(requests: &str) -> Option<StoreId> {
    let mut found = None;
    let read = json::read(requests, |value| {
        value.array(|value| {
            value.object(|value, key| {
                if key != "payload" {
                    return Ok(());
                }
                value.object(|value, key| {
                    if key == "storeId" {
                        found.get_or_insert(StoreId::new(value.string()?));
                    }
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
            let query = format!("storeId=s&payload={encoded}");
            let parsed = Query::read(&query).parse();
            let payload = parsed.ok().and_then(|(_, payload)| payload);
            assert_eq!(payload.as_deref(), expected, "{encoded}");
        }
    }

    #[test]
    fn a_store_and_a_payload_are_given_once() {
        let ok = |store_id: &str, payload: Option<&str>| {
            Ok((StoreId::new(store_id), payload.map(str::to_owned)))
        };
        for (query, expected) in [
            ("storeId=a", ok("a", None)),
            ("x=1&storeId=&y", ok("", None)),
            ("payload=1&storeId=a%20b", ok("a b", Some("1"))),
            ("storeId=a&transport=ws&transport=http", ok("a", None)),
            ("", Err(QueryError::StoreId)),
            ("storeid=a", Err(QueryError::StoreId)),
            ("storeId=a&storeId=a", Err(QueryError::StoreId)),
            ("storeId=a&payload=1&payload=1", Err(QueryError::Payload)),
            ("storeId=a&payload=", Err(QueryError::Payload)),
        ] {
            assert_eq!(Query::read(query).parse(), expected, "{query}");
        }
    }

    #[test]
    fn the_params_of_a_request_to_sync_are_those_that_sync_cf_finds() {
        let payload = "%257B%2522authToken%2522%253A%2522t%2522%257D";
        for (query, expected) in [
            (
                format!("storeId=a&payload={payload}&transport=ws"),
                Some(r#"{"storeId":"a","payload":{"authToken":"t"},"transport":"ws"}"#),
            ),
            (
                "transport=http&x=1&storeId=a%22b".to_owned(),
                Some(r#"{"storeId":"a\"b","transport":"http"}"#),
            ),
            ("storeId=a".to_owned(), None),
            ("transport=ws".to_owned(), None),
            ("storeId=a&transport=do-rpc".to_owned(), None),
            ("storeId=a&transport=ws&transport=ws".to_owned(), None),
            ("storeId=a&transport=ws&payload=x".to_owned(), None),
        ] {
            assert_eq!(sync_params(&query).as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn the_transport_names_the_door_and_without_it_the_path_does() {
        let (v03, rpc) = (Door::Socket(Family::Plain), Door::Socket(Family::Rpc));
        for (path, query, expected) in [
            ("/", "transport=ws", Some(rpc)),
            ("/websocket", "transport=ws", Some(rpc)),
            ("/any", "a&transport=http&transport=ws", Some(Door::Http)),
            ("/websocket", "storeId=a", Some(v03)),
            ("/app/websocket", "", Some(v03)),
            ("/websocket", "transport=", None),
            ("/websocket/", "", None),
            ("/", "", None),
            ("/", "transport=do-rpc", None),
        ] {
            assert_eq!(Query::read(query).door(path), expected, "{path}?{query}");
        }
    }
}
