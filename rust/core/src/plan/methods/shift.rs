//! Parameter-shift: pruned and with the best shares, or as general tools do it.
//!
//! Invariant: both need generators whose words commute. Cost: one problem of shares; none for equal ones.

use super::lists;
use crate::bits::parallel::Cancel;
use crate::circuit::Size;
use crate::design::Route;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::experiment::{Pair, Shift};
use crate::plan::approach::{Approach, Design, Figures, Solution, Source, Start};
use crate::plan::candidates::Candidates;
use crate::plan::solver::Solver;
use std::collections::BTreeSet;

/// Relevant gates only, shots where they help most.
pub(super) struct Pruned;

/// Every gate that is wired to the observable, equal shots.
pub(super) struct Wired;

impl Approach for Pruned {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        match &solver.structure.pruned {
            Ok(_) => lists::direct_only(solver, Route::Shift, start),
            Err(reason) => Ok(Solution::Absent(reason.clone())),
        }
    }
}

impl Approach for Wired {
    fn solve(&self, solver: &Solver<'_>, _: Start<'_>) -> Result<Solution> {
        Ok(match &solver.structure.wired {
            Ok(shifts) => Solution::of(Equal { shifts: shifts.len() }),
            Err(reason) => Solution::Absent(reason.clone()),
        })
    }
}

/// All shifts with the same share.
#[derive(Debug)]
struct Equal {
    shifts: usize,
}

impl Design for Equal {
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>> {
        let structure = solver.structure;
        let mut variances = vec![0.0; solver.observables.sums().len()];
        for shift in structure.wired.iter().flatten() {
            for (row, second) in shift.readings().second_moments() {
                variances[structure.n_observables() + row] += 4.0 * second * self.shifts as f64;
            }
        }
        Ok(variances)
    }

    fn runs(&self) -> Option<usize> {
        Some(2 * self.shifts)
    }

    fn figures(&self, structure: &Candidates, _: &Cancel) -> Result<Figures> {
        let shifts = || structure.wired.iter().flatten();
        let extra = shifts().map(Shift::extra).fold(Size::default(), Size::largest);
        let circuits: BTreeSet<usize> = shifts().map(Shift::circuits).collect();
        Ok(Figures { circuits: 2 * circuits.len(), extra, served: false })
    }

    fn ensemble(&self, _: &Candidates, _: &Cancel) -> Result<Option<Ensemble>> {
        Ok(None)
    }

    fn sources<'p>(&'p self, structure: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>> {
        let share = 1.0 / self.shifts as f64;
        let shifts = structure.wired.iter().flatten();
        Some(shifts.flat_map(|shift| Source::both(shift, Route::Shift, share)).collect())
    }
}
