//! Experiments: what is run and read to get some of a gradient.
//!
//! Every way of measuring the gradient of `<O>` has one form. An [`Experiment`] is a circuit with the parameters of the
//! original one, a setting for its final state, and [`Readings`]: for some rows of the gradient a Pauli sum that the
//! setting reveals. A row of the gradient is the sum of the expectation values of its readings, over all experiments.
//!
//! Invariant: every word of the readings is revealed, rows ascend and their sums are not zero. The row
//! `o * n_parameters + k` is the derivative of observable `o` by parameter `k`, as in the gradient observables.
//! Cost: [`Experiment::moments`] is one simulation, `n 2^n` additions, and for each row the cheaper one of the
//! pairs of its words and as many additions once more.

mod chain;
mod draws;
mod echo;
mod pair;
mod shift;
mod states;

pub use chain::{Chain, chained, chained_exact};
pub use draws::{Draw, Draws};
pub(crate) use echo::most_steps;
pub use echo::{Echo, echoes};
pub use pair::Pair;
pub use shift::{Reach, Shift, shifts};
pub(crate) use shift::{ShiftRule, shift_rule};
pub(crate) use states::on_states;

use crate::bits::fingerprint::Fingerprint;
use crate::bits::hadamard;
use crate::bits::parallel::Cancel;
use crate::circuit::{Circuit, Size, simulate};
use crate::error::{Error, Result};
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, PauliWord, Sums};
use crate::stabiliser::{Parity, Setting};
use crate::state::ProductState;
use num_complex::Complex64;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

/// For some rows of a gradient the sum that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    rows: Vec<usize>,
    sums: Sums,
}

impl Readings {
    /// Adds up entries `(row, word, coefficient)`; rows that cancel are left out.
    pub fn new(n_qubits: usize, entries: &[(usize, PauliWord, f64)]) -> Result<Self> {
        let mut terms: BTreeMap<usize, Vec<(&PauliWord, f64)>> = BTreeMap::new();
        for (row, word, coefficient) in entries {
            terms.entry(*row).or_default().push((word, *coefficient));
        }
        let (mut rows, mut sums) = (Vec::new(), Vec::new());
        for (row, terms) in terms {
            let sum = PauliSum::from_terms(n_qubits, terms)?;
            if !sum.is_empty() {
                rows.push(row);
                sums.push(sum);
            }
        }
        Ok(Readings { rows, sums: Sums::from_sums(n_qubits, &sums)? })
    }

    /// Rows that ascend, with their sums, none of which is zero.
    pub(crate) fn of_rows(rows: Vec<usize>, sums: Sums) -> Self {
        debug_assert!(rows.len() == sums.len() && rows.windows(2).all(|pair| pair[0] < pair[1]));
        Readings { rows, sums }
    }

    /// The rows of the gradient, ascending.
    pub fn rows(&self) -> &[usize] {
        &self.rows
    }

    /// What is read for each of [`Readings::rows`].
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// For each row the sum of the squared coefficients: the second moment of one shot on the maximally mixed state.
    pub(crate) fn second_moments(&self) -> impl Iterator<Item = (usize, f64)> {
        let square = |j: usize| self.sums.row(j).1.iter().map(|c| c * c).sum();
        self.rows.iter().enumerate().map(move |(j, &row)| (row, square(j)))
    }

    /// The readings times a factor per row; rows whose factor is zero are left out.
    pub(crate) fn scaled(&self, factor: impl Fn(usize) -> f64) -> Result<Self> {
        let kept: Vec<usize> = (0..self.rows.len()).filter(|&j| factor(self.rows[j]) != 0.0).collect();
        let sums: Vec<PauliSum> =
            kept.iter().map(|&j| self.sums.sum(j)?.scale(factor(self.rows[j]))).collect::<Result<_>>()?;
        let rows = kept.iter().map(|&j| self.rows[j]).collect();
        Ok(Readings { rows, sums: Sums::from_sums(self.sums.n_qubits(), &sums)? })
    }

    /// The readings times a factor that is not zero.
    pub(crate) fn times(&self, factor: f64) -> Self {
        let coefficients =
            (0..self.sums.len()).flat_map(|j| self.sums.row(j).1).map(|c| c * factor).collect();
        Readings { rows: self.rows.clone(), sums: self.sums.with_coefficients(coefficients) }
    }

    /// The readings with the other sign.
    pub(crate) fn negated(&self) -> Self {
        self.times(-1.0)
    }
}

/// Mean and variance of the reading of one row from one shot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// Row of the gradient.
    pub row: usize,
    /// Expectation value.
    pub mean: f64,
    /// Variance of one shot.
    pub variance: f64,
}

/// How the circuits of two experiments are made from the original one: thousands of them are never held at once.
pub(crate) trait Recipe: Debug + Send + Sync {
    /// The circuit that turns by a positive angle, or the other one.
    fn circuit(&self, plus: bool) -> Circuit;

    /// Qubits of both.
    fn n_qubits(&self) -> usize;
}

/// The circuit of an experiment.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// It is there.
    Known(Arc<Circuit>),
    /// It is made when it is needed, and not kept.
    Made(Arc<dyn Recipe>, bool),
}

impl Source {
    fn n_qubits(&self) -> usize {
        match self {
            Source::Known(circuit) => circuit.n_qubits(),
            Source::Made(recipe, _) => recipe.n_qubits(),
        }
    }

    fn circuit(&self) -> Arc<Circuit> {
        match self {
            Source::Known(circuit) => circuit.clone(),
            Source::Made(recipe, plus) => Arc::new(recipe.circuit(*plus)),
        }
    }
}

/// A circuit, the setting that its final state is measured in, and what its outcomes mean.
#[derive(Debug, Clone)]
pub struct Experiment {
    source: Source,
    setting: Setting,
    readings: Readings,
    /// For each word of the readings how it is read.
    masks: Vec<Parity>,
    served: bool,
    draw: Option<Draw>,
}

impl Experiment {
    /// Checks that the setting reveals every word.
    pub fn new(circuit: impl Into<Arc<Circuit>>, setting: Setting, readings: Readings) -> Result<Self> {
        Experiment::of(Source::Known(circuit.into()), setting, readings)
    }

    /// The same with a circuit that may be made later.
    pub(crate) fn of(source: Source, setting: Setting, readings: Readings) -> Result<Self> {
        check_width("setting", source.n_qubits(), setting.n_qubits())?;
        check_width("readings", source.n_qubits(), readings.sums.n_qubits())?;
        let mask = |word| {
            setting.reveal(word)?.ok_or_else(|| {
                let expected = format!("words that {setting:?} reveals");
                Error::invalid("readings", expected, word.to_string())
            })
        };
        let masks = readings.sums.words().iter().map(mask).collect::<Result<_>>()?;
        Ok(Experiment { source, setting, readings, masks, served: false, draw: None })
    }

    /// The same experiment with readings times a factor per row.
    pub(crate) fn scaled(self, factor: impl Fn(usize) -> f64) -> Result<Self> {
        let readings = self.readings.scaled(factor)?;
        Experiment::of(self.source, self.setting, readings)
    }

    /// The same measurement, its readings divided by a contrast for each of their words.
    pub(crate) fn contrasted(&self, contrasts: &[f64]) -> Result<Self> {
        let sums = self.readings.sums();
        let divided = |j: usize| {
            let (columns, coefficients) = sums.row(j);
            columns.iter().zip(coefficients).map(|(&column, c)| c / contrasts[column as usize])
        };
        let coefficients = (0..sums.len()).flat_map(divided).collect();
        let readings =
            Readings { rows: self.readings.rows.clone(), sums: sums.with_coefficients(coefficients) };
        Ok(Experiment { readings, ..self.clone() })
    }

    /// The same measurement, read for linear combinations: row c of the new readings is the sum of the old ones, in
    /// order, times `weights[c]`. Their variances have the covariances of the old ones.
    pub fn combined(&self, weights: &[Vec<f64>]) -> Result<Self> {
        let mut entries = Vec::new();
        for (c, weights) in weights.iter().enumerate() {
            if weights.len() != self.readings.rows.len() {
                let expected = format!("{} numbers, one per reading", self.readings.rows.len());
                return Err(Error::shape(format!("weights[{c}]"), expected, weights.len().to_string()));
            }
            for (j, weight) in weights.iter().enumerate().filter(|(_, weight)| **weight != 0.0) {
                let terms = self.readings.sums.terms(j);
                entries.extend(terms.map(|(word, v)| (c, word.to_word(), v * weight)));
            }
        }
        let readings = Readings::new(self.n_qubits(), &entries)?;
        let combined = Experiment::of(self.source.clone(), self.setting.clone(), readings)?;
        Ok(Experiment { served: self.served, draw: self.draw.clone(), ..combined })
    }

    /// The same experiment, said to run the original circuit.
    pub(crate) fn of_final_state(self) -> Self {
        Experiment { served: true, ..self }
    }

    /// The same experiment, run because it was drawn, with readings times a factor.
    pub(crate) fn drawn(self, draw: Draw, factor: f64) -> Self {
        Experiment { readings: self.readings.times(factor), draw: Some(draw), ..self }
    }

    /// The draw that it belongs to, if it was drawn from a longer list.
    pub fn draw(&self) -> Option<&Draw> {
        self.draw.as_ref()
    }

    /// Whether it runs the original circuit, as served answers do.
    pub fn served(&self) -> bool {
        self.served
    }

    /// What is run; its parameters are those of the original circuit. It may be made on the way.
    pub fn circuit(&self) -> Arc<Circuit> {
        self.source.circuit()
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.setting.n_qubits()
    }

    /// What tells circuits apart: experiments that differ in their setting alone may share one.
    pub(crate) fn identity(&self) -> (usize, bool) {
        match &self.source {
            Source::Known(circuit) => (Arc::as_ptr(circuit).addr(), true),
            Source::Made(recipe, plus) => (Arc::as_ptr(recipe).addr(), *plus),
        }
    }

    /// What tells each experiment from others that run another circuit or setting, whatever they read.
    pub fn fingerprints(experiments: &[&Experiment]) -> Vec<Fingerprint> {
        let mut circuits: BTreeMap<(usize, bool), Fingerprint> = BTreeMap::new();
        let own = |experiment: &&Experiment| {
            let circuit = circuits.entry(experiment.identity());
            let mut found = *circuit.or_insert_with(|| experiment.circuit().fingerprint());
            for gate in experiment.setting.gates() {
                found.add(gate.clifford() as u64);
                gate.wires().iter().for_each(|wire| found.add(*wire as u64));
            }
            found
        };
        experiments.iter().map(own).collect()
    }

    /// How its final state is measured.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// What the outcomes contribute to the gradient.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// Its size, the rotation of the setting included.
    pub fn size(&self) -> Size {
        Size::of(self.n_qubits(), self.circuit().operations(), &self.setting.gates())
    }

    /// The probability of every outcome; qubit 0 is the most significant bit.
    pub fn probabilities(&self, theta: &[f64], input: &ProductState, cancel: &Cancel) -> Result<Vec<f64>> {
        let mut amplitudes = simulate(&self.circuit(), theta, input, cancel)?;
        self.setting.rotate(&mut amplitudes, cancel)?;
        Ok(amplitudes.iter().map(Complex64::norm_sqr).collect())
    }

    /// Exact moments of every reading, by simulation.
    pub fn moments(&self, theta: &[f64], input: &ProductState, cancel: &Cancel) -> Result<Vec<Moment>> {
        self.moments_of(self.probabilities(theta, input, cancel)?, cancel)
    }

    /// The moments on the state that its circuit has left.
    pub(crate) fn moments_on(&self, mut state: Vec<Complex64>, cancel: &Cancel) -> Result<Vec<Moment>> {
        self.setting.rotate(&mut state, cancel)?;
        self.moments_of(state.iter().map(Complex64::norm_sqr).collect(), cancel)
    }

    /// The mean of every parity of its outcomes, on the state that its circuit has left.
    pub(crate) fn parities_on(&self, mut state: Vec<Complex64>, cancel: &Cancel) -> Result<Vec<f64>> {
        self.setting.rotate(&mut state, cancel)?;
        let mut parities: Vec<f64> = state.iter().map(Complex64::norm_sqr).collect();
        hadamard(&mut parities);
        Ok(parities)
    }

    fn moments_of(&self, probabilities: Vec<f64>, cancel: &Cancel) -> Result<Vec<Moment>> {
        let mut parities = probabilities.clone();
        hadamard(&mut parities);
        let sums = self.readings.sums();
        let transform = probabilities.len() * (2 + self.n_qubits());
        let moment = |(j, &row): (usize, &usize)| {
            cancel.check()?;
            let (columns, coefficients) = sums.row(j);
            let signed = |(&column, &c): (&u32, &f64)| {
                let (index, negative) = self.index(column);
                (index, if negative { -c } else { c })
            };
            let terms: Vec<(usize, f64)> = columns.iter().zip(coefficients).map(signed).collect();
            let mean: f64 = terms.iter().map(|(index, c)| c * parities[*index]).sum();
            let second = if terms.len() * terms.len() / 2 > transform {
                second_of_outcomes(&terms, &probabilities)
            } else {
                second_of_pairs(&terms, &parities)
            };
            Ok(Moment { row, mean, variance: (second - mean * mean).max(0.0) })
        };
        self.readings.rows.iter().enumerate().map(moment).collect()
    }

    /// How each word of the readings is read.
    pub(crate) fn masks(&self) -> &[Parity] {
        &self.masks
    }

    /// The mask of a word as an index of an outcome, and whether an even parity means -1.
    pub(crate) fn index(&self, column: u32) -> (usize, bool) {
        let parity = &self.masks[column as usize];
        ((parity.mask[0].reverse_bits() >> (64 - self.n_qubits())) as usize, parity.negative)
    }
}

/// The mean square of a sum of parities: that of a parity is one, and a product of two is the parity of the difference of
/// their masks.
fn second_of_pairs(terms: &[(usize, f64)], parities: &[f64]) -> f64 {
    let square = |(i, (a, c)): (usize, &(usize, f64))| {
        let cross: f64 = terms[..i].iter().map(|(b, d)| d * parities[a ^ b]).sum();
        c * c + 2.0 * c * cross
    };
    terms.iter().enumerate().map(square).sum()
}

/// The same from the value of every outcome, all at once.
fn second_of_outcomes(terms: &[(usize, f64)], probabilities: &[f64]) -> f64 {
    let mut values = vec![0.0; probabilities.len()];
    terms.iter().for_each(|(mask, c)| values[*mask] += c);
    hadamard(&mut values);
    values.iter().zip(probabilities).map(|(value, p)| p * value * value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_squares_by_pairs_are_those_of_outcomes() {
        let weights: Vec<f64> = (0..32).map(|i| 1.0 + (1.7 * f64::from(i)).sin()).collect();
        let total: f64 = weights.iter().sum();
        let probabilities: Vec<f64> = weights.iter().map(|w| w / total).collect();
        let mut parities = probabilities.clone();
        hadamard(&mut parities);
        let terms = [(3, 0.5), (17, -1.25), (31, 2.0), (8, 0.75)];
        let (pairs, all) = (second_of_pairs(&terms, &parities), second_of_outcomes(&terms, &probabilities));
        assert!((pairs - all).abs() < 1e-12, "{pairs} {all}");
    }
}
