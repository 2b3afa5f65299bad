//! Inputs for the tests, and the slow obvious twins of the fast kernels.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part

use efl_core::ensemble::Ensemble;
use efl_core::pauli::{Letter, PauliWord, Words};
use efl_core::snapshots::Snapshots;
use proptest::prelude::*;

/// Row-major arrays and the words to count in them.
#[derive(Debug, Clone)]
pub struct Case {
    pub n: usize,
    pub shots: usize,
    pub bits: Vec<u8>,
    pub bases: Vec<u8>,
    pub words: Vec<PauliWord>,
    pub buckets: usize,
}

impl Case {
    pub fn snapshots(&self) -> Snapshots {
        let uniform = Ensemble::uniform(self.n).unwrap();
        Snapshots::from_arrays(&self.bits, &self.bases, self.shots, uniform).unwrap()
    }

    pub fn words(&self) -> Words {
        Words::from_words(self.n, &self.words).unwrap()
    }

    /// `[revealed, minus]` of every word in every bucket, one snapshot and one qubit at a time.
    pub fn naive_counts(&self) -> Vec<Vec<[u64; 2]>> {
        let edge = |b: usize| b * self.shots / self.buckets;
        (0..self.buckets)
            .map(|b| {
                let count = |word: &PauliWord| {
                    let mut count = [0, 0];
                    for t in edge(b)..edge(b + 1) {
                        if let Some(sign) = self.naive_sign(t, word) {
                            count[0] += 1;
                            count[1] += u64::from(sign < 0.0);
                        }
                    }
                    count
                };
                self.words.iter().map(count).collect()
            })
            .collect()
    }

    /// The sign that snapshot `t` gives for `word`, if it reveals it.
    pub fn naive_sign(&self, t: usize, word: &PauliWord) -> Option<f64> {
        let mut sign = 1.0;
        for q in 0..self.n {
            let measured = [Letter::X, Letter::Y, Letter::Z][usize::from(self.bases[t * self.n + q])];
            match word.letter(q) {
                Letter::I => {}
                letter if letter == measured => {
                    if self.bits[t * self.n + q] == 1 {
                        sign = -sign;
                    }
                }
                _ => return None,
            }
        }
        Some(sign)
    }
}

fn word(n: usize) -> impl Strategy<Value = PauliWord> {
    let letter = (0..n, prop::sample::select(vec![Letter::X, Letter::Y, Letter::Z]));
    prop::collection::vec(letter, 0..=n.min(6)).prop_map(move |letters| {
        let mut distinct = std::collections::BTreeMap::new();
        distinct.extend(letters);
        PauliWord::from_sparse(n, distinct).unwrap()
    })
}

/// Any width to 200, any number of snapshots to 700, words with empty support and repetitions among them.
pub fn case() -> impl Strategy<Value = Case> {
    (prop_oneof![1usize..12, 60usize..70, 1usize..=200], 1usize..700).prop_flat_map(|(n, shots)| {
        // Few settings, so that words of high weight are revealed too.
        let bases = prop::collection::vec(0u8..3, n);
        let noise = prop::collection::vec((0u8..2, 0u8..12), n * shots);
        let words = prop::collection::vec(word(n), 1..20);
        (bases, noise, words, 1..=shots.min(9), any::<prop::sample::Index>()).prop_map(
            move |(favourite, noise, mut words, buckets, repeated)| {
                let again = words[repeated.index(words.len())].clone();
                words.push(again);
                words.push(PauliWord::identity(n));
                let bits = noise.iter().map(|(bit, _)| *bit).collect();
                let bases = noise
                    .iter()
                    .enumerate()
                    .map(|(i, (_, b))| if *b < 3 { *b } else { favourite[i % n] })
                    .collect();
                Case { n, shots, bits, bases, words, buckets }
            },
        )
    })
}
