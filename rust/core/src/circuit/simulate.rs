//! The state vector that a circuit prepares.
//!
//! Invariant: the state of [`simulate`] has the expectation values that [`crate::heisenberg::value`] computes; a
//! global phase means nothing. Channels are refused, for a vector cannot hold what they leave.
//! Cost: one pass over `2^n` amplitudes per gate, on the calling thread.

use crate::bits::parallel::Cancel;
use crate::bits::room;
use crate::circuit::{Circuit, Operation, exponential};
use crate::error::{Error, Result};
use crate::pauli::PauliWord;
use crate::pauli::word::check_width;
use crate::state::ProductState;
use crate::state::{apply, rotate};
use num_complex::Complex64;
use std::ops::Range;

/// Widest circuit that is simulated: 2^26 amplitudes are 1 GiB.
pub const MAX_SIMULATED_QUBITS: usize = 26;
/// How far the length of the Bloch vector of a pure state may be from one.
const PURITY: f64 = 1e-6;

/// The amplitudes after the circuit has acted on a product state of pure qubits; qubit 0 is the most significant bit of
/// the index.
///
/// ```
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::gates::Clifford;
/// use efl_core::state::ProductState;
/// use efl_core::{bits::parallel::Cancel, pauli::Letter, circuit::simulate};
/// let mut circuit = Circuit::new(2, 1)?;
/// circuit.rotation([(0, Letter::Y)], Angle::parameter(0))?;
/// circuit.clifford(Clifford::Cnot, &[0, 1])?;
/// let state = simulate(&circuit, &[0.6], &ProductState::zero(2), &Cancel::new())?;
/// assert!((state[0b00].re - f64::cos(0.3)).abs() + (state[0b11].re - f64::sin(0.3)).abs() < 1e-15);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn simulate(
    circuit: &Circuit,
    theta: &[f64],
    input: &ProductState,
    cancel: &Cancel,
) -> Result<Vec<Complex64>> {
    check_width("input", circuit.n_qubits(), input.n_qubits())?;
    let mut amplitudes = product(input, cancel)?;
    evolve(circuit, theta, &mut amplitudes, cancel)?;
    Ok(amplitudes)
}

/// About how many nanoseconds [`simulate`] takes on one thread, or more than it does.
pub fn simulation_time(circuit: &Circuit) -> u64 {
    let size = |qubits: usize| 1u64 << qubits.min(40);
    let all = size(circuit.n_qubits());
    let of = |operation: &Operation| match operation {
        Operation::Rotation { .. } => all,
        // A matrix of so many rows, or that and the exponential that it is.
        other => {
            let rows = size(other.wires().count().min(12));
            all.saturating_mul(rows).saturating_add(rows.pow(3))
        }
    };
    circuit.operations().iter().map(of).fold(all, u64::saturating_add)
}

/// Moves a state vector through a circuit, in place.
pub fn evolve(circuit: &Circuit, theta: &[f64], amplitudes: &mut [Complex64], cancel: &Cancel) -> Result<()> {
    evolve_through(circuit, 0..circuit.operations().len(), theta, amplitudes, cancel)
}

/// Moves a state vector through some operations of a circuit.
pub(crate) fn evolve_through(
    circuit: &Circuit,
    operations: Range<usize>,
    theta: &[f64],
    amplitudes: &mut [Complex64],
    cancel: &Cancel,
) -> Result<()> {
    let n = circuit.n_qubits();
    check_simulated(n)?;
    if amplitudes.len() != 1 << n {
        return Err(Error::shape(
            "amplitudes",
            format!("2^{n}, as the circuit has {n} qubits"),
            amplitudes.len().to_string(),
        ));
    }
    let angles = circuit.angles(theta)?;
    operations.into_iter().try_for_each(|index| step(circuit, index, angles[index], amplitudes, cancel))
}

/// Moves a state vector of the circuit's width through one operation, at its angle.
pub(super) fn step(
    circuit: &Circuit,
    index: usize,
    angle: f64,
    amplitudes: &mut [Complex64],
    cancel: &Cancel,
) -> Result<()> {
    cancel.check()?;
    match &circuit.operations()[index] {
        Operation::Rotation { letters, .. } => {
            let word = PauliWord::from_sparse(circuit.n_qubits(), letters.iter().copied())?;
            rotate(word.view(), angle, amplitudes, cancel)
        }
        Operation::Permutation { wires, matrix, .. }
        | Operation::Transfer { wires, matrix: Some(matrix), .. } => {
            apply(matrix.entries(), wires, amplitudes, cancel)
        }
        Operation::Evolution { wires, generator, .. } => {
            apply(exponential(wires.len(), generator, angle)?.entries(), wires, amplitudes, cancel)
        }
        Operation::Transfer { matrix: None, .. } => Err(no_vector(circuit, index)),
    }
}

/// Operation `index` is a channel.
pub(super) fn no_vector(circuit: &Circuit, index: usize) -> Error {
    Error::invalid(
        "circuit",
        "unitary gates (a channel leaves a mixed state, which is no vector)",
        format!("a channel at gate {}", circuit.gate_of(index)),
    )
}

pub(crate) fn check_simulated(n_qubits: usize) -> Result<()> {
    if n_qubits > MAX_SIMULATED_QUBITS {
        return Err(Error::Limit {
            what: "qubits to simulate".into(),
            needed: n_qubits as u64,
            limit: MAX_SIMULATED_QUBITS as u64,
            remedy: "propagate observables instead, which needs no state".into(),
        });
    }
    Ok(())
}

/// The amplitudes of a product of pure qubits.
pub(crate) fn product(input: &ProductState, cancel: &Cancel) -> Result<Vec<Complex64>> {
    check_simulated(input.n_qubits())?;
    let qubits: Vec<[Complex64; 2]> = input.bloch().iter().enumerate().map(pure).collect::<Result<_>>()?;
    let (front, back) = qubits.split_at(qubits.len().saturating_sub(REPEATED));
    let repeated = kron(back);
    let mut amplitudes = room("the state vector", 1 << input.n_qubits(), 1)?;
    for factor in kron(front) {
        cancel.check()?;
        amplitudes.extend(repeated.iter().map(|amplitude| factor * amplitude));
    }
    Ok(amplitudes)
}

/// Qubits whose amplitudes are made once.
const REPEATED: usize = 16;

/// The amplitudes of a qubit with a Bloch vector of length one.
fn pure((q, r): (usize, &[f64; 3])) -> Result<[Complex64; 2]> {
    let length = r.iter().map(|c| c * c).sum::<f64>().sqrt();
    if (length - 1.0).abs() > PURITY {
        return Err(Error::invalid(
            "input",
            "pure qubits, Bloch vectors of length 1",
            format!("length {length} at qubit {q}"),
        ));
    }
    let [x, y, z] = r.map(|c| c / length);
    // The larger amplitude is made real, so that nothing is divided by a small number.
    let large = ((1.0 + z.abs()) / 2.0).sqrt();
    let small = Complex64::new(x, if z >= 0.0 { y } else { -y }) / (2.0 * large);
    let large = Complex64::new(large, 0.0);
    Ok(if z >= 0.0 { [large, small] } else { [small, large] })
}

fn kron(qubits: &[[Complex64; 2]]) -> Vec<Complex64> {
    let one = vec![Complex64::new(1.0, 0.0)];
    qubits.iter().fold(one, |before, qubit| {
        before.iter().flat_map(|amplitude| qubit.map(|own| amplitude * own)).collect()
    })
}
