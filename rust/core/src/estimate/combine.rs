//! Combination rules: counts become values and standard errors.
//!
//! | rule | value of a word | for |
//! |---|---|---|
//! | mean | signs over all snapshots, divided by the response | the default: unbiased, and words are bounded |
//! | hit-normalised | mean over the snapshots that reveal the word | smaller variance when hits are many; slightly biased for sums of few hits |
//! | median of means | median over buckets of their means | heavy tails; about 25 % more error on ordinary data |
//!
//! Where the settings of a list are allocated, how often a word is revealed is no random number, and the first two rules
//! are one: the mean over the snapshots that reveal it.
//!
//! Standard errors: see [`super::strata`]. A word that was never revealed gets the large error that it deserves, not zero.

use super::arrange::{Arranged, arrange};
use super::calibration::{Calibration, Contrasts, Loads, Masks};
use super::spread::{Moments, Variable, moments};
use super::strata::{Strata, unsettled};
use super::tally::{Tally, check_counting, count};
use crate::bits::parallel::Cancel;
use crate::ensemble::{Ensemble, Response};
use crate::error::{Error, Result};
use crate::heisenberg::GradientObservables;
use crate::pauli::word::check_width;
use crate::pauli::{Sums, WordRef};
use crate::snapshots::Snapshots;
use crate::stabiliser::Setting;
use rustc_hash::FxHashMap;

/// How counts become a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Combine {
    /// The mean over all snapshots.
    Mean,
    /// The mean over the snapshots that reveal the word; 0 with standard error 1 for a word never revealed.
    HitNormalised,
    /// The median over buckets of the mean of the observable in each.
    MedianOfMeans,
}

/// Estimates of several observables from the same snapshots.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimates {
    /// One per observable.
    pub value: Vec<f64>,
    /// Standard error of each value.
    pub stderr: Vec<f64>,
    /// How many snapshots revealed the observable's rarest word (all of them for the identity).
    pub revealed: Vec<u64>,
    /// Sum of the absolute coefficients of the words that no snapshot revealed; their part of the value is zero.
    pub unrevealed: Vec<f64>,
    /// Snapshots used.
    pub shots: u64,
}

/// Buckets that are imagined beside those of a tally.
const IMAGINED_BUCKETS: f64 = 2.0;

/// What the number of shots that reveal a word is, and with it how signs are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hits {
    /// Random, with a known probability: signs are divided by its expectation.
    Expected,
    /// Random, but signs are divided by what came.
    Counted,
    /// Fixed: the settings are those of a list, and estimates are made at the numbers of shots that each has.
    Fixed,
}

impl Hits {
    fn of(combine: Combine, is_list: bool, allocated: bool) -> Self {
        match combine {
            _ if allocated => Hits::Fixed,
            Combine::HitNormalised if is_list => Hits::Fixed,
            Combine::HitNormalised => Hits::Counted,
            Combine::Mean | Combine::MedianOfMeans => Hits::Expected,
        }
    }
}

impl Hits {
    /// The response of every word. A list may leave out some of the words of a sum, whose part is then the error of its
    /// value; one that reveals none of them is refused, and so is any other ensemble that does not reveal all.
    fn responses(ensemble: &Ensemble, sums: &Sums, cancel: &Cancel) -> Result<Vec<Response>> {
        if ensemble.single().is_none() {
            return ensemble.responses(sums, cancel);
        }
        let words: Vec<Response> = sums.words().iter().map(|word| ensemble.response(word)).collect();
        let seen = |j: usize| {
            let mut terms = sums.row(j).0.iter().zip(sums.row(j).1).filter(|(_, v)| **v != 0.0).peekable();
            terms.peek().is_none() || terms.any(|(&c, _)| words[c as usize].is_revealed())
        };
        match (0..sums.len()).find(|&j| !seen(j)) {
            None => Ok(words),
            Some(j) => {
                ensemble.responses(&Sums::from_sums(sums.n_qubits(), [&sums.sum(j)?])?, cancel).and(Ok(words))
            }
        }
    }
}

/// Counts with the constants of the words: everything that a rule needs.
struct Counted<'a> {
    tally: &'a Tally,
    observables: &'a Sums,
    hits: Hits,
    responses: Vec<Response>,
    /// Hits and sum of signs of each word over all buckets.
    totals: Vec<(f64, f64)>,
    shots: f64,
    /// The largest coefficient of each observable: terms are relative to it, so that squares neither overflow nor vanish.
    scales: Vec<f64>,
}

impl<'a> Counted<'a> {
    fn new(tally: &'a Tally, observables: &'a Sums, responses: Vec<Response>, hits: Hits) -> Self {
        let signed = |[revealed, minus]: [u64; 2]| (revealed as f64, revealed as f64 - 2.0 * minus as f64);
        let mut sums = vec![[0u64; 2]; observables.words().len()];
        for bucket in 0..tally.bucket_shots().len() {
            for (sum, count) in sums.iter_mut().zip(tally.bucket(bucket)) {
                *sum = [sum[0] + count[0], sum[1] + count[1]];
            }
        }
        let totals = sums.into_iter().map(signed).collect();
        let largest = |j| observables.row(j).1.iter().fold(0.0, |most: f64, c| most.max(c.abs()));
        let scales = (0..observables.len()).map(largest).collect();
        Counted { tally, observables, hits, responses, totals, shots: tally.shots() as f64, scales }
    }

    fn is_identity(&self, column: u32) -> bool {
        self.observables.words().get(column as usize).is_identity()
    }

    /// The terms of observable `j` that vary: (column, coefficient over the scale).
    fn terms(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let (columns, coefficients) = self.observables.row(j);
        let scale = self.scales[j];
        let terms = columns.iter().zip(coefficients).filter(|(c, v)| **v != 0.0 && !self.is_identity(**c));
        terms.map(move |(&c, &v)| (c as usize, v / scale))
    }

    fn constant(&self, j: usize) -> f64 {
        let (columns, coefficients) = self.observables.row(j);
        columns.iter().zip(coefficients).find(|(c, _)| self.is_identity(**c)).map_or(0.0, |(_, v)| *v)
    }

    /// Whether nothing can be said of a word: no shot could reveal it, or none has where signs are divided by hits.
    fn is_blank(&self, column: usize) -> bool {
        match self.hits {
            Hits::Expected => !self.responses[column].is_revealed(),
            Hits::Counted | Hits::Fixed => self.totals[column].0 == 0.0,
        }
    }

    /// The terms of observable `j` of which something can be said.
    fn told(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.terms(j).filter(|(c, _)| !self.is_blank(*c))
    }

    /// What a sign of a word counts for in its value: the value is the sum of the signs times this.
    fn weight(&self, column: usize) -> f64 {
        let ((hits, _), response) = (self.totals[column], self.responses[column]);
        match self.hits {
            _ if self.is_blank(column) => 0.0,
            Hits::Expected => 1.0 / (self.shots * response.factor()),
            Hits::Counted | Hits::Fixed => 1.0 / (hits * response.contrast()),
        }
    }

    fn word_value(&self, column: usize) -> f64 {
        let ((hits, signs), response) = (self.totals[column], self.responses[column]);
        match self.hits {
            _ if self.is_blank(column) => 0.0,
            Hits::Expected => signs / (self.shots * response.factor()),
            Hits::Counted | Hits::Fixed => signs / hits / response.contrast(),
        }
    }

    fn value(&self, j: usize, combine: Combine) -> f64 {
        if combine == Combine::MedianOfMeans {
            return self.constant(j) + self.scales[j] * median(self.bucket_means(j));
        }
        let varying = self.terms(j).map(|(c, v)| v * self.word_value(c)).sum::<f64>();
        if self.scales[j] == 0.0 { 0.0 } else { self.constant(j) + self.scales[j] * varying }
    }

    /// The mean of observable `j` in each bucket, over the scale and without its constant.
    fn bucket_means(&self, j: usize) -> Vec<f64> {
        let mean = |b: usize| {
            let (counts, shots) = (self.tally.bucket(b), self.tally.bucket_shots()[b] as f64);
            let value = |(c, v): (usize, f64)| {
                let [revealed, minus] = counts[c];
                let expected = match self.hits {
                    Hits::Expected => shots * self.responses[c].factor(),
                    Hits::Counted | Hits::Fixed => {
                        self.totals[c].0.max(1.0) * self.responses[c].contrast() * (shots / self.shots)
                    }
                };
                v * ((revealed as f64 - 2.0 * minus as f64) / expected)
            };
            self.told(j).map(value).sum()
        };
        (0..self.tally.bucket_shots().len()).map(mean).collect()
    }

    fn revealed(&self, j: usize) -> u64 {
        self.terms(j).map(|(c, _)| self.totals[c].0 as u64).min().unwrap_or(self.tally.shots())
    }

    /// Variance of the value of a word, from its counts alone.
    fn word_variance(&self, column: usize) -> f64 {
        let ((hits, signs), response) = (self.totals[column], self.responses[column]);
        if self.hits != Hits::Expected {
            // The value is shrunk a little, so that a few hits that happen to agree do not claim certainty.
            let shrunk = signs / (hits + 2.0);
            return if hits == 0.0 {
                1.0
            } else {
                (1.0 - shrunk * shrunk) / hits / response.contrast().powi(2)
            };
        }
        let (value, second) = (self.word_value(column).powi(2).min(1.0), response.second_moment());
        if self.shots < 2.0 {
            return second;
        }
        ((second - value) / (self.shots - 1.0)).max(unsettled(self.shots) * second / self.shots)
    }

    /// What the variance of observable `j` needs to know of each snapshot.
    fn variable(&self, j: usize) -> Variable {
        let weighed = self.terms(j).map(|(c, v)| (c, v * self.weight(c))).filter(|(_, slope)| *slope != 0.0);
        match self.hits {
            Hits::Expected => {
                let value: f64 = self.terms(j).map(|(c, v)| v * self.word_value(c)).sum();
                Variable {
                    terms: weighed.map(|(c, slope)| (c as u32, slope, 0.0)).collect(),
                    center: value / self.shots,
                }
            }
            Hits::Fixed => {
                Variable { terms: weighed.map(|(c, slope)| (c as u32, slope, 0.0)).collect(), center: 0.0 }
            }
            Hits::Counted => {
                let residual = |(c, slope): (usize, f64)| {
                    let (hits, signs) = self.totals[c];
                    (c as u32, slope, -slope * signs / hits)
                };
                Variable { terms: weighed.map(residual).collect(), center: 0.0 }
            }
        }
    }

    /// What a shot that is alone in its setting deviates by: its signs against the means of all other shots that reveal
    /// the words.
    fn lone(&self, j: usize) -> Variable {
        let terms = self.terms(j).filter(|(c, _)| self.totals[*c].0 > 0.0).map(|(c, v)| {
            let ((hits, signs), slope) = (self.totals[c], v * self.weight(c));
            if hits > 1.0 {
                (c as u32, slope * hits / (hits - 1.0), -slope * signs / (hits - 1.0))
            } else {
                (c as u32, slope, 0.0)
            }
        });
        Variable { terms: terms.collect(), center: 0.0 }
    }

    /// The strata of observable `j` before any shot is looked at: what no shot reveals, or, of a single shot, all.
    fn unseen(&self, j: usize) -> Strata {
        let mut strata = Strata::default();
        strata.add_unseen(self.blank_variance(j));
        if self.hits == Hits::Expected && self.shots < 2.0 {
            // One snapshot says nothing of covariances: the bound that holds whatever they are.
            let bound = self.told(j).map(|(c, v)| v.abs() * self.responses[c].second_moment().sqrt());
            strata.add_unseen(bound.sum::<f64>().powi(2));
        }
        strata
    }

    /// What words of which nothing can be said may add: the squares of their coefficients times the mean square of expectation
    /// values, as it is among the words that were revealed and have no larger coefficients, and of one imagined word that is
    /// certain.
    fn blank_variance(&self, j: usize) -> f64 {
        let never = || self.terms(j).filter(|(c, _)| self.is_blank(*c));
        let largest = never().map(|(_, v)| v * v).fold(0.0, f64::max);
        if largest == 0.0 {
            return 0.0;
        }
        let (mut squares, mut all) = (largest, largest);
        for (c, v) in self.terms(j).filter(|(c, v)| self.totals[*c].0 > 1.0 && v * v <= largest) {
            let hits = self.totals[c].0;
            squares += v * v * (hits * self.signs_mean(c).powi(2) - 1.0) / (hits - 1.0);
            all += v * v;
        }
        (squares / all).clamp(0.0, 1.0) * never().map(|(_, v)| v * v).sum::<f64>()
    }

    /// The sum of the absolute coefficients of words that no shot revealed.
    fn unrevealed(&self, j: usize) -> f64 {
        let never = self.terms(j).filter(|(c, _)| self.totals[*c].0 == 0.0);
        self.scales[j] * never.map(|(_, v)| v.abs()).sum::<f64>()
    }

    /// By how much the squares of a word's readings are expected to exceed those that came, where settings are drawn.
    fn missing(&self, column: usize, coefficient: f64) -> f64 {
        let expected = self.shots * self.responses[column].reveal();
        (coefficient * self.weight(column)).powi(2) * (expected - self.totals[column].0)
    }

    /// All snapshots as one stratum, with what is known of the squares of words.
    fn add_all(&self, j: usize, found: Moments, strata: &mut Strata) {
        let square = |c: usize, v: f64| (v * self.weight(c)).powi(2);
        match self.hits {
            Hits::Expected => {
                let bound: f64 = self.told(j).map(|(_, v)| v.abs()).sum();
                let value: f64 = self.terms(j).map(|(c, v)| v * self.word_value(c)).sum();
                let expected = |c: usize| self.shots * self.responses[c].reveal();
                let missing: f64 = self.terms(j).map(|(c, v)| self.missing(c, v)).sum();
                let excess = (value * value - (value * value).min(bound * bound)) / self.shots;
                let mixed = self.terms(j).map(|(c, v)| square(c, v) * expected(c)).sum();
                strata.add(self.shots, found.first, found.second, missing + excess, mixed);
            }
            Hits::Counted | Hits::Fixed => {
                let missing = |(c, v): (usize, f64)| {
                    let sampled = (1.0 - self.signs_mean(c).powi(2)) * self.totals[c].0;
                    square(c, v)
                        * (self.word_variance(c) * (self.totals[c].0 * self.responses[c].contrast()).powi(2)
                            - sampled)
                };
                let seen = || self.terms(j).filter(|(c, _)| self.totals[*c].0 > 0.0);
                let mixed = seen().map(|(c, v)| square(c, v) * self.totals[c].0).sum();
                strata.add(self.shots, 0.0, found.second, seen().map(missing).sum(), mixed);
            }
        }
    }

    /// The mean of the signs of a word that was revealed.
    fn signs_mean(&self, column: usize) -> f64 {
        let (hits, signs) = self.totals[column];
        signs / hits
    }

    /// Variance of observable `j` from how much the buckets differ. Two imagined buckets scatter as its words would if their
    /// errors were independent: few buckets that happen to agree claim no certainty, and many decide alone.
    fn bucket_variance(&self, j: usize) -> f64 {
        let buckets = self.tally.bucket_shots();
        let residual = |b: usize| -> f64 {
            let (counts, shots) = (self.tally.bucket(b), buckets[b] as f64);
            self.terms(j)
                .map(|(c, v)| {
                    let [revealed, minus] = counts[c];
                    let signs = revealed as f64 - 2.0 * minus as f64;
                    let expected = match self.hits {
                        Hits::Expected => self.word_value(c) * shots / self.shots,
                        Hits::Counted | Hits::Fixed => {
                            self.weight(c)
                                * self.word_value(c)
                                * self.responses[c].contrast()
                                * revealed as f64
                        }
                    };
                    v * (signs * self.weight(c) - expected)
                })
                .sum()
        };
        let count = buckets.len() as f64;
        let scatter = (0..buckets.len()).map(|b| residual(b).powi(2)).sum::<f64>() * count;
        let words: f64 = self.told(j).map(|(c, v)| v * v * self.word_variance(c)).sum();
        let degrees = count - 1.0 + IMAGINED_BUCKETS;
        // How often drawn settings reveal a word is known, as in [`Counted::add_all`].
        let missing: f64 = match self.hits {
            Hits::Expected => self.terms(j).map(|(c, v)| self.missing(c, v)).sum(),
            Hits::Counted | Hits::Fixed => 0.0,
        };
        let imagined = IMAGINED_BUCKETS * words / degrees;
        (scatter / degrees + imagined + missing).max(imagined) + self.blank_variance(j)
    }

    /// Adds to the errors of values what the contrasts add that they were divided by.
    fn blur(
        &self,
        calibration: &Calibration,
        contrasts: &Contrasts,
        found: &mut Estimates,
        cancel: &Cancel,
    ) -> Result<()> {
        for (j, stderr) in found.stderr.iter_mut().enumerate() {
            cancel.check()?;
            let mut loads = Loads::default();
            for (c, v) in self.told(j) {
                contrasts.load(c, self.scales[j] * v * self.word_value(c), &mut loads);
            }
            *stderr = (*stderr * *stderr + calibration.variance(&loads)?).sqrt();
        }
        Ok(())
    }

    /// What a median of buckets adds to the variance of the mean.
    fn median_variance(&self, j: usize, of_mean: f64) -> f64 {
        let buckets = self.tally.bucket_shots().len();
        let excess = median_inflation(buckets).powi(2) - 1.0;
        if excess == 0.0 || self.hits == Hits::Expected {
            return excess * of_mean;
        }
        // Buckets of allocated settings scatter more than their mean does.
        let means = self.bucket_means(j);
        let count = buckets as f64;
        let center = means.iter().sum::<f64>() / count;
        excess * means.iter().map(|m| (m - center).powi(2)).sum::<f64>() / (count - 1.0) / count
    }
}

/// The median of the means of buckets.
pub(super) fn median(mut means: Vec<f64>) -> f64 {
    means.sort_unstable_by(f64::total_cmp);
    let middle = means.len() / 2;
    if means.len() % 2 == 1 { means[middle] } else { (means[middle - 1] + means[middle]) / 2.0 }
}

/// Standard error of the median of `buckets` normal means, relative to that of their mean. Fitted to the exact
/// order statistics to within 1 %; 1 for one or two buckets, sqrt(pi / 2) in the limit.
pub(super) fn median_inflation(buckets: usize) -> f64 {
    let k = buckets as f64;
    let correction = match buckets {
        0..=2 => return 1.0,
        b if b % 2 == 1 => 1.0 + 0.43 / k + 0.2 / (k * k),
        _ => 1.0 + 1.43 / k - 0.57 / (k * k),
    };
    (std::f64::consts::FRAC_PI_2 / correction).sqrt()
}

/// Estimates `observables` from `snaps`. `buckets` is the number of means of [`Combine::MedianOfMeans`], and 1 for
/// the other rules.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, pauli::{PauliSum, Sums}};
/// use efl_core::{estimate::{Combine, estimate}, snapshots::sample, state::StateVector};
/// use num_complex::Complex64;
/// let plus = [Complex64::new(0.5f64.sqrt(), 0.0); 2];
/// let cancel = Cancel::new();
/// let snaps = sample(&StateVector::new(&plus)?, &Ensemble::uniform(1)?, 30_000, 7, &cancel)?;
/// let x = Sums::from_sums(1, [&PauliSum::from_labels([("X", 1.0)])?])?;
/// let found = estimate(&snaps, &x, Combine::Mean, 1, &cancel)?;
/// assert!((found.value[0] - 1.0).abs() < 4.0 * found.stderr[0]);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn estimate(
    snaps: &Snapshots,
    observables: &Sums,
    combine: Combine,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Estimates> {
    estimate_calibrated(snaps, observables, combine, buckets, None, cancel)
}

/// [`estimate`] with signs divided by the contrasts of a readout, whose errors are added to those of the values.
pub fn estimate_calibrated(
    snaps: &Snapshots,
    observables: &Sums,
    combine: Combine,
    buckets: usize,
    calibration: Option<&Calibration>,
    cancel: &Cancel,
) -> Result<Estimates> {
    if combine != Combine::MedianOfMeans && buckets != 1 {
        return Err(Error::invalid("buckets", "1 unless medians are combined", buckets.to_string()));
    }
    check_counting(snaps, observables.n_qubits(), buckets)?;
    let snaps = &*snaps.resolved(cancel)?;
    let hits = Hits::of(combine, snaps.ensemble().single().is_some(), snaps.is_allocated());
    let mut responses = Hits::responses(snaps.ensemble(), observables, cancel)?; // before the counting, which may be long
    let contrasts = match calibration {
        None => None,
        Some(calibration) => {
            check_width("calibration", snaps.n_qubits(), calibration.n_qubits())?;
            let counts = (hits == Hits::Fixed).then(|| setting_counts(snaps));
            let masks = word_masks(snaps.ensemble(), observables, counts.as_deref())?;
            let contrasts = Contrasts::new(calibration, masks)?;
            contrasts.apply(&mut responses);
            Some((calibration, contrasts))
        }
    };
    let arranged = arrange(snaps, observables.words(), buckets, cancel)?;
    let tally = count(&arranged, snaps, observables.words(), buckets, cancel)?;
    let counted = Counted::new(&tally, observables, responses, hits);
    let several: Vec<usize> = (0..observables.len()).filter(|&j| counted.terms(j).nth(1).is_some()).collect();
    let mut strata: Vec<Strata> = several.iter().map(|&j| counted.unseen(j)).collect();
    let variables: Vec<Variable> = several.iter().map(|&j| counted.variable(j)).collect();
    if hits == Hits::Fixed {
        by_setting(&arranged, &counted, &several, &variables, &mut strata, cancel)?;
    } else if tally.shots() > 1 || hits == Hits::Counted {
        let mut all = vec![Moments::default(); several.len()];
        moments(&arranged, &variables, cancel, |i, _, found| {
            all[i].first += found.first;
            all[i].second += found.second;
        })?;
        several
            .iter()
            .zip(all)
            .zip(&mut strata)
            .for_each(|((&j, found), strata)| counted.add_all(j, found, strata));
    }
    let mut of_sum = vec![0.0; observables.len()];
    several.iter().zip(strata).for_each(|(&j, strata)| of_sum[j] = strata.variance());
    let mut found = finish(&counted, combine, |j| Ok(of_sum[j]))?;
    if let Some((calibration, contrasts)) = &contrasts {
        counted.blur(calibration, contrasts, &mut found, cancel)?;
    }
    Ok(found)
}

/// How many snapshots have each setting of the list.
fn setting_counts(snaps: &Snapshots) -> Vec<f64> {
    let settings = snaps.ensemble().single().map_or(0, |list| list.settings().len());
    let mut counts = vec![0.0; settings];
    snaps.settings().iter().for_each(|&f| counts[f as usize] += 1.0);
    counts
}

/// For every word the masks that it is read by, each with its part of the shots: by `counts` of the settings of a list, or
/// by their probabilities.
fn word_masks(ensemble: &Ensemble, observables: &Sums, counts: Option<&[f64]>) -> Result<Masks> {
    let words = observables.words();
    let support = |word: WordRef<'_>| word.x().iter().zip(word.z()).map(|(x, z)| x | z).collect::<Vec<u64>>();
    if let Some(list) = ensemble.single() {
        let parts = counts.unwrap_or(list.probabilities());
        let own = |word: WordRef<'_>| {
            let read = |(setting, part): (&Setting, &f64)| {
                let mut mask = vec![0; word.x().len()];
                (*part > 0.0 && setting.read(word, &mut mask).is_some()).then_some((mask, *part))
            };
            list.settings().iter().zip(parts).filter_map(read).collect()
        };
        return Ok(words.iter().map(own).collect());
    }
    if ensemble.letter_probabilities(0).is_none() {
        return Err(Error::invalid(
            "calibration",
            "snapshots in letters or in one list of settings (in others a word is read by many parities)",
            format!("a {} ensemble", ensemble.kind()),
        ));
    }
    Ok(words.iter().map(|word| vec![(support(word), 1.0)]).collect())
}

/// Adds a stratum for every setting of a list.
fn by_setting(
    arranged: &Arranged<'_>,
    counted: &Counted<'_>,
    several: &[usize],
    variables: &[Variable],
    strata: &mut [Strata],
    cancel: &Cancel,
) -> Result<()> {
    let shots: Vec<usize> = arranged.parts.iter().map(|part| part.range().len()).collect();
    let squares =
        |variable: &Variable| variable.terms.iter().map(|&(c, slope, _)| (c, slope * slope)).collect();
    let squares: Vec<FxHashMap<u32, f64>> = variables.iter().map(squares).collect();
    let mixed = |i: usize, part: usize| -> f64 {
        arranged.parts[part].columns.iter().filter_map(|(c, _)| squares[i].get(c)).sum()
    };
    moments(arranged, variables, cancel, |i, part, found| {
        if found.used && shots[part] > 1 {
            let n = shots[part] as f64;
            strata[i].add(n, found.first, found.second, 0.0, n * mixed(i, part));
        }
    })?;
    if shots.contains(&1) {
        let lone: Vec<Variable> = several.iter().map(|&j| counted.lone(j)).collect();
        moments(arranged, &lone, cancel, |i, part, found| {
            if found.used && shots[part] == 1 {
                strata[i].add_lone(found.first, mixed(i, part));
            }
        })?;
    }
    Ok(())
}

/// Estimates the rows of the observables of a gradient. A design for the derivatives may leave out the words of a value: such a
/// value is NaN and its standard error infinite. Derivatives are never left out.
pub fn estimate_gradient(
    snaps: &Snapshots,
    observables: &GradientObservables,
    combine: Combine,
    buckets: usize,
    calibration: Option<&Calibration>,
    cancel: &Cancel,
) -> Result<Estimates> {
    let sums = observables.sums();
    check_counting(snaps, sums.n_qubits(), buckets)?;
    let unrevealed = |word| !snaps.ensemble().response(word).is_revealed();
    let hidden = |o: usize| sums.terms(o).any(|(word, c)| c != 0.0 && unrevealed(word));
    let hidden: Vec<bool> = (0..sums.len()).map(|r| r < observables.n_observables() && hidden(r)).collect();
    if !hidden.contains(&true) {
        return estimate_calibrated(snaps, sums, combine, buckets, calibration, cancel);
    }
    let known = hidden.iter().enumerate().flat_map(|(r, hidden)| {
        let factor = if *hidden { 0.0 } else { 1.0 };
        sums.row(r).1.iter().map(move |c| factor * c)
    });
    let known = sums.with_coefficients(known.collect());
    let mut found = estimate_calibrated(snaps, &known, combine, buckets, calibration, cancel)?;
    for o in (0..hidden.len()).filter(|&o| hidden[o]) {
        (found.value[o], found.stderr[o], found.revealed[o]) = (f64::NAN, f64::INFINITY, 0);
    }
    Ok(found)
}

/// Estimates `observables` from counts alone. The covariance between the words of a sum then has to come from the differences
/// between buckets, so an observable of several words needs a tally of at least two of them (32 or more give an
/// error bar that is itself known to about 12 %).
pub fn estimate_tally(
    tally: &Tally,
    observables: &Sums,
    combine: Combine,
    calibration: Option<&Calibration>,
) -> Result<Estimates> {
    let tally = &tally.select(observables.words())?;
    if tally.bucket_shots().contains(&0) {
        return Err(Error::invalid("tally", "buckets that all hold snapshots", "an empty bucket"));
    }
    let hits = Hits::of(combine, tally.ensemble().single().is_some(), tally.is_allocated());
    let mut responses = Hits::responses(tally.ensemble(), observables, &Cancel::new())?;
    let contrasts = match calibration {
        None => None,
        Some(calibration) => {
            check_width("calibration", observables.n_qubits(), calibration.n_qubits())?;
            let masks = word_masks(tally.ensemble(), observables, None)?;
            let several = masks.iter().position(|own| own.iter().any(|(mask, _)| *mask != own[0].0));
            if let Some(word) = several.filter(|_| hits == Hits::Fixed) {
                return Err(Error::invalid(
                    "calibration",
                    "the snapshots themselves, where settings read a word by different parities (a tally does not know \
                     how many shots each had)",
                    format!("a tally with {}", observables.words().get(word)),
                ));
            }
            let contrasts = Contrasts::new(calibration, masks)?;
            contrasts.apply(&mut responses);
            Some((calibration, contrasts))
        }
    };
    let counted = Counted::new(tally, observables, responses, hits);
    let mut found = finish(&counted, combine, |j| {
        if tally.bucket_shots().len() < 2 {
            return Err(Error::invalid(
                format!("observables[{j}]"),
                "a single word, because this tally has one bucket (count with buckets=32 for sums)",
                format!("a sum of {} words", counted.terms(j).count()),
            ));
        }
        Ok(counted.bucket_variance(j))
    })?;
    if let Some((calibration, contrasts)) = &contrasts {
        counted.blur(calibration, contrasts, &mut found, &Cancel::new())?;
    }
    Ok(found)
}

fn finish(
    counted: &Counted<'_>,
    combine: Combine,
    variance_of_sum: impl Fn(usize) -> Result<f64>,
) -> Result<Estimates> {
    let rows = 0..counted.observables.len();
    let stderr = rows.clone().map(|j| {
        let mut terms = counted.terms(j);
        let variance = match (terms.next(), terms.next()) {
            (None, _) => return Ok(0.0),
            (Some((c, v)), None) => v * v * counted.word_variance(c),
            _ => variance_of_sum(j)?,
        };
        let median =
            if combine == Combine::MedianOfMeans { counted.median_variance(j, variance) } else { 0.0 };
        Ok(counted.scales[j] * (variance + median).sqrt())
    });
    Ok(Estimates {
        stderr: stderr.collect::<Result<_>>()?,
        value: rows.clone().map(|j| counted.value(j, combine)).collect(),
        revealed: rows.clone().map(|j| counted.revealed(j)).collect(),
        unrevealed: rows.map(|j| counted.unrevealed(j)).collect(),
        shots: counted.tally.shots(),
    })
}
