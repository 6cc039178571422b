//! A log that is brought in from somewhere else: by which plan, how far it has come, and what is done when it is here.
//!
//! Nobody is served meanwhile: sockets are closed, and whoever asks is told to come again. Events are staged beside the
//! log ([`crate::store::staging`]), checked as a whole, and take its place in one turn, as a reset does with nothing. The
//! plan is kept with the store from the first moment on, and the alarm is what goes on with it, so an object that is lost
//! at any point goes on by itself.

use serde::Serialize;

use super::connection::Connection;
use super::plan::{Plan, Source};
use super::refusal::Refusal;
use super::report::Report;
use super::{ConnectionId, Output, SyncBackend, TRY_LATER, Turn, iso_8601, repeated};
use crate::event::{BackendId, SeqNum};
use crate::limits::{
    FETCH_BURST_MAX, FETCH_EVENTS_MAX, FETCH_RETRY_MS, FETCH_RETRY_MS_MAX, MIRROR_DEADLINE_MS,
};
use crate::route::admin;
use crate::store::adoption;
use crate::store::mirror::MirrorStep;
use crate::store::recall::{self, Fetched, Holdings};
use crate::store::sql::{Sql, StoreError};
use crate::store::staging::{Rows, Staged};
use crate::store::{EventStore, schema};
use crate::transfer::Reader;
use crate::wire::{self, Inbound, PageInfo, Requester, Transport};

/// Names one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchId(u64);

/// A query of D1. What it returns goes back by [`SyncBackend::on_fetched`].
#[derive(Clone, Debug)]
pub struct Fetch<T> {
    /// Goes back with what it returns.
    pub id: FetchId,
    /// The binding of the database; `None`: that of backups.
    pub database: Option<String>,
    /// The query.
    pub step: MirrorStep<T>,
}

/// How many bytes of a file have been read, by the state of its reader.
fn bytes_read(state: &str) -> u64 {
    Reader::resume(state).map_or(0, |reader| reader.bytes_read())
}

/// How far a plan has come.
#[derive(Debug)]
pub(super) struct Import {
    plan: Plan,
    /// The last event that is staged.
    after: SeqNum,
    /// Events to ask for at once; 0: one that is too large to come with others.
    limit: u32,
    /// The query under way, and since when.
    fetching: Option<(FetchId, u64)>,
    fetches: u64,
    /// How far a log has come that is adopted.
    adoption: Adopting,
    /// Names who sends the file: another one may take over.
    upload: u64,
    /// Queries that may yet begin for the alarm that goes off.
    queries_left: u32,
    failures: u32,
    not_before_ms: u64,
    last_error: Option<(u64, String)>,
}

/// How far a log has come that is adopted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adopting {
    /// Whose it is has yet to be said.
    Unclaimed,
    /// It is this store's, and its events come.
    Claimed,
    /// All of them are staged, and it has to be counted once more.
    Ended,
    /// That was what is staged.
    Confirmed,
}

/// How a log that is brought in stands.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ImportState<'a> {
    from: &'a Source,
    backend_id: &'a str,
    events: u64,
    head: u64,
    /// The last event that is here.
    staged: u64,
    /// From which byte on the rest of a file is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<u64>,
    failures: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed: Option<&'a str>,
}

#[derive(Serialize)]
struct LastError<'a> {
    at: String,
    message: &'a str,
}

/// How it ended that a log was to be brought in, where the store has gone on with the one that it had.
///
/// *Shape*: kept as JSON with the store: a failure is not repeated, so nothing else would tell of it after an eviction.
#[derive(Serialize)]
struct GivenUp<'a> {
    at: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    from: &'a Source,
}

impl Import {
    fn new(plan: Plan, after: SeqNum) -> Self {
        Self {
            plan,
            after,
            limit: FETCH_EVENTS_MAX,
            fetching: None,
            fetches: 0,
            adoption: Adopting::Unclaimed,
            upload: 0,
            queries_left: 0,
            failures: 0,
            not_before_ms: 0,
            last_error: None,
        }
    }

    /// Goes on with the plan that is kept with a store, if there is one.
    pub(super) fn resume<S: Sql>(store: &EventStore<S>) -> Option<Self> {
        let kept = store.state_of(schema::IMPORT)?;
        // What cannot be read now is staged again.
        let after = store.last_staged().unwrap_or(SeqNum::ROOT);
        Some(Self::new(Plan::read(kept), after))
    }

    /// Whether D1 has been asked something and has not answered.
    pub(super) fn is_fetching(&self) -> bool {
        self.fetching.is_some()
    }

    /// When it has to be looked at again.
    pub(super) fn next_ms(&self, now_ms: u64) -> Option<u64> {
        match self.fetching {
            _ if self.plan.failed.is_some() || self.plan.file.is_some() => None,
            Some((_, since_ms)) => Some(since_ms + MIRROR_DEADLINE_MS),
            None => Some(self.not_before_ms.max(now_ms)),
        }
    }

    /// Something went wrong that may go right another time.
    fn fail_for_now(&mut self, message: &str, turn: &mut Turn<impl Sized>) {
        let message = repeated(message);
        let wait_ms = FETCH_RETRY_MS << self.failures.min(16);
        self.not_before_ms = turn.now_ms + wait_ms.min(FETCH_RETRY_MS_MAX);
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some((turn.now_ms, message.clone()));
        turn.out
            .push(Output::Report(Report::RestoreDelayed { message }));
    }

    /// The events that come next.
    fn step<T>(&self, now_ms: u64) -> MirrorStep<T> {
        let Source {
            store_id,
            backend_id,
        } = &self.plan.from;
        if let Some(adopted) = &self.plan.adopted {
            return match self.adoption {
                Adopting::Unclaimed => {
                    adoption::claim(store_id, &iso_8601(now_ms), adopted.by_force)
                }
                Adopting::Claimed => adoption::fetch(store_id, self.after, self.limit),
                Adopting::Ended | Adopting::Confirmed => {
                    let stored = i64::try_from(adopted.stored_head).unwrap_or(i64::MAX);
                    adoption::survey(store_id, SeqNum::clamped(stored))
                }
            };
        }
        let backend_id = BackendId::stored(backend_id.clone());
        let head = SeqNum::clamped(i64::try_from(self.plan.head).unwrap_or(i64::MAX));
        if self.limit == 0 {
            recall::fetch_one(store_id, &backend_id, self.after, head)
        } else {
            recall::fetch(store_id, &backend_id, self.after, head, self.limit)
        }
    }

    fn is_complete(&self) -> bool {
        if self.plan.adopted.is_some() {
            return self.adoption == Adopting::Confirmed;
        }
        self.after.get() >= self.plan.head
    }

    pub(super) fn state(&self) -> ImportState<'_> {
        let Plan {
            from,
            backend_id,
            head,
            events,
            failed,
            file,
            ..
        } = &self.plan;
        let last_error = self.last_error.as_ref();
        ImportState {
            from,
            backend_id,
            events: *events,
            head: *head,
            staged: self.after.get(),
            at: file.as_deref().map(bytes_read),
            failures: self.failures,
            last_error: last_error.map(|(at_ms, message)| LastError {
                at: iso_8601(*at_ms),
                message,
            }),
            failed: failed.as_deref(),
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        self.plan.failed.is_some()
    }

    /// What is kept of it where the store goes on with the log that it has; `failure` is why, unless an operator ended it.
    fn given_up(&self, failure: Option<&str>, now_ms: u64) -> String {
        let given_up = GivenUp {
            at: iso_8601(now_ms),
            outcome: if failure.is_some() { "failed" } else { "ended" },
            message: failure.map(repeated),
            from: &self.plan.from,
        };
        serde_json::to_string(&given_up).unwrap_or_default()
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Begins to bring a log in by `plan`, in place of what the store holds; it is kept before anything else happens.
    ///
    /// # Errors
    /// When SQLite fails; then nothing is changed.
    pub fn begin_restore(
        &mut self,
        plan: Plan,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), StoreError> {
        self.store.unstage()?;
        self.store.set_state(schema::IMPORT, &plan.to_json())?;
        turn.out.push(Output::Report(plan.begun()));
        self.import = Some(Import::new(plan, SeqNum::ROOT));
        self.hold_off(turn);
        self.end_turn(turn);
        Ok(())
    }

    /// Ends what [`SyncBackend::begin_restore`] began; the store goes on with the log that it has.
    ///
    /// # Errors
    /// Nothing is under way (404); there is no log to go on with (409); SQLite fails (500).
    pub fn cancel_restore(&mut self, turn: &mut Turn<S::Text>) -> Result<(), admin::Refusal> {
        let Some(import) = &self.import else {
            return Err(admin::Refusal::new(404, "no restore is under way"));
        };
        if self.store.last_stored() == SeqNum::ROOT {
            let message = "there is no log to go on with: restore another one, or reset the store";
            return Err(admin::Refusal::new(409, message));
        }
        let why = import.given_up(None, turn.now_ms);
        let forgotten = self.store.give_up_import(&why);
        forgotten.map_err(|error| admin::Refusal::new(500, &error.to_string()))?;
        self.import = None;
        self.end_turn(turn);
        Ok(())
    }

    /// Whether a log is being brought in, and nobody is served.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.import.is_some()
    }

    /// Sends everybody away while a log is brought in.
    pub(super) fn hold_off(&mut self, turn: &mut Turn<S::Text>) {
        let reason = match (&self.deletion, &self.import) {
            (Some(_), _) => "the store is being deleted: try again later",
            (None, Some(_)) => "the store is being restored: try again later",
            (None, None) => return,
        };
        let is_pulling =
            |one: &Connection<S::Text>| !one.is_socket() && !one.subscriptions().is_empty();
        for id in self.connections.ids(is_pulling) {
            self.stop_pulls(id, turn);
        }
        for id in self.connections.ids(|_| true) {
            let is_socket = self.connections.get(id).is_some_and(Connection::is_socket);
            if is_socket || self.waiting.has(id) {
                self.close(id, TRY_LATER, reason, turn);
            }
        }
    }

    /// Answers a request while a log is brought in: it may be asked again later. A pull over HTTP is answered that there is
    /// nothing, in the lifetime that its client knows: an error would be its last.
    pub(super) fn put_off(
        &mut self,
        from: ConnectionId,
        inbound: &Inbound<'_>,
        requester: &Requester,
        turn: &mut Turn<S::Text>,
    ) {
        let connection = self.connections.get(from);
        let is_http = connection.is_some_and(|one| one.transport() == Transport::Http);
        let begins = match &self.import {
            Some(import) => &import.plan.backend_id,
            None => self.store.backend_id().as_str(),
        };
        if let (Inbound::Pull { cursor, .. }, true) = (inbound, is_http)
            && let Some(done) = wire::pull_done(requester)
        {
            let known = cursor
                .as_ref()
                .and_then(|cursor| cursor.backend_id.as_deref());
            let known = known.unwrap_or(begins);
            let known = BackendId::stored(known.to_owned());
            let head = wire::page_head(requester, Transport::Http);
            let tail = wire::page_tail(requester, PageInfo::NoMore, &known);
            self.send(from, &(head + &tail), turn);
            return self.send(from, &done, turn);
        }
        let refusal = if self.is_deleting() {
            Refusal::Deleting
        } else {
            Refusal::Restoring
        };
        self.refuse(from, requester, refusal, turn);
    }

    /// The alarm has gone off: goes on with a log that is being brought in.
    pub(super) fn resume_import(&mut self, turn: &mut Turn<S::Text>) {
        let Some(import) = &mut self.import else {
            return;
        };
        import.queries_left = FETCH_BURST_MAX;
        if let Some((_, since_ms)) = import.fetching
            && turn.now_ms >= since_ms + MIRROR_DEADLINE_MS
        {
            // What it returns, should it come, is nobody's any more.
            import.fetching = None;
            import.fail_for_now("D1 has not answered for too long", turn);
        }
        self.fetch_next(turn);
    }

    fn fetch_next(&mut self, turn: &mut Turn<S::Text>) {
        let Some(import) = &mut self.import else {
            return;
        };
        let may_go_on = import.fetching.is_none() && import.not_before_ms <= turn.now_ms;
        if !may_go_on || import.has_failed() || import.plan.file.is_some() {
            return;
        }
        if import.is_complete() {
            return self.complete_import(turn);
        }
        if import.queries_left == 0 {
            return;
        }
        import.queries_left -= 1;
        import.fetches += 1;
        let id = FetchId(import.fetches);
        import.fetching = Some((id, turn.now_ms));
        let step = import.step(turn.now_ms);
        let adopted = import.plan.adopted.as_ref();
        let database = adopted.map(|adopted| adopted.database.clone());
        turn.out.push(Output::Fetch(Fetch { id, database, step }));
    }

    /// Takes what a query has returned, or why it has not.
    pub fn on_fetched(
        &mut self,
        id: FetchId,
        fetched: Result<Fetched<S::Text>, String>,
        turn: &mut Turn<S::Text>,
    ) {
        let under_way = self.import.as_ref().and_then(|import| import.fetching);
        // Otherwise it was given up, or the plan was.
        if under_way.is_some_and(|(of, _)| of == id) {
            self.take_fetched(fetched, turn);
            self.fetch_next(turn);
        }
        self.end_turn(turn);
    }

    fn take_fetched(
        &mut self,
        fetched: Result<Fetched<S::Text>, String>,
        turn: &mut Turn<S::Text>,
    ) {
        let Some(import) = &mut self.import else {
            return;
        };
        import.fetching = None;
        let Fetched {
            rows, count, last, ..
        } = match fetched {
            Ok(Fetched {
                holdings: Some(held),
                ..
            }) => return self.confirm_adopted(&held, turn),
            Ok(Fetched {
                owner: Some(owner), ..
            }) => return self.claimed(&owner, turn),
            Ok(fetched) => fetched,
            Err(message) if import.limit > 0 && message.contains("too big") => {
                // Escapes have made it too large for a string of D1.
                import.limit /= 8;
                return;
            }
            Err(message) if message.starts_with(recall::DAMAGED) => {
                return self.abandon_import(message, turn);
            }
            Err(message) => return import.fail_for_now(&message, turn),
        };
        let Some(rows) = rows else {
            if import.limit == 0 && import.plan.adopted.is_some() {
                import.adoption = Adopting::Ended;
                return;
            }
            if import.limit == 0 {
                let (after, head) = (import.after, import.plan.head);
                let message = format!("the backup ends at {after}, and not at {head} any more");
                return self.abandon_import(message, turn);
            }
            import.limit = 0;
            return;
        };
        // A table of sync-cf may have grown since.
        let is_bounded = import.plan.adopted.is_none();
        let head = i64::try_from(import.plan.head).unwrap_or(i64::MAX);
        let head = SeqNum::clamped(if is_bounded { head } else { i64::MAX });
        if let Err(error) = self.store.stage_up_to(&rows, head) {
            return import.fail_for_now(&error.to_string(), turn);
        }
        import.after = import.after.max(last);
        // What lies beyond what fits is read for nothing.
        import.limit = count.saturating_mul(2).clamp(16, FETCH_EVENTS_MAX);
        (import.failures, import.last_error) = (0, None);
    }

    /// A log that is adopted is `owner`'s.
    fn claimed(&mut self, owner: &str, turn: &mut Turn<S::Text>) {
        let Some(import) = &mut self.import else {
            return;
        };
        if owner == import.plan.from.store_id.as_str() {
            import.adoption = Adopting::Claimed;
        } else {
            let message = "another store of a similar name has adopted the log in D1";
            self.abandon_import(message.to_owned(), turn);
        }
    }

    /// A log that is adopted has been counted again, now that all of it is staged: somebody else may still have written
    /// to it meanwhile.
    fn confirm_adopted(&mut self, held: &Holdings, turn: &mut Turn<S::Text>) {
        let staged = self.store.staged();
        let Some(import) = &mut self.import else {
            return;
        };
        let staged = match staged {
            Ok(staged) => staged,
            Err(error) => return import.fail_for_now(&error.to_string(), turn),
        };
        let planned = import.plan.head;
        if held.head < planned {
            let message = format!(
                "the log in D1 ends at {}, and not at {planned} any more",
                held.head
            );
            return self.abandon_import(message, turn);
        }
        if (staged.events, staged.bytes, staged.head) == (held.events, held.bytes, held.head) {
            (import.plan.events, import.plan.bytes) = (held.events, held.bytes);
            import.plan.head = held.head;
            import.adoption = Adopting::Confirmed;
            return;
        }
        (import.after, import.adoption) = (SeqNum::ROOT, Adopting::Claimed);
        import.fail_for_now("the log in D1 has changed meanwhile", turn);
        if let Err(error) = self.store.unstage() {
            import.fail_for_now(&error.to_string(), turn);
        }
    }

    /// Whoever sends a file sends it from now on, and nobody else; the number that says who.
    pub fn take_upload(&mut self) -> Option<u64> {
        let import = self.import.as_mut().filter(|one| !one.has_failed())?;
        import.plan.file.as_ref()?;
        // Not given out again by another import: whoever sends for one that was ended is nobody's.
        self.uploads += 1;
        import.upload = self.uploads;
        Some(import.upload)
    }

    fn sent(&mut self, upload: u64) -> Result<&mut Import, admin::Refusal> {
        let import = self.import.as_mut();
        let is_meant = |one: &&mut Import| upload > 0 && one.upload == upload && !one.has_failed();
        let import = import.filter(is_meant);
        import.ok_or_else(|| {
            admin::Refusal::new(409, "the import was ended, or another one took over")
        })
    }

    /// Stages events of a file up to `last`, and keeps from where on its reader wants the rest.
    ///
    /// # Errors
    /// Somebody else has ended the import or taken it over (409); SQLite fails (500), and the same may be sent again.
    pub fn stage_upload(
        &mut self,
        upload: u64,
        rows: &Rows<S::Text>,
        last: SeqNum,
        state: String,
    ) -> Result<(), admin::Refusal> {
        self.sent(upload)?;
        let staged = self.store.stage(rows);
        staged.map_err(|error| admin::Refusal::new(500, &error.to_string()))?;
        let import = self.sent(upload)?;
        import.after = import.after.max(last);
        import.plan.file = Some(state);
        let kept = import.plan.to_json();
        let kept = self.store.set_state(schema::IMPORT, &kept);
        kept.map_err(|error| admin::Refusal::new(500, &error.to_string()))
    }

    /// All of a file is here: it becomes the log.
    ///
    /// # Errors
    /// As [`SyncBackend::stage_upload`], and if what is here is not what was sent (409).
    pub fn end_upload(
        &mut self,
        upload: u64,
        events: u64,
        last: SeqNum,
        turn: &mut Turn<S::Text>,
    ) -> Result<(), admin::Refusal> {
        self.sent(upload)?;
        let staged = self.store.staged();
        let staged = staged.map_err(|error| admin::Refusal::new(500, &error.to_string()))?;
        let import = self.sent(upload)?;
        (import.plan.events, import.plan.head) = (events, last.get());
        import.plan.bytes = staged.bytes;
        let checked = import.plan.check(&staged);
        if let Err(message) = checked {
            self.abandon_import(message.clone(), turn);
            self.end_turn(turn);
            return Err(admin::Refusal::new(409, &message));
        }
        self.install_import(&staged, turn);
        let is_installed = self.import.is_none();
        self.end_turn(turn);
        if is_installed {
            return Ok(());
        }
        let message = "storage failed at the end: send the rest again";
        Err(admin::Refusal::new(500, message))
    }

    /// What was sent is no log: the import is given up.
    pub fn fail_upload(&mut self, upload: u64, message: &str, turn: &mut Turn<S::Text>) {
        if self.sent(upload).is_ok() {
            self.abandon_import(message.to_owned(), turn);
        }
        self.end_turn(turn);
    }

    /// Everything is here: it is looked at as a whole, and becomes the log.
    fn complete_import(&mut self, turn: &mut Turn<S::Text>) {
        let staged = self.store.staged();
        let Some(import) = &mut self.import else {
            return;
        };
        match staged {
            Err(error) => import.fail_for_now(&error.to_string(), turn),
            Ok(staged) => match import.plan.check(&staged) {
                Err(message) => self.abandon_import(message, turn),
                Ok(()) => self.install_import(&staged, turn),
            },
        }
    }

    fn install_import(&mut self, staged: &Staged, turn: &mut Turn<S::Text>) {
        let Some(import) = &self.import else {
            return;
        };
        let begins = BackendId::stored(import.plan.backend_id.clone());
        let is_other = begins != *self.store.backend_id();
        let untold = self.told_committed().filter(|_| is_other);
        let adopted = import.plan.adopted.as_ref();
        let at_least = adopted.map_or(0, |adopted| adopted.head_at_least);
        let is_adopted = adopted.is_some();
        // Whoever deletes the store has to know. Before it is here that does no harm.
        let kept = adopted.map_or(Ok(()), |adopted| {
            self.store.set_state(schema::ADOPTED, &adopted.database)
        });
        let installed = kept.and_then(|()| self.store.install(begins, untold, at_least));
        if let Err(error) = installed {
            if let Some(import) = &mut self.import {
                import.fail_for_now(&error.to_string(), turn);
            }
            return;
        }
        self.import = None;
        self.bytes_at_most = u64::MAX;
        self.stats.forget_races();
        let tail = wire::rpc_page_tail(PageInfo::NoMore, self.store.backend_id());
        self.last_page_tail = self.store.text(&tail);
        let (events, head) = (staged.events, self.store.head());
        let report = if is_adopted {
            Report::Adopted { events, head }
        } else {
            Report::Restored { events, head }
        };
        turn.out.push(Output::Report(report));
        if is_other {
            self.reset_followers(turn);
        }
        if is_adopted {
            self.followers.begin_committed_at(head);
        }
    }

    /// It cannot be done. A store that has a log goes on with that; one that has none serves nobody.
    fn abandon_import(&mut self, message: String, turn: &mut Turn<S::Text>) {
        let has_log = self.store.last_stored() > SeqNum::ROOT;
        let Some(import) = &mut self.import else {
            return;
        };
        let done = if has_log {
            let why = import.given_up(Some(&message), turn.now_ms);
            self.store.give_up_import(&why)
        } else {
            import.plan.failed = Some(message.clone());
            let kept = import.plan.to_json();
            let unstaged = self.store.unstage();
            unstaged.and_then(|()| self.store.set_state(schema::IMPORT, &kept))
        };
        if let Err(error) = done {
            import.plan.failed = None;
            return import.fail_for_now(&error.to_string(), turn);
        }
        if has_log {
            self.import = None;
        }
        turn.out
            .push(Output::Report(Report::RestoreFailed { message, has_log }));
    }
}
