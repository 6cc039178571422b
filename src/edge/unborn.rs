//! What an operator is told of a store that is not in its object, and may have done about it.

use std::rc::Rc;

use serde::Serialize;
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::Request;

use super::reply::{Failed, JSON, Reset, read_text, refused_by_d1, respond_json};
use super::restore::{InD1, decide};
use super::shared::Shared;
use super::{backup, config, js};
use crate::backend::{Adoption, Candidate, Plan, Wanted};
use crate::event::{SeqNum, StoreId};
use crate::hooks::Hooks;
use crate::limits::BIRTH_DEADLINE_MS;
use crate::route::admin::{Adopt, Ask, Refusal, confirm};
use crate::store::OpenError;
use crate::store::recall::Lifetime;

/// A store of which nothing is left but its backup.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupFound<'a> {
    store_id: &'a StoreId,
    status: &'static str,
    lifetimes: &'a [Lifetime],
}

/// A store whose log is not in its object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Elsewhere<'a> {
    store_id: &'a StoreId,
    status: &'static str,
    message: &'a str,
    /// The head that the object has stored.
    stored_head: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_d1: Option<Held<'a>>,
}

/// A log in D1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Held<'a> {
    events: u64,
    bytes: u64,
    head: u64,
    /// By how many pushes those came that follow the stored head.
    pushes_after: u64,
    /// The store that has taken it.
    adopted_by: Option<&'a str>,
}

/// What adopting would do.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Forecast<'a> {
    dry_run: bool,
    store_id: &'a StoreId,
    events: u64,
    head: u64,
    /// The number that the next event would continue from.
    goes_on_from: u64,
    keeps_backend_id: bool,
}

impl<'a> Held<'a> {
    fn of(candidate: &'a Candidate) -> Option<Self> {
        let held = candidate.holdings.as_ref()?;
        Some(Self {
            events: held.events,
            bytes: held.bytes,
            head: held.head,
            pushes_after: held.pushes_after,
            adopted_by: candidate.owner.as_deref(),
        })
    }
}

/// Answers about a store that is not in its object.
pub(super) async fn unborn<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: &Ask,
) -> Result<JsValue, Failed> {
    let config = config(shared.env()).map_err(|error| Refusal::new(500, &error.to_string()))?;
    let glance = shared.glance(store_id)?;
    if *ask == Ask::Reset && glance.is_some() {
        return reset(shared, request, store_id).await;
    }
    let stored = glance.as_ref().map_or(SeqNum::ROOT, |glance| glance.head);
    let found = shared.look_in_d1(&config, store_id, stored).await;
    let InD1 {
        lifetimes,
        candidate,
    } = found.map_err(|message| refused_by_d1(&message))?;
    let wanted = Wanted::ByContact { unproven: false };
    let message = match decide(&config, store_id, &candidate, glance.as_ref(), wanted) {
        _ if !lifetimes.is_empty() => {
            "There is nothing of this store here, and a backup of it: nobody is served until it is restored or reset"
                .to_owned()
        }
        Adoption::Undecided(message) => message,
        Adoption::Plan(_) => "The log of this store lies in D1: the first client to come has it brought here".to_owned(),
        Adoption::Nothing if stored > SeqNum::ROOT => {
            OpenError::Elsewhere { head: stored }.to_string()
        }
        Adoption::Nothing => return Err(Refusal::new(404, "there is no such store").into()),
    };
    match ask {
        Ask::State if !lifetimes.is_empty() => respond_json(&BackupFound {
            store_id,
            status: "backup-found",
            lifetimes: &lifetimes,
        }),
        Ask::State => respond_json(&Elsewhere {
            store_id,
            status: "log-elsewhere",
            message: &message,
            stored_head: stored.get(),
            in_d1: Held::of(&candidate),
        }),
        Ask::Reset => reset(shared, request, store_id).await,
        _ => Err(Refusal::new(503, &message).into()),
    }
}

async fn reset<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
) -> Result<JsValue, Failed> {
    confirm(&read_text(request).await?, store_id)?;
    shared.discard(store_id)?;
    let backend_id = shared.with(Some(store_id), |awake| {
        awake.backend.store().backend_id().clone()
    })?;
    respond_json(&Reset {
        backend_id: backend_id.as_str(),
    })
}

/// Brings a log here that sync-cf kept in D1, or says what that would do.
pub(super) async fn adopt<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
) -> Result<JsValue, Failed> {
    let ask = Adopt::read(&read_text(request).await?, store_id)?;
    let config = config(shared.env()).map_err(|error| Refusal::new(500, &error.to_string()))?;
    let binding = config.adopt_binding.as_deref().unwrap_or_default();
    let no_database = || Refusal::new(409, "ADOPT_D1 names no D1 database that is bound");
    let database = backup::database_as(shared.env(), binding).ok_or_else(no_database)?;
    let glance = shared.glance(store_id)?;
    let stored = glance.as_ref().map_or(SeqNum::ROOT, |glance| glance.head);
    let by_d1 = |message: String| refused_by_d1(&message);
    let look = backup::look(&database, store_id, BIRTH_DEADLINE_MS).await;
    let look = look.map_err(by_d1)?;
    let candidate = backup::candidate(&database, store_id, stored, look).await;
    let candidate = candidate.map_err(by_d1)?;
    if !ask.dry_run {
        shared.make_claims(&config).await.map_err(by_d1)?;
    }
    // Nothing is waited for from here on.
    let glance = shared.glance(store_id)?;
    Plan::check_room(glance.as_ref())?;
    let wanted = Wanted::ByOperator(&ask);
    let plan = match decide(&config, store_id, &candidate, glance.as_ref(), wanted) {
        Adoption::Plan(plan) => plan,
        Adoption::Nothing => {
            let message = "D1 holds no log of this store";
            return Err(Refusal::new(404, message).into());
        }
        Adoption::Undecided(message) => return Err(Refusal::new(409, &message).into()),
    };
    if ask.dry_run {
        let known = glance.and_then(|glance| glance.backend_id);
        let at_least = plan
            .adopted
            .as_ref()
            .map_or(0, |adopted| adopted.head_at_least);
        return respond_json(&Forecast {
            dry_run: true,
            store_id,
            events: plan.events,
            head: plan.head,
            goes_on_from: plan.head.max(at_least),
            keeps_backend_id: known.is_some_and(|known| known.as_str() == plan.backend_id),
        });
    }
    shared.restore(store_id, *plan)?;
    let state = shared.with(None, |awake| awake.backend.state(js::now_ms()))??;
    Ok(js::respond_as(202, JSON, &(state + "\n"))?)
}
