//! The administration's half in the object: what `route::admin` has read is done here.

use std::rc::Rc;

use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::js;
use super::object::Inner;
use crate::event::{BackendId, SeqNum, StoreId};
use crate::hooks::Hooks;
use crate::limits::EXPORT_EVENTS_MAX;
use crate::route::admin::{Ask, Refusal, confirm};

const JSON: &str = "application/json";

/// Answers a request to the administration.
pub(super) async fn answer<H: Hooks>(
    inner: Rc<Inner<H>>,
    request: Request,
    store_id: StoreId,
    ask: Ask,
) -> Result<JsValue, JsValue> {
    match serve(&inner, &request, &store_id, ask).await? {
        Ok(response) => Ok(response),
        Err(refusal) => js::respond_as(refusal.status, JSON, &refusal.body),
    }
}

async fn serve<H: Hooks>(
    inner: &Rc<Inner<H>>,
    request: &Request,
    store_id: &StoreId,
    ask: Ask,
) -> Result<Result<JsValue, Refusal>, JsValue> {
    match inner.exists(store_id) {
        Ok(true) => {}
        Ok(false) => return Ok(Err(Refusal::new(404, "there is no such store"))),
        Err(error) => return Ok(Err(Refusal::new(500, &error.to_string()))),
    }
    let opened = inner.with(Some(store_id), |opened| {
        opened.backend.store().store_id() == store_id
    });
    match opened {
        Some(true) => {}
        Some(false) => return Ok(Err(Refusal::new(404, "this object is another store's"))),
        None => return Ok(Err(Refusal::new(500, "the store could not be opened"))),
    }
    let json = |body: String| js::respond_as(200, JSON, &(body + "\n")).map(Ok);
    let failed = |message: String| Ok(Err(Refusal::new(500, &message)));
    match ask {
        Ask::State => {
            let state = inner.with(None, |opened| opened.backend.state(js::now_ms()));
            match state {
                Some(Ok(state)) => json(state),
                Some(Err(error)) => failed(error.to_string()),
                None => failed("the object is busy".to_owned()),
            }
        }
        Ask::Metrics => {
            let metrics = inner.with(None, |opened| opened.backend.metrics(opened.woken_at_ms));
            match metrics {
                Some(Ok(text)) => {
                    js::respond_as(200, "text/plain; version=0.0.4; charset=utf-8", &text).map(Ok)
                }
                Some(Err(error)) => failed(error.to_string()),
                None => failed("the object is busy".to_owned()),
            }
        }
        Ask::Events { after, limit } => {
            let export = Export {
                inner: inner.clone(),
                backend_id: inner.with(None, |opened| opened.backend.store().backend_id().clone()),
                after,
                left: limit.unwrap_or(u64::MAX),
            };
            js::stream_lines(&export.into_js()).map(Ok)
        }
        Ask::Disconnect => {
            let reason = "disconnected by the administration: connect again";
            let closed = inner.turn(|backend, _, out| backend.close_all(reason, out));
            json(format!(r#"{{"closed":{}}}"#, closed.unwrap_or(0)))
        }
        Ask::Reset => {
            let body = JsFuture::from(js::read_body(request, 65_536)?).await?;
            let body = body.dyn_into::<Uint8Array>().map(|body| body.to_vec());
            let body = String::from_utf8(body.unwrap_or_default()).unwrap_or_default();
            if let Err(refusal) = confirm(&body, store_id) {
                return Ok(Err(refusal));
            }
            let fresh = js::fresh_backend_id();
            let text = fresh.as_str().to_owned();
            match inner.reset(fresh) {
                Ok(()) => json(format!(r#"{{"backendId":"{text}"}}"#)),
                Err(message) => failed(message),
            }
        }
    }
}

/// Events on their way out, page by page.
struct Export<H: Hooks> {
    inner: Rc<Inner<H>>,
    /// The lifetime that is exported: another one in the middle of it would not be the same log.
    backend_id: Option<BackendId>,
    after: SeqNum,
    left: u64,
}

impl<H: Hooks> Export<H> {
    /// The next lines, with a null behind the last.
    fn go_on(&mut self) -> Result<Array, JsValue> {
        let count = u32::try_from(self.left)
            .unwrap_or(u32::MAX)
            .min(EXPORT_EVENTS_MAX);
        let page = self.inner.with(None, |opened| {
            let store = opened.backend.store();
            let is_same = self.backend_id.as_ref() == Some(store.backend_id());
            is_same.then(|| store.lines(self.after, count))
        });
        let Some(Some(page)) = page else {
            return Err(js_sys::Error::new("the store was reset").into());
        };
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
        lines.push(&JsString::clone(items.as_js()));
        Ok(lines)
    }

    fn into_js(mut self) -> JsValue {
        let step = move |go_on: bool| -> Result<JsValue, JsValue> {
            if go_on {
                return self.go_on().map(JsValue::from);
            }
            Ok(JsValue::UNDEFINED)
        };
        Closure::<dyn FnMut(bool) -> Result<JsValue, JsValue>>::new(step).into_js_value()
    }
}
