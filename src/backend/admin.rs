//! What an operator sees of a store: its state as JSON, its metrics as Prometheus reads them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::connection::Connection;
use super::deletion::{Deletion, DeletionState};
use super::import::{Import, ImportState};
use super::refusal::Reason;
use super::report::BackupTrouble;
use super::retention::RetentionState;
use super::stats::{BUCKETS_MS, Duration};
use super::subscription::Subscription;
use super::{SyncBackend, iso_8601};
use crate::limits::SOCKETS_LISTED;
use crate::store::schema::FORMAT_VERSION;
use crate::store::sql::{Sql, StoreError};
use crate::transfer::Export;
use crate::wire::{Generation, Transport};

/// The state of a store.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct State<'a> {
    store_id: &'a str,
    backend_id: &'a str,
    head: u64,
    events: u64,
    bytes: u64,
    format: u32,
    /// Whether the store is served.
    status: &'static str,
    time: String,
    last_push: Option<LastPush>,
    connections: Counts,
    in_flight_bytes: usize,
    sockets: Vec<Socket<'a>>,
    client_objects: Vec<Object<'a>>,
    stuck_clients: Vec<Stuck<'a>>,
    last_errors: Vec<ClientError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backup: Option<Backup<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restore: Option<ImportState<'a>>,
    /// How the last of them ended, if the store has gone on with the log that it had: as it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_restore: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion: Option<DeletionState<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retention: Option<RetentionState>,
}

/// How the backup stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Backup<'a> {
    head: u64,
    lag_events: u64,
    lag_seconds: u64,
    failures: u32,
    last_error: Option<PastError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compaction: Option<CompactionState<'a>>,
}

/// How its compaction stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CompactionState<'a> {
    folded_to: u64,
    is_under_way: bool,
    last_error: Option<FoldError<'a>>,
}

#[derive(Serialize)]
struct FoldError<'a> {
    at: String,
    message: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LastPush {
    seq_num: u64,
    at: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Counts {
    by_transport: BTreeMap<&'static str, usize>,
    by_generation: BTreeMap<&'static str, usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Socket<'a> {
    transport: &'static str,
    generation: &'static str,
    pulls: usize,
    lag: u64,
    unacknowledged: usize,
    stuck: bool,
    subject: Option<String>,
    client_id: Option<&'a str>,
    inspector: bool,
}

#[derive(Serialize)]
struct Object<'a> {
    binding: &'a str,
    id: &'a str,
    generation: &'static str,
    lag: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stuck<'a> {
    client_id: &'a str,
    refusals: u32,
    reason: &'static str,
    message: String,
    head: u64,
}

/// An error that a client was told.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientError<'a> {
    at: String,
    reason: &'static str,
    message: &'a str,
    client_id: Option<&'a str>,
    subject: Option<&'a str>,
}

#[derive(Serialize)]
struct PastError<'a> {
    at: String,
    reason: &'static str,
    message: &'a str,
}

impl<S: Sql> SyncBackend<S> {
    /// The store's state as a JSON object.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn state(&self, now_ms: u64) -> Result<String, StoreError> {
        let (store, stats) = (&self.store, &self.stats);
        let last_stored = store.last_stored();
        let last_push = store.last_push()?.map(|(seq_num, at)| LastPush {
            seq_num: seq_num.get(),
            at,
        });
        let objects = self.client_objects().map(|(object, after)| Object {
            binding: &object.binding,
            id: &object.object_id,
            generation: object.generation().name(),
            lag: last_stored.since(after),
        });
        let stuck = stats.stuck_clients().map(|stuck| Stuck {
            client_id: &stuck.client_id,
            refusals: stuck.refusals,
            reason: stuck.last().reason().name(),
            message: stuck.last().to_string(),
            head: stuck.provided.get(),
        });
        let errors = stats.errors().map(|error| ClientError {
            at: iso_8601(error.at_ms),
            reason: error.reason.name(),
            message: &error.message,
            client_id: error.who.client_id.as_deref(),
            subject: error.who.subject.as_deref(),
        });
        let given_up = match &self.import {
            None => store.given_up_import()?,
            // That one is the last.
            Some(_) => None,
        };
        let described = State {
            store_id: store.store_id().as_str(),
            backend_id: store.backend_id().as_str(),
            head: store.head().get(),
            events: store.count()?,
            bytes: store.size_bytes(),
            format: FORMAT_VERSION,
            status: match (&self.deletion, &self.import) {
                (Some(deletion), _) if deletion.has_failed() => "delete-failed",
                (Some(_), _) => "deleting",
                (None, None) => "open",
                (None, Some(import)) if import.has_failed() => "restore-failed",
                (None, Some(_)) => "restoring",
            },
            time: iso_8601(now_ms),
            last_push,
            connections: self.connection_counts(),
            in_flight_bytes: self.in_flight.bytes(),
            sockets: self.socket_list(),
            client_objects: objects.collect(),
            stuck_clients: stuck.collect(),
            last_errors: errors.collect(),
            backup: self.backup_state(now_ms)?.map(|backup| Backup {
                head: backup.head.get(),
                lag_events: backup.lag_events,
                lag_seconds: backup.lag_seconds,
                failures: backup.failures,
                last_error: backup.last_error.map(|error| PastError {
                    at: iso_8601(error.at_ms),
                    reason: error.trouble.name(),
                    message: &error.message,
                }),
                compaction: backup.compaction.is_on().then(|| CompactionState {
                    folded_to: backup.compaction.folded_to(),
                    is_under_way: backup.compaction.is_under_way(),
                    last_error: backup
                        .compaction
                        .last_error()
                        .map(|(at_ms, message)| FoldError {
                            at: iso_8601(*at_ms),
                            message,
                        }),
                }),
            }),
            restore: self.import.as_ref().map(Import::state),
            last_restore: given_up
                .as_deref()
                .and_then(|kept| serde_json::from_str(kept).ok()),
            deletion: self.deletion.as_ref().map(Deletion::state),
            retention: self.retention.state(),
        };
        Ok(serde_json::to_string(&described).unwrap_or_default())
    }

    /// An export of the log as it is now.
    #[must_use]
    pub fn export(&self, now_ms: u64) -> Export {
        Export::new(&self.store, iso_8601(now_ms))
    }

    /// Counters and histograms since the object woke, and gauges, in the text format of Prometheus.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn metrics(&self, woken_at_ms: u64, now_ms: u64) -> Result<String, StoreError> {
        let (store, stats) = (&self.store, &self.stats);
        let mut text = Metrics {
            text: String::new(),
            label: format!("store={}", label_value(store.store_id().as_str())),
        };
        let sockets = self.socket_count() as u64;
        let client_objects = self.client_objects().count() as u64;
        let lag = self.lags().max().unwrap_or(0);
        for (name, help, value) in [
            ("head", "Number of the last event.", store.head().get()),
            ("store_bytes", "Bytes of the database.", store.size_bytes()),
            ("sockets", "Open WebSockets.", sockets),
            (
                "client_objects",
                "Durable Objects that pull live.",
                client_objects,
            ),
            (
                "pull_lag_events",
                "Events that the slowest live pull lacks.",
                lag,
            ),
            (
                "in_flight_bytes",
                "Bytes that were sent and not seen to be taken.",
                self.in_flight.bytes() as u64,
            ),
            (
                "woken_timestamp_seconds",
                "When the object woke, since which the counters count.",
                woken_at_ms / 1_000,
            ),
        ] {
            text.metric(name, "gauge", help);
            text.sample(name, "", value);
        }
        for (name, help, value) in [
            ("pushes_total", "Pushes that were stored.", stats.pushes),
            (
                "pushes_repeated_total",
                "Pushes that repeated what was stored.",
                stats.pushes_repeated,
            ),
            ("events_total", "Events that were stored.", stats.events),
            ("pulls_total", "Pulls that were answered.", stats.pulls),
            (
                "pages_total",
                "Pages that were sent for pulls.",
                stats.pages,
            ),
            (
                "deliveries_total",
                "Frames and calls in which pushes were published.",
                stats.deliveries,
            ),
            (
                "calls_failed_total",
                "Calls that client objects did not take.",
                stats.calls_failed,
            ),
            (
                "connections_total",
                "Sockets that were accepted.",
                stats.connections,
            ),
        ] {
            text.metric(name, "counter", help);
            text.sample(name, "", value);
        }
        text.metric("refusals_total", "counter", "Requests that were refused.");
        for reason in Reason::ALL {
            let label = format!("reason=\"{}\"", reason.name());
            text.sample("refusals_total", &label, stats.refusals(reason));
        }
        self.backup_metrics(&mut text, now_ms)?;
        text.durations(stats);
        Ok(text.text)
    }

    /// Those of the backup, where there is one.
    fn backup_metrics(&self, text: &mut Metrics, now_ms: u64) -> Result<(), StoreError> {
        let Some(backup) = self.backup_state(now_ms)? else {
            return Ok(());
        };
        for (name, kind, help, value) in [
            (
                "backup_head",
                "gauge",
                "Number of the last event that is copied to the backup.",
                backup.head.get(),
            ),
            (
                "backup_lag_events",
                "gauge",
                "Events that the backup lacks.",
                backup.lag_events,
            ),
            (
                "backup_lag_seconds",
                "gauge",
                "Seconds since the first event that the backup lacks was stored.",
                backup.lag_seconds,
            ),
            (
                "backup_events_total",
                "counter",
                "Events that were copied to the backup.",
                self.stats.copied,
            ),
        ] {
            text.metric(name, kind, help);
            text.sample(name, "", value);
        }
        let name = "backup_failures_total";
        text.metric(name, "counter", "Batches of the backup that failed.");
        for trouble in BackupTrouble::ALL {
            let label = format!("reason=\"{}\"", trouble.name());
            text.sample(name, &label, self.stats.backup_failures(trouble));
        }
        let folded = self.stats.folded;
        let is_on = backup.compaction.is_on();
        for (name, help, value) in [
            (
                "backup_folded_events_total",
                "Events of the backup that were folded.",
                folded.events,
            ),
            (
                "backup_folded_bytes_total",
                "Their bytes before.",
                folded.bytes,
            ),
            (
                "backup_segment_bytes_total",
                "Bytes of the segments that they were folded into.",
                folded.stored,
            ),
            (
                "backup_compaction_failures_total",
                "Times that folding failed.",
                self.stats.compactions_failed,
            ),
        ] {
            if is_on {
                text.metric(name, "counter", help);
                text.sample(name, "", value);
            }
        }
        Ok(())
    }

    fn open_sockets(&self) -> impl Iterator<Item = &Connection<S::Text>> {
        let open = self.connections.iter();
        open.filter(|connection| connection.is_socket())
    }

    /// How many events the live pull of each socket lacks, and each client object.
    fn lags(&self) -> impl Iterator<Item = u64> {
        let clients = self.open_sockets().filter(|one| !one.is_inspector());
        let sockets = clients.map(|connection| self.lag(connection));
        let objects = self.client_objects();
        sockets.chain(objects.map(|(_, after)| self.store.last_stored().since(after)))
    }

    fn lag(&self, connection: &Connection<S::Text>) -> u64 {
        let pulls = connection.subscriptions().iter();
        let lags = pulls.map(|pull| self.store.last_stored().since(pull.after()));
        lags.max().unwrap_or(0)
    }

    fn connection_counts(&self) -> Counts {
        let mut counts = Counts {
            by_transport: Transport::ALL.map(|one| (one.name(), 0)).into(),
            by_generation: [
                Some(Generation::V03),
                Some(Generation::V04),
                Some(Generation::V05),
                None,
            ]
            .map(|one| (name_of(one), 0))
            .into(),
        };
        for connection in self.connections.iter() {
            let transport = connection.transport().name();
            *counts.by_transport.entry(transport).or_default() += 1;
            let generation = name_of(connection.generation());
            *counts.by_generation.entry(generation).or_default() += 1;
        }
        counts
    }

    fn socket_list(&self) -> Vec<Socket<'_>> {
        let listed = self.open_sockets().take(SOCKETS_LISTED);
        let sockets = listed.map(|connection| {
            let pulls = connection.subscriptions();
            Socket {
                transport: Transport::WebSocket.name(),
                generation: name_of(connection.generation()),
                pulls: pulls.len(),
                lag: self.lag(connection),
                unacknowledged: pulls.iter().map(Subscription::unacknowledged).sum(),
                stuck: pulls.iter().any(Subscription::is_stuck),
                subject: connection.subject(),
                client_id: connection.client_id().map(AsRef::as_ref),
                inspector: connection.is_inspector(),
            }
        });
        sockets.collect()
    }
}

fn name_of(generation: Option<Generation>) -> &'static str {
    generation.map_or("unknown", Generation::name)
}

/// A text as the value of a label.
fn label_value(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{}\"", escaped.replace('\n', "\\n"))
}

struct Metrics {
    text: String,
    /// On every sample.
    label: String,
}

impl Metrics {
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP livestore_sync_{name} {help}");
        let _ = writeln!(self.text, "# TYPE livestore_sync_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let label = &self.label;
        let _ = writeln!(
            self.text,
            "livestore_sync_{name}{{{label}{comma}{labels}}} {value}"
        );
    }

    fn durations(&mut self, stats: &super::Stats) {
        let name = "duration_milliseconds";
        let help = "From a request to its answer, where something was waited for.";
        self.metric(name, "histogram", help);
        for what in Duration::ALL {
            let histogram = stats.duration(what);
            let what = format!("what=\"{}\"", what.name());
            for (bound, count) in BUCKETS_MS.iter().zip(histogram.buckets) {
                let label = format!("{what},le=\"{bound}\"");
                self.sample("duration_milliseconds_bucket", &label, count);
            }
            let label = format!("{what},le=\"+Inf\"");
            self.sample("duration_milliseconds_bucket", &label, histogram.count);
            self.sample("duration_milliseconds_sum", &what, histogram.sum_ms);
            self.sample("duration_milliseconds_count", &what, histogram.count);
        }
    }
}
