//! The `MessagePack` of the Durable Object transport, to JSON text and back.
//!
//! Owns: the dialect of msgpackr with `useRecords: true`, which both RPC generations speak there.
//! Refuses to know what a message means: JSON text goes in and comes out, so the envelopes are those
//! of [`rpc`](super::rpc). *Source*: msgpackr 1.12 and 2.1.
//!
//! Objects are *records*. `d4 72 id` with an array of keys defines a shape and is followed by the
//! values of the first object; the single byte `id`, `40` to `7f`, and values are the next objects of
//! that shape. An id may be defined again at any time, and counts as a small integer until it is
//! defined. A plain map would reach JavaScript as a `Map`, so none is written. msgpackr's records with
//! ids of two bytes need options that no client sets.
//!
//! Neither direction recurses, so nesting costs heap and no stack. What has many callers is kept out of
//! line, because every byte of WebAssembly counts.

use std::fmt::Write as _;

use thiserror::Error;

use super::push_plain;
use crate::json::quote;
use crate::limits::{FRAME_BYTES_CEILING, MSGPACK_DEPTH_MAX};

/// Ids of records: `40` to `7f`.
const IDS: usize = 64;
const FIRST_ID: u8 = 0x40;
/// The extension that defines a record.
const RECORD: u8 = 0x72;

/// What a host does for numbers that are no short integers: the code for it is large, and JavaScript
/// has it.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    /// Prints a finite number the shortest way, as JSON.
    pub print: fn(f64) -> String,
    /// The double nearest to a number as JSON writes it.
    pub parse: fn(&str) -> f64,
}

/// Digits of an integer that any double of its size holds exactly.
const INTEGER_DIGITS_MAX: usize = 15;

/// Why bytes are not a message. *Errors*: `at` is the offset of the byte that is wrong.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the value does, or a length promises more than there is.
    #[error("msgpack: at byte {at}: the value does not end before the bytes do")]
    Truncated {
        /// Where more bytes are needed.
        at: usize,
    },
    /// A type that has no JSON: binary, an extension, or no type at all.
    #[error("msgpack: at byte {at}: a type that JSON does not have")]
    Unsupported {
        /// Where the type is.
        at: usize,
    },
    /// A string was due: the key of a map or of a record.
    #[error("msgpack: at byte {at}: a key must be a string")]
    Key {
        /// Where it was due.
        at: usize,
    },
    /// A string is not UTF-8.
    #[error("msgpack: at byte {at}: the string is not UTF-8")]
    Utf8 {
        /// Where the string starts.
        at: usize,
    },
    /// More levels than [`MSGPACK_DEPTH_MAX`].
    #[error("msgpack: at byte {at}: nested deeper than {MSGPACK_DEPTH_MAX} levels")]
    Depth {
        /// The first level that is too deep.
        at: usize,
    },
    /// The JSON text would be longer than [`FRAME_BYTES_CEILING`].
    #[error("msgpack: at byte {at}: more than {FRAME_BYTES_CEILING} bytes as JSON")]
    Size {
        /// Where the text exceeds its bound.
        at: usize,
    },
    /// Bytes follow the value.
    #[error("msgpack: at byte {at}: the value is over, but bytes follow")]
    Trailing {
        /// The first of them.
        at: usize,
    },
}

/// Reads one value as JSON text.
///
/// As with `JSON.stringify`, `undefined` is left out of objects and `null` elsewhere, NaN and the
/// infinities are `null`, and doubles have the digits of JavaScript. Integers of 64 bits keep all of
/// theirs. Keys that a record repeats are repeated.
///
/// What is held besides the text is bounded by [`MSGPACK_DEPTH_MAX`], whatever lengths the bytes
/// promise. A reference of one byte can stand for keys of any length, so the text is bounded by
/// [`FRAME_BYTES_CEILING`]: what fits no frame as JSON is refused here as well.
///
/// # Errors
///
/// See [`DecodeError`].
pub fn decode(bytes: &[u8], numbers: Numbers) -> Result<String, DecodeError> {
    let mut decoder = Decoder {
        numbers,
        bytes,
        at: 0,
        shapes: [Shape::default(); IDS],
        open: Vec::new(),
        json: String::new(),
    };
    decoder.value()?;
    while decoder.advance()? {
        decoder.value()?;
    }
    match decoder.at {
        at if at < bytes.len() => Err(DecodeError::Trailing { at }),
        _ => Ok(decoder.json),
    }
}

struct Decoder<'a> {
    numbers: Numbers,
    bytes: &'a [u8],
    at: usize,
    shapes: [Shape; IDS],
    open: Vec<Open>,
    json: String,
}

/// The keys of a record, where they stand in the bytes: after their definition, so not at 0.
#[derive(Clone, Copy, Default)]
struct Shape {
    keys: usize,
    count: usize,
}

/// An array or object that is not complete.
struct Open {
    left: usize,
    members: Members,
}

enum Members {
    Elements,
    /// Each value follows its key.
    Entries,
    /// The keys stand elsewhere, the next one at this offset.
    Values {
        keys: usize,
    },
}

impl Decoder<'_> {
    /// Reads a scalar, or the head of an array or object.
    fn value(&mut self) -> Result<(), DecodeError> {
        let at = self.at;
        let byte = byte(self.bytes, &mut self.at)?;
        match byte {
            0..=0x7f => match self.shapes.get(usize::from(byte) % IDS) {
                Some(shape) if byte >= FIRST_ID && shape.keys > 0 => {
                    self.open_record(at, *shape)?;
                }
                _ => self.push_integer(byte.into()),
            },
            0x80..=0x8f => self.open(at, (byte & 0x0f).into(), Members::Entries)?,
            0x90..=0x9f => self.open(at, (byte & 0x0f).into(), Members::Elements)?,
            0xa0..=0xbf | 0xd9..=0xdb => {
                let text;
                (text, self.at) = string(self.bytes, at)?;
                self.push_string(text, at)?;
            }
            0xc0 => self.push("null"),
            0xc2 => self.push("false"),
            0xc3 => self.push("true"),
            0xca => {
                let bits = self.unsigned(4)?;
                // Four bytes fill 32 bits.
                self.push_number(f32::from_bits(u32::try_from(bits).unwrap_or(0)).into());
            }
            0xcb => {
                let bits = self.unsigned(8)?;
                self.push_number(f64::from_bits(bits));
            }
            0xcc..=0xcf => {
                let value = self.unsigned(1 << (byte - 0xcc))?;
                self.push_integer(value);
            }
            0xd0..=0xd3 => {
                let width = 1 << (byte - 0xd0);
                let unused = 64 - 8 * width;
                let value = self.unsigned(width)? << unused;
                self.push_signed(value.cast_signed() >> unused);
            }
            0xd4 => match self.unsigned(2)?.to_be_bytes() {
                [.., 0, _] => self.push("null"),
                [.., RECORD, id] => self.define(at, id)?,
                _ => return Err(DecodeError::Unsupported { at }),
            },
            0xdc..=0xdf => {
                let count = self.unsigned(2 << (byte & 1))?;
                let members = if byte < 0xde {
                    Members::Elements
                } else {
                    Members::Entries
                };
                self.open(at, length(count), members)?;
            }
            0xe0..=0xff => self.push_signed(byte.cast_signed().into()),
            _ => return Err(DecodeError::Unsupported { at }),
        }
        Ok(())
    }

    /// Goes to the next value, past the ends of arrays and objects; `false` when there is none.
    fn advance(&mut self) -> Result<bool, DecodeError> {
        while let Some(open) = self.open.last_mut() {
            if open.left == 0 {
                let close = match open.members {
                    Members::Elements => "]",
                    Members::Entries | Members::Values { .. } => "}",
                };
                self.open.pop();
                self.push(close);
                continue;
            }
            open.left -= 1;
            let at = self.at;
            let key = match &mut open.members {
                Members::Elements => None,
                Members::Entries => {
                    let key;
                    (key, self.at) = string(self.bytes, at)?;
                    Some(key)
                }
                Members::Values { keys } => {
                    let key;
                    (key, *keys) = string(self.bytes, *keys)?;
                    Some(key)
                }
            };
            if let Some([0xd4, 0, _, ..]) = self.bytes.get(self.at..)
                && key.is_some()
            {
                self.at += 3;
                continue;
            }
            // No value ends like this.
            if !self.json.ends_with(['[', '{']) {
                self.push(",");
            }
            if let Some(key) = key {
                self.push_string(key, at)?;
                self.push(":");
            }
            self.bound(0, at)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads the keys of a record, and opens the first object that has them.
    fn define(&mut self, at: usize, id: u8) -> Result<(), DecodeError> {
        let head = self.at;
        let count = match byte(self.bytes, &mut self.at)? {
            byte @ 0x90..=0x9f => usize::from(byte & 0x0f),
            byte @ 0xdc..=0xdd => length(self.unsigned(2 << (byte - 0xdc))?),
            _ => return Err(DecodeError::Key { at: head }),
        };
        let keys = self.at;
        for _ in 0..count {
            (_, self.at) = string(self.bytes, self.at)?;
        }
        let shape = Shape { keys, count };
        if let Some(slot) = self.shapes.get_mut(usize::from(id) % IDS) {
            *slot = shape;
        }
        self.open_record(at, shape)
    }

    fn open_record(&mut self, at: usize, shape: Shape) -> Result<(), DecodeError> {
        self.open(at, shape.count, Members::Values { keys: shape.keys })
    }

    /// Opens an array or object of `count` members, each of which is a byte at least.
    fn open(&mut self, at: usize, count: usize, members: Members) -> Result<(), DecodeError> {
        if count > self.bytes.len() - self.at {
            return Err(DecodeError::Truncated { at });
        }
        if self.open.len() == MSGPACK_DEPTH_MAX {
            return Err(DecodeError::Depth { at });
        }
        self.push(match members {
            Members::Elements => "[",
            Members::Entries | Members::Values { .. } => "{",
        });
        let left = count;
        self.open.push(Open { left, members });
        Ok(())
    }

    fn unsigned(&mut self, width: usize) -> Result<u64, DecodeError> {
        unsigned(self.bytes, &mut self.at, width)
    }

    fn push(&mut self, text: &str) {
        self.json.push_str(text);
    }

    fn push_integer(&mut self, value: u64) {
        // Writing to a string cannot fail.
        let _ = write!(self.json, "{value}");
    }

    fn push_signed(&mut self, value: i64) {
        if value < 0 {
            self.push("-");
        }
        self.push_integer(value.unsigned_abs());
    }

    /// A number as JavaScript writes it.
    #[allow(clippy::cast_possible_truncation)] // Without a fraction and below 2^53.
    fn push_number(&mut self, value: f64) {
        if !value.is_finite() {
            self.push("null");
        } else if value.fract() == 0.0 && value.abs() < 9e15 {
            // The negative zero has no sign in JSON.
            self.push_signed(value as i64);
        } else {
            self.push(&(self.numbers.print)(value));
        }
    }

    fn push_string(&mut self, text: &str, at: usize) -> Result<(), DecodeError> {
        let size = |byte| match byte {
            0..=0x1f => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        };
        let escaped = text.bytes().map(size).sum::<usize>();
        self.bound(escaped, at)?;
        if escaped == text.len() {
            push_plain(text, &mut self.json);
        } else {
            self.json.push_str(&quote(text));
        }
        Ok(())
    }

    /// Checks that `more` bytes of text may follow.
    fn bound(&self, more: usize, at: usize) -> Result<(), DecodeError> {
        if self.json.len().saturating_add(more) > FRAME_BYTES_CEILING {
            return Err(DecodeError::Size { at });
        }
        Ok(())
    }
}

fn byte(bytes: &[u8], at: &mut usize) -> Result<u8, DecodeError> {
    let byte = bytes.get(*at).ok_or(DecodeError::Truncated { at: *at })?;
    *at += 1;
    Ok(*byte)
}

/// A big-endian number of `width` bytes.
#[inline(never)]
fn unsigned(bytes: &[u8], at: &mut usize, width: usize) -> Result<u64, DecodeError> {
    let mut value = 0;
    for _ in 0..width {
        value = value << 8 | u64::from(byte(bytes, at)?);
    }
    Ok(value)
}

fn length(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// The string at an offset, and the offset after it.
#[inline(never)]
fn string(bytes: &[u8], at: usize) -> Result<(&str, usize), DecodeError> {
    let mut start = at;
    let len = match byte(bytes, &mut start)? {
        byte @ 0xa0..=0xbf => usize::from(byte & 0x1f),
        byte @ 0xd9..=0xdb => length(unsigned(bytes, &mut start, 1 << (byte - 0xd9))?),
        _ => return Err(DecodeError::Key { at }),
    };
    let end = start.saturating_add(len);
    let text = bytes.get(start..end).ok_or(DecodeError::Truncated { at })?;
    let text = str::from_utf8(text).map_err(|_| DecodeError::Utf8 { at })?;
    Ok((text, end))
}

/// Why a text is not encoded.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum EncodeError {
    /// Not JSON.
    #[error("not JSON at byte {at}")]
    Syntax {
        /// Where it stops being JSON.
        at: usize,
    },
    /// Longer than any length that msgpack has.
    #[error("{bytes} bytes of JSON are too many")]
    Size {
        /// Length of the text.
        bytes: usize,
    },
}

/// Appends a JSON text as one value; after an error `out` is as it was.
///
/// Objects of one shape, the keys in their order, share a definition; after 64 shapes the ids start
/// again, in the order in which msgpackr reuses them. Numbers become the smallest integer that is
/// no id, or the nearest double if 32 bits do not hold them. Half a pair of surrogates becomes
/// U+FFFD. A key that an object repeats is repeated: as with `JSON.parse`, the last value counts. The
/// key `__proto__` is written, but msgpackr reads it as `__proto_`.
///
/// # Errors
///
/// See [`EncodeError`].
pub fn encode(json: &str, numbers: Numbers, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if u32::try_from(json.len()).is_err() {
        return Err(EncodeError::Size { bytes: json.len() });
    }
    let mut encoder = Encoder {
        numbers,
        json: json.as_bytes(),
        at: 0,
        body: Vec::with_capacity(json.len()),
        keys: Vec::new(),
        shapes: Vec::new(),
        containers: Vec::new(),
        open: Vec::new(),
    };
    if encoder.text().is_none() {
        // What was skipped as escaped may have been the end.
        let at = encoder.at.min(json.len());
        return Err(EncodeError::Syntax { at });
    }
    encoder.assemble(out);
    Ok(())
}

/// The head of an array or object counts its members and a record names their keys, so heads are
/// collected apart from the scalars and put between them at the end. Where a method returns `None`,
/// the text is not JSON at `at`.
struct Encoder<'a> {
    numbers: Numbers,
    json: &'a [u8],
    at: usize,
    /// The scalars.
    body: Vec<u8>,
    /// The encoded keys of the objects in `open`.
    keys: Vec<u8>,
    /// The encoded keys of the objects that are complete.
    shapes: Vec<u8>,
    /// In the order in which they open.
    containers: Vec<Container>,
    /// Indices of those that are not complete.
    open: Vec<usize>,
}

struct Container {
    /// Where its head goes into the body.
    at: usize,
    count: usize,
    /// The keys of an object: while it is open their start in `keys`, then their range in `shapes`.
    keys: Option<(usize, usize)>,
}

impl Encoder<'_> {
    fn text(&mut self) -> Option<()> {
        while self.value()? || self.advance()? {}
        self.peek().is_none().then_some(())
    }

    /// Reads a scalar, an empty array or an empty object; or opens another one, whose first value is
    /// next, and returns `true`.
    fn value(&mut self) -> Option<bool> {
        let (word, byte): (&[u8], u8) = match self.peek()? {
            first @ (b'{' | b'[') => return self.open(first == b'{'),
            b'"' => {
                self.string(false)?;
                return Some(false);
            }
            b'n' => (b"null", 0xc0),
            b'f' => (b"false", 0xc2),
            b't' => (b"true", 0xc3),
            _ => {
                self.number()?;
                return Some(false);
            }
        };
        if !self.json.get(self.at..)?.starts_with(word) {
            return None;
        }
        self.at += word.len();
        self.body.push(byte);
        Some(false)
    }

    fn open(&mut self, is_object: bool) -> Option<bool> {
        self.at += 1;
        let keys = self.keys.len();
        self.open.push(self.containers.len());
        self.containers.push(Container {
            at: self.body.len(),
            count: 0,
            keys: is_object.then_some((keys, keys)),
        });
        if self.close(is_object) {
            return Some(false);
        }
        self.key(is_object)
    }

    /// Goes to the next value, past the ends of arrays and objects; `false` when there is none.
    fn advance(&mut self) -> Option<bool> {
        while let Some(index) = self.open.last() {
            let container = self.containers.get_mut(*index)?;
            container.count += 1;
            let is_object = container.keys.is_some();
            if self.eat(b',') {
                return self.key(is_object);
            }
            if !self.close(is_object) {
                return None;
            }
        }
        Some(false)
    }

    /// Reads the end of the innermost array or object, if it is next.
    fn close(&mut self, is_object: bool) -> bool {
        let is_closed = self.eat(if is_object { b'}' } else { b']' });
        if is_closed
            && let Some(index) = self.open.pop()
            && let Some(container) = self.containers.get_mut(index)
            && let Some((start, end)) = &mut container.keys
        {
            let own = self.keys.get(*start..).unwrap_or_default();
            let shape = self.shapes.len();
            put(own, &mut self.shapes);
            self.keys.truncate(*start);
            (*start, *end) = (shape, self.shapes.len());
        }
        is_closed
    }

    /// Reads the key of the next value, if that is one of an object.
    fn key(&mut self, is_object: bool) -> Option<bool> {
        if is_object {
            if self.peek() != Some(b'"') {
                return None;
            }
            self.string(true)?;
            if !self.eat(b':') {
                return None;
            }
        }
        Some(true)
    }

    /// Reads a string, its quotation mark being next.
    fn string(&mut self, is_key: bool) -> Option<()> {
        // What is before the last escape.
        let mut text = Vec::new();
        let mut start = self.at + 1;
        loop {
            self.at += 1;
            let byte = self.next()?;
            if byte < 0x20 {
                return None;
            }
            if byte != b'"' && byte != b'\\' {
                continue;
            }
            let mut plain = self.json.get(start..self.at)?;
            self.at += 1;
            if byte == b'"' {
                if !text.is_empty() {
                    put(plain, &mut text);
                    plain = &text;
                }
                let out = if is_key {
                    &mut self.keys
                } else {
                    &mut self.body
                };
                push_string(plain, out);
                return Some(());
            }
            put(plain, &mut text);
            let char = self.escape()?;
            put(char.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
            start = self.at + 1;
        }
    }

    /// Reads what follows a backslash, all but its last byte.
    fn escape(&mut self) -> Option<char> {
        Some(match self.next()? {
            byte @ (b'"' | b'\\' | b'/') => byte.into(),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let mut code = self.hex()?;
                if let 0xd800..=0xdbff = code
                    && let Some([b'\\', b'u', ..]) = self.json.get(self.at + 1..)
                {
                    // One character from two escapes, if the second is the other half.
                    let before = self.at;
                    self.at += 2;
                    match self.hex()? {
                        low @ 0xdc00..=0xdfff => {
                            code = 0x1_0000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                        }
                        _ => self.at = before,
                    }
                }
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return None,
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let mut code = 0;
        for _ in 0..4 {
            self.at += 1;
            code = code << 4 | char::from(self.next()?).to_digit(16)?;
        }
        Some(code)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        let is_negative = self.skip(b'-');
        let digits = self.at;
        if !self.skip(b'0') {
            self.digits()?;
        }
        let mut is_integer = true;
        if self.skip(b'.') {
            self.digits()?;
            is_integer = false;
        }
        let mantissa = self.json.get(digits..self.at)?;
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits()?;
            is_integer = false;
        }
        let number = if is_integer && mantissa.len() <= INTEGER_DIGITS_MAX {
            let digits = mantissa.iter().map(|byte| f64::from(byte - b'0'));
            let number = digits.fold(0.0, |number, digit| number * 10.0 + digit);
            if is_negative { -number } else { number }
        } else {
            let text = std::str::from_utf8(self.json.get(start..self.at)?).ok()?;
            (self.numbers.parse)(text)
        };
        push_number(number, &mut self.body);
        Some(())
    }

    /// Reads one digit or more, and counts them.
    #[inline(never)]
    fn digits(&mut self) -> Option<i64> {
        let mut count = 0;
        while let Some(b'0'..=b'9') = self.next() {
            self.at += 1;
            count += 1;
        }
        (count > 0).then_some(count)
    }

    fn next(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    #[inline(never)]
    fn skip(&mut self, byte: u8) -> bool {
        let is_next = self.next() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The next byte that is no white space.
    #[inline(never)]
    fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.next() {
            self.at += 1;
        }
        self.next()
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.peek();
        self.skip(byte)
    }

    /// Puts the heads between the scalars.
    fn assemble(&self, out: &mut Vec<u8>) {
        let mut defined: Vec<&[u8]> = Vec::new();
        let mut next = FIRST_ID;
        let mut written = 0;
        for container in &self.containers {
            let scalars = self.body.get(written..container.at);
            put(scalars.unwrap_or_default(), out);
            written = container.at;
            let mut keys: &[u8] = &[];
            if let Some((start, end)) = container.keys {
                keys = self.shapes.get(start..end).unwrap_or_default();
                let mut known = (FIRST_ID..).zip(&defined);
                if let Some((id, _)) = known.find(|(_, shape)| **shape == keys) {
                    out.push(id);
                    continue;
                }
                match defined.get_mut(usize::from(next) % IDS) {
                    Some(shape) => *shape = keys,
                    None => defined.push(keys),
                }
                put(&[0xd4, RECORD, next], out);
                next = FIRST_ID | (next + 1) & 0x3f;
            }
            push_array_head(container.count, out);
            put(keys, out);
        }
        put(self.body.get(written..).unwrap_or_default(), out);
    }
}

#[inline(never)]
fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(bytes);
}

/// Appends a type and the last `width` bytes of a value.
#[inline(never)]
fn push_head(byte: u8, value: u64, width: usize, out: &mut Vec<u8>) {
    out.push(byte);
    put(
        value.to_be_bytes().get(8 - width..).unwrap_or_default(),
        out,
    );
}

fn push_array_head(count: usize, out: &mut Vec<u8>) {
    let value = count as u64;
    let [.., low] = value.to_be_bytes();
    let (byte, width) = match value {
        0..=0xf => (0x90 | low, 0),
        0x10..=0xffff => (0xdc, 2),
        _ => (0xdd, 4),
    };
    push_head(byte, value, width, out);
}

fn push_string(text: &[u8], out: &mut Vec<u8>) {
    let value = text.len() as u64;
    let [.., low] = value.to_be_bytes();
    let (byte, width) = match value {
        0..=0x1f => (0xa0 | low, 0),
        0x20..=0xff => (0xd9, 1),
        0x100..=0xffff => (0xda, 2),
        _ => (0xdb, 4),
    };
    push_head(byte, value, width, out);
    put(text, out);
}

fn push_number(number: f64, out: &mut Vec<u8>) {
    let is_integer =
        (-2_147_483_648.0..=4_294_967_295.0).contains(&number) && number.fract() == 0.0;
    if !is_integer {
        return push_head(0xcb, number.to_bits(), 8, out);
    }
    #[allow(clippy::cast_possible_truncation)] // It has no fraction and is in range.
    let value = number as i64;
    let [.., low] = value.to_be_bytes();
    let (byte, width) = match value {
        -0x20..=0x3f => (low, 0),
        0x40..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000.. => (0xce, 4),
        -0x80.. => (0xd0, 1),
        -0x8000.. => (0xd1, 2),
        _ => (0xd2, 4),
    };
    push_head(byte, value.cast_unsigned(), width, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As JavaScript prints and reads them.
    const NUMBERS: Numbers = Numbers {
        print: |number| match number.abs() {
            1e-6..1e21 => number.to_string(),
            _ => serde_json::to_string(&number).unwrap(),
        },
        parse: |text| text.parse().unwrap(),
    };

    fn decode(bytes: &[u8]) -> Result<String, DecodeError> {
        super::decode(bytes, NUMBERS)
    }

    fn encode(json: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        super::encode(json, NUMBERS, out)
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .chars()
            .filter_map(|digit| digit.to_digit(16)?.try_into().ok())
            .collect();
        digits
            .chunks(2)
            .map(|byte| byte[0] << 4 | byte[1])
            .collect()
    }

    fn encoded(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        encode(json, &mut out).unwrap();
        out
    }

    const EXIT_HEX: &str = "91 d47240 93 a45f746167 a9726571756573744964 a465786974 a445786974 a138 \
        d47241 92 a45f746167 a576616c7565 a753756363657373 d47242 90";
    const EXIT_JSON: &str =
        r#"[{"_tag":"Exit","requestId":"8","exit":{"_tag":"Success","value":{}}}]"#;

    #[test]
    fn the_exit_of_a_push_has_the_bytes_of_the_reference() {
        assert_eq!(encoded(EXIT_JSON), bytes(EXIT_HEX));
        assert_eq!(decode(&bytes(EXIT_HEX)).as_deref(), Ok(EXIT_JSON));
    }

    #[test]
    fn every_type_of_json_is_read() {
        let cases = [
            ("c0", "null"),
            ("c2", "false"),
            ("c3", "true"),
            ("00", "0"),
            ("3f", "63"),
            ("40", "64"),
            ("7f", "127"),
            ("ff", "-1"),
            ("e0", "-32"),
            ("cc ff", "255"),
            ("cd ffff", "65535"),
            ("ce ffffffff", "4294967295"),
            ("cf ffffffffffffffff", "18446744073709551615"),
            ("d0 80", "-128"),
            ("d1 8000", "-32768"),
            ("d2 80000000", "-2147483648"),
            ("d3 8000000000000000", "-9223372036854775808"),
            ("d3 0000000000000001", "1"),
            ("ca 3fc00000", "1.5"),
            ("ca 7f800000", "null"),
            ("cb 3ff0000000000000", "1"),
            ("cb 8000000000000000", "0"),
            ("cb 3fb999999999999a", "0.1"),
            ("cb 3fd3333333333334", "0.30000000000000004"),
            ("cb 4270000000000000", "1099511627776"),
            ("cb 43e0000000000000", "9223372036854776000"),
            ("cb 444b1ae4d6e2ef4f", "999999999999999900000"),
            ("cb 444b1ae4d6e2ef50", "1e+21"),
            ("cb 3eb0c6f7a0b5ed8d", "0.000001"),
            ("cb 3e7ad7f29abcaf48", "1e-7"),
            ("cb ffefffffffffffff", "-1.7976931348623157e+308"),
            ("cb 0000000000000001", "5e-324"),
            ("cb 7ff8000000000000", "null"),
            ("cb fff0000000000000", "null"),
            ("a0", r#""""#),
            ("a3 61 22 0a", r#""a\"\n""#),
            ("a1 00", r#""\u0000""#),
            ("d9 02 c3a9", "\"\u{e9}\""),
            ("da 0001 61", r#""a""#),
            ("db 00000004 f09f9880", "\"\u{1f600}\""),
            ("90", "[]"),
            ("92 90 01", "[[],1]"),
            ("dc 0001 a15b", r#"["["]"#),
            ("dd 00000001 c0", "[null]"),
            ("80", "{}"),
            ("82 a161 01 a162 80", r#"{"a":1,"b":{}}"#),
            ("de 0001 a161 01", r#"{"a":1}"#),
            ("df 00000001 a161 01", r#"{"a":1}"#),
        ];
        for (hex, json) in cases {
            assert_eq!(decode(&bytes(hex)).as_deref(), Ok(json), "{hex}");
        }
    }

    #[test]
    fn undefined_is_left_out_of_objects_and_null_elsewhere() {
        let cases = [
            ("d40000", "null"),
            ("92 d40000 01", "[null,1]"),
            ("83 a161 d40000 a162 01 a163 d40000", r#"{"b":1}"#),
            ("d47240 92 a161 a162 d40000 d40000", "{}"),
            (
                "92 d47240 92 a161 a162 d40000 01 40 02 d40000",
                r#"[{"b":1},{"a":2}]"#,
            ),
        ];
        for (hex, json) in cases {
            assert_eq!(decode(&bytes(hex)).as_deref(), Ok(json), "{hex}");
        }
    }

    #[test]
    fn the_text_may_be_as_long_as_a_frame_and_no_longer() {
        let decoder = Decoder {
            numbers: NUMBERS,
            bytes: &[],
            at: 0,
            shapes: [Shape::default(); IDS],
            open: Vec::new(),
            json: "[1,".to_owned(),
        };
        let left = FRAME_BYTES_CEILING - decoder.json.len();
        assert_eq!(decoder.bound(left, 7), Ok(()));
        for more in [left + 1, usize::MAX] {
            assert_eq!(decoder.bound(more, 7), Err(DecodeError::Size { at: 7 }));
        }
    }

    #[test]
    fn an_id_refers_to_its_latest_definition_and_is_a_number_before_the_first() {
        let cases = [
            ("92 41 d47241 91 a161 41 01", r#"[65,{"a":{"a":1}}]"#),
            (
                "93 41 d47241 91 a161 41 01 41 02",
                r#"[65,{"a":{"a":1}},{"a":2}]"#,
            ),
            (
                "93 d47240 91 a161 01 d47240 91 a162 02 40 03",
                r#"[{"a":1},{"b":2},{"b":3}]"#,
            ),
            // An object keeps its keys when its id is defined again among its values.
            (
                "92 d47240 92 a161 a162 d47240 91 a163 01 02 40 03",
                r#"[{"a":{"c":1},"b":2},{"c":3}]"#,
            ),
            ("92 d4727f dc0001 a161 01 7f 02", r#"[{"a":1},{"a":2}]"#),
            ("92 d47240 dd00000000 40", "[{},{}]"),
        ];
        for (hex, json) in cases {
            assert_eq!(decode(&bytes(hex)).as_deref(), Ok(json), "{hex}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_where_it_is() {
        use DecodeError::{Depth, Key, Size, Trailing, Truncated, Unsupported, Utf8};
        let cases = [
            ("", Truncated { at: 0 }),
            ("cd 00", Truncated { at: 2 }),
            ("91", Truncated { at: 0 }),
            ("dd ffffffff", Truncated { at: 0 }),
            ("91 df ffffffff c0", Truncated { at: 1 }),
            ("db ffffffff", Truncated { at: 0 }),
            ("d47240 dd ffffffff a161", Truncated { at: 10 }),
            ("92 d47240 91 a161 01 40", Truncated { at: 8 }),
            ("91 c4 00", Unsupported { at: 1 }),
            ("c1", Unsupported { at: 0 }),
            ("d4 01 00", Unsupported { at: 0 }),
            ("d5 72 60 00 90", Unsupported { at: 0 }),
            ("d6 ff 00000000", Unsupported { at: 0 }),
            ("c7 00 01", Unsupported { at: 0 }),
            ("81 01 01", Key { at: 1 }),
            ("d47240 91 01 01", Key { at: 4 }),
            ("d47240 a0", Key { at: 3 }),
            ("91 a1 ff", Utf8 { at: 1 }),
            ("d47240 91 a1ff 01", Utf8 { at: 4 }),
            ("c0 c0", Trailing { at: 1 }),
        ];
        for (hex, error) in cases {
            assert_eq!(decode(&bytes(hex)), Err(error), "{hex}");
        }
        let deep = |levels| [vec![0x91; levels], vec![0xc0]].concat();
        assert!(decode(&deep(MSGPACK_DEPTH_MAX)).is_ok());
        assert_eq!(
            decode(&deep(MSGPACK_DEPTH_MAX + 1)),
            Err(Depth {
                at: MSGPACK_DEPTH_MAX
            })
        );
        let text = |len: usize, byte| {
            let len = u32::try_from(len).unwrap();
            let mut text = vec![0xdb];
            text.extend(len.to_be_bytes());
            text.resize(5 + usize::try_from(len).unwrap(), byte);
            text
        };
        assert!(decode(&text(FRAME_BYTES_CEILING / 6, 0)).is_ok());
        let long = text(FRAME_BYTES_CEILING / 6 + 1, 0);
        assert_eq!(decode(&long), Err(Size { at: 0 }));
        // A key of a megabyte in each of a hundred objects.
        let mut repeated = bytes("dc 0064 d47240 91");
        repeated.extend(text(1 << 20, b'k'));
        repeated.push(0);
        repeated.extend([0x40, 0].repeat(99));
        assert!(matches!(decode(&repeated), Err(Size { .. })));
    }

    #[test]
    fn numbers_have_the_bytes_of_the_reference() {
        let cases = [
            ("0", "00"),
            ("-0", "00"),
            ("0.0", "00"),
            ("63", "3f"),
            ("64", "cc40"),
            ("127", "cc7f"),
            ("255", "ccff"),
            ("256", "cd0100"),
            ("65535", "cdffff"),
            ("65536", "ce00010000"),
            ("4294967295", "ceffffffff"),
            ("4294967296", "cb41f0000000000000"),
            ("-1", "ff"),
            ("-32", "e0"),
            ("-33", "d0df"),
            ("-128", "d080"),
            ("-129", "d1ff7f"),
            ("-32768", "d18000"),
            ("-32769", "d2ffff7fff"),
            ("-2147483648", "d280000000"),
            ("-2147483649", "cbc1e0000000200000"),
            ("1.0", "01"),
            ("1e2", "cc64"),
            ("1E+2", "cc64"),
            ("6500e-2", "cc41"),
            ("0.5", "cb3fe0000000000000"),
            ("1795343313954", "cb427a202ccec22000"),
            ("9007199254740991", "cb433fffffffffffff"),
            ("18446744073709551615", "cb43f0000000000000"),
            ("1e400", "cb7ff0000000000000"),
            ("-1e99999999999999999999", "cbfff0000000000000"),
            ("1e-400", "00"),
            ("1e-99999999999999999999", "00"),
        ];
        for (json, hex) in cases {
            assert_eq!(encoded(json), bytes(hex), "{json}");
        }
    }

    #[test]
    fn a_number_becomes_the_nearest_double() {
        let ties = [
            "9007199254740993",
            "9007199254740992.99999999999999999999999999999999",
            "9007199254740993.00000000000000000000000000000001",
            "0.30000000000000004",
            "0.82374928374923741",
            "123456789.12345678e-9",
            "1.7976931348623157e308",
            "1.7976931348623158e308",
            "1.7976931348623159e308",
            "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704342711559699508093042880e0",
            "2.2250738585072011e-308",
            "2.2250738585072014e-308",
            "2.2250738585072012e-308",
            "5e-324",
            "2.4703282292062327e-324",
            "2.4703282292062328e-324",
            "3e-324",
            "8.9884656743115795e307",
            "1448997445238699",
            "7.2057594037927933e16",
            "6929001713869936e236",
        ];
        let long = |digit: &str, tail: &str| format!("0.{}{tail}", digit.repeat(1_500));
        let halfway = format!("9007199254740993.{}1", "0".repeat(2_000));
        let far = format!("1{}e-1500", "0".repeat(1_500));
        let texts = ties
            .map(str::to_owned)
            .into_iter()
            .chain([long("3", "1"), long("9", ""), long("0", "7e1500")])
            .chain([halfway, far]);
        for text in texts {
            let nearest: f64 = text.parse().unwrap();
            let mut expected = Vec::new();
            push_number(nearest, &mut expected);
            assert_eq!(encoded(&text), expected, "{text}");
        }
    }

    #[test]
    fn strings_are_unescaped() {
        let cases = [
            (r#""""#, String::new()),
            (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t".to_owned()),
            (r#""a\u00e9\u0000z""#, "a\u{e9}\u{0}z".to_owned()),
            (r#""\uD83D\ude00""#, "\u{1f600}".to_owned()),
            (r#""\ud83d""#, "\u{fffd}".to_owned()),
            (r#""\ude00\ud83d""#, "\u{fffd}\u{fffd}".to_owned()),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}\u{1f600}".to_owned()),
            (r#""\ud83d\n\u0041""#, "\u{fffd}\nA".to_owned()),
        ];
        for (json, text) in cases {
            let mut expected = Vec::new();
            push_string(text.as_bytes(), &mut expected);
            assert_eq!(encoded(json), expected, "{json}");
        }
        for (len, head) in [
            (31, "bf"),
            (32, "d920"),
            (256, "da0100"),
            (65_536, "db00010000"),
        ] {
            let expected = [bytes(head), vec![b'x'; len]].concat();
            assert_eq!(encoded(&format!("\"{}\"", "x".repeat(len))), expected);
        }
    }

    #[test]
    fn objects_of_one_shape_share_its_definition() {
        let cases = [
            ("[]", "90"),
            ("{}", "d4724090"),
            ("[{},{}]", "92 d4724090 40"),
            (
                r#"[{"a":1,"b":2},{"a":3,"b":4}]"#,
                "92 d47240 92 a161 a162 01 02 40 03 04",
            ),
            (
                r#"[{"a":1,"b":2},{"b":3,"a":4}]"#,
                "92 d47240 92 a161 a162 01 02 d47241 92 a162 a161 03 04",
            ),
            (
                r#"{"a":{"a":{"b":[{"a":1}]}}}"#,
                "d47240 91 a161 40 d47241 91 a162 91 40 01",
            ),
        ];
        for (json, hex) in cases {
            assert_eq!(encoded(json), bytes(hex), "{json}");
        }
    }

    #[test]
    fn ids_start_again_after_sixty_four_shapes() {
        let objects: Vec<String> = (0..130)
            .flat_map(|key| [key, key])
            .map(|key| format!(r#"{{"{key}":[{{"x":{key}}}]}}"#))
            .collect();
        let json = format!("[{}]", objects.join(","));
        assert_eq!(decode(&encoded(&json)), Ok(json));
    }

    #[test]
    fn a_repeated_key_is_repeated() {
        let json = r#"{"a":1,"a":2}"#;
        assert_eq!(encoded(json), bytes("d47240 92 a161 a161 01 02"));
        assert_eq!(decode(&encoded(json)).as_deref(), Ok(json));
    }

    #[test]
    fn what_is_not_json_is_refused_and_nothing_is_appended() {
        let cases = [
            ("", 0),
            (" ", 1),
            ("nul", 0),
            ("nulll", 4),
            ("NaN", 0),
            ("+1", 0),
            ("01", 1),
            ("1.", 2),
            (".5", 0),
            ("-", 1),
            ("1e", 2),
            ("1e+", 3),
            ("0x1", 1),
            ("\"", 1),
            ("\"\\", 2),
            ("\"\\\"", 3),
            ("\"a\nb\"", 2),
            (r#""a\x""#, 3),
            (r#""a\u12g4""#, 6),
            (r#""\u+123""#, 3),
            (r#""\u00""#, 5),
            ("[", 1),
            ("[1", 2),
            ("[1,]", 3),
            ("[,1]", 1),
            ("[1 2]", 3),
            ("[1}", 2),
            ("]", 0),
            ("{", 1),
            ("{1:2}", 1),
            (r#"{"a"}"#, 4),
            (r#"{"a":}"#, 5),
            (r#"{"a":1,}"#, 7),
            (r#"{"a":1]"#, 6),
            ("{}{}", 2),
            ("1 2", 2),
            ("\u{feff}1", 0),
            ("\u{a0}1", 0),
        ];
        for (json, at) in cases {
            let mut out = vec![7];
            assert_eq!(
                encode(json, &mut out),
                Err(EncodeError::Syntax { at }),
                "{json}"
            );
            assert_eq!(out, [7]);
        }
    }

    #[test]
    fn white_space_does_not_matter() {
        let spaced = " { \"a\" : [ 1 ,\t2 ] ,\r\n\"b\" : { } } ";
        assert_eq!(encoded(spaced), encoded(r#"{"a":[1,2],"b":{}}"#));
    }
}
