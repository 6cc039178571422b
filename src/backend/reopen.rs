//! Rows that somebody else changes while the object is in memory: a data browser, an app's own SQL, `deleteAll`.
//!
//! The store sees it at the next append or page ([`EventStore::is_stale`](crate::store::EventStore::is_stale)), which
//! fails as storage does: nothing is stored, and whoever asked may ask again. At the end of that turn the store is opened
//! again, and what is found decides who of the others goes on, starts over, or has to leave. Connections and
//! deliveries keep their ids: what an earlier turn left behind must not meet another's.

use super::import::Import;
use super::report::{Report, Rows};
use super::retention::Retention;
use super::{Output, Progress, SyncBackend, TRY_LATER, Turn};
use crate::event::SeqNum;
use crate::store::OpenError;
use crate::store::sql::Sql;
use crate::wire::Family;

impl<S: Sql> SyncBackend<S> {
    /// Whether nobody can be served, since the store could not be opened again. Then the host calls
    /// [`SyncBackend::reopen`] before anything else, but for what ends something that it was asked for: a connection, a
    /// hook, a delivery.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Looks whether the rows are those that are known, for who asks what would not show it.
    pub fn check_rows(&mut self, turn: &mut Turn<S::Text>) {
        // What is wrong shows at the end of the turn.
        let _ = self.store.verify();
        self.end_turn(turn);
    }

    /// Tries again to open a store that could not be opened again; where nothing is left of it, one is made if `may_make`.
    ///
    /// # Errors
    /// When it still cannot.
    pub fn reopen(&mut self, may_make: bool, turn: &mut Turn<S::Text>) -> Result<(), OpenError> {
        let opened = if self.is_gone() {
            self.start_over(may_make, turn)
        } else {
            self.open_again(may_make, turn)
        };
        self.end_turn(turn);
        opened
    }

    /// Opens the store again, and does for everyone what follows from what is found.
    pub(super) fn open_again(
        &mut self,
        may_make: bool,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), OpenError> {
        let store = &self.store;
        let ended = store.backend_id().clone();
        let (head, known) = (store.head(), store.last_stored());
        // Whoever empties an object may take its alarm with it.
        turn.out.push(Output::ForgetAlarm);
        let fresh = (self.fresh_ids)();
        if let Err(error) = self.store.reopen(fresh, may_make) {
            if self.closed.replace(error.clone()).is_none() {
                let found = Rows::Closed(error.clone());
                turn.out
                    .push(Output::Report(Report::RowsChanged { known, found }));
                self.turn_everyone_out(turn);
            }
            return Err(error);
        }
        self.closed = None;
        self.import = Import::resume(&self.store);
        self.retention = Retention::resume(&self.store, &self.rules);
        self.resume_or_keep_deletion();
        self.bytes_at_most = u64::MAX;
        let (last, backend_id) = (self.store.last_stored(), self.store.backend_id());
        let is_same = *backend_id == ended;
        let found = if is_same {
            let head = self.store.head();
            Rows::Same { last, head }
        } else {
            // Also where nothing was left, as after `deleteAll`, and there is no backup: then it is a new store.
            let backend_id = backend_id.clone();
            Rows::Other { last, backend_id }
        };
        turn.out
            .push(Output::Report(Report::RowsChanged { known, found }));
        if is_same {
            self.followers.keep_again();
            self.send_added(head, turn);
        } else {
            self.leave_lifetime(&ended, turn);
            self.close_after_reset(turn);
        }
        if self.retention.has_end() {
            // What was kept may be gone, and the alarm with it.
            self.keep_opened(turn.now_ms);
        }
        self.hold_off(turn);
        self.deliver_due(turn);
        Ok(())
    }

    /// Sends what somebody else has added to those who had everything up to `head`.
    fn send_added(&mut self, head: SeqNum, turn: &mut Turn<S::Text>) {
        let last = self.store.last_stored();
        for id in self.connections.ids(|_| true) {
            let Some(connection) = self.connections.get_mut(id) else {
                continue;
            };
            if connection.family() == Family::Plain {
                let has_all = connection.subscriptions().is_empty() && !connection.is_over();
                if has_all && head < last {
                    self.page_plain(id, head, turn);
                }
                continue;
            }
            let mut is_behind = false;
            for pull in connection.subscriptions_mut() {
                if pull.is_caught_up() && pull.after() < last {
                    pull.page_again();
                    is_behind = true;
                }
            }
            if is_behind {
                connection.mark_changed();
                self.send_ready(id, turn);
                self.remember(id, turn);
            }
        }
    }

    /// Closes every socket, ends the pulls of others, and answers what waits that it may be asked again. Whose answer is
    /// made is left: the host gives it back when it is read.
    fn turn_everyone_out(&mut self, turn: &mut Turn<S::Text>) {
        let reason = "the rows of this store were changed: try again later";
        self.end_all(reason, turn);
        for id in self.connections.ids(|_| true) {
            if self.progress(id) != Progress::Done {
                self.close(id, TRY_LATER, reason, turn);
            }
        }
    }
}
