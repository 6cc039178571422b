//! Reading a file that comes in pieces of any size, and going on with it later.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::event::{Batch, ImportedEvent, Written};
use super::fault::{Fault, Place, ReadError};
use super::split::{Kind, Member, Piece, Position, Splitter, What};
use super::{Checksum, END, FORMAT, VERSION, last_line};
use crate::event::SeqNum;
use crate::json;
use crate::limits::{TRANSFER_BATCH_BYTES_MAX, TRANSFER_EVENT_BYTES_MAX};

/// How a file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// The time of events of which the file does not say when they were stored. *Shape*: ISO 8601.
    pub created_at: String,
    /// Whether [`Kind::Lines`] is read, of which nobody knows whether it is complete.
    pub accepts_lines: bool,
}

/// What a file says of itself before its events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The store that it is of.
    pub store_id: Option<String>,
    /// The lifetime of the log.
    pub backend_id: Option<String>,
    /// The last event in it.
    pub head: Option<SeqNum>,
    /// When it was written.
    pub exported_at: Option<String>,
}

/// What a file came to, once all of it has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Events in it.
    pub events: u64,
    /// The last of them.
    pub last: SeqNum,
    /// How many of them got the time of [`Options::created_at`].
    pub undated: u64,
}

/// A part of a file, in the order in which they come: a header, any number of batches, an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// What it says of itself.
    Header(Header),
    /// Some events.
    Events(Batch<'a>),
    /// All of it has been read, and nothing is wrong with it.
    End(Summary),
}

/// Reads a file: bytes go in by [`Reader::push`], parts come out of [`Reader::next`] until it has none.
///
/// *Errors*: every one of them is final. What came out before it is not the log.
#[derive(Debug)]
pub struct Reader {
    options: Options,
    state: State,
    splitter: Splitter,
    /// Pieces of what came out last.
    taken: usize,
    is_finished: bool,
}

/// Where a reader is between two parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    kind: Option<Kind>,
    position: Position,
    progress: Progress,
    header: Option<Header>,
    events: u64,
    last: SeqNum,
    undated: u64,
    checksum: Checksum,
    /// Those members of LiveStore's document that have been read.
    document: Document,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: Option<i64>,
    store_id: Option<String>,
    exported_at: Option<String>,
    event_count: Option<i64>,
}

/// How much of a file has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Progress {
    #[default]
    Beginning,
    Events,
    /// There are no more of them, but of a document.
    AfterEvents,
    End,
    /// And that has been told.
    Told,
}

/// All that a reader goes on from.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept<'a> {
    options: Cow<'a, Options>,
    state: Cow<'a, State>,
}

impl Reader {
    /// A reader of a file from its beginning.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self::at(options, State::default())
    }

    /// A reader that goes on where another was, of which `state` is [`Reader::state`]; `None` when it is of something else.
    /// It wants the bytes of the same file from [`Reader::bytes_read`] on.
    #[must_use]
    pub fn resume(state: &str) -> Option<Self> {
        let Kept { options, state } = json::object(state)?;
        Some(Self::at(options.into_owned(), state.into_owned()))
    }

    fn at(options: Options, state: State) -> Self {
        Self {
            options,
            splitter: Splitter::new(state.kind, state.position),
            state,
            taken: 0,
            is_finished: false,
        }
    }

    /// What has come out so far, as a short JSON text, for [`Reader::resume`].
    #[must_use]
    pub fn state(&self) -> String {
        let kept = Kept {
            options: Cow::Borrowed(&self.options),
            state: Cow::Borrowed(&self.state),
        };
        serde_json::to_string(&kept).unwrap_or_default()
    }

    /// Bytes of the file up to the end of what has come out so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state.position.bytes
    }

    /// What the file says of itself, once that has come out.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.state.header.as_ref()
    }

    /// Events that have come out so far.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.state.events
    }

    /// The last event that has come out so far.
    #[must_use]
    pub fn last(&self) -> SeqNum {
        self.state.last
    }

    /// Takes the next bytes of the file. *Shape*: what there is of parts is to be taken out before the next ones; what is
    /// not, stays in memory.
    ///
    /// # Errors
    /// When the file cannot go on like that.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        self.let_go();
        self.splitter.push(bytes)
    }

    /// There are no more bytes: what is left comes out of [`Reader::next`].
    pub fn finish(&mut self) {
        self.let_go();
        if !self.is_finished {
            self.is_finished = true;
            self.splitter.finish();
        }
    }

    /// The next part, if enough of the file is there for one.
    ///
    /// # Errors
    /// When something is wrong with the file.
    #[allow(clippy::should_implement_trait)] // What comes out is borrowed.
    pub fn next(&mut self) -> Result<Option<Part<'_>>, ReadError> {
        self.let_go();
        let Self {
            options,
            state,
            splitter,
            taken,
            is_finished,
        } = self;
        let Some(kind) = splitter.kind() else {
            let fault = if splitter.text().is_empty() {
                Fault::Empty
            } else {
                Fault::CutOff
            };
            let place = Place::File;
            let lacks = ReadError { place, fault };
            return if *is_finished { Err(lacks) } else { Ok(None) };
        };
        if kind == Kind::Lines && state.header.is_none() {
            return state.begin_lines(options).map(Some);
        }
        let is_enough = *is_finished || splitter.text().len() >= TRANSFER_BATCH_BYTES_MAX;
        let mut batch = Batch::new();
        for piece in splitter.pieces() {
            let bytes = splitter.text().get(piece.range.clone()).unwrap_or_default();
            let at = |fault| {
                let place = piece.place(kind);
                ReadError { place, fault }
            };
            if !state.is_event(kind, piece, bytes) {
                if !batch.is_empty() {
                    break;
                }
                let header = state.read_other(kind, piece, bytes).map_err(at)?;
                state.pass(kind, piece, bytes);
                *taken += 1;
                if let Some(header) = header {
                    state.header = Some(header.clone());
                    return Ok(Some(Part::Header(header)));
                }
                continue;
            }
            if !is_enough {
                break;
            }
            let written = read_event(kind, piece, bytes).map_err(at)?;
            let is_undated = written.created_at.is_none();
            let place = piece.place(kind);
            let event = state.chain(written, place, options).map_err(at)?;
            let json_bytes = event.json_bytes();
            if !batch.is_empty() && batch.json_bytes() + json_bytes > TRANSFER_BATCH_BYTES_MAX {
                break;
            }
            state.events += 1;
            state.last = event.seq_num;
            state.undated += u64::from(is_undated);
            state.pass(kind, piece, bytes);
            *taken += 1;
            batch.push(event, json_bytes);
        }
        if !batch.is_empty() {
            return Ok(Some(Part::Events(batch)));
        }
        if *is_finished && *taken == splitter.pieces().len() {
            return state.end(kind);
        }
        Ok(None)
    }

    /// What came out is not looked at any more.
    fn let_go(&mut self) {
        self.splitter.drop_first(std::mem::take(&mut self.taken));
    }
}

impl State {
    /// Goes on behind a piece.
    fn pass(&mut self, kind: Kind, piece: &Piece, bytes: &[u8]) {
        self.kind = Some(kind);
        self.position = piece.after;
        // The last line has the checksum of those before it.
        if kind == Kind::Export && self.progress != Progress::End {
            self.checksum = self.checksum.with(bytes).with(b"\n");
        }
    }

    fn begin_lines(&mut self, options: &Options) -> Result<Part<'static>, ReadError> {
        if !options.accepts_lines {
            return Err(ReadError {
                place: Place::Line(1),
                fault: Fault::Bare,
            });
        }
        let header = Header::of(Kind::Lines);
        self.kind = Some(Kind::Lines);
        self.progress = Progress::Events;
        self.header = Some(header.clone());
        Ok(Part::Header(header))
    }

    fn is_event(&self, kind: Kind, piece: &Piece, bytes: &[u8]) -> bool {
        match kind {
            Kind::LiveStore => piece.what == What::Event,
            Kind::Lines => !bytes.trim_ascii().is_empty(),
            Kind::Export => self.progress == Progress::Events && !bytes.starts_with(END.as_bytes()),
        }
    }

    /// Reads what is no event; returns a header if it ends with that.
    fn read_other(
        &mut self,
        kind: Kind,
        piece: &Piece,
        bytes: &[u8],
    ) -> Result<Option<Header>, Fault> {
        match (kind, self.progress) {
            (Kind::Lines, _) => Ok(None),
            (Kind::LiveStore, _) => self.read_document(piece.what, bytes),
            (Kind::Export, Progress::Beginning) => {
                let header = Header::read(text_of(kind, piece, bytes)?);
                let header = header.map_err(|fault| cut_off_or(piece, fault))?;
                self.progress = Progress::Events;
                Ok(Some(header))
            }
            (Kind::Export, Progress::Events) => {
                let read = self.read_last_line(text_of(kind, piece, bytes)?);
                read.map_err(|fault| cut_off_or(piece, fault))?;
                self.progress = Progress::End;
                Ok(None)
            }
            (Kind::Export, _) => Err(Fault::Followed),
        }
    }

    /// Reads what a document has beside its events.
    fn read_document(&mut self, what: What, bytes: &[u8]) -> Result<Option<Header>, Fault> {
        let text = || str::from_utf8(bytes).map_err(|_| Fault::NotUtf8);
        match what {
            What::Member(member) => json::read(text()?, |reader| {
                let document = &mut self.document;
                match member {
                    Member::Version => {
                        document.version = Some(reader.integer()?);
                    }
                    Member::StoreId => document.store_id = Some(reader.string()?.into_owned()),
                    Member::ExportedAt => {
                        document.exported_at = Some(reader.string()?.into_owned());
                    }
                    Member::EventCount => document.event_count = Some(reader.integer()?),
                    Member::Events | Member::Other => reader.skip()?,
                }
                Ok(())
            })?,
            What::Opening => return self.open_document().map(Some),
            What::Closing => self.progress = Progress::AfterEvents,
            What::End => {
                if self.progress == Progress::Beginning {
                    return Err(Fault::Document("it has no events"));
                }
                let said = self.document.event_count;
                let said = said.ok_or(Fault::Document("it has no eventCount"))?;
                agree("the number of events", &said, &self.events)?;
                self.progress = Progress::End;
            }
            What::Line | What::LastLine | What::Event => {}
        }
        Ok(None)
    }

    fn open_document(&mut self) -> Result<Header, Fault> {
        if self.progress != Progress::Beginning {
            return Err(Fault::Document("it has events twice"));
        }
        let document = &mut self.document;
        let (Some(version), Some(store_id)) = (document.version, document.store_id.take()) else {
            let message = "version and storeId have to stand before events";
            return Err(Fault::Document(message));
        };
        check_version(version)?;
        self.progress = Progress::Events;
        Ok(Header {
            store_id: Some(store_id),
            exported_at: document.exported_at.take(),
            ..Header::of(Kind::LiveStore)
        })
    }

    /// Compares the last line of an export with what has been read.
    fn read_last_line(&self, text: &str) -> Result<(), Fault> {
        let (mut events, mut head, mut checksum) = (None, None, None);
        json::read(text, |reader| {
            reader.object(|reader, _| {
                reader.object(|reader, key| {
                    match key {
                        "events" => events = Some(reader.integer()?),
                        "head" => head = Some(reader.integer()?),
                        "crc32" => checksum = Some(reader.string()?),
                        _ => reader.skip()?,
                    }
                    Ok(())
                })
            })
        })?;
        if let (Some(events), Some(head), Some(checksum)) = (events, head, checksum) {
            agree("the number of events", &events, &self.events)?;
            agree("the last event", &head, &self.last)?;
            agree("the checksum", &checksum, &self.checksum)?;
        }
        let expected = last_line(self.events, self.last.get(), self.checksum);
        if text != expected {
            return Err(Fault::LastLine { expected });
        }
        let said = self.header.as_ref().and_then(|header| header.head);
        agree("the last event", &said.unwrap_or_default(), &self.last)
    }

    /// The event, if it continues from the one before it.
    fn chain<'a>(
        &self,
        written: Written<'a>,
        place: Place,
        options: &'a Options,
    ) -> Result<ImportedEvent<'a>, Fault> {
        let last = self.last;
        let next = last.to_i64() + 1;
        for (field, found, expected) in [
            ("seqNum", written.seq_num, next),
            ("parentSeqNum", written.parent, last.to_i64()),
        ] {
            if found != expected {
                return Err(Fault::NotChained {
                    field,
                    found,
                    expected,
                    last,
                });
            }
        }
        Ok(ImportedEvent {
            place,
            seq_num: SeqNum::clamped(next),
            parent: last,
            name: written.name,
            args: written.args,
            created_at: written
                .created_at
                .unwrap_or(Cow::Borrowed(&options.created_at)),
            client_id: written.client_id,
            session_id: written.session_id,
        })
    }

    /// What the file comes to that has no more bytes.
    fn end(&mut self, kind: Kind) -> Result<Option<Part<'static>>, ReadError> {
        let is_whole = self.progress == Progress::End
            || kind == Kind::Lines && self.progress == Progress::Events;
        if is_whole {
            self.progress = Progress::Told;
            return Ok(Some(Part::End(Summary {
                events: self.events,
                last: self.last,
                undated: self.undated,
            })));
        }
        if self.progress == Progress::Told {
            return Ok(None);
        }
        Err(ReadError {
            place: Place::File,
            fault: Fault::CutOff,
        })
    }
}

impl Header {
    fn of(kind: Kind) -> Self {
        Self {
            kind,
            store_id: None,
            backend_id: None,
            head: None,
            exported_at: None,
        }
    }

    /// Reads the first line of an export.
    fn read(text: &str) -> Result<Self, Fault> {
        let (mut format, mut version, mut head) = (None, None, None);
        let (mut store_id, mut backend_id, mut exported_at) = (None, None, None);
        json::read(text, |reader| {
            reader.object(|reader, key| {
                match key {
                    "format" => format = Some(reader.string()?),
                    "version" => version = Some(reader.integer()?),
                    "storeId" => store_id = Some(reader.string()?.into_owned()),
                    "backendId" => backend_id = Some(reader.string()?.into_owned()),
                    "head" => head = Some(reader.integer()?),
                    "exportedAt" => exported_at = Some(reader.string()?.into_owned()),
                    _ => reader.skip()?,
                }
                Ok(())
            })
        })?;
        if format.as_deref() != Some(FORMAT) {
            return Err(Fault::Unknown);
        }
        check_version(version.ok_or(Fault::Document("it has no version"))?)?;
        let head = head.and_then(SeqNum::new);
        let (Some(_), Some(_), Some(_)) = (&store_id, &backend_id, head) else {
            return Err(Fault::Document("it has no storeId, backendId or head"));
        };
        Ok(Self {
            kind: Kind::Export,
            store_id,
            backend_id,
            head,
            exported_at,
        })
    }
}

fn check_version(found: i64) -> Result<(), Fault> {
    if found == VERSION {
        return Ok(());
    }
    Err(Fault::Version { found })
}

/// Whether what is said is what there is.
fn agree(what: &'static str, said: &impl ToString, found: &impl ToString) -> Result<(), Fault> {
    let (said, found) = (said.to_string(), found.to_string());
    if said == found {
        return Ok(());
    }
    Err(Fault::Disagrees { what, said, found })
}

fn text_of<'a>(kind: Kind, piece: &Piece, bytes: &'a [u8]) -> Result<&'a str, Fault> {
    let max = TRANSFER_EVENT_BYTES_MAX;
    if bytes.len() > max {
        return Err(Fault::TooLong { max });
    }
    if kind == Kind::Export && bytes.ends_with(b"\r") {
        return Err(Fault::CarriageReturn);
    }
    str::from_utf8(bytes).map_err(|_| {
        // A letter may have been cut in two.
        if piece.what == What::LastLine {
            Fault::CutOff
        } else {
            Fault::NotUtf8
        }
    })
}

/// What is wrong with a piece, or that it is not whole.
fn cut_off_or(piece: &Piece, fault: Fault) -> Fault {
    match fault {
        Fault::Json(error) if piece.what == What::LastLine && error.is_syntax() => Fault::CutOff,
        fault => fault,
    }
}

fn read_event<'a>(kind: Kind, piece: &Piece, bytes: &'a [u8]) -> Result<Written<'a>, Fault> {
    if kind == Kind::Export && piece.what == What::LastLine {
        return Err(Fault::CutOff);
    }
    let written = Written::read(text_of(kind, piece, bytes)?);
    let written = written.map_err(|fault| cut_off_or(piece, fault))?;
    if written.created_at.is_none() && kind != Kind::LiveStore {
        return Err(Fault::Document("it has no createdAt"));
    }
    Ok(written)
}
