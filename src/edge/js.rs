//! Hand-written externs: what `worker` lacks (a synchronous transaction, attachments as they are) and
//! what the hot path needs without conversions. The JavaScript side is `glue.js`.

use js_sys::{Array, JsString};
use wasm_bindgen::prelude::*;
use worker::Env;

#[wasm_bindgen]
extern "C" {
    /// The platform's URL parser: a Rust one would bring the tables of international domain names.
    #[wasm_bindgen(js_name = URL)]
    pub(super) type Url;

    #[wasm_bindgen(catch, constructor, js_class = "URL")]
    pub(super) fn parse(url: &str) -> Result<Url, JsValue>;

    #[wasm_bindgen(method, getter)]
    pub(super) fn origin(this: &Url) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn hostname(this: &Url) -> String;

    #[wasm_bindgen(method, getter)]
    pub(super) fn pathname(this: &Url) -> String;

    /// The query with its `?`.
    #[wasm_bindgen(method, getter)]
    pub(super) fn search(this: &Url) -> String;
}

#[wasm_bindgen(module = "/src/edge/glue.js")]
extern "C" {
    /// All rows of a statement, each an array.
    #[wasm_bindgen(catch)]
    pub(super) fn query(
        sql: &JsValue,
        statement: &JsString,
        params: &Array,
    ) -> Result<Array, JsValue>;

    /// Runs statements in one synchronous transaction. Numbers cross as one array, so that a step costs
    /// few calls; a NaN among them stands for the next of `others`.
    #[wasm_bindgen(catch)]
    pub(super) fn transact(
        storage: &JsValue,
        statements: &Array,
        counts: &[u32],
        numbers: &[f64],
        others: &Array,
    ) -> Result<(), JsValue>;

    /// Three strings in one.
    pub(super) fn join(head: &JsString, body: &JsString, tail: &JsString) -> JsString;

    /// Accepts a WebSocket for hibernation: the server's end, and the answer that holds the client's.
    #[wasm_bindgen(catch)]
    pub(super) fn accept(state: &JsValue, attachment: &str) -> Result<Array, JsValue>;

    /// The sockets that are open.
    #[wasm_bindgen(catch, js_name = openSockets)]
    pub(super) fn open_sockets(state: &JsValue) -> Result<Array, JsValue>;

    /// What was kept with a socket, if it is a text.
    #[wasm_bindgen(catch, js_name = attachmentOf)]
    pub(super) fn attachment_of(socket: &JsValue) -> Result<Option<String>, JsValue>;

    /// Keeps a text with a socket over an eviction.
    #[wasm_bindgen(catch)]
    pub(super) fn keep(socket: &JsValue, attachment: &str) -> Result<(), JsValue>;

    /// Sends a text frame; false when the socket takes no more.
    pub(super) fn send(socket: &JsValue, frame: &JsString) -> bool;

    /// Closes a socket, or finds it closed.
    pub(super) fn close(socket: &JsValue, code: u16, reason: &str);

    /// Writes a connection's number on its socket.
    pub(super) fn identify(socket: &JsValue, connection: i32);

    /// The number on a socket, or -1.
    #[wasm_bindgen(js_name = identityOf)]
    pub(super) fn identity_of(socket: &JsValue) -> i32;

    /// Has the runtime answer one text frame without waking the object.
    #[wasm_bindgen(catch, js_name = autoRespond)]
    pub(super) fn auto_respond(state: &JsValue, ping: &str, pong: &str) -> Result<(), JsValue>;

    /// Sets the object's alarm to now.
    #[wasm_bindgen(catch, js_name = wakeSoon)]
    pub(super) fn wake_soon(storage: &JsValue) -> Result<(), JsValue>;

    /// Hands a request to the object of this name: a promise of its answer.
    #[wasm_bindgen(catch)]
    pub(super) fn forward(
        objects: &JsValue,
        name: &str,
        request: &JsValue,
    ) -> Result<JsValue, JsValue>;

    /// A plain-text answer; no body where `body` is empty.
    #[wasm_bindgen(catch)]
    pub(super) fn respond(status: u16, body: &str, headers: &Array) -> Result<JsValue, JsValue>;

    /// A binding that holds Durable Objects.
    #[wasm_bindgen(js_name = objectBinding)]
    pub(super) fn object_binding(env: &Env, name: &str) -> Option<JsValue>;

    /// A variable or secret.
    pub(super) fn variable(env: &Env, name: &str) -> Option<String>;

    /// The name that the object was addressed by.
    #[wasm_bindgen(catch, js_name = nameOf)]
    pub(super) fn name_of(state: &JsValue) -> Result<Option<String>, JsValue>;

    /// Fills bytes with randomness.
    pub(super) fn randomize(bytes: &mut [u8]);
}

/// Milliseconds since the epoch.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A time of the platform, in whole milliseconds.
pub(super) fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// What a thrown value says.
pub(super) fn message_of(error: &JsValue) -> String {
    let message = error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()));
    message
        .or_else(|| error.as_string())
        .unwrap_or_else(|| format!("{error:?}"))
}

/// The query of a URL without its `?`.
pub(super) fn query_of(url: &Url) -> String {
    let search = url.search();
    search.strip_prefix('?').unwrap_or(&search).to_owned()
}
