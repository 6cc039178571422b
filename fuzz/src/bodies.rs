//! What holds for any bytes, one function for each target. They are called by libFuzzer (`fuzz/fuzz_targets`) and by
//! `cargo test` (`tests/host/fuzz.rs`); both stop at a panic.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use livestore_sync_worker::auth::{Access, Decision, Facts, Grant, JwtPolicy, Policy, Token};
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, Rules, SyncBackend, Turn};
use livestore_sync_worker::config::Config;
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{ATTACHMENT_BYTES_MAX, Limits};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::msgpack::{self, Numbers};
use livestore_sync_worker::wire::{Family, Generation};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::host_sql::{Binding, HostSql, HostText};

/// Between the frames, or the parts, of one input: a byte that stands in no JSON.
pub const SEPARATOR: u8 = 0x1e;

/// The store that every input is for. A seed names it, too.
pub const STORE: &str = "fuzzed";
const NOW_MS: u64 = 1_795_342_751_954;

/// As JavaScript prints and reads them.
const NUMBERS: Numbers = Numbers {
    print: |number| match number.abs() {
        1e-6..1e21 => number.to_string(),
        _ => serde_json::to_string(&number).unwrap(),
    },
    parse: |text| text.parse().unwrap(),
};

/// The parts of an input.
fn parts(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    data.split(|byte| *byte == SEPARATOR)
}

/// An object in memory with its storage, and one socket.
pub(crate) struct Object {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    socket: ConnectionId,
    family: Family,
}

impl Object {
    /// An object without events, and a socket of `family` to it.
    pub(crate) fn new(family: Family) -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        let mut backend = Self::backend(&sql);
        let socket = backend.connect(family, Grant::default(), NOW_MS);
        Self {
            sql,
            backend,
            socket,
            family,
        }
    }

    /// What wakes over this storage.
    fn backend(sql: &HostSql) -> SyncBackend<HostSql> {
        let fresh = BackendId::stored("a-backend-id-of-fuzz-".to_owned());
        let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
        let no_ids = Box::new(|| panic!("nobody resets this store"));
        SyncBackend::new(store, Limits::default(), Rules::default(), no_ids)
    }

    /// What would be kept with the socket.
    pub(crate) fn attachment(&self) -> Option<String> {
        self.backend.attachment(self.socket)
    }

    /// Takes a frame. What it is answered, and whether the socket is closed for it.
    pub(crate) fn take(&mut self, frame: Frame<'_>) -> (Vec<String>, bool) {
        let mut turn: Turn<HostText> = Turn::at(NOW_MS);
        self.backend.on_frame(self.socket, frame, &mut turn);
        let (mut answers, mut is_closed) = (Vec::new(), false);
        for output in turn.out {
            match output {
                Output::Send { to, frame } => {
                    assert_eq!(to, self.socket, "nobody else is connected");
                    answers.push(frame.as_str().to_owned());
                }
                Output::Close { .. } => is_closed = true,
                Output::Remember { .. } => {
                    let kept = self.attachment();
                    assert!(kept.is_none_or(|kept| kept.len() <= ATTACHMENT_BYTES_MAX));
                }
                // Pages of 0.3 go on in turns of their own.
                Output::Report(_) | Output::WakeAt { .. } | Output::ForgetAlarm => {}
                Output::Probe { .. } | Output::Ask(_) | Output::Fetch(_) | Output::Deliver(_) => {
                    panic!("there are no hooks, no backup and no followers: {output:?}")
                }
            }
        }
        (answers, is_closed)
    }

    /// The socket is answered, and the log is a chain from 1.
    fn check(&mut self) {
        let (ping, pong) = self.family.auto_response();
        let (answers, is_closed) = self.take(Frame::Text(ping));
        assert!(!is_closed);
        assert_eq!(answers, [pong]);
        let counted = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let query = "SELECT count(*), coalesce(max(seqNum), 0), coalesce(sum(seqNum - parentSeqNum <> 1), 0) FROM eventlog_7_fuzzed";
        let (rows, head, gaps): (i64, i64, i64) =
            self.sql.raw().query_row(query, [], counted).unwrap();
        assert_eq!((rows, gaps), (head, 0), "the log is a chain");
    }
}

/// The family of the sockets of a generation, by the first byte of an input.
fn family_of(byte: u8) -> Family {
    if byte.is_ascii_lowercase() {
        Family::Plain
    } else {
        Family::Rpc
    }
}

/// The first byte of an input for sockets of this generation.
#[must_use]
pub fn mark_of(generation: Generation) -> u8 {
    match generation.family() {
        Family::Plain => b'p',
        Family::Rpc => b'R',
    }
}

/// Frames, one after the other, on one socket: each answer is JSON, the socket is served on, and the log is a chain.
///
/// *Shape*: the byte of [`mark_of`], then frames between [`SEPARATOR`]s; one that is no UTF-8 is a binary frame.
pub fn frames(data: &[u8]) {
    let Some((mark, rest)) = data.split_first() else {
        return;
    };
    let family = family_of(*mark);
    let mut object = Object::new(family);
    for frame in parts(rest) {
        let frame = std::str::from_utf8(frame).map_or(Frame::Binary(frame), Frame::Text);
        let (answers, is_closed) = object.take(frame);
        for answer in answers {
            // An id is echoed as it came, and JavaScript reads half a pair of surrogates.
            let answer = answer.replace("\\ud", "\\ue").replace("\\uD", "\\uE");
            let json = serde_json::from_str::<IgnoredAny>(&answer);
            json.unwrap_or_else(|error| panic!("{error}: {answer}"));
        }
        if is_closed {
            object.socket = object.backend.connect(family, Grant::default(), NOW_MS);
        }
    }
    object.check();
}

/// Bytes of the Durable Object transport: refused, or JSON that comes back the same. Text as JSON: refused with nothing
/// written, or bytes that are read again.
pub fn msgpack(data: &[u8]) {
    if let Ok(json) = msgpack::decode(data, NUMBERS) {
        let json_is = serde_json::from_str::<IgnoredAny>(&json);
        json_is.unwrap_or_else(|error| panic!("{error}: {json}"));
        there_and_back(&json);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let mut out = vec![7];
        let is_encoded = msgpack::encode(text, NUMBERS, &mut out).is_ok();
        assert_eq!(is_encoded, out.len() > 1, "{text}");
    }
}

/// The JSON of a message is encoded, and read as the same from then on: integers of 64 bits become doubles first.
fn there_and_back(json: &str) {
    let again = |json: &str| {
        let mut bytes = Vec::new();
        msgpack::encode(json, NUMBERS, &mut bytes).unwrap();
        msgpack::decode(&bytes, NUMBERS).unwrap()
    };
    let as_doubles = again(json);
    assert_eq!(again(&as_doubles), as_doubles);
}

/// A deployment that asks everything of a token.
pub fn policy() -> Policy {
    let lookup = |name: &str| {
        let value = match name {
            "AUTH_TOKEN" => "a-token",
            "JWT_JWKS_URL" => "https://id.example.com/jwks",
            "JWT_ISSUER" => "i",
            "JWT_AUDIENCE" => "a",
            "JWT_STORE_CLAIM" => "stores",
            "JWT_ACCESS_CLAIM" => "role",
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::parse(lookup).unwrap().policy
}

/// What says who connects: each text is refused, or is what it says.
///
/// *Shape*: a sync payload, the header of a token and its claims, between [`SEPARATOR`]s. Signatures are the platform's
/// affair: every token here counts as signed.
pub fn tokens(data: &[u8]) {
    let texts: Vec<String> = parts(data)
        .map(|part| String::from_utf8_lossy(part).into_owned())
        .collect();
    let text = |index: usize| texts.get(index).map_or("", String::as_str);
    let (payload, header, claims) = (text(0), text(1), text(2));
    let policy = policy();
    let facts = Facts {
        payload: None,
        authorization: None,
        cookie: None,
        is_development: false,
    };
    let ways = [
        Facts {
            payload: Some(payload),
            ..facts
        },
        Facts {
            authorization: Some(payload),
            ..facts
        },
        Facts {
            cookie: Some(payload),
            ..facts
        },
    ];
    let jwt = policy.jwt.as_ref().unwrap();
    for facts in ways {
        match policy.decide(facts) {
            Ok(Decision::Granted) => assert!(payload.contains("a-token") || payload.contains('\\')),
            Ok(Decision::Verify(token)) => signed(jwt, &token),
            Err(_) => {}
        }
    }
    let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part));
    signed(jwt, &format!("{header}.{claims}.c2ln"));
    if let Some(grant) = Grant::from_json(payload) {
        assert_eq!(Grant::from_json(&grant.json()), Some(grant));
    }
}

/// The claims that are asked for. Others may be what [`Value`] cannot hold, such as half a pair of surrogates.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    role: String,
    stores: Value,
}

/// Takes a token for signed, and checks what it grants.
fn signed(policy: &JwtPolicy, token: &str) {
    let Ok(token) = Token::parse(token, |part| URL_SAFE_NO_PAD.decode(part).ok()) else {
        return;
    };
    let Ok(grant) = policy.check(&token, &StoreId::new(STORE), NOW_MS) else {
        return;
    };
    assert!(!grant.is_expired(NOW_MS));
    let claims = grant.claims.as_deref().unwrap();
    let claims: Claims = serde_json::from_str(claims).unwrap();
    assert_eq!(claims.iss, "i");
    assert_eq!(claims.role == "read", grant.access == Access::ReadOnly);
    let opens = |store: &Value| store == STORE || store == "*";
    let stores = claims.stores.as_array();
    assert!(opens(&claims.stores) || stores.is_some_and(|stores| stores.iter().any(opens)));
    assert_eq!(Grant::from_json(&grant.json()), Some(grant));
}

/// What is found with a socket when an object wakes: it is no socket of ours, or one that is served on and whose
/// attachment, once written by this release, stays as it is.
pub fn attachments(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let _ = SyncBackend::<HostSql>::store_of(text);
    let mut object = Object::new(Family::Rpc);
    let Some(socket) = object.backend.reconnect(text, NOW_MS) else {
        return;
    };
    object.socket = socket;
    let Some(kept) = object.attachment() else {
        return;
    };
    object.backend = Object::backend(&object.sql);
    object.socket = object.backend.reconnect(&kept, NOW_MS).unwrap();
    assert_eq!(object.attachment().as_deref(), Some(&*kept));
    object.family = object.backend.pinging().unwrap();
    let mut turn: Turn<HostText> = Turn::at(NOW_MS);
    object.backend.on_wake(&mut turn);
    object.check();
}
