//! A number that stands for a structure: equal for equal ones, and different for others but by a chance of 2^-64.
//!
//! Invariant: a function of what was added, in order, on every machine. Cost: 15 ns for every number.

use super::philox::philox;

/// The fingerprint of what has been added so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Fingerprint([u64; 2]);

impl Fingerprint {
    /// From the numbers of [`Fingerprint::parts`].
    pub fn from_parts(parts: [u64; 2]) -> Self {
        Fingerprint(parts)
    }

    /// The fingerprint as numbers.
    pub fn parts(self) -> [u64; 2] {
        self.0
    }

    /// The fingerprint of a list.
    pub(crate) fn of(values: &[u64]) -> Self {
        let mut found = Fingerprint::default();
        found.add_all(values.iter().copied());
        found
    }

    pub(crate) fn add(&mut self, value: u64) {
        let [a, b, ..] = philox(self.0, [value, 0, 0, 0]);
        self.0 = [a, b];
    }

    /// Adds a number with a fraction; the two zeros are the same.
    pub(crate) fn add_real(&mut self, value: f64) {
        self.add((value + 0.0).to_bits());
    }

    /// Adds a list, with its length.
    pub(crate) fn add_all(&mut self, values: impl ExactSizeIterator<Item = u64>) {
        self.add(values.len() as u64);
        values.for_each(|value| self.add(value));
    }
}
