//! Sampling on one thread, 10 qubits. Goals: 1.5 us per snapshot for 1e5, 0.3 us for 1e6.
#![allow(missing_docs)]

use criterion::{Criterion, criterion_group, criterion_main};
use efl_benches::random_state;
use efl_core::bits::parallel::{Cancel, set_num_threads};
use efl_core::ensemble::Ensemble;
use efl_core::snapshots::sample;
use efl_core::state::StateVector;

fn sampling(c: &mut Criterion) {
    set_num_threads(1).expect("one thread");
    let cancel = Cancel::new();
    let state = random_state(10);
    let state = StateVector::new(&state).expect("normalised");
    let uniform = Ensemble::uniform(10).expect("a positive width");
    let mut group = c.benchmark_group("sample_n10");
    group.sample_size(10);
    for shots in [1_000, 100_000, 1_000_000] {
        group.bench_function(shots.to_string(), |b| b.iter(|| sample(&state, &uniform, shots, 7, &cancel)));
    }
    group.finish();
}

criterion_group!(benches, sampling);
criterion_main!(benches);
