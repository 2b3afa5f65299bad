//! Symbols: what words are spelt in, and the bit planes of each.
//!
//! A symbol has two planes over the snapshots: which of them match it, and the outcomes of those. Which symbols there are
//! depends on how settings come; see the table of [`super::arrange`].
//!
//! Invariant: a word is revealed where all its symbols match, and its outcome is the parity of theirs.
//! Cost: filling the planes of a tile is linear in the symbols asked for. In bases of all qubits, which are drawn again for
//! every tile, some 20 ns for each snapshot and word.

use crate::bits::limbs;
use crate::ensemble::{Block, LocalParity};
use crate::pauli::{WordRef, Words};
use crate::snapshots::{Snapshots, draw_basis};
use crate::stabiliser::GraphBasis;
use std::ops::Range;

/// Limbs of a tile: 8,192 snapshots. The planes of 10 qubits take 41 KB, those of the prefixes being walked 8 KB. Longer
/// tiles cost cache, shorter ones repeat what a visit costs once (measured: 64 is 10 to 20 % slower, 256 is no faster).
pub(super) const TILE: usize = 128;

/// Where the planes of symbols come from.
pub(super) enum Source<'a> {
    Letters(&'a Snapshots),
    /// Outcome planes, sorted by setting.
    Readout {
        planes: Vec<Vec<u64>>,
    },
    Local {
        snaps: &'a Snapshots,
        blocks: Vec<LocalBlock<'a>>,
        symbols: usize,
    },
    /// Words that are read in the basis of each snapshot, which is drawn anew: sorted, and none of them twice.
    Bases {
        snaps: &'a Snapshots,
        words: Words,
    },
}

/// A block whose local words are symbols.
pub(super) struct LocalBlock<'a> {
    pub(super) block: &'a Block,
    pub(super) parities: &'a [LocalParity],
    /// Number of the symbol of local word 0, which is the identity and none.
    pub(super) first: usize,
}

impl Source<'_> {
    /// Symbols have numbers below this.
    pub(super) fn symbols(&self) -> usize {
        match self {
            Source::Letters(snaps) => 3 * snaps.n_qubits(),
            Source::Readout { planes } => planes.len(),
            Source::Local { symbols, .. } => *symbols,
            Source::Bases { words, .. } => words.len(),
        }
    }

    /// The number of the outcome plane of a symbol: letters of a qubit share one.
    pub(super) fn outcome(&self, symbol: usize) -> usize {
        match self {
            Source::Letters(_) => symbol / 3,
            Source::Readout { .. } | Source::Local { .. } | Source::Bases { .. } => symbol,
        }
    }

    /// Appends the symbols of `word`.
    pub(super) fn spell(&self, word: WordRef<'_>, symbols: &mut Vec<u32>) {
        match self {
            Source::Letters(_) => {
                let number = |x: bool, z: bool| usize::from(x) + 2 * usize::from(z) - 1;
                symbols.extend(word.support().map(|(q, l)| (3 * q + number(l.x(), l.z())) as u32));
            }
            Source::Readout { .. } => symbols.extend(word.support().map(|(bit, _)| bit as u32)),
            Source::Local { blocks, .. } => {
                let local = blocks.iter().map(|b| (b.first, b.block.code(word)));
                symbols
                    .extend(local.filter(|(_, code)| *code > 0).map(|(first, code)| (first + code) as u32));
            }
            Source::Bases { words, .. } => {
                let number = words.binary_search(word).filter(|_| !word.is_identity());
                symbols.extend(number.map(|i| i as u32));
            }
        }
    }

    /// Writes the planes of `symbols` and `outcomes` from limb `first` on, `used` limbs at the begin of every `TILE`.
    /// `place` says where in `symbols` a symbol is, if anywhere.
    #[inline(always)]
    pub(super) fn fill(
        &self,
        symbols: &[u32],
        outcomes: &[u32],
        place: &[u32],
        limbs: Range<usize>,
        matched: &mut [u64],
        outcome: &mut [u64],
    ) {
        let used = limbs.len();
        match self {
            Source::Letters(snaps) => {
                for (&symbol, target) in symbols.iter().zip(matched.chunks_exact_mut(TILE)) {
                    let [x, z] = snaps.letter_planes(symbol as usize / 3).map(|plane| &plane[limbs.clone()]);
                    let code = symbol % 3 + 1;
                    let flip = |bit: u32| if code >> bit & 1 == 1 { 0 } else { u64::MAX };
                    let (flip_x, flip_z) = (flip(0), flip(1));
                    for ((t, x), z) in target[..used].iter_mut().zip(x).zip(z) {
                        *t = (x ^ flip_x) & (z ^ flip_z);
                    }
                }
                for (&qubit, target) in outcomes.iter().zip(outcome.chunks_exact_mut(TILE)) {
                    target[..used].copy_from_slice(&snaps.outcome_plane(qubit as usize)[limbs.clone()]);
                }
            }
            Source::Readout { planes } => {
                matched.chunks_exact_mut(TILE).for_each(|target| target[..used].fill(u64::MAX));
                for (&bit, target) in outcomes.iter().zip(outcome.chunks_exact_mut(TILE)) {
                    target[..used].copy_from_slice(&planes[bit as usize][limbs.clone()]);
                }
            }
            Source::Local { snaps, blocks, .. } => {
                for (b, block) in blocks.iter().enumerate() {
                    block.fill(snaps, (b, blocks.len()), outcomes, place, limbs.clone(), matched, outcome);
                }
            }
            Source::Bases { snaps, words } => {
                let needed: Vec<(WordRef<'_>, usize, usize)> = outcomes
                    .iter()
                    .enumerate()
                    .map(|(plane, &symbol)| {
                        (words.get(symbol as usize), place[symbol as usize] as usize * TILE, plane * TILE)
                    })
                    .collect();
                read_bases(snaps, &needed, limbs, matched, outcome);
            }
        }
    }
}

/// The planes of words, each with the places of its planes, in the bases of the snapshots.
#[inline(never)]
fn read_bases(
    snaps: &Snapshots,
    needed: &[(WordRef<'_>, usize, usize)],
    groups: Range<usize>,
    matched: &mut [u64],
    outcome: &mut [u64],
) {
    let addresses = snaps.addresses().unwrap_or(&[]);
    let row = limbs(snaps.n_qubits());
    let mut basis = GraphBasis::new(snaps.n_qubits());
    let (mut mask, mut syndrome, mut rows) = (vec![0; row], vec![0; row], vec![0; 64 * row]);
    for (i, group) in groups.enumerate() {
        snaps.outcome_rows(group, &mut rows);
        needed.iter().for_each(|&(_, hit, sign)| (matched[hit + i], outcome[sign + i]) = (0, 0));
        let bits = rows.chunks_exact(row);
        for (t, (&address, bits)) in addresses[64 * group..].iter().zip(bits).enumerate() {
            draw_basis(&mut basis, address);
            for &(word, hit, sign) in needed {
                if let Some(negative) = basis.read(word, &mut mask, &mut syndrome) {
                    let ones: u32 = mask.iter().zip(bits).map(|(m, b)| (m & b).count_ones()).sum();
                    matched[hit + i] |= 1 << t;
                    outcome[sign + i] |= u64::from((ones & 1 == 1) ^ negative) << t;
                }
            }
        }
    }
}

impl LocalBlock<'_> {
    /// The planes of the local words of one block, which is number `b` of `stride`. Here every symbol has an outcome
    /// plane of its own, whose place is that of the symbol in `outcomes`.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "what one call of fill has, and which block")]
    fn fill(
        &self,
        snaps: &Snapshots,
        (b, stride): (usize, usize),
        outcomes: &[u32],
        place: &[u32],
        limbs: Range<usize>,
        matched: &mut [u64],
        outcome: &mut [u64],
    ) {
        let qubits = self.block.qubits();
        let codes = 1usize << (2 * qubits.len());
        let each = (1 << qubits.len()) - 1;
        let needed: Vec<(usize, usize, usize)> = (1..codes)
            .filter_map(|code| {
                let symbol = (self.first + code) as u32;
                let plane = outcomes.binary_search(&symbol).ok()?;
                Some((code, place[symbol as usize] as usize * TILE, plane * TILE))
            })
            .collect();
        if needed.is_empty() {
            return;
        }
        // Of 64 snapshots, by local word.
        let (mut hits, mut signs) = ([0u64; 256], [0u64; 256]);
        for (i, group) in limbs.enumerate() {
            hits[..codes].fill(0);
            signs[..codes].fill(0);
            let mut bits = [0u64; 4];
            bits.iter_mut().zip(qubits).for_each(|(bits, &q)| *bits = snaps.outcome_plane(q)[group]);
            let rows = snaps.settings()[64 * group * stride..].chunks_exact(stride).take(64);
            for (t, row) in rows.enumerate() {
                let readout = bits.iter().enumerate().fold(0, |r, (j, bits)| r | (bits >> t & 1) << j);
                for parity in &self.parities[row[b] as usize * each..][..each] {
                    // Bit r of the constant is the parity of r.
                    let odd = 0x6996u64 >> (readout & u64::from(parity.mask)) & 1;
                    let code = usize::from(parity.code);
                    hits[code] |= 1 << t;
                    signs[code] |= (odd ^ u64::from(parity.negative)) << t;
                }
            }
            for &(code, hit, sign) in &needed {
                matched[hit + i] = hits[code];
                outcome[sign + i] = signs[code];
            }
        }
    }
}
