//! From snapshots to values with error bars.
//!
//! Counting comes first and is exact ([`Tally`], integers per bucket and word); the response of each word and the
//! combination rule are applied at the very end ([`estimate`], [`estimate_tally`]).
//!
//! With `h` the probability that a word is revealed, `m` its hits among `T` snapshots and `s` the sum of their
//! signs, the value of a word is `s / (T h)` (mean) or `s / m` (hit-normalised). A sum is the same combination of
//! its words. Cost: see [`tally`]; standard errors of sums of several words add one pass over the snapshots.

mod arrange;
mod codec;
mod combine;
mod moments;
mod prefix;
mod spread;
mod symbols;
mod tally;

pub use codec::FORMAT as TALLY_FORMAT;
pub use combine::{Combine, Estimates, estimate, estimate_gradient, estimate_tally};
pub use moments::read;
pub use tally::{Tally, tally};
