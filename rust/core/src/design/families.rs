//! Families: words that one setting reveals together, found so that they weigh as much as possible.
//!
//! A *commuting* family is a stabiliser group and may contain any words that commute; a *qubit-wise* family is a letter
//! per qubit. Finding the heaviest is hard in general. Here a greedy family (heaviest word first) is improved by exact
//! local search: all families that differ in one generator are compared in a single pass over the words, because a
//! word can be gained by exchanging one generator only if its commutation pattern with the generators, its syndrome,
//! names the hyperplane of the group that it commutes with.
//!
//! Invariant: a family is maximal, no word of the list could be added to it. Everything is deterministic.
//! Cost: a pass over the words (a few nanoseconds per word and generator) for a greedy family and for every move.

use crate::bits::elimination::Echelon;
use crate::bits::limbs;
use crate::bits::parallel::Cancel;
use crate::error::Result;
use crate::pauli::Words;
use crate::stabiliser::Setting;
use crate::stabiliser::{Connectivity, diagonalise};
use rustc_hash::FxHashMap;
use std::sync::{Arc, OnceLock};

/// The words that may be measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Words that agree wherever they overlap: no two-qubit gates.
    QubitWise,
    /// Words that commute.
    Commuting,
}

/// A family and the words of the list that belong to it.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Rows (x then z) of independent generators; of a qubit-wise family a single row, its letters.
    generators: Vec<u64>,
    grouping: Grouping,
    /// Columns, ascending.
    pub(crate) members: Vec<u32>,
    n_qubits: usize,
    /// The two-qubit gates of the setting.
    connectivity: Connectivity,
    setting: Arc<OnceLock<Setting>>,
}

/// The words to choose from, rows of x and z side by side.
pub(crate) struct WordPool {
    n_qubits: usize,
    row: usize,
    rows: Vec<u64>,
    connectivity: Connectivity,
    /// Where a word is, for short words and long lists.
    place: Option<FxHashMap<[u64; 2], u32>>,
}

/// Attempts at a short diagonalising circuit.
const ATTEMPTS: usize = 2;
/// Moves of a local search: a bound that is hardly ever met.
const MAX_MOVES: usize = 64;
/// How many of the heaviest words are searched; the rest fill up in any order.
const LEADERS: usize = 4096;
/// A family of rank n is listed by its 2^n words when that is this many times shorter than the list.
const LISTING: usize = 6;

impl Grouping {
    /// The largest families that two-qubit gates of a connectivity allow.
    pub(crate) fn of(connectivity: Connectivity) -> Self {
        match connectivity {
            Connectivity::None => Grouping::QubitWise,
            Connectivity::All | Connectivity::Line => Grouping::Commuting,
        }
    }
}

impl WordPool {
    /// The words of a list; the settings of its families use gates of this connectivity.
    pub(crate) fn new(words: &Words, connectivity: Connectivity) -> Self {
        let row = limbs(words.n_qubits());
        let mut rows = Vec::with_capacity(2 * row * words.len());
        for word in words.iter() {
            rows.extend_from_slice(word.x());
            rows.extend_from_slice(word.z());
        }
        let n_qubits = words.n_qubits();
        let listed = n_qubits < 20 && LISTING << n_qubits < words.len();
        let place =
            listed.then(|| rows.chunks_exact(2).zip(0..).map(|(word, i)| ([word[0], word[1]], i)).collect());
        WordPool { n_qubits, row, rows, connectivity, place }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len() / (2 * self.row)
    }

    /// Words that one move of a search looks at, generators counted.
    pub(crate) fn visits(&self) -> u64 {
        (self.len() + self.len().min(LEADERS) * self.n_qubits) as u64
    }

    #[inline]
    fn word(&self, i: u32) -> &[u64] {
        &self.rows[i as usize * 2 * self.row..][..2 * self.row]
    }

    /// The heaviest family that a greedy choice and local moves find. Words of weight zero come last.
    pub(crate) fn heaviest(&self, weights: &[f64], grouping: Grouping) -> Family {
        let leaders = self.leaders(weights);
        let mut generators = self.grow(grouping, &leaders, self.empty(grouping));
        for _ in 0..MAX_MOVES {
            let moved = match grouping {
                Grouping::QubitWise => self.change_letter(&generators, &leaders, weights),
                Grouping::Commuting => self.change_generator(&generators, &leaders, weights),
            };
            let Some(start) = moved else { break };
            generators = self.grow(grouping, &leaders, start);
        }
        self.complete(grouping, generators)
    }

    /// The family that takes the words of `order` one after the other if they fit.
    pub(crate) fn greedy(&self, order: &[u32], grouping: Grouping) -> Family {
        self.complete(grouping, self.grow(grouping, order, self.empty(grouping)))
    }

    /// Words of positive weight, heaviest first, at most [`LEADERS`] of them.
    fn leaders(&self, weights: &[f64]) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.len() as u32).filter(|&i| weights[i as usize] > 0.0).collect();
        let heavier = |a: &u32, b: &u32| weights[*b as usize].total_cmp(&weights[*a as usize]).then(a.cmp(b));
        if LEADERS < order.len() {
            order.select_nth_unstable_by(LEADERS, heavier);
            order.truncate(LEADERS);
        }
        order.sort_unstable_by(heavier);
        order
    }

    fn empty(&self, grouping: Grouping) -> Vec<u64> {
        match grouping {
            Grouping::QubitWise => vec![0; 2 * self.row],
            Grouping::Commuting => Vec::new(),
        }
    }

    /// Adds what fits of `order` to the generators of a family.
    fn grow(&self, grouping: Grouping, order: &[u32], mut generators: Vec<u64>) -> Vec<u64> {
        match grouping {
            Grouping::QubitWise => {
                for &i in order {
                    let word = self.word(i);
                    if self.clashes(&generators, word).all(|c| c == 0) {
                        generators.iter_mut().zip(word).for_each(|(l, w)| *l |= w);
                    }
                }
            }
            Grouping::Commuting => {
                let width = 2 * self.row;
                let mut echelon = Echelon::of(width, &generators);
                for &i in order {
                    if generators.len() == width * self.n_qubits {
                        break;
                    }
                    let word = self.word(i);
                    let fits = !generators.chunks_exact(width).any(|g| self.anticommute(g, word));
                    if fits && echelon.insert(word) {
                        generators.extend_from_slice(word);
                    }
                }
            }
        }
        generators
    }

    /// Makes a family maximal and lists its members.
    fn complete(&self, grouping: Grouping, generators: Vec<u64>) -> Family {
        let full = match grouping {
            Grouping::QubitWise => {
                let (x, z) = generators.split_at(self.row);
                x.iter().zip(z).map(|(x, z)| (x | z).count_ones() as usize).sum::<usize>() == self.n_qubits
            }
            Grouping::Commuting => generators.len() == 2 * self.row * self.n_qubits,
        };
        let generators = if full {
            generators
        } else {
            let all: Vec<u32> = (0..self.len() as u32).collect();
            self.grow(grouping, &all, generators)
        };
        let members = match &self.place {
            Some(place) => self.list(&self.independent(grouping, &generators), place),
            None => {
                let width = 2 * self.row;
                let belongs = |i: &u32| match grouping {
                    Grouping::QubitWise => self.clashes(&generators, self.word(*i)).all(|c| c == 0),
                    Grouping::Commuting => {
                        !generators.chunks_exact(width).any(|g| self.anticommute(g, self.word(*i)))
                    }
                };
                (0..self.len() as u32).filter(belongs).collect()
            }
        };
        let (n_qubits, connectivity) = (self.n_qubits, self.connectivity);
        Family { generators, grouping, members, n_qubits, connectivity, setting: Arc::default() }
    }

    /// Words of a narrow register that generate a family.
    fn independent(&self, grouping: Grouping, generators: &[u64]) -> Vec<[u64; 2]> {
        match grouping {
            Grouping::Commuting => generators.as_chunks::<2>().0.to_vec(),
            Grouping::QubitWise => (0..self.n_qubits)
                .map(|q| [generators[0] & 1 << q, generators[1] & 1 << q])
                .filter(|word| *word != [0, 0])
                .collect(),
        }
    }

    /// The words of the list among all products, one after the other in the order of a Gray code.
    fn list(&self, generators: &[[u64; 2]], place: &FxHashMap<[u64; 2], u32>) -> Vec<u32> {
        let mut word = [0u64; 2];
        let mut members: Vec<u32> = place.get(&word).copied().into_iter().collect();
        for step in 1..1u64 << generators.len() {
            let [x, z] = generators[step.trailing_zeros() as usize];
            word = [word[0] ^ x, word[1] ^ z];
            members.extend(place.get(&word));
        }
        members.sort_unstable();
        members
    }

    /// Where a word has a letter that differs from that of the setting, as bits.
    #[inline]
    fn clashes<'a>(&self, letters: &'a [u64], word: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
        let row = self.row;
        (0..row).map(move |k| {
            let (x, z, lx, lz) = (word[k], word[row + k], letters[k], letters[row + k]);
            ((x ^ lx) | (z ^ lz)) & (x | z) & (lx | lz)
        })
    }

    #[inline]
    fn anticommute(&self, a: &[u64], b: &[u64]) -> bool {
        let row = self.row;
        let odd = (0..row).fold(0, |odd, k| odd ^ (a[k] & b[row + k]) ^ (a[row + k] & b[k]));
        odd.count_ones() % 2 == 1
    }

    /// Letters after the best change of a single one, if that gains weight.
    fn change_letter(&self, letters: &[u64], leaders: &[u32], weights: &[f64]) -> Option<Vec<u64>> {
        let row = self.row;
        let mut gain = vec![[0.0; 4]; self.n_qubits];
        let mut loss = vec![0.0; self.n_qubits];
        for &i in leaders {
            let (word, weight) = (self.word(i), weights[i as usize]);
            let total: u32 = self.clashes(letters, word).map(u64::count_ones).sum();
            if total == 0 {
                for k in 0..row {
                    let mut support = word[k] | word[row + k];
                    while support != 0 {
                        loss[64 * k + support.trailing_zeros() as usize] += weight;
                        support &= support - 1;
                    }
                }
            } else if total == 1 {
                let (k, clash) = self.clashes(letters, word).enumerate().find(|(_, c)| *c != 0)?;
                let bit = clash.trailing_zeros() as usize;
                let code = word[k] >> bit & 1 | (word[row + k] >> bit & 1) << 1;
                gain[64 * k + bit][code as usize] += weight;
            }
        }
        let mut best = (0.0, None);
        for q in 0..self.n_qubits {
            for (code, g) in gain[q].iter().enumerate() {
                if g - loss[q] > 1e-9 * (g + loss[q]) && g - loss[q] > best.0 {
                    best = (g - loss[q], Some((q, code as u64)));
                }
            }
        }
        let (q, code) = best.1?;
        let mut changed = letters.to_vec();
        for (part, bit) in [(q / 64, code & 1), (row + q / 64, code >> 1)] {
            changed[part] = changed[part] & !(1 << (q % 64)) | bit << (q % 64);
        }
        Some(changed)
    }

    /// Generators after the best exchange of a single one, if that gains weight.
    fn change_generator(&self, held: &[u64], leaders: &[u32], weights: &[f64]) -> Option<Vec<u64>> {
        let width = 2 * self.row;
        let generators: Vec<&[u64]> = held.chunks_exact(width).collect();
        let rank = generators.len();
        if rank < self.n_qubits || rank > 64 {
            return None; // a family that the words do not fill has nothing to exchange
        }
        // Gains per hyperplane (the syndrome) and coset (whether the word commutes with the first of its syndrome).
        struct Gain {
            words: [u32; 2],
            weights: [f64; 2],
        }
        let mut gains: FxHashMap<u64, Gain> = FxHashMap::default();
        let echelon = Echelon::of(width, held);
        // Members are lost when they lie off the hyperplane: an odd number of its generators makes them.
        let mut members: Vec<(u64, f64)> = Vec::new();
        for &i in leaders {
            let (word, weight) = (self.word(i), weights[i as usize]);
            let bits = generators.iter().zip(0..);
            let syndrome = bits.fold(0, |s, (g, bit)| s | u64::from(self.anticommute(g, word)) << bit);
            if syndrome == 0 {
                members.push((echelon.combination(word), weight));
                continue;
            }
            let gain = gains.entry(syndrome).or_insert(Gain { words: [i; 2], weights: [0.0; 2] });
            let coset = usize::from(self.anticommute(self.word(gain.words[0]), word));
            if coset == 1 {
                gain.words[1] = i;
            }
            gain.weights[coset] += weight;
        }
        let all: f64 = members.iter().map(|(_, w)| w).sum();
        let mut best: (f64, u64, u32) = (1e-9 * all, u64::MAX, 0);
        for (&syndrome, gain) in &gains {
            if gain.weights[0].max(gain.weights[1]) < best.0 {
                continue;
            }
            let off = members.iter().filter(|(m, _)| (m & syndrome).count_ones() % 2 == 1);
            let lost: f64 = off.map(|(_, w)| w).sum();
            for (word, weight) in gain.words.into_iter().zip(gain.weights) {
                let net = weight - lost;
                // Ties go to the lowest syndrome, so that the order of the map does not matter.
                if net > best.0 || (net == best.0 && syndrome < best.1) {
                    best = (net, syndrome, word);
                }
            }
        }
        let (_, syndrome, word) = best;
        if syndrome == u64::MAX {
            return None;
        }
        let leaves = syndrome.trailing_zeros() as usize;
        let mut changed = Vec::with_capacity(held.len());
        for (k, generator) in generators.iter().enumerate().filter(|(k, _)| *k != leaves) {
            let joined = syndrome >> k & 1 == 1;
            let pairs = generator.iter().zip(generators[leaves]);
            changed.extend(pairs.map(|(g, l)| if joined { g ^ l } else { *g }));
        }
        changed.extend_from_slice(self.word(word));
        Some(changed)
    }
}

impl Family {
    pub(crate) fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// The setting that reveals the family; made once, clones share it.
    pub(crate) fn setting(&self, cancel: &Cancel) -> Result<&Setting> {
        if let Some(setting) = self.setting.get() {
            return Ok(setting);
        }
        let row = limbs(self.n_qubits);
        let mut words = Words::new(self.n_qubits);
        match self.grouping {
            Grouping::QubitWise => words.push_rows(&self.generators[..row], &self.generators[row..]),
            Grouping::Commuting => {
                self.generators.chunks_exact(2 * row).for_each(|g| words.push_rows(&g[..row], &g[row..]));
            }
        }
        let setting = diagonalise(&words, self.connectivity, ATTEMPTS, cancel)?;
        Ok(self.setting.get_or_init(|| setting))
    }
}
