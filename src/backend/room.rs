//! Who has to leave when an object holds as much as it may (INV-11): pulls pause, and the socket or the request
//! whose client has taken nothing for longest is closed, after which it may ask again.

use super::connection::Connection;
use super::{ConnectionId, SyncBackend, Turn};
use crate::limits::{OBJECT_BYTES_MAX, STALL_MS};
use crate::store::sql::Sql;

impl<S: Sql> SyncBackend<S> {
    /// Whether the object holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.in_flight.bytes() >= OBJECT_BYTES_MAX
    }

    /// While others wait for room, closes those that have taken nothing for too long.
    pub(super) fn make_room(&mut self, turn: &mut Turn<S::Text>) {
        while self.is_paused && self.is_full() {
            let Some((stalled, _)) = self
                .slowest()
                .filter(|(_, taken_at_ms)| turn.now_ms.saturating_sub(*taken_at_ms) >= STALL_MS)
            else {
                return;
            };
            self.close_stalled(stalled, turn);
        }
        self.resume_paused(turn);
    }

    /// When somebody will have taken nothing for too long, if others wait for room.
    pub(super) fn room_at_ms(&self, now_ms: u64) -> Option<u64> {
        if !self.is_paused {
            return None;
        }
        let (_, taken_at_ms) = self.slowest()?;
        Some((taken_at_ms + STALL_MS).max(now_ms))
    }

    /// Who has taken nothing of what is on its way for longest, and since when.
    fn slowest(&self) -> Option<(ConnectionId, u64)> {
        let mut slowest: Option<(ConnectionId, u64)> = None;
        let has_some = |connection: &Connection<S::Text>| connection.room().bytes() > 0;
        for id in self.connections.ids(has_some) {
            let taken_at_ms = self.connections.get(id).map(Connection::taken_at_ms);
            if let Some(at_ms) = taken_at_ms
                && slowest.is_none_or(|(_, earliest)| at_ms < earliest)
            {
                slowest = Some((id, at_ms));
            }
        }
        slowest
    }
}
