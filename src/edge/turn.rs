//! One turn of an object: something happens to its backend, and what comes of it is done in order.

use std::collections::VecDeque;
use std::rc::Rc;

use super::awake::{Awake, Outlet};
use super::birth::Known;
use super::js;
use super::shared::{Shared, Unavailable};
use super::sql::{JsText, ObjectSql};
use crate::backend::{ConnectionId, Output, Report, SyncBackend, Turn};
use crate::config::LogLevel;
use crate::event::StoreId;
use crate::hooks::Hooks;

impl<H: Hooks> Shared<H> {
    /// Runs `work` on the object in memory, waking it first where that has not happened.
    ///
    /// # Errors
    /// When it cannot be woken, which is logged.
    pub(super) fn with<R>(
        self: &Rc<Self>,
        store_id: Option<&StoreId>,
        work: impl FnOnce(&mut Awake) -> R,
    ) -> Result<R, Unavailable> {
        self.ready(store_id)?;
        self.borrow(work)
    }

    #[inline(never)]
    fn ready(self: &Rc<Self>, store_id: Option<&StoreId>) -> Result<(), Unavailable> {
        if self.is_asleep() {
            self.wake_up(store_id)
        } else if self.is_closed() {
            self.reopen(store_id.is_some())
        } else {
            Ok(())
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_up(self: &Rc<Self>, store_id: Option<&StoreId>) -> Result<(), Unavailable> {
        self.wake(store_id)?;
        // What an earlier life of the object left undone.
        self.run(SyncBackend::on_wake)
    }

    /// Tries again to open a store that could not be opened again.
    #[inline(never)]
    fn reopen(self: &Rc<Self>, is_visited: bool) -> Result<(), Unavailable> {
        let may_make = self.borrow(|awake| !awake.asks_at_birth)? || self.birth.may_make();
        let is_gone = self.borrow(|awake| awake.backend.is_gone())?;
        let may_make = may_make && (is_visited || !is_gone);
        let opened = self.run(|backend, turn| backend.reopen(may_make, turn))?;
        let opened = opened.map_err(Unavailable::from);
        if let Err(error) = &opened {
            self.borrow(|awake| error.log(&awake.log))?;
        }
        opened
    }

    /// Runs one turn of the backend, and does what comes of it.
    ///
    /// # Errors
    /// When the object cannot be woken.
    pub(super) fn turn<R>(
        self: &Rc<Self>,
        work: impl FnOnce(&mut SyncBackend<ObjectSql>, &mut Turn<JsText>) -> R,
    ) -> Result<R, Unavailable> {
        self.with(None, |_| ())?;
        self.run(work)
    }

    /// Runs one turn of the object in memory, its store being open or not.
    pub(super) fn run<R>(
        self: &Rc<Self>,
        work: impl FnOnce(&mut SyncBackend<ObjectSql>, &mut Turn<JsText>) -> R,
    ) -> Result<R, Unavailable> {
        let mut turn = Turn {
            now_ms: js::now_ms(),
            out: self.spare_outputs.take(),
        };
        let result = self.borrow(|awake| {
            let result = work(&mut awake.backend, &mut turn);
            if !self.is_applying.get() {
                self.apply_plain(awake, &mut turn.out);
            }
            result
        })?;
        self.queue.borrow_mut().extend(turn.out.drain(..));
        if !self.queue.borrow().is_empty() {
            self.apply_queue();
        }
        self.settle();
        self.release_alarm();
        self.tell_of_deletion();
        self.spare_outputs.replace(turn.out);
        Ok(result)
    }

    /// Does everything up to the first output for which an app's code has to run: nothing may be borrowed
    /// then.
    fn apply_plain(self: &Rc<Self>, awake: &mut Awake, outputs: &mut Vec<Output<JsText>>) {
        let is_plain = |output: &Output<JsText>| {
            !matches!(
                output,
                Output::Ask(_) | Output::Deliver(_) | Output::Fetch(_) | Output::Probe { .. }
            )
        };
        let plain = outputs.iter().position(|output| !is_plain(output));
        for output in outputs.drain(..plain.unwrap_or(outputs.len())) {
            self.apply(awake, output);
        }
    }

    /// Does what is queued, in order. What a hook that returns at once brings about comes before what was behind
    /// it.
    fn apply_queue(self: &Rc<Self>) {
        if self.is_applying.replace(true) {
            // Whoever began goes on with what has been added.
            return;
        }
        loop {
            let next = self.queue.borrow_mut().pop_front();
            let Some(output) = next else {
                break;
            };
            let mut turn = Turn::at(js::now_ms());
            let done =
                match output {
                    Output::Ask(ask) => {
                        let id = ask.id;
                        match self.ask(ask) {
                            None => Ok(()),
                            Some(verdict) => self
                                .borrow(|awake| awake.backend.on_verdict(id, verdict, &mut turn)),
                        }
                    }
                    Output::Deliver(delivery) => {
                        let id = delivery.id;
                        match self.deliver(delivery) {
                            None => Ok(()),
                            Some(outcome) => self
                                .borrow(|awake| awake.backend.on_delivered(id, outcome, &mut turn)),
                        }
                    }
                    Output::Fetch(fetch) => {
                        self.fetch(fetch);
                        Ok(())
                    }
                    Output::Probe { connection } => self.borrow(|awake| {
                        let pinged_at_ms = self.pinged_at_ms(awake, connection);
                        awake.backend.on_ping(connection, pinged_at_ms, &mut turn);
                    }),
                    output => self.borrow(|awake| self.apply(awake, output)),
                };
            let mut queue = self.queue.borrow_mut();
            if done.is_err() {
                *queue = VecDeque::new();
            }
            for output in turn.out.into_iter().rev() {
                queue.push_front(output);
            }
        }
        self.is_applying.set(false);
    }

    fn apply(self: &Rc<Self>, awake: &mut Awake, output: Output<JsText>) {
        match output {
            Output::Send { to, frame } => match awake.outlet(to) {
                // A socket that takes nothing is closing, and its close event cleans up.
                Some(Outlet::Socket(socket)) => {
                    js::send(socket, frame.as_js());
                }
                Some(Outlet::Answer(answer)) => answer.push(frame),
                None => {}
            },
            Output::Remember { connection } => self.remember(awake, connection),
            Output::Close {
                connection,
                code,
                reason,
            } => match awake.take_outlet(connection) {
                Some(Outlet::Socket(socket)) => js::close(&socket, code, reason),
                Some(Outlet::Answer(answer)) => answer.refuse(reason),
                None => {}
            },
            Output::WakeAt { at_ms } => self.wake_at(at_ms, &awake.log),
            Output::ForgetAlarm => self.alarm_went_off(),
            Output::Report(report) => {
                if matches!(report, Report::Deleted(_)) {
                    // There is no backup any more.
                    self.birth.learn(Known::Nothing);
                }
                awake.log.report(&report);
            }
            // These have the object to themselves: see `apply_queue`.
            Output::Ask(_) | Output::Deliver(_) | Output::Fetch(_) | Output::Probe { .. } => {}
        }
    }

    fn pinged_at_ms(&self, awake: &Awake, connection: ConnectionId) -> Option<u64> {
        match awake.outlet(connection) {
            Some(Outlet::Socket(socket)) => js::pinged_at_ms(self.state(), socket),
            Some(Outlet::Answer(_)) | None => None,
        }
    }

    fn remember(self: &Rc<Self>, awake: &mut Awake, connection: ConnectionId) {
        let Some(attachment) = awake.backend.attachment(connection) else {
            return;
        };
        let kept = match awake.outlet(connection) {
            Some(Outlet::Socket(socket)) => js::keep(socket, &attachment),
            Some(Outlet::Answer(_)) | None => Ok(()),
        };
        let Err(error) = kept else {
            return;
        };
        // Unkept, its subscriptions would be lost at the next eviction: better to start over now.
        awake
            .log
            .write(LogLevel::Error, "attachment", &js::message_of(&error));
        let mut turn = Turn::at(js::now_ms());
        awake.backend.disconnect(connection, &mut turn);
        self.queue.borrow_mut().extend(turn.out);
        if let Some(Outlet::Socket(socket)) = awake.take_outlet(connection) {
            let reason = "the connection could not be kept: connect again";
            js::close(&socket, 1011, reason);
        }
    }
}
