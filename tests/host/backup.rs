//! The backup in D1, here a SQLite that runs the very statements: whatever fails, and wherever the object dies, the
//! mirror is a prefix of the log, nothing is doubled, and it becomes the whole log by itself.

use std::cell::Cell;

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    Delivery, Frame, Message, Outcome, Output, Report, Rules, SyncBackend, Turn,
};
use livestore_sync_worker::event::{BackendId, StoreId};
use livestore_sync_worker::limits::{
    EVENT_BYTES_CEILING, Limits, MIRROR_BURST_MAX, MIRROR_BYTES_MAX, MIRROR_DEADLINE_MS,
    MIRROR_EVENTS_MAX, MIRROR_RETRY_MS, MIRROR_RETRY_MS_MAX,
};
use livestore_sync_worker::store::EventStore;
use livestore_sync_worker::store::mirror::MirrorBatch;
use livestore_sync_worker::wire::{Family, Generation, Transport};
use proptest::prelude::*;

use crate::cases;
use crate::client::{Sample, Speaker, batch_json};
use crate::d1::{D1, Fate, log_of};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText};

pub(crate) const STORE: &str = "kept";
pub(crate) const OLD: &str = "backend-of-the-store-";
pub(crate) const NEW: &str = "another-lifetime-----";
const DELAY_MS: u64 = 5_000;

/// When an error is said to have happened.
fn iso_8601(ms: u64) -> String {
    let time = chrono::DateTime::from_timestamp_millis(i64::try_from(ms).unwrap()).unwrap();
    time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// An object with its backend, its alarm, and D1.
pub(crate) struct Room {
    pub(crate) sql: HostSql,
    pub(crate) d1: D1,
    pub(crate) backend: SyncBackend<HostSql>,
    pub(crate) now_ms: u64,
    pub(crate) deliveries: Vec<Delivery<HostText>>,
    pub(crate) alarm_at_ms: Option<u64>,
    alarms_set: Cell<u32>,
    pub(crate) failures: Vec<String>,
    /// What D1 has been asked.
    pub(crate) asked: Vec<MirrorBatch<HostText>>,
    /// The log that a reset removed.
    pub(crate) removed: Vec<String>,
    /// How old events are folded.
    pub(crate) compact_after_ms: Option<u64>,
    /// What else is told.
    pub(crate) reports: Vec<Report>,
}

fn open(sql: &HostSql, compact_after_ms: Option<u64>) -> SyncBackend<HostSql> {
    open_with(sql, Some(DELAY_MS), compact_after_ms)
}

pub(crate) fn open_with(
    sql: &HostSql,
    backup_delay_ms: Option<u64>,
    compact_after_ms: Option<u64>,
) -> SyncBackend<HostSql> {
    let fresh = BackendId::stored(OLD.to_owned());
    let (store, _) = EventStore::open(sql.clone(), StoreId::new(STORE), fresh).unwrap();
    let limits = Limits {
        event_bytes_max: EVENT_BYTES_CEILING,
        ..Limits::default()
    };
    let rules = Rules {
        backup_delay_ms,
        compact_after_ms,
        ..Rules::default()
    };
    SyncBackend::new(store, limits, rules, fresh_ids(&[NEW]))
}

impl Room {
    pub(crate) fn new() -> Self {
        let sql = HostSql::in_memory(Binding::Doubles);
        Self {
            backend: open(&sql, None),
            sql,
            d1: D1::new(),
            now_ms: 1_795_342_751_954,
            deliveries: Vec::new(),
            alarm_at_ms: None,
            alarms_set: Cell::new(0),
            failures: Vec::new(),
            asked: Vec::new(),
            removed: Vec::new(),
            compact_after_ms: None,
            reports: Vec::new(),
        }
    }

    pub(crate) fn turn(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>),
    ) {
        let mut turn = Turn::at(self.now_ms);
        work(&mut self.backend, &mut turn);
        for output in turn.out {
            match output {
                Output::Deliver(delivery) => self.deliveries.push(delivery),
                Output::WakeAt { at_ms } if self.alarm_at_ms.is_none_or(|set| at_ms < set) => {
                    self.alarm_at_ms = Some(at_ms);
                    self.alarms_set.set(self.alarms_set.get() + 1);
                }
                Output::Report(Report::BackupFailed { message, .. }) => self.failures.push(message),
                Output::Report(report) => self.reports.push(report),
                _ => {}
            }
        }
    }

    pub(crate) fn push(&mut self, events: &[Sample]) {
        let connection = self
            .backend
            .connect(Family::Rpc, Grant::default(), self.now_ms);
        let speaker = Speaker {
            generation: Generation::V04,
            store_id: STORE,
        };
        let before = self.backend.store().head();
        let push = speaker.push("\"1\"", None, &batch_json(events));
        self.turn(|backend, turn| {
            backend.on_frame(connection, Frame::Text(&push), turn);
            backend.disconnect(connection, turn);
        });
        assert_eq!(
            self.backend.store().head().since(before),
            events.len() as u64
        );
    }

    pub(crate) fn push_next(&mut self, count: u64) {
        let head = i64::try_from(self.backend.store().head().get()).unwrap();
        let count = i64::try_from(count).unwrap();
        let events: Vec<Sample> = (head + 1..=head + count).map(Sample::new).collect();
        self.push(&events);
    }

    /// D1 does what is asked of it, until nothing is.
    pub(crate) fn run(&mut self, mut fate: impl FnMut() -> Fate) {
        while let Some(Delivery { id, message }) = self.deliveries.pop() {
            let Message::Mirror(batch) = message else {
                // A client object takes what it is called with.
                self.turn(|backend, turn| backend.on_delivered(id, Outcome::Taken, turn));
                continue;
            };
            self.asked.push(batch.clone());
            let outcome = match self.d1.run(&batch, fate()) {
                Ok(head) => Outcome::Mirrored(head),
                Err(message) => Outcome::Failed(message),
            };
            self.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
        }
    }

    /// D1 does one thing that is asked of it.
    pub(crate) fn run_one(&mut self, fate: Fate) {
        let Some(Delivery { id, message }) = self.deliveries.pop() else {
            return;
        };
        let Message::Mirror(batch) = message else {
            panic!("{message:?}")
        };
        self.asked.push(batch.clone());
        let outcome = self.d1.run(&batch, fate);
        let outcome = outcome.map_or_else(Outcome::Failed, Outcome::Mirrored);
        self.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
    }

    /// Everything is copied, and D1 is asked what may be folded.
    pub(crate) fn settle_until_folding(&mut self) {
        for _ in 0..100 {
            if self.log() == self.mirror(OLD) && !self.deliveries.is_empty() {
                return;
            }
            if self.deliveries.is_empty() {
                assert!(self.alarm());
            } else {
                self.run_one(Fate::Done);
            }
        }
        panic!("nothing is folded");
    }

    /// The alarm goes off, if there is one.
    pub(crate) fn alarm(&mut self) -> bool {
        let Some(at_ms) = self.alarm_at_ms.take() else {
            return false;
        };
        self.now_ms = self.now_ms.max(at_ms);
        self.turn(SyncBackend::on_alarm);
        true
    }

    /// Time passes and nothing fails any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..400 {
            self.run(|| Fate::Done);
            if !self.alarm() {
                assert!(!self.backend.holds_alarm());
                return self.check_whole();
            }
        }
        panic!("the alarm never comes to rest");
    }

    /// The object is gone; what D1 has been asked for may have been done.
    pub(crate) fn die(&mut self) {
        self.deliveries.clear();
        if self.backend.holds_alarm() {
            // The platform repeats an alarm that has not returned.
            let again_ms = self.now_ms + 2_000;
            self.alarm_at_ms = Some(self.alarm_at_ms.map_or(again_ms, |at| at.min(again_ms)));
        }
        self.backend = open(&self.sql, self.compact_after_ms);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        log_of(self.sql.raw(), "eventlog_7_kept")
    }

    pub(crate) fn mirror(&self, backend_id: &str) -> Vec<String> {
        self.d1.events(STORE, backend_id)
    }

    pub(crate) fn check_prefix(&self) {
        let kept = self.mirror(OLD);
        if self.lifetime() != OLD {
            assert!(kept.len() <= self.removed.len() && self.removed[..kept.len()] == kept[..]);
        }
        let (log, mirror) = (self.log(), self.mirror(self.lifetime()));
        assert!(mirror.len() <= log.len() && log[..mirror.len()] == mirror[..]);
        let lifetime = self.d1.lifetime(STORE, self.lifetime());
        let count = mirror.len();
        assert_eq!(lifetime.is_some(), count > 0);
        let counted = format!("[{count},{count},");
        assert!(lifetime.is_none_or(|told| told.starts_with(&counted)));
        // Whenever something is owed, an alarm is stored, or one is going off that the platform repeats.
        let is_owed = self.position() < log.len();
        assert!(!is_owed || self.alarm_at_ms.is_some() || self.backend.holds_alarm());
    }

    /// The last event that the object takes for copied.
    fn position(&self) -> usize {
        let state = self.backend.state(self.now_ms).unwrap();
        let (_, backup) = state.split_once(r#""backup":{"head":"#).unwrap();
        let (head, _) = backup.split_once(',').unwrap();
        head.parse().unwrap()
    }

    /// What storage knows of that.
    fn kept_position(&self) -> Option<i64> {
        let after =
            "SELECT value ->> 'after' FROM livestore_sync_state WHERE key = 'follower:backup'";
        self.sql.raw().query_row(after, [], |row| row.get(0)).ok()
    }

    /// A client object pulls live, and its answer has been read.
    fn subscribe(&mut self) {
        let (grant, now_ms) = (Grant::default(), self.now_ms);
        let connection = self.backend.connect_once(Transport::DoRpc, grant, now_ms);
        let pull = format!(
            r#"[{{"_tag":"Request","id":"1","tag":"SyncDoRpc.Pull","payload":{{"storeId":"{STORE}","cursor":{{"_tag":"None"}},"rpcContext":{{"callerContext":{{"bindingName":"CLIENT","durableObjectId":"0a1b"}}}}}}}}]"#
        );
        self.turn(|backend, turn| {
            backend.on_frame(connection, Frame::Text(&pull), turn);
            backend.disconnect(connection, turn);
        });
    }

    pub(crate) fn check_whole(&self) {
        self.check_prefix();
        assert_eq!(self.mirror(self.lifetime()), self.log());
        assert_eq!(self.position(), self.log().len());
    }

    pub(crate) fn lifetime(&self) -> &str {
        self.backend.store().backend_id().as_str()
    }
}

#[test]
fn what_is_pushed_is_copied_together_after_the_delay() {
    let mut room = Room::new();
    room.d1 = D1::migrated();
    let start_ms = room.now_ms;
    for _ in 0..20 {
        room.push_next(3);
        room.now_ms += 100;
    }
    assert!(room.deliveries.is_empty());
    assert_eq!(
        (room.alarm_at_ms, room.alarms_set.get()),
        (Some(start_ms + DELAY_MS), 1)
    );
    room.alarm();
    assert_eq!(room.deliveries.len(), 1);
    // What comes meanwhile is collected in its turn.
    room.push_next(1);
    room.now_ms += 300;
    room.run(|| Fate::Done);
    assert_eq!(room.mirror(OLD).len(), 60);
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + DELAY_MS));
    room.settle();
    assert_eq!(room.alarms_set.get(), 2, "one alarm for each delay");
    assert_eq!(room.mirror(OLD).len(), 61);
    assert_eq!(room.failures, [""; 0]);
    // An idle store sets no alarm, and asks D1 for nothing.
    room.turn(SyncBackend::on_wake);
    room.turn(SyncBackend::on_alarm);
    assert_eq!((room.alarm_at_ms, room.deliveries.len()), (None, 0));
}

#[test]
fn a_row_holds_what_the_log_holds() {
    let mut room = Room::new();
    room.push(&[
        Sample::new(1),
        Sample::padded(2, 1_900_000),
        Sample::new(3),
        Sample::padded(4, 700_000),
        Sample::padded(5, 700_000),
    ]);
    room.settle();
    let lifetime = room.d1.lifetime(STORE, OLD);
    let bytes: i64 = room
        .sql
        .raw()
        .query_row(
            "SELECT sum(octet_length(name) + octet_length(args) + octet_length(clientId) + octet_length(sessionId)) \
             FROM eventlog_7_kept",
            [],
            |row| row.get(0),
        )
        .unwrap();
    let at = "2026-11-22T10:19:11.954Z";
    assert_eq!(lifetime, Some(format!(r#"[5,5,{bytes},"{at}","{at}"]"#)));
}

#[test]
fn escapes_that_outgrow_a_text_of_d1_make_batches_smaller() {
    let mut room = Room::new();
    room.sql.set_up(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 190) INSERT INTO eventlog_7_kept \
         SELECT x, x - 1, replace(hex(zeroblob(2000)), '0', char(1)), NULL, '2026-01-01T00:00:00.000Z', 'c', 's' FROM n",
    );
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert_eq!(room.mirror(OLD).len(), 190);
}

#[test]
fn a_log_from_before_is_copied_in_batches_some_in_each_event_of_the_platform() {
    let mut room = Room::new();
    let batches = u64::from(MIRROR_BURST_MAX) * 2 + 1;
    let events = batches * u64::from(MIRROR_EVENTS_MAX);
    room.sql.set_up(&format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {events}) \
         INSERT INTO eventlog_7_kept SELECT x, x - 1, 'n', '{{}}', '2026-01-01T00:00:00.000Z', 'c', 's' FROM n"
    ));
    room.die();
    room.turn(SyncBackend::on_wake);
    assert!(room.alarm());
    let mut asked = Vec::new();
    let start_ms = room.now_ms;
    while room.mirror(OLD).len() < usize::try_from(events).unwrap() {
        let count = Cell::new(0);
        room.run(|| {
            count.set(count.get() + 1);
            Fate::Done
        });
        asked.push(count.get());
        room.alarm();
    }
    assert_eq!(room.now_ms, start_ms, "it goes on at once");
    // The first alarm has the tables to make, too, for which it asks twice.
    assert_eq!(asked, [MIRROR_BURST_MAX, MIRROR_BURST_MAX, 3]);
    room.check_whole();
}

#[test]
fn a_backup_that_fails_backs_off_says_so_and_catches_up() {
    let mut room = Room::new();
    room.push_next(1);
    room.settle();
    room.push_next(5);
    room.alarm();
    let mut waits = Vec::new();
    let mut failed_ms = 0;
    for _ in 0..12 {
        room.run(|| Fate::FailsAt(1));
        let before_ms = room.now_ms;
        failed_ms = before_ms;
        // Pushes go on meanwhile, and make nothing come sooner.
        room.push_next(1);
        while room.deliveries.is_empty() {
            assert!(room.alarm());
        }
        waits.push(room.now_ms - before_ms);
    }
    let expected: Vec<u64> = (0..12)
        .map(|failures| (MIRROR_RETRY_MS << failures).min(MIRROR_RETRY_MS_MAX))
        .collect();
    assert_eq!(waits, expected);
    // In the log once a minute.
    assert_eq!(room.failures, ["D1_ERROR: injected"; 9]);
    let state = room.backend.state(room.now_ms).unwrap();
    let told = r#""backup":{"head":1,"lagEvents":17,"lagSeconds":LAG,"failures":12,"lastError":{"at":"AT","reason":"failed","message":"D1_ERROR: injected"}}"#;
    let (since_ms, at_ms) = (1_795_342_756_000, failed_ms);
    let lag_s = (room.now_ms - since_ms) / 1_000;
    let told = told.replace("LAG", &lag_s.to_string());
    assert!(
        state.contains(&told.replace("AT", &iso_8601(at_ms))),
        "{state}"
    );
    let metrics = room.backend.metrics(0, room.now_ms).unwrap();
    for sample in [
        "backup_head{store=\"kept\"} 1\n".to_owned(),
        "backup_lag_events{store=\"kept\"} 17\n".to_owned(),
        format!("backup_lag_seconds{{store=\"kept\"}} {lag_s}\n"),
        "backup_events_total{store=\"kept\"} 1\n".to_owned(),
        "backup_failures_total{store=\"kept\",reason=\"failed\"} 12\n".to_owned(),
        "backup_failures_total{store=\"kept\",reason=\"full\"} 0\n".to_owned(),
    ] {
        assert!(metrics.contains(&sample), "{sample} in {metrics}");
    }
    room.settle();
    let state = room.backend.state(room.now_ms).unwrap();
    let told = r#""backup":{"head":18,"lagEvents":0,"lagSeconds":0,"failures":0,"lastError":null}"#;
    assert!(state.contains(told), "{state}");
}

#[test]
fn failures_are_told_apart_by_what_d1_says() {
    for (message, name) in [
        ("D1_ERROR: no such column: x: SQLITE_ERROR", "failed"),
        ("D1_ERROR: Exceeded maximum DB size", "full"),
        ("D1_ERROR: database or disk is full: SQLITE_FULL", "full"),
        (
            "D1_ERROR: Your account has exceeded D1's free usage limit",
            "limit",
        ),
        ("D1_ERROR: string or blob too big: SQLITE_TOOBIG", "limit"),
        (
            "D1 DB is overloaded. Requests queued for too long.",
            "no-answer",
        ),
        ("D1 has not answered within 60000 ms", "no-answer"),
        ("Network connection lost.", "failed"),
    ] {
        let mut room = Room::new();
        room.push_next(1);
        room.alarm();
        while let Some(Delivery { id, .. }) = room.deliveries.pop() {
            let outcome = Outcome::Failed(message.to_owned());
            room.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
        }
        let state = room.backend.state(room.now_ms).unwrap();
        let reason = if name == "failed" && message.contains("column") {
            // Asked for the version of its tables, it says the same.
            "schema"
        } else {
            name
        };
        let told = format!(r#""reason":"{reason}","message":"{message}""#);
        assert!(state.contains(&told), "{state}");
        room.settle();
    }
}

#[test]
fn one_trouble_does_not_hide_another_in_the_log() {
    let mut room = Room::new();
    room.push_next(1);
    room.alarm();
    for message in ["limit 1", "limit 2", "is full", "limit 3", "is full"] {
        let Delivery { id, .. } = room.deliveries.pop().unwrap();
        let outcome = Outcome::Failed(message.to_owned());
        room.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
        while room.deliveries.is_empty() {
            assert!(room.alarm());
        }
    }
    // 5, 10, 20 and 40 seconds lie between them.
    assert_eq!(room.failures, ["limit 1", "is full", "is full"]);
}

#[test]
fn wherever_a_copy_fails_and_whenever_the_object_is_lost_it_is_completed() {
    let fates = (0..6).map(Fate::FailsAt);
    let fates: Vec<Fate> = fates.chain([Fate::Done, Fate::Unheard]).collect();
    // The first batch finds no tables, the second makes them, the third and the fourth copy.
    for nth in 0..4 {
        for fate in &fates {
            for is_lost in [false, true] {
                let mut room = Room::new();
                // Two of them are too large for one batch.
                room.push(&[Sample::padded(1, 500_000), Sample::padded(2, 500_000)]);
                room.alarm();
                let mut asked = 0;
                while let Some(Delivery { id, message }) = room.deliveries.pop() {
                    let Message::Mirror(batch) = message else {
                        panic!("{message:?}")
                    };
                    let fate = if asked == nth { *fate } else { Fate::Done };
                    let outcome = match room.d1.run(&batch, fate) {
                        Ok(answer) => Outcome::Mirrored(answer),
                        Err(message) => Outcome::Failed(message),
                    };
                    if asked == nth && is_lost {
                        // Before it hears of that.
                        room.die();
                        break;
                    }
                    room.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
                    room.check_prefix();
                    asked += 1;
                }
                room.check_prefix();
                room.settle();
                assert_eq!(room.mirror(OLD).len(), 2, "{nth} {fate:?} {is_lost}");
            }
        }
    }
}

#[test]
fn a_batch_without_an_answer_is_repeated_and_its_late_answer_is_nobodys() {
    let mut room = Room::new();
    room.push_next(1);
    room.settle();
    room.push_next(5);
    room.alarm();
    let late = room.deliveries.pop().unwrap();
    // The host gives it up, and the batch runs all the same.
    let id = late.id;
    let gone = Outcome::Failed("D1 has not answered within 60000 ms".to_owned());
    room.turn(|backend, turn| backend.on_delivered(id, gone, turn));
    assert!(room.alarm_at_ms.is_some() && !room.backend.holds_alarm());
    let Message::Mirror(batch) = &late.message else {
        panic!("{late:?}")
    };
    let answer = room.d1.run(batch, Fate::Done).unwrap();
    assert_eq!(answer.moved, Some(6));
    room.turn(|backend, turn| backend.on_delivered(id, Outcome::Mirrored(answer), turn));
    room.push_next(1);
    room.settle();
    // It comes once more, long after.
    let answer = room.d1.run(batch, Fate::Done).unwrap();
    assert_eq!((answer.head, answer.moved), (Some(7), None));
    room.check_whole();
}

#[test]
fn nobody_waits_for_the_alarm_until_d1_has_answered() {
    let mut room = Room::new();
    room.push_next(1);
    room.alarm();
    assert!(room.backend.holds_alarm() && room.alarm_at_ms.is_none());
    // The pull of a client object ends: it is to be called in a second.
    room.subscribe();
    room.push_next(1);
    assert!(!room.backend.holds_alarm());
    let second_ms = room.now_ms + 1_000;
    assert_eq!(room.alarm_at_ms, Some(second_ms));
    // From now on the object gives the batch up by itself.
    let lost = room.deliveries.pop();
    assert!(lost.is_some());
    assert!(room.alarm());
    assert_eq!(room.now_ms, second_ms);
    room.run(|| Fate::Done);
    while room.failures.is_empty() {
        assert!(room.alarm());
    }
    assert_eq!(room.now_ms, second_ms - 1_000 + MIRROR_DEADLINE_MS);
    assert_eq!(room.failures, ["it has not answered for too long"]);
    room.settle();
}

#[test]
fn another_database_gets_the_whole_log() {
    let mut room = Room::new();
    room.push_next(10);
    room.settle();
    room.d1 = D1::new();
    room.push_next(2);
    room.settle();
    assert_eq!(room.mirror(OLD).len(), 12);
    // One that is older: a database that was taken back in time.
    room.d1.0
        .execute_batch(
            "DELETE FROM livestore_sync_events WHERE seq_num > 5; UPDATE livestore_sync_lifetimes SET head = 5, events = 5, \
             last_at = (SELECT created_at FROM livestore_sync_events WHERE seq_num = 5)",
        )
        .unwrap();
    room.push_next(1);
    room.settle();
    assert_eq!(room.mirror(OLD).len(), 13);
}

#[test]
fn a_mirror_that_has_another_history_is_left_as_it_is() {
    for (events, message) in [
        (3, "the mirror in D1 ends at 9, but the log at 6"),
        (
            8,
            "event 9, where the mirror in D1 ends, is another in the log",
        ),
    ] {
        let mut room = Room::new();
        room.push_next(2);
        room.settle();
        room.push_next(1);
        room.settle();
        room.now_ms += 60_000;
        // What the object has stored since then is lost: it is taken back to a moment before.
        room.d1
            .0
            .execute_batch(
                "INSERT INTO livestore_sync_events SELECT store_id, backend_id, 9, 8, name, args, created_at, client_id, \
                 session_id FROM livestore_sync_events WHERE seq_num = 3; UPDATE livestore_sync_lifetimes SET head = 9, \
                 last_at = '2026-11-22T10:19:40.000Z'",
            )
            .unwrap();
        let mirror = room.mirror(OLD);
        room.push_next(events);
        room.alarm();
        room.run(|| Fate::Done);
        assert_eq!(room.failures, [message]);
        let state = room.backend.state(room.now_ms).unwrap();
        let told = format!(
            r#""failures":1,"lastError":{{"at":"{}","reason":"diverged","#,
            iso_8601(room.now_ms)
        );
        assert!(state.contains(&told), "{state}");
        assert!(room.alarm());
        room.run(|| Fate::Done);
        assert_eq!(room.mirror(OLD), mirror);
    }
}

#[test]
fn a_log_that_has_lost_its_end_does_not_take_what_follows_for_copied() {
    let mut room = Room::new();
    room.push_next(20);
    room.settle();
    // With its head, so that the numbers are given again.
    room.sql.set_up(
        "DELETE FROM eventlog_7_kept WHERE seqNum > 15; UPDATE context_7 SET currentHead = 15",
    );
    room.die();
    room.push_next(2);
    room.alarm();
    room.run(|| Fate::Done);
    assert_eq!(
        room.failures,
        ["the mirror in D1 ends at 20, but the log at 17"]
    );
    assert_eq!(room.mirror(OLD).len(), 20, "what D1 has stays");
}

#[test]
fn tables_that_were_migrated_are_used_as_they_are() {
    let mut room = Room::new();
    room.d1 = D1::migrated();
    room.push_next(3);
    room.alarm();
    room.run(|| Fate::Done);
    room.check_whole();
    let own = D1::new();
    let made = room.backend.store().make_mirror();
    assert_eq!(own.run(&made, Fate::Done).unwrap().version, Some(2));
    // To make them again changes nothing.
    assert_eq!(own.run(&made, Fate::Done).unwrap().version, Some(2));
    let tables =
        "SELECT sql FROM sqlite_master UNION ALL SELECT version FROM livestore_sync_schema";
    let text = |database: &D1| {
        let sql = format!("SELECT CAST(sql AS TEXT) FROM ({tables})");
        database.rows(&sql)
    };
    assert_eq!(text(&own).len(), 5);
    assert_eq!(text(&own), text(&D1::migrated()));
}

#[test]
fn a_push_waits_for_its_delay_over_an_eviction_and_no_longer() {
    let mut room = Room::new();
    let start_ms = room.now_ms;
    room.push_next(1);
    for _ in 0..3 {
        room.now_ms += 1_000;
        room.alarm_at_ms = None;
        room.die();
        room.turn(SyncBackend::on_wake);
        // To the second.
        let at_ms = room.alarm_at_ms.unwrap();
        assert!((start_ms + DELAY_MS - 1_000..=start_ms + DELAY_MS).contains(&at_ms));
    }
    // A clock that goes back does not put it off.
    room.now_ms -= 1_000_000;
    room.alarm_at_ms = None;
    room.die();
    room.turn(SyncBackend::on_wake);
    assert_eq!(room.alarm_at_ms, Some(room.now_ms + DELAY_MS));
    room.settle();
}

#[test]
fn without_a_backup_nothing_is_copied_and_later_all_of_it_is() {
    let mut room = Room::new();
    room.push_next(2);
    room.settle();
    room.backend = open_with(&room.sql, None, None);
    room.push_next(2);
    room.turn(SyncBackend::on_wake);
    assert_eq!((room.alarm_at_ms, room.deliveries.len()), (None, 0));
    assert!(!room.backend.state(room.now_ms).unwrap().contains("backup"));
    assert!(!room.backend.metrics(0, 0).unwrap().contains("backup"));
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert_eq!(room.mirror(OLD).len(), 4);
}

#[test]
fn tables_of_another_version_are_named_and_left_alone() {
    let older = "UPDATE livestore_sync_schema SET version = 0";
    let newer = "UPDATE livestore_sync_schema SET version = 3";
    let renamed = "UPDATE livestore_sync_schema SET version = 4; \
                   ALTER TABLE livestore_sync_lifetimes RENAME COLUMN head TO last_seq_num";
    let without =
        "UPDATE livestore_sync_schema SET version = 5; DROP TABLE livestore_sync_lifetimes";
    let emptied = "DELETE FROM livestore_sync_schema";
    for (change, version) in [
        (older, "0"),
        (newer, "3"),
        (renamed, "4"),
        (without, "5"),
        (emptied, "none"),
    ] {
        let mut room = Room::new();
        room.push_next(1);
        room.settle();
        room.d1.0.execute_batch(change).unwrap();
        let tables = || room.d1.rows("SELECT sql FROM sqlite_master ORDER BY name");
        let before = tables();
        let mut room = Room { ..room };
        room.push_next(3);
        room.alarm();
        room.run(|| Fate::Done);
        let told =
            format!("the tables in D1 have version {version}, and this release writes version 2");
        assert_eq!(room.failures, [told]);
        assert_eq!(room.mirror(OLD).len(), 1);
        assert_eq!(
            room.d1.rows("SELECT sql FROM sqlite_master ORDER BY name"),
            before
        );
        assert!(room.alarm_at_ms.is_some());
    }
}

#[test]
fn tables_that_come_back_are_written_again() {
    let mut room = Room::new();
    room.push_next(1);
    room.settle();
    let set = |version| format!("UPDATE livestore_sync_schema SET version = {version}");
    room.d1.0.execute_batch(&set(3)).unwrap();
    room.push_next(3);
    room.alarm();
    room.run(|| Fate::Done);
    assert_eq!(room.failures.len(), 1);
    room.d1.0.execute_batch(&set(2)).unwrap();
    room.settle();
    // A table of this version that somebody has dropped is not made anew.
    room.d1
        .0
        .execute_batch("DROP TABLE livestore_sync_events")
        .unwrap();
    room.push_next(1);
    room.alarm();
    room.now_ms += 60_000;
    room.run(|| Fate::Done);
    let last = room.failures.last().unwrap();
    assert!(
        last.contains("no such table: livestore_sync_events"),
        "{last}"
    );
}

#[test]
fn a_lifetime_that_a_reset_ended_stays_and_the_next_begins_beside_it() {
    let mut room = Room::new();
    room.push_next(4);
    room.settle();
    room.push_next(2);
    room.alarm();
    let late = room.deliveries.pop().unwrap();
    room.removed = room.log();
    room.turn(|backend, turn| {
        backend.reset(turn).unwrap();
    });
    room.push_next(3);
    // What was under way when the store was reset tells of a lifetime that is over.
    let Message::Mirror(batch) = &late.message else {
        panic!("{late:?}")
    };
    let head = room.d1.run(batch, Fate::Done).unwrap();
    room.turn(|backend, turn| backend.on_delivered(late.id, Outcome::Mirrored(head), turn));
    room.settle();
    assert_eq!((room.mirror(OLD).len(), room.mirror(NEW).len()), (6, 3));
}

#[test]
fn a_reset_says_what_the_backup_lacks_of_it() {
    let mut room = Room::new();
    room.push_next(3);
    room.settle();
    room.push_next(2);
    let mut turn = Turn::at(room.now_ms);
    room.backend.reset(&mut turn).unwrap();
    let reports = turn.out.iter().filter_map(|output| match output {
        Output::Report(report) => Some(report.to_string()),
        _ => None,
    });
    let told = "removed 5 events, of which the backup lacks the last 2";
    assert_eq!(reports.collect::<Vec<_>>(), [told]);
    // The alarm finds nothing to do, and sets no other.
    assert!(room.alarm() && !room.alarm());
}

#[test]
fn the_position_is_written_once_for_what_an_alarm_copies_and_by_no_push() {
    let mut room = Room::new();
    let state = |room: &Room| room.kept_position();
    room.push_next(1);
    assert_eq!(state(&room), None);
    room.settle();
    assert_eq!(state(&room), Some(1));
    room.push_next(1);
    room.push_next(1);
    assert_eq!(state(&room), Some(1));
    room.settle();
    assert_eq!(state(&room), Some(3));
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Push(u64),
    Large,
    Alarm,
    Run(Fate),
    Die,
    Reset,
    /// D1 does again what it was asked long ago.
    Again(usize),
    /// The host gives up what D1 does not answer.
    GiveUp,
    Wait(u64),
    LoseDatabase,
}

fn happens() -> impl Strategy<Value = Happens> {
    let fate = prop_oneof![
        3 => Just(Fate::Done),
        2 => (0..7_usize).prop_map(Fate::FailsAt),
        1 => Just(Fate::Unheard),
    ];
    prop_oneof![
        4 => (1..5_u64).prop_map(Happens::Push),
        1 => Just(Happens::Large),
        4 => Just(Happens::Alarm),
        4 => fate.prop_map(Happens::Run),
        1 => Just(Happens::Die),
        1 => Just(Happens::Reset),
        2 => (0..1_000_usize).prop_map(Happens::Again),
        1 => Just(Happens::GiveUp),
        1 => (0..100_000_u64).prop_map(Happens::Wait),
        1 => Just(Happens::LoseDatabase),
    ]
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn whatever_happens_the_mirror_is_a_prefix_and_becomes_the_log(
        history in proptest::collection::vec(happens(), 1..40),
    ) {
        let mut room = Room::new();
        let mut has_reset = false;
        for event in history {
            match event {
                Happens::Push(count) => room.push_next(count),
                Happens::Large => {
                    let head = i64::try_from(room.backend.store().head().get()).unwrap();
                    let bytes = usize::try_from(MIRROR_BYTES_MAX).unwrap();
                    room.push(&[Sample::padded(head + 1, bytes)]);
                }
                Happens::Alarm => {
                    room.alarm();
                }
                Happens::Run(fate) => {
                    let mut once = Some(fate);
                    room.run(|| once.take().unwrap_or(Fate::Done));
                }
                Happens::Die => {
                    room.die();
                    // Whoever visits, or the alarm that is stored.
                    if room.alarm_at_ms.is_none() {
                        room.turn(SyncBackend::on_wake);
                    }
                }
                Happens::Reset if !has_reset => {
                    has_reset = true;
                    room.removed = room.log();
                    room.turn(|backend, turn| { backend.reset(turn).unwrap(); });
                }
                Happens::Reset => {}
                Happens::Again(index) => {
                    if let Some(batch) = room.asked.get(index % room.asked.len().max(1)) {
                        let _ = room.d1.run(batch, Fate::Done);
                    }
                }
                Happens::GiveUp => {
                    for Delivery { id, message } in std::mem::take(&mut room.deliveries) {
                        let Message::Mirror(batch) = message else {
                            panic!("{message:?}")
                        };
                        room.asked.push(batch);
                        let outcome = Outcome::Failed("D1 has not answered".to_owned());
                        room.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
                    }
                }
                Happens::Wait(ms) => room.now_ms += ms,
                Happens::LoseDatabase => room.d1 = D1::new(),
            }
            room.check_prefix();
        }
        // A database that was lost while nothing was owed is noticed at the next push.
        room.push_next(1);
        room.settle();
    }
}
