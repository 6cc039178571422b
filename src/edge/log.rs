//! Log lines and data points: one JSON object each, never with event args or tokens.

use std::cell::RefCell;

use serde::Serialize;
use wasm_bindgen::JsValue;
use worker::Env;

use super::js;
use crate::backend::{Reason, Report};
use crate::config::{Config, LogLevel};
use crate::limits::WARNINGS_TOLD_MAX;
use crate::wire::Transport;

/// The binding that data points go to.
pub(super) const METRICS: &str = "METRICS";

/// Writes log lines about one store, and data points to the Analytics Engine binding `METRICS` if there
/// is one.
#[derive(Debug)]
pub(super) struct Log {
    level: LogLevel,
    store_id: String,
    metrics: Option<JsValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    level: &'static str,
    event: &'static str,
    store_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transport: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
}

thread_local! {
    /// What an isolate has told of its variables.
    static WARNINGS_TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Writes a log line about each variable that is not taken as it is set, once in the life of an isolate.
pub(super) fn tell_warnings(config: &Config) {
    #[derive(Serialize)]
    struct Line<'a> {
        level: &'static str,
        event: &'static str,
        variable: &'static str,
        message: &'a str,
    }
    let (level, event) = (LogLevel::Warn, "variable-ignored");
    if level > config.log_level {
        return;
    }
    for warning in &config.warnings {
        let is_new = WARNINGS_TOLD.with_borrow_mut(|told| {
            let is_new = told.len() < WARNINGS_TOLD_MAX && !told.contains(&warning.message);
            if is_new {
                told.push(warning.message.clone());
            }
            is_new
        });
        if !is_new {
            continue;
        }
        let line = Line {
            level: level.name(),
            event,
            variable: warning.name,
            message: &warning.message,
        };
        if let Ok(line) = serde_json::to_string(&line) {
            js::log(level.name(), &line);
        }
    }
}

impl Log {
    pub(super) fn new(level: LogLevel, store_id: &str, env: &Env) -> Self {
        Self {
            level,
            store_id: store_id.to_owned(),
            metrics: js::dataset(env, METRICS),
        }
    }

    /// Writes a line if the deployment wants to see its level. `event` is a fixed word to search for.
    pub(super) fn write(&self, level: LogLevel, event: &'static str, message: &str) {
        if level <= self.level {
            write_line(level, &self.line(level, event, message));
        }
    }

    pub(super) fn report(&self, report: &Report) {
        let (level, event) = level_and_event(report);
        let about = report.about();
        // One that is not about a request is about a connection, which is a socket where it says why.
        let transport = about.map_or(Transport::WebSocket, |about| about.transport);
        let generation = about.map(|about| about.generation.name());
        let trouble = match report {
            Report::BackupFailed { trouble, .. } => Some(trouble.name()),
            _ => None,
        };
        let reason = report.reason().map(Reason::name).or(trouble);
        let is_of_client = about.is_some() || report.reason().is_some();
        let transport = is_of_client.then(|| transport.name());
        if let Some(dataset) = &self.metrics {
            let events = match report {
                Report::Stored { events, .. } => u32::try_from(*events).unwrap_or(u32::MAX),
                _ => 0,
            };
            // One data point: the store as index; event, generation, transport and reason as blobs; the events of
            // a push as a double.
            js::write_point(
                dataset,
                &self.store_id,
                event,
                generation.unwrap_or_default(),
                transport.unwrap_or_default(),
                reason.unwrap_or_default(),
                events.into(),
            );
        }
        if level > self.level {
            return;
        }
        let message = report.to_string();
        let line = Line {
            generation,
            transport,
            trace_id: about.and_then(|about| about.trace_id.as_deref()),
            reason,
            ..self.line(level, event, &message)
        };
        write_line(level, &line);
    }

    fn line<'a>(&'a self, level: LogLevel, event: &'static str, message: &'a str) -> Line<'a> {
        Line {
            level: level.name(),
            event,
            store_id: &self.store_id,
            generation: None,
            transport: None,
            trace_id: None,
            reason: None,
            message,
        }
    }
}

fn write_line(level: LogLevel, line: &Line<'_>) {
    let text = serde_json::to_string(line).unwrap_or_default();
    js::log(level.name(), &text);
}

/// How much a report matters, and the word to search for.
fn level_and_event(report: &Report) -> (LogLevel, &'static str) {
    match report {
        Report::Stored { .. } => (LogLevel::Debug, "stored"),
        Report::Pulled { .. } => (LogLevel::Debug, "pulled"),
        Report::Refused { .. } if report.reason() == Some(Reason::ServerAhead) => {
            (LogLevel::Debug, "lost-race")
        }
        Report::Refused { .. } => (LogLevel::Info, "refused"),
        Report::StuckClient { .. } | Report::StuckPull { .. } => (LogLevel::Warn, "stuck"),
        Report::StoreFailed { .. } => (LogLevel::Error, "storage-failed"),
        Report::BackupFailed { .. } => (LogLevel::Warn, "backup-failed"),
        Report::CompactionFailed { .. } => (LogLevel::Warn, "compaction-failed"),
        Report::Compacted(_) => (LogLevel::Info, "compacted"),
        Report::HookFailed { .. } => (LogLevel::Warn, "hook-error"),
        Report::UnknownPull => (LogLevel::Info, "unknown-pull"),
        Report::Expired => (LogLevel::Info, "expired"),
        Report::TakesNothing { .. } => (LogLevel::Warn, "takes-nothing"),
        Report::ClientObjectDropped { .. } => (LogLevel::Warn, "client-object-dropped"),
        Report::Reset { .. } => (LogLevel::Warn, "reset"),
        Report::RestoreBegun { .. } => (LogLevel::Warn, "restore-begun"),
        Report::AdoptionBegun { .. } => (LogLevel::Warn, "adoption-begun"),
        Report::Adopted { .. } => (LogLevel::Warn, "adopted"),
        Report::RestoreDelayed { .. } => (LogLevel::Warn, "restore-delayed"),
        Report::RestoreFailed { .. } => (LogLevel::Error, "restore-failed"),
        Report::Restored { .. } => (LogLevel::Warn, "restored"),
        Report::DeletionBegun { .. } => (LogLevel::Warn, "delete-begun"),
        Report::StoreExpired { .. } => (LogLevel::Warn, "store-expired"),
        Report::DeletionFailed { .. } => (LogLevel::Warn, "delete-failed"),
        Report::Deleted(_) => (LogLevel::Warn, "store-deleted"),
        Report::RowsChanged { .. } => (LogLevel::Error, "rows-changed"),
    }
}
