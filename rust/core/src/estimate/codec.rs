//! Tallies as bytes: little-endian, versioned, exact length, CRC-32 at the end.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLTALLY` |
//! | 8 | format (u32), ensemble kind (u32: 0 uniform, 1 biased) |
//! | 16 | qubits, words, buckets (u64 each) |
//! | 40 | letter probabilities, `qubits * 3` f64, if biased |
//! | | x rows, z rows of the words; shots of the buckets; `[revealed, minus]` per bucket and word (u64 each) |
//! | end - 4 | CRC-32 of everything before |
//!
//! The same tally always gives the same bytes. Nothing is trusted on the way in: the length is checked against
//! the header before anything is allocated, and counts must satisfy `minus <= revealed <= shots`.

use super::Tally;
use crate::bits::words_for;
use crate::design::Ensemble;
use crate::error::{Error, Result};
use crate::pauli::Words;

const MAGIC: &[u8; 8] = b"EFLTALLY";
/// Newest format written and read.
pub const FORMAT: u32 = 1;
const HEADER: usize = 40;

impl Tally {
    /// The tally as bytes; see the module documentation for the layout.
    pub fn to_bytes(&self) -> Vec<u8> {
        let n = self.words.n_qubits();
        let biased = self.ensemble.kind() == "biased";
        let mut bytes = Vec::new();
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&u32::from(biased).to_le_bytes());
        let mut put = |value: u64| bytes.extend_from_slice(&value.to_le_bytes());
        [n, self.words.len(), self.shots.len()].into_iter().for_each(|v| put(v as u64));
        if biased {
            (0..n).flat_map(|q| self.ensemble.letter_probabilities(q)).for_each(|p| put(p.to_bits()));
        }
        self.words.x_rows().iter().chain(self.words.z_rows()).for_each(|&v| put(v));
        self.shots.iter().for_each(|&v| put(v));
        self.counts.iter().flatten().for_each(|&v| put(v));
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Tally::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let damaged = |reason: String| Error::corrupt("tally", reason);
        if bytes.len() < HEADER + 4 {
            return Err(damaged(format!("{} bytes are too few", bytes.len())));
        }
        if &bytes[..8] != MAGIC {
            return Err(damaged("it does not begin with the mark of a tally".to_owned()));
        }
        let u32_at = |at: usize| bytes[at..at + 4].iter().rev().fold(0, |v, &b| v << 8 | u32::from(b));
        let u64_at = |at: usize| bytes[at..at + 8].iter().rev().fold(0, |v, &b| v << 8 | u64::from(b));
        if u32_at(8) > FORMAT {
            return Err(Error::NewerFormat { what: "tally".into(), found: u32_at(8), supported: FORMAT });
        }
        let body = bytes.len() - 4;
        if crc32fast::hash(&bytes[..body]) != u32_at(body) {
            return Err(damaged("the checksum does not match (truncated or altered)".to_owned()));
        }
        let kind = u32_at(12);
        if u32_at(8) == 0 || kind > 1 {
            return Err(damaged(format!("format {} with ensemble {kind} does not exist", u32_at(8))));
        }
        let [n, count, buckets] = [16, 24, 32].map(|at| u64_at(at) as usize);
        let expected = || {
            let row = words_for(n);
            let probabilities = if kind == 1 { n.checked_mul(3)? } else { 0 };
            let words = count.checked_mul(row)?.checked_mul(2)?;
            let counts = buckets.checked_mul(count)?.checked_mul(2)?;
            let total = probabilities.checked_add(words)?.checked_add(buckets)?.checked_add(counts)?;
            total.checked_mul(8)?.checked_add(HEADER)
        };
        if n == 0 || buckets == 0 || expected() != Some(body) {
            return Err(damaged(format!(
                "{body} bytes do not hold {count} words of {n} qubits in {buckets} buckets"
            )));
        }
        let mut at = HEADER;
        let mut take = |count: usize| -> Vec<u64> {
            let values = (0..count).map(|i| u64_at(at + 8 * i)).collect();
            at += 8 * count;
            values
        };
        let ensemble = if kind == 1 {
            let values = take(3 * n);
            let rows = values.as_chunks::<3>().0.iter().map(|row| row.map(f64::from_bits));
            Ensemble::biased(rows.collect())
        } else {
            Ensemble::uniform(n)
        };
        let ensemble = ensemble.map_err(|e| damaged(e.to_string()))?;
        let (x, z) = (take(count * words_for(n)), take(count * words_for(n)));
        let words = Words::from_rows(n, x, z).map_err(|e| damaged(e.to_string()))?;
        let shots = take(buckets);
        let counts: Vec<[u64; 2]> = take(2 * buckets * count).as_chunks::<2>().0.to_vec();
        if shots.iter().try_fold(0u64, |sum, &s| sum.checked_add(s)).is_none_or(|total| total >= 1 << 63) {
            return Err(damaged("it claims more than 2^63 snapshots".to_owned()));
        }
        for (i, &[revealed, minus]) in counts.iter().enumerate() {
            if minus > revealed || revealed > shots[i / count] {
                return Err(damaged(format!(
                    "word {} of bucket {} has {minus} minus of {revealed} revealed of {} shots",
                    i % count,
                    i / count,
                    shots[i / count]
                )));
            }
        }
        Ok(Tally { words, ensemble, shots, counts })
    }
}
