//! Which entry of a roster each teach setting of each query runs.
//!
//! Setting `j` of a query has the value `start + j * 2^64 / settings` modulo 2^64, and the entry whose interval holds it. The
//! start is random, addressed by (seed of the version, replica, incarnation, sequence of the query). So every value is uniform
//! and every entry comes with exactly its share; the settings of one query spread evenly over the roster; and
//! queries are independent of each other, which is what makes their spread the error of their mean. (Queries that spread
//! evenly as well, as multiples of the golden ratio do, have errors that are a tenth to a fifth smaller, and that cannot be
//! seen in their sums: error bars are then too large by as much.)
//!
//! Invariant: integers only, the same on all machines. A replica chooses neither seed nor incarnation, so it does not
//! choose entries, and a packet need not name them.
//! Cost: a block of random numbers per query, then a binary search per setting.

use crate::version::Version;
use efl_core::bits::philox::philox;

/// Stream of the key, so that sequences share no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"sequence");
/// Stream of what decides which queries a candidate answers.
const CHOSEN: u64 = u64::from_le_bytes(*b"chosen\0\0");
/// Consecutive queries that are answered with the same version: packets are of one version, and are not to be tiny.
pub const BLOCK: u64 = 8;

/// What one replica runs of one version.
#[derive(Debug, Clone, Copy)]
pub struct Sequence<'v> {
    version: &'v Version,
    replica: u64,
    /// The incarnation, and above it the number of the version.
    life: u64,
    /// From the value of a setting to that of the next.
    step: u64,
}

impl<'v> Sequence<'v> {
    /// The sequence of an incarnation of a replica.
    pub fn new(version: &'v Version, replica: u64, incarnation: u32) -> Self {
        let life = u64::from(incarnation) | u64::from(version.number()) << 32;
        let step = ((1u128 << 64) / u128::from(version.shape().settings)) as u64;
        Sequence { version, replica, life, step }
    }

    /// Where the settings of a query start, and what decides whether it teaches.
    #[inline]
    fn draw(&self, query: u64) -> [u64; 2] {
        let [start, gate, ..] = philox([self.version.seed(), STREAM], [self.replica, self.life, query, 0]);
        [start, gate]
    }

    /// Whether a query teaches.
    #[inline]
    pub fn teaches(&self, query: u64) -> bool {
        self.version.threshold().is_none_or(|below| self.draw(query)[1] < below)
    }

    /// The entries that the teach settings of a query run.
    #[inline]
    pub fn entries(self, query: u64) -> impl Iterator<Item = usize> + use<'v> {
        let [start, _] = self.draw(query);
        let settings = u64::from(self.version.shape().settings);
        (0..settings).map(move |j| self.version.entry(start.wrapping_add(j.wrapping_mul(self.step))))
    }

    /// Whether a query is one that a candidate answers, of which it is to answer `below` of 2^64: every so many blocks of
    /// [`BLOCK`] queries, from a random one on.
    #[inline]
    pub fn is_chosen(&self, query: u64, below: u64) -> bool {
        let [start, ..] = philox([self.version.seed(), CHOSEN], [self.replica, self.life, 0, 0]);
        start.wrapping_add((query / BLOCK).wrapping_mul(below)) < below
    }

    /// How many of `count` queries from `first` on teach; more than `most` are not counted.
    pub fn teaching(&self, first: u64, count: u32, most: usize) -> usize {
        match self.version.threshold() {
            None => most.min(count as usize),
            Some(_) => self.offsets(first, count).take(most).count(),
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

    fn version(shares: &[f64], settings: u16, teach: f64) -> Version {
        let shape = Shape { n_qubits: 2, answer_shots: 1, teach_shots: settings, settings };
        Version::new(5, 1, 9, shape, shares, teach, b"").unwrap()
    }

    #[test]
    fn golden_sequence() {
        let version = version(&[0.1, 0.2, 0.3, 0.4], 2, 0.5);
        let sequence = Sequence::new(&version, 42, 3);
        let entries: Vec<Vec<usize>> = (0..8).map(|q| sequence.entries(q).collect()).collect();
        assert_eq!(entries, GOLDEN_ENTRIES);
        assert_eq!(sequence.offsets(0, 12).collect::<Vec<_>>(), GOLDEN_OFFSETS);
        // The same wherever it is entered.
        let later: Vec<u32> = sequence.offsets(4, 8).map(|i| i + 4).collect();
        assert_eq!(later, GOLDEN_OFFSETS.into_iter().filter(|i| *i >= 4).collect::<Vec<_>>());
    }

    /// Computed from `numpy.random.Philox(key=[9, STREAM], counter=[41, 3 + (1 << 32), query, 0])`.
    const GOLDEN_ENTRIES: [[usize; 2]; 8] = [[3, 1], [2, 0], [3, 1], [3, 2], [3, 1], [3, 1], [3, 1], [1, 3]];
    const GOLDEN_OFFSETS: [u32; 9] = [2, 3, 4, 5, 6, 7, 8, 10, 11];

    #[test]
    fn the_settings_of_a_query_spread_evenly() {
        let shares = [0.05, 0.15, 0.35, 0.45];
        let version = version(&shares, 20, 1.0);
        for query in 0..100 {
            let mut counts = [0.0; 4];
            Sequence::new(&version, 7, 1).entries(query).for_each(|entry| counts[entry] += 1.0);
            for (count, share) in counts.iter().zip(shares) {
                assert!((count - 20.0 * share).abs() <= 1.0, "{counts:?}");
            }
        }
    }

    #[test]
    fn every_setting_has_the_shares_over_queries_and_over_replicas() {
        // A chi-square of 3 degrees of freedom above 24 has probability 2e-5; eight are looked at.
        let shares = [0.05, 0.15, 0.35, 0.45];
        let version = version(&shares, 3, 1.0);
        for j in 0..3 {
            let (mut queries, mut replicas) = ([0.0; 4], [0.0; 4]);
            for i in 0..4000 {
                queries[Sequence::new(&version, 5, 1).entries(i).nth(j).unwrap()] += 1.0;
                replicas[Sequence::new(&version, i, 1).entries(1 << 39).nth(j).unwrap()] += 1.0;
            }
            for counts in [queries, replicas] {
                let square = |(n, share): (&f64, f64)| (n - 4000.0 * share).powi(2) / (4000.0 * share);
                let sum: f64 = counts.iter().zip(shares).map(square).sum();
                assert!(sum < 24.0, "setting {j}: {counts:?}");
            }
        }
    }

    #[test]
    fn queries_teach_with_their_probability_whatever_their_entries() {
        // 4,000 queries at 0.3: beyond 4.5 standard deviations with probability 7e-6, each of two counts.
        let version = version(&[1.0, 1.0], 1, 0.3);
        let sequence = Sequence::new(&version, 5, 1);
        let teaching: Vec<u64> = (0..4000).filter(|q| sequence.teaches(*q)).collect();
        let first = teaching.iter().filter(|q| sequence.entries(**q).next() == Some(0)).count() as f64;
        assert!((teaching.len() as f64 - 1200.0).abs() < 4.5 * 840f64.sqrt());
        assert!((first - teaching.len() as f64 / 2.0).abs() < 4.5 * 300f64.sqrt());
        assert_eq!(sequence.teaching(0, 4000, 5000), teaching.len());
        assert_eq!(sequence.teaching(0, 4000, 7), 7);
    }

    #[test]
    fn versions_replicas_and_incarnations_differ() {
        let version = version(&[1.0; 50], 1, 1.0);
        let entries = |replica, incarnation| -> Vec<usize> {
            let sequence = Sequence::new(&version, replica, incarnation);
            (0..20).flat_map(|q| sequence.entries(q)).collect()
        };
        assert_ne!(entries(1, 1), entries(2, 1));
        assert_ne!(entries(1, 1), entries(1, 2));
    }
}
