//! What happens next in a world, and what has come of everything once it is left alone.

use livestore_sync_worker::backend::Outcome;
use livestore_sync_worker::wire::Transport;

use super::seen::Kind;
use super::world::{Backend, Cause, Object, Pending, World, tell};

/// Rounds in which a world that is left alone comes to rest.
const ROUNDS: usize = 400;

impl World {
    /// Something happens.
    pub(super) fn step(&mut self) {
        #[derive(Clone, Copy)]
        enum Do {
            Act,
            Verdict,
            Outcome,
            Time,
            Evict,
            Bystand,
            Reset,
            Disconnect,
            Notice,
            Late,
            Change,
        }
        let (asks, deliveries) = self.object.as_ref().map_or((0, 0), |object| {
            (object.asks.len() as u64, object.deliveries.len() as u64)
        });
        let trouble = u64::from(self.plan.trouble > 0);
        let choices = [
            (140, Do::Act),
            (25 * asks.min(4), Do::Verdict),
            (12 * deliveries.min(3), Do::Outcome),
            (30, Do::Time),
            (10, Do::Evict),
            (2 * trouble, Do::Bystand),
            (1, Do::Reset),
            (1, Do::Disconnect),
            (4, Do::Notice),
            (4 * u64::from(self.backup.has_late()), Do::Late),
            (2, Do::Change),
        ];
        match self.random.weighted(&choices) {
            Do::Act => {
                let client = self.random.index(self.clients.len());
                self.act(client);
            }
            Do::Verdict => self.return_a_hook(),
            Do::Outcome => self.hear_of_a_delivery(),
            Do::Time => self.pass_time(),
            Do::Evict => self.evict(),
            Do::Bystand => self.bystand(),
            Do::Reset => self.reset(),
            Do::Disconnect => self.disconnect_all(),
            Do::Notice => {
                let client = self.random.index(self.clients.len());
                self.notice_silence(client);
            }
            Do::Late => self.run_late(),
            Do::Change => self.change_rows(),
        }
        self.check();
    }

    fn return_a_hook(&mut self) {
        let index = {
            let asks = self.object.as_ref().map_or(0, |object| object.asks.len());
            if asks == 0 {
                return;
            }
            self.random.index(asks)
        };
        let is_good = self.is_healthy || self.random.chance(75);
        let object = self.object.as_mut().unwrap();
        let Pending { id, is_about } = object.asks.swap_remove(index);
        if self.is_for_nobody(is_about) {
            self.seen.count(Kind::VerdictsForNobody);
        }
        self.begin_event();
        let _ = self.judge(id, is_about, is_good);
        self.settle_event();
        self.serve();
    }

    fn hear_of_a_delivery(&mut self) {
        let index = {
            let deliveries = self
                .object
                .as_ref()
                .map_or(0, |object| object.deliveries.len());
            if deliveries == 0 {
                return;
            }
            self.random.index(deliveries)
        };
        let is_good = self.is_healthy || self.random.chance(60);
        let object = self.object.as_mut().unwrap();
        let (id, is_received) = object.deliveries.swap_remove(index);
        let outcome = if self.backup.is_under_way(id) {
            self.hear_d1(id)
        } else if is_received && is_good {
            Outcome::Taken
        } else {
            Outcome::Failed("it failed after a while".to_owned())
        };
        self.begin_event();
        let _ = self.delivered(id, outcome);
        self.settle_event();
        self.serve();
    }

    fn pass_time(&mut self) {
        if self.random.chance(3) {
            self.seen.count(Kind::ClockBack);
            let ms = self.random.below(5_000);
            self.now_ms -= ms;
            for client in &mut self.clients {
                client.set_back(ms);
            }
            tell!(self, "the clock goes back to {}", self.now_ms);
        } else {
            let ms = if self.random.chance(10) {
                70_000
            } else {
                2_500
            };
            self.now_ms += self.random.below(ms);
            tell!(self, "it is {}", self.now_ms);
        }
        self.give_up_d1();
        let Some(at_ms) = self.alarm_at_ms.filter(|at_ms| *at_ms <= self.now_ms) else {
            return;
        };
        if self.random.chance(20) {
            return;
        }
        if self.now_ms - at_ms > 5_000 {
            self.seen.count(Kind::LateAlarms);
        }
        self.begin_event();
        self.alarm();
        self.settle_event();
        if self.random.chance(10) {
            self.seen.count(Kind::DoubledAlarms);
            self.begin_event();
            let _ = self.event(Cause::Alarm, Backend::on_alarm);
            self.serve();
        }
    }

    fn reset(&mut self) {
        tell!(self, "reset");
        self.begin_event_of(4 * self.plan.trouble, 16);
        let before = self.log.backend_id.clone();
        let _ = self.event(Cause::Reset, |backend, turn| {
            let _ = backend.reset(turn);
        });
        if self.log.backend_id != before {
            self.seen.count(Kind::Resets);
        }
        self.serve();
    }

    /// Somebody else changes the rows of the store.
    fn change_rows(&mut self) {
        let is_open = |object: &Object| !object.backend.is_closed();
        if !self.object.as_ref().is_some_and(is_open) {
            // It would find them when it wakes, which is another matter.
            return;
        }
        match self.random.below(10) {
            0..7 => {
                tell!(self, "somebody else moves the stored head back");
                self.sql
                    .set_up("UPDATE context_7 SET currentHead = currentHead / 2");
            }
            7..9 => {
                tell!(self, "somebody else takes the log away");
                let head = self.log.head();
                if head == 0 {
                    return;
                }
                self.sql.set_up("ALTER TABLE eventlog_7_sim RENAME TO away");
                self.verify();
                self.sql.set_up("ALTER TABLE away RENAME TO eventlog_7_sim");
                self.seen.count(Kind::LogsAway);
            }
            _ => {
                tell!(self, "somebody else begins another lifetime");
                let fresh = self.next_lifetime();
                self.sql.set_up(&format!(
                    "DELETE FROM eventlog_7_sim; UPDATE context_7 SET currentHead = 0, backendId = '{fresh}'"
                ));
                self.verify();
                self.seen.count(Kind::LogsReplaced);
            }
        }
    }

    /// Somebody asks the object about its store.
    fn verify(&mut self) {
        self.has_cut_answers = true;
        self.begin_event_of(0, 1);
        let _ = self.event(Cause::Change, Backend::check_rows);
        self.serve();
    }

    fn disconnect_all(&mut self) {
        tell!(self, "everybody has to connect again");
        self.seen.count(Kind::Disconnected);
        self.has_cut_answers = true;
        self.begin_event();
        let _ = self.event(Cause::Disconnect, |backend, turn| {
            backend.disconnect_all("maintenance", turn);
        });
        self.serve();
    }

    /// The world is left alone, and everybody in it does what they should: first nobody visits the store, then its
    /// clients do.
    pub(super) fn settle(&mut self) {
        tell!(self, "left alone");
        self.is_healthy = true;
        if self.random.chance(50) {
            self.bystand();
        }
        self.settle_followers();
        self.settle_clients();
        self.check_whole_log();
    }

    fn settle_followers(&mut self) {
        for round in 0.. {
            assert!(round < ROUNDS, "the object never comes to rest");
            self.return_everything();
            self.read_answers();
            if self.alarm_at_ms.is_none() {
                break;
            }
            self.pass_to_alarm();
            self.check();
        }
        if self.plan.uses.has_on_committed() {
            assert_eq!(
                self.followers.committed_up_to(),
                self.log.head(),
                "on_committed"
            );
        }
        let owed = self
            .followers
            .owed(self.log.head(), self.plan.uses.has_on_committed());
        assert_eq!(owed, None);
        self.check_backup();
        if self.plan.has_backup {
            assert_eq!(self.mirror_head(), self.log.head(), "the backup");
        }
        self.check_objects();
        self.seen.count(Kind::ConvergedUnvisited);
    }

    /// Client objects that are certain to be called have everything.
    fn check_objects(&self) {
        for (index, client) in self.clients.iter().enumerate() {
            if let Some(pull) = client.waits_for_calls()
                && self.followers.is_subscribed(index, pull)
            {
                assert_eq!(client.last, self.log.head(), "client object {index}");
            }
        }
    }

    fn pass_to_alarm(&mut self) {
        if let Some(at_ms) = self.alarm_at_ms {
            self.now_ms = self.now_ms.max(at_ms);
            self.alarm();
        }
    }

    /// Hooks and deliveries return, but for those of which nobody will ever hear.
    fn return_everything(&mut self) {
        while self
            .object
            .as_ref()
            .is_some_and(|object| !object.asks.is_empty())
        {
            self.return_a_hook();
        }
        while let Some(object) = &mut self.object
            && !object.deliveries.is_empty()
        {
            let last = object.deliveries.last();
            let is_batch = last.is_some_and(|(id, _)| self.backup.is_under_way(*id));
            if !is_batch && self.random.chance(50) {
                object.deliveries.pop();
            } else {
                self.hear_of_a_delivery();
            }
        }
    }

    /// Whoever has begun to read an answer reads it to its end.
    fn read_answers(&mut self) {
        for end in 0..self.ends.len() {
            let mut left = 2_000;
            while self.ends[end].is_open && self.ends[end].is_streaming && left > 0 {
                self.read_on(end);
                self.return_everything();
                left -= 1;
                if left % 100 == 0 {
                    self.now_ms += 1_000;
                    self.pass_to_alarm();
                }
            }
        }
    }

    fn settle_clients(&mut self) {
        for round in 0.. {
            self.return_everything();
            self.read_answers();
            for client in 0..self.clients.len() {
                self.settle_client(client, round);
                self.check();
            }
            self.return_everything();
            self.now_ms += 700;
            if self.alarm_at_ms.is_some_and(|at_ms| at_ms <= self.now_ms) {
                self.alarm();
            }
            self.check();
            let missing = (0..self.clients.len()).find(|client| !self.has_converged(*client));
            let Some(client) = missing else {
                break;
            };
            assert!(
                round < ROUNDS,
                "client {client} lacks events of {}: {:?}",
                self.log.head(),
                self.clients[client]
            );
        }
        self.check_objects();
        self.seen.count(Kind::Converged);
    }

    fn check_whole_log(&self) {
        let mut query = self
            .sql
            .raw()
            .prepare("SELECT seqNum, createdAt FROM eventlog_7_sim ORDER BY seqNum")
            .unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<(i64, String)> = rows.unwrap().map(Result::unwrap).collect();
        let known = self.log.after(0).iter();
        let known = known.map(|stored| (stored.event.seq_num, stored.created_at.clone()));
        assert_eq!(rows, known.collect::<Vec<_>>());
    }

    fn has_converged(&self, client: usize) -> bool {
        let one = &self.clients[client];
        if one.last != self.log.head() || self.knows_another_lifetime(client) {
            return false;
        }
        match one.tongue.transport {
            Transport::WebSocket => one.end.is_some_and(|end| self.ends[end].is_open),
            Transport::Http | Transport::DoRpc => true,
        }
    }
}
