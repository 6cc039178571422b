//! Tickets: what a page shows that opens a socket of the administration, where it cannot send the secret.
//!
//! Whoever has the secret is given one. It is of one store and of one minute, and nothing of it is kept anywhere: its signature
//! shows that this deployment made it. What signs is the host's.
//!
//! *Shape*: `<expiry>.<signature>`, milliseconds since the epoch in decimal digits, and the HMAC-SHA-256 of [`Ticket::signed`] in
//! base64url. These are letters that a subprotocol of a WebSocket may have, which is where a page can put it.

use thiserror::Error;

use crate::event::StoreId;
use crate::limits::TICKET_MS;

/// The subprotocol beside which a ticket stands.
pub const LIVE_PROTOCOL: &str = "livestore-admin";

/// Why a ticket opens nothing. The text is what its bearer is told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TicketError {
    /// There is none.
    #[error(
        "the header 'Authorization: Bearer <ADMIN_SECRET>' is missing, and there is no ticket in the subprotocols: offer \
         '{LIVE_PROTOCOL}' and the ticket that POST to the same address answers"
    )]
    Missing,
    /// It is no ticket.
    #[error("the ticket is none: it is not what POST to the same address answers")]
    Malformed,
    /// Its signature is another one's.
    #[error("the ticket is not of this store and this ADMIN_SECRET, or was changed")]
    Unsigned,
    /// It is too late.
    #[error("the ticket has expired: it is good for {} seconds, ask for another", TICKET_MS / 1_000)]
    Expired,
}

/// A ticket as it is shown, its signature not yet looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket<'a> {
    expiry: &'a str,
    expires_at_ms: u64,
    signature: &'a str,
}

impl<'a> Ticket<'a> {
    /// What has to be signed of a ticket for `store_id` that expires at this time, as it is written.
    #[must_use]
    pub fn signed(expiry: &str, store_id: &StoreId) -> String {
        format!("{expiry}\n{}", store_id.as_str())
    }

    /// The ticket among offered subprotocols, which are the value of a header.
    ///
    /// # Errors
    /// [`TicketError::Missing`], [`TicketError::Malformed`].
    pub fn among(protocols: &'a str) -> Result<Self, TicketError> {
        let mut offered = protocols.split(',').map(str::trim);
        if !offered.any(|protocol| protocol == LIVE_PROTOCOL) {
            return Err(TicketError::Missing);
        }
        Self::read(offered.next().ok_or(TicketError::Missing)?)
    }

    fn read(text: &'a str) -> Result<Self, TicketError> {
        let (expiry, signature) = text.split_once('.').ok_or(TicketError::Malformed)?;
        let is_number = expiry.bytes().all(|byte| byte.is_ascii_digit());
        let expires_at_ms = expiry.parse().ok().filter(|_| is_number);
        Ok(Self {
            expiry,
            expires_at_ms: expires_at_ms.ok_or(TicketError::Malformed)?,
            signature,
        })
    }

    /// What has to be signed for it to be of `store_id`.
    #[must_use]
    pub fn claims(&self, store_id: &StoreId) -> String {
        Self::signed(self.expiry, store_id)
    }

    /// The signature that it has.
    #[must_use]
    pub fn signature(&self) -> &'a str {
        self.signature
    }

    /// Whether it opens anything at `now_ms`, its signature being right or not. The moment it expires at is too late.
    ///
    /// # Errors
    /// [`TicketError::Unsigned`] first: who made one up is told nothing of its time.
    pub fn check(&self, is_signed: bool, now_ms: u64) -> Result<(), TicketError> {
        if !is_signed {
            return Err(TicketError::Unsigned);
        }
        if now_ms >= self.expires_at_ms {
            return Err(TicketError::Expired);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_ticket_stands_behind_the_name_of_the_protocol() {
        for (protocols, expected) in [
            ("livestore-admin, 17.c2ln", Ok("c2ln")),
            ("livestore-admin,17.c2ln", Ok("c2ln")),
            (" a , livestore-admin ,  17.c2ln , b", Ok("c2ln")),
            ("livestore-admin, 17.", Ok("")),
            ("livestore-admin, 17.a.b", Ok("a.b")),
            ("", Err(TicketError::Missing)),
            ("livestore-admin", Err(TicketError::Missing)),
            ("17.c2ln, livestore-admin", Err(TicketError::Missing)),
            ("LiveStore-Admin, 17.c2ln", Err(TicketError::Missing)),
            ("17.c2ln", Err(TicketError::Missing)),
            ("livestore-admin, ", Err(TicketError::Malformed)),
            ("livestore-admin, 17", Err(TicketError::Malformed)),
            ("livestore-admin, .c2ln", Err(TicketError::Malformed)),
            ("livestore-admin, +17.c2ln", Err(TicketError::Malformed)),
            ("livestore-admin, 1e3.c2ln", Err(TicketError::Malformed)),
            (
                "livestore-admin, 99999999999999999999.c2ln",
                Err(TicketError::Malformed),
            ),
        ] {
            let ticket = Ticket::among(protocols);
            assert_eq!(
                ticket.map(|ticket| ticket.signature()),
                expected,
                "{protocols}"
            );
        }
    }

    #[test]
    fn it_is_good_until_the_moment_it_names_if_it_is_signed() {
        let ticket = Ticket::among("livestore-admin, 1000.c2ln").unwrap();
        for (is_signed, now_ms, expected) in [
            (true, 0, Ok(())),
            (true, 999, Ok(())),
            (true, 1_000, Err(TicketError::Expired)),
            (true, u64::MAX, Err(TicketError::Expired)),
            (false, 0, Err(TicketError::Unsigned)),
            (false, 1_000, Err(TicketError::Unsigned)),
        ] {
            assert_eq!(
                ticket.check(is_signed, now_ms),
                expected,
                "{is_signed} {now_ms}"
            );
        }
    }

    #[test]
    fn a_changed_expiry_is_another_text_to_be_signed() {
        let store_id = StoreId::new("a");
        let claims = |protocols| Ticket::among(protocols).unwrap().claims(&store_id);
        assert_eq!(claims("livestore-admin, 17.c2ln"), "17\na");
        assert_ne!(
            claims("livestore-admin, 017.c2ln"),
            claims("livestore-admin, 17.c2ln")
        );
    }

    #[test]
    fn each_fault_is_told_in_words() {
        for (error, words) in [
            (
                TicketError::Missing,
                "offer 'livestore-admin' and the ticket",
            ),
            (
                TicketError::Malformed,
                "not what POST to the same address answers",
            ),
            (TicketError::Unsigned, "not of this store"),
            (TicketError::Expired, "good for 60 seconds"),
        ] {
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_is_of_one_expiry_and_one_store(
            one in any::<u64>(), other in any::<u64>(), store in any::<String>(), another in any::<String>(),
        ) {
            let signed = |expiry: u64, store: &str| {
                Ticket::signed(&expiry.to_string(), &StoreId::new(store.to_owned()))
            };
            let is_same = signed(one, &store) == signed(other, &another);
            prop_assert_eq!(is_same, one == other && store == another);
        }

        #[test]
        fn no_header_does_harm(protocols in any::<String>(), behind in any::<String>()) {
            let _ = Ticket::among(&protocols);
            let _ = Ticket::among(&format!("{LIVE_PROTOCOL},{behind}"));
        }
    }
}
