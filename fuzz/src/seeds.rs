//! What the targets begin with: what recorded clients have sent (`tests/transcripts`), and what it leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livestore_sync_worker::backend::Frame;
use livestore_sync_worker::wire::Generation;
use serde::Deserialize;

use super::bodies::{self, Object, SEPARATOR, STORE, mark_of};

/// A target: its name, what holds for any input, and its seeds.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its file in `fuzz/fuzz_targets`.
    pub name: &'static str,
    /// Panics if what holds for any input does not for this.
    pub body: fn(&[u8]),
    /// Inputs that are right, or nearly.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 4] = [
    Target {
        name: "frames",
        body: bodies::frames,
        seeds: frames,
    },
    Target {
        name: "msgpack",
        body: bodies::msgpack,
        seeds: msgpack,
    },
    Target {
        name: "tokens",
        body: bodies::tokens,
        seeds: tokens,
    },
    Target {
        name: "attachments",
        body: bodies::attachments,
        seeds: attachments,
    },
];

/// Larger recordings show nothing that smaller ones do not, and are changed in few places.
const SEED_BYTES_MAX: usize = 16_384;

/// A line of a recording.
#[derive(Deserialize)]
struct Line {
    dir: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    conn: serde_json::Value,
    data: Option<serde_json::Value>,
    url: Option<String>,
    base64: Option<String>,
}

/// The recordings in a folder, each as its lines.
fn recordings(folder: &str) -> Vec<Vec<Line>> {
    // The crate that is compiled is this one, or the library with its tests.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let roots = [here.to_owned(), here.join("..")];
    let is_root = |root: &&PathBuf| root.join("tests/transcripts").is_dir();
    let root = roots.iter().find(is_root).expect("tests/transcripts");
    let path = root.join("tests/transcripts").join(folder);
    let files = fs::read_dir(&path).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let lines = |file: &PathBuf| -> Vec<Line> {
        let text = fs::read_to_string(file).unwrap();
        text.lines()
            .map(|line| {
                serde_json::from_str(line)
                    .unwrap_or_else(|error| panic!("{}: {error}", file.display()))
            })
            .collect()
    };
    files.iter().map(lines).collect()
}

/// What the clients of each recorded connection sent, in order, as if it were to [`STORE`].
fn sent() -> Vec<(Generation, Vec<String>)> {
    let releases = [
        ("0.3.1", Generation::V03),
        ("0.4.0", Generation::V04),
        ("head-effect4", Generation::V05),
    ];
    let mut all = Vec::new();
    for (folder, generation) in releases {
        for lines in recordings(folder) {
            let url = lines.iter().find_map(|line| line.url.clone());
            let store = url.and_then(|url| {
                let (_, rest) = url.split_once("storeId=")?;
                Some(rest.split('&').next()?.to_owned())
            });
            let mut connections: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for line in &lines {
                let (Some("c2s"), Some("ws-text"), Some(serde_json::Value::String(data))) =
                    (line.dir.as_deref(), line.kind.as_deref(), &line.data)
                else {
                    continue;
                };
                let frame = store
                    .as_deref()
                    .map_or_else(|| data.clone(), |store| data.replace(store, STORE));
                let frames = connections.entry(line.conn.to_string()).or_default();
                frames.push(frame);
            }
            all.extend(connections.into_values().map(|frames| (generation, frames)));
        }
    }
    all
}

/// Seeds of `bodies::frames`.
fn frames() -> Vec<Vec<u8>> {
    let separator = char::from(SEPARATOR).to_string();
    let seed = |(generation, frames): (Generation, Vec<String>)| {
        [&[mark_of(generation)], frames.join(&separator).as_bytes()].concat()
    };
    distinct(sent().into_iter().map(seed))
}

/// Seeds of `bodies::msgpack`: bytes of clients and servers, and the texts that some of them are of.
fn msgpack() -> Vec<Vec<u8>> {
    let folders = ["do-rpc/0.4.0", "do-rpc/head-effect4", "msgpack"];
    let lines = folders.into_iter().flat_map(recordings).flatten();
    let base64 = lines.filter_map(|line| line.base64);
    let texts = sent().into_iter().flat_map(|(_, frames)| frames);
    distinct(
        base64
            .map(|text| STANDARD.decode(&text).unwrap())
            .chain(texts.map(String::into_bytes)),
    )
}

/// Seeds of `bodies::tokens`; recordings have no signed tokens.
fn tokens() -> Vec<Vec<u8>> {
    let headers = [
        r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#,
        r#"{"alg":"HS256"}"#,
    ];
    let claims = [
        r#"{"iss":"i","aud":["a","b"],"exp":1795342752.5,"nbf":1,"stores":["fuzzed"],"role":"read"}"#,
        r#"{"iss":"i","aud":"a","stores":"*","role":"write","sub":"é\u0000\ud83d\ude00"}"#,
    ];
    let payloads = [
        r#"{"authToken":"a-token"}"#,
        "Bearer a-token",
        "theme=dark; authToken=\"a-token\"",
        r#"{"authToken":"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJpIn0.c2ln"}"#,
        r#"{"access":"read","claims":{"sub":"u"},"expiresAtMs":1800000000000,"payload":[1],"headers":{"a":"b"}}"#,
    ];
    let mut seeds = Vec::new();
    for payload in payloads {
        for (header, claims) in headers.iter().zip(claims) {
            let separator = char::from(SEPARATOR).to_string();
            seeds.push([payload, header, claims].join(&separator).into_bytes());
        }
    }
    seeds
}

/// Seeds of `bodies::attachments`: what is kept with a socket after each recorded frame, and what sync-cf keeps.
fn attachments() -> Vec<Vec<u8>> {
    let sync_cf = [
        r#"{"storeId":"fuzzed","pullRequestIds":["1","26"]}"#,
        r#"{"storeId":"fuzzed","payload":{"authToken":"a"},"headers":{"x-user":"u"},"pullRequestIds":[]}"#,
        r#"{"storeId":"fuzzed"}"#,
        r#"{"format":2,"storeId":"fuzzed","pullRequestIds":["1"],"grant":{"access":"read","claims":{"sub":"u"},"expiresAtMs":1800000000000}}"#,
    ];
    let mut seeds: Vec<Vec<u8>> = sync_cf.map(|text| text.as_bytes().to_vec()).into();
    for (generation, frames) in sent() {
        let mut object = Object::new(generation.family());
        for frame in frames {
            object.take(Frame::Text(&frame));
            seeds.extend(object.attachment().map(String::into_bytes));
        }
    }
    distinct(seeds.into_iter())
}

/// The seeds that are small enough, each once.
fn distinct(seeds: impl Iterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = seeds.filter(|seed| seed.len() <= SEED_BYTES_MAX).collect();
    seeds.sort();
    seeds.dedup();
    seeds
}
