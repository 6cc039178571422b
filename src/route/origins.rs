//! Which pages may use this backend, and the CORS headers that let them read its answers.

use super::Request;
use crate::config::{OriginPattern, Origins};

impl Origins {
    /// Whether a page of `origin` may use a backend at `own`.
    pub(super) fn allow(&self, origin: &str, own: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        origin == own.to_ascii_lowercase()
            || match self {
                Self::SameOrigin => false,
                Self::Any => true,
                Self::Listed(patterns) => patterns.iter().any(|pattern| match pattern {
                    OriginPattern::Exact(exact) => *exact == origin,
                    OriginPattern::Below { scheme, domain } => origin
                        .strip_prefix(scheme.as_str())
                        .and_then(|host| host.strip_suffix(domain.as_str()))
                        .is_some_and(|label| !label.is_empty() && !label.contains('/')),
                }),
            }
    }

    /// Whether a request may be known by its cookie, which browsers add to what any page asks for: not
    /// where all pages are allowed.
    pub(super) fn may_send_cookies(&self, request: &Request<'_>) -> bool {
        match (self, request.origin_header) {
            (_, None) | (Self::Listed(_), _) => true,
            (_, Some(origin)) => origin.eq_ignore_ascii_case(request.origin),
        }
    }

    /// The CORS headers of an answer to a page of `origin`, by a backend at `own`, to whose preflight
    /// `requested` belongs; none where CORS is off or the page may not read it.
    #[must_use]
    pub fn headers(
        &self,
        origin: Option<&str>,
        own: &str,
        requested: Option<&str>,
    ) -> Vec<(&'static str, String)> {
        let allowed = match (self, origin) {
            (Self::SameOrigin, _) | (Self::Listed(_), None) => return Vec::new(),
            (Self::Any, _) => "*".to_owned(),
            (Self::Listed(_), Some(origin)) if self.allow(origin, own) => origin.to_owned(),
            (Self::Listed(_), Some(_)) => return vec![("Vary", "Origin".to_owned())],
        };
        let mut headers = vec![
            ("Access-Control-Allow-Origin", allowed),
            (
                "Access-Control-Allow-Methods",
                "GET, POST, OPTIONS".to_owned(),
            ),
            (
                "Access-Control-Allow-Headers",
                requested.unwrap_or("*").to_owned(),
            ),
        ];
        if matches!(self, Self::Listed(_)) {
            headers.push(("Vary", "Origin".to_owned()));
        }
        headers
    }
}
