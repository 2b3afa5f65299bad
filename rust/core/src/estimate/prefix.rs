//! Words as a prefix tree, and the walk over it: what makes thousands of words cheap.
//!
//! A word is a path of symbols (say, a letter on a qubit; see [`super::arrange`]). On a tile, a short stretch of
//! snapshots, a symbol is two bit planes: *match* (the snapshot measured that letter there) and *outcome*. A node's planes
//! are its parent's AND match (revealed by all symbols so far) and parent's XOR outcome (sign so far), so words that
//! share a prefix share its work.
//! Symbols are ordered by how many words have them, which makes prefixes long; a subtree in whose prefix no
//! snapshot of the tile is revealed is skipped.
//!
//! Invariant: a walk visits every distinct word at most once per tile, in an order fixed by the words alone.
//! Cost: about 10 operations per node and 64 snapshots, in first-level cache for the prefixes of a tile.

use super::symbols::{Source, TILE};
use crate::bits::tail_mask;
use crate::pauli::Words;
use std::ops::Range;

/// Limbs of a short tile, for few snapshots or many buckets.
const SHORT: usize = 16;

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
    /// The symbols that some word has, the most frequent first, and the place of each in the list of its outcome.
    symbols: Vec<u32>,
    outcome_of: Vec<u32>,
    /// Where a symbol is in that list, `NONE` if nowhere.
    place: Vec<u32>,
    /// The outcome planes that are needed, ascending.
    outcomes: Vec<u32>,
    nodes: Vec<Node>,
    depth: usize,
    slots: usize,
}

impl PrefixTree {
    /// Compiles the words at `selection`. The second result maps each of them to its slot, `None` for the identity.
    pub(super) fn build(
        source: &Source<'_>,
        words: &Words,
        selection: Range<usize>,
    ) -> (Self, Vec<Option<u32>>) {
        let mut frequency = vec![0u32; source.symbols()];
        let mut paths: Vec<(Vec<u32>, usize)> = Vec::with_capacity(selection.len());
        for i in selection.clone() {
            let mut path = Vec::new();
            source.spell(words.get(i), &mut path);
            path.iter().for_each(|&symbol| frequency[symbol as usize] += 1);
            paths.push((path, i - selection.start));
        }
        let mut symbols: Vec<u32> =
            (0..frequency.len() as u32).filter(|&s| frequency[s as usize] > 0).collect();
        symbols.sort_by_key(|&s| (std::cmp::Reverse(frequency[s as usize]), s));
        let mut place = vec![NONE; frequency.len()];
        symbols.iter().zip(0..).for_each(|(&symbol, i)| place[symbol as usize] = i);
        let outcome = |symbol: &u32| source.outcome(*symbol as usize) as u32;
        let mut outcomes: Vec<u32> = symbols.iter().map(outcome).collect();
        outcomes.sort_unstable();
        outcomes.dedup();
        let below = |plane: u32| outcomes.partition_point(|&other| other < plane) as u32;
        let outcome_of = symbols.iter().map(|symbol| below(outcome(symbol))).collect();
        for (path, _) in &mut paths {
            path.iter_mut().for_each(|symbol| *symbol = place[*symbol as usize]);
            path.sort_unstable();
        }
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
            PrefixTree {
                symbols,
                outcome_of,
                place,
                outcomes,
                nodes: join_only_children(&nodes),
                depth,
                slots: slots as usize,
            },
            slot_of,
        )
    }

    /// The same tree with leaves before all other children, for visitors to whom the order of words is nothing.
    pub(super) fn leaves_first(self) -> Self {
        PrefixTree { nodes: leaves_first(&self.nodes), ..self }
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

/// The same nodes with the children of each in this order: leaves, leaves joined with their parent, all others.
/// Neighbours are then treated alike, which branch prediction likes.
fn leaves_first(nodes: &[Node]) -> Vec<Node> {
    let kind = |i: usize| match (nodes[i].last, nodes[i].next as usize == i + 1) {
        (NONE, true) => 0,
        (NONE, false) => 2,
        (_, _) => 1,
    };
    let mut sorted: Vec<Node> = Vec::with_capacity(nodes.len());
    // The parent in the new order, and its children that are no leaves and still to come.
    let mut open = vec![(None, 0..nodes.len())];
    let mut entered = true;
    while let Some((parent, rest)) = open.last_mut() {
        if std::mem::take(&mut entered) {
            for wanted in 0..2 {
                let mut i = rest.start;
                while i < rest.end {
                    if kind(i) == wanted {
                        sorted.push(Node { next: sorted.len() as u32 + 1, ..nodes[i] });
                    }
                    i = nodes[i].next as usize;
                }
            }
        }
        while rest.start < rest.end && kind(rest.start) < 2 {
            rest.start = nodes[rest.start].next as usize;
        }
        if rest.start < rest.end {
            let i = rest.start;
            let below = i + 1..nodes[i].next as usize;
            rest.start = below.end;
            open.push((Some(sorted.len()), below));
            sorted.push(nodes[i]);
            entered = true;
        } else {
            let parent: Option<usize> = *parent;
            if let Some(parent) = parent {
                sorted[parent].next = sorted.len() as u32;
            }
            open.pop();
        }
    }
    sorted
}

/// The planes of a word on a tile of `L` limbs.
pub(super) trait Planes<const L: usize> {
    /// Which snapshots of limb `i` reveal the word, and which signs are minus (of those revealed).
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

/// What happens at a word on a tile.
pub(super) trait Visit {
    /// Called once per word and tile in which it may be revealed. Implement with `#[inline(always)]`.
    fn visit<const L: usize, P: Planes<L>>(&mut self, slot: usize, planes: P);
}

/// Planes of one tile, reused from tile to tile.
pub(super) struct Scratch {
    /// A plane per symbol.
    matched: Vec<u64>,
    /// A plane per outcome.
    outcome: Vec<u64>,
    /// Two planes per depth; depth 0 is the empty prefix: everything revealed, sign plus.
    stack: Vec<u64>,
}

impl Scratch {
    pub(super) fn new(tree: &PrefixTree) -> Self {
        let mut stack = vec![0; 2 * TILE * (tree.depth + 1)];
        stack[..TILE].fill(u64::MAX);
        let planes = |count: usize| vec![0; count * TILE];
        Scratch { matched: planes(tree.symbols.len()), outcome: planes(tree.outcomes.len()), stack }
    }
}

/// Walks the tree over the snapshots `range`, at most `64 * TILE` of them and starting in the limb where
/// `range.start` lies.
#[inline(always)]
pub(super) fn walk<V: Visit>(
    tree: &PrefixTree,
    source: &Source<'_>,
    range: Range<usize>,
    scratch: &mut Scratch,
    visitor: &mut V,
) {
    if range.end.div_ceil(64) - range.start / 64 <= SHORT {
        walk_limbs::<SHORT, V>(tree, source, range, scratch, visitor);
    } else {
        walk_limbs::<TILE, V>(tree, source, range, scratch, visitor);
    }
}

/// The first `L` limbs of a plane.
#[inline(always)]
fn head<const L: usize>(plane: &[u64]) -> &[u64; L] {
    plane.first_chunk().expect("a plane has TILE limbs")
}

#[inline(always)]
fn walk_limbs<const L: usize, V: Visit>(
    tree: &PrefixTree,
    source: &Source<'_>,
    range: Range<usize>,
    scratch: &mut Scratch,
    visitor: &mut V,
) {
    let first = range.start / 64;
    let used = range.end.div_ceil(64) - first;
    debug_assert!(used <= L && !range.is_empty());
    let Scratch { matched, outcome, stack } = scratch;
    source.fill(&tree.symbols, &tree.outcomes, &tree.place, first..first + used, matched, outcome);
    for target in matched.chunks_exact_mut(TILE) {
        target[used..L].fill(0);
        target[0] &= u64::MAX << (range.start % 64);
        target[used - 1] &= tail_mask(range.end - first * 64, used - 1);
    }
    let mut at = 0;
    while let Some(node) = tree.nodes.get(at) {
        let (below, above) = stack.split_at_mut(2 * TILE * (node.depth as usize + 1));
        let parent = &below[below.len() - 2 * TILE..];
        let (revealed, sign) = (head::<L>(parent), head::<L>(&parent[TILE..]));
        let planes = |symbol: u32| {
            let plane = tree.outcome_of[symbol as usize] as usize;
            (head::<L>(&matched[symbol as usize * TILE..]), head::<L>(&outcome[plane * TILE..]))
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
            let (own_revealed, own_sign) = above[..2 * TILE].split_at_mut(TILE);
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

/// The walks that cover snapshots `range`: pieces of whole limbs, at most `TILE` each.
pub(super) fn tiles(range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let size = 64 * TILE;
    let first = range.start / 64 * 64;
    (first..range.end).step_by(size).map(move |b| b.max(range.start)..(b + size).min(range.end))
}
