//! A list of Pauli words of one width, as structure of arrays.
//!
//! Invariant: `x_rows` and `z_rows` each hold `len * limbs_per_row` entries, row `i` belongs to word `i`, and
//! padding bits are zero. Cost: 16 bytes per word and 64 qubits; pushing is amortised constant per `u64`;
//! [`Words::sort_dedup`] is one sort.

use super::word::{PauliWord, WordRef, check_row, check_width};
use crate::bits::parallel::Cancel;
use crate::bits::{check_qubits, limbs, room};
use crate::error::{Error, Result};

/// What the memory of a sort is called.
const ORDER: &str = "the order of a list of words";
/// Words between two looks at the flag that asks to stop.
const CHUNK: usize = 1 << 16;

/// Words that are sorted at a stretch: some ten milliseconds.
const PART: usize = 1 << 19;

/// Sorts; parts of a long list are sorted one by one, so that it can be interrupted.
fn sort<'l, T: Copy, K: Ord>(list: &'l mut [T], key: impl Fn(&T) -> K + Copy, cancel: &Cancel) -> Result<()> {
    let mut open: Vec<&'l mut [T]> = vec![list];
    while let Some(part) = open.pop() {
        cancel.check()?;
        if part.len() <= PART {
            part.sort_unstable_by_key(key);
            continue;
        }
        let mut sample: Vec<T> = part.iter().step_by(part.len() / 64).copied().collect();
        sample.sort_unstable_by_key(key);
        let middle = key(&sample[sample.len() / 2]);
        let mut below = split(part, |value| key(value) < middle, cancel)?;
        if below == 0 {
            // The smallest value: all that equal it are in order.
            below = split(part, |value| key(value) == middle, cancel)?;
            open.push(&mut part[below..]);
            continue;
        }
        let (low, high) = part.split_at_mut(below);
        open.push(high);
        open.push(low);
    }
    Ok(())
}

/// Moves the values of one side before the others; returns how many there are.
fn split<T>(list: &mut [T], first: impl Fn(&T) -> bool, cancel: &Cancel) -> Result<usize> {
    let mut count = 0;
    for i in 0..list.len() {
        if i % PART == 0 {
            cancel.check()?;
        }
        let wanted = first(&list[i]);
        list.swap(i, count);
        count += usize::from(wanted);
    }
    Ok(count)
}

/// Many Pauli words of one width.
///
/// ```
/// use efl_core::pauli::{PauliWord, Words};
/// let words = Words::from_words(2, &[PauliWord::from_label("ZZ")?, PauliWord::from_label("XI")?])?;
/// assert_eq!(words.get(1).to_string(), "XI");
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    n_qubits: usize,
    len: usize,
    x: Vec<u64>,
    z: Vec<u64>,
}

impl Words {
    /// An empty list of words on `n_qubits` qubits.
    pub fn new(n_qubits: usize) -> Self {
        Words { n_qubits, len: 0, x: Vec::new(), z: Vec::new() }
    }

    /// An empty list with room for `capacity` words.
    pub fn with_capacity(n_qubits: usize, capacity: usize) -> Self {
        let entries = capacity * limbs(n_qubits);
        Words { n_qubits, len: 0, x: Vec::with_capacity(entries), z: Vec::with_capacity(entries) }
    }

    /// [`Words::with_capacity`] for what may not fit into the memory.
    pub(crate) fn with_room(n_qubits: usize, capacity: usize) -> Result<Self> {
        let list = || room("a list of words", capacity, limbs(n_qubits));
        Ok(Words { n_qubits, len: 0, x: list()?, z: list()? })
    }

    /// Gives back the room that is not used.
    pub(crate) fn shrink(&mut self) {
        self.x.shrink_to_fit();
        self.z.shrink_to_fit();
    }

    /// Bytes of the rows.
    pub(crate) fn bytes(&self) -> u64 {
        16 * self.x.len() as u64
    }

    /// A list of the given words, which must all have `n_qubits` qubits.
    pub fn from_words<'w, W: Into<WordRef<'w>>>(
        n_qubits: usize,
        words: impl IntoIterator<Item = W>,
    ) -> Result<Self> {
        let mut list = Words::new(n_qubits);
        words.into_iter().try_for_each(|word| list.push(word))?;
        Ok(list)
    }

    /// A list over packed rows, row after row; their lengths and their padding are checked.
    pub fn from_rows(n_qubits: usize, x: Vec<u64>, z: Vec<u64>) -> Result<Self> {
        let width = limbs(n_qubits);
        check_qubits(n_qubits)?;
        if x.len() != z.len() || !x.len().is_multiple_of(width) {
            return Err(Error::shape(
                "x and z",
                format!("equally many rows of {width} u64"),
                format!("{} and {} u64", x.len(), z.len()),
            ));
        }
        for (x, z) in x.chunks_exact(width).zip(z.chunks_exact(width)) {
            check_row("x", n_qubits, x)?;
            check_row("z", n_qubits, z)?;
        }
        Ok(Words { n_qubits, len: x.len() / width, x, z })
    }

    /// Appends a word.
    pub fn push<'w>(&mut self, word: impl Into<WordRef<'w>>) -> Result<()> {
        let word = word.into();
        check_width("word", self.n_qubits, word.n_qubits())?;
        self.push_rows(word.x(), word.z());
        Ok(())
    }

    /// Appends a row that is known to fit.
    #[inline]
    pub(crate) fn push_rows(&mut self, x: &[u64], z: &[u64]) {
        debug_assert!(x.len() == self.limbs_per_row() && z.len() == x.len());
        self.x.extend_from_slice(x);
        self.z.extend_from_slice(z);
        self.len += 1;
    }

    /// Appends all words of another list.
    pub fn extend(&mut self, other: &Words) -> Result<()> {
        check_width("other", self.n_qubits, other.n_qubits)?;
        self.x.extend_from_slice(&other.x);
        self.z.extend_from_slice(&other.z);
        self.len += other.len;
        Ok(())
    }

    /// Word `index`, as slices are indexed: past the end is a bug of the caller.
    #[inline]
    pub fn get(&self, index: usize) -> WordRef<'_> {
        assert!(index < self.len, "word {index} of a list of {}", self.len);
        let width = self.limbs_per_row();
        let row = index * width..(index + 1) * width;
        WordRef::from_rows_unchecked(self.n_qubits, &self.x[row.clone()], &self.z[row])
    }

    /// Number of words.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of qubits of every word.
    #[inline]
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Number of `u64` of a row.
    #[inline]
    pub fn limbs_per_row(&self) -> usize {
        limbs(self.n_qubits)
    }

    /// All x rows, one after the other.
    pub fn x_rows(&self) -> &[u64] {
        &self.x
    }

    /// All z rows, one after the other.
    pub fn z_rows(&self) -> &[u64] {
        &self.z
    }

    /// The words in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = WordRef<'_>> + Clone {
        (0..self.len).map(|index| self.get(index))
    }

    /// The distinct words in ascending order, and for each old index its new one.
    ///
    /// The list must have fewer than 2^32 words; a longer one is refused.
    pub fn sort_dedup(&self) -> Result<(Words, Vec<u32>)> {
        self.sort_dedup_watched(&Cancel::new())
    }

    /// [`Words::sort_dedup`] for very long lists: it can be interrupted.
    pub fn sort_dedup_watched(&self, cancel: &Cancel) -> Result<(Words, Vec<u32>)> {
        if self.len > u32::MAX as usize {
            return Err(Error::Limit {
                what: "words in one list".into(),
                needed: self.len as u64,
                limit: u64::from(u32::MAX),
                remedy: "split the list or truncate the sums".into(),
            });
        }
        let mut order: Vec<u32> = room(ORDER, self.len, 1)?;
        if self.limbs_per_row() == 1 {
            // Sorting the rows themselves, not indices to them, is several times faster.
            let mut rows: Vec<(u64, u64, u32)> = room(ORDER, self.len, 1)?;
            let parts = self.x.iter().zip(&self.z).enumerate();
            rows.extend(parts.map(|(i, (&x, &z))| (x, z, i as u32)));
            sort(&mut rows, |row| *row, cancel)?;
            order.extend(rows.iter().map(|(_, _, i)| i));
        } else {
            order.extend(0..self.len as u32);
            sort(&mut order, |&i| self.get(i as usize), cancel)?;
        }
        let mut sorted = Words::with_room(self.n_qubits, self.len)?;
        let mut index = room(ORDER, self.len, 1)?;
        index.resize(self.len, 0);
        for (i, &old) in order.iter().enumerate() {
            if i % CHUNK == 0 {
                cancel.check()?;
            }
            let word = self.get(old as usize);
            if sorted.is_empty() || sorted.get(sorted.len - 1) != word {
                sorted.push_rows(word.x(), word.z());
            }
            index[old as usize] = (sorted.len - 1) as u32;
        }
        sorted.shrink();
        Ok((sorted, index))
    }

    /// The index of a word in a list that is sorted, as [`Words::sort_dedup`] returns it.
    pub fn binary_search<'w>(&self, word: impl Into<WordRef<'w>>) -> Option<usize> {
        let word = word.into();
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle).cmp(&word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }

    /// Copies of the words that own their rows.
    pub fn to_words(&self) -> Vec<PauliWord> {
        self.iter().map(WordRef::to_word).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(labels: &[&str]) -> Words {
        let owned: Vec<_> = labels.iter().map(|label| PauliWord::from_label(label).unwrap()).collect();
        Words::from_words(owned[0].n_qubits(), &owned).unwrap()
    }

    #[test]
    fn duplicates_vanish_and_the_index_finds_every_word() {
        for width in [2, 70, 130] {
            let pad = |label: &str| format!("{}{label}", "Y".repeat(width - 2));
            let labels = [pad("ZZ"), pad("XI"), pad("ZZ"), pad("II"), pad("XI")];
            let list = words(&labels.each_ref().map(String::as_str));
            let (sorted, index) = list.sort_dedup().unwrap();
            assert_eq!(sorted.len(), 3);
            assert!(sorted.iter().zip(sorted.iter().skip(1)).all(|(a, b)| a < b));
            for (old, word) in list.iter().enumerate() {
                assert_eq!(sorted.get(index[old] as usize), word);
                assert_eq!(sorted.binary_search(word), Some(index[old] as usize));
            }
            assert_eq!(
                sorted.binary_search(&PauliWord::identity(width)),
                None.or_else(|| (width == 2).then_some(0))
            );
        }
    }

    #[test]
    fn long_lists_are_sorted_part_by_part() {
        let cancel = Cancel::new();
        for distinct in [u64::MAX, 3, 1] {
            let mut list: Vec<u64> =
                (0..3 * PART as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % distinct).collect();
            let mut expected = list.clone();
            expected.sort_unstable();
            sort(&mut list, |value| *value, &cancel).unwrap();
            assert_eq!(list, expected);
        }
        cancel.raise();
        assert_eq!(sort(&mut [2, 1], |value| *value, &cancel), Err(Error::Interrupted));
    }

    #[test]
    fn rows_and_widths_are_checked() {
        let mut list = words(&["XY", "ZI"]);
        assert_eq!((list.x_rows(), list.z_rows()), ([3, 0].as_slice(), [2, 1].as_slice()));
        assert!(list.push(&PauliWord::identity(3)).is_err());
        assert!(list.extend(&Words::new(3)).is_err());
        list.extend(&list.clone()).unwrap();
        assert_eq!(list.to_words().len(), 4);
        assert_eq!(Words::from_rows(2, vec![3, 0], vec![2, 1]).unwrap(), words(&["XY", "ZI"]));
        assert!(Words::from_rows(2, vec![4], vec![0]).is_err());
        assert!(Words::from_rows(2, vec![1, 1], vec![0]).is_err());
        assert!(Words::from_rows(65, vec![1], vec![0]).is_err());
    }
}
