//! The log under any history: model clients of every generation push and pull, lose acknowledgements
//! and connections, the object is evicted and wakes, storage fails. After each step everything that was
//! sent and stored is compared with a plain list of events.

mod any;
mod histories;
mod pulls;
mod pushes;
mod seen;

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ConnectionId, Frame, Output, Report, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, Event, SeqNum, StoreId};
use livestore_sync_worker::eventlog::split;
use livestore_sync_worker::limits::{
    ABANDONED_BYTES_MAX, ATTACHMENT_BYTES_MAX, CONNECTION_BYTES_MAX, Limits, OBJECT_BYTES_MAX,
    PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PULL_PATIENCE_MS, WINDOW_PAGES,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Generation, encode_items};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

use crate::client::{Heard, Sample, Speaker, ack, batch_json, hear, interrupt, seq_num};
use crate::host_sql::{Binding, HostSql, HostText, When};
use crate::{cases, fresh_ids};
use any::{existing, op, tongues};
use pushes::Expected;
use seen::Seen;

const STORE: &str = "model-store";
const BACKEND: &str = "backend-of-the-model-";
/// Stands in all args, and must never stand in a report.
const SECRET: &str = "sekret";

/// Milliseconds between two pings of a 0.3 client, which the runtime answers.
const PING_MS: u64 = 25_000;

const LIMITS: Limits = Limits {
    event_bytes_max: 1_000_000,
    batch_events_max: 600,
    frame_bytes_max: 3_000_000,
    connections_max: 100,
    store_bytes_max: u64::MAX,
    push_rate: None,
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
    /// Somebody sets the clock.
    MoveClock {
        ms: i32,
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
    /// Bytes of its JSON in a page of an RPC client.
    item_bytes: usize,
}

impl Stored {
    fn new(event: &Sample, created_at: &str) -> Self {
        let json = event.json();
        let events = [livestore_sync_worker::json::read(&json, Event::read).unwrap()];
        let mut item = String::new();
        encode_items(Family::Rpc, &events, created_at, &mut item);
        Self {
            event: event.clone(),
            delivered: event.delivered(),
            created_at: created_at.to_owned(),
            item_bytes: item.len(),
        }
    }
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
    /// The bytes of each, as far as this life of the object can know of them.
    in_flight: VecDeque<Piece>,
    /// Whether it started beyond the head.
    is_ahead: bool,
    /// Pages and broadcasts it got.
    chunks: u32,
    /// Whether the object left memory since it began.
    has_slept: bool,
}

/// A page or broadcast that is on its way.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The how-manieth of its socket.
    number: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Socket {
    connection: ConnectionId,
    connected_ms: u64,
    kept: String,
    pulls: Vec<Pull>,
    first_request: Option<u64>,
    /// Whether a client of 0.3 has pulled on it.
    has_pulled: bool,
    /// Whether a client of 0.3 has neither pulled on it nor been sent events.
    is_fresh: bool,
    /// Since when its client has been expected to pull.
    awaiting_pull_since_ms: Option<u64>,
    /// Pulls of others that its client was asked about, in this life of the object.
    probed: BTreeSet<String>,
    /// Pages and broadcasts it was sent in this life of the object.
    sent: u64,
    /// Bytes on their way of pulls that were ended early, and the last piece of them.
    abandoned_bytes: usize,
    last_abandoned: u64,
}

impl Socket {
    /// Bytes on their way of pulls that go on, or whose client still acknowledges them.
    fn in_flight(&self) -> usize {
        self.pulls.iter().map(Pull::in_flight_bytes).sum()
    }

    /// Whether so many more bytes may be on their way beside `in_flight`.
    fn has_room(&self, in_flight: usize, bytes: usize) -> bool {
        in_flight == 0 || in_flight + self.abandoned_bytes + bytes <= CONNECTION_BYTES_MAX
    }

    /// Ends a pull early; whether so much is on its way now that nobody acknowledges, that the socket is closed.
    fn abandon(&mut self, id: &str) -> bool {
        for pull in self.pulls.extract_if(.., |pull| pull.id == id) {
            self.abandoned_bytes += pull.in_flight_bytes();
            let last = pull.in_flight.back().map_or(0, |piece| piece.number);
            self.last_abandoned = self.last_abandoned.max(last);
        }
        self.abandoned_bytes > ABANDONED_BYTES_MAX
    }
}

impl Pull {
    fn in_flight_bytes(&self) -> usize {
        self.in_flight.iter().map(|piece| piece.bytes).sum()
    }
}

#[derive(Debug)]
struct Client {
    tongue: Tongue,
    /// As in a real process: never reset, shared by all sockets.
    next_id: u64,
    socket: Option<Socket>,
}

/// What one turn of the object did.
struct Effects {
    frames: Vec<(usize, Heard)>,
    /// Empty pages of pulls of others.
    probes: Vec<(usize, Heard)>,
    closed: BTreeSet<usize>,
    /// Whether storage failed in it.
    has_failed: bool,
    /// Whether somebody had to leave who takes nothing.
    has_stalled: bool,
}

struct World {
    sql: HostSql,
    backend: SyncBackend<HostSql>,
    clients: Vec<Client>,
    log: Vec<Stored>,
    /// A head that was ahead of the log when it was adopted.
    kept_head: i64,
    now_ms: u64,
    /// The alarm that is stored.
    alarm_at_ms: Option<u64>,
    seen: Seen,
}

fn open(sql: &HostSql) -> Result<EventStore<HostSql>, String> {
    let fresh = BackendId::stored(BACKEND.to_owned());
    EventStore::open(sql.clone(), StoreId::new(STORE), fresh)
        .map(|(store, _)| store)
        .map_err(|error| error.to_string())
}

fn backend(store: EventStore<HostSql>) -> SyncBackend<HostSql> {
    SyncBackend::new(store, LIMITS, Rules::default(), fresh_ids(&[]))
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
                Stored::new(&event, created_at)
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
        // A head beside an empty log is another matter: that log lies elsewhere.
        let ahead = if existing.events == 0 { 0 } else { ahead };
        let kept_head = i64::from(existing.events) + i64::from(ahead);
        sql.set_up(&format!("UPDATE context_7 SET currentHead = {kept_head}"));
        let backend = backend(open(&sql).unwrap());
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
            alarm_at_ms: None,
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
        self.now_ms += 1;
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
            Op::MoveClock { ms } => self.now_ms = self.now_ms.saturating_add_signed(ms.into()),
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
        let connection = self.backend.connect(family, Grant::default(), self.now_ms);
        let kept = self.backend.attachment(connection).unwrap();
        let others: Vec<_> = self
            .clients
            .iter()
            .filter_map(|client| client.socket.as_ref())
            .collect();
        assert!(others.iter().all(|other| other.connection != connection));
        self.clients[index].socket = Some(Socket {
            connection,
            connected_ms: self.now_ms,
            kept,
            pulls: Vec::new(),
            first_request: None,
            has_pulled: false,
            is_fresh: family == Family::Plain,
            awaiting_pull_since_ms: (family == Family::Rpc).then_some(self.now_ms),
            probed: BTreeSet::new(),
            sent: 0,
            abandoned_bytes: 0,
            last_abandoned: 0,
        });
    }

    fn disconnect(&mut self, client: u8) {
        let index = self.index(client);
        if let Some(socket) = self.clients[index].socket.take() {
            let effects = self.turn(|backend, turn| backend.disconnect(socket.connection, turn));
            self.receive(&effects, None);
        }
    }

    /// One frame, one turn.
    fn send(&mut self, index: usize, frame: &str) -> Effects {
        let connection = self.socket(index).connection;
        self.turn(|backend, turn| backend.on_frame(connection, Frame::Text(frame), turn))
    }

    fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>),
    ) -> Effects {
        let failed_before = self.sql.failures();
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        let mut effects = Effects {
            frames: Vec::new(),
            probes: Vec::new(),
            closed: BTreeSet::new(),
            has_failed: false,
            has_stalled: false,
        };
        self.apply(turn.out, &mut effects);
        effects.has_failed = self.sql.failures() > failed_before;
        self.seen.storage_failures += u32::from(effects.has_failed);
        effects
    }

    /// Does what a turn asks for, in this order.
    fn apply(&mut self, outputs: Vec<Output<HostText>>, effects: &mut Effects) {
        for output in outputs {
            match output {
                Output::Send { to, frame, .. } => {
                    let index = self.whose(to);
                    // A host has no socket any more for what follows a close.
                    if let Some(index) = index.filter(|index| !effects.closed.contains(index)) {
                        let family = self.clients[index].tongue.generation(false).family();
                        let heard = hear(family, frame.as_str());
                        if self.is_probe(index, &heard) {
                            effects.probes.push((index, heard));
                        } else {
                            effects.frames.push((index, heard));
                        }
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
                    assert!(code == 1012 || code == 1013);
                    assert!(
                        self.backend.attachment(connection).is_none(),
                        "forgotten first"
                    );
                    effects.closed.insert(index);
                }
                Output::WakeAt { at_ms } => {
                    let known = self.alarm_at_ms.unwrap_or(at_ms);
                    self.alarm_at_ms = Some(known.min(at_ms));
                }
                Output::Probe { connection } => {
                    let pinged_at_ms = self.whose(connection).and_then(|index| {
                        let since_ms = self.socket(index).connected_ms;
                        let open_ms = self.now_ms.checked_sub(since_ms)?;
                        Some(since_ms + open_ms / PING_MS * PING_MS)
                    });
                    let mut turn = Turn::at(self.now_ms);
                    self.backend.on_ping(connection, pinged_at_ms, &mut turn);
                    self.apply(turn.out, effects);
                }
                Output::Ask(_) | Output::Deliver(_) | Output::Fetch(_) => {
                    panic!("there are no hooks here, and no backup")
                }
                Output::ForgetAlarm => panic!("nobody else changes rows here"),
                Output::Report(report) => {
                    effects.has_stalled |= matches!(report, Report::TakesNothing { .. });
                    let report = format!("{report} {report:?}");
                    assert!(
                        !report.contains(SECRET) && !report.contains("id-1"),
                        "{report}"
                    );
                }
            }
        }
    }

    /// Whether a frame asks its client if it waits for a pull of another connection.
    fn is_probe(&self, index: usize, heard: &Heard) -> bool {
        let socket = self.clients[index].socket.as_ref().unwrap();
        match heard {
            Heard::Page { id, events, .. } if events.is_empty() => {
                socket.pulls.iter().all(|pull| pull.id != *id)
            }
            _ => false,
        }
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

    fn resume(&mut self) {
        let Some(at_ms) = self.alarm_at_ms.take() else {
            return;
        };
        self.now_ms = self.now_ms.max(at_ms);
        let effects = self.turn(SyncBackend::on_alarm);
        for (index, _) in &effects.frames {
            assert_eq!(self.clients[*index].tongue, Tongue::One(Generation::V03));
        }
        self.receive(&effects, None);
    }

    /// The object leaves memory and comes back for its sockets.
    fn evict(&mut self) {
        let store = std::iter::repeat_with(|| open(&self.sql))
            .take(9)
            .find_map(Result::ok)
            .unwrap();
        assert_eq!(store.backend_id().as_str(), BACKEND);
        self.backend = backend(store);
        for client in &mut self.clients {
            if let Some(socket) = &mut client.socket {
                socket.connection = self
                    .backend
                    .reconnect(&socket.kept, self.now_ms)
                    .expect("what was kept is understood");
                for pull in &mut socket.pulls {
                    pull.in_flight.clear();
                    pull.has_slept = true;
                }
                socket.probed.clear();
                (socket.sent, socket.abandoned_bytes, socket.last_abandoned) = (0, 0, 0);
                // Those that are simply live come back first.
                socket.pulls.sort_by_key(|pull| {
                    let is_live = pull.state == State::Live;
                    !(is_live && SeqNum::clamped(pull.last) <= self.backend.store().head())
                });
            }
        }
        let connected = self
            .clients
            .iter()
            .filter(|client| client.socket.is_some())
            .count();
        assert_eq!(self.backend.socket_count(), connected);
        let effects = self.turn(SyncBackend::on_wake);
        self.receive(&effects, None);
    }

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
            let unacked: u32 = socket.pulls.iter().map(|pull| pull.unacked).sum();
            for pull in &socket.pulls {
                if pull.state == State::Paging {
                    // Something must set off the next page.
                    assert!(
                        if is_plain {
                            self.alarm_at_ms.is_some()
                        } else {
                            unacked > 0
                        },
                        "{pull:?} hangs"
                    );
                    self.seen.full_windows += u32::from(pull.in_flight.len() == WINDOW_PAGES);
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
            // Clients of 0.3 pull once.
            let is_plain = self.is_plain(usize::from(index));
            for generation in [false, true].into_iter().take(if is_plain { 1 } else { 2 }) {
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
            let mut is_quiet = self.alarm_at_ms.is_none();
            self.resume();
            for client in 0..count {
                for pull in 0..u8::MAX {
                    // A client that takes nothing for too long has had to leave.
                    let socket = self.clients[usize::from(client)].socket.as_ref();
                    let pull_of = |socket: &Socket| socket.pulls.get(usize::from(pull)).cloned();
                    let Some(unacked) = socket.and_then(pull_of).map(|pull| pull.unacked) else {
                        break;
                    };
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
            for pull in client.socket.iter().flat_map(|socket| &socket.pulls) {
                assert!(pull.state != State::Paging && pull.unacked == 0, "{pull:?}");
            }
        }
        self.check_rows(0);
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

#[test]
fn every_history_is_the_one_of_a_plain_list() {
    let config = Config {
        source_file: Some(file!()),
        ..cases(96)
    };
    let is_long = config.cases >= 1000;
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
    assert!(!is_long || seen.is_everything(), "{seen:?}");
}
