//! A store that is deleted for good: its rows in the backup, the list of its lifetimes there last, and then everything that
//! the object has stored.
//!
//! That it is to be deleted is kept with the store before anything else happens; from then on nobody is served, and the
//! alarm goes on with it, so an object that is lost at any point goes on by itself. D1 is asked to forget some rows at a
//! time, as often as it takes, until it says that nothing is left. A copy that was on its way to D1 by then is waited for:
//! one that comes to an empty mirror would begin another. After the last step the object is as one that was never
//! addressed, and whoever comes next begins a new store; ids that this life has given out are not given out again, because
//! what is under way may yet come back with them.

use std::cell::Cell;

use serde::{Deserialize, Serialize};

use super::allowance::Allowances;
use super::followers::{Delivery, DeliveryId, Message, Outcome, check_version, lacks_tables};
use super::import::Import;
use super::report::{Deleted, Report};
use super::retention::Retention;
use super::{Output, Rules, Stats, SyncBackend, Turn, iso_8601, repeated};
use crate::limits::{
    DELETE_BURST_MAX, DELETE_ROWS_MAX, DELETE_ROWS_MIN, MIRROR_DEADLINE_MS, MIRROR_RETRY_MS,
    MIRROR_RETRY_MS_MAX,
};
use crate::store::adoption::disown;
use crate::store::deletion::{Held, forget, is_forgotten, look};
use crate::store::mirror::{MirrorAnswer, SCHEMA_VERSION};
use crate::store::sql::{Sql, StoreError};
use crate::store::{EventStore, OpenError, schema};
use crate::wire::{self, PageInfo};

/// That a store is to be deleted.
///
/// *Shape*: kept as JSON with the store, under the key `deletion`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Plan {
    /// When it was begun. *Units*: milliseconds since the epoch.
    begun_ms: u64,
    /// How many events the log has.
    events: u64,
    /// How many of them `on_committed` was not told of.
    untold: u64,
    /// Until when something may come to D1 that was on its way by then.
    settled_ms: u64,
    /// What D1 held of it, once it has said so.
    held: Option<Held>,
    /// The binding of the database from which the log was adopted.
    adopted: Option<String>,
}

/// What may come to D1 that is no copy of this life of the object: what repairs have sent, and earlier lives.
#[derive(Debug, Default)]
pub(super) struct Repairs {
    under_way: Cell<u32>,
    /// For how long what repairs have sent may come. *Units*: milliseconds since the epoch, as for the next.
    sent_until_ms: Cell<u64>,
    /// For how long what earlier lives have sent may.
    inherited_until_ms: Cell<u64>,
}

impl Repairs {
    /// A repair sends something.
    pub(super) fn send(&self, now_ms: u64) {
        self.under_way.update(|count| count.saturating_add(1));
        self.sent_until_ms.set(now_ms + MIRROR_DEADLINE_MS);
    }

    /// An earlier life may have sent something.
    pub(super) fn inherit(&self, now_ms: u64) {
        self.inherited_until_ms.set(now_ms + MIRROR_DEADLINE_MS);
    }

    fn until_ms(&self) -> u64 {
        self.sent_until_ms.get().max(self.inherited_until_ms.get())
    }

    /// D1 has answered.
    pub(super) fn answered(&self, outcome: &Outcome) {
        self.under_way.update(|count| count.saturating_sub(1));
        if self.under_way.get() == 0 && matches!(outcome, Outcome::Mirrored(_)) {
            self.sent_until_ms.set(0);
        }
    }
}

/// How far a deletion has come.
#[derive(Debug)]
pub(super) struct Deletion {
    plan: Plan,
    /// The copy that was on its way to D1 when it began, and until when others may have been.
    awaits: Option<(DeliveryId, u64)>,
    /// What D1 has been asked, and when.
    under_way: Option<(DeliveryId, u64)>,
    /// Whether nothing is left in the backup.
    is_forgotten: bool,
    /// Whether nothing is left of the log from which it was adopted.
    is_disowned: bool,
    /// What D1 is asked next.
    next: Next,
    /// Rows to ask for at once.
    rows: u32,
    /// Batches that may yet begin for the alarm that goes off.
    batches_left: u32,
    /// Whether it goes on some other time.
    rests: bool,
    failures: u32,
    not_before_ms: u64,
    last_error: Option<(u64, String)>,
}

/// Whether who asked for a deletion is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleting {
    /// It may be done soon.
    UnderWay,
    /// It goes on by itself, some time.
    GoesOn,
    /// It is done.
    Done(Deleted),
}

/// What D1 is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// How much it holds, and what version its tables have.
    Look,
    /// To bring tables of an earlier release to the version of this one.
    Make,
    /// To forget.
    Forget,
}

/// A deletion that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    deleted: Deleted,
    /// Whether nobody has come since.
    is_gone: bool,
}

/// How a deletion stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeletionState<'a> {
    begun_at: String,
    events: u64,
    backup: Option<Held>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError<'a>>,
}

#[derive(Serialize)]
struct LastError<'a> {
    at: String,
    message: &'a str,
}

/// Whether there is no log, or no database, to be disowned.
fn has_no_log(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Failed(message) => message.contains("no such table"),
        Outcome::Gone(_) => true,
        Outcome::Taken | Outcome::Mirrored(_) => false,
    }
}

fn said_nothing() -> String {
    "D1 said nothing that could be read".to_owned()
}

/// The words to keep with a store that nobody has opened, so that it is deleted.
#[must_use]
pub fn deletion_plan(now_ms: u64) -> String {
    Plan {
        begun_ms: now_ms,
        ..Plan::default()
    }
    .to_json()
}

impl Plan {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Deletion {
    fn new(plan: Plan) -> Self {
        Self {
            awaits: None,
            under_way: None,
            is_forgotten: false,
            is_disowned: plan.adopted.is_none(),
            plan,
            next: Next::Look,
            rows: DELETE_ROWS_MAX,
            batches_left: 0,
            rests: false,
            failures: 0,
            not_before_ms: 0,
            last_error: None,
        }
    }

    /// Goes on with what is kept with a store, if it is to be deleted.
    pub(super) fn resume<S: Sql>(store: &EventStore<S>) -> Option<Self> {
        let kept = store.state_of(schema::DELETION)?;
        // Whatever another release has kept: that it is to be deleted stands.
        Some(Self::new(serde_json::from_str(kept).unwrap_or_default()))
    }

    /// Whether D1 has been asked something and has not answered.
    pub(super) fn is_asking(&self) -> bool {
        self.under_way.is_some()
    }

    /// Whether the backup is what D1 is asked about.
    fn asks_backup(&self, rules: &Rules) -> bool {
        rules.has_database && !self.is_forgotten
    }

    /// When it has to be looked at again.
    pub(super) fn next_ms(&self, now_ms: u64) -> u64 {
        match self.under_way {
            Some((_, since_ms)) => since_ms + MIRROR_DEADLINE_MS,
            None => self.due_ms().max(now_ms),
        }
    }

    /// When the next thing is done: not before all that was on its way has come to D1, or never will.
    fn due_ms(&self) -> u64 {
        self.not_before_ms.max(self.plan.settled_ms)
    }

    /// Something went wrong that may go right another time.
    fn fail_for_now(&mut self, message: &str, turn: &mut Turn<impl Sized>) {
        let message = repeated(message);
        let wait_ms = MIRROR_RETRY_MS << self.failures.min(16);
        self.not_before_ms = turn.now_ms + wait_ms.min(MIRROR_RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.rows = (self.rows / 2).max(DELETE_ROWS_MIN);
        self.rests = true;
        self.last_error = Some((turn.now_ms, message.clone()));
        turn.out
            .push(Output::Report(Report::DeletionFailed { message }));
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    pub(super) fn state(&self) -> DeletionState<'_> {
        let last_error = self.last_error.as_ref();
        DeletionState {
            begun_at: iso_8601(self.plan.begun_ms),
            events: self.plan.events,
            backup: self.plan.held,
            failures: self.failures,
            last_error: last_error.map(|(at_ms, message)| LastError {
                at: iso_8601(*at_ms),
                message,
            }),
        }
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Begins to delete the store; where that has begun, it is tried at once. Nothing is served from here on, and whatever else
    /// was under way ends.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn begin_deletion(&mut self, turn: &mut Turn<S::Text>) -> Result<(), StoreError> {
        let begun = if let Some(deletion) = &mut self.deletion {
            (deletion.not_before_ms, deletion.rests) = (0, false);
            Ok(())
        } else {
            self.plan_deletion(turn).map(|events| {
                let begun = Report::DeletionBegun { events };
                turn.out.push(Output::Report(begun));
            })
        };
        self.end_turn(turn);
        begun
    }

    /// Keeps that the store is to be deleted, and sends everybody away. How many events it has.
    pub(super) fn plan_deletion(&mut self, turn: &mut Turn<S::Text>) -> Result<u64, StoreError> {
        let last = self.store.last_stored();
        let others_ms = self.repairs.until_ms();
        let copy = self.followers.copy_under_way();
        let plan = Plan {
            begun_ms: turn.now_ms,
            events: self.store.count()?,
            untold: self.told_committed().map_or(0, |told| last.since(told)),
            settled_ms: self.followers.copied_until_ms().max(others_ms),
            held: None,
            adopted: self.store.adopted_from()?,
        };
        self.keep_deletion(&plan)?;
        let events = plan.events;
        let mut deletion = Deletion::new(plan);
        deletion.awaits = copy.map(|id| (id, others_ms));
        self.deletion = Some(deletion);
        self.followers.leave();
        self.ended = None;
        self.import = None;
        self.hold_off(turn);
        Ok(events)
    }

    fn keep_deletion(&self, plan: &Plan) -> Result<(), StoreError> {
        self.store.set_state(schema::DELETION, &plan.to_json())
    }

    /// Somebody else has changed the rows of the store, which was opened again: what was begun to be deleted is deleted.
    pub(super) fn resume_or_keep_deletion(&mut self) {
        match &self.deletion {
            None => self.deletion = Deletion::resume(&self.store),
            // Should that fail, it is forgotten with the object's memory alone.
            Some(deletion) => drop(self.keep_deletion(&deletion.plan)),
        }
        if self.deletion.is_some() {
            self.followers.leave();
            self.import = None;
        }
    }

    /// Whether the store is being deleted, and nobody is served.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deletion.is_some()
    }

    /// Whether the store has been deleted, and nobody has come since.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.ended.is_some_and(|ended| ended.is_gone)
    }

    /// How a deletion stands for who asked for it.
    #[must_use]
    pub fn deleting(&self) -> Deleting {
        match (&self.deletion, self.ended) {
            (None, Some(ended)) => Deleting::Done(ended.deleted),
            (Some(deletion), _) if !deletion.rests => Deleting::UnderWay,
            _ => Deleting::GoesOn,
        }
    }

    /// The alarm has gone off: goes on with a deletion.
    pub(super) fn resume_deletion(&mut self, turn: &mut Turn<S::Text>) {
        let Some(deletion) = &mut self.deletion else {
            return;
        };
        deletion.batches_left = DELETE_BURST_MAX;
        if let Some((_, since_ms)) = deletion.under_way
            && turn.now_ms >= since_ms + MIRROR_DEADLINE_MS
        {
            // What it says, should it come, is nobody's any more.
            deletion.under_way = None;
            deletion.fail_for_now("D1 has not answered for too long", turn);
        }
        self.go_on_deleting(turn);
    }

    fn go_on_deleting(&mut self, turn: &mut Turn<S::Text>) {
        let Some(deletion) = &mut self.deletion else {
            return;
        };
        if deletion.under_way.is_some() {
            return;
        }
        let asks_backup = deletion.asks_backup(&self.rules);
        let asks_d1 = asks_backup || !deletion.is_disowned;
        if deletion.due_ms() > turn.now_ms || asks_d1 && deletion.batches_left == 0 {
            // Unless that is until a copy is answered.
            deletion.rests = deletion.awaits.is_none();
            return;
        }
        if !asks_d1 {
            return self.erase(turn);
        }
        deletion.rests = false;
        deletion.batches_left -= 1;
        let id = self.followers.next_delivery();
        deletion.under_way = Some((id, turn.now_ms));
        let store_id = self.store.store_id();
        let message = match (&deletion.plan.adopted, deletion.next) {
            (Some(database), _) if !asks_backup => Message::Disown {
                database: database.clone(),
                batch: disown(store_id, deletion.rows),
            },
            (_, Next::Look) => Message::Mirror(look(store_id)),
            (_, Next::Make) => Message::Mirror(self.store.make_mirror()),
            (_, Next::Forget) => Message::Mirror(forget(store_id, deletion.rows)),
        };
        turn.out.push(Output::Deliver(Delivery { id, message }));
    }

    /// Takes what D1 has answered, if it was asked for a deletion.
    pub(super) fn on_forgotten(
        &mut self,
        id: DeliveryId,
        outcome: Outcome,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(deletion) = &mut self.deletion else {
            return;
        };
        if let Some((copy, others_ms)) = deletion.awaits
            && copy == id
        {
            deletion.awaits = None;
            if matches!(outcome, Outcome::Mirrored(_)) {
                deletion.plan.settled_ms = others_ms;
            }
            return self.go_on_deleting(turn);
        }
        if deletion.under_way.is_none_or(|(asked, _)| asked != id) {
            return;
        }
        deletion.under_way = None;
        let was_backup = deletion.asks_backup(&self.rules);
        let is_log_gone = !was_backup && has_no_log(&outcome);
        let taken = match outcome {
            Outcome::Mirrored(answer) if !was_backup => {
                let found = answer.found.as_deref().and_then(is_forgotten);
                deletion.is_disowned = found == Some(true);
                found.map(drop).ok_or_else(said_nothing)
            }
            // Somebody else has removed it, or taken the database away.
            Outcome::Failed(_) | Outcome::Gone(_) if is_log_gone => {
                deletion.is_disowned = true;
                Ok(())
            }
            Outcome::Mirrored(answer) => self.take_forgotten(&answer),
            Outcome::Taken => Err("D1 said nothing".to_owned()),
            Outcome::Failed(message) | Outcome::Gone(message) if lacks_tables(&message) => {
                // There has never been a backup.
                deletion.plan.held.get_or_insert_default();
                deletion.is_forgotten = true;
                Ok(())
            }
            Outcome::Failed(message) | Outcome::Gone(message) => Err(message),
        };
        if let (Err(message), Some(deletion)) = (taken, &mut self.deletion) {
            deletion.fail_for_now(&message, turn);
        }
        self.go_on_deleting(turn);
    }

    fn take_forgotten(&mut self, answer: &MirrorAnswer) -> Result<(), String> {
        let Some(deletion) = &mut self.deletion else {
            return Ok(());
        };
        let asked = std::mem::replace(&mut deletion.next, Next::Look);
        let is_former = answer.version.is_some_and(|it| it < SCHEMA_VERSION);
        if asked == Next::Look && is_former {
            deletion.next = Next::Make;
            return Ok(());
        }
        check_version(answer)?;
        let found = answer.found.as_deref().unwrap_or_default();
        match asked {
            Next::Look => {
                let held = Held::read(found).ok_or_else(said_nothing)?;
                // What it held at first, where that is known.
                if deletion.plan.held.is_none() {
                    deletion.plan.held = Some(held);
                    let kept = deletion.plan.to_json();
                    let kept = self.store.set_state(schema::DELETION, &kept);
                    kept.map_err(|error| error.to_string())?;
                }
                deletion.next = Next::Forget;
            }
            Next::Make => deletion.next = Next::Look,
            Next::Forget => {
                deletion.is_forgotten = is_forgotten(found).ok_or_else(said_nothing)?;
                deletion.rows = deletion.rows.saturating_mul(2).min(DELETE_ROWS_MAX);
                deletion.next = Next::Forget;
            }
        }
        (deletion.failures, deletion.last_error) = (0, None);
        Ok(())
    }

    /// The last step: nothing is left in D1, and then nothing here.
    fn erase(&mut self, turn: &mut Turn<S::Text>) {
        let erased = self.store.erase();
        let Some(deletion) = &mut self.deletion else {
            return;
        };
        if let Err(error) = erased {
            return deletion.fail_for_now(&error.to_string(), turn);
        }
        let Plan {
            events,
            untold,
            held,
            ..
        } = deletion.plan;
        let deleted = Deleted {
            events,
            untold,
            backup: held,
        };
        self.deletion = None;
        self.ended = Some(Ended {
            deleted,
            is_gone: true,
        });
        self.closed = Some(OpenError::Unborn);
        turn.out.push(Output::ForgetAlarm);
        turn.out.push(Output::Report(Report::Deleted(deleted)));
    }

    /// Somebody comes to a store that was deleted: it is a new one, if it may be made.
    pub(super) fn start_over(
        &mut self,
        may_make: bool,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), OpenError> {
        let fresh = (self.fresh_ids)();
        self.store.start_over(fresh, may_make)?;
        if let Some(ended) = &mut self.ended {
            ended.is_gone = false;
        }
        self.closed = None;
        self.followers.start_over(&self.store, &self.rules);
        self.import = Import::resume(&self.store);
        self.deletion = Deletion::resume(&self.store);
        self.retention = Retention::resume(&self.store, &self.rules);
        self.stats = Stats::default();
        self.allowances = Allowances::default();
        self.bytes_at_most = u64::MAX;
        let tail = wire::rpc_page_tail(PageInfo::NoMore, self.store.backend_id());
        self.last_page_tail = self.store.text(&tail);
        if self.deletion.is_some() {
            self.followers.leave();
        }
        self.look_after_retention(turn);
        self.hold_off(turn);
        Ok(())
    }
}
