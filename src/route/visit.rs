//! What the Worker hands over of a request to the object of its store.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::admin::Ask;
use super::{Door, Headers};
use crate::auth::Grant;
use crate::event::StoreId;
use crate::json;

/// The header that holds a [`Visit`]. The Worker sets it on all it hands over.
pub const VISIT_HEADER: &str = "x-livestore-sync-visit";

/// A request that has been let in: what its store's object is to do, without looking at the URL.
///
/// *Shape*: in the header JSON in printable ASCII, `{"to":"<id of the object>","visit":{"storeId":"a","errand":…}}`.
/// The errand is `{"sync":{"door":"http","grant":{"access":"write"}}}`, where a door is `http`, `socket-rpc` or
/// `socket-v03` and a grant what [`Grant`] says, or `{"administer":…}` with what [`Ask::to_line`] says, such as
/// `{"administer":"GET events?after=7"}`. `headers`, pairs of names and values, are those that
/// an answer over HTTP is to have; none where it is absent. `host/durable-object.ts` looks for the door `http`.
///
/// The id of the object proves that the header is the Worker's own: no client knows it, and an app that
/// hands its clients' requests to the object as they came hands on their headers, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Visit {
    /// The store.
    pub store_id: StoreId,
    /// What it is about.
    pub errand: Errand,
    /// Headers that an answer over HTTP is to have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Headers,
}

/// What a visit is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Errand {
    /// A client syncs.
    Sync {
        /// How it comes in.
        door: Door,
        /// What it may do.
        grant: Grant,
    },
    /// An operator asks for something, and may.
    Administer(Ask),
}

#[derive(Serialize)]
struct Sent<'a> {
    to: &'a str,
    visit: &'a Visit,
}

#[derive(Deserialize)]
struct Received {
    to: String,
    visit: Visit,
}

impl Visit {
    /// The value of the header for the object with this id.
    #[must_use]
    pub fn to_header(&self, object_id: &str) -> String {
        let sent = Sent {
            to: object_id,
            visit: self,
        };
        json::to_ascii(serde_json::to_string(&sent).unwrap_or_default())
    }

    /// What [`Visit::to_header`] wrote for the object with this id. Claims that were not ASCII come back
    /// escaped, which means the same.
    #[must_use]
    pub fn from_header(header: &str, object_id: &str) -> Option<Self> {
        let received: Received = json::object(header).ok()?;
        let is_ours = received.to.as_bytes().ct_eq(object_id.as_bytes());
        bool::from(is_ours).then_some(received.visit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::Access;
    use crate::event::SeqNum;
    use crate::limits::{TIME_MS_MAX, VERIFY_QUERIES_MAX, VERIFY_QUERIES_MIN};
    use crate::route::admin::Import;
    use crate::store::comparison::Repair;
    use crate::wire::Family;

    const ID: &str = "a-secret-id";

    fn sync(door: Door, grant: Grant) -> Visit {
        Visit {
            store_id: StoreId::new("a"),
            errand: Errand::Sync { door, grant },
            headers: Vec::new(),
        }
    }

    fn administer(ask: Ask) -> Visit {
        Visit {
            store_id: StoreId::new("a"),
            errand: Errand::Administer(ask),
            headers: Vec::new(),
        }
    }

    fn is_header_safe(header: &str) -> bool {
        header.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }

    #[test]
    fn a_visit_is_written_as_documented() {
        let mut visit = sync(Door::Http, Grant::default());
        let start = r#"{"to":"a-secret-id","visit":{"storeId":"a","errand":"#;
        let check = |visit: &Visit, rest: &str| {
            let header = visit.to_header(ID);
            assert_eq!(header, format!("{start}{rest}}}}}"));
            assert_eq!(Visit::from_header(&header, ID).as_ref(), Some(visit));
        };
        check(
            &visit,
            r#"{"sync":{"door":"http","grant":{"access":"write"}}}"#,
        );
        visit.headers = vec![("Vary".into(), "Origin".to_owned())];
        check(
            &visit,
            r#"{"sync":{"door":"http","grant":{"access":"write"}}},"headers":[["Vary","Origin"]]"#,
        );
        let grant = Grant {
            access: Access::ReadOnly,
            claims: Some(r#"{"sub":"a", "n":1.50}"#.to_owned()),
            ..Grant::default()
        };
        check(
            &sync(Door::Socket(Family::Rpc), grant),
            r#"{"sync":{"door":"socket-rpc","grant":{"access":"read","claims":{"sub":"a", "n":1.50}}}}"#,
        );
        check(
            &sync(Door::Socket(Family::Plain), Grant::default()),
            r#"{"sync":{"door":"socket-v03","grant":{"access":"write"}}}"#,
        );
        let events = Ask::Events {
            after: SeqNum::clamped(7),
            limit: None,
        };
        for (ask, name) in [
            (events, r#""GET events?after=7""#),
            (Ask::State, r#""GET ""#),
            (Ask::Delete, r#""DELETE ""#),
            (Ask::Export, r#""GET export""#),
            (Ask::Metrics, r#""GET metrics""#),
            (Ask::Reset, r#""POST reset""#),
            (Ask::Disconnect, r#""POST disconnect""#),
            (Ask::Live, r#""GET live""#),
            (Ask::Restore, r#""POST restore""#),
            (Ask::CancelRestore, r#""DELETE restore""#),
            (Ask::Adopt, r#""POST adopt""#),
        ] {
            check(&administer(ask), &format!(r#"{{"administer":{name}}}"#));
        }
    }

    #[test]
    fn a_header_for_another_object_or_of_anything_else_is_none() {
        let header = administer(Ask::Reset).to_header(ID);
        assert!(Visit::from_header(&header, ID).is_some());
        for other in ["", "a-secret-i", "a-secret-id ", "A-SECRET-ID"] {
            assert_eq!(Visit::from_header(&header, other), None, "{other}");
        }
        for header in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            header.replace("reset", "rest"),
            header.replace(r#""storeId":"a","#, ""),
            header.replace(r#""storeId":"a","#, r#""storeId":"a","storeId":"b","#),
            header.replace(r#""to":"a-secret-id","#, ""),
            format!("{header}{header}"),
            format!(r#"["{ID}",{{"storeId":"a","errand":{{"administer":"POST reset"}}}}]"#),
        ] {
            assert_eq!(Visit::from_header(&header, ID), None, "{header}");
        }
    }

    #[test]
    fn a_header_is_ascii_on_one_line() {
        let claims = "{\r\n\t\"name\":\"Zoë 日本 🎉\u{7f}\\n\",\"é\":1}";
        let grant = Grant {
            claims: Some(claims.to_owned()),
            ..Grant::default()
        };
        let mut visit = sync(Door::Http, grant);
        visit.store_id = StoreId::new("ü \u{1}\"\n");
        let header = visit.to_header(ID);
        assert!(is_header_safe(&header), "{header}");
        let escaped = r#"{   "name":"Zo\u00eb \u65e5\u672c \ud83c\udf89\u007f\n","\u00e9":1}"#;
        assert!(header.contains(escaped), "{header}");
        let back = Visit::from_header(&header, ID).unwrap();
        assert_eq!(back.store_id, visit.store_id);
        assert_eq!(back.to_header(ID), header);
    }

    proptest! {
        #[test]
        fn any_visit_comes_back_from_its_header(
            store_id in any::<String>(), id in any::<String>(), name in any::<String>(), value in any::<String>(),
            end in proptest::option::of(0..=TIME_MS_MAX), is_read_only in any::<bool>(),
        ) {
            let claims = serde_json::json!({ name.clone(): value.clone() });
            let grant = Grant {
                access: if is_read_only { Access::ReadOnly } else { Access::ReadWrite },
                claims: Some(claims.to_string()),
                expires_at_ms: end,
                headers: vec![(name, value.clone())],
                payload: Some(claims.to_string()),
            };
            let visit = Visit {
                store_id: StoreId::new(store_id),
                headers: vec![("A".into(), value)],
                ..sync(Door::Http, grant.clone())
            };
            let header = visit.to_header(&id);
            prop_assert!(is_header_safe(&header));
            let back = Visit::from_header(&header, &id).unwrap();
            prop_assert_eq!((&back.store_id, &back.headers), (&visit.store_id, &visit.headers));
            let Errand::Sync { grant: mut back, .. } = back.errand else {
                return Err(TestCaseError::fail("another errand"));
            };
            for kept in [&mut back.claims, &mut back.payload] {
                let read: serde_json::Value = serde_json::from_str(kept.as_deref().unwrap()).unwrap();
                prop_assert_eq!(&read, &claims);
                *kept = Some(claims.to_string());
            }
            prop_assert_eq!(back, grant);
        }

        #[test]
        fn any_request_to_the_administration_comes_back(
            after in 0..=(1_i64 << 53) - 1, limit in proptest::option::of(any::<u64>()), queries in VERIFY_QUERIES_MIN..=VERIFY_QUERIES_MAX,
            repair in prop_oneof![Just(Repair::No), Just(Repair::FromLog), Just(Repair::Discard)],
            at in proptest::option::of(any::<u64>()), last_known_head in proptest::option::of(any::<u64>()),
            goes_on in any::<bool>(), accepts_lines in any::<bool>(), replace in any::<bool>(), keep_backend_id in any::<bool>(),
        ) {
            let after = SeqNum::clamped(after);
            let import = Import { at, goes_on, accepts_lines, replace, keep_backend_id, last_known_head };
            for ask in [Ask::Events { after, limit }, Ask::Verify { after, queries, repair }, Ask::Import(import)] {
                let visit = administer(ask);
                let back = Visit::from_header(&visit.to_header(ID), ID);
                prop_assert_eq!(back, Some(visit));
            }
        }

        #[test]
        fn no_header_does_harm(header in any::<String>(), id in any::<String>()) {
            prop_assert_eq!(Visit::from_header(&header, &id), None);
        }
    }
}
