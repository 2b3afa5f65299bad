//! Stabiliser bases of any width, drawn uniformly, in the form of a graph.
//!
//! What a random Clifford circuit and a readout measure is a stabiliser basis: `n` commuting, independent words. Their order
//! and their signs only rename the outcomes, so a basis is the group of the words up to signs, a *Lagrangian* subspace.
//! Each one is, in one way, a symmetric bit matrix M and a set of *turned* qubits such that row q of M is zero on and past
//! column q if q is turned, and M is zero between turned qubits. Readout bit q then measures `X_q Z^(M_q)`, with X and Z
//! exchanged on turned qubits.
//!
//! Why: where a basis has no X left over (the pivots of its x parts, reduced) a qubit is turned; the others have the free
//! bits of their row from the diagonal on: `n - q` of them for qubit q. So row q is one of `2^(n - q) + 1` alternatives,
//! "turned" being one, and their product is the number of bases. Drawing each row uniformly draws bases uniformly.
//!
//! Invariant: M is symmetric, with zeros between turned qubits; padding bits are zero.
//! Cost: a draw takes about `n^2` random bits and `n^2 / 4` steps: 0.15 us on 10 qubits. Reading a word is O(n^2 / 64).

use crate::bits::limbs;
use crate::bits::philox::RandomBits;
use crate::gates::{Clifford, CliffordGate};
use crate::pauli::word::product_power;
use crate::pauli::{Letter, WordRef};

/// Bits of a row.
pub(super) fn ones(row: &[u64]) -> impl Iterator<Item = usize> + '_ {
    row.iter().enumerate().flat_map(|(k, &limb)| {
        let mut left = limb;
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| 64 * k + left.trailing_zeros() as usize);
            left &= left.wrapping_sub(1);
            bit
        })
    })
}

/// A stabiliser basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GraphBasis {
    n_qubits: usize,
    /// `limbs(n)` for each qubit.
    matrix: Vec<u64>,
    turned: Vec<u64>,
}

impl GraphBasis {
    /// The computational basis.
    pub(crate) fn new(n_qubits: usize) -> Self {
        let row = limbs(n_qubits);
        let turned = (0..row).map(|k| crate::bits::tail_mask(n_qubits, k)).collect();
        GraphBasis { n_qubits, matrix: vec![0; n_qubits * row], turned }
    }

    /// Number of qubits.
    pub(crate) fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// Which readout bits are of Z letters alone: 64 to a limb.
    pub(crate) fn turned(&self) -> &[u64] {
        &self.turned
    }

    /// Whether a readout bit is of Z letters alone.
    pub(crate) fn is_turned(&self, q: usize) -> bool {
        self.turned[q / 64] >> (q % 64) & 1 == 1
    }

    /// Row `q` of the matrix.
    #[inline(always)]
    pub(crate) fn row(&self, q: usize) -> &[u64] {
        &self.matrix[q * self.turned.len()..][..self.turned.len()]
    }

    /// Measures letters, one on each qubit.
    pub(crate) fn set_letters(&mut self, letter: impl Fn(usize) -> Letter) {
        self.matrix.fill(0);
        self.turned.fill(0);
        let row = self.turned.len();
        for q in 0..self.n_qubits {
            let letter = letter(q);
            self.turned[q / 64] |= u64::from(!letter.x()) << (q % 64);
            self.matrix[q * row + q / 64] |= u64::from(letter == Letter::Y) << (q % 64);
        }
    }

    /// Draws one of all bases, all alike.
    #[inline(always)]
    pub(crate) fn draw(&mut self, random: &mut RandomBits) {
        let (n, row) = (self.n_qubits, self.turned.len());
        self.matrix.fill(0);
        self.turned.fill(0);
        for q in 0..n {
            // A number below 2^(n - q) + 1: its highest bit, then the others; too large numbers are drawn again.
            while random.take(1) == 1 {
                let zero = (0..n - q).step_by(64).all(|k| random.take((n - q - k).min(64) as u32) == 0);
                if zero {
                    self.turned[q / 64] |= 1 << (q % 64);
                    break;
                }
            }
            if self.is_turned(q) {
                continue;
            }
            for k in q / 64..row {
                let (from, to) = (q.max(64 * k), n.min(64 * k + 64));
                self.matrix[q * row + k] |= random.take((to - from) as u32) << (from % 64);
            }
            for k in q / 64..row {
                let mut above = self.matrix[q * row + k];
                if k == q / 64 {
                    above &= (u64::MAX << (q % 64)) << 1; // past the diagonal
                }
                while above != 0 {
                    let other = 64 * k + above.trailing_zeros() as usize;
                    self.matrix[other * row + q / 64] |= 1 << (q % 64);
                    above &= above - 1;
                }
            }
        }
    }

    /// Writes what readout bits reveal `word`, if they do, and the syndrome that tells: zero if it is revealed.
    #[inline(always)]
    pub(crate) fn syndrome(&self, x: &[u64], z: &[u64], mask: &mut [u64], syndrome: &mut [u64]) {
        let row = self.turned.len();
        for k in 0..row {
            let turned = self.turned[k];
            mask[k] = x[k] & !turned | z[k] & turned;
            syndrome[k] = z[k] & !turned | x[k] & turned;
        }
        for k in 0..row {
            let mut left = mask[k];
            while left != 0 {
                let q = 64 * k + left.trailing_zeros() as usize;
                let own = &self.matrix[q * row..][..row];
                syndrome.iter_mut().zip(own).for_each(|(s, m)| *s ^= m);
                left &= left - 1;
            }
        }
    }

    /// The syndrome of a word of up to 64 qubits.
    #[inline(always)]
    pub(crate) fn syndrome_of_limb(&self, x: u64, z: u64) -> u64 {
        let turned = self.turned[0];
        let mut syndrome = z & !turned | x & turned;
        let mut left = x & !turned | z & turned;
        while left != 0 {
            syndrome ^= self.matrix[left.trailing_zeros() as usize];
            left &= left - 1;
        }
        syndrome
    }

    /// The sign of a revealed word of that mask: whether an even parity of its bits means -1.
    #[inline]
    pub(crate) fn negative(&self, mask: &[u64]) -> bool {
        let mut power = 0u32;
        for (k, &turned) in self.turned.iter().enumerate() {
            let (mut x, mut z) = (0, 0);
            for q in ones(mask) {
                let own = self.row(q)[k];
                let place = if q / 64 == k { 1 << (q % 64) } else { 0 };
                let factor_x = own & turned & !place | place & !turned;
                let factor_z = own & !turned | place & turned;
                power = power.wrapping_add(product_power(x, z, factor_x, factor_z));
                (x, z) = (x ^ factor_x, z ^ factor_z);
            }
        }
        debug_assert!(power.is_multiple_of(2));
        power & 2 != 0
    }

    /// How `word` is read, as [`Setting::read`](super::Setting): the mask, which need not be zero before, and the sign.
    pub(crate) fn read(&self, word: WordRef<'_>, mask: &mut [u64], syndrome: &mut [u64]) -> Option<bool> {
        self.syndrome(word.x(), word.z(), mask, syndrome);
        syndrome.iter().all(|s| *s == 0).then(|| self.negative(mask))
    }

    /// A circuit before a readout in the computational basis: CNOT from qubits to turned ones, CZ, the inverse of S, H.
    pub(crate) fn gates(&self) -> Vec<CliffordGate> {
        let on = |clifford, a, b| CliffordGate::on(clifford, [a, b]);
        let own = || (0..self.n_qubits).filter(|&q| !self.is_turned(q));
        let pairs = |turned: bool| {
            own().flat_map(move |q| {
                ones(self.row(q)).filter(move |&p| self.is_turned(p) == turned).map(move |p| (q, p))
            })
        };
        let mut gates: Vec<CliffordGate> = pairs(true).map(|(q, p)| on(Clifford::Cnot, q, p)).collect();
        gates.extend(pairs(false).filter(|(q, p)| q < p).map(|(q, p)| on(Clifford::Cz, q, p)));
        gates.extend(pairs(false).filter(|(q, p)| q == p).map(|(q, _)| on(Clifford::Sdg, q, q)));
        gates.extend(own().map(|q| on(Clifford::H, q, q)));
        gates
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::Words;
    use crate::stabiliser::Setting;
    use std::collections::BTreeMap;

    fn drawn(n: usize, index: u64) -> GraphBasis {
        let mut basis = GraphBasis::new(n);
        basis.draw(&mut RandomBits::new([7, 1], [index, 0, 0]));
        basis
    }

    #[test]
    fn every_basis_is_drawn_as_often() {
        for (n, count) in [(1, 3), (2, 15), (3, 135)] {
            let each = 400;
            let mut found = BTreeMap::<_, f64>::new();
            for index in 0..count * each {
                let basis = drawn(n, index);
                *found.entry((basis.matrix, basis.turned)).or_default() += 1.0;
            }
            assert_eq!(found.len() as u64, count);
            // Chi squared with count - 1 degrees: mean count - 1, 4.5 sigma is a false-alarm rate below 1e-4.
            let expected = each as f64;
            let chi: f64 = found.values().map(|f| (f - expected).powi(2) / expected).sum();
            let degrees = (count - 1) as f64;
            assert!(chi < degrees + 4.5 * (2.0 * degrees).sqrt() + 8.0, "{n}: {chi}");
        }
    }

    #[test]
    fn different_matrices_are_different_groups() {
        // The groups of all 135 bases of three qubits, as the words that they reveal.
        let words: Vec<_> =
            (1..64u64).map(|i| crate::pauli::PauliWord::from_bits(3, &[i & 7], &[i >> 3]).unwrap()).collect();
        let mut groups = BTreeMap::new();
        for index in 0..4000 {
            let basis = drawn(3, index);
            let mut scratch = ([0], [0]);
            let revealed: Vec<usize> = (0..63)
                .filter(|&w| basis.read(words[w].view(), &mut scratch.0, &mut scratch.1).is_some())
                .collect();
            assert_eq!(revealed.len(), 7);
            assert_eq!(*groups.entry(revealed).or_insert_with(|| basis.clone()), basis);
        }
        assert_eq!(groups.len(), 135);
    }

    #[test]
    fn words_are_read_as_the_circuit_says() {
        for (n, draws) in [(1, 8), (2, 30), (5, 30), (64, 3), (70, 3), (130, 2)] {
            for index in 0..draws {
                let basis = drawn(n, index);
                let setting = Setting::from_gates(n, basis.gates()).unwrap();
                let mut all = Words::new(n);
                for q in 0..n {
                    let (word, negative) = setting.measured(q).unwrap();
                    assert!(!negative);
                    all.push(&word).unwrap();
                }
                // Products of some measured words, and words that are not revealed.
                let mut product = all.get(0).to_word();
                for q in 0..n {
                    product = product.multiply(&all.get(q * 7 % n).to_word()).unwrap().1;
                    all.push(&product).unwrap();
                    all.push(&product.restrict(&[q]).unwrap()).unwrap();
                }
                let row = limbs(n);
                let (mut mask, mut syndrome) = (vec![0; row], vec![0; row]);
                for word in all.iter() {
                    let found = basis.read(word, &mut mask, &mut syndrome);
                    let expected = setting.reveal(word).unwrap();
                    assert_eq!(found, expected.as_ref().map(|parity| parity.negative), "{word}");
                    if let Some(parity) = expected {
                        assert_eq!(mask, parity.mask, "{word}");
                    }
                }
            }
        }
    }

    #[test]
    fn letters_are_a_basis_of_their_own() {
        let letters = crate::pauli::PauliWord::from_label("XYZZY").unwrap();
        let mut basis = drawn(5, 3);
        basis.set_letters(|q| letters.letter(q));
        let product = Setting::of_letters(letters).unwrap();
        let circuit = Setting::from_gates(5, basis.gates()).unwrap();
        for q in 0..5 {
            assert_eq!(product.measured(q).unwrap(), circuit.measured(q).unwrap());
        }
    }
}
