//! Generation 0.3: hand-written JSON messages. *Source*: `@livestore/sync-cf` 0.3.1.
//!
//! Its clients ignore what they do not understand, and so does its backend: a frame that is not one
//! of these messages gets no answer.

use std::borrow::Cow;

use super::{
    AdminAsk, Cursor, Failure, Generation, Inbound, ItemShape, PageInfo, RequestId, Requester,
};
use crate::event::{Event, SeqNum};
use crate::json::{self, JsonError, Value, quote};

pub(super) const PING: &str = r#"{"_tag":"WSMessage.Ping","requestId":"ping"}"#;
pub(super) const PONG: &str = r#"{"_tag":"WSMessage.Pong","requestId":"ping"}"#;

pub(super) const ITEM: ItemShape = ItemShape {
    metadata: r#"},"metadata":{"_tag":"Some","value":{"createdAt":"#,
    close: "}}}",
};

#[derive(Default)]
struct Message<'a> {
    tag: Cow<'a, str>,
    request_id: &'a str,
    cursor: Option<i64>,
    batch: Option<Vec<Event<'a>>>,
    admin_secret: Option<Cow<'a, str>>,
}

impl<'a> Message<'a> {
    fn read(value: Value<'_, 'a>) -> Result<Self, JsonError> {
        let mut message = Self::default();
        value.object(|value, key| {
            match key {
                "_tag" => message.tag = value.string()?,
                "requestId" => message.request_id = value.raw()?,
                // Absent is from the start; a null is no cursor that a client sends, so the message is none.
                "cursor" => {
                    let after = json::truncated(value.raw()?, 0);
                    let none = || JsonError::shape("a number was expected");
                    message.cursor = Some(after.ok_or_else(none)?);
                }
                "batch" => message.batch = value.optional(Event::read_all)?,
                "adminSecret" => message.admin_secret = Some(value.string()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(message)
    }
}

#[inline(never)] // 2.1 kB less in `wire::decode`, which V8 compiles again in the background once it is hot.
pub(super) fn decode(text: &str) -> Inbound<'_> {
    let Ok(message) = json::read(text, Message::read) else {
        return Inbound::Nothing;
    };
    let json = message.request_id;
    let Some(id) = RequestId::from_json(json).filter(|_| json.starts_with('"')) else {
        return Inbound::Nothing;
    };
    let requester = Requester {
        id,
        generation: Generation::V03,
        trace_id: None,
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
            caller: None,
        },
        "WSMessage.PushReq" => match message.batch {
            Some(events) => Inbound::Push {
                requester,
                store_id: None,
                backend_id: None,
                events,
            },
            None => Inbound::Nothing,
        },
        "WSMessage.Ping" if json == r#""ping""# => Inbound::Ping,
        "WSMessage.AdminInfoReq" | "WSMessage.AdminResetRoomReq" => Inbound::Admin {
            requester,
            ask: match message.tag.as_ref() {
                "WSMessage.AdminInfoReq" => AdminAsk::Info,
                _ => AdminAsk::Reset,
            },
            secret: message.admin_secret.unwrap_or_default(),
        },
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

pub(super) fn admin_done(id: &RequestId, ask: AdminAsk, object_id: &str) -> String {
    let id = id.json();
    match ask {
        AdminAsk::Info => format!(
            r#"{{"_tag":"WSMessage.AdminInfoRes","requestId":{id},"info":{{"durableObjectId":{}}}}}"#,
            quote(object_id)
        ),
        AdminAsk::Reset => format!(r#"{{"_tag":"WSMessage.AdminResetRoomRes","requestId":{id}}}"#),
    }
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
