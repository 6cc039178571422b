//! Generation 0.3: hand-written JSON messages. *Source*: `@livestore/sync-cf` 0.3.1.
//!
//! Its clients ignore what they do not understand, and so does its backend: a frame that is not one
//! of these messages gets no answer.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::object::Object;
use super::{
    Cursor, Failure, Generation, Inbound, ItemShape, PageInfo, RequestId, Requester, quote,
};
use crate::event::{Event, SeqNum, integer};

pub(super) const PING: &str = r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#;
pub(super) const PONG: &str = r#"{"_tag":"WSMessage.Pong","requestId":"ping"}"#;

pub(super) const ITEM: ItemShape = ItemShape {
    metadata: r#"},"metadata":{"_tag":"Some","value":{"createdAt":"#,
    close: "}}}",
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message<'a> {
    #[serde(borrow, rename = "_tag")]
    tag: Cow<'a, str>,
    #[serde(borrow)]
    request_id: &'a RawValue,
    #[serde(default, deserialize_with = "cursor")]
    cursor: Option<i64>,
    #[serde(borrow, default)]
    batch: Option<Vec<Object<Event<'a>>>>,
}

/// Absent is from the start; a `null` is no cursor that a client sends, so the message is none.
fn cursor<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Integer(#[serde(deserialize_with = "integer")] i64),
        Fraction(f64),
    }
    #[allow(clippy::cast_possible_truncation)] // `as` saturates.
    Number::deserialize(deserializer).map(|number| match number {
        Number::Integer(integer) => Some(integer),
        Number::Fraction(fraction) => Some(fraction.floor() as i64),
    })
}

pub(super) fn decode(text: &str) -> Inbound<'_> {
    let Ok(Object(message)) = serde_json::from_str::<Object<Message<'_>>>(text) else {
        return Inbound::Nothing;
    };
    let json = message.request_id.get();
    let Some(id) = RequestId::from_json(json).filter(|_| json.starts_with('"')) else {
        return Inbound::Nothing;
    };
    let requester = Requester {
        id,
        generation: Generation::V03,
    };
    match message.tag.as_ref() {
        "WSMessage.PullReq" => Inbound::Pull {
            requester,
            store_id: None,
            live: true,
            cursor: message.cursor.map(|after| Cursor {
                backend_id: None,
                after: SeqNum::clamped(after),
            }),
        },
        "WSMessage.PushReq" => match message.batch {
            Some(events) => Inbound::Push {
                requester,
                store_id: None,
                backend_id: None,
                events: events.into_iter().map(|Object(event)| event).collect(),
            },
            None => Inbound::Nothing,
        },
        "WSMessage.Ping" if json == r#""ping""# => Inbound::Ping,
        "WSMessage.AdminInfoReq" | "WSMessage.AdminResetRoomReq" => Inbound::Admin { requester },
        _ => Inbound::Nothing,
    }
}

pub(super) fn page_head() -> String {
    r#"{"_tag":"WSMessage.PullRes","batch":["#.to_owned()
}

/// `id` is a request id as JSON, which has to be a text.
pub(super) fn page_tail(context: &str, id: &str, info: PageInfo) -> String {
    let remaining = match info {
        PageInfo::NoMore => 0,
        PageInfo::MoreKnown(remaining) => remaining,
    };
    format!(r#"],"requestId":{{"context":"{context}","requestId":{id}}},"remaining":{remaining}}}"#)
}

pub(super) fn push_ack(id: &RequestId) -> String {
    format!(
        r#"{{"_tag":"WSMessage.PushAck","requestId":{}}}"#,
        id.json()
    )
}

pub(super) fn failed(id: &RequestId, failure: &Failure) -> String {
    let message = match failure {
        Failure::ServerAhead {
            minimum_expected,
            provided,
        } => {
            format!(
                "Invalid parent event number. Received e{provided} but expected e{minimum_expected}"
            )
        }
        Failure::BackendIdMismatch { expected, received } => {
            format!("Backend id is {}, not {received}", expected.as_str())
        }
        Failure::Unknown { message } => message.clone(),
    };
    format!(
        r#"{{"_tag":"WSMessage.Error","requestId":{},"message":{}}}"#,
        id.json(),
        quote(&message)
    )
}
