//! `Sql` over the SQLite of a Durable Object: one checked conversion each way. Texts stay with JavaScript: a page never
//! enters the memory of the wasm instance.

use js_sys::{Array, ArrayBuffer, JsString, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};

use super::js;
use crate::store::sql::{Append, Contents, OnRow, Param, Sql, Step, StoreError, Text, Value};

/// The object's SQLite.
#[derive(Clone, Debug)]
pub(super) struct ObjectSql {
    state: JsValue,
    storage: JsValue,
    sql: JsValue,
}

impl ObjectSql {
    pub(super) fn new(state: JsValue, storage: JsValue, sql: JsValue) -> Self {
        Self {
            state,
            storage,
            sql,
        }
    }
}

/// A text of JavaScript: a string, UTF-8, or an array of several of either.
#[derive(Clone, Debug)]
pub(super) struct JsText(JsValue);

impl JsText {
    /// A string that JavaScript has already.
    pub(super) fn of(text: JsValue) -> Self {
        Self(text)
    }

    pub(super) fn as_js(&self) -> &JsValue {
        &self.0
    }
}

impl Text for JsText {
    fn new(text: &str) -> Self {
        Self(JsValue::from_str(text))
    }

    fn join(head: &Self, body: &Self, tail: &Self) -> Self {
        Self(js::join(&head.0, &body.0, &tail.0))
    }

    fn read(&self) -> String {
        if let Some(text) = self.0.as_string() {
            return text;
        }
        let utf8 = js::utf8_of(&self.0);
        let bytes = utf8.to_vec();
        js::release(&utf8);
        // A row that is not UTF-8 is none that was pushed.
        String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
    }
}

impl Sql for ObjectSql {
    type Text = JsText;
    type Statement = JsString;

    fn prepare(&self, sql: &str) -> JsString {
        // The runtime keeps prepared statements by their text.
        JsString::from(sql)
    }

    fn query(
        &self,
        statement: &JsString,
        params: &[Param<'_, JsText>],
        row: OnRow<'_, JsText>,
    ) -> Result<(), StoreError> {
        let rows =
            js::query(&self.sql, statement, &params.iter().map(bind).collect()).map_err(failed)?;
        for values in rows {
            let values: Vec<Value<JsText>> = Array::from(&values).iter().map(value).collect();
            row(&values);
        }
        Ok(())
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // A size, in whole bytes.
    fn size_bytes(&self) -> u64 {
        js::size_of(&self.sql) as u64
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates.
    fn key_value_head(&self) -> Result<Option<u64>, StoreError> {
        let head = js::key_value_head(&self.storage).map_err(failed)?;
        Ok(head.map(|head| head as u64))
    }

    fn forget_key_value_head(&self) -> Result<(), StoreError> {
        js::forget_key_value_head(&self.storage).map_err(failed)
    }

    fn erase(&self) -> Result<(), StoreError> {
        js::erase(&self.storage).map_err(failed)
    }

    fn transact(&self, steps: &[Step<'_, JsString, JsText>]) -> Result<(), StoreError> {
        let (statements, mut params) = (Array::new(), Params::default());
        for step in steps {
            statements.push(step.statement);
            params.add(step.params);
        }
        let Params {
            counts,
            numbers,
            others,
            bytes,
        } = &params;
        let bytes = bytes.unwrap_or_default();
        js::transact(&self.storage, &statements, counts, numbers, others, bytes).map_err(failed)
    }

    #[allow(clippy::cast_precision_loss)] // Numbers within 2^53, and lengths.
    fn append(&self, append: &Append<'_, JsString, JsText>) -> Result<(), StoreError> {
        let rows = &append.rows;
        let (name_bytes, args_bytes, offsets) = match rows.contents {
            Contents::One {
                name_bytes,
                args_bytes,
            } => (name_bytes, args_bytes, None),
            Contents::Many { offsets } => (0, 0, Some(offsets)),
        };
        let is_whole = js::append(
            &self.sql,
            append.insert,
            append.move_head,
            append.undo,
            append.store_id.as_js(),
            append.backend_id.as_js(),
            rows.bytes,
            offsets,
            rows.first as f64,
            rows.created_at_bytes,
            rows.client_id_bytes,
            rows.session_id_bytes,
            name_bytes,
            args_bytes,
            append.last as f64,
            append.head_before as f64,
            append.last_before as f64,
        );
        if !is_whole.map_err(failed)? {
            js::give_up(&self.state);
        }
        Ok(())
    }

    fn together(&self, work: &mut dyn FnMut() -> Result<(), StoreError>) -> Result<(), StoreError> {
        let mut outcome = Ok(());
        let done = js::together(&self.storage, &mut || {
            outcome = work();
            outcome.is_ok()
        });
        outcome.and(done.map_err(failed))
    }
}

/// Parameters of several statements on their way to JavaScript, which takes numbers as one array: see `glue.js`.
#[derive(Default)]
struct Params<'a> {
    /// Of each statement.
    counts: Vec<u32>,
    numbers: Vec<f64>,
    others: Array,
    bytes: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    #[allow(clippy::cast_precision_loss)] // `Param` promises integers within 2^53.
    fn add(&mut self, params: &'a [Param<'_, JsText>]) {
        self.counts
            .push(u32::try_from(params.len()).unwrap_or(u32::MAX));
        for param in params {
            if let Param::Int(integer) = param {
                self.numbers.push(*integer as f64);
                continue;
            }
            self.numbers.push(f64::NAN);
            self.others.push(&match param {
                // They are bound where they lie.
                Param::Bytes(first) if self.bytes.is_none() => {
                    self.bytes = Some(first);
                    JsValue::UNDEFINED
                }
                param => bind(param),
            });
        }
    }
}

#[allow(clippy::cast_precision_loss)] // `Param` promises integers within 2^53.
fn bind(param: &Param<'_, JsText>) -> JsValue {
    match param {
        Param::Null => JsValue::NULL,
        Param::Int(integer) => JsValue::from_f64(*integer as f64),
        Param::Text(text) => JsValue::from_str(text),
        Param::Kept(text) => text.as_js().clone(),
        Param::Bytes(bytes) => Uint8Array::from(*bytes).into(),
    }
}

#[allow(clippy::cast_possible_truncation)] // `as` saturates, and numbers of these tables are integers.
fn value(value: JsValue) -> Value<JsText> {
    if let Some(number) = value.as_f64() {
        Value::Int(number as i64)
    } else if value.is_string() {
        Value::Text(JsText(value))
    } else if value.is_instance_of::<ArrayBuffer>() {
        Value::Text(JsText(Uint8Array::new(&value).into()))
    } else {
        Value::Null
    }
}

#[allow(clippy::needless_pass_by_value)] // A thrown value is ours to drop.
fn failed(error: JsValue) -> StoreError {
    StoreError {
        message: js::message_of(&error),
    }
}
