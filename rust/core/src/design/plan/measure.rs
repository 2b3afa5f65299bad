//! From a plan to what is run: experiments with their shares or shots, and their exact or simulated outcome.

use super::methods::Solution;
use super::{Method, Plan};
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{philox, unit_interval};
use crate::design::Ensemble;
use crate::design::allocate::Way;
use crate::design::experiment::{Experiment, Readings};
use crate::design::search::Found;
use crate::error::{Error, Result};
use crate::heisenberg::ProductState;
use crate::pauli::Sums;

/// Stream of the key that rounds shares to shots.
const ROUNDING: u64 = u64::from_le_bytes(*b"rounding");

/// A gradient estimated from outcomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Per derivative, observable by observable; zero where the plan knows that it is.
    pub gradient: Vec<f64>,
    /// Standard error of each.
    pub stderr: Vec<f64>,
}

impl Plan {
    /// The distribution of settings of a method whose shots are all of the final state.
    pub fn ensemble(&self, method: Method) -> Result<Ensemble> {
        match self.solution(method)? {
            Solution::Drawn(ensemble) => Ok(ensemble.clone()),
            Solution::Shares(found) if found.ways.is_empty() => {
                found.ensemble(self.structure.circuit.n_qubits(), self.structure.options.connectivity)
            }
            Solution::Commuting(shares) => {
                let found = self.structure.commuting.iter().flatten();
                Ensemble::settings(found.map(|(setting, _)| setting.clone()).collect(), shares.clone())
            }
            _ => Err(Error::invalid(
                "method",
                "a method whose shots are all of the final state",
                method.name(),
            )),
        }
    }

    /// The experiments of a method and the share of the shots of each.
    ///
    /// Methods that draw a setting for every shot have none: their snapshots come from [`Plan::ensemble`].
    pub fn experiments(&self, method: Method) -> Result<Vec<(Experiment, f64)>> {
        let mut experiments = Vec::new();
        match self.solution(method)? {
            Solution::Drawn(_) | Solution::Absent(_) | Solution::Bound(..) => {
                return Err(Error::invalid(
                    "method",
                    "a method with a list of circuits (this one draws a setting for every shot: sample its ensemble)",
                    method.name(),
                ));
            }
            Solution::Shares(found) => {
                let counts = &found.shares.families;
                self.of_families(found, counts, |e, share| experiments.push((e, share)))?;
                self.of_direct(found, |e, share| experiments.push((e, share)))?;
            }
            Solution::Commuting(shares) => {
                for ((setting, readings), share) in self.structure.commuting.iter().flatten().zip(shares) {
                    let experiment =
                        Experiment::new(self.structure.circuit.clone(), setting.clone(), readings.clone())?;
                    experiments.push((experiment.of_final_state(), *share));
                }
            }
            Solution::Equal => {
                let shifts: Vec<_> = self.structure.wired.iter().flatten().collect();
                for shift in &shifts {
                    let share = 0.5 / shifts.len() as f64;
                    experiments.extend([(shift.plus()?, share), (shift.minus()?, share)]);
                }
            }
        }
        experiments.retain(|(_, share)| *share > 0.0);
        Ok(experiments)
    }

    /// The experiments of a method with whole numbers of shots, `shots` in all: every experiment gets at least one, and
    /// the expectation of each number is its share. Words that several settings reveal are pooled by these numbers, so
    /// the estimate is unbiased whatever the rounding.
    pub fn allocate(&self, method: Method, shots: u64, seed: u64) -> Result<Vec<(Experiment, u64)>> {
        let planned = self.experiments(method)?;
        if shots < planned.len() as u64 {
            return Err(Error::invalid(
                "shots",
                format!("at least {}, one for each circuit and setting of the method", planned.len()),
                shots.to_string(),
            ));
        }
        let counts = round(&planned.iter().map(|(_, share)| *share).collect::<Vec<_>>(), shots, seed);
        let mut allocated: Vec<(Experiment, u64)> =
            planned.into_iter().zip(&counts).map(|((experiment, _), &count)| (experiment, count)).collect();
        if let Solution::Shares(found) = self.solution(method)? {
            let mut left = counts.iter();
            let whole = |share: &f64| if *share > 0.0 { left.next().map_or(0.0, |c| *c as f64) } else { 0.0 };
            let pooled: Vec<f64> = found.shares.families.iter().map(whole).collect();
            let mut place = 0;
            self.of_families(found, &pooled, |experiment, count| {
                if count > 0.0 {
                    allocated[place].0 = experiment;
                    place += 1;
                }
            })?;
        }
        Ok(allocated)
    }

    /// Settings of the final state: a word that several reveal is read in each, in proportion to `counts`.
    fn of_families(&self, found: &Found, counts: &[f64], mut put: impl FnMut(Experiment, f64)) -> Result<()> {
        let sums = self.observables.sums();
        let mut revealed = vec![0.0; sums.words().len()];
        for (family, count) in found.families.iter().zip(counts) {
            family.members.iter().for_each(|&c| revealed[c as usize] += count);
        }
        let uses = Uses::new(sums, self.structure.n_observables(), |r| found.shares.mix[r][0]);
        let settings =
            found.settings(self.structure.circuit.n_qubits(), self.structure.options.connectivity)?;
        for ((family, count), setting) in found.families.iter().zip(counts).zip(settings) {
            let mut entries = Vec::new();
            for &c in &family.members {
                for &(row, coefficient) in uses.of(c) {
                    let part = coefficient * count / revealed[c as usize];
                    entries.push((row, sums.words().get(c as usize).to_word(), part));
                }
            }
            let readings = Readings::new(sums.n_qubits(), &entries)?;
            let experiment = Experiment::new(self.structure.circuit.clone(), setting, readings)?;
            put(experiment.of_final_state(), *count);
        }
        Ok(())
    }

    fn of_direct(&self, found: &Found, mut put: impl FnMut(Experiment, f64)) -> Result<()> {
        let first = self.structure.n_observables();
        let mut shares = found.shares.direct.iter();
        for &way in &found.ways {
            let part = |row: usize| found.shares.mix[first + row][way as usize];
            let mut pair = |minus: Result<Experiment>, plus: Result<Experiment>, share: f64| -> Result<()> {
                put(minus?.scaled(part)?, share / 2.0);
                put(plus?.scaled(part)?, share / 2.0);
                Ok(())
            };
            match way {
                Way::Echo => {
                    for (echo, share) in self.structure.echoes.iter().flatten().zip(shares.by_ref()) {
                        if *share > 0.0 {
                            pair(echo.minus(), echo.plus(), *share)?;
                        }
                    }
                }
                Way::Shift => {
                    for (shift, share) in self.structure.pruned.iter().flatten().zip(shares.by_ref()) {
                        if *share > 0.0 {
                            pair(shift.minus(), shift.plus(), *share)?;
                        }
                    }
                }
                Way::Settings => {}
            }
        }
        Ok(())
    }

    fn input(&self) -> Result<&ProductState> {
        self.structure.input.as_ref().ok_or_else(|| {
            Error::invalid("circuit", "a known input state, for a simulation", "one that acts on any state")
        })
    }

    /// The variance of one shot of every derivative on the state that is prepared, by simulation.
    pub fn exact(&self, method: Method, cancel: &Cancel) -> Result<Vec<f64>> {
        let input = self.input()?;
        let experiments = self.experiments(method)?;
        let moments = parallel::map(experiments.len(), cancel, |i| {
            experiments[i].0.moments(&self.theta, input, cancel)
        })?;
        let mut variances = vec![0.0; self.structure.relevant.len()];
        for (moments, (_, share)) in moments.iter().zip(&experiments) {
            moments.iter().for_each(|m| variances[m.row] += m.variance / share);
        }
        Ok(variances)
    }

    /// A gradient from simulated shots. The same seed gives the same outcome.
    pub fn simulate(&self, method: Method, shots: u64, seed: u64, cancel: &Cancel) -> Result<Simulated> {
        let input = self.input()?;
        let experiments = self.allocate(method, shots, seed)?;
        let count = self.structure.relevant.len();
        let outcomes = parallel::map(experiments.len(), cancel, |i| {
            let (experiment, shots) = &experiments[i];
            let stream = philox([seed, ROUNDING], [i as u64, 1, 0, 0])[0];
            experiment.run(&self.theta, input, *shots as usize, stream, cancel)
        })?;
        let (mut gradient, mut variance) = (vec![0.0; count], vec![0.0; count]);
        for (moments, (_, shots)) in outcomes.iter().zip(&experiments) {
            for moment in moments {
                gradient[moment.row] += moment.mean;
                variance[moment.row] += moment.variance / *shots as f64;
            }
        }
        Ok(Simulated { gradient, stderr: variance.into_iter().map(f64::sqrt).collect() })
    }
}

/// The rows that use each word: the transpose of the sums.
struct Uses {
    starts: Vec<usize>,
    entries: Vec<(usize, f64)>,
}

impl Uses {
    /// Derivatives (rows from `first` on), each times a factor; those with factor zero are left out.
    fn new(sums: &Sums, first: usize, factor: impl Fn(usize) -> f64) -> Self {
        let used = |r: usize| {
            let (columns, coefficients) = sums.row(r);
            let part = factor(r);
            let entry = move |(&c, v): (&u32, &f64)| (c, r - first, v * part);
            columns.iter().zip(coefficients).map(entry).filter(|(_, _, v)| *v != 0.0)
        };
        let mut all: Vec<(u32, usize, f64)> = (first..sums.len()).flat_map(used).collect();
        all.sort_by_key(|(c, r, _)| (*c, *r));
        let mut starts = vec![0; sums.words().len() + 1];
        all.iter().for_each(|(c, _, _)| starts[*c as usize + 1] += 1);
        (0..sums.words().len()).for_each(|c| starts[c + 1] += starts[c]);
        Uses { starts, entries: all.into_iter().map(|(_, r, v)| (r, v)).collect() }
    }

    fn of(&self, column: u32) -> &[(usize, f64)] {
        &self.entries[self.starts[column as usize]..self.starts[column as usize + 1]]
    }
}

/// Whole numbers that sum to `total`, at least one each, whose expectations beyond that are in proportion to shares:
/// systematic sampling with one random start.
fn round(shares: &[f64], total: u64, seed: u64) -> Vec<u64> {
    let all: f64 = shares.iter().sum();
    let wanted: Vec<f64> = shares.iter().map(|s| (s / all * total as f64).max(1.0)).collect();
    let rest: f64 = wanted.iter().map(|w| w - 1.0).sum();
    let free = total - shares.len() as u64;
    let scale = if rest > 0.0 { free as f64 / rest } else { 0.0 };
    let start = unit_interval(philox([seed, ROUNDING], [0; 4])[0]);
    let (mut sum, mut given) = (start, 0u64);
    let mut counts: Vec<u64> = (wanted.iter())
        .map(|w| {
            sum += (w - 1.0) * scale;
            let upto = (sum.floor() as u64).min(free);
            let count = 1 + upto - given;
            given = upto;
            count
        })
        .collect();
    // Rounding errors of the sum can leave one over.
    if let Some(last) = counts.last_mut() {
        *last += free - given;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shots_are_rounded_without_bias() {
        let shares = [0.5, 0.3, 0.15, 0.0499, 0.0001];
        let mut sums = [0u64; 5];
        let runs = 20_000;
        for seed in 0..runs {
            let counts = round(&shares, 103, seed);
            assert_eq!(counts.iter().sum::<u64>(), 103);
            assert!(counts.iter().all(|&c| c >= 1));
            counts.iter().zip(&mut sums).for_each(|(c, s)| *s += c);
        }
        // Five sigma of a sum of fractional parts, each of variance at most 1/4; the last share gets its one shot.
        let tolerance = 5.0 * (0.25 / runs as f64).sqrt();
        let wanted: Vec<f64> = shares.iter().map(|s| (s * 103.0).max(1.0)).collect();
        let rest: f64 = wanted.iter().map(|w| w - 1.0).sum();
        for (sum, wanted) in sums.iter().zip(wanted) {
            let expected = 1.0 + (wanted - 1.0) * 98.0 / rest;
            assert!((*sum as f64 / runs as f64 - expected).abs() < tolerance, "{sum} {expected}");
        }
        assert_eq!(round(&[1.0], 7, 0), [7]);
        assert_eq!(round(&[0.5, 0.5], 2, 3), [1, 1]);
    }
}
