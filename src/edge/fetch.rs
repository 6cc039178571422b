//! The Worker's door: gathers the facts of a request, lets `route` decide, answers or forwards.

use std::rc::Rc;

use js_sys::Array;
use wasm_bindgen::prelude::*;
use worker::Env;
use worker::worker_sys::web_sys::Request;

use super::jwt::{Unverified, verify};
use super::poll::now_or_later;
use super::{config, js};
use crate::auth::{Decision, Grant};
use crate::config::{Config, ConfigError, USUAL_BINDINGS};
use crate::hooks::{Context, Hooks, Installed};
use crate::route::{self, Answer, Door, Entrant, Headers, Route, VISIT_HEADER, Visit};

/// The Worker that the bindings, variables and secrets of one `env` make, with the hooks of an app. `export!`
/// makes a class of it.
#[allow(missing_debug_implementations)]
pub struct Worker<H: Hooks>(Rc<Inner<H>>);

/// What requests that wait share.
struct Inner<H> {
    config: Result<Config, ConfigError>,
    /// The binding that holds the stores' objects; undefined when there is none.
    objects: JsValue,
    hooks: Installed<H>,
}

impl<H: Hooks> Worker<H> {
    /// Reads the variables of `env`. `hooks` makes the app's hooks.
    pub fn new(env: JsValue, hooks: fn(Env) -> H) -> Self {
        let env: Env = env.unchecked_into();
        let config = config(&env);
        let objects = config
            .as_ref()
            .ok()
            .and_then(|config| binding(&env, config));
        Self(Rc::new(Inner {
            config,
            objects: objects.unwrap_or_default(),
            hooks: Installed::new(hooks(env)),
        }))
    }

    /// Answers a request, or hands it to its store's object: a `Response`, or a promise of one.
    ///
    /// Where nothing has to be waited for, the object's promise is returned as it is.
    ///
    /// # Errors
    /// What the platform throws.
    pub fn fetch(&self, request: JsValue) -> Result<JsValue, JsValue> {
        let request: Request = request.unchecked_into();
        let worker = &self.0;
        let config = match &worker.config {
            Ok(config) => config,
            Err(error) => return respond(&route::misconfigured(error)),
        };
        let has_binding = !worker.objects.is_undefined();
        let decide = |facts: &route::Request<'_>| route::decide(config, facts, has_binding);
        match with_facts(&request, decide)? {
            Route::Answer(answer) => respond(&answer),
            Route::Forward(visit) => worker.forward(&request, &visit),
            Route::Enter(entrant) => {
                if worker.hooks.uses().is_empty() && entrant.decision == Decision::Granted {
                    return worker.enter(&request, &entrant, Grant::default());
                }
                now_or_later(admit(worker.clone(), request, entrant))
            }
        }
    }
}

/// Checks what remains to be checked of an entrant, and lets it in with what was found.
async fn admit<H: Hooks>(
    worker: Rc<Inner<H>>,
    request: Request,
    entrant: Entrant,
) -> Result<JsValue, JsValue> {
    let config = worker.config.as_ref().ok();
    let policy = config.and_then(|config| config.policy.jwt.as_ref());
    let mut grant = match (&entrant.decision, policy) {
        (Decision::Granted, _) => Grant::default(),
        (Decision::Verify(_), None) => return respond(&entrant.refusal("Invalid auth token")),
        (Decision::Verify(token), Some(policy)) => {
            match verify(policy, token, &entrant.store_id).await {
                Ok(verified) => verified,
                Err(Unverified::Refused(error)) => return respond(&entrant.refusal(error.text())),
                Err(Unverified::NoKeys(message)) => {
                    let body = format!("The keys of JWT_JWKS_URL cannot be had: {message}");
                    return respond(&entrant.answer(503, body));
                }
            }
        }
    };
    let hooks = &worker.hooks;
    if !hooks.uses().is_empty() {
        for name in hooks.forwarded_headers() {
            if let Some(value) = request.headers().get(name)? {
                grant.headers.push(((*name).to_owned(), value));
            }
        }
    }
    if hooks.uses().has_validate_payload() {
        let context = Context {
            store_id: entrant.store_id.as_str(),
            claims: grant.claims.as_deref(),
            headers: &grant.headers,
            transport: Some(entrant.door.transport()),
            generation: None,
        };
        let payload = entrant.payload.as_deref();
        if let Err(error) = hooks.validate_payload(payload, &context).await {
            return respond(&entrant.refusal(&error.to_string()));
        }
    }
    worker.enter(&request, &entrant, grant)
}

impl<H> Inner<H> {
    /// Lets a client in with what it may do.
    fn enter(
        &self,
        request: &Request,
        entrant: &Entrant,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        let visit = match entrant.visit(grant) {
            Ok(visit) => visit,
            Err(answer) => return respond(&answer),
        };
        let answer = self.forward(request, &visit)?;
        // Where the object fails, an answer over HTTP still has a body and the headers that let a page read it.
        Ok(match entrant.door {
            Door::Http => js::or_unavailable(&answer, &header_list(&visit.headers)),
            Door::Socket(_) => answer,
        })
    }

    /// Hands a request to its store's object.
    fn forward(&self, request: &Request, visit: &Visit) -> Result<JsValue, JsValue> {
        let id = js::id_of_name(&self.objects, visit.store_id.as_str())?;
        let header = visit.to_header(&js::text_of(&id));
        js::forward(&self.objects, &id, request, VISIT_HEADER, &header)
    }
}

/// What a request is about that has reached the object with these `state` and `env`.
pub(super) fn visit(
    state: &JsValue,
    env: &Env,
    request: &Request,
) -> Result<Result<Visit, Answer>, JsValue> {
    if let Some(header) = request.headers().get(VISIT_HEADER)? {
        let visit = Visit::from_header(&header, &js::id_of(state));
        return Ok(visit.ok_or_else(route::forged));
    }
    match config(env) {
        Ok(config) => with_facts(request, |facts| route::unannounced(&config, facts)),
        Err(error) => Ok(Err(route::misconfigured(&error))),
    }
}

/// Runs `work` on what is known of a request.
fn with_facts<R>(
    request: &Request,
    work: impl FnOnce(&route::Request<'_>) -> R,
) -> Result<R, JsValue> {
    let facts = js::facts_of(request)?;
    let mut lines = facts.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let [method, origin, host, path, query] = [next(), next(), next(), next(), next()];
    let mut header = || Some(next()).filter(|value| !value.is_empty());
    Ok(work(&route::Request {
        method,
        origin,
        host,
        path,
        query,
        origin_header: header(),
        upgrade: header(),
        requested_headers: header(),
        authorization: header(),
        cookie: header(),
    }))
}

/// The binding that the deployment names, or the first of the usual ones that exists.
fn binding(env: &Env, config: &Config) -> Option<JsValue> {
    match &config.binding {
        Some(name) => js::object_binding(env, name),
        None => USUAL_BINDINGS
            .iter()
            .find_map(|name| js::object_binding(env, name)),
    }
}

pub(super) fn respond(answer: &Answer) -> Result<JsValue, JsValue> {
    let headers = header_list(&answer.headers);
    let Some(body) = answer.body.as_deref() else {
        return js::respond(answer.status, "", &headers);
    };
    headers.unshift(&Array::of2(
        &JsValue::from_str("Content-Type"),
        &JsValue::from_str(answer.content_type),
    ));
    js::respond(answer.status, body, &headers)
}

/// Headers as the platform takes them.
pub(super) fn header_list(headers: &Headers) -> Array {
    let pairs = headers
        .iter()
        .map(|(name, value)| Array::of2(&JsValue::from_str(name), &JsValue::from_str(value)));
    pairs.collect()
}
