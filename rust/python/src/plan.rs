//! Plans: what measuring a gradient costs, for every method.

use crate::boundary::enter;
use crate::circuit::{Circuit, GradientObservables, product};
use crate::ensemble::Ensemble;
use crate::error::invalid;
use crate::experiment::{Experiment, Moments, chain};
use crate::memory::Memory;
use crate::pauli::PauliSum;
use crate::setting::read_connectivity;
use efl_core::design::{Goal, Options};
use efl_core::plan as core;
use efl_core::plan::{Aim, Method, State, Step};
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use std::sync::Arc;

fn method(name: &str) -> PyResult<Method> {
    Method::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Method::ALL.iter().map(|m| m.name()).collect();
        invalid("method", format!("one of {}", known.join(", ")), format!("'{name}'"))
    })
}

/// "mean", "max", or weights, in which case the word is not looked at.
pub(crate) fn goal(name: &str, weights: Option<PyReadonlyArray1<'_, f64>>) -> PyResult<Goal> {
    match (name, weights) {
        (_, Some(weights)) => Ok(Goal::Weighted(weights.as_array().to_vec())),
        ("mean", None) => Ok(Goal::Mean),
        ("max", None) => Ok(Goal::Max),
        (other, None) => Err(invalid("goal", "'mean', 'max' or an array of weights", format!("'{other}'"))),
    }
}

/// Name, cost, worst, settings, circuits, (gates, two-qubit gates, depth), served, bound, note, of the state.
type Row =
    (&'static str, f64, f64, Option<usize>, usize, (usize, usize, usize), bool, bool, Option<String>, bool);

/// What measuring a gradient costs, for every method.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Plan(core::Plan);

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (*, circuit, theta, observables, bloch, connectivity, goal="mean", weights=None, value_weight=0.0, valued=None, effort=None, max_terms=None, max_settings=None, mitigated=false))]
    #[expect(clippy::too_many_arguments, reason = "all are named in a call")]
    fn new(
        py: Python<'_>,
        circuit: &Circuit,
        theta: PyReadonlyArray1<'_, f64>,
        observables: Vec<PauliSum>,
        bloch: Option<PyReadonlyArray2<'_, f64>>,
        connectivity: &Bound<'_, PyAny>,
        goal: &str,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        value_weight: f64,
        valued: Option<Vec<bool>>,
        effort: Option<u64>,
        max_terms: Option<usize>,
        max_settings: Option<usize>,
        mitigated: bool,
    ) -> PyResult<Self> {
        let standard = Options::default();
        let options = Options {
            goal: self::goal(goal, weights)?,
            value_weight,
            valued,
            connectivity: read_connectivity(connectivity)?,
            effort: effort.unwrap_or(standard.effort),
            max_terms: max_terms.unwrap_or(standard.max_terms),
            max_settings,
            mitigated,
            ..standard
        };
        let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
        let sums: Vec<efl_core::pauli::PauliSum> = observables.into_iter().map(|sum| sum.0).collect();
        let input = bloch.map(|bloch| product(&bloch)).transpose()?;
        enter(py, |cancel| core::Plan::new(&gates, &sums, &theta, input.as_ref(), options, cancel)).map(Plan)
    }

    /// The plan at other angles, everything structural kept; of some methods only, if they are named; for a mean with
    /// these weights, if there are some; with slopes of the parameters by arguments, for derivatives that add up.
    #[pyo3(signature = (theta, names, weights=None, slopes=None))]
    fn at(
        &self,
        py: Python<'_>,
        theta: PyReadonlyArray1<'_, f64>,
        names: Option<Vec<String>>,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        slopes: Option<PyReadonlyArray2<'_, f64>>,
    ) -> PyResult<Self> {
        let weights = weights.map(|weights| weights.as_array().to_vec());
        let chain = slopes.map(|slopes| chain(&slopes)).transpose()?;
        let theta = theta.as_array().to_vec();
        let methods = match names {
            Some(names) => names.iter().map(|name| method(name)).collect::<PyResult<_>>()?,
            None => Method::ALL.to_vec(),
        };
        enter(py, |cancel| self.0.some_at(&theta, &methods, weights.as_deref(), chain.as_ref(), cancel))
            .map(Plan)
    }

    /// The plan at other angles with the settings and shares of this one, of the methods whose designs serve there.
    fn held_at(
        &self,
        py: Python<'_>,
        theta: PyReadonlyArray1<'_, f64>,
        names: Vec<String>,
    ) -> PyResult<Self> {
        let theta = theta.as_array().to_vec();
        let methods: Vec<Method> = names.iter().map(|name| method(name)).collect::<PyResult<_>>()?;
        enter(py, |cancel| self.0.held_at(&theta, &methods, cancel)).map(Plan)
    }

    /// The same plan for a state: a vector, a memory, or else what the circuit prepares. With slopes of the parameters by
    /// arguments, for a mean of the derivatives by these.
    #[pyo3(signature = (*, vector=None, memory=None, weights=None, slopes=None))]
    fn at_state(
        &self,
        py: Python<'_>,
        vector: Option<PyReadonlyArray1<'_, Complex64>>,
        memory: Option<&Memory>,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        slopes: Option<PyReadonlyArray2<'_, f64>>,
    ) -> PyResult<Self> {
        let vector = vector.map(|vector| vector.as_array().to_vec());
        let memory = memory.map(|memory| &memory.0);
        let weights = weights.map(|weights| weights.as_array().to_vec()).unwrap_or_default();
        let chain = slopes.map(|slopes| chain(&slopes)).transpose()?;
        enter(py, |cancel| {
            let vector = vector.as_deref().map(StateVector::new).transpose()?;
            let state = match (&vector, memory) {
                (Some(vector), _) => State::Vector(vector),
                (None, Some(memory)) => State::Memory(memory),
                (None, None) => State::Prepared,
            };
            let aim = Aim {
                weights: (chain.is_none() && !weights.is_empty()).then_some(&weights[..]),
                chain: chain.as_ref().map(|chain| (chain, &weights[..])),
            };
            self.0.at_state(state, aim, cancel)
        })
        .map(Plan)
    }

    /// Whether each derivative is not known to be zero; none but in a plan for a state.
    fn moving(&self) -> Option<Vec<bool>> {
        self.0.moving().map(<[bool]>::to_vec)
    }

    /// Variance of one shot at the state of every derivative by arguments; empty where there is none.
    fn by_arguments<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(self.0.by_arguments(method(name)?).to_vec().into_pyarray(py))
    }

    fn rows(&self) -> Vec<Row> {
        let row = |row: &core::Row| {
            let extra = (row.extra.gates, row.extra.two_qubit_gates, row.extra.depth);
            let name = row.method.name();
            let note = row.note.as_ref().map(ToString::to_string);
            (
                name,
                row.cost,
                row.worst,
                row.settings,
                row.circuits,
                extra,
                row.served,
                row.bound,
                note,
                row.at_state,
            )
        };
        self.0.rows().iter().map(row).collect()
    }

    #[getter]
    fn best(&self) -> &'static str {
        self.0.best().method.name()
    }

    /// The sums that settings of the final state measure.
    #[getter]
    fn observables(&self) -> GradientObservables {
        GradientObservables(Arc::new(self.0.observables().clone()))
    }

    /// Variance of one shot of every derivative, observable by observable; empty for a bound.
    fn variances<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        Ok(self.0.row(method(name)?).variances.clone().into_pyarray(py))
    }

    /// How many times more shots the former design needs at the present angles.
    fn gain(&self, name: &str) -> PyResult<Option<f64>> {
        Ok(self.0.gain(method(name)?))
    }

    fn ensemble(&self, py: Python<'_>, name: &str) -> PyResult<Ensemble> {
        let method = method(name)?;
        enter(py, |cancel| self.0.ensemble(method, cancel)).map(Ensemble)
    }

    /// Experiments with their shares of the shots.
    fn experiments(&self, py: Python<'_>, name: &str) -> PyResult<Vec<(Experiment, f64)>> {
        let method = method(name)?;
        let found = enter(py, |cancel| self.0.experiments(method, cancel))?;
        Ok(found.into_iter().map(|(e, share)| (Experiment(Arc::new(e)), share)).collect())
    }

    /// Experiments with whole numbers of shots: those of one step, if a number of settings is given.
    #[pyo3(signature = (name, shots, seed, settings=None, step=0))]
    fn allocate(
        &self,
        py: Python<'_>,
        name: &str,
        shots: u64,
        seed: u64,
        settings: Option<usize>,
        step: u64,
    ) -> PyResult<Vec<(Experiment, u64)>> {
        let method = method(name)?;
        let found = enter(py, |cancel| match settings {
            None => self.0.allocate(method, shots, seed, cancel),
            Some(draws) => self.0.allocate_step(method, shots, Step { draws, number: step }, seed, cancel),
        })?;
        Ok(found.into_iter().map(|(e, shots)| (Experiment(Arc::new(e)), shots)).collect())
    }

    /// Variance of one shot of every derivative on the prepared state, by simulation.
    fn exact<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let method = method(name)?;
        enter(py, |cancel| self.0.exact(method, cancel)).map(|v| v.into_pyarray(py))
    }

    /// Variance of every derivative from one step of a few settings, by simulation.
    fn exact_step<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        shots: u64,
        settings: usize,
    ) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let method = method(name)?;
        enter(py, |cancel| self.0.exact_step(method, shots, settings, cancel)).map(|v| v.into_pyarray(py))
    }

    /// Gradient and standard errors from simulated shots: of one step, if a number of settings is given.
    #[pyo3(signature = (name, shots, seed, settings=None, step=0))]
    fn simulate<'py>(
        &self,
        py: Python<'py>,
        name: &str,
        shots: u64,
        seed: u64,
        settings: Option<usize>,
        step: u64,
    ) -> PyResult<Moments<'py>> {
        let method = method(name)?;
        let found = enter(py, |cancel| match settings {
            None => self.0.simulate(method, shots, seed, cancel),
            Some(draws) => self.0.simulate_step(method, shots, Step { draws, number: step }, seed, cancel),
        })?;
        Ok((found.gradient.into_pyarray(py), found.stderr.into_pyarray(py)))
    }
}
