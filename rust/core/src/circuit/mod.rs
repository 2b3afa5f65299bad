//! A parameterised circuit: gates in order, each checked when it is added.
//!
//! Invariant: wires are in range and distinct, matrices are unitary or trace preserving, numbers are finite. A
//! gate is kept as one or more *operations* of four kinds (rotation, Clifford, transfer matrix, evolution), all
//! that the propagation knows. Cost: adding a gate costs its transfer matrix; binding parameters is linear in the
//! number of operations plus a dense exponential (256 x 256 at most) per evolution with a non-commuting generator.

mod angle;
mod fingerprint;
mod generator;
pub(crate) mod layers;
mod operation;
mod simulate;
mod size;
mod tangents;

pub use angle::Angle;
use generator::Form;
pub use generator::Generator;
pub use layers::RotationLayers;
pub(crate) use operation::Operation;
pub use simulate::{MAX_SIMULATED_QUBITS, evolve, simulate, simulation_time};
pub(crate) use simulate::{evolve_through, product};
pub use size::Size;
pub use tangents::tangents;

use crate::bits::check_qubits;
use crate::bits::parallel::Cancel;
use crate::error::{Error, Result};
use crate::gates::{Clifford, Direction, LocalMap, Matrix, Transfer, clifford_table};
use crate::pauli::word::{check_width, check_wire};
use crate::pauli::{Letter, PauliSum};
use num_complex::Complex64;

/// A gate at given parameters: what another program needs to run it.
#[derive(Debug, Clone, PartialEq)]
pub enum Gate {
    /// `exp(-i angle P / 2)`, P by its letters.
    Rotation(Vec<(usize, Letter)>, f64),
    /// A named Clifford gate, up to a global phase.
    Clifford(Clifford, Vec<usize>),
    /// Any other unitary: its matrix, row after row, first wire most significant.
    Unitary(Vec<Complex64>, Vec<usize>),
    /// A channel: its Kraus operators, each like the matrix of a unitary.
    Channel(Vec<Vec<Complex64>>, Vec<usize>),
}

/// A parameterised circuit on `n_qubits` qubits.
///
/// Its angles are numbers, or follow a vector `theta`: the parameters, which derivatives are taken by, and after them
/// the inputs, which are data.
///
/// ```
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::gates::Clifford;
/// use efl_core::pauli::Letter;
/// let mut circuit = Circuit::new(2, 1)?;
/// circuit.rotation([(0, Letter::Y)], Angle::parameter(0))?;
/// circuit.clifford(Clifford::Cnot, &[0, 1])?;
/// assert_eq!(circuit.n_gates(), 2);
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Circuit {
    n_qubits: usize,
    n_parameters: usize,
    n_inputs: usize,
    operations: Vec<Operation>,
    /// Where the operations of each gate end.
    gate_ends: Vec<usize>,
}

impl Circuit {
    /// A circuit without gates, whose angles may use `n_parameters` parameters.
    pub fn new(n_qubits: usize, n_parameters: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        Ok(Circuit { n_qubits, n_parameters, n_inputs: 0, operations: Vec::new(), gate_ends: Vec::new() })
    }

    /// The same circuit without its gates.
    pub(crate) fn emptied(&self) -> Self {
        Circuit { operations: Vec::new(), gate_ends: Vec::new(), ..*self }
    }

    /// Adds an input, the last so far, and returns the angle that is its value.
    pub fn input(&mut self) -> Angle {
        self.n_inputs += 1;
        Angle::Input { input: self.n_inputs - 1, scale: 1.0, offset: 0.0 }
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Number of parameters, used or not.
    pub fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// Number of inputs, used or not.
    pub fn n_inputs(&self) -> usize {
        self.n_inputs
    }

    /// Length of `theta`: parameters and inputs.
    pub fn n_values(&self) -> usize {
        self.n_parameters + self.n_inputs
    }

    /// Number of gates that were added.
    pub fn n_gates(&self) -> usize {
        self.gate_ends.len()
    }

    /// The first gate that a parameter feeds: from there to the end is the trainable block. The number of gates
    /// when there is none.
    pub fn trainable_block(&self) -> usize {
        let fed = |operation: &Operation| operation.angle().is_some_and(|angle| angle.feed().is_some());
        self.operations.iter().position(fed).map_or(self.n_gates(), |operation| self.gate_of(operation))
    }

    /// Adds a named Clifford gate.
    pub fn clifford(&mut self, gate: Clifford, wires: &[usize]) -> Result<()> {
        if wires.len() != gate.n_wires() {
            let expected = format!("{} for {}", gate.n_wires(), gate.name());
            return Err(Error::shape("wires", expected, wires.len().to_string()));
        }
        self.check_wires(wires)?;
        self.push_transfer(wires, Transfer::of_unitary(wires.len(), &gate.dense()?)?, Vec::new());
        Ok(())
    }

    /// Adds the rotation `exp(-i angle P / 2)`, P given by its letters; `PauliWord::support` has this form.
    pub fn rotation(
        &mut self,
        letters: impl IntoIterator<Item = (usize, Letter)>,
        angle: impl Into<Angle>,
    ) -> Result<()> {
        let angle = self.check_angle(angle.into())?;
        let mut letters: Vec<(usize, Letter)> = letters.into_iter().collect();
        self.check_wires(&letters.iter().map(|(q, _)| *q).collect::<Vec<_>>())?;
        letters.retain(|(_, letter)| *letter != Letter::I);
        letters.sort_unstable();
        // The rotation about the identity is a global phase: a gate without operations.
        if !letters.is_empty() {
            self.operations.push(Operation::Rotation { letters, angle });
        }
        self.gate_ends.push(self.operations.len());
        Ok(())
    }

    /// Adds the evolution `exp(-i angle A)` under a Pauli sum.
    ///
    /// When the words of A commute it is a product of rotations, at any width. Otherwise A may touch at most 4
    /// qubits, for its exponential is computed densely.
    pub fn evolution(&mut self, generator: &PauliSum, angle: impl Into<Angle>) -> Result<()> {
        self.evolution_under(&Generator::new(generator, &Cancel::new())?, angle)
    }

    /// [`Circuit::evolution`] under a sum that has been looked at already.
    pub fn evolution_under(&mut self, generator: &Generator, angle: impl Into<Angle>) -> Result<()> {
        check_width("generator", self.n_qubits, generator.n_qubits)?;
        let angle = self.check_angle(angle.into())?;
        match &generator.form {
            Form::Rotations(words) => {
                let turns =
                    words.iter().map(|(_, coefficient)| self.check_angle(angle.scaled(2.0 * coefficient)));
                let turns: Vec<Angle> = turns.collect::<Result<_>>()?;
                let rotations = words
                    .iter()
                    .zip(turns)
                    .map(|((letters, _), angle)| Operation::Rotation { letters: letters.clone(), angle });
                self.operations.extend(rotations);
            }
            Form::Dense(wires, generator) => {
                let (wires, generator) = (wires.clone(), generator.clone());
                self.operations.push(Operation::Evolution { wires, generator, angle });
            }
        }
        self.gate_ends.push(self.operations.len());
        Ok(())
    }

    /// Adds a unitary on one or two wires: its matrix, row after row, first wire most significant.
    pub fn unitary(&mut self, matrix: &[Complex64], wires: &[usize]) -> Result<()> {
        self.check_dense_wires(wires)?;
        let unitary = Matrix::new("matrix", wires.len(), matrix)?;
        self.push_transfer(wires, Transfer::of_unitary(wires.len(), &unitary)?, Vec::new());
        Ok(())
    }

    /// Adds a channel on one or two wires: its Kraus operators, each like the matrix of [`Circuit::unitary`].
    pub fn channel<K: AsRef<[Complex64]>>(&mut self, kraus: &[K], wires: &[usize]) -> Result<()> {
        let (transfer, operators) = self.transfer_of_kraus(kraus, wires)?;
        self.push_transfer(wires, transfer, operators);
        Ok(())
    }

    /// Adds what a device does by itself between the gates that it is told to run: it counts for every expectation value
    /// and is no gate, so [`Circuit::gates`] leaves it out.
    pub fn noise<K: AsRef<[Complex64]>>(&mut self, kraus: &[K], wires: &[usize]) -> Result<()> {
        let (transfer, operators) = self.transfer_of_kraus(kraus, wires)?;
        let operation = Operation::of_transfer(wires, transfer, operators, true);
        self.push(operation);
        Ok(())
    }

    fn transfer_of_kraus<K: AsRef<[Complex64]>>(
        &self,
        kraus: &[K],
        wires: &[usize],
    ) -> Result<(Transfer, Vec<Matrix>)> {
        self.check_dense_wires(wires)?;
        if kraus.is_empty() {
            return Err(Error::invalid("kraus", "at least one operator", "none"));
        }
        let operators: Vec<Matrix> =
            kraus.iter().map(|k| Matrix::new("kraus", wires.len(), k.as_ref())).collect::<Result<_>>()?;
        Ok((Transfer::of_kraus(wires.len(), &operators)?, operators))
    }

    /// The angle of each operation, zero where it has none.
    pub(crate) fn angles(&self, theta: &[f64]) -> Result<Vec<f64>> {
        if theta.len() != self.n_values() {
            let inputs = match self.n_inputs {
                0 => String::new(),
                count => format!(" and {count} inputs"),
            };
            let expected = format!("{} parameters{inputs}", self.n_parameters);
            return Err(Error::shape("theta", expected, theta.len().to_string()));
        }
        if let Some(i) = theta.iter().position(|t| !t.is_finite()) {
            return Err(Error::invalid("theta", "finite angles", format!("{} at position {i}", theta[i])));
        }
        let (parameters, inputs) = theta.split_at(self.n_parameters);
        let mut angles = vec![0.0; self.operations.len()];
        for (index, operation) in self.operations.iter().enumerate() {
            let Some(angle) = operation.angle() else { continue };
            let angle = angle.value(parameters, inputs);
            if !angle.is_finite() {
                let gate = self.gate_of(index);
                return Err(Error::invalid("theta", "finite angles", format!("{angle} at gate {gate}")));
            }
            angles[index] = angle;
        }
        Ok(angles)
    }

    /// The circuit at given parameters.
    pub(crate) fn bind(&self, theta: &[f64]) -> Result<Bound<'_>> {
        let angles = self.angles(theta)?;
        let mut evolutions = Vec::new();
        for (index, operation) in self.operations.iter().enumerate() {
            if let Operation::Evolution { wires, generator, .. } = operation {
                evolutions.push((index, evolution_gate(wires.len(), generator, angles[index])?));
            }
        }
        Ok(Bound { circuit: self, angles, evolutions })
    }

    /// The gates at given parameters, in order. Gates that were split (an evolution under commuting words) come as their
    /// parts; what a device does by itself is left out.
    pub fn gates(&self, theta: &[f64]) -> Result<Vec<Gate>> {
        let angles = self.angles(theta)?;
        let gate = |(operation, &angle): (&Operation, &f64)| match operation {
            Operation::Rotation { letters, .. } => Ok(Gate::Rotation(letters.clone(), angle)),
            Operation::Permutation { wires, table, matrix } => {
                let named = |gate: &Clifford| {
                    gate.n_wires() == wires.len()
                        && clifford_table(*gate, Direction::Heisenberg) == table.table(Direction::Heisenberg)
                };
                Ok(match Clifford::ALL.into_iter().find(named) {
                    Some(gate) => Gate::Clifford(gate, wires.clone()),
                    None => Gate::Unitary(matrix.entries().to_vec(), wires.clone()),
                })
            }
            Operation::Transfer { wires, matrix: Some(matrix), .. } => {
                Ok(Gate::Unitary(matrix.entries().to_vec(), wires.clone()))
            }
            Operation::Evolution { wires, generator, .. } => {
                let matrix = exponential(wires.len(), generator, angle)?;
                Ok(Gate::Unitary(matrix.entries().to_vec(), wires.clone()))
            }
            Operation::Transfer { wires, kraus, .. } => {
                Ok(Gate::Channel(kraus.iter().map(|k| k.entries().to_vec()).collect(), wires.clone()))
            }
        };
        let run = self.operations.iter().zip(&angles).filter(|(operation, _)| !operation.is_by_device());
        run.map(gate).collect()
    }

    /// Adds an operation of a circuit of the same width, parameters and inputs, as a gate of its own.
    pub(crate) fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
        self.gate_ends.push(self.operations.len());
    }

    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The gate that an operation came from.
    pub(crate) fn gate_of(&self, operation: usize) -> usize {
        self.gate_ends.partition_point(|&end| end <= operation)
    }

    /// The first operation of a gate.
    pub(crate) fn gate_start(&self, gate: usize) -> usize {
        if gate == 0 { 0 } else { self.gate_ends[gate - 1] }
    }

    fn push_transfer(&mut self, wires: &[usize], transfer: Transfer, kraus: Vec<Matrix>) {
        let operation = match (transfer.to_permutation(), &transfer.unitary) {
            (Some(table), Some(matrix)) => {
                Operation::Permutation { wires: wires.to_vec(), table, matrix: matrix.clone() }
            }
            _ => Operation::of_transfer(wires, transfer, kraus, false),
        };
        self.push(operation);
    }

    fn check_dense_wires(&self, wires: &[usize]) -> Result<()> {
        if wires.is_empty() || wires.len() > 2 {
            return Err(Error::shape("wires", "1 or 2 for a matrix", wires.len().to_string()));
        }
        self.check_wires(wires)
    }

    fn check_wires(&self, wires: &[usize]) -> Result<()> {
        for (i, &q) in wires.iter().enumerate() {
            check_wire("wires", q, self.n_qubits)?;
            if wires[..i].contains(&q) {
                return Err(Error::invalid("wires", "each qubit at most once", format!("qubit {q} twice")));
            }
        }
        Ok(())
    }

    fn check_angle(&self, angle: Angle) -> Result<Angle> {
        let (numbers, what, index, count) = match angle {
            Angle::Fixed(angle) => ([angle, 0.0], "", 0, 1),
            Angle::Trainable { parameter, scale, offset } => {
                ([scale, offset], "a parameter", parameter, self.n_parameters)
            }
            Angle::Input { input, scale, offset } => ([scale, offset], "an input", input, self.n_inputs),
        };
        if let Some(bad) = numbers.iter().find(|number| !number.is_finite()) {
            return Err(Error::invalid("angle", "finite numbers", bad.to_string()));
        }
        if index >= count {
            return Err(Error::invalid("angle", format!("{what} below {count}"), index.to_string()));
        }
        Ok(angle)
    }
}

/// A circuit whose angles are numbers.
#[derive(Debug)]
pub(crate) struct Bound<'c> {
    pub(crate) circuit: &'c Circuit,
    /// The angle of each operation, zero where it has none.
    pub(crate) angles: Vec<f64>,
    /// Operation index and the maps (Heisenberg, Schroedinger) of each evolution, ascending.
    evolutions: Vec<(usize, [LocalMap; 2])>,
}

impl Bound<'_> {
    /// The map of an operation that has one.
    pub(crate) fn map(&self, operation: usize, direction: Direction) -> &LocalMap {
        if let Operation::Transfer { forward, backward, recovery, .. } = &self.circuit.operations[operation] {
            return match direction {
                Direction::Heisenberg => backward,
                Direction::Schroedinger => forward,
                // A channel that nothing undoes is refused before.
                Direction::Recovery => recovery.as_ref().unwrap_or(forward),
            };
        }
        let at = self.evolutions.partition_point(|(index, _)| *index < operation);
        &self.evolutions[at].1[usize::from(direction != Direction::Heisenberg)]
    }
}

/// Largest norm of `angle A`: beyond, rounding of the angle itself moves the result by more than the tolerance.
const MAX_EXPONENT: f64 = 1e7;

/// The matrix of `exp(-i angle A)`, A given by local codes; unitary, or an error that names the angle.
pub(crate) fn exponential(n_wires: usize, generator: &[(usize, f64)], angle: f64) -> Result<Matrix> {
    let mut exponent = Matrix::zero(1 << n_wires);
    for &(code, coefficient) in generator {
        exponent.add_scaled(Complex64::new(0.0, -angle * coefficient), &Matrix::pauli(code, n_wires));
    }
    let norm = exponent.row_norm();
    let refused = |found: String| {
        let expected =
            format!("an evolution whose angle times its generator has a norm of at most {MAX_EXPONENT:e}");
        Error::invalid("angle", expected, found)
    };
    if norm.is_nan() || norm > MAX_EXPONENT {
        return Err(refused(format!("{angle:e}, with a norm of {norm:e}")));
    }
    let matrix = exponent.exponential();
    matrix
        .check_unitary()
        .map_err(|error| refused(format!("{angle:e}, which rounding spoils by {error:.1e}")))?;
    Ok(matrix)
}

/// The maps of `exp(-i angle A)`.
fn evolution_gate(n_wires: usize, generator: &[(usize, f64)], angle: f64) -> Result<[LocalMap; 2]> {
    let transfer = Transfer::of_unitary(n_wires, &exponential(n_wires, generator, angle)?)?;
    Ok([transfer.to_map(Direction::Heisenberg, generator), transfer.to_map(Direction::Schroedinger, &[])])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::PauliSum;

    #[test]
    fn bad_gates_are_refused_where_they_are_added() {
        let mut circuit = Circuit::new(3, 2).unwrap();
        assert!(Circuit::new(0, 0).is_err());
        assert!(circuit.clifford(Clifford::Cnot, &[0, 3]).is_err());
        assert!(circuit.clifford(Clifford::Cnot, &[1, 1]).is_err());
        assert!(circuit.clifford(Clifford::Cnot, &[1]).is_err());
        assert!(circuit.rotation([(0, Letter::X)], f64::NAN).is_err());
        assert!(circuit.rotation([(0, Letter::X)], Angle::parameter(2)).is_err());
        assert!(circuit.rotation([(0, Letter::X), (0, Letter::Y)], 0.1).is_err());
        assert!(circuit.unitary(&[Complex64::new(1.0, 0.0); 4], &[0]).is_err());
        assert!(circuit.unitary(&[], &[]).is_err());
        assert!(circuit.channel::<Vec<Complex64>>(&[], &[0]).is_err());
        assert_eq!(circuit.n_gates(), 0);
        circuit.rotation([(0, Letter::I)], 0.1).unwrap();
        circuit.rotation([(2, Letter::X), (0, Letter::Y)], Angle::parameter(1)).unwrap();
        assert_eq!((circuit.n_gates(), circuit.operations().len(), circuit.gate_of(0)), (2, 1, 1));
        assert!(circuit.bind(&[0.0]).is_err());
        assert!(circuit.bind(&[0.0, f64::INFINITY]).is_err());
    }

    #[test]
    fn a_wide_generator_must_commute() {
        let mut circuit = Circuit::new(6, 1).unwrap();
        let commuting = PauliSum::from_labels([("XXXXXX", 0.5), ("ZZZZZZ", 0.5)]).unwrap();
        circuit.evolution(&commuting, Angle::parameter(0)).unwrap();
        assert_eq!(circuit.operations().len(), 2);
        let wide = PauliSum::from_labels([("XXXXXX", 0.5), ("ZIIIII", 0.5)]).unwrap();
        let error = circuit.evolution(&wide, Angle::parameter(0)).unwrap_err().to_string();
        assert!(error.contains("Trotter") && error.contains("Z0 does not commute with X0"), "{error}");
    }
}
