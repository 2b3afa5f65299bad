//! Echoes and parameter shifts against exact gradients; simulated states against dense matrices.

mod dense;

use dense::{Dense, Gate, ONE, Random, Twin, product_state};
use efl_core::bits::parallel::Cancel;
use efl_core::design::{Experiment, Frame, Reach, Setting, echoes, shifts};
use efl_core::heisenberg::{Angle, Circuit, Clifford, ProductState, Truncation, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::simulate::{evolve, simulate};
use num_complex::Complex64;

const TOLERANCE: f64 = 1e-10;

/// A random circuit without channels, with sparse Clifford gates of all kinds in between.
fn twin(seed: u64) -> (Twin, Vec<PauliSum>) {
    let n = 1 + seed as usize % 6;
    let twin = Twin::random(seed, n, 10 + seed as usize % 12, 4, false);
    let mut random = Random(seed + 1000);
    let observables = vec![random.observable(n, 3), random.observable(n, 2)];
    (twin, observables)
}

/// Every product setting that a word of the observables needs.
fn settings(observables: &[PauliSum]) -> Vec<Setting> {
    let words = observables.iter().flat_map(|o| o.words().to_words());
    let letters =
        |word: PauliWord| (0..word.n_qubits()).map(move |q| (q, word.letter(q))).collect::<Vec<_>>();
    words
        .map(|word| {
            let filled =
                letters(word).into_iter().map(|(q, l)| (q, if l == Letter::I { Letter::X } else { l }));
            Setting::of_letters(PauliWord::from_sparse(observables[0].n_qubits(), filled).unwrap()).unwrap()
        })
        .collect()
}

fn exact(circuit: &Circuit, theta: &[f64], observables: &[PauliSum], input: &ProductState) -> Vec<f64> {
    let gradient = |o| {
        value_and_gradient(circuit, theta, o, input, &Truncation::EXACT, &Cancel::new()).unwrap().gradient
    };
    observables.iter().flat_map(gradient).collect()
}

fn add(experiment: &Experiment, theta: &[f64], input: &ProductState, gradient: &mut [f64]) {
    for moment in experiment.moments(theta, input, &Cancel::new()).unwrap() {
        gradient[moment.row] += moment.mean;
    }
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < TOLERANCE, "{what}, row {row}: {a} instead of {b}");
    }
}

/// A pure product state that is not symmetric.
fn input(n: usize) -> ProductState {
    let bloch = |q: usize| {
        let (polar, azimuth) = (0.4 + 0.3 * q as f64, 1.0 + q as f64);
        [polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()]
    };
    ProductState::from_bloch((0..n).map(bloch).collect()).unwrap()
}

#[test]
fn simulated_states_are_those_of_dense_matrices() {
    for seed in 0..40 {
        let (twin, _) = twin(seed);
        let n = twin.circuit.n_qubits();
        for input in [ProductState::zero(n), input(n)] {
            let state = simulate(&twin.circuit, &twin.theta, &input, &Cancel::new()).unwrap();
            let expected = twin.run(&twin.theta, &product_state(input.bloch()));
            let d = state.len();
            let found = Dense { d, m: (0..d * d).map(|i| state[i / d] * state[i % d].conj()).collect() };
            let error = found.distance(&expected);
            assert!(error < 1e-12, "seed {seed}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let mut circuit = Circuit::new(2, 0).unwrap();
    let cancel = Cancel::new();
    let mixed = ProductState::from_bloch(vec![[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]]).unwrap();
    let error = simulate(&circuit, &[], &mixed, &cancel).unwrap_err().to_string();
    assert!(error.contains("length 0.5 at qubit 1"), "{error}");
    assert!(simulate(&circuit, &[0.1], &ProductState::zero(2), &cancel).is_err());
    assert!(simulate(&circuit, &[], &ProductState::zero(3), &cancel).is_err());
    assert!(evolve(&circuit, &[], &mut [ONE; 8], &cancel).is_err());
    let half = |m: Dense| m.scaled(ONE * 0.5f64.sqrt()).m;
    circuit.channel(&[half(Dense::identity(2)), half(dense::letter(Letter::X))], &[0]).unwrap();
    let error = simulate(&circuit, &[], &ProductState::zero(2), &cancel).unwrap_err().to_string();
    assert!(error.contains("a channel at gate 0"), "{error}");
    assert!(Frame::new(&circuit).unwrap_err().to_string().contains("a channel at gate 0"));
    let wide = Circuit::new(27, 0).unwrap();
    assert!(simulate(&wide, &[], &ProductState::zero(27), &cancel).unwrap_err().to_string().contains("26"));
}

#[test]
fn noise_of_strength_zero_is_a_gate() {
    let mut circuit = Circuit::new(1, 1).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    let (zero, y) = (Complex64::default(), dense::letter(Letter::Y));
    circuit.channel(&[y.scaled(zero).m, y.scaled(ONE * 0.6).m, y.scaled(ONE * 0.8).m], &[0]).unwrap();
    let state = simulate(&circuit, &[0.4], &ProductState::zero(1), &Cancel::new()).unwrap();
    assert!((state[0].norm() - 0.2f64.sin()).abs() < 1e-15);
    assert!(Frame::new(&circuit).is_ok());
}

#[test]
fn echoes_add_up_to_the_gradient() {
    let mut found = 0;
    for seed in 0..120 {
        let (twin, observables) = twin(seed);
        let frame = Frame::new(&twin.circuit).unwrap();
        let input = input(twin.circuit.n_qubits());
        let mut gradient = vec![0.0; 8];
        for echo in echoes(&frame, &observables, &Cancel::new()).unwrap() {
            found += 1;
            for experiment in [echo.minus().unwrap(), echo.plus().unwrap()] {
                add(&experiment, &twin.theta, &input, &mut gradient);
            }
        }
        let expected = exact(&twin.circuit, &twin.theta, &observables, &input);
        assert_close(&gradient, &expected, &format!("seed {seed}"));
    }
    assert!(found > 1000, "{found}");
}

#[test]
fn shifts_add_up_to_the_gradient() {
    for seed in 0..80 {
        let (twin, observables) = twin(seed);
        let commuting = twin.gates.iter().zip(0..).all(|(gate, k)| match gate {
            Gate::Evolution(_, Angle::Trainable { .. }) => is_rotation(&twin, k),
            _ => true,
        });
        let (input, settings) = (input(twin.circuit.n_qubits()), settings(&observables));
        for reach in [Reach::Wires, Reach::Chains] {
            let all = shifts(&twin.circuit, &observables, &settings, reach);
            if !commuting && all.is_err() {
                assert!(all.unwrap_err().to_string().contains("do not commute"));
                continue;
            }
            let mut gradient = vec![0.0; 8];
            for shift in all.unwrap() {
                for experiment in [shift.minus().unwrap(), shift.plus().unwrap()] {
                    add(&experiment, &twin.theta, &input, &mut gradient);
                }
            }
            let expected = exact(&twin.circuit, &twin.theta, &observables, &input);
            assert_close(&gradient, &expected, &format!("seed {seed}"));
        }
    }
}

/// Whether the words of the generator of a gate commute.
fn is_rotation(twin: &Twin, gate: usize) -> bool {
    let Gate::Evolution(a, _) = &twin.gates[gate] else { return true };
    let n = twin.circuit.n_qubits();
    let words: Vec<Dense> = (0..1usize << (2 * n))
        .map(|code| {
            let letters = (0..n)
                .map(|q| (q, Letter::from_bits(code >> (2 * q) & 1 == 1, code >> (2 * q + 1) & 1 == 1)));
            dense::word(&PauliWord::from_sparse(n, letters).unwrap())
        })
        .filter(|word| word.times(a).trace().norm() > 1e-9)
        .collect();
    words.iter().all(|a| words.iter().all(|b| a.times(b).distance(&b.times(a)) < 1e-9))
}
