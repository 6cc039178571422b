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
