//! The nouns of an event log: sequence numbers, identities, events and batches.
//!
//! Owns what makes a batch a batch (non-empty, chained without gaps, within limits): a [`Batch`]
//! exists only if that holds, so nothing after its parser asks again. Knows neither storage nor wire.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::json::{JsonError, Value};
use crate::limits::{EVENT_NAME_BYTES_MAX, Limits, ORIGIN_ID_BYTES_MAX, SEQ_NUM_MAX};

/// Global sequence number of an event; root, the head of an empty log, is 0.
///
/// *Units*: a counter from 1, at most 2^53 - 1, so that JavaScript holds it exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "i64", into = "u64")]
pub struct SeqNum(u64);

impl SeqNum {
    /// The head of an empty log.
    pub const ROOT: Self = Self(0);

    /// The sequence number `value`, or `None` when it is negative or beyond 2^53 - 1.
    #[must_use]
    pub fn new(value: i64) -> Option<Self> {
        u64::try_from(value)
            .ok()
            .filter(|value| *value <= SEQ_NUM_MAX)
            .map(Self)
    }

    /// The sequence number nearest to `value`.
    #[must_use]
    pub fn clamped(value: i64) -> Self {
        Self(u64::try_from(value).unwrap_or(0).min(SEQ_NUM_MAX))
    }

    /// The number itself.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as SQLite holds it.
    #[must_use]
    pub fn to_i64(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// How many numbers lie between `earlier` and this one; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<i64> for SeqNum {
    fn from(value: i64) -> Self {
        Self::clamped(value)
    }
}

impl From<SeqNum> for u64 {
    fn from(number: SeqNum) -> Self {
        number.0
    }
}

impl fmt::Display for SeqNum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one event log: the raw `storeId` of the URL, any string, the empty one included.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreId(String);

impl StoreId {
    /// The store id as the URL or the object's identity gives it.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// The raw text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Names one lifetime of an event log; clients keep it, and wipe their copy when it changes.
///
/// *Source*: a 21-character nanoid in `context_7.backendId`; existing ones are kept whatever they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendId(String);

impl BackendId {
    /// A backend id read from storage.
    #[must_use]
    pub fn stored(id: String) -> Self {
        Self(id)
    }

    /// A new backend id from 21 random bytes, in the alphabet of nanoid.
    #[must_use]
    pub fn from_random(bytes: [u8; 21]) -> Self {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let letter = |byte: u8| {
            ALPHABET
                .get(usize::from(byte & 63))
                .copied()
                .map_or('_', char::from)
        };
        Self(bytes.into_iter().map(letter).collect())
    }

    /// The raw text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An event as clients send it, borrowed from the frame it came in.
///
/// *Shape*: `LiveStoreEvent.Global.Encoded` of every client generation. `args` stays the text that
/// the client wrote; `None` when the key is absent, which clients mean as `undefined`.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// Name of the event, for example `v1.TodoCreated`.
    pub name: Cow<'a, str>,
    /// The arguments as JSON text.
    pub args: Option<&'a str>,
    /// Sequence number as sent, not yet checked.
    pub seq_num: i64,
    /// Sequence number of the event before it, as sent, not yet checked.
    pub parent_seq_num: i64,
    /// The client that made the event.
    pub client_id: Cow<'a, str>,
    /// The session of that client.
    pub session_id: Cow<'a, str>,
}

impl<'a> Event<'a> {
    /// Reads an event from JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(value: Value<'_, 'a>) -> Result<Self, JsonError> {
        let (mut name, mut args, mut client_id, mut session_id) = (None, None, None, None);
        let (mut seq_num, mut parent_seq_num) = (None, None);
        value.object(|value, key| {
            match key {
                "name" => name = Some(value.string()?),
                "args" => args = Some(value.raw()?),
                "seqNum" => seq_num = Some(value.integer()?),
                "parentSeqNum" => parent_seq_num = Some(value.integer()?),
                "clientId" => client_id = Some(value.string()?),
                "sessionId" => session_id = Some(value.string()?),
                _ => {}
            }
            Ok(())
        })?;
        let missing = JsonError::missing;
        Ok(Self {
            name: name.ok_or_else(|| missing("name"))?,
            args,
            seq_num: seq_num.ok_or_else(|| missing("seqNum"))?,
            parent_seq_num: parent_seq_num.ok_or_else(|| missing("parentSeqNum"))?,
            client_id: client_id.ok_or_else(|| missing("clientId"))?,
            session_id: session_id.ok_or_else(|| missing("sessionId"))?,
        })
    }

    /// Reads an array of events from JSON.
    ///
    /// # Errors
    /// When it is none.
    pub fn read_all(value: Value<'_, 'a>) -> Result<Vec<Self>, JsonError> {
        let mut events = Vec::new();
        value.array(|value| {
            events.push(Self::read(value)?);
            Ok(())
        })?;
        Ok(events)
    }
}

impl Event<'_> {
    /// The text of `args`, or `None` when the client sent none.
    #[must_use]
    pub fn args_text(&self) -> Option<&str> {
        self.args
    }

    /// Bytes of everything in it that the client chose, which is what it costs to store and to send.
    #[must_use]
    pub fn content_bytes(&self) -> usize {
        self.name.len()
            + self.args_text().map_or(0, str::len)
            + self.client_id.len()
            + self.session_id.len()
    }
}

/// `EVENT_NAMES`: the names that events may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventNames {
    /// Each the parts of a name between its stars; none for any name.
    patterns: Vec<Vec<String>>,
}

impl EventNames {
    /// Parses a comma-separated list of names in which `*` stands for any text; `None` when it is empty.
    #[must_use]
    pub fn parse(list: &str) -> Option<Self> {
        let entries = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let parts = |entry: &str| entry.split('*').map(str::to_owned).collect();
        let patterns: Vec<Vec<String>> = entries.map(parts).collect();
        (!patterns.is_empty()).then_some(Self { patterns })
    }

    /// Whether an event may be called `name`.
    #[must_use]
    pub fn allow(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|parts| matches(parts, name))
    }
}

/// Whether `name` is `parts` with any text between them.
fn matches(parts: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = parts else {
        return parts.first().is_some_and(|whole| whole == name);
    };
    let Some(mut rest) = name.strip_prefix(first.as_str()) else {
        return false;
    };
    for part in middle {
        match rest.split_once(part.as_str()) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last.as_str())
}

/// What a push carries: at least one event, each the child of the one before it, within limits.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    events: Vec<Event<'a>>,
    parent: SeqNum,
    last: SeqNum,
}

/// Why events are not a batch. *Errors*: the client gets the text as `UnknownError`.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BatchError {
    /// More events than one push may carry.
    #[error(
        "the batch holds {events} events, but at most {max} are accepted in one push (MAX_BATCH_EVENTS)"
    )]
    TooManyEvents {
        /// Events in the push.
        events: usize,
        /// The limit in force.
        max: usize,
    },
    /// A sequence number that cannot be one.
    #[error(
        "batch[{index}].{field} is {value}, but it must be an integer from {min} to {SEQ_NUM_MAX}"
    )]
    OutOfRange {
        /// Position in the batch, from 0.
        index: usize,
        /// The key of the number.
        field: &'static str,
        /// As sent.
        value: i64,
        /// The smallest value that may stand there.
        min: i64,
    },
    /// An event that is not the child of the one before it.
    #[error(
        "batch[{index}].{field} is {value}, but {expected} was expected: events of a batch follow each other without gaps"
    )]
    NotChained {
        /// Position in the batch, from 0.
        index: usize,
        /// The key of the number.
        field: &'static str,
        /// As sent.
        value: i64,
        /// What would have continued the chain.
        expected: i64,
    },
    /// An event larger than the store accepts.
    #[error(
        "batch[{index}] has {bytes} bytes, but an event may have at most {max} (MAX_EVENT_BYTES)"
    )]
    EventTooLarge {
        /// Position in the batch, from 0.
        index: usize,
        /// Bytes of its name, args, client id and session id.
        bytes: usize,
        /// The limit in force.
        max: usize,
    },
    /// A client id or session id longer than any real one.
    #[error(
        "batch[{index}].{field} has {bytes} bytes, but it may have at most {ORIGIN_ID_BYTES_MAX}"
    )]
    IdTooLong {
        /// Position in the batch, from 0.
        index: usize,
        /// The key of the id.
        field: &'static str,
        /// Bytes of the id.
        bytes: usize,
    },
    /// An event name longer than any real one.
    #[error(
        "batch[{index}].name has {bytes} bytes, but a name may have at most {EVENT_NAME_BYTES_MAX}"
    )]
    NameTooLong {
        /// Position in the batch, from 0.
        index: usize,
        /// Bytes of the name.
        bytes: usize,
    },
}

impl<'a> Batch<'a> {
    /// Parses the events of a push; `None` when there are none, which every client means as "done".
    ///
    /// # Errors
    /// The first thing that keeps the events from being a batch, with its position.
    pub fn parse(events: Vec<Event<'a>>, limits: &Limits) -> Result<Option<Self>, BatchError> {
        let Some(first) = events.first() else {
            return Ok(None);
        };
        let (count, max) = (events.len(), limits.batch_events_max);
        if count > max {
            return Err(BatchError::TooManyEvents { events: count, max });
        }
        let parent = SeqNum::new(first.parent_seq_num).ok_or(BatchError::OutOfRange {
            index: 0,
            field: "parentSeqNum",
            value: first.parent_seq_num,
            min: 0,
        })?;
        let mut last = parent;
        for (index, event) in events.iter().enumerate() {
            last = Self::link(index, event, last)?;
            Self::check_size(index, event, limits)?;
        }
        Ok(Some(Self {
            events,
            parent,
            last,
        }))
    }

    fn check_size(index: usize, event: &Event<'_>, limits: &Limits) -> Result<(), BatchError> {
        let (bytes, max) = (event.content_bytes(), limits.event_bytes_max);
        if bytes > max {
            return Err(BatchError::EventTooLarge { index, bytes, max });
        }
        if event.name.len() > EVENT_NAME_BYTES_MAX {
            let bytes = event.name.len();
            return Err(BatchError::NameTooLong { index, bytes });
        }
        let ids = [
            ("clientId", event.client_id.len()),
            ("sessionId", event.session_id.len()),
        ];
        match ids
            .into_iter()
            .find(|(_, bytes)| *bytes > ORIGIN_ID_BYTES_MAX)
        {
            Some((field, bytes)) => Err(BatchError::IdTooLong {
                index,
                field,
                bytes,
            }),
            None => Ok(()),
        }
    }

    /// The number of `event` if it is the child of `parent`.
    fn link(index: usize, event: &Event<'_>, parent: SeqNum) -> Result<SeqNum, BatchError> {
        let not_chained = |field, value, expected| BatchError::NotChained {
            index,
            field,
            value,
            expected,
        };
        let seq_num = SeqNum::new(event.seq_num)
            .filter(|seq_num| *seq_num > SeqNum::ROOT)
            .ok_or(BatchError::OutOfRange {
                index,
                field: "seqNum",
                value: event.seq_num,
                min: 1,
            })?;
        if event.parent_seq_num != parent.to_i64() {
            return Err(not_chained(
                "parentSeqNum",
                event.parent_seq_num,
                parent.to_i64(),
            ));
        }
        if event.seq_num != parent.to_i64() + 1 {
            return Err(not_chained("seqNum", event.seq_num, parent.to_i64() + 1));
        }
        Ok(seq_num)
    }

    /// The number that the first event continues from.
    #[must_use]
    pub fn parent(&self) -> SeqNum {
        self.parent
    }

    /// The number of the last event.
    #[must_use]
    pub fn last(&self) -> SeqNum {
        self.last
    }

    /// The client that made the first event, and in practice all of them.
    #[must_use]
    pub fn client_id(&self) -> &str {
        self.events.first().map_or("", |event| &event.client_id)
    }

    /// The events in order.
    #[must_use]
    pub fn events(&self) -> &[Event<'a>] {
        &self.events
    }

    /// The events after the first `count`, or `None` when that leaves none.
    #[must_use]
    pub fn after(mut self, count: usize) -> Option<Self> {
        let count = count.min(self.events.len());
        let parent = self.parent.0 + count as u64;
        self.events.drain(..count);
        (!self.events.is_empty()).then_some(Self {
            parent: SeqNum(parent),
            ..self
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn parse(json: &str) -> Result<Option<Batch<'_>>, BatchError> {
        let events = json::read(json, Event::read_all).unwrap();
        Batch::parse(events, &Limits::default())
    }

    fn event(seq_num: i64, parent: i64) -> String {
        format!(
            r#"{{"name":"a","args":{{}},"seqNum":{seq_num},"parentSeqNum":{parent},"clientId":"c","sessionId":"s"}}"#
        )
    }

    #[test]
    fn a_chain_is_a_batch() {
        let json = format!("[{},{}]", event(5, 4), event(6, 5));
        let batch = parse(&json).unwrap().unwrap();
        assert_eq!((batch.parent().get(), batch.last().get()), (4, 6));
        let rest = batch.after(1).unwrap();
        assert_eq!((rest.parent().get(), rest.events().len()), (5, 1));
        assert!(rest.after(1).is_none());
    }

    #[test]
    fn names_are_matched_as_a_whole_with_stars_for_any_text() {
        let cases = [
            ("v1.*,v2.*", "v1.TodoCreated", true),
            ("v1.*,v2.*", "v2.", true),
            ("v1.*,v2.*", "v3.TodoCreated", false),
            ("v1.*", "xv1.a", false),
            ("v1.Todo", "v1.Todo", true),
            ("v1.Todo", "v1.TodoX", false),
            ("*.Todo*Created", "v1.TodoItemCreated", true),
            ("*.Todo*Created", "v1.TodoCreatedX", false),
            ("*", "anything", true),
            ("a*a", "a", false),
        ];
        for (list, name, expected) in cases {
            assert_eq!(
                EventNames::parse(list).unwrap().allow(name),
                expected,
                "{list} {name}"
            );
        }
        assert!(EventNames::default().allow("anything"));
        assert_eq!(EventNames::parse(" , "), None);
    }

    #[test]
    fn no_events_are_no_batch() {
        assert!(parse("[]").unwrap().is_none());
    }

    #[test]
    fn a_broken_chain_is_refused_where_it_breaks() {
        for (second, field) in [
            ((7, 5), "seqNum"),
            ((6, 4), "parentSeqNum"),
            ((5, 5), "seqNum"),
        ] {
            let json = format!("[{},{}]", event(5, 4), event(second.0, second.1));
            match parse(&json).unwrap_err() {
                BatchError::NotChained {
                    index: 1,
                    field: found,
                    ..
                } => assert_eq!(found, field),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn numbers_outside_the_safe_range_are_refused() {
        for (seq_num, parent) in [
            (-1, -2),
            (0, -1),
            (1 << 53, (1 << 53) - 1),
            (i64::MAX, i64::MAX),
        ] {
            let error = parse(&format!("[{}]", event(seq_num, parent))).unwrap_err();
            assert!(matches!(error, BatchError::OutOfRange { .. }), "{error}");
        }
        assert!(parse(&format!("[{}]", event((1 << 53) - 1, (1 << 53) - 2))).is_ok());
    }

    #[test]
    fn integers_are_read_however_they_are_written_and_fractions_are_not() {
        let with =
            |number: &str| event(1, 0).replace("\"seqNum\":1", &format!("\"seqNum\":{number}"));
        for number in ["1", "1.0", "1e0"] {
            assert_eq!(json::read(&with(number), Event::read).unwrap().seq_num, 1);
        }
        for number in ["1.5", "\"1\"", "null"] {
            assert!(json::read(&with(number), Event::read).is_err(), "{number}");
        }
    }

    #[test]
    fn absent_args_differ_from_null_args() {
        let absent = event(1, 0).replace(r#""args":{},"#, "");
        let null = event(1, 0).replace(r#""args":{}"#, r#""args":null"#);
        assert_eq!(json::read(&absent, Event::read).unwrap().args_text(), None);
        assert_eq!(
            json::read(&null, Event::read).unwrap().args_text(),
            Some("null")
        );
    }

    #[test]
    fn a_new_backend_id_is_a_letter_of_the_alphabet_for_each_byte_all_equally_often() {
        let mut letters = std::collections::BTreeMap::new();
        for byte in 0..=255 {
            let mut bytes = [0; 21];
            bytes[usize::from(byte) % 21] = byte;
            let id = BackendId::from_random(bytes);
            assert_eq!(id.as_str().len(), 21);
            for (index, letter) in id.as_str().bytes().enumerate() {
                if index == usize::from(byte) % 21 {
                    *letters.entry(letter).or_insert(0) += 1;
                } else {
                    assert_eq!(letter, b'A', "{id:?}");
                }
            }
        }
        let is_of_alphabet =
            |letter: &u8| letter.is_ascii_alphanumeric() || *letter == b'-' || *letter == b'_';
        assert!(letters.keys().all(is_of_alphabet), "{letters:?}");
        assert_eq!(letters.len(), 64);
        assert!(letters.values().all(|times| *times == 4), "{letters:?}");
    }

    #[test]
    fn the_bytes_of_an_event_are_those_of_all_that_its_client_chose() {
        let json = r#"{"name":"na","args":{"a":"é"},"seqNum":1,"parentSeqNum":0,"clientId":"cli","sessionId":"sessi"}"#;
        let event = json::read(json, Event::read).unwrap();
        assert_eq!(event.content_bytes(), 2 + 10 + 3 + 5);
    }

    #[test]
    fn names_ids_and_events_may_be_as_long_as_their_limit_and_no_longer() {
        let with = |name: usize, client: usize, session: usize| {
            let (name, client) = ("n".repeat(name), "c".repeat(client));
            let session = "s".repeat(session);
            let second = event(2, 1)
                .replace("\"a\",", &format!("\"{name}\","))
                .replace("\"c\"", &format!("\"{client}\""))
                .replace("\"s\"", &format!("\"{session}\""));
            format!("[{},{second}]", event(1, 0))
        };
        let (name, id) = (EVENT_NAME_BYTES_MAX, ORIGIN_ID_BYTES_MAX);
        let longest = with(name, id, id);
        assert!(parse(&longest).is_ok());
        for (json, expected) in [
            (
                with(name + 1, id, id),
                BatchError::NameTooLong {
                    index: 1,
                    bytes: name + 1,
                },
            ),
            (
                with(name, id + 1, id),
                BatchError::IdTooLong {
                    index: 1,
                    field: "clientId",
                    bytes: id + 1,
                },
            ),
            (
                with(name, id, id + 1),
                BatchError::IdTooLong {
                    index: 1,
                    field: "sessionId",
                    bytes: id + 1,
                },
            ),
        ] {
            assert_eq!(parse(&json).unwrap_err(), expected);
        }

        let bytes = name + 2 * id + "{}".len();
        let limited = |event_bytes_max| {
            let limits = Limits {
                event_bytes_max,
                ..Limits::default()
            };
            Batch::parse(json::read(&longest, Event::read_all).unwrap(), &limits)
        };
        assert!(limited(bytes).is_ok());
        let expected = BatchError::EventTooLarge {
            index: 1,
            bytes,
            max: bytes - 1,
        };
        assert_eq!(limited(bytes - 1).unwrap_err(), expected);
    }

    #[test]
    fn a_batch_may_hold_as_many_events_as_the_limit_and_no_more() {
        let limits = Limits {
            batch_events_max: 2,
            ..Limits::default()
        };
        let of = |count: i64| {
            let events: Vec<_> = (1..=count)
                .map(|number| event(number, number - 1))
                .collect();
            format!("[{}]", events.join(","))
        };
        let (two, three) = (of(2), of(3));
        let read = |json| json::read(json, Event::read_all).unwrap();
        assert!(Batch::parse(read(&two), &limits).is_ok());
        assert_eq!(
            Batch::parse(read(&three), &limits).unwrap_err(),
            BatchError::TooManyEvents { events: 3, max: 2 }
        );
    }

    #[test]
    fn numbers_are_kept_within_what_javascript_holds() {
        let cases = [(i64::MIN, 0), (-1, 0), (7, 7), (i64::MAX, SEQ_NUM_MAX)];
        for (value, expected) in cases {
            assert_eq!(SeqNum::from(value).get(), expected);
            assert_eq!(SeqNum::clamped(value).to_i64().cast_unsigned(), expected);
        }
        let (three, five) = (SeqNum::from(3), SeqNum::from(5));
        assert_eq!((five.since(three), three.since(five)), (2, 0));
    }
}
