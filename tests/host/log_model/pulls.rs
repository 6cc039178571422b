//! Pulls, and how everything that is sent is taken in.

use super::*;

impl World {
    pub(super) fn pull(
        &mut self,
        client: u8,
        second: bool,
        from: Cursor,
        live: bool,
        claim: Claim,
        same_id: bool,
    ) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(second);
        let (head, number) = (self.head(), i64::from);
        let cursor = match from {
            Cursor::Start => None,
            Cursor::BelowHead(back) => Some((head - i64::from(back)).max(0)),
            Cursor::BeyondHead(ahead) => Some(head + number(ahead)),
            Cursor::Anywhere(after) => Some(after),
        };
        let reused = self.socket(index).pulls.last().map(|pull| pull.id.clone());
        // What a client of 0.3 is sent without a pull has the id of its push.
        let has_pulled = generation != Generation::V03 || self.socket(index).has_pulled;
        let reused = reused.filter(|id| {
            let is_number = !id.starts_with('"');
            same_id && has_pulled && is_number == (generation == Generation::V05)
        });
        let id = reused.unwrap_or_else(|| self.new_id(index, generation));
        let is_abandoning = self.socket(index).abandon(&id);
        let (store_id, backend_id) = match claim {
            Claim::Right | Claim::NoBackend => (STORE, BACKEND),
            Claim::WrongBackend => (STORE, "of-another-life"),
            Claim::ForeignStore => ("another-store", BACKEND),
        };
        let frame = Speaker {
            generation,
            store_id,
        }
        .pull(&id, live, cursor.map(|after| (backend_id, after)));
        let is_refused = generation != Generation::V03
            && (claim == Claim::ForeignStore || (claim == Claim::WrongBackend && cursor.is_some()));
        if is_refused {
            self.socket(index).awaiting_pull_since_ms = None;
            // The id was used again for a request that fails; the one before it goes on as it was or
            // ends, so ask for it with a new connection.
            let effects = self.send(index, &frame);
            let [
                (
                    to,
                    Heard::Failed {
                        id: answered,
                        error,
                    },
                ),
            ] = &effects.frames[..]
            else {
                panic!("{:?}", effects.frames)
            };
            assert_eq!((*to, answered), (index, &id));
            let expected = if claim == Claim::ForeignStore {
                Expected::Unknown
            } else {
                Expected::Mismatch
            };
            expected.check(generation, error);
            if same_id {
                self.disconnect(client);
            }
            return;
        }
        if generation == Generation::V03 && cursor.is_some_and(|after| after > head) {
            // It names no lifetime, but has events that this one has not.
            let effects = self.send(index, &frame);
            let [(to, Heard::Failed { id: answered, .. })] = &effects.frames[..] else {
                panic!("{:?}", effects.frames)
            };
            assert_eq!((*to, answered), (index, &id));
            return;
        }
        let socket = self.socket(index);
        socket.awaiting_pull_since_ms = None;
        if generation == Generation::V03 && !std::mem::replace(&mut socket.has_pulled, true) {
            // It gets by itself what it was about to be sent.
            socket.is_fresh = false;
            socket.pulls.clear();
        }
        let last = cursor.unwrap_or(0).clamp(0, (1 << 53) - 1);
        self.socket(index).pulls.push(Pull {
            id: id.clone(),
            live: live || generation == Generation::V03,
            last,
            state: State::Paging,
            unacked: 0,
            in_flight: VecDeque::new(),
            is_ahead: last > head,
            chunks: 0,
            has_slept: false,
        });
        let socket = self.socket(index);
        let has_room = socket.has_room(socket.in_flight(), 1);
        let effects = self.send(index, &frame);
        if is_abandoning {
            assert!(effects.frames.is_empty() && effects.closed.contains(&index));
            self.clients[index].socket = None;
            self.seen.abandoning += 1;
            return;
        }
        assert!(
            effects
                .frames
                .iter()
                .all(|(to, heard)| *to != index || heard.id() == Some(&id))
        );
        // Whether a client of 0.3 has taken what it was sent shows with its pings.
        let is_asked = generation == Generation::V03 && self.alarm_at_ms.is_some();
        assert!(
            !effects.frames.is_empty() || effects.closed.contains(&index) || !has_room || is_asked,
            "a pull has an answer"
        );
        self.seen.crowded += u32::from(!has_room);
        self.receive(&effects, None);
    }

    /// Takes in what a turn sent, in order. `pushed` is the push of this turn with what it added.
    pub(super) fn receive(&mut self, effects: &Effects, pushed: Option<(&str, &[Sample])>) {
        let mut ended: Vec<(usize, String)> = Vec::new();
        for (index, heard) in &effects.frames {
            match heard {
                Heard::Page {
                    is_broadcast: true,
                    id,
                    ..
                } if self.is_plain_pull(*index, id)
                    && pushed.is_none_or(|(push_id, _)| push_id != id) =>
                {
                    self.receive_page(*index, heard, &mut ended);
                }
                Heard::Page {
                    is_broadcast: true,
                    id,
                    events,
                    remaining,
                    created_at,
                    ..
                } => {
                    self.socket(*index).is_fresh = false;
                    let (push_id, new) = pushed.expect("a broadcast is of a push");
                    let text = if push_id.starts_with('"') {
                        push_id.to_owned()
                    } else {
                        format!("\"{push_id}\"")
                    };
                    assert_eq!((id, *remaining, events.len()), (&text, 0, new.len()));
                    let tail = &self.log[self.log.len() - new.len()..];
                    check_events(events, created_at, tail);
                    let is_paging = self
                        .socket(*index)
                        .pulls
                        .iter()
                        .any(|pull| pull.state == State::Paging);
                    assert!(!is_paging, "a broadcast between the pages of a pull");
                }
                Heard::Page { .. } => self.receive_page(*index, heard, &mut ended),
                Heard::PullDone { id } => {
                    let at = ended.iter().position(|end| *end == (*index, id.clone()));
                    ended.remove(at.expect("only a pull that has everything is done"));
                }
                Heard::Failed { id, .. }
                    if self.is_plain_pull(*index, id)
                        && pushed.is_none_or(|(push_id, _)| push_id != id) =>
                {
                    // Its socket stays: its client would never miss what is published before it is back.
                    let has_reason = effects.has_failed || effects.has_stalled;
                    assert!(has_reason, "only storage and silence end a pull");
                    self.socket(*index).pulls.retain(|pull| pull.id != *id);
                }
                Heard::PushDone { id } | Heard::Failed { id, .. } => {
                    assert_eq!(
                        pushed.map(|(push_id, _)| push_id),
                        Some(id.as_str()),
                        "{heard:?}"
                    );
                }
                other => panic!("nobody asked for {other:?}"),
            }
        }
        ended.retain(|(index, _)| !effects.closed.contains(index));
        assert!(
            ended.is_empty(),
            "pulls that are not live are told that they are done"
        );
        for (index, probe) in &effects.probes {
            self.receive_probe(*index, probe);
        }
        self.seen.closed += u32::try_from(effects.closed.len()).unwrap();
        assert!(
            effects.closed.is_empty() || effects.has_failed || effects.has_stalled,
            "closed without a reason"
        );
        for index in &effects.closed {
            self.clients[*index].socket = None;
        }
    }

    fn is_plain_pull(&mut self, index: usize, id: &str) -> bool {
        self.is_plain(index) && self.socket(index).pulls.iter().any(|pull| pull.id == id)
    }

    /// A socket on which nobody has pulled for too long gets empty pages of the live pulls of others, one of
    /// each.
    fn receive_probe(&mut self, index: usize, probe: &Heard) {
        let Heard::Page { id, remaining, .. } = probe else {
            panic!("{probe:?}")
        };
        assert_eq!(*remaining, 0);
        let now_ms = self.now_ms;
        let socket = self.socket(index);
        let since_ms = socket.awaiting_pull_since_ms.expect("nobody has pulled");
        assert!(now_ms.saturating_sub(since_ms) > PULL_PATIENCE_MS);
        assert!(socket.probed.insert(id.clone()), "asked twice about {id}");
        self.seen.probes += 1;
    }

    pub(super) fn receive_page(
        &mut self,
        index: usize,
        heard: &Heard,
        ended: &mut Vec<(usize, String)>,
    ) {
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
            panic!("{heard:?} is no page");
        };
        let family = self.clients[index].tongue.generation(false).family();
        let last_stored = self.last_stored();
        let last = {
            let pulls = &self.clients[index].socket.as_ref().unwrap().pulls;
            pulls
                .iter()
                .find(|pull| pull.id == *id)
                .expect("a page of a pull under way")
                .last
        };
        let expected = self.after(last);
        assert!(events.len() <= expected.len(), "events beyond the log");
        let expected = &expected[..events.len()];
        check_events(events, created_at, expected);
        let items_bytes: usize = expected.iter().map(|stored| stored.item_bytes).sum();
        let socket = self.socket(index);
        socket.sent += 1;
        let number = socket.sent;
        let mut pulls = socket.pulls.iter_mut();
        let pull = pulls.find(|pull| pull.id == *id).unwrap();
        let mut seen = Seen::default();
        assert_ne!(pull.state, State::Done, "a page after the end");
        assert!(
            !events.is_empty() || pull.chunks == 0,
            "an empty page after others"
        );
        assert!(events.len() <= PAGE_EVENTS_MAX as usize);
        assert!(
            *bytes <= PAGE_BYTES_MAX || events.len() == 1,
            "{bytes} bytes"
        );
        assert_eq!(
            backend_id.as_deref(),
            (family == Family::Rpc).then_some(BACKEND)
        );
        pull.last = events.last().map_or(pull.last, seq_num);
        pull.chunks += 1;
        // 0.3 acknowledges nothing.
        pull.unacked += u32::from(family == Family::Rpc);
        if family == Family::Rpc {
            // Between the items of a broadcast stand commas; one from the log counts one after each.
            let commas = events.len() - usize::from(pull.state == State::Live);
            let bytes = items_bytes + commas;
            pull.in_flight.push_back(Piece { number, bytes });
        }
        assert!(pull.in_flight.len() <= WINDOW_PAGES, "{pull:?}");
        match pull.state {
            State::Live => {
                assert!(!events.is_empty() && *remaining == 0, "no broadcast");
                seen.broadcasts += 1;
                seen.overtaken += u32::from(pull.is_ahead);
            }
            State::Paging => {
                seen.pages += 1;
                seen.pages_after_waking += u32::from(pull.has_slept);
                let more = u64::try_from((last_stored - pull.last).max(0)).unwrap();
                assert_eq!(*remaining, more, "{pull:?}");
                if *remaining == 0 {
                    pull.state = if pull.live { State::Live } else { State::Done };
                    if !pull.live {
                        if pull.in_flight_bytes() == 0 {
                            pull.in_flight.clear();
                        }
                        ended.push((index, id.clone()));
                    }
                }
            }
            State::Done => {}
        }
        self.seen.add(&seen);
    }

    pub(super) fn ack_pages(&mut self, client: u8, pull: u8, pages: u8) {
        let index = self.index(client);
        for _ in 0..pages {
            if self.is_plain(index) {
                return;
            }
            let Some(socket) = self.clients[index].socket.as_mut() else {
                return;
            };
            if socket.pulls.is_empty() {
                return;
            }
            let at = usize::from(pull) % socket.pulls.len();
            let pull = &mut socket.pulls[at];
            if pull.unacked == 0 {
                return;
            }
            pull.unacked -= 1;
            let taken = pull.in_flight.pop_front();
            let last_abandoned = socket.last_abandoned;
            if taken.is_some_and(|piece| piece.number > last_abandoned) {
                socket.abandoned_bytes = 0;
            }
            let id = socket.pulls[at].id.clone();
            let effects = self.send(index, &ack(&id));
            // Other pulls may have waited for the same room, also those of other connections.
            self.receive(&effects, None);
        }
    }

    /// An acknowledgement of a pull that an earlier socket made: answered by nothing, or by a new start.
    pub(super) fn ack_old(&mut self, client: u8) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(false);
        if generation == Generation::V03 {
            return;
        }
        let counter = self.clients[index].next_id.saturating_sub(3);
        let is_of_socket = self
            .socket(index)
            .first_request
            .is_some_and(|first| counter >= first);
        if is_of_socket {
            return;
        }
        let id = Speaker {
            generation,
            store_id: STORE,
        }
        .id(counter);
        let effects = self.send(index, &ack(&id));
        assert!(effects.frames.is_empty());
        assert_eq!(effects.closed.into_iter().collect::<Vec<_>>(), [index]);
        self.clients[index].socket = None;
    }

    pub(super) fn interrupt(&mut self, client: u8, pull: u8) {
        let index = self.index(client);
        if self.is_plain(index) {
            return;
        }
        let Some(socket) = self.clients[index].socket.as_mut() else {
            return;
        };
        if socket.pulls.is_empty() {
            return;
        }
        let at = usize::from(pull) % socket.pulls.len();
        let id = socket.pulls[at].id.clone();
        if socket.abandon(&id) {
            let effects = self.send(index, &interrupt(&id));
            assert!(effects.frames.is_empty() && effects.closed.contains(&index));
            self.clients[index].socket = None;
            self.seen.abandoning += 1;
            return;
        }
        self.expect_interrupted(index, &id);
    }

    /// An interrupt that arrives when its push has been answered already.
    pub(super) fn interrupt_push(&mut self, client: u8) {
        let index = self.connected(client);
        if self.is_plain(index) {
            return;
        }
        let events = [self.fresh(index, self.head() + 1)];
        let id = self.push_events(index, false, &events, Claim::NoBackend);
        if self.clients[index].socket.is_some() {
            self.expect_interrupted(index, &id);
        }
    }

    pub(super) fn expect_interrupted(&mut self, index: usize, id: &str) {
        let mut effects = self.send(index, &interrupt(id));
        let answer = effects.frames.remove(0);
        assert_eq!(answer, (index, Heard::Interrupted { id: id.to_owned() }));
        // Other pulls of the connection may have waited for its room.
        assert!(effects.frames.iter().all(|(to, _)| *to == index));
        self.receive(&effects, None);
    }

    pub(super) fn ping(&mut self, client: u8) {
        let index = self.connected(client);
        let generation = self.clients[index].tongue.generation(false);
        let effects = self.send(
            index,
            Speaker {
                generation,
                store_id: STORE,
            }
            .ping(),
        );
        assert_eq!(effects.frames, [(index, Heard::Pong)]);
    }
}
