//! Pauli words without their signs, as rows of bits that are multiplied and reduced.
//!
//! What a search over groups of words needs: changing letters in place, and elimination. Invariant: a row is its x
//! bits, then its z bits, `stride / 2` limbs each. Cost: O(rows^2) row additions for an elimination.

use crate::bits::elimination::{Echelon, eliminate};

/// Letters as two bits: 1 says x, 2 says z.
pub(super) const X: u8 = 1;
pub(super) const Z: u8 = 2;
pub(super) const Y: u8 = 3;

/// The letter on a qubit.
pub(super) fn letter(row: &[u64], q: usize) -> u8 {
    let bit = |limb: u64| (limb >> (q % 64) & 1) as u8;
    bit(row[q / 64]) | bit(row[row.len() / 2 + q / 64]) << 1
}

/// Multiplies by a letter on a qubit.
pub(super) fn multiply(row: &mut [u64], q: usize, letter: u8) {
    let half = row.len() / 2;
    row[q / 64] ^= u64::from(letter & 1) << (q % 64);
    row[half + q / 64] ^= u64::from(letter >> 1) << (q % 64);
}

/// Whether two letters anticommute.
pub(super) fn anticommute(a: u8, b: u8) -> bool {
    a != 0 && b != 0 && a != b
}

/// How many of the letters are independent: 0, 1 or 2.
pub(super) fn rank(letters: impl Iterator<Item = u8>) -> u32 {
    let found = letters.fold(0u8, |found, letter| found | 1 << letter);
    (found >> 1).count_ones().min(2)
}

/// Words without their signs: a row is its x bits, then its z bits.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) stride: usize,
    pub(super) bits: Vec<u64>,
}

impl Rows {
    pub(super) fn len(&self) -> usize {
        self.bits.len() / self.stride
    }

    pub(super) fn row(&self, i: usize) -> &[u64] {
        &self.bits[i * self.stride..(i + 1) * self.stride]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u64]> {
        self.bits.chunks_exact(self.stride)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut [u64]> {
        self.bits.chunks_exact_mut(self.stride)
    }

    pub(super) fn push<'r>(&mut self, row: impl IntoIterator<Item = &'r u64>) {
        self.bits.extend(row);
    }

    pub(super) fn select(&self, rows: &[usize]) -> Rows {
        Rows { stride: self.stride, bits: rows.iter().flat_map(|&i| self.row(i)).copied().collect() }
    }

    /// The rows that are no product of rows before them.
    pub(super) fn independent(&self) -> Vec<usize> {
        let mut echelon = Echelon::new(self.stride);
        (0..self.len()).filter(|&i| echelon.insert(self.row(i))).collect()
    }

    /// Clears all letters on qubits that are not open.
    pub(super) fn mask(&mut self, open: &[u64]) {
        for row in self.iter_mut() {
            let (x, z) = row.split_at_mut(open.len());
            x.iter_mut().zip(z).zip(open).for_each(|((x, z), open)| (*x, *z) = (*x & open, *z & open));
        }
    }

    /// Clears the letters on `qubits`, in that order, from all rows but one or two each; from those above too if
    /// `reduced`.
    pub(super) fn eliminate(&mut self, qubits: &[usize], reduced: bool) {
        let half = self.stride / 2 * 64;
        eliminate(&mut self.bits, self.stride, qubits.iter().flat_map(|&q| [q, q + half]), reduced);
    }
}

/// The first and the last qubit with a letter.
pub(super) fn ends(row: &[u64]) -> (usize, usize) {
    let half = row.len() / 2;
    let limb = |k: usize| row[k] | row[half + k];
    let first = (0..half).find(|&k| limb(k) != 0).map_or(0, |k| 64 * k + limb(k).trailing_zeros() as usize);
    let last =
        (0..half).rfind(|&k| limb(k) != 0).map_or(0, |k| 64 * k + 63 - limb(k).leading_zeros() as usize);
    (first, last)
}
