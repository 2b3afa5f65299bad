//! Local gates: their matrices, and what they do to the letters of a word.
//!
//! A named gate is a [`Clifford`], stated by its matrix alone. Any other unitary or channel is a transfer matrix. Both
//! become tables that kernels read, in either [`Direction`].
//!
//! Invariant: every sign follows from the matrices. Cost: small and once per gate that is added.

mod clifford;
mod matrix;
mod transfer;

pub use clifford::{Clifford, CliffordGate};
pub(crate) use clifford::{clifford_table, conjugate, conjugate_columns};
pub(crate) use matrix::{LocalWord, Matrix};
pub use transfer::Direction;
pub(crate) use transfer::{LocalEntry, LocalMap, Permutation, Transfer};
