//! Handing a batch to SQLite in few values.

use std::fmt::Write as _;

use super::sql::{Contents, Rows};
use crate::event::Event;
use crate::limits::{PACK_BYTES_KEPT, PACK_BYTES_MAX};

/// Everything textual of a run, so that any number of events crosses to SQLite as numbers and one BLOB: see [`Rows`].
#[derive(Debug, Default)]
pub(super) struct Pack {
    bytes: Vec<u8>,
    offsets: String,
}

/// The events of a batch, cut into those that go into one BLOB each.
pub(super) fn runs<'a, 'b>(
    events: &'a [Event<'b>],
) -> impl Iterator<Item = &'a [Event<'b>]> + Clone {
    let mut packed = 0;
    events.chunk_by(move |event, next| {
        packed += event.content_bytes();
        let fits = packed + next.content_bytes() <= PACK_BYTES_MAX;
        let continues =
            fits && event.client_id == next.client_id && event.session_id == next.session_id;
        if !continues {
            packed = 0;
        }
        continues
    })
}

impl Pack {
    /// Packs the events of one run, instead of what was packed before.
    pub(super) fn pack(&mut self, created_at: &str, events: &[Event<'_>]) -> Option<Rows<'_>> {
        self.bytes.clear();
        self.offsets.clear();
        let first = events.first()?;
        for origin in [created_at, &first.client_id, &first.session_id] {
            self.bytes.extend_from_slice(origin.as_bytes());
        }
        let is_one = events.len() == 1;
        for event in events {
            let args = event.args_text().unwrap_or_default();
            if !is_one {
                let position = self.bytes.len() as u64 + 1;
                let packed = position << 33 | (event.name.len() as u64) << 21 | args.len() as u64;
                let before = if self.offsets.is_empty() { '[' } else { ',' };
                // Writing to a string cannot fail.
                let _ = write!(self.offsets, "{before}{packed}");
            }
            self.bytes.extend_from_slice(event.name.as_bytes());
            self.bytes.extend_from_slice(args.as_bytes());
        }
        let contents = if is_one {
            Contents::One {
                name_bytes: first.name.len(),
                args_bytes: first.args_text().map_or(0, str::len),
            }
        } else {
            self.offsets.push(']');
            Contents::Many {
                offsets: &self.offsets,
            }
        };
        Some(Rows {
            first: first.seq_num,
            bytes: &self.bytes,
            created_at_bytes: created_at.len(),
            client_id_bytes: first.client_id.len(),
            session_id_bytes: first.session_id.len(),
            contents,
        })
    }

    /// Lets go of memory that is more than most pushes need: every store of an isolate has its own.
    pub(super) fn shrink(&mut self) {
        if self.bytes.capacity() > PACK_BYTES_KEPT {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_for_the_next_push_unless_it_is_more_than_most_need() {
        for (capacity, kept) in [
            (PACK_BYTES_KEPT, PACK_BYTES_KEPT),
            (PACK_BYTES_KEPT + 1, 0),
            (PACK_BYTES_MAX, 0),
        ] {
            let mut bytes = Vec::new();
            bytes.reserve_exact(capacity);
            assert_eq!(bytes.capacity(), capacity);
            let mut pack = Pack {
                bytes,
                ..Pack::default()
            };
            pack.shrink();
            assert_eq!(pack.bytes.capacity(), kept, "{capacity}");
        }
    }
}
