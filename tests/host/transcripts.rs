//! Recordings of real clients, replayed: the recorded client frames go in, and what comes out is
//! compared with what the recorded server sent, connection by connection, as parsed JSON.
//!
//! Each scenario is replayed twice, the second time with the object leaving memory before every frame.
//! [`scenarios`] says of each how it is compared and, with the reason, where we answer differently on
//! purpose. What differs everywhere is in [`normalized`] and [`Wire`], and nowhere else:
//!
//! - *times* are those of the replay; only their form is compared;
//! - *backend ids* are the recorded ones, since the replayed store starts with them;
//! - *`args`* of an event without any are `null` in every frame; the recorded broadcasts of 0.3 and 0.4
//!   leave the key out, which Effect 4 clients cannot read;
//! - *the end of a pull* carries `"value":null`, which both RPC generations read; 0.4 left it out;
//! - *interrupts* are always answered, once each, with the simplest cause that both generations read;
//! - *words* of parse errors are ours;
//! - *only live pulls subscribe*: what was recorded of a pull that is not live after its last page is
//!   left out;
//! - *windows*: pages follow each other without waiting for each acknowledgement, so the end of a pull
//!   may come although its last page was never acknowledged;
//! - *closing sockets* are sent nothing: what was recorded after a client's close is left out;
//! - *pongs* are counted, not placed: the runtime sends them by itself.

mod scenarios;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{ConnectionId, Frame, Output, Rules, SyncBackend, Turn};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{Limits, PLAIN_MEND_MS};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Sample, Speaker, batch_json};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

/// How the frames of a scenario are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    /// The same frames in the same order on each connection.
    Frames,
    /// The same, but that pages may be cut elsewhere: consecutive pages of a pull count as one.
    Events,
    /// The same, but that each pull gets each recorded event once and ascending.
    EventsOnce,
}

/// Something that happened during the recording and is not in it.
#[derive(Clone, Copy, Debug)]
enum Unseen {
    /// A connection that was not recorded pushed these events, in the words of the recorder.
    Pushed {
        at_ms: u64,
        events: (i64, i64),
        /// Bytes of padding in the args, 0 for a short text.
        padding: usize,
        /// Id of the push, where it shows.
        id: &'static str,
    },
    /// The object left memory.
    Evicted { at_ms: u64 },
    /// Someone changed the stored backend id, and the object started anew.
    BackendIdChanged { at_ms: u64, to: &'static str },
}

/// A connection whose recorded answers are not the ones we want to give; ours are as [`brief`] says
/// them.
struct Instead {
    conn: &'static str,
    frames: &'static [&'static str],
    why: &'static str,
}

struct Scenario {
    file: &'static str,
    compare: Compare,
    unseen: &'static [Unseen],
    instead: &'static [Instead],
}

/// One line of a recording.
#[derive(Debug, Deserialize)]
struct Line {
    t_ms: u64,
    dir: String,
    kind: String,
    #[serde(default)]
    conn: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    bytes: usize,
    #[serde(default)]
    url: String,
}

fn folder(generation: Generation) -> PathBuf {
    let name = match generation {
        Generation::V03 => "0.3.1",
        Generation::V04 => "0.4.0",
        Generation::V05 => "head-effect4",
    };
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(name)
}

fn read(generation: Generation, file: &str) -> Vec<Line> {
    let path = folder(generation).join(format!("{file}.ndjson"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A recorded frame with the ids that its generation writes.
///
/// The recorder's own requests have ids in strings, which is how 0.4 writes them. Where they were
/// recorded with an Effect 4 server they are replayed as the numbers that its clients send, so that
/// its dialect is what is compared. Ids that are no numbers stay as they are.
fn with_own_ids(generation: Generation, text: String) -> String {
    if generation != Generation::V05 {
        return text;
    }
    for key in [r#""id":""#, r#""requestId":""#] {
        let Some((before, after)) = text.split_once(key) else {
            continue;
        };
        let Some((id, after)) = after.split_once('"') else {
            continue;
        };
        let is_number = !id.is_empty() && id.len() < 16 && id.bytes().all(|b| b.is_ascii_digit());
        if is_number && before.len() < 40 {
            let key = key.trim_end_matches('"');
            return format!("{before}{key}{id}{after}");
        }
    }
    text
}

/// Writes out `<<x*N>>`, which stands for N times `x`.
fn expanded(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<<x*") {
        let (count, after) = after.split_once(">>").unwrap();
        out.push_str(before);
        out.push_str(&"x".repeat(count.parse().unwrap()));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A frame with everything that differs in every scenario taken out.
fn normalized(frame: &str) -> Value {
    let mut frame: Value = serde_json::from_str(frame).unwrap();
    if let Some(page) = page_of_mut(&mut frame) {
        for item in page["batch"].as_array_mut().unwrap() {
            let time = &mut item["metadata"]["value"]["createdAt"];
            let form = time.as_str().unwrap();
            let form = form.replace(|letter: char| letter.is_ascii_digit(), "0");
            assert_eq!(form, "0000-00-00T00:00:00.000Z");
            *time = json!("<time>");
            let event = item["eventEncoded"].as_object_mut().unwrap();
            event.entry("args").or_insert(Value::Null);
        }
    }
    if let Some(exit) = frame.get_mut("exit") {
        if exit["_tag"] == "Success" {
            exit.as_object_mut()
                .unwrap()
                .entry("value")
                .or_insert(Value::Null);
        } else if is_interrupt(&exit["cause"]) {
            exit["cause"] = json!("<interrupted>");
        } else {
            let cause = &mut exit["cause"];
            let cause = if cause.is_array() {
                &mut cause[0]
            } else {
                cause
            };
            without_words(cause);
        }
    }
    if frame["_tag"] == "Defect" && frame["defect"]["name"] == "SyntaxError" {
        frame["defect"]["message"] = json!("<words>");
    }
    frame
}

fn without_words(cause: &mut Value) {
    let is_unknown_tag = |text: &str| text.starts_with("Unknown request tag: ");
    if cause["_tag"] == "Die" && !cause["defect"].as_str().is_some_and(is_unknown_tag) {
        cause["defect"] = json!("<words>");
    }
    if cause["error"]["_tag"] == "UnknownError" {
        cause["error"] = json!({"_tag": "UnknownError", "cause": "<words>"});
    }
}

/// Whether a cause says nothing but that the request was interrupted.
fn is_interrupt(cause: &Value) -> bool {
    match cause {
        Value::Array(causes) => !causes.is_empty() && causes.iter().all(is_interrupt),
        cause => match cause["_tag"].as_str() {
            Some("Interrupt" | "Empty") => true,
            Some("Sequential" | "Parallel") => {
                is_interrupt(&cause["left"]) && is_interrupt(&cause["right"])
            }
            _ => false,
        },
    }
}

/// What went over one connection, normalized.
#[derive(Debug, Default)]
struct Wire {
    frames: Vec<Value>,
    pongs: usize,
    pings: usize,
    interrupted: usize,
    interrupts: usize,
    /// Pulls that are not live, and whether their last page was sent.
    short_pulls: BTreeMap<String, bool>,
    is_closed: bool,
}

impl Wire {
    /// Takes note of what the client asked for.
    fn asked(&mut self, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let requests = message.as_array().cloned().unwrap_or(vec![message]);
        for request in requests {
            match request["_tag"].as_str() {
                Some("Ping") => self.pings += 1,
                Some("WSMessage.Ping") if request["requestId"] == "ping" => self.pings += 1,
                Some("Interrupt") => self.interrupts += 1,
                _ => {}
            }
            if request["payload"]["live"] == json!(false) {
                self.short_pulls.insert(request["id"].to_string(), false);
            }
        }
    }

    fn sent(&mut self, text: &str) {
        if self.is_closed {
            return;
        }
        let frame = normalized(text);
        let tag = frame["_tag"].as_str().unwrap();
        if matches!(tag, "Pong" | "WSMessage.Pong") {
            self.pongs += 1;
            return;
        }
        if frame["exit"]["cause"] == "<interrupted>" {
            self.interrupted += 1;
            return;
        }
        if tag == "Chunk"
            && let Some(is_done) = self.short_pulls.get_mut(&frame["requestId"].to_string())
        {
            if *is_done {
                return;
            }
            *is_done = frame["values"][0]["pageInfo"]["_tag"] == "NoMore";
        }
        self.frames.push(frame);
    }

    /// Leaves out ends of pulls that `recorded` does not have, because it waited for an
    /// acknowledgement.
    fn settle(&mut self, recorded: &Self) {
        let has_end = |id: &Value| recorded.frames.iter().any(|frame| is_end(frame, id));
        let short_pulls = &self.short_pulls;
        self.frames.retain(|frame| {
            let id = &frame["requestId"];
            !is_end(frame, id) || !short_pulls.contains_key(&id.to_string()) || has_end(id)
        });
    }

    /// The frames as `compare` looks at them.
    fn seen(&self, compare: Compare) -> Vec<Value> {
        let mut seen: Vec<Value> = Vec::new();
        for frame in &self.frames {
            let is_page = page_of(frame).is_some();
            let before = match compare {
                Compare::Frames => None,
                Compare::Events => seen.last_mut(),
                Compare::EventsOnce => seen.iter_mut().find(|earlier| is_same_pull(earlier, frame)),
            };
            match before.filter(|before| is_page && is_same_pull(before, frame)) {
                None => seen.push(frame.clone()),
                Some(before) => {
                    let page = page_of(frame).unwrap().clone();
                    let whole = page_of_mut(before).unwrap();
                    for info in ["pageInfo", "remaining"] {
                        if let Some(info_of_page) = page.get(info) {
                            whole[info] = info_of_page.clone();
                        }
                    }
                    let more = page["batch"].as_array().unwrap().clone();
                    whole["batch"].as_array_mut().unwrap().extend(more);
                }
            }
        }
        if compare == Compare::EventsOnce {
            for page in seen.iter_mut().filter_map(page_of_mut) {
                let batch = page["batch"].as_array_mut().unwrap();
                batch.sort_by_key(number);
                batch.dedup();
            }
        }
        seen
    }

    /// The sequence numbers of each pull in the order they were sent.
    fn numbers(&self) -> BTreeMap<String, Vec<i64>> {
        let mut numbers: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for frame in self.frames.iter().filter(|frame| frame["_tag"] == "Chunk") {
            let batch = frame["values"][0]["batch"].as_array().unwrap();
            let pull = numbers.entry(frame["requestId"].to_string()).or_default();
            pull.extend(batch.iter().map(number));
        }
        numbers
    }
}

fn number(item: &Value) -> i64 {
    item["eventEncoded"]["seqNum"].as_i64().unwrap()
}

/// What of a frame holds a batch.
fn page_of(frame: &Value) -> Option<&Value> {
    match frame["_tag"].as_str() {
        Some("Chunk") => Some(&frame["values"][0]),
        Some("WSMessage.PullRes") => Some(frame),
        _ => None,
    }
}

fn page_of_mut(frame: &mut Value) -> Option<&mut Value> {
    match frame["_tag"].as_str() {
        Some("Chunk") => Some(&mut frame["values"][0]),
        Some("WSMessage.PullRes") => Some(frame),
        _ => None,
    }
}

fn is_same_pull(a: &Value, b: &Value) -> bool {
    page_of(a).is_some() && a["_tag"] == b["_tag"] && a["requestId"] == b["requestId"]
}

fn is_end(frame: &Value, id: &Value) -> bool {
    frame["_tag"] == "Exit"
        && frame["requestId"] == *id
        && frame["exit"]["value"] == Value::Null
        && frame["exit"]["_tag"] == "Success"
}

/// When the replay begins; it takes as long as the recording did.
const STARTED_MS: u64 = 1_795_342_751_954;

/// A store that is replayed to.
struct Replay {
    sql: HostSql,
    store_id: String,
    family: Family,
    backend: SyncBackend<HostSql>,
    /// The connection and what is kept with it, by its name in the recording.
    sockets: BTreeMap<String, (ConnectionId, String)>,
    ours: BTreeMap<String, Wire>,
    now_ms: u64,
}

fn open(sql: &HostSql, store_id: &str, backend_id: &str) -> SyncBackend<HostSql> {
    let fresh = BackendId::stored(backend_id.to_owned());
    let (store, _) = EventStore::open(sql.clone(), StoreId::new(store_id), fresh).unwrap();
    SyncBackend::new(store, Limits::default(), Rules::default(), fresh_ids(&[]))
}

impl Replay {
    fn new(lines: &[Line], family: Family) -> Self {
        let url = lines.iter().find(|line| !line.url.is_empty()).unwrap();
        let (_, store_id) = url.url.split_once("storeId=").unwrap();
        let store_id = store_id.split('&').next().unwrap().to_owned();
        let backend_id = lines
            .iter()
            .filter(|line| line.dir == "s2c")
            .find_map(|line| {
                let text = line.data.as_str()?;
                let keys = [r#""backendId":""#, r#""expected":""#];
                let (_, id) = keys.iter().find_map(|key| text.split_once(key))?;
                id.split('"').next()
            });
        let sql = HostSql::in_memory(Binding::Doubles);
        Self {
            backend: open(
                &sql,
                &store_id,
                backend_id.unwrap_or("no-backend-id-recorded"),
            ),
            sql,
            store_id,
            family,
            sockets: BTreeMap::new(),
            ours: BTreeMap::new(),
            now_ms: STARTED_MS,
        }
    }

    fn connect(&mut self, conn: &str) {
        let connection = self
            .backend
            .connect(self.family, Grant::default(), self.now_ms);
        let kept = self.backend.attachment(connection).unwrap();
        self.sockets.insert(conn.to_owned(), (connection, kept));
        self.ours.insert(conn.to_owned(), Wire::default());
    }

    fn disconnect(&mut self, conn: &str) {
        if let Some((connection, _)) = self.sockets.remove(conn) {
            self.turn(|backend, turn| backend.disconnect(connection, turn));
        }
    }

    fn send(&mut self, conn: &str, frame: Frame<'_>) {
        let (ping, answer) = self.family.auto_response();
        if matches!(frame, Frame::Text(text) if text == ping) {
            // The runtime answers this one.
            let wire = self.ours.get_mut(conn).unwrap();
            wire.pings += 1;
            return wire.sent(answer);
        }
        let text = match frame {
            Frame::Text(text) => Some(text),
            Frame::Binary(bytes) => std::str::from_utf8(bytes).ok(),
        };
        self.ours
            .get_mut(conn)
            .unwrap()
            .asked(text.unwrap_or_default());
        let Some((connection, _)) = self.sockets.get(conn) else {
            return;
        };
        let connection = *connection;
        self.turn(|backend, turn| backend.on_frame(connection, frame, turn));
    }

    fn turn(&mut self, work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>)) {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        let mut is_alarm_due = false;
        for output in turn.out {
            let name = |connection| {
                let mut sockets = self.sockets.iter();
                let socket = sockets.find(|(_, (known, _))| *known == connection);
                socket.map(|(name, _)| name.clone())
            };
            match output {
                Output::Send { to, frame, .. } => {
                    let name = name(to).expect("sent to a connection");
                    self.ours.get_mut(&name).unwrap().sent(frame.as_str());
                }
                Output::Remember { connection } => {
                    let name = name(connection).expect("a connection is remembered");
                    let kept = self.backend.attachment(connection).unwrap();
                    self.sockets.get_mut(&name).unwrap().1 = kept;
                }
                Output::WakeAt { at_ms } => {
                    // Or later, if a client that is behind does not pull by itself, which the recorded ones have done.
                    let is_at_once = at_ms == self.now_ms;
                    assert!((self.now_ms..=self.now_ms + PLAIN_MEND_MS).contains(&at_ms));
                    is_alarm_due |= is_at_once;
                }
                Output::Probe { .. }
                | Output::ForgetAlarm
                | Output::Ask(_)
                | Output::Fetch(_)
                | Output::Deliver(_) => {
                    panic!("nobody is late, hooked or following, and no rows are changed")
                }
                Output::Close {
                    connection, code, ..
                } => {
                    let name = name(connection).expect("a connection is closed");
                    self.closed(&name, code);
                    self.sockets.remove(&name);
                }
                Output::Report(_) => {}
            }
        }
        if is_alarm_due {
            self.turn(SyncBackend::on_alarm);
        }
    }

    fn closed(&mut self, name: &str, code: u16) {
        let wire = self.ours.get_mut(name).unwrap();
        wire.frames.push(json!({"closed": code}));
    }

    fn evict(&mut self) {
        self.backend = open(&self.sql, &self.store_id, "a-second-fresh-id----");
        let sockets = std::mem::take(&mut self.sockets);
        for (name, (_, kept)) in sockets {
            match self.backend.reconnect(&kept, self.now_ms) {
                Some(connection) => {
                    self.sockets.insert(name, (connection, kept));
                }
                // What the runtime's side does with the socket of another lifetime.
                None => self.closed(&name, 1012),
            }
        }
        self.turn(SyncBackend::on_wake);
    }

    /// Does what the recording does not show.
    fn act(&mut self, unseen: Unseen, generation: Generation) {
        match unseen {
            Unseen::Evicted { .. } => self.evict(),
            Unseen::BackendIdChanged { to, .. } => {
                self.sql
                    .set_up(&format!("UPDATE context_7 SET backendId = '{to}'"));
                self.evict();
            }
            Unseen::Pushed {
                events: (first, last),
                padding,
                id,
                ..
            } => {
                let events: Vec<Sample> = (first..=last)
                    .map(|seq_num| recorders(seq_num, padding))
                    .collect();
                self.connect("unseen");
                for batch in events.chunks(100) {
                    let store_id = &self.store_id.clone();
                    let speaker = Speaker {
                        generation,
                        store_id,
                    };
                    let id = match generation {
                        Generation::V05 => "900".to_owned(),
                        Generation::V03 | Generation::V04 => format!("\"{id}\""),
                    };
                    let frame = speaker.push(&id, None, &batch_json(batch));
                    self.send("unseen", Frame::Text(&frame));
                }
                self.disconnect("unseen");
                self.ours.remove("unseen");
            }
        }
    }
}

/// An event as the recorder made them.
fn recorders(seq_num: i64, padding: usize) -> Sample {
    let args = match padding {
        0 => format!(r#"{{"id":"id-{seq_num}","text":"todo {seq_num}"}}"#),
        bytes => format!(r#"{{"pad":"{}"}}"#, "x".repeat(bytes)),
    };
    Sample {
        args: Some(args),
        ..Sample::new(seq_num)
    }
}

impl Unseen {
    fn at_ms(self) -> u64 {
        match self {
            Self::Pushed { at_ms, .. }
            | Self::Evicted { at_ms }
            | Self::BackendIdChanged { at_ms, .. } => at_ms,
        }
    }
}

/// What the recorded server sent, and what we send to the same client frames.
fn replay(
    generation: Generation,
    scenario: &Scenario,
    is_evicting: bool,
) -> [BTreeMap<String, Wire>; 2] {
    let lines = read(generation, scenario.file);
    let mut replay = Replay::new(&lines, generation.family());
    let mut recorded: BTreeMap<String, Wire> = BTreeMap::new();
    let mut unseen = scenario.unseen.iter().copied().peekable();
    for line in &lines {
        while let Some(next) = unseen.next_if(|next| next.at_ms() <= line.t_ms) {
            replay.act(next, generation);
        }
        replay.now_ms = STARTED_MS + line.t_ms;
        let wire = recorded.entry(line.conn.clone()).or_default();
        match (line.dir.as_str(), line.kind.as_str()) {
            ("s2c", "ws-open") => replay.connect(&line.conn),
            ("c2s", kind @ ("ws-text" | "ws-binary")) => {
                if is_evicting {
                    replay.evict();
                }
                let data = expanded(line.data.as_str().unwrap());
                let sent = if kind == "ws-text" {
                    data.into_bytes()
                } else {
                    STANDARD.decode(&data).unwrap()
                };
                assert_eq!(sent.len(), line.bytes, "{}", scenario.file);
                match String::from_utf8(sent) {
                    Ok(text) => {
                        let text = with_own_ids(generation, text);
                        wire.asked(&text);
                        let frame = if kind == "ws-text" {
                            Frame::Text(&text)
                        } else {
                            Frame::Binary(text.as_bytes())
                        };
                        replay.send(&line.conn, frame);
                    }
                    Err(error) => replay.send(&line.conn, Frame::Binary(error.as_bytes())),
                }
            }
            ("s2c", "ws-text") => {
                let text = expanded(line.data.as_str().unwrap());
                wire.sent(&with_own_ids(generation, text));
            }
            ("c2s" | "s2c", "ws-close") => {
                wire.is_closed = true;
                replay.disconnect(&line.conn);
            }
            _ => {}
        }
    }
    assert!(
        unseen.peek().is_none(),
        "{}: something unseen never happened",
        scenario.file
    );
    recorded.retain(|conn, _| replay.ours.contains_key(conn));
    [recorded, replay.ours]
}

fn check(
    generation: Generation,
    scenario: &Scenario,
    is_evicting: bool,
) -> Result<usize, Vec<String>> {
    let mut wrong = Vec::new();
    let [recorded, mut ours] = replay(generation, scenario, is_evicting);
    let mut frames = 0;
    for (conn, recorded) in &recorded {
        let ours = ours.get_mut(conn).unwrap();
        let at = format!("{generation:?}/{} {conn}", scenario.file);
        ours.settle(recorded);
        let expected = recorded.seen(scenario.compare);
        let found = ours.seen(scenario.compare);
        let [brief_expected, brief_found] =
            [&expected, &found].map(|frames| frames.iter().map(brief).collect::<Vec<_>>());
        if let Some(instead) = scenario.instead.iter().find(|other| other.conn == conn) {
            if brief_expected == instead.frames {
                wrong.push(format!("{at} is no difference: {}", instead.why));
            } else if brief_found != instead.frames {
                wrong.push(format!(
                    "{at}, where {}:\n  expected {:?}\n  found    {brief_found:?}",
                    instead.why, instead.frames
                ));
            }
        } else if expected != found {
            let index = expected
                .iter()
                .zip(&found)
                .take_while(|(a, b)| a == b)
                .count();
            let [expected, found] = [&expected, &found].map(|frames| short(frames.get(index)));
            wrong.push(format!(
                "{at}, frame {index}:\n  expected {expected}\n  found    {found}\n  \
                 all expected {brief_expected:?}\n  all found    {brief_found:?}"
            ));
        }
        frames += found.len();
        if (ours.pongs, ours.interrupted) != (ours.pings, ours.interrupts) {
            wrong.push(format!(
                "{at}: not every ping and interrupt is answered: {ours:?}"
            ));
        }
        for (pull, numbers) in ours.numbers() {
            if !numbers.is_sorted_by(|a, b| a < b) {
                wrong.push(format!("{at}: pull {pull} got {numbers:?}"));
            }
        }
    }
    for instead in scenario.instead {
        assert!(
            recorded.contains_key(instead.conn),
            "{}: no {}",
            scenario.file,
            instead.conn
        );
    }
    if wrong.is_empty() {
        Ok(frames)
    } else {
        Err(wrong)
    }
}

/// A frame in a few words.
fn brief(frame: &Value) -> String {
    let id = &frame["requestId"];
    match frame["_tag"].as_str() {
        Some("Chunk") => {
            let page = &frame["values"][0];
            let more = page["pageInfo"]["remaining"].as_u64();
            let more = more.map_or_else(|| "NoMore".to_owned(), |more| format!("+{more}"));
            format!("Chunk {id}: {} {more}", brief_batch(&page["batch"]))
        }
        Some("WSMessage.PullRes") => {
            let (context, id) = (&id["context"], &id["requestId"]);
            let more = &frame["remaining"];
            format!(
                "PullRes {context} {id}: {} +{more}",
                brief_batch(&frame["batch"])
            )
        }
        Some("Exit") => {
            let exit = &frame["exit"];
            match &exit["cause"] {
                Value::Null => format!("Exit {id} Success {}", exit["value"]),
                Value::Array(causes) => format!("Exit {id} Failure [{}]", brief_cause(&causes[0])),
                cause => format!("Exit {id} Failure {}", brief_cause(cause)),
            }
        }
        Some("Defect") => format!("Defect {}", frame["defect"]),
        Some("WSMessage.Error") => format!("Error {id} {}", frame["message"]),
        Some(tag) => format!("{} {id}", tag.trim_start_matches("WSMessage.")),
        None => frame.to_string(),
    }
}

fn brief_cause(cause: &Value) -> String {
    let error = &cause["error"];
    match error["_tag"].as_str() {
        Some("ServerAheadError") => {
            let (head, parent) = (&error["minimumExpectedNum"], &error["providedNum"]);
            format!("ServerAheadError head {head}, parent {parent}")
        }
        Some(tag) => tag.to_owned(),
        None => format!("{} {}", cause["_tag"].as_str().unwrap(), cause["defect"]),
    }
}

fn brief_batch(batch: &Value) -> String {
    let numbers: Vec<i64> = batch.as_array().unwrap().iter().map(number).collect();
    match numbers[..] {
        [] => "none".to_owned(),
        [first, .., last] if numbers.windows(2).all(|pair| pair[1] == pair[0] + 1) => {
            format!("{first}-{last}")
        }
        _ => numbers
            .iter()
            .map(i64::to_string)
            .collect::<Vec<_>>()
            .join(","),
    }
}

fn short(frame: Option<&Value>) -> String {
    let text = frame.map_or_else(|| "nothing".to_owned(), Value::to_string);
    let letters: Vec<char> = text.chars().collect();
    match letters.len() {
        0..400 => text,
        count => {
            let [start, end] = [&letters[..220], &letters[count - 170..]].map(String::from_iter);
            format!("{start}…{end}")
        }
    }
}

fn check_all(generation: Generation, scenarios: &[Scenario]) {
    let mut wrong = Vec::new();
    let (mut frames, mut replays) = (0, 0);
    for scenario in scenarios {
        for is_evicting in [false, true] {
            match check(generation, scenario, is_evicting) {
                Ok(count) => frames += count,
                Err(errors) => {
                    let how = if is_evicting { "evicting, " } else { "" };
                    wrong.extend(errors.iter().map(|error| format!("{how}{error}")));
                }
            }
            replays += 1;
        }
    }
    println!("{replays} replays, {frames} frames compared");
    assert!(
        wrong.is_empty(),
        "{} of {replays}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(frames > 0);
    let stored: BTreeSet<String> = std::fs::read_dir(folder(generation))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let listed: BTreeSet<String> = scenarios
        .iter()
        .map(|scenario| format!("{}.ndjson", scenario.file))
        .collect();
    assert_eq!(
        stored, listed,
        "every recording is replayed, and none twice"
    );
    assert_eq!(listed.len(), scenarios.len());
}

#[test]
fn clients_of_0_3_get_what_was_recorded() {
    check_all(Generation::V03, scenarios::V03);
}

#[test]
fn clients_of_0_4_get_what_was_recorded() {
    check_all(Generation::V04, scenarios::V04);
}

#[test]
fn clients_of_the_effect_4_line_get_what_was_recorded() {
    check_all(Generation::V05, scenarios::V05);
}
