//! What is refused before a store is reached, and how often it is told in the log.
//!
//! A browser shows its user nothing of a refused upgrade, so the log has to. But whoever is refused tries
//! again, and whoever is not let in could fill it: each reason is told once a minute.

use crate::event::StoreId;
use crate::limits::REFUSAL_TOLD_MS;

/// Why somebody is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The token is missing or wrong.
    Token,
    /// A page of another origin, that `ALLOWED_ORIGINS` does not list.
    Origin,
    /// The deployment does not say who may connect.
    NoPolicy,
    /// A variable does not parse.
    Configuration,
    /// There is no Durable Object binding.
    NoBinding,
    /// The keys of `JWT_JWKS_URL` cannot be had.
    NoKeys,
    /// What is to be kept of a request is too large to be kept with a connection.
    LargeGrant,
    /// `ENABLED_TRANSPORTS` does not list the transport.
    Transport,
    /// The app's hook refused it.
    Hook,
    /// The secret of the administration is missing or wrong.
    AdminSecret,
}

impl Reason {
    /// All of them, in the order of their numbers.
    const ALL: [Self; 10] = [
        Self::Token,
        Self::Origin,
        Self::NoPolicy,
        Self::Configuration,
        Self::NoBinding,
        Self::NoKeys,
        Self::LargeGrant,
        Self::Transport,
        Self::Hook,
        Self::AdminSecret,
    ];

    /// Its name in a log line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Origin => "origin",
            Self::NoPolicy => "no-policy",
            Self::Configuration => "configuration",
            Self::NoBinding => "no-binding",
            Self::NoKeys => "no-keys",
            Self::LargeGrant => "large-grant",
            Self::Transport => "transport",
            Self::Hook => "hook",
            Self::AdminSecret => "admin-secret",
        }
    }
}

/// A refusal, as the log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// The store that was asked for, as far as that is known.
    pub store_id: Option<StoreId>,
    /// The sentence that the client got. It holds no token.
    pub message: String,
}

/// What has been told of the refusals of a Worker.
#[derive(Debug, Default)]
pub struct Refusals([Told; Reason::ALL.len()]);

#[derive(Debug, Default)]
struct Told {
    at_ms: Option<u64>,
    /// Refusals since, which have not been told.
    suppressed: u64,
}

impl Refusals {
    /// Whether a refusal is to be told now, and then how many for the same reason have not been since the last
    /// that was.
    pub fn tell(&mut self, reason: Reason, now_ms: u64) -> Option<u64> {
        let told = self.0.get_mut(reason as usize)?;
        let is_recent = |at_ms: u64| now_ms.saturating_sub(at_ms) < REFUSAL_TOLD_MS;
        if told.at_ms.is_some_and(is_recent) {
            told.suppressed += 1;
            return None;
        }
        told.at_ms = Some(now_ms);
        Some(std::mem::take(&mut told.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn each_reason_is_told_once_a_minute_with_how_many_were_not() {
        let mut refusals = Refusals::default();
        assert_eq!(refusals.tell(Reason::Token, NOW_MS), Some(0));
        for later_ms in [0, 1, REFUSAL_TOLD_MS - 1] {
            assert_eq!(refusals.tell(Reason::Token, NOW_MS + later_ms), None);
        }
        for reason in &Reason::ALL[1..] {
            assert_eq!(refusals.tell(*reason, NOW_MS), Some(0), "{reason:?}");
        }
        let next_ms = NOW_MS + REFUSAL_TOLD_MS;
        assert_eq!(refusals.tell(Reason::Token, next_ms), Some(3));
        assert_eq!(refusals.tell(Reason::Token, next_ms), None);
        let then_ms = next_ms + 10 * REFUSAL_TOLD_MS;
        assert_eq!(refusals.tell(Reason::Token, then_ms), Some(1));
        assert_eq!(
            refusals.tell(Reason::Token, then_ms + REFUSAL_TOLD_MS),
            Some(0)
        );
    }

    #[test]
    fn reasons_have_names_and_numbers_of_their_own() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            let same = Reason::ALL
                .iter()
                .filter(|other| other.name() == reason.name());
            assert_eq!(same.count(), 1);
        }
    }
}
