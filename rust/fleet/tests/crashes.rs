//! A learner that crashes: a machine and its journal on a disk that fails, behind a network that reorders, doubles, loses and
//! delays, with a second learner that does not know that it has been replaced. 10,000 runs, each from its seed.
//!
//! After every crash the journal is read again, and what is found is held against what clients were told:
//!
//! - what was acknowledged is there, and nothing is there twice;
//! - the state has the bits that it had when its last frame became durable, from a checkpoint or from the beginning;
//! - sums over queries are those of the admitted packets and the weights that taught, added up in another way;
//! - a version that was handed out is on the disk; what is held is bounded;
//! - a torn or altered frame is refused.
//!
//! A run that fails says its seed; `EFL_SEED=17 cargo test -p efl-fleet --test crashes` runs it alone.

mod common;
mod world;

use world::{Seen, World};

const RUNS: u64 = 10_000;
const STEPS: usize = 120;

fn run(seed: u64) -> Seen {
    let mut world = World::new(seed);
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.check();
    world.seen
}

/// Runs a seed, and says which it was if it fails.
fn reported(seed: u64) -> Seen {
    match std::panic::catch_unwind(|| run(seed)) {
        Ok(seen) => seen,
        Err(_) => panic!("seed {seed} fails: EFL_SEED={seed} cargo test -p efl-fleet --test crashes"),
    }
}

#[test]
fn what_was_acknowledged_is_counted_once_whatever_crashes() {
    if let Some(seed) = std::env::var("EFL_SEED").ok().and_then(|seed| seed.parse().ok()) {
        reported(seed);
        return;
    }
    let threads = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let found: Vec<Seen> = std::thread::scope(|scope| {
        let part = |k: u64| move || (k..RUNS).step_by(threads as usize).map(reported).collect::<Vec<_>>();
        let parts: Vec<_> = (0..threads).map(|k| scope.spawn(part(k))).collect();
        parts.into_iter().flat_map(|part| part.join().expect("no seed fails")).collect()
    });
    let sum = |field: fn(&Seen) -> u64| found.iter().map(field).sum::<u64>();
    // The world was as bad as it was meant to be.
    let happened = [
        ("crashes", sum(|s| s.crashes)),
        ("failures", sum(|s| s.failures)),
        ("fenced", sum(|s| s.fenced)),
        ("damaged", sum(|s| s.damaged)),
        ("checkpoints", sum(|s| s.checkpoints)),
        ("candidates", sum(|s| s.candidates)),
        ("not chosen", sum(|s| s.not_chosen)),
        ("acknowledged", sum(|s| s.acknowledged)),
        ("taught", sum(|s| s.taught)),
    ];
    assert!(happened.iter().all(|(_, count)| *count >= RUNS / 20), "{happened:?}");
}
