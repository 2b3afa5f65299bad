//! Words as a prefix tree, and the walk over it: what makes thousands of words cheap.
//!
//! A word is a path of symbols (a letter on a qubit). On a block of snapshots a symbol is two bit planes: *match*
//! (the snapshot measured that letter there) and *outcome*. A node's planes are its parent's AND match (revealed
//! by all symbols so far) and parent's XOR outcome (sign so far), so words that share a prefix share its work.
//! Symbols are ordered by how many words have them, which makes prefixes long; a subtree in whose prefix no
//! snapshot of the block is revealed is skipped.
//!
//! Invariant: a walk visits every distinct word at most once per block, in an order fixed by the words alone.
//! Cost: about 10 word operations per node and 64 snapshots, all in first-level cache for a block.

use crate::bits::tail_mask;
use crate::pauli::{Letter, Words};
use crate::snapshots::Snapshots;
use std::ops::Range;

/// Words of a block: 4,096 snapshots. With 10 qubits all planes of a block take 25 KB, within a first-level cache.
pub(super) const BLOCK: usize = 64;
/// Planes are padded to a multiple of this, so that loops over them have no remainder.
const LANES: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Symbol {
    qubit: usize,
    letter: Letter,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    symbol: u32,
    depth: u32,
    /// Slot of the word that ends here, or `NONE`.
    slot: u32,
    /// Index of the first node that is not below this one.
    next: u32,
}

const NONE: u32 = u32::MAX;

/// A list of words, compiled for walking. Equal words share a slot; the identity has none.
#[derive(Debug)]
pub(super) struct PrefixTree {
    symbols: Vec<Symbol>,
    nodes: Vec<Node>,
    depth: usize,
    slots: usize,
}

impl PrefixTree {
    /// Compiles the words at `selection`. The second result maps each of them to its slot, `None` for the identity.
    pub(super) fn build(words: &Words, selection: Range<usize>) -> (Self, Vec<Option<u32>>) {
        let n = words.n_qubits();
        let mut frequency = vec![0u32; 3 * n];
        let code =
            |q: usize, letter: Letter| 3 * q + usize::from(letter.x()) + 2 * usize::from(letter.z()) - 1;
        for i in selection.clone() {
            words.get(i).support().for_each(|(q, letter)| frequency[code(q, letter)] += 1);
        }
        let mut order: Vec<usize> = (0..3 * n).filter(|&c| frequency[c] > 0).collect();
        order.sort_by_key(|&c| (std::cmp::Reverse(frequency[c]), c));
        let mut rank = vec![0u32; 3 * n];
        order.iter().enumerate().for_each(|(r, &c)| rank[c] = r as u32);
        let letter_of = [Letter::X, Letter::Z, Letter::Y];
        let symbols = order.iter().map(|&c| Symbol { qubit: c / 3, letter: letter_of[c % 3] }).collect();

        let mut paths: Vec<(Vec<u32>, usize)> = selection
            .clone()
            .map(|i| {
                let mut path: Vec<u32> =
                    words.get(i).support().map(|(q, letter)| rank[code(q, letter)]).collect();
                path.sort_unstable();
                (path, i - selection.start)
            })
            .collect();
        paths.sort_unstable();

        let mut nodes: Vec<Node> = Vec::new();
        let mut open: Vec<usize> = Vec::new(); // nodes of the current path
        let mut current: Vec<u32> = Vec::new();
        let mut slot_of = vec![None; selection.len()];
        let (mut slots, mut depth) = (0u32, 0);
        for (path, i) in paths {
            if path.is_empty() {
                continue;
            }
            let shared = path.iter().zip(&current).take_while(|(a, b)| a == b).count();
            for closed in open.drain(shared..) {
                nodes[closed].next = nodes.len() as u32;
            }
            for (d, &symbol) in path.iter().enumerate().skip(shared) {
                open.push(nodes.len());
                nodes.push(Node { symbol, depth: d as u32, slot: NONE, next: 0 });
            }
            let end = &mut nodes[open[path.len() - 1]];
            if end.slot == NONE {
                end.slot = slots;
                slots += 1;
            }
            slot_of[i] = Some(end.slot);
            depth = depth.max(path.len());
            current = path;
        }
        for closed in open {
            nodes[closed].next = nodes.len() as u32;
        }
        (PrefixTree { symbols, nodes, depth, slots: slots as usize }, slot_of)
    }

    /// Number of distinct words.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }
}

/// What happens at a word on a block. `revealed` and `sign` are the planes of the prefix without its last symbol,
/// `matched` and `outcome` those of the last symbol; all four have the same length, a multiple of 8.
pub(super) trait Visit {
    /// Called once per word and block in which it may be revealed. Implement with `#[inline(always)]`.
    fn visit(&mut self, slot: usize, revealed: &[u64], sign: &[u64], matched: &[u64], outcome: &[u64]);
}

/// Planes of one block, reused from block to block.
pub(super) struct Scratch {
    matched: Vec<u64>,
    outcome: Vec<u64>,
    /// Two planes per depth; depth 0 is the empty prefix: everything revealed, sign plus.
    stack: Vec<u64>,
}

impl Scratch {
    pub(super) fn new(tree: &PrefixTree) -> Self {
        let mut stack = vec![0; 2 * BLOCK * (tree.depth + 1)];
        stack[..BLOCK].fill(u64::MAX);
        let planes = tree.symbols.len() * BLOCK;
        Scratch { matched: vec![0; planes], outcome: vec![0; planes], stack }
    }
}

/// Walks the tree over the snapshots `range`, at most `64 * BLOCK` of them and starting in the word where
/// `range.start` lies.
#[inline(always)]
pub(super) fn walk<V: Visit>(
    tree: &PrefixTree,
    snaps: &Snapshots,
    range: Range<usize>,
    scratch: &mut Scratch,
    visitor: &mut V,
) {
    let first = range.start / 64;
    let used = range.end.div_ceil(64) - first;
    let length = used.next_multiple_of(LANES);
    debug_assert!(length <= BLOCK && !range.is_empty());
    let Scratch { matched, outcome, stack } = scratch;
    for (i, symbol) in tree.symbols.iter().enumerate() {
        let (x, z) = (snaps.x_plane(symbol.qubit), snaps.z_plane(symbol.qubit));
        let (x, z) = (&x[first..first + used], &z[first..first + used]);
        let target = &mut matched[i * BLOCK..][..length];
        target[used..].fill(0);
        let (flip_x, flip_z) =
            (if symbol.letter.x() { 0 } else { u64::MAX }, if symbol.letter.z() { 0 } else { u64::MAX });
        for ((t, x), z) in target.iter_mut().zip(x).zip(z) {
            *t = (x ^ flip_x) & (z ^ flip_z);
        }
        target[0] &= u64::MAX << (range.start % 64);
        target[used - 1] &= tail_mask(range.end - first * 64, used - 1);
        outcome[i * BLOCK..][..used].copy_from_slice(&snaps.outcome_plane(symbol.qubit)[first..first + used]);
        outcome[i * BLOCK..][used..length].fill(0);
    }
    let mut at = 0;
    while let Some(node) = tree.nodes.get(at) {
        let (below, above) = stack.split_at_mut(2 * BLOCK * (node.depth as usize + 1));
        let parent = &below[below.len() - 2 * BLOCK..];
        let (revealed, sign) = (&parent[..length], &parent[BLOCK..BLOCK + length]);
        let matched = &matched[node.symbol as usize * BLOCK..][..length];
        let outcome = &outcome[node.symbol as usize * BLOCK..][..length];
        if node.slot != NONE {
            visitor.visit(node.slot as usize, revealed, sign, matched, outcome);
        }
        at += 1;
        if node.next as usize > at {
            let (own_revealed, own_sign) = above[..2 * BLOCK].split_at_mut(BLOCK);
            let (own_revealed, own_sign) = (&mut own_revealed[..length], &mut own_sign[..length]);
            let mut any = 0;
            for i in 0..length {
                own_revealed[i] = revealed[i] & matched[i];
                own_sign[i] = sign[i] ^ outcome[i];
                any |= own_revealed[i];
            }
            if any == 0 {
                at = node.next as usize;
            }
        }
    }
}

/// The walks that cover snapshots `range`: pieces of whole words, at most `BLOCK` words each.
pub(super) fn blocks(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = 64 * BLOCK;
    let first = range.start / 64 * 64;
    (first..range.end).step_by(size).map(move |b| b.max(range.start)..(b + size).min(range.end))
}
