//! What waits for hooks, and what becomes of it when they return.
//!
//! Owns the order around hooks. A hook is asked by an output of a turn ([`Ask`]); its verdict is the input of
//! another ([`SyncBackend::on_verdict`]), in which everything that may have changed meanwhile is looked at
//! again (INV-15). What waits belongs to its connection: whoever leaves waits for nothing.
//!
//! | asked | before | a refusal |
//! |---|---|---|
//! | `on_push`, `on_pull` | the message is decided, and those after it in its frame | answers it |
//! | `on_push_res` | the acknowledgement, the events being stored | answers instead |
//! | `on_push_res` | nothing, the push being refused | is logged |
//! | `on_pull_res` | on a socket: the end of a pull that is not live; elsewhere: the page itself | ends the pull |

use std::collections::VecDeque;
use std::rc::Rc;

use super::check::Checked;
use super::connection::Connection;
use super::refusal::Refusal;
use super::report::Report;
use super::stats::Duration;
use super::{ConnectionId, Output, Peer, SyncBackend, Turn};
use crate::event::BackendId;
use crate::hooks::HookError;
use crate::limits::OBJECT_BYTES_MAX;
use crate::store::sql::Sql;
use crate::wire::{self, Generation, Inbound, RequestId, Requester};

/// Names a hook that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(u64);

/// A hook to be run.
#[derive(Clone, Debug)]
pub struct Ask<T> {
    /// Goes back with its verdict.
    pub id: AskId,
    /// Whose request it is about.
    pub peer: Peer,
    /// The dialect of the request.
    pub generation: Generation,
    /// Which hook, and what it is shown.
    pub hook: Hook<T>,
}

/// Which hook is to be run, and what it is shown.
#[derive(Clone, Debug)]
pub enum Hook<T> {
    /// `on_push`, of this message: see [`wire::decode`].
    Push {
        /// The message with its events.
        message: Rc<str>,
    },
    /// `on_push_res`.
    PushRes {
        /// Why the push is refused, if it is.
        refusal: Option<Rc<str>>,
    },
    /// `on_pull`.
    Pull {
        /// The last event the client has; 0 for none.
        after: u64,
        /// The lifetime of the log that the client knows.
        backend_id: Option<String>,
        /// Whether later events are to follow.
        live: bool,
    },
    /// `on_pull_res`, of this frame.
    PullRes {
        /// The page, or a part of a batch that was pushed.
        frame: T,
    },
}

/// What is left of a frame in the turn that it came in.
struct Left<'a> {
    messages: &'a [&'a str],
    frame_bytes: usize,
    since_ms: u64,
}

impl Left<'_> {
    /// The same for a later turn: each message has its own text, since the frame will be gone.
    fn keep(&self) -> Messages {
        let messages = self.messages.iter();
        Messages {
            left: messages.map(|message| Rc::from(*message)).collect(),
            frame_bytes: self.frame_bytes,
            since_ms: self.since_ms,
        }
    }
}

/// What is left of a frame, the message that waits and those after it.
#[derive(Debug)]
struct Messages {
    left: Vec<Rc<str>>,
    frame_bytes: usize,
    /// When the frame came.
    since_ms: u64,
}

#[derive(Debug)]
enum Waits<T> {
    /// The first of `messages` waits to be decided.
    Message {
        from: ConnectionId,
        requester: Requester,
        is_interrupted: bool,
        messages: Messages,
        /// When it goes on, in milliseconds since the epoch; `None` when a hook has it.
        until_ms: Option<u64>,
    },
    /// A stored push waits to be acknowledged.
    Acknowledgement {
        to: ConnectionId,
        requester: Requester,
        /// The lifetime in which it was stored.
        backend_id: BackendId,
    },
    /// Frames are shown one after the other; the first is being looked at.
    Frames(VecDeque<Shown<T>>),
}

/// A frame that is shown to `on_pull_res`.
#[derive(Debug)]
pub(super) struct Shown<T> {
    pub(super) to: ConnectionId,
    pub(super) peer: Peer,
    pub(super) generation: Generation,
    /// The pull whose page it is; `None` for a broadcast.
    pub(super) pull: Option<Rc<Requester>>,
    pub(super) frame: T,
    /// What is sent once the hook has let it pass.
    pub(super) then: Vec<T>,
    /// Whether the end of its pull is among that.
    pub(super) ends: bool,
}

/// Everything that waits for hooks.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    entries: Vec<(AskId, Waits<T>)>,
    asked: u64,
    /// What this turn has to show.
    shown: VecDeque<Shown<T>>,
}

impl<T> Waiting<T> {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            asked: 0,
            shown: VecDeque::new(),
        }
    }

    fn next_id(&mut self) -> AskId {
        self.asked += 1;
        AskId(self.asked)
    }

    fn enter(&mut self, waits: Waits<T>) -> AskId {
        let id = self.next_id();
        self.entries.push((id, waits));
        id
    }

    fn leave(&mut self, id: AskId) -> Option<Waits<T>> {
        let index = self
            .entries
            .iter()
            .position(|(entered, _)| *entered == id)?;
        Some(self.entries.swap_remove(index).1)
    }

    /// Adds a frame to what this turn shows.
    pub(super) fn show(&mut self, shown: Shown<T>) {
        self.shown.push_back(shown);
    }

    /// The last page of `pull` that its hook has not let pass yet: what comes after it waits with it.
    pub(super) fn last_shown(
        &mut self,
        to: ConnectionId,
        pull: &Rc<Requester>,
    ) -> Option<&mut Shown<T>> {
        let entries = self.entries.iter_mut();
        let earlier = entries.filter_map(|(_, waits)| match waits {
            Waits::Frames(frames) => Some(frames),
            Waits::Message { .. } | Waits::Acknowledgement { .. } => None,
        });
        let mut shown = earlier.flatten().chain(&mut self.shown).rev();
        shown.find(|one| one.to == to && one.pull.as_ref() == Some(pull))
    }

    /// Sends nothing more of what is held of a connection; the pulls whose pages that were.
    pub(super) fn end_held(&mut self, connection: ConnectionId) -> Vec<Rc<Requester>> {
        let mut ended = Vec::new();
        for (_, waits) in &mut self.entries {
            let Waits::Frames(frames) = waits else {
                continue;
            };
            for one in frames.iter_mut().filter(|one| one.to == connection) {
                if std::mem::take(&mut one.then).is_empty() {
                    continue;
                }
                ended.extend(one.pull.clone().filter(|pull| !ended.contains(pull)));
            }
        }
        ended
    }

    /// Whether something of a connection waits.
    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.entries.iter().any(|(_, waits)| match waits {
            Waits::Message { from: of, .. } | Waits::Acknowledgement { to: of, .. } => {
                *of == connection
            }
            Waits::Frames(frames) => frames
                .iter()
                .any(|one| one.to == connection && !one.then.is_empty()),
        })
    }

    /// Forgets what waits of a connection. Frames that have left are shown nonetheless.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        if self.entries.is_empty() {
            return;
        }
        self.entries.retain_mut(|(_, waits)| match waits {
            Waits::Message { from: of, .. } | Waits::Acknowledgement { to: of, .. } => {
                *of != connection
            }
            Waits::Frames(frames) => {
                for one in frames.iter_mut().filter(|one| one.to == connection) {
                    one.then.clear();
                }
                true
            }
        });
    }

    /// A client wants no more answers to a request. Its message is not decided; what is stored stays, and is
    /// acknowledged to nobody.
    pub(super) fn interrupt(&mut self, connection: ConnectionId, id: &RequestId) {
        self.entries.retain_mut(|(_, waits)| match waits {
            Waits::Message {
                from,
                requester,
                is_interrupted,
                ..
            } => {
                *is_interrupted |= *from == connection && requester.id == *id;
                true
            }
            Waits::Acknowledgement { to, requester, .. } => {
                *to != connection || requester.id != *id
            }
            Waits::Frames(frames) => {
                let is_meant = |one: &&mut Shown<T>| {
                    one.to == connection && one.pull.as_ref().is_some_and(|pull| pull.id == *id)
                };
                for one in frames.iter_mut().filter(is_meant) {
                    one.then.clear();
                }
                true
            }
        });
    }

    /// One that goes on now.
    fn due(&self, now_ms: u64) -> Option<AskId> {
        let mut entries = self.entries.iter();
        let due = entries.find(|(_, waits)| {
            matches!(waits, Waits::Message { until_ms: Some(at_ms), .. } if *at_ms <= now_ms)
        });
        due.map(|(id, _)| *id)
    }

    /// When the next one goes on.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let entries = self.entries.iter();
        let times = entries.filter_map(|(_, waits)| match waits {
            Waits::Message { until_ms, .. } => *until_ms,
            Waits::Acknowledgement { .. } | Waits::Frames(_) => None,
        });
        times.min()
    }

    /// Bytes of frames that wait to be decided.
    fn bytes(&self) -> usize {
        let entries = self.entries.iter();
        let bytes = entries.map(|(_, waits)| match waits {
            Waits::Message { messages, .. } => messages.frame_bytes,
            Waits::Acknowledgement { .. } | Waits::Frames(_) => 0,
        });
        bytes.sum()
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Takes the messages of a frame, which came at `since_ms`, one after the other, up to one that has to
    /// wait; whether there was none.
    pub(super) fn on_messages(
        &mut self,
        from: ConnectionId,
        messages: &[&str],
        frame_bytes: usize,
        since_ms: u64,
        turn: &mut Turn<S::Text>,
    ) -> bool {
        for (index, message) in messages.iter().enumerate() {
            let Some(inbound) = self.decode(from, message) else {
                return true;
            };
            let until_ms = match self.check(from, &inbound, frame_bytes, turn) {
                Checked::No => continue,
                Checked::Yes => None,
                Checked::Later(at_ms) => Some(at_ms),
            };
            let left = Left {
                messages: messages.get(index..).unwrap_or_default(),
                frame_bytes,
                since_ms,
            };
            if self.on_checked(from, inbound, until_ms, &left, turn) {
                return false;
            }
        }
        true
    }

    /// Decides a message that may be asked for, the first that is left of its frame; or has it wait, and those
    /// after it with it. Whether it waits.
    fn on_checked(
        &mut self,
        from: ConnectionId,
        inbound: Inbound<'_>,
        until_ms: Option<u64>,
        left: &Left<'_>,
        turn: &mut Turn<S::Text>,
    ) -> bool {
        let hook = match until_ms {
            Some(_) => None,
            None => self.hook_before(from, &inbound, left.messages),
        };
        let (Inbound::Push { requester, .. } | Inbound::Pull { requester, .. }) = &inbound else {
            self.on_message(from, inbound, turn);
            return false;
        };
        if until_ms.is_none() && hook.is_none() {
            self.on_message(from, inbound, turn);
            return false;
        }
        let requester = requester.clone();
        if self.waiting.bytes().saturating_add(left.frame_bytes) > OBJECT_BYTES_MAX {
            self.refuse(from, &requester, Refusal::Busy, turn);
            return false;
        }
        let (peer, generation) = (self.peer(from), requester.generation);
        let id = self.waiting.enter(Waits::Message {
            from,
            requester,
            is_interrupted: false,
            messages: left.keep(),
            until_ms,
        });
        if let (Some(hook), Some(peer)) = (hook, peer) {
            turn.out.push(Output::Ask(Ask {
                id,
                peer,
                generation,
                hook,
            }));
        }
        true
    }

    /// Goes on with pushes whose time has come.
    pub(super) fn resume_delayed(&mut self, turn: &mut Turn<S::Text>) {
        while let Some(id) = self.waiting.due(turn.now_ms) {
            let Some(Waits::Message {
                from,
                requester,
                is_interrupted,
                messages,
                ..
            }) = self.waiting.leave(id)
            else {
                return;
            };
            let verdict = if is_interrupted { None } else { Some(Ok(())) };
            self.go_on_with(from, &requester, &messages, verdict, true, turn);
        }
    }

    fn decode<'a>(&self, from: ConnectionId, message: &'a str) -> Option<Inbound<'a>> {
        let (family, transport) = self.connections.get(from)?.speaks();
        Some(wire::decode(family, transport, message))
    }

    /// The hook that has to see a message, the first of those left, before it is decided, if there is one.
    fn hook_before(
        &self,
        from: ConnectionId,
        inbound: &Inbound<'_>,
        messages: &[&str],
    ) -> Option<Hook<S::Text>> {
        let is_inspector = || {
            let connection = self.connections.get(from);
            connection.is_some_and(Connection::is_inspector)
        };
        match inbound {
            Inbound::Push { events, .. } if self.rules.uses.has_on_push() && !events.is_empty() => {
                let message = messages.first().map(|message| Rc::from(*message));
                message.map(|message| Hook::Push { message })
            }
            Inbound::Pull { cursor, live, .. }
                if self.rules.uses.has_on_pull() && !is_inspector() =>
            {
                let cursor = cursor.as_ref();
                Some(Hook::Pull {
                    after: cursor.map_or(0, |cursor| cursor.after.get()),
                    backend_id: cursor.and_then(|one| one.backend_id.as_deref().map(str::to_owned)),
                    live: *live,
                })
            }
            _ => None,
        }
    }

    /// Acknowledges a stored push, when its hook has seen it if there is one.
    pub(super) fn acknowledge_push(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        turn: &mut Turn<S::Text>,
    ) {
        if !self.rules.uses.has_on_push_res() {
            return self.send(to, &wire::push_ack(requester), turn);
        }
        let Some(peer) = self.peer(to) else {
            return;
        };
        let id = self.waiting.enter(Waits::Acknowledgement {
            to,
            requester: requester.clone(),
            backend_id: self.store.backend_id().clone(),
        });
        turn.out.push(Output::Ask(Ask {
            id,
            peer,
            generation: requester.generation,
            hook: Hook::PushRes { refusal: None },
        }));
    }

    /// Shows the hook a push that has been refused; nothing waits for its verdict.
    pub(super) fn show_refused(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        refusal: &str,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(peer) = self.peer(to) else {
            return;
        };
        let (id, refusal) = (self.waiting.next_id(), Some(Rc::from(refusal)));
        turn.out.push(Output::Ask(Ask {
            id,
            peer,
            generation: requester.generation,
            hook: Hook::PushRes { refusal },
        }));
    }

    /// Asks the hook about what this turn has sent, or is about to.
    pub(super) fn ask_shown(&mut self, turn: &mut Turn<S::Text>) {
        if !self.waiting.shown.is_empty() {
            let frames = std::mem::take(&mut self.waiting.shown);
            self.ask_next_frame(frames, turn);
        }
    }

    fn ask_next_frame(&mut self, frames: VecDeque<Shown<S::Text>>, turn: &mut Turn<S::Text>) {
        let Some(first) = frames.front() else {
            return;
        };
        let (peer, generation) = (first.peer.clone(), first.generation);
        let hook = Hook::PullRes {
            frame: first.frame.clone(),
        };
        let id = self.waiting.enter(Waits::Frames(frames));
        turn.out.push(Output::Ask(Ask {
            id,
            peer,
            generation,
            hook,
        }));
    }

    /// Goes on with what waited for a hook. A verdict on what nobody waits for any more changes nothing.
    pub fn on_verdict(
        &mut self,
        id: AskId,
        verdict: Result<(), HookError>,
        turn: &mut Turn<S::Text>,
    ) {
        let waited = self.waiting.leave(id);
        if let None
        | Some(Waits::Message {
            is_interrupted: true,
            ..
        }) = &waited
            && let Err(error) = &verdict
        {
            // No client is told, but the log is.
            Self::report_hook(error, turn);
        }
        match waited {
            None => {}
            Some(Waits::Message {
                from,
                requester,
                is_interrupted,
                messages,
                ..
            }) => {
                let verdict = if is_interrupted { None } else { Some(verdict) };
                self.go_on_with(from, &requester, &messages, verdict, false, turn);
            }
            Some(Waits::Acknowledgement {
                to,
                requester,
                backend_id,
            }) => self.on_acknowledgement_verdict(to, &requester, &backend_id, verdict, turn),
            Some(Waits::Frames(frames)) => self.on_frame_verdict(frames, verdict, turn),
        }
        self.end_turn(turn);
    }

    /// Goes on with what is left of a frame: its first message, of which no client may want to hear any more, and
    /// those after it. One that was delayed is yet to be shown to its hook.
    fn go_on_with(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        messages: &Messages,
        verdict: Option<Result<(), HookError>>,
        was_delayed: bool,
        turn: &mut Turn<S::Text>,
    ) {
        let (frame_bytes, since_ms) = (messages.frame_bytes, messages.since_ms);
        let left: Vec<&str> = messages.left.iter().map(|message| &**message).collect();
        let (first, rest) = left.split_at(left.len().min(1));
        let mut waits = false;
        match verdict {
            None => {}
            Some(Err(error)) => self.refuse_by_hook(from, requester, error, turn),
            Some(Ok(())) => {
                if self.check_expiry(from, requester, turn)
                    && let Some(message) = first.first()
                    && let Some(inbound) = self.decode(from, message)
                {
                    if was_delayed {
                        let left = Left {
                            messages: &left,
                            frame_bytes,
                            since_ms,
                        };
                        waits = self.on_checked(from, inbound, None, &left, turn);
                    } else {
                        self.on_message(from, inbound, turn);
                    }
                }
            }
        }
        if !waits && self.on_messages(from, rest, frame_bytes, since_ms, turn) {
            let ms = turn.now_ms.saturating_sub(since_ms);
            self.stats.observe(Duration::Frame, ms);
        }
        self.remember(from, turn);
    }

    fn on_acknowledgement_verdict(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        backend_id: &BackendId,
        verdict: Result<(), HookError>,
        turn: &mut Turn<S::Text>,
    ) {
        match verdict {
            Err(error) => self.refuse_by_hook(to, requester, error, turn),
            Ok(()) if backend_id == self.store.backend_id() => {
                self.send(to, &wire::push_ack(requester), turn);
            }
            // The store was reset meanwhile: what was stored is gone.
            Ok(()) => {
                let refusal = Refusal::BackendIdMismatch {
                    expected: self.store.backend_id().clone(),
                    received: backend_id.as_str().to_owned(),
                };
                self.refuse(to, requester, refusal, turn);
            }
        }
    }

    fn on_frame_verdict(
        &mut self,
        mut frames: VecDeque<Shown<S::Text>>,
        verdict: Result<(), HookError>,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(shown) = frames.pop_front() else {
            return;
        };
        match verdict {
            Ok(()) => {
                let to = shown.to;
                let then = shown.then.into_iter();
                turn.out
                    .extend(then.map(|frame| Output::Send { to, frame }));
            }
            Err(error) => self.on_frame_refused(&shown, &mut frames, error, turn),
        }
        self.ask_next_frame(frames, turn);
    }

    /// Ends the pull of a page that its hook does not let pass, unless that has ended.
    fn on_frame_refused(
        &mut self,
        shown: &Shown<S::Text>,
        rest: &mut VecDeque<Shown<S::Text>>,
        error: HookError,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(pull) = &shown.pull else {
            return Self::report_hook(&error, turn);
        };
        let is_held = |one: &Shown<S::Text>| {
            one.to == shown.to
                && one.pull.as_ref() == Some(pull)
                && one.ends
                && !one.then.is_empty()
        };
        let connection = self.connections.get(shown.to);
        let is_under_way = connection.is_some_and(|connection| {
            // A 0.3 pull has no end, and an error is taken note of at any time.
            pull.generation == Generation::V03 || connection.find(&pull.id).is_some()
        });
        if is_under_way || is_held(shown) || rest.iter().any(is_held) {
            rest.retain(|one| one.to != shown.to || one.pull.as_ref() != Some(pull));
            let pull = Rc::clone(pull);
            self.refuse_by_hook(shown.to, &pull, error, turn);
            self.remember(shown.to, turn);
        } else {
            Self::report_hook(&error, turn);
            let who = self.who(shown.to);
            self.stats.refuse(&Refusal::Hook(error), who, turn.now_ms);
        }
    }

    /// Refuses a request that a hook does not let through.
    fn refuse_by_hook(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        error: HookError,
        turn: &mut Turn<S::Text>,
    ) {
        Self::report_hook(&error, turn);
        let Some(connection) = self.connections.get_mut(from) else {
            return;
        };
        connection.remove(&requester.id);
        self.forget_held(from, &requester.id, turn);
        self.refuse(from, requester, Refusal::Hook(error), turn);
    }

    pub(super) fn report_hook(error: &HookError, turn: &mut Turn<S::Text>) {
        let message = error.to_string();
        turn.out
            .push(Output::Report(Report::HookFailed { message }));
    }
}
