//! Writing an export, piece by piece.

use serde::Serialize;
use thiserror::Error;

use super::{Checksum, FORMAT, VERSION, last_line};
use crate::event::{BackendId, SeqNum};
use crate::limits::EXPORT_EVENTS_MAX;
use crate::store::EventStore;
use crate::store::sql::{Sql, StoreError, Text as _};

/// An export that is being written: of the log as it was when it was begun, whatever is pushed meanwhile.
#[derive(Debug)]
pub struct Export {
    exported_at: String,
    backend_id: BackendId,
    head: SeqNum,
    after: SeqNum,
    events: u64,
    checksum: Checksum,
    next: Next,
}

#[derive(Clone, Copy, Debug)]
enum Next {
    FirstLine,
    Events,
    Nothing,
}

/// Why an export is broken off. What has been written by then is known to be a part by its end.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ExportError {
    /// Another lifetime of the log has begun.
    #[error("the store was reset")]
    Reset,
    /// Events that were there when it was begun are there no more.
    #[error("the log ends after event {last}, and {head} were to be exported")]
    Lost {
        /// The last event there is.
        last: SeqNum,
        /// The last that was promised.
        head: SeqNum,
    },
    /// SQLite failed.
    #[error(transparent)]
    Storage(#[from] StoreError),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FirstLine<'a> {
    format: &'a str,
    version: i64,
    store_id: &'a str,
    backend_id: &'a str,
    head: u64,
    exported_at: &'a str,
}

impl Export {
    /// An export of what `store` holds now. *Shape*: `exported_at` is ISO 8601.
    #[must_use]
    pub fn new<S: Sql>(store: &EventStore<S>, exported_at: String) -> Self {
        Self {
            exported_at,
            backend_id: store.backend_id().clone(),
            head: store.last_stored(),
            after: SeqNum::ROOT,
            events: 0,
            checksum: Checksum::default(),
            next: Next::FirstLine,
        }
    }

    /// The next lines of it, each with its line break; `None` when all have been written.
    ///
    /// # Errors
    /// When the rest cannot be had: then the export is to be broken off.
    pub fn next<S: Sql>(&mut self, store: &EventStore<S>) -> Result<Option<String>, ExportError> {
        if self.backend_id != *store.backend_id() {
            return Err(ExportError::Reset);
        }
        let text = match self.next {
            Next::FirstLine => {
                self.next = Next::Events;
                self.first_line(store)
            }
            Next::Events if self.after < self.head => self.lines(store)?,
            Next::Events => {
                self.next = Next::Nothing;
                last_line(self.events, self.head.get(), self.checksum) + "\n"
            }
            Next::Nothing => return Ok(None),
        };
        self.checksum = self.checksum.with(text.as_bytes());
        Ok(Some(text))
    }

    fn first_line<S: Sql>(&self, store: &EventStore<S>) -> String {
        let line = FirstLine {
            format: FORMAT,
            version: VERSION,
            store_id: store.store_id().as_str(),
            backend_id: self.backend_id.as_str(),
            head: self.head.get(),
            exported_at: &self.exported_at,
        };
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    fn lines<S: Sql>(&mut self, store: &EventStore<S>) -> Result<String, ExportError> {
        let page = store.export_lines(self.after, self.head, EXPORT_EVENTS_MAX)?;
        let lines = page.items.map_or_else(String::new, |items| items.read());
        if lines.is_empty() {
            let (last, head) = (self.after, self.head);
            return Err(ExportError::Lost { last, head });
        }
        self.after = page.last;
        // Not by their numbers, of which a log can have lost some.
        let events = lines.bytes().filter(|byte| *byte == b'\n').count();
        self.events += events as u64;
        Ok(lines)
    }
}
