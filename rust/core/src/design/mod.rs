//! How settings are drawn, and what that means for a word: [`Ensemble`], made of [`Setting`]s in [`Block`]s.
//!
//! Knows nothing of data. An ensemble answers the estimator (how often is a word revealed, and two of them at once), a
//! setting says what its bits mean.

mod block;
mod ensemble;
mod setting;
mod stabiliser;

pub(crate) use block::LocalReading;
pub use block::{Block, MAX_BLOCK_QUBITS};
pub use ensemble::Ensemble;
pub use setting::{Gate, Reading, Setting};
