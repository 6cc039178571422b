//! The object in memory: its backend, where frames for its connections go, its log.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

use js_sys::Object;
use wasm_bindgen::JsValue;

use super::js;
use super::log::Log;
use super::sql::{JsText, ObjectSql};
use crate::auth::Grant;
use crate::backend::{ConnectionId, SyncBackend};
use crate::config::LogLevel;
use crate::wire::Family;

/// The object in memory. Everything of it can be rebuilt from storage and attachments, which is what a wake
/// does.
pub(super) struct Awake {
    pub(super) backend: SyncBackend<ObjectSql>,
    pub(super) log: Log,
    pub(super) woken_at_ms: u64,
    /// Whether D1 is asked before a store is made that is not here.
    pub(super) asks_at_birth: bool,
    outlets: Vec<Option<(ConnectionId, Outlet)>>,
    auto_response: Option<Family>,
}

/// Where frames for a connection go.
pub(super) enum Outlet {
    Socket(JsValue),
    Answer(Rc<Answer>),
}

/// The answer to one request, as far as it has not been handed over.
#[derive(Default)]
pub(super) struct Answer {
    frames: RefCell<Vec<JsText>>,
    /// Why the request cannot be answered now, if it cannot.
    refusal: Cell<Option<&'static str>>,
    waker: RefCell<Option<Waker>>,
    /// Breaks the stream off that it is read by.
    lifeline: Object,
}

impl Awake {
    pub(super) fn new(
        backend: SyncBackend<ObjectSql>,
        log: Log,
        woken_at_ms: u64,
        asks_at_birth: bool,
    ) -> Self {
        Self {
            backend,
            log,
            woken_at_ms,
            asks_at_birth,
            outlets: Vec::new(),
            auto_response: None,
        }
    }

    /// Takes up the sockets that outlived the memory of the object, each with what was kept with it.
    pub(super) fn reconnect(&mut self, sockets: Vec<(JsValue, Option<String>)>) {
        for (socket, attachment) in sockets {
            let now_ms = self.woken_at_ms;
            let kept = attachment.and_then(|kept| self.backend.reconnect(&kept, now_ms));
            match kept {
                Some(connection) => self.place_socket(connection, socket),
                None => js::close(&socket, 1011, "invalid attachment: connect again"),
            }
        }
    }

    /// Accepts a socket: the answer that holds its client's end, and names the subprotocol if there is one.
    pub(super) fn connect(
        &mut self,
        state: &JsValue,
        family: Family,
        grant: Grant,
        protocol: &str,
    ) -> Result<JsValue, JsValue> {
        let connection = self.backend.connect(family, grant, js::now_ms());
        let attachment = self.backend.attachment(connection).unwrap_or_default();
        let accepted = match js::accept(state, &attachment, protocol) {
            Ok(accepted) => accepted,
            Err(error) => {
                let mut turn = crate::backend::Turn::at(js::now_ms());
                self.backend.disconnect(connection, &mut turn);
                return Err(error);
            }
        };
        self.place_socket(connection, accepted.get(0));
        self.auto_respond(state);
        self.log.write(LogLevel::Debug, "connected", "");
        Ok(accepted.get(1))
    }

    /// Collects what is sent to the connection of one request.
    pub(super) fn place_answer(&mut self, connection: ConnectionId) -> Rc<Answer> {
        let answer = Rc::new(Answer::default());
        self.place(connection, Outlet::Answer(answer.clone()));
        answer
    }

    fn place_socket(&mut self, connection: ConnectionId, socket: JsValue) {
        js::identify(&socket, number_of(connection));
        self.place(connection, Outlet::Socket(socket));
    }

    fn place(&mut self, connection: ConnectionId, outlet: Outlet) {
        let slot = connection.slot();
        if self.outlets.len() <= slot {
            self.outlets.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.outlets.get_mut(slot) {
            *place = Some((connection, outlet));
        }
    }

    pub(super) fn outlet(&self, connection: ConnectionId) -> Option<&Outlet> {
        let (of, outlet) = self.outlets.get(connection.slot())?.as_ref()?;
        (*of == connection).then_some(outlet)
    }

    /// Forgets where the frames of a connection go.
    pub(super) fn take_outlet(&mut self, connection: ConnectionId) -> Option<Outlet> {
        let place = self.outlets.get_mut(connection.slot())?;
        let (_, outlet) = place.take_if(|(of, _)| *of == connection)?;
        if let Outlet::Socket(socket) = &outlet {
            js::identify(socket, -1.0);
        }
        Some(outlet)
    }

    /// Something that a request waits for may have come.
    pub(super) fn wake_answers(&self) {
        for (_, outlet) in self.outlets.iter().flatten() {
            if let Outlet::Answer(answer) = outlet {
                answer.wake();
            }
        }
    }

    /// Has the runtime answer the pings of the clients that are connected.
    pub(super) fn auto_respond(&mut self, state: &JsValue) {
        let Some(family) = self.backend.pinging() else {
            return;
        };
        if self.auto_response == Some(family) {
            return;
        }
        let (request, response) = family.auto_response();
        match js::auto_respond(state, request, response) {
            Ok(()) => self.auto_response = Some(family),
            Err(error) => self
                .log
                .write(LogLevel::Error, "auto-response", &js::message_of(&error)),
        }
    }
}

impl Answer {
    pub(super) fn push(&self, frame: JsText) {
        self.frames.borrow_mut().push(frame);
        self.wake();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.borrow().is_empty()
    }

    pub(super) fn lifeline(&self) -> &Object {
        &self.lifeline
    }

    /// What has been made since the last time.
    pub(super) fn take(&self) -> Vec<JsText> {
        self.frames.take()
    }

    /// The request cannot be answered now.
    pub(super) fn refuse(&self, reason: &'static str) {
        self.refusal.set(Some(reason));
        self.frames.take();
        js::break_off(&self.lifeline, reason);
        self.wake();
    }

    pub(super) fn refusal(&self) -> Option<&'static str> {
        self.refusal.get()
    }

    /// Has the one who waits for the answer look again.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    pub(super) fn wake_by(&self, waker: &Waker) {
        self.waker.replace(Some(waker.clone()));
    }
}

/// A connection's number, as it is kept beside a socket.
#[allow(clippy::cast_precision_loss)] // It is below 2^53.
fn number_of(connection: ConnectionId) -> f64 {
    connection.to_number() as f64
}

/// The connection whose number a socket bears.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // An integer from 0 up, else none.
pub(super) fn connection_of(socket: &JsValue) -> Option<ConnectionId> {
    let number = js::identity_of(socket);
    (number >= 0.0)
        .then_some(number as u64)
        .and_then(ConnectionId::from_number)
}
