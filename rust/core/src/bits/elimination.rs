//! Elimination over rows of bits: which rows are independent, and rows that share few columns.
//!
//! Invariant: rows are consecutive limbs, a row is added to another by exclusive or; the order of rows and columns
//! alone decides what comes out. Cost: O(rank) row additions for a row that is reduced, O(rows * rank) to eliminate.

/// Independent rows in echelon form, each with the combination of inserted rows that makes it.
pub(crate) struct Echelon {
    width: usize,
    /// Pivot bit, row, combination.
    rows: Vec<(usize, Vec<u64>, u64)>,
    inserted: u32,
}

impl Echelon {
    /// No rows yet, of `width` limbs each.
    pub(crate) fn new(width: usize) -> Self {
        Echelon { width, rows: Vec::new(), inserted: 0 }
    }

    /// The echelon of rows side by side.
    pub(crate) fn of(width: usize, rows: &[u64]) -> Self {
        let mut echelon = Echelon::new(width);
        rows.chunks_exact(width).for_each(|row| {
            echelon.insert(row);
        });
        echelon
    }

    fn reduce(&self, row: &[u64]) -> (Vec<u64>, u64) {
        let (mut rest, mut combination) = (row.to_vec(), 0);
        for (pivot, other, made) in &self.rows {
            if has(&rest, *pivot) {
                rest.iter_mut().zip(other).for_each(|(r, o)| *r ^= o);
                combination ^= made;
            }
        }
        (rest, combination)
    }

    /// Takes a row in; says whether it was independent of those before it.
    pub(crate) fn insert(&mut self, row: &[u64]) -> bool {
        debug_assert_eq!(row.len(), self.width);
        let (rest, combination) = self.reduce(row);
        let Some(k) = rest.iter().position(|r| *r != 0) else { return false };
        let pivot = 64 * k + rest[k].trailing_zeros() as usize;
        let own = 1u64.checked_shl(self.inserted).unwrap_or(0);
        self.rows.push((pivot, rest, combination ^ own));
        self.inserted += 1;
        true
    }

    /// Which inserted rows (at most 64) combine to `row`.
    pub(crate) fn combination(&self, row: &[u64]) -> u64 {
        self.reduce(row).1
    }
}

/// Gauss: column after column, a row that has the bit comes next and is added to all rows below that have it; to
/// those above too if `reduced` (Gauss and Jordan).
pub(crate) fn eliminate(
    rows: &mut [u64],
    width: usize,
    columns: impl IntoIterator<Item = usize>,
    reduced: bool,
) {
    let (mut rank, count) = (0, rows.len() / width);
    for bit in columns {
        let Some(found) = (rank..count).find(|&i| has(&rows[i * width..], bit)) else { continue };
        for k in 0..width {
            rows.swap(found * width + k, rank * width + k);
        }
        for i in if reduced { 0 } else { rank + 1 }..count {
            if i != rank && has(&rows[i * width..], bit) {
                for k in 0..width {
                    rows[i * width + k] ^= rows[rank * width + k];
                }
            }
        }
        rank += 1;
    }
}

fn has(row: &[u64], bit: usize) -> bool {
    row[bit / 64] >> (bit % 64) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependent_rows_say_what_makes_them() {
        let rows: [u64; 4] = [0b0011, 0b0110, 0b0101, 0b1000];
        let mut echelon = Echelon::new(1);
        let independent: Vec<bool> = rows.iter().map(|row| echelon.insert(&[*row])).collect();
        assert_eq!(independent, [true, true, false, true]);
        assert_eq!(echelon.combination(&[0b0101]), 0b011);
        assert_eq!(echelon.combination(&[0b1101]), 0b111);
    }

    #[test]
    fn reduced_rows_are_the_same_for_the_same_space() {
        let (mut a, mut b) = ([0b0011, 0b0110, 0b1000], [0b0101, 0b1110, 0b1101]);
        eliminate(&mut a, 1, (0..4).rev(), true);
        eliminate(&mut b, 1, (0..4).rev(), true);
        assert_eq!(a, b);
        assert_eq!(a, [0b1000, 0b0101, 0b0011]);
        let mut only = [0b0011, 0b0110, 0b0111];
        eliminate(&mut only, 1, [1], false);
        assert_eq!(only, [0b0011, 0b0101, 0b0100]);
    }
}
