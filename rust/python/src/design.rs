//! Designed ensembles.

use crate::boundary::enter;
use crate::ensemble::Ensemble;
use crate::error::invalid;
use crate::observables::Rows;
use crate::plan::goal;
use crate::setting::read_connectivity;
use efl_core::design::{self as core, Kind, Options};
use numpy::PyReadonlyArray1;
use pyo3::prelude::*;

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
