//! One connection as the backend sees it: what it speaks, and the pulls that are under way on it. A
//! connection is a socket, or the length of one request over HTTP or DO-RPC.

use std::rc::Rc;

use super::in_flight::{Abandoned, InFlight, Room, Sum};
use super::stats::Who;
use super::subscription::{Delivery, Subscription};
use crate::auth::{Access, Grant};
use crate::limits::{
    ABANDONED_BYTES_MAX, NAME_BYTES_KEPT, PLAIN_PING_MS, PROBES_MAX, PULL_PATIENCE_MS,
};
use crate::wire::{Family, Generation, RequestId, Requester, Transport};

/// A connection's state. 0.3 sockets get every broadcast, so their list holds only pulls still paging.
#[derive(Debug)]
pub(super) struct Connection<T> {
    family: Family,
    transport: Transport,
    grant: Rc<Grant>,
    /// The dialect of the last request.
    generation: Option<Generation>,
    room: Room,
    /// The other state of a 0.3 socket.
    plain: Plain<T>,
    subscriptions: Vec<Subscription<T>>,
    /// What is on its way of pulls that have sent their last page.
    finished: Vec<(RequestId, InFlight)>,
    /// What is on its way of pulls that have ended early.
    abandoned: Abandoned,
    first_request: Option<u64>,
    /// Since when this socket has been expected to pull: from its first moment to its first pull. In
    /// milliseconds since the epoch; `None` when it is not, or no more.
    awaiting_pull_since_ms: Option<u64>,
    /// When its client was last seen to take something. *Units*: milliseconds since the epoch.
    taken_at_ms: u64,
    /// Whether the attachment kept with the socket is out of date.
    changed: bool,
    /// Whether a page has been sent on it.
    has_paged: bool,
    /// Pulls of other sockets by which it has been looked whether its client waits for one of them.
    probed: Vec<RequestId>,
    /// Whether its client has named the lifetime of the log.
    knows_lifetime: bool,
    /// As its client calls itself in the events of its last push.
    client_id: Option<Rc<str>>,
}

/// What there is to know of a 0.3 socket alone: its client acknowledges nothing, has one pull in its life, and knows
/// no lifetime of the log.
#[derive(Debug)]
struct Plain<T> {
    /// What it has been sent and not been seen to take.
    unproven: InFlight,
    /// When its client last pinged. *Units*: milliseconds since the epoch.
    pinged_at_ms: Option<u64>,
    /// How many pieces were on their way then.
    sent_before_ping: usize,
    /// A broadcast that there is no room for, until it shows whether its client still reads.
    held: Option<T>,
    /// The pull it has made.
    pull: Option<RequestId>,
    /// Whether the lifetime of the log that it pulled from is over.
    is_over: bool,
    /// Whether its client has neither pulled on it nor been sent events: it has what it had before it was connected.
    is_fresh: bool,
    /// Until when a client that lacks events may still pull by itself. *Units*: milliseconds since the epoch.
    mends_at_ms: Option<u64>,
}

/// What outlives an eviction of a connection.
pub(super) struct Kept<T> {
    pub(super) subscriptions: Vec<Subscription<T>>,
    pub(super) first_request: Option<u64>,
    pub(super) awaiting_pull_since_ms: Option<u64>,
    /// The pull that a 0.3 socket has made.
    pub(super) plain_pull: Option<RequestId>,
    /// Whether the lifetime that it pulled from is over.
    pub(super) is_over: bool,
    /// Whether a 0.3 client has neither pulled on it nor been sent events.
    pub(super) is_fresh: bool,
}

impl<T> Connection<T> {
    pub(super) fn new(
        family: Family,
        transport: Transport,
        grant: Grant,
        object: &Sum,
        now_ms: u64,
    ) -> Self {
        // 0.3 sockets get what is pushed without asking for it, and an operator has lost no pull.
        let is_client = grant.access != Access::Inspect;
        let awaits_pull = family == Family::Rpc && transport == Transport::WebSocket && is_client;
        let room = Room::new(family, transport, object);
        Self {
            family,
            transport,
            grant: Rc::new(grant),
            generation: None,
            plain: Plain {
                unproven: InFlight::new(room.clone()),
                pinged_at_ms: None,
                sent_before_ping: 0,
                held: None,
                pull: None,
                is_over: false,
                is_fresh: family == Family::Plain,
                mends_at_ms: None,
            },
            abandoned: Abandoned::new(room.clone()),
            room,
            subscriptions: Vec::new(),
            finished: Vec::new(),
            first_request: None,
            awaiting_pull_since_ms: awaits_pull.then_some(now_ms),
            taken_at_ms: now_ms,
            changed: false,
            has_paged: false,
            probed: Vec::new(),
            knows_lifetime: false,
            client_id: None,
        }
    }

    /// The same socket as it was before an eviction.
    pub(super) fn restored(self, kept: Kept<T>) -> Self {
        let mut subscriptions = kept.subscriptions;
        for subscription in &mut subscriptions {
            subscription.keep();
        }
        let first = subscriptions.first();
        Self {
            plain: Plain {
                pull: kept.plain_pull,
                is_over: kept.is_over,
                is_fresh: kept.is_fresh,
                ..self.plain
            },
            generation: first.map(|pull| pull.requester().generation),
            first_request: kept.first_request,
            awaiting_pull_since_ms: kept.awaiting_pull_since_ms,
            subscriptions,
            ..self
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// The dialect of its requests; an RPC client's shows with its first.
    pub(super) fn generation(&self) -> Option<Generation> {
        match self.family {
            Family::Plain => Some(Generation::V03),
            Family::Rpc => self.generation,
        }
    }

    pub(super) fn grant(&self) -> &Rc<Grant> {
        &self.grant
    }

    pub(super) fn speaks(&self) -> (Family, Transport) {
        (self.family, self.transport)
    }

    pub(super) fn transport(&self) -> Transport {
        self.transport
    }

    pub(super) fn is_socket(&self) -> bool {
        self.transport == Transport::WebSocket
    }

    pub(super) fn is_clients_socket(&self) -> bool {
        self.is_socket() && !self.is_inspector()
    }

    /// Whether an operator looks on by it: then it is no client's.
    pub(super) fn is_inspector(&self) -> bool {
        self.grant.access == Access::Inspect
    }

    /// As its client calls itself, since it has pushed.
    pub(super) fn client_id(&self) -> Option<&Rc<str>> {
        self.client_id.as_ref()
    }

    /// Takes note of how its client calls itself in a push.
    pub(super) fn note_client(&mut self, client_id: &str) {
        let end = client_id.floor_char_boundary(NAME_BYTES_KEPT);
        let client_id = client_id.get(..end).unwrap_or_default();
        if self.client_id.as_deref() != Some(client_id) {
            self.client_id = Some(Rc::from(client_id));
        }
    }

    /// Whom its token names: the claim `sub`, which is a text as a rule.
    pub(super) fn subject(&self) -> Option<String> {
        let json = self.grant.subject()?;
        let mut text = serde_json::from_str(json).unwrap_or_else(|_| json.to_owned());
        text.truncate(text.floor_char_boundary(NAME_BYTES_KEPT));
        Some(text)
    }

    pub(super) fn who(&self) -> Who {
        Who {
            client_id: self.client_id.clone(),
            subject: self.subject(),
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    pub(super) fn first_request(&self) -> Option<u64> {
        self.first_request
    }

    pub(super) fn subscriptions(&self) -> &[Subscription<T>] {
        &self.subscriptions
    }

    pub(super) fn subscriptions_mut(&mut self) -> impl Iterator<Item = &mut Subscription<T>> {
        self.subscriptions.iter_mut()
    }

    pub(super) fn find(&self, id: &RequestId) -> Option<&Subscription<T>> {
        let mut subscriptions = self.subscriptions.iter();
        subscriptions.find(|subscription| subscription.requester().id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &RequestId) -> Option<&mut Subscription<T>> {
        let mut subscriptions = self.subscriptions.iter_mut();
        subscriptions.find(|subscription| subscription.requester().id == *id)
    }

    /// Adds a pull. It has yet to be sent its first page, after which
    /// [`Connection::remove_finished`] sees whether there is something to keep of it.
    pub(super) fn insert(&mut self, subscription: Subscription<T>) {
        self.subscriptions.push(subscription);
    }

    /// Takes a pull out.
    pub(super) fn take(&mut self, id: &RequestId) -> Option<Subscription<T>> {
        let mut subscriptions = self.subscriptions.iter();
        let index = subscriptions.position(|subscription| subscription.requester().id == *id)?;
        self.changed = true;
        Some(self.subscriptions.remove(index))
    }

    /// Ends a pull. Its client takes what is on its way of it, and then hears of the end.
    pub(super) fn remove(&mut self, id: &RequestId) {
        let is_meant = |pull: &mut Subscription<T>| pull.requester().id == *id;
        for pull in self.subscriptions.extract_if(.., is_meant) {
            self.changed = true;
            let left = pull.into_in_flight();
            if left.1.bytes() > 0 {
                self.finished.push(left);
            }
        }
    }

    /// Ends a pull at its client's wish, which takes nothing more of it, nor acknowledges what it is sent.
    pub(super) fn abandon(&mut self, id: &RequestId) {
        self.remove(id);
        for (_, in_flight) in self.finished.extract_if(.., |(known, _)| known == id) {
            self.abandoned.add(&in_flight);
        }
    }

    /// Whether its client keeps asking for pages and ending their pulls, without taking any.
    pub(super) fn is_abandoning(&self) -> bool {
        self.room.abandoned_bytes() > ABANDONED_BYTES_MAX
    }

    /// A page or broadcast of a pull has arrived; whether it is known, if only by what is on its way of it.
    pub(super) fn acknowledge(&mut self, id: &RequestId) -> bool {
        let number = if let Some(pull) = self.find_mut(id) {
            pull.acknowledge()
        } else if let Some((_, in_flight)) = self.finished.iter_mut().find(|(known, _)| known == id)
        {
            let number = in_flight.taken();
            self.finished.retain(|(_, in_flight)| in_flight.count() > 0);
            number
        } else {
            return false;
        };
        if let Some(number) = number {
            self.abandoned.taken(number);
        }
        true
    }

    /// Everything that was sent has arrived.
    pub(super) fn acknowledge_all(&mut self) {
        self.abandoned.all_taken();
        self.finished.clear();
        for pull in &mut self.subscriptions {
            pull.acknowledge_all();
        }
    }

    /// Takes note that the attachment is out of date.
    pub(super) fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// Whether the attachment was out of date, which it is no more.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// After pages were sent: drops pulls that need nothing more. A 0.3 socket is live by being open.
    pub(super) fn remove_finished(&mut self) {
        let family = self.family;
        // A pull that began and ended in this turn leaves nothing to keep.
        self.changed |= self
            .subscriptions
            .iter()
            .any(|pull| pull.is_kept() || pull.delivery() != Delivery::Finished);
        let is_over = |pull: &mut Subscription<T>| match pull.delivery() {
            Delivery::Paging => false,
            Delivery::Live => family == Family::Plain,
            Delivery::Finished => true,
        };
        let over = self.subscriptions.extract_if(.., is_over);
        let left = over.map(Subscription::into_in_flight);
        // An empty page takes up no room.
        self.finished
            .extend(left.filter(|(_, in_flight)| in_flight.bytes() > 0));
        for subscription in &mut self.subscriptions {
            subscription.keep();
        }
    }

    /// Takes note of a request, in case its id is the lowest of this socket.
    pub(super) fn note_request(&mut self, requester: &Requester) {
        let id = &requester.id;
        self.generation = Some(requester.generation);
        let lowest = match (id.counter(), self.first_request) {
            (Some(counter), Some(first)) => Some(first.min(counter)),
            (counter, first) => first.or(counter),
        };
        self.changed |= lowest != self.first_request;
        self.first_request = lowest;
    }

    pub(super) fn awaiting_pull_since_ms(&self) -> Option<u64> {
        self.awaiting_pull_since_ms
    }

    /// Takes note that the client pulls, or is one that only pushes.
    pub(super) fn expect_no_pull(&mut self) {
        self.changed |= self.awaiting_pull_since_ms.take().is_some();
    }

    /// Whether its client should have pulled by now: it may wait for a pull of a connection that it lost without
    /// noticing.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        self.awaiting_pull_since_ms
            .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) > PULL_PATIENCE_MS)
    }

    /// Takes note that its client has named the lifetime of the log.
    pub(super) fn knows_lifetime(&mut self) {
        self.knows_lifetime = true;
    }

    /// Whether its client may be asked about a pull of another. A page names the lifetime that it is of, and clients take
    /// that for theirs: one that waits for a pull of an earlier lifetime would go on with both logs.
    pub(super) fn may_be_probed(&self, had_lifetimes: bool) -> bool {
        self.knows_lifetime || !had_lifetimes
    }

    /// Takes note that its client is asked about this pull; whether it has not been before.
    pub(super) fn probe(&mut self, id: &RequestId) -> bool {
        let is_new = self.probed.len() < PROBES_MAX && !self.probed.contains(id);
        if is_new {
            self.probed.push(id.clone());
        }
        is_new
    }

    /// Whether a request with this id can have been made on this socket: clients count upwards.
    pub(super) fn has_seen(&self, id: &RequestId) -> bool {
        match (id.counter(), self.first_request) {
            (Some(counter), Some(first)) => counter >= first,
            (Some(_), None) => false,
            // No counter: not one of the clients that can be told anything by this.
            (None, _) => true,
        }
    }

    /// The client of a 0.3 socket has pinged at `at_ms`. It does so 25 seconds after it has read the answer to its
    /// last ping, and with it all that was sent before; while it misses an answer, every 5 seconds.
    pub(super) fn pinged(&mut self, at_ms: u64) {
        let plain = &mut self.plain;
        let last_ms = plain.pinged_at_ms.unwrap_or(at_ms);
        if plain.pinged_at_ms.is_some() && at_ms <= last_ms {
            return;
        }
        if at_ms - last_ms >= PLAIN_PING_MS {
            plain.unproven.several_taken(plain.sent_before_ping);
            self.taken_at_ms = self.taken_at_ms.max(at_ms);
        }
        plain.pinged_at_ms = Some(at_ms);
        plain.sent_before_ping = plain.unproven.count();
    }

    /// Its client takes what it is sent.
    pub(super) fn takes(&mut self, now_ms: u64) {
        self.taken_at_ms = now_ms;
    }

    /// Holds a broadcast to a 0.3 socket back; whether there was room to hold it.
    pub(super) fn hold(&mut self, frame: T) -> bool {
        self.plain.held.replace(frame).is_none()
    }

    pub(super) fn take_held(&mut self) -> Option<T> {
        self.plain.held.take()
    }

    /// A broadcast of `bytes` is on its way to a 0.3 socket.
    pub(super) fn sent_unproven(&mut self, bytes: usize) {
        self.plain.unproven.sent(bytes);
    }

    /// Accounts for the pages of a 0.3 socket as for its broadcasts.
    pub(super) fn account_for_pages(&mut self) {
        if self.family != Family::Plain {
            return;
        }
        for subscription in &mut self.subscriptions {
            subscription.hand_over(&mut self.plain.unproven);
        }
    }

    /// The pull that a 0.3 client has made: it has one in its life, and an error that names it ends it.
    pub(super) fn plain_pull(&self) -> Option<&RequestId> {
        self.plain.pull.as_ref()
    }

    pub(super) fn set_plain_pull(&mut self, id: &RequestId) {
        if self.plain.pull.is_none() {
            // It gets by itself what it was about to be sent.
            self.subscriptions.clear();
            self.plain.mends_at_ms = None;
        }
        self.set_heard();
        self.changed |= self.plain.pull.as_ref() != Some(id);
        self.plain.pull = Some(id.clone());
    }

    /// Whether the client of a 0.3 socket has neither pulled on it nor been sent events.
    pub(super) fn is_fresh(&self) -> bool {
        self.plain.is_fresh
    }

    /// Its client has pulled or is sent events; whether this is the first time.
    pub(super) fn set_heard(&mut self) -> bool {
        let was_fresh = std::mem::take(&mut self.plain.is_fresh);
        self.changed |= was_fresh;
        was_fresh
    }

    /// Has a 0.3 client that does not pull sent what it lacks, from `at_ms` on.
    pub(super) fn mend(&mut self, missing: Subscription<T>, at_ms: u64) {
        self.set_heard();
        self.plain.mends_at_ms = Some(at_ms);
        self.insert(missing);
    }

    /// Until when it may still pull by itself. *Units*: milliseconds since the epoch.
    pub(super) fn mends_at_ms(&self) -> Option<u64> {
        self.plain.mends_at_ms
    }

    /// Whether the lifetime of the log is over that a 0.3 client knows. It would take the events of another for
    /// those of its own.
    pub(super) fn is_over(&self) -> bool {
        self.plain.is_over
    }

    pub(super) fn set_over(&mut self, is_over: bool) {
        self.changed |= self.plain.is_over != is_over;
        self.plain.is_over = is_over;
    }

    /// Something begins to be on its way: from now on its client is expected to take it.
    pub(super) fn begins_to_send(&mut self, now_ms: u64) {
        if self.room.bytes() == 0 {
            self.taken_at_ms = self.taken_at_ms.max(now_ms);
        }
    }

    /// When its client last took something, or began to be sent something.
    pub(super) fn taken_at_ms(&self) -> u64 {
        self.taken_at_ms
    }

    pub(super) fn has_paged(&self) -> bool {
        self.has_paged
    }

    pub(super) fn mark_paged(&mut self) {
        self.has_paged = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::subscription::Follow;
    use super::*;
    use crate::event::SeqNum;

    fn socket(family: Family) -> Connection<()> {
        let (transport, grant) = (Transport::WebSocket, Grant::default());
        Connection::new(family, transport, grant, &Sum::default(), 1_000)
    }

    fn id(number: u64) -> RequestId {
        RequestId::from_json(&number.to_string()).unwrap()
    }

    fn requester(number: u64) -> Requester {
        Requester {
            id: id(number),
            generation: Generation::V05,
            trace_id: None,
        }
    }

    /// Makes a pull that has been sent pages of these sizes, the last of which is its last.
    fn pull(connection: &mut Connection<()>, number: u64, pages: &[usize]) {
        let room = connection.room().clone();
        let mut pull = Subscription::new(
            requester(number),
            Follow::Nothing,
            SeqNum::ROOT,
            (),
            room.clone(),
        );
        for bytes in pages {
            pull.sent(SeqNum::ROOT, *bytes);
        }
        pull.finish_paging();
        connection.insert(pull);
        connection.remove_finished();
    }

    #[test]
    fn a_finished_pull_is_known_until_its_pages_have_arrived_and_leaves_nothing_behind() {
        let mut connection = socket(Family::Rpc);
        pull(&mut connection, 1, &[100, 10]);
        assert!(connection.subscriptions().is_empty());
        assert!(!connection.acknowledge(&id(2)));
        assert!(connection.acknowledge(&id(1)));
        assert_eq!(
            (connection.room().bytes(), connection.finished.len()),
            (10, 1)
        );
        assert!(connection.acknowledge(&id(1)));
        assert_eq!(
            (connection.room().bytes(), connection.finished.len()),
            (0, 0)
        );
        assert!(!connection.acknowledge(&id(1)));
        // An empty page takes up no room, so nobody waits for its acknowledgement.
        pull(&mut connection, 3, &[0]);
        assert!(connection.finished.is_empty());
    }

    #[test]
    fn what_was_sent_of_all_pulls_can_be_taken_at_once() {
        let mut connection = socket(Family::Rpc);
        pull(&mut connection, 1, &[100]);
        pull(&mut connection, 2, &[10]);
        connection.abandon(&id(2));
        let room = connection.room().clone();
        let mut paging =
            Subscription::new(requester(3), Follow::Frames, SeqNum::ROOT, (), room.clone());
        paging.sent(SeqNum::ROOT, 1);
        connection.insert(paging);
        assert_eq!((room.bytes(), room.abandoned_bytes()), (111, 10));
        connection.acknowledge_all();
        assert_eq!((room.bytes(), room.abandoned_bytes()), (0, 0));
        assert!(connection.finished.is_empty());
        assert_eq!(connection.find(&id(3)).unwrap().unacknowledged(), 0);
    }

    #[test]
    fn what_was_abandoned_is_taken_with_something_that_was_sent_later() {
        let mut connection = socket(Family::Rpc);
        pull(&mut connection, 1, &[5]);
        pull(&mut connection, 2, &[ABANDONED_BYTES_MAX]);
        connection.abandon(&id(2));
        assert!(!connection.is_abandoning());
        pull(&mut connection, 3, &[1]);
        connection.abandon(&id(3));
        assert!(connection.is_abandoning());
        assert!(connection.acknowledge(&id(1)));
        assert!(connection.is_abandoning(), "it was sent earlier");
        pull(&mut connection, 4, &[7]);
        assert!(connection.acknowledge(&id(4)));
        assert!(!connection.is_abandoning());
        assert_eq!(connection.room().bytes(), 0);
    }

    #[test]
    fn a_pull_is_removed_alone_and_with_it_goes_what_is_kept() {
        let mut connection = socket(Family::Rpc);
        for number in [1, 2] {
            let room = connection.room().clone();
            let follow = Follow::Frames;
            let pull = Subscription::new(requester(number), follow, SeqNum::ROOT, (), room);
            connection.insert(pull);
        }
        assert!(!connection.take_changed());
        connection.remove_finished();
        assert!(connection.take_changed() && !connection.take_changed());
        assert!(connection.subscriptions().iter().all(Subscription::is_kept));
        connection.remove(&id(3));
        assert!(connection.take(&id(3)).is_none());
        assert!(!connection.take_changed());
        connection.remove(&id(1));
        assert!(connection.take_changed());
        assert!(connection.find(&id(1)).is_none() && connection.find_mut(&id(2)).is_some());
        assert!(connection.take(&id(2)).is_some());
        assert!(connection.take_changed());
        // What begins and ends in one turn is not worth keeping.
        pull(&mut connection, 4, &[1]);
        assert!(!connection.take_changed());
    }

    #[test]
    fn requests_from_the_first_on_are_of_this_socket_and_earlier_ones_of_another_life() {
        let mut connection = socket(Family::Rpc);
        let text = RequestId::from_json("\"no counter\"").unwrap();
        assert!(!connection.has_seen(&id(7)) && connection.has_seen(&text));
        connection.note_request(&requester(7));
        assert!(connection.take_changed());
        connection.note_request(&requester(9));
        assert!(!connection.take_changed());
        assert_eq!(connection.first_request(), Some(7));
        assert!(!connection.has_seen(&id(6)));
        assert!(connection.has_seen(&id(7)) && connection.has_seen(&id(8)));
        connection.note_request(&requester(5));
        assert!(connection.take_changed() && connection.has_seen(&id(5)));
        connection.note_request(&Requester {
            id: text.clone(),
            ..requester(0)
        });
        assert!(!connection.take_changed() && connection.has_seen(&text));
        assert_eq!(connection.first_request(), Some(5));
    }

    #[test]
    fn a_pull_is_awaited_for_so_long_on_sockets_of_rpc_alone() {
        let late_ms = 1_001 + PULL_PATIENCE_MS;
        let mut connection = socket(Family::Rpc);
        assert!(!connection.is_overdue(late_ms - 1) && connection.is_overdue(late_ms));
        connection.expect_no_pull();
        assert!(connection.take_changed() && !connection.is_overdue(late_ms));
        connection.expect_no_pull();
        assert!(!connection.take_changed());
        assert!(!socket(Family::Plain).is_overdue(late_ms));
        let (http, grant) = (Transport::Http, Grant::default());
        let request = Connection::<()>::new(Family::Rpc, http, grant, &Sum::default(), 1_000);
        assert!(!request.is_overdue(late_ms));
    }

    #[test]
    fn a_client_is_asked_once_about_each_pull_and_about_so_many() {
        let mut connection = socket(Family::Rpc);
        for number in 0..PROBES_MAX as u64 {
            assert!(connection.probe(&id(number)));
            assert!(!connection.probe(&id(number)));
        }
        assert!(!connection.probe(&id(u64::MAX)));
    }

    #[test]
    fn a_ping_shows_what_a_0_3_client_took_when_it_comes_as_late_as_one_that_was_answered() {
        let after = |wait_ms: u64| {
            let mut connection = socket(Family::Plain);
            connection.sent_unproven(10);
            connection.pinged(0);
            connection.sent_unproven(1);
            connection.pinged(wait_ms);
            (connection.room().bytes(), connection.taken_at_ms())
        };
        assert_eq!(after(PLAIN_PING_MS - 1), (11, 1_000));
        assert_eq!(after(PLAIN_PING_MS), (1, PLAIN_PING_MS));
        // The same ping is seen more than once, and counts once.
        let mut connection = socket(Family::Plain);
        connection.pinged(0);
        connection.sent_unproven(1);
        connection.pinged(0);
        connection.pinged(PLAIN_PING_MS);
        assert_eq!(connection.room().bytes(), 1);
        connection.pinged(2 * PLAIN_PING_MS);
        assert_eq!(connection.room().bytes(), 0);
    }

    #[test]
    fn a_client_has_its_time_from_when_it_took_something_or_had_everything() {
        let mut connection = socket(Family::Rpc);
        connection.begins_to_send(2_000);
        assert_eq!(connection.taken_at_ms(), 2_000);
        pull(&mut connection, 1, &[1]);
        connection.begins_to_send(3_000);
        assert_eq!(connection.taken_at_ms(), 2_000);
        connection.takes(4_000);
        assert_eq!(connection.taken_at_ms(), 4_000);
        connection.acknowledge(&id(1));
        connection.begins_to_send(3_500);
        assert_eq!(connection.taken_at_ms(), 4_000, "clocks go back");
    }

    #[test]
    fn a_0_3_socket_holds_one_frame_back_and_is_of_one_pull_and_one_lifetime() {
        let mut connection = socket(Family::Plain);
        assert!(connection.hold(()) && !connection.hold(()));
        assert!(connection.take_held().is_some() && connection.take_held().is_none());
        for (number, is_new) in [(1, true), (1, false), (2, true)] {
            connection.set_plain_pull(&id(number));
            assert_eq!(connection.take_changed(), is_new);
            assert_eq!(connection.plain_pull(), Some(&id(number)));
        }
        for (is_over, is_new) in [(false, false), (true, true), (true, false), (false, true)] {
            connection.set_over(is_over);
            assert_eq!(
                (connection.take_changed(), connection.is_over()),
                (is_new, is_over)
            );
        }
    }
}
