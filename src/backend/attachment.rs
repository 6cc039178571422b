//! What is kept with a socket while its object is out of memory.
//!
//! *Shape*: a JSON text. `storeId` and `pullRequestIds` as sync-cf writes them; the rest is ours:
//! `firstRequestId`, `awaitingPullSince` (ms since the epoch), `pulls` for those that are not simply live
//! at the head, and `grant`, what the auth step verified. An attachment without `pullRequestIds` belongs
//! to a 0.3 socket.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::rc::Rc;

use super::connection::{Connection, Subscription};
use crate::auth::Grant;
use crate::event::{SeqNum, StoreId};
use crate::json::{self, JsonError, Reader, quote};
use crate::wire::{Family, Generation, RequestId, Requester};

/// An attachment as it is read.
#[derive(Default)]
struct Attachment<'a> {
    store_id: Option<Cow<'a, str>>,
    pull_request_ids: Option<Vec<&'a str>>,
    first_request_id: Option<u64>,
    awaiting_pull_since: Option<u64>,
    pulls: Vec<Pull<'a>>,
    grant: Option<Grant>,
}

/// A pull that has not reached the head, or is beyond it.
#[derive(Default)]
struct Pull<'a> {
    id: &'a str,
    after: SeqNum,
    live: bool,
}

impl<'a> Attachment<'a> {
    #[inline(never)]
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut attachment = Self::default();
        reader.object(|reader, key| {
            match key {
                "storeId" => attachment.store_id = Some(reader.string()?),
                "pullRequestIds" => {
                    let ids = attachment.pull_request_ids.insert(Vec::new());
                    reader.array(|reader| {
                        ids.push(reader.raw()?);
                        Ok(())
                    })?;
                }
                "firstRequestId" => attachment.first_request_id = read_count(reader)?,
                "awaitingPullSince" => attachment.awaiting_pull_since = read_count(reader)?,
                "pulls" => reader.array(|reader| {
                    attachment.pulls.push(Pull::read(reader)?);
                    Ok(())
                })?,
                "grant" => {
                    let grant = Grant::from_json(reader.raw()?);
                    attachment.grant = Some(grant.ok_or_else(|| reader.shape("no grant"))?);
                }
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(attachment)
    }
}

impl<'a> Pull<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut pull = Self::default();
        reader.object(|reader, key| {
            match key {
                "id" => pull.id = reader.raw()?,
                "after" => pull.after = SeqNum::clamped(reader.integer()?),
                "live" => pull.live = reader.boolean()?,
                _ => reader.skip()?,
            }
            Ok(())
        })?;
        Ok(pull)
    }
}

fn read_count(reader: &mut Reader<'_>) -> Result<Option<u64>, JsonError> {
    reader.integer().map(|count| u64::try_from(count).ok())
}

/// Bytes that the attachment of `connection` can come to have: a pull takes most while it is not simply
/// live at the head, and each may fall behind.
pub(super) fn bytes_max<T>(connection: &Connection<T>, store_id: &StoreId) -> usize {
    const FIXED: usize =
        r#"{"storeId":,"pullRequestIds":[],"firstRequestId":,"awaitingPullSince":,"pulls":[],"grant":}"#
            .len();
    const PULL: usize = r#"{"id":,"after":9007199254740991,"live":false},"#.len();
    let ids = connection
        .subscriptions()
        .iter()
        .map(|pull| pull.requester().id.json().len() + PULL);
    let grant = kept_grant(connection).map_or(0, |grant| grant.json().len());
    FIXED + 2 * DIGITS_MAX + grant + quote(store_id.as_str()).len() + ids.sum::<usize>()
}

/// A connection that may everything, for ever, as unknown, has nothing to keep.
fn kept_grant<T>(connection: &Connection<T>) -> Option<&Rc<Grant>> {
    Some(connection.grant()).filter(|grant| ***grant != Grant::default())
}

/// Digits of the largest number in an attachment.
const DIGITS_MAX: usize = 20;

/// The attachment of `connection`.
#[inline(never)]
pub(super) fn keep<T>(connection: &Connection<T>, store_id: &StoreId, head: SeqNum) -> String {
    // Writing to a string cannot fail.
    let (mut ids, mut pulls) = (String::new(), String::new());
    for subscription in connection.subscriptions() {
        let id = subscription.requester().id.json();
        if subscription.is_caught_up() && subscription.after() <= head {
            separate(&mut ids);
            ids.push_str(id);
        } else {
            let (after, live) = (subscription.after(), subscription.is_live());
            separate(&mut pulls);
            let _ = write!(pulls, r#"{{"id":{id},"after":{after},"live":{live}}}"#);
        }
    }
    let mut text = format!(r#"{{"storeId":{}"#, quote(store_id.as_str()));
    if connection.family() == Family::Rpc {
        let _ = write!(text, r#","pullRequestIds":[{ids}]"#);
    }
    if let Some(first) = connection.first_request() {
        let _ = write!(text, r#","firstRequestId":{first}"#);
    }
    if let Some(since_ms) = connection.awaiting_pull_since_ms() {
        let _ = write!(text, r#","awaitingPullSince":{since_ms}"#);
    }
    if !pulls.is_empty() {
        let _ = write!(text, r#","pulls":[{pulls}]"#);
    }
    if let Some(grant) = kept_grant(connection) {
        let _ = write!(text, r#","grant":{}"#, grant.json());
    }
    text.push('}');
    text
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

/// The store that `text` was kept for.
pub(super) fn store_of(text: &str) -> Option<StoreId> {
    let attachment = json::read(text, Attachment::read).ok()?;
    Some(StoreId::new(attachment.store_id?))
}

/// The connection that `text` was kept for, at an object whose head is `head`.
#[inline(never)]
pub(super) fn restore<T>(
    text: &str,
    store_id: &StoreId,
    head: SeqNum,
    mut page_head: impl FnMut(&Requester) -> T,
) -> Option<Connection<T>> {
    let attachment = json::read(text, Attachment::read).ok()?;
    if attachment.store_id.as_deref() != Some(store_id.as_str()) {
        return None;
    }
    let family = match attachment.pull_request_ids {
        None => Family::Plain,
        Some(_) => Family::Rpc,
    };
    let requester = |id: &str| {
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
    };
    let ids = attachment.pull_request_ids.unwrap_or_default();
    let mut subscriptions = Vec::with_capacity(ids.len() + attachment.pulls.len());
    for requester in ids.into_iter().filter_map(requester) {
        let page_head = page_head(&requester);
        subscriptions.push(Subscription::caught_up(requester, head, page_head));
    }
    for pull in &attachment.pulls {
        let Some(requester) = requester(pull.id) else {
            continue;
        };
        let page_head = page_head(&requester);
        let after = pull.after;
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
        attachment.grant.unwrap_or_default(),
        subscriptions,
        first_request,
        attachment.awaiting_pull_since,
    ))
}
