//! Light cones: which operations a sum meets, on which qubits, relabelled to be as narrow as possible.
//!
//! Invariant: an operation that is left out acts trivially on the sum in that picture (it touches no qubit of the
//! cone and maps the identity to the identity), so leaving it out is exact. Cost: linear in the operations.

use crate::bits::{limbs, real};
use crate::circuit::{Bound, Operation};
use crate::gates::{Direction, LocalMap};
use crate::pauli::{Letter, WordRef};
use std::ops::Range;

/// A set of qubits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QubitSet(Vec<u64>);

impl QubitSet {
    pub(crate) fn new(n_qubits: usize) -> Self {
        QubitSet(vec![0; limbs(n_qubits)])
    }

    pub(crate) fn insert(&mut self, q: usize) {
        self.0[q / 64] |= 1 << (q % 64);
    }

    pub(crate) fn contains(&self, q: usize) -> bool {
        self.0[q / 64] >> (q % 64) & 1 == 1
    }

    /// Adds the qubits of a word.
    pub(crate) fn insert_support(&mut self, word: WordRef<'_>) {
        self.0.iter_mut().zip(word.x().iter().zip(word.z())).for_each(|(set, (x, z))| *set |= x | z);
    }

    /// Whether a word has a letter on one of the qubits.
    pub(crate) fn touches(&self, word: WordRef<'_>) -> bool {
        self.0.iter().zip(word.x().iter().zip(word.z())).any(|(set, (x, z))| set & (x | z) != 0)
    }
}

/// One operation of a program, its qubits relabelled.
pub(crate) enum Step<'b> {
    /// See [`Operation::Rotation`].
    Rotation { letters: Vec<(usize, Letter)>, turn: Turn },
    /// See [`Operation::Permutation`].
    Permutation { wires: Vec<usize>, table: &'b [u8; 16] },
    /// [`Operation::Transfer`] and [`Operation::Evolution`].
    Map { wires: Vec<usize>, map: &'b LocalMap, operation: usize },
}

/// How far a rotation turns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) cos: f64,
    /// With the sign of the picture.
    pub(crate) sin: f64,
    pub(crate) operation: usize,
    /// Whether `theta` feeds the angle, so that it may change, and its derivative be asked for.
    pub(crate) open: bool,
}

/// What a sum with a given support meets in a range of a circuit.
pub(crate) struct Program<'b> {
    pub(crate) steps: Vec<Step<'b>>,
    /// The qubit behind each label, ascending.
    pub(crate) qubits: Vec<usize>,
    /// Number of qubits of the circuit.
    pub(crate) n_qubits: usize,
}

/// The operations that a sum on `support` meets, in the order of the picture; grows `support` to the cone.
/// `everywhere` says which operations act on words off their wires.
pub(crate) fn walk(
    operations: &[Operation],
    range: Range<usize>,
    direction: Direction,
    support: &mut QubitSet,
    everywhere: impl Fn(&Operation) -> bool,
) -> Vec<usize> {
    let (start, end) = (range.start, range.end);
    let mut met = Vec::new();
    for i in range {
        let index = match direction {
            Direction::Heisenberg => end - 1 - (i - start),
            Direction::Schroedinger | Direction::Recovery => i,
        };
        let operation = &operations[index];
        if operation.wires().any(|q| support.contains(q)) || everywhere(operation) {
            met.push(index);
            operation.wires().for_each(|q| support.insert(q));
        }
    }
    met
}

impl<'b> Program<'b> {
    /// The program of a sum on `support`.
    pub(crate) fn new(
        bound: &'b Bound<'_>,
        range: Range<usize>,
        direction: Direction,
        support: &QubitSet,
    ) -> Self {
        let mut cone = support.clone();
        // In the Heisenberg picture every channel maps the identity to itself, in the other only the unital ones.
        let met = walk(bound.circuit.operations(), range, direction, &mut cone, |operation| {
            direction == Direction::Schroedinger && !operation.is_unital()
        });
        Program::of_operations(bound, &met, direction, &cone)
    }

    /// The program of given operations with labels for given qubits. Circuits of up to 64 qubits keep theirs.
    pub(crate) fn of_operations(
        bound: &'b Bound<'_>,
        met: &[usize],
        direction: Direction,
        cone: &QubitSet,
    ) -> Self {
        let n = bound.circuit.n_qubits();
        let qubits: Vec<usize> = (0..n).filter(|&q| n <= 64 || cone.contains(q)).collect();
        let mut labels = vec![usize::MAX; n];
        qubits.iter().enumerate().for_each(|(label, &q)| labels[q] = label);
        let steps = met.iter().map(|&index| Step::new(bound, index, direction, &labels)).collect();
        Program { steps, qubits, n_qubits: n }
    }
}

impl<'b> Step<'b> {
    fn new(bound: &'b Bound<'_>, index: usize, direction: Direction, labels: &[usize]) -> Self {
        let relabel = |wires: &[usize]| wires.iter().map(|&q| labels[q]).collect::<Vec<_>>();
        match &bound.circuit.operations()[index] {
            Operation::Rotation { letters, angle } => {
                let (sin, cos) = sin_cos(bound.angles[index]);
                let sin = if direction == Direction::Heisenberg { sin } else { -sin };
                let letters = letters.iter().map(|&(q, letter)| (labels[q], letter)).collect();
                let open = angle.is_open();
                Step::Rotation { letters, turn: Turn { cos, sin, operation: index, open } }
            }
            Operation::Permutation { wires, table, .. } => {
                Step::Permutation { wires: relabel(wires), table: table.table(direction) }
            }
            Operation::Transfer { wires, .. } | Operation::Evolution { wires, .. } => {
                Step::Map { wires: relabel(wires), map: bound.map(index, direction), operation: index }
            }
        }
    }
}

/// Sine and cosine, exact at the multiples of a quarter turn: what remains there is the rounding of pi, and would
/// double the terms for nothing.
pub(crate) fn sin_cos(angle: f64) -> (f64, f64) {
    const ROUNDING: f64 = 1e-15;
    let (sin, cos) = real::sin_cos(angle);
    if cos.abs() <= ROUNDING {
        (sin.signum(), 0.0)
    } else if sin.abs() <= ROUNDING && angle.abs() > 1.0 {
        (0.0, cos.signum())
    } else {
        (sin, cos)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quarter_turns_are_exact_and_small_angles_are_kept() {
        use std::f64::consts::PI;
        assert_eq!(sin_cos(PI / 2.0), (1.0, 0.0));
        assert_eq!(sin_cos(-PI / 2.0), (-1.0, 0.0));
        assert_eq!(sin_cos(PI), (0.0, -1.0));
        assert_eq!(sin_cos(1e-20), (1e-20, 1.0));
    }
}
