//! What the methods are solved for: the words and weights at some angles, and how solutions are compared.
//!
//! Invariant: a derivative that no gate can move, or whose coefficients vanish at the angles, costs nothing.
//! Cost: linear in the entries of the gradient observables; [`Solver::solve`] is the searches of the methods.

use super::Row;
use super::candidates::Candidates;
use super::methods::{Figures, Method, Solution, Start};
use super::not_applicable::NotApplicable;
use crate::bits::parallel::{Cancel, map};
use crate::circuit::Operation;
use crate::design::objective::{Goal, Objective};
use crate::error::Result;
use crate::heisenberg::GradientObservables;
use std::cmp::Reverse;

/// How much less effort a plan takes that follows another one; and when it is only for a few methods.
const FOLLOWING: u64 = 16;
const FOLLOWING_FEW: u64 = 8;
const FEW: usize = 3;

/// The problem that all methods solve at some angles.
pub(crate) struct Solver<'a> {
    pub(super) structure: &'a Candidates,
    pub(super) observables: &'a GradientObservables,
    pub(super) theta: &'a [f64],
    pub(super) cancel: &'a Cancel,
    /// Weights of all rows (values first), those of the derivatives summing to one.
    pub(super) weights: Vec<f64>,
    /// Derivatives that are not known to be zero, all rows counted.
    pub(super) live: Vec<bool>,
    /// Rows whose words are known.
    pub(super) known: Vec<bool>,
    /// Rows that settings may measure, whose words are known and not too many.
    pub(super) open: Vec<bool>,
    /// Why some derivatives are not counted by methods that need their words.
    pub(super) partial: Option<NotApplicable>,
    /// The effort of a search that starts from a former design.
    following: u64,
}

impl<'a> Solver<'a> {
    /// The problem at some angles, to be solved for so many methods.
    pub(crate) fn new(
        structure: &'a Candidates,
        observables: &'a GradientObservables,
        theta: &'a [f64],
        n_methods: usize,
        cancel: &'a Cancel,
    ) -> Result<Self> {
        let first = structure.n_observables();
        let sums = observables.sums();
        let n_parameters = structure.circuit.n_parameters();
        let known: Vec<bool> = (0..sums.len())
            .map(|r| r < first || structure.gradients.is_known((r - first) % n_parameters))
            .collect();
        // What the coefficients say is zero costs nothing; what is not known counts if a gate can move it.
        let live: Vec<bool> = (0..sums.len())
            .map(|r| {
                let moves = |r: usize| !known[r] || sums.row(r).1.iter().any(|c| *c != 0.0);
                r >= first && structure.relevant[r - first] && moves(r)
            })
            .collect();
        let options = &structure.options;
        let weights = Objective::among(sums, first, &options.goal, options.value_weight, |r| live[r])?
            .weights()
            .to_vec();
        let open = structure.by_settings(observables);
        let derivatives = known.iter().zip(&weights).filter(|(k, w)| !**k && **w > 0.0).count();
        let partial = (derivatives > 0).then(|| NotApplicable::Uncounted {
            derivatives,
            limit: options.max_terms,
            channel: !structure.circuit.operations().iter().all(Operation::is_unitary),
        });
        let following = options.effort / if n_methods <= FEW { FOLLOWING_FEW } else { FOLLOWING };
        Ok(Solver { structure, observables, theta, cancel, weights, live, known, open, partial, following })
    }

    /// The effort of a search, less if it follows a former design.
    pub(super) fn effort(&self, follows: bool) -> u64 {
        if follows { self.following } else { self.structure.options.effort }
    }

    /// The weights of all rows, where settings may measure some of them.
    pub(super) fn objective(&self, by_settings: Vec<bool>) -> Objective {
        Objective::of(self.weights.clone(), by_settings)
    }

    /// The rows whose words are known, those of the values left out.
    pub(super) fn derivatives(&self) -> Objective {
        let mut open = self.known.clone();
        open.iter_mut().take(self.structure.n_observables()).for_each(|o| *o = false);
        self.objective(open)
    }

    fn counted(&self, variances: &[f64]) -> impl Iterator<Item = usize> {
        (self.structure.n_observables()..variances.len()).filter(|&r| self.weights[r] > 0.0)
    }

    /// The mean variance of the derivatives, by weight.
    pub(crate) fn mean(&self, variances: &[f64]) -> f64 {
        self.counted(variances).map(|r| self.weights[r] * variances[r]).sum()
    }

    fn worst(&self, variances: &[f64]) -> f64 {
        self.counted(variances).map(|r| variances[r]).fold(0.0, f64::max)
    }

    /// What the goal makes small.
    pub(super) fn figure(&self, variances: &[f64]) -> f64 {
        match self.structure.options.goal {
            Goal::Max => self.worst(variances),
            Goal::Mean | Goal::Weighted(_) => self.mean(variances),
        }
    }

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

    /// The mean variance of a solution, infinite where there is none.
    pub(super) fn cost(&self, solution: &Solution) -> Result<f64> {
        Ok(self.variances(solution)?.map_or(f64::INFINITY, |variances| self.mean(&variances)))
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
                let solution = self.within(method.approach().solve(self, start)?);
                solved.push(solution);
            }
            Ok(solved)
        })?;
        let mut all = vec![Solution::Absent(NotApplicable::NotAsked); Method::ALL.len()];
        for (method, solution) in chains.iter().flatten().zip(solved.into_iter().flatten()) {
            all[method.index()] = solution;
        }
        for method in chains.iter().flatten() {
            all[method.index()] = method.approach().settle(self, all[method.index()].clone(), &all)?;
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
            note: solution.reason().cloned(),
        })
    }
}

/// The methods that are asked for, those that start from each other together and in order; the longest chains first.
fn chains(asked: &[Method], follows: bool) -> Vec<Vec<Method>> {
    let mut chains: Vec<Vec<Method>> = Vec::new();
    for method in Method::ALL.into_iter().filter(|method| asked.contains(method)) {
        let starts: &[Method] = if follows { &[] } else { method.approach().starts_from() };
        match chains.iter_mut().find(|chain| starts.iter().any(|start| chain.contains(start))) {
            Some(chain) => chain.push(method),
            None => chains.push(vec![method]),
        }
    }
    chains.sort_by_key(|chain| Reverse(chain.len()));
    chains
}
