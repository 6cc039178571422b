//! The administration's half in the object: what `route` has read is done here.

use std::cell::RefCell;
use std::rc::Rc;

use js_sys::{Array, Uint8Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::poll::{now_or_later, step};
use super::shared::{Shared, Unavailable};
use super::sql::JsText;
use super::{backup, js};
use crate::backend::{Plan, Step, SyncBackend, Verification, iso_8601};
use crate::event::{BackendId, SeqNum, StoreId};
use crate::hooks::Hooks;
use crate::limits::{ADMIN_BODY_BYTES_MAX, EXPORT_EVENTS_MAX, MIRROR_DEADLINE_MS, STALL_MS};
use crate::route::admin::{Ask, Import, Refusal, Restore, confirm};
use crate::store::OpenError;
use crate::store::recall::Lifetime;
use crate::store::sql::StoreError;
use crate::transfer::{Export, Header, Options, Part, Reader, Summary};

const JSON: &str = "application/json";

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Why a request to the administration is not answered.
enum Failed {
    /// As its client is told.
    Refused(Refusal),
    /// The platform failed.
    Thrown(JsValue),
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<JsValue> for Failed {
    fn from(error: JsValue) -> Self {
        Self::Thrown(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Refused(Refusal::new(500, &error.to_string()))
    }
}

impl From<Unavailable> for Failed {
    fn from(error: Unavailable) -> Self {
        Self::Refused(Refusal::new(error.status(), &error.to_string()))
    }
}

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
    if ask == Ask::Restore {
        return restore(shared, request, store_id).await;
    }
    if let Ask::Import(ask) = &ask {
        return import(shared, request, store_id, ask).await;
    }
    if !shared.exists(store_id)? {
        return unborn(shared, request, store_id, &ask).await;
    }
    if ask == Ask::Reset {
        confirm(&read_text(request).await?, store_id)?;
        if let Err(Unavailable::Closed(OpenError::Elsewhere { .. })) = verified(shared, store_id) {
            shared.discard(store_id)?;
        }
    } else {
        verified(shared, store_id)?;
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
        Ask::Restore | Ask::Import(_) => Err(Refusal::new(404, "there is no such store").into()),
    }
}

/// Has the object in memory, and what it knows of its rows looked at: what is asked about a store is not to be answered
/// from what is no more.
fn verified<H: Hooks>(shared: &Rc<Shared<H>>, store_id: &StoreId) -> Result<(), Unavailable> {
    shared.with(Some(store_id), |_| ())?;
    shared.turn(SyncBackend::check_rows)?;
    shared.with(None, |_| ())
}

async fn read_text(request: &Request) -> Result<String, JsValue> {
    let body = JsFuture::from(js::read_body(request, ADMIN_BODY_BYTES_MAX)?).await?;
    let body = body.dyn_into::<Uint8Array>().map(|body| body.to_vec());
    Ok(String::from_utf8(body.unwrap_or_default()).unwrap_or_default())
}

/// Answers about a store of which nothing is here but perhaps a backup.
async fn unborn<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: &Ask,
) -> Result<JsValue, Failed> {
    let nothing = || Failed::from(Refusal::new(404, "there is no such store"));
    let database = backup::database(shared.env()).ok_or_else(nothing)?;
    let lifetimes = backup::lifetimes(&database, store_id, MIRROR_DEADLINE_MS).await;
    let lifetimes = lifetimes.map_err(|message| refused_by_d1(&message))?;
    if lifetimes.is_empty() {
        return Err(nothing());
    }
    match ask {
        Ask::State => respond_json(&BackupFound {
            store_id,
            status: "backup-found",
            lifetimes: &lifetimes,
        }),
        Ask::Reset => {
            confirm(&read_text(request).await?, store_id)?;
            shared.discard(store_id)?;
            let backend_id = shared.with(Some(store_id), |awake| {
                awake.backend.store().backend_id().clone()
            })?;
            respond_json(&Reset {
                backend_id: backend_id.as_str(),
            })
        }
        _ => Err(Refusal::new(503, &Unavailable::HasBackup.to_string()).into()),
    }
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

/// Brings a log in from a file: the body, or the rest of one of which an earlier body was the beginning.
async fn import<H: Hooks>(
    shared: &Rc<Shared<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: &Import,
) -> Result<JsValue, Failed> {
    let glance = shared.glance(store_id)?;
    let begun = glance.as_ref().and_then(Plan::file_in);
    let begun = begun.and_then(|state| Reader::resume(&state));
    let (mut reader, upload) = match (begun, ask.at) {
        (None, None) => {
            let created_at = iso_8601(js::now_ms());
            let accepts_lines = ask.accepts_lines;
            let options = Options {
                created_at,
                accepts_lines,
            };
            (Reader::new(options), None)
        }
        (Some(reader), Some(at)) if at == reader.bytes_read() => {
            let upload = shared.with(Some(store_id), |awake| awake.backend.take_upload())?;
            (reader, upload)
        }
        (Some(reader), _) => {
            let at = reader.bytes_read();
            let message =
                format!("an import is under way: send the file from byte {at} on, with at={at}");
            return Err(Refusal::new(409, &message).into());
        }
        (None, Some(_)) => {
            let message = "no import is under way: send the file from its beginning, without at";
            return Err(Refusal::new(409, message).into());
        }
    };
    let no_body = |_| Failed::from(Refusal::new(400, "the body has to be the file"));
    let body = js::open_body(request).map_err(no_body)?;
    let mut importing = Importing {
        shared,
        store_id,
        ask,
        upload,
        imported: None,
    };
    let stall_ms = u32::try_from(STALL_MS).unwrap_or(u32::MAX);
    loop {
        let piece = JsFuture::from(js::read_piece(&body, stall_ms)).await?;
        let taken = if piece.is_undefined() {
            reader.finish();
            importing.take(&mut reader)
        } else if let Ok(piece) = piece.dyn_into::<Uint8Array>() {
            let pushed = reader
                .push(&piece.to_vec())
                .map_err(|error| error.to_string());
            match pushed {
                Ok(()) => importing.take(&mut reader),
                Err(message) => Err(importing.fail(&message)),
            }
        } else {
            let message = "the file did not come: send the rest, as the state says";
            Err(Refusal::new(503, message).into())
        };
        match (taken, importing.imported.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(imported)) => return respond_json(&imported),
            (Err(error), _) => {
                js::leave_body(&body);
                return Err(error);
            }
        }
    }
}

/// A file on its way in.
struct Importing<'a, H: Hooks> {
    shared: &'a Rc<Shared<H>>,
    store_id: &'a StoreId,
    ask: &'a Import,
    /// Once it has begun.
    upload: Option<u64>,
    /// Once all of it is the log.
    imported: Option<Imported>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Imported {
    backend_id: String,
    events: u64,
    head: u64,
    /// How many events got the time of the import.
    undated: u64,
}

impl<H: Hooks> Importing<'_, H> {
    /// Takes what has been read.
    fn take(&mut self, reader: &mut Reader) -> Result<(), Failed> {
        loop {
            let rows = match reader.next() {
                Err(error) => return Err(self.fail(&error.to_string())),
                Ok(None) => return Ok(()),
                Ok(Some(Part::Header(header))) => {
                    if self.upload.is_none() {
                        self.begin(&header, reader.state())?;
                    }
                    continue;
                }
                Ok(Some(Part::Events(batch))) => batch.rows(),
                Ok(Some(Part::End(Summary {
                    events,
                    last,
                    undated,
                }))) => {
                    if events == 0 {
                        return Err(self.fail("the file has no events"));
                    }
                    let upload = self.upload.unwrap_or_default();
                    let ended = |backend: &mut SyncBackend<_>, turn: &mut _| {
                        backend.end_upload(upload, events, last, turn)
                    };
                    self.shared.turn(ended)??;
                    let backend_id = self.shared.with(None, |awake| {
                        awake.backend.store().backend_id().as_str().to_owned()
                    })?;
                    self.imported = Some(Imported {
                        backend_id,
                        events,
                        head: last.get(),
                        undated,
                    });
                    return Ok(());
                }
            };
            let (upload, last, state) = (
                self.upload.unwrap_or_default(),
                reader.last(),
                reader.state(),
            );
            self.shared
                .turn(|backend, _| backend.stage_upload(upload, &rows, last, state))??;
        }
    }

    fn begin(&mut self, header: &Header, state: String) -> Result<(), Failed> {
        let (shared, store_id) = (self.shared, self.store_id);
        let glance = shared.glance(store_id)?;
        let fresh = js::fresh_backend_id();
        let plan = Plan::of_file(self.ask, store_id, header, state, glance.as_ref(), &fresh)?;
        shared.restore(store_id, plan)?;
        self.upload = shared.with(None, |awake| awake.backend.take_upload())?;
        Ok(())
    }

    /// What was sent is no log.
    fn fail(&self, message: &str) -> Failed {
        if let Some(upload) = self.upload {
            // Where the object cannot be had any more, the import is as it was.
            let _ = self
                .shared
                .turn(|backend, turn| backend.fail_upload(upload, message, turn));
        }
        Refusal::new(400, message).into()
    }
}

fn refused_by_d1(message: &str) -> Refusal {
    Refusal::new(502, &format!("D1: {message}"))
}

/// A store of which nothing is left but its backup.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct BackupFound<'a> {
    store_id: &'a StoreId,
    status: &'static str,
    lifetimes: &'a [Lifetime],
}

#[derive(Serialize)]
struct Disconnected {
    closed: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reset<'a> {
    backend_id: &'a str,
}

fn respond_json(answer: &impl Serialize) -> Result<JsValue, Failed> {
    respond(serde_json::to_string(answer).unwrap_or_default())
}

fn respond(body: String) -> Result<JsValue, Failed> {
    Ok(js::respond_as(200, JSON, &(body + "\n"))?)
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
                    let outcome = backup::mirror(self.shared.env(), &batch).await;
                    self.shared.with(None, |awake| {
                        let backend = &mut awake.backend;
                        backend.verified(&mut verification.borrow_mut(), outcome);
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
