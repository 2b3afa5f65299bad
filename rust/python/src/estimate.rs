//! Tallies and estimates.

use crate::boundary::{enter, listen};
use crate::circuit::GradientObservables;
use crate::ensemble::Ensemble;
use crate::error::{OrRaise, invalid, wrong_type};
use crate::observables::Observables;
use crate::pauli::{PauliWord, read_word};
use crate::snapshots::Snapshots;
use efl_core::estimate::{self as core, Combine};
use efl_core::pauli::Words;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyString, PyType};

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
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let found = enter(py, |cancel| core::estimate(&snaps.0, &observables.0, combine, buckets, cancel))?;
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
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let rows = observables.0.clone();
    let found = enter(py, |cancel| core::estimate_gradient(&snaps.0, &rows, combine, buckets, cancel))?;
    Ok(columns(py, found))
}

/// The same from counts.
#[pyfunction]
pub(crate) fn estimate_tally<'py>(
    py: Python<'py>,
    tally: &Tally,
    observables: &Observables,
    combine: &str,
) -> PyResult<Columns<'py>> {
    let combine = rule(combine)?;
    let found = enter(py, |_| core::estimate_tally(&tally.0, &observables.0, combine))?;
    Ok(columns(py, found))
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
