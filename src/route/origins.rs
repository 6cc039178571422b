//! Which pages may use this backend, and the CORS headers that let them read its answers.

use std::borrow::Cow;

use super::{Headers, Request};
use crate::config::{OriginPattern, Origins, is_site};

/// Whether a request comes from a page of the backend's own origin: that of the URL, or of the header `Host`
/// where the URL has lost its port on the way, as behind a development server.
fn is_same_origin(request: &Request<'_>, origin: &str) -> bool {
    let is_of_host = || {
        let (scheme, _) = request.origin.split_once("://")?;
        let (own, host) = origin.split_once("://")?;
        let is_same = own.eq_ignore_ascii_case(scheme)
            && request
                .host_header
                .is_some_and(|header| !host.is_empty() && header.eq_ignore_ascii_case(host));
        Some(is_same)
    };
    origin.eq_ignore_ascii_case(request.origin) || is_of_host() == Some(true)
}

/// Whether a page of `origin` may make this request.
fn may_use(origins: &Origins, request: &Request<'_>, origin: &str) -> bool {
    is_same_origin(request, origin)
        || match origins {
            Origins::SameOrigin => false,
            Origins::Any => true,
            Origins::Listed(patterns) => is_listed(patterns, &origin.to_ascii_lowercase()),
        }
}

fn is_listed(patterns: &[OriginPattern], origin: &str) -> bool {
    patterns.iter().any(|pattern| match pattern {
        OriginPattern::Exact(exact) => exact == origin,
        OriginPattern::Below { scheme, domain } => origin
            .strip_prefix(scheme.as_str())
            .and_then(|host| host.strip_suffix(domain.as_str()))
            .is_some_and(|label| !label.is_empty() && !label.contains('/')),
    })
}

/// The origin of the page that may not make this request, if there is one. Browsers let any page open a
/// WebSocket anywhere, so it is the backend that has to look.
pub(super) fn forbidden<'a>(origins: &Origins, request: &Request<'a>) -> Option<&'a str> {
    let origin = request.origin_header?;
    (!may_use(origins, request, origin)).then_some(origin)
}

/// Whether a request may be known by its cookie, which browsers add to what any page asks for: not where all
/// pages are allowed, or where any page may be one of those that are.
pub(super) fn may_send_cookies(origins: &Origins, request: &Request<'_>) -> bool {
    match (origins, request.origin_header) {
        (_, None) => true,
        (Origins::Listed(_), Some(origin)) if is_site(origin) => true,
        (_, Some(origin)) => is_same_origin(request, origin),
    }
}

/// The CORS headers of the answer to a request; none where CORS is off or the page may not read it.
pub(super) fn headers(origins: &Origins, request: &Request<'_>) -> Headers {
    let allowed = match (origins, request.origin_header) {
        (Origins::SameOrigin, _) | (Origins::Listed(_), None) => return Vec::new(),
        (Origins::Any, _) => "*",
        (Origins::Listed(_), Some(origin)) if may_use(origins, request, origin) => origin,
        (Origins::Listed(_), Some(_)) => return vec![header("Vary", "Origin")],
    };
    let requested = request.requested_headers.unwrap_or("*");
    let mut headers = vec![
        header("Access-Control-Allow-Origin", allowed),
        header("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
        header("Access-Control-Allow-Headers", requested),
    ];
    if matches!(origins, Origins::Listed(_)) {
        // To `*`, and to what any page may be, nobody's cookies are sent.
        if is_site(allowed) {
            headers.push(header("Access-Control-Allow-Credentials", "true"));
        }
        headers.push(header("Vary", "Origin"));
    }
    headers
}

fn header(name: &'static str, value: &str) -> (Cow<'static, str>, String) {
    (Cow::Borrowed(name), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{OPEN, config, request, status};
    use super::super::{Route, decide};
    use super::*;

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
}
