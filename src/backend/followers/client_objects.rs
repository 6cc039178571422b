//! Durable Objects that are called with what is pushed: the live pulls of the DO-RPC transport.
//!
//! One subscription per object: the pull of a later life of it takes the place of an earlier one. Each call
//! carries one page. An object that fails for good is dropped.

use super::{Follower, Kind, Message, Next, Patience, State, Told};
use crate::backend::{ConnectionId, SyncBackend, Turn};
use crate::event::SeqNum;
use crate::limits::{
    CALL_ATTEMPTS_MAX, CALL_DEADLINE_MS, CALL_RETRY_MS, CALL_RETRY_MS_MAX, CALL_SETTLE_MS,
};
use crate::store::EventStore;
use crate::store::sql::{Form, Sql, Text as _};
use crate::wire::{self, Failure, Family, Generation, PageInfo, RequestId, Requester};

/// Before what follows in the keys of the store's state.
const KEY: &str = "follower:object:";

/// How an absent object is waited for.
pub(super) const PATIENCE: Patience = Patience {
    retry_ms: CALL_RETRY_MS,
    retry_ms_max: CALL_RETRY_MS_MAX,
    deadline_ms: CALL_DEADLINE_MS,
    attempts_max: Some(CALL_ATTEMPTS_MAX),
};

/// A Durable Object that pulls live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientObject {
    /// Name of the binding of its class.
    pub binding: String,
    /// Its id, as hexadecimal text.
    pub object_id: String,
    /// The pull it made, by which it knows the calls.
    pub request: RequestId,
}

impl ClientObject {
    /// The dialect of the calls.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.request.rpc_generation()
    }

    pub(super) fn key(&self) -> String {
        format!("{KEY}{}:{}", self.binding, self.object_id)
    }

    pub(super) fn of_key(key: &str, request: &str) -> Option<Self> {
        let (binding, object_id) = key.strip_prefix(KEY)?.rsplit_once(':')?;
        Some(Self {
            binding: binding.to_owned(),
            object_id: object_id.to_owned(),
            request: RequestId::from_json(request)?,
        })
    }
}

impl Kind {
    fn is_same_object(&self, other: &ClientObject) -> bool {
        match self {
            Self::ClientObject(own) => {
                (&own.binding, &own.object_id) == (&other.binding, &other.object_id)
            }
            Self::Committed | Self::Backup => false,
        }
    }
}

/// The next call of `object`, which was told up to `after`, and what it tells up to.
pub(super) fn next<S: Sql>(
    store: &EventStore<S>,
    object: &ClientObject,
    after: SeqNum,
    has_ended: bool,
) -> Next<S::Text> {
    let object = object.clone();
    if has_ended {
        let requester = Requester {
            generation: object.generation(),
            id: object.request.as_text(),
            trace_id: None,
        };
        let failure = Failure::BackendIdMismatch {
            expected: store.backend_id().clone(),
            received: String::new(),
        };
        let frame = store.text(&wire::failed(&requester, &failure));
        return Ok(Some((Told::UpTo(after), Message::Call { object, frame })));
    }
    let page = store.page(Family::Rpc, Form::String, after)?;
    let Some(items) = page.items else {
        return Ok(None);
    };
    let head = store.text(&wire::callback_head(&object.request));
    // What follows comes in a call of its own, and is news then.
    let tail = wire::rpc_page_tail(PageInfo::NoMore, store.backend_id());
    let frame = S::Text::join(&head, &items, &store.text(&tail));
    Ok(Some((
        Told::UpTo(page.last),
        Message::Call { object, frame },
    )))
}

impl<S: Sql> SyncBackend<S> {
    /// Calls `object` from now on with what follows `after`, once the answer on `connection` is read.
    pub(in crate::backend) fn follow(
        &mut self,
        connection: ConnectionId,
        object: ClientObject,
        after: SeqNum,
        turn: &mut Turn<S::Text>,
    ) {
        let backend_id = self.store.backend_id().clone();
        let mut follower = Follower::new(Kind::ClientObject(object), backend_id, after);
        follower.state = State::Held(connection);
        // Kept, so that it is not called too early should the object lose its memory by then.
        follower.not_before_ms = turn.now_ms + CALL_SETTLE_MS;
        let Kind::ClientObject(object) = &follower.kind else {
            return;
        };
        let mut followers = self.followers.list.iter();
        let known = followers.position(|known| known.kind.is_same_object(object));
        let index = known.unwrap_or(self.followers.list.len());
        if let Some(known) = self.followers.list.get_mut(index) {
            follower.old_key = known.old_key.take();
            *known = follower;
        } else {
            self.followers.list.push(follower);
        }
        self.keep_follower(index, turn);
    }

    /// The answer on `connection` has left: objects that pulled there are called soon.
    pub(in crate::backend) fn release_held(
        &mut self,
        connection: ConnectionId,
        turn: &mut Turn<S::Text>,
    ) {
        let until_ms = turn.now_ms + CALL_SETTLE_MS;
        for index in 0..self.followers.list.len() {
            let Some(follower) = self.followers.list.get_mut(index) else {
                return;
            };
            if follower.state != State::Held(connection) {
                continue;
            }
            follower.state = State::Settling { until_ms };
            follower.not_before_ms = until_ms;
            self.keep_follower(index, turn);
        }
    }

    /// Forgets the object that the pull `request` on `connection` asked to call, its answer having failed.
    pub(in crate::backend) fn forget_held(
        &mut self,
        connection: ConnectionId,
        request: &RequestId,
        turn: &mut Turn<S::Text>,
    ) {
        let mut followers = self.followers.list.iter();
        let held = followers.position(|follower| {
            follower.state == State::Held(connection) && follower.kind.request() == Some(request)
        });
        if let Some(index) = held {
            self.drop_follower(index, turn);
        }
    }

    /// Calls an object no more, at its own wish; only if `request` is the pull that it made last, where one is
    /// named.
    #[inline(never)] // 0.3 kB less in `on_message`, see there.
    pub(in crate::backend) fn unsubscribe(
        &mut self,
        object_id: Option<&str>,
        request: Option<&RequestId>,
        turn: &mut Turn<S::Text>,
    ) {
        let is_meant = |follower: &Follower| match &follower.kind {
            Kind::ClientObject(object) => {
                Some(&*object.object_id) == object_id
                    && request.is_none_or(|id| id.as_text() == object.request.as_text())
            }
            Kind::Committed | Kind::Backup => false,
        };
        for index in (0..self.followers.list.len()).rev() {
            if self.followers.list.get(index).is_some_and(is_meant) {
                self.drop_follower(index, turn);
            }
        }
    }

    /// Each client object with how far it has been told.
    pub(in crate::backend) fn client_objects(
        &self,
    ) -> impl Iterator<Item = (&ClientObject, SeqNum)> {
        let followers = self.followers.list.iter();
        followers.filter_map(|follower| match &follower.kind {
            Kind::ClientObject(object) => Some((object, follower.after)),
            Kind::Committed | Kind::Backup => None,
        })
    }
}
