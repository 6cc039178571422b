//! A mirror in D1 that somebody has damaged: every difference from the log is told, a repair makes it right, the log is
//! never written, and neither are other stores and lifetimes.

use std::cell::Cell;
use std::collections::BTreeSet;

use livestore_sync_worker::backend::{Outcome, Step, SyncBackend, Verification};
use livestore_sync_worker::event::SeqNum;
use livestore_sync_worker::limits::{
    MIRROR_BYTES_MAX, MIRROR_EVENTS_MAX, VERIFY_EXTRA_MAX, VERIFY_QUERIES_MAX, VERIFY_QUERIES_MIN,
    VERIFY_SETTLED_MAX, VERIFY_TALLIED_MAX,
};
use livestore_sync_worker::store::comparison::Repair;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::backup::{OLD, Room, STORE};
use crate::cases;
use crate::client::Sample;
use crate::d1::{D1, Fate};
use crate::host_sql::{HostSql, HostText, When};

const QUERIES: u32 = VERIFY_QUERIES_MAX;

/// The args of every event that these tests make, which no line may hold.
const SECRET: &str = "id-";

fn begin(room: &Room, after: i64, queries: u32, repair: Repair) -> Verification<HostText> {
    let after = SeqNum::clamped(after);
    room.backend.verification(after, queries, repair).unwrap()
}

/// Runs a verification to its end; `before` each query something may happen, and says what D1 does.
fn drive(
    room: &mut Room,
    on: Verification<HostText>,
    before: impl FnMut(&mut Room) -> Fate,
) -> Vec<Value> {
    drive_with(room, on, before, |_| {})
}

/// The same; `after` each, its answer is on its way.
fn drive_with(
    room: &mut Room,
    mut on: Verification<HostText>,
    mut before: impl FnMut(&mut Room) -> Fate,
    mut after: impl FnMut(&mut Room),
) -> Vec<Value> {
    let mut text = String::new();
    for _ in 0..100_000 {
        match room.backend.verify(&mut on, room.now_ms) {
            Step::Ask(batch) => {
                let fate = before(room);
                room.asked.push(batch.clone());
                let outcome = room.d1.run(&batch, fate);
                after(room);
                let outcome = outcome.map_or_else(Outcome::Failed, Outcome::Mirrored);
                room.backend.verified(&mut on, outcome);
            }
            Step::Read(query) => {
                let fetched = match before(room) {
                    Fate::Done => room.d1.fetch(&query),
                    Fate::FailsAt(_) => Err("D1_ERROR: injected".to_owned()),
                    Fate::Unheard => Err("Network connection lost.".to_owned()),
                };
                after(room);
                room.backend.verified_segment(&mut on, fetched);
            }
            Step::Pause => {}
            Step::Tell(lines) => text += &lines,
            Step::End(lines) => {
                text += &lines;
                assert!(!text.contains(SECRET), "{text}");
                return text
                    .lines()
                    .map(|line| serde_json::from_str(line).unwrap())
                    .collect();
            }
        }
    }
    panic!("no end")
}

pub(crate) fn verify(room: &mut Room, repair: Repair) -> Vec<Value> {
    let on = begin(room, 0, QUERIES, repair);
    drive(room, on, |_| Fate::Done)
}

/// The lines of a comparison without the last, and that one.
fn told(room: &mut Room, repair: Repair) -> (Vec<Value>, Value) {
    let mut lines = verify(room, repair);
    let last = lines.pop().unwrap();
    (lines, last)
}

fn assert_same(room: &mut Room) {
    let events = room.log().len();
    let same = verify(room, Repair::No);
    let head = room.d1.rows(&format!(
        "SELECT CAST(head AS TEXT) FROM livestore_sync_lifetimes WHERE store_id = '{STORE}' AND backend_id = '{OLD}'"
    ));
    assert_eq!(same.len(), 1, "{same:?}");
    assert_eq!(
        (&same[0]["result"], &same[0]["differences"]),
        (&json!("same"), &json!(0))
    );
    assert_eq!(same[0]["head"].to_string(), head[0]);
    let lag = u64::try_from(events).unwrap() - same[0]["head"].as_u64().unwrap();
    assert_eq!(same[0]["lag"], lag);
}

/// A room whose log has so many events, all of them copied, beside what nobody may touch.
fn copied(count: u64) -> Room {
    let mut room = Room::new();
    if count > 0 {
        room.push_next(count);
    } else {
        room.d1 = D1::migrated();
    }
    room.settle();
    for (store_id, backend_id) in [("other", OLD), (STORE, "earlier")] {
        room.d1.0.execute_batch(&format!(
            "INSERT INTO livestore_sync_events VALUES ('{store_id}', '{backend_id}', 1, 7, 'n', NULL, 'then', 'c', 's'), \
             ('{store_id}', '{backend_id}', 900, 7, 'n', NULL, 'then', 'c', 's'); \
             INSERT INTO livestore_sync_lifetimes VALUES ('{store_id}', '{backend_id}', 5, 1, 1, 'a', 'b', 'c', 'd')"
        )).unwrap();
    }
    room
}

/// What nobody may touch: the log, and what is not of this lifetime.
fn others(room: &Room) -> (Vec<String>, Vec<String>) {
    let of = format!("WHERE NOT (store_id = '{STORE}' AND backend_id = '{OLD}')");
    let mut rows = room.d1.rows(&format!(
        "SELECT json_array(store_id, backend_id, seq_num, name, args) FROM livestore_sync_events {of}"
    ));
    rows.extend(room.d1.rows(&format!(
        "SELECT json_array(store_id, backend_id, head, events, copied_at) FROM livestore_sync_lifetimes {of}"
    )));
    (room.log(), rows)
}

/// Runs SQL in D1 on this lifetime: `OWN` stands for the condition that says so.
fn damage(room: &Room, sql: &str) {
    let own = format!("store_id = '{STORE}' AND backend_id = '{OLD}'");
    room.d1.0.execute_batch(&sql.replace("OWN", &own)).unwrap();
}

fn extra_row(seq_num: i64) -> String {
    format!(
        "INSERT INTO livestore_sync_events VALUES ('{STORE}', '{OLD}', {seq_num}, 0, 'n', '\"id-extra\"', 'then', 'c', 's')"
    )
}

/// A log from before, of so many events.
fn write_log(sql: &HostSql, from: u64, to: u64) {
    sql.set_up(&format!(
        "WITH RECURSIVE n(x) AS (SELECT {from} UNION ALL SELECT x + 1 FROM n WHERE x < {to}) \
         INSERT INTO eventlog_7_kept SELECT x, x - 1, 'n', '{{\"a\":\"id-\"}}', '2026-01-01T00:00:00.000Z', 'c', 's' FROM n"
    ));
}

#[test]
fn a_whole_mirror_is_the_same_however_its_events_are_made() {
    let mut room = copied(3);
    let odd = |seq_num, args: &str| Sample {
        args: Some(args.to_owned()),
        name: "é \\ \" \u{1f600} \u{7f} /".to_owned(),
        ..Sample::new(seq_num)
    };
    room.push(&[
        odd(
            4,
            r#"{"a":[1,2.50,1e3,null,true,"\u0041\u0000\ud83d\ude00 \u00e9 \n"]}"#,
        ),
        odd(5, "\"tab\\tand \u{2028} é\""),
        Sample {
            args: None,
            ..Sample::new(6)
        },
        odd(7, "null"),
        Sample::padded(8, 1_900_000),
        odd(9, "12345678901234567890"),
        Sample::padded(10, 700_000),
        Sample::padded(11, 790_000),
    ]);
    room.settle();
    assert_same(&mut room);
}

#[test]
fn a_store_of_which_nothing_is_copied_yet_is_the_same() {
    let mut room = Room::new();
    let last = json!({"result": "same", "events": 0, "head": 0, "lag": 0, "differences": 0});
    assert_eq!(verify(&mut room, Repair::No), [last]);
    room.push_next(3);
    let last = json!({"result": "same", "events": 0, "head": 0, "lag": 3, "differences": 0});
    assert_eq!(
        verify(&mut room, Repair::No),
        std::slice::from_ref(&last),
        "no tables"
    );
    room.d1 = D1::migrated();
    assert_eq!(verify(&mut room, Repair::No), [last], "no rows");
}

#[test]
fn what_is_pushed_and_not_copied_yet_is_no_difference() {
    let mut room = copied(5);
    room.push_next(4);
    let last = json!({"result": "same", "events": 5, "head": 5, "lag": 4, "differences": 0});
    assert_eq!(verify(&mut room, Repair::No), [last]);
    let last = json!({"result": "same", "events": 5, "head": 5, "lag": 4, "differences": 0, "repaired": 0});
    assert_eq!(verify(&mut room, Repair::FromLog), [last]);
    room.settle();
    assert_same(&mut room);
}

#[test]
fn each_kind_of_difference_is_told_and_healed() {
    let columns = |from: i64, to: i64, columns: &[&str]| json!({"difference": "columns", "from": from, "to": to, "columns": columns});
    let plain = |difference: &str, from: i64, to: i64| json!({"difference": difference, "from": from, "to": to});
    let cases: Vec<(&str, Vec<Value>)> = vec![
        (
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num IN (3, 4, 5, 8)",
            vec![plain("missing", 3, 5), plain("missing", 8, 8)],
        ),
        (
            "DELETE FROM livestore_sync_events WHERE OWN",
            vec![plain("missing", 1, 20)],
        ),
        (
            "UPDATE livestore_sync_events SET parent_seq_num = 9 WHERE OWN AND seq_num = 2",
            vec![columns(2, 2, &["parentSeqNum"])],
        ),
        (
            "UPDATE livestore_sync_events SET name = 'x' WHERE OWN AND seq_num = 1",
            vec![columns(1, 1, &["name"])],
        ),
        (
            "UPDATE livestore_sync_events SET args = args || ' ' WHERE OWN AND seq_num = 20",
            vec![columns(20, 20, &["args"])],
        ),
        (
            "UPDATE livestore_sync_events SET args = NULL WHERE OWN AND seq_num IN (6, 7)",
            vec![columns(6, 7, &["args"])],
        ),
        (
            "UPDATE livestore_sync_events SET args = hex(zeroblob(950000)) WHERE OWN AND seq_num IN (6, 7)",
            vec![columns(6, 7, &["args"])],
        ),
        (
            // Its JSON is too much for one string.
            "UPDATE livestore_sync_events SET args = replace(hex(zeroblob(950000)), '0', '\"') WHERE OWN AND seq_num = 6",
            vec![columns(6, 6, &["args"])],
        ),
        (
            "UPDATE livestore_sync_events SET created_at = '', client_id = 'c' WHERE OWN AND seq_num = 6",
            vec![columns(6, 6, &["createdAt", "clientId"])],
        ),
        (
            "UPDATE livestore_sync_events SET session_id = 'S' || session_id WHERE OWN AND seq_num > 18",
            vec![columns(19, 20, &["sessionId"])],
        ),
    ];
    for (sql, expected) in cases {
        let mut room = copied(20);
        let before = others(&room);
        damage(&room, sql);
        let (lines, last) = told(&mut room, Repair::No);
        assert_eq!(lines, expected, "{sql}");
        let counted: i64 = expected
            .iter()
            .map(|line| line["to"].as_i64().unwrap() - line["from"].as_i64().unwrap() + 1)
            .sum();
        assert_eq!(
            last,
            json!({"result": "different", "events": 20, "head": 20, "lag": 0, "differences": counted})
        );
        let (lines, last) = told(&mut room, Repair::FromLog);
        let repaired: Vec<Value> = expected
            .into_iter()
            .map(|mut line| {
                line["repaired"] = json!(true);
                line
            })
            .collect();
        assert_eq!(lines, repaired, "{sql}");
        assert_eq!(
            (&last["result"], &last["repaired"]),
            (&json!("different"), &json!(counted))
        );
        assert_same(&mut room);
        assert_eq!(others(&room), before, "{sql}");
    }
}

#[test]
fn what_a_mirror_says_of_itself_is_compared_and_corrected() {
    let all = ["head", "events", "bytes", "firstAt", "lastAt"];
    for (set, columns) in [
        (
            "UPDATE livestore_sync_lifetimes SET head = 12 WHERE OWN",
            &all[..1],
        ),
        (
            "UPDATE livestore_sync_lifetimes SET head = 0 WHERE OWN",
            &all[..1],
        ),
        (
            "UPDATE livestore_sync_lifetimes SET head = 99 WHERE OWN",
            &all[..1],
        ),
        (
            "UPDATE livestore_sync_lifetimes SET events = 19, bytes = 1 WHERE OWN",
            &all[1..3],
        ),
        (
            "UPDATE livestore_sync_lifetimes SET first_at = 'x' WHERE OWN",
            &all[3..4],
        ),
        (
            "UPDATE livestore_sync_lifetimes SET last_at = 'x' WHERE OWN",
            &all[4..],
        ),
        ("DELETE FROM livestore_sync_lifetimes WHERE OWN", &all[..]),
    ] {
        let mut room = copied(20);
        let (before, lifetime) = (others(&room), room.d1.lifetime(STORE, OLD));
        damage(&room, set);
        let (mut lines, last) = told(&mut room, Repair::No);
        assert_eq!(lines.len(), 1, "{set}: {lines:?}");
        let line = lines.remove(0);
        assert_eq!(
            (&line["difference"], &line["columns"]),
            (&json!("lifetime"), &json!(columns)),
            "{set}"
        );
        assert_eq!(
            (&line["log"]["head"], &line["log"]["events"]),
            (&json!(20), &json!(20))
        );
        assert_eq!(line["backup"].is_null(), set.starts_with("DELETE"));
        assert_eq!(
            (&last["result"], &last["differences"]),
            (&json!("different"), &json!(1))
        );
        let (lines, _) = told(&mut room, Repair::FromLog);
        assert_eq!(lines[0]["repaired"], true);
        assert_eq!(room.d1.lifetime(STORE, OLD), lifetime, "{set}");
        assert_same(&mut room);
        assert_eq!(others(&room), before);
        // The copy goes on from there.
        room.push_next(3);
        room.settle();
        assert_same(&mut room);
    }
}

#[test]
fn what_the_mirror_alone_has_stays_unless_it_is_discarded() {
    let mut room = copied(20);
    let before = others(&room);
    for seq_num in [-3, 0, 21, 22, 1_000_000] {
        damage(&room, &extra_row(seq_num));
    }
    let expected = |repaired: Option<bool>| {
        let lines = [(-3, -3), (0, 0), (21, 22), (1_000_000, 1_000_000)].map(|(from, to)| {
            let mut line = json!({"difference": "extra", "from": from, "to": to});
            if let Some(repaired) = repaired {
                line["repaired"] = json!(repaired);
            }
            line
        });
        lines.to_vec()
    };
    assert_eq!(told(&mut room, Repair::No).0, expected(None));
    assert_eq!(told(&mut room, Repair::FromLog).0, expected(Some(false)));
    assert_eq!(told(&mut room, Repair::No).0, expected(None));
    let (lines, last) = told(&mut room, Repair::Discard);
    assert_eq!(lines, expected(Some(true)));
    assert_eq!(
        (&last["differences"], &last["repaired"]),
        (&json!(5), &json!(5))
    );
    assert_same(&mut room);
    assert_eq!(others(&room), before);
}

#[test]
fn events_that_the_log_lost_stay_in_the_mirror_with_its_head() {
    // The object was taken back to an earlier time, and lost an event before.
    let mut room = copied(20);
    room.sql.set_up("DELETE FROM eventlog_7_kept WHERE seqNum = 5 OR seqNum > 15; UPDATE context_7 SET currentHead = 15");
    room.die();
    let (lines, _) = told(&mut room, Repair::No);
    let plain = |difference: &str, from: i64, to: i64| json!({"difference": difference, "from": from, "to": to});
    let expected = [
        plain("extra", 5, 5),
        plain("extra", 16, 20),
        plain("chain", 6, 6),
    ];
    assert_eq!(lines[..3], expected);
    assert_eq!(lines[3]["difference"], "lifetime");
    let kept = room.d1.events(STORE, OLD);
    let (lines, last) = told(&mut room, Repair::FromLog);
    assert!(
        lines.iter().all(|line| line["repaired"] == false),
        "{lines:?}"
    );
    assert_eq!((&last["repaired"], &last["head"]), (&json!(0), &json!(15)));
    assert_eq!(room.d1.events(STORE, OLD), kept);
    assert!(room.d1.lifetime(STORE, OLD).unwrap().starts_with("[20,20,"));
    // Told to, it becomes what the log is, and the copy goes on.
    let (lines, _) = told(&mut room, Repair::Discard);
    assert!(
        lines
            .iter()
            .all(|line| line["repaired"] == (line["difference"] != "chain")),
        "{lines:?}"
    );
    assert_eq!(room.d1.events(STORE, OLD), room.log());
    assert!(room.d1.lifetime(STORE, OLD).unwrap().starts_with("[15,14,"));
    let (lines, _) = told(&mut room, Repair::No);
    assert_eq!(lines, [plain("chain", 6, 6)]);
    room.push_next(2);
    while room.alarm() {
        room.run(|| Fate::Done);
    }
    assert_eq!(room.d1.events(STORE, OLD), room.log());
}

#[test]
fn rows_above_the_head_that_the_log_has_as_well_are_removed_and_copied_in_their_turn() {
    let mut room = copied(3);
    room.push_next(3);
    damage(&room, &extra_row(5));
    let (lines, last) = told(&mut room, Repair::FromLog);
    assert_eq!(
        lines,
        [json!({"difference": "extra", "from": 5, "to": 5, "repaired": true})]
    );
    assert_eq!((&last["head"], &last["lag"]), (&json!(3), &json!(3)));
    assert_same(&mut room);
    room.settle();
    assert_same(&mut room);
}

#[test]
fn the_chain_of_the_log_itself_is_looked_at() {
    let mut room = copied(6);
    room.sql
        .set_up("UPDATE eventlog_7_kept SET parentSeqNum = 1 WHERE seqNum IN (1, 3, 4)");
    let (lines, last) = told(&mut room, Repair::FromLog);
    let chain = |from: i64, to: i64| json!({"difference": "chain", "from": from, "to": to, "repaired": false});
    let parents = |from: i64, to: i64| json!({"difference": "columns", "from": from, "to": to, "columns": ["parentSeqNum"], "repaired": true});
    let lines: BTreeSet<String> = lines.iter().map(Value::to_string).collect();
    let expected = [chain(1, 1), chain(3, 4), parents(1, 1), parents(3, 4)];
    assert_eq!(lines, expected.iter().map(Value::to_string).collect());
    assert_eq!(
        (&last["differences"], &last["repaired"]),
        (&json!(6), &json!(3))
    );
    // It is the same in both now, and wrong in both.
    let (lines, last) = told(&mut room, Repair::No);
    assert_eq!(lines.len(), 2);
    assert_eq!(last["result"], "different");
}

#[test]
fn ranges_and_large_events_are_compared_one_after_the_other() {
    let mut room = copied(0);
    let many = u64::from(MIRROR_EVENTS_MAX) * 2 + 10;
    write_log(&room.sql, 1, many);
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    let head = i64::try_from(many).unwrap();
    let bytes = usize::try_from(MIRROR_BYTES_MAX).unwrap();
    room.push(&[
        Sample::padded(head + 1, bytes),
        Sample::padded(head + 2, bytes + 1),
        Sample::new(head + 3),
    ]);
    room.settle();
    assert_same(&mut room);
    let edge = i64::from(MIRROR_EVENTS_MAX);
    damage(
        &room,
        &format!(
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num BETWEEN {} AND {}",
            edge - 1,
            edge + 2
        ),
    );
    damage(
        &room,
        &format!(
            "UPDATE livestore_sync_events SET args = args || 'x', name = 'm' WHERE OWN AND seq_num = {}",
            head + 1
        ),
    );
    damage(
        &room,
        &format!(
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num = {}",
            head + 2
        ),
    );
    let (lines, last) = told(&mut room, Repair::FromLog);
    assert_eq!(
        lines,
        [
            json!({"difference": "missing", "from": edge - 1, "to": edge + 2, "repaired": true}),
            json!({"difference": "columns", "from": head + 1, "to": head + 1, "columns": ["name", "args"], "repaired": true}),
            json!({"difference": "missing", "from": head + 2, "to": head + 2, "repaired": true}),
        ]
    );
    assert_eq!(last["events"], many + 3);
    assert_same(&mut room);
}

#[test]
fn an_answer_ends_when_it_has_used_its_queries_and_another_goes_on() {
    let mut room = copied(0);
    let ranges = 24;
    let many = u64::from(MIRROR_EVENTS_MAX) * ranges;
    write_log(&room.sql, 1, many);
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    assert!(many > u64::from(VERIFY_TALLIED_MAX) * 2);
    damage(
        &room,
        "DELETE FROM livestore_sync_events WHERE OWN AND seq_num % 12000 = 0; UPDATE livestore_sync_lifetimes SET bytes = 1 WHERE OWN",
    );
    for repair in [Repair::No, Repair::FromLog] {
        let (mut after, mut answers, mut differences, mut events) = (0, 0, 0, 0);
        loop {
            let mut queries = 0;
            let on = begin(&room, after, VERIFY_QUERIES_MIN, repair);
            let lines = drive(&mut room, on, |_| {
                queries += 1;
                Fate::Done
            });
            assert!(queries <= VERIFY_QUERIES_MIN);
            answers += 1;
            let last = lines.last().unwrap();
            differences += last["differences"].as_u64().unwrap();
            events += last["events"].as_u64().unwrap();
            if last["result"] != "unfinished" {
                assert!(last["next"].is_null());
                break;
            }
            let next = last["next"].as_i64().unwrap();
            assert!(next > after);
            after = next;
        }
        assert_eq!((differences, events), (5, many));
        assert!(answers >= 3, "{answers}");
    }
    assert_same(&mut room);
}

#[test]
fn a_batch_counts_as_the_statements_that_it_has() {
    let mut room = copied(0);
    write_log(&room.sql, 1, u64::from(MIRROR_EVENTS_MAX) * 20);
    room.die();
    room.turn(SyncBackend::on_wake);
    room.settle();
    damage(
        &room,
        "UPDATE livestore_sync_events SET name = 'x' WHERE OWN AND seq_num % 1000 = 0",
    );
    for queries in [VERIFY_QUERIES_MIN, VERIFY_QUERIES_MIN + 1, 33, 50] {
        let mut on = begin(&room, 0, queries, Repair::Discard);
        let mut used = 0;
        loop {
            match room.backend.verify(&mut on, 0) {
                Step::Ask(batch) => {
                    used += batch.steps.len();
                    let answer = room.d1.run(&batch, Fate::Done).unwrap();
                    room.backend.verified(&mut on, Outcome::Mirrored(answer));
                }
                Step::Read(query) => {
                    used += 1;
                    let fetched = room.d1.fetch(&query);
                    room.backend.verified_segment(&mut on, fetched);
                }
                Step::End(_) => break,
                Step::Pause | Step::Tell(_) => {}
            }
        }
        assert!(used <= queries as usize, "{used} of {queries}");
    }
}

#[test]
fn more_rows_than_one_answer_names_are_all_told_and_removed() {
    for (first, count) in [(-9_000, 3), (30, 3)] {
        let mut room = copied(20);
        let rows = i64::from(VERIFY_EXTRA_MAX) * count + 7;
        damage(
            &room,
            &format!(
                "WITH RECURSIVE n(x) AS (SELECT 0 UNION ALL SELECT x + 1 FROM n WHERE x < {rows} - 1) INSERT INTO livestore_sync_events \
             SELECT '{STORE}', '{OLD}', {first} + x, 0, 'n', NULL, 'then', 'c', 's' FROM n"
            ),
        );
        let named = |lines: &[Value]| -> i64 {
            lines
                .iter()
                .map(|line| line["to"].as_i64().unwrap() - line["from"].as_i64().unwrap() + 1)
                .sum()
        };
        for repair in [Repair::No, Repair::FromLog, Repair::Discard] {
            let (lines, last) = told(&mut room, repair);
            assert!(
                lines.iter().all(|line| line["difference"] == "extra"),
                "{lines:?}"
            );
            assert_eq!(
                (named(&lines), last["differences"].as_i64(), lines.len()),
                (rows, Some(rows), 1)
            );
        }
        assert_same(&mut room);
    }
}

#[test]
fn a_store_that_is_reset_meanwhile_is_not_compared_any_further() {
    for at in 0..3 {
        let mut room = copied(5);
        damage(
            &room,
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num = 2",
        );
        let mut asked = 0;
        let on = begin(&room, 0, QUERIES, Repair::FromLog);
        let mut lines = drive(&mut room, on, |room| {
            if asked == at {
                room.turn(|backend, turn| {
                    backend.reset(turn).unwrap();
                });
            }
            asked += 1;
            Fate::Done
        });
        let last = lines.pop().unwrap();
        assert_eq!(
            (&last["result"], &last["next"]),
            (&json!("unfinished"), &Value::Null)
        );
        let error = "the store was reset: what was compared is not its log any more";
        assert_eq!(lines.pop().unwrap(), json!({"error": error}));
        assert_eq!(asked, at + 1);
    }
}

#[test]
fn whatever_fails_is_told_and_the_next_verification_heals() {
    let fates = [
        Fate::FailsAt(0),
        Fate::FailsAt(1),
        Fate::FailsAt(2),
        Fate::FailsAt(3),
        Fate::Unheard,
    ];
    let mut failed = 0;
    for fate in fates {
        for at in 1.. {
            let mut room = copied(20);
            room.push(&[Sample::padded(21, 900_000), Sample::new(22)]);
            room.settle();
            damage(
                &room,
                "DELETE FROM livestore_sync_events WHERE OWN AND seq_num IN (2, 21); \
                 UPDATE livestore_sync_lifetimes SET bytes = 7 WHERE OWN",
            );
            damage(&room, &extra_row(-1));
            damage(&room, &extra_row(30));
            let before = others(&room);
            let mut asked = 0;
            let on = begin(&room, 0, QUERIES, Repair::Discard);
            let lines = drive(&mut room, on, |_| {
                asked += 1;
                if asked == at { fate } else { Fate::Done }
            });
            let last = lines.last().unwrap();
            if last["result"] == "unfinished" {
                failed += 1;
                assert_eq!(asked, at, "it asks nothing more");
                let said = lines[lines.len() - 2]["error"].as_str().unwrap();
                assert!(said.starts_with("D1: "), "{said}");
                assert!(last["next"].as_i64().unwrap() <= 22);
            } else {
                assert_eq!(last["repaired"], 5);
            }
            verify(&mut room, Repair::Discard);
            assert_same(&mut room);
            assert_eq!(others(&room), before);
            if asked < at {
                break;
            }
        }
    }
    assert!(failed > 15, "{failed}");
}

#[test]
fn a_log_that_cannot_be_read_ends_it() {
    let mut failed = 0;
    for at in 0..20 {
        let mut room = copied(5);
        room.sql.fail_after(at, When::Before);
        let lines = verify(&mut room, Repair::No);
        // A text that could not be made is tried again with fewer events.
        if room.sql.heal() || lines[0]["result"] == "same" {
            assert_eq!(lines.len(), 1);
            continue;
        }
        failed += 1;
        assert_eq!(lines[0], json!({"error": "storage: injected failure"}));
        assert_eq!(lines[1]["result"], "unfinished");
        assert_same(&mut room);
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn tables_that_are_gone_are_made_by_a_repair_alone() {
    let mut room = copied(20);
    room.d1 = D1::new();
    let (lines, last) = told(&mut room, Repair::No);
    let error = "D1: D1_ERROR: no such table: livestore_sync_schema";
    assert!(
        lines[0]["error"].as_str().unwrap().starts_with(error),
        "{lines:?}"
    );
    assert_eq!(last["result"], "unfinished");
    let (lines, last) = told(&mut room, Repair::FromLog);
    assert_eq!(
        lines[0],
        json!({"difference": "missing", "from": 1, "to": 20, "repaired": true})
    );
    assert_eq!(
        (&lines[1]["difference"], &last["repaired"]),
        (&json!("lifetime"), &json!(21))
    );
    assert_same(&mut room);
    room.push_next(2);
    room.settle();
    assert_same(&mut room);
}

#[test]
fn tables_of_another_version_are_not_written() {
    for at in 0..6 {
        let mut room = copied(20);
        damage(
            &room,
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num = 7; UPDATE livestore_sync_lifetimes SET bytes = 7 WHERE OWN",
        );
        damage(&room, &extra_row(-1));
        let mut asked = 0;
        let on = begin(&room, 0, QUERIES, Repair::Discard);
        let lines = drive(&mut room, on, |room| {
            if asked == at {
                damage(room, "UPDATE livestore_sync_schema SET version = 3");
            }
            asked += 1;
            Fate::Done
        });
        if asked <= at {
            assert!(at > 3);
            continue;
        }
        assert_eq!(lines.last().unwrap()["result"], "unfinished", "{at}");
        let error = "the tables in D1 have version 3, and this release writes version 2";
        assert_eq!(lines[lines.len() - 2], json!({"error": error}));
        let bytes = room
            .d1
            .rows("SELECT 'x' FROM livestore_sync_lifetimes WHERE bytes = 7");
        assert_eq!(bytes.len(), 1, "{at}");
    }
}

/// The follower copies what is pushed while a verification runs, whatever that does.
#[test]
fn a_copy_under_way_and_a_repair_do_each_other_no_harm() {
    for damaging in [
        "SELECT 1",
        "DELETE FROM livestore_sync_events WHERE OWN AND seq_num IN (2, 9, 10)",
        "UPDATE livestore_sync_lifetimes SET head = 4 WHERE OWN",
        "UPDATE livestore_sync_lifetimes SET events = 1 WHERE OWN",
        "DELETE FROM livestore_sync_lifetimes WHERE OWN",
        "DELETE FROM livestore_sync_lifetimes WHERE OWN; DELETE FROM livestore_sync_events WHERE OWN",
    ] {
        for repair in [Repair::No, Repair::FromLog, Repair::Discard] {
            for at in 0..16 {
                let mut room = copied(10);
                damage(&room, damaging);
                let on = begin(&room, 0, QUERIES, repair);
                let asked = Cell::new(0);
                let copy = |room: &mut Room| {
                    if asked.get() == at {
                        room.push_next(3);
                        room.alarm();
                        room.run(|| Fate::Done);
                    }
                    asked.set(asked.get() + 1);
                };
                let before = |room: &mut Room| {
                    copy(room);
                    Fate::Done
                };
                let lines = drive_with(&mut room, on, before, copy);
                let last = lines.last().unwrap();
                if damaging == "SELECT 1" {
                    assert_eq!(last["result"], "same", "{at}: {lines:?}");
                }
                room.push_next(1);
                while room.alarm() {
                    room.run(|| Fate::Done);
                }
                if repair == Repair::No {
                    continue;
                }
                verify(&mut room, Repair::FromLog);
                assert_same(&mut room);
                room.push_next(1);
                room.settle();
                assert_same(&mut room);
            }
        }
    }
}

#[test]
fn what_is_copied_before_rows_are_removed_stays() {
    for repair in [Repair::FromLog, Repair::Discard] {
        let mut room = copied(10);
        damage(&room, &extra_row(12));
        damage(&room, &extra_row(14));
        if repair == Repair::FromLog {
            room.push_next(4);
        }
        let mut asked = 0;
        let on = begin(&room, 0, QUERIES, repair);
        drive(&mut room, on, |room| {
            asked += 1;
            // It has been looked at, compared, looked at, and now rows are removed.
            if asked == 4 {
                room.push_next(3);
                room.alarm();
                room.run(|| Fate::Done);
            }
            Fate::Done
        });
        assert!(asked > 4);
        room.check_prefix();
        assert!(room.d1.events(STORE, OLD).len() >= 13);
    }
}

#[test]
fn a_large_event_above_the_end_is_neither_missing_nor_written() {
    let mut room = copied(5);
    room.sql
        .set_up("DELETE FROM eventlog_7_kept WHERE seqNum = 5");
    room.die();
    let bytes = usize::try_from(MIRROR_BYTES_MAX).unwrap();
    room.push(&[Sample::padded(6, bytes + 1)]);
    let (lines, last) = told(&mut room, Repair::Discard);
    let extra = json!({"difference": "extra", "from": 5, "to": 5, "repaired": true});
    assert_eq!(lines[0], extra);
    assert_eq!(
        (&lines[1]["difference"], lines.len()),
        (&json!("lifetime"), 2)
    );
    assert_eq!(
        (&last["head"], &last["events"], &last["lag"]),
        (&json!(5), &json!(4), &json!(1))
    );
    assert_eq!(room.d1.events(STORE, OLD).len(), 4);
}

#[test]
fn a_mirror_that_grows_whenever_its_end_is_written_is_left_to_the_next() {
    let mut room = copied(10);
    damage(
        &room,
        "UPDATE livestore_sync_lifetimes SET bytes = 1 WHERE OWN",
    );
    let mut queries = 0;
    let on = begin(&room, 0, QUERIES, Repair::FromLog);
    let lines = drive(&mut room, on, |room| {
        queries += 1;
        room.push_next(1);
        room.alarm();
        room.run(|| Fate::Done);
        Fate::Done
    });
    // It is looked at, compared, and looked at and written so many times.
    assert_eq!(queries, 2 + 2 * VERIFY_SETTLED_MAX);
    let [.., lifetime, error, last] = &lines[..] else {
        panic!("{lines:?}");
    };
    assert_eq!(
        (&lifetime["difference"], &lifetime["repaired"]),
        (&json!("lifetime"), &json!(false))
    );
    assert!(error["error"].as_str().unwrap().contains("later"));
    assert_eq!(last["result"], "unfinished");
    verify(&mut room, Repair::FromLog);
    assert_same(&mut room);
}

#[test]
fn a_store_without_a_backup_cannot_be_verified() {
    let room = Room::new();
    let off = crate::backup::open_with(&room.sql, None, None);
    assert!(
        off.verification(SeqNum::ROOT, QUERIES, Repair::No)
            .is_none()
    );
}

#[derive(Clone, Debug)]
enum Harm {
    Remove(i64, i64),
    Change(usize, i64, String),
    Add(i64),
    Say(usize, i64),
    Forget,
}

const COLUMNS: [(&str, &str); 6] = [
    ("parent_seq_num", "parentSeqNum"),
    ("name", "name"),
    ("args", "args"),
    ("created_at", "createdAt"),
    ("client_id", "clientId"),
    ("session_id", "sessionId"),
];

fn harm() -> impl Strategy<Value = Harm> {
    prop_oneof![
        3 => (1..40_i64, 0..6_i64).prop_map(|(from, count)| Harm::Remove(from, from + count)),
        4 => (0..6_usize, 1..40_i64, "[a-z\"\\\\ é]{0,3}").prop_map(|(column, at, text)| Harm::Change(column, at, text)),
        3 => prop_oneof![-3..80_i64, Just(9_007_199_254_740_993)].prop_map(Harm::Add),
        2 => (0..5_usize, -2..60_i64).prop_map(|(column, value)| Harm::Say(column, value)),
        1 => Just(Harm::Forget),
    ]
}

fn apply(room: &Room, harm: &Harm) {
    let sql = match harm {
        Harm::Remove(from, to) => format!(
            "DELETE FROM livestore_sync_events WHERE OWN AND seq_num BETWEEN {from} AND {to}"
        ),
        Harm::Change(0, at, text) => format!(
            "UPDATE livestore_sync_events SET parent_seq_num = {} WHERE OWN AND seq_num = {at}",
            text.len()
        ),
        Harm::Change(column, at, text) => {
            let column = COLUMNS[*column].0;
            format!(
                "UPDATE livestore_sync_events SET {column} = '{text}' WHERE OWN AND seq_num = {at}"
            )
        }
        Harm::Add(seq_num) => extra_row(*seq_num).replace("INSERT", "INSERT OR IGNORE"),
        Harm::Say(column, value) => {
            let column = ["head", "events", "bytes", "first_at", "last_at"][*column];
            format!("UPDATE livestore_sync_lifetimes SET {column} = {value} WHERE OWN")
        }
        Harm::Forget => "DELETE FROM livestore_sync_lifetimes WHERE OWN".to_owned(),
    };
    damage(room, &sql);
}

/// What is to be told of the events: compared here, row by row.
fn expected(room: &Room, head: usize) -> BTreeSet<(i64, String)> {
    let parse = |rows: Vec<String>| -> Vec<Vec<Value>> {
        rows.iter()
            .map(|row| serde_json::from_str(row).unwrap())
            .collect()
    };
    let (log, own) = (parse(room.log()), parse(room.d1.events(STORE, OLD)));
    let log = &log[..head];
    let number = |row: &Vec<Value>| row[0].as_i64().unwrap();
    let mut found = BTreeSet::new();
    for event in log {
        let Some(row) = own.iter().find(|row| number(row) == number(event)) else {
            found.insert((number(event), "missing".to_owned()));
            continue;
        };
        for (index, (_, column)) in COLUMNS.iter().enumerate() {
            if row[index + 1] != event[index + 1] {
                found.insert((number(event), (*column).to_owned()));
            }
        }
    }
    for row in own {
        if log.iter().all(|event| number(event) != number(&row)) {
            found.insert((number(&row), "extra".to_owned()));
        }
    }
    found
}

/// The same as it is told.
fn found(lines: &[Value]) -> BTreeSet<(i64, String)> {
    let mut found = BTreeSet::new();
    for line in lines.iter().filter(|line| line["difference"] != "lifetime") {
        for seq_num in line["from"].as_i64().unwrap()..=line["to"].as_i64().unwrap() {
            if line["difference"] == "columns" {
                for column in line["columns"].as_array().unwrap() {
                    assert!(found.insert((seq_num, column.as_str().unwrap().to_owned())));
                }
            } else {
                assert!(found.insert((seq_num, line["difference"].as_str().unwrap().to_owned())));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn any_damage_is_told_and_healed(
        count in 1..40_u64,
        is_large in any::<bool>(),
        harms in proptest::collection::vec(harm(), 0..8),
        ahead in 0..3_u64,
    ) {
        let mut room = copied(count);
        if is_large {
            let bytes = usize::try_from(MIRROR_BYTES_MAX).unwrap();
            let head = i64::try_from(count).unwrap();
            room.push(&[Sample::padded(head + 1, bytes), Sample::new(head + 2)]);
            room.settle();
        }
        if ahead > 0 {
            room.push_next(ahead);
        }
        let before = others(&room);
        let lifetime = room.d1.lifetime(STORE, OLD);
        for harm in &harms {
            apply(&room, harm);
        }
        let (lines, last) = told(&mut room, Repair::No);
        let head = usize::try_from(last["head"].as_u64().unwrap()).unwrap();
        let copied = room.log().len() - usize::try_from(ahead).unwrap();
        prop_assert!((copied..=room.log().len()).contains(&head));
        let expected = expected(&room, head);
        // What the log has and is not copied yet is above the head, if it is there.
        prop_assert_eq!(found(&lines), expected.clone());
        let is_changed = room.d1.lifetime(STORE, OLD) != lifetime;
        let tells = lines.iter().any(|line| line["difference"] == "lifetime");
        prop_assert!(tells == is_changed || head > copied);
        prop_assert_eq!(&last["result"] == "same", lines.is_empty());

        let (lines, _) = told(&mut room, Repair::FromLog);
        prop_assert_eq!(found(&lines), expected);
        let (lines, _) = told(&mut room, Repair::No);
        let log_end = i64::try_from(room.log().len()).unwrap();
        for line in &lines {
            let is_kept = line["difference"] == "extra" && !(1..=log_end).contains(&line["from"].as_i64().unwrap());
            prop_assert!(is_kept || line["difference"] == "lifetime", "{line}");
        }
        told(&mut room, Repair::Discard);
        assert_same(&mut room);
        prop_assert_eq!(others(&room), before);
        room.push_next(1);
        room.settle();
        assert_same(&mut room);
    }
}
