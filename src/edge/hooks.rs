//! Runs an app's hooks, and feeds what they say back: what is asked when, and what comes of it, is the
//! backend's.

use std::rc::Rc;
use std::task::Poll;

use super::poll::{hook, poll_hook_once, spawn};
use super::shared::Shared;
use super::sql::JsText;
use crate::backend::{Ask, CommittedPage, Hook, read_events};
use crate::hooks::{Committed, Context, HookError, Hooks, Page, Pull, Push};
use crate::store::sql::Text as _;
use crate::wire::{self, Inbound};

/// What a hook says.
pub(super) type Verdict = Result<(), HookError>;

impl<H: Hooks> Shared<H> {
    /// Runs a hook: its verdict if it returns at once, else the backend is told when it does.
    pub(super) fn ask(self: &Rc<Self>, ask: Ask<JsText>) -> Option<Verdict> {
        let (shared, id) = (self.clone(), ask.id);
        let mut work = Box::pin(run(self.clone(), ask));
        match poll_hook_once(work.as_mut(), self.has_unsent()) {
            Poll::Ready(verdict) => Some(verdict),
            Poll::Pending => {
                spawn(async move {
                    let verdict = hook(work).await;
                    // Where the object cannot be had any more, nobody waits either.
                    let _ = shared.run(|backend, turn| backend.on_verdict(id, verdict, turn));
                    let _ = shared.with(None, |awake| awake.wake_answers());
                });
                None
            }
        }
    }
}

async fn run<H: Hooks>(shared: Rc<Shared<H>>, ask: Ask<JsText>) -> Verdict {
    let store_id = shared.store_id();
    let transport = ask.peer.transport;
    let context = Context {
        store_id: &store_id,
        claims: ask.peer.grant.claims.as_deref(),
        payload: ask.peer.grant.payload.as_deref(),
        headers: &ask.peer.grant.headers,
        transport: Some(transport),
        generation: Some(ask.generation),
    };
    let hooks = shared.hooks();
    match ask.hook {
        Hook::Push { message } => {
            let inbound = wire::decode(ask.generation.family(), transport, &message);
            let Inbound::Push {
                events, backend_id, ..
            } = inbound
            else {
                return Ok(());
            };
            let push = Push {
                batch: &events,
                backend_id: backend_id.as_deref(),
            };
            hooks.on_push(&push, &context).await
        }
        Hook::PushRes { refusal } => {
            let decided = refusal.as_deref().map_or(Ok(()), Err);
            hooks.on_push_res(decided, &context).await
        }
        Hook::Pull {
            after,
            backend_id,
            live,
        } => {
            let backend_id = backend_id.as_deref();
            let pull = Pull {
                after,
                backend_id,
                live,
            };
            hooks.on_pull(&pull, &context).await
        }
        Hook::PullRes { frame } => {
            let read = || frame.read();
            hooks.on_pull_res(&Page::new(&read), &context).await
        }
    }
}

/// Tells the app of events that are stored.
pub(super) async fn tell<H: Hooks>(
    shared: Rc<Shared<H>>,
    page: CommittedPage<JsText>,
) -> Result<(), HookError> {
    let array = format!("[{}]", page.items.read());
    let events = read_events(&array)
        .map_err(|error| HookError::new(format!("the log cannot be read: {error}")))?;
    let committed = Committed {
        events: &events,
        backend_id: page.backend_id.as_str(),
    };
    let store_id = shared.store_id();
    let context = Context {
        store_id: &store_id,
        claims: None,
        payload: None,
        headers: &[],
        transport: None,
        generation: None,
    };
    shared.hooks().on_committed(&committed, &context).await
}
