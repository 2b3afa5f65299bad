//! How settings are drawn, and what that means for a word: [`Ensemble`]; what a setting reveals: [`Setting`]; the
//! setting that reveals given words: [`diagonalise`].
//!
//! Knows nothing of data. An ensemble answers one question for the estimator, the probability that a word is
//! revealed, and one for the sampler, the letter probabilities of a qubit.

mod diagonalise;
mod ensemble;
mod rows;
mod setting;

pub use diagonalise::{Connectivity, diagonalise};
pub use ensemble::Ensemble;
pub use setting::{Gate, Reading, Setting};
