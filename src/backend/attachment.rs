//! What is kept with a socket while its object is out of memory.
//!
//! *Shape*: a JSON text. `storeId` and `pullRequestIds` as sync-cf writes them; the rest is ours:
//! `firstRequestId`, `awaitingPullSince` (ms since the epoch), and `pulls` for those that are not simply live at the head. An attachment without
//! `pullRequestIds` belongs to a 0.3 socket.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::connection::{Connection, Subscription};
use crate::event::{SeqNum, StoreId};
use crate::wire::{Family, Generation, RequestId, Requester, quote};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    store_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pull_request_ids: Option<Vec<Box<RawValue>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_request_id: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    awaiting_pull_since: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pulls: Vec<Pull>,
}

/// A pull that has not reached the head, or is beyond it.
#[derive(Serialize, Deserialize)]
struct Pull {
    id: Box<RawValue>,
    after: u64,
    live: bool,
}

/// Bytes that the attachment of `connection` can come to have: a pull takes most while it is not simply
/// live at the head, and each may fall behind.
pub(super) fn bytes_max<T>(connection: &Connection<T>, store_id: &StoreId) -> usize {
    const FIXED: usize =
        r#"{"storeId":,"pullRequestIds":[],"firstRequestId":,"awaitingPullSince":,"pulls":[]}"#
            .len();
    const PULL: usize = r#"{"id":,"after":9007199254740991,"live":false},"#.len();
    let ids = connection
        .subscriptions()
        .iter()
        .map(|pull| pull.requester().id.json().len() + PULL);
    FIXED + 2 * DIGITS_MAX + quote(store_id.as_str()).len() + ids.sum::<usize>()
}

/// Digits of the largest number in an attachment.
const DIGITS_MAX: usize = 20;

/// The attachment of `connection`.
pub(super) fn keep<T>(connection: &Connection<T>, store_id: &StoreId, head: SeqNum) -> String {
    let raw = |requester: &Requester| RawValue::from_string(requester.id.json().to_owned()).ok();
    let (mut ids, mut pulls) = (Vec::new(), Vec::new());
    for subscription in connection.subscriptions() {
        let Some(id) = raw(subscription.requester()) else {
            continue;
        };
        if subscription.is_caught_up() && subscription.after() <= head {
            ids.push(id);
        } else {
            let (after, live) = (subscription.after().get(), subscription.is_live());
            pulls.push(Pull { id, after, live });
        }
    }
    let attachment = Attachment {
        store_id: store_id.as_str().to_owned(),
        pull_request_ids: (connection.family() == Family::Rpc).then_some(ids),
        first_request_id: connection.first_request(),
        awaiting_pull_since: connection.awaiting_pull_since_ms(),
        pulls,
    };
    // Plain data with text keys: nothing in it can fail to be written.
    serde_json::to_string(&attachment).unwrap_or_default()
}

/// The store that `text` was kept for.
pub(super) fn store_of(text: &str) -> Option<StoreId> {
    serde_json::from_str::<Attachment>(text)
        .ok()
        .map(|attachment| StoreId::new(attachment.store_id))
}

/// The connection that `text` was kept for, at an object whose head is `head`.
pub(super) fn restore<T>(
    text: &str,
    store_id: &StoreId,
    head: SeqNum,
    mut page_head: impl FnMut(&Requester) -> T,
) -> Option<Connection<T>> {
    let attachment: Attachment = serde_json::from_str(text).ok()?;
    if attachment.store_id != store_id.as_str() {
        return None;
    }
    let family = match attachment.pull_request_ids {
        None => Family::Plain,
        Some(_) => Family::Rpc,
    };
    let requester = |id: &RawValue| {
        let id = RequestId::from_json(id.get())?;
        let generation = match family {
            Family::Plain => Generation::V03,
            Family::Rpc => id.rpc_generation(),
        };
        Some(Requester { id, generation })
    };
    let ids = attachment.pull_request_ids.unwrap_or_default();
    let mut subscriptions = Vec::with_capacity(ids.len() + attachment.pulls.len());
    for requester in ids.iter().filter_map(|id| requester(id)) {
        let page_head = page_head(&requester);
        subscriptions.push(Subscription::caught_up(requester, head, page_head));
    }
    for pull in &attachment.pulls {
        let Some(requester) = requester(&pull.id) else {
            continue;
        };
        let page_head = page_head(&requester);
        let after = SeqNum::clamped(i64::try_from(pull.after).unwrap_or(i64::MAX));
        subscriptions.push(if pull.live && after >= head {
            Subscription::caught_up(requester, after, page_head)
        } else {
            Subscription::new(requester, pull.live, after, page_head)
        });
    }
    let first_request = attachment.first_request_id.or_else(|| {
        // Kept by sync-cf: its ids are all we know of the socket's past.
        subscriptions
            .iter()
            .filter_map(|subscription| subscription.requester().id.counter())
            .min()
    });
    Some(Connection::restored(
        family,
        subscriptions,
        first_request,
        attachment.awaiting_pull_since,
    ))
}
