//! Events as an export has them: lines from which a log can be made again, to the byte.

use super::schema::log_table;
use super::sql::{Param, Sql, StoreError, Text as _, Value};
use super::{EventStore, Page};
use crate::event::{SeqNum, StoreId};
use crate::json::push_quoted;

/// Whether args can stand in a line as they are: they are JSON, without line breaks, and begin and end as a value does.
const IS_VALUE: &str = "json_valid(args) AND instr(args, char(10)) = 0 AND instr(args, char(13)) = 0 \
                        AND trim(args, ' ' || char(9)) = args";

impl<S: Sql> EventStore<S> {
    /// Up to `count` events after `after` and up to `last`, each a line of an export: a JSON object whose `args` is what the
    /// log has, byte for byte. Where that cannot stand in a line it is the string `argsText`; where there is NULL, neither.
    ///
    /// # Errors
    /// When SQLite fails, or somebody else has changed the rows.
    pub fn export_lines(
        &self,
        after: SeqNum,
        last: SeqNum,
        count: u32,
    ) -> Result<Page<S::Text>, StoreError> {
        self.verify()?;
        let statement = self.sql.prepare(&lines(&self.store_id));
        let mut count = i64::from(count);
        loop {
            match self.read_lines(&statement, after, last, count) {
                // Too large for a string of the platform.
                Err(_) if count > 1 => count = count / 8 + 1,
                Err(error) => return self.export_line(after, last).map_err(|_| error),
                page => return page,
            }
        }
    }

    fn read_lines(
        &self,
        statement: &S::Statement,
        after: SeqNum,
        last: SeqNum,
        count: i64,
    ) -> Result<Page<S::Text>, StoreError> {
        let params = [
            Param::Int(after.to_i64()),
            Param::Int(count),
            Param::Int(last.to_i64()),
        ];
        let mut page = nothing(after);
        self.sql.query(statement, &params, &mut |row| {
            if let [Value::Text(lines), Value::Int(last), Value::Int(bytes)] = row {
                page.items = Some(lines.clone());
                page.last = SeqNum::clamped(*last);
                page.bytes = usize::try_from(*bytes).unwrap_or(usize::MAX);
            }
        })?;
        Ok(page)
    }

    /// The next line, made here: quoted, its args are too large for a string of SQLite.
    fn export_line(&self, after: SeqNum, last: SeqNum) -> Result<Page<S::Text>, StoreError> {
        let table = log_table(&self.store_id);
        let row = self.sql.prepare(&format!(
            "SELECT seqNum, parentSeqNum, name, args, clientId, sessionId, createdAt, {IS_VALUE} FROM \"{table}\" \
             WHERE seqNum > ?1 AND seqNum <= ?2 ORDER BY seqNum LIMIT 1"
        ));
        let mut page = nothing(after);
        let range = [Param::Int(after.to_i64()), Param::Int(last.to_i64())];
        self.sql.query(&row, &range, &mut |row| {
            let [
                Value::Int(seq_num),
                Value::Int(parent),
                Value::Text(name),
                args,
                Value::Text(client_id),
                Value::Text(session_id),
                Value::Text(created_at),
                is_value,
            ] = row
            else {
                return;
            };
            let mut line = format!("{{\"seqNum\":{seq_num},\"parentSeqNum\":{parent},\"name\":");
            push_quoted(&name.read(), &mut line);
            match (args, is_value) {
                (Value::Text(args), Value::Int(1)) => {
                    line.push_str(",\"args\":");
                    line.push_str(&args.read());
                }
                (Value::Text(args), _) => {
                    line.push_str(",\"argsText\":");
                    push_quoted(&args.read(), &mut line);
                }
                _ => {}
            }
            for (key, text) in [
                (",\"clientId\":", client_id),
                (",\"sessionId\":", session_id),
                (",\"createdAt\":", created_at),
            ] {
                line.push_str(key);
                push_quoted(&text.read(), &mut line);
            }
            line.push_str("}\n");
            page.last = SeqNum::clamped(*seq_num);
            page.bytes = line.len();
            page.items = Some(S::Text::new(&line));
        })?;
        Ok(page)
    }
}

/// A page without lines.
fn nothing<T>(after: SeqNum) -> Page<T> {
    Page {
        items: None,
        bytes: 0,
        last: after,
    }
}

/// Selects the `?2` lines after `?1` and up to `?3` as UTF-8, with their last number and their bytes.
fn lines(store_id: &StoreId) -> String {
    let table = log_table(store_id);
    format!(
        "SELECT CAST(group_concat(line, '') AS BLOB), max(seqNum), sum(octet_length(line)) FROM (SELECT seqNum, \
         concat('{{\"seqNum\":', seqNum, ',\"parentSeqNum\":', parentSeqNum, ',\"name\":', json_quote(name), \
         CASE WHEN args IS NULL THEN '' WHEN {IS_VALUE} THEN ',\"args\":' || args \
         ELSE ',\"argsText\":' || json_quote(args) END, \
         ',\"clientId\":', json_quote(clientId), ',\"sessionId\":', json_quote(sessionId), ',\"createdAt\":', \
         json_quote(createdAt), '}}', char(10)) AS line \
         FROM \"{table}\" WHERE seqNum > ?1 AND seqNum <= ?3 ORDER BY seqNum LIMIT ?2 + 0)"
    )
}
