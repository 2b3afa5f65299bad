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

/// A problem with one row for each kind, which weighs what all of them do.
pub(crate) struct Alike {
    /// For every row its kind.
    kinds: Vec<usize>,
    /// For every kind its first row.
    firsts: Vec<usize>,
    pub(crate) sums: Sums,
    pub(crate) objective: Objective,
    pub(crate) direct: Vec<DirectMeasurement>,
}

impl Alike {
    /// Finds the kinds.
    pub(crate) fn new(sums: &Sums, objective: &Objective, direct: &[DirectMeasurement]) -> Self {
        let (kinds, firsts) = kinds(sums, objective, direct);
        let mut weights = vec![0.0; firsts.len()];
        kinds.iter().zip(objective.weights()).for_each(|(kind, weight)| weights[*kind] += weight);
        let by_settings = firsts.iter().map(|&r| objective.by_settings()[r]).collect();
        let own = |(r, v): &(u32, f64)| {
            let kind = kinds[*r as usize];
            (firsts[kind] == *r as usize).then_some((kind as u32, *v))
        };
        let merged = |measurement: &DirectMeasurement| DirectMeasurement {
            route: measurement.route,
            rows: measurement.rows.iter().filter_map(own).collect(),
        };
        let direct = direct.iter().map(merged).collect();
        let (sums, objective) = (sums.rows(&firsts), Objective::of(weights, by_settings));
        Alike { kinds, firsts, sums, objective, direct }
    }

    /// What every kind has, of what every row has; nothing of nothing.
    pub(crate) fn merge(&self, mix: &[Mix]) -> Vec<Mix> {
        self.firsts.iter().filter_map(|&r| mix.get(r).copied()).collect()
    }

    /// Gives every row what its kind has.
    pub(crate) fn spread(&self, mix: &[Mix]) -> Vec<Mix> {
        self.kinds.iter().map(|&kind| mix[kind]).collect()
    }
}

/// For every row its kind, and for every kind its first row.
fn kinds(sums: &Sums, objective: &Objective, direct: &[DirectMeasurement]) -> (Vec<usize>, Vec<usize>) {
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
    let mut firsts: Vec<usize> = Vec::new();
    let kind = |r: usize| {
        let (words, coefficients) = sums.row(r);
        let mut hasher = FxHasher::default();
        words.hash(&mut hasher);
        coefficients.iter().for_each(|c| hasher.write_u64(c.abs().to_bits()));
        let seen = known.entry(hasher.finish()).or_default();
        let found = seen.iter().copied().find(|&kind| same(r, firsts[kind]));
        found.unwrap_or_else(|| {
            seen.push(firsts.len());
            firsts.push(r);
            firsts.len() - 1
        })
    };
    ((0..sums.len()).map(kind).collect(), firsts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::design::Route;
    use crate::pauli::PauliSum;

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
        let objective = Objective::of(weights, vec![true; 7]);
        let direct = [DirectMeasurement { route: Route::Echo, rows: vec![(0, 1.0), (2, 1.0), (6, 2.0)] }];
        let alike = Alike::new(&sums, &objective, &direct);
        assert_eq!(alike.objective.weights(), [0.625, 0.25, 0.0625, 0.03125, 0.0, 0.015625]);
        assert_eq!(alike.direct[0].rows, [(0, 1.0), (5, 2.0)]);
        let firsts = [0, 1, 3, 4, 5, 6];
        for (kind, &first) in firsts.iter().enumerate() {
            assert_eq!(alike.sums.row(kind), sums.row(first));
        }
        let mix: Vec<Mix> = (0..7).map(|r| Mix::of(|_| f64::from(r))).collect();
        let merged = alike.merge(&mix);
        assert_eq!(merged, firsts.map(|r| mix[r]));
        assert!(alike.merge(&[]).is_empty());
        assert_eq!(alike.spread(&merged), [0, 1, 0, 3, 4, 5, 6].map(|r: usize| mix[r]));
    }
}
