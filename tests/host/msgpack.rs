//! The `MessagePack` of the Durable Object transport: the bytes of recorded clients and servers, the
//! bytes that msgpackr reads, any JSON there and back, and bytes that nobody sends.
//!
//! `tests/transcripts/msgpack/encoded.ndjson` is shared with `tests/clients/msgpack.test.ts`, where
//! the real msgpackr reads the same bytes.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livestore_sync_worker::limits::{FRAME_BYTES_CEILING, MSGPACK_DEPTH_MAX};
use livestore_sync_worker::wire::msgpack::{self, DecodeError, EncodeError, Numbers};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::cases;

/// As JavaScript prints and reads them.
const NUMBERS: Numbers = Numbers {
    print: |number| match number.abs() {
        1e-6..1e21 => number.to_string(),
        _ => serde_json::to_string(&number).unwrap(),
    },
    parse: |text| text.parse().unwrap(),
};

fn decode(bytes: &[u8]) -> Result<String, DecodeError> {
    msgpack::decode(bytes, NUMBERS)
}

fn encode(json: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    msgpack::encode(json, NUMBERS, out)
}

const RECORDINGS: [&str; 4] = [
    "do-rpc/0.4.0/do-rpc-client",
    "do-rpc/0.4.0/do-rpc-adapter-cloudflare-store",
    "do-rpc/0.4.0/do-rpc-two-live-subscribers",
    "do-rpc/head-effect4/do-rpc-client",
];

fn lines<T: for<'de> Deserialize<'de>>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(format!("{file}.ndjson"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn encoded(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    encode(json, &mut out).unwrap_or_else(|error| panic!("{error}: {json}"));
    out
}

/// The message as it was recorded, and as the recorder's msgpackr read it: an array, since there may
/// be several or none.
#[derive(Deserialize)]
struct Recorded {
    base64: Option<String>,
    decoded: Option<Vec<Value>>,
}

fn recorded(file: &str) -> Vec<(Vec<u8>, Vec<Value>)> {
    lines::<Recorded>(file)
        .into_iter()
        .filter_map(|line| Some((STANDARD.decode(line.base64?).unwrap(), line.decoded?)))
        .collect()
}

/// The recorded bytes of single messages.
fn messages() -> Vec<Vec<u8>> {
    let messages: Vec<Vec<u8>> = RECORDINGS
        .iter()
        .flat_map(|file| recorded(file))
        .filter(|(_, decoded)| decoded.len() == 1)
        .map(|(bytes, _)| bytes)
        .collect();
    assert!(messages.len() > 80);
    messages
}

#[test]
fn recorded_messages_of_both_generations_are_read_as_msgpackr_reads_them() {
    for file in RECORDINGS {
        let (mut read, mut refused) = (0, 0);
        for (bytes, decoded) in recorded(file) {
            match (decode(&bytes), decoded.as_slice()) {
                (Ok(json), [message]) => {
                    assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), *message);
                    read += 1;
                }
                // Two bytes that are no message, to which the recorder sent them.
                (Err(error), [_, _]) => {
                    assert_eq!(error, DecodeError::Unsupported { at: 0 });
                    refused += 1;
                }
                (other, decoded) => panic!("{file}: {other:?}, but {decoded:?}"),
            }
        }
        assert!(read >= 5 && refused <= 1, "{file}: {read}, {refused}");
    }
}

#[test]
fn recorded_messages_without_undefined_are_written_byte_for_byte() {
    let mut same = 0;
    for bytes in messages() {
        if bytes.windows(3).any(|window| window == [0xd4, 0, 0]) {
            continue;
        }
        assert_eq!(encoded(&decode(&bytes).unwrap()), bytes);
        same += 1;
    }
    assert!(same > 50, "{same}");
}

/// A JSON text and its bytes, which msgpackr reads in `tests/clients/msgpack.test.ts`.
#[derive(Deserialize)]
struct Fixture {
    json: String,
    base64: String,
}

#[test]
fn the_bytes_that_msgpackr_is_shown_are_ours() {
    let fixtures = lines::<Fixture>("msgpack/encoded");
    assert!(fixtures.len() > 25);
    for Fixture { json, base64 } in fixtures {
        assert_eq!(encoded(&json), STANDARD.decode(&base64).unwrap(), "{json}");
    }
}

/// A value and how it may be spelled.
#[derive(Clone, Debug)]
enum Json {
    Literal(&'static str),
    Number(f64),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The text without white space, in the digits of JavaScript.
    fn canonical(&self) -> String {
        match self {
            Self::Literal(text) => (*text).to_owned(),
            Self::Number(number) if *number == 0.0 => "0".to_owned(),
            Self::Number(number) if (1e-6..1e21).contains(&number.abs()) => number.to_string(),
            Self::Number(number) if number.abs() < 1.0 => format!("{number:e}"),
            Self::Number(number) => format!("{number:e}").replace('e', "e+"),
            Self::String(text) => serde_json::to_string(text).unwrap(),
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::canonical).collect();
                format!("[{}]", items.join(","))
            }
            Self::Object(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| {
                        format!(
                            "{}:{}",
                            Self::String(key.clone()).canonical(),
                            value.canonical()
                        )
                    })
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }

    /// The same value with white space, exponents and escapes.
    fn elaborate(&self) -> String {
        match self {
            Self::Literal(text) => format!("\r\n{text} "),
            Self::Number(number) => format!("{number:E}"),
            Self::String(text) => {
                let units = text.encode_utf16().map(|unit| format!("\\u{unit:04X}"));
                format!("\t\"{}\"", units.collect::<String>())
            }
            Self::Array(items) => {
                let items: Vec<String> = items.iter().map(Self::elaborate).collect();
                format!("[ {} ]", items.join(" , "))
            }
            Self::Object(fields) => {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(key, value)| {
                        format!(
                            "{} : {}",
                            Self::String(key.clone()).elaborate(),
                            value.elaborate()
                        )
                    })
                    .collect();
                format!(" {{\n{}\n}}", fields.join(","))
            }
        }
    }
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-200..70_000_i32).prop_map(f64::from),
        any::<i32>().prop_map(f64::from),
        any::<u32>().prop_map(f64::from),
        (0..1_u32 << 20).prop_map(|number| f64::from(number) / 1e4),
        0.0..1.0,
        any::<f64>().prop_filter("finite", |number| number.is_finite()),
    ]
}

/// Few keys, so that objects share shapes and ids come round.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-d]",
        1 => "[a-z]{40}",
        1 => any::<String>(),
    ]
}

fn json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        proptest::sample::select(vec!["null", "true", "false"]).prop_map(Json::Literal),
        number().prop_map(Json::Number),
        any::<String>().prop_map(Json::String),
    ];
    scalar.prop_recursive(6, 200, 10, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Json::Array),
            vec((key(), inner), 0..6).prop_map(Json::Object),
        ]
    })
}

/// The double in the bytes of a number.
fn double(bytes: &[u8]) -> f64 {
    match bytes {
        [0xcb, bits @ ..] => f64::from_be_bytes(bits.try_into().unwrap()),
        _ => decode(bytes).unwrap().parse().unwrap(),
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn any_json_is_the_same_there_and_back(json in json()) {
        let canonical = json.canonical();
        let bytes = encoded(&canonical);
        prop_assert_eq!(&decode(&bytes).unwrap(), &canonical);
        prop_assert_eq!(encoded(&json.elaborate()), bytes);
    }

    #[test]
    fn a_number_becomes_the_double_that_the_standard_library_reads(
        whole in "0|[1-9][0-9]{0,30}",
        fraction in "(\\.[0-9]{1,30})?",
        exponent in proptest::option::of(-360..330_i32),
    ) {
        let exponent = exponent.map_or(String::new(), |exponent| format!("e{exponent}"));
        let text = format!("{whole}{fraction}{exponent}");
        let nearest: f64 = text.parse().unwrap();
        prop_assert_eq!(double(&encoded(&text)).to_bits(), nearest.to_bits(), "{}", text);
    }

    #[test]
    fn halfway_between_two_doubles_the_even_one_is_nearest(
        significand in 1_u128 << 52..1 << 53,
        shift in 0..60_u32,
        tail in "(\\.0{1,40}1?)?",
    ) {
        let text = format!("{}{tail}", ((2 * significand) + 1) << shift);
        let nearest: f64 = text.parse().unwrap();
        prop_assert_eq!(double(&encoded(&text)).to_bits(), nearest.to_bits(), "{}", text);
    }
}

/// What must hold of any bytes: they are refused at an offset that is there, or what they are read as
/// is JSON that comes back the same.
fn check(bytes: &[u8]) {
    match decode(bytes) {
        Ok(json) => {
            serde_json::from_str::<IgnoredAny>(&json)
                .unwrap_or_else(|error| panic!("{error}: {json}"));
            // Integers of 64 bits come back as doubles.
            let as_doubles = decode(&encoded(&json)).unwrap();
            assert_eq!(decode(&encoded(&as_doubles)).unwrap(), as_doubles);
        }
        Err(
            DecodeError::Truncated { at }
            | DecodeError::Unsupported { at }
            | DecodeError::Key { at }
            | DecodeError::Utf8 { at }
            | DecodeError::Depth { at }
            | DecodeError::Size { at }
            | DecodeError::Trailing { at },
        ) => assert!(at <= bytes.len()),
    }
}

/// Bytes that start values, keys and definitions, more often than chance has it.
fn hostile_byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        2 => any::<u8>(),
        1 => 0x3e..0x46_u8,
        1 => 0x80..0xa4_u8,
        1 => 0xc0..0xe1_u8,
        1 => proptest::sample::select(vec![0xd4, 0x72, 0x40, 0x00]),
    ]
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn any_bytes_are_json_or_refused(bytes in vec(hostile_byte(), 0..200)) {
        check(&bytes);
    }

    #[test]
    fn a_message_changed_in_places_is_json_or_refused(
        bytes in proptest::sample::select(messages()),
        edits in vec((any::<proptest::sample::Index>(), hostile_byte(), 0..4_u8), 1..6),
    ) {
        let mut bytes = bytes;
        for (at, byte, kind) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => bytes[at] = byte,
            }
        }
        check(&bytes);
    }

    #[test]
    fn any_values_after_a_definition_are_json_or_refused(values in vec(hostile_byte(), 0..60)) {
        let head = [0xdc, 0, 8, 0xd4, 0x72, 0x40, 0x92, 0xa1, b'a', 0xa2, b'b', b'"'];
        check(&[&head, values.as_slice()].concat());
    }

    #[test]
    fn any_text_is_encoded_or_refused(text in "[\\[\\]{}\":,0-9eE.+\\- \\\\untrfalsd]{0,40}") {
        let mut out = vec![7];
        let result = encode(&text, &mut out);
        prop_assert_eq!(result.is_ok(), out.len() > 1);
        // The one difference to serde_json: numbers without bound and half a pair of surrogates.
        let is_json = serde_json::from_str::<IgnoredAny>(&text).is_ok();
        prop_assert_eq!(result.is_ok(), is_json, "{}", text);
        if let Err(EncodeError::Syntax { at }) = result {
            prop_assert!(at <= text.len());
        }
    }
}

#[test]
fn a_recorded_message_that_is_cut_anywhere_is_refused() {
    for bytes in messages() {
        for end in 0..bytes.len() {
            let cut = decode(&bytes[..end]);
            assert!(
                matches!(cut, Err(DecodeError::Truncated { .. })),
                "{cut:?} at {end}"
            );
        }
    }
}

#[test]
fn json_nested_a_million_levels_deep_is_encoded() {
    let levels = 1_000_000;
    let arrays = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(encoded(&arrays).len(), levels);
    let objects = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    // A definition of three bytes and its keys, then a byte for each object.
    assert_eq!(encoded(&objects).len(), 3 + 3 + levels);
    for torn in [
        &arrays[1..],
        &arrays[..levels],
        &objects[..levels],
        &objects[..objects.len() - 1],
    ] {
        assert!(encode(torn, &mut Vec::new()).is_err());
    }
}

#[test]
fn bytes_nested_too_deep_are_refused_at_the_first_level_too_many() {
    let record = [0xd4, 0x72, 0x40, 0x91, 0xa1, b'a'];
    let shapes: [(&[u8], &[u8]); 4] = [
        (&[], &[0x91]),
        (&[], &[0x81, 0xa1, b'a']),
        (&[], &record),
        (&record, &[0x40]),
    ];
    for (head, level) in shapes {
        let heads = usize::from(!head.is_empty());
        let of = |levels: usize| [head, &level.repeat(levels - heads), &[0]].concat();
        assert!(decode(&of(MSGPACK_DEPTH_MAX)).is_ok());
        for levels in [MSGPACK_DEPTH_MAX + 1, 1_000_000] {
            let at = head.len() + level.len() * (MSGPACK_DEPTH_MAX - heads);
            assert_eq!(decode(&of(levels)), Err(DecodeError::Depth { at }));
        }
    }
}

#[test]
fn a_length_of_four_gigabytes_is_refused_wherever_it_stands() {
    let length = [0xff; 4];
    let before: [&[u8]; 4] = [
        &[],
        &[0x91],
        &[0x81, 0xa1, b'a'],
        &[0xd4, 0x72, 0x40, 0x91, 0xa1, b'a'],
    ];
    for head in before {
        for byte in [0xdb, 0xdd, 0xdf] {
            let bytes = [head, &[byte], &length, &[0xc0; 100]].concat();
            let at = head.len();
            assert_eq!(
                decode(&bytes),
                Err(DecodeError::Truncated { at }),
                "{byte:#04x}"
            );
        }
        let keys = [head, &[0xd4, 0x72, 0x41, 0xdd], &length, &[0xa0; 100]].concat();
        assert!(matches!(decode(&keys), Err(DecodeError::Truncated { .. })));
    }
}

#[test]
fn references_do_not_swell_the_text_beyond_its_bound() {
    let key = vec![b'k'; 60_000];
    let mut bytes = vec![0xdd, 0, 1, 0, 0, 0xd4, 0x72, 0x40, 0x91, 0xda, 0xea, 0x60];
    bytes.extend(&key);
    bytes.push(1);
    bytes.extend([0x40, 1].repeat(65_535));
    assert!(matches!(decode(&bytes), Err(DecodeError::Size { .. })));
    // As long as it is not printed, a key costs nothing.
    let values = bytes.len() - 2 * 65_535 - 1;
    bytes.truncate(values);
    bytes.extend([0xd4, 0, 0]);
    bytes.extend([0x40, 0xd4, 0, 0].repeat(65_535));
    assert_eq!(decode(&bytes).unwrap().len(), 3 * 65_536 + 1);
    assert!(FRAME_BYTES_CEILING < key.len() * 65_536);
}
