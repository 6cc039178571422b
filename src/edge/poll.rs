//! Running what may wait, and usually does not.
//!
//! Owns what becomes of it if the instance ends: a future goes on in the name of the object that it was
//! begun for, and a promise that has not been settled fails. So the platform layer spawns nothing, makes
//! no promise and gives no closure away but through this module.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::instance::Owner;

#[wasm_bindgen(module = "/src/edge/instance.js")]
extern "C" {
    /// A promise that fails if the instance ends before it is settled.
    fn owe() -> JsValue;

    /// A promise whose socket is closed if the instance ends before it is settled.
    #[wasm_bindgen(js_name = oweTo)]
    pub(super) fn owe_to(socket: &JsValue) -> JsValue;

    pub(super) fn settle(promise: &JsValue, value: &JsValue);

    fn refuse(promise: &JsValue, error: &JsValue);
}

/// Runs `work` until it waits for something; what it returned if it never did, else a promise of that.
pub(super) fn now_or_later(
    work: impl Future<Output = Result<JsValue, JsValue>> + 'static,
) -> Result<JsValue, JsValue> {
    let mut work = Box::pin(work);
    if let Poll::Ready(result) = poll_once(work.as_mut()) {
        return result;
    }
    let promise = owe();
    let owed = promise.clone();
    spawn(async move {
        match work.await {
            Ok(value) => settle(&owed, &value),
            Err(error) => refuse(&owed, &error),
        }
    });
    Ok(promise)
}

/// Runs `work` once what runs now has returned.
#[allow(clippy::disallowed_methods)] // What is spawned here has its owner.
pub(super) fn spawn(work: impl Future<Output = ()> + 'static) {
    spawn_local(owned(Owner::at_work(), work));
}

/// Runs `work` until it waits for something.
pub(super) fn poll_once<F: Future>(work: Pin<&mut F>) -> Poll<F::Output> {
    // What is pending is polled again by its executor at once, with a waker of its own.
    work.poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs a hook of an app until it waits, and then by [`hook`]. As long as something that a turn made
/// `is_unsent`, a panic of the hook loses it.
pub(super) fn poll_hook_once<F: Future>(work: Pin<&mut F>, is_unsent: bool) -> Poll<F::Output> {
    let owner = if is_unsent {
        Owner::at_work()
    } else {
        Owner::default()
    };
    owner.run(|| poll_once(work))
}

/// Runs a hook of an app that has waited. Nothing that a turn made has yet to be sent then: if the hook
/// panics, no socket is closed but those whose messages wait.
pub(super) fn hook<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    owned(Owner::default(), work)
}

async fn owned<T>(owner: Owner, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    poll_fn(|context| owner.run(|| work.as_mut().poll(context))).await
}

/// A function for a stream: with true it makes more, or a promise of it, with false it is over. The
/// collector drops it.
#[allow(clippy::disallowed_methods)] // What is made here has its owner.
pub(super) fn step(mut step: impl FnMut(bool) -> Result<JsValue, JsValue> + 'static) -> JsValue {
    let owner = Owner::at_work();
    let step = move |go_on| owner.run(|| step(go_on));
    Closure::<dyn FnMut(bool) -> Result<JsValue, JsValue>>::new(step).into_js_value()
}
