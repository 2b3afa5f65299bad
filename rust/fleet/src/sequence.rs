//! Which entry of a roster each teach setting of each query runs.
//!
//! Setting `j` of query `q` has the value `start + (q * settings + j) * golden` modulo 2^64, and the entry whose interval
//! holds it. The start is random, a function of (seed, replica, incarnation), so every value is uniform and every entry
//! comes with exactly its share; and as multiples of the golden ratio spread evenly, so do the entries over queries.
//! Whether a query teaches at all is a second such sequence with a start of its own.
//!
//! Invariant: integers only, the same on all machines. A replica chooses neither seed nor incarnation, so it does not
//! choose entries, and a packet need not name them.
//! Cost: a block of random numbers per (version, replica, incarnation), then a binary search per setting.

use crate::version::Version;
use efl_core::bits::philox::philox;

/// The golden ratio, less one, of 2^64: an odd number.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
/// The square root of two, less one, of 2^64: its multiples do not follow those of the other.
const SILVER: u64 = 0x6A09_E667_F3BC_C909;
/// Stream of the key, so that sequences share no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"sequence");

/// What one replica runs of one version.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'v> {
    version: &'v Version,
    start: u64,
    gate: u64,
}

impl<'v> Sequence<'v> {
    /// The sequence of an incarnation of a replica.
    pub fn new(version: &'v Version, replica: u64, incarnation: u32) -> Self {
        let counter = [replica, u64::from(incarnation), u64::from(version.number()), 0];
        let [start, gate, ..] = philox([version.seed(), STREAM], counter);
        Sequence { version, start, gate }
    }

    /// Whether a query teaches.
    #[inline]
    pub fn teaches(&self, query: u64) -> bool {
        let value = || self.gate.wrapping_add(query.wrapping_mul(SILVER));
        self.version.threshold().is_none_or(|below| value() < below)
    }

    /// The entry that teach setting `j` of a query runs.
    #[inline]
    pub fn entry(&self, query: u64, j: usize) -> usize {
        let step = query.wrapping_mul(self.version.shape().settings.into()).wrapping_add(j as u64);
        self.version.entry(self.start.wrapping_add(step.wrapping_mul(GOLDEN)))
    }

    /// How many of `count` queries from `first` on teach.
    pub fn teaching(&self, first: u64, count: u32) -> usize {
        match self.version.threshold() {
            None => count as usize,
            Some(_) => self.offsets(first, count).count(),
        }
    }

    /// Which of `count` queries from `first` on teach, as offsets.
    pub fn offsets(self, first: u64, count: u32) -> impl Iterator<Item = u32> + use<'v> {
        (0..count).filter(move |i| self.teaches(first.wrapping_add(u64::from(*i))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::Shape;

    fn version(shares: &[f64], teach: f64) -> Version {
        let shape = Shape { n_qubits: 2, answer_shots: 1, teach_shots: 4, settings: 2 };
        Version::new(5, 1, 9, shape, shares, teach, b"").unwrap()
    }

    #[test]
    fn golden_sequence() {
        let version = version(&[0.1, 0.2, 0.3, 0.4], 0.5);
        let sequence = Sequence::new(&version, 42, 3);
        let entries: Vec<[usize; 2]> = (0..8).map(|q| [sequence.entry(q, 0), sequence.entry(q, 1)]).collect();
        assert_eq!(entries, GOLDEN_ENTRIES);
        assert_eq!(sequence.offsets(0, 12).collect::<Vec<_>>(), GOLDEN_OFFSETS);
        // The same wherever it is entered.
        assert_eq!(sequence.offsets(4, 8).map(|i| i + 4).collect::<Vec<_>>(), GOLDEN_OFFSETS[2..]);
    }

    /// Computed from `numpy.random.Philox(key=[9, STREAM], counter=[41, 3, 1, 0])`.
    const GOLDEN_ENTRIES: [[usize; 2]; 8] = [[0, 3], [1, 3], [2, 1], [3, 2], [3, 3], [1, 3], [2, 0], [3, 2]];
    const GOLDEN_OFFSETS: [u32; 6] = [1, 2, 4, 6, 9, 11];

    #[test]
    fn one_sequence_is_balanced() {
        // The discrepancy of multiples of the golden ratio is below 2 + log2(N); no chance is involved but the start.
        let shares = [0.05, 0.15, 0.35, 0.45];
        let version = version(&shares, 0.3);
        for replica in 0..20 {
            let sequence = Sequence::new(&version, replica, 1);
            let mut counts = [0.0; 4];
            (0..500).for_each(|q| (0..2).for_each(|j| counts[sequence.entry(q, j)] += 1.0));
            for (count, share) in counts.iter().zip(shares) {
                assert!((count - 1000.0 * share).abs() < 12.0, "{counts:?}");
            }
            assert!((sequence.teaching(0, 1000) as f64 - 300.0).abs() < 12.0);
        }
    }

    #[test]
    fn over_replicas_every_setting_has_the_shares() {
        // A chi-square of 3 degrees of freedom above 24 has probability 2e-5; six are looked at.
        let shares = [0.05, 0.15, 0.35, 0.45];
        let version = version(&shares, 1.0);
        for (query, j) in [(0, 0), (0, 1), (1, 0), (7, 1), (1000, 0), (1 << 39, 1)] {
            let mut counts = [0.0; 4];
            (0..4000).for_each(|r| counts[Sequence::new(&version, r, 1).entry(query, j)] += 1.0);
            let square = |(count, share): (&f64, f64)| (count - 4000.0 * share).powi(2) / (4000.0 * share);
            let sum: f64 = counts.iter().zip(shares).map(square).sum();
            assert!(sum < 24.0, "query {query}, setting {j}: {counts:?}");
        }
    }

    #[test]
    fn versions_replicas_and_incarnations_differ() {
        let version = version(&[1.0; 50], 1.0);
        let entries = |replica, incarnation| -> Vec<usize> {
            let sequence = Sequence::new(&version, replica, incarnation);
            (0..20).map(|q| sequence.entry(q, 0)).collect()
        };
        assert_ne!(entries(1, 1), entries(2, 1));
        assert_ne!(entries(1, 1), entries(1, 2));
    }
}
