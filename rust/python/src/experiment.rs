//! Experiments: what is run and read for some of a gradient.

use crate::boundary::{BRIEF, enter, enter_briefly};
use crate::circuit::{Circuit, product};
use crate::error::{OrRaise, shape};
use crate::estimate::Calibration;
use crate::pauli::PauliSum;
use crate::setting::Setting;
use efl_core::Result;
use efl_core::bits::parallel::{self, Cancel};
use efl_core::circuit::Gate;
use efl_core::estimate;
use efl_core::experiment as core;
use efl_core::snapshots::{self as counted, measure, measure_experiments};
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use std::sync::Arc;

/// A circuit, the setting that its final state is measured in, and what its outcomes mean.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Experiment(pub(crate) Arc<core::Experiment>);

pub(crate) type Moments<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

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
        Ok(view.as_slice().map_or_else(|| view.iter().copied().collect(), <[u8]>::to_vec))
    }
}

#[pymethods]
impl Experiment {
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
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
        let size = self.0.size();
        (size.gates, size.two_qubit_gates, size.depth)
    }

    /// The gates of the circuit, without the rotation of the setting: ("rotation", [(qubit, letter)], angle),
    /// ("clifford", name, wires), ("unitary", matrix, wires) or ("channel", matrices, wires).
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
            Gate::Channel(kraus, wires) => {
                let side = 1 << wires.len();
                let matrix = |k: Vec<Complex64>| k.into_pyarray(py).reshape([side, side]);
                let kraus = kraus.into_iter().map(matrix).collect::<PyResult<Vec<_>>>()?;
                ("channel", kraus, wires).into_bound_py_any(py)
            }
        };
        gates.into_iter().map(describe).collect()
    }

    /// The same with readings divided by the contrasts of the readout, and of the gates of the setting, which a circuit
    /// tells with what the device does between them.
    fn calibrated(
        &self,
        py: Python<'_>,
        calibration: Option<PyRef<'_, Calibration>>,
        setting: Option<PyRef<'_, Circuit>>,
    ) -> PyResult<Self> {
        let calibration = calibration.map(|own| own.0.clone());
        let setting = setting.map(|own| own.gates());
        let found = enter(py, |cancel| {
            estimate::calibrated(&self.0, calibration.as_deref(), setting.as_deref(), cancel)
        })?;
        Ok(Experiment(Arc::new(found)))
    }

    /// Mean and variance of one shot for each of `rows`, from bits of shape (shots, n_qubits).
    fn read<'py>(&self, py: Python<'py>, bits: PyReadonlyArray2<'_, u8>) -> PyResult<Moments<'py>> {
        let bits = self.bits(&bits)?;
        let n = self.n_qubits();
        let found = enter(py, |cancel| {
            estimate::read(&self.0, &counted::Outcomes::from_bits(n, &bits, cancel)?, cancel)
        })?;
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
    let mut bits = vec![0u8; n * shots.len()];
    for (row, shot) in bits.chunks_exact_mut(n).zip(shots) {
        row.iter_mut().enumerate().for_each(|(q, bit)| *bit = (shot >> q & 1) as u8);
    }
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
    let of = |i: usize, cancel: &Cancel| {
        let (setting, shots, seed): &(Setting, usize, u64) = &runs[i];
        measure(state.clone(), &setting.0, *shots, *seed, cancel)
    };
    let time = |(setting, shots, _): &(Setting, usize, u64)| {
        (setting.0.gates().len() as u64 + 4) * state.len() as u64 + 64 * *shots as u64
    };
    let found = if runs.iter().map(time).sum::<u64>() <= BRIEF {
        enter_briefly(py, |cancel| (0..runs.len()).map(|i| of(i, cancel)).collect::<Result<Vec<_>>>())
    } else {
        enter(py, |cancel| parallel::map(runs.len(), cancel, |i| of(i, cancel)))
    }?;
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
        let runs: Vec<(&core::Experiment, usize, u64)> =
            runs.iter().map(|(run, shots, seed)| (&**run, *shots, *seed)).collect();
        measure_experiments(&runs, &theta, &input, cancel)
    })?;
    found.iter().zip(&runs).map(|(shots, run)| unpacked(py, run.0.n_qubits(), shots)).collect()
}

/// An experiment and how often each of its outcomes came: what is left of bits once they are read.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Outcomes {
    experiment: Arc<core::Experiment>,
    outcomes: counted::Outcomes,
}

impl Outcomes {
    /// The experiment and what came of it.
    pub(crate) fn run(&self) -> estimate::Run<'_> {
        (&*self.experiment, &self.outcomes)
    }
}

#[pymethods]
impl Outcomes {
    /// Counts the bits of several experiments, each of shape (shots, n_qubits).
    #[staticmethod]
    fn count<'py>(
        py: Python<'py>,
        runs: Vec<(PyRef<'py, Experiment>, PyReadonlyArray2<'py, u8>)>,
    ) -> PyResult<Vec<Self>> {
        let taken = runs.iter().map(|(run, bits)| Ok((run.0.clone(), run.bits(bits)?)));
        let taken = taken.collect::<PyResult<Vec<_>>>()?;
        enter(py, |cancel| {
            parallel::map(taken.len(), cancel, |i| {
                let (experiment, bits) = &taken[i];
                let outcomes = counted::Outcomes::from_bits(experiment.n_qubits(), bits, cancel)?;
                Ok(Outcomes { experiment: experiment.clone(), outcomes })
            })
        })
    }

    /// Bytes held.
    #[getter]
    fn nbytes(&self) -> usize {
        self.outcomes.nbytes()
    }

    /// Number of shots.
    #[getter]
    fn shots(&self) -> u64 {
        self.outcomes.shots()
    }
}

fn runs<'a>(outcomes: &'a [PyRef<'_, Outcomes>]) -> Vec<estimate::Run<'a>> {
    outcomes.iter().map(|own| own.run()).collect()
}

/// What several experiments say together: the mean of every row of the gradient, and its variance.
#[pyfunction]
pub(crate) fn read_together<'py>(
    py: Python<'py>,
    outcomes: Vec<PyRef<'py, Outcomes>>,
    n_rows: usize,
) -> PyResult<Moments<'py>> {
    let runs = runs(&outcomes);
    let (mean, variance) = enter(py, |cancel| estimate::read_all(&runs, n_rows, cancel))?;
    Ok((mean.into_pyarray(py), variance.into_pyarray(py)))
}

/// The variances of linear combinations of the rows of a gradient, a row of weights for each.
#[pyfunction]
pub(crate) fn read_combined<'py>(
    py: Python<'py>,
    outcomes: Vec<PyRef<'py, Outcomes>>,
    weights: PyReadonlyArray2<'_, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let weights: Vec<Vec<f64>> = weights.as_array().rows().into_iter().map(|row| row.to_vec()).collect();
    let runs = runs(&outcomes);
    let variances = enter(py, |cancel| estimate::read_combined(&runs, &weights, cancel))?;
    Ok(variances.into_pyarray(py))
}

/// The variances of linear combinations of the rows because of the contrasts that readings were divided by.
#[pyfunction]
pub(crate) fn calibration_variances<'py>(
    py: Python<'py>,
    outcomes: Vec<PyRef<'py, Outcomes>>,
    calibration: &Calibration,
    weights: PyReadonlyArray2<'_, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let weights: Vec<Vec<f64>> = weights.as_array().rows().into_iter().map(|row| row.to_vec()).collect();
    let runs = runs(&outcomes);
    let calibration = calibration.0.clone();
    let variances =
        enter(py, |cancel| estimate::calibration_variances(&runs, &calibration, &weights, cancel))?;
    Ok(variances.into_pyarray(py))
}

/// The chain rule of a table of slopes.
pub(crate) fn chain(slopes: &PyReadonlyArray2<'_, f64>) -> PyResult<core::Chain> {
    let table = slopes.as_array();
    let flat: Vec<f64> = table.iter().copied().collect();
    core::Chain::new(table.nrows(), table.ncols(), &flat).or_raise()
}

/// The variance of every derivative by an argument, from experiments with their shares or shots and the slopes of the
/// parameters by the arguments: on the maximally mixed state, or with angles and Bloch vectors on the prepared one.
#[pyfunction]
#[pyo3(signature = (runs, slopes, n_observables, prepared=None))]
pub(crate) fn chained<'py>(
    py: Python<'py>,
    runs: Vec<(PyRef<'py, Experiment>, f64)>,
    slopes: PyReadonlyArray2<'_, f64>,
    n_observables: usize,
    prepared: Option<(PyReadonlyArray1<'_, f64>, PyReadonlyArray2<'_, f64>)>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let chain = chain(&slopes)?;
    let prepared =
        prepared.map(|(theta, bloch)| Ok::<_, PyErr>((theta.as_array().to_vec(), product(&bloch)?)));
    let prepared = prepared.transpose()?;
    let runs: Vec<_> = runs.into_iter().map(|(run, shots)| (run.0.clone(), shots)).collect();
    let found = enter(py, |cancel| {
        let runs: Vec<(&core::Experiment, f64)> = runs.iter().map(|(run, shots)| (&**run, *shots)).collect();
        match &prepared {
            None => core::chained(&runs, &chain, n_observables, cancel),
            Some((theta, input)) => core::chained_exact(&runs, &chain, n_observables, (theta, input), cancel),
        }
    })?;
    Ok(found.into_pyarray(py))
}
