//! Commuting families: stabiliser groups that contain words of much weight.
//!
//! A greedy family (heaviest word first), or one at hand, is improved by exact local search: all groups that differ in
//! one generator are compared in a single pass over the words, because a word can be gained by exchanging one generator
//! only if its commutation pattern with the generators, its syndrome, names the hyperplane of the group that it commutes
//! with.
//!
//! Invariant: generators are independent and commute; the order of words and weights alone decides what comes out.
//! Cost: a pass over the words (a few nanoseconds per word and generator) for a greedy group and for every move.

use crate::bits::elimination::Echelon;
use crate::bits::limbs;
use crate::pauli::Words;
use rustc_hash::FxHashMap;

/// The words to choose from, rows of x and z side by side.
pub(super) struct Groups {
    n_qubits: usize,
    row: usize,
    rows: Vec<u64>,
    /// Where a word is, for short words and long lists.
    place: Option<FxHashMap<[u64; 2], u32>>,
}

/// A family of rank n is listed by its 2^n words when that is this many times shorter than the list.
const LISTING: usize = 6;

impl Groups {
    pub(super) fn new(words: &Words) -> Self {
        let (n_qubits, row) = (words.n_qubits(), limbs(words.n_qubits()));
        let mut rows = Vec::with_capacity(2 * row * words.len());
        for word in words.iter() {
            rows.extend_from_slice(word.x());
            rows.extend_from_slice(word.z());
        }
        let listed = n_qubits < 20 && LISTING << n_qubits < words.len();
        let place =
            listed.then(|| rows.chunks_exact(2).zip(0..).map(|(word, i)| ([word[0], word[1]], i)).collect());
        Groups { n_qubits, row, rows, place }
    }

    #[inline]
    fn word(&self, i: u32) -> &[u64] {
        &self.rows[i as usize * 2 * self.row..][..2 * self.row]
    }

    /// Whether no independent generator can be added.
    pub(super) fn is_full(&self, generators: &[u64]) -> bool {
        generators.len() == 2 * self.row * self.n_qubits
    }

    /// Adds what fits of `order` to the generators of a group.
    pub(super) fn grow(&self, generators: &mut Vec<u64>, order: impl IntoIterator<Item = u32>) {
        let width = 2 * self.row;
        let mut echelon = Echelon::of(width, generators);
        for i in order {
            if self.is_full(generators) {
                break;
            }
            let word = self.word(i);
            let fits = !generators.chunks_exact(width).any(|g| self.anticommute(g, word));
            if fits && echelon.insert(word) {
                generators.extend_from_slice(word);
            }
        }
    }

    /// The words of the list that commute with all generators of a maximal group.
    pub(super) fn members(&self, generators: &[u64]) -> Vec<u32> {
        if let Some(place) = &self.place {
            return self.list(generators.as_chunks::<2>().0, place);
        }
        let width = 2 * self.row;
        let belongs = |i: &u32| !generators.chunks_exact(width).any(|g| self.anticommute(g, self.word(*i)));
        (0..(self.rows.len() / width) as u32).filter(belongs).collect()
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

    #[inline]
    fn anticommute(&self, a: &[u64], b: &[u64]) -> bool {
        let row = self.row;
        let odd = (0..row).fold(0, |odd, k| odd ^ (a[k] & b[row + k]) ^ (a[row + k] & b[k]));
        odd.count_ones() % 2 == 1
    }

    /// Generators after the best exchange of a single one, if that gains weight.
    pub(super) fn exchange(&self, held: &[u64], leaders: &[u32], weights: &[f64]) -> Option<Vec<u64>> {
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
