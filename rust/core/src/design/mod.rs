//! How settings are drawn, and what that means for a word: [`Ensemble`].
//!
//! Knows nothing of data. An ensemble answers one question for the estimator, the probability that a word is
//! revealed, and one for the sampler, the letter probabilities of a qubit.

mod allocate;
mod ensemble;
mod families;
mod local;
mod objective;
mod search;
mod setting;

pub use allocate::{Direct, Problem, Shares, Way};
pub use ensemble::Ensemble;
pub use families::Grouping;
pub use objective::Objective;
pub use setting::{Gate, Reading, Setting};
