//! Log lines: one JSON object each, never with event args or tokens.

use crate::backend::Report;
use crate::config::LogLevel;
use crate::json::{push_quoted, quote};

/// Writes log lines about one store.
#[derive(Debug)]
pub(super) struct Log {
    level: LogLevel,
    store_id: String,
}

impl Log {
    pub(super) fn new(level: LogLevel, store_id: &str) -> Self {
        Self {
            level,
            store_id: store_id.to_owned(),
        }
    }

    /// Writes a line if the deployment wants to see its level. `event` is a fixed word to search for.
    pub(super) fn write(&self, level: LogLevel, event: &'static str, message: &str) {
        if level > self.level {
            return;
        }
        let mut line = format!(
            r#"{{"level":"{}","event":"{event}","storeId":{}"#,
            level.name(),
            quote(&self.store_id)
        );
        if !message.is_empty() {
            line.push_str(r#","message":"#);
            push_quoted(message, &mut line);
        }
        line.push('}');
        match level {
            LogLevel::Error => worker::console_error!("{line}"),
            LogLevel::Warn => worker::console_warn!("{line}"),
            LogLevel::Info => worker::console_log!("{line}"),
            LogLevel::Debug => worker::console_debug!("{line}"),
        }
    }

    pub(super) fn report(&self, report: &Report) {
        let (level, event) = match report {
            Report::Refused { .. } => (LogLevel::Info, "refused"),
            Report::LostRace { .. } => (LogLevel::Debug, "lost-race"),
            Report::StoreFailed { .. } => (LogLevel::Error, "storage-failed"),
            Report::UnknownPull => (LogLevel::Info, "unknown-pull"),
            Report::Expired => (LogLevel::Info, "expired"),
            Report::CallerDropped { .. } => (LogLevel::Warn, "client-object-dropped"),
            Report::Overdue => (LogLevel::Info, "no-pull"),
        };
        self.write(level, event, &report.to_string());
    }
}
