//! The ordering authority: what may enter the log, and how it is cut into pages.
//!
//! *INV-1* A batch is stored whole, or not at all. *INV-3* It continues from the head without gaps.
//! *INV-4* Events that are stored already are never stored again.

mod push;
mod split;

pub use push::{Admission, admit, is_lifetime};
pub use split::split;
