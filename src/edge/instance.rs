//! What `instance.js` and `worker.ts` have to know of the instance that all of this runs in: where it
//! panicked, and for which object it was at work when it ended.

use std::cell::RefCell;
use std::rc::Rc;

use wasm_bindgen::JsValue;
use wasm_bindgen::convert::IntoWasmAbi;

use super::js;
use crate::json::quote;

thread_local! {
    static AT_WORK: RefCell<Owner> = const { RefCell::new(Owner(None)) };
}

/// The object that something is done for, by its state: should the instance end there, its sockets may
/// have missed frames and are closed. By default it is done for none.
#[derive(Clone, Debug, Default)]
pub struct Owner(Option<Rc<JsValue>>);

impl Owner {
    /// The object of this state.
    #[must_use]
    pub fn new(state: JsValue) -> Self {
        Self(Some(Rc::new(state)))
    }

    /// The object that is worked for now.
    pub(super) fn at_work() -> Self {
        AT_WORK.with_borrow(Self::clone)
    }

    /// Does `work` for this object.
    pub fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let before = AT_WORK.replace(self.clone());
        let result = work();
        // Nothing unwinds: if the instance ends in `work`, this is as it was then.
        AT_WORK.set(before);
        result
    }
}

/// The first thing that runs in an instance: has it say where it panics. The text of a panic may hold
/// what a user wrote, so it is left out.
pub fn begin() {
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        let location = quote(&location.unwrap_or_default());
        let line = format!(r#"{{"level":"error","event":"panic","location":{location}}}"#);
        js::log("error", &line);
    }));
}

/// Where the table of references has the state of the object that is worked for.
#[must_use]
pub fn owner() -> u32 {
    let owner = Owner::at_work();
    owner.0.as_deref().unwrap_or(&JsValue::UNDEFINED).into_abi()
}
