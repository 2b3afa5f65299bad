//! The fleet: versions, readers, tallies and the machine of a learner, a file for each.
//!
//! What works on bits releases the GIL. It is not interrupted half-way, for then it would not be known which queries were
//! counted; a packet takes at most some milliseconds.

mod journal;
mod machine;
mod reader;
mod tally;
mod version;

pub(crate) use journal::{FleetCommits, FleetReplay, fleet_frame};
pub(crate) use machine::FleetMachine;
pub(crate) use reader::FleetReader;
pub(crate) use tally::{FleetTally, fleet_gradient};
pub(crate) use version::FleetVersion;

use crate::boundary::integer;
use crate::error::{invalid, shape};
use efl_fleet::machine::{Outcome, Refusal};
use numpy::{PyReadonlyArray1, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// Reasons and outcomes, by name.
pub(crate) fn names(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("FLEET_REFUSALS", PyTuple::new(module.py(), Refusal::ALL.map(Refusal::name))?)?;
    module.add("FLEET_OUTCOMES", PyTuple::new(module.py(), Outcome::ALL.map(Outcome::name))?)
}

/// An integer argument that fits into fewer bits.
pub(super) fn narrow<T: TryFrom<u64>>(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<T> {
    let found = integer(name, value, least)?;
    let bits = 8 * size_of::<T>();
    T::try_from(found).map_err(|_| invalid(name, format!("an integer below 2^{bits}"), found))
}

/// A part of the queries, in 2^-64.
pub(super) fn part(canary: &f64) -> PyResult<u64> {
    match (canary * 2f64.powi(64)) as u64 {
        below if *canary > 0.0 && *canary < 1.0 && below > 0 => Ok(below),
        _ => Err(invalid("canary", "a part of the queries, above 0 and below 1", canary)),
    }
}

/// A number of derivatives, or of outputs: tables are made of it.
pub(super) fn count(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    const MOST: u64 = 1 << 24;
    match integer(name, value, 1)? {
        found if found <= MOST => Ok(found as usize),
        found => Err(invalid(name, format!("1 to {MOST}"), found)),
    }
}

/// Rows of weights, and how many values each has.
pub(super) fn table(
    weights: &PyReadonlyArrayDyn<'_, f64>,
    rows: usize,
    outputs: usize,
    settings: Option<usize>,
) -> PyResult<(Vec<f64>, usize)> {
    let each = match *weights.shape() {
        [q, r] if (q, r) == (rows, outputs) => outputs,
        [q, s, r] if (q, r) == (rows, outputs) && settings.is_none_or(|settings| settings == s) => s * r,
        _ => {
            let settings = settings.map_or("settings".to_owned(), |settings| settings.to_string());
            let expected = format!("shape ({rows}, {outputs}) or ({rows}, {settings}, {outputs})");
            return Err(shape("weights", expected, format!("{:?}", weights.shape())));
        }
    };
    Ok((weights.as_array().iter().copied().collect(), each))
}

pub(super) fn column(
    name: &str,
    values: Option<PyReadonlyArray1<'_, f64>>,
    rows: usize,
) -> PyResult<Option<Vec<f64>>> {
    let Some(values) = values else { return Ok(None) };
    if values.len() != rows {
        return Err(shape(name, format!("shape ({rows},)"), format!("({},)", values.len())));
    }
    Ok(Some(values.as_array().to_vec()))
}
