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
    /// Those of the connection that nobody will acknowledge.
    abandoned: Sum,
    object: Sum,
    /// Pieces that have been sent on the connection.
    sent: Rc<Cell<u64>>,
    connection_bytes_max: usize,
}

impl Room {
    /// That of a new connection at an object.
    pub(super) fn new(family: Family, transport: Transport, object: &Sum) -> Self {
        Self {
            connection: Sum::default(),
            abandoned: Sum::default(),
            object: object.clone(),
            sent: Rc::default(),
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

    /// Bytes in flight on the connection that nobody will acknowledge.
    pub(super) fn abandoned_bytes(&self) -> usize {
        self.abandoned.bytes()
    }

    /// Whether `bytes` more may be sent; anything may where no acknowledgement is to come, so that everyone
    /// gets on.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        let (connection, object) = (self.connection.bytes(), self.object.bytes());
        let is_idle = connection == self.abandoned.bytes();
        let fits = is_idle || connection.saturating_add(bytes) <= self.connection_bytes_max;
        fits && (object == 0 || object.saturating_add(bytes) <= OBJECT_BYTES_MAX)
    }

    /// So many bytes more are in flight.
    fn add(&self, bytes: usize) {
        self.connection.add(bytes);
        self.object.add(bytes);
    }

    /// So many are no more.
    fn subtract(&self, bytes: usize) {
        self.connection.subtract(bytes);
        self.object.subtract(bytes);
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
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// Something that was sent.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The how-manieth of its connection.
    number: u64,
    bytes: usize,
}

impl InFlight {
    pub(super) fn new(room: Room) -> Self {
        Self {
            room,
            pieces: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn room(&self) -> &Room {
        &self.room
    }

    /// How many pieces.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    /// Bytes of them.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        let number = self.room.sent.get() + 1;
        self.room.sent.set(number);
        self.pieces.push_back(Piece { number, bytes });
        self.bytes += bytes;
        self.room.add(bytes);
    }

    /// The oldest piece has been taken, if there is one; its number.
    pub(super) fn taken(&mut self) -> Option<u64> {
        let Piece { number, bytes } = self.pieces.pop_front()?;
        self.forget(bytes);
        Some(number)
    }

    /// The oldest `count` pieces have been taken.
    pub(super) fn several_taken(&mut self, count: usize) {
        for _ in 0..count {
            self.taken();
        }
    }

    /// Takes over what is in flight in `other`, which counts to the same sums.
    pub(super) fn absorb(&mut self, other: &mut Self) {
        self.pieces.extend(other.pieces.drain(..));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// All of them have been taken.
    pub(super) fn all_taken(&mut self) {
        self.pieces.clear();
        self.forget(self.bytes);
    }

    fn forget(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.room.subtract(bytes);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.all_taken();
    }
}

/// Bytes in flight of pulls that have ended early: nobody acknowledges them, but who acknowledges what was sent
/// after them has taken them.
#[derive(Debug)]
pub(super) struct Abandoned {
    room: Room,
    bytes: usize,
    /// The last piece.
    last: u64,
}

impl Abandoned {
    pub(super) fn new(room: Room) -> Self {
        let (bytes, last) = (0, 0);
        Self { room, bytes, last }
    }

    pub(super) fn add(&mut self, in_flight: &InFlight) {
        if let Some(piece) = in_flight.pieces.back() {
            self.last = self.last.max(piece.number);
        }
        let bytes = in_flight.bytes;
        self.bytes += bytes;
        self.room.abandoned.add(bytes);
        self.room.add(bytes);
    }

    /// The piece `number` of the connection has been taken.
    pub(super) fn taken(&mut self, number: u64) {
        if number > self.last {
            self.all_taken();
        }
    }

    pub(super) fn all_taken(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.room.abandoned.subtract(bytes);
        self.room.subtract(bytes);
    }
}

impl Drop for Abandoned {
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
    fn what_was_abandoned_counts_until_something_later_is_taken_and_stops_nobody() {
        let object = Sum::default();
        let room = Room::new(Family::Rpc, Transport::WebSocket, &object);
        let (mut one, mut other) = (InFlight::new(room.clone()), InFlight::new(room.clone()));
        let mut abandoned = Abandoned::new(room.clone());
        other.sent(1);
        one.sent(CONNECTION_BYTES_MAX);
        abandoned.add(&one);
        drop(one);
        assert_eq!(
            (room.bytes(), room.abandoned_bytes()),
            (CONNECTION_BYTES_MAX + 1, CONNECTION_BYTES_MAX)
        );
        assert!(!room.has_room());
        abandoned.taken(other.taken().unwrap());
        assert_eq!(room.bytes(), CONNECTION_BYTES_MAX, "it was sent earlier");
        assert!(room.has_room());
        other.sent(1);
        abandoned.taken(other.taken().unwrap());
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

    #[test]
    fn an_object_is_full_with_so_many_bytes_and_no_fewer() {
        let object = Sum::default();
        let one = Room::new(Family::Rpc, Transport::WebSocket, &object);
        let other = Room::new(Family::Rpc, Transport::WebSocket, &object);
        let mut sent = InFlight::new(one);
        sent.sent(OBJECT_BYTES_MAX - 1);
        assert!(!other.is_object_full());
        assert!(other.has_room_for(1) && !other.has_room_for(2));
        sent.sent(1);
        assert!(other.is_object_full() && !other.has_room());
        sent.several_taken(2);
        assert!(!other.is_object_full() && other.has_room_for(2 * OBJECT_BYTES_MAX));
    }

    #[test]
    fn what_is_taken_over_counts_once_and_in_its_order() {
        let room = Room::new(Family::Plain, Transport::WebSocket, &Sum::default());
        let (mut account, mut pull) = (InFlight::new(room.clone()), InFlight::new(room.clone()));
        account.sent(1);
        pull.sent(10);
        pull.sent(100);
        account.absorb(&mut pull);
        assert_eq!((pull.count(), pull.bytes()), (0, 0));
        assert_eq!(
            (account.count(), account.bytes(), room.bytes()),
            (3, 111, 111)
        );
        assert_eq!(account.taken(), Some(1));
        account.several_taken(1);
        assert_eq!((account.bytes(), room.bytes()), (100, 100));
        account.several_taken(9);
        assert_eq!((account.taken(), room.bytes()), (None, 0));
    }

    #[test]
    fn each_kind_of_connection_has_its_own_room() {
        for (family, transport, bytes) in [
            (Family::Rpc, Transport::WebSocket, CONNECTION_BYTES_MAX),
            (
                Family::Plain,
                Transport::WebSocket,
                PLAIN_CONNECTION_BYTES_MAX,
            ),
            (Family::Rpc, Transport::Http, PIECE_BYTES_MAX),
            (Family::Rpc, Transport::DoRpc, PIECE_BYTES_MAX),
        ] {
            let room = Room::new(family, transport, &Sum::default());
            let mut sent = InFlight::new(room.clone());
            sent.sent(1);
            assert!(
                room.has_room_for(bytes - 1) && !room.has_room_for(bytes),
                "{transport:?}"
            );
        }
    }
}
