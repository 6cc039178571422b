//! One connection as the backend sees it: what it speaks, and the pulls that are under way on it. A
//! connection is a socket, or the length of one request over HTTP or DO-RPC.

use super::allowance::Allowance;
use super::callers::Caller;
use std::rc::Rc;

use crate::auth::Grant;
use crate::event::SeqNum;
use crate::limits::{PULL_PATIENCE_MS, STUCK_LAG_EVENTS, STUCK_PULL_MS, WINDOW_PAGES};
use crate::wire::{Family, Generation, RequestId, Requester, Transport};

/// Names a connection within one backend, until it disconnects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(u32);

impl ConnectionId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).unwrap_or(u32::MAX))
    }

    /// The id that [`ConnectionId::get`] gave out.
    #[must_use]
    pub fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// A small number, to keep beside a socket.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0
    }

    /// The same number as an index.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A connection's state. 0.3 sockets get every broadcast, so their list holds only pulls still paging.
#[derive(Debug)]
pub(super) struct Connection<T> {
    /// Different for every connection of this object's life, unlike its id.
    life: u64,
    family: Family,
    transport: Transport,
    grant: Rc<Grant>,
    /// The dialect of the last request.
    generation: Option<Generation>,
    allowance: Allowance,
    subscriptions: Vec<Subscription<T>>,
    first_request: Option<u64>,
    /// Since when this socket has been expected to pull: from its first moment to its first pull. In
    /// milliseconds since the epoch; `None` when it is not, or no more.
    awaiting_pull_since_ms: Option<u64>,
    /// Whether the attachment kept with the socket is out of date.
    changed: bool,
}

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

/// One pull under way.
#[derive(Debug)]
pub(super) struct Subscription<T> {
    requester: Rc<Requester>,
    live: bool,
    after: SeqNum,
    delivery: Delivery,
    /// Pages and broadcasts that are on their way.
    unacknowledged: u32,
    /// Whether the attachment kept with the socket knows it.
    kept: bool,
    page_head: T,
    /// Whom to call with what follows the last page.
    caller: Option<Caller>,
    /// Since when its window has been full, in milliseconds since the epoch, as far as it was looked at.
    full_since_ms: Option<u64>,
    is_stuck: bool,
}

impl<T> Connection<T> {
    pub(super) fn new(family: Family, transport: Transport, grant: Grant, now_ms: u64) -> Self {
        // 0.3 sockets get what is pushed without asking for it.
        let awaits_pull = family == Family::Rpc && transport == Transport::WebSocket;
        let awaiting_pull_since_ms = awaits_pull.then_some(now_ms);
        Self {
            life: 0,
            family,
            transport,
            grant: Rc::new(grant),
            generation: None,
            allowance: Allowance::default(),
            subscriptions: Vec::new(),
            first_request: None,
            awaiting_pull_since_ms,
            changed: false,
        }
    }

    pub(super) fn restored(
        family: Family,
        grant: Grant,
        mut subscriptions: Vec<Subscription<T>>,
        first_request: Option<u64>,
        awaiting_pull_since_ms: Option<u64>,
    ) -> Self {
        for subscription in &mut subscriptions {
            subscription.kept = true;
        }
        Self {
            life: 0,
            family,
            transport: Transport::WebSocket,
            grant: Rc::new(grant),
            generation: subscriptions.first().map(|pull| pull.requester.generation),
            allowance: Allowance::default(),
            subscriptions,
            first_request,
            awaiting_pull_since_ms,
            changed: false,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn life(&self) -> u64 {
        self.life
    }

    /// The same connection as the `life`th.
    pub(super) fn lived(self, life: u64) -> Self {
        Self { life, ..self }
    }

    pub(super) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    pub(super) fn allowance(&mut self) -> &mut Allowance {
        &mut self.allowance
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
        self.subscriptions
            .iter()
            .find(|subscription| subscription.requester.id == *id)
    }

    pub(super) fn find_mut(&mut self, id: &RequestId) -> Option<&mut Subscription<T>> {
        self.subscriptions
            .iter_mut()
            .find(|subscription| subscription.requester.id == *id)
    }

    /// Adds a pull. It has yet to be sent its first page, after which
    /// [`Connection::remove_finished`] sees whether there is something to keep of it.
    pub(super) fn insert(&mut self, subscription: Subscription<T>) {
        self.subscriptions.push(subscription);
    }

    /// Drops a pull, if it is there.
    pub(super) fn remove(&mut self, id: &RequestId) {
        let before = self.subscriptions.len();
        self.subscriptions
            .retain(|subscription| subscription.requester.id != *id);
        self.changed |= self.subscriptions.len() < before;
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
            .any(|pull| pull.kept || pull.delivery != Delivery::Finished);
        self.subscriptions
            .retain(|subscription| match subscription.delivery {
                Delivery::Paging => true,
                Delivery::Live => family == Family::Rpc,
                Delivery::Finished => false,
            });
        for subscription in &mut self.subscriptions {
            subscription.kept = true;
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

    /// Whether its client should have pulled by now, and so believes in a pull that is gone.
    pub(super) fn is_overdue(&self, now_ms: u64) -> bool {
        self.awaiting_pull_since_ms
            .is_some_and(|since_ms| now_ms.saturating_sub(since_ms) > PULL_PATIENCE_MS)
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
}

impl<T> Subscription<T> {
    /// A pull that has got nothing after `after` yet.
    pub(super) fn new(requester: Requester, live: bool, after: SeqNum, page_head: T) -> Self {
        Self {
            requester: Rc::new(requester),
            live,
            after,
            delivery: Delivery::Paging,
            unacknowledged: 0,
            kept: false,
            page_head,
            caller: None,
            full_since_ms: None,
            is_stuck: false,
        }
    }

    /// The same pull, to be followed by calls to `caller` instead of frames.
    pub(super) fn followed_by(self, caller: Option<Caller>) -> Self {
        Self { caller, ..self }
    }

    /// Whom to call from now on, once the last page has been sent.
    pub(super) fn take_caller(&mut self) -> Option<Caller> {
        let is_finished = self.delivery == Delivery::Finished;
        self.caller.take_if(|_| is_finished)
    }

    /// A live pull that has everything up to `after`.
    pub(super) fn caught_up(requester: Requester, after: SeqNum, page_head: T) -> Self {
        let delivery = Delivery::Live;
        Self {
            delivery,
            ..Self::new(requester, true, after, page_head)
        }
    }

    pub(super) fn requester(&self) -> &Rc<Requester> {
        &self.requester
    }

    pub(super) fn page_head(&self) -> &T {
        &self.page_head
    }

    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    /// The last event it has been sent.
    pub(super) fn after(&self) -> SeqNum {
        self.after
    }

    pub(super) fn is_caught_up(&self) -> bool {
        self.delivery == Delivery::Live
    }

    /// Pages or broadcasts up to `last` are on their way.
    pub(super) fn sent(&mut self, last: SeqNum, pages: usize) {
        self.after = last;
        let pages = u32::try_from(pages).unwrap_or(u32::MAX);
        self.unacknowledged = self.unacknowledged.saturating_add(pages);
    }

    /// Whether as many pages are on their way as may be.
    pub(super) fn is_window_full(&self) -> bool {
        self.unacknowledged >= WINDOW_PAGES
    }

    /// Whether `pages` more may be on their way.
    pub(super) fn has_room_for(&self, pages: usize) -> bool {
        pages <= WINDOW_PAGES.saturating_sub(self.unacknowledged) as usize
    }

    /// Whether it is time to send more of the log. Waiting for half a window keeps the line busy with
    /// few turns.
    pub(super) fn is_ready(&self) -> bool {
        self.delivery == Delivery::Paging && self.unacknowledged <= WINDOW_PAGES / 2
    }

    /// The last page is on its way; whether the pull goes on with what is pushed.
    pub(super) fn finish_paging(&mut self) -> bool {
        self.delivery = if self.live {
            Delivery::Live
        } else {
            Delivery::Finished
        };
        self.live
    }

    /// Reads on from the log instead of following what is pushed.
    pub(super) fn page_again(&mut self) {
        self.delivery = Delivery::Paging;
    }

    pub(super) fn unacknowledged(&self) -> u32 {
        self.unacknowledged
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck
    }

    /// Looks whether its client has stopped taking what it is sent; true when that shows just now.
    pub(super) fn watch(&mut self, head: SeqNum, now_ms: u64) -> bool {
        if !self.is_window_full() {
            (self.full_since_ms, self.is_stuck) = (None, false);
            return false;
        }
        let since_ms = *self.full_since_ms.get_or_insert(now_ms);
        let is_stuck = head.since(self.after) >= STUCK_LAG_EVENTS
            && now_ms.saturating_sub(since_ms) >= STUCK_PULL_MS;
        !std::mem::replace(&mut self.is_stuck, is_stuck) && is_stuck
    }

    /// Everything that was sent has arrived, and there is more to send.
    pub(super) fn acknowledge_all(&mut self) {
        self.unacknowledged = 0;
    }

    /// A page or broadcast has arrived.
    pub(super) fn acknowledge(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        (self.full_since_ms, self.is_stuck) = (None, false);
    }
}
