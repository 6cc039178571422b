//! What is sent, compared with the log and with what was asked for.

use livestore_sync_worker::auth::Access;
use livestore_sync_worker::backend::{Reason, Report, Rows};
use livestore_sync_worker::limits::{
    ABANDONED_BYTES_MAX, CONNECTION_BYTES_MAX, OBJECT_BYTES_MAX, PAGE_BYTES_MAX, PAGE_EVENTS_MAX,
    PIECE_BYTES_MAX, PLAIN_CONNECTION_BYTES_MAX, PULL_PATIENCE_MS, WINDOW_PAGES,
};
use livestore_sync_worker::wire::{Family, Generation, Transport};
use serde_json::Value;

use super::ends::{Asked, Delivery, End, Gate, Incoming, Request};
use super::followers::as_text;
use super::log::Stored;
use super::seen::Kind;
use super::world::{Cause, World};
use crate::client::{Heard, seq_num};

impl World {
    /// Something leaves for a client.
    pub(super) fn check_sent(&mut self, end: usize, heard: &Heard) {
        assert!(self.ends[end].is_open, "nothing is sent to who has left");
        match heard {
            Heard::Page {
                is_broadcast: true, ..
            } => self.check_plain_broadcast(end, heard),
            Heard::Page { .. } => self.check_page(end, heard),
            Heard::PullDone { id } => self.check_done(end, id),
            Heard::PushDone { id } => self.check_push_done(end, id),
            Heard::Failed { id, error } => self.check_failed(end, id, error),
            Heard::Interrupted { id } => {
                if let Some(request) = self.ends[end].request(id) {
                    assert!(request.is_interrupted, "{request:?}");
                }
            }
            Heard::Pong => {
                let mut requests = self.ends[end].requests.iter_mut();
                let ping = requests.find(|one| matches!(one.ask, Asked::Ping) && !one.is_answered);
                ping.expect("somebody asked").is_answered = true;
            }
            Heard::AdminDone { id } => {
                let request = self.ends[end].request(id).unwrap();
                assert!(matches!(request.ask, Asked::Reset { is_right: true }));
                request.is_answered = true;
                assert_eq!(self.log.head(), 0, "acknowledged means done");
                self.seen.count(Kind::PlainResets);
            }
            Heard::Died { .. } | Heard::Defect { .. } => {
                panic!("every frame is understood: {heard:?}")
            }
        }
    }

    fn check_page(&mut self, end: usize, heard: &Heard) {
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
            panic!("{heard:?}")
        };
        let requests = self.ends[end].requests.iter();
        let is_known = requests
            .rev()
            .find(|request| request.id == *id)
            .is_some_and(|request| {
                // One that stands behind others in its frame has not been looked at.
                matches!(request.ask, Asked::Pull(_)) && !self.is_behind(request, end)
            });
        if !is_known {
            return self.check_probe(end, heard);
        }
        let (log_end, is_held) = (self.log.head(), self.plan.uses.has_on_pull_res());
        let is_excused = self.is_cut_short();
        let lifetime = self.log.backend_id.clone();
        let decided = if self.plan.uses.has_on_pull() {
            Gate::Yes
        } else {
            Gate::Closed
        };
        let one = &mut self.ends[end];
        let (is_socket, family) = (one.is_socket(), one.family);
        let request = one.request(id).unwrap();
        assert!(!request.is_answered, "a page after the end of {request:?}");
        assert!(!request.is_interrupted, "a page of {request:?}");
        let (generation, gate) = (request.generation, request.gate);
        assert_eq!(gate, decided, "{request:?}");
        let Asked::Pull(pull) = &mut request.ask else {
            unreachable!("it is known")
        };
        assert!(!pull.is_foreign, "events of another store: {pull:?}");
        assert_eq!(
            backend_id.as_deref(),
            (family == Family::Rpc).then_some(&*lifetime)
        );
        let expected = self.log.after(pull.last);
        check_events(events, created_at, expected);
        assert!(
            !events.is_empty() || pull.pages == 0,
            "an empty page after others"
        );
        assert!(events.len() <= PAGE_EVENTS_MAX as usize);
        let bytes_max = if is_socket {
            PAGE_BYTES_MAX
        } else {
            PIECE_BYTES_MAX
        };
        assert!(*bytes <= bytes_max || events.len() == 1, "{bytes} bytes");
        pull.last = events.last().map_or(pull.last, seq_num);
        pull.pages += 1;
        let more = u64::try_from((log_end - pull.last).max(0)).unwrap();
        // What waited for a hook was read earlier.
        let is_late = is_held && !is_socket;
        let mut kind = Kind::Pages;
        match pull.state {
            Delivery::Live if *remaining == 0 => {
                assert!(!events.is_empty());
                kind = Kind::Broadcasts;
            }
            Delivery::Live if *remaining == more => {
                // There was no room for the push as it is: it is read from the log.
                pull.state = Delivery::Paging;
                kind = Kind::SlowListeners;
            }
            Delivery::Waiting | Delivery::Paging
                if *remaining == more || is_late && *remaining < more =>
            {
                if pull.has_slept {
                    kind = Kind::PagesAfterWaking;
                }
                pull.state = match (*remaining, pull.live) {
                    (0, true) => Delivery::Live,
                    (0, false) => Delivery::Done,
                    _ => Delivery::Paging,
                };
            }
            Delivery::Waiting if events.is_empty() && !is_socket && is_excused => {
                pull.state = Delivery::Done;
                kind = Kind::CutAnswers;
            }
            _ => panic!("{pull:?}, but {remaining} instead of {more}"),
        }
        if generation == Generation::V03 {
            if pull.state == Delivery::Live {
                // Its socket is live from now on, not this pull.
                pull.state = Delivery::Done;
            }
            one.is_over = false;
        }
        self.seen.count(kind);
    }

    /// Whether answers that are under way may end early.
    fn is_cut_short(&self) -> bool {
        let is_storage = |report: &Report| {
            let reason = report.reason();
            reason == Some(Reason::Storage)
        };
        // The end of one may have waited for a hook.
        let is_held = self.plan.uses.has_on_pull_res();
        let was_cut = is_held && (self.has_cut_answers || self.has_failed());
        was_cut
            || matches!(self.cause, Cause::Disconnect | Cause::Change)
            || self.reports.iter().any(is_storage)
    }

    /// Asks a client that never pulled whether it waits for a pull of another connection.
    fn check_probe(&mut self, end: usize, heard: &Heard) {
        let Heard::Page { id, events, .. } = heard else {
            panic!("{heard:?}")
        };
        let now_ms = self.now_ms;
        let is_live = |one: &End| {
            let mut pulls = one.pulls();
            pulls.any(|(request, pull)| request.id == *id && pull.live)
        };
        assert!(events.is_empty(), "events for nobody: {heard:?}");
        assert!(self.ends.iter().any(is_live), "somebody made that pull");
        let one = &mut self.ends[end];
        assert!(one.awaits_pull && one.is_socket());
        assert!(now_ms.saturating_sub(one.opened_ms) > PULL_PATIENCE_MS);
        assert!(one.probed.insert(id.clone()), "asked twice about {id}");
        let known = &self.clients[one.client].backend_id;
        assert!(
            known
                .as_ref()
                .is_none_or(|known| *known == self.log.backend_id),
            "a client of another lifetime is asked"
        );
        self.seen.count(Kind::Probes);
    }

    fn check_plain_broadcast(&mut self, end: usize, heard: &Heard) {
        let Heard::Page {
            events,
            created_at,
            remaining,
            ..
        } = heard
        else {
            panic!("{heard:?}")
        };
        let first = seq_num(&events[0]);
        if self.cause == Cause::Alarm && first <= self.head_before {
            return self.check_missing(end, heard);
        }
        assert_eq!(*remaining, 0);
        self.ends[end].is_fresh = false;
        assert!(
            first > self.head_before || self.cause == Cause::Ping,
            "news"
        );
        check_events(events, created_at, self.log.after(first - 1));
        let one = &self.ends[end];
        assert!(one.family == Family::Plain && !one.is_over);
        let is_paging = |pull: Delivery| matches!(pull, Delivery::Paging);
        let mut pulls = one.pulls().filter(|(request, _)| !request.is_answered);
        assert!(
            !pulls.any(|(_, pull)| is_paging(pull.state)),
            "between the pages of a pull"
        );
        self.seen.count(Kind::PlainBroadcasts);
    }

    /// A client of 0.3 is sent what its push has shown it to lack.
    fn check_missing(&mut self, end: usize, heard: &Heard) {
        let Heard::Page {
            id,
            events,
            created_at,
            remaining,
            ..
        } = heard
        else {
            panic!("{heard:?}")
        };
        let log_end = self.log.head();
        let one = &mut self.ends[end];
        assert!(one.family == Family::Plain && !one.is_over);
        let is_refused = one.pulls().all(|(request, _)| request.is_answered);
        assert!(is_refused, "it has pulled by itself");
        let push = one.request(id).unwrap().push().unwrap();
        let parent = push.events[0].seq_num - 1;
        let after = match one.missing_after {
            None => {
                assert!(one.is_fresh, "it may have been sent them");
                parent
            }
            Some(after) => after,
        };
        check_events(events, created_at, self.log.after(after));
        let last = events.last().map(seq_num).expect("an empty page");
        assert_eq!(i64::try_from(*remaining).unwrap(), log_end - last);
        let one = &mut self.ends[end];
        (one.missing_after, one.is_fresh) = (Some(last), false);
        self.seen.count(Kind::PlainMissing);
    }

    fn check_done(&mut self, end: usize, id: &str) {
        let (head, is_held) = (self.log.head(), self.plan.uses.has_on_pull_res());
        let is_excused = self.is_cut_short();
        let one = &mut self.ends[end];
        let (client, is_socket) = (one.client, one.is_socket());
        let request = one
            .request(id)
            .unwrap_or_else(|| panic!("nobody asked for {id}"));
        assert!(
            !request.is_answered && !request.is_interrupted,
            "{request:?}"
        );
        request.is_answered = true;
        let generation = request.generation;
        let unsubscribed = match &request.ask {
            Asked::Unsubscribe { pull } => pull.clone(),
            _ => None,
        };
        match &mut request.ask {
            Asked::Pull(pull) => {
                assert!(!pull.live, "a live pull has no end: {pull:?}");
                let has_all = pull.state == Delivery::Done && pull.last >= head;
                let is_late = is_held && pull.state == Delivery::Done;
                let is_cut = !has_all && !is_late;
                assert!(
                    !is_cut || is_excused && !is_socket,
                    "{pull:?} has not got all of {head}"
                );
                assert!(pull.pages > 0, "an end without a page");
                pull.state = Delivery::Done;
                let (last, calls) = (pull.last, pull.calls);
                if is_cut {
                    self.seen.count(Kind::CutAnswers);
                }
                if calls {
                    self.subscribe(client, id, last);
                }
            }
            Asked::Unsubscribe { .. } => {
                let has_failed = self.has_failed();
                let pull = unsubscribed.as_deref();
                self.followers.unsubscribed(client, pull, has_failed);
                self.seen.count(Kind::Unsubscribed);
            }
            Asked::Ping if generation == Generation::V05 => {}
            other => panic!("{other:?}"),
        }
    }

    fn check_push_done(&mut self, end: usize, id: &str) {
        let has_hook = self.plan.uses.has_on_push_res();
        let request = self.ends[end].request(id).unwrap();
        assert!(
            !request.is_answered && !request.is_interrupted,
            "{request:?}"
        );
        request.is_answered = true;
        let index = self.ends[end]
            .requests
            .iter()
            .position(|one| one.id == id)
            .unwrap();
        let request = &self.ends[end].requests[index];
        assert!(self.may_be_decided(request), "{request:?}");
        let push = request.push().unwrap();
        assert!(
            self.log.has_all(&push.events),
            "acknowledged means stored: {push:?}"
        );
        let is_empty = push.events.is_empty();
        if let Some(last) = push.events.last() {
            self.check_published(end, last.seq_num);
        }
        let gate = if has_hook && !is_empty {
            Gate::Yes
        } else {
            Gate::Closed
        };
        assert_eq!(push.acknowledgement, gate);
        if push.stored_in.is_none() && !is_empty {
            self.seen.count(Kind::Repeated);
        }
        self.note_delayed(end, index);
    }

    /// Takes note of a push that is decided after it had waited for its turn.
    fn note_delayed(&mut self, end: usize, index: usize) {
        if self.now_ms > self.ends[end].requests[index].sent_ms
            && self.cause == Cause::Alarm
            && self.plan.limits.push_rate.is_some()
        {
            self.seen.count(Kind::PushDelayed);
        }
    }

    /// INV-2, and INV-6: who hears how its push went has been sent the log up to `last` by its live pulls, where
    /// there was room.
    fn check_published(&self, end: usize, last: i64) {
        let one = &self.ends[end];
        if self.plan.is_heavy || one.family == Family::Plain {
            return;
        }
        for (request, pull) in one.pulls() {
            let is_over = request.is_answered || request.is_interrupted;
            // Two pages are the largest push.
            let has_room = one.unread_of(&request.id) + 2 <= WINDOW_PAGES;
            assert!(
                is_over || pull.state != Delivery::Live || pull.last >= last || !has_room,
                "{request:?} has not been sent {last}"
            );
        }
    }

    fn check_failed(&mut self, end: usize, id: &str, error: &Value) {
        let is_plain = self.ends[end].family == Family::Plain;
        if is_plain && self.is_end_of_plain_pull(end, id) {
            return;
        }
        let tag = error["_tag"].as_str().unwrap_or_default().to_owned();
        let text = error.as_str().unwrap_or_default().to_owned();
        let is_ahead = tag == "ServerAheadError" || text.starts_with("Invalid parent");
        let lifetime = self.log.backend_id.clone();
        let (head_before, head) = (self.head_before, self.log.head());
        let reasons = self.reasons();
        let request = self.ends[end].request(id);
        let request = request.unwrap_or_else(|| panic!("nobody asked for {id}: {error}"));
        assert!(
            !request.is_answered && !request.is_interrupted,
            "{request:?}"
        );
        request.is_answered = true;
        let calls = matches!(&request.ask, Asked::Pull(pull) if pull.calls);
        if calls && !self.has_failed() {
            let client = self.ends[end].client;
            self.followers.refuse(client, as_text(id));
        }
        let index = self.ends[end]
            .requests
            .iter()
            .position(|one| one.id == id)
            .unwrap();
        let request = &self.ends[end].requests[index];
        if is_ahead {
            let push = request.push().expect("a push");
            assert!(self.may_be_decided(request), "{request:?}");
            let parent = push.events[0].parent_seq_num;
            let minimum = error["minimumExpectedNum"].as_i64().unwrap_or(head);
            assert_eq!(error["providedNum"].as_i64().unwrap_or(parent), parent);
            assert!(
                (head_before..=head).contains(&minimum) && minimum != parent,
                "{error}"
            );
            assert!(!self.log.has_all(&push.events), "a repetition has not lost");
            assert!(push.stored_in.is_none());
            // Several may be decided in one turn, each with the head of its own time.
            self.check_published(end, minimum);
            self.note_delayed(end, index);
            return self.seen.count(Kind::LostRace);
        }
        if tag == "BackendIdMismatchError" || text.starts_with("Backend id is ") {
            assert!(is_plain || error["expected"] == *lifetime);
            let known = match &request.ask {
                Asked::Push(push) => push.stored_in.as_ref().or(push.backend_id.as_ref()),
                // One that is under way ends when its lifetime does.
                Asked::Pull(_) if self.is_reset_turn() => None,
                Asked::Pull(pull) => pull.backend_id.as_ref(),
                other => panic!("{other:?}"),
            };
            assert!(known.is_none_or(|known| *known != lifetime), "{request:?}");
            if let Asked::Push(push) = &request.ask {
                assert!(push.backend_id.is_some() || push.acknowledgement == Gate::Yes);
            }
            return self.seen.count(Kind::OtherLifetime);
        }
        self.check_refused(end, index, error, &reasons);
    }

    /// A request is refused for another reason than what is stored.
    fn check_refused(&mut self, end: usize, index: usize, error: &Value, reasons: &[Reason]) {
        let (log_end, is_plain) = (self.log.head(), self.ends[end].family == Family::Plain);
        let request = &self.ends[end].requests[index];
        let has_reason = |reason| {
            assert!(
                reasons.contains(&reason),
                "{error} without a reason: {request:?}"
            );
        };
        // A token that expires while a request waits comes before what else is wrong with it.
        let has_expired = self.ends[end].has_expired(self.now_ms);
        let has_foreign_reason = || {
            if !(has_expired && reasons.contains(&Reason::Expired)) {
                has_reason(Reason::OtherStore);
            }
        };
        match &request.ask {
            Asked::Push(push) if push.is_foreign => {
                has_foreign_reason();
                self.seen.count(Kind::OtherStore);
            }
            Asked::Push(push) if push.acknowledgement == Gate::No => {
                has_reason(Reason::Hook);
                self.seen.count(Kind::RefusedAfterStoring);
            }
            Asked::Push(push) => {
                assert!(
                    push.stored_in.is_none(),
                    "refused after it was stored: {push:?}"
                );
                if request.gate == Gate::No {
                    has_reason(Reason::Hook);
                    self.seen.count(Kind::RefusedByHook);
                } else {
                    self.check_refused_push(end, index, reasons);
                }
            }
            Asked::Pull(pull) if pull.is_foreign => has_foreign_reason(),
            Asked::Pull(_) if request.gate == Gate::No => {
                has_reason(Reason::Hook);
                self.seen.count(Kind::RefusedPull);
            }
            Asked::Pull(pull) => {
                let is_over = self.ends[end].is_over;
                let is_why = |reason: &&Reason| match reason {
                    Reason::Hook => self.plan.uses.has_on_pull_res(),
                    Reason::Expired => has_expired,
                    Reason::BackendIdMismatch => is_plain && (pull.last > log_end || is_over),
                    Reason::Storage => is_plain && self.has_failed(),
                    _ => false,
                };
                match reasons.iter().find(is_why) {
                    Some(Reason::Hook) => self.seen.count(Kind::RefusedPage),
                    // It was let in, from the beginning of the log if its lifetime was over.
                    Some(Reason::Storage) => self.ends[end].is_over = false,
                    Some(_) => {}
                    None => panic!("{pull:?} has ended with {error} because of {reasons:?}"),
                }
            }
            Asked::Reset { is_right: false } => has_reason(Reason::AdminSecret),
            Asked::Reset { is_right: true } => has_reason(Reason::Storage),
            Asked::Ping | Asked::Unsubscribe { .. } => has_reason(Reason::Expired),
        }
    }

    fn check_refused_push(&mut self, end: usize, index: usize, reasons: &[Reason]) {
        let one = &self.ends[end];
        let push = one.requests[index].push().unwrap();
        let (is_chain, generation) = (push.is_chain(), one.requests[index].generation);
        let is_in_words = matches!(
            (one.transport, generation),
            (Transport::WebSocket, Generation::V03) | (Transport::DoRpc, Generation::V04)
        );
        // Other messages of its frame may have been refused as well.
        let is_why = |reason: &&Reason| match reason {
            Reason::NoBatch => !is_chain,
            Reason::ReadOnly => one.grant.access == Access::ReadOnly,
            Reason::Expired => one.has_expired(self.now_ms),
            Reason::BackendIdMismatch => one.is_over,
            // What may be done later has no words, except for those who know nothing better.
            Reason::PushRate => is_in_words && self.plan.limits.push_rate.is_some(),
            Reason::StoreFull => is_in_words && self.is_store_full(),
            Reason::Storage => is_in_words && self.has_failed(),
            _ => false,
        };
        let kind = match reasons.iter().find(is_why) {
            Some(Reason::NoBatch) => Kind::Malformed,
            Some(Reason::ReadOnly) => Kind::ReadOnly,
            Some(Reason::Expired) => Kind::Expired,
            Some(Reason::BackendIdMismatch) => Kind::OtherLifetime,
            Some(_) => Kind::RefusedForNow,
            None => panic!("refused for {reasons:?}"),
        };
        self.seen.count(kind);
    }

    /// Why requests are refused in this turn.
    fn reasons(&self) -> Vec<Reason> {
        let reason = |report: &Report| match report {
            Report::Expired => Some(Reason::Expired),
            report => report.reason(),
        };
        self.reports.iter().filter_map(reason).collect()
    }

    fn is_reset_turn(&self) -> bool {
        let is_reset = |report: &Report| {
            let found = match report {
                Report::RowsChanged { found, .. } => Some(found),
                _ => None,
            };
            matches!(report, Report::Reset { .. }) || matches!(found, Some(Rows::Other { .. }))
        };
        self.reports.iter().any(is_reset)
    }

    /// Whether nobody can be served, since the store could not be opened again.
    fn is_turned_out(&self) -> bool {
        let is_closed = |report: &Report| {
            let Report::RowsChanged { found, .. } = report else {
                return false;
            };
            matches!(found, Rows::Closed(_))
        };
        self.reports.iter().any(is_closed)
    }

    fn is_store_full(&self) -> bool {
        use livestore_sync_worker::store::sql::Sql as _;
        self.sql.size_bytes() >= self.plan.limits.store_bytes_max
    }

    /// Whether a 0.3 socket is told that its pull takes nothing more: it is about to be closed, or its lifetime is
    /// over.
    fn is_end_of_plain_pull(&mut self, end: usize, id: &str) -> bool {
        let is_reset = self.is_reset_turn();
        let is_asked_now = |request: &Request| !request.is_answered && request.gate == Gate::No;
        let one = &mut self.ends[end];
        let Some(request) = one.request(id) else {
            return false;
        };
        if !matches!(request.ask, Asked::Pull(_)) || is_asked_now(request) {
            return false;
        }
        if request.is_answered {
            // It is over, which may be said again.
            return true;
        }
        let Asked::Pull(pull) = &mut request.ask else {
            return false;
        };
        if is_reset {
            pull.state = Delivery::Done;
            request.is_answered = true;
            one.is_over = true;
            return true;
        }
        if self.closing.contains(&end) {
            pull.state = Delivery::Done;
            request.is_answered = true;
            return true;
        }
        false
    }

    /// A connection is closed by the object.
    pub(super) fn check_close(&mut self, end: usize, code: u16) {
        let reasons = self.reasons();
        let one = &self.ends[end];
        let has = |reason| reasons.contains(&reason);
        let is_reported = |is_meant: fn(&Report) -> bool| self.reports.iter().any(is_meant);
        match code {
            1012 => {
                let is_unknown = is_reported(|report| matches!(report, Report::UnknownPull));
                let is_reset = self.is_reset_turn() && one.family == Family::Rpc;
                // It may wait for a pull of an earlier lifetime, about which nobody may be asked.
                let waited_ms = self.now_ms.saturating_sub(one.opened_ms);
                let is_overdue = self.log.ended > 0
                    && one.awaits_pull
                    && one.is_socket()
                    && waited_ms > PULL_PATIENCE_MS;
                let is_why = is_unknown || is_reset || is_overdue || self.is_turned_out();
                assert!(is_why || self.cause == Cause::Disconnect);
            }
            1013 => {
                let is_temporary = |report: &Report| match report {
                    Report::Refused { refusal, .. } => refusal.is_temporary(),
                    Report::TakesNothing { .. } => true,
                    _ => false,
                };
                let is_why = self.reports.iter().any(is_temporary) || self.is_turned_out();
                assert!(is_why, "{reasons:?}");
                assert!(!has(Reason::Storage) || self.has_failed());
                assert!(!has(Reason::PushRate) || self.plan.limits.push_rate.is_some());
                assert!(!has(Reason::StoreFull) || self.is_store_full());
            }
            4401 => {
                assert!(one.grant.is_expired(self.now_ms));
                self.seen.count(Kind::Expired);
            }
            _ => panic!("closed with {code}"),
        }
        // A 0.3 client that is closed without a word would never miss what is published before it is back.
        let paged = one.pulls().filter(|(_, pull)| pull.pages > 0).last();
        if let Some((request, _)) = paged.filter(|_| one.family == Family::Plain) {
            let is_word = |incoming: &Incoming| match incoming {
                Incoming::Frame {
                    heard: Heard::Failed { id, .. },
                    ..
                } => *id == request.id,
                _ => false,
            };
            assert!(one.inbox.iter().any(is_word), "closed without a word");
        }
    }

    /// A pull whose id is used again is the newer request.
    pub(super) fn renew_pull(&mut self, end: usize, id: &str) {
        if let Some(request) = self.ends[end].request(id) {
            request.is_answered = true;
        }
    }

    /// Takes note of pulls that have pages to come while something is stored.
    pub(super) fn note_folding(&mut self) {
        let ends = self.ends.iter().filter(|end| end.is_open);
        let mut pulls = ends.flat_map(End::pulls);
        if pulls.any(|(request, pull)| pull.state == Delivery::Paging && !request.is_answered) {
            self.seen.count(Kind::FoldedIntoPages);
        }
    }

    /// Live pulls that were not sent the last push read it from the log.
    fn note_slow(&mut self) {
        let head = self.log.head();
        let mut slow = 0;
        for end in self.ends.iter_mut().filter(|end| end.is_open) {
            if end.family == Family::Plain {
                continue;
            }
            for request in &mut end.requests {
                let Asked::Pull(pull) = &mut request.ask else {
                    continue;
                };
                let is_over = request.is_answered || request.is_interrupted;
                if pull.state == Delivery::Live && pull.last < head && !is_over {
                    pull.state = Delivery::Paging;
                    slow += 1;
                }
            }
        }
        for _ in 0..slow {
            self.seen.count(Kind::SlowListeners);
        }
    }

    /// What holds after each step.
    pub(super) fn check(&mut self) {
        self.followers.pass_to(self.now_ms);
        self.check_log();
        self.check_in_flight();
        self.note_slow();
        self.check_pulls();
        self.check_waiting();
        self.check_owed();
        self.check_backup();
    }

    /// INV-11: what is on its way is bounded for each connection and for the object.
    fn check_in_flight(&self) {
        if self.object.is_none() {
            return;
        }
        let page = if self.plan.is_heavy {
            PAGE_BYTES_MAX + 10_000
        } else {
            100_000
        };
        for (index, end) in self.ends.iter().enumerate() {
            if end.connection.is_none() {
                continue;
            }
            let bytes = end.unread_bytes(self.life);
            let bytes_max = match (end.transport, end.family) {
                (Transport::WebSocket, Family::Rpc) => CONNECTION_BYTES_MAX + ABANDONED_BYTES_MAX,
                (Transport::WebSocket, Family::Plain) => PLAIN_CONNECTION_BYTES_MAX,
                _ => PIECE_BYTES_MAX + ABANDONED_BYTES_MAX,
            };
            // Acknowledgements of what an earlier life sent cannot be told from others.
            let of_earlier_life = if self.life > 1 {
                CONNECTION_BYTES_MAX
            } else {
                0
            };
            assert!(
                bytes <= bytes_max + of_earlier_life + page,
                "{bytes} bytes on their way to {index}"
            );
            // The same of acknowledgements; the end of a pull is none of its pages.
            let lives = if self.life > 1 { 2 } else { 1 };
            for (request, pull) in end.pulls() {
                let pages = end.unread_of(&request.id);
                assert!(
                    pages <= lives * WINDOW_PAGES + 1
                        || !end.is_socket()
                        || end.family == Family::Plain,
                    "{pages} pages of {pull:?} on their way"
                );
            }
        }
        let bytes = self.in_flight_bytes();
        assert!(
            self.life > 1 || bytes <= OBJECT_BYTES_MAX + 2 * page,
            "{bytes} bytes on their way"
        );
    }

    pub(super) fn in_flight_bytes(&self) -> usize {
        let open = self.ends.iter().filter(|end| end.connection.is_some());
        open.map(|end| end.unread_bytes(self.life)).sum()
    }

    /// Whether the object holds as much as it may, as far as it can know.
    fn is_object_full(&self) -> bool {
        let Some(object) = self.object.as_ref().filter(|_| self.plan.is_heavy) else {
            return false;
        };
        let state: Value =
            serde_json::from_str(&object.backend.state(self.now_ms).unwrap()).unwrap();
        let bytes = usize::try_from(state["inFlightBytes"].as_u64().unwrap()).unwrap();
        // What clients of 0.3 have taken shows late. Acknowledgements of what an earlier life of the object sent
        // cannot be told from others, nor can those of a probe from those of a pull that has the same id.
        let probed = self.ends.iter().flat_map(|end| {
            let pulls = end.pulls();
            pulls.filter(|(request, _)| end.probed.contains(&request.id))
        });
        let of_probes = probed.count() * (PAGE_BYTES_MAX + 10_000);
        assert!(
            self.life > 1 || bytes + of_probes + 100_000 >= self.in_flight_bytes(),
            "{bytes} are less than there are"
        );
        bytes >= OBJECT_BYTES_MAX
    }

    /// A pull that lacks something is going to get it: something must set off its next page.
    fn check_pulls(&mut self) {
        let is_full = self.is_object_full();
        let mut is_paused = false;
        for (index, end) in self.ends.iter().enumerate() {
            if !end.is_open || !end.is_socket() || end.is_over {
                continue;
            }
            let is_acknowledged_later = end.pulls().any(|(request, _)| {
                let is_of = |incoming: &Incoming| match incoming {
                    Incoming::Frame { heard, .. } => heard.id() == Some(&request.id),
                    Incoming::Over { .. } => false,
                };
                !request.is_interrupted && end.inbox.iter().any(is_of)
            });
            for (request, pull) in end.pulls() {
                let is_over = request.is_answered || request.is_interrupted;
                if is_over || pull.state != Delivery::Paging && pull.state != Delivery::Waiting {
                    continue;
                }
                if pull.state == Delivery::Waiting && !self.may_be_decided(request) {
                    continue;
                }
                is_paused |= is_full && !is_acknowledged_later;
                let is_set_off = match end.family {
                    Family::Plain => self.alarm_at_ms.is_some(),
                    // Without the object nobody knows whether it was full; its alarm finds out.
                    Family::Rpc => {
                        is_acknowledged_later
                            || is_full
                            || self.object.is_none() && self.alarm_at_ms.is_some()
                    }
                };
                assert!(
                    is_set_off || self.is_behind(request, index),
                    "{request:?} of {index} hangs"
                );
            }
        }
        if is_paused {
            self.seen.count(Kind::Paused);
            assert!(
                self.alarm_at_ms.is_some(),
                "somebody has to leave in the end"
            );
        }
    }

    /// Whether a message that stands before it in its frame waits, and a request with it.
    pub(super) fn is_behind(&self, request: &Request, end: usize) -> bool {
        let requests = self.ends[end].requests.iter();
        let before = requests.take_while(|other| other.id != request.id);
        let mut before = before.filter(|other| other.frame == request.frame && !other.is_answered);
        before.any(|other| {
            let is_delayed = self.plan.limits.push_rate.is_some()
                && other.push().is_some_and(|push| push.stored_in.is_none());
            // A push that was interrupted while a hook had it is passed over once that returns.
            matches!(other.gate, Gate::Asked(_)) || is_delayed && !other.is_interrupted
        })
    }

    /// Nothing is forgotten: each request is answered, or something has it that will return.
    fn check_waiting(&self) {
        for (index, end) in self.ends.iter().enumerate() {
            if !end.is_open {
                continue;
            }
            for request in &end.requests {
                if request.is_answered || request.is_interrupted || self.is_behind(request, index) {
                    continue;
                }
                let is_asked = matches!(request.gate, Gate::Asked(_));
                let is_held = match &request.ask {
                    Asked::Push(push) => {
                        let is_delayed = self.plan.limits.push_rate.is_some()
                            && push.stored_in.is_none()
                            && self.alarm_at_ms.is_some();
                        is_delayed || matches!(push.acknowledgement, Gate::Asked(_))
                    }
                    Asked::Pull(_) => true,
                    _ => false,
                };
                assert!(is_asked || is_held, "{request:?} of {index} is forgotten");
                assert!(
                    self.object.is_some() || matches!(request.ask, Asked::Pull(_)),
                    "{request:?}"
                );
            }
        }
    }

    /// Whenever something is owed, the alarm is stored.
    fn check_owed(&self) {
        if let Some(who) = self
            .followers
            .owed(self.log.head(), self.plan.uses.has_on_committed())
        {
            assert!(
                self.alarm_at_ms.is_some(),
                "{who} waits for somebody's visit"
            );
        }
    }
}

fn check_events(events: &[Value], created_at: &[String], expected: &[Stored]) {
    assert!(events.len() <= expected.len(), "events beyond the log");
    for ((event, created_at), expected) in events.iter().zip(created_at).zip(expected) {
        let known = &expected.event;
        let is_same = event["seqNum"] == known.seq_num
            && event["parentSeqNum"] == known.parent_seq_num
            && event["args"]["sekret"] == known.marker
            && event["args"]["text"].as_str().unwrap().len() == known.padding
            && *created_at == expected.created_at;
        assert!(is_same, "{} is not {known:?}", event["seqNum"]);
    }
}
