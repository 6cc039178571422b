//! The Durable Object that owns one store's event log: events of the platform go into the backend, and
//! its outputs are applied in order.
//!
//! The class is written out rather than derived: its handlers take sockets and frames as they are, and
//! are plain calls unless a hook waits, so that a frame costs one call and leaves nothing pending
//! (INV-9: an idle object hibernates). All state can be rebuilt from storage and attachments, which is
//! what a wake does.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use worker::Env;
use worker::worker_sys::web_sys::Request;

use super::log::Log;
use super::run::now_or_later;
use super::sql::{JsText, ObjectSql};
use super::{admin, committed, config, fetch, hooked, js, once};
use crate::auth::Grant;
use crate::backend::{
    CallId, Called, Caller, ConnectionId, Content, Duration, Frame, Output, Reason, Rules,
    SyncBackend,
};
use crate::config::LogLevel;
use crate::event::{BackendId, StoreId};
use crate::hooks::{Hooks, Installed};
use crate::limits::Limits;
use crate::route::{Door, Errand, Visit};
use crate::store::sql::{StoreError, Text as _};
use crate::store::{EventStore, Found};
use crate::wire::{Family, Generation};

/// The sync backend of one store, with the hooks of an app. `export!` makes a class of it.
#[allow(missing_debug_implementations)]
pub struct Object<H: Hooks>(Rc<Inner<H>>);

/// What the handlers of an object, and the futures they leave behind, share.
pub(super) struct Inner<H: Hooks> {
    state: JsValue,
    pub(super) storage: JsValue,
    sql: JsValue,
    pub(super) env: Env,
    pub(super) hooks: Installed<H>,
    /// Borrowed for the length of a turn, never while something waits.
    opened: RefCell<Option<Opened>>,
    pub(super) waiting: hooked::Waiting,
    pub(super) delivery: Cell<committed::Delivery>,
    /// What the alarm is set to, as far as this life of the object knows.
    alarm_at_ms: Cell<Option<u64>>,
}

/// The object in memory: its backend, the connections' other ends, and what the runtime was told.
pub(super) struct Opened {
    pub(super) backend: SyncBackend<ObjectSql>,
    lines: Vec<Option<Line>>,
    auto_response: Option<Family>,
    outputs: Vec<Output<JsText>>,
    limits: Limits,
    pub(super) log: Log,
    pub(super) woken_at_ms: u64,
}

/// Where frames for a connection go.
enum Line {
    Socket(JsValue),
    /// The answer to one request, as far as it has not been handed over.
    Answer(Vec<(Content, JsText)>),
}

impl<H: Hooks> Object<H> {
    /// Called by the runtime when the object wakes; reads nothing yet. `hooks` makes the app's hooks.
    ///
    /// # Errors
    /// When the object has no storage.
    pub fn new(state: JsValue, env: JsValue, hooks: fn(Env) -> H) -> Result<Self, JsValue> {
        let env: Env = env.unchecked_into();
        let hooks = Installed::new(hooks(env.clone()));
        let storage = js::storage_of(&state)?;
        let sql = js::sql_of(&storage)?;
        Ok(Self(Rc::new(Inner {
            state,
            storage,
            sql,
            env,
            hooks,
            opened: RefCell::new(None),
            waiting: hooked::Waiting::default(),
            delivery: Cell::default(),
            alarm_at_ms: Cell::new(None),
        })))
    }

    /// A request that the Worker has let in: a WebSocket upgrade, or one over HTTP.
    ///
    /// # Errors
    /// What the platform throws.
    pub fn fetch(&self, request: Request) -> Result<JsValue, JsValue> {
        let inner = &self.0;
        let visit = match fetch::visit(&inner.state, &inner.env, &request)? {
            Ok(visit) => visit,
            Err(answer) => return fetch::respond(&answer),
        };
        let Visit {
            store_id,
            errand,
            headers,
        } = visit;
        match errand {
            Errand::Administer(ask) => {
                now_or_later(admin::answer(inner.clone(), request, store_id, ask))
            }
            Errand::Sync {
                door: Door::Http,
                grant,
            } => now_or_later(once::http(inner.clone(), request, store_id, grant, headers)),
            Errand::Sync {
                door: Door::Socket(family),
                grant,
            } => inner.connect(&store_id, family, grant),
        }
    }

    /// A call of another Durable Object: `payload` is a request, the result its answer.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn rpc(&self, payload: &JsValue) -> Result<JsValue, JsValue> {
        let payload = Uint8Array::new(payload).to_vec();
        now_or_later(once::rpc(self.0.clone(), payload))
    }

    /// A frame of a client.
    ///
    /// # Errors
    /// None; a promise when a hook waits.
    pub fn web_socket_message(
        &self,
        socket: &JsValue,
        message: &JsValue,
    ) -> Result<JsValue, JsValue> {
        let from = self.0.with(None, |_| connection_of(socket));
        let from = match from {
            Some(Some(from)) => from,
            Some(None) => {
                js::close(socket, 1012, "connect again");
                return Ok(JsValue::UNDEFINED);
            }
            None => {
                let reason = "the store could not be opened: connect again";
                js::close(socket, 1011, reason);
                return Ok(JsValue::UNDEFINED);
            }
        };
        let frame = match message.as_string() {
            Some(text) => OwnedFrame::Text(text),
            None => OwnedFrame::Binary(Uint8Array::new(message).to_vec()),
        };
        if self.0.hooks.uses().is_empty() {
            self.0.turn(|backend, now_ms, out| {
                backend.on_frame(from, frame.borrow(), now_ms, out);
            });
            return Ok(JsValue::UNDEFINED);
        }
        let inner = self.0.clone();
        now_or_later(async move {
            if let Some(rest) = hooked::serve(&inner, from, frame.borrow()) {
                rest.await;
            }
            Ok(JsValue::UNDEFINED)
        })
    }

    /// A socket that its client has closed.
    pub fn web_socket_close(&self, socket: &JsValue, code: u16) {
        self.0.forget(socket);
        // 1005 and 1006 stand for "no code" and may not be sent.
        let code = if matches!(code, 1005 | 1006 | 1015) {
            1000
        } else {
            code
        };
        js::close(socket, code, "Durable Object is closing WebSocket");
    }

    /// A socket that broke.
    pub fn web_socket_error(&self, socket: &JsValue) {
        self.0.forget(socket);
        js::close(socket, 1011, "the connection broke");
    }

    /// Something was left for later: more pages than one turn should send, a call to repeat, events to
    /// tell a hook of.
    pub fn alarm(&self) {
        self.0.alarm_at_ms.set(None);
        hooked::on_alarm(&self.0);
        committed::deliver(&self.0);
    }
}

/// A frame that outlives the call it came in.
enum OwnedFrame {
    Text(String),
    Binary(Vec<u8>),
}

impl OwnedFrame {
    fn borrow(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

impl<H: Hooks> Inner<H> {
    /// Runs `work` on the opened object, opening it first where that has not happened; `None` when it
    /// cannot be opened, which is logged.
    pub(super) fn with<R>(
        self: &Rc<Self>,
        store_id: Option<&StoreId>,
        work: impl FnOnce(&mut Opened) -> R,
    ) -> Option<R> {
        let mut opened = self.opened.try_borrow_mut().ok()?;
        let is_waking = opened.is_none();
        if is_waking {
            *opened = self.open(store_id);
        }
        let result = {
            let opened = opened.as_mut()?;
            if is_waking {
                let mut outputs = Vec::new();
                opened.backend.on_wake(js::now_ms(), &mut outputs);
                opened.apply(self, &mut outputs);
            }
            work(opened)
        };
        drop(opened);
        if is_waking {
            committed::deliver(self);
        }
        Some(result)
    }

    /// Whether this object has a log of `store_id`; none is made.
    pub(super) fn exists(self: &Rc<Self>, store_id: &StoreId) -> Result<bool, StoreError> {
        let sql = ObjectSql::new(self.storage.clone(), self.sql.clone());
        EventStore::exists(&sql, store_id)
    }

    /// Empties the store and begins the lifetime `fresh`.
    pub(super) fn reset(self: &Rc<Self>, fresh: BackendId) -> Result<(), String> {
        let result = self.turn(|backend, _, out| backend.reset(fresh, out));
        self.delivery.set(committed::Delivery::Unknown);
        match result {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("the store could not be opened".to_owned()),
        }
    }

    /// Runs one turn of the backend and applies its outputs.
    pub(super) fn turn<R>(
        self: &Rc<Self>,
        work: impl FnOnce(&mut SyncBackend<ObjectSql>, u64, &mut Vec<Output<JsText>>) -> R,
    ) -> Option<R> {
        self.with(None, |opened| {
            let mut outputs = std::mem::take(&mut opened.outputs);
            let result = work(&mut opened.backend, js::now_ms(), &mut outputs);
            opened.apply(self, &mut outputs);
            opened.outputs = outputs;
            result
        })
    }

    #[inline(never)]
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
        let log = Log::new(level, store_id.as_str(), &self.env);
        if let Err(error) = &config {
            log.write(LogLevel::Error, "configuration", &error.to_string());
        }
        let rules = config.map_or_else(
            |_| Rules::default(),
            |config| Rules {
                event_names: config.event_names,
                admin: config.admin,
                object_id: js::id_of(&self.state),
            },
        );
        let sql = ObjectSql::new(self.storage.clone(), self.sql.clone());
        let (store, found) = match EventStore::open(sql, store_id, js::fresh_backend_id()) {
            Ok(opened) => opened,
            Err(error) => {
                log.write(LogLevel::Error, "open-failed", &error.to_string());
                return None;
            }
        };
        report_found(&log, found, store.head().get(), sockets.len());
        let mut opened = Opened {
            backend: SyncBackend::new(store, limits).with_rules(rules),
            woken_at_ms: js::now_ms(),
            lines: Vec::new(),
            auto_response: None,
            outputs: Vec::new(),
            limits,
            log,
        };
        for (socket, attachment) in sockets.into_iter().zip(attachments) {
            match attachment.and_then(|attachment| opened.backend.reconnect(&attachment)) {
                Some(connection) => opened.place_socket(connection, socket),
                None => js::close(&socket, 1011, "invalid attachment: connect again"),
            }
        }
        // The runtime may still answer the pings of a client that has left.
        opened.auto_respond(&self.state);
        Some(opened)
    }

    fn connect(
        self: &Rc<Self>,
        store_id: &StoreId,
        family: Family,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        self.with(Some(store_id), |opened| {
            if opened.backend.store().store_id() != store_id {
                return text(400, "this object belongs to another store");
            }
            if opened.backend.sockets().count() >= opened.limits.connections_max {
                let message = "MAX_CONNECTIONS is reached";
                let stats = opened.backend.stats();
                stats.refuse(Reason::Connections, message, js::now_ms());
                opened.log.refused_socket(Reason::Connections, message);
                return text(
                    503,
                    "This store has as many connections as it accepts (MAX_CONNECTIONS)",
                );
            }
            opened.connect(&self.state, family, grant)
        })
        .unwrap_or_else(|| text(503, "The store could not be opened"))
    }

    fn forget(self: &Rc<Self>, socket: &JsValue) {
        self.with(None, |opened| {
            if let Some(connection) = connection_of(socket) {
                opened.drop_line(connection);
                opened.backend.disconnect(connection);
                opened.auto_respond(&self.state);
                opened.log.write(LogLevel::Debug, "disconnected", "");
            }
        });
    }

    /// Sets the alarm, unless it is set to an earlier time.
    pub(super) fn wake_at(&self, at_ms: u64, log: &Log) {
        if self.alarm_at_ms.get().is_some_and(|set| set <= at_ms) {
            return;
        }
        match js::wake_at(&self.storage, at_ms) {
            Ok(()) => self.alarm_at_ms.set(Some(at_ms)),
            Err(error) => log.write(LogLevel::Error, "alarm", &js::message_of(&error)),
        }
    }

    /// Calls a client object, and tells the backend how it went.
    fn call(self: &Rc<Self>, call: CallId, caller: &Caller, frame: &JsText, store_id: &StoreId) {
        let message = match caller.generation() {
            Generation::V03 | Generation::V04 => js::parse_json(frame.as_js()),
            Generation::V05 => once::msgpack(&frame.read()).map(JsValue::from),
        };
        let promise = message
            .map_err(|error| js::message_of(&error))
            .map(|message| {
                let (binding, id) = (&caller.binding, &caller.object_id);
                js::call_back(&self.env, binding, id, &message, store_id.as_str())
            });
        let (inner, started_ms) = (self.clone(), js::now_ms());
        // Not before this turn is over: what comes of it is a turn of its own.
        spawn_local(async move {
            let outcome = match promise {
                Err(message) => Called::Gone(message),
                Ok(Err(error)) => Called::Gone(js::message_of(&error)),
                Ok(Ok(promise)) => match JsFuture::from(promise).await {
                    Ok(_) => Called::Taken,
                    Err(error) => Called::Failed(js::message_of(&error)),
                },
            };
            inner.turn(|backend, now_ms, out| {
                let ms = now_ms.saturating_sub(started_ms);
                backend.stats().observe(Duration::Call, ms);
                backend.on_called(call, outcome, now_ms, out);
            });
        });
    }
}

impl Opened {
    fn connect(
        &mut self,
        state: &JsValue,
        family: Family,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        let connection = self.backend.connect(family, grant, js::now_ms());
        let attachment = self.backend.attachment(connection).unwrap_or_default();
        let accepted = match js::accept(state, &attachment) {
            Ok(accepted) => accepted,
            Err(error) => {
                self.backend.disconnect(connection);
                return Err(error);
            }
        };
        self.place_socket(connection, accepted.get(0));
        self.auto_respond(state);
        self.log.write(LogLevel::Debug, "connected", "");
        Ok(accepted.get(1))
    }

    fn place_socket(&mut self, connection: ConnectionId, socket: JsValue) {
        js::identify(&socket, i32::try_from(connection.get()).unwrap_or(-1));
        self.place(connection, Line::Socket(socket));
    }

    /// Collects what is sent to the connection of one request.
    pub(super) fn place_answer(&mut self, connection: ConnectionId) {
        self.place(connection, Line::Answer(Vec::new()));
    }

    fn place(&mut self, connection: ConnectionId, line: Line) {
        let index = connection.index();
        if self.lines.len() <= index {
            self.lines.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.lines.get_mut(index) {
            *slot = Some(line);
        }
    }

    fn line(&mut self, connection: ConnectionId) -> Option<&mut Line> {
        self.lines.get_mut(connection.index())?.as_mut()
    }

    /// What has been sent to the connection of one request since the last time.
    pub(super) fn take_answer(&mut self, connection: ConnectionId) -> Vec<(Content, JsText)> {
        match self.line(connection) {
            Some(Line::Answer(frames)) => std::mem::take(frames),
            _ => Vec::new(),
        }
    }

    /// Forgets a connection's other end; its number may be used again, so it is wiped off a socket.
    pub(super) fn drop_line(&mut self, connection: ConnectionId) -> Option<JsValue> {
        match self.lines.get_mut(connection.index())?.take()? {
            Line::Socket(socket) => {
                js::identify(&socket, -1);
                Some(socket)
            }
            Line::Answer(_) => None,
        }
    }

    /// Has the runtime answer the pings of the clients that are connected. It knows one ping per object,
    /// so 0.3 clients beside newer ones are answered by the backend.
    fn auto_respond(&mut self, state: &JsValue) {
        let mut families = self.backend.sockets();
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

    pub(super) fn apply<H: Hooks>(
        &mut self,
        inner: &Rc<Inner<H>>,
        outputs: &mut Vec<Output<JsText>>,
    ) {
        let mut is_to_reset = false;
        for output in outputs.drain(..) {
            match output {
                Output::Send { to, content, frame } => match self.line(to) {
                    // A socket that takes nothing is closing, and its close event cleans up.
                    Some(Line::Socket(socket)) => {
                        js::send(socket, frame.as_js());
                    }
                    Some(Line::Answer(frames)) => frames.push((content, frame)),
                    None => {}
                },
                Output::Remember { connection } => self.remember(connection),
                Output::Close {
                    connection,
                    code,
                    reason,
                } => {
                    if let Some(socket) = self.drop_line(connection) {
                        js::close(&socket, code, reason);
                    }
                }
                Output::Resume => inner.wake_at(js::now_ms(), &self.log),
                Output::WakeAt { at_ms } => inner.wake_at(at_ms, &self.log),
                Output::Call {
                    call,
                    caller,
                    frame,
                } => inner.call(call, &caller, &frame, self.backend.store().store_id()),
                Output::Reset { from, done } => {
                    if let Some(Line::Socket(socket)) = self.line(from) {
                        js::send(socket, done.as_js());
                    }
                    is_to_reset = true;
                }
                Output::Report(report) => self.log.report(&report),
            }
        }
        if is_to_reset {
            self.reset(inner);
        }
    }

    /// Empties the store at the wish of a 0.3 client, which has been answered.
    fn reset<H: Hooks>(&mut self, inner: &Rc<Inner<H>>) {
        let mut outputs = Vec::new();
        if let Err(error) = self.backend.reset(js::fresh_backend_id(), &mut outputs) {
            self.log
                .write(LogLevel::Error, "storage-failed", &error.to_string());
        }
        inner.delivery.set(committed::Delivery::Unknown);
        self.apply(inner, &mut outputs);
    }

    fn remember(&mut self, connection: ConnectionId) {
        let Some(attachment) = self.backend.attachment(connection) else {
            return;
        };
        let kept = match self.line(connection) {
            Some(Line::Socket(socket)) => js::keep(socket, &attachment),
            _ => Ok(()),
        };
        if let Err(error) = kept {
            // Unkept, its subscriptions would be lost at the next eviction: better to start over now.
            self.log
                .write(LogLevel::Error, "attachment", &js::message_of(&error));
            self.backend.disconnect(connection);
            if let Some(socket) = self.drop_line(connection) {
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

pub(super) fn text(status: u16, body: &str) -> Result<JsValue, JsValue> {
    js::respond(status, body, &Array::new())
}
