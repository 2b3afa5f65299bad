//! From snapshots to values with error bars.
//!
//! Counting comes first and is exact ([`Tally`], integers per bucket and word); the response of each word and the
//! combination rule are applied at the very end ([`estimate`], [`estimate_tally`]).
//!
//! With `r` the response of a word, `m` its hits among `T` snapshots and `s` the sum of their signs, the value of a word
//! is `s / (T r)` (mean) or `s / m` (hit-normalised, and allocated lists). A sum is the same combination of its words.
//!
//! | for | look in |
//! |---|---|
//! | what is walked and counted | `arrange.rs`, `symbols.rs`, `prefix.rs`, `tally.rs` |
//! | how counts become values | `combine.rs`, `counted.rs` |
//! | what a readout that errs leaves | `calibration.rs` |
//! | how outcomes of experiments become values | `moments.rs` |
//! | how close a state is to a target | `fidelity.rs` |
//! | what snapshots say of a few qubits together | `patterns.rs` |
//! | what they say of later steps | `memory.rs` |
//! | every standard error | `strata.rs` |
//!
//! Cost: see [`tally`]; standard errors of sums of several words add one pass over the snapshots.

mod arrange;
mod calibration;
mod codec;
mod combine;
mod counted;
mod fidelity;
mod memory;
mod moments;
mod patterns;
mod prefix;
mod spread;
mod strata;
mod symbols;
mod tally;

pub use calibration::{Calibration, Contrast, DIRECTIONS, Directions, calibrated, calibration_variances};
pub use codec::FORMAT as TALLY_FORMAT;
pub use combine::{Combine, Estimates, estimate, estimate_calibrated, estimate_gradient, estimate_tally};
pub use fidelity::{Average, LowRank, Target, agreements, fidelity, fidelity_gradient, low_rank};
pub(crate) use memory::Part;
pub use memory::{MAX_OUTCOMES, Memory, Recalled, Seen};
pub use moments::{Run, read, read_all, read_combined};
pub use patterns::{MAX_PATTERN_QUBITS, pattern_counts};
pub use tally::{Tally, tally};
