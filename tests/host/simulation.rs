//! One object and its clients, whatever happens to them, for as long as one likes: seeded worlds, each short, in
//! which clients of all generations and transports, hooks, `on_committed`, client objects and D1 do what they should or
//! do not, while the object is evicted, lost in the middle of its work, woken by alarms that come late or
//! twice, reset, and let down by its storage.
//!
//! | module | owns |
//! |---|---|
//! | [`world`] | the object and its platform: what is durable, what is lost when, the order of outputs |
//! | [`clients`] | what clients know and do |
//! | [`settle`] | what happens next, and that all is told when a world is left alone |
//! | [`log`] | INV-1, 3, 4, 5, 15: what is stored, compared with what was pushed and let through |
//! | [`answers`] | INV-2, 5, 6, 7, 8, 11, 14: what is sent, compared with the log, on every transport by the same rules |
//! | [`backup`] | INV-17: what D1 holds, compared with the logs |
//! | [`followers`] | what followers are told, and that whenever something is owed the alarm is stored |
//!
//! `SIMULATION_STEPS` is how many steps all worlds take together, `SIMULATION_FROM` the first of the worlds that are run, and
//! `SIMULATION_SEED` runs one world alone and tells what happens in it.

mod answers;
mod backup;
mod clients;
mod ends;
mod followers;
mod log;
pub(crate) mod random;
mod seen;
mod settle;
mod words;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use seen::Seen;
use world::World;

/// Steps of all worlds together.
const STEPS: u64 = 100_000;
/// Steps of one world, before it is left alone.
const STEPS_OF_WORLD: u64 = 160;
/// The last words of the story of a world that failed.
const TOLD_MAX: usize = 400;

/// A number that the environment holds.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var_os(name)?.into_string().ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a number")))
}

/// Runs one world; what it has met, or why it failed.
fn run(seed: u64, story: Option<&Mutex<Vec<String>>>) -> Result<Seen, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(seed, story.is_some());
        let steps = if world.plan.is_heavy {
            STEPS_OF_WORLD / 2
        } else {
            STEPS_OF_WORLD
        };
        let lived = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..steps {
                world.step();
            }
            world.settle();
        }));
        if let (Some(story), Some(told)) = (story, &mut world.story) {
            story.lock().unwrap().append(told);
        }
        match lived {
            Ok(()) => world.seen,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }));
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_default()
    })
}

/// Runs one world again, and says what happened in it.
fn tell(seed: u64) -> Result<Seen, String> {
    let story = Mutex::new(Vec::new());
    let outcome = run(seed, Some(&story));
    let story = story.into_inner().unwrap();
    for line in story.iter().skip(story.len().saturating_sub(TOLD_MAX)) {
        println!("{line}");
    }
    outcome
}

#[test]
fn any_history_of_a_store_keeps_the_invariants() {
    if let Some(seed) = number("SIMULATION_SEED") {
        let seen = tell(seed).unwrap_or_else(|why| panic!("{why}"));
        return println!("{seen}");
    }
    let steps = number("SIMULATION_STEPS").unwrap_or(STEPS);
    let worlds = steps.div_ceil(STEPS_OF_WORLD);
    let next = AtomicU64::new(number("SIMULATION_FROM").unwrap_or(0));
    let failed = AtomicU64::new(u64::MAX);
    let all = Mutex::new(Seen::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= worlds || failed.load(Ordering::Relaxed) < seed {
                        return;
                    }
                    match run(seed, None) {
                        Ok(met) => all.lock().unwrap().add(&met),
                        Err(_) => {
                            failed.fetch_min(seed, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let seed = failed.into_inner();
    if seed != u64::MAX {
        let why = tell(seed).err().unwrap_or_default();
        panic!(
            "{why}\nworld {seed} of {worlds}, again by: \
             SIMULATION_SEED={seed} cargo test --test host simulation -- --nocapture"
        );
    }
    let met = all.into_inner().unwrap();
    println!("{worlds} worlds: {met}");
    let missing = met.missing();
    assert!(
        missing.is_empty() || steps < STEPS,
        "never happened: {missing:?}"
    );
}
