//! What to measure: settings, ensembles of them, and the plan of a gradient.
//!
//! Knows nothing of data. A [`Setting`] says what the bits of a readout mean, an [`Ensemble`] (settings in [`Block`]s) how
//! often a word is revealed. The other ways of measuring a gradient are [`Experiment`]s: [`echoes`] and [`shifts`].
//! A [`Plan`] compares them all.

mod allocate;
mod block;
mod designed;
mod diagonalise;
mod echo;
mod ensemble;
mod experiment;
mod families;
mod levels;
mod limit;
mod local;
mod objective;
mod plan;
mod predict;
mod readout;
mod rows;
mod search;
mod setting;
mod shift;
mod stabiliser;

pub use allocate::{Direct, Problem, Shares, Way};
pub(crate) use block::LocalReading;
pub use block::{Block, MAX_BLOCK_QUBITS};
pub use designed::{Kind, design};
pub use diagonalise::{Connectivity, diagonalise};
pub use echo::{Echo, echoes};
pub use ensemble::Ensemble;
pub use experiment::{Cost, Experiment, Moment, Readings};
pub use families::Grouping;
pub use levels::Frame;
pub use objective::{Goal, Objective};
pub use plan::{Method, Options, Plan, Row, Simulated};
pub use predict::MAX_EXACT_QUBITS;
pub use readout::measure;
pub use setting::{Gate, Reading, Setting};
pub use shift::{Reach, Shift, shifts};
