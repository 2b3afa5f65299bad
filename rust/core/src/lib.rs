//! Classical shadows designed for gradients: from measured snapshots to estimates with error bars.
//!
//! The modules are the stages of the path of the data; each depends only on those before it.
//!
//! | module | holds |
//! |---|---|
//! | [`bits`] | packed words, transposition, popcounts with run-time dispatch, addressed random numbers, the thread pool |
//! | [`pauli`] | Pauli words, lists of words, real sums of words |
//! | [`state`] | state vectors, and the gates that act on them |
//! | [`heisenberg`] | circuits, propagation of sums through them, gradient observables |
//! | [`simulate`] | the state vector that a circuit prepares |
//! | [`design`] | ensembles: how settings are drawn, and how often a word is revealed |
//! | [`snapshots`] | packed measurement records, and sampling them from a state vector |
//! | [`estimate`] | tallies (integers), and estimates (floats, at the very end) |
//!
//! Conventions, valid everywhere:
//!
//! - Qubit `q` is bit `q % 64` of word `q / 64`; **padding bits are zero**.
//! - A Pauli letter is the pair `(x, z)`: I = 00, X = 10, Y = 11, Z = 01.
//! - Qubit 0 is the most significant bit of a state-vector index.
//! - A measured bit 0 is the eigenvalue +1.

#![deny(unsafe_code)]

pub mod bits;
pub mod design;
pub mod error;
pub mod estimate;
pub mod heisenberg;
pub mod pauli;
pub mod simulate;
pub mod snapshots;
pub mod state;

pub use error::{Error, ErrorKind, Result};
