//! The backup: a mirror of the log in D1, which is behind by seconds, or by hours where D1 is away.
//!
//! What is pushed is copied together some seconds after the first of it, by the alarm alone: a burst costs one alarm
//! and one batch, and no push waits for D1. Where the mirror ends D1 says with every batch, and that is what counts.

use super::compaction::{Compaction, Kept};
use super::{Follower, Kind, Message, Outcome, Patience, State, Told};
use crate::backend::followers::{Delivery, DeliveryId};
use crate::backend::report::{BackupTrouble, Report};
use crate::backend::{Output, SyncBackend, Turn, iso_8601, repeated};
use crate::event::SeqNum;
use crate::limits::{
    BACKUP_TOLD_MS, MIRROR_BURST_MAX, MIRROR_DEADLINE_MS, MIRROR_RETRY_MS, MIRROR_RETRY_MS_MAX,
    STORE_RETRY_MS,
};
use crate::store::EventStore;
use crate::store::mirror::{
    Copying, FORMER_VERSION, MirrorAnswer, MirrorBatch, SCHEMA_TABLE, SCHEMA_VERSION,
};
use crate::store::sql::{Sql, StoreError};

/// Where the store's state keeps how far it has come.
pub(super) const KEY: &str = "follower:backup";

/// A backup is tried again for ever.
pub(super) const PATIENCE: Patience = Patience {
    retry_ms: MIRROR_RETRY_MS,
    retry_ms_max: MIRROR_RETRY_MS_MAX,
    deadline_ms: MIRROR_DEADLINE_MS,
    attempts_max: None,
};

/// What a backup knows beside its position. Lost with the object's memory.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// When what is owed is to be copied; `None` until something is.
    pub(super) due_ms: Option<u64>,
    /// For how long pushes are collected.
    pub(super) delay_ms: u64,
    /// Batches that may yet begin for the alarm that goes off; none without one.
    batches_left: u32,
    next: Next,
    /// Until when a batch may come to D1 that has not been answered.
    pub(super) sent_until_ms: u64,
    /// Whether the batch under way holds all that there was when it began.
    takes_all: bool,
    /// What went wrong since the last batch that was taken.
    last_error: Option<LastError>,
    /// When each trouble was last told of.
    told_ms: [Option<u64>; BackupTrouble::ALL.len()],
    /// What becomes of events that are copied.
    pub(super) compaction: Compaction,
}

/// What D1 is asked next.
#[derive(Debug, Default)]
enum Next {
    /// To take events.
    #[default]
    Copy,
    /// To make the tables.
    Make,
    /// For the version of the tables, after this error.
    Look(String),
}

/// How the backup failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::backend) struct LastError {
    /// When. *Units*: milliseconds since the epoch.
    pub at_ms: u64,
    /// As it is counted.
    pub trouble: BackupTrouble,
    /// In words.
    pub message: String,
}

/// How the backup stands.
#[derive(Clone, Debug)]
pub(in crate::backend) struct BackupState<'a> {
    /// The last event that is copied.
    pub head: SeqNum,
    /// Events that are not.
    pub lag_events: u64,
    /// How long ago the first of them was stored.
    pub lag_seconds: u64,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them, unless it is forgotten.
    pub last_error: Option<&'a LastError>,
    /// How its compaction stands.
    pub compaction: &'a Compaction,
}

impl Follower {
    /// When there is something to do for the backup, if it is idle.
    pub(super) fn backup_due_ms<S: Sql>(&self, store: &EventStore<S>, now_ms: u64) -> Option<u64> {
        let copy_ms = self.is_owed(store).then(|| self.copy_due_ms(now_ms));
        let fold_ms = self.backup.compaction.due_ms(now_ms);
        let fold_ms = fold_ms.map(|at_ms| at_ms.max(self.not_before_ms));
        [copy_ms, fold_ms].into_iter().flatten().min()
    }

    /// When events that are yet to be copied are due, if the backup is idle.
    pub(super) fn copy_due_ms(&self, now_ms: u64) -> u64 {
        let due_ms = self.backup.due_ms.unwrap_or(now_ms + self.backup.delay_ms);
        due_ms.max(self.not_before_ms).max(now_ms)
    }

    /// Goes on after an eviction: what is owed is due when it would have been without.
    pub(super) fn resume_copying<S: Sql>(&mut self, store: &EventStore<S>, delay_ms: u64) {
        self.backup.delay_ms = delay_ms;
        // A log that has lost its end has other events there soon, which D1 is to be told of: it sees what is wrong.
        self.after = self.after.min(store.head());
        if self.is_owed(store) {
            let since_ms = store.first_after_ms(self.after).ok().flatten();
            self.backup.due_ms = Some(since_ms.unwrap_or(0).saturating_add(delay_ms));
        }
    }

    /// D1 has run what it was asked.
    fn mirrored<S: Sql>(
        &mut self,
        told: Told,
        answer: &MirrorAnswer,
        store: &EventStore<S>,
    ) -> Result<(), (BackupTrouble, String)> {
        let is_former = answer.version == Some(FORMER_VERSION);
        if is_former && !matches!(self.backup.next, Next::Make) {
            self.backup.next = Next::Make;
            return Ok(());
        }
        if let Err(message) = check_version(answer) {
            self.backup.next = Next::Copy;
            return Err((BackupTrouble::Schema, message));
        }
        match std::mem::take(&mut self.backup.next) {
            Next::Copy => {}
            Next::Make => return Ok(()),
            Next::Look(message) => return Err((BackupTrouble::Schema, message)),
        }
        let before = self.after;
        self.after = match answer.moved {
            Some(moved) => SeqNum::clamped(moved),
            None => end_of(answer, store)?,
        };
        if self.after == before && told != Told::UpTo(before) {
            let message = format!("the mirror in D1 ends at {before}, and takes nothing");
            return Err((BackupTrouble::Failed, message));
        }
        self.backup.last_error = None;
        (self.failures, self.not_before_ms) = (0, 0);
        Ok(())
    }

    /// D1 has not run what it was asked; nothing is wrong yet if something else is asked for that reason.
    fn not_mirrored(&mut self, message: String) -> Result<(), (BackupTrouble, String)> {
        let trouble = trouble_of(&message);
        let lacks_tables = lacks_tables(&message);
        self.backup.next = match std::mem::take(&mut self.backup.next) {
            Next::Copy if lacks_tables => Next::Make,
            // Tables of another version have other columns.
            Next::Copy if trouble == BackupTrouble::Schema => Next::Look(message),
            _ => return Err((trouble, message)),
        };
        Ok(())
    }
}

impl Progress {
    /// Another lifetime of the log begins, of which nothing is copied.
    pub(super) fn begin_again(&mut self) {
        *self = Self {
            delay_ms: self.delay_ms,
            told_ms: self.told_ms,
            sent_until_ms: self.sent_until_ms,
            compaction: self.compaction.begin_again(),
            ..Self::default()
        };
    }

    /// What is kept of an earlier life of the object.
    pub(super) fn of(kept: Kept) -> Self {
        Self {
            compaction: Compaction::of(kept),
            ..Self::default()
        }
    }

    /// Takes note of a failure; what to tell of it, unless that was told less than a minute ago.
    fn note(&mut self, trouble: BackupTrouble, message: String, now_ms: u64) -> Option<Report> {
        self.last_error = Some(LastError {
            at_ms: now_ms,
            trouble,
            message: message.clone(),
        });
        let told_ms = self.told_ms.get_mut(trouble as usize)?;
        if told_ms.is_some_and(|told| (told..told + BACKUP_TOLD_MS).contains(&now_ms)) {
            return None;
        }
        *told_ms = Some(now_ms);
        Some(Report::BackupFailed { trouble, message })
    }
}

/// Whether the tables are those of this release.
pub(in crate::backend) fn check_version(answer: &MirrorAnswer) -> Result<(), String> {
    if answer.version == Some(SCHEMA_VERSION) {
        return Ok(());
    }
    let version = answer
        .version
        .map_or("none".to_owned(), |it| it.to_string());
    Err(format!(
        "the tables in D1 have version {version}, and this release writes version {SCHEMA_VERSION}"
    ))
}

/// Whether D1 says that there are no tables.
pub(in crate::backend) fn lacks_tables(message: &str) -> bool {
    message.contains(&format!("no such table: {SCHEMA_TABLE}"))
}

/// Where the mirror ends that has not taken a batch: elsewhere than was thought, and the log has to have that end, too.
fn end_of<S: Sql>(
    answer: &MirrorAnswer,
    store: &EventStore<S>,
) -> Result<SeqNum, (BackupTrouble, String)> {
    let head = SeqNum::clamped(answer.head.unwrap_or(0));
    let last = store.last_stored();
    if head > last {
        let message = format!("the mirror in D1 ends at {head}, but the log at {last}");
        return Err((BackupTrouble::Diverged, message));
    }
    if head == SeqNum::ROOT {
        return Ok(head);
    }
    let created_at = store.created_at(head);
    let created_at = created_at.map_err(|error| (BackupTrouble::Failed, error.to_string()))?;
    if created_at != answer.last_at {
        let message = format!("event {head}, where the mirror in D1 ends, is another in the log");
        return Err((BackupTrouble::Diverged, message));
    }
    Ok(head)
}

/// What stands behind a failure, by the words that D1 and its client have for it.
fn trouble_of(message: &str) -> BackupTrouble {
    let message = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if has(&["no such table", "no such column", "no column named"]) {
        BackupTrouble::Schema
    } else if has(&["maximum db size", "is full"]) {
        BackupTrouble::Full
    } else if has(&["limit", "too many", "too big", "too large", "quota"]) {
        BackupTrouble::Limit
    } else if has(&["answer", "timed out", "timeout", "overloaded"]) {
        BackupTrouble::NoAnswer
    } else {
        BackupTrouble::Failed
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Whether the alarm that has gone off has to be kept, as if it still stood: see [`SyncBackend::on_alarm`].
    #[must_use]
    pub fn holds_alarm(&self) -> bool {
        self.holds_alarm
    }

    /// The alarm has gone off: what is due is copied.
    pub(in crate::backend) fn begin_copying(&mut self) {
        if let Some(backup) = self.backup_mut() {
            backup.backup.batches_left = MIRROR_BURST_MAX;
            backup.backup.compaction.begin_burst();
        }
    }

    /// Nothing is begun to be copied before the alarm goes off again, unless something is under way.
    pub(in crate::backend) fn rest_copying(&mut self) {
        if let Some(backup) = self.backup_mut()
            && backup.state == State::Idle
        {
            backup.backup.batches_left = 0;
            backup.backup.compaction.end_burst();
        }
    }

    pub(super) fn backup_mut(&mut self) -> Option<&mut Follower> {
        let mut followers = self.followers.list.iter_mut();
        followers.find(|follower| follower.kind == Kind::Backup)
    }

    fn backup(&self) -> Option<&Follower> {
        let mut followers = self.followers.list.iter();
        followers.find(|follower| follower.kind == Kind::Backup)
    }

    /// How the backup stands, if there is one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub(in crate::backend) fn backup_state(
        &self,
        now_ms: u64,
    ) -> Result<Option<BackupState<'_>>, StoreError> {
        let Some(backup) = self.backup() else {
            return Ok(None);
        };
        let mut lag_seconds = 0;
        let lag_events = self.store.last_stored().since(backup.after);
        if lag_events > 0 {
            let since_ms = self.store.first_after_ms(backup.after)?;
            lag_seconds = now_ms.saturating_sub(since_ms.unwrap_or(now_ms)) / 1_000;
        }
        Ok(Some(BackupState {
            head: backup.after,
            lag_events,
            lag_seconds,
            failures: backup.failures,
            last_error: backup.backup.last_error.as_ref(),
            compaction: &backup.backup.compaction,
        }))
    }

    /// The last event that D1 has confirmed, if there is a backup.
    pub(in crate::backend) fn copied(&self) -> Option<SeqNum> {
        self.backup().map(|backup| backup.after)
    }

    /// The mirror has been made to end at `end`: what is pushed from there on is copied, also where the object has taken
    /// more for copied, of a log that has lost it since.
    pub(in crate::backend) fn copied_no_further(&mut self, end: SeqNum) {
        let mut followers = self.followers.list.iter_mut().enumerate();
        let backup = followers.find(|(_, follower)| follower.kind == Kind::Backup);
        if let Some((index, backup)) = backup
            && backup.state == State::Idle
            && backup.after > end
        {
            backup.after = end;
            // Should that be lost, D1 says where its mirror ends once there is more than was copied.
            let _ = self.try_keep_follower(index);
        }
    }

    /// Events that the backup lacks; 0 where there is none.
    pub(in crate::backend) fn uncopied(&self) -> u64 {
        let last_stored = self.store.last_stored();
        self.backup()
            .map_or(0, |backup| last_stored.since(backup.after))
    }

    /// Asks D1 for the next thing, if one is due and may begin now.
    pub(super) fn copy(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        if self.is_closed() {
            return;
        }
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        if follower.state != State::Idle {
            return;
        }
        if !follower.is_owed(&self.store) {
            return self.fold(index, turn);
        }
        // A clock that went back must not put it off.
        let latest_ms = turn.now_ms + follower.backup.delay_ms;
        let due_ms = follower.backup.due_ms.unwrap_or(latest_ms).min(latest_ms);
        follower.backup.due_ms = Some(due_ms);
        let is_due = follower.copy_due_ms(turn.now_ms) <= turn.now_ms;
        if !is_due {
            return self.fold(index, turn);
        }
        if follower.backup.batches_left == 0 {
            return;
        }
        let after = follower.after;
        let without_events = |batch| Ok(Some(Copying { batch, last: after }));
        let next = match follower.backup.next {
            Next::Copy => self.store.mirror(after, &iso_8601(turn.now_ms)),
            Next::Make => without_events(self.store.make_mirror()),
            Next::Look(_) => without_events(self.store.look_at_mirror()),
        };
        let Copying { batch, last } = match next {
            Ok(Some(next)) => next,
            Ok(None) => return,
            Err(error) => {
                follower.not_before_ms = turn.now_ms + STORE_RETRY_MS;
                return Self::report_storage("copying to the backup", error, turn);
            }
        };
        follower.backup.batches_left -= 1;
        follower.backup.sent_until_ms = turn.now_ms + MIRROR_DEADLINE_MS;
        let is_copy = matches!(follower.backup.next, Next::Copy);
        follower.backup.takes_all = is_copy && last == self.store.last_stored();
        self.ask_d1(index, last, batch, turn);
    }

    /// Has D1 run a batch, after which its mirror may end at `last`.
    pub(super) fn ask_d1(
        &mut self,
        index: usize,
        last: SeqNum,
        batch: MirrorBatch<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        self.followers.deliveries += 1;
        let id = DeliveryId(self.followers.deliveries);
        follower.state = State::Delivering {
            id,
            told: Told::UpTo(last),
            since_ms: turn.now_ms,
        };
        turn.out.push(Output::Deliver(Delivery {
            id,
            message: Message::Mirror(batch),
        }));
    }

    /// Takes note of what became of a batch, and goes on.
    pub(super) fn on_mirrored(
        &mut self,
        index: usize,
        told: Told,
        outcome: Outcome,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return;
        };
        follower.state = State::Idle;
        if follower.backup.compaction.take_asked() {
            self.on_folded(index, outcome, turn);
            return self.go_on_copying(index, turn);
        }
        let before = follower.after;
        let takes_all = std::mem::take(&mut follower.backup.takes_all);
        if matches!(outcome, Outcome::Mirrored(_)) {
            follower.backup.sent_until_ms = 0;
        }
        let done = match outcome {
            Outcome::Mirrored(answer) => follower.mirrored(told, &answer, &self.store),
            Outcome::Taken => Err((BackupTrouble::Failed, "D1 said nothing".to_owned())),
            Outcome::Failed(message) | Outcome::Gone(message) => follower.not_mirrored(message),
        };
        match done {
            Ok(()) => {
                self.stats.copied += follower.after.since(before);
                if takes_all && told == Told::UpTo(follower.after) {
                    // What has come meanwhile is collected again.
                    follower.backup.due_ms = None;
                }
            }
            Err((trouble, message)) => {
                let message = repeated(&message);
                follower.fail(turn.now_ms);
                self.stats.fail_backup(trouble);
                if let Some(report) = follower.backup.note(trouble, message, turn.now_ms) {
                    turn.out.push(Output::Report(report));
                }
            }
        }
        self.go_on_copying(index, turn);
    }

    fn go_on_copying(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        self.copy(index, turn);
        let follower = self.followers.list.get(index);
        if follower.is_some_and(|follower| follower.state == State::Idle) {
            self.consider_compaction(index, turn);
            // Once for all that was copied: should that be lost, D1 says where its mirror ends.
            self.rest_copying();
            self.keep_follower(index, turn);
        }
    }
}
