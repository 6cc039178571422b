//! The app's `on_committed`: told every stored event, a page at a time, for as long as it takes.

use super::{Message, Next, Patience, Told};
use crate::backend::refusal::Refusal;
use crate::backend::{SyncBackend, Turn, Who};
use crate::event::{BackendId, Event, SeqNum};
use crate::hooks::HookError;
use crate::json::{self, JsonError, Value};
use crate::limits::{HOOK_DEADLINE_MS, HOOK_RETRY_MS, HOOK_RETRY_MS_MAX};
use crate::store::EventStore;
use crate::store::sql::{Form, Sql};
use crate::wire::Family;

/// Where the store's state keeps how far it has been told.
pub(super) const KEY: &str = "follower:committed";

/// A hook that fails is called again for ever.
pub(super) const PATIENCE: Patience = Patience {
    retry_ms: HOOK_RETRY_MS,
    retry_ms_max: HOOK_RETRY_MS_MAX,
    deadline_ms: HOOK_DEADLINE_MS,
    attempts_max: None,
};

/// Events for `on_committed`.
#[derive(Clone, Debug)]
pub struct CommittedPage<T> {
    /// What stands between the brackets of a JSON array: see [`read_events`].
    pub items: T,
    /// The lifetime of the log.
    pub backend_id: BackendId,
}

/// What resets removed before it was told of, else the page after `after`; and how far it tells.
pub(super) fn next<S: Sql>(store: &mut EventStore<S>, after: SeqNum) -> Next<S::Text> {
    if let Some(untold) = store.untold()? {
        let page = CommittedPage {
            items: untold.items,
            backend_id: untold.backend_id,
        };
        let told = Told::Removed(untold.last);
        return Ok(Some((told, Message::Committed(page))));
    }
    let page = store.page(Family::Rpc, Form::String, after)?;
    let (told, backend_id) = (Told::UpTo(page.last), store.backend_id().clone());
    let page = page.items.map(|items| CommittedPage { items, backend_id });
    Ok(page.map(|page| (told, Message::Committed(page))))
}

/// The events of a page, whose items stand in `array` with its brackets.
///
/// # Errors
/// When the log holds what is no event.
pub fn read_events(array: &str) -> Result<Vec<Event<'_>>, JsonError> {
    json::read(array, read_items)
}

fn read_items<'a>(value: Value<'_, 'a>) -> Result<Vec<Event<'a>>, JsonError> {
    let mut events = Vec::new();
    value.array(|value| {
        value.object(|value, key| {
            if key == "eventEncoded" {
                events.push(Event::read(value)?);
            }
            Ok(())
        })
    })?;
    Ok(events)
}

impl<S: Sql> SyncBackend<S> {
    /// Takes note that the hook failed, or did not return.
    pub(super) fn fail_committed(&mut self, message: String, turn: &mut Turn<S::Text>) {
        let error = HookError::new(message);
        Self::report_hook(&error, turn);
        let who = Who::default();
        self.stats.refuse(&Refusal::Hook(error), who, turn.now_ms);
    }
}
