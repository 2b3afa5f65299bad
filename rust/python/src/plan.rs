//! Plans and the experiments that they consist of.

use crate::boundary::enter;
use crate::circuit::{Circuit, GradientObservables, product};
use crate::ensemble::Ensemble;
use crate::error::{OrRaise, invalid, shape};
use crate::pauli::PauliSum;
use crate::setting::{Setting, read_connectivity};
use efl_core::bits::parallel;
use efl_core::design as core;
use efl_core::design::{Goal, Method, Options};
use efl_core::heisenberg::Gate;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::IntoPyObjectExt;
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

/// A circuit, the setting that its final state is measured in, and what its outcomes mean.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Experiment(Arc<core::Experiment>);

type Moments<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

fn moments<'py>(py: Python<'py>, found: &[core::Moment]) -> Moments<'py> {
    let mean: Vec<f64> = found.iter().map(|m| m.mean).collect();
    let variance: Vec<f64> = found.iter().map(|m| m.variance).collect();
    (mean.into_pyarray(py), variance.into_pyarray(py))
}

impl Experiment {
    /// Bits of the right shape, row after row.
    fn bits(&self, bits: &PyReadonlyArray2<'_, u8>) -> PyResult<Vec<u8>> {
        let view = bits.as_array();
        if view.ncols() != self.n_qubits() {
            let expected = format!("shape (shots, {})", self.n_qubits());
            return Err(shape("bits", expected, format!("({}, {})", view.nrows(), view.ncols())));
        }
        Ok(view.iter().copied().collect())
    }
}

#[pymethods]
impl Experiment {
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.circuit().n_qubits()
    }

    #[getter]
    fn setting(&self) -> Setting {
        Setting(self.0.setting().clone())
    }

    /// Whether it runs the original circuit.
    #[getter]
    fn served(&self) -> bool {
        self.0.served()
    }

    /// The derivatives that it contributes to.
    #[getter]
    fn rows(&self) -> Vec<usize> {
        self.0.readings().rows().to_vec()
    }

    /// What is read for the `index`-th of `rows`.
    fn reading(&self, index: usize) -> PyResult<PauliSum> {
        if index >= self.0.readings().rows().len() {
            return Err(pyo3::exceptions::PyIndexError::new_err(index));
        }
        self.0.readings().sums().sum(index).or_raise().map(PauliSum)
    }

    /// Gates, two-qubit gates, depth.
    #[getter]
    fn cost(&self) -> (usize, usize, usize) {
        let cost = self.0.cost();
        (cost.gates, cost.two_qubit_gates, cost.depth)
    }

    /// The gates of the circuit, without the rotation of the setting: ("rotation", [(qubit, letter)], angle),
    /// ("clifford", name, wires) or ("unitary", matrix, wires).
    fn gates<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let gates = self.0.circuit().gates(&theta.as_array().to_vec()).or_raise()?;
        let describe = |gate: Gate| match gate {
            Gate::Rotation(letters, angle) => {
                let letters: Vec<(usize, String)> =
                    letters.into_iter().map(|(q, letter)| (q, letter.to_string())).collect();
                ("rotation", letters, angle).into_bound_py_any(py)
            }
            Gate::Clifford(gate, wires) => ("clifford", gate.name(), wires).into_bound_py_any(py),
            Gate::Unitary(matrix, wires) => {
                let side = 1 << wires.len();
                ("unitary", matrix.into_pyarray(py).reshape([side, side])?, wires).into_bound_py_any(py)
            }
        };
        gates.into_iter().map(describe).collect()
    }

    /// The same measurement, read for linear combinations: one for each row of weights.
    fn combined(&self, weights: PyReadonlyArray2<'_, f64>) -> PyResult<Experiment> {
        let weights: Vec<Vec<f64>> = weights.as_array().rows().into_iter().map(|row| row.to_vec()).collect();
        self.0.combined(&weights).or_raise().map(|found| Experiment(Arc::new(found)))
    }

    /// Mean and variance of one shot for each of `rows`, from bits of shape (shots, n_qubits).
    fn read<'py>(&self, py: Python<'py>, bits: PyReadonlyArray2<'_, u8>) -> PyResult<Moments<'py>> {
        let bits = self.bits(&bits)?;
        let found = enter(py, |cancel| self.0.read(&bits, cancel))?;
        Ok(moments(py, &found))
    }

    /// The same from exact probabilities: what infinitely many shots would say.
    fn exact<'py>(
        &self,
        py: Python<'py>,
        theta: PyReadonlyArray1<'_, f64>,
        bloch: PyReadonlyArray2<'_, f64>,
    ) -> PyResult<Moments<'py>> {
        let (theta, input) = (theta.as_array().to_vec(), product(&bloch)?);
        let found = enter(py, |cancel| self.0.moments(&theta, &input, cancel))?;
        Ok(moments(py, &found))
    }
}

/// Bits as Python has them: a row of `n` for each shot.
fn unpacked<'py>(py: Python<'py>, n: usize, shots: &[u64]) -> PyResult<Bound<'py, PyArray2<u8>>> {
    let bits: Vec<u8> = shots.iter().flat_map(|shot| (0..n).map(move |q| (shot >> q & 1) as u8)).collect();
    bits.into_pyarray(py).reshape([shots.len(), n])
}

/// The bits of several settings of one state, each given with its shots and its seed.
#[pyfunction]
pub(crate) fn measured<'py>(
    py: Python<'py>,
    state: PyReadonlyArray1<'_, Complex64>,
    runs: Vec<(Setting, usize, u64)>,
) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
    let state = state.as_array().to_vec();
    let found = enter(py, |cancel| {
        parallel::map(runs.len(), cancel, |i| {
            let (setting, shots, seed) = &runs[i];
            core::measure(state.clone(), &setting.0, *shots, *seed, cancel)
        })
    })?;
    found.iter().zip(&runs).map(|(shots, run)| unpacked(py, run.0.0.n_qubits(), shots)).collect()
}

/// The bits of several experiments, each given with its shots and its seed, by simulation.
#[pyfunction]
pub(crate) fn simulated<'py>(
    py: Python<'py>,
    runs: Vec<(PyRef<'py, Experiment>, usize, u64)>,
    theta: PyReadonlyArray1<'_, f64>,
    bloch: PyReadonlyArray2<'_, f64>,
) -> PyResult<Vec<Bound<'py, PyArray2<u8>>>> {
    let (theta, input) = (theta.as_array().to_vec(), product(&bloch)?);
    let runs: Vec<_> = runs.into_iter().map(|(run, shots, seed)| (run.0.clone(), shots, seed)).collect();
    let found = enter(py, |cancel| {
        parallel::map(runs.len(), cancel, |i| {
            let (experiment, shots, seed) = &runs[i];
            experiment.measure(&theta, &input, *shots, *seed, cancel)
        })
    })?;
    found.iter().zip(&runs).map(|(shots, run)| unpacked(py, run.0.circuit().n_qubits(), shots)).collect()
}

/// What the bits of several experiments say together: the mean of every row of the gradient, and its variance.
#[pyfunction]
pub(crate) fn read_together<'py>(
    py: Python<'py>,
    runs: Vec<(PyRef<'py, Experiment>, PyReadonlyArray2<'py, u8>)>,
    n_rows: usize,
) -> PyResult<Moments<'py>> {
    let mut taken = Vec::with_capacity(runs.len());
    for (run, bits) in &runs {
        let shots = bits.as_array().nrows();
        taken.push((run.0.clone(), run.bits(bits)?, shots as f64));
    }
    let found =
        enter(py, |cancel| parallel::map(taken.len(), cancel, |i| taken[i].0.read(&taken[i].1, cancel)))?;
    let (mut mean, mut variance) = (vec![0.0; n_rows], vec![0.0; n_rows]);
    for (moments, (_, _, shots)) in found.iter().zip(&taken) {
        for moment in moments {
            mean[moment.row] += moment.mean;
            variance[moment.row] += moment.variance / shots;
        }
    }
    Ok((mean.into_pyarray(py), variance.into_pyarray(py)))
}

/// Name, cost, worst, settings, circuits, (gates, two-qubit gates, depth), served, bound, note.
type Row = (&'static str, f64, f64, Option<usize>, usize, (usize, usize, usize), bool, bool, Option<String>);

/// What measuring a gradient costs, for every method.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Plan(core::Plan);

#[pymethods]
impl Plan {
    #[new]
    #[pyo3(signature = (*, circuit, theta, observables, bloch, connectivity, goal="mean", weights=None, value_weight=0.0, effort=None, max_terms=None, max_settings=None))]
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
        effort: Option<u64>,
        max_terms: Option<usize>,
        max_settings: Option<usize>,
    ) -> PyResult<Self> {
        let standard = Options::default();
        let options = Options {
            goal: self::goal(goal, weights)?,
            value_weight,
            connectivity: read_connectivity(connectivity)?,
            effort: effort.unwrap_or(standard.effort),
            max_terms: max_terms.unwrap_or(standard.max_terms),
            max_settings,
        };
        let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
        let sums: Vec<efl_core::pauli::PauliSum> = observables.into_iter().map(|sum| sum.0).collect();
        let input = bloch.map(|bloch| product(&bloch)).transpose()?;
        enter(py, |cancel| core::Plan::new(&gates, &sums, &theta, input.as_ref(), options, cancel)).map(Plan)
    }

    /// The plan at other angles, everything structural kept; of some methods only, if they are named.
    fn at(
        &self,
        py: Python<'_>,
        theta: PyReadonlyArray1<'_, f64>,
        names: Option<Vec<String>>,
    ) -> PyResult<Self> {
        let theta = theta.as_array().to_vec();
        let methods = match names {
            Some(names) => names.iter().map(|name| method(name)).collect::<PyResult<_>>()?,
            None => Method::ALL.to_vec(),
        };
        enter(py, |cancel| self.0.some_at(&theta, &methods, cancel)).map(Plan)
    }

    fn rows(&self) -> Vec<Row> {
        let row = |row: &core::Row| {
            let extra = (row.extra.gates, row.extra.two_qubit_gates, row.extra.depth);
            let name = row.method.name();
            let note = row.note.clone();
            (name, row.cost, row.worst, row.settings, row.circuits, extra, row.served, row.bound, note)
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
        enter(py, |_| self.0.ensemble(method)).map(Ensemble)
    }

    /// Experiments with their shares of the shots.
    fn experiments(&self, py: Python<'_>, name: &str) -> PyResult<Vec<(Experiment, f64)>> {
        let method = method(name)?;
        let found = enter(py, |cancel| self.0.experiments(method, cancel))?;
        Ok(found.into_iter().map(|(e, share)| (Experiment(Arc::new(e)), share)).collect())
    }

    /// Experiments with whole numbers of shots.
    fn allocate(
        &self,
        py: Python<'_>,
        name: &str,
        shots: u64,
        seed: u64,
    ) -> PyResult<Vec<(Experiment, u64)>> {
        let method = method(name)?;
        let found = enter(py, |cancel| self.0.allocate(method, shots, seed, cancel))?;
        Ok(found.into_iter().map(|(e, shots)| (Experiment(Arc::new(e)), shots)).collect())
    }

    /// Variance of one shot of every derivative on the prepared state, by simulation.
    fn exact<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let method = method(name)?;
        enter(py, |cancel| self.0.exact(method, cancel)).map(|v| v.into_pyarray(py))
    }

    /// Gradient and standard errors from simulated shots.
    fn simulate<'py>(&self, py: Python<'py>, name: &str, shots: u64, seed: u64) -> PyResult<Moments<'py>> {
        let method = method(name)?;
        let found = enter(py, |cancel| self.0.simulate(method, shots, seed, cancel))?;
        Ok((found.gradient.into_pyarray(py), found.stderr.into_pyarray(py)))
    }
}
