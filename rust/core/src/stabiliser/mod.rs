//! Settings: Clifford rotations before a readout, and the groups of words that they reveal.
//!
//! A [`Setting`] says what the bits of a readout mean. [`diagonalise`] finds a short circuit that reveals commuting
//! words.
//!
//! Invariant: signs are exact; nothing here knows how often a setting is measured.
//! Cost: reading a word in a setting is linear in its letters; see [`diagonalise`] for finding one.

mod diagonalise;
mod rows;
mod setting;

pub(crate) use diagonalise::is_measurable;
pub use diagonalise::{Connectivity, diagonalise};
pub use setting::{Parity, Setting};
