//! INV-17: a D1 that fails, hangs, and answers late, twice or not at all, and what it holds of each lifetime, compared
//! with the log.

use std::collections::HashMap;

use livestore_sync_worker::backend::{DeliveryId, Outcome};
use livestore_sync_worker::limits::MIRROR_DEADLINE_MS;
use livestore_sync_worker::store::mirror::MirrorBatch;

use super::log::{Stored, marker_of};
use super::seen::Kind;
use super::world::{World, tell};
use crate::d1::{D1, Fate};
use crate::host_sql::HostText;

/// For how long pushes are collected.
pub(super) const DELAY_MS: u64 = 5_000;

/// How long the platform waits before it repeats an alarm that has not returned.
const ALARM_AGAIN_MS: u64 = 2_000;

pub(super) struct Backup {
    d1: D1,
    /// What the object in memory has asked.
    asked: Option<Asked>,
    /// What was heard of last.
    heard: Option<DeliveryId>,
    /// What D1 may run at any time, though nobody waits for it any more.
    late: Vec<MirrorBatch<HostText>>,
    /// Logs of lifetimes that are over.
    ended: HashMap<String, Vec<Stored>>,
    /// The last event of each lifetime that D1 holds.
    heads: HashMap<String, i64>,
    /// Whether D1 has run something since it was last looked at.
    is_changed: bool,
    /// Whether the object has had a turn: before that, it does not know of the log that a world begins with.
    is_awaited: bool,
    /// Whether an alarm has gone off and not returned, as far as is durable.
    is_alarm_held: bool,
}

struct Asked {
    id: DeliveryId,
    batch: MirrorBatch<HostText>,
    /// When the host gives it up.
    until_ms: u64,
    /// How it went, if D1 has done something about it.
    outcome: Option<Outcome>,
}

impl Backup {
    pub(super) fn new() -> Self {
        Self {
            d1: D1::new(),
            asked: None,
            heard: None,
            late: Vec::new(),
            ended: HashMap::new(),
            heads: HashMap::new(),
            is_changed: false,
            is_awaited: false,
            is_alarm_held: false,
        }
    }

    /// Whether this is what D1 has been asked.
    pub(super) fn is_under_way(&self, id: DeliveryId) -> bool {
        self.asked.as_ref().is_some_and(|asked| asked.id == id)
    }

    /// Whether this has just been heard of.
    pub(super) fn has_heard(&self, id: DeliveryId) -> bool {
        self.heard == Some(id)
    }

    /// Whether D1 may run something that nobody waits for.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// A lifetime is over.
    pub(super) fn end(&mut self, backend_id: &str, log: &[Stored]) {
        self.ended.insert(backend_id.to_owned(), log.to_vec());
        // Whatever D1 is asked about it, the next one does not wait for that.
        let asked = self.asked.take();
        self.late.extend(asked.map(|asked| asked.batch));
    }

    /// A turn is durable.
    pub(super) fn commit(&mut self, holds_alarm: bool) {
        self.is_awaited = true;
        self.is_alarm_held = holds_alarm;
    }

    fn run(&mut self, batch: &MirrorBatch<HostText>, fate: Fate) -> Outcome {
        self.is_changed = true;
        match self.d1.run(batch, fate) {
            Ok(answer) => Outcome::Mirrored(answer),
            Err(message) => Outcome::Failed(message),
        }
    }
}

impl World {
    /// D1 is asked something, and has answered nothing yet.
    pub(super) fn ask_d1(&mut self, id: DeliveryId, batch: &MirrorBatch<HostText>) {
        assert!(self.plan.has_backup);
        if let Some(former) = self.backup.asked.take() {
            assert!(former.until_ms <= self.now_ms, "one batch at a time");
            self.backup.late.push(former.batch);
        }
        let is_well = self.is_healthy || self.random.chance(self.plan.health);
        let fates = [
            (3, Some(Fate::Done)),
            (2, Some(Fate::FailsAt(self.random.index(4)))),
            (2, Some(Fate::Unheard)),
            (2, None),
        ];
        let fate = if is_well {
            self.random.weighted(&[(1, Some(Fate::Done)), (1, None)])
        } else {
            self.random.weighted(&fates)
        };
        tell!(self, "  D1 is asked {id:?}: {fate:?}");
        let outcome = fate.map(|fate| self.backup.run(batch, fate));
        self.seen.count(match (fate, &outcome) {
            (Some(Fate::Unheard), _) => Kind::CopiesUnheard,
            (_, Some(Outcome::Failed(_))) => Kind::CopiesFailed,
            (_, Some(_)) => Kind::Copies,
            (_, None) => Kind::CopiesHanging,
        });
        self.backup.asked = Some(Asked {
            id,
            batch: batch.clone(),
            until_ms: self.now_ms + MIRROR_DEADLINE_MS,
            outcome,
        });
        let object = self.object.as_mut().unwrap();
        object.deliveries.push((id, true));
    }

    /// What D1 answers at last, or the host for it.
    pub(super) fn hear_d1(&mut self, id: DeliveryId) -> Outcome {
        let Some(asked) = self.backup.asked.take_if(|asked| asked.id == id) else {
            return Outcome::Failed("it was given up".to_owned());
        };
        self.backup.heard = Some(id);
        if let Some(outcome) = asked.outcome {
            return outcome;
        }
        if self.now_ms < asked.until_ms && (self.is_healthy || self.random.chance(60)) {
            return self.backup.run(&asked.batch, Fate::Done);
        }
        self.backup.late.push(asked.batch);
        Outcome::Failed("D1 has not answered within 60000 ms".to_owned())
    }

    /// The host gives up what has not been answered for too long.
    pub(super) fn give_up_d1(&mut self) {
        let asked = self.backup.asked.as_ref();
        let overdue = asked.filter(|asked| asked.until_ms <= self.now_ms);
        let (Some(id), Some(object)) = (overdue.map(|asked| asked.id), &mut self.object) else {
            return;
        };
        object.deliveries.retain(|(one, _)| *one != id);
        self.begin_event();
        let outcome = self.hear_d1(id);
        let _ = self.delivered(id, outcome);
        self.settle_event();
        self.serve();
    }

    /// D1 runs something that nobody waits for, and may run it again.
    pub(super) fn run_late(&mut self) {
        if self.backup.late.is_empty() {
            return;
        }
        let index = self.random.index(self.backup.late.len());
        let batch = self.backup.late[index].clone();
        if self.random.chance(50) {
            self.backup.late.swap_remove(index);
        }
        tell!(self, "D1 runs what nobody waits for");
        self.seen.count(Kind::CopiesLate);
        self.backup.run(&batch, Fate::Done);
    }

    /// Memory is about to be lost: what D1 was asked may be run all the same, and an alarm that has not returned goes
    /// off again.
    pub(super) fn forget_d1(&mut self) {
        if let Some(asked) = self.backup.asked.take() {
            self.backup.late.push(asked.batch);
        }
        if std::mem::take(&mut self.backup.is_alarm_held) {
            self.seen.count(Kind::AlarmsRepeated);
            let again_ms = self.now_ms + ALARM_AGAIN_MS;
            let at_ms = self.alarm_at_ms.unwrap_or(again_ms).min(again_ms);
            self.alarm_at_ms = Some(at_ms);
        }
    }

    /// What D1 holds of each lifetime is the beginning of its log, and nothing more than that is taken for copied;
    /// somebody looks after the rest.
    pub(super) fn check_backup(&mut self) {
        if std::mem::take(&mut self.backup.is_changed) {
            self.check_mirrors();
        }
        if !self.plan.has_backup {
            return;
        }
        let head = self.mirror_head();
        if self.backup.is_awaited && head < self.log.head() {
            assert!(
                self.alarm_at_ms.is_some() || self.backup.is_alarm_held,
                "the backup ends at {head}, and waits for somebody's visit"
            );
        }
    }

    /// The last event of this lifetime that D1 holds.
    pub(super) fn mirror_head(&self) -> i64 {
        let head = self.backup.heads.get(&self.log.backend_id);
        head.copied().unwrap_or(0)
    }

    fn check_mirrors(&mut self) {
        let mut mirrors: HashMap<String, i64> = HashMap::new();
        let rows = self.backup.d1.rows(
            "SELECT json_array(backend_id, seq_num, parent_seq_num, args, created_at) \
             FROM livestore_sync_events ORDER BY seq_num",
        );
        for row in rows {
            let row: (String, i64, i64, String, String) = serde_json::from_str(&row).unwrap();
            let (backend_id, seq_num, parent, args, created_at) = row;
            let log = if backend_id == self.log.backend_id {
                self.log.after(seq_num - 1)
            } else {
                &self.backup.ended[&backend_id][usize::try_from(seq_num - 1).unwrap()..]
            };
            let stored = log.first().expect("an event of the log");
            let event = (stored.event.seq_num, stored.event.parent_seq_num);
            assert_eq!(event, (seq_num, parent));
            assert_eq!(stored.event.marker, marker_of(&args));
            assert_eq!(stored.created_at, created_at);
            let head = mirrors.entry(backend_id).or_default();
            assert_eq!(seq_num, *head + 1, "without gaps");
            *head = seq_num;
        }
        let heads = self
            .backup
            .d1
            .rows("SELECT json_array(backend_id, head, events) FROM livestore_sync_lifetimes");
        let heads = heads.iter().map(|row| {
            let (id, head, events): (String, i64, i64) = serde_json::from_str(row).unwrap();
            assert_eq!(head, events);
            (id, head)
        });
        self.backup.heads = heads.collect();
        assert_eq!(self.backup.heads, mirrors);
        if let Some(object) = &self.object {
            let state = object.backend.state(self.now_ms).unwrap();
            let state: serde_json::Value = serde_json::from_str(&state).unwrap();
            let position = state["backup"]["head"].as_i64().unwrap();
            assert!(position <= self.mirror_head(), "taken for copied");
        }
    }
}
