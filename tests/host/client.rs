//! The other end of the wire: what clients of each generation say, and how they understand answers.

use livestore_sync_worker::wire::{Family, Generation};
use serde_json::{Value, json};

/// An event as a client holds it; `args` is JSON text, absent for `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) seq_num: i64,
    pub(crate) parent_seq_num: i64,
    pub(crate) name: String,
    pub(crate) args: Option<String>,
    pub(crate) client_id: String,
    pub(crate) session_id: String,
}

impl Sample {
    /// A plain event that continues from the one before it.
    pub(crate) fn new(seq_num: i64) -> Self {
        Self {
            seq_num,
            parent_seq_num: seq_num - 1,
            name: "todoCreated".to_owned(),
            args: Some(format!(r#"{{"id":"id-{seq_num}"}}"#)),
            client_id: "client-A".to_owned(),
            session_id: "session-A".to_owned(),
        }
    }

    /// Such an event whose args are a string of `bytes` letters.
    pub(crate) fn padded(seq_num: i64, bytes: usize) -> Self {
        Self {
            args: Some(format!("\"{}\"", "x".repeat(bytes.max(2) - 2))),
            ..Self::new(seq_num)
        }
    }

    /// The event as it stands in a push.
    pub(crate) fn json(&self) -> String {
        let quote = |text: &str| serde_json::to_string(text).unwrap();
        let args = self
            .args
            .as_ref()
            .map_or_else(String::new, |args| format!(r#""args":{args},"#));
        format!(
            r#"{{"name":{},{args}"seqNum":{},"parentSeqNum":{},"clientId":{},"sessionId":{}}}"#,
            quote(&self.name),
            self.seq_num,
            self.parent_seq_num,
            quote(&self.client_id),
            quote(&self.session_id)
        )
    }

    /// The event as it must come back.
    pub(crate) fn delivered(&self) -> Value {
        let args: Value = self.args.as_ref().map_or(Value::Null, |args| {
            serde_json::from_str(args).unwrap_or_else(|_| Value::String(args.clone()))
        });
        json!({
            "name": self.name, "args": args, "seqNum": self.seq_num,
            "parentSeqNum": self.parent_seq_num, "clientId": self.client_id, "sessionId": self.session_id,
        })
    }
}

/// The events of a push as a JSON array.
pub(crate) fn batch_json(events: &[Sample]) -> String {
    let items: Vec<String> = events.iter().map(Sample::json).collect();
    format!("[{}]", items.join(","))
}

/// Speaks one generation about one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Speaker<'a> {
    pub(crate) generation: Generation,
    pub(crate) store_id: &'a str,
}

impl Speaker<'_> {
    /// A request id as this generation writes it.
    pub(crate) fn id(&self, counter: u64) -> String {
        match self.generation {
            Generation::V03 => format!("\"r{counter}\""),
            Generation::V04 => format!("\"{counter}\""),
            Generation::V05 => counter.to_string(),
        }
    }

    /// A pull after `cursor`, which names the lifetime of the log and an event.
    pub(crate) fn pull(&self, id: &str, live: bool, cursor: Option<(&str, i64)>) -> String {
        if self.generation == Generation::V03 {
            let cursor =
                cursor.map_or_else(String::new, |(_, after)| format!(r#","cursor":{after}"#));
            return format!(r#"{{"_tag":"WSMessage.PullReq","requestId":{id}{cursor}}}"#);
        }
        let cursor = match cursor {
            None => json!({"_tag": "None"}),
            Some((backend_id, after)) => {
                json!({"_tag": "Some", "value": {"backendId": backend_id, "eventSequenceNumber": after}})
            }
        };
        let payload = json!({"storeId": self.store_id, "live": live, "cursor": cursor});
        request(id, "Pull", &payload.to_string())
    }

    /// A push of `batch`, a JSON array of events.
    pub(crate) fn push(&self, id: &str, backend_id: Option<&str>, batch: &str) -> String {
        if self.generation == Generation::V03 {
            return format!(r#"{{"_tag":"WSMessage.PushReq","requestId":{id},"batch":{batch}}}"#);
        }
        let backend_id = match backend_id {
            None => json!({"_tag": "None"}),
            Some(id) => json!({"_tag": "Some", "value": id}),
        };
        let store_id = Value::from(self.store_id);
        let payload =
            format!(r#"{{"storeId":{store_id},"batch":{batch},"backendId":{backend_id}}}"#);
        request(id, "Push", &payload)
    }

    /// A ping that the runtime does not answer.
    pub(crate) fn ping(&self) -> &'static str {
        match self.generation.family() {
            Family::Plain => r#"{ "_tag": "WSMessage.Ping", "requestId": "ping" }"#,
            Family::Rpc => r#"{ "_tag": "Ping" }"#,
        }
    }
}

fn request(id: &str, tag: &str, payload: &str) -> String {
    format!(
        r#"{{"_tag":"Request","id":{id},"tag":"SyncWsRpc.{tag}","payload":{payload},"headers":[]}}"#
    )
}

/// Says that a page has arrived.
pub(crate) fn ack(id: &str) -> String {
    format!(r#"{{"_tag":"Ack","requestId":{id}}}"#)
}

/// Wants no more answers.
pub(crate) fn interrupt(id: &str) -> String {
    format!(r#"{{"_tag":"Interrupt","requestId":{id}}}"#)
}

/// What a client understands of a frame. Ids are JSON text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// Events for a pull, or (0.3) of a push to whoever is connected.
    Page {
        id: String,
        /// Whether it is the 0.3 broadcast of the push with that id.
        is_broadcast: bool,
        events: Vec<Value>,
        created_at: Vec<String>,
        /// Events to come; 0 for the last page.
        remaining: u64,
        /// `None` in 0.3.
        backend_id: Option<String>,
        /// Bytes of the pull response, the envelope not counted.
        bytes: usize,
    },
    /// The end of a pull that is not live.
    PullDone { id: String },
    /// The events of a push are stored.
    PushDone { id: String },
    /// A typed error; 0.3 has only a text.
    Failed { id: String, error: Value },
    /// The request is the client's mistake.
    Died { id: String, defect: String },
    /// The end of an interrupted request.
    Interrupted { id: String },
    /// Everything that is outstanding fails.
    Defect { defect: Value },
    /// The answer to a ping.
    Pong,
    /// An administrative message of 0.3 has been done.
    AdminDone { id: String },
}

impl Heard {
    /// The request it answers.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Self::Page { id, .. }
            | Self::PullDone { id }
            | Self::PushDone { id }
            | Self::Failed { id, .. }
            | Self::Died { id, .. }
            | Self::AdminDone { id }
            | Self::Interrupted { id } => Some(id),
            Self::Defect { .. } | Self::Pong => None,
        }
    }
}

/// Understands a frame, or fails the test: whatever a client cannot decode breaks it.
pub(crate) fn hear(family: Family, frame: &str) -> Heard {
    let message: Value = parse_deep(frame);
    match family {
        Family::Plain => hear_plain(&message),
        Family::Rpc => hear_rpc(&message, frame.len()),
    }
}

/// Parses JSON however deeply its args are nested, as clients do.
fn parse_deep(frame: &str) -> Value {
    serde_json::from_str(frame).unwrap_or_else(|error| {
        panic!(
            "a client cannot read {}: {error}",
            frame.chars().take(300).collect::<String>()
        )
    })
}

fn hear_plain(message: &Value) -> Heard {
    let id = message["requestId"].to_string();
    match message["_tag"].as_str() {
        Some("WSMessage.PullRes") => {
            let (events, created_at) = items(&message["batch"], false);
            let context = message["requestId"]["context"].as_str();
            assert!(matches!(context, Some("pull" | "push")), "{message}");
            let id = &message["requestId"]["requestId"];
            assert!(id.is_string(), "{message}");
            Heard::Page {
                id: id.to_string(),
                is_broadcast: context == Some("push"),
                events,
                created_at,
                remaining: message["remaining"].as_u64().unwrap(),
                backend_id: None,
                bytes: 0,
            }
        }
        Some("WSMessage.PushAck") => Heard::PushDone { id },
        Some("WSMessage.Error") => {
            assert!(message["message"].is_string(), "{message}");
            let error = message["message"].clone();
            Heard::Failed { id, error }
        }
        Some("WSMessage.Pong") => Heard::Pong,
        Some("WSMessage.AdminInfoRes" | "WSMessage.AdminResetRoomRes") => Heard::AdminDone { id },
        _ => panic!("0.3 clients know no {message}"),
    }
}

fn hear_rpc(message: &Value, frame_bytes: usize) -> Heard {
    let id = message["requestId"].to_string();
    match message["_tag"].as_str() {
        Some("Pong") => Heard::Pong,
        Some("Defect") => Heard::Defect {
            defect: message["defect"].clone(),
        },
        Some("Chunk") => {
            let values = message["values"].as_array().unwrap();
            assert_eq!(values.len(), 1, "one response a chunk");
            let (events, created_at) = items(&values[0]["batch"], true);
            let info = &values[0]["pageInfo"];
            let remaining = match info["_tag"].as_str() {
                Some("NoMore") => 0,
                Some("MoreKnown") => info["remaining"].as_u64().filter(|more| *more > 0).unwrap(),
                _ => panic!("no page info: {info}"),
            };
            let envelope = format!(r#"{{"_tag":"Chunk","requestId":{id},"values":[]}}"#);
            Heard::Page {
                id,
                is_broadcast: false,
                events,
                created_at,
                remaining,
                backend_id: Some(values[0]["backendId"].as_str().unwrap().to_owned()),
                bytes: frame_bytes - envelope.len(),
            }
        }
        Some("Exit") => hear_exit(id, &message["exit"]),
        _ => panic!("RPC clients know no {message}"),
    }
}

fn hear_exit(id: String, exit: &Value) -> Heard {
    match exit["_tag"].as_str() {
        Some("Success") if exit.get("value") == Some(&Value::Null) => Heard::PullDone { id },
        Some("Success") if exit.get("value") == Some(&json!({})) => Heard::PushDone { id },
        Some("Success") if exit["value"]["_tag"] == "SyncMessage.Pong" => Heard::Pong,
        Some("Failure") => {
            // Effect 3 reads a tree, Effect 4 a list.
            let is_v04 = id.starts_with('"');
            let cause = if is_v04 {
                &exit["cause"]
            } else {
                &exit["cause"][0]
            };
            match cause["_tag"].as_str() {
                Some("Fail") => {
                    let error = cause["error"].clone();
                    check_error(&error);
                    Heard::Failed { id, error }
                }
                Some("Die") => Heard::Died {
                    id,
                    defect: cause["defect"].as_str().unwrap().to_owned(),
                },
                Some("Interrupt") => {
                    assert!(cause.get("fiberId").is_some(), "{cause}");
                    Heard::Interrupted { id }
                }
                _ => panic!("no cause a client of {id} decodes: {exit}"),
            }
        }
        _ => panic!("no exit: {exit}"),
    }
}

/// What both RPC generations decode as an error.
fn check_error(error: &Value) {
    let is_decodable = match error["_tag"].as_str() {
        Some("ServerAheadError") => {
            error["minimumExpectedNum"].is_u64() && error["providedNum"].is_i64()
        }
        Some("BackendIdMismatchError") => {
            error["expected"].is_string() && error["received"].is_string()
        }
        Some("UnknownError") => {
            error["cause"]["name"] == "Error" && error["cause"]["message"].is_string()
        }
        _ => false,
    };
    assert!(is_decodable, "{error}");
}

/// The events and times of a batch.
fn items(batch: &Value, has_tag: bool) -> (Vec<Value>, Vec<String>) {
    batch
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let metadata = &item["metadata"];
            assert_eq!(metadata["_tag"], "Some");
            let tag = has_tag.then_some("SyncMessage.SyncMetadata");
            assert_eq!(metadata["value"]["_tag"].as_str(), tag);
            let event = &item["eventEncoded"];
            assert!(event.get("args").is_some(), "args are always there");
            let created_at = metadata["value"]["createdAt"].as_str().unwrap().to_owned();
            (event.clone(), created_at)
        })
        .unzip()
}

/// The sequence number of a delivered event.
pub(crate) fn seq_num(event: &Value) -> i64 {
    event["seqNum"].as_i64().unwrap()
}
