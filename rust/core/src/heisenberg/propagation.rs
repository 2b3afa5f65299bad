//! Moving Pauli sums through circuits, with an account of what truncation left out.
//!
//! Invariant: with a truncation that dropped nothing the result is exact (to rounding). Otherwise the operator that
//! is missing has norm at most `dropped.l1`, whatever the state: every map here is a contraction of the operator
//! norm in the Heisenberg picture, and unitary gates are in both. Cost: see [`super::terms`].

use super::cone::{Program, QubitSet, Step};
use super::record::{Record, Silent};
use super::terms::{Key, Terms, key};
use super::truncation::{Dropped, Truncation};
use crate::bits::parallel::Cancel;
use crate::bits::{limbs, room};
use crate::circuit::{Bound, Circuit};
use crate::error::{Error, Result};
use crate::gates::Direction;
use crate::pauli::word::check_width;
use crate::pauli::{Letter, PauliSum, WordRef, Words};
use std::ops::Range;

/// Widest light cone, in qubits.
const MAX_CONE: usize = 4096;

/// A sum at the other end of a circuit.
#[derive(Debug, Clone, PartialEq)]
pub struct Propagated {
    /// The sum.
    pub sum: PauliSum,
    /// What truncation left out on the way.
    pub dropped: Dropped,
}

/// Moves a sum through the whole circuit: an observable backwards (`U^dag O U`) or an operator forwards
/// (`U P U^dag`); channels act as `E^dag` and `E`; or it undoes the way back.
pub fn propagate(
    circuit: &Circuit,
    theta: &[f64],
    sum: &PauliSum,
    direction: Direction,
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<Propagated> {
    truncation.check()?;
    if direction == Direction::Recovery
        && let Some(lossy) = circuit.operations().iter().position(|operation| !operation.is_recoverable())
    {
        return Err(Error::invalid(
            "circuit",
            "channels that leave something of every letter",
            format!("a channel at gate {}", circuit.gate_of(lossy)),
        ));
    }
    let bound = circuit.bind(theta)?;
    propagate_range(&bound, 0..circuit.operations().len(), sum, direction, truncation, cancel)
}

/// [`propagate`] through some of the operations.
pub(crate) fn propagate_range(
    bound: &Bound<'_>,
    operations: Range<usize>,
    sum: &PauliSum,
    direction: Direction,
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<Propagated> {
    let n = bound.circuit.n_qubits();
    check_width("sum", n, sum.n_qubits())?;
    let program = Program::new(bound, operations, direction, &support(sum));
    dispatch(&program, Collect { program: &program, sum, truncation, cancel })
}

#[derive(Clone, Copy)]
struct Collect<'a> {
    program: &'a Program<'a>,
    sum: &'a PauliSum,
    truncation: &'a Truncation,
    cancel: &'a Cancel,
}

impl Job for Collect<'_> {
    type Output = Propagated;

    fn run<const W: usize>(self) -> Result<Propagated> {
        let terms = self.program.run::<W, _>(self.sum, self.truncation, &mut Silent, self.cancel)?;
        let (words, coefficients) = self.program.collect(&terms)?;
        let dropped = terms.dropped;
        drop(terms);
        Ok(Propagated { sum: PauliSum::new_watched(&words, &coefficients, self.cancel)?, dropped })
    }
}

/// The qubits that a sum touches.
pub(crate) fn support(sum: &PauliSum) -> QubitSet {
    let mut set = QubitSet::new(sum.n_qubits());
    sum.iter().for_each(|(word, _)| set.insert_support(word));
    set
}

/// Work that is compiled for each width.
pub(crate) trait Job {
    /// What it returns.
    type Output;
    /// Does the work with words of `W` times 64 qubits.
    fn run<const W: usize>(self) -> Result<Self::Output>;
}

/// Runs a job at the narrowest width that holds the labels of a program.
pub(crate) fn dispatch<J: Job>(program: &Program<'_>, job: J) -> Result<J::Output> {
    match limbs(program.qubits.len()) {
        0..=1 => job.run::<1>(),
        2 => job.run::<2>(),
        3..=4 => job.run::<4>(),
        5..=16 => job.run::<16>(),
        17..=64 => job.run::<64>(),
        _ => Err(Error::Limit {
            what: "qubits in one light cone".into(),
            needed: program.qubits.len() as u64,
            limit: MAX_CONE as u64,
            remedy: "propagate the terms of the observable one at a time".into(),
        }),
    }
}

impl Program<'_> {
    /// Moves a sum through the steps.
    pub(crate) fn run<'c, const W: usize, R: Record>(
        &self,
        sum: &PauliSum,
        truncation: &Truncation,
        record: &mut R,
        cancel: &'c Cancel,
    ) -> Result<Terms<'c, W>> {
        let mut terms = Terms::<W>::new(truncation, cancel);
        for (word, coefficient) in sum.iter() {
            terms.accumulate(&self.label(word), coefficient)?;
        }
        terms.truncate(record)?;
        for step in &self.steps {
            cancel.check()?;
            match step {
                Step::Rotation { letters, turn } => terms.rotate(letters, *turn, record)?,
                Step::Permutation { wires, table } => terms.permute(wires, table, record)?,
                Step::Map { wires, map, operation } => terms.map(wires, map, *operation, record)?,
            }
        }
        Ok(terms)
    }

    /// A word in the labels of the program, which must cover its support.
    pub(crate) fn label<const W: usize>(&self, word: WordRef<'_>) -> Key<W> {
        if self.qubits.len() == self.n_qubits {
            let (mut x, mut z) = ([0; W], [0; W]);
            x[..word.x().len()].copy_from_slice(word.x());
            z[..word.z().len()].copy_from_slice(word.z());
            return (x, z);
        }
        key(word.support().map(|(q, letter)| (self.qubits.partition_point(|&other| other < q), letter)))
    }

    /// The words of all slots, in the qubits of the circuit.
    pub(crate) fn collect_slots<const W: usize>(&self, terms: &Terms<'_, W>) -> Result<Words> {
        let width = limbs(self.n_qubits);
        let (mut x, mut z) = (vec![0; width], vec![0; width]);
        let mut words = Words::with_room(self.n_qubits, terms.coefficients().len())?;
        for (i, word) in terms.slots().enumerate() {
            terms.listen(i)?;
            self.restore(&word, &mut x, &mut z);
            words.push_rows(&x, &z);
        }
        Ok(words)
    }

    /// The terms that are not zero, in the qubits of the circuit.
    pub(crate) fn collect<const W: usize>(&self, terms: &Terms<'_, W>) -> Result<(Words, Vec<f64>)> {
        let count = terms.coefficients().iter().filter(|c| **c != 0.0).count();
        let mut words = Words::with_room(self.n_qubits, count)?;
        let mut coefficients = room("the coefficients of a sum", count, 1)?;
        let width = limbs(self.n_qubits);
        let (mut x, mut z) = (vec![0; width], vec![0; width]);
        for (i, (word, coefficient)) in terms.iter().enumerate() {
            terms.listen(i)?;
            self.restore(&word, &mut x, &mut z);
            words.push_rows(&x, &z);
            coefficients.push(coefficient);
        }
        Ok((words, coefficients))
    }

    /// The rows of a labelled word in the qubits of the circuit.
    fn restore<const W: usize>(&self, word: &Key<W>, x: &mut [u64], z: &mut [u64]) {
        if self.qubits.len() == self.n_qubits {
            x.copy_from_slice(&word.0[..x.len()]);
            z.copy_from_slice(&word.1[..z.len()]);
            return;
        }
        x.fill(0);
        z.fill(0);
        for (row, bits) in [(x, &word.0), (z, &word.1)] {
            for (i, &word) in bits.iter().enumerate() {
                let mut left = word;
                while left != 0 {
                    let q = self.qubits[i * 64 + left.trailing_zeros() as usize];
                    row[q / 64] |= 1 << (q % 64);
                    left &= left - 1;
                }
            }
        }
    }

    /// The letters of a labelled word, in the qubits of the circuit.
    pub(crate) fn letters<'a, const W: usize>(
        &'a self,
        word: &'a Key<W>,
    ) -> impl Iterator<Item = (usize, Letter)> + 'a {
        let labels = WordRef::from_rows_unchecked(W * 64, &word.0, &word.1).support();
        labels.map(|(label, letter)| (self.qubits[label], letter))
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::ReverseRecord;
    use super::*;
    use crate::circuit::Angle;
    use crate::gates::Clifford;
    use crate::pauli::PauliWord;

    /// Layers of RY, RZ and CZ on a line.
    fn layers(n: usize, depth: usize) -> (Circuit, Vec<f64>) {
        let mut circuit = Circuit::new(n, 2 * n * depth).unwrap();
        let mut parameter = 0;
        for _ in 0..depth {
            for q in 0..n {
                for letter in [Letter::Y, Letter::Z] {
                    circuit.rotation([(q, letter)], Angle::parameter(parameter)).unwrap();
                    parameter += 1;
                }
            }
            for q in (0..n - 1).step_by(2).chain((1..n - 1).step_by(2)) {
                circuit.clifford(Clifford::Cz, &[q, q + 1]).unwrap();
            }
        }
        let theta = (0..parameter).map(|k| 1.0 + (k as f64 * 0.7).sin()).collect();
        (circuit, theta)
    }

    #[test]
    fn every_width_gives_the_same_bits_truncated_or_not() {
        let (circuit, theta) = layers(8, 3);
        let z = PauliWord::from_sparse(8, [(3, Letter::Z), (4, Letter::Z)]).unwrap();
        let z = PauliSum::from_word(&z);
        let bound = circuit.bind(&theta).unwrap();
        let range = 0..circuit.operations().len();
        let program = Program::new(&bound, range, Direction::Heisenberg, &support(&z));
        let cut = Truncation { max_weight: Some(4), min_coefficient: 1e-3, max_terms: Some(100_000) };
        for truncation in [Truncation::EXACT, cut] {
            let collect =
                Collect { program: &program, sum: &z, truncation: &truncation, cancel: &Cancel::new() };
            let narrow = collect.run::<1>().unwrap();
            for wide in [collect.run::<2>(), collect.run::<16>()] {
                assert_eq!(wide.unwrap(), narrow);
            }
            // With a record the same terms are kept.
            let cancel = Cancel::new();
            let recorded =
                program.run::<1, _>(&z, &truncation, &mut ReverseRecord::default(), &cancel).unwrap();
            let (words, coefficients) = program.collect(&recorded).unwrap();
            assert_eq!(PauliSum::new(&words, &coefficients).unwrap(), narrow.sum);
            assert_eq!(recorded.dropped, narrow.dropped);
        }
    }

    #[test]
    fn bad_truncations_and_interrupts_are_errors() {
        let (circuit, theta) = layers(4, 1);
        let z = PauliSum::from_labels([("ZIII", 1.0)]).unwrap();
        for min_coefficient in [f64::NAN, -1.0, f64::INFINITY] {
            let truncation = Truncation { min_coefficient, ..Truncation::EXACT };
            assert!(
                propagate(&circuit, &theta, &z, Direction::Heisenberg, &truncation, &Cancel::new()).is_err()
            );
        }
        let cancel = Cancel::new();
        cancel.raise();
        let stopped = propagate(&circuit, &theta, &z, Direction::Heisenberg, &Truncation::EXACT, &cancel);
        assert_eq!(stopped, Err(Error::Interrupted));
        let narrow = PauliSum::from_labels([("Z", 1.0)]).unwrap();
        assert!(
            propagate(&circuit, &theta, &narrow, Direction::Heisenberg, &Truncation::EXACT, &Cancel::new())
                .is_err()
        );
    }
}
