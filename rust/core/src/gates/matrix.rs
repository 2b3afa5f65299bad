//! Small dense complex matrices: what gates are before they become transfer matrices.
//!
//! Invariant: `entries` has `dimension * dimension` finite numbers, row after row. A local Pauli word on `k`
//! qubits is its *code*, `(x_j + 2 z_j) << 2j` summed over the local qubits `j`; local qubit 0 is the most
//! significant bit of a matrix index. Cost: cubic, for dimensions up to 16.

use crate::bits::real::halvings;
use crate::error::{Error, Result};
use num_complex::Complex64;

const ZERO: Complex64 = Complex64::new(0.0, 0.0);
const ONE: Complex64 = Complex64::new(1.0, 0.0);

/// A square complex matrix.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    dimension: usize,
    entries: Vec<Complex64>,
}

impl Matrix {
    /// A matrix on `k` qubits from its rows; the size and the entries are checked.
    pub(crate) fn new(argument: &'static str, k: usize, entries: &[Complex64]) -> Result<Self> {
        let dimension = 1 << k;
        if entries.len() != dimension * dimension {
            return Err(Error::shape(
                argument,
                format!(
                    "{0} entries, a {dimension} x {dimension} matrix for {k} wires",
                    dimension * dimension
                ),
                entries.len().to_string(),
            ));
        }
        if let Some(i) = entries.iter().position(|e| !e.re.is_finite() || !e.im.is_finite()) {
            return Err(Error::invalid(
                argument,
                "finite entries",
                format!("{} at position {i}", entries[i]),
            ));
        }
        Ok(Matrix { dimension, entries: entries.to_vec() })
    }

    pub(crate) fn zero(dimension: usize) -> Self {
        Matrix { dimension, entries: vec![ZERO; dimension * dimension] }
    }

    pub(crate) fn identity(dimension: usize) -> Self {
        let mut result = Matrix::zero(dimension);
        (0..dimension).for_each(|i| result.entries[i * dimension + i] = ONE);
        result
    }

    /// The matrix of the local Pauli word `code` on `k` qubits.
    pub(crate) fn pauli(code: usize, k: usize) -> Self {
        let word = LocalWord::new(code, k);
        let mut result = Matrix::zero(1 << k);
        for i in 0..1 << k {
            result.entries[(i ^ word.x) << k | i] = word.phase(i);
        }
        result
    }

    pub(crate) fn multiply(&self, other: &Matrix) -> Matrix {
        let d = self.dimension;
        let mut result = Matrix::zero(d);
        for row in 0..d {
            for inner in 0..d {
                let factor = self.entries[row * d + inner];
                if factor != ZERO {
                    for column in 0..d {
                        result.entries[row * d + column] += factor * other.entries[inner * d + column];
                    }
                }
            }
        }
        result
    }

    pub(crate) fn dagger(&self) -> Matrix {
        let d = self.dimension;
        let entries = (0..d * d).map(|i| self.entries[i % d * d + i / d].conj()).collect();
        Matrix { dimension: d, entries }
    }

    /// `self + factor * other`.
    pub(crate) fn add_scaled(&mut self, factor: Complex64, other: &Matrix) {
        self.entries.iter_mut().zip(&other.entries).for_each(|(a, b)| *a += factor * b);
    }

    /// The entries, row after row.
    pub(crate) fn entries(&self) -> &[Complex64] {
        &self.entries
    }

    /// The Frobenius norm over the root of the dimension, and the matrix divided by it (unitary for a multiple of
    /// a unitary matrix).
    pub(crate) fn normalised(&self) -> (f64, Matrix) {
        let norm = (self.entries.iter().map(Complex64::norm_sqr).sum::<f64>() / self.dimension as f64).sqrt();
        (norm, Matrix { dimension: self.dimension, entries: self.entries.iter().map(|e| e / norm).collect() })
    }

    /// Largest absolute entry of the difference; NaN if one is.
    pub(crate) fn distance(&self, other: &Matrix) -> f64 {
        let distances = self.entries.iter().zip(&other.entries).map(|(a, b)| length(a - b));
        distances.fold(0.0, |most, found| if found > most || found.is_nan() { found } else { most })
    }

    /// How far it is from unitary, if that is more than a given matrix may be.
    pub(crate) fn check_unitary(&self) -> std::result::Result<(), f64> {
        let error = self.multiply(&self.dagger()).distance(&Matrix::identity(self.dimension));
        if error <= TOLERANCE { Ok(()) } else { Err(error) }
    }

    /// Largest sum of the absolute entries of a row; NaN if an entry is.
    pub(crate) fn row_norm(&self) -> f64 {
        let rows = self.entries.chunks_exact(self.dimension);
        rows.map(|row| row.iter().map(|e| length(*e)).sum::<f64>())
            .fold(0.0, |most, found| if found > most || found.is_nan() { found } else { most })
    }

    /// Trace of the local Pauli word `code` times the matrix, over the dimension.
    pub(crate) fn pauli_component(&self, code: usize, k: usize) -> Complex64 {
        let word = LocalWord::new(code, k);
        let trace: Complex64 = (0..self.dimension)
            .map(|i| word.phase(i) * self.entries[i * self.dimension + (i ^ word.x)])
            .sum();
        trace / self.dimension as f64
    }

    /// `exp(self)`, by scaling, a Taylor series and squaring; the norm of the matrix is finite.
    pub(crate) fn exponential(&self) -> Matrix {
        let d = self.dimension;
        // 2^-s norm <= 1/4, where 16 terms of the series leave less than 1e-23.
        let squarings = halvings(self.row_norm(), 0.25);
        let mut base = Matrix::zero(d);
        base.add_scaled(Complex64::new(0.5f64.powi(squarings as i32), 0.0), self);
        let (mut result, mut power) = (Matrix::identity(d), Matrix::identity(d));
        let mut factorial = 1.0;
        for term in 1..=16 {
            power = power.multiply(&base);
            factorial *= f64::from(term);
            result.add_scaled(Complex64::new(1.0 / factorial, 0.0), &power);
        }
        for _ in 0..squarings {
            result = result.multiply(&result);
        }
        result
    }
}

/// The absolute value. That of the library asks the C library of the system, whose bits differ.
fn length(value: Complex64) -> f64 {
    value.norm_sqr().sqrt()
}

/// How far from unitary, or from trace preserving, a given matrix may be.
pub(super) const TOLERANCE: f64 = 1e-8;

/// A local Pauli word as masks over matrix indices.
pub(crate) struct LocalWord {
    pub(crate) x: usize,
    z: usize,
    y: u32,
}

impl LocalWord {
    pub(crate) fn new(code: usize, k: usize) -> Self {
        let mask = |shift: usize| (0..k).map(|j| (code >> (2 * j + shift) & 1) << (k - 1 - j)).sum::<usize>();
        let (x, z) = (mask(0), mask(1));
        LocalWord { x, z, y: (x & z).count_ones() }
    }

    /// The factor in `word |i> = factor |i ^ x>`.
    pub(crate) fn phase(&self, i: usize) -> Complex64 {
        crate::pauli::Phase::new(self.y + 2 * (self.z & i).count_ones()).to_complex()
    }

    /// The power of `i` in `self * other`.
    pub(crate) fn product_power(&self, other: &LocalWord) -> u32 {
        crate::pauli::word::product_power(self.x as u64, self.z as u64, other.x as u64, other.z as u64) & 3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_of_a_pauli_word_is_a_rotation() {
        for (code, k, angle) in [(0b11, 1, 0.3), (0b0110, 2, -40.0), (0b11_01_10, 3, 1e-9)] {
            let word = Matrix::pauli(code, k);
            let mut generator = Matrix::zero(1 << k);
            generator.add_scaled(Complex64::new(0.0, -angle), &word);
            let mut expected = Matrix::zero(1 << k);
            expected.add_scaled(Complex64::new(f64::cos(angle), 0.0), &Matrix::identity(1 << k));
            expected.add_scaled(Complex64::new(0.0, -f64::sin(angle)), &word);
            assert!(generator.exponential().distance(&expected) < 1e-12);
            assert!(word.multiply(&word).distance(&Matrix::identity(1 << k)) == 0.0);
            assert_eq!(word.pauli_component(code, k), ONE);
            assert_eq!(word.dagger(), word);
        }
    }
}
