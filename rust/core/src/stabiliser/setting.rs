//! A setting: a Clifford rotation followed by a readout in the computational basis.
//!
//! What matters about it is what its bits mean: bit `i` of the readout is the outcome of one signed word, and the
//! `n` words commute and are independent. The setting *reveals* the words they generate: each is, up to its sign,
//! the product of some of them, so its outcome is the parity of some bits (a *mask*).
//!
//! Invariant: measured word `i` anticommutes with partner `i` and with no other partner, so the mask of a revealed
//! word is read off its commutation with the partners. Commutation is linear in the word: it is stored by letter, and
//! added up over the support. A product setting (a letter per qubit) stores letters only.
//! Cost: [`Setting::reveal`] is O(weight n / 64) for a Clifford setting (10 ns on 10 qubits for a word that is not
//! revealed) and O(n / 64) for a product one. [`Setting::from_gates`] is O(n / 64) per gate and O(n^2 / 64) once.

use crate::bits::parallel::Cancel;
use crate::bits::transpose::transpose_64;
use crate::bits::{check_qubits, limbs, memory, zeros_watched};
use crate::error::{Error, Result};
use crate::gates::{Clifford, CliffordGate, Direction, clifford_table, conjugate_columns};
use crate::pauli::word::{check_wire, product_power};
use crate::pauli::{Letter, PauliWord, WordRef, Words};
use crate::state::{MAX_STATE_QUBITS, apply};
use num_complex::Complex64;
use std::fmt;
use std::sync::Arc;

/// How a revealed word is read: its value is the parity of the readout bits in `mask`, negated if `negative`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parity {
    /// One bit per readout bit, 64 to a `u64`.
    pub mask: Vec<u64>,
    /// Whether an even parity means -1.
    pub negative: bool,
}

/// A Clifford rotation and a readout of all qubits.
///
/// ```
/// use efl_core::gates::CliffordGate;
/// use efl_core::stabiliser::Setting;
/// use efl_core::{gates::Clifford, pauli::PauliWord};
/// let word = |label| PauliWord::from_label(label).unwrap();
/// // The Bell basis: CNOT, then H on the control.
/// let gates = [CliffordGate::new(Clifford::Cnot, &[0, 1])?, CliffordGate::new(Clifford::H, &[0])?];
/// let bell = Setting::from_gates(2, gates)?;
/// assert_eq!(bell.reveal(word("XX").view())?.unwrap().mask, [0b01]);
/// let yy = bell.reveal(word("YY").view())?.unwrap();
/// assert_eq!((yy.mask[0], yy.negative), (0b11, true)); // YY = -(XX)(ZZ)
/// assert!(bell.reveal(word("XI").view())?.is_none());
/// assert!(Setting::product("XY")?.reveal(word("IY").view())?.is_some());
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Clone, PartialEq)]
pub struct Setting {
    n_qubits: usize,
    basis: Basis,
}

#[derive(Clone, PartialEq)]
enum Basis {
    /// A letter X, Y or Z on every qubit.
    Product(PauliWord),
    Clifford(Arc<Tableau>),
}

/// What a rotation makes of the readout: `measured[i] = C^dag Z_i C`, and its partner is `C^dag X_i C`.
#[derive(PartialEq)]
struct Tableau {
    gates: Vec<CliffordGate>,
    measured: Words,
    /// Signs of the measured words.
    negative: Vec<bool>,
    /// Which measured words anticommute with X on a qubit, and with Z: rows `2 q` and `2 q + 1`, one bit for each.
    syndromes: Vec<u64>,
    /// The same for the partners.
    masks: Vec<u64>,
}

impl Setting {
    /// Reads qubit `q` in the basis of letter `q`: "XYZ".
    pub fn product(letters: &str) -> Result<Self> {
        Setting::of_letters(PauliWord::from_label(letters)?)
    }

    /// Reads every qubit in the basis of its letter; none may be I.
    pub fn of_letters(letters: PauliWord) -> Result<Self> {
        check_qubits(letters.n_qubits())?;
        if letters.weight() < letters.n_qubits() {
            return Err(Error::invalid("letters", "X, Y or Z on every qubit", letters.to_string()));
        }
        Ok(Setting { n_qubits: letters.n_qubits(), basis: Basis::Product(letters) })
    }

    /// Reads all qubits in the computational basis after `gates`.
    pub fn from_gates(n_qubits: usize, gates: impl IntoIterator<Item = CliffordGate>) -> Result<Self> {
        Setting::from_gates_watched(n_qubits, gates.into_iter().collect(), &Cancel::new())
    }

    /// [`Setting::from_gates`] for very many gates or qubits: it can be interrupted.
    pub fn from_gates_watched(n_qubits: usize, gates: Vec<CliffordGate>, cancel: &Cancel) -> Result<Self> {
        check_qubits(n_qubits)?;
        for (i, gate) in gates.iter().enumerate() {
            if let Some(q) = gate.wires().iter().find(|q| **q >= n_qubits) {
                let expected = format!("qubits below {n_qubits}");
                return Err(Error::invalid(format!("gates[{i}]"), expected, q.to_string()));
            }
        }
        // The measured words begin as Z and their partners as X, each on a qubit of its own.
        let row = limbs(n_qubits);
        memory::check("the words of a setting", 48 * (n_qubits * row) as u64)?;
        let blank = || zeros_watched("the words of a setting", n_qubits, 2 * row, cancel);
        let (mut syndromes, mut masks) = (blank()?, blank()?);
        for q in 0..n_qubits {
            syndromes[2 * q * row + q / 64] = 1 << (q % 64);
            masks[(2 * q + 1) * row + q / 64] = 1 << (q % 64);
        }
        let (mut signs, mut unused) = (vec![0; row], vec![0; row]);
        for gate in gates.iter().rev() {
            cancel.check()?;
            let table = clifford_table(gate.clifford(), Direction::Heisenberg);
            conjugate_columns(&mut syndromes, &mut signs, gate.wires(), table);
            conjugate_columns(&mut masks, &mut unused, gate.wires(), table);
        }
        let measured = by_word(n_qubits, &syndromes, cancel)?;
        let negative = (0..n_qubits).map(|i| signs[i / 64] >> (i % 64) & 1 == 1).collect();
        let tableau = Tableau { gates, measured, negative, syndromes, masks };
        Ok(Setting { n_qubits, basis: Basis::Clifford(Arc::new(tableau)) })
    }

    /// Number of qubits, which is the number of readout bits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// The letters, when this was made as a product setting.
    pub fn letters(&self) -> Option<&PauliWord> {
        match &self.basis {
            Basis::Product(letters) => Some(letters),
            Basis::Clifford(_) => None,
        }
    }

    /// Turns a state, in which a readout in the computational basis is then this setting.
    pub fn rotate(&self, amplitudes: &mut [Complex64], cancel: &Cancel) -> Result<()> {
        if self.n_qubits > MAX_STATE_QUBITS || amplitudes.len() != 1 << self.n_qubits {
            let expected = format!("2^{} amplitudes, as the setting has", self.n_qubits);
            return Err(Error::shape("amplitudes", expected, amplitudes.len().to_string()));
        }
        for gate in self.gates() {
            apply(&gate.clifford().matrix(), gate.wires(), amplitudes, cancel)?;
        }
        Ok(())
    }

    /// The rotation, gate after gate.
    pub fn gates(&self) -> Vec<CliffordGate> {
        let one = |clifford, q| CliffordGate::on(clifford, [q, q]);
        match &self.basis {
            Basis::Product(letters) => letters
                .support()
                .flat_map(|(q, letter)| match letter {
                    Letter::X => vec![one(Clifford::H, q)],
                    Letter::Y => vec![one(Clifford::Sdg, q), one(Clifford::H, q)],
                    Letter::Z | Letter::I => vec![],
                })
                .collect(),
            Basis::Clifford(tableau) => tableau.gates.clone(),
        }
    }

    /// Number of gates on two qubits.
    pub fn two_qubit_gates(&self) -> usize {
        match &self.basis {
            Basis::Product(_) => 0,
            Basis::Clifford(tableau) => tableau.gates.iter().filter(|gate| gate.wires().len() == 2).count(),
        }
    }

    /// Number of layers, when gates on different qubits run at the same time.
    pub fn depth(&self) -> usize {
        let mut free = vec![0; self.n_qubits];
        for gate in self.gates() {
            let layer = 1 + gate.wires().iter().map(|&q| free[q]).fold(0, usize::max);
            gate.wires().iter().for_each(|&q| free[q] = layer);
        }
        free.into_iter().fold(0, usize::max)
    }

    /// The word that readout bit `i` measures, and whether a bit 0 means -1.
    pub fn measured(&self, i: usize) -> Result<(PauliWord, bool)> {
        check_wire("i", i, self.n_qubits)?;
        match &self.basis {
            Basis::Product(letters) => Ok((letters.restrict(&[i])?, false)),
            Basis::Clifford(tableau) => Ok((tableau.measured.get(i).to_word(), tableau.negative[i])),
        }
    }

    /// How `word` is read in this setting, `None` when it is not revealed. The identity has an empty mask.
    pub fn reveal(&self, word: WordRef<'_>) -> Result<Option<Parity>> {
        crate::pauli::word::check_width("word", self.n_qubits, word.n_qubits())?;
        let mut mask = vec![0; limbs(self.n_qubits)];
        Ok(self.read(word, &mut mask).map(|negative| Parity { mask, negative }))
    }

    /// Whether `word`, of the right width, is revealed.
    #[inline]
    pub(crate) fn reveals(&self, word: WordRef<'_>) -> bool {
        match &self.basis {
            Basis::Product(letters) => agrees(letters, word),
            Basis::Clifford(tableau) => {
                (0..word.x().len()).all(|k| add_letters(&tableau.syndromes, word, k) == 0)
            }
        }
    }

    /// [`Setting::reveal`] for a word of the right width into a mask that is all zero; returns the sign.
    #[inline]
    pub(crate) fn read(&self, word: WordRef<'_>, mask: &mut [u64]) -> Option<bool> {
        if !self.reveals(word) {
            return None;
        }
        let tableau = match &self.basis {
            Basis::Product(_) => {
                mask.iter_mut().zip(word.x().iter().zip(word.z())).for_each(|(m, (x, z))| *m = x | z);
                return Some(false);
            }
            Basis::Clifford(tableau) => tableau,
        };
        // The product of the measured words in the mask, letter by letter, is `i^power` times the word.
        let (mut power, mut negative) = (0u32, false);
        mask.iter_mut().enumerate().for_each(|(k, m)| *m = add_letters(&tableau.masks, word, k));
        let bits = || (0..self.n_qubits).filter(|i| mask[i / 64] >> (i % 64) & 1 == 1);
        bits().for_each(|i| negative ^= tableau.negative[i]);
        for k in 0..mask.len() {
            let (mut x, mut z) = (0, 0);
            for i in bits() {
                let factor = tableau.measured.get(i);
                power = power.wrapping_add(product_power(x, z, factor.x()[k], factor.z()[k]));
                (x, z) = (x ^ factor.x()[k], z ^ factor.z()[k]);
            }
            debug_assert!(x == word.x()[k] && z == word.z()[k]);
        }
        debug_assert!(power.is_multiple_of(2));
        Some(negative ^ (power & 2 != 0))
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.basis {
            Basis::Product(letters) => write!(f, "Setting({letters})"),
            Basis::Clifford(tableau) => {
                let words = (0..self.n_qubits).map(|i| {
                    format!("{}{}", if tableau.negative[i] { "-" } else { "" }, tableau.measured.get(i))
                });
                write!(f, "Setting({})", words.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// The words of a table by letter, whose row `2 q` is the z bits on qubit q and row `2 q + 1` the x bits.
pub(super) fn by_word(n_qubits: usize, table: &[u64], cancel: &Cancel) -> Result<Words> {
    let row = limbs(n_qubits);
    let blank = || zeros_watched("the words of a setting", n_qubits, row, cancel);
    let (mut x, mut z) = (blank()?, blank()?);
    for column in 0..row {
        cancel.check()?;
        let width = 64.min(n_qubits - column * 64);
        for (kind, rows) in [&mut z, &mut x].into_iter().enumerate() {
            for group in 0..row {
                let mut block = [0; 64];
                for q in 0..width {
                    block[q] = table[(2 * (column * 64 + q) + kind) * row + group];
                }
                transpose_64(&mut block);
                for i in 0..64.min(n_qubits - group * 64) {
                    rows[(group * 64 + i) * row + column] = block[i];
                }
            }
        }
    }
    Words::from_rows(n_qubits, x, z)
}

/// Limb `k` of the sum of the rows of a table over the letters of a word.
#[inline]
fn add_letters(table: &[u64], word: WordRef<'_>, k: usize) -> u64 {
    let row = word.x().len();
    let mut sum = 0;
    for (kind, bits) in [word.x(), word.z()].into_iter().enumerate() {
        for (index, &bits) in bits.iter().enumerate() {
            let mut left = bits;
            while left != 0 {
                let q = index * 64 + left.trailing_zeros() as usize;
                sum ^= table[(2 * q + kind) * row + k];
                left &= left - 1;
            }
        }
    }
    sum
}

/// Whether a word has no letter that differs from that of the setting.
#[inline]
fn agrees(letters: &PauliWord, word: WordRef<'_>) -> bool {
    let rows = letters.x().iter().zip(letters.z()).zip(word.x().iter().zip(word.z()));
    rows.fold(0, |clash, ((lx, lz), (x, z))| clash | (((lx ^ x) | (lz ^ z)) & (x | z))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_of_a_product_setting_measure_its_letters() {
        for label in ["XYZ", "ZZYX", "Y"] {
            let product = Setting::product(label).unwrap();
            let rotated = Setting::from_gates(label.len(), product.gates()).unwrap();
            for i in 0..label.len() {
                assert_eq!(product.measured(i).unwrap(), rotated.measured(i).unwrap(), "{label} {i}");
            }
        }
        assert!(Setting::product("XIZ").is_err());
    }

    #[test]
    fn signs_come_from_the_product_of_the_measured_words() {
        for n in [3, 66] {
            // A ghz-like rotation at the end of the register.
            let at = n - 3;
            let gate = |c, wires: &[usize]| CliffordGate::new(c, wires).unwrap();
            let gates = [
                gate(Clifford::Cnot, &[at, at + 1]),
                gate(Clifford::S, &[at + 1]),
                gate(Clifford::Cz, &[at + 1, at + 2]),
                gate(Clifford::H, &[at]),
                gate(Clifford::Sx, &[at + 2]),
                gate(Clifford::X, &[at + 1]),
            ];
            let setting = Setting::from_gates(n, gates).unwrap();
            let words: Vec<_> = (at..n).map(|i| setting.measured(i).unwrap()).collect();
            for subset in 1..8usize {
                let mut product = (crate::pauli::Phase::ONE, PauliWord::identity(n));
                let mut negative = false;
                for (i, (word, sign)) in words.iter().enumerate().filter(|(i, _)| subset >> i & 1 == 1) {
                    let (phase, next) = product.1.multiply(word).unwrap();
                    product = (product.0.multiply(phase), next);
                    negative ^= sign;
                    let _ = i;
                }
                assert_eq!(product.0.power() % 2, 0);
                let parity = setting.reveal(product.1.view()).unwrap().unwrap();
                let mask: u128 = parity.mask.iter().rev().fold(0, |m, w| m << 64 | u128::from(*w));
                assert_eq!(mask, (subset as u128) << at);
                assert_eq!(parity.negative, negative ^ (product.0.power() == 2));
            }
        }
    }
}
