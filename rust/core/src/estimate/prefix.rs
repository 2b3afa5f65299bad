//! Words as a prefix tree, and the walk over it: what makes thousands of words cheap.
//!
//! A word is a path of symbols (a letter on a qubit). On a block of snapshots a symbol is two bit planes: *match*
//! (the snapshot measured that letter there) and *outcome*. A node's planes are its parent's AND match (revealed
//! by all symbols so far) and parent's XOR outcome (sign so far), so words that share a prefix share its work.
//! Symbols are ordered by how many words have them, which makes prefixes long; a subtree in whose prefix no
//! snapshot of the block is revealed is skipped.
//!
//! Invariant: a walk visits every distinct word at most once per block, in an order fixed by the words alone.
//! Cost: about 10 word operations per node and 64 snapshots, in first-level cache for the prefixes of a block.

use crate::bits::tail_mask;
use crate::pauli::{Letter, Words};
use crate::snapshots::Snapshots;
use std::ops::Range;

/// Words of a block: 8,192 snapshots. The planes of 10 qubits take 41 KB, those of the prefixes being walked 8 KB. Longer
/// blocks cost cache, shorter ones repeat what a visit costs once (measured: 64 is 10 to 20 % slower, 256 is no faster).
pub(super) const BLOCK: usize = 128;
/// Words of a short block, for few snapshots or many buckets.
const SHORT: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Symbol {
    /// Index into the qubits of the tree.
    qubit: usize,
    letter: Letter,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    symbol: u32,
    /// The symbol of the only child, when that is a leaf and this node is no word: both are visited as one.
    last: u32,
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
    /// The qubits that some word touches.
    qubits: Vec<usize>,
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
        let mut qubits: Vec<usize> = order.iter().map(|&c| c / 3).collect();
        qubits.sort_unstable();
        qubits.dedup();
        let qubit = |q: usize| qubits.partition_point(|&other| other < q);
        let symbols =
            order.iter().map(|&c| Symbol { qubit: qubit(c / 3), letter: letter_of[c % 3] }).collect();

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
                nodes.push(Node { symbol, last: NONE, depth: d as u32, slot: NONE, next: 0 });
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
        (
            PrefixTree { qubits, symbols, nodes: join_only_children(&nodes), depth, slots: slots as usize },
            slot_of,
        )
    }

    /// Number of distinct words.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }
}

/// Puts each node that is no word and has a leaf as its only child together with it: their planes are combined on
/// the fly and the prefix between them, which nobody shares, is never stored.
fn join_only_children(nodes: &[Node]) -> Vec<Node> {
    let joins = |i: usize| nodes[i].slot == NONE && nodes[i].next as usize == i + 2;
    let mut place = vec![0; nodes.len() + 1];
    for i in 0..nodes.len() {
        place[i + 1] = place[i] + u32::from(!joins(i));
    }
    let mut joined: Vec<Node> = Vec::with_capacity(nodes.len());
    let mut i = 0;
    while let Some(&node) = nodes.get(i) {
        if joins(i) {
            let leaf = nodes[i + 1];
            joined.push(Node { last: leaf.symbol, slot: leaf.slot, ..node });
            i += 1;
        } else {
            joined.push(node);
        }
        i += 1;
    }
    joined.iter_mut().for_each(|node| node.next = place[node.next as usize]);
    joined
}

/// The planes of a word on a block of `L` words.
pub(super) trait Planes<const L: usize> {
    /// Which snapshots of word `i` reveal the word, and which signs are minus (of those revealed).
    fn at(&self, i: usize) -> (u64, u64);
}

/// A prefix and one more symbol. Arrays, so that no index needs a check.
struct One<'a, const L: usize> {
    revealed: &'a [u64; L],
    sign: &'a [u64; L],
    matched: &'a [u64; L],
    outcome: &'a [u64; L],
}

impl<const L: usize> Planes<L> for One<'_, L> {
    #[inline(always)]
    fn at(&self, i: usize) -> (u64, u64) {
        (self.revealed[i] & self.matched[i], self.sign[i] ^ self.outcome[i])
    }
}

/// A prefix and two more symbols.
struct Two<'a, const L: usize> {
    one: One<'a, L>,
    matched: &'a [u64; L],
    outcome: &'a [u64; L],
}

impl<const L: usize> Planes<L> for Two<'_, L> {
    #[inline(always)]
    fn at(&self, i: usize) -> (u64, u64) {
        let (revealed, sign) = self.one.at(i);
        (revealed & self.matched[i], sign ^ self.outcome[i])
    }
}

/// What happens at a word on a block.
pub(super) trait Visit {
    /// Called once per word and block in which it may be revealed. Implement with `#[inline(always)]`.
    fn visit<const L: usize, P: Planes<L>>(&mut self, slot: usize, planes: P);
}

/// Planes of one block, reused from block to block.
pub(super) struct Scratch {
    /// A plane per symbol.
    matched: Vec<u64>,
    /// A plane per qubit.
    outcome: Vec<u64>,
    /// Two planes per depth; depth 0 is the empty prefix: everything revealed, sign plus.
    stack: Vec<u64>,
}

impl Scratch {
    pub(super) fn new(tree: &PrefixTree) -> Self {
        let mut stack = vec![0; 2 * BLOCK * (tree.depth + 1)];
        stack[..BLOCK].fill(u64::MAX);
        let planes = |count: usize| vec![0; count * BLOCK];
        Scratch { matched: planes(tree.symbols.len()), outcome: planes(tree.qubits.len()), stack }
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
    if range.end.div_ceil(64) - range.start / 64 <= SHORT {
        walk_words::<SHORT, V>(tree, snaps, range, scratch, visitor);
    } else {
        walk_words::<BLOCK, V>(tree, snaps, range, scratch, visitor);
    }
}

/// The first `L` words of a plane.
#[inline(always)]
fn head<const L: usize>(plane: &[u64]) -> &[u64; L] {
    plane.first_chunk().expect("a plane has BLOCK words")
}

#[inline(always)]
fn walk_words<const L: usize, V: Visit>(
    tree: &PrefixTree,
    snaps: &Snapshots,
    range: Range<usize>,
    scratch: &mut Scratch,
    visitor: &mut V,
) {
    let first = range.start / 64;
    let used = range.end.div_ceil(64) - first;
    debug_assert!(used <= L && !range.is_empty());
    let Scratch { matched, outcome, stack } = scratch;
    for (i, symbol) in tree.symbols.iter().enumerate() {
        let qubit = tree.qubits[symbol.qubit];
        let (x, z) = (snaps.x_plane(qubit), snaps.z_plane(qubit));
        let (x, z) = (&x[first..first + used], &z[first..first + used]);
        let target = &mut matched[i * BLOCK..][..L];
        target[used..].fill(0);
        let (flip_x, flip_z) =
            (if symbol.letter.x() { 0 } else { u64::MAX }, if symbol.letter.z() { 0 } else { u64::MAX });
        for ((t, x), z) in target.iter_mut().zip(x).zip(z) {
            *t = (x ^ flip_x) & (z ^ flip_z);
        }
        target[0] &= u64::MAX << (range.start % 64);
        target[used - 1] &= tail_mask(range.end - first * 64, used - 1);
    }
    for (&qubit, target) in tree.qubits.iter().zip(outcome.chunks_exact_mut(BLOCK)) {
        target[..used].copy_from_slice(&snaps.outcome_plane(qubit)[first..first + used]);
    }
    let mut at = 0;
    while let Some(node) = tree.nodes.get(at) {
        let (below, above) = stack.split_at_mut(2 * BLOCK * (node.depth as usize + 1));
        let parent = &below[below.len() - 2 * BLOCK..];
        let (revealed, sign) = (head::<L>(parent), head::<L>(&parent[BLOCK..]));
        let planes = |symbol: u32| {
            let qubit = tree.symbols[symbol as usize].qubit;
            (head::<L>(&matched[symbol as usize * BLOCK..]), head::<L>(&outcome[qubit * BLOCK..]))
        };
        let (matched, outcome) = planes(node.symbol);
        let one = One { revealed, sign, matched, outcome };
        if node.last != NONE {
            let (matched, outcome) = planes(node.last);
            visitor.visit(node.slot as usize, Two { one, matched, outcome });
        } else if node.slot != NONE {
            visitor.visit(node.slot as usize, one);
        }
        at += 1;
        if node.next as usize > at {
            let (own_revealed, own_sign) = above[..2 * BLOCK].split_at_mut(BLOCK);
            let mut any = 0;
            for i in 0..L {
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
