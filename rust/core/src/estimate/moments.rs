//! What the outcomes of experiments say of a gradient.
//!
//! Every experiment is a stratum of each row that it reads, and those that were drawn from a longer list are one together;
//! see [`super::strata`] for variances.
//!
//! Invariant: a function of how often each outcome came, whatever the order of the shots.
//! Cost: what is cheaper, a pass over all outcomes for every term, or all parities at once (`n 2^n` additions) and the
//! pairs of terms of each sum.

use super::strata::Strata;
use crate::bits::hadamard;
use crate::bits::parallel::{self, Cancel};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Moment};
use crate::snapshots::Outcomes;
use crate::stabiliser::Parity;
use std::sync::Arc;

/// Widest readout of which all parities are computed at once.
const MAX_PARITIES: usize = 14;

/// An experiment and what came of it.
pub type Run<'a> = (&'a Experiment, &'a Outcomes);

/// The value of every row of a gradient, and its variance, from all experiments that read it.
pub fn read_all(runs: &[Run<'_>], n_rows: usize, cancel: &Cancel) -> Result<(Vec<f64>, Vec<f64>)> {
    let found = parallel::map(runs.len(), cancel, |i| sums_over_shots(runs[i].0, runs[i].1, cancel))?;
    let mut gathered = Gathered::new(n_rows);
    gathered.add_all(runs, &found, |row| vec![(row, 1.0)]);
    Ok((gathered.values, gathered.strata.iter().map(Strata::variance).collect()))
}

/// The variance of linear combinations of the rows of a gradient, covariances included: combination c is the sum of the
/// rows times `weights[c]`.
pub fn read_combined(runs: &[Run<'_>], weights: &[Vec<f64>], cancel: &Cancel) -> Result<Vec<f64>> {
    let found = parallel::map(runs.len(), cancel, |i| {
        let (experiment, outcomes) = runs[i];
        let own = |weights: &Vec<f64>| -> Option<Vec<f64>> {
            experiment.readings().rows().iter().map(|&row| weights.get(row).copied()).collect()
        };
        let own: Option<Vec<Vec<f64>>> = weights.iter().map(own).collect();
        let own =
            own.ok_or_else(|| Error::shape("weights", "a number for every row of the gradient", "fewer"))?;
        sums_over_shots(&experiment.combined(&own)?, outcomes, cancel)
    })?;
    let mut gathered = Gathered::new(weights.len());
    let square = |row: usize, weights: &[f64]| weights.get(row).map_or(0.0, |w| w * w);
    gathered.add_all(runs, &found, |row| {
        weights.iter().enumerate().map(|(c, weights)| (c, square(row, weights))).collect()
    });
    Ok(gathered.strata.iter().map(Strata::variance).collect())
}

/// Values and their strata, experiment by experiment.
struct Gathered {
    values: Vec<f64>,
    strata: Vec<Strata>,
}

impl Gathered {
    fn new(n_values: usize) -> Self {
        Gathered { values: vec![0.0; n_values], strata: vec![Strata::default(); n_values] }
    }

    /// Adds what all experiments say; `parts` are the values that a row of the gradient enters, with the square of its
    /// weight there.
    fn add_all(
        &mut self,
        runs: &[Run<'_>],
        found: &[Vec<RowSums>],
        parts: impl Fn(usize) -> Vec<(usize, f64)>,
    ) {
        let step = |i: &usize| runs[*i].0.draw().map(|draw| Arc::as_ptr(&draw.of));
        let order: Vec<usize> = (0..runs.len()).collect();
        for same in order.chunk_by(|i, j| step(i) == step(j)) {
            let shots = |i: usize| runs[i].1.shots() as f64;
            for &i in same {
                let shots = shots(i);
                found[i].iter().for_each(|row| self.values[row.row] += row.first / shots);
            }
            let Some(first) = runs[same[0]].0.draw() else {
                for &i in same {
                    let shots = shots(i);
                    found[i].iter().for_each(|row| row.add_to(&mut self.strata[row.row], shots));
                }
                continue;
            };
            let mut drawn = vec![DrawnSums::default(); self.values.len()];
            for &i in same {
                let (place, shots) = (runs[i].0.draw().map_or(0, |draw| draw.place), shots(i));
                found[i].iter().for_each(|row| drawn[row.row].add(place, row, shots));
            }
            let count = first.of.count as f64;
            for (strata, sums) in self.strata.iter_mut().zip(drawn).filter(|(_, sums)| sums.shots > 0.0) {
                let (first, second) = (sums.first, sums.second + sums.now * sums.now);
                strata.add_draws(count, first, second, sums.shots, sums.mixed);
            }
            for (row, second) in first.of.second.iter().enumerate().filter(|(_, second)| **second > 0.0) {
                for (value, part) in parts(row) {
                    self.strata[value].add_unseen(part * second / (count * count));
                }
            }
        }
    }
}

/// What the draws of a step contribute to one value.
#[derive(Debug, Clone, Copy, Default)]
struct DrawnSums {
    first: f64,
    /// Squares of the contributions of the draws that are complete.
    second: f64,
    /// The contribution of the present draw.
    now: f64,
    place: usize,
    shots: f64,
    mixed: f64,
}

impl DrawnSums {
    fn add(&mut self, place: usize, row: &RowSums, shots: f64) {
        if place != self.place {
            self.second += self.now * self.now;
            (self.now, self.place) = (0.0, place);
        }
        self.now += row.first / shots;
        self.first += row.first / shots;
        self.mixed += row.mixed / shots;
        self.shots += shots;
    }
}

/// Mean and variance of one shot for every reading of an experiment.
pub fn read(experiment: &Experiment, outcomes: &Outcomes, cancel: &Cancel) -> Result<Vec<Moment>> {
    let shots = outcomes.shots() as f64;
    let moment = |row: RowSums| {
        let mut strata = Strata::default();
        row.add_to(&mut strata, shots);
        Moment { row: row.row, mean: row.first / shots, variance: shots * strata.variance() }
    };
    Ok(sums_over_shots(experiment, outcomes, cancel)?.into_iter().map(moment).collect())
}

/// The sums over all shots of a reading and of its square, and the variance of one shot on the maximally mixed state.
pub(super) struct RowSums {
    pub(super) row: usize,
    pub(super) first: f64,
    pub(super) second: f64,
    pub(super) mixed: f64,
}

impl RowSums {
    /// Adds the mean of the reading, over this many shots, as a stratum.
    fn add_to(&self, strata: &mut Strata, shots: f64) {
        let mixed = self.mixed / shots;
        if shots > 1.0 {
            strata.add(shots, self.first / shots, self.second / (shots * shots), 0.0, mixed);
        } else {
            // Nothing else says what it deviates from.
            strata.add_lone(mixed.sqrt(), mixed);
        }
    }
}

fn sums_over_shots(experiment: &Experiment, outcomes: &Outcomes, cancel: &Cancel) -> Result<Vec<RowSums>> {
    let weights: Vec<f64> = outcomes.iter().map(|(_, count)| count as f64).collect();
    sums_over(experiment, &Weighed { rows: outcomes.rows(), weights: &weights }, cancel)
}

/// Different outcomes, each a packed row, and what they weigh.
pub(super) struct Weighed<'a> {
    pub(super) rows: &'a [u64],
    pub(super) weights: &'a [f64],
}

impl Weighed<'_> {
    fn iter(&self) -> impl Iterator<Item = (&[u64], f64)> {
        let width = self.rows.len() / self.weights.len().max(1);
        self.rows.chunks_exact(width.max(1)).zip(self.weights.iter().copied())
    }
}

/// The sums over all outcomes, as they are weighed.
pub(super) fn sums_over(
    experiment: &Experiment,
    outcomes: &Weighed<'_>,
    cancel: &Cancel,
) -> Result<Vec<RowSums>> {
    let (sums, masks) = (experiment.readings().sums(), experiment.masks());
    let (n, different) = (experiment.n_qubits(), outcomes.weights.len());
    let passes = different * sums.entries();
    let parities = (n <= MAX_PARITIES && n << n < 2 * passes).then(|| all_parities(n, outcomes));
    let mut terms = Vec::new();
    let moment = |(j, &row): (usize, &usize)| {
        cancel.check()?;
        let (columns, coefficients) = sums.row(j);
        let pairs = columns.len() / 2 <= 4 * different;
        let (first, second) = match &parities {
            Some(parities) if pairs => {
                terms.clear();
                terms.extend(signed(columns, coefficients, masks));
                by_parities(parities, &terms)
            }
            _ => by_outcomes(outcomes, columns, coefficients, masks),
        };
        Ok(RowSums { row, first, second, mixed: coefficients.iter().map(|c| c * c).sum() })
    };
    experiment.readings().rows().iter().enumerate().map(moment).collect()
}

/// The sums over all shots of every parity.
fn all_parities(n_qubits: usize, outcomes: &Weighed<'_>) -> Vec<f64> {
    let mut counts = vec![0.0; 1 << n_qubits];
    outcomes.iter().for_each(|(row, weight)| counts[row[0] as usize] = weight);
    hadamard(&mut counts);
    counts
}

/// The sums over all shots of a reading and of its square.
fn by_outcomes(
    outcomes: &Weighed<'_>,
    columns: &[u32],
    coefficients: &[f64],
    masks: &[Parity],
) -> (f64, f64) {
    let (mut first, mut second) = (0.0, 0.0);
    for (outcome, weight) in outcomes.iter() {
        let value = |(&column, c): (&u32, &f64)| {
            let parity = &masks[column as usize];
            let odd = parity.mask.iter().zip(outcome).fold(0, |odd, (m, o)| odd ^ (m & o)).count_ones() % 2;
            if (odd == 1) ^ parity.negative { -c } else { *c }
        };
        let value: f64 = columns.iter().zip(coefficients).map(value).sum();
        first += weight * value;
        second += weight * value * value;
    }
    (first, second)
}

/// The masks of the terms of a reading, with signed coefficients.
fn signed<'a>(
    columns: &'a [u32],
    coefficients: &'a [f64],
    masks: &'a [Parity],
) -> impl Iterator<Item = (usize, f64)> + 'a {
    columns.iter().zip(coefficients).map(|(&column, &c)| {
        let parity = &masks[column as usize];
        (parity.mask[0] as usize, if parity.negative { -c } else { c })
    })
}

/// [`by_outcomes`] from the sums of all parities, for signed terms by their masks: the square of a parity is one, and a
/// product of two is that of the difference of their masks.
fn by_parities(parities: &[f64], terms: &[(usize, f64)]) -> (f64, f64) {
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
    use crate::experiment::Readings;
    use crate::pauli::PauliWord;
    use crate::snapshots::measure;
    use crate::stabiliser::Setting;
    use num_complex::Complex64;

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
        assert!(outcomes.shots() == 500 && outcomes.rows().len() > 16);
        let weights: Vec<f64> = outcomes.iter().map(|(_, count)| count as f64).collect();
        let outcomes = Weighed { rows: outcomes.rows(), weights: &weights };
        let counts = all_parities(5, &outcomes);
        for j in 0..sums.len() {
            let (columns, coefficients) = sums.row(j);
            let terms: Vec<_> = signed(columns, coefficients, &masks).collect();
            let fast = by_parities(&counts, &terms);
            let slow = by_outcomes(&outcomes, columns, coefficients, &masks);
            assert!((fast.0 - slow.0).abs() < 1e-9 && (fast.1 - slow.1).abs() < 1e-9, "{fast:?} {slow:?}");
        }
    }
}
