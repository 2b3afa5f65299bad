//! Methods that draw a setting for every shot: random letters, and Clifford settings of small blocks.
//!
//! Invariant: letters and blocks are independent, with the best probabilities that such settings have. Where
//! derivatives are left out because their words are not known, there is a bound only.
//! Cost: [`Options::effort`](crate::design::Options::effort), or less after a former plan.

use crate::bits::parallel::Cancel;
use crate::circuit::Size;
use crate::design::{Goal, designed};
use crate::ensemble::{Block, Ensemble};
use crate::error::Result;
use crate::plan::approach::{Approach, Design, Figures, Solution, Source, Start, size_of};
use crate::plan::candidates::Candidates;
use crate::plan::not_applicable::NotApplicable;
use crate::plan::solver::Solver;
use crate::stabiliser::Connectivity;

/// A random letter per qubit and snapshot.
pub(super) struct Uniform;

/// Letters with the best probabilities.
pub(super) struct Biased;

/// Settings of small blocks with the best probabilities.
pub(super) struct Blocks;

/// Sizes of blocks, and of the first one if that is not zero: pairs from either qubit, and triples.
const SHAPES: [(usize, usize); 3] = [(2, 0), (2, 1), (3, 0)];

impl Approach for Uniform {
    fn solve(&self, solver: &Solver<'_>, _: Start<'_>) -> Result<Solution> {
        let design = Solution::of(Drawn(Ensemble::uniform(solver.observables.n_qubits())?));
        let least = solver.variances(&design)?.map_or(0.0, |variances| solver.mean(&variances));
        Ok(or_bound(solver, design, least))
    }
}

impl Approach for Biased {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        best(solver, &[(1, 0)], start)
    }
}

impl Approach for Blocks {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        if solver.structure.options.connectivity == Connectivity::None {
            return Ok(Solution::Absent(NotApplicable::TwoQubitGates { what: "blocks" }));
        }
        if solver.observables.n_qubits() < 2 {
            return Ok(Solution::Absent(NotApplicable::OneQubit));
        }
        best(solver, &SHAPES, start)
    }
}

/// The best letters, or settings of blocks; where derivatives are left out, what none does better than.
fn best(solver: &Solver<'_>, shapes: &[(usize, usize)], start: Start<'_>) -> Result<Solution> {
    let partial = solver.partial.is_some();
    let objective = if partial { solver.derivatives() } else { solver.objective(solver.known.clone()) };
    let options = &solver.structure.options;
    let max = options.goal == Goal::Max && !partial;
    let effort = solver.effort(start.former.is_some());
    let (ensemble, least) =
        designed::drawn(solver.observables.sums(), &objective, max, shapes, effort, solver.cancel)?;
    Ok(or_bound(solver, Solution::of(Drawn(ensemble)), least))
}

/// A design, or only that nothing of its kind costs less than `least` when words are not known.
fn or_bound(solver: &Solver<'_>, design: Solution, least: f64) -> Solution {
    solver.partial.clone().map_or(design, |reason| Solution::Bound(least, reason))
}

/// Settings that are drawn independently.
#[derive(Debug)]
struct Drawn(Ensemble);

impl Design for Drawn {
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>> {
        Ok(self.0.variances(solver.observables.sums()))
    }

    fn runs(&self) -> Option<usize> {
        None
    }

    fn figures(&self, _: &Candidates, _: &Cancel) -> Result<Figures> {
        let letters = Size { gates: 1, two_qubit_gates: 0, depth: 2 };
        let settings = self.0.block_list().iter().flat_map(Block::settings);
        let extra = settings.map(size_of).fold(letters, Size::largest);
        Ok(Figures { circuits: 1, extra, served: true })
    }

    fn ensemble(&self, _: &Candidates, _: &Cancel) -> Result<Option<Ensemble>> {
        Ok(Some(self.0.clone()))
    }

    fn sources<'p>(&'p self, _: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>> {
        None
    }
}
