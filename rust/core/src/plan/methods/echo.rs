//! The layered echo: shots where they help most, no settings of the final state.
//!
//! Invariant: it applies to every circuit of unitary gates. Cost: one problem of shares.

use super::lists;
use crate::design::Route;
use crate::error::Result;
use crate::plan::approach::{Approach, Solution, Start};
use crate::plan::solver::Solver;

/// The echoes of a circuit.
pub(super) struct Echoes;

impl Approach for Echoes {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        match &solver.structure.echoes {
            Ok(_) => lists::direct_only(solver, Route::Echo, start),
            Err(reason) => Ok(Solution::Absent(reason.clone())),
        }
    }
}
