//! The encoding of calls between Durable Objects, with JavaScript's own numbers.

use js_sys::Uint8Array;
use wasm_bindgen::JsValue;

use super::js;
use crate::wire::msgpack::{self, Numbers};

const NUMBERS: Numbers = Numbers {
    print: js::print_number,
    parse: js::parse_number,
};

/// The JSON of a message; `None` if it is none.
pub(super) fn decode(message: &[u8]) -> Option<String> {
    msgpack::decode(message, NUMBERS).ok()
}

/// `text`, which is JSON, as a message.
pub(super) fn encode(text: &str) -> Result<Uint8Array, JsValue> {
    let mut bytes = Vec::with_capacity(text.len());
    match msgpack::encode(text, NUMBERS, &mut bytes) {
        Ok(()) => Ok(Uint8Array::from(bytes.as_slice())),
        Err(error) => Err(js_sys::Error::new(&error.to_string()).into()),
    }
}
