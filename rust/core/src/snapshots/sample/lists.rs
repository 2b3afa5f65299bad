//! Settings that are drawn from lists, block by block.
//!
//! A tree again: a node holds the state conditioned on the blocks measured so far, unnormalised and without their qubits,
//! and the snapshots that share this past. For every setting of the next block that one of them has, the state is
//! rotated once, and its parts (one for each outcome of the block) are weighed, drawn from, and are the children's
//! states. An ensemble of one block is a tree of depth one: each setting rotates the state once.
//!
//! Cost: per node, its vector times the gates of each setting met; a binary search per snapshot and block. Memory: two
//! state vectors per thread, and 24 bytes per snapshot of a batch of 2^22.

use super::put_outcomes;
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{philox, unit_interval};
use crate::bits::{limbs, room, zeros};
use crate::ensemble::Block;
use crate::error::Result;
use crate::gates::Clifford;
use crate::gates::CliffordGate;
use crate::state::{StateVector, apply};
use num_complex::Complex64;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stream of the key, so that sampling shares no random number with other uses of a seed.
const STREAM: u64 = u64::from_le_bytes(*b"settings");
/// Snapshots that are sorted and measured together.
const BATCH: usize = 1 << 22;
/// Snapshots of one setting that one task measures, unless the state is larger.
const SHARE: usize = 1 << 15;
/// Snapshots that one task draws settings for.
const CHUNK: usize = 1 << 14;

/// The random numbers of a snapshot and block: for the setting, and for the outcome.
#[inline]
fn random(seed: u64, t: u64, block: usize) -> [f64; 2] {
    let [setting, outcome, _, _] = philox([seed, STREAM], [t, block as u64, 0, 0]);
    [unit_interval(setting), unit_interval(outcome)]
}

/// The settings of `shots` snapshots, `settings[t * blocks + b]`.
pub(super) fn draw(blocks: &[Block], shots: usize, seed: u64, cancel: &Cancel) -> Result<Vec<u32>> {
    let edges = all_edges(blocks);
    let mut settings = room("the snapshots", shots, blocks.len())?;
    let parts = parallel::map(shots.div_ceil(CHUNK), cancel, |chunk| {
        let snapshots = chunk * CHUNK..((chunk + 1) * CHUNK).min(shots);
        Ok(snapshots.flat_map(|t| drawn(&edges, seed, t as u64)).collect::<Vec<u32>>())
    })?;
    parts.iter().for_each(|part| settings.extend_from_slice(part));
    Ok(settings)
}

/// The [`edges`] of every block.
pub(super) fn all_edges(blocks: &[Block]) -> Vec<Vec<f64>> {
    blocks.iter().map(|block| edges(block.probabilities())).collect()
}

/// The setting of every block for snapshot `t`.
pub(super) fn drawn(edges: &[Vec<f64>], seed: u64, t: u64) -> impl Iterator<Item = u32> {
    edges.iter().enumerate().map(move |(b, edges)| {
        let [u, _] = random(seed, t, b);
        edges.partition_point(|&edge| edge <= u) as u32
    })
}

/// Upper edges of the shares of [0, 1) that weights get; from the last positive one on, infinity, so that rounding never
/// chooses a weight of zero.
fn edges(weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
    let mut sum = 0.0;
    let edge = |(i, w): (usize, &f64)| {
        sum += w;
        if i < last { sum / total } else { f64::INFINITY }
    };
    weights.iter().enumerate().map(edge).collect()
}

/// The outcome planes of snapshots with these settings.
pub(super) fn planes(
    state: &StateVector<'_>,
    blocks: &[Block],
    settings: &[u32],
    seed: u64,
    cancel: &Cancel,
) -> Result<Vec<u64>> {
    let (n, shots) = (state.n_qubits(), settings.len() / blocks.len());
    let tree = Tree {
        seed,
        matrices: Clifford::ALL.map(Clifford::matrix).into(),
        gates: blocks.iter().map(|block| block.settings().iter().map(|s| s.gates()).collect()).collect(),
        blocks,
        settings,
        state: in_block_order(state, blocks),
        cancel,
    };
    let stride = limbs(shots);
    let mut planes = zeros("the snapshots", n, stride)?;
    for first in (0..shots).step_by(BATCH) {
        let outcomes = tree.run(first..(first + BATCH).min(shots))?;
        put_outcomes(&outcomes, n, first / 64, |q| q * stride, &mut planes);
    }
    Ok(planes)
}

/// The amplitudes with the qubits of the first block most significant, then those of the second, and so on.
fn in_block_order<'s>(state: &StateVector<'s>, blocks: &[Block]) -> Cow<'s, [Complex64]> {
    let (n, amplitudes) = (state.n_qubits(), state.amplitudes());
    let order: Vec<usize> = blocks.iter().flat_map(|block| block.qubits()).copied().collect();
    if order.is_sorted() {
        return Cow::Borrowed(amplitudes);
    }
    let place = |i: usize| {
        order.iter().enumerate().fold(0, |old, (j, q)| old | (i >> (n - 1 - j) & 1) << (n - 1 - q))
    };
    (0..amplitudes.len()).map(|i| amplitudes[place(i)]).collect()
}

struct Tree<'a> {
    seed: u64,
    /// Of each Clifford gate, in the order of its declaration.
    matrices: Vec<Vec<Complex64>>,
    /// Of each block and setting.
    gates: Vec<Vec<Vec<CliffordGate>>>,
    blocks: &'a [Block],
    settings: &'a [u32],
    state: Cow<'a, [Complex64]>,
    cancel: &'a Cancel,
}

/// Snapshots with the same past. `scratch` is twice as long as `vector`.
struct Node<'v> {
    /// First snapshot of the batch.
    first: usize,
    outcomes: &'v [AtomicU64],
    block: usize,
    /// The state of the qubits that are left.
    vector: &'v [Complex64],
    /// Outcomes so far, bit `q` of qubit `q`.
    path: u64,
    /// What is to be sorted by in the high half, a snapshot of the batch in the low half.
    shots: &'v mut [u64],
    scratch: &'v mut [Complex64],
}

/// The snapshot of an entry.
fn snapshot(entry: u64) -> usize {
    (entry & u64::from(u32::MAX)) as usize
}

/// Ranges of entries with one high half.
fn runs(shots: &[u64]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    shots.chunk_by(|a, b| a >> 32 == b >> 32).map(move |run| {
        start += run.len();
        start - run.len()..start
    })
}

impl Tree<'_> {
    fn run(&self, batch: Range<usize>) -> Result<Vec<AtomicU64>> {
        let outcomes: Vec<AtomicU64> = batch.clone().map(|_| AtomicU64::new(0)).collect();
        let mut shots: Vec<u64> = (0..batch.len() as u64).collect();
        self.sort_by_setting(batch.start, 0, &mut shots);
        let share = SHARE.max(self.state.len());
        let tasks: Vec<&[u64]> = runs(&shots).flat_map(|run| shots[run].chunks(share)).collect();
        parallel::map(tasks.len(), self.cancel, |task| {
            let mut scratch = vec![Complex64::default(); 2 * self.state.len()];
            self.measure(Node {
                first: batch.start,
                outcomes: &outcomes,
                block: 0,
                vector: &self.state,
                path: 0,
                shots: &mut tasks[task].to_vec(),
                scratch: &mut scratch,
            })
        })?;
        Ok(outcomes)
    }

    fn sort_by_setting(&self, first: usize, block: usize, shots: &mut [u64]) {
        for entry in shots.iter_mut() {
            let t = snapshot(*entry);
            let setting = self.settings[(first + t) * self.blocks.len() + block];
            *entry = u64::from(setting) << 32 | t as u64;
        }
        shots.sort_unstable();
    }

    /// Measures the blocks from `node.block` on; the entries are sorted by the setting of that block.
    fn measure(&self, node: Node<'_>) -> Result<()> {
        let Node { first, outcomes, block, vector, path, shots, scratch } = node;
        self.cancel.check()?;
        let qubits = self.blocks[block].qubits();
        let k = qubits.len();
        let (rotated, deeper) = scratch.split_at_mut(vector.len());
        let part = vector.len() >> k;
        let spread = |outcome: usize| {
            qubits.iter().enumerate().fold(path, |p, (j, q)| p | ((outcome >> (k - 1 - j) & 1) as u64) << q)
        };
        let settings: Vec<Range<usize>> = runs(shots).collect();
        for run in settings {
            let shots = &mut shots[run];
            rotated.copy_from_slice(vector);
            for gate in &self.gates[block][(shots[0] >> 32) as usize] {
                apply(&self.matrices[gate.clifford() as usize], gate.wires(), rotated, self.cancel)?;
            }
            let weights: Vec<f64> =
                rotated.chunks_exact(part).map(|c| c.iter().map(Complex64::norm_sqr).sum()).collect();
            let edges = edges(&weights);
            for entry in shots.iter_mut() {
                let t = snapshot(*entry);
                let [_, u] = random(self.seed, (first + t) as u64, block);
                let outcome = edges.partition_point(|&edge| edge <= u);
                *entry = (outcome as u64) << 32 | t as u64;
            }
            if block + 1 == self.blocks.len() {
                for &entry in shots.iter() {
                    outcomes[snapshot(entry)].store(spread((entry >> 32) as usize), Ordering::Relaxed);
                }
                continue;
            }
            shots.sort_unstable();
            let results: Vec<Range<usize>> = runs(shots).collect();
            for run in results {
                let shots = &mut shots[run];
                let outcome = (shots[0] >> 32) as usize;
                self.sort_by_setting(first, block + 1, shots);
                self.measure(Node {
                    first,
                    outcomes,
                    block: block + 1,
                    vector: &rotated[outcome * part..][..part],
                    path: spread(outcome),
                    shots,
                    scratch: deeper,
                })?;
            }
        }
        Ok(())
    }
}
