//! What is known of a store of which the object has nothing: whether it may be made.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// What is known of a store that is not here.
pub(super) struct Birth {
    known: Cell<Known>,
    /// Why nobody is served, if that is so.
    why: RefCell<Rc<str>>,
    waiting: RefCell<Vec<Waker>>,
}

/// Whether a store that is not here has a backup, or a log elsewhere.
#[derive(Clone, Copy, Default)]
pub(super) enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// D1 is being asked.
    Asking,
    /// There is neither.
    New,
    /// There is something that an operator has to decide about; this is believed until then.
    Held { until_ms: u64 },
}

impl Default for Birth {
    fn default() -> Self {
        Self {
            known: Cell::default(),
            why: RefCell::new(Rc::from("")),
            waiting: RefCell::default(),
        }
    }
}

impl Birth {
    /// Whether a store may be made that is not here.
    pub(super) fn may_make(&self) -> bool {
        matches!(self.known.get(), Known::New)
    }

    /// Why nobody is served.
    pub(super) fn why(&self) -> Rc<str> {
        self.why.borrow().clone()
    }

    /// Nobody is served, and asked neither, until then.
    pub(super) fn hold(&self, why: &str, until_ms: u64) -> Known {
        self.why.replace(Rc::from(why));
        Known::Held { until_ms }
    }

    pub(super) fn known(&self) -> Known {
        self.known.get()
    }

    /// D1 is asked from now on: others wait for what it says.
    pub(super) fn ask(&self) {
        self.known.set(Known::Asking);
    }

    pub(super) fn learn(&self, known: Known) {
        self.known.set(known);
        for waiting in self.waiting.take() {
            waiting.wake();
        }
    }

    /// Waits until D1 has been asked.
    pub(super) async fn asked(&self) {
        poll_fn(|context| {
            if !matches!(self.known.get(), Known::Asking) {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
