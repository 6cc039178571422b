//! The Durable Object that owns one store's event log: each event of the platform goes into the backend.
//!
//! The class is written out rather than derived: its handlers take sockets and frames as they are, and
//! are plain calls unless a hook waits, so that a frame costs one call and leaves nothing pending
//! (INV-9: an idle object hibernates).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use thiserror::Error;
use wasm_bindgen::prelude::*;
use worker::Env;
use worker::worker_sys::web_sys::Request;

use super::awake::{Awake, connection_of};
use super::log::Log;
use super::poll::now_or_later;
use super::sql::{JsText, ObjectSql};
use super::{admin, config, fetch, js, one_shot};
use crate::auth::{Access, Grant};
use crate::backend::{Frame, Output, Refusal, Report, Rules, SyncBackend};
use crate::config::{Config, ConfigError, LogLevel};
use crate::event::StoreId;
use crate::hooks::{Hooks, Installed};
use crate::limits::ALARM_RETRY_MS;
use crate::route::{Door, Errand, Visit};
use crate::store::sql::StoreError;
use crate::store::{EventStore, Found};
use crate::wire::Family;

/// The sync backend of one store, with the hooks of an app. `export!` makes a class of it.
#[allow(missing_debug_implementations)]
pub struct Object<H: Hooks>(Rc<Shared<H>>);

/// What the handlers of an object, and the futures they leave behind, share.
pub(super) struct Shared<H: Hooks> {
    state: JsValue,
    storage: JsValue,
    sql: JsValue,
    env: Env,
    hooks: Installed<H>,
    /// Borrowed for the length of a turn, never while something waits.
    awake: RefCell<Option<Awake>>,
    /// The store whose object this is, once it is known.
    store_id: RefCell<Rc<str>>,
    /// What a turn has left to do while an app's code runs.
    pub(super) queue: RefCell<VecDeque<Output<JsText>>>,
    pub(super) is_applying: Cell<bool>,
    /// An empty list that the next turn need not make.
    pub(super) spare_outputs: Cell<Vec<Output<JsText>>>,
    /// What the alarm is set to, as far as this life of the object knows.
    alarm_at_ms: Cell<Option<u64>>,
}

/// Why an object cannot serve now. The text is what those who ask are told.
#[derive(Debug, Error)]
pub(super) enum Unavailable {
    /// The deployment's variables do not parse.
    #[error("Configuration: {0}")]
    Configuration(#[from] ConfigError),
    /// Nobody says whose object this is.
    #[error("The store of this object is not known")]
    Nameless,
    /// SQLite failed.
    #[error("The store could not be opened")]
    Storage(StoreError),
    /// It is in the middle of a turn.
    #[error("The store is busy")]
    Busy,
}

impl Unavailable {
    /// The answer to who asks over HTTP.
    pub(super) fn respond(&self) -> Result<JsValue, JsValue> {
        let status = match self {
            Self::Configuration(_) => 500,
            Self::Nameless | Self::Storage(_) | Self::Busy => 503,
        };
        text(status, &self.to_string())
    }
}

impl From<Unavailable> for JsValue {
    fn from(error: Unavailable) -> Self {
        js_sys::Error::new(&error.to_string()).into()
    }
}

impl<H: Hooks> Object<H> {
    /// Called by the runtime when the object is made; reads nothing yet.
    ///
    /// # Errors
    /// When the object has no storage.
    pub fn new(
        state: JsValue,
        env: JsValue,
        hooks: fn(Env) -> H,
    ) -> Result<Self, JsValue> {
        let env: Env = env.unchecked_into();
        let storage = js::storage_of(&state)?;
        let sql = js::sql_of(&storage)?;
        Ok(Self(Rc::new(Shared {
            state,
            storage,
            sql,
            hooks: Installed::new(hooks(env.clone())),
            env,
            awake: RefCell::new(None),
            store_id: RefCell::new(Rc::from("")),
            queue: RefCell::new(VecDeque::new()),
            is_applying: Cell::new(false),
            spare_outputs: Cell::new(Vec::new()),
            alarm_at_ms: Cell::new(None),
        })))
    }

    /// A request that the Worker has let in: a WebSocket upgrade, one over HTTP, or one to the administration.
    ///
    /// # Errors
    /// What the platform throws.
    pub fn fetch(&self, request: Request) -> Result<JsValue, JsValue> {
        let shared = &self.0;
        let visit = match fetch::visit(&shared.state, &shared.env, &request)? {
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
                now_or_later(admin::answer(shared.clone(), request, store_id, ask))
            }
            Errand::Sync {
                door: Door::Http,
                grant,
            } => {
                let asked = one_shot::Asked::over_http(store_id, grant);
                now_or_later(one_shot::http(shared.clone(), request, asked, headers))
            }
            Errand::Sync {
                door: Door::Socket(family),
                grant,
            } => shared.connect(&store_id, family, grant),
        }
    }

    /// A call of another Durable Object: `payload` is a request, the result its answer.
    ///
    /// # Errors
    /// When the store cannot be opened, or asks to be called again later.
    pub fn rpc(&self, payload: &JsValue) -> Result<JsValue, JsValue> {
        let payload = js::bytes_of(payload).unwrap_or_default();
        now_or_later(one_shot::rpc(self.0.clone(), payload))
    }

    /// A frame of a client.
    ///
    /// # Errors
    /// None.
    pub fn web_socket_message(
        &self,
        socket: &JsValue,
        message: &JsValue,
    ) -> Result<JsValue, JsValue> {
        if let Err(error) = self.0.with(None, |_| ()) {
            let reason = format!("{error}: connect again");
            js::close(socket, 1011, &reason);
            return Ok(JsValue::UNDEFINED);
        }
        let Some(from) = connection_of(socket) else {
            js::close(socket, 1012, "connect again");
            return Ok(JsValue::UNDEFINED);
        };
        let bytes;
        let text = message.as_string();
        let frame = if let Some(text) = &text {
            Frame::Text(text)
        } else {
            bytes = js::bytes_of(message).unwrap_or_default();
            Frame::Binary(&bytes)
        };
        let done = self
            .0
            .turn(|backend, turn| backend.on_frame(from, frame, turn));
        if done.is_err() {
            js::close(socket, 1012, "connect again");
        }
        Ok(JsValue::UNDEFINED)
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

    /// Something was left for later.
    ///
    /// # Errors
    /// When nothing could be done and the alarm could not be set again: the platform then calls again.
    pub fn alarm(&self) -> Result<JsValue, JsValue> {
        self.0.alarm_at_ms.set(None);
        if let Err(error) = self.0.turn(SyncBackend::on_alarm) {
            // The platform gives up after a few tries of its own.
            js::wake_at(&self.0.storage, js::now_ms() + ALARM_RETRY_MS)
                .map_err(|_| JsValue::from(error))?;
        }
        Ok(JsValue::UNDEFINED)
    }
}

impl<H: Hooks> Shared<H> {
    pub(super) fn state(&self) -> &JsValue {
        &self.state
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn hooks(&self) -> &Installed<H> {
        &self.hooks
    }

    /// The store whose object this is.
    pub(super) fn store_id(&self) -> Rc<str> {
        self.store_id.borrow().clone()
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.awake.try_borrow().is_ok_and(|awake| awake.is_none())
    }

    /// Runs `work` on the object in memory.
    pub(super) fn borrow<R>(&self, work: impl FnOnce(&mut Awake) -> R) -> Result<R, Unavailable> {
        let mut awake = self.awake.try_borrow_mut().map_err(|_| Unavailable::Busy)?;
        awake.as_mut().map(work).ok_or(Unavailable::Busy)
    }

    /// Whether this object has a log of `store_id`; none is made.
    pub(super) fn exists(&self, store_id: &StoreId) -> Result<bool, StoreError> {
        EventStore::exists(&self.object_sql(), store_id)
    }

    fn object_sql(&self) -> ObjectSql {
        ObjectSql::new(self.storage.clone(), self.sql.clone())
    }

    /// Brings the object into memory: its store, and the sockets that are open.
    #[inline(never)]
    pub(super) fn wake(&self, store_id: Option<&StoreId>) -> Result<(), Unavailable> {
        let config = config(&self.env);
        let level = config
            .as_ref()
            .map_or(LogLevel::Info, |config| config.log_level);
        let log = |store_id: &str| Log::new(level, store_id, &self.env);
        let sockets = js::open_sockets(&self.state)
            .map(|sockets| sockets.to_vec())
            .unwrap_or_default();
        let sockets: Vec<(JsValue, Option<String>)> = sockets
            .into_iter()
            .map(|socket| {
                let kept = js::attachment_of(&socket).ok().flatten();
                (socket, kept)
            })
            .collect();
        let found = self.find_store_id(store_id, &sockets);
        let woken = found.and_then(|store_id| {
            self.store_id.replace(Rc::from(store_id.as_str()));
            self.open(config?, store_id, sockets, log(&self.store_id()))
        });
        match woken {
            Ok(awake) => {
                self.awake.replace(Some(awake));
                Ok(())
            }
            Err(error) => {
                let (event, message) = match &error {
                    Unavailable::Configuration(error) => ("configuration", error.to_string()),
                    Unavailable::Storage(error) => ("open-failed", error.to_string()),
                    error => ("open-failed", error.to_string()),
                };
                log(&self.store_id()).write(LogLevel::Error, event, &message);
                Err(error)
            }
        }
    }

    /// The platform tells an object its name, but not one of more than 1,024 bytes: then it is known from whoever
    /// comes, from what sockets were kept with, or from what the object has stored.
    fn find_store_id(
        &self,
        visited: Option<&StoreId>,
        sockets: &[(JsValue, Option<String>)],
    ) -> Result<StoreId, Unavailable> {
        if let Some(name) = js::name_of(&self.state).ok().flatten() {
            return Ok(StoreId::new(name));
        }
        if let Some(visited) = visited {
            return Ok(visited.clone());
        }
        let mut kept = sockets.iter().filter_map(|(_, kept)| kept.as_deref());
        if let Some(kept) = kept.find_map(SyncBackend::<ObjectSql>::store_of) {
            return Ok(kept);
        }
        let only = EventStore::only_store_id(&self.object_sql()).map_err(Unavailable::Storage)?;
        only.ok_or(Unavailable::Nameless)
    }

    fn open(
        &self,
        config: Config,
        store_id: StoreId,
        sockets: Vec<(JsValue, Option<String>)>,
        log: Log,
    ) -> Result<Awake, Unavailable> {
        let rules = Rules {
            event_names: config.event_names,
            admin: config.admin,
            object_id: js::id_of(&self.state),
            uses: self.hooks.uses(),
        };
        let sql = self.object_sql();
        let (store, found) = EventStore::open(sql, store_id, js::fresh_backend_id())
            .map_err(Unavailable::Storage)?;
        report_found(&log, found, store.head().get(), sockets.len());
        let fresh_ids = Box::new(js::fresh_backend_id);
        let backend = SyncBackend::new(store, config.limits, rules, fresh_ids);
        let mut awake = Awake::new(backend, log, js::now_ms());
        awake.reconnect(sockets);
        // The runtime may still answer the pings of a client that has left.
        awake.auto_respond(&self.state);
        Ok(awake)
    }

    /// Whether `grant` may have this object serve `store_id`: a token that may only read makes no store.
    pub(super) fn check_grant(&self, store_id: &StoreId, grant: &Grant) -> Result<(), Refusal> {
        if grant.access == Access::ReadWrite || !self.is_asleep() {
            return Ok(());
        }
        match self.exists(store_id) {
            Ok(false) => Err(Refusal::NoStore),
            // Whether it can be read shows when it is opened.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Logs a visitor that is not let in, and answers it.
    pub(super) fn turn_away(&self, store_id: &StoreId, refusal: Refusal) -> Result<JsValue, JsValue> {
        let status = if refusal == Refusal::NoStore { 404 } else { 503 };
        let message = refusal.to_string();
        let level = config(&self.env).map_or(LogLevel::Info, |config| config.log_level);
        let log = Log::new(level, store_id.as_str(), &self.env);
        let about = None;
        log.report(&Report::Refused { about, refusal });
        text(status, &message)
    }

    fn connect(
        self: &Rc<Self>,
        store_id: &StoreId,
        family: Family,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        if let Err(refusal) = self.check_grant(store_id, &grant) {
            return self.turn_away(store_id, refusal);
        }
        let answer = self.with(Some(store_id), |awake| {
            let backend = &mut awake.backend;
            if backend.store().store_id() != store_id {
                return Ok(text(400, "this object belongs to another store"));
            }
            if backend.sockets().count() >= backend.limits().connections_max {
                let refusal = Refusal::Connections;
                backend.stats().refuse(&refusal, js::now_ms());
                return Err(refusal);
            }
            Ok(awake.connect(&self.state, family, grant))
        });
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => self.turn_away(store_id, refusal),
            Err(error) => error.respond(),
        }
    }

    fn forget(self: &Rc<Self>, socket: &JsValue) {
        let forgotten = self.with(None, |awake| {
            let connection = connection_of(socket)?;
            awake.take_outlet(connection);
            awake.log.write(LogLevel::Debug, "disconnected", "");
            Some(connection)
        });
        if let Ok(Some(connection)) = forgotten {
            // What could not be done for it is done when the object wakes.
            let _ = self.turn(|backend, turn| backend.disconnect(connection, turn));
            let _ = self.borrow(|awake| awake.auto_respond(&self.state));
        }
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
    js::respond(status, body, &js_sys::Array::new())
}
