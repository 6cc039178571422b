//! The routes of the administration, `/admin/v1`: who may ask, for what, of which store.
//!
//! Owns reading such a request, which the object answers. Without `ADMIN_SECRET` these routes do not exist.
//! Everything is JSON, errors too.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Answer, Request, origins};
use crate::auth::{AdminSecret, bearer};
use crate::config::{Deployment, Origins};
use crate::event::{SeqNum, StoreId};
use crate::json;
use crate::limits::{
    STORES_LISTED, STORES_LISTED_MAX, VERIFY_QUERIES, VERIFY_QUERIES_MAX, VERIFY_QUERIES_MIN,
};
use crate::store::comparison::Repair;
use crate::store::recall::{Lifetime, UpTo};

/// What all routes begin with.
pub const PREFIX: &str = "/admin/v1/";

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// `GET stores/<id>`: the store's state.
    State,
    /// `GET stores/<id>/events`: events as lines of JSON.
    Events {
        /// Those after this one.
        after: SeqNum,
        /// So many at most; `None` for all.
        limit: Option<u64>,
    },
    /// `GET stores/<id>/export`: the whole log as a file.
    Export,
    /// `GET stores/<id>/metrics` or `GET metrics?storeId=<id>`: counters for Prometheus.
    Metrics,
    /// `POST stores/<id>/reset`: empties the store; the body has to name it.
    Reset,
    /// `POST stores/<id>/disconnect`: closes every socket.
    Disconnect,
    /// `GET stores/<id>/live`, an upgrade: a socket on which an operator pulls, as a client does that may only read.
    Live,
    /// `DELETE stores/<id>`: deletes the store for good; `confirm` has to name it.
    Delete,
    /// `POST stores/<id>/restore`: brings a log back from the backup; the body is a [`Restore`].
    Restore,
    /// `POST stores/<id>/adopt`: takes over a log that sync-cf kept in D1; the body is an [`Adopt`].
    Adopt,
    /// `DELETE stores/<id>/restore`: ends that, or an import.
    CancelRestore,
    /// `POST stores/<id>/import`: brings a log in from a file, which is the body.
    Import(Import),
    /// `GET stores/<id>/verify`, `POST` where it repairs: compares the backup with the log.
    Verify {
        /// What is after this event.
        after: SeqNum,
        /// Queries of D1 that it may take.
        queries: u32,
        /// What is done about differences.
        repair: Repair,
    },
}

/// How a file is to be brought in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // One for each thing that can be asked for.
pub struct Import {
    /// `at`: the body is the rest of the file from this byte on.
    pub at: Option<u64>,
    /// `more`: the file goes on behind the body.
    pub goes_on: bool,
    /// `lines`: events without anything around them are accepted.
    pub accepts_lines: bool,
    /// `replace`, `keepBackendId` and `lastKnownHead`, as in [`Restore`].
    pub replace: bool,
    /// See `replace`.
    pub keep_backend_id: bool,
    /// See `replace`.
    pub last_known_head: Option<u64>,
}

/// What is to be brought back, and how.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools)] // One for each thing that can be asked for.
pub struct Restore {
    /// The store, named once more.
    pub store_id: StoreId,
    /// Which log; the store's own that began last where nothing is said.
    #[serde(default)]
    pub from: From,
    /// Up to where; all of it where nothing is said.
    pub up_to: Option<UpTo>,
    /// Whether to say what would be kept and lost, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Whether events that the store holds are replaced.
    #[serde(default)]
    pub replace: bool,
    /// Whether an event may continue from another than the one before it, as it may be in logs of sync-cf.
    #[serde(default)]
    pub allow_gaps: bool,
    /// Whether the lifetime goes on, so that clients that know it keep what they have.
    #[serde(default)]
    pub keep_backend_id: bool,
    /// The last event that was acknowledged, as far as anybody knows.
    pub last_known_head: Option<u64>,
}

/// Which log of the backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct From {
    /// Of this store.
    pub store_id: Option<StoreId>,
    /// This lifetime of it.
    pub backend_id: Option<String>,
}

impl Restore {
    /// Reads the body of a request about the store `store_id`.
    ///
    /// # Errors
    /// It is no such JSON, or names another store (400).
    pub fn read(body: &str, store_id: &StoreId) -> Result<Self, Refusal> {
        read_about(body, store_id, |ask: &Self| &ask.store_id)
    }

    /// The whole of a store's own backup, as a new lifetime.
    #[must_use]
    pub fn of(store_id: &StoreId) -> Self {
        Self {
            store_id: store_id.clone(),
            from: From::default(),
            up_to: None,
            dry_run: false,
            replace: false,
            allow_gaps: false,
            keep_backend_id: false,
            last_known_head: None,
        }
    }

    /// The one that is meant of the lifetimes of a backup, the latest of which comes first.
    ///
    /// # Errors
    /// There is none (404).
    pub fn choose<'a>(&self, lifetimes: &'a [Lifetime]) -> Result<&'a Lifetime, Refusal> {
        let chosen = match &self.from.backend_id {
            None => lifetimes.first(),
            Some(wanted) => lifetimes.iter().find(|one| one.backend_id == *wanted),
        };
        chosen.ok_or_else(|| Refusal::new(404, "there is no such backup"))
    }

    /// The store whose backup it is.
    #[must_use]
    pub fn from_store<'a>(&'a self, own: &'a StoreId) -> &'a StoreId {
        self.from.store_id.as_ref().unwrap_or(own)
    }
}

/// How a log that sync-cf kept in D1 is to be taken over.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Adopt {
    /// The store, named once more.
    pub store_id: StoreId,
    /// Whether to say what there is, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// What becomes of the head if it is above the end of the log.
    pub head: Option<AdoptHead>,
    /// Whether a log is taken that another store has taken, or may have written to.
    #[serde(default)]
    pub shared: bool,
}

impl Adopt {
    /// Reads the body of a request about the store `store_id`.
    ///
    /// # Errors
    /// As [`Restore::read`].
    pub fn read(body: &str, store_id: &StoreId) -> Result<Self, Refusal> {
        read_about(body, store_id, |ask: &Self| &ask.store_id)
    }
}

fn read_about<'de, T: Deserialize<'de>>(
    body: &'de str,
    store_id: &StoreId,
    named: impl Fn(&T) -> &StoreId,
) -> Result<T, Refusal> {
    let nothing = |message: &str| Refusal::new(400, &format!("nothing was done: {message}"));
    let ask: T = json::object(body)
        .map_err(|error| nothing(&format!("the body does not parse: {error}")))?;
    if *named(&ask) != *store_id {
        return Err(nothing(
            "storeId in the body has to be the id of this store",
        ));
    }
    Ok(ask)
}

/// What becomes of a stored head that is above the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AdoptHead {
    /// The store goes on from it: no number that was acknowledged is given to another event.
    Stored,
    /// It goes on from the end of the log, as another lifetime.
    Log,
}

/// `GET stores`: which stores have a backup, with their heads and times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Those whose ids follow this one.
    pub after: Option<StoreId>,
    /// So many at most.
    pub limit: u32,
}

impl Listing {
    /// The answer: `lines` are JSON objects, one for each store, and `next` is where the rest begins, if there may be one.
    #[must_use]
    pub fn answer(&self, lines: &[String], next: Option<&str>) -> Answer {
        let next = next.map_or_else(|| "null".to_owned(), json::quote);
        let body = format!("{{\"stores\":[{}],\"next\":{next}}}\n", lines.join(","));
        Answer::json(200, body)
    }

    /// The answer where D1 says `message` instead.
    #[must_use]
    pub fn failed(&self, message: &str) -> Answer {
        if message.contains("no such table") {
            // Nothing has been copied yet.
            return self.answer(&[], None);
        }
        Answer::json(502, Refusal::new(502, &format!("D1: {message}")).body)
    }

    /// The answer of a deployment without a database.
    #[must_use]
    pub fn no_database(&self) -> Answer {
        let message = "stores are listed from their backups, and no D1 database is bound as DB";
        Answer::json(404, Refusal::new(404, message).body)
    }
}

/// The answer to `GET config`.
#[must_use]
pub fn description(deployment: &Deployment<'_>) -> Answer {
    Answer::json(200, format!("{}\n", deployment.to_json()))
}

/// What a request to the administration is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// One store.
    Store(StoreId, Ask),
    /// All of them.
    Stores(Listing),
    /// `POST stores/<id>/live`: a ticket for [`Ask::Live`].
    Ticket(StoreId),
    /// [`Ask::Live`] of this store, if there is a ticket for it in the subprotocols.
    LiveByTicket(StoreId),
    /// `GET config`: the variables of the deployment.
    Config,
}

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// What is wrong, in words.
    pub message: String,
    /// The same as the body of an answer, in JSON.
    pub body: String,
}

impl Refusal {
    /// A refusal in words.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn new(status: u16, message: &str) -> Self {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a str,
        }
        let mut body = serde_json::to_string(&Body { error: message }).unwrap_or_default();
        body.push('\n');
        Self {
            status,
            message: message.to_owned(),
            body,
        }
    }
}

impl Refusal {
    /// Of what cannot be done with a store that is being deleted.
    #[must_use]
    pub fn being_deleted() -> Self {
        Self::new(409, "the store is being deleted: see the state")
    }
}

/// Reads a request to the administration, whose secret is `secret`.
///
/// # Errors
/// It does not have the secret (401), or there is nothing there (404), or not by this method (405), or
/// a parameter does not parse (400).
#[cold]
#[inline(never)]
pub(super) fn read(request: &Request<'_>, secret: &AdminSecret) -> Result<Asked, Refusal> {
    let bearer = request.authorization.and_then(bearer);
    // A page that opens a socket cannot say who it is: its ticket is looked at once it is known for which store.
    let has_secret = bearer.is_some_and(|bearer| secret.is(bearer));
    let is_by_ticket = || request.authorization.is_none() && is_upgrade_to_live(request);
    if !has_secret && !is_by_ticket() {
        let message = "the header 'Authorization: Bearer <ADMIN_SECRET>' is missing or wrong";
        return Err(Refusal::new(401, message));
    }
    let path = request.path.strip_prefix(PREFIX).ok_or_else(no_route)?;
    let parameters = Parameters(request.query);
    if path == "stores" {
        takes("GET", request.method)?;
        let limit = parameters.number("limit")?.unwrap_or(STORES_LISTED.into());
        let after = parameters
            .get("after")
            .map(|after| StoreId::new(after.into_owned()));
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        if !(1..=STORES_LISTED_MAX).contains(&limit) {
            let message = format!("limit must be an integer from 1 to {STORES_LISTED_MAX}");
            return Err(Refusal::new(400, &message));
        }
        return Ok(Asked::Stores(Listing { after, limit }));
    }
    if path == "config" {
        takes("GET", request.method)?;
        return Ok(Asked::Config);
    }
    let (store_id, action) = if path == "metrics" {
        let store_id = parameters.get("storeId");
        let store_id = store_id.ok_or_else(|| Refusal::new(400, "storeId is missing"))?;
        (store_id.into_owned(), "metrics")
    } else {
        let rest = path.strip_prefix("stores/").ok_or_else(no_route)?;
        let (id, action) = rest.split_once('/').unwrap_or((rest, ""));
        let id = percent_encoding::percent_decode_str(id).decode_utf8();
        let id = id.map_err(|_| Refusal::new(400, "the store id is not UTF-8"))?;
        (id.into_owned(), action)
    };
    if action == LIVE && request.method == "POST" {
        return Ok(Asked::Ticket(StoreId::new(store_id)));
    }
    let ask = Ask::read(request.method, action, request.query)?;
    if ask == Ask::Delete {
        parameters.confirm(&store_id)?;
    }
    let store_id = StoreId::new(store_id);
    if ask == Ask::Live {
        check_live(request)?;
        if !has_secret {
            return Ok(Asked::LiveByTicket(store_id));
        }
    }
    Ok(Asked::Store(store_id, ask))
}

/// The action of [`Ask::Live`].
const LIVE: &str = "live";

/// Whether a request asks for the socket of a store.
fn is_upgrade_to_live(request: &Request<'_>) -> bool {
    let action = request.path.rsplit_once('/').map(|(_, action)| action);
    action == Some(LIVE) && request.method == "GET" && request.is_upgrade()
}

/// Whether a socket is asked for, and not by a page of another origin, whichever pages may sync.
fn check_live(request: &Request<'_>) -> Result<(), Refusal> {
    if !request.is_upgrade() {
        let message = "live is a WebSocket: ask for an upgrade, or by POST for a ticket";
        return Err(Refusal::new(426, message));
    }
    if let Some(origin) = origins::forbidden(&Origins::SameOrigin, request) {
        let origin: String = origin.chars().take(200).collect();
        let message =
            format!("a page of {origin} may not use the administration of another origin");
        return Err(Refusal::new(403, &message));
    }
    Ok(())
}

impl Ask {
    /// What a request of this method asks for by the path below a store, and the query.
    fn read(sent: &str, action: &str, query: &str) -> Result<Self, Refusal> {
        let parameters = Parameters(query);
        let (method, ask) = match action {
            "" if sent == "DELETE" => ("DELETE", Self::Delete),
            "" => ("GET", Self::State),
            "events" => {
                let (after, limit) = (parameters.after()?, parameters.number("limit")?);
                ("GET", Self::Events { after, limit })
            }
            "export" => ("GET", Self::Export),
            "verify" => parameters.verify()?,
            "metrics" => ("GET", Self::Metrics),
            "reset" => ("POST", Self::Reset),
            "disconnect" => ("POST", Self::Disconnect),
            LIVE => ("GET", Self::Live),
            "import" => ("POST", Self::Import(parameters.import()?)),
            "restore" if sent == "DELETE" => ("DELETE", Self::CancelRestore),
            "restore" => ("POST", Self::Restore),
            "adopt" => ("POST", Self::Adopt),
            _ => return Err(no_route()),
        };
        takes(method, sent)?;
        Ok(ask)
    }

    /// The request that asks for it, the store left out: `GET events?after=7`.
    #[must_use]
    pub fn to_line(&self) -> String {
        match self {
            Self::State => "GET ".to_owned(),
            Self::Delete => "DELETE ".to_owned(),
            Self::Events { after, limit } => {
                let limit = limit.map_or_else(String::new, |limit| format!("&limit={limit}"));
                format!("GET events?after={after}{limit}")
            }
            Self::Export => "GET export".to_owned(),
            Self::Metrics => "GET metrics".to_owned(),
            Self::Reset => "POST reset".to_owned(),
            Self::Disconnect => "POST disconnect".to_owned(),
            Self::Live => format!("GET {LIVE}"),
            Self::Restore => "POST restore".to_owned(),
            Self::Adopt => "POST adopt".to_owned(),
            Self::CancelRestore => "DELETE restore".to_owned(),
            Self::Import(import) => format!("POST import?{}", import.to_query()),
            Self::Verify {
                after,
                queries,
                repair,
            } => {
                let (method, repair) = match repair {
                    Repair::No => ("GET", ""),
                    Repair::FromLog => ("POST", "&repair=true"),
                    Repair::Discard => ("POST", "&repair=discard"),
                };
                format!("{method} verify?after={after}&queries={queries}{repair}")
            }
        }
    }

    /// What [`Ask::to_line`] wrote.
    #[must_use]
    pub fn from_line(line: &str) -> Option<Self> {
        let (method, path) = line.split_once(' ')?;
        let (action, query) = path.split_once('?').unwrap_or((path, ""));
        Self::read(method, action, query).ok()
    }
}

/// *Shape*: [`Ask::to_line`].
impl Serialize for Ask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_line())
    }
}

impl<'de> Deserialize<'de> for Ask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let line = String::deserialize(deserializer)?;
        Self::from_line(&line).ok_or_else(|| D::Error::custom("no request to the administration"))
    }
}

impl Import {
    fn to_query(&self) -> String {
        let flags = [
            ("more", self.goes_on),
            ("lines", self.accepts_lines),
            ("replace", self.replace),
            ("keepBackendId", self.keep_backend_id),
        ];
        let numbers = [("at", self.at), ("lastKnownHead", self.last_known_head)];
        let mut query = String::new();
        for (name, value) in flags {
            let _ = write!(query, "{name}={value}&");
        }
        for (name, value) in numbers {
            if let Some(value) = value {
                let _ = write!(query, "{name}={value}&");
            }
        }
        query
    }
}

#[cold]
fn no_route() -> Refusal {
    Refusal::new(404, "no such route: see docs/operations.md")
}

fn takes(method: &str, sent: &str) -> Result<(), Refusal> {
    if sent == method {
        return Ok(());
    }
    Err(Refusal::new(405, &format!("this route takes {method}")))
}

/// The parameters of a request.
#[derive(Clone, Copy)]
struct Parameters<'a>(&'a str);

impl<'a> Parameters<'a> {
    fn get(self, name: &str) -> Option<Cow<'a, str>> {
        let mut pairs = form_urlencoded::parse(self.0.as_bytes());
        pairs.find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn number(self, name: &str) -> Result<Option<u64>, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(None);
        };
        let number = text.parse();
        let refused = |_| Refusal::new(400, &format!("{name} must be an integer from 0 up"));
        number.map(Some).map_err(refused)
    }

    fn flag(self, name: &str) -> Result<bool, Refusal> {
        match self.get(name).as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Refusal::new(400, &format!("{name} must be true or false"))),
        }
    }

    fn after(self) -> Result<SeqNum, Refusal> {
        let after = self.number("after")?.unwrap_or(0);
        Ok(SeqNum::clamped(i64::try_from(after).unwrap_or(i64::MAX)))
    }

    /// A verification, and the method that it takes.
    fn verify(self) -> Result<(&'static str, Ask), Refusal> {
        let queries = self.number("queries")?.unwrap_or(VERIFY_QUERIES.into());
        let queries = u32::try_from(queries).unwrap_or(u32::MAX);
        if !(VERIFY_QUERIES_MIN..=VERIFY_QUERIES_MAX).contains(&queries) {
            let message = format!(
                "queries must be an integer from {VERIFY_QUERIES_MIN} to {VERIFY_QUERIES_MAX}"
            );
            return Err(Refusal::new(400, &message));
        }
        let (method, repair) = match self.get("repair").as_deref() {
            None => ("GET", Repair::No),
            Some("true") => ("POST", Repair::FromLog),
            Some("discard") => ("POST", Repair::Discard),
            Some(_) => return Err(Refusal::new(400, "repair must be true or discard")),
        };
        let after = self.after()?;
        let ask = Ask::Verify {
            after,
            queries,
            repair,
        };
        Ok((method, ask))
    }

    /// Whether a deletion names the store once more.
    fn confirm(self, store_id: &str) -> Result<(), Refusal> {
        if self.get("confirm").is_some_and(|named| named == store_id) {
            return Ok(());
        }
        let message = "nothing was done: a deletion is for good. To confirm it, add ?confirm= and the id of the store, \
                       percent-encoded as in the path";
        Err(Refusal::new(400, message))
    }

    fn import(self) -> Result<Import, Refusal> {
        Ok(Import {
            at: self.number("at")?,
            goes_on: self.flag("more")?,
            accepts_lines: self.flag("lines")?,
            replace: self.flag("replace")?,
            keep_backend_id: self.flag("keepBackendId")?,
            last_known_head: self.number("lastKnownHead")?,
        })
    }
}

/// Whether the body of a reset names the store: `{"storeId":"<id>"}`.
///
/// # Errors
/// It does not (400).
#[cold]
#[inline(never)]
pub fn confirm(body: &str, store_id: &StoreId) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        store_id: StoreId,
    }
    match json::object(body) {
        Ok(Body { store_id: named }) if named == *store_id => Ok(()),
        _ => Err(Refusal::new(
            400,
            "nothing was done: the body must be {\"storeId\":\"<the id of this store>\"}",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: &str, url: &str, authorization: Option<&str>) -> Result<(String, Ask), u16> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let request = Request {
            method,
            path,
            query,
            authorization,
            ..Request::default()
        };
        match read(&request, &AdminSecret::new("secret")) {
            Ok(Asked::Store(store_id, ask)) => Ok((store_id.as_str().to_owned(), ask)),
            Ok(asked) => panic!("{asked:?}"),
            Err(refusal) => Err(refusal.status),
        }
    }

    #[test]
    fn stores_are_listed_from_one_on_and_so_many_at_once() {
        let list = |method, query| {
            let request = Request {
                method,
                path: "/admin/v1/stores",
                query,
                authorization: Some("Bearer secret"),
                ..Request::default()
            };
            match read(&request, &AdminSecret::new("secret")) {
                Ok(Asked::Stores(Listing { after, limit })) => {
                    Ok((after.map(|after| after.as_str().to_owned()), limit))
                }
                Ok(asked) => panic!("{asked:?}"),
                Err(refusal) => Err(refusal.status),
            }
        };
        assert_eq!(list("GET", ""), Ok((None, STORES_LISTED)));
        assert_eq!(
            list("GET", "after=a%20b&limit=1000"),
            Ok((Some("a b".to_owned()), 1_000))
        );
        assert_eq!(list("GET", "after="), Ok((Some(String::new()), 100)));
        for query in ["limit=0", "limit=1001", "limit=-1", "limit=x"] {
            assert_eq!(list("GET", query), Err(400), "{query}");
        }
        assert_eq!(list("POST", ""), Err(405));
    }

    #[test]
    fn a_list_is_json_whatever_stores_are_called() {
        let listing = Listing {
            after: None,
            limit: 2,
        };
        let body = |answer: Answer| (answer.status, answer.body.unwrap().into_owned());
        let lines = [
            r#"{"storeId":"a"}"#.to_owned(),
            r#"{"storeId":"\""}"#.to_owned(),
        ];
        assert_eq!(
            body(listing.answer(&lines, Some("\""))),
            (
                200,
                "{\"stores\":[{\"storeId\":\"a\"},{\"storeId\":\"\\\"\"}],\"next\":\"\\\"\"}\n"
                    .to_owned()
            )
        );
        let nothing = (200, "{\"stores\":[],\"next\":null}\n".to_owned());
        assert_eq!(body(listing.answer(&[], None)), nothing);
        assert_eq!(body(listing.failed("D1_ERROR: no such table: x")), nothing);
        assert_eq!(
            body(listing.failed("overloaded")),
            (502, "{\"error\":\"D1: overloaded\"}\n".to_owned())
        );
        assert_eq!(body(listing.no_database()).0, 404);
    }

    #[test]
    fn routes_name_a_store_and_what_is_asked() {
        let events = |after, limit| Ask::Events {
            after: SeqNum::clamped(after),
            limit,
        };
        let verify = |after, queries, repair| Ask::Verify {
            after: SeqNum::clamped(after),
            queries,
            repair,
        };
        let cases = [
            ("GET", "stores/a", Ok(("a", Ask::State))),
            ("GET", "stores/", Ok(("", Ask::State))),
            ("GET", "stores/a%2Fb%20c", Ok(("a/b c", Ask::State))),
            ("GET", "stores/a/events", Ok(("a", events(0, None)))),
            (
                "GET",
                "stores/a/events?after=7&limit=2",
                Ok(("a", events(7, Some(2)))),
            ),
            ("GET", "stores//events", Ok(("", events(0, None)))),
            ("GET", "stores/a/events?after=-1", Err(400)),
            ("GET", "stores/a/events?limit=x", Err(400)),
            ("GET", "stores/%ff", Err(400)),
            ("GET", "stores/a/export", Ok(("a", Ask::Export))),
            ("POST", "stores/a/export", Err(405)),
            ("GET", "stores/a/metrics", Ok(("a", Ask::Metrics))),
            ("GET", "metrics?storeId=a%20b", Ok(("a b", Ask::Metrics))),
            ("GET", "metrics", Err(400)),
            ("POST", "stores/a/reset", Ok(("a", Ask::Reset))),
            ("GET", "stores/a/reset", Err(405)),
            ("POST", "stores/a/disconnect", Ok(("a", Ask::Disconnect))),
            ("GET", "stores/a/live", Err(426)),
            ("DELETE", "stores/a/live", Err(405)),
            ("POST", "stores/a/live/x", Err(404)),
            ("DELETE", "stores/a?confirm=a", Ok(("a", Ask::Delete))),
            ("DELETE", "stores/?confirm=", Ok(("", Ask::Delete))),
            (
                "DELETE",
                "stores/a%2Fb%20c?confirm=a%2Fb%20c",
                Ok(("a/b c", Ask::Delete)),
            ),
            ("DELETE", "stores/a", Err(400)),
            ("DELETE", "stores/a?confirm=", Err(400)),
            ("DELETE", "stores/a?confirm=A", Err(400)),
            ("DELETE", "stores/a?confirm=true", Err(400)),
            ("DELETE", "stores/a/events?confirm=a", Err(405)),
            ("DELETE", "stores?confirm=a", Err(405)),
            (
                "GET",
                "stores/a/verify",
                Ok(("a", verify(0, 40, Repair::No))),
            ),
            (
                "GET",
                "stores/a/verify?queries=900&after=7",
                Ok(("a", verify(7, 900, Repair::No))),
            ),
            (
                "POST",
                "stores/a/verify?repair=true&queries=20",
                Ok(("a", verify(0, 20, Repair::FromLog))),
            ),
            (
                "POST",
                "stores/a/verify?repair=discard",
                Ok(("a", verify(0, 40, Repair::Discard))),
            ),
            ("POST", "stores/a/verify", Err(405)),
            ("GET", "stores/a/verify?repair=true", Err(405)),
            ("GET", "stores/a/verify?repair=discard", Err(405)),
            ("POST", "stores/a/verify?repair=false", Err(400)),
            ("GET", "stores/a/verify?after=x", Err(400)),
            ("GET", "stores/a/verify?queries=19", Err(400)),
            ("GET", "stores/a/verify?queries=901", Err(400)),
            ("POST", "stores/a", Err(405)),
            ("GET", "stores/a/else", Err(404)),
            ("GET", "", Err(404)),
        ];
        for (method, url, expected) in cases {
            let asked = ask(method, &format!("{PREFIX}{url}"), Some("Bearer secret"));
            let expected = expected.map(|(id, ask)| (id.to_owned(), ask));
            assert_eq!(asked, expected, "{method} {url}");
        }
    }

    #[test]
    fn a_socket_is_opened_with_the_secret_or_by_a_ticket_for_the_store_it_names() {
        let read = |method, url: &str, authorization, origin_header, upgrade| {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            let request = Request {
                method,
                path,
                query,
                origin: "https://sync.example.com",
                authorization,
                origin_header,
                upgrade,
                ..Request::default()
            };
            super::read(&request, &AdminSecret::new("secret")).map_err(|refusal| refusal.status)
        };
        let (url, store) = ("/admin/v1/stores/a%2Fb/live", || StoreId::new("a/b"));
        let (secret, wrong) = (Some("Bearer secret"), Some("Bearer wrong"));
        let (own, other) = (
            Some("https://sync.example.com"),
            Some("https://app.example.com"),
        );
        let socket = Some("websocket");
        let by_secret = || Ok(Asked::Store(store(), Ask::Live));
        let by_ticket = || Ok(Asked::LiveByTicket(store()));
        for (authorization, origin, upgrade, expected) in [
            (secret, None, socket, by_secret()),
            (secret, own, Some("WebSocket"), by_secret()),
            (secret, other, socket, Err(403)),
            (secret, Some("null"), socket, Err(403)),
            (secret, None, None, Err(426)),
            (secret, None, Some("h2c"), Err(426)),
            (None, None, socket, by_ticket()),
            (None, own, Some("WEBSOCKET"), by_ticket()),
            (None, other, socket, Err(403)),
            // Without an upgrade there is nowhere to show a ticket.
            (None, None, None, Err(401)),
            (wrong, None, socket, Err(401)),
            (Some("Basic secret"), own, socket, Err(401)),
        ] {
            let asked = read("GET", url, authorization, origin, upgrade);
            assert_eq!(asked, expected, "{authorization:?} {origin:?} {upgrade:?}");
        }
        // A ticket is given to who has the secret.
        let ticket = |authorization| read("POST", url, authorization, None, None);
        assert_eq!(ticket(secret), Ok(Asked::Ticket(store())));
        for authorization in [None, wrong] {
            assert_eq!(ticket(authorization), Err(401));
            assert_eq!(read("POST", url, authorization, None, socket), Err(401));
        }
        // What is upgraded elsewhere needs the secret as ever.
        for url in [
            "/admin/v1/live",
            "/admin/v1/stores/a",
            "/admin/v1/stores/a/export",
            "/admin/v1/stores",
        ] {
            let expected = if url == "/admin/v1/live" { 404 } else { 401 };
            assert_eq!(read("GET", url, None, None, socket), Err(expected), "{url}");
        }
    }

    #[test]
    fn without_the_secret_nothing_is_told() {
        for authorization in [
            None,
            Some("secret"),
            Some("Basic secret"),
            Some("Bearer "),
            Some("Bearer wrong"),
            Some("Bearer secretx"),
        ] {
            let asked = ask("GET", "/admin/v1/nowhere", authorization);
            assert_eq!(asked, Err(401), "{authorization:?}");
        }
        assert!(ask("GET", "/admin/v1/stores/a", Some("bearer secret")).is_ok());
    }

    #[test]
    fn a_reset_has_to_name_the_store() {
        let store_id = StoreId::new("a");
        assert_eq!(confirm(r#"{"storeId":"a","why":1}"#, &store_id), Ok(()));
        for body in [
            "",
            "{}",
            r#"{"storeId":"b"}"#,
            r#"{"storeId":1}"#,
            r#""a""#,
            r#"["a"]"#,
        ] {
            assert!(confirm(body, &store_id).is_err(), "{body}");
        }
    }
}
