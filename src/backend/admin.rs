//! What an operator sees of a store, and may do to it: its state as JSON, its metrics as Prometheus reads
//! them, emptying it, disconnecting its clients.

use std::fmt::Write as _;

use super::connection::{Connection, Subscription};
use super::report::{Reason, Report};
use super::stats::{BUCKETS_MS, Duration};
use super::{ConnectionId, Output, SyncBackend, TRY_AGAIN, iso_8601};
use crate::event::BackendId;
use crate::json::{push_quoted, quote};
use crate::limits::SOCKETS_LISTED;
use crate::store::schema::FORMAT_VERSION;
use crate::store::sql::{Sql, StoreError};
use crate::wire::{self, Failure, Family, Generation, Transport};

impl<S: Sql> SyncBackend<S> {
    /// The store's state as a JSON object.
    ///
    /// # Errors
    /// When SQLite fails.
    #[cold]
    #[inline(never)]
    pub fn state(&self, now_ms: u64) -> Result<String, StoreError> {
        let (store, stats) = (&self.store, &self.stats);
        let mut json = String::from("{");
        let mut member = |name: &str, value: String| {
            if json.len() > 1 {
                json.push(',');
            }
            push_quoted(name, &mut json);
            json.push(':');
            json.push_str(&value);
        };
        member("storeId", quote(store.store_id().as_str()));
        member("backendId", quote(store.backend_id().as_str()));
        member("head", store.head().to_string());
        member("events", store.count()?.to_string());
        member("bytes", store.size_bytes().to_string());
        member("format", FORMAT_VERSION.to_string());
        member("time", quote(&iso_8601(now_ms)));
        let last_push = store.last_push()?;
        member(
            "lastPush",
            last_push.map_or("null".to_owned(), |(seq_num, at)| {
                format!(r#"{{"seqNum":{seq_num},"at":{}}}"#, quote(&at))
            }),
        );
        member("connections", self.connection_counts());
        member("sockets", self.socket_list());
        member("clientObjects", self.caller_list());
        let stuck = stats.stuck_clients().map(|stuck| {
            let client_id = quote(&stuck.client_id);
            format!(
                r#"{{"clientId":{client_id},"refusals":{}}}"#,
                stuck.refusals
            )
        });
        member("stuckClients", list(stuck));
        let errors = stats.errors().map(|error| {
            let (at, message) = (quote(&iso_8601(error.at_ms)), quote(&error.message));
            let reason = error.reason.name();
            format!(r#"{{"at":{at},"reason":"{reason}","message":{message}}}"#)
        });
        member("lastErrors", list(errors));
        json.push('}');
        Ok(json)
    }

    /// Counters and histograms since the object woke, and gauges, in the text format of Prometheus.
    ///
    /// # Errors
    /// When SQLite fails.
    #[cold]
    #[inline(never)]
    pub fn metrics(&self, woken_at_ms: u64) -> Result<String, StoreError> {
        let (store, stats) = (&self.store, &self.stats);
        let mut text = Metrics {
            text: String::new(),
            label: format!("store={}", label_value(store.store_id().as_str())),
        };
        let sockets = self.sockets().count() as u64;
        let callers = self.callers.iter().count() as u64;
        let lag = self.lags().max().unwrap_or(0);
        for (name, help, value) in [
            ("head", "Number of the last event.", store.head().get()),
            ("store_bytes", "Bytes of the database.", store.size_bytes()),
            ("sockets", "Open WebSockets.", sockets),
            ("client_objects", "Durable Objects that pull live.", callers),
            (
                "pull_lag_events",
                "Events that the slowest live pull lacks.",
                lag,
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
        let name = "duration_milliseconds";
        let help = "From a request to its answer, where something was waited for.";
        text.metric(name, "histogram", help);
        for what in Duration::ALL {
            let histogram = stats.duration(what);
            let what = format!("what=\"{}\"", what.name());
            for (bound, count) in BUCKETS_MS.iter().zip(histogram.buckets) {
                let label = format!("{what},le=\"{bound}\"");
                text.sample("duration_milliseconds_bucket", &label, count);
            }
            let label = format!("{what},le=\"+Inf\"");
            text.sample("duration_milliseconds_bucket", &label, histogram.count);
            text.sample("duration_milliseconds_sum", &what, histogram.sum_ms);
            text.sample("duration_milliseconds_count", &what, histogram.count);
        }
        Ok(text.text)
    }

    /// Empties the log and begins another lifetime of it; every client has to start over.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    #[cold]
    #[inline(never)]
    pub fn reset(
        &mut self,
        fresh: BackendId,
        out: &mut Vec<Output<S::Text>>,
    ) -> Result<(), StoreError> {
        let events = self.store.count()?;
        let ended = self.store.backend_id().clone();
        self.store.reset(fresh)?;
        self.callers.clear();
        self.bytes_at_most = u64::MAX;
        self.stats.forget_races();
        self.renew_page_tail();
        out.push(Output::Report(Report::Reset { events }));
        self.close_all("the store was reset: connect again", out);
        self.fail_pulls(&ended, out);
        Ok(())
    }

    /// Ends the pulls that are under way on no socket: their pages would go on in another lifetime of the
    /// log than they began in.
    #[cold]
    #[inline(never)]
    fn fail_pulls(&mut self, ended: &BackendId, out: &mut Vec<Output<S::Text>>) {
        let failure = Failure::BackendIdMismatch {
            expected: self.store.backend_id().clone(),
            received: ended.as_str().to_owned(),
        };
        for index in 0..self.connections.len() {
            let id = ConnectionId::new(index);
            let pulls = self.connection(id).map(Connection::subscriptions);
            let pulls = pulls.unwrap_or_default().iter();
            let pulls: Vec<_> = pulls.map(|pull| pull.requester().clone()).collect();
            for requester in pulls {
                self.send(id, &wire::failed(&requester, &failure), out);
                if let Some(connection) = self.connection_mut(id) {
                    connection.remove(&requester.id);
                }
            }
        }
    }

    /// Closes every socket; clients connect again and go on from where they are. How many there were.
    #[cold]
    #[inline(never)]
    pub fn close_all(&mut self, reason: &'static str, out: &mut Vec<Output<S::Text>>) -> usize {
        let mut closed = 0;
        for index in 0..self.connections.len() {
            let connection = ConnectionId::new(index);
            if self.connection(connection).is_some_and(is_socket) {
                self.close(connection, TRY_AGAIN, reason, out);
                closed += 1;
            }
        }
        closed
    }

    fn open_sockets(&self) -> impl Iterator<Item = &Connection<S::Text>> {
        let open = self.connections.iter().flatten();
        open.filter(|connection| is_socket(connection))
    }

    /// How many events the live pull of each socket lacks, and each client object.
    fn lags(&self) -> impl Iterator<Item = u64> {
        let sockets = self.open_sockets().map(|connection| self.lag(connection));
        sockets.chain(
            self.callers
                .iter()
                .map(|(_, after)| self.store.last_stored().since(after)),
        )
    }

    fn lag(&self, connection: &Connection<S::Text>) -> u64 {
        let pulls = connection.subscriptions().iter();
        let lags = pulls.map(|pull| self.store.last_stored().since(pull.after()));
        lags.max().unwrap_or(0)
    }

    #[cold]
    #[inline(never)]
    fn connection_counts(&self) -> String {
        let count = |is_it: &dyn Fn(&Connection<S::Text>) -> bool| {
            self.connections
                .iter()
                .flatten()
                .filter(|one| is_it(one))
                .count()
        };
        let transports = Transport::ALL.map(|transport| {
            let count = count(&|one| one.transport() == transport);
            format!(r#""{}":{count}"#, transport.name())
        });
        let generations = [
            Some(Generation::V03),
            Some(Generation::V04),
            Some(Generation::V05),
            None,
        ]
        .map(|generation| {
            let count = count(&|one| generation_of(one) == generation);
            format!(r#""{}":{count}"#, name_of(generation))
        });
        format!(
            r#"{{"byTransport":{{{}}},"byGeneration":{{{}}}}}"#,
            transports.join(","),
            generations.join(",")
        )
    }

    #[cold]
    #[inline(never)]
    fn socket_list(&self) -> String {
        list(self.open_sockets().take(SOCKETS_LISTED).map(|connection| {
            let generation = name_of(generation_of(connection));
            let pulls = connection.subscriptions().len();
            let lag = self.lag(connection);
            let unacknowledged: u32 = connection
                .subscriptions()
                .iter()
                .map(Subscription::unacknowledged)
                .sum();
            let is_stuck = connection.subscriptions().iter().any(Subscription::is_stuck);
            format!(
                r#"{{"transport":"ws","generation":"{generation}","pulls":{pulls},"lag":{lag},"unacknowledged":{unacknowledged},"stuck":{is_stuck}}}"#
            )
        }))
    }

    #[cold]
    #[inline(never)]
    fn caller_list(&self) -> String {
        list(self.callers.iter().map(|(caller, after)| {
            let (binding, id) = (quote(&caller.binding), quote(&caller.object_id));
            let lag = self.store.last_stored().since(after);
            let generation = name_of(Some(caller.generation()));
            format!(r#"{{"binding":{binding},"id":{id},"generation":"{generation}","lag":{lag}}}"#)
        }))
    }
}

fn is_socket<T>(connection: &Connection<T>) -> bool {
    connection.transport() == Transport::WebSocket
}

/// The dialect of a connection; an RPC client's shows with its first request.
fn generation_of<T>(connection: &Connection<T>) -> Option<Generation> {
    match connection.family() {
        Family::Plain => Some(Generation::V03),
        Family::Rpc => connection.generation(),
    }
}

fn name_of(generation: Option<Generation>) -> &'static str {
    generation.map_or("unknown", Generation::name)
}

#[cold]
#[inline(never)]
fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<String> = items.collect();
    format!("[{}]", items.join(","))
}

/// A text as the value of a label.
#[cold]
#[inline(never)]
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
    #[cold]
    #[inline(never)]
    fn metric(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "# HELP livestore_sync_{name} {help}");
        let _ = writeln!(self.text, "# TYPE livestore_sync_{name} {kind}");
    }

    #[cold]
    #[inline(never)]
    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let comma = if labels.is_empty() { "" } else { "," };
        let label = &self.label;
        let _ = writeln!(
            self.text,
            "livestore_sync_{name}{{{label}{comma}{labels}}} {value}"
        );
    }
}
