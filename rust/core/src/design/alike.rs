//! Rows that differ by signs alone, as the derivatives of all probabilities of an outcome do: whatever is measured how
//! often, they have the same variance, so whoever looks for shares needs one of each kind.
//!
//! Invariant: rows of a kind have the same words with the same squares of coefficients, the same direct measurements with
//! the same variances, and all of them count or none.
//! Cost: a pass over the entries of the rows.

use super::allocate::DirectMeasurement;
use super::objective::Objective;
use super::route::Mix;
use crate::pauli::Sums;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// The kinds of rows.
pub(super) struct Alike {
    /// For every row the first one of its kind.
    first: Vec<usize>,
}

impl Alike {
    /// Finds the kinds.
    pub(super) fn new(sums: &Sums, objective: &Objective, direct: &[DirectMeasurement]) -> Self {
        let mut by_direct = vec![Vec::new(); sums.len()];
        for (i, measurement) in direct.iter().enumerate() {
            measurement.rows.iter().for_each(|(r, v)| by_direct[*r as usize].push((i, v.to_bits())));
        }
        let counts = |r: usize| (objective.weights()[r] > 0.0, objective.by_settings()[r]);
        let same = |a: usize, b: usize| {
            let ((words, own), (others, theirs)) = (sums.row(a), sums.row(b));
            let squares = || own.iter().zip(theirs).all(|(c, d)| c.abs() == d.abs());
            counts(a) == counts(b) && by_direct[a] == by_direct[b] && words == others && squares()
        };
        let mut known: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        let first = (0..sums.len())
            .map(|r| {
                let (words, coefficients) = sums.row(r);
                let mut hasher = FxHasher::default();
                words.hash(&mut hasher);
                coefficients.iter().for_each(|c| hasher.write_u64(c.abs().to_bits()));
                let seen = known.entry(hasher.finish()).or_default();
                let found = seen.iter().copied().find(|&other| same(r, other));
                found.unwrap_or_else(|| {
                    seen.push(r);
                    r
                })
            })
            .collect();
        Alike { first }
    }

    /// The weights of the kinds, each at its first row; none at the others.
    pub(super) fn weights(&self, weights: &[f64]) -> Vec<f64> {
        let mut all = vec![0.0; weights.len()];
        self.first.iter().zip(weights).for_each(|(first, weight)| all[*first] += weight);
        all
    }

    /// Gives every row what the first one of its kind has.
    pub(super) fn spread(&self, mix: &mut [Mix]) {
        self.first.iter().enumerate().for_each(|(r, first)| mix[r] = mix[*first]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Route;
    use crate::pauli::{PauliSum, Sums};

    #[test]
    fn rows_that_differ_by_signs_alone_are_of_a_kind() {
        let row = |terms: &[(&str, f64)]| PauliSum::from_labels(terms.iter().copied()).unwrap();
        let rows = [
            row(&[("XI", 0.5), ("ZZ", -0.25)]),
            row(&[("XI", 0.5), ("ZZ", 0.25)]),
            row(&[("XI", -0.5), ("ZZ", 0.25)]),
            row(&[("XI", 0.5), ("ZZ", 0.5)]),
            row(&[("XI", 0.5), ("ZX", 0.25)]),
            row(&[("XI", 0.5), ("ZZ", 0.25)]),
            row(&[("XI", 0.5), ("ZZ", 0.25)]),
        ];
        let sums = Sums::from_sums(2, &rows).unwrap();
        let weights = vec![0.5, 0.25, 0.125, 0.0625, 0.03125, 0.0, 0.015625];
        let objective = Objective::of(weights.clone(), vec![true; 7]);
        let direct = [DirectMeasurement { route: Route::Echo, rows: vec![(0, 1.0), (2, 1.0), (6, 2.0)] }];
        let alike = Alike::new(&sums, &objective, &direct);
        assert_eq!(alike.weights(&weights), [0.625, 0.25, 0.0, 0.0625, 0.03125, 0.0, 0.015625]);
        let mut mix: Vec<Mix> = (0..7).map(|r| Mix::of(|_| f64::from(r))).collect();
        alike.spread(&mut mix);
        assert_eq!(mix[2], mix[0]);
        assert!([1, 3, 4, 5, 6].into_iter().all(|r| mix[r] == Mix::of(|_| r as f64)));
    }
}
