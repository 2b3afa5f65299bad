//! Solving the methods, and what their solutions cost.
//!
//! Invariant: the order in which independent methods are solved does not matter. Cost: the searches of the methods.

use super::Row;
use super::approach::{Figures, Solution, Start};
use super::method::Method;
use super::methods::approach;
use super::not_applicable::NotApplicable;
use super::solver::Solver;
use crate::bits::parallel::map;
use crate::design::Goal;
use crate::error::Result;
use std::cmp::Reverse;

impl Solver<'_> {
    /// The variance of every row with a solution at the present angles: infinite where it does not measure a row. A
    /// bound is spread evenly: only its mean means something.
    pub(super) fn variances(&self, solution: &Solution) -> Result<Option<Vec<f64>>> {
        let mut variances = match solution {
            Solution::Absent(_) => return Ok(None),
            Solution::Bound(least, _) => vec![*least; self.observables.sums().len()],
            Solution::Design(design) => design.variances(self)?,
        };
        let rows = self.structure.n_observables()..variances.len();
        rows.filter(|&r| !self.live[r]).for_each(|r| variances[r] = 0.0);
        Ok(Some(variances))
    }

    /// The mean variance of a solution, infinite where there is none; of sums where derivatives are added up.
    pub(super) fn cost(&self, solution: &Solution) -> Result<f64> {
        if let Some((together, list)) = self.together.as_ref().zip(solution.list()) {
            return Ok(together.figure(self.structure, self.observables.sums(), list, false));
        }
        Ok(self.variances(solution)?.map_or(f64::INFINITY, |variances| self.mean(&variances)))
    }

    /// What the goal makes small, infinite where there is no solution.
    pub(super) fn figure_of(&self, solution: &Solution) -> Result<f64> {
        let max = self.structure.options.goal == Goal::Max;
        if let Some((together, list)) = self.together.as_ref().zip(solution.list()) {
            return Ok(together.figure(self.structure, self.observables.sums(), list, max));
        }
        Ok(self.variances(solution)?.map_or(f64::INFINITY, |variances| self.figure(&variances)))
    }

    /// The solutions of all methods by their index; those of a former plan are a start. Methods that do not start from
    /// each other are solved side by side.
    pub(super) fn solve(&self, asked: &[Method], former: Option<&[Solution]>) -> Result<Vec<Solution>> {
        let chains = chains(asked, former.is_some());
        let solved = map(chains.len(), self.cancel, |i| {
            let mut solved: Vec<Solution> = Vec::new();
            for method in &chains[i] {
                self.cancel.check()?;
                let start = Start { former: former.map(|all| &all[method.index()]), earlier: &solved };
                let solution = self.within(approach(*method).solve(self, start)?);
                solved.push(solution);
            }
            Ok(solved)
        })?;
        let mut all = vec![Solution::Absent(NotApplicable::NotAsked); Method::ALL.len()];
        for (method, solution) in chains.iter().flatten().zip(solved.into_iter().flatten()) {
            all[method.index()] = solution;
        }
        for method in chains.iter().flatten() {
            all[method.index()] = approach(*method).settle(self, all[method.index()].clone(), &all)?;
        }
        Ok(all)
    }

    /// The solution, unless it takes more circuits and settings than are wanted.
    fn within(&self, solution: Solution) -> Solution {
        let Some((most, design)) = self.structure.options.max_settings.zip(solution.design()) else {
            return solution;
        };
        match design.runs() {
            None => Solution::Absent(NotApplicable::Drawn),
            Some(runs) if runs > most => Solution::Absent(NotApplicable::Crowded { runs, most }),
            Some(_) => solution,
        }
    }

    /// The row of the table.
    pub(super) fn row(&self, method: Method, solution: &Solution) -> Result<Row> {
        let variances = self.variances(solution)?;
        let figure = |of: &dyn Fn(&[f64]) -> f64| variances.as_deref().map_or(f64::INFINITY, of);
        let (cost, worst) = (figure(&|v| self.mean(v)), figure(&|v| self.worst(v)));
        let design = solution.design();
        let bound = matches!(solution, Solution::Bound(..));
        let own = variances.filter(|_| !bound).unwrap_or_default();
        let figures = match design {
            Some(design) => design.figures(self.structure, self.cancel)?,
            // The least that a method whose bound is known does: one circuit, that of served answers.
            None => Figures { circuits: usize::from(bound), served: bound, ..Figures::default() },
        };
        Ok(Row {
            method,
            cost,
            worst,
            variances: own.into_iter().skip(self.structure.n_observables()).collect(),
            settings: design.map_or((!bound).then_some(0), |design| design.runs()),
            circuits: figures.circuits,
            extra: figures.extra,
            served: figures.served,
            bound,
            at_state: false,
            note: solution.reason().cloned(),
        })
    }
}

/// The methods that are asked for, those that start from each other together and in order; the longest chains first.
fn chains(asked: &[Method], follows: bool) -> Vec<Vec<Method>> {
    let mut chains: Vec<Vec<Method>> = Vec::new();
    for method in Method::ALL.into_iter().filter(|method| asked.contains(method)) {
        let starts: &[Method] = if follows { &[] } else { approach(method).starts_from() };
        match chains.iter_mut().find(|chain| starts.iter().any(|start| chain.contains(start))) {
            Some(chain) => chain.push(method),
            None => chains.push(vec![method]),
        }
    }
    chains.sort_by_key(|chain| Reverse(chain.len()));
    chains
}
