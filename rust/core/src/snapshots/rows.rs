//! The storage layout: a snapshot is consecutive words.
//!
//! Three tables (x, z, outcome) of `shots` rows of `words_for(n)` words. What is read from outside is checked
//! before it is trusted: sizes, padding bits, and that every qubit has a letter.
//! Cost: one 64 x 64 transposition per 64 snapshots, 64 qubits and table.

use super::{Provenance, Snapshots};
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::transpose::transpose_64;
use crate::bits::{tail_mask, words_for};
use crate::design::Ensemble;
use crate::error::{Error, Result};

/// T snapshots in the storage layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// x bits of the letters, `shots * words_for(n)` words.
    pub x: Vec<u64>,
    /// z bits of the letters.
    pub z: Vec<u64>,
    /// Outcome bits.
    pub outcome: Vec<u64>,
}

/// Moves one table between the layouts. `planes` has `count` planes of `words_for(shots)` words, every third of
/// `all` from `k`; `rows` has `shots` rows of `words_for(n)` words.
struct Convert<'a> {
    shots: usize,
    n: usize,
    k: usize,
    planes: &'a mut [u64],
    rows: &'a mut [u64],
    to_rows: bool,
}

impl Kernel for Convert<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Convert { shots, n, k, planes, rows, to_rows } = self;
        let (stride, per_row) = (words_for(shots), words_for(n));
        let mut block = [0u64; 64];
        for group in 0..stride {
            let height = 64.min(shots - group * 64);
            for column in 0..per_row {
                let width = 64.min(n - column * 64);
                let plane = |q: usize| (3 * (column * 64 + q) + k) * stride + group;
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

impl Rows {
    /// The snapshots in the storage layout.
    pub fn from_snapshots(snaps: &Snapshots) -> Self {
        let (shots, n) = (snaps.len(), snaps.n_qubits());
        let mut planes = snaps.planes.clone();
        let mut tables = [(); 3].map(|()| vec![0; shots * words_for(n)]);
        for (k, rows) in tables.iter_mut().enumerate() {
            dispatch(Convert { shots, n, k, planes: &mut planes, rows, to_rows: true });
        }
        let [x, z, outcome] = tables;
        Rows { x, z, outcome }
    }

    /// The snapshots in the counting layout, after every bit has been checked.
    pub fn into_snapshots(
        mut self,
        shots: usize,
        ensemble: Ensemble,
        provenance: Provenance,
    ) -> Result<Snapshots> {
        let n = ensemble.n_qubits();
        let per_row = words_for(n);
        for (name, table) in [("x", &self.x), ("z", &self.z), ("outcome", &self.outcome)] {
            if Some(table.len()) != shots.checked_mul(per_row) {
                return Err(Error::corrupt(
                    format!("column {name}"),
                    format!("expected {shots} rows of {per_row} words, got {} words", table.len()),
                ));
            }
        }
        for t in 0..shots {
            for word in 0..per_row {
                let i = t * per_row + word;
                let (letters, mask) = (self.x[i] | self.z[i], tail_mask(n, word));
                if letters != mask || self.outcome[i] & !mask != 0 {
                    let reason = if letters & !mask != 0 || self.outcome[i] & !mask != 0 {
                        format!("row {t} has bits set past qubit {}", n - 1)
                    } else {
                        let q = word * 64 + (letters ^ mask).trailing_zeros() as usize;
                        format!("row {t} has no letter on qubit {q}")
                    };
                    return Err(Error::corrupt("snapshots", reason));
                }
            }
        }
        let mut planes = vec![0; 3 * n * words_for(shots)];
        for (k, rows) in [&mut self.x, &mut self.z, &mut self.outcome].into_iter().enumerate() {
            dispatch(Convert { shots, n, k, planes: &mut planes, rows, to_rows: false });
        }
        Snapshots::from_planes(ensemble, shots, planes).with_provenance(provenance)
    }
}
