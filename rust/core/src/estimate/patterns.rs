//! How often each pattern of settings and outcomes occurs on a few qubits.
//!
//! On k qubits that are read in letters there are `6^k` patterns, and all that snapshots say of these qubits is in their
//! counts: reduced states, purities and overlaps are forms in them, so that no pair of snapshots is ever looked at.
//!
//! A pattern is a number in base 6, the first qubit most significant: letter (0, 1, 2 for X, Y, Z) times two plus outcome.
//! Cost: 1 ns per snapshot and qubit.

use crate::bits::parallel::{self, Cancel};
use crate::bits::{limbs, room};
use crate::error::{Error, Result};
use crate::pauli::word::check_wire;
use crate::snapshots::Snapshots;

/// Most qubits: `6^8` counts take 13 MB.
pub const MAX_PATTERN_QUBITS: usize = 8;
/// Groups of 64 snapshots of a task.
const GROUPS: usize = 1 << 12;

/// The counts of the patterns on `qubits`, which are different.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, estimate::pattern_counts, snapshots::Snapshots};
/// let snaps = Snapshots::from_arrays(&[0, 1, 1, 1], &[0, 1, 2, 2], 2, Ensemble::uniform(2)?)?;
/// let counts = pattern_counts(&snaps, &[1], &Cancel::new())?;
/// assert_eq!(counts, [0, 0, 0, 1, 0, 1]); // Y with outcome 1, Z with outcome 1
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn pattern_counts(snaps: &Snapshots, qubits: &[usize], cancel: &Cancel) -> Result<Vec<u64>> {
    if snaps.ensemble().letter_probabilities(0).is_none() {
        return Err(Error::invalid(
            "snaps",
            "snapshots in letters",
            format!("a {} ensemble", snaps.ensemble().kind()),
        ));
    }
    if qubits.is_empty() || qubits.len() > MAX_PATTERN_QUBITS {
        let expected = format!("1 to {MAX_PATTERN_QUBITS} qubits");
        return Err(Error::invalid("qubits", expected, format!("{} qubits", qubits.len())));
    }
    for (i, &q) in qubits.iter().enumerate() {
        check_wire("qubits", q, snaps.n_qubits())?;
        if qubits[..i].contains(&q) {
            return Err(Error::invalid("qubits", "different qubits", format!("{q} twice")));
        }
    }
    let snaps = &*snaps.resolved(cancel)?;
    let size = 6usize.pow(qubits.len() as u32);
    let groups = limbs(snaps.len());
    let tasks = groups.div_ceil(GROUPS).min(64);
    let edge = |task: usize| task * groups / tasks.max(1);
    let parts = parallel::map(tasks, cancel, |task| {
        let mut counts = room("the counts of patterns", size, 1)?;
        counts.resize(size, 0u64);
        for group in edge(task)..edge(task + 1) {
            let mut patterns = [0u32; 64];
            for &q in qubits {
                let [x, z] = snaps.letter_planes(q).map(|plane| plane[group]);
                let outcome = snaps.outcome_plane(q)[group];
                for (t, pattern) in patterns.iter_mut().enumerate() {
                    // X = 10, Y = 11, Z = 01 as (x, z).
                    let letter = (z >> t & 1) as u32 * (2 - (x >> t & 1) as u32);
                    *pattern = 6 * *pattern + 2 * letter + (outcome >> t & 1) as u32;
                }
            }
            let height = 64.min(snaps.len() - 64 * group);
            patterns[..height].iter().for_each(|&pattern| counts[pattern as usize] += 1);
        }
        Ok(counts)
    })?;
    let mut total = vec![0; size];
    parts.iter().for_each(|part| total.iter_mut().zip(part).for_each(|(sum, own)| *sum += own));
    Ok(total)
}
