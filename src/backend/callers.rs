//! Durable Objects that are called back with what is pushed: the live pulls of the DO-RPC transport.
//!
//! Owns who is called, with what, and when again. One call per object is under way at a time, each
//! carries one page, and what it delivered is kept in the store: a subscription survives an eviction,
//! and a crash at worst repeats a call. An object that fails for good is dropped.

use super::{ConnectionId, Output, Report, SyncBackend};
use crate::event::SeqNum;
use crate::limits::{CALL_ATTEMPTS_MAX, CALL_RETRY_MS, CALL_SETTLE_MS};
use crate::store::sql::{Sql, Text as _};
use crate::wire::{self, Family, Generation, PageInfo, RequestId};

/// Before what follows in the keys of the store's state.
const KEY: &str = "caller:";

/// Whom to call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Name of the binding of its class.
    pub binding: String,
    /// Its id, as hexadecimal text.
    pub object_id: String,
    /// The pull it made, by which it knows the calls.
    pub request: RequestId,
}

impl Caller {
    /// The dialect of the calls.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.request.rpc_generation()
    }

    /// One subscription per object: the pull of a later life of it takes the place of an earlier one.
    fn key(&self) -> String {
        format!("{KEY}{}:{}", self.binding, self.object_id)
    }
}

/// Names one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallId(u64);

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    /// The object took it.
    Taken,
    /// The object or the way to it failed; another time it may not.
    Failed(String),
    /// There is no such object, or no way to it.
    Gone(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is under way.
    Idle,
    /// The answer to its pull is still being read.
    Held(ConnectionId),
    /// The answer has left, and the client is taking note of it until then.
    Settling { until_ms: u64 },
    /// A call is under way that delivers up to `last`.
    Calling { call: CallId, last: SeqNum },
    /// The last call failed.
    Waiting { until_ms: u64 },
}

#[derive(Debug)]
struct Subscriber {
    caller: Caller,
    after: SeqNum,
    state: State,
    failures: u32,
}

/// All who are called back.
#[derive(Debug, Default)]
pub(super) struct Callers {
    subscribers: Vec<Subscriber>,
    calls: u64,
}

impl Callers {
    /// Reads them from the store's state.
    pub(super) fn restore(state: &[(String, String)]) -> Self {
        let subscribers = state.iter().filter_map(|(key, value)| {
            let (binding, object_id) = key.strip_prefix(KEY)?.rsplit_once(':')?;
            let (after, request) = value.split_once(' ')?;
            Some(Subscriber {
                caller: Caller {
                    binding: binding.to_owned(),
                    object_id: object_id.to_owned(),
                    request: RequestId::from_json(request)?,
                },
                after: SeqNum::clamped(after.parse().ok()?),
                state: State::Idle,
                failures: 0,
            })
        });
        Self {
            subscribers: subscribers.collect(),
            ..Self::default()
        }
    }

    /// Each with how far it has been told.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Caller, SeqNum)> {
        let subscribers = self.subscribers.iter();
        subscribers.map(|subscriber| (&subscriber.caller, subscriber.after))
    }

    pub(super) fn clear(&mut self) {
        self.subscribers.clear();
    }
}

impl<S: Sql> SyncBackend<S> {
    /// Calls `caller` from now on with what follows `after`, once the answer on `connection` is read.
    pub(super) fn subscribe_caller(
        &mut self,
        connection: ConnectionId,
        caller: Caller,
        after: SeqNum,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let key = caller.key();
        let (callers, state) = (&mut self.callers.subscribers, State::Held(connection));
        callers.retain(|known| known.caller.key() != key);
        callers.push(Subscriber {
            caller,
            after,
            state,
            failures: 0,
        });
        self.keep_caller(self.callers.subscribers.len() - 1, out);
    }

    /// The answer on `connection` has left: those who pulled there are called soon.
    pub(super) fn release_callers(&mut self, connection: ConnectionId, now_ms: u64) {
        let until_ms = now_ms + CALL_SETTLE_MS;
        for subscriber in &mut self.callers.subscribers {
            if subscriber.state == State::Held(connection) {
                subscriber.state = State::Settling { until_ms };
            }
        }
    }

    /// Forgets whom the pull `request` on `connection` asked to call, its answer having failed.
    pub(super) fn drop_held_caller(
        &mut self,
        connection: ConnectionId,
        request: &RequestId,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let mut subscribers = self.callers.subscribers.iter();
        let held = subscribers
            .position(|one| one.state == State::Held(connection) && one.caller.request == *request);
        if let Some(index) = held {
            let message = "a hook refused its pull".to_owned();
            self.drop_caller(index, message, out);
        }
    }

    /// Calls everyone who is behind and not being called.
    pub(super) fn call_idle(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        let last_stored = self.store.last_stored();
        for index in 0..self.callers.subscribers.len() {
            let Some(subscriber) = self.callers.subscribers.get_mut(index) else {
                continue;
            };
            match subscriber.state {
                State::Settling { until_ms } if until_ms <= now_ms => {
                    subscriber.state = State::Idle;
                }
                // No timer is set before there is something to tell.
                State::Settling { until_ms } if subscriber.after < last_stored => {
                    out.push(Output::WakeAt { at_ms: until_ms });
                }
                _ => {}
            }
            self.call(index, out);
        }
    }

    /// Calls those again whose time has come, and asks to be woken for the others.
    pub(super) fn call_due(&mut self, now_ms: u64, out: &mut Vec<Output<S::Text>>) {
        for subscriber in &mut self.callers.subscribers {
            if matches!(subscriber.state, State::Waiting { until_ms } if until_ms <= now_ms) {
                subscriber.state = State::Idle;
            }
        }
        self.call_idle(now_ms, out);
        self.wake_for_callers(out);
    }

    /// Takes note of how a call ended.
    pub fn on_called(
        &mut self,
        call: CallId,
        outcome: Called,
        now_ms: u64,
        out: &mut Vec<Output<S::Text>>,
    ) {
        let find = |subscriber: &Subscriber| match subscriber.state {
            State::Calling {
                call: under_way,
                last,
            } if under_way == call => Some(last),
            _ => None,
        };
        let mut subscribers = self.callers.subscribers.iter().enumerate();
        let Some((index, last)) =
            subscribers.find_map(|(index, subscriber)| Some((index, find(subscriber)?)))
        else {
            // It was replaced while the call was under way.
            return;
        };
        let Some(subscriber) = self.callers.subscribers.get_mut(index) else {
            return;
        };
        match &outcome {
            Called::Taken => self.stats.deliveries += 1,
            Called::Failed(_) | Called::Gone(_) => self.stats.calls_failed += 1,
        }
        match outcome {
            Called::Taken => {
                (subscriber.after, subscriber.failures) = (last, 0);
                subscriber.state = State::Idle;
                self.keep_caller(index, out);
                self.call(index, out);
            }
            Called::Failed(_) if subscriber.failures + 1 < CALL_ATTEMPTS_MAX => {
                let wait_ms = CALL_RETRY_MS << subscriber.failures;
                subscriber.failures += 1;
                subscriber.state = State::Waiting {
                    until_ms: now_ms + wait_ms,
                };
                self.wake_for_callers(out);
            }
            Called::Failed(message) | Called::Gone(message) => {
                self.drop_caller(index, message, out);
            }
        }
    }

    fn call(&mut self, index: usize, out: &mut Vec<Output<S::Text>>) {
        let Some(subscriber) = self.callers.subscribers.get_mut(index) else {
            return;
        };
        if subscriber.state != State::Idle || subscriber.after >= self.store.last_stored() {
            return;
        }
        let page = match self.store.page(Family::Rpc, subscriber.after) {
            Ok(page) => page,
            Err(error) => {
                // The next push tries again.
                return out.push(Output::Report(Report::StoreFailed {
                    during: "a call to a client object",
                    message: error.message,
                }));
            }
        };
        let Some(items) = page.items else {
            return;
        };
        let head = self
            .store
            .text(&wire::callback_head(&subscriber.caller.request));
        // What follows comes in a call of its own, and is news then.
        let tail = wire::rpc_page_tail(PageInfo::NoMore, self.store.backend_id());
        let frame = S::Text::join(&head, &items, &self.store.text(&tail));
        self.callers.calls += 1;
        let call = CallId(self.callers.calls);
        subscriber.state = State::Calling {
            call,
            last: page.last,
        };
        out.push(Output::Call {
            call,
            caller: subscriber.caller.clone(),
            frame,
        });
    }

    fn drop_caller(&mut self, index: usize, message: String, out: &mut Vec<Output<S::Text>>) {
        let subscriber = self.callers.subscribers.swap_remove(index);
        let (key, object_id) = (subscriber.caller.key(), subscriber.caller.object_id);
        out.push(Output::Report(Report::CallerDropped { object_id, message }));
        if let Err(error) = self.store.remove_state(&key) {
            out.push(Output::Report(Report::StoreFailed {
                during: "dropping a client object",
                message: error.message,
            }));
        }
    }

    fn keep_caller(&mut self, index: usize, out: &mut Vec<Output<S::Text>>) {
        let Some(subscriber) = self.callers.subscribers.get(index) else {
            return;
        };
        let value = format!("{} {}", subscriber.after, subscriber.caller.request.json());
        if let Err(error) = self.store.set_state(&subscriber.caller.key(), &value) {
            out.push(Output::Report(Report::StoreFailed {
                during: "keeping a client object",
                message: error.message,
            }));
        }
    }

    fn wake_for_callers(&mut self, out: &mut Vec<Output<S::Text>>) {
        let waiting = self.callers.subscribers.iter();
        let earliest = waiting.filter_map(|subscriber| match subscriber.state {
            State::Waiting { until_ms } => Some(until_ms),
            _ => None,
        });
        out.extend(earliest.min().map(|at_ms| Output::WakeAt { at_ms }));
    }
}
