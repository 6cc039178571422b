//! By which plan a log is brought in: what is asked for, what there is, and whether the one can be done with the other.

use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::event::{BackendId, SeqNum, StoreId};
use crate::route::admin::{self, Restore};
use crate::store::Glance;
use crate::store::recall::{Lifetime, Survey};
use crate::store::staging::Staged;
use crate::transfer::Header;

/// By which plan a log is brought in.
///
/// *Shape*: kept as JSON with the store, under the key `import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What is brought back.
    pub from: Source,
    /// The lifetime that begins with it.
    pub backend_id: String,
    /// Its last event.
    pub head: u64,
    /// How many events there are.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Whether an event may continue from another than the one before it.
    #[serde(default)]
    pub allow_gaps: bool,
    /// How far a file has been read, if that is where it comes from: then what is expected of it is known at its end alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What there is to say of a log that sync-cf kept in D1, if that is where it comes from: then what was counted is
    /// what there was, and counted again at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
    /// Why it was given up; there is no log then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A lifetime of a log in the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// The store it was copied from.
    pub store_id: StoreId,
    /// The lifetime.
    pub backend_id: String,
}

/// What a plan says of a log that is adopted.
///
/// *Shape*: kept as JSON with the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// The D1 binding under which it lies.
    pub database: String,
    /// The head that the object had stored.
    pub stored_head: u64,
    /// The number that the next event continues from is not below this one.
    pub head_at_least: u64,
    /// Whether it is taken though another store may have taken it.
    pub by_force: bool,
}

/// What would be kept and lost by a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast<'a> {
    dry_run: bool,
    store_id: &'a StoreId,
    from: &'a Source,
    /// Whether clients that know the lifetime keep what they have.
    keeps_backend_id: bool,
    kept: Kept<'a>,
    lost: Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    events: u64,
    head: u64,
    bytes: u64,
    last_at: Option<&'a str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Lost {
    /// Events of the backup beyond `upTo`.
    after_up_to: u64,
    /// Events that the store holds now, all of which are replaced.
    of_store: u64,
}

impl Plan {
    /// The plan for what an operator asks, if it can be done: `lifetime` is what the backup says of the log, `survey` what
    /// it holds of it, `glance` what the object has.
    ///
    /// # Errors
    /// What stands against it (409), or is missing (400).
    pub fn make(
        ask: &Restore,
        store_id: &StoreId,
        lifetime: &Lifetime,
        survey: &Survey,
        glance: Option<&Glance>,
        fresh: &BackendId,
    ) -> Result<Self, admin::Refusal> {
        let conflict = |message: String| Err(admin::Refusal::new(409, &message));
        let from = Source {
            store_id: ask.from_store(store_id).clone(),
            backend_id: lifetime.backend_id.clone(),
        };
        if !survey.is_time {
            let message = "nothing was done: upTo is neither the number of an event nor a time";
            return Err(admin::Refusal::new(400, message));
        }
        if let Some(broken) = survey.broken.as_ref().filter(|_| !ask.allow_gaps) {
            return conflict(format!(
                "{broken} in the backup: nothing was done. If the log was so when it was copied, add \"allowGaps\":true"
            ));
        }
        if survey.events == 0 {
            return conflict("the backup holds no event up to there".to_owned());
        }
        let is_whole = survey.head == lifetime.head;
        if is_whole && (survey.events, survey.bytes) != (lifetime.events, lifetime.bytes) {
            return conflict(format!(
                "the backup is damaged: it should hold {} events of {} bytes up to {}, and holds {} of {}",
                lifetime.events, lifetime.bytes, lifetime.head, survey.events, survey.bytes
            ));
        }
        if !is_whole && ask.up_to.is_none() {
            return conflict(format!(
                "the backup is damaged: it should end at {}, and ends at {}",
                lifetime.head, survey.head
            ));
        }
        check_room(ask.replace || ask.dry_run, glance)?;
        let backend_id = if ask.keep_backend_id {
            check_known_head(ask, &from.store_id == store_id, lifetime, is_whole, glance)?;
            lifetime.backend_id.clone()
        } else {
            fresh.as_str().to_owned()
        };
        Ok(Self {
            from,
            backend_id,
            head: survey.head,
            events: survey.events,
            bytes: survey.bytes,
            allow_gaps: ask.allow_gaps,
            file: None,
            adopted: None,
            failed: None,
        })
    }

    /// The plan for a file that begins with `header`, if it may be brought in; `state` is its reader's.
    ///
    /// # Errors
    /// As [`Plan::make`].
    pub fn of_file(
        ask: &admin::Import,
        store_id: &StoreId,
        header: &Header,
        state: String,
        glance: Option<&Glance>,
        fresh: &BackendId,
    ) -> Result<Self, admin::Refusal> {
        check_room(ask.replace, glance)?;
        let from = Source {
            store_id: StoreId::new(header.store_id.clone().unwrap_or_default()),
            backend_id: header.backend_id.clone().unwrap_or_default(),
        };
        let backend_id = if ask.keep_backend_id {
            let lifetime = Lifetime {
                backend_id: from.backend_id.clone(),
                head: header.head.map_or(0, SeqNum::get),
                ..Lifetime::default()
            };
            let restore = Restore {
                last_known_head: ask.last_known_head,
                ..Restore::of(store_id)
            };
            let is_own = from.store_id == *store_id && !from.backend_id.is_empty();
            check_known_head(&restore, is_own, &lifetime, true, glance)?;
            from.backend_id.clone()
        } else {
            fresh.as_str().to_owned()
        };
        Ok(Self {
            from,
            backend_id,
            head: 0,
            events: 0,
            bytes: 0,
            allow_gaps: false,
            file: Some(state),
            adopted: None,
            failed: None,
        })
    }

    /// How far the file has been read that an object brings in, if it does: the state of its reader.
    #[must_use]
    pub fn file_in(glance: &Glance) -> Option<String> {
        let plan = Self::read(glance.import.as_deref()?);
        plan.file.filter(|_| plan.failed.is_none())
    }

    /// What it would keep and lose.
    #[must_use]
    pub fn forecast<'a>(
        &'a self,
        store_id: &'a StoreId,
        lifetime: &Lifetime,
        survey: &'a Survey,
        glance: Option<&Glance>,
    ) -> Forecast<'a> {
        Forecast {
            dry_run: true,
            store_id,
            from: &self.from,
            keeps_backend_id: self.backend_id == lifetime.backend_id,
            kept: Kept {
                events: self.events,
                head: self.head,
                bytes: self.bytes,
                last_at: survey.last_at.as_deref(),
            },
            lost: Lost {
                after_up_to: lifetime.events.saturating_sub(survey.events),
                of_store: glance.map_or(0, |glance| glance.events),
            },
        }
    }

    /// What is told of its beginning.
    #[must_use]
    pub fn begun(&self) -> Report {
        let (events, head) = (self.events, self.head);
        if self.adopted.is_some() {
            return Report::AdoptionBegun { events, head };
        }
        Report::RestoreBegun { events, head }
    }

    /// Whether an object that may have a log already may begin to bring one in.
    ///
    /// # Errors
    /// It has one, or is about to (409).
    pub fn check_room(glance: Option<&Glance>) -> Result<(), admin::Refusal> {
        check_room(false, glance)
    }

    /// Whether one that was kept has been given up.
    #[must_use]
    pub fn is_over(kept: &str) -> bool {
        Self::read(kept).failed.is_some()
    }

    /// As it is kept with the store.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What was kept. One that cannot be read has failed: nobody is served by it.
    pub(super) fn read(kept: &str) -> Self {
        serde_json::from_str(kept).unwrap_or_else(|error| Self {
            from: Source {
                store_id: StoreId::new(String::new()),
                backend_id: String::new(),
            },
            backend_id: String::new(),
            head: 0,
            events: 0,
            bytes: 0,
            allow_gaps: false,
            file: None,
            adopted: None,
            failed: Some(format!(
                "what was kept of the restore is not read by this release: {error}"
            )),
        })
    }

    /// Whether what is staged is all that was planned.
    pub(super) fn check(&self, staged: &Staged) -> Result<(), String> {
        if let Some(broken) = staged.broken.as_ref().filter(|_| !self.allow_gaps) {
            return Err(broken.to_string());
        }
        if (staged.events, staged.bytes, staged.head) != (self.events, self.bytes, self.head) {
            return Err(format!(
                "{} events of {} bytes up to {} were expected, and {} of {} up to {} came",
                self.events, self.bytes, self.head, staged.events, staged.bytes, staged.head
            ));
        }
        Ok(())
    }
}

/// Whether an object may begin to bring a log in.
fn check_room(may_replace: bool, glance: Option<&Glance>) -> Result<(), admin::Refusal> {
    let Some(glance) = glance else {
        return Ok(());
    };
    if glance.is_deleting {
        return Err(admin::Refusal::being_deleted());
    }
    let running = glance.import.as_deref();
    if running.is_some_and(|kept| !Plan::is_over(kept)) {
        let message = "a restore is under way: see it in the state, or end it with DELETE";
        return Err(admin::Refusal::new(409, message));
    }
    if glance.events > 0 && !may_replace {
        let message = format!(
            "the store holds {} events: nothing was done. To have them replaced, once everything is here, say replace",
            glance.events
        );
        return Err(admin::Refusal::new(409, &message));
    }
    Ok(())
}

/// A lifetime goes on only if nothing that was acknowledged in it is missing: events under numbers that some client
/// knows by other events would be worse than a new beginning.
fn check_known_head(
    ask: &Restore,
    is_own: bool,
    lifetime: &Lifetime,
    is_whole: bool,
    glance: Option<&Glance>,
) -> Result<(), admin::Refusal> {
    if !is_own || !is_whole {
        let message = "keepBackendId goes with the whole of the store's own backup alone";
        return Err(admin::Refusal::new(400, message));
    }
    let known = glance.filter(|glance| {
        let backend_id = glance.backend_id.as_ref();
        backend_id.is_some_and(|id| id.as_str() == lifetime.backend_id)
    });
    let known = known.map(|glance| glance.head.get());
    let Some(head) = known.or(ask.last_known_head) else {
        let message = "this object does not know up to where events were acknowledged: say it as lastKnownHead, or \
                       leave keepBackendId out";
        return Err(admin::Refusal::new(400, message));
    };
    if head != lifetime.head {
        let message = format!(
            "the last known head is {head}, and the backup ends at {}: the lifetime cannot go on, leave keepBackendId out",
            lifetime.head
        );
        return Err(admin::Refusal::new(409, &message));
    }
    Ok(())
}
