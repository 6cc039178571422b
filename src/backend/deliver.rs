//! What subscriptions are sent: pages of the log, and batches as they are pushed.
//!
//! Owns INV-6: a live pull gets each event once, in order, whether by page or by broadcast, and owes no
//! more acknowledgements than a window (INV-11). A batch is encoded once per family; a frame is that
//! text between a head and a tail.

use std::rc::Rc;

use super::connection::Subscription;
use super::{ConnectionId, Content, Output, Report, SyncBackend, iso_8601};
use crate::event::Batch;
use crate::eventlog::split;
use crate::limits::{PIECE_BYTES_MAX, TURN_BYTES_MAX};
use crate::store::EventStore;
use crate::store::sql::{Sql, StoreError, Text as _};
use crate::wire::{self, Family, Generation, PageInfo, RequestId, Requester, Transport};

/// Page heads by request id, since clients of different sockets use the same few ids.
pub(super) struct PageHeads<T> {
    recent: Option<(RequestId, T)>,
}

impl<S: Sql> SyncBackend<S> {
    /// Sends a stored batch to every subscription that has everything before it, the pusher's first.
    pub(super) fn publish(
        &mut self,
        pusher: ConnectionId,
        requester: &Requester,
        batch: &Batch<'_>,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let created_at = &iso_8601(now_ms);
        let mut expired: Vec<ConnectionId> = Vec::new();
        let mut rpc: Option<Vec<S::Text>> = None;
        let mut plain: Option<S::Text> = None;
        let mut behind: Vec<(ConnectionId, RequestId)> = Vec::new();
        let mut changed: Vec<ConnectionId> = Vec::new();
        let (store, tail) = (&self.store, &self.last_page_tail);
        let ids = std::iter::once(pusher.index())
            .chain((0..self.connections.len()).filter(|index| *index != pusher.index()));
        // Each part of the batch is news once, however many get it.
        let (mut is_first, mut deliveries) = (true, 0);
        // Sockets whose pull has the same request id get the very same text.
        let mut recent: Option<(RequestId, Vec<S::Text>)> = None;
        for index in ids {
            let Some(Some(connection)) = self.connections.get_mut(index) else {
                continue;
            };
            let to = ConnectionId::new(index);
            if connection.grant().is_expired(now_ms) {
                // An answer that is under way was good when it was asked for, and ends by itself.
                if connection.transport() == Transport::WebSocket {
                    expired.push(to);
                }
                continue;
            }
            match connection.family() {
                Family::Plain => {
                    if connection.subscriptions().is_empty() {
                        let frame = plain
                            .get_or_insert_with(|| plain_frame(store, requester, batch, created_at))
                            .clone();
                        deliveries += 1;
                        let content = Content::Broadcast { is_first };
                        out.push(Output::Send { to, content, frame });
                        is_first = false;
                    }
                }
                Family::Rpc => {
                    for subscription in connection.subscriptions_mut() {
                        if subscription.watch(batch.last(), now_ms) {
                            out.push(Output::Report(Report::StuckPull {
                                generation: subscription.requester().generation,
                                lag: batch.last().since(subscription.after()),
                            }));
                        }
                        if !subscription.is_caught_up() {
                            continue;
                        }
                        if subscription.after() >= batch.last() {
                            // Its cursor was beyond the head; what is kept of it says how far.
                            if subscription.after() == batch.last() {
                                changed.push(to);
                            }
                            continue;
                        }
                        let bodies = rpc
                            .get_or_insert_with(|| bodies(store, Family::Rpc, batch, created_at));
                        // Its cursor may have been beyond the head, and lie inside this batch; or it
                        // acknowledges more slowly than others push.
                        let straddles = subscription.after() > batch.parent();
                        if straddles || !subscription.has_room_for(bodies.len()) {
                            subscription.page_again();
                            behind.push((to, subscription.requester().id.clone()));
                            continue;
                        }
                        subscription.sent(batch.last(), bodies.len());
                        let id = &subscription.requester().id;
                        if recent.as_ref().is_none_or(|(known, _)| known != id) {
                            let head = subscription.page_head();
                            let frames = bodies
                                .iter()
                                .map(|body| S::Text::join(head, body, tail))
                                .collect();
                            recent = Some((id.clone(), frames));
                        }
                        if let Some((_, frames)) = &recent {
                            deliveries += frames.len() as u64;
                            out.extend(frames.iter().map(|frame| Output::Send {
                                to,
                                content: Content::Broadcast { is_first },
                                frame: frame.clone(),
                            }));
                            is_first = false;
                        }
                    }
                }
            }
        }
        self.stats.deliveries += deliveries;
        for connection in expired {
            self.close_expired(connection, now_ms, out);
        }
        for (to, id) in behind {
            self.send_more(to, &id, out);
            changed.push(to);
        }
        for connection in changed {
            if let Some(connection) = self.connection_mut(connection) {
                connection.mark_changed();
            }
            self.remember(connection, out);
        }
    }

    /// Sends pages of one pull, or of all that have some to send, up to what one turn may.
    pub(super) fn send_pages(
        &mut self,
        to: ConnectionId,
        only: Option<&RequestId>,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let store = &self.store;
        let Some(Some(connection)) = self.connections.get_mut(to.index()) else {
            return;
        };
        let (family, transport) = (connection.family(), connection.transport());
        let (mut failed, mut callers) = (None, Vec::new());
        let before = out.len();
        for subscription in connection.subscriptions_mut() {
            if subscription.is_caught_up()
                || only.is_some_and(|only| *only != subscription.requester().id)
            {
                continue;
            }
            let pull = Pull {
                family,
                transport,
                to,
            };
            match send_turn(store, pull, &self.last_page_tail, subscription, out) {
                // 0.3 has no acknowledgements: the next pages follow in a turn of their own.
                Ok(Sent::Window) if family == Family::Plain => out.push(Output::Resume),
                Ok(Sent::Window | Sent::Everything) => {}
                Err(error) => failed = Some((subscription.requester().clone(), error)),
            }
            if let Some(caller) = subscription.take_caller() {
                callers.push((caller, subscription.after()));
            }
        }
        connection.remove_finished();
        let is_page = |output: &&Output<S::Text>| {
            matches!(
                output,
                Output::Send {
                    content: Content::Page { .. },
                    ..
                }
            )
        };
        self.stats.pages += out.iter().skip(before).filter(is_page).count() as u64;
        if let Some((requester, error)) = failed {
            self.fail_pull(to, &requester, error, out);
        }
        for (caller, after) in callers {
            self.subscribe_caller(to, caller, after, out);
        }
    }

    /// Sends more pages of a pull if there are some and enough of those before have arrived.
    pub(super) fn send_more(
        &mut self,
        to: ConnectionId,
        id: &RequestId,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let subscription = self
            .connection_mut(to)
            .and_then(|connection| connection.find_mut(id));
        if subscription.is_some_and(|subscription| subscription.is_ready()) {
            self.send_pages(to, Some(id), out);
        }
    }
}

impl<T: Clone> PageHeads<T> {
    pub(super) fn new() -> Self {
        Self { recent: None }
    }

    /// The head of the pages that answer `requester`.
    pub(super) fn text<S: Sql<Text = T>>(
        &mut self,
        store: &EventStore<S>,
        requester: &Requester,
        transport: Transport,
    ) -> T {
        let is_usual = requester.generation != Generation::V03 && transport != Transport::DoRpc;
        match &self.recent {
            Some((id, text)) if *id == requester.id && is_usual => text.clone(),
            _ => {
                let text = store.text(&wire::page_head(requester, transport));
                if is_usual {
                    self.recent = Some((requester.id.clone(), text.clone()));
                }
                text
            }
        }
    }
}

/// How far a turn got with one pull.
enum Sent {
    /// To the end of the log.
    Everything,
    /// As far as may be on its way at once.
    Window,
}

/// Where the pages of a pull go.
#[derive(Clone, Copy)]
struct Pull {
    family: Family,
    transport: Transport,
    to: ConnectionId,
}

fn send_turn<S: Sql>(
    store: &EventStore<S>,
    Pull {
        family,
        transport,
        to,
    }: Pull,
    last_page_tail: &S::Text,
    subscription: &mut Subscription<S::Text>,
    out: &mut Vec<Output<S::Text>>,
) -> Result<Sent, StoreError> {
    let bytes_max = match transport {
        Transport::WebSocket => TURN_BYTES_MAX,
        Transport::Http | Transport::DoRpc => PIECE_BYTES_MAX,
    };
    let mut bytes = 0;
    loop {
        let page = store.page(family, subscription.after())?;
        let info = PageInfo::remaining(store.last_stored().since(page.last));
        let tail = match info {
            PageInfo::NoMore if family == Family::Rpc => last_page_tail.clone(),
            _ => store.text(&wire::page_tail(
                subscription.requester(),
                info,
                store.backend_id(),
            )),
        };
        let items = page.items.unwrap_or_else(|| store.text(""));
        let frame = S::Text::join(subscription.page_head(), &items, &tail);
        let content = Content::Page {
            of: Rc::clone(subscription.requester()),
        };
        out.push(Output::Send { to, content, frame });
        subscription.sent(page.last, 1);
        if info == PageInfo::NoMore {
            if !subscription.finish_paging() {
                let done = wire::pull_done(subscription.requester());
                out.extend(done.map(|done| Output::Send {
                    to,
                    content: Content::Answer,
                    frame: store.text(&done),
                }));
            }
            return Ok(Sent::Everything);
        }
        bytes += page.bytes;
        let window_is_full = family == Family::Rpc && subscription.is_window_full();
        if bytes >= bytes_max || window_is_full {
            return Ok(Sent::Window);
        }
    }
}

/// The pages of a pushed batch, without envelopes.
fn bodies<S: Sql>(
    store: &EventStore<S>,
    family: Family,
    batch: &Batch<'_>,
    created_at: &str,
) -> Vec<S::Text> {
    let pages = split(family, batch.events(), created_at);
    pages.map(|page| store.text(&page)).collect()
}

/// The one frame in which 0.3 sockets get a pushed batch.
fn plain_frame<S: Sql>(
    store: &EventStore<S>,
    pusher: &Requester,
    batch: &Batch<'_>,
    created_at: &str,
) -> S::Text {
    let (mut frame, tail) = wire::plain_broadcast(pusher);
    wire::encode_items(Family::Plain, batch.events(), created_at, &mut frame);
    frame.push_str(&tail);
    store.text(&frame)
}
