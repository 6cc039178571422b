//! An answer of the Worker itself.

use std::borrow::Cow;

use super::{Reason, Refusal};
use crate::event::StoreId;

/// Headers of an answer.
pub type Headers = Vec<(Cow<'static, str>, String)>;

/// An answer of the Worker itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body, `None` for none.
    pub body: Option<Cow<'static, str>>,
    /// What the body is.
    pub content_type: &'static str,
    /// Headers beside the content type.
    pub headers: Headers,
    /// Who is refused with it and why, if somebody is.
    pub refusal: Option<Box<Refusal>>,
}

impl Answer {
    pub(super) fn text(status: u16, body: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            body: Some(body.into()),
            content_type: "text/plain",
            headers: Headers::new(),
            refusal: None,
        }
    }

    pub(super) fn json(status: u16, body: String) -> Self {
        Self {
            content_type: "application/json",
            ..Self::text(status, body)
        }
    }

    pub(super) fn preflight() -> Self {
        Self {
            body: None,
            ..Self::text(204, "")
        }
    }

    /// The same as a refusal.
    pub(super) fn because(mut self, reason: Reason, store_id: Option<&StoreId>) -> Self {
        self.refusal = Some(Box::new(Refusal {
            reason,
            store_id: store_id.cloned(),
            message: self.body.as_deref().unwrap_or_default().to_owned(),
        }));
        self
    }
}
