//! Readouts: the bits that a state shows in a setting, and what they say of Pauli sums.
//!
//! Invariant: bits are packed as everywhere, qubit q in bit `q % 64` of word `q / 64`. Shots are a function of the seed
//! and their number, so a shorter run is the beginning of a longer one; what outcomes say is a function of how often
//! each came, whatever their order.
//! Cost: [`measure`] takes one pass over the state per gate of the setting and a binary search per shot. [`Outcomes`]
//! take a sort of the shots, and then what is cheaper: a pass over all outcomes for every term, or all parities at once
//! (`n 2^n` additions) and the pairs of terms of each sum.

use super::experiment::{Moment, hadamard};
use super::setting::{Reading, Setting};
use crate::bits::parallel::Cancel;
use crate::bits::philox::{philox, unit_interval};
use crate::bits::{room, words_for};
use crate::error::{Error, Result};
use crate::pauli::Sums;
use num_complex::Complex64;

/// Stream of the key, so that runs share no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"measured");
/// Widest readout of which all parities are computed at once.
const MAX_PARITIES: usize = 14;

/// The outcomes of shots of a state vector in a setting, one after the other, qubit q in bit q.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, design::{Setting, measure}};
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

/// Different outcomes, ascending, and how often each came.
#[derive(Debug, Clone)]
pub(crate) struct Outcomes {
    n_qubits: usize,
    rows: Vec<u64>,
    counts: Vec<u64>,
}

impl Outcomes {
    /// From packed rows of at most 64 qubits, in any order.
    pub(crate) fn narrow(n_qubits: usize, mut shots: Vec<u64>) -> Self {
        shots.sort_unstable();
        let (mut rows, mut counts) = (Vec::new(), Vec::new());
        for part in shots.chunk_by(|a, b| a == b) {
            rows.push(part[0]);
            counts.push(part.len() as u64);
        }
        Outcomes { n_qubits, rows, counts }
    }

    /// From bits, 0 or 1, `n_qubits` of them for each shot.
    pub(crate) fn from_bits(n_qubits: usize, bits: &[u8], cancel: &Cancel) -> Result<Self> {
        if bits.is_empty() || !bits.len().is_multiple_of(n_qubits) {
            return Err(Error::shape(
                "bits",
                format!("at least one row of {n_qubits} bits"),
                format!("{} bits", bits.len()),
            ));
        }
        if let Some(at) = bits.iter().position(|b| *b > 1) {
            return Err(Error::invalid(
                format!("bits[{}, {}]", at / n_qubits, at % n_qubits),
                "0 or 1",
                bits[at].to_string(),
            ));
        }
        let width = words_for(n_qubits);
        let mut packed = vec![0u64; bits.len() / n_qubits * width];
        for (t, (shot, row)) in bits.chunks_exact(n_qubits).zip(packed.chunks_exact_mut(width)).enumerate() {
            shot.iter().enumerate().for_each(|(q, bit)| row[q / 64] |= u64::from(*bit) << (q % 64));
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

    /// Mean and variance of one more shot for every row: the sample's, with the spread that there is on the maximally
    /// mixed state for one imagined shot, so that a few shots that happen to agree do not claim certainty.
    pub(crate) fn moments(
        &self,
        rows: &[usize],
        sums: &Sums,
        masks: &[Reading],
        cancel: &Cancel,
    ) -> Result<Vec<Moment>> {
        let shots = self.counts.iter().sum::<u64>() as f64;
        let passes = self.counts.len() * sums.entries();
        let parities =
            (self.n_qubits <= MAX_PARITIES && self.n_qubits << self.n_qubits < 2 * passes).then(|| {
                let mut counts = vec![0.0; 1 << self.n_qubits];
                self.rows
                    .iter()
                    .zip(&self.counts)
                    .for_each(|(&row, &count)| counts[row as usize] = count as f64);
                hadamard(&mut counts);
                counts
            });
        let moment = |(j, &row): (usize, &usize)| {
            cancel.check()?;
            let (columns, coefficients) = sums.row(j);
            let pairs = columns.len() / 2 <= 4 * self.counts.len();
            let (first, second) = match &parities {
                Some(parities) if pairs => by_parities(parities, columns, coefficients, masks),
                _ => self.by_outcomes(columns, coefficients, masks),
            };
            let mean = first / shots;
            let mixed: f64 = coefficients.iter().map(|c| c * c).sum();
            Ok(Moment { row, mean, variance: ((second - shots * mean * mean).max(0.0) + mixed) / shots })
        };
        rows.iter().enumerate().map(moment).collect()
    }

    /// The sums over all shots of a reading and of its square.
    fn by_outcomes(&self, columns: &[u32], coefficients: &[f64], masks: &[Reading]) -> (f64, f64) {
        let (mut first, mut second) = (0.0, 0.0);
        for (outcome, &count) in self.rows.chunks_exact(words_for(self.n_qubits)).zip(&self.counts) {
            let value = |(&column, c): (&u32, &f64)| {
                let reading = &masks[column as usize];
                let odd =
                    reading.mask.iter().zip(outcome).fold(0, |odd, (m, o)| odd ^ (m & o)).count_ones() % 2;
                if (odd == 1) ^ reading.negative { -c } else { *c }
            };
            let value: f64 = columns.iter().zip(coefficients).map(value).sum();
            first += count as f64 * value;
            second += count as f64 * value * value;
        }
        (first, second)
    }
}

/// The same from the sums of all parities: the square of a parity is one, and a product of two is that of the
/// difference of their masks.
fn by_parities(parities: &[f64], columns: &[u32], coefficients: &[f64], masks: &[Reading]) -> (f64, f64) {
    let terms: Vec<(usize, f64)> = (columns.iter().zip(coefficients))
        .map(|(&column, &c)| {
            let reading = &masks[column as usize];
            (reading.mask[0] as usize, if reading.negative { -c } else { c })
        })
        .collect();
    let first = terms.iter().map(|(mask, c)| c * parities[*mask]).sum();
    let square = |(i, (a, c)): (usize, &(usize, f64))| {
        let cross: f64 = terms[..i].iter().map(|(b, d)| d * parities[a ^ b]).sum();
        c * (c * parities[0] + 2.0 * cross)
    };
    (first, terms.iter().enumerate().map(square).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::experiment::Readings;
    use crate::pauli::PauliWord;

    #[test]
    fn parities_say_what_outcomes_say() {
        let cancel = Cancel::new();
        let setting = Setting::product("XYZZX").unwrap();
        let words = ["XIIII", "XYIII", "IIZZI", "XYZZX", "IIIIX"];
        let entries: Vec<_> = (words.iter().enumerate())
            .flat_map(|(j, word)| {
                let word = PauliWord::from_label(word).unwrap();
                [(3, word.clone(), 0.3 + j as f64), (7 + j % 2, word, -1.5)]
            })
            .collect();
        let readings = Readings::new(5, &entries).unwrap();
        let sums = readings.sums();
        let masks: Vec<_> = sums.words().iter().map(|w| setting.reveal(w).unwrap().unwrap()).collect();
        let amplitudes: Vec<_> =
            (0..32).map(|i| Complex64::new((i as f64).sin(), (0.3 * i as f64).cos())).collect();
        let shots = measure(amplitudes, &setting, 500, 3, &cancel).unwrap();
        let bits: Vec<u8> = shots.iter().flat_map(|s| (0..5).map(move |q| (s >> q & 1) as u8)).collect();
        let outcomes = Outcomes::from_bits(5, &bits, &cancel).unwrap();
        assert!(outcomes.counts.iter().sum::<u64>() == 500 && outcomes.counts.len() > 16);
        let mut counts = vec![0.0; 32];
        shots.iter().for_each(|s| counts[*s as usize] += 1.0);
        hadamard(&mut counts);
        for j in 0..sums.len() {
            let (columns, coefficients) = sums.row(j);
            let fast = by_parities(&counts, columns, coefficients, &masks);
            let slow = outcomes.by_outcomes(columns, coefficients, &masks);
            assert!((fast.0 - slow.0).abs() < 1e-9 && (fast.1 - slow.1).abs() < 1e-9, "{fast:?} {slow:?}");
        }
    }
}
