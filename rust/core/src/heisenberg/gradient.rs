//! The gradient of every observable by every parameter, as Pauli sums on the final state.
//!
//! A generator is pushed forwards once for all observables (see [`super::forward`]), or past channels the observable is
//! taken back (see [`super::returned`]); the commutators are merged, truncated and put over one list of words.
//!
//! Invariant: with nothing dropped, a row is exact up to [`ROUNDING`]; equal bits with any number of threads.
//! Cost: one forward propagation per gate that is fed, in parallel over parameters, then terms times words of O.

use super::forward::{Push, Use, Uses, Way};
use super::observables::GradientObservables;
use super::propagation::{Job, dispatch};
use super::record::Silent;
use super::terms::Terms;
use super::truncation::{Dropped, Truncation};
use crate::bits::memory::Held;
use crate::bits::parallel::{Cancel, map};
use crate::bits::room;
use crate::circuit::{Bound, Circuit};
use crate::error::Result;
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, Words};

/// What the memory of a derivative is called.
const WHAT: &str = "the terms of a derivative (max_weight and min_coefficient drop some)";

/// Coefficients of a gradient observable below this times the norms of O and of the generator are zeros that
/// rounding has spoilt; they are left out and are no loss.
pub(super) const ROUNDING: f64 = 4.0 * f64::EPSILON;

/// The observables whose expectation values on the final state are the values and gradients of `observables`.
///
/// Channels may come after a trainable gate if they leave something of every letter: elsewhere the derivative is no
/// observable of the final state, and a named error says so.
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
    let uses = Uses::new(circuit, observables);
    let columns = map(circuit.n_parameters(), cancel, |parameter| {
        column(&bound, &uses, parameter, observables, truncation, cancel)
    })?;
    let (columns, _held): (Vec<_>, Vec<Held>) = columns.into_iter().unzip();
    let mut rows: Vec<(PauliSum, Dropped)> =
        observables.iter().map(|o| (o.clone(), Dropped::default())).collect();
    rows.extend(by_observable(columns, observables.len()));
    GradientObservables::assemble(n, observables.len(), circuit.n_parameters(), &rows, cancel)
}

/// The derivatives of all observables by one parameter, and what they take of the memory.
pub(super) fn column(
    bound: &Bound<'_>,
    uses: &Uses,
    parameter: usize,
    observables: &[PauliSum],
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<(Vec<(PauliSum, Dropped)>, Held)> {
    let mut column = Column::new(bound.circuit.n_qubits(), observables.len());
    for &of in &uses.of_parameter[parameter] {
        let active = uses.active(of);
        if !active.is_empty() {
            contribute(bound, of, observables, &active, truncation, cancel, &mut column)?;
        }
    }
    column.finish(truncation, cancel)
}

/// Rows of parameters (each by observable) in the order of observables (each by parameter).
pub(crate) fn by_observable<T>(columns: Vec<Vec<T>>, n_observables: usize) -> impl Iterator<Item = T> {
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let mut rows = Vec::new();
    for _ in 0..n_observables {
        rows.extend(columns.iter_mut().filter_map(Iterator::next));
    }
    rows.into_iter()
}

/// The derivatives of all observables by one parameter, in the making.
pub(super) struct Column {
    entries: Vec<(Words, Vec<f64>)>,
    dropped: Vec<Dropped>,
    /// What rounding may have left where there should be zero.
    rounding: Vec<f64>,
    held: Held,
}

impl Column {
    fn new(n_qubits: usize, n_observables: usize) -> Self {
        Column {
            entries: vec![(Words::new(n_qubits), Vec::new()); n_observables],
            dropped: vec![Dropped::default(); n_observables],
            rounding: vec![0.0; n_observables],
            held: Held::default(),
        }
    }

    /// Adds terms to the derivative of an observable; `rounding` is what they may be off by.
    pub(super) fn add(
        &mut self,
        observable: usize,
        new_words: Words,
        new_coefficients: Vec<f64>,
        rounding: f64,
    ) -> Result<()> {
        let (words, coefficients) = &mut self.entries[observable];
        if words.is_empty() {
            (*words, *coefficients) = (new_words, new_coefficients);
        } else {
            self.held.add(WHAT, new_words.bytes() + 8 * new_coefficients.len() as u64)?;
            words.extend(&new_words)?;
            coefficients.extend(new_coefficients);
        }
        self.rounding[observable] += rounding;
        Ok(())
    }

    /// Merges the contributions and truncates what has become of them; what that takes stays held.
    fn finish(self, truncation: &Truncation, cancel: &Cancel) -> Result<(Vec<(PauliSum, Dropped)>, Held)> {
        let (mut held, mut finished) = (Held::default(), Vec::with_capacity(self.entries.len()));
        let rows = self.entries.into_iter().zip(self.dropped).zip(self.rounding);
        for (((words, coefficients), mut dropped), rounding) in rows {
            let sum = PauliSum::new_watched(&words, &coefficients, cancel)?;
            drop((words, coefficients));
            let sum = retain(&sum, truncation, rounding, &mut dropped)?;
            held.add(WHAT, sum.words().bytes() + 8 * sum.len() as u64)?;
            finished.push((sum, dropped));
        }
        Ok((finished, held))
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
    let mut words = Words::with_room(sum.n_qubits(), sum.len())?;
    let mut kept = room("the coefficients of a sum", sum.len(), 1)?;
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
fn contribute(
    bound: &Bound<'_>,
    of: Use,
    observables: &[PauliSum],
    active: &[usize],
    truncation: &Truncation,
    cancel: &Cancel,
    column: &mut Column,
) -> Result<()> {
    match Way::new(bound, of, observables, active)? {
        Way::Push(push) => dispatch(
            &push.program,
            Commutators { push: &push, observables, active, truncation, cancel, column },
        ),
        Way::Return(way) => way.contribute(observables, active, truncation, cancel, column),
    }
}

struct Commutators<'a> {
    push: &'a Push<'a>,
    observables: &'a [PauliSum],
    active: &'a [usize],
    truncation: &'a Truncation,
    cancel: &'a Cancel,
    column: &'a mut Column,
}

impl Job for Commutators<'_> {
    type Output = ();

    fn run<const W: usize>(self) -> Result<()> {
        let (push, truncation) = (self.push, self.truncation);
        let pushed = push.program.run::<W, _>(&push.generator, truncation, &mut Silent, self.cancel)?;
        let limit = Truncation { max_terms: truncation.max_terms, ..Truncation::EXACT };
        for &o in self.active {
            self.cancel.check()?;
            let observable = &self.observables[o];
            let mut commutator = Terms::<W>::new(&limit, self.cancel);
            let terms = pushed.slots().enumerate().filter(|(slot, _)| pushed.coefficients()[*slot] != 0.0);
            let words = push.touched::<W>(observable);
            push.commute(terms, &words, self.cancel, |slot, _, word, weight| {
                commutator.accumulate(word, weight * pushed.coefficients()[slot])?;
                commutator.check_terms(commutator.coefficients().len())
            })?;
            let (new_words, new_coefficients) = push.program.collect(&commutator)?;
            drop(commutator);
            // A norm that overflows must not make all terms look like rounding, nor no loss look like a NaN.
            let norm = (push.factor.abs() * observable.l1_norm()).min(f64::MAX);
            self.column.dropped[o].merge(pushed.dropped, norm);
            let rounding = ROUNDING * norm * push.generator.l1_norm().min(f64::MAX);
            self.column.add(o, new_words, new_coefficients, rounding.min(f64::MAX * ROUNDING))?;
        }
        Ok(())
    }
}
