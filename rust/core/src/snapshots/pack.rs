//! From one byte per value to planes, and back.
//!
//! Eight bytes that hold 0 or 1 become eight bits by one multiplication. 64 rows of n values are n such words of
//! bits whatever n is, so they are read as one stream; rows are then cut out of the stream and transposed into
//! planes. Values are checked on the way, at no extra pass.

use super::Snapshots;
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::bits::transpose::transpose_64;
use crate::bits::{room, tail_mask, words_for};
use crate::design::Ensemble;
use crate::error::{Error, Result};

/// Groups of 64 snapshots that one task packs.
const GROUPS_PER_TASK: usize = 512;
const ONES: u64 = 0x0101_0101_0101_0101;

impl Snapshots {
    /// Packs `shots` snapshots from row-major arrays with one byte per value: `bits` 0 or 1 (0 is the eigenvalue
    /// +1), `bases` 0, 1, 2 for X, Y, Z.
    ///
    /// ```
    /// use efl_core::{design::Ensemble, snapshots::Snapshots};
    /// let snaps = Snapshots::from_arrays(&[0, 1, 1, 1], &[0, 1, 2, 2], 2, Ensemble::uniform(2)?)?;
    /// assert_eq!((snaps.len(), snaps.n_qubits()), (2, 2));
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn from_arrays(bits: &[u8], bases: &[u8], shots: usize, ensemble: Ensemble) -> Result<Self> {
        Self::from_arrays_watched(bits, bases, shots, ensemble, &Cancel::new())
    }

    /// [`Snapshots::from_arrays`] that stops when `cancel` is raised.
    pub fn from_arrays_watched(
        bits: &[u8],
        bases: &[u8],
        shots: usize,
        ensemble: Ensemble,
        cancel: &Cancel,
    ) -> Result<Self> {
        let n = ensemble.n_qubits();
        for (name, array) in [("bits", bits), ("bases", bases)] {
            if Some(array.len()) != shots.checked_mul(n) {
                return Err(Error::shape(
                    name,
                    format!("{shots} x {n} values"),
                    format!("{} values", array.len()),
                ));
            }
        }
        let stride = words_for(shots);
        let tasks = stride.div_ceil(GROUPS_PER_TASK);
        let parts = parallel::map(tasks, cancel, |task| {
            let first = task * GROUPS_PER_TASK;
            let groups = GROUPS_PER_TASK.min(stride - first);
            let mut planes = vec![0; 3 * n * groups];
            let (start, end) = (first * 64 * n, ((first + groups) * 64).min(shots) * n);
            let valid = dispatch(Pack {
                bits: &bits[start..end],
                bases: &bases[start..end],
                n,
                groups,
                planes: &mut planes,
            });
            if valid { Ok(planes) } else { Err(first_bad_value(bits, bases, n, start)) }
        })?;
        if let [_] = &parts[..] {
            return Ok(Self::from_planes(ensemble, shots, parts.into_iter().flatten().collect()));
        }
        let mut planes = vec![0; 3 * n * stride];
        for (task, part) in parts.iter().enumerate() {
            let groups = part.len() / (3 * n);
            for (p, strip) in part.chunks_exact(groups).enumerate() {
                planes[p * stride + task * GROUPS_PER_TASK..][..groups].copy_from_slice(strip);
            }
        }
        Ok(Self::from_planes(ensemble, shots, planes))
    }
}

fn first_bad_value(bits: &[u8], bases: &[u8], n: usize, start: usize) -> Error {
    for i in start..bits.len() {
        let place = |name: &str| format!("{name}[{}, {}]", i / n, i % n);
        if bits[i] > 1 {
            return Error::invalid(place("bits"), "0 or 1", bits[i].to_string());
        }
        if bases[i] > 2 {
            return Error::invalid(place("bases"), "0, 1 or 2 for X, Y or Z", bases[i].to_string());
        }
    }
    Error::invalid("bits", "0 or 1", "a value that changed while it was read")
}

struct Pack<'a> {
    bits: &'a [u8],
    bases: &'a [u8],
    n: usize,
    groups: usize,
    /// `planes[(3 * q + k) * groups + group]`.
    planes: &'a mut [u64],
}

/// Bit i of the result is the lowest bit of byte i.
#[inline(always)]
fn gather_bits(bytes: u64) -> u64 {
    (bytes & ONES).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// `width` bits from bit `at` of `stream`, which has a word past them.
#[inline(always)]
fn cut(stream: &[u64], at: usize, mask: u64) -> u64 {
    let (word, bit) = (at / 64, at % 64);
    (stream[word] >> bit | (stream[word + 1] << 1) << (63 - bit)) & mask
}

impl Pack<'_> {
    /// The bits of 64 values: x and z of the letters, and the outcomes. `bad` gathers what is out of range.
    #[inline(always)]
    fn gather(bits: &[u8; 64], bases: &[u8; 64], bad: &mut u64) -> [u64; 3] {
        let (mut x, mut z, mut outcome) = (0, 0, 0);
        for (i, (bit, base)) in bits.as_chunks::<8>().0.iter().zip(bases.as_chunks::<8>().0).enumerate() {
            let (bit, base) = (u64::from_le_bytes(*bit), u64::from_le_bytes(*base));
            let high = base >> 1;
            *bad |= (bit & !ONES) | (base & !(3 * ONES)) | (base & high & ONES);
            outcome |= gather_bits(bit) << (8 * i);
            x |= gather_bits(!high) << (8 * i);
            z |= gather_bits(base | high) << (8 * i);
        }
        [x, z, outcome]
    }
}

impl Kernel for Pack<'_> {
    /// False when some value is out of range.
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Pack { bits, bases, n, groups, planes } = self;
        let mut bad = 0u64;
        let mut streams = [(); 3].map(|()| vec![0u64; n + 1]);
        let mut block = [0u64; 64];
        for (group, (bits, bases)) in bits.chunks(64 * n).zip(bases.chunks(64 * n)).enumerate() {
            let (bit_chunks, bit_rest) = bits.as_chunks::<64>();
            let (base_chunks, base_rest) = bases.as_chunks::<64>();
            for (i, (bit, base)) in bit_chunks.iter().zip(base_chunks).enumerate() {
                let gathered = Self::gather(bit, base, &mut bad);
                streams.iter_mut().zip(gathered).for_each(|(stream, word)| stream[i] = word);
            }
            if !bit_rest.is_empty() {
                let (mut bit, mut base) = ([0; 64], [0; 64]);
                bit[..bit_rest.len()].copy_from_slice(bit_rest);
                base[..base_rest.len()].copy_from_slice(base_rest);
                let gathered = Self::gather(&bit, &base, &mut bad);
                streams.iter_mut().zip(gathered).for_each(|(stream, word)| stream[bit_chunks.len()] = word);
            }
            let rows = bits.len() / n;
            for column in (0..n).step_by(64) {
                let width = 64.min(n - column);
                for (k, stream) in streams.iter().enumerate() {
                    for (row, target) in block[..rows].iter_mut().enumerate() {
                        *target = cut(stream, row * n + column, tail_mask(width, 0));
                    }
                    block[rows..].fill(0);
                    transpose_64(&mut block);
                    for q in 0..width {
                        planes[(3 * (column + q) + k) * groups + group] = block[q];
                    }
                }
            }
        }
        bad == 0
    }
}

/// The snapshots as row-major bytes `(bits, bases)`, the inverse of [`Snapshots::from_arrays`].
pub fn unpack(snaps: &Snapshots, cancel: &Cancel) -> Result<(Vec<u8>, Vec<u8>)> {
    let (n, shots) = (snaps.n_qubits(), snaps.len());
    // Written as it grows: touching half a gigabyte at once could not be interrupted.
    let (mut bits, mut bases) = (room("the bits", shots, n)?, room("the bases", shots, n)?);
    let (mut bit_rows, mut base_rows) = (vec![0; 64 * n], vec![0; 64 * n]);
    for group in 0..words_for(shots) {
        if group.is_multiple_of(64) {
            cancel.check()?;
        }
        let height = 64.min(shots - group * 64);
        for q in 0..n {
            let (x, z) = (snaps.x_plane(q)[group], snaps.z_plane(q)[group]);
            let outcome = snaps.outcome_plane(q)[group];
            for t in 0..height {
                bit_rows[t * n + q] = (outcome >> t & 1) as u8;
                // X = 10, Y = 11, Z = 01 as (x, z): 0 when z is clear, else 1 or 2.
                base_rows[t * n + q] = (z >> t & 1) as u8 * (2 - (x >> t & 1) as u8);
            }
        }
        bits.extend_from_slice(&bit_rows[..height * n]);
        bases.extend_from_slice(&base_rows[..height * n]);
    }
    Ok((bits, bases))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_out_of_range_is_named() {
        let n = 13;
        let shots = 200;
        for (at, value) in [(0, 2u8), (12, 255), (13 * 77 + 4, 7), (13 * 200 - 1, 2)] {
            let mut bits = vec![0; n * shots];
            bits[at] = value;
            let found =
                Snapshots::from_arrays(&bits, &vec![2; n * shots], shots, Ensemble::uniform(n).unwrap());
            let place = format!("bits[{}, {}]: expected 0 or 1, got {}", at / n, at % n, value);
            assert_eq!(found.unwrap_err().to_string(), place);
            let mut bases = vec![0; n * shots];
            bases[at] = value.max(3);
            let found =
                Snapshots::from_arrays(&vec![1; n * shots], &bases, shots, Ensemble::uniform(n).unwrap());
            assert!(found.unwrap_err().to_string().starts_with(&format!("bases[{}, {}]", at / n, at % n)));
        }
    }

    #[test]
    fn sizes_are_checked() {
        let uniform = Ensemble::uniform(3).unwrap();
        assert!(Snapshots::from_arrays(&[0; 6], &[0; 5], 2, uniform.clone()).is_err());
        assert!(Snapshots::from_arrays(&[0; 6], &[0; 6], 3, uniform.clone()).is_err());
        assert!(Snapshots::from_arrays(&[], &[], 0, uniform).unwrap().is_empty());
    }
}
