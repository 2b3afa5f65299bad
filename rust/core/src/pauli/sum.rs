//! Real combinations of Pauli words: the Hermitian operators of the crate.
//!
//! Invariant: the words are strictly ascending (so distinct), every coefficient is finite and not zero, and so is
//! the sum of their absolute values; equal operators are therefore equal values. Cost: addition is a merge, products are one sort of all pairs.
//! Coefficients of equal words are summed in the order in which they came, so results are reproducible.

use super::word::{PauliWord, WordRef, check_width, product_power};
use super::words::Words;
use crate::bits::parallel::Cancel;
use crate::bits::room;
use crate::error::{Error, Result};
use std::fmt;

/// Terms that [`PauliSum`] displays before it only counts them.
const DISPLAYED_TERMS: usize = 10;

/// A real combination of Pauli words.
///
/// ```
/// use efl_core::pauli::PauliSum;
/// let sum = PauliSum::from_labels([("ZI", -1.25), ("XX", 0.25), ("XX", 0.25)])?;
/// assert_eq!(sum.to_string(), "-1.25*ZI + 0.5*XX");
/// assert_eq!(sum.l1_norm(), 1.75);
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PauliSum {
    words: Words,
    coefficients: Vec<f64>,
}

impl PauliSum {
    /// The zero operator.
    pub fn zero(n_qubits: usize) -> Self {
        PauliSum { words: Words::new(n_qubits), coefficients: Vec::new() }
    }

    /// The sum of `coefficients[i] * words[i]`: duplicates are merged, exact zeros dropped, terms sorted.
    pub fn new(words: &Words, coefficients: &[f64]) -> Result<Self> {
        PauliSum::new_watched(words, coefficients, &Cancel::new())
    }

    /// [`PauliSum::new`] for very many terms: it can be interrupted.
    pub fn new_watched(words: &Words, coefficients: &[f64], cancel: &Cancel) -> Result<Self> {
        if words.len() != coefficients.len() {
            return Err(Error::shape(
                "coefficients",
                words.len().to_string(),
                coefficients.len().to_string(),
            ));
        }
        if let Some(i) = coefficients.iter().position(|c| !c.is_finite()) {
            return Err(Error::invalid(
                "coefficients",
                "finite numbers",
                format!("{} at position {i}", coefficients[i]),
            ));
        }
        let (sorted, index) = words.sort_dedup_watched(cancel)?;
        let mut merged = room("the coefficients of a sum", sorted.len(), 1)?;
        merged.resize(sorted.len(), 0.0);
        for (&new, coefficient) in index.iter().zip(coefficients) {
            merged[new as usize] += coefficient;
        }
        PauliSum::from_sorted(sorted, merged)
    }

    /// The sum of words with coefficients, all on `n_qubits` qubits.
    pub fn from_terms<'w, W: Into<WordRef<'w>>>(
        n_qubits: usize,
        terms: impl IntoIterator<Item = (W, f64)>,
    ) -> Result<Self> {
        let (mut words, mut coefficients) = (Words::new(n_qubits), Vec::new());
        for (word, coefficient) in terms {
            words.push(word)?;
            coefficients.push(coefficient);
        }
        PauliSum::new(&words, &coefficients)
    }

    /// The sum of labels with coefficients; at least one term, to know the number of qubits.
    pub fn from_labels<'l>(terms: impl IntoIterator<Item = (&'l str, f64)>) -> Result<Self> {
        let terms: Vec<(PauliWord, f64)> = terms
            .into_iter()
            .map(|(label, coefficient)| Ok((PauliWord::from_label(label)?, coefficient)))
            .collect::<Result<_>>()?;
        let Some((first, _)) = terms.first() else {
            return Err(Error::invalid("terms", "at least one term", "none"));
        };
        PauliSum::from_terms(first.n_qubits(), terms.iter().map(|(word, c)| (word, *c)))
    }

    /// A single word with coefficient 1.
    pub fn from_word<'w>(word: impl Into<WordRef<'w>>) -> Self {
        let word = word.into();
        let mut words = Words::with_capacity(word.n_qubits(), 1);
        words.push_rows(word.x(), word.z());
        PauliSum { words, coefficients: vec![1.0] }
    }

    /// Strictly ascending words with their coefficients: drops exact zeros, refuses an overflow.
    pub(crate) fn from_sorted(words: Words, coefficients: Vec<f64>) -> Result<Self> {
        debug_assert!(words.iter().zip(words.iter().skip(1)).all(|(a, b)| a < b));
        let norm: f64 = coefficients.iter().map(|c| c.abs()).sum();
        if !norm.is_finite() {
            return Err(Error::invalid("coefficients", "a 1-norm that is finite", norm.to_string()));
        }
        if coefficients.iter().all(|&c| c != 0.0) {
            return Ok(PauliSum { words, coefficients });
        }
        let mut kept = PauliSum::zero(words.n_qubits());
        for (word, &c) in words.iter().zip(&coefficients).filter(|(_, c)| **c != 0.0) {
            kept.words.push_rows(word.x(), word.z());
            kept.coefficients.push(c);
        }
        Ok(kept)
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.words.n_qubits()
    }

    /// Number of terms.
    pub fn len(&self) -> usize {
        self.coefficients.len()
    }

    /// Whether it is the zero operator.
    pub fn is_empty(&self) -> bool {
        self.coefficients.is_empty()
    }

    /// The words, strictly ascending.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// The coefficients, in the order of the words.
    pub fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The terms, in ascending order of their words.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (WordRef<'_>, f64)> + Clone {
        self.words.iter().zip(self.coefficients.iter().copied())
    }

    /// The coefficient of a word, zero when it does not occur.
    pub fn coefficient<'w>(&self, word: impl Into<WordRef<'w>>) -> f64 {
        self.words.binary_search(word).map_or(0.0, |i| self.coefficients[i])
    }

    /// The coefficient of the identity: the trace over `2^n`.
    pub fn identity_coefficient(&self) -> f64 {
        // The identity is the smallest word.
        if !self.is_empty() && self.words.get(0).is_identity() { self.coefficients[0] } else { 0.0 }
    }

    /// Sum of the absolute coefficients: a bound on the operator norm.
    pub fn l1_norm(&self) -> f64 {
        self.coefficients.iter().map(|c| c.abs()).sum()
    }

    /// Root of the sum of squared coefficients: the Frobenius norm over `sqrt(2^n)`.
    pub fn l2_norm(&self) -> f64 {
        let scale = self.coefficients.iter().fold(0.0f64, |m, c| m.max(c.abs()));
        if scale == 0.0 {
            return 0.0;
        }
        scale * self.coefficients.iter().map(|c| (c / scale) * (c / scale)).sum::<f64>().sqrt()
    }

    /// The sum of two operators.
    pub fn add(&self, other: &PauliSum) -> Result<PauliSum> {
        check_width("other", self.n_qubits(), other.n_qubits())?;
        let mut words = Words::with_capacity(self.n_qubits(), self.len() + other.len());
        let mut coefficients = Vec::with_capacity(self.len() + other.len());
        let (mut left, mut right) = (self.iter().peekable(), other.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some((a, _)), Some((b, _))) => a.cmp(b),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (None, None) => break,
            };
            let a = if order.is_le() { left.next() } else { None };
            let b = if order.is_ge() { right.next() } else { None };
            let Some((word, _)) = a.or(b) else { break };
            words.push_rows(word.x(), word.z());
            coefficients.push(a.map_or(0.0, |(_, c)| c) + b.map_or(0.0, |(_, c)| c));
        }
        PauliSum::from_sorted(words, coefficients)
    }

    /// The operator times a finite number.
    pub fn scale(&self, factor: f64) -> Result<PauliSum> {
        if !factor.is_finite() {
            return Err(Error::invalid("factor", "a finite number", factor.to_string()));
        }
        PauliSum::from_sorted(self.words.clone(), self.coefficients.iter().map(|c| c * factor).collect())
    }

    /// `(i/2) [self, other]`: Hermitian, and the derivative of `other` under `exp(-i t self / 2)`.
    pub fn commutator_i_half(&self, other: &PauliSum) -> Result<PauliSum> {
        // i AB is real where A and B anticommute: i * i^1 = -1, i * i^3 = +1.
        self.products(other, |power| match power & 3 {
            1 => Some(-1.0),
            3 => Some(1.0),
            _ => None,
        })
    }

    /// `{self, other} / 2`: Hermitian, the symmetric product.
    pub fn anticommutator_half(&self, other: &PauliSum) -> Result<PauliSum> {
        self.products(other, |power| match power & 3 {
            0 => Some(1.0),
            2 => Some(-1.0),
            _ => None,
        })
    }

    /// The products of all pairs of terms whose power of `i` has a sign.
    fn products(&self, other: &PauliSum, sign: impl Fn(u32) -> Option<f64>) -> Result<PauliSum> {
        check_width("other", self.n_qubits(), other.n_qubits())?;
        let width = self.words.limbs_per_row();
        let (mut words, mut coefficients) = (Words::new(self.n_qubits()), Vec::new());
        let (mut x, mut z) = (vec![0; width], vec![0; width]);
        for (a, left) in self.iter() {
            for (b, right) in other.iter() {
                let mut power = 0u32;
                for i in 0..width {
                    power = power.wrapping_add(product_power(a.x()[i], a.z()[i], b.x()[i], b.z()[i]));
                }
                if let Some(sign) = sign(power) {
                    for i in 0..width {
                        x[i] = a.x()[i] ^ b.x()[i];
                        z[i] = a.z()[i] ^ b.z()[i];
                    }
                    words.push_rows(&x, &z);
                    coefficients.push(sign * left * right);
                }
            }
        }
        PauliSum::new(&words, &coefficients)
    }
}

impl fmt::Display for PauliSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return write!(f, "0");
        }
        for (i, (word, c)) in self.iter().take(DISPLAYED_TERMS).enumerate() {
            match (i, c < 0.0) {
                (0, false) => {}
                (0, true) => write!(f, "-")?,
                (_, false) => write!(f, " + ")?,
                (_, true) => write!(f, " - ")?,
            }
            write!(f, "{}*{word}", c.abs())?;
        }
        if self.len() > DISPLAYED_TERMS {
            write!(f, " + ... ({} terms)", self.len())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(terms: &[(&str, f64)]) -> PauliSum {
        PauliSum::from_labels(terms.iter().copied()).unwrap()
    }

    #[test]
    fn equal_words_merge_and_zeros_vanish() {
        let merged = sum(&[("XX", 0.5), ("ZI", 1.0), ("XX", -0.5), ("YY", 0.0)]);
        assert_eq!(merged, sum(&[("ZI", 1.0)]));
        assert_eq!(merged.coefficient(&PauliWord::from_label("ZI").unwrap()), 1.0);
        assert_eq!(merged.coefficient(&PauliWord::from_label("XX").unwrap()), 0.0);
        assert_eq!(merged.add(&merged.scale(-1.0).unwrap()).unwrap(), PauliSum::zero(2));
        assert_eq!(sum(&[("II", 3.0), ("ZI", 4.0)]).identity_coefficient(), 3.0);
        assert_eq!(sum(&[("II", 3.0), ("ZI", 4.0)]).l2_norm(), 5.0);
    }

    #[test]
    fn a_norm_that_overflows_is_refused() {
        let half = sum(&[("X", 1e308), ("Z", -0.7e308)]);
        assert_eq!(half.l1_norm(), 1.7e308);
        for overflow in [half.add(&sum(&[("Y", 0.2e308)])), half.scale(1.1), half.scale(1e10)] {
            assert_eq!(overflow.unwrap_err().argument(), Some("coefficients"));
        }
        assert!(PauliSum::from_labels([("X", 1e308), ("Z", 1e308)]).is_err());
    }

    #[test]
    fn commutators_follow_the_pauli_table() {
        // (i/2)[Z, X] = (i/2)(2i Y) = -Y
        let (x, z) = (sum(&[("X", 1.0)]), sum(&[("Z", 2.0)]));
        assert_eq!(z.commutator_i_half(&x).unwrap(), sum(&[("Y", -2.0)]));
        assert_eq!(x.commutator_i_half(&z).unwrap(), sum(&[("Y", 2.0)]));
        assert_eq!(x.anticommutator_half(&z).unwrap(), PauliSum::zero(1));
        let (xx, zz) = (sum(&[("XX", 1.0)]), sum(&[("ZZ", 1.0)]));
        assert_eq!(xx.anticommutator_half(&zz).unwrap(), sum(&[("YY", -1.0)]));
        assert_eq!(xx.commutator_i_half(&zz).unwrap(), PauliSum::zero(2));
    }

    #[test]
    fn what_is_not_finite_or_does_not_fit_is_refused() {
        assert!(PauliSum::from_labels([("X", f64::NAN)]).is_err());
        assert!(PauliSum::from_labels([("X", f64::INFINITY)]).is_err());
        assert!(PauliSum::from_labels([("X", 1.0), ("XX", 1.0)]).is_err());
        assert!(PauliSum::from_labels([]).is_err());
        assert!(PauliSum::from_labels([("X", 1e308), ("X", 1e308)]).is_err());
        assert!(sum(&[("X", 1e308)]).scale(10.0).is_err());
        assert!(sum(&[("X", 1.0)]).scale(f64::NAN).is_err());
        assert!(sum(&[("X", 1.0)]).add(&sum(&[("XX", 1.0)])).is_err());
    }

    #[test]
    fn long_sums_are_counted_not_printed() {
        let terms: Vec<(PauliWord, f64)> = (0..20)
            .map(|q| (PauliWord::from_sparse(20, [(q, crate::pauli::Letter::Z)]).unwrap(), -1.0))
            .collect();
        let text = PauliSum::from_terms(20, terms.iter().map(|(w, c)| (w, *c))).unwrap().to_string();
        assert!(text.starts_with("-1*Z") && text.ends_with(" + ... (20 terms)"), "{text}");
        assert_eq!(PauliSum::zero(3).to_string(), "0");
    }
}
