//! The open connections of a store, each under an id that is never another's.

use super::connection::Connection;

/// Names a connection within one backend: its slot, and the how-manieth connection of that slot it is. So an
/// id that outlives its connection finds nothing, whoever sits in the slot by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    slot: u32,
    occupant: u32,
}

/// Bits of a slot in [`ConnectionId::to_number`].
const SLOT_BITS: u32 = 21;

impl ConnectionId {
    /// The id as a number below 2^53, to keep beside a socket.
    #[must_use]
    pub fn to_number(self) -> u64 {
        u64::from(self.occupant) << SLOT_BITS | u64::from(self.slot)
    }

    /// The id that [`ConnectionId::to_number`] gave out.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Some(Self {
            slot: u32::try_from(number & ((1 << SLOT_BITS) - 1)).ok()?,
            occupant: u32::try_from(number >> SLOT_BITS).ok()?,
        })
    }

    /// Its slot: a small number, which a later connection may have as well.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// The open connections.
#[derive(Debug)]
pub(super) struct Connections<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    occupant: u32,
    connection: Option<Connection<T>>,
}

impl<T> Connections<T> {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(super) fn insert(&mut self, connection: Connection<T>) -> ConnectionId {
        let free = self.free.pop();
        let slot = free.unwrap_or_else(|| u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        if let Some(vacant) = self.slots.get_mut(slot as usize) {
            vacant.occupant = vacant.occupant.wrapping_add(1);
            vacant.connection = Some(connection);
            let occupant = vacant.occupant;
            return ConnectionId { slot, occupant };
        }
        self.slots.push(Slot {
            occupant: 0,
            connection: Some(connection),
        });
        ConnectionId { slot, occupant: 0 }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection<T>> {
        let slot = self.slot_mut(id)?;
        let connection = slot.connection.take()?;
        self.free.push(id.slot);
        Some(connection)
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection<T>> {
        let slot = self.slots.get(id.slot())?;
        slot.connection
            .as_ref()
            .filter(|_| slot.occupant == id.occupant)
    }

    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection<T>> {
        self.slot_mut(id)?.connection.as_mut()
    }

    fn slot_mut(&mut self, id: ConnectionId) -> Option<&mut Slot<T>> {
        let slot = self.slots.get_mut(id.slot())?;
        (slot.occupant == id.occupant).then_some(slot)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection<T>> {
        self.slots
            .iter()
            .filter_map(|slot| slot.connection.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ConnectionId, &mut Connection<T>)> {
        let slots = self.slots.iter_mut().zip(0..);
        slots.filter_map(
            |(
                Slot {
                    occupant,
                    connection,
                },
                slot,
            )| {
                let id = ConnectionId {
                    slot,
                    occupant: *occupant,
                };
                connection.as_mut().map(|connection| (id, connection))
            },
        )
    }

    /// The ids of those that `is_meant`.
    pub(super) fn ids(&self, is_meant: impl Fn(&Connection<T>) -> bool) -> Vec<ConnectionId> {
        let slots = self.slots.iter().zip(0..);
        let meant = slots.filter_map(|(one, slot)| {
            let occupant = one.occupant;
            let is_one = one.connection.as_ref().is_some_and(&is_meant);
            is_one.then_some(ConnectionId { slot, occupant })
        });
        meant.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_id_and_fits_a_double() {
        for (slot, occupant) in [
            (0, 0),
            (1, 0),
            (0, 1),
            (32_768, 7),
            ((1 << 21) - 1, u32::MAX),
        ] {
            let id = ConnectionId { slot, occupant };
            assert!(id.to_number() < 1 << 53);
            assert_eq!(ConnectionId::from_number(id.to_number()), Some(id));
        }
        assert_eq!(ConnectionId::from_number(u64::MAX), None);
    }
}
