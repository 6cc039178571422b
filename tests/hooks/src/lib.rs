//! Hooks that do what a test says: each tells the test what it was shown, and returns what the test answers, when it
//! answers.
//!
//! *Variables*: `HOOKS_URL` is where the test listens. `HOOKS_ASKED` names the hooks that there are and that ask it,
//! separated by commas. With `HOOKS_COMMITTED` set to `at-once` there is an `on_committed` that asks nobody.
#![cfg(target_arch = "wasm32")]

use livestore_sync_worker::event::Event;
use livestore_sync_worker::hooks::{Committed, Context, HookError, Hooks, Page, Pull, Push, Uses};
use livestore_sync_worker::json::quote;
use livestore_sync_worker::worker::{Env, Error, Fetch, Method, Request, RequestInit};

/// The hooks of the tests.
pub struct TestHooks {
    url: String,
    asked: Vec<String>,
    is_told_at_once: bool,
}

impl TestHooks {
    fn new(env: Env) -> Self {
        let variable = |name: &str| env.var(name).map(|value| value.to_string());
        let asked = variable("HOOKS_ASKED").unwrap_or_default();
        Self {
            url: variable("HOOKS_URL").unwrap_or_default(),
            asked: asked.split(',').map(str::to_owned).collect(),
            is_told_at_once: variable("HOOKS_COMMITTED").is_ok_and(|value| value == "at-once"),
        }
    }

    fn is_asked(&self, hook: &str) -> bool {
        self.asked.iter().any(|name| name == hook)
    }

    async fn ask(&self, hook: &str, seen: &str, context: &Context<'_>) -> Result<(), HookError> {
        let headers = context
            .headers
            .iter()
            .map(|(name, value)| format!("[{},{}]", quote(name), quote(value)));
        let generation = context
            .generation
            .map(|generation| format!("{generation:?}"));
        let body = format!(
            r#"{{"hook":{},"storeId":{},"claims":{},"headers":[{}],"transport":{},"generation":{},"seen":{seen}}}"#,
            quote(hook),
            quote(context.store_id),
            context.claims.unwrap_or("null"),
            headers.collect::<Vec<_>>().join(","),
            optional(context.transport.map(|transport| transport.name())),
            optional(generation.as_deref()),
        );
        let answer = self.post(body).await;
        let answer =
            answer.map_err(|error| HookError::new(format!("the test cannot be asked: {error}")))?;
        match answer.as_str() {
            "" => Ok(()),
            "panic" => panic!("the test asked for it"),
            error => Err(error.into()),
        }
    }

    async fn post(&self, body: String) -> Result<String, Error> {
        let mut init = RequestInit::new();
        init.with_method(Method::Post).with_body(Some(body.into()));
        let request = Request::new_with_init(&self.url, &init)?;
        Fetch::Request(request).send().await?.text().await
    }
}

impl Hooks for TestHooks {
    fn uses(&self) -> Uses {
        let with = |uses: Uses, name: &str, hook: fn(Uses) -> Uses| {
            if self.is_asked(name) {
                hook(uses)
            } else {
                uses
            }
        };
        let mut uses = Uses::NONE;
        uses = with(uses, "validate_payload", Uses::validate_payload);
        uses = with(uses, "on_push", Uses::on_push);
        uses = with(uses, "on_push_res", Uses::on_push_res);
        uses = with(uses, "on_pull", Uses::on_pull);
        uses = with(uses, "on_pull_res", Uses::on_pull_res);
        uses = with(uses, "on_committed", Uses::on_committed);
        if self.is_told_at_once {
            uses = uses.on_committed();
        }
        uses
    }

    fn forwarded_headers(&self) -> &'static [&'static str] {
        &["x-app-version", "x-device"]
    }

    async fn validate_payload(
        &self,
        payload: Option<&str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        let payload = payload.unwrap_or("null");
        self.ask("validate_payload", payload, context).await
    }

    async fn on_push(&self, push: &Push<'_>, context: &Context<'_>) -> Result<(), HookError> {
        // What needs no answer is refused, or let in, without waiting.
        if push.batch.iter().any(|event| event.name == "v1.Refused") {
            return Err("refused at once".into());
        }
        if push.batch.iter().all(|event| event.name == "v1.LetIn") {
            return Ok(());
        }
        if let Some(event) = push.batch.iter().find(|event| event.name == "v1.Panic") {
            panic!("at {:?}", event.args);
        }
        let (batch, backend_id) = (events(push.batch), optional(push.backend_id));
        let seen = format!(r#"{{"batch":{batch},"backendId":{backend_id}}}"#);
        self.ask("on_push", &seen, context).await
    }

    async fn on_push_res(
        &self,
        decided: Result<(), &str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        if decided.is_err() {
            return Ok(());
        }
        if context.headers.iter().any(|(_, value)| value == "panics") {
            panic!("the test asked for it");
        }
        self.ask("on_push_res", "null", context).await
    }

    async fn on_pull(&self, pull: &Pull<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let (after, backend_id, live) = (pull.after, optional(pull.backend_id), pull.live);
        let seen = format!(r#"{{"after":{after},"backendId":{backend_id},"live":{live}}}"#);
        self.ask("on_pull", &seen, context).await
    }

    async fn on_pull_res(&self, page: &Page<'_>, context: &Context<'_>) -> Result<(), HookError> {
        self.ask("on_pull_res", &page.message(), context).await
    }

    async fn on_committed(
        &self,
        committed: &Committed<'_>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        if !self.is_asked("on_committed") {
            return Ok(());
        }
        let (batch, backend_id) = (events(committed.events), quote(committed.backend_id));
        let seen = format!(r#"{{"batch":{batch},"backendId":{backend_id}}}"#);
        self.ask("on_committed", &seen, context).await
    }
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

livestore_sync_worker::export!(TestHooks, TestHooks::new);
