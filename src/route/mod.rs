//! What a request to the Worker is, and what it is answered: pure, so that every door is a table test.
//!
//! Owns the statuses and texts that clients of sync-cf know, the sync query, CORS, and what the object of a
//! store is told of a request: a [`Visit`].

pub mod admin;
mod origins;
mod query;
mod refusals;
mod visit;

use std::borrow::Cow;

use crate::auth::{AdminSecret, Decision, Denied, Facts, Grant, TicketError};
use crate::config::{Config, ConfigError, Origins};
use crate::event::StoreId;
use crate::json::quote;
use crate::limits::{GRANT_BYTES_MAX, STORE_ID_BYTES_MAX};
use crate::wire::Transport;

use admin::{Asked, Listing};
use query::Query;
pub use query::{Door, store_in, sync_params};
pub use refusals::{Reason, Refusal, Refusals};
pub use visit::{Errand, VISIT_HEADER, Visit};

/// What is known of a request before its store is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request<'a> {
    /// Upper-case method.
    pub method: &'a str,
    /// `https://host:port` of the URL.
    pub origin: &'a str,
    /// Host of the URL without port.
    pub host: &'a str,
    /// Path of the URL.
    pub path: &'a str,
    /// Query of the URL without `?`.
    pub query: &'a str,
    /// Header `Host`: what the client takes for the URL's host and port.
    pub host_header: Option<&'a str>,
    /// Header `Origin`: present when a browser asks for another site.
    pub origin_header: Option<&'a str>,
    /// Header `Upgrade`.
    pub upgrade: Option<&'a str>,
    /// Header `Access-Control-Request-Headers`.
    pub requested_headers: Option<&'a str>,
    /// Header `Authorization`.
    pub authorization: Option<&'a str>,
    /// Header `Cookie`.
    pub cookie: Option<&'a str>,
    /// Header `CF-Ray`: the request has come through Cloudflare's network.
    pub ray: Option<&'a str>,
    /// Whether the runtime names a place of Cloudflare's network where the request arrived, as that network and
    /// its development servers do, but no runtime by itself, whatever a client sends. Looked up where
    /// [`asks_for_place`] says so.
    pub has_place: bool,
}

impl Request<'_> {
    /// Whether it asks for a WebSocket.
    fn is_upgrade(&self) -> bool {
        self.upgrade
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }
}

/// Headers of an answer.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Answer it here.
    Answer(Answer),
    /// A client comes to sync: let it in once what remains has been checked.
    Enter(Entrant),
    /// Hand it to the object of its store.
    Forward(Visit),
    /// Answer which stores have a backup.
    List(Listing),
    /// Answer with a ticket for the live route of this store.
    Ticket(StoreId),
    /// Hand it to the object of its store once its ticket has been checked: see [`refused_ticket`].
    CheckTicket(Visit),
    /// Answer how the deployment is configured.
    Describe {
        /// Whether it is a development server on this machine.
        is_local: bool,
    },
}

/// A client that the policy lets in to sync, or may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// The store.
    pub store_id: StoreId,
    /// How it comes in.
    pub door: Door,
    /// Whether it comes to a socket's door and asks for none, which is said once it is known who may come.
    pub lacks_upgrade: bool,
    /// What remains to be checked of it.
    pub decision: Decision,
    /// The sync payload as JSON text.
    pub payload: Option<String>,
    /// CORS headers of its answer.
    pub headers: Headers,
}

impl Entrant {
    /// The answer to a client that is refused after all.
    #[must_use]
    pub fn refusal(&self, reason: Reason, message: &str) -> Answer {
        self.answer(refused(self.door, &self.store_id, reason, message))
    }

    /// The answer to a client about which nothing can be told, because the keys of tokens cannot be had.
    #[must_use]
    pub fn no_keys(&self, message: &str) -> Answer {
        let text = format!("The keys of JWT_JWKS_URL cannot be had: {message}");
        self.answer(Answer::text(503, text).because(Reason::NoKeys, Some(&self.store_id)))
    }

    fn answer(&self, answer: Answer) -> Answer {
        Answer {
            headers: self.headers.clone(),
            ..answer
        }
    }

    /// What the object is told of it.
    ///
    /// # Errors
    /// It asks for no socket where it should, or the grant is too large to be kept with a connection.
    pub fn visit(&self, grant: Grant) -> Result<Visit, Answer> {
        if self.lacks_upgrade {
            let text = "Durable Object expected Upgrade: websocket";
            return Err(self.answer(Answer::text(426, text)));
        }
        // Whether the payload is kept is the object's affair.
        let kept = Grant {
            payload: None,
            ..grant.clone()
        };
        if let Some(answer) = too_large(&kept, &self.store_id) {
            return Err(self.answer(answer));
        }
        // The answer to an upgrade is read by no page.
        let headers = match self.door {
            Door::Http => self.headers.clone(),
            Door::Socket(_) => Headers::new(),
        };
        Ok(Visit {
            store_id: self.store_id.clone(),
            errand: Errand::Sync {
                door: self.door,
                grant,
            },
            headers,
        })
    }
}

/// The answer to a client of which more is to be kept with its connection than can be.
#[must_use]
pub fn too_large(grant: &Grant, store_id: &StoreId) -> Option<Answer> {
    let bytes = grant.ascii_bytes();
    let body = || {
        format!(
            "The payload, claims and forwarded headers of this connection have {bytes} bytes, but at most \
             {GRANT_BYTES_MAX} can be kept with it"
        )
    };
    (bytes > GRANT_BYTES_MAX)
        .then(|| Answer::text(400, body()).because(Reason::LargeGrant, Some(store_id)))
}

/// What a client is told that comes by a transport which the deployment does not serve.
#[must_use]
pub fn not_enabled(transport: Transport) -> String {
    let name = transport.name();
    format!("The transport {name} is not enabled here: see ENABLED_TRANSPORTS")
}

/// The answer to such a client.
#[must_use]
pub fn not_served(transport: Transport, store_id: &StoreId) -> Answer {
    Answer::text(403, not_enabled(transport)).because(Reason::Transport, Some(store_id))
}

/// A refusal in the words of the client's dialect.
#[inline(never)]
fn refused(door: Door, store_id: &StoreId, reason: Reason, message: &str) -> Answer {
    let error = if door.is_v03() {
        "LiveStore.UnexpectedError"
    } else {
        "UnknownError"
    };
    let text = format!(
        "{error}: {{ \"cause\": Error: {message}, \"note\": undefined, \"payload\": undefined }}"
    );
    let refusal = Refusal {
        reason,
        store_id: Some(store_id.clone()),
        message: message.to_owned(),
    };
    Answer {
        refusal: Some(Box::new(refusal)),
        ..Answer::text(400, text)
    }
}

/// An answer of the Worker itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, `None` for none.
    pub body: Option<Cow<'static, str>>,
    /// What the body is.
    pub content_type: &'static str,
    /// Headers beside the content type.
    pub headers: Headers,
    /// Who is refused with it and why, if somebody is.
    pub refusal: Option<Box<Refusal>>,
}

impl Answer {
    fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Some(body.into()),
            content_type: "text/plain",
            headers: Headers::new(),
            refusal: None,
        }
    }

    fn json(status: u16, body: String) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(status, body)
        }
    }

    fn preflight() -> Self {
        Self {
            body: None,
            ..Self::text(204, "")
        }
    }

    /// The same as a refusal.
    fn because(mut self, reason: Reason, store_id: Option<&StoreId>) -> Self {
        self.refusal = Some(Box::new(Refusal {
            reason,
            store_id: store_id.cloned(),
            message: self.body.as_deref().unwrap_or_default().to_owned(),
        }));
        self
    }
}

/// Decides about a request to the Worker. `has_binding` tells whether the Durable Object binding exists.
#[must_use]
#[inline(never)]
pub fn decide(config: &Config, request: &Request<'_>, has_binding: bool) -> Route {
    let mut answer = match arrive(config, request, has_binding) {
        Ok(route) => return route,
        Err(answer) => answer,
    };
    // The greeting is for people who open the URL, not for pages.
    if answer.status != 200 {
        answer.headers = origins::headers(&config.origins, request);
    }
    Route::Answer(answer)
}

/// What a request that reached the object without the Worker's word is to do there: an app's own Worker
/// has handed it on as it came, and has seen to who may connect. To the administration it still has to show
/// its secret.
///
/// # Errors
/// The answer to what is no request of ours.
pub fn unannounced(config: &Config, request: &Request<'_>) -> Result<Visit, Answer> {
    if let Some(secret) = administration(config.admin.as_ref(), request) {
        let of_worker = |what: &str| Answer::json(404, admin::Refusal::new(404, what).body);
        return match administer(request, secret)? {
            Asked::Store(store_id, ask) => Ok(administered(store_id, ask)),
            Asked::Stores(_) => Err(of_worker(
                "stores are listed by the Worker, not by an object",
            )),
            Asked::Config => Err(of_worker(
                "variables are told by the Worker, not by an object",
            )),
            Asked::Ticket(_) | Asked::LiveByTicket(_) => Err(of_worker(
                "tickets are made and checked by the Worker, not by an object",
            )),
        };
    }
    let query = Query::read(request.query);
    let (Some(door), Ok((store_id, payload))) = (query.door(request.path), query.parse()) else {
        return Err(Answer::text(400, "Invalid path"));
    };
    let entrant = Entrant {
        store_id,
        door,
        lacks_upgrade: false,
        decision: Decision::Granted,
        payload: None,
        headers: origins::headers(&config.origins, request),
    };
    entrant.visit(Grant {
        payload,
        ..Grant::default()
    })
}

/// The answer to a request whose header [`VISIT_HEADER`] is not the Worker's.
#[must_use]
pub fn forged() -> Answer {
    Answer::text(
        400,
        format!("The header {VISIT_HEADER} is not for clients to set"),
    )
}

/// The answer of a deployment of which a variable does not parse, to a page of `origins` too.
#[must_use]
pub fn misconfigured(error: &ConfigError, origins: &Origins, request: &Request<'_>) -> Answer {
    let answer = if is_preflight(origins, request) {
        Answer::preflight()
    } else {
        let store = Query::read(request.query).parse().ok();
        let store_id = store.as_ref().map(|(store_id, _)| store_id);
        Answer::text(500, format!("Configuration: {error}"))
            .because(Reason::Configuration, store_id)
    };
    Answer {
        headers: origins::headers(origins, request),
        ..answer
    }
}

/// Whether a browser asks what a page may ask.
fn is_preflight(origins: &Origins, request: &Request<'_>) -> bool {
    request.method == "OPTIONS" && *origins != Origins::SameOrigin
}

fn arrive(config: &Config, request: &Request<'_>, has_binding: bool) -> Result<Route, Answer> {
    if let Some(secret) = administration(config.admin.as_ref(), request) {
        return match administer(request, secret)? {
            Asked::Config => Ok(Route::Describe {
                is_local: is_local(request),
            }),
            Asked::Stores(listing) => Ok(Route::List(listing)),
            Asked::Ticket(store_id) => Ok(Route::Ticket(store_id)),
            Asked::Store(store_id, _) | Asked::LiveByTicket(store_id) if !has_binding => {
                Err(no_binding(config, &store_id))
            }
            Asked::LiveByTicket(store_id) => {
                Ok(Route::CheckTicket(administered(store_id, admin::Ask::Live)))
            }
            Asked::Store(store_id, ask) => Ok(Route::Forward(administered(store_id, ask))),
        };
    }
    if is_preflight(&config.origins, request) {
        return Err(Answer::preflight());
    }
    let (door, store_id, payload) = identify(request)?;
    if let Some(origin) = origins::forbidden(&config.origins, request) {
        let origin: String = origin.chars().take(200).collect();
        let text = format!("Origin {origin} may not use this backend: see ALLOWED_ORIGINS");
        return Err(Answer::text(403, text).because(Reason::Origin, Some(&store_id)));
    }
    let facts = Facts {
        payload: payload.as_deref(),
        authorization: request.authorization,
        cookie: request
            .cookie
            .filter(|_| origins::may_send_cookies(&config.origins, request)),
        is_development: is_development(config, request),
    };
    let decision = config.policy.decide(facts).map_err(|denied| match denied {
        Denied::NotConfigured(sentence) => {
            Answer::text(503, sentence).because(Reason::NoPolicy, Some(&store_id))
        }
        Denied::Refused(message) => refused(door, &store_id, Reason::Token, message),
    })?;
    if !has_binding {
        return Err(no_binding(config, &store_id));
    }
    Ok(Route::Enter(Entrant {
        store_id,
        door,
        lacks_upgrade: door != Door::Http && !request.is_upgrade(),
        decision,
        payload,
        headers: origins::headers(&config.origins, request),
    }))
}

/// The door, the store and the payload of a sync request.
fn identify(request: &Request<'_>) -> Result<(Door, StoreId, Option<String>), Answer> {
    let query = Query::read(request.query);
    let door = query.door(request.path);
    let (door, store_id, payload) = match (door, query.parse()) {
        (Some(door), Ok((store_id, payload))) => (door, store_id, payload),
        (Some(door), Err(error)) if door.is_v03() => {
            let text = format!("Invalid search params: {}", error.text());
            return Err(Answer::text(500, text));
        }
        _ if request.method == "GET" && request.path == "/" => {
            return Err(Answer::text(
                200,
                "Info: Sync backend endpoint for @livestore/sync-cf.",
            ));
        }
        _ => return Err(Answer::text(400, "Invalid path")),
    };
    let store_id_bytes = quote(store_id.as_str()).len();
    if store_id_bytes > STORE_ID_BYTES_MAX {
        let text = format!(
            "storeId has {store_id_bytes} bytes as JSON, but at most {STORE_ID_BYTES_MAX} are accepted"
        );
        return Err(Answer::text(400, text));
    }
    Ok((door, store_id, payload))
}

/// The secret to show, if a request is one to the administration and that exists: to the secret that everybody knows, on this machine
/// alone.
fn administration<'c>(
    secret: Option<&'c AdminSecret>,
    request: &Request<'_>,
) -> Option<&'c AdminSecret> {
    let secret = secret?;
    let exists =
        request.path.starts_with(admin::PREFIX) && (!secret.is_template() || is_local(request));
    exists.then_some(secret)
}

/// Whether an operator asks how the deployment is configured, of which a variable does not parse: then whether it is a development server
/// on this machine.
#[must_use]
pub fn describes(secret: Option<&AdminSecret>, request: &Request<'_>) -> Option<bool> {
    let secret = administration(secret, request)?;
    let is_asked = administer(request, secret) == Ok(Asked::Config);
    is_asked.then(|| is_local(request))
}

#[inline(never)]
fn administer(request: &Request<'_>, secret: &AdminSecret) -> Result<Asked, Answer> {
    admin::read(request, secret).map_err(|refusal| told(refusal, None))
}

/// The answer to who is refused by the administration. Who is not let in is told of in the log.
fn told(refusal: admin::Refusal, store_id: Option<StoreId>) -> Answer {
    let mut answer = Answer::json(refusal.status, refusal.body);
    let reason = match refusal.status {
        401 => Reason::AdminSecret,
        403 => Reason::Origin,
        _ => return answer,
    };
    answer.refusal = Some(Box::new(Refusal {
        reason,
        store_id,
        message: refusal.message,
    }));
    answer
}

/// The answer to who has shown a ticket that opens nothing.
#[must_use]
pub fn refused_ticket(error: TicketError, store_id: &StoreId) -> Answer {
    let refusal = admin::Refusal::new(401, &error.to_string());
    told(refusal, Some(store_id.clone()))
}

/// What the object of a store is told of who asks for this.
fn administered(store_id: StoreId, ask: admin::Ask) -> Visit {
    Visit {
        store_id,
        errand: Errand::Administer(ask),
        headers: Headers::new(),
    }
}

fn no_binding(config: &Config, store_id: &StoreId) -> Answer {
    let name = config.binding.as_deref().unwrap_or("SYNC_BACKEND_DO");
    let text = format!("Failed dependency: Required Durable Object binding '{name}' not available");
    Answer::text(424, text).because(Reason::NoBinding, Some(store_id))
}

/// Whether a host name is that of this machine.
fn is_localhost(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1") || host.ends_with(".localhost")
}

/// Whether it matters if a request to `host` has come in at a place of Cloudflare's network: looking it up costs
/// more than all else about a request.
#[must_use]
pub fn asks_for_place(config: &Config, host: &str, path: &str) -> bool {
    let asks = config.policy.asks_for_development();
    asks && (is_localhost(host) || config.dev_hosts.has(host)) || may_administer_here(host, path)
}

/// The same of a deployment of which a variable does not parse.
#[must_use]
pub fn may_administer_here(host: &str, path: &str) -> bool {
    path.starts_with(admin::PREFIX) && is_localhost(host)
}

/// Whether a request has come to a development server on this machine. The URL alone does not tell: its host
/// is what the client says, and to a runtime that somebody runs by himself a client may say anything.
fn is_local(request: &Request<'_>) -> bool {
    is_localhost(request.host) && request.has_place && request.ray.is_none()
}

/// Whether a request has come to a development server, on this machine or at a host that the deployment says: there through a tunnel
/// as well, which is a network's.
fn is_development(config: &Config, request: &Request<'_>) -> bool {
    is_local(request) || (config.dev_hosts.has(request.host) && request.has_place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Family;

    fn config(variables: &[(&str, &str)]) -> Config {
        Config::parse(|name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
        .unwrap()
    }

    const OPEN: &[(&str, &str)] = &[("ALLOW_ANONYMOUS", "true")];

    fn request<'a>(method: &'a str, url: &'a str) -> Request<'a> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        Request {
            method,
            origin: "https://sync.example.com",
            host: "sync.example.com",
            path,
            query,
            upgrade: Some("websocket"),
            ..Request::default()
        }
    }

    fn status(config: &Config, request: &Request<'_>) -> u16 {
        match decide(config, request, true) {
            Route::Answer(answer) => answer.status,
            Route::Describe { .. } => 200,
            Route::Enter(_)
            | Route::Forward(_)
            | Route::List(_)
            | Route::Ticket(_)
            | Route::CheckTicket(_) => 101,
        }
    }

    #[test]
    fn paths_and_queries_are_told_apart() {
        let open = config(OPEN);
        let cases = [
            ("GET", "/", 200),
            ("HEAD", "/", 400),
            ("GET", "/x", 400),
            ("OPTIONS", "/?storeId=a&transport=ws", 101),
            ("GET", "/?storeId=a&transport=ws", 101),
            ("GET", "/any/path?transport=ws&storeId=&extra=1", 101),
            ("GET", "/x?storeId=a", 400),
            ("GET", "/x?storeId=a&transport=smoke", 400),
            ("GET", "/x?storeId=a&storeId=b&transport=ws", 400),
            ("GET", "/?storeId=a&transport=ws&payload=", 200),
            ("GET", "/x?storeId=a&transport=ws&payload=%257B", 400),
            ("GET", "/websocket?storeId=a", 101),
            ("GET", "/app/websocket?storeId=a", 101),
            ("GET", "/websocket/?storeId=a", 400),
            ("GET", "/websocket", 500),
            ("GET", "/websocket?storeId=a&payload=%25zz", 500),
        ];
        for (method, url, expected) in cases {
            assert_eq!(
                status(&open, &request(method, url)),
                expected,
                "{method} {url}"
            );
        }
    }

    #[test]
    fn without_an_upgrade_or_a_binding_nothing_is_forwarded() {
        let open = config(OPEN);
        let plain = Request {
            upgrade: None,
            ..request("GET", "/?storeId=a&transport=ws")
        };
        // It is told so once its token has been checked, and its hook asked.
        let Route::Enter(entrant) = decide(&open, &plain, true) else {
            panic!("refused");
        };
        assert_eq!(entrant.visit(Grant::default()).unwrap_err().status, 426);
        let Route::Answer(answer) =
            decide(&open, &request("GET", "/?storeId=a&transport=ws"), false)
        else {
            panic!("forwarded without a binding");
        };
        assert_eq!(answer.status, 424);
        assert_eq!(
            answer.body.as_deref(),
            Some(
                "Failed dependency: Required Durable Object binding 'SYNC_BACKEND_DO' not available"
            )
        );
    }

    #[test]
    fn a_store_id_leaves_room_in_an_attachment() {
        let open = config(OPEN);
        for (letter, longest) in [
            ("a", STORE_ID_BYTES_MAX - 2),
            ("%01", (STORE_ID_BYTES_MAX - 2) / 6),
        ] {
            for (letters, expected) in [(longest, 101), (longest + 1, 400)] {
                let url = format!("/?transport=ws&storeId={}", letter.repeat(letters));
                assert_eq!(
                    status(&open, &request("GET", &url)),
                    expected,
                    "{letters} times {letter}"
                );
            }
        }
    }

    #[test]
    fn a_refused_token_is_told_in_the_words_of_each_generation() {
        let closed = config(&[("AUTH_TOKEN", "t")]);
        for (url, start) in [
            ("/?storeId=a&transport=ws", "UnknownError: "),
            ("/websocket?storeId=a", "LiveStore.UnexpectedError: "),
        ] {
            let Route::Answer(answer) = decide(&closed, &request("GET", url), true) else {
                panic!("forwarded without a token");
            };
            assert_eq!(answer.status, 400);
            assert!(answer.body.unwrap().starts_with(start));
        }
        assert_eq!(
            status(&config(&[]), &request("GET", "/?storeId=a&transport=ws")),
            503
        );
    }

    #[test]
    fn pages_of_other_origins_need_to_be_listed() {
        let url = "/?storeId=a&transport=ws";
        let cases = [
            ("", "https://sync.example.com", 101),
            ("", "https://app.example.com", 403),
            ("", "null", 403),
            ("*", "https://app.example.com", 101),
            ("https://app.example.com", "https://app.example.com", 101),
            (
                "https://app.example.com",
                "https://app.example.com:8443",
                403,
            ),
            ("https://app.example.com", "http://app.example.com", 403),
            (
                "https://a.io, https://*.example.com",
                "https://x.y.example.com",
                101,
            ),
            ("https://*.example.com", "https://example.com", 403),
            ("https://*.example.com", "https://evil-example.com", 403),
            (
                "https://*.example.com",
                "https://evil.com/.example.com",
                403,
            ),
            ("https://app.example.com/", "https://app.example.com", 101),
            ("app.example.com, https://a.io", "https://a.io", 101),
            ("app.example.com", "https://app.example.com", 403),
            ("null", "null", 101),
            ("file://", "file://", 101),
            ("file://", "null", 403),
            ("null", "https://app.example.com", 403),
        ];
        for (allowed, origin, expected) in cases {
            let config = config(&[("ALLOW_ANONYMOUS", "true"), ("ALLOWED_ORIGINS", allowed)]);
            let request = Request {
                origin_header: Some(origin),
                ..request("GET", url)
            };
            assert_eq!(
                status(&config, &request),
                expected,
                "{allowed} for {origin}"
            );
        }
    }

    #[test]
    fn cors_headers_stand_on_every_answer_but_the_greeting() {
        let any = config(&[("ALLOW_ANONYMOUS", "true"), ("ALLOWED_ORIGINS", "*")]);
        let answer = |request: &Request<'_>| match decide(&any, request, true) {
            Route::Answer(answer) => answer,
            other => panic!("{other:?}"),
        };
        let preflight = Request {
            requested_headers: Some("b3, x-a"),
            ..request("OPTIONS", "/")
        };
        let answered = answer(&preflight);
        assert_eq!((answered.status, answered.body), (204, None));
        assert_eq!(
            answered.headers[0],
            ("Access-Control-Allow-Origin".into(), "*".to_owned())
        );
        assert_eq!(
            answered.headers[2],
            ("Access-Control-Allow-Headers".into(), "b3, x-a".to_owned())
        );
        assert!(!answer(&request("GET", "/nowhere")).headers.is_empty());
        assert!(answer(&request("GET", "/")).headers.is_empty());
    }

    #[test]
    fn a_listed_origin_is_echoed_and_answers_vary_by_it() {
        let listed = config(&[
            ("ALLOW_ANONYMOUS", "true"),
            ("ALLOWED_ORIGINS", "https://a.io,null"),
        ]);
        let headers = |origin| {
            let request = Request {
                origin_header: origin,
                ..request("GET", "/nowhere")
            };
            match decide(&listed, &request, true) {
                Route::Answer(answer) => answer.headers,
                other => panic!("{other:?}"),
            }
        };
        let of_listed = headers(Some("https://a.io"));
        assert_eq!(of_listed[0].1, "https://a.io");
        let credentials: (Cow<'_, str>, _) =
            ("Access-Control-Allow-Credentials".into(), "true".to_owned());
        assert!(of_listed.contains(&credentials));
        assert!(
            headers(Some("https://b.io"))
                .iter()
                .all(|(name, _)| name == "Vary")
        );
        assert!(headers(None).is_empty());
        // Nobody's cookies are for what any page may be.
        let of_null = headers(Some("null"));
        assert_eq!(of_null[0].1, "null");
        assert!(!of_null.contains(&credentials));
    }

    #[test]
    fn the_token_of_the_templates_is_for_a_development_server_on_this_machine() {
        let template = config(&[("AUTH_TOKEN", "insecure-token-change-me")]);
        let url = "/?storeId=a&transport=ws&payload=%7B%22authToken%22%3A%22insecure-token-change-me%22%7D";
        for (host, has_place, ray, expected) in [
            ("localhost", true, None, 101),
            ("127.0.0.1", true, None, 101),
            ("[::1]", true, None, 101),
            ("app.localhost", true, None, 101),
            ("sync.example.com", true, None, 503),
            ("localhost.example.com", true, None, 503),
            ("127.0.0.1.example.com", true, None, 503),
            ("192.168.0.2", true, None, 503),
            // A runtime that somebody runs by himself, and a client that says `Host: localhost`.
            ("localhost", false, None, 503),
            // Another Worker that hands on what came through the network, or a tunnel to this machine.
            ("localhost", true, Some("8f0c1a2b3c4d5e6f-FRA"), 503),
        ] {
            let request = Request {
                host,
                ray,
                has_place,
                ..request("GET", url)
            };
            let found = status(&template, &request);
            assert_eq!(found, expected, "{host} {has_place} {ray:?}");
        }
    }

    #[test]
    fn the_token_of_the_templates_is_for_a_development_server_at_hosts_that_are_listed_too() {
        let template = config(&[
            ("AUTH_TOKEN", "insecure-token-change-me"),
            ("DEV_HOSTS", "192.168.0.2, *.trycloudflare.com"),
        ]);
        let url = "/?storeId=a&transport=ws&payload=%7B%22authToken%22%3A%22insecure-token-change-me%22%7D";
        let ray = Some("8f0c1a2b3c4d5e6f-FRA");
        for (host, has_place, ray, expected) in [
            ("192.168.0.2", true, None, 101),
            ("a-b.trycloudflare.com", true, None, 101),
            // A tunnel of Cloudflare's goes through its network.
            ("a-b.trycloudflare.com", true, ray, 101),
            ("localhost", true, None, 101),
            ("localhost", true, ray, 503),
            ("192.168.0.3", true, None, 503),
            ("trycloudflare.com", true, ray, 503),
            // A runtime that somebody runs by himself.
            ("192.168.0.2", false, None, 503),
        ] {
            let request = Request {
                host,
                ray,
                has_place,
                ..request("GET", url)
            };
            assert_eq!(status(&template, &request), expected, "{host} {ray:?}");
            assert_eq!(
                asks_for_place(&template, host, "/"),
                host != "192.168.0.3" && host != "trycloudflare.com"
            );
        }
    }

    #[test]
    fn where_a_request_has_come_in_is_looked_up_for_the_token_of_the_templates_alone() {
        let with = |tokens| config(&[("AUTH_TOKEN", tokens)]);
        let template = with("mine,insecure-token-change-me");
        assert!(asks_for_place(&template, "localhost", "/"));
        assert!(!asks_for_place(&template, "sync.example.com", "/"));
        assert!(!asks_for_place(&with("mine"), "localhost", "/"));
        let open = config(&[
            ("AUTH_TOKEN", "insecure-token-change-me"),
            ("ALLOW_ANONYMOUS", "true"),
        ]);
        assert!(!asks_for_place(&open, "localhost", "/"));
    }

    #[test]
    fn a_page_is_of_the_own_origin_by_the_url_or_by_the_host_it_asked_for() {
        let url = "/?storeId=a&transport=ws";
        let (lost, own) = ("http://localhost", "http://localhost:5173");
        for (origin, host_header, page, expected) in [
            (lost, Some("localhost:5173"), own, 101),
            (lost, Some("LOCALHOST:5173"), own, 101),
            (own, Some("127.0.0.1:46521"), own, 101),
            (own, None, own, 101),
            (lost, None, own, 403),
            (lost, Some("localhost:5174"), own, 403),
            (lost, Some("localhost"), own, 403),
            (lost, Some("localhost:5173"), "https://localhost:5173", 403),
            (lost, Some("localhost:5173"), "localhost:5173", 403),
            (lost, Some("localhost:5173"), "null", 403),
            (lost, Some(""), "http://", 403),
        ] {
            let request = Request {
                origin,
                host_header,
                origin_header: Some(page),
                ..request("GET", url)
            };
            let found = status(&config(OPEN), &request);
            assert_eq!(found, expected, "{page} at {origin} by {host_header:?}");
            // A cookie counts for the same pages.
            let cookies = config(&[("AUTH_TOKEN", "t"), ("ALLOWED_ORIGINS", "*")]);
            let with_cookie = Request {
                cookie: Some("authToken=t"),
                ..request
            };
            let expected = if expected == 101 { 101 } else { 400 };
            assert_eq!(status(&cookies, &with_cookie), expected, "{page}");
        }
    }

    #[test]
    fn a_cookie_counts_from_sites_that_are_listed_and_not_from_what_any_page_may_be() {
        let listed = config(&[
            ("AUTH_TOKEN", "t"),
            ("ALLOWED_ORIGINS", "https://a.io, null, file://"),
        ]);
        for (origin, expected) in [("https://a.io", 101), ("null", 400), ("file://", 400)] {
            let request = Request {
                origin_header: Some(origin),
                cookie: Some("authToken=t"),
                ..request("GET", "/?storeId=a&transport=ws")
            };
            assert_eq!(status(&listed, &request), expected, "{origin}");
            let with_token = Request {
                authorization: Some("Bearer t"),
                ..request
            };
            assert_eq!(status(&listed, &with_token), 101, "{origin}");
        }
    }

    /// Who is refused and why.
    fn refusal(
        config: &Config,
        request: &Request<'_>,
        has_binding: bool,
    ) -> (Reason, String, String) {
        let Route::Answer(Answer {
            refusal: Some(refusal),
            ..
        }) = decide(config, request, has_binding)
        else {
            panic!("not refused");
        };
        let store_id = refusal.store_id.map(|id| id.as_str().to_owned());
        (
            refusal.reason,
            store_id.unwrap_or_default(),
            refusal.message,
        )
    }

    #[test]
    fn a_refusal_at_a_door_says_for_whom_and_why() {
        let url = "/?storeId=a%20b&transport=ws&payload=%7B%22authToken%22%3A%22hush%22%7D";
        let foreign = Request {
            origin_header: Some("https://app.example.com"),
            ..request("GET", url)
        };
        let token = config(&[("AUTH_TOKEN", "t")]);
        for (config, request, has_binding, reason, words) in [
            (
                &token,
                &request("GET", url),
                true,
                Reason::Token,
                "Invalid auth token",
            ),
            (
                &token,
                &foreign,
                true,
                Reason::Origin,
                "https://app.example.com may not use",
            ),
            (
                &config(&[]),
                &request("GET", url),
                true,
                Reason::NoPolicy,
                "AUTH_TOKEN",
            ),
            (
                &config(OPEN),
                &request("GET", url),
                false,
                Reason::NoBinding,
                "SYNC_BACKEND_DO",
            ),
        ] {
            let (found, store_id, message) = refusal(config, request, has_binding);
            assert_eq!((found, store_id.as_str()), (reason, "a b"));
            assert!(
                message.contains(words) && !message.contains("hush"),
                "{message}"
            );
            assert!(!message.contains("UnknownError"), "{message}");
        }
        let admin = config(SECRET);
        let (reason, store_id, message) =
            refusal(&admin, &request("GET", "/admin/v1/stores/a"), true);
        assert_eq!((reason, store_id.as_str()), (Reason::AdminSecret, ""));
        assert!(
            message.contains("ADMIN_SECRET") && !message.contains('{'),
            "{message}"
        );
        // What is no request of ours is nobody's refusal.
        for url in ["/", "/nowhere", "/websocket"] {
            let Route::Answer(answer) = decide(&token, &request("GET", url), true) else {
                panic!("forwarded");
            };
            assert_eq!(answer.refusal, None, "{url}");
        }
    }

    #[test]
    fn a_page_can_read_that_a_variable_does_not_parse() {
        let error = ConfigError {
            name: "PUSH_RATE",
            value: "fast".to_owned(),
            expected: "a number".to_owned(),
        };
        let page = Request {
            origin_header: Some("https://app.example.com"),
            ..request("POST", "/?storeId=a&transport=http")
        };
        let preflight = Request {
            method: "OPTIONS",
            ..page
        };
        let answer = misconfigured(&error, &Origins::Any, &page);
        assert_eq!(answer.status, 500);
        assert_eq!(answer.headers[0].0, "Access-Control-Allow-Origin");
        let refusal = answer.refusal.unwrap();
        assert_eq!(refusal.reason, Reason::Configuration);
        assert_eq!(refusal.store_id, Some(StoreId::new("a")));
        assert!(refusal.message.contains("PUSH_RATE"));
        let answer = misconfigured(&error, &Origins::Any, &preflight);
        assert_eq!((answer.status, answer.refusal), (204, None));
        assert_eq!(answer.headers[0].0, "Access-Control-Allow-Origin");
        for request in [&page, &preflight] {
            let answer = misconfigured(&error, &Origins::SameOrigin, request);
            assert_eq!((answer.status, answer.headers), (500, Headers::new()));
        }
    }

    const SECRET: &[(&str, &str)] = &[("ADMIN_SECRET", "secret"), ("ALLOWED_ORIGINS", "*")];

    #[test]
    fn what_is_let_in_is_told_to_the_object() {
        let any = config(&[("ALLOW_ANONYMOUS", "true"), ("ALLOWED_ORIGINS", "*")]);
        for (url, door, has_headers) in [
            ("/?storeId=a&transport=http", Door::Http, true),
            ("/?storeId=a&transport=ws", Door::Socket(Family::Rpc), false),
            ("/websocket?storeId=a", Door::Socket(Family::Plain), false),
        ] {
            let Route::Enter(entrant) = decide(&any, &request("GET", url), true) else {
                panic!("{url}");
            };
            assert!(!entrant.headers.is_empty(), "a refusal can be read");
            let grant = Grant {
                expires_at_ms: Some(1),
                ..Grant::default()
            };
            let visit = entrant.visit(grant.clone()).unwrap();
            assert_eq!(visit.store_id, StoreId::new("a"));
            assert_eq!(visit.errand, Errand::Sync { door, grant });
            assert_eq!(!visit.headers.is_empty(), has_headers, "{url}");
        }
    }

    #[test]
    fn a_grant_that_is_too_large_to_keep_is_refused() {
        let open = config(OPEN);
        let Route::Enter(entrant) =
            decide(&open, &request("GET", "/?storeId=a&transport=ws"), true)
        else {
            panic!("refused");
        };
        let of = |letter: char, letters: usize| Grant {
            claims: Some(format!(
                r#"{{"a":"{}"}}"#,
                letter.to_string().repeat(letters)
            )),
            ..Grant::default()
        };
        let fixed = of('x', 0).json().len();
        let room = GRANT_BYTES_MAX - fixed;
        assert!(entrant.visit(of('x', room)).is_ok());
        let refusal = entrant.visit(of('x', room + 1)).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.body.unwrap().contains("8193 bytes"));
        // A payload counts where it is kept, which is not here.
        let mut with_payload = of('x', room);
        with_payload.payload = Some("1".to_owned());
        assert!(entrant.visit(with_payload.clone()).is_ok());
        let answer = too_large(&with_payload, &entrant.store_id).unwrap();
        assert_eq!(answer.refusal.unwrap().reason, Reason::LargeGrant);
        assert_eq!(too_large(&of('x', room), &entrant.store_id), None);
        // As it is kept, a letter beyond ASCII has six.
        assert!(entrant.visit(of('é', room / 6)).is_ok());
        assert!(entrant.visit(of('é', room / 6 + 1)).is_err());
    }

    #[test]
    fn a_transport_that_is_not_served_is_named() {
        let answer = not_served(Transport::Http, &StoreId::new("a"));
        let text = "The transport http is not enabled here: see ENABLED_TRANSPORTS";
        assert_eq!((answer.status, answer.body.as_deref()), (403, Some(text)));
        assert_eq!(answer.refusal.unwrap().reason, Reason::Transport);
    }

    #[test]
    fn the_administration_is_asked_with_its_secret() {
        let config = config(SECRET);
        let url = "/admin/v1/stores/a/reset";
        let right = Request {
            authorization: Some("Bearer secret"),
            ..request("POST", url)
        };
        let visit = Visit {
            store_id: StoreId::new("a"),
            errand: Errand::Administer(admin::Ask::Reset),
            headers: Headers::new(),
        };
        assert_eq!(decide(&config, &right, true), Route::Forward(visit.clone()));
        assert_eq!(unannounced(&config, &right), Ok(visit));
        let Route::Answer(answer) = decide(&config, &right, false) else {
            panic!("forwarded without a binding");
        };
        assert_eq!(answer.status, 424);
        let wrong = request("POST", url);
        assert_eq!(status(&config, &wrong), 401);
        let refusal = unannounced(&config, &wrong).unwrap_err();
        assert_eq!(
            (refusal.status, refusal.content_type),
            (401, "application/json")
        );
        // Without a secret there is no such route.
        let none = self::config(OPEN);
        assert_eq!(status(&none, &right), 400);
        assert_eq!(unannounced(&none, &right).unwrap_err().status, 400);
    }

    #[test]
    fn tickets_are_the_workers_and_who_shows_a_wrong_one_is_told_of() {
        let config = config(SECRET);
        let url = "/admin/v1/stores/a/live";
        let asking = Request {
            authorization: Some("Bearer secret"),
            ..request("POST", url)
        };
        let showing = request("GET", url);
        let visit = administered(StoreId::new("a"), admin::Ask::Live);
        let ticket = Route::Ticket(StoreId::new("a"));
        for has_binding in [true, false] {
            assert_eq!(decide(&config, &asking, has_binding), ticket);
        }
        let checked = Route::CheckTicket(visit.clone());
        assert_eq!(decide(&config, &showing, true), checked);
        let Route::Answer(answer) = decide(&config, &showing, false) else {
            panic!("forwarded without a binding");
        };
        assert_eq!(answer.status, 424);
        let with_secret = Request {
            authorization: Some("Bearer secret"),
            ..showing
        };
        assert_eq!(
            decide(&config, &with_secret, true),
            Route::Forward(visit.clone())
        );
        assert_eq!(unannounced(&config, &with_secret), Ok(visit));
        for request in [asking, showing] {
            let answer = unannounced(&config, &request).unwrap_err();
            assert_eq!((answer.status, answer.refusal), (404, None));
        }
        let page = Request {
            origin_header: Some("https://app.example.com"),
            ..showing
        };
        // Whichever pages may sync.
        let Route::Answer(answer) = decide(&config, &page, true) else {
            panic!("let in");
        };
        assert_eq!(answer.status, 403);
        assert_eq!(answer.refusal.unwrap().reason, Reason::Origin);
        let answer = refused_ticket(TicketError::Expired, &StoreId::new("a"));
        assert_eq!(
            (answer.status, answer.content_type),
            (401, "application/json")
        );
        let refusal = answer.refusal.unwrap();
        assert_eq!(refusal.reason, Reason::AdminSecret);
        assert_eq!(refusal.store_id, Some(StoreId::new("a")));
        // Without a secret there is no such route.
        assert_eq!(status(&self::config(OPEN), &asking), 400);
    }

    #[test]
    fn the_configuration_is_told_to_who_has_the_secret_even_where_it_does_not_parse() {
        let config = config(SECRET);
        let url = "/admin/v1/config";
        let asks = |request: Request<'_>, is_local| {
            let expected = Route::Describe { is_local };
            assert_eq!(decide(&config, &request, false), expected);
            assert_eq!(describes(config.admin.as_ref(), &request), Some(is_local));
        };
        let right = Request {
            authorization: Some("Bearer secret"),
            ..request("GET", url)
        };
        asks(right, false);
        let local = Request {
            host: "localhost",
            has_place: true,
            ..right
        };
        asks(local, true);
        for (request, expected) in [
            (request("GET", url), 401),
            (
                Request {
                    method: "POST",
                    ..right
                },
                405,
            ),
            (
                Request {
                    path: "/admin/v1/configs",
                    ..right
                },
                404,
            ),
        ] {
            assert_eq!(status(&config, &request), expected);
            assert_eq!(describes(config.admin.as_ref(), &request), None);
        }
        assert_eq!(describes(None, &right), None);
        assert_eq!(unannounced(&config, &right).unwrap_err().status, 404);
    }

    #[test]
    fn the_secret_that_everybody_knows_opens_the_administration_on_this_machine_alone() {
        let template = config(&[
            ("ADMIN_SECRET", "insecure-secret-change-me"),
            ("DEV_HOSTS", "192.168.0.2"),
            ("ALLOW_ANONYMOUS", "true"),
        ]);
        let url = "/admin/v1/config";
        for (host, has_place, ray, expected) in [
            ("localhost", true, None, 200),
            ("[::1]", true, None, 200),
            ("sync.example.com", true, None, 400),
            ("192.168.0.2", true, None, 400),
            ("localhost", false, None, 400),
            ("localhost", true, Some("8f0c1a2b3c4d5e6f-FRA"), 400),
        ] {
            let request = Request {
                host,
                has_place,
                ray,
                authorization: Some("Bearer insecure-secret-change-me"),
                ..request("GET", url)
            };
            assert_eq!(status(&template, &request), expected, "{host} {ray:?}");
            let is_there = describes(template.admin.as_ref(), &request).is_some();
            assert_eq!(is_there, expected == 200);
        }
        assert!(asks_for_place(&template, "localhost", url));
        assert!(!asks_for_place(&template, "localhost", "/"));
        assert!(!asks_for_place(&template, "192.168.0.2", url));
    }

    #[test]
    fn what_comes_without_the_workers_word_may_everything() {
        let closed = config(&[("AUTH_TOKEN", "t"), ("ALLOWED_ORIGINS", "*")]);
        for (url, door) in [
            ("/x?storeId=a&transport=http&payload=1", Door::Http),
            ("/x?storeId=a&transport=ws", Door::Socket(Family::Rpc)),
            ("/x/websocket?storeId=a", Door::Socket(Family::Plain)),
        ] {
            let visit = unannounced(&closed, &request("GET", url)).unwrap();
            let grant = Grant {
                payload: (door == Door::Http).then(|| "1".to_owned()),
                ..Grant::default()
            };
            assert_eq!(visit.errand, Errand::Sync { door, grant });
            assert_eq!(visit.store_id, StoreId::new("a"));
            assert_eq!(!visit.headers.is_empty(), door == Door::Http);
        }
        for url in [
            "/",
            "/x?storeId=a",
            "/x?transport=ws",
            "/websocket",
            "/x?storeId=a&storeId=b&transport=ws",
        ] {
            let answer = unannounced(&closed, &request("GET", url)).unwrap_err();
            assert_eq!(
                (answer.status, answer.body.as_deref()),
                (400, Some("Invalid path"))
            );
        }
    }
}
