//! How often clients may push: `PUSH_RATE`, for the store as a whole and for each subject that a token names.

use std::collections::HashMap;

use crate::auth::Grant;
use crate::json;
use crate::limits::{PUSH_BURST_S, SUBJECTS_KEPT};

/// What is left of the rate. A connection that ends gives nothing back: another one of the same subject finds
/// what it left.
#[derive(Debug, Default)]
pub(super) struct Allowances {
    /// Of those whose token names nobody.
    nobody: Allowance,
    /// By subject, the claim `sub`.
    subjects: HashMap<String, Allowance>,
}

impl Allowances {
    /// Takes one push at `rate` per second, if there is one for whom `grant` names.
    pub(super) fn take(&mut self, grant: &Grant, rate: u32, now_ms: u64) -> bool {
        let Some(subject) = subject(grant) else {
            return self.nobody.take(rate, now_ms);
        };
        if !self.subjects.contains_key(&subject) && self.subjects.len() >= SUBJECTS_KEPT {
            // Those who have not pushed for so long that all is left to them need no entry.
            self.subjects.retain(|_, one| !one.is_full(rate, now_ms));
            if self.subjects.len() >= SUBJECTS_KEPT {
                return self.nobody.take(rate, now_ms);
            }
        }
        let allowance = self.subjects.entry(subject).or_default();
        allowance.take(rate, now_ms)
    }
}

/// Whom a token names.
fn subject(grant: &Grant) -> Option<String> {
    let mut subject = None;
    let read = json::read(grant.claims.as_deref()?, |reader| {
        reader.object(|reader, key| {
            if key != "sub" {
                return reader.skip();
            }
            subject = Some(reader.raw()?.to_owned());
            Ok(())
        })
    });
    read.ok().and(subject)
}

/// What is left of a rate: it refills with time, up to a burst.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    /// Thousandths of a push; `None` before the first.
    left: Option<u64>,
    at_ms: u64,
}

/// Thousandths of a push.
const PUSH: u64 = 1_000;

impl Allowance {
    /// Takes one push at `rate` per second, if there is one.
    fn take(&mut self, rate: u32, now_ms: u64) -> bool {
        let left = self.left(rate, now_ms);
        let is_allowed = left >= PUSH;
        self.left = Some(if is_allowed { left - PUSH } else { left });
        self.at_ms = now_ms;
        is_allowed
    }

    fn left(&self, rate: u32, now_ms: u64) -> u64 {
        let rate = u64::from(rate);
        let full = rate * PUSH_BURST_S * PUSH;
        let refill = rate.saturating_mul(now_ms.saturating_sub(self.at_ms));
        self.left
            .map_or(full, |left| left.saturating_add(refill).min(full))
    }

    fn is_full(&self, rate: u32, now_ms: u64) -> bool {
        self.left(rate, now_ms) == u64::from(rate) * PUSH_BURST_S * PUSH
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

    fn taken(allowances: &mut Allowances, grant: &Grant, now_ms: u64) -> usize {
        std::iter::repeat_with(|| allowances.take(grant, 2, now_ms))
            .take(100)
            .filter(|taken| *taken)
            .count()
    }

    #[test]
    fn a_burst_then_the_rate() {
        let (mut allowances, nobody) = (Allowances::default(), grant(None));
        for (now_ms, count) in [
            (1_000_000, 20),
            (1_000_400, 0),
            (1_000_500, 1),
            (1_003_500, 6),
            (9_000_000, 20),
            // A clock that goes back takes nothing away.
            (5, 0),
        ] {
            assert_eq!(taken(&mut allowances, &nobody, now_ms), count, "{now_ms}");
        }
    }

    #[test]
    fn each_subject_has_its_own_whichever_connection_it_uses() {
        let mut allowances = Allowances::default();
        let (one, other) = (grant(Some(r#"{"sub":"a"}"#)), grant(Some(r#"{"sub":"b"}"#)));
        let same = grant(Some(r#"{"iat":7,"sub":"a"}"#));
        assert_eq!(taken(&mut allowances, &one, 0), 20);
        assert_eq!(taken(&mut allowances, &same, 0), 0);
        assert_eq!(taken(&mut allowances, &other, 0), 20);
        assert_eq!(taken(&mut allowances, &grant(Some("{}")), 0), 20);
        assert_eq!(taken(&mut allowances, &grant(None), 0), 0);
    }

    #[test]
    fn made_up_subjects_share_one_allowance_once_there_are_too_many() {
        let mut allowances = Allowances::default();
        let subject = |number: usize| grant(Some(&format!(r#"{{"sub":{number}}}"#)));
        for number in 0..SUBJECTS_KEPT {
            assert!(allowances.take(&subject(number), 2, 0));
        }
        let more = (0..100).filter(|more| allowances.take(&subject(SUBJECTS_KEPT + more), 2, 0));
        assert_eq!(more.count(), 20);
        // A burst later all of them are forgotten.
        let later_ms = 1_000 * PUSH_BURST_S;
        assert_eq!(taken(&mut allowances, &subject(usize::MAX), later_ms), 20);
        assert_eq!(allowances.subjects.len(), 1);
    }
}
