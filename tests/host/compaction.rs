//! Compaction of the backup: old events are folded into segments. Whatever fails, and wherever the object dies, each event
//! is there once, and the work is completed by itself; and who reads the backup finds no difference.

use livestore_sync_worker::backend::{Delivery, Message, Outcome, Report, SyncBackend};
use livestore_sync_worker::event::{BackendId, SeqNum, StoreId};
use livestore_sync_worker::limits::{
    DAY_MS, FOLD_QUERIES_MAX, MIRROR_BYTES_MAX, SEGMENT_EVENTS_MAX, SEGMENT_EVENTS_MIN,
};
use livestore_sync_worker::store::comparison::Repair;
use livestore_sync_worker::store::recall::{self, DAMAGED, Lifetime, UpTo};
use livestore_sync_worker::store::staging::Rows;
use proptest::prelude::*;

use crate::backup::{NEW, OLD, Room, STORE};
use crate::cases;
use crate::d1::{D1, Fate, pack};
use crate::host_sql::HostText;
use crate::verify::verify;

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 500.
const MIN: usize = SEGMENT_EVENTS_MIN as usize;
const MAX: usize = SEGMENT_EVENTS_MAX as usize;

/// A room whose log has so many events of the beginning of the year, none of which is copied.
fn room(old: usize) -> Room {
    let mut room = Room::new();
    room.compact_after_ms = Some(30 * DAY_MS);
    add(&room, 1, old, "2026-01-01T00:00:00.000Z");
    room.die();
    room.turn(SyncBackend::on_wake);
    room
}

/// Writes events into the log that were stored at `at`.
fn add(room: &Room, first: usize, last: usize, at: &str) {
    room.sql.set_up(&format!(
        "WITH RECURSIVE n(x) AS (SELECT {first} UNION ALL SELECT x + 1 FROM n WHERE x < {last}) \
         INSERT INTO eventlog_7_kept SELECT x, x - 1, 'n' || x % 3, '{{\"é\":\"\" }}', '{at}', 'c', 's' FROM n"
    ));
}

/// First and last event of each segment that counts, and of each that does not.
fn segments(room: &Room, is_folded: bool) -> Vec<String> {
    let is_folded = u8::from(is_folded);
    room.d1.rows(&format!(
        "SELECT first_seq_num || '-' || last_seq_num FROM livestore_sync_segments WHERE is_folded = {is_folded} \
         ORDER BY backend_id, last_seq_num"
    ))
}

fn rows_of_their_own(room: &Room) -> Vec<String> {
    room.d1.rows(
        "SELECT min(seq_num) || '-' || max(seq_num) || ':' || count(*) FROM livestore_sync_events HAVING count(*) > 0",
    )
}

#[test]
fn old_events_are_folded_and_the_others_stay_as_they_are() {
    let mut room = room(2 * MAX + MIN + 7);
    add(
        &room,
        2 * MAX + MIN + 8,
        2 * MAX + MIN + 100,
        "2026-11-01T00:00:00.000Z",
    );
    room.die();
    room.turn(SyncBackend::on_wake);
    room.push_next(3);
    room.settle();
    assert_eq!(segments(&room, true), ["1-2000", "2001-4000", "4001-4507"]);
    assert_eq!(rows_of_their_own(&room), ["4508-4603:96"]);
    let folded = room.reports.iter().find_map(|report| match report {
        Report::Compacted(folded) => Some(*folded),
        _ => None,
    });
    let folded = folded.unwrap();
    assert_eq!((folded.events, folded.segments), (4_507, 3));
    let counted = "SELECT sum(octet_length(name) + octet_length(args) + 2) FROM eventlog_7_kept WHERE seqNum <= 4507";
    let bytes: u64 = room
        .sql
        .raw()
        .query_row(counted, [], |row| row.get(0))
        .unwrap();
    assert_eq!((folded.bytes, folded.stored), (bytes, 3 * 8));
    assert_eq!(room.failures, [""; 0]);
    // It is told, and nothing more is asked or set.
    let state = room.backend.state(room.now_ms).unwrap();
    let told = r#""compaction":{"foldedTo":4507,"isUnderWay":false,"lastError":null}"#;
    assert!(state.contains(told), "{state}");
    let metrics = room.backend.metrics(0, room.now_ms).unwrap();
    assert!(
        metrics.contains("backup_folded_events_total{store=\"kept\"} 4507\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("backup_segment_bytes_total{store=\"kept\"} 24\n"),
        "{metrics}"
    );
    let asked = room.asked.len();
    room.turn(SyncBackend::on_wake);
    room.push_next(1);
    room.settle();
    assert_eq!(room.asked.len(), asked + 1);
}

#[test]
fn one_alarm_asks_for_no_more_than_the_free_plan_allows() {
    let mut room = room(30 * MAX);
    let mut most = 0;
    loop {
        let asked = room.asked.len();
        room.run(|| Fate::Done);
        let queries: usize = room.asked[asked..]
            .iter()
            .map(|batch| batch.steps.len())
            .sum();
        most = most.max(queries);
        if !room.alarm() {
            break;
        }
    }
    room.check_whole();
    assert_eq!(segments(&room, true).len(), 30);
    assert!((FOLD_QUERIES_MAX - 1..=50).contains(&most), "{most}");
}

#[test]
fn a_store_without_old_events_asks_for_nothing_and_one_with_few_waits_for_more() {
    for old in [0, MIN - 1] {
        let mut room = Room::new();
        room.compact_after_ms = Some(30 * DAY_MS);
        if old > 0 {
            add(&room, 1, old, "2026-01-01T00:00:00.000Z");
        }
        room.die();
        room.turn(SyncBackend::on_wake);
        room.push_next(900);
        room.settle();
        let asked = room.asked.len();
        room.turn(SyncBackend::on_wake);
        assert_eq!(room.alarm_at_ms, None);
        room.now_ms += DAY_MS;
        room.turn(SyncBackend::on_wake);
        assert_eq!((room.alarm_at_ms, room.asked.len()), (None, asked));
        assert_eq!(segments(&room, true), [""; 0]);
        // A month later there is enough, and a copy, or a visit, has it looked at.
        room.now_ms += 31 * DAY_MS;
        if old > 0 {
            room.push_next(1);
        } else {
            room.turn(SyncBackend::on_wake);
        }
        room.settle();
        assert_eq!(segments(&room, true), [format!("1-{}", old + 900)]);
    }
}

#[test]
fn it_is_looked_once_a_day() {
    let mut room = room(MIN);
    room.settle();
    assert_eq!(segments(&room, true).len(), 1);
    add(&room, MIN + 1, 2 * MIN, "2026-01-01T00:00:00.000Z");
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert_eq!(segments(&room, true).len(), 1);
    room.now_ms += DAY_MS;
    room.push_next(1);
    room.settle();
    assert_eq!(segments(&room, true).len(), 2);
}

#[test]
fn what_is_off_is_not_folded_and_what_is_folded_is_read_all_the_same() {
    let mut room = room(MIN);
    room.compact_after_ms = None;
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert_eq!(segments(&room, true), [""; 0]);
    room.compact_after_ms = Some(DAY_MS);
    room.die();
    room.turn(SyncBackend::on_wake);
    // It is turned off in the middle.
    assert!(room.alarm());
    room.compact_after_ms = None;
    room.die();
    assert!(room.alarm());
    room.settle();
    assert_eq!(segments(&room, true), [""; 0]);
    room.compact_after_ms = Some(DAY_MS);
    room.now_ms += DAY_MS;
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert_eq!(segments(&room, true).len(), 1);
    room.compact_after_ms = None;
    room.die();
    room.push_next(1);
    room.settle();
    assert_eq!(verify(&mut room, Repair::No)[0]["result"], "same");
}

#[test]
fn wherever_folding_fails_and_whenever_the_object_is_lost_it_is_completed() {
    let fates: Vec<Fate> = (0..4)
        .map(Fate::FailsAt)
        .chain([Fate::Done, Fate::Unheard])
        .collect();
    // Looking, then writing, reading back and folding, twice.
    for nth in 0..7 {
        for fate in &fates {
            for is_lost in [false, true] {
                let mut room = room(2 * MIN);
                // A segment ends where the chain does.
                room.sql
                    .set_up("UPDATE eventlog_7_kept SET parentSeqNum = 0 WHERE seqNum = 501");
                room.compact_after_ms = None;
                room.die();
                room.settle();
                room.compact_after_ms = Some(30 * DAY_MS);
                room.die();
                room.turn(SyncBackend::on_wake);
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
                    room.check_prefix();
                    if asked == nth && is_lost {
                        room.die();
                        break;
                    }
                    room.turn(|backend, turn| backend.on_delivered(id, outcome, turn));
                    // Whatever is asked twice does nothing.
                    let _ = room.d1.run(&batch, Fate::Done);
                    room.check_prefix();
                    asked += 1;
                }
                room.settle();
                assert_eq!(
                    segments(&room, true),
                    ["1-500", "501-1000"],
                    "{nth} {fate:?} {is_lost}"
                );
                assert_eq!(segments(&room, false), [""; 0], "{nth} {fate:?} {is_lost}");
                assert_eq!(rows_of_their_own(&room).len(), 0);
            }
        }
    }
}

#[test]
fn a_failure_is_told_and_does_not_keep_a_copy_waiting() {
    let mut room = room(MIN);
    room.settle_until_folding();
    room.run(|| Fate::FailsAt(0));
    let failed = |room: &Room| {
        let failed = |report: &&Report| matches!(report, Report::CompactionFailed { .. });
        room.reports.iter().filter(failed).count()
    };
    assert_eq!((failed(&room), room.failures.len()), (1, 0));
    let state = room.backend.state(room.now_ms).unwrap();
    let told = r#""isUnderWay":true,"lastError":{"at":""#;
    assert!(state.contains(told), "{state}");
    assert!(
        state.contains(r#""failures":0,"lastError":null,"compaction""#),
        "{state}"
    );
    room.push_next(1);
    let due_ms = room.now_ms + 5_000;
    assert!(room.alarm_at_ms.unwrap() <= due_ms);
    room.settle();
    assert_eq!(segments(&room, true).len(), 1);
    assert!(
        room.backend
            .state(room.now_ms)
            .unwrap()
            .contains(r#""isUnderWay":false,"lastError":null"#)
    );
}

#[test]
fn what_an_account_may_do_is_left_to_copies_once_it_is_used_up() {
    let mut room = room(MAX + MIN);
    room.settle_until_folding();
    for _ in 0..4 {
        room.run_one(Fate::Done);
    }
    let Delivery { id, .. } = room.deliveries.pop().unwrap();
    let limit = "D1_ERROR: Your account has exceeded D1's free usage limit".to_owned();
    room.turn(|backend, turn| backend.on_delivered(id, Outcome::Failed(limit), turn));
    let begun_ms = room.now_ms;
    room.settle();
    assert!(room.now_ms < begun_ms + 60_000);
    assert_eq!(segments(&room, true), ["1-2000"]);
    room.now_ms += DAY_MS;
    room.push_next(1);
    room.settle();
    assert_eq!(segments(&room, true), ["1-2000", "2001-2500"]);
}

#[test]
fn a_segment_that_d1_has_not_kept_as_it_was_written_does_not_take_the_place_of_its_events() {
    let mut room = room(MIN);
    room.settle_until_folding();
    let mut at = 0;
    while at < 2 {
        room.run_one(Fate::Done);
        at += 1;
    }
    let other = pack("[]");
    let damaged = format!("UPDATE livestore_sync_segments SET data = unhex('{other}')");
    room.d1.0.execute_batch(&damaged).unwrap();
    room.run_one(Fate::Done);
    assert_eq!(
        (segments(&room, true).len(), segments(&room, false).len()),
        (0, 1)
    );
    room.check_prefix();
    room.settle();
    assert_eq!(segments(&room, true).len(), 1);
}

#[test]
fn rows_that_are_not_those_of_the_log_stay_as_they_are() {
    for damage in [
        "UPDATE livestore_sync_events SET args = args || ' ' WHERE seq_num = 7",
        "UPDATE livestore_sync_events SET args = NULL WHERE seq_num = 7",
        "DELETE FROM livestore_sync_events WHERE seq_num = 7",
    ] {
        let mut room = room(MIN);
        room.settle_until_folding();
        room.d1.0.execute_batch(damage).unwrap();
        let before = room.mirror(OLD);
        for _ in 0..50 {
            room.run(|| Fate::Done);
            room.alarm();
        }
        assert_eq!((room.alarm_at_ms, segments(&room, true).len()), (None, 0));
        assert_eq!(room.mirror(OLD), before);
        let told = room.reports.iter().any(|report| {
            report.to_string() == "events 1 to 500 in D1 are not those of the log, and stay as they are: verify the backup"
        });
        assert!(told, "{:?}", room.reports);
        // Once that is made right, the next day has it folded.
        verify(&mut room, Repair::FromLog);
        room.now_ms += DAY_MS;
        room.push_next(1);
        room.settle();
        assert_eq!(segments(&room, true).len(), 1);
    }
}

#[test]
fn events_that_are_too_large_keep_rows_of_their_own() {
    let mut room = room(2 * MIN);
    room.sql.set_up(&format!(
        "UPDATE eventlog_7_kept SET args = hex(zeroblob({MIRROR_BYTES_MAX})) WHERE seqNum IN (5, 400)"
    ));
    room.settle();
    assert_eq!(segments(&room, true), ["6-399", "401-1000"]);
    assert_eq!(rows_of_their_own(&room), ["1-400:6"]);
    assert_eq!(verify(&mut room, Repair::No)[0]["result"], "same");
}

#[test]
fn escapes_that_outgrow_a_text_of_d1_make_segments_smaller() {
    let mut room = room(MIN);
    room.sql
        .set_up("UPDATE eventlog_7_kept SET args = replace(hex(zeroblob(700)), '0', char(1))");
    room.settle();
    assert!(
        segments(&room, true).len() > 1,
        "{:?}",
        segments(&room, true)
    );
    assert_eq!(verify(&mut room, Repair::No)[0]["result"], "same");
}

#[test]
fn a_chain_that_is_broken_is_folded_in_parts_and_still_seen() {
    let mut room = room(2 * MIN + 100);
    room.sql
        .set_up("UPDATE eventlog_7_kept SET parentSeqNum = 3 WHERE seqNum = 601");
    room.settle();
    assert_eq!(segments(&room, true), ["1-600", "601-1100"]);
    let survey = room
        .d1
        .survey(&StoreId::new(STORE), &lifetime(&room.d1), None);
    let broken = survey.broken.unwrap();
    assert_eq!(
        (broken.seq_num, broken.parent_seq_num, broken.before),
        (601, 3, 600)
    );
}

#[test]
fn a_reset_leaves_what_was_folded_and_what_is_late_changes_nothing() {
    let mut room = room(MAX + MIN);
    room.settle_until_folding();
    for _ in 0..5 {
        room.run_one(Fate::Done);
    }
    room.removed = room.log();
    room.turn(|backend, turn| {
        backend.reset(turn).unwrap();
    });
    room.push_next(3);
    let asked = room.asked.clone();
    for batch in asked.iter().chain(asked.iter().rev()) {
        let _ = room.d1.run(batch, Fate::Done);
        room.check_prefix();
    }
    room.settle();
    assert_eq!(
        (room.mirror(OLD).len(), room.mirror(NEW).len()),
        (MAX + MIN, 3)
    );
}

#[test]
fn rows_that_are_compared_are_not_folded_meanwhile() {
    let mut room = room(MIN);
    room.compact_after_ms = None;
    room.die();
    room.settle();
    room.compact_after_ms = Some(30 * DAY_MS);
    room.die();
    room.turn(SyncBackend::on_wake);
    verify(&mut room, Repair::No);
    let begun_ms = room.now_ms;
    assert!(room.alarm());
    assert!(room.deliveries.is_empty());
    room.settle();
    assert!(room.now_ms >= begun_ms + 60_000);
    assert_eq!(segments(&room, true).len(), 1);
}

#[test]
fn tables_of_the_release_before_are_brought_to_this_one_by_the_first_copy() {
    let mut room = Room::new();
    room.d1.0.execute_batch(crate::d1::MIGRATIONS[0]).unwrap();
    room.push_next(3);
    room.settle();
    assert_eq!(
        room.d1
            .rows("SELECT CAST(version AS TEXT) FROM livestore_sync_schema"),
        ["2"]
    );
    assert_eq!(room.failures, [""; 0]);
    // A verification does so, too.
    room.d1
        .0
        .execute_batch(
            "UPDATE livestore_sync_schema SET version = 1; DROP TABLE livestore_sync_segments",
        )
        .unwrap();
    assert_eq!(verify(&mut room, Repair::No)[0]["result"], "same");
    assert_eq!(
        room.d1
            .rows("SELECT CAST(version AS TEXT) FROM livestore_sync_schema"),
        ["2"]
    );
}

fn lifetime(d1: &D1) -> Lifetime {
    let rows = d1.query(&recall::lifetimes(&StoreId::new(STORE)));
    Lifetime::of(&rows[0])
}

/// Folds events of D1 by hand.
fn fold(d1: &D1, first: usize, last: usize) {
    let of = format!("seq_num BETWEEN {first} AND {last}");
    let text = d1.rows(&format!(
        "SELECT '[' || group_concat(json_array(seq_num, parent_seq_num, name, args, created_at, client_id, session_id), ',') \
         || ']' FROM (SELECT * FROM livestore_sync_events WHERE {of} ORDER BY seq_num)"
    ));
    let packed = pack(&text[0]);
    d1.0
        .execute_batch(&format!(
            "INSERT INTO livestore_sync_segments SELECT store_id, backend_id, {last}, {first}, {first} - 1, count(*), \
             sum(octet_length(name) + octet_length(args) + octet_length(client_id) + octet_length(session_id)), \
             min(created_at), (SELECT created_at FROM livestore_sync_events WHERE {of} ORDER BY seq_num DESC LIMIT 1), max(created_at), 'then', 1, \
             unhex('{packed}') FROM livestore_sync_events WHERE {of}; DELETE FROM livestore_sync_events WHERE {of}"
        ))
        .unwrap();
}

/// Every event that a restore would get, and by how many queries.
fn fetched(d1: &D1, up_to: u64, limit: u32) -> Result<Vec<String>, String> {
    let mut after = SeqNum::ROOT;
    let up_to = SeqNum::clamped(i64::try_from(up_to).unwrap());
    let mut events = Vec::new();
    while after < up_to {
        let (store_id, backend_id) = (StoreId::new(STORE), BackendId::stored(OLD.to_owned()));
        let fetched = d1.fetch(&recall::fetch::<HostText>(
            &store_id,
            &backend_id,
            after,
            up_to,
            limit,
        ))?;
        let Some(Rows::Many(text)) = fetched.rows else {
            panic!("nothing after {after}");
        };
        let items: Vec<Box<serde_json::value::RawValue>> =
            serde_json::from_str(text.as_str()).unwrap();
        events.extend(items.iter().map(|item| item.get().to_owned()));
        assert!(fetched.last > after);
        after = fetched.last;
    }
    // What a segment has beyond that is left out when it is staged.
    events.truncate(usize::try_from(up_to.get()).unwrap());
    Ok(events)
}

/// A copied log of so many events, whose times go up and down.
fn copied(count: usize) -> Room {
    let mut room = Room::new();
    add(&room, 1, count, "2026-01-01T00:00:00.000Z");
    room.sql.set_up(
        "UPDATE eventlog_7_kept SET createdAt = strftime('%Y-%m-%dT%H:%M:%fZ', '2026-01-01', (seqNum + seqNum * 7 % 5) || ' seconds')",
    );
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    room
}

/// Parts of a log, each folded or not.
fn parts() -> impl Strategy<Value = Vec<(usize, bool)>> {
    proptest::collection::vec((1..20_usize, any::<bool>()), 1..8)
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn who_reads_finds_no_difference(parts in parts(), up_to in 0..90_u64, limit in 1..30_u32) {
        let count = parts.iter().map(|(count, _)| count).sum();
        let mut room = copied(count);
        let store_id = StoreId::new(STORE);
        let lifetime = lifetime(&room.d1);
        let time = |seconds: u64| UpTo::Time(format!("2026-01-01T00:{:02}:{:02}Z", seconds / 60, seconds % 60));
        let asked = [None, Some(UpTo::Event(up_to)), Some(time(up_to)), Some(time(up_to + 500)), Some(UpTo::Time("2026-13-41".to_owned()))];
        let survey = |d1: &D1| asked.clone().map(|up_to| d1.survey(&store_id, &lifetime, up_to.as_ref()));
        let (before, log) = (survey(&room.d1), room.log());
        let mut first = 1;
        for (count, is_folded) in parts {
            if is_folded {
                fold(&room.d1, first, first + count - 1);
            }
            first += count;
        }
        prop_assert_eq!(survey(&room.d1), before.clone());
        for survey in before {
            let events = fetched(&room.d1, survey.head, limit).unwrap();
            prop_assert_eq!(&events[..], &log[..events.len()]);
            prop_assert_eq!(events.len() as u64, survey.events);
        }
        let same = verify(&mut room, Repair::No);
        prop_assert_eq!(same.len(), 1);
        prop_assert_eq!(&same[0]["result"], "same");
        prop_assert_eq!(&same[0]["events"], count);
    }

    #[test]
    fn differences_in_segments_are_told_and_made_right(
        parts in parts(),
        at in 1..60_usize,
        change in 0..5_usize,
        is_lost in any::<bool>(),
    ) {
        let count: usize = parts.iter().map(|(count, _)| count).sum();
        let at = at.min(count);
        let mut room = copied(count);
        let change = [
            format!("UPDATE livestore_sync_events SET name = 'x' WHERE seq_num = {at}"),
            format!("UPDATE livestore_sync_events SET args = args || ' ' WHERE seq_num = {at}"),
            format!("UPDATE livestore_sync_events SET parent_seq_num = 0, client_id = '' WHERE seq_num = {at}"),
            format!("DELETE FROM livestore_sync_events WHERE seq_num = {at} AND seq_num NOT IN (1, {count})"),
            String::new(),
        ][change].clone();
        room.d1.0.execute_batch(&change).unwrap();
        let mut plain = verify(&mut room, Repair::No);
        let mut first = 1;
        for (count, is_folded) in parts {
            let has_rows = room.d1.rows(&format!(
                "SELECT 'x' FROM livestore_sync_events WHERE seq_num BETWEEN {first} AND {}", first + count - 1
            ));
            if is_folded && !has_rows.is_empty() {
                fold(&room.d1, first, first + count - 1);
            }
            first += count;
        }
        let mut folded = verify(&mut room, Repair::No);
        prop_assert_eq!(&folded, &plain);
        if is_lost {
            // A segment that cannot be read is as good as none.
            room.d1.0.execute_batch("UPDATE livestore_sync_segments SET data = x'00'").unwrap();
        }
        folded = verify(&mut room, Repair::FromLog);
        let differences = |lines: &[serde_json::Value]| lines.last().unwrap()["differences"].as_u64().unwrap();
        prop_assert!(is_lost || differences(&folded) == differences(&plain));
        prop_assert_eq!(&folded.last().unwrap()["repaired"], differences(&folded));
        plain = verify(&mut room, Repair::No);
        prop_assert_eq!(&plain[0]["result"], "same");
        prop_assert_eq!(room.mirror(OLD), room.log());
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_said_to_be_damaged() {
    let room = copied(60);
    fold(&room.d1, 11, 30);
    room.d1
        .0
        .execute_batch("UPDATE livestore_sync_segments SET data = x'00'")
        .unwrap();
    assert_eq!(fetched(&room.d1, 60, 100).unwrap_err(), DAMAGED);
}

#[test]
fn what_a_segment_alone_has_stays_unless_it_is_to_be_discarded() {
    for (repair, left) in [(Repair::FromLog, 60), (Repair::Discard, 40)] {
        let mut room = copied(60);
        fold(&room.d1, 11, 30);
        fold(&room.d1, 31, 60);
        room.sql.set_up(
            "DELETE FROM eventlog_7_kept WHERE seqNum > 40; UPDATE context_7 SET currentHead = 40",
        );
        room.die();
        let told = verify(&mut room, Repair::No);
        assert_eq!(told[0]["difference"], "extra");
        assert_eq!((&told[0]["from"], &told[0]["to"]), (&41.into(), &60.into()));
        verify(&mut room, repair);
        assert_eq!(room.mirror(OLD).len(), left);
        assert_eq!(segments(&room, true), ["11-30"]);
    }
}

#[derive(Clone, Copy, Debug)]
enum Happens {
    Push(u64),
    Alarm,
    Run(Fate),
    Die,
    Reset,
    Again(usize),
    GiveUp,
    Wait(u64),
    LoseDatabase,
    Repair,
    Damage,
}

fn happens() -> impl Strategy<Value = Happens> {
    let fate = prop_oneof![
        3 => Just(Fate::Done),
        2 => (0..5_usize).prop_map(Fate::FailsAt),
        1 => Just(Fate::Unheard),
    ];
    prop_oneof![
        4 => (1..900_u64).prop_map(Happens::Push),
        8 => Just(Happens::Alarm),
        8 => fate.prop_map(Happens::Run),
        1 => Just(Happens::Die),
        1 => Just(Happens::Reset),
        3 => (0..1_000_usize).prop_map(Happens::Again),
        1 => Just(Happens::GiveUp),
        3 => (1..3_u64).prop_map(|days| Happens::Wait(days * DAY_MS)),
        1 => Just(Happens::LoseDatabase),
        1 => Just(Happens::Repair),
        1 => Just(Happens::Damage),
    ]
}

proptest! {
    #![proptest_config(cases(16))]

    #[test]
    fn whatever_happens_each_event_is_there_once(
        history in proptest::collection::vec(happens(), 1..40),
    ) {
        let mut room = Room::new();
        room.compact_after_ms = Some(DAY_MS);
        room.die();
        let mut has_reset = false;
        for event in history {
            match event {
                Happens::Push(count) => room.push_next(count),
                Happens::Alarm => {
                    room.alarm();
                }
                Happens::Run(fate) => room.run_one(fate),
                Happens::Die => {
                    room.die();
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
                Happens::LoseDatabase => {
                    room.d1 = D1::new();
                    // A repair would write what another database lacks.
                    room.asked.clear();
                }
                Happens::Damage if !room.deliveries.is_empty() => {}
                Happens::Damage => {
                    // Of what is damaged nobody says any more that it is as it was.
                    let damaged = "UPDATE livestore_sync_segments SET data = x'00' WHERE is_folded = 1";
                    if room.d1.0.execute_batch(damaged).is_ok() {
                        verify(&mut room, Repair::FromLog);
                    }
                }
                Happens::Repair => {
                    if !room.d1.rows("SELECT 'x' FROM livestore_sync_schema").is_empty() {
                        verify(&mut room, Repair::FromLog);
                    }
                }
            }
            room.check_prefix();
        }
        room.push_next(1);
        room.settle();
        // All that is old is folded in the end, but for what is too little.
        room.now_ms += 3 * DAY_MS;
        room.push_next(1);
        room.settle();
        let last = room.log().len();
        let plain = room.d1.rows(&format!(
            "SELECT CAST(seq_num AS TEXT) FROM livestore_sync_events WHERE backend_id = '{}' AND seq_num < {last}",
            room.lifetime()
        ));
        prop_assert!(plain.len() < MIN, "{}", plain.len());
        let last = verify(&mut room, Repair::No).pop().unwrap();
        prop_assert_eq!(&last["result"], "same");
    }
}
