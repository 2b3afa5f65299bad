//! Optimal shares of the shots among the measurements of a gradient.
//!
//! A row `r` (a derivative) may be measured by three routes at once: from *settings* on the final state, each of
//! which reveals some words (`sum_Q c_rQ^2 / h_Q`, with `h_Q` the share of the shots that reveal Q); from *echoes*;
//! from *shifts* (each a direct measurement with a variance of its own, divided by its share). The row is the average
//! of the three with weights `a_r` that sum to one, so its variance is `sum_route a^2 V_route`. Shares and weights are
//! found together: every term has the form `a^2 / h` with `h` linear in the shares, which is jointly convex, so
//! alternating exact steps in the weights and sweeps over the shares find the one optimum.
//!
//! A sweep gives one measurement after the other the share that is best while the others stay, and scales them to sum
//! to one. The multiplicative step `q_f <- q_f sqrt(sum_{Q in f} s_Q / h_Q^2)`, which never makes the objective worse,
//! takes its place where it fails to help. With the best weights for the shares the objective is a convex function of
//! the shares alone, of degree -1, so no shares do better than `value^2 / max_f sum_{Q in f} s_Q / h_Q^2`, whatever the
//! weights: the certificate that is returned.
//!
//! Invariant: a word that is needed is revealed by a setting with a share above zero, however small.
//! Cost: a few passes over the incidences of words and settings per sweep.

use super::objective::Objective;
use super::route::{Mix, PerRoute, Route};
use crate::bits::parallel::Cancel;
use crate::error::{Error, Result};
use crate::pauli::Sums;

/// A measurement that gives rows directly.
#[derive(Debug, Clone, PartialEq)]
pub struct DirectMeasurement {
    /// Echo or shift.
    pub route: Route,
    /// Rows with the variance that one shot of this measurement contributes to them.
    pub rows: Vec<(u32, f64)>,
}

/// What is to be measured and by what.
#[derive(Debug)]
pub struct Problem<'a> {
    /// The rows as sums of words.
    pub sums: &'a Sums,
    /// How much the variance of each row counts; a row of weight zero is not measured.
    pub objective: &'a Objective,
    /// Words (columns of `sums`) that each setting reveals.
    pub families: &'a [Vec<u32>],
    /// Direct measurements.
    pub direct: &'a [DirectMeasurement],
}

/// Shares of the shots, and what they achieve.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// The share of each setting.
    pub families: Vec<f64>,
    /// The share of each direct measurement.
    pub direct: Vec<f64>,
    /// The weights of the routes of each row; a row of weight zero has none.
    pub mix: Vec<Mix>,
    /// The weighted variance of one shot.
    pub value: f64,
    /// No shares of the same measurements, with any weights of the routes that rows have kept, do better than this.
    pub bound: f64,
}

/// The certified relative distance from the optimum at which descent stops.
const TOLERANCE: f64 = 5e-4;
/// Descent also stops when a few steps gain no more than this, relative to the value.
const SETTLED: f64 = 1e-7;
/// The same while more settings are searched for.
const ROUGHLY: f64 = 3e-5;
/// A row leaves a route that has less than this weight in the end.
const NEGLIGIBLE: f64 = 0.02;
/// Weights below this are set to zero on the way, before they underflow.
const VANISHED: f64 = 1e-12;
/// Shares that are wanted at all stay above this part of an even one: what vanished could not come back.
const FLOOR: f64 = 1e-7;
/// Steps in the shares between two steps in the weights.
const STEPS: usize = 4;

impl Problem<'_> {
    /// Optimal shares. `start` is a former solution of a similar problem (its lengths may be shorter), which saves
    /// most of the steps; `effort` bounds the number of incidences that are visited.
    pub fn solve(&self, start: Option<&Shares>, effort: u64, cancel: &Cancel) -> Result<Shares> {
        self.descend(start, effort, self.sums.entries(), false, cancel)
    }

    /// Optimal shares as [`Problem::solve`] finds them; if `open`, every row keeps all its routes, as a search for more
    /// settings needs it. A step in the weights counts as twice so many `entries` of rows.
    pub(crate) fn descend(
        &self,
        start: Option<&Shares>,
        effort: u64,
        entries: usize,
        open: bool,
        cancel: &Cancel,
    ) -> Result<Shares> {
        let mut solver = Solver::new(self, start)?;
        let mut left = effort as i64;
        let (mut rounded, mut last) = (open || solver.single, f64::INFINITY);
        loop {
            cancel.check()?;
            solver.mix();
            let now = solver.result();
            let close = now.value <= (1.0 + TOLERANCE) * now.bound;
            let rough = if open && solver.single { ROUGHLY } else { SETTLED };
            let settled = (last - now.value).abs() <= rough * now.value;
            last = now.value;
            if close || settled || left <= 0 {
                if rounded {
                    return Ok(now);
                }
                // The few rows that gain next to nothing from a route leave it, and the words that only they needed.
                solver.round();
                (rounded, last) = (true, f64::INFINITY);
                left = left.max((effort / 8) as i64);
            }
            (0..STEPS).fold(now.value, |value, _| solver.step(value));
            let passed = if solver.single { 0 } else { 2 * entries as u64 };
            left -= (STEPS as u64 * solver.incidences + passed) as i64;
        }
    }
}

impl Problem<'_> {
    /// The variance of one shot of every row, infinite for a row that the shares do not measure.
    pub fn variances(&self, shares: &Shares) -> Vec<f64> {
        let mut revealed = vec![0.0; self.sums.words().len()];
        for (family, share) in self.families.iter().zip(&shares.families) {
            family.iter().for_each(|&c| revealed[c as usize] += share);
        }
        if !revealed.is_empty() && self.sums.words().get(0).is_identity() {
            revealed[0] = f64::INFINITY; // known without shots
        }
        let zero_over_zero = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a / b };
        let mut found: Vec<f64> = (0..self.sums.len())
            .map(|r| {
                let (columns, coefficients) = self.sums.row(r);
                let part = shares.mix[r][Route::Settings].powi(2);
                if part == 0.0 {
                    let mut terms = self.sums.terms(r);
                    let varies = terms.any(|(word, v)| v != 0.0 && !word.is_identity());
                    return if varies && shares.mix[r] == Mix::NONE { f64::INFINITY } else { 0.0 };
                }
                let term = |(&c, v): (&u32, &f64)| zero_over_zero(part * v * v, revealed[c as usize]);
                columns.iter().zip(coefficients).map(term).sum()
            })
            .collect();
        for (measurement, share) in self.direct.iter().zip(&shares.direct) {
            for &(r, v) in &measurement.rows {
                let part = shares.mix[r as usize][measurement.route].powi(2);
                found[r as usize] += zero_over_zero(part * v, *share);
            }
        }
        found
    }
}

struct Solver<'a> {
    problem: &'a Problem<'a>,
    shares: Vec<f64>,
    direct: Vec<f64>,
    mix: Vec<Mix>,
    /// Which routes a row has at all.
    routes: Vec<PerRoute<bool>>,
    /// Whether every row has one route only.
    single: bool,
    weights: &'a [f64],
    incidences: u64,
    scores: Vec<f64>,
    /// Coefficients of the direct measurements in the objective.
    costs: Vec<f64>,
    /// Sum over families that reveal the word.
    revealed: Vec<f64>,
}

impl<'a> Solver<'a> {
    fn new(problem: &'a Problem<'a>, start: Option<&Shares>) -> Result<Self> {
        let Problem { sums, objective, families, direct } = *problem;
        let (weights, by_settings) = (objective.weights(), objective.by_settings());
        let mut reachable = vec![false; sums.words().len()];
        families.iter().flatten().for_each(|&c| reachable[c as usize] = true);
        let identity = (!sums.words().is_empty() && sums.words().get(0).is_identity()).then_some(0);
        if let Some(0) = identity {
            reachable[0] = true;
        }
        let mut routes = vec![PerRoute::default(); sums.len()];
        for (r, routes) in routes.iter_mut().enumerate() {
            let (columns, coefficients) = sums.row(r);
            let mut needed = columns.iter().zip(coefficients).filter(|(_, v)| **v != 0.0);
            routes[Route::Settings] =
                by_settings[r] && !families.is_empty() && needed.all(|(&c, _)| reachable[c as usize]);
        }
        for measurement in direct {
            for &(r, _) in &measurement.rows {
                routes[r as usize][measurement.route] = true;
            }
        }
        for r in (0..sums.len()).filter(|&r| weights[r] > 0.0) {
            if !routes[r].iter().any(|open| *open) {
                let mut terms = sums.terms(r).zip(sums.row(r).0);
                let hidden = terms.find(|((_, v), c)| *v != 0.0 && !reachable[**c as usize]);
                let word = hidden.map_or_else(|| format!("row {r}"), |((word, _), _)| word.to_string());
                return Err(Error::invalid(
                    "settings",
                    "settings that reveal every word that is asked for",
                    format!("none that reveals {word}: add one whose measured words generate it"),
                ));
            }
        }
        let single = routes.iter().all(|open| open.iter().filter(|b| **b).count() <= 1);
        let count = families.len() + direct.len();
        let even = 1.0 / count.max(1) as f64;
        let from = |old: Option<&Vec<f64>>, n: usize| -> Vec<f64> {
            // New measurements start with a share that a multiplicative step could enlarge; where routes compete, with one
            // that says what they are worth.
            let least = if old.is_some() { 1e-4 * even } else { even };
            let new = if direct.is_empty() { least } else { even };
            (0..n).map(|i| old.and_then(|o| o.get(i)).map_or(new, |&s| s.max(least))).collect()
        };
        let mix = (0..sums.len())
            .map(|r| {
                if weights[r] == 0.0 {
                    return Mix::NONE;
                }
                let closed = |m: &Mix| Route::ALL.iter().any(|&w| !routes[r][w] && m[w] != 0.0);
                let old = start.and_then(|s| s.mix.get(r)).filter(|m| !closed(m) && m.total() > 0.5);
                let open = routes[r].iter().filter(|w| **w).count().max(1) as f64;
                old.copied().unwrap_or_else(|| Mix::of(|w| if routes[r][w] { 1.0 / open } else { 0.0 }))
            })
            .collect();
        let mut solver = Solver {
            problem,
            weights,
            shares: from(start.map(|s| &s.families), families.len()),
            direct: from(start.map(|s| &s.direct), direct.len()),
            mix,
            routes,
            single,
            incidences: families.iter().map(|f| f.len() as u64).sum::<u64>()
                + direct.iter().map(|d| d.rows.len() as u64).sum::<u64>()
                + 1,
            scores: vec![0.0; sums.words().len()],
            costs: vec![0.0; direct.len()],
            revealed: vec![0.0; sums.words().len()],
        };
        solver.normalise();
        solver.rescore();
        Ok(solver)
    }

    fn normalise(&mut self) {
        let total: f64 = self.shares.iter().chain(&self.direct).sum();
        self.shares.iter_mut().chain(&mut self.direct).for_each(|s| *s /= total);
    }

    /// Scores of the words and costs of the direct measurements from the mix.
    fn rescore(&mut self) {
        let Problem { sums, direct, .. } = *self.problem;
        let weights = self.weights;
        self.scores = self.problem.objective.scores_of_mix(sums, &self.mix);
        for (cost, measurement) in self.costs.iter_mut().zip(direct) {
            let route = measurement.route;
            let row = |&(r, v): &(u32, f64)| weights[r as usize] * self.mix[r as usize][route].powi(2) * v;
            *cost = measurement.rows.iter().map(row).sum();
        }
    }

    fn reveal(&mut self) {
        self.revealed.fill(0.0);
        for (family, share) in self.problem.families.iter().zip(&self.shares) {
            family.iter().for_each(|&c| self.revealed[c as usize] += share);
        }
    }

    fn value(&mut self) -> f64 {
        self.reveal();
        let settings =
            self.scores.iter().zip(&self.revealed).map(|(s, h)| if *s == 0.0 { 0.0 } else { s / h });
        let direct = self.costs.iter().zip(&self.direct).map(|(c, q)| if *c == 0.0 { 0.0 } else { c / q });
        settings.sum::<f64>() + direct.sum::<f64>()
    }

    /// The objective and, for every measurement, minus its derivative.
    fn slopes(&mut self) -> (f64, Vec<f64>, Vec<f64>) {
        self.reveal();
        let mut value = 0.0;
        let pull: Vec<f64> = (self.scores.iter().zip(&self.revealed))
            .map(|(s, h)| {
                if *s == 0.0 {
                    return 0.0;
                }
                value += s / h;
                s / (h * h)
            })
            .collect();
        let slope = |family: &Vec<u32>| family.iter().map(|&c| pull[c as usize]).sum::<f64>();
        let slopes = self.problem.families.iter().map(slope).collect();
        let direct: Vec<f64> = (self.costs.iter().zip(&self.direct))
            .map(|(cost, share)| if *cost == 0.0 { 0.0 } else { cost / (share * share) })
            .collect();
        value += direct.iter().zip(&self.direct).map(|(d, share)| d * share).sum::<f64>();
        (value, slopes, direct)
    }

    /// One measurement after the other takes the share that is best while the others stay. If that should not make
    /// the objective, which is `value`, better, a multiplicative step does.
    fn step(&mut self, value: f64) -> f64 {
        if value == 0.0 {
            return value; // nothing to measure, by any shares
        }
        let before = (self.shares.clone(), self.direct.clone());
        self.sweep(value);
        self.normalise();
        let after = self.value();
        if after <= value {
            return after;
        }
        (self.shares, self.direct) = before;
        self.multiply();
        self.value()
    }

    /// Lowers `sum_Q s_Q / h_Q + rate * sum_f q_f`, whose optimum is the one of the shares that sum to one times a
    /// number, in one share after the other.
    fn sweep(&mut self, rate: f64) {
        let floor = self.floor();
        let root = 1.0 / rate.sqrt();
        for (family, share) in self.problem.families.iter().zip(&mut self.shares) {
            let (mut slope, mut bend, mut least) = (0.0, 0.0, f64::INFINITY);
            for &c in family {
                let (s, h) = (self.scores[c as usize], self.revealed[c as usize]);
                if s > 0.0 {
                    let pull = s / (h * h);
                    slope += pull;
                    bend += pull / h;
                    least = f64::min(least, h);
                }
            }
            if slope == 0.0 {
                *share = 0.0; // no word that counts
                continue;
            }
            // Newton's step for the share at which the slope is the rate, in the inverse root of the slope: that is
            // linear in the share where the family reveals its words alone. No word loses more than half of what it has.
            let step = (root - 1.0 / slope.sqrt()) * slope * slope.sqrt() / bend;
            let wanted = (*share + step.max(-0.5 * least)).max(floor);
            let change = wanted - *share;
            if change != 0.0 {
                *share = wanted;
                family.iter().for_each(|&c| self.revealed[c as usize] += change);
            }
        }
        for (share, cost) in self.direct.iter_mut().zip(&self.costs) {
            *share = if *cost > 0.0 { (cost / rate).sqrt().max(floor) } else { 0.0 };
        }
    }

    /// The multiplicative step with the exponent one half, which always helps.
    fn multiply(&mut self) {
        let (value, slopes, direct) = self.slopes();
        let floor = self.floor();
        let all = self.shares.iter_mut().chain(&mut self.direct).zip(slopes.iter().chain(&direct));
        for (share, slope) in all {
            let wanted = if *slope > 0.0 { floor } else { 0.0 };
            *share = (*share * (slope / value).sqrt()).max(wanted);
        }
        self.normalise();
    }

    /// What a share that is wanted at all does not fall below.
    fn floor(&self) -> f64 {
        FLOOR / (self.shares.len() + self.direct.len()) as f64
    }

    /// The variance of each route for every row that counts, from the current shares.
    fn variances(&mut self) -> Vec<PerRoute<f64>> {
        self.reveal();
        let Problem { sums, direct, .. } = *self.problem;
        let mut found: Vec<PerRoute<f64>> = (0..sums.len())
            .map(|r| {
                let mut own = PerRoute::default();
                if self.weights[r] == 0.0 {
                    return own;
                }
                let (columns, coefficients) = sums.row(r);
                let term =
                    |(&c, v): (&u32, &f64)| if *v == 0.0 { 0.0 } else { v * v / self.revealed[c as usize] };
                own[Route::Settings] = columns.iter().zip(coefficients).map(term).sum();
                own
            })
            .collect();
        for (measurement, share) in direct.iter().zip(&self.direct) {
            for &(r, v) in &measurement.rows {
                found[r as usize][measurement.route] += v / share;
            }
        }
        found
    }

    /// The best weights for the current shares: inversely proportional to the variances.
    fn mix(&mut self) {
        if self.single {
            return;
        }
        let found = self.variances();
        for r in (0..self.mix.len()).filter(|&r| self.weights[r] > 0.0) {
            let all =
                Mix::of(|w| if self.routes[r][w] && found[r][w] > 0.0 { 1.0 / found[r][w] } else { 0.0 });
            let total: f64 = all.iter().filter(|p| p.is_finite()).sum();
            if total > 0.0 && all.iter().all(|p| p.is_finite()) {
                // What has all but vanished is given up before it underflows.
                let mut kept = Mix::of(|w| if all[w] > VANISHED * total { all[w] } else { 0.0 });
                kept.divide(kept.total());
                self.mix[r] = kept;
            }
        }
        self.rescore();
    }

    /// Closes the routes that have a small weight, for good.
    fn round(&mut self) {
        for (mix, routes) in self.mix.iter().zip(&mut self.routes) {
            *routes = PerRoute::of(|w| routes[w] && mix[w] >= NEGLIGIBLE);
        }
        self.mix();
    }

    fn result(&mut self) -> Shares {
        let (value, slopes, direct) = self.slopes();
        let steepest = slopes.iter().chain(&direct).fold(0.0, |a: f64, b| a.max(*b));
        Shares {
            families: self.shares.clone(),
            direct: self.direct.clone(),
            mix: self.mix.clone(),
            value,
            bound: if steepest > 0.0 { value.min(value * value / steepest) } else { 0.0 },
        }
    }
}
