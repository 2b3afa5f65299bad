//! What is left out of a sum on its way through a circuit, and the account of it.
//!
//! Invariant: everything left out is in a [`Dropped`], whose 1-norm bounds the error of an expectation value.

use crate::error::{Error, Result};

/// What is left out of a sum after every gate. The default leaves out nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Truncation {
    /// Words with more letters than this are dropped.
    pub max_weight: Option<usize>,
    /// Terms whose absolute coefficient is below this are dropped.
    pub min_coefficient: f64,
    /// More terms than this are an error: a bound on memory and time, not a truncation.
    pub max_terms: Option<usize>,
}

impl Truncation {
    /// Leaves out nothing.
    pub const EXACT: Truncation = Truncation { max_weight: None, min_coefficient: 0.0, max_terms: None };

    pub(crate) fn check(&self) -> Result<()> {
        if self.min_coefficient.is_finite() && self.min_coefficient >= 0.0 {
            return Ok(());
        }
        Err(Error::invalid(
            "min_coefficient",
            "a finite number that is not negative",
            self.min_coefficient.to_string(),
        ))
    }
}

/// What a truncation dropped.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dropped {
    /// Number of terms, counted each time that one was dropped.
    pub count: u64,
    /// Sum of their absolute coefficients: a bound on the error of an expectation value.
    pub l1: f64,
}

impl Dropped {
    /// Adds a term that was dropped; one that is zero is no loss.
    #[inline]
    pub(crate) fn add(&mut self, coefficient: f64) {
        self.count += u64::from(coefficient != 0.0);
        self.l1 += coefficient.abs();
    }

    /// The losses of both, the other's times `factor`.
    pub(crate) fn merge(&mut self, other: Dropped, factor: f64) {
        self.count += other.count;
        self.l1 += other.l1 * factor;
    }
}
