//! Cutting the events of a push into the pages that are published.

use crate::event::Event;
use crate::limits::{PAGE_BYTES_MAX, PAGE_EVENTS_MAX, PAGE_OVERHEAD_BYTES};
use crate::wire::{Family, encode_item};

/// The JSON items of `events`, cut into pages of at most 100 events and 900,000 bytes; an event that is
/// larger than that is alone in its page. `created_at` is ISO 8601.
pub fn split(
    family: Family,
    events: &[Event<'_>],
    created_at: &str,
) -> impl Iterator<Item = String> {
    let budget = PAGE_BYTES_MAX - PAGE_OVERHEAD_BYTES;
    let mut rest = events.iter();
    let mut next = String::new();
    std::iter::from_fn(move || {
        let mut page = std::mem::take(&mut next);
        let mut count = u32::from(!page.is_empty());
        for event in rest.by_ref() {
            let start = page.len();
            if count > 0 {
                page.push(',');
            }
            encode_item(family, event, created_at, &mut page);
            if count > 0 && (count == PAGE_EVENTS_MAX || page.len() > budget) {
                next.push_str(page.get(start + 1..).unwrap_or_default());
                page.truncate(start);
                return Some(page);
            }
            count += 1;
        }
        (count > 0).then_some(page)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(names: &[(&str, usize)]) -> Vec<usize> {
        let json: Vec<String> = names
            .iter()
            .map(|(letter, count)| {
                let name = letter.repeat(*count);
                format!(r#"{{"name":"{name}","args":1,"seqNum":1,"parentSeqNum":0,"clientId":"c","sessionId":"s"}}"#)
            })
            .collect();
        let events: Vec<Event<'_>> = json
            .iter()
            .map(|json| crate::json::read(json, Event::read).unwrap())
            .collect();
        let pages = split(Family::Rpc, &events, "2026-11-22T10:19:11.954Z");
        pages
            .map(|page| {
                let items: Vec<serde_json::Value> =
                    serde_json::from_str(&format!("[{page}]")).unwrap();
                assert!(items.len() == 1 || page.len() <= PAGE_BYTES_MAX - PAGE_OVERHEAD_BYTES);
                items.len()
            })
            .collect()
    }

    #[test]
    fn pages_hold_at_most_100_events() {
        assert_eq!(sizes(&[("x", 1); 250]), [100, 100, 50]);
        assert_eq!(sizes(&[("x", 1); 100]), [100]);
    }

    #[test]
    fn pages_stay_below_900_000_bytes_and_a_larger_event_goes_alone() {
        assert_eq!(
            sizes(&[("x", 400_000), ("x", 400_000), ("x", 400_000)]),
            [2, 1]
        );
        assert_eq!(sizes(&[("x", 10), ("x", 950_000), ("x", 10)]), [1, 1, 1]);
    }

    #[test]
    fn what_escapes_add_is_counted() {
        assert_eq!(sizes(&[("\\u0001", 70_000); 3]), [2, 1]);
    }

    #[test]
    fn no_events_are_no_pages() {
        assert_eq!(sizes(&[]), [0_usize; 0]);
    }
}
