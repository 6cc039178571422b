//! Those who are told what was committed: in order, each event at least once, whatever happens in between.
//!
//! Owns how far each follower has been told, which is kept in the object's storage with the lifetime of the log
//! it belongs to; that one delivery to each is under way at a time; when a failed or unanswered one is
//! repeated; and the alarm. Whenever something is owed, [`SyncBackend::end_turn`] has the alarm set in
//! that very turn, so that an object whose memory is lost at any point goes on by itself. What is told, and for
//! how long an absent follower is waited for, is each kind's own: see [`client_objects`], [`committed`] and [`backup`].

mod backup;
mod client_objects;
mod committed;
mod compaction;

use serde::{Deserialize, Serialize};

use super::report::Report;
use super::stats::Duration;
use super::{ConnectionId, Output, Rules, SyncBackend, Turn};
use crate::event::{BackendId, SeqNum};
use crate::limits::{BURST_DELIVERIES_MAX, CALL_SETTLE_MS, HELD_CHECK_MS, STORE_RETRY_MS};
use crate::store::EventStore;
use crate::store::mirror::{MirrorAnswer, MirrorBatch};
use crate::store::sql::{Sql, StoreError};
use crate::wire::RequestId;

pub(super) use backup::{check_version, lacks_tables};
pub use client_objects::ClientObject;
pub use committed::{CommittedPage, read_events};

/// Names one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(u64);

/// Something to tell a follower. How it went goes back by [`SyncBackend::on_delivered`].
#[derive(Clone, Debug)]
pub struct Delivery<T> {
    /// Goes back with the outcome.
    pub id: DeliveryId,
    /// Who, and what.
    pub message: Message<T>,
}

/// What is told, and to whom.
#[derive(Clone, Debug)]
pub enum Message<T> {
    /// A call of a client object.
    Call {
        /// The object.
        object: ClientObject,
        /// The message, as JSON.
        frame: T,
    },
    /// A call of the app's `on_committed`.
    Committed(CommittedPage<T>),
    /// A batch for the mirror in D1.
    Mirror(MirrorBatch<T>),
    /// A batch for the database from which the log was adopted.
    Disown {
        /// Its binding.
        database: String,
        /// The batch.
        batch: MirrorBatch<T>,
    },
}

/// The next message to a follower, and how far it tells; `None` when there is nothing to tell.
type Next<T> = Result<Option<(Told, Message<T>)>, StoreError>;

/// How far a delivery tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Up to this event of the log.
    UpTo(SeqNum),
    /// So far through the events that resets removed before they were told of.
    Removed(i64),
}

/// How a delivery ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was taken.
    Taken,
    /// D1 has run the batch, and returned this.
    Mirrored(MirrorAnswer),
    /// It failed; another time it may not.
    Failed(String),
    /// There is nobody to tell, or no way to them.
    Gone(String),
}

/// Who follows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// A Durable Object that pulls live.
    ClientObject(ClientObject),
    /// The app's `on_committed`.
    Committed,
    /// The mirror in D1.
    Backup,
}

/// How an absent follower is waited for.
struct Patience {
    /// Milliseconds before the first repetition; doubled at each one.
    retry_ms: u64,
    /// Milliseconds between two tries at most.
    retry_ms_max: u64,
    /// Milliseconds after which a delivery without an outcome is taken for failed.
    deadline_ms: u64,
    /// Tries in a row before a follower is dropped; `None`: it never is.
    attempts_max: Option<u32>,
}

/// How far a follower has been told.
///
/// *Shape*: kept as JSON under [`Kind::key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Position {
    /// The lifetime of the log that `after` belongs to.
    backend_id: String,
    /// The last event it was told.
    after: u64,
    /// Failures since.
    #[serde(default, skip_serializing_if = "is_zero")]
    failures: u32,
    /// When it is told again after a failure. *Units*: milliseconds since the epoch.
    #[serde(default, skip_serializing_if = "is_zero_ms")]
    not_before_ms: u64,
    /// The pull by which a client object knows its calls, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
    /// Whether a client object is to be told that this lifetime is over.
    #[serde(default, skip_serializing_if = "is_false")]
    has_ended: bool,
    /// Whether the answer to its pull may still be being read.
    #[serde(default, skip_serializing_if = "is_false")]
    held: bool,
    /// Of the backup: how far it is folded.
    #[serde(default, skip_serializing_if = "compaction::Kept::is_nothing")]
    compaction: compaction::Kept,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_zero_ms(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Idle,
    /// The answer to its pull is still being read on this connection.
    Held(ConnectionId),
    /// The answer has left, and the client is taking note of it until then.
    Settling { until_ms: u64 },
    /// A delivery is under way.
    Delivering {
        id: DeliveryId,
        told: Told,
        since_ms: u64,
    },
}

#[derive(Debug)]
struct Follower {
    kind: Kind,
    /// The lifetime it is being told of; another than the store's when `has_ended`.
    backend_id: BackendId,
    after: SeqNum,
    failures: u32,
    not_before_ms: u64,
    has_ended: bool,
    state: State,
    /// Whether an earlier life of the object was lost while the answer to its pull was being read.
    was_held: bool,
    /// Whether storage knows where to begin after an eviction.
    is_kept: bool,
    /// Under which key an earlier version kept it.
    old_key: Option<String>,
    /// Deliveries that were taken at `burst_at_ms`, while the clock stood still.
    burst: u32,
    burst_at_ms: u64,
    /// Of the backup alone.
    backup: backup::Progress,
}

/// All who follow.
#[derive(Debug, Default)]
pub(super) struct Followers {
    list: Vec<Follower>,
    deliveries: u64,
}

impl Follower {
    fn new(kind: Kind, backend_id: BackendId, after: SeqNum) -> Self {
        Self {
            kind,
            backend_id,
            after,
            failures: 0,
            not_before_ms: 0,
            has_ended: false,
            state: State::Idle,
            was_held: false,
            is_kept: false,
            old_key: None,
            burst: 0,
            burst_at_ms: 0,
            backup: backup::Progress::default(),
        }
    }

    /// The follower that an earlier life of the object kept under `key`.
    fn restore(key: &str, value: &str, store_backend_id: &BackendId) -> Option<Self> {
        if let Some(old) = Self::restore_old(key, value, store_backend_id) {
            return Some(old);
        }
        let position: Position = serde_json::from_str(value).ok()?;
        let kind = Kind::of_key(key, position.request.as_deref())?;
        let after = SeqNum::clamped(i64::try_from(position.after).ok()?);
        let backend_id = BackendId::stored(position.backend_id);
        let is_current = backend_id == *store_backend_id;
        let mut follower = Self {
            backup: backup::Progress::of(position.compaction),
            failures: position.failures,
            not_before_ms: position.not_before_ms,
            has_ended: position.has_ended,
            was_held: position.held,
            is_kept: true,
            ..Self::new(kind, backend_id, after)
        };
        if !is_current && !follower.has_ended {
            follower.begin_again(store_backend_id);
        }
        Some(follower)
    }

    /// The same from what earlier versions kept: no lifetime stands there, so it is that of the store.
    fn restore_old(key: &str, value: &str, backend_id: &BackendId) -> Option<Self> {
        let (kind, after) = if key == "committed" {
            (Kind::Committed, value.split(' ').next()?)
        } else {
            let (binding, object_id) = key.strip_prefix("caller:")?.rsplit_once(':')?;
            let (after, request) = value.split_once(' ')?;
            let object = ClientObject {
                binding: binding.to_owned(),
                object_id: object_id.to_owned(),
                request: RequestId::from_json(request)?,
            };
            (Kind::ClientObject(object), after)
        };
        let after = SeqNum::clamped(after.parse().ok()?);
        Some(Self {
            is_kept: true,
            old_key: Some(key.to_owned()),
            ..Self::new(kind, backend_id.clone(), after)
        })
    }

    /// The log it followed is gone, and another lifetime begins.
    fn begin_again(&mut self, backend_id: &BackendId) {
        match self.kind {
            // It has to hear of it: what it knows is of no use.
            Kind::ClientObject(_) => self.has_ended = true,
            Kind::Committed => {
                self.backend_id = backend_id.clone();
                self.after = SeqNum::ROOT;
            }
            Kind::Backup => {
                self.backend_id = backend_id.clone();
                self.after = SeqNum::ROOT;
                self.backup.begin_again();
            }
        }
        if self.failures > 0 {
            // Otherwise it is taking note of its pull until then.
            (self.failures, self.not_before_ms) = (0, 0);
        }
        self.is_kept = false;
        if !matches!(self.state, State::Held(_) | State::Settling { .. }) {
            self.state = State::Idle;
        }
    }

    fn position(&self) -> Position {
        Position {
            backend_id: self.backend_id.as_str().to_owned(),
            after: self.after.get(),
            failures: self.failures,
            not_before_ms: self.not_before_ms,
            request: self.kind.request().map(|id| id.json().to_owned()),
            has_ended: self.has_ended,
            held: self.was_held || matches!(self.state, State::Held(_)),
            compaction: self.backup.compaction.kept(),
        }
    }

    /// Whether there is something to tell it.
    fn is_owed<S: Sql>(&self, store: &EventStore<S>) -> bool {
        self.has_ended
            || self.after < store.last_stored()
            || self.kind == Kind::Committed && store.has_untold()
    }

    /// When it has to be looked at again, if nothing happens before.
    fn next_ms<S: Sql>(&self, store: &EventStore<S>, now_ms: u64) -> Option<u64> {
        match self.state {
            State::Delivering { since_ms, .. } => Some(since_ms + self.kind.patience().deadline_ms),
            State::Idle if self.kind == Kind::Backup => self.backup_due_ms(store, now_ms),
            _ if !self.is_owed(store) => None,
            State::Idle => Some(self.not_before_ms.max(now_ms)),
            State::Settling { until_ms } => Some(until_ms),
            State::Held(_) => Some(now_ms + HELD_CHECK_MS),
        }
    }

    fn fail(&mut self, now_ms: u64) {
        let patience = self.kind.patience();
        let wait_ms = patience.retry_ms << self.failures.min(16);
        self.not_before_ms = now_ms + wait_ms.min(patience.retry_ms_max);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Idle;
        self.is_kept = false;
    }

    /// Whether it has been waited for long enough.
    fn is_given_up(&self) -> bool {
        let attempts_max = self.kind.patience().attempts_max;
        attempts_max.is_some_and(|max| self.failures >= max)
    }
}

impl Kind {
    /// Its key in the store's state.
    fn key(&self) -> String {
        match self {
            Self::ClientObject(object) => object.key(),
            Self::Committed => committed::KEY.to_owned(),
            Self::Backup => backup::KEY.to_owned(),
        }
    }

    fn of_key(key: &str, request: Option<&str>) -> Option<Self> {
        match key {
            committed::KEY => return Some(Self::Committed),
            backup::KEY => return Some(Self::Backup),
            _ => {}
        }
        ClientObject::of_key(key, request?).map(Self::ClientObject)
    }

    fn request(&self) -> Option<&RequestId> {
        match self {
            Self::ClientObject(object) => Some(&object.request),
            Self::Committed | Self::Backup => None,
        }
    }

    fn patience(&self) -> Patience {
        match self {
            Self::ClientObject(_) => client_objects::PATIENCE,
            Self::Committed => committed::PATIENCE,
            Self::Backup => backup::PATIENCE,
        }
    }
}

impl Followers {
    /// Reads them from the store's state.
    pub(super) fn restore<S: Sql>(store: &EventStore<S>, rules: &Rules) -> Self {
        let state = store.state().iter();
        let followers =
            state.filter_map(|(key, value)| Follower::restore(key, value, store.backend_id()));
        let mut list: Vec<Follower> = followers.collect();
        if rules.uses.has_on_committed() {
            if !list.iter().any(|follower| follower.kind == Kind::Committed) {
                // A store that meets the hook for the first time begins at the head that it has then.
                let (backend_id, head) = (store.backend_id().clone(), store.last_stored());
                list.push(Follower::new(Kind::Committed, backend_id, head));
            }
        } else {
            list.retain(|follower| follower.kind != Kind::Committed);
        }
        if let Some(delay_ms) = rules.backup_delay_ms {
            let known = list.iter().position(|one| one.kind == Kind::Backup);
            let mut backup = match known {
                Some(index) => list.swap_remove(index),
                // Of all that there is.
                None => Follower::new(Kind::Backup, store.backend_id().clone(), SeqNum::ROOT),
            };
            backup.resume_copying(store, delay_ms);
            backup.backup.compaction.resume(rules.compact_after_ms);
            list.push(backup);
        } else {
            list.retain(|follower| follower.kind != Kind::Backup);
        }
        Self {
            list,
            deliveries: 0,
        }
    }

    /// Has all of them kept again: what storage knew of them may be gone.
    pub(super) fn keep_again(&mut self) {
        for follower in &mut self.list {
            follower.is_kept = false;
        }
    }

    /// What there is up to `head` was the affair of another backend: `on_committed` is told of what follows.
    pub(super) fn begin_committed_at(&mut self, head: SeqNum) {
        for follower in &mut self.list {
            if follower.kind == Kind::Committed {
                follower.after = head;
                follower.is_kept = false;
            }
        }
    }

    /// A name for something that is asked of D1 beside what followers are told.
    pub(super) fn next_delivery(&mut self) -> DeliveryId {
        self.deliveries += 1;
        DeliveryId(self.deliveries)
    }

    /// The copy that D1 has been sent and not answered.
    pub(super) fn copy_under_way(&self) -> Option<DeliveryId> {
        let backup = self.list.iter().find(|one| one.kind == Kind::Backup)?;
        match backup.state {
            State::Delivering { id, .. } => Some(id),
            State::Idle | State::Held(_) | State::Settling { .. } => None,
        }
    }

    /// Until when a copy may come to D1 that it has been sent.
    pub(super) fn copied_until_ms(&self) -> u64 {
        let backup = self.list.iter().find(|one| one.kind == Kind::Backup);
        backup.map_or(0, |backup| backup.backup.sent_until_ms)
    }

    /// Nobody follows any more.
    pub(super) fn leave(&mut self) {
        self.list.clear();
    }

    /// Those of another store, in the place of all. Names of deliveries are not given out again.
    pub(super) fn start_over<S: Sql>(&mut self, store: &EventStore<S>, rules: &Rules) {
        self.list = Self::restore(store, rules).list;
    }

    fn is_under_way(&self, id: DeliveryId) -> Option<usize> {
        self.list.iter().position(
            |follower| matches!(follower.state, State::Delivering { id: under_way, .. } if under_way == id),
        )
    }

    /// When the backup has to be looked at again, and when any of the others.
    pub(super) fn next_ms<S: Sql>(
        &self,
        store: &EventStore<S>,
        now_ms: u64,
    ) -> (Option<u64>, Option<u64>) {
        let (mut backup, mut others) = (None, None);
        for follower in &self.list {
            let at_ms = follower.next_ms(store, now_ms);
            let next = match follower.kind {
                Kind::Backup => &mut backup,
                Kind::ClientObject(_) | Kind::Committed => &mut others,
            };
            *next = [*next, at_ms].into_iter().flatten().min();
        }
        (backup, others)
    }

    /// Whether D1 has been asked something and has not answered.
    pub(super) fn is_copying(&self) -> bool {
        let mut followers = self.list.iter();
        followers.any(|follower| {
            follower.kind == Kind::Backup && matches!(follower.state, State::Delivering { .. })
        })
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Tells everyone what is owed to them and may be told now.
    pub(super) fn deliver_due(&mut self, turn: &mut Turn<S::Text>) {
        for index in (0..self.followers.list.len()).rev() {
            self.look_after(index, turn);
        }
    }

    fn look_after(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        if std::mem::take(&mut follower.was_held) {
            // Its client may have read the end of it just now.
            let until_ms = turn.now_ms + CALL_SETTLE_MS;
            follower.state = State::Settling { until_ms };
            follower.not_before_ms = follower.not_before_ms.max(until_ms);
        }
        match follower.state {
            State::Settling { until_ms } if until_ms <= turn.now_ms => {
                follower.state = State::Idle;
            }
            State::Delivering { since_ms, .. }
                if turn.now_ms >= since_ms + follower.kind.patience().deadline_ms =>
            {
                // Its outcome, should it come, is nobody's any more.
                let message = "it has not answered for too long".to_owned();
                return self.on_outcome(index, Outcome::Failed(message), turn);
            }
            _ => {}
        }
        self.deliver(index, turn);
    }

    /// Begins the next delivery to a follower, if there is something to tell and nothing is under way.
    fn deliver(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        if self.is_closed() {
            return;
        }
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        let is_owed = follower.is_owed(&self.store) || follower.backup.compaction.is_under_way();
        if follower.state != State::Idle || !is_owed || follower.not_before_ms > turn.now_ms {
            return;
        }
        let next = match &follower.kind {
            Kind::ClientObject(object) => {
                client_objects::next(&self.store, object, follower.after, follower.has_ended)
            }
            Kind::Committed => committed::next(&mut self.store, follower.after),
            Kind::Backup => return self.copy(index, turn),
        };
        let (told, message) = match next {
            Ok(Some(next)) => next,
            Ok(None) => return,
            Err(error) => {
                follower.not_before_ms = turn.now_ms + STORE_RETRY_MS;
                return Self::report_storage("telling a follower", error, turn);
            }
        };
        self.followers.deliveries += 1;
        let id = DeliveryId(self.followers.deliveries);
        follower.state = State::Delivering {
            id,
            told,
            since_ms: turn.now_ms,
        };
        if !follower.is_kept {
            self.keep_follower(index, turn);
        }
        turn.out.push(Output::Deliver(Delivery { id, message }));
    }

    /// Takes note of how a delivery ended.
    pub fn on_delivered(&mut self, id: DeliveryId, outcome: Outcome, turn: &mut Turn<S::Text>) {
        // Otherwise it was given up, or its follower is gone.
        if let Some(index) = self.followers.is_under_way(id) {
            self.on_outcome(index, outcome, turn);
        } else {
            self.on_forgotten(id, outcome, turn);
        }
        self.end_turn(turn);
    }

    fn on_outcome(&mut self, index: usize, outcome: Outcome, turn: &mut Turn<S::Text>) {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        let State::Delivering { told, since_ms, .. } = follower.state else {
            return;
        };
        if follower.kind == Kind::Backup {
            return self.on_mirrored(index, told, outcome, turn);
        }
        let is_call = matches!(follower.kind, Kind::ClientObject(_));
        if is_call {
            let ms = turn.now_ms.saturating_sub(since_ms);
            self.stats.observe(Duration::Call, ms);
            match outcome {
                Outcome::Taken | Outcome::Mirrored(_) => self.stats.deliveries += 1,
                Outcome::Failed(_) | Outcome::Gone(_) => self.stats.calls_failed += 1,
            }
        }
        match outcome {
            // Today's clients refuse that call, and log it: it is the only way to tell them.
            _ if follower.has_ended => self.drop_follower(index, turn),
            Outcome::Taken | Outcome::Mirrored(_) => {
                (follower.failures, follower.not_before_ms) = (0, 0);
                follower.state = State::Idle;
                let forgotten = match told {
                    Told::UpTo(last) => {
                        follower.after = last;
                        Ok(())
                    }
                    Told::Removed(last) => self.store.forget_untold(last),
                };
                // A follower that never waits must not keep a turn from ending.
                if follower.burst_at_ms != turn.now_ms {
                    (follower.burst, follower.burst_at_ms) = (0, turn.now_ms);
                }
                follower.burst += 1;
                let may_go_on = follower.burst < BURST_DELIVERIES_MAX;
                if let Err(error) = forgotten {
                    Self::report_storage("telling a follower", error, turn);
                }
                self.keep_follower(index, turn);
                if may_go_on {
                    self.deliver(index, turn);
                }
            }
            Outcome::Failed(message) => {
                follower.fail(turn.now_ms);
                let is_given_up = follower.is_given_up();
                if !is_call {
                    self.fail_committed(message, turn);
                    self.keep_follower(index, turn);
                } else if is_given_up {
                    self.give_up(index, message, turn);
                } else {
                    self.keep_follower(index, turn);
                }
            }
            Outcome::Gone(message) => self.give_up(index, message, turn),
        }
    }

    fn give_up(&mut self, index: usize, message: String, turn: &mut Turn<S::Text>) {
        if let Some(follower) = self.followers.list.get(index)
            && let Kind::ClientObject(object) = &follower.kind
        {
            let object_id = object.object_id.clone();
            turn.out.push(Output::Report(Report::ClientObjectDropped {
                object_id,
                message,
            }));
        }
        self.drop_follower(index, turn);
    }

    fn drop_follower(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        let follower = self.followers.list.swap_remove(index);
        let keys = [Some(follower.kind.key()), follower.old_key];
        for key in keys.into_iter().flatten() {
            if let Err(error) = self.store.remove_state(&key) {
                Self::report_storage("dropping a follower", error, turn);
            }
        }
    }

    fn keep_follower(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        if let Err(error) = self.try_keep_follower(index) {
            // Something will be told again, as it may be.
            Self::report_storage("keeping a follower", error, turn);
        }
    }

    fn try_keep_follower(&mut self, index: usize) -> Result<(), StoreError> {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return Ok(());
        };
        let value = serde_json::to_string(&follower.position()).unwrap_or_default();
        self.store.set_state(&follower.kind.key(), &value)?;
        if let Some(old_key) = follower.old_key.take() {
            self.store.remove_state(&old_key)?;
        }
        follower.is_kept = true;
        Ok(())
    }

    /// Has storage know of every follower, before there is something to tell: one that is not known begins at
    /// the head after an eviction.
    pub(super) fn keep_followers(&mut self) -> Result<(), StoreError> {
        for index in 0..self.followers.list.len() {
            let follower = self.followers.list.get(index);
            // The backup begins where D1 says that it ends.
            let is_lost = |follower: &Follower| !follower.is_kept && follower.kind != Kind::Backup;
            if follower.is_some_and(is_lost) {
                self.try_keep_follower(index)?;
            }
        }
        Ok(())
    }

    fn report_storage(during: &'static str, error: StoreError, turn: &mut Turn<S::Text>) {
        let message = error.message;
        turn.out
            .push(Output::Report(Report::StoreFailed { during, message }));
    }

    /// How far `on_committed` has been told, if there is one: what a reset removes beyond that is kept for it.
    pub(super) fn told_committed(&self) -> Option<SeqNum> {
        let mut followers = self.followers.list.iter();
        let committed = followers.find(|follower| follower.kind == Kind::Committed)?;
        Some(committed.after)
    }

    /// The log has been emptied: each follower hears of it, or begins again with the lifetime that follows.
    pub(super) fn reset_followers(&mut self, turn: &mut Turn<S::Text>) {
        let backend_id = self.store.backend_id().clone();
        for index in 0..self.followers.list.len() {
            if let Some(follower) = self.followers.list.get_mut(index) {
                follower.begin_again(&backend_id);
            }
            self.keep_follower(index, turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(id: &str) -> BackendId {
        BackendId::stored(id.to_owned())
    }

    fn object(request: &str) -> ClientObject {
        ClientObject {
            binding: "CLIENT:A".to_owned(),
            object_id: "0a1b".to_owned(),
            request: RequestId::from_json(request).unwrap(),
        }
    }

    fn follower(kind: Kind) -> Follower {
        Follower::new(kind, lifetime("old"), SeqNum::from(7))
    }

    /// Milliseconds before each repetition, as long as there is one, and for `tries` at most.
    fn waits(kind: Kind, tries: usize) -> Vec<u64> {
        let mut follower = follower(kind);
        let mut waits = Vec::new();
        while waits.len() < tries {
            follower.is_kept = true;
            follower.state = State::Settling { until_ms: 0 };
            follower.fail(500);
            assert_eq!((follower.state, follower.is_kept), (State::Idle, false));
            if follower.is_given_up() {
                break;
            }
            waits.push(follower.not_before_ms - 500);
        }
        waits
    }

    #[test]
    fn an_object_is_called_again_later_and_later_and_then_no_more() {
        let waits = waits(Kind::ClientObject(object("5")), 100);
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000]);
    }

    #[test]
    fn the_hook_is_told_again_for_ever_a_minute_apart_at_most() {
        let waits = waits(Kind::Committed, 100);
        let first = [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000];
        assert_eq!(waits[..first.len()], first);
        assert_eq!((waits.len(), waits[99]), (100, 60_000));
    }

    #[test]
    fn a_follower_comes_back_from_what_is_kept_of_it() {
        for kind in [Kind::ClientObject(object("\"5\"")), Kind::Committed] {
            let mut kept = follower(kind);
            (kept.failures, kept.not_before_ms) = (3, 9_000);
            let value = serde_json::to_string(&kept.position()).unwrap();
            let back = Follower::restore(&kept.kind.key(), &value, &lifetime("old")).unwrap();
            assert_eq!(back.kind, kept.kind);
            assert_eq!(
                (back.after, &back.backend_id),
                (kept.after, &kept.backend_id)
            );
            assert_eq!((back.failures, back.not_before_ms), (3, 9_000));
            assert!(back.is_kept && !back.has_ended && back.old_key.is_none());
            assert_eq!(back.state, State::Idle);
        }
    }

    #[test]
    fn nothing_is_kept_that_says_nothing() {
        let position = follower(Kind::Committed).position();
        let value = serde_json::to_string(&position).unwrap();
        assert_eq!(value, r#"{"backendId":"old","after":7}"#);
    }

    #[test]
    fn what_was_kept_in_another_lifetime_is_told_of_its_end_or_from_the_beginning() {
        let restore = |kept: &Follower| {
            let value = serde_json::to_string(&kept.position()).unwrap();
            Follower::restore(&kept.kind.key(), &value, &lifetime("new")).unwrap()
        };
        let called = restore(&follower(Kind::ClientObject(object("5"))));
        assert!(called.has_ended && !called.is_kept);
        assert_eq!((called.after.get(), called.backend_id.as_str()), (7, "old"));
        // Once that is kept, nothing more changes.
        let again = restore(&called);
        assert!(again.has_ended && again.is_kept);
        let hook = restore(&follower(Kind::Committed));
        assert!(!hook.has_ended && !hook.is_kept);
        assert_eq!((hook.after.get(), hook.backend_id.as_str()), (0, "new"));
    }

    #[test]
    fn a_new_lifetime_is_told_of_at_once_unless_a_client_takes_note_of_its_pull() {
        for (failures, expected_ms) in [(0, 9_000), (1, 0)] {
            let mut follower = follower(Kind::ClientObject(object("5")));
            (follower.failures, follower.not_before_ms) = (failures, 9_000);
            let settling = State::Settling { until_ms: 9_000 };
            follower.state = settling;
            follower.begin_again(&lifetime("new"));
            assert_eq!(
                (follower.failures, follower.not_before_ms),
                (0, expected_ms)
            );
            assert_eq!(follower.state, settling);
            // The outcome of what is under way is about the old lifetime.
            follower.state = State::Delivering {
                id: DeliveryId(1),
                told: Told::UpTo(SeqNum::from(8)),
                since_ms: 0,
            };
            follower.begin_again(&lifetime("new"));
            assert_eq!(follower.state, State::Idle);
        }
    }

    #[test]
    fn what_earlier_versions_kept_is_of_the_lifetime_of_the_store() {
        let restore = |key: &str, value: &str| Follower::restore(key, value, &lifetime("own"));
        let hook = restore("committed", "12 3 4").unwrap();
        assert_eq!((hook.kind, hook.after.get()), (Kind::Committed, 12));
        let called = restore("caller:CLIENT:A:0a1b", "12 \"5\"").unwrap();
        assert_eq!(called.kind, Kind::ClientObject(object("\"5\"")));
        assert_eq!(
            (called.after.get(), called.backend_id.as_str()),
            (12, "own")
        );
        assert_eq!(called.old_key.as_deref(), Some("caller:CLIENT:A:0a1b"));
        assert!(called.is_kept && !called.has_ended);
        for (key, value) in [
            ("caller:0a1b", "12 \"5\""),
            ("caller:CLIENT:0a1b", "12"),
            ("caller:CLIENT:0a1b", "x \"5\""),
            ("committed", "x"),
            ("another", r#"{"backendId":"own","after":7}"#),
            (
                "follower:object:CLIENT:0a1b",
                r#"{"backendId":"own","after":7}"#,
            ),
        ] {
            assert!(restore(key, value).is_none(), "{key}: {value}");
        }
    }
}
