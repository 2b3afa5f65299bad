//! The gradient of every observable by every parameter, as Pauli sums on the final state.
//!
//! For a gate `exp(-i theta P / 2)` followed by the gates V, `d<O>/dtheta = <psi| (i/2) [V P V^dag, O] |psi>`, psi
//! being the state after *all* gates. The generator is pushed forwards once for all observables; a generator A of
//! `exp(-i theta A)` counts double. A gate outside the backward light cone of an observable has derivative zero
//! without any work, and gates off the forward light cone of the generator are skipped.
//!
//! Invariant: with nothing dropped, a row is exact up to [`ROUNDING`]; equal bits with any number of threads.
//! Cost: one forward propagation per gate that is fed, in parallel over parameters, then terms times words of O.

use super::circuit::{Bound, Circuit, Operation};
use super::cone::{Program, QubitSet, walk};
use super::observables::GradientObservables;
use super::propagation::{Dropped, Job, Truncation, dispatch, support};
use super::tape::Silent;
use super::terms::{Key, Terms, power};
use super::transfer::Direction;
use crate::bits::parallel::{Cancel, map};
use crate::error::{Error, Result};
use crate::pauli::word::check_width;
use crate::pauli::{Letter, PauliSum, PauliWord, Words};

/// Coefficients of a gradient observable below this times the norms of O and of the generator are zeros that
/// rounding has spoilt; they are left out and are no loss.
const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// The observables whose expectation values on the final state are the values and gradients of `observables`.
///
/// Gates that are not unitary may come after a trainable gate only outside its light cone: elsewhere the derivative
/// is no observable of the final state, and a named error says so.
pub fn gradient_observables(
    circuit: &Circuit,
    theta: &[f64],
    observables: &[PauliSum],
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<GradientObservables> {
    truncation.check()?;
    let n = circuit.n_qubits();
    observables.iter().try_for_each(|o| check_width("observables", n, o.n_qubits()))?;
    let bound = circuit.bind(theta)?;
    let operations = circuit.operations();
    // Which operations each observable meets on its way back.
    let reached: Vec<Vec<bool>> = observables
        .iter()
        .map(|observable| {
            let mut reached = vec![false; operations.len()];
            let range = 0..operations.len();
            walk(operations, range, Direction::Heisenberg, &mut support(observable), |_| false)
                .into_iter()
                .for_each(|index| reached[index] = true);
            reached
        })
        .collect();
    let mut fed = vec![Vec::new(); circuit.n_parameters()];
    for (index, operation) in operations.iter().enumerate() {
        if let Some((parameter, scale)) = operation.angle().and_then(|angle| angle.feed())
            && scale != 0.0
        {
            fed[parameter].push((index, scale));
        }
    }
    let columns = map(circuit.n_parameters(), cancel, |parameter| {
        let mut column = Column::new(n, observables.len());
        for &(operation, scale) in &fed[parameter] {
            let active: Vec<usize> = (0..observables.len()).filter(|&o| reached[o][operation]).collect();
            if !active.is_empty() {
                let gate = Gate { operation, scale, parameter };
                push_forward(&bound, gate, observables, &active, truncation, cancel, &mut column)?;
            }
        }
        column.finish(truncation)
    })?;
    let mut rows: Vec<(PauliSum, Dropped)> =
        observables.iter().map(|o| (o.clone(), Dropped::default())).collect();
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for _ in observables {
        rows.extend(columns.iter_mut().filter_map(Iterator::next));
    }
    drop(columns);
    GradientObservables::assemble(n, observables.len(), circuit.n_parameters(), &rows, cancel)
}

/// One use of a parameter.
#[derive(Clone, Copy)]
struct Gate {
    operation: usize,
    scale: f64,
    parameter: usize,
}

/// The derivatives of all observables by one parameter, in the making.
struct Column {
    entries: Vec<(Words, Vec<f64>)>,
    dropped: Vec<Dropped>,
    /// What rounding may have left where there should be zero.
    rounding: Vec<f64>,
}

impl Column {
    fn new(n_qubits: usize, n_observables: usize) -> Self {
        Column {
            entries: vec![(Words::new(n_qubits), Vec::new()); n_observables],
            dropped: vec![Dropped::default(); n_observables],
            rounding: vec![0.0; n_observables],
        }
    }

    /// Merges the contributions and truncates what has become of them.
    fn finish(self, truncation: &Truncation) -> Result<Vec<(PauliSum, Dropped)>> {
        let rows = self.entries.into_iter().zip(self.dropped).zip(self.rounding);
        rows.map(|(((words, coefficients), mut dropped), rounding)| {
            let sum = PauliSum::new(&words, &coefficients)?;
            let sum = retain(&sum, truncation, rounding, &mut dropped)?;
            Ok((sum, dropped))
        })
        .collect()
    }
}

/// The terms that a truncation keeps; those not above `rounding` are left out without a word.
pub(crate) fn retain(
    sum: &PauliSum,
    truncation: &Truncation,
    rounding: f64,
    dropped: &mut Dropped,
) -> Result<PauliSum> {
    let max_weight = truncation.max_weight.unwrap_or(usize::MAX);
    let (mut words, mut kept) =
        (Words::with_capacity(sum.n_qubits(), sum.len()), Vec::with_capacity(sum.len()));
    for (word, c) in sum.iter().filter(|(_, c)| c.abs() > rounding) {
        if c.abs() < truncation.min_coefficient || word.weight() > max_weight {
            dropped.add(c);
        } else {
            words.push_rows(word.x(), word.z());
            kept.push(c);
        }
    }
    PauliSum::from_sorted(words, kept)
}

/// Adds what one gate contributes to the derivatives of the active observables.
fn push_forward(
    bound: &Bound<'_>,
    gate: Gate,
    observables: &[PauliSum],
    active: &[usize],
    truncation: &Truncation,
    cancel: &Cancel,
    column: &mut Column,
) -> Result<()> {
    let circuit = bound.circuit;
    let operations = circuit.operations();
    let (generator, factor) = generator(circuit.n_qubits(), &operations[gate.operation])?;
    let mut cone = support(&generator);
    let range = gate.operation + 1..operations.len();
    let met = walk(operations, range, Direction::Schroedinger, &mut cone, |_| false);
    if let Some(&channel) = met.iter().find(|&&index| !operations[index].is_unitary()) {
        return Err(Error::invalid(
            "circuit",
            "unitary gates only in the light cone after a trainable gate (past a channel the derivative is no \
             observable of the final state: put the noise into the response, or use parameter shifts)",
            format!(
                "a channel at gate {}, after gate {} of parameter {}",
                circuit.gate_of(channel),
                circuit.gate_of(gate.operation),
                gate.parameter
            ),
        ));
    }
    // Words of the observables off the cone commute with the generator; the others may reach past it.
    let mut labelled = cone.clone();
    for &o in active {
        observables[o]
            .iter()
            .filter(|(word, _)| cone.touches(*word))
            .for_each(|(word, _)| labelled.insert_support(word));
    }
    let program = Program::of_operations(bound, &met, Direction::Schroedinger, &labelled);
    let factor = factor * gate.scale;
    dispatch(
        &program,
        Commutators {
            program: &program,
            cone: &cone,
            generator,
            factor,
            observables,
            active,
            truncation,
            cancel,
            column,
        },
    )
}

/// The generator A of a gate such that the derivative is `factor (i/2) [A~, O]`.
fn generator(n_qubits: usize, operation: &Operation) -> Result<(PauliSum, f64)> {
    match operation {
        Operation::Rotation { letters, .. } => {
            let word = PauliWord::from_sparse(n_qubits, letters.iter().copied())?;
            Ok((PauliSum::from_word(&word), 1.0))
        }
        Operation::Evolution { wires, generator, .. } => {
            let word = |code: usize| {
                let letters = wires.iter().enumerate().map(|(j, &q)| {
                    let bit = |shift: usize| code >> (2 * j + shift) & 1 == 1;
                    (q, Letter::from_bits(bit(0), bit(1)))
                });
                PauliWord::from_sparse(n_qubits, letters)
            };
            let words: Vec<PauliWord> =
                generator.iter().map(|(code, _)| word(*code)).collect::<Result<_>>()?;
            let terms = words.iter().zip(generator).map(|(word, (_, coefficient))| (word, *coefficient));
            Ok((PauliSum::from_terms(n_qubits, terms)?, 2.0))
        }
        Operation::Permutation { .. } | Operation::Transfer { .. } => Ok((PauliSum::zero(n_qubits), 0.0)),
    }
}

struct Commutators<'a> {
    program: &'a Program<'a>,
    cone: &'a QubitSet,
    generator: PauliSum,
    factor: f64,
    observables: &'a [PauliSum],
    active: &'a [usize],
    truncation: &'a Truncation,
    cancel: &'a Cancel,
    column: &'a mut Column,
}

impl Job for Commutators<'_> {
    type Output = ();

    fn run<const W: usize>(self) -> Result<()> {
        let (program, truncation) = (self.program, self.truncation);
        let pushed = program.run::<W, _>(&self.generator, truncation, &mut Silent, self.cancel)?;
        for &o in self.active {
            self.cancel.check()?;
            let observable = &self.observables[o];
            let words: Vec<(Key<W>, f64)> = observable
                .iter()
                .filter(|(word, _)| self.cone.touches(*word))
                .map(|(word, c)| (program.label(word), c))
                .collect();
            let mut commutator =
                Terms::<W>::new(&Truncation { max_terms: truncation.max_terms, ..Truncation::EXACT });
            for (p, c) in pushed.iter() {
                commutator.check_terms(commutator.coefficients().len())?;
                for (word, d) in &words {
                    // i P Q is real where P and Q anticommute: i * i^1 = -1, i * i^3 = +1.
                    let sign = match power(&p, word) {
                        1 => -1.0,
                        3 => 1.0,
                        _ => continue,
                    };
                    let (mut x, mut z) = p;
                    for i in 0..W {
                        x[i] ^= word.0[i];
                        z[i] ^= word.1[i];
                    }
                    commutator.accumulate(&(x, z), sign * self.factor * c * d);
                }
            }
            let (new_words, new_coefficients) = program.collect(&commutator);
            let (words, coefficients) = &mut self.column.entries[o];
            words.extend(&new_words)?;
            coefficients.extend(new_coefficients);
            let norm = self.factor.abs() * observable.l1_norm();
            self.column.dropped[o].merge(pushed.dropped, norm);
            self.column.rounding[o] += ROUNDING * norm * self.generator.l1_norm();
        }
        Ok(())
    }
}
