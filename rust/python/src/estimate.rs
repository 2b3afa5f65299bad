//! Tallies and estimates.

use crate::boundary::{enter, listen, numbers};
use crate::circuit::{Circuit, GradientObservables};
use crate::ensemble::Ensemble;
use crate::error::{OrRaise, invalid, shape, wrong_type};
use crate::observables::Observables;
use crate::pauli::{PauliWord, read_word};
use crate::setting::StabiliserState;
use crate::snapshots::Snapshots;
use efl_core::estimate::{self as core, Combine};
use efl_core::pauli::Words;
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyType};
use std::sync::Arc;

fn rule(name: &str) -> PyResult<Combine> {
    match name {
        "mean" => Ok(Combine::Mean),
        "hit_normalised" => Ok(Combine::HitNormalised),
        "median_of_means" => Ok(Combine::MedianOfMeans),
        _ => {
            let known = "'mean', 'hit_normalised' or 'median_of_means'";
            Err(invalid("combine", known, format!("'{name}'")))
        }
    }
}

/// Value, standard error, revealed, unrevealed 1-norm, shots.
type Columns<'py> = (
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<f64>>,
    Bound<'py, PyArray1<u64>>,
    Bound<'py, PyArray1<f64>>,
    u64,
);

fn columns(py: Python<'_>, found: core::Estimates) -> Columns<'_> {
    (
        found.value.into_pyarray(py),
        found.stderr.into_pyarray(py),
        found.revealed.into_pyarray(py),
        found.unrevealed.into_pyarray(py),
        found.shots,
    )
}

/// Value, standard error, revealed and shots of every observable.
#[pyfunction]
pub(crate) fn estimate<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    observables: &Observables,
    combine: &str,
    buckets: usize,
    calibration: Option<PyRef<'py, Calibration>>,
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let calibration = calibration.map(|own| own.0.clone());
    let found = enter(py, |cancel| {
        let calibration = calibration.as_deref();
        core::estimate_calibrated(&snaps.0, &observables.0, combine, buckets, calibration, cancel)
    })?;
    Ok(columns(py, found))
}

/// The same for every row of the observables of a gradient.
#[pyfunction]
pub(crate) fn estimate_gradient<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    observables: &GradientObservables,
    combine: &str,
    buckets: usize,
    calibration: Option<PyRef<'py, Calibration>>,
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let rows = observables.0.clone();
    let calibration = calibration.map(|own| own.0.clone());
    let found = enter(py, |cancel| {
        core::estimate_gradient(&snaps.0, &rows, combine, buckets, calibration.as_deref(), cancel)
    })?;
    Ok(columns(py, found))
}

/// The same from counts.
#[pyfunction]
pub(crate) fn estimate_tally<'py>(
    py: Python<'py>,
    tally: &Tally,
    observables: &Observables,
    combine: &str,
    calibration: Option<PyRef<'py, Calibration>>,
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let calibration = calibration.map(|own| own.0.clone());
    let found =
        enter(py, |_| core::estimate_tally(&tally.0, &observables.0, combine, calibration.as_deref()))?;
    Ok(columns(py, found))
}

/// The same of the fidelity with a state: a stabiliser state, or a vector. `amount` is that of buckets, or the largest reading
/// that counts.
#[pyfunction]
pub(crate) fn fidelity<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    target: &Bound<'py, PyAny>,
    combine: &str,
    amount: f64,
) -> PyResult<Columns<'py>> {
    let average = average(combine, amount)?;
    let found = if let Ok(state) = target.cast::<StabiliserState>() {
        let state = state.get().0.clone();
        enter(py, |cancel| core::fidelity(&snaps.0, &[core::Target::Stabiliser(&state)], average, cancel))?
    } else {
        let vector = read_vector(target)?;
        enter(py, |cancel| {
            let state = StateVector::new(&vector).map_err(|error| error.named("target"))?;
            core::fidelity(&snaps.0, &[core::Target::Vector(&state)], average, cancel)
        })?
    };
    Ok(columns(py, found))
}

/// The same of a sum of projectors on orthonormal vectors, the rows of an array.
#[pyfunction]
pub(crate) fn low_rank<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    vectors: PyReadonlyArray2<'_, Complex64>,
    weights: Vec<f64>,
    combine: &str,
    amount: f64,
) -> PyResult<Columns<'py>> {
    let average = average(combine, amount)?;
    let rows: Vec<Vec<Complex64>> =
        vectors.as_array().outer_iter().map(|row| row.iter().copied().collect()).collect();
    let found = enter(py, |cancel| {
        let vectors = rows.iter().map(|row| StateVector::new(row)).collect::<Result<_, _>>();
        let operator = core::LowRank::new(weights, vectors.map_err(|error| error.named("vectors"))?)?;
        core::low_rank(&snaps.0, &operator, average, cancel)
    })?;
    Ok(columns(py, found))
}

fn average(combine: &str, amount: f64) -> PyResult<core::Average> {
    match combine {
        "mean" => Ok(core::Average::Mean),
        "median_of_means" => Ok(core::Average::MedianOfMeans(amount as usize)),
        "truncated_mean" => Ok(core::Average::Truncated(amount)),
        _ => {
            let known = "'mean', 'median_of_means' or 'truncated_mean'";
            Err(invalid("combine", known, format!("'{combine}'")))
        }
    }
}

/// The same of the fidelity with a vector, and of its derivative by each parameter of a circuit.
#[pyfunction]
pub(crate) fn fidelity_gradient<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    target: &Bound<'py, PyAny>,
) -> PyResult<Columns<'py>> {
    let vector = read_vector(target)?;
    let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
    let found = enter(py, |cancel| {
        let state = StateVector::new(&vector).map_err(|error| error.named("target"))?;
        let tangents = efl_core::circuit::tangents(&gates, &theta, &vector, cancel)?;
        core::fidelity_gradient(&snaps.0, &state, &tangents, cancel)
    })?;
    Ok(columns(py, found))
}

/// Where a vector goes with each parameter of a circuit, a row for each.
#[pyfunction]
pub(crate) fn tangents<'py>(
    py: Python<'py>,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    target: &Bound<'_, PyAny>,
) -> PyResult<Bound<'py, PyArray2<Complex64>>> {
    let vector = read_vector(target)?;
    let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
    let found = enter(py, |cancel| efl_core::circuit::tangents(&gates, &theta, &vector, cancel))?;
    let shape = [found.len(), vector.len()];
    found.into_iter().flatten().collect::<Vec<_>>().into_pyarray(py).reshape(shape)
}

/// The same as `fidelity_gradient` along tangents that are given, the rows of an array.
#[pyfunction]
pub(crate) fn fidelity_along<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    target: &Bound<'py, PyAny>,
    tangents: PyReadonlyArray2<'_, Complex64>,
) -> PyResult<Columns<'py>> {
    let vector = read_vector(target)?;
    if tangents.as_array().ncols() != vector.len() {
        let found = format!("{} columns", tangents.as_array().ncols());
        return Err(shape("tangents", format!("{} columns, as the target has", vector.len()), found));
    }
    let rows: Vec<Vec<Complex64>> =
        tangents.as_array().outer_iter().map(|row| row.iter().copied().collect()).collect();
    let found = enter(py, |cancel| {
        let state = StateVector::new(&vector).map_err(|error| error.named("target"))?;
        core::fidelity_gradient(&snaps.0, &state, &rows, cancel)
    })?;
    Ok(columns(py, found))
}

fn read_vector(target: &Bound<'_, PyAny>) -> PyResult<Vec<Complex64>> {
    let vector = numbers::<Complex64>("target", target, "a vector of 2^n amplitudes", 1)?;
    Ok(vector.as_array().iter().copied().collect())
}

/// For each number of words of |0...0> that a basis has, a row: how many snapshots have such bases, and how many of them agree.
#[pyfunction]
pub(crate) fn agreements<'py>(py: Python<'py>, snaps: &Snapshots) -> PyResult<Bound<'py, PyArray2<u64>>> {
    let found = enter(py, |cancel| {
        let zeros = efl_core::stabiliser::StabiliserState::from_gates(snaps.0.n_qubits(), &[])?;
        core::agreements(&snaps.0, &zeros, cancel)
    })?;
    let rows = found.len();
    found.into_iter().flatten().collect::<Vec<u64>>().into_pyarray(py).reshape([rows, 2])
}

/// How often each pattern of letters and outcomes occurs on some qubits.
#[pyfunction]
pub(crate) fn pattern_counts<'py>(
    py: Python<'py>,
    snaps: &Snapshots,
    qubits: Vec<usize>,
) -> PyResult<Bound<'py, PyArray1<u64>>> {
    Ok(enter(py, |cancel| core::pattern_counts(&snaps.0, &qubits, cancel))?.into_pyarray(py))
}

/// How often each pattern came of a readout of |0...0>.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Calibration(pub(crate) Arc<core::Calibration>);

/// Different patterns, what was seen of each, and how often each came.
type Patterns<'py> = (Bound<'py, PyArray2<u8>>, Bound<'py, PyArray2<u8>>, Bound<'py, PyArray1<u64>>);

/// Divisors, and their relative errors.
type Divisors<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray2<f64>>);

impl Calibration {
    /// Some qubits as a packed row.
    fn mask(&self, qubits: Vec<usize>) -> PyResult<Vec<u64>> {
        let mut mask = vec![0u64; self.0.n_qubits().div_ceil(64)];
        for q in qubits {
            if q >= self.0.n_qubits() {
                return Err(invalid("qubits", format!("qubits below {}", self.0.n_qubits()), q.to_string()));
            }
            mask[q / 64] |= 1 << (q % 64);
        }
        Ok(mask)
    }
}

#[pymethods]
impl Calibration {
    /// From bits of shape (shots, n_qubits), flips undone, and which of them were seen, by default all.
    #[new]
    #[pyo3(signature = (bits, seen=None))]
    fn new(
        py: Python<'_>,
        bits: PyReadonlyArray2<'_, u8>,
        seen: Option<PyReadonlyArray2<'_, u8>>,
    ) -> PyResult<Self> {
        let n = bits.as_array().ncols();
        let flat = |table: &PyReadonlyArray2<'_, u8>| table.as_array().iter().copied().collect::<Vec<u8>>();
        let (bits, seen) = (flat(&bits), seen.as_ref().map(flat));
        enter(py, |_| core::Calibration::new(n, &bits, seen.as_deref()))
            .map(|found| Calibration(Arc::new(found)))
    }

    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    #[getter]
    fn shots(&self) -> u64 {
        self.0.shots()
    }

    /// Value, standard error and number of shots that saw it, of the contrast of some qubits.
    fn contrast(&self, qubits: Vec<usize>) -> PyResult<(f64, f64, u64)> {
        let found = self.0.contrast(&self.mask(qubits)?).or_raise()?;
        Ok((found.value, found.stderr, found.seen))
    }

    /// What readings of the parities of some qubits are divided by, and by which part of itself each of those is wrong in
    /// each of a few directions: shape (masks, directions).
    fn divisors<'py>(&self, py: Python<'py>, masks: Vec<Vec<usize>>) -> PyResult<Divisors<'py>> {
        let mut directions = self.0.directions();
        let (mut values, mut wrong) = (Vec::new(), Vec::new());
        for qubits in masks {
            let (value, own) = directions.of(&self.mask(qubits)?).or_raise()?;
            values.push(value);
            wrong.extend(own);
        }
        let shape = [values.len(), core::DIRECTIONS];
        Ok((values.into_pyarray(py), wrong.into_pyarray(py).reshape(shape)?))
    }

    /// The different patterns: bits, which of them were seen, and how often each came.
    fn patterns<'py>(&self, py: Python<'py>) -> PyResult<Patterns<'py>> {
        let n = self.0.n_qubits();
        let (mut bits, mut seen, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        let row = |packed: &[u64]| (0..n).map(|q| (packed[q / 64] >> (q % 64) & 1) as u8).collect::<Vec<_>>();
        for (outcome, saw, count) in self.0.patterns() {
            bits.extend(row(outcome));
            seen.extend(row(saw));
            counts.push(count);
        }
        let shape = [counts.len(), n];
        let table = |flat: Vec<u8>| flat.into_pyarray(py).reshape(shape);
        Ok((table(bits)?, table(seen)?, counts.into_pyarray(py)))
    }
}

/// Counts words in snapshots.
#[pyfunction]
pub(crate) fn tally(
    py: Python<'_>,
    snaps: &Snapshots,
    words: Vec<Bound<'_, PyAny>>,
    buckets: usize,
) -> PyResult<Tally> {
    let n_qubits = snaps.0.n_qubits();
    let mut list = Words::with_capacity(n_qubits, words.len());
    for (i, word) in words.iter().enumerate() {
        listen(py, i)?;
        list.push(&read_word(&format!("words[{i}]"), word, Some(n_qubits))?).or_raise()?;
    }
    enter(py, |cancel| core::tally(&snaps.0, &list, buckets, cancel)).map(Tally)
}

/// How often each word was revealed, and with which sign: integers that merge by addition.
///
/// Made by `efl_core.tally`. Tallies of parts, added in any order, are bit for bit the tally of the whole.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> snaps = efl.Snapshots.from_arrays([[0, 1], [1, 1]], [[0, 2], [2, 2]])
/// >>> first, second = efl.tally(snaps[:1], ["IZ", "ZZ"]), efl.tally(snaps[1:], ["IZ", "ZZ"])
/// >>> (first + second).revealed
/// array([[2, 1]], dtype=uint64)
/// >>> efl.Tally.from_bytes((first + second).to_bytes()) == efl.tally(snaps, ["IZ", "ZZ"])
/// True
#[pyclass(frozen, module = "efl_core")]
pub(crate) struct Tally(core::Tally);

impl Tally {
    fn table<'py>(&self, py: Python<'py>, column: usize) -> PyResult<Bound<'py, PyArray2<u64>>> {
        let shape = [self.0.bucket_shots().len(), self.0.words().len()];
        let rows = (0..shape[0]).flat_map(|b| self.0.bucket(b).iter().map(|count| count[column]));
        rows.collect::<Vec<u64>>().into_pyarray(py).reshape(shape)
    }
}

#[pymethods]
impl Tally {
    /// The words counted.
    #[getter]
    fn words(&self) -> Vec<PauliWord> {
        self.0.words().to_words().into_iter().map(PauliWord).collect()
    }

    /// The ensemble of the snapshots.
    #[getter]
    fn ensemble(&self) -> Ensemble {
        Ensemble(self.0.ensemble().clone())
    }

    /// Number of snapshots.
    #[getter]
    fn shots(&self) -> u64 {
        self.0.shots()
    }

    /// Whether how often each setting of the list was measured was fixed beforehand.
    #[getter]
    fn allocated(&self) -> bool {
        self.0.is_allocated()
    }

    /// Number of snapshots in each bucket.
    #[getter]
    fn bucket_shots<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        self.0.bucket_shots().to_vec().into_pyarray(py)
    }

    /// How often each word was revealed, shape ``(buckets, words)``.
    #[getter]
    fn revealed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        self.table(py, 0)
    }

    /// How often with a minus sign, shape ``(buckets, words)``.
    #[getter]
    fn minus<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<u64>>> {
        self.table(py, 1)
    }

    /// The tally as bytes; equal tallies give equal bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &enter(py, |cancel| self.0.to_bytes_watched(cancel))?))
    }

    /// Reads what `to_bytes` wrote, after checking all of it.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let bytes = data.extract::<&[u8]>().map_err(|_| wrong_type("data", "bytes", data))?;
        enter(py, |cancel| core::Tally::from_bytes_watched(bytes, cancel)).map(Tally)
    }

    fn __add__(&self, other: &Bound<'_, PyAny>, py: Python<'_>) -> PyResult<Tally> {
        let other = other.cast::<Tally>().map_err(|_| wrong_type("other", "a Tally", other))?;
        let other = &other.get().0;
        enter(py, |_| self.0.merge(other)).map(Tally)
    }

    /// Lets ``sum(tallies)`` begin with its zero.
    fn __radd__(&self, other: &Bound<'_, PyAny>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if other.extract::<i64>().is_ok_and(|zero| zero == 0) {
            return Tally(self.0.clone()).into_py_any(py);
        }
        if other.is_instance_of::<PyInt>() || other.is_instance_of::<PyString>() {
            return Err(wrong_type("other", "a Tally (or the 0 that sum() begins with)", other));
        }
        Ok(py.NotImplemented())
    }

    fn __len__(&self) -> usize {
        self.0.words().len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Tally>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __repr__(&self) -> String {
        format!(
            "Tally({} words of {} qubits, {} shots, {} buckets)",
            self.0.words().len(),
            self.0.words().n_qubits(),
            self.0.shots(),
            self.0.bucket_shots().len()
        )
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let class: Bound<'py, PyType> = py.get_type::<Tally>();
        Ok((class.getattr("from_bytes")?, (self.to_bytes(py)?,)))
    }
}
