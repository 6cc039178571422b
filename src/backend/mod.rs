//! One store's sync backend: a frame goes in, an ordered list of outputs comes out.
//!
//! Owns the connections and their subscriptions, and the order of everything that is sent. Refuses to
//! know sockets, clocks and randomness: they arrive as arguments. There is no `await` in here, so one
//! frame is one turn: a push is decided, stored and turned into frames before any other frame is seen.
//!
//! - *INV-2* commit, publish, acknowledge, in that order, in one turn.
//! - *INV-5* the connection's store is the only store: a payload that names another is refused.
//! - *INV-6* a live pull gets every event after its cursor once, ascending, without gaps: while its
//!   pages are on their way, pushes are folded into them.

mod admin;
mod allowance;
mod attachment;
mod callers;
mod connection;
mod deliver;
mod refusals;
mod report;
mod requests;
mod stats;

use std::rc::Rc;

use chrono::{DateTime, SecondsFormat};

use crate::auth::{AdminSecret, Grant};
use crate::event::{EventNames, StoreId};
use crate::limits::Limits;
use crate::store::EventStore;
use crate::store::sql::Sql;
use crate::wire::{self, Family, Inbound, Malformed, PageInfo, RequestId, Requester, Transport};
use allowance::Allowance;
use callers::Callers;
use connection::Connection;
use deliver::PageHeads;

pub use callers::{CallId, Called, Caller};
pub use connection::ConnectionId;
pub use report::{About, Reason, Report};
pub use stats::{Duration, Stats};

/// What the host has to do, in this order.
#[derive(Clone, Debug)]
pub enum Output<T> {
    /// Send a text frame.
    Send {
        /// To this connection.
        to: ConnectionId,
        /// What it holds.
        content: Content,
        /// The whole frame.
        frame: T,
    },
    /// Keep [`SyncBackend::attachment`] of this connection with its socket.
    Remember {
        /// The connection that changed.
        connection: ConnectionId,
    },
    /// Close a socket; its client connects again and pulls from where it was.
    Close {
        /// The socket.
        connection: ConnectionId,
        /// WebSocket close code.
        code: u16,
        /// Close reason.
        reason: &'static str,
    },
    /// Call [`SyncBackend::on_alarm`] in a turn of its own: there is more to send.
    Resume,
    /// Call [`SyncBackend::on_alarm`] at this time, in milliseconds since the epoch.
    WakeAt {
        /// When.
        at_ms: u64,
    },
    /// Call a Durable Object, and tell [`SyncBackend::on_called`] how it went.
    Call {
        /// Names the call.
        call: CallId,
        /// Whom.
        caller: Caller,
        /// The message, as JSON.
        frame: T,
    },
    /// Call [`SyncBackend::reset`], then send `done` to a client, whose socket is closed last.
    Reset {
        /// The client.
        from: ConnectionId,
        /// Its answer.
        done: T,
    },
    /// Something an operator may want to read.
    Report(Report),
}

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The answer to a request, or what ends one.
    Answer,
    /// The acknowledgement of a push whose events are stored.
    Acknowledgement,
    /// A page of the log.
    Page {
        /// The pull it answers.
        of: Rc<Requester>,
    },
    /// A part of a batch that has just been stored.
    Broadcast {
        /// Whether nobody has been sent this part before.
        is_first: bool,
    },
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
    /// Tells a connection from a later one with the same id.
    pub life: u64,
    /// How it came.
    pub transport: Transport,
    /// What the auth step verified.
    pub grant: Rc<Grant>,
}

/// Service restart: what clients are told when they have to connect again.
const TRY_AGAIN: u16 = 1012;

/// What clients are told whose token has expired: connect again with another one.
const EXPIRED: u16 = 4401;

/// The sync backend of one store.
pub struct SyncBackend<S: Sql> {
    store: EventStore<S>,
    limits: Limits,
    connections: Vec<Option<Connection<S::Text>>>,
    /// What follows the events of a page that is the last one; the same for every RPC pull.
    last_page_tail: S::Text,
    page_heads: PageHeads<S::Text>,
    callers: Callers,
    /// Connections taken up so far.
    lives: u64,
    rules: Rules,
    stats: Stats,
    /// What the database can have grown to at most; asking for it takes longer than storing an event.
    bytes_at_most: u64,
    /// What is left of `PUSH_RATE` to requests that are connections of their own.
    allowance: Allowance,
}

/// What a deployment asks of requests, beside limits.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// `EVENT_NAMES`.
    pub event_names: EventNames,
    /// `ADMIN_SECRET`, for the administrative messages of 0.3.
    pub admin: Option<AdminSecret>,
    /// The object's id, for the same.
    pub object_id: String,
}

impl<S: Sql> SyncBackend<S> {
    /// The backend of an opened store, without connections.
    #[must_use]
    pub fn new(store: EventStore<S>, limits: Limits) -> Self {
        let tail = wire::rpc_page_tail(PageInfo::NoMore, store.backend_id());
        let last_page_tail = store.text(&tail);
        Self {
            callers: Callers::restore(store.state()),
            lives: 0,
            rules: Rules::default(),
            stats: Stats::default(),
            bytes_at_most: u64::MAX,
            allowance: Allowance::default(),
            store,
            limits,
            connections: Vec::new(),
            last_page_tail,
            page_heads: PageHeads::new(),
        }
    }

    /// The same backend under `rules`.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// What has been counted.
    pub fn stats(&mut self) -> &mut Stats {
        &mut self.stats
    }

    fn renew_page_tail(&mut self) {
        let tail = wire::rpc_page_tail(PageInfo::NoMore, self.store.backend_id());
        self.last_page_tail = self.store.text(&tail);
    }

    /// The store it serves.
    #[must_use]
    pub fn store(&self) -> &EventStore<S> {
        &self.store
    }

    /// What the open sockets speak.
    pub fn sockets(&self) -> impl Iterator<Item = Family> {
        let open = self.connections.iter().flatten();
        open.filter(|connection| connection.transport() == Transport::WebSocket)
            .map(Connection::family)
    }

    /// Takes up a new socket, opened at `now_ms`. Its attachment has to be kept at once.
    pub fn connect(&mut self, family: Family, grant: Grant, now_ms: u64) -> ConnectionId {
        self.stats.connections += 1;
        self.insert(Connection::new(family, Transport::WebSocket, grant, now_ms))
    }

    /// Takes up a connection for one request by `transport`: its frame follows, then
    /// [`SyncBackend::go_on`] until [`SyncBackend::is_answered`], then [`SyncBackend::disconnect`].
    pub fn connect_once(
        &mut self,
        transport: Transport,
        grant: Grant,
        now_ms: u64,
    ) -> ConnectionId {
        self.insert(Connection::new(Family::Rpc, transport, grant, now_ms))
    }

    /// What is known of an open connection.
    #[must_use]
    pub fn peer(&self, id: ConnectionId) -> Option<Peer> {
        self.connection(id).map(|connection| Peer {
            life: connection.life(),
            transport: connection.transport(),
            grant: Rc::clone(connection.grant()),
        })
    }

    /// Whether every pull of a connection has sent its last page.
    #[must_use]
    pub fn is_answered(&self, id: ConnectionId) -> bool {
        self.connection(id)
            .is_none_or(|connection| connection.subscriptions().is_empty())
    }

    /// Sends more of the answer to a request, what went before having been taken.
    pub fn go_on(&mut self, id: ConnectionId, out: &mut Vec<Output<S::Text>>) {
        if let Some(connection) = self.connection_mut(id) {
            for subscription in connection.subscriptions_mut() {
                subscription.acknowledge_all();
            }
        }
        self.send_pages(id, None, out);
    }

    /// Forgets the connection of one request, whether its answer has been read or not.
    pub fn disconnect_once(&mut self, id: ConnectionId, now_ms: u64) {
        self.disconnect(id);
        self.release_callers(id, now_ms);
    }

    /// Goes on with what an earlier life of the object left undone. Called once after a wake.
    pub fn on_wake(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        self.call_idle(now_ms, out);
    }

    /// Takes up a socket that outlived the object's memory, from what was kept with it.
    ///
    /// Attachments of sync-cf are understood. `None` when the text is no attachment, or one of another
    /// store: such a socket has to be closed.
    pub fn reconnect(&mut self, attachment: &str) -> Option<ConnectionId> {
        let connection = attachment::restore(
            attachment,
            self.store.store_id(),
            self.store.head(),
            |request| {
                self.page_heads
                    .text(&self.store, request, Transport::WebSocket)
            },
        )?;
        Some(self.insert(connection))
    }

    /// The store that an attachment was kept for.
    #[must_use]
    pub fn store_of(attachment: &str) -> Option<StoreId> {
        attachment::store_of(attachment)
    }

    /// Forgets a socket that has closed.
    pub fn disconnect(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id.index()) {
            *connection = None;
        }
    }

    /// What has to be kept with a socket, so that its subscriptions survive an eviction.
    #[must_use]
    pub fn attachment(&self, id: ConnectionId) -> Option<String> {
        let connection = self.connection(id)?;
        Some(attachment::keep(
            connection,
            self.store.store_id(),
            self.store.head(),
        ))
    }

    /// Handles one frame. `now_ms` is the time since the epoch in milliseconds.
    pub fn on_frame(
        &mut self,
        from: ConnectionId,
        frame: Frame<'_>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        for inbound in self.decode(from, frame) {
            if self.check(from, &inbound, frame.bytes(), now_ms, out) {
                self.on_message(from, inbound, now_ms, out);
            }
        }
        self.remember(from, out);
    }

    /// Reads a frame of a connection. Each message goes through [`SyncBackend::check`], then through the
    /// hooks if there are any, then into [`SyncBackend::on_message`]; after the last one,
    /// [`SyncBackend::remember`]. [`SyncBackend::on_frame`] is all of this without hooks.
    #[must_use]
    pub fn decode<'a>(&self, from: ConnectionId, frame: Frame<'a>) -> Vec<Inbound<'a>> {
        let Some((family, transport)) = self.connection(from).map(Connection::speaks) else {
            return Vec::new();
        };
        let text = match frame {
            Frame::Text(text) => Ok(text),
            Frame::Binary(bytes) => std::str::from_utf8(bytes),
        };
        match text {
            Ok(text) => wire::decode(family, transport, text),
            Err(error) => {
                let message = format!("the frame is neither text nor UTF-8: {error}");
                vec![Inbound::Malformed(Malformed::Syntax { message })]
            }
        }
    }

    /// Whether a pull with this id is under way.
    #[must_use]
    pub fn has_pull(&self, id: ConnectionId, request: &RequestId) -> bool {
        self.connection(id)
            .is_some_and(|connection| connection.find(request).is_some())
    }

    /// Does what the alarm was set for.
    pub fn on_alarm(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        self.resume(out);
        self.call_due(now_ms, out);
    }

    /// Goes on with pulls that had more to send than one turn should.
    fn resume(&mut self, out: &mut Vec<Output<S::Text>>) {
        for index in 0..self.connections.len() {
            let id = ConnectionId::new(index);
            let is_waiting = |connection: &Connection<S::Text>| {
                connection.family() == Family::Plain && !connection.subscriptions().is_empty()
            };
            if self.connection(id).is_some_and(is_waiting) {
                self.send_pages(id, None, out);
                self.remember(id, out);
            }
        }
    }

    /// Asks for the attachment to be written if this turn has changed what stands in it.
    pub fn remember(&mut self, connection: ConnectionId, out: &mut Vec<Output<S::Text>>) {
        if self
            .connection_mut(connection)
            .is_some_and(|one| one.take_changed() && one.transport() == Transport::WebSocket)
        {
            out.push(Output::Remember { connection });
        }
    }

    fn send(&self, to: ConnectionId, frame: &str, out: &mut Vec<Output<S::Text>>) {
        out.push(Output::Send {
            to,
            content: Content::Answer,
            frame: self.store.text(frame),
        });
    }

    fn insert(&mut self, connection: Connection<S::Text>) -> ConnectionId {
        self.lives += 1;
        let connection = connection.lived(self.lives);
        let free = self.connections.iter().position(Option::is_none);
        let index = free.unwrap_or(self.connections.len());
        match self.connections.get_mut(index) {
            Some(slot) => *slot = Some(connection),
            None => self.connections.push(Some(connection)),
        }
        ConnectionId::new(index)
    }

    fn connection(&self, id: ConnectionId) -> Option<&Connection<S::Text>> {
        self.connections.get(id.index())?.as_ref()
    }

    fn connection_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<S::Text>> {
        self.connections.get_mut(id.index())?.as_mut()
    }
}

/// ISO 8601 in UTC with milliseconds, as JavaScript prints it.
fn iso_8601(now_ms: u64) -> String {
    let time = i64::try_from(now_ms)
        .ok()
        .and_then(DateTime::from_timestamp_millis);
    time.unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}
