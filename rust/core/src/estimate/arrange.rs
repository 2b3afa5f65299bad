//! Snapshots and words, arranged so that one walk counts them all.
//!
//! A word is spelt in *symbols*, and a symbol has two bit planes: which snapshots match it, and the outcomes of those.
//!
//! | settings are drawn | symbol | matches | outcome |
//! |---|---|---|---|
//! | letter by letter | a letter on a qubit | the letter was measured there | the bit of the qubit |
//! | from one list | a readout bit | always | the bit |
//! | block by block | a local word on a block | its setting reveals the local word | parity of some bits, with a sign |
//! | from all bases | a word | its basis reveals the word | parity of some bits, with a sign |
//!
//! For a list the snapshots are sorted by setting, in each of which a revealed word is a mask of readout bits with a
//! sign: a *part* is the snapshots of a setting with the words that it reveals. The others have one part.
//!
//! Invariant: in a part the snapshots of a bucket are contiguous, and columns ascend.
//! Cost: for a list about 10 ns per word and setting, and 1 ns per bit of the snapshots.

use super::symbols::{LocalBlock, Source};
use crate::bits::limbs;
use crate::bits::parallel::{self, Cancel};
use crate::bits::philox::{philox, unit_interval};
use crate::ensemble::Block;
use crate::error::Result;
use crate::pauli::Words;
use crate::snapshots::{Snapshots, gather_plane};
use std::borrow::Cow;
use std::ops::Range;

/// Key of the random numbers that deal snapshots to buckets.
const STREAM: u64 = u64::from_le_bytes(*b"dealing ");

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
    let source = if snaps.ensemble().is_global() {
        Source::Bases { snaps, words: words.sort_dedup_watched(cancel)?.0 }
    } else if blocks.is_empty() {
        Source::Letters(snaps)
    } else {
        let mut symbols = 0;
        let local = |block: &'a Block| {
            let first = symbols;
            symbols += 1 << (2 * block.qubits().len());
            LocalBlock { block, parities: block.parities(), first }
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

/// The snapshots of bucket `b` of `buckets` where settings are drawn: contiguous, sizes differ by at most one.
fn bucket_range(shots: usize, buckets: usize, b: usize) -> Range<usize> {
    let edge = |b: usize| (b as u128 * shots as u128 / buckets as u128) as usize;
    edge(b)..edge(b + 1)
}

/// The number of snapshots of bucket `b` of `buckets`.
pub(super) fn bucket_size(snaps: &Snapshots, buckets: usize, b: usize) -> usize {
    bucket_range(snaps.len(), buckets, b).len()
}

/// The bucket of each snapshot of a list. Allocated settings are dealt out at random, always in the same way, so that every
/// bucket has its share of each.
fn bucket_of(snaps: &Snapshots, buckets: usize) -> Vec<u32> {
    if buckets == 1 {
        return vec![0; snaps.len()];
    }
    let size = |b: usize| bucket_size(snaps, buckets, b);
    let mut bucket: Vec<u32> = (0..buckets).flat_map(|b| std::iter::repeat_n(b as u32, size(b))).collect();
    if snaps.is_allocated() {
        for t in (1..bucket.len()).rev() {
            let random = philox([STREAM, buckets as u64], [t as u64, 0, 0, 0])[0];
            bucket.swap(t, (unit_interval(random) * (t + 1) as f64) as usize);
        }
    }
    bucket
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
    let bucket_of = bucket_of(snaps, buckets);
    // Place of the first snapshot of each (setting, bucket).
    let mut starts = vec![0usize; settings.len() * buckets + 1];
    for (t, &f) in snaps.settings().iter().enumerate() {
        starts[f as usize * buckets + bucket_of[t] as usize + 1] += 1;
    }
    (1..starts.len()).for_each(|i| starts[i] += starts[i - 1]);
    let mut next = starts.clone();
    let mut order = crate::bits::room("the order of the snapshots", snaps.len(), 1)?;
    order.resize(snaps.len(), 0);
    for (t, &f) in snaps.settings().iter().enumerate() {
        let place = &mut next[f as usize * buckets + bucket_of[t] as usize];
        order[*place] = t;
        *place += 1;
    }
    let planes = parallel::map(n, cancel, |q| Ok(gather_plane(snaps.outcome_plane(q), &order).collect()))?;
    let measured: Vec<usize> =
        (0..settings.len()).filter(|f| starts[f * buckets] < starts[(f + 1) * buckets]).collect();
    let parts = parallel::map(measured.len(), cancel, |i| {
        let f = measured[i];
        let mut masks = Words::new(n);
        let (mut mask, none) = (vec![0; limbs(n)], vec![0; limbs(n)]);
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
