//! Inputs that the benches share.

use efl_core::heisenberg::{Angle, Circuit, Clifford};
use efl_core::pauli::Letter;

/// Splitmix64, uniform in [-1, 1).
pub fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ z >> 31) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
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
