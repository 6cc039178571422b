//! Cutting the events of a push into the pages that are published.

use crate::event::Event;
use crate::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PAGE_OVERHEAD_BYTES};
use crate::wire::{Family, item_overhead_bytes};

/// Cuts `events` into pages of at most 100 events and 900,000 bytes; an event that is larger than
/// that is alone in its page.
pub fn split<'s, 'a>(
    family: Family,
    events: &'s [Event<'a>],
) -> impl Iterator<Item = &'s [Event<'a>]> {
    let budget = PAGE_BYTES_MAX - PAGE_OVERHEAD_BYTES;
    let overhead = item_overhead_bytes(family);
    let mut rest = events;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fitting = rest
            .iter()
            .take(PAGE_EVENTS_MAX as usize)
            .take_while(|event| {
                bytes += event.content_bytes() + overhead;
                bytes <= budget
            })
            .count();
        let (page, after) = rest.split_at_checked(fitting.max(1))?;
        rest = after;
        Some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(args: &[usize]) -> Vec<usize> {
        let json: Vec<String> = args
            .iter()
            .map(|bytes| {
                let text = "x".repeat(*bytes);
                format!(r#"{{"name":"n","args":"{text}","seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}}"#)
            })
            .collect();
        let events: Vec<Event<'_>> = json
            .iter()
            .map(|json| serde_json::from_str(json).unwrap())
            .collect();
        split(Family::Rpc, &events).map(<[_]>::len).collect()
    }

    #[test]
    fn pages_hold_at_most_100_events() {
        assert_eq!(sizes(&[1; 250]), [100, 100, 50]);
    }

    #[test]
    fn pages_stay_below_900_000_bytes_and_a_larger_event_goes_alone() {
        assert_eq!(sizes(&[400_000, 400_000, 400_000]), [2, 1]);
        assert_eq!(sizes(&[10, 950_000, 10]), [1, 1, 1]);
    }

    #[test]
    fn no_events_are_no_pages() {
        assert_eq!(sizes(&[]), [0_usize; 0]);
    }
}
