//! The bodies of requests, as many at a time as the object has room for (INV-11): a large one is read in small pieces into
//! the memory that it is parsed from, while others wait with theirs yet to be sent.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use worker::worker_sys::web_sys::Request;

use super::js;
use crate::limits::{BODIES_BYTES_MAX, FRAME_BYTES_CEILING, STALL_MS};

/// Why there is no body.
pub(super) enum Unread {
    TooLarge,
    /// Nothing of it came for too long.
    Stalled,
    Failed(JsValue),
}

impl From<JsValue> for Unread {
    fn from(error: JsValue) -> Self {
        Self::Failed(error)
    }
}

/// What is being read of large bodies.
#[derive(Default)]
pub(super) struct Bodies {
    bytes: Cell<usize>,
    waiting: RefCell<Vec<Waker>>,
}

impl Bodies {
    /// The whole body of a request.
    pub(super) async fn read(&self, request: &Request) -> Result<Vec<u8>, Unread> {
        let body = js::open_body(request)?;
        let said = js::length_of(&body);
        let length = said.unwrap_or(FRAME_BYTES_CEILING);
        if length > FRAME_BYTES_CEILING {
            js::leave_body(&body);
            return Err(Unread::TooLarge);
        }
        let _permit = self.permit(length).await;
        let stall_ms = u32::try_from(STALL_MS).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(said.unwrap_or_default());
        loop {
            let piece = JsFuture::from(js::read_piece(&body, stall_ms)).await?;
            if piece.is_undefined() {
                return Ok(bytes);
            }
            let Ok(piece) = piece.dyn_into::<Uint8Array>() else {
                return Err(Unread::Stalled);
            };
            let (start, end) = (bytes.len(), bytes.len() + piece.length() as usize);
            if end > FRAME_BYTES_CEILING {
                drop(bytes);
                drain(&body, stall_ms).await?;
                return Err(Unread::TooLarge);
            }
            bytes.resize(end, 0);
            piece.copy_to(bytes.get_mut(start..).unwrap_or_default());
        }
    }

    /// Waits until `bytes` more may be read.
    async fn permit(&self, bytes: usize) -> Permit<'_> {
        poll_fn(|context| {
            let others = self.bytes.get();
            if others > 0 && others + bytes > BODIES_BYTES_MAX {
                self.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            self.bytes.set(others + bytes);
            Poll::Ready(Permit {
                bodies: self,
                bytes,
            })
        })
        .await
    }
}

/// Reads on for as much again and keeps nothing: who is answered in the middle of sending may not hear the answer.
async fn drain(body: &JsValue, stall_ms: u32) -> Result<(), JsValue> {
    let mut left = FRAME_BYTES_CEILING;
    while left > 0 {
        let piece = JsFuture::from(js::read_piece(body, stall_ms)).await?;
        let Ok(piece) = piece.dyn_into::<Uint8Array>() else {
            return Ok(());
        };
        left = left.saturating_sub(piece.length() as usize);
    }
    js::leave_body(body);
    Ok(())
}

/// Bytes that may be read as long as this is there.
struct Permit<'a> {
    bodies: &'a Bodies,
    bytes: usize,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let bytes = &self.bodies.bytes;
        bytes.set(bytes.get().saturating_sub(self.bytes));
        for waiting in self.bodies.waiting.take() {
            waiting.wake();
        }
    }
}
