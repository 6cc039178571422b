//! Log lines: one JSON object each, never with event args or tokens.

use serde::Serialize;

use crate::backend::Report;
use crate::config::LogLevel;

/// Writes log lines about one store.
#[derive(Debug)]
pub(super) struct Log {
    level: LogLevel,
    store_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    level: &'static str,
    event: &'static str,
    store_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
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
        let line = Line {
            level: level.name(),
            event,
            store_id: &self.store_id,
            message,
        };
        let line = serde_json::to_string(&line).unwrap_or_default();
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
            Report::Overdue => (LogLevel::Info, "no-pull"),
        };
        self.write(level, event, &report.to_string());
    }
}
