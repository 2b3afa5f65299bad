//! From a plan to what is run: experiments with their shares or shots, and their exact or simulated outcome.

use super::approach::Source;
use super::{Method, Plan};
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{philox, unit_interval};
use crate::circuit::product;
use crate::design::Route;
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::estimate::{Run, read_all};
use crate::experiment::{Experiment, Moment, Readings, on_states};
use crate::pauli::{Sums, Words};
use crate::snapshots::{Outcomes, measure_experiments};
use crate::stabiliser::Setting;
use crate::state::ProductState;

/// Stream of the key that rounds shares to shots.
const ROUNDING: u64 = u64::from_le_bytes(*b"rounding");

/// A gradient estimated from outcomes.
#[derive(Debug, Clone, PartialEq)]
pub struct Simulated {
    /// Per derivative, observable by observable; zero where the plan knows that it is, or does not measure it.
    pub gradient: Vec<f64>,
    /// Standard error of each; infinite where the plan does not measure it.
    pub stderr: Vec<f64>,
}

impl Plan {
    /// The distribution of settings of a method whose shots are all of the final state.
    pub fn ensemble(&self, method: Method, cancel: &Cancel) -> Result<Ensemble> {
        self.design(method)?.ensemble(&self.structure, cancel)?.ok_or_else(|| {
            Error::invalid("method", "a method whose shots are all of the final state", method.name())
        })
    }

    /// The experiments of a method and the share of the shots of each.
    ///
    /// Methods that draw a setting for every shot have none: their snapshots come from [`Plan::ensemble`].
    pub fn experiments(&self, method: Method, cancel: &Cancel) -> Result<Vec<(Experiment, f64)>> {
        let (sources, shares): (Vec<_>, Vec<_>) = self.sources(method)?.into_iter().unzip();
        let experiments = self.build(method, &sources, &shares, cancel)?;
        Ok(experiments.into_iter().zip(shares).collect())
    }

    /// The experiments of a method with whole numbers of shots, `shots` in all: every experiment gets at least one, and
    /// the expectation of each number is its share. Words that several settings reveal are pooled by these numbers, so
    /// the estimate is unbiased whatever the rounding.
    pub fn allocate(
        &self,
        method: Method,
        shots: u64,
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Vec<(Experiment, u64)>> {
        let (sources, shares): (Vec<_>, Vec<_>) = self.sources(method)?.into_iter().unzip();
        if shots < sources.len() as u64 {
            return Err(Error::invalid(
                "shots",
                format!("at least {}, one for each circuit and setting of the method", sources.len()),
                shots.to_string(),
            ));
        }
        let counts = round(&shares, shots, seed);
        let pooled: Vec<f64> = counts.iter().map(|count| *count as f64).collect();
        let experiments = self.build(method, &sources, &pooled, cancel)?;
        Ok(experiments.into_iter().zip(counts).collect())
    }

    /// What the experiments of a method are made from, each with a share above zero.
    pub(super) fn sources(&self, method: Method) -> Result<Vec<(Source<'_>, f64)>> {
        let mut sources = self.design(method)?.sources(&self.structure).ok_or_else(|| {
            Error::invalid(
                "method",
                "a method with a list of circuits (this one draws a setting for every shot: sample its ensemble)",
                method.name(),
            )
        })?;
        sources.retain(|(_, share)| *share > 0.0);
        Ok(sources)
    }

    /// Makes the experiments. A word that several families reveal is read in each, in proportion to `counts`; a row that
    /// is measured by several routes gets its part from each.
    fn build(
        &self,
        method: Method,
        sources: &[Source<'_>],
        counts: &[f64],
        cancel: &Cancel,
    ) -> Result<Vec<Experiment>> {
        let all: Vec<usize> = (0..sources.len()).collect();
        self.build_some(method, sources, counts, &all, cancel)
    }

    /// The experiments of some sources.
    pub(super) fn build_some(
        &self,
        method: Method,
        sources: &[Source<'_>],
        counts: &[f64],
        wanted: &[usize],
        cancel: &Cancel,
    ) -> Result<Vec<Experiment>> {
        let first = self.structure.n_observables();
        let part = |row: usize, route: Route| self.part(method, first + row, route);
        self.build_parts(sources, counts, wanted, &part, cancel)
    }

    /// The same, where every route gives each derivative a part of its own.
    pub(super) fn build_parts(
        &self,
        sources: &[Source<'_>],
        counts: &[f64],
        wanted: &[usize],
        part: &(dyn Fn(usize, Route) -> f64 + Sync),
        cancel: &Cancel,
    ) -> Result<Vec<Experiment>> {
        let sums = self.observables.sums();
        let first = self.structure.n_observables();
        let revealed = self.revealed(sources, counts);
        let uses = Uses::new(sums, first, |r| part(r - first, Route::Settings));
        parallel::map(wanted.len(), cancel, |place| {
            let i = wanted[place];
            match sources[i] {
                Source::Family(family) => {
                    let setting = family.setting(cancel)?;
                    let factor = |c: u32| counts[i] / revealed[c as usize];
                    let readings = uses.readings(sums.words(), &family.members, sums.len() - first, factor);
                    self.of_final_state(setting, readings)
                }
                Source::Setting(setting, readings) => self.of_final_state(setting, readings.clone()),
                Source::Turned { pair, route, plus } => pair.experiment(plus)?.scaled(|row| part(row, route)),
            }
        })
    }

    /// The weight of a route in a row of all sums.
    pub(super) fn part(&self, method: Method, row: usize, route: Route) -> f64 {
        let list = self.solutions[method.index()].list();
        list.map_or(1.0, |list| list.shares.mix[row][route])
    }

    /// How many of `counts` reveal each word.
    pub(super) fn revealed(&self, sources: &[Source<'_>], counts: &[f64]) -> Vec<f64> {
        let mut revealed = vec![0.0; self.observables.sums().words().len()];
        for (source, count) in sources.iter().zip(counts) {
            if let Source::Family(family) = source {
                family.members.iter().for_each(|&c| revealed[c as usize] += count);
            }
        }
        revealed
    }

    fn of_final_state(&self, setting: &Setting, readings: Readings) -> Result<Experiment> {
        let circuit = self.structure.circuit.clone();
        Ok(Experiment::new(circuit, setting.clone(), readings)?.of_final_state())
    }

    pub(super) fn input(&self) -> Result<&ProductState> {
        self.structure.input.as_ref().ok_or_else(|| {
            Error::invalid("circuit", "a known input state, for a simulation", "one that acts on any state")
        })
    }

    /// Infinite for the derivatives that a method does not measure, which have weight zero; zero for the others.
    pub(super) fn unmeasured(&self, method: Method) -> Vec<f64> {
        let unless = |v: &f64| if v.is_infinite() { f64::INFINITY } else { 0.0 };
        self.row(method).variances.iter().map(unless).collect()
    }

    /// The variance of one shot of every derivative on the state that is prepared, by simulation.
    pub fn exact(&self, method: Method, cancel: &Cancel) -> Result<Vec<f64>> {
        let experiments = self.experiments(method, cancel)?;
        let moments = self.exact_moments(experiments.iter().map(|(experiment, _)| experiment), cancel)?;
        let mut variances = self.unmeasured(method);
        for (moments, (_, share)) in moments.iter().zip(&experiments) {
            moments.iter().for_each(|m| variances[m.row] += m.variance / share);
        }
        Ok(variances)
    }

    /// The moments of experiments on the states that their circuits prepare.
    pub(super) fn exact_moments<'e>(
        &self,
        experiments: impl Iterator<Item = &'e Experiment>,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<Moment>>> {
        let (input, experiments) = (product(self.input()?, cancel)?, experiments.collect::<Vec<_>>());
        on_states(&experiments, &input, &self.theta, cancel, |i, state| {
            experiments[i].moments_on(state, cancel)
        })
    }

    /// A gradient from simulated shots. The same seed gives the same outcome.
    pub fn simulate(&self, method: Method, shots: u64, seed: u64, cancel: &Cancel) -> Result<Simulated> {
        let experiments = self.allocate(method, shots, seed, cancel)?;
        self.run(method, &experiments, seed, cancel)
    }

    /// A gradient from simulated shots of some experiments of a method.
    pub(super) fn run(
        &self,
        method: Method,
        experiments: &[(Experiment, u64)],
        seed: u64,
        cancel: &Cancel,
    ) -> Result<Simulated> {
        let input = self.input()?;
        let streams = (0..).map(|i| philox([seed, ROUNDING], [i, 1, 0, 0])[0]);
        let wanted: Vec<(&Experiment, usize, u64)> = (experiments.iter().zip(streams))
            .map(|((experiment, shots), stream)| (experiment, *shots as usize, stream))
            .collect();
        let outcomes: Vec<Outcomes> = measure_experiments(&wanted, &self.theta, input, cancel)?
            .into_iter()
            .map(|found| Outcomes::narrow(input.n_qubits(), found))
            .collect();
        let runs: Vec<Run<'_>> =
            experiments.iter().map(|(experiment, _)| experiment).zip(&outcomes).collect();
        let unmeasured = self.unmeasured(method);
        let (gradient, variance) = read_all(&runs, unmeasured.len(), cancel)?;
        let stderr = variance.iter().zip(unmeasured).map(|(v, more)| (v + more).sqrt()).collect();
        Ok(Simulated { gradient, stderr })
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
        let factors: Vec<f64> = (first..sums.len()).map(factor).collect();
        let used = || {
            factors.iter().enumerate().flat_map(|(row, part)| {
                let (columns, coefficients) = sums.row(first + row);
                let entry = move |(&c, v): (&u32, &f64)| (c, row, v * part);
                columns.iter().zip(coefficients).map(entry).filter(|(_, _, v)| *v != 0.0)
            })
        };
        let (starts, entries) = transposed(sums.words().len(), used);
        Uses { starts, entries }
    }

    /// What some words, in ascending order, contribute to each row, every word times a factor.
    fn readings(
        &self,
        words: &Words,
        members: &[u32],
        n_rows: usize,
        factor: impl Fn(u32) -> f64,
    ) -> Readings {
        let own = |c: u32| &self.entries[self.starts[c as usize]..self.starts[c as usize + 1]];
        let members: Vec<u32> = members.iter().copied().filter(|c| !own(*c).is_empty()).collect();
        let mut used = Words::new(words.n_qubits());
        for &column in &members {
            let word = words.get(column as usize);
            used.push_rows(word.x(), word.z());
        }
        let (starts, entries) = transposed(n_rows, || {
            members.iter().enumerate().flat_map(|(place, &column)| {
                let factor = factor(column);
                own(column).iter().map(move |&(row, v)| (row as u32, place as u32, v * factor))
            })
        });
        let rows: Vec<usize> = (0..n_rows).filter(|r| starts[*r] < starts[r + 1]).collect();
        let starts = std::iter::once(0).chain(rows.iter().map(|r| starts[r + 1])).collect();
        let (columns, coefficients) = entries.into_iter().unzip();
        Readings::of_rows(rows, Sums::from_rows(used, starts, columns, coefficients))
    }
}

/// Entries `(key, item, value)` by their keys, of which there are `n_keys`: where those of each begin, and what they are,
/// in the order in which they come. They are gone through twice.
fn transposed<T: Copy + Default, I: Iterator<Item = (u32, T, f64)>>(
    n_keys: usize,
    entries: impl Fn() -> I,
) -> (Vec<usize>, Vec<(T, f64)>) {
    let mut starts = vec![0; n_keys + 1];
    entries().for_each(|(key, _, _)| starts[key as usize + 1] += 1);
    (0..n_keys).for_each(|key| starts[key + 1] += starts[key]);
    let mut next = starts.clone();
    let mut placed = vec![(T::default(), 0.0); starts[n_keys]];
    entries().for_each(|(key, item, value)| {
        placed[next[key as usize]] = (item, value);
        next[key as usize] += 1;
    });
    (starts, placed)
}

/// Whole numbers that sum to `total`, at least one each (two where there are enough for all: one shot has no spread), whose
/// expectations beyond that are in proportion to shares: systematic sampling with one random start.
pub(super) fn round(shares: &[f64], total: u64, seed: u64) -> Vec<u64> {
    let all: f64 = shares.iter().sum();
    let least = (total / shares.len().max(1) as u64).clamp(1, 2);
    let wanted: Vec<f64> = shares.iter().map(|s| (s / all * total as f64).max(least as f64)).collect();
    let rest: f64 = wanted.iter().map(|w| w - least as f64).sum();
    let free = total - least * shares.len() as u64;
    let scale = if rest > 0.0 { free as f64 / rest } else { 0.0 };
    let start = unit_interval(philox([seed, ROUNDING], [0; 4])[0]);
    let (mut sum, mut given) = (start, 0u64);
    let mut counts: Vec<u64> = (wanted.iter())
        .map(|w| {
            sum += (w - least as f64) * scale;
            let upto = (sum.floor() as u64).min(free);
            let count = least + upto - given;
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
            assert!(counts.iter().all(|&c| c >= 2));
            counts.iter().zip(&mut sums).for_each(|(c, s)| *s += c);
        }
        // Five sigma of a sum of fractional parts, each of variance at most 1/4; the last share gets its two shots.
        let tolerance = 5.0 * (0.25 / runs as f64).sqrt();
        let wanted: Vec<f64> = shares.iter().map(|s| (s * 103.0).max(2.0)).collect();
        let rest: f64 = wanted.iter().map(|w| w - 2.0).sum();
        for (sum, wanted) in sums.iter().zip(wanted) {
            let expected = 2.0 + (wanted - 2.0) * 93.0 / rest;
            assert!((*sum as f64 / runs as f64 - expected).abs() < tolerance, "{sum} {expected}");
        }
        assert_eq!(round(&[1.0], 7, 0), [7]);
        assert_eq!(round(&[0.5, 0.5], 2, 3), [1, 1]);
        assert_eq!(round(&[0.9, 0.1], 4, 3), [2, 2]);
    }
}
