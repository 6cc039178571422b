//! What is particular to the Effect 4 generation: causes are arrays, `_tag` stands first in errors.
//! *Source*: sync-cf after 0.4.0 with `effect` 4.

use super::rpc::exit_failure;
use super::{Failure, RequestId};
use crate::json::quote;

pub(super) fn failed(id: &RequestId, failure: &Failure) -> String {
    let error = match failure {
        Failure::ServerAhead {
            minimum_expected,
            provided,
        } => format!(
            r#"{{"_tag":"ServerAheadError","minimumExpectedNum":{minimum_expected},"providedNum":{provided}}}"#
        ),
        Failure::BackendIdMismatch { expected, received } => format!(
            r#"{{"_tag":"BackendIdMismatchError","expected":{},"received":{}}}"#,
            quote(expected.as_str()),
            quote(received)
        ),
        Failure::Unknown { message } => format!(
            r#"{{"_tag":"UnknownError","cause":{{"name":"Error","message":{}}}}}"#,
            quote(message)
        ),
    };
    exit_failure(id, &format!(r#"[{{"_tag":"Fail","error":{error}}}]"#))
}

pub(super) fn died(id: &RequestId, message: &str) -> String {
    exit_failure(
        id,
        &format!(r#"[{{"_tag":"Die","defect":{}}}]"#, quote(message)),
    )
}

pub(super) fn interrupted(id: &RequestId) -> String {
    exit_failure(id, r#"[{"_tag":"Interrupt","fiberId":null}]"#)
}
