//! The states that the circuits of experiments leave.
//!
//! Invariant: the order of the results is that of the experiments, whatever circuits they share.
//! Cost: one simulation for every circuit, on as many threads as there are; at most 64 MiB of states at once, or one.

use super::Experiment;
use crate::bits::parallel::{self, Cancel};
use crate::circuit::evolve;
use crate::error::Result;
use num_complex::Complex64;

/// Bytes of state vectors that are held at once.
const MOST_STATES: usize = 64 << 20;

/// What `each` makes of every experiment's place and the state that its circuit leaves, from the amplitudes of its input.
/// A circuit that several of them share is simulated once.
pub(crate) fn on_states<T: Send>(
    experiments: &[&Experiment],
    input: &[Complex64],
    theta: &[f64],
    cancel: &Cancel,
    each: impl Fn(usize, Vec<Complex64>) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let circuit = |i: &usize| experiments[*i].identity();
    let mut order: Vec<usize> = (0..experiments.len()).collect();
    order.sort_by_key(circuit); // stable; any order of circuits gives the same results
    let groups: Vec<&[usize]> = order.chunk_by(|a, b| circuit(a) == circuit(b)).collect();
    let together = (MOST_STATES / size_of_val(input)).max(1);
    let mut found: Vec<(usize, T)> = Vec::with_capacity(experiments.len());
    for groups in groups.chunks(together) {
        let states = parallel::map(groups.len(), cancel, |g| {
            let mut state = input.to_vec();
            evolve(&experiments[groups[g][0]].circuit(), theta, &mut state, cancel)?;
            Ok(state)
        })?;
        let own: Vec<(usize, usize)> =
            groups.iter().enumerate().flat_map(|(g, group)| group.iter().map(move |i| (g, *i))).collect();
        let made = parallel::map(own.len(), cancel, |j| each(own[j].1, states[own[j].0].clone()))?;
        found.extend(own.iter().map(|(_, i)| *i).zip(made));
    }
    found.sort_unstable_by_key(|(i, _)| *i);
    Ok(found.into_iter().map(|(_, made)| made).collect())
}
