//! The contrast of a readout: what is left of a parity on its way through a readout that errs.
//!
//! A readout that is *twirled* (every shot flips random qubits before it and undoes that in its bits) multiplies the mean of
//! every parity by one number, its contrast. On the state |0...0> the mean of the parity is the contrast itself. What is
//! kept of such shots is how often each pattern came, so that every mask has its contrast, correlated qubits and all, and
//! every combination of masks its error.
//!
//! A shot may have seen some qubits only, as one in random letters does, where those in Z are seen.
//!
//! Invariant: the error of a value that is divided by contrasts is linear in theirs, so its variance is that of one
//! reading of the calibrating shots: covariances between masks are counted. One imagined shot is added that disagrees
//! in all: shots that all agree claim no certainty.
//! Cost: a pass over the different patterns for every mask.

use super::moments::Run;
use crate::bits::limbs;
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::philox;
use crate::circuit::Circuit;
use crate::ensemble::Response;
use crate::error::{Error, Result};
use crate::experiment::Experiment;
use crate::gates::Direction;
use crate::heisenberg::{Truncation, propagate};
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, Words};
use crate::snapshots::Outcomes;
use std::collections::BTreeMap;

/// How many of its standard errors a contrast has to be above zero.
const SIGNIFICANT: f64 = 4.0;
/// In how many directions sums over shots, which are not kept, tell how wrong a calibration may be.
pub const DIRECTIONS: usize = 8;
/// Those of them that many patterns share.
const SHARED: usize = 3;

/// What the shots of a readout of |0...0> say of its contrasts.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    n_qubits: usize,
    /// For each different pattern the bits, and which of them were seen.
    rows: Vec<u64>,
    counts: Vec<u64>,
    shots: u64,
}

/// The contrast of a mask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    /// The mean of the parity of |0...0>.
    pub value: f64,
    /// Its standard error.
    pub stderr: f64,
    /// How many shots saw all qubits of the mask.
    pub seen: u64,
}

impl Calibration {
    /// From bits, 0 or 1, `n_qubits` of them for each shot, flips undone; and, unless all were, which were seen.
    ///
    /// ```
    /// use efl_core::estimate::Calibration;
    /// let found = Calibration::new(2, &[0, 0, 0, 0, 1, 0, 0, 0], None)?;
    /// assert_eq!(found.contrast(&[0b01])?.value, 0.5);
    /// assert_eq!(found.contrast(&[0b10])?.value, 1.0);
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn new(n_qubits: usize, bits: &[u8], seen: Option<&[u8]>) -> Result<Self> {
        let shots = bits.len() / n_qubits.max(1);
        if shots == 0 || bits.len() != shots * n_qubits || seen.is_some_and(|seen| seen.len() != bits.len()) {
            let expected = format!("at least one row of {n_qubits} bits, and as many that say what was seen");
            return Err(Error::shape("bits", expected, format!("{} bits", bits.len())));
        }
        for (name, table) in [("bits", Some(bits)), ("seen", seen)] {
            if let Some(at) = table.and_then(|table| table.iter().position(|b| *b > 1)) {
                let place = format!("{name}[{}, {}]", at / n_qubits, at % n_qubits);
                return Err(Error::invalid(place, "0 or 1", "another number"));
            }
        }
        let width = limbs(n_qubits);
        let mut found: BTreeMap<Vec<u64>, u64> = BTreeMap::new();
        for t in 0..shots {
            let mut row = vec![0u64; 2 * width];
            for q in 0..n_qubits {
                let saw = seen.is_none_or(|seen| seen[t * n_qubits + q] == 1);
                row[q / 64] |= u64::from(saw && bits[t * n_qubits + q] == 1) << (q % 64);
                row[width + q / 64] |= u64::from(saw) << (q % 64);
            }
            *found.entry(row).or_default() += 1;
        }
        let counts = found.values().copied().collect();
        let rows = found.into_keys().flatten().collect();
        Ok(Calibration { n_qubits, rows, counts, shots: shots as u64 })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Number of shots.
    pub fn shots(&self) -> u64 {
        self.shots
    }

    /// The different patterns, each as packed rows of bits and of what was seen, with how often it came.
    pub fn patterns(&self) -> impl Iterator<Item = (&[u64], &[u64], u64)> {
        let width = limbs(self.n_qubits);
        let rows = self.rows.chunks_exact(2 * width).zip(&self.counts);
        rows.map(move |(row, count)| (&row[..width], &row[width..], *count))
    }

    /// The parity of a mask in a pattern; none where not all of it was seen.
    fn parity(mask: &[u64], bits: &[u64], seen: &[u64]) -> Option<f64> {
        if mask.iter().zip(seen).any(|(m, s)| m & !s != 0) {
            return None;
        }
        let odd = mask.iter().zip(bits).fold(0, |odd, (m, b)| odd ^ (m & b)).count_ones() % 2;
        Some(if odd == 1 { -1.0 } else { 1.0 })
    }

    /// The contrast of a mask, a packed row. The empty mask has the contrast one.
    pub fn contrast(&self, mask: &[u64]) -> Result<Contrast> {
        if mask.len() != limbs(self.n_qubits) {
            let expected = format!("a mask of {} qubits", self.n_qubits);
            return Err(Error::shape("mask", expected, format!("{} limbs", mask.len())));
        }
        if mask.iter().all(|limb| *limb == 0) {
            return Ok(Contrast { value: 1.0, stderr: 0.0, seen: self.shots });
        }
        let (mut hits, mut signs) = (0u64, 0.0);
        for (bits, seen, count) in self.patterns() {
            if let Some(parity) = Calibration::parity(mask, bits, seen) {
                hits += count;
                signs += parity * count as f64;
            }
        }
        if hits == 0 {
            return Ok(Contrast { value: 0.0, stderr: 1.0, seen: 0 });
        }
        let (n, shrunk) = (hits as f64, signs / (hits as f64 + 2.0));
        Ok(Contrast { value: signs / n, stderr: ((1.0 - shrunk * shrunk) / n).sqrt(), seen: hits })
    }

    /// The contrast of a mask that is to be divided by: an error where it is not clearly above zero.
    pub(super) fn divisor(&self, mask: &[u64]) -> Result<f64> {
        self.contrast(mask).and_then(|found| self.significant(mask, found))
    }

    /// The value of the contrast of a mask, if it is clearly above zero.
    fn significant(&self, mask: &[u64], found: Contrast) -> Result<f64> {
        if found.value > SIGNIFICANT * found.stderr {
            return Ok(found.value);
        }
        let qubits: Vec<String> =
            (0..self.n_qubits).filter(|q| mask[q / 64] >> (q % 64) & 1 == 1).map(|q| q.to_string()).collect();
        // As many as would tell a contrast of this size, or the largest that may be there, from zero.
        let size = found.value.max(found.stderr);
        let part = found.seen.max(1) as f64 / self.shots as f64;
        let needed = (SIGNIFICANT / size).powi(2) / part;
        Err(Error::invalid(
            "calibration",
            format!(
                "contrasts that are {SIGNIFICANT} standard errors above zero (about {} shots would do if the contrast \
                 is what it seems)",
                needed.ceil()
            ),
            format!(
                "{:.3} +- {:.3} for the parity of qubits {} from {} shots",
                found.value,
                found.stderr,
                qubits.join(", "),
                self.shots
            ),
        ))
    }

    /// In which ways it may be wrong.
    pub fn directions(&self) -> Directions<'_> {
        Directions::new(self)
    }

    /// The variance of a value because of the contrasts that it was divided by, given for each mask what was divided by
    /// its contrast, over that contrast.
    pub(super) fn variance(&self, loads: &Loads) -> Result<f64> {
        let mut terms = Vec::with_capacity(loads.0.len());
        let mut largest = 0.0;
        for (mask, load) in loads.0.iter().filter(|(_, load)| **load != 0.0) {
            let found = self.contrast(mask)?;
            if found.stderr > 0.0 && found.seen > 0 {
                let each = load / found.seen as f64;
                largest += 2.0 * each.abs();
                terms.push((mask, each, found.value));
            }
        }
        let square = |(bits, seen, count): (&[u64], &[u64], u64)| {
            let own = |&(mask, each, mean): &(&Vec<u64>, f64, f64)| {
                Calibration::parity(mask, bits, seen).map_or(0.0, |parity| each * (parity - mean))
            };
            count as f64 * terms.iter().map(own).sum::<f64>().powi(2)
        };
        Ok(self.patterns().map(square).sum::<f64>() + largest * largest)
    }
}

/// In which ways a calibration may be wrong: a few numbers for each mask, of which any number of readings make sums.
///
/// A value that is divided by contrasts errs by a sum over calibrating shots, and its variance is the sum of the squares
/// of what each different pattern of bits adds. The patterns that came most often are a direction each; the others share
/// three, with random signs, so that their squares add up on average.
///
/// Invariant: a direction is a function of the shots alone, so that what is added up of several masks, settings and
/// versions belongs together. Of two calibrations the signs differ at random, for their errors are independent.
/// Cost: a pass over the different patterns for every different mask.
#[derive(Debug, Clone)]
pub struct Directions<'c> {
    calibration: &'c Calibration,
    /// For each pattern, then for each qubit, its direction and sign.
    places: Vec<(usize, f64)>,
    /// Masks that were asked for: settings have many in common.
    known: BTreeMap<Vec<u64>, (f64, [f64; DIRECTIONS])>,
}

impl<'c> Directions<'c> {
    fn new(calibration: &'c Calibration) -> Self {
        let patterns = calibration.counts.len();
        let mut order: Vec<usize> = (0..patterns).collect();
        order.sort_by_key(|&p| std::cmp::Reverse(calibration.counts[p]));
        // Qubits last: an imagined shot in which one of them alone was read wrongly, so that none is certain.
        order.extend(patterns..patterns + calibration.n_qubits);
        let mut places = vec![(0, 0.0); order.len()];
        let own = DIRECTIONS - SHARED;
        for (i, &p) in order.iter().enumerate() {
            let direction = if i < own { i } else { own + (i - own) % SHARED };
            let count = calibration.counts.get(p).copied().unwrap_or(0);
            let random = philox([calibration.shots, count], [i as u64, 0, 0, 0])[0];
            places[p] = (direction, if random & 1 == 1 { -1.0 } else { 1.0 });
        }
        Directions { calibration, places, known: BTreeMap::new() }
    }

    /// What the readings of a mask are divided by, and by which part of itself that is wrong in each direction.
    pub fn of(&mut self, mask: &[u64]) -> Result<(f64, [f64; DIRECTIONS])> {
        if let Some(found) = self.known.get(mask) {
            return Ok(*found);
        }
        let found = self.found(mask)?;
        self.known.insert(mask.to_vec(), found);
        Ok(found)
    }

    fn found(&self, mask: &[u64]) -> Result<(f64, [f64; DIRECTIONS])> {
        let contrast = self.calibration.contrast(mask)?;
        let divisor = self.calibration.significant(mask, contrast)?;
        let mut found = [0.0; DIRECTIONS];
        if contrast.stderr == 0.0 {
            return Ok((divisor, found)); // that of no qubits, which is known
        }
        let each = 1.0 / (contrast.seen as f64 * divisor);
        let (patterns, qubits) = self.places.split_at(self.calibration.counts.len());
        for ((bits, seen, count), &(direction, sign)) in self.calibration.patterns().zip(patterns) {
            if let Some(parity) = Calibration::parity(mask, bits, seen) {
                found[direction] += sign * (count as f64).sqrt() * (parity - divisor) * each;
            }
        }
        for (q, &(direction, sign)) in qubits.iter().enumerate() {
            let parity = if mask[q / 64] >> (q % 64) & 1 == 1 { -1.0 } else { 1.0 };
            found[direction] += sign * (parity - divisor) * each;
        }
        Ok((divisor, found))
    }
}

/// By mask, the derivative of a value by the contrast of the mask, but for its sign.
#[derive(Debug, Clone, Default)]
pub(super) struct Loads(BTreeMap<Vec<u64>, f64>);

impl Loads {
    pub(super) fn add(&mut self, mask: &[u64], load: f64) {
        match self.0.get_mut(mask) {
            Some(sum) => *sum += load,
            None => {
                self.0.insert(mask.to_vec(), load);
            }
        }
    }
}

/// The masks that words are read by, each with its part of the shots that reveal the word, and their contrasts.
pub(super) struct Contrasts {
    /// For each word (place of the mask, part).
    masks_of: Vec<Vec<(usize, f64)>>,
    masks: Vec<Vec<u64>>,
    values: Vec<f64>,
}

impl Contrasts {
    /// The contrasts of the masks of some words, `parts` telling for each word its masks and their parts.
    pub(super) fn new(calibration: &Calibration, parts: Vec<Vec<(Vec<u64>, f64)>>) -> Result<Self> {
        let mut places: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
        let mut masks = Vec::new();
        let masks_of = parts.into_iter().map(|own| {
            let total: f64 = own.iter().map(|(_, part)| part).sum();
            let place = |(mask, part): (Vec<u64>, f64)| {
                let at = *places.entry(mask).or_insert_with_key(|mask| {
                    masks.push(mask.clone());
                    masks.len() - 1
                });
                (at, part / total)
            };
            own.into_iter().map(place).collect()
        });
        let masks_of = masks_of.collect();
        let values = masks.iter().map(|mask| calibration.divisor(mask)).collect::<Result<_>>()?;
        Ok(Contrasts { masks_of, masks, values })
    }

    /// The contrast of a word: the mean over the settings that reveal it.
    fn of_word(&self, column: usize) -> f64 {
        self.masks_of[column].iter().map(|&(mask, part)| part * self.values[mask]).sum()
    }

    /// The responses of the words with their contrasts.
    pub(super) fn apply(&self, responses: &mut [Response]) {
        for (column, response) in responses.iter_mut().enumerate() {
            if !self.masks_of[column].is_empty() {
                *response = response.with_contrast(self.of_word(column));
            }
        }
    }

    /// Adds what a word adds to a value.
    pub(super) fn load(&self, column: usize, added: f64, loads: &mut Loads) {
        for &(mask, part) in &self.masks_of[column] {
            loads.add(&self.masks[mask], added * part / self.of_word(column));
        }
    }
}

/// The same experiment, its readings divided by the contrasts of the readout and of the gates of its setting. Those of
/// the gates are told by a circuit: the gates and what the device does between them.
pub fn calibrated(
    experiment: &Experiment,
    calibration: Option<&Calibration>,
    setting: Option<&Circuit>,
    cancel: &Cancel,
) -> Result<Experiment> {
    let n = experiment.n_qubits();
    if let Some(calibration) = calibration {
        check_width("calibration", n, calibration.n_qubits())?;
    }
    let words = experiment.readings().sums().words();
    let mut contrasts = vec![1.0; words.len()];
    for (column, (word, parity)) in words.iter().zip(experiment.masks()).enumerate() {
        cancel.check()?;
        if let Some(calibration) = calibration {
            contrasts[column] *= calibration.divisor(&parity.mask)?;
        }
        if let Some(setting) = setting {
            let none = vec![0; parity.mask.len()];
            let mut read = Words::new(n);
            read.push_rows(&none, &parity.mask);
            let read = PauliSum::from_sorted(read, vec![if parity.negative { -1.0 } else { 1.0 }])?;
            let exact = Truncation::EXACT;
            let theta = vec![0.0; setting.n_values()];
            let moved = propagate(setting, &theta, &read, Direction::Heisenberg, &exact, cancel)?.sum;
            let left = moved.iter().find(|(other, _)| *other == word).map_or(0.0, |(_, c)| c);
            if left <= 1e-6 {
                return Err(Error::invalid(
                    "noise",
                    "some contrast left after the gates of every setting",
                    format!("{left:.1e} for {word}"),
                ));
            }
            contrasts[column] *= left;
        }
    }
    experiment.contrasted(&contrasts)
}

/// The variance of linear combinations of the rows of a gradient because of the contrasts that the readings of the
/// experiments, which are calibrated, were divided by.
pub fn calibration_variances(
    runs: &[Run<'_>],
    calibration: &Calibration,
    weights: &[Vec<f64>],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let mut loads = vec![Loads::default(); weights.len()];
    for (experiment, outcomes) in runs {
        let sums = experiment.readings().sums();
        let means = mean_parities(experiment, outcomes);
        let mut over = Vec::with_capacity(means.len());
        for parity in experiment.masks() {
            cancel.check()?;
            over.push(calibration.divisor(&parity.mask)?);
        }
        for (j, &row) in experiment.readings().rows().iter().enumerate() {
            let (columns, coefficients) = sums.row(j);
            for (loads, weights) in loads.iter_mut().zip(weights) {
                let weight = weights.get(row).copied().ok_or_else(|| {
                    Error::shape("weights", "a number for every row of the gradient", "fewer")
                })?;
                if weight == 0.0 {
                    continue;
                }
                for (&column, c) in columns.iter().zip(coefficients) {
                    let column = column as usize;
                    let mask = &experiment.masks()[column].mask;
                    loads.add(mask, weight * c * means[column] / over[column]);
                }
            }
        }
    }
    parallel::map(loads.len(), cancel, |c| calibration.variance(&loads[c]))
}

/// The mean of every word of the readings, signs included.
fn mean_parities(experiment: &Experiment, outcomes: &Outcomes) -> Vec<f64> {
    let shots = outcomes.shots() as f64;
    let mean = |parity: &crate::stabiliser::Parity| {
        let sign = |(row, count): (&[u64], u64)| {
            let odd = parity.mask.iter().zip(row).fold(0, |odd, (m, o)| odd ^ (m & o)).count_ones() % 2;
            if (odd == 1) ^ parity.negative { -(count as f64) } else { count as f64 }
        };
        outcomes.iter().map(sign).sum::<f64>() / shots
    };
    experiment.masks().iter().map(mean).collect()
}

/// For every word the masks that it is read by, each with its part of the shots.
pub(super) type Masks = Vec<Vec<(Vec<u64>, f64)>>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::philox::unit_interval;

    #[test]
    fn what_was_not_seen_does_not_count() {
        // Two qubits, one shot each that saw both, the first, the second.
        let bits = [1, 0, 1, 0, 0, 0];
        let seen = [1, 1, 1, 0, 0, 1];
        let found = Calibration::new(2, &bits, Some(&seen)).unwrap();
        let contrast = |mask| found.contrast(&[mask]).unwrap();
        assert_eq!((contrast(0b01).value, contrast(0b01).seen), (-1.0, 2));
        assert_eq!((contrast(0b10).value, contrast(0b10).seen), (1.0, 2));
        assert_eq!((contrast(0b11).value, contrast(0b11).seen), (-1.0, 1));
    }

    #[test]
    fn the_variance_of_a_product_of_masks_counts_their_covariance() {
        // 100 shots of which 10 flip both qubits: the two contrasts err together, and their difference does not.
        let bits: Vec<u8> = (0..100).flat_map(|t| [u8::from(t < 10); 2]).collect();
        let found = Calibration::new(2, &bits, None).unwrap();
        let load = |a: f64, b: f64| {
            let mut loads = Loads::default();
            loads.add(&[0b01], a);
            loads.add(&[0b10], b);
            found.variance(&loads).unwrap()
        };
        let imagined = |a: f64, b: f64| (2.0 * (a.abs() + b.abs()) / 100.0).powi(2);
        let one = load(1.0, 0.0) - imagined(1.0, 0.0);
        assert!((one - (1.0 - 0.64) / 100.0).abs() < 1e-12, "{one}");
        assert!((load(1.0, 1.0) - imagined(1.0, 1.0) - 4.0 * one).abs() < 1e-12);
        assert!((load(1.0, -1.0) - imagined(1.0, -1.0)).abs() < 1e-12);
    }

    /// 20,000 shots of so many qubits, read wrongly in 4 % of them and more.
    fn noisy(n: usize) -> Calibration {
        let chance =
            |t: usize, q: usize| philox([1, 0], [t as u64, q as u64, 0, 0])[0] % 1000 < 40 + 5 * q as u64;
        let bits: Vec<u8> = (0..20_000).flat_map(|t| (0..n).map(move |q| u8::from(chance(t, q)))).collect();
        Calibration::new(n, &bits, None).unwrap()
    }

    /// The variance of readings by the directions over that by all patterns.
    fn ratio(found: &Calibration, masks: &[u64], loads: &[f64]) -> f64 {
        let (mut directions, mut exact) = (found.directions(), Loads::default());
        let mut sums = [0.0; DIRECTIONS];
        for (mask, load) in masks.iter().zip(loads) {
            let (divisor, wrong) = directions.of(&[*mask]).unwrap();
            assert_eq!(divisor, found.contrast(&[*mask]).unwrap().value);
            exact.add(&[*mask], load / divisor);
            sums.iter_mut().zip(wrong).for_each(|(sum, wrong)| *sum += load * wrong);
        }
        sums.iter().map(|sum| sum * sum).sum::<f64>() / found.variance(&exact).unwrap()
    }

    #[test]
    fn few_patterns_have_a_direction_each() {
        let ratio = ratio(&noisy(2), &[0b01, 0b10, 0b11], &[1.0, -0.3, 0.8]);
        assert!((ratio - 1.0).abs() < 0.01, "{ratio}"); // imagined shots apart
    }

    #[test]
    fn directions_have_the_variance_of_all_patterns_on_average() {
        let (found, masks) = (noisy(6), [1, 2, 4, 8, 16, 32, 3, 12, 48, 63, 21, 42]);
        let ratios: Vec<f64> = (0..200u64)
            .map(|seed| {
                let load = |i: usize| unit_interval(philox([seed, 1], [i as u64, 0, 0, 0])[0]) - 0.3;
                ratio(&found, &masks, &(0..masks.len()).map(load).collect::<Vec<_>>())
            })
            .collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        assert!((0.8..1.25).contains(&mean), "{mean}");
        assert!(ratios.iter().all(|ratio| (0.2..3.0).contains(ratio)), "{ratios:?}");
    }

    #[test]
    fn shots_that_all_agree_leave_something_to_be_wrong() {
        let found = Calibration::new(2, &[0; 200], None).unwrap();
        let (divisor, wrong) = found.directions().of(&[0b01]).unwrap();
        let error = wrong.iter().map(|w| w * w).sum::<f64>().sqrt();
        assert_eq!((divisor, error), (1.0, 0.02));
        assert_eq!(found.directions().of(&[0]).unwrap(), (1.0, [0.0; DIRECTIONS]));
    }
}
