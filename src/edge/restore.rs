//! Restoring, from the object's side: the first contact with a store of which the object has nothing, and what an operator
//! asks for. Before a store is made, D1 is asked whether it has a backup: an object that was emptied must not have its
//! clients erase what they hold.

use std::rc::Rc;

use super::birth::Known;
use super::log::Log;
use super::shared::{Shared, Unavailable};
use super::{backup, config, js};
use crate::backend::{Plan, Report};
use crate::config::{LogLevel, RestoreEmpty};
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::limits::{BACKUP_FOUND_MS, BIRTH_DEADLINE_MS};
use crate::route::admin::Restore;
use crate::store::OpenError;

impl<H: Hooks> Shared<H> {
    /// Wakes the object; a store that is not here is made only if it has no backup.
    ///
    /// # Errors
    /// It has one, or D1 does not say; and as [`Shared::with`].
    pub(super) async fn born(
        self: &Rc<Self>,
        store_id: Option<&StoreId>,
    ) -> Result<(), Unavailable> {
        loop {
            match self.with(store_id, |_| ()) {
                Err(Unavailable::Closed(OpenError::Unborn)) => {}
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
                Known::HasBackup { until_ms } if js::now_ms() < until_ms => {
                    return Err(Unavailable::HasBackup);
                }
                Known::Nothing | Known::New | Known::HasBackup { .. } => {
                    self.birth.ask();
                    let known = self.ask_for_backup().await;
                    self.birth.learn(*known.as_ref().unwrap_or(&Known::Nothing));
                    known?;
                }
            }
        }
    }

    async fn ask_for_backup(&self) -> Result<Known, Unavailable> {
        let store_id = StoreId::new(self.store_id().to_string());
        let config = config(self.env())?;
        let log = Log::new(config.log_level, store_id.as_str(), self.env());
        let unknown = |message: String| {
            log.write(LogLevel::Error, "backup-unknown", &message);
            Unavailable::BackupUnknown
        };
        let Some(database) = backup::database(self.env()) else {
            return Ok(Known::New);
        };
        let lifetimes = backup::lifetimes(&database, &store_id, BIRTH_DEADLINE_MS).await;
        let lifetimes = lifetimes.map_err(unknown)?;
        let Some(latest) = lifetimes.first() else {
            return Ok(Known::New);
        };
        let head = latest.head;
        let hold = |why: &str| {
            let message = format!(
                "there is nothing of this store here, and a backup of it up to event {head}: {why}"
            );
            log.write(LogLevel::Error, "backup-found", &message);
            let until_ms = js::now_ms() + BACKUP_FOUND_MS;
            Ok(Known::HasBackup { until_ms })
        };
        if config.restore_empty != RestoreEmpty::Auto {
            return hold("nobody is served until it is restored or reset");
        }
        let survey = backup::survey(&database, &store_id, latest, None).await;
        let survey = survey.map_err(unknown)?;
        let ask = Restore::of(&store_id);
        let fresh = js::fresh_backend_id();
        match Plan::make(&ask, &store_id, latest, &survey, None, &fresh) {
            Ok(plan) => {
                // It may be here meanwhile.
                if self.glance(&store_id).map_err(OpenError::from)?.is_none() {
                    self.plan_import(&plan).map_err(OpenError::from)?;
                    let (events, head) = (plan.events, plan.head);
                    log.report(&Report::RestoreBegun { events, head });
                }
                Ok(Known::Nothing)
            }
            Err(refusal) => hold(&refusal.message),
        }
    }

    /// Begins to bring a log back, whatever the object has.
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
            Err(Unavailable::Closed(OpenError::Unborn | OpenError::Elsewhere { .. })) => {}
            Err(error) => return Err(error),
        }
        self.plan_import(&plan).map_err(OpenError::from)?;
        self.with(Some(store_id), |awake| {
            let (events, head) = (plan.events, plan.head);
            awake.log.report(&Report::RestoreBegun { events, head });
        })
    }
}
