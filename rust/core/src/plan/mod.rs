//! The plan: what every way of measuring a gradient costs, and which one wins.
//!
//! The currency is `cost`: the variance of one shot, averaged over the derivatives that are not identically zero, so
//! that `cost / eps^2` shots give an RMS error of eps. All costs are at the maximally mixed state: known before anything
//! is measured, the same for every competitor, and the mean over states of what [`Plan::exact`] finds by simulation.
//! [`Plan::at_state`] makes the same plan for a state that is known, or remembered.
//!
//! What depends on the circuit alone (words, layers, circuits of echoes and shifts) is computed once; [`Plan::at`] plans
//! for other angles, starting from the families and shares of the plan before.
//!
//! Invariant: figures that are only bounds from below say so. Deterministic, whatever the number of threads.
//! Cost: the words of the gradient observables, then the search ([`Options::effort`]).

mod approach;
mod balance;
mod candidates;
mod commuting_families;
mod covariances;
mod known;
mod method;
mod methods;
mod not_applicable;
mod pool;
mod run;
mod sampled;
mod solve;
mod solver;
mod together;
mod tuned;

pub use known::State;
pub use method::Method;
pub use not_applicable::NotApplicable;
pub use run::Simulated;
pub use sampled::Step;
pub use tuned::Aim;

use crate::bits::parallel::{Cancel, map};
use crate::circuit::Circuit;
use crate::circuit::Size;
use crate::design::objective::first_near_least;
use crate::design::{Goal, Options};
use crate::error::{Error, Result};
use crate::experiment::Chain;
use crate::heisenberg::GradientObservables;
use crate::pauli::PauliSum;
use crate::state::ProductState;
use approach::{Design, Solution};
use candidates::Candidates;
use solver::Solver;
use std::sync::Arc;

/// A method in a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The method.
    pub method: Method,
    /// The variance per shot, averaged over the derivatives that count; infinite where the method does not apply.
    pub cost: f64,
    /// The variance of one shot of the worst derivative.
    pub worst: f64,
    /// Variance of one shot of every derivative, observable by observable: zero where the derivative is known to be
    /// zero, infinite where its weight is and nothing measures it. Empty where the method does not apply.
    pub variances: Vec<f64>,
    /// Different measurement settings, all circuits together; `None` when they are drawn anew for every shot.
    pub settings: Option<usize>,
    /// Different circuits before the measurement.
    pub circuits: usize,
    /// The largest circuit that is added to the original one, settings included.
    pub extra: Size,
    /// Whether all shots are of the final state, as served answers are.
    pub served: bool,
    /// Whether `cost` is only a bound from below.
    pub bound: bool,
    /// Whether the figures are those of a known state; else they are averages over all states.
    pub at_state: bool,
    /// Why the method does not apply, or why there is only a bound.
    pub note: Option<NotApplicable>,
}

/// What measuring a gradient costs, for every method.
#[derive(Debug, Clone)]
pub struct Plan {
    structure: Arc<Candidates>,
    theta: Vec<f64>,
    observables: GradientObservables,
    rows: Vec<Row>,
    solutions: Vec<Solution>,
    /// How many times more the designs of the plan before cost at these angles.
    former: Option<Vec<f64>>,
    /// Derivatives that are not known to be zero, in a plan for a state.
    moving: Option<Vec<bool>>,
    /// For every method the variances of one shot at the state, by what parameters are computed from.
    by_arguments: Vec<Vec<f64>>,
}

impl Plan {
    /// Plans the gradient of `observables`. A known `input` says which gates leave it alone, and allows simulation.
    pub fn new(
        circuit: &Circuit,
        observables: &[PauliSum],
        theta: &[f64],
        input: Option<&ProductState>,
        options: Options,
        cancel: &Cancel,
    ) -> Result<Self> {
        if let Some(valued) = options.valued.as_ref().filter(|valued| valued.len() != observables.len()) {
            let expected = format!("one entry per observable, {}", observables.len());
            return Err(Error::shape("valued", expected, valued.len().to_string()));
        }
        let structure = Arc::new(Candidates::new(circuit, observables, input, options, cancel)?);
        Plan::of(structure, theta, None, &Method::ALL, (None, None), cancel)
    }

    /// The plan at other angles. Everything structural is kept, and designs start from those of this plan.
    pub fn at(&self, theta: &[f64], cancel: &Cancel) -> Result<Self> {
        self.some_at(theta, &Method::ALL, None, None, cancel)
    }

    /// The plan at other angles, of some methods only: the rows of the others say that they were not asked for. With
    /// `weights`, one for each derivative, designs are for a mean with these, unless they are for the largest variance.
    /// With a `chain`, derivatives that add up to one by an argument count as their sum, covariances included; the weight
    /// of each then is that of the argument times the square of its slope.
    pub fn some_at(
        &self,
        theta: &[f64],
        methods: &[Method],
        weights: Option<&[f64]>,
        chain: Option<&Chain>,
        cancel: &Cancel,
    ) -> Result<Self> {
        chain.map_or(Ok(()), |chain| chain.check(self.structure.circuit.n_parameters()))?;
        let goal = weights.map(|weights| Goal::Weighted(weights.to_vec()));
        Plan::of(self.structure.clone(), theta, Some(self), methods, (goal.as_ref(), chain), cancel)
    }

    /// The plan at other angles with the settings and shares of this one: no search, and unbiased all the same. Of some
    /// methods only, and of those whose design does not measure all that is needed there, none.
    pub fn held_at(&self, theta: &[f64], methods: &[Method], cancel: &Cancel) -> Result<Self> {
        let structure = self.structure.clone();
        let observables = structure.observables(theta, cancel)?;
        let solver = Solver::new(&structure, &observables, theta, &structure.options.goal, cancel)?;
        let solutions = map(self.solutions.len(), cancel, |i| {
            let own = &self.solutions[i];
            // What other designs read depends on the angles.
            let keeps = methods.contains(&Method::ALL[i]) && own.list().is_some();
            let keeps = keeps && solver.cost(own)?.is_finite();
            let lasting = own.design().and_then(Design::of_all_angles).map(Solution::Design);
            Ok(if keeps {
                lasting.unwrap_or_else(|| own.clone())
            } else {
                Solution::Absent(NotApplicable::NotAsked)
            })
        })?;
        let rows = map(Method::ALL.len(), cancel, |i| solver.row(Method::ALL[i], &solutions[i]))?;
        let theta = theta.to_vec();
        Ok(Plan {
            structure,
            theta,
            observables,
            rows,
            solutions,
            former: None,
            moving: None,
            by_arguments: none(),
        })
    }

    fn of(
        structure: Arc<Candidates>,
        theta: &[f64],
        former: Option<&Plan>,
        methods: &[Method],
        (goal, chain): (Option<&Goal>, Option<&Chain>),
        cancel: &Cancel,
    ) -> Result<Self> {
        let observables = structure.observables(theta, cancel)?;
        let goal = goal.unwrap_or(&structure.options.goal);
        let mut solver = Solver::new(&structure, &observables, theta, goal, cancel)?;
        if let Some(chain) = chain {
            solver.add_up(chain);
        }
        let solutions = solver.solve(methods, former.map(|plan| &plan.solutions[..]))?;
        if solutions.iter().all(|solution| solution.design().is_none()) {
            let runs = |s: &Solution| match s.reason() {
                Some(NotApplicable::Crowded { runs, most }) => Some((*runs, *most)),
                _ => None,
            };
            if let Some((least, most)) = solutions.iter().filter_map(runs).min() {
                let expected =
                    format!("at least {least}, as many circuits and settings as a gradient takes here");
                return Err(Error::invalid("max_settings", expected, most.to_string()));
            }
        }
        if methods.len() == Method::ALL.len() && solutions.iter().all(|solution| solution.design().is_none())
        {
            let expected = format!("derivatives with at most {} words", structure.options.max_terms);
            let found = "more, and without noise they cannot be measured otherwise (max_terms= allows more; the \
                         derivatives of the noisy value can)";
            return Err(Error::invalid("circuit", expected, found));
        }
        let row = |i: usize| solver.row(Method::ALL[i], &solutions[i]);
        let rows = map(Method::ALL.len(), cancel, row)?;
        let gains = |plan: &Plan| {
            map(solutions.len(), cancel, |i| {
                let asked = methods.contains(&Method::ALL[i]);
                let before = if asked { solver.cost(&plan.solutions[i])? } else { f64::INFINITY };
                let cost = solver.cost(&solutions[i])?;
                Ok(if cost == 0.0 { 1.0 } else { before / cost })
            })
        };
        let (theta, former) = (theta.to_vec(), former.map(gains).transpose()?);
        Ok(Plan {
            structure,
            theta,
            observables,
            rows,
            solutions,
            former,
            moving: None,
            by_arguments: none(),
        })
    }

    /// Whether each derivative is not known to be zero; none but in a plan for a state.
    pub fn moving(&self) -> Option<&[bool]> {
        self.moving.as_deref()
    }

    /// The variances of one shot at the state by what parameters are computed from; empty where there are none.
    pub fn by_arguments(&self, method: Method) -> &[f64] {
        &self.by_arguments[method.index()]
    }

    /// One row per method, in the order of [`Method::ALL`].
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a method.
    pub fn row(&self, method: Method) -> &Row {
        &self.rows[method.index()]
    }

    /// The method with the lowest cost (the lowest variance of the worst derivative, if that is the goal); among those
    /// within 2 %, the first in the order of [`Method::ALL`] that has a list of settings, if one has. Rows for a known
    /// state, if there are some, are compared with each other only.
    pub fn best(&self) -> &Row {
        let max = self.structure.options.goal == Goal::Max;
        let (lists, drawn): (Vec<&Row>, Vec<&Row>) = self.rows.iter().partition(|row| row.settings.is_some());
        let at_state = self.rows.iter().any(|row| row.at_state);
        let counts = |row: &&Row| !row.bound && (row.at_state || !at_state);
        let known: Vec<&Row> = lists.into_iter().chain(drawn).filter(counts).collect();
        let first = first_near_least(known.iter().map(|row| if max { row.worst } else { row.cost }));
        known[first.expect("parameter-shift is never a bound")]
    }

    /// How many times more shots the design of `method` in the plan before this one needs at the present angles:
    /// infinite where it does not measure all that is needed now.
    pub fn gain(&self, method: Method) -> Option<f64> {
        let cost = self.row(method).cost;
        let gain = self.former.as_ref()?[method.index()];
        (cost.is_finite() && !self.row(method).bound).then_some(gain)
    }

    /// The angles.
    pub fn theta(&self) -> &[f64] {
        &self.theta
    }

    /// The sums that are measured on the final state; rows that have too many words are empty.
    pub fn observables(&self) -> &GradientObservables {
        &self.observables
    }

    /// Whether every derivative is identically zero, so that nothing has to be measured.
    pub fn is_trivial(&self) -> bool {
        self.rows.iter().all(|row| row.cost == 0.0 || !row.cost.is_finite())
    }

    fn design(&self, method: Method) -> Result<&dyn Design> {
        let solution = &self.solutions[method.index()];
        solution.design().ok_or_else(|| {
            let note = solution.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
            Error::invalid(
                "method",
                "a method that applies to this circuit and is more than a bound",
                format!("{}{note}", method.name()),
            )
        })
    }
}

/// No variances, for every method.
fn none() -> Vec<Vec<f64>> {
    vec![Vec::new(); Method::ALL.len()]
}
