//! What subscriptions are sent of a batch, in the turn that stored it.
//!
//! Owns INV-6 together with `pull`: a live pull gets each event once, in order, whether by page or by
//! broadcast, and has no more on its way than its window and its connection's room (INV-11). A batch is
//! encoded once per family; a frame is that text between a head and a tail.

use super::connection::Connection;
use super::report::Report;
use super::subscription::Subscription;
use super::waiting::Shown;
use super::{ConnectionId, Output, SyncBackend, TRY_LATER, Turn};
use crate::event::{Batch, Event, SeqNum};
use crate::eventlog::split;
use crate::limits::CONNECTION_BYTES_MAX;
use crate::store::EventStore;
use crate::store::sql::{Sql, Text as _};
use crate::wire::{self, Family, RequestId, Requester};

/// A batch on its way to everyone who follows the log.
struct Publication<'a, S: Sql> {
    store: &'a EventStore<S>,
    requester: &'a Requester,
    batch: &'a Batch<'a>,
    created_at: &'a str,
    last_page_tail: &'a S::Text,
    /// The pages of the batch without envelopes, and the bytes of each, once somebody needs them.
    rpc: Option<Pieces<S::Text>>,
    /// The frame of 0.3 sockets and its bytes, once somebody needs it.
    plain: Option<(S::Text, usize)>,
    /// The frames of the last request id: sockets whose pull has the same one get the very same text.
    recent: Option<(RequestId, Vec<S::Text>)>,
    /// Whether it is more than may be on its way on one connection: then it is read from the log, page by page.
    is_large: bool,
    deliveries: u64,
    /// 0.3 sockets that read it from there.
    plain_behind: Vec<ConnectionId>,
    /// Pulls that read on from the log instead.
    behind: Vec<ConnectionId>,
    /// Connections whose attachment is out of date.
    changed: Vec<ConnectionId>,
    expired: Vec<ConnectionId>,
    /// 0.3 sockets that have had too much for their client to be still reading, as far as is known.
    doubtful: Vec<(ConnectionId, bool)>,
    /// Whether a hook is to see the parts of the batch.
    is_shown: bool,
    /// Frames as somebody was sent them: the hook is shown each part once.
    parts: Vec<S::Text>,
}

/// Texts with the bytes of each.
struct Pieces<T> {
    texts: Vec<T>,
    bytes: Vec<usize>,
}

impl<S: Sql> SyncBackend<S> {
    /// Sends a stored batch to every subscription that has everything before it, the pusher's first.
    pub(super) fn publish(
        &mut self,
        pusher: ConnectionId,
        requester: &Requester,
        batch: &Batch<'_>,
        created_at: &str,
        turn: &mut Turn<S::Text>,
    ) {
        let bytes: usize = batch.events().iter().map(Event::content_bytes).sum();
        let mut publication = Publication {
            store: &self.store,
            requester,
            batch,
            created_at,
            last_page_tail: &self.last_page_tail,
            rpc: None,
            plain: None,
            recent: None,
            is_large: bytes > CONNECTION_BYTES_MAX,
            deliveries: 0,
            plain_behind: Vec::new(),
            behind: Vec::new(),
            changed: Vec::new(),
            expired: Vec::new(),
            doubtful: Vec::new(),
            is_shown: self.rules.uses.has_on_pull_res(),
            parts: Vec::new(),
        };
        if let Some(connection) = self.connections.get_mut(pusher) {
            publication.send(pusher, connection, turn);
        }
        for (id, connection) in self.connections.iter_mut() {
            if id != pusher {
                publication.send(id, connection, turn);
            }
        }
        let Publication {
            deliveries,
            plain_behind,
            behind,
            mut changed,
            expired,
            doubtful,
            parts,
            ..
        } = publication;
        self.stats.deliveries += deliveries;
        for id in expired {
            self.close_expired(id, turn);
        }
        for (id, is_new) in doubtful {
            if is_new {
                turn.out.push(Output::Probe { connection: id });
            } else {
                self.close_stalled(id, turn);
            }
        }
        for id in plain_behind {
            self.page_plain(id, batch.parent(), turn);
        }
        for id in behind {
            self.send_ready(id, turn);
            // It waits for room at the object, if not for acknowledgements.
            self.is_paused |= self.is_full();
            changed.push(id);
        }
        for id in changed {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.mark_changed();
            }
            self.remember(id, turn);
        }
        self.show_parts(pusher, requester, parts);
    }

    /// Has the parts of a batch shown to their hook, once each, however many got them.
    fn show_parts(&mut self, pusher: ConnectionId, requester: &Requester, parts: Vec<S::Text>) {
        let peer = self.peer(pusher).filter(|_| !parts.is_empty());
        let Some(peer) = peer else {
            return;
        };
        for frame in parts {
            self.waiting.show(Shown {
                to: pusher,
                peer: peer.clone(),
                generation: requester.generation,
                pull: None,
                frame,
                then: Vec::new(),
                ends: false,
            });
        }
    }

    pub(super) fn close_stalled(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let report = Report::TakesNothing {
            bytes: connection.room().bytes(),
        };
        self.stats.stalled(&report, connection.who(), turn.now_ms);
        turn.out.push(Output::Report(report));
        let reason = "nothing sent on this connection is taken: connect and pull again";
        self.close(id, TRY_LATER, reason, turn);
    }
}

impl<S: Sql> Publication<'_, S> {
    fn send(
        &mut self,
        to: ConnectionId,
        connection: &mut Connection<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        if connection.grant().is_expired(turn.now_ms) {
            // An answer that is under way ends as it is asked to go on.
            if connection.is_socket() {
                self.expired.push(to);
            }
            return;
        }
        match connection.family() {
            Family::Plain => self.send_plain(to, connection, turn),
            Family::Rpc => self.send_rpc(to, connection, turn),
        }
    }

    fn send_plain(
        &mut self,
        to: ConnectionId,
        connection: &mut Connection<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        if connection.is_over() || !connection.subscriptions().is_empty() {
            return;
        }
        if self.is_large && connection.plain_pull().is_some() {
            self.plain_behind.push(to);
            return;
        }
        let (store, requester, batch) = (self.store, self.requester, self.batch);
        let created_at = self.created_at;
        let (frame, bytes) = self
            .plain
            .get_or_insert_with(|| plain_frame(store, requester, batch, created_at));
        let (frame, bytes) = (frame.clone(), *bytes);
        self.deliveries += 1;
        if connection.set_heard() {
            self.changed.push(to);
        }
        if self.is_shown && self.parts.is_empty() {
            self.parts.push(frame.clone());
        }
        connection.begins_to_send(turn.now_ms);
        let has_room = connection.room().has_room_for(bytes);
        connection.sent_unproven(bytes);
        if has_room {
            turn.out.push(Output::Send { to, frame });
        } else {
            let is_first = connection.hold(frame);
            self.doubtful.push((to, is_first));
        }
    }

    fn send_rpc(
        &mut self,
        to: ConnectionId,
        connection: &mut Connection<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        connection.begins_to_send(turn.now_ms);
        let is_inspector = connection.is_inspector();
        for subscription in connection.subscriptions_mut() {
            if subscription.watch(self.batch.last(), turn.now_ms) && !is_inspector {
                turn.out.push(Output::Report(Report::StuckPull {
                    generation: subscription.requester().generation,
                    lag: self.batch.last().since(subscription.after()),
                }));
            }
            if subscription.is_caught_up() {
                self.send_live(to, subscription, is_inspector, turn);
            }
        }
    }

    fn send_live(
        &mut self,
        to: ConnectionId,
        subscription: &mut Subscription<S::Text>,
        is_inspector: bool,
        turn: &mut Turn<S::Text>,
    ) {
        let (last, parent): (SeqNum, SeqNum) = (self.batch.last(), self.batch.parent());
        if subscription.after() >= last {
            // Its cursor was beyond the head; what is kept of it says how far.
            if subscription.after() == last {
                self.changed.push(to);
            }
            return;
        }
        let (store, batch, created_at) = (self.store, self.batch, self.created_at);
        // Its cursor may have been beyond the head, and lie inside this batch.
        let follows = subscription.after() <= parent && !self.is_large;
        let bodies = follows.then(|| {
            let bodies = || bodies(store, batch, created_at);
            &*self.rpc.get_or_insert_with(bodies)
        });
        // Its client may take what it is sent more slowly than others push.
        let has_room = |bodies: &&Pieces<S::Text>| subscription.has_room_for(&bodies.bytes);
        let Some(bodies) = bodies.filter(has_room) else {
            subscription.page_again();
            self.behind.push(to);
            return;
        };
        for bytes in &bodies.bytes {
            subscription.sent(last, *bytes);
        }
        let id = &subscription.requester().id;
        if self.recent.as_ref().is_none_or(|(known, _)| known != id) {
            let (head, tail) = (subscription.page_head(), self.last_page_tail);
            let frames = bodies.texts.iter();
            let frames = frames.map(|body| S::Text::join(head, body, tail)).collect();
            self.recent = Some((id.clone(), frames));
        }
        if let Some((_, frames)) = &self.recent {
            self.deliveries += frames.len() as u64;
            if self.is_shown && !is_inspector && self.parts.is_empty() {
                self.parts.clone_from(frames);
            }
            let frames = frames.iter().cloned();
            turn.out
                .extend(frames.map(|frame| Output::Send { to, frame }));
        }
    }
}

/// The pages of a pushed batch, without envelopes.
fn bodies<S: Sql>(store: &EventStore<S>, batch: &Batch<'_>, created_at: &str) -> Pieces<S::Text> {
    let (mut texts, mut bytes) = (Vec::with_capacity(1), Vec::with_capacity(1));
    for page in split(Family::Rpc, batch.events(), created_at) {
        texts.push(store.text(&page));
        bytes.push(page.len());
    }
    Pieces { texts, bytes }
}

/// The one frame in which 0.3 sockets get a pushed batch, and its bytes.
fn plain_frame<S: Sql>(
    store: &EventStore<S>,
    pusher: &Requester,
    batch: &Batch<'_>,
    created_at: &str,
) -> (S::Text, usize) {
    let (mut frame, tail) = wire::plain_broadcast(pusher);
    wire::encode_items(Family::Plain, batch.events(), created_at, &mut frame);
    frame.push_str(&tail);
    (store.text(&frame), frame.len())
}
