//! The Durable Object that owns one store's event log: each event of the platform goes into the backend.
//!
//! The class is written out rather than derived: its handlers take sockets and frames as they are, and
//! are plain calls unless a hook waits, so that a frame costs one call and leaves nothing pending
//! (INV-9: an idle object hibernates).

use std::rc::Rc;

use wasm_bindgen::prelude::*;
use worker::worker_sys::web_sys::Request;

use super::awake::connection_of;
use super::poll::now_or_later;
use super::shared::{Shared, Unavailable};
use super::{admin, fetch, js, one_shot};
use crate::auth::Grant;
use crate::backend::{Frame, SyncBackend};
use crate::config::LogLevel;
use crate::event::StoreId;
use crate::hooks::Hooks;
use crate::route::{self, Answer, Door, Errand, Headers, Visit};
use crate::store::OpenError;
use crate::wire::{Family, Transport};

/// The sync backend of one store, with the hooks of an app. `export!` makes a class of it.
#[allow(missing_debug_implementations)]
pub struct Object<H: Hooks>(Rc<Shared<H>>);

impl<H: Hooks> Object<H> {
    /// Called by the runtime when the object is made; reads nothing yet. `hooks` are the app's.
    ///
    /// # Errors
    /// When the object has no storage.
    pub fn new(state: JsValue, env: JsValue, hooks: H) -> Result<Self, JsValue> {
        Shared::new(state, env, hooks).map(Self)
    }

    /// A request that the Worker has let in: a WebSocket upgrade, one over HTTP, or one to the administration. `visit` is what
    /// its header says of that, if it has one. The members of the JSON object `forwarded` are headers for hooks, beside those
    /// that the Worker has forwarded. `body` is that of a request over HTTP, if it has been read.
    ///
    /// # Errors
    /// What the platform throws.
    pub fn fetch(
        &self,
        request: Request,
        visit: Option<&str>,
        forwarded: Option<&str>,
        body: Option<Vec<u8>>,
    ) -> Result<JsValue, JsValue> {
        let shared = &self.0;
        let visit = match fetch::visit(shared.id(), shared.env(), visit, &request)? {
            Ok(visit) => visit,
            Err(answer) => return fetch::respond(&answer),
        };
        let Visit {
            store_id,
            errand,
            headers,
        } = visit;
        match errand {
            Errand::Administer(ask) => {
                now_or_later(admin::answer(shared.clone(), request, store_id, ask))
            }
            Errand::Sync { door, grant } => {
                let grant = shared.kept(grant, forwarded);
                let headers = shared.answered_with(headers);
                if let Some(answer) = shared.not_let_in(door, &store_id, &grant) {
                    return fetch::turn_away(answer, headers);
                }
                match door {
                    Door::Http => {
                        let asked = one_shot::Asked::over_http(store_id, grant);
                        let shared = shared.clone();
                        now_or_later(one_shot::http(shared, request, body, asked, headers))
                    }
                    Door::Socket(family) => shared.connect(&store_id, family, grant),
                }
            }
        }
    }

    /// A call of another Durable Object: `payload` is a request, the result its answer.
    ///
    /// # Errors
    /// When the store cannot be opened, or asks to be called again later.
    pub fn rpc(&self, payload: &JsValue) -> Result<JsValue, JsValue> {
        if !self.0.transports().has(Transport::DoRpc) {
            return Err(js_sys::Error::new(&route::not_enabled(Transport::DoRpc)).into());
        }
        let payload = js::bytes_of(payload).unwrap_or_default();
        now_or_later(one_shot::rpc(self.0.clone(), payload))
    }

    /// A frame of a client.
    ///
    /// # Errors
    /// None.
    pub fn web_socket_message(
        &self,
        socket: &JsValue,
        message: &JsValue,
    ) -> Result<JsValue, JsValue> {
        if let Err(error) = self.0.with(None, |_| ()) {
            let reason = format!("{error}: connect again");
            let code = if error.is_not_here() { 1013 } else { 1011 };
            js::close(socket, code, &reason);
            return Ok(JsValue::UNDEFINED);
        }
        let Some(from) = connection_of(socket) else {
            js::close(socket, 1012, "connect again");
            return Ok(JsValue::UNDEFINED);
        };
        let bytes;
        let text = message.as_string();
        let frame = if let Some(text) = &text {
            Frame::Text(text)
        } else {
            bytes = js::bytes_of(message).unwrap_or_default();
            Frame::Binary(&bytes)
        };
        let done = self
            .0
            .run(|backend, turn| backend.on_frame(from, frame, turn));
        match done {
            Ok(()) => self.0.owe(from, socket),
            Err(_) => js::close(socket, 1012, "connect again"),
        }
        Ok(JsValue::UNDEFINED)
    }

    /// A socket that its client has closed.
    pub fn web_socket_close(&self, socket: &JsValue, code: u16) {
        self.0.forget(socket);
        // 1005 and 1006 stand for "no code" and may not be sent.
        let code = if matches!(code, 1005 | 1006 | 1015) {
            1000
        } else {
            code
        };
        js::close(socket, code, "Durable Object is closing WebSocket");
    }

    /// A socket that broke.
    pub fn web_socket_error(&self, socket: &JsValue) {
        self.0.forget(socket);
        js::close(socket, 1011, "the connection broke");
    }

    /// Something was left for later.
    ///
    /// # Errors
    /// When nothing could be done and the alarm could not be set again: the platform then calls again.
    pub fn alarm(&self) -> Result<JsValue, JsValue> {
        let shared = &self.0;
        shared.alarm_goes_off();
        let woken = shared.with(None, |_| ());
        shared.alarm_went_off();
        if let Err(Unavailable::Closed(OpenError::Unborn)) = woken {
            // Nothing is here, so nothing is owed.
            return Ok(JsValue::UNDEFINED);
        }
        if let Err(error) = woken.and_then(|()| shared.turn(SyncBackend::on_alarm)) {
            // The platform gives up after a few tries of its own.
            shared.retry_alarm().map_err(|_| JsValue::from(error))?;
        }
        if !shared.holds_alarm() {
            return Ok(JsValue::UNDEFINED);
        }
        let held = shared.clone().hold_alarm();
        now_or_later(async move {
            held.await;
            Ok(JsValue::UNDEFINED)
        })
    }
}

impl<H: Hooks> Shared<H> {
    /// What is kept of a grant, with the headers that were forwarded for hooks.
    fn kept(&self, mut grant: Grant, forwarded: Option<&str>) -> Grant {
        if !self.hooks().keeps_payload() {
            grant.payload = None;
        }
        if let Some(forwarded) = forwarded {
            grant.add_headers(forwarded);
        }
        grant
    }

    /// The headers of an answer, with those that the app adds.
    fn answered_with(&self, mut headers: Headers) -> Headers {
        let added = self.hooks().response_headers().iter().cloned();
        headers.extend(added.map(|(name, value)| (name.into(), value)));
        headers
    }

    /// The answer to a client that does not get as far as its store.
    fn not_let_in(&self, door: Door, store_id: &StoreId, grant: &Grant) -> Option<Answer> {
        let transport = door.transport();
        if !self.transports().has(transport) {
            return Some(route::not_served(transport, store_id));
        }
        route::too_large(grant, store_id)
    }

    fn connect(
        self: &Rc<Self>,
        store_id: &StoreId,
        family: Family,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        if let Err(refusal) = self.check_grant(store_id, &grant) {
            return self.turn_away(store_id, refusal);
        }
        if (self.is_asleep() || self.is_closed())
            && let Err(error) = self.with(Some(store_id), |_| ())
            && error.is_not_here()
        {
            let (shared, store_id) = (self.clone(), store_id.clone());
            return now_or_later(async move {
                match shared.born(Some(&store_id)).await {
                    Ok(()) => shared.connect_awake(&store_id, family, grant),
                    Err(error) => error.respond(),
                }
            });
        }
        self.connect_awake(store_id, family, grant)
    }

    fn connect_awake(
        self: &Rc<Self>,
        store_id: &StoreId,
        family: Family,
        grant: Grant,
    ) -> Result<JsValue, JsValue> {
        let answer = self.with(Some(store_id), |awake| {
            let backend = &mut awake.backend;
            backend.admit(store_id, js::now_ms())?;
            Ok(awake.connect(self.state(), family, grant, ""))
        });
        match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(refusal)) => self.turn_away(store_id, refusal),
            Err(error) => error.respond(),
        }
    }

    fn forget(self: &Rc<Self>, socket: &JsValue) {
        let forgotten = self.with(None, |awake| {
            let connection = connection_of(socket)?;
            awake.take_outlet(connection);
            awake.log.write(LogLevel::Debug, "disconnected", "");
            Some(connection)
        });
        if let Ok(Some(connection)) = forgotten {
            // What could not be done for it is done when the object wakes.
            let _ = self.turn(|backend, turn| backend.disconnect(connection, turn));
            let _ = self.borrow(|awake| awake.auto_respond(self.state()));
        }
    }
}
