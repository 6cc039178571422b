//! Handing a batch to SQLite in few values.

use super::sql::Param;
use crate::event::Event;
use crate::limits::{PACK_BYTES_KEPT, PACK_BYTES_MAX};

/// Everything textual of a run, so that any number of events crosses to SQLite as numbers and one BLOB:
/// `created at`, client id and session id, then each event's name and args. Positions count from 1, as SQL does.
#[derive(Debug, Default)]
pub(super) struct Pack {
    pub(super) bytes: Vec<u8>,
}

/// Consecutive events of one client session that go into one BLOB.
pub(super) struct Run<'a> {
    pub(super) first: i64,
    client_id: &'a str,
    session_id: &'a str,
    pub(super) contents: Contents,
}

/// Where the events of a run are.
pub(super) enum Contents {
    /// One event, right after the session id.
    One {
        name_bytes: usize,
        args_bytes: usize,
    },
    /// A JSON array of `position << 33 | name bytes << 21 | args bytes`, an integer an event.
    Many { offsets: String },
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
    pub(super) fn pack<'a>(
        &mut self,
        created_at: &str,
        events: &'a [Event<'_>],
    ) -> Option<Run<'a>> {
        self.bytes.clear();
        let first = events.first()?;
        Some(self.pack_run(created_at, first, events))
    }

    /// Lets go of memory that is more than most pushes need: every store of an isolate has its own.
    pub(super) fn shrink(&mut self) {
        if self.bytes.capacity() > PACK_BYTES_KEPT {
            self.bytes = Vec::new();
        }
    }

    fn pack_run<'a>(
        &mut self,
        created_at: &str,
        first: &'a Event<'_>,
        events: &[Event<'_>],
    ) -> Run<'a> {
        use std::fmt::Write as _;
        for origin in [created_at, &first.client_id, &first.session_id] {
            self.bytes.extend_from_slice(origin.as_bytes());
        }
        let mut offsets = String::new();
        for event in events {
            let args = event.args_text().unwrap_or_default();
            if events.len() > 1 {
                let position = self.bytes.len() as u64 + 1;
                let packed = position << 33 | (event.name.len() as u64) << 21 | args.len() as u64;
                let before = if offsets.is_empty() { '[' } else { ',' };
                // Writing to a string cannot fail.
                let _ = write!(offsets, "{before}{packed}");
            }
            self.bytes.extend_from_slice(event.name.as_bytes());
            self.bytes.extend_from_slice(args.as_bytes());
        }
        let contents = if events.len() > 1 {
            offsets.push(']');
            Contents::Many { offsets }
        } else {
            let args_bytes = first.args_text().map_or(0, str::len);
            Contents::One {
                name_bytes: first.name.len(),
                args_bytes,
            }
        };
        let (client_id, session_id) = (&first.client_id, &first.session_id);
        Run {
            first: first.seq_num,
            client_id,
            session_id,
            contents,
        }
    }
}

impl Run<'_> {
    /// The parameters of its statement; the last one is for a run of one event only.
    pub(super) fn params<'a, T>(&'a self, bytes: &'a [u8], created_at: &str) -> [Param<'a, T>; 8] {
        let length = |bytes: usize| Param::Int(i64::try_from(bytes).unwrap_or(i64::MAX));
        let (contents, last) = match &self.contents {
            Contents::One {
                name_bytes,
                args_bytes,
            } => (length(*name_bytes), length(*args_bytes)),
            Contents::Many { offsets } => (Param::Text(offsets), Param::Int(0)),
        };
        [
            Param::Int(self.first),
            Param::Bytes(bytes),
            length(created_at.len()),
            length(created_at.len() + 1),
            length(self.client_id.len()),
            length(self.session_id.len()),
            contents,
            last,
        ]
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
            let mut pack = Pack { bytes };
            pack.shrink();
            assert_eq!(pack.bytes.capacity(), kept, "{capacity}");
        }
    }
}
