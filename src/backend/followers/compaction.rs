//! The compaction of the backup: events that are old are folded, many into one compressed row.
//!
//! It is looked after once a day, when something was copied or the object wakes, and asks D1 nothing unless the log says
//! that there is something to fold: one row of it does. Then it goes on from alarm to alarm, some queries each, until nothing is left. Of how far
//! it has come nothing is kept but that it is under way: what has rows of its own D1 says, so whatever fails or is lost, it
//! looks again. A copy that is due comes first.

use serde::{Deserialize, Serialize};

use super::{Kind, Outcome, State, check_version};
use crate::backend::report::{Folded, Report};
use crate::backend::{Output, SyncBackend, Turn, iso_8601, repeated};
use crate::event::SeqNum;
use crate::limits::{
    BACKUP_TOLD_MS, FOLD_LOOK_MS, FOLD_PUT_OFF_MS, FOLD_QUERIES_MAX, MIRROR_RETRY_MS,
    MIRROR_RETRY_MS_MAX, SEGMENT_EVENTS_MAX, SEGMENT_EVENTS_MIN, STORE_RETRY_MS,
};
use crate::store::mirror::{MirrorAnswer, MirrorBatch};
use crate::store::segments::{Foldable, Segment};
use crate::store::sql::{Sql, StoreError};

/// Queries that one segment takes: it is written, read back, and takes the place of its events.
const SEGMENT_QUERIES: usize = 5;

/// How the compaction stands.
#[derive(Debug, Default)]
pub(in crate::backend) struct Compaction {
    /// How old events are folded; `None`: none are.
    after_ms: Option<u64>,
    kept: Kept,
    next: Step,
    /// The segment before which events that are folded now have to end, if there is one.
    wall: Option<(i64, i64)>,
    /// Events of a segment at most.
    limit: u32,
    /// Whether D1 has been asked something and has not answered.
    is_asked: bool,
    /// Queries that may yet begin for the alarm that goes off; none without one.
    queries_left: usize,
    failures: u32,
    not_before_ms: u64,
    told_ms: Option<u64>,
    last_error: Option<(u64, String)>,
    /// Since it was begun.
    folded: Folded,
}

/// What is kept of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Kept {
    /// Up to this event there was nothing left to fold.
    folded_to: u64,
    /// When it was last looked. *Units*: milliseconds since the epoch.
    looked_ms: u64,
    is_under_way: bool,
}

impl Kept {
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What is done next.
#[derive(Debug)]
enum Step {
    /// D1 says which is the first event after this one that has a row of its own.
    Look(SeqNum),
    /// The log says what may be folded from this event on.
    Find(SeqNum),
    Write(Segment),
    Read(Segment),
    Fold(Segment),
}

impl Default for Step {
    fn default() -> Self {
        Self::Look(SeqNum::ROOT)
    }
}

impl Compaction {
    pub(super) fn of(kept: Kept) -> Self {
        Self {
            kept,
            ..Self::default()
        }
    }

    /// Another lifetime of the log begins: what the mirror has of the one before stays as it is.
    pub(super) fn begin_again(&self) -> Self {
        Self {
            after_ms: self.after_ms,
            told_ms: self.told_ms,
            ..Self::default()
        }
    }

    /// Goes on after an eviction, by the deployment's settings.
    pub(super) fn resume(&mut self, after_ms: Option<u64>) {
        self.after_ms = after_ms;
        self.kept.is_under_way &= after_ms.is_some();
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    pub(in crate::backend) fn is_on(&self) -> bool {
        self.after_ms.is_some()
    }

    pub(in crate::backend) fn is_under_way(&self) -> bool {
        self.kept.is_under_way
    }

    /// Up to which event nothing was left to fold when it was last looked.
    pub(in crate::backend) fn folded_to(&self) -> u64 {
        self.kept.folded_to
    }

    /// How it failed last, unless it went on since: when, and in words.
    pub(in crate::backend) fn last_error(&self) -> Option<&(u64, String)> {
        self.last_error.as_ref()
    }

    /// When it goes on, if it is under way.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        self.kept
            .is_under_way
            .then(|| self.not_before_ms.max(now_ms))
    }

    pub(super) fn begin_burst(&mut self) {
        self.queries_left = FOLD_QUERIES_MAX;
    }

    pub(super) fn end_burst(&mut self) {
        self.queries_left = 0;
    }

    /// Whether what D1 was asked last is for this.
    pub(super) fn take_asked(&mut self) -> bool {
        std::mem::take(&mut self.is_asked)
    }

    /// Events older than this may be folded. *Shape*: ISO 8601.
    fn before(&self, now_ms: u64) -> String {
        iso_8601(now_ms.saturating_sub(self.after_ms.unwrap_or(u64::MAX)))
    }

    /// A segment was too large for D1: smaller ones are made.
    fn shrink(&mut self, segment: &Segment) {
        self.limit = u32::try_from(segment.events / 4).unwrap_or(1).max(1);
        self.next = Step::Find(segment.first);
    }

    /// Nothing is left to fold up to `folded_to`.
    fn rest(&mut self, folded_to: SeqNum, now_ms: u64) -> Option<Report> {
        self.kept = Kept {
            folded_to: folded_to.get(),
            looked_ms: now_ms,
            is_under_way: false,
        };
        self.next = Step::default();
        let folded = std::mem::take(&mut self.folded);
        (folded.events > 0).then_some(Report::Compacted(folded))
    }

    /// Takes note of a failure, after which it looks again; what to tell of it, unless something was told less than a
    /// minute ago.
    fn fail(&mut self, message: &str, now_ms: u64) -> Option<Report> {
        let message = repeated(message);
        self.next = Step::default();
        let wait_ms = MIRROR_RETRY_MS << self.failures.min(16);
        self.not_before_ms = now_ms + wait_ms.min(MIRROR_RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some((now_ms, message.clone()));
        let is_told = |told: u64| (told..told + BACKUP_TOLD_MS).contains(&now_ms);
        if self.told_ms.is_some_and(is_told) {
            return None;
        }
        self.told_ms = Some(now_ms);
        Some(Report::CompactionFailed { message })
    }
}

/// Whether a failure is about something that was too large.
fn is_too_large(message: &str) -> bool {
    message.contains("too big") || message.contains("too large")
}

/// Whether the account may do no more for now.
fn is_over_limit(message: &str) -> bool {
    message.to_ascii_lowercase().contains("limit")
}

impl<S: Sql> SyncBackend<S> {
    /// The object has woken: see [`SyncBackend::consider_compaction`].
    pub(in crate::backend) fn look_at_compaction(&mut self, turn: &mut Turn<S::Text>) {
        let mut followers = self.followers.list.iter();
        let backup = followers.position(|follower| follower.kind == Kind::Backup);
        if let Some(index) = backup
            && self.consider_compaction(index, turn)
        {
            self.keep_follower(index, turn);
        }
    }

    /// Begins to fold, if it is time to look and the log says that there is something; whether it does.
    pub(super) fn consider_compaction(&mut self, index: usize, turn: &mut Turn<S::Text>) -> bool {
        let may_look = self.import.is_none() && !self.is_closed();
        let Some(follower) = self.followers.list.get_mut(index) else {
            return false;
        };
        let (now_ms, copied) = (turn.now_ms, follower.after);
        // A store that is pushed to all the time is never copied to the end.
        let lag = self.store.last_stored().since(copied);
        let is_at_rest = follower.failures == 0 && lag <= u64::from(SEGMENT_EVENTS_MAX);
        let compaction = &mut follower.backup.compaction;
        let looked_ms = compaction.kept.looked_ms;
        let is_time = !(looked_ms..looked_ms.saturating_add(FOLD_LOOK_MS)).contains(&now_ms);
        if !compaction.is_on() || compaction.is_under_way() || !may_look || !is_at_rest || !is_time
        {
            return false;
        }
        let folded_to = i64::try_from(compaction.kept.folded_to).unwrap_or(0);
        let from = next_number(SeqNum::clamped(folded_to).min(copied));
        let enough = SeqNum::clamped(from.to_i64() + SEGMENT_EVENTS_MIN - 1);
        if enough > copied {
            return false;
        }
        compaction.kept.looked_ms = now_ms;
        // One row tells most stores that there is too little.
        let before_it = SeqNum::clamped(enough.to_i64() - 1);
        let stored_ms = self.store.first_after_ms(before_it).ok().flatten();
        let old_ms = now_ms.saturating_sub(compaction.after_ms.unwrap_or(u64::MAX));
        if stored_ms.is_none_or(|stored_ms| stored_ms >= old_ms) {
            return false;
        }
        let (before, end) = (compaction.before(now_ms), next_number(copied));
        let found = self
            .store
            .foldable(from, end, false, &before, SEGMENT_EVENTS_MAX, "");
        let is_found = matches!(found, Ok(Foldable::Segment(_) | Foldable::Skip(_)));
        compaction.kept.is_under_way = is_found;
        is_found
    }

    /// Does the next thing to fold events, if it may begin now.
    pub(super) fn fold(&mut self, index: usize, turn: &mut Turn<S::Text>) {
        let now_ms = turn.now_ms;
        // Rows that are compared are not folded meanwhile.
        let is_put_off = self.import.is_some() || now_ms < self.verified_ms.get() + FOLD_PUT_OFF_MS;
        loop {
            let Some(follower) = self.followers.list.get_mut(index) else {
                return;
            };
            let copied = follower.after;
            let compaction = &mut follower.backup.compaction;
            if !compaction.is_under_way()
                || compaction.not_before_ms > now_ms
                || compaction.queries_left == 0
                || follower.state != State::Idle
            {
                return;
            }
            if is_put_off {
                compaction.next = Step::default();
                compaction.not_before_ms = now_ms + FOLD_PUT_OFF_MS;
                return;
            }
            let asked = match &compaction.next {
                Step::Look(after) => Ok(self.store.look_for_rows(*after)),
                Step::Write(_) if compaction.queries_left < SEGMENT_QUERIES => return,
                Step::Write(segment) => self.store.write_segment(segment),
                Step::Read(segment) => self.store.read_segment(segment),
                Step::Fold(segment) => self.store.fold_segment(segment),
                Step::Find(first) => {
                    let first = *first;
                    if let Err(error) = self.find(index, first, turn) {
                        return self.fail_to_fold(index, error, turn);
                    }
                    continue;
                }
            };
            match asked {
                Ok(batch) => return self.ask_to_fold(index, copied, batch, turn),
                Err(error) => {
                    if !self.is_shrunk(index, &error.message) {
                        return self.fail_to_fold(index, error, turn);
                    }
                }
            }
        }
    }

    fn ask_to_fold(
        &mut self,
        index: usize,
        copied: SeqNum,
        batch: MirrorBatch<S::Text>,
        turn: &mut Turn<S::Text>,
    ) {
        if let Some(follower) = self.followers.list.get_mut(index) {
            let compaction = &mut follower.backup.compaction;
            compaction.is_asked = true;
            let queries = batch.steps.len();
            compaction.queries_left = compaction.queries_left.saturating_sub(queries);
        }
        self.ask_d1(index, copied, batch, turn);
    }

    /// Decides what is folded of the events from `first` on, of which D1 has rows.
    fn find(
        &mut self,
        index: usize,
        first: SeqNum,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), StoreError> {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return Ok(());
        };
        let copied = follower.after;
        let compaction = &mut follower.backup.compaction;
        let end = compaction.wall.map(|(first, _)| SeqNum::clamped(first));
        let end = end.unwrap_or(next_number(copied)).min(next_number(copied));
        let (before, now) = (compaction.before(turn.now_ms), iso_8601(turn.now_ms));
        let has_more = compaction.wall.is_some();
        let limit = compaction.limit;
        let found = self
            .store
            .foldable(first, end, has_more, &before, limit, &now)?;
        match found {
            Foldable::Segment(segment) => compaction.next = Step::Write(segment),
            Foldable::Skip(to) => compaction.next = Step::Look(to.max(first)),
            Foldable::Rest => {
                let folded_to = SeqNum::clamped(first.to_i64() - 1);
                let report = compaction.rest(folded_to, turn.now_ms);
                Self::report(report, turn);
            }
        }
        Ok(())
    }

    /// Takes note of what D1 did.
    pub(super) fn on_folded(&mut self, index: usize, outcome: Outcome, turn: &mut Turn<S::Text>) {
        let done = match outcome {
            Outcome::Mirrored(answer) => self.take_folded(index, &answer, turn),
            Outcome::Taken => Err("D1 said nothing".to_owned()),
            Outcome::Failed(message) | Outcome::Gone(message) => {
                if self.is_shrunk(index, &message) {
                    Ok(())
                } else {
                    Err(message)
                }
            }
        };
        if let (Err(message), Some(follower)) = (done, self.followers.list.get_mut(index)) {
            self.stats.compactions_failed += 1;
            let compaction = &mut follower.backup.compaction;
            let report = compaction.fail(&message, turn.now_ms);
            Self::report(report, turn);
            if is_over_limit(&message) {
                // What the account may write from now on is for copies; it looks again in a day.
                let folded_to = compaction.kept.folded_to;
                let folded_to = SeqNum::clamped(i64::try_from(folded_to).unwrap_or(0));
                let report = compaction.rest(folded_to, turn.now_ms);
                Self::report(report, turn);
            }
        }
    }

    fn take_folded(
        &mut self,
        index: usize,
        answer: &MirrorAnswer,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), String> {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return Ok(());
        };
        let copied = follower.after;
        let compaction = &mut follower.backup.compaction;
        match std::mem::take(&mut compaction.next) {
            Step::Look(_) => {
                check_version(answer)?;
                (compaction.wall, compaction.limit) = (answer.segment, SEGMENT_EVENTS_MAX);
                if let Some(plain) = answer.plain {
                    compaction.next = Step::Find(SeqNum::clamped(plain));
                } else {
                    let report = compaction.rest(copied, turn.now_ms);
                    Self::report(report, turn);
                }
            }
            next @ Step::Find(_) => compaction.next = next,
            Step::Write(segment) if answer.moved.is_some() => {
                compaction.next = Step::Read(segment);
            }
            Step::Write(Segment { first, last, .. }) => {
                return Err(format!(
                    "D1 does not take events {first} to {last} together"
                ));
            }
            Step::Read(segment) if answer.same == Some(true) => {
                compaction.next = Step::Fold(segment);
            }
            Step::Read(Segment { first, last, .. }) => {
                return Err(format!(
                    "events {first} to {last} were not read back from D1 as they were written"
                ));
            }
            Step::Fold(segment) if answer.moved.is_some() => {
                let last = segment.last;
                let stored = answer.stored.unwrap_or(0);
                compaction.folded.add(&segment, stored);
                self.stats.folded.add(&segment, stored);
                (compaction.failures, compaction.last_error) = (0, None);
                compaction.limit = SEGMENT_EVENTS_MAX;
                let next = next_number(last);
                let is_at_wall = compaction
                    .wall
                    .is_some_and(|(first, _)| first <= next.to_i64());
                compaction.next = if is_at_wall {
                    Step::Look(last)
                } else {
                    Step::Find(next)
                };
            }
            Step::Fold(Segment { first, last, .. }) => {
                // It looks again in a day.
                let report = compaction.rest(SeqNum::clamped(first.to_i64() - 1), turn.now_ms);
                Self::report(report, turn);
                return Err(format!(
                    "events {first} to {last} in D1 are not those of the log, and stay as they are: verify the backup"
                ));
            }
        }
        Ok(())
    }

    /// Whether a failure is that a segment was too large; smaller ones are made then.
    fn is_shrunk(&mut self, index: usize, message: &str) -> bool {
        let Some(follower) = self.followers.list.get_mut(index) else {
            return false;
        };
        let compaction = &mut follower.backup.compaction;
        match std::mem::take(&mut compaction.next) {
            Step::Write(segment) | Step::Read(segment) | Step::Fold(segment)
                if is_too_large(message) =>
            {
                compaction.shrink(&segment);
                true
            }
            next => {
                compaction.next = next;
                false
            }
        }
    }

    fn fail_to_fold(&mut self, index: usize, error: StoreError, turn: &mut Turn<S::Text>) {
        if let Some(follower) = self.followers.list.get_mut(index) {
            let compaction = &mut follower.backup.compaction;
            compaction.next = Step::default();
            compaction.not_before_ms = turn.now_ms + STORE_RETRY_MS;
        }
        Self::report_storage("folding the backup", error, turn);
    }

    fn report(report: Option<Report>, turn: &mut Turn<S::Text>) {
        let output = report.map(Output::Report);
        turn.out.extend(output);
    }
}

fn next_number(seq_num: SeqNum) -> SeqNum {
    SeqNum::clamped(seq_num.to_i64().saturating_add(1))
}
