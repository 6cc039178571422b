//! Bringing a log in, from the object's side: the first contact with a store of which the object has nothing, and what an
//! operator asks for. Before a store is made, D1 is asked whether it has a backup, or a log that sync-cf kept there: an object
//! that was emptied must not have its clients erase what they hold, and no second history begins beside a first.

use std::rc::Rc;

use super::birth::Known;
use super::log::Log;
use super::shared::{Shared, Unavailable};
use super::{backup, config, js};
use crate::backend::{Adoption, Candidate, Plan, Wanted};
use crate::config::{BACKUP_BINDING, Config, LogLevel, RestoreEmpty};
use crate::event::{SeqNum, StoreId};
use crate::hooks::Hooks;
use crate::limits::{BIRTH_DEADLINE_MS, HELD_MS};
use crate::route::admin::Restore;
use crate::store::adoption::Look;
use crate::store::recall::Lifetime;
use crate::store::{Glance, OpenError};

/// What D1 has of a store.
#[derive(Default)]
pub(super) struct InD1 {
    /// The lifetimes of its backup, the latest first.
    pub(super) lifetimes: Vec<Lifetime>,
    /// The log that sync-cf kept there.
    pub(super) candidate: Candidate,
}

impl<H: Hooks> Shared<H> {
    /// Wakes the object; a store that is not here is made only if D1 has nothing of it, and a log that lies there is brought
    /// here.
    ///
    /// # Errors
    /// D1 has something that an operator has to decide about, or does not say; and as [`Shared::with`].
    pub(super) async fn born(
        self: &Rc<Self>,
        store_id: Option<&StoreId>,
    ) -> Result<(), Unavailable> {
        let mut own = None;
        loop {
            match self.with(store_id.or(own.as_ref()), |_| ()) {
                // Whoever names no store asks for the one whose object this is.
                Err(error) if error.is_not_here() && store_id.is_none() && own.is_none() => {
                    own = Some(StoreId::new(self.store_id().to_string()));
                    continue;
                }
                Err(error) if error.is_not_here() => {}
                Ok(()) => {
                    if self.birth.may_make() {
                        // Should it be emptied, that is to be asked again.
                        self.birth.learn(Known::Nothing);
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
            match self.birth.known() {
                Known::Asking => self.birth.asked().await,
                Known::Held { until_ms } if js::now_ms() < until_ms => {
                    return Err(Unavailable::Held(self.birth.why()));
                }
                Known::Nothing | Known::New | Known::Held { .. } => {
                    self.birth.ask();
                    let known = self.ask_d1().await;
                    self.birth.learn(*known.as_ref().unwrap_or(&Known::Nothing));
                    known?;
                }
            }
        }
    }

    async fn ask_d1(&self) -> Result<Known, Unavailable> {
        let store_id = StoreId::new(self.store_id().to_string());
        let config = config(self.env())?;
        let log = Log::new(config.log_level, store_id.as_str(), self.env());
        let unknown = |message: String| {
            log.write(LogLevel::Error, "backup-unknown", &message);
            Unavailable::BackupUnknown
        };
        let hold = |why: &str| Ok(self.birth.hold(why, js::now_ms() + HELD_MS));
        let glance = self.glance(&store_id).map_err(OpenError::from)?;
        let stored = glance.as_ref().map_or(SeqNum::ROOT, |glance| glance.head);
        let is_auto = config.restore_empty == RestoreEmpty::Auto;
        let found = self.look_in_d1(&config, &store_id, stored).await;
        let InD1 {
            lifetimes,
            candidate,
        } = found.map_err(unknown)?;
        if let Some(latest) = lifetimes.first() {
            let head = latest.head;
            let stay = |why: &str| {
                let message = format!(
                    "There is nothing of this store here, and a backup of it up to event {head}: {why}"
                );
                log.write(LogLevel::Error, "backup-found", &message);
                hold(&message)
            };
            if !is_auto || stored > SeqNum::ROOT {
                return stay("nobody is served until it is restored or reset");
            }
            let Some(database) = backup::database(self.env()) else {
                return Ok(Known::Nothing);
            };
            let survey = backup::survey(&database, &store_id, latest, None).await;
            let survey = survey.map_err(unknown)?;
            let ask = Restore::of(&store_id);
            let fresh = js::fresh_backend_id();
            return match Plan::make(&ask, &store_id, latest, &survey, None, &fresh) {
                Ok(plan) => {
                    // It may be here meanwhile.
                    if self.glance(&store_id).map_err(OpenError::from)?.is_none() {
                        let kept = self.plan_import(&store_id, &plan);
                        kept.map_err(OpenError::from)?;
                        log.report(&plan.begun());
                    }
                    Ok(Known::Nothing)
                }
                Err(refusal) => stay(&refusal.message),
            };
        }
        let wanted = Wanted::ByContact { unproven: is_auto };
        match decide(&config, &store_id, &candidate, glance.as_ref(), wanted) {
            Adoption::Plan(plan) => {
                self.make_claims(&config).await.map_err(unknown)?;
                // Something may be here meanwhile.
                let glance = self.glance(&store_id).map_err(OpenError::from)?;
                if glance.is_none_or(|glance| glance.events == 0 && glance.import.is_none()) {
                    let kept = self.plan_import(&store_id, &plan);
                    kept.map_err(OpenError::from)?;
                    log.report(&plan.begun());
                }
                Ok(Known::Nothing)
            }
            Adoption::Undecided(why) => {
                log.write(LogLevel::Error, "log-elsewhere", &why);
                hold(&why)
            }
            Adoption::Nothing if stored > SeqNum::ROOT => {
                let why = OpenError::Elsewhere { head: stored }.to_string();
                log.write(LogLevel::Error, "log-elsewhere", &why);
                hold(&why)
            }
            Adoption::Nothing => Ok(Known::New),
        }
    }

    /// What D1 has of a store whose stored head is `stored`.
    pub(super) async fn look_in_d1(
        &self,
        config: &Config,
        store_id: &StoreId,
        stored: SeqNum,
    ) -> Result<InD1, String> {
        let env = self.env();
        let backups = backup::database(env);
        let has_backup = config.backup_delay_ms(backups.is_some());
        let backups = backups.filter(|_| matches!(has_backup, Ok(Some(_))));
        let binding = config.adopt_binding.as_deref();
        let logs = binding.and_then(|binding| backup::database_as(env, binding));
        let is_same = binding == Some(BACKUP_BINDING);
        let deadline_ms = BIRTH_DEADLINE_MS;
        let (lifetimes, look) = match (&backups, &logs) {
            (Some(backups), Some(_)) if is_same => {
                backup::lifetimes_and_look(backups, store_id, deadline_ms).await?
            }
            (backups, logs) => {
                let lifetimes = match backups {
                    Some(backups) => backup::lifetimes(backups, store_id, deadline_ms).await?,
                    None => Vec::new(),
                };
                let look = match logs {
                    Some(logs) => backup::look(logs, store_id, deadline_ms).await?,
                    None => Look::default(),
                };
                (lifetimes, look)
            }
        };
        let candidate = match &logs {
            Some(logs) => backup::candidate(logs, store_id, stored, look).await?,
            None => Candidate::default(),
        };
        Ok(InD1 {
            lifetimes,
            candidate,
        })
    }

    /// Makes room in D1 for which store has taken which log.
    pub(super) async fn make_claims(&self, config: &Config) -> Result<(), String> {
        let binding = config.adopt_binding.as_deref().unwrap_or_default();
        let database = backup::database_as(self.env(), binding);
        let database = database.ok_or_else(|| format!("no D1 database is bound as {binding}"))?;
        backup::create_claims(&database).await
    }

    /// Begins to bring a log in, whatever the object has.
    ///
    /// # Errors
    /// When storage fails, or the object belongs to another store.
    pub(super) fn restore(
        self: &Rc<Self>,
        store_id: &StoreId,
        plan: Plan,
    ) -> Result<(), Unavailable> {
        match self.with(Some(store_id), |_| ()) {
            Ok(()) => {
                let begun = self.turn(|backend, turn| backend.begin_restore(plan, turn))?;
                begun.map_err(OpenError::from)?;
                return Ok(());
            }
            // What is not here needs no room made.
            Err(error) if error.is_not_here() => {}
            Err(error) => return Err(error),
        }
        self.plan_import(store_id, &plan).map_err(OpenError::from)?;
        self.with(Some(store_id), |awake| awake.log.report(&plan.begun()))
    }
}

/// Decides about the log that sync-cf kept in D1.
pub(super) fn decide(
    config: &Config,
    store_id: &StoreId,
    candidate: &Candidate,
    glance: Option<&Glance>,
    wanted: Wanted<'_>,
) -> Adoption {
    let database = config.adopt_binding.as_deref().unwrap_or_default();
    let fresh = js::fresh_backend_id();
    Adoption::decide(store_id, database, candidate, glance, wanted, &fresh)
}
