//! The dialects that clients speak, and the one neutral form the backend knows.
//!
//! Owns: reading a frame into an [`Inbound`], and writing every answer in the dialect of the request
//! it answers (INV-7). Refuses to know what a request means. One file per generation; what the two
//! RPC generations share is in [`rpc`].
//!
//! | generation | clients | told apart by |
//! |---|---|---|
//! | [`Generation::V03`] | `@livestore/sync-cf` 0.3.x | URL path ends in `/websocket`, no `transport` |
//! | [`Generation::V04`] | 0.4.x (Effect 3 RPC) | `Request.id` is a JSON string |
//! | [`Generation::V05`] | the Effect 4 line | `Request.id` is a JSON number |

pub mod msgpack;
mod rpc;
mod v03;
mod v04;
mod v05;

use std::borrow::Cow;
use std::rc::Rc;

use crate::event::{BackendId, Event, SeqNum};
use crate::json::{self, quote};
use crate::limits::REQUEST_ID_BYTES_MAX;

/// A wire dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Hand-written JSON messages, `WSMessage.*`.
    V03,
    /// Effect 3 RPC.
    V04,
    /// Effect 4 RPC.
    V05,
}

impl Generation {
    /// Its name in log lines and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V03 => "v03",
            Self::V04 => "v04",
            Self::V05 => "v05",
        }
    }

    /// The family whose sockets this generation speaks on.
    #[must_use]
    pub fn family(self) -> Family {
        match self {
            Self::V03 => Family::Plain,
            Self::V04 | Self::V05 => Family::Rpc,
        }
    }
}

/// What a socket speaks: known from its URL, while the generation is known from each request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// The messages of 0.3.
    Plain,
    /// The RPC envelope of 0.4 and later.
    Rpc,
}

impl Family {
    /// The ping that the runtime may answer without waking the object, and its answer.
    ///
    /// *Source*: byte for byte what the clients send; any other spelling reaches the backend.
    #[must_use]
    pub fn auto_response(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => (v03::PING, v03::PONG),
            Self::Rpc => (rpc::PING, rpc::PONG),
        }
    }
}

/// How a request reaches the backend. The same rules hold for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A socket that stays open; live pulls follow on it.
    WebSocket,
    /// One request and its answer, over HTTP.
    Http,
    /// One request and its answer, by a call from another Durable Object; live pulls follow as calls back.
    DoRpc,
}

impl Transport {
    /// Its name in the `transport` parameter of clients, in log lines and in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "ws",
            Self::Http => "http",
            Self::DoRpc => "do-rpc",
        }
    }

    /// All of them.
    pub const ALL: [Self; 3] = [Self::WebSocket, Self::Http, Self::DoRpc];
}

/// The id of a request as the JSON text it came in (`"26"`, `38`), echoed as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Box<str>);

impl RequestId {
    /// The id in `json`, a JSON string or number, or `None` if it is neither or too long to keep.
    #[must_use]
    pub fn from_json(json: &str) -> Option<Self> {
        let first = json.bytes().next()?;
        let is_id = match first {
            // Half of a surrogate pair is no text that could be echoed.
            b'"' => !json.contains('\\') || json::read(json, |value| value.string()).is_ok(),
            b'-' | b'0'..=b'9' => true,
            _ => false,
        };
        (is_id && json.len() <= REQUEST_ID_BYTES_MAX).then(|| Self(json.into()))
    }

    /// The JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// The RPC generation that writes ids of this JSON type.
    #[must_use]
    pub fn rpc_generation(&self) -> Generation {
        if self.0.starts_with('"') {
            Generation::V04
        } else {
            Generation::V05
        }
    }

    /// The id as a JSON string, whatever it was sent as.
    pub(crate) fn text_json(&self) -> Cow<'_, str> {
        if self.0.starts_with('"') {
            Cow::Borrowed(&self.0)
        } else {
            Cow::Owned(quote(&self.0))
        }
    }

    /// The same id as a text, which it is in calls of client objects whatever the generation.
    #[must_use]
    pub fn as_text(&self) -> Self {
        Self(self.text_json().into())
    }

    /// The counter behind the id, which clients raise by one with every request; `None` for others.
    #[must_use]
    pub fn counter(&self) -> Option<u64> {
        self.0.trim_matches('"').parse().ok()
    }
}

/// Whom an answer is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requester {
    /// Echoed in every answer.
    pub id: RequestId,
    /// The dialect of every answer.
    pub generation: Generation,
    /// The trace the client counts the request to, for log lines.
    pub trace_id: Option<Rc<str>>,
}

/// Whom a Durable Object that pulls live wants to be called back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerContext<'a> {
    /// Name of the binding of its class, at the object that is asked.
    pub binding_name: Cow<'a, str>,
    /// Its id, as hexadecimal text.
    pub durable_object_id: Cow<'a, str>,
}

/// The point after which a pull wants events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor<'a> {
    /// The lifetime of the log it was taken in; 0.3 clients know none.
    pub backend_id: Option<Cow<'a, str>>,
    /// The last event the client has.
    pub after: SeqNum,
}

/// One message of a client, whatever its dialect.
#[derive(Debug)]
pub enum Inbound<'a> {
    /// Wants the events after a cursor, and later ones too if `live`.
    Pull {
        /// Who asks.
        requester: Requester,
        /// The store the payload names; 0.3 messages name none.
        store_id: Option<Cow<'a, str>>,
        /// Whether to go on with later events.
        live: bool,
        /// Where to start; `None` from the first event.
        cursor: Option<Cursor<'a>>,
        /// Where to send later events, if they cannot follow on the connection.
        caller: Option<CallerContext<'a>>,
    },
    /// Wants events appended.
    Push {
        /// Who asks.
        requester: Requester,
        /// The store the payload names; 0.3 messages name none.
        store_id: Option<Cow<'a, str>>,
        /// The lifetime of the log that the client knows.
        backend_id: Option<Cow<'a, str>>,
        /// The events, not yet a batch.
        events: Vec<Event<'a>>,
    },
    /// A page has arrived.
    Ack {
        /// The pull whose page it was.
        id: RequestId,
    },
    /// Wants no more answers to a request.
    Interrupt {
        /// The request that ends.
        requester: Requester,
    },
    /// Wants a pong.
    Ping,
    /// Wants a pong as the answer to a request.
    PingRequest {
        /// Who asks.
        requester: Requester,
        /// The store the payload names.
        store_id: Option<Cow<'a, str>>,
    },
    /// A Durable Object wants to be called no more.
    Unsubscribe {
        /// Who asks.
        requester: Requester,
        /// The store the payload names.
        store_id: Option<Cow<'a, str>>,
        /// The object; `None` where the payload names it in a way that is not known here.
        object_id: Option<Cow<'a, str>>,
        /// The pull that ends; `None` for all of the object.
        request: Option<RequestId>,
    },
    /// An administrative message of 0.3.
    Admin {
        /// Who asks.
        requester: Requester,
        /// What for.
        ask: AdminAsk,
        /// The secret that is to open it.
        secret: Cow<'a, str>,
    },
    /// Understood, and calls for nothing.
    Nothing,
    /// Not understood.
    Malformed(Malformed),
}

/// What an administrative message of 0.3 asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminAsk {
    /// The object's id.
    Info,
    /// To empty the store.
    Reset,
}

/// A message that could not be understood, and what to say about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Not JSON.
    Syntax {
        /// What is wrong, and where.
        message: String,
    },
    /// No message this family knows; clients fail everything they have outstanding on such an answer.
    Message {
        /// What is wrong.
        message: String,
    },
    /// A request whose id is known, so that only it fails.
    Request {
        /// Who asked.
        requester: Requester,
        /// What is wrong, and where.
        message: String,
    },
}

impl Malformed {
    /// What is wrong.
    #[must_use]
    pub fn message(&self) -> &str {
        match self {
            Self::Syntax { message }
            | Self::Message { message }
            | Self::Request { message, .. } => message,
        }
    }
}

/// Cuts a frame into its messages: usually one, several where it holds an array.
///
/// # Errors
/// An array that is no JSON, or that holds too many.
pub fn split(family: Family, frame: &str) -> Result<Vec<&str>, Malformed> {
    match family {
        Family::Plain => Ok(vec![frame]),
        Family::Rpc => rpc::split(frame),
    }
}

/// Reads one message.
#[must_use]
pub fn decode(family: Family, transport: Transport, message: &str) -> Inbound<'_> {
    match family {
        Family::Plain => v03::decode(message),
        Family::Rpc => rpc::decode(transport, message),
    }
}

/// Why a request fails, as its client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The batch does not start at the head.
    ServerAhead {
        /// The head.
        minimum_expected: SeqNum,
        /// The parent of the batch.
        provided: SeqNum,
    },
    /// The client knows another lifetime of the log.
    BackendIdMismatch {
        /// The id of this log.
        expected: BackendId,
        /// The id the client sent.
        received: String,
    },
    /// Anything else, in words.
    Unknown {
        /// What was wrong, and where.
        message: String,
    },
}

/// What the last page of a turn says about the pages after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageInfo {
    /// The log ends here.
    NoMore,
    /// At least this many events follow.
    MoreKnown(u64),
}

impl PageInfo {
    /// Page info for `remaining` events to come.
    #[must_use]
    pub fn remaining(remaining: u64) -> Self {
        match remaining {
            0 => Self::NoMore,
            more => Self::MoreKnown(more),
        }
    }
}

/// How one event of a page is written: the text around its fields. Data rather than code, because
/// pages are written by SQL and broadcasts by Rust, and both must print the same bytes.
#[derive(Clone, Copy, Debug)]
pub struct ItemShape {
    /// Between the quoted `sessionId` and the quoted `createdAt`.
    pub metadata: &'static str,
    /// After the quoted `createdAt`.
    pub close: &'static str,
}

impl Family {
    /// How this family's pages write an event.
    #[must_use]
    pub fn item_shape(self) -> ItemShape {
        match self {
            Self::Plain => v03::ITEM,
            Self::Rpc => rpc::ITEM,
        }
    }

    /// Both families.
    pub const ALL: [Self; 2] = [Self::Plain, Self::Rpc];
}

/// Appends the events of a page, comma-separated, in the family's shape. `created_at` is ISO 8601.
pub fn encode_items(family: Family, events: &[Event<'_>], created_at: &str, out: &mut String) {
    for (index, event) in events.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        encode_item(family, event, created_at, out);
    }
}

/// Appends one event of a page in the family's shape.
pub fn encode_item(family: Family, event: &Event<'_>, created_at: &str, out: &mut String) {
    let shape = family.item_shape();
    out.push_str(r#"{"eventEncoded":{"name":"#);
    push_quoted(&event.name, out);
    out.push_str(r#","args":"#);
    out.push_str(event.args_text().unwrap_or("null"));
    out.push_str(r#","seqNum":"#);
    push_integer(event.seq_num, out);
    out.push_str(r#","parentSeqNum":"#);
    push_integer(event.parent_seq_num, out);
    out.push_str(r#","clientId":"#);
    push_quoted(&event.client_id, out);
    out.push_str(r#","sessionId":"#);
    push_quoted(&event.session_id, out);
    out.push_str(shape.metadata);
    push_plain(created_at, out);
    out.push_str(shape.close);
}

/// Writes a text that came in a JSON frame: if it is borrowed from there it had no escapes, and needs
/// none here.
#[allow(clippy::ptr_arg)] // Whether it is borrowed is what counts.
fn push_quoted(text: &Cow<'_, str>, out: &mut String) {
    match text {
        Cow::Borrowed(text) => push_plain(text, out),
        Cow::Owned(text) => json::push_quoted(text, out),
    }
}

/// Writes a text that is known to need no escapes.
fn push_plain(text: &str, out: &mut String) {
    out.push('"');
    out.push_str(text);
    out.push('"');
}

fn push_integer(value: i64, out: &mut String) {
    use std::fmt::Write as _;
    // Writing to a string cannot fail.
    let _ = write!(out, "{value}");
}

/// What goes before the events of a page that answers a pull.
#[must_use]
pub fn page_head(requester: &Requester, transport: Transport) -> String {
    match requester.generation {
        Generation::V03 => v03::page_head(),
        Generation::V04 | Generation::V05 => rpc::page_head(&requester.id, transport),
    }
}

/// What goes before the events of a page that an object is called back with: its request id is a text
/// in every generation.
#[must_use]
pub fn callback_head(id: &RequestId) -> String {
    rpc::callback_head(id)
}

/// What goes after the events of a page that answers a pull.
#[must_use]
pub fn page_tail(requester: &Requester, info: PageInfo, backend_id: &BackendId) -> String {
    match requester.generation {
        Generation::V03 => v03::page_tail("pull", requester.id.json(), info),
        Generation::V04 | Generation::V05 => rpc::page_tail(info, backend_id),
    }
}

/// What goes after the events of a page, where only the log decides it.
pub(crate) fn rpc_page_tail(info: PageInfo, backend_id: &BackendId) -> String {
    rpc::page_tail(info, backend_id)
}

/// What goes after the events of a page that a 0.3 client is sent because of a push: to it they are as pushed by others.
#[must_use]
pub fn plain_unasked_tail(push: &Requester, info: PageInfo) -> String {
    v03::page_tail("push", push.id.json(), info)
}

/// What goes around the events of a push that is published to 0.3 sockets: the same for all of them.
#[must_use]
pub fn plain_broadcast(pusher: &Requester) -> (String, String) {
    let id = pusher.id.json();
    let tail = match pusher.generation {
        // The id is a text to 0.3 clients, so a number is quoted.
        Generation::V05 => v03::page_tail("push", &quote(id), PageInfo::NoMore),
        Generation::V03 | Generation::V04 => v03::page_tail("push", id, PageInfo::NoMore),
    };
    (v03::page_head(), tail)
}

/// The answer to a pull that has sent its last page and is not live; 0.3 has none.
#[must_use]
pub fn pull_done(requester: &Requester) -> Option<String> {
    match requester.generation {
        Generation::V03 => None,
        Generation::V04 | Generation::V05 => Some(rpc::exit_success(&requester.id, "null")),
    }
}

/// The answer to a ping that was a request.
#[must_use]
pub fn ping_done(requester: &Requester, transport: Transport) -> String {
    let value = match (requester.generation, transport) {
        (Generation::V05, Transport::DoRpc) => "null",
        _ => r#"{"_tag":"SyncMessage.Pong"}"#,
    };
    rpc::exit_success(&requester.id, value)
}

/// The answer to a Durable Object that wants to be called no more.
#[must_use]
pub fn unsubscribed(requester: &Requester) -> String {
    rpc::exit_success(&requester.id, "null")
}

/// The answer to a push whose events are stored.
#[must_use]
pub fn push_ack(requester: &Requester) -> String {
    match requester.generation {
        Generation::V03 => v03::push_ack(&requester.id),
        Generation::V04 | Generation::V05 => rpc::exit_success(&requester.id, "{}"),
    }
}

/// The answer to an administrative message of 0.3 that was done, by the object of this id.
#[must_use]
pub fn admin_done(requester: &Requester, ask: AdminAsk, object_id: &str) -> String {
    v03::admin_done(&requester.id, ask, object_id)
}

/// The answer to a request that fails.
#[must_use]
pub fn failed(requester: &Requester, failure: &Failure) -> String {
    match requester.generation {
        Generation::V03 => v03::failed(&requester.id, failure),
        Generation::V04 => v04::failed(&requester.id, failure),
        Generation::V05 => v05::failed(&requester.id, failure),
    }
}

/// The answer to an interrupted request; 0.3 has no interrupts.
#[must_use]
pub fn interrupted(requester: &Requester) -> Option<String> {
    match requester.generation {
        Generation::V03 => None,
        Generation::V04 => Some(v04::interrupted(&requester.id)),
        Generation::V05 => Some(v05::interrupted(&requester.id)),
    }
}

/// The answer to a message that was not understood; 0.3 clients get none.
#[must_use]
pub fn malformed(family: Family, malformed: &Malformed) -> Option<String> {
    match (family, malformed) {
        (Family::Plain, _) => None,
        (Family::Rpc, Malformed::Syntax { message }) => Some(rpc::syntax_defect(message)),
        (Family::Rpc, Malformed::Message { message }) => Some(rpc::defect(message)),
        (Family::Rpc, Malformed::Request { requester, message }) => {
            Some(match requester.generation {
                Generation::V05 => v05::died(&requester.id, message),
                Generation::V03 | Generation::V04 => v04::died(&requester.id, message),
            })
        }
    }
}

/// The answer to a ping that the runtime did not answer itself.
#[must_use]
pub fn pong(family: Family) -> &'static str {
    family.auto_response().1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_keeps_its_json_type_and_tells_the_generation() {
        let cases = [
            ("\"26\"", Some(Generation::V04)),
            ("38", Some(Generation::V05)),
            ("-1", Some(Generation::V05)),
            ("null", None),
            ("{}", None),
            ("true", None),
            ("", None),
            // Escapes are text if they are of a text.
            (r#""\u0041""#, Some(Generation::V04)),
            (r#""\ud800""#, None),
        ];
        for (json, generation) in cases {
            let id = RequestId::from_json(json);
            assert_eq!(
                id.as_ref().map(RequestId::rpc_generation),
                generation,
                "{json}"
            );
            assert!(id.is_none_or(|id| id.json() == json));
        }
        let of = |bytes: usize| RequestId::from_json(&format!("\"{}\"", "7".repeat(bytes - 2)));
        assert!(of(REQUEST_ID_BYTES_MAX).is_some());
        assert_eq!(of(REQUEST_ID_BYTES_MAX + 1), None);
    }

    #[test]
    fn an_option_that_is_none_says_whether_its_value_is_missing_or_its_tag_is_unknown() {
        let refused = |backend_id: &str| {
            let push = format!(
                r#"{{"_tag":"Request","id":7,"tag":"SyncWsRpc.Push","payload":{{"storeId":"s","batch":[],"backendId":{backend_id}}}}}"#
            );
            match decode(Family::Rpc, Transport::WebSocket, &push) {
                Inbound::Malformed(malformed) => malformed.message().to_owned(),
                other => panic!("{other:?}"),
            }
        };
        let message = refused(r#"{"_tag":"Some"}"#);
        assert!(message.contains("value is missing"), "{message}");
        for backend_id in [r#"{"_tag":"Any","value":"b"}"#, r#"{"value":"b"}"#, "{}"] {
            let message = refused(backend_id);
            assert!(message.contains("_tag None or Some"), "{message}");
        }
    }

    #[test]
    fn items_hold_the_fields_in_the_order_of_the_reference() {
        let events = json::read(
            r#"[{"sessionId":"s","name":"a\"b","args":{"x": 1},"seqNum":2,"parentSeqNum":1,"clientId":"c"},
                {"name":"n","seqNum":3,"parentSeqNum":2,"clientId":"c","sessionId":"s"}]"#,
            Event::read_all,
        )
        .unwrap();
        let mut out = String::new();
        encode_items(Family::Rpc, &events, "2026-11-22T10:19:11.954Z", &mut out);
        assert_eq!(
            out,
            concat!(
                r#"{"eventEncoded":{"name":"a\"b","args":{"x": 1},"seqNum":2,"parentSeqNum":1,"clientId":"c","sessionId":"s"},"#,
                r#""metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"2026-11-22T10:19:11.954Z"}}},"#,
                r#"{"eventEncoded":{"name":"n","args":null,"seqNum":3,"parentSeqNum":2,"clientId":"c","sessionId":"s"},"#,
                r#""metadata":{"_tag":"Some","value":{"_tag":"SyncMessage.SyncMetadata","createdAt":"2026-11-22T10:19:11.954Z"}}}"#,
            )
        );
    }
}
