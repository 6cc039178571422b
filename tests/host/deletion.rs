//! A store that is deleted for good: wherever D1 or storage fails, and wherever the object dies, in the end nothing is left
//! of it, in D1 or here, nothing of other stores is touched, and who comes then begins a new one.

use std::collections::VecDeque;

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    ConnectionId, Deleting, Delivery, Frame, Message, Outcome, Output, Plan, Refusal, Report,
    Rules, Step, SyncBackend, Turn, deletion_plan,
};
use livestore_sync_worker::event::{BackendId, SeqNum, StoreId};
use livestore_sync_worker::hooks::Uses;
use livestore_sync_worker::limits::{
    DELETE_BURST_MAX, DELETE_BYTES_MAX, DELETE_ROWS_MAX, Limits, MIRROR_DEADLINE_MS,
};
use livestore_sync_worker::route::admin::Import;
use livestore_sync_worker::store::adoption;
use livestore_sync_worker::store::comparison::Repair;
use livestore_sync_worker::store::mirror::MirrorBatch;
use livestore_sync_worker::store::{EventStore, OpenError};
use livestore_sync_worker::transfer::{Header, Kind};
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::{Sample, Speaker, batch_json};
use crate::d1::{D1, Fate, log_of};
use crate::host_sql::{Binding, HostSql, HostText, When};

pub(crate) const STORE: &str = "kept";
const DELAY_MS: u64 = 5_000;

fn store_id() -> StoreId {
    StoreId::new(STORE)
}

/// An object that may be out of memory, its alarm, and D1.
pub(crate) struct Room {
    pub(crate) sql: HostSql,
    pub(crate) d1: D1,
    pub(crate) rules: Rules,
    pub(crate) backend: Option<SyncBackend<HostSql>>,
    pub(crate) now_ms: u64,
    pub(crate) alarm_at_ms: Option<u64>,
    /// How often the alarm was set.
    pub(crate) alarms_set: u32,
    /// How often it was asked for.
    wake_ups: usize,
    erased: usize,
    lives: u32,
    deliveries: VecDeque<Delivery<HostText>>,
    pub(crate) reports: Vec<Report>,
    closed: Vec<(u16, &'static str)>,
    sent: Vec<String>,
}

impl Room {
    pub(crate) fn new() -> Self {
        Self {
            sql: HostSql::in_memory(Binding::Doubles),
            d1: D1::migrated(),
            rules: Rules {
                backup_delay_ms: Some(DELAY_MS),
                has_database: true,
                asks_at_birth: true,
                ..Rules::default()
            },
            backend: None,
            now_ms: 1_795_342_751_954,
            alarm_at_ms: None,
            alarms_set: 0,
            wake_ups: 0,
            erased: 0,
            lives: 0,
            deliveries: VecDeque::new(),
            reports: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// A store of `events` events, and another lifetime before it, all of it copied; and D1 has other stores.
    pub(crate) fn filled(events: i64) -> Self {
        let mut room = Self::new();
        room.visit().unwrap();
        room.push(3);
        room.settle();
        room.turn(|backend, turn| backend.reset(turn).map(drop))
            .unwrap();
        room.push(events);
        room.settle();
        let segment = "INSERT INTO livestore_sync_segments VALUES ('kept', 'a-lifetime', 2, 1, 0, 2, 10, '', '', '', '', 1, x'00')";
        room.d1.0.execute_batch(segment).unwrap();
        for other in ["kep", "kept ", "keptt", "other"] {
            for (from, to) in [
                ("livestore_sync_events", ""),
                ("livestore_sync_lifetimes", ""),
                ("livestore_sync_segments", ""),
            ] {
                let copy = format!(
                    "CREATE TEMP TABLE t AS SELECT * FROM {from} {to}; UPDATE t SET store_id = '{other}'; \
                     INSERT OR IGNORE INTO {from} SELECT DISTINCT * FROM t; DROP TABLE t"
                );
                room.d1.0.execute_batch(&copy).unwrap();
            }
        }
        assert_eq!(room.held(STORE), format!("{} 2", events + 3));
        room
    }

    /// The same whose log was adopted from a table of sync-cf, which is still there, beside that of another store.
    fn adopted(events: i64) -> Self {
        let room = Self::filled(events);
        let (create, rows) = (
            adoption::CREATE_CLAIMS,
            log_of(room.sql.raw(), "eventlog_7_kept").len(),
        );
        room.d1
            .0
            .execute_batch(&format!(
                "{create}; CREATE TABLE eventlog_7_kept (seqNum integer primary key, name text); \
                 CREATE TABLE eventlog_7_other (seqNum integer primary key, name text); \
                 INSERT INTO eventlog_7_kept SELECT value, 'n' FROM (WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {rows}) SELECT value FROM n); \
                 INSERT INTO eventlog_7_other VALUES (1, 'n'); \
                 INSERT INTO livestore_sync_adopted VALUES ('eventlog_7_kept', 'kept', ''), ('eventlog_7_other', 'other', '')"
            ))
            .unwrap();
        let store = room.backend.as_ref().unwrap().store();
        store.set_state("adopted", "DB").unwrap();
        room
    }

    /// What is left in D1 of logs that sync-cf wrote, and who has taken them.
    fn left(&self) -> Vec<String> {
        let mut left = self
            .d1
            .rows("SELECT 'kept ' || count(*) FROM eventlog_7_kept");
        left.extend(
            self.d1
                .rows("SELECT 'other ' || count(*) FROM eventlog_7_other"),
        );
        left.extend(
            self.d1
                .rows("SELECT store_id FROM livestore_sync_adopted ORDER BY store_id"),
        );
        left
    }

    /// Rows of events and of lifetimes that D1 has of a store.
    fn held(&self, store_id: &str) -> String {
        let count = format!(
            "SELECT (SELECT count(*) FROM livestore_sync_events WHERE store_id = '{store_id}') || ' ' || \
             (SELECT count(*) FROM livestore_sync_lifetimes WHERE store_id = '{store_id}')"
        );
        self.d1.rows(&count).pop().unwrap_or_default()
    }

    /// Everything that D1 has of other stores.
    fn others(&self) -> Vec<String> {
        let mut rows = self.d1.rows(
            "SELECT json_array(store_id, backend_id, seq_num, args) FROM livestore_sync_events WHERE store_id <> 'kept'",
        );
        rows.extend(self.d1.rows(
            "SELECT json_array(store_id, backend_id, head) FROM livestore_sync_lifetimes WHERE store_id <> 'kept'",
        ));
        rows.extend(self.d1.rows(
            "SELECT json_array(store_id, last_seq_num) FROM livestore_sync_segments WHERE store_id <> 'kept'",
        ));
        rows
    }

    /// Brings the object into memory, as its host does: for a visitor, to whom D1 has said that there is no backup, or for
    /// something that is left.
    fn wake(&mut self, is_visited: bool) -> Result<(), OpenError> {
        if let Some(backend) = &self.backend {
            if backend.is_closed() {
                return self.turn(|backend, turn| backend.reopen(is_visited, turn));
            }
            return Ok(());
        }
        self.lives += 1;
        let life = self.lives;
        let mut next = 0;
        let mut fresh_ids = move || {
            next += 1;
            BackendId::stored(format!("lifetime-{life}-{next}"))
        };
        let open = if is_visited {
            EventStore::open
        } else {
            EventStore::open_born
        };
        let (store, _) = open(self.sql.clone(), store_id(), fresh_ids())?;
        let (limits, rules) = (Limits::default(), self.rules.clone());
        let backend = SyncBackend::new(store, limits, rules, Box::new(fresh_ids));
        self.backend = Some(backend);
        self.turn(SyncBackend::on_wake);
        Ok(())
    }

    pub(crate) fn visit(&mut self) -> Result<(), OpenError> {
        self.wake(true)
    }

    pub(crate) fn turn<R>(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>) -> R,
    ) -> R {
        let mut turn = Turn::at(self.now_ms);
        let result = work(self.backend.as_mut().unwrap(), &mut turn);
        if self.sql.erased() > self.erased {
            (self.erased, self.alarm_at_ms) = (self.sql.erased(), None);
        }
        for output in turn.out {
            self.wake_ups += usize::from(matches!(output, Output::WakeAt { .. }));
            match output {
                Output::Deliver(delivery) => self.deliveries.push_back(delivery),
                Output::WakeAt { at_ms } if self.alarm_at_ms.is_none_or(|set| at_ms < set) => {
                    self.alarm_at_ms = Some(at_ms);
                    self.alarms_set += 1;
                }
                Output::WakeAt { .. } => {}
                Output::Report(report) => self.reports.push(report),
                Output::Close { code, reason, .. } => self.closed.push((code, reason)),
                Output::Send { frame, .. } => self.sent.push(frame.as_str().to_owned()),
                _ => {}
            }
        }
        result
    }

    pub(crate) fn push(&mut self, count: i64) {
        self.visit().unwrap();
        let head = self.backend.as_ref().unwrap().store().head().to_i64();
        let events: Vec<Sample> = (head + 1..=head + count).map(Sample::new).collect();
        self.push_events(&events);
        assert_eq!(
            self.backend.as_ref().unwrap().store().head().to_i64(),
            head + count
        );
    }

    fn push_events(&mut self, events: &[Sample]) {
        let speaker = Speaker {
            generation: Generation::V04,
            store_id: STORE,
        };
        let push = speaker.push("\"1\"", None, &batch_json(events));
        let now_ms = self.now_ms;
        self.turn(|backend, turn| {
            let connection = backend.connect(Family::Rpc, Grant::default(), now_ms);
            backend.on_frame(connection, Frame::Text(&push), turn);
            backend.disconnect(connection, turn);
        });
    }

    pub(crate) fn connect(&mut self) -> ConnectionId {
        let now_ms = self.now_ms;
        self.turn(|backend, _| backend.connect(Family::Rpc, Grant::default(), now_ms))
    }

    /// What an operator asks for.
    fn delete(&mut self) {
        self.wake(true).unwrap();
        self.turn(SyncBackend::begin_deletion).unwrap();
    }

    /// D1 does what it is asked next, if there is something.
    fn answer(&mut self, fate: Fate) -> bool {
        let Some(Delivery { id, message }) = self.deliveries.pop_front() else {
            return false;
        };
        let outcome = match message {
            Message::Mirror(batch) | Message::Disown { batch, .. } => {
                match self.d1.run(&batch, fate) {
                    Ok(answer) => Outcome::Mirrored(answer),
                    Err(message) => Outcome::Failed(message),
                }
            }
            _ => Outcome::Taken,
        };
        self.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
        true
    }

    /// D1 does all that it is asked; whether that was something.
    pub(crate) fn answer_all(&mut self) -> bool {
        let mut is_asked = false;
        while self.answer(Fate::Done) {
            is_asked = true;
        }
        is_asked
    }

    /// Wakes an object that is out of memory: how often that asks for an alarm.
    pub(crate) fn wakes_with_alarm(&mut self) -> usize {
        let before = self.wake_ups;
        self.visit().unwrap();
        self.wake_ups - before
    }

    /// The alarm goes off, if there is one.
    pub(crate) fn alarm(&mut self) -> bool {
        let Some(at_ms) = self.alarm_at_ms.take() else {
            return false;
        };
        self.now_ms = self.now_ms.max(at_ms);
        match self.wake(false) {
            Ok(()) => self.turn(SyncBackend::on_alarm),
            Err(OpenError::Unborn) => {}
            Err(_) => self.alarm_at_ms = Some(self.now_ms + 60_000),
        }
        true
    }

    /// Time passes, as long as something is due within a day, and nothing fails any more.
    pub(crate) fn settle(&mut self) {
        let until_ms = self.now_ms + 86_000_000;
        for _ in 0..2_000 {
            if self.answer(Fate::Done) {
                continue;
            }
            if self.alarm_at_ms.is_none_or(|at_ms| at_ms > until_ms) || !self.alarm() {
                return;
            }
        }
        panic!("the alarm never comes to rest");
    }

    /// The object is gone with what it has asked for.
    pub(crate) fn die(&mut self) {
        self.deliveries.clear();
        let backend = self.backend.take();
        if backend.is_some_and(|backend| backend.holds_alarm()) {
            let again_ms = self.now_ms + 2_000;
            self.alarm_at_ms = Some(self.alarm_at_ms.map_or(again_ms, |at| at.min(again_ms)));
        }
    }

    fn tables(&self) -> Vec<String> {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name";
        let mut tables = self.sql.raw().prepare(tables).unwrap();
        let names = tables.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        let backend = self.backend.as_ref().unwrap();
        serde_json::from_str(&backend.state(self.now_ms).unwrap()).unwrap()
    }

    pub(crate) fn told(&self) -> Vec<String> {
        self.reports.iter().map(Report::to_string).collect()
    }

    /// Nothing is left, and whoever comes begins a new store, of which nothing is known.
    pub(crate) fn check_gone(&mut self, others: &[String]) {
        assert_eq!(self.held(STORE), "0 0");
        let segments = "SELECT data FROM livestore_sync_segments WHERE store_id = 'kept'";
        assert_eq!(self.d1.rows(segments).len(), 0);
        assert_eq!(self.others(), others);
        assert_eq!(self.tables(), [""; 0]);
        assert_eq!((self.alarm_at_ms, self.deliveries.len()), (None, 0));
        // Something that is left makes nothing.
        assert_eq!(self.wake(false), Err(OpenError::Unborn));
        assert_eq!(self.tables(), [""; 0]);
        let before = self.reports.len();
        self.push(2);
        let state = self.state();
        assert_eq!(
            (&state["status"], &state["head"]),
            (&"open".into(), &2.into())
        );
        assert_eq!(state["connections"]["byTransport"]["ws"], 0);
        let kept = "SELECT group_concat(key) FROM livestore_sync_state WHERE key IN ('deletion', 'reset', 'import')";
        let kept = self.sql.raw().query_row(kept, [], |row| row.get(0));
        assert_eq!(kept.unwrap_or(None::<String>), None);
        self.settle();
        assert_eq!(self.log().len(), 2);
        if self.rules.backup_delay_ms.is_some() {
            assert_eq!(self.held(STORE), "2 1");
            let backend_id = state["backendId"].as_str().unwrap();
            assert_eq!(self.d1.events(STORE, backend_id), self.log());
        }
        assert_eq!(
            self.reports[before..]
                .iter()
                .filter(|one| !matches!(one, Report::Stored { .. }))
                .count(),
            0
        );
    }

    /// Nothing is left, and nothing is due.
    pub(crate) fn check_gone_but_for_the_alarm(&mut self) {
        assert_eq!(
            (self.held(STORE), self.tables()),
            ("0 0".to_owned(), Vec::new())
        );
        assert_eq!((self.alarm_at_ms, self.deliveries.len()), (None, 0));
        assert_eq!(self.wake(false), Err(OpenError::Unborn));
    }

    fn log(&self) -> Vec<String> {
        log_of(self.sql.raw(), "eventlog_7_kept")
    }
}

#[test]
fn a_store_is_deleted_in_the_backup_and_then_here_and_the_next_is_a_new_one() {
    for dies in [false, true] {
        let mut room = Room::filled(40);
        let others = room.others();
        room.delete();
        assert_eq!(room.state()["status"], "deleting");
        assert_eq!(room.state()["deletion"]["events"], 40);
        assert_eq!(
            room.backend.as_ref().unwrap().deleting(),
            Deleting::UnderWay
        );
        room.settle();
        let Deleting::Done(deleted) = room.backend.as_ref().unwrap().deleting() else {
            panic!("it is not done");
        };
        let held = deleted.backup.unwrap();
        assert_eq!((deleted.events, held.events, held.lifetimes), (40, 43, 2));
        let told = room.told();
        let [.., begun, done] = &told[..] else {
            panic!("{told:?}");
        };
        assert_eq!(
            begun,
            "its 40 events are being deleted; nobody is served meanwhile"
        );
        assert_eq!(
            done,
            "deleted 40 events, and in the backup 43 events of 2 lifetimes"
        );
        if dies {
            room.die();
        }
        room.check_gone(&others);
    }
}

#[test]
fn nobody_is_served_meanwhile_and_sockets_are_closed() {
    let mut room = Room::filled(5);
    let others = room.others();
    let speaker = Speaker {
        generation: Generation::V04,
        store_id: STORE,
    };
    let socket = room.connect();
    let pull = speaker.pull("\"1\"", true, None);
    room.turn(|backend, turn| backend.on_frame(socket, Frame::Text(&pull), turn));
    room.delete();
    assert_eq!(
        room.closed,
        [(1013, "the store is being deleted: try again later")]
    );
    let admitted = room.turn(|backend, turn| backend.admit(&store_id(), turn.now_ms));
    assert_eq!(admitted, Err(Refusal::Deleting));
    room.push_events(&[Sample::new(6)]);
    assert_eq!((room.closed.len(), room.log().len()), (2, 5));
    // A pull over HTTP would take an error for the last word: it finds nothing new.
    room.sent.clear();
    let pull = r#"{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{"storeId":"kept","cursor":{"_tag":"Some","value":{"backendId":"mine","eventSequenceNumber":4}}}}"#;
    let now_ms = room.now_ms;
    room.turn(|backend, turn| {
        let connection = backend.connect_once(Transport::Http, Grant::default(), now_ms);
        backend.on_frame(connection, Frame::Text(pull), turn);
        backend.disconnect(connection, turn);
    });
    let [page, exit] = &room.sent[..] else {
        panic!("{:?}", room.sent);
    };
    assert!(
        page.contains(r#""batch":[]"#) && page.contains("mine"),
        "{page}"
    );
    assert!(exit.contains(r#""_tag":"Success""#), "{exit}");
    // Nor does an administrator of 0.3 turn it into a reset.
    assert!(room.turn(SyncBackend::reset).is_err());
    // Asking again changes nothing.
    room.turn(SyncBackend::begin_deletion).unwrap();
    room.settle();
    room.check_gone(&others);
}

/// Runs a deletion of a store with events for three batches, in which `goes_wrong` is called at each step with its number,
/// until it says that it was that step.
fn with_each_step_going_wrong(mut goes_wrong: impl FnMut(&mut Room, usize, usize) -> bool) {
    for make in [Room::filled, Room::adopted] {
        with_each_step_of(make, &mut goes_wrong);
    }
}

fn with_each_step_of(
    make: fn(i64) -> Room,
    goes_wrong: &mut impl FnMut(&mut Room, usize, usize) -> bool,
) {
    let mut went_wrong = 0;
    for at in 0.. {
        let mut room = make(40);
        let left = room.left();
        let others = room.others();
        room.delete();
        let mut step = 0;
        let mut is_hit = false;
        while room.backend.as_ref().is_none_or(|one| !one.is_gone()) && step < 60 {
            if goes_wrong(&mut room, at, step) {
                is_hit = true;
            } else if !room.answer(Fate::Done) && !room.alarm() {
                break;
            }
            step += 1;
        }
        room.settle();
        room.sql.heal();
        room.settle();
        let expected: &[&str] = if left.is_empty() {
            &[]
        } else {
            &["kept 0", "other 1", "other"]
        };
        assert_eq!(room.left(), expected);
        room.check_gone(&others);
        if !is_hit {
            break;
        }
        went_wrong += 1;
    }
    assert!(went_wrong > 3, "{went_wrong}");
}

#[test]
fn an_object_that_dies_between_any_two_steps_goes_on_by_itself() {
    with_each_step_going_wrong(|room, at, step| {
        let is_hit = at == step;
        if is_hit {
            room.die();
        }
        is_hit
    });
    // D1 has done what it was asked, and the object has not heard it.
    with_each_step_going_wrong(|room, at, step| {
        let is_hit = at == step;
        if is_hit {
            if let Some(Delivery {
                message: Message::Mirror(batch) | Message::Disown { batch, .. },
                ..
            }) = room.deliveries.front()
            {
                room.d1.run(batch, Fate::Done).unwrap();
            }
            room.die();
        }
        is_hit
    });
}

#[test]
fn storage_that_fails_at_any_statement_is_tried_again() {
    for when in [When::Before, When::After] {
        with_each_step_going_wrong(|room, at, step| {
            if step > 0 {
                return false;
            }
            room.sql.fail_after(at, when);
            let _ = room.answer(Fate::Done) || room.alarm();
            while room.sql.failures() == 0
                && room.backend.as_ref().is_none_or(|one| !one.is_gone())
                && (room.answer(Fate::Done) || room.alarm())
            {}
            room.sql.failures() > 0
        });
    }
}

#[test]
fn what_cannot_be_kept_is_not_begun() {
    for when in [When::Before, When::After] {
        for at in 0..4 {
            let mut room = Room::filled(4);
            let others = room.others();
            room.sql.fail_after(at, when);
            let begun = room.turn(SyncBackend::begin_deletion);
            let has_failed = !room.sql.heal();
            assert_eq!(begun.is_err(), has_failed, "{when:?} {at}");
            if has_failed {
                assert_eq!(room.state()["status"], "open");
                room.push(1);
                room.settle();
                assert_eq!(room.held(STORE), "8 2");
                room.delete();
            }
            room.settle();
            room.check_gone(&others);
        }
    }
}

#[test]
fn d1_that_fails_at_any_statement_or_is_not_heard_is_asked_again_for_as_long_as_it_takes() {
    let fates: Vec<Fate> = (0..5).map(Fate::FailsAt).chain([Fate::Unheard]).collect();
    for (fate, make) in fates.iter().flat_map(|fate| {
        [
            (*fate, Room::filled as fn(i64) -> Room),
            (*fate, Room::adopted),
        ]
    }) {
        let mut room = make(40);
        let others = room.others();
        room.delete();
        let start_ms = room.now_ms;
        let mut failed = 0;
        while failed < 9 && !room.backend.as_ref().unwrap().is_gone() {
            let before = room.reports.len();
            if !room.answer(fate) {
                room.alarm();
            }
            failed += room.reports[before..]
                .iter()
                .filter(|one| matches!(one, Report::DeletionFailed { .. }))
                .count();
            if failed > 0 && !room.backend.as_ref().unwrap().is_gone() {
                assert_eq!(room.state()["status"], "delete-failed");
                if room.deliveries.is_empty() {
                    let deleting = room.backend.as_ref().unwrap().deleting();
                    assert_eq!(deleting, Deleting::GoesOn);
                }
                assert!(room.state()["deletion"]["lastError"]["message"].is_string());
            }
        }
        if failed == 9 {
            let passed_s = (room.now_ms - start_ms) / 1_000;
            assert!(
                (1_200..1_900).contains(&passed_s),
                "{fate:?}: later and later: {passed_s}"
            );
        }
        // Who asks again has it tried at once.
        let now_ms = room.now_ms;
        if !room.backend.as_ref().unwrap().is_gone() {
            room.turn(SyncBackend::begin_deletion).unwrap();
            assert_eq!(room.alarm_at_ms, Some(now_ms));
        }
        room.settle();
        room.check_gone(&others);
    }
}

#[test]
fn d1_that_does_not_answer_is_asked_again_after_a_minute() {
    let mut room = Room::filled(4);
    let others = room.others();
    room.delete();
    assert!(room.alarm());
    let late = room.deliveries.pop_front().unwrap();
    assert!(room.backend.as_ref().unwrap().holds_alarm());
    room.die();
    assert!(room.alarm());
    let again = room.deliveries.pop_front().unwrap();
    room.now_ms += MIRROR_DEADLINE_MS;
    room.turn(SyncBackend::on_alarm);
    assert_eq!(
        room.told().last().unwrap(),
        "D1 has not answered for too long"
    );
    // What comes after that is nobody's.
    for Delivery { id, .. } in [late, again] {
        room.turn(|backend, turn| {
            backend.on_delivered(id, Outcome::Failed("late".to_owned()), turn);
        });
    }
    room.settle();
    room.check_gone(&others);
}

/// A copy that D1 runs late.
fn copy_under_way(room: &mut Room) -> MirrorBatch<HostText> {
    room.push(2);
    while room.deliveries.is_empty() {
        assert!(room.alarm());
    }
    let Some(Delivery {
        message: Message::Mirror(batch),
        ..
    }) = room.deliveries.front()
    else {
        panic!("no copy");
    };
    batch.clone()
}

#[test]
fn a_copy_that_is_on_its_way_leaves_nothing_behind() {
    // Of a store of which D1 has nothing yet: its batch is taken by an empty mirror.
    for has_mirror in [false, true] {
        let begin = || {
            if has_mirror {
                Room::filled(4)
            } else {
                Room::new()
            }
        };

        // It is answered soon.
        let mut room = begin();
        let others = room.others();
        copy_under_way(&mut room);
        let (copy, now_ms) = (room.deliveries.pop_front().unwrap(), room.now_ms);
        room.delete();
        room.settle_but_for_the_copy();
        assert_eq!(
            room.backend.as_ref().unwrap().deleting(),
            Deleting::UnderWay
        );
        room.deliveries.push_front(copy);
        assert!(room.answer(Fate::Done));
        room.settle();
        assert_eq!(room.now_ms, now_ms, "nothing else is waited for");
        room.check_gone(&others);

        // It is not answered, and done a moment before D1 would have given it up.
        let mut room = begin();
        let others = room.others();
        let copy = copy_under_way(&mut room);
        let sent_ms = room.now_ms;
        room.deliveries.clear();
        room.delete();
        room.settle_but_for_the_copy();
        room.d1.run(&copy, Fate::Done).unwrap();
        room.settle();
        assert_eq!(room.now_ms, sent_ms + MIRROR_DEADLINE_MS);
        room.check_gone(&others);

        // The object dies with it, before it is asked to delete, or after.
        for dies_first in [true, false] {
            let mut room = begin();
            let others = room.others();
            let copy = copy_under_way(&mut room);
            if dies_first {
                room.die();
                room.delete();
            } else {
                room.delete();
                room.die();
            }
            room.settle_but_for_the_copy();
            if let Some(backend) = &room.backend {
                assert_eq!(backend.deleting(), Deleting::GoesOn);
            }
            room.d1.run(&copy, Fate::Done).unwrap();
            room.settle();
            room.check_gone(&others);
        }

        // A reset has let go of it.
        let mut room = begin();
        let others = room.others();
        let copy = copy_under_way(&mut room);
        room.deliveries.clear();
        room.turn(SyncBackend::reset).unwrap();
        room.delete();
        room.settle_but_for_the_copy();
        room.d1.run(&copy, Fate::Done).unwrap();
        room.settle();
        room.check_gone(&others);
    }
}

impl Room {
    /// Everything happens that does not wait for a copy that is on its way.
    fn settle_but_for_the_copy(&mut self) {
        for _ in 0..100 {
            if self.answer(Fate::Done) {
                continue;
            }
            if self
                .alarm_at_ms
                .is_none_or(|at_ms| at_ms >= self.now_ms + 20_000)
                || !self.alarm()
            {
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

#[test]
fn a_repair_that_is_on_its_way_leaves_nothing_behind_and_ends() {
    let mut room = Room::filled(4);
    let others = room.others();
    room.d1
        .0
        .execute_batch("DELETE FROM livestore_sync_events WHERE store_id = 'kept' AND seq_num = 2")
        .unwrap();
    let now_ms = room.now_ms;
    let mut verification = room
        .turn(|backend, _| backend.verification(SeqNum::ROOT, 40, Repair::FromLog))
        .unwrap();
    let ask = |room: &mut Room, verification: &mut _| {
        room.turn(|backend, _| match backend.verify(verification, now_ms) {
            Step::Ask(batch) => Some(batch),
            Step::Tell(_) | Step::Pause => None,
            other => panic!("{other:?}"),
        })
    };
    // It is looked, compared, and then written.
    for _ in 0..2 {
        let batch = ask(&mut room, &mut verification).unwrap();
        let answer = room.d1.run(&batch, Fate::Done).unwrap();
        room.turn(|backend, _| backend.verified(&mut verification, Outcome::Mirrored(answer)));
    }
    let repair = ask(&mut room, &mut verification).unwrap();
    room.delete();
    room.settle_but_for_the_copy();
    room.d1.run(&repair, Fate::Done).unwrap();
    let ended = room.turn(|backend, _| backend.verify(&mut verification, now_ms));
    let Step::End(lines) = ended else {
        panic!("{ended:?}");
    };
    assert!(
        lines.contains("the store is being deleted") && lines.contains("unfinished"),
        "{lines}"
    );
    room.settle();
    room.check_gone(&others);
}

#[test]
fn a_repair_that_has_been_answered_is_not_waited_for() {
    let mut room = Room::filled(4);
    let others = room.others();
    let now_ms = room.now_ms;
    let mut verification = room
        .turn(|backend, _| backend.verification(SeqNum::ROOT, 40, Repair::FromLog))
        .unwrap();
    loop {
        match room.turn(|backend, _| backend.verify(&mut verification, now_ms)) {
            Step::Ask(batch) => {
                let answer = room.d1.run(&batch, Fate::Done).unwrap();
                room.turn(|backend, _| {
                    backend.verified(&mut verification, Outcome::Mirrored(answer));
                });
            }
            Step::Tell(_) | Step::Pause => {}
            Step::Read(query) => panic!("{query:?}"),
            Step::End(_) => break,
        }
    }
    room.delete();
    room.settle();
    assert_eq!(room.now_ms, now_ms);
    room.check_gone(&others);
}

#[test]
fn a_long_backup_is_forgotten_some_rows_at_a_time_and_some_batches_for_each_alarm() {
    let count = i64::from(DELETE_ROWS_MAX) * i64::from(DELETE_BURST_MAX) + 7;
    let mut room = Room::filled(2);
    let others = room.others();
    room.d1.0.execute_batch(&format!(
        "WITH RECURSIVE n(x) AS (SELECT 3 UNION ALL SELECT x + 1 FROM n WHERE x < {count}) \
         INSERT INTO livestore_sync_events SELECT 'kept', 'lifetime-1-2', x, x - 1, 'n', '{{}}', '', 'c', 's' FROM n"
    )).unwrap();
    room.delete();
    let start_ms = room.now_ms;
    let mut left = Vec::new();
    let mut asked = Vec::new();
    while room.alarm() {
        let mut batches = 0;
        while room.answer(Fate::Done) {
            batches += 1;
            let rows = room.held(STORE);
            left.push(rows.split(' ').next().unwrap().parse::<i64>().unwrap());
        }
        asked.push(batches);
    }
    assert!(
        room.now_ms == start_ms && asked[0] == DELETE_BURST_MAX && asked.len() == 2,
        "{asked:?}"
    );
    assert!(
        left.windows(2)
            .all(|pair| pair[0] - pair[1] <= i64::from(DELETE_ROWS_MAX))
    );
    room.check_gone(&others);
}

#[test]
fn large_rows_are_forgotten_in_smaller_numbers_and_none_is_too_large() {
    let mut room = Room::filled(2);
    let others = room.others();
    // Three of them are more than goes at once.
    let bytes = DELETE_BYTES_MAX / 2 - 1_000;
    room.d1
        .0
        .set_limit(rusqlite::limits::Limit::SQLITE_LIMIT_LENGTH, i32::MAX)
        .unwrap();
    room.d1
        .0
        .execute_batch(&format!(
            "WITH RECURSIVE n(x) AS (SELECT 3 UNION ALL SELECT x + 1 FROM n WHERE x < 7) \
         INSERT INTO livestore_sync_events SELECT 'kept', 'lifetime-1-2', x, x - 1, 'n', \
         CAST(zeroblob({bytes} * (1 + 2 * (x = 7))) AS TEXT), '', 'c', 's' FROM n"
        ))
        .unwrap();
    room.delete();
    let mut left = vec![10];
    for _ in 0..100 {
        let _ = room.answer(Fate::Done) || room.alarm();
        let rows = room
            .held(STORE)
            .split(' ')
            .next()
            .unwrap()
            .parse::<i64>()
            .unwrap();
        if left.last() != Some(&rows) {
            left.push(rows);
        }
    }
    // Those of the first lifetime; two small ones and three large ones; the others, of which one is larger than all that.
    assert_eq!(left, [10, 7, 2, 0]);
    room.check_gone(&others);
}

#[test]
fn what_is_forgotten_is_found_by_the_key() {
    let room = Room::filled(2);
    let batch = livestore_sync_worker::store::deletion::forget::<HostText>(&store_id(), 10);
    for step in batch.steps {
        let explain = format!("EXPLAIN QUERY PLAN {}", step.sql);
        let mut plan = room.d1.0.prepare(&explain).unwrap();
        for (at, _) in step.params.iter().enumerate() {
            plan.raw_bind_parameter(at + 1, "x").unwrap();
        }
        let mut rows = plan.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let detail: String = row.get(3).unwrap();
            let is_scan = detail.contains("SCAN livestore_sync_events")
                || detail.contains("SCAN livestore_sync_lifetimes");
            assert!(!is_scan, "{}: {detail}", step.sql);
        }
    }
}

#[test]
fn a_database_without_tables_or_none_has_nothing_to_forget() {
    for has_database in [true, false] {
        for backs_up in [true, false] {
            let mut room = Room::new();
            room.d1 = D1::new();
            room.rules.has_database = has_database;
            room.rules.backup_delay_ms = None;
            room.visit().unwrap();
            room.push(3);
            room.die();
            room.rules.backup_delay_ms = (backs_up && has_database).then_some(DELAY_MS);
            room.delete();
            room.settle();
            assert!(room.backend.as_ref().unwrap().is_gone());
            assert_eq!(room.tables(), [""; 0]);
            assert_eq!(room.alarm_at_ms, None);
        }
    }
}

#[test]
fn what_a_backup_left_is_forgotten_though_there_is_none_any_more() {
    let mut room = Room::filled(4);
    let others = room.others();
    room.die();
    room.rules.backup_delay_ms = None;
    room.delete();
    room.settle();
    room.check_gone(&others);
}

#[test]
fn tables_of_another_version_are_left_alone_until_they_are_ours() {
    let set = |room: &Room, by: i64| {
        let sql = format!("UPDATE livestore_sync_schema SET version = version + {by}");
        room.d1.0.execute_batch(&sql).unwrap();
    };
    // A later one, and an earlier one that no migration leads on from.
    for by in [1, -10] {
        let mut room = Room::filled(4);
        let others = room.others();
        set(&room, by);
        room.delete();
        for _ in 0..8 {
            let _ = room.answer(Fate::Done) || room.alarm();
        }
        let told = room.told();
        let last = told.last().unwrap();
        assert!(
            last.starts_with("the tables in D1 have version"),
            "{told:?}"
        );
        assert_eq!(room.held(STORE), "7 2");
        // Also if they became so in the middle of it.
        let batch = livestore_sync_worker::store::deletion::forget(&store_id(), 100);
        room.d1.run(&batch, Fate::Done).unwrap();
        assert_eq!(room.held(STORE), "7 2");
        set(&room, -by);
        room.settle();
        room.check_gone(&others);
    }
}

#[test]
fn a_store_of_which_there_is_a_backup_alone_is_deleted_too() {
    let mut room = Room::filled(4);
    let others = room.others();
    room.die();
    room.sql = HostSql::in_memory(Binding::Doubles);
    (room.erased, room.alarm_at_ms) = (0, None);
    EventStore::plan_deletion(&room.sql, &deletion_plan(room.now_ms)).unwrap();
    assert_eq!(EventStore::exists(&room.sql, &store_id()), Ok(true));
    assert_eq!(EventStore::is_deleting(&room.sql, &store_id()), Ok(true));
    // By the alarm, or whoever comes first.
    room.wake(false).unwrap();
    room.settle();
    room.check_gone(&others);
}

#[test]
fn a_log_that_lies_elsewhere_is_given_up_with_the_store() {
    let mut room = Room::new();
    room.visit().unwrap();
    room.die();
    room.sql.set_up("UPDATE context_7 SET currentHead = 20");
    room.sql.set_key_value_head(20);
    assert!(matches!(room.visit(), Err(OpenError::Elsewhere { .. })));
    EventStore::plan_deletion(&room.sql, &deletion_plan(room.now_ms)).unwrap();
    room.wake(true).unwrap();
    room.settle();
    room.check_gone(&[]);
}

#[test]
fn a_log_that_is_being_brought_in_is_deleted_with_the_rest() {
    let mut room = Room::filled(4);
    let others = room.others();
    let ask = Import {
        replace: true,
        ..Import::default()
    };
    let header = Header {
        kind: Kind::Export,
        store_id: None,
        backend_id: None,
        head: None,
        exported_at: None,
    };
    let plan = |room: &Room| {
        let glance = EventStore::glance(&room.sql, &store_id()).unwrap();
        let fresh = BackendId::stored("fresh".to_owned());
        let state = String::new();
        Plan::of_file(&ask, &store_id(), &header, state, glance.as_ref(), &fresh)
    };
    let begun = plan(&room).unwrap();
    room.turn(|backend, turn| backend.begin_restore(begun, turn))
        .unwrap();
    assert_eq!(room.state()["status"], "restoring");
    room.delete();
    assert_eq!(room.state()["status"], "deleting");
    let refused = plan(&room).unwrap_err();
    assert_eq!(
        (refused.status, refused.message.contains("being deleted")),
        (409, true)
    );
    // Also over a death: the plan for the log is kept beside that of its end.
    room.die();
    room.wake(false).unwrap();
    assert_eq!(room.state()["status"], "deleting");
    room.settle();
    room.check_gone(&others);
}

#[test]
fn rows_that_somebody_else_changes_meanwhile_do_not_end_it() {
    let mut room = Room::filled(4);
    let others = room.others();
    room.delete();
    for table in room.tables() {
        room.sql.set_up(&format!("DROP TABLE \"{table}\""));
    }
    room.turn(SyncBackend::check_rows);
    let _ = room.visit();
    assert_eq!(room.state()["status"], "deleting");
    room.settle();
    room.check_gone(&others);
}

#[test]
fn a_hook_that_is_behind_is_not_waited_for_and_begins_with_the_next_store() {
    for dies in [false, true] {
        let mut room = Room::new();
        room.rules.uses = Uses::NONE.on_committed();
        room.visit().unwrap();
        room.push(2);
        let Delivery { id, message } = room.deliveries.pop_front().unwrap();
        assert!(matches!(message, Message::Committed(_)));
        room.delete();
        if dies {
            room.die();
        }
        room.settle();
        assert_eq!(
            room.told().last().unwrap(),
            "deleted 2 events, of which on_committed was not told of the last 2, and in the backup 0 events of 0 lifetimes"
        );
        room.push(1);
        let page = room.deliveries.pop_front().unwrap();
        let Message::Committed(page) = page.message else {
            panic!("{page:?}");
        };
        let backend_id = room.state()["backendId"].as_str().unwrap().to_owned();
        assert_eq!(page.backend_id.as_str(), backend_id);
        // What becomes of the call before is nobody's.
        if !dies {
            let failed = Outcome::Failed("late".to_owned());
            let before = room.reports.len();
            room.turn(|backend, turn| backend.on_delivered(id, failed, turn));
            assert_eq!(room.reports.len(), before);
        }
    }
}

#[test]
fn what_comes_back_from_the_life_before_meets_nobody() {
    let mut room = Room::filled(4);
    let socket = room.connect();
    room.delete();
    room.settle();
    room.push(2);
    let now_ms = room.now_ms;
    // The backup of the new store is at work, and a client has taken the place of the one before.
    while room.deliveries.is_empty() {
        assert!(room.alarm());
    }
    let fresh = room.connect();
    assert_ne!(socket, fresh);
    let Delivery { id, .. } = room.deliveries.front().unwrap();
    assert!(format!("{id:?}") > format!("{:?}", "DeliveryId(1)"));
    room.turn(|backend, turn| {
        backend.disconnect(socket, turn);
        backend.on_frame(socket, Frame::Text("[]"), turn);
        assert!(backend.attachment(socket).is_none() && backend.attachment(fresh).is_some());
    });
    assert_eq!(room.now_ms.max(now_ms), room.now_ms);
    room.settle();
    assert_eq!(room.held(STORE), "2 1");
}

#[test]
fn a_log_of_sync_cf_that_another_store_has_taken_since_stays() {
    let mut room = Room::adopted(40);
    let claim = "UPDATE livestore_sync_adopted SET store_id = 'k.ept' WHERE store_id = 'kept'";
    room.d1.0.execute_batch(claim).unwrap();
    let others = room.others();
    room.delete();
    room.settle();
    assert_eq!(room.left(), ["kept 40", "other 1", "k.ept", "other"]);
    room.check_gone(&others);
}

#[test]
fn a_log_of_sync_cf_goes_some_rows_at_a_time_and_may_be_gone_already() {
    let mut room = Room::adopted(40);
    room.d1
        .0
        .execute_batch(&format!(
            "INSERT INTO eventlog_7_kept SELECT value, 'n' FROM (WITH RECURSIVE n(value) AS (SELECT 41 UNION ALL SELECT value + 1 FROM n WHERE value < {}) SELECT value FROM n)",
            3 * DELETE_ROWS_MAX
        ))
        .unwrap();
    let others = room.others();
    room.delete();
    room.settle();
    assert_eq!(room.left(), ["kept 0", "other 1", "other"]);
    room.check_gone(&others);
    for gone in [
        "DROP TABLE eventlog_7_kept",
        "DROP TABLE livestore_sync_adopted",
    ] {
        let mut room = Room::adopted(4);
        room.d1.0.execute_batch(gone).unwrap();
        let others = room.others();
        room.delete();
        room.settle();
        room.check_gone(&others);
    }
}
