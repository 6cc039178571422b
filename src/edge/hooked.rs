//! A message on its way through the hooks: it is checked, shown to its hook, decided in one turn, and
//! what comes of it is shown again.
//!
//! Owns when a hook runs and what its refusal does. Nothing is borrowed while a hook waits, so other
//! messages are handled meanwhile, also of the same connection; what has changed when it returns is
//! looked at again. A hook that returns at once changes no order in which anything is sent.

use std::cell::{Cell, RefCell};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use super::js;
use super::object::{Inner, Opened};
use super::run::{poll_once, start};
use super::sql::JsText;
use crate::backend::{ConnectionId, Content, Duration, Frame, Output, Peer, Reason, SyncBackend};
use crate::config::LogLevel;
use crate::hooks::{Context, HookError, Hooks, Page, Pull, Push};
use crate::store::sql::Text as _;
use crate::wire::{Generation, Inbound, RequestId, Requester, Transport};

type Outputs = Vec<Output<JsText>>;

/// What is left to do once hooks have returned. Behind a pointer, so that nothing of it is part of a
/// Worker without hooks.
pub(super) type Rest<'a> = Option<Pin<Box<dyn Future<Output = ()> + 'a>>>;

/// Handles a frame of a connection.
pub(super) fn serve<'a, H: Hooks>(
    inner: &'a Rc<Inner<H>>,
    from: ConnectionId,
    frame: Frame<'a>,
) -> Rest<'a> {
    if inner.hooks.uses().is_empty() {
        inner.turn(|backend, now_ms, out| backend.on_frame(from, frame, now_ms, out));
        return None;
    }
    Some(Box::pin(serve_hooked(inner, from, frame)))
}

async fn serve_hooked<H: Hooks>(inner: &Rc<Inner<H>>, from: ConnectionId, frame: Frame<'_>) {
    let Some((inbounds, peer)) = inner.with(None, |opened| {
        (
            opened.backend.decode(from, frame),
            opened.backend.peer(from),
        )
    }) else {
        return;
    };
    let Some(client) = peer.map(|peer| Client { id: from, peer }) else {
        return;
    };
    let started_ms = js::now_ms();
    let hooked = Hooked::new(inner);
    for inbound in inbounds {
        hooked.handle(&client, inbound, frame.bytes()).await;
    }
    hooked.remember(&client);
    inner.turn(|backend, now_ms, _| {
        let ms = now_ms.saturating_sub(started_ms);
        backend.stats().observe(Duration::Frame, ms);
    });
}

/// Makes more of the answer to a request, as [`SyncBackend::go_on`] does.
pub(super) fn go_on<H: Hooks>(inner: &Rc<Inner<H>>, connection: ConnectionId) -> Rest<'static> {
    if inner.hooks.uses().is_empty() {
        inner.turn(|backend, _, out| backend.go_on(connection, out));
        return None;
    }
    Some(Box::pin(go_on_hooked(inner.clone(), connection)))
}

async fn go_on_hooked<H: Hooks>(inner: Rc<Inner<H>>, connection: ConnectionId) {
    let hooked = Hooked::new(&inner);
    let client = hooked.client(connection);
    let outputs = hooked.turn(|backend, _, out| backend.go_on(connection, out));
    if let Some(client) = client {
        hooked.send(&client, None, outputs).await;
    }
}

/// Does what the alarm was set for.
pub(super) fn on_alarm<H: Hooks>(inner: &Rc<Inner<H>>) {
    if inner.hooks.uses().is_empty() {
        inner.turn(SyncBackend::on_alarm);
        return;
    }
    let hooked = Hooked::new(inner);
    let outputs = hooked.turn(SyncBackend::on_alarm);
    let news = hooked.news(None, &outputs);
    hooked.apply(outputs);
    start(async move {
        hooked.show(news, &mut Vec::new()).await;
    });
}

/// Requests of which something waits for a hook, so that an interrupt finds them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    requests: RefCell<Vec<(u64, u64, RequestId)>>,
    tickets: Cell<u64>,
}

impl Waiting {
    /// Enters a request of the `life`th connection; its ticket is to be given to [`Waiting::leave`].
    fn enter(&self, life: u64, id: &RequestId) -> u64 {
        let ticket = self.tickets.get() + 1;
        self.tickets.set(ticket);
        self.requests.borrow_mut().push((ticket, life, id.clone()));
        ticket
    }

    /// Whether nobody has interrupted the request meanwhile.
    fn leave(&self, ticket: u64) -> bool {
        let mut requests = self.requests.borrow_mut();
        let before = requests.len();
        requests.retain(|(entered, ..)| *entered != ticket);
        requests.len() < before
    }

    fn interrupt(&self, life: u64, id: &RequestId) {
        let mut requests = self.requests.borrow_mut();
        requests.retain(|(_, of, request)| *of != life || request != id);
    }
}

/// A connection, and who was at its other end when a message came or went.
#[derive(Clone)]
struct Client {
    id: ConnectionId,
    peer: Peer,
}

impl Client {
    fn is_socket(&self) -> bool {
        self.peer.transport == Transport::WebSocket
    }

    /// Whether it is still there: its number may have been taken by another.
    fn is_here(&self, opened: &Opened) -> bool {
        let peer = opened.backend.peer(self.id);
        peer.is_some_and(|peer| peer.life == self.peer.life)
    }
}

/// Something to show to `on_pull_res` that has been sent.
struct News {
    /// Whose page it is, or who pushed.
    client: Client,
    generation: Option<Generation>,
    /// The pull whose page it is.
    pull: Option<Rc<Requester>>,
    frame: JsText,
}

/// The end of a pull, held back until the hook has seen its pages.
struct Ending {
    of: Rc<Requester>,
    output: Output<JsText>,
    ticket: u64,
}

struct Hooked<H: Hooks> {
    inner: Rc<Inner<H>>,
    store_id: Rc<str>,
}

impl<H: Hooks> Hooked<H> {
    fn new(inner: &Rc<Inner<H>>) -> Self {
        let store_id = inner.with(None, |opened| {
            Rc::from(opened.backend.store().store_id().as_str())
        });
        Self {
            inner: inner.clone(),
            store_id: store_id.unwrap_or_else(|| Rc::from("")),
        }
    }

    fn client(&self, id: ConnectionId) -> Option<Client> {
        let peer = self.inner.with(None, |opened| opened.backend.peer(id));
        peer.flatten().map(|peer| Client { id, peer })
    }

    fn context<'a>(&'a self, client: &'a Client, generation: Option<Generation>) -> Context<'a> {
        Context {
            store_id: &self.store_id,
            claims: client.peer.grant.claims.as_deref(),
            headers: &client.peer.grant.headers,
            transport: Some(client.peer.transport),
            generation,
        }
    }

    /// Lets the backend decide, and applies nothing yet. Nothing may wait before that happens.
    fn turn(
        &self,
        decide: impl FnOnce(&mut SyncBackend<super::sql::ObjectSql>, u64, &mut Outputs),
    ) -> Outputs {
        let mut outputs = Vec::new();
        self.inner.with(None, |opened| {
            decide(&mut opened.backend, js::now_ms(), &mut outputs);
        });
        outputs
    }

    fn apply(&self, mut outputs: Outputs) {
        self.inner
            .with(None, |opened| opened.apply(&self.inner, &mut outputs));
    }

    /// Applies what is for `client`, unless it has left.
    fn apply_for(&self, client: &Client, mut outputs: Outputs) {
        self.inner.with(None, |opened| {
            if client.is_here(opened) {
                opened.apply(&self.inner, &mut outputs);
            }
        });
    }

    fn remember(&self, client: &Client) {
        self.inner.with(None, |opened| {
            if client.is_here(opened) {
                let mut outputs = Vec::new();
                opened.backend.remember(client.id, &mut outputs);
                opened.apply(&self.inner, &mut outputs);
            }
        });
    }

    async fn handle(&self, client: &Client, inbound: Inbound<'_>, frame_bytes: usize) {
        let (from, life) = (client.id, client.peer.life);
        let mut is_allowed = false;
        let refusal = self.turn(|backend, now_ms, out| {
            is_allowed = backend.check(from, &inbound, frame_bytes, now_ms, out);
        });
        self.apply_for(client, refusal);
        if !is_allowed {
            return;
        }
        let requester = match &inbound {
            Inbound::Push { requester, .. } | Inbound::Pull { requester, .. } => {
                Some(requester.clone())
            }
            Inbound::Interrupt { requester } => {
                self.inner.waiting.interrupt(life, &requester.id);
                None
            }
            _ => None,
        };
        if let Some(requester) = &requester {
            let ticket = self.inner.waiting.enter(life, &requester.id);
            let verdict = self.before(client, &inbound, requester).await;
            if !self.inner.waiting.leave(ticket) {
                return;
            }
            if let Err(error) = verdict {
                return self.refuse(client, requester, &error);
            }
        }
        let is_push = matches!(inbound, Inbound::Push { .. });
        let mut outputs = Vec::new();
        self.inner.with(None, |opened| {
            if client.is_here(opened) {
                let (backend, now_ms) = (&mut opened.backend, js::now_ms());
                // While the hook waited, its token may have expired.
                let is_current = requester.as_ref().is_none_or(|requester| {
                    backend.check_expiry(from, requester, now_ms, &mut outputs)
                });
                if is_current {
                    backend.on_message(from, inbound, now_ms, &mut outputs);
                }
            }
        });
        let push = requester.as_ref().filter(|_| is_push);
        self.send(client, push, outputs).await;
    }

    async fn before(
        &self,
        client: &Client,
        inbound: &Inbound<'_>,
        requester: &Requester,
    ) -> Result<(), HookError> {
        let (context, uses) = (
            self.context(client, Some(requester.generation)),
            self.inner.hooks.uses(),
        );
        match inbound {
            Inbound::Push {
                events, backend_id, ..
            } if uses.has_on_push() && !events.is_empty() => {
                let push = Push {
                    batch: events,
                    backend_id: backend_id.as_deref(),
                };
                self.inner.hooks.on_push(&push, &context).await
            }
            Inbound::Pull { cursor, live, .. } if uses.has_on_pull() => {
                let backend_id = cursor.as_ref().and_then(|one| one.backend_id.as_deref());
                let pull = Pull {
                    after: cursor.as_ref().map_or(0, |cursor| cursor.after.get()),
                    backend_id,
                    live: *live,
                };
                self.inner.hooks.on_pull(&pull, &context).await
            }
            _ => Ok(()),
        }
    }

    /// Sends what a turn made of a message of `client`, the push `push` if it was one. All but what has
    /// to wait for a hook leaves in the turn itself.
    async fn send(&self, client: &Client, push: Option<&Requester>, outputs: Outputs) {
        let news = self.news(push.map(|push| (client, push)), &outputs);
        if !client.is_socket()
            && news
                .iter()
                .any(|one| one.pull.is_some() && one.client.id == client.id)
        {
            return self.answer(client, outputs).await;
        }
        let (mut outputs, mut endings) = self.without_endings(client, outputs);
        let is_acknowledgement = |output: &Output<JsText>| matches!(output, Output::Send { to, content: Content::Acknowledgement, .. } if *to == client.id);
        let acknowledgement = outputs.iter().position(is_acknowledgement);
        match (acknowledgement, push) {
            (Some(index), Some(push)) => {
                let rest = outputs.split_off(index + 1);
                let acknowledgement = outputs.split_off(index);
                self.apply(outputs);
                self.acknowledge(client, push, acknowledgement, rest).await;
            }
            _ => self.apply(outputs),
        }
        self.remember(client);
        self.show(news, &mut endings).await;
        for ending in endings {
            if self.inner.waiting.leave(ending.ticket) {
                self.apply_for(client, vec![ending.output]);
            }
        }
    }

    /// Shows a stored push to its hook, and acknowledges it before the `rest` of its turn is sent, or as
    /// soon as the hook has returned.
    async fn acknowledge(
        &self,
        client: &Client,
        push: &Requester,
        acknowledgement: Outputs,
        rest: Outputs,
    ) {
        let context = self.context(client, Some(push.generation));
        let ticket = self.inner.waiting.enter(client.peer.life, &push.id);
        let uses = self.inner.hooks.uses();
        let mut hook = pin!(async {
            if !uses.has_on_push_res() {
                return Ok(());
            }
            self.inner.hooks.on_push_res(&context).await
        });
        let polled = poll_once(hook.as_mut());
        let answer = |verdict: Result<(), HookError>| {
            if !self.inner.waiting.leave(ticket) {
                return;
            }
            match verdict {
                Ok(()) => self.apply_for(client, acknowledgement),
                Err(error) => self.refuse(client, push, &error),
            }
        };
        match polled {
            Poll::Ready(verdict) => {
                answer(verdict);
                self.apply(rest);
                super::committed::deliver(&self.inner);
            }
            Poll::Pending => {
                self.apply(rest);
                super::committed::deliver(&self.inner);
                answer(hook.await);
            }
        }
    }

    /// Answers one request over HTTP or DO-RPC, pull after pull: one that the hook does not let through
    /// leaves its failure alone, as far as its pages have not been handed over.
    async fn answer(&self, client: &Client, outputs: Outputs) {
        let is_own =
            |output: &Output<JsText>| matches!(output, Output::Send { to, .. } if *to == client.id);
        let (own, others): (Outputs, Outputs) = outputs.into_iter().partition(is_own);
        self.apply(others);
        let mut pull: Option<Rc<Requester>> = None;
        let (mut pages, mut is_refused) = (Vec::new(), false);
        for output in own {
            if let Output::Send {
                content: Content::Page { of },
                frame,
                ..
            } = &output
            {
                if pull.as_ref() != Some(of) {
                    self.apply_for(client, std::mem::take(&mut pages));
                    (pull, is_refused) = (Some(of.clone()), false);
                }
                if !is_refused
                    && let Err(error) = self.after(client, Some(of.generation), frame).await
                {
                    pages.clear();
                    is_refused = true;
                    self.refuse(client, of, &error);
                }
            }
            // What follows the last page of a pull is its end.
            if !is_refused {
                pages.push(output);
            }
        }
        self.apply_for(client, pages);
    }

    async fn after(
        &self,
        client: &Client,
        generation: Option<Generation>,
        frame: &JsText,
    ) -> Result<(), HookError> {
        if !self.inner.hooks.uses().has_on_pull_res() {
            return Ok(());
        }
        let read = || frame.read();
        let context = self.context(client, generation);
        let page = Page::new(&read);
        self.inner.hooks.on_pull_res(&page, &context).await
    }

    /// Shows what has been sent. A page whose hook fails ends its pull, unless that has ended: then
    /// there is none of it among the `endings` either.
    async fn show(&self, news: Vec<News>, endings: &mut Vec<Ending>) {
        for one in news {
            let Err(error) = self.after(&one.client, one.generation, &one.frame).await else {
                continue;
            };
            let Some(pull) = &one.pull else {
                self.log(&error);
                continue;
            };
            let ending = endings.iter().position(|ending| ending.of == *pull);
            let ending = ending.map(|index| endings.swap_remove(index));
            let is_held = ending.is_some_and(|ending| self.inner.waiting.leave(ending.ticket));
            let is_under_way = self.inner.with(None, |opened| {
                // A 0.3 pull has no end, and an error is taken note of at any time.
                one.client.is_here(opened)
                    && (pull.generation == Generation::V03
                        || opened.backend.has_pull(one.client.id, &pull.id))
            });
            if is_held || is_under_way == Some(true) {
                self.refuse(&one.client, pull, &error);
            } else {
                self.log(&error);
                self.count(&error);
            }
        }
    }

    /// What is to be shown of a turn, which may have been a push.
    fn news(&self, push: Option<(&Client, &Requester)>, outputs: &Outputs) -> Vec<News> {
        let news = outputs.iter().filter_map(|output| {
            let Output::Send { to, content, frame } = output else {
                return None;
            };
            let (client, generation, pull) = match (content, push) {
                (Content::Page { of }, _) => (self.client(*to)?, of.generation, Some(of.clone())),
                (Content::Broadcast { is_first: true }, Some((client, push))) => {
                    (client.clone(), push.generation, None)
                }
                _ => return None,
            };
            Some(News {
                client,
                generation: Some(generation),
                pull,
                frame: frame.clone(),
            })
        });
        news.collect()
    }

    fn refuse(&self, client: &Client, requester: &Requester, error: &HookError) {
        self.log(error);
        self.inner.with(None, |opened| {
            if client.is_here(opened) {
                let (mut outputs, message) = (Vec::new(), error.to_string());
                let backend = &mut opened.backend;
                backend.refuse_by_hook(client.id, requester, &message, js::now_ms(), &mut outputs);
                backend.remember(client.id, &mut outputs);
                opened.apply(&self.inner, &mut outputs);
            }
        });
    }

    /// Counts an error that refuses nothing.
    fn count(&self, error: &HookError) {
        self.inner.with(None, |opened| {
            let stats = opened.backend.stats();
            stats.refuse(Reason::Hook, &error.to_string(), js::now_ms());
        });
    }

    fn log(&self, error: &HookError) {
        self.inner.with(None, |opened| {
            opened
                .log
                .write(LogLevel::Warn, "hook-error", &error.to_string());
        });
    }

    /// Takes the ends of pulls out of what a turn sends to a socket: each follows the last page of its pull.
    fn without_endings(&self, client: &Client, outputs: Outputs) -> (Outputs, Vec<Ending>) {
        let (mut rest, mut endings) = (Vec::with_capacity(outputs.len()), Vec::new());
        let mut pull: Option<Rc<Requester>> = None;
        for output in outputs {
            let (page, is_answer) = match &output {
                Output::Send { to, content, .. } if *to == client.id => match content {
                    Content::Page { of } => (Some(of.clone()), false),
                    content => (None, *content == Content::Answer),
                },
                _ => (None, false),
            };
            match (pull.take(), is_answer) {
                (Some(of), true) => {
                    let ticket = self.inner.waiting.enter(client.peer.life, &of.id);
                    endings.push(Ending { of, output, ticket });
                }
                _ => rest.push(output),
            }
            pull = page;
        }
        (rest, endings)
    }
}
