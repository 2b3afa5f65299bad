//! Settings: Clifford rotations before a readout, and the groups of words that they reveal.
//!
//! A [`Setting`] says what the bits of a readout mean. [`diagonalise`] finds a short circuit that reveals commuting
//! words. A `GraphBasis` is a uniformly random setting of any width, a `Twirl` what makes its readout err alike in all words, and a [`StabiliserState`] what Clifford circuits
//! prepare.
//!
//! Invariant: signs are exact; nothing here knows how often a setting is measured.
//! Cost: reading a word in a setting is linear in its letters; see [`diagonalise`] for finding one.

mod diagonalise;
mod graph;
mod overlap;
mod rows;
mod setting;
mod state;
mod twirl;

pub(crate) use diagonalise::is_measurable;
pub use diagonalise::{Connectivity, diagonalise};
pub(crate) use graph::GraphBasis;
pub(crate) use overlap::Spread;
pub use setting::{Parity, Setting};
pub(crate) use state::Parities;
pub use state::StabiliserState;
pub(crate) use twirl::Twirl;
