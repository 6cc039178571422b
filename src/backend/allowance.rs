//! How often clients may push: `PUSH_RATE`, for the store as a whole and for each subject that a token names.

use std::collections::BTreeMap;

use crate::auth::Grant;
use crate::limits::{PUSH_BURST_S, PUSH_DELAY_MS_MAX, SUBJECTS_KEPT};

/// What is left of the rate. A connection that ends gives nothing back: another one of the same subject finds
/// what it left.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    /// Of those whose token names nobody.
    nobody: Allowance,
    /// By subject, the claim `sub`.
    subjects: BTreeMap<String, Allowance>,
}

impl Allowances {
    /// Takes one push at `rate` per second for whom `grant` names: in how many milliseconds it may be done, if
    /// that is soon.
    pub(super) fn take(&mut self, grant: &Grant, rate: u32, now_ms: u64) -> Option<u64> {
        let Some(subject) = grant.subject() else {
            return self.nobody.take(rate, now_ms);
        };
        if !self.subjects.contains_key(subject) && self.subjects.len() >= SUBJECTS_KEPT {
            // Those who have not pushed for so long that all is left to them need no entry.
            self.subjects.retain(|_, one| !one.is_full(rate, now_ms));
            if self.subjects.len() >= SUBJECTS_KEPT {
                return self.nobody.take(rate, now_ms);
            }
        }
        let allowance = self.subjects.entry(subject.to_owned()).or_default();
        allowance.take(rate, now_ms)
    }
}

/// What is left of a rate: it refills with time, up to a burst.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// Thousandths of a push, below 0 where pushes wait; `None` before the first.
    left: Option<i64>,
    at_ms: u64,
}

/// Thousandths of a push.
const PUSH: i64 = 1_000;

impl Allowance {
    /// Takes one push at `rate` per second: in how many milliseconds it may be done, if that is soon.
    fn take(&mut self, rate: u32, now_ms: u64) -> Option<u64> {
        let left = self.left(rate, now_ms);
        (self.left, self.at_ms) = (Some(left), now_ms);
        let missing = u64::try_from(PUSH - left).unwrap_or(0);
        let wait_ms = missing.div_ceil(u64::from(rate));
        if wait_ms > PUSH_DELAY_MS_MAX {
            return None;
        }
        self.left = Some(left - PUSH);
        Some(wait_ms)
    }

    fn left(&self, rate: u32, now_ms: u64) -> i64 {
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        let refill = i64::from(rate).saturating_mul(elapsed_ms);
        let full = Self::full(rate);
        self.left
            .map_or(full, |left| left.saturating_add(refill).min(full))
    }

    fn is_full(&self, rate: u32, now_ms: u64) -> bool {
        self.left(rate, now_ms) == Self::full(rate)
    }

    fn full(rate: u32) -> i64 {
        i64::from(rate) * PUSH_BURST_S * PUSH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(claims: Option<&str>) -> Grant {
        Grant {
            claims: claims.map(str::to_owned),
            ..Grant::default()
        }
    }

    /// How many of 100 pushes are done at once, and how many after a wait.
    fn taken(allowances: &mut Allowances, grant: &Grant, now_ms: u64) -> (usize, usize) {
        let waits: Vec<_> = (0..100)
            .map(|_| allowances.take(grant, 2, now_ms))
            .collect();
        let waiting = waits.iter().flatten().filter(|wait_ms| **wait_ms > 0);
        let at_once = waits.iter().filter(|wait_ms| **wait_ms == Some(0));
        (at_once.count(), waiting.count())
    }

    #[test]
    fn a_burst_then_the_rate_with_those_who_wait_for_it() {
        let (mut allowances, nobody) = (Allowances::default(), grant(None));
        for (now_ms, count) in [
            (1_000_000, (20, 20)),
            (1_000_400, (0, 0)),
            (1_000_500, (0, 1)),
            (1_003_500, (0, 6)),
            (9_000_000, (20, 20)),
            // A clock that goes back takes nothing away.
            (5, (0, 0)),
        ] {
            assert_eq!(taken(&mut allowances, &nobody, now_ms), count, "{now_ms}");
        }
    }

    #[test]
    fn each_waits_for_its_turn() {
        let (mut allowances, nobody) = (Allowances::default(), grant(None));
        let waits: Vec<_> = (0..24).map(|_| allowances.take(&nobody, 2, 0)).collect();
        let last: Vec<_> = waits.into_iter().skip(19).flatten().collect();
        assert_eq!(last, [0, 500, 1_000, 1_500, 2_000]);
        // Nothing is lost by asking too late.
        assert_eq!(allowances.take(&nobody, 2, 2_000), Some(500));
    }

    #[test]
    fn each_subject_has_its_own_whichever_connection_it_uses() {
        let mut allowances = Allowances::default();
        let (one, other) = (grant(Some(r#"{"sub":"a"}"#)), grant(Some(r#"{"sub":"b"}"#)));
        let same = grant(Some(r#"{"iat":7,"sub":"a"}"#));
        assert_eq!(taken(&mut allowances, &one, 0), (20, 20));
        assert_eq!(taken(&mut allowances, &same, 0), (0, 0));
        assert_eq!(taken(&mut allowances, &other, 0), (20, 20));
        assert_eq!(taken(&mut allowances, &grant(Some("{}")), 0), (20, 20));
        assert_eq!(taken(&mut allowances, &grant(None), 0), (0, 0));
    }

    #[test]
    fn made_up_subjects_share_one_allowance_once_there_are_too_many() {
        let mut allowances = Allowances::default();
        let subject = |number: usize| grant(Some(&format!(r#"{{"sub":{number}}}"#)));
        for number in 0..SUBJECTS_KEPT {
            assert_eq!(allowances.take(&subject(number), 2, 0), Some(0));
        }
        let more =
            (0..100).filter_map(|more| allowances.take(&subject(SUBJECTS_KEPT + more), 2, 0));
        assert_eq!(more.filter(|wait_ms| *wait_ms == 0).count(), 20);
        // A burst later all of them are forgotten.
        assert_eq!(
            taken(&mut allowances, &subject(usize::MAX), 10_000),
            (20, 20)
        );
        assert_eq!(allowances.subjects.len(), 1);
    }
}
