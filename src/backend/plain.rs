//! The sockets of 0.3 clients, which differ from all others: they acknowledge nothing, pull once in their life, get
//! what is pushed without asking for it, know no lifetimes of the log, and lose for good what is published between
//! two of their sockets. An error that names its pull has such a client take nothing more until it restarts,
//! and then it pulls from where it really is.

use super::connection::Connection;
use super::refusal::Refusal;
use super::subscription::{Follow, Subscription};
use super::{ConnectionId, Output, SyncBackend, Turn};
use crate::event::SeqNum;
use crate::limits::{PLAIN_MEND_MS, PLAIN_STALL_MS, PROBE_MS};
use crate::store::sql::Sql;
use crate::wire::{self, Failure, Family, Generation, RequestId, Requester};

impl<S: Sql> SyncBackend<S> {
    /// Goes on with pulls that have more to send than one turn should.
    pub(super) fn resume_plain(&mut self, turn: &mut Turn<S::Text>) {
        if self.plain_at_ms.is_none_or(|at_ms| turn.now_ms < at_ms) {
            return;
        }
        self.plain_at_ms = None;
        let is_paging = |connection: &Connection<S::Text>| {
            connection.family() == Family::Plain && !connection.subscriptions().is_empty()
        };
        for id in self.connections.ids(is_paging) {
            let Some(connection) = self.connections.get(id) else {
                continue;
            };
            if let Some(at_ms) = self.mends_later(connection, id, turn.now_ms) {
                self.wake_for_plain(at_ms);
                continue;
            }
            let silent_ms = turn.now_ms.saturating_sub(connection.taken_at_ms());
            if connection.room().has_room() {
                self.send_pages(id, None, turn);
                self.remember(id, turn);
            } else if connection.room().bytes() > 0 && silent_ms >= PLAIN_STALL_MS {
                // Nothing else would ever let the object rest.
                self.close_stalled(id, turn);
            } else {
                // An earlier life of the object may have known this.
                self.is_paused |= connection.room().is_object_full();
                self.wake_for_plain(turn.now_ms + PROBE_MS);
                turn.out.push(Output::Probe { connection: id });
            }
        }
    }

    /// Has a 0.3 socket read from the log what is pushed after `after`, as it did in its pull.
    pub(super) fn page_plain(&mut self, id: ConnectionId, after: SeqNum, turn: &mut Turn<S::Text>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(pull) = connection.plain_pull().cloned() else {
            return;
        };
        let requester = requester_of(pull);
        let transport = connection.transport();
        let head = self.page_heads.text(&self.store, &requester, transport);
        let room = connection.room().clone();
        connection.insert(Subscription::new(
            requester,
            Follow::Frames,
            after,
            head,
            room,
        ));
        connection.mark_changed();
        self.wake_for_plain(turn.now_ms);
        self.remember(id, turn);
    }

    /// A 0.3 client that has been away pushes what follows `parent`, and others have pushed since: as its pull was of an
    /// earlier socket, it would never get that, and wait for it for ever. It is sent from the log what follows
    /// `parent`, unless it has only just started and pulls by itself.
    ///
    /// Only the first push of a socket tells where its client is, as long as nothing has been sent on it. Not after a
    /// reset: the client may be of another lifetime, which 0.3 does not tell.
    pub(super) fn mend_plain(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        parent: SeqNum,
        turn: &mut Turn<S::Text>,
    ) {
        if parent >= self.store.last_stored() || self.store.had_lifetimes() {
            return;
        }
        let connection = self.connections.get_mut(from);
        let Some(connection) = connection.filter(|connection| connection.is_fresh()) else {
            return;
        };
        let transport = connection.transport();
        let head = self.page_heads.text(&self.store, requester, transport);
        let (follow, room) = (Follow::Frames, connection.room().clone());
        let missing = Subscription::new(requester.clone(), follow, parent, head, room);
        let at_ms = turn.now_ms + PLAIN_MEND_MS;
        connection.mend(missing, at_ms);
        self.wake_for_plain(at_ms);
    }

    /// When to look again whether a 0.3 client is to be sent what it lacks: it may pull by itself, or have done so and wait
    /// for a hook. `None` if now.
    fn mends_later(
        &self,
        connection: &Connection<S::Text>,
        id: ConnectionId,
        now_ms: u64,
    ) -> Option<u64> {
        let at_ms = connection.mends_at_ms()?;
        if at_ms > now_ms {
            return Some(at_ms);
        }
        self.is_waiting(id).then_some(now_ms + PROBE_MS)
    }

    /// What a 0.3 client lacks could not be read: nothing that it can be told would have it ask, so it is read again, for a
    /// while. Whether it is.
    pub(super) fn mends_again(&mut self, id: ConnectionId, turn: &Turn<S::Text>) -> bool {
        let connection = self.connections.get(id);
        let since_ms = connection.and_then(Connection::mends_at_ms);
        let goes_on =
            since_ms.is_some_and(|since_ms| turn.now_ms.saturating_sub(since_ms) < PLAIN_STALL_MS);
        if goes_on {
            // Not at once, as where a page was sent.
            self.plain_at_ms = Some(turn.now_ms + PROBE_MS);
        }
        goes_on
    }

    /// Has the pulls go on at `at_ms`, or earlier.
    pub(super) fn wake_for_plain(&mut self, at_ms: u64) {
        let known = self.plain_at_ms.unwrap_or(at_ms);
        self.plain_at_ms = Some(known.min(at_ms));
    }

    /// The runtime last answered a ping of this client at `at_ms`, `None` if never. *Shape*: the answer to
    /// [`Output::Probe`].
    pub fn on_ping(&mut self, id: ConnectionId, at_ms: Option<u64>, turn: &mut Turn<S::Text>) {
        if let (Some(at_ms), Some(connection)) = (at_ms, self.connections.get_mut(id)) {
            connection.pinged(at_ms);
        }
        self.settle_held(id, turn);
        self.end_turn(turn);
    }

    /// A ping that was not answered by the runtime.
    pub(super) fn on_plain_ping(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        if let Some(connection) = self.connections.get_mut(id) {
            connection.pinged(turn.now_ms);
        }
        self.settle_held(id, turn);
    }

    /// Sends what was held back, if there is room for it now; else its client does not read.
    fn settle_held(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let has_room = connection.room().has_room();
        if let Some(frame) = connection.take_held() {
            if has_room {
                turn.out.push(Output::Send { to: id, frame });
            } else {
                self.close_stalled(id, turn);
            }
        }
        self.resume_paused(turn);
    }

    /// Ends the pull of a 0.3 socket with an error: its client would otherwise take what comes on its next socket,
    /// and never miss what was published in between.
    pub(super) fn end_plain_pull(
        &mut self,
        id: ConnectionId,
        message: &str,
        turn: &mut Turn<S::Text>,
    ) {
        let pull = self.connections.get(id).and_then(Connection::plain_pull);
        let Some(pull) = pull.cloned() else {
            return;
        };
        let requester = requester_of(pull);
        let message = message.to_owned();
        let failed = wire::failed(&requester, &Failure::Unknown { message });
        self.send(id, &failed, turn);
    }

    /// The log has been emptied: 0.3 clients are told, and their sockets get nothing of the next lifetime. They stay
    /// open, since another one of the same client could not be told from that of a new one.
    pub(super) fn end_plain_lifetimes(&mut self, turn: &mut Turn<S::Text>) {
        let message = Refusal::OtherLifetime.to_string();
        for id in self.connections.ids(|one| one.family() == Family::Plain) {
            self.end_plain_pull(id, &message, turn);
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            let pulls = connection.subscriptions().iter();
            let pulls: Vec<_> = pulls.map(|pull| pull.requester().id.clone()).collect();
            for pull in pulls {
                connection.remove(&pull);
            }
            connection.take_held();
            connection.set_over(true);
            self.remember(id, turn);
        }
    }
}

/// Whom answers to a pull of a 0.3 socket are for.
fn requester_of(pull: RequestId) -> Requester {
    Requester {
        id: pull,
        generation: Generation::V03,
        trace_id: None,
    }
}
