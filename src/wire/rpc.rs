//! The RPC envelope that generations 0.4 and Effect 4 share, whatever the transport.
//!
//! Owns: reading `Request`, `Ack`, `Interrupt`, `Ping`, `Eof`, alone or in an array, and the answers
//! that are the same in both generations. *Source*: `@effect/rpc` 0.75 and `effect` 4 as the clients
//! of sync-cf 0.4.0 and later use them.

use std::borrow::Cow;
use std::rc::Rc;

use super::{
    CallerContext, Cursor, Generation, Inbound, ItemShape, Malformed, PageInfo, RequestId,
    Requester, Transport,
};
use crate::event::{BackendId, Event, SeqNum};
use crate::json::{self, JsonError, Value, quote};
use crate::limits::{FRAME_MESSAGES_MAX, TRACE_ID_BYTES_MAX};

pub(super) const PING: &str = r#"{"_tag":"Ping"}"#;
pub(super) const PONG: &str = r#"{"_tag":"Pong"}"#;

pub(super) const ITEM: ItemShape = ItemShape {
    metadata: r#"},"metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"#,
    close: "}}}",
};

/// What a request asks for: the part of its tag after the group of its transport.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    Pull,
    Push,
    Ping,
    Unsubscribe,
}

impl Call {
    fn of(transport: Transport, tag: &str) -> Option<Self> {
        let group = match transport {
            Transport::WebSocket => "SyncWsRpc.",
            Transport::Http => "SyncHttpRpc.",
            Transport::DoRpc => "SyncDoRpc.",
        };
        match tag.strip_prefix(group)? {
            "Pull" => Some(Self::Pull),
            "Push" => Some(Self::Push),
            // On a WebSocket a ping is an envelope of its own.
            "Ping" if transport != Transport::WebSocket => Some(Self::Ping),
            "Unsubscribe" if transport == Transport::DoRpc => Some(Self::Unsubscribe),
            _ => None,
        }
    }
}

/// An envelope of any tag.
#[derive(Default)]
struct Envelope<'a> {
    message_tag: Option<Cow<'a, str>>,
    id: Option<&'a str>,
    tag: Option<Cow<'a, str>>,
    request_id: Option<&'a str>,
    trace_id: Option<&'a str>,
    /// Whether it could be read or not: the payload of some messages has no meaning.
    payload: Option<Result<Payload<'a>, JsonError>>,
}

impl<'a> Envelope<'a> {
    /// Reads an envelope; what `payload` does not read of one is left out.
    fn read(
        value: Value<'_, 'a>,
        payload: fn(Value<'_, 'a>) -> Result<Option<Payload<'a>>, JsonError>,
    ) -> Result<Self, JsonError> {
        let mut envelope = Self::default();
        value.object(|value, key| {
            match key {
                "_tag" => envelope.message_tag = Some(value.string()?),
                "id" => envelope.id = Some(value.raw()?),
                "tag" => envelope.tag = value.optional(|value| value.string())?,
                "requestId" => envelope.request_id = Some(value.raw()?),
                "traceId" => envelope.trace_id = Some(value.raw()?),
                "payload" => envelope.payload = payload(value)?.map(Ok),
                _ => {}
            }
            Ok(())
        })?;
        Ok(envelope)
    }
}

/// The payloads of all requests at once, so that one pass over the frame reads any.
#[derive(Default)]
struct Payload<'a> {
    store_id: Option<Cow<'a, str>>,
    live: Option<bool>,
    cursor: Option<EffectOption<Cursor<'a>>>,
    batch: Option<Vec<Event<'a>>>,
    backend_id: Option<EffectOption<Cow<'a, str>>>,
    caller: Option<CallerContext<'a>>,
    object_id: Option<Cow<'a, str>>,
    request_id: Option<&'a str>,
}

impl<'a> Payload<'a> {
    fn read(value: Value<'_, 'a>) -> Result<Self, JsonError> {
        let mut payload = Self::default();
        value.object(|value, key| {
            match key {
                "storeId" => payload.store_id = value.optional(|value| value.string())?,
                "live" => payload.live = value.optional(|value| value.boolean())?,
                "cursor" => {
                    payload.cursor = value.optional(|value| effect_option(value, read_cursor))?;
                }
                "batch" => payload.batch = value.optional(Event::read_all)?,
                "backendId" => {
                    payload.backend_id =
                        value.optional(|value| effect_option(value, |value| value.string()))?;
                }
                "rpcContext" => payload.caller = value.optional(read_rpc_context)?,
                "durableObjectId" => payload.object_id = value.optional(|value| value.string())?,
                "requestId" => payload.request_id = value.optional(|value| value.raw())?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(payload)
    }
}

/// `{"_tag":"None"}` or `{"_tag":"Some","value":…}`, as opposed to no key at all.
enum EffectOption<T> {
    None,
    Some(T),
}

impl<T> EffectOption<T> {
    fn into_option(self) -> Option<T> {
        match self {
            Self::None => None,
            Self::Some(value) => Some(value),
        }
    }
}

/// Reads an option.
fn effect_option<'a, T>(
    value: Value<'_, 'a>,
    read: fn(Value<'_, 'a>) -> Result<T, JsonError>,
) -> Result<EffectOption<T>, JsonError> {
    let (mut tag, mut inner) = (None, None);
    value.object(|value, key| {
        match key {
            "_tag" => tag = Some(value.string()?),
            "value" => inner = Some(read(value)?),
            _ => {}
        }
        Ok(())
    })?;
    match (tag.as_deref(), inner) {
        (Some("None"), _) => Ok(EffectOption::None),
        (Some("Some"), Some(inner)) => Ok(EffectOption::Some(inner)),
        (Some("Some"), None) => Err(JsonError::missing("value")),
        _ => {
            let message = "an Option was expected, with the _tag None or Some";
            Err(JsonError::shape(message))
        }
    }
}

fn read_cursor<'a>(value: Value<'_, 'a>) -> Result<Cursor<'a>, JsonError> {
    let (mut backend_id, mut after) = (None, None);
    value.object(|value, key| {
        match key {
            "backendId" => backend_id = Some(value.string()?),
            "eventSequenceNumber" => after = Some(value.integer()?),
            _ => {}
        }
        Ok(())
    })?;
    let missing = JsonError::missing;
    Ok(Cursor {
        backend_id: Some(backend_id.ok_or_else(|| missing("backendId"))?),
        // Below the first event is from the first event; beyond any number is beyond the head.
        after: SeqNum::clamped(after.ok_or_else(|| missing("eventSequenceNumber"))?),
    })
}

fn read_rpc_context<'a>(value: Value<'_, 'a>) -> Result<CallerContext<'a>, JsonError> {
    let (mut binding, mut object_id) = (None, None);
    value.object(|value, key| {
        if key != "callerContext" {
            return Ok(());
        }
        value.object(|value, key| {
            match key {
                "bindingName" => binding = Some(value.string()?),
                "durableObjectId" => object_id = Some(value.string()?),
                _ => {}
            }
            Ok(())
        })
    })?;
    let missing = JsonError::missing;
    Ok(CallerContext {
        binding_name: binding.ok_or_else(|| missing("callerContext.bindingName"))?,
        durable_object_id: object_id.ok_or_else(|| missing("callerContext.durableObjectId"))?,
    })
}

pub(super) fn split(frame: &str) -> Result<Vec<&str>, Malformed> {
    if !frame.trim_ascii_start().starts_with('[') {
        return Ok(vec![frame]);
    }
    // Not yet read: so many and no more, since each may call for an answer.
    let mut messages = Vec::new();
    let read = json::read(frame, |value| {
        value.array(|value| {
            if messages.len() == FRAME_MESSAGES_MAX {
                return Err(JsonError::shape(format!(
                    "a frame may hold at most {FRAME_MESSAGES_MAX} messages"
                )));
            }
            messages.push(value.raw()?);
            Ok(())
        })
    });
    match read {
        Ok(()) => Ok(messages),
        Err(error) => {
            let message = error.to_string();
            Err(if error.is_syntax() {
                Malformed::Syntax { message }
            } else {
                Malformed::Message { message }
            })
        }
    }
}

pub(super) fn decode(transport: Transport, message: &str) -> Inbound<'_> {
    if let Some(ack) = decode_ack(message) {
        return ack;
    }
    match json::read(message, |value| {
        Envelope::read(value, |payload| Payload::read(payload).map(Some))
    }) {
        Ok(envelope) => interpret(transport, envelope),
        Err(error) => decode_partly(transport, message, error),
    }
}

/// Reads a message of which `error` was found: if that is in its payload, the request alone fails, and a message whose payload has
/// no meaning does not.
#[cold]
#[inline(never)]
fn decode_partly(transport: Transport, message: &str, error: JsonError) -> Inbound<'_> {
    if error.is_syntax() {
        let message = error.to_string();
        return Inbound::Malformed(Malformed::Syntax { message });
    }
    match json::read(message, |value| Envelope::read(value, |_| Ok(None))) {
        Ok(envelope) => interpret(
            transport,
            Envelope {
                payload: Some(Err(error)),
                ..envelope
            },
        ),
        Err(_) => Inbound::Malformed(unknown_tag("undefined")),
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

fn interpret(transport: Transport, envelope: Envelope<'_>) -> Inbound<'_> {
    let outcome = match envelope.message_tag.as_deref() {
        Some("Request") => match requester(envelope.id, envelope.trace_id) {
            Err(malformed) => Err(malformed),
            Ok(requester) => request(transport, requester, envelope.tag, envelope.payload),
        },
        Some("Ack") => {
            Ok(id(envelope.request_id).map_or(Inbound::Nothing, |id| Inbound::Ack { id }))
        }
        Some("Interrupt") => Ok(requester(envelope.request_id, None)
            .map_or(Inbound::Nothing, |requester| Inbound::Interrupt {
                requester,
            })),
        Some("Ping") => Ok(Inbound::Ping),
        Some("Eof") => Ok(Inbound::Nothing),
        other => Err(unknown_tag(other.unwrap_or("undefined"))),
    };
    outcome.unwrap_or_else(Inbound::Malformed)
}

fn request<'a>(
    transport: Transport,
    requester: Requester,
    tag: Option<Cow<'a, str>>,
    payload: Option<Result<Payload<'a>, JsonError>>,
) -> Result<Inbound<'a>, Malformed> {
    let tag = tag.unwrap_or(Cow::Borrowed("undefined"));
    let Some(call) = Call::of(transport, &tag) else {
        let message = format!("Unknown request tag: {tag}");
        return Err(match requester.generation {
            Generation::V05 => Malformed::Request { requester, message },
            Generation::V03 | Generation::V04 => Malformed::Message { message },
        });
    };
    let payload = match payload {
        Some(Ok(payload)) => payload,
        Some(Err(error)) => {
            let message = format!("{tag}: {error}");
            return Err(Malformed::Request { requester, message });
        }
        None => return Err(missing(requester, &tag, "payload")),
    };
    let Some(store_id) = payload.store_id else {
        return Err(missing(requester, &tag, "payload.storeId"));
    };
    if call == Call::Ping {
        let store_id = Some(store_id);
        return Ok(Inbound::PingRequest {
            requester,
            store_id,
        });
    }
    if call == Call::Unsubscribe {
        return Ok(Inbound::Unsubscribe {
            requester,
            store_id: Some(store_id),
            object_id: payload.object_id,
            request: id(payload.request_id),
        });
    }
    if call == Call::Pull {
        let caller = payload.caller;
        let live = match transport {
            Transport::WebSocket => payload.live,
            Transport::Http => Some(false),
            Transport::DoRpc => Some(caller.is_some()),
        };
        let Some(live) = live else {
            return Err(missing(requester, &tag, "payload.live"));
        };
        let Some(cursor) = payload.cursor else {
            return Err(missing(requester, &tag, "payload.cursor"));
        };
        Ok(Inbound::Pull {
            requester,
            store_id: Some(store_id),
            live,
            cursor: cursor.into_option(),
            caller: caller.filter(|_| transport == Transport::DoRpc),
        })
    } else {
        let Some(batch) = payload.batch else {
            return Err(missing(requester, &tag, "payload.batch"));
        };
        let Some(backend_id) = payload.backend_id else {
            return Err(missing(requester, &tag, "payload.backendId"));
        };
        Ok(Inbound::Push {
            requester,
            store_id: Some(store_id),
            backend_id: backend_id.into_option(),
            events: batch,
        })
    }
}

fn id(json: Option<&str>) -> Option<RequestId> {
    json.and_then(RequestId::from_json)
}

/// The trace a request belongs to, if it is a word that can stand in a log line as it is.
fn trace_id(json: Option<&str>) -> Option<Rc<str>> {
    let text = json?.strip_prefix('"')?.strip_suffix('"')?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (text.len() <= TRACE_ID_BYTES_MAX && text.bytes().all(is_word)).then(|| text.into())
}

fn requester(json: Option<&str>, trace: Option<&str>) -> Result<Requester, Malformed> {
    let id = id(json).ok_or_else(|| Malformed::Message {
        message: "Request.id must be a string or a number".to_owned(),
    })?;
    Ok(Requester {
        generation: id.rpc_generation(),
        trace_id: trace_id(trace),
        id,
    })
}

fn missing(requester: Requester, tag: &str, field: &str) -> Malformed {
    let message = format!("{tag}: {field} is missing");
    Malformed::Request { requester, message }
}

fn unknown_tag(tag: &str) -> Malformed {
    let message = format!("Unknown request tag: {tag}");
    Malformed::Message { message }
}

pub(super) fn page_head(id: &RequestId, transport: Transport) -> String {
    let rpc_request_id = match transport {
        Transport::WebSocket | Transport::Http => String::new(),
        // By this the client knows the calls that follow a live pull.
        Transport::DoRpc => format!(r#""rpcRequestId":{},"#, id.text_json()),
    };
    format!(
        r#"{{"_tag":"Chunk","requestId":{},"values":[{{{rpc_request_id}"batch":["#,
        id.json()
    )
}

pub(super) fn callback_head(id: &RequestId) -> String {
    format!(
        r#"{{"_tag":"Chunk","requestId":{},"values":[{{"batch":["#,
        id.text_json()
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
    // Every push is answered with it.
    let (head, exit) = (
        r#"{"_tag":"Exit","requestId":"#,
        r#","exit":{"_tag":"Success","value":"#,
    );
    [head, id.json(), exit, value, "}}"].concat()
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
    format!(
        r#"{{"_tag":"Defect","defect":{{"name":"SyntaxError","message":{}}}}}"#,
        quote(message)
    )
}
