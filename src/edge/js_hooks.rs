//! Hooks that are functions of JavaScript. What they are shown crosses as texts, which are parsed there if a hook
//! reads them.

use js_sys::Promise;
use serde::Serialize;
use serde_json::value::RawValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::event::Event;
use crate::hooks::{Committed, Context, HookError, Hooks, Page, Pull, Push, Uses};
use crate::json::quote;

#[wasm_bindgen]
extern "C" {
    /// What the host made of an app's functions: `Host` of `host/hooks.ts` says what its members mean. Each method
    /// returns undefined, or a promise that is waited for; what it throws or rejects with is a refusal.
    type Host;

    #[wasm_bindgen(method, structural, getter)]
    fn uses(this: &Host) -> Vec<String>;

    #[wasm_bindgen(method, structural, getter, js_name = keepsPayload)]
    fn keeps_payload(this: &Host) -> bool;

    #[wasm_bindgen(method, structural, getter, js_name = responseHeaders)]
    fn response_headers(this: &Host) -> Vec<String>;

    #[wasm_bindgen(method, structural, catch, js_name = validatePayload)]
    fn validate_payload(this: &Host, about: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, structural, catch, js_name = onPush)]
    fn on_push(
        this: &Host,
        about: &str,
        events: &str,
        args: &str,
        backend_id: Option<&str>,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, structural, catch, js_name = onPushRes)]
    fn on_push_res(this: &Host, about: &str, refusal: Option<&str>) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, structural, catch, js_name = onPull)]
    fn on_pull(
        this: &Host,
        about: &str,
        after: f64,
        backend_id: Option<&str>,
        live: bool,
    ) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, structural, catch, js_name = onPullRes)]
    fn on_pull_res(this: &Host, about: &str, message: &str) -> Result<JsValue, JsValue>;

    #[wasm_bindgen(method, structural, catch, js_name = onCommitted)]
    fn on_committed(
        this: &Host,
        about: &str,
        events: &str,
        args: &str,
        backend_id: &str,
    ) -> Result<JsValue, JsValue>;
}

/// The hooks of a host; none if it gives none.
#[allow(missing_debug_implementations)]
pub struct JsHooks {
    host: Option<Host>,
    keeps_payload: bool,
    response_headers: Vec<(String, String)>,
}

impl JsHooks {
    /// The hooks of `host`, a `Host` or undefined.
    #[must_use]
    pub fn new(host: JsValue) -> Self {
        if host.is_undefined() {
            return Self {
                host: None,
                keeps_payload: false,
                response_headers: Vec::new(),
            };
        }
        let host: Host = host.unchecked_into();
        let mut texts = host.response_headers().into_iter();
        let pairs = std::iter::from_fn(|| Some((texts.next()?, texts.next()?)));
        Self {
            keeps_payload: host.keeps_payload(),
            response_headers: pairs.collect(),
            host: Some(host),
        }
    }
}

impl Hooks for JsHooks {
    fn uses(&self) -> Uses {
        let names = self.host.as_ref().map(Host::uses).unwrap_or_default();
        names
            .iter()
            .fold(Uses::NONE, |uses, name| match name.as_str() {
                "validatePayload" => uses.validate_payload(),
                "onPush" => uses.on_push(),
                "onPushRes" => uses.on_push_res(),
                "onPull" => uses.on_pull(),
                "onPullRes" => uses.on_pull_res(),
                "onCommitted" => uses.on_committed(),
                _ => uses,
            })
    }

    fn keeps_payload(&self) -> bool {
        self.keeps_payload
    }

    fn response_headers(&self) -> &[(String, String)] {
        &self.response_headers
    }

    async fn validate_payload(
        &self,
        _payload: Option<&str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        self.call(context, Host::validate_payload).await
    }

    async fn on_push(&self, push: &Push<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let (events, args) = texts_of(push.batch);
        self.call(context, |host, about| {
            host.on_push(about, &events, &args, push.backend_id)
        })
        .await
    }

    async fn on_push_res(
        &self,
        decided: Result<(), &str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        self.call(context, |host, about| {
            host.on_push_res(about, decided.err())
        })
        .await
    }

    async fn on_pull(&self, pull: &Pull<'_>, context: &Context<'_>) -> Result<(), HookError> {
        #[allow(clippy::cast_precision_loss)] // It is at most 2^53 - 1.
        let after = pull.after as f64;
        self.call(context, |host, about| {
            host.on_pull(about, after, pull.backend_id, pull.live)
        })
        .await
    }

    async fn on_pull_res(&self, page: &Page<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let message = page.message();
        self.call(context, |host, about| host.on_pull_res(about, &message))
            .await
    }

    async fn on_committed(
        &self,
        committed: &Committed<'_>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        let (events, args) = texts_of(committed.events);
        self.call(context, |host, about| {
            host.on_committed(about, &events, &args, committed.backend_id)
        })
        .await
    }
}

impl JsHooks {
    /// Calls a function of the host, and waits if it returns a promise.
    async fn call(
        &self,
        context: &Context<'_>,
        hook: impl FnOnce(&Host, &str) -> Result<JsValue, JsValue>,
    ) -> Result<(), HookError> {
        let Some(host) = &self.host else {
            return Ok(());
        };
        let refused = |error: JsValue| HookError::new(js::message_of(&error));
        let result = hook(host, &about(context)).map_err(refused)?;
        if !result.is_undefined() {
            let promise: Promise = result.unchecked_into();
            JsFuture::from(promise).await.map_err(refused)?;
        }
        Ok(())
    }
}

/// Whose request it is, as JSON: the members of a `HookContext` of `host/types.ts` that the core knows.
fn about(context: &Context<'_>) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct About<'a> {
        store_id: &'a str,
        transport: Option<&'static str>,
        generation: Option<&'static str>,
        payload: Option<&'a RawValue>,
        claims: Option<&'a RawValue>,
        headers: &'a [(String, String)],
    }
    fn raw(json: Option<&str>) -> Option<&RawValue> {
        json.and_then(|json| serde_json::from_str(json).ok())
    }
    let about = About {
        store_id: context.store_id,
        transport: context.transport.map(crate::wire::Transport::name),
        generation: context.generation.map(crate::wire::Generation::name),
        payload: raw(context.payload),
        claims: raw(context.claims),
        headers: context.headers,
    };
    serde_json::to_string(&about).unwrap_or_default()
}

/// Parts the args of events, which may never be parsed.
const ARGS_SEPARATOR: char = '\0';

/// Events as JSON without their args, and their args, each followed by a character that no JSON holds.
fn texts_of(events: &[Event<'_>]) -> (String, String) {
    let (mut heads, mut args) = (String::from("["), String::new());
    for event in events {
        if heads.len() > 1 {
            heads.push(',');
        }
        heads.push_str(r#"{"name":"#);
        heads.push_str(&quote(&event.name));
        for (member, number) in [
            ("seqNum", event.seq_num),
            ("parentSeqNum", event.parent_seq_num),
        ] {
            heads.push_str(r#",""#);
            heads.push_str(member);
            heads.push_str(r#"":"#);
            heads.push_str(&number.to_string());
        }
        for (member, id) in [
            ("clientId", &event.client_id),
            ("sessionId", &event.session_id),
        ] {
            heads.push_str(r#",""#);
            heads.push_str(member);
            heads.push_str(r#"":"#);
            heads.push_str(&quote(id));
        }
        heads.push('}');
        args.push_str(event.args.unwrap_or_default());
        args.push(ARGS_SEPARATOR);
    }
    heads.push(']');
    (heads, args)
}
