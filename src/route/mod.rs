//! What a request to the Worker is, and what it is answered: pure, so that every door is a table test.
//!
//! Here is the order of what is decided, for who comes to the Worker, and who comes to an object past it. Each of
//! the files owns what one step goes by: the statuses and texts that clients of sync-cf know, the sync query, CORS,
//! the administration, and what the object of a store is told of a request: a [`Visit`].

pub mod admin;
mod answer;
mod development;
mod entrant;
mod operator;
mod origins;
mod query;
mod refusals;
mod request;
#[cfg(test)]
mod testing;
mod visit;

use crate::auth::{Decision, Denied, Facts, Grant};
use crate::config::{Config, ConfigError, Origins};
use crate::event::StoreId;
use crate::json::quote;
use crate::limits::STORE_ID_BYTES_MAX;

use admin::Listing;
use query::Query;

pub use answer::{Answer, Headers};
pub use development::{asks_for_place, may_administer_here};
pub use entrant::{Entrant, not_enabled, not_served, too_large};
pub use operator::{describes, refused_ticket};
pub use query::{Door, store_in, sync_params};
pub use refusals::{Reason, Refusal, Refusals};
pub use request::Request;
pub use visit::{Errand, VISIT_HEADER, Visit};

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
    if let Some(secret) = operator::secret(config.admin.as_ref(), request) {
        return operator::unannounced(request, secret);
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
    if let Some(secret) = operator::secret(config.admin.as_ref(), request) {
        return operator::arrive(config, request, secret, has_binding);
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
        is_development: development::is_development(config, request),
    };
    let decision = config.policy.decide(facts).map_err(|denied| match denied {
        Denied::NotConfigured(sentence) => {
            Answer::text(503, sentence).because(Reason::NoPolicy, Some(&store_id))
        }
        Denied::Refused(message) => entrant::refused(door, &store_id, Reason::Token, message),
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

fn no_binding(config: &Config, store_id: &StoreId) -> Answer {
    let name = config.binding.as_deref().unwrap_or("SYNC_BACKEND_DO");
    let text = format!("Failed dependency: Required Durable Object binding '{name}' not available");
    Answer::text(424, text).because(Reason::NoBinding, Some(store_id))
}

#[cfg(test)]
mod tests {
    use super::testing::{OPEN, SECRET, config, request, status};
    use super::*;
    use crate::wire::Family;

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
