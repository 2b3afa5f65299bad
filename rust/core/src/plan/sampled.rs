//! Some of a method's experiments, drawn by their shares: a step of training that costs what it needs, not what the list
//! of settings needs.
//!
//! Of R draws, experiments whose share is at least `1 / R` of what is left are run always. The others are drawn by
//! systematic sampling, with a start that goes on evenly from step to step, so that over a few steps each is run in
//! proportion to its share. An experiment that was drawn is read divided by its probability: the gradient is unbiased,
//! whatever the number of draws and shots. An echo or a shift is one draw of two circuits, or of one of them where there is
//! one shot.
//!
//! Invariant: a function of the plan, the numbers, the seed and the step. Cost: the words of the derivatives, and the
//! experiments that are run.

use super::approach::Source;
use super::run::round;
use super::{Method, Plan, Simulated};
use crate::bits::parallel::Cancel;
use crate::bits::philox::{philox, unit_interval};
use crate::design::Route;
use crate::error::{Error, Result};
use crate::experiment::{Draw, Draws, Experiment};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Stream of the key that the first start is drawn with.
const START: u64 = u64::from_le_bytes(*b"settings");
/// The golden ratio, as a part of 2^64: its multiples fill the circle evenly.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// How many settings a step runs, and which step it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Draws, at least one.
    pub draws: usize,
    /// The number of the step: those that follow each other run different settings.
    pub number: u64,
}

/// Circuits that are run together.
struct Unit {
    sources: Range<usize>,
    share: f64,
}

/// What a step runs.
struct Choice {
    always: Vec<usize>,
    /// Units, and how often each was drawn.
    drawn: Vec<(usize, usize)>,
    /// The probability of a unit in one draw is its share divided by this.
    rest: f64,
    draws: usize,
    /// Circuits of the largest unit.
    most: u64,
}

impl Plan {
    /// The experiments of one step, with their shots: `shots` in all. Where draws and shots are enough for all, all are
    /// run, as in [`Plan::allocate`].
    pub fn allocate_step(
        &self,
        method: Method,
        shots: u64,
        step: Step,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Vec<(Experiment, u64)>> {
        let (sources, shares) = self.list(method)?;
        let units = units(&sources, &shares, shots);
        let Some(choice) = choose_for(&units, shots, step.draws, start(seed, step.number))? else {
            return self.allocate(method, shots, seed, cancel);
        };
        let list = List { plan: self, method, sources: &sources, shares: &shares, units: &units };
        let of_draws = choice.shots(shots);
        let mut found = list.always(&choice.always, shots - of_draws, seed, cancel)?;
        found.extend(list.drawn(&choice, of_draws, cancel)?);
        Ok(found)
    }

    /// The variance of every derivative from one step, on the state that is prepared, by simulation: exact for one draw,
    /// and for several as if they were independent.
    pub fn exact_step(&self, method: Method, shots: u64, draws: usize, cancel: &Cancel) -> Result<Vec<f64>> {
        let (sources, shares) = self.list(method)?;
        let units = units(&sources, &shares, shots);
        let Some(choice) = choose_for(&units, shots, draws, 0.0)? else {
            let of_one = self.exact(method, cancel)?;
            return Ok(of_one.into_iter().map(|v| v / shots as f64).collect());
        };
        let all: Vec<usize> = (0..sources.len()).collect();
        let experiments = self.build_some(method, &sources, &shares, &all, cancel)?;
        let moments = self.exact_moments(experiments.iter(), cancel)?;
        let of_draws = choice.shots(shots) as f64;
        let in_always: f64 = choice.always.iter().map(|&u| units[u].share).sum();
        let mut variances = self.unmeasured(method);
        let mut means = vec![0.0; variances.len()];
        for (u, unit) in units.iter().enumerate() {
            let always = choice.always.binary_search(&u).is_ok();
            let times = choice.draws as f64 * unit.share / choice.rest;
            let mut own = BTreeMap::new();
            for i in unit.sources.clone() {
                let shots = if always {
                    (shots as f64 - of_draws) * shares[i] / in_always
                } else {
                    // So many where it is drawn, which is seldom; but then it is read divided by how often.
                    of_draws / (choice.draws * unit.sources.len()) as f64 * times
                };
                for m in &moments[i] {
                    variances[m.row] += m.variance / shots;
                    *own.entry(m.row).or_insert(0.0) += m.mean;
                }
            }
            for (row, mean) in own.into_iter().filter(|_| !always) {
                variances[row] += mean * mean / times;
                means[row] += mean;
            }
        }
        let draws = choice.draws as f64;
        variances.iter_mut().zip(means).for_each(|(v, mean)| *v -= mean * mean / draws);
        Ok(variances)
    }

    /// What a method runs, with shares that sum to one.
    fn list(&self, method: Method) -> Result<(Vec<Source<'_>>, Vec<f64>)> {
        let (sources, mut shares): (Vec<_>, Vec<f64>) = self.sources(method)?.into_iter().unzip();
        let total: f64 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= total);
        Ok((sources, shares))
    }

    /// A gradient from simulated shots of one step. The same seed and step give the same outcome.
    pub fn simulate_step(
        &self,
        method: Method,
        shots: u64,
        step: Step,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Simulated> {
        let experiments = self.allocate_step(method, shots, step, seed, cancel)?;
        self.run(method, &experiments, philox([seed, START], [step.number, 1, 0, 0])[0], cancel)
    }
}

/// What a method runs, with shares that sum to one.
struct List<'a> {
    plan: &'a Plan,
    method: Method,
    sources: &'a [Source<'a>],
    shares: &'a [f64],
    units: &'a [Unit],
}

impl List<'_> {
    /// Whole numbers of shots for the units that every step runs.
    fn always(
        &self,
        always: &[usize],
        shots: u64,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Vec<(Experiment, u64)>> {
        let sources: Vec<usize> = always.iter().flat_map(|&u| self.units[u].sources.clone()).collect();
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let shares: Vec<f64> = sources.iter().map(|&i| self.shares[i]).collect();
        let experiments = self.plan.build_some(self.method, self.sources, self.shares, &sources, cancel)?;
        Ok(experiments.into_iter().zip(round(&shares, shots, seed)).collect())
    }

    /// Equal shots for the units that were drawn, whose readings are divided by how often that was to be expected.
    fn drawn(&self, choice: &Choice, shots: u64, cancel: &Cancel) -> Result<Vec<(Experiment, u64)>> {
        let sources: Vec<usize> =
            choice.drawn.iter().flat_map(|&(u, _)| self.units[u].sources.clone()).collect();
        let experiments = self.plan.build_some(self.method, self.sources, self.shares, &sources, cancel)?;
        let of = Arc::new(Draws { count: choice.draws, second: self.second(choice) });
        let (each, more) = (shots / sources.len() as u64, (shots % sources.len() as u64) as usize);
        let mut experiments = experiments.into_iter();
        let mut found = Vec::with_capacity(sources.len());
        for (place, &(u, times)) in choice.drawn.iter().enumerate() {
            let unit = &self.units[u];
            let factor = times as f64 * choice.rest / (choice.draws as f64 * unit.share);
            for experiment in experiments.by_ref().take(unit.sources.len()) {
                let shots = each + u64::from(found.len() < more);
                found.push((experiment.drawn(Draw { place, of: of.clone() }, factor), shots));
            }
        }
        Ok(found)
    }

    /// For every derivative the second moment of what one draw says of it, on the maximally mixed state.
    fn second(&self, choice: &Choice) -> Vec<f64> {
        let plan = self.plan;
        let (sums, first) = (plan.observables.sums(), plan.structure.n_observables());
        let mut to_draw = self.shares.to_vec();
        let always = choice.always.iter().flat_map(|&u| self.units[u].sources.clone());
        always.for_each(|i| to_draw[i] = 0.0);
        let (all, own) = (plan.revealed(self.sources, self.shares), plan.revealed(self.sources, &to_draw));
        let mut second: Vec<f64> = (first..sums.len())
            .map(|r| {
                let part = plan.part(self.method, r, Route::Settings).powi(2);
                let (columns, coefficients) = sums.row(r);
                let seen = columns.iter().zip(coefficients).filter(|(c, _)| all[**c as usize] > 0.0);
                let term = |(&c, v): (&u32, &f64)| part * v * v * own[c as usize] / all[c as usize].powi(2);
                choice.rest * seen.map(term).sum::<f64>()
            })
            .collect();
        let of_units = self.units.iter().flat_map(|unit| unit.sources.clone().map(|i| (i, unit.share)));
        for (i, share) in of_units.filter(|(i, _)| to_draw[*i] > 0.0) {
            let (readings, route) = match &self.sources[i] {
                Source::Family(_) => continue,
                Source::Setting(_, readings) => (*readings, None),
                Source::Turned { pair, route, .. } => (pair.readings(), Some(*route)),
            };
            for (row, square) in readings.second_moments() {
                let part = route.map_or(1.0, |route| plan.part(self.method, first + row, route)).powi(2);
                second[row] += part * square * choice.rest / share;
            }
        }
        second
    }
}

impl Choice {
    /// How many of the shots of a step are for its draws.
    fn shots(&self, shots: u64) -> u64 {
        let wanted = if self.always.is_empty() { shots as f64 } else { shots as f64 * self.rest };
        let (least, most) = (self.draws as u64 * self.most, shots - self.always.len() as u64 * self.most);
        (wanted as u64).clamp(least, most)
    }
}

/// Chooses the units of a step; none where draws and shots are enough for all.
fn choose_for(units: &[Unit], shots: u64, draws: usize, start: f64) -> Result<Option<Choice>> {
    if draws == 0 {
        return Err(Error::invalid("settings", "at least 1", "0"));
    }
    let circuits: u64 = units.iter().map(|unit| unit.sources.len() as u64).sum();
    if draws >= units.len() && shots >= circuits {
        return Ok(None);
    }
    let most = units.iter().map(|unit| unit.sources.len()).max().unwrap_or(1) as u64;
    if shots < most {
        let expected = format!("at least {most}, one for each circuit of a setting that is drawn");
        return Err(Error::invalid("shots", expected, shots.to_string()));
    }
    let draws = draws.min((shots / most) as usize).min(units.len() - 1).max(1);
    Ok(Some(Choice { most, ..choose(units, draws, start) }))
}

/// Circuits that differ by the sign of a turn belong together, where there are shots for both.
fn units(sources: &[Source<'_>], shares: &[f64], shots: u64) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    for (i, share) in shares.iter().enumerate() {
        match (&sources[i], units.last_mut()) {
            (Source::Turned { plus: true, .. }, Some(unit)) if shots > 1 => {
                unit.sources.end = i + 1;
                unit.share += share;
            }
            _ => units.push(Unit { sources: i..i + 1, share: *share }),
        }
    }
    units
}

/// Where systematic sampling starts in a step, as a part of the distance between two draws.
fn start(seed: u64, step: u64) -> f64 {
    let first = philox([seed, START], [0; 4])[0];
    unit_interval(first.wrapping_add(step.wrapping_mul(GOLDEN)))
}

/// Chooses units by their shares, which sum to one: fewer draws than units.
fn choose(units: &[Unit], draws: usize, start: f64) -> Choice {
    let mut by_share: Vec<usize> = (0..units.len()).collect();
    by_share.sort_by(|a, b| units[*b].share.total_cmp(&units[*a].share));
    let mut rest: f64 = units.iter().map(|unit| unit.share).sum();
    let (mut always, mut left) = (Vec::new(), draws);
    for &u in &by_share {
        if left == 1 || units[u].share * (left as f64) < rest {
            break;
        }
        always.push(u);
        left -= 1;
        rest -= units[u].share;
    }
    always.sort_unstable();
    let others: Vec<usize> = (0..units.len()).filter(|u| always.binary_search(u).is_err()).collect();
    // Summed anew: what is left of a difference may be rounding errors only.
    let rest: f64 = others.iter().map(|&u| units[u].share).sum();
    let (mut drawn, mut sum, mut point) = (Vec::new(), 0.0, 0);
    for &u in &others {
        sum += units[u].share;
        let mut times = 0;
        while point < left && (start + point as f64) / left as f64 * rest < sum {
            (times, point) = (times + 1, point + 1);
        }
        if times > 0 {
            drawn.push((u, times));
        }
    }
    Choice { always, drawn, rest, draws: left, most: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shares: &[f64]) -> Vec<Unit> {
        shares.iter().enumerate().map(|(i, share)| Unit { sources: i..i + 1, share: *share }).collect()
    }

    #[test]
    fn units_are_drawn_in_proportion_to_their_shares() {
        let shares = [0.4, 0.05, 0.25, 0.02, 0.08, 0.1, 0.07, 0.03];
        let steps = 2_000;
        for draws in 1..8 {
            let mut times = [0.0; 8];
            for step in 0..steps {
                let choice = choose(&of(&shares), draws, start(7, step));
                assert_eq!(choice.draws + choice.always.len(), draws);
                assert_eq!(choice.drawn.iter().map(|d| d.1).sum::<usize>(), choice.draws);
                choice.always.iter().for_each(|&u| times[u] += 1.0);
                for &(u, found) in &choice.drawn {
                    assert_eq!(found, 1);
                    times[u] += choice.rest / (choice.draws as f64 * shares[u]);
                }
            }
            // The starts fill the interval evenly: counts are off by at most the logarithm of their number.
            for (u, times) in times.iter().enumerate() {
                assert!((times / steps as f64 - 1.0).abs() < 0.05, "{draws} {u} {times}");
            }
        }
    }

    #[test]
    fn what_has_its_share_of_the_draws_is_always_run() {
        let choice = choose(&of(&[0.5, 0.3, 0.1, 0.05, 0.05]), 3, 0.5);
        assert_eq!((choice.always, choice.draws), (vec![0, 1], 1));
        assert!((choice.rest - 0.2).abs() < 1e-12);
        let choice = choose(&of(&[0.25; 4]), 2, 0.0);
        assert_eq!((choice.always.len(), choice.drawn), (0, vec![(0, 1), (2, 1)]));
    }
}
