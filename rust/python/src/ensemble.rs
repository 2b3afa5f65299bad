//! Ensembles of measurement settings.

use crate::boundary::{describe, width};
use crate::error::{InputTypeError, OrRaise, ShapeError};
use crate::pauli::read_word;
use efl_core::design as core;
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray2, ToPyArray};
use pyo3::prelude::*;

/// How measurement settings are drawn: one letter X, Y or Z per qubit and snapshot.
///
/// Made by `Ensemble.uniform` or `Ensemble.biased`.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> uniform = efl.Ensemble.uniform(3)
/// >>> uniform.reveal_probability("XIZ")
/// 0.1111111111111111
/// >>> biased = efl.Ensemble.biased([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
/// >>> biased.reveal_probability("XZ")
/// 0.25
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct Ensemble(pub(crate) core::Ensemble);

#[pymethods]
impl Ensemble {
    /// X, Y and Z with probability 1/3 on each of ``n_qubits`` qubits.
    #[staticmethod]
    fn uniform(n_qubits: &Bound<'_, PyAny>) -> PyResult<Self> {
        core::Ensemble::uniform(width("n_qubits", n_qubits)?).or_raise().map(Ensemble)
    }

    /// The probabilities of X, Y and Z for each qubit, array-like of shape ``(n_qubits, 3)``; rows sum to one.
    #[staticmethod]
    fn biased(probabilities: &Bound<'_, PyAny>) -> PyResult<Self> {
        let numpy = probabilities.py().import("numpy")?;
        let wrong_type = || {
            InputTypeError::new_err(format!(
                "probabilities: expected real numbers of shape (n_qubits, 3), got {}",
                describe(probabilities)
            ))
        };
        let array = numpy.call_method1("asarray", (probabilities,)).map_err(|_| wrong_type())?;
        let kind: String = array.getattr("dtype")?.getattr("kind")?.extract()?;
        if !"biuf".contains(&kind) {
            return Err(wrong_type());
        }
        let array = array.call_method1("astype", ("float64",))?;
        let shape: Vec<usize> = array.getattr("shape")?.extract()?;
        if shape.len() != 2 || shape[1] != 3 {
            return Err(ShapeError::new_err(format!(
                "probabilities: expected shape (n_qubits, 3), got {shape:?}"
            )));
        }
        let array: PyReadonlyArray2<'_, f64> = array.extract()?;
        let rows = array.as_array().rows().into_iter().map(|r| [r[0], r[1], r[2]]).collect();
        core::Ensemble::biased(rows).or_raise().map(Ensemble)
    }

    /// Number of qubits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// ``"uniform"`` or ``"biased"``.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Probabilities of X, Y and Z, shape ``(n_qubits, 3)``.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let rows: Vec<f64> = (0..self.0.n_qubits()).flat_map(|q| self.0.letter_probabilities(q)).collect();
        rows.to_pyarray(py).reshape([self.0.n_qubits(), 3])
    }

    /// The probability that one snapshot reveals ``word``.
    fn reveal_probability(&self, word: &Bound<'_, PyAny>) -> PyResult<f64> {
        let word = read_word("word", word, Some(self.0.n_qubits()))?;
        Ok(self.0.reveal_probability(word.view()))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Ensemble>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __repr__(&self) -> String {
        format!("Ensemble.{}(n_qubits={})", self.0.kind(), self.0.n_qubits())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyAny>,))> {
        let class = py.get_type::<Ensemble>();
        let make = class.getattr(self.0.kind())?;
        let argument = match self.0.kind() {
            "uniform" => self.0.n_qubits().into_pyobject(py)?.into_any(),
            _ => self.probabilities(py)?.into_any(),
        };
        Ok((make, (argument,)))
    }
}
