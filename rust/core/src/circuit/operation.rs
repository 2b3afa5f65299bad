//! Operations: the four kinds of steps that the propagation knows, which gates are made of.
//!
//! Invariant: an operation without an angle has its maps in both pictures; one with an angle has its generator. Cost: see
//! [`super::Circuit`]; questions that are asked here look at one operation.

use super::Angle;
use crate::error::Result;
use crate::gates::{Direction, LocalMap, LocalWord, Matrix, Permutation, Transfer};
use crate::pauli::{Letter, PauliWord};

/// What the propagation knows.
#[derive(Debug, Clone)]
pub(crate) enum Operation {
    /// `exp(-i angle P / 2)`.
    Rotation { letters: Vec<(usize, Letter)>, angle: Angle },
    /// A Clifford gate.
    Permutation { wires: Vec<usize>, table: Permutation, matrix: Matrix },
    /// Any other unitary, with its matrix, or channel.
    Transfer {
        wires: Vec<usize>,
        forward: LocalMap,
        backward: LocalMap,
        /// What undoes `backward`, if something does.
        recovery: Option<LocalMap>,
        unital: bool,
        matrix: Option<Matrix>,
        /// The Kraus operators of a channel.
        kraus: Vec<Matrix>,
        /// Whether a device does it by itself: it is no gate that is run.
        by_device: bool,
    },
    /// `exp(-i angle A)` with local words of A that do not all commute, as codes on the wires.
    Evolution { wires: Vec<usize>, generator: Vec<(usize, f64)>, angle: Angle },
}

impl Operation {
    pub(crate) fn wires(&self) -> impl Iterator<Item = usize> + '_ {
        let (letters, wires): (&[(usize, Letter)], &[usize]) = match self {
            Operation::Rotation { letters, .. } => (letters, &[]),
            Operation::Permutation { wires, .. }
            | Operation::Transfer { wires, .. }
            | Operation::Evolution { wires, .. } => (&[], wires),
        };
        letters.iter().map(|(q, _)| *q).chain(wires.iter().copied())
    }

    pub(crate) fn angle(&self) -> Option<Angle> {
        match self {
            Operation::Rotation { angle, .. } | Operation::Evolution { angle, .. } => Some(*angle),
            _ => None,
        }
    }

    pub(crate) fn is_unitary(&self) -> bool {
        !matches!(self, Operation::Transfer { matrix: None, .. })
    }

    /// Whether it multiplies every word by a number and no more, as Pauli channels do: no word is moved by it.
    pub(crate) fn is_transparent(&self) -> bool {
        matches!(self, Operation::Transfer { matrix: None, backward, .. } if backward.is_diagonal())
    }

    /// Whether a device does it by itself.
    pub(crate) fn is_by_device(&self) -> bool {
        matches!(self, Operation::Transfer { by_device: true, .. })
    }

    /// Whether what it does to observables can be undone.
    pub(crate) fn is_recoverable(&self) -> bool {
        !matches!(self, Operation::Transfer { recovery: None, .. })
    }

    /// The generator: words P with weights w such that the derivative by the angle is `sum w (i/2) [P, O]`, P
    /// and O moved to one place. Empty for an operation without an angle.
    pub(crate) fn generator(&self, n_qubits: usize) -> Result<Vec<(PauliWord, f64)>> {
        match self {
            Operation::Rotation { letters, .. } => {
                Ok(vec![(PauliWord::from_sparse(n_qubits, letters.iter().copied())?, 1.0)])
            }
            Operation::Evolution { wires, generator, .. } => {
                let word = |code| PauliWord::from_sparse(n_qubits, local_letters(wires, code));
                generator.iter().map(|&(code, weight)| Ok((word(code)?, 2.0 * weight))).collect()
            }
            Operation::Permutation { .. } | Operation::Transfer { .. } => Ok(Vec::new()),
        }
    }

    /// Words that a word must commute with to pass the operation unchanged, which is then also necessary; for
    /// unitary operations that are no Clifford gates.
    pub(crate) fn obstacles(&self, n_qubits: usize) -> Result<Vec<PauliWord>> {
        let Operation::Transfer { wires, forward, .. } = self else {
            return Ok(self.generator(n_qubits)?.into_iter().map(|(word, _)| word).collect());
        };
        // The gate is a combination of the words that commute with every word that it leaves alone.
        let codes = 1 << (2 * wires.len());
        let word = |code| PauliWord::from_sparse(n_qubits, local_letters(wires, code));
        let commute = |a, b| LocalWord::new(a, 2).product_power(&LocalWord::new(b, 2)).is_multiple_of(2);
        let alone: Vec<usize> =
            (1..codes).filter(|&code| (forward.value(code, code as u32) - 1.0).abs() < 1e-12).collect();
        (1..codes).filter(|&code| alone.iter().all(|&other| commute(code, other))).map(word).collect()
    }

    /// The operation that undoes it; `None` for a channel.
    pub(crate) fn inverse(&self) -> Option<Operation> {
        Some(match self {
            Operation::Rotation { letters, angle } => {
                Operation::Rotation { letters: letters.clone(), angle: angle.scaled(-1.0) }
            }
            Operation::Permutation { wires, table, matrix } => Operation::Permutation {
                wires: wires.clone(),
                table: table.inverse(),
                matrix: matrix.dagger(),
            },
            Operation::Transfer { wires, forward, backward, unital, matrix, by_device, .. } => {
                Operation::Transfer {
                    wires: wires.clone(),
                    forward: backward.clone(),
                    backward: forward.clone(),
                    recovery: Some(backward.clone()),
                    unital: *unital,
                    matrix: Some(matrix.as_ref()?.dagger()),
                    kraus: Vec::new(),
                    by_device: *by_device,
                }
            }
            Operation::Evolution { wires, generator, angle } => Operation::Evolution {
                wires: wires.clone(),
                generator: generator.clone(),
                angle: angle.scaled(-1.0),
            },
        })
    }

    pub(super) fn of_transfer(
        wires: &[usize],
        transfer: Transfer,
        kraus: Vec<Matrix>,
        by_device: bool,
    ) -> Self {
        Operation::Transfer {
            wires: wires.to_vec(),
            forward: transfer.to_map(Direction::Schroedinger, &[]),
            backward: transfer.to_map(Direction::Heisenberg, &[]),
            recovery: transfer.to_recovery(),
            unital: transfer.is_unital(),
            kraus: if transfer.unitary.is_some() { Vec::new() } else { kraus },
            matrix: transfer.unitary,
            by_device,
        }
    }

    /// Whether words off the wires pass unchanged in both pictures.
    pub(crate) fn is_unital(&self) -> bool {
        !matches!(self, Operation::Transfer { unital: false, .. })
    }
}

/// The letters of a local word, given as a code on `wires`.
fn local_letters(wires: &[usize], code: usize) -> impl Iterator<Item = (usize, Letter)> {
    wires.iter().enumerate().map(move |(j, &q)| {
        let bit = |shift: usize| code >> (2 * j + shift) & 1 == 1;
        (q, Letter::from_bits(bit(0), bit(1)))
    })
}
