//! Memories: what settings have answered, from step to step.

use crate::boundary::enter;
use crate::error::OrRaise;
use crate::experiment::Outcomes;
use efl_core::bits::fingerprint::Fingerprint;
use efl_core::estimate as core;
use numpy::{IntoPyArray, PyReadonlyArray1};
use pyo3::prelude::*;

/// Two numbers that stand for the circuit and the setting, qubits, the last step, the sum of squared weights, outcomes
/// (packed), their weights, and what those of the first half of the shots are.
type Seen<'py> = ([u64; 2], usize, u64, f64, [Bound<'py, PyAny>; 3]);
type Given<'py> = (
    [u64; 2],
    usize,
    u64,
    f64,
    (PyReadonlyArray1<'py, u64>, PyReadonlyArray1<'py, f64>, PyReadonlyArray1<'py, f64>),
);

/// The outcomes of settings, those of later steps with more weight.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Memory(pub(crate) core::Memory);

#[pymethods]
impl Memory {
    #[new]
    fn new(keep: f64) -> PyResult<Self> {
        core::Memory::new(keep).or_raise().map(Memory)
    }

    /// A memory from the parts of another one.
    #[staticmethod]
    fn from_parts(keep: f64, steps: u64, seen: Vec<Given<'_>>) -> PyResult<Self> {
        let own = |(key, n_qubits, step, squares, (rows, weights, halves)): Given<'_>| {
            let rows = rows.as_array().to_vec();
            let [weights, halves] = [weights, halves].map(|numbers| numbers.as_array().to_vec());
            (Fingerprint::from_parts(key), core::Seen { n_qubits, rows, weights, halves, squares, step })
        };
        let seen = seen.into_iter().map(own).collect();
        core::Memory::from_parts(keep, steps, seen).or_raise().map(Memory)
    }

    /// What each setting has answered.
    fn parts<'py>(&self, py: Python<'py>) -> Vec<Seen<'py>> {
        let one = |(key, own): (&Fingerprint, &core::Seen)| {
            let rows = own.rows.clone().into_pyarray(py).into_any();
            let numbers = |numbers: &[f64]| numbers.to_vec().into_pyarray(py).into_any();
            let lists = [rows, numbers(&own.weights), numbers(&own.halves)];
            (key.parts(), own.n_qubits, own.step, own.squares, lists)
        };
        self.0.seen().iter().map(one).collect()
    }

    #[getter]
    fn keep(&self) -> f64 {
        self.0.keep()
    }

    #[getter]
    fn steps(&self) -> u64 {
        self.0.steps()
    }

    fn __len__(&self) -> usize {
        self.0.seen().len()
    }

    /// The memory after another step with these outcomes.
    fn observed(&self, py: Python<'_>, outcomes: Vec<PyRef<'_, Outcomes>>) -> PyResult<Self> {
        let runs: Vec<core::Run<'_>> = outcomes.iter().map(|own| own.run()).collect();
        let mut later = self.0.clone();
        enter(py, |cancel| {
            later.observe(&runs, cancel)?;
            Ok(later)
        })
        .map(Memory)
    }
}
