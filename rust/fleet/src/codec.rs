//! Tallies as bytes: little-endian, versioned, exact length, CRC-32 at the end.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLSUMS\0` |
//! | 8 | format (u32) = 1, parameters M (u32) |
//! | 16 | outputs R (u32), reserved (u32) = 0 |
//! | 24 | queries, shots, queries with a loss, queries with answers (u64 each) |
//! | 56 | M + 1 + R sums (i128), then as many sums of squares |
//! | end - 4 | CRC-32 of everything before |
//!
//! Invariant: the same tally always gives the same bytes, and bytes that are accepted are those of one tally, whose sums
//! some queries may have.
//! Cost: 32 bytes per number; nothing is allocated before the length is known to be right.

use crate::tally::Tally;
use efl_core::{Error, Result};

const MAGIC: [u8; 8] = *b"EFLSUMS\0";
const FORMAT: u32 = 1;
const HEADER: usize = 56;
const TRAILER: usize = 4;

impl Tally {
    /// The tally as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + 32 * self.sum.len() + TRAILER);
        bytes.extend_from_slice(&MAGIC);
        for field in [FORMAT, self.n_parameters as u32, self.n_outputs as u32, 0] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.queries, self.shots, self.losses, self.valued] {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
        for value in self.sum.iter().chain(&self.square) {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads what [`Tally::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (header, rest) =
            bytes.split_first_chunk::<HEADER>().ok_or_else(|| damaged("it ends in its header"))?;
        if header[..8] != MAGIC {
            return Err(damaged("it does not begin with the mark of a tally of a fleet"));
        }
        let (small, large) = (header[8..24].as_chunks::<4>().0, header[24..].as_chunks::<8>().0);
        let [format, n_parameters, n_outputs, reserved] =
            [0, 1, 2, 3].map(|i| u32::from_le_bytes(small[i]) as usize);
        if format > FORMAT as usize {
            let (found, supported) = (format as u32, FORMAT);
            return Err(Error::NewerFormat { what: "tally of a fleet".into(), found, supported });
        }
        let columns = n_parameters + 1 + n_outputs;
        let expected = columns.checked_mul(32).and_then(|bytes| bytes.checked_add(TRAILER));
        if format != FORMAT as usize || reserved != 0 || expected != Some(rest.len()) {
            let found = bytes.len();
            return Err(damaged(format!(
                "{found} bytes do not hold {n_parameters} parameters, {n_outputs} outputs"
            )));
        }
        let (payload, trailer) = bytes.split_at(bytes.len() - TRAILER);
        if crc32fast::hash(payload).to_le_bytes() != trailer {
            return Err(damaged("the checksum does not match (truncated or altered)"));
        }
        let values = rest[..32 * columns].as_chunks::<16>().0;
        let read = |part: &[[u8; 16]]| part.iter().map(|value| i128::from_le_bytes(*value)).collect();
        let [queries, shots, losses, valued] = [0, 1, 2, 3].map(|i| u64::from_le_bytes(large[i]));
        let (sum, square) = (read(&values[..columns]), read(&values[columns..]));
        let tally = Tally { n_parameters, n_outputs, queries, shots, losses, valued, sum, square };
        tally.check()?;
        Ok(tally)
    }

    /// Whether there are queries that give these sums.
    fn check(&self) -> Result<()> {
        let Tally { queries, shots, losses, valued, .. } = *self;
        if losses > queries || valued > queries || (queries == 0) != (shots == 0) || shots < queries {
            let reason =
                format!("{queries} queries have {shots} shots, {losses} losses and {valued} answers");
            return Err(damaged(reason));
        }
        for (i, (sum, square)) in self.sum.iter().zip(&self.square).enumerate() {
            let count = match i.cmp(&self.n_parameters) {
                std::cmp::Ordering::Less => queries,
                std::cmp::Ordering::Equal => losses,
                std::cmp::Ordering::Greater => valued,
            };
            // A square is at least the number in magnitude, and odd when it is odd.
            let odd = (sum ^ square) & 1 == 1;
            // The mean of squares is at least the square of the mean.
            let (mean, squares) = (*sum as f64, *square as f64 * count as f64);
            if odd
                || *square < 0
                || sum.unsigned_abs() > square.unsigned_abs()
                || mean * mean > squares * (1.0 + 1e-9)
            {
                return Err(damaged(format!(
                    "number {i} of {count} queries has sum {sum}, squares {square}"
                )));
            }
        }
        Ok(())
    }
}

fn damaged(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::corrupt("tally of a fleet", reason)
}
