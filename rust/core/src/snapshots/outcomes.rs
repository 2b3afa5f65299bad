//! Outcomes: the bits that a state shows in one setting, and how often each pattern came.
//!
//! Invariant: bits are packed as everywhere, qubit q in bit `q % 64` of limb `q / 64`. Shots are a function of the seed
//! and their number, so a shorter run is the beginning of a longer one; [`Outcomes`] do not know their order.
//! Cost: [`measure`] takes one pass over the state per gate of the setting and a binary search per shot, counting a
//! sort of the shots, or a pass over all patterns where these are few.

use crate::bits::parallel::Cancel;
use crate::bits::philox::{philox, unit_interval};
use crate::bits::{limbs, room};
use crate::circuit::{product, simulate};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, on_states};
use crate::pauli::word::check_width;
use crate::stabiliser::Setting;
use crate::state::ProductState;
use num_complex::Complex64;

/// Stream of the key, so that runs share no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"measured");

/// The outcomes of shots of a state vector in a setting, one after the other, qubit q in bit q.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, snapshots::measure, stabiliser::Setting};
/// use num_complex::Complex64;
/// let half = Complex64::new(0.5f64.sqrt(), 0.0);
/// let bell = vec![half, Complex64::default(), Complex64::default(), half];
/// let shots = measure(bell, &Setting::product("XX")?, 100, 7, &Cancel::new())?;
/// assert!(shots.iter().all(|bits| [0b00, 0b11].contains(bits))); // <XX> = 1
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn measure(
    mut amplitudes: Vec<Complex64>,
    setting: &Setting,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    setting.rotate(&mut amplitudes, cancel)?;
    let mut total = 0.0;
    let cumulative: Vec<f64> = (amplitudes.iter())
        .map(|amplitude| {
            total += amplitude.norm_sqr();
            total
        })
        .collect();
    let mut outcomes = room("the outcomes", shots, 1)?;
    for block in 0..shots.div_ceil(4) {
        for bits in philox([seed, STREAM], [block as u64, 0, 0, 0]) {
            let at = cumulative.partition_point(|c| *c <= unit_interval(bits) * total);
            let index = at.min(cumulative.len() - 1) as u64;
            outcomes.push(index.reverse_bits() >> (64 - setting.n_qubits()));
        }
        if block % 4096 == 0 {
            cancel.check()?;
        }
    }
    outcomes.truncate(shots);
    Ok(outcomes)
}

/// [`measure`] of the state that an experiment prepares.
pub fn measure_experiment(
    experiment: &Experiment,
    theta: &[f64],
    input: &ProductState,
    shots: usize,
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    if shots == 0 {
        return Err(Error::invalid("shots", "at least 1", "0"));
    }
    let state = simulate(&experiment.circuit(), theta, input, cancel)?;
    measure(state, experiment.setting(), shots, seed, cancel)
}

/// [`measure_experiment`] of many, each with its shots and its seed. A circuit that several of them share is simulated
/// once.
pub fn measure_experiments(
    runs: &[(&Experiment, usize, u64)],
    theta: &[f64],
    input: &ProductState,
    cancel: &Cancel,
) -> Result<Vec<Vec<u64>>> {
    if runs.iter().any(|(_, shots, _)| *shots == 0) {
        return Err(Error::invalid("shots", "at least 1", "0"));
    }
    let Some((first, ..)) = runs.first() else { return Ok(Vec::new()) };
    check_width("input", first.n_qubits(), input.n_qubits())?;
    let experiments: Vec<&Experiment> = runs.iter().map(|(experiment, ..)| *experiment).collect();
    on_states(&experiments, &product(input, cancel)?, theta, cancel, |i, state| {
        let (experiment, shots, seed) = runs[i];
        measure(state, experiment.setting(), shots, seed, cancel)
    })
}

/// Up to eight bits, each in a byte of its own, as one number: the product moves bit i of all bytes to bit 56 + i.
fn packed_byte(bits: &[u8]) -> u64 {
    let mut eight = [0; 8];
    eight[..bits.len()].copy_from_slice(bits);
    u64::from_le_bytes(eight).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// Different outcomes, ascending, and how often each came.
#[derive(Debug, Clone)]
pub struct Outcomes {
    n_qubits: usize,
    rows: Vec<u64>,
    counts: Vec<u64>,
}

impl Outcomes {
    /// From packed rows of at most 64 qubits, in any order.
    pub fn narrow(n_qubits: usize, mut shots: Vec<u64>) -> Self {
        // A pass over all patterns takes less than to sort.
        if n_qubits < 32 && 1 << n_qubits <= 8 * shots.len() {
            let mut counts = vec![0u64; 1 << n_qubits];
            shots.iter().for_each(|row| counts[*row as usize] += 1);
            let rows = (0..).zip(&counts).filter(|(_, count)| **count > 0).map(|(row, _)| row).collect();
            counts.retain(|count| *count > 0);
            return Outcomes { n_qubits, rows, counts };
        }
        shots.sort_unstable();
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for part in shots.chunk_by(|a, b| a == b) {
            rows.push(part[0]);
            counts.push(part.len() as u64);
        }
        Outcomes { n_qubits, rows, counts }
    }

    /// From bits, 0 or 1, `n_qubits` of them for each shot.
    pub fn from_bits(n_qubits: usize, bits: &[u8], cancel: &Cancel) -> Result<Self> {
        if bits.is_empty() || !bits.len().is_multiple_of(n_qubits) {
            return Err(Error::shape(
                "bits",
                format!("at least one row of {n_qubits} bits"),
                format!("{} bits", bits.len()),
            ));
        }
        if bits.iter().fold(0, |all, bit| all | bit) > 1 {
            let at = bits.iter().position(|b| *b > 1).unwrap_or_default();
            return Err(Error::invalid(
                format!("bits[{}, {}]", at / n_qubits, at % n_qubits),
                "0 or 1",
                bits[at].to_string(),
            ));
        }
        let width = limbs(n_qubits);
        let mut packed = vec![0u64; bits.len() / n_qubits * width];
        for (t, (shot, row)) in bits.chunks_exact(n_qubits).zip(packed.chunks_exact_mut(width)).enumerate() {
            for (byte, eight) in shot.chunks(8).enumerate() {
                row[byte / 8] |= packed_byte(eight) << (byte % 8 * 8);
            }
            if t % 65_536 == 0 {
                cancel.check()?;
            }
        }
        if width == 1 {
            return Ok(Outcomes::narrow(n_qubits, packed));
        }
        let mut shots: Vec<&[u64]> = packed.chunks_exact(width).collect();
        shots.sort_unstable();
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for part in shots.chunk_by(|a, b| a == b) {
            rows.extend_from_slice(part[0]);
            counts.push(part.len() as u64);
        }
        Ok(Outcomes { n_qubits, rows, counts })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Number of shots.
    pub fn shots(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        8 * (self.rows.len() + self.counts.len())
    }

    /// The different outcomes, packed row after row.
    pub(crate) fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// Each different outcome, as a packed row, with how often it came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&[u64], u64)> {
        self.rows.chunks_exact(limbs(self.n_qubits)).zip(self.counts.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_alike_whether_there_are_few_or_many() {
        let shots: Vec<u64> = (0..40).map(|i| i * i % 11).collect();
        let mut counts = std::collections::BTreeMap::new();
        shots.iter().for_each(|row| *counts.entry(*row).or_insert(0) += 1);
        for n_qubits in [4, 20] {
            let found = Outcomes::narrow(n_qubits, shots.clone());
            assert_eq!(found.rows, counts.keys().copied().collect::<Vec<_>>());
            assert_eq!(found.counts, counts.values().copied().collect::<Vec<_>>());
        }
    }
}
