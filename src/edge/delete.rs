//! Deleting a store, from the object's side: what an operator asks for, and when that is answered.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use serde::Serialize;

use super::shared::{Shared, Unavailable};
use super::{backup, js};
use crate::backend::{Deleted, Deleting, Report, SyncBackend, deletion_plan};
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::limits::MIRROR_DEADLINE_MS;
use crate::route::admin::Refusal;
use crate::store::OpenError;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    store_id: &'a StoreId,
    #[serde(flatten)]
    deleted: Deleted,
}

/// Deletes a store: status and body of the answer, which comes when that is done, or will take longer.
pub(super) async fn delete<H: Hooks>(
    shared: &Rc<Shared<H>>,
    store_id: &StoreId,
) -> Result<(u16, String), Refusal> {
    let unavailable = |error: Unavailable| Refusal::new(error.status(), &error.to_string());
    let exists = shared.exists(store_id);
    let exists = exists.map_err(|error| Refusal::new(500, &error.to_string()))?;
    if !exists {
        let nothing = || Refusal::new(404, "there is no such store");
        let database = backup::database(shared.env()).ok_or_else(nothing)?;
        let lifetimes = backup::lifetimes(&database, store_id, MIRROR_DEADLINE_MS).await;
        let lifetimes =
            lifetimes.map_err(|message| Refusal::new(502, &format!("D1: {message}")))?;
        if lifetimes.is_empty() {
            return Err(nothing());
        }
    }
    shared.begin_deletion(store_id).map_err(unavailable)?;
    match shared.deleted().await {
        Deleting::Done(deleted) => {
            let answer = Answer { store_id, deleted };
            Ok((200, serde_json::to_string(&answer).unwrap_or_default()))
        }
        Deleting::UnderWay | Deleting::GoesOn => {
            let state = shared.with(None, |awake| awake.backend.state(js::now_ms()));
            let state = state.map_err(unavailable)?;
            let state = state.map_err(|error| Refusal::new(500, &error.to_string()))?;
            Ok((202, state))
        }
    }
}

impl<H: Hooks> Shared<H> {
    /// Begins to delete the store, whatever the object has of it.
    fn begin_deletion(self: &Rc<Self>, store_id: &StoreId) -> Result<(), Unavailable> {
        match self.with(Some(store_id), |awake| {
            awake.backend.store().store_id() == store_id
        }) {
            Ok(true) => {
                let begun = self.turn(SyncBackend::begin_deletion)?;
                begun.map_err(OpenError::from)?;
                return Ok(());
            }
            Ok(false) => return Err(Unavailable::OtherStore),
            // What cannot be opened can be deleted.
            Err(Unavailable::Closed(OpenError::Unborn | OpenError::Elsewhere { .. })) => {}
            Err(error) => return Err(error),
        }
        self.plan_deletion(&deletion_plan(js::now_ms()))
            .map_err(OpenError::from)?;
        self.with(Some(store_id), |awake| {
            awake.log.report(&Report::DeletionBegun { events: 0 });
        })
    }

    /// Waits until a deletion is done, or goes on some other time.
    async fn deleted(&self) -> Deleting {
        poll_fn(
            |context| match self.borrow(|awake| awake.backend.deleting()) {
                Ok(Deleting::UnderWay) => {
                    self.await_deletion(context.waker());
                    Poll::Pending
                }
                Ok(deleting) => Poll::Ready(deleting),
                Err(_) => Poll::Ready(Deleting::GoesOn),
            },
        )
        .await
    }
}
