//! Derivatives past channels: back with the observable, forward again with what is left.
//!
//! With `E` the map of all that follows gate k, channels included, the derivative of `tr(O E(rho))` by its angle is
//! `tr(E(rho) G)` with `G = (E^dag)^-1 ((i/2) [P_k, E^dag(O)])`: the observable is damped on its way back, and what the
//! commutator leaves is amplified on its way forward along the same gates. Without channels this is what
//! [`super::forward`] computes by pushing the generator alone.
//!
//! Observables of a derivative without noise, read on the noisy final state, go further back: to the first place with
//! noise by the gates alone, and forward through all of it.
//!
//! Invariant: exact, or an error: where a channel leaves nothing of a letter, no observable of the final state is the
//! derivative. Cost: two propagations for every gate that is fed and observable that it moves, of sums, not of words.

use super::cone::{Program, QubitSet};
use super::gradient::{Column, ROUNDING, column};
use super::observables::GradientObservables;
use super::propagation::{Job, dispatch, propagate_range};
use super::record::Silent;
use super::terms::{Key, Terms, power};
use super::truncation::{Dropped, Truncation};
use super::{forward::Use, forward::Uses, gradient::by_observable, gradient::retain};
use crate::bits::memory::Held;
use crate::bits::parallel::{Cancel, map};
use crate::circuit::{Bound, Circuit};
use crate::error::{Error, Result};
use crate::gates::Direction;
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, Words};

/// The way back to a gate and forward again, through the light cone of its generator: operations off it are undone by
/// the way forward, exactly.
pub(super) struct Return<'b> {
    back: Program<'b>,
    forth: Program<'b>,
    cone: QubitSet,
    generator: PauliSum,
    factor: f64,
}

impl<'b> Return<'b> {
    /// The way of a use whose light cone has the operations `met`, in labels that cover `labelled`.
    pub(super) fn new(
        bound: &'b Bound<'_>,
        of: Use,
        met: &[usize],
        cone: QubitSet,
        labelled: &QubitSet,
        generator: PauliSum,
    ) -> Result<Self> {
        let circuit = bound.circuit;
        if let Some(&lossy) = met.iter().find(|&&index| !circuit.operations()[index].is_recoverable()) {
            return Err(Error::invalid(
                "circuit",
                "channels in the light cone after a trainable gate that leave something of every letter (past another \
                 one the derivative is no observable of the final state: use parameter shifts)",
                format!(
                    "a channel at gate {}, after gate {} of parameter {}",
                    circuit.gate_of(lossy),
                    circuit.gate_of(of.operation),
                    of.parameter
                ),
            ));
        }
        let backwards: Vec<usize> = met.iter().rev().copied().collect();
        Ok(Return {
            back: Program::of_operations(bound, &backwards, Direction::Heisenberg, labelled),
            forth: Program::of_operations(bound, met, Direction::Recovery, labelled),
            cone,
            generator,
            factor: of.scale,
        })
    }

    /// Adds what the use contributes to the derivatives of the active observables.
    pub(super) fn contribute(
        &self,
        observables: &[PauliSum],
        active: &[usize],
        truncation: &Truncation,
        cancel: &Cancel,
        column: &mut Column,
    ) -> Result<()> {
        if truncation.max_weight.is_some() || truncation.min_coefficient > 0.0 {
            return Err(Error::invalid(
                "truncation",
                "none but max_terms past a channel (what is dropped before it is amplified after it)",
                "max_weight or min_coefficient",
            ));
        }
        dispatch(&self.back, Returning { way: self, observables, active, truncation, cancel, column })
    }
}

struct Returning<'a> {
    way: &'a Return<'a>,
    observables: &'a [PauliSum],
    active: &'a [usize],
    truncation: &'a Truncation,
    cancel: &'a Cancel,
    column: &'a mut Column,
}

impl Job for Returning<'_> {
    type Output = ();

    fn run<const W: usize>(self) -> Result<()> {
        let Returning { way, truncation, cancel, .. } = self;
        let generator: Vec<(Key<W>, f64)> =
            way.generator.iter().map(|(word, c)| (way.back.label(word), way.factor * c)).collect();
        for &o in self.active {
            // What is off the cone commutes with the generator at all times.
            let met = touching(&self.observables[o], &way.cone)?;
            let back = way.back.run::<W, _>(&met, truncation, &mut Silent, cancel)?;
            let mut commutator = Terms::<W>::new(truncation, cancel);
            for (slot, (word, c)) in back.iter().enumerate() {
                back.listen(slot)?;
                for (p, weight) in &generator {
                    // i P Q is real where P and Q anticommute: i * i^1 = -1, i * i^3 = +1.
                    let weight = match power(p, &word) {
                        1 => -weight,
                        3 => *weight,
                        _ => continue,
                    };
                    let (mut x, mut z) = *p;
                    for i in 0..W {
                        x[i] ^= word.0[i];
                        z[i] ^= word.1[i];
                    }
                    commutator.accumulate(&(x, z), weight * c)?;
                    commutator.check_terms(commutator.coefficients().len())?;
                }
            }
            drop(back);
            let (words, coefficients) = way.back.collect(&commutator)?;
            let left = PauliSum::new_watched(&words, &coefficients, cancel)?;
            drop(commutator);
            let ended = way.forth.run::<W, _>(&left, truncation, &mut Silent, cancel)?;
            let (words, coefficients) = way.forth.collect(&ended)?;
            // What is amplified is known to the accuracy of what was damped.
            let largest = coefficients.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
            let norm = way.factor.abs() * way.generator.l1_norm() * self.observables[o].l1_norm();
            self.column.add(o, words, coefficients, ROUNDING * norm.max(largest).min(f64::MAX))?;
        }
        Ok(())
    }
}

/// The terms that touch some qubits.
fn touching(sum: &PauliSum, cone: &QubitSet) -> Result<PauliSum> {
    let (mut words, mut kept) = (Words::with_room(sum.n_qubits(), sum.len())?, Vec::new());
    for (word, c) in sum.iter().filter(|(word, _)| cone.touches(*word)) {
        words.push_rows(word.x(), word.z());
        kept.push(c);
    }
    PauliSum::from_sorted(words, kept)
}

/// The observables that have, on the noisy final state, the expectation values that `observables` and their derivatives
/// would have without what the device does by itself (see [`Circuit::noise`]).
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::heisenberg::mitigated_observables;
/// use efl_core::pauli::{Letter, PauliSum};
/// use num_complex::Complex64;
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let (kept, flipped) = (0.75f64.sqrt(), 0.5);
/// let number = |re: f64| Complex64::new(re, 0.0);
/// let id = [kept, 0.0, 0.0, kept].map(number);
/// let x = [0.0, flipped, flipped, 0.0].map(number);
/// circuit.noise(&[id, x], &[0])?; // <Z> and <Y> are halved
/// let z = PauliSum::from_labels([("Z", 1.0)])?;
/// let rows = mitigated_observables(&circuit, &[0.3], &[z], None, &Cancel::new())?;
/// let slope = rows.sums().sum(rows.gradient_row(0, 0))?;
/// assert!((slope.coefficients()[0] - 2.0).abs() < 1e-12);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn mitigated_observables(
    circuit: &Circuit,
    theta: &[f64],
    observables: &[PauliSum],
    max_terms: Option<usize>,
    cancel: &Cancel,
) -> Result<GradientObservables> {
    let n = circuit.n_qubits();
    observables.iter().try_for_each(|o| check_width("observables", n, o.n_qubits()))?;
    let truncation = Truncation { max_terms, ..Truncation::EXACT };
    let mitigation = Mitigation::new(circuit, observables)?;
    let (ideal, noisy) = (mitigation.ideal.bind(theta)?, circuit.bind(theta)?);
    let values = map(observables.len(), cancel, |o| {
        mitigation.moved(&ideal, &noisy, &observables[o], &truncation, cancel)
    })?;
    let columns = map(circuit.n_parameters(), cancel, |parameter| {
        mitigation.column(&ideal, &noisy, parameter, observables, &truncation, cancel)
    })?;
    let mut rows: Vec<(PauliSum, Dropped)> =
        values.into_iter().map(|value| (value, Dropped::default())).collect();
    rows.extend(by_observable(columns, observables.len()));
    GradientObservables::assemble(n, observables.len(), circuit.n_parameters(), &rows, cancel)
}

/// A circuit without what its device does by itself.
#[derive(Debug, Clone)]
pub(super) struct Mitigation {
    pub(super) ideal: Circuit,
    uses: Uses,
    /// The first operation that is noise: what is before cancels.
    first: usize,
}

impl Mitigation {
    pub(super) fn new(circuit: &Circuit, observables: &[PauliSum]) -> Result<Self> {
        let operations = circuit.operations();
        let first = operations.iter().position(|o| o.is_by_device()).unwrap_or(operations.len());
        if let Some(lossy) = (first..operations.len()).find(|&index| !operations[index].is_recoverable()) {
            return Err(Error::invalid(
                "circuit",
                "noise that leaves something of every letter (what is lost is not brought back)",
                format!("a channel at gate {}", circuit.gate_of(lossy)),
            ));
        }
        let mut ideal = circuit.emptied();
        operations.iter().filter(|o| !o.is_by_device()).for_each(|o| ideal.push(o.clone()));
        let uses = Uses::new(&ideal, observables);
        Ok(Mitigation { ideal, uses, first })
    }

    /// A sum on the final state without noise, as one on the noisy state.
    pub(super) fn moved(
        &self,
        ideal: &Bound<'_>,
        noisy: &Bound<'_>,
        sum: &PauliSum,
        truncation: &Truncation,
        cancel: &Cancel,
    ) -> Result<PauliSum> {
        let back = self.first..ideal.circuit.operations().len();
        let forth = self.first..noisy.circuit.operations().len();
        let start = propagate_range(ideal, back, sum, Direction::Heisenberg, truncation, cancel)?.sum;
        let end = propagate_range(noisy, forth, &start, Direction::Recovery, truncation, cancel)?.sum;
        let largest = end.coefficients().iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        let rounding = ROUNDING * sum.l1_norm().max(largest).min(f64::MAX);
        retain(&end, truncation, rounding, &mut Dropped::default())
    }

    /// The derivatives of all observables by one parameter.
    pub(super) fn column(
        &self,
        ideal: &Bound<'_>,
        noisy: &Bound<'_>,
        parameter: usize,
        observables: &[PauliSum],
        truncation: &Truncation,
        cancel: &Cancel,
    ) -> Result<Vec<(PauliSum, Dropped)>> {
        let (found, _held): (_, Held) =
            column(ideal, &self.uses, parameter, observables, truncation, cancel)?;
        let moved = |(sum, dropped): (PauliSum, Dropped)| {
            Ok((self.moved(ideal, noisy, &sum, truncation, cancel)?, dropped))
        };
        found.into_iter().map(moved).collect()
    }
}
