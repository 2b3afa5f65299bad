//! What is estimated: compiled observables, or the values and derivatives of a gradient.

use crate::circuit::GradientObservables;
use crate::error::{OrRaise, invalid, wrong_type};
use crate::pauli::read_sums;
use efl_core::pauli::{PauliSum, Sums};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use std::sync::Arc;

/// A list of observables, compiled: their distinct words, and a row of coefficients for each.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Observables(pub(crate) Sums);

#[pymethods]
impl Observables {
    /// Reads one observable or several, of the width of the first if none is given; the second result says whether it
    /// was one.
    #[staticmethod]
    fn read(observables: &Bound<'_, PyAny>, n_qubits: Option<usize>) -> PyResult<(Self, bool)> {
        let (sums, single) = read_sums("observables", observables, n_qubits)?;
        let Some(width) = n_qubits.or_else(|| sums.first().map(PauliSum::n_qubits)) else {
            return Err(invalid("observables", "at least one", "an empty sequence"));
        };
        Ok((Observables(Sums::from_sums(width, &sums).or_raise()?), single))
    }

    /// The coefficient of the identity in each.
    fn constants<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.constants().into_pyarray(py)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}

/// What is estimated: plain observables, or the values and derivatives of a gradient.
pub(crate) enum Rows {
    Plain(Sums),
    Gradient(Arc<efl_core::heisenberg::GradientObservables>),
}

impl Rows {
    /// Compiled observables of either kind.
    pub(crate) fn read(observables: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(plain) = observables.cast::<Observables>() {
            return Ok(Rows::Plain(plain.get().0.clone()));
        }
        let wrong = |_| wrong_type("observables", "compiled observables", observables);
        let gradient = observables.cast::<GradientObservables>().map_err(wrong)?;
        Ok(Rows::Gradient(gradient.get().0.clone()))
    }
}

/// What is estimated, in the shape that its variances have: of one observable, of a list, or of a gradient.
pub(crate) fn estimated(observables: &Bound<'_, PyAny>, n_qubits: usize) -> PyResult<(Sums, Vec<usize>)> {
    // The class of a gradient's observables is a Python one, around the handle that has them.
    let handle = observables.getattr_opt("_native")?;
    if let Ok(found) = handle.as_ref().unwrap_or(observables).cast::<GradientObservables>() {
        let found = &found.get().0;
        let single = observables.getattr_opt("_single")?.map_or(Ok(false), |single| single.extract())?;
        let shape = [found.n_observables(), found.n_parameters()];
        return Ok((found.derivatives(), shape[usize::from(single)..].to_vec()));
    }
    let (sums, single) = read_sums("observables", observables, Some(n_qubits))?;
    let shape = if single { vec![] } else { vec![sums.len()] };
    Ok((Sums::from_sums(n_qubits, &sums).or_raise()?, shape))
}
