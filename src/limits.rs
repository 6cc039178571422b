//! Every number that bounds something, with its unit, its source and who enforces it.

/// Largest sequence number: 2^53 - 1, the largest integer JavaScript holds exactly.
pub const SEQ_NUM_MAX: u64 = (1 << 53) - 1;

/// Events in one page. *Source*: what sync-cf sends; clients are tuned to it. Enforced by `eventlog`.
pub const PAGE_EVENTS_MAX: u32 = 100;

/// Bytes of one page as JSON, its envelope not counted. *Source*: sync-cf's 900,000, chosen below the
/// 1 MiB that frames had on the platform. An event larger than that is sent alone. Enforced by
/// `store`.
pub const PAGE_BYTES_MAX: usize = 900_000;

/// Bytes of a page that are not events: page info, backend id, punctuation.
pub const PAGE_OVERHEAD_BYTES: usize = 128;

/// Pages of one pull, broadcasts included, that may be on their way without an acknowledgement; what is
/// pushed meanwhile follows in fewer, fuller pages. *Source*: the buffer of the clients holds 16; some
/// hundred chunks queued at a 0.4.0 client that loses its connection end its pull for good. Enforced
/// by `backend`.
pub const WINDOW_PAGES: usize = 16;

/// Milliseconds after which a socket is expected to have pulled. A client that lost its connection without
/// noticing connects again and waits for its old pull; it is asked about that then. *Source*: stores pull
/// as soon as their socket opens. Enforced by `backend` at the next push, and when another socket closes.
pub const PULL_PATIENCE_MS: u64 = 5_000;

/// Pulls that the client of one socket is asked about. *Source*: ours; ids count upwards from few. Enforced by
/// `backend`.
pub const PROBES_MAX: usize = 64;

/// Bytes of events that one turn sends for one pull before it waits, but always at least one page.
/// Bounds what a pull of any length holds in memory. Enforced by `backend`.
pub const TURN_BYTES_MAX: usize = 4_000_000;

/// Bytes that may be on their way on one socket without an acknowledgement; beyond it its pulls wait. One page
/// may be, whatever its size. *Source*: ours, what one turn sends. Enforced by `backend`.
pub const CONNECTION_BYTES_MAX: usize = TURN_BYTES_MAX;

/// The same for a 0.3 socket, whose client acknowledges nothing but is heard of every 25 seconds.
/// *Source*: ours, so that a log of some ten thousand events is pulled at once. Enforced by `backend`.
pub const PLAIN_CONNECTION_BYTES_MAX: usize = 4 * CONNECTION_BYTES_MAX;

/// Bytes that may be on their way on one connection for pulls that were ended early, which nobody acknowledges;
/// beyond it the connection is closed. *Source*: ours, two pulls at their limit. Enforced by `backend`.
pub const ABANDONED_BYTES_MAX: usize = 2 * CONNECTION_BYTES_MAX;

/// Bytes that may be on their way from one object, or wait in it for hooks; beyond it pulls pause.
/// *Source*: an isolate has 128 MB, which objects of the class share; a byte on its way is held about twice,
/// as text and as what the platform has yet to write. Enforced by `backend`.
pub const OBJECT_BYTES_MAX: usize = 32_000_000;

/// Milliseconds for which a client takes nothing before it has to leave, if others wait for the room that it
/// takes up. *Source*: ours, as long as clients wait for a pong. Enforced by `backend`.
pub const STALL_MS: u64 = 10_000;

/// Milliseconds between two pings of a 0.3 client that reads. *Source*: it pings 25 seconds after an answer, and
/// every 5 seconds without one. Enforced by `backend`.
pub const PLAIN_PING_MS: u64 = 20_000;

/// Milliseconds for which a push that is beyond `PUSH_RATE` waits at most. *Source*: clients wait for an answer for
/// longer than that, and it is the only one that each of them understands. Enforced by `backend`.
pub const PUSH_DELAY_MS_MAX: u64 = 10_000;

/// Milliseconds between two looks whether a 0.3 client has been heard of. Enforced by `backend`.
pub const PROBE_MS: u64 = 1_000;

/// Milliseconds after which a 0.3 client that took nothing is looked after no more. *Source*: ours; what may be on its way to
/// it takes as long at 430 kbit/s. Enforced by `backend`.
pub const PLAIN_STALL_MS: u64 = 300_000;

/// Milliseconds for which a 0.3 client that lacks events may still pull by itself, before it is sent them. *Source*: ours; a client
/// that has just started sends its first push and its pull within the same moment. Enforced by `backend`.
pub const PLAIN_MEND_MS: u64 = 2_000;

/// Pulls under way on one connection. *Source*: ours; clients have one per store. Enforced by `backend`.
pub const PULLS_MAX: usize = 256;

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

/// Bytes of memory that a store keeps to pack the next push into. *Source*: ours; most pushes have less. Enforced by
/// `store`.
pub const PACK_BYTES_KEPT: usize = 65_536;

/// Messages in one frame. *Source*: ours; clients send a few at most. Enforced by `wire`.
pub const FRAME_MESSAGES_MAX: usize = 1_000;

/// Bytes of a store id as JSON. *Source*: ours, so that it leaves room in an attachment. Enforced by
/// `route`.
pub const STORE_ID_BYTES_MAX: usize = 4_096;

/// Bytes of a request id, as JSON. *Source*: ours; clients send counters and nanoids.
pub const REQUEST_ID_BYTES_MAX: usize = 128;

/// Bytes of a trace id that is repeated in log lines. *Source*: ours; real ones are 32 digits or a word.
pub const TRACE_ID_BYTES_MAX: usize = 64;

/// Bytes of what a socket remembers over an eviction. *Source*: the platform's 16,384, less what its
/// serialisation adds. Enforced by `backend`, which refuses a pull that would not fit.
pub const ATTACHMENT_BYTES_MAX: usize = 16_000;

/// Bytes of an attachment that live pulls leave free, so that a connection full of them can still pull
/// once in a while. Enforced by `backend`.
pub const ATTACHMENT_RESERVE_BYTES: usize = 1_000;

/// Bytes of one page over HTTP or DO-RPC, and bytes of events after which one turn ends for a pull there: what it has sent
/// is one piece of a streamed answer. An event larger than that is sent alone. *Source*: ours, so that many readers fit
/// into [`OBJECT_BYTES_MAX`] and small pages still go together. Enforced by `store` and `backend`.
pub const PIECE_BYTES_MAX: usize = 131_072;

/// Bytes of pages in an answer over HTTP that leaves whole; a larger one is a stream, so that it counts as on its way
/// until its reader has taken it. Enforced by `edge`.
pub const WHOLE_ANSWER_BYTES_MAX: usize = 131_072;

/// Bytes of bodies that an object reads at a time; others wait for their turn. One may be, whatever its size. Those of at most
/// 64 kB are not counted. Enforced by `edge`.
pub const BODIES_BYTES_MAX: usize = FRAME_BYTES_CEILING;

/// Calls that an object may fail to take, one after the other, before it is dropped. Enforced by
/// `backend`.
pub const CALL_ATTEMPTS_MAX: u32 = 8;

/// Milliseconds after the end of a pull before its object is called. *Source*: the 0.4.0 client takes
/// note of its pull once it has read the whole answer, and drops calls that come before. Enforced by
/// `backend`.
pub const CALL_SETTLE_MS: u64 = 1_000;

/// Milliseconds before the first repetition of a failed call; doubled at each one, so that the last is
/// made two minutes after the first. Enforced by `backend`.
pub const CALL_RETRY_MS: u64 = 1_000;

/// Milliseconds between two calls of an object that fails at most. Enforced by `backend`.
pub const CALL_RETRY_MS_MAX: u64 = 64_000;

/// Milliseconds after which a call without an answer is taken for failed. *Source*: ours, three times as long as
/// clients wait for a pong. Enforced by `backend`.
pub const CALL_DEADLINE_MS: u64 = 30_000;

/// Milliseconds before a failed hook is told of the same events again; doubled at each failure.
/// Enforced by `backend`.
pub const HOOK_RETRY_MS: u64 = 1_000;

/// Milliseconds between two tries at most. Enforced by `backend`.
pub const HOOK_RETRY_MS_MAX: u64 = 60_000;

/// Milliseconds after which `on_committed` is taken for failed. Enforced by `backend`.
pub const HOOK_DEADLINE_MS: u64 = 60_000;

/// Deliveries to one follower while the clock stands still, after which the alarm goes on: one that never waits
/// must not keep a turn from ending. Enforced by `backend`.
pub const BURST_DELIVERIES_MAX: u32 = 16;

/// Seconds for which events are collected before they are copied to the backup, without `BACKUP_DELAY_SECONDS`.
/// *Source*: ours; in that time one row is written for the alarm and one for the position. Enforced by `backend`.
pub const BACKUP_DELAY_S: u64 = 5;

/// Seconds that `BACKUP_DELAY_SECONDS` may say.
pub const BACKUP_DELAY_S_MAX: u64 = 3_600;

/// Milliseconds in which the same trouble with the backup is told of once. Enforced by `backend`.
pub const BACKUP_TOLD_MS: u64 = 60_000;

/// Characters of what D1 says of a failure that are repeated. *Source*: ours; a sentence. Enforced by `backend`.
pub const BACKUP_MESSAGE_CHARS_MAX: usize = 300;

/// Events in one batch of the backup. *Source*: ours; D1 takes thousands of rows at once. Enforced by `store`.
pub const MIRROR_EVENTS_MAX: u32 = 2_000;

/// Bytes of the events of one batch of the backup, 100 added for each. *Source*: quoted as JSON they double at most, save
/// for what no client sends, and D1 binds a text of [`STRING_BYTES_CEILING`]. An event above it is copied alone.
/// Enforced by `store`.
pub const MIRROR_BYTES_MAX: i64 = 800_000;

/// Batches of the backup for one alarm, after which the next goes on. *Source*: a batch has 3 queries, and on the Free plan
/// D1 answers 50 to one event of the platform. Enforced by `backend`.
pub const MIRROR_BURST_MAX: u32 = 10;

/// Milliseconds before a failed batch of the backup is tried again; doubled at each failure. Enforced by `backend`.
pub const MIRROR_RETRY_MS: u64 = 5_000;

/// Milliseconds between two tries at most. *Source*: ours; D1's daily limits end at midnight. Enforced by `backend`.
pub const MIRROR_RETRY_MS_MAX: u64 = 600_000;

/// Milliseconds after which a batch without an answer is taken for failed. *Source*: D1 ends a query after 30 seconds.
/// Enforced by `backend`, and by `edge`, which says so.
pub const MIRROR_DEADLINE_MS: u64 = 60_000;

/// Milliseconds of a day.
pub const DAY_MS: u64 = 86_400_000;

/// Days after which events of the backup are folded, without `COMPACT_AFTER_DAYS`. *Source*: for so long D1 itself can be
/// taken back to an earlier moment, and with it the rows as they were.
pub const COMPACT_AFTER_DAYS: u64 = 30;

/// Days that `COMPACT_AFTER_DAYS` may say.
pub const COMPACT_AFTER_DAYS_MAX: u64 = 3_650;

/// Events in one segment of the backup. *Source*: ours; as many as are copied and brought back at once, and of as many bytes.
/// Enforced by `backend`.
pub const SEGMENT_EVENTS_MAX: u32 = 2_000;

/// Events that a segment has at least, so that a store with few has not many small ones, unless it comes to
/// [`SEGMENT_BYTES_MIN`]. Enforced by `store`.
pub const SEGMENT_EVENTS_MIN: i64 = 500;

/// Bytes of a segment that has fewer. *Source*: ours; half of what fits. Enforced by `store`.
pub const SEGMENT_BYTES_MIN: i64 = MIRROR_BYTES_MAX / 2;

/// Events of a segment which can become no more: another one follows, or an event that is too large. Enforced by `store`.
pub const SEGMENT_REST_EVENTS_MIN: i64 = 16;

/// Queries of the backup for one alarm by which events are folded, after which the next goes on. *Source*: on the Free plan
/// D1 answers 50 to one event of the platform, of which a copy may need 30. Enforced by `backend`.
pub const FOLD_QUERIES_MAX: usize = 16;

/// Milliseconds before it is looked again whether something may be folded. Enforced by `backend`.
pub const FOLD_LOOK_MS: u64 = DAY_MS;

/// Milliseconds for which nothing is folded after a step of a verification, or while a log is brought in. Enforced by
/// `backend`.
pub const FOLD_PUT_OFF_MS: u64 = 60_000;

/// Events that are brought back from the backup at once. *Source*: ours; as many as are copied. Enforced by `backend`.
pub const FETCH_EVENTS_MAX: u32 = 2_000;

/// Queries of the backup for one alarm while a log is brought back, after which the next goes on. *Source*: on the Free
/// plan D1 answers 50 to one event of the platform, and a copy may be due as well. Enforced by `backend`.
pub const FETCH_BURST_MAX: u32 = 15;

/// Milliseconds before a failed query is tried again; doubled at each failure. Enforced by `backend`.
pub const FETCH_RETRY_MS: u64 = 1_000;

/// Milliseconds between two tries at most. *Source*: ours; nobody is served meanwhile. Enforced by `backend`.
pub const FETCH_RETRY_MS_MAX: u64 = 60_000;

/// Lifetimes of a store that are listed, the latest. *Source*: ours. Enforced by `store`.
pub const FETCH_LIFETIMES_MAX: u32 = 100;

/// Times that a backup is looked at before a restore: once more for the segment in which the log is to end, and for what is
/// folded meanwhile. Enforced by `edge`.
pub const SURVEYS_MAX: u32 = 4;

/// Milliseconds for which a store that waits for its operator's decision is not asked about again. *Source*: ours. Enforced by
/// `edge`.
pub const HELD_MS: u64 = 60_000;

/// Milliseconds in which D1 has to say whether a new store has a backup. *Source*: ours; its first client waits.
/// Enforced by `edge`.
pub const BIRTH_DEADLINE_MS: u64 = 10_000;

/// Rows of D1 that are deleted at once, of a store that is deleted; fewer after a failure. *Source*: ours; D1 advises against
/// statements that touch very many. Enforced by `backend`.
pub const DELETE_ROWS_MAX: u32 = 5_000;

/// Rows that are deleted at once, however often that fails.
pub const DELETE_ROWS_MIN: u32 = 50;

/// Bytes of the rows that are deleted at once; one row may be, whatever its size. *Source*: ours; large rows lie in many
/// pages. Enforced by `store`.
pub const DELETE_BYTES_MAX: i64 = 50_000_000;

/// Batches of deletions for one alarm, after which the next goes on. *Source*: a batch has 4 queries, and on the Free plan D1
/// answers 50 to one event of the platform, and the first of a deletion asks some more. Enforced by `backend`.
pub const DELETE_BURST_MAX: u32 = 8;

/// Days that `TTL_DAYS` may say. *Source*: ours; a century.
pub const TTL_DAYS_MAX: u64 = 36_500;

/// Queries of D1 that one answer of a verification uses, without `queries`. *Source*: on the Free plan D1 answers 50 to one
/// event of the platform. Enforced by `backend`.
pub const VERIFY_QUERIES: u32 = 40;

/// Queries that `queries` says at least, so that each answer gets further: the tables may be made, a range compared and
/// repaired, and the lifetime. Enforced by `route`.
pub const VERIFY_QUERIES_MIN: u32 = 20;

/// Queries that `queries` may say. *Source*: on the Paid plan D1 answers 1,000. Enforced by `route`.
pub const VERIFY_QUERIES_MAX: u32 = 900;

/// Events that D1 names in one answer which are in the mirror alone. *Source*: ours; some ten kilobytes. Enforced by `store`.
pub const VERIFY_EXTRA_MAX: u32 = 2_000;

/// Events of the log that are counted in one turn. *Source*: ours; some ten milliseconds. Enforced by `store`.
pub const VERIFY_TALLIED_MAX: u32 = 20_000;

/// Times that the mirror may have grown while it is repaired, before that is left to the next verification. Enforced by
/// `backend`.
pub const VERIFY_SETTLED_MAX: u32 = 3;

/// Stores in one answer of the index, without `limit`.
pub const STORES_LISTED: u32 = 100;

/// Stores that `limit` may ask for. *Source*: ours; some hundred kilobytes. Enforced by `route`.
pub const STORES_LISTED_MAX: u32 = 1_000;

/// Milliseconds before a follower is told again after storage failed. Enforced by `backend`.
pub const STORE_RETRY_MS: u64 = 10_000;

/// Milliseconds between two looks at a client object that is still reading the answer to its pull, while there is
/// something to tell it. Enforced by `backend`.
pub const HELD_CHECK_MS: u64 = 60_000;

/// Milliseconds before an alarm that could not do anything goes off again. Enforced by `edge`.
pub const ALARM_RETRY_MS: u64 = 60_000;

/// Bytes of the body of a request to the administration. Enforced by `edge`.
pub const ADMIN_BODY_BYTES_MAX: usize = 65_536;

/// For how long a ticket opens the live route. *Units*: milliseconds. A page takes one for each connection, and uses it at once.
pub const TICKET_MS: u64 = 60_000;

/// Subjects of tokens whose pushes are counted at a time. Enforced by `backend`.
pub const SUBJECTS_KEPT: usize = 1_024;

/// Bytes of what a connection keeps of its token and headers, as JSON. *Source*: ours, half of an
/// attachment, so that it leaves room for pulls. Enforced by `route`.
pub const GRANT_BYTES_MAX: usize = 8_192;

/// Levels of arrays and objects in one message of the Durable Object transport. *Source*: ours, so that
/// what is open while one is read stays below a megabyte; msgpackr gives up at a few thousand. Enforced
/// by `wire`.
pub const MSGPACK_DEPTH_MAX: usize = 10_000;

/// Bytes of a JSON Web Token. *Source*: ours; servers refuse headers larger than that, and tokens travel
/// in headers elsewhere. Enforced by `auth`.
pub const JWT_BYTES_MAX: usize = 8_192;

/// Members of a token's header, of its claims, or of a key; each is compared with those before it.
/// *Source*: ours; tokens in the field have some dozens. Enforced by `auth`.
pub const JSON_MEMBERS_MAX: usize = 256;

/// Bytes of a key set. *Source*: ours; the largest in the field, with certificates, have some ten
/// thousand. Enforced by `auth`.
pub const JWKS_BYTES_MAX: usize = 131_072;

/// Redirects that are followed on the way to a key set, all on its own host. *Source*: ours; issuers need one or
/// none. Enforced by `edge`.
pub const JWKS_REDIRECTS_MAX: u32 = 3;

/// Milliseconds for which a fetched key set is taken for current, so that a key that was withdrawn is
/// not accepted for longer. Enforced by `auth`.
pub const JWKS_AGE_MAX_MS: u64 = 600_000;

/// Milliseconds between two tries to fetch the key set. Enforced by `auth`.
pub const JWKS_RETRY_MS: u64 = 60_000;

/// Bytes below which an operator is told that a token or a secret is weak. *Source*: ours; 16 random letters are beyond guessing.
/// Enforced by nobody.
pub const SECRET_BYTES_MIN: usize = 16;

/// Log lines about variables that are not taken as they are set, in the life of an isolate. *Source*: ours; a deployment has some, but a
/// host may run many in one isolate. Enforced by `edge`.
pub const WARNINGS_TOLD_MAX: usize = 64;

/// Milliseconds between two log lines about requests that the Worker refused for one reason. *Source*: ours, so
/// that those who are not let in do not fill the log. Enforced by `route`.
pub const REFUSAL_TOLD_MS: u64 = 60_000;

/// Key sets that are kept, each by its address. *Source*: ours; a deployment has one, and an isolate may run
/// a few. Enforced by `edge`.
pub const KEY_SETS_KEPT: usize = 16;

/// Bytes that `JWT_SECRET` has at least. *Source*: RFC 7518 section 3.2. Enforced by `auth`.
pub const JWT_SECRET_BYTES_MIN: usize = 32;

/// Latest moment that is told from later ones, in milliseconds since the epoch. *Source*: 2^53 - 1, the
/// largest integer JavaScript holds exactly. Enforced by `auth`.
pub const TIME_MS_MAX: u64 = (1 << 53) - 1;

/// Seconds that `JWT_GRACE_SECONDS` may add to a token's life. *Source*: ours; a day. Enforced by `auth`.
pub const JWT_GRACE_SECONDS_MAX: u64 = 86_400;

/// Refusals in a row, for not knowing the head, after which a client is called stuck. *Source*: ours; a
/// client that rebases wins within a few tries. Enforced by `backend`.
pub const STUCK_REFUSALS: u32 = 10;

/// Clients whose refusals are counted at a time.
pub const STUCK_CLIENTS_KEPT: usize = 64;

/// Events that a live pull lacks before it can be called stuck.
pub const STUCK_LAG_EVENTS: u64 = 1_000;

/// Milliseconds for which it has acknowledged nothing by then.
pub const STUCK_PULL_MS: u64 = 30_000;

/// Errors that are kept for an operator.
pub const ERRORS_KEPT: usize = 20;

/// Bytes that are kept for an operator of how a client, or who stands behind it, is called.
pub const NAME_BYTES_KEPT: usize = 200;

/// Sockets that a store's state lists; all are counted.
pub const SOCKETS_LISTED: usize = 1_000;

/// Lines of a page of exported events.
pub const EXPORT_EVENTS_MAX: u32 = 100;

/// Bytes of the time at which an event was stored, as it is read from a file. *Source*: ours; ISO 8601 with milliseconds
/// has 24. Enforced by `transfer`.
pub const CREATED_AT_BYTES_MAX: usize = 64;

/// Bytes of one event in a file, as JSON. *Source*: ours, what an event of [`EVENT_BYTES_CEILING`] has at most: its args may
/// be quoted, by which they double at most, and the rest may be escaped throughout. Enforced by `transfer`.
pub const TRANSFER_EVENT_BYTES_MAX: usize = 2 * EVENT_BYTES_CEILING
    + 6 * (EVENT_NAME_BYTES_MAX + 2 * ORIGIN_ID_BYTES_MAX + CREATED_AT_BYTES_MAX)
    + 512;

/// Bytes of a batch of events that were read from a file, as a JSON array; an event above it is one alone. *Source*: ours,
/// half of [`STRING_BYTES_CEILING`]. Enforced by `transfer`.
pub const TRANSFER_BATCH_BYTES_MAX: usize = STRING_BYTES_CEILING / 2;

/// Bytes at the beginning of a file in which it has to show what it is. *Source*: ours; a brace and the name of a member.
/// Enforced by `transfer`.
pub const TRANSFER_BEGINNING_BYTES: usize = 256;

/// Sockets of one object. *Source*: the platform.
pub const CONNECTIONS_CEILING: usize = 32_768;

/// Bytes of one store's database. *Source*: the platform's 10 GB, less what a push may still add.
pub const STORE_BYTES_CEILING: u64 = 9_900_000_000;

/// Bytes by which a push can enlarge the database beyond twice its events: pages that are split, and
/// those of the context. *Source*: ours, four pages of 4,096 bytes.
pub const PUSH_GROWTH_BYTES: u64 = 16_384;

/// Seconds' worth of `PUSH_RATE` that may come at once. *Source*: ours; a client that was offline has
/// much to push.
pub const PUSH_BURST_S: i64 = 10;

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
    /// `MAX_STORE_BYTES`: bytes of one store's database, beyond which nothing is pushed.
    pub store_bytes_max: u64,
    /// `MAX_CONNECTIONS`: sockets of one store.
    pub connections_max: usize,
    /// `PUSH_RATE`: pushes per second to one store, in bursts of up to ten seconds' worth, of each subject that
    /// a token names (its claim `sub`); those whose token names none share one. `None` is without bound.
    pub push_rate: Option<u32>,
}

impl Limits {
    /// Those of a deployment that sets none.
    pub const DEFAULT: Self = Self {
        event_bytes_max: 1_900_000,
        batch_events_max: 10_000,
        frame_bytes_max: FRAME_BYTES_CEILING,
        store_bytes_max: STORE_BYTES_CEILING,
        connections_max: CONNECTIONS_CEILING,
        push_rate: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
