//! A frame on its way through the hooks: each message is checked, shown to its hook, decided in one turn.
//!
//! Owns when a hook runs and what its refusal does. Nothing is borrowed while a hook waits, so other
//! frames are handled meanwhile, also of the same connection.

use std::rc::Rc;

use super::js;
use super::object::Inner;
use super::sql::JsText;
use crate::backend::{ConnectionId, Content, Frame, Output, Peer};
use crate::config::LogLevel;
use crate::hooks::{Context, HookError, Hooks, Page, Pull, Push};
use crate::store::sql::Text as _;
use crate::wire::{Generation, Inbound, Requester};

/// Handles a frame of a connection.
pub(super) async fn serve<H: Hooks>(inner: &Rc<Inner<H>>, from: ConnectionId, frame: Frame<'_>) {
    if H::DO_NOTHING {
        inner.turn(|backend, now_ms, out| backend.on_frame(from, frame, now_ms, out));
        return;
    }
    let Some((inbounds, store_id)) = inner.with(None, |opened| {
        let store_id = opened.backend.store().store_id().as_str().to_owned();
        (opened.backend.decode(from, frame), store_id)
    }) else {
        return;
    };
    for inbound in inbounds {
        let is_allowed = inner
            .turn(|backend, now_ms, out| backend.check(from, &inbound, frame.bytes(), now_ms, out));
        let peer = inner.with(None, |opened| opened.backend.peer(from));
        if let (Some(true), Some(Some(peer))) = (is_allowed, peer) {
            Hooked {
                inner,
                from,
                peer,
                store_id: &store_id,
            }
            .handle(inbound)
            .await;
        }
    }
    inner.turn(|backend, _, out| backend.remember(from, out));
}

struct Hooked<'a, H: Hooks> {
    inner: &'a Rc<Inner<H>>,
    from: ConnectionId,
    peer: Peer,
    store_id: &'a str,
}

impl<H: Hooks> Hooked<'_, H> {
    fn context(&self, generation: Option<Generation>) -> Context<'_> {
        Context {
            store_id: self.store_id,
            claims: self.peer.grant.claims.as_deref(),
            headers: &self.peer.grant.headers,
            transport: self.peer.transport,
            generation,
            env: &self.inner.env,
        }
    }

    async fn handle(&self, inbound: Inbound<'_>) {
        let hooks = &self.inner.hooks;
        let requester = match &inbound {
            Inbound::Push { requester, .. } | Inbound::Pull { requester, .. } => Some(requester),
            _ => None,
        };
        let requester = requester.cloned();
        let context = self.context(requester.as_ref().map(|requester| requester.generation));
        let verdict = match &inbound {
            Inbound::Push {
                events, backend_id, ..
            } if !events.is_empty() => {
                let push = Push {
                    batch: events,
                    backend_id: backend_id.as_deref(),
                };
                hooks.on_push(&push, &context).await
            }
            Inbound::Pull { cursor, live, .. } => {
                let backend_id = cursor.as_ref().and_then(|one| one.backend_id.as_deref());
                let pull = Pull {
                    after: cursor.as_ref().map_or(0, |cursor| cursor.after.get()),
                    backend_id,
                    live: *live,
                };
                hooks.on_pull(&pull, &context).await
            }
            _ => Ok(()),
        };
        if let (Err(error), Some(requester)) = (verdict, &requester) {
            return self.refuse(requester, &error);
        }
        let outputs = self.inner.with(None, |opened| {
            // Its client may have left while the hook ran, and another taken its number.
            let peer = opened.backend.peer(self.from);
            let mut outputs = Vec::new();
            if peer.is_some_and(|peer| peer.life == self.peer.life) {
                opened
                    .backend
                    .on_message(self.from, inbound, js::now_ms(), &mut outputs);
            }
            outputs
        });
        self.send(outputs.unwrap_or_default(), requester.as_ref(), &context)
            .await;
        super::committed::deliver(self.inner);
    }

    /// Applies what a turn made; the acknowledgement waits for its hook.
    async fn send(
        &self,
        mut outputs: Vec<Output<JsText>>,
        requester: Option<&Requester>,
        context: &Context<'_>,
    ) {
        let hooks = &self.inner.hooks;
        let is_acknowledgement = |output: &Output<JsText>| matches!(output, Output::Send { to, content: Content::Acknowledgement, .. } if *to == self.from);
        let acknowledgement = outputs.iter().position(is_acknowledgement);
        let acknowledgement = acknowledgement.map(|index| outputs.remove(index));
        let news: Vec<(bool, String)> = outputs.iter().filter_map(news).collect();
        self.apply(outputs);
        if let Some(acknowledgement) = acknowledgement {
            match (hooks.on_push_res(context).await, requester) {
                (Err(error), Some(requester)) => self.refuse(requester, &error),
                _ => self.apply(vec![acknowledgement]),
            }
        }
        for (is_page, message) in &news {
            let page = Page { message };
            match (hooks.on_pull_res(&page, context).await, requester) {
                (Ok(()), _) => {}
                (Err(error), Some(requester)) if *is_page => return self.refuse(requester, &error),
                (Err(error), _) => self.log(&error),
            }
        }
    }

    fn apply(&self, mut outputs: Vec<Output<JsText>>) {
        self.inner
            .with(None, |opened| opened.apply(self.inner, &mut outputs));
    }

    fn refuse(&self, requester: &Requester, error: &HookError) {
        self.log(error);
        self.inner.turn(|backend, now_ms, out| {
            backend.refuse_by_hook(self.from, requester, &error.to_string(), now_ms, out);
        });
    }

    fn log(&self, error: &HookError) {
        self.inner.with(None, |opened| {
            opened
                .log
                .write(LogLevel::Warn, "hook-error", &error.to_string());
        });
    }
}

/// What `on_pull_res` is shown of an output, and whether it is a page of the request itself.
fn news(output: &Output<JsText>) -> Option<(bool, String)> {
    match output {
        Output::Send { content, frame, .. } => match content {
            Content::Page => Some((true, frame.read())),
            Content::Broadcast { is_first: true } => Some((false, frame.read())),
            Content::Broadcast { is_first: false } | Content::Answer | Content::Acknowledgement => {
                None
            }
        },
        _ => None,
    }
}
