//! Circuits, propagation, and the observables of a gradient.

use crate::boundary::{BRIEF, enter, enter_briefly, float};
use crate::error::{OrRaise, invalid, shape};
use crate::pauli::{PauliSum, read_sum, read_word};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Generator};
use efl_core::gates::Clifford;
use efl_core::heisenberg as core;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyReadonlyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Words of a generator that are compared while the GIL is held: some microseconds.
const FEW: usize = 32;

/// Handle of a circuit under construction; a computation works on the gates that it had when it began.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct Circuit(Mutex<Arc<efl_core::circuit::Circuit>>);

impl Circuit {
    pub(crate) fn gates(&self) -> Arc<efl_core::circuit::Circuit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add<T>(
        &self,
        gate: impl FnOnce(&mut efl_core::circuit::Circuit) -> efl_core::Result<T>,
    ) -> PyResult<T> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        gate(Arc::make_mut(&mut gates)).or_raise()
    }
}

/// A number, the triple (parameter, scale, offset), or (input,).
fn angle(value: &Bound<'_, PyAny>) -> PyResult<Angle> {
    if let Ok((parameter, scale, offset)) = value.extract::<(usize, f64, f64)>() {
        return Ok(Angle::Trainable { parameter, scale, offset });
    }
    if let Ok((input,)) = value.extract::<(usize,)>() {
        return Ok(Angle::Input { input, scale: 1.0, offset: 0.0 });
    }
    float("angle", value).map(Angle::Fixed)
}

fn complex(name: &str, array: &PyReadonlyArray2<'_, Complex64>) -> PyResult<Vec<Complex64>> {
    let view = array.as_array();
    if view.nrows() != view.ncols() {
        return Err(shape(name, "a square matrix", format!("{} x {}", view.nrows(), view.ncols())));
    }
    Ok(view.iter().copied().collect())
}

#[pymethods]
impl Circuit {
    #[new]
    fn new(n_qubits: usize, n_parameters: usize) -> PyResult<Self> {
        let circuit = efl_core::circuit::Circuit::new(n_qubits, n_parameters).or_raise()?;
        Ok(Circuit(Mutex::new(Arc::new(circuit))))
    }

    #[getter]
    fn n_qubits(&self) -> usize {
        self.gates().n_qubits()
    }

    #[getter]
    fn n_parameters(&self) -> usize {
        self.gates().n_parameters()
    }

    #[getter]
    fn n_gates(&self) -> usize {
        self.gates().n_gates()
    }

    /// The first gate of the trainable block.
    #[getter]
    fn trainable_block(&self) -> usize {
        self.gates().trainable_block()
    }

    fn copy(&self) -> Self {
        Circuit(Mutex::new(self.gates()))
    }

    /// Adds an input.
    fn input(&self) -> PyResult<()> {
        self.add(|circuit| Ok(circuit.input())).map(|_| ())
    }

    fn clifford(&self, name: &str, wires: Vec<usize>) -> PyResult<()> {
        let Some(gate) = Clifford::from_name(name) else {
            let known: Vec<&str> = Clifford::ALL.iter().map(|gate| gate.name()).collect();
            return Err(invalid("name", format!("one of {}", known.join(", ")), format!("'{name}'")));
        };
        self.add(|circuit| circuit.clifford(gate, &wires))
    }

    fn rotation(&self, word: &Bound<'_, PyAny>, turn: &Bound<'_, PyAny>) -> PyResult<()> {
        let word = read_word("word", word, Some(self.gates().n_qubits()))?;
        let turn = angle(turn)?;
        self.add(|circuit| circuit.rotation(word.support(), turn))
    }

    fn evolution(
        &self,
        py: Python<'_>,
        generator: &Bound<'_, PyAny>,
        turn: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let sum = read_sum("generator", generator, Some(self.gates().n_qubits()))?;
        let turn = angle(turn)?;
        // Not while the gates are locked: another thread may hold the GIL and wait for them.
        let generator = if sum.len() < FEW {
            Generator::new(&sum, &Cancel::new()).or_raise()?
        } else {
            enter(py, |cancel| Generator::new(&sum, cancel))?
        };
        self.add(|circuit| circuit.evolution_under(&generator, turn))
    }

    fn unitary(&self, matrix: PyReadonlyArray2<'_, Complex64>, wires: Vec<usize>) -> PyResult<()> {
        let matrix = complex("matrix", &matrix)?;
        self.add(|circuit| circuit.unitary(&matrix, &wires))
    }

    fn channel(&self, kraus: Vec<PyReadonlyArray2<'_, Complex64>>, wires: Vec<usize>) -> PyResult<()> {
        let kraus: Vec<Vec<Complex64>> =
            kraus.iter().map(|k| complex("kraus", k)).collect::<PyResult<_>>()?;
        self.add(|circuit| circuit.channel(&kraus, &wires))
    }

    /// Adds what the device does by itself.
    fn noise(&self, kraus: Vec<PyReadonlyArray2<'_, Complex64>>, wires: Vec<usize>) -> PyResult<()> {
        let kraus: Vec<Vec<Complex64>> =
            kraus.iter().map(|k| complex("kraus", k)).collect::<PyResult<_>>()?;
        self.add(|circuit| circuit.noise(&kraus, &wires))
    }
}

/// (max_weight, min_coefficient, max_terms)
pub(crate) type Limits = (Option<usize>, f64, Option<usize>);

pub(crate) fn truncation((max_weight, min_coefficient, max_terms): Limits) -> core::Truncation {
    core::Truncation { max_weight, min_coefficient, max_terms }
}

type Evaluation<'py> = (f64, Bound<'py, PyArray1<f64>>, usize, (u64, f64));

/// Value, gradient (empty unless asked for), number of terms, and what was dropped.
#[pyfunction]
pub(crate) fn evaluate<'py>(
    py: Python<'py>,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    observable: &PauliSum,
    bloch: PyReadonlyArray2<'_, f64>,
    limits: Limits,
    gradient: bool,
) -> PyResult<Evaluation<'py>> {
    let (gates, theta, sum) = (circuit.gates(), theta.as_array().to_vec(), observable.0.clone());
    let state = product(&bloch)?;
    let limits = truncation(limits);
    let evaluate = if gradient { core::value_and_gradient } else { core::value };
    let found = enter(py, |cancel| evaluate(&gates, &theta, &sum, &state, &limits, cancel))?;
    let dropped = (found.dropped.count, found.dropped.l1);
    Ok((found.value, found.gradient.into_pyarray(py), found.n_terms, dropped))
}

pub(crate) fn product(bloch: &PyReadonlyArray2<'_, f64>) -> PyResult<efl_core::state::ProductState> {
    let rows = bloch.as_array().rows().into_iter().map(|r| [r[0], r[1], r[2]]).collect();
    efl_core::state::ProductState::from_bloch(rows).or_raise()
}

/// The state that the circuit prepares from a product of pure qubits.
#[pyfunction]
pub(crate) fn simulate<'py>(
    py: Python<'py>,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    bloch: PyReadonlyArray2<'_, f64>,
) -> PyResult<Bound<'py, PyArray1<Complex64>>> {
    let (gates, theta, state) = (circuit.gates(), theta.as_array().to_vec(), product(&bloch)?);
    let work = |cancel: &Cancel| efl_core::circuit::simulate(&gates, &theta, &state, cancel);
    let is_brief = efl_core::circuit::simulation_time(&gates) <= BRIEF;
    let amplitudes = if is_brief { enter_briefly(py, work) } else { enter(py, work) }?;
    Ok(amplitudes.into_pyarray(py))
}

/// The observables of a gradient: every value and derivative as a Pauli sum, over one list of words.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct GradientObservables(pub(crate) Arc<core::GradientObservables>);

#[pymethods]
impl GradientObservables {
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    #[getter]
    fn n_observables(&self) -> usize {
        self.0.n_observables()
    }

    #[getter]
    fn n_parameters(&self) -> usize {
        self.0.n_parameters()
    }

    /// Number of distinct words.
    #[getter]
    fn n_words(&self) -> usize {
        self.0.sums().words().len()
    }

    /// A row as a sum: values first, then derivatives observable by observable.
    fn row(&self, index: usize) -> PyResult<PauliSum> {
        self.0.sums().sum(index).or_raise().map(PauliSum)
    }

    /// Number of terms of every row.
    fn row_lengths<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<u64>> {
        let lengths: Vec<u64> = (0..self.0.n_rows()).map(|j| self.0.sums().row(j).0.len() as u64).collect();
        lengths.into_pyarray(py)
    }

    /// Count and 1-norm of what truncation left out, of all rows together.
    fn dropped(&self) -> (u64, f64) {
        (self.0.dropped().count, self.0.dropped().l1)
    }

    /// The 1-norm of what truncation left out of every row.
    fn dropped_rows<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        let norms: Vec<f64> = (0..self.0.n_rows()).map(|j| self.0.dropped_row(j).l1).collect();
        norms.into_pyarray(py)
    }

    /// The coefficient of the identity in every row.
    fn constants<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.sums().constants().into_pyarray(py)
    }
}

/// The observables of the values and gradients of `observables`.
#[pyfunction]
pub(crate) fn gradient_observables(
    py: Python<'_>,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    observables: Vec<PauliSum>,
    limits: Limits,
) -> PyResult<GradientObservables> {
    let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
    let sums: Vec<efl_core::pauli::PauliSum> = observables.into_iter().map(|sum| sum.0).collect();
    let limits = truncation(limits);
    enter(py, |cancel| core::gradient_observables(&gates, &theta, &sums, &limits, cancel))
        .map(|found| GradientObservables(Arc::new(found)))
}

/// The same without what the device does by itself, on the state that it leaves.
#[pyfunction]
pub(crate) fn mitigated_observables(
    py: Python<'_>,
    circuit: &Circuit,
    theta: PyReadonlyArray1<'_, f64>,
    observables: Vec<PauliSum>,
    max_terms: Option<usize>,
) -> PyResult<GradientObservables> {
    let (gates, theta) = (circuit.gates(), theta.as_array().to_vec());
    let sums: Vec<efl_core::pauli::PauliSum> = observables.into_iter().map(|sum| sum.0).collect();
    enter(py, |cancel| core::mitigated_observables(&gates, &theta, &sums, max_terms, cancel))
        .map(|found| GradientObservables(Arc::new(found)))
}

/// What gradient observables have in common at all angles: words, and how coefficients reach them.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct GradientTemplate(core::GradientTemplate);

#[pymethods]
impl GradientTemplate {
    #[new]
    fn new(
        py: Python<'_>,
        circuit: &Circuit,
        observables: Vec<PauliSum>,
        max_terms: Option<usize>,
    ) -> PyResult<Self> {
        let gates = circuit.gates();
        let sums: Vec<efl_core::pauli::PauliSum> = observables.into_iter().map(|sum| sum.0).collect();
        enter(py, |cancel| core::GradientTemplate::new(&gates, &sums, max_terms, cancel))
            .map(GradientTemplate)
    }

    /// The observables at these angles.
    fn at(&self, py: Python<'_>, theta: PyReadonlyArray1<'_, f64>) -> PyResult<GradientObservables> {
        let theta = theta.as_array().to_vec();
        enter(py, |cancel| self.0.at(&theta, cancel)).map(|found| GradientObservables(Arc::new(found)))
    }
}

/// The same observables on the state at older parameters.
#[pyfunction]
pub(crate) fn rebase(
    py: Python<'_>,
    observables: &GradientObservables,
    circuit: &Circuit,
    theta_new: PyReadonlyArray1<'_, f64>,
    theta_old: PyReadonlyArray1<'_, f64>,
    start: usize,
    limits: Limits,
) -> PyResult<GradientObservables> {
    let (rows, gates) = (observables.0.clone(), circuit.gates());
    let (new, old) = (theta_new.as_array().to_vec(), theta_old.as_array().to_vec());
    let limits = truncation(limits);
    enter(py, |cancel| core::rebase(&rows, &gates, &new, &old, start, &limits, cancel))
        .map(|found| GradientObservables(Arc::new(found)))
}
