//! One event of a file.

use std::borrow::Cow;

use super::fault::{Fault, Place};
use crate::event::SeqNum;
use crate::json::{self, JsonError, push_quoted};
use crate::limits::{
    CREATED_AT_BYTES_MAX, EVENT_BYTES_CEILING, EVENT_NAME_BYTES_MAX, ORIGIN_ID_BYTES_MAX,
    STRING_BYTES_CEILING,
};
use crate::store::mirror::Bound;
use crate::store::sql::Text;
use crate::store::staging::Rows;

/// An event that was read from a file, borrowed from it as far as that can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedEvent<'a> {
    /// Where it stands: for what is said of it.
    pub place: Place,
    /// Its number.
    pub seq_num: SeqNum,
    /// The number of the event before it.
    pub parent: SeqNum,
    /// Its name.
    pub name: Cow<'a, str>,
    /// Its args as JSON text; `None` for SQL NULL.
    pub args: Option<Cow<'a, str>>,
    /// When it was stored.
    pub created_at: Cow<'a, str>,
    /// The client that made it.
    pub client_id: Cow<'a, str>,
    /// The session of that client.
    pub session_id: Cow<'a, str>,
}

impl ImportedEvent<'_> {
    /// Appends it as a JSON array of a log's columns, in their order: `seqNum`, `parentSeqNum`, `name`, `args`,
    /// `createdAt`, `clientId`, `sessionId`.
    fn push_json(&self, out: &mut String) {
        for (start, number) in [("[", self.seq_num), (",", self.parent)] {
            out.push_str(start);
            out.push_str(&number.to_string());
        }
        out.push(',');
        push_quoted(&self.name, out);
        match &self.args {
            Some(args) => {
                out.push(',');
                push_quoted(args, out);
            }
            None => out.push_str(",null"),
        }
        for text in [&self.created_at, &self.client_id, &self.session_id] {
            out.push(',');
            push_quoted(text, out);
        }
        out.push(']');
    }

    /// Its columns in the same order, each to be bound by itself.
    fn columns<T>(&self) -> [Bound<T>; 7] {
        let text = |text: &str| Bound::Text(text.to_owned());
        [
            Bound::Int(self.seq_num.to_i64()),
            Bound::Int(self.parent.to_i64()),
            text(&self.name),
            self.args.as_deref().map_or(Bound::Null, text),
            text(&self.created_at),
            text(&self.client_id),
            text(&self.session_id),
        ]
    }

    /// Bytes of the array, or a few more.
    pub(super) fn json_bytes(&self) -> usize {
        let args = self.args.as_ref().map_or(4, |args| quoted_bytes(args));
        let texts = [
            &self.name,
            &self.created_at,
            &self.client_id,
            &self.session_id,
        ];
        let texts: usize = texts.map(|text| quoted_bytes(text)).iter().sum();
        // Two numbers, brackets and commas.
        2 * 16 + 9 + args + texts
    }
}

fn quoted_bytes(text: &str) -> usize {
    let escaped = text.bytes().map(|byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    });
    2 + escaped.sum::<usize>()
}

/// Events that follow each other. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    events: Vec<ImportedEvent<'a>>,
    json_bytes: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new() -> Self {
        Self {
            events: Vec::new(),
            json_bytes: 2,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(super) fn push(&mut self, event: ImportedEvent<'a>, json_bytes: usize) {
        self.json_bytes += json_bytes + 1;
        self.events.push(event);
    }

    /// The events in order.
    #[must_use]
    pub fn events(&self) -> &[ImportedEvent<'a>] {
        &self.events
    }

    /// Bytes of [`Batch::to_json`], or a few more: beyond [`TRANSFER_BATCH_BYTES_MAX`] it is one event, whose columns can be
    /// more than the platform binds as one text.
    ///
    /// [`TRANSFER_BATCH_BYTES_MAX`]: crate::limits::TRANSFER_BATCH_BYTES_MAX
    #[must_use]
    pub fn json_bytes(&self) -> usize {
        self.json_bytes
    }

    /// The events as they are staged.
    #[must_use]
    pub fn rows<T: Text>(&self) -> Rows<T> {
        match self.events.as_slice() {
            [event] if self.json_bytes > STRING_BYTES_CEILING => Rows::One(event.columns()),
            _ => Rows::Many(T::new(&self.to_json())),
        }
    }

    /// The events as a JSON array of arrays, each of a log's columns in their order: `seqNum`, `parentSeqNum`, `name`,
    /// `args`, `createdAt`, `clientId`, `sessionId`. It is what `json_each` of SQLite takes apart.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut out = String::with_capacity(self.json_bytes);
        out.push('[');
        for (index, event) in self.events.iter().enumerate() {
            if index > 0 {
                out.push(',');
            }
            event.push_json(&mut out);
        }
        out.push(']');
        out
    }
}

/// What stands in a file for one event, before it is compared with the one before it.
#[derive(Debug)]
pub(super) struct Written<'a> {
    pub(super) seq_num: i64,
    pub(super) parent: i64,
    pub(super) name: Cow<'a, str>,
    pub(super) args: Option<Cow<'a, str>>,
    pub(super) created_at: Option<Cow<'a, str>>,
    pub(super) client_id: Cow<'a, str>,
    pub(super) session_id: Cow<'a, str>,
}

impl<'a> Written<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// When it is none, or larger than a store accepts.
    pub(super) fn read(text: &'a str) -> Result<Self, Fault> {
        let (mut name, mut args, mut text_of_args) = (None, None, None);
        let (mut client_id, mut session_id, mut created_at) = (None, None, None);
        let (mut seq_num, mut parent) = (None, None);
        let event = json::read(text, |value| {
            value.object(|value, key| {
                match key {
                    "seqNum" => seq_num = Some(value.integer()?),
                    "parentSeqNum" => parent = Some(value.integer()?),
                    "name" => name = Some(value.string()?),
                    "args" => args = Some(Cow::Borrowed(value.raw()?)),
                    "argsText" => text_of_args = Some(value.string()?),
                    "clientId" => client_id = Some(value.string()?),
                    "sessionId" => session_id = Some(value.string()?),
                    "createdAt" => created_at = Some(value.string()?),
                    _ => {}
                }
                Ok(())
            })?;
            let missing = JsonError::missing;
            Ok(Self {
                seq_num: seq_num.ok_or_else(|| missing("seqNum"))?,
                parent: parent.ok_or_else(|| missing("parentSeqNum"))?,
                name: name.take().ok_or_else(|| missing("name"))?,
                args: args.take(),
                created_at: created_at.take(),
                client_id: client_id.take().ok_or_else(|| missing("clientId"))?,
                session_id: session_id.take().ok_or_else(|| missing("sessionId"))?,
            })
        })?;
        let args = match (event.args, text_of_args) {
            (Some(_), Some(_)) => return Err(Fault::TwoArgs),
            (None, Some(text)) if !json::is_valid(&text) => return Err(Fault::ArgsNotJson),
            (args, text) => args.or(text),
        };
        let event = Self { args, ..event };
        event.check_size()?;
        Ok(event)
    }

    fn check_size(&self) -> Result<(), Fault> {
        let args = self.args.as_ref().map_or(0, |args| args.len());
        let (name, client) = (self.name.len(), self.client_id.len());
        let session = self.session_id.len();
        let at = self.created_at.as_ref().map_or(0, |at| at.len());
        for (what, bytes, max) in [
            ("name", name, EVENT_NAME_BYTES_MAX),
            ("clientId", client, ORIGIN_ID_BYTES_MAX),
            ("sessionId", session, ORIGIN_ID_BYTES_MAX),
            ("createdAt", at, CREATED_AT_BYTES_MAX),
            (
                "the event",
                name + args + client + session,
                EVENT_BYTES_CEILING,
            ),
        ] {
            if bytes > max {
                return Err(Fault::TooLarge { what, bytes, max });
            }
        }
        Ok(())
    }
}
