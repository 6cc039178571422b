//! What model clients say, on every transport.

use std::fmt::Write as _;

use livestore_sync_worker::wire::{Generation, Transport};

use super::ends::Event;

pub(super) const STORE: &str = "sim";
/// The binding of client objects.
const BINDING: &str = "CLIENT";
/// The secret of the administration.
pub(super) const ADMIN: &str = "the-admin-secret";

/// Speaks one generation over one transport.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tongue {
    pub(super) generation: Generation,
    pub(super) transport: Transport,
}

impl Tongue {
    /// A request id as this generation writes it.
    pub(super) fn id(self, counter: u64) -> String {
        match self.generation {
            Generation::V03 => format!("\"r{counter}\""),
            Generation::V04 => format!("\"{counter}\""),
            Generation::V05 => counter.to_string(),
        }
    }

    fn request(self, id: &str, tag: &str, payload: &str) -> String {
        let group = match self.transport {
            Transport::WebSocket => "SyncWsRpc",
            Transport::Http => "SyncHttpRpc",
            Transport::DoRpc => "SyncDoRpc",
        };
        format!(
            r#"{{"_tag":"Request","id":{id},"tag":"{group}.{tag}","payload":{payload},"headers":[]}}"#
        )
    }

    /// A pull after `cursor`, a lifetime and an event in it; `calls` names a client object.
    pub(super) fn pull(
        self,
        id: &str,
        store: &str,
        live: bool,
        cursor: Option<(&str, i64)>,
        calls: Option<&str>,
    ) -> String {
        if self.generation == Generation::V03 {
            let cursor =
                cursor.map_or_else(String::new, |(_, after)| format!(r#","cursor":{after}"#));
            return format!(r#"{{"_tag":"WSMessage.PullReq","requestId":{id}{cursor}}}"#);
        }
        let cursor = cursor.map_or_else(none, |(backend_id, after)| {
            format!(
                r#"{{"_tag":"Some","value":{{"backendId":"{backend_id}","eventSequenceNumber":{after}}}}}"#
            )
        });
        let calls = calls.map_or_else(String::new, |object| {
            format!(
                r#","rpcContext":{{"callerContext":{{"bindingName":"{BINDING}","durableObjectId":"{object}"}}}}"#
            )
        });
        let payload = format!(r#"{{"storeId":"{store}","live":{live},"cursor":{cursor}{calls}}}"#);
        self.request(id, "Pull", &payload)
    }

    pub(super) fn push(
        self,
        id: &str,
        store: &str,
        backend_id: Option<&str>,
        events: &[Event],
    ) -> String {
        let mut batch = String::from("[");
        for (index, event) in events.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let Event {
                seq_num,
                parent_seq_num,
                marker,
                client,
                padding,
            } = event;
            let padding = "x".repeat(*padding);
            write!(
                batch,
                r#"{comma}{{"name":"v1.Noted","args":{{"sekret":{marker},"text":"{padding}"}},"seqNum":{seq_num},"parentSeqNum":{parent_seq_num},"clientId":"c{client}","sessionId":"s"}}"#
            )
            .unwrap();
        }
        batch.push(']');
        if self.generation == Generation::V03 {
            return format!(r#"{{"_tag":"WSMessage.PushReq","requestId":{id},"batch":{batch}}}"#);
        }
        let backend_id =
            backend_id.map_or_else(none, |id| format!(r#"{{"_tag":"Some","value":"{id}"}}"#));
        let payload =
            format!(r#"{{"storeId":"{store}","batch":{batch},"backendId":{backend_id}}}"#);
        self.request(id, "Push", &payload)
    }

    pub(super) fn ping(self, id: &str) -> String {
        match (self.generation, self.transport) {
            (Generation::V03, _) => r#"{ "_tag":"WSMessage.Ping","requestId":"ping"}"#.to_owned(),
            (_, Transport::WebSocket) => r#"{ "_tag":"Ping"}"#.to_owned(),
            _ => self.request(id, "Ping", &format!(r#"{{"storeId":"{STORE}"}}"#)),
        }
    }

    pub(super) fn unsubscribe(self, id: &str, object: &str, pull: Option<&str>) -> String {
        let pull = pull.map_or_else(String::new, |pull| format!(r#","requestId":{pull}"#));
        let payload = format!(r#"{{"storeId":"{STORE}","durableObjectId":"{object}"{pull}}}"#);
        self.request(id, "Unsubscribe", &payload)
    }

    /// The administrative message of 0.3.
    pub(super) fn reset(id: &str, secret: &str) -> String {
        format!(
            r#"{{"_tag":"WSMessage.AdminResetRoomReq","requestId":{id},"adminSecret":"{secret}"}}"#
        )
    }
}

fn none() -> String {
    r#"{"_tag":"None"}"#.to_owned()
}
