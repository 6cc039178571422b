//! Connections as the world sees them: what went over each, and what has to come of it.

use std::collections::{BTreeSet, VecDeque};

use livestore_sync_worker::auth::Grant;
use livestore_sync_worker::backend::{AskId, ConnectionId};
use livestore_sync_worker::wire::{Family, Generation, Transport};

use crate::client::Heard;

/// An event of a model client. Its marker is its own in the whole world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) seq_num: i64,
    pub(super) parent_seq_num: i64,
    pub(super) marker: u64,
    pub(super) client: usize,
    /// Bytes of padding in its args.
    pub(super) padding: usize,
}

/// A connection, open or over.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
pub(super) struct End {
    pub(super) client: usize,
    pub(super) transport: Transport,
    pub(super) family: Family,
    pub(super) grant: Grant,
    /// What the object in memory calls it.
    pub(super) connection: Option<ConnectionId>,
    /// What the platform keeps with a socket.
    pub(super) attachment: Option<String>,
    /// Whether the object's side is open.
    pub(super) is_open: bool,
    /// What is on its way to the client.
    pub(super) inbox: VecDeque<Incoming>,
    pub(super) requests: Vec<Request>,
    /// Frames of the client.
    pub(super) frames: u64,
    pub(super) opened_ms: u64,
    /// Whether no pull has ever come on it.
    pub(super) awaits_pull: bool,
    /// The pulls of others that its client was asked about, in this life of the object.
    pub(super) probed: BTreeSet<String>,
    /// When its client last pinged the object itself.
    pub(super) asked_ms: Option<u64>,
    /// The lowest request id.
    pub(super) first_request: Option<u64>,
    /// Whether the lifetime is over that a 0.3 client knows.
    pub(super) is_over: bool,
    /// Whether a 0.3 client has been sent no event without a pull.
    pub(super) is_fresh: bool,
    /// The last event it was sent of those that it had shown to lack.
    pub(super) missing_after: Option<i64>,
    /// Whether the answer to a request has begun to be read.
    pub(super) is_streaming: bool,
    /// Whether that is for a client that has started over since.
    pub(super) is_stale: bool,
    /// Whether that has been made as a whole.
    pub(super) is_made: bool,
    /// The last time that the client of a 0.3 socket pinged.
    pub(super) pinged_ms: Option<u64>,
}

/// What reaches a client.
#[derive(Debug)]
pub(super) enum Incoming {
    Frame {
        heard: Heard,
        bytes: usize,
        /// The life of the object that sent it.
        life: u64,
    },
    /// The socket was closed, or the answer ended; `false` where it was cut off.
    Over { is_whole: bool },
}

/// How far a hook has got that comes before something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// It has not been asked, or there is none.
    Closed,
    Asked(AskId),
    Yes,
    No,
}

/// A request of a client.
#[derive(Debug)]
pub(super) struct Request {
    /// As JSON.
    pub(super) id: String,
    pub(super) generation: Generation,
    /// The how-manieth frame of its connection it came in.
    pub(super) frame: u64,
    pub(super) sent_ms: u64,
    pub(super) is_answered: bool,
    pub(super) is_interrupted: bool,
    /// The hook before it is decided.
    pub(super) gate: Gate,
    pub(super) ask: Asked,
}

#[derive(Debug)]
pub(super) enum Asked {
    Push(Push),
    Pull(Pull),
    Ping,
    /// To be called no more, for this pull if one is named, as text.
    Unsubscribe {
        pull: Option<String>,
    },
    /// To empty the store, with the right secret or another.
    Reset {
        is_right: bool,
    },
}

#[derive(Debug)]
pub(super) struct Push {
    pub(super) events: Vec<Event>,
    pub(super) backend_id: Option<String>,
    pub(super) is_foreign: bool,
    /// The lifetime in which it was stored, or found to be.
    pub(super) stored_in: Option<String>,
    /// The hook before it is acknowledged.
    pub(super) acknowledgement: Gate,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Facts that have nothing to do with each other.
pub(super) struct Pull {
    pub(super) live: bool,
    /// Whether it asks for calls of its client.
    pub(super) calls: bool,
    pub(super) backend_id: Option<String>,
    pub(super) is_foreign: bool,
    /// Whether it begins after an event that its client does not have, and perhaps nobody.
    pub(super) is_ahead: bool,
    /// The cursor, then the last event that it was sent.
    pub(super) last: i64,
    pub(super) state: Delivery,
    pub(super) pages: u32,
    /// Whether the object left memory since it began.
    pub(super) has_slept: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Waiting,
    Paging,
    Live,
    Done,
}

impl End {
    pub(super) fn is_socket(&self) -> bool {
        self.transport == Transport::WebSocket
    }

    /// Whether its token has expired by the time its request is decided: sockets are closed then.
    pub(super) fn has_expired(&self, now_ms: u64) -> bool {
        !self.is_socket() && self.grant.is_expired(now_ms)
    }

    pub(super) fn request(&mut self, id: &str) -> Option<&mut Request> {
        // An id that was used again belongs to the newer request.
        self.requests.iter_mut().rev().find(|one| one.id == id)
    }

    /// Bytes on their way that this life of the object knows of.
    pub(super) fn unread_bytes(&self, now_life: u64) -> usize {
        let bytes = self.inbox.iter().map(|incoming| match incoming {
            Incoming::Frame { bytes, life, .. } if *life == now_life => *bytes,
            Incoming::Frame { .. } | Incoming::Over { .. } => 0,
        });
        bytes.sum()
    }

    /// Pages and broadcasts of a pull on their way.
    pub(super) fn unread_of(&self, id: &str) -> usize {
        let incoming = self.inbox.iter();
        let frames = incoming.filter(
            |one| matches!(one, Incoming::Frame { heard, .. } if heard.id().is_some_and(|of| of == id)),
        );
        frames.count()
    }

    pub(super) fn pulls(&self) -> impl Iterator<Item = (&Request, &Pull)> {
        self.requests
            .iter()
            .filter_map(|request| match &request.ask {
                Asked::Pull(pull) => Some((request, pull)),
                _ => None,
            })
    }

    pub(super) fn pulls_mut(&mut self) -> impl Iterator<Item = &mut Pull> {
        let requests = self.requests.iter_mut();
        requests.filter_map(|request| match &mut request.ask {
            Asked::Pull(pull) => Some(pull),
            _ => None,
        })
    }
}

impl Request {
    pub(super) fn push(&self) -> Option<&Push> {
        match &self.ask {
            Asked::Push(push) => Some(push),
            _ => None,
        }
    }

    pub(super) fn push_mut(&mut self) -> Option<&mut Push> {
        match &mut self.ask {
            Asked::Push(push) => Some(push),
            _ => None,
        }
    }
}
