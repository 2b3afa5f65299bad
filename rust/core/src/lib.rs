//! Classical shadows designed for gradients: from measured snapshots to estimates with error bars.
//!
//! The modules are the stages of the path of the data; each depends only on those before it.
//!
//! | module | holds |
//! |---|---|
//! | [`bits`] | packed words, transposition, popcounts with run-time dispatch, addressed random numbers, threads |
//! | [`pauli`] | Pauli words, lists of words, real sums of words |
//! | [`gates`] | what local gates do to the letters of a word |
//! | [`state`] | state vectors and product states, and the gates that act on them |
//! | [`circuit`] | parameterised circuits, their layers, their size, the state that they prepare |
//! | [`heisenberg`] | propagation of sums through circuits, gradient observables |
//! | [`stabiliser`] | settings: what the bits of a readout mean, and circuits for commuting words |
//! | [`ensemble`] | how settings are drawn, how often a word is revealed, what variance that gives |
//! | [`experiment`] | what is run and read for some of a gradient: settings, echoes, shifts |
//! | [`design`] | the settings that suit given sums, and how often to take each |
//! | [`snapshots`] | packed measurement records, outcomes, and sampling them from a state vector |
//! | [`estimate`] | tallies (integers), and estimates (floats, at the very end) |
//! | [`plan`] | every method side by side: what it costs, and what to run |
//!
//! Conventions, valid everywhere:
//!
//! - Qubit `q` is bit `q % 64` of word `q / 64`; **padding bits are zero**.
//! - A Pauli letter is the pair `(x, z)`: I = 00, X = 10, Y = 11, Z = 01.
//! - Qubit 0 is the most significant bit of a state-vector index.
//! - A measured bit 0 is the eigenvalue +1.

#![deny(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod bits;
pub mod circuit;
pub mod design;
pub mod ensemble;
pub mod error;
pub mod estimate;
pub mod experiment;
pub mod gates;
pub mod heisenberg;
pub mod pauli;
pub mod plan;
pub mod snapshots;
pub mod stabiliser;
pub mod state;

pub use error::{Error, ErrorKind, Result};
