//! Heisenberg propagation and gradient observables, each with its goal.
//!
//! | bench | goal |
//! |---|---|
//! | `value/small`, `value/large` | not slower than bloqade-ppvm and paulistrings-rs on one thread (about 3 ms and 110 ms) |
//! | `gradient/small`, `gradient/large` | at most 3 times the value, all 400 parameters |
//! | `observables/...` | at most 2 s, 60 parameters on 10 qubits |
//! | `observables/.../replay` | the same at other angles, at most a fifth of the direct way |
//!
//! `small` and `large` are angles within 0.3 and within pi. The comparison with the peers is in
//! `benches/python/bench_propagate.py`.

use criterion::{Criterion, criterion_group, criterion_main};
use efl_benches::{brickwork, random_angles, strongly_entangling};
use efl_core::bits::parallel::Cancel;
use efl_core::gates::Clifford;
use efl_core::heisenberg::{GradientTemplate, Truncation, gradient_observables, value, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::state::ProductState;
use std::f64::consts::PI;
use std::hint::black_box;

fn values(c: &mut Criterion) {
    let (n, circuit) = (20, brickwork(20, 10));
    let zz = PauliSum::from_word(&PauliWord::from_sparse(n, [(9, Letter::Z), (10, Letter::Z)]).unwrap());
    let truncation = Truncation { max_weight: Some(6), min_coefficient: 1e-4, max_terms: None };
    let (state, cancel) = (ProductState::zero(n), Cancel::new());
    for (name, range) in [("small", 0.3), ("large", PI)] {
        let theta = random_angles(circuit.n_parameters(), range);
        c.bench_function(&format!("value/{name}"), |b| {
            b.iter(|| value(&circuit, black_box(&theta), &zz, &state, &truncation, &cancel).unwrap());
        });
        c.bench_function(&format!("gradient/{name}"), |b| {
            b.iter(|| {
                value_and_gradient(&circuit, black_box(&theta), &zz, &state, &truncation, &cancel).unwrap()
            });
        });
    }
}

fn observables(c: &mut Criterion) {
    let n = 10;
    let words: Vec<_> = (0..n).map(|q| PauliWord::from_sparse(n, [(q, Letter::Z)]).unwrap()).collect();
    let z = PauliSum::from_terms(n, words.iter().zip(random_angles(n, 1.0))).unwrap();
    let z = [z.scale(1.0 / z.l2_norm()).unwrap()];
    let mut group = c.benchmark_group("observables");
    group.sample_size(10);
    for (name, circuit) in [
        ("strongly-entangling-cnot-2", strongly_entangling(n, 2, Clifford::Cnot)),
        ("strongly-entangling-cz-2", strongly_entangling(n, 2, Clifford::Cz)),
        ("brickwork-3", brickwork(n, 3)),
    ] {
        let theta = random_angles(circuit.n_parameters(), PI);
        let run = || gradient_observables(&circuit, &theta, &z, &Truncation::EXACT, &Cancel::new()).unwrap();
        group.bench_function(name, |b| b.iter(&run));
        let structure = GradientTemplate::new(&circuit, &z, None, &Cancel::new()).unwrap();
        let replay = || structure.at(black_box(&theta), &Cancel::new()).unwrap();
        group.bench_function(format!("{name}/replay"), |b| b.iter(&replay));
    }
    group.finish();
}

criterion_group!(benches, values, observables);
criterion_main!(benches);
