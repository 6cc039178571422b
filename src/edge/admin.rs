//! The administration's half in the object: what `route` has read is done here.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::delete::delete;
use super::fetch::PROTOCOL_HEADER;
use super::import::import;
use super::poll::{now_or_later, step};
use super::reply::{Failed, JSON, Reset, read_text, refused_by_d1, respond, respond_json};
use super::shared::{Shared, Unavailable};
use super::sql::JsText;
use super::unborn::{adopt, unborn};
use super::{backup, js};
use crate::auth::{Grant, LIVE_PROTOCOL};
use crate::backend::{Plan, Step, SyncBackend, Verification};
use crate::event::{BackendId, SeqNum, StoreId};
use crate::hooks::Hooks;
use crate::limits::{EXPORT_EVENTS_MAX, MIRROR_DEADLINE_MS};
use crate::route::admin::{Ask, Refusal, Restore, confirm};
use crate::transfer::Export;
use crate::wire::Family;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request to the administration.
pub(super) async fn answer<H: Hooks>(
    shared: Rc<Shared<H>>,
    request: Request,
    store_id: StoreId,
    ask: Ask,
) -> Result<JsValue, JsValue> {
    match serve(&shared, &request, &store_id, ask).await {
        Ok(response) => Ok(response),
        Err(Failed::Refused(refusal)) => js::respond_as(refusal.status, JSON, &refusal.body),
        Err(Failed::Thrown(error)) => Err(error),
    }
}

async fn serve<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: Ask,
) -> Result<JsValue, Failed> {
    if ask == Ask::Delete {
        let (status, body) = delete(shared, store_id).await?;
        return Ok(js::respond_as(status, JSON, &(body + "\n"))?);
    }
    if !matches!(ask, Ask::State | Ask::Metrics) && shared.is_deleting(store_id)? {
        return Err(Refusal::being_deleted().into());
    }
    if ask == Ask::Restore {
        return restore(shared, request, store_id).await;
    }
    if let Ask::Import(ask) = &ask {
        return import(shared, request, store_id, ask).await;
    }
    if ask == Ask::Adopt {
        return adopt(shared, request, store_id).await;
    }
    if !shared.exists(store_id)? {
        return unborn(shared, request, store_id, &ask).await;
    }
    match verified(shared, store_id) {
        Err(error) if error.is_not_here() => unborn(shared, request, store_id, &ask).await,
        Err(error) => Err(error.into()),
        Ok(()) => serve_here(shared, request, store_id, ask).await,
    }
}

/// Answers about a store that is here.
async fn serve_here<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: Ask,
) -> Result<JsValue, Failed> {
    if ask == Ask::Reset {
        confirm(&read_text(request).await?, store_id)?;
    }
    let is_own = shared.with(Some(store_id), |awake| {
        awake.backend.store().store_id() == store_id
    })?;
    if !is_own {
        return Err(Refusal::new(404, "this object is another store's").into());
    }
    match ask {
        Ask::State => {
            let state = shared.with(None, |awake| awake.backend.state(js::now_ms()))??;
            respond(state)
        }
        Ask::Metrics => {
            let metrics = shared.with(None, |awake| {
                let backend = &awake.backend;
                backend.metrics(awake.woken_at_ms, js::now_ms())
            })??;
            Ok(js::respond_as(200, PROMETHEUS, &metrics)?)
        }
        Ask::Export => {
            let mut export = shared.with(None, |awake| awake.backend.export(js::now_ms()))?;
            let shared = shared.clone();
            let next = move || next_lines(&shared, &mut export);
            Ok(js::stream_lines(&step_by(next))?)
        }
        Ask::Events { after, limit } => {
            let mut events = Events {
                shared: shared.clone(),
                backend_id: shared
                    .with(None, |awake| awake.backend.store().backend_id().clone())?,
                after,
                left: limit.unwrap_or(u64::MAX),
            };
            Ok(js::stream_lines(&step_by(move || events.go_on()))?)
        }
        Ask::Verify {
            after,
            queries,
            repair,
        } => {
            if shared.with(None, |awake| awake.backend.is_restoring())? {
                let message = "the store is being restored: there is no log to compare with";
                return Err(Refusal::new(409, message).into());
            }
            let verification = shared.with(None, |awake| {
                awake.backend.verification(after, queries, repair)
            })?;
            let Some(verification) = verification else {
                let message =
                    "this store has no backup: no D1 database is bound as DB, or BACKUP is off";
                return Err(Refusal::new(404, message).into());
            };
            let verifying = Verifying {
                shared: shared.clone(),
                verification: RefCell::new(verification),
            };
            Ok(js::stream_lines(&verifying.into_js())?)
        }
        Ask::Disconnect => {
            let reason = "disconnected by the administration: connect again";
            let closed = shared.turn(|backend, turn| backend.disconnect_all(reason, turn))?;
            respond_json(&Disconnected { closed })
        }
        Ask::Live => live(shared, request, store_id),
        Ask::Reset => {
            let backend_id = shared.turn(SyncBackend::reset)??;
            respond_json(&Reset {
                backend_id: backend_id.as_str(),
            })
        }
        Ask::CancelRestore => {
            shared.turn(SyncBackend::cancel_restore)??;
            let state = shared.with(None, |awake| awake.backend.state(js::now_ms()))??;
            respond(state)
        }
        // Answered before it was looked what there is.
        Ask::Restore | Ask::Adopt | Ask::Import(_) | Ask::Delete => {
            Err(Refusal::new(404, "there is no such store").into())
        }
    }
}

/// Opens a socket on which an operator pulls.
fn live<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
) -> Result<JsValue, Failed> {
    let offered = request.headers().get(PROTOCOL_HEADER)?.unwrap_or_default();
    let is_offered = offered.split(',').any(|one| one.trim() == LIVE_PROTOCOL);
    // Who has offered none, having sent the secret, must be answered none.
    let protocol = if is_offered { LIVE_PROTOCOL } else { "" };
    let answer = shared.with(None, |awake| {
        awake.backend.admit(store_id, js::now_ms())?;
        let (rpc, grant) = (Family::Rpc, Grant::inspector());
        Ok(awake.connect(shared.state(), rpc, grant, protocol))
    })?;
    let refused =
        |refusal: crate::backend::Refusal| Refusal::new(refusal.status(), &refusal.to_string());
    Ok(answer.map_err(refused)??)
}

/// Has the object in memory, and what it knows of its rows looked at: what is asked about a store is not to be answered
/// from what is no more.
fn verified<H: Hooks>(shared: &Rc<Shared<H>>, store_id: &StoreId) -> Result<(), Unavailable> {
    shared.with(Some(store_id), |_| ())?;
    shared.turn(SyncBackend::check_rows)?;
    shared.with(None, |_| ())
}

/// Begins to bring a log back from the backup, or says what that would keep and lose.
async fn restore<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
) -> Result<JsValue, Failed> {
    let ask = Restore::read(&read_text(request).await?, store_id)?;
    let no_database = || Refusal::new(409, "no D1 database is bound as DB");
    let database = backup::database(shared.env()).ok_or_else(no_database)?;
    let from = ask.from_store(store_id);
    let lifetimes = backup::lifetimes(&database, from, MIRROR_DEADLINE_MS).await;
    let lifetimes = lifetimes.map_err(|message| refused_by_d1(&message))?;
    let lifetime = ask.choose(&lifetimes)?;
    let survey = backup::survey(&database, from, lifetime, ask.up_to.as_ref()).await;
    let survey = survey.map_err(|message| refused_by_d1(&message))?;
    // Nothing is waited for from here on.
    let glance = shared.glance(store_id)?;
    let fresh = js::fresh_backend_id();
    let plan = Plan::make(&ask, store_id, lifetime, &survey, glance.as_ref(), &fresh)?;
    if ask.dry_run {
        return respond_json(&plan.forecast(store_id, lifetime, &survey, glance.as_ref()));
    }
    shared.restore(store_id, plan)?;
    let state = shared.with(None, |awake| awake.backend.state(js::now_ms()))??;
    Ok(js::respond_as(202, JSON, &(state + "\n"))?)
}

#[derive(Serialize)]
struct Disconnected {
    closed: usize,
}

/// A function for a stream that goes on by `next`.
fn step_by(mut next: impl FnMut() -> Result<Array, JsValue> + 'static) -> JsValue {
    step(move |go_on| {
        if go_on {
            return next().map(JsValue::from);
        }
        Ok(JsValue::UNDEFINED)
    })
}

/// The next lines of an export, or a null behind the last.
fn next_lines<H: Hooks>(shared: &Rc<Shared<H>>, export: &mut Export) -> Result<Array, JsValue> {
    let text = shared.with(None, |awake| export.next(awake.backend.store()))?;
    let text = text.map_err(|error| js_sys::Error::new(&error.to_string()))?;
    // These very bytes are what the checksum is of.
    let lines = text.map(|text| Uint8Array::from(text.as_bytes()));
    Ok(Array::of1(&lines.map_or(JsValue::NULL, JsValue::from)))
}

/// A backup that is being compared, line by line.
struct Verifying<H: Hooks> {
    shared: Rc<Shared<H>>,
    verification: RefCell<Verification<JsText>>,
}

impl<H: Hooks> Verifying<H> {
    /// The next lines, with a null behind the last.
    async fn next(&self) -> Result<Array, JsValue> {
        loop {
            let verification = &self.verification;
            let step = self.shared.with(None, |awake| {
                let backend = &awake.backend;
                backend.verify(&mut verification.borrow_mut(), js::now_ms())
            })?;
            match step {
                Step::Ask(batch) => {
                    let outcome = backup::mirror(self.shared.env(), None, &batch).await;
                    self.shared.with(None, |awake| {
                        let backend = &mut awake.backend;
                        backend.verified(&mut verification.borrow_mut(), outcome);
                    })?;
                }
                Step::Read(query) => {
                    let fetched = backup::fetch(self.shared.env(), None, query).await;
                    self.shared.with(None, |awake| {
                        let backend = &mut awake.backend;
                        backend.verified_segment(&mut verification.borrow_mut(), fetched);
                    })?;
                }
                Step::Pause => {
                    JsFuture::from(js::pause()).await?;
                }
                Step::Tell(lines) => return Ok(Array::of1(&lines.into())),
                Step::End(lines) => return Ok(Array::of2(&lines.into(), &JsValue::NULL)),
            }
        }
    }

    fn into_js(self) -> JsValue {
        let verifying = Rc::new(self);
        step(move |go_on| {
            if !go_on {
                return Ok(JsValue::UNDEFINED);
            }
            let verifying = verifying.clone();
            now_or_later(async move { verifying.next().await.map(JsValue::from) })
        })
    }
}

/// Events on their way out, page by page.
struct Events<H: Hooks> {
    shared: Rc<Shared<H>>,
    /// The lifetime that is exported: another one in the middle of it would not be the same log.
    backend_id: BackendId,
    after: SeqNum,
    left: u64,
}

impl<H: Hooks> Events<H> {
    /// The next lines, with a null behind the last.
    fn go_on(&mut self) -> Result<Array, JsValue> {
        let count = u32::try_from(self.left)
            .unwrap_or(u32::MAX)
            .min(EXPORT_EVENTS_MAX);
        let page = self.shared.with(None, |awake| {
            let store = awake.backend.store();
            (self.backend_id == *store.backend_id()).then(|| store.lines(self.after, count))
        })?;
        let Some(page) = page else {
            return Err(js_sys::Error::new("the store was reset").into());
        };
        if page.is_err() {
            // Somebody else may have changed the rows, for others as well.
            self.shared.turn(SyncBackend::check_rows)?;
        }
        let page = page.map_err(|error| js_sys::Error::new(&error.to_string()))?;
        let lines = Array::new();
        let Some(items) = page.items.filter(|_| count > 0) else {
            lines.push(&JsValue::NULL);
            return Ok(lines);
        };
        // Numbers that a log lost are not events.
        let events = page.last.since(self.after).min(u64::from(count));
        self.left = self.left.saturating_sub(events);
        self.after = page.last;
        lines.push(items.as_js());
        Ok(lines)
    }
}
