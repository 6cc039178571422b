//! The Worker's entry: gathers the facts of a request, lets `route` decide, answers or forwards.

use js_sys::Array;
use wasm_bindgen::prelude::*;
use worker::Env;
use worker::worker_sys::web_sys::Request;

use super::{config, js};
use crate::config::{Config, USUAL_BINDINGS};
use crate::route::{self, Answer, Route};

/// Answers a request, or hands it to its store's object: a `Response`, or a promise of one.
///
/// Written out rather than derived, because it waits for nothing itself: the object's promise is
/// returned as it is.
///
/// # Errors
/// What the platform throws.
#[wasm_bindgen]
#[allow(clippy::needless_pass_by_value)] // The runtime hands them over.
#[allow(unreachable_pub)] // It is exported to JavaScript, which asks for `pub`.
pub fn fetch(request: Request, env: Env, _context: JsValue) -> Result<JsValue, JsValue> {
    let config = match config(&env) {
        Ok(config) => config,
        Err(error) => return js::respond(500, &format!("Configuration: {error}"), &Array::new()),
    };
    let binding = binding(&env, &config);
    match decide(&config, &request, binding.is_some())? {
        Route::Answer(answer) => respond(&answer),
        Route::Forward { store_id } => {
            js::forward(&binding.unwrap_or_default(), store_id.as_str(), &request)
        }
    }
}

fn decide(config: &Config, request: &Request, has_binding: bool) -> Result<Route, JsValue> {
    let url = js::Url::parse(&request.url())?;
    let headers = request.headers();
    let (origin, upgrade) = (headers.get("Origin")?, headers.get("Upgrade")?);
    let requested_headers = headers.get("Access-Control-Request-Headers")?;
    let request = route::Request {
        method: &request.method(),
        origin: &url.origin(),
        host: &url.hostname(),
        path: &url.pathname(),
        query: &js::query_of(&url),
        origin_header: origin.as_deref(),
        upgrade: upgrade.as_deref(),
        requested_headers: requested_headers.as_deref(),
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

fn respond(answer: &Answer) -> Result<JsValue, JsValue> {
    let headers = Array::new();
    for (name, value) in &answer.headers {
        headers.push(&Array::of2(
            &JsValue::from_str(name),
            &JsValue::from_str(value),
        ));
    }
    js::respond(
        answer.status,
        answer.body.as_deref().unwrap_or_default(),
        &headers,
    )
}
