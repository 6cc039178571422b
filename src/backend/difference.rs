//! What an operator reads of a verification: lines of JSON, which name events and columns and never hold args (INV-13).

use serde::Serialize;

use super::repeated;
use crate::store::comparison::{COMPARED, Found, Lifetime};

/// What is told of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// The mirror lacks them.
    Missing,
    /// The log lacks them.
    Extra,
    /// These columns differ.
    Columns(Vec<&'static str>),
    /// In the log, their parent is not the event before them.
    Chain,
}

impl Difference {
    /// What a comparison has found.
    pub(super) fn of(found: Found) -> Self {
        match found.1 {
            Found::MISSING => Self::Missing,
            Found::EXTRA => Self::Extra,
            bits => {
                let columns = COMPARED.iter().enumerate();
                let differ = columns.filter(|(index, _)| bits & (1 << index) != 0);
                Self::Columns(differ.map(|(_, column)| *column).collect())
            }
        }
    }
}

/// A line about consecutive events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Line {
    difference: &'static str,
    from: i64,
    to: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    columns: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<bool>,
}

impl Line {
    /// Makes it longer by `next`, if that is the same about the event that follows.
    fn takes(&mut self, next: &Self) -> bool {
        let expected = Self {
            from: self.to.saturating_add(1),
            to: next.to,
            ..self.clone()
        };
        if expected != *next {
            return false;
        }
        self.to = next.to;
        true
    }
}

/// The line about what the mirror says of itself.
#[derive(Serialize)]
struct LifetimeLine<'a> {
    difference: &'static str,
    columns: Vec<&'static str>,
    backup: Option<&'a Lifetime>,
    log: Option<&'a Lifetime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repaired: Option<bool>,
}

#[derive(Serialize)]
struct ErrorLine<'a> {
    error: &'a str,
}

/// The last line.
#[derive(Serialize)]
pub(super) struct Summary {
    pub(super) result: &'static str,
    pub(super) events: u64,
    pub(super) head: u64,
    pub(super) lag: u64,
    pub(super) differences: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) repaired: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next: Option<u64>,
}

/// Lines that are yet to be handed on. The last about events, and about the chain of the log, may become longer.
#[derive(Default)]
pub(super) struct Lines {
    text: String,
    of_events: Option<Line>,
    of_chain: Option<Line>,
}

impl Lines {
    /// Those that are complete.
    pub(super) fn take(&mut self) -> Option<String> {
        let text = std::mem::take(&mut self.text);
        Some(text).filter(|text| !text.is_empty())
    }

    /// An event, and whether it was `repaired` where that was asked for.
    pub(super) fn event(&mut self, difference: Difference, seq_num: i64, repaired: Option<bool>) {
        let open = match difference {
            Difference::Chain => &mut self.of_chain,
            _ => &mut self.of_events,
        };
        let (difference, columns) = match difference {
            Difference::Missing => ("missing", Vec::new()),
            Difference::Extra => ("extra", Vec::new()),
            Difference::Columns(columns) => ("columns", columns),
            Difference::Chain => ("chain", Vec::new()),
        };
        let line = Line {
            difference,
            from: seq_num,
            to: seq_num,
            columns,
            repaired,
        };
        if open.as_mut().is_some_and(|open| open.takes(&line)) {
            return;
        }
        if let Some(complete) = open.replace(line) {
            self.push(&complete);
        }
    }

    /// What the mirror says of itself, and what it should say.
    pub(super) fn lifetime(
        &mut self,
        backup: Option<&Lifetime>,
        log: Option<&Lifetime>,
        repaired: Option<bool>,
    ) {
        self.complete();
        self.push(&LifetimeLine {
            difference: "lifetime",
            columns: differing(backup, log),
            backup,
            log,
            repaired,
        });
    }

    /// Why it ends early.
    pub(super) fn error(&mut self, message: &str) {
        let error = repeated(message);
        self.complete();
        self.push(&ErrorLine { error: &error });
    }

    /// The last line, and those that are left before it.
    pub(super) fn end(&mut self, summary: &Summary) -> String {
        self.complete();
        self.push(summary);
        std::mem::take(&mut self.text)
    }

    fn complete(&mut self) {
        let open = [self.of_events.take(), self.of_chain.take()];
        for line in open.into_iter().flatten() {
            self.push(&line);
        }
    }

    fn push(&mut self, line: &impl Serialize) {
        self.text += &serde_json::to_string(line).unwrap_or_default();
        self.text.push('\n');
    }
}

/// The columns in which two differ, by the names that they have in the list of stores.
fn differing(one: Option<&Lifetime>, other: Option<&Lifetime>) -> Vec<&'static str> {
    let is_same = |same: fn(&Lifetime, &Lifetime) -> bool| match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        _ => false,
    };
    let columns = [
        ("head", is_same(|a, b| a.head == b.head)),
        ("events", is_same(|a, b| a.events == b.events)),
        ("bytes", is_same(|a, b| a.bytes == b.bytes)),
        ("firstAt", is_same(|a, b| a.first_at == b.first_at)),
        ("lastAt", is_same(|a, b| a.last_at == b.last_at)),
    ];
    let differ = columns.iter().filter(|(_, is_same)| !is_same);
    differ.map(|(column, _)| *column).collect()
}
