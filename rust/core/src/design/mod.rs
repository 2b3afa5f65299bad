//! How settings are drawn, and what that means for a word: [`Ensemble`].
//!
//! Knows nothing of data. An ensemble answers one question for the estimator, the probability that a word is
//! revealed, and one for the sampler, the letter probabilities of a qubit.

mod diagonalise;
mod echo;
mod ensemble;
mod experiment;
mod levels;
mod setting;
mod shift;

pub use diagonalise::{Connectivity, diagonalise};
pub use echo::{Echo, echoes};
pub use ensemble::Ensemble;
pub use experiment::{Cost, Experiment, Moment, Readings};
pub use levels::Frame;
pub use setting::{Gate, Reading, Setting};
pub use shift::{Reach, Shift, shifts};
