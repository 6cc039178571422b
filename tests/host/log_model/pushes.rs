//! Pushes: what the reference says of one, and what has to come of it.

use super::*;

/// What the reference says about a push.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Acknowledged, and these are new.
    Stored(Vec<Sample>),
    Ahead {
        head: i64,
        parent: i64,
    },
    Mismatch,
    Unknown,
}

impl Expected {
    pub(super) fn check(&self, generation: Generation, error: &Value) {
        if generation == Generation::V03 {
            if let Self::Ahead { head, parent } = self {
                let text =
                    format!("Invalid parent event number. Received e{parent} but expected e{head}");
                assert_eq!(error.as_str(), Some(text.as_str()));
            }
            return;
        }
        match self {
            Self::Ahead { head, parent } => {
                assert_eq!(error["_tag"], "ServerAheadError");
                assert_eq!(error["minimumExpectedNum"].as_i64(), Some(*head));
                assert_eq!(error["providedNum"].as_i64(), Some(*parent));
            }
            Self::Mismatch => {
                assert_eq!(error["_tag"], "BackendIdMismatchError");
                assert_eq!(error["expected"], BACKEND);
                assert_eq!(error["received"], "of-another-life");
            }
            Self::Unknown => assert_eq!(error["_tag"], "UnknownError"),
            Self::Stored(_) => panic!("{error}"),
        }
    }
}

/// How a client is told that it may try again later: an RPC socket is closed, 0.3 has no better than words, which
/// say nothing of the reason.
fn check_temporary(generation: Generation, answered: Option<&Heard>) {
    match (generation, answered) {
        (Generation::V03, Some(Heard::Failed { error, .. })) => {
            assert!(!error.to_string().contains("injected"), "{error}");
        }
        (Generation::V04 | Generation::V05, None) => {}
        (_, other) => panic!("{other:?}"),
    }
}

impl World {
    pub(super) fn push(&mut self, client: u8, second: bool, kind: &PushKind, claim: Claim) {
        let index = self.connected(client);
        let events = self.events(index, kind);
        self.push_events(index, second, &events, claim);
    }

    /// Pushes these events and checks what comes of it; returns the id of the push.
    pub(super) fn push_events(
        &mut self,
        index: usize,
        second: bool,
        events: &[Sample],
        claim: Claim,
    ) -> String {
        let generation = self.clients[index].tongue.generation(second);
        let id = self.new_id(index, generation);
        let (store_id, backend_id) = match claim {
            Claim::Right => (STORE, Some(BACKEND)),
            Claim::NoBackend => (STORE, None),
            Claim::WrongBackend => (STORE, Some("of-another-life")),
            Claim::ForeignStore => ("another-store", Some(BACKEND)),
        };
        let frame = Speaker {
            generation,
            store_id,
        }
        .push(&id, backend_id, &batch_json(events));
        let claim = if generation == Generation::V03 {
            Claim::Right
        } else {
            claim
        };
        let expected = self.expect_push(events, claim, frame.len());
        self.expect_no_pull(index, claim, frame.len());
        let effects = self.send(index, &frame);
        self.expect_mending(index, &id, events, &expected, &effects);
        self.finish_push(index, &id, generation, expected, &effects);
        id
    }

    /// The events of a push of this kind.
    pub(super) fn events(&self, index: usize, kind: &PushKind) -> Vec<Sample> {
        let head = self.head();
        let new =
            |after: i64, count: i64| (after + 1..=after + count).map(|n| self.fresh(index, n));
        let sized = |after: i64, sizes: &Sizes| -> Vec<Sample> {
            match sizes {
                Sizes::Few(count) => new(after, i64::from(*count)).collect(),
                Sizes::Many(count) => new(after, i64::from(*count)).collect(),
                Sizes::Large(kilobytes) => kilobytes
                    .iter()
                    .zip(after + 1..)
                    .map(|(kilobytes, seq_num)| Sample {
                        client_id: format!("client-{index}"),
                        ..Sample::padded(seq_num, usize::from(*kilobytes) * 1000)
                    })
                    .collect(),
            }
        };
        match kind {
            PushKind::Right { sizes } => sized(head, sizes),
            PushKind::Stale { back, sizes } => sized((head - i64::from(*back)).max(0), sizes),
            PushKind::Future { ahead } => new(head + i64::from(*ahead), 2).collect(),
            PushKind::Gapped { at } => {
                let mut events: Vec<Sample> = new(head, 5).collect();
                let at = 1 + usize::from(*at) % 3;
                events.remove(at);
                events[at].parent_seq_num -= 1;
                events
            }
            PushKind::Unchained { at } => {
                let mut events: Vec<Sample> = new(head, 4).collect();
                events[1 + usize::from(*at) % 3].parent_seq_num -= 1;
                events
            }
            PushKind::Repeated { back, new: count } => self.repeated(index, *back, *count),
            PushKind::Altered { back, new: count } => {
                let mut events = self.repeated(index, *back, *count);
                let middle = usize::from(*back) / 2;
                if let Some(event) = events.get_mut(middle) {
                    match (back + count) % 4 {
                        0 => event.args = Some(r#""altered""#.to_owned()),
                        1 => event.name.push_str("Altered"),
                        2 => event.client_id.push_str("-altered"),
                        _ => event.session_id.push_str("-altered"),
                    }
                }
                events
            }
            PushKind::Empty => Vec::new(),
            PushKind::Oversized => {
                let mut events: Vec<Sample> = new(head, 2).collect();
                events.push(Sample::padded(head + 3, 1_000_100));
                events
            }
            PushKind::TooMany => new(head, 601).collect(),
            PushKind::OutOfRange { seq_num } => {
                vec![Sample {
                    parent_seq_num: seq_num.wrapping_sub(1),
                    ..self.fresh(index, *seq_num)
                }]
            }
        }
    }

    pub(super) fn repeated(&self, index: usize, back: u8, new: u8) -> Vec<Sample> {
        let start = self.log.len().saturating_sub(usize::from(back));
        let mut events: Vec<Sample> = self.log[start..]
            .iter()
            .map(|stored| stored.event.clone())
            .collect();
        let last = events.last().map_or(self.head(), |event| event.seq_num);
        events.extend((last + 1..=last + i64::from(new)).map(|n| self.fresh(index, n)));
        events
    }

    /// An event that nobody has pushed yet, with texts that need care.
    pub(super) fn fresh(&self, index: usize, seq_num: i64) -> Sample {
        let names = ["v1.TodoCreated", "v1.Odd\"\\\n\u{1}é😀", "n", ""];
        let args = [
            Some(format!(
                r#"{{"{SECRET}":[{seq_num}, "\ud83d\ude00 \u0000"]}}"#
            )),
            None,
            Some("null".to_owned()),
            Some(format!("\"{SECRET} {}\"", self.now_ms)),
            Some("{}".to_owned()),
        ];
        let pick = usize::try_from(seq_num.rem_euclid(60)).unwrap();
        let args = args[pick % args.len()].clone();
        let session_id = format!("session \"{}\"", pick % 7 / 5);
        let name = names[pick % names.len()].to_owned();
        let parent_seq_num = seq_num.wrapping_sub(1);
        Sample {
            seq_num,
            parent_seq_num,
            name,
            args,
            client_id: format!("client-{index}"),
            session_id,
        }
    }

    /// A client of 0.3 that is behind with the first push of its socket will be sent what it lacks, as of a pull.
    fn expect_mending(
        &mut self,
        index: usize,
        id: &str,
        events: &[Sample],
        expected: &Expected,
        effects: &Effects,
    ) {
        let last_stored = self.last_stored();
        let is_understood = !matches!(expected, Expected::Unknown | Expected::Mismatch);
        let Some(first) = events.first().filter(|_| is_understood) else {
            return;
        };
        let socket = self.socket(index);
        let lacks_some = first.parent_seq_num < last_stored;
        if !socket.is_fresh || !lacks_some {
            return;
        }
        if effects.has_failed && socket.kept.contains(r#""isFresh":true"#) {
            // It has not come to that.
            return;
        }
        socket.is_fresh = false;
        socket.pulls.push(Pull {
            id: id.to_owned(),
            live: true,
            last: first.parent_seq_num,
            state: State::Paging,
            unacked: 0,
            in_flight: VecDeque::new(),
            is_ahead: false,
            chunks: 0,
            has_slept: false,
        });
        self.seen.mended += 1;
    }

    /// A client that has pulled before would know the backend id.
    fn expect_no_pull(&mut self, index: usize, claim: Claim, frame_bytes: usize) {
        if claim == Claim::NoBackend && frame_bytes <= LIMITS.frame_bytes_max {
            self.socket(index).awaiting_pull_since_ms = None;
        }
    }

    pub(super) fn expect_push(
        &self,
        events: &[Sample],
        claim: Claim,
        frame_bytes: usize,
    ) -> Expected {
        let head = self.head();
        let bytes = |event: &Sample| {
            let args = event.args.as_ref().map_or(0, String::len);
            event.name.len() + args + event.client_id.len() + event.session_id.len()
        };
        if claim == Claim::ForeignStore || frame_bytes > LIMITS.frame_bytes_max {
            return Expected::Unknown;
        }
        let Some(first) = events.first() else {
            return Expected::Stored(Vec::new());
        };
        if claim == Claim::WrongBackend {
            return Expected::Mismatch;
        }
        let numbers = 1..=(1_i64 << 53) - 1;
        let is_chain = events.len() <= 600
            && first.parent_seq_num >= 0
            && events.iter().all(|event| bytes(event) <= 1_000_000)
            && events.iter().all(|event| numbers.contains(&event.seq_num))
            && events
                .iter()
                .all(|event| event.parent_seq_num == event.seq_num - 1)
            && events
                .windows(2)
                .all(|pair| pair[1].parent_seq_num == pair[0].seq_num);
        if !is_chain {
            return Expected::Unknown;
        }
        let parent = first.parent_seq_num;
        let ahead = Expected::Ahead { head, parent };
        if parent >= head {
            return if parent == head {
                Expected::Stored(events.to_vec())
            } else {
                ahead
            };
        }
        // A retry: all that is stored of it is stored as it stands.
        let (stored, new): (Vec<_>, Vec<_>) = events
            .iter()
            .cloned()
            .partition(|event| event.seq_num <= head);
        let same = |a: &Sample, b: &Sample| {
            let args = |event: &Sample| event.args.clone().unwrap_or_else(|| "null".to_owned());
            let rest = |event: &Sample| Sample {
                args: None,
                ..event.clone()
            };
            rest(a) == rest(b) && args(a) == args(b)
        };
        let here = self.after(parent);
        let is_repeated = here.len() >= stored.len()
            && stored
                .iter()
                .zip(here)
                .all(|(event, stored)| same(event, &stored.event));
        if is_repeated {
            Expected::Stored(new)
        } else {
            ahead
        }
    }

    pub(super) fn finish_push(
        &mut self,
        index: usize,
        id: &str,
        generation: Generation,
        expected: Expected,
        effects: &Effects,
    ) {
        let before = self.log.len();
        let answer = effects.frames.iter().position(|(to, heard)| {
            *to == index
                && heard.id() == Some(id)
                && matches!(heard, Heard::PushDone { .. } | Heard::Failed { .. })
        });
        let answered = answer.map(|at| effects.frames[at].1.clone());
        let is_closed = effects.closed.contains(&index);
        assert!(answer.is_some() || is_closed, "no answer to a push");
        let is_done = matches!(answered, Some(Heard::PushDone { .. }))
            || (answered.is_none() && self.stored_rows() > before);
        let new = match expected {
            Expected::Stored(new) if is_done => {
                self.seen.appended += u32::from(!new.is_empty());
                self.seen.repeated += u32::from(new.is_empty());
                new
            }
            Expected::Stored(_) => {
                // Only storage may keep it from being done, and then its client is to try again later.
                assert!(effects.has_failed, "refused: {answered:?}");
                check_temporary(generation, answered.as_ref());
                Vec::new()
            }
            refused => {
                self.seen.refused += 1;
                assert!(!is_done, "accepted instead of {refused:?}");
                match &answered {
                    Some(Heard::Failed { error, .. }) if !effects.has_failed => {
                        refused.check(generation, error);
                    }
                    // Storage may have failed before that showed.
                    Some(Heard::Failed { error, .. }) if generation != Generation::V03 => {
                        refused.check(generation, error);
                    }
                    answered => {
                        assert!(effects.has_failed);
                        check_temporary(generation, answered.as_ref());
                    }
                }
                let own = usize::from(answered.is_some());
                assert_eq!(
                    effects.frames.len(),
                    own,
                    "a refused push concerns nobody else"
                );
                Vec::new()
            }
        };
        let created_at =
            chrono::DateTime::from_timestamp_millis(i64::try_from(self.now_ms).unwrap())
                .unwrap()
                .format("%Y-%m-%dT%H:%M:%S%.3fZ")
                .to_string();
        let stored = new.iter().map(|event| Stored::new(event, &created_at));
        self.log.extend(stored);
        let plain: Vec<usize> = self.plain_listeners();
        self.seen.pushes_while_paging += u32::from(!new.is_empty() && self.is_paging());
        self.send_back_to_paging(&new);
        self.receive(effects, Some((id, &new)));
        if !new.is_empty() {
            for listener in plain {
                let count = effects.frames.iter().filter(|(to, heard)| {
                    *to == listener
                        && matches!(
                            heard,
                            Heard::Page {
                                is_broadcast: true,
                                ..
                            }
                        )
                });
                assert!(count.count() == 1 || effects.closed.contains(&listener));
            }
            if let Some(answer) = answer {
                let own: Vec<usize> = (0..effects.frames.len())
                    .filter(|at| effects.frames[*at].0 == index && *at != answer)
                    .collect();
                let is_right = match generation {
                    Generation::V03 => own.iter().all(|at| *at > answer),
                    Generation::V04 | Generation::V05 => own.iter().all(|at| *at < answer),
                };
                assert!(
                    is_right,
                    "the pusher gets its chunks and its answer in the wrong order"
                );
            }
        }
    }

    pub(super) fn is_paging(&self) -> bool {
        let sockets = self
            .clients
            .iter()
            .filter_map(|client| client.socket.as_ref());
        let mut pulls = sockets.flat_map(|socket| &socket.pulls);
        pulls.any(|pull| pull.state == State::Paging)
    }

    /// Finds the live pulls that cannot take a push as it is: those whose cursor lies inside it, and
    /// those with too much on its way. They read it from the log.
    pub(super) fn send_back_to_paging(&mut self, new: &[Sample]) {
        let (Some(first), Some(last)) = (new.first(), new.last()) else {
            return;
        };
        let json = batch_json(new);
        let events = livestore_sync_worker::json::read(&json, Event::read_all).unwrap();
        let pages: Vec<usize> = split(Family::Rpc, &events, "2026-11-22T10:19:11.954Z")
            .map(|page| page.len())
            .collect();
        let bytes: usize = pages.iter().sum();
        let sockets = self
            .clients
            .iter()
            .filter_map(|client| client.socket.as_ref());
        assert!(sockets.map(Socket::in_flight).sum::<usize>() + bytes < OBJECT_BYTES_MAX);
        for index in 0..self.clients.len() {
            if self.is_plain(index) {
                continue;
            }
            let Some(socket) = &mut self.clients[index].socket else {
                continue;
            };
            let mut on_its_way = socket.in_flight();
            let abandoned = socket.abandoned_bytes;
            for pull in &mut socket.pulls {
                let is_due = pull.state == State::Live && pull.last < last.seq_num;
                let is_inside = pull.last > first.parent_seq_num;
                let has_room = pull.in_flight.len() + pages.len() <= WINDOW_PAGES
                    && (on_its_way == 0 || on_its_way + abandoned + bytes <= CONNECTION_BYTES_MAX);
                if is_due && (is_inside || !has_room) {
                    pull.state = State::Paging;
                    self.seen.slow_listeners += u32::from(!is_inside);
                } else if is_due {
                    on_its_way += bytes;
                }
            }
        }
    }

    /// 0.3 sockets that get broadcasts now: those with no pull under way.
    pub(super) fn plain_listeners(&self) -> Vec<usize> {
        let is_listener = |client: &Client| {
            let socket = client.socket.as_ref();
            client.tongue == Tongue::One(Generation::V03)
                && socket.is_some_and(|socket| {
                    socket.pulls.iter().all(|pull| pull.state != State::Paging)
                })
        };
        (0..self.clients.len())
            .filter(|index| is_listener(&self.clients[*index]))
            .collect()
    }
}
