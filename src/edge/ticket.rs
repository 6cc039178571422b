//! Tickets are signed and checked here, in the Worker: nothing wakes an object before. What one says is `auth`'s.

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::js;
use crate::auth::{AdminSecret, Ticket, TicketError};
use crate::event::StoreId;
use crate::limits::TICKET_MS;

#[wasm_bindgen(module = "/src/edge/ticket.js")]
extern "C" {
    /// A promise of the answer with a ticket that expires at this time, of which this text is signed.
    #[wasm_bindgen(js_name = issue)]
    fn issue_signed(secret: &str, text: &str, expiry: f64) -> Promise;

    /// A promise of whether this is the signature of a text.
    #[wasm_bindgen(js_name = isSigned)]
    fn is_signed(secret: &str, text: &str, signature: &str) -> Promise;
}

/// A promise of the answer with a ticket for `store_id`: `{"ticket":"…","expiresAt":"…"}`.
#[allow(clippy::cast_precision_loss)] // Times are far below 2^53.
pub(super) fn issue(secret: &AdminSecret, store_id: &StoreId) -> Promise {
    let expires_at_ms = js::now_ms() + TICKET_MS;
    let text = Ticket::signed(&expires_at_ms.to_string(), store_id);
    issue_signed(secret.reveal(), &text, expires_at_ms as f64)
}

/// Whether these subprotocols have a ticket for `store_id`.
pub(super) async fn check(
    secret: &AdminSecret,
    store_id: &StoreId,
    protocols: &str,
) -> Result<(), TicketError> {
    let ticket = Ticket::among(protocols)?;
    let finding = is_signed(
        secret.reveal(),
        &ticket.claims(store_id),
        ticket.signature(),
    );
    // Where it fails there is no finding, and nobody is let in.
    let finding = JsFuture::from(finding).await.unwrap_or_default();
    ticket.check(finding.is_truthy(), js::now_ms())
}
