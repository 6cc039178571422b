//! Tells followers what the backend has for them, and feeds back how that went.

use std::rc::Rc;
use std::task::Poll;

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;

use super::poll::{hook, poll_hook_once, spawn};
use super::shared::Shared;
use super::sql::JsText;
use super::{backup, hooks, js, msgpack};
use crate::backend::{ClientObject, Delivery, DeliveryId, Fetch, Message, Outcome};
use crate::hooks::{HookError, Hooks};
use crate::store::mirror::MirrorBatch;
use crate::store::sql::Text as _;
use crate::wire::Generation;

impl<H: Hooks> Shared<H> {
    /// Begins a delivery: its outcome if there is one at once, else the backend is told when there is.
    pub(super) fn deliver(self: &Rc<Self>, delivery: Delivery<JsText>) -> Option<Outcome> {
        let Delivery { id, message } = delivery;
        match message {
            Message::Call { object, frame } => self.call(id, &object, &frame),
            Message::Mirror(batch) => self.mirror(id, None, batch),
            Message::Disown { database, batch } => self.mirror(id, Some(database), batch),
            Message::Committed(page) => {
                let shared = self.clone();
                let mut work = Box::pin(hooks::tell(self.clone(), page));
                match poll_hook_once(work.as_mut(), self.has_unsent()) {
                    Poll::Ready(result) => Some(outcome(result)),
                    Poll::Pending => {
                        spawn(async move { shared.delivered(id, outcome(hook(work).await)) });
                        None
                    }
                }
            }
        }
    }

    /// Runs a batch in a database, that of backups if no other is named.
    fn mirror(
        self: &Rc<Self>,
        id: DeliveryId,
        database: Option<String>,
        batch: MirrorBatch<JsText>,
    ) -> Option<Outcome> {
        let shared = self.clone();
        spawn(async move {
            let outcome = backup::mirror(shared.env(), database.as_deref(), &batch).await;
            shared.delivered(id, outcome);
        });
        None
    }

    /// Calls a client object.
    fn call(
        self: &Rc<Self>,
        id: DeliveryId,
        object: &ClientObject,
        frame: &JsText,
    ) -> Option<Outcome> {
        let message = match object.generation() {
            Generation::V03 | Generation::V04 => js::parse_json(frame.as_js()),
            Generation::V05 => msgpack::encode(&frame.read()).map(JsValue::from),
        };
        let call = message.and_then(|message| {
            let (binding, object_id) = (&object.binding, &object.object_id);
            js::call_back(self.env(), binding, object_id, &message, &self.store_id())
        });
        let promise = match call {
            Ok(promise) => promise,
            Err(error) => return Some(Outcome::Gone(js::message_of(&error))),
        };
        let shared = self.clone();
        spawn(async move {
            let outcome = match JsFuture::from(promise).await {
                Ok(_) => Outcome::Taken,
                Err(error) => Outcome::Failed(js::message_of(&error)),
            };
            shared.delivered(id, outcome);
        });
        None
    }

    /// Begins a query; the backend is told what it returns.
    pub(super) fn fetch(self: &Rc<Self>, fetch: Fetch<JsText>) {
        let Fetch { id, database, step } = fetch;
        let shared = self.clone();
        spawn(async move {
            let fetched = backup::fetch(shared.env(), database.as_deref(), step).await;
            // Where the object cannot be had any more, it is asked again by the alarm.
            let _ = shared.turn(|backend, turn| backend.on_fetched(id, fetched, turn));
        });
    }

    fn delivered(self: &Rc<Self>, id: DeliveryId, outcome: Outcome) {
        // Where the object cannot be had any more, it is repeated by the alarm.
        let _ = self.run(|backend, turn| backend.on_delivered(id, outcome, turn));
    }
}

fn outcome(result: Result<(), HookError>) -> Outcome {
    match result {
        Ok(()) => Outcome::Taken,
        Err(error) => Outcome::Failed(error.to_string()),
    }
}
