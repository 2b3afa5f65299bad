//! The plan: what every way of measuring a gradient costs, and which one wins.
//!
//! The currency is `cost`: the variance of one shot, averaged over the derivatives that are not identically zero, so
//! that `cost / eps^2` shots give an RMS error of eps. All costs are at the maximally mixed state: known before anything
//! is measured, the same for every competitor, and the mean over states of what [`Plan::exact`] finds by simulation.
//!
//! What depends on the circuit alone (words, layers, circuits of echoes and shifts) is computed once; [`Plan::at`] plans
//! for other angles, starting from the families and shares of the plan before.
//!
//! Invariant: figures that are only bounds from below say so. Deterministic, whatever the number of threads.
//! Cost: the words of the gradient observables, then the search ([`Options::effort`]).

mod candidates;
mod methods;
mod run;

use crate::bits::parallel::{self, Cancel};
use crate::circuit::Circuit;
use crate::circuit::Size;
use crate::design::{Goal, Options};
use crate::error::{Error, Result};
use crate::heisenberg::GradientObservables;
use crate::pauli::PauliSum;
use crate::state::ProductState;
use candidates::Candidates;
use methods::Solution;
pub use run::Simulated;
use std::sync::Arc;

/// The ways of measuring a gradient, in the order of preference among equals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// A random letter per qubit and snapshot.
    Uniform,
    /// Letters with the best probabilities.
    Biased,
    /// A list of product settings.
    Product,
    /// A list of Clifford settings.
    Clifford,
    /// Clifford settings of small blocks, drawn independently.
    Block,
    /// One setting per observable word, where all trainable generators commute.
    Commuting,
    /// The layered echo.
    Echo,
    /// Settings, echoes and shifts together.
    Mixture,
    /// Parameter-shift: relevant gates only, shots where they help most.
    ShiftPruned,
    /// Parameter-shift as general tools do it: every gate that is wired to the observable, equal shots.
    Shift,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 10] = [
        Method::Uniform,
        Method::Biased,
        Method::Product,
        Method::Clifford,
        Method::Block,
        Method::Commuting,
        Method::Echo,
        Method::Mixture,
        Method::ShiftPruned,
        Method::Shift,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Uniform => "uniform",
            Method::Biased => "biased",
            Method::Product => "product",
            Method::Clifford => "clifford",
            Method::Block => "block",
            Method::Commuting => "commuting",
            Method::Echo => "echo",
            Method::Mixture => "mixture",
            Method::ShiftPruned => "shift-pruned",
            Method::Shift => "shift",
        }
    }

    /// The method of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }
}

/// A method in a plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which method.
    pub method: Method,
    /// The mean variance of one shot; infinite where the method does not apply.
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
    /// Why the method does not apply, or why there is only a bound.
    pub note: Option<String>,
}

/// What measuring a gradient costs, for every method.
#[derive(Debug, Clone)]
pub struct Plan {
    structure: Arc<Candidates>,
    theta: Vec<f64>,
    observables: GradientObservables,
    rows: Vec<Row>,
    solutions: Vec<Solution>,
    /// The cost of the designs of the plan before at these angles.
    former: Option<Vec<f64>>,
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
        let structure = Arc::new(Candidates::new(circuit, observables, input, options, cancel)?);
        Plan::of(structure, theta, None, &Method::ALL, cancel)
    }

    /// The plan at other angles. Everything structural is kept, and designs start from those of this plan.
    pub fn at(&self, theta: &[f64], cancel: &Cancel) -> Result<Self> {
        self.some_at(theta, &Method::ALL, cancel)
    }

    /// The plan at other angles, of some methods only: the rows of the others say that they were not asked for.
    pub fn some_at(&self, theta: &[f64], methods: &[Method], cancel: &Cancel) -> Result<Self> {
        Plan::of(self.structure.clone(), theta, Some(self), methods, cancel)
    }

    fn of(
        structure: Arc<Candidates>,
        theta: &[f64],
        former: Option<&Plan>,
        methods: &[Method],
        cancel: &Cancel,
    ) -> Result<Self> {
        let observables = structure.observables(theta, cancel)?;
        let solver = methods::Solver::new(&structure, &observables, methods.len(), cancel)?;
        let former_costs = former.map(|plan| {
            let cost = |s: &Solution| solver.variances(s).map_or(f64::INFINITY, |v| solver.mean(&v));
            let asked = |(i, solution)| {
                if methods.contains(&Method::ALL[i]) { cost(solution) } else { f64::INFINITY }
            };
            plan.solutions.iter().enumerate().map(asked).collect()
        });
        let solutions = Plan::solutions(&solver, former, methods, cancel)?;
        if let Some(most) = structure.options.max_settings
            && !solutions.iter().any(Solution::is_known)
        {
            let runs = |s: &Solution| if let Solution::Crowded(runs) = s { Some(*runs) } else { None };
            let least = solutions.iter().filter_map(runs).min().unwrap_or_default();
            let expected =
                format!("at least {least}, as many circuits and settings as a gradient takes here");
            return Err(Error::invalid("max_settings", expected, most.to_string()));
        }
        let rows = parallel::map(Method::ALL.len(), cancel, |i| solver.row(Method::ALL[i], &solutions[i]))?;
        Ok(Plan { structure, theta: theta.to_vec(), observables, rows, solutions, former: former_costs })
    }

    /// The solution of every method. Those that do not build on each other are found side by side; the mixture is compared
    /// with all others in the end.
    fn solutions(
        solver: &methods::Solver<'_>,
        former: Option<&Plan>,
        methods: &[Method],
        cancel: &Cancel,
    ) -> Result<Vec<Solution>> {
        let index = |method: Method| method as usize;
        let mut solutions =
            vec![Solution::Absent("not asked for at these angles".to_owned()); Method::ALL.len()];
        let solve = |method: Method, others: &[Solution]| {
            cancel.check()?;
            solver.solve(method, former.map(|plan| &plan.solutions[index(method)]), others)
        };
        // Without a former plan Clifford settings start from the product settings, and the mixture from both.
        let chains: Vec<Vec<Method>> = match former {
            Some(_) => Method::ALL.iter().map(|&method| vec![method]).collect(),
            None => (Method::ALL.iter().filter(|m| !matches!(m, Method::Clifford | Method::Mixture)))
                .map(|&m| if m == Method::Product { vec![m, Method::Clifford] } else { vec![m] })
                .collect(),
        };
        let found = parallel::map(chains.len(), cancel, |i| {
            let mut found = Vec::new();
            for &method in chains[i].iter().filter(|method| methods.contains(method)) {
                found.push(solve(method, &found)?);
            }
            Ok(found)
        })?;
        for (chain, found) in chains.iter().zip(found) {
            let asked = chain.iter().filter(|method| methods.contains(method));
            asked.zip(found).for_each(|(method, solution)| solutions[index(*method)] = solution);
        }
        let mixture = index(Method::Mixture);
        if methods.contains(&Method::Mixture) {
            let (others, rest) = solutions.split_at_mut(mixture);
            rest[0] = match former {
                Some(_) => solver.or_better(std::mem::replace(&mut rest[0], Solution::Equal), others),
                None => solve(Method::Mixture, others)?,
            };
        }
        Ok(solutions)
    }

    /// One row per method, in the order of [`Method::ALL`].
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The row of a method.
    pub fn row(&self, method: Method) -> &Row {
        &self.rows[self.index(method)]
    }

    fn index(&self, method: Method) -> usize {
        self.rows.iter().position(|row| row.method == method).unwrap_or_default()
    }

    /// The method with the lowest cost (the lowest variance of the worst derivative, if that is the goal); among those
    /// within 2 %, the first in the order of [`Method::ALL`].
    pub fn best(&self) -> &Row {
        let max = self.structure.options.goal == Goal::Max;
        let figure = |row: &Row| if max { row.worst } else { row.cost };
        let known = || self.rows.iter().filter(|row| !row.bound);
        let least = known().map(figure).fold(f64::INFINITY, f64::min);
        known().find(|row| figure(row) <= least * 1.02).unwrap_or(&self.rows[self.index(Method::Shift)])
    }

    /// How many times more shots the design of `method` in the plan before this one needs at the present angles:
    /// infinite where it does not measure all that is needed now.
    pub fn gain(&self, method: Method) -> Option<f64> {
        let cost = self.row(method).cost;
        let before = self.former.as_ref()?[self.index(method)];
        let known = cost.is_finite() && !self.row(method).bound;
        known.then(|| if cost == 0.0 { 1.0 } else { before / cost })
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

    fn solution(&self, method: Method) -> Result<&Solution> {
        let solution = &self.solutions[self.index(method)];
        match &self.row(method).note {
            Some(note) if !solution.is_known() => Err(Error::invalid(
                "method",
                "a method that applies to this circuit and is more than a bound",
                format!("{}: {note}", method.name()),
            )),
            _ => Ok(solution),
        }
    }
}
