//! Generators pushed forwards: what the gradient of a circuit is made of.
//!
//! For a gate `exp(-i theta P / 2)` followed by the gates V, `d<O>/dtheta = <psi| (i/2) [V P V^dag, O] |psi>`, psi
//! being the state after *all* gates. A generator A of `exp(-i theta A)` counts double. Invariant: a use of a
//! parameter outside the backward light cone of every observable is never pushed, and gates off the forward light
//! cone of the generator are skipped; both are exact. Cost: the light cones are linear in the operations.

use super::cone::{Program, QubitSet, walk};
use super::propagation::support;
use super::returned::Return;
use super::terms::{Key, power};
use crate::bits::parallel::Cancel;
use crate::circuit::Angle;
use crate::circuit::{Bound, Circuit};
use crate::error::Result;
use crate::gates::Direction;
use crate::pauli::PauliSum;

/// Where the parameters of a circuit enter, and which observables they can move.
#[derive(Debug, Clone)]
pub(crate) struct Uses {
    /// For each parameter the gates that it feeds.
    pub(crate) of_parameter: Vec<Vec<Use>>,
    /// For each observable whether it meets an operation on its way back.
    reached: Vec<Vec<bool>>,
}

/// One gate that a parameter feeds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use {
    pub(crate) parameter: usize,
    pub(crate) operation: usize,
    /// Derivative of the angle by the parameter, not zero.
    pub(super) scale: f64,
}

impl Uses {
    pub(crate) fn new(circuit: &Circuit, observables: &[PauliSum]) -> Self {
        let operations = circuit.operations();
        let reached = observables.iter().map(|observable| {
            let mut reached = vec![false; operations.len()];
            let (range, mut cone) = (0..operations.len(), support(observable));
            for index in walk(operations, range, Direction::Heisenberg, &mut cone, |_| false) {
                reached[index] = true;
            }
            reached
        });
        let mut of_parameter = vec![Vec::new(); circuit.n_parameters()];
        for (index, operation) in operations.iter().enumerate() {
            if let Some((parameter, scale)) = operation.angle().and_then(Angle::feed)
                && scale != 0.0
            {
                of_parameter[parameter].push(Use { parameter, operation: index, scale });
            }
        }
        Uses { of_parameter, reached: reached.collect() }
    }

    /// The observables that a use can move.
    pub(crate) fn active(&self, of: Use) -> Vec<usize> {
        (0..self.reached.len()).filter(|&o| self.reached[o][of.operation]).collect()
    }
}

/// A generator about to be pushed to the final state.
pub(crate) struct Push<'b> {
    pub(crate) program: Program<'b>,
    pub(crate) generator: PauliSum,
    /// The derivative is this times `(i/2) [generator, O]`.
    pub(crate) factor: f64,
    cone: QubitSet,
}

/// How a derivative reaches the final state.
pub(super) enum Way<'b> {
    /// By the generator alone.
    Push(Push<'b>),
    /// Past a channel: back with the observable, and forward again.
    Return(Return<'b>),
}

impl<'b> Way<'b> {
    /// The way of a generator, in labels that also cover what the active observables have in its light cone.
    pub(super) fn new(
        bound: &'b Bound<'_>,
        of: Use,
        observables: &[PauliSum],
        active: &[usize],
    ) -> Result<Self> {
        let circuit = bound.circuit;
        let operations = circuit.operations();
        let generator = operations[of.operation].generator(circuit.n_qubits())?;
        let generator =
            PauliSum::from_terms(circuit.n_qubits(), generator.iter().map(|(word, c)| (word, *c)))?;
        let mut cone = support(&generator);
        let range = of.operation + 1..operations.len();
        let met = walk(operations, range, Direction::Schroedinger, &mut cone, |_| false);
        // Words of the observables off the cone commute with the generator; the others may reach past it.
        let mut labelled = cone.clone();
        for &o in active {
            let touching = observables[o].iter().filter(|(word, _)| cone.touches(*word));
            touching.for_each(|(word, _)| labelled.insert_support(word));
        }
        if met.iter().any(|&index| !operations[index].is_unitary()) {
            return Return::new(bound, of, &met, cone, &labelled, generator).map(Way::Return);
        }
        let program = Program::of_operations(bound, &met, Direction::Schroedinger, &labelled);
        Ok(Way::Push(Push { program, generator, factor: of.scale, cone }))
    }
}

impl Push<'_> {
    /// The words of an observable that a derivative may know of, in the labels of the program, with their factors.
    pub(crate) fn touched<const W: usize>(&self, observable: &PauliSum) -> Vec<(Key<W>, f64)> {
        let touched = observable.iter().filter(|(word, _)| self.cone.touches(*word));
        touched.map(|(word, c)| (self.program.label(word), self.factor * c)).collect()
    }

    /// Calls `visit(slot, place, word, weight)` for every product of a pushed word with the word at a place of `words`
    /// that the derivative has: it is the sum of `weight * coefficient of the slot * word`. A weight is the factor of
    /// that place, or the opposite.
    pub(crate) fn commute<const W: usize>(
        &self,
        pushed: impl Iterator<Item = (usize, Key<W>)>,
        words: &[(Key<W>, f64)],
        cancel: &Cancel,
        mut visit: impl FnMut(usize, usize, &Key<W>, f64) -> Result<()>,
    ) -> Result<()> {
        for (slot, p) in pushed {
            if slot % 256 == 0 {
                cancel.check()?;
            }
            for (place, (word, weight)) in words.iter().enumerate() {
                // i P Q is real where P and Q anticommute: i * i^1 = -1, i * i^3 = +1.
                let weight = match power(&p, word) {
                    1 => -weight,
                    3 => *weight,
                    _ => continue,
                };
                let (mut x, mut z) = p;
                for i in 0..W {
                    x[i] ^= word.0[i];
                    z[i] ^= word.1[i];
                }
                visit(slot, place, &(x, z), weight)?;
            }
        }
        Ok(())
    }
}
