//! A client that comes to sync and is let in, or is not: in the words of its dialect, which clients of sync-cf know.

use super::{Answer, Door, Errand, Headers, Reason, Refusal, Visit};
use crate::auth::{Decision, Grant};
use crate::event::StoreId;
use crate::limits::GRANT_BYTES_MAX;
use crate::wire::Transport;

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
pub(super) fn refused(door: Door, store_id: &StoreId, reason: Reason, message: &str) -> Answer {
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

#[cfg(test)]
mod tests {
    use super::super::testing::{OPEN, config, request, status};
    use super::super::{Route, decide};
    use super::*;
    use crate::wire::Family;

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
}
