//! Whether the model has seen what it is for.

/// How often something worth testing happened: a model in which it never does proves nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) appended: u32,
    pub(super) repeated: u32,
    pub(super) refused: u32,
    pub(super) broadcasts: u32,
    pub(super) pages: u32,
    /// Pages that came after an eviction, to a pull from before it.
    pub(super) pages_after_waking: u32,
    pub(super) full_windows: u32,
    /// Broadcasts that had to wait for acknowledgements.
    pub(super) slow_listeners: u32,
    /// Pushes during which some pull had pages to come.
    pub(super) pushes_while_paging: u32,
    pub(super) storage_failures: u32,
    /// Connections closed because storage failed.
    pub(super) closed: u32,
    /// Clients that were asked whether they wait for a pull of another connection.
    pub(super) probes: u32,
    /// Pulls from beyond the head that were overtaken by it.
    pub(super) overtaken: u32,
    /// Pulls that had to wait for others of their connection.
    pub(super) crowded: u32,
    /// Sockets closed because their client ended pull after pull without taking anything.
    pub(super) abandoning: u32,
    /// Clients of 0.3 that are sent what their push shows them to lack.
    pub(super) mended: u32,
}

impl Seen {
    pub(super) fn counts(&mut self) -> [&mut u32; 16] {
        [
            &mut self.appended,
            &mut self.repeated,
            &mut self.refused,
            &mut self.broadcasts,
            &mut self.pages,
            &mut self.pages_after_waking,
            &mut self.full_windows,
            &mut self.slow_listeners,
            &mut self.pushes_while_paging,
            &mut self.storage_failures,
            &mut self.closed,
            &mut self.probes,
            &mut self.overtaken,
            &mut self.crowded,
            &mut self.abandoning,
            &mut self.mended,
        ]
    }

    pub(super) fn add(&mut self, other: &Self) {
        let mut other = other.clone();
        for (count, more) in self.counts().into_iter().zip(other.counts()) {
            *count += *more;
        }
    }

    pub(super) fn is_everything(&self) -> bool {
        self.clone().counts().into_iter().all(|count| *count > 0)
    }
}
