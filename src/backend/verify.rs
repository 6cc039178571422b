//! The backup beside the log: what differs is told line by line, and made right on request.
//!
//! Owns the order in which D1 is asked, and what an operator reads. A verification is a value of its own beside the
//! backend, which is asked for each step: between two of them the store is served, grows, is copied, or is reset. What
//! the copy has yet to take is no difference.

use super::difference::{Difference, Lines, Summary};
use super::followers::{check_version, lacks_tables};
use super::{Outcome, SyncBackend, iso_8601};
use crate::event::{BackendId, SeqNum};
use crate::limits::{SEGMENT_EVENTS_MAX, VERIFY_EXTRA_MAX, VERIFY_SETTLED_MAX};
use crate::store::comparison::{Found, Lifetime, Range, Repair, Tally};
use crate::store::mirror::{FORMER_VERSION, MirrorAnswer, MirrorBatch, MirrorStep};
use crate::store::recall::{self, Fetched};
use crate::store::sql::{Sql, StoreError};
use crate::store::staging::Rows;

/// Queries that a range takes at most: it is compared, and written; or a segment is read, and unfolded.
const RANGE_QUERIES: usize = 4;

/// Queries that the end takes: it is looked at, and settled.
const END_QUERIES: usize = 5;

/// A comparison of the log with its mirror, under way.
pub struct Verification<T> {
    /// The lifetime that is compared.
    backend_id: BackendId,
    repair: Repair,
    queries_left: usize,
    state: State<T>,
    /// Compared up to this number; `None`: not even from where numbers begin.
    after: Option<i64>,
    /// Where the mirror ends, or has to.
    end: SeqNum,
    /// What D1 had confirmed when it was last asked where its mirror ends: it may have more, but not less.
    copied: SeqNum,
    /// The first and the last event of the first segment that has yet to be compared, as far as is known.
    segment: Option<(i64, i64)>,
    tally: Tally,
    /// Events of the log that were compared.
    events: u64,
    differences: u64,
    repaired: u64,
    has_made_tables: bool,
    has_told_lifetime: bool,
    /// Times that the mirror had grown before it was settled.
    overtaken: u32,
    lines: Lines,
}

/// What is done next; where D1 is asked for it, what its answer is about.
enum State<T> {
    Look,
    MakeTables,
    Walk,
    Compare(Range<T>),
    Rewrite(Range<T>, Vec<Found>),
    /// The segment that comes next is read.
    Read,
    /// A segment is replaced by rows.
    Unfold(Unfolding<T>),
    Tail,
    Count(Seen),
    Settle(Settling),
    /// The last lines follow.
    Ending(Ending),
}

/// What D1 says of the end of its mirror.
struct Seen {
    lifetime: Option<Lifetime>,
    /// The numbers of rows that are above it.
    extra: Vec<i64>,
    /// There may be more of them after this number.
    cut_after: Option<i64>,
}

impl Seen {
    fn head(&self) -> i64 {
        self.lifetime.as_ref().map_or(0, |lifetime| lifetime.head)
    }
}

/// A segment that is replaced by rows.
struct Unfolding<T> {
    /// Its last event.
    last: i64,
    /// When it was made, if the rows are its own events; else those of the log.
    made_at: Option<String>,
    text: T,
    /// What differs no more then.
    found: Vec<Found>,
}

struct Settling {
    seen: Seen,
    truth: Option<Lifetime>,
    /// Rows above the mirror's end are removed up to this number.
    to: i64,
}

#[derive(Clone, Copy)]
enum Ending {
    Done,
    /// It can go on after this event.
    Unfinished(Option<SeqNum>),
}

/// What is to be done for a verification.
#[derive(Debug)]
pub enum Step<T> {
    /// Run this on D1, and tell [`SyncBackend::verified`].
    Ask(MirrorBatch<T>),
    /// Run this query for events on D1, and tell [`SyncBackend::verified_segment`].
    Read(MirrorStep<T>),
    /// Let others have their turn.
    Pause,
    /// Hand on these lines of JSON.
    Tell(String),
    /// Hand on the last ones.
    End(String),
}

/// Why a verification ends early, in words.
struct Trouble(String);

impl From<String> for Trouble {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self(error.to_string())
    }
}

impl<T> Verification<T> {
    fn new(backend_id: BackendId, after: SeqNum, queries: u32, repair: Repair) -> Self {
        Self {
            backend_id,
            repair,
            queries_left: usize::try_from(queries).unwrap_or(usize::MAX),
            state: State::Look,
            after: Some(after.to_i64()).filter(|after| *after > 0),
            end: SeqNum::ROOT,
            copied: SeqNum::ROOT,
            segment: None,
            tally: Tally::default(),
            events: 0,
            differences: 0,
            repaired: 0,
            has_made_tables: false,
            has_told_lifetime: false,
            overtaken: 0,
            lines: Lines::default(),
        }
    }

    /// Where another may go on.
    fn next(&self) -> SeqNum {
        SeqNum::clamped(self.after.unwrap_or(0))
    }

    fn ask(&mut self, batch: MirrorBatch<T>) -> Step<T> {
        self.queries_left = self.queries_left.saturating_sub(batch.steps.len());
        Step::Ask(batch)
    }

    /// Whether what comes next is a segment.
    fn is_at_segment(&self) -> bool {
        let next = self.after.unwrap_or(0).saturating_add(1);
        self.segment.is_some_and(|(first, _)| first <= next)
    }

    /// Whether something was made right, where that was asked for.
    fn told(&self, is_repaired: bool) -> Option<bool> {
        (self.repair != Repair::No).then_some(is_repaired)
    }

    fn count(&mut self, repaired: Option<bool>) {
        self.differences += 1;
        self.repaired += u64::from(repaired == Some(true));
    }

    fn note(&mut self, difference: Difference, seq_num: i64, is_repaired: bool) {
        let repaired = self.told(is_repaired);
        self.count(repaired);
        self.lines.event(difference, seq_num, repaired);
    }

    fn note_found(&mut self, found: &[Found], is_repaired: impl Fn(Found) -> bool) {
        for found in found {
            self.note(Difference::of(*found), found.0, is_repaired(*found));
        }
    }

    /// Takes note of how the mirror ends, which has been made right up to `to`, `None`: not at all.
    fn note_end(&mut self, seen: &Seen, truth: Option<&Lifetime>, to: Option<i64>) {
        for seq_num in &seen.extra {
            let is_repaired = to.is_some_and(|to| *seq_num <= to);
            self.note(Difference::Extra, *seq_num, is_repaired);
        }
        let lifetime = seen.lifetime.as_ref();
        if lifetime != truth && !self.has_told_lifetime {
            self.has_told_lifetime = true;
            let repaired = self.told(to.is_some());
            self.count(repaired);
            self.lines.lifetime(lifetime, truth, repaired);
        }
        self.state = State::Ending(Ending::Done);
        if seen.cut_after.is_some() {
            self.after = seen.cut_after;
            self.state = State::Tail;
        }
    }

    /// Ends it, saying why.
    fn fail(&mut self, message: &str, next: Option<SeqNum>) {
        self.lines.error(message);
        self.state = State::Ending(Ending::Unfinished(next));
    }

    fn last_lines(&mut self, ending: Ending, last_stored: SeqNum) -> String {
        let (result, next) = match ending {
            Ending::Unfinished(next) => ("unfinished", next),
            Ending::Done if self.differences == 0 => ("same", None),
            Ending::Done => ("different", None),
        };
        self.lines.end(&Summary {
            result,
            events: self.events,
            head: self.end.get(),
            lag: last_stored.since(self.end),
            differences: self.differences,
            repaired: self.told(true).map(|_| self.repaired),
            next: next.map(SeqNum::get),
        })
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Begins to compare the log with its mirror, after `after` and by so many `queries` at most; `None` where there is no
    /// backup.
    #[must_use]
    pub fn verification(
        &self,
        after: SeqNum,
        queries: u32,
        repair: Repair,
    ) -> Option<Verification<S::Text>> {
        let backend_id = self.store.backend_id().clone();
        self.copied()
            .map(|_| Verification::new(backend_id, after, queries, repair))
    }

    /// What is to be done next for a verification.
    pub fn verify(&self, on: &mut Verification<S::Text>, now_ms: u64) -> Step<S::Text> {
        self.verified_ms.set(now_ms);
        loop {
            if let State::Ending(ending) = on.state {
                return Step::End(on.last_lines(ending, self.store.last_stored()));
            }
            if on.backend_id != *self.store.backend_id() {
                on.fail(
                    "the store was reset: what was compared is not its log any more",
                    None,
                );
                continue;
            }
            if self.is_deleting() {
                on.fail("the store is being deleted", None);
                continue;
            }
            if let Some(lines) = on.lines.take() {
                return Step::Tell(lines);
            }
            match self.advance(on, now_ms) {
                Ok(Some(step)) => {
                    if on.repair != Repair::No && matches!(step, Step::Ask(_)) {
                        self.repairs.send(now_ms);
                    }
                    return step;
                }
                Ok(None) => {}
                Err(Trouble(message)) => on.fail(&message, Some(on.next())),
            }
        }
    }

    fn advance(
        &self,
        on: &mut Verification<S::Text>,
        now_ms: u64,
    ) -> Result<Option<Step<S::Text>>, Trouble> {
        let batch = match &on.state {
            State::Look => {
                on.copied = self.copied().unwrap_or(SeqNum::ROOT);
                self.store.look()
            }
            State::MakeTables => self.store.make_mirror(),
            State::Walk => {
                let is_compared = on.after.is_some_and(|after| after >= on.end.to_i64());
                on.state = if is_compared && on.segment.is_none() {
                    State::Tail
                } else if on.queries_left < RANGE_QUERIES + END_QUERIES {
                    State::Ending(Ending::Unfinished(Some(on.next())))
                } else if on.is_at_segment() {
                    State::Read
                } else {
                    let until = on.segment.map(|(first, _)| SeqNum::clamped(first - 1));
                    let until = match until {
                        // Rows above the end are in the mirror alone, as the segment behind them is.
                        Some(until) if is_compared => until,
                        until => until.unwrap_or(on.end).min(on.end),
                    };
                    State::Compare(self.store.range(on.after, until)?)
                };
                return Ok(None);
            }
            State::Compare(range) => self.store.compare(range),
            State::Rewrite(range, _) => self.store.rewrite(range, on.repair),
            State::Read => {
                let (first, last) = on.segment.unwrap_or_default();
                let [from, to] = [first.saturating_sub(1), last].map(SeqNum::clamped);
                let store = &self.store;
                let step = recall::fetch(store.store_id(), store.backend_id(), from, to, 1);
                on.queries_left = on.queries_left.saturating_sub(1);
                return Ok(Some(Step::Read(step)));
            }
            State::Unfold(Unfolding {
                last,
                made_at,
                text,
                ..
            }) => self.store.unfold(*last, made_at.as_deref(), text),
            State::Tail if on.queries_left < END_QUERIES => {
                on.state = State::Ending(Ending::Unfinished(Some(on.next())));
                return Ok(None);
            }
            State::Tail => {
                on.copied = self.copied().unwrap_or(SeqNum::ROOT);
                let from = on.end.max(on.next());
                self.store.tail(from, self.store.last_stored())
            }
            State::Count(_) => {
                let counted = self.store.tally(&mut on.tally, on.end)?;
                let Some(truth) = counted else {
                    return Ok(Some(Step::Pause));
                };
                self.judge(on, truth);
                return Ok(None);
            }
            State::Settle(Settling { seen, truth, to }) => {
                let now = iso_8601(now_ms);
                self.store
                    .settle(seen.head(), truth.as_ref(), on.end, *to, &now)
            }
            State::Ending(_) => return Ok(None),
        };
        Ok(Some(on.ask(batch)))
    }

    /// Decides what becomes of the end of the mirror, which should say `truth`.
    fn judge(&self, on: &mut Verification<S::Text>, truth: Option<Lifetime>) {
        let State::Count(seen) = std::mem::replace(&mut on.state, State::Walk) else {
            return;
        };
        let last_stored = self.store.last_stored().to_i64();
        let last_extra = seen.extra.last().copied();
        let to = match on.repair {
            Repair::FromLog => last_extra.map(|last| last.min(last_stored)),
            Repair::No | Repair::Discard => last_extra,
        };
        let to = to.unwrap_or(on.end.to_i64());
        // Were its head moved back to that of the log, what the mirror alone has would be written over.
        let is_kept = on.repair == Repair::FromLog
            && seen.head() > last_stored
            && last_extra.is_some_and(|last| last > last_stored);
        let has_more = seen.extra.first().is_some_and(|first| *first <= to);
        let is_right = seen.lifetime == truth && !has_more;
        if on.repair == Repair::No || is_kept || is_right {
            on.note_end(&seen, truth.as_ref(), None);
        } else {
            on.state = State::Settle(Settling { seen, truth, to });
        }
    }

    /// Takes note of what became of [`Step::Ask`].
    pub fn verified(&mut self, on: &mut Verification<S::Text>, outcome: Outcome) {
        if on.repair != Repair::No {
            self.repairs.answered(&outcome);
        }
        if on.backend_id != *self.store.backend_id() {
            // It ends at its next step.
            return;
        }
        let done = match outcome {
            Outcome::Mirrored(answer) => self.take_in(on, &answer),
            Outcome::Failed(message) | Outcome::Gone(message) => Self::fail_to_ask(on, &message),
            Outcome::Taken => Err(Trouble(SAID_NOTHING.to_owned())),
        };
        if let Err(Trouble(message)) = done {
            on.fail(&message, Some(on.next()));
        }
    }

    fn take_in(
        &mut self,
        on: &mut Verification<S::Text>,
        answer: &MirrorAnswer,
    ) -> Result<(), Trouble> {
        match std::mem::replace(&mut on.state, State::Walk) {
            State::Look if answer.version == Some(FORMER_VERSION) && !on.has_made_tables => {
                // Nothing is folded in them.
                on.has_made_tables = true;
                on.state = State::MakeTables;
            }
            State::Look => {
                check_version(answer)?;
                on.end = self.end_of_mirror(on, answer.head);
            }
            State::MakeTables => on.state = State::Look,
            State::Compare(range) => self.compared(on, range, answer)?,
            State::Rewrite(range, found) => {
                let is_written = check_version(answer);
                let repair = on.repair;
                on.note_found(&found, |Found(_, kind)| {
                    is_written.is_ok() && (kind != Found::EXTRA || repair == Repair::Discard)
                });
                is_written?;
                on.after = Some(range.to());
            }
            State::Unfold(Unfolding { found, .. }) => {
                let is_written = check_version(answer);
                on.note_found(&found, |_| is_written.is_ok());
                is_written?;
                on.segment = None;
            }
            State::Tail => {
                check_version(answer)?;
                on.segment = answer.segment;
                if on.segment.is_none() {
                    self.looked(on, answer)?;
                }
            }
            State::Settle(Settling { seen, truth, to }) => {
                if answer.moved.is_some() {
                    self.copied_no_further(on.end);
                    on.note_end(&seen, truth.as_ref(), Some(to));
                    return Ok(());
                }
                on.overtaken += 1;
                if let Err(message) = check_version(answer) {
                    on.note_end(&seen, truth.as_ref(), None);
                    return Err(message.into());
                }
                if on.overtaken == VERIFY_SETTLED_MAX {
                    on.note_end(&seen, truth.as_ref(), None);
                    let message =
                        "the end of the backup is copied all the time: repair it again later";
                    return Err(Trouble(message.to_owned()));
                }
                on.state = State::Tail;
            }
            other @ (State::Walk | State::Read | State::Count(_) | State::Ending(_)) => {
                on.state = other;
            }
        }
        Ok(())
    }

    /// D1 has not run what it was asked.
    fn fail_to_ask(on: &mut Verification<S::Text>, message: &str) -> Result<(), Trouble> {
        let message = format!("D1: {message}");
        match std::mem::replace(&mut on.state, State::Walk) {
            State::Look if lacks_tables(&message) && !on.has_made_tables => {
                on.has_made_tables = true;
                if on.repair != Repair::No {
                    on.state = State::MakeTables;
                    return Ok(());
                }
                if on.copied == SeqNum::ROOT {
                    on.state = State::Ending(Ending::Done);
                    return Ok(());
                }
            }
            State::Rewrite(_, found) | State::Unfold(Unfolding { found, .. }) => {
                on.note_found(&found, |_| false);
            }
            State::Settle(Settling { seen, truth, .. }) => {
                on.note_end(&seen, truth.as_ref(), None);
            }
            _ => {}
        }
        Err(message.into())
    }

    /// Where a mirror ends, or has to, that says that it ends at `head`.
    fn end_of_mirror(&self, on: &Verification<S::Text>, head: Option<i64>) -> SeqNum {
        let head = SeqNum::clamped(head.unwrap_or(0));
        head.max(on.copied).min(self.store.last_stored())
    }

    /// A range has been compared.
    fn compared(
        &self,
        on: &mut Verification<S::Text>,
        mut range: Range<S::Text>,
        answer: &MirrorAnswer,
    ) -> Result<(), Trouble> {
        let mut found = read_found(answer.found.as_deref())?;
        on.segment = answer.segment;
        if let Some((first, _)) = on.segment.filter(|(first, _)| *first <= range.to()) {
            range.end_at(first - 1);
            if first <= on.after.unwrap_or(0) + 1 {
                // Nothing comes before it.
                return Ok(());
            }
            found.retain(|found| found.0 <= range.to());
        }
        let mut extra = found.iter().filter(|found| found.1 == Found::EXTRA);
        if let Some(beyond) = extra.nth(VERIFY_EXTRA_MAX as usize) {
            // There may be more of them.
            range.end_at(beyond.0 - 1);
        }
        found.retain(|found| found.0 <= range.to());
        let chain = self.store.chain(&range)?;
        on.events += chain.events;
        for seq_num in chain.broken {
            on.note(Difference::Chain, seq_num, false);
        }
        let is_repaired = |found: &Found| match on.repair {
            Repair::No => false,
            Repair::FromLog => found.1 != Found::EXTRA,
            Repair::Discard => true,
        };
        if found.iter().any(is_repaired) {
            on.state = State::Rewrite(range, found);
        } else {
            on.note_found(&found, |_| false);
            on.after = Some(range.to());
        }
        Ok(())
    }

    /// Takes note of what became of [`Step::Read`].
    pub fn verified_segment(
        &mut self,
        on: &mut Verification<S::Text>,
        fetched: Result<Fetched<S::Text>, String>,
    ) {
        if on.backend_id != *self.store.backend_id() {
            // It ends at its next step.
            return;
        }
        on.state = State::Walk;
        if let Err(Trouble(message)) = self.compared_segment(on, fetched) {
            on.fail(&message, Some(on.next()));
        }
    }

    /// A segment has been read.
    fn compared_segment(
        &self,
        on: &mut Verification<S::Text>,
        fetched: Result<Fetched<S::Text>, String>,
    ) -> Result<(), Trouble> {
        let Some((first, last)) = on.segment.take() else {
            return Ok(());
        };
        let range = self.store.segment_range(on.after, last);
        let (text, made_at, next) = match fetched {
            Ok(Fetched {
                rows: Some(Rows::Many(text)),
                last: read,
                made_at,
                next_segment,
                ..
            }) if read.to_i64() == last => (Some(text), made_at, next_segment),
            // It is there no more.
            Ok(_) => return Ok(()),
            Err(message) if message.starts_with(recall::DAMAGED) => (None, None, None),
            Err(message) => return Err(Trouble(format!("D1: {message}"))),
        };
        let compared = text.as_ref();
        let compared = compared.and_then(|text| self.store.compare_segment(&range, text).ok());
        let is_damaged = compared.is_none();
        let found = match compared {
            Some(found) => found,
            // As if nothing was in it.
            None => self.store.compare_segment(&range, &self.store.text("[]"))?,
        };
        if on.repair != Repair::No && is_damaged {
            // What the log has not is not to be lost.
            if let Some(text) = self.text_instead(first, last)? {
                on.state = State::Unfold(Unfolding {
                    last,
                    made_at: None,
                    text,
                    found,
                });
                return Ok(());
            }
        } else if let Some(text) = text.filter(|_| on.repair != Repair::No && !found.is_empty()) {
            // The same events with rows of their own are compared again, and made right.
            on.state = State::Unfold(Unfolding {
                last,
                made_at,
                text,
                found: Vec::new(),
            });
            return Ok(());
        }
        let chain = self.store.chain(&range)?;
        on.events += chain.events;
        for seq_num in chain.broken {
            on.note(Difference::Chain, seq_num, false);
        }
        on.note_found(&found, |_| false);
        (on.after, on.segment) = (Some(last), next);
        Ok(())
    }

    /// The text of a segment as the log has it, if that has all of its events.
    fn text_instead(&self, first: i64, last: i64) -> Result<Option<S::Text>, StoreError> {
        let events = u64::try_from(last - first + 1).unwrap_or(0);
        let range = self.store.segment_range(Some(first - 1), last);
        if events > u64::from(SEGMENT_EVENTS_MAX) || self.store.chain(&range)?.events != events {
            return Ok(None);
        }
        let [first, last] = [first, last].map(SeqNum::clamped);
        Ok(self.store.segment_text(first, last).ok())
    }

    /// D1 has said how its mirror ends.
    fn looked(&self, on: &mut Verification<S::Text>, answer: &MirrorAnswer) -> Result<(), Trouble> {
        let said_nothing = || Trouble(SAID_NOTHING.to_owned());
        let lifetime = answer.lifetime.as_deref();
        let lifetime = lifetime.map(|json| Lifetime::read(json).ok_or_else(said_nothing));
        let lifetime = lifetime.transpose()?;
        let head = lifetime.as_ref().map(|lifetime| lifetime.head);
        on.end = self.end_of_mirror(on, head);
        let last_stored = self.store.last_stored().to_i64();
        // It may have been asked before these were pushed.
        let is_copied = |seq_num: i64| seq_num <= last_stored && head >= Some(seq_num);
        let found = read_found(answer.found.as_deref())?;
        let mut extra: Vec<i64> = found.iter().map(|found| found.0).collect();
        let is_cut = extra.len() > VERIFY_EXTRA_MAX as usize;
        extra.truncate(VERIFY_EXTRA_MAX as usize);
        let cut_after = extra.last().copied().filter(|_| is_cut);
        extra.retain(|seq_num| !is_copied(*seq_num));
        on.state = State::Count(Seen {
            lifetime,
            extra,
            cut_after,
        });
        Ok(())
    }
}

const SAID_NOTHING: &str = "D1 said nothing that could be read";

fn read_found(json: Option<&str>) -> Result<Vec<Found>, Trouble> {
    let found = json.and_then(Found::read);
    found.ok_or_else(|| Trouble(SAID_NOTHING.to_owned()))
}
