//! What is known of a request before its store is.

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
    /// [`super::asks_for_place`] says so.
    pub has_place: bool,
}

impl Request<'_> {
    /// Whether it asks for a WebSocket.
    pub(super) fn is_upgrade(&self) -> bool {
        self.upgrade
            .is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }
}
