//! Frames by chance: bytes, JSON, valid frames changed in places.

use super::*;

/// Texts as they stand in JSON, the words of the protocol among them.
fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(vec![
            "_tag", "Request", "Ack", "Interrupt", "Ping", "Eof", "id", "requestId", "tag", "payload", "storeId",
            "live", "cursor", "batch", "backendId", "Some", "None", "value", "eventSequenceNumber",
            "SyncWsRpc.Pull", "SyncWsRpc.Push", "WSMessage.PullReq", "WSMessage.PushReq", "name", "args", "seqNum",
            "parentSeqNum", "clientId", "sessionId", STORE, BACKEND, "ping", "WSMessage.Ping", "1", "\\ud800", "\\u0000",
        ]).prop_map(|word| format!("\"{word}\"")),
        1 => any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
    ]
}

fn scalar() -> impl Strategy<Value = String> {
    let literals = vec![
        "null",
        "true",
        "false",
        "0",
        "1",
        "3",
        "4",
        "-1",
        "-0",
        "1.5",
        "1e400",
        "9007199254740993",
        "1e3",
    ];
    prop_oneof![
        2 => proptest::sample::select(literals).prop_map(str::to_owned),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        4 => string(),
    ]
}

/// JSON text of any shape.
pub(super) fn json() -> impl Strategy<Value = String> {
    scalar().prop_recursive(5, 40, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(","))),
            proptest::collection::vec((string(), inner), 0..8).prop_map(|fields| {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}:{value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

/// Valid frames of every kind and generation.
fn valid() -> Vec<String> {
    let events = [
        Sample::new(EVENTS + 1),
        Sample {
            args: None,
            ..Sample::new(EVENTS + 2)
        },
    ];
    let stale = [Sample::new(2)];
    let mut frames = vec![
        ack("\"1\""),
        interrupt("7"),
        ack("12"),
        r#"{"_tag":"Ping"}"#.to_owned(),
    ];
    for generation in [Generation::V03, Generation::V04, Generation::V05] {
        let speaker = speaker(generation);
        let id = speaker.id(12);
        frames.push(speaker.pull(&id, true, None));
        frames.push(speaker.pull(&id, false, Some((BACKEND, 2))));
        frames.push(speaker.push(&id, Some(BACKEND), &batch_json(&events)));
        frames.push(speaker.push(&id, None, &batch_json(&stale)));
        frames.push(speaker.ping().to_owned());
    }
    frames.push(format!("[{}]", frames.join(",")));
    frames
}

/// A change to some bytes of a frame.
#[derive(Clone, Debug)]
pub(super) enum Edit {
    Flip { at: usize, bits: u8 },
    Remove { at: usize, count: usize },
    Insert { at: usize, bytes: Vec<u8> },
    Repeat { at: usize, count: usize },
    Cut { at: usize },
}

impl Edit {
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match self {
            Self::Flip { at, bits } => bytes[at % len] ^= bits,
            Self::Remove { at, count } => {
                let at = at % len;
                bytes.drain(at..(at + count).min(len));
            }
            Self::Insert { at, bytes: new } => {
                let at = at % len;
                bytes.splice(at..at, new.iter().copied());
            }
            Self::Repeat { at, count } => {
                let at = at % len;
                let slice = bytes[at..(at + count).min(len)].to_vec();
                bytes.splice(at..at, slice);
            }
            Self::Cut { at } => bytes.truncate(at % len),
        }
    }
}

pub(super) fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<usize>;
    let piece = proptest::sample::select(vec![
        "\"", "{", "}", "[", "]", ",", ":", "\\", "null", "1", "-", ".5", "e9", "\\u0000",
        "\\ud800", " ",
    ]);
    prop_oneof![
        3 => (at(), 1_u8..=255).prop_map(|(at, bits)| Edit::Flip { at, bits }),
        2 => (at(), 1_usize..20).prop_map(|(at, count)| Edit::Remove { at, count }),
        3 => (at(), piece).prop_map(|(at, piece)| Edit::Insert { at, bytes: piece.as_bytes().to_vec() }),
        1 => (at(), proptest::collection::vec(any::<u8>(), 1..6)).prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
        2 => (at(), 1_usize..80).prop_map(|(at, count)| Edit::Repeat { at, count }),
        1 => at().prop_map(|at| Edit::Cut { at }),
    ]
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![3 => Just(Family::Rpc), 1 => Just(Family::Plain)]
}

fn send(room: &mut Room, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => room.attack(Frame::Text(text)),
        Err(_) => room.attack(Frame::Binary(bytes)),
    };
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn bytes_do_no_harm(
        family in family(),
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
    ) {
        let mut room = Room::new(family);
        for frame in frames {
            send(&mut room, &frame);
        }
    }

    #[test]
    fn json_of_any_shape_does_no_harm(
        family in family(),
        frames in proptest::collection::vec(json(), 1..8),
    ) {
        let mut room = Room::new(family);
        for frame in frames {
            room.attack_text(&frame);
            room.attack_text(&format!(r#"{{"_tag":"Request","id":"7","tag":"SyncWsRpc.Push","payload":{frame}}}"#));
        }
    }

    #[test]
    fn a_frame_with_one_field_replaced_does_no_harm(
        which in any::<prop::sample::Index>(),
        field in any::<prop::sample::Index>(),
        value in json(),
    ) {
        let frames = valid();
        let frame = which.get(&frames);
        // The value after a colon, as far as the next comma or closing bracket.
        let colons: Vec<usize> = frame.match_indices("\":").map(|(at, _)| at + 2).collect();
        let start = *field.get(&colons);
        let rest = &frame[start..];
        let length = rest.find([',', '}', ']']).unwrap_or(rest.len());
        let frame = format!("{}{value}{}", &frame[..start], &rest[length..]);
        for family in Family::ALL {
            Room::new(family).attack_text(&frame);
        }
    }

    #[test]
    fn a_frame_with_bytes_changed_does_no_harm(
        family in family(),
        frames in proptest::collection::vec(
            (any::<prop::sample::Index>(), proptest::collection::vec(edit(), 1..4)),
            1..8,
        ),
    ) {
        let valid = valid();
        let mut room = Room::new(family);
        for (which, edits) in frames {
            let mut bytes = which.get(&valid).clone().into_bytes();
            for edit in &edits {
                edit.apply(&mut bytes);
            }
            send(&mut room, &bytes);
        }
    }
}
