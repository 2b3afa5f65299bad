//! Packing and counting on one thread. Goals: W1 tally 25 ms, W2 tally 45 ms (first-level-cache limit of the plain
//! bit-sliced loop on a 2.5 GHz core), packing at most as long as counting.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use efl_benches::{random_arrays, random_snapshots, random_words};
use efl_core::bits::dispatch::{CpuLevel, cpu_level, set_cpu_level};
use efl_core::bits::parallel::{Cancel, set_num_threads};
use efl_core::ensemble::Ensemble;
use efl_core::estimate::tally;
use efl_core::snapshots::Snapshots;

fn estimate(c: &mut Criterion) {
    set_num_threads(1).expect("one thread");
    let cancel = Cancel::new();
    let mut group = c.benchmark_group("tally");
    group.sample_size(10);
    for (name, n, words) in [("w1", 10, random_words(1000, 10, 4)), ("w2", 50, random_words(2000, 50, 3))] {
        let snaps = random_snapshots(1_000_000, n);
        group.bench_function(name, |b| b.iter(|| tally(&snaps, &words, 1, &cancel)));
    }
    group.finish();

    let mut group = c.benchmark_group("pack");
    group.sample_size(10);
    for n in [10, 50] {
        let (bits, bases) = random_arrays(1_000_000, n);
        let uniform = Ensemble::uniform(n).expect("a positive width");
        group.bench_function(format!("n{n}"), |b| {
            b.iter(|| Snapshots::from_arrays(&bits, &bases, 1_000_000, uniform.clone()))
        });
    }
    group.finish();

    let mut group = c.benchmark_group("cpu_level");
    group.sample_size(10);
    let best = cpu_level();
    for (name, n, words) in [("w1", 10, random_words(1000, 10, 4)), ("w2", 50, random_words(2000, 50, 3))] {
        let snaps = random_snapshots(1_000_000, n);
        for level in CpuLevel::available() {
            set_cpu_level(level).expect("available");
            let id = format!("{name}/{}", level.name());
            group.bench_function(id, |b| b.iter(|| tally(&snaps, &words, 1, &cancel)));
        }
    }
    set_cpu_level(best).expect("available");
    group.finish();
}

criterion_group!(benches, estimate);
criterion_main!(benches);
