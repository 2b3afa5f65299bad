//! What settings have answered, from step to step: outcomes with weights that fade.
//!
//! A setting of a circuit is known by its [`Fingerprint`], at any values of the parameters. From its outcomes the variance
//! of anything that it reads follows, covariances of words included: also for readings at other angles, or for
//! combinations of derivatives, which nobody had asked for when they were taken.
//!
//! Invariant: a function of the outcomes and their order in steps. A variance is that of the sample, with a few shots on
//! average over all states added, so that it is known for a setting of few shots and never zero. Every shot belongs to one
//! of two halves, drawn by chance: what is made for one can be judged by the other.
//! Cost: at most [`MAX_OUTCOMES`] outcomes of each setting; a variance is a pass over them for every word.

use super::moments::{Run, Weighed, sums_over};
use crate::bits::fingerprint::Fingerprint;
use crate::bits::hadamard;
use crate::bits::limbs;
use crate::bits::parallel::{Cancel, map};
use crate::bits::philox::philox;
use crate::bits::real::power;
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Moment};
use crate::snapshots::Outcomes;
use std::collections::BTreeMap;

/// Different outcomes of a setting that are kept: a systematic sample of more.
pub const MAX_OUTCOMES: usize = 1024;
/// Shots on average over all states that are added to those of a setting.
const PRIOR: f64 = 2.0;
/// Fewer shots than this, faded, are forgotten.
const LEAST: f64 = 0.05;
/// Fewer shots than this, faded, do not tell a variance.
const KNOWN: f64 = 4.0;

/// The outcomes of settings, those of later steps with more weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    keep: f64,
    steps: u64,
    seen: BTreeMap<Fingerprint, Seen>,
}

/// What a setting has answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Qubits of an outcome.
    pub n_qubits: usize,
    /// Different outcomes, packed row after row.
    pub rows: Vec<u64>,
    /// What each weighs: shots, faded until the last step in which the setting was run.
    pub weights: Vec<f64>,
    /// What the shots of the first half weigh.
    pub halves: Vec<f64>,
    /// The sum over all shots of their squared weights: it says how many shots of equal weight tell as much.
    pub squares: f64,
    /// The number of that step.
    pub step: u64,
}

/// What a memory knows of an experiment.
#[derive(Debug, Clone, PartialEq)]
pub struct Recalled {
    /// The moments of what is read.
    pub moments: Vec<Moment>,
    /// Whether enough shots are remembered; else variances are mostly averages over all states.
    pub known: bool,
}

impl Memory {
    /// An empty memory, in which a shot counts `keep` times as much after every step.
    pub fn new(keep: f64) -> Result<Self> {
        if !(keep > 0.0 && keep <= 1.0) {
            return Err(Error::invalid("keep", "a number above 0 and at most 1", keep.to_string()));
        }
        Ok(Memory { keep, steps: 0, seen: BTreeMap::new() })
    }

    /// A memory from what another one held.
    pub fn from_parts(keep: f64, steps: u64, seen: Vec<(Fingerprint, Seen)>) -> Result<Self> {
        let mut memory = Memory::new(keep)?;
        memory.steps = steps;
        for (place, (key, own)) in seen.into_iter().enumerate() {
            let name = |field: &str| format!("seen[{place}].{field}");
            let width = limbs(own.n_qubits);
            if own.n_qubits == 0 || own.rows.len() != own.weights.len() * width {
                let expected = format!("{} of {width} limbs", own.weights.len());
                return Err(Error::shape(name("rows"), expected, own.rows.len().to_string()));
            }
            if own.weights.is_empty() || own.weights.len() > MAX_OUTCOMES {
                let expected = format!("1 to {MAX_OUTCOMES} numbers");
                return Err(Error::shape(name("weights"), expected, own.weights.len().to_string()));
            }
            let spare = own.n_qubits % 64;
            let padded = |row: &[u64]| spare != 0 && row[width - 1] >> spare != 0;
            if own.rows.chunks_exact(width).any(padded) {
                let expected = format!("outcomes of {} bits", own.n_qubits);
                return Err(Error::invalid(name("rows"), expected, "one with more"));
            }
            let positive = |w: &f64| w.is_finite() && *w > 0.0;
            if let Some(bad) = own.weights.iter().chain([&own.squares]).find(|w| !positive(w)) {
                let expected = "finite numbers above 0";
                return Err(Error::invalid(name("weights"), expected, bad.to_string()));
            }
            if own.halves.len() != own.weights.len() {
                let expected = format!("{} numbers", own.weights.len());
                return Err(Error::shape(name("halves"), expected, own.halves.len().to_string()));
            }
            let part = |(half, all): (&f64, &f64)| half.is_finite() && (0.0..=*all).contains(half);
            if !own.halves.iter().zip(&own.weights).all(part) {
                return Err(Error::invalid(name("halves"), "parts of the weights", "others"));
            }
            if own.step > steps {
                let expected = format!("at most {steps}, the last one");
                return Err(Error::invalid(name("step"), expected, own.step.to_string()));
            }
            memory.seen.insert(key, own);
        }
        Ok(memory)
    }

    /// How much a shot counts after a step, of what it counted before.
    pub fn keep(&self) -> f64 {
        self.keep
    }

    /// Steps so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// What each setting has answered.
    pub fn seen(&self) -> &BTreeMap<Fingerprint, Seen> {
        &self.seen
    }

    /// Adds the outcomes of a step: what was there before fades.
    pub fn observe(&mut self, runs: &[Run<'_>], cancel: &Cancel) -> Result<()> {
        let experiments: Vec<&Experiment> = runs.iter().map(|(experiment, _)| *experiment).collect();
        let keys = Experiment::fingerprints(&experiments);
        if let Some(i) = runs.iter().position(|(e, outcomes)| e.n_qubits() != outcomes.n_qubits()) {
            let expected = format!("outcomes of {} bits", runs[i].0.n_qubits());
            let found = runs[i].1.n_qubits().to_string();
            return Err(Error::shape(format!("outcomes[{i}]"), expected, found));
        }
        self.steps += 1;
        let (steps, keep) = (self.steps, self.keep);
        for (key, (_, outcomes)) in keys.into_iter().zip(runs) {
            cancel.check()?;
            let own = self.seen.entry(key).or_insert_with(|| Seen::nothing(outcomes.n_qubits(), steps));
            own.fade(keep, steps);
            own.add(outcomes, key);
        }
        let fading = |own: &Seen| own.total() * faded(keep, steps - own.step);
        self.seen.retain(|_, own| fading(own) >= LEAST);
        Ok(())
    }

    /// What is known of experiments, by what their settings have answered. What was never run is as uncertain as what
    /// was, relative to the average over all states.
    pub fn recall(&self, experiments: &[&Experiment], cancel: &Cancel) -> Result<Vec<Recalled>> {
        let keys = Experiment::fingerprints(experiments);
        let found = map(experiments.len(), cancel, |i| {
            let own = self.seen.get(&keys[i]).filter(|own| own.n_qubits == experiments[i].n_qubits());
            own.map(|own| self.moments(own, experiments[i], cancel)).transpose()
        })?;
        let seen = || found.iter().flatten().filter(|(shots, _)| *shots >= KNOWN).flat_map(|(_, rows)| rows);
        let (sampled, mixed) = seen().fold((0.0, 0.0), |sum, row| (sum.0 + row.1.variance, sum.1 + row.0));
        let scale = if mixed > 0.0 { (sampled / mixed).max(f64::MIN_POSITIVE) } else { 1.0 };
        let recalled = |(experiment, found): (&&Experiment, Option<Sampled>)| {
            let Some((shots, rows)) = found else {
                let moment = |(row, mixed)| Moment { row, mean: 0.0, variance: scale * mixed };
                let moments = experiment.readings().second_moments().map(moment).collect();
                return Recalled { moments, known: false };
            };
            let with_prior = |(mixed, moment): (f64, Moment)| {
                let variance = (shots * moment.variance + PRIOR * scale * mixed) / (shots + PRIOR);
                Moment { variance, ..moment }
            };
            Recalled { moments: rows.into_iter().map(with_prior).collect(), known: shots >= KNOWN }
        };
        Ok(experiments.iter().zip(found).map(recalled).collect())
    }

    /// For every experiment the means of all parities of its outcomes, qubit 0 in the most significant bit of a mask, and
    /// how many shots they are worth; of what was never run, those of the maximally mixed state, worth nothing.
    pub(crate) fn parities(
        &self,
        experiments: &[&Experiment],
        part: Part,
        cancel: &Cancel,
    ) -> Result<Vec<(Vec<f64>, f64)>> {
        let keys = Experiment::fingerprints(experiments);
        map(experiments.len(), cancel, |i| {
            let n = experiments[i].n_qubits();
            let mut means = vec![0.0; 1 << n];
            let Some(own) = self.seen.get(&keys[i]).filter(|own| own.n_qubits == n) else {
                means[0] = 1.0;
                return Ok((means, 0.0));
            };
            let weight = |(all, half): (&f64, &f64)| match part {
                Part::All => *all,
                Part::First => *half,
                Part::Second => all - half,
            };
            let weights: Vec<f64> = own.weights.iter().zip(&own.halves).map(weight).collect();
            let total: f64 = weights.iter().sum();
            if total <= 0.0 {
                means[0] = 1.0;
                return Ok((means, 0.0));
            }
            for (row, weight) in own.rows.iter().zip(&weights) {
                means[(row.reverse_bits() >> (64 - n)) as usize] = weight / total;
            }
            hadamard(&mut means);
            Ok((means, self.worth(own) * total / own.total()))
        })
    }

    /// How many shots the outcomes of a setting are worth now.
    fn worth(&self, own: &Seen) -> f64 {
        own.shots().min(own.total() * faded(self.keep, self.steps - own.step))
    }

    /// What the outcomes of a setting say of an experiment that has it.
    fn moments(&self, own: &Seen, experiment: &Experiment, cancel: &Cancel) -> Result<Sampled> {
        let total = own.total();
        let shots = self.worth(own);
        let correction = if own.shots() > 1.0 { own.shots() / (own.shots() - 1.0) } else { 1.0 };
        let outcomes = Weighed { rows: &own.rows, weights: &own.weights };
        let sums = sums_over(experiment, &outcomes, cancel)?;
        let moment = |row: &super::moments::RowSums| {
            let mean = row.first / total;
            let variance = (row.second / total - mean * mean).max(0.0) * correction;
            (row.mixed, Moment { row: row.row, mean, variance })
        };
        Ok((shots, sums.iter().map(moment).collect()))
    }
}

/// How many shots a sample is worth; for each reading the variance of one shot on average over all states, and the moments
/// of the sample.
type Sampled = (f64, Vec<(f64, Moment)>);

/// Which of the shots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    All,
    First,
    Second,
}

impl Seen {
    fn nothing(n_qubits: usize, step: u64) -> Self {
        Seen { n_qubits, rows: Vec::new(), weights: Vec::new(), halves: Vec::new(), squares: 0.0, step }
    }

    fn total(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// How many shots of equal weight tell as much.
    fn shots(&self) -> f64 {
        self.total().powi(2) / self.squares
    }

    fn fade(&mut self, keep: f64, step: u64) {
        let factor = faded(keep, step - self.step);
        self.weights.iter_mut().chain(&mut self.halves).for_each(|w| *w *= factor);
        self.squares *= factor * factor;
        self.step = step;
    }

    fn add(&mut self, outcomes: &Outcomes, key: Fingerprint) {
        let width = limbs(self.n_qubits);
        let mut all: BTreeMap<Vec<u64>, [f64; 2]> = BTreeMap::new();
        let mut put = |row: &[u64], weight: f64, half: f64| {
            let [all, first] = all.entry(row.to_vec()).or_default();
            *all += weight;
            *first += half;
        };
        let before = self.rows.chunks_exact(width).zip(self.weights.iter().zip(&self.halves));
        before.for_each(|(row, (weight, half))| put(row, *weight, *half));
        for (place, (row, count)) in outcomes.iter().enumerate() {
            put(row, count as f64, half_of(count, key, [self.step, place as u64]) as f64);
        }
        self.squares += outcomes.shots() as f64;
        let kept: Vec<(Vec<u64>, [f64; 2])> = if all.len() > MAX_OUTCOMES {
            let total: f64 = all.values().map(|[weight, _]| weight).sum();
            // A sample tells no more than its own number.
            self.squares = self.squares.max(total * total / MAX_OUTCOMES as f64);
            systematic(all, total)
        } else {
            all.into_iter().collect()
        };
        self.rows = kept.iter().flat_map(|(row, _)| row.iter().copied()).collect();
        self.weights = kept.iter().map(|(_, [weight, _])| *weight).collect();
        self.halves = kept.iter().map(|(_, [weight, half])| half.min(*weight)).collect();
    }
}

/// What is left of a weight after some steps.
fn faded(keep: f64, steps: u64) -> f64 {
    power(keep, steps as f64)
}

/// How many of some shots belong to the first half: each does by chance.
fn half_of(count: u64, key: Fingerprint, place: [u64; 2]) -> u64 {
    let mut found = 0;
    for block in 0..count.div_ceil(256) {
        for (limb, bits) in (0u64..).zip(philox(key.parts(), [place[0], place[1], block, 1])) {
            let left = count.saturating_sub(256 * block + 64 * limb).min(64);
            let mask = if left == 64 { u64::MAX } else { (1 << left) - 1 };
            found += u64::from((bits & mask).count_ones());
        }
    }
    found
}

/// [`MAX_OUTCOMES`] draws in proportion to the weights, at even distances in an order that means nothing.
fn systematic(all: BTreeMap<Vec<u64>, [f64; 2]>, total: f64) -> Vec<(Vec<u64>, [f64; 2])> {
    let mut shuffled: Vec<(Fingerprint, Vec<u64>, [f64; 2])> =
        all.into_iter().map(|(row, weight)| (Fingerprint::of(&row), row, weight)).collect();
    shuffled.sort_unstable_by_key(|(place, ..)| *place);
    let each = total / MAX_OUTCOMES as f64;
    let (mut sum, mut next) = (0.0, 0.5);
    let mut kept = Vec::new();
    for (_, row, [weight, half]) in shuffled {
        sum += weight;
        let mut times = 0.0;
        while next < MAX_OUTCOMES as f64 && next * each < sum {
            (times, next) = (times + 1.0, next + 1.0);
        }
        if times > 0.0 {
            kept.push((row, [times * each, times * each * half / weight]));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Circuit;
    use crate::experiment::Readings;
    use crate::pauli::PauliWord;
    use crate::stabiliser::Setting;

    fn experiment(letters: &str, words: &[(&str, f64)]) -> Experiment {
        let entry = |(word, c): &(&str, f64)| (0, PauliWord::from_label(word).unwrap(), *c);
        let entries: Vec<_> = words.iter().map(entry).collect();
        let n = letters.len();
        let readings = Readings::new(n, &entries).unwrap();
        Experiment::new(Circuit::new(n, 0).unwrap(), Setting::product(letters).unwrap(), readings).unwrap()
    }

    #[test]
    fn variances_are_those_of_the_sample_with_two_shots_of_the_average() {
        let cancel = Cancel::new();
        let run = experiment("ZZ", &[("ZI", 1.0), ("IZ", 2.0)]);
        let outcomes = Outcomes::narrow(2, vec![0, 0, 0, 3, 3, 1]);
        let mut memory = Memory::new(0.5).unwrap();
        memory.observe(&[(&run, &outcomes)], &cancel).unwrap();
        // Values 3, 3, 3, -3, -3 and -1 + 2: mean 2/3, squares 46.
        let sample = (46.0 / 6.0 - 4.0 / 9.0) * 6.0 / 5.0;
        let found = memory.recall(&[&run], &cancel).unwrap();
        let scale = sample / 5.0;
        let expected = (6.0 * sample + 2.0 * scale * 5.0) / 8.0;
        assert!(found[0].known && (found[0].moments[0].variance - expected).abs() < 1e-12, "{found:?}");
        // The same setting, read for something else, and another setting.
        let other = experiment("ZZ", &[("ZZ", 1.0)]);
        let unseen = experiment("XZ", &[("XI", 3.0)]);
        let found = memory.recall(&[&other, &unseen], &cancel).unwrap();
        let sample = (1.0 - 4.0 / 9.0) * 6.0 / 5.0;
        assert!((found[0].moments[0].variance - sample).abs() < 1e-12);
        assert!(!found[1].known && (found[1].moments[0].variance - 9.0 * sample).abs() < 1e-12);
    }

    #[test]
    fn later_steps_weigh_more_and_early_ones_are_forgotten() {
        let cancel = Cancel::new();
        let (run, other) = (experiment("Z", &[("Z", 1.0)]), experiment("X", &[("X", 1.0)]));
        let mut memory = Memory::new(0.5).unwrap();
        memory.observe(&[(&run, &Outcomes::narrow(1, vec![0; 8]))], &cancel).unwrap();
        memory.observe(&[(&run, &Outcomes::narrow(1, vec![1; 8]))], &cancel).unwrap();
        let seen = memory.seen().values().next().unwrap();
        assert_eq!(
            (seen.rows.as_slice(), seen.weights.as_slice()),
            ([0, 1].as_slice(), [4.0, 8.0].as_slice())
        );
        assert_eq!(seen.squares, 10.0);
        assert!(seen.halves.iter().zip(&seen.weights).all(|(half, all)| (0.0..=*all).contains(half)));
        let parts = memory.seen().iter().map(|(key, own)| (*key, own.clone())).collect();
        assert_eq!(Memory::from_parts(0.5, 2, parts).unwrap(), memory);
        (0..10).for_each(|_| {
            memory.observe(&[(&other, &Outcomes::narrow(1, vec![0]))], &cancel).unwrap();
        });
        assert_eq!(memory.seen().len(), 1);
        assert!(Memory::new(0.0).is_err() && Memory::new(f64::NAN).is_err());
    }

    #[test]
    fn halves_are_drawn_shot_by_shot() {
        let key = Fingerprint::of(&[7]);
        let found: Vec<u64> = (0..400).map(|place| half_of(1000, key, [3, place])).collect();
        let mean = found.iter().sum::<u64>() as f64 / 400.0;
        let variance = found.iter().map(|n| (*n as f64 - mean).powi(2)).sum::<f64>() / 399.0;
        // 500 and 250, within four standard deviations of such samples.
        assert!((mean - 500.0).abs() < 4.0 * (250f64 / 400.0).sqrt(), "{mean}");
        assert!((variance / 250.0 - 1.0).abs() < 4.0 * (2.0 / 399f64).sqrt(), "{variance}");
        assert_eq!((half_of(0, key, [0, 0]), half_of(1, key, [0, 0]) <= 1), (0, true));
    }

    #[test]
    fn a_sample_of_many_outcomes_has_their_variance() {
        let cancel = Cancel::new();
        let n = 14;
        let words: Vec<String> =
            (0..n).map(|q| (0..n).map(|j| if j == q { 'Z' } else { 'I' }).collect()).collect();
        let terms: Vec<(&str, f64)> = words.iter().map(|word| (word.as_str(), 1.0)).collect();
        let run = experiment(&"Z".repeat(n), &terms);
        let mut memory = Memory::new(1.0).unwrap();
        memory.observe(&[(&run, &Outcomes::narrow(n, (0..1 << n).collect()))], &cancel).unwrap();
        let seen = memory.seen().values().next().unwrap();
        assert_eq!(seen.weights.len(), MAX_OUTCOMES);
        let found = memory.recall(&[&run], &cancel).unwrap()[0].moments[0].variance;
        // Four standard deviations of a sample variance of so many.
        assert!((found / n as f64 - 1.0).abs() < 4.0 * (2.0 / MAX_OUTCOMES as f64).sqrt(), "{found}");
    }
}
