//! How a local gate moves Pauli words: transfer matrices, and the two sparse forms that kernels read.
//!
//! The transfer matrix of a channel `E` on `k` qubits is `R[P, Q] = tr(P E(Q)) / 2^k`, real, over the codes of
//! [`super::matrix`]. Schroedinger: `E(Q) = sum_P R[P, Q] P`, a column. Heisenberg: `E^dag(P) = sum_Q R[P, Q] Q`,
//! a row. A Clifford gate is a signed permutation. Cost: `8^k` complex multiplications per row, once per gate.

use super::matrix::TOLERANCE;
use crate::error::{Error, Result};
use crate::gates::{LocalWord, Matrix};
use num_complex::Complex64;

/// Entries below this are rounding noise of a matrix whose entries are at most 1.
const NEGLIGIBLE: f64 = 1e-15;

/// The real transfer matrix of a channel on `k` qubits.
#[derive(Debug, Clone)]
pub(crate) struct Transfer {
    pub(crate) n_wires: usize,
    /// `R[P, Q]` at `P * 4^k + Q`.
    entries: Vec<f64>,
    /// The matrix, when the channel is one.
    pub(crate) unitary: Option<Matrix>,
}

impl Transfer {
    pub(crate) fn of_unitary(n_wires: usize, unitary: &Matrix) -> Result<Self> {
        unitary.check_unitary().map_err(|error| {
            let found = format!("one that is off by {error:.1e}");
            Error::invalid("matrix", "a unitary matrix, U U^dag = 1", found)
        })?;
        Ok(Transfer::of_operators(n_wires, std::slice::from_ref(unitary)))
    }

    pub(crate) fn of_kraus(n_wires: usize, kraus: &[Matrix]) -> Result<Self> {
        let mut sum = Matrix::zero(1 << n_wires);
        for operator in kraus {
            sum.add_scaled(Complex64::new(1.0, 0.0), &operator.dagger().multiply(operator));
        }
        let error = sum.distance(&Matrix::identity(1 << n_wires));
        if error.is_nan() || error > TOLERANCE {
            return Err(Error::invalid(
                "kraus",
                "operators with sum K^dag K = 1",
                format!("a sum that is off by {error:.1e}"),
            ));
        }
        let mut transfer = Transfer::of_operators(n_wires, kraus);
        if transfer.unitary.is_none() && transfer.to_permutation().is_some() {
            // Noise of strength zero: every operator is a multiple of one Clifford gate.
            transfer.unitary =
                kraus.iter().map(Matrix::normalised).max_by(|a, b| a.0.total_cmp(&b.0)).map(|m| m.1);
        }
        Ok(transfer)
    }

    fn of_operators(n_wires: usize, operators: &[Matrix]) -> Self {
        let codes = 1usize << (2 * n_wires);
        let mut entries = vec![0.0; codes * codes];
        let daggers: Vec<Matrix> = operators.iter().map(Matrix::dagger).collect();
        for q in 0..codes {
            let word = Matrix::pauli(q, n_wires);
            for (operator, dagger) in operators.iter().zip(&daggers) {
                let image = operator.multiply(&word).multiply(dagger);
                for p in 0..codes {
                    entries[p * codes + q] += image.pauli_component(p, n_wires).re;
                }
            }
        }
        let unitary = if let [unitary] = operators { Some(unitary.clone()) } else { None };
        Transfer { n_wires, entries, unitary }
    }

    fn codes(&self) -> usize {
        1 << (2 * self.n_wires)
    }

    /// The map that undoes `E^dag`: rows of the inverse of the matrix. `None` where what the channel leaves says too
    /// little of what came in.
    pub(crate) fn to_recovery(&self) -> Option<LocalMap> {
        let codes = self.codes();
        let inverse = inverted(&self.entries, codes)?;
        let mut map = LocalMap { offsets: vec![0], entries: Vec::new() };
        for row in inverse.chunks_exact(codes) {
            for (to, &value) in row.iter().enumerate().filter(|(_, value)| value.abs() > NEGLIGIBLE) {
                map.entries.push(LocalEntry { to: to as u32, value, slope: 0.0 });
            }
            map.offsets.push(map.entries.len());
        }
        Some(map)
    }

    /// Whether the identity is mapped to the identity, so that a word off the wires is left alone.
    pub(crate) fn is_unital(&self) -> bool {
        (1..self.codes()).all(|p| self.entries[p * self.codes()].abs() <= NEGLIGIBLE)
    }

    /// The signed permutations of the two pictures, when this is a Clifford gate.
    pub(crate) fn to_permutation(&self) -> Option<Permutation> {
        let codes = self.codes();
        if codes > 16 {
            return None;
        }
        let mut permutation = Permutation { forward: [0; 16], backward: [0; 16] };
        for q in 0..codes {
            let p = (0..codes).find(|&p| (self.entries[p * codes + q].abs() - 1.0).abs() < 1e-12)?;
            let sign = if self.entries[p * codes + q] < 0.0 { Permutation::NEGATIVE } else { 0 };
            permutation.forward[q] = p as u8 | sign;
            permutation.backward[p] = q as u8 | sign;
        }
        Some(permutation)
    }

    /// The rows that kernels read. In the Heisenberg picture and for a gate `exp(-i t A)`, `generator` adds the
    /// derivative by `t`, of `U^dag P U`, which is `U^dag i[A, P] U`.
    pub(crate) fn to_map(&self, direction: Direction, generator: &[(usize, f64)]) -> LocalMap {
        let codes = self.codes();
        let mut map = LocalMap { offsets: vec![0], entries: Vec::new() };
        let mut slopes = vec![0.0; codes];
        for from in 0..codes {
            slopes.fill(0.0);
            let p = LocalWord::new(from, self.n_wires);
            for &(code, coefficient) in generator {
                // i[a W, P] = 2a (i W P) where they anticommute; i W P = -(WP) for the power 1, +(WP) for 3.
                let sign = match LocalWord::new(code, self.n_wires).product_power(&p) {
                    1 => -1.0,
                    3 => 1.0,
                    _ => continue,
                };
                let row = (code ^ from) * codes;
                for to in 0..codes {
                    slopes[to] += 2.0 * coefficient * sign * self.entries[row + to];
                }
            }
            for to in 0..codes {
                let value = match direction {
                    Direction::Heisenberg => self.entries[from * codes + to],
                    Direction::Schroedinger | Direction::Recovery => self.entries[to * codes + from],
                };
                let negligible = |v: f64| if v.abs() <= NEGLIGIBLE { 0.0 } else { v };
                let (value, slope) = (negligible(value), negligible(slopes[to]));
                if value != 0.0 || slope != 0.0 {
                    map.entries.push(LocalEntry { to: to as u32, value, slope });
                }
            }
            map.offsets.push(map.entries.len());
        }
        map
    }
}

/// In which picture a sum moves through a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the last gate to the first, `O -> U^dag O U`: observables.
    Heisenberg,
    /// From the first gate to the last, `P -> U P U^dag`: states, and generators on the final state.
    Schroedinger,
    /// From the first gate to the last, undoing [`Direction::Heisenberg`]: what an observable of the input is on the
    /// final state. It differs from [`Direction::Schroedinger`] at channels only, whose damping it makes good.
    Recovery,
}

/// The largest entry of an inverse: beyond, what a channel leaves says nothing of what came in.
const MAX_RECOVERY: f64 = 1e4;

/// The inverse of a square matrix by elimination with row pivots; `None` where it has entries that are too large.
fn inverted(matrix: &[f64], size: usize) -> Option<Vec<f64>> {
    let width = 2 * size;
    let mut rows = vec![0.0; size * width];
    for r in 0..size {
        rows[r * width..r * width + size].copy_from_slice(&matrix[r * size..(r + 1) * size]);
        rows[r * width + size + r] = 1.0;
    }
    for column in 0..size {
        let pivot = (column..size)
            .max_by(|&a, &b| rows[a * width + column].abs().total_cmp(&rows[b * width + column].abs()))?;
        let value = rows[pivot * width + column];
        if value.abs() < 1.0 / MAX_RECOVERY {
            return None;
        }
        (0..width).for_each(|j| rows.swap(pivot * width + j, column * width + j));
        (0..width).for_each(|j| rows[column * width + j] /= value);
        for r in (0..size).filter(|&r| r != column) {
            let factor = rows[r * width + column];
            if factor != 0.0 {
                for j in 0..width {
                    rows[r * width + j] -= factor * rows[column * width + j];
                }
            }
        }
    }
    let inverse: Vec<f64> =
        (0..size).flat_map(|r| rows[r * width + size..(r + 1) * width].iter().copied()).collect();
    inverse.iter().all(|entry| entry.abs() <= MAX_RECOVERY).then_some(inverse)
}

/// A Clifford gate on one or two wires: where each code goes, with the sign in [`Permutation::NEGATIVE`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permutation {
    forward: [u8; 16],
    backward: [u8; 16],
}

impl Permutation {
    pub(crate) const NEGATIVE: u8 = 0x80;

    pub(crate) fn table(&self, direction: Direction) -> &[u8; 16] {
        match direction {
            Direction::Heisenberg => &self.backward,
            Direction::Schroedinger | Direction::Recovery => &self.forward,
        }
    }

    /// The permutation of the inverse gate.
    pub(crate) fn inverse(&self) -> Permutation {
        Permutation { forward: self.backward, backward: self.forward }
    }
}

/// A linear map on the words of a few qubits, by rows of the code that comes in.
#[derive(Debug, Clone)]
pub(crate) struct LocalMap {
    offsets: Vec<usize>,
    entries: Vec<LocalEntry>,
}

/// One entry of a [`LocalMap`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalEntry {
    pub(crate) to: u32,
    pub(crate) value: f64,
    /// Derivative of `value` by the angle of the gate.
    pub(crate) slope: f64,
}

impl LocalMap {
    pub(crate) fn row(&self, from: usize) -> &[LocalEntry] {
        &self.entries[self.offsets[from]..self.offsets[from + 1]]
    }

    /// Whether every word is only multiplied by a number.
    pub(crate) fn is_diagonal(&self) -> bool {
        (0..self.offsets.len() - 1).all(|from| self.row(from).iter().all(|entry| entry.to as usize == from))
    }

    /// One entry, zero where the row has none.
    pub(crate) fn value(&self, from: usize, to: u32) -> f64 {
        let row = self.row(from);
        row.binary_search_by_key(&to, |entry| entry.to).map_or(0.0, |at| row[at].value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Clifford;

    #[test]
    fn every_named_gate_is_a_signed_permutation() {
        for gate in Clifford::ALL {
            let transfer = Transfer::of_unitary(gate.n_wires(), &gate.dense().unwrap()).unwrap();
            let permutation = transfer.to_permutation().unwrap();
            let (forward, backward) = (permutation.forward, permutation.backward);
            for code in 0..1usize << (2 * gate.n_wires()) {
                let image = forward[code];
                let back = backward[(image & 15) as usize];
                assert_eq!((back & 15) as usize, code, "{gate:?}");
                assert_eq!(back & 0x80, image & 0x80, "{gate:?}");
            }
        }
    }

    #[test]
    fn what_is_not_a_channel_is_refused() {
        let half = Matrix::new("m", 1, &[Complex64::new(0.5, 0.0); 4]).unwrap();
        assert!(Transfer::of_unitary(1, &half).is_err());
        assert!(Transfer::of_kraus(1, &[half.clone(), half]).is_err());
        assert!(Matrix::new("m", 1, &[Complex64::new(f64::NAN, 0.0); 4]).is_err());
        assert!(Matrix::new("m", 2, &[Complex64::new(0.0, 0.0); 4]).is_err());
    }
}
