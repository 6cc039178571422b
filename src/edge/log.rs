//! Log lines and data points: one JSON object each, never with event args or tokens.

use wasm_bindgen::JsValue;
use worker::Env;

use super::js;
use crate::backend::{Reason, Report};
use crate::config::LogLevel;
use crate::json::{push_quoted, quote};
use crate::wire::Transport;

/// Writes log lines about one store, and data points to the Analytics Engine binding `METRICS` if there
/// is one.
#[derive(Debug)]
pub(super) struct Log {
    level: LogLevel,
    store_id: String,
    metrics: Option<JsValue>,
}

impl Log {
    pub(super) fn new(level: LogLevel, store_id: &str, env: &Env) -> Self {
        Self {
            level,
            store_id: store_id.to_owned(),
            metrics: js::dataset(env, "METRICS"),
        }
    }

    /// Writes a line if the deployment wants to see its level. `event` is a fixed word to search for.
    pub(super) fn write(&self, level: LogLevel, event: &'static str, message: &str) {
        self.write_fields(level, event, "", message);
    }

    /// Writes a line with more members: `fields` is JSON, each member after a comma.
    fn write_fields(&self, level: LogLevel, event: &'static str, fields: &str, message: &str) {
        if level > self.level {
            return;
        }
        let mut line = format!(
            r#"{{"level":"{}","event":"{event}","storeId":{}{fields}"#,
            level.name(),
            quote(&self.store_id)
        );
        if !message.is_empty() {
            line.push_str(r#","message":"#);
            push_quoted(message, &mut line);
        }
        line.push('}');
        js::log(level.name(), &line);
    }

    /// Writes that a socket was refused before it was one.
    pub(super) fn refused_socket(&self, reason: Reason, message: &str) {
        let (event, transport) = ("refused", Transport::WebSocket.name());
        if let Some(dataset) = &self.metrics {
            let store_id = &self.store_id;
            js::write_point(dataset, store_id, event, "", transport, reason.name(), 0.0);
        }
        let reason = reason.name();
        let fields = format!(r#","transport":"{transport}","reason":"{reason}""#);
        self.write_fields(LogLevel::Info, event, &fields, message);
    }

    pub(super) fn report(&self, report: &Report) {
        let (level, event) = match report {
            Report::Stored { .. } => (LogLevel::Debug, "stored"),
            Report::Pulled { .. } => (LogLevel::Debug, "pulled"),
            Report::Refused { .. } => (LogLevel::Info, "refused"),
            Report::LostRace { .. } => (LogLevel::Debug, "lost-race"),
            Report::StuckClient { .. } | Report::StuckPull { .. } => (LogLevel::Warn, "stuck"),
            Report::StoreFailed { .. } => (LogLevel::Error, "storage-failed"),
            Report::UnknownPull => (LogLevel::Info, "unknown-pull"),
            Report::Expired => (LogLevel::Info, "expired"),
            Report::CallerDropped { .. } => (LogLevel::Warn, "client-object-dropped"),
            Report::Overdue => (LogLevel::Info, "no-pull"),
            Report::Reset { .. } => (LogLevel::Warn, "reset"),
        };
        if let Some(dataset) = &self.metrics {
            self.write_point(dataset, event, report);
        }
        if level > self.level {
            return;
        }
        let mut fields = String::new();
        if let Some(about) = report.about() {
            fields = format!(
                r#","generation":"{}","transport":"{}""#,
                about.generation.name(),
                about.transport.name()
            );
            if let Some(trace_id) = &about.trace_id {
                fields.push_str(r#","traceId":"#);
                push_quoted(trace_id, &mut fields);
            }
        }
        if let Some(reason) = report.reason() {
            fields.push_str(r#","reason":""#);
            fields.push_str(reason.name());
            fields.push('"');
        }
        self.write_fields(level, event, &fields, &report.to_string());
    }

    /// One data point: the store as index; event, generation, transport and reason as blobs; the events
    /// of a push as a double.
    fn write_point(&self, dataset: &JsValue, event: &str, report: &Report) {
        let about = report.about();
        let events = match report {
            Report::Stored { events, .. } => u32::try_from(*events).unwrap_or(u32::MAX),
            _ => 0,
        };
        js::write_point(
            dataset,
            &self.store_id,
            event,
            about.map_or("", |about| about.generation.name()),
            about.map_or("", |about| about.transport.name()),
            report.reason().map_or("", |reason| reason.name()),
            events.into(),
        );
    }
}
