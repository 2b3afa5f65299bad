//! Designed ensembles, and what ensembles will do.

use crate::boundary::enter;
use crate::circuit::GradientObservables;
use crate::ensemble::Ensemble;
use crate::error::{InputTypeError, InvalidInputError};
use crate::estimate::Observables;
use crate::plan::goal;
use crate::setting::connectivity;
use efl_core::design::{self as core, Kind, Options};
use efl_core::pauli::Sums;
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1};
use pyo3::prelude::*;
use std::sync::Arc;

/// What is estimated: plain observables, or the values and derivatives of a gradient.
enum Rows {
    Plain(Sums),
    Gradient(Arc<efl_core::heisenberg::GradientObservables>),
}

impl Rows {
    fn read(observables: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(plain) = observables.cast::<Observables>() {
            return Ok(Rows::Plain(plain.get().0.clone()));
        }
        let wrong = |_| InputTypeError::new_err("observables: expected compiled observables");
        let gradient = observables.cast::<GradientObservables>().map_err(wrong)?;
        Ok(Rows::Gradient(gradient.get().0.clone()))
    }
}

fn kind(name: &str, qubits_per_block: usize) -> PyResult<Kind> {
    let known = [Kind::Uniform, Kind::Biased, Kind::Product, Kind::Clifford, Kind::Block(qubits_per_block)];
    known.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|kind| format!("'{}'", kind.name())).collect();
        InvalidInputError::new_err(format!(
            "kind: expected 'auto' or one of {}, got '{name}'",
            names.join(", ")
        ))
    })
}

/// The best ensemble of some kinds, in the order of preference among equals.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // the Python half names them
pub(crate) fn design(
    py: Python<'_>,
    observables: &Bound<'_, PyAny>,
    kinds: Vec<String>,
    wanted: &str,
    weights: Option<PyReadonlyArray1<'_, f64>>,
    value_weight: f64,
    connect: &str,
    qubits_per_block: usize,
    effort: Option<u64>,
) -> PyResult<Ensemble> {
    let rows = Rows::read(observables)?;
    let kinds: Vec<Kind> = kinds.iter().map(|name| kind(name, qubits_per_block)).collect::<PyResult<_>>()?;
    let standard = Options::default();
    let options = Options {
        goal: goal(wanted, weights)?,
        value_weight,
        connectivity: connectivity(connect)?,
        effort: effort.unwrap_or(standard.effort),
        ..standard
    };
    let (sums, n_values) = match &rows {
        Rows::Plain(sums) => (sums, 0),
        Rows::Gradient(found) => (found.sums(), found.n_observables()),
    };
    enter(py, |cancel| core::design(sums, n_values, &kinds, &options, cancel)).map(Ensemble)
}

/// The variance of one snapshot of every observable, or of every derivative: on average over all states, or on a known
/// one.
#[pyfunction]
pub(crate) fn predicted_variances<'py>(
    py: Python<'py>,
    ensemble: &Ensemble,
    observables: &Bound<'py, PyAny>,
    state: Option<PyReadonlyArray1<'py, Complex64>>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let sums = match Rows::read(observables)? {
        Rows::Plain(sums) => sums,
        Rows::Gradient(found) => found.derivatives(),
    };
    let ensemble = ensemble.0.clone();
    let state = state.map(|amplitudes| amplitudes.as_array().to_vec());
    let found = enter(py, |cancel| match &state {
        None => ensemble.predicted_variances(&sums, cancel),
        Some(amplitudes) => ensemble.exact_variances(&sums, &StateVector::new(amplitudes)?, cancel),
    })?;
    Ok(found.into_pyarray(py))
}
