//! The targets of `fuzz/` on a stable compiler: their bodies, on their seeds and on seeds changed in places. The changes
//! are the same in every run; `FUZZ_RUNS=1000000 cargo test fuzz` goes on for longer.
//!
//! libFuzzer, which looks where changes lead, is for a nightly compiler: see `fuzz/README.md`.

// For the crate of cargo-fuzz they are public.
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/bodies.rs"]
pub(crate) mod bodies;
#[allow(unreachable_pub)]
#[path = "../../fuzz/src/seeds.rs"]
mod seeds;

use crate::simulation::random::Random;
use seeds::{TARGETS, Target};

fn one_of<'a, T>(random: &mut Random, all: &'a [T]) -> &'a T {
    &all[random.index(all.len())]
}

/// A part of `all` of at most `most` bytes.
fn part<'a>(random: &mut Random, all: &'a [u8], most: usize) -> &'a [u8] {
    let start = random.index(all.len() + 1);
    let rest = &all[start..];
    &rest[..random.index(rest.len().min(most) + 1)]
}

/// What stands at the edges of formats more often than chance has it.
const WORDS: &[&[u8]] = &[
    b"null",
    b"{}",
    b"[]",
    b"\"",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"-0",
    b"1e400",
    b"9007199254740993",
    b"0.5",
    b"\x1e",
    b"\xff",
    b"\xd4\x72\x40",
    b"\xdd\xff\xff\xff\xff",
    b"\xf0\x9f\x98\x80",
    b" ",
    b"\t\r\n",
    b"true",
    b"false",
    b"-",
    b"e-7",
    b"88888888888888888888",
    b"\\/",
    b"\\u00e9",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
];

/// Changes a seed in one to six places.
fn change(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = one_of(random, seeds).clone();
    for _ in 0..=random.index(6) {
        let at = random.index(bytes.len() + 1);
        let end = (at + random.index(17)).min(bytes.len());
        match random.index(6) {
            0 => {
                bytes.splice(at..end, []);
            }
            1 => {
                bytes.splice(at..at, one_of(random, WORDS).iter().copied());
            }
            2 => {
                bytes.splice(at..end, one_of(random, WORDS).iter().copied());
            }
            3 => {
                let other = one_of(random, seeds);
                let part = part(random, other, 200).to_vec();
                bytes.splice(at..end, part);
            }
            4 => {
                let own = bytes.clone();
                let part = part(random, &own, 64).to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.index(8);
                }
            }
        }
    }
    bytes
}

/// Says which input it was that a body panicked at.
struct Said<'a>(&'static str, &'a [u8]);

impl Drop for Said<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn run(target: &Target, input: &[u8]) {
    let _said = Said(target.name, input);
    (target.body)(input);
}

/// Runs a target on its seeds, then on `runs` changed ones: as many as all four need about a minute for, on one core.
fn fuzz(name: &str, runs: usize) {
    let target = TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    assert!(seeds.len() >= 10, "{} seeds", seeds.len());
    for seed in &seeds {
        run(target, seed);
    }
    let wanted = std::env::var_os("FUZZ_RUNS").map(|runs| runs.to_str().unwrap().parse().unwrap());
    let mut random = Random::new(7);
    for _ in 0..wanted.unwrap_or(runs) {
        run(target, &change(&mut random, &seeds));
    }
}

#[test]
fn fuzzed_frames_leave_the_log_a_chain_and_the_socket_served() {
    fuzz("frames", 40_000);
}

#[test]
fn fuzzed_msgpack_is_json_or_refused() {
    fuzz("msgpack", 1_000_000);
}

#[test]
fn fuzzed_tokens_are_what_they_say_or_refused() {
    fuzz("tokens", 250_000);
}

#[test]
fn fuzzed_attachments_are_sockets_that_are_served_or_none() {
    fuzz("attachments", 40_000);
}
