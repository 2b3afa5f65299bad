//! Where a target state goes with the parameters of a circuit: what gradients of fidelities are read with.
//!
//! With U the circuit and w what it turns into the target, `d U w / d theta_j = -(i/2) chi_j` at the angles of the circuit, and
//! so `chi_j = sum_k c_kj P~_k |target>`: P~_k is the generator of gate k moved to the end, c_kj the derivative of its angle.
//!
//! Invariant: only the gates count, not the state that they act on. Cost: a pass over `2^n` amplitudes for each gate and
//! parameter, on the calling thread. Memory: a vector for each parameter.

use crate::bits::parallel::Cancel;
use crate::bits::{memory, room};
use crate::circuit::simulate::{no_vector, step};
use crate::circuit::{Angle, Circuit, evolve};
use crate::error::Result;
use crate::pauli::WordRef;
use num_complex::Complex64;

/// The vector chi_j of each parameter.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::circuit::{Angle, Circuit, tangents};
/// use efl_core::pauli::Letter;
/// use num_complex::Complex64;
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let [zero, one] = [0.0, 1.0].map(|re| Complex64::new(re, 0.0));
/// let found = tangents(&circuit, &[0.3], &[one, zero], &Cancel::new())?;
/// assert!((found[0][0] - zero).norm() + (found[0][1] - one).norm() < 1e-15); // X|0>
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn tangents(
    circuit: &Circuit,
    theta: &[f64],
    target: &[Complex64],
    cancel: &Cancel,
) -> Result<Vec<Vec<Complex64>>> {
    let mut backwards = circuit.emptied();
    for (index, operation) in circuit.operations().iter().enumerate().rev() {
        backwards.push(operation.inverse().ok_or_else(|| no_vector(circuit, index))?);
    }
    let mut moved = room("the target", target.len(), 1)?;
    moved.extend_from_slice(target);
    evolve(&backwards, theta, &mut moved, cancel)?;
    let bytes = (16 * circuit.n_parameters() as u64).saturating_mul(target.len() as u64);
    memory::check("the derivatives of a target", bytes)?;
    let mut found = vec![None; circuit.n_parameters()];
    let none = || vec![Complex64::default(); target.len()];
    for (index, &angle) in circuit.angles(theta)?.iter().enumerate() {
        let before = found.iter_mut().flatten();
        std::iter::once(&mut moved)
            .chain(before)
            .try_for_each(|vector| step(circuit, index, angle, vector, cancel))?;
        let operation = &circuit.operations()[index];
        if let Some((parameter, scale)) = operation.angle().and_then(Angle::feed) {
            let own: &mut Vec<Complex64> = found[parameter].get_or_insert_with(none);
            for (word, weight) in operation.generator(circuit.n_qubits())? {
                cancel.check()?;
                add(word.view(), scale * weight, &moved, own);
            }
        }
    }
    Ok(found.into_iter().map(|vector| vector.unwrap_or_else(none)).collect())
}

/// Adds a multiple of `word` applied to a vector.
fn add(word: WordRef<'_>, factor: f64, vector: &[Complex64], sum: &mut [Complex64]) {
    let n = word.n_qubits();
    // As masks of an index, in which qubit 0 is the most significant bit.
    let mask = |row: &[u64]| (row[0].reverse_bits() >> (64 - n)) as usize;
    let (x, z) = (mask(word.x()), mask(word.z()));
    let phase = Complex64::new(0.0, 1.0).powu((x & z).count_ones() % 4) * factor;
    for (i, amplitude) in vector.iter().enumerate() {
        let sign = if (z & i).count_ones() % 2 == 1 { -1.0 } else { 1.0 };
        sum[i ^ x] += phase * amplitude * sign;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::simulate;
    use crate::gates::Clifford;
    use crate::pauli::{Letter, PauliSum};
    use crate::state::ProductState;

    /// Gates of every kind, parameters that feed several of them, one that feeds none, and an input.
    fn circuit() -> Circuit {
        let mut circuit = Circuit::new(3, 4).unwrap();
        let input = circuit.input();
        let feed = |parameter, scale| Angle::Trainable { parameter, scale, offset: 0.4 };
        circuit.rotation([(0, Letter::Y)], Angle::parameter(0)).unwrap();
        circuit.clifford(Clifford::Cnot, &[0, 1]).unwrap();
        circuit.rotation([(1, Letter::X), (2, Letter::Y)], feed(1, -1.5)).unwrap();
        let clashing = PauliSum::from_labels([("XXI", 0.6), ("IZI", -0.4), ("YII", 0.3)]).unwrap();
        circuit.evolution(&clashing, feed(2, 0.7)).unwrap();
        circuit.rotation([(2, Letter::Z)], input).unwrap();
        circuit.unitary(&Clifford::H.matrix(), &[2]).unwrap();
        let commuting = PauliSum::from_labels([("ZZI", 0.5), ("IZZ", 0.8)]).unwrap();
        circuit.evolution(&commuting, feed(0, 2.0)).unwrap();
        circuit.rotation([(2, Letter::X)], Angle::parameter(1)).unwrap();
        circuit
    }

    #[test]
    fn fidelities_change_as_tangents_say() {
        let (circuit, cancel) = (circuit(), Cancel::new());
        let theta = [0.3, -0.8, 1.1, 5.0, 0.9];
        let state = |theta: &[f64]| simulate(&circuit, theta, &ProductState::zero(3), &cancel).unwrap();
        let mut turned = theta;
        turned[0] += 0.7;
        turned[2] -= 0.4;
        let target = state(&turned);
        let inner = |a: &[Complex64], b: &[Complex64]| -> Complex64 {
            a.iter().zip(b).map(|(a, b)| a.conj() * b).sum()
        };
        let psi = state(&theta);
        let found = tangents(&circuit, &theta, &target, &cancel).unwrap();
        for j in 0..4 {
            let fidelity = |step: f64| {
                let mut moved = theta;
                moved[j] += step;
                inner(&target, &state(&moved)).norm_sqr()
            };
            let slope = (fidelity(1e-5) - fidelity(-1e-5)) / 2e-5;
            let read = -(inner(&target, &psi) * inner(&psi, &found[j])).im;
            assert!((slope - read).abs() < 1e-8, "{j}: {slope} {read}");
            assert_eq!(slope.abs() > 1e-4, j != 3, "{j}: {slope}");
            assert!(inner(&target, &found[j]).im.abs() < 1e-12);
        }
    }

    #[test]
    fn what_has_no_tangents_is_refused() {
        let cancel = Cancel::new();
        let one = Complex64::new(1.0, 0.0);
        let mut noisy = Circuit::new(1, 0).unwrap();
        noisy
            .channel(
                &[[one * 0.6, 0.0 * one, 0.0 * one, one * 0.6], [0.0 * one, one * 0.8, one * 0.8, 0.0 * one]],
                &[0],
            )
            .unwrap();
        assert!(tangents(&noisy, &[], &[one, 0.0 * one], &cancel).is_err());
        assert!(tangents(&Circuit::new(2, 0).unwrap(), &[], &[one, 0.0 * one], &cancel).is_err());
    }
}
