//! What a design makes small: a weighted mean of the variances of rows, or the largest of them.
//!
//! The variance is that of one snapshot on the maximally mixed state, `sum_Q c_Q^2 / h_Q`: the mean over all states up to
//! `<G>^2 / (2^n + 1)`, known before anything is measured. Invariant: weights are not negative and finite; rows that are
//! identically zero, or constant, weigh nothing because they cost nothing.

use super::route::{Mix, Route};
use crate::error::{Error, Result};
use crate::pauli::Sums;

/// Squares of coefficients below and above, weighed and added, are lost in a float.
const LEAST: f64 = 1e-140;
const MOST: f64 = 1e140;

/// What is made small.
#[derive(Debug, Clone, PartialEq)]
pub enum Goal {
    /// The mean over the derivatives that are not identically zero.
    Mean,
    /// The largest variance.
    Max,
    /// A weighted mean: one weight per derivative, observable by observable.
    Weighted(Vec<f64>),
}

/// How much worse than the best something may be that is preferred because it is simpler.
pub const TIE: f64 = 1.02;
/// Rounds of reweighting towards the largest variance.
const MINIMAX_ROUNDS: usize = 24;

/// The first figure that is within [`TIE`] of the least; figures come in the order of preference.
pub(crate) fn first_near_least(figures: impl IntoIterator<Item = f64>) -> Option<usize> {
    let figures: Vec<f64> = figures.into_iter().collect();
    let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
    figures.iter().position(|figure| *figure <= least * TIE)
}

/// How much the variance of each row counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    weights: Vec<f64>,
    by_settings: Vec<bool>,
}

impl Objective {
    /// The first `n_values` rows are values, which weigh `value_weight` together; the others are what the goal is
    /// about, and weigh one together.
    pub fn new(sums: &Sums, n_values: usize, goal: &Goal, value_weight: f64) -> Result<Self> {
        let varies = |r: usize| {
            let mut terms = sums.terms(r);
            terms.any(|(word, c)| c != 0.0 && !word.is_identity())
        };
        Objective::among(sums, n_values, goal, value_weight, |_| true, varies)
    }

    /// Weights as [`Objective::new`] gives them, where of the values only those that are `valued` count, and of the
    /// derivatives those that are `live`.
    pub(crate) fn among(
        sums: &Sums,
        n_values: usize,
        goal: &Goal,
        value_weight: f64,
        valued: impl Fn(usize) -> bool,
        live: impl Fn(usize) -> bool,
    ) -> Result<Self> {
        let largest = sums.largest();
        if largest != 0.0 && !(LEAST..=MOST).contains(&largest) {
            let expected =
                format!("values and derivatives with a largest coefficient from {LEAST:e} to {MOST:e}");
            return Err(Error::invalid("observables", expected, format!("{largest:e}")));
        }
        let rows = n_values..sums.len();
        if let Goal::Weighted(given) = goal {
            if given.len() != rows.len() {
                let expected = format!("one weight per derivative, {}", rows.len());
                return Err(Error::shape("goal", expected, given.len().to_string()));
            }
            if let Some(i) = given.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
                let expected = "a finite weight that is not negative";
                return Err(Error::invalid(format!("goal[{i}]"), expected, given[i].to_string()));
            }
        }
        if !(value_weight.is_finite() && value_weight >= 0.0) {
            let expected = "a finite number that is not negative";
            return Err(Error::invalid("value_weight", expected, value_weight.to_string()));
        }
        let mut weights = vec![0.0; sums.len()];
        for r in rows.filter(|&r| live(r)) {
            weights[r] = match goal {
                Goal::Mean | Goal::Max => 1.0,
                Goal::Weighted(given) => given[r - n_values],
            };
        }
        let total: f64 = weights.iter().sum();
        if total > 0.0 {
            weights.iter_mut().for_each(|w| *w /= total);
        }
        let constant = |r: usize| sums.terms(r).all(|(word, _)| word.is_identity());
        let count = (0..n_values).filter(|&r| valued(r)).count() as f64;
        let counts = |r: &usize| valued(*r) && !constant(*r);
        (0..n_values).filter(counts).for_each(|r| weights[r] = value_weight / count);
        Ok(Objective { weights, by_settings: vec![true; sums.len()] })
    }

    /// Weights that are known to be valid, and the rows that settings may measure.
    pub(crate) fn of(weights: Vec<f64>, by_settings: Vec<bool>) -> Self {
        debug_assert_eq!(weights.len(), by_settings.len());
        Objective { weights, by_settings }
    }

    /// A weighted mean of the variances of the rows that count.
    fn mean(&self, variances: &[f64]) -> f64 {
        let counted = self.weights.iter().zip(variances).filter(|(w, _)| **w > 0.0);
        counted.map(|(w, v)| w * v).sum()
    }

    /// What is made small: the mean, or the largest variance.
    pub(crate) fn figure(&self, variances: &[f64], max: bool) -> f64 {
        if max { self.largest(variances) } else { self.mean(variances) }
    }

    fn largest(&self, variances: &[f64]) -> f64 {
        let counted = self.weights.iter().zip(variances).filter(|(w, _)| **w > 0.0);
        counted.map(|(_, v)| *v).fold(0.0, f64::max)
    }

    /// Towards the smallest maximum: designs `again` with more weight on the rows whose variance is large, and
    /// returns the best design met.
    pub(crate) fn level<D: Clone>(
        mut self,
        first: D,
        variances: impl Fn(&D) -> Vec<f64>,
        mut again: impl FnMut(&Objective, &D) -> Result<D>,
    ) -> Result<D> {
        let mut best = (self.largest(&variances(&first)), first.clone());
        let mut design = first;
        for _ in 0..MINIMAX_ROUNDS {
            self.emphasise(&variances(&design));
            design = again(&self, &design)?;
            let largest = self.largest(&variances(&design));
            if largest < best.0 {
                best = (largest, design.clone());
            }
        }
        Ok(best.1)
    }

    fn emphasise(&mut self, variances: &[f64]) {
        let before: f64 = self.weights.iter().sum();
        let largest = self.largest(variances).max(f64::MIN_POSITIVE);
        let counted = self.weights.iter_mut().zip(variances).filter(|(w, _)| **w > 0.0);
        counted.for_each(|(w, v)| *w *= (v / largest).sqrt().max(1e-3));
        let after: f64 = self.weights.iter().sum();
        if after > 0.0 {
            self.weights.iter_mut().for_each(|w| *w *= before / after);
        }
    }

    /// The weight of each row.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Which rows may be measured from settings on the final state.
    pub(crate) fn by_settings(&self) -> &[bool] {
        &self.by_settings
    }

    /// What a word contributes to the objective, times the probability that it is revealed.
    pub(crate) fn scores(&self, sums: &Sums) -> Vec<f64> {
        let whole = self.by_settings.iter().map(|&s| if s { Mix::only(Route::Settings) } else { Mix::NONE });
        self.scores_of_mix(sums, &whole.collect::<Vec<_>>())
    }

    /// What a word contributes to the objective, times the probability that it is revealed, when settings carry only
    /// their part of each row.
    pub(crate) fn scores_of_mix(&self, sums: &Sums, mix: &[Mix]) -> Vec<f64> {
        let mut scores = vec![0.0; sums.words().len()];
        for r in 0..sums.len() {
            let weight = self.weights[r] * mix[r][Route::Settings].powi(2);
            if weight > 0.0 {
                let (columns, coefficients) = sums.row(r);
                columns.iter().zip(coefficients).for_each(|(&c, v)| scores[c as usize] += weight * v * v);
            }
        }
        if !scores.is_empty() && sums.words().get(0).is_identity() {
            scores[0] = 0.0; // known without shots
        }
        scores
    }
}
