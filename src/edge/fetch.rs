//! The Worker's entry: gathers the facts of a request, lets `route` decide, answers or forwards.

use worker::{Context, Env, Headers, ObjectNamespace, Request, Response, Result, event};

use super::{config, js};
use crate::config::{Config, USUAL_BINDINGS};
use crate::route::{self, Answer, Route};

#[event(fetch)]
async fn fetch(request: Request, env: Env, _context: Context) -> Result<Response> {
    let config = match config(&env) {
        Ok(config) => config,
        Err(error) => return Response::error(format!("Configuration: {error}"), 500),
    };
    let binding = binding(&env, &config);
    match decide(&config, &request, binding.is_some())? {
        Route::Answer(answer) => respond(answer),
        Route::Forward { store_id } => match binding {
            Some(objects) => {
                objects
                    .get_by_name(store_id.as_str())?
                    .fetch_with_request(request)
                    .await
            }
            None => Response::error("Failed dependency", 424),
        },
    }
}

fn decide(config: &Config, request: &Request, has_binding: bool) -> Result<Route> {
    let url = js::Url::parse(&request.inner().url())?;
    let headers = request.headers();
    let (origin, upgrade) = (headers.get("Origin")?, headers.get("Upgrade")?);
    let requested_headers = headers.get("Access-Control-Request-Headers")?;
    let request = route::Request {
        method: &request.inner().method(),
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
fn binding(env: &Env, config: &Config) -> Option<ObjectNamespace> {
    match &config.binding {
        Some(name) => env.durable_object(name).ok(),
        None => USUAL_BINDINGS
            .iter()
            .find_map(|name| env.durable_object(name).ok()),
    }
}

fn respond(answer: Answer) -> Result<Response> {
    let headers = Headers::new();
    for (name, value) in &answer.headers {
        headers.set(name, value)?;
    }
    let response = match answer.body {
        Some(body) => {
            headers.set("Content-Type", "text/plain")?;
            Response::from_body(worker::ResponseBody::Body(body.into_owned().into_bytes()))?
        }
        None => Response::empty()?,
    };
    Ok(response.with_status(answer.status).with_headers(headers))
}
