//! Tallies: exact sums over queries.

use super::column;
use crate::error::OrRaise;
use efl_fleet::tally::{self, Mean};
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

pub(super) type Means<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>);

pub(super) fn means(py: Python<'_>, found: Vec<Mean>) -> Means<'_> {
    let value: Vec<f64> = found.iter().map(|mean| mean.value).collect();
    let stderr: Vec<f64> = found.iter().map(|mean| mean.stderr).collect();
    (value.into_pyarray(py), stderr.into_pyarray(py))
}

type Pooled<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, u64);

/// Exact sums over queries, and of squares.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct FleetTally(pub(super) tally::Tally);

#[pymethods]
impl FleetTally {
    #[getter]
    fn n_parameters(&self) -> usize {
        self.0.n_parameters()
    }

    #[getter]
    fn n_outputs(&self) -> usize {
        self.0.n_outputs()
    }

    #[getter]
    fn queries(&self) -> u64 {
        self.0.queries()
    }

    #[getter]
    fn shots(&self) -> u64 {
        self.0.shots()
    }

    #[getter]
    fn losses(&self) -> u64 {
        self.0.losses()
    }

    #[getter]
    fn gradient<'py>(&self, py: Python<'py>) -> Means<'py> {
        means(py, self.0.gradient())
    }

    #[getter]
    fn loss(&self) -> (f64, f64) {
        let Mean { value, stderr } = self.0.loss();
        (value, stderr)
    }

    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> Means<'py> {
        means(py, self.0.values())
    }

    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.to_bytes())
    }

    #[staticmethod]
    fn from_bytes(data: &[u8]) -> PyResult<Self> {
        tally::Tally::from_bytes(data).or_raise().map(FleetTally)
    }

    fn __add__(&self, other: &FleetTally) -> PyResult<Self> {
        let mut sum = self.0.clone();
        sum.merge(&other.0).or_raise()?;
        Ok(FleetTally(sum))
    }

    /// Lets ``sum(tallies)`` begin with its zero.
    fn __radd__(&self, other: &Bound<'_, PyAny>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if other.extract::<i64>().is_ok_and(|zero| zero == 0) {
            return FleetTally(self.0.clone()).into_py_any(py);
        }
        Ok(py.NotImplemented())
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<FleetTally>().is_ok_and(|other| self.0 == other.get().0)
    }
}

/// The weighted mean over the queries of several tallies, its error, and their number.
#[pyfunction]
#[pyo3(signature = (tallies, weights=None))]
pub(crate) fn fleet_gradient<'py>(
    py: Python<'py>,
    tallies: Vec<PyRef<'py, FleetTally>>,
    weights: Option<PyReadonlyArray1<'py, f64>>,
) -> PyResult<Pooled<'py>> {
    let weights = column("weights", weights, tallies.len())?.unwrap_or_else(|| vec![1.0; tallies.len()]);
    let parts: Vec<_> = tallies.iter().zip(weights).map(|(tally, weight)| (&tally.0, weight)).collect();
    let (gradient, queries) = tally::gradient(&parts).or_raise()?;
    let (value, stderr) = means(py, gradient);
    Ok((value, stderr, queries))
}
