//! Counts with the responses of their words, and what follows from both: values, and the errors of each rule.
//!
//! How often a word was revealed is a random number or a fixed one ([`Hits`]); weights of signs, and with them errors, follow
//! from that.
//!
//! Invariant: terms are relative to the largest coefficient of their observable, so that squares neither overflow nor
//! vanish. Cost: linear in the terms of the observables, times the number of buckets where buckets are compared.

use super::calibration::{Calibration, Contrasts, Loads};
use super::combine::{Combine, Estimates};
use super::spread::{Moments, Variable};
use super::strata::{Strata, unsettled};
use super::tally::Tally;
use crate::bits::parallel::Cancel;
use crate::ensemble::{Ensemble, Response};
use crate::error::Result;
use crate::pauli::Sums;

/// Buckets that are imagined beside those of a tally.
const IMAGINED_BUCKETS: f64 = 2.0;

/// What the number of shots that reveal a word is, and with it how signs are weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hits {
    /// Random, with a known probability: signs are divided by its expectation.
    Expected,
    /// Random, but signs are divided by what came.
    Counted,
    /// Fixed: the settings are those of a list, and estimates are made at the numbers of shots that each has.
    Fixed,
}

impl Hits {
    pub(super) fn of(combine: Combine, is_list: bool, allocated: bool) -> Self {
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
    pub(super) fn responses(ensemble: &Ensemble, sums: &Sums, cancel: &Cancel) -> Result<Vec<Response>> {
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
pub(super) struct Counted<'a> {
    pub(super) tally: &'a Tally,
    pub(super) observables: &'a Sums,
    hits: Hits,
    responses: Vec<Response>,
    /// Hits and sum of signs of each word over all buckets.
    totals: Vec<(f64, f64)>,
    shots: f64,
    /// The largest coefficient of each observable: terms are relative to it, so that squares neither overflow nor vanish.
    pub(super) scales: Vec<f64>,
}

impl<'a> Counted<'a> {
    pub(super) fn new(tally: &'a Tally, observables: &'a Sums, responses: Vec<Response>, hits: Hits) -> Self {
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
    pub(super) fn terms(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
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

    pub(super) fn value(&self, j: usize, combine: Combine) -> f64 {
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

    pub(super) fn revealed(&self, j: usize) -> u64 {
        self.terms(j).map(|(c, _)| self.totals[c].0 as u64).min().unwrap_or(self.tally.shots())
    }

    /// Variance of the value of a word, from its counts alone.
    pub(super) fn word_variance(&self, column: usize) -> f64 {
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
    pub(super) fn variable(&self, j: usize) -> Variable {
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
    pub(super) fn lone(&self, j: usize) -> Variable {
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
    pub(super) fn unseen(&self, j: usize) -> Strata {
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
    pub(super) fn unrevealed(&self, j: usize) -> f64 {
        let never = self.terms(j).filter(|(c, _)| self.totals[*c].0 == 0.0);
        self.scales[j] * never.map(|(_, v)| v.abs()).sum::<f64>()
    }

    /// By how much the squares of a word's readings are expected to exceed those that came, where settings are drawn.
    fn missing(&self, column: usize, coefficient: f64) -> f64 {
        let expected = self.shots * self.responses[column].reveal();
        (coefficient * self.weight(column)).powi(2) * (expected - self.totals[column].0)
    }

    /// All snapshots as one stratum, with what is known of the squares of words.
    pub(super) fn add_all(&self, j: usize, found: Moments, strata: &mut Strata) {
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
    pub(super) fn bucket_variance(&self, j: usize) -> f64 {
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
    pub(super) fn blur(
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
    pub(super) fn median_variance(&self, j: usize, of_mean: f64) -> f64 {
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
