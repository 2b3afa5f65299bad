//! Combination rules: counts become values and standard errors.
//!
//! | rule | value | for |
//! |---|---|---|
//! | mean | mean over the snapshots | the default: unbiased, and words are bounded |
//! | hit-normalised | mean over the snapshots that reveal the word | smaller variance when hits are many; slightly biased for sums of few hits |
//! | median of means | median over buckets of their means | heavy tails; about 25 % more error on ordinary data |
//!
//! Standard errors. The variance of a word's mean is `(1/h - <Q>^2) / T`, and `h` is known, not estimated: a word
//! that was never revealed gets the large error that it deserves, not zero. For a sum the sample second moment
//! supplies the covariances, and its diagonal is replaced by the known one.

use super::arrange::arrange;
use super::spread::{Variable, squared_deviations};
use super::tally::{Tally, check_counting, count};
use crate::bits::parallel::Cancel;
use crate::error::{Error, Result};
use crate::heisenberg::GradientObservables;
use crate::pauli::Sums;
use crate::snapshots::Snapshots;

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
    /// Snapshots used.
    pub shots: u64,
}

/// Counts with the constants of the words: everything that a rule needs.
struct Counted<'a> {
    tally: &'a Tally,
    observables: &'a Sums,
    /// Reveal probability of each word.
    h: Vec<f64>,
    /// Hits and sum of signs of each word over all buckets.
    totals: Vec<(f64, f64)>,
    shots: f64,
}

impl<'a> Counted<'a> {
    fn new(tally: &'a Tally, observables: &'a Sums, h: Vec<f64>) -> Self {
        let signed = |[revealed, minus]: [u64; 2]| (revealed as f64, revealed as f64 - 2.0 * minus as f64);
        let mut sums = vec![[0u64; 2]; observables.words().len()];
        for bucket in 0..tally.bucket_shots().len() {
            for (sum, count) in sums.iter_mut().zip(tally.bucket(bucket)) {
                *sum = [sum[0] + count[0], sum[1] + count[1]];
            }
        }
        let totals = sums.into_iter().map(signed).collect();
        Counted { tally, observables, h, totals, shots: tally.shots() as f64 }
    }

    fn is_identity(&self, column: u32) -> bool {
        self.observables.words().get(column as usize).is_identity()
    }

    /// The terms of observable `j` that vary: (column, coefficient).
    fn terms(&self, j: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let (columns, coefficients) = self.observables.row(j);
        let terms = columns.iter().zip(coefficients).filter(|(c, v)| **v != 0.0 && !self.is_identity(**c));
        terms.map(|(&c, &v)| (c as usize, v))
    }

    fn word_value(&self, column: usize, combine: Combine) -> f64 {
        let (hits, signs) = self.totals[column];
        match combine {
            Combine::HitNormalised if hits == 0.0 => 0.0,
            Combine::HitNormalised => signs / hits,
            _ => signs / (self.shots * self.h[column]),
        }
    }

    fn values(&self, combine: Combine) -> Vec<f64> {
        let rows = 0..self.observables.len();
        if combine == Combine::MedianOfMeans {
            return rows.map(|j| self.median(j)).collect();
        }
        rows.map(|j| {
            let constant = self.constant(j);
            constant + self.terms(j).map(|(c, v)| v * self.word_value(c, combine)).sum::<f64>()
        })
        .collect()
    }

    fn constant(&self, j: usize) -> f64 {
        let (columns, coefficients) = self.observables.row(j);
        columns.iter().zip(coefficients).find(|(c, _)| self.is_identity(**c)).map_or(0.0, |(_, v)| *v)
    }

    fn median(&self, j: usize) -> f64 {
        let mut means: Vec<f64> = (0..self.tally.bucket_shots().len())
            .map(|b| {
                let (counts, shots) = (self.tally.bucket(b), self.tally.bucket_shots()[b] as f64);
                let value = |(c, v): (usize, f64)| {
                    let [revealed, minus] = counts[c];
                    v * (revealed as f64 - 2.0 * minus as f64) / (shots * self.h[c])
                };
                self.terms(j).map(value).sum()
            })
            .collect();
        means.sort_unstable_by(f64::total_cmp);
        let middle = means.len() / 2;
        let median =
            if means.len() % 2 == 1 { means[middle] } else { (means[middle - 1] + means[middle]) / 2.0 };
        self.constant(j) + median
    }

    fn revealed(&self, j: usize) -> u64 {
        self.terms(j).map(|(c, _)| self.totals[c].0 as u64).min().unwrap_or(self.tally.shots())
    }

    /// Variance of the value of a word, from its counts alone.
    fn word_variance(&self, column: usize, combine: Combine) -> f64 {
        let (hits, signs) = self.totals[column];
        if combine == Combine::HitNormalised {
            // The value is shrunk a little, so that a few hits that happen to agree do not claim certainty.
            let shrunk = signs / (hits + 2.0);
            return if hits == 0.0 { 1.0 } else { (1.0 - shrunk * shrunk) / hits };
        }
        let value = self.word_value(column, combine).powi(2).min(1.0);
        if self.shots > 1.0 {
            (1.0 / self.h[column] - value) / (self.shots - 1.0)
        } else {
            1.0 / self.h[column]
        }
    }

    /// What the variance of observable `j` needs to know of each snapshot.
    fn variable(&self, j: usize, combine: Combine) -> Variable {
        if combine == Combine::HitNormalised {
            let revealed = self.terms(j).filter(|(c, _)| self.totals[*c].0 > 0.0);
            let terms = revealed
                .map(|(c, v)| {
                    let slope = v / self.totals[c].0;
                    (c as u32, slope, -slope * self.word_value(c, combine))
                })
                .collect();
            return Variable { terms, center: 0.0 };
        }
        let terms = self.terms(j).map(|(c, v)| (c as u32, v / self.h[c], 0.0)).collect();
        let center = self.terms(j).map(|(c, v)| v * self.word_value(c, Combine::Mean)).sum();
        Variable { terms, center }
    }

    /// Variance of the value of observable `j`, given the squared deviations of its variable.
    fn sum_variance(&self, j: usize, combine: Combine, squared_deviations: f64) -> f64 {
        if combine == Combine::HitNormalised {
            let diagonal = |(c, v): (usize, f64)| {
                let (hits, _) = self.totals[c];
                let sampled =
                    if hits == 0.0 { 0.0 } else { (1.0 - self.word_value(c, combine).powi(2)) / hits };
                v * v * (self.word_variance(c, combine) - sampled)
            };
            return squared_deviations + self.terms(j).map(diagonal).sum::<f64>();
        }
        let bound: f64 = self.terms(j).map(|(_, v)| v.abs()).sum();
        if self.shots < 2.0 {
            // One snapshot says nothing of covariances: the bound that holds whatever they are.
            return self.terms(j).map(|(c, v)| v.abs() / self.h[c].sqrt()).sum::<f64>().powi(2);
        }
        let mean: f64 = self.terms(j).map(|(c, v)| v * self.word_value(c, combine)).sum();
        let diagonal = |(c, v): (usize, f64)| {
            v * v * (self.h[c] - self.totals[c].0 / self.shots) / (self.h[c] * self.h[c])
        };
        let sampled = squared_deviations / self.shots;
        let known = sampled
            + self.terms(j).map(diagonal).sum::<f64>()
            + (mean * mean - (mean * mean).min(bound * bound));
        // The correction can only overshoot when hits are so few that the sample is all there is.
        (if known > 0.0 { known } else { sampled }) / (self.shots - 1.0)
    }

    /// Variance of observable `j` from how much the buckets differ.
    fn bucket_variance(&self, j: usize, combine: Combine) -> f64 {
        let buckets = self.tally.bucket_shots();
        let residual = |b: usize| -> f64 {
            let (counts, shots) = (self.tally.bucket(b), buckets[b] as f64);
            self.terms(j)
                .map(|(c, v)| {
                    let [revealed, minus] = counts[c];
                    let signs = revealed as f64 - 2.0 * minus as f64;
                    match combine {
                        Combine::HitNormalised => {
                            let hits = self.totals[c].0.max(1.0);
                            v * (signs - self.word_value(c, combine) * revealed as f64) / hits
                        }
                        _ => v * (signs / self.h[c] - self.word_value(c, combine) * shots) / self.shots,
                    }
                })
                .sum()
        };
        let count = buckets.len() as f64;
        (0..buckets.len()).map(|b| residual(b).powi(2)).sum::<f64>() * count / (count - 1.0)
    }
}

/// Standard error of the median of `buckets` normal means, relative to that of their mean. Fitted to the exact
/// order statistics to within 1 %; 1 for one or two buckets, sqrt(pi / 2) in the limit.
fn median_inflation(buckets: usize) -> f64 {
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
    if combine != Combine::MedianOfMeans && buckets != 1 {
        return Err(Error::invalid("buckets", "1 unless medians are combined", buckets.to_string()));
    }
    check_counting(snaps, observables.n_qubits(), buckets)?;
    let h = snaps.ensemble().reveal_probabilities(observables, cancel)?; // before the counting, which may be long
    let arranged = arrange(snaps, observables.words(), buckets, cancel)?;
    let tally = count(&arranged, snaps, observables.words(), buckets, cancel)?;
    let counted = Counted::new(&tally, observables, h);
    let several: Vec<usize> = (0..observables.len()).filter(|&j| counted.terms(j).nth(1).is_some()).collect();
    let variables: Vec<Variable> = several.iter().map(|&j| counted.variable(j, combine)).collect();
    let deviations = squared_deviations(&arranged, &variables, cancel)?;
    let mut of_sum = vec![0.0; observables.len()];
    several.iter().zip(deviations).for_each(|(&j, d)| of_sum[j] = counted.sum_variance(j, combine, d));
    finish(&counted, combine, |j| Ok(of_sum[j]))
}

/// The same for the observables of a gradient. A design for the derivatives may leave out the words of a value: such a
/// value is NaN and its standard error infinite. Derivatives are never left out.
pub fn estimate_gradient(
    snaps: &Snapshots,
    observables: &GradientObservables,
    combine: Combine,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Estimates> {
    let sums = observables.sums();
    check_counting(snaps, sums.n_qubits(), buckets)?;
    let hidden = |o: usize| sums.terms(o).any(|(word, c)| c != 0.0 && snaps.ensemble().reveal(word) == 0.0);
    let hidden: Vec<bool> = (0..sums.len()).map(|r| r < observables.n_observables() && hidden(r)).collect();
    if !hidden.contains(&true) {
        return estimate(snaps, sums, combine, buckets, cancel);
    }
    let known = hidden.iter().enumerate().flat_map(|(r, hidden)| {
        let factor = if *hidden { 0.0 } else { 1.0 };
        sums.row(r).1.iter().map(move |c| factor * c)
    });
    let known = sums.with_coefficients(known.collect());
    let mut found = estimate(snaps, &known, combine, buckets, cancel)?;
    for o in (0..hidden.len()).filter(|&o| hidden[o]) {
        (found.value[o], found.stderr[o], found.revealed[o]) = (f64::NAN, f64::INFINITY, 0);
    }
    Ok(found)
}

/// The same from counts alone. The covariance between the words of a sum then has to come from the differences
/// between buckets, so an observable of several words needs a tally of at least two of them (32 or more give an
/// error bar that is itself known to about 12 %).
pub fn estimate_tally(tally: &Tally, observables: &Sums, combine: Combine) -> Result<Estimates> {
    let tally = &tally.select(observables.words())?;
    if tally.bucket_shots().contains(&0) {
        return Err(Error::invalid("tally", "buckets that all hold snapshots", "an empty bucket"));
    }
    let h = tally.ensemble().reveal_probabilities(observables, &Cancel::new())?;
    let counted = Counted::new(tally, observables, h);
    finish(&counted, combine, |j| {
        if tally.bucket_shots().len() < 2 {
            return Err(Error::invalid(
                format!("observables[{j}]"),
                "a single word, because this tally has one bucket (count with buckets=32 for sums)",
                format!("a sum of {} words", counted.terms(j).count()),
            ));
        }
        Ok(counted.bucket_variance(j, combine))
    })
}

fn finish(
    counted: &Counted<'_>,
    combine: Combine,
    variance_of_sum: impl Fn(usize) -> Result<f64>,
) -> Result<Estimates> {
    let rows = 0..counted.observables.len();
    let inflation = match combine {
        Combine::MedianOfMeans => median_inflation(counted.tally.bucket_shots().len()),
        _ => 1.0,
    };
    let stderr = rows.clone().map(|j| {
        let mut terms = counted.terms(j);
        let variance = match (terms.next(), terms.next()) {
            (None, _) => 0.0,
            (Some((c, v)), None) => v * v * counted.word_variance(c, combine),
            _ => variance_of_sum(j)?,
        };
        Ok(inflation * variance.max(0.0).sqrt())
    });
    Ok(Estimates {
        value: counted.values(combine),
        stderr: stderr.collect::<Result<_>>()?,
        revealed: rows.map(|j| counted.revealed(j)).collect(),
        shots: counted.tally.shots(),
    })
}
