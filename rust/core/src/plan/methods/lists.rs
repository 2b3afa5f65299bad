//! Lists of settings, product and Clifford, and the search that mixtures, echoes and shifts share with them.
//!
//! A design is a [`ListDesign`]: families of words with shares, and shares of echoes and shifts where they take part.
//!
//! Invariant: every row of positive weight is measured, by the routes that its mix says.
//! Cost: [`Options::effort`](crate::design::Options::effort), or less after a former plan.

use crate::bits::parallel::{Cancel, map};
use crate::circuit::Size;
use crate::design::alike::Alike;
use crate::design::allocate::{DirectMeasurement, Problem, Shares};
use crate::design::families::Grouping;
use crate::design::objective::{Goal, Objective};
use crate::design::search::{ColumnGeneration, ListDesign, MAX_WORDS, lower_bound};
use crate::design::{Mix, Route};
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::pauli::Sums;
use crate::plan::approach::{Approach, Design, Figures, Solution, Source, Start, size_of};
use crate::plan::candidates::Candidates;
use crate::plan::method::Method;
use crate::plan::not_applicable::NotApplicable;
use crate::plan::solver::Solver;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A list of product settings.
pub(super) struct Product;

/// A list of Clifford settings.
pub(super) struct Clifford;

impl Approach for Product {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        listed(solver, Grouping::QubitWise, start)
    }
}

impl Approach for Clifford {
    fn solve(&self, solver: &Solver<'_>, start: Start<'_>) -> Result<Solution> {
        match Grouping::of(solver.structure.options.connectivity) {
            Grouping::QubitWise => {
                Ok(Solution::Absent(NotApplicable::TwoQubitGates { what: "Clifford settings" }))
            }
            Grouping::Commuting => listed(solver, Grouping::Commuting, start),
        }
    }

    // Product settings reveal commuting words too: they are a part of the start.
    fn starts_from(&self) -> &'static [Method] {
        &[Method::Product]
    }
}

/// A list of settings, or a bound where words are not known or too many.
fn listed(solver: &Solver<'_>, grouping: Grouping, start: Start<'_>) -> Result<Solution> {
    let sums = solver.observables.sums();
    let words = sums.words().len();
    let long = (words > MAX_WORDS).then_some(NotApplicable::TooManyWords { words, limit: MAX_WORDS });
    if let Some(reason) = solver.partial.clone().or(long) {
        let least = lower_bound(sums.words(), &solver.derivatives().scores(sums), grouping);
        return Ok(Solution::Bound(least, reason));
    }
    search(solver, grouping, &[], start)
}

/// The best list of settings that the search finds, together with the direct measurements of some routes.
pub(super) fn search(
    solver: &Solver<'_>,
    grouping: Grouping,
    routes: &[Route],
    start: Start<'_>,
) -> Result<Solution> {
    posed(solver, grouping, routes, start, Objective::clone)
}

/// The best shares of direct measurements alone.
pub(super) fn direct_only(solver: &Solver<'_>, route: Route, start: Start<'_>) -> Result<Solution> {
    let first = solver.structure.n_observables();
    posed(solver, Grouping::QubitWise, &[route], start, |objective| {
        let mut weights = objective.weights().to_vec();
        weights.iter_mut().take(first).for_each(|w| *w = 0.0);
        let closed = vec![false; weights.len()];
        Objective::of(weights, closed)
    })
}

/// What a search makes small, and what else measures it.
struct Posed<'a> {
    sums: &'a Sums,
    objective: &'a Objective,
    direct: &'a [DirectMeasurement],
}

/// The best design for the derivatives, or for their sums, where what counts is made from what counts for the solver.
fn posed(
    solver: &Solver<'_>,
    grouping: Grouping,
    routes: &[Route],
    start: Start<'_>,
    counts: impl Fn(&Objective) -> Objective,
) -> Result<Solution> {
    let rows = solver.observables.sums();
    let Some(together) = &solver.together else {
        let objective = counts(&solver.objective(solver.open.clone()));
        let posed = Posed { sums: rows, objective: &objective, direct: &direct(solver, routes) };
        return minimise(solver, &posed, grouping, routes, start.list());
    };
    let start = start.list().map(|list| {
        let mix = together.gathered(&list.shares.mix);
        let mix = if list.shares.mix.is_empty() { Vec::new() } else { mix };
        Cow::Owned(ListDesign { shares: Shares { mix, ..list.shares.clone() }, ..(*list).clone() })
    });
    let (sums, direct) = (together.sums(rows), together.direct(solver.structure, routes));
    let objective = counts(together.objective());
    let posed = Posed { sums: &sums, objective: &objective, direct: &direct };
    let found = minimise(solver, &posed, grouping, routes, start)?;
    Ok(match found.list() {
        Some(list) => {
            let mix = together.spread(&list.shares.mix);
            Solution::of(ListDesign { shares: Shares { mix, ..list.shares.clone() }, ..list.clone() })
        }
        None => found,
    })
}

fn minimise(
    solver: &Solver<'_>,
    posed: &Posed<'_>,
    grouping: Grouping,
    routes: &[Route],
    start: Option<Cow<'_, ListDesign>>,
) -> Result<Solution> {
    let options = &solver.structure.options;
    let Posed { sums, objective, direct } = *posed;
    let alike = Alike::new(sums, objective, direct);
    let start = start.map(|start| {
        let mut start = start.into_owned();
        start.shares.mix = alike.merge(&start.shares.mix);
        start
    });
    let start = start.as_ref();
    let follows = start.is_some_and(|s| s.routes == routes && !s.shares.mix.is_empty());
    // A former design is close: the search only has to follow the angles.
    let effort = solver.effort(follows);
    let connectivity = options.connectivity;
    let search = ColumnGeneration {
        sums: &alike.sums,
        objective: &alike.objective,
        direct: &alike.direct,
        grouping,
        connectivity,
        effort,
        entries: if direct.is_empty() { 0 } else { sums.entries() },
        thorough: false,
    };
    let mut found = search.run(start, options.goal == Goal::Max, solver.cancel)?;
    // A former design is thin already: what was added to it may stay, as long as it is not much.
    let grown = start.is_none_or(|s| !follows || 4 * found.families.len() > 5 * s.families.len());
    if grown && options.goal != Goal::Max {
        found = search.thin(found, solver.cancel)?;
    }
    found.routes = routes.to_vec();
    if let Some(most) = options.max_settings {
        found = search.limit(found, most, solver.cancel)?;
        let runs = found.runs();
        if runs > most {
            return Ok(Solution::Absent(NotApplicable::Crowded { runs, most }));
        }
    }
    found.shares.mix = alike.spread(&found.shares.mix);
    Ok(Solution::of(found))
}

/// The direct measurements of some routes, in the order of their shares.
fn direct(solver: &Solver<'_>, routes: &[Route]) -> Vec<DirectMeasurement> {
    routes.iter().flat_map(|route| solver.structure.direct(*route)).collect()
}

impl Design for ListDesign {
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>> {
        let sums = solver.observables.sums();
        let direct = direct(solver, &self.routes);
        let members = self.members();
        let objective = solver.objective(solver.open.clone());
        let problem = Problem { sums, objective: &objective, families: &members, direct: &direct };
        let mut variances = problem.variances(&self.shares);
        let missing = |r: &usize| solver.live[*r] && self.shares.mix[*r] == Mix::NONE;
        let first = solver.structure.n_observables();
        (first..sums.len()).filter(missing).for_each(|r| variances[r] = f64::INFINITY);
        Ok(variances)
    }

    fn runs(&self) -> Option<usize> {
        Some(ListDesign::runs(self))
    }

    fn figures(&self, structure: &Candidates, cancel: &Cancel) -> Result<Figures> {
        let settings = map(self.families.len(), cancel, |i| self.families[i].setting(cancel).map(size_of))?;
        let circuits = usize::from(self.shares.families.iter().any(|share| *share > 0.0));
        let mut figures = Figures {
            circuits,
            extra: settings.into_iter().fold(Size::default(), Size::largest),
            served: self.is_served(),
        };
        let pairs = self.routes.iter().flat_map(|route| structure.pairs(*route));
        let mut turned = BTreeSet::new();
        for (pair, _) in pairs.zip(&self.shares.direct).filter(|(_, share)| **share > 0.0) {
            turned.insert(pair.circuits());
            figures.extra = figures.extra.largest(pair.extra());
        }
        figures.circuits += 2 * turned.len();
        Ok(figures)
    }

    fn ensemble(&self, _: &Candidates, cancel: &Cancel) -> Result<Option<Ensemble>> {
        self.is_served().then(|| ListDesign::ensemble(self, cancel)).transpose()
    }

    fn sources<'p>(&'p self, structure: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>> {
        let families = self.families.iter().map(Source::Family).zip(self.shares.families.iter().copied());
        let pairs =
            self.routes.iter().flat_map(|route| structure.pairs(*route).into_iter().map(|p| (p, *route)));
        let turned = pairs.zip(&self.shares.direct).flat_map(|((p, route), s)| Source::both(p, route, *s));
        Some(families.chain(turned).collect())
    }

    fn with_shares(&self, shares: &[f64], mix: Option<&[Mix]>) -> Option<Arc<dyn Design>> {
        let mut other = self.clone();
        let (families, turned) = shares.split_at(self.families.len().min(shares.len()));
        other.shares.families = families.to_vec();
        other.shares.direct = turned.chunks(2).map(|both| both.iter().sum()).collect();
        if let Some(mix) = mix {
            let first = other.shares.mix.len() - mix.len();
            other.shares.mix[first..].copy_from_slice(mix);
        }
        Some(Arc::new(other))
    }

    fn list(&self) -> Option<&ListDesign> {
        Some(self)
    }
}
