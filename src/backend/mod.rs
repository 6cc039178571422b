//! One store's sync backend: a frame goes in, an ordered list of outputs comes out.
//!
//! Owns the connections and their subscriptions, and the order of everything that is sent and asked. Refuses to
//! know sockets, clocks and randomness: they arrive as arguments. There is no `await` in here, so one
//! frame is one turn: a push is decided, stored and turned into frames before any other frame is seen.
//! What has to wait for a hook goes on in a turn of its own ([`waiting`]).
//!
//! - *INV-2* commit, publish, acknowledge, in that order, in one turn.
//! - *INV-5* the connection's store is the only store: a payload that names another is refused.
//! - *INV-6* a live pull gets every event after its cursor once, ascending, without gaps: while its
//!   pages are on their way, pushes are folded into them.

mod admin;
mod adoption;
mod allowance;
mod attachment;
mod check;
mod connection;
mod connections;
mod deletion;
mod difference;
mod followers;
mod import;
mod in_flight;
mod plain;
mod plan;
mod probe;
mod publish;
mod pull;
mod push;
mod refusal;
mod reopen;
mod report;
mod reset;
mod retention;
mod room;
mod stats;
mod subscription;
mod verify;
mod waiting;

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat};

use crate::auth::{Access, AdminSecret, Grant};
use crate::event::{BackendId, EventNames, StoreId};
use crate::hooks::Uses;
use crate::limits::{BACKUP_MESSAGE_CHARS_MAX, Limits};
use crate::store::sql::Sql;
use crate::store::{EventStore, OpenError};
use crate::wire::{self, Family, Inbound, Malformed, PageInfo, Transport};
use allowance::Allowances;
use connection::Connection;
use connections::Connections;
use deletion::{Deletion, Ended, Repairs};
use followers::Followers;
use import::Import;
use in_flight::Sum;
use pull::PageHeads;
use retention::Retention;
use subscription::Follow;
use waiting::Waiting;

pub use adoption::{Adoption, Candidate, Wanted};
pub use connections::ConnectionId;
pub use deletion::{Deleting, deletion_plan};
pub use followers::{
    ClientObject, CommittedPage, Delivery, DeliveryId, Message, Outcome, read_events,
};
pub use import::{Fetch, FetchId};
pub use plan::Plan;
pub use refusal::{Reason, Refusal};
pub use report::{About, BackupTrouble, Deleted, Report, Rows};
pub use stats::{Duration, Stats, Who};
pub use verify::{Step, Verification};
pub use waiting::{Ask, AskId, Hook};

/// One turn: the time it happens at, and what the host has to do because of it, in this order.
#[derive(Debug)]
pub struct Turn<T> {
    /// Milliseconds since the epoch.
    pub now_ms: u64,
    /// What has to be done.
    pub out: Vec<Output<T>>,
}

impl<T> Turn<T> {
    /// A turn at `now_ms` in which nothing has happened yet.
    #[must_use]
    pub fn at(now_ms: u64) -> Self {
        Self {
            now_ms,
            out: Vec::new(),
        }
    }
}

/// What the host has to do.
#[derive(Clone, Debug)]
pub enum Output<T> {
    /// Send a text frame.
    Send {
        /// To this connection.
        to: ConnectionId,
        /// The whole frame.
        frame: T,
    },
    /// Keep [`SyncBackend::attachment`] of this connection with its socket.
    Remember {
        /// The connection that changed.
        connection: ConnectionId,
    },
    /// Close a connection. The client of a socket connects again and pulls from where it was; a request over
    /// HTTP or DO-RPC is answered that it may be repeated later.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// WebSocket close code.
        code: u16,
        /// Close reason.
        reason: &'static str,
    },
    /// Ask the runtime when this socket's client was last answered a ping, and tell
    /// [`SyncBackend::on_ping`].
    Probe {
        /// The socket.
        connection: ConnectionId,
    },
    /// Have the object woken by [`SyncBackend::on_alarm`] at this time, or earlier.
    WakeAt {
        /// Milliseconds since the epoch.
        at_ms: u64,
    },
    /// The alarm may be gone with other things in the object's storage: whenever it is asked for next, it has to be set.
    ForgetAlarm,
    /// Run a hook, and tell [`SyncBackend::on_verdict`] what it says. One that returns at once has its verdict
    /// applied before the outputs that follow.
    Ask(Ask<T>),
    /// Tell a follower, and tell [`SyncBackend::on_delivered`] how that went.
    Deliver(Delivery<T>),
    /// Query D1, and tell [`SyncBackend::on_fetched`] what it returns.
    Fetch(Fetch<T>),
    /// Something an operator may want to read.
    Report(Report),
}

/// One frame of a client.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// A text frame.
    Text(&'a str),
    /// A binary frame, read as UTF-8.
    Binary(&'a [u8]),
}

impl Frame<'_> {
    /// Its length.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// What hooks are told of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// How it came.
    pub transport: Transport,
    /// What the auth step verified.
    pub grant: Rc<Grant>,
}

/// How far the answer to a request over HTTP or DO-RPC has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A hook has something of it.
    Waiting,
    /// There is more, once what was made has been taken: [`SyncBackend::go_on`].
    More,
    /// All of it has been made.
    Done,
}

/// Service restart: what clients are told when they have to connect again.
const TRY_AGAIN: u16 = 1012;

/// Try again later: what clients are told whose request may be done another time.
const TRY_LATER: u16 = 1013;

/// What clients are told whose token has expired: connect again with another one.
const EXPIRED: u16 = 4401;

/// The sync backend of one store.
pub struct SyncBackend<S: Sql> {
    store: EventStore<S>,
    limits: Limits,
    rules: Rules,
    fresh_ids: FreshIds,
    connections: Connections<S::Text>,
    waiting: Waiting<S::Text>,
    followers: Followers,
    /// What follows the events of a page that is the last one; the same for every RPC pull.
    last_page_tail: S::Text,
    page_heads: PageHeads<S::Text>,
    stats: Stats,
    /// What the database can have grown to at most; asking for it takes longer than storing an event.
    bytes_at_most: u64,
    /// What is left of `PUSH_RATE`.
    allowances: Allowances,
    /// Bytes on their way on all connections.
    in_flight: Sum,
    /// Whether a pull waits for room at the object.
    is_paused: bool,
    /// Whether this turn has had a push, after which it is looked who waits for a pull of another connection.
    is_probe_due: bool,
    /// When pulls of 0.3 sockets go on, if there are some under way.
    plain_at_ms: Option<u64>,
    /// The log that is being brought in, during which nobody is served.
    import: Option<Import>,
    /// How many have sent a file.
    uploads: u64,
    /// How far the store is deleted, during which nobody is served.
    deletion: Option<Deletion>,
    /// How the last one ended.
    ended: Option<Ended>,
    /// What D1 may yet be told by others than the backup.
    repairs: Repairs,
    /// When the store ends, if nobody opens it.
    retention: Retention,
    /// Whether the alarm that has gone off stands for what D1 has yet to answer.
    holds_alarm: bool,
    /// When the backup was last compared with the log.
    verified_ms: Cell<u64>,
    /// Why the store could not be opened again, if that is so.
    closed: Option<OpenError>,
}

/// Makes backend ids that nobody has had.
pub type FreshIds = Box<dyn FnMut() -> BackendId>;

/// What a deployment asks of requests, beside limits.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `EVENT_NAMES`.
    pub event_names: EventNames,
    /// `ADMIN_SECRET`, for the administrative messages of 0.3.
    pub admin: Option<AdminSecret>,
    /// The object's id, for the same.
    pub object_id: String,
    /// The hooks that there are.
    pub uses: Uses,
    /// Milliseconds for which events are collected before they are copied to D1; `None`: there is no backup.
    pub backup_delay_ms: Option<u64>,
    /// After how long events of the backup are folded, in milliseconds; `None`: they are not.
    pub compact_after_ms: Option<u64>,
    /// Whether D1 is asked for a backup of the store before one is made that is not here.
    pub asks_at_birth: bool,
    /// Whether there is a database that may hold something of the store.
    pub has_database: bool,
    /// After how long a store is deleted that nobody has opened. *Units*: milliseconds.
    pub ttl_ms: Option<u64>,
}

impl<S: Sql> fmt::Debug for SyncBackend<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SyncBackend")
            .field("store_id", self.store.store_id())
            .finish_non_exhaustive()
    }
}

impl<S: Sql> SyncBackend<S> {
    /// The backend of an opened store, without connections.
    #[must_use]
    pub fn new(store: EventStore<S>, limits: Limits, rules: Rules, fresh_ids: FreshIds) -> Self {
        let tail = wire::rpc_page_tail(PageInfo::NoMore, store.backend_id());
        let mut backend = Self {
            followers: Followers::restore(&store, &rules),
            last_page_tail: store.text(&tail),
            import: Import::resume(&store),
            uploads: 0,
            deletion: None,
            ended: None,
            repairs: Repairs::default(),
            retention: Retention::resume(&store, &rules),
            rules,
            fresh_ids,
            stats: Stats::default(),
            bytes_at_most: u64::MAX,
            allowances: Allowances::default(),
            store,
            limits,
            connections: Connections::new(),
            waiting: Waiting::new(),
            page_heads: PageHeads::new(),
            in_flight: Sum::default(),
            is_paused: false,
            is_probe_due: false,
            plain_at_ms: None,
            holds_alarm: false,
            verified_ms: Cell::new(0),
            closed: None,
        };
        backend.resume_or_keep_deletion();
        backend
    }

    /// What has been counted.
    pub fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }

    /// The store it serves.
    #[must_use]
    pub fn store(&self) -> &EventStore<S> {
        &self.store
    }

    /// The limits it keeps to.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// How many sockets are open.
    #[must_use]
    pub fn socket_count(&self) -> usize {
        let open = self.connections.iter();
        open.filter(|connection| connection.is_socket()).count()
    }

    /// Whose pings the runtime is to answer: it knows one ping per object, so those of 0.3 clients beside newer ones
    /// reach the backend. `None` where nobody is connected.
    #[must_use]
    pub fn pinging(&self) -> Option<Family> {
        let sockets = || self.connections.iter().filter(|one| one.is_socket());
        let mut clients = sockets().filter(|one| !one.is_inspector()).peekable();
        if clients.peek().is_none() {
            return sockets().next().map(Connection::family);
        }
        let is_plain = clients.all(|one| one.family() == Family::Plain);
        Some(if is_plain { Family::Plain } else { Family::Rpc })
    }

    /// Takes up a new socket, opened at `now_ms`. Its attachment has to be kept at once.
    pub fn connect(&mut self, family: Family, grant: Grant, now_ms: u64) -> ConnectionId {
        self.stats.connections += 1;
        if grant.access != Access::Inspect {
            self.note_opened(now_ms);
        }
        self.insert(family, Transport::WebSocket, grant, now_ms)
    }

    /// Takes up a connection for one request by `transport`: its frame follows, then
    /// [`SyncBackend::go_on`] until [`SyncBackend::progress`] is done, then
    /// [`SyncBackend::disconnect`].
    pub fn connect_once(
        &mut self,
        transport: Transport,
        grant: Grant,
        now_ms: u64,
    ) -> ConnectionId {
        self.note_opened(now_ms);
        self.insert(Family::Rpc, transport, grant, now_ms)
    }

    fn insert(
        &mut self,
        family: Family,
        transport: Transport,
        grant: Grant,
        now_ms: u64,
    ) -> ConnectionId {
        let connection = Connection::new(family, transport, grant, &self.in_flight, now_ms);
        self.connections.insert(connection)
    }

    /// Whether a message of a connection waits: for a hook, or for the time when it may be decided.
    #[must_use]
    pub fn is_waiting(&self, id: ConnectionId) -> bool {
        self.waiting.has(id)
    }

    /// What is known of an open connection.
    #[must_use]
    pub fn peer(&self, id: ConnectionId) -> Option<Peer> {
        self.connections.get(id).map(|connection| Peer {
            transport: connection.transport(),
            grant: Rc::clone(connection.grant()),
        })
    }

    /// How far the answer to the request of a connection has got; done where there is no connection.
    #[must_use]
    pub fn progress(&self, id: ConnectionId) -> Progress {
        let Some(connection) = self.connections.get(id) else {
            return Progress::Done;
        };
        if self.waiting.has(id) {
            Progress::Waiting
        } else if connection.subscriptions().is_empty() {
            Progress::Done
        } else {
            Progress::More
        }
    }

    /// Bytes on their way on a connection.
    #[must_use]
    pub fn in_flight_bytes(&self, id: ConnectionId) -> usize {
        let connection = self.connections.get(id);
        connection.map_or(0, |connection| connection.room().bytes())
    }

    /// Whether the answer to the request of a connection has pages in it.
    #[must_use]
    pub fn has_paged(&self, id: ConnectionId) -> bool {
        self.connections.get(id).is_some_and(Connection::has_paged)
    }

    /// Goes on with what an earlier life of the object left undone. Called once after a wake, when the
    /// sockets have been taken up.
    pub fn on_wake(&mut self, turn: &mut Turn<S::Text>) {
        if self.uncopied() > 0 {
            // An earlier life may have sent some of it.
            self.repairs.inherit(turn.now_ms);
        }
        self.look_after_retention(turn);
        self.hold_off(turn);
        self.deliver_due(turn);
        self.look_at_compaction(turn);
        self.end_turn(turn);
    }

    /// Takes up a socket that outlived the object's memory, from what was kept with it.
    ///
    /// Attachments of sync-cf are understood. `None` when the text is no attachment, or one of another
    /// store or lifetime: such a socket has to be closed.
    pub fn reconnect(&mut self, attachment: &str, now_ms: u64) -> Option<ConnectionId> {
        let connection = self.restore(attachment, now_ms)?;
        Some(self.connections.insert(connection))
    }

    /// The store that an attachment was kept for.
    #[must_use]
    pub fn store_of(attachment: &str) -> Option<StoreId> {
        attachment::store_of(attachment)
    }

    /// Forgets a connection that is over: a socket that has closed, a request whose answer was read or given up.
    pub fn disconnect(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        let pulls = self.live_pulls(id);
        self.forget(id, turn);
        self.probe_overdue_with(&pulls, turn);
        self.resume_paused(turn);
        self.end_turn(turn);
    }

    fn forget(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        if self.connections.remove(id).is_some() {
            self.waiting.forget(id);
            self.release_held(id, turn);
        }
    }

    /// Forgets a connection, and has its other end closed.
    fn close(
        &mut self,
        connection: ConnectionId,
        code: u16,
        reason: &'static str,
        turn: &mut Turn<S::Text>,
    ) {
        self.end_plain_pull(connection, reason, turn);
        self.forget(connection, turn);
        turn.out.push(Output::Close {
            connection,
            code,
            reason,
        });
    }

    /// What has to be kept with a socket, so that its subscriptions survive an eviction.
    #[must_use]
    pub fn attachment(&self, id: ConnectionId) -> Option<String> {
        let connection = self.connections.get(id)?;
        Some(attachment::keep(connection, &self.store))
    }

    /// Handles one frame.
    pub fn on_frame(&mut self, from: ConnectionId, frame: Frame<'_>, turn: &mut Turn<S::Text>) {
        let Some(connection) = self.connections.get(from) else {
            return;
        };
        let family = connection.family();
        if !connection.is_inspector() {
            self.note_opened(turn.now_ms);
        }
        let text = match frame {
            Frame::Text(text) => Ok(text),
            Frame::Binary(bytes) => std::str::from_utf8(bytes),
        };
        let messages = text.map_err(|error| Malformed::Syntax {
            message: format!("the frame is neither text nor UTF-8: {error}"),
        });
        match messages.and_then(|text| wire::split(family, text)) {
            Ok(messages) => {
                self.on_messages(from, &messages, frame.bytes(), turn.now_ms, turn);
            }
            Err(malformed) => self.refuse_message(from, &malformed, turn),
        }
        self.remember(from, turn);
        self.end_turn(turn);
    }

    /// Does what a message asks for, all of it in this turn.
    ///
    /// Each verb is a function of its own: V8 compiles hot functions again in the background, with all that is inlined into them. So this
    /// has 2 kB instead of 11, and an isolate's first 1,500 pushes cost 0.97 of the CPU.
    fn on_message(&mut self, from: ConnectionId, inbound: Inbound<'_>, turn: &mut Turn<S::Text>) {
        let Some((family, transport)) = self.connections.get(from).map(Connection::speaks) else {
            return;
        };
        match inbound {
            Inbound::Push {
                requester,
                backend_id,
                events,
                store_id: _,
            } => {
                if let (None, Some(connection)) = (&backend_id, self.connections.get_mut(from)) {
                    // A client that has pulled before would name the backend id it got.
                    connection.expect_no_pull();
                }
                self.push(from, &requester, backend_id.as_deref(), events, turn);
                // When all of its frame is done: a pull may follow in it.
                self.is_probe_due = true;
            }
            Inbound::Pull {
                requester,
                live,
                cursor,
                caller,
                store_id: _,
            } => {
                let follow = Follow::of(live, caller, &requester);
                self.pull(from, &requester, follow, cursor.as_ref(), turn);
            }
            Inbound::Ack { id } => self.acknowledge(from, &id, turn),
            Inbound::Interrupt { requester } => self.interrupt(from, &requester, turn),
            Inbound::Ping => {
                self.send(from, wire::pong(family), turn);
                if family == Family::Plain {
                    self.on_plain_ping(from, turn);
                }
            }
            Inbound::PingRequest { requester, .. } => {
                self.send(from, &wire::ping_done(&requester, transport), turn);
            }
            Inbound::Unsubscribe {
                requester,
                object_id,
                request,
                ..
            } => {
                self.unsubscribe(object_id.as_deref(), request.as_ref(), turn);
                self.send(from, &wire::unsubscribed(&requester), turn);
            }
            Inbound::Admin {
                requester,
                ask,
                secret,
            } => self.administer(from, &requester, ask, &secret, turn),
            Inbound::Malformed(malformed) => self.refuse_message(from, &malformed, turn),
            Inbound::Nothing => {}
        }
    }

    /// Does what the alarm was set for.
    ///
    /// As long as [`SyncBackend::holds_alarm`] says so afterwards, the host has not finished with it: if the object is
    /// lost meanwhile, the platform repeats it, which saves setting another for that case.
    pub fn on_alarm(&mut self, turn: &mut Turn<S::Text>) {
        // One under way is given up in its time: for that an alarm has to be set.
        let was_asking = self.is_asking();
        self.end_unopened(turn);
        self.resume_deletion(turn);
        self.begin_copying();
        self.resume_import(turn);
        self.resume_delayed(turn);
        self.resume_plain(turn);
        self.make_room(turn);
        self.deliver_due(turn);
        self.rest_copying();
        self.holds_alarm = !was_asking;
        self.end_turn(turn);
    }

    /// Everything that a turn leaves for later, asked for at its end.
    fn end_turn(&mut self, turn: &mut Turn<S::Text>) {
        if self.store.is_stale() && self.closed.is_none() {
            // Should it fail, it is told to who comes next.
            let _ = self.open_again(!self.rules.asks_at_birth, turn);
        }
        if std::mem::take(&mut self.is_probe_due) {
            self.probe_overdue(turn);
        }
        if self.is_gone() {
            // Not even an alarm is left.
            self.holds_alarm = false;
            return;
        }
        self.make_room(turn);
        self.ask_shown(turn);
        let (backup, followers) = self.followers.next_ms(&self.store, turn.now_ms);
        let times = [
            followers,
            self.waiting.next_ms(),
            self.plain_at_ms,
            self.room_at_ms(turn.now_ms),
        ];
        let others = times.into_iter().flatten().min();
        // Nobody else must wait until D1 has answered.
        self.holds_alarm = self.holds_alarm && others.is_none() && self.is_asking();
        if self.holds_alarm {
            return;
        }
        let import = self.import.as_ref();
        let import = import.and_then(|import| import.next_ms(turn.now_ms));
        let deletion = self.deletion.as_ref();
        let deletion = deletion.map(|deletion| deletion.next_ms(turn.now_ms));
        let retention = self.retention.next_ms(turn.now_ms);
        let times = [
            others,
            backup,
            import,
            deletion,
            retention.filter(|_| deletion.is_none()),
        ];
        if let Some(at_ms) = times.into_iter().flatten().min() {
            turn.out.push(Output::WakeAt { at_ms });
            self.armed(at_ms);
        }
    }

    /// Whether D1 has been asked something and has not answered.
    fn is_asking(&self) -> bool {
        let is_fetching = self.import.as_ref().is_some_and(Import::is_fetching);
        let is_deleting = self.deletion.as_ref().is_some_and(Deletion::is_asking);
        is_fetching || is_deleting || self.followers.is_copying()
    }

    /// Asks for the attachment to be written if this turn has changed what stands in it.
    fn remember(&mut self, connection: ConnectionId, turn: &mut Turn<S::Text>) {
        let one = self.connections.get_mut(connection);
        if one.is_some_and(|one| one.take_changed() && one.is_socket()) {
            turn.out.push(Output::Remember { connection });
        }
    }

    fn send(&self, to: ConnectionId, frame: &str, turn: &mut Turn<S::Text>) {
        let frame = self.store.text(frame);
        turn.out.push(Output::Send { to, frame });
    }
}

/// What is repeated of a failure that somebody else told of.
fn repeated(message: &str) -> String {
    message.chars().take(BACKUP_MESSAGE_CHARS_MAX).collect()
}

/// ISO 8601 in UTC with milliseconds, as JavaScript prints it.
#[must_use]
pub fn iso_8601(now_ms: u64) -> String {
    let time = i64::try_from(now_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
