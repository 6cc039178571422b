//! What an operator may want to read: lines for the log. They never hold event args or tokens.

use std::fmt;
use std::rc::Rc;

use serde::Serialize;

use super::refusal::{Reason, Refusal};
use crate::event::{BackendId, SeqNum};
use crate::store::OpenError;
use crate::store::deletion::Held;
use crate::store::segments::Segment;
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
    /// A batch of the backup failed; it is tried again.
    BackupFailed {
        /// As it is counted.
        trouble: BackupTrouble,
        /// What D1 said, or is wrong with it.
        message: String,
    },
    /// Folding events of the backup failed; it is tried again.
    CompactionFailed {
        /// What D1 said, or is wrong with it.
        message: String,
    },
    /// Old events of the backup have been folded.
    Compacted(Folded),
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
    /// A log is being brought in.
    RestoreBegun {
        /// How many events it has.
        events: u64,
        /// The last of them.
        head: u64,
    },
    /// A log is being brought in that sync-cf kept in D1.
    AdoptionBegun {
        /// How many events it has.
        events: u64,
        /// The last of them.
        head: u64,
    },
    /// It is here, and the store is served.
    Adopted {
        /// How many events it has.
        events: u64,
        /// The number that the next event continues from.
        head: SeqNum,
    },
    /// Bringing it in does not go on for now.
    RestoreDelayed {
        /// What went wrong.
        message: String,
    },
    /// It cannot be brought in.
    RestoreFailed {
        /// What stands against it.
        message: String,
        /// Whether the store goes on with a log that it has.
        has_log: bool,
    },
    /// It is here, and the store is served again.
    Restored {
        /// How many events it has.
        events: u64,
        /// The last of them.
        head: SeqNum,
    },
    /// The store is being deleted, as its administration asked.
    DeletionBegun {
        /// Events it has.
        events: u64,
    },
    /// The store is being deleted since nobody has opened it.
    StoreExpired {
        /// For so many days.
        days: u64,
        /// Events it has.
        events: u64,
    },
    /// Deleting it does not go on for now.
    DeletionFailed {
        /// What went wrong.
        message: String,
    },
    /// It is deleted, and nothing is left.
    Deleted(Deleted),
    /// The store was emptied by its administration.
    Reset {
        /// Events it had.
        events: u64,
        /// How many of them, the last, the backup lacks; 0 where there is none.
        uncopied: u64,
    },
    /// Somebody else has changed the rows of the store, and it was opened again.
    RowsChanged {
        /// Where the log ended, as far as was known.
        known: SeqNum,
        /// What there is now.
        found: Rows,
    },
}

/// What has been folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Folded {
    /// How many events.
    pub events: u64,
    /// In how many segments.
    pub segments: u64,
    /// The bytes of the events.
    pub bytes: u64,
    /// The bytes of the segments.
    pub stored: u64,
}

impl Folded {
    /// Adds a segment, which has so many bytes.
    pub(super) fn add(&mut self, segment: &Segment, stored: i64) {
        let unsigned = |number| u64::try_from(number).unwrap_or(0);
        self.segments += 1;
        self.events += unsigned(segment.events);
        self.bytes += unsigned(segment.bytes);
        self.stored += unsigned(stored);
    }
}

/// What is found of a log whose rows somebody else has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// The same lifetime.
    Same {
        /// Where its log ends.
        last: SeqNum,
        /// What it goes on from.
        head: SeqNum,
    },
    /// Another lifetime; a new one where there was none.
    Other {
        /// Where its log ends.
        last: SeqNum,
        /// Which one.
        backend_id: BackendId,
    },
    /// None that can be served.
    Closed(OpenError),
}

/// What was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    /// Events of the log.
    pub events: u64,
    /// Those of them that `on_committed` was not told of.
    #[serde(skip)]
    pub untold: u64,
    /// What D1 held, as far as it has said so.
    pub backup: Option<Held>,
}

/// What stands behind a failure of the backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupTrouble {
    /// The tables in D1 are others than this code writes.
    Schema,
    /// The database is full.
    Full,
    /// D1 allows no more for now, or not as much at once.
    Limit,
    /// D1 has not answered in time.
    NoAnswer,
    /// The mirror is no copy of this log.
    Diverged,
    /// Something else.
    Failed,
}

impl BackupTrouble {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Schema,
        Self::Full,
        Self::Limit,
        Self::NoAnswer,
        Self::Diverged,
        Self::Failed,
    ];

    /// Its name in log lines, the state and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Schema => "schema",
            Self::Full => "full",
            Self::Limit => "limit",
            Self::NoAnswer => "no-answer",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
        }
    }
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
            | Self::BackupFailed { .. }
            | Self::CompactionFailed { .. }
            | Self::Compacted(_)
            | Self::UnknownPull
            | Self::Expired
            | Self::TakesNothing { .. }
            | Self::ClientObjectDropped { .. }
            | Self::RestoreBegun { .. }
            | Self::AdoptionBegun { .. }
            | Self::Adopted { .. }
            | Self::RestoreDelayed { .. }
            | Self::RestoreFailed { .. }
            | Self::Restored { .. }
            | Self::DeletionBegun { .. }
            | Self::StoreExpired { .. }
            | Self::DeletionFailed { .. }
            | Self::Deleted(_)
            | Self::Reset { .. }
            | Self::RowsChanged { .. } => None,
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
            Self::HookFailed { message }
            | Self::BackupFailed { message, .. }
            | Self::CompactionFailed { message }
            | Self::RestoreDelayed { message }
            | Self::DeletionFailed { message } => f.write_str(message),
            Self::DeletionBegun { events } => {
                write!(
                    f,
                    "its {events} events are being deleted; nobody is served meanwhile"
                )
            }
            Self::StoreExpired { days, events } => {
                write!(
                    f,
                    "nobody has opened it for {days} days (TTL_DAYS): its {events} events are being deleted"
                )
            }
            Self::Deleted(deleted) => deleted.fmt(f),
            Self::Compacted(folded) => folded.fmt(f),
            Self::RestoreBegun { head: 0, .. } => {
                f.write_str("a log is being brought in from a file; nobody is served meanwhile")
            }
            Self::RestoreBegun { events, head } => {
                write!(
                    f,
                    "{events} events up to {head} are being brought back; nobody is served meanwhile"
                )
            }
            Self::AdoptionBegun { events, head } => {
                write!(
                    f,
                    "{events} events up to {head} that sync-cf kept in D1 are being brought here; nobody is served meanwhile"
                )
            }
            Self::Adopted { events, head } => {
                write!(f, "brought {events} events here, the head is {head}")
            }
            Self::RestoreFailed { message, has_log } => {
                let rest = if *has_log {
                    "the store goes on with the log it had"
                } else {
                    "nobody is served until it is restored or reset"
                };
                write!(f, "{message}: {rest}")
            }
            Self::Restored { events, head } => {
                write!(f, "brought back {events} events, the head is {head}")
            }
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
            Self::Reset { events, uncopied } => {
                write!(f, "removed {events} events")?;
                if *uncopied > 0 {
                    write!(f, ", of which the backup lacks the last {uncopied}")?;
                }
                Ok(())
            }
            Self::RowsChanged { known, found } => {
                write!(
                    f,
                    "somebody else has changed the rows of this store, whose log ended at {known}: {found}"
                )
            }
        }
    }
}

impl fmt::Display for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            events,
            segments,
            bytes,
            stored,
        } = self;
        write!(
            f,
            "folded {events} events of {bytes} bytes into {segments} segments of {stored} bytes"
        )
    }
}

impl fmt::Display for Deleted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "deleted {} events", self.events)?;
        if self.untold > 0 {
            write!(
                f,
                ", of which on_committed was not told of the last {}",
                self.untold
            )?;
        }
        if let Some(Held { lifetimes, events }) = self.backup {
            write!(
                f,
                ", and in the backup {events} events of {lifetimes} lifetimes"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same { last, head } if last < head => write!(
                f,
                "it ends at {last}, acknowledged events are missing, and it goes on from {head}"
            ),
            Self::Same { last, .. } => write!(f, "it ends at {last}"),
            Self::Other { last, backend_id } => write!(
                f,
                "it ends at {last} in another lifetime, {}, and clients start over",
                backend_id.as_str()
            ),
            Self::Closed(OpenError::Storage(error)) => {
                write!(f, "it could not be opened again: {error}")
            }
            Self::Closed(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RequestId;

    fn about() -> About {
        About {
            generation: Generation::V04,
            transport: Transport::Http,
            trace_id: Some("trace".into()),
        }
    }

    #[test]
    fn a_line_says_what_happened_to_which_request_and_why() {
        let refused = |about| Report::Refused {
            about,
            refusal: Refusal::ReadOnly,
        };
        let about = Some(about());
        let stored = Report::Stored {
            about: about.clone().unwrap(),
            events: 3,
            head: SeqNum::from(7),
        };
        let pulled = Report::Pulled {
            about: about.clone().unwrap(),
            after: SeqNum::from(4),
        };
        let dropped = Report::ClientObjectDropped {
            object_id: "0a1b".to_owned(),
            message: "no such binding".to_owned(),
        };
        let read_only = "the token grants reading alone: pushes are refused";
        let read_only_reason = Some(Reason::ReadOnly);
        let expected = [
            (stored, "stored 3 events, the head is 7", &about, None),
            (pulled, "answered a pull after 4", &about, None),
            (refused(about.clone()), read_only, &about, read_only_reason),
            (refused(None), read_only, &None, read_only_reason),
            (
                Report::StuckClient {
                    client_id: "c".to_owned(),
                    refusals: 10,
                },
                "client c was refused 10 times in a row because it does not know the head",
                &None,
                None,
            ),
            (
                Report::StuckPull {
                    generation: Generation::V05,
                    lag: 1_000,
                },
                "a live pull (v05) lacks 1000 events and takes none",
                &None,
                None,
            ),
            (
                Report::StoreFailed {
                    during: "read",
                    message: "disk I/O error".to_owned(),
                },
                "storage failed during read: disk I/O error",
                &None,
                None,
            ),
            (
                Report::HookFailed {
                    message: "on_push threw".to_owned(),
                },
                "on_push threw",
                &None,
                None,
            ),
            (
                Report::UnknownPull,
                "closed a connection that acknowledged an unknown pull",
                &None,
                None,
            ),
            (
                Report::Expired,
                "closed a connection whose token has expired",
                &None,
                None,
            ),
            (
                Report::TakesNothing { bytes: 5 },
                "closed a connection that took none of the 5 bytes on their way to it",
                &None,
                Some(Reason::Memory),
            ),
            (
                dropped,
                "gave up calling the client object 0a1b: no such binding",
                &None,
                None,
            ),
            (
                Report::Reset {
                    events: 9,
                    uncopied: 0,
                },
                "removed 9 events",
                &None,
                None,
            ),
        ];
        for (report, line, about, reason) in expected {
            assert_eq!(report.to_string(), line);
            assert_eq!(report.about(), about.as_ref(), "{line}");
            assert_eq!(report.reason(), reason, "{line}");
        }
    }

    #[test]
    fn what_a_deletion_leaves_untold_is_told() {
        let mut deleted = Deleted {
            events: 9,
            untold: 2,
            backup: None,
        };
        let told = "deleted 9 events, of which on_committed was not told of the last 2";
        assert_eq!(Report::Deleted(deleted).to_string(), told);
        deleted.untold = 0;
        assert_eq!(Report::Deleted(deleted).to_string(), "deleted 9 events");
    }

    #[test]
    fn what_a_backup_lacks_or_fails_for_is_told() {
        let reset = Report::Reset {
            events: 9,
            uncopied: 2,
        };
        let told = "removed 9 events, of which the backup lacks the last 2";
        assert_eq!(reset.to_string(), told);
        let message = "Exceeded maximum DB size".to_owned();
        let trouble = BackupTrouble::Full;
        let failed = Report::BackupFailed { trouble, message };
        assert_eq!(failed.to_string(), "Exceeded maximum DB size");
        assert_eq!((failed.about(), failed.reason()), (None, None));
        let names = BackupTrouble::ALL.map(BackupTrouble::name);
        assert_eq!(
            names,
            ["schema", "full", "limit", "no-answer", "diverged", "failed"]
        );
        let numbers = BackupTrouble::ALL.map(|trouble| trouble as usize);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_report_is_about_the_request_as_it_came() {
        let requester = Requester {
            id: RequestId::from_json("\"1\"").unwrap(),
            generation: Generation::V04,
            trace_id: Some("trace".into()),
        };
        assert_eq!(About::new(&requester, Transport::Http), about());
    }
}
