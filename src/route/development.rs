//! Whether a request has come to a development server: there, and nowhere else, counts what everybody knows.

use super::{Request, admin};
use crate::config::Config;

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
pub(super) fn is_local(request: &Request<'_>) -> bool {
    is_localhost(request.host) && request.has_place && request.ray.is_none()
}

/// Whether a request has come to a development server, on this machine or at a host that the deployment says: there through a tunnel
/// as well, which is a network's.
pub(super) fn is_development(config: &Config, request: &Request<'_>) -> bool {
    is_local(request) || (config.dev_hosts.has(request.host) && request.has_place)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{config, request, status};
    use super::*;

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
}
