//! Reading JSON in one pass, and borrowing from the text.
//!
//! Owns the grammar, and errors that say what was wrong and at which byte. It is the first thing that
//! happens to every frame: written for the few shapes that are read here, it takes a fraction of a
//! general reader's time and a tenth of its bytes. Nothing in it recurses, so depth is no limit. What is no
//! frame is read and written by `serde`. Refuses to know any message.

use std::borrow::Cow;

use serde::Deserialize;
use thiserror::Error;

/// Why a text could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message} at byte {at}")]
pub struct JsonError {
    message: Cow<'static, str>,
    /// Position in the text, in bytes from 0.
    at: usize,
    is_syntax: bool,
}

impl JsonError {
    /// Whether the text is no JSON, rather than JSON of another shape than expected.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        self.is_syntax
    }
}

/// What begins at a reader's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

/// A place in a JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    text: &'a str,
    at: usize,
}

type Result<T> = std::result::Result<T, JsonError>;

/// Reads all of `text` by `read`.
///
/// # Errors
/// What `read` finds, or something after it.
pub fn read<'a, T>(text: &'a str, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let mut reader = Reader { text, at: 0 };
    let value = read(&mut reader)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(reader.syntax("nothing more was expected")),
    }
}

/// Whether `text` is one JSON value.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    read(text, Reader::raw).is_ok()
}

/// A string as JSON.
#[must_use]
#[inline(never)]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(text, &mut out);
    out
}

/// Appends a string as JSON.
#[inline(never)]
pub fn push_quoted(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest
        .bytes()
        .position(|byte| byte < b' ' || byte == b'"' || byte == b'\\')
    {
        let (plain, special) = rest.split_at(at);
        out.push_str(plain);
        let byte = special.bytes().next().unwrap_or_default();
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            _ => {
                out.push_str("\\u00");
                for digit in [byte >> 4, byte & 15] {
                    out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0'));
                }
            }
        }
        rest = special.get(1..).unwrap_or_default();
    }
    out.push_str(rest);
    out.push('"');
}

impl<'a> Reader<'a> {
    /// What begins here.
    ///
    /// # Errors
    /// When nothing does.
    pub fn kind(&mut self) -> Result<Kind> {
        match self.peek() {
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'"') => Ok(Kind::String),
            Some(b'[') => Ok(Kind::Array),
            Some(b'{') => Ok(Kind::Object),
            Some(_) => Err(self.syntax("a value was expected")),
            None => Err(self.syntax("the text ends where a value was expected")),
        }
    }

    /// Reads an object: `member` is shown each key, and has to read its value.
    ///
    /// # Errors
    /// When there is none, or what `member` finds.
    pub fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.members(&mut member)
    }

    // One loop for all objects: a copy for each would be a tenth of the whole program.
    #[inline(never)]
    fn members(&mut self, member: &mut dyn FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.open(Kind::Object, "an object was expected")?;
        if self.take(b'}') {
            return Ok(());
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.syntax("a key was expected"));
            }
            let key = self.string()?;
            if !self.take(b':') {
                return Err(self.syntax("':' was expected"));
            }
            member(self, &key)?;
            if self.take(b'}') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax("',' or '}' was expected"));
            }
        }
    }

    /// Reads an array: `item` is called for each item, and has to read it.
    ///
    /// # Errors
    /// When there is none, or what `item` finds.
    pub fn array(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.items(&mut item)
    }

    #[inline(never)]
    fn items(&mut self, item: &mut dyn FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.open(Kind::Array, "an array was expected")?;
        if self.take(b']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.take(b']') {
                return Ok(());
            }
            if !self.take(b',') {
                return Err(self.syntax("',' or ']' was expected"));
            }
        }
    }

    /// Reads a string; borrowed when it has no escapes, so that it needs none to be written again.
    ///
    /// # Errors
    /// When there is none, or half of a surrogate pair is in it.
    #[inline(never)]
    pub fn string(&mut self) -> Result<Cow<'a, str>> {
        if self.kind()? != Kind::String {
            return Err(self.shape("a string was expected"));
        }
        let start = self.at;
        let raw = self.skip_string()?;
        if !raw.contains('\\') {
            return Ok(Cow::Borrowed(raw));
        }
        match unescape(raw) {
            Some(text) => Ok(Cow::Owned(text)),
            None => Err(JsonError {
                message: "half of a surrogate pair".into(),
                at: start,
                is_syntax: false,
            }),
        }
    }

    /// Reads a number without a fraction, however it is written (`3`, `3.0`, `3e0`); beyond 64 bits it
    /// is the nearest of them.
    ///
    /// # Errors
    /// When there is none.
    #[inline(never)]
    pub fn integer(&mut self) -> Result<i64> {
        if self.kind()? != Kind::Number {
            return Err(self.shape("an integer was expected"));
        }
        let start = self.at;
        let raw = self.raw()?;
        match whole(raw, 0) {
            Whole {
                integer,
                is_exact: true,
            } => Ok(integer),
            Whole { .. } => Err(JsonError {
                message: format!("{} is not an integer", raw.get(..40).unwrap_or(raw)).into(),
                at: start,
                is_syntax: false,
            }),
        }
    }

    /// Reads a number times 10 to the power of `places`, and cuts its fraction off.
    ///
    /// # Errors
    /// When there is none.
    pub fn truncated(&mut self, places: usize) -> Result<i64> {
        if self.kind()? != Kind::Number {
            return Err(self.shape("a number was expected"));
        }
        let raw = self.raw()?;
        Ok(whole(raw, places).integer)
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn boolean(&mut self) -> Result<bool> {
        if self.kind()? != Kind::Boolean {
            return Err(self.shape("true or false was expected"));
        }
        Ok(self.raw()? == "true")
    }

    /// Reads a `null`, if there is one.
    ///
    /// # Errors
    /// When nothing begins here.
    pub fn null(&mut self) -> Result<bool> {
        let is_null = self.kind()? == Kind::Null;
        if is_null {
            self.raw()?;
        }
        Ok(is_null)
    }

    /// Reads a value by `read`, or a `null`.
    ///
    /// # Errors
    /// What `read` finds.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if self.null()? {
            return Ok(None);
        }
        read(self).map(Some)
    }

    /// Passes over a value.
    ///
    /// # Errors
    /// When there is none.
    pub fn skip(&mut self) -> Result<()> {
        self.raw().map(|_| ())
    }

    /// Reads any value as its text.
    ///
    /// # Errors
    /// When there is none.
    #[inline(never)]
    pub fn raw(&mut self) -> Result<&'a str> {
        self.kind()?;
        let start = self.at;
        // The closing brackets that are to come.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.kind()? {
                Kind::String => {
                    self.skip_string()?;
                }
                Kind::Number => self.skip_number()?,
                Kind::Null => self.skip_word("null")?,
                Kind::Boolean if self.peek() == Some(b't') => self.skip_word("true")?,
                Kind::Boolean => self.skip_word("false")?,
                Kind::Array => {
                    self.at += 1;
                    if !self.take(b']') {
                        open.push(b']');
                        continue;
                    }
                }
                Kind::Object => {
                    self.at += 1;
                    if !self.take(b'}') {
                        open.push(b'}');
                        self.skip_key()?;
                        continue;
                    }
                }
            }
            loop {
                let Some(close) = open.last().copied() else {
                    return Ok(self.text.get(start..self.at).unwrap_or_default());
                };
                if self.take(close) {
                    open.pop();
                } else if self.take(b',') {
                    if close == b'}' {
                        self.skip_key()?;
                    }
                    break;
                } else if close == b'}' {
                    return Err(self.syntax("',' or '}' was expected"));
                } else {
                    return Err(self.syntax("',' or ']' was expected"));
                }
            }
        }
    }

    /// An error at this place: something other than expected.
    #[must_use]
    #[cold]
    pub fn shape(&self, message: impl Into<Cow<'static, str>>) -> JsonError {
        JsonError {
            message: message.into(),
            at: self.at,
            is_syntax: false,
        }
    }

    /// An error at this place: an object that lacks a member.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn missing(&self, field: &str) -> JsonError {
        self.shape(format!("{field} is missing"))
    }

    #[cold]
    #[inline(never)]
    fn syntax(&self, message: &'static str) -> JsonError {
        JsonError {
            message: Cow::Borrowed(message),
            at: self.at,
            is_syntax: true,
        }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                _ => return Some(*byte),
            }
        }
        None
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn open(&mut self, kind: Kind, expected: &'static str) -> Result<()> {
        if self.kind()? != kind {
            return Err(self.shape(expected));
        }
        self.at += 1;
        Ok(())
    }

    fn skip_key(&mut self) -> Result<()> {
        if self.peek() != Some(b'"') {
            return Err(self.syntax("a key was expected"));
        }
        self.skip_string()?;
        if self.take(b':') {
            return Ok(());
        }
        Err(self.syntax("':' was expected"))
    }

    fn skip_word(&mut self, word: &'static str) -> Result<()> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return Err(self.syntax("a value was expected"));
        }
        self.at += word.len();
        Ok(())
    }

    fn skip_number(&mut self) -> Result<()> {
        let bytes = self.text.as_bytes();
        let byte = |at: usize| bytes.get(at).copied();
        let digits = |mut at: usize| {
            let start = at;
            while byte(at).is_some_and(|byte| byte.is_ascii_digit()) {
                at += 1;
            }
            (at > start).then_some(at)
        };
        let start = self.at + usize::from(byte(self.at) == Some(b'-'));
        let number = || {
            let mut at = digits(start)?;
            if byte(start) == Some(b'0') && at > start + 1 {
                return None;
            }
            if byte(at) == Some(b'.') {
                at = digits(at + 1)?;
            }
            if matches!(byte(at), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(byte(at + 1), Some(b'+' | b'-')));
                at = digits(at + 1 + sign)?;
            }
            Some(at)
        };
        match number() {
            Some(at) => {
                self.at = at;
                Ok(())
            }
            None => Err(self.syntax("a number was expected")),
        }
    }

    /// The string that begins here, as it stands between its quotes.
    fn skip_string(&mut self) -> Result<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        loop {
            match bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let length = match bytes.get(at + 1) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
                        Some(b'u') if self.hex(at + 2).is_some() => 6,
                        _ => {
                            self.at = at;
                            return Err(self.syntax("no such escape"));
                        }
                    };
                    at += length;
                }
                Some(0..0x20) => {
                    self.at = at;
                    return Err(self.syntax("a control character in a string"));
                }
                Some(_) => at += 1,
                None => {
                    self.at = at;
                    return Err(self.syntax("the text ends in a string"));
                }
            }
        }
        self.at = at + 1;
        Ok(self.text.get(start..at).unwrap_or_default())
    }

    fn hex(&self, at: usize) -> Option<u32> {
        hex(self.text.get(at..at + 4)?)
    }
}

/// Four hexadecimal digits.
fn hex(digits: &str) -> Option<u32> {
    let is_hex = digits.len() == 4 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

/// The text of a string that stands between its quotes as `raw`; `None` when half of a surrogate pair
/// is in it. Its escapes have been checked.
fn unescape(raw: &str) -> Option<String> {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        out.push_str(plain);
        let letter = escape.chars().next()?;
        rest = escape.get(1..)?;
        let letter = match letter {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let mut unit = hex(rest.get(..4)?)?;
                rest = rest.get(4..)?;
                if (0xd800..0xdc00).contains(&unit) {
                    let low = hex(rest.strip_prefix("\\u")?.get(..4)?)?;
                    let low = low.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    rest = rest.get(6..)?;
                    unit = 0x10000 + ((unit - 0xd800) << 10) + low;
                }
                char::from_u32(unit)?
            }
            other => other,
        };
        out.push(letter);
    }
    out.push_str(rest);
    Some(out)
}

/// A number without its fraction.
struct Whole {
    integer: i64,
    /// Whether there was no fraction to lose.
    is_exact: bool,
}

/// Reads a number that has been checked, times 10 to the power of `places`, with digits alone: a general
/// reader of fractions is large.
fn whole(number: &str, places: usize) -> Whole {
    let (is_negative, unsigned) = match number.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, number),
    };
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_shrinking = exponent.starts_with('-');
    let exponent = exponent.trim_start_matches(['+', '-']);
    // More than any number of digits that fit a frame.
    let exponent: usize = exponent.parse().unwrap_or(usize::MAX >> 1);
    let digits = || before.bytes().chain(after.bytes());
    let count = before.len() + places;
    let count = if is_shrinking {
        count.saturating_sub(exponent)
    } else {
        count.saturating_add(exponent)
    };
    let mut magnitude: u64 = 0;
    let is_zero = digits().all(|digit| digit == b'0');
    if !is_zero {
        let padded = digits().chain(std::iter::repeat(b'0'));
        for digit in padded.take(count) {
            let next = magnitude
                .checked_mul(10)
                .and_then(|tens| tens.checked_add(u64::from(digit.wrapping_sub(b'0'))));
            let Some(next) = next else {
                magnitude = u64::MAX;
                break;
            };
            magnitude = next;
        }
    }
    let is_exact = digits().skip(count).all(|digit| digit == b'0');
    let integer = match (i64::try_from(magnitude), is_negative) {
        (Ok(integer), true) => -integer,
        (Ok(integer), false) => integer,
        (Err(_), true) => i64::MIN,
        (Err(_), false) => i64::MAX,
    };
    Whole { integer, is_exact }
}

/// What the JSON object in `text` says, in a type of `serde`. An array is none, though `serde` would take its
/// items for members.
#[must_use]
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let is_object = text.trim_ascii_start().starts_with('{');
    is_object.then(|| serde_json::from_str(text).ok())?
}

/// The same JSON in printable ASCII, as it may stand in a header.
#[must_use]
pub fn to_ascii(json: String) -> String {
    if json.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return json;
    }
    let mut ascii = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            ' '..='~' => ascii.push(letter),
            // Outside of strings JSON has white space, and within them no control characters.
            '\0'..' ' => ascii.push(' '),
            _ => {
                for unit in letter.encode_utf16(&mut [0; 2]) {
                    ascii.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        let digit = u32::from(*unit >> shift & 15);
                        ascii.push(char::from_digit(digit, 16).unwrap_or('0'));
                    }
                }
            }
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn values_are_read_where_they_stand() {
        let text =
            r#" {"a" : [1, -2.0e1 ,3e0], "b\n": "x\u00e9\ud83d\ude00", "c":{"d":[[],{}]} } "#;
        let (mut numbers, mut strings, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        read(text, |reader| {
            reader.object(|reader, key| match key {
                "a" => reader.array(|reader| {
                    numbers.push(reader.integer()?);
                    Ok(())
                }),
                "b\n" => {
                    strings.push(reader.string()?);
                    Ok(())
                }
                _ => {
                    rest.push(reader.raw()?);
                    Ok(())
                }
            })
        })
        .unwrap();
        assert_eq!(numbers, [1, -20, 3]);
        assert_eq!(strings, ["xé😀"]);
        assert_eq!(rest, [r#"{"d":[[],{}]}"#]);
    }

    #[test]
    fn integers_are_read_however_they_are_written() {
        let cases = [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("12.000", Some(12)),
            ("1.5e1", Some(15)),
            ("150e-1", Some(15)),
            ("15e-1", None),
            ("0.1", None),
            ("0e999999999999999999999999", Some(0)),
            ("1e999999999999999999999999", Some(i64::MAX)),
            ("-1e400", Some(i64::MIN)),
            ("1e-400", None),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("18446744073709551616", Some(i64::MAX)),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, Reader::integer).ok(), expected, "{text}");
        }
        let cases = [
            ("1700000000.7559", 3, 1_700_000_000_755),
            ("1.7e9", 3, 1_700_000_000_000),
            ("-1.5", 0, -1),
            ("1e400", 3, i64::MAX),
            ("12e-5", 3, 0),
        ];
        for (text, places, expected) in cases {
            assert_eq!(
                read(text, |reader| reader.truncated(places)),
                Ok(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_says_what_and_where() {
        let cases = [
            (
                "",
                "the text ends where a value was expected at byte 0",
                true,
            ),
            ("{\"a\" 1}", "':' was expected at byte 5", true),
            ("[1 2]", "',' or ']' was expected at byte 3", true),
            ("[1] x", "nothing more was expected at byte 4", true),
            ("\"\\x\"", "no such escape at byte 1", true),
            ("01", "a number was expected at byte 0", true),
        ];
        for (text, message, is_syntax) in cases {
            let error = read(text, Reader::raw).unwrap_err();
            assert_eq!(
                (error.to_string().as_str(), error.is_syntax()),
                (message, is_syntax)
            );
        }
        let error = read(" 7", Reader::string).unwrap_err();
        assert_eq!(error.to_string(), "a string was expected at byte 1");
        assert!(!error.is_syntax());
    }

    #[test]
    fn each_character_is_quoted_as_the_library_and_javascript_do() {
        for letter in (0..=0xff).map(char::from) {
            let text = format!("a{letter}b{letter}");
            assert_eq!(quote(&text), serde_json::to_string(&text).unwrap());
        }
    }

    #[test]
    fn depth_is_no_limit() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(is_valid(&deep));
        assert!(!is_valid(&deep[1..]));
    }

    fn texts() -> impl Strategy<Value = String> {
        let pieces = prop::sample::select(vec![
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud800\"",
            "null",
            "true",
            "nul",
            "0",
            "-1",
            "1.5",
            "1e5",
            "01",
            "-",
            ".",
            "\"",
            "\\",
            " ",
            "\n",
            "é",
            "\u{1}",
        ]);
        prop::collection::vec(pieces, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn what_is_json_is_what_the_library_says(text in texts()) {
            prop_assert_eq!(is_valid(&text), serde_json::from_str::<&RawValue>(&text).is_ok(), "{}", text);
        }

        #[test]
        fn strings_survive_quoting(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert_eq!(&quoted, &serde_json::to_string(&text).unwrap());
            prop_assert_eq!(read(&quoted, Reader::string).unwrap(), text);
        }

        #[test]
        fn strings_are_read_as_the_library_reads_them(text in r#"("([a-z"\\]|\\u[0-9a-f]{4}|\\[a-z])*")"#) {
            let library = serde_json::from_str::<String>(&text).ok();
            prop_assert_eq!(read(&text, Reader::string).ok().map(Cow::into_owned), library);
        }

        #[test]
        fn numbers_are_read_as_the_library_reads_them(text in "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?(e[+-]?[0-9]{1,2})?") {
            let library: f64 = serde_json::from_str(&text).unwrap();
            match read(&text, Reader::integer) {
                #[allow(clippy::cast_precision_loss)]
                Ok(integer) => prop_assert!((integer as f64 - library).abs() <= library.abs() / 1e15
                    || library.abs() >= 9.2e18, "{} {}", integer, library),
                // What is not exact has a fraction that a double may be too coarse to hold.
                Err(_) => prop_assert!(library.fract() != 0.0 || text.contains('.') || text.contains('-')),
            }
        }
    }
}
