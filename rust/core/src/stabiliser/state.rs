//! Stabiliser states of any width: states that Clifford circuits prepare, as signed words that they are fixed by.
//!
//! What a stabiliser basis says of such a state, and what measuring it there gives, are one question: which words do both
//! fix? There are `2^d` of them, and in the basis each is the parity of some readout bits. The outcomes that satisfy these
//! parities are all alike, with probability `2^(d - n)`; the others never occur.
//!
//! Invariant: the words commute and are independent; their signs are exact.
//! Cost: a state takes O(n / 64) per gate and O(n^2 / 64) once; a question O(n^3 / 64): 0.4 us on 10 qubits.

use super::graph::GraphBasis;
use super::setting::by_word;
use crate::bits::parallel::Cancel;
use crate::bits::{check_qubits, limbs, memory, zeros_watched};
use crate::error::{Error, Result};
use crate::gates::{CliffordGate, Direction, clifford_table, conjugate_columns};
use crate::pauli::word::{anticommute, product_power};
use crate::pauli::{PauliWord, Words};

/// A state that a Clifford circuit prepares from zeros.
///
/// ```
/// use efl_core::gates::{Clifford, CliffordGate};
/// use efl_core::stabiliser::StabiliserState;
/// let gates = [CliffordGate::new(Clifford::H, &[0])?, CliffordGate::new(Clifford::Cnot, &[0, 1])?];
/// let bell = StabiliserState::from_gates(2, &gates)?;
/// assert_eq!(bell.words().iter().map(|word| word.to_string()).collect::<Vec<_>>(), ["XX", "ZZ"]);
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct StabiliserState {
    words: Words,
    negative: Vec<bool>,
}

impl StabiliserState {
    /// The state that `gates` prepare from zeros.
    pub fn from_gates(n_qubits: usize, gates: &[CliffordGate]) -> Result<Self> {
        Self::from_gates_watched(n_qubits, gates, &Cancel::new())
    }

    /// [`StabiliserState::from_gates`] for very many gates or qubits: it can be interrupted.
    pub fn from_gates_watched(n_qubits: usize, gates: &[CliffordGate], cancel: &Cancel) -> Result<Self> {
        check_qubits(n_qubits)?;
        for (i, gate) in gates.iter().enumerate() {
            if let Some(q) = gate.wires().iter().find(|q| **q >= n_qubits) {
                let expected = format!("qubits below {n_qubits}");
                return Err(Error::invalid(format!("gates[{i}]"), expected, q.to_string()));
            }
        }
        let row = limbs(n_qubits);
        memory::check("the words of a state", 32 * (n_qubits * row) as u64)?;
        // By letter, as of settings: the words begin as Z on a qubit each.
        let mut columns = zeros_watched("the words of a state", n_qubits, 2 * row, cancel)?;
        (0..n_qubits).for_each(|q| columns[2 * q * row + q / 64] = 1 << (q % 64));
        let mut signs = vec![0; row];
        for gate in gates {
            cancel.check()?;
            let table = clifford_table(gate.clifford(), Direction::Schroedinger);
            conjugate_columns(&mut columns, &mut signs, gate.wires(), table);
        }
        let words = by_word(n_qubits, &columns, cancel)?;
        let negative = (0..n_qubits).map(|i| signs[i / 64] >> (i % 64) & 1 == 1).collect();
        Ok(StabiliserState { words, negative })
    }

    /// The state that is fixed by `words`, as many as qubits, each with its sign.
    pub fn from_words(words: Words, negative: Vec<bool>) -> Result<Self> {
        let n = words.n_qubits();
        if words.len() != n || negative.len() != n {
            let found = format!("{} words and {} signs", words.len(), negative.len());
            return Err(Error::shape("words", format!("one for each of {n} qubits, with its sign"), found));
        }
        for (i, word) in words.iter().enumerate() {
            if let Some(j) = (0..i).find(|&j| anticommute(words.get(j), word)) {
                return Err(Error::invalid(
                    format!("words[{i}]"),
                    "words that commute",
                    format!("{word}, which anticommutes with {}", words.get(j)),
                ));
            }
        }
        let row = words.limbs_per_row();
        let mut echelon = crate::bits::elimination::Echelon::new(2 * row);
        for (i, word) in words.iter().enumerate() {
            if !echelon.insert(&[word.x(), word.z()].concat()) {
                return Err(Error::invalid(
                    format!("words[{i}]"),
                    "a word that is no product of those before it",
                    word.to_string(),
                ));
            }
        }
        Ok(StabiliserState { words, negative })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.words.n_qubits()
    }

    /// The words that fix it, up to signs.
    pub fn words(&self) -> &Words {
        &self.words
    }

    /// For each word, whether the state has the value -1 of it.
    pub fn negative(&self) -> &[bool] {
        &self.negative
    }

    /// The product of the words in `combination`, and its sign.
    fn product(&self, combination: &[u64], x: &mut [u64], z: &mut [u64]) -> bool {
        let (mut power, mut negative) = (0u32, false);
        x.fill(0);
        z.fill(0);
        for i in (0..self.n_qubits()).filter(|i| combination[i / 64] >> (i % 64) & 1 == 1) {
            let word = self.words.get(i);
            negative ^= self.negative[i];
            for (k, (x, z)) in x.iter_mut().zip(z.iter_mut()).enumerate() {
                power = power.wrapping_add(product_power(*x, *z, word.x()[k], word.z()[k]));
                (*x, *z) = (*x ^ word.x()[k], *z ^ word.z()[k]);
            }
        }
        debug_assert!(power.is_multiple_of(2));
        negative ^ (power & 2 != 0)
    }

    /// The word and sign that generator `i` is.
    pub fn word(&self, i: usize) -> (PauliWord, bool) {
        (self.words.get(i).to_word(), self.negative[i])
    }
}

/// Readout bits whose parity a state fixes in a basis: independent ones, in reduced form.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parities {
    row: usize,
    /// `row` limbs each.
    masks: Vec<u64>,
    odd: Vec<bool>,
    // What finding them needs: for each word of the state its syndrome and the words that it is made of, and who has a bit as
    // its first.
    reduced: Vec<u64>,
    leads: Vec<u32>,
    scratch: Vec<u64>,
}

impl Parities {
    /// Finds the parities that `state` fixes in `basis`, of the same width.
    #[inline(always)]
    pub(crate) fn find(&mut self, basis: &GraphBasis, state: &StabiliserState) {
        let (n, row) = (basis.n_qubits(), limbs(basis.n_qubits()));
        self.row = row;
        self.masks.clear();
        self.odd.clear();
        self.reduced.clear();
        self.reduced.resize(2 * n * row, 0);
        self.leads.clear();
        self.leads.resize(n, u32::MAX);
        self.scratch.resize(3 * row, 0);
        if row == 1 {
            self.find_narrow(basis, state);
            return;
        }
        for i in 0..n {
            let word = state.words.get(i);
            let (done, own) = self.reduced.split_at_mut(2 * i * row);
            let own = &mut own[..2 * row];
            let (syndrome, made) = own.split_at_mut(row);
            basis.syndrome(word.x(), word.z(), &mut self.scratch[..row], syndrome);
            made[i / 64] |= 1 << (i % 64);
            let mut from = 0;
            loop {
                let Some(k) = (from..row).find(|&k| own[k] != 0) else {
                    self.push(basis, state, i);
                    break;
                };
                from = k;
                let lead = 64 * k + own[k].trailing_zeros() as usize;
                if self.leads[lead] == u32::MAX {
                    self.leads[lead] = i as u32;
                    break;
                }
                let other = &done[2 * row * self.leads[lead] as usize..][..2 * row];
                own.iter_mut().zip(other).for_each(|(o, other)| *o ^= other);
            }
        }
    }

    /// The same of up to 64 qubits, in half the time.
    #[inline(always)]
    fn find_narrow(&mut self, basis: &GraphBasis, state: &StabiliserState) {
        for i in 0..basis.n_qubits() {
            let word = state.words.get(i);
            let mut own = basis.syndrome_of_limb(word.x()[0], word.z()[0]);
            let mut made = 1 << i;
            while own != 0 {
                let lead = own.trailing_zeros() as usize & 63;
                let other = self.leads[lead] as usize;
                if other >= i {
                    self.leads[lead] = i as u32;
                    break;
                }
                own ^= self.reduced[2 * other];
                made ^= self.reduced[2 * other + 1];
            }
            self.reduced[2 * i..2 * i + 2].copy_from_slice(&[own, made]);
            if own == 0 {
                self.push(basis, state, i);
            }
        }
    }

    /// Takes in the parity of the word that row `i` has become.
    #[cold]
    #[inline(never)]
    fn push(&mut self, basis: &GraphBasis, state: &StabiliserState, i: usize) {
        let row = self.row;
        let (x, rest) = self.scratch.split_at_mut(row);
        let (z, syndrome) = rest.split_at_mut(row);
        let mut odd = state.product(&self.reduced[(2 * i + 1) * row..][..row], x, z);
        let mut mask = vec![0; row];
        basis.syndrome(x, z, &mut mask, syndrome);
        odd ^= basis.negative(&mask);
        // Reduced: the first bit of each mask is in no other.
        for (other, &flips) in self.masks.chunks_exact(row).zip(&self.odd) {
            let lead = first(other);
            if mask[lead / 64] >> (lead % 64) & 1 == 1 {
                mask.iter_mut().zip(other).for_each(|(m, o)| *m ^= o);
                odd ^= flips;
            }
        }
        let lead = first(&mask);
        for (other, flips) in self.masks.chunks_exact_mut(row).zip(&mut self.odd) {
            if other[lead / 64] >> (lead % 64) & 1 == 1 {
                other.iter_mut().zip(&mask).for_each(|(o, m)| *o ^= m);
                *flips ^= odd;
            }
        }
        self.masks.extend_from_slice(&mask);
        self.odd.push(odd);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.odd.len()
    }

    fn fails(&self, i: usize, outcome: &[u64]) -> bool {
        let mask = &self.masks[i * self.row..][..self.row];
        let ones: u32 = mask.iter().zip(outcome).map(|(m, o)| (m & o).count_ones()).sum();
        (ones & 1 == 1) != self.odd[i]
    }

    /// Whether the state can give this outcome.
    pub(crate) fn allow(&self, outcome: &[u64]) -> bool {
        !(0..self.len()).any(|i| self.fails(i, outcome))
    }

    /// Turns an outcome, drawn from all of them alike, into one that the state gives, all of those alike.
    pub(crate) fn impose(&self, outcome: &mut [u64]) {
        for i in 0..self.len() {
            if self.fails(i, outcome) {
                let lead = first(&self.masks[i * self.row..][..self.row]);
                outcome[lead / 64] ^= 1 << (lead % 64);
            }
        }
    }
}

/// The first bit of a row that is not zero.
fn first(row: &[u64]) -> usize {
    let k = row.iter().position(|limb| *limb != 0).unwrap_or(0);
    64 * k + row[k].trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::philox::RandomBits;
    use crate::gates::Clifford;
    use crate::state::apply;
    use num_complex::Complex64;

    /// A pseudo-random circuit.
    fn circuit(n: usize, length: usize, seed: u64) -> Vec<CliffordGate> {
        let mut random = RandomBits::new([seed, 99], [0; 3]);
        let mut gates = Vec::new();
        while gates.len() < length {
            let clifford = Clifford::ALL[random.take(4) as usize];
            let (a, b) = (random.take(16) as usize % n, random.take(16) as usize % n);
            let wires = if clifford.n_wires() == 1 { vec![a] } else { vec![a, b] };
            gates.extend(CliffordGate::new(clifford, &wires));
        }
        gates
    }

    fn vector(n: usize, gates: &[CliffordGate]) -> Vec<Complex64> {
        let mut amplitudes = vec![Complex64::default(); 1 << n];
        amplitudes[0] = Complex64::new(1.0, 0.0);
        for gate in gates {
            apply(&gate.clifford().matrix(), gate.wires(), &mut amplitudes, &Cancel::new()).unwrap();
        }
        amplitudes
    }

    #[test]
    fn outcomes_are_those_of_the_state_vector() {
        for n in 1..=5 {
            for seed in 0..30 {
                let gates = circuit(n, 6 * n, seed);
                let state = StabiliserState::from_gates(n, &gates).unwrap();
                let mut basis = GraphBasis::new(n);
                basis.draw(&mut RandomBits::new([seed, 5], [n as u64, 0, 0]));
                let mut parities = Parities::default();
                parities.find(&basis, &state);
                let rotated: Vec<CliffordGate> = gates.into_iter().chain(basis.gates()).collect();
                let amplitudes = vector(n, &rotated);
                for (index, amplitude) in amplitudes.iter().enumerate() {
                    let outcome = [(index as u64).reverse_bits() >> (64 - n)];
                    let expected =
                        if parities.allow(&outcome) { 0.5f64.powi((n - parities.len()) as i32) } else { 0.0 };
                    assert!((amplitude.norm_sqr() - expected).abs() < 1e-12, "{n} {seed} {index}");
                    let mut imposed = outcome;
                    parities.impose(&mut imposed);
                    assert!(parities.allow(&imposed));
                    assert_eq!(parities.allow(&outcome), imposed == outcome);
                }
            }
        }
    }

    #[test]
    fn a_state_of_its_own_words_is_the_same() {
        for (n, seed) in [(1, 1), (4, 2), (70, 3)] {
            let state = StabiliserState::from_gates(n, &circuit(n, 5 * n, seed)).unwrap();
            let again = StabiliserState::from_words(state.words().clone(), state.negative().to_vec());
            assert_eq!(again.unwrap(), state);
        }
        let words = |labels: &[&str]| {
            let words: Vec<_> = labels.iter().map(|label| PauliWord::from_label(label).unwrap()).collect();
            Words::from_words(2, &words).unwrap()
        };
        assert!(StabiliserState::from_words(words(&["XX", "ZI"]), vec![false; 2]).is_err());
        assert!(StabiliserState::from_words(words(&["XX", "XX"]), vec![false; 2]).is_err());
        assert!(StabiliserState::from_words(words(&["XX"]), vec![false]).is_err());
    }
}
