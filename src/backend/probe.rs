//! Finding clients that wait for a pull of a connection they have lost.
//!
//! A client whose network fell silent connects again, pings, and waits for ever for its old pull; it pulls again once
//! the new socket is closed. Nothing that it sends tells it from one that does not pull live. But it acknowledges an
//! empty page of its old pull, which anybody else ignores; and acknowledging a pull that is none of its socket's
//! closes that ([`SyncBackend::acknowledge`]). So sockets on which nobody has pulled are sent empty pages of
//! the live pulls that were made on others.
//!
//! A page names its lifetime, and a client takes that for its own, whatever it knew before. So once a log has had another
//! lifetime, a client that has not named this one is not asked: its socket is closed.

use std::rc::Rc;

use super::connection::Connection;
use super::{ConnectionId, Output, SyncBackend, TRY_AGAIN, Turn};
use crate::store::sql::{Sql, Text as _};
use crate::wire::{self, Generation, Requester, Transport};

impl<S: Sql> SyncBackend<S> {
    /// Asks the clients of sockets on which nobody has pulled for too long whether they wait for a pull of
    /// another.
    pub(super) fn probe_overdue(&mut self, turn: &mut Turn<S::Text>) {
        if self.overdue(turn.now_ms).is_empty() {
            return;
        }
        let mut pulls: Vec<Rc<Requester>> = Vec::new();
        for connection in self.connections.iter() {
            for pull in live_pulls_of(connection) {
                if !pulls.iter().any(|known| known.id == pull.id) {
                    pulls.push(pull);
                }
            }
        }
        self.probe_overdue_with(&pulls, turn);
    }

    /// The same about these pulls alone.
    pub(super) fn probe_overdue_with(&mut self, pulls: &[Rc<Requester>], turn: &mut Turn<S::Text>) {
        if pulls.is_empty() {
            return;
        }
        let had_lifetimes = self.store.had_lifetimes();
        for to in self.overdue(turn.now_ms) {
            let may_be_probed = |one: &Connection<S::Text>| one.may_be_probed(had_lifetimes);
            if !self.connections.get(to).is_some_and(may_be_probed) {
                self.close(to, TRY_AGAIN, "nobody has pulled: connect again", turn);
                continue;
            }
            for pull in pulls {
                let connection = self.connections.get_mut(to);
                if connection.is_none_or(|connection| !connection.probe(&pull.id)) {
                    continue;
                }
                let head = self
                    .store
                    .text(&wire::page_head(pull, Transport::WebSocket));
                let frame = S::Text::join(&head, &self.store.text(""), &self.last_page_tail);
                turn.out.push(Output::Send { to, frame });
            }
        }
    }

    fn overdue(&self, now_ms: u64) -> Vec<ConnectionId> {
        self.connections.ids(|one| one.is_overdue(now_ms))
    }

    /// The live pulls of a connection.
    pub(super) fn live_pulls(&self, id: ConnectionId) -> Vec<Rc<Requester>> {
        let connection = self.connections.get(id);
        connection.map(live_pulls_of).unwrap_or_default()
    }
}

fn live_pulls_of<T>(connection: &Connection<T>) -> Vec<Rc<Requester>> {
    if connection.is_inspector() {
        // No client has ever had it.
        return Vec::new();
    }
    let pulls = connection.subscriptions().iter();
    let live =
        pulls.filter(|pull| pull.is_live() && pull.requester().generation != Generation::V03);
    live.map(|pull| Rc::clone(pull.requester())).collect()
}
