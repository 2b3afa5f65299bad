//! Several sums over one shared list of words.
//!
//! Observables of one circuit share most of their words, and a word costs the same whether one sum needs it or a
//! hundred do. [`Sums`] is a sparse matrix: a list of distinct words (columns) and a row of coefficients per sum.
//! Invariant: within a row, columns ascend strictly; no coefficient is NaN or infinite.

use super::{PauliSum, WordRef, Words};
use crate::error::{Error, Result};

/// Largest coefficients of sums that variances can be predicted for.
const SQUARED: std::ops::RangeInclusive<f64> = 1e-140..=1e140;

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

    /// The sums from number `first` on, over the same list of words.
    pub(crate) fn from(&self, first: usize) -> Self {
        let entries = self.starts[first];
        Sums {
            words: self.words.clone(),
            starts: self.starts[first..].iter().map(|start| start - entries).collect(),
            columns: self.columns[entries..].to_vec(),
            coefficients: self.coefficients[entries..].to_vec(),
        }
    }

    /// Refuses sums whose squared coefficients overflow or vanish in floating point: variances are made of them.
    pub(crate) fn check_squares(&self) -> Result<()> {
        for j in 0..self.len() {
            let largest = self.row(j).1.iter().fold(0.0f64, |most, c| most.max(c.abs()));
            if largest != 0.0 && !SQUARED.contains(&largest) {
                let expected = format!(
                    "a largest coefficient from {:e} to {:e}, whose square floating point can hold",
                    SQUARED.start(),
                    SQUARED.end()
                );
                return Err(Error::invalid("observables", expected, format!("{largest:e} in row {j}")));
            }
        }
        Ok(())
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
