//! What each setting contributes to each word of each derivative, once it is known how its words vary together.
//!
//! A word that several settings reveal may be read from any of them: of derivative r, setting i contributes the word Q
//! times `x_iQ`, where `sum_i x_iQ = c_rQ`, the coefficient. The variance is `sum_i x_i C_i x_i / q_i`, with `C_i` the
//! covariances of the words in the setting and `q_i` its share: a quadratic function, which conjugate gradients make small
//! on the plane of the constraints. Words that do not belong to the derivative (`c_rQ = 0`) may help as well: what they
//! say in one setting is taken off in another.
//!
//! Invariant: the sums over settings stay the coefficients at every step, so that estimates have no bias on any state.
//! Cost: for every step, derivative and setting, two transforms of `2^n` numbers or the pairs of its words.

use crate::bits::hadamard;
use crate::bits::parallel::{self, Cancel};
use crate::error::Result;
use crate::experiment::{Experiment, Readings};
use crate::pauli::{Sums, Words};

/// Steps of a descent.
const STEPS: usize = 12;
/// A descent ends where a step promises no more than this part of the variance.
const SETTLED: f64 = 1e-4;
/// The part of the shots that are taken for noise, so that no weights count on correlations that are all but perfect.
const NOISE: f64 = 0.01;
/// Visits of a step of all derivatives for which other words than their own are used.
const FEW: usize = 10_000_000;
/// Visits of all descents together, some seconds; and where there is a plan for every step of a training run, one.
pub(super) const AT_LEISURE: usize = 4_000_000_000;
pub(super) const IN_A_STEP: usize = 600_000_000;
/// With fewer descents than this there is none.
const LEAST: usize = 3;
/// Bytes of parities.
const MOST_BYTES: usize = 256 << 20;

/// What is known of the words of a setting: the mean of every parity of its outcomes, and how much that is worth.
#[derive(Debug, Clone)]
pub(super) struct Parities {
    pub(super) means: Vec<f64>,
    /// How much of a covariance is that of the means; the rest is that of all states, no covariance at all.
    pub(super) trust: f64,
    /// How many shots the means were taken from.
    pub(super) shots: f64,
}

/// A setting and the words that it contributes.
struct Setting {
    /// Words of the plan, ascending.
    columns: Vec<u32>,
    /// For each the mask of its parity, and whether an even parity means -1.
    masks: Vec<(usize, bool)>,
    parities: Parities,
    share: f64,
}

/// The places of the words of a setting that take part in a derivative, and what they contribute.
type Part = (Vec<u32>, Vec<f64>);

/// The contributions of all settings to one derivative.
struct Row {
    row: usize,
    /// For every setting.
    parts: Vec<Part>,
}

/// The contributions of all settings.
pub(super) struct Pool {
    n_qubits: usize,
    n_words: usize,
    settings: Vec<Setting>,
    rows: Vec<Row>,
    /// Visits of a step, and of all descents together.
    visits: usize,
    budget: usize,
}

/// Whether there is room and time for a pool of so many settings.
pub(super) fn fits(n_qubits: usize, settings: usize) -> bool {
    n_qubits < 24 && settings.saturating_mul(size_of::<f64>() << n_qubits) <= MOST_BYTES
}

impl Pool {
    /// The contributions as experiments have them. `words` are those of the plan, `shares` are above zero; none where it
    /// would take too long.
    pub(super) fn new(
        words: &Words,
        experiments: &[&Experiment],
        parities: Vec<Parities>,
        shares: &[f64],
        budget: usize,
    ) -> Option<Self> {
        let n_qubits = words.n_qubits();
        let mut settings: Vec<Setting> = Vec::with_capacity(experiments.len());
        for ((experiment, parities), share) in experiments.iter().zip(parities).zip(shares) {
            let own = experiment.readings().sums().words();
            let columns = located(words, own);
            let masks = (0..own.len() as u32).map(|column| experiment.index(column)).collect();
            settings.push(Setting { columns, masks, parities, share: *share });
        }
        let mut wanted: Vec<usize> =
            experiments.iter().flat_map(|e| e.readings().rows().iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let visits = |words: usize| (words * words).min((2 * n_qubits) << n_qubits);
        let all: usize = settings.iter().map(|s| visits(s.columns.len())).sum();
        let widely = all.saturating_mul(wanted.len()) <= FEW;
        let row = |row: usize| {
            let part = |experiment: &&Experiment| {
                let readings = experiment.readings();
                let Ok(j) = readings.rows().binary_search(&row) else {
                    let places = if widely { 0..readings.sums().words().len() as u32 } else { 0..0 };
                    return (places.clone().collect(), vec![0.0; places.len()]);
                };
                let (columns, coefficients) = readings.sums().row(j);
                if !widely {
                    return (columns.to_vec(), coefficients.to_vec());
                }
                let mut whole = vec![0.0; readings.sums().words().len()];
                columns.iter().zip(coefficients).for_each(|(&c, v)| whole[c as usize] = *v);
                ((0..whole.len() as u32).collect::<Vec<u32>>(), whole)
            };
            Row { row, parts: experiments.iter().map(part).collect() }
        };
        let rows: Vec<Row> = wanted.into_iter().map(row).collect();
        let parts = rows.iter().flat_map(|row| &row.parts);
        let visits: usize = parts.map(|(places, _)| visits(places.len())).sum();
        let pool = Pool { n_qubits, n_words: words.len(), settings, rows, visits, budget };
        (pool.descents() >= LEAST).then_some(pool)
    }

    /// How many descents there is time for.
    pub(super) fn descents(&self) -> usize {
        self.budget / (STEPS * self.visits).max(1)
    }

    /// Takes other shares, above zero.
    pub(super) fn set_shares(&mut self, shares: impl Iterator<Item = f64>) {
        self.settings.iter_mut().zip(shares).for_each(|(setting, share)| setting.share = share);
    }

    /// Makes the variance of every derivative smaller, for the shares.
    pub(super) fn descend(&mut self, cancel: &Cancel) -> Result<()> {
        let found = parallel::map(self.rows.len(), cancel, |r| self.descended(&self.rows[r], cancel))?;
        for (row, parts) in self.rows.iter_mut().zip(found) {
            row.parts.iter_mut().zip(parts).for_each(|((_, own), found)| *own = found);
        }
        Ok(())
    }

    /// For every setting the derivatives that it contributes to, with the variance of one shot that other shots say; where
    /// those are fewer than two, with the average over all states.
    pub(super) fn judged(&self, others: &[Parities], cancel: &Cancel) -> Result<Vec<Vec<(usize, f64)>>> {
        parallel::map(self.settings.len(), cancel, |i| {
            let (setting, other) = (&self.settings[i], &others[i]);
            let (trust, correction) =
                if other.shots < 2.0 { (0.0, 1.0) } else { (1.0, other.shots / (other.shots - 1.0)) };
            let read = |row: &&Row| row.parts[i].1.iter().any(|x| *x != 0.0);
            let own = |row: &Row| {
                let (places, x) = &row.parts[i];
                let spread = setting.covary(&other.means, trust, places, x, self.n_qubits);
                (row.row, dot(x, &spread).max(0.0) * correction)
            };
            Ok(self.rows.iter().filter(read).map(own).collect())
        })
    }

    /// For every setting the derivatives that it contributes to, with the variance of one shot.
    pub(super) fn variances(&self, cancel: &Cancel) -> Result<Vec<Vec<(usize, f64)>>> {
        parallel::map(self.settings.len(), cancel, |i| {
            let own = |row: &Row| {
                let (places, x) = &row.parts[i];
                let spread = self.settings[i].covary_with_noise(0.0, places, x, self.n_qubits);
                (row.row, dot(x, &spread).max(0.0))
            };
            let read = |row: &&Row| row.parts[i].1.iter().any(|x| *x != 0.0);
            Ok(self.rows.iter().filter(read).map(own).collect())
        })
    }

    /// What each setting is read for.
    pub(super) fn readings(&self, words: &Words) -> Vec<Readings> {
        let readings = |i: usize| {
            let setting = &self.settings[i];
            let mut used = vec![false; setting.columns.len()];
            let read = |x: &f64| *x != 0.0;
            for row in &self.rows {
                let (places, x) = &row.parts[i];
                places.iter().zip(x).filter(|(_, x)| read(x)).for_each(|(&p, _)| used[p as usize] = true);
            }
            let mut own = Words::new(self.n_qubits);
            let mut place = vec![0u32; used.len()];
            for p in (0..used.len()).filter(|&p| used[p]) {
                place[p] = own.len() as u32;
                let word = words.get(setting.columns[p] as usize);
                own.push_rows(word.x(), word.z());
            }
            let (mut rows, mut starts, mut columns, mut coefficients) =
                (Vec::new(), vec![0], Vec::new(), Vec::new());
            for row in &self.rows {
                let (places, x) = &row.parts[i];
                let before = columns.len();
                for (&p, x) in places.iter().zip(x).filter(|(_, x)| read(x)) {
                    columns.push(place[p as usize]);
                    coefficients.push(*x);
                }
                if columns.len() > before {
                    rows.push(row.row);
                    starts.push(columns.len());
                }
            }
            Readings::of_rows(rows, Sums::from_rows(own, starts, columns, coefficients))
        };
        (0..self.settings.len()).map(readings).collect()
    }

    /// Conjugate gradients on the plane where the contributions to each word have their sum. What is preconditioned is
    /// the variance that the settings would have without covariances.
    fn descended(&self, row: &Row, cancel: &Cancel) -> Result<Vec<Vec<f64>>> {
        let mut x: Vec<Vec<f64>> = row.parts.iter().map(|(_, x)| x.clone()).collect();
        let mut slope = self.slope(row, &x);
        let mut step = self.projected(row, &slope);
        let mut down = step.clone();
        let mut gain = dots(&slope, &step);
        for _ in 0..STEPS {
            cancel.check()?;
            if gain <= SETTLED * dots(&x, &slope).max(0.0) || gain <= 0.0 {
                break;
            }
            let bent = self.slope(row, &down);
            let bend = dots(&down, &bent);
            if bend <= 0.0 {
                break;
            }
            let length = gain / bend;
            for ((x, slope), (down, bent)) in x.iter_mut().zip(&mut slope).zip(down.iter().zip(&bent)) {
                x.iter_mut().zip(down).for_each(|(x, d)| *x -= length * d);
                slope.iter_mut().zip(bent).for_each(|(s, b)| *s -= length * b);
            }
            step = self.projected(row, &slope);
            let next = dots(&slope, &step);
            let turn = next / gain;
            gain = next;
            for (down, step) in down.iter_mut().zip(&step) {
                down.iter_mut().zip(step).for_each(|(d, s)| *d = s + turn * *d);
            }
        }
        Ok(x)
    }

    /// Half the slope of the variance.
    fn slope(&self, row: &Row, x: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let own = |((setting, (places, _)), x): ((&Setting, &Part), &Vec<f64>)| {
            let mut found = setting.covary_with_noise(NOISE, places, x, self.n_qubits);
            found.iter_mut().for_each(|s| *s /= setting.share);
            found
        };
        self.settings.iter().zip(&row.parts).zip(x).map(own).collect()
    }

    /// A slope times the shares, less what would change the sum over settings of a word.
    fn projected(&self, row: &Row, slope: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let mut sums = vec![(0.0, 0.0); self.n_words];
        let all = || self.settings.iter().zip(&row.parts).zip(slope);
        for ((setting, (places, _)), slope) in all() {
            for (&place, slope) in places.iter().zip(slope) {
                let (share, sum) = &mut sums[setting.columns[place as usize] as usize];
                *share += setting.share;
                *sum += setting.share * slope;
            }
        }
        let own = |((setting, (places, _)), slope): ((&Setting, &Part), &Vec<f64>)| {
            let one = |(&place, slope): (&u32, &f64)| {
                let (share, sum) = sums[setting.columns[place as usize] as usize];
                setting.share * (slope - sum / share)
            };
            places.iter().zip(slope).map(one).collect()
        };
        all().map(own).collect()
    }
}

impl Setting {
    /// The covariances of some of its words with a combination of them, as if a part of the shots were noise.
    fn covary_with_noise(&self, noise: f64, places: &[u32], x: &[f64], n_qubits: usize) -> Vec<f64> {
        let trust = self.parities.trust * (1.0 - noise);
        self.covary(&self.parities.means, trust, places, x, n_qubits)
    }

    /// The covariances where the parities have some means, which are trusted in part.
    fn covary(&self, means: &[f64], trust: f64, places: &[u32], x: &[f64], n_qubits: usize) -> Vec<f64> {
        let terms: Vec<(usize, f64)> = (places.iter())
            .map(|&place| {
                let (mask, negative) = self.masks[place as usize];
                (mask, if negative { -1.0 } else { 1.0 })
            })
            .collect();
        let mean: f64 = terms.iter().zip(x).map(|((mask, sign), x)| sign * x * means[*mask]).sum();
        let pairs = terms.len() * terms.len() <= (2 * n_qubits) << n_qubits;
        let second: Vec<f64> = if pairs {
            let with = |(a, sign): &(usize, f64)| {
                let all = terms.iter().zip(x).map(|((b, other), x)| other * x * means[a ^ b]);
                sign * all.sum::<f64>()
            };
            terms.iter().map(with).collect()
        } else {
            let mut values = vec![0.0; means.len()];
            terms.iter().zip(x).for_each(|((mask, sign), x)| values[*mask] += sign * x);
            // A sum over the differences of masks is a product of what their transforms are.
            let mut weights = means.to_vec();
            hadamard(&mut weights);
            hadamard(&mut values);
            values.iter_mut().zip(&weights).for_each(|(v, w)| *v *= w / means.len() as f64);
            hadamard(&mut values);
            terms.iter().map(|(mask, sign)| sign * values[*mask]).collect()
        };
        let spread = |((second, (mask, sign)), x): ((f64, &(usize, f64)), &f64)| {
            trust * (second - sign * means[*mask] * mean) + (1.0 - trust) * x
        };
        second.into_iter().zip(&terms).zip(x).map(spread).collect()
    }
}

/// The places of some words in a list that has them all, both ascending.
fn located(words: &Words, some: &Words) -> Vec<u32> {
    let mut next = 0;
    let place = |i: usize| {
        while words.get(next) != some.get(i) {
            next += 1;
        }
        next as u32
    };
    (0..some.len()).map(place).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn dots(a: &[Vec<f64>], b: &[Vec<f64>]) -> f64 {
    a.iter().zip(b).map(|(a, b)| dot(a, b)).sum()
}
