//! Light cones: which operations a sum meets, on which qubits, relabelled to be as narrow as possible.
//!
//! Invariant: an operation that is left out acts trivially on the sum in that picture (it touches no qubit of the
//! cone and maps the identity to the identity), so leaving it out is exact. Cost: linear in the operations.

use super::circuit::{Bound, Operation};
use super::transfer::{Direction, LocalMap};
use crate::bits::words_for;
use crate::pauli::Letter;
use std::ops::Range;

/// A set of qubits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QubitSet(Vec<u64>);

impl QubitSet {
    pub(crate) fn new(n_qubits: usize) -> Self {
        QubitSet(vec![0; words_for(n_qubits)])
    }

    pub(crate) fn insert(&mut self, q: usize) {
        self.0[q / 64] |= 1 << (q % 64);
    }

    pub(crate) fn contains(&self, q: usize) -> bool {
        self.0[q / 64] >> (q % 64) & 1 == 1
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.0.len() * 64).filter(|&q| self.contains(q))
    }
}

/// One operation of a program, its qubits relabelled.
pub(crate) enum Step<'b> {
    /// See [`Operation::Rotation`]; `sin` has the sign of the picture.
    Rotation { letters: Vec<(usize, Letter)>, cos: f64, sin: f64, feed: Option<(usize, f64)> },
    /// See [`Operation::Permutation`].
    Permutation { wires: Vec<usize>, table: &'b [u8; 16] },
    /// [`Operation::Transfer`] and [`Operation::Evolution`].
    Map { wires: Vec<usize>, map: &'b LocalMap, feed: Option<(usize, f64)> },
}

/// What a sum with a given support meets in a range of a circuit.
pub(crate) struct Program<'b> {
    pub(crate) steps: Vec<Step<'b>>,
    /// The qubit behind each label, ascending.
    pub(crate) qubits: Vec<usize>,
}

/// Calls `visit` with the index of each operation that a sum on `support` meets, in the order of the picture, and
/// grows `support` to the cone. Stops when `visit` says so.
pub(crate) fn walk<E>(
    operations: &[Operation],
    range: Range<usize>,
    direction: Direction,
    support: &mut QubitSet,
    mut visit: impl FnMut(usize) -> Result<(), E>,
) -> Result<(), E> {
    let (start, end) = (range.start, range.end);
    for i in range {
        let index = match direction {
            Direction::Heisenberg => end - 1 - (i - start),
            Direction::Schroedinger => i,
        };
        let operation = &operations[index];
        // In the Heisenberg picture every channel maps the identity to itself, in the other only the unital ones.
        let quiet = direction == Direction::Heisenberg || operation.is_unital();
        if quiet && !operation.wires().any(|q| support.contains(q)) {
            continue;
        }
        visit(index)?;
        operation.wires().for_each(|q| support.insert(q));
    }
    Ok(())
}

impl<'b> Program<'b> {
    /// The program of a sum on `support`; labels also cover `extra`. Circuits of up to 64 qubits keep theirs.
    pub(crate) fn new(
        bound: &'b Bound<'_>,
        range: Range<usize>,
        direction: Direction,
        support: &QubitSet,
        extra: &QubitSet,
    ) -> Self {
        let (circuit, mut cone, mut met) = (bound.circuit, support.clone(), Vec::new());
        let Ok(()) =
            walk::<std::convert::Infallible>(circuit.operations(), range, direction, &mut cone, |i| {
                met.push(i);
                Ok(())
            });
        let n = circuit.n_qubits();
        let qubits: Vec<usize> =
            (0..n).filter(|&q| n <= 64 || cone.contains(q) || extra.contains(q)).collect();
        let mut labels = vec![usize::MAX; n];
        qubits.iter().enumerate().for_each(|(label, &q)| labels[q] = label);
        let steps = met.into_iter().map(|index| Step::new(bound, index, direction, &labels)).collect();
        Program { steps, qubits }
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
                Step::Rotation { letters, cos, sin, feed: angle.feed() }
            }
            Operation::Permutation { wires, table } => {
                Step::Permutation { wires: relabel(wires), table: table.table(direction) }
            }
            Operation::Transfer { wires, forward, backward, .. } => {
                let map = if direction == Direction::Heisenberg { backward } else { forward };
                Step::Map { wires: relabel(wires), map, feed: None }
            }
            Operation::Evolution { wires, angle, .. } => Step::Map {
                wires: relabel(wires),
                map: bound.evolution(index, direction),
                feed: angle.feed(),
            },
        }
    }
}

/// Sine and cosine, exact at the multiples of a quarter turn: what remains there is the rounding of pi, and would
/// double the terms for nothing.
fn sin_cos(angle: f64) -> (f64, f64) {
    const ROUNDING: f64 = 1e-15;
    let (sin, cos) = angle.sin_cos();
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
