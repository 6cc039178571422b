//! The end of one lifetime of the log and the beginning of another: everyone has to start over.

use super::connection::Connection;
use super::refusal::Refusal;
use super::report::Report;
use super::{ConnectionId, Output, SyncBackend, TRY_AGAIN, Turn};
use crate::event::BackendId;
use crate::store::sql::{Sql, StoreError};
use crate::wire::{self, AdminAsk, Family, PageInfo, Requester};

impl<S: Sql> SyncBackend<S> {
    /// Empties the log and begins another lifetime of it, whose id is returned.
    ///
    /// Every pull under way ends with the words for that, before its socket is closed: an event of the new
    /// lifetime must not reach a client that still believes in the old one.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn reset(&mut self, turn: &mut Turn<S::Text>) -> Result<BackendId, StoreError> {
        let result = self.begin_lifetime(turn);
        if result.is_ok() {
            self.close_after_reset(turn);
        }
        self.end_turn(turn);
        result
    }

    fn begin_lifetime(&mut self, turn: &mut Turn<S::Text>) -> Result<BackendId, StoreError> {
        if self.is_deleting() {
            let message = "it is being deleted".to_owned();
            return Err(StoreError { message });
        }
        self.store.verify()?;
        if self.import.is_some() {
            self.store.forget_import()?;
            self.import = None;
        }
        let events = self.store.count()?;
        let uncopied = self.uncopied();
        let ended = self.store.backend_id().clone();
        let fresh = (self.fresh_ids)();
        self.store.reset(fresh.clone(), self.told_committed())?;
        self.bytes_at_most = u64::MAX;
        turn.out
            .push(Output::Report(Report::Reset { events, uncopied }));
        self.leave_lifetime(&ended, turn);
        Ok(fresh)
    }

    /// The store is in another lifetime than `ended`: whoever is in that one hears of it.
    pub(super) fn leave_lifetime(&mut self, ended: &BackendId, turn: &mut Turn<S::Text>) {
        let fresh = self.store.backend_id().clone();
        self.stats.forget_races();
        let tail = wire::rpc_page_tail(PageInfo::NoMore, &fresh);
        self.last_page_tail = self.store.text(&tail);
        self.reset_followers(turn);
        let refusal = Refusal::BackendIdMismatch {
            expected: fresh,
            received: ended.as_str().to_owned(),
        };
        for id in self.connections.ids(|one| one.family() == Family::Rpc) {
            self.end_pulls(id, &refusal, turn);
        }
        self.end_plain_lifetimes(turn);
    }

    /// Clients connect again, and pull from the new log.
    pub(super) fn close_after_reset(&mut self, turn: &mut Turn<S::Text>) {
        let reason = "the store was reset: connect again";
        let is_meant = |one: &Connection<S::Text>| one.is_socket() && one.family() == Family::Rpc;
        for id in self.connections.ids(is_meant) {
            self.close(id, TRY_AGAIN, reason, turn);
        }
    }

    /// Closes every socket, and ends every pull that is under way on another connection; clients connect
    /// again and go on from where they are. How many sockets there were.
    pub fn disconnect_all(&mut self, reason: &'static str, turn: &mut Turn<S::Text>) -> usize {
        let closed = self.end_all(reason, turn);
        self.end_turn(turn);
        closed
    }

    pub(super) fn end_all(&mut self, reason: &'static str, turn: &mut Turn<S::Text>) -> usize {
        let sockets = self.connections.ids(Connection::is_socket);
        let closed = sockets.len();
        for id in sockets {
            self.close(id, TRY_AGAIN, reason, turn);
        }
        let is_pulling = |one: &Connection<S::Text>| !one.subscriptions().is_empty();
        for id in self.connections.ids(is_pulling) {
            self.stop_pulls(id, turn);
        }
        closed
    }

    /// An administrative message of 0.3.
    #[inline(never)] // 0.4 kB less in `on_message`, see there.
    pub(super) fn administer(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        ask: AdminAsk,
        secret: &str,
        turn: &mut Turn<S::Text>,
    ) {
        let admin = self.rules.admin.as_ref();
        if !admin.is_some_and(|own| own.is(secret)) {
            return self.refuse(from, requester, Refusal::AdminSecret, turn);
        }
        let done = wire::admin_done(requester, ask, &self.rules.object_id);
        if ask == AdminAsk::Reset {
            if let Err(error) = self.begin_lifetime(turn) {
                let what = "empty the store; nothing was changed";
                return self.refuse(from, requester, Refusal::Storage { what, error }, turn);
            }
            self.close_after_reset(turn);
        }
        // Acknowledged means done.
        self.send(from, &done, turn);
    }
}
