//! The RPC envelope that generations 0.4 and Effect 4 share on a WebSocket.
//!
//! Owns: reading `Request`, `Ack`, `Interrupt`, `Ping`, `Eof`, alone or in an array, and the answers
//! that are the same in both generations. *Source*: `@effect/rpc` 0.75 and `effect` 4 as the clients
//! of sync-cf 0.4.0 and later use them.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::object::Object;
use super::{
    Cursor, Generation, Inbound, ItemShape, Malformed, PageInfo, RequestId, Requester, json, quote,
};
use crate::event::{BackendId, Event, SeqNum, integer};
use crate::limits::FRAME_MESSAGES_MAX;

pub(super) const PING: &str = r#"{"_tag":"Ping"}"#;
pub(super) const PONG: &str = r#"{"_tag":"Pong"}"#;

pub(super) const ITEM: ItemShape = ItemShape {
    metadata: r#"},"metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"#,
    close: "}}}",
};

const PULL: &str = "SyncWsRpc.Pull";
const PUSH: &str = "SyncWsRpc.Push";

/// An envelope of any tag; `P` is the payload, typed or raw.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a, P> {
    #[serde(borrow, rename = "_tag")]
    message_tag: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tag: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    request_id: Option<&'a RawValue>,
    payload: Option<P>,
}

/// The payloads of both requests at once, so that one pass over the frame reads either.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    #[serde(borrow, default)]
    store_id: Option<Cow<'a, str>>,
    #[serde(default)]
    live: Option<bool>,
    #[serde(borrow, default)]
    cursor: Option<Object<EffectOption<Object<CursorValue<'a>>>>>,
    #[serde(borrow, default)]
    batch: Option<Vec<Object<Event<'a>>>>,
    #[serde(borrow, default)]
    backend_id: Option<Object<EffectOption<Text<'a>>>>,
}

/// `{"_tag":"None"}` or `{"_tag":"Some","value":…}`.
#[derive(Deserialize)]
#[serde(tag = "_tag")]
enum EffectOption<T> {
    None,
    Some { value: T },
}

impl<T> EffectOption<T> {
    fn into_option(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some { value } => Some(value),
        }
    }
}

/// A string that borrows from the frame where it can.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CursorValue<'a> {
    #[serde(borrow)]
    backend_id: Cow<'a, str>,
    #[serde(deserialize_with = "integer")]
    event_sequence_number: i64,
}

pub(super) fn decode(text: &str) -> Vec<Inbound<'_>> {
    if let Some(ack) = decode_ack(text) {
        return vec![ack];
    }
    if !text.trim_ascii_start().starts_with('[') {
        return vec![decode_one(text)];
    }
    match serde_json::from_str::<Messages<'_>>(text) {
        Ok(Messages(messages)) => messages
            .into_iter()
            .map(|message| decode_one(message.get()))
            .collect(),
        Err(error) if error.is_data() => {
            let message = error.to_string();
            vec![Inbound::Malformed(Malformed::Message { message })]
        }
        Err(error) => vec![syntax(&error)],
    }
}

/// The messages of one frame, not yet read: so many and no more, since each may call for an answer.
struct Messages<'a>(Vec<&'a RawValue>);

impl<'de> Deserialize<'de> for Messages<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MessagesVisitor;
        impl<'de> Visitor<'de> for MessagesVisitor {
            type Value = Messages<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("messages")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Messages<'de>, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = seq.next_element()? {
                    if messages.len() == FRAME_MESSAGES_MAX {
                        return Err(A::Error::custom(format_args!(
                            "a frame may hold at most {FRAME_MESSAGES_MAX} messages"
                        )));
                    }
                    messages.push(message);
                }
                Ok(Messages(messages))
            }
        }
        deserializer.deserialize_seq(MessagesVisitor)
    }
}

/// Reads an `Ack` spelled the way clients spell it: they send one for every page and every broadcast.
fn decode_ack(text: &str) -> Option<Inbound<'_>> {
    let id = text
        .strip_prefix(r#"{"_tag":"Ack","requestId":"#)?
        .strip_suffix('}')?;
    let digits = id
        .strip_prefix('"')
        .map_or(Some(id), |rest| rest.strip_suffix('"'))?;
    let is_plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| RequestId::from_json(id).map_or(Inbound::Nothing, |id| Inbound::Ack { id }))
}

fn decode_one(text: &str) -> Inbound<'_> {
    match serde_json::from_str::<Object<Envelope<'_, Object<Payload<'_>>>>>(text) {
        Ok(Object(envelope)) => interpret(envelope),
        Err(_) => explain(text),
    }
}

/// Reads a message whose payload, if it has one, is of the right types.
fn interpret<'a>(envelope: Envelope<'a, Object<Payload<'a>>>) -> Inbound<'a> {
    let outcome = match envelope.message_tag.as_ref() {
        "Request" => match requester(envelope.id) {
            Err(malformed) => Err(malformed),
            Ok(requester) => request(requester, envelope.tag, envelope.payload),
        },
        "Ack" => Ok(id(envelope.request_id).map_or(Inbound::Nothing, |id| Inbound::Ack { id })),
        "Interrupt" => Ok(
            requester(envelope.request_id).map_or(Inbound::Nothing, |requester| {
                Inbound::Interrupt { requester }
            }),
        ),
        "Ping" => Ok(Inbound::Ping),
        "Eof" => Ok(Inbound::Nothing),
        other => Err(unknown_tag(other)),
    };
    outcome.unwrap_or_else(Inbound::Malformed)
}

fn request<'a>(
    requester: Requester,
    tag: Option<Cow<'a, str>>,
    payload: Option<Object<Payload<'a>>>,
) -> Result<Inbound<'a>, Malformed> {
    let tag = tag.unwrap_or(Cow::Borrowed("undefined"));
    if tag != PULL && tag != PUSH {
        let message = format!("Unknown request tag: {tag}");
        return Err(match requester.generation {
            Generation::V05 => Malformed::Request { requester, message },
            Generation::V03 | Generation::V04 => Malformed::Message { message },
        });
    }
    let Some(Object(payload)) = payload else {
        return Err(missing(requester, &tag, "payload"));
    };
    let Some(store_id) = payload.store_id else {
        return Err(missing(requester, &tag, "payload.storeId"));
    };
    if tag == PULL {
        let Some(live) = payload.live else {
            return Err(missing(requester, &tag, "payload.live"));
        };
        let Some(Object(cursor)) = payload.cursor else {
            return Err(missing(requester, &tag, "payload.cursor"));
        };
        let cursor = cursor.into_option().map(|Object(value)| Cursor {
            backend_id: Some(value.backend_id),
            // Below the first event is from the first event; beyond any number is beyond the head.
            after: SeqNum::clamped(value.event_sequence_number),
        });
        Ok(Inbound::Pull {
            requester,
            store_id: Some(store_id),
            live,
            cursor,
        })
    } else {
        let Some(batch) = payload.batch else {
            return Err(missing(requester, &tag, "payload.batch"));
        };
        let Some(Object(backend_id)) = payload.backend_id else {
            return Err(missing(requester, &tag, "payload.backendId"));
        };
        let backend_id = backend_id.into_option().map(|Text(id)| id);
        let events = batch.into_iter().map(|Object(event)| event).collect();
        Ok(Inbound::Push {
            requester,
            store_id: Some(store_id),
            backend_id,
            events,
        })
    }
}

/// Finds out why a message could not be read, and whose it is.
fn explain(text: &str) -> Inbound<'_> {
    let envelope = match serde_json::from_str::<Object<Envelope<'_, &RawValue>>>(text) {
        Ok(Object(envelope)) => envelope,
        Err(error) if error.is_data() => {
            return Inbound::Malformed(unknown_tag("undefined"));
        }
        Err(error) => return syntax(&error),
    };
    let typed = Envelope {
        message_tag: envelope.message_tag,
        id: envelope.id,
        tag: envelope.tag,
        request_id: envelope.request_id,
        payload: None,
    };
    let ("Request", Some(raw)) = (typed.message_tag.as_ref(), envelope.payload) else {
        // The payload of another message has no meaning, so it may be anything.
        return interpret(typed);
    };
    match serde_json::from_str::<Object<Payload<'_>>>(raw.get()) {
        Ok(payload) => interpret(Envelope {
            payload: Some(payload),
            ..typed
        }),
        Err(error) => {
            let known = matches!(typed.tag.as_deref(), Some(PULL | PUSH));
            match requester(typed.id) {
                Ok(requester) if known => {
                    let tag = typed.tag.unwrap_or_default();
                    let message = format!("{tag}: payload: {error}");
                    Inbound::Malformed(Malformed::Request { requester, message })
                }
                _ => interpret(typed),
            }
        }
    }
}

fn id(json: Option<&RawValue>) -> Option<RequestId> {
    json.and_then(|json| RequestId::from_json(json.get()))
}

fn requester(json: Option<&RawValue>) -> Result<Requester, Malformed> {
    let id = id(json).ok_or_else(|| Malformed::Message {
        message: "Request.id must be a string or a number".to_owned(),
    })?;
    let generation = id.rpc_generation();
    Ok(Requester { id, generation })
}

fn missing(requester: Requester, tag: &str, field: &str) -> Malformed {
    let message = format!("{tag}: {field} is missing");
    Malformed::Request { requester, message }
}

fn unknown_tag(tag: &str) -> Malformed {
    let message = format!("Unknown request tag: {tag}");
    Malformed::Message { message }
}

fn syntax(error: &serde_json::Error) -> Inbound<'static> {
    let message = error.to_string();
    Inbound::Malformed(Malformed::Syntax { message })
}

pub(super) fn page_head(id: &RequestId) -> String {
    format!(
        r#"{{"_tag":"Chunk","requestId":{},"values":[{{"batch":["#,
        id.json()
    )
}

pub(super) fn page_tail(info: PageInfo, backend_id: &BackendId) -> String {
    let info = match info {
        PageInfo::NoMore => r#"{"_tag":"NoMore"}"#.to_owned(),
        PageInfo::MoreKnown(remaining) => {
            format!(r#"{{"_tag":"MoreKnown","remaining":{remaining}}}"#)
        }
    };
    format!(
        r#"],"pageInfo":{info},"backendId":{}}}]}}"#,
        quote(backend_id.as_str())
    )
}

pub(super) fn exit_success(id: &RequestId, value: &str) -> String {
    format!(
        r#"{{"_tag":"Exit","requestId":{},"exit":{{"_tag":"Success","value":{value}}}}}"#,
        id.json()
    )
}

/// An `Exit` that fails with `cause`, which the generations write differently.
pub(super) fn exit_failure(id: &RequestId, cause: &str) -> String {
    format!(
        r#"{{"_tag":"Exit","requestId":{},"exit":{{"_tag":"Failure","cause":{cause}}}}}"#,
        id.json()
    )
}

pub(super) fn defect(message: &str) -> String {
    format!(r#"{{"_tag":"Defect","defect":{}}}"#, quote(message))
}

pub(super) fn syntax_defect(message: &str) -> String {
    #[derive(serde::Serialize)]
    struct Defect<'a> {
        name: &'static str,
        message: &'a str,
    }
    let defect = Defect {
        name: "SyntaxError",
        message,
    };
    format!(r#"{{"_tag":"Defect","defect":{}}}"#, json(&defect))
}
