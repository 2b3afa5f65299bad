//! What each setting contributes to each word of each derivative, once it is known how its words vary together.
//!
//! A word that several settings reveal may be read from any of them: of derivative r, setting i contributes the word Q
//! times `x_iQ`, where `sum_i x_iQ = c_rQ`, the coefficient. The variance is `sum_i x_i C_i x_i / q_i`, with `C_i` the
//! covariances of the words in the setting and `q_i` its share: a quadratic function, which conjugate gradients make small
//! on the plane of the constraints. Words that do not belong to the derivative (`c_rQ = 0`) may help as well: what they
//! say in one setting is taken off in another.
//!
//! Invariant: the sums over settings stay the coefficients at every step, so that estimates have no bias on any state.
//! Cost: for every step, derivative and setting, a product with its covariances.

use super::covariances::{Covariances, transforms};
use crate::bits::parallel::{self, Cancel};
use crate::error::Result;
use crate::experiment::{Experiment, Readings};
use crate::pauli::{Sums, Words};
use std::ops::Range;

/// A descent ends where a step promises no more than this part of the variance.
const SETTLED: f64 = 1e-4;
/// The part of the shots that are taken for noise, so that no weights count on correlations that are all but perfect.
const NOISE: f64 = 0.01;
/// Visits of a step of all derivatives for which other words than their own are used.
const FEW: usize = 10_000_000;
/// How much is done for contributions.
#[derive(Clone, Copy)]
pub(super) struct Effort {
    /// Steps of a descent.
    steps: usize,
    /// Visits of all descents together.
    visits: usize,
}

/// For a state that is known: some seconds.
pub(super) const AT_LEISURE: Effort = Effort { steps: 12, visits: 4_000_000_000 };
/// For one that is remembered, which may be so in every step of a training run: a tenth of a second. More steps would
/// follow what is chance in few shots.
pub(super) const IN_A_STEP: Effort = Effort { steps: 4, visits: 60_000_000 };
/// With fewer descents than this there is none.
const LEAST: usize = 3;
/// Bytes of parities, and of covariances.
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
    /// For each the mask of its parity, and -1 where an even parity means that.
    masks: Vec<(usize, f64)>,
    covariances: Covariances,
    /// How much of a covariance counts; the rest is that of all states.
    trust: f64,
    share: f64,
}

/// The contributions of all settings to one derivative, setting after setting.
struct Row {
    row: usize,
    /// Where the contributions of each setting begin, and where the last end.
    starts: Vec<usize>,
    /// Places among the words of the setting.
    places: Vec<u32>,
    /// The same words, among those of the plan.
    columns: Vec<u32>,
    contributions: Vec<f64>,
}

impl Row {
    /// As experiments have them; with `widely` all words of a setting take part, also those that say nothing yet.
    fn of(row: usize, experiments: &[&Experiment], settings: &[Setting], widely: bool) -> Self {
        let mut made = Row { row, starts: vec![0], places: vec![], columns: vec![], contributions: vec![] };
        for (experiment, setting) in experiments.iter().zip(settings) {
            let readings = experiment.readings();
            let (places, coefficients) = match readings.rows().binary_search(&row) {
                Ok(j) => readings.sums().row(j),
                Err(_) => (&[][..], &[][..]),
            };
            let begin = made.places.len();
            if widely {
                made.places.extend(0..setting.columns.len() as u32);
                made.contributions.resize(made.places.len(), 0.0);
                let own = &mut made.contributions[begin..];
                places.iter().zip(coefficients).for_each(|(&place, v)| own[place as usize] = *v);
            } else {
                made.places.extend_from_slice(places);
                made.contributions.extend_from_slice(coefficients);
            }
            made.columns.extend(made.places[begin..].iter().map(|&place| setting.columns[place as usize]));
            made.starts.push(made.places.len());
        }
        made
    }

    fn part(&self, setting: usize) -> Range<usize> {
        self.starts[setting]..self.starts[setting + 1]
    }

    /// Whether it reads a setting.
    fn reads(&self, setting: usize) -> bool {
        self.contributions[self.part(setting)].iter().any(|x| *x != 0.0)
    }
}

/// The contributions of all settings.
pub(super) struct Pool {
    n_qubits: usize,
    n_words: usize,
    settings: Vec<Setting>,
    rows: Vec<Row>,
    /// Visits of a step.
    visits: usize,
    effort: Effort,
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
        effort: Effort,
    ) -> Option<Self> {
        let n_qubits = words.n_qubits();
        let mut room = MOST_BYTES / size_of::<f64>();
        let mut settings: Vec<Setting> = Vec::with_capacity(experiments.len());
        for ((experiment, parities), share) in experiments.iter().zip(parities).zip(shares) {
            let own = experiment.readings().sums().words();
            let columns = located(words, own);
            let sign = |(mask, negative): (usize, bool)| (mask, if negative { -1.0 } else { 1.0 });
            let masks: Vec<_> = (0..own.len() as u32).map(|column| sign(experiment.index(column))).collect();
            let Parities { means, trust, .. } = parities;
            let covariances = Covariances::new(masks.clone(), means, &mut room);
            settings.push(Setting { columns, masks, covariances, trust, share: *share });
        }
        let mut wanted: Vec<usize> =
            experiments.iter().flat_map(|e| e.readings().rows().iter().copied()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let visits = |words: usize| (words * words).min(transforms(1 << n_qubits));
        let all: usize = settings.iter().map(|s| visits(s.columns.len())).sum();
        let widely = all.saturating_mul(wanted.len()) <= FEW;
        let rows: Vec<Row> =
            wanted.into_iter().map(|row| Row::of(row, experiments, &settings, widely)).collect();
        let parts = rows.iter().flat_map(|row| (0..settings.len()).map(|i| row.part(i).len()));
        let visits: usize = parts.map(visits).sum();
        let pool = Pool { n_qubits, n_words: words.len(), settings, rows, visits, effort };
        (pool.descents() >= LEAST).then_some(pool)
    }

    /// How many descents there is time for.
    pub(super) fn descents(&self) -> usize {
        self.effort.visits / (self.effort.steps * self.visits).max(1)
    }

    /// Takes other shares, above zero.
    pub(super) fn set_shares(&mut self, shares: impl Iterator<Item = f64>) {
        self.settings.iter_mut().zip(shares).for_each(|(setting, share)| setting.share = share);
    }

    /// Makes the variance of every derivative smaller, for the shares.
    pub(super) fn descend(&mut self, cancel: &Cancel) -> Result<()> {
        let found = parallel::map(self.rows.len(), cancel, |r| self.descended(&self.rows[r], cancel))?;
        self.rows.iter_mut().zip(found).for_each(|(row, found)| row.contributions = found);
        Ok(())
    }

    /// For every setting the derivatives that it contributes to, with the variance of one shot that other shots say; where
    /// those are fewer than two, with the average over all states.
    pub(super) fn judged(&self, others: Vec<Parities>, cancel: &Cancel) -> Result<Vec<Vec<(usize, f64)>>> {
        let mut room = MOST_BYTES / size_of::<f64>();
        let others = self.settings.iter().zip(others).map(|(setting, Parities { means, shots, .. })| {
            let covariances = Covariances::new(setting.masks.clone(), means, &mut room);
            if shots < 2.0 { (covariances, 0.0, 1.0) } else { (covariances, 1.0, shots / (shots - 1.0)) }
        });
        let others: Vec<(Covariances, f64, f64)> = others.collect();
        parallel::map(self.settings.len(), cancel, |i| {
            let (covariances, trust, correction) = &others[i];
            Ok(self.spreads(i, covariances, *trust).map(|(row, v)| (row, v * correction)).collect())
        })
    }

    /// For every setting the derivatives that it contributes to, with the variance of one shot.
    pub(super) fn variances(&self, cancel: &Cancel) -> Result<Vec<Vec<(usize, f64)>>> {
        parallel::map(self.settings.len(), cancel, |i| {
            let setting = &self.settings[i];
            Ok(self.spreads(i, &setting.covariances, setting.trust).collect())
        })
    }

    /// The rows that read a setting, with the variance of one shot.
    fn spreads<'a>(
        &'a self,
        i: usize,
        covariances: &'a Covariances,
        trust: f64,
    ) -> impl Iterator<Item = (usize, f64)> + 'a {
        let mut spread = Vec::new();
        self.rows.iter().filter(move |row| row.reads(i)).map(move |row| {
            let part = row.part(i);
            let (places, x) = (&row.places[part.clone()], &row.contributions[part]);
            spread.resize(x.len(), 0.0);
            covary(covariances, trust, places, x, &mut spread);
            (row.row, dot(x, &spread).max(0.0))
        })
    }

    /// What each setting is read for.
    pub(super) fn readings(&self, words: &Words) -> Vec<Readings> {
        let readings = |i: usize| {
            let setting = &self.settings[i];
            let mut used = vec![false; setting.columns.len()];
            let read = |x: &f64| *x != 0.0;
            let parts = || {
                self.rows
                    .iter()
                    .map(|row| (row.row, row.places[row.part(i)].iter().zip(&row.contributions[row.part(i)])))
            };
            for (_, part) in parts() {
                part.filter(|(_, x)| read(x)).for_each(|(&p, _)| used[p as usize] = true);
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
            for (row, part) in parts() {
                let before = columns.len();
                for (&p, x) in part.filter(|(_, x)| read(x)) {
                    columns.push(place[p as usize]);
                    coefficients.push(*x);
                }
                if columns.len() > before {
                    rows.push(row);
                    starts.push(columns.len());
                }
            }
            Readings::of_rows(rows, Sums::from_rows(own, starts, columns, coefficients))
        };
        (0..self.settings.len()).map(readings).collect()
    }

    /// Conjugate gradients on the plane where the contributions to each word have their sum. What is preconditioned is
    /// the variance that the settings would have without covariances.
    fn descended(&self, row: &Row, cancel: &Cancel) -> Result<Vec<f64>> {
        let mut x = row.contributions.clone();
        let mut common = Common::new(self, row);
        let (mut slope, mut step, mut bent) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; x.len()]);
        self.slope(row, &x, &mut slope);
        common.projected(self, row, &slope, &mut step);
        let mut down = step.clone();
        let mut gain = dot(&slope, &step);
        for _ in 0..self.effort.steps {
            cancel.check()?;
            if gain <= SETTLED * dot(&x, &slope).max(0.0) || gain <= 0.0 {
                break;
            }
            self.slope(row, &down, &mut bent);
            let bend = dot(&down, &bent);
            if bend <= 0.0 {
                break;
            }
            let length = gain / bend;
            x.iter_mut().zip(&down).for_each(|(x, d)| *x -= length * d);
            slope.iter_mut().zip(&bent).for_each(|(s, b)| *s -= length * b);
            common.projected(self, row, &slope, &mut step);
            let next = dot(&slope, &step);
            let turn = next / gain;
            gain = next;
            down.iter_mut().zip(&step).for_each(|(d, s)| *d = s + turn * *d);
        }
        Ok(x)
    }

    /// Half the slope of the variance.
    fn slope(&self, row: &Row, x: &[f64], out: &mut [f64]) {
        for (i, setting) in self.settings.iter().enumerate() {
            let part = row.part(i);
            let out = &mut out[part.clone()];
            let trust = setting.trust * (1.0 - NOISE);
            covary(&setting.covariances, trust, &row.places[part.clone()], &x[part], out);
            out.iter_mut().for_each(|s| *s /= setting.share);
        }
    }
}

/// What the contributions to each word of a derivative have in common, over settings.
struct Common {
    /// For every word of the plan the shares of the settings that contribute it.
    shares: Vec<f64>,
    sums: Vec<f64>,
}

impl Common {
    fn new(pool: &Pool, row: &Row) -> Self {
        let mut shares = vec![0.0; pool.n_words];
        for (i, setting) in pool.settings.iter().enumerate() {
            row.columns[row.part(i)].iter().for_each(|&column| shares[column as usize] += setting.share);
        }
        Common { shares, sums: vec![0.0; pool.n_words] }
    }

    /// A slope times the shares, less what would change the sum over settings of a word.
    fn projected(&mut self, pool: &Pool, row: &Row, slope: &[f64], out: &mut [f64]) {
        row.columns.iter().for_each(|&column| self.sums[column as usize] = 0.0);
        let parts = || pool.settings.iter().enumerate().map(|(i, setting)| (row.part(i), setting.share));
        for (part, share) in parts() {
            for (&column, slope) in row.columns[part.clone()].iter().zip(&slope[part]) {
                self.sums[column as usize] += share * slope;
            }
        }
        for (part, share) in parts() {
            let own = row.columns[part.clone()].iter().zip(&slope[part.clone()]);
            for (out, (&column, slope)) in out[part].iter_mut().zip(own) {
                let column = column as usize;
                *out = share * (slope - self.sums[column] / self.shares[column]);
            }
        }
    }
}

/// Covariances that are trusted in part; the rest are those of all states, none at all.
fn covary(covariances: &Covariances, trust: f64, places: &[u32], x: &[f64], out: &mut [f64]) {
    covariances.times(places, x, out);
    out.iter_mut().zip(x).for_each(|(out, x)| *out = trust * *out + (1.0 - trust) * x);
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
