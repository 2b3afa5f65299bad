//! From one byte per value to planes, and back.
//!
//! Eight bytes that hold 0 or 1 become eight bits by one multiplication. 64 rows of n values are n such limbs of
//! bits whatever n is, so they are read as one stream; rows are then cut out of the stream and transposed into
//! planes. Values are checked on the way, at no extra pass.

use super::{Record, Snapshots};
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::bits::transpose::transpose_64;
use crate::bits::{limbs, room, tail_mask, zeros};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};

/// Groups of 64 snapshots that one task packs.
const GROUPS_PER_TASK: usize = 512;
const ONES: u64 = 0x0101_0101_0101_0101;

impl Snapshots {
    /// Packs `shots` snapshots from row-major arrays with one byte per value: `bits` 0 or 1 (0 is the eigenvalue
    /// +1), `bases` 0, 1, 2 for X, Y, Z.
    ///
    /// ```
    /// use efl_core::{ensemble::Ensemble, snapshots::Snapshots};
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
        if Record::none(&ensemble) != Record::Letters {
            return Err(Error::invalid(
                "ensemble",
                "one that draws settings letter by letter (from_settings takes indices of settings)",
                format!("a {} ensemble", ensemble.kind()),
            ));
        }
        let n = ensemble.n_qubits();
        check_table("bits", bits.len(), shots, n)?;
        check_table("bases", bases.len(), shots, n)?;
        let planes = pack::<3>(bits, bases, shots, n, cancel)?;
        Ok(Self::from_planes(ensemble, shots, planes, Record::Letters))
    }

    /// Packs `shots` snapshots of settings drawn from lists: `bits` row-major with one byte per value, 0 or 1, and
    /// for each snapshot the indices of the settings of all blocks, `setting_index[t * blocks + b]`. Bits are in the order
    /// of the qubits, whatever their block.
    ///
    /// ```
    /// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, stabiliser::Setting, snapshots::Snapshots};
    /// let list = Ensemble::settings(vec![Setting::product("XZ")?, Setting::product("YY")?], vec![0.5, 0.5])?;
    /// let snaps = Snapshots::from_settings(&[0, 1, 1, 1, 0, 0], &[1, 0, 1], 3, list, &Cancel::new())?;
    /// assert_eq!((snaps.len(), snaps.settings()), (3, [1, 0, 1].as_slice()));
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn from_settings(
        bits: &[u8],
        setting_index: &[u32],
        shots: usize,
        ensemble: Ensemble,
        cancel: &Cancel,
    ) -> Result<Self> {
        let (n, blocks) = (ensemble.n_qubits(), ensemble.block_list().len());
        if blocks == 0 {
            return Err(Error::invalid(
                "ensemble",
                "one that draws settings from lists (from_arrays takes letters)",
                format!("a {} ensemble", ensemble.kind()),
            ));
        }
        check_table("bits", bits.len(), shots, n)?;
        check_table("setting_index", setting_index.len(), shots, blocks)?;
        check_settings(setting_index, &ensemble).map_err(|(t, b, expected, found)| {
            Error::invalid(format!("setting_index[{t}, {b}]"), expected, found)
        })?;
        let planes = pack_bits(bits, shots, n, cancel)?;
        let record = Record::Indices { settings: setting_index.to_vec(), allocated: false };
        Ok(Self::from_planes(ensemble, shots, planes, record))
    }
}

/// The outcome planes of a table of bits.
pub(super) fn pack_bits(bits: &[u8], shots: usize, n: usize, cancel: &Cancel) -> Result<Vec<u64>> {
    check_table("bits", bits.len(), shots, n)?;
    pack::<1>(bits, &[], shots, n, cancel)
}

fn check_table(name: &'static str, found: usize, shots: usize, columns: usize) -> Result<()> {
    if Some(found) == shots.checked_mul(columns) {
        return Ok(());
    }
    Err(Error::shape(name, format!("{shots} x {columns} values"), format!("{found} values")))
}

/// Finds the first index that is not one of its block's settings: snapshot, block, expected, found.
pub(super) fn check_settings(
    settings: &[u32],
    ensemble: &Ensemble,
) -> std::result::Result<(), (usize, usize, String, String)> {
    let limits: Vec<u32> = ensemble.block_list().iter().map(|block| block.settings().len() as u32).collect();
    for (t, row) in settings.chunks_exact(limits.len()).enumerate() {
        if let Some(b) = row.iter().zip(&limits).position(|(f, limit)| f >= limit) {
            return Err((t, b, format!("0 to {}, an index of a setting", limits[b] - 1), row[b].to_string()));
        }
    }
    Ok(())
}

/// The planes of the outcomes (one table), or of letters and outcomes (three).
fn pack<const TABLES: usize>(
    bits: &[u8],
    bases: &[u8],
    shots: usize,
    n: usize,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    let stride = limbs(shots);
    let parts = parallel::map(stride.div_ceil(GROUPS_PER_TASK), cancel, |task| {
        let first = task * GROUPS_PER_TASK;
        let groups = GROUPS_PER_TASK.min(stride - first);
        let mut planes = zeros("the snapshots", TABLES * n, groups)?;
        let (start, end) = (first * 64 * n, ((first + groups) * 64).min(shots) * n);
        let bases = if TABLES == 3 { &bases[start..end] } else { &[] };
        let work = Pack::<TABLES> { bits: &bits[start..end], bases, n, groups, planes: &mut planes };
        if dispatch(work) { Ok(planes) } else { Err(first_bad_value(&bits[start..], bases, n, first * 64)) }
    })?;
    let mut parts = parts;
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut planes = zeros("the snapshots", TABLES * n, stride)?;
    for (task, part) in parts.iter().enumerate() {
        let groups = part.len() / (TABLES * n);
        for (p, strip) in part.chunks_exact(groups).enumerate() {
            planes[p * stride + task * GROUPS_PER_TASK..][..groups].copy_from_slice(strip);
        }
    }
    Ok(planes)
}

/// The first value out of range of tables that begin at snapshot `start`.
fn first_bad_value(bits: &[u8], bases: &[u8], n: usize, start: usize) -> Error {
    for i in 0..bits.len() {
        let place = |name: &str| format!("{name}[{}, {}]", start + i / n, i % n);
        if bits[i] > 1 {
            return Error::invalid(place("bits"), "0 or 1", bits[i].to_string());
        }
        if let Some(&base) = bases.get(i)
            && base > 2
        {
            return Error::invalid(place("bases"), "0, 1 or 2 for X, Y or Z", base.to_string());
        }
    }
    Error::invalid("bits", "0 or 1", "a value that changed while it was read")
}

struct Pack<'a, const TABLES: usize> {
    bits: &'a [u8],
    /// Empty if there is one table.
    bases: &'a [u8],
    n: usize,
    groups: usize,
    /// `planes[(TABLES * q + k) * groups + group]`.
    planes: &'a mut [u64],
}

/// Bit i of the result is the lowest bit of byte i.
#[inline(always)]
fn gather_bits(bytes: u64) -> u64 {
    (bytes & ONES).wrapping_mul(0x0102_0408_1020_4080) >> 56
}

/// `width` bits from bit `at` of `stream`, which has a limb past them.
#[inline(always)]
fn cut(stream: &[u64], at: usize, mask: u64) -> u64 {
    let (limb, bit) = (at / 64, at % 64);
    (stream[limb] >> bit | (stream[limb + 1] << 1) << (63 - bit)) & mask
}

/// The outcomes of 64 values. `bad` gathers what is out of range.
#[inline(always)]
fn gather_outcomes(bits: &[u8; 64], bad: &mut u64) -> u64 {
    bits.as_chunks::<8>().0.iter().enumerate().fold(0, |outcome, (i, bit)| {
        let bit = u64::from_le_bytes(*bit);
        *bad |= bit & !ONES;
        outcome | gather_bits(bit) << (8 * i)
    })
}

/// The letters of 64 values as x and z bits.
#[inline(always)]
fn gather_letters(bases: &[u8; 64], bad: &mut u64) -> [u64; 2] {
    let (mut x, mut z) = (0, 0);
    for (i, base) in bases.as_chunks::<8>().0.iter().enumerate() {
        let base = u64::from_le_bytes(*base);
        let high = base >> 1;
        *bad |= (base & !(3 * ONES)) | (base & high & ONES);
        x |= gather_bits(!high) << (8 * i);
        z |= gather_bits(base | high) << (8 * i);
    }
    [x, z]
}

impl<const TABLES: usize> Kernel for Pack<'_, TABLES> {
    /// False when some value is out of range.
    type Output = bool;

    #[inline(always)]
    fn run(self) -> bool {
        let Pack { bits, bases, n, groups, planes } = self;
        let mut bad = 0u64;
        let mut streams = [(); TABLES].map(|()| vec![0u64; n + 1]);
        let mut block = [0u64; 64];
        for (group, bits) in bits.chunks(64 * n).enumerate() {
            let (chunks, rest) = bits.as_chunks::<64>();
            let last = &mut streams[TABLES - 1];
            for (limb, bit) in last.iter_mut().zip(chunks) {
                *limb = gather_outcomes(bit, &mut bad);
            }
            if !rest.is_empty() {
                let mut bit = [0; 64];
                bit[..rest.len()].copy_from_slice(rest);
                last[chunks.len()] = gather_outcomes(&bit, &mut bad);
            }
            if let [x, z, _] = &mut streams[..] {
                let (chunks, rest) = bases[group * 64 * n..][..bits.len()].as_chunks::<64>();
                for (i, base) in chunks.iter().enumerate() {
                    [x[i], z[i]] = gather_letters(base, &mut bad);
                }
                if !rest.is_empty() {
                    let mut base = [0; 64];
                    base[..rest.len()].copy_from_slice(rest);
                    [x[chunks.len()], z[chunks.len()]] = gather_letters(&base, &mut bad);
                }
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
                        planes[(TABLES * (column + q) + k) * groups + group] = block[q];
                    }
                }
            }
        }
        bad == 0
    }
}

/// The snapshots as row-major bytes `(bits, bases)`, the inverse of [`Snapshots::from_arrays`]. Settings drawn from
/// lists have no bases: those are empty, and [`Snapshots::settings`] has the indices. Bits of twirled bases are those that
/// were read.
pub fn unpack(snaps: &Snapshots, cancel: &Cancel) -> Result<(Vec<u8>, Vec<u8>)> {
    let (n, shots) = (snaps.n_qubits(), snaps.len());
    let letters = snaps.record == Record::Letters;
    // Written as it grows: touching half a gigabyte at once could not be interrupted.
    let (mut bits, mut bases) =
        (room("the bits", shots, n)?, room("the bases", if letters { shots } else { 0 }, n)?);
    let (mut bit_rows, mut base_rows) = (vec![0; 64 * n], vec![0; 64 * n]);
    for group in 0..limbs(shots) {
        if group.is_multiple_of(64) {
            cancel.check()?;
        }
        let height = 64.min(shots - group * 64);
        for q in 0..n {
            let outcome = snaps.outcome_plane(q)[group];
            for t in 0..height {
                bit_rows[t * n + q] = (outcome >> t & 1) as u8;
            }
            if letters {
                let [x, z] = snaps.letter_planes(q).map(|plane| plane[group]);
                for t in 0..height {
                    // X = 10, Y = 11, Z = 01 as (x, z): 0 when z is clear, else 1 or 2.
                    base_rows[t * n + q] = (z >> t & 1) as u8 * (2 - (x >> t & 1) as u8);
                }
            }
        }
        bits.extend_from_slice(&bit_rows[..height * n]);
        if letters {
            bases.extend_from_slice(&base_rows[..height * n]);
        }
    }
    if snaps.ensemble.is_twirled() {
        bits = snaps.twirled(&bits, cancel)?;
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
