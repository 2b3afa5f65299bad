//! What designs make small, and what they may use.

use super::objective::Goal;
use super::search;
use crate::stabiliser::Connectivity;

/// How to plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// What is made small.
    pub goal: Goal,
    /// Weight of the values of the observables in designs on the final state, against 1 for the derivatives together.
    pub value_weight: f64,
    /// The observables whose values those are; all of them, if this is not given.
    pub valued: Option<Vec<bool>>,
    /// Two-qubit gates that settings may use.
    pub connectivity: Connectivity,
    /// Work of a search, in words visited.
    pub effort: u64,
    /// Derivatives with more words are measured by echoes and shifts only.
    pub max_terms: usize,
    /// Whether derivatives are those without what the device does by itself, read on the state that it leaves.
    pub mitigated: bool,
    /// Shots that a list of settings is for: none of its settings gets fewer than two of them.
    pub shots: Option<u64>,
    /// Most circuits and settings of a method; those that need more do not apply.
    pub max_settings: Option<usize>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            goal: Goal::Mean,
            value_weight: 0.0,
            valued: None,
            connectivity: Connectivity::All,
            effort: search::EFFORT,
            max_terms: 20_000,
            mitigated: false,
            shots: None,
            max_settings: None,
        }
    }
}
