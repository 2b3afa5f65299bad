//! Designed ensembles, and what ensembles will do.

use crate::boundary::{enter, numbers};
use crate::circuit::GradientObservables;
use crate::ensemble::Ensemble;
use crate::error::{OrRaise, invalid, wrong_type};
use crate::estimate::Observables;
use crate::pauli::read_sums;
use crate::plan::goal;
use crate::setting::read_connectivity;
use efl_core::design::{self as core, Kind, Options};
use efl_core::pauli::Sums;
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArrayMethods, PyReadonlyArray1};
use pyo3::IntoPyObjectExt;
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
        let wrong = |_| wrong_type("observables", "compiled observables", observables);
        let gradient = observables.cast::<GradientObservables>().map_err(wrong)?;
        Ok(Rows::Gradient(gradient.get().0.clone()))
    }
}

fn kind(name: &str, qubits_per_block: usize) -> PyResult<Kind> {
    let known = [Kind::Uniform, Kind::Biased, Kind::Product, Kind::Clifford, Kind::Block(qubits_per_block)];
    known.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|kind| format!("'{}'", kind.name())).collect();
        invalid("kind", format!("'auto' or one of {}", names.join(", ")), format!("'{name}'"))
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
    connectivity: &Bound<'_, PyAny>,
    qubits_per_block: usize,
    effort: Option<u64>,
    shots: Option<u64>,
) -> PyResult<Ensemble> {
    let rows = Rows::read(observables)?;
    let kinds: Vec<Kind> = kinds.iter().map(|name| kind(name, qubits_per_block)).collect::<PyResult<_>>()?;
    let standard = Options::default();
    let options = Options {
        goal: goal(wanted, weights)?,
        value_weight,
        connectivity: read_connectivity(connectivity)?,
        effort: effort.unwrap_or(standard.effort),
        shots,
        ..standard
    };
    let (sums, n_values) = match &rows {
        Rows::Plain(sums) => (sums, 0),
        Rows::Gradient(found) => (found.sums(), found.n_observables()),
    };
    enter(py, |cancel| core::design(sums, n_values, &kinds, &options, cancel)).map(Ensemble)
}

/// What is estimated, in the shape that its variances have: of one observable, of a list, or of a gradient.
fn estimated(observables: &Bound<'_, PyAny>, n_qubits: usize) -> PyResult<(Sums, Vec<usize>)> {
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

/// The variance of one snapshot of every observable, or of every derivative: on average over all states, or on a known
/// one.
pub(crate) fn predicted_variance<'py>(
    py: Python<'py>,
    ensemble: &efl_core::ensemble::Ensemble,
    observables: &Bound<'py, PyAny>,
    state: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (sums, shape) = estimated(observables, ensemble.n_qubits())?;
    let amplitudes: Option<Vec<Complex64>> = state
        .map(|state| numbers::<Complex64>("state", state, "a vector of 2^n amplitudes", 1))
        .transpose()?
        .map(|amplitudes| amplitudes.as_array().iter().copied().collect());
    let found = enter(py, |cancel| match &amplitudes {
        None => ensemble.predicted_variances(&sums, cancel),
        Some(amplitudes) => ensemble.exact_variances(&sums, &StateVector::new(amplitudes)?, cancel),
    })?;
    match (&shape[..], &found[..]) {
        ([], [one]) => one.into_bound_py_any(py),
        _ => Ok(found.into_pyarray(py).reshape(shape)?.into_any()),
    }
}
