//! Product states.
//!
//! Invariant: one Bloch vector per qubit, none longer than one. Cost: an expectation value is a product over the
//! letters of the word.

use crate::error::{Error, Result};
use crate::pauli::Letter;

/// A product state, as one Bloch vector per qubit.
#[derive(Debug, Clone, PartialEq)]
pub struct ProductState {
    bloch: Vec<[f64; 3]>,
}

impl ProductState {
    /// The state `|0...0>`.
    pub fn zero(n_qubits: usize) -> Self {
        ProductState { bloch: vec![[0.0, 0.0, 1.0]; n_qubits] }
    }

    /// The state with these Bloch vectors `(x, y, z)`, which may be mixed.
    pub fn from_bloch(bloch: Vec<[f64; 3]>) -> Result<Self> {
        for (q, r) in bloch.iter().enumerate() {
            let length = r.iter().map(|c| c * c).sum::<f64>().sqrt();
            // A NaN is refused too.
            if length.is_nan() || length > 1.0 + 1e-9 {
                let found = format!("length {length} at qubit {q}");
                return Err(Error::invalid("bloch", "vectors of length at most 1", found));
            }
        }
        Ok(ProductState { bloch })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.bloch.len()
    }

    /// The Bloch vectors, qubit by qubit.
    pub fn bloch(&self) -> &[[f64; 3]] {
        &self.bloch
    }

    /// The expectation value of a word, by its letters.
    pub(crate) fn expectation(&self, letters: impl Iterator<Item = (usize, Letter)>) -> f64 {
        letters
            .map(|(q, letter)| match letter {
                Letter::I => 1.0,
                Letter::X => self.bloch[q][0],
                Letter::Y => self.bloch[q][1],
                Letter::Z => self.bloch[q][2],
            })
            .product()
    }
}
