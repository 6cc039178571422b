//! Reading a file that comes in pieces of any size, and going on with it later.

use std::borrow::Cow;
use std::fmt::Display;

use super::event::{Batch, ImportedEvent, Written};
use super::fault::{Fault, Place, ReadError};
use super::split::{Kind, Member, Piece, Position, Splitter, What};
use super::{Checksum, END, FORMAT, VERSION, last_line};
use crate::event::SeqNum;
use crate::json;
use crate::limits::{TRANSFER_BATCH_BYTES_MAX, TRANSFER_EVENT_BYTES_MAX};

/// How a file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The time of events of which the file does not say when they were stored. *Shape*: ISO 8601.
    pub created_at: String,
    /// Whether [`Kind::Lines`] is read, of which nobody knows whether it is complete.
    pub accepts_lines: bool,
}

/// What a file says of itself before its events.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, Default)]
struct State {
    kind: Option<Kind>,
    position: Position,
    progress: Progress,
    says: Says,
    events: u64,
    last: SeqNum,
    undated: u64,
    checksum: Checksum,
}

/// What a file says of itself, as far as that has been read.
#[derive(Clone, Debug, Default)]
struct Says {
    has_version: bool,
    store_id: Option<String>,
    backend_id: Option<String>,
    head: Option<SeqNum>,
    exported_at: Option<String>,
    event_count: Option<SeqNum>,
}

/// How much of a file has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

impl Progress {
    const ALL: [Self; 5] = [
        Self::Beginning,
        Self::Events,
        Self::AfterEvents,
        Self::End,
        Self::Told,
    ];
}

/// All that a reader goes on from, as two lists: a type of its own to read it would be as large as all the rest.
struct Kept {
    numbers: [u64; 13],
    texts: [Option<String>; 4],
}

impl Kept {
    fn of(options: &Options, state: &State) -> Self {
        let (position, says) = (state.position, &state.says);
        let kind = Kind::ALL.iter().position(|kind| Some(*kind) == state.kind);
        let progress = Progress::ALL.iter();
        let progress = progress.take_while(|one| **one != state.progress);
        // A number that may be absent is one more, and absent 0.
        let one_more = |number: Option<u64>| number.map_or(0, |number| number + 1);
        Self {
            numbers: [
                options.accepts_lines.into(),
                one_more(kind.map(|kind| kind as u64)),
                position.bytes,
                position.number,
                position.inside(),
                progress.count() as u64,
                says.has_version.into(),
                one_more(says.head.map(SeqNum::get)),
                one_more(says.event_count.map(SeqNum::get)),
                state.events,
                state.last.get(),
                state.undated,
                state.checksum.0.into(),
            ],
            texts: [
                Some(options.created_at.clone()),
                says.store_id.clone(),
                says.backend_id.clone(),
                says.exported_at.clone(),
            ],
        }
    }

    fn read(text: &str) -> Option<Self> {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        let mut lists = 0;
        let read = json::read(text, |value| {
            value.array(|value| {
                lists += 1;
                value.array(|value| {
                    if lists == 1 {
                        numbers.push(value.integer()?.cast_unsigned());
                    } else {
                        let text = value.optional(|value| value.string())?;
                        texts.push(text.map(Cow::into_owned));
                    }
                    Ok(())
                })
            })
        });
        read.ok()?;
        Some(Self {
            numbers: numbers.try_into().ok()?,
            texts: texts.try_into().ok()?,
        })
    }

    fn into_reader(self) -> Option<Reader> {
        let [
            accepts_lines,
            kind,
            bytes,
            number,
            inside,
            progress,
            rest @ ..,
        ] = self.numbers;
        let [
            has_version,
            head,
            event_count,
            events,
            last,
            undated,
            checksum,
        ] = rest;
        let [created_at, store_id, backend_id, exported_at] = self.texts;
        let index = |number: u64| usize::try_from(number).ok();
        let seq_num = |number: u64| SeqNum::new(number.cast_signed());
        let kind = match kind.checked_sub(1) {
            Some(kind) => Some(*Kind::ALL.get(index(kind)?)?),
            None => None,
        };
        let options = Options {
            created_at: created_at?,
            accepts_lines: accepts_lines > 0,
        };
        let says = Says {
            has_version: has_version > 0,
            store_id,
            backend_id,
            head: head.checked_sub(1).and_then(seq_num),
            exported_at,
            event_count: event_count.checked_sub(1).and_then(seq_num),
        };
        let state = State {
            kind,
            position: Position::at(bytes, number, index(inside)?)?,
            progress: *Progress::ALL.get(index(progress)?)?,
            says,
            events,
            last: seq_num(last)?,
            undated,
            checksum: Checksum(u32::try_from(checksum).ok()?),
        };
        Some(Reader::at(options, state))
    }
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
        Kept::read(state)?.into_reader()
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
        let Kept { numbers, texts } = Kept::of(&self.options, &self.state);
        serde_json::to_string(&(numbers, texts)).unwrap_or_default()
    }

    /// Bytes of the file up to the end of what has come out so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.state.position.bytes
    }

    /// What the file says of itself, once that has come out.
    #[must_use]
    pub fn header(&self) -> Option<Header> {
        let kind = self.state.kind?;
        let is_told = self.state.progress != Progress::Beginning;
        is_told.then(|| self.state.says.header(kind))
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
        if kind == Kind::Lines && state.progress == Progress::Beginning {
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
                let before = state.progress;
                state.read_other(kind, piece, bytes).map_err(at)?;
                state.pass(kind, piece, bytes);
                *taken += 1;
                if before == Progress::Beginning && state.progress == Progress::Events {
                    return Ok(Some(Part::Header(state.says.header(kind))));
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
        self.kind = Some(Kind::Lines);
        self.progress = Progress::Events;
        Ok(Part::Header(self.says.header(Kind::Lines)))
    }

    fn is_event(&self, kind: Kind, piece: &Piece, bytes: &[u8]) -> bool {
        match kind {
            Kind::LiveStore => piece.what == What::Event,
            Kind::Lines => !bytes.trim_ascii().is_empty(),
            Kind::Export => self.progress == Progress::Events && !bytes.starts_with(END.as_bytes()),
        }
    }

    /// Reads what is no event.
    fn read_other(&mut self, kind: Kind, piece: &Piece, bytes: &[u8]) -> Result<(), Fault> {
        match kind {
            Kind::Lines => return Ok(()),
            Kind::LiveStore => return self.read_document(piece.what, bytes),
            Kind::Export => {}
        }
        let text = text_of(kind, piece, bytes)?;
        let (read, next) = match self.progress {
            Progress::Beginning => (self.says.read_first_line(text), Progress::Events),
            Progress::Events => (self.read_last_line(text), Progress::End),
            _ => return Err(Fault::Followed),
        };
        self.progress = next;
        read.map_err(|fault| cut_off_or(piece, fault))
    }

    /// Reads what a document has beside its events.
    fn read_document(&mut self, what: What, bytes: &[u8]) -> Result<(), Fault> {
        match what {
            What::Member(member) => {
                let text = str::from_utf8(bytes).map_err(|_| Fault::NotUtf8)?;
                return self.says.read_member(member, text);
            }
            What::Opening if self.progress != Progress::Beginning => {
                return Err(Fault::Document("it has events twice"));
            }
            What::Opening if !self.says.has_version || self.says.store_id.is_none() => {
                let message = "version and storeId have to stand before events";
                return Err(Fault::Document(message));
            }
            What::Opening => self.progress = Progress::Events,
            What::Closing => self.progress = Progress::AfterEvents,
            What::End if self.progress == Progress::Beginning => {
                return Err(Fault::Document("it has no events"));
            }
            What::End => {
                let said = self.says.event_count;
                let said = said.ok_or(Fault::Document("it has no eventCount"))?;
                agree("the number of events", &said, &self.events)?;
                self.progress = Progress::End;
            }
            What::Line | What::LastLine | What::Event => {}
        }
        Ok(())
    }

    /// Compares the last line of an export with what has been read.
    fn read_last_line(&self, text: &str) -> Result<(), Fault> {
        let (mut events, mut head, mut checksum) = (None, None, None);
        json::read(text, |value| {
            value.object(|value, _| {
                value.object(|value, key| {
                    match key {
                        "events" => events = Some(value.integer()?),
                        "head" => head = Some(value.integer()?),
                        "crc32" => checksum = Some(value.string()?),
                        _ => {}
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
        let head = self.says.head.unwrap_or_default();
        agree("the last event", &head, &self.last)
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

impl Says {
    fn header(&self, kind: Kind) -> Header {
        Header {
            kind,
            store_id: self.store_id.clone(),
            backend_id: self.backend_id.clone(),
            head: self.head,
            exported_at: self.exported_at.clone(),
        }
    }

    /// Reads the first line of an export.
    fn read_first_line(&mut self, text: &str) -> Result<(), Fault> {
        let (mut format, mut version, mut head) = (None, None, None);
        json::read(text, |value| {
            value.object(|value, key| {
                match key {
                    "format" => format = Some(value.string()?),
                    "version" => version = Some(value.integer()?),
                    "storeId" => self.store_id = Some(value.string()?.into_owned()),
                    "backendId" => self.backend_id = Some(value.string()?.into_owned()),
                    "head" => head = Some(value.integer()?),
                    "exportedAt" => self.exported_at = Some(value.string()?.into_owned()),
                    _ => {}
                }
                Ok(())
            })
        })?;
        if format.as_deref() != Some(FORMAT) {
            return Err(Fault::Unknown);
        }
        check_version(version.ok_or(Fault::Document("it has no version"))?)?;
        self.head = head.and_then(SeqNum::new);
        if self.store_id.is_some() && self.backend_id.is_some() && self.head.is_some() {
            return Ok(());
        }
        Err(Fault::Document("it has no storeId, backendId or head"))
    }

    /// Reads a member of LiveStore's document.
    fn read_member(&mut self, member: Member, text: &str) -> Result<(), Fault> {
        let mut number = None;
        json::read(text, |value| {
            match member {
                Member::Version | Member::EventCount => number = Some(value.integer()?),
                Member::StoreId => self.store_id = Some(value.string()?.into_owned()),
                Member::ExportedAt => self.exported_at = Some(value.string()?.into_owned()),
                Member::Events | Member::Other => {}
            }
            Ok(())
        })?;
        match (member, number) {
            (Member::Version, Some(version)) => {
                check_version(version)?;
                self.has_version = true;
            }
            (_, Some(count)) => {
                let none = Fault::Document("eventCount is no number of events");
                self.event_count = Some(SeqNum::new(count).ok_or(none)?);
            }
            _ => {}
        }
        Ok(())
    }
}

fn check_version(found: i64) -> Result<(), Fault> {
    if found == VERSION {
        return Ok(());
    }
    Err(Fault::Version { found })
}

/// Whether what is said is what there is.
fn agree(what: &'static str, said: &dyn Display, found: &dyn Display) -> Result<(), Fault> {
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
