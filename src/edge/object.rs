//! The Durable Object that owns one store's event log: events of the platform go into the backend, and
//! its outputs are applied in order.
//!
//! The class is written out rather than derived: its handlers are synchronous and take sockets and
//! frames as they are, so that a frame costs one call and leaves nothing pending (INV-9: an idle object
//! hibernates). All state can be rebuilt from storage and attachments, which is what a wake does.

use std::cell::RefCell;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::Request;
use worker::{Env, worker_sys};

use super::log::Log;
use super::sql::{JsText, ObjectSql};
use super::{config, js};
use crate::backend::{ConnectionId, Frame, Output, SyncBackend};
use crate::config::LogLevel;
use crate::event::{BackendId, StoreId};
use crate::limits::Limits;
use crate::route::{SyncQuery, family_of};
use crate::store::{EventStore, Found};
use crate::wire::Family;

/// The sync backend of one store.
#[wasm_bindgen]
pub struct SyncObject {
    state: JsValue,
    storage: JsValue,
    sql: JsValue,
    env: Env,
    /// Borrowed for the length of a handler: no handler runs inside another.
    opened: RefCell<Option<Opened>>,
}

/// The object in memory: its backend, the sockets by connection, and what the runtime was told.
struct Opened {
    backend: SyncBackend<ObjectSql>,
    sockets: Vec<Option<JsValue>>,
    auto_response: Option<Family>,
    outputs: Vec<Output<JsText>>,
    limits: Limits,
    log: Log,
}

#[wasm_bindgen]
impl SyncObject {
    /// Called by the runtime when the object wakes; reads nothing yet.
    ///
    /// # Errors
    /// When the object has no storage.
    #[wasm_bindgen(constructor)]
    pub fn new(state: worker_sys::DurableObjectState, env: Env) -> Result<SyncObject, JsValue> {
        let storage = state.storage()?;
        let sql = storage.sql();
        Ok(Self {
            storage: storage.into(),
            sql: sql.into(),
            state: state.into(),
            env,
            opened: RefCell::new(None),
        })
    }

    /// A WebSocket upgrade that the Worker has let in.
    #[allow(clippy::needless_pass_by_value)] // The runtime hands it over.
    pub fn fetch(&self, request: Request) -> Result<JsValue, JsValue> {
        let url = js::Url::parse(&request.url())?;
        let Ok(query) = SyncQuery::parse(&js::query_of(&url)) else {
            return text(400, "Invalid path");
        };
        let Some(family) = family_of(&url.pathname(), query.transport.as_deref()) else {
            return text(400, "Invalid path");
        };
        self.with(Some(&query.store_id), |opened| {
            if *opened.backend.store().store_id() != query.store_id {
                return text(400, "this object belongs to another store");
            }
            if opened.backend.connections().count() >= opened.limits.connections_max {
                opened
                    .log
                    .write(LogLevel::Warn, "refused", "MAX_CONNECTIONS is reached");
                return text(
                    503,
                    "This store has as many connections as it accepts (MAX_CONNECTIONS)",
                );
            }
            opened.connect(&self.state, family)
        })
        .unwrap_or_else(|| text(503, "The store could not be opened"))
    }

    /// A frame of a client.
    #[wasm_bindgen(js_name = webSocketMessage)]
    #[allow(clippy::needless_pass_by_value)] // The runtime hands them over.
    pub fn web_socket_message(&self, socket: JsValue, message: JsValue) {
        let handled = self.with(None, |opened| {
            let Some(from) = connection_of(&socket) else {
                return js::close(&socket, 1012, "connect again");
            };
            let (now_ms, mut outputs) = (js::now_ms(), std::mem::take(&mut opened.outputs));
            if let Some(text) = message.as_string() {
                opened
                    .backend
                    .on_frame(from, Frame::Text(&text), now_ms, &mut outputs);
            } else {
                let bytes = Uint8Array::new(&message).to_vec();
                opened
                    .backend
                    .on_frame(from, Frame::Binary(&bytes), now_ms, &mut outputs);
            }
            opened.apply(&self.storage, &mut outputs);
            opened.outputs = outputs;
        });
        if handled.is_none() {
            js::close(
                &socket,
                1011,
                "the store could not be opened: connect again",
            );
        }
    }

    /// A socket that its client has closed.
    #[wasm_bindgen(js_name = webSocketClose)]
    #[allow(clippy::needless_pass_by_value)] // The runtime hands them over.
    pub fn web_socket_close(&self, socket: JsValue, code: u16, _reason: JsValue, _was_clean: bool) {
        self.forget(&socket);
        // 1005 and 1006 stand for "no code" and may not be sent.
        let code = if matches!(code, 1005 | 1006 | 1015) {
            1000
        } else {
            code
        };
        js::close(&socket, code, "Durable Object is closing WebSocket");
    }

    /// A socket that broke.
    #[wasm_bindgen(js_name = webSocketError)]
    #[allow(clippy::needless_pass_by_value)] // The runtime hands them over.
    pub fn web_socket_error(&self, socket: JsValue, _error: JsValue) {
        self.forget(&socket);
        js::close(&socket, 1011, "the connection broke");
    }

    /// More pages are to be sent than one turn should send.
    pub fn alarm(&self) {
        self.with(None, |opened| {
            let mut outputs = std::mem::take(&mut opened.outputs);
            opened.backend.resume(&mut outputs);
            opened.apply(&self.storage, &mut outputs);
            opened.outputs = outputs;
        });
    }
}

impl SyncObject {
    /// Runs `work` on the opened object, opening it first where that has not happened; `None` when it
    /// cannot be opened, which is logged.
    fn with<R>(
        &self,
        store_id: Option<&StoreId>,
        work: impl FnOnce(&mut Opened) -> R,
    ) -> Option<R> {
        let mut opened = self.opened.try_borrow_mut().ok()?;
        if opened.is_none() {
            *opened = self.open(store_id);
        }
        opened.as_mut().map(work)
    }

    fn open(&self, store_id: Option<&StoreId>) -> Option<Opened> {
        let sockets = js::open_sockets(&self.state)
            .map(|sockets| sockets.to_vec())
            .unwrap_or_default();
        let attachments: Vec<Option<String>> = sockets
            .iter()
            .map(|socket| js::attachment_of(socket).ok().flatten())
            .collect();
        let named = js::name_of(&self.state).ok().flatten().map(StoreId::new);
        let kept = || {
            attachments
                .iter()
                .flatten()
                .find_map(|kept| SyncBackend::<ObjectSql>::store_of(kept))
        };
        let store_id = named.or_else(|| store_id.cloned()).or_else(kept)?;
        let config = config(&self.env);
        let level = config
            .as_ref()
            .map_or(LogLevel::Info, |config| config.log_level);
        let limits = config
            .as_ref()
            .map_or_else(|_| Limits::default(), |config| config.limits);
        let log = Log::new(level, store_id.as_str());
        if let Err(error) = &config {
            log.write(LogLevel::Error, "configuration", &error.to_string());
        }
        let mut random = [0; 21];
        js::randomize(&mut random);
        let sql = ObjectSql::new(self.storage.clone(), self.sql.clone());
        let (store, found) = match EventStore::open(sql, store_id, BackendId::from_random(random)) {
            Ok(opened) => opened,
            Err(error) => {
                log.write(LogLevel::Error, "open-failed", &error.to_string());
                return None;
            }
        };
        report_found(&log, found, store.head().get(), sockets.len());
        let mut opened = Opened {
            backend: SyncBackend::new(store, limits),
            sockets: Vec::new(),
            auto_response: None,
            outputs: Vec::new(),
            limits,
            log,
        };
        for (socket, attachment) in sockets.into_iter().zip(attachments) {
            match attachment.and_then(|attachment| opened.backend.reconnect(&attachment)) {
                Some(connection) => opened.place(connection, socket),
                None => js::close(&socket, 1011, "invalid attachment: connect again"),
            }
        }
        // The runtime may still answer the pings of a client that has left.
        opened.auto_respond(&self.state);
        Some(opened)
    }

    fn forget(&self, socket: &JsValue) {
        self.with(None, |opened| {
            if let Some(connection) = connection_of(socket) {
                opened.drop_socket(connection);
                opened.backend.disconnect(connection);
                opened.auto_respond(&self.state);
            }
        });
    }
}

impl Opened {
    fn connect(&mut self, state: &JsValue, family: Family) -> Result<JsValue, JsValue> {
        let connection = self.backend.connect(family, js::now_ms());
        let attachment = self.backend.attachment(connection).unwrap_or_default();
        let accepted = match js::accept(state, &attachment) {
            Ok(accepted) => accepted,
            Err(error) => {
                self.backend.disconnect(connection);
                return Err(error);
            }
        };
        self.place(connection, accepted.get(0));
        self.auto_respond(state);
        self.log.write(LogLevel::Debug, "connected", "");
        Ok(accepted.get(1))
    }

    fn place(&mut self, connection: ConnectionId, socket: JsValue) {
        js::identify(&socket, i32::try_from(connection.get()).unwrap_or(-1));
        let index = connection.index();
        if self.sockets.len() <= index {
            self.sockets.resize(index + 1, None);
        }
        if let Some(slot) = self.sockets.get_mut(index) {
            *slot = Some(socket);
        }
    }

    fn socket(&self, connection: ConnectionId) -> Option<&JsValue> {
        self.sockets.get(connection.index())?.as_ref()
    }

    /// Forgets a connection's socket; its number may be used again, so it is wiped off.
    fn drop_socket(&mut self, connection: ConnectionId) -> Option<JsValue> {
        let socket = self.sockets.get_mut(connection.index())?.take();
        if let Some(socket) = &socket {
            js::identify(socket, -1);
        }
        socket
    }

    /// Has the runtime answer the pings of the clients that are connected. It knows one ping per object,
    /// so 0.3 clients beside newer ones are answered by the backend.
    fn auto_respond(&mut self, state: &JsValue) {
        let mut families = self.backend.connections().map(|(_, family)| family);
        let Some(first) = families.next() else {
            return;
        };
        let family = if first == Family::Rpc || families.any(|family| family == Family::Rpc) {
            Family::Rpc
        } else {
            Family::Plain
        };
        if self.auto_response == Some(family) {
            return;
        }
        let (request, response) = family.auto_response();
        match js::auto_respond(state, request, response) {
            Ok(()) => self.auto_response = Some(family),
            Err(error) => self
                .log
                .write(LogLevel::Error, "auto-response", &js::message_of(&error)),
        }
    }

    fn apply(&mut self, storage: &JsValue, outputs: &mut Vec<Output<JsText>>) {
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, frame } => {
                    if let Some(socket) = self.socket(to) {
                        // A socket that takes nothing is closing, and its close event cleans up.
                        js::send(socket, frame.as_js());
                    }
                }
                Output::Remember { connection } => self.remember(connection),
                Output::Close {
                    connection,
                    code,
                    reason,
                } => {
                    if let Some(socket) = self.drop_socket(connection) {
                        js::close(&socket, code, reason);
                    }
                }
                Output::Resume => {
                    if let Err(error) = js::wake_soon(storage) {
                        self.log
                            .write(LogLevel::Error, "alarm", &js::message_of(&error));
                    }
                }
                Output::Report(report) => self.log.report(&report),
            }
        }
    }

    fn remember(&mut self, connection: ConnectionId) {
        let Some(attachment) = self.backend.attachment(connection) else {
            return;
        };
        let kept = self
            .socket(connection)
            .map(|socket| js::keep(socket, &attachment));
        if let Some(Err(error)) = kept {
            // Unkept, its subscriptions would be lost at the next eviction: better to start over now.
            self.log
                .write(LogLevel::Error, "attachment", &js::message_of(&error));
            self.backend.disconnect(connection);
            if let Some(socket) = self.drop_socket(connection) {
                js::close(
                    &socket,
                    1011,
                    "the connection could not be kept: connect again",
                );
            }
        }
    }
}

/// The connection whose number a socket bears.
fn connection_of(socket: &JsValue) -> Option<ConnectionId> {
    u32::try_from(js::identity_of(socket))
        .ok()
        .map(ConnectionId::from_raw)
}

fn report_found(log: &Log, found: Found, head: u64, sockets: usize) {
    match found {
        Found::NewStore | Found::NoContext | Found::InStep => {}
        Found::Behind { stored, log: stored_log } => log.write(
            LogLevel::Warn,
            "head-repaired",
            &format!("the stored head was {stored}, the log ends at {stored_log}"),
        ),
        Found::Ahead { stored, log: stored_log } => log.write(
            LogLevel::Error,
            "events-missing",
            &format!("the stored head is {stored}, but the log ends at {stored_log}: it goes on from {stored}"),
        ),
    }
    log.write(
        LogLevel::Debug,
        "opened",
        &format!("head {head}, {sockets} sockets"),
    );
}

fn text(status: u16, body: &str) -> Result<JsValue, JsValue> {
    js::respond(status, body, &Array::new())
}
