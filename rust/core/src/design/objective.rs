//! What a design makes small: a weighted mean of the variances of rows, or the largest of them.
//!
//! The variance is that of one snapshot on the maximally mixed state, `sum_Q c_Q^2 / h_Q`: the mean over all states up to
//! `<G>^2 / (2^n + 1)`, known before anything is measured. Invariant: weights are not negative and finite; rows that are
//! identically zero, or constant, weigh nothing because they cost nothing.

use crate::error::{Error, Result};
use crate::pauli::Sums;

/// How much the variance of each row counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    weights: Vec<f64>,
    by_settings: Vec<bool>,
}

impl Objective {
    /// The mean over the rows that have a word other than the identity.
    pub fn mean(sums: &Sums) -> Self {
        let counts = |r: usize| sums.terms(r).any(|(word, _)| !word.is_identity());
        let counted: Vec<bool> = (0..sums.len()).map(counts).collect();
        let total = counted.iter().filter(|c| **c).count().max(1) as f64;
        let weights = counted.into_iter().map(|c| if c { 1.0 / total } else { 0.0 }).collect();
        Objective { weights, by_settings: vec![true; sums.len()] }
    }

    /// Given weights, one per row.
    pub fn weighted(sums: &Sums, weights: Vec<f64>) -> Result<Self> {
        if weights.len() != sums.len() {
            return Err(Error::shape(
                "weights",
                format!("one per row, {}", sums.len()),
                weights.len().to_string(),
            ));
        }
        if let Some(i) = weights.iter().position(|w| !(w.is_finite() && *w >= 0.0)) {
            return Err(Error::invalid(
                format!("weights[{i}]"),
                "a finite number that is not negative",
                weights[i].to_string(),
            ));
        }
        let constant = |r: usize| sums.terms(r).all(|(word, _)| word.is_identity());
        let weights = weights.into_iter().enumerate().map(|(r, w)| if constant(r) { 0.0 } else { w });
        Ok(Objective { weights: weights.collect(), by_settings: vec![true; sums.len()] })
    }

    /// Weights that are known to be valid, and the rows that settings may measure.
    pub(crate) fn of(weights: Vec<f64>, by_settings: Vec<bool>) -> Self {
        debug_assert_eq!(weights.len(), by_settings.len());
        Objective { weights, by_settings }
    }

    /// Gives more weight to the rows whose variance is large, towards the smallest maximum.
    pub(crate) fn emphasise(&mut self, variances: &[f64]) {
        let before: f64 = self.weights.iter().sum();
        let largest = variances.iter().zip(&self.weights).filter(|(_, w)| **w > 0.0).map(|(v, _)| *v);
        let largest = largest.fold(f64::MIN_POSITIVE, f64::max);
        let measured = self.weights.iter_mut().zip(variances).filter(|(w, _)| **w > 0.0);
        measured.for_each(|(w, v)| *w *= (v / largest).sqrt().max(1e-3));
        let after: f64 = self.weights.iter().sum();
        self.weights.iter_mut().for_each(|w| *w *= before / after);
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
        let whole = self.by_settings.iter().map(|&s| if s { [1.0, 0.0, 0.0] } else { [0.0; 3] });
        self.scores_of_mix(sums, &whole.collect::<Vec<_>>())
    }

    /// The same when settings carry only a part of each row, the first number of `mix`.
    pub(crate) fn scores_of_mix(&self, sums: &Sums, mix: &[[f64; 3]]) -> Vec<f64> {
        let mut scores = vec![0.0; sums.words().len()];
        for r in 0..sums.len() {
            let weight = self.weights[r] * mix[r][0].powi(2);
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
