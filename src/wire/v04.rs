//! What is particular to generation 0.4 (Effect 3 RPC): causes are trees, `_tag` stands last in
//! errors. *Source*: sync-cf 0.4.0 with `@effect/rpc` 0.75.

use super::rpc::exit_failure;
use super::{Failure, RequestId};
use crate::json::quote;

pub(super) fn failed(id: &RequestId, failure: &Failure) -> String {
    let error = match failure {
        Failure::ServerAhead {
            minimum_expected,
            provided,
        } => format!(
            r#"{{"minimumExpectedNum":{minimum_expected},"providedNum":{provided},"_tag":"ServerAheadError"}}"#
        ),
        Failure::BackendIdMismatch { expected, received } => format!(
            r#"{{"expected":{},"received":{},"_tag":"BackendIdMismatchError"}}"#,
            quote(expected.as_str()),
            quote(received)
        ),
        Failure::Unknown { message } => format!(
            r#"{{"cause":{{"name":"Error","message":{}}},"_tag":"UnknownError"}}"#,
            quote(message)
        ),
    };
    exit_failure(id, &format!(r#"{{"_tag":"Fail","error":{error}}}"#))
}

pub(super) fn died(id: &RequestId, message: &str) -> String {
    exit_failure(
        id,
        &format!(r#"{{"_tag":"Die","defect":{}}}"#, quote(message)),
    )
}

pub(super) fn interrupted(id: &RequestId) -> String {
    exit_failure(id, r#"{"_tag":"Interrupt","fiberId":{"_tag":"None"}}"#)
}
