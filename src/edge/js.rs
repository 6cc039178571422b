//! Hand-written externs: what `worker` lacks (a synchronous transaction, attachments as they are) and
//! what the hot path needs without conversions. The JavaScript side is `glue.js`.
//!
//! What an import throws ends the instance, unless it is declared to `catch`. The others but `give_up` have nothing to
//! throw: they touch the console, own properties and the platform's getters, or catch in JavaScript.

use js_sys::{Array, JsString, Object, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use worker::Env;

use crate::event::BackendId;

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
    /// few calls; a NaN among them stands for the next of `others`, and undefined among those for `bytes`.
    #[wasm_bindgen(catch)]
    pub(super) fn transact(
        storage: &JsValue,
        statements: &Array,
        counts: &[u32],
        numbers: &[f64],
        others: &Array,
        bytes: &[u8],
    ) -> Result<(), JsValue>;

    /// Inserts rows and moves the head, both or neither; false if one of them stays alone. Parameters cross one by one, which is less
    /// than arrays cost; of one event there are no `offsets`.
    #[allow(clippy::too_many_arguments)]
    #[wasm_bindgen(catch)]
    pub(super) fn append(
        sql: &JsValue,
        insert: &JsString,
        move_head: &JsString,
        undo: &JsString,
        store_id: &JsValue,
        backend_id: &JsValue,
        bytes: &[u8],
        offsets: Option<&str>,
        first: f64,
        created_at_bytes: usize,
        client_id_bytes: usize,
        session_id_bytes: usize,
        name_bytes: usize,
        args_bytes: usize,
        last: f64,
        head_before: f64,
        last_before: f64,
    ) -> Result<bool, JsValue>;

    /// Throws the object away, with all that is not durable yet, and ends the instance.
    #[wasm_bindgen(js_name = giveUp)]
    pub(super) fn give_up(state: &JsValue);

    /// Runs `work` in one synchronous transaction, which is taken back if it returns false.
    #[wasm_bindgen(catch)]
    pub(super) fn together(
        storage: &JsValue,
        work: &mut dyn FnMut() -> bool,
    ) -> Result<(), JsValue>;

    /// Bytes of a database; 0 where they cannot be had: then a write fails for its own reason.
    #[wasm_bindgen(js_name = sizeOf)]
    pub(super) fn size_of(sql: &JsValue) -> f64;

    /// Three texts one after the other: in one string if they are strings.
    pub(super) fn join(head: &JsValue, body: &JsValue, tail: &JsValue) -> JsValue;

    /// A text that is no string, as bytes.
    #[wasm_bindgen(js_name = utf8Of)]
    pub(super) fn utf8_of(text: &JsValue) -> Uint8Array;

    /// Lets go of what is no string of a text, which is of no use after that.
    pub(super) fn release(text: &JsValue);

    /// Accepts a WebSocket for hibernation, of this subprotocol unless that is empty: the server's end, and the answer that
    /// holds the client's.
    #[wasm_bindgen(catch)]
    pub(super) fn accept(
        state: &JsValue,
        attachment: &str,
        protocol: &str,
    ) -> Result<Array, JsValue>;

    /// The sockets that are open.
    #[wasm_bindgen(catch, js_name = openSockets)]
    pub(super) fn open_sockets(state: &JsValue) -> Result<Array, JsValue>;

    /// What was kept with a socket, if it is a text.
    #[wasm_bindgen(catch, js_name = attachmentOf)]
    pub(super) fn attachment_of(socket: &JsValue) -> Result<Option<String>, JsValue>;

    /// Keeps a text with a socket over an eviction.
    #[wasm_bindgen(catch)]
    pub(super) fn keep(socket: &JsValue, attachment: &str) -> Result<(), JsValue>;

    /// Sends a text frame; false when the socket takes no more, and is closed.
    pub(super) fn send(socket: &JsValue, frame: &JsValue) -> bool;

    /// Closes a socket, or finds it closed.
    pub(super) fn close(socket: &JsValue, code: u16, reason: &str);

    /// Writes a connection's number on its socket.
    pub(super) fn identify(socket: &JsValue, connection: f64);

    /// The number on a socket, or -1.
    #[wasm_bindgen(js_name = identityOf)]
    pub(super) fn identity_of(socket: &JsValue) -> f64;

    /// Has the runtime answer one text frame without waking the object.
    #[wasm_bindgen(catch, js_name = autoRespond)]
    pub(super) fn auto_respond(state: &JsValue, ping: &str, pong: &str) -> Result<(), JsValue>;

    /// When the runtime last answered a ping of this socket, in milliseconds since the epoch; NaN if never.
    #[wasm_bindgen(js_name = pingedAt)]
    fn pinged_at(state: &JsValue, socket: &JsValue) -> f64;

    /// Sets the object's alarm, in milliseconds since the epoch.
    #[wasm_bindgen(catch, js_name = wakeAt)]
    pub(super) fn wake_at_js(storage: &JsValue, at_ms: f64) -> Result<(), JsValue>;

    /// An object's storage.
    #[wasm_bindgen(catch, js_name = storageOf)]
    pub(super) fn storage_of(state: &JsValue) -> Result<JsValue, JsValue>;

    /// A storage's SQLite.
    #[wasm_bindgen(catch, js_name = sqlOf)]
    pub(super) fn sql_of(storage: &JsValue) -> Result<JsValue, JsValue>;

    /// What sync-cf 0.3 kept as the head, in the storage beside SQLite.
    #[wasm_bindgen(catch, js_name = keyValueHead)]
    pub(super) fn key_value_head(storage: &JsValue) -> Result<Option<f64>, JsValue>;

    /// Forgets it.
    #[wasm_bindgen(catch, js_name = forgetKeyValueHead)]
    pub(super) fn forget_key_value_head(storage: &JsValue) -> Result<(), JsValue>;

    /// Removes everything that an object has stored, its alarm included.
    #[wasm_bindgen(catch)]
    pub(super) fn erase(storage: &JsValue) -> Result<(), JsValue>;

    /// A promise of the body's bytes, or of undefined when there are more than `max`.
    #[wasm_bindgen(catch, js_name = readBody)]
    pub(super) fn read_body(request: &JsValue, max: usize) -> Result<Promise, JsValue>;

    /// The body of a request, to be read in pieces.
    #[wasm_bindgen(catch, js_name = openBody)]
    pub(super) fn open_body(request: &JsValue) -> Result<JsValue, JsValue>;

    /// How many bytes it says it has.
    #[wasm_bindgen(js_name = lengthOf)]
    pub(super) fn length_of(body: &JsValue) -> Option<usize>;

    /// What is left of it is not read.
    #[wasm_bindgen(js_name = leaveBody)]
    pub(super) fn leave_body(body: &JsValue);

    /// A promise of its next piece, which is valid until the one after it is asked for; of undefined at its end, of null
    /// if nothing comes within `ms`.
    #[wasm_bindgen(js_name = readPiece)]
    pub(super) fn read_piece(body: &JsValue, ms: u32) -> Promise;

    /// A promise of what `promise` becomes, or of null if that takes longer than `ms`.
    pub(super) fn within(promise: &Promise, ms: u32) -> Promise;

    /// A promise of the gzip of a text, in hexadecimal digits.
    pub(super) fn pack(text: &JsValue) -> Promise;

    /// A promise of the text that was packed so; of undefined where it was not.
    pub(super) fn unpack(packed: &JsValue) -> Promise;

    /// A promise that is kept when others have had their turn.
    pub(super) fn pause() -> Promise;

    /// A column of a row of D1.
    pub(super) fn column(row: &JsValue, column: &str) -> JsValue;

    /// A D1 database that is bound.
    pub(super) fn database(env: &Env, name: &str) -> Option<JsValue>;

    /// An answer that is the JSON array of these texts.
    #[wasm_bindgen(catch, js_name = respondJson)]
    pub(super) fn respond_json(frames: &Array, headers: &str) -> Result<JsValue, JsValue>;

    /// The same answer as a stream: `step(true)` makes more texts, the last followed by a null;
    /// `step(false)` ends it.
    #[wasm_bindgen(catch, js_name = streamJson)]
    pub(super) fn stream_json(
        first: Array,
        step: &JsValue,
        lifeline: &Object,
        headers: &str,
    ) -> Result<JsValue, JsValue>;

    /// A stream of bytes, made in the same way.
    #[wasm_bindgen(catch, js_name = streamBytes)]
    pub(super) fn stream_bytes(
        first: Array,
        step: &JsValue,
        lifeline: &Object,
    ) -> Result<JsValue, JsValue>;

    /// Breaks the stream of a lifeline off, if there is one: what it holds is let go.
    #[wasm_bindgen(js_name = breakOff)]
    pub(super) fn break_off(lifeline: &Object, message: &str);

    /// A number as JavaScript prints it.
    #[wasm_bindgen(js_name = printNumber)]
    pub(super) fn print_number(number: f64) -> String;

    /// A text as JavaScript reads it as a number.
    #[wasm_bindgen(js_name = parseNumber)]
    pub(super) fn parse_number(text: &str) -> f64;

    /// A JSON text as a value.
    #[wasm_bindgen(catch, js_name = parseJson)]
    pub(super) fn parse_json(text: &JsValue) -> Result<JsValue, JsValue>;

    /// Calls a client object: a promise of its answer. Throws when there is no such object.
    #[wasm_bindgen(catch, js_name = callBack)]
    pub(super) fn call_back(
        env: &Env,
        binding: &str,
        object_id: &str,
        message: &JsValue,
        store_id: &str,
    ) -> Result<Promise, JsValue>;

    /// What is to be known of a request, a line for each fact: its method; origin, host name, path and query of
    /// its URL; and the headers `Host`, `Origin`, `Authorization`, `Cookie`, `CF-Ray`, `Upgrade` and, of OPTIONS alone,
    /// `Access-Control-Request-Headers`. One call, and the platform's URL parser: a Rust one would bring the tables of international
    /// domain names.
    #[wasm_bindgen(catch, js_name = factsOf)]
    pub(super) fn facts_of(request: &JsValue) -> Result<String, JsValue>;

    /// Whether the runtime names the place of Cloudflare's network where a request arrived.
    #[wasm_bindgen(js_name = hasPlace)]
    pub(super) fn has_place(request: &JsValue) -> bool;

    /// The id of the object of a name.
    #[wasm_bindgen(catch, js_name = idOfName)]
    pub(super) fn id_of_name(objects: &JsValue, name: &str) -> Result<JsValue, JsValue>;

    /// The objects of a jurisdiction. Throws where the runtime has none.
    #[wasm_bindgen(catch, js_name = inJurisdiction)]
    pub(super) fn in_jurisdiction(
        objects: &JsValue,
        jurisdiction: &str,
    ) -> Result<JsValue, JsValue>;

    /// Hands a request to the object with this id, without its query and with a header: a promise of its answer. Where there
    /// is no such object yet, it had better be made at the place of the hint.
    #[wasm_bindgen(catch)]
    pub(super) fn forward(
        objects: &JsValue,
        id: &JsValue,
        request: &JsValue,
        header: &str,
        value: &str,
        location_hint: Option<&str>,
    ) -> Result<JsValue, JsValue>;

    /// The same promise of an answer, or a 503 where it fails.
    #[wasm_bindgen(js_name = orUnavailable)]
    pub(super) fn or_unavailable(answer: &JsValue, headers: &str) -> JsValue;

    /// A promise of the text at a URL, of at most `max` bytes, after at most so many redirects on the same host.
    #[wasm_bindgen(js_name = fetchText)]
    pub(super) fn fetch_text(url: &str, max: usize, redirects: u32) -> Promise;

    /// An answer; plain text where `headers` do not say otherwise, no body where `body` is empty.
    #[wasm_bindgen(catch)]
    pub(super) fn respond(status: u16, body: &str, headers: &str) -> Result<JsValue, JsValue>;

    /// The same answer with these headers as well.
    #[wasm_bindgen(catch, js_name = withHeaders)]
    pub(super) fn with_headers(answer: &JsValue, headers: &str) -> Result<JsValue, JsValue>;

    /// An error that asks who called to call again.
    pub(super) fn retryable(message: &str) -> JsValue;

    /// An answer of this type.
    #[wasm_bindgen(catch, js_name = respondAs)]
    pub(super) fn respond_as(status: u16, kind: &str, body: &str) -> Result<JsValue, JsValue>;

    /// An answer of lines, made as other streams are.
    #[wasm_bindgen(catch, js_name = streamLines)]
    pub(super) fn stream_lines(step: &JsValue) -> Result<JsValue, JsValue>;

    /// Writes a line to the log at a level, which is one of the console's methods.
    pub(super) fn log(level: &str, line: &str);

    /// A binding that takes data points.
    pub(super) fn dataset(env: &Env, name: &str) -> Option<JsValue>;

    /// Writes a data point.
    #[wasm_bindgen(js_name = writePoint)]
    pub(super) fn write_point(
        dataset: &JsValue,
        index: &str,
        event: &str,
        generation: &str,
        transport: &str,
        reason: &str,
        events: f64,
    );

    /// An object's id as text.
    #[wasm_bindgen(js_name = idOf)]
    pub(super) fn id_of(state: &JsValue) -> String;

    /// An id as text.
    #[wasm_bindgen(js_name = textOf)]
    pub(super) fn text_of(id: &JsValue) -> String;

    /// A binding that holds Durable Objects.
    #[wasm_bindgen(js_name = objectBinding)]
    pub(super) fn object_binding(env: &Env, name: &str) -> Option<JsValue>;

    /// A variable or secret.
    pub(super) fn variable(env: &Env, name: &str) -> Option<String>;

    /// The name that the object was addressed by.
    #[wasm_bindgen(catch, js_name = nameOf)]
    pub(super) fn name_of(state: &JsValue) -> Result<Option<String>, JsValue>;

    /// What a thrown value says.
    #[wasm_bindgen(js_name = messageOf)]
    pub(super) fn message_of(error: &JsValue) -> String;

    /// The bytes of a buffer, or of a view of one.
    #[wasm_bindgen(js_name = bytesOf)]
    pub(super) fn bytes_of(value: &JsValue) -> Option<Vec<u8>>;

    /// Fills bytes with randomness.
    pub(super) fn randomize(bytes: &mut [u8]);
}

/// Sets the object's alarm.
#[allow(clippy::cast_precision_loss)] // Times are far below 2^53.
pub(super) fn wake_at(storage: &JsValue, at_ms: u64) -> Result<(), JsValue> {
    wake_at_js(storage, at_ms as f64)
}

/// When the runtime last answered a ping of this socket, in milliseconds since the epoch.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A time of the platform, in whole milliseconds.
pub(super) fn pinged_at_ms(state: &JsValue, socket: &JsValue) -> Option<u64> {
    let at_ms = pinged_at(state, socket);
    (at_ms >= 0.0).then_some(at_ms as u64)
}

/// Milliseconds since the epoch.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A time of the platform, in whole milliseconds.
pub(super) fn now_ms() -> u64 {
    js_sys::Date::now() as u64
}

/// A backend id that nobody has had.
pub(super) fn fresh_backend_id() -> BackendId {
    let mut random = [0; 21];
    randomize(&mut random);
    BackendId::from_random(random)
}
