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
mod report;
mod stats;

use std::rc::Rc;

use chrono::{DateTime, SecondsFormat};

use crate::auth::{Access, AdminSecret, Grant};
use crate::event::{Batch, Event, EventNames, SeqNum, StoreId};
use crate::eventlog::{Admission, Refusal, admit, check_lifetime};
use crate::limits::{ATTACHMENT_BYTES_MAX, ATTACHMENT_RESERVE_BYTES, Limits};
use crate::store::EventStore;
use crate::store::sql::{Sql, StoreError};
use crate::wire::{
    self, AdminAsk, CallerContext, Cursor, Failure, Family, Generation, Inbound, Malformed,
    PageInfo, RequestId, Requester, Transport,
};
use allowance::Allowance;
use callers::Callers;
use connection::{Connection, Subscription};
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The answer to a request, or what ends one.
    Answer,
    /// The acknowledgement of a push whose events are stored.
    Acknowledgement,
    /// A page of the log.
    Page,
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

    /// Whether a connection may send this message; refuses it if not.
    pub fn check(
        &mut self,
        from: ConnectionId,
        inbound: &Inbound<'_>,
        frame_bytes: usize,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) -> bool {
        let (requester, store_id, is_push) = match inbound {
            Inbound::Push {
                requester,
                store_id,
                ..
            } => (requester, store_id, true),
            Inbound::Pull {
                requester,
                store_id,
                ..
            }
            | Inbound::PingRequest {
                requester,
                store_id,
            } => (requester, store_id, false),
            _ => return true,
        };
        let Some(connection) = self.connection_mut(from) else {
            return false;
        };
        connection.note_request(requester);
        let grant = Rc::clone(connection.grant());
        let is_socket = connection.transport() == Transport::WebSocket;
        let own = self.store.store_id().as_str();
        let (frame_bytes_max, store_bytes_max) =
            (self.limits.frame_bytes_max, self.limits.store_bytes_max);
        let (reason, message) = if grant.is_expired(now_ms) {
            if is_socket {
                self.close_expired(from, now_ms, out);
                return false;
            }
            (Reason::Expired, "the token has expired".to_owned())
        } else if store_id.as_deref().is_some_and(|store_id| store_id != own) {
            let message = "payload.storeId is not the store of this connection";
            (Reason::OtherStore, message.to_owned())
        } else if frame_bytes > frame_bytes_max {
            let message = format!(
                "the frame has {frame_bytes} bytes, but at most {frame_bytes_max} are accepted (MAX_FRAME_BYTES)"
            );
            (Reason::FrameTooLarge, message)
        } else if !is_push {
            return true;
        } else if grant.access == Access::ReadOnly {
            let message = "the token grants reading alone: pushes are refused";
            (Reason::ReadOnly, message.to_owned())
        } else if !self.take_push(from, now_ms) {
            let rate = self.limits.push_rate.unwrap_or_default();
            let message =
                format!("more than {rate} pushes per second (PUSH_RATE): try again later");
            (Reason::PushRate, message)
        } else if self.store.size_bytes() >= store_bytes_max {
            let message = format!(
                "the store has {} bytes, but at most {store_bytes_max} are accepted (MAX_STORE_BYTES)",
                self.store.size_bytes()
            );
            (Reason::StoreFull, message)
        } else {
            return true;
        };
        let failure = Failure::Unknown { message };
        self.fail(from, requester, reason, failure, now_ms, out);
        false
    }

    /// Takes one push from what `PUSH_RATE` leaves to a connection, if it leaves one.
    fn take_push(&mut self, from: ConnectionId, now_ms: u64) -> bool {
        let Some(rate) = self.limits.push_rate else {
            return true;
        };
        match self.connection_mut(from) {
            Some(connection) if connection.transport() == Transport::WebSocket => {
                connection.allowance().take(rate, now_ms)
            }
            _ => self.allowance.take(rate, now_ms),
        }
    }

    /// Refuses a request that a hook does not let through.
    pub fn refuse_by_hook(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        message: &str,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        if let Some(connection) = self.connection_mut(from) {
            connection.remove(&requester.id);
        }
        let message = message.to_owned();
        let failure = Failure::Unknown { message };
        self.fail(from, requester, Reason::Hook, failure, now_ms, out);
    }

    fn close_expired(
        &mut self,
        connection: ConnectionId,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.stats
            .refuse(Reason::Expired, "the token has expired", now_ms);
        self.disconnect(connection);
        out.push(Output::Report(Report::Expired));
        out.push(Output::Close {
            connection,
            code: EXPIRED,
            reason: "the token has expired: connect again with a new one",
        });
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

    /// Does what a message asks for, all of it in this turn.
    pub fn on_message(
        &mut self,
        from: ConnectionId,
        inbound: Inbound<'_>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let Some((family, transport)) = self.connection(from).map(Connection::speaks) else {
            return;
        };
        match inbound {
            Inbound::Push {
                requester,
                backend_id,
                events,
                store_id: _,
            } => {
                if let (None, Some(connection)) = (&backend_id, self.connection_mut(from)) {
                    // A client that has pulled before would name the backend id it got.
                    connection.expect_no_pull();
                }
                self.push(from, &requester, backend_id.as_deref(), events, now_ms, out);
                self.close_overdue(now_ms, out);
            }
            Inbound::Pull {
                requester,
                live,
                cursor,
                caller,
                store_id: _,
            } => {
                let follow = Follow::of(live, caller, &requester);
                self.pull(from, &requester, follow, cursor, now_ms, out);
            }
            Inbound::Ack { id } => self.acknowledge(from, &id, out),
            Inbound::Interrupt { requester } => self.interrupt(from, &requester, out),
            Inbound::Ping => self.send(from, wire::pong(family), out),
            Inbound::PingRequest { requester, .. } => {
                self.send(from, &wire::ping_done(&requester, transport), out);
            }
            Inbound::Admin {
                requester,
                ask,
                secret,
            } => self.administer(from, &requester, ask, &secret, now_ms, out),
            Inbound::Malformed(malformed) => self.refuse_message(from, &malformed, now_ms, out),
            Inbound::Nothing => {}
        }
    }

    fn push(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        backend_id: Option<&str>,
        events: Vec<Event<'_>>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let lifetime = check_lifetime(self.store.backend_id(), backend_id);
        if let (Err(refusal), false) = (lifetime, events.is_empty()) {
            return self.refuse(from, requester, refusal, now_ms, out);
        }
        let names = &self.rules.event_names;
        let misnamed = events.iter().enumerate();
        let misnamed = misnamed.filter(|(_, event)| !names.allow(&event.name));
        if let Some((index, event)) = misnamed.take(1).next() {
            let name: String = event.name.chars().take(100).collect();
            let message =
                format!("batch[{index}].name is '{name}', which EVENT_NAMES does not allow");
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::EventName, failure, now_ms, out);
        }
        let batch = match Batch::parse(events, &self.limits) {
            Ok(Some(batch)) => batch,
            Ok(None) => return self.send(from, &wire::push_ack(requester), out),
            Err(error) => {
                let message = error.to_string();
                let failure = Failure::Unknown { message };
                return self.fail(from, requester, Reason::NoBatch, failure, now_ms, out);
            }
        };
        let client_id = batch.client_id().to_owned();
        let admission = match admit(&self.store, batch) {
            Ok(admission) => admission,
            Err(refusal) => {
                if let Refusal::ServerAhead { .. } = refusal
                    && let Some(refusals) = self.stats.lost_race(&client_id)
                {
                    out.push(Output::Report(Report::StuckClient {
                        client_id,
                        refusals,
                    }));
                }
                return self.refuse(from, requester, refusal, now_ms, out);
            }
        };
        self.stats.won_race(&client_id);
        let Admission::Append(batch) = admission else {
            self.stats.pushes_repeated += 1;
            return self.acknowledge_push(from, requester, out);
        };
        if let Err(error) = self.store.append(&batch, &iso_8601(now_ms)) {
            return self.refuse(from, requester, Refusal::Store(error), now_ms, out);
        }
        let events = batch.events().len();
        self.stats.pushes += 1;
        self.stats.events += events as u64;
        let is_plain = requester.generation == Generation::V03;
        if is_plain {
            // These clients are used to the acknowledgement before the broadcast; both follow the commit.
            self.acknowledge_push(from, requester, out);
        }
        self.publish(from, requester, &batch, now_ms, out);
        self.call_idle(now_ms, out);
        if !is_plain {
            self.acknowledge_push(from, requester, out);
        }
        out.push(Output::Report(Report::Stored {
            about: self.about(from, requester),
            events,
            head: self.store.head(),
        }));
    }

    fn about(&self, from: ConnectionId, requester: &Requester) -> About {
        let transport = self.connection(from).map(Connection::transport);
        About::new(requester, transport.unwrap_or(Transport::WebSocket))
    }

    fn administer(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        ask: AdminAsk,
        secret: &str,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let is_right = self.rules.admin.as_ref().is_some_and(|own| own.is(secret));
        if !is_right {
            let message = "Invalid admin secret".to_owned();
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::AdminSecret, failure, now_ms, out);
        }
        let done = wire::admin_done(requester, ask, &self.rules.object_id);
        match ask {
            AdminAsk::Info => self.send(from, &done, out),
            // The host has the randomness that a new lifetime takes.
            AdminAsk::Reset => out.push(Output::Reset {
                from,
                done: self.store.text(&done),
            }),
        }
    }

    fn acknowledge_push(
        &self,
        to: ConnectionId,
        requester: &Requester,
        out: &mut Vec<Output<S::Text>>,
    ) {
        out.push(Output::Send {
            to,
            content: Content::Acknowledgement,
            frame: self.store.text(&wire::push_ack(requester)),
        });
    }

    fn pull(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        follow: Follow,
        cursor: Option<Cursor<'_>>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let received = cursor
            .as_ref()
            .and_then(|cursor| cursor.backend_id.as_deref());
        if let Err(refusal) = check_lifetime(self.store.backend_id(), received) {
            return self.refuse(from, requester, refusal, now_ms, out);
        }
        let Some(transport) = self.connection(from).map(Connection::transport) else {
            return;
        };
        let after = cursor.map_or(SeqNum::ROOT, |cursor| cursor.after);
        let head = self.page_heads.text(&self.store, requester, transport);
        let (id, live) = (requester.id.clone(), follow == Follow::Frames);
        let subscription = Subscription::new(requester.clone(), live, after, head);
        let subscription = subscription.followed_by(follow.caller());
        let Some(connection) = self.connection_mut(from) else {
            return;
        };
        connection.expect_no_pull();
        // A request id used again means the newer request.
        connection.remove(&id);
        connection.insert(subscription);
        // Refused while nothing has been sent, so that the pull ends as a whole.
        let store_id = self.store.store_id();
        let reserve = if live { ATTACHMENT_RESERVE_BYTES } else { 0 };
        let is_full = |connection: &Connection<S::Text>| {
            attachment::bytes_max(connection, store_id) > ATTACHMENT_BYTES_MAX - reserve
        };
        if self.connection(from).is_some_and(is_full) {
            if let Some(connection) = self.connection_mut(from) {
                connection.remove(&id);
            }
            let message =
                "this connection has as many pulls under way as one connection can hold".to_owned();
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::Pulls, failure, now_ms, out);
        }
        self.stats.pulls += 1;
        self.send_pages(from, Some(&id), out);
        let about = self.about(from, requester);
        out.push(Output::Report(Report::Pulled { about, after }));
    }

    fn acknowledge(&mut self, from: ConnectionId, id: &RequestId, out: &mut Vec<Output<S::Text>>) {
        let Some(connection) = self.connection_mut(from) else {
            return;
        };
        if let Some(subscription) = connection.find_mut(id) {
            subscription.acknowledge();
            self.send_more(from, id, out);
        } else if !connection.has_seen(id) && connection.transport() == Transport::WebSocket {
            // The client waits for pages of a pull that was answered before this object existed. Only
            // a closed socket makes it pull again; see ARCHITECTURE.md.
            self.disconnect(from);
            out.push(Output::Report(Report::UnknownPull));
            out.push(Output::Close {
                connection: from,
                code: TRY_AGAIN,
                reason: "unknown pull: connect and pull again",
            });
        }
    }

    /// Closes the sockets of clients that should have pulled by now. Such a client lost its connection
    /// without noticing, has a new one, and waits on it for a pull that ended with the old one; it
    /// pulls again once this one is closed too.
    fn close_overdue(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        for index in 0..self.connections.len() {
            let connection = ConnectionId::new(index);
            if self
                .connection(connection)
                .is_some_and(|connection| connection.is_overdue(now_ms))
            {
                self.disconnect(connection);
                out.push(Output::Report(Report::Overdue));
                out.push(Output::Close {
                    connection,
                    code: TRY_AGAIN,
                    reason: "no pull on this connection: connect and pull again",
                });
            }
        }
    }

    fn interrupt(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        out: &mut Vec<Output<S::Text>>,
    ) {
        if let Some(connection) = self.connection_mut(from) {
            connection.remove(&requester.id);
        }
        // Also for a request that is over or unknown, so that no client waits for it. Where a request is a
        // connection of its own, its client has left.
        let is_socket = self
            .connection(from)
            .is_some_and(|connection| connection.transport() == Transport::WebSocket);
        if let Some(answer) = wire::interrupted(requester).filter(|_| is_socket) {
            self.send(from, &answer, out);
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

    fn refuse(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        refusal: Refusal,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let (reason, failure) = match refusal {
            Refusal::BackendIdMismatch { received } => (
                Reason::BackendIdMismatch,
                Failure::BackendIdMismatch {
                    expected: self.store.backend_id().clone(),
                    received,
                },
            ),
            Refusal::ServerAhead {
                minimum_expected,
                provided,
            } => (
                Reason::ServerAhead,
                Failure::ServerAhead {
                    minimum_expected,
                    provided,
                },
            ),
            Refusal::Store(error) => {
                out.push(Output::Report(Report::StoreFailed {
                    during: "a push",
                    message: error.message,
                }));
                let message = "the backend could not store the events; nothing was stored";
                let message = message.to_owned();
                (Reason::Storage, Failure::Unknown { message })
            }
        };
        self.fail(from, requester, reason, failure, now_ms, out);
    }

    fn fail(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        reason: Reason,
        failure: Failure,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.send(to, &wire::failed(requester, &failure), out);
        let about = self.about(to, requester);
        let report = match failure {
            Failure::ServerAhead {
                minimum_expected,
                provided,
            } => Report::LostRace {
                about,
                head: minimum_expected,
                provided,
            },
            Failure::BackendIdMismatch { .. } => Report::Refused {
                about,
                reason,
                message: "another backend id".to_owned(),
            },
            Failure::Unknown { message } => Report::Refused {
                about,
                reason,
                message,
            },
        };
        self.stats.refuse(reason, &report.to_string(), now_ms);
        out.push(Output::Report(report));
    }

    fn refuse_message(
        &mut self,
        to: ConnectionId,
        malformed: &Malformed,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let family = self.connection(to).map(Connection::family);
        let answer = family.and_then(|family| wire::malformed(family, malformed));
        if let Some(answer) = answer {
            self.send(to, &answer, out);
        }
        self.stats
            .refuse(Reason::Malformed, malformed.message(), now_ms);
    }

    /// Ends a connection whose pull cannot go on: its client recovers by connecting again, while an
    /// error would end its pull for good.
    fn close_after_failure(
        &mut self,
        connection: ConnectionId,
        during: &'static str,
        error: &StoreError,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.disconnect(connection);
        out.push(Output::Report(Report::StoreFailed {
            during,
            message: error.message.clone(),
        }));
        out.push(Output::Close {
            connection,
            code: 1011,
            reason: "storage failed: connect and pull again",
        });
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

/// What a pull wants after its last page.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Follow {
    /// Nothing.
    Nothing,
    /// Frames on the same connection.
    Frames,
    /// Calls to an object.
    Calls(Caller),
}

impl Follow {
    fn of(live: bool, caller: Option<CallerContext<'_>>, requester: &Requester) -> Self {
        match (live, caller) {
            (false, _) => Self::Nothing,
            (true, None) => Self::Frames,
            (true, Some(caller)) => Self::Calls(Caller {
                binding: caller.binding_name.into_owned(),
                object_id: caller.durable_object_id.into_owned(),
                request: requester.id.clone(),
            }),
        }
    }

    fn caller(self) -> Option<Caller> {
        match self {
            Self::Calls(caller) => Some(caller),
            Self::Nothing | Self::Frames => None,
        }
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
