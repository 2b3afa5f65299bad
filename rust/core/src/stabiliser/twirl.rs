//! Twirls of a readout: random CNOTs and Paulis right before it, undone in its bits.
//!
//! A readout that errs leaves less of some parities of bits than of others, and the circuit of a basis decides which parity a
//! word is read by: Z on qubit 0 always by bit 0, Y on all qubits always by all bits. A uniformly random invertible map of the
//! bits, which is a circuit of CNOTs, makes every parity of every other alike; random Paulis make of any error one that
//! multiplies parities. So all words are left with one and the same part, the mean over all parities, whatever the
//! errors are.
//!
//! Invariant: `undo` and `apply` are inverse to each other; every invertible map is drawn with the same probability.
//! Cost: O(n^2) steps, some `n^2 / 2` CNOTs.

use super::graph::ones;
use crate::bits::limbs;
use crate::bits::philox::RandomBits;
use crate::gates::{Clifford, CliffordGate};

/// An invertible map of bits as additions of one bit to another, and a Pauli on each qubit after it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Twirl {
    /// Bits (from, to): in this order they undo the map, in the other they are it.
    steps: Vec<(usize, usize)>,
    /// For each qubit 0, 1, 2, 3: nothing, X, Z, Y.
    paulis: Vec<u8>,
}

impl Twirl {
    /// Draws one of all, all alike.
    ///
    /// A map is what it makes of the first bit, which is any vector but zero, and a map of the others, with what they add to
    /// the first: so it is drawn bit by bit, none of them in vain.
    pub(crate) fn draw(n_qubits: usize, random: &mut RandomBits) -> Self {
        let paulis = (0..n_qubits).map(|_| random.take(2) as u8).collect();
        let mut steps = Vec::with_capacity(n_qubits * n_qubits / 2);
        let mut drawn = vec![0; limbs(n_qubits)];
        for bit in 0..n_qubits {
            let first = loop {
                draw_bits(&mut drawn, bit, n_qubits, random);
                if let Some(first) = ones(&drawn).next() {
                    break first;
                }
            };
            if first != bit {
                steps.push((first, bit));
            }
            steps.extend(ones(&drawn).filter(|&to| to != bit).map(|to| (bit, to)));
            draw_bits(&mut drawn, bit, n_qubits, random);
            steps.extend(ones(&drawn).filter(|&from| from != bit).map(|from| (from, bit)));
        }
        Twirl { steps, paulis }
    }

    /// The gates between the circuit of a basis and the readout.
    pub(crate) fn gates(&self) -> impl Iterator<Item = CliffordGate> + '_ {
        let cnots = self.steps.iter().rev().map(|&(a, b)| CliffordGate::on(Clifford::Cnot, [a, b]));
        let pauli = |(q, &which): (usize, &u8)| {
            let clifford =
                [None, Some(Clifford::X), Some(Clifford::Z), Some(Clifford::Y)][usize::from(which)]?;
            Some(CliffordGate::on(clifford, [q, q]))
        };
        cnots.chain(self.paulis.iter().enumerate().filter_map(pauli))
    }

    /// Turns bits, one byte each, as they are read into those of the basis.
    pub(crate) fn undo(&self, bits: &mut [u8]) {
        self.flip(bits);
        self.steps.iter().for_each(|&(from, to)| bits[to] ^= bits[from]);
    }

    /// Turns bits of the basis into what is read.
    pub(crate) fn apply(&self, bits: &mut [u8]) {
        self.steps.iter().rev().for_each(|&(from, to)| bits[to] ^= bits[from]);
        self.flip(bits);
    }

    /// X and Y flip a bit.
    fn flip(&self, bits: &mut [u8]) {
        bits.iter_mut().zip(&self.paulis).for_each(|(bit, which)| *bit ^= which & 1);
    }
}

/// Draws bits `from .. to`, those before are zero.
fn draw_bits(bits: &mut [u64], from: usize, to: usize, random: &mut RandomBits) {
    for (k, limb) in bits.iter_mut().enumerate() {
        let (start, end) = (from.max(64 * k), to.min(64 * k + 64));
        *limb = if start < end { random.take((end - start) as u32) << (start % 64) } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::PauliWord;
    use crate::stabiliser::Setting;
    use std::collections::BTreeMap;

    fn drawn(n: usize, index: u64) -> Twirl {
        Twirl::draw(n, &mut RandomBits::new([7, 1], [index, 0, 0]))
    }

    fn columns(n: usize, twirl: &Twirl) -> Vec<Vec<u8>> {
        let plain = Twirl { paulis: vec![0; n], ..twirl.clone() };
        let image = |q: usize| {
            let mut bits = vec![0; n];
            bits[q] = 1;
            plain.apply(&mut bits);
            bits
        };
        (0..n).map(image).collect()
    }

    #[test]
    fn every_invertible_map_is_drawn_as_often() {
        for (n, count) in [(1, 1), (2, 6), (3, 168)] {
            let each = 200;
            let mut found = BTreeMap::<_, f64>::new();
            for index in 0..count * each {
                *found.entry(columns(n, &drawn(n, index))).or_default() += 1.0;
            }
            assert_eq!(found.len() as u64, count);
            // Chi squared, mean count - 1; 4.5 sigma: a false-alarm rate below 1e-4.
            let expected = each as f64;
            let chi: f64 = found.values().map(|f| (f - expected).powi(2) / expected).sum();
            let degrees = (count - 1) as f64;
            assert!(chi < degrees + 4.5 * (2.0 * degrees).sqrt() + 8.0, "{n}: {chi}");
        }
    }

    #[test]
    fn what_is_read_says_what_the_basis_says() {
        for (n, draws) in [(1, 20), (3, 20), (64, 2), (70, 2), (130, 1)] {
            for index in 0..draws {
                let twirl = drawn(n, index);
                // Z of each bit of the basis, as the gates of the twirl have it read.
                let setting = Setting::from_gates(n, twirl.gates()).unwrap();
                let read: Vec<u8> =
                    (0..n).map(|q| u8::from((q * q + index as usize).is_multiple_of(3))).collect();
                let mut own = read.clone();
                twirl.undo(&mut own);
                for q in 0..n {
                    let word = PauliWord::from_sparse(n, [(q, crate::pauli::Letter::Z)]).unwrap();
                    let parity = setting.reveal(word.view()).unwrap().unwrap();
                    let odd =
                        (0..n).filter(|&p| parity.mask[p / 64] >> (p % 64) & 1 == 1 && read[p] == 1).count()
                            % 2;
                    assert_eq!(own[q], odd as u8 ^ u8::from(parity.negative), "{n} {q}");
                }
                twirl.apply(&mut own);
                assert_eq!(own, read);
            }
        }
    }
}
