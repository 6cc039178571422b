//! One request, one answer: HTTP and the calls of other Durable Objects.
//!
//! Owns how an answer leaves the object: whole if it is made at once, else as a stream whose reader sets the
//! pace, so that a pull of any length holds one piece in memory (INV-11).

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use js_sys::{Array, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::Request;

use super::awake::Answer;
use super::body::Unread;
use super::fetch::{header_lines, push_header};
use super::poll::{now_or_later, step};
use super::shared::{Shared, Unavailable};
use super::sql::JsText;
use super::{js, msgpack};
use crate::auth::Grant;
use crate::backend::{ConnectionId, Duration, Frame, Progress};
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::limits::{FRAME_BYTES_CEILING, WHOLE_ANSWER_BYTES_MAX};
use crate::route::{self, Headers};
use crate::store::sql::Text as _;
use crate::wire::Transport;

/// A request over HTTP: its answer is a JSON array of what would be frames on a socket. Where its `body` has been read already,
/// nothing is waited for but what a hook keeps.
pub(super) async fn http<H: Hooks>(
    shared: Rc<Shared<H>>,
    request: Request,
    body: Option<Vec<u8>>,
    asked: Asked,
    headers: Headers,
) -> Result<JsValue, JsValue> {
    let mut headers = header_lines(&headers);
    if let Some(store_id) = &asked.store_id
        && let Err(refusal) = shared.check_grant(store_id, &asked.grant)
    {
        let answer = shared.turn_away(store_id, refusal)?;
        return js::with_headers(&answer, &headers);
    }
    let body = match body {
        Some(body) => Ok(body),
        None => shared.bodies.read(&request).await,
    };
    let body = match body {
        Ok(body) => body,
        Err(Unread::TooLarge) => {
            let body = format!("The body has more than {FRAME_BYTES_CEILING} bytes");
            return js::respond(413, &body, &headers);
        }
        Err(Unread::Stalled) => {
            push_header(&mut headers, "Retry-After", "1");
            return js::respond(503, "The body did not come: try again", &headers);
        }
        Err(Unread::Failed(error)) => return Err(error),
    };
    let answering = match ask(shared, asked, Frame::Binary(&body)).await {
        Ok(answering) => answering,
        Err(error) => return js::with_headers(&error.respond()?, &headers),
    };
    if let Some(reason) = answering.answer.refusal() {
        push_header(&mut headers, "Retry-After", "1");
        return js::respond(503, reason, &headers);
    }
    if answering.is_small() {
        let texts = answering.texts();
        answering.leave();
        return js::respond_json(&texts, &headers);
    }
    let (first, lifeline) = (answering.next()?, answering.answer.lifeline().clone());
    js::stream_json(first, &answering.into_js(), &lifeline, &headers)
}

/// A call: bytes, or a stream of bytes where pages are in the answer.
pub(super) async fn rpc<H: Hooks>(
    shared: Rc<Shared<H>>,
    payload: Vec<u8>,
) -> Result<JsValue, JsValue> {
    // What is no request has no answer, in the words of the reference: an empty list.
    let Some(request) = msgpack::decode(&payload).and_then(unwrapped) else {
        return Ok(Uint8Array::from([0x90].as_slice()).into());
    };
    let asked = Asked {
        transport: Transport::DoRpc,
        store_id: route::store_in(&request),
        grant: Grant::default(),
    };
    let answering = ask(shared, asked, Frame::Text(&request)).await?;
    if let Some(reason) = answering.answer.refusal() {
        return Err(js::retryable(reason));
    }
    if answering.has_paged() {
        let (first, lifeline) = (answering.next()?, answering.answer.lifeline().clone());
        return js::stream_bytes(first, &answering.into_js(), &lifeline);
    }
    let frames = answering.answer.take();
    answering.leave();
    let frames: Vec<String> = frames.iter().map(JsText::read).collect();
    Ok(msgpack::encode(&format!("[{}]", frames.join(",")))?.into())
}

/// A request as its client wraps it: in a list, which the runtime may have put into another.
fn unwrapped(mut json: String) -> Option<String> {
    if json.starts_with("[[") && json.ends_with("]]") {
        json.pop();
        json.remove(0);
    }
    json.starts_with("[{").then_some(json)
}

/// Who asks, and of which store.
pub(super) struct Asked {
    transport: Transport,
    store_id: Option<StoreId>,
    grant: Grant,
}

impl Asked {
    pub(super) fn over_http(store_id: StoreId, grant: Grant) -> Self {
        Self {
            transport: Transport::Http,
            store_id: Some(store_id),
            grant,
        }
    }
}

/// Hands a request to the backend, and waits until its answer has begun.
async fn ask<H: Hooks>(
    shared: Rc<Shared<H>>,
    asked: Asked,
    request: Frame<'_>,
) -> Result<Answering<H>, Unavailable> {
    let started_ms = js::now_ms();
    let Asked {
        transport,
        store_id,
        grant,
    } = asked;
    shared.born(store_id.as_ref()).await?;
    let (connection, answer) = shared.with(store_id.as_ref(), |awake| {
        let connection = awake.backend.connect_once(transport, grant, started_ms);
        (connection, awake.place_answer(connection))
    })?;
    // Its connection is given back whatever becomes of the request.
    let answering = Answering {
        shared: shared.clone(),
        connection,
        answer,
        transport,
    };
    shared.turn(|backend, turn| backend.on_frame(connection, request, turn))?;
    answering.settled().await;
    shared.turn(|backend, turn| {
        let ms = turn.now_ms.saturating_sub(started_ms);
        backend.stats().observe(Duration::Request, ms);
    })?;
    Ok(answering)
}

/// An answer that is being made.
struct Answering<H: Hooks> {
    shared: Rc<Shared<H>>,
    connection: ConnectionId,
    answer: Rc<Answer>,
    transport: Transport,
}

impl<H: Hooks> Answering<H> {
    fn progress(&self) -> Progress {
        let progress = self
            .shared
            .with(None, |awake| awake.backend.progress(self.connection));
        progress.unwrap_or(Progress::Done)
    }

    fn has_paged(&self) -> bool {
        let has_paged = self
            .shared
            .with(None, |awake| awake.backend.has_paged(self.connection));
        has_paged.unwrap_or(false)
    }

    /// Whether all of it has been made, and is so little that nobody need wait for its reader.
    fn is_small(&self) -> bool {
        let bytes = self
            .shared
            .with(None, |awake| awake.backend.in_flight_bytes(self.connection));
        self.progress() == Progress::Done && bytes.unwrap_or(0) <= WHOLE_ANSWER_BYTES_MAX
    }

    /// Waits until no hook has anything of it, and some of it has been made.
    async fn settled(&self) {
        poll_fn(|context| {
            let is_made = match self.progress() {
                Progress::Waiting => false,
                // A pull may wait for room.
                Progress::More => !self.answer.is_empty(),
                Progress::Done => true,
            };
            if is_made || self.answer.refusal().is_some() {
                return Poll::Ready(());
            }
            self.answer.wake_by(context.waker());
            Poll::Pending
        })
        .await;
    }

    /// What has been made since the last time, as JavaScript has it.
    fn texts(&self) -> Array {
        let frames = self.answer.take();
        frames.iter().map(JsText::as_js).collect()
    }

    /// Makes more of it: the next pieces, and a null behind the last; or a promise of them.
    fn go_on(self: &Rc<Self>) -> Result<JsValue, JsValue> {
        let connection = self.connection;
        self.shared
            .turn(|backend, turn| backend.go_on(connection, turn))?;
        let answering = self.clone();
        now_or_later(async move {
            answering.settled().await;
            answering.next().map(JsValue::from)
        })
    }

    fn next(&self) -> Result<Array, JsValue> {
        if let Some(reason) = self.answer.refusal() {
            return Err(js::retryable(reason));
        }
        let pieces = if self.transport == Transport::DoRpc {
            let frames = self.answer.take();
            let pieces = frames.iter().map(message);
            pieces.collect::<Result<Array, _>>()?
        } else {
            self.texts()
        };
        if self.progress() == Progress::Done {
            pieces.push(&JsValue::NULL);
        }
        Ok(pieces)
    }

    /// Gives the connection back: the answer has been read, or nobody reads it.
    fn leave(&self) {
        let connection = self.connection;
        // Without the object there is nothing to give back to. Its store need not be open for that.
        let _ = self.shared.borrow(|awake| awake.take_outlet(connection));
        let _ = self
            .shared
            .run(|backend, turn| backend.disconnect(connection, turn));
    }

    /// A function for the stream: when that is over, it gives the connection back.
    fn into_js(self) -> JsValue {
        let answering = Rc::new(self);
        step(move |go_on| {
            if go_on {
                return answering.go_on();
            }
            answering.leave();
            Ok(JsValue::UNDEFINED)
        })
    }
}

fn message(frame: &JsText) -> Result<JsValue, JsValue> {
    let text = format!("[{}]", frame.read());
    js::release(frame.as_js());
    msgpack::encode(&text).map(JsValue::from)
}
