//! What to run and what to read: settings, their ensembles, and experiments that give gradients.
//!
//! Knows nothing of data. An [`Ensemble`] answers one question for the estimator, the probability that a word is
//! revealed, and one for the sampler, the letter probabilities of a qubit. A [`Setting`] says what readout bits mean;
//! [`diagonalise`] finds one for words that commute.
//!
//! Gradients need not be read off the final state: [`echoes`] and [`shifts`] are [`Experiment`]s on other circuits,
//! valid at all parameters. A [`Frame`] knows which gates stand in each other's way.

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
