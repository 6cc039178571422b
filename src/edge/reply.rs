//! How a request to the administration is answered.

use js_sys::Uint8Array;
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::js;
use super::shared::Unavailable;
use crate::limits::ADMIN_BODY_BYTES_MAX;
use crate::route::admin::Refusal;
use crate::store::sql::StoreError;

pub(super) const JSON: &str = "application/json";

/// Why a request to the administration is not answered.
pub(super) enum Failed {
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

pub(super) async fn read_text(request: &Request) -> Result<String, JsValue> {
    let body = JsFuture::from(js::read_body(request, ADMIN_BODY_BYTES_MAX)?).await?;
    let body = body.dyn_into::<Uint8Array>().map(|body| body.to_vec());
    Ok(String::from_utf8(body.unwrap_or_default()).unwrap_or_default())
}

pub(super) fn refused_by_d1(message: &str) -> Refusal {
    Refusal::new(502, &format!("D1: {message}"))
}

/// The answer to a reset.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reset<'a> {
    pub(super) backend_id: &'a str,
}

pub(super) fn respond_json(answer: &impl Serialize) -> Result<JsValue, Failed> {
    respond(serde_json::to_string(answer).unwrap_or_default())
}

pub(super) fn respond(body: String) -> Result<JsValue, Failed> {
    Ok(js::respond_as(200, JSON, &(body + "\n"))?)
}
