//! Stores that nobody has opened for `TTL_DAYS`: they are deleted.
//!
//! When a store was last opened is kept with it to the day: written once a day at most, so that a push costs no row for it,
//! and counted so that a store is rather kept a day longer. An alarm is set for the day on which it ends, and one set before
//! it for something else is followed by it. Whenever that is kept, an alarm is stored that goes off by then.

use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::report::Report;
use super::{Output, Rules, SyncBackend, Turn, iso_8601};
use crate::limits::{DAY_MS, STORE_RETRY_MS};
use crate::store::sql::Sql;
use crate::store::{EventStore, schema};

/// When a store was last opened.
///
/// *Shape*: kept as JSON with the store, under the key `opened`. *Units*: milliseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Opened {
    /// When, or up to a day before.
    at_ms: u64,
    /// By when an alarm goes off.
    due_ms: u64,
}

/// How a store that ends stands.
#[derive(Debug, Default)]
pub(super) struct Retention {
    ttl_ms: Option<u64>,
    /// `None`: nothing is kept.
    kept: Option<Opened>,
    /// Whether an alarm is stored that goes off by then.
    is_armed: bool,
    /// After storage failed.
    not_before_ms: u64,
}

/// For the state.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RetentionState {
    opened_at: String,
    ends_at: String,
}

impl Retention {
    /// What is kept with a store.
    pub(super) fn resume<S: Sql>(store: &EventStore<S>, rules: &Rules) -> Self {
        let kept = store.state_of(schema::OPENED);
        Self {
            ttl_ms: rules.ttl_ms,
            // What cannot be read is as long ago as now.
            kept: kept.and_then(|kept| serde_json::from_str(kept).ok()),
            is_armed: false,
            not_before_ms: 0,
        }
    }

    /// Whether stores end.
    pub(super) fn has_end(&self) -> bool {
        self.ttl_ms.is_some()
    }

    /// When the store ends; `None`: never.
    fn ends_ms(&self) -> Option<u64> {
        let ttl_ms = self.ttl_ms?;
        // It may have been opened up to a day later.
        Some(self.kept?.at_ms.saturating_add(ttl_ms + DAY_MS))
    }

    /// When an alarm has to go off, unless one is set.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        let ends_ms = self.ends_ms().filter(|_| !self.is_armed)?;
        Some(ends_ms.max(self.not_before_ms).max(now_ms))
    }

    pub(super) fn state(&self) -> Option<RetentionState> {
        Some(RetentionState {
            opened_at: iso_8601(self.kept?.at_ms),
            ends_at: iso_8601(self.ends_ms()?),
        })
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Somebody opens the store, or goes on using it.
    pub(super) fn note_opened(&mut self, now_ms: u64) {
        let kept = self.retention.kept;
        let is_due = |kept: Opened| now_ms >= kept.at_ms.saturating_add(DAY_MS);
        if self.retention.ttl_ms.is_some() && kept.is_none_or(is_due) {
            self.keep_opened(now_ms);
        }
    }

    /// Should that fail, it is kept the next time.
    #[cold]
    pub(super) fn keep_opened(&mut self, at_ms: u64) {
        let Some(ttl_ms) = self.retention.ttl_ms else {
            return;
        };
        let due_ms = at_ms.saturating_add(ttl_ms + DAY_MS);
        let opened = Opened { at_ms, due_ms };
        let json = serde_json::to_string(&opened).unwrap_or_default();
        if self.store.set_state(schema::OPENED, &json).is_ok() {
            self.retention.kept = Some(opened);
        }
    }

    /// The object has been brought into memory. A store of which nothing is kept begins to count now; where nothing ends any
    /// more nothing is kept, because it would not be true once something does again.
    pub(super) fn look_after_retention(&mut self, turn: &mut Turn<S::Text>) {
        match (self.retention.ttl_ms, self.retention.kept) {
            (None, Some(_)) => match self.store.remove_state(schema::OPENED) {
                Ok(()) => self.retention.kept = None,
                Err(error) => {
                    let (during, message) = ("looking after TTL_DAYS", error.message);
                    turn.out
                        .push(Output::Report(Report::StoreFailed { during, message }));
                }
            },
            (Some(_), None) => self.keep_opened(turn.now_ms),
            (None, None) => {}
            (Some(_), Some(kept)) => {
                let ends_ms = self.retention.ends_ms().unwrap_or(0);
                self.retention.is_armed = turn.now_ms < kept.due_ms && kept.due_ms <= ends_ms;
            }
        }
    }

    /// The alarm has gone off: a store that nobody has opened for too long is deleted.
    pub(super) fn end_unopened(&mut self, turn: &mut Turn<S::Text>) {
        // Whatever it was set for: the next has to be set.
        self.retention.is_armed = false;
        let ends_ms = self.retention.ends_ms();
        if self.is_deleting() || ends_ms.is_none_or(|ends_ms| turn.now_ms < ends_ms) {
            return;
        }
        if self.import.is_some() || self.connections.iter().any(Connection::is_clients_socket) {
            return self.keep_opened(turn.now_ms);
        }
        let days = self.retention.ttl_ms.unwrap_or_default() / DAY_MS;
        match self.plan_deletion(turn) {
            Ok(events) => {
                let expired = Report::StoreExpired { days, events };
                turn.out.push(Output::Report(expired));
            }
            Err(error) => {
                self.retention.not_before_ms = turn.now_ms + STORE_RETRY_MS;
                let (during, message) = ("deleting a store that nobody has opened", error.message);
                turn.out
                    .push(Output::Report(Report::StoreFailed { during, message }));
            }
        }
    }

    /// An alarm is set for `at_ms`.
    pub(super) fn armed(&mut self, at_ms: u64) {
        let Some(ends_ms) = self
            .retention
            .ends_ms()
            .filter(|_| !self.retention.is_armed)
        else {
            return;
        };
        self.retention.is_armed = at_ms <= ends_ms;
        if self
            .retention
            .kept
            .is_some_and(|kept| kept.due_ms != ends_ms)
            && let Some(kept) = self.retention.kept
        {
            // `TTL_DAYS` is another than it was. Without it the alarm is set at each wake.
            self.keep_opened(kept.at_ms);
        }
    }
}
