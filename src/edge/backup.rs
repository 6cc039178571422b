//! Runs statements on D1, by `worker`'s own types of it.

use js_sys::Array;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use worker::Env;
use worker::worker_sys::types::{D1Database, D1Result};

use super::js;
use super::sql::JsText;
use crate::backend::{Candidate, Outcome};
use crate::config::BACKUP_BINDING;
use crate::event::{SeqNum, StoreId};
use crate::limits::{MIRROR_DEADLINE_MS, SURVEYS_MAX};
use crate::store::adoption::{self, Look};
use crate::store::mirror::{self, Bound, MirrorAnswer, MirrorBatch, MirrorStep, SEGMENTS_TABLE};
use crate::store::recall::{self, Cut, DAMAGED, Fetched, Holdings, Lifetime, Row, Survey, UpTo};
use crate::store::staging::Rows;

/// The database of backups, if one is bound.
pub(super) fn database(env: &Env) -> Option<D1Database> {
    database_as(env, BACKUP_BINDING)
}

/// The database of this binding, if there is one.
pub(super) fn database_as(env: &Env, binding: &str) -> Option<D1Database> {
    js::database(env, binding).map(JsCast::unchecked_into)
}

/// Runs `batch`, all of it or nothing, in the database of this binding; `None`: in that of backups.
pub(super) async fn mirror(
    env: &Env,
    binding: Option<&str>,
    batch: &MirrorBatch<JsText>,
) -> Outcome {
    let binding = binding.unwrap_or(BACKUP_BINDING);
    let Some(database) = database_as(env, binding) else {
        return Outcome::Gone(format!("no D1 database is bound as {binding}"));
    };
    match run(&database, &batch.steps, MIRROR_DEADLINE_MS).await {
        Ok(rows) => {
            let mut answer = MirrorAnswer::default();
            for row in rows {
                read(&row, &mut answer);
                if let Some(expected) = &batch.expected
                    && let packed = js::column(&row, "packed")
                    && packed.is_string()
                {
                    let text = unpack(&packed).await;
                    answer.same = Some(text.is_ok_and(|text| text == *expected.as_js()));
                }
            }
            Outcome::Mirrored(answer)
        }
        Err(error) => Outcome::Failed(js::message_of(&error)),
    }
}

/// The lines of [`mirror::list_stores`], and the id that follows, if there may be more.
pub(super) async fn list_stores(
    database: &D1Database,
    after: Option<&StoreId>,
    limit: u32,
) -> Result<(Vec<String>, Option<String>), JsValue> {
    let step = mirror::list_stores(after, limit);
    let rows = run(database, &[step], MIRROR_DEADLINE_MS).await?;
    let text = |row: &JsValue, column| js::column(row, column).as_string();
    let lines: Vec<String> = rows.iter().filter_map(|row| text(row, "line")).collect();
    let is_full = lines.len() >= limit as usize;
    let last = rows.last().and_then(|row| text(row, "store_id"));
    Ok((lines, last.filter(|_| is_full)))
}

/// Runs a query for events, and reads what it returns.
pub(super) async fn fetch(
    env: &Env,
    binding: Option<&str>,
    step: MirrorStep<JsText>,
) -> Result<Fetched<JsText>, String> {
    let binding = binding.unwrap_or(BACKUP_BINDING);
    let database =
        database_as(env, binding).ok_or_else(|| format!("no D1 database is bound as {binding}"))?;
    let rows = ask(&database, step).await?;
    let Some(row) = rows.into_iter().next() else {
        return Ok(Fetched::default());
    };
    let mut fetched = read_events(&row);
    let packed = js::column(&row, "packed");
    if packed.is_string() {
        fetched.rows = Some(Rows::Many(JsText::of(unpack(&packed).await?)));
    }
    let row = JsRow(row);
    Ok(Fetched {
        holdings: Holdings::of(&row),
        owner: row.text("owner"),
        ..fetched
    })
}

/// Makes the table in which stores say which logs of sync-cf they took.
pub(super) async fn create_claims(database: &D1Database) -> Result<(), String> {
    let step = mirror::without_params(adoption::CREATE_CLAIMS);
    let created = run(database, &[step], MIRROR_DEADLINE_MS).await;
    created.map(drop).map_err(|error| js::message_of(&error))
}

/// What D1 has of a log that sync-cf kept there for a store whose stored head is `head`; `look` says whether there is one.
pub(super) async fn candidate(
    database: &D1Database,
    store_id: &StoreId,
    head: SeqNum,
    look: Look,
) -> Result<Candidate, String> {
    if !look.has_log {
        return Ok(Candidate::default());
    }
    let mut steps = vec![adoption::survey(store_id, head)];
    if look.has_claims {
        steps.push(adoption::owner(store_id));
    }
    let rows = run(database, &steps, MIRROR_DEADLINE_MS).await;
    let rows = rows.map_err(|error| js::message_of(&error))?;
    let rows: Vec<JsRow> = rows.into_iter().map(JsRow).collect();
    Ok(Candidate {
        holdings: rows.iter().find_map(Holdings::of),
        owner: rows.iter().find_map(|row| row.text("owner")),
    })
}

/// Whether there is a log of sync-cf of a store.
pub(super) async fn look(
    database: &D1Database,
    store_id: &StoreId,
    deadline_ms: u64,
) -> Result<Look, String> {
    let rows = run(database, &[adoption::look(store_id)], deadline_ms).await;
    let rows = rows.map_err(|error| js::message_of(&error))?;
    Ok(read_look(&rows))
}

/// The lifetimes that the backup holds of a store, and whether there is a log of sync-cf beside it: one query, but for a
/// database of which the backup has made nothing yet.
pub(super) async fn lifetimes_and_look(
    database: &D1Database,
    store_id: &StoreId,
    deadline_ms: u64,
) -> Result<(Vec<Lifetime>, Look), String> {
    let steps = [adoption::look(store_id), recall::lifetimes(store_id)];
    match run(database, &steps, deadline_ms).await {
        Ok(rows) => {
            let look = read_look(&rows);
            let lifetimes = rows.into_iter().skip(1);
            let lifetimes = lifetimes.map(|row| Lifetime::of(&JsRow(row))).collect();
            Ok((lifetimes, look))
        }
        Err(error) if is_no_table(&error) => {
            let look = look(database, store_id, deadline_ms).await?;
            Ok((Vec::new(), look))
        }
        Err(error) => Err(js::message_of(&error)),
    }
}

fn read_look(rows: &[JsValue]) -> Look {
    let first = rows.first().cloned().map(JsRow);
    first.as_ref().map(Look::of).unwrap_or_default()
}

/// Whether nothing has been copied yet.
fn is_no_table(error: &JsValue) -> bool {
    js::message_of(error).contains("no such table")
}

/// Runs a query for events. Where the tables are of an earlier release, which folded nothing, they are brought to this one
/// first.
async fn ask(database: &D1Database, step: MirrorStep<JsText>) -> Result<Vec<JsValue>, String> {
    let steps = [step];
    let rows = run(database, &steps, MIRROR_DEADLINE_MS).await;
    let message = match rows {
        Ok(rows) => return Ok(rows),
        Err(error) => js::message_of(&error),
    };
    if !message.contains(&format!("no such table: {SEGMENTS_TABLE}")) {
        return Err(message);
    }
    let made = run(database, &mirror::make().steps, MIRROR_DEADLINE_MS).await;
    made.map_err(|error| js::message_of(&error))?;
    let rows = run(database, &steps, MIRROR_DEADLINE_MS).await;
    rows.map_err(|error| js::message_of(&error))
}

/// The text of a segment.
async fn unpack(packed: &JsValue) -> Result<JsValue, String> {
    let text = JsFuture::from(js::unpack(packed)).await;
    let text = text.map_err(|error| js::message_of(&error))?;
    if text.is_string() {
        return Ok(text);
    }
    Err(format!("{DAMAGED}: its data is not what was written"))
}

/// The lifetimes that the backup holds of a store, the latest first; none where there are no tables yet.
pub(super) async fn lifetimes(
    database: &D1Database,
    store_id: &StoreId,
    deadline_ms: u64,
) -> Result<Vec<Lifetime>, String> {
    match run(database, &[recall::lifetimes(store_id)], deadline_ms).await {
        Ok(rows) => Ok(rows
            .into_iter()
            .map(|row| Lifetime::of(&JsRow(row)))
            .collect()),
        Err(error) if is_no_table(&error) => Ok(Vec::new()),
        Err(error) => Err(js::message_of(&error)),
    }
}

/// What the backup holds of a lifetime.
pub(super) async fn survey(
    database: &D1Database,
    store_id: &StoreId,
    lifetime: &Lifetime,
    up_to: Option<&UpTo>,
) -> Result<Survey, String> {
    let mut cut = None;
    // Whatever is folded meanwhile.
    for _ in 0..SURVEYS_MAX {
        let step = recall::survey(store_id, lifetime, up_to, cut);
        let rows = ask(database, step).await?;
        let row = JsRow(rows.into_iter().next().ok_or("D1 said nothing")?);
        let Some(last) = row.integer("cut_last") else {
            return Ok(Survey::of(&row));
        };
        let text = JsText::of(unpack(&js::column(&row.0, "packed")).await?);
        cut = Some(Cut { last, text });
    }
    Err("the backup is being changed: try again".to_owned())
}

/// A row as D1 returns it: an object with a member for each column.
struct JsRow(JsValue);

impl Row for JsRow {
    fn text(&self, column: &str) -> Option<String> {
        js::column(&self.0, column).as_string()
    }

    #[allow(clippy::cast_possible_truncation)] // Integers of these tables are below 2^53.
    fn integer(&self, column: &str) -> Option<i64> {
        let number = js::column(&self.0, column).as_f64();
        number.map(|number| number as i64)
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Integers of these tables are below 2^53.
fn read_events(row: &JsValue) -> Fetched<JsText> {
    let column = |name| js::column(row, name);
    let integer = |name| column(name).as_f64().map(|value| value as i64);
    if let Some(seq_num) = integer("seqNum") {
        let text = |name| match column(name) {
            value if value.is_string() => Bound::Kept(JsText::of(value)),
            _ => Bound::Null,
        };
        return Fetched {
            rows: Some(Rows::One([
                Bound::Int(seq_num),
                Bound::Int(integer("parentSeqNum").unwrap_or_default()),
                text("name"),
                text("args"),
                text("createdAt"),
                text("clientId"),
                text("sessionId"),
            ])),
            count: 1,
            last: SeqNum::clamped(seq_num),
            ..Fetched::default()
        };
    }
    let items = column("items");
    Fetched {
        rows: items
            .is_string()
            .then(|| Rows::Many(JsText::of(items.clone()))),
        count: integer("count").unwrap_or_default() as u32,
        last: SeqNum::clamped(integer("last").unwrap_or_default()),
        made_at: column("made_at").as_string(),
        next_segment: integer("segment_first").zip(integer("segment_last")),
        ..Fetched::default()
    }
}

/// All rows that statements return which are run as one.
async fn run(
    database: &D1Database,
    steps: &[MirrorStep<JsText>],
    deadline_ms: u64,
) -> Result<Vec<JsValue>, JsValue> {
    let statements = Array::new();
    for step in steps {
        let statement = database.prepare(&step.sql)?;
        if step.params.is_empty() {
            statements.push(&statement);
        } else {
            let params = Array::new();
            for param in &step.params {
                params.push(&match param {
                    Bound::Packed(text) => JsFuture::from(js::pack(text.as_js())).await?,
                    param => bind(param),
                });
            }
            statements.push(&statement.bind(params)?.into());
        }
    }
    let deadline_ms = u32::try_from(deadline_ms).unwrap_or(u32::MAX);
    let results = js::within(&database.batch(statements)?, deadline_ms);
    let results = JsFuture::from(results).await?;
    if results.is_null() {
        let message = format!("D1 has not answered within {deadline_ms} ms");
        return Err(js_sys::Error::new(&message).into());
    }
    let mut rows = Vec::new();
    for result in results.unchecked_into::<Array>() {
        let result: D1Result = result.unchecked_into();
        rows.extend(result.results()?.into_iter().flatten());
    }
    Ok(rows)
}

#[allow(clippy::cast_possible_truncation)] // Integers of these tables are below 2^53.
fn read(row: &JsValue, answer: &mut MirrorAnswer) {
    let integer = |column| js::column(row, column).as_f64().map(|value| value as i64);
    answer.version = integer("version").or(answer.version);
    answer.head = integer("head").or(answer.head);
    answer.moved = integer("moved").or(answer.moved);
    let segment = integer("segment_first").zip(integer("segment_last"));
    answer.segment = segment.or(answer.segment);
    answer.plain = integer("plain").or(answer.plain);
    answer.stored = integer("stored").or(answer.stored);
    if let Some(last_at) = js::column(row, "last_at").as_string() {
        answer.last_at = Some(last_at);
    }
    let text = |column| js::column(row, column).as_string();
    answer.lifetime = text("lifetime").or(answer.lifetime.take());
    answer.found = text("found").or(answer.found.take());
}

#[allow(clippy::cast_precision_loss)] // `Bound` promises integers within 2^53.
fn bind(value: &Bound<JsText>) -> JsValue {
    match value {
        Bound::Null => JsValue::NULL,
        Bound::Int(integer) => JsValue::from_f64(*integer as f64),
        Bound::Text(text) => JsValue::from_str(text),
        Bound::Kept(text) | Bound::Packed(text) => text.as_js().into(),
    }
}
