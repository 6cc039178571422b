//! What the tests of the routes have in common.

use super::{Request, Route, decide};
use crate::config::Config;

pub(super) fn config(variables: &[(&str, &str)]) -> Config {
    Config::parse(|name| {
        let found = variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| (*value).to_owned())
    })
    .unwrap()
}

pub(super) const OPEN: &[(&str, &str)] = &[("ALLOW_ANONYMOUS", "true")];

pub(super) const SECRET: &[(&str, &str)] = &[("ADMIN_SECRET", "secret"), ("ALLOWED_ORIGINS", "*")];

pub(super) fn request<'a>(method: &'a str, url: &'a str) -> Request<'a> {
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

pub(super) fn status(config: &Config, request: &Request<'_>) -> u16 {
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
