//! Whether a log that sync-cf kept in D1 is adopted, and by which plan: an object that has none itself meets its first
//! contact, or an operator has decided.
//!
//! A store's log is adopted by itself only if its object says that it is its own, by a head that it stored. Everything
//! that could lose or mix events is an operator's decision.

use super::plan::{Adopted, Plan, Source};
use crate::event::{BackendId, StoreId};
use crate::route::admin::{Adopt, AdoptHead};
use crate::store::Glance;
use crate::store::recall::Holdings;

/// What D1 has of a store's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// What it holds; `None`: there is no such table.
    pub holdings: Option<Holdings>,
    /// The store that has taken it, if one has.
    pub owner: Option<String>,
}

/// Who wants it.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// The store's first contact; whether a log is taken that the object does not know to be its own.
    ByContact {
        /// `RESTORE_EMPTY` is `auto`.
        unproven: bool,
    },
    /// An operator.
    ByOperator(&'a Adopt),
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// By this plan.
    Plan(Box<Plan>),
    /// There is nothing to adopt.
    Nothing,
    /// There is, and an operator has to decide. The text is what those who ask are told.
    Undecided(String),
}

const UNPROVEN: &str = "There is nothing of this store here, and a log of its name in D1 that sync-cf wrote: nobody is \
                        served until it is adopted, or the store is reset";

impl Adoption {
    /// Decides about the `candidate` for the store `store_id`, of which the object has what `glance` says, and no events.
    #[must_use]
    pub fn decide(
        store_id: &StoreId,
        database: &str,
        candidate: &Candidate,
        glance: Option<&Glance>,
        wanted: Wanted<'_>,
        fresh: &BackendId,
    ) -> Self {
        let held = candidate.holdings.as_ref().filter(|held| held.events > 0);
        let Some(held) = held else {
            return Self::Nothing;
        };
        let (is_shared, unproven, decided) = match wanted {
            Wanted::ByContact { unproven } => (false, unproven, None),
            Wanted::ByOperator(ask) => (ask.shared, true, ask.head),
        };
        let stored = glance.map_or(0, |glance| glance.head.get());
        let owner = candidate.owner.as_deref();
        if owner.is_some_and(|owner| owner != store_id.as_str()) && !is_shared {
            if stored == 0 && matches!(wanted, Wanted::ByContact { .. }) {
                // This one has nothing in it.
                return Self::Nothing;
            }
            return Self::Undecided(
                "The log of this store lies in D1, in a table that another store of a similar name has adopted: nobody \
                 is served until it is adopted as shared, or the store is reset"
                    .to_owned(),
            );
        }
        let is_own = owner == Some(store_id.as_str());
        if is_own && matches!(wanted, Wanted::ByContact { .. }) {
            return Self::Undecided(
                "The log of this store was adopted from D1, and is gone from its object: nobody is served until it is \
                 adopted again, as it was then, or the store is restored or reset"
                    .to_owned(),
            );
        }
        if stored == 0 && !unproven {
            return Self::Undecided(UNPROVEN.to_owned());
        }
        if stored > 0 && held.pushes_after > 1 && !is_shared {
            return Self::Undecided(format!(
                "The log of this store lies in D1, and goes on behind its head, which is {stored}, with events of {} \
                 pushes: another store of a similar name may have written there. Nobody is served until it is adopted \
                 as shared, or the store is reset",
                held.pushes_after
            ));
        }
        let known = glance.and_then(|glance| glance.backend_id.as_ref());
        let is_short = held.head < stored;
        if is_short && known.is_none() && decided.is_none() {
            return Self::Undecided(format!(
                "The log of this store lies in D1, and lacks the end: events up to {stored} were acknowledged, and it \
                 ends at {}. Nobody is served until it is adopted with a decision about the head, or the store is reset",
                held.head
            ));
        }
        let goes_back = is_short && decided == Some(AdoptHead::Log);
        // Numbers that some client knows by other events are those of another lifetime.
        let backend_id = known.filter(|_| !goes_back).unwrap_or(fresh);
        Self::Plan(Box::new(Plan {
            from: Source {
                store_id: store_id.clone(),
                backend_id: known.map_or_else(String::new, |id| id.as_str().to_owned()),
            },
            backend_id: backend_id.as_str().to_owned(),
            head: held.head,
            events: held.events,
            bytes: held.bytes,
            allow_gaps: true,
            file: None,
            adopted: Some(Adopted {
                database: database.to_owned(),
                stored_head: stored,
                head_at_least: if goes_back { 0 } else { stored },
                by_force: is_shared,
            }),
            failed: None,
        }))
    }
}
