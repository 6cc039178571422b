//! What the Worker found out about a request, as the object gets it.

use wasm_bindgen::JsValue;
use worker::worker_sys::web_sys::Request;
use worker::Env;

use super::{config, js};
use crate::auth::Grant;
use crate::event::StoreId;
use crate::route::admin::{self, Ask};
use crate::route::{GRANT_HEADER, SyncQuery, door_of};
use crate::wire::Family;

pub(super) enum Door {
    Admin(Ask),
    Http,
    Socket(Family),
}

pub(super) struct Visit {
    pub(super) store_id: StoreId,
    pub(super) door: Door,
    pub(super) grant: Grant,
    pub(super) headers: Vec<(&'static str, String)>,
}

pub(super) fn visit_of(request: &Request, env: &Env) -> Result<Result<Visit, String>, JsValue> {
    let url = js::Url::parse(&request.url())?;
    if url.pathname().starts_with(admin::PREFIX)
        && let Ok(config) = config(env)
        && let Some(secret) = &config.admin
    {
        let authorization = request.headers().get("Authorization")?;
        let asked = admin::Request {
            method: &request.method(),
            path: &url.pathname(),
            query: &js::query_of(&url),
            authorization: authorization.as_deref(),
        };
        return Ok(match admin::read(&asked, secret) {
            Ok((store_id, ask)) => Ok(Visit { store_id, door: Door::Admin(ask), grant: Grant::default(), headers: Vec::new() }),
            Err(refusal) => Err(refusal.body),
        });
    }
    let Ok(query) = SyncQuery::parse(&js::query_of(&url)) else {
        return Ok(Err("Invalid path".to_owned()));
    };
    let Some(door) = door_of(&url.pathname(), query.transport.as_deref()) else {
        return Ok(Err("Invalid path".to_owned()));
    };
    let grant = match request.headers().get(GRANT_HEADER)? {
        None => Grant::default(),
        Some(header) => match Grant::from_header(&header) {
            Some(grant) => grant,
            None => return Ok(Err("The grant of this request is none".to_owned())),
        },
    };
    let door = match door {
        crate::route::Door::Http => Door::Http,
        crate::route::Door::Socket(family) => Door::Socket(family),
    };
    let headers = match config(env) {
        Ok(config) => {
            let (origin, requested) = (request.headers().get("Origin")?, request.headers().get("Access-Control-Request-Headers")?);
            config.origins.headers(origin.as_deref(), &url.origin(), requested.as_deref())
        }
        Err(_) => Vec::new(),
    };
    Ok(Ok(Visit { store_id: query.store_id, door, grant, headers }))
}
