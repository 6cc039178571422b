//! One pull under way on a connection: how far it has got, and what of it is still on its way.

use std::rc::Rc;

use super::followers::ClientObject;
use super::in_flight::{InFlight, Room};
use crate::event::SeqNum;
use crate::limits::{STUCK_LAG_EVENTS, STUCK_PULL_MS, WINDOW_PAGES};
use crate::wire::{Generation, RequestId, Requester};

/// How far a pull is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// There are more pages to send from the log.
    Paging,
    /// The last page has been sent, and pushes follow as they come.
    Live,
    /// The last page has been sent, and that is all.
    Finished,
}

/// What a pull wants after its last page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing.
    Nothing,
    /// Frames on the same connection.
    Frames,
    /// Calls to an object.
    Calls(ClientObject),
}

/// One pull under way.
#[derive(Debug)]
pub(super) struct Subscription<T> {
    requester: Rc<Requester>,
    follow: Follow,
    after: SeqNum,
    delivery: Delivery,
    /// Pages and broadcasts that are on their way.
    in_flight: InFlight,
    /// Whether pages that an earlier life of the object sent may be on their way.
    has_earlier: bool,
    /// Pages and broadcasts that it has been sent.
    pages: u64,
    /// Whether the attachment kept with the socket knows it.
    kept: bool,
    page_head: T,
    /// Since when its window has been full, in milliseconds since the epoch, as far as it was looked at.
    full_since_ms: Option<u64>,
    is_stuck: bool,
}

impl<T> Subscription<T> {
    /// A pull that has got nothing after `after` yet.
    pub(super) fn new(
        requester: Requester,
        follow: Follow,
        after: SeqNum,
        page_head: T,
        room: Room,
    ) -> Self {
        Self {
            requester: Rc::new(requester),
            follow,
            after,
            delivery: Delivery::Paging,
            in_flight: InFlight::new(room),
            has_earlier: false,
            pages: 0,
            kept: false,
            page_head,
            full_since_ms: None,
            is_stuck: false,
        }
    }

    /// A live pull that has everything up to `after`.
    pub(super) fn caught_up(requester: Requester, after: SeqNum, page_head: T, room: Room) -> Self {
        let delivery = Delivery::Live;
        Self {
            delivery,
            ..Self::new(requester, Follow::Frames, after, page_head, room)
        }
    }

    /// The same as it was in an earlier life of the object, whose pages may be on their way.
    pub(super) fn with_earlier(self, has_earlier: bool) -> Self {
        Self {
            has_earlier,
            ..self
        }
    }

    /// Whether it waits, while no acknowledgement of it is to come.
    pub(super) fn is_idle(&self) -> bool {
        let is_acknowledged = self.requester.generation != Generation::V03;
        is_acknowledged && self.is_paging() && self.in_flight.count() == 0 && !self.has_earlier
    }

    pub(super) fn requester(&self) -> &Rc<Requester> {
        &self.requester
    }

    pub(super) fn page_head(&self) -> &T {
        &self.page_head
    }

    pub(super) fn is_live(&self) -> bool {
        self.follow == Follow::Frames
    }

    /// The last event it has been sent.
    pub(super) fn after(&self) -> SeqNum {
        self.after
    }

    pub(super) fn delivery(&self) -> Delivery {
        self.delivery
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.delivery == Delivery::Live
    }

    pub(super) fn is_paging(&self) -> bool {
        self.delivery == Delivery::Paging
    }

    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Takes note that the attachment knows it.
    pub(super) fn keep(&mut self) {
        self.kept = true;
    }

    /// Whom to call from now on, once the last page has been sent.
    pub(super) fn take_client_object(&mut self) -> Option<ClientObject> {
        if self.delivery != Delivery::Finished {
            return None;
        }
        match std::mem::replace(&mut self.follow, Follow::Nothing) {
            Follow::Calls(object) => Some(object),
            Follow::Nothing | Follow::Frames => None,
        }
    }

    /// Whom to call with what follows the last page.
    pub(super) fn into_client_object(self) -> Option<ClientObject> {
        match self.follow {
            Follow::Calls(object) => Some(object),
            Follow::Nothing | Follow::Frames => None,
        }
    }

    /// A page of `bytes` up to `last` is on its way.
    pub(super) fn sent(&mut self, last: SeqNum, bytes: usize) {
        self.after = last;
        self.pages += 1;
        self.in_flight.sent(bytes);
    }

    pub(super) fn has_paged(&self) -> bool {
        self.pages > 0
    }

    /// How many more pages may be on their way. 0.3 clients acknowledge none, so theirs are not counted.
    fn window_left(&self) -> usize {
        match self.requester.generation {
            Generation::V03 => WINDOW_PAGES,
            Generation::V04 | Generation::V05 => {
                WINDOW_PAGES.saturating_sub(self.in_flight.count())
            }
        }
    }

    /// Whether the object holds as much as it may.
    pub(super) fn is_object_full(&self) -> bool {
        self.in_flight.room().is_object_full()
    }

    /// Whether pages of these sizes may be on their way, too.
    pub(super) fn has_room_for(&self, pages: &[usize]) -> bool {
        pages.len() <= self.window_left() && self.in_flight.room().has_room_for(pages.iter().sum())
    }

    /// Whether there is more of the log to send, and time to do it. Waiting for half a window keeps the
    /// line busy with few turns.
    pub(super) fn is_ready(&self) -> bool {
        self.is_paging()
            && self.window_left() >= WINDOW_PAGES / 2
            && self.in_flight.room().has_room()
    }

    /// Whether the next page has to wait for others to be taken.
    pub(super) fn has_to_wait(&self) -> bool {
        self.window_left() == 0 || !self.in_flight.room().has_room()
    }

    /// The last page is on its way; whether the pull goes on with what is pushed.
    pub(super) fn finish_paging(&mut self) -> bool {
        let goes_on = self.is_live();
        self.delivery = if goes_on {
            Delivery::Live
        } else {
            Delivery::Finished
        };
        goes_on
    }

    /// Reads on from the log instead of following what is pushed.
    pub(super) fn page_again(&mut self) {
        self.delivery = Delivery::Paging;
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.in_flight.count()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Looks whether its client has stopped taking what it is sent; true when that shows just now.
    pub(super) fn watch(&mut self, head: SeqNum, now_ms: u64) -> bool {
        if !self.has_to_wait() {
            (self.full_since_ms, self.is_stuck) = (None, false);
            return false;
        }
        let since_ms = *self.full_since_ms.get_or_insert(now_ms);
        let is_stuck = head.since(self.after) >= STUCK_LAG_EVENTS
            && now_ms.saturating_sub(since_ms) >= STUCK_PULL_MS;
        !std::mem::replace(&mut self.is_stuck, is_stuck) && is_stuck
    }

    /// Hands what is on its way over to the account of its connection.
    pub(super) fn hand_over(&mut self, account: &mut InFlight) {
        account.absorb(&mut self.in_flight);
    }

    /// Everything that was sent has arrived.
    pub(super) fn acknowledge_all(&mut self) {
        self.in_flight.all_taken();
    }

    /// A page or broadcast has arrived; which one of the connection.
    pub(super) fn acknowledge(&mut self) -> Option<u64> {
        (self.full_since_ms, self.is_stuck, self.has_earlier) = (None, false, false);
        self.in_flight.taken()
    }

    /// What is on its way of it, now that it is over.
    pub(super) fn into_in_flight(self) -> (RequestId, InFlight) {
        (self.requester.id.clone(), self.in_flight)
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_flight::Sum;
    use super::*;
    use crate::limits::OBJECT_BYTES_MAX;
    use crate::wire::{Family, Transport};

    fn live(generation: Generation) -> Subscription<()> {
        let requester = Requester {
            generation,
            id: RequestId::from_json("1").unwrap(),
            trace_id: None,
        };
        let room = Room::new(Family::Rpc, Transport::WebSocket, &Sum::default());
        Subscription::caught_up(requester, SeqNum::ROOT, (), room)
    }

    fn number(value: u64) -> SeqNum {
        SeqNum::from(i64::try_from(value).unwrap())
    }

    /// One whose window is full.
    fn full() -> Subscription<()> {
        let mut pull = live(Generation::V04);
        for _ in 0..WINDOW_PAGES {
            pull.sent(number(7), 1);
        }
        pull
    }

    const FAR: u64 = 7 + STUCK_LAG_EVENTS;

    #[test]
    fn a_pull_is_stuck_once_it_is_far_behind_and_has_taken_nothing_for_long() {
        let mut pull = full();
        assert!(!pull.watch(number(FAR), 5));
        // Not for long enough, then not far enough behind.
        assert!(!pull.watch(number(FAR), 5 + STUCK_PULL_MS - 1));
        assert!(!pull.watch(number(FAR - 1), 5 + STUCK_PULL_MS));
        assert!(!pull.is_stuck());
        assert!(pull.watch(number(FAR), 5 + STUCK_PULL_MS));
        assert!(pull.is_stuck());
        // It shows once.
        assert!(!pull.watch(number(FAR + 1), 6 + STUCK_PULL_MS));
        assert!(pull.is_stuck());
    }

    #[test]
    fn a_stuck_pull_that_takes_something_is_none_and_has_all_the_time_again() {
        let mut pull = full();
        pull.watch(number(FAR), 0);
        assert!(pull.watch(number(FAR), STUCK_PULL_MS));
        assert_eq!(pull.acknowledge(), Some(1));
        assert!(!pull.is_stuck());
        pull.sent(number(7), 1);
        assert!(!pull.watch(number(FAR), STUCK_PULL_MS + 1));
        assert!(!pull.watch(number(FAR), 2 * STUCK_PULL_MS));
        assert!(pull.watch(number(FAR), 2 * STUCK_PULL_MS + 1));
        // As soon as it has room, it need not be waited for.
        pull.acknowledge_all();
        assert!(!pull.watch(number(FAR), 3 * STUCK_PULL_MS));
        assert!(!pull.is_stuck());
    }

    #[test]
    fn a_pull_with_room_is_not_stuck_however_far_behind_it_is() {
        let mut pull = live(Generation::V04);
        for now_ms in [0, STUCK_PULL_MS, 9 * STUCK_PULL_MS] {
            assert!(!pull.watch(number(FAR), now_ms));
        }
    }

    #[test]
    fn the_window_is_that_many_pages_for_those_who_acknowledge() {
        for generation in [Generation::V04, Generation::V05] {
            let mut pull = live(generation);
            for left in (1..=WINDOW_PAGES).rev() {
                let (all, more) = (vec![1; left], vec![1; left + 1]);
                assert!(!pull.has_to_wait());
                assert!(
                    pull.has_room_for(&all) && !pull.has_room_for(&more),
                    "{left}"
                );
                pull.page_again();
                assert_eq!(pull.is_ready(), left >= WINDOW_PAGES / 2, "{left}");
                pull.sent(number(1), 1);
            }
            assert!(pull.has_to_wait());
            assert_eq!(pull.unacknowledged(), WINDOW_PAGES);
        }
        let mut pull = live(Generation::V03);
        for _ in 0..2 * WINDOW_PAGES {
            pull.sent(number(1), 1);
        }
        assert!(!pull.has_to_wait());
    }

    #[test]
    fn a_pull_whose_window_is_full_waits_for_room_at_the_object_only_if_there_is_none() {
        let object = Sum::default();
        let room = || Room::new(Family::Rpc, Transport::WebSocket, &object);
        let requester = Requester::clone(full().requester());
        let mut pull = Subscription::new(requester, Follow::Frames, SeqNum::ROOT, (), room());
        for _ in 0..WINDOW_PAGES {
            pull.sent(number(7), 1);
        }
        assert!(pull.has_to_wait() && !pull.is_object_full());
        let mut other = InFlight::new(room());
        other.sent(OBJECT_BYTES_MAX - WINDOW_PAGES);
        assert!(pull.has_to_wait() && pull.is_object_full());
    }

    #[test]
    fn a_pull_is_idle_when_it_waits_for_room_and_no_acknowledgement_is_to_come() {
        let mut pull = live(Generation::V05);
        assert!(!pull.is_idle(), "it waits for nothing");
        pull.page_again();
        assert!(pull.is_idle());
        pull.sent(number(1), 1);
        assert!(!pull.is_idle());
        pull.acknowledge();
        assert!(pull.is_idle());
        let mut pull = pull.with_earlier(true);
        assert!(!pull.is_idle());
        pull.acknowledge();
        assert!(pull.is_idle());
        let mut plain = live(Generation::V03);
        plain.page_again();
        assert!(!plain.is_idle());
    }
}
