//! Settings, echoes and shifts together: every derivative by the routes that are cheapest for it.
//!
//! Invariant: a mixture is not worse than a part of it, whatever the search found.
//! Cost: [`Options::effort`](crate::design::Options::effort), or less after a former plan.

use super::lists;
use crate::design::Mix;
use crate::design::Route;
use crate::design::allocate::Shares;
use crate::design::families::Grouping;
use crate::design::search::ListDesign;
use crate::error::Result;
use crate::plan::approach::{Approach, Solution, Start};
use crate::plan::candidates::Candidates;
use crate::plan::method::Method;
use crate::plan::not_applicable::NotApplicable;
use crate::plan::solver::Solver;

/// Settings of the final state, echoes and shifts.
pub(super) struct Mixture;

/// The methods whose designs a mixture contains.
const PARTS: [Method; 3] = [Method::Product, Method::Clifford, Method::Echo];

impl Approach for Mixture {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        let routes = routes(solver.structure);
        let long = |(open, weight): (&bool, &f64)| !open && *weight > 0.0;
        if routes.is_empty() && solver.open.iter().zip(&solver.weights).any(long) {
            return Ok(Solution::Absent(NotApplicable::NoDirectMeasurement));
        }
        let grouping = Grouping::of(solver.structure.options.connectivity);
        lists::search(solver, grouping, &routes, start)
    }

    fn starts_from(&self) -> &'static [Method] {
        &[Method::Product, Method::Clifford]
    }

    /// The mixture, or the best of its parts if the search has not found a better one.
    fn settle(&self, solver: &Solver<'_>, own: Solution, all: &[Solution]) -> Result<Solution> {
        if matches!(own, Solution::Absent(NotApplicable::NoDirectMeasurement)) {
            return Ok(own);
        }
        let parts = PARTS.map(|method| &all[method.index()]);
        let parts: Vec<_> = parts.into_iter().filter_map(|part| Some((part, part.list()?))).collect();
        if parts.is_empty() {
            return Ok(own); // there is nothing to compare with
        }
        let (mut least, mut best) = (solver.figure_of(&own)?, own);
        for (part, found) in parts {
            let mut needed = solver.weights.iter().zip(&found.shares.mix).filter(|(w, _)| **w > 0.0);
            let value = solver.figure_of(part)?;
            if value < least && needed.all(|(_, mix)| *mix != Mix::NONE) {
                (best, least) = (Solution::of(as_mixture(found, solver.structure)), value);
            }
        }
        Ok(best)
    }
}

/// The routes of direct measurements that the circuit has.
fn routes(structure: &Candidates) -> Vec<Route> {
    let has = |route: &Route| match route {
        Route::Settings => false,
        Route::Echo => structure.echoes.is_ok(),
        Route::Shift => structure.pruned.is_ok(),
    };
    Route::ALL.into_iter().filter(has).collect()
}

/// A part as a mixture: its own shares, and none for what else a mixture has.
fn as_mixture(part: &ListDesign, structure: &Candidates) -> ListDesign {
    let routes = routes(structure);
    let mut given = part.shares.direct.iter().copied();
    let mut direct = Vec::new();
    for route in &routes {
        let count = structure.pairs(*route).len();
        match part.routes.contains(route) {
            true => direct.extend(given.by_ref().take(count)),
            false => direct.resize(direct.len() + count, 0.0),
        }
    }
    let shares = Shares { direct, ..part.shares.clone() };
    ListDesign { families: part.families.clone(), shares, routes }
}
