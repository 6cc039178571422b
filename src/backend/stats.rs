//! What has been counted since the object woke. It is lost with the object's memory, as counters may be:
//! those who read them see that they start again.

use std::collections::VecDeque;
use std::rc::Rc;

use super::refusal::{Reason, Refusal};
use super::report::{BackupTrouble, Folded, Report};
use crate::event::SeqNum;
use crate::limits::{ERRORS_KEPT, STUCK_CLIENTS_KEPT, STUCK_REFUSALS};

/// Upper bounds of a histogram's buckets, in milliseconds; one without bound follows.
pub(super) const BUCKETS_MS: [u64; 10] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000];

/// What is measured, from its beginning to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duration {
    /// A request over HTTP or DO-RPC.
    Request,
    /// A frame with hooks, theirs included.
    Frame,
    /// A call to a client object.
    Call,
}

impl Duration {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Request, Self::Frame, Self::Call];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Frame => "frame",
            Self::Call => "call",
        }
    }
}

/// How long something took, each time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Histogram {
    /// How many fell into each of [`BUCKETS_MS`], those below included.
    pub buckets: [u64; BUCKETS_MS.len()],
    /// How many in all.
    pub count: u64,
    /// Milliseconds in all.
    pub sum_ms: u64,
}

impl Histogram {
    fn observe(&mut self, ms: u64) {
        for (bucket, bound) in self.buckets.iter_mut().zip(BUCKETS_MS) {
            *bucket += u64::from(ms <= bound);
        }
        self.count += 1;
        self.sum_ms += ms;
    }
}

/// Who asked for something, as far as that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// As it calls itself in its events.
    pub client_id: Option<Rc<str>>,
    /// As its token calls it, the claim `sub`.
    pub subject: Option<String>,
}

/// An error that a client or the log was told.
#[derive(Clone, Debug)]
pub struct PastError {
    /// Who was told.
    pub who: Who,
    /// When, in milliseconds since the epoch.
    pub at_ms: u64,
    /// As it is counted.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// A client that pushes without knowing the head.
#[derive(Clone, Debug)]
pub struct Refused {
    /// As it calls itself in its events.
    pub client_id: String,
    /// Refusals in a row.
    pub refusals: u32,
    /// What its last push continued from.
    pub provided: SeqNum,
    /// What the head was then.
    pub head: SeqNum,
}

impl Refused {
    /// The last refusal.
    #[must_use]
    pub fn last(&self) -> Refusal {
        let (head, provided) = (self.head, self.provided);
        Refusal::ServerAhead { head, provided }
    }
}

/// The counters of one object.
#[derive(Debug, Default)]
pub struct Stats {
    /// Pushes that were stored.
    pub pushes: u64,
    /// Pushes that repeated what was stored.
    pub pushes_repeated: u64,
    /// Events that were stored.
    pub events: u64,
    /// Pulls that were answered.
    pub pulls: u64,
    /// Pages that were sent for pulls.
    pub pages: u64,
    /// Frames and calls in which a push was published.
    pub deliveries: u64,
    /// Calls that client objects did not take.
    pub calls_failed: u64,
    /// Sockets that were accepted.
    pub connections: u64,
    /// Events that were copied to the backup.
    pub copied: u64,
    /// Events of the backup that were folded.
    pub folded: Folded,
    /// Times that this failed.
    pub compactions_failed: u64,
    backup_failures: [u64; BackupTrouble::ALL.len()],
    refusals: [u64; Reason::ALL.len()],
    durations: [Histogram; Duration::ALL.len()],
    errors: VecDeque<PastError>,
    refused: Vec<Refused>,
}

impl Stats {
    /// Refusals for `reason`.
    #[must_use]
    pub fn refusals(&self, reason: Reason) -> u64 {
        self.refusals.get(reason as usize).copied().unwrap_or(0)
    }

    /// Batches of the backup that failed with `trouble`.
    #[must_use]
    pub fn backup_failures(&self, trouble: BackupTrouble) -> u64 {
        self.backup_failures
            .get(trouble as usize)
            .copied()
            .unwrap_or(0)
    }

    /// Counts a batch of the backup that failed.
    pub(super) fn fail_backup(&mut self, trouble: BackupTrouble) {
        if let Some(count) = self.backup_failures.get_mut(trouble as usize) {
            *count += 1;
        }
    }

    /// How long `what` took, each time.
    #[must_use]
    pub fn duration(&self, what: Duration) -> Histogram {
        self.durations
            .get(what as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The last errors, the newest last.
    pub fn errors(&self) -> impl Iterator<Item = &PastError> {
        self.errors.iter()
    }

    /// Clients that have been refused too often in a row.
    pub fn stuck_clients(&self) -> impl Iterator<Item = &Refused> {
        self.refused
            .iter()
            .filter(|refused| refused.refusals >= STUCK_REFUSALS)
    }

    /// Counts a refusal. Lost races are routine, and no error to keep.
    pub fn refuse(&mut self, refusal: &Refusal, who: Who, now_ms: u64) {
        let reason = refusal.reason();
        self.count(reason);
        if reason != Reason::ServerAhead {
            self.keep_error(reason, &refusal.to_string(), who, now_ms);
        }
    }

    /// Counts a connection that was closed because its client takes nothing.
    pub(super) fn stalled(&mut self, report: &Report, who: Who, now_ms: u64) {
        self.count(Reason::Memory);
        self.keep_error(Reason::Memory, &report.to_string(), who, now_ms);
    }

    fn count(&mut self, reason: Reason) {
        if let Some(count) = self.refusals.get_mut(reason as usize) {
            *count += 1;
        }
    }

    fn keep_error(&mut self, reason: Reason, message: &str, who: Who, now_ms: u64) {
        if self.errors.len() == ERRORS_KEPT {
            self.errors.pop_front();
        }
        self.errors.push_back(PastError {
            who,
            at_ms: now_ms,
            reason,
            message: message.chars().take(300).collect(),
        });
    }

    /// Takes note of how long `what` took.
    pub fn observe(&mut self, what: Duration, ms: u64) {
        if let Some(histogram) = self.durations.get_mut(what as usize) {
            histogram.observe(ms);
        }
    }

    /// Takes note that `client_id` lost a race: it continued from `provided` when the head was `head`. How many in a row,
    /// if that makes it stuck just now.
    pub(super) fn lost_race(
        &mut self,
        client_id: &str,
        head: SeqNum,
        provided: SeqNum,
    ) -> Option<u32> {
        let known = self
            .refused
            .iter_mut()
            .find(|one| one.client_id == client_id);
        let refusals = if let Some(known) = known {
            known.refusals = known.refusals.saturating_add(1);
            (known.provided, known.head) = (provided, head);
            known.refusals
        } else {
            if self.refused.len() == STUCK_CLIENTS_KEPT {
                self.refused.remove(0);
            }
            let client_id = client_id.to_owned();
            self.refused.push(Refused {
                client_id,
                refusals: 1,
                provided,
                head,
            });
            1
        };
        (refusals == STUCK_REFUSALS).then_some(refusals)
    }

    /// Takes note that `client_id` got something stored.
    pub(super) fn won_race(&mut self, client_id: &str) {
        if !self.refused.is_empty() {
            self.refused.retain(|one| one.client_id != client_id);
        }
    }

    /// Forgets who lost races: the log they were about is gone.
    pub(super) fn forget_races(&mut self) {
        self.refused.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::HookError;
    use crate::wire::Malformed;

    fn errors(stats: &Stats) -> Vec<&str> {
        stats.errors().map(|error| &*error.message).collect()
    }

    #[test]
    fn what_a_client_made_up_is_not_kept() {
        let mut stats = Stats::default();
        for message in [
            "Unknown request tag: made up",
            "Unknown request tag: made tag: up",
            "SyncWsRpc.Push: payload: seqNum is missing at column 7",
        ] {
            let message = message.to_owned();
            let malformed = Malformed::Message { message };
            stats.refuse(&Refusal::of_message(&malformed), Who::default(), 0);
        }
        let kept = "SyncWsRpc.Push: payload: seqNum is missing at column 7";
        let unknown = "Unknown request";
        assert_eq!(errors(&stats), [unknown, unknown, kept]);
        assert_eq!(stats.refusals(Reason::Malformed), 3);
    }

    #[test]
    fn every_reason_is_counted_on_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.map(Reason::name).into();
        assert_eq!(names.len(), Reason::ALL.len());
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn the_last_errors_are_kept_and_lost_races_are_none() {
        let mut stats = Stats::default();
        for number in 0..ERRORS_KEPT + 5 {
            let (head, provided) = (SeqNum::ROOT, SeqNum::ROOT);
            let nobody = Who::default;
            stats.refuse(&Refusal::ServerAhead { head, provided }, nobody(), 0);
            let refused = Refusal::Hook(HookError::new(number.to_string()));
            stats.refuse(&refused, nobody(), 0);
        }
        assert_eq!(errors(&stats).len(), ERRORS_KEPT);
        assert_eq!(errors(&stats).first(), Some(&"5"));
        assert_eq!(
            stats.refusals(Reason::ServerAhead),
            stats.refusals(Reason::Hook)
        );
    }

    #[test]
    fn a_client_is_stuck_once_and_until_it_wins_or_the_log_is_gone() {
        let mut stats = Stats::default();
        let lose = |stats: &mut Stats, head: i64| {
            stats.lost_race("a", SeqNum::from(head), SeqNum::from(head / 2))
        };
        let told: Vec<u32> = (1..=2 * i64::from(STUCK_REFUSALS))
            .filter_map(|head| lose(&mut stats, head))
            .collect();
        assert_eq!(told, [STUCK_REFUSALS]);
        let stuck: Vec<String> = stats
            .stuck_clients()
            .map(|stuck| stuck.last().to_string())
            .collect();
        assert_eq!(stuck, ["a push continued from 10, but the head is 20"]);
        stats.won_race("another");
        assert_eq!(stats.stuck_clients().count(), 1);
        stats.won_race("a");
        assert_eq!(stats.stuck_clients().count(), 0);
        for _ in 0..STUCK_REFUSALS {
            lose(&mut stats, 1);
        }
        stats.forget_races();
        assert_eq!(stats.stuck_clients().count(), 0);
    }
}
