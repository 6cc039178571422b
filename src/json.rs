//! Reading JSON in one pass by `serde_json`, and borrowing from the text.
//!
//! Owns how the shapes that are read here are asked for: a function is shown each member of an object, and reads what it knows by
//! the type that it is to have. That way all of them share one visitor of `serde`, where a derived one for each is 6 KB more; nobody
//! can send an array in place of an object; and no error repeats what a client wrote. Depth is no limit, for what nobody
//! asks for, and what stays text, is passed over without recursion. Refuses to know any message.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::value::RawValue;
use thiserror::Error;

/// Why a text could not be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct JsonError {
    message: String,
    is_syntax: bool,
}

/// What was read.
type Read<T = ()> = Result<T, JsonError>;

impl JsonError {
    /// Something else than expected. Where it stands, `serde_json` adds.
    #[must_use]
    #[cold]
    pub fn shape(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            is_syntax: false,
        }
    }

    /// An object that lacks a member.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn missing(field: &str) -> Self {
        Self::shape(format!("{field} is missing"))
    }

    #[cold]
    #[inline(never)]
    fn of_member(self, name: &str) -> Self {
        Self::shape(format!("{name}: {self}"))
    }

    /// Whether the text is no JSON, rather than JSON of another shape than expected.
    #[must_use]
    pub fn is_syntax(&self) -> bool {
        self.is_syntax
    }

    /// What `serde_json` found in `text`.
    #[cold]
    #[inline(never)]
    fn found(text: &str, error: &serde_json::Error) -> Self {
        // What was unexpected may stand before what is no JSON.
        let syntax = serde_json::from_str::<IgnoredAny>(text).err();
        let message = syntax.as_ref().unwrap_or(error).to_string();
        Self {
            // Most of what is read is one line, which may itself be the third of a file.
            message: message.replace(" at line 1 column ", " at column "),
            is_syntax: syntax.is_some(),
        }
    }
}

/// A value of a JSON text that has not been read yet. One that is not read is passed over.
pub struct Value<'v, 'a>(&'v mut dyn Unread<'a>);

/// Reads all of `text` by `read`.
///
/// # Errors
/// What `read` finds, or something after it.
pub fn read<'a, T>(text: &'a str, mut read: impl FnMut(Value<'_, 'a>) -> Read<T>) -> Read<T> {
    let mut found = None;
    read_by(text, &mut |value| {
        found = Some(read(value)?);
        Ok(())
    })?;
    found.ok_or_else(|| JsonError::missing("a value"))
}

#[inline(never)]
fn read_by<'a>(text: &'a str, read: By<'_, 'a>) -> Read {
    let mut reader = serde_json::Deserializer::from_str(text);
    let result = Once(read).deserialize(&mut reader);
    let result = result.and_then(|()| reader.end());
    result.map_err(|error| JsonError::found(text, &error))
}

/// Whether `text` is one JSON value.
#[must_use]
pub fn is_valid(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

impl<'a> Value<'_, 'a> {
    /// Reads an object: `member` is shown each value, and its key.
    ///
    /// # Errors
    /// When there is none, or what `member` finds.
    pub fn object(self, mut member: impl FnMut(Value<'_, 'a>, &str) -> Read) -> Read {
        self.0.read(Expected::Object(&mut member))
    }

    /// Reads an array: `item` is shown each of its values.
    ///
    /// # Errors
    /// When there is none, or what `item` finds.
    pub fn array(self, mut item: impl FnMut(Value<'_, 'a>) -> Read) -> Read {
        self.0.read(Expected::Array(&mut item))
    }

    /// Reads a string; borrowed when it has no escapes, so that it needs none to be written again.
    ///
    /// # Errors
    /// When there is none, or half of a surrogate pair is in it.
    pub fn string(self) -> Read<Cow<'a, str>> {
        let mut string = Cow::Borrowed("");
        self.0.read(Expected::String(&mut string))?;
        Ok(string)
    }

    /// Reads a number without a fraction, however it is written (`3`, `3.0`, `3e0`); beyond 64 bits it
    /// is the nearest of them.
    ///
    /// # Errors
    /// When there is none.
    pub fn integer(self) -> Read<i64> {
        let mut integer = 0;
        self.0.read(Expected::Integer(&mut integer))?;
        Ok(integer)
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// When there is neither.
    pub fn boolean(self) -> Read<bool> {
        let mut boolean = false;
        self.0.read(Expected::Boolean(&mut boolean))?;
        Ok(boolean)
    }

    /// Reads any value as its text.
    ///
    /// # Errors
    /// When there is none.
    pub fn raw(self) -> Read<&'a str> {
        let mut raw = "";
        self.0.read(Expected::Anything(&mut raw))?;
        Ok(raw)
    }

    /// Reads a value by `read`, or a `null`.
    ///
    /// # Errors
    /// What `read` finds.
    pub fn optional<T>(self, mut read: impl FnMut(Value<'_, 'a>) -> Read<T>) -> Read<Option<T>> {
        let mut found = None;
        self.0.read(Expected::Optional(&mut |value| {
            found = Some(read(value)?);
            Ok(())
        }))?;
        Ok(found)
    }
}

/// A function that is shown a value.
type By<'s, 'a> = &'s mut dyn FnMut(Value<'_, 'a>) -> Read;

/// What is to be read, and where it goes.
enum Expected<'s, 'a> {
    Object(&'s mut dyn FnMut(Value<'_, 'a>, &str) -> Read),
    Array(By<'s, 'a>),
    String(&'s mut Cow<'a, str>),
    Integer(&'s mut i64),
    Boolean(&'s mut bool),
    Anything(&'s mut &'a str),
    Optional(By<'s, 'a>),
}

/// Any deserializer, so that there is one code for all of them.
trait Unread<'a> {
    fn read(&mut self, expected: Expected<'_, 'a>) -> Read;
}

/// A deserializer as long as nobody has used it.
impl<'a, D: Deserializer<'a>> Unread<'a> for Option<D> {
    fn read(&mut self, expected: Expected<'_, 'a>) -> Read {
        match self.take() {
            Some(deserializer) => expected
                .deserialize(deserializer)
                // It holds its place, which is found there again.
                .map_err(|error| JsonError::shape(error.to_string())),
            None => Ok(()),
        }
    }
}

/// A value that is shown to a function.
struct Once<'s, 'a>(By<'s, 'a>);

impl<'a> DeserializeSeed<'a> for Once<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        let mut unread = Some(deserializer);
        (self.0)(Value(&mut unread)).map_err(D::Error::custom)?;
        if let Some(deserializer) = unread {
            IgnoredAny::deserialize(deserializer)?;
        }
        Ok(())
    }
}

impl<'a> DeserializeSeed<'a> for Expected<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        match self {
            Self::Anything(raw) => {
                *raw = <&RawValue>::deserialize(deserializer)?.get();
                Ok(())
            }
            Self::Optional(_) => deserializer.deserialize_option(self),
            _ => deserializer.deserialize_any(self),
        }
    }
}

impl<'a> Visitor<'a> for Expected<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object(_) => "an object",
            Self::Array(_) => "an array",
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "true or false",
            Self::Anything(_) | Self::Optional(_) => "a value",
        })
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        let Self::Object(member) = self else {
            return Err(self.not_found());
        };
        while let Some(Key(key)) = map.next_key()? {
            map.next_value_seed(Once(&mut |value| {
                member(value, &key).map_err(|error| error.of_member(&key))
            }))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<(), A::Error> {
        let Self::Array(item) = self else {
            return Err(self.not_found());
        };
        while array.next_element_seed(Once(item))?.is_some() {}
        Ok(())
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'a str) -> Result<(), E> {
        match self {
            Self::String(string) => *string = Cow::Borrowed(text),
            _ => return Err(self.not_found()),
        }
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        match self {
            Self::String(string) => *string = Cow::Owned(text.to_owned()),
            _ => return Err(self.not_found()),
        }
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<(), E> {
        match self {
            Self::Integer(integer) => *integer = number,
            _ => return Err(self.not_found()),
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<(), E> {
        self.visit_i64(i64::try_from(number).unwrap_or(i64::MAX))
    }

    #[allow(clippy::cast_possible_truncation)] // There is no fraction, and the nearest is what is meant.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<(), E> {
        if number.fract() == 0.0 {
            return self.visit_i64(number as i64);
        }
        Err(self.not_found())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        match self {
            Self::Boolean(boolean) => *boolean = value,
            _ => return Err(self.not_found()),
        }
        Ok(())
    }

    /// A `null` where there may be none.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        match self {
            Self::Optional(_) => Ok(()),
            _ => Err(self.not_found()),
        }
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        match self {
            Self::Optional(read) => Once(read).deserialize(deserializer),
            _ => Err(self.not_found()),
        }
    }
}

impl Expected<'_, '_> {
    /// There is something else. `serde` would print it: that may be what no log line is to hold, and more than there is memory for.
    #[cold]
    #[inline(never)]
    fn not_found<E: serde::de::Error>(&self) -> E {
        E::custom(format_args!(
            "{} was expected",
            self as &dyn serde::de::Expected
        ))
    }
}

/// A string as JSON.
#[must_use]
#[inline(never)]
pub fn quote(text: &str) -> String {
    // Writing to memory cannot fail.
    serde_json::to_string(text).unwrap_or_default()
}

/// Appends a string as JSON.
pub fn push_quoted(text: &str, out: &mut String) {
    out.push_str(&quote(text));
}

/// A JSON number times 10 to the power of `places`, without its fraction, read digit by digit; beyond 64 bits it is the nearest of
/// them. `None` when the JSON value `json` is something else.
#[must_use]
pub fn truncated(json: &str, places: usize) -> Option<i64> {
    let (is_negative, unsigned) = match json.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, json),
    };
    if !unsigned.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_shrinking = exponent.starts_with('-');
    let exponent = exponent.trim_start_matches(['+', '-']);
    // More than any number of digits that fit a frame.
    let exponent: usize = exponent.parse().unwrap_or(usize::MAX >> 1);
    let count = before.len() + places;
    let count = if is_shrinking {
        count.saturating_sub(exponent)
    } else {
        count.saturating_add(exponent)
    };
    let mut magnitude = Some(0_i64);
    let mut append = |digit: u8| {
        let tens = magnitude.and_then(|number| number.checked_mul(10));
        magnitude = tens.and_then(|tens| tens.checked_add(digit.into()));
        magnitude.is_some_and(|number| number > 0)
    };
    for digit in before.bytes().chain(after.bytes()).take(count) {
        append(digit.wrapping_sub(b'0'));
    }
    // What is nothing or too much stays so.
    for _ in before.len() + after.len()..count {
        if !append(0) {
            break;
        }
    }
    Some(match (magnitude, is_negative) {
        (Some(number), false) => number,
        (Some(number), true) => -number,
        (None, false) => i64::MAX,
        (None, true) => i64::MIN,
    })
}

/// What the JSON object in `text` says, in a type of `serde`.
///
/// # Errors
/// It says something else, or is an array, though `serde` would take its items for members.
pub fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Read<T> {
    if !text.trim_ascii_start().starts_with('{') {
        return Err(JsonError::shape("an object was expected"));
    }
    serde_json::from_str(text).map_err(|error| JsonError::found(text, &error))
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

    use super::*;

    #[test]
    fn values_are_read_where_they_stand_and_the_others_passed_over() {
        let text = r#" {"a" : [1, -2.0e1 ,3e0], "\u0062\n": "x\u00e9\ud83d\ude00", "c":{"d":[[],{}]} ,"e":true,
            "f":null, "g": [[{"a":0}]], "h":"plain"} "#;
        let (mut numbers, mut strings, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let (mut is_true, mut absent) = (false, Vec::new());
        read(text, |value| {
            value.object(|value, key| {
                match key {
                    "a" => value.array(|value| {
                        numbers.push(value.integer()?);
                        Ok(())
                    })?,
                    "b\n" | "h" => strings.push(value.string()?),
                    "c" => rest.push(value.raw()?),
                    "e" => is_true = value.optional(|value| value.boolean())?.unwrap_or_default(),
                    "f" => absent.push(value.optional(|value| value.boolean())?),
                    _ => {}
                }
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(numbers, [1, -20, 3]);
        assert_eq!(strings, ["xé😀", "plain"]);
        assert!(matches!(
            strings.as_slice(),
            [Cow::Owned(_), Cow::Borrowed(_)]
        ));
        assert_eq!(rest, [r#"{"d":[[],{}]}"#]);
        assert!(is_true);
        assert_eq!(absent, [None]);
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
            ("1e300", Some(i64::MAX)),
            ("-1e300", Some(i64::MIN)),
            // No number of JavaScript is written so.
            ("1e400", None),
            ("9007199254740991", Some((1 << 53) - 1)),
            ("9007199254740993", Some((1 << 53) + 1)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("18446744073709551615", Some(i64::MAX)),
            ("18446744073709551616", Some(i64::MAX)),
            ("\"1\"", None),
            ("null", None),
            ("true", None),
            ("[]", None),
            ("{}", None),
        ];
        for (text, expected) in cases {
            let found = read(text, |value| value.integer());
            assert_eq!(found.ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_fraction_is_cut_off_digit_by_digit() {
        let cases = [
            ("1700000000.7559", 3, Some(1_700_000_000_755)),
            ("1.7e9", 3, Some(1_700_000_000_000)),
            ("-1.5", 0, Some(-1)),
            ("1e400", 3, Some(i64::MAX)),
            ("-1e400", 0, Some(i64::MIN)),
            ("1e999999999999999999999999", 0, Some(i64::MAX)),
            ("0e999999999999999999999999", 0, Some(0)),
            ("12e-5", 3, Some(0)),
            ("15e-1", 0, Some(1)),
            ("1e-400", 0, Some(0)),
            ("9223372036854775807", 0, Some(i64::MAX)),
            ("-9223372036854775808", 0, Some(i64::MIN)),
            ("null", 0, None),
            ("\"1\"", 0, None),
            ("[1]", 0, None),
        ];
        for (text, places, expected) in cases {
            assert_eq!(truncated(text, places), expected, "{text}");
        }
    }

    #[test]
    fn an_error_says_what_and_where() {
        let name = |text: &str| {
            let mut name = None;
            let read = read(text, |value| {
                value.object(|value, key| {
                    if key == "name" {
                        name = Some(value.string()?);
                    }
                    Ok(())
                })?;
                name.take().ok_or_else(|| JsonError::missing("name"))
            });
            read.unwrap_err()
        };
        let cases = [
            ("", "EOF while parsing a value at column 0", true),
            ("{\"a\" 1}", "expected `:` at column 6", true),
            ("{\"a\":[1 2]}", "expected `,` or `]` at column 9", true),
            (
                "{\"name\":7",
                "EOF while parsing an object at column 9",
                true,
            ),
            (
                "{\"name\":\"a\"} x",
                "trailing characters at column 14",
                true,
            ),
            ("{}", "name is missing", false),
            (
                "{\"a\":[],\n \"name\":7}",
                "name: a string was expected at line 2 column 9",
                false,
            ),
            ("[\"a\"]", "an object was expected at column 1", false),
            (
                "{\"name\":\"\\ud800\"}",
                "name: unexpected end of hex escape at column 16",
                false,
            ),
        ];
        for (text, message, is_syntax) in cases {
            let error = name(text);
            assert_eq!(
                (error.to_string().as_str(), error.is_syntax()),
                (message, is_syntax)
            );
        }
    }

    #[test]
    fn no_error_repeats_a_text() {
        let text = "\"a secret\"";
        let errors = [
            read(text, |value| value.object(|_, _| Ok(()))),
            read(text, |value| value.array(|_| Ok(()))),
            read(text, |value| value.integer().map(|_| ())),
            read(text, |value| value.boolean().map(|_| ())),
            read(text, |value| {
                value.optional(|value| value.integer()).map(|_| ())
            }),
        ];
        for error in errors {
            let error = error.unwrap_err().to_string();
            assert!(
                error.contains("was expected at column") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn each_character_is_quoted_as_javascript_does() {
        let text = "\u{0}\u{1f} \"\\/\n\r\t\u{8}\u{c}\u{7f}\u{2028}é😀";
        let quoted = "\"\\u0000\\u001f \\\"\\\\/\\n\\r\\t\\b\\f\u{7f}\u{2028}é😀\"";
        assert_eq!(quote(text), quoted);
        let mut out = "[".to_owned();
        push_quoted(text, &mut out);
        assert_eq!(out, format!("[{quoted}"));
    }

    #[test]
    fn depth_is_no_limit() {
        let deep = "[".repeat(1_000_000) + &"]".repeat(1_000_000);
        assert!(is_valid(&deep));
        assert!(!is_valid(&deep[1..]));
        let text = format!("{{\"raw\":{deep},\"unread\":{deep}}}");
        let mut raw = "";
        read(&text, |value| {
            value.object(|value, key| {
                if key == "raw" {
                    raw = value.raw()?;
                }
                Ok(())
            })
        })
        .unwrap();
        assert_eq!(raw, deep);
    }

    proptest! {
        #[test]
        fn strings_survive_quoting(text in any::<String>()) {
            let quoted = quote(&text);
            prop_assert_eq!(read(&quoted, |value| value.string()).unwrap(), text);
        }
    }
}
