//! The log under any history: model clients of every generation push and pull, lose acknowledgements
//! and connections, the object is evicted and wakes, storage fails. After each step everything that was
//! sent and stored is compared with a plain list of events.

mod histories;

use std::cell::RefCell;
use std::collections::BTreeSet;

use livestore_sync_worker::backend::{ConnectionId, Frame, Output, SyncBackend};
use livestore_sync_worker::event::{BackendId, Event, StoreId};
use livestore_sync_worker::eventlog::split;
use livestore_sync_worker::limits::{
    ATTACHMENT_BYTES_MAX, Limits, PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PULL_PATIENCE_MS, WINDOW_PAGES,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::cases;
use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear, interrupt, seq_num};
use crate::host_sql::{Binding, HostSql, HostText, When};

const STORE: &str = "model-store";
const BACKEND: &str = "backend-of-the-model-";
/// Stands in all args, and must never stand in a report.
const SECRET: &str = "sekret";

const LIMITS: Limits = Limits {
    event_bytes_max: 1_000_000,
    batch_events_max: 600,
    frame_bytes_max: 3_000_000,
    connections_max: 100,
};

/// What a model client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tongue {
    One(Generation),
    /// Both RPC generations on one socket.
    Both,
}

impl Tongue {
    fn generation(self, second: bool) -> Generation {
        match (self, second) {
            (Self::One(generation), _) => generation,
            (Self::Both, false) => Generation::V04,
            (Self::Both, true) => Generation::V05,
        }
    }
}

#[derive(Clone, Debug)]
enum PushKind {
    /// Continues from the head.
    Right { sizes: Sizes },
    /// Other events than those stored since.
    Stale { back: u8, sizes: Sizes },
    /// Continues from beyond the head.
    Future { ahead: u8 },
    /// Leaves a number out in the middle.
    Gapped { at: u8 },
    /// An event in the middle names another parent.
    Unchained { at: u8 },
    /// The last `back` stored events again, as after a lost acknowledgement, and new ones.
    Repeated { back: u8, new: u8 },
    /// The same with one of them changed.
    Altered { back: u8, new: u8 },
    /// No events.
    Empty,
    /// An event larger than the store takes.
    Oversized,
    /// More events than a push may carry.
    TooMany,
    /// Numbers that are none.
    OutOfRange { seq_num: i64 },
}

#[derive(Clone, Debug)]
enum Sizes {
    Few(u8),
    Many(u16),
    /// Args of these many kilobytes.
    Large(Vec<u16>),
}

/// Which log a request claims to be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claim {
    Right,
    NoBackend,
    WrongBackend,
    ForeignStore,
}

#[derive(Clone, Copy, Debug)]
enum Cursor {
    Start,
    BelowHead(u16),
    BeyondHead(u8),
    Anywhere(i64),
}

#[derive(Clone, Debug)]
enum Op {
    Connect {
        client: u8,
    },
    Disconnect {
        client: u8,
    },
    Push {
        client: u8,
        second: bool,
        kind: PushKind,
        claim: Claim,
    },
    /// Pushes one after the other, without an acknowledgement by anyone.
    PushMany {
        client: u8,
        pushes: u8,
    },
    Pull {
        client: u8,
        second: bool,
        from: Cursor,
        live: bool,
        claim: Claim,
        same_id: bool,
    },
    Ack {
        client: u8,
        pull: u8,
        pages: u8,
    },
    AckOld {
        client: u8,
    },
    Interrupt {
        client: u8,
        pull: u8,
    },
    InterruptPush {
        client: u8,
    },
    Ping {
        client: u8,
    },
    Resume,
    Evict,
    Fail {
        skip: u8,
        count: u8,
        after: bool,
    },
    Wait {
        ms: u16,
    },
    SetClock {
        ms: u32,
    },
}

/// The log that a history starts with.
#[derive(Clone, Copy, Debug)]
struct Existing {
    events: u16,
    /// Bytes of the args of each, 0 for those of a plain event.
    bytes: usize,
}

/// An event of the reference.
#[derive(Clone, Debug)]
struct Stored {
    event: Sample,
    delivered: Value,
    created_at: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Paging,
    Live,
    Done,
}

#[derive(Clone, Debug)]
struct Pull {
    id: String,
    live: bool,
    /// The last event it got, or its cursor.
    last: i64,
    state: State,
    /// Chunks that the client has not acknowledged.
    unacked: u32,
    /// The same as this life of the object can know.
    window: u32,
    /// Whether it started beyond the head.
    is_ahead: bool,
    /// Pages and broadcasts it got.
    chunks: u32,
    /// Whether the object left memory since it began.
    has_slept: bool,
}

#[derive(Debug)]
struct Socket {
    connection: ConnectionId,
    kept: String,
    pulls: Vec<Pull>,
    first_request: Option<u64>,
    /// Since when its client has been expected to pull.
    awaiting_pull_since_ms: Option<u64>,
}

#[derive(Debug)]
struct Client {
    tongue: Tongue,
    /// As in a real process: never reset, shared by all sockets.
    next_id: u64,
    socket: Option<Socket>,
}

/// What one turn of the object did.
struct Turn {
    frames: Vec<(usize, Heard)>,
    closed: BTreeSet<usize>,
    /// Whether storage failed in it.
    has_failed: bool,
}

struct World {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    clients: Vec<Client>,
    log: Vec<Stored>,
    /// A head that was ahead of the log when it was adopted.
    kept_head: i64,
    now_ms: u64,
    is_resume_due: bool,
    /// Who must be closed in the turn to come.
    overdue: BTreeSet<usize>,
    seen: Seen,
}

/// How often something worth testing happened: a model in which it never does proves nothing.
#[derive(Clone, Debug, Default)]
struct Seen {
    appended: u32,
    repeated: u32,
    refused: u32,
    broadcasts: u32,
    pages: u32,
    /// Pages that came after an eviction, to a pull from before it.
    pages_after_waking: u32,
    full_windows: u32,
    /// Broadcasts that had to wait for acknowledgements.
    slow_listeners: u32,
    /// Pushes during which some pull had pages to come.
    pushes_while_paging: u32,
    storage_failures: u32,
    /// Connections closed because storage failed.
    closed: u32,
    /// Connections closed because they never pulled.
    overdue: u32,
    /// Pulls from beyond the head that were overtaken by it.
    overtaken: u32,
}

impl Seen {
    fn counts(&mut self) -> [&mut u32; 13] {
        [
            &mut self.appended,
            &mut self.repeated,
            &mut self.refused,
            &mut self.broadcasts,
            &mut self.pages,
            &mut self.pages_after_waking,
            &mut self.full_windows,
            &mut self.slow_listeners,
            &mut self.pushes_while_paging,
            &mut self.storage_failures,
            &mut self.closed,
            &mut self.overdue,
            &mut self.overtaken,
        ]
    }

    fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
    }

    fn is_everything(&self) -> bool {
        self.clone().counts().into_iter().all(|count| *count > 0)
    }
}

fn open(sql: &HostSql) -> Result<EventStore<HostSql>, String> {
    let fresh = BackendId::stored(BACKEND.to_owned());
    EventStore::open(sql.clone(), StoreId::new(STORE), fresh)
        .map(|(store, _)| store)
        .map_err(|error| error.to_string())
}

impl World {
    /// A store that holds events already, and a stored head `ahead` of them.
    fn new(tongues: &[Tongue], existing: Existing, ahead: u8, binding: Binding) -> Self {
        let sql = HostSql::in_memory(binding);
        open(&sql).unwrap();
        let created_at = "2025-01-01T00:00:00.000Z";
        let log: Vec<Stored> = (1..=i64::from(existing.events))
            .map(|seq_num| {
                let event = match existing.bytes {
                    0 => Sample::new(seq_num),
                    bytes => Sample::padded(seq_num, bytes),
                };
                let (delivered, created_at) = (event.delivered(), created_at.to_owned());
                Stored {
                    event,
                    delivered,
                    created_at,
                }
            })
            .collect();
        sql.set_up("BEGIN");
        for Stored { event, .. } in &log {
            let mut insert = sql
                .raw()
                .prepare_cached(
                    "INSERT INTO eventlog_7_model_store VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .unwrap();
            let (seq_num, parent_seq_num) = (event.seq_num, event.parent_seq_num);
            let (name, args) = (&event.name, &event.args);
            let (client_id, session_id) = (&event.client_id, &event.session_id);
            insert
                .execute((
                    seq_num,
                    parent_seq_num,
                    name,
                    args,
                    created_at,
                    client_id,
                    session_id,
                ))
                .unwrap();
        }
        sql.set_up("COMMIT");
        let kept_head = i64::from(existing.events) + i64::from(ahead);
        sql.set_up(&format!("UPDATE context_7 SET currentHead = {kept_head}"));
        let backend = SyncBackend::new(open(&sql).unwrap(), LIMITS);
        let clients = tongues
            .iter()
            .zip(0..)
            .map(|(tongue, index)| Client {
                tongue: *tongue,
                next_id: index * 10,
                socket: None,
            })
            .collect();
        Self {
            sql,
            backend,
            clients,
            log,
            kept_head,
            now_ms: 1_795_345_151_954,
            is_resume_due: false,
            overdue: BTreeSet::new(),
            seen: Seen::default(),
        }
    }

    fn last_stored(&self) -> i64 {
        self.log.last().map_or(0, |stored| stored.event.seq_num)
    }

    fn head(&self) -> i64 {
        self.last_stored().max(self.kept_head)
    }

    /// The stored events after `after`.
    fn after(&self, after: i64) -> &[Stored] {
        let index = self
            .log
            .partition_point(|stored| stored.event.seq_num <= after);
        &self.log[index..]
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Connect { client } => self.connect(client),
            Op::Disconnect { client } => self.disconnect(client),
            Op::Push {
                client,
                second,
                kind,
                claim,
            } => self.push(client, second, &kind, claim),
            Op::PushMany { client, pushes } => {
                for _ in 0..pushes {
                    let sizes = Sizes::Few(1);
                    self.push(client, false, &PushKind::Right { sizes }, Claim::Right);
                }
            }
            Op::Pull {
                client,
                second,
                from,
                live,
                claim,
                same_id,
            } => {
                self.pull(client, second, from, live, claim, same_id);
            }
            Op::Ack {
                client,
                pull,
                pages,
            } => self.ack_pages(client, pull, pages),
            Op::AckOld { client } => self.ack_old(client),
            Op::Interrupt { client, pull } => self.interrupt(client, pull),
            Op::InterruptPush { client } => self.interrupt_push(client),
            Op::Ping { client } => self.ping(client),
            Op::Resume => self.resume(),
            Op::Evict => self.evict(),
            Op::Fail { skip, count, after } => {
                let when = if after { When::After } else { When::Before };
                self.sql
                    .fail_run(usize::from(skip), usize::from(count), when);
            }
            Op::Wait { ms } => self.now_ms += u64::from(ms),
            Op::SetClock { ms } => self.now_ms = 1_700_000_000_000 + u64::from(ms),
        }
        self.check();
    }

    fn index(&self, client: u8) -> usize {
        usize::from(client) % self.clients.len()
    }

    /// The client, connected.
    fn connected(&mut self, client: u8) -> usize {
        let index = self.index(client);
        if self.clients[index].socket.is_none() {
            self.connect(client);
        }
        index
    }

    fn is_plain(&self, index: usize) -> bool {
        self.clients[index].tongue == Tongue::One(Generation::V03)
    }

    fn socket(&mut self, index: usize) -> &mut Socket {
        self.clients[index].socket.as_mut().unwrap()
    }

    fn connect(&mut self, client: u8) {
        let index = self.index(client);
        self.disconnect(client);
        let family = self.clients[index].tongue.generation(false).family();
        let connection = self.backend.connect(family, self.now_ms);
        let kept = self.backend.attachment(connection).unwrap();
        let others: Vec<_> = self
            .clients
            .iter()
            .filter_map(|client| client.socket.as_ref())
            .collect();
        assert!(others.iter().all(|other| other.connection != connection));
        self.clients[index].socket = Some(Socket {
            connection,
            kept,
            pulls: Vec::new(),
            first_request: None,
            awaiting_pull_since_ms: (family == Family::Rpc).then_some(self.now_ms),
        });
    }

    fn disconnect(&mut self, client: u8) {
        let index = self.index(client);
        if let Some(socket) = self.clients[index].socket.take() {
            self.backend.disconnect(socket.connection);
        }
    }

    /// One frame, one turn.
    fn send(&mut self, index: usize, frame: &str) -> Turn {
        let connection = self.socket(index).connection;
        let now_ms = self.now_ms;
        self.turn(|backend, out| backend.on_frame(connection, Frame::Text(frame), now_ms, out))
    }

    fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Vec<Output<HostText>>),
    ) -> Turn {
        let failed_before = self.sql.failures();
        let mut out = Vec::new();
        work(&mut self.backend, &mut out);
        let has_failed = self.sql.failures() > failed_before;
        let mut turn = Turn {
            frames: Vec::new(),
            closed: BTreeSet::new(),
            has_failed,
        };
        self.seen.storage_failures += u32::from(has_failed);
        for output in out {
            match output {
                Output::Send { to, frame } => {
                    let index = self.whose(to);
                    // A host has no socket any more for what follows a close.
                    if let Some(index) = index.filter(|index| !turn.closed.contains(index)) {
                        let family = self.clients[index].tongue.generation(false).family();
                        turn.frames.push((index, hear(family, frame.as_str())));
                    }
                }
                Output::Remember { connection } => {
                    let kept = self.backend.attachment(connection);
                    if let (Some(index), Some(kept)) = (self.whose(connection), kept) {
                        assert!(kept.len() <= ATTACHMENT_BYTES_MAX);
                        self.socket(index).kept = kept;
                    }
                }
                Output::Close {
                    connection, code, ..
                } => {
                    let index = self.whose(connection).expect("a known socket is closed");
                    assert!(code == 1011 || code == 1012);
                    assert!(
                        self.backend.attachment(connection).is_none(),
                        "forgotten first"
                    );
                    turn.closed.insert(index);
                }
                Output::Resume => self.is_resume_due = true,
                Output::Report(report) => {
                    let report = format!("{report} {report:?}");
                    assert!(
                        !report.contains(SECRET) && !report.contains("id-1"),
                        "{report}"
                    );
                }
            }
        }
        turn
    }

    fn whose(&self, connection: ConnectionId) -> Option<usize> {
        self.clients.iter().position(|client| {
            client
                .socket
                .as_ref()
                .is_some_and(|socket| socket.connection == connection)
        })
    }

    /// A request id that this process has not used yet.
    fn new_id(&mut self, index: usize, generation: Generation) -> String {
        let client = &mut self.clients[index];
        client.next_id += 1;
        let counter = client.next_id;
        if generation != Generation::V03 {
            self.socket(index).first_request.get_or_insert(counter);
        }
        Speaker {
            generation,
            store_id: STORE,
        }
        .id(counter)
    }

    // --- pushes ---

    fn push(&mut self, client: u8, second: bool, kind: &PushKind, claim: Claim) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(second);
        let events = self.events(index, kind);
        let id = self.new_id(index, generation);
        let (store_id, backend_id) = match claim {
            Claim::Right => (STORE, Some(BACKEND)),
            Claim::NoBackend => (STORE, None),
            Claim::WrongBackend => (STORE, Some("of-another-life")),
            Claim::ForeignStore => ("another-store", Some(BACKEND)),
        };
        let frame = Speaker {
            generation,
            store_id,
        }
        .push(&id, backend_id, &batch_json(&events));
        let claim = if generation == Generation::V03 {
            Claim::Right
        } else {
            claim
        };
        let expected = self.expect_push(&events, claim, frame.len());
        self.expect_overdue(index, claim, frame.len());
        let turn = self.send(index, &frame);
        self.finish_push(index, &id, generation, expected, &turn);
    }

    /// The events of a push of this kind.
    fn events(&self, index: usize, kind: &PushKind) -> Vec<Sample> {
        let head = self.head();
        let new =
            |after: i64, count: i64| (after + 1..=after + count).map(|n| self.fresh(index, n));
        let sized = |after: i64, sizes: &Sizes| -> Vec<Sample> {
            match sizes {
                Sizes::Few(count) => new(after, i64::from(*count)).collect(),
                Sizes::Many(count) => new(after, i64::from(*count)).collect(),
                Sizes::Large(kilobytes) => kilobytes
                    .iter()
                    .zip(after + 1..)
                    .map(|(kilobytes, seq_num)| Sample {
                        client_id: format!("client-{index}"),
                        ..Sample::padded(seq_num, usize::from(*kilobytes) * 1000)
                    })
                    .collect(),
            }
        };
        match kind {
            PushKind::Right { sizes } => sized(head, sizes),
            PushKind::Stale { back, sizes } => sized((head - i64::from(*back)).max(0), sizes),
            PushKind::Future { ahead } => new(head + i64::from(*ahead), 2).collect(),
            PushKind::Gapped { at } => {
                let mut events: Vec<Sample> = new(head, 5).collect();
                let at = 1 + usize::from(*at) % 3;
                events.remove(at);
                events[at].parent_seq_num -= 1;
                events
            }
            PushKind::Unchained { at } => {
                let mut events: Vec<Sample> = new(head, 4).collect();
                events[1 + usize::from(*at) % 3].parent_seq_num -= 1;
                events
            }
            PushKind::Repeated { back, new: count } => self.repeated(index, *back, *count),
            PushKind::Altered { back, new: count } => {
                let mut events = self.repeated(index, *back, *count);
                let middle = usize::from(*back) / 2;
                if let Some(event) = events.get_mut(middle) {
                    event.session_id.push_str("-altered");
                }
                events
            }
            PushKind::Empty => Vec::new(),
            PushKind::Oversized => {
                let mut events: Vec<Sample> = new(head, 2).collect();
                events.push(Sample::padded(head + 3, 1_000_100));
                events
            }
            PushKind::TooMany => new(head, 601).collect(),
            PushKind::OutOfRange { seq_num } => {
                vec![Sample {
                    parent_seq_num: seq_num.wrapping_sub(1),
                    ..self.fresh(index, *seq_num)
                }]
            }
        }
    }

    fn repeated(&self, index: usize, back: u8, new: u8) -> Vec<Sample> {
        let start = self.log.len().saturating_sub(usize::from(back));
        let mut events: Vec<Sample> = self.log[start..]
            .iter()
            .map(|stored| stored.event.clone())
            .collect();
        let last = events.last().map_or(self.head(), |event| event.seq_num);
        events.extend((last + 1..=last + i64::from(new)).map(|n| self.fresh(index, n)));
        events
    }

    /// An event that nobody has pushed yet, with texts that need care.
    fn fresh(&self, index: usize, seq_num: i64) -> Sample {
        let names = ["v1.TodoCreated", "v1.Odd\"\\\n\u{1}é😀", "n", ""];
        let args = [
            Some(format!(
                r#"{{"{SECRET}":[{seq_num}, "\ud83d\ude00 \u0000"]}}"#
            )),
            None,
            Some("null".to_owned()),
            Some(format!("\"{SECRET} {}\"", self.now_ms)),
            Some("{}".to_owned()),
        ];
        let pick = usize::try_from(seq_num.rem_euclid(60)).unwrap();
        let args = args[pick % args.len()].clone();
        let session_id = format!("session \"{}\"", pick % 7 / 5);
        let name = names[pick % names.len()].to_owned();
        let parent_seq_num = seq_num.wrapping_sub(1);
        Sample {
            seq_num,
            parent_seq_num,
            name,
            args,
            client_id: format!("client-{index}"),
            session_id,
        }
    }

    /// Foresees whom the next push finds without a pull for too long.
    fn expect_overdue(&mut self, index: usize, claim: Claim, frame_bytes: usize) {
        if claim == Claim::ForeignStore || frame_bytes > LIMITS.frame_bytes_max {
            return;
        }
        if claim == Claim::NoBackend {
            // One that has pulled before would know the backend id.
            self.socket(index).awaiting_pull_since_ms = None;
        }
        let now_ms = self.now_ms;
        for (index, client) in self.clients.iter().enumerate() {
            let since = client
                .socket
                .as_ref()
                .and_then(|socket| socket.awaiting_pull_since_ms);
            if since.is_some_and(|since| now_ms.saturating_sub(since) > PULL_PATIENCE_MS) {
                self.overdue.insert(index);
            }
        }
    }

    fn expect_push(&self, events: &[Sample], claim: Claim, frame_bytes: usize) -> Expected {
        let head = self.head();
        let bytes = |event: &Sample| {
            let args = event.args.as_ref().map_or(0, String::len);
            event.name.len() + args + event.client_id.len() + event.session_id.len()
        };
        if claim == Claim::ForeignStore || frame_bytes > LIMITS.frame_bytes_max {
            return Expected::Unknown;
        }
        let Some(first) = events.first() else {
            return Expected::Stored(Vec::new());
        };
        if claim == Claim::WrongBackend {
            return Expected::Mismatch;
        }
        let numbers = 1..=(1_i64 << 53) - 1;
        let is_chain = events.len() <= 600
            && first.parent_seq_num >= 0
            && events.iter().all(|event| bytes(event) <= 1_000_000)
            && events.iter().all(|event| numbers.contains(&event.seq_num))
            && events
                .iter()
                .all(|event| event.parent_seq_num == event.seq_num - 1)
            && events
                .windows(2)
                .all(|pair| pair[1].parent_seq_num == pair[0].seq_num);
        if !is_chain {
            return Expected::Unknown;
        }
        let parent = first.parent_seq_num;
        let ahead = Expected::Ahead { head, parent };
        if parent >= head {
            return if parent == head {
                Expected::Stored(events.to_vec())
            } else {
                ahead
            };
        }
        // A retry: all that is stored of it is stored as it stands.
        let (stored, new): (Vec<_>, Vec<_>) = events
            .iter()
            .cloned()
            .partition(|event| event.seq_num <= head);
        let same = |a: &Sample, b: &Sample| {
            let args = |event: &Sample| event.args.clone().unwrap_or_else(|| "null".to_owned());
            let rest = |event: &Sample| Sample {
                args: None,
                ..event.clone()
            };
            rest(a) == rest(b) && args(a) == args(b)
        };
        let here = self.after(parent);
        let is_repeated = here.len() >= stored.len()
            && stored
                .iter()
                .zip(here)
                .all(|(event, stored)| same(event, &stored.event));
        if is_repeated {
            Expected::Stored(new)
        } else {
            ahead
        }
    }

    fn finish_push(
        &mut self,
        index: usize,
        id: &str,
        generation: Generation,
        expected: Expected,
        turn: &Turn,
    ) {
        let before = self.log.len();
        let answer = turn.frames.iter().position(|(to, heard)| {
            *to == index
                && heard.id() == Some(id)
                && matches!(heard, Heard::PushDone { .. } | Heard::Failed { .. })
        });
        let answered = answer.map(|at| turn.frames[at].1.clone());
        let is_closed = turn.closed.contains(&index);
        assert!(answer.is_some() || is_closed, "no answer to a push");
        let is_done = matches!(answered, Some(Heard::PushDone { .. }))
            || (answered.is_none() && self.stored_rows() > before);
        let new = match expected {
            Expected::Stored(new) if is_done => {
                self.seen.appended += u32::from(!new.is_empty());
                self.seen.repeated += u32::from(new.is_empty());
                new
            }
            Expected::Stored(_) => {
                // Only storage may refuse it, and says no more than that.
                assert!(turn.has_failed, "refused: {answered:?}");
                if let Some(Heard::Failed { error, .. }) = &answered {
                    assert!(!error.to_string().contains("injected"), "{error}");
                }
                Vec::new()
            }
            refused => {
                self.seen.refused += 1;
                assert!(!is_done, "accepted instead of {refused:?}");
                let error = match &answered {
                    Some(Heard::Failed { error, .. }) => error.clone(),
                    other => panic!("{other:?}"),
                };
                // Where storage fails while it decides, it cannot say more.
                if !(turn.has_failed && error["_tag"] != "ServerAheadError") {
                    refused.check(generation, &error);
                }
                assert_eq!(turn.frames.len(), 1, "a refused push concerns nobody else");
                Vec::new()
            }
        };
        let created_at =
            chrono::DateTime::from_timestamp_millis(i64::try_from(self.now_ms).unwrap())
                .unwrap()
                .format("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string();
        for event in &new {
            let (delivered, created_at) = (event.delivered(), created_at.clone());
            self.log.push(Stored {
                event: event.clone(),
                delivered,
                created_at,
            });
        }
        let plain: Vec<usize> = self.plain_listeners();
        self.seen.pushes_while_paging += u32::from(!new.is_empty() && self.is_paging());
        self.send_back_to_paging(&new);
        self.receive(turn, Some((id, &new)));
        if !new.is_empty() {
            for listener in plain {
                let count = turn.frames.iter().filter(|(to, heard)| {
                    *to == listener
                        && matches!(
                            heard,
                            Heard::Page {
                                is_broadcast: true,
                                ..
                            }
                        )
                });
                assert!(count.count() == 1 || turn.closed.contains(&listener));
            }
            if let Some(answer) = answer {
                let own: Vec<usize> = (0..turn.frames.len())
                    .filter(|at| turn.frames[*at].0 == index && *at != answer)
                    .collect();
                let is_right = match generation {
                    Generation::V03 => own.iter().all(|at| *at > answer),
                    Generation::V04 | Generation::V05 => own.iter().all(|at| *at < answer),
                };
                assert!(
                    is_right,
                    "the pusher gets its chunks and its answer in the wrong order"
                );
            }
        }
    }

    fn is_paging(&self) -> bool {
        let sockets = self
            .clients
            .iter()
            .filter_map(|client| client.socket.as_ref());
        let mut pulls = sockets.flat_map(|socket| &socket.pulls);
        pulls.any(|pull| pull.state == State::Paging)
    }

    /// Finds the live pulls that cannot take a push as it is: those whose cursor lies inside it, and
    /// those with too much on its way. They read it from the log.
    fn send_back_to_paging(&mut self, new: &[Sample]) {
        let (Some(first), Some(last)) = (new.first(), new.last()) else {
            return;
        };
        let json = batch_json(new);
        let events: Vec<Event<'_>> = serde_json::from_str(&json).unwrap();
        let pages = u32::try_from(split(Family::Rpc, &events).count()).unwrap();
        for index in 0..self.clients.len() {
            if self.is_plain(index) {
                continue;
            }
            let sockets = self.clients[index].socket.iter_mut();
            for pull in sockets.flat_map(|socket| &mut socket.pulls) {
                let is_due = pull.state == State::Live && pull.last < last.seq_num;
                let is_inside = pull.last > first.parent_seq_num;
                if is_due && (is_inside || pull.window + pages > WINDOW_PAGES) {
                    pull.state = State::Paging;
                    self.seen.slow_listeners += u32::from(!is_inside);
                }
            }
        }
    }

    /// 0.3 sockets that get broadcasts now: those with no pull under way.
    fn plain_listeners(&self) -> Vec<usize> {
        let is_listener = |client: &Client| {
            let socket = client.socket.as_ref();
            client.tongue == Tongue::One(Generation::V03)
                && socket.is_some_and(|socket| {
                    socket.pulls.iter().all(|pull| pull.state != State::Paging)
                })
        };
        (0..self.clients.len())
            .filter(|index| is_listener(&self.clients[*index]))
            .collect()
    }

    // --- pulls ---

    fn pull(
        &mut self,
        client: u8,
        second: bool,
        from: Cursor,
        live: bool,
        claim: Claim,
        same_id: bool,
    ) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(second);
        let (head, number) = (self.head(), i64::from);
        let cursor = match from {
            Cursor::Start => None,
            Cursor::BelowHead(back) => Some((head - i64::from(back)).max(0)),
            Cursor::BeyondHead(ahead) => Some(head + number(ahead)),
            Cursor::Anywhere(after) => Some(after),
        };
        let reused = self.socket(index).pulls.last().map(|pull| pull.id.clone());
        let reused = reused.filter(|id| {
            let is_number = !id.starts_with('"');
            same_id && is_number == (generation == Generation::V05)
        });
        let id = reused.unwrap_or_else(|| self.new_id(index, generation));
        self.socket(index).pulls.retain(|pull| pull.id != id);
        let (store_id, backend_id) = match claim {
            Claim::Right | Claim::NoBackend => (STORE, BACKEND),
            Claim::WrongBackend => (STORE, "of-another-life"),
            Claim::ForeignStore => ("another-store", BACKEND),
        };
        let frame = Speaker {
            generation,
            store_id,
        }
        .pull(&id, live, cursor.map(|after| (backend_id, after)));
        let is_refused = generation != Generation::V03
            && (claim == Claim::ForeignStore || (claim == Claim::WrongBackend && cursor.is_some()));
        if is_refused {
            // The id was used again for a request that fails; the one before it goes on as it was or
            // ends, so ask for it with a new connection.
            let turn = self.send(index, &frame);
            let [
                (
                    to,
                    Heard::Failed {
                        id: answered,
                        error,
                    },
                ),
            ] = &turn.frames[..]
            else {
                panic!("{:?}", turn.frames)
            };
            assert_eq!((*to, answered), (index, &id));
            let expected = if claim == Claim::ForeignStore {
                Expected::Unknown
            } else {
                Expected::Mismatch
            };
            expected.check(generation, error);
            if same_id {
                self.disconnect(client);
            }
            return;
        }
        self.socket(index).awaiting_pull_since_ms = None;
        let last = cursor.unwrap_or(0).clamp(0, (1 << 53) - 1);
        self.socket(index).pulls.push(Pull {
            id: id.clone(),
            live: live || generation == Generation::V03,
            last,
            state: State::Paging,
            unacked: 0,
            window: 0,
            is_ahead: last > head,
            chunks: 0,
            has_slept: false,
        });
        let turn = self.send(index, &frame);
        assert!(
            turn.frames
                .iter()
                .all(|(to, heard)| *to == index && heard.id() == Some(&id))
        );
        assert!(
            !turn.frames.is_empty() || turn.closed.contains(&index),
            "a pull has an answer"
        );
        self.receive(&turn, None);
    }

    /// Takes in what a turn sent, in order. `pushed` is the push of this turn with what it added.
    fn receive(&mut self, turn: &Turn, pushed: Option<(&str, &[Sample])>) {
        let mut ended: Vec<(usize, String)> = Vec::new();
        for (index, heard) in &turn.frames {
            match heard {
                Heard::Page {
                    is_broadcast: true,
                    id,
                    events,
                    remaining,
                    created_at,
                    ..
                } => {
                    let (push_id, new) = pushed.expect("a broadcast is of a push");
                    let text = if push_id.starts_with('"') {
                        push_id.to_owned()
                    } else {
                        format!("\"{push_id}\"")
                    };
                    assert_eq!((id, *remaining, events.len()), (&text, 0, new.len()));
                    let tail = &self.log[self.log.len() - new.len()..];
                    check_events(events, created_at, tail);
                    let is_paging = self
                        .socket(*index)
                        .pulls
                        .iter()
                        .any(|pull| pull.state == State::Paging);
                    assert!(!is_paging, "a broadcast between the pages of a pull");
                }
                Heard::Page { .. } => self.receive_page(*index, heard, &mut ended),
                Heard::PullDone { id } => {
                    let at = ended.iter().position(|end| *end == (*index, id.clone()));
                    ended.remove(at.expect("only a pull that has everything is done"));
                }
                Heard::PushDone { id } | Heard::Failed { id, .. } => {
                    assert_eq!(
                        pushed.map(|(push_id, _)| push_id),
                        Some(id.as_str()),
                        "{heard:?}"
                    );
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
        ended.retain(|(index, _)| !turn.closed.contains(index));
        assert!(
            ended.is_empty(),
            "pulls that are not live are told that they are done"
        );
        let overdue = std::mem::take(&mut self.overdue);
        self.seen.overdue += u32::try_from(overdue.len()).unwrap();
        self.seen.closed += u32::try_from(turn.closed.difference(&overdue).count()).unwrap();
        assert!(
            overdue.is_subset(&turn.closed),
            "{overdue:?} are not closed"
        );
        assert!(
            overdue == turn.closed || turn.has_failed,
            "closed without a reason"
        );
        for index in &turn.closed {
            self.clients[*index].socket = None;
        }
    }

    fn receive_page(&mut self, index: usize, heard: &Heard, ended: &mut Vec<(usize, String)>) {
        let Heard::Page {
            id,
            events,
            created_at,
            remaining,
            backend_id,
            bytes,
            ..
        } = heard
        else {
            panic!("{heard:?} is no page");
        };
        let family = self.clients[index].tongue.generation(false).family();
        let last_stored = self.last_stored();
        let last = {
            let pulls = &self.clients[index].socket.as_ref().unwrap().pulls;
            pulls
                .iter()
                .find(|pull| pull.id == *id)
                .expect("a page of a pull under way")
                .last
        };
        let expected = self.after(last);
        assert!(events.len() <= expected.len(), "events beyond the log");
        check_events(events, created_at, &expected[..events.len()]);
        let pull = self
            .socket(index)
            .pulls
            .iter_mut()
            .find(|pull| pull.id == *id)
            .unwrap();
        let mut seen = Seen::default();
        assert_ne!(pull.state, State::Done, "a page after the end");
        assert!(
            !events.is_empty() || pull.chunks == 0,
            "an empty page after others"
        );
        assert!(events.len() <= PAGE_EVENTS_MAX as usize);
        assert!(
            *bytes <= PAGE_BYTES_MAX || events.len() == 1,
            "{bytes} bytes"
        );
        assert_eq!(
            backend_id.as_deref(),
            (family == Family::Rpc).then_some(BACKEND)
        );
        pull.last = events.last().map_or(pull.last, seq_num);
        pull.chunks += 1;
        // 0.3 acknowledges nothing.
        pull.unacked += u32::from(family == Family::Rpc);
        pull.window += u32::from(family == Family::Rpc);
        assert!(pull.window <= WINDOW_PAGES, "{pull:?}");
        match pull.state {
            State::Live => {
                assert!(!events.is_empty() && *remaining == 0, "no broadcast");
                seen.broadcasts += 1;
                seen.overtaken += u32::from(pull.is_ahead);
            }
            State::Paging => {
                seen.pages += 1;
                seen.pages_after_waking += u32::from(pull.has_slept);
                let more = u64::try_from((last_stored - pull.last).max(0)).unwrap();
                assert_eq!(*remaining, more, "{pull:?}");
                if *remaining == 0 {
                    pull.state = if pull.live { State::Live } else { State::Done };
                    if !pull.live {
                        ended.push((index, id.clone()));
                    }
                }
            }
            State::Done => {}
        }
        self.seen.add(&seen);
    }

    fn ack_pages(&mut self, client: u8, pull: u8, pages: u8) {
        let index = self.index(client);
        for _ in 0..pages {
            if self.is_plain(index) {
                return;
            }
            let Some(socket) = self.clients[index].socket.as_mut() else {
                return;
            };
            if socket.pulls.is_empty() {
                return;
            }
            let at = usize::from(pull) % socket.pulls.len();
            let pull = &mut socket.pulls[at];
            if pull.unacked == 0 {
                return;
            }
            pull.unacked -= 1;
            pull.window = pull.window.saturating_sub(1);
            let id = pull.id.clone();
            let turn = self.send(index, &ack(&id));
            assert!(
                turn.frames
                    .iter()
                    .all(|(to, heard)| *to == index && heard.id() == Some(&id))
            );
            self.receive(&turn, None);
        }
    }

    /// An acknowledgement of a pull that an earlier socket made: answered by nothing, or by a new start.
    fn ack_old(&mut self, client: u8) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(false);
        if generation == Generation::V03 {
            return;
        }
        let counter = self.clients[index].next_id.saturating_sub(3);
        let is_of_socket = self
            .socket(index)
            .first_request
            .is_some_and(|first| counter >= first);
        if is_of_socket {
            return;
        }
        let id = Speaker {
            generation,
            store_id: STORE,
        }
        .id(counter);
        let turn = self.send(index, &ack(&id));
        assert!(turn.frames.is_empty());
        assert_eq!(turn.closed.into_iter().collect::<Vec<_>>(), [index]);
        self.clients[index].socket = None;
    }

    fn interrupt(&mut self, client: u8, pull: u8) {
        let index = self.index(client);
        if self.is_plain(index) {
            return;
        }
        let Some(socket) = self.clients[index].socket.as_mut() else {
            return;
        };
        if socket.pulls.is_empty() {
            return;
        }
        let at = usize::from(pull) % socket.pulls.len();
        let id = socket.pulls.remove(at).id;
        self.expect_interrupted(index, &id);
    }

    /// An interrupt that arrives when its push has been answered already.
    fn interrupt_push(&mut self, client: u8) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(false);
        if generation == Generation::V03 {
            return;
        }
        let id = self.new_id(index, generation);
        let events = vec![self.fresh(index, self.head() + 1)];
        let frame = Speaker {
            generation,
            store_id: STORE,
        }
        .push(&id, None, &batch_json(&events));
        let expected = self.expect_push(&events, Claim::NoBackend, frame.len());
        self.expect_overdue(index, Claim::NoBackend, frame.len());
        let turn = self.send(index, &frame);
        self.finish_push(index, &id, generation, expected, &turn);
        if self.clients[index].socket.is_some() {
            self.expect_interrupted(index, &id);
        }
    }

    fn expect_interrupted(&mut self, index: usize, id: &str) {
        let turn = self.send(index, &interrupt(id));
        assert_eq!(
            turn.frames,
            [(index, Heard::Interrupted { id: id.to_owned() })]
        );
        assert!(turn.closed.is_empty());
    }

    fn ping(&mut self, client: u8) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(false);
        let turn = self.send(
            index,
            Speaker {
                generation,
                store_id: STORE,
            }
            .ping(),
        );
        assert_eq!(turn.frames, [(index, Heard::Pong)]);
    }

    // --- the object ---

    fn resume(&mut self) {
        if !std::mem::take(&mut self.is_resume_due) {
            return;
        }
        let turn = self.turn(SyncBackend::resume);
        for (index, _) in &turn.frames {
            assert_eq!(self.clients[*index].tongue, Tongue::One(Generation::V03));
        }
        self.receive(&turn, None);
    }

    /// The object leaves memory and comes back for its sockets.
    fn evict(&mut self) {
        let store = std::iter::repeat_with(|| open(&self.sql))
            .take(9)
            .find_map(Result::ok)
            .unwrap();
        assert_eq!(store.backend_id().as_str(), BACKEND);
        self.backend = SyncBackend::new(store, LIMITS);
        for client in &mut self.clients {
            if let Some(socket) = &mut client.socket {
                socket.connection = self
                    .backend
                    .reconnect(&socket.kept)
                    .expect("what was kept is understood");
                for pull in &mut socket.pulls {
                    pull.window = 0;
                    pull.has_slept = true;
                }
            }
        }
        let connected = self
            .clients
            .iter()
            .filter(|client| client.socket.is_some())
            .count();
        assert_eq!(self.backend.connections().count(), connected);
    }

    // --- what always holds ---

    fn stored_rows(&self) -> usize {
        let count = |row: &rusqlite::Row<'_>| row.get::<_, usize>(0);
        self.sql
            .raw()
            .query_row("SELECT count(*) FROM eventlog_7_model_store", [], count)
            .unwrap()
    }

    fn check(&mut self) {
        assert_eq!(self.stored_rows(), self.log.len());
        assert_eq!(self.backend.store().head().to_i64(), self.head());
        assert_eq!(
            self.backend.store().last_stored().to_i64(),
            self.last_stored()
        );
        self.check_rows(self.log.len().saturating_sub(50));
        for client in &self.clients {
            let Some(socket) = &client.socket else {
                continue;
            };
            let is_plain = client.tongue == Tongue::One(Generation::V03);
            for pull in &socket.pulls {
                if pull.state == State::Paging {
                    // Something must set off the next page.
                    assert!(
                        if is_plain {
                            self.is_resume_due
                        } else {
                            pull.unacked > 0
                        },
                        "{pull:?} hangs"
                    );
                    self.seen.full_windows += u32::from(pull.window == WINDOW_PAGES);
                } else if pull.state == State::Live && !is_plain {
                    assert!(pull.last >= self.last_stored(), "{pull:?} is behind");
                }
            }
        }
    }

    /// Compares the rows of the log from the one at `index` with the reference.
    fn check_rows(&self, index: usize) {
        let mut rows = self
            .sql
            .raw()
            .prepare_cached(
                "SELECT seqNum, parentSeqNum, name, args, createdAt, clientId, sessionId \
                 FROM eventlog_7_model_store ORDER BY seqNum LIMIT -1 OFFSET ?1",
            )
            .unwrap();
        let mut rows = rows.query([index]).unwrap();
        for stored in &self.log[index..] {
            let row = rows.next().unwrap().expect("as many rows as events");
            let event = Sample {
                seq_num: row.get_unwrap(0),
                parent_seq_num: row.get_unwrap(1),
                name: row.get_unwrap(2),
                args: row.get_unwrap(3),
                client_id: row.get_unwrap(5),
                session_id: row.get_unwrap(6),
            };
            assert!(event == stored.event, "row {}", event.seq_num);
            assert_eq!(row.get_unwrap::<_, String>(4), stored.created_at);
        }
        assert!(rows.next().unwrap().is_none());
        let head: i64 = self
            .sql
            .raw()
            .query_row("SELECT currentHead FROM context_7", [], |row| row.get(0))
            .unwrap();
        assert_eq!(head, self.head());
    }

    /// Lets everything that is under way come to its end, and looks at it as a whole.
    fn settle(&mut self) {
        self.sql.heal();
        let count = u8::try_from(self.clients.len()).unwrap();
        for index in 0..count {
            self.connected(index);
            for generation in [false, true] {
                self.pull(
                    index,
                    generation,
                    Cursor::Start,
                    index % 2 == 0,
                    Claim::Right,
                    false,
                );
            }
        }
        for _ in 0..10_000 {
            let mut is_quiet = !self.is_resume_due;
            self.resume();
            for client in 0..count {
                let pulls = self.socket(usize::from(client)).pulls.len();
                for pull in 0..u8::try_from(pulls).unwrap() {
                    let unacked = self.socket(usize::from(client)).pulls[usize::from(pull)].unacked;
                    is_quiet &= unacked == 0;
                    self.ack_pages(client, pull, u8::try_from(unacked.min(200)).unwrap());
                }
            }
            self.check();
            if is_quiet {
                break;
            }
        }
        for client in &self.clients {
            for pull in &client.socket.as_ref().unwrap().pulls {
                assert!(pull.state != State::Paging && pull.unacked == 0, "{pull:?}");
            }
        }
        self.check_rows(0);
    }
}

/// What the reference says about a push.
#[derive(Clone, Debug)]
enum Expected {
    /// Acknowledged, and these are new.
    Stored(Vec<Sample>),
    Ahead {
        head: i64,
        parent: i64,
    },
    Mismatch,
    Unknown,
}

impl Expected {
    fn check(&self, generation: Generation, error: &Value) {
        if generation == Generation::V03 {
            if let Self::Ahead { head, parent } = self {
                let text =
                    format!("Invalid parent event number. Received e{parent} but expected e{head}");
                assert_eq!(error.as_str(), Some(text.as_str()));
            }
            return;
        }
        match self {
            Self::Ahead { head, parent } => {
                assert_eq!(error["_tag"], "ServerAheadError");
                assert_eq!(error["minimumExpectedNum"].as_i64(), Some(*head));
                assert_eq!(error["providedNum"].as_i64(), Some(*parent));
            }
            Self::Mismatch => {
                assert_eq!(error["_tag"], "BackendIdMismatchError");
                assert_eq!(error["expected"], BACKEND);
                assert_eq!(error["received"], "of-another-life");
            }
            Self::Unknown => assert_eq!(error["_tag"], "UnknownError"),
            Self::Stored(_) => panic!("{error}"),
        }
    }
}

fn check_events(events: &[Value], created_at: &[String], expected: &[Stored]) {
    for ((event, created_at), expected) in events.iter().zip(created_at).zip(expected) {
        assert!(
            *event == expected.delivered,
            "{} is not {}",
            seq_num(event),
            expected.event.seq_num
        );
        assert_eq!(*created_at, expected.created_at);
    }
    assert_eq!(events.len(), expected.len());
}

// --- histories ---

fn sizes() -> impl Strategy<Value = Sizes> {
    prop_oneof![
        12 => (1..6_u8).prop_map(Sizes::Few),
        3 => (80..450_u16).prop_map(Sizes::Many),
        1 => proptest::collection::vec(100..950_u16, 1..3).prop_map(Sizes::Large),
    ]
}

fn push_kind() -> impl Strategy<Value = PushKind> {
    prop_oneof![
        14 => sizes().prop_map(|sizes| PushKind::Right { sizes }),
        3 => (1..5_u8, sizes()).prop_map(|(back, sizes)| PushKind::Stale { back, sizes }),
        1 => (1..9_u8).prop_map(|ahead| PushKind::Future { ahead }),
        1 => any::<u8>().prop_map(|at| PushKind::Gapped { at }),
        1 => any::<u8>().prop_map(|at| PushKind::Unchained { at }),
        4 => (1..7_u8, 0..3_u8).prop_map(|(back, new)| PushKind::Repeated { back, new }),
        2 => (1..7_u8, 0..3_u8).prop_map(|(back, new)| PushKind::Altered { back, new }),
        1 => Just(PushKind::Empty),
        1 => Just(PushKind::Oversized),
        1 => Just(PushKind::TooMany),
        1 => prop_oneof![Just(0), Just(-1), Just(i64::MIN), Just(i64::MAX), Just(1 << 53), any::<i64>()]
            .prop_map(|seq_num| PushKind::OutOfRange { seq_num }),
    ]
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        10 => Just(Claim::Right),
        4 => Just(Claim::NoBackend),
        1 => Just(Claim::WrongBackend),
        1 => Just(Claim::ForeignStore),
    ]
}

fn cursor() -> impl Strategy<Value = Cursor> {
    prop_oneof![
        4 => Just(Cursor::Start),
        5 => (0..400_u16).prop_map(Cursor::BelowHead),
        2 => (0..9_u8).prop_map(Cursor::BeyondHead),
        1 => any::<i64>().prop_map(Cursor::Anywhere),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let client = || any::<u8>();
    let pull = (
        client(),
        any::<bool>(),
        cursor(),
        proptest::bool::weighted(0.7),
        claim(),
        proptest::bool::weighted(0.1),
    );
    prop_oneof![
        2 => client().prop_map(|client| Op::Connect { client }),
        1 => client().prop_map(|client| Op::Disconnect { client }),
        12 => (client(), any::<bool>(), push_kind(), claim())
            .prop_map(|(client, second, kind, claim)| Op::Push { client, second, kind, claim }),
        2 => (client(), 1..24_u8).prop_map(|(client, pushes)| Op::PushMany { client, pushes }),
        8 => pull.prop_map(|(client, second, from, live, claim, same_id)| Op::Pull {
            client, second, from, live, claim, same_id
        }),
        8 => (client(), any::<u8>(), 1..20_u8).prop_map(|(client, pull, pages)| Op::Ack { client, pull, pages }),
        1 => client().prop_map(|client| Op::AckOld { client }),
        2 => (client(), any::<u8>()).prop_map(|(client, pull)| Op::Interrupt { client, pull }),
        1 => client().prop_map(|client| Op::InterruptPush { client }),
        1 => client().prop_map(|client| Op::Ping { client }),
        2 => Just(Op::Resume),
        4 => Just(Op::Evict),
        3 => (0..4_u8, 1..4_u8, any::<bool>())
            .prop_map(|(skip, count, after)| Op::Fail { skip, count, after }),
        2 => (0..8_000_u16).prop_map(|ms| Op::Wait { ms }),
        1 => any::<u32>().prop_map(|ms| Op::SetClock { ms }),
    ]
}

fn tongues() -> impl Strategy<Value = Vec<Tongue>> {
    let tongue = prop_oneof![
        3 => Just(Tongue::One(Generation::V04)),
        2 => Just(Tongue::One(Generation::V05)),
        2 => Just(Tongue::One(Generation::V03)),
        1 => Just(Tongue::Both),
    ];
    proptest::collection::vec(tongue, 1..5)
}

fn existing() -> impl Strategy<Value = Existing> {
    let small = |events| Existing { events, bytes: 0 };
    prop_oneof![
        4 => Just(small(0)),
        4 => (1..30_u16).prop_map(small),
        3 => (100..500_u16).prop_map(small),
        // More pages than may be on their way.
        5 => (1_700..2_600_u16).prop_map(small),
        // More bytes than one turn sends.
        1 => (5..8_u16).prop_map(|events| Existing { events, bytes: 890_000 }),
    ]
}

#[test]
fn every_history_is_the_one_of_a_plain_list() {
    let config = Config {
        source_file: Some(file!()),
        ..cases(96)
    };
    let is_thorough = config.cases >= 96;
    let seen = RefCell::new(Seen::default());
    let ahead = prop_oneof![6 => Just(0_u8), 1 => 1..5_u8];
    let ops = proptest::collection::vec(op(), 1..50);
    let histories = (tongues(), existing(), ahead, any::<bool>(), ops);
    let outcome = TestRunner::new(config).run(&histories, |history| {
        let (tongues, existing, ahead, doubles, ops) = history;
        let binding = if doubles {
            Binding::Doubles
        } else {
            Binding::Integers
        };
        let mut world = World::new(&tongues, existing, ahead, binding);
        for op in ops {
            world.run(op);
        }
        world.settle();
        seen.borrow_mut().add(&world.seen);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let seen = seen.into_inner();
    println!("{seen:?}");
    assert!(!is_thorough || seen.is_everything(), "{seen:?}");
}
