//! The Worker's door: gathers the facts of a request, lets `route` decide, answers or forwards.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use serde::Serialize;
use wasm_bindgen::prelude::*;
use worker::Env;
use worker::worker_sys::types::D1Database;
use worker::worker_sys::web_sys::Request;

use super::jwt::{Keys, Unverified};
use super::log::METRICS;
use super::poll::now_or_later;
use super::{backup, config, js, ticket};
use crate::auth::{AdminSecret, Decision, Grant, KeySource, TicketError};
use crate::config::{
    Config, ConfigError, Deployment, LogLevel, Origins, USUAL_BINDINGS, admin_of, no_jurisdiction,
    origins_of,
};
use crate::event::StoreId;
use crate::hooks::{Context, Hooks, Installed};
use crate::route::admin::Listing;
use crate::route::{
    self, Answer, Door, Entrant, Headers, Reason, Refusal, Refusals, Route, VISIT_HEADER, Visit,
};

/// The header in which a client offers subprotocols of a WebSocket.
pub(super) const PROTOCOL_HEADER: &str = "Sec-WebSocket-Protocol";

/// The Worker that the bindings, variables and secrets of one `env` make. `export!` makes a class of it.
#[allow(missing_debug_implementations)]
pub struct Worker(Rc<Inner>);

/// What requests that wait share.
struct Inner {
    config: Result<Config, Misconfigured>,
    /// The keys of `JWT_*`; empty until they are read.
    keys: OnceCell<Result<Keys, ConfigError>>,
    env: Env,
    /// The binding that holds the stores' objects, and its name; undefined when there is none.
    objects: JsValue,
    objects_name: Option<String>,
    /// The database of backups.
    database: Option<D1Database>,
    refusals: RefCell<Refusals>,
}

/// A deployment of which a variable does not parse.
struct Misconfigured {
    error: ConfigError,
    /// The pages that may read it.
    origins: Origins,
    /// The secret of who may ask for all of them.
    admin: Option<AdminSecret>,
}

impl Worker {
    /// Reads the variables of `env`.
    #[must_use]
    pub fn new(env: JsValue) -> Self {
        let env: Env = env.unchecked_into();
        let database = backup::database(&env);
        let config = config(&env).and_then(|config| {
            config.backup_delay_ms(database.is_some())?;
            let objects = objects(&env, &config)?;
            Ok((config, objects))
        });
        let config = config.map_err(|error| Misconfigured {
            error,
            origins: origins(&env),
            admin: admin_of(|name| js::variable(&env, name)),
        });
        let (config, objects) = match config {
            Ok((config, objects)) => (Ok(config), objects),
            Err(misconfigured) => (Err(misconfigured), None),
        };
        let (objects_name, objects) = objects.unzip();
        let source = config.as_ref().ok().and_then(key_source);
        let keys = source.and_then(Keys::at_once).map(Ok);
        Self(Rc::new(Inner {
            keys: keys.map_or_else(OnceCell::new, OnceCell::from),
            config,
            objects: objects.unwrap_or_default(),
            objects_name,
            env,
            database,
            refusals: RefCell::default(),
        }))
    }

    /// Answers a request, or hands it to its store's object: a `Response`, or a promise of one. `hooks` are the app's.
    ///
    /// Where nothing has to be waited for, the object's promise is returned as it is.
    ///
    /// # Errors
    /// What the platform throws.
    pub fn fetch<H: Hooks>(
        &self,
        request: JsValue,
        hooks: &Rc<Installed<H>>,
    ) -> Result<JsValue, JsValue> {
        let request: Request = request.unchecked_into();
        let worker = &self.0;
        let config = match &worker.config {
            Ok(config) => config,
            Err(Misconfigured {
                error,
                origins,
                admin,
            }) => return worker.misconfigured(&request, error, origins, admin.as_ref()),
        };
        match (worker.keys.get(), key_source(config)) {
            (None, Some(KeySource::Public(text))) => {
                let read = read_key(worker.clone(), text.clone(), request, hooks.clone());
                return now_or_later(read);
            }
            (Some(Err(error)), _) => {
                let admin = config.admin.as_ref();
                return worker.misconfigured(&request, error, &config.origins, admin);
            }
            _ => {}
        }
        let has_binding = !worker.objects.is_undefined();
        let decide = |facts: &route::Request<'_>| route::decide(config, facts, has_binding);
        let asks_for_place = |host: &str, path: &str| route::asks_for_place(config, host, path);
        match with_facts(&request, asks_for_place, decide)? {
            Route::Describe { is_local } => worker.describe(Ok(config), is_local),
            Route::Answer(answer) => worker.answer(&answer),
            Route::Forward(visit) => worker.forward(&request, &visit),
            Route::List(listing) => now_or_later(list(worker.clone(), listing)),
            Route::Ticket(store_id) => match worker.admin_secret() {
                Some(secret) => Ok(ticket::issue(secret, &store_id).into()),
                None => worker.answer(&route::refused_ticket(TicketError::Missing, &store_id)),
            },
            Route::CheckTicket(visit) => now_or_later(follow(worker.clone(), request, visit)),
            Route::Enter(entrant) => {
                if hooks.uses().is_empty() && entrant.decision == Decision::Granted {
                    let grant = granted(Grant::default(), &entrant, hooks);
                    return worker.enter(&request, &entrant, grant);
                }
                now_or_later(admit(worker.clone(), hooks.clone(), request, entrant))
            }
        }
    }
}

/// Where the keys of a deployment come from.
fn key_source(config: &Config) -> Option<&KeySource> {
    config.policy.jwt.as_ref().map(|policy| &policy.source)
}

/// Reads the public key of a deployment, and answers the request that has waited for it.
async fn read_key<H: Hooks>(
    worker: Rc<Inner>,
    text: String,
    request: Request,
    hooks: Rc<Installed<H>>,
) -> Result<JsValue, JsValue> {
    let keys = Keys::read(&text).await;
    // Another request may have read it meanwhile.
    worker.keys.get_or_init(|| keys);
    Worker(worker).fetch(request.into(), &hooks)
}

/// Answers which stores have a backup.
async fn list(worker: Rc<Inner>, listing: Listing) -> Result<JsValue, JsValue> {
    let Some(database) = &worker.database else {
        return respond(&listing.no_database());
    };
    let Listing { after, limit } = &listing;
    let answer = match backup::list_stores(database, after.as_ref(), *limit).await {
        Ok((lines, next)) => listing.answer(&lines, next.as_deref()),
        Err(error) => listing.failed(&js::message_of(&error)),
    };
    respond(&answer)
}

/// Hands a request to its object if the ticket in its subprotocols is right.
async fn follow(worker: Rc<Inner>, request: Request, visit: Visit) -> Result<JsValue, JsValue> {
    let protocols = request.headers().get(PROTOCOL_HEADER)?.unwrap_or_default();
    let checked = match worker.admin_secret() {
        Some(secret) => ticket::check(secret, &visit.store_id, &protocols).await,
        None => Err(TicketError::Missing),
    };
    match checked {
        Ok(()) => worker.forward(&request, &visit),
        Err(error) => worker.answer(&route::refused_ticket(error, &visit.store_id)),
    }
}

/// Checks what remains to be checked of an entrant, and lets it in with what was found.
async fn admit<H: Hooks>(
    worker: Rc<Inner>,
    hooks: Rc<Installed<H>>,
    request: Request,
    entrant: Entrant,
) -> Result<JsValue, JsValue> {
    let config = worker.config.as_ref().ok();
    let policy = config.and_then(|config| config.policy.jwt.as_ref());
    let keys = worker.keys.get().and_then(|keys| keys.as_ref().ok());
    let mut grant = match (&entrant.decision, policy.zip(keys)) {
        (Decision::Granted, _) => Grant::default(),
        (Decision::Verify(_), None) => {
            return worker.answer(&entrant.refusal(Reason::Token, "Invalid auth token"));
        }
        (Decision::Verify(token), Some((policy, keys))) => {
            match keys.verify(policy, token, &entrant.store_id).await {
                Ok(verified) => verified,
                Err(Unverified::Refused(error)) => {
                    return worker.answer(&entrant.refusal(Reason::Token, error.text()));
                }
                Err(Unverified::NoKeys(message)) => {
                    return worker.answer(&entrant.no_keys(&message));
                }
            }
        }
    };
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
            payload: entrant.payload.as_deref(),
            headers: &grant.headers,
            transport: Some(entrant.door.transport()),
            generation: None,
        };
        let payload = entrant.payload.as_deref();
        if let Err(error) = hooks.validate_payload(payload, &context).await {
            return worker.answer(&entrant.refusal(Reason::Hook, &error.to_string()));
        }
    }
    let grant = granted(grant, &entrant, &hooks);
    worker.enter(&request, &entrant, grant)
}

/// The grant of an entrant, with its payload if hooks want to see it.
fn granted<H: Hooks>(grant: Grant, entrant: &Entrant, hooks: &Installed<H>) -> Grant {
    let payload = hooks.keeps_payload().then(|| entrant.payload.clone());
    Grant {
        payload: payload.flatten(),
        ..grant
    }
}

impl Inner {
    /// The secret of the administration, which exists where one of its routes is taken.
    fn admin_secret(&self) -> Option<&AdminSecret> {
        let config = self.config.as_ref().ok();
        config.and_then(|config| config.admin.as_ref())
    }

    /// Lets a client in with what it may do.
    fn enter(
        &self,
        request: &Request,
        entrant: &Entrant,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        let visit = match entrant.visit(grant) {
            Ok(visit) => visit,
            Err(answer) => return self.answer(&answer),
        };
        let answer = self.forward(request, &visit)?;
        // Where the object fails, an answer over HTTP still has a body and the headers that let a page read it.
        Ok(match entrant.door {
            Door::Http => js::or_unavailable(&answer, &header_lines(&visit.headers)),
            Door::Socket(_) => answer,
        })
    }

    /// Answers a request here, and tells the log if somebody is refused with it.
    fn answer(&self, answer: &Answer) -> Result<JsValue, JsValue> {
        let level = self
            .config
            .as_ref()
            .map_or(LogLevel::Info, |config| config.log_level);
        if let Some(refusal) = &answer.refusal
            && level >= LogLevel::Info
        {
            let told = self
                .refusals
                .borrow_mut()
                .tell(refusal.reason, js::now_ms());
            if let Some(suppressed) = told {
                log(refusal, suppressed);
            }
        }
        respond(answer)
    }

    /// Answers a request to a deployment of which a variable does not parse.
    #[cold]
    fn misconfigured(
        &self,
        request: &Request,
        error: &ConfigError,
        origins: &Origins,
        admin: Option<&AdminSecret>,
    ) -> Result<JsValue, JsValue> {
        let decide = |facts: &route::Request<'_>| {
            route::describes(admin, facts)
                .ok_or_else(|| route::misconfigured(error, origins, facts))
        };
        match with_facts(request, route::may_administer_here, decide)? {
            Ok(is_local) => self.describe(Err(error), is_local),
            Err(answer) => self.answer(&answer),
        }
    }

    /// Answers how the deployment is configured.
    fn describe(
        &self,
        config: Result<&Config, &ConfigError>,
        is_local: bool,
    ) -> Result<JsValue, JsValue> {
        let deployment = Deployment {
            lookup: &|name| js::variable(&self.env, name),
            config,
            objects: self.objects_name.as_deref(),
            has_database: self.database.is_some(),
            has_metrics: js::dataset(&self.env, METRICS).is_some(),
            is_local,
        };
        respond(&route::admin::description(&deployment))
    }

    /// Hands a request to its store's object.
    fn forward(&self, request: &Request, visit: &Visit) -> Result<JsValue, JsValue> {
        let id = js::id_of_name(&self.objects, visit.store_id.as_str())?;
        let header = visit.to_header(&js::text_of(&id));
        let hint = self.config.as_ref().ok();
        let hint = hint.and_then(|config| config.location_hint);
        js::forward(&self.objects, &id, request, VISIT_HEADER, &header, hint)
    }
}

/// Writes a log line about a refusal, beside which so many for its reason were not told.
fn log(refusal: &Refusal, suppressed: u64) {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Line<'a> {
        level: &'static str,
        event: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        store_id: Option<&'a StoreId>,
        reason: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "is_none")]
        suppressed: u64,
    }
    #[allow(clippy::trivially_copy_pass_by_ref)] // `serde` gives it so.
    fn is_none(suppressed: &u64) -> bool {
        *suppressed == 0
    }
    let level = LogLevel::Info.name();
    let line = Line {
        level,
        event: "refused",
        store_id: refusal.store_id.as_ref(),
        reason: refusal.reason.name(),
        message: &refusal.message,
        suppressed,
    };
    if let Ok(line) = serde_json::to_string(&line) {
        js::log(level, &line);
    }
}

/// What a request is about that has reached the object with this id and `env`, and with this [`VISIT_HEADER`].
pub(super) fn visit(
    object_id: &str,
    env: &Env,
    header: Option<&str>,
    request: &Request,
) -> Result<Result<Visit, Answer>, JsValue> {
    if let Some(header) = header {
        let visit = Visit::from_header(header, object_id);
        return Ok(visit.ok_or_else(route::forged));
    }
    match config(env) {
        Ok(config) => {
            let asks_for_place =
                |host: &str, path: &str| route::asks_for_place(&config, host, path);
            with_facts(request, asks_for_place, |facts| {
                route::unannounced(&config, facts)
            })
        }
        Err(error) => with_facts(
            request,
            |_, _| false,
            |facts| Err(route::misconfigured(&error, &origins(env), facts)),
        ),
    }
}

/// The pages that may read why nothing works.
fn origins(env: &Env) -> Origins {
    origins_of(|name| js::variable(env, name))
}

/// Runs `work` on what is known of a request. Whether it has a place is looked up where that matters at its host and path.
fn with_facts<R>(
    request: &Request,
    asks_for_place: impl FnOnce(&str, &str) -> bool,
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
        host_header: header(),
        origin_header: header(),
        authorization: header(),
        cookie: header(),
        ray: header(),
        upgrade: header(),
        requested_headers: header(),
        has_place: asks_for_place(host, path) && js::has_place(request),
    }))
}

/// The objects of stores: all of the binding, or those of the deployment's jurisdiction. `None` without a binding.
fn objects(env: &Env, config: &Config) -> Result<Option<(String, JsValue)>, ConfigError> {
    let Some((name, objects)) = binding(env, config) else {
        return Ok(None);
    };
    let Some(jurisdiction) = config.jurisdiction else {
        return Ok(Some((name, objects)));
    };
    match js::in_jurisdiction(&objects, jurisdiction) {
        Ok(inside) => Ok(Some((name, inside))),
        Err(error) => Err(no_jurisdiction(jurisdiction, &js::message_of(&error))),
    }
}

/// The binding that the deployment names, or the first of the usual ones that exists.
fn binding(env: &Env, config: &Config) -> Option<(String, JsValue)> {
    let named = |name: &str| Some((name.to_owned(), js::object_binding(env, name)?));
    match &config.binding {
        Some(name) => named(name),
        None => USUAL_BINDINGS.into_iter().find_map(named),
    }
}

/// Answers a client that an object turns away, and logs why.
pub(super) fn turn_away(answer: Answer, headers: Headers) -> Result<JsValue, JsValue> {
    if let Some(refusal) = &answer.refusal {
        log(refusal, 0);
    }
    respond(&Answer { headers, ..answer })
}

pub(super) fn respond(answer: &Answer) -> Result<JsValue, JsValue> {
    let mut headers = header_lines(&answer.headers);
    let Some(body) = answer.body.as_deref() else {
        return js::respond(answer.status, "", &headers);
    };
    push_header(&mut headers, "Content-Type", answer.content_type);
    js::respond(answer.status, body, &headers)
}

/// Headers as `js` takes them: a line for each.
pub(super) fn header_lines(headers: &Headers) -> String {
    let mut lines = String::new();
    for (name, value) in headers {
        push_header(&mut lines, name, value);
    }
    lines
}

pub(super) fn push_header(lines: &mut String, name: &str, value: &str) {
    for part in [name, ":", value, "\n"] {
        lines.push_str(part);
    }
}
