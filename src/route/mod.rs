//! What a request to the Worker is, and what it is answered: pure, so that every door is a table test.
//!
//! Owns the statuses and texts that clients of sync-cf know, the sync query, and CORS. A sync request
//! that passes is forwarded to its store's object.

pub mod admin;
mod origins;
mod query;

use std::borrow::Cow;

use crate::auth::{AdminSecret, Decision, Denied, Facts};
use crate::config::{Config, Origins};
use crate::event::StoreId;
use crate::json::quote;
use crate::limits::STORE_ID_BYTES_MAX;
use crate::wire::Transport;

pub use query::{Door, QueryError, SyncQuery, door_of, store_in};

/// What is known of a request before its store is.
#[derive(Clone, Copy, Debug)]
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
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Answer it here.
    Answer(Answer),
    /// Hand it to the object of its store.
    Forward(Visit),
    /// Hand it to the object of this store, which knows the administration's routes.
    Administer {
        /// The store.
        store_id: StoreId,
    },
}

/// A sync request that is let in, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The store.
    pub store_id: StoreId,
    /// What remains to be checked of it.
    pub decision: Decision,
    /// How it is to go on.
    pub transport: Transport,
    /// The sync payload as JSON text.
    pub payload: Option<String>,
    /// Whether its client is one of 0.3, which is answered in other words.
    pub is_plain: bool,
    /// CORS headers of its answer.
    pub headers: Vec<(&'static str, String)>,
}

impl Visit {
    /// The answer to a request that is refused after all.
    #[must_use]
    pub fn refusal(&self, message: &str) -> Answer {
        Answer {
            headers: self.headers.clone(),
            ..refused(message, self.is_plain)
        }
    }

    /// Another answer to this request.
    #[must_use]
    pub fn answer(&self, status: u16, body: String) -> Answer {
        Answer {
            headers: self.headers.clone(),
            ..Answer::text(status, body)
        }
    }
}

#[inline(never)]
fn refused(message: &str, is_plain: bool) -> Answer {
    let error = if is_plain {
        "LiveStore.UnexpectedError"
    } else {
        "UnknownError"
    };
    let text = format!(
        "{error}: {{ \"cause\": Error: {message}, \"note\": undefined, \"payload\": undefined }}"
    );
    Answer::text(400, text)
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
    pub headers: Vec<(&'static str, String)>,
}

impl Answer {
    fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Some(body.into()),
            content_type: "text/plain",
            headers: Vec::new(),
        }
    }
}

/// The header in which the Worker tells the object what it has verified.
pub const GRANT_HEADER: &str = "x-livestore-sync-grant";

/// Decides about a request. `has_binding` tells whether the Durable Object binding exists.
#[must_use]
#[inline(never)]
pub fn route(config: &Config, request: &Request<'_>, has_binding: bool) -> Route {
    let mut answer = match decide(config, request, has_binding) {
        Ok(route) => return route,
        Err(answer) => answer,
    };
    // The greeting is for people who open the URL, not for pages.
    if answer.status != 200 {
        answer.headers = config.origins.headers(
            request.origin_header,
            request.origin,
            request.requested_headers,
        );
    }
    Route::Answer(answer)
}

fn decide(config: &Config, request: &Request<'_>, has_binding: bool) -> Result<Route, Answer> {
    if let Some(secret) = &config.admin
        && request.path.starts_with(admin::PREFIX)
    {
        return administer(config, request, secret, has_binding);
    }
    if request.method == "OPTIONS" && config.origins != Origins::SameOrigin {
        return Err(Answer {
            status: 204,
            body: None,
            content_type: "text/plain",
            headers: Vec::new(),
        });
    }
    let query = SyncQuery::parse(request.query);
    let transport = query
        .as_ref()
        .ok()
        .and_then(|query| query.transport.clone());
    let has_transport =
        form_urlencoded::parse(request.query.as_bytes()).any(|(key, _)| key == "transport");
    let is_plain = request.path.ends_with("/websocket") && !has_transport;
    let is_rpc = matches!(transport.as_deref(), Some("ws" | "http"));
    if !is_plain && !is_rpc {
        if request.method == "GET" && request.path == "/" {
            return Err(Answer::text(
                200,
                "Info: Sync backend endpoint for @livestore/sync-cf.",
            ));
        }
        return Err(Answer::text(400, "Invalid path"));
    }
    let query = query.map_err(|error| {
        let what = match error {
            QueryError::StoreId => "storeId must be given once",
            QueryError::Payload => "payload must be JSON, encoded twice",
        };
        Answer::text(500, format!("Invalid search params: {what}"))
    })?;
    let store_id_bytes = quote(query.store_id.as_str()).len();
    if store_id_bytes > STORE_ID_BYTES_MAX {
        let text = format!(
            "storeId has {store_id_bytes} bytes as JSON, but at most {STORE_ID_BYTES_MAX} are accepted"
        );
        return Err(Answer::text(400, text));
    }
    check_origin(config, request)?;
    let decision = authorize(config, request, &query, is_plain)?;
    if !has_binding {
        return Err(no_binding(config));
    }
    if transport.as_deref() != Some("http")
        && !request
            .upgrade
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    {
        return Err(Answer::text(
            426,
            "Durable Object expected Upgrade: websocket",
        ));
    }
    let transport = match transport.as_deref() {
        Some("http") => Transport::Http,
        _ => Transport::WebSocket,
    };
    Ok(Route::Forward(Visit {
        store_id: query.store_id,
        decision,
        transport,
        payload: query.payload,
        is_plain,
        headers: config.origins.headers(
            request.origin_header,
            request.origin,
            request.requested_headers,
        ),
    }))
}

#[inline(never)]
fn administer(
    config: &Config,
    request: &Request<'_>,
    secret: &AdminSecret,
    has_binding: bool,
) -> Result<Route, Answer> {
    let asked = admin::Request {
        method: request.method,
        path: request.path,
        query: request.query,
        authorization: request.authorization,
    };
    match admin::read(&asked, secret) {
        Ok((store_id, _)) if has_binding => Ok(Route::Administer { store_id }),
        Ok(_) => Err(no_binding(config)),
        Err(refusal) => Err(Answer {
            content_type: "application/json",
            ..Answer::text(refusal.status, refusal.body)
        }),
    }
}

fn no_binding(config: &Config) -> Answer {
    let name = config.binding.as_deref().unwrap_or("SYNC_BACKEND_DO");
    let text = format!("Failed dependency: Required Durable Object binding '{name}' not available");
    Answer::text(424, text)
}

/// Browsers let any page open a WebSocket anywhere, so it is the backend that has to look.
fn check_origin(config: &Config, request: &Request<'_>) -> Result<(), Answer> {
    match request.origin_header {
        Some(origin) if !config.origins.allow(origin, request.origin) => {
            let origin: String = origin.chars().take(200).collect();
            let text = format!("Origin {origin} may not use this backend: see ALLOWED_ORIGINS");
            Err(Answer::text(403, text))
        }
        _ => Ok(()),
    }
}

fn authorize(
    config: &Config,
    request: &Request<'_>,
    query: &SyncQuery,
    is_plain: bool,
) -> Result<Decision, Answer> {
    let facts = Facts {
        payload: query.payload.as_deref(),
        authorization: request.authorization,
        cookie: request
            .cookie
            .filter(|_| config.origins.may_send_cookies(request)),
        is_localhost: is_localhost(request.host),
    };
    config.policy.decide(facts).map_err(|denied| match denied {
        Denied::NotConfigured(sentence) => Answer::text(503, sentence),
        Denied::Refused(message) => refused(message, is_plain),
    })
}

fn is_localhost(host: &str) -> bool {
    matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "::1") || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

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
            origin_header: None,
            upgrade: Some("websocket"),
            requested_headers: None,
            authorization: None,
            cookie: None,
        }
    }

    fn status(config: &Config, request: &Request<'_>) -> u16 {
        match route(config, request, true) {
            Route::Answer(answer) => answer.status,
            Route::Forward(_) | Route::Administer { .. } => 101,
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
        assert_eq!(status(&open, &plain), 426);
        let Route::Answer(answer) =
            route(&open, &request("GET", "/?storeId=a&transport=ws"), false)
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
            let Route::Answer(answer) = route(&closed, &request("GET", url), true) else {
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
        let answer = |request: &Request<'_>| match route(&any, request, true) {
            Route::Answer(answer) => answer,
            Route::Forward(_) | Route::Administer { .. } => panic!("forwarded"),
        };
        let preflight = Request {
            requested_headers: Some("b3, x-a"),
            ..request("OPTIONS", "/")
        };
        let answered = answer(&preflight);
        assert_eq!((answered.status, answered.body), (204, None));
        assert_eq!(
            answered.headers[0],
            ("Access-Control-Allow-Origin", "*".to_owned())
        );
        assert_eq!(
            answered.headers[2],
            ("Access-Control-Allow-Headers", "b3, x-a".to_owned())
        );
        assert!(!answer(&request("GET", "/nowhere")).headers.is_empty());
        assert!(answer(&request("GET", "/")).headers.is_empty());
    }

    #[test]
    fn a_listed_origin_is_echoed_and_answers_vary_by_it() {
        let listed = config(&[
            ("ALLOW_ANONYMOUS", "true"),
            ("ALLOWED_ORIGINS", "https://a.io"),
        ]);
        let headers = |origin| {
            let request = Request {
                origin_header: origin,
                ..request("GET", "/nowhere")
            };
            match route(&listed, &request, true) {
                Route::Answer(answer) => answer.headers,
                Route::Forward(_) | Route::Administer { .. } => panic!("forwarded"),
            }
        };
        assert_eq!(headers(Some("https://a.io"))[0].1, "https://a.io");
        assert!(
            headers(Some("https://b.io"))
                .iter()
                .all(|(name, _)| *name == "Vary")
        );
        assert!(headers(None).is_empty());
    }
}
