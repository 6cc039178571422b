//! Hooks that do what a test says: each tells the test what it was shown, and returns what the test answers, when it
//! answers.
//!
//! *Variables*: `HOOKS_URL` is where the test listens. `HOOKS_ASKED` names the hooks that ask it, separated by commas.
//! `on_committed` is as unwritten if it is not among them, unless `HOOKS_COMMITTED` is `at-once`; the others let
//! everything pass at once.
#![cfg(target_arch = "wasm32")]

use livestore_sync_worker::event::Event;
use livestore_sync_worker::hooks::{Committed, Context, HookError, Hooks, Page, Pull, Push};
use livestore_sync_worker::json::quote;
use livestore_sync_worker::worker::{Env, Error, Fetch, Method, Request, RequestInit};

/// The hooks of the tests.
#[derive(Debug, Default)]
pub struct TestHooks;

/// Hooks of which none is written, though they might be.
#[derive(Debug, Default)]
struct Unwritten;

impl Hooks for Unwritten {}

impl Hooks for TestHooks {
    fn forwarded_headers(&self) -> &'static [&'static str] {
        &["x-app-version", "x-device"]
    }

    async fn validate_payload(
        &self,
        payload: Option<&str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        ask("validate_payload", payload.unwrap_or("null"), context).await
    }

    async fn on_push(&self, push: &Push<'_>, context: &Context<'_>) -> Result<(), HookError> {
        // What needs no answer is refused without waiting.
        if push.batch.iter().any(|event| event.name == "v1.Refused") {
            return Err("refused at once".into());
        }
        if let Some(event) = push.batch.iter().find(|event| event.name == "v1.Panic") {
            panic!("at {:?}", event.args);
        }
        if !is_asked("on_push", context.env) {
            return Ok(());
        }
        let (batch, backend_id) = (events(push.batch), optional(push.backend_id));
        ask(
            "on_push",
            &format!(r#"{{"batch":{batch},"backendId":{backend_id}}}"#),
            context,
        )
        .await
    }

    async fn on_push_res(&self, context: &Context<'_>) -> Result<(), HookError> {
        ask("on_push_res", "null", context).await
    }

    async fn on_pull(&self, pull: &Pull<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let (after, backend_id, live) = (pull.after, optional(pull.backend_id), pull.live);
        let seen = format!(r#"{{"after":{after},"backendId":{backend_id},"live":{live}}}"#);
        ask("on_pull", &seen, context).await
    }

    async fn on_pull_res(&self, page: &Page<'_>, context: &Context<'_>) -> Result<(), HookError> {
        // Reading a page costs what it is long: not where nobody asks for it.
        if !is_asked("on_pull_res", context.env) {
            return Ok(());
        }
        ask("on_pull_res", &page.message(), context).await
    }

    async fn on_committed(
        &self,
        committed: &Committed<'_>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        if !is_asked("on_committed", context.env) {
            return match variable("HOOKS_COMMITTED", context.env).as_deref() {
                Some("at-once") => Ok(()),
                _ => Unwritten.on_committed(committed, context).await,
            };
        }
        let (batch, backend_id) = (events(committed.events), quote(committed.backend_id));
        ask(
            "on_committed",
            &format!(r#"{{"batch":{batch},"backendId":{backend_id}}}"#),
            context,
        )
        .await
    }
}

fn variable(name: &str, env: &Env) -> Option<String> {
    env.var(name).ok().map(|value| value.to_string())
}

fn is_asked(hook: &str, env: &Env) -> bool {
    variable("HOOKS_ASKED", env).is_some_and(|asked| asked.split(',').any(|name| name == hook))
}

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quote)
}

fn events(events: &[Event<'_>]) -> String {
    let event = |event: &Event<'_>| {
        format!(
            r#"{{"name":{},"args":{},"seqNum":{},"parentSeqNum":{},"clientId":{},"sessionId":{}}}"#,
            quote(&event.name),
            event.args.unwrap_or("null"),
            event.seq_num,
            event.parent_seq_num,
            quote(&event.client_id),
            quote(&event.session_id)
        )
    };
    format!(
        "[{}]",
        events.iter().map(event).collect::<Vec<_>>().join(",")
    )
}

async fn ask(hook: &str, seen: &str, context: &Context<'_>) -> Result<(), HookError> {
    if !is_asked(hook, context.env) {
        return Ok(());
    }
    let headers = context
        .headers
        .iter()
        .map(|(name, value)| format!("[{},{}]", quote(name), quote(value)));
    let body = format!(
        r#"{{"hook":{},"storeId":{},"claims":{},"headers":[{}],"transport":{},"generation":{},"seen":{seen}}}"#,
        quote(hook),
        quote(context.store_id),
        context.claims.unwrap_or("null"),
        headers.collect::<Vec<_>>().join(","),
        optional(context.transport.map(|transport| transport.name())),
        optional(
            context
                .generation
                .map(|generation| format!("{generation:?}"))
                .as_deref()
        ),
    );
    let answer = post(body, context.env).await;
    let answer =
        answer.map_err(|error| HookError::new(format!("the test cannot be asked: {error}")))?;
    match answer.as_str() {
        "" => Ok(()),
        "panic" => panic!("the test asked for it"),
        error => Err(error.into()),
    }
}

async fn post(body: String, env: &Env) -> Result<String, Error> {
    let mut init = RequestInit::new();
    init.with_method(Method::Post).with_body(Some(body.into()));
    let request = Request::new_with_init(&env.var("HOOKS_URL")?.to_string(), &init)?;
    Fetch::Request(request).send().await?.text().await
}

livestore_sync_worker::export!(TestHooks);
