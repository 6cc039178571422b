//! Running what may wait, and usually does not.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::{future_to_promise, spawn_local};

/// Runs `work` until it waits for something; what it returned if it never did, else a promise of that.
pub(super) fn now_or_later(
    work: impl Future<Output = Result<JsValue, JsValue>> + 'static,
) -> Result<JsValue, JsValue> {
    let mut work = Box::pin(work);
    match poll_once(work.as_mut()) {
        Poll::Ready(result) => result,
        Poll::Pending => Ok(future_to_promise(work).into()),
    }
}

/// Runs `work` until it waits for something, and the rest of it whenever that has come.
pub(super) fn start(work: impl Future<Output = ()> + 'static) {
    let mut work = Box::pin(work);
    if poll_once(work.as_mut()).is_pending() {
        spawn_local(work);
    }
}

/// Runs `work` until it waits for something.
pub(super) fn poll_once<F: Future>(work: Pin<&mut F>) -> Poll<F::Output> {
    // What is pending is polled again by its executor at once, with a waker of its own.
    work.poll(&mut Context::from_waker(Waker::noop()))
}
