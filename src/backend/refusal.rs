//! Why a request is not done: one type with the facts of each case, from which follow how it is counted,
//! what its client is told, and in which words.

use thiserror::Error;

use crate::event::{BackendId, BatchError, SeqNum};
use crate::hooks::HookError;
use crate::store::sql::StoreError;
use crate::wire::{Failure, Malformed};

/// Why a request is refused. The text is what a client and the log are told.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The push does not continue from the head: another was faster, which is how clients notice.
    #[error("a push continued from {provided}, but the head is {head}")]
    ServerAhead {
        /// The head.
        head: SeqNum,
        /// What the push continued from.
        provided: SeqNum,
    },
    /// The client knows another lifetime of the log.
    #[error("another backend id")]
    BackendIdMismatch {
        /// That of this log.
        expected: BackendId,
        /// What the client sent.
        received: String,
    },
    /// A 0.3 client, which knows no lifetimes, has events that this one does not.
    #[error(
        "the store was emptied since this client pulled from it: clear its data and start again"
    )]
    OtherLifetime,
    /// The payload names another store.
    #[error("payload.storeId is not the store of this connection")]
    OtherStore,
    /// The visitor asks for another store than that of the object it was led to.
    #[error("this object belongs to another store")]
    OtherObject,
    /// `MAX_FRAME_BYTES`.
    #[error("the frame has {bytes} bytes, but at most {bytes_max} are accepted (MAX_FRAME_BYTES)")]
    FrameTooLarge {
        /// Bytes of the frame.
        bytes: usize,
        /// Bytes it may have.
        bytes_max: usize,
    },
    /// The events are no batch: no chain, or one of them beyond a limit.
    #[error(transparent)]
    NoBatch(#[from] BatchError),
    /// `EVENT_NAMES`.
    #[error("batch[{index}].name is '{name}', which EVENT_NAMES does not allow")]
    EventName {
        /// Where in the batch.
        index: usize,
        /// Its first letters.
        name: String,
    },
    /// `MAX_STORE_BYTES`.
    #[error("the store has {bytes} bytes, but at most {bytes_max} are accepted (MAX_STORE_BYTES)")]
    StoreFull {
        /// Bytes of the database.
        bytes: u64,
        /// Bytes it may have.
        bytes_max: u64,
    },
    /// `PUSH_RATE`.
    #[error("more than {rate} pushes per second (PUSH_RATE): try again later")]
    PushRate {
        /// Pushes per second.
        rate: u32,
    },
    /// `MAX_CONNECTIONS`.
    #[error("This store has as many connections as it accepts (MAX_CONNECTIONS)")]
    Connections,
    /// More pulls on one connection than it can hold.
    #[error("this connection has as many pulls under way as one connection can hold")]
    Pulls,
    /// What waits for hooks has as many bytes as an object holds.
    #[error("too much waits for the hooks of this store: try again later")]
    Busy,
    /// The token grants reading alone.
    #[error("the token grants reading alone: pushes are refused")]
    ReadOnly,
    /// The token grants reading alone, and there is nothing to read.
    #[error("There is no such store, and the token does not allow to make one")]
    NoStore,
    /// The token has expired.
    #[error("the token has expired")]
    Expired,
    /// The message was not understood.
    #[error("{0}")]
    Malformed(String),
    /// A hook refused it.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The wrong secret, or none is set.
    #[error("Invalid admin secret")]
    AdminSecret,
    /// The log is being brought in.
    #[error("The store is being restored: try again later")]
    Restoring,
    /// The store is being deleted.
    #[error("The store is being deleted: try again later")]
    Deleting,
    /// The platform's storage failed. What it said is for the log alone.
    #[error("the backend could not {what}")]
    Storage {
        /// What was to be done.
        what: &'static str,
        /// What SQLite said.
        error: StoreError,
    },
}

/// A kind of refusal, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// [`Refusal::ServerAhead`].
    ServerAhead,
    /// [`Refusal::BackendIdMismatch`], [`Refusal::OtherLifetime`].
    BackendIdMismatch,
    /// [`Refusal::OtherStore`], [`Refusal::OtherObject`].
    OtherStore,
    /// [`Refusal::FrameTooLarge`].
    FrameTooLarge,
    /// [`Refusal::NoBatch`].
    NoBatch,
    /// [`Refusal::EventName`].
    EventName,
    /// [`Refusal::StoreFull`].
    StoreFull,
    /// [`Refusal::PushRate`].
    PushRate,
    /// [`Refusal::Connections`].
    Connections,
    /// [`Refusal::Pulls`].
    Pulls,
    /// [`Refusal::Busy`], and sockets closed because they take nothing.
    Memory,
    /// [`Refusal::ReadOnly`].
    ReadOnly,
    /// [`Refusal::NoStore`].
    NoStore,
    /// [`Refusal::Expired`].
    Expired,
    /// [`Refusal::Malformed`].
    Malformed,
    /// [`Refusal::Hook`].
    Hook,
    /// [`Refusal::AdminSecret`].
    AdminSecret,
    /// [`Refusal::Restoring`].
    Restoring,
    /// [`Refusal::Deleting`].
    Deleting,
    /// [`Refusal::Storage`].
    Storage,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::ServerAhead,
        Self::BackendIdMismatch,
        Self::OtherStore,
        Self::FrameTooLarge,
        Self::NoBatch,
        Self::EventName,
        Self::StoreFull,
        Self::PushRate,
        Self::Connections,
        Self::Pulls,
        Self::Memory,
        Self::ReadOnly,
        Self::NoStore,
        Self::Expired,
        Self::Malformed,
        Self::Hook,
        Self::AdminSecret,
        Self::Restoring,
        Self::Deleting,
        Self::Storage,
    ];

    /// Its name in log lines and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ServerAhead => "server-ahead",
            Self::BackendIdMismatch => "backend-id-mismatch",
            Self::OtherStore => "other-store",
            Self::FrameTooLarge => "frame-too-large",
            Self::NoBatch => "no-batch",
            Self::EventName => "event-name",
            Self::StoreFull => "store-full",
            Self::PushRate => "push-rate",
            Self::Connections => "connections",
            Self::Pulls => "pulls",
            Self::Memory => "memory",
            Self::ReadOnly => "read-only",
            Self::NoStore => "no-store",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::Hook => "hook",
            Self::AdminSecret => "admin-secret",
            Self::Restoring => "restoring",
            Self::Deleting => "deleting",
            Self::Storage => "storage",
        }
    }
}

impl Refusal {
    /// As it is counted.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::ServerAhead { .. } => Reason::ServerAhead,
            Self::BackendIdMismatch { .. } | Self::OtherLifetime => Reason::BackendIdMismatch,
            Self::OtherStore | Self::OtherObject => Reason::OtherStore,
            Self::FrameTooLarge { .. } => Reason::FrameTooLarge,
            Self::NoBatch(_) => Reason::NoBatch,
            Self::EventName { .. } => Reason::EventName,
            Self::StoreFull { .. } => Reason::StoreFull,
            Self::PushRate { .. } => Reason::PushRate,
            Self::Connections => Reason::Connections,
            Self::Pulls => Reason::Pulls,
            Self::Busy => Reason::Memory,
            Self::ReadOnly => Reason::ReadOnly,
            Self::NoStore => Reason::NoStore,
            Self::Expired => Reason::Expired,
            Self::Malformed(_) => Reason::Malformed,
            Self::Hook(_) => Reason::Hook,
            Self::AdminSecret => Reason::AdminSecret,
            Self::Restoring => Reason::Restoring,
            Self::Deleting => Reason::Deleting,
            Self::Storage { .. } => Reason::Storage,
        }
    }

    /// As its client is told.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::ServerAhead { head, provided } => Failure::ServerAhead {
                minimum_expected: *head,
                provided: *provided,
            },
            Self::BackendIdMismatch { expected, received } => Failure::BackendIdMismatch {
                expected: expected.clone(),
                received: received.clone(),
            },
            other => Failure::Unknown {
                message: other.to_string(),
            },
        }
    }

    /// Whether the same request may be done later: clients take an answer in words for final.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::StoreFull { .. }
            | Self::PushRate { .. }
            | Self::Busy
            | Self::Restoring
            | Self::Deleting
            | Self::Storage { .. } => true,
            Self::ServerAhead { .. }
            | Self::BackendIdMismatch { .. }
            | Self::OtherLifetime
            | Self::OtherStore
            | Self::OtherObject
            | Self::FrameTooLarge { .. }
            | Self::NoBatch(_)
            | Self::EventName { .. }
            | Self::Connections
            | Self::Pulls
            | Self::ReadOnly
            | Self::NoStore
            | Self::Expired
            | Self::Malformed(_)
            | Self::Hook(_)
            | Self::AdminSecret => false,
        }
    }

    /// The HTTP status for a visitor that is not let in.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoStore => 404,
            Self::OtherObject => 400,
            _ => 503,
        }
    }

    /// That of a message that was not understood. What its client made up stands behind the words for it, and
    /// is for that client alone.
    pub(super) fn of_message(malformed: &Malformed) -> Self {
        let message = malformed.message();
        let message = message.split(" tag: ").next().unwrap_or_default();
        Self::Malformed(message.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each, with how it is counted, and whether the same may be asked for later.
    fn all() -> Vec<(Refusal, &'static str, bool)> {
        let (head, provided) = (SeqNum::from(5), SeqNum::from(3));
        let error = StoreError {
            message: "disk I/O error".to_owned(),
        };
        let storage = Refusal::Storage {
            what: "read the events",
            error,
        };
        let mismatch = Refusal::BackendIdMismatch {
            expected: BackendId::stored("new".to_owned()),
            received: "old".to_owned(),
        };
        let (bytes, bytes_max) = (9, 8);
        let large = Refusal::FrameTooLarge { bytes, bytes_max };
        let no_batch = Refusal::NoBatch(BatchError::TooManyEvents { events: 2, max: 1 });
        let (index, name) = (1, "v1.x".to_owned());
        let named = Refusal::EventName { index, name };
        let (bytes, bytes_max) = (9, 8);
        let full = Refusal::StoreFull { bytes, bytes_max };
        vec![
            (
                Refusal::ServerAhead { head, provided },
                "server-ahead",
                false,
            ),
            (mismatch, "backend-id-mismatch", false),
            (Refusal::OtherLifetime, "backend-id-mismatch", false),
            (Refusal::OtherStore, "other-store", false),
            (large, "frame-too-large", false),
            (no_batch, "no-batch", false),
            (named, "event-name", false),
            (full, "store-full", true),
            (Refusal::PushRate { rate: 2 }, "push-rate", true),
            (Refusal::Connections, "connections", false),
            (Refusal::Pulls, "pulls", false),
            (Refusal::Busy, "memory", true),
            (Refusal::ReadOnly, "read-only", false),
            (Refusal::NoStore, "no-store", false),
            (Refusal::Expired, "expired", false),
            (Refusal::Malformed("no".to_owned()), "malformed", false),
            (Refusal::Hook(HookError::new("no")), "hook", false),
            (Refusal::AdminSecret, "admin-secret", false),
            (Refusal::Restoring, "restoring", true),
            (Refusal::Deleting, "deleting", true),
            (storage, "storage", true),
        ]
    }

    #[test]
    fn each_is_counted_as_its_kind_and_the_temporary_ones_are_known() {
        let mut counted = std::collections::BTreeSet::new();
        for (refusal, reason, is_temporary) in all() {
            assert_eq!(refusal.reason().name(), reason);
            assert_eq!(refusal.is_temporary(), is_temporary, "{reason}");
            counted.insert(reason);
        }
        assert_eq!(counted.len(), Reason::ALL.len());
    }

    #[test]
    fn clients_are_told_in_words_unless_they_know_an_error_for_it() {
        for (refusal, _, _) in all() {
            let message = refusal.to_string();
            assert!(!message.is_empty() && !message.contains("disk I/O"));
            let expected = match &refusal {
                Refusal::ServerAhead { head, provided } => Failure::ServerAhead {
                    minimum_expected: *head,
                    provided: *provided,
                },
                Refusal::BackendIdMismatch { expected, received } => Failure::BackendIdMismatch {
                    expected: expected.clone(),
                    received: received.clone(),
                },
                _ => Failure::Unknown { message },
            };
            assert_eq!(refusal.failure(), expected);
        }
    }
}
