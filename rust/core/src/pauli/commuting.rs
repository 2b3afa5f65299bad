//! Whether all words of a list commute.
//!
//! Commutation is bilinear: a word that is a product of others commutes with what they commute with. So only the words
//! that are independent of those before them are compared, at most as many as there are qubits while all commute.
//! Cost: an elimination over the bits, `words * rank * n / 64`, instead of all pairs.

use super::words::Words;
use crate::bits::parallel::Cancel;
use crate::error::Result;
use crate::pauli::word::anticommute;

impl Words {
    /// The first word that does not commute with all before it, after the first of those that it does not commute with.
    pub fn first_clash(&self, cancel: &Cancel) -> Result<Option<(usize, usize)>> {
        // Independent words so far: their places, and their bits after elimination, each with a bit of its own.
        let mut places: Vec<usize> = Vec::new();
        let mut reduced: Vec<(usize, Vec<u64>)> = Vec::new();
        for (i, word) in self.iter().enumerate() {
            cancel.check()?;
            let mut bits = [word.x(), word.z()].concat();
            for (pivot, row) in &reduced {
                if bits[pivot / 64] >> (pivot % 64) & 1 == 1 {
                    bits.iter_mut().zip(row).for_each(|(bit, row)| *bit ^= row);
                }
            }
            let Some(k) = bits.iter().position(|bits| *bits != 0) else { continue };
            if places.iter().any(|&place| anticommute(self.get(place), word)) {
                let before = (0..i).find(|&b| anticommute(self.get(b), word));
                return Ok(before.map(|b| (b, i)));
            }
            places.push(i);
            reduced.push((64 * k + bits[k].trailing_zeros() as usize, bits));
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::philox::philox;
    use crate::pauli::PauliWord;

    #[test]
    fn the_first_clash_is_that_of_all_pairs() {
        for (seed, n) in (0..200u64).zip([2usize, 3, 5, 66].into_iter().cycle()) {
            // Few bits are set, so that many words commute.
            let row = |i: u64, kind: u64| {
                let drawn = philox([seed, kind], [i, 0, 0, 0]);
                let mut bits = vec![drawn[0] & drawn[1], drawn[2] & drawn[3] & 3];
                bits.truncate(n.div_ceil(64));
                bits[0] &= if n < 64 { (1 << n) - 1 } else { u64::MAX << 58 };
                bits
            };
            let kinds = if seed % 3 == 0 { 1 } else { 2 };
            let words: Vec<PauliWord> = (0..12)
                .map(|i| {
                    let z = if kinds == 1 { vec![0; n.div_ceil(64)] } else { row(i, 1) };
                    PauliWord::from_bits(n, &row(i, 0), &z).unwrap()
                })
                .collect();
            let list = Words::from_words(n, &words).unwrap();
            let commute = |a: usize, b: usize| words[a].commutes_with(&words[b]).unwrap();
            let expected = (0..words.len()).find_map(|i| (0..i).find(|&b| !commute(b, i)).map(|b| (b, i)));
            assert_eq!(list.first_clash(&Cancel::new()).unwrap(), expected, "seed {seed}, {n} qubits");
        }
    }
}
