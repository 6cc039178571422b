//! Telling the app's hook what has been stored: in order, at least once.
//!
//! Owns how far the hook has been told, which is kept beside the log after each call. While something
//! is left to tell, the alarm is set, so that a crash or an eviction only delays it.

use std::rc::Rc;

use super::js;
use super::object::Inner;
use super::run::start;
use crate::config::LogLevel;
use crate::event::{Event, SeqNum};
use crate::hooks::{Committed, Context, HookError, Hooks};
use crate::json::{self, JsonError, Reader};
use crate::limits::{HOOK_RETRY_MAX_MS, HOOK_RETRY_MS};
use crate::store::sql::Text as _;
use crate::wire::{Family, Transport};

/// Where the state of the store keeps how far the hook has been told.
const KEY: &str = "committed";

/// How the hook is being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nobody has looked yet in this life of the object.
    #[default]
    Unknown,
    /// The app has no such hook.
    Unused,
    /// Everything up to here has been told, and nothing is under way.
    Idle { told: SeqNum, failures: u32 },
    /// The hook is running.
    Running,
}

/// Starts telling the hook what it has not been told, unless that is under way.
pub(super) fn deliver<H: Hooks>(inner: &Rc<Inner<H>>) {
    if H::DO_NOTHING {
        return;
    }
    let told = match inner.delivery.get() {
        Delivery::Unused | Delivery::Running => return,
        Delivery::Idle { told, failures } => Some((told, failures)),
        Delivery::Unknown => begin(inner).map(|told| (told, 0)),
    };
    let Some((told, failures)) = told else {
        return;
    };
    inner.delivery.set(Delivery::Idle { told, failures });
    let is_behind = inner.with(None, |opened| {
        let is_behind = opened.backend.store().last_stored() > told;
        if is_behind {
            inner.wake_at(js::now_ms() + HOOK_RETRY_MAX_MS, &opened.log);
        }
        is_behind
    });
    if is_behind == Some(true) {
        inner.delivery.set(Delivery::Running);
        start(tell(inner.clone(), told, failures));
    }
}

/// How far the hook had been told in an earlier life; a store that meets it for the first time begins
/// at the head that it has then.
fn begin<H: Hooks>(inner: &Rc<Inner<H>>) -> Option<SeqNum> {
    inner.with(None, |opened| {
        let store = opened.backend.store();
        let mut kept = store.state().iter();
        let kept = kept.find(|(key, _)| key == KEY);
        match kept.and_then(|(_, value)| value.parse().ok()) {
            Some(told) => Some(SeqNum::clamped(told)),
            None => {
                let head = store.last_stored();
                match store.set_state(KEY, &head.to_string()) {
                    Ok(()) => Some(head),
                    Err(error) => {
                        let message = error.to_string();
                        opened
                            .log
                            .write(LogLevel::Error, "storage-failed", &message);
                        None
                    }
                }
            }
        }
    })?
}

/// Reads the events of a page.
fn read_items<'a>(reader: &mut Reader<'a>) -> Result<Vec<Event<'a>>, JsonError> {
    let mut events = Vec::new();
    reader.array(|reader| {
        reader.object(|reader, key| {
            if key != "eventEncoded" {
                return reader.skip();
            }
            events.push(Event::read(reader)?);
            Ok(())
        })
    })?;
    Ok(events)
}

async fn tell<H: Hooks>(inner: Rc<Inner<H>>, mut told: SeqNum, mut failures: u32) {
    loop {
        let page = inner.with(None, |opened| {
            let store = opened.backend.store();
            let page = store.page(Family::Rpc, told).ok()?;
            let items = page.items?;
            let backend_id = store.backend_id().as_str().to_owned();
            let store_id = store.store_id().as_str().to_owned();
            Some((
                format!("[{}]", items.read()),
                page.last,
                backend_id,
                store_id,
            ))
        });
        let Some(Some((items, last, backend_id, store_id))) = page else {
            break;
        };
        let result = match json::read(&items, read_items) {
            Ok(events) => {
                let committed = Committed {
                    events: &events,
                    backend_id: &backend_id,
                };
                let context = Context {
                    store_id: &store_id,
                    claims: None,
                    headers: &[],
                    transport: Transport::WebSocket,
                    generation: None,
                    env: &inner.env,
                };
                inner.hooks.on_committed(&committed, &context).await
            }
            Err(error) => Err(HookError::new(format!("the log cannot be read: {error}"))),
        };
        match result {
            Ok(()) => {
                (told, failures) = (last, 0);
                inner.with(None, |opened| {
                    let kept = opened.backend.store().set_state(KEY, &told.to_string());
                    if let Err(error) = kept {
                        // It will be told again, as it may be.
                        let message = error.to_string();
                        opened
                            .log
                            .write(LogLevel::Error, "storage-failed", &message);
                    }
                });
            }
            Err(error) if error.is_unused() => {
                inner.delivery.set(Delivery::Unused);
                return;
            }
            Err(error) => {
                let wait_ms = (HOOK_RETRY_MS << failures.min(6)).min(HOOK_RETRY_MAX_MS);
                failures = failures.saturating_add(1);
                inner.with(None, |opened| {
                    let message = error.to_string();
                    opened.log.write(LogLevel::Warn, "hook-error", &message);
                    inner.wake_at(js::now_ms() + wait_ms, &opened.log);
                });
                break;
            }
        }
    }
    inner.delivery.set(Delivery::Idle { told, failures });
}
