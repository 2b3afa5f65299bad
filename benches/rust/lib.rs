//! Inputs that the benches share: random snapshots, words, states and angles from fixed seeds, and circuits.

use efl_core::bits::philox::philox;
use efl_core::circuit::{Angle, Circuit};
use efl_core::ensemble::Ensemble;
use efl_core::gates::Clifford;
use efl_core::pauli::{Letter, PauliWord, Words};
use efl_core::snapshots::Snapshots;
use num_complex::Complex64;

/// An endless stream of random numbers below 2^32.
pub fn random(stream: u64) -> impl FnMut() -> u64 {
    let mut counter = 0;
    move || {
        counter += 1;
        philox([stream, 0], [counter, 0, 0, 0])[0] >> 32
    }
}

/// Row-major arrays `(bits, bases)` of random snapshots.
pub fn random_arrays(shots: usize, n_qubits: usize) -> (Vec<u8>, Vec<u8>) {
    let mut draw = random(1);
    let bits = (0..shots * n_qubits).map(|_| (draw() & 1) as u8).collect();
    let bases = (0..shots * n_qubits).map(|_| (draw() % 3) as u8).collect();
    (bits, bases)
}

/// Random snapshots of the uniform ensemble.
pub fn random_snapshots(shots: usize, n_qubits: usize) -> Snapshots {
    let (bits, bases) = random_arrays(shots, n_qubits);
    let uniform = Ensemble::uniform(n_qubits).expect("a positive width");
    Snapshots::from_arrays(&bits, &bases, shots, uniform).expect("valid arrays")
}

/// `count` random words of weight 1 to `max_weight`.
pub fn random_words(count: usize, n_qubits: usize, max_weight: usize) -> Words {
    let mut draw = random(2);
    let mut words = Words::new(n_qubits);
    for _ in 0..count {
        let weight = 1 + draw() as usize % max_weight;
        let mut qubits: Vec<usize> = (0..n_qubits).collect();
        for i in 0..weight {
            qubits.swap(i, i + draw() as usize % (n_qubits - i));
        }
        let letters =
            qubits[..weight].iter().map(|&q| (q, [Letter::X, Letter::Y, Letter::Z][draw() as usize % 3]));
        let word = PauliWord::from_sparse(n_qubits, letters).expect("distinct qubits");
        words.push(&word).expect("one width");
    }
    words
}

/// A random normalised state.
pub fn random_state(n_qubits: usize) -> Vec<Complex64> {
    let mut draw = random(3);
    let mut unit = move || draw() as f64 / (1u64 << 32) as f64 - 0.5;
    let state: Vec<Complex64> = (0..1 << n_qubits).map(|_| Complex64::new(unit(), unit())).collect();
    let norm = state.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
    state.into_iter().map(|a| a / norm).collect()
}

/// `count` random angles between `-range` and `range`.
pub fn random_angles(count: usize, range: f64) -> Vec<f64> {
    let mut draw = random(4);
    (0..count).map(|_| range * (2.0 * draw() as f64 / (1u64 << 32) as f64 - 1.0)).collect()
}

/// Layers of RY, RZ on every qubit and a brick wall of CZ.
pub fn brickwork(n: usize, depth: usize) -> Circuit {
    let mut circuit = Circuit::new(n, 2 * n * depth).unwrap();
    let mut parameter = 0;
    for _ in 0..depth {
        for q in 0..n {
            for letter in [Letter::Y, Letter::Z] {
                circuit.rotation([(q, letter)], Angle::parameter(parameter)).unwrap();
                parameter += 1;
            }
        }
        for q in (0..n - 1).step_by(2).chain((1..n - 1).step_by(2)) {
            circuit.clifford(Clifford::Cz, &[q, q + 1]).unwrap();
        }
    }
    circuit
}

/// Strongly entangling layers, RZ RY RZ on every qubit and a ring of two-qubit gates at growing range, after a fixed
/// embedding.
pub fn strongly_entangling(n: usize, depth: usize, gate: Clifford) -> Circuit {
    let mut circuit = Circuit::new(n, 3 * n * depth).unwrap();
    (0..n).for_each(|q| circuit.rotation([(q, Letter::Y)], 0.1 + q as f64).unwrap());
    let mut parameter = 0;
    for layer in 0..depth {
        for q in 0..n {
            for letter in [Letter::Z, Letter::Y, Letter::Z] {
                circuit.rotation([(q, letter)], Angle::parameter(parameter)).unwrap();
                parameter += 1;
            }
        }
        let range = layer % (n - 1) + 1;
        (0..n).for_each(|q| circuit.clifford(gate, &[q, (q + range) % n]).unwrap());
    }
    circuit
}
