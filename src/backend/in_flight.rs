//! Bytes that have been handed to the platform and that their client has not been seen to take: what one
//! connection, and one object, hold in memory for those who read slowly or not at all (INV-11).

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::limits::{
    CONNECTION_BYTES_MAX, OBJECT_BYTES_MAX, PIECE_BYTES_MAX, PLAIN_CONNECTION_BYTES_MAX,
};
use crate::wire::{Family, Transport};

/// A sum that everything counted in it takes itself out of.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum(Rc<Cell<usize>>);

impl Sum {
    pub(super) fn bytes(&self) -> usize {
        self.0.get()
    }

    fn add(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_add(bytes));
    }

    fn subtract(&self, bytes: usize) {
        self.0.set(self.0.get().saturating_sub(bytes));
    }
}

/// The sums that something in flight on a connection counts to.
#[derive(Clone, Debug)]
pub(super) struct Room {
    connection: Sum,
    object: Sum,
    connection_bytes_max: usize,
}

impl Room {
    /// That of a new connection at an object.
    pub(super) fn new(family: Family, transport: Transport, object: &Sum) -> Self {
        Self {
            connection: Sum::default(),
            object: object.clone(),
            connection_bytes_max: match (transport, family) {
                (Transport::Http | Transport::DoRpc, _) => PIECE_BYTES_MAX,
                // Without acknowledgements, what was taken shows late.
                (Transport::WebSocket, Family::Plain) => PLAIN_CONNECTION_BYTES_MAX,
                (Transport::WebSocket, Family::Rpc) => CONNECTION_BYTES_MAX,
            },
        }
    }

    /// Bytes in flight on the connection.
    pub(super) fn bytes(&self) -> usize {
        self.connection.bytes()
    }

    /// Whether the object holds as much as it may.
    pub(super) fn is_object_full(&self) -> bool {
        self.object.bytes() >= OBJECT_BYTES_MAX
    }

    /// Whether `bytes` more may be sent; anything may where nothing is in flight, so that everyone gets on.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let (connection, object) = (self.connection.bytes(), self.object.bytes());
        let fits = connection == 0 || connection.saturating_add(bytes) <= self.connection_bytes_max;
        fits && (object == 0 || object.saturating_add(bytes) <= OBJECT_BYTES_MAX)
    }

    /// Whether one more page may be read and sent, whatever its size.
    pub(super) fn has_room(&self) -> bool {
        self.has_room_for(1)
    }
}

/// Pieces in flight, in the order they were sent; they are out of the sums when this is dropped.
#[derive(Debug)]
pub(super) struct InFlight {
    room: Room,
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl InFlight {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            sizes: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// How many pieces.
    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sizes.push_back(bytes);
        self.bytes += bytes;
        self.room.connection.add(bytes);
        self.room.object.add(bytes);
    }

    /// The oldest piece has been taken, if there is one.
    pub(super) fn taken(&mut self) {
        if let Some(bytes) = self.sizes.pop_front() {
            self.forget(bytes);
        }
    }

    /// The oldest `count` pieces have been taken.
    pub(super) fn several_taken(&mut self, count: usize) {
        for _ in 0..count {
            self.taken();
        }
    }

    /// Takes over what is in flight in `other`, which counts to the same sums.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.sizes.extend(other.sizes.drain(..));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// All of them have been taken.
    pub(super) fn all_taken(&mut self) {
        self.sizes.clear();
        self.forget(self.bytes);
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.room.connection.subtract(bytes);
        self.room.object.subtract(bytes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all_taken();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_follow_what_is_sent_taken_and_dropped() {
        let object = Sum::default();
        let room = Room::new(Family::Rpc, Transport::WebSocket, &object);
        let (mut first, mut second) = (InFlight::new(room.clone()), InFlight::new(room.clone()));
        first.sent(10);
        first.sent(20);
        second.sent(5);
        assert_eq!((room.bytes(), object.bytes(), first.count()), (35, 35, 2));
        first.taken();
        assert_eq!((room.bytes(), first.count()), (25, 1));
        drop(first);
        assert_eq!((room.bytes(), object.bytes()), (5, 5));
        second.all_taken();
        second.taken();
        assert_eq!((room.bytes(), object.bytes()), (0, 0));
    }

    #[test]
    fn a_connection_with_nothing_in_flight_may_send_anything_until_the_object_is_full() {
        let object = Sum::default();
        let (one, other) = (
            Room::new(Family::Rpc, Transport::WebSocket, &object),
            Room::new(Family::Rpc, Transport::WebSocket, &object),
        );
        assert!(one.has_room_for(10 * OBJECT_BYTES_MAX));
        let mut sent = InFlight::new(one.clone());
        sent.sent(CONNECTION_BYTES_MAX - 1);
        assert!(one.has_room_for(1) && !one.has_room_for(2));
        sent.sent(1);
        assert!(!one.has_room() && other.has_room_for(CONNECTION_BYTES_MAX));
        sent.sent(OBJECT_BYTES_MAX);
        assert!(!other.has_room() && other.is_object_full());
    }
}
