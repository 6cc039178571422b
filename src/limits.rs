//! Every number that bounds something, with its unit, its source and who enforces it.

/// Largest sequence number: 2^53 - 1, the largest integer JavaScript holds exactly.
pub const SEQ_NUM_MAX: u64 = (1 << 53) - 1;

/// Events in one page. *Source*: what sync-cf sends; clients are tuned to it. Enforced by `eventlog`.
pub const PAGE_EVENTS_MAX: u32 = 100;

/// Bytes of one page as JSON, its envelope not counted. *Source*: sync-cf's 900,000, chosen below the
/// 1 MiB that frames had on the platform. An event larger than that is sent alone. Enforced by
/// `eventlog`.
pub const PAGE_BYTES_MAX: usize = 900_000;

/// Bytes of a page that are not events: page info, backend id, punctuation.
pub const PAGE_OVERHEAD_BYTES: usize = 128;

/// Pages of one pull, broadcasts included, that may be on their way without an acknowledgement; what is
/// pushed meanwhile follows in fewer, fuller pages. *Source*: the buffer of the clients holds 16; some
/// hundred chunks queued at a 0.4.0 client that loses its connection end its pull for good. Enforced
/// by `backend`.
pub const WINDOW_PAGES: u32 = 16;

/// Milliseconds after which a socket is expected to have pulled. A client that lost its connection
/// without noticing may connect again and never pull again; closing the socket makes it pull.
/// *Source*: stores pull as soon as their socket opens. Enforced by `backend` at the next push.
pub const PULL_PATIENCE_MS: u64 = 5_000;

/// Bytes of events that one turn sends for one pull before it waits, but always at least one page.
/// Bounds what a pull of any length holds in memory. Enforced by `backend`.
pub const TURN_BYTES_MAX: usize = 4_000_000;

/// Bytes of an event's name. *Source*: ours; names in the field are below 100. Enforced by [`Batch`].
///
/// [`Batch`]: crate::event::Batch
pub const EVENT_NAME_BYTES_MAX: usize = 4_095;

/// Bytes of a client id or a session id. *Source*: ours; clients use nanoids. Enforced by [`Batch`].
///
/// [`Batch`]: crate::event::Batch
pub const ORIGIN_ID_BYTES_MAX: usize = 1_024;

/// Bytes of one event that can be stored, so that its JSON in a page is still one string. *Source*: the
/// platform's row and string limit, [`STRING_BYTES_CEILING`], less what escapes can add to its name
/// and ids, and the punctuation around it.
pub const EVENT_BYTES_CEILING: usize = 1_950_000;

/// Bytes of one string, one BLOB or one row. *Source*: the platform's SQLite.
pub const STRING_BYTES_CEILING: usize = 2_000_000;

/// Bytes of events that are handed to SQLite as one BLOB, an event larger than that alone. Enforced by
/// `store`.
pub const PACK_BYTES_MAX: usize = 1_000_000;

/// Messages in one frame. *Source*: ours; clients send a few at most. Enforced by `wire`.
pub const FRAME_MESSAGES_MAX: usize = 1_000;

/// Bytes of a store id as JSON. *Source*: ours, so that it leaves room in an attachment. Enforced by
/// `route`.
pub const STORE_ID_BYTES_MAX: usize = 4_096;

/// Bytes of a request id, as JSON. *Source*: ours; clients send counters and nanoids.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Bytes of what a socket remembers over an eviction. *Source*: the platform's 16,384, less what its
/// serialisation adds. Enforced by `backend`, which refuses a pull that would not fit.
pub const ATTACHMENT_BYTES_MAX: usize = 16_000;

/// Bytes of an attachment that live pulls leave free, so that a connection full of them can still pull
/// once in a while. Enforced by `backend`.
pub const ATTACHMENT_RESERVE_BYTES: usize = 1_000;

/// Sockets of one object. *Source*: the platform.
pub const CONNECTIONS_CEILING: usize = 32_768;

/// Bytes of one frame from a client. *Source*: the platform.
pub const FRAME_BYTES_CEILING: usize = 32 * 1024 * 1024;

const _: () = assert!(PAGE_BYTES_MAX > 2 * PAGE_OVERHEAD_BYTES);
const _: () = assert!(
    EVENT_BYTES_CEILING < 1 << 21,
    "`store::pack` has 21 bits for a length"
);
const _: () = assert!(
    EVENT_NAME_BYTES_MAX < 1 << 12,
    "`store::pack` has 12 bits for a name"
);
const _: () = assert!(
    STRING_BYTES_CEILING < 1 << 26,
    "`store::pack` has 26 bits for a position"
);
const _: () = assert!(
    EVENT_BYTES_CEILING + 6 * (EVENT_NAME_BYTES_MAX + 2 * ORIGIN_ID_BYTES_MAX) + 512
        <= STRING_BYTES_CEILING,
    "an accepted event can be read again, whatever its escapes"
);

/// The limits that a deployment can set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `MAX_EVENT_BYTES`: bytes of an event's name, args, client id and session id.
    pub event_bytes_max: usize,
    /// `MAX_BATCH_EVENTS`: events in one push. Clients send at most 100.
    pub batch_events_max: usize,
    /// `MAX_FRAME_BYTES`: bytes of one frame from a client.
    pub frame_bytes_max: usize,
    /// `MAX_CONNECTIONS`: sockets of one store.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 1_900_000,
            batch_events_max: 10_000,
            frame_bytes_max: FRAME_BYTES_CEILING,
            connections_max: CONNECTIONS_CEILING,
        }
    }
}
