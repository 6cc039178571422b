//! How often a client may push: `PUSH_RATE`.

use crate::limits::PUSH_BURST_S;

/// What is left of a rate: it refills with time, up to a burst.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    /// Thousandths of a push; `None` before the first.
    left: Option<u64>,
    at_ms: u64,
}

impl Allowance {
    /// Takes one push at `rate` per second, if there is one.
    pub(super) fn take(&mut self, rate: u32, now_ms: u64) -> bool {
        const PUSH: u64 = 1_000;
        let rate = u64::from(rate);
        let full = rate * PUSH_BURST_S * PUSH;
        let refill = rate.saturating_mul(now_ms.saturating_sub(self.at_ms));
        let left = self
            .left
            .map_or(full, |left| left.saturating_add(refill).min(full));
        let is_allowed = left >= PUSH;
        self.left = Some(if is_allowed { left - PUSH } else { left });
        self.at_ms = now_ms;
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let mut allowance = Allowance::default();
        let taken = |allowance: &mut Allowance, now_ms| {
            std::iter::repeat_with(|| allowance.take(2, now_ms))
                .take(100)
                .filter(|taken| *taken)
                .count()
        };
        assert_eq!(taken(&mut allowance, 1_000_000), 20);
        assert_eq!(taken(&mut allowance, 1_000_400), 0);
        assert_eq!(taken(&mut allowance, 1_000_500), 1);
        assert_eq!(taken(&mut allowance, 1_003_500), 6);
        assert_eq!(taken(&mut allowance, 9_000_000), 20);
        // A clock that goes back takes nothing away.
        assert_eq!(taken(&mut allowance, 5), 0);
    }
}
