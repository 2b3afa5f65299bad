//! The states that the circuits of experiments leave.
//!
//! A circuit that several experiments share is simulated once, and so is what circuits have in common at their beginning:
//! the gates before a shifted one, the whole circuit before an echo.
//!
//! Invariant: the order of the results is that of the experiments, and their bits do not depend on what was shared.
//! Cost: what is left of every circuit after the part that it has in common with those before it, on as many threads as
//! there are; at most 64 MiB of states at once, or one, and a few more for each thread.

use super::Experiment;
use crate::bits::parallel::{self, Cancel};
use crate::circuit::{Circuit, Operation, evolve_through};
use crate::error::Result;
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of state vectors that are held at once.
const MOST_STATES: usize = 64 << 20;
/// States on the way that are kept for later circuits.
const MOST_KEPT: usize = 4;

/// What `each` makes of every experiment's place and the state that its circuit leaves, from the amplitudes of its input.
pub(crate) fn on_states<T: Send>(
    experiments: &[&Experiment],
    input: &[Complex64],
    theta: &[f64],
    cancel: &Cancel,
    each: impl Fn(usize, Vec<Complex64>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let groups = by_circuit(experiments);
    let together = (MOST_STATES / size_of_val(input)).max(1);
    let mut found: Vec<(usize, T)> = Vec::with_capacity(experiments.len());
    for groups in groups.chunks(together) {
        // Neighbours have most in common, so that each thread takes some that follow each other.
        let pieces: Vec<&[Vec<usize>]> =
            groups.chunks(groups.len().div_ceil(parallel::num_threads())).collect();
        let states: Vec<Vec<Complex64>> = parallel::map(pieces.len(), cancel, |piece| {
            let circuits: Vec<Arc<Circuit>> =
                pieces[piece].iter().map(|group| experiments[group[0]].circuit()).collect();
            walk(&circuits, input, theta, cancel)
        })?
        .into_iter()
        .flatten()
        .collect();
        let own: Vec<(usize, usize)> =
            groups.iter().enumerate().flat_map(|(g, group)| group.iter().map(move |i| (g, *i))).collect();
        let made = parallel::map(own.len(), cancel, |j| each(own[j].1, states[own[j].0].clone()))?;
        found.extend(own.iter().map(|(_, i)| *i).zip(made));
    }
    found.sort_unstable_by_key(|(i, _)| *i);
    Ok(found.into_iter().map(|(_, made)| made).collect())
}

/// The experiments of each circuit, in the order in which circuits come.
fn by_circuit(experiments: &[&Experiment]) -> Vec<Vec<usize>> {
    let mut places: BTreeMap<(usize, bool), usize> = BTreeMap::new();
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, experiment) in experiments.iter().enumerate() {
        let place = *places.entry(experiment.identity()).or_insert(groups.len());
        if place == groups.len() {
            groups.push(Vec::new());
        }
        groups[place].push(i);
    }
    groups
}

/// The states that circuits leave, one after the other: each begins where it leaves the one before it.
fn walk(
    circuits: &[Arc<Circuit>],
    input: &[Complex64],
    theta: &[f64],
    cancel: &Cancel,
) -> Result<Vec<Vec<Complex64>>> {
    let shared: Vec<usize> = circuits.windows(2).map(|pair| in_common(&pair[0], &pair[1])).collect();
    // States after some operations of the circuit at hand, ascending.
    let mut kept: Vec<(usize, Vec<Complex64>)> = Vec::new();
    let mut states = Vec::with_capacity(circuits.len());
    for (i, circuit) in circuits.iter().enumerate() {
        let begin = i.checked_sub(1).map_or(0, |before| shared[before]);
        kept.retain(|(place, _)| *place <= begin);
        let (mut place, mut state) = kept.last().cloned().unwrap_or((0, input.to_vec()));
        for stop in stops(&shared[i.min(shared.len())..], place) {
            evolve_through(circuit, place..stop, theta, &mut state, cancel)?;
            kept.push((stop, state.clone()));
            place = stop;
        }
        evolve_through(circuit, place..circuit.operations().len(), theta, &mut state, cancel)?;
        states.push(state);
    }
    Ok(states)
}

/// Where later circuits leave this one, after `place`, ascending: the next ones first if there are many.
fn stops(shared: &[usize], place: usize) -> Vec<usize> {
    let mut found: Vec<usize> = Vec::new();
    for &length in shared {
        if length <= place || found.len() == MOST_KEPT {
            break;
        }
        if found.last().is_none_or(|last| length < *last) {
            found.push(length);
        }
    }
    found.reverse();
    found
}

/// How many operations two circuits have in common from the beginning.
fn in_common(one: &Circuit, other: &Circuit) -> usize {
    one.operations().iter().zip(other.operations()).take_while(|(a, b)| act_alike(a, b)).count()
}

fn act_alike(one: &Operation, other: &Operation) -> bool {
    match (one, other) {
        (Operation::Rotation { letters, angle }, Operation::Rotation { letters: own, angle: turn }) => {
            letters == own && angle == turn
        }
        (
            Operation::Permutation { wires, matrix, .. },
            Operation::Permutation { wires: own, matrix: entries, .. },
        )
        | (
            Operation::Transfer { wires, matrix: Some(matrix), .. },
            Operation::Transfer { wires: own, matrix: Some(entries), .. },
        ) => wires == own && matrix == entries,
        (
            Operation::Evolution { wires, generator, angle },
            Operation::Evolution { wires: own, generator: words, angle: turn },
        ) => wires == own && generator == words && angle == turn,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::{Angle, evolve};
    use crate::gates::Clifford;
    use crate::pauli::Letter;

    fn circuit(angles: &[f64]) -> Arc<Circuit> {
        let mut made = Circuit::new(3, 0).unwrap();
        for (k, &angle) in angles.iter().enumerate() {
            made.rotation([(k % 3, Letter::X), ((k + 1) % 3, Letter::Y)], Angle::Fixed(angle)).unwrap();
            made.clifford(Clifford::Cnot, &[k % 3, (k + 1) % 3]).unwrap();
        }
        Arc::new(made)
    }

    #[test]
    fn what_circuits_share_changes_no_bit() {
        let lists: [&[f64]; 9] = [
            &[0.1, 0.2, 0.3, 0.4],
            &[0.1, 0.2, 0.3, 0.5],
            &[0.1, 0.2, 0.7],
            &[0.1, 0.2, 0.7, 0.8, 0.9],
            &[0.1, 0.2, 0.3, 0.4],
            &[0.1],
            &[],
            &[0.9, 0.2],
            &[0.9, 0.2],
        ];
        let circuits: Vec<_> = lists.iter().map(|angles| circuit(angles)).collect();
        let mut input = vec![Complex64::default(); 8];
        input[0].re = 1.0;
        let cancel = Cancel::new();
        let found = walk(&circuits, &input, &[], &cancel).unwrap();
        for (circuit, state) in circuits.iter().zip(found) {
            let mut alone = input.clone();
            evolve(circuit, &[], &mut alone, &cancel).unwrap();
            assert_eq!(alone, state);
        }
        assert!(walk(&[], &input, &[], &cancel).unwrap().is_empty());
    }

    #[test]
    fn a_circuit_begins_where_it_leaves_the_one_before() {
        assert_eq!(in_common(&circuit(&[0.1, 0.2, 0.3]), &circuit(&[0.1, 0.2, 0.4])), 4);
        assert_eq!(stops(&[6, 4, 5, 2, 3, 0], 0), [2, 4, 6]);
        assert_eq!(stops(&[6, 4, 5, 2, 3, 0], 4), [6]);
        assert_eq!(stops(&[3, 2, 9], 2), [3]);
        assert!(stops(&[], 0).is_empty());
    }
}
