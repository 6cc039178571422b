//! What is known of a store of which the object has nothing: whether it may be made.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// What is known of a store that is not here.
#[derive(Default)]
pub(super) struct Birth {
    known: Cell<Known>,
    waiting: RefCell<Vec<Waker>>,
}

/// Whether a store that is not here has a backup.
#[derive(Clone, Copy, Default)]
pub(super) enum Known {
    /// Nothing.
    #[default]
    Nothing,
    /// D1 is being asked.
    Asking,
    /// There is no backup.
    New,
    /// There is one; this is believed until then.
    HasBackup { until_ms: u64 },
}

impl Birth {
    /// Whether a store may be made that is not here.
    pub(super) fn may_make(&self) -> bool {
        matches!(self.known.get(), Known::New)
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
