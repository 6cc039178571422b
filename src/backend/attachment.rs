//! What is kept with a socket while its object is out of memory.
//!
//! *Shape*: a JSON text. `storeId` and `pullRequestIds` as sync-cf writes them; the rest is ours:
//! `format`, `backendId` (the lifetime its pulls are of), `plainPull`, `isOver` and `isFresh` (the
//! pull of a 0.3 client, whether its lifetime is over, whether it has neither pulled nor been sent
//! events), `firstRequestId`, `awaitingPullSince` (ms since the epoch), `pulls` for those that are not
//! simply live at the head, and `grant`, what the auth step verified. An attachment without `pullRequestIds` belongs to a 0.3 socket. One without `format` was
//! written by sync-cf or by the first version of this backend, and is understood; one of a later format is not.

use std::rc::Rc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::SyncBackend;
use super::connection::{Connection, Kept};
use super::subscription::{Follow, Subscription};
use crate::auth::Grant;
use crate::event::{SeqNum, StoreId};
use crate::json::quote;
use crate::limits::GRANT_BYTES_MAX;
use crate::store::EventStore;
use crate::store::sql::Sql;
use crate::wire::{Family, Generation, RequestId, Requester, Transport};

/// The format that is written.
const FORMAT: u32 = 2;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    #[serde(default)]
    format: u32,
    store_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backend_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plain_pull: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_over: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    is_fresh: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pull_request_ids: Option<Vec<Box<RawValue>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_request_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting_pull_since: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pulls: Vec<Pull>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    grant: Option<Box<RawValue>>,
    /// The sync payload, as sync-cf keeps it.
    #[serde(default, skip_serializing)]
    payload: Option<Box<RawValue>>,
    /// Forwarded headers, as sync-cf keeps them.
    #[serde(default, skip_serializing)]
    headers: Option<Box<RawValue>>,
}

impl Attachment {
    /// What sync-cf has kept of a request, for hooks; nothing where it is more than is kept here.
    fn of_request(&self) -> Grant {
        let payload = self
            .payload
            .as_deref()
            .map(|payload| payload.get().to_owned());
        let mut grant = Grant {
            payload,
            ..Grant::default()
        };
        if let Some(headers) = &self.headers {
            grant.add_headers(headers.get());
        }
        if grant.ascii_bytes() > GRANT_BYTES_MAX {
            return Grant::default();
        }
        grant
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // As serde calls it.
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// A pull that has not reached the head, or is beyond it.
#[derive(Serialize, Deserialize)]
struct Pull {
    id: Box<RawValue>,
    after: i64,
    live: bool,
    /// Whether it waits for room, and nothing of it is on its way that will be acknowledged.
    #[serde(default, skip_serializing_if = "is_false")]
    idle: bool,
}

/// Bytes that the attachment of `connection` can come to have: a pull takes most while it is not simply
/// live at the head, and each may fall behind.
pub(super) fn bytes_max<T>(connection: &Connection<T>, store_id: &StoreId) -> usize {
    const FIXED: usize = r#"{"format":2,"storeId":,"backendId":"","pullRequestIds":[],"firstRequestId":,"awaitingPullSince":,"pulls":[],"grant":,"plainPull":,"isOver":true,"isFresh":true}"#
        .len();
    const PULL: usize = r#"{"id":,"after":9007199254740991,"live":false,"idle":true},"#.len();
    let ids = connection
        .subscriptions()
        .iter()
        .map(|pull| pull.requester().id.json().len() + PULL);
    let grant = kept_grant(connection).map_or(0, |grant| grant.json().len());
    let store_id = quote(store_id.as_str()).len();
    let plain_pull = connection.plain_pull().map_or(0, |id| id.json().len());
    FIXED
        + plain_pull
        + BACKEND_ID_BYTES_MAX
        + 2 * DIGITS_MAX
        + grant
        + store_id
        + ids.sum::<usize>()
}

/// A connection that may everything, for ever, as unknown, has nothing to keep.
fn kept_grant<T>(connection: &Connection<T>) -> Option<&Rc<Grant>> {
    Some(connection.grant()).filter(|grant| ***grant != Grant::default())
}

/// Digits of the largest number in an attachment.
const DIGITS_MAX: usize = 20;

/// Bytes of a backend id in an attachment; a longer one, which nobody makes, is not kept there.
const BACKEND_ID_BYTES_MAX: usize = 64;

/// The attachment of `connection`.
pub(super) fn keep<S: Sql>(connection: &Connection<S::Text>, store: &EventStore<S>) -> String {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).ok();
    let (mut ids, mut pulls) = (Vec::new(), Vec::new());
    for subscription in connection.subscriptions() {
        let Some(id) = raw(subscription.requester().id.json()) else {
            continue;
        };
        if subscription.is_caught_up() && subscription.after() <= store.head() {
            ids.push(id);
        } else {
            pulls.push(Pull {
                id,
                after: subscription.after().to_i64(),
                live: subscription.is_live(),
                idle: subscription.is_idle(),
            });
        }
    }
    let backend_id = store.backend_id().as_str();
    let attachment = Attachment {
        format: FORMAT,
        store_id: store.store_id().as_str().to_owned(),
        backend_id: (quote(backend_id).len() <= BACKEND_ID_BYTES_MAX)
            .then(|| backend_id.to_owned()),
        plain_pull: connection.plain_pull().and_then(|id| raw(id.json())),
        is_over: connection.is_over(),
        is_fresh: connection.is_fresh(),
        pull_request_ids: (connection.family() == Family::Rpc).then_some(ids),
        first_request_id: connection.first_request(),
        awaiting_pull_since: connection.awaiting_pull_since_ms(),
        pulls,
        grant: kept_grant(connection).and_then(|grant| raw(&grant.json())),
        payload: None,
        headers: None,
    };
    serde_json::to_string(&attachment).unwrap_or_default()
}

/// The store that `text` was kept for.
pub(super) fn store_of(text: &str) -> Option<StoreId> {
    read(text).map(|attachment| StoreId::new(attachment.store_id))
}

fn read(text: &str) -> Option<Attachment> {
    let attachment: Attachment = serde_json::from_str(text).ok()?;
    (attachment.format <= FORMAT).then_some(attachment)
}

impl<S: Sql> SyncBackend<S> {
    /// The connection that `text` was kept for.
    pub(super) fn restore(&mut self, text: &str, now_ms: u64) -> Option<Connection<S::Text>> {
        let attachment = read(text)?;
        let store = &self.store;
        if attachment.store_id != store.store_id().as_str() {
            return None;
        }
        let family = match attachment.pull_request_ids {
            None => Family::Plain,
            Some(_) => Family::Rpc,
        };
        let backend_id = attachment.backend_id.as_deref();
        let is_over = backend_id.is_some_and(|id| id != store.backend_id().as_str());
        if is_over && family == Family::Rpc {
            return None;
        }
        let is_over = is_over || attachment.is_over;
        let grant = match &attachment.grant {
            None if self.rules.uses.sees_requests() => attachment.of_request(),
            None => Grant::default(),
            Some(grant) => Grant::from_json(grant.get())?,
        };
        let transport = Transport::WebSocket;
        let connection = Connection::new(family, transport, grant, &self.in_flight, now_ms);
        let (head, mut subscriptions) = (store.head(), Vec::new());
        let ids = attachment.pull_request_ids.unwrap_or_default();
        let live = ids.into_iter().map(|id| Pull {
            id,
            after: head.to_i64(),
            live: true,
            idle: false,
        });
        let pulls = live.chain(attachment.pulls).filter(|_| !is_over);
        for pull in pulls {
            let Some(requester) = requester(family, pull.id.get()) else {
                continue;
            };
            let page_head = self.page_heads.text(&self.store, &requester, transport);
            let (after, room) = (SeqNum::clamped(pull.after), connection.room().clone());
            subscriptions.push(if pull.live && after >= head {
                Subscription::caught_up(requester, after, page_head, room)
            } else {
                let follow = if pull.live {
                    Follow::Frames
                } else {
                    Follow::Nothing
                };
                self.is_paused |= pull.idle;
                Subscription::new(requester, follow, after, page_head, room)
                    .with_earlier(!pull.idle)
            });
        }
        if family == Family::Plain && !subscriptions.is_empty() {
            self.plain_at_ms = Some(now_ms);
        }
        let first_request = attachment.first_request_id.or_else(|| {
            // Kept by sync-cf: its ids are all we know of the socket's past.
            let ids = subscriptions.iter();
            ids.filter_map(|pull| pull.requester().id.counter()).min()
        });
        Some(
            connection.restored(Kept {
                subscriptions,
                first_request,
                awaiting_pull_since_ms: attachment.awaiting_pull_since,
                plain_pull: attachment
                    .plain_pull
                    .and_then(|id| RequestId::from_json(id.get())),
                is_over,
                is_fresh: attachment.is_fresh,
            }),
        )
    }
}

fn requester(family: Family, id: &str) -> Option<Requester> {
    let id = RequestId::from_json(id)?;
    let generation = match family {
        Family::Plain => Generation::V03,
        Family::Rpc => id.rpc_generation(),
    };
    Some(Requester {
        id,
        generation,
        trace_id: None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::in_flight::Sum;
    use super::*;

    fn raw(json: &str) -> Box<RawValue> {
        RawValue::from_string(json.to_owned()).unwrap()
    }

    #[test]
    fn an_attachment_may_come_to_have_the_bytes_that_are_reckoned_with_and_hardly_fewer() {
        for pulls in [1, 2, 50] {
            let grant = Grant {
                claims: Some(r#"{"sub":"somebody"}"#.to_owned()),
                ..Grant::default()
            };
            let (rpc, socket) = (Family::Rpc, Transport::WebSocket);
            let mut connection =
                Connection::<()>::new(rpc, socket, grant.clone(), &Sum::default(), 0);
            connection.set_plain_pull(&RequestId::from_json("\"plain\"").unwrap());
            let ids: Vec<String> = (0..pulls).map(|number| format!("\"{number}\"")).collect();
            for id in &ids {
                let requester = requester(rpc, id).unwrap();
                let (follow, after, room) =
                    (Follow::Frames, SeqNum::ROOT, connection.room().clone());
                connection.insert(Subscription::new(requester, follow, after, (), room));
            }
            let store_id = "a \"store\"";
            let largest = Attachment {
                format: FORMAT,
                store_id: store_id.to_owned(),
                backend_id: Some("i".repeat(BACKEND_ID_BYTES_MAX - 2)),
                plain_pull: Some(raw("\"plain\"")),
                is_over: true,
                is_fresh: true,
                pull_request_ids: Some(Vec::new()),
                first_request_id: Some(u64::MAX),
                awaiting_pull_since: Some(u64::MAX),
                pulls: ids
                    .iter()
                    .map(|id| Pull {
                        id: raw(id),
                        after: SeqNum::clamped(i64::MAX).to_i64(),
                        live: false,
                        idle: true,
                    })
                    .collect(),
                grant: Some(raw(&grant.json())),
                payload: None,
                headers: None,
            };
            let bytes = serde_json::to_string(&largest).unwrap().len();
            let reckoned = bytes_max(&connection, &StoreId::new(store_id));
            assert!(
                (bytes..bytes + 6).contains(&reckoned),
                "{reckoned} for {bytes}"
            );
        }
    }

    #[test]
    fn what_is_left_out_of_an_attachment_is_understood_and_a_later_format_is_not() {
        let of_sync_cf = r#"{"storeId":"s","pullRequestIds":["1"]}"#;
        let attachment = read(of_sync_cf).unwrap();
        assert_eq!((attachment.format, attachment.is_over), (0, false));
        assert_eq!(attachment.pull_request_ids.as_ref().unwrap().len(), 1);
        assert_eq!(store_of(of_sync_cf), Some(StoreId::new("s")));
        assert_eq!(attachment.of_request(), Grant::default());
        let of_request = |payload: &str| {
            let kept = format!(
                r#"{{"storeId":"s","payload":{payload},"pullRequestIds":[],"headers":{{"cookie":"a=b"}}}}"#
            );
            read(&kept).unwrap().of_request()
        };
        let grant = of_request(r#"{"authToken":"t"}"#);
        assert_eq!(grant.payload.as_deref(), Some(r#"{"authToken":"t"}"#));
        assert_eq!(grant.headers, [("cookie".to_owned(), "a=b".to_owned())]);
        let large = format!("\"{}\"", "x".repeat(GRANT_BYTES_MAX));
        assert_eq!(of_request(&large), Grant::default());
        let with = |format: u32| format!(r#"{{"format":{format},"storeId":"s"}}"#);
        assert!(read(&with(FORMAT)).is_some() && read(&with(FORMAT + 1)).is_none());
        assert_eq!(store_of(&with(FORMAT + 1)), None);
    }
}
