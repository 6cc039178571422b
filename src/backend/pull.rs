//! A pull: answered by pages of the log, as many at a time as may be on their way, until its client has
//! everything.

use std::rc::Rc;

use super::connection::Connection;
use super::followers::ClientObject;
use super::refusal::Refusal;
use super::report::Report;
use super::subscription::{Follow, Subscription};
use super::waiting::Shown;
use super::{ConnectionId, Output, Peer, SyncBackend, TRY_AGAIN, Turn, attachment};
use crate::event::SeqNum;
use crate::limits::{
    ATTACHMENT_BYTES_MAX, ATTACHMENT_RESERVE_BYTES, PIECE_BYTES_MAX, PROBE_MS, PULLS_MAX,
    TURN_BYTES_MAX,
};
use crate::store::EventStore;
use crate::store::sql::{Form, Sql, StoreError, Text as _};
use crate::wire::{
    self, CallerContext, Cursor, Family, Generation, PageInfo, RequestId, Requester, Transport,
};

/// Page heads by request id, since clients of different sockets use the same few ids.
pub(super) struct PageHeads<T> {
    recent: Option<(RequestId, T)>,
}

impl Follow {
    pub(super) fn of(live: bool, caller: Option<CallerContext<'_>>, requester: &Requester) -> Self {
        match (live, caller) {
            (false, _) => Self::Nothing,
            (true, None) => Self::Frames,
            (true, Some(caller)) => Self::Calls(ClientObject {
                binding: caller.binding_name.into_owned(),
                object_id: caller.durable_object_id.into_owned(),
                request: requester.id.clone(),
            }),
        }
    }
}

impl<S: Sql> SyncBackend<S> {
    #[inline(never)] // 1.5 kB less in `on_message`, see there.
    pub(super) fn pull(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        follow: Follow,
        cursor: Option<&Cursor<'_>>,
        turn: &mut Turn<S::Text>,
    ) {
        let received = cursor.and_then(|cursor| cursor.backend_id.as_deref());
        if let Err(refusal) = self.check_lifetime(received) {
            return self.refuse(from, requester, refusal, turn);
        }
        let after = cursor.map_or(SeqNum::ROOT, |cursor| cursor.after);
        let head = self.store.head();
        let Some(connection) = self.connections.get_mut(from) else {
            return;
        };
        if connection.family() == Family::Plain {
            // It names no lifetime, but has events that this one does not have.
            if after > head || connection.is_over() && after > SeqNum::ROOT {
                return self.refuse(from, requester, Refusal::OtherLifetime, turn);
            }
            connection.set_plain_pull(&requester.id);
            connection.set_over(false);
        }
        let transport = connection.transport();
        let head = self.page_heads.text(&self.store, requester, transport);
        let is_live = follow == Follow::Frames;
        let room = connection.room().clone();
        let subscription = Subscription::new(requester.clone(), follow, after, head, room);
        // A request id used again means the newer request.
        connection.abandon(&requester.id);
        if connection.is_abandoning() {
            return self.close_stalled(from, turn);
        }
        connection.insert(subscription);
        // Refused while nothing has been sent, so that the pull ends as a whole.
        let reserve = if is_live { ATTACHMENT_RESERVE_BYTES } else { 0 };
        let kept_bytes = attachment::bytes_max(connection, self.store.store_id());
        let pulls = connection.subscriptions().len();
        if kept_bytes > ATTACHMENT_BYTES_MAX - reserve || pulls > PULLS_MAX {
            connection.remove(&requester.id);
            return self.refuse(from, requester, Refusal::Pulls, turn);
        }
        self.stats.pulls += 1;
        self.send_pages(from, Some(&requester.id), turn);
        let about = self.about(from, requester);
        turn.out
            .push(Output::Report(Report::Pulled { about, after }));
    }

    /// A page or broadcast has arrived.
    pub(super) fn acknowledge(
        &mut self,
        from: ConnectionId,
        id: &RequestId,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(connection) = self.connections.get_mut(from) else {
            return;
        };
        if connection.acknowledge(id) {
            connection.takes(turn.now_ms);
            self.send_ready(from, turn);
            self.resume_paused(turn);
        } else if connection.has_seen(id) {
            // A pull that is over, perhaps of an earlier life of the object: others may wait for its room.
            self.send_ready(from, turn);
        } else if connection.is_socket() {
            // The client waits for pages of a pull that was answered before this object existed. Only
            // a closed socket makes it pull again; see ARCHITECTURE.md.
            turn.out.push(Output::Report(Report::UnknownPull));
            let reason = "unknown pull: connect and pull again";
            self.close(from, TRY_AGAIN, reason, turn);
        }
    }

    #[inline(never)] // 0.6 kB less in `on_message`, see there.
    pub(super) fn interrupt(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        turn: &mut Turn<S::Text>,
    ) {
        self.waiting.interrupt(from, &requester.id);
        let Some(connection) = self.connections.get_mut(from) else {
            return;
        };
        connection.abandon(&requester.id);
        if connection.is_abandoning() {
            return self.close_stalled(from, turn);
        }
        // Also for a request that is over or unknown, so that no client waits for it. Where a request is a
        // connection of its own, its client has left.
        let is_socket = connection.is_socket();
        if let Some(answer) = wire::interrupted(requester).filter(|_| is_socket) {
            self.send(from, &answer, turn);
        }
        self.send_ready(from, turn);
    }

    /// Sends more pages of those pulls of a connection that have some, and room for them.
    pub(super) fn send_ready(&mut self, to: ConnectionId, turn: &mut Turn<S::Text>) {
        let pulls = self.connections.get(to).map(Connection::subscriptions);
        let pulls = pulls.unwrap_or_default();
        if pulls.iter().any(Subscription::is_ready) {
            self.send_pages(to, None, turn);
        } else if self.is_full() && pulls.iter().any(Subscription::is_paging) {
            // It waits for room at the object, if not for acknowledgements.
            self.is_paused = true;
            if let Some(connection) = self.connections.get_mut(to) {
                connection.mark_changed();
            }
        }
    }

    /// Sends pages of one pull, or of all that are ready for some, up to what one turn may.
    pub(super) fn send_pages(
        &mut self,
        to: ConnectionId,
        only: Option<&RequestId>,
        turn: &mut Turn<S::Text>,
    ) {
        let store = &self.store;
        let Some(connection) = self.connections.get_mut(to) else {
            return;
        };
        connection.begins_to_send(turn.now_ms);
        let (family, transport) = connection.speaks();
        let shows = self.rules.uses.has_on_pull_res() && !connection.is_inspector();
        let (mut failed, mut objects) = (None, Vec::new());
        let mut sent = SentPages::default();
        let is_unasked = family == Family::Plain && connection.plain_pull().is_none();
        for subscription in connection.subscriptions_mut() {
            let is_meant = match only {
                Some(only) => *only == subscription.requester().id,
                None => subscription.is_ready(),
            };
            if subscription.is_caught_up() || !is_meant {
                continue;
            }
            let mut pages = Pages {
                store,
                family,
                transport,
                last_page_tail: &self.last_page_tail,
                is_unasked,
                sent: &mut sent,
            };
            match pages.send_turn(subscription) {
                Ok(Sent::Everything) => {}
                Ok(Sent::Part) => self.is_paused |= subscription.is_object_full(),
                Err(error) => failed = Some((subscription.requester().clone(), error)),
            }
            if let Some(object) = subscription.take_client_object() {
                objects.push((object, subscription.after()));
            }
        }
        connection.account_for_pages();
        connection.remove_finished();
        if !sent.frames.is_empty() {
            connection.mark_paged();
        }
        let peer = shows.then(|| peer_of(connection));
        if family == Family::Plain && !connection.subscriptions().is_empty() {
            // Nothing will tell when its client has taken what was sent.
            let has_room = connection.room().has_room();
            let wait_ms = if has_room { 0 } else { PROBE_MS };
            self.wake_for_plain(turn.now_ms + wait_ms);
        }
        self.stats.pages += sent.pages;
        for frame in sent.frames {
            self.send_page(to, peer.as_ref(), frame, turn);
        }
        if let Some((requester, error)) = failed {
            self.fail_pull(to, &requester, error, turn);
        }
        for (object, after) in objects {
            self.follow(to, object, after, turn);
        }
    }

    /// Sends what belongs to a pull, by way of its hook if there is one.
    fn send_page(
        &mut self,
        to: ConnectionId,
        peer: Option<&Peer>,
        sent: SentFrame<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        let SentFrame {
            pull,
            frame,
            is_end,
            is_unasked,
        } = sent;
        let Some(peer) = peer else {
            return turn.out.push(Output::Send { to, frame });
        };
        if is_end {
            return self.send_end(to, &pull, frame, turn);
        }
        let mut then = Vec::new();
        if peer.transport == Transport::WebSocket {
            let frame = frame.clone();
            turn.out.push(Output::Send { to, frame });
        } else {
            then.push(frame.clone());
        }
        self.waiting.show(Shown {
            to,
            peer: peer.clone(),
            generation: pull.generation,
            pull: (!is_unasked).then_some(pull),
            frame,
            then,
            ends: false,
        });
    }

    /// Sends the end of a pull, behind those of its pages that their hook has.
    fn send_end(
        &mut self,
        to: ConnectionId,
        pull: &Rc<Requester>,
        frame: S::Text,
        turn: &mut Turn<S::Text>,
    ) {
        match self.waiting.last_shown(to, pull) {
            Some(shown) => {
                shown.then.push(frame);
                shown.ends = true;
            }
            None => turn.out.push(Output::Send { to, frame }),
        }
    }

    /// Sends more of the answer to a request over HTTP or DO-RPC, what went before having been taken.
    pub fn go_on(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.takes(turn.now_ms);
            connection.acknowledge_all();
            if connection.grant().is_expired(turn.now_ms) {
                let (refusal, who) = (Refusal::Expired, self.who(id));
                self.stats.refuse(&refusal, who, turn.now_ms);
                turn.out.push(Output::Report(Report::Expired));
                self.end_pulls(id, &Refusal::Expired, turn);
            } else {
                self.send_pages(id, None, turn);
            }
        }
        self.resume_paused(turn);
        self.end_turn(turn);
    }

    /// Ends every pull of a connection for the same reason, as their clients are told.
    pub(super) fn end_pulls(
        &mut self,
        id: ConnectionId,
        refusal: &Refusal,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let mut pulls = self.waiting.end_held(id);
        for pull in connection.subscriptions() {
            if !pulls.contains(pull.requester()) {
                pulls.push(Rc::clone(pull.requester()));
            }
        }
        for requester in pulls {
            if let Some(connection) = self.connections.get_mut(id) {
                connection.remove(&requester.id);
            }
            self.forget_held(id, &requester.id, turn);
            self.send(id, &wire::failed(&requester, &refusal.failure()), turn);
        }
    }

    /// Ends the pulls of a request over HTTP or DO-RPC early, as if they had been answered: an HTTP client goes on
    /// when it polls, and an object is called with the rest. Each of them would take a failure for final.
    pub(super) fn stop_pulls(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        let pulls = self.connections.get(id).map(Connection::subscriptions);
        let pulls = pulls.unwrap_or_default().iter();
        let pulls: Vec<_> = pulls.map(|pull| pull.requester().id.clone()).collect();
        for pull in pulls {
            self.stop_pull(id, &pull, turn);
        }
    }

    fn stop_pull(&mut self, id: ConnectionId, pull: &RequestId, turn: &mut Turn<S::Text>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(subscription) = connection.take(pull) else {
            return;
        };
        if !subscription.has_paged() {
            // Without a page the first pull of a client would be its last.
            connection.mark_paged();
            let (head, tail) = (subscription.page_head(), &self.last_page_tail);
            let frame = S::Text::join(head, &self.store.text(""), tail);
            turn.out.push(Output::Send { to: id, frame });
        }
        if let Some(done) = wire::pull_done(subscription.requester()) {
            let done = self.store.text(&done);
            self.send_end(id, subscription.requester(), done, turn);
        }
        let after = subscription.after();
        if let Some(object) = subscription.into_client_object() {
            self.follow(id, object, after, turn);
        }
    }

    /// Goes on with pulls that had no room at the object, now that there is some.
    pub(super) fn resume_paused(&mut self, turn: &mut Turn<S::Text>) {
        if !self.is_paused || self.is_full() {
            return;
        }
        self.is_paused = false;
        let is_ready = |connection: &Connection<S::Text>| {
            let mut pulls = connection.subscriptions().iter();
            pulls.any(|pull| pull.is_ready() && pull.is_idle())
        };
        for id in self.connections.ids(is_ready) {
            if self.is_full() {
                self.is_paused = true;
                return;
            }
            self.send_pages(id, None, turn);
            self.remember(id, turn);
        }
    }

    /// Ends a pull that cannot be read. An error would end it for good: on a socket clients recover from a
    /// close by connecting again, elsewhere they ask again after an answer that ends early.
    fn fail_pull(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        error: StoreError,
        turn: &mut Turn<S::Text>,
    ) {
        let what = "read the events";
        let refusal = Refusal::Storage { what, error };
        if self.mends_again(to, turn) {
            let (about, who) = (self.about(to, requester), self.who(to));
            return self.report_refusal(about, who, refusal, turn);
        }
        if self.connections.get(to).is_some_and(Connection::is_socket) {
            if let Some(connection) = self.connections.get_mut(to) {
                connection.remove(&requester.id);
            }
            return self.refuse(to, requester, refusal, turn);
        }
        let (about, who) = (self.about(to, requester), self.who(to));
        self.report_refusal(about, who, refusal, turn);
        self.stop_pull(to, &requester.id, turn);
    }
}

fn peer_of<T>(connection: &Connection<T>) -> Peer {
    Peer {
        transport: connection.transport(),
        grant: Rc::clone(connection.grant()),
    }
}

impl<T: Clone> PageHeads<T> {
    pub(super) fn new() -> Self {
        Self { recent: None }
    }

    /// The head of the pages that answer `requester`.
    pub(super) fn text<S: Sql<Text = T>>(
        &mut self,
        store: &EventStore<S>,
        requester: &Requester,
        transport: Transport,
    ) -> T {
        let is_usual = requester.generation != Generation::V03 && transport != Transport::DoRpc;
        match &self.recent {
            Some((id, text)) if *id == requester.id && is_usual => text.clone(),
            _ => {
                let text = store.text(&wire::page_head(requester, transport));
                if is_usual {
                    self.recent = Some((requester.id.clone(), text.clone()));
                }
                text
            }
        }
    }
}

/// How far a turn got with one pull.
enum Sent {
    /// To the end of the log.
    Everything,
    /// As far as may be on its way at once.
    Part,
}

/// A frame of a pull.
struct SentFrame<T> {
    pull: Rc<Requester>,
    frame: T,
    /// Whether it ends its pull.
    is_end: bool,
    /// Whether its client has made no pull, which a hook could end.
    is_unasked: bool,
}

/// What a turn sends for the pulls of a connection.
struct SentPages<T> {
    frames: Vec<SentFrame<T>>,
    pages: u64,
}

impl<T> Default for SentPages<T> {
    fn default() -> Self {
        Self {
            frames: Vec::new(),
            pages: 0,
        }
    }
}

/// Reads pages for the pulls of one connection.
struct Pages<'a, S: Sql> {
    store: &'a EventStore<S>,
    family: Family,
    transport: Transport,
    last_page_tail: &'a S::Text,
    /// Whether its client is sent events without a pull, as when they are pushed.
    is_unasked: bool,
    sent: &'a mut SentPages<S::Text>,
}

impl<S: Sql> Pages<'_, S> {
    fn send_turn(&mut self, subscription: &mut Subscription<S::Text>) -> Result<Sent, StoreError> {
        let (bytes_max, form) = match self.transport {
            Transport::WebSocket => (TURN_BYTES_MAX, Form::String),
            Transport::Http | Transport::DoRpc => (PIECE_BYTES_MAX, Form::Utf8),
        };
        let mut bytes = 0;
        loop {
            // An empty page takes no room, and would be forgotten in an eviction: nothing of the log is lacking.
            let has_some = subscription.after() < self.store.last_stored();
            if has_some && subscription.has_to_wait() {
                return Ok(Sent::Part);
            }
            let page = self.store.page(self.family, form, subscription.after())?;
            let info = PageInfo::remaining(self.store.last_stored().since(page.last));
            let tail = match info {
                PageInfo::NoMore if self.family == Family::Rpc => self.last_page_tail.clone(),
                _ if self.is_unasked => {
                    let tail = wire::plain_unasked_tail(subscription.requester(), info);
                    self.store.text(&tail)
                }
                _ => self.store.text(&wire::page_tail(
                    subscription.requester(),
                    info,
                    self.store.backend_id(),
                )),
            };
            let items = page.items.unwrap_or_else(|| self.store.text(""));
            let frame = S::Text::join(subscription.page_head(), &items, &tail);
            self.add(subscription, frame, false);
            self.sent.pages += 1;
            subscription.sent(page.last, page.bytes);
            if info == PageInfo::NoMore {
                if !subscription.finish_paging()
                    && let Some(done) = wire::pull_done(subscription.requester())
                {
                    self.add(subscription, self.store.text(&done), true);
                }
                return Ok(Sent::Everything);
            }
            bytes += page.bytes;
            if bytes >= bytes_max {
                return Ok(Sent::Part);
            }
        }
    }

    fn add(&mut self, subscription: &Subscription<S::Text>, frame: S::Text, is_end: bool) {
        self.sent.frames.push(SentFrame {
            pull: Rc::clone(subscription.requester()),
            frame,
            is_end,
            is_unasked: self.is_unasked,
        });
    }
}
