//! What the methods are solved for: the words and weights at some angles, and how variances are compared.
//!
//! Invariant: a derivative that no gate can move, or whose coefficients vanish at the angles, costs nothing.
//! Cost: linear in the entries of the gradient observables.

use super::candidates::Candidates;
use super::not_applicable::NotApplicable;
use super::together::Together;
use crate::bits::parallel::Cancel;
use crate::circuit::Operation;
use crate::design::objective::{Goal, Objective};
use crate::error::Result;
use crate::experiment::Chain;
use crate::heisenberg::GradientObservables;

/// How much less effort a plan takes that follows another one.
const FOLLOWING: u64 = 8;

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
    /// Derivatives that count as sums.
    pub(super) together: Option<Together>,
}

impl<'a> Solver<'a> {
    /// The problem at some angles, for a goal.
    pub(crate) fn new(
        structure: &'a Candidates,
        observables: &'a GradientObservables,
        theta: &'a [f64],
        goal: &Goal,
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
        let valued = |r: usize| options.valued.as_ref().is_none_or(|valued| valued[r]);
        let weights = Objective::among(sums, first, goal, options.value_weight, valued, |r| live[r])?
            .weights()
            .to_vec();
        let open = structure.by_settings(observables);
        let derivatives = known.iter().zip(&weights).filter(|(k, w)| !**k && **w > 0.0).count();
        let partial = (derivatives > 0).then(|| NotApplicable::Uncounted {
            derivatives,
            limit: options.max_terms,
            channel: !structure.circuit.operations().iter().all(Operation::is_unitary),
        });
        Ok(Solver {
            structure,
            observables,
            theta,
            cancel,
            weights,
            live,
            known,
            open,
            partial,
            together: None,
        })
    }

    /// Lets derivatives that a chain rule adds up count as sums.
    pub(super) fn add_up(&mut self, chain: &Chain) {
        self.together = Together::new(chain, self.structure.n_observables(), &self.weights, &self.open);
    }

    /// The effort of a search, less if it follows a former design.
    pub(super) fn effort(&self, follows: bool) -> u64 {
        self.structure.options.effort / if follows { FOLLOWING } else { 1 }
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

    pub(super) fn worst(&self, variances: &[f64]) -> f64 {
        self.counted(variances).map(|r| variances[r]).fold(0.0, f64::max)
    }

    /// What the goal makes small.
    pub(super) fn figure(&self, variances: &[f64]) -> f64 {
        match self.structure.options.goal {
            Goal::Max => self.worst(variances),
            Goal::Mean | Goal::Weighted(_) => self.mean(variances),
        }
    }
}
