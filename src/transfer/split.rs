//! Cutting a file, which comes in pieces of any size, into what can be read by itself: a line, or a member or an event
//! of a JSON document. Nothing but that is ever held of it.

use std::collections::VecDeque;
use std::ops::Range;

use super::fault::{Fault, Place, ReadError};
use crate::limits::{TRANSFER_BEGINNING_BYTES, TRANSFER_EVENT_BYTES_MAX};

/// What a file is, as its beginning shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An export of this backend.
    Export,
    /// What LiveStore's own `sync export` writes: one JSON document.
    LiveStore,
    /// Events, a line each, without anything around them.
    Lines,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Export, Self::LiveStore, Self::Lines];
}

/// A part of a file that can be read by itself.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) what: What,
    /// Where it lies in the splitter's text.
    pub(super) range: Range<usize>,
    /// Where the file goes on after it.
    pub(super) after: Position,
}

impl Piece {
    /// Where it stands, for what is said of it.
    pub(super) fn place(&self, kind: Kind) -> Place {
        match (kind, self.what) {
            (Kind::LiveStore, What::Event) => Place::Event(self.after.number),
            (Kind::LiveStore, _) => Place::File,
            _ => Place::Line(self.after.number),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A line, without its line break.
    Line,
    /// A line without a line break, which the file ends with.
    LastLine,
    /// The value of a member that is told of.
    Member(Member),
    /// The events begin.
    Opening,
    /// One of the events.
    Event,
    /// The events have ended.
    Closing,
    /// The document has ended.
    End,
}

/// A member of LiveStore's document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Member {
    Version,
    StoreId,
    ExportedAt,
    EventCount,
    Events,
    Other,
}

impl Member {
    fn of(key: &[u8]) -> Self {
        match key {
            b"version" => Self::Version,
            b"storeId" => Self::StoreId,
            b"exportedAt" => Self::ExportedAt,
            b"eventCount" => Self::EventCount,
            b"events" => Self::Events,
            _ => Self::Other,
        }
    }
}

/// A position between two parts of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// Bytes before it.
    pub(super) bytes: u64,
    /// Lines before it, or events.
    pub(super) number: u64,
    inside: Inside,
}

impl Position {
    /// `inside` is a number from [`Position::inside`].
    pub(super) fn at(bytes: u64, number: u64, inside: usize) -> Option<Self> {
        Some(Self {
            bytes,
            number,
            inside: *Inside::ALL.get(inside)?,
        })
    }

    /// What the file goes on with.
    pub(super) fn inside(&self) -> u64 {
        let before = Inside::ALL.iter().take_while(|one| **one != self.inside);
        before.count() as u64
    }
}

/// What a JSON document goes on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    FirstMember,
    NextMember,
    AfterMember,
    FirstEvent,
    NextEvent,
    AfterEvent,
    Over,
}

impl Inside {
    const ALL: [Self; 8] = [
        Self::Nothing,
        Self::FirstMember,
        Self::NextMember,
        Self::AfterMember,
        Self::FirstEvent,
        Self::NextEvent,
        Self::AfterEvent,
        Self::Over,
    ];
}

/// What a document's next byte belongs to.
#[derive(Clone, Copy, Debug)]
enum Within {
    Between(Inside),
    Key { is_escaped: bool },
    Colon(Member),
    Start(Member),
    Array,
    Value(Scan, Member),
}

/// How far a value has been scanned.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    /// Brackets that are open.
    depth: u32,
    is_string: bool,
    is_escaped: bool,
    /// Whether white space was left out before this byte.
    was_space: bool,
}

/// Cuts a file up.
#[derive(Debug)]
pub(super) struct Splitter {
    kind: Option<Kind>,
    text: Vec<u8>,
    /// Where in the text the part begins that has not ended.
    start: usize,
    /// Bytes of the text that have been searched for its end.
    searched: usize,
    position: Position,
    within: Within,
    pieces: VecDeque<Piece>,
}

impl Splitter {
    /// Goes on at a position of a file; `kind` is `None` at the beginning of one.
    pub(super) fn new(kind: Option<Kind>, position: Position) -> Self {
        Self {
            kind,
            text: Vec::new(),
            start: 0,
            searched: 0,
            position,
            within: Within::Between(position.inside),
            pieces: VecDeque::new(),
        }
    }

    pub(super) fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// All that has not been dropped, for the ranges of pieces.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    pub(super) fn pieces(&self) -> &VecDeque<Piece> {
        &self.pieces
    }

    /// Lets go of the first `count` pieces.
    pub(super) fn drop_first(&mut self, count: usize) {
        let last = count.checked_sub(1).and_then(|last| self.pieces.get(last));
        let Some(bytes) = last.map(|piece| piece.range.end) else {
            return;
        };
        self.pieces.drain(..count);
        self.text.drain(..bytes);
        self.start -= bytes;
        self.searched -= bytes;
        for piece in &mut self.pieces {
            piece.range.start -= bytes;
            piece.range.end -= bytes;
        }
    }

    /// The next bytes of the file.
    ///
    /// # Errors
    /// When they cannot be what they should.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        if self.kind.is_some() {
            return self.split(bytes);
        }
        self.text.extend_from_slice(bytes);
        self.kind = kind_of(&self.text)?;
        if self.kind.is_some() {
            let beginning = std::mem::take(&mut self.text);
            return self.split(&beginning);
        }
        Ok(())
    }

    /// There are no more bytes.
    pub(super) fn finish(&mut self) {
        let end = self.text.len();
        if matches!(self.kind, Some(Kind::Export | Kind::Lines)) && self.start < end {
            self.position.number += 1;
            self.position.bytes += (end - self.start) as u64;
            self.cut(What::LastLine, end);
        }
    }

    fn split(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        match self.kind {
            Some(Kind::LiveStore) => self.split_document(bytes)?,
            _ => self.split_lines(bytes),
        }
        let max = TRANSFER_EVENT_BYTES_MAX;
        if self.text.len() - self.start <= max {
            return Ok(());
        }
        let fault = Fault::TooLong { max };
        let number = self.position.number + 1;
        let place = match self.within {
            _ if self.kind != Some(Kind::LiveStore) => Place::Line(number),
            Within::Value(_, Member::Events) => Place::Event(number),
            _ => Place::File,
        };
        Err(ReadError { place, fault })
    }

    /// What lies before `end` in the text is a piece; the text goes on at the same place.
    fn cut(&mut self, what: What, end: usize) {
        let inside = match what {
            What::Line | What::LastLine => Inside::Nothing,
            What::Member(_) | What::Closing => Inside::AfterMember,
            What::Opening => Inside::FirstEvent,
            What::Event => Inside::AfterEvent,
            What::End => Inside::Over,
        };
        self.position.inside = inside;
        self.within = Within::Between(inside);
        self.pieces.push_back(Piece {
            what,
            range: self.start..end,
            after: self.position,
        });
        self.start = end;
    }

    fn split_lines(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        while let Some(rest) = self.text.get(self.searched..)
            && let Some(at) = rest.iter().position(|byte| *byte == b'\n')
        {
            let end = self.searched + at;
            self.searched = end + 1;
            self.position.number += 1;
            self.position.bytes += (self.searched - self.start) as u64;
            self.cut(What::Line, end);
            self.start = self.searched;
        }
        self.searched = self.text.len();
    }

    fn split_document(&mut self, bytes: &[u8]) -> Result<(), ReadError> {
        for byte in bytes {
            self.position.bytes += 1;
            self.step(*byte)?;
        }
        self.searched = self.text.len();
        Ok(())
    }

    fn step(&mut self, byte: u8) -> Result<(), ReadError> {
        let is_space = matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.within = match self.within {
            Within::Value(scan, member) => return self.scan(scan, member, byte),
            Within::Key { is_escaped } if is_escaped || byte != b'"' => {
                self.text.push(byte);
                let is_escaped = !is_escaped && byte == b'\\';
                Within::Key { is_escaped }
            }
            Within::Key { .. } => {
                let member = Member::of(self.text.get(self.start..).unwrap_or_default());
                self.text.truncate(self.start);
                Within::Colon(member)
            }
            within if is_space => within,
            Within::Between(inside) => return self.step_between(inside, byte),
            Within::Start(member) => return self.scan(Scan::default(), member, byte),
            Within::Colon(Member::Events) if byte == b':' => Within::Array,
            Within::Colon(member) if byte == b':' => Within::Start(member),
            Within::Colon(_) => return Err(self.unexpected("':'")),
            Within::Array if byte == b'[' => {
                self.cut(What::Opening, self.start);
                return Ok(());
            }
            Within::Array => return Err(self.unexpected("an array of events")),
        };
        Ok(())
    }

    fn step_between(&mut self, inside: Inside, byte: u8) -> Result<(), ReadError> {
        let next = match (inside, byte) {
            (Inside::Nothing, b'{') => Within::Between(Inside::FirstMember),
            (Inside::FirstMember | Inside::NextMember, b'"') => Within::Key { is_escaped: false },
            (Inside::AfterMember, b',') => Within::Between(Inside::NextMember),
            (Inside::FirstMember | Inside::AfterMember, b'}') => {
                self.cut(What::End, self.start);
                return Ok(());
            }
            (Inside::FirstEvent | Inside::AfterEvent, b']') => {
                self.cut(What::Closing, self.start);
                return Ok(());
            }
            (Inside::AfterEvent, b',') => Within::Between(Inside::NextEvent),
            (Inside::FirstEvent | Inside::NextEvent, _) => {
                return self.scan(Scan::default(), Member::Events, byte);
            }
            (Inside::Over, _) => {
                return Err(ReadError {
                    place: Place::Byte(self.position.bytes),
                    fault: Fault::Followed,
                });
            }
            (Inside::Nothing, _) => return Err(self.unexpected("an object")),
            (Inside::FirstMember | Inside::NextMember, _) => return Err(self.unexpected("a key")),
            (Inside::AfterMember, _) => return Err(self.unexpected("',' or '}'")),
            (Inside::AfterEvent, _) => return Err(self.unexpected("',' or ']'")),
        };
        self.within = next;
        Ok(())
    }

    /// The next byte of a value, which is kept without the white space between its parts: what is printed in many lines
    /// becomes what it was before.
    fn scan(&mut self, mut scan: Scan, member: Member, byte: u8) -> Result<(), ReadError> {
        let is_at_start = self.text.len() == self.start;
        if scan.is_string {
            self.text.push(byte);
            if scan.is_escaped || byte == b'\\' {
                scan.is_escaped = !scan.is_escaped;
            } else if byte == b'"' {
                scan.is_string = false;
            }
            self.scanned(scan, member);
            return Ok(());
        }
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {
                scan.was_space = true;
                if scan.depth == 0 {
                    self.end_value(member);
                } else {
                    self.within = Within::Value(scan, member);
                }
                return Ok(());
            }
            // The value was a word, or nothing.
            b',' | b']' | b'}' if scan.depth == 0 => {
                if is_at_start {
                    return Err(self.unexpected("a value"));
                }
                // It ended before this byte.
                self.position.bytes -= 1;
                self.end_value(member);
                self.position.bytes += 1;
                let Within::Between(inside) = self.within else {
                    return Ok(());
                };
                return self.step_between(inside, byte);
            }
            b'"' => scan.is_string = true,
            b'{' | b'[' => scan.depth += 1,
            b'}' | b']' => scan.depth -= 1,
            b',' | b':' => {}
            // Two words are not to become one.
            _ if scan.was_space => {
                let is_word =
                    |byte: &u8| !matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',' | b':');
                if self.text.last().is_some_and(is_word) {
                    self.text.push(b' ');
                }
            }
            _ => {}
        }
        scan.was_space = false;
        self.text.push(byte);
        if !scan.is_string && matches!(byte, b'}' | b']') && scan.depth == 0 {
            self.end_value(member);
            return Ok(());
        }
        self.within = Within::Value(scan, member);
        Ok(())
    }

    /// After a byte of a string.
    fn scanned(&mut self, scan: Scan, member: Member) {
        if scan.is_string || scan.depth > 0 {
            self.within = Within::Value(scan, member);
        } else {
            self.end_value(member);
        }
    }

    fn end_value(&mut self, member: Member) {
        let end = self.text.len();
        if member == Member::Events {
            self.position.number += 1;
            self.cut(What::Event, end);
        } else {
            self.cut(What::Member(member), end);
        }
    }

    fn unexpected(&self, expected: &'static str) -> ReadError {
        ReadError {
            place: Place::Byte(self.position.bytes),
            fault: Fault::Expected(expected),
        }
    }
}

/// What a file is that begins like this; `None` as long as that is open.
fn kind_of(text: &[u8]) -> Result<Option<Kind>, ReadError> {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    let at_first = |fault| {
        let place = Place::Line(1);
        Err(ReadError { place, fault })
    };
    if text.starts_with(MARK) {
        return at_first(Fault::ByteOrderMark);
    }
    let beginning = text.get(..TRANSFER_BEGINNING_BYTES).unwrap_or(text);
    let mut rest = beginning.trim_ascii_start();
    for byte in [b'{', b'"'] {
        let is_other = rest.first().is_some_and(|first| *first != byte);
        if is_other && !MARK.starts_with(beginning) {
            return at_first(Fault::Unknown);
        }
        rest = rest.get(1..).unwrap_or_default().trim_ascii_start();
    }
    let Some(end) = rest.iter().position(|byte| *byte == b'"') else {
        if text.len() < TRANSFER_BEGINNING_BYTES {
            return Ok(None);
        }
        return at_first(Fault::Unknown);
    };
    match rest.get(..end).unwrap_or_default() {
        b"format" => Ok(Some(Kind::Export)),
        b"version" | b"storeId" | b"exportedAt" | b"eventCount" | b"events" => {
            Ok(Some(Kind::LiveStore))
        }
        b"seqNum" | b"parentSeqNum" | b"name" | b"args" | b"clientId" | b"sessionId"
        | b"createdAt" => Ok(Some(Kind::Lines)),
        _ => at_first(Fault::Unknown),
    }
}
