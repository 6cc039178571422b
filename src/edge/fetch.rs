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
use crate::limits::GRANT_BYTES_MAX;
use crate::route::{self, Answer, GRANT_HEADER, Route, Visit};
use crate::wire::Transport;

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
            Err(error) => {
                return js::respond(500, &format!("Configuration: {error}"), &Array::new());
            }
        };
        match decide(config, &request, !worker.objects.is_undefined())? {
            Route::Answer(answer) => respond(&answer),
            Route::Administer { store_id } => js::forward(
                &worker.objects,
                store_id.as_str(),
                &request,
                GRANT_HEADER,
                None,
            ),
            Route::Forward(visit) => {
                if worker.hooks.uses().is_empty() && visit.decision == Decision::Granted {
                    return worker.forward(&request, &visit, None);
                }
                now_or_later(admit(worker.clone(), request, visit))
            }
        }
    }
}

/// Checks what remains to be checked of a visit, and forwards it with what was found.
async fn admit<H: Hooks>(
    worker: Rc<Inner<H>>,
    request: Request,
    visit: Visit,
) -> Result<JsValue, JsValue> {
    let policy = worker
        .config
        .as_ref()
        .ok()
        .and_then(|config| config.policy.jwt.as_ref());
    let mut grant = match (&visit.decision, policy) {
        (Decision::Granted, _) => Grant::default(),
        (Decision::Verify(_), None) => return respond(&visit.refusal("Invalid auth token")),
        (Decision::Verify(token), Some(policy)) => {
            match verify(policy, token, &visit.store_id).await {
                Ok(verified) => verified,
                Err(Unverified::Refused(error)) => return respond(&visit.refusal(error.text())),
                Err(Unverified::NoKeys(message)) => {
                    let body = format!("The keys of JWT_JWKS_URL cannot be had: {message}");
                    return respond(&visit.answer(503, body));
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
    let context = Context {
        store_id: visit.store_id.as_str(),
        claims: grant.claims.as_deref(),
        headers: &grant.headers,
        transport: Some(visit.transport),
        generation: None,
    };
    if hooks.uses().has_validate_payload()
        && let Err(error) = hooks
            .validate_payload(visit.payload.as_deref(), &context)
            .await
    {
        return respond(&visit.refusal(&error.to_string()));
    }
    let header = (grant != Grant::default()).then(|| grant.to_header());
    let bytes = header.as_deref().map_or(0, str::len);
    if bytes > GRANT_BYTES_MAX {
        let body = format!(
            "The claims and forwarded headers of this connection have {bytes} bytes, but at most {GRANT_BYTES_MAX} can \
             be kept with it"
        );
        return respond(&visit.answer(400, body));
    }
    worker.forward(&request, &visit, header.as_deref())
}

impl<H> Inner<H> {
    /// Hands a visit to its store's object. Over HTTP, where the object fails, the answer still has a body and
    /// the headers that let a page read it.
    fn forward(
        &self,
        request: &Request,
        visit: &Visit,
        grant: Option<&str>,
    ) -> Result<JsValue, JsValue> {
        let store_id = visit.store_id.as_str();
        let answer = js::forward(&self.objects, store_id, request, GRANT_HEADER, grant)?;
        Ok(match visit.transport {
            Transport::Http => js::or_unavailable(&answer, &header_list(&visit.headers)),
            Transport::WebSocket | Transport::DoRpc => answer,
        })
    }
}

fn decide(config: &Config, request: &Request, has_binding: bool) -> Result<Route, JsValue> {
    let url = js::Url::parse(&request.url())?;
    let headers = request.headers();
    let (origin, upgrade) = (headers.get("Origin")?, headers.get("Upgrade")?);
    let requested_headers = headers.get("Access-Control-Request-Headers")?;
    let (authorization, cookie) = (headers.get("Authorization")?, headers.get("Cookie")?);
    let request = route::Request {
        method: &request.method(),
        origin: &url.origin(),
        host: &url.hostname(),
        path: &url.pathname(),
        query: &js::query_of(&url),
        origin_header: origin.as_deref(),
        upgrade: upgrade.as_deref(),
        requested_headers: requested_headers.as_deref(),
        authorization: authorization.as_deref(),
        cookie: cookie.as_deref(),
    };
    Ok(route::route(config, &request, has_binding))
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
pub(super) fn header_list(headers: &[(&str, String)]) -> Array {
    let pairs = headers
        .iter()
        .map(|(name, value)| Array::of2(&JsValue::from_str(name), &JsValue::from_str(value)));
    pairs.collect()
}
