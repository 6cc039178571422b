//! Whether a simulation has met what it is for: one in which something never happens proves nothing about it.

use std::fmt;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident)*) => {
        /// Something that happens.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            const ALL: &[Self] = &[$(Self::$kind,)*];
        }
    };
}

kinds! {
    Stored
    Repeated
    LostRace
    RefusedByHook
    RefusedAfterStoring
    RefusedPull
    RefusedPage
    Malformed
    OtherStore
    OtherLifetime
    ReadOnly
    RefusedForNow
    Expired
    PushDelayed
    PushBeyondRate
    StoreFull
    Pages
    Broadcasts
    PlainBroadcasts
    /// A client of 0.3 was sent what its push had shown it to lack.
    PlainMissing
    FoldedIntoPages
    SlowListeners
    PagesAfterWaking
    HttpStreams
    AnswersAwaitingReader
    CutAnswers
    AbandonedAnswers
    SlowVerdicts
    VerdictsForNobody
    InterruptedPush
    InterruptedPull
    Probes
    Believers
    UnknownPull
    Calls
    CallsFailed
    CallsHanging
    CallsRepeated
    ObjectsGone
    ObjectsDropped
    Unsubscribed
    ResetTold
    Committed
    CommittedFailed
    CommittedHanging
    CommittedRepeated
    CommittedRemoved
    LateOutcomes
    Copies
    CopiesFailed
    /// D1 has run a batch, and its answer is lost.
    CopiesUnheard
    CopiesHanging
    CopiesLate
    /// The object was lost while D1 was asked something, and its alarm went off again.
    AlarmsRepeated
    Resets
    PlainResets
    Evictions
    /// Somebody else has changed rows, and it was noticed in the middle of work.
    RowsChanged
    /// Somebody else took the log away, and brought it back.
    LogsAway
    /// Somebody else began another lifetime.
    LogsReplaced
    /// The object was lost while it worked, what it had done so far being stored.
    Traps
    /// The same, and nothing of it stored.
    RolledBack
    /// Another object of the isolate ended the instance.
    Bystanders
    StorageFailures
    NotOpened
    Alarms
    LateAlarms
    DoubledAlarms
    ClockBack
    Disconnected
    TakesNothing
    Paused
    ConvergedUnvisited
    Converged
}

/// How often each kind has happened.
#[derive(Clone, Debug)]
pub(super) struct Seen([u64; Kind::ALL.len()]);

impl Seen {
    pub(super) fn new() -> Self {
        Self([0; Kind::ALL.len()])
    }

    pub(super) fn count(&mut self, kind: Kind) {
        self.0[kind as usize] += 1;
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count += more;
        }
    }

    /// What never happened.
    pub(super) fn missing(&self) -> Vec<Kind> {
        let kinds = Kind::ALL.iter().copied();
        kinds.filter(|kind| self.0[*kind as usize] == 0).collect()
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (kind, count) in Kind::ALL.iter().zip(self.0) {
            write!(f, "{kind:?} {count}, ")?;
        }
        Ok(())
    }
}
