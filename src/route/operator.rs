//! Who comes to the administration, and what becomes of it: [`admin`] reads what is asked for.

use super::admin::{self, Ask, Asked};
use super::development::is_local;
use super::{Answer, Errand, Headers, Reason, Refusal, Request, Route, Visit, no_binding};
use crate::auth::{AdminSecret, TicketError};
use crate::config::Config;
use crate::event::StoreId;

/// The secret to show, if a request is one to the administration and that exists: to the secret that everybody knows, on this machine
/// alone.
pub(super) fn secret<'c>(
    secret: Option<&'c AdminSecret>,
    request: &Request<'_>,
) -> Option<&'c AdminSecret> {
    let secret = secret?;
    let exists =
        request.path.starts_with(admin::PREFIX) && (!secret.is_template() || is_local(request));
    exists.then_some(secret)
}

/// What to do with such a request at the Worker.
pub(super) fn arrive(
    config: &Config,
    request: &Request<'_>,
    secret: &AdminSecret,
    has_binding: bool,
) -> Result<Route, Answer> {
    match administer(request, secret)? {
        Asked::Config => Ok(Route::Describe {
            is_local: is_local(request),
        }),
        Asked::Stores(listing) => Ok(Route::List(listing)),
        Asked::Ticket(store_id) => Ok(Route::Ticket(store_id)),
        Asked::Store(store_id, _) | Asked::LiveByTicket(store_id) if !has_binding => {
            Err(no_binding(config, &store_id))
        }
        Asked::LiveByTicket(store_id) => Ok(Route::CheckTicket(administered(store_id, Ask::Live))),
        Asked::Store(store_id, ask) => Ok(Route::Forward(administered(store_id, ask))),
    }
}

/// What to do with it at an object that it has reached without the Worker's word.
pub(super) fn unannounced(request: &Request<'_>, secret: &AdminSecret) -> Result<Visit, Answer> {
    let of_worker = |what: &str| Answer::json(404, admin::Refusal::new(404, what).body);
    match administer(request, secret)? {
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
    }
}

/// Whether an operator asks how the deployment is configured, of which a variable does not parse: then whether it is a development server
/// on this machine.
#[must_use]
pub fn describes(secret: Option<&AdminSecret>, request: &Request<'_>) -> Option<bool> {
    let secret = self::secret(secret, request)?;
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
fn administered(store_id: StoreId, ask: Ask) -> Visit {
    Visit {
        store_id,
        errand: Errand::Administer(ask),
        headers: Headers::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OPEN, SECRET, config, request, status};
    use super::super::{asks_for_place, decide, unannounced};
    use super::*;

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
            errand: Errand::Administer(Ask::Reset),
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
        let visit = administered(StoreId::new("a"), Ask::Live);
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
}
