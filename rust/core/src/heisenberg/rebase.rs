//! Old snapshots, new parameters: observables of today on the states of yesterday.
//!
//! When the trainable gates V come last, `V(new) = W^dag V(old)` with `W = V(old) V(new)^dag`, so an observable G of
//! the state at the new parameters is the observable `W G W^dag` of the state at the old ones: exact at any
//! staleness; only the number of words grows. Cost: one propagation back and one forth per row, in parallel.

use super::gradient::retain;
use super::observables::GradientObservables;
use super::propagation::propagate_range;
use super::truncation::Truncation;
use crate::bits::parallel::{Cancel, map};
use crate::circuit::Angle;
use crate::circuit::Circuit;
use crate::error::{Error, Result};
use crate::gates::Direction;
use crate::pauli::word::check_width;

/// The observables that, on the state at `theta_old`, have the expectation values that `observables` (made at
/// `theta_new`) have on the state at `theta_new`.
///
/// `start` is the first gate of the trailing block V. Its gates must be unitary, and every parameter or input that
/// feeds an earlier gate must be the same in both vectors: errors say which is not.
pub fn rebase(
    observables: &GradientObservables,
    circuit: &Circuit,
    theta_new: &[f64],
    theta_old: &[f64],
    start: usize,
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<GradientObservables> {
    truncation.check()?;
    check_width("observables", circuit.n_qubits(), observables.n_qubits())?;
    if start > circuit.n_gates() {
        let expected = format!("a gate of the circuit, at most {}", circuit.n_gates());
        return Err(Error::invalid("start", expected, start.to_string()));
    }
    let (new, old) = (circuit.bind(theta_new)?, circuit.bind(theta_old)?);
    let first = circuit.gate_start(start);
    for (index, operation) in circuit.operations()[..first].iter().enumerate() {
        let (what, which, place) = match operation.angle() {
            Some(Angle::Trainable { parameter, scale, .. }) if scale != 0.0 => {
                ("parameter", parameter, parameter)
            }
            Some(Angle::Input { input, scale, .. }) if scale != 0.0 => {
                ("input", input, circuit.n_parameters() + input)
            }
            _ => continue,
        };
        if theta_new[place] != theta_old[place] {
            return Err(Error::invalid(
                "theta_old",
                format!("equal {what}s before gate {start}"),
                format!("{what} {which} changed, which feeds gate {}", circuit.gate_of(index)),
            ));
        }
    }
    let block = first..circuit.operations().len();
    if let Some(index) = block.clone().find(|&index| !circuit.operations()[index].is_unitary()) {
        return Err(Error::invalid(
            "circuit",
            format!("unitary gates only from gate {start} on"),
            format!("a channel at gate {}", circuit.gate_of(index)),
        ));
    }
    let rows = map(observables.n_rows(), cancel, |row| {
        let sum = observables.sums().sum(row)?;
        let mut dropped = observables.dropped_row(row);
        let back = propagate_range(&new, block.clone(), &sum, Direction::Heisenberg, truncation, cancel)?;
        let forth =
            propagate_range(&old, block.clone(), &back.sum, Direction::Schroedinger, truncation, cancel)?;
        dropped.merge(back.dropped, 1.0);
        dropped.merge(forth.dropped, 1.0);
        let rounding = 4.0 * f64::EPSILON * sum.l2_norm();
        Ok((retain(&forth.sum, truncation, rounding, &mut dropped)?, dropped))
    })?;
    let (n_observables, n_parameters) = (observables.n_observables(), observables.n_parameters());
    GradientObservables::assemble(circuit.n_qubits(), n_observables, n_parameters, &rows, cancel)
}
