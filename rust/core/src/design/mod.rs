//! What to measure: settings, ensembles of them, and the plan of a gradient.
//!
//! Knows nothing of data. A [`Setting`] says what the bits of a readout mean, an [`Ensemble`] how often a word is
//! revealed. The other ways of measuring a gradient are [`Experiment`]s: [`echoes`] and [`shifts`].

mod allocate;
mod echo;
mod diagonalise;
mod ensemble;
mod experiment;
mod families;
mod levels;
mod local;
mod objective;
mod plan;
mod search;
mod setting;
mod shift;

pub use allocate::{Direct, Problem, Shares, Way};
pub use echo::{Echo, echoes};
pub use diagonalise::{Connectivity, diagonalise};
pub use ensemble::Ensemble;
pub use experiment::{Cost, Experiment, Moment, Readings};
pub use families::Grouping;
pub use levels::Frame;
pub use objective::Objective;
pub use plan::{Goal, Method, Options, Plan, Row};
pub use setting::{Gate, Reading, Setting};
pub use shift::{Reach, Shift, shifts};
