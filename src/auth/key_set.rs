//! The keys of `JWT_JWKS_URL` as they are kept between requests.
//!
//! Owns when the set is fetched: when there is none, when it is old, and when a token names a key that is
//! not in it, but then at most once a minute, so that made-up names cost nothing. Who fetches it tells what
//! came of it. The set is a fact of its address, whoever asks for it.

use crate::limits::{JWKS_AGE_MAX_MS, JWKS_RETRY_MS};

/// A key set, if it has been had yet. `K` are its keys, as the host has read them.
#[derive(Clone, Debug)]
pub struct KeySet<K> {
    kept: Option<Kept<K>>,
    /// When it was last asked for, whatever came of it.
    asked_at_ms: u64,
}

#[derive(Clone, Debug)]
struct Kept<K> {
    keys: K,
    fetched_at_ms: u64,
}

impl<K> Default for KeySet<K> {
    fn default() -> Self {
        Self {
            kept: None,
            asked_at_ms: 0,
        }
    }
}

impl<K: Clone> KeySet<K> {
    /// The keys to verify with; `None` when the set is to be fetched, now.
    pub fn current(&mut self, now_ms: u64) -> Option<K> {
        self.no_older_than(JWKS_AGE_MAX_MS, now_ms)
    }

    /// The keys to look again in for one that the current ones lack; `None` when the set is to be fetched,
    /// now.
    pub fn newer(&mut self, now_ms: u64) -> Option<K> {
        self.no_older_than(0, now_ms)
    }

    fn no_older_than(&mut self, age_max_ms: u64, now_ms: u64) -> Option<K> {
        if let Some(kept) = &self.kept {
            let is_current = now_ms.saturating_sub(kept.fetched_at_ms) <= age_max_ms;
            let was_just_asked = now_ms.saturating_sub(self.asked_at_ms) < JWKS_RETRY_MS;
            if is_current || was_just_asked {
                return Some(kept.keys.clone());
            }
        }
        self.asked_at_ms = now_ms;
        None
    }

    /// Takes what a fetch that began at `asked_at_ms` brought, and gives the keys to verify with. Better an
    /// old set than nobody.
    ///
    /// # Errors
    /// It brought nothing, and there never was a set.
    pub fn fetched(&mut self, keys: Result<K, String>, asked_at_ms: u64) -> Result<K, String> {
        match (keys, &self.kept) {
            (Ok(keys), _) => {
                self.kept = Some(Kept {
                    keys: keys.clone(),
                    fetched_at_ms: asked_at_ms,
                });
                Ok(keys)
            }
            (Err(_), Some(kept)) => Ok(kept.keys.clone()),
            (Err(message), None) => Err(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_MS: u64 = 1_700_000_000_000;

    /// A set that has been fetched at the start.
    fn fetched() -> KeySet<&'static str> {
        let mut set = KeySet::default();
        assert!(set.current(START_MS).is_none());
        let had = set.fetched(Ok("a"), START_MS).unwrap();
        assert_eq!(had, "a");
        set
    }

    #[test]
    fn a_set_is_kept_for_ten_minutes() {
        let mut set = fetched();
        for later_ms in [0, 1, JWKS_AGE_MAX_MS] {
            let kept = set.current(START_MS + later_ms);
            assert_eq!(kept, Some("a"), "{later_ms}");
        }
        let now_ms = START_MS + JWKS_AGE_MAX_MS + 1;
        assert!(set.current(now_ms).is_none());
        let had = set.fetched(Ok("b"), now_ms).unwrap();
        assert_eq!(had, "b");
        assert_eq!(set.current(now_ms + JWKS_AGE_MAX_MS), Some("b"));
    }

    #[test]
    fn a_key_that_is_not_in_it_is_looked_for_once_a_minute() {
        let mut set = fetched();
        assert!(set.newer(START_MS + JWKS_RETRY_MS - 1).is_some());
        let now_ms = START_MS + JWKS_RETRY_MS;
        assert!(set.newer(now_ms).is_none());
        assert!(set.newer(now_ms).is_some(), "it is asked for already");
        set.fetched(Ok("b"), now_ms).unwrap();
        assert!(set.newer(now_ms + JWKS_RETRY_MS - 1).is_some());
        assert!(set.newer(now_ms + JWKS_RETRY_MS).is_none());
    }

    #[test]
    fn an_old_set_counts_while_there_is_no_other_and_is_tried_again_once_a_minute() {
        let mut set = fetched();
        let now_ms = START_MS + JWKS_AGE_MAX_MS + 1;
        assert!(set.current(now_ms).is_none());
        let had = set.fetched(Err("out of order".to_owned()), now_ms).unwrap();
        assert_eq!(had, "a");
        assert!(set.current(now_ms + JWKS_RETRY_MS - 1).is_some());
        assert!(set.current(now_ms + JWKS_RETRY_MS).is_none());
    }

    #[test]
    fn without_a_set_each_request_asks_for_it() {
        let mut set = KeySet::<&str>::default();
        for _ in 0..3 {
            assert!(set.current(START_MS).is_none());
            let failure = set.fetched(Err("out of order".to_owned()), START_MS);
            assert_eq!(failure.unwrap_err(), "out of order");
        }
    }
}
