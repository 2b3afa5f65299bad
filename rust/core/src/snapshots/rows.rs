//! The storage layout: a snapshot is consecutive limbs.
//!
//! Tables of `shots` rows: the outcomes, `limbs(n)` limbs each, and what the setting was. That is two more such
//! tables, x and z of the letters, or an index for each block of the ensemble. What is read from outside is checked
//! before it is trusted: sizes, padding bits, that every qubit has a letter, and that every index exists.
//! Cost: one 64 x 64 transposition per 64 snapshots, 64 qubits and table.

use super::pack::check_settings;
use super::{Provenance, Record, Snapshots};
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::transpose::transpose_64;
use crate::bits::{limbs, tail_mask, zeros};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};

/// T snapshots in the storage layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// x bits of the letters, `shots * limbs(n)` limbs; empty for settings from lists.
    pub x: Vec<u64>,
    /// z bits of the letters; empty for settings from lists.
    pub z: Vec<u64>,
    /// Outcome bits.
    pub outcome: Vec<u64>,
    /// Indices of settings, `shots * blocks`; empty for letters.
    pub settings: Vec<u32>,
}

/// Moves one table between the layouts. `planes` has `limbs(shots)` limbs each, of which every `each`-th from `k`
/// is of this table; `rows` has `shots` rows of `limbs(n)` limbs.
struct Convert<'a> {
    shots: usize,
    n: usize,
    each: usize,
    k: usize,
    planes: &'a mut [u64],
    rows: &'a mut [u64],
    to_rows: bool,
}

impl Kernel for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Convert { shots, n, each, k, planes, rows, to_rows } = self;
        let (stride, per_row) = (limbs(shots), limbs(n));
        let mut block = [0u64; 64];
        for group in 0..stride {
            let height = 64.min(shots - group * 64);
            for column in 0..per_row {
                let width = 64.min(n - column * 64);
                let plane = |q: usize| (each * (column * 64 + q) + k) * stride + group;
                let row = |t: usize| (group * 64 + t) * per_row + column;
                if to_rows {
                    block[width..].fill(0);
                    for q in 0..width {
                        block[q] = planes[plane(q)];
                    }
                    transpose_64(&mut block);
                    for t in 0..height {
                        rows[row(t)] = block[t];
                    }
                } else {
                    block[height..].fill(0);
                    for t in 0..height {
                        block[t] = rows[row(t)];
                    }
                    transpose_64(&mut block);
                    for q in 0..width {
                        planes[plane(q)] = block[q];
                    }
                }
            }
        }
    }
}

/// The planes of rows of outcomes.
pub(super) fn to_planes(mut rows: Vec<u64>, shots: usize, n: usize) -> Result<Vec<u64>> {
    let mut planes = zeros("the snapshots", n, limbs(shots))?;
    dispatch(Convert { shots, n, each: 1, k: 0, planes: &mut planes, rows: &mut rows, to_rows: false });
    Ok(planes)
}

impl Rows {
    /// The snapshots in the storage layout.
    pub fn from_snapshots(snaps: &Snapshots) -> Self {
        let (shots, n) = (snaps.len(), snaps.n_qubits());
        let mut planes = snaps.planes.clone();
        let each = snaps.record.planes();
        let mut tables = vec![vec![0; shots * limbs(n)]; each];
        for (k, rows) in tables.iter_mut().enumerate() {
            dispatch(Convert { shots, n, each, k, planes: &mut planes, rows, to_rows: true });
        }
        let outcome = tables.pop().unwrap_or_default();
        let mut tables = tables.into_iter();
        let mut next = || tables.next().unwrap_or_default();
        Rows { x: next(), z: next(), outcome, settings: snaps.settings().to_vec() }
    }

    /// The snapshots in the counting layout, after every bit has been checked.
    pub fn into_snapshots(
        mut self,
        shots: usize,
        ensemble: Ensemble,
        provenance: Provenance,
    ) -> Result<Snapshots> {
        if ensemble.is_global() {
            let expected = "one of letters or lists (bases of all qubits are kept by addresses)";
            return Err(Error::invalid("ensemble", expected, format!("a {} ensemble", ensemble.kind())));
        }
        let n = ensemble.n_qubits();
        let per_row = limbs(n);
        let blocks = ensemble.block_list().len();
        let lettered = if blocks == 0 { per_row } else { 0 };
        for (name, length, per_row) in [
            ("x", self.x.len(), lettered),
            ("z", self.z.len(), lettered),
            ("outcome", self.outcome.len(), per_row),
            ("setting", self.settings.len(), blocks),
        ] {
            if Some(length) != shots.checked_mul(per_row) {
                return Err(Error::corrupt(
                    format!("column {name}"),
                    format!("expected {shots} rows of {per_row} words, got {length} words"),
                ));
            }
        }
        if blocks > 0 {
            check_settings(&self.settings, &ensemble).map_err(|(t, b, expected, found)| {
                Error::corrupt(
                    "snapshots",
                    format!("row {t} has setting {found} of block {b}, expected {expected}"),
                )
            })?;
        }
        for t in 0..shots {
            for limb in 0..per_row {
                let i = t * per_row + limb;
                let mask = tail_mask(n, limb);
                let letters = if blocks == 0 { self.x[i] | self.z[i] } else { mask };
                if letters != mask || self.outcome[i] & !mask != 0 {
                    let reason = if letters & !mask != 0 || self.outcome[i] & !mask != 0 {
                        format!("row {t} has bits set past qubit {}", n - 1)
                    } else {
                        let q = limb * 64 + (letters ^ mask).trailing_zeros() as usize;
                        format!("row {t} has no letter on qubit {q}")
                    };
                    return Err(Error::corrupt("snapshots", reason));
                }
            }
        }
        let record = match Record::none(&ensemble) {
            Record::Indices { allocated, .. } => Record::Indices { settings: self.settings, allocated },
            other => other,
        };
        let each = record.planes();
        let mut planes = zeros("the snapshots", each * n, limbs(shots))?;
        let tables = [&mut self.x, &mut self.z, &mut self.outcome];
        for (k, rows) in tables.into_iter().skip(3 - each).enumerate() {
            dispatch(Convert { shots, n, each, k, planes: &mut planes, rows, to_rows: false });
        }
        Snapshots::from_planes(ensemble, shots, planes, record).with_provenance(provenance)
    }
}
