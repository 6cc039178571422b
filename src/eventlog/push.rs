//! Whether a batch may be appended: its lifetime of the log, its place after the head.

use crate::event::{BackendId, Batch, SeqNum};
use crate::store::EventStore;
use crate::store::sql::{Sql, StoreError};

/// What the log says to a batch.
#[derive(Debug)]
pub enum Admission<'a> {
    /// Append this: the whole batch, or what follows the part of it that is stored already.
    Append(Batch<'a>),
    /// Every event is stored already: the acknowledgement of an earlier push was lost.
    Repeated {
        /// Who pushed it.
        client_id: String,
    },
    /// It does not start at the head: nothing of it is stored.
    Behind {
        /// Who pushed it.
        client_id: String,
        /// The head.
        head: SeqNum,
        /// The parent of the batch.
        provided: SeqNum,
    },
}

/// Whether a client means this lifetime of the log; one that knows none yet does.
///
/// *Shape*: comes before anything else is said of a push, as in the reference: a client of another
/// lifetime has to start over, whatever it pushes.
#[must_use]
pub fn is_lifetime(own: &BackendId, received: Option<&str>) -> bool {
    received.is_none_or(|received| received == own.as_str())
}

/// Decides about `batch`.
///
/// A batch that starts below the head is a retry if its events are stored as they stand (the
/// acknowledgement was lost); any other has lost a race.
///
/// # Errors
/// When the log cannot be read.
pub fn admit<'a, S: Sql>(
    store: &EventStore<S>,
    batch: Batch<'a>,
) -> Result<Admission<'a>, StoreError> {
    let (head, provided) = (store.head(), batch.parent());
    if provided == head {
        return Ok(Admission::Append(batch));
    }
    let client_id = batch.client_id().to_owned();
    let behind = Admission::Behind {
        client_id: client_id.clone(),
        head,
        provided,
    };
    if provided > head {
        return Ok(behind);
    }
    let Some(repeated) = store.count_repeated(batch.events())? else {
        return Ok(behind);
    };
    Ok(match batch.after(repeated) {
        None => Admission::Repeated { client_id },
        Some(rest) if rest.parent() == head => Admission::Append(rest),
        Some(_) => behind,
    })
}
