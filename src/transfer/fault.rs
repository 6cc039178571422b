//! Why a file is not read, and where.

use std::fmt;

use thiserror::Error;

use super::VERSION;
use crate::event::SeqNum;
use crate::json::JsonError;

/// A file cannot be read further. *Errors*: whoever sent it is told the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{place}: {fault}")]
pub struct ReadError {
    /// Where.
    pub place: Place,
    /// Why.
    pub fault: Fault,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line, from 1.
    Line(u64),
    /// An event of a JSON document, from 1.
    Event(u64),
    /// A byte, from 1.
    Byte(u64),
    /// All of it.
    File,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(number) => write!(f, "line {number}"),
            Self::Event(number) => write!(f, "event {number}"),
            Self::Byte(number) => write!(f, "byte {number}"),
            Self::File => f.write_str("the file"),
        }
    }
}

/// What is wrong with a file.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is in it.
    #[error("nothing is in it")]
    Empty,
    /// It is something else.
    #[error("this is neither an export of a store, nor what LiveStore's sync export writes")]
    Unknown,
    /// An editor has written it.
    #[error("it begins with a byte order mark: send it as it was written")]
    ByteOrderMark,
    /// It was changed on its way.
    #[error("it ends with a carriage return: copy the file as it was written, not as text")]
    CarriageReturn,
    /// Lines of events that have no end.
    #[error(
        "this is a list of events without a first and a last line, in which nobody sees whether its end was cut off: \
         it is read only if that is asked for"
    )]
    Bare,
    /// Another version of the format.
    #[error("it has version {found} of its format, and this release reads version {VERSION}")]
    Version {
        /// As it says.
        found: i64,
    },
    /// Bytes that are no text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not the JSON that was expected.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Something else than the JSON that was expected, between the events.
    #[error("{0} was expected")]
    Expected(&'static str),
    /// Something is missing, or not where it should be.
    #[error("{0}")]
    Document(&'static str),
    /// More than an event can have.
    #[error("it has more than {max} bytes")]
    TooLong {
        /// The limit.
        max: usize,
    },
    /// A part of an event that is larger than a store accepts.
    #[error("{what} has {bytes} bytes, but may have at most {max}")]
    TooLarge {
        /// The event itself, or a member of it.
        what: &'static str,
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// An event that does not continue from the one before it.
    #[error("{field} is {found}, but {expected} was expected: the event before it is {last}")]
    NotChained {
        /// `seqNum` or `parentSeqNum`.
        field: &'static str,
        /// As it stands there.
        found: i64,
        /// What would have continued the log.
        expected: i64,
        /// The last event before it, 0 for none.
        last: SeqNum,
    },
    /// Both ways to write args.
    #[error("it has args and argsText")]
    TwoArgs,
    /// Args that no client can read.
    #[error("argsText is not JSON")]
    ArgsNotJson,
    /// What was counted is another number than is said.
    #[error("it gives {said} as {what}, but that is {found}")]
    Disagrees {
        /// What is counted.
        what: &'static str,
        /// As it says.
        said: String,
        /// As it is.
        found: String,
    },
    /// The last line is written in another way than by an export.
    #[error("this is not as an export writes its last line, {expected}")]
    LastLine {
        /// How it would be.
        expected: String,
    },
    /// There is something after the end.
    #[error("nothing may follow the end")]
    Followed,
    /// The file is a part of itself.
    #[error("its end is missing: the file was cut off")]
    CutOff,
}
