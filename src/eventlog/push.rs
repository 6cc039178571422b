//! Whether a batch may be appended: its lifetime of the log, its place after the head.

use thiserror::Error;

use crate::event::{BackendId, Batch, SeqNum};
use crate::store::EventStore;
use crate::store::sql::{Sql, StoreError};

/// A push that the log accepts.
#[derive(Debug)]
pub enum Admission<'a> {
    /// Append this: the whole batch, or what follows the part of it that is stored already.
    Append(Batch<'a>),
    /// Every event is stored already: the acknowledgement of an earlier push was lost.
    Repeated,
}

/// A push that the log refuses; nothing of it is stored.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The client knows another lifetime of the log.
    #[error("the client's backend id is not this log's")]
    BackendIdMismatch {
        /// What the client sent.
        received: String,
    },
    /// The batch does not start at the head.
    #[error("the batch continues from {provided}, but the head is {minimum_expected}")]
    ServerAhead {
        /// The head.
        minimum_expected: SeqNum,
        /// The parent of the batch.
        provided: SeqNum,
    },
    /// The log could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Checks that a client means this lifetime of the log; one that knows none yet may push.
///
/// *Shape*: comes before anything else is said of a push, as in the reference: a client of another
/// lifetime has to start over, whatever it pushes.
///
/// # Errors
/// [`Refusal::BackendIdMismatch`].
pub fn check_lifetime(own: &BackendId, received: Option<&str>) -> Result<(), Refusal> {
    match received.filter(|received| *received != own.as_str()) {
        Some(received) => Err(Refusal::BackendIdMismatch {
            received: received.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Decides about `batch`.
///
/// A batch that starts below the head is a retry if its events are stored as they stand (the
/// acknowledgement was lost); any other has lost a race.
///
/// # Errors
/// Why the batch is refused.
pub fn admit<'a, S: Sql>(
    store: &EventStore<S>,
    batch: Batch<'a>,
) -> Result<Admission<'a>, Refusal> {
    let (head, parent) = (store.head(), batch.parent());
    let ahead = Refusal::ServerAhead {
        minimum_expected: head,
        provided: parent,
    };
    if parent == head {
        return Ok(Admission::Append(batch));
    }
    if parent > head {
        return Err(ahead);
    }
    match store.count_repeated(batch.events())? {
        None => Err(ahead),
        Some(repeated) => match batch.after(repeated) {
            None => Ok(Admission::Repeated),
            Some(rest) if rest.parent() == head => Ok(Admission::Append(rest)),
            Some(_) => Err(ahead),
        },
    }
}
