//! Whether a connection may ask for this at all: what is looked at before hooks and before the log.

use std::rc::Rc;

use super::connection::Connection;
use super::refusal::{Reason, Refusal};
use super::report::{About, Report};
use super::stats::Who;
use super::{ConnectionId, EXPIRED, Output, SyncBackend, TRY_LATER, Turn};
use crate::auth::Access;
use crate::event::StoreId;
use crate::store::EventStore;
use crate::store::sql::Sql;
use crate::wire::{self, Generation, Inbound, Malformed, Requester, Transport};

/// Whether a message may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    /// It may.
    Yes,
    /// It has been refused.
    No,
    /// It may at this time, in milliseconds since the epoch.
    Later(u64),
}

impl<S: Sql> SyncBackend<S> {
    /// Whether an object that is not in memory yet may serve `store_id` to a visitor with this access: who may
    /// only read makes no store.
    ///
    /// # Errors
    /// [`Refusal::NoStore`].
    pub fn may_open(sql: &S, store_id: &StoreId, access: Access) -> Result<(), Refusal> {
        if access == Access::ReadWrite {
            return Ok(());
        }
        match EventStore::exists(sql, store_id) {
            Ok(false) => Err(Refusal::NoStore),
            // Whether it can be read shows when it is opened.
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Whether one more socket may be accepted, for a client of `store_id`.
    ///
    /// # Errors
    /// [`Refusal::OtherObject`], [`Refusal::Deleting`], [`Refusal::Restoring`], [`Refusal::Connections`].
    pub fn admit(&mut self, store_id: &StoreId, now_ms: u64) -> Result<(), Refusal> {
        let refusal = if self.store.store_id() != store_id {
            Refusal::OtherObject
        } else if self.is_deleting() {
            Refusal::Deleting
        } else if self.import.is_some() {
            Refusal::Restoring
        } else if self.socket_count() >= self.limits.connections_max {
            Refusal::Connections
        } else {
            return Ok(());
        };
        self.stats.refuse(&refusal, Who::default(), now_ms);
        Err(refusal)
    }

    /// Whether a connection may send this message; refuses it if not.
    pub(super) fn check(
        &mut self,
        from: ConnectionId,
        inbound: &Inbound<'_>,
        frame_bytes: usize,
        turn: &mut Turn<S::Text>,
    ) -> Checked {
        let (Inbound::Push {
            requester,
            store_id,
            ..
        }
        | Inbound::Pull {
            requester,
            store_id,
            ..
        }
        | Inbound::PingRequest {
            requester,
            store_id,
        }
        | Inbound::Unsubscribe {
            requester,
            store_id,
            ..
        }) = inbound
        else {
            return Checked::Yes;
        };
        let Some(connection) = self.connections.get_mut(from) else {
            return Checked::No;
        };
        connection.note_request(requester);
        if let Inbound::Push { events, .. } = inbound
            && let Some(event) = events.first()
        {
            connection.note_client(&event.client_id);
        }
        if matches!(inbound, Inbound::Pull { .. }) {
            // Also one that is refused, or waits for a hook: its client does not wait for an older one.
            connection.expect_no_pull();
        }
        if !self.check_expiry(from, requester, turn) {
            return Checked::No;
        }
        let own = self.store.store_id().as_str();
        if store_id.as_deref().is_some_and(|store_id| store_id != own) {
            self.refuse(from, requester, Refusal::OtherStore, turn);
            return Checked::No;
        }
        if self.is_deleting() || self.import.is_some() {
            self.put_off(from, inbound, requester, turn);
            return Checked::No;
        }
        let bytes_max = self.limits.frame_bytes_max;
        if frame_bytes > bytes_max {
            let bytes = frame_bytes;
            let refusal = Refusal::FrameTooLarge { bytes, bytes_max };
            self.refuse(from, requester, refusal, turn);
            return Checked::No;
        }
        match inbound {
            Inbound::Push { events, .. } => {
                self.check_push(from, requester, !events.is_empty(), turn)
            }
            _ => Checked::Yes,
        }
    }

    /// A push of no events stores nothing, so it takes nothing from an allowance.
    fn check_push(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        has_events: bool,
        turn: &mut Turn<S::Text>,
    ) -> Checked {
        let Some(connection) = self.connections.get(from) else {
            return Checked::No;
        };
        let grant = Rc::clone(connection.grant());
        let refusal = if grant.access != Access::ReadWrite {
            Refusal::ReadOnly
        } else if connection.is_over() {
            Refusal::OtherLifetime
        } else if let Some(rate) = self.limits.push_rate.filter(|_| has_events) {
            match self.allowances.take(&grant, rate, turn.now_ms) {
                Some(0) => return Checked::Yes,
                Some(wait_ms) => return Checked::Later(turn.now_ms + wait_ms),
                None => Refusal::PushRate { rate },
            }
        } else {
            return Checked::Yes;
        };
        self.refuse(from, requester, refusal, turn);
        Checked::No
    }

    /// Whether the token of a connection is still good; closes the connection or refuses the request if
    /// not. The part of [`SyncBackend::check`] that can change while a hook waits.
    pub(super) fn check_expiry(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        turn: &mut Turn<S::Text>,
    ) -> bool {
        let Some(connection) = self.connections.get(from) else {
            return false;
        };
        if !connection.grant().is_expired(turn.now_ms) {
            return true;
        }
        if connection.is_socket() {
            self.close_expired(from, turn);
        } else {
            self.refuse(from, requester, Refusal::Expired, turn);
        }
        false
    }

    pub(super) fn close_expired(&mut self, id: ConnectionId, turn: &mut Turn<S::Text>) {
        let (refusal, who) = (Refusal::Expired, self.who(id));
        self.stats.refuse(&refusal, who, turn.now_ms);
        turn.out.push(Output::Report(Report::Expired));
        let reason = "the token has expired: connect again with a new one";
        self.close(id, EXPIRED, reason, turn);
    }

    /// Tells a client that its request is not done. What may be done later is told in the way that has its client
    /// ask again; see ARCHITECTURE.md.
    pub(super) fn refuse(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        refusal: Refusal,
        turn: &mut Turn<S::Text>,
    ) {
        let (about, who) = (self.about(to, requester), self.who_is_told(to, &refusal));
        let is_to_close = match (about.transport, about.generation) {
            // The first would lose what is published before it is back; the second would wait for somebody else's
            // event.
            (Transport::WebSocket, Generation::V03) | (Transport::DoRpc, Generation::V04) => false,
            (Transport::WebSocket | Transport::Http | Transport::DoRpc, _) => true,
        };
        if refusal.is_temporary() && is_to_close {
            let reason = short_reason(refusal.reason());
            self.close(to, TRY_LATER, reason, turn);
        } else {
            self.send(to, &wire::failed(requester, &refusal.failure()), turn);
        }
        self.report_refusal(about, who, refusal, turn);
    }

    /// Counts a refusal, and reports it.
    pub(super) fn report_refusal(
        &mut self,
        about: About,
        who: Who,
        refusal: Refusal,
        turn: &mut Turn<S::Text>,
    ) {
        self.stats.refuse(&refusal, who, turn.now_ms);
        if let Refusal::Storage { what, error } = &refusal {
            turn.out.push(Output::Report(Report::StoreFailed {
                during: what,
                message: error.message.clone(),
            }));
        }
        let about = Some(about);
        turn.out
            .push(Output::Report(Report::Refused { about, refusal }));
    }

    /// Answers a message that was not understood.
    pub(super) fn refuse_message(
        &mut self,
        to: ConnectionId,
        malformed: &Malformed,
        turn: &mut Turn<S::Text>,
    ) {
        let family = self.connections.get(to).map(Connection::family);
        if let Some(answer) = family.and_then(|family| wire::malformed(family, malformed)) {
            self.send(to, &answer, turn);
        }
        let (refusal, who) = (Refusal::of_message(malformed), self.who(to));
        self.stats.refuse(&refusal, who, turn.now_ms);
    }

    /// Whose connection it is, as far as that is known.
    pub(super) fn who(&self, of: ConnectionId) -> Who {
        let connection = self.connections.get(of);
        connection.map(Connection::who).unwrap_or_default()
    }

    /// The same for a refusal, unless nothing is kept of it: lost races are many.
    fn who_is_told(&self, of: ConnectionId, refusal: &Refusal) -> Who {
        match refusal.reason() {
            Reason::ServerAhead => Who::default(),
            _ => self.who(of),
        }
    }

    pub(super) fn about(&self, from: ConnectionId, requester: &Requester) -> About {
        let connection = self.connections.get(from);
        let transport = connection.map_or(Transport::WebSocket, Connection::transport);
        About::new(requester, transport)
    }
}

/// What a socket is closed with whose request may be done later.
fn short_reason(reason: Reason) -> &'static str {
    match reason {
        Reason::PushRate => "too many pushes (PUSH_RATE): try again later",
        Reason::StoreFull => "the store is full (MAX_STORE_BYTES): try again later",
        Reason::Storage => "storage failed: try again later",
        Reason::Restoring => "the store is being restored: try again later",
        Reason::Deleting => "the store is being deleted: try again later",
        _ => "too much at once: try again later",
    }
}
