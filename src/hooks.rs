//! What an app may add: checks before a push or a pull, and news after a commit.
//!
//! Owns the trait and what its methods are shown. An app says which hooks it has ([`Hooks::uses`]). A
//! hook that waits delays its own request and no other: the log is untouched until it returns, and then
//! the request is decided in one turn like any other.

#![allow(async_fn_in_trait)] // An object has one thread, so no future of a hook has to be `Send`.

use std::fmt;
use std::ops::Deref;

use thiserror::Error;

use crate::event::Event;
use crate::wire::{Generation, Transport};

/// A hook's refusal. Its text is all that a client is told.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0}")]
pub struct HookError(String);

impl HookError {
    /// A refusal with this text.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl From<&str> for HookError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for HookError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// What is known of a request.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The store, from the authorised URL or the object's name.
    pub store_id: &'a str,
    /// The claims of the verified token as a JSON object; `None` for static tokens and for calls from
    /// other objects.
    pub claims: Option<&'a str>,
    /// The sync payload of the request that opened the connection, as JSON text, for hooks that
    /// [keep it](Hooks::keeps_payload); `None` for calls from other objects.
    pub payload: Option<&'a str>,
    /// The headers of the request that opened the connection, those that
    /// [`Hooks::forwarded_headers`] names: names in lower case, and values.
    pub headers: &'a [(String, String)],
    /// How the request came; `None` where there was none, in [`Hooks::on_committed`].
    pub transport: Option<Transport>,
    /// The dialect; `None` where it is not known yet, in [`Hooks::validate_payload`], and where there
    /// was no request, in [`Hooks::on_committed`].
    pub generation: Option<Generation>,
}

impl Context<'_> {
    /// The value of a forwarded header; `name` in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// A push before it is decided.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// The events as sent: not yet known to be a chain, at least one.
    pub batch: &'a [Event<'a>],
    /// The lifetime of the log that the client knows.
    pub backend_id: Option<&'a str>,
}

/// A pull before it is answered.
#[derive(Clone, Copy, Debug)]
pub struct Pull<'a> {
    /// The last event the client has; 0 for none.
    pub after: u64,
    /// The lifetime of the log that the client knows.
    pub backend_id: Option<&'a str>,
    /// Whether later events are to follow.
    pub live: bool,
}

/// What a pull or a live pull is sent.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    read: &'a dyn Fn() -> String,
}

impl<'a> Page<'a> {
    /// The page whose message `read` fetches from where it is kept.
    #[must_use]
    pub fn new(read: &'a dyn Fn() -> String) -> Self {
        Self { read }
    }

    /// The message in the client's dialect, as JSON: up to a megabyte, or one event that is larger. Each
    /// call copies it out of JavaScript.
    #[must_use]
    pub fn message(&self) -> String {
        (self.read)()
    }
}

impl fmt::Debug for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

/// Events that are stored for good.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// The events in order, without gaps.
    pub events: &'a [Event<'a>],
    /// The lifetime of the log.
    pub backend_id: &'a str,
}

/// Which hooks an app has: [`Uses::NONE`] and the names of those it has, as in
/// `Uses::NONE.on_push().on_committed()`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses(u8);

/// The hooks, each with the method that adds it, the one that asks for it, and its bit.
macro_rules! uses {
    ($($name:ident, $has:ident, $bit:literal;)*) => {
        impl Uses {
            $(
                #[doc = concat!("These and [`Hooks::", stringify!($name), "`].")]
                #[must_use]
                pub const fn $name(self) -> Self {
                    Self(self.0 | 1 << $bit)
                }

                #[doc = concat!("Whether [`Hooks::", stringify!($name), "`] is among them.")]
                #[must_use]
                #[inline]
                pub const fn $has(self) -> bool {
                    self.0 & 1 << $bit != 0
                }
            )*
        }
    };
}

uses! {
    validate_payload, has_validate_payload, 0;
    on_push, has_on_push, 1;
    on_push_res, has_on_push_res, 2;
    on_pull, has_on_pull, 3;
    on_pull_res, has_on_pull_res, 4;
    on_committed, has_on_committed, 5;
}

impl Uses {
    /// No hook.
    pub const NONE: Self = Self(0);

    /// Whether one is asked about requests to an object, and so is shown a [`Context`] of one.
    #[must_use]
    pub const fn sees_requests(self) -> bool {
        self.has_on_push() || self.has_on_push_res() || self.has_on_pull() || self.has_on_pull_res()
    }

    /// Whether there is none.
    #[must_use]
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What an app does beside the log. A value of it is made for each Worker and each object that wakes, by
/// the function that [`export!`](crate::export) is given; what it needs of the platform, such as its bindings, it
/// gets there and keeps.
///
/// An error of a hook reaches that client as `UnknownError` with the hook's text and nothing else, and is
/// logged and counted. Clients try a push again that ended so, and give a pull up until they restart.
///
/// A hook that waits runs beside others, also of the same connection. A request that its client
/// interrupts, or whose client leaves, while a hook waits is not decided. A hook must not panic: that
/// ends every request that waits for one, in all stores of the isolate.
pub trait Hooks: 'static {
    /// Which of the methods below are to be called. The others never are, and cost nothing. Asked when the
    /// value is made; the answer may not change.
    fn uses(&self) -> Uses;

    /// Names of request headers that hooks want to see, in lower case.
    fn forwarded_headers(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether [`Context::payload`] is wanted, which is kept with each connection then, the token in it included.
    fn keeps_payload(&self) -> bool {
        false
    }

    /// Headers that every answer to a client over HTTP is to have: names and values.
    fn response_headers(&self) -> &[(String, String)] {
        &[]
    }

    /// A connection is being opened over WebSocket, or a request made over HTTP, by someone whom the
    /// deployment's policy lets in. `payload` is the sync payload as JSON text.
    ///
    /// # Errors
    /// Refuses: the client is answered 400 with the text.
    async fn validate_payload(
        &self,
        payload: Option<&str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        let _ = (payload, context);
        Ok(())
    }

    /// A push is about to be decided. Not called for a push without events.
    ///
    /// # Errors
    /// Refuses: nothing is stored.
    async fn on_push(&self, push: &Push<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let _ = (push, context);
        Ok(())
    }

    /// A push that [`Hooks::on_push`] let pass has been decided: stored, and about to be acknowledged, or refused
    /// with this text, which its client has been told.
    ///
    /// # Errors
    /// Of a push that is stored: the client is told instead of acknowledged; what is stored stays, and its next try is
    /// acknowledged as a repetition, after this hook. Of one that is refused: it is logged alone.
    async fn on_push_res(
        &self,
        decided: Result<(), &str>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        let _ = (decided, context);
        Ok(())
    }

    /// A pull is about to be answered.
    ///
    /// # Errors
    /// Refuses the pull.
    async fn on_pull(&self, pull: &Pull<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let _ = (pull, context);
        Ok(())
    }

    /// A page of a pull is sent, or a part of a batch to sockets that pull live: once for each part, however
    /// many get it. Over WebSocket it has left by then; an answer over HTTP or DO-RPC waits for the hook.
    ///
    /// # Errors
    /// Ends the pull whose page it was, if it has not ended; for a part of a batch it is logged alone.
    async fn on_pull_res(&self, page: &Page<'_>, context: &Context<'_>) -> Result<(), HookError> {
        let _ = (page, context);
        Ok(())
    }

    /// Events have been stored. Called after the commit, in order, at least once for every event, with
    /// at least 1 and at most 100 at a time; a store that has events when it first meets the hook begins at its
    /// head. It runs beside whatever the store does, one call at a time.
    ///
    /// # Errors
    /// It is called again with the same events, and what has come since, after 1 second and then ever later
    /// up to a minute.
    async fn on_committed(
        &self,
        committed: &Committed<'_>,
        context: &Context<'_>,
    ) -> Result<(), HookError> {
        let _ = (committed, context);
        Ok(())
    }
}

/// An app's hooks, and which of them are used.
#[derive(Clone, Copy, Debug)]
pub struct Installed<H> {
    hooks: H,
    uses: Uses,
}

impl<H: Hooks> Installed<H> {
    /// Asks `hooks` which of them are used.
    pub fn new(hooks: H) -> Self {
        let uses = hooks.uses();
        Self { hooks, uses }
    }

    /// Which hooks to call.
    #[must_use]
    #[inline]
    pub fn uses(&self) -> Uses {
        // Hooks without data, such as `()`, can be asked when they are compiled: then nothing of those that
        // are not used is part of the Worker.
        if size_of::<H>() == 0 {
            return self.hooks.uses();
        }
        self.uses
    }
}

impl<H> Deref for Installed<H> {
    type Target = H;

    fn deref(&self) -> &H {
        &self.hooks
    }
}

/// No hooks.
impl Hooks for () {
    #[inline]
    fn uses(&self) -> Uses {
        Uses::NONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hook_is_used_if_it_is_named_and_not_otherwise() {
        const TWO: Uses = Uses::NONE.on_push().on_committed();
        let all = |uses: Uses| {
            [
                uses.has_validate_payload(),
                uses.has_on_push(),
                uses.has_on_push_res(),
                uses.has_on_pull(),
                uses.has_on_pull_res(),
                uses.has_on_committed(),
            ]
        };
        assert_eq!(all(TWO), [false, true, false, false, false, true]);
        let each = [
            Uses::validate_payload,
            Uses::on_push,
            Uses::on_push_res,
            Uses::on_pull,
            Uses::on_pull_res,
            Uses::on_committed,
        ];
        for (index, with) in each.into_iter().enumerate() {
            let mut expected = [false; 6];
            expected[index] = true;
            assert_eq!(all(with(Uses::NONE)), expected);
            assert_eq!(with(with(Uses::NONE)), with(Uses::NONE));
            assert_eq!(with(Uses::NONE).sees_requests(), (1..=4).contains(&index));
        }
        assert!(Uses::NONE.is_empty() && !TWO.is_empty());
        assert_eq!(Uses::NONE, ().uses());
    }
}
