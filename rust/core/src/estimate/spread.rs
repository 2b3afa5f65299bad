//! The moments of sums over the snapshots: what their standard errors need.
//!
//! Words of a sum are estimated from the same snapshots, so their errors are correlated and the counts of single
//! words do not say how much. Here each sum is evaluated snapshot by snapshot (only the revealed words contribute,
//! so this is a scatter over set bits) and its first two moments are added up, part by part. Pairs of words are never
//! formed.
//!
//! Invariant: tiles and groups are fixed by the input and reduced in order, so the bits of the result do not
//! depend on the number of threads.
//! Cost: the walk of the words, plus about 2 ns for every snapshot, sum and word revealed.

use super::arrange::{Arranged, Part};
use super::prefix::{self, Planes, PrefixTree, Scratch, Visit};
use super::symbols::{Source, TILE};
use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::{self, Cancel};
use crate::error::Result;
use crate::pauli::Words;
use std::ops::Range;

/// Sums whose values of a tile are in memory together: 8 x 8,192 x 8 bytes, within a second-level cache.
const GROUP: usize = 8;
/// Tiles of one task.
const TILES_PER_TASK: usize = 8;

/// A random variable of a snapshot: the sum, over the words it reveals, of `offset + sign * slope`.
pub(super) struct Variable {
    /// Index into the word list, slope and offset of every word (none of them the identity).
    pub(super) terms: Vec<(u32, f64, f64)>,
    /// What deviations are taken from.
    pub(super) center: f64,
}

/// The sums over some snapshots of a variable's deviation and of its square.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moments {
    pub(super) first: f64,
    pub(super) second: f64,
    /// Whether a word of the variable is revealed there at all.
    pub(super) used: bool,
}

/// Hands over the moments of every variable in every part, part after part: called with the number of the variable, the
/// part, and what was found.
pub(super) fn moments(
    arranged: &Arranged<'_>,
    variables: &[Variable],
    cancel: &Cancel,
    mut found: impl FnMut(usize, usize, Moments),
) -> Result<()> {
    let Arranged { source, parts } = arranged;
    let tiles: Vec<Vec<Range<usize>>> =
        parts.iter().map(|part| prefix::tiles(part.range()).collect()).collect();
    let shares = |(part, tiles): (usize, &'_ Vec<Range<usize>>)| {
        (0..tiles.len()).step_by(TILES_PER_TASK).map(|start| (part, start)).collect::<Vec<_>>()
    };
    let tasks: Vec<(usize, usize)> = tiles.iter().enumerate().flat_map(shares).collect();
    for (g, group) in variables.chunks(GROUP).enumerate() {
        let mut terms: Vec<Use> = Vec::new();
        for (local, variable) in (0..).zip(group) {
            let of = |&(column, slope, offset): &(u32, f64, f64)| Use { column, local, slope, offset };
            terms.extend(variable.terms.iter().map(of));
        }
        terms.sort_by_key(|term| (term.column, term.local));
        let needed = parallel::map(parts.len(), cancel, |i| Ok(Needed::of(source, &parts[i], &terms)))?;
        let results = parallel::map(tasks.len(), cancel, |task| {
            let (part, start) = tasks[task];
            let tiles = &tiles[part][start..tiles[part].len().min(start + TILES_PER_TASK)];
            dispatch(Spread { source, needed: &needed[part], group, tiles, cancel })
        })?;
        let mut results = tasks.iter().zip(results).peekable();
        for part in 0..parts.len() {
            let mut totals = vec![Moments::default(); group.len()];
            while let Some((_, tiles)) = results.next_if(|((p, _), _)| *p == part) {
                for tile in tiles {
                    totals.iter_mut().zip(tile).for_each(|(total, own)| {
                        total.first += own.first;
                        total.second += own.second;
                    });
                }
            }
            let all = totals.into_iter().zip(needed[part].used).enumerate();
            all.for_each(|(local, (total, used))| found(g * GROUP + local, part, Moments { used, ..total }));
        }
    }
    Ok(())
}

/// A term of a variable of the group.
#[derive(Debug, Clone, Copy)]
struct Use {
    column: u32,
    local: u32,
    slope: f64,
    offset: f64,
}

/// The words of a part that some variable of the group has, and for each slot of their tree who uses it.
struct Needed {
    tree: PrefixTree,
    starts: Vec<usize>,
    uses: Vec<Use>,
    /// Which variables of the group use a word of the part.
    used: [bool; GROUP],
}

impl Needed {
    /// `terms` and the columns of the part both ascend.
    fn of(source: &Source<'_>, part: &Part<'_>, terms: &[Use]) -> Self {
        let mut words = Words::new(part.words.n_qubits());
        let mut users: Vec<Range<usize>> = Vec::new();
        let mut uses = Vec::new();
        let mut terms = terms.iter().copied().peekable();
        for (&(column, negative), word) in part.columns.iter().zip(part.words.iter()) {
            while terms.next_if(|term| term.column < column).is_some() {}
            let start = uses.len();
            while let Some(term) = terms.next_if(|term| term.column == column) {
                uses.push(Use { slope: if negative { -term.slope } else { term.slope }, ..term });
            }
            if uses.len() > start {
                words.push_rows(word.x(), word.z());
                users.push(start..uses.len());
            }
        }
        let (tree, slot_of) = PrefixTree::build(source, &words, 0..words.len());
        let users = || slot_of.iter().zip(&users).filter_map(|(slot, users)| Some(((*slot)?, users.clone())));
        let mut starts = vec![0usize; tree.slots() + 1];
        users().for_each(|(slot, users)| starts[slot as usize + 1] += users.len());
        (0..tree.slots()).for_each(|slot| starts[slot + 1] += starts[slot]);
        let mut next = starts.clone();
        let mut sorted = uses.clone();
        for (slot, users) in users() {
            sorted[next[slot as usize]..][..users.len()].copy_from_slice(&uses[users.clone()]);
            next[slot as usize] += users.len();
        }
        let mut used = [false; GROUP];
        sorted.iter().for_each(|u| used[u.local as usize] = true);
        Needed { tree, starts, uses: sorted, used }
    }
}

struct Spread<'a> {
    source: &'a Source<'a>,
    needed: &'a Needed,
    group: &'a [Variable],
    tiles: &'a [Range<usize>],
    cancel: &'a Cancel,
}

struct Scatter<'a> {
    starts: &'a [usize],
    uses: &'a [Use],
    /// `values[variable * 64 * TILE + snapshot]`.
    values: Vec<f64>,
}

impl Visit for Scatter<'_> {
    #[inline(always)]
    fn visit<const L: usize, P: Planes<L>>(&mut self, slot: usize, planes: P) {
        for &Use { local, slope, offset, .. } in &self.uses[self.starts[slot]..self.starts[slot + 1]] {
            let (plus, minus) = (offset + slope, offset - slope);
            let values = &mut self.values[local as usize * 64 * TILE..][..64 * TILE];
            for (i, values) in values.chunks_exact_mut(64).take(L).enumerate() {
                let (mut hit, negative) = planes.at(i);
                if hit == u64::MAX {
                    // All snapshots of one setting: no search for the bits that are set.
                    for (t, value) in values.iter_mut().enumerate() {
                        *value += if negative >> t & 1 == 0 { plus } else { minus };
                    }
                    continue;
                }
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
    /// For each tile, the moments of each variable.
    type Output = Result<Vec<Vec<Moments>>>;

    #[inline(always)]
    fn run(self) -> Self::Output {
        let Spread { source, needed, group, tiles, cancel } = self;
        let Needed { tree, starts, uses, .. } = needed;
        let mut scratch = Scratch::new(tree);
        let mut scatter = Scatter { starts, uses, values: vec![0.0; group.len() * 64 * TILE] };
        let mut results = Vec::with_capacity(tiles.len());
        for tile in tiles {
            cancel.check()?;
            scatter.values.fill(0.0);
            prefix::walk(tree, source, tile.clone(), &mut scratch, &mut scatter);
            let all = scatter.values.chunks_exact(64 * TILE);
            results.push(
                all.zip(group)
                    .map(|(values, variable)| {
                        // Eight sums side by side: a fixed order that vectorises.
                        let (mut first, mut second) = ([0.0; 8], [0.0; 8]);
                        let (eights, rest) = values[tile.start % 64..][..tile.len()].as_chunks::<8>();
                        for eight in eights {
                            for ((first, second), value) in first.iter_mut().zip(&mut second).zip(eight) {
                                let deviation = value - variable.center;
                                *first += deviation;
                                *second += deviation * deviation;
                            }
                        }
                        let (mut tail, mut square) = (0.0, 0.0);
                        for value in rest {
                            tail += value - variable.center;
                            square += (value - variable.center).powi(2);
                        }
                        Moments {
                            first: first.iter().sum::<f64>() + tail,
                            second: second.iter().sum::<f64>() + square,
                            used: true,
                        }
                    })
                    .collect(),
            );
        }
        Ok(results)
    }
}
