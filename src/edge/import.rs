//! A file on its way into the log, from the object's side: its pieces are read, and handed to the backend.

use std::rc::Rc;

use js_sys::Uint8Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::js;
use super::reply::{Failed, JSON, respond_json};
use super::shared::Shared;
use crate::backend::{Plan, SyncBackend, iso_8601};
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::limits::STALL_MS;
use crate::route::admin::{Import, Refusal};
use crate::transfer::{Header, Options, Part, Reader, Summary};

/// Brings a log in from a file: the body, or the rest of one of which an earlier body was the beginning.
pub(super) async fn import<H: Hooks>(
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
            if ask.goes_on {
                return respond_part(shared, store_id);
            }
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

/// Answers a part of a file behind which others follow: from where on the next one is wanted, since what follows the last
/// events that were staged is not kept.
fn respond_part<H: Hooks>(shared: &Rc<Shared<H>>, store_id: &StoreId) -> Result<JsValue, Failed> {
    let glance = shared.glance(store_id)?;
    let reader = glance.as_ref().and_then(Plan::file_in);
    let reader = reader.and_then(|state| Reader::resume(&state));
    let at = reader.map_or(0, |reader| reader.bytes_read());
    let part = serde_json::to_string(&Kept { at }).unwrap_or_default();
    Ok(js::respond_as(202, JSON, &(part + "\n"))?)
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

/// How far a file has come.
#[derive(Serialize)]
struct Kept {
    /// From which byte on the rest is wanted.
    at: u64,
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
