//! What a replica and a learner agree on: how the shots of a query are split, and how often each entry is run.
//!
//! Shares are integers: the `ends` of intervals of the 2^64 values of a sequence. Readings are divided by the shares so
//! quantised, so that the mean over the sequence is exact.
//!
//! Invariant: a version never changes; its `hash`, 32 bits of everything in it, is repeated by every packet.
//! Cost: 8 bytes per entry.

mod stored;

use crate::packet::{HEADER, MAX_BYTES, MAX_QUERIES, TRAILER};
use efl_core::bits::check_qubits;
use efl_core::{Error, Result};

/// Values of a sequence.
const VALUES: f64 = (1u128 << 64) as f64;

/// How many qubits are read, and the shots of a query that teaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Qubits of every circuit, the answered one and those that teach.
    pub n_qubits: u16,
    /// Shots that read the answer; none where teach settings read it as well.
    pub answer_shots: u16,
    /// Shots that teach, in all settings together.
    pub teach_shots: u16,
    /// Teach settings of a query, which have equally many shots each.
    pub settings: u16,
}

impl Shape {
    /// Checks that the shots can be split.
    pub fn check(&self) -> Result<()> {
        check_qubits(self.n_qubits.into())?;
        if self.settings == 0 {
            return Err(Error::invalid("settings", "1 to 65535", "0"));
        }
        if self.teach_shots == 0 || !self.teach_shots.is_multiple_of(self.settings) {
            let expected = format!("a positive multiple of the {} settings", self.settings);
            return Err(Error::invalid("teach_shots", expected, self.teach_shots.to_string()));
        }
        if self.stride() > MAX_BYTES - HEADER - TRAILER {
            let found = format!("{} bytes", self.stride());
            return Err(Error::invalid("shape", "a query that fits into one packet", found));
        }
        Ok(())
    }

    /// Shots of one teach setting.
    pub fn setting_shots(&self) -> usize {
        usize::from(self.teach_shots / self.settings)
    }

    /// Bytes of the answer planes of a query.
    pub fn answer_bytes(&self) -> usize {
        usize::from(self.n_qubits) * usize::from(self.answer_shots).div_ceil(8)
    }

    /// Bytes of the teach planes of a query.
    pub fn teach_bytes(&self) -> usize {
        usize::from(self.n_qubits) * usize::from(self.teach_shots).div_ceil(8)
    }

    /// Bytes of a query that teaches.
    pub fn stride(&self) -> usize {
        self.answer_bytes() + self.teach_bytes()
    }

    /// Most queries of one packet.
    pub fn max_queries(&self) -> u32 {
        ((MAX_BYTES - HEADER - TRAILER) / self.stride()).min(MAX_QUERIES as usize) as u32
    }
}

/// One version of the parameters, as replicas see it.
///
/// ```
/// use efl_fleet::version::{Shape, Version};
/// let shape = Shape { n_qubits: 10, answer_shots: 48, teach_shots: 16, settings: 2 };
/// let version = Version::new(7, 0, 11, shape, &[3.0, 1.0], 1.0, b"theta")?;
/// assert_eq!((version.share(0), version.share(1)), (0.75, 0.25));
/// assert_eq!(shape.stride(), 80); // bytes of a query
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    fleet: u64,
    number: u32,
    seed: u64,
    shape: Shape,
    /// Where the interval of each entry but the last one ends.
    ends: Vec<u64>,
    /// Below this a query teaches; `None`: always.
    teach: Option<u64>,
    hash: u32,
}

impl Version {
    /// Quantises `shares`, which need not add up to one, and `teach`, the probability that a query teaches. The
    /// `content` is what else makes the version, such as parameters: it goes into the hash.
    pub fn new(
        fleet: u64,
        number: u32,
        seed: u64,
        shape: Shape,
        shares: &[f64],
        teach: f64,
        content: &[u8],
    ) -> Result<Self> {
        shape.check()?;
        let ends = quantise(shares)?;
        if !(teach > 0.0 && teach <= 1.0) {
            return Err(Error::invalid("teach", "a probability above 0 and up to 1", teach.to_string()));
        }
        let teach = (teach < 1.0).then_some((teach * VALUES) as u64);
        if teach == Some(0) {
            return Err(Error::invalid("teach", "a probability of at least 2^-64", "less"));
        }
        let mut version = Version { fleet, number, seed, shape, ends, teach, hash: 0 };
        version.hash = version.hashed(content);
        Ok(version)
    }

    fn hashed(&self, content: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        let Shape { n_qubits, answer_shots, teach_shots, settings } = self.shape;
        hasher.update(&self.fleet.to_le_bytes());
        hasher.update(&self.number.to_le_bytes());
        hasher.update(&self.seed.to_le_bytes());
        for field in [n_qubits, answer_shots, teach_shots, settings] {
            hasher.update(&field.to_le_bytes());
        }
        // A threshold of zero is never kept, so it can mean "always".
        hasher.update(&self.teach.unwrap_or(0).to_le_bytes());
        hasher.update(&(self.entries() as u64).to_le_bytes());
        self.ends.iter().for_each(|end| hasher.update(&end.to_le_bytes()));
        hasher.update(content);
        hasher.finalize()
    }

    /// What the fleet learns, as 64 bits: packets of another fleet are refused.
    pub fn fleet(&self) -> u64 {
        self.fleet
    }

    /// Its number; the next version has the next one.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Where its sequences begin.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// 32 bits of all of it.
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// Qubits and shots.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Number of entries of the roster.
    pub fn entries(&self) -> usize {
        self.ends.len() + 1
    }

    /// The entry whose interval holds a value.
    #[inline]
    pub(crate) fn entry(&self, value: u64) -> usize {
        self.ends.partition_point(|end| *end <= value)
    }

    /// Values of the interval of an entry.
    fn width(&self, entry: usize) -> u128 {
        let end = self.ends.get(entry).map_or(1 << 64, |end| u128::from(*end));
        end - if entry == 0 { 0 } else { u128::from(self.ends[entry - 1]) }
    }

    /// The quantised share of an entry.
    pub fn share(&self, entry: usize) -> f64 {
        self.width(entry) as f64 / VALUES
    }

    /// Below this a query teaches; `None`: every query does.
    #[inline]
    pub(crate) fn threshold(&self) -> Option<u64> {
        self.teach
    }

    /// The quantised probability that a query teaches.
    pub fn teach(&self) -> f64 {
        self.teach.map_or(1.0, |below| below as f64 / VALUES)
    }
}

/// Where the interval of each entry but the last one ends.
fn quantise(shares: &[f64]) -> Result<Vec<u64>> {
    let total: f64 = shares.iter().sum();
    if shares.is_empty() || !total.is_finite() {
        let found = if shares.is_empty() { "none".to_owned() } else { format!("a sum of {total}") };
        return Err(Error::invalid("shares", "at least one positive number, and a finite sum", found));
    }
    let (mut ends, mut sum, mut before) = (Vec::with_capacity(shares.len()), 0.0, 0u128);
    for (e, share) in shares.iter().enumerate() {
        sum += share;
        let last = e + 1 == shares.len();
        let end = if last { 1 << 64 } else { (sum / total * VALUES) as u128 };
        // Not only NaN and negative ones: a share that vanishes beside the others would be divided by.
        if share.is_nan() || *share <= 0.0 || end <= before {
            let expected = "a positive number, at least 2^-52 of their sum";
            return Err(Error::invalid(format!("shares[{e}]"), expected, share.to_string()));
        }
        ends.push(end as u64);
        before = end;
    }
    ends.pop();
    Ok(ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape { n_qubits: 3, answer_shots: 5, teach_shots: 6, settings: 2 };

    fn version(shares: &[f64], teach: f64) -> Result<Version> {
        Version::new(1, 2, 3, SHAPE, shares, teach, b"")
    }

    #[test]
    fn quantised_shares_fill_all_values_and_are_close() {
        let shares: Vec<f64> = (1..=200).map(|i| f64::from(i) * 0.37).collect();
        let (version, total) = (version(&shares, 1.0).unwrap(), shares.iter().sum::<f64>());
        assert_eq!((0..200).map(|e| version.width(e)).sum::<u128>(), 1 << 64);
        for (e, share) in shares.iter().enumerate() {
            assert!((version.share(e) - share / total).abs() < 1e-15, "{e}");
        }
    }

    #[test]
    fn an_entry_owns_the_values_below_its_end() {
        let version = version(&[1.0, 1.0, 2.0], 1.0).unwrap();
        let at = |value: u64| version.entry(value);
        assert_eq!([at(0), at((1 << 62) - 1), at(1 << 62), at(1 << 63), at(u64::MAX)], [0, 0, 1, 2, 2]);
        let one = self::version(&[5.0], 1.0).unwrap();
        assert_eq!((one.entries(), one.share(0), one.entry(u64::MAX)), (1, 1.0, 0));
    }

    #[test]
    fn what_cannot_be_shared_is_refused_by_name() {
        for (shares, name) in [
            (vec![], "shares"),
            (vec![1.0, f64::NAN], "shares"),
            (vec![1.0, 0.0, 1.0], "shares[1]"),
            (vec![2.0, -1.0, 3.0], "shares[1]"),
            (vec![1.0, 1e-30], "shares[1]"),
        ] {
            let error = version(&shares, 1.0).unwrap_err();
            assert_eq!(error.argument(), Some(name), "{error}");
        }
        for teach in [0.0, -0.5, 1.5, f64::NAN, 1e-30] {
            assert_eq!(version(&[1.0], teach).unwrap_err().argument(), Some("teach"));
        }
        let shape = |settings, teach_shots| Shape { settings, teach_shots, ..SHAPE };
        assert_eq!(shape(0, 6).check().unwrap_err().argument(), Some("settings"));
        assert_eq!(shape(4, 6).check().unwrap_err().argument(), Some("teach_shots"));
        let wide = Shape { n_qubits: 65_535, answer_shots: 65_535, ..SHAPE };
        assert_eq!(wide.check().unwrap_err().argument(), Some("shape"));
    }

    #[test]
    fn the_hash_is_of_everything() {
        let make = |fleet, number, seed, shares: &[f64], teach, content: &[u8]| {
            Version::new(fleet, number, seed, SHAPE, shares, teach, content).unwrap().hash()
        };
        let one = make(1, 2, 3, &[1.0, 1.0], 1.0, b"a");
        assert_eq!(one, make(1, 2, 3, &[2.0, 2.0], 1.0, b"a"));
        let others = [
            make(2, 2, 3, &[1.0, 1.0], 1.0, b"a"),
            make(1, 3, 3, &[1.0, 1.0], 1.0, b"a"),
            make(1, 2, 4, &[1.0, 1.0], 1.0, b"a"),
            make(1, 2, 3, &[1.0, 1.1], 1.0, b"a"),
            make(1, 2, 3, &[1.0, 1.0], 0.5, b"a"),
            make(1, 2, 3, &[1.0, 1.0], 1.0, b"b"),
        ];
        assert!(!others.contains(&one));
    }
}
