//! Pauli words without their signs, as rows of bits that are multiplied and reduced.
//!
//! What a search over groups of words needs: changing letters in place, and elimination. Invariant: a row is its x
//! bits, then its z bits, `stride / 2` words each. Cost: O(rows^2) row additions for an elimination.

/// Letters as two bits: 1 says x, 2 says z.
pub(super) const X: u8 = 1;
pub(super) const Z: u8 = 2;
pub(super) const Y: u8 = 3;

/// The letter on a qubit.
pub(super) fn letter(row: &[u64], q: usize) -> u8 {
    let bit = |word: u64| (word >> (q % 64) & 1) as u8;
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

    pub(super) fn has(&self, i: usize, bit: usize) -> bool {
        self.bits[i * self.stride + bit / 64] >> (bit % 64) & 1 == 1
    }

    /// Multiplies row `i` by row `j`.
    pub(super) fn add(&mut self, i: usize, j: usize) {
        for k in 0..self.stride {
            self.bits[i * self.stride + k] ^= self.bits[j * self.stride + k];
        }
    }

    /// The rows that are no product of rows before them.
    pub(super) fn independent(&self) -> Vec<usize> {
        let mut reduced = Rows { stride: self.stride, bits: Vec::new() };
        let (mut pivots, mut kept) = (Vec::new(), Vec::new());
        for (index, row) in self.iter().enumerate() {
            let last = reduced.len();
            reduced.push(row);
            for (i, &pivot) in pivots.iter().enumerate() {
                if reduced.has(last, pivot) {
                    reduced.add(last, i);
                }
            }
            match reduced.row(last).iter().position(|&word| word != 0) {
                None => reduced.bits.truncate(last * self.stride),
                Some(at) => {
                    pivots.push(at * 64 + reduced.row(last)[at].trailing_zeros() as usize);
                    kept.push(index);
                }
            }
        }
        kept
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
        let (mut rank, half) = (0, self.stride / 2 * 64);
        for bit in qubits.iter().flat_map(|&q| [q, q + half]) {
            let Some(found) = (rank..self.len()).find(|&i| self.has(i, bit)) else { continue };
            for k in 0..self.stride {
                self.bits.swap(found * self.stride + k, rank * self.stride + k);
            }
            for i in if reduced { 0 } else { rank + 1 }..self.len() {
                if i != rank && self.has(i, bit) {
                    self.add(i, rank);
                }
            }
            rank += 1;
        }
    }
}

/// The first and the last qubit with a letter.
pub(super) fn ends(row: &[u64]) -> (usize, usize) {
    let half = row.len() / 2;
    let word = |k: usize| row[k] | row[half + k];
    let first = (0..half).find(|&k| word(k) != 0).map_or(0, |k| 64 * k + word(k).trailing_zeros() as usize);
    let last =
        (0..half).rfind(|&k| word(k) != 0).map_or(0, |k| 64 * k + 63 - word(k).leading_zeros() as usize);
    (first, last)
}
