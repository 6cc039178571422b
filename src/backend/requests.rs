//! What a message of a client asks for, done in one turn: checked, then decided, stored, published,
//! acknowledged in this order (INV-2).

use std::rc::Rc;

use super::callers::Caller;
use super::connection::{Connection, Subscription};
use super::report::{Reason, Report};
use super::{ConnectionId, Content, Output, SyncBackend, TRY_AGAIN, attachment, iso_8601};
use crate::auth::Access;
use crate::event::{Batch, Event, SeqNum};
use crate::eventlog::{Admission, Refusal, admit, check_lifetime};
use crate::limits::{ATTACHMENT_BYTES_MAX, ATTACHMENT_RESERVE_BYTES, PUSH_GROWTH_BYTES};
use crate::store::sql::Sql;
use crate::wire::{
    self, AdminAsk, CallerContext, Cursor, Failure, Generation, Inbound, RequestId, Requester,
    Transport,
};

impl<S: Sql> SyncBackend<S> {
    /// Whether a connection may send this message; refuses it if not.
    pub fn check(
        &mut self,
        from: ConnectionId,
        inbound: &Inbound<'_>,
        frame_bytes: usize,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) -> bool {
        // A push of no events stores nothing, so it takes nothing from an allowance.
        let (requester, store_id, is_push, has_events) = match inbound {
            Inbound::Push {
                requester,
                store_id,
                events,
                ..
            } => (requester, store_id, true, !events.is_empty()),
            Inbound::Pull {
                requester,
                store_id,
                ..
            }
            | Inbound::PingRequest {
                requester,
                store_id,
            } => (requester, store_id, false, false),
            _ => return true,
        };
        let Some(connection) = self.connection_mut(from) else {
            return false;
        };
        connection.note_request(requester);
        let grant = Rc::clone(connection.grant());
        if !self.check_expiry(from, requester, now_ms, out) {
            return false;
        }
        let own = self.store.store_id().as_str();
        let frame_bytes_max = self.limits.frame_bytes_max;
        let (reason, message) = if store_id.as_deref().is_some_and(|store_id| store_id != own) {
            let message = "payload.storeId is not the store of this connection";
            (Reason::OtherStore, message.to_owned())
        } else if frame_bytes > frame_bytes_max {
            let message = format!(
                "the frame has {frame_bytes} bytes, but at most {frame_bytes_max} are accepted (MAX_FRAME_BYTES)"
            );
            (Reason::FrameTooLarge, message)
        } else if !is_push {
            return true;
        } else if grant.access == Access::ReadOnly {
            let message = "the token grants reading alone: pushes are refused";
            (Reason::ReadOnly, message.to_owned())
        } else if has_events && !self.take_push(from, now_ms) {
            let rate = self.limits.push_rate.unwrap_or_default();
            let message =
                format!("more than {rate} pushes per second (PUSH_RATE): try again later");
            (Reason::PushRate, message)
        } else {
            return true;
        };
        let failure = Failure::Unknown { message };
        self.fail(from, requester, reason, failure, now_ms, out);
        false
    }

    /// Whether the token of a connection is still good; closes the connection or refuses the request if
    /// not. The part of [`SyncBackend::check`] that can change while a hook waits.
    pub fn check_expiry(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) -> bool {
        let Some(connection) = self.connection(from) else {
            return false;
        };
        if !connection.grant().is_expired(now_ms) {
            return true;
        }
        if connection.transport() == Transport::WebSocket {
            self.close_expired(from, now_ms, out);
        } else {
            let message = "the token has expired".to_owned();
            let failure = Failure::Unknown { message };
            self.fail(from, requester, Reason::Expired, failure, now_ms, out);
        }
        false
    }

    /// Takes one push from what `PUSH_RATE` leaves to a connection, if it leaves one.
    pub(super) fn take_push(&mut self, from: ConnectionId, now_ms: u64) -> bool {
        let Some(rate) = self.limits.push_rate else {
            return true;
        };
        match self.connection_mut(from) {
            Some(connection) if connection.transport() == Transport::WebSocket => {
                connection.allowance().take(rate, now_ms)
            }
            _ => self.allowance.take(rate, now_ms),
        }
    }

    /// Does what a message asks for, all of it in this turn.
    pub fn on_message(
        &mut self,
        from: ConnectionId,
        inbound: Inbound<'_>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let Some((family, transport)) = self.connection(from).map(Connection::speaks) else {
            return;
        };
        match inbound {
            Inbound::Push {
                requester,
                backend_id,
                events,
                store_id: _,
            } => {
                if let (None, Some(connection)) = (&backend_id, self.connection_mut(from)) {
                    // A client that has pulled before would name the backend id it got.
                    connection.expect_no_pull();
                }
                self.push(from, &requester, backend_id.as_deref(), events, now_ms, out);
                self.close_overdue(now_ms, out);
            }
            Inbound::Pull {
                requester,
                live,
                cursor,
                caller,
                store_id: _,
            } => {
                let follow = Follow::of(live, caller, &requester);
                self.pull(from, &requester, follow, cursor, now_ms, out);
            }
            Inbound::Ack { id } => self.acknowledge(from, &id, out),
            Inbound::Interrupt { requester } => self.interrupt(from, &requester, out),
            Inbound::Ping => self.send(from, wire::pong(family), out),
            Inbound::PingRequest { requester, .. } => {
                self.send(from, &wire::ping_done(&requester, transport), out);
            }
            Inbound::Admin {
                requester,
                ask,
                secret,
            } => self.administer(from, &requester, ask, &secret, now_ms, out),
            Inbound::Malformed(malformed) => self.refuse_message(from, &malformed, now_ms, out),
            Inbound::Nothing => {}
        }
    }

    pub(super) fn push(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        backend_id: Option<&str>,
        events: Vec<Event<'_>>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let lifetime = check_lifetime(self.store.backend_id(), backend_id);
        if let (Err(refusal), false) = (lifetime, events.is_empty()) {
            return self.refuse(from, requester, refusal, now_ms, out);
        }
        let names = &self.rules.event_names;
        let misnamed = events.iter().enumerate();
        let misnamed = misnamed.filter(|(_, event)| !names.allow(&event.name));
        if let Some((index, event)) = misnamed.take(1).next() {
            let name: String = event.name.chars().take(100).collect();
            let message =
                format!("batch[{index}].name is '{name}', which EVENT_NAMES does not allow");
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::EventName, failure, now_ms, out);
        }
        let batch = match Batch::parse(events, &self.limits) {
            Ok(Some(batch)) => batch,
            Ok(None) => return self.send(from, &wire::push_ack(requester), out),
            Err(error) => {
                let message = error.to_string();
                let failure = Failure::Unknown { message };
                return self.fail(from, requester, Reason::NoBatch, failure, now_ms, out);
            }
        };
        let client_id = batch.client_id().to_owned();
        let admission = match admit(&self.store, batch) {
            Ok(admission) => admission,
            Err(refusal) => {
                if let Refusal::ServerAhead { .. } = refusal
                    && let Some(refusals) = self.stats.lost_race(&client_id)
                {
                    out.push(Output::Report(Report::StuckClient {
                        client_id,
                        refusals,
                    }));
                }
                return self.refuse(from, requester, refusal, now_ms, out);
            }
        };
        self.stats.won_race(&client_id);
        let Admission::Append(batch) = admission else {
            self.stats.pushes_repeated += 1;
            return self.acknowledge_push(from, requester, out);
        };
        let bytes_max = self.limits.store_bytes_max;
        if self.bytes_at_most >= bytes_max {
            self.bytes_at_most = self.store.size_bytes();
        }
        let bytes = self.bytes_at_most;
        if bytes >= bytes_max {
            let message = format!(
                "the store has {bytes} bytes, but at most {bytes_max} are accepted (MAX_STORE_BYTES)"
            );
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::StoreFull, failure, now_ms, out);
        }
        if let Err(error) = self.store.append(&batch, &iso_8601(now_ms)) {
            return self.refuse(from, requester, Refusal::Store(error), now_ms, out);
        }
        let events = batch.events().len();
        let content = batch.events().iter().map(Event::content_bytes);
        let growth = PUSH_GROWTH_BYTES + 2 * content.sum::<usize>() as u64;
        self.bytes_at_most = self.bytes_at_most.saturating_add(growth);
        self.stats.pushes += 1;
        self.stats.events += events as u64;
        let is_plain = requester.generation == Generation::V03;
        if is_plain {
            // These clients are used to the acknowledgement before the broadcast; both follow the commit.
            self.acknowledge_push(from, requester, out);
        }
        self.publish(from, requester, &batch, now_ms, out);
        self.call_idle(now_ms, out);
        if !is_plain {
            self.acknowledge_push(from, requester, out);
        }
        out.push(Output::Report(Report::Stored {
            about: self.about(from, requester),
            events,
            head: self.store.head(),
        }));
    }

    pub(super) fn acknowledge_push(
        &self,
        to: ConnectionId,
        requester: &Requester,
        out: &mut Vec<Output<S::Text>>,
    ) {
        out.push(Output::Send {
            to,
            content: Content::Acknowledgement,
            frame: self.store.text(&wire::push_ack(requester)),
        });
    }

    pub(super) fn pull(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        follow: Follow,
        cursor: Option<Cursor<'_>>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let received = cursor
            .as_ref()
            .and_then(|cursor| cursor.backend_id.as_deref());
        if let Err(refusal) = check_lifetime(self.store.backend_id(), received) {
            return self.refuse(from, requester, refusal, now_ms, out);
        }
        let Some(transport) = self.connection(from).map(Connection::transport) else {
            return;
        };
        let after = cursor.map_or(SeqNum::ROOT, |cursor| cursor.after);
        let head = self.page_heads.text(&self.store, requester, transport);
        let (id, live) = (requester.id.clone(), follow == Follow::Frames);
        let subscription = Subscription::new(requester.clone(), live, after, head);
        let subscription = subscription.followed_by(follow.caller());
        let Some(connection) = self.connection_mut(from) else {
            return;
        };
        connection.expect_no_pull();
        // A request id used again means the newer request.
        connection.remove(&id);
        connection.insert(subscription);
        // Refused while nothing has been sent, so that the pull ends as a whole.
        let store_id = self.store.store_id();
        let reserve = if live { ATTACHMENT_RESERVE_BYTES } else { 0 };
        let is_full = |connection: &Connection<S::Text>| {
            attachment::bytes_max(connection, store_id) > ATTACHMENT_BYTES_MAX - reserve
        };
        if self.connection(from).is_some_and(is_full) {
            if let Some(connection) = self.connection_mut(from) {
                connection.remove(&id);
            }
            let message =
                "this connection has as many pulls under way as one connection can hold".to_owned();
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::Pulls, failure, now_ms, out);
        }
        self.stats.pulls += 1;
        self.send_pages(from, Some(&id), out);
        let about = self.about(from, requester);
        out.push(Output::Report(Report::Pulled { about, after }));
    }

    pub(super) fn acknowledge(
        &mut self,
        from: ConnectionId,
        id: &RequestId,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let Some(connection) = self.connection_mut(from) else {
            return;
        };
        if let Some(subscription) = connection.find_mut(id) {
            subscription.acknowledge();
            self.send_more(from, id, out);
        } else if !connection.has_seen(id) && connection.transport() == Transport::WebSocket {
            // The client waits for pages of a pull that was answered before this object existed. Only
            // a closed socket makes it pull again; see ARCHITECTURE.md.
            out.push(Output::Report(Report::UnknownPull));
            let reason = "unknown pull: connect and pull again";
            self.close(from, TRY_AGAIN, reason, out);
        }
    }

    /// Closes the sockets of clients that should have pulled by now. Such a client lost its connection
    /// without noticing, has a new one, and waits on it for a pull that ended with the old one; it
    /// pulls again once this one is closed too.
    pub(super) fn close_overdue(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        for index in 0..self.connections.len() {
            let connection = ConnectionId::new(index);
            if self
                .connection(connection)
                .is_some_and(|connection| connection.is_overdue(now_ms))
            {
                out.push(Output::Report(Report::Overdue));
                let reason = "no pull on this connection: connect and pull again";
                self.close(connection, TRY_AGAIN, reason, out);
            }
        }
    }

    pub(super) fn interrupt(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        out: &mut Vec<Output<S::Text>>,
    ) {
        if let Some(connection) = self.connection_mut(from) {
            connection.remove(&requester.id);
        }
        // Also for a request that is over or unknown, so that no client waits for it. Where a request is a
        // connection of its own, its client has left.
        let is_socket = self
            .connection(from)
            .is_some_and(|connection| connection.transport() == Transport::WebSocket);
        if let Some(answer) = wire::interrupted(requester).filter(|_| is_socket) {
            self.send(from, &answer, out);
        }
    }

    pub(super) fn administer(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        ask: AdminAsk,
        secret: &str,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let is_right = self.rules.admin.as_ref().is_some_and(|own| own.is(secret));
        if !is_right {
            let message = "Invalid admin secret".to_owned();
            let failure = Failure::Unknown { message };
            return self.fail(from, requester, Reason::AdminSecret, failure, now_ms, out);
        }
        let done = wire::admin_done(requester, ask, &self.rules.object_id);
        match ask {
            AdminAsk::Info => self.send(from, &done, out),
            // The host has the randomness that a new lifetime takes.
            AdminAsk::Reset => out.push(Output::Reset {
                from,
                done: self.store.text(&done),
            }),
        }
    }
}

/// What a pull wants after its last page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing.
    Nothing,
    /// Frames on the same connection.
    Frames,
    /// Calls to an object.
    Calls(Caller),
}

impl Follow {
    fn of(live: bool, caller: Option<CallerContext<'_>>, requester: &Requester) -> Self {
        match (live, caller) {
            (false, _) => Self::Nothing,
            (true, None) => Self::Frames,
            (true, Some(caller)) => Self::Calls(Caller {
                binding: caller.binding_name.into_owned(),
                object_id: caller.durable_object_id.into_owned(),
                request: requester.id.clone(),
            }),
        }
    }

    fn caller(self) -> Option<Caller> {
        match self {
            Self::Calls(caller) => Some(caller),
            Self::Nothing | Self::Frames => None,
        }
    }
}
