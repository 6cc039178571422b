//! A world: one object on its platform, its clients, and what of all that is lost when.
//!
//! The platform keeps SQLite, one alarm, and an attachment beside each open socket. Everything else is memory. What
//! a turn writes and the alarm it asks for are durable together; its other outputs happen one after the other, until
//! the object is lost.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use livestore_sync_worker::auth::{AdminSecret, Grant};
use livestore_sync_worker::backend::{
    Ask, AskId, ConnectionId, Delivery as Told, DeliveryId, Frame, Hook, Outcome, Output, Progress,
    Reason, Report, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::hooks::{HookError, Uses};
use livestore_sync_worker::limits::{ATTACHMENT_BYTES_MAX, CONNECTION_BYTES_MAX, Limits};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::wire::{Family, Transport};

use super::backup::{self, Backup};
use super::clients::Client;
use super::ends::{Asked, Delivery, End, Gate, Incoming, Request};
use super::followers::Followers;
use super::log::Log;
use super::random::Random;
use super::seen::{Kind, Seen};
use super::words::{ADMIN, STORE};
use crate::client::hear;
use crate::host_sql::{Binding, HostSql, HostText, When};

pub(super) type Backend = SyncBackend<HostSql>;

/// Milliseconds between two pings of a 0.3 client.
pub(super) const PING_MS: u64 = 25_000;

/// Milliseconds after which an object that has nothing to do leaves memory.
const IDLE_MS: u64 = 10_000;

/// What holds for a whole world.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) uses: Uses,
    pub(super) limits: Limits,
    pub(super) has_backup: bool,
    /// Events of many kilobytes, and clients that do not read.
    pub(super) is_heavy: bool,
    /// Events that are there from the beginning.
    pub(super) existing: u64,
    /// Percentage of hooks, client objects and other parties that do what they should at once.
    pub(super) health: u64,
    /// Percentage of events in which storage fails, or the object is lost.
    pub(super) trouble: u64,
}

/// The object is in memory no more.
#[derive(Debug)]
pub(super) struct Lost;

/// When the object is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    /// After so many outputs.
    After(usize),
    /// Before anything of the turn is durable, or has left.
    RollBack,
}

/// What begins a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Wake,
    /// Something of this connection: a frame, its end, or that its answer is read on.
    End(usize),
    Verdict,
    Outcome,
    Alarm,
    Reset,
    Disconnect,
    /// Somebody else has changed the rows.
    Change,
    Ping,
}

/// What of the object is lost with its memory.
pub(super) struct Object {
    pub(super) backend: Backend,
    pub(super) asks: Vec<Pending>,
    /// Deliveries of which nothing has been heard, and whether they have arrived.
    pub(super) deliveries: Vec<(DeliveryId, bool)>,
    ends: HashMap<ConnectionId, usize>,
}

/// A hook that has not returned.
pub(super) struct Pending {
    pub(super) id: AskId,
    pub(super) is_about: About,
}

/// What a hook is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum About {
    /// A request of a connection, before it is decided.
    Request {
        end: usize,
        index: usize,
    },
    /// A stored push, before it is acknowledged.
    Stored {
        end: usize,
        index: usize,
    },
    Page,
    /// A push that has been refused, for which nothing waits.
    Refused,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) random: Random,
    pub(super) seen: Seen,
    /// What has happened, if somebody wants to know.
    pub(super) story: Option<Vec<String>>,
    pub(super) sql: HostSql,
    pub(super) alarm_at_ms: Option<u64>,
    pub(super) now_ms: u64,
    pub(super) object: Option<Object>,
    /// How often the object has woken.
    pub(super) life: u64,
    pub(super) ends: Vec<End>,
    pub(super) clients: Vec<Client>,
    pub(super) log: Log,
    pub(super) followers: Followers,
    pub(super) backup: Backup,
    pub(super) trap: Option<Trap>,
    /// Whether everybody does what they should.
    pub(super) is_healthy: bool,
    /// What the turn at hand reports.
    pub(super) reports: Vec<Report>,
    /// The connections that it closes.
    pub(super) closing: Vec<usize>,
    pub(super) cause: Cause,
    /// The head before the turn at hand.
    pub(super) head_before: i64,
    /// Failures of storage before the event at hand.
    pub(super) failures_before: usize,
    /// Whether something has happened that ends answers early.
    pub(super) has_cut_answers: bool,
    lifetimes: Rc<Cell<u64>>,
    next_marker: u64,
}

macro_rules! tell {
    ($world:expr, $($what:tt)*) => {
        if let Some(story) = &mut $world.story {
            story.push(format!($($what)*));
        }
    };
}
pub(super) use tell;

impl Plan {
    fn by_chance(random: &mut Random) -> Self {
        let mut uses = Uses::NONE;
        for hook in [
            Uses::on_push,
            Uses::on_push_res,
            Uses::on_pull,
            Uses::on_pull_res,
            Uses::on_committed,
        ] {
            if random.chance(45) {
                uses = hook(uses);
            }
        }
        let has_backup = random.chance(50);
        let is_heavy = random.chance(2);
        let existing = if is_heavy {
            10
        } else {
            random.weighted(&[(80, 0), (12, 30), (8, 1_800)])
        };
        let limits = Limits {
            push_rate: random.chance(8).then_some(1),
            store_bytes_max: if random.chance(4) { 60_000 } else { u64::MAX },
            ..Limits::default()
        };
        let trouble = if is_heavy {
            1
        } else {
            random.weighted(&[(3, 0), (4, 5), (3, 15)])
        };
        Self {
            uses,
            limits,
            has_backup,
            is_heavy,
            existing,
            health: random.weighted(&[(1, 100), (2, 80), (2, 50)]),
            trouble,
        }
    }
}

impl World {
    pub(super) fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random::new(seed);
        let plan = Plan::by_chance(&mut random);
        let sql = HostSql::in_memory(if random.chance(50) {
            Binding::Doubles
        } else {
            Binding::Integers
        });
        let clients = Client::by_chance(&mut random, &plan);
        let mut world = Self {
            followers: Followers::new(clients.len()),
            backup: Backup::new(),
            plan,
            random,
            seen: Seen::new(),
            story: is_told.then(Vec::new),
            sql,
            alarm_at_ms: None,
            now_ms: 1_795_345_151_954,
            object: None,
            life: 0,
            ends: Vec::new(),
            clients,
            log: Log::new(),
            trap: None,
            is_healthy: false,
            reports: Vec::new(),
            closing: Vec::new(),
            cause: Cause::Wake,
            head_before: 0,
            failures_before: 0,
            has_cut_answers: false,
            lifetimes: Rc::default(),
            next_marker: 0,
        };
        tell!(world, "{:?}", world.plan);
        world.open().expect("a new store can be opened");
        world.object = None;
        world.log.begin(&world.lifetime());
        world.adopt_existing();
        world
    }

    /// The log that a world begins with.
    fn adopt_existing(&mut self) {
        let (count, padding) = (
            self.plan.existing,
            if self.plan.is_heavy { 700_000 } else { 5 },
        );
        if count == 0 {
            return;
        }
        self.sql.set_up(&format!(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) \
             INSERT INTO eventlog_7_sim SELECT n, n - 1, 'v1.Noted', \
             '{{\"sekret\":' || n || ',\"text\":\"' || printf('%.{padding}c', 'x') || '\"}}', '2025-01-01T00:00:00.000Z', 'c0', 's' FROM numbers; \
             UPDATE context_7 SET currentHead = {count};"
        ));
        self.adopt_rows(padding);
        self.next_marker = count;
        if self.plan.uses.has_on_committed() {
            // A store that meets the hook for the first time begins at the head that it has then.
            self.followers.begin_at(self.log.head());
        }
    }

    /// A marker for an event that nobody has made yet.
    pub(super) fn new_marker(&mut self) -> u64 {
        self.next_marker += 1;
        self.next_marker
    }

    fn fresh(lifetimes: &Cell<u64>) -> BackendId {
        lifetimes.set(lifetimes.get() + 1);
        BackendId::stored(format!("lifetime-{}", lifetimes.get()))
    }

    fn open(&mut self) -> Result<(), String> {
        let fresh = Self::fresh(&self.lifetimes);
        let store_id = StoreId::new(STORE);
        let (store, _) = EventStore::open(self.sql.clone(), store_id, fresh)
            .map_err(|error| error.to_string())?;
        let rules = Rules {
            admin: Some(AdminSecret::new(ADMIN)),
            object_id: "an-object".to_owned(),
            uses: self.plan.uses,
            backup_delay_ms: self.plan.has_backup.then_some(backup::DELAY_MS),
            ..Rules::default()
        };
        let lifetimes = self.lifetimes.clone();
        let fresh_ids = Box::new(move || Self::fresh(&lifetimes));
        self.object = Some(Object {
            backend: SyncBackend::new(store, self.plan.limits, rules, fresh_ids),
            asks: Vec::new(),
            deliveries: Vec::new(),
            ends: HashMap::new(),
        });
        Ok(())
    }

    /// Brings the object into memory, with the sockets that are open.
    fn wake(&mut self) -> Result<(), Lost> {
        if let Some(object) = &self.object {
            if !object.backend.is_closed() {
                return Ok(());
            }
            let mut opened = Ok(());
            self.turn(Cause::Wake, |backend, turn| {
                opened = backend.reopen(true, turn);
            })?;
            return opened.map_err(|error| {
                tell!(self, "cannot be opened again: {error}");
                Lost
            });
        }
        if let Err(error) = self.open() {
            tell!(self, "cannot be opened: {error}");
            self.seen.count(Kind::NotOpened);
            return Err(Lost);
        }
        self.life += 1;
        tell!(self, "life {} begins", self.life);
        for index in 0..self.ends.len() {
            if !self.ends[index].is_open {
                continue;
            }
            let kept = self.ends[index].attachment.clone().expect("it was kept");
            let object = self.object.as_mut().unwrap();
            match object.backend.reconnect(&kept, self.now_ms) {
                Some(connection) => {
                    object.ends.insert(connection, index);
                    let end = &mut self.ends[index];
                    end.connection = Some(connection);
                    end.probed.clear();
                    for pull in end.pulls_mut() {
                        pull.has_slept = true;
                    }
                }
                None => self.over(index, true),
            }
        }
        self.turn(Cause::Wake, Backend::on_wake)
    }

    /// Something happens to the object, which wakes for it.
    pub(super) fn event(
        &mut self,
        cause: Cause,
        work: impl FnOnce(&mut Backend, &mut Turn<HostText>),
    ) -> Result<(), Lost> {
        let done = self.wake().and_then(|()| self.turn(cause, work));
        self.settle_event();
        done
    }

    /// Brings trouble over the event to come, or not.
    pub(super) fn begin_event(&mut self) {
        self.begin_event_of(self.plan.trouble, 6);
    }

    /// The same for an event that brings trouble more often, and has more statements.
    pub(super) fn begin_event_of(&mut self, trouble: u64, skip_max: usize) {
        self.failures_before = self.sql.failures();
        if self.is_healthy || !self.random.chance(trouble) {
            return;
        }
        match self.random.below(10) {
            0..4 => {
                let (skip, count) = (self.random.index(skip_max), 1 + self.random.index(3));
                let when = if self.random.chance(50) {
                    When::Before
                } else {
                    When::After
                };
                self.sql.fail_run(skip, count, when);
            }
            4..9 => self.trap = Some(Trap::After(self.random.index(7))),
            _ => self.trap = Some(Trap::RollBack),
        }
    }

    /// The event is over, and with it whatever was to go wrong in it.
    pub(super) fn settle_event(&mut self) {
        self.trap = None;
        self.sql.heal();
        if self.sql.failures() > self.failures_before {
            self.seen.count(Kind::StorageFailures);
            self.has_cut_answers = true;
            for client in &mut self.clients {
                client.is_doubtful = true;
            }
            if self.random.chance(30) {
                // Trouble does not come alone.
                tell!(self, "lost after storage failed");
                self.lose();
            }
        }
        self.failures_before = self.sql.failures();
    }

    /// Whether storage has failed in the event at hand, or it was noticed that somebody else has changed it.
    pub(super) fn has_failed(&self) -> bool {
        self.sql.failures() > self.failures_before || self.is_change_noticed()
    }

    fn is_change_noticed(&self) -> bool {
        let is_change = |report: &Report| matches!(report, Report::RowsChanged { .. });
        self.reports.iter().any(is_change)
    }

    /// Another lifetime than there was.
    pub(super) fn next_lifetime(&self) -> String {
        Self::fresh(&self.lifetimes).as_str().to_owned()
    }

    pub(super) fn turn(
        &mut self,
        cause: Cause,
        work: impl FnOnce(&mut Backend, &mut Turn<HostText>),
    ) -> Result<(), Lost> {
        let Some(object) = &mut self.object else {
            return Err(Lost);
        };
        let is_rolled_back = self.trap == Some(Trap::RollBack);
        if is_rolled_back {
            self.sql.hold();
        }
        let mut turn = Turn::at(self.now_ms);
        work(&mut object.backend, &mut turn);
        if is_rolled_back {
            self.sql.roll_back();
            tell!(self, "lost, with everything it did");
            self.seen.count(Kind::RolledBack);
            self.lose();
            return Err(Lost);
        }
        let (mut reports, mut closing) = (Vec::new(), Vec::new());
        for output in &turn.out {
            match output {
                Output::ForgetAlarm => self.alarm_at_ms = None,
                Output::WakeAt { at_ms } => {
                    let known = self.alarm_at_ms.unwrap_or(*at_ms);
                    self.alarm_at_ms = Some(known.min(*at_ms));
                }
                Output::Report(report) => reports.push(report.clone()),
                Output::Close { connection, .. } => {
                    closing.extend(object.ends.get(connection));
                }
                _ => {}
            }
        }
        let outer = (
            std::mem::replace(&mut self.reports, reports),
            std::mem::replace(&mut self.closing, closing),
            std::mem::replace(&mut self.cause, cause),
            std::mem::replace(&mut self.head_before, self.log.head()),
        );
        let holds_alarm = object.backend.holds_alarm();
        if self.is_change_noticed() && cause != Cause::Change {
            self.seen.count(Kind::RowsChanged);
            self.has_cut_answers = true;
            for client in &mut self.clients {
                client.is_doubtful = true;
            }
        }
        self.note_rows();
        self.backup.commit(holds_alarm);
        self.note_dropped();
        let applied = self.apply(turn.out);
        (self.reports, self.closing, self.cause, self.head_before) = outer;
        applied
    }

    /// Does what a turn asks for, in this order. What a hook that returns at once brings about comes before what was
    /// behind it.
    fn apply(&mut self, outputs: Vec<Output<HostText>>) -> Result<(), Lost> {
        for output in outputs {
            self.tick()?;
            match output {
                Output::Send { to, frame } => {
                    if let Some(end) = self.end_of(to) {
                        self.send(end, frame.as_str());
                    }
                }
                Output::Remember { connection } => self.remember(connection),
                Output::Close {
                    connection,
                    code,
                    reason,
                } => {
                    let end = self
                        .end_of(connection)
                        .expect("a known connection is closed");
                    tell!(self, "  close {end} {code} {reason}");
                    self.check_close(end, code);
                    let object = self.object.as_mut().unwrap();
                    assert!(object.backend.peer(connection).is_none(), "forgotten first");
                    object.ends.remove(&connection);
                    self.over(end, false);
                }
                Output::Probe { connection } => {
                    let pinged_ms = self.end_of(connection).and_then(|end| self.pinged_ms(end));
                    self.turn(Cause::Ping, |backend, turn| {
                        backend.on_ping(connection, pinged_ms, turn);
                    })?;
                }
                Output::WakeAt { .. } | Output::ForgetAlarm => {}
                Output::Ask(ask) => self.ask(&ask)?,
                Output::Deliver(delivery) => self.deliver(&delivery)?,
                Output::Fetch(_) => panic!("nothing is brought in"),
                Output::Report(report) => self.report(&report),
            }
        }
        Ok(())
    }

    /// Takes note of who is called no more, whether or not that is told to anybody.
    fn note_dropped(&mut self) {
        let dropped = |report: &Report| match report {
            Report::ClientObjectDropped { object_id, .. } => Some(object_id.clone()),
            _ => None,
        };
        let dropped: Vec<String> = self.reports.iter().filter_map(dropped).collect();
        for object_id in dropped {
            self.object_dropped(&object_id);
        }
    }

    /// Whether the object is lost now.
    fn tick(&mut self) -> Result<(), Lost> {
        match &mut self.trap {
            Some(Trap::After(0)) => {
                tell!(self, "lost");
                self.seen.count(Kind::Traps);
                self.trap = None;
                self.lose();
                Err(Lost)
            }
            Some(Trap::After(left)) => {
                *left -= 1;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end_of(&self, connection: ConnectionId) -> Option<usize> {
        let object = self.object.as_ref()?;
        object.ends.get(&connection).copied()
    }

    /// A frame is on its way to a client.
    fn send(&mut self, end: usize, frame: &str) {
        let heard = hear(self.ends[end].family, frame);
        if self.story.is_some() {
            let short: String = frame.chars().take(200).collect();
            tell!(self, "  send {end} {short}");
        }
        let bytes = frame.len();
        self.check_sent(end, &heard);
        let life = self.life;
        self.ends[end]
            .inbox
            .push_back(Incoming::Frame { heard, bytes, life });
    }

    fn remember(&mut self, connection: ConnectionId) {
        let Some(end) = self.end_of(connection) else {
            return;
        };
        let object = self.object.as_ref().unwrap();
        let Some(kept) = object.backend.attachment(connection) else {
            // It is closed in this very turn.
            return;
        };
        assert!(kept.len() <= ATTACHMENT_BYTES_MAX);
        assert!(self.ends[end].is_socket());
        self.ends[end].attachment = Some(kept);
    }

    /// When the client of a 0.3 socket was last answered a ping by the runtime.
    fn pinged_ms(&mut self, end: usize) -> Option<u64> {
        let client = &self.clients[self.ends[end].client];
        let (now_ms, reads) = (self.now_ms, self.is_healthy || !client.is_stalled);
        let end = &mut self.ends[end];
        if reads {
            let open_ms = now_ms.saturating_sub(end.opened_ms);
            end.pinged_ms = Some(end.opened_ms + open_ms / PING_MS * PING_MS);
        }
        end.pinged_ms
    }

    fn report(&mut self, report: &Report) {
        let line = format!("{report} {report:?}");
        assert!(!line.contains("sekret"), "{line}");
        match report {
            Report::UnknownPull => self.seen.count(Kind::UnknownPull),
            Report::TakesNothing { .. } => self.seen.count(Kind::TakesNothing),
            Report::Refused { refusal, .. } => match refusal.reason() {
                Reason::PushRate => self.seen.count(Kind::PushBeyondRate),
                Reason::StoreFull => self.seen.count(Kind::StoreFull),
                _ => {}
            },
            _ => {}
        }
    }

    /// Memory is gone in the middle of work: all sockets are closed, all requests fail.
    pub(super) fn lose(&mut self) {
        self.forget_d1();
        self.object = None;
        for index in 0..self.ends.len() {
            if self.ends[index].is_open {
                self.cut(index);
            }
        }
        self.forget_memory();
    }

    /// What followers were told in memory alone is forgotten.
    pub(super) fn forget_memory(&mut self) {
        self.followers.lose();
        for end in &mut self.ends {
            end.connection = None;
        }
        for client in &mut self.clients {
            client.may_hear_again();
        }
    }

    /// A connection breaks: its client may not get all that was on its way.
    pub(super) fn cut(&mut self, end: usize) {
        let kept = self.random.index(self.ends[end].inbox.len() + 1);
        self.ends[end].inbox.truncate(kept);
        self.over(end, false);
    }

    /// A connection is over, after what is on its way.
    pub(super) fn over(&mut self, end: usize, is_whole: bool) {
        let end = &mut self.ends[end];
        (end.is_open, end.connection) = (false, None);
        end.inbox.push_back(Incoming::Over { is_whole });
    }

    /// Another object of the isolate ends the instance: memory is lost, sockets stay, but for those that something
    /// of theirs waits on.
    pub(super) fn bystand(&mut self) {
        let Some(object) = &self.object else {
            return;
        };
        let waits = |end: &End| {
            let progress = end
                .connection
                .map(|connection| object.backend.progress(connection));
            !end.is_socket() || progress == Some(Progress::Waiting)
        };
        let open = self.ends.iter().enumerate().filter(|(_, end)| end.is_open);
        let waiting: Vec<usize> = open
            .filter(|(_, end)| waits(end))
            .map(|(index, _)| index)
            .collect();
        for end in waiting {
            self.cut(end);
        }
        tell!(self, "a bystander of another object's end");
        self.seen.count(Kind::Bystanders);
        self.forget_d1();
        self.object = None;
        self.forget_memory();
    }

    /// An object that has had nothing to do for a while leaves memory.
    pub(super) fn evict(&mut self) {
        let Some(object) = &self.object else {
            return;
        };
        let is_waiting = |end: &End| {
            let progress = end
                .connection
                .map(|connection| object.backend.progress(connection));
            end.is_open && (!end.is_socket() || progress == Some(Progress::Waiting))
        };
        let is_busy = !object.asks.is_empty()
            || !object.deliveries.is_empty()
            || self.ends.iter().any(is_waiting)
            // With as much on its way, something is always going on.
            || self.in_flight_bytes() > CONNECTION_BYTES_MAX;
        let is_awaited = self
            .alarm_at_ms
            .is_some_and(|at_ms| at_ms < self.now_ms + IDLE_MS);
        if is_busy || is_awaited {
            return;
        }
        self.now_ms += IDLE_MS;
        tell!(self, "evicted");
        self.seen.count(Kind::Evictions);
        self.object = None;
        self.forget_memory();
    }

    /// Opens a connection; `None` where the object cannot be opened.
    pub(super) fn connect(
        &mut self,
        client: usize,
        transport: Transport,
        family: Family,
        mut grant: Grant,
    ) -> Option<usize> {
        let woken = self.wake();
        if woken.is_err() {
            return None;
        }
        let index = self.ends.len();
        // By this a hook is known to be about this connection.
        grant.claims = Some(format!(r#"{{"sub":"u{client}","n":{index}}}"#));
        let object = self.object.as_mut()?;
        let (backend, now_ms) = (&mut object.backend, self.now_ms);
        let (connection, attachment) = if transport == Transport::WebSocket {
            let connection = backend.connect(family, grant.clone(), now_ms);
            (connection, backend.attachment(connection))
        } else {
            (backend.connect_once(transport, grant.clone(), now_ms), None)
        };
        object.ends.insert(connection, index);
        self.ends.push(End {
            client,
            transport,
            family,
            grant,
            connection: Some(connection),
            attachment,
            is_open: true,
            inbox: std::collections::VecDeque::new(),
            requests: Vec::new(),
            frames: 0,
            opened_ms: now_ms,
            awaits_pull: transport == Transport::WebSocket && family == Family::Rpc,
            probed: std::collections::BTreeSet::new(),
            asked_ms: None,
            is_fresh: true,
            missing_after: None,
            first_request: None,
            is_over: false,
            is_streaming: false,
            is_stale: false,
            is_made: false,
            pinged_ms: None,
        });
        tell!(
            self,
            "client {client} opens {index}, {transport:?} {family:?}"
        );
        Some(index)
    }

    /// A client sends a frame with these requests in it.
    pub(super) fn frame(&mut self, end: usize, text: &str, requests: Vec<Request>) {
        if self.story.is_some() {
            let short: String = text.chars().take(260).collect();
            tell!(self, "frame of {end}: {short}");
        }
        let now_ms = self.now_ms;
        if !self.ends[end].is_open {
            // It goes nowhere.
            return self.settle_event();
        }
        self.ends[end].frames += 1;
        // One that stands behind others in its frame may be seen later.
        let (mut awaits_pull, is_alone) = (self.ends[end].awaits_pull, requests.len() == 1);
        for mut request in requests {
            let one = &mut self.ends[end];
            (request.frame, request.sent_ms) = (one.frames, now_ms);
            if request.generation.family() == Family::Rpc {
                let counter: Option<u64> = request.id.trim_matches('"').parse().ok();
                one.first_request = one.first_request.into_iter().chain(counter).min();
            }
            let is_pull = matches!(request.ask, Asked::Pull(_));
            awaits_pull &= !(is_pull && is_alone);
            if is_pull {
                self.renew_pull(end, &request.id);
            }
            self.ends[end].requests.push(request);
        }
        if self.wake().is_err() {
            if self.ends[end].is_open {
                self.cut(end);
            }
            return self.settle_event();
        }
        let Some(connection) = self.ends[end].connection else {
            return self.settle_event();
        };
        let _ = self.event(Cause::End(end), |backend, turn| {
            backend.on_frame(connection, Frame::Text(text), turn);
        });
        self.ends[end].awaits_pull = awaits_pull;
        self.serve();
    }

    /// What the host does for requests over HTTP and DO-RPC: hands out what there is, and gives connections back.
    pub(super) fn serve(&mut self) {
        loop {
            let Some(object) = &self.object else {
                return;
            };
            let is_done = |end: &End| {
                let connection = end.connection.filter(|_| !end.is_socket());
                connection
                    .filter(|_| !end.is_made)
                    .is_some_and(|connection| object.backend.progress(connection) == Progress::Done)
            };
            let Some(index) = self.ends.iter().position(is_done) else {
                break;
            };
            // What was streamed has a reader, and so has what is not small.
            if self.ends[index].is_streaming || self.random.chance(25) {
                tell!(self, "{index} is made, and yet to be read");
                self.seen.count(Kind::AnswersAwaitingReader);
                let end = &mut self.ends[index];
                (end.is_streaming, end.is_made) = (true, true);
                continue;
            }
            self.leave(index, true);
        }
        let Some(object) = &self.object else {
            return;
        };
        for end in &mut self.ends {
            let connection = end.connection.filter(|_| !end.is_socket());
            let progress = connection.map(|connection| object.backend.progress(connection));
            if progress == Some(Progress::More) && !end.is_streaming {
                end.is_streaming = true;
                self.seen.count(Kind::HttpStreams);
            }
        }
    }

    /// A connection is given back: a socket that has closed, an answer that was read or given up.
    pub(super) fn leave(&mut self, end: usize, is_whole: bool) {
        let Some(connection) = self.ends[end].connection else {
            // The object finds it gone when it wakes.
            return self.over(end, is_whole);
        };
        let object = self.object.as_mut().unwrap();
        object.ends.remove(&connection);
        self.over(end, is_whole);
        let _ = self.event(Cause::End(end), |backend, turn| {
            backend.disconnect(connection, turn);
        });
        self.answered(end);
    }

    /// The alarm goes off.
    pub(super) fn alarm(&mut self) {
        let Some(at_ms) = self.alarm_at_ms.take() else {
            return;
        };
        self.seen.count(Kind::Alarms);
        tell!(self, "alarm at {at_ms}");
        if self.event(Cause::Alarm, Backend::on_alarm).is_err() && self.alarm_at_ms.is_none() {
            // What failed is tried again by the platform.
            self.alarm_at_ms = Some(self.now_ms + 2_000);
        }
        self.serve();
    }

    fn ask(&mut self, ask: &Ask<HostText>) -> Result<(), Lost> {
        let is_about = self.about(ask);
        if matches!(is_about, About::Refused) {
            // Nothing waits for it, so when it returns is of no consequence.
            return self.judge(ask.id, is_about, true);
        }
        let verdict = self.verdict_at_once();
        tell!(self, "  ask {:?} {is_about:?}: {verdict:?}", ask.id);
        self.set_gate(is_about, Gate::Asked(ask.id));
        if let Some(verdict) = verdict {
            return self.judge(ask.id, is_about, verdict);
        }
        self.seen.count(Kind::SlowVerdicts);
        let object = self.object.as_mut().unwrap();
        let id = ask.id;
        object.asks.push(Pending { id, is_about });
        Ok(())
    }

    fn verdict_at_once(&mut self) -> Option<bool> {
        if self.is_healthy || self.random.chance(self.plan.health) {
            return Some(true);
        }
        self.random.weighted(&[(1, Some(false)), (3, None)])
    }

    /// A hook returns.
    pub(super) fn judge(&mut self, id: AskId, is_about: About, is_good: bool) -> Result<(), Lost> {
        tell!(self, "  verdict {id:?} {is_about:?} {is_good}");
        let gate = if is_good { Gate::Yes } else { Gate::No };
        self.set_gate(is_about, gate);
        let verdict = if is_good {
            Ok(())
        } else {
            Err(HookError::new("the hook says no"))
        };
        self.turn(Cause::Verdict, |backend, turn| {
            backend.on_verdict(id, verdict, turn);
        })
    }

    fn set_gate(&mut self, is_about: About, gate: Gate) {
        match is_about {
            About::Request { end, index } => self.ends[end].requests[index].gate = gate,
            About::Stored { end, index } => {
                let push = self.ends[end].requests[index].push_mut().unwrap();
                push.acknowledgement = gate;
            }
            About::Page | About::Refused => {}
        }
    }

    /// Which request a hook is about.
    fn about(&self, ask: &Ask<HostText>) -> About {
        let claims = ask.peer.grant.claims.as_ref().unwrap();
        let (_, number) = claims.split_once(r#""n":"#).unwrap();
        let end: usize = number.trim_end_matches('}').parse().unwrap();
        let mut requests = self.ends[end].requests.iter();
        assert_eq!(self.ends[end].transport, ask.peer.transport);
        let index = match &ask.hook {
            Hook::PullRes { .. } => return About::Page,
            Hook::PushRes { refusal: Some(_) } => return About::Refused,
            Hook::Push { message } => requests.position(|request| {
                let id = format!(r#""id":{},"#, request.id);
                let plain_id = format!(r#""requestId":{},"#, request.id);
                let is_named = message.contains(&id) || message.contains(&plain_id);
                request.push().is_some() && is_named && request.gate == Gate::Closed
            }),
            Hook::Pull {
                after,
                backend_id,
                live,
            } => requests.position(|request| match &request.ask {
                Asked::Pull(pull) => {
                    let is_live = pull.live || pull.calls;
                    request.gate == Gate::Closed
                        && !self.is_behind(request, end)
                        && !request.is_answered
                        && pull.state == Delivery::Waiting
                        && u64::try_from(pull.last).ok() == Some(*after)
                        && (*backend_id == pull.backend_id || pull.backend_id.is_none())
                        && *live == is_live
                }
                _ => false,
            }),
            Hook::PushRes { refusal: None } => {
                let index = requests.position(|request| {
                    let is_over = request.is_answered || request.is_interrupted;
                    let is_open = !is_over && self.may_be_decided(request);
                    is_open
                        && request.push().is_some_and(|push| {
                            push.acknowledgement == Gate::Closed && self.log.has_all(&push.events)
                        })
                });
                let index = index.expect("a push that is stored");
                return About::Stored { end, index };
            }
        };
        let index = index.unwrap_or_else(|| {
            let requests = &self.ends[end].requests;
            panic!("no request asks for {:?}: {requests:?}", ask.hook)
        });
        assert_eq!(self.ends[end].requests[index].generation, ask.generation);
        About::Request { end, index }
    }

    /// Whether the hook before a push has let it through.
    pub(super) fn may_be_decided(&self, request: &Request) -> bool {
        let has_hook = match &request.ask {
            Asked::Push(push) => self.plan.uses.has_on_push() && !push.events.is_empty(),
            Asked::Pull(_) => self.plan.uses.has_on_pull(),
            _ => false,
        };
        request.gate == if has_hook { Gate::Yes } else { Gate::Closed }
    }

    fn deliver(&mut self, delivery: &Told<HostText>) -> Result<(), Lost> {
        let id = delivery.id;
        let outcome = self.receive_delivery(delivery);
        tell!(self, "  delivery {id:?}: {outcome:?}");
        match outcome {
            Some(outcome) => self.delivered(id, outcome),
            None => Ok(()),
        }
    }

    /// How a delivery went becomes known to the object.
    pub(super) fn delivered(&mut self, id: DeliveryId, outcome: Outcome) -> Result<(), Lost> {
        let is_known = self.followers.is_under_way(id) || self.backup.has_heard(id);
        if !is_known {
            self.seen.count(Kind::LateOutcomes);
        }
        let told = outcome.clone();
        // Before its turn, since what follows may be told in it.
        self.note_outcome(id, &told);
        self.turn(Cause::Outcome, |backend, turn| {
            backend.on_delivered(id, outcome, turn);
        })
    }
}
