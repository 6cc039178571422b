//! One request, one answer: HTTP and the calls of other Durable Objects.
//!
//! Owns how an answer leaves the object: whole if one turn makes it, else as a stream whose reader sets
//! the pace, so that a pull of any length holds one piece in memory (INV-11).

use std::rc::Rc;

use js_sys::{Array, JsString, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::fetch::header_list;
use super::object::{Inner, Opened};
use super::run::now_or_later;
use super::sql::JsText;
use super::{hooked, js};
use crate::auth::Grant;
use crate::backend::{ConnectionId, Content, Duration, Frame};
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::limits::FRAME_BYTES_CEILING;
use crate::route::{self, Headers};
use crate::store::sql::Text as _;
use crate::wire::{Transport, msgpack as codec};

/// JavaScript's own numbers.
const NUMBERS: codec::Numbers = codec::Numbers {
    print: js::print_number,
    parse: js::parse_number,
};

/// A request over HTTP: its answer is a JSON array of what would be frames on a socket.
pub(super) async fn http<H: Hooks>(
    inner: Rc<Inner<H>>,
    request: Request,
    store_id: StoreId,
    grant: Grant,
    headers: Headers,
) -> Result<JsValue, JsValue> {
    let headers = header_list(&headers);
    let Some(body) = JsFuture::from(js::read_body(&request, FRAME_BYTES_CEILING)?)
        .await?
        .dyn_into::<Uint8Array>()
        .ok()
    else {
        let body = format!("The body has more than {FRAME_BYTES_CEILING} bytes");
        return js::respond(413, &body, &headers);
    };
    let asked = Asked {
        transport: Transport::Http,
        store_id: Some(store_id),
        grant,
    };
    let Some(answering) = ask(inner, asked, Frame::Binary(&body.to_vec())).await else {
        return js::respond(503, "The store could not be opened", &headers);
    };
    let first = answering.pieces();
    if answering.is_answered() {
        answering.leave();
        return js::respond_json(&first, &headers);
    }
    js::stream_json(first, &answering.into_js(), &headers)
}

/// A call: bytes, or a stream of bytes where pages are in the answer.
pub(super) async fn rpc<H: Hooks>(
    inner: Rc<Inner<H>>,
    payload: Vec<u8>,
) -> Result<JsValue, JsValue> {
    // What is no request has no answer, in the words of the reference: an empty list.
    let Some(request) = codec::decode(&payload, NUMBERS).ok().and_then(unwrapped) else {
        return Ok(Uint8Array::from([0x90].as_slice()).into());
    };
    let asked = Asked {
        transport: Transport::DoRpc,
        store_id: route::store_in(&request),
        grant: Grant::default(),
    };
    let Some(answering) = ask(inner, asked, Frame::Text(&request)).await else {
        return Err(js_sys::Error::new("The store could not be opened").into());
    };
    let frames = answering.frames();
    let has_pages = frames
        .iter()
        .any(|(content, _)| matches!(content, Content::Page { .. }));
    if has_pages {
        let pieces = frames.iter().map(|(_, frame)| message(frame));
        let first = pieces.collect::<Result<Array, _>>()?;
        if answering.is_answered() {
            first.push(&JsValue::NULL);
        }
        return js::stream_bytes(first, &answering.into_js());
    }
    answering.leave();
    let frames: Vec<String> = frames.iter().map(|(_, frame)| frame.read()).collect();
    Ok(msgpack(&format!("[{}]", frames.join(",")))?.into())
}

/// `text` in the encoding of calls.
pub(super) fn msgpack(text: &str) -> Result<Uint8Array, JsValue> {
    let mut bytes = Vec::with_capacity(text.len());
    match codec::encode(text, NUMBERS, &mut bytes) {
        Ok(()) => Ok(Uint8Array::from(bytes.as_slice())),
        Err(error) => Err(js_sys::Error::new(&error.to_string()).into()),
    }
}

fn message(frame: &JsText) -> Result<JsValue, JsValue> {
    msgpack(&format!("[{}]", frame.read())).map(JsValue::from)
}

/// A request as its client wraps it: in a list, which the runtime may have put into another.
fn unwrapped(mut json: String) -> Option<String> {
    if json.starts_with("[[") && json.ends_with("]]") {
        json.pop();
        json.remove(0);
    }
    json.starts_with("[{").then_some(json)
}

struct Asked {
    transport: Transport,
    store_id: Option<StoreId>,
    grant: Grant,
}

/// Hands a request to the backend; `None` when the store cannot be opened.
async fn ask<H: Hooks>(
    inner: Rc<Inner<H>>,
    asked: Asked,
    request: Frame<'_>,
) -> Option<Answering<H>> {
    let started_ms = js::now_ms();
    let Asked {
        transport,
        store_id,
        grant,
    } = asked;
    let (connection, life) = inner.with(store_id.as_ref(), |opened| {
        let connection = opened.backend.connect_once(transport, grant, js::now_ms());
        opened.place_answer(connection);
        let life = opened.backend.peer(connection).map(|peer| peer.life);
        (connection, life)
    })?;
    // Its connection is given back whatever becomes of the request.
    let answering = Answering {
        inner: inner.clone(),
        connection,
        life,
    };
    if let Some(rest) = hooked::serve(&inner, connection, request) {
        rest.await;
    }
    inner.turn(|backend, now_ms, _| {
        let ms = now_ms.saturating_sub(started_ms);
        backend.stats().observe(Duration::Request, ms);
    });
    Some(answering)
}

/// An answer that is being made.
struct Answering<H: Hooks> {
    inner: Rc<Inner<H>>,
    connection: ConnectionId,
    /// Tells its connection from a later one with the same id.
    life: Option<u64>,
}

impl<H: Hooks> Answering<H> {
    /// Runs `work` on the opened object; not when the backend has ended the connection, whose id may be
    /// another's by now.
    fn with<R>(&self, work: impl FnOnce(&mut Opened) -> R) -> Option<R> {
        let result = self.inner.with(None, |opened| {
            let life = opened.backend.peer(self.connection).map(|peer| peer.life);
            (life.is_some() && life == self.life).then(|| work(opened))
        });
        result.flatten()
    }

    /// What has been made since the last time.
    fn frames(&self) -> Vec<(Content, JsText)> {
        let frames = self.with(|opened| opened.take_answer(self.connection));
        frames.unwrap_or_default()
    }

    /// The same as JavaScript strings.
    fn pieces(&self) -> Array {
        self.frames()
            .iter()
            .map(|(_, frame)| JsString::clone(frame.as_js()))
            .collect()
    }

    fn is_answered(&self) -> bool {
        self.with(|opened| opened.backend.is_answered(self.connection))
            .unwrap_or(true)
    }

    /// Makes more of it: the next pieces, and a null behind the last; or a promise of them.
    fn go_on(self: &Rc<Self>) -> Result<JsValue, JsValue> {
        if self.with(|_| ()).is_none() {
            return Ok(Array::of1(&JsValue::NULL).into());
        }
        let Some(rest) = hooked::go_on(&self.inner, self.connection) else {
            return self.next().map(JsValue::from);
        };
        let answering = self.clone();
        now_or_later(async move {
            rest.await;
            answering.next().map(JsValue::from)
        })
    }

    fn next(&self) -> Result<Array, JsValue> {
        let connection = self.connection;
        let is_text = self
            .with(|opened| opened.backend.peer(connection).map(|peer| peer.transport))
            != Some(Some(Transport::DoRpc));
        let pieces = if is_text {
            self.pieces()
        } else {
            let frames = self.frames();
            frames
                .iter()
                .map(|(_, frame)| message(frame))
                .collect::<Result<Array, _>>()?
        };
        if self.is_answered() {
            pieces.push(&JsValue::NULL);
        }
        Ok(pieces)
    }

    /// Gives the connection back: the answer has been read, or nobody reads it.
    fn leave(&self) {
        let connection = self.connection;
        self.with(|opened| {
            opened.drop_line(connection);
            opened.backend.disconnect_once(connection, js::now_ms());
        });
    }

    /// A function for the stream: called with true it makes more, or a promise of it, with false it gives
    /// the connection back. It is the collector's to drop.
    fn into_js(self) -> JsValue {
        let answering = Rc::new(self);
        let step = move |go_on: bool| -> Result<JsValue, JsValue> {
            if go_on {
                return answering.go_on();
            }
            answering.leave();
            Ok(JsValue::UNDEFINED)
        };
        Closure::<dyn Fn(bool) -> Result<JsValue, JsValue>>::new(step).into_js_value()
    }
}
