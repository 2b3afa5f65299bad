//! Several sums over one shared list of words.
//!
//! Observables of one circuit share most of their words, and a word costs the same whether one sum needs it or a
//! hundred do. [`Sums`] is a sparse matrix: a list of distinct words (columns) and a row of coefficients per sum.
//! Invariant: within a row, columns ascend strictly; no coefficient is NaN or infinite.

use super::{PauliSum, WordRef, Words};
use crate::error::{Error, Result};
use std::borrow::Cow;

/// Sparse rows of coefficients over one list of distinct, sorted words.
#[derive(Debug, Clone, PartialEq)]
pub struct Sums {
    words: Words,
    starts: Vec<usize>,
    columns: Vec<u32>,
    coefficients: Vec<f64>,
}

impl Sums {
    /// Collects `sums`, which must all have `n_qubits` qubits.
    ///
    /// ```
    /// use efl_core::pauli::{PauliSum, Sums};
    /// let a = PauliSum::from_labels([("XX", 0.5), ("ZI", 1.0)])?;
    /// let b = PauliSum::from_labels([("ZI", -1.0)])?;
    /// let sums = Sums::from_sums(2, [&a, &b])?;
    /// assert_eq!((sums.len(), sums.words().len()), (2, 2));
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn from_sums<'s>(n_qubits: usize, sums: impl IntoIterator<Item = &'s PauliSum>) -> Result<Self> {
        let mut all = Words::new(n_qubits);
        let (mut starts, mut coefficients) = (vec![0], Vec::new());
        for (j, sum) in sums.into_iter().enumerate() {
            if sum.n_qubits() != n_qubits {
                return Err(Error::shape(
                    format!("observables[{j}]"),
                    format!("{n_qubits} qubits"),
                    format!("{} qubits", sum.n_qubits()),
                ));
            }
            all.extend(sum.words())?;
            coefficients.extend_from_slice(sum.coefficients());
            starts.push(coefficients.len());
        }
        let (words, columns) = all.sort_dedup()?;
        // Both the list and the words of a sum are sorted, so the columns of a row ascend.
        Ok(Sums { words, starts, columns, coefficients })
    }

    /// One row per word, with coefficient 1.
    pub fn from_words(words: &Words) -> Result<Self> {
        let (distinct, columns) = words.sort_dedup()?;
        let count = columns.len();
        Ok(Sums { words: distinct, starts: (0..=count).collect(), columns, coefficients: vec![1.0; count] })
    }

    /// Rows over a list of words that ascends strictly: row `j` is `starts[j] .. starts[j + 1]`.
    pub(crate) fn from_rows(
        words: Words,
        starts: Vec<usize>,
        columns: Vec<u32>,
        coefficients: Vec<f64>,
    ) -> Self {
        debug_assert!(words.iter().zip(words.iter().skip(1)).all(|(a, b)| a < b));
        debug_assert!(columns.len() == coefficients.len() && starts.last() == Some(&columns.len()));
        Sums { words, starts, columns, coefficients }
    }

    /// The same pattern with other coefficients, row after row.
    pub(crate) fn with_coefficients(&self, coefficients: Vec<f64>) -> Self {
        debug_assert_eq!(coefficients.len(), self.coefficients.len());
        Sums {
            words: self.words.clone(),
            starts: self.starts.clone(),
            columns: self.columns.clone(),
            coefficients,
        }
    }

    /// The largest absolute coefficient of a word that is not the identity, 0 if there is none.
    pub(crate) fn largest(&self) -> f64 {
        let identity = self.words.iter().position(|word| word.is_identity());
        let entries = self.columns.iter().zip(&self.coefficients);
        let counted = entries.filter(|(column, _)| identity != Some(**column as usize));
        counted.fold(0.0, |most, (_, c)| most.max(c.abs()))
    }

    /// The same sums, all times one power of two if their largest coefficient is so large, or so small, that squares of
    /// the coefficients would be lost. What is found for them is exact where nothing depends on the scale.
    pub(crate) fn moderate(&self) -> Cow<'_, Sums> {
        let largest = self.largest();
        if largest == 0.0 || (2f64.powi(-300)..=2f64.powi(300)).contains(&largest) {
            return Cow::Borrowed(self);
        }
        // In two steps: the inverse of the least number is beyond a float.
        let exponent = (largest.to_bits() >> 52) as i32 - 1023;
        let half = 2f64.powi(-exponent / 2);
        Cow::Owned(self.with_coefficients(self.coefficients.iter().map(|c| c * half * half).collect()))
    }

    /// The sums from number `first` on, over the same list of words.
    pub(crate) fn tail(&self, first: usize) -> Self {
        let entries = self.starts[first];
        Sums {
            words: self.words.clone(),
            starts: self.starts[first..].iter().map(|start| start - entries).collect(),
            columns: self.columns[entries..].to_vec(),
            coefficients: self.coefficients[entries..].to_vec(),
        }
    }

    /// The coefficient of the identity in each sum.
    ///
    /// ```
    /// use efl_core::pauli::{PauliSum, Sums};
    /// let sums = Sums::from_sums(1, [&PauliSum::from_labels([("I", 0.5), ("Z", 2.0)])?])?;
    /// assert_eq!(sums.constants(), [0.5]);
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn constants(&self) -> Vec<f64> {
        let identity = self.words.iter().position(|word| word.is_identity());
        let of = |(columns, coefficients): (&[u32], &[f64])| {
            let mut terms = columns.iter().zip(coefficients);
            terms.find(|(column, _)| identity == Some(**column as usize)).map_or(0.0, |(_, c)| *c)
        };
        (0..self.len()).map(|j| of(self.row(j))).collect()
    }

    /// Some of the sums, over the same list of words.
    pub(crate) fn rows(&self, rows: &[usize]) -> Self {
        let (mut starts, mut columns, mut coefficients) = (vec![0], Vec::new(), Vec::new());
        for &j in rows {
            let (own, numbers) = self.row(j);
            columns.extend_from_slice(own);
            coefficients.extend_from_slice(numbers);
            starts.push(columns.len());
        }
        Sums { words: self.words.clone(), starts, columns, coefficients }
    }

    /// Number of sums.
    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// True when there is no sum.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.words.n_qubits()
    }

    /// The distinct words, sorted.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// Columns (indices into [`Sums::words`]) and coefficients of sum `j`.
    pub fn row(&self, j: usize) -> (&[u32], &[f64]) {
        let range = self.starts[j]..self.starts[j + 1];
        (&self.columns[range.clone()], &self.coefficients[range])
    }

    /// Sum `j` on its own.
    pub fn sum(&self, j: usize) -> Result<PauliSum> {
        PauliSum::from_terms(self.n_qubits(), self.terms(j))
    }

    /// Number of entries of all rows.
    pub fn entries(&self) -> usize {
        self.columns.len()
    }

    /// The words of sum `j` with their coefficients.
    pub fn terms(&self, j: usize) -> impl Iterator<Item = (WordRef<'_>, f64)> {
        let (columns, coefficients) = self.row(j);
        columns.iter().zip(coefficients).map(|(&c, &v)| (self.words.get(c as usize), v))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moderate_sums_are_left_alone_and_others_scaled_by_a_power_of_two() {
        let sums = |scale: f64| {
            let sum = PauliSum::from_labels([("XX", 0.75 * scale), ("ZI", -0.5 * scale)]).unwrap();
            Sums::from_sums(2, [&sum]).unwrap()
        };
        assert!(matches!(sums(1e40).moderate(), Cow::Borrowed(_)));
        for scale in [1e308, 1e154, 1e-200, 1e-307, f64::MIN_POSITIVE] {
            let found = sums(scale).moderate().into_owned();
            let (_, coefficients) = found.row(0);
            assert!((0.1..=4.0).contains(&coefficients[0].abs()), "{coefficients:?}");
            let ratio = coefficients[0] / sums(scale).row(0).1[0];
            assert_eq!(coefficients[1] / sums(scale).row(0).1[1], ratio);
        }
    }
}
