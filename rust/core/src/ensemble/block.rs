//! A block: settings on some qubits, and the probabilities that they are drawn with.
//!
//! Invariant: the qubits are distinct, there is a setting and a probability for each of them, every setting has as
//! many qubits as the block, and the probabilities are finite, not negative and sum to one within 1e-9. Readout bit
//! `j` of a setting belongs to `qubits[j]`. Lists of settings are shared: a copy of a block costs nothing.
//! Cost: on up to [`MAX_BLOCK_QUBITS`] qubits every question is a look-up in tables that are made at the first one
//! (16^k entries for pairs); on more qubits it is a pass over the settings.

use crate::error::{Error, Result};
use crate::pauli::{PauliWord, WordRef};
use crate::stabiliser::Setting;
use std::sync::{Arc, OnceLock};

/// Most qubits of a block that is one of several.
pub const MAX_BLOCK_QUBITS: usize = 4;
/// Most settings of a block: their indices are stored in 32 bits.
const MAX_SETTINGS: usize = u32::MAX as usize;

/// Settings on some of the qubits, drawn with known probabilities.
#[derive(Debug, Clone)]
pub struct Block {
    qubits: Arc<[usize]>,
    list: Arc<List>,
}

#[derive(Debug)]
struct List {
    settings: Vec<Setting>,
    probabilities: Vec<f64>,
    tables: OnceLock<Tables>,
    pairs: OnceLock<Vec<f64>>,
}

/// Local words are numbered by their letters, two bits each: `x + 2 z` of qubit `j` at bit `2 j`.
#[derive(Debug)]
struct Tables {
    /// `2^k - 1` for each setting.
    parities: Vec<LocalParity>,
    /// Of every local word.
    reveal: Vec<f64>,
}

/// A local word that a setting reveals, and how it is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalParity {
    /// Number of the local word.
    pub(crate) code: u8,
    /// Readout bits whose parity is its outcome.
    pub(crate) mask: u8,
    /// Whether an even parity means -1.
    pub(crate) negative: bool,
}

impl PartialEq for Block {
    fn eq(&self, other: &Self) -> bool {
        self.qubits == other.qubits
            && self.same_settings(other)
            && self.list.probabilities == other.list.probabilities
    }
}

impl Block {
    /// `settings` on `qubits`, setting `f` with probability `probabilities[f]`.
    pub fn new(qubits: Vec<usize>, settings: Vec<Setting>, probabilities: Vec<f64>) -> Result<Self> {
        if settings.is_empty() || settings.len() > MAX_SETTINGS {
            return Err(Error::invalid("settings", "at least one setting", settings.len().to_string()));
        }
        if probabilities.len() != settings.len() {
            return Err(Error::shape(
                "probabilities",
                format!("one for each of {} settings", settings.len()),
                probabilities.len().to_string(),
            ));
        }
        for (f, setting) in settings.iter().enumerate() {
            if setting.n_qubits() != qubits.len() {
                return Err(Error::shape(
                    format!("settings[{f}]"),
                    format!("{} qubits", qubits.len()),
                    format!("{} qubits", setting.n_qubits()),
                ));
            }
        }
        check_qubits(&qubits)?;
        super::check_probabilities(|f| format!("probabilities[{f}]"), "probabilities", &probabilities)?;
        let list = List { settings, probabilities, tables: OnceLock::new(), pairs: OnceLock::new() };
        Ok(Block { qubits: qubits.into(), list: Arc::new(list) })
    }

    /// The same settings on other qubits, as many: the list is shared.
    pub fn moved(&self, qubits: impl IntoIterator<Item = usize>) -> Result<Self> {
        let qubits: Arc<[usize]> = qubits.into_iter().collect();
        check_qubits(&qubits)?;
        if qubits.len() != self.qubits.len() {
            return Err(Error::shape("qubits", self.qubits.len().to_string(), qubits.len().to_string()));
        }
        Ok(Block { qubits, list: Arc::clone(&self.list) })
    }

    /// Whether these are `n_qubits` qubits in their order.
    pub(crate) fn is_register(&self, n_qubits: usize) -> bool {
        self.qubits.len() == n_qubits && self.qubits.iter().enumerate().all(|(j, &q)| j == q)
    }

    /// The qubits, in the order of the readout bits.
    pub fn qubits(&self) -> &[usize] {
        &self.qubits
    }

    /// The settings.
    pub fn settings(&self) -> &[Setting] {
        &self.list.settings
    }

    /// The probability of each setting.
    pub fn probabilities(&self) -> &[f64] {
        &self.list.probabilities
    }

    /// Whether the bits of both mean the same.
    pub(crate) fn same_settings(&self, other: &Block) -> bool {
        Arc::ptr_eq(&self.list, &other.list) || self.list.settings == other.list.settings
    }

    /// Where in memory the list is: blocks that share one have the same address.
    pub fn list_address(&self) -> usize {
        Arc::as_ptr(&self.list).addr()
    }

    /// Whether the block is narrow enough for tables.
    pub(crate) fn is_narrow(&self) -> bool {
        self.qubits.len() <= MAX_BLOCK_QUBITS
    }

    /// The number of the local word that `word` has on a narrow block.
    #[inline]
    pub(crate) fn code(&self, word: WordRef<'_>) -> usize {
        let letter = |q: usize| (word.x()[q / 64] >> (q % 64) & 1) | (word.z()[q / 64] >> (q % 64) & 1) << 1;
        self.qubits.iter().enumerate().fold(0, |code, (j, &q)| code | (letter(q) as usize) << (2 * j))
    }

    /// What the settings of a narrow block of `k` qubits reveal, `2^k - 1` local words each.
    pub(crate) fn parities(&self) -> &[LocalParity] {
        &self.tables().parities
    }

    /// The probability that the part of `word` on this block is revealed; the block is narrow or has all qubits.
    pub(crate) fn reveal_probability(&self, word: WordRef<'_>) -> f64 {
        if self.is_narrow() {
            return match self.code(word) {
                0 => 1.0,
                code => self.tables().reveal[code],
            };
        }
        self.sum_over(|setting| setting.reveals(word))
    }

    /// The probability that one setting reveals the parts of both words.
    pub(crate) fn pair_probability(&self, a: WordRef<'_>, b: WordRef<'_>) -> f64 {
        if self.is_narrow() {
            return match (self.code(a), self.code(b)) {
                (0, 0) => 1.0,
                (code, 0) | (0, code) => self.tables().reveal[code],
                (a, b) => self.pairs()[a << (2 * self.qubits.len()) | b],
            };
        }
        self.sum_over(|setting| setting.reveals(a) && setting.reveals(b))
    }

    fn sum_over(&self, revealed: impl Fn(&Setting) -> bool) -> f64 {
        let drawn = self.list.settings.iter().zip(&self.list.probabilities);
        drawn.filter(|(setting, _)| revealed(setting)).map(|(_, p)| p).sum::<f64>().min(1.0)
    }

    fn tables(&self) -> &Tables {
        self.list.tables.get_or_init(|| {
            let k = self.qubits.len();
            let parities: Vec<LocalParity> =
                self.list.settings.iter().flat_map(|setting| local_parities(setting, k)).collect();
            let mut reveal = vec![0.0; 1 << (2 * k)];
            for (some, p) in parities.chunks_exact((1 << k) - 1).zip(&self.list.probabilities) {
                some.iter().for_each(|parity| reveal[usize::from(parity.code)] += p);
            }
            reveal.iter_mut().for_each(|h| *h = h.min(1.0)); // the sum of many may pass one by rounding
            Tables { parities, reveal }
        })
    }

    fn pairs(&self) -> &[f64] {
        self.list.pairs.get_or_init(|| {
            let bits = 2 * self.qubits.len();
            let mut pairs = vec![0.0; 1 << (2 * bits)];
            let each = (1 << self.qubits.len()) - 1;
            for (some, p) in self.parities().chunks_exact(each).zip(&self.list.probabilities) {
                for a in some {
                    for b in some {
                        pairs[usize::from(a.code) << bits | usize::from(b.code)] += p;
                    }
                }
            }
            pairs
        })
    }
}

fn check_qubits(qubits: &[usize]) -> Result<()> {
    let mut sorted = qubits.to_vec();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(Error::invalid("qubits", "each qubit once", format!("qubit {} twice", twice[0]))),
        None => Ok(()),
    }
}

/// Every local word that a setting on `k` qubits reveals: the products of its measured words, mask after mask.
fn local_parities(setting: &Setting, k: usize) -> Vec<LocalParity> {
    let measured: Vec<(PauliWord, bool)> =
        (0..k).map(|i| setting.measured(i).expect("a readout bit of the setting")).collect();
    let mut products = vec![(PauliWord::identity(k), false)];
    for mask in 1..1usize << k {
        let (word, negative) = &measured[mask.trailing_zeros() as usize];
        let (before, sign) = &products[mask & (mask - 1)];
        let (phase, product) = before.multiply(word).expect("words of one width");
        products.push((product, sign ^ negative ^ (phase.power() == 2)));
    }
    let parity = |(mask, (word, negative)): (usize, (PauliWord, bool))| {
        let letters = word.support();
        let code = letters.fold(0, |code, (q, letter)| {
            code | (u8::from(letter.x()) | u8::from(letter.z()) << 1) << (2 * q)
        });
        LocalParity { code, mask: mask as u8, negative }
    };
    products.into_iter().enumerate().skip(1).map(parity).collect()
}
