//! What an operator may want to read: lines for the log. They never hold event args or tokens.

use std::fmt;
use std::rc::Rc;

use super::refusal::{Reason, Refusal};
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
        /// The request; `None` where there is none yet: a connection that is not accepted.
        about: Option<About>,
        /// Why.
        refusal: Refusal,
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
    /// A hook failed.
    HookFailed {
        /// What it said.
        message: String,
    },
    /// A client acknowledged pages of a pull that is none of its socket's, and was told to connect again.
    UnknownPull,
    /// A connection's token has expired, and it was closed.
    Expired,
    /// A connection was closed because its client took nothing, while the object held as much as it may.
    TakesNothing {
        /// Bytes that were on their way.
        bytes: usize,
    },
    /// A client object could not be called for too long, and is called no more.
    ClientObjectDropped {
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
            Self::Stored { about, .. } | Self::Pulled { about, .. } => Some(about),
            Self::Refused { about, .. } => about.as_ref(),
            Self::StuckClient { .. }
            | Self::StuckPull { .. }
            | Self::StoreFailed { .. }
            | Self::HookFailed { .. }
            | Self::UnknownPull
            | Self::Expired
            | Self::TakesNothing { .. }
            | Self::ClientObjectDropped { .. }
            | Self::Reset { .. } => None,
        }
    }

    /// Why the request it is about was refused, if it was.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.reason()),
            Self::TakesNothing { .. } => Some(Reason::Memory),
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
            Self::Refused { refusal, .. } => refusal.fmt(f),
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
            Self::HookFailed { message } => f.write_str(message),
            Self::UnknownPull => {
                f.write_str("closed a connection that acknowledged an unknown pull")
            }
            Self::Expired => f.write_str("closed a connection whose token has expired"),
            Self::TakesNothing { bytes } => write!(
                f,
                "closed a connection that took none of the {bytes} bytes on their way to it"
            ),
            Self::ClientObjectDropped { object_id, message } => {
                write!(
                    f,
                    "gave up calling the client object {object_id}: {message}"
                )
            }
            Self::Reset { events } => write!(f, "removed {events} events"),
        }
    }
}
