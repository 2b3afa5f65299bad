//! The observables of a gradient: many sparse Pauli sums over one list of words.
//!
//! Invariant: the words are strictly ascending and each is used by at least one row; the entries of a row ascend by
//! word and none is zero (but rows from a [`super::GradientTemplate`] keep entries that vanish at some angles). Row `o` is the value of observable `o`; row `n_observables + o * n_parameters + k` is the
//! derivative of that value by parameter `k`. Cost: 12 bytes per entry and 16 per word and 64 qubits; assembly
//! merges sorted lists in a tree.

use super::truncation::Dropped;
use crate::bits::parallel::{Cancel, map};
use crate::bits::room;
use crate::error::{Error, Result};
use crate::pauli::{PauliSum, Sums, WordRef, Words};
use std::cmp::Ordering;

/// What the memory of the rows is called.
const ROWS: &str = "the rows of the gradient observables";
/// Words between two looks at the flag that asks to stop.
const CHUNK: usize = 1 << 16;

/// The value and the gradient of each observable, as Pauli sums on the final state.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientObservables {
    sums: Sums,
    n_observables: usize,
    n_parameters: usize,
    dropped: Vec<Dropped>,
}

impl GradientObservables {
    /// Puts rows together: values first, then gradients observable by observable.
    pub(crate) fn assemble(
        n_qubits: usize,
        n_observables: usize,
        n_parameters: usize,
        rows: &[(PauliSum, Dropped)],
        cancel: &Cancel,
    ) -> Result<Self> {
        debug_assert_eq!(rows.len(), n_observables * (1 + n_parameters));
        let lists: Vec<&Words> = rows.iter().map(|(sum, _)| sum.words()).filter(|w| !w.is_empty()).collect();
        let words = union(n_qubits, &lists, cancel)?;
        if words.len() > u32::MAX as usize {
            return Err(Error::Limit {
                what: "words of the gradient observables".into(),
                needed: words.len() as u64,
                limit: u64::from(u32::MAX),
                remedy: "truncate more with max_weight or min_coefficient".into(),
            });
        }
        let located = map(rows.len(), cancel, |row| locate(&words, rows[row].0.words(), cancel))?;
        let mut offsets = vec![0];
        let entries = located.iter().map(Vec::len).sum();
        let mut indices = room(ROWS, entries, 1)?;
        let mut coefficients = room(ROWS, entries, 1)?;
        for (index, (sum, _)) in located.iter().zip(rows) {
            indices.extend_from_slice(index);
            coefficients.extend_from_slice(sum.coefficients());
            offsets.push(indices.len());
        }
        let dropped = rows.iter().map(|(_, dropped)| *dropped).collect();
        let sums = Sums::from_rows(words, offsets, indices, coefficients);
        Ok(GradientObservables { sums, n_observables, n_parameters, dropped })
    }

    /// The same rows with other coefficients, entry by entry.
    pub(crate) fn with_coefficients(&self, coefficients: Vec<f64>) -> Self {
        let sums = self.sums.with_coefficients(coefficients);
        GradientObservables { sums, dropped: self.dropped.clone(), ..*self }
    }

    /// The same rows with the coefficients of other sums, row by row: entries that a sum does not have are zero, and words
    /// that a row does not have are said to be dropped.
    pub(super) fn aligned(&self, sums: Vec<PauliSum>) -> Result<Self> {
        let mut coefficients = room(ROWS, self.sums.entries(), 1)?;
        let mut dropped = self.dropped.clone();
        for (row, sum) in sums.iter().enumerate() {
            let mut found = sum.iter().peekable();
            for (word, _) in self.sums.terms(row) {
                while let Some((_, c)) = found.next_if(|(other, _)| *other < word) {
                    dropped[row].add(c);
                }
                coefficients.push(found.next_if(|(other, _)| *other == word).map_or(0.0, |(_, c)| c));
            }
            found.for_each(|(_, c)| dropped[row].add(c));
        }
        Ok(GradientObservables { sums: self.sums.with_coefficients(coefficients), dropped, ..*self })
    }

    /// All rows, over one list of words: a value per observable, then a derivative per observable and parameter.
    pub fn sums(&self) -> &Sums {
        &self.sums
    }

    /// The derivatives alone, observable by observable.
    pub fn derivatives(&self) -> Sums {
        self.sums.tail(self.n_observables)
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.sums.n_qubits()
    }

    /// Number of observables.
    pub fn n_observables(&self) -> usize {
        self.n_observables
    }

    /// Number of parameters.
    pub fn n_parameters(&self) -> usize {
        self.n_parameters
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.sums.len()
    }

    /// Whether a derivative is identically zero, on every state.
    ///
    /// Exact when the row dropped nothing; see [`Self::dropped_row`].
    pub fn is_zero(&self, observable: usize, parameter: usize) -> bool {
        self.sums.row(self.gradient_row(observable, parameter)).0.is_empty()
    }

    /// The index of the row of a derivative.
    pub fn gradient_row(&self, observable: usize, parameter: usize) -> usize {
        assert!(observable < self.n_observables, "observable {observable} of {}", self.n_observables);
        assert!(parameter < self.n_parameters, "parameter {parameter} of {}", self.n_parameters);
        self.n_observables + observable * self.n_parameters + parameter
    }

    /// What truncation left out of a row: a bound on the error of its expectation value.
    pub fn dropped_row(&self, index: usize) -> Dropped {
        self.dropped[index]
    }

    /// What truncation left out of all rows together.
    pub fn dropped(&self) -> Dropped {
        self.dropped.iter().fold(Dropped::default(), |mut all, row| {
            all.merge(*row, 1.0);
            all
        })
    }
}

/// The union of ascending lists, merged two by two.
fn union(n_qubits: usize, lists: &[&Words], cancel: &Cancel) -> Result<Words> {
    let mut level: Vec<Words> = map(lists.len().div_ceil(2), cancel, |i| match lists[2 * i..] {
        [a, b, ..] => merge(a, b, cancel),
        [a, ..] => Ok(a.clone()),
        [] => Ok(Words::new(n_qubits)),
    })?;
    while level.len() > 1 {
        level = map(level.len().div_ceil(2), cancel, |i| match &level[2 * i..] {
            [a, b, ..] => merge(a, b, cancel),
            [a, ..] => Ok(a.clone()),
            [] => Ok(Words::new(n_qubits)),
        })?;
    }
    Ok(level.pop().unwrap_or_else(|| Words::new(n_qubits)))
}

fn merge(a: &Words, b: &Words, cancel: &Cancel) -> Result<Words> {
    let mut merged = Words::with_room(a.n_qubits(), a.len() + b.len())?;
    walk(a, b, cancel, |word| merged.push_rows(word.x(), word.z()))?;
    merged.shrink();
    Ok(merged)
}

/// Visits the union of two ascending lists, in order.
fn walk(a: &Words, b: &Words, cancel: &Cancel, mut visit: impl FnMut(WordRef<'_>)) -> Result<()> {
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if (i + j) % CHUNK < 2 {
            cancel.check()?;
        }
        let order = match (i < a.len(), j < b.len()) {
            (true, true) => a.get(i).cmp(&b.get(j)),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        visit(if order.is_le() { a.get(i) } else { b.get(j) });
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
    Ok(())
}

/// The index of each of `some` in `all`; both ascend and `all` has every one of them.
fn locate(all: &Words, some: &Words, cancel: &Cancel) -> Result<Vec<u32>> {
    let mut index = room(ROWS, some.len(), 1)?;
    // A short row in a long list is searched, a long one merged.
    if some.len() * 16 < all.len() {
        index.extend(some.iter().filter_map(|word| all.binary_search(word)).map(|i| i as u32));
        return Ok(index);
    }
    let mut at = 0;
    for (i, word) in some.iter().enumerate() {
        if i % CHUNK == 0 {
            cancel.check()?;
        }
        while all.get(at).cmp(&word).is_ne() {
            at += 1;
        }
        index.push(at as u32);
    }
    Ok(index)
}
