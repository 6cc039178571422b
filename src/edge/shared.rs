//! What the handlers of an object share: its storage, its hooks, and the object in memory, which is brought there
//! when something happens to it. All of that can be rebuilt from storage and attachments, which is what a wake
//! does.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use thiserror::Error;
use wasm_bindgen::prelude::*;
use worker::Env;

use super::awake::Awake;
use super::birth::Birth;
use super::body::Bodies;
use super::log::Log;
use super::sql::{JsText, ObjectSql};
use super::{backup, config as parsed, js, poll};
use crate::auth::Grant;
use crate::backend::{ConnectionId, Output, Plan, Refusal, Report, Rules, SyncBackend};
use crate::config::{self, Config, ConfigError, LogLevel, RestoreEmpty, Transports};
use crate::event::{BackendId, StoreId};
use crate::hooks::{Hooks, Installed};
use crate::limits::ALARM_RETRY_MS;
use crate::store::sql::StoreError;
use crate::store::{EventStore, Found, Glance, OpenError};

/// What the handlers of an object, and the futures they leave behind, share.
pub(super) struct Shared<H: Hooks> {
    state: JsValue,
    /// The object's id.
    id: String,
    storage: JsValue,
    sql: JsValue,
    env: Env,
    hooks: Installed<H>,
    /// Those that are served, once somebody has asked.
    transports: OnceCell<Transports>,
    /// Borrowed for the length of a turn, never while something waits.
    awake: RefCell<Option<Awake>>,
    /// The store whose object this is, once it is known.
    store_id: RefCell<Rc<str>>,
    /// What a turn has left to do while an app's code runs.
    pub(super) queue: RefCell<VecDeque<Output<JsText>>>,
    pub(super) is_applying: Cell<bool>,
    /// What is owed to the clients whose messages wait: see [`poll::owe_to`].
    owed: RefCell<Vec<(ConnectionId, JsValue)>>,
    /// An empty list that the next turn need not make.
    pub(super) spare_outputs: Cell<Vec<Output<JsText>>>,
    /// What the alarm is set to, as far as this life of the object knows.
    alarm_at_ms: Cell<Option<u64>>,
    /// Goes on with the alarm that has gone off, when the backend lets go of it.
    held_alarm: Cell<Option<Waker>>,
    /// Who waits for the store to be deleted.
    awaiting_deletion: RefCell<Vec<Waker>>,
    pub(super) bodies: Bodies,
    pub(super) birth: Birth,
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
    /// The store cannot be opened.
    #[error(transparent)]
    Closed(OpenError),
    /// The class has key-value storage alone, as sync-cf 0.3 could do with.
    #[error(
        "The class of this object has no SQLite: it was declared in `new_classes`, and never gets any. Bind a class that is \
         declared in `new_sqlite_classes` instead, into which a log that lies in D1 is brought: see \"Classes backed by \
         key-value storage\" in docs/migrating-from-sync-cf.md"
    )]
    NoSqlite,
    /// There is something of the store elsewhere, and an operator has to decide.
    #[error("{0}")]
    Held(Rc<str>),
    /// D1 does not say whether there is a backup.
    #[error("Whether this store has a backup is not known: try again later")]
    BackupUnknown,
    /// The object is another store's.
    #[error("this object is another store's")]
    OtherStore,
    /// It is in the middle of a turn.
    #[error("The store is busy")]
    Busy,
}

impl Unavailable {
    /// Whether there is no log here, and D1 is to be asked for one.
    pub(super) fn is_not_here(&self) -> bool {
        matches!(self, Self::Closed(error) if error.is_not_here())
    }

    /// The HTTP status for who asks.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Configuration(_) => 500,
            Self::OtherStore => 404,
            Self::Nameless
            | Self::Closed(_)
            | Self::NoSqlite
            | Self::Held(_)
            | Self::BackupUnknown
            | Self::Busy => 503,
        }
    }

    /// Tells the operator.
    pub(super) fn log(&self, log: &Log) {
        let message = match self {
            Self::Closed(OpenError::Storage(error)) => error.to_string(),
            other => other.to_string(),
        };
        match self {
            Self::Configuration(_) => log.write(LogLevel::Error, "configuration", &message),
            // D1 is asked, and then there is more to say.
            Self::Closed(OpenError::Unborn | OpenError::Elsewhere { .. }) => {}
            Self::Closed(OpenError::Storage(_))
            | Self::NoSqlite
            | Self::Nameless
            | Self::Held(_)
            | Self::BackupUnknown
            | Self::OtherStore
            | Self::Busy => log.write(LogLevel::Error, "open-failed", &message),
        }
    }

    /// The answer to who asks over HTTP.
    pub(super) fn respond(&self) -> Result<JsValue, JsValue> {
        text(self.status(), &self.to_string())
    }
}

impl From<OpenError> for Unavailable {
    fn from(error: OpenError) -> Self {
        match error {
            // The platform has no other sign of it.
            OpenError::Storage(error) if error.to_string().contains("SQL is not enabled") => {
                Self::NoSqlite
            }
            error => Self::Closed(error),
        }
    }
}

impl From<Unavailable> for JsValue {
    fn from(error: Unavailable) -> Self {
        js_sys::Error::new(&error.to_string()).into()
    }
}

impl<H: Hooks> Shared<H> {
    /// What an object has before it wakes; nothing is read yet.
    pub(super) fn new(state: JsValue, env: JsValue, hooks: H) -> Result<Rc<Self>, JsValue> {
        let env: Env = env.unchecked_into();
        let storage = js::storage_of(&state)?;
        let sql = js::sql_of(&storage)?;
        let id = js::id_of(&state);
        Ok(Rc::new(Self {
            state,
            id,
            storage,
            sql,
            hooks: Installed::new(hooks),
            transports: OnceCell::new(),
            env,
            awake: RefCell::new(None),
            store_id: RefCell::new(Rc::from("")),
            queue: RefCell::new(VecDeque::new()),
            is_applying: Cell::new(false),
            owed: RefCell::new(Vec::new()),
            spare_outputs: Cell::new(Vec::new()),
            alarm_at_ms: Cell::new(None),
            held_alarm: Cell::new(None),
            awaiting_deletion: RefCell::new(Vec::new()),
            bodies: Bodies::default(),
            birth: Birth::default(),
        }))
    }

    pub(super) fn state(&self) -> &JsValue {
        &self.state
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn env(&self) -> &Env {
        &self.env
    }

    pub(super) fn hooks(&self) -> &Installed<H> {
        &self.hooks
    }

    /// The transports that are served.
    pub(super) fn transports(&self) -> &Transports {
        self.transports
            .get_or_init(|| config::transports_of(|name| js::variable(&self.env, name)))
    }

    /// The store whose object this is.
    pub(super) fn store_id(&self) -> Rc<str> {
        self.store_id.borrow().clone()
    }

    /// Whether something that a turn made has yet to be done.
    pub(super) fn has_unsent(&self) -> bool {
        !self.queue.borrow().is_empty()
    }

    /// Has the socket of a connection closed if the instance ends while one of its messages waits: its
    /// client would have no answer.
    pub(super) fn owe(&self, to: ConnectionId, socket: &JsValue) {
        let is_waiting = self.borrow(|awake| awake.backend.is_waiting(to));
        let mut owed = self.owed.borrow_mut();
        if matches!(is_waiting, Ok(true)) && owed.iter().all(|(known, _)| *known != to) {
            owed.push((to, poll::owe_to(socket)));
        }
    }

    /// Lets go of the connections of which nothing waits any more.
    pub(super) fn settle(&self) {
        let mut owed = self.owed.borrow_mut();
        if owed.is_empty() {
            return;
        }
        let _ = self.borrow(|awake| {
            owed.retain(|(to, promise)| {
                let is_waiting = awake.backend.is_waiting(*to);
                if !is_waiting {
                    poll::settle(promise, &JsValue::UNDEFINED);
                }
                is_waiting
            });
        });
    }

    pub(super) fn is_asleep(&self) -> bool {
        self.awake.try_borrow().is_ok_and(|awake| awake.is_none())
    }

    /// Whether the object is in memory, but its store could not be opened again.
    pub(super) fn is_closed(&self) -> bool {
        let awake = self.awake.try_borrow();
        awake.is_ok_and(|awake| awake.as_ref().is_some_and(|it| it.backend.is_closed()))
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

    /// Begins another lifetime of a store whose log is not here.
    pub(super) fn discard(&self, store_id: &StoreId) -> Result<(), StoreError> {
        EventStore::discard(&self.object_sql(), store_id, &js::fresh_backend_id())
    }

    /// What the object has of a store, without opening it.
    pub(super) fn glance(&self, store_id: &StoreId) -> Result<Option<Glance>, StoreError> {
        EventStore::glance(&self.object_sql(), store_id)
    }

    /// Keeps that a log is to be brought in: who wakes the object from now on does that.
    pub(super) fn plan_import(&self, store_id: &StoreId, plan: &Plan) -> Result<(), StoreError> {
        let (sql, kept) = (self.object_sql(), plan.to_json());
        if plan.adopted.is_none() {
            return EventStore::plan_import(&sql, &kept);
        }
        let backend_id = BackendId::stored(plan.backend_id.clone());
        EventStore::plan_adoption(&sql, store_id, &kept, &backend_id)
    }

    /// Keeps that the store is to be deleted: who wakes the object from now on does that.
    pub(super) fn plan_deletion(&self, plan: &str) -> Result<(), StoreError> {
        EventStore::plan_deletion(&self.object_sql(), plan)
    }

    /// Whether the object is deleting its store.
    pub(super) fn is_deleting(&self, store_id: &StoreId) -> Result<bool, StoreError> {
        EventStore::is_deleting(&self.object_sql(), store_id)
    }

    /// Has someone who waits for the store to be deleted look again when something happens.
    pub(super) fn await_deletion(&self, waker: &Waker) {
        self.awaiting_deletion.borrow_mut().push(waker.clone());
    }

    /// Something has happened.
    pub(super) fn tell_of_deletion(&self) {
        if !self.awaiting_deletion.borrow().is_empty() {
            for waiting in self.awaiting_deletion.take() {
                waiting.wake();
            }
        }
    }

    fn object_sql(&self) -> ObjectSql {
        ObjectSql::new(self.state.clone(), self.storage.clone(), self.sql.clone())
    }

    /// Brings the object into memory: its store, and the sockets that are open.
    #[inline(never)]
    pub(super) fn wake(&self, visited: Option<&StoreId>) -> Result<(), Unavailable> {
        let config = parsed(&self.env);
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
        let found = self.find_store_id(visited, &sockets);
        let woken = found.and_then(|store_id| {
            self.store_id.replace(Rc::from(store_id.as_str()));
            // Something that is left of a store that is gone must not make another: its alarm, a socket that closes.
            let may_make = visited.is_some();
            self.open(config?, store_id, may_make, sockets, log(&self.store_id()))
        });
        match woken {
            Ok(awake) => {
                self.awake.replace(Some(awake));
                Ok(())
            }
            Err(error) => {
                error.log(&log(&self.store_id()));
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
        let only = EventStore::only_store_id(&self.object_sql()).map_err(OpenError::Storage)?;
        only.ok_or(Unavailable::Nameless)
    }

    fn open(
        &self,
        config: Config,
        store_id: StoreId,
        may_make: bool,
        sockets: Vec<(JsValue, Option<String>)>,
        log: Log,
    ) -> Result<Awake, Unavailable> {
        let has_database = backup::database(&self.env).is_some();
        let backup_delay_ms = config.backup_delay_ms(has_database)?;
        let logs = config.adopt_binding.as_deref();
        let has_logs = logs.is_some_and(|logs| backup::database_as(&self.env, logs).is_some());
        let has_any = backup_delay_ms.is_some() || has_logs;
        let asks_at_birth = has_any && config.restore_empty != RestoreEmpty::Anew;
        let may_make = may_make && (self.birth.may_make() || !asks_at_birth);
        let rules = Rules {
            event_names: config.event_names,
            // Who asks by a frame has come from anywhere: the one that everybody knows does not count here.
            admin: config.admin.filter(|secret| !secret.is_template()),
            object_id: self.id.clone(),
            uses: self.hooks.uses(),
            backup_delay_ms,
            compact_after_ms: config.compact_after_ms,
            asks_at_birth,
            has_database,
            ttl_ms: config.ttl_ms,
        };
        let sql = self.object_sql();
        let open = if may_make {
            EventStore::open
        } else {
            EventStore::open_born
        };
        let (store, found) = open(sql, store_id, js::fresh_backend_id())?;
        report_found(&log, found, store.head().get(), sockets.len());
        let fresh_ids = Box::new(js::fresh_backend_id);
        let backend = SyncBackend::new(store, config.limits, rules, fresh_ids);
        let mut awake = Awake::new(backend, log, js::now_ms(), asks_at_birth);
        awake.reconnect(sockets);
        // The runtime may still answer the pings of a client that has left.
        awake.auto_respond(&self.state);
        Ok(awake)
    }

    /// Whether `grant` may have this object serve `store_id`: a token that may only read makes no store.
    pub(super) fn check_grant(&self, store_id: &StoreId, grant: &Grant) -> Result<(), Refusal> {
        if self.is_asleep() || self.is_closed() {
            SyncBackend::may_open(&self.object_sql(), store_id, grant.access)
        } else {
            Ok(())
        }
    }

    /// Logs a visitor that is not let in, and answers it.
    pub(super) fn turn_away(
        &self,
        store_id: &StoreId,
        refusal: Refusal,
    ) -> Result<JsValue, JsValue> {
        let (status, message) = (refusal.status(), refusal.to_string());
        let level = parsed(&self.env).map_or(LogLevel::Info, |config| config.log_level);
        let log = Log::new(level, store_id.as_str(), &self.env);
        let about = None;
        log.report(&Report::Refused { about, refusal });
        text(status, &message)
    }

    /// The alarm goes off, and stands for whatever is asked for before its turn.
    pub(super) fn alarm_goes_off(&self) {
        self.alarm_at_ms.set(Some(0));
    }

    /// What is asked for from now on needs another alarm.
    pub(super) fn alarm_went_off(&self) {
        self.alarm_at_ms.set(None);
    }

    /// Waits until the backend lets go of the alarm that has gone off: the platform repeats it if that is never.
    pub(super) async fn hold_alarm(self: Rc<Self>) {
        poll_fn(|context| {
            if !self.holds_alarm() {
                return Poll::Ready(());
            }
            self.held_alarm.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    pub(super) fn holds_alarm(&self) -> bool {
        self.borrow(|awake| awake.backend.holds_alarm())
            .unwrap_or(false)
    }

    /// Lets the alarm return that the backend has let go of.
    pub(super) fn release_alarm(&self) {
        let held = self.held_alarm.take();
        let Some(waker) = held else {
            return;
        };
        if self.holds_alarm() {
            self.held_alarm.set(Some(waker));
        } else {
            waker.wake();
        }
    }

    /// Has the alarm go off again, nothing having been done.
    pub(super) fn retry_alarm(&self) -> Result<(), JsValue> {
        js::wake_at(&self.storage, js::now_ms() + ALARM_RETRY_MS)
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
    js::respond(status, body, "")
}
