//! A log as a file: what an export writes, and what is read when a log is brought in.
//!
//! Owns the format, which is NDJSON: a line that says what is exported, a line for each event, and a last line by which
//! a file that was cut off or damaged on its way is known. Reads two more: what LiveStore's own `sync export` writes, and
//! lines of events without anything around them. Refuses to know what becomes of events that were read, and the platform.
//!
//! ```json
//! {"format":"livestore-sync-export","version":1,"storeId":"a","backendId":"…","head":1,"exportedAt":"2026-11-22T10:19:11.954Z"}
//! {"seqNum":1,"parentSeqNum":0,"name":"v1.A","args":{"n":1},"clientId":"c","sessionId":"s","createdAt":"2026-11-22T10:19:10.000Z"}
//! {"end":{"events":1,"head":1,"crc32":"…"}}
//! ```
//!
//! | member | says |
//! |---|---|
//! | `head` | the last event that is exported, whatever is pushed meanwhile; 0 for none |
//! | `args` | the text that the log has, byte for byte |
//! | `argsText` | in its place, that text as a string, where it cannot stand in a line: it has line breaks, or is no JSON by itself |
//! | neither | the log has NULL |
//! | `crc32` | the checksum of all bytes before the last line, in hexadecimal: CRC-32 as gzip and zip have it |

mod event;
mod export;
mod fault;
mod read;
mod split;

pub use event::{Batch, ImportedEvent};
pub use export::{Export, ExportError};
pub use fault::{Fault, Place, ReadError};
pub use read::{Header, Options, Part, Reader, Summary};
pub use split::Kind;

use std::fmt;

use crc::{CRC_32_ISO_HDLC, Crc};

/// What the first line of an export says that it is.
pub const FORMAT: &str = "livestore-sync-export";

/// The version of the format that this code writes, and the only one that it reads.
pub const VERSION: i64 = 1;

/// What the last line of an export begins with.
const END: &str = "{\"end\":";

/// The last line, without its line break.
fn last_line(events: u64, head: u64, checksum: Checksum) -> String {
    format!("{END}{{\"events\":{events},\"head\":{head},\"crc32\":\"{checksum}\"}}}}")
}

/// The checksum of some bytes, to which more can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Checksum(u32);

impl Checksum {
    #[must_use]
    fn with(self, bytes: &[u8]) -> Self {
        static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        // What comes out is inverted at the end, and what goes in is taken the other way round.
        let mut digest = CRC.digest_with_initial((!self.0).reverse_bits());
        digest.update(bytes);
        Self(digest.finalize())
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_that_of_gzip_wherever_it_is_continued() {
        let whole = Checksum::default().with(b"123456789");
        assert_eq!(whole.to_string(), "cbf43926");
        for at in 0..=9 {
            let (first, rest) = b"123456789".split_at(at);
            assert_eq!(Checksum::default().with(first).with(rest), whole);
        }
        assert_eq!(Checksum::default().to_string(), "00000000");
    }
}
