//! A push, done in one turn: checked, admitted, appended, published, acknowledged in this order (INV-2).

use super::connection::Connection;
use super::refusal::Refusal;
use super::report::Report;
use super::{ConnectionId, Output, SyncBackend, Turn, iso_8601};
use crate::event::{Batch, Event};
use crate::eventlog::{Admission, admit, is_lifetime};
use crate::limits::PUSH_GROWTH_BYTES;
use crate::store::sql::Sql;
use crate::wire::{Generation, Requester};

impl<S: Sql> SyncBackend<S> {
    #[inline(never)] // 2.7 kB less in `on_message`, see there.
    pub(super) fn push(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        backend_id: Option<&str>,
        events: Vec<Event<'_>>,
        turn: &mut Turn<S::Text>,
    ) {
        match self.store_push(from, requester, backend_id, events, turn) {
            Ok(()) => {}
            Err(refusal) => {
                let shown = (self.rules.uses.has_on_push_res()).then(|| refusal.to_string());
                self.refuse(from, requester, refusal, turn);
                if let Some(shown) = shown {
                    self.show_refused(from, requester, &shown, turn);
                }
            }
        }
    }

    fn store_push(
        &mut self,
        from: ConnectionId,
        requester: &Requester,
        backend_id: Option<&str>,
        events: Vec<Event<'_>>,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), Refusal> {
        if events.is_empty() {
            self.send(from, &crate::wire::push_ack(requester), turn);
            return Ok(());
        }
        self.check_lifetime(backend_id)?;
        if backend_id.is_some()
            && let Some(connection) = self.connections.get_mut(from)
        {
            connection.knows_lifetime();
        }
        // It may have waited while its lifetime ended, which clients of 0.3 do not name.
        if self.connections.get(from).is_some_and(Connection::is_over) {
            return Err(Refusal::OtherLifetime);
        }
        self.check_names(&events)?;
        let Some(batch) = Batch::parse(events, &self.limits)? else {
            return Ok(());
        };
        self.mend_plain(from, requester, batch.parent(), turn);
        let admission = admit(&self.store, batch).map_err(|error| Refusal::Storage {
            what: "read the log for a push",
            error,
        })?;
        let batch = match admission {
            Admission::Append(batch) => batch,
            Admission::Repeated { client_id } => {
                self.stats.won_race(&client_id);
                self.stats.pushes_repeated += 1;
                self.acknowledge_push(from, requester, turn);
                return Ok(());
            }
            Admission::Behind {
                client_id,
                head,
                provided,
            } => {
                if let Some(refusals) = self.stats.lost_race(&client_id, head, provided) {
                    turn.out.push(Output::Report(Report::StuckClient {
                        client_id,
                        refusals,
                    }));
                }
                return Err(Refusal::ServerAhead { head, provided });
            }
        };
        self.stats.won_race(batch.client_id());
        let created_at = iso_8601(turn.now_ms);
        self.append(&batch, &created_at)?;
        let is_plain = requester.generation == Generation::V03;
        if is_plain {
            // These clients are used to the acknowledgement before the broadcast; both follow the commit.
            self.acknowledge_push(from, requester, turn);
        }
        self.publish(from, requester, &batch, &created_at, turn);
        self.deliver_due(turn);
        if !is_plain {
            self.acknowledge_push(from, requester, turn);
        }
        turn.out.push(Output::Report(Report::Stored {
            about: self.about(from, requester),
            events: batch.events().len(),
            head: self.store.head(),
        }));
        Ok(())
    }

    /// Whether a client means this lifetime of the log.
    pub(super) fn check_lifetime(&self, received: Option<&str>) -> Result<(), Refusal> {
        if is_lifetime(self.store.backend_id(), received) {
            return Ok(());
        }
        Err(Refusal::BackendIdMismatch {
            expected: self.store.backend_id().clone(),
            received: received.unwrap_or_default().to_owned(),
        })
    }

    fn check_names(&self, events: &[Event<'_>]) -> Result<(), Refusal> {
        let names = &self.rules.event_names;
        let misnamed = events.iter().position(|event| !names.allow(&event.name));
        let Some(event) = misnamed.and_then(|index| events.get(index)) else {
            return Ok(());
        };
        Err(Refusal::EventName {
            index: misnamed.unwrap_or_default(),
            name: event.name.chars().take(100).collect(),
        })
    }

    fn append(&mut self, batch: &Batch<'_>, created_at: &str) -> Result<(), Refusal> {
        let bytes_max = self.limits.store_bytes_max;
        if self.bytes_at_most >= bytes_max {
            self.bytes_at_most = self.store.size_bytes();
        }
        let bytes = self.bytes_at_most;
        if bytes >= bytes_max {
            return Err(Refusal::StoreFull { bytes, bytes_max });
        }
        self.keep_followers().map_err(|error| Refusal::Storage {
            what: "keep how far followers have been told; nothing was stored",
            error,
        })?;
        self.store
            .append(batch, created_at)
            .map_err(|error| Refusal::Storage {
                what: "store the events; nothing was stored",
                error,
            })?;
        let content = batch.events().iter().map(Event::content_bytes);
        let growth = PUSH_GROWTH_BYTES + 2 * content.sum::<usize>() as u64;
        self.bytes_at_most = self.bytes_at_most.saturating_add(growth);
        self.stats.pushes += 1;
        self.stats.events += batch.events().len() as u64;
        Ok(())
    }
}
