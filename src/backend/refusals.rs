//! How a client is told that something will not be done, and what is counted and reported of it.

use super::connection::Connection;
use super::report::{About, Reason, Report};
use super::{ConnectionId, EXPIRED, Output, SyncBackend};
use crate::eventlog::Refusal;
use crate::store::sql::{Sql, StoreError};
use crate::wire::{self, Failure, Malformed, Requester, Transport};

impl<S: Sql> SyncBackend<S> {
    /// Refuses a request that a hook does not let through.
    pub fn refuse_by_hook(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        message: &str,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        if let Some(connection) = self.connection_mut(from) {
            connection.remove(&requester.id);
        }
        self.drop_held_caller(from, &requester.id, out);
        let message = message.to_owned();
        let failure = Failure::Unknown { message };
        self.fail(from, requester, Reason::Hook, failure, now_ms, out);
    }

    pub(super) fn close_expired(
        &mut self,
        connection: ConnectionId,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.stats
            .refuse(Reason::Expired, "the token has expired", now_ms);
        out.push(Output::Report(Report::Expired));
        let reason = "the token has expired: connect again with a new one";
        self.close(connection, EXPIRED, reason, out);
    }

    /// Forgets a connection, and has its socket closed.
    pub(super) fn close(
        &mut self,
        connection: ConnectionId,
        code: u16,
        reason: &'static str,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.disconnect(connection);
        out.push(Output::Close {
            connection,
            code,
            reason,
        });
    }

    pub(super) fn refuse(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        refusal: Refusal,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let (reason, failure) = match refusal {
            Refusal::BackendIdMismatch { received } => (
                Reason::BackendIdMismatch,
                Failure::BackendIdMismatch {
                    expected: self.store.backend_id().clone(),
                    received,
                },
            ),
            Refusal::ServerAhead {
                minimum_expected,
                provided,
            } => (
                Reason::ServerAhead,
                Failure::ServerAhead {
                    minimum_expected,
                    provided,
                },
            ),
            Refusal::Store(error) => {
                out.push(Output::Report(Report::StoreFailed {
                    during: "a push",
                    message: error.message,
                }));
                let message = "the backend could not store the events; nothing was stored";
                let message = message.to_owned();
                (Reason::Storage, Failure::Unknown { message })
            }
        };
        self.fail(from, requester, reason, failure, now_ms, out);
    }

    pub(super) fn fail(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        reason: Reason,
        failure: Failure,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        self.send(to, &wire::failed(requester, &failure), out);
        let about = self.about(to, requester);
        let report = match failure {
            Failure::ServerAhead {
                minimum_expected,
                provided,
            } => Report::LostRace {
                about,
                head: minimum_expected,
                provided,
            },
            Failure::BackendIdMismatch { .. } => Report::Refused {
                about,
                reason,
                message: "another backend id".to_owned(),
            },
            Failure::Unknown { message } => Report::Refused {
                about,
                reason,
                message,
            },
        };
        self.stats.refuse(reason, &report.to_string(), now_ms);
        out.push(Output::Report(report));
    }

    pub(super) fn refuse_message(
        &mut self,
        to: ConnectionId,
        malformed: &Malformed,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let family = self.connection(to).map(Connection::family);
        let answer = family.and_then(|family| wire::malformed(family, malformed));
        if let Some(answer) = answer {
            self.send(to, &answer, out);
        }
        self.stats
            .refuse(Reason::Malformed, malformed.message(), now_ms);
    }

    /// Ends a pull that cannot be read. On a socket an error would end it for good, while clients recover
    /// from a closed one by connecting again; a request that is a connection of its own gets its answer.
    pub(super) fn fail_pull(
        &mut self,
        to: ConnectionId,
        requester: &Requester,
        error: StoreError,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let is_socket = self
            .connection(to)
            .is_some_and(|connection| connection.transport() == Transport::WebSocket);
        out.push(Output::Report(Report::StoreFailed {
            during: "a pull",
            message: error.message,
        }));
        if is_socket {
            let reason = "storage failed: connect and pull again";
            return self.close(to, 1011, reason, out);
        }
        if let Some(connection) = self.connection_mut(to) {
            connection.remove(&requester.id);
        }
        let message = "the backend could not read the events".to_owned();
        let failed = wire::failed(requester, &Failure::Unknown { message });
        self.send(to, &failed, out);
    }

    pub(super) fn about(&self, from: ConnectionId, requester: &Requester) -> About {
        let transport = self.connection(from).map(Connection::transport);
        About::new(requester, transport.unwrap_or(Transport::WebSocket))
    }
}
