//! The spread of sums over the snapshots: what their standard errors need.
//!
//! Words of a sum are estimated from the same snapshots, so their errors are correlated and the counts of single
//! words do not say how much. Here each sum is evaluated snapshot by snapshot (only the revealed words contribute,
//! so this is a scatter over set bits) and its squared deviation from the mean is added up. Pairs of words are
//! never formed.
//!
//! Invariant: blocks and groups are fixed by the input and reduced in order, so the bits of the result do not
//! depend on the number of threads.
//! Cost: the walk of the words, plus about 2 ns for every snapshot, sum and word revealed.

use super::prefix::{self, BLOCK, Planes, PrefixTree, Scratch, Visit};
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::error::Result;
use crate::pauli::Words;
use crate::snapshots::Snapshots;
use std::ops::Range;

/// Sums whose values of a block are in memory together: 8 x 8,192 x 8 bytes, within a second-level cache.
const GROUP: usize = 8;
/// Blocks of one task.
const BLOCKS_PER_TASK: usize = 8;

/// A random variable of a snapshot: the sum, over the words it reveals, of `offset + sign * slope`.
pub(super) struct Variable {
    /// Index into the word list, slope and offset of every word (none of them the identity).
    pub(super) terms: Vec<(u32, f64, f64)>,
    /// What the squared deviations are taken from.
    pub(super) center: f64,
}

/// `sum_t (value_t - center)^2` for every variable.
pub(super) fn squared_deviations(
    snaps: &Snapshots,
    words: &Words,
    variables: &[Variable],
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let mut totals = Vec::with_capacity(variables.len());
    let blocks: Vec<Range<usize>> = prefix::blocks(0..snaps.len()).collect();
    for group in variables.chunks(GROUP) {
        let mut needed = Words::new(words.n_qubits());
        let mut uses = Vec::new();
        for (local, variable) in group.iter().enumerate() {
            for &(word, slope, offset) in &variable.terms {
                needed.push(words.get(word as usize))?;
                uses.push((local as u32, slope, offset));
            }
        }
        let (tree, slot_of) = PrefixTree::build(&needed, 0..needed.len());
        let mut starts = vec![0usize; tree.slots() + 1];
        slot_of.iter().flatten().for_each(|&slot| starts[slot as usize + 1] += 1);
        (0..tree.slots()).for_each(|slot| starts[slot + 1] += starts[slot]);
        let mut next = starts.clone();
        let mut sorted = vec![(0, 0.0, 0.0); uses.len()];
        for (slot, used) in slot_of.iter().zip(uses) {
            if let Some(slot) = slot {
                sorted[next[*slot as usize]] = used;
                next[*slot as usize] += 1;
            }
        }
        let parts = parallel::map(blocks.len().div_ceil(BLOCKS_PER_TASK), cancel, |task| {
            let blocks = &blocks[task * BLOCKS_PER_TASK..((task + 1) * BLOCKS_PER_TASK).min(blocks.len())];
            dispatch(Spread { snaps, tree: &tree, group, starts: &starts, uses: &sorted, blocks, cancel })
        })?;
        let zero = vec![0.0; group.len()];
        totals.extend(parts.iter().flatten().fold(zero, |mut total, block: &Vec<f64>| {
            total.iter_mut().zip(block).for_each(|(t, b)| *t += b);
            total
        }));
    }
    Ok(totals)
}

struct Spread<'a> {
    snaps: &'a Snapshots,
    tree: &'a PrefixTree,
    group: &'a [Variable],
    starts: &'a [usize],
    uses: &'a [(u32, f64, f64)],
    blocks: &'a [Range<usize>],
    cancel: &'a Cancel,
}

struct Scatter<'a> {
    starts: &'a [usize],
    uses: &'a [(u32, f64, f64)],
    /// `values[variable * 64 * BLOCK + snapshot]`.
    values: Vec<f64>,
}

impl Visit for Scatter<'_> {
    #[inline(always)]
    fn visit<const L: usize, P: Planes<L>>(&mut self, slot: usize, planes: P) {
        for &(local, slope, offset) in &self.uses[self.starts[slot]..self.starts[slot + 1]] {
            let (plus, minus) = (offset + slope, offset - slope);
            let values = &mut self.values[local as usize * 64 * BLOCK..][..64 * BLOCK];
            for (i, values) in values.chunks_exact_mut(64).take(L).enumerate() {
                let (mut hit, negative) = planes.at(i);
                while hit != 0 {
                    let t = hit.trailing_zeros() as usize;
                    values[t] += if negative >> t & 1 == 0 { plus } else { minus };
                    hit &= hit - 1;
                }
            }
        }
    }
}

impl Kernel for Spread<'_> {
    /// For each block, the squared deviations of each variable.
    type Output = Result<Vec<Vec<f64>>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Spread { snaps, tree, group, starts, uses, blocks, cancel } = self;
        let mut scratch = Scratch::new(tree);
        let mut scatter = Scatter { starts, uses, values: vec![0.0; group.len() * 64 * BLOCK] };
        let mut results = Vec::with_capacity(blocks.len());
        for block in blocks {
            cancel.check()?;
            scatter.values.fill(0.0);
            prefix::walk(tree, snaps, block.clone(), &mut scratch, &mut scatter);
            let all = scatter.values.chunks_exact(64 * BLOCK);
            results.push(
                all.zip(group)
                    .map(|(values, variable)| {
                        // Eight sums side by side: a fixed order that vectorises.
                        let mut lanes = [0.0; 8];
                        let (eights, rest) = values[..block.len()].as_chunks::<8>();
                        for eight in eights {
                            for (lane, value) in lanes.iter_mut().zip(eight) {
                                *lane += (value - variable.center) * (value - variable.center);
                            }
                        }
                        let tail: f64 = rest.iter().map(|v| (v - variable.center).powi(2)).sum();
                        lanes.iter().sum::<f64>() + tail
                    })
                    .collect(),
            );
        }
        Ok(results)
    }
}
