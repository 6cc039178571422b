//! Model clients: what they know, and what they do next. Each keeps a copy of the log, in which nothing may be
//! missing or of another lifetime.

use livestore_sync_worker::auth::{Access, Grant};
use livestore_sync_worker::backend::{ConnectionId, Progress};
use livestore_sync_worker::limits::CALL_SETTLE_MS;
use livestore_sync_worker::wire::{Family, Generation, Transport};
use serde_json::Value;

use super::ends::{Asked, Delivery, Event, Gate, Incoming, Pull, Push, Request};
use super::followers::as_text;
use super::random::Random;
use super::seen::Kind;
use super::words::{ADMIN, STORE, Tongue};
use super::world::{About, Cause, PING_MS, Plan, World, tell};
use crate::client::{Heard, ack, interrupt, seq_num};

#[derive(Debug)]
pub(super) struct Client {
    pub(super) tongue: Tongue,
    next_id: u64,
    /// The lifetime it knows.
    pub(super) backend_id: Option<String>,
    /// The last event it has.
    pub(super) last: i64,
    pub(super) end: Option<usize>,
    /// A connection whose network has fallen silent.
    silent: Option<usize>,
    /// A pull of that connection which it believes in.
    believes: Option<String>,
    /// Its live pull.
    pull: Option<String>,
    /// A push that has not been answered.
    outgoing: Option<Vec<Event>>,
    pub(super) is_stalled: bool,
    /// Whether the pull of a 0.3 client has had its last page.
    has_pulled: bool,
    /// The calls that a client object waits for.
    own: Option<Own>,
    /// The pull before that, as text.
    former: Option<String>,
    /// Whether storage has failed since it made its pull.
    pub(super) is_doubtful: bool,
}

/// What a client object knows of its live pull.
#[derive(Clone, Debug)]
struct Own {
    /// As text.
    pull: String,
    /// When it has taken note of its answer.
    noted_ms: u64,
    /// The last event that it got by the pull and its calls.
    told: i64,
    may_hear_again: bool,
}

/// What a client pushes.
#[derive(Clone, Copy, Debug)]
enum Kinds {
    Next,
    Again,
    Stale,
    Future,
    Gapped,
    Foreign,
    OtherLifetime,
    Empty,
}

impl Client {
    pub(super) fn by_chance(random: &mut Random, plan: &Plan) -> Vec<Self> {
        let count = if plan.is_heavy {
            13
        } else {
            2 + random.index(4)
        };
        let kinds = [
            (3, (Generation::V04, Transport::WebSocket)),
            (2, (Generation::V05, Transport::WebSocket)),
            (2, (Generation::V03, Transport::WebSocket)),
            (1, (Generation::V04, Transport::Http)),
            (1, (Generation::V05, Transport::Http)),
            (2, (Generation::V04, Transport::DoRpc)),
            (1, (Generation::V05, Transport::DoRpc)),
        ];
        let clients = (0..count).map(|_| {
            let kinds = if plan.is_heavy {
                &kinds[..3]
            } else {
                &kinds[..]
            };
            let (generation, transport) = random.weighted(kinds);
            Self {
                tongue: Tongue {
                    generation,
                    transport,
                },
                next_id: random.below(30),
                backend_id: None,
                last: 0,
                end: None,
                silent: None,
                believes: None,
                pull: None,
                outgoing: None,
                is_stalled: plan.is_heavy && random.chance(80),
                has_pulled: false,
                own: None,
                former: None,
                is_doubtful: false,
            }
        });
        clients.collect()
    }

    pub(super) fn may_hear_again(&mut self) {
        if let Some(own) = &mut self.own {
            own.may_hear_again = true;
        }
    }

    /// The clock goes back, while what a client does takes as long as it takes.
    pub(super) fn set_back(&mut self, ms: u64) {
        if let Some(own) = &mut self.own {
            own.noted_ms -= ms;
        }
    }

    fn is_socket(&self) -> bool {
        self.tongue.transport == Transport::WebSocket
    }

    fn is_plain(&self) -> bool {
        self.tongue.generation == Generation::V03
    }

    /// It has to start over.
    fn clear(&mut self) {
        (self.backend_id, self.last) = (None, 0);
        (self.pull, self.own, self.outgoing) = (None, None, None);
        (self.believes, self.has_pulled) = (None, false);
    }

    /// Whether it has everything that it can have.
    pub(super) fn waits_for_calls(&self) -> Option<&str> {
        self.own.as_ref().map(|own| &*own.pull)
    }
}

impl World {
    /// A client does something.
    pub(super) fn act(&mut self, client: usize) {
        let one = &self.clients[client];
        match (one.tongue.transport, one.end) {
            (Transport::WebSocket, None) => self.open_socket(client),
            (Transport::WebSocket, Some(end)) => self.act_on_socket(client, end),
            (_, Some(end)) => self.act_on_answer(client, end),
            (Transport::Http, None) => self.act_over_http(client),
            (Transport::DoRpc, None) => self.act_as_object(client),
        }
    }

    fn grant(&mut self) -> Grant {
        let expires_at_ms = (!self.is_healthy && self.random.chance(12))
            .then(|| self.now_ms + 1 + self.random.below(40_000));
        let access = if !self.is_healthy && self.random.chance(5) {
            Access::ReadOnly
        } else {
            Access::ReadWrite
        };
        Grant {
            access,
            expires_at_ms,
            ..Grant::default()
        }
    }

    pub(super) fn open_socket(&mut self, client: usize) {
        let family = self.clients[client].tongue.generation.family();
        let grant = self.grant();
        self.begin_event();
        let end = self.connect(client, Transport::WebSocket, family, grant);
        self.settle_event();
        let one = &mut self.clients[client];
        (one.end, one.pull, one.has_pulled) = (end, None, false);
    }

    fn act_on_socket(&mut self, client: usize, end: usize) {
        #[derive(Clone, Copy)]
        enum Do {
            Read,
            Push,
            PushMany,
            Pull,
            PullMore,
            Both,
            Interrupt,
            InterruptPush,
            Ping,
            Close,
            FallSilent,
            Stall,
            Reset,
        }
        let one = &self.clients[client];
        let is_pulling = one.pull.is_some() || one.believes.is_some();
        let is_rpc = u64::from(!one.is_plain());
        let is_limited = self.plan.limits.push_rate.is_some();
        let reads = if one.is_stalled { 1 } else { 14 };
        let choices = [
            (reads, Do::Read),
            (8, Do::Push),
            (if is_limited { 6 } else { 0 }, Do::PushMany),
            (if is_pulling { 0 } else { 14 }, Do::Pull),
            (is_rpc, Do::PullMore),
            (is_rpc, Do::Both),
            (is_rpc, Do::Interrupt),
            (2 * is_rpc, Do::InterruptPush),
            (1, Do::Ping),
            (1, Do::Close),
            (is_rpc, Do::FallSilent),
            (1, Do::Stall),
            (1 - is_rpc, Do::Reset),
        ];
        match self.random.weighted(&choices) {
            Do::Read => {
                for _ in 0..=self.random.below(6) {
                    self.read(client);
                }
            }
            Do::Push => self.push_something(client, end),
            Do::PushMany => {
                for _ in 0..12 {
                    let (request, text) = self.push_of(client, Kinds::Next);
                    self.begin_event();
                    self.frame(end, &text, vec![request]);
                }
            }
            Do::Pull => self.pull_live(client, end),
            Do::PullMore => {
                let (request, text) = self.pull_from_anywhere(client, false);
                self.begin_event();
                self.frame(end, &text, vec![request]);
            }
            Do::Both => {
                let (pull, pull_text) = self.pull_from_anywhere(client, false);
                let (push, push_text) = self.push_of(client, Kinds::Next);
                self.begin_event();
                self.frame(end, &format!("[{push_text},{pull_text}]"), vec![push, pull]);
            }
            Do::Interrupt => self.interrupt_a_pull(client, end),
            Do::InterruptPush => self.interrupt_a_push(client, end),
            Do::Ping => self.ping(client, end),
            Do::Close => {
                self.begin_event();
                self.close_socket(client, end);
            }
            Do::FallSilent => self.fall_silent(client, end),
            Do::Stall => self.clients[client].is_stalled ^= true,
            Do::Reset => self.reset_in_words(client, end),
        }
    }

    fn close_socket(&mut self, client: usize, end: usize) {
        tell!(self, "client {client} closes {end}");
        if self.ends[end].is_open {
            self.leave(end, false);
        }
        self.settle_event();
        self.lost_socket(client);
    }

    /// A socket is over, and its client knows.
    fn lost_socket(&mut self, client: usize) {
        let one = &mut self.clients[client];
        (one.end, one.pull, one.has_pulled) = (None, None, false);
    }

    /// The network falls silent: the object does not know, and the client connects again and believes in its pull.
    fn fall_silent(&mut self, client: usize, end: usize) {
        if self.clients[client].silent.is_some() || !self.ends[end].is_open {
            return;
        }
        let one = &mut self.clients[client];
        one.silent = Some(end);
        one.believes = one.pull.take();
        one.end = None;
        tell!(self, "the network of {end} falls silent");
        self.seen.count(Kind::Believers);
    }

    /// The platform notices that a silent connection is over.
    pub(super) fn notice_silence(&mut self, client: usize) {
        let Some(end) = self.clients[client].silent.take() else {
            return;
        };
        self.begin_event();
        if self.ends[end].is_open {
            tell!(self, "{end} is found to be over");
            self.leave(end, false);
        }
        self.settle_event();
    }

    /// Takes in one thing that has arrived; whether there was one.
    pub(super) fn read(&mut self, client: usize) -> bool {
        let Some(end) = self.clients[client].end else {
            return false;
        };
        let Some(incoming) = self.ends[end].inbox.pop_front() else {
            return false;
        };
        match incoming {
            Incoming::Over { .. } => {
                tell!(self, "client {client} finds {end} closed");
                self.clients[client].believes = None;
                self.lost_socket(client);
            }
            Incoming::Frame { heard, .. } => self.hear(client, end, &heard),
        }
        true
    }

    fn hear(&mut self, client: usize, end: usize, heard: &Heard) {
        tell!(self, "client {client} reads {}", brief(heard));
        match heard {
            Heard::Page {
                is_broadcast: true,
                events,
                ..
            } => {
                if self.clients[client].has_pulled {
                    self.take(client, events, None);
                }
            }
            Heard::Page {
                id,
                events,
                remaining,
                backend_id,
                ..
            } => {
                let is_own = |request: &mut Request| {
                    matches!(request.ask, Asked::Pull(_)) && !request.is_interrupted
                };
                let is_ahead = self.is_ahead(end, id);
                let is_known = self.ends[end].request(id).is_some_and(is_own);
                let is_believed = self.clients[client].believes.as_ref() == Some(id);
                if is_known && !is_ahead {
                    self.take(client, events, backend_id.as_deref());
                    self.clients[client].has_pulled |= *remaining == 0;
                }
                let is_rpc = self.ends[end].family == Family::Rpc;
                if is_rpc && (is_known || is_believed) && self.ends[end].is_open {
                    self.begin_event();
                    self.frame(end, &ack(id), Vec::new());
                }
            }
            Heard::PushDone { .. } => self.clients[client].outgoing = None,
            Heard::Failed { id, error } => self.hear_failure(client, end, id, error),
            Heard::PullDone { .. }
            | Heard::Interrupted { .. }
            | Heard::Pong
            | Heard::AdminDone { .. } => {}
            Heard::Died { .. } | Heard::Defect { .. } => panic!("{heard:?}"),
        }
    }

    fn hear_failure(&mut self, client: usize, end: usize, id: &str, error: &Value) {
        let is_pull = self.clients[client].pull.as_deref() == Some(id);
        let is_push = self.ends[end]
            .request(id)
            .is_some_and(|one| one.push().is_some());
        let one = &mut self.clients[client];
        if is_push {
            one.outgoing = None;
        }
        if is_pull {
            one.pull = None;
        }
        let is_emptied = |text: &str| text.contains("the store was emptied");
        let is_other_lifetime =
            error["_tag"] == "BackendIdMismatchError" || error.as_str().is_some_and(is_emptied);
        if is_other_lifetime && (!is_push || one.backend_id.is_some() || one.is_plain()) {
            tell!(self, "client {client} starts over");
            self.clients[client].clear();
            // Whatever is still on its way is for the one that it was.
            self.begin_event();
            self.close_socket(client, end);
        } else if is_pull && self.clients[client].is_plain() {
            // It takes nothing more until it is started again.
            self.begin_event();
            self.close_socket(client, end);
        }
    }

    /// Whether a pull leaves out events that its client does not have.
    fn is_ahead(&self, end: usize, id: &str) -> bool {
        let mut pulls = self.ends[end].pulls();
        pulls.any(|(request, pull)| request.id == *id && pull.is_ahead)
    }

    /// Takes events into the client's copy of the log.
    fn take(&mut self, client: usize, events: &[Value], backend_id: Option<&str>) {
        let one = &mut self.clients[client];
        if let Some(backend_id) = backend_id {
            let known = one.backend_id.get_or_insert_with(|| backend_id.to_owned());
            assert_eq!(known, backend_id, "a page of another lifetime");
        }
        for event in events {
            let number = seq_num(event);
            if number > one.last {
                assert_eq!(
                    number,
                    one.last + 1,
                    "client {client} misses events: {one:?}"
                );
                one.last = number;
            }
        }
    }

    fn new_id(&mut self, client: usize) -> String {
        let one = &mut self.clients[client];
        one.next_id += 1;
        one.tongue.id(one.next_id)
    }

    fn request(&mut self, client: usize, ask: Asked) -> Request {
        let id = self.new_id(client);
        Request {
            id,
            generation: self.clients[client].tongue.generation,
            frame: 0,
            sent_ms: 0,
            is_answered: false,
            is_interrupted: false,
            gate: Gate::Closed,
            ask,
        }
    }

    /// A pull from where the client is.
    fn next_pull(&mut self, client: usize, live: bool, calls: bool) -> (Request, String) {
        let cursor = self.cursor(client);
        self.pull_after(client, live, calls, cursor.as_ref(), STORE)
    }

    fn cursor(&self, client: usize) -> Option<(String, i64)> {
        let one = &self.clients[client];
        if one.is_plain() {
            return (one.last > 0).then(|| (String::new(), one.last));
        }
        one.backend_id.clone().map(|id| (id, one.last))
    }

    fn pull_after(
        &mut self,
        client: usize,
        live: bool,
        calls: bool,
        cursor: Option<&(String, i64)>,
        store: &str,
    ) -> (Request, String) {
        let tongue = self.clients[client].tongue;
        let backend_id = cursor.filter(|_| !self.clients[client].is_plain());
        let pull = Pull {
            live,
            calls,
            backend_id: backend_id.map(|(id, _)| id.clone()),
            is_foreign: store != STORE && tongue.generation != Generation::V03,
            is_ahead: cursor.is_some_and(|(_, after)| *after > self.clients[client].last),
            last: cursor.map_or(0, |(_, after)| *after),
            state: Delivery::Waiting,
            pages: 0,
            has_slept: false,
        };
        let request = self.request(client, Asked::Pull(pull));
        let object = calls.then(|| format!("o{client}"));
        let cursor = cursor.map(|(id, after)| (&**id, *after));
        let text = tongue.pull(&request.id, store, live, cursor, object.as_deref());
        (request, text)
    }

    fn pull_live(&mut self, client: usize, end: usize) {
        let (request, text) = self.next_pull(client, true, false);
        self.clients[client].pull = Some(request.id.clone());
        self.begin_event();
        self.frame(end, &text, vec![request]);
    }

    /// A pull that is not the client's own live one, from where it is or from the start.
    fn pull_from_anywhere(&mut self, client: usize, calls: bool) -> (Request, String) {
        let mut cursor = self.cursor(client);
        if self.random.chance(40) {
            cursor = cursor.map(|(backend_id, _)| (backend_id, 0));
        } else if self.random.chance(20) && !self.clients[client].is_plain() {
            let more = 1 + i64::try_from(self.random.below(4)).unwrap();
            cursor = cursor.map(|(backend_id, after)| (backend_id, after + more));
        }
        let live = !calls && self.clients[client].is_socket() && self.random.chance(30);
        let store = if self.random.chance(5) {
            "another"
        } else {
            STORE
        };
        self.pull_after(client, live, calls, cursor.as_ref(), store)
    }

    fn push_something(&mut self, client: usize, end: usize) {
        let again = u64::from(self.clients[client].outgoing.is_some()) * 6;
        let kind = self.random.weighted(&[
            (30, Kinds::Next),
            (again, Kinds::Again),
            (2, Kinds::Stale),
            (1, Kinds::Future),
            (1, Kinds::Gapped),
            (1, Kinds::Foreign),
            (1, Kinds::OtherLifetime),
            (1, Kinds::Empty),
        ]);
        let (request, text) = self.push_of(client, kind);
        self.begin_event();
        self.frame(end, &text, vec![request]);
    }

    fn push_of(&mut self, client: usize, kind: Kinds) -> (Request, String) {
        let last = self.clients[client].last;
        let events = match kind {
            Kinds::Next | Kinds::Foreign | Kinds::OtherLifetime => self.new_events(client, last),
            Kinds::Again => self.clients[client].outgoing.clone().unwrap_or_default(),
            Kinds::Stale => self.new_events(client, (last - 2).max(0)),
            Kinds::Future => self.new_events(client, last + 3),
            Kinds::Gapped => {
                let mut events = self.new_events(client, last);
                let mut more = self.new_events(client, events.last().unwrap().seq_num + 1);
                events.append(&mut more);
                events
            }
            Kinds::Empty => Vec::new(),
        };
        let one = &mut self.clients[client];
        if matches!(kind, Kinds::Next) {
            one.outgoing = Some(events.clone());
        }
        let tongue = one.tongue;
        let is_plain = one.is_plain();
        let backend_id = match kind {
            _ if is_plain => None,
            Kinds::OtherLifetime => Some("another-lifetime".to_owned()),
            _ => one.backend_id.clone(),
        };
        let is_foreign = matches!(kind, Kinds::Foreign) && !is_plain;
        let store = if is_foreign { "another" } else { STORE };
        let push = Push {
            events: events.clone(),
            backend_id: backend_id.clone(),
            is_foreign,
            stored_in: None,
            acknowledgement: Gate::Closed,
        };
        let request = self.request(client, Asked::Push(push));
        let text = tongue.push(&request.id, store, backend_id.as_deref(), &events);
        (request, text)
    }

    fn new_events(&mut self, client: usize, after: i64) -> Vec<Event> {
        let count = if self.plan.is_heavy {
            1 + self.random.below(3)
        } else if self.random.chance(3) {
            // More than a page.
            150
        } else {
            1 + self.random.below(4)
        };
        let numbers = after + 1..=after + i64::try_from(count).unwrap();
        let events = numbers.map(|seq_num| Event {
            seq_num,
            parent_seq_num: seq_num - 1,
            marker: self.new_marker(),
            client,
            padding: if self.plan.is_heavy {
                200_000 + self.random.index(600_000)
            } else {
                self.random.index(20)
            },
        });
        events.collect()
    }

    fn interrupt_a_pull(&mut self, client: usize, end: usize) {
        let is_meant = |request: &&Request| {
            let is_over = request.is_answered || request.is_interrupted;
            matches!(request.ask, Asked::Pull(_)) && !is_over && !self.is_behind(request, end)
        };
        let meant = self.ends[end].requests.iter().find(is_meant);
        let Some(id) = meant.map(|request| request.id.clone()) else {
            return;
        };
        self.ends[end].request(&id).unwrap().is_interrupted = true;
        if self.clients[client].pull.as_ref() == Some(&id) {
            self.clients[client].pull = None;
        }
        self.seen.count(Kind::InterruptedPull);
        self.begin_event();
        self.frame(end, &interrupt(&id), Vec::new());
    }

    /// Interrupts a push that a hook has, before it is decided or before it is acknowledged.
    fn interrupt_a_push(&mut self, client: usize, end: usize) {
        let one = &mut self.ends[end];
        let is_meant = |request: &&mut Request| {
            let is_held = request.push().is_some_and(|push| {
                matches!(request.gate, Gate::Asked(_))
                    || matches!(push.acknowledgement, Gate::Asked(_))
            });
            is_held && !request.is_answered && !request.is_interrupted
        };
        let Some(request) = one.requests.iter_mut().find(is_meant) else {
            return;
        };
        request.is_interrupted = true;
        let id = request.id.clone();
        self.clients[client].outgoing = None;
        self.seen.count(Kind::InterruptedPush);
        self.begin_event();
        self.frame(end, &interrupt(&id), Vec::new());
    }

    fn ping(&mut self, client: usize, end: usize) {
        let now_ms = self.now_ms;
        let one = &mut self.ends[end];
        let last_ms = one.asked_ms.unwrap_or(now_ms);
        let is_late = now_ms.saturating_sub(last_ms) >= PING_MS / 2;
        if one.family == Family::Plain && is_late && !one.inbox.is_empty() {
            // Only who has read the answer to its last ping waits that long.
            return;
        }
        one.asked_ms = Some(last_ms.max(now_ms));
        let request = self.request(client, Asked::Ping);
        let text = self.clients[client].tongue.ping(&request.id);
        self.begin_event();
        self.frame(end, &text, vec![request]);
    }

    fn reset_in_words(&mut self, client: usize, end: usize) {
        if self.random.chance(60) {
            return;
        }
        let is_right = self.random.chance(70);
        let request = self.request(client, Asked::Reset { is_right });
        let text = Tongue::reset(&request.id, if is_right { ADMIN } else { "a guess" });
        self.begin_event();
        self.frame(end, &text, vec![request]);
    }

    /// Makes a request over HTTP or DO-RPC.
    pub(super) fn ask_once(&mut self, client: usize, asked: Vec<(Request, String)>) {
        let (grant, transport) = (self.grant(), self.clients[client].tongue.transport);
        self.begin_event();
        let Some(end) = self.connect(client, transport, Family::Rpc, grant) else {
            return self.settle_event();
        };
        self.clients[client].end = Some(end);
        let (requests, texts): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        self.frame(end, &format!("[{}]", texts.join(",")), requests);
    }

    fn act_over_http(&mut self, client: usize) {
        let asked = match self.random.below(10) {
            0..5 => vec![self.next_pull(client, false, false)],
            5..8 => vec![self.push_of(client, Kinds::Next)],
            8 => vec![
                self.push_of(client, Kinds::Next),
                self.pull_from_anywhere(client, false),
                self.next_pull(client, false, false),
            ],
            _ => vec![self.pinged(client)],
        };
        self.ask_once(client, asked);
    }

    fn pinged(&mut self, client: usize) -> (Request, String) {
        let request = self.request(client, Asked::Ping);
        let text = self.clients[client].tongue.ping(&request.id);
        (request, text)
    }

    fn act_as_object(&mut self, client: usize) {
        let is_called = self.clients[client].own.is_some();
        let pulls = if is_called { 1 } else { 20 };
        match self
            .random
            .weighted(&[(pulls, 0), (8, 1), (1, 2), (1, 3), (1, 4)])
        {
            0 => self.pull_as_object(client),
            1 => {
                let asked = vec![self.push_of(client, Kinds::Next)];
                self.ask_once(client, asked);
            }
            2 => {
                let asked = vec![self.next_pull(client, false, false)];
                self.ask_once(client, asked);
            }
            3 => {
                self.unsubscribe(client);
            }
            _ => {
                let asked = vec![self.pinged(client)];
                self.ask_once(client, asked);
            }
        }
    }

    /// Wants to be called no more: at all, for the pull it has, or for one that it has no more.
    fn unsubscribe(&mut self, client: usize) {
        let one = &mut self.clients[client];
        let own = one.own.as_ref().map(|own| own.pull.clone());
        let pull = match self.random.below(3) {
            0 => None,
            1 => own.clone(),
            _ => one.former.clone(),
        };
        let request = self.request(client, Asked::Unsubscribe { pull: pull.clone() });
        let tongue = self.clients[client].tongue;
        let text = tongue.unsubscribe(&request.id, &format!("o{client}"), pull.as_deref());
        if pull.is_none() || pull == own {
            self.clients[client].own = None;
            self.followers.replace(client);
        }
        self.ask_once(client, vec![(request, text)]);
    }

    pub(super) fn pull_as_object(&mut self, client: usize) {
        let asked = vec![self.next_pull(client, false, true)];
        let one = &mut self.clients[client];
        if let Some(own) = one.own.take() {
            one.former = Some(own.pull);
        }
        (one.own, one.is_doubtful) = (None, false);
        self.followers.replace(client);
        self.ask_once(client, asked);
    }

    pub(super) fn poll(&mut self, client: usize) {
        let asked = vec![self.next_pull(client, false, false)];
        self.ask_once(client, asked);
    }

    /// Reads on in an answer, or gives it up.
    fn act_on_answer(&mut self, client: usize, end: usize) {
        if !self.ends[end].is_open {
            // It was cut off, or refused for now.
            self.clients[client].end = None;
            self.ends[end].inbox.clear();
            return;
        }
        if self.random.chance(5) {
            tell!(self, "client {client} gives {end} up");
            self.seen.count(Kind::AbandonedAnswers);
            self.begin_event();
            self.leave(end, false);
            self.clients[client].end = None;
            return;
        }
        if !self.clients[client].is_stalled || self.random.chance(20) {
            self.begin_event();
            self.read_on(end);
        }
    }

    /// The reader of a stream has taken what there was.
    pub(super) fn read_on(&mut self, end: usize) {
        // The platform asks for more once it has got what it asked for before.
        let is_answered = |connection: &ConnectionId| {
            let object = self.object.as_ref();
            let progress = object.map(|object| object.backend.progress(*connection));
            self.ends[end].is_streaming && progress != Some(Progress::Waiting)
        };
        let connection = self.ends[end].connection;
        if self.ends[end].is_made && connection.is_some() {
            tell!(self, "{end} is read to its end");
            self.leave(end, true);
            self.serve();
        } else if let Some(connection) = connection.filter(is_answered) {
            tell!(self, "{end} is read on");
            // What it has taken is with the client.
            for incoming in &mut self.ends[end].inbox {
                if let Incoming::Frame { bytes, .. } = incoming {
                    *bytes = 0;
                }
            }
            let _ = self.event(Cause::End(end), |backend, turn| {
                backend.go_on(connection, turn);
            });
            self.serve();
        }
        self.settle_event();
    }

    /// An answer has been read to its end.
    pub(super) fn answered(&mut self, end: usize) {
        let one = &self.ends[end];
        let client = one.client;
        if one.is_socket() || self.clients[client].end != Some(end) {
            return;
        }
        let is_whole = |incoming: &Incoming| matches!(incoming, Incoming::Over { is_whole: true });
        let is_whole = one.inbox.back().is_some_and(is_whole);
        let calls = one.pulls().any(|(_, pull)| pull.calls);
        let is_stale = one.is_stale;
        self.clients[client].end = None;
        let inbox = std::mem::take(&mut self.ends[end].inbox);
        if !is_whole || is_stale {
            return;
        }
        for incoming in inbox {
            if let Incoming::Frame { heard, .. } = incoming {
                let is_done = matches!(heard, Heard::PullDone { .. });
                self.hear_answer(client, end, &heard);
                if calls && is_done {
                    self.note_pull(client, end);
                }
            }
        }
    }

    fn hear_answer(&mut self, client: usize, end: usize, heard: &Heard) {
        tell!(self, "client {client} reads {}", brief(heard));
        match heard {
            Heard::Page {
                id,
                events,
                backend_id,
                ..
            } => {
                let known = &self.clients[client].backend_id;
                let is_other = known.is_some() && known != backend_id;
                let names_none = self.ends[end]
                    .pulls()
                    .any(|(request, pull)| request.id == *id && pull.backend_id.is_none());
                if is_other && names_none {
                    // An earlier pull of the same request was answered before a reset.
                    tell!(self, "client {client} starts over");
                    self.clients[client].clear();
                }
                if !self.is_ahead(end, id) {
                    self.take(client, events, backend_id.as_deref());
                }
            }
            Heard::PushDone { .. } => self.clients[client].outgoing = None,
            Heard::Failed { id, error } => {
                let is_push = self.ends[end]
                    .request(id)
                    .is_some_and(|one| one.push().is_some());
                let one = &mut self.clients[client];
                one.outgoing = None;
                if error["_tag"] == "BackendIdMismatchError"
                    && (!is_push || one.backend_id.is_some())
                {
                    tell!(self, "client {client} starts over");
                    self.clients[client].clear();
                }
            }
            _ => {}
        }
    }

    /// A client object takes note of its pull, some time after it has read the answer.
    fn note_pull(&mut self, client: usize, end: usize) {
        let (request, _) = self.ends[end].pulls().next().unwrap();
        let pull = as_text(&request.id);
        let noted_ms = self.now_ms + self.random.below(CALL_SETTLE_MS);
        self.clients[client].own = Some(Own {
            pull,
            noted_ms,
            told: self.clients[client].last,
            may_hear_again: false,
        });
    }

    /// A client object is called.
    pub(super) fn receive_call(&mut self, client: usize, heard: &Heard) {
        let one = &mut self.clients[client];
        let now_ms = self.now_ms;
        let Some(own) = one.own.as_mut().filter(|own| heard.id() == Some(&own.pull)) else {
            // A call for a pull that it has no more.
            return;
        };
        assert!(
            now_ms >= own.noted_ms,
            "called before client {client} has taken note of its pull"
        );
        match heard {
            Heard::Page {
                events, backend_id, ..
            } => {
                let first = seq_num(&events[0]);
                if first <= own.told {
                    assert!(own.may_hear_again, "client {client} is told {first} again");
                    self.seen.count(Kind::CallsRepeated);
                } else {
                    assert_eq!(
                        first,
                        own.told + 1,
                        "client {client} is not told everything"
                    );
                }
                let last = events.last().map_or(0, seq_num);
                if last > own.told {
                    // What it had heard is over.
                    (own.told, own.may_hear_again) = (last, false);
                }
                let backend_id = backend_id.clone();
                self.take(client, events, backend_id.as_deref());
            }
            Heard::Failed { .. } => {
                tell!(self, "client {client} starts over");
                one.clear();
                if let Some(end) = one.end {
                    self.ends[end].is_stale = true;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn brief(heard: &Heard) -> String {
    match heard {
        Heard::Page { id, events, .. } => {
            let numbers: Vec<i64> = events.iter().map(seq_num).collect();
            let ends = (numbers.first(), numbers.last());
            format!("page of {id}: {ends:?}")
        }
        other => format!("{other:?}"),
    }
}

impl World {
    /// A client does what it should until it has everything.
    pub(super) fn settle_client(&mut self, client: usize, round: usize) {
        self.clients[client].is_stalled = false;
        match self.clients[client].tongue.transport {
            Transport::WebSocket => self.settle_socket(client, round),
            Transport::Http => self.settle_poll(client),
            Transport::DoRpc => self.settle_object(client),
        }
    }

    fn settle_socket(&mut self, client: usize, round: usize) {
        // Silence is noticed after a while, when the new socket is old enough to be asked about.
        if round == 12 {
            self.notice_silence(client);
        }
        while self.read(client) {}
        let one = &self.clients[client];
        match one.end {
            None => self.open_socket(client),
            Some(end) if !self.ends[end].is_open => {}
            Some(end) if one.believes.is_some() => {
                if round > 30 {
                    // Its old connection had been found to be over before it could be asked about it.
                    self.clients[client].believes = None;
                    self.close_socket(client, end);
                }
            }
            Some(end) if one.pull.is_none() => self.pull_live(client, end),
            Some(_) => {}
        }
    }

    fn settle_poll(&mut self, client: usize) {
        match self.clients[client].end {
            Some(end) if !self.ends[end].is_open => self.clients[client].end = None,
            None if self.clients[client].last < self.log.head()
                || self.knows_another_lifetime(client) =>
            {
                self.poll(client);
            }
            _ => {}
        }
    }

    fn settle_object(&mut self, client: usize) {
        match self.clients[client].end {
            Some(end) if !self.ends[end].is_open => self.clients[client].end = None,
            Some(_) => {}
            None => {
                let is_called = self.clients[client]
                    .waits_for_calls()
                    .is_some_and(|pull| self.followers.is_subscribed(client, pull));
                if !is_called {
                    self.pull_as_object(client);
                }
            }
        }
    }

    pub(super) fn knows_another_lifetime(&self, client: usize) -> bool {
        let known = self.clients[client].backend_id.as_ref();
        known.is_some_and(|id| *id != self.log.backend_id)
    }

    /// Whether nobody waits for a hook any more.
    pub(super) fn is_for_nobody(&self, is_about: About) -> bool {
        let (About::Request { end, index } | About::Stored { end, index }) = is_about else {
            return false;
        };
        !self.ends[end].is_open || self.ends[end].requests[index].is_interrupted
    }
}
