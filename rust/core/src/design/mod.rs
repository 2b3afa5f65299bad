//! Which settings to take, and how often: ensembles that make the variance of given sums small.
//!
//! Knows nothing of data and runs nothing. An [`Objective`] weighs the variances of rows; lists of settings come from
//! column generation over commuting families, letters and blocks from a certified fixed point.
//!
//! Invariant: deterministic, whatever the number of threads; every word that counts is revealed, unless a list is for fewer shots than
//! that takes.
//! Cost: [`Options::effort`] words are visited per search.

pub(crate) mod alike;
pub(crate) mod allocate;
mod commuting;
pub(crate) mod designed;
pub(crate) mod families;
mod fit;
mod letters;
mod local;
pub(crate) mod objective;
mod options;
mod pricing;
mod route;
pub(crate) mod search;
pub(crate) mod thin;

pub use allocate::{DirectMeasurement, Problem, Shares};
pub use designed::{Kind, design};
pub use families::Grouping;
pub use objective::{Goal, Objective, TIE};
pub use options::Options;
pub use route::{Mix, PerRoute, Route};
