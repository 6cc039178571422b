//! A log that is brought back from its backup in D1: whole or not at all, by itself once it has been asked for, wherever
//! D1 or storage fails or the object dies; and nobody is served meanwhile.

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{
    Fetch, Frame, Output, Plan, Progress, Refusal, Report, Rules, SyncBackend, Turn, iso_8601,
};
use livestore_sync_worker::event::{BackendId, SeqNum, StoreId};
use livestore_sync_worker::limits::{
    BACKUP_MESSAGE_CHARS_MAX, FETCH_BURST_MAX, FETCH_EVENTS_MAX, Limits,
};
use livestore_sync_worker::route::admin::{Import, Restore};
use livestore_sync_worker::store::recall::{self, Lifetime, Survey};
use livestore_sync_worker::store::{EventStore, OpenError};
use livestore_sync_worker::transfer::{Export, Options, Part, Reader};
use livestore_sync_worker::wire::{Family, Generation, Transport};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cases;
use crate::client::{Sample, Speaker, batch_json};
use crate::d1::{D1, Fate, log_of};
use crate::fresh_ids;
use crate::host_sql::{Binding, HostSql, HostText, When};

pub(crate) const STORE: &str = "kept";
const OLD: &str = "backend-of-the-store-";
const FRESH: &str = "made-when-it-was-gone";
const NEW: &str = "the-restored-lifetime";

pub(crate) fn backend_id(id: &str) -> BackendId {
    BackendId::stored(id.to_owned())
}

pub(crate) fn store_id() -> StoreId {
    StoreId::new(STORE)
}

/// A D1 with a backup of a log of these rows, and that log.
fn backed_up(rows: &str) -> (D1, Vec<String>) {
    let sql = HostSql::in_memory(Binding::Doubles);
    drop(EventStore::open(sql.clone(), store_id(), backend_id(OLD)).unwrap());
    sql.set_up(&format!("INSERT INTO eventlog_7_kept {rows}"));
    let (store, _) = EventStore::open(sql.clone(), store_id(), backend_id(OLD)).unwrap();
    let d1 = D1::migrated();
    let mut after = SeqNum::ROOT;
    while let Some(copying) = store.mirror(after, "2026-01-02T00:00:00.000Z").unwrap() {
        d1.run(&copying.batch, Fate::Done).unwrap();
        after = copying.last;
    }
    let log = log_of(sql.raw(), "eventlog_7_kept");
    assert_eq!(d1.events(STORE, OLD), log);
    (d1, log)
}

/// Rows of `count` events, with args of `bytes`, a minute apart.
pub(crate) fn rows(count: u64, bytes: u64) -> String {
    format!(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count}) \
         SELECT x, x - 1, 'v1.Made', CASE x % 3 WHEN 0 THEN NULL ELSE '{{\"id\":\"' || x || '\",\"pad\":\"' || \
         substr(hex(zeroblob({bytes} / 2 + 1)), 1, {bytes}) || '\"}}' END, \
         strftime('%Y-%m-%dT%H:%M:%fZ', 1767225600 + 60 * x, 'unixepoch'), 'c' || (x % 5), 's' FROM n"
    )
}

/// An object that may be empty, its alarm, and D1.
pub(crate) struct Room {
    pub(crate) sql: HostSql,
    pub(crate) d1: D1,
    pub(crate) backend: Option<SyncBackend<HostSql>>,
    pub(crate) now_ms: u64,
    pub(crate) fetches: Vec<Fetch<HostText>>,
    pub(crate) alarm_at_ms: Option<u64>,
    pub(crate) reports: Vec<Report>,
    pub(crate) closed: Vec<(u16, &'static str)>,
    pub(crate) sent: Vec<String>,
    pub(crate) rules: Rules,
}

impl Room {
    pub(crate) fn new(d1: D1) -> Self {
        Self {
            sql: HostSql::in_memory(Binding::Doubles),
            d1,
            backend: None,
            now_ms: 1_795_342_751_954,
            fetches: Vec::new(),
            alarm_at_ms: None,
            reports: Vec::new(),
            closed: Vec::new(),
            sent: Vec::new(),
            rules: Rules::default(),
        }
    }

    /// What an operator asks for, with what is known then.
    pub(crate) fn ask(&self, body: &str) -> Result<(Plan, Lifetime, Survey), (u16, String)> {
        let told = |refusal: livestore_sync_worker::route::admin::Refusal| {
            (refusal.status, refusal.message)
        };
        let ask = Restore::read(body, &store_id()).map_err(told)?;
        let own = store_id();
        let from = ask.from_store(&own);
        let lifetimes = self.d1.query(&recall::lifetimes(from));
        let lifetimes: Vec<Lifetime> = lifetimes.iter().map(Lifetime::of).collect();
        let lifetime = ask.choose(&lifetimes).map_err(told)?;
        let survey = self.d1.survey(from, lifetime, ask.up_to.as_ref());
        let glance = EventStore::glance(&self.sql, &own).unwrap();
        let plan = Plan::make(
            &ask,
            &own,
            lifetime,
            &survey,
            glance.as_ref(),
            &backend_id(NEW),
        );
        Ok((plan.map_err(told)?, lifetime.clone(), survey))
    }

    pub(crate) fn open(&mut self) {
        let opened = EventStore::open(self.sql.clone(), store_id(), backend_id(FRESH));
        // A storage that fails fails for whoever wakes the object.
        let Ok((store, _)) = opened else {
            return;
        };
        let rules = self.rules.clone();
        let ids = fresh_ids(&["after-a-reset--------"]);
        self.backend = Some(SyncBackend::new(store, Limits::default(), rules, ids));
        self.turn(SyncBackend::on_wake);
    }

    pub(crate) fn turn<R>(
        &mut self,
        work: impl FnOnce(&mut SyncBackend<HostSql>, &mut Turn<HostText>) -> R,
    ) -> R {
        let mut turn = Turn::at(self.now_ms);
        let result = work(self.backend.as_mut().unwrap(), &mut turn);
        for output in turn.out {
            match output {
                Output::Fetch(fetch) => self.fetches.push(fetch),
                Output::WakeAt { at_ms } if self.alarm_at_ms.is_none_or(|set| at_ms < set) => {
                    self.alarm_at_ms = Some(at_ms);
                }
                Output::ForgetAlarm => self.alarm_at_ms = None,
                Output::Report(report) => self.reports.push(report),
                Output::Close { code, reason, .. } => self.closed.push((code, reason)),
                Output::Send { frame, .. } => self.sent.push(frame.as_str().to_owned()),
                _ => {}
            }
        }
        result
    }

    /// Begins what an operator asks for.
    pub(crate) fn restore(&mut self, body: &str) -> Result<(), (u16, String)> {
        let (plan, ..) = self.ask(body)?;
        if self.backend.is_some() {
            self.turn(|backend, turn| backend.begin_restore(plan, turn))
                .unwrap();
        } else {
            EventStore::plan_import(&self.sql, &plan.to_json()).unwrap();
            self.open();
        }
        Ok(())
    }

    /// D1 answers what it is asked, as long as it is asked something.
    pub(crate) fn answer(&mut self, mut fails: impl FnMut() -> bool) {
        while let Some(Fetch { id, step, .. }) = self.fetches.pop() {
            let fetched = if fails() {
                Err("D1_ERROR: injected".to_owned())
            } else {
                self.d1.fetch(&step)
            };
            self.turn(|backend, turn| backend.on_fetched(id, fetched, turn));
        }
    }

    /// The alarm goes off, if there is one.
    pub(crate) fn alarm(&mut self) -> bool {
        let Some(at_ms) = self.alarm_at_ms.take() else {
            return false;
        };
        self.now_ms = self.now_ms.max(at_ms);
        if self.backend.is_none() {
            self.open();
        }
        if self.backend.is_none() {
            self.alarm_at_ms = Some(self.now_ms + 60_000);
            return true;
        }
        self.turn(SyncBackend::on_alarm);
        true
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..500 {
            self.answer(|| false);
            if !self.alarm() {
                return;
            }
        }
        panic!("the alarm never comes to rest");
    }

    /// The object is gone with what it has asked for.
    pub(crate) fn die(&mut self) {
        self.fetches.clear();
        if self
            .backend
            .take()
            .is_some_and(|backend| backend.holds_alarm())
        {
            let again_ms = self.now_ms + 2_000;
            self.alarm_at_ms = Some(self.alarm_at_ms.map_or(again_ms, |at| at.min(again_ms)));
        }
    }

    pub(crate) fn log(&self) -> Vec<String> {
        log_of(self.sql.raw(), "eventlog_7_kept")
    }

    pub(crate) fn tables(&self) -> Vec<String> {
        let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> '_cf_KV' ORDER BY name";
        let mut tables = self.sql.raw().prepare(tables).unwrap();
        let names = tables.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    }

    pub(crate) fn lifetime(&self) -> String {
        let backend = self.backend.as_ref().unwrap();
        backend.store().backend_id().as_str().to_owned()
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        let backend = self.backend.as_ref().unwrap();
        serde_json::from_str(&backend.state(self.now_ms).unwrap()).unwrap()
    }

    pub(crate) fn is_restoring(&mut self) -> bool {
        let admitted = self.turn(|backend, turn| backend.admit(&store_id(), turn.now_ms));
        admitted == Err(Refusal::Restoring)
    }

    /// A push of one event after `head`, over a socket that is open already or a new one.
    pub(crate) fn push_after(&mut self, head: i64) {
        let (grant, now_ms) = (Grant::default(), self.now_ms);
        let speaker = Speaker {
            generation: Generation::V04,
            store_id: STORE,
        };
        let push = speaker.push("\"1\"", None, &batch_json(&[Sample::new(head + 1)]));
        self.turn(|backend, turn| {
            let connection = backend.connect(Family::Rpc, grant, now_ms);
            backend.on_frame(connection, Frame::Text(&push), turn);
            backend.disconnect(connection, turn);
        });
    }

    pub(crate) fn check_restored(&mut self, log: &[String], lifetime: &str) {
        assert_eq!(self.log(), log);
        assert_eq!(self.lifetime(), lifetime);
        assert!(!self.is_restoring());
        assert_eq!(self.state()["status"], "open");
        assert_eq!(
            self.tables(),
            ["context_7", "eventlog_7_kept", "livestore_sync_state"]
        );
        // In the very text of sync-cf.
        let made = "SELECT sql FROM sqlite_master WHERE name = 'eventlog_7_kept'";
        let made: String = self
            .sql
            .raw()
            .query_row(made, [], |row| row.get(0))
            .unwrap();
        let other = HostSql::in_memory(Binding::Doubles);
        drop(EventStore::open(other.clone(), store_id(), backend_id(OLD)).unwrap());
        let expected = "SELECT sql FROM sqlite_master WHERE name = 'eventlog_7_kept'";
        let expected: String = other
            .raw()
            .query_row(expected, [], |row| row.get(0))
            .unwrap();
        assert_eq!(made, expected);
        // It goes on.
        let head = i64::try_from(self.backend.as_ref().unwrap().store().head().get()).unwrap();
        self.push_after(head);
        assert_eq!(
            self.log().len(),
            log.len() + 1,
            "{:?} {:?}",
            self.reports.last(),
            self.sent.last()
        );
    }
}

#[test]
fn a_pull_over_http_finds_nothing_meanwhile_in_the_lifetime_that_its_client_knows() {
    let (d1, _) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    for (cursor, lifetime) in [
        (r#"{"_tag":"None"}"#, NEW),
        (
            r#"{"_tag":"Some","value":{"backendId":"backend-of-the-store-","eventSequenceNumber":20}}"#,
            OLD,
        ),
    ] {
        room.sent.clear();
        let pull = format!(
            r#"{{"_tag":"Request","id":"1","tag":"SyncHttpRpc.Pull","payload":{{"storeId":"kept","cursor":{cursor}}}}}"#
        );
        let (grant, now_ms) = (Grant::default(), room.now_ms);
        let progress = room.turn(|backend, turn| {
            let connection = backend.connect_once(Transport::Http, grant, now_ms);
            backend.on_frame(connection, Frame::Text(&pull), turn);
            let progress = backend.progress(connection);
            backend.disconnect(connection, turn);
            progress
        });
        assert_eq!((progress, room.closed.len()), (Progress::Done, 0));
        let [page, exit] = &room.sent[..] else {
            panic!("{:?}", room.sent);
        };
        assert!(
            page.contains(r#""batch":[]"#) && page.contains(lifetime),
            "{page}"
        );
        assert!(exit.contains(r#""_tag":"Success""#), "{exit}");
    }
}

const ALL: &str = r#"{"storeId":"kept"}"#;

#[test]
fn an_emptied_object_is_restored_into_a_new_lifetime() {
    let (d1, log) = backed_up(&rows(4_500, 100));
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    assert!(room.is_restoring());
    assert_eq!(room.state()["status"], "restoring");
    assert_eq!(room.state()["restore"]["events"], 4_500);
    assert_eq!(room.log(), [""; 0], "nobody sees half a log");
    room.settle();
    room.check_restored(&log, NEW);
    let told: Vec<String> = room.reports.iter().map(Report::to_string).collect();
    assert!(
        told.contains(&"brought back 4500 events, the head is 4500".to_owned()),
        "{told:?}"
    );
}

#[test]
fn events_of_any_size_come_back_as_they_were() {
    for (count, bytes) in [(1, 0), (40, 1_900_000), (300, 30_000), (9, 790_000)] {
        let (d1, log) = backed_up(&rows(count, bytes));
        let mut room = Room::new(d1);
        room.restore(ALL).unwrap();
        room.settle();
        room.check_restored(&log, NEW);
    }
}

#[test]
fn texts_that_escapes_make_too_large_come_in_smaller_numbers() {
    let (d1, log) = backed_up(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 190) \
         SELECT x, x - 1, replace(hex(zeroblob(2000)), '0', char(1)), NULL, '2026-01-01T00:00:00.000Z', 'c', 's' FROM n",
    );
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    room.settle();
    room.check_restored(&log, NEW);
}

#[test]
fn a_long_log_is_brought_in_by_some_queries_for_each_alarm() {
    let count = u64::from(FETCH_EVENTS_MAX) * u64::from(FETCH_BURST_MAX + 2);
    let (d1, log) = backed_up(&rows(count, 10));
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    let start_ms = room.now_ms;
    let mut asked = Vec::new();
    while room.alarm() {
        let mut queries = 0;
        room.answer(|| {
            queries += 1;
            false
        });
        asked.push(queries);
    }
    assert_eq!(room.now_ms, start_ms, "it goes on at once");
    assert_eq!(asked, [FETCH_BURST_MAX, 2]);
    room.check_restored(&log, NEW);
}

#[test]
fn up_to_an_event_or_a_time() {
    let (d1, log) = backed_up(&rows(50, 10));
    let mut room = Room::new(d1);
    for (up_to, kept) in [
        ("7", 7),
        ("50", 50),
        ("99", 50),
        // Event 7 was stored seven minutes into the year.
        (r#""2026-01-01T00:07:00Z""#, 7),
        (r#""2026-01-01T01:07:30+01:00""#, 7),
        (r#""2030-01-01T00:00:00Z""#, 50),
    ] {
        let body = format!(r#"{{"storeId":"kept","replace":true,"upTo":{up_to}}}"#);
        let (plan, lifetime, survey) = room.ask(&body).unwrap();
        let own = store_id();
        let forecast = plan.forecast(&own, &lifetime, &survey, None);
        let forecast = serde_json::to_value(forecast).unwrap();
        assert_eq!(forecast["kept"]["events"], kept, "{up_to}");
        assert_eq!(forecast["lost"]["afterUpTo"], 50 - kept);
        room.restore(&body).unwrap();
        room.settle();
        let kept = usize::try_from(kept).unwrap();
        room.check_restored(&log[..kept], NEW);
    }
    for (up_to, status) in [
        ("0", 409),
        (r#""2025-01-01T00:00:00Z""#, 409),
        (r#""yesterday""#, 400),
        (r#""2026-13-01T00:00:00Z""#, 400),
        ("-1", 400),
        ("1.5", 400),
        ("null,\"further\":1", 400),
    ] {
        let body = format!(r#"{{"storeId":"kept","replace":true,"upTo":{up_to}}}"#);
        assert_eq!(room.ask(&body).unwrap_err().0, status, "{up_to}");
    }
}

#[test]
fn a_store_with_events_is_restored_only_in_so_many_words_and_serves_them_until_then() {
    let (d1, log) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    room.open();
    room.push_after(0);
    let own = room.log();
    let (status, message) = room.restore(ALL).unwrap_err();
    assert_eq!((status, room.log()), (409, own.clone()));
    assert!(message.contains("holds 1 events"), "{message}");
    room.restore(r#"{"storeId":"kept","replace":true}"#)
        .unwrap();
    // Everybody is sent away, and nothing is taken.
    room.push_after(1);
    assert_eq!(room.log(), own);
    assert_eq!(room.closed.last().unwrap().0, 1013);
    assert_eq!(room.restore(ALL).unwrap_err().0, 409, "one is under way");
    // An operator thinks again.
    room.turn(SyncBackend::cancel_restore).unwrap();
    assert_eq!((room.log(), room.lifetime().as_str()), (own, FRESH));
    assert!(!room.is_restoring());
    let again = room.turn(SyncBackend::cancel_restore).unwrap_err();
    assert_eq!(again.status, 404);
    room.restore(r#"{"storeId":"kept","replace":true}"#)
        .unwrap();
    room.settle();
    room.check_restored(&log, NEW);
}

#[test]
fn a_lifetime_goes_on_only_if_nothing_of_it_is_missing() {
    let keep = |rest: &str| format!(r#"{{"storeId":"kept","keepBackendId":true{rest}}}"#);
    let (d1, log) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    assert_eq!(room.ask(&keep("")).unwrap_err().0, 400, "nobody knows");
    let known = |head: i64| format!(r#","lastKnownHead":{head}"#);
    assert_eq!(room.ask(&keep(&known(21))).unwrap_err().0, 409);
    assert_eq!(
        room.ask(&keep(r#","upTo":7,"lastKnownHead":7"#))
            .unwrap_err()
            .0,
        400
    );
    let other =
        r#"{"storeId":"kept","from":{"storeId":"other"},"keepBackendId":true,"lastKnownHead":20}"#;
    assert_eq!(room.ask(other).unwrap_err().0, 404);
    room.restore(&keep(&known(20))).unwrap();
    room.settle();
    room.check_restored(&log, OLD);
    // Now the object knows better than who asks: it has an event more.
    let asked = keep(r#","replace":true,"lastKnownHead":20"#);
    let (status, message) = room.ask(&asked).unwrap_err();
    assert_eq!(status, 409);
    assert!(message.contains("head is 21"), "{message}");
}

#[test]
fn a_log_that_lay_elsewhere_is_brought_in_beside_its_head() {
    let (d1, log) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    drop(EventStore::open(room.sql.clone(), store_id(), backend_id(OLD)).unwrap());
    room.sql.set_up("UPDATE context_7 SET currentHead = 20");
    room.sql.set_key_value_head(20);
    let opened = EventStore::open(room.sql.clone(), store_id(), backend_id(FRESH));
    assert!(matches!(opened, Err(OpenError::Elsewhere { .. })));
    room.restore(r#"{"storeId":"kept","keepBackendId":true}"#)
        .unwrap();
    room.settle();
    assert_eq!(room.log(), log);
    room.die();
    room.open();
    assert_eq!((room.log(), room.lifetime().as_str()), (log, OLD));
    assert!(!room.is_restoring());
}

#[test]
fn a_damaged_backup_restores_nothing() {
    for (damage, words) in [
        (
            "DELETE FROM livestore_sync_events WHERE seq_num = 7",
            "event 8 continues from 7, but the event before it is 6",
        ),
        (
            "DELETE FROM livestore_sync_events WHERE seq_num = 20",
            "ends at 19",
        ),
        (
            "UPDATE livestore_sync_events SET args = args || ' ' WHERE seq_num = 7",
            "should hold 20 events",
        ),
        (
            "UPDATE livestore_sync_events SET parent_seq_num = 1 WHERE seq_num = 7",
            "event 7 continues from 1",
        ),
        ("DELETE FROM livestore_sync_events", "no event"),
    ] {
        let (d1, _) = backed_up(&rows(20, 10));
        d1.0.execute_batch(damage).unwrap();
        let room = Room::new(d1);
        let (status, message) = room.ask(ALL).unwrap_err();
        assert_eq!(status, 409, "{damage}");
        assert!(message.contains(words), "{damage}: {message}");
        assert_eq!(room.tables(), [""; 0]);
    }
}

#[test]
fn a_backup_that_is_damaged_in_the_middle_leaves_what_there_was() {
    for damage in [
        "DELETE FROM livestore_sync_events WHERE seq_num = 2990",
        "DELETE FROM livestore_sync_events WHERE seq_num = 3000",
        "UPDATE livestore_sync_events SET args = '{}' WHERE seq_num = 2990",
    ] {
        for has_log in [true, false] {
            let (d1, log) = backed_up(&rows(3_000, 10));
            let mut room = Room::new(d1);
            room.open();
            if has_log {
                room.push_after(0);
            }
            let own = room.log();
            room.restore(r#"{"storeId":"kept","replace":true}"#)
                .unwrap();
            assert!(room.alarm());
            let Fetch { id, step, .. } = room.fetches.pop().unwrap();
            let first = room.d1.fetch(&step);
            room.d1.0.execute_batch(damage).unwrap();
            room.turn(|backend, turn| backend.on_fetched(id, first, turn));
            room.settle();
            assert_eq!(room.log(), own, "{damage}");
            assert_eq!(room.is_restoring(), !has_log);
            let failed = |report: &Report| matches!(report, Report::RestoreFailed { .. });
            assert_eq!(room.reports.iter().filter(|one| failed(one)).count(), 1);
            if has_log {
                check_given_up(&mut room);
                continue;
            }
            assert_eq!(room.state()["lastRestore"], Value::Null, "it is no past");
            // It stays so until somebody decides.
            room.die();
            room.open();
            assert_eq!(room.state()["status"], "restore-failed");
            assert!(room.is_restoring() && room.alarm_at_ms.is_none());
            assert_eq!(
                room.turn(SyncBackend::cancel_restore).unwrap_err().status,
                409
            );
            room.restore(r#"{"storeId":"kept","upTo":2000}"#).unwrap();
            room.settle();
            room.check_restored(&log[..2_000], NEW);
        }
    }
}

/// A store that goes on with its log says how the restore ended, over evictions, until there is another log.
fn check_given_up(room: &mut Room) {
    let is_failed = |one: &&Report| matches!(one, Report::RestoreFailed { .. });
    let Some(Report::RestoreFailed { message, .. }) = room.reports.iter().find(is_failed) else {
        panic!("{:?}", room.reports);
    };
    let told = json!({
        "at": iso_8601(room.now_ms),
        "outcome": "failed",
        "message": message,
        "from": { "storeId": STORE, "backendId": OLD },
    });
    room.now_ms += 60_000;
    for _ in 0..2 {
        let state = room.state();
        assert_eq!(
            (&state["status"], &state["lastRestore"]),
            (&json!("open"), &told)
        );
        room.die();
        room.open();
    }
    // Another one is the last from its beginning on, and what is there in the end tells of itself.
    room.restore(r#"{"storeId":"kept","upTo":2000,"replace":true}"#)
        .unwrap();
    assert_eq!(room.state()["lastRestore"], Value::Null);
    room.turn(SyncBackend::cancel_restore).unwrap();
    let ended = json!({ "at": iso_8601(room.now_ms), "outcome": "ended", "from": told["from"] });
    assert_eq!(room.state()["lastRestore"], ended);
    room.restore(r#"{"storeId":"kept","upTo":2000,"replace":true}"#)
        .unwrap();
    room.settle();
    assert_eq!((room.lifetime().as_str(), room.log().len()), (NEW, 2_000));
    assert_eq!(room.state()["lastRestore"], Value::Null);
}

#[test]
fn a_reset_leaves_nothing_of_a_restore_that_was_given_up() {
    let (d1, _) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    room.open();
    room.push_after(0);
    room.restore(r#"{"storeId":"kept","replace":true}"#)
        .unwrap();
    room.turn(SyncBackend::cancel_restore).unwrap();
    assert_eq!(room.state()["lastRestore"]["outcome"], "ended");
    room.turn(SyncBackend::reset).unwrap();
    assert_eq!(room.state()["lastRestore"], Value::Null);
}

#[test]
fn a_reset_ends_a_restore() {
    let (d1, _) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    room.alarm();
    let Fetch { id, step, .. } = room.fetches.pop().unwrap();
    let late = room.d1.fetch(&step);
    room.turn(SyncBackend::reset).unwrap();
    room.turn(|backend, turn| backend.on_fetched(id, late, turn));
    room.check_restored(&[], "after-a-reset--------");
    room.die();
    room.open();
    assert!(!room.is_restoring());
}

#[test]
fn d1_that_is_away_is_asked_again_later_and_later() {
    let (d1, log) = backed_up(&rows(20, 10));
    let mut room = Room::new(d1);
    room.restore(ALL).unwrap();
    let mut waits = Vec::new();
    for _ in 0..9 {
        while room.fetches.is_empty() {
            assert!(room.alarm());
        }
        let before_ms = room.now_ms;
        room.answer(|| true);
        while room.fetches.is_empty() {
            assert!(room.alarm());
        }
        waits.push(room.now_ms - before_ms);
    }
    let expected = [
        1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000, 60_000,
    ];
    assert_eq!(waits, expected);
    let restore = &room.state()["restore"];
    assert_eq!(
        (&restore["failures"], &restore["staged"]),
        (&9.into(), &0.into())
    );
    assert_eq!(restore["lastError"]["message"], "D1_ERROR: injected");
    room.settle();
    room.check_restored(&log, NEW);
}

#[test]
fn storage_that_fails_at_any_statement_leaves_all_or_nothing_and_it_goes_on() {
    let mut at = 0;
    loop {
        let mut fired = false;
        for when in [When::Before, When::After] {
            let (d1, log) = backed_up(&rows(30, 100_000));
            let mut room = Room::new(d1);
            room.open();
            room.push_after(0);
            let own = room.log();
            let (plan, ..) = room.ask(r#"{"storeId":"kept","replace":true}"#).unwrap();
            room.sql.fail_after(at, when);
            let begun = room.turn(|backend, turn| backend.begin_restore(plan.clone(), turn));
            for _ in 0..60 {
                let is_whole = room.log() == own || room.log() == log;
                assert!(is_whole, "half a log after statement {at}");
                room.answer(|| false);
                if room.sql.failures() > 0 {
                    room.sql.heal();
                }
                if !room.alarm() {
                    break;
                }
            }
            fired |= !room.sql.heal();
            if begun.is_err() {
                assert_eq!(room.log(), own);
                room.turn(|backend, turn| backend.begin_restore(plan, turn))
                    .unwrap();
                room.settle();
            }
            room.check_restored(&log, NEW);
        }
        if !fired {
            break;
        }
        at += 1;
    }
    assert!(at > 20, "{at} statements were tried");
}

/// A file of a log of these rows, and that log.
fn file_of(rows: &str) -> (Vec<u8>, Vec<String>) {
    let sql = HostSql::in_memory(Binding::Doubles);
    drop(EventStore::open(sql.clone(), store_id(), backend_id(OLD)).unwrap());
    sql.set_up(&format!("INSERT INTO eventlog_7_kept {rows}"));
    let (store, _) = EventStore::open(sql.clone(), store_id(), backend_id(OLD)).unwrap();
    let mut export = Export::new(&store, "2026-01-02T00:00:00.000Z".to_owned());
    let mut file = Vec::new();
    while let Some(text) = export.next(&store).unwrap() {
        file.extend_from_slice(text.as_bytes());
    }
    (file, log_of(sql.raw(), "eventlog_7_kept"))
}

/// Sends as much of a file as storage takes, from where the object wants it on; whether all of it is the log.
fn send(room: &mut Room, file: &[u8], pieces: usize) -> bool {
    let Ok(glance) = EventStore::glance(&room.sql, &store_id()) else {
        return false;
    };
    let begun = glance.as_ref().and_then(Plan::file_in);
    let mut reader = begun.map_or_else(
        || Reader::new(Options::default()),
        |state| Reader::resume(&state).unwrap(),
    );
    if room.backend.is_none() {
        room.open();
    }
    if room.backend.is_none() {
        return false;
    }
    let mut upload = room.backend.as_mut().and_then(SyncBackend::take_upload);
    let from = usize::try_from(reader.bytes_read()).unwrap();
    let mut rest = file[from..].chunks(700_000).take(pieces);
    loop {
        match rest.next() {
            Some(piece) => reader.push(piece).unwrap(),
            None if pieces < file.len() => return false,
            None => reader.finish(),
        }
        loop {
            let rows = match reader.next().unwrap() {
                None => break,
                Some(Part::Header(header)) => {
                    if upload.is_none() {
                        let ask = Import {
                            replace: true,
                            ..Import::default()
                        };
                        let (own, fresh) = (store_id(), backend_id(NEW));
                        let Ok(glance) = EventStore::glance(&room.sql, &own) else {
                            return false;
                        };
                        let state = reader.state();
                        let plan =
                            Plan::of_file(&ask, &own, &header, state, glance.as_ref(), &fresh);
                        let plan = plan.unwrap();
                        if room
                            .turn(|backend, turn| backend.begin_restore(plan, turn))
                            .is_err()
                        {
                            return false;
                        }
                        upload = room.backend.as_mut().unwrap().take_upload();
                    }
                    continue;
                }
                Some(Part::Events(batch)) => batch.rows(),
                Some(Part::End(summary)) => {
                    let (events, last) = (summary.events, summary.last);
                    let upload = upload.unwrap();
                    return room
                        .turn(|backend, turn| backend.end_upload(upload, events, last, turn))
                        .is_ok();
                }
            };
            let (upload, last, state) = (upload.unwrap(), reader.last(), reader.state());
            let backend = room.backend.as_mut().unwrap();
            if backend.stage_upload(upload, &rows, last, state).is_err() {
                return false;
            }
        }
    }
}

#[test]
fn a_file_comes_in_whole_or_not_at_all_wherever_storage_fails_or_its_sender_leaves() {
    let (file, log) = file_of(&rows(16, 140_000));
    let whole = file.len() + 1;
    let mut at = 0;
    loop {
        let mut fired = false;
        for (when, pieces) in [
            (When::Before, whole),
            (When::After, whole),
            (When::Before, 3),
        ] {
            let mut room = Room::new(D1::new());
            room.open();
            room.push_after(0);
            let own = room.log();
            room.sql.fail_after(at, when);
            let mut is_done = false;
            for try_number in 0..20 {
                let now = if try_number < 2 { pieces } else { whole };
                // What could not be looked at is looked at again.
                is_done = send(&mut room, &file, now);
                let log_now = room.log();
                assert!(
                    log_now == own || log_now == log,
                    "half a log after statement {at}"
                );
                if is_done {
                    break;
                }
                if try_number % 2 == 0 {
                    room.die();
                }
                fired |= room.sql.failures() > 0;
                room.sql.heal();
            }
            assert!(is_done, "statement {at}");
            fired |= room.sql.failures() > 0;
            room.sql.heal();
            room.check_restored(&log, NEW);
        }
        if !fired {
            break;
        }
        at += 1;
    }
    assert!(at > 10, "{at} statements were tried");
}

#[test]
fn who_sends_the_rest_of_a_file_takes_over_from_whoever_sent_before() {
    let (file, log) = file_of(&rows(40, 90_000));
    let mut room = Room::new(D1::new());
    assert!(!send(&mut room, &file, 3));
    let state = &room.state()["restore"];
    assert!(state["at"].as_u64().unwrap() > 0 && state["staged"].as_u64().unwrap() > 0);
    assert!(room.is_restoring() && room.alarm_at_ms.is_none());
    let first = room.backend.as_mut().unwrap().take_upload().unwrap();
    let second = room.backend.as_mut().unwrap().take_upload().unwrap();
    let ended = room.turn(|backend, turn| backend.end_upload(first, 40, SeqNum::from(40), turn));
    assert_eq!(ended.unwrap_err().status, 409);
    // Nor does one who has not sent everything make a log of it.
    let ended = room.turn(|backend, turn| backend.end_upload(second, 40, SeqNum::from(40), turn));
    assert_eq!(ended.unwrap_err().status, 409);
    assert_eq!(room.state()["status"], "restore-failed");
    assert!(send(&mut room, &file, file.len() + 1));
    room.check_restored(&log, NEW);
}

#[test]
fn who_sent_for_an_import_that_was_ended_is_nobody_to_the_next() {
    let (file, log) = file_of(&rows(40, 90_000));
    let mut room = Room::new(D1::new());
    assert!(!send(&mut room, &file, 3));
    let before = room.backend.as_mut().unwrap().take_upload().unwrap();
    room.turn(|backend, turn| backend.fail_upload(before, "no file", turn));
    assert!(!send(&mut room, &file, 3));
    for late in 0..=before {
        let ended = room.turn(|backend, turn| backend.end_upload(late, 40, SeqNum::from(40), turn));
        assert_eq!(ended.unwrap_err().status, 409);
        assert_eq!(room.state()["status"], "restoring", "{late}");
    }
    assert!(send(&mut room, &file, file.len() + 1));
    room.check_restored(&log, NEW);
}

#[test]
fn what_is_kept_of_a_failure_is_a_sentence() {
    let (file, _) = file_of(&rows(40, 90_000));
    let mut room = Room::new(D1::new());
    room.open();
    room.push_after(0);
    assert!(!send(&mut room, &file, 3));
    let upload = room.backend.as_mut().unwrap().take_upload().unwrap();
    let message = "é".repeat(1_000);
    room.turn(|backend, turn| backend.fail_upload(upload, &message, turn));
    let told = room.state()["lastRestore"]["message"].clone();
    assert_eq!(told, "é".repeat(BACKUP_MESSAGE_CHARS_MAX));
}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn it_completes_by_itself_whatever_dies_and_fails_in_between(
        count in 1_u64..120,
        bytes in prop_oneof![Just(10_u64), Just(50_000), Just(1_000_000)],
        steps in proptest::collection::vec(0_u8..5, 0..40),
        replaces in any::<bool>(),
    ) {
        let (d1, log) = backed_up(&rows(count, bytes.min(4_000_000 / count)));
        let mut room = Room::new(d1);
        if replaces {
            room.open();
            room.push_after(0);
        }
        let own = if replaces { room.log() } else { Vec::new() };
        room.restore(r#"{"storeId":"kept","replace":true}"#).unwrap();
        for step in steps {
            match step {
                0 => room.die(),
                1 if room.backend.is_some() => room.answer(|| true),
                2 if room.backend.is_some() => {
                    if let Some(Fetch { id, step, .. }) = room.fetches.pop() {
                        let fetched = room.d1.fetch(&step);
                        room.turn(|backend, turn| backend.on_fetched(id, fetched, turn));
                    }
                }
                3 => {
                    room.alarm();
                }
                _ => {
                    if room.backend.is_none() {
                        room.open();
                    }
                    if room.is_restoring() {
                        room.push_after(i64::try_from(own.len()).unwrap());
                    }
                }
            }
            let now = log_of(room.sql.raw(), "eventlog_7_kept");
            prop_assert!(now == own || now == log);
            let is_owed = now == own;
            let holds = room.backend.as_ref().is_some_and(SyncBackend::holds_alarm);
            prop_assert!(!is_owed || room.alarm_at_ms.is_some() || holds);
        }
        if room.backend.is_none() {
            room.open();
        }
        room.settle();
        room.check_restored(&log, NEW);
    }
}
