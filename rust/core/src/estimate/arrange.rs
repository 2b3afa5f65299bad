//! Snapshots and words, arranged so that one walk counts them all.
//!
//! A word is spelt in *symbols*, and a symbol has two bit planes: which snapshots match it, and the outcomes of those.
//!
//! | settings are drawn | symbol | matches | outcome |
//! |---|---|---|---|
//! | letter by letter | a letter on a qubit | the letter was measured there | the bit of the qubit |
//! | from one list | a readout bit | always | the bit |
//! | block by block | a local word on a block | its setting reveals the local word | parity of some bits, with a sign |
//!
//! For a list the snapshots are sorted by setting, in each of which a revealed word is a mask of readout bits with a
//! sign: a *part* is the snapshots of a setting with the words that it reveals. The other two have one part.
//!
//! Invariant: in a part the snapshots of a bucket are contiguous, and columns ascend.
//! Cost: for a list about 10 ns per word and setting, and 1 ns per bit of the snapshots.

use super::prefix::BLOCK;
use super::tally::bucket_range;
use crate::bits::parallel::{self, Cancel};
use crate::bits::words_for;
use crate::design::{Block, LocalReading};
use crate::error::Result;
use crate::pauli::{WordRef, Words};
use crate::snapshots::{Snapshots, gather_plane};
use std::borrow::Cow;
use std::ops::Range;

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
}

/// A block whose local words are symbols.
pub(super) struct LocalBlock<'a> {
    block: &'a Block,
    readings: &'a [LocalReading],
    /// Number of the symbol of local word 0, which is the identity and none.
    first: usize,
}

/// Some snapshots, and the words that all of them may reveal.
pub(super) struct Part<'a> {
    pub(super) words: Cow<'a, Words>,
    /// For each word, its place in the caller's list and whether its sign is turned.
    pub(super) columns: Vec<(u32, bool)>,
    /// Snapshots, by their place in the planes, for each bucket that has any.
    pub(super) buckets: Vec<(usize, Range<usize>)>,
}

impl Part<'_> {
    /// All snapshots of the part.
    pub(super) fn range(&self) -> Range<usize> {
        match (self.buckets.first(), self.buckets.last()) {
            (Some((_, first)), Some((_, last))) => first.start..last.end,
            _ => 0..0,
        }
    }
}

/// What is walked.
pub(super) struct Arranged<'a> {
    pub(super) source: Source<'a>,
    pub(super) parts: Vec<Part<'a>>,
}

/// Arranges `snaps` in `buckets` contiguous parts, to count `words` of the same width.
pub(super) fn arrange<'a>(
    snaps: &'a Snapshots,
    words: &'a Words,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Arranged<'a>> {
    if let Some(list) = snaps.ensemble().single() {
        return sort(snaps, list, words, buckets, cancel);
    }
    let blocks = snaps.ensemble().block_list();
    let source = if blocks.is_empty() {
        Source::Letters(snaps)
    } else {
        let mut symbols = 0;
        let local = |block: &'a Block| {
            let first = symbols;
            symbols += 1 << (2 * block.qubits().len());
            LocalBlock { block, readings: block.readings(), first }
        };
        let blocks = blocks.iter().map(local).collect();
        Source::Local { snaps, blocks, symbols }
    };
    let part = Part {
        words: Cow::Borrowed(words),
        columns: (0..words.len() as u32).map(|c| (c, false)).collect(),
        buckets: (0..buckets).map(|b| (b, bucket_range(snaps.len(), buckets, b))).collect(),
    };
    Ok(Arranged { source, parts: vec![part] })
}

/// Sorts snapshots by their setting, and finds what each setting reveals.
fn sort<'a>(
    snaps: &Snapshots,
    list: &Block,
    words: &Words,
    buckets: usize,
    cancel: &Cancel,
) -> Result<Arranged<'a>> {
    let (settings, n) = (list.settings(), snaps.n_qubits());
    // Place of the first snapshot of each (setting, bucket).
    let mut starts = vec![0usize; settings.len() * buckets + 1];
    for b in 0..buckets {
        for &f in &snaps.settings()[bucket_range(snaps.len(), buckets, b)] {
            starts[f as usize * buckets + b + 1] += 1;
        }
    }
    (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
    let mut next: Vec<usize> = starts.iter().step_by(buckets).copied().collect();
    let mut order = crate::bits::room("the order of the snapshots", snaps.len(), 1)?;
    order.resize(snaps.len(), 0);
    for (t, &f) in snaps.settings().iter().enumerate() {
        order[next[f as usize]] = t;
        next[f as usize] += 1;
    }
    let planes = parallel::map(n, cancel, |q| Ok(gather_plane(snaps.outcome_plane(q), &order).collect()))?;
    let measured: Vec<usize> =
        (0..settings.len()).filter(|f| starts[f * buckets] < starts[(f + 1) * buckets]).collect();
    let parts = parallel::map(measured.len(), cancel, |i| {
        let f = measured[i];
        let mut masks = Words::new(n);
        let (mut mask, none) = (vec![0; words_for(n)], vec![0; words_for(n)]);
        let mut columns = Vec::new();
        for (column, word) in words.iter().enumerate() {
            if let Some(negative) = settings[f].read(word, &mut mask) {
                masks.push_rows(&none, &mask);
                columns.push((column as u32, negative));
                mask.fill(0);
            }
        }
        let range = |b: usize| starts[f * buckets + b]..starts[f * buckets + b + 1];
        let ranges = (0..buckets).map(|b| (b, range(b))).filter(|(_, range)| !range.is_empty());
        Ok(Part { words: Cow::Owned(masks), columns, buckets: ranges.collect() })
    })?;
    Ok(Arranged { source: Source::Readout { planes }, parts })
}

impl Source<'_> {
    /// Symbols have numbers below this.
    pub(super) fn symbols(&self) -> usize {
        match self {
            Source::Letters(snaps) => 3 * snaps.n_qubits(),
            Source::Readout { planes } => planes.len(),
            Source::Local { symbols, .. } => *symbols,
        }
    }

    /// The number of the outcome plane of a symbol: letters of a qubit share one.
    pub(super) fn outcome(&self, symbol: usize) -> usize {
        match self {
            Source::Letters(_) => symbol / 3,
            Source::Readout { .. } | Source::Local { .. } => symbol,
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
        }
    }

    /// Writes the planes of `symbols` and `outcomes` from word `first` on, `used` words at the begin of every `BLOCK`.
    /// `place` says where in `symbols` a symbol is, if anywhere.
    #[inline(always)]
    pub(super) fn fill(
        &self,
        symbols: &[u32],
        outcomes: &[u32],
        place: &[u32],
        words: Range<usize>,
        matched: &mut [u64],
        outcome: &mut [u64],
    ) {
        let used = words.len();
        match self {
            Source::Letters(snaps) => {
                for (&symbol, target) in symbols.iter().zip(matched.chunks_exact_mut(BLOCK)) {
                    let [x, z] = snaps.letter_planes(symbol as usize / 3).map(|plane| &plane[words.clone()]);
                    let code = symbol % 3 + 1;
                    let flip = |bit: u32| if code >> bit & 1 == 1 { 0 } else { u64::MAX };
                    let (flip_x, flip_z) = (flip(0), flip(1));
                    for ((t, x), z) in target[..used].iter_mut().zip(x).zip(z) {
                        *t = (x ^ flip_x) & (z ^ flip_z);
                    }
                }
                for (&qubit, target) in outcomes.iter().zip(outcome.chunks_exact_mut(BLOCK)) {
                    target[..used].copy_from_slice(&snaps.outcome_plane(qubit as usize)[words.clone()]);
                }
            }
            Source::Readout { planes } => {
                matched.chunks_exact_mut(BLOCK).for_each(|target| target[..used].fill(u64::MAX));
                for (&bit, target) in outcomes.iter().zip(outcome.chunks_exact_mut(BLOCK)) {
                    target[..used].copy_from_slice(&planes[bit as usize][words.clone()]);
                }
            }
            Source::Local { snaps, blocks, .. } => {
                for (b, block) in blocks.iter().enumerate() {
                    block.fill(snaps, (b, blocks.len()), outcomes, place, words.clone(), matched, outcome);
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
        words: Range<usize>,
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
                Some((code, place[symbol as usize] as usize * BLOCK, plane * BLOCK))
            })
            .collect();
        if needed.is_empty() {
            return;
        }
        // Of 64 snapshots, by local word.
        let (mut hits, mut signs) = ([0u64; 256], [0u64; 256]);
        for (i, group) in words.enumerate() {
            hits[..codes].fill(0);
            signs[..codes].fill(0);
            let mut bits = [0u64; 4];
            bits.iter_mut().zip(qubits).for_each(|(bits, &q)| *bits = snaps.outcome_plane(q)[group]);
            let rows = snaps.settings()[64 * group * stride..].chunks_exact(stride).take(64);
            for (t, row) in rows.enumerate() {
                let readout = bits.iter().enumerate().fold(0, |r, (j, bits)| r | (bits >> t & 1) << j);
                for reading in &self.readings[row[b] as usize * each..][..each] {
                    // Bit r of the constant is the parity of r.
                    let odd = 0x6996u64 >> (readout & u64::from(reading.mask)) & 1;
                    let code = usize::from(reading.code);
                    hits[code] |= 1 << t;
                    signs[code] |= (odd ^ u64::from(reading.negative)) << t;
                }
            }
            for &(code, hit, sign) in &needed {
                matched[hit + i] = hits[code];
                outcome[sign + i] = signs[code];
            }
        }
    }
}
