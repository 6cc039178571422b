//! What an operator may want to read: lines for the log. They never hold event args or tokens.

use std::fmt;
use std::rc::Rc;

use crate::event::SeqNum;
use crate::wire::{Generation, Requester, Transport};

/// Which request a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The dialect.
    pub generation: Generation,
    /// How it came.
    pub transport: Transport,
    /// The trace its client counts it to.
    pub trace_id: Option<Rc<str>>,
}

impl About {
    pub(super) fn new(requester: &Requester, transport: Transport) -> Self {
        Self {
            generation: requester.generation,
            transport,
            trace_id: requester.trace_id.clone(),
        }
    }
}

/// Why a request is refused, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The push does not continue from the head.
    ServerAhead,
    /// The client knows another lifetime of the log.
    BackendIdMismatch,
    /// The payload names another store.
    OtherStore,
    /// `MAX_FRAME_BYTES`.
    FrameTooLarge,
    /// The events are no batch: no chain, or one of them beyond a limit.
    NoBatch,
    /// `EVENT_NAMES`.
    EventName,
    /// `MAX_STORE_BYTES`.
    StoreFull,
    /// `PUSH_RATE`.
    PushRate,
    /// `MAX_CONNECTIONS`.
    Connections,
    /// More pulls on one connection than it can hold.
    Pulls,
    /// The token grants reading alone.
    ReadOnly,
    /// The token has expired.
    Expired,
    /// The message was not understood.
    Malformed,
    /// A hook refused it.
    Hook,
    /// The wrong secret, or none is set.
    AdminSecret,
    /// The platform's storage failed.
    Storage,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 16] = [
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
        Self::ReadOnly,
        Self::Expired,
        Self::Malformed,
        Self::Hook,
        Self::AdminSecret,
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
            Self::ReadOnly => "read-only",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::Hook => "hook",
            Self::AdminSecret => "admin-secret",
            Self::Storage => "storage",
        }
    }
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// A push was stored.
    Stored {
        /// The request.
        about: About,
        /// How many events.
        events: usize,
        /// The head since then.
        head: SeqNum,
    },
    /// A pull was answered, or its first pages were.
    Pulled {
        /// The request.
        about: About,
        /// The cursor it came with.
        after: SeqNum,
    },
    /// A request was refused.
    Refused {
        /// The request.
        about: About,
        /// As it is counted.
        reason: Reason,
        /// Why, in words.
        message: String,
    },
    /// A push did not continue from the head: another was faster, which is how clients notice.
    LostRace {
        /// The request.
        about: About,
        /// The head.
        head: SeqNum,
        /// What the push continued from.
        provided: SeqNum,
    },
    /// A client has been refused again and again because it does not know the head.
    StuckClient {
        /// As it calls itself in its events.
        client_id: String,
        /// Refusals in a row.
        refusals: u32,
    },
    /// A live pull is far behind and its client takes nothing.
    StuckPull {
        /// The dialect.
        generation: Generation,
        /// Events it lacks.
        lag: u64,
    },
    /// The platform's storage failed.
    StoreFailed {
        /// What was being done.
        during: &'static str,
        /// What SQLite said.
        message: String,
    },
    /// A client acknowledged pages of a pull that nobody knows, and was told to connect again.
    UnknownPull,
    /// A connection's token has expired, and it was closed.
    Expired,
    /// A client had not pulled on its connection for too long, and was told to connect again.
    Overdue,
    /// A client object could not be called for too long, and is called no more.
    CallerDropped {
        /// Its id.
        object_id: String,
        /// How the last call failed.
        message: String,
    },
    /// The store was emptied by its administration.
    Reset {
        /// Events it had.
        events: u64,
    },
}

impl Report {
    /// The request it is about, if it is about one.
    #[must_use]
    pub fn about(&self) -> Option<&About> {
        match self {
            Self::Stored { about, .. }
            | Self::Pulled { about, .. }
            | Self::Refused { about, .. }
            | Self::LostRace { about, .. } => Some(about),
            Self::StuckClient { .. }
            | Self::StuckPull { .. }
            | Self::StoreFailed { .. }
            | Self::UnknownPull
            | Self::Expired
            | Self::Overdue
            | Self::CallerDropped { .. }
            | Self::Reset { .. } => None,
        }
    }

    /// Why the request it is about was refused, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { reason, .. } => Some(*reason),
            Self::LostRace { .. } => Some(Reason::ServerAhead),
            _ => None,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stored { events, head, .. } => {
                write!(f, "stored {events} events, the head is {head}")
            }
            Self::Pulled { after, .. } => write!(f, "answered a pull after {after}"),
            Self::Refused { message, .. } => f.write_str(message),
            Self::LostRace { head, provided, .. } => {
                write!(
                    f,
                    "a push continued from {provided}, but the head is {head}"
                )
            }
            Self::StuckClient {
                client_id,
                refusals,
            } => write!(
                f,
                "client {client_id} was refused {refusals} times in a row because it does not know the head"
            ),
            Self::StuckPull { generation, lag } => write!(
                f,
                "a live pull ({}) lacks {lag} events and takes none",
                generation.name()
            ),
            Self::StoreFailed { during, message } => {
                write!(f, "storage failed during {during}: {message}")
            }
            Self::UnknownPull => {
                f.write_str("closed a connection that acknowledged an unknown pull")
            }
            Self::Expired => f.write_str("closed a connection whose token has expired"),
            Self::Overdue => f.write_str("closed a connection on which nothing was pulled"),
            Self::CallerDropped { object_id, message } => {
                write!(
                    f,
                    "gave up calling the client object {object_id}: {message}"
                )
            }
            Self::Reset { events } => write!(f, "removed {events} events"),
        }
    }
}
