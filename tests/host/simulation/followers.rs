//! Those who are told what was committed, compared with the log: in order, without gaps, and again only where it
//! could not be known that they had been told.

use std::collections::HashSet;

use livestore_sync_worker::backend::{
    CommittedPage, Delivery as Told, DeliveryId, Message, Outcome, read_events,
};
use livestore_sync_worker::limits::{CALL_DEADLINE_MS, HOOK_DEADLINE_MS};
use livestore_sync_worker::wire::{Family, Generation};

use super::log::marker_of;
use super::seen::Kind;
use super::world::{World, tell};
use crate::client::{Heard, hear, seq_num};
use crate::host_sql::HostText;

/// How far a follower has been told, as the object knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    low: i64,
    /// Above `low` where the object may know either.
    high: i64,
    /// What storage knows at least.
    durable: i64,
    /// Whether something has been taken that the turn at hand is to store.
    is_new: bool,
}

/// A client object that is called.
#[derive(Clone, Debug)]
struct Subscription {
    /// Its pull, as text.
    pull: String,
    position: Position,
    /// Whether its lifetime is over, which it is yet to be told.
    has_ended: bool,
    /// Whether storage is known to know of it.
    is_certain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Committed,
    Object(usize),
}

/// What a reset removed before `on_committed` was known to have been told of it.
#[derive(Debug)]
pub(super) struct Removed {
    backend_id: String,
    /// Number and marker of each event.
    events: Vec<(i64, u64)>,
    position: Position,
}

impl Removed {
    fn is_told(&self) -> bool {
        let last = self.events.last().map_or(0, |(seq_num, _)| *seq_num);
        self.position.high >= last
    }
}

#[derive(Debug)]
struct UnderWay {
    id: DeliveryId,
    who: Who,
    lifetime: String,
    last: i64,
    /// When it counts as failed without an outcome.
    until_ms: u64,
    /// Whether that time has come, wherever the clock is now.
    is_overdue: bool,
}

#[derive(Debug)]
pub(super) struct Followers {
    committed: Position,
    /// By age, of lifetimes that are over.
    removed: Vec<Removed>,
    /// By client.
    objects: Vec<Option<Subscription>>,
    /// By client, pulls for which it is called no more.
    over: Vec<HashSet<String>>,
    under_way: Vec<UnderWay>,
}

impl UnderWay {
    fn is_overdue_at(&self, now_ms: u64) -> bool {
        self.is_overdue || now_ms >= self.until_ms
    }
}

impl Position {
    fn at(after: i64) -> Self {
        Self {
            low: after,
            high: after,
            durable: after,
            is_new: false,
        }
    }

    /// A delivery begins with this event.
    fn begin(&mut self, first: i64) {
        assert!(
            (self.low + 1..=self.high + 1).contains(&first),
            "told from {first} on, after {self:?}"
        );
        (self.low, self.high) = (first - 1, first - 1);
    }

    fn commit(&mut self, has_failed: bool) {
        if std::mem::take(&mut self.is_new) && !has_failed {
            self.durable = self.low;
        }
    }

    /// The same for events that stand in storage until they are told, which memory knows nothing of.
    fn commit_removed(&mut self, has_failed: bool) {
        if self.is_new && has_failed {
            self.lose();
        }
        self.commit(has_failed);
    }

    fn lose(&mut self) {
        self.low = self.low.min(self.durable);
    }
}

impl Followers {
    pub(super) fn new(clients: usize) -> Self {
        Self {
            committed: Position::at(0),
            removed: Vec::new(),
            objects: vec![None; clients],
            over: vec![HashSet::new(); clients],
            under_way: Vec::new(),
        }
    }

    /// `on_committed` is told from here on.
    pub(super) fn begin_at(&mut self, head: i64) {
        self.committed = Position::at(head);
    }

    pub(super) fn is_under_way(&self, id: DeliveryId) -> bool {
        self.under_way.iter().any(|one| one.id == id)
    }

    /// Takes note of what may be given up from now on.
    pub(super) fn pass_to(&mut self, now_ms: u64) {
        for one in &mut self.under_way {
            one.is_overdue = one.is_overdue_at(now_ms);
        }
    }

    /// A turn has been stored.
    pub(super) fn commit(&mut self, has_failed: bool) {
        for removed in &mut self.removed {
            removed.position.commit_removed(has_failed);
        }
        let objects = self.objects.iter_mut().flatten();
        for position in objects
            .map(|one| &mut one.position)
            .chain([&mut self.committed])
        {
            position.commit(has_failed);
        }
    }

    /// Memory is lost.
    pub(super) fn lose(&mut self) {
        self.committed.lose();
        for removed in &mut self.removed {
            removed.position.lose();
        }
        for subscription in self.objects.iter_mut().flatten() {
            subscription.position.lose();
        }
        for one in self.under_way.drain(..) {
            // Whether it was told of the end is not known.
            if let Who::Object(client) = one.who
                && let Some(subscription) = &mut self.objects[client]
            {
                subscription.is_certain &= !subscription.has_ended;
            }
        }
    }

    /// The events after this one may be yet to be told to `on_committed`.
    pub(super) fn told_at_least(&self) -> i64 {
        self.committed.low
    }

    /// A lifetime is over, of which these events may be yet to be told to `on_committed`.
    pub(super) fn reset(&mut self, backend_id: &str, events: Vec<(i64, u64)>) {
        self.removed
            .retain(|one| one.position.low < one.events.last().map_or(0, |last| last.0));
        if !events.is_empty() {
            let Position { low, high, .. } = self.committed;
            self.removed.push(Removed {
                backend_id: backend_id.to_owned(),
                events,
                position: Position {
                    low,
                    high,
                    durable: low,
                    is_new: false,
                },
            });
        }
        self.committed = Position::at(0);
        for one in self.under_way.drain(..) {
            // The word for the end before this one may have been given up for good.
            if let Who::Object(client) = one.who
                && let Some(subscription) = &mut self.objects[client]
            {
                subscription.is_certain &= !(subscription.has_ended && one.is_overdue);
            }
        }
        for subscription in self.objects.iter_mut().flatten() {
            subscription.has_ended = true;
        }
    }

    /// A client object has made another pull, which takes the place of its last one some time.
    pub(super) fn replace(&mut self, client: usize) {
        if let Some(subscription) = &mut self.objects[client] {
            subscription.is_certain = false;
        }
    }

    pub(super) fn unsubscribe(&mut self, client: usize) {
        self.objects[client] = None;
        self.under_way.retain(|one| one.who != Who::Object(client));
    }

    /// A client object has been told that it is called no more, for this pull if one is named.
    pub(super) fn unsubscribed(&mut self, client: usize, pull: Option<&str>, has_failed: bool) {
        let Some(subscription) = &self.objects[client] else {
            return;
        };
        if pull.is_none_or(|pull| pull == subscription.pull) {
            if !has_failed {
                let pull = subscription.pull.clone();
                self.refuse(client, pull);
            }
            self.unsubscribe(client);
        }
    }

    /// A client object is not called for this pull, or not any more.
    pub(super) fn refuse(&mut self, client: usize, pull: String) {
        self.over[client].insert(pull);
    }

    /// Storage may not know who follows.
    pub(super) fn doubt(&mut self) {
        for subscription in self.objects.iter_mut().flatten() {
            subscription.is_certain = false;
        }
    }

    /// Whether a client object is called for this pull, as far as is certain.
    pub(super) fn is_subscribed(&self, client: usize, pull: &str) -> bool {
        let subscription = self.objects[client].as_ref();
        subscription.is_some_and(|one| one.is_certain && !one.has_ended && one.pull == pull)
    }

    /// The last event that `on_committed` has taken.
    pub(super) fn committed_up_to(&self) -> i64 {
        self.committed.high
    }

    /// Who has not been told everything.
    pub(super) fn owed(&self, head: i64, has_on_committed: bool) -> Option<String> {
        let is_told = self.removed.iter().all(Removed::is_told);
        if has_on_committed && (self.committed.high < head || !is_told) {
            return Some("on_committed".to_owned());
        }
        let objects = self.objects.iter().enumerate();
        let mut owed = objects.filter(|(client, subscription)| {
            let is_told = self
                .under_way
                .iter()
                .any(|one| one.who == Who::Object(*client));
            subscription.as_ref().is_some_and(|one| {
                let lacks = one.position.high < head && !one.has_ended;
                one.is_certain && (lacks || one.has_ended && !is_told)
            })
        });
        owed.next()
            .map(|(client, subscription)| format!("object {client} {subscription:?}"))
    }
}

impl World {
    /// A live pull of a client object has been answered up to `last`: calls follow.
    pub(super) fn subscribe(&mut self, client: usize, id: &str, last: i64) {
        let pull = as_text(id);
        let is_certain = !self.has_failed() && !self.clients[client].is_doubtful;
        if is_certain && let Some(former) = &self.followers.objects[client] {
            let former = former.pull.clone();
            self.followers.refuse(client, former);
        }
        self.followers.objects[client] = Some(Subscription {
            pull,
            position: Position::at(last),
            has_ended: false,
            is_certain,
        });
        self.followers
            .under_way
            .retain(|one| one.who != Who::Object(client));
    }

    pub(super) fn object_dropped(&mut self, object_id: &str) {
        let client: usize = object_id.strip_prefix('o').unwrap().parse().unwrap();
        self.followers.unsubscribe(client);
        self.seen.count(Kind::ObjectsDropped);
    }

    /// Something is told; how it goes, if that shows at once.
    pub(super) fn receive_delivery(&mut self, delivery: &Told<HostText>) -> Option<Outcome> {
        if let Message::Mirror(batch) = &delivery.message {
            self.ask_d1(delivery.id, batch);
            return None;
        }
        let (who, last, is_repeated) = match &delivery.message {
            Message::Committed(page) => self.check_committed(page),
            Message::Call { object, frame } => {
                assert_eq!(object.binding, "CLIENT");
                let client: usize = object.object_id.strip_prefix('o').unwrap().parse().unwrap();
                let heard = self.hear_call(client, frame);
                self.check_call(client, &heard)
            }
            Message::Mirror(_) | Message::Disown { .. } => unreachable!("D1 was asked"),
        };
        let mut under_way = self.followers.under_way.iter();
        let is_early = under_way
            .any(|one| one.who == who && who == Who::Committed && !one.is_overdue_at(self.now_ms));
        assert!(!is_early, "one page at a time");
        self.followers.under_way.retain(|one| one.who != who);
        self.followers.under_way.push(UnderWay {
            id: delivery.id,
            who,
            lifetime: match &delivery.message {
                Message::Committed(page) => page.backend_id.as_str().to_owned(),
                Message::Call { .. } | Message::Mirror(_) | Message::Disown { .. } => {
                    self.log.backend_id.clone()
                }
            },
            last,
            until_ms: self.now_ms
                + match who {
                    Who::Committed => HOOK_DEADLINE_MS,
                    Who::Object(_) => CALL_DEADLINE_MS,
                },
            is_overdue: false,
        });
        let _ = is_repeated;
        let is_well = self.is_healthy || self.random.chance(self.plan.health);
        match (&delivery.message, is_well) {
            (Message::Committed(_), true) => {
                self.seen.count(Kind::Committed);
                Some(Outcome::Taken)
            }
            (Message::Committed(_), false) if self.random.chance(50) => {
                self.seen.count(Kind::CommittedFailed);
                Some(Outcome::Failed("the hook fails".to_owned()))
            }
            (Message::Committed(_), false) => {
                self.seen.count(Kind::CommittedHanging);
                self.hang(delivery.id, true);
                None
            }
            (Message::Mirror(_) | Message::Disown { .. }, _) => unreachable!("D1 was asked"),
            (Message::Call { frame, .. }, is_well) => {
                let Who::Object(client) = who else {
                    unreachable!("an object is called")
                };
                let heard = self.hear_call(client, frame);
                self.answer_call(client, &heard, delivery.id, is_well)
            }
        }
    }

    /// Understands a call: its request id is a text in every generation, while a cause is written as for others of
    /// it.
    fn hear_call(&self, client: usize, frame: &HostText) -> Heard {
        let text = frame.as_str();
        let is_v05 = self.clients[client].tongue.generation == Generation::V05;
        if !is_v05 || !text.starts_with(r#"{"_tag":"Exit""#) {
            return hear(Family::Rpc, text);
        }
        let (before, after) = text.split_once(r#""requestId":""#).unwrap();
        let (id, after) = after.split_once('"').unwrap();
        match hear(Family::Rpc, &format!(r#"{before}"requestId":{id}{after}"#)) {
            Heard::Failed { id, error } => Heard::Failed {
                id: format!("\"{id}\""),
                error,
            },
            other => other,
        }
    }

    fn answer_call(
        &mut self,
        client: usize,
        heard: &Heard,
        id: DeliveryId,
        is_well: bool,
    ) -> Option<Outcome> {
        self.seen.count(Kind::Calls);
        let (is_received, outcome) = if is_well {
            (true, Some(Outcome::Taken))
        } else {
            let failed = Outcome::Failed("the object fails".to_owned());
            match self.random.below(10) {
                0..3 => (false, Some(failed)),
                3..5 => (true, Some(failed)),
                5..7 => (true, None),
                7..9 => (false, None),
                _ => (false, Some(Outcome::Gone("no such object".to_owned()))),
            }
        };
        if is_received {
            self.receive_call(client, heard);
        }
        match &outcome {
            None => {
                self.seen.count(Kind::CallsHanging);
                self.hang(id, is_received);
            }
            Some(Outcome::Failed(_)) => self.seen.count(Kind::CallsFailed),
            Some(Outcome::Gone(_)) => self.seen.count(Kind::ObjectsGone),
            Some(Outcome::Taken | Outcome::Mirrored(_)) => {}
        }
        if outcome != Some(Outcome::Taken) {
            self.clients[client].may_hear_again();
        }
        outcome
    }

    /// A delivery has begun of which nothing is heard for now.
    fn hang(&mut self, id: DeliveryId, is_received: bool) {
        let object = self.object.as_mut().unwrap();
        object.deliveries.push((id, is_received));
    }

    fn check_committed(&mut self, page: &CommittedPage<HostText>) -> (Who, i64, bool) {
        assert!(self.plan.uses.has_on_committed());
        let array = format!("[{}]", page.items.as_str());
        let events = read_events(&array).unwrap();
        let first = events[0].seq_num;
        let last = events.last().unwrap().seq_num;
        let removed = &mut self.followers.removed;
        if page.backend_id.as_str() != self.log.backend_id {
            let of = removed
                .iter()
                .position(|one| one.backend_id == page.backend_id.as_str())
                .expect("a lifetime of which something was not told");
            assert!(removed[..of].iter().all(Removed::is_told), "in order");
            let Removed {
                events: expected,
                position,
                ..
            } = &mut removed[of];
            position.begin(first);
            let expected = expected.iter().filter(|(seq_num, _)| *seq_num >= first);
            for (event, (seq_num, marker)) in events.iter().zip(expected) {
                assert_eq!(event.seq_num, *seq_num);
                assert_eq!(marker_of(event.args_text().unwrap()), *marker);
            }
            self.seen.count(Kind::CommittedRemoved);
            return (Who::Committed, last, false);
        }
        assert!(removed.iter().all(Removed::is_told), "nothing is skipped");
        if first <= self.followers.committed.high {
            self.seen.count(Kind::CommittedRepeated);
        }
        self.followers.committed.begin(first);
        let expected = self.log.after(first - 1);
        assert!(events.len() <= expected.len());
        for (event, expected) in events.iter().zip(expected) {
            assert_eq!(event.seq_num, expected.event.seq_num);
            assert_eq!(marker_of(event.args_text().unwrap()), expected.event.marker);
        }
        (Who::Committed, last, false)
    }

    fn check_call(&mut self, client: usize, heard: &Heard) -> (Who, i64, bool) {
        let is_over = heard
            .id()
            .is_some_and(|id| self.followers.over[client].contains(id));
        assert!(!is_over, "called for {heard:?}");
        let subscription = self.followers.objects[client].as_mut();
        let is_of = |one: &&mut Subscription| heard.id() == Some(&one.pull);
        let subscription = subscription.filter(is_of);
        match heard {
            Heard::Page {
                events,
                backend_id,
                remaining: 0,
                ..
            } => {
                assert_eq!(backend_id.as_deref(), Some(&*self.log.backend_id));
                let first = seq_num(&events[0]);
                let expected = self.log.after(first - 1);
                assert!(events.len() <= expected.len());
                for (event, expected) in events.iter().zip(expected) {
                    assert_eq!(event["args"]["sekret"], expected.event.marker);
                }
                if let Some(subscription) = subscription
                    && subscription.is_certain
                {
                    assert!(!subscription.has_ended, "events of another lifetime");
                    subscription.position.begin(first);
                }
                (Who::Object(client), seq_num(events.last().unwrap()), false)
            }
            Heard::Failed { error, .. } => {
                assert_eq!(error["_tag"], "BackendIdMismatchError");
                assert_eq!(error["expected"], *self.log.backend_id);
                if let Some(subscription) = subscription {
                    assert!(subscription.has_ended || !subscription.is_certain);
                }
                self.seen.count(Kind::ResetTold);
                (Who::Object(client), 0, false)
            }
            other => panic!("an object is called with {other:?}"),
        }
    }

    /// How a delivery went is known.
    pub(super) fn note_outcome(&mut self, id: DeliveryId, outcome: &Outcome) {
        let under_way = &mut self.followers.under_way;
        let Some(index) = under_way.iter().position(|one| one.id == id) else {
            return;
        };
        let one = under_way.swap_remove(index);
        let is_overdue = one.is_overdue_at(self.now_ms);
        let UnderWay {
            who,
            lifetime,
            last,
            ..
        } = one;
        tell!(self, "  outcome {id:?} {who:?} up to {last}: {outcome:?}");
        let position = match who {
            Who::Committed => {
                let mut removed = self.followers.removed.iter_mut();
                let removed = removed.find(|one| one.backend_id == lifetime);
                let position = removed.map(|one| &mut one.position);
                position.unwrap_or(&mut self.followers.committed)
            }
            Who::Object(client) => {
                let subscription = &mut self.followers.objects[client];
                if subscription.as_ref().is_some_and(|one| one.has_ended) {
                    // It has been told, or cannot be.
                    *subscription = None;
                }
                let Some(subscription) = subscription else {
                    return;
                };
                &mut subscription.position
            }
        };
        if *outcome != Outcome::Taken {
            return;
        }
        if is_overdue {
            // It may have been given up.
            position.high = position.high.max(last);
        } else {
            (position.low, position.high, position.is_new) = (last, last, true);
        }
    }
}

/// A request id as it stands in calls.
pub(super) fn as_text(id: &str) -> String {
    if id.starts_with('"') {
        id.to_owned()
    } else {
        format!("\"{id}\"")
    }
}
