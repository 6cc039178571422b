//! Telling the app's hook what has been stored: in order, at least once.
//!
//! Owns how far the hook has been told, which is kept beside the log. The first call for new events is
//! made in the turn that stored them. If it has to wait, the alarm is set in that turn, so that a crash
//! or an eviction only delays it. Where the app has no such hook nothing is read or written for it.

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::js;
use super::object::{Inner, Opened};
use super::run::{poll_once, start};
use crate::backend::Reason;
use crate::config::LogLevel;
use crate::event::{Event, SeqNum};
use crate::hooks::{Committed, Context, HookError, Hooks};
use crate::json::{self, JsonError, Reader};
use crate::limits::{HOOK_RETRY_MAX_MS, HOOK_RETRY_MS};
use crate::store::sql::{StoreError, Text as _};
use crate::wire::Family;

/// Where the state of the store keeps the [`Progress`].
const KEY: &str = "committed";

/// Calls in one turn, if none of them waits; the alarm goes on with the rest.
const CALLS_PER_TURN_MAX: u32 = 16;

/// How the hook is being told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Delivery {
    /// Nobody has looked yet in this life of the object.
    #[default]
    Unknown,
    /// Nothing is under way.
    Idle(Progress),
    /// The hook is running.
    Running,
}

/// How far the hook has been told.
///
/// *Shape*: kept as the number of the last event, followed after a failure by the number of failures
/// since and the time of the next call, with spaces between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last event it has been told of.
    told: SeqNum,
    /// Calls that failed since.
    failures: u32,
    /// When it is called again. *Units*: milliseconds since the epoch; 0 for at once.
    not_before_ms: u64,
    /// Whether the store knows where to begin after an eviction.
    is_kept: bool,
}

impl Progress {
    /// Told up to here, with nothing gone wrong since.
    fn at(told: SeqNum) -> Self {
        Self {
            told,
            failures: 0,
            not_before_ms: 0,
            is_kept: false,
        }
    }

    fn parse(kept: &str) -> Option<Self> {
        let mut numbers = kept.split(' ').map(str::parse::<u64>);
        let told = i64::try_from(numbers.next()?.ok()?).ok()?;
        let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
        Some(Self {
            told: SeqNum::clamped(told),
            failures: u32::try_from(next()).unwrap_or(u32::MAX),
            not_before_ms: next(),
            is_kept: true,
        })
    }

    fn keep(&mut self, opened: &Opened) {
        let told = self.told;
        let value = match self.failures {
            0 => told.to_string(),
            failures => format!("{told} {failures} {}", self.not_before_ms),
        };
        match opened.backend.store().set_state(KEY, &value) {
            Ok(()) => self.is_kept = true,
            // Some events will be told again, as they may be.
            Err(error) => log_failure(opened, &error),
        }
    }
}

/// Starts telling the hook what it has not been told, unless that is under way.
pub(super) fn deliver<H: Hooks>(inner: &Rc<Inner<H>>) {
    if !inner.hooks.uses().has_on_committed() {
        return;
    }
    let progress = inner.with(None, |opened| match inner.delivery.get() {
        Delivery::Running => {
            // The alarm that was set when it began may be over.
            inner.wake_at(js::now_ms() + HOOK_RETRY_MAX_MS, &opened.log);
            None
        }
        Delivery::Idle(progress) => Some(progress),
        Delivery::Unknown => Some(begin(opened)),
    });
    let Some(Some(progress)) = progress else {
        return;
    };
    inner.delivery.set(Delivery::Idle(progress));
    let is_due = inner.with(None, |opened| {
        let is_behind = opened.backend.store().last_stored() > progress.told;
        let is_early = js::now_ms() < progress.not_before_ms;
        if is_behind && is_early {
            inner.wake_at(progress.not_before_ms, &opened.log);
        }
        is_behind && !is_early
    });
    if is_due == Some(true) {
        inner.delivery.set(Delivery::Running);
        start(tell(inner.clone(), progress));
    }
}

/// How far the hook had been told in an earlier life; a store that meets it for the first time begins
/// at the head that it has then.
fn begin(opened: &Opened) -> Progress {
    let store = opened.backend.store();
    let mut kept = store.state().iter();
    let kept = kept.find(|(key, _)| key == KEY);
    let progress = kept.and_then(|(_, value)| Progress::parse(value));
    progress.unwrap_or_else(|| Progress::at(store.last_stored()))
}

/// Tells the hook page after page until it has been told everything, or fails.
async fn tell<H: Hooks>(inner: Rc<Inner<H>>, mut progress: Progress) {
    let mut calls = 0;
    while let Some(page) = next_page(&inner, progress.told) {
        let result = call(&inner, &page, &mut progress, &mut calls).await;
        let goes_on = inner.with(None, |opened| match result {
            Ok(()) => {
                progress = Progress::at(page.last);
                progress.keep(opened);
                let goes_on = calls < CALLS_PER_TURN_MAX;
                if !goes_on {
                    inner.wake_at(js::now_ms(), &opened.log);
                }
                goes_on
            }
            Err(error) => {
                let wait_ms = HOOK_RETRY_MS << progress.failures.min(6);
                progress.not_before_ms = js::now_ms() + wait_ms.min(HOOK_RETRY_MAX_MS);
                progress.failures = progress.failures.saturating_add(1);
                progress.keep(opened);
                inner.wake_at(progress.not_before_ms, &opened.log);
                let message = error.to_string();
                let stats = opened.backend.stats();
                stats.refuse(Reason::Hook, &message, js::now_ms());
                opened.log.write(LogLevel::Warn, "hook-error", &message);
                false
            }
        });
        if goes_on != Some(true) {
            break;
        }
    }
    inner.delivery.set(Delivery::Idle(progress));
}

/// Calls the hook with a page. Before it waits, `progress` is kept and the alarm is set.
async fn call<H: Hooks>(
    inner: &Rc<Inner<H>>,
    page: &Page,
    progress: &mut Progress,
    calls: &mut u32,
) -> Result<(), HookError> {
    let events = json::read(&page.items, read_items)
        .map_err(|error| HookError::new(format!("the log cannot be read: {error}")))?;
    let committed = Committed {
        events: &events,
        backend_id: &page.backend_id,
    };
    let context = Context {
        store_id: &page.store_id,
        claims: None,
        headers: &[],
        transport: None,
        generation: None,
    };
    let mut hook = pin!(inner.hooks.on_committed(&committed, &context));
    match poll_once(hook.as_mut()) {
        Poll::Ready(result) => {
            *calls += 1;
            result
        }
        Poll::Pending => {
            inner.with(None, |opened| {
                if !progress.is_kept {
                    progress.keep(opened);
                }
                inner.wake_at(js::now_ms() + HOOK_RETRY_MAX_MS, &opened.log);
            });
            *calls = 0;
            hook.await
        }
    }
}

/// Events to tell the hook of.
struct Page {
    /// As a JSON array.
    items: String,
    last: SeqNum,
    backend_id: String,
    store_id: String,
}

/// The events after `told`; `None` when there are none, or they cannot be had now.
fn next_page<H: Hooks>(inner: &Rc<Inner<H>>, told: SeqNum) -> Option<Page> {
    inner.with(None, |opened| {
        let store = opened.backend.store();
        let page = match store.page(Family::Rpc, told) {
            Ok(page) => page,
            Err(error) => {
                log_failure(opened, &error);
                inner.wake_at(js::now_ms() + HOOK_RETRY_MAX_MS, &opened.log);
                return None;
            }
        };
        Some(Page {
            items: format!("[{}]", page.items?.read()),
            last: page.last,
            backend_id: store.backend_id().as_str().to_owned(),
            store_id: store.store_id().as_str().to_owned(),
        })
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

fn log_failure(opened: &Opened, error: &StoreError) {
    let message = error.to_string();
    opened
        .log
        .write(LogLevel::Error, "storage-failed", &message);
}
