//! Queries that wait for their weights: labels come late, and some never.
//!
//! The queries of a packet stay together, in the order in which packets were admitted, which is the order in which they are
//! given up when there are too many. A batch that is half used is packed anew.
//!
//! Invariant: `open` is the number of queries that wait, over all batches and over all replicas; no batch is empty; the
//! queries of a batch ascend. What is given up depends on what was admitted and used, on nothing else.
//! Cost: at most twice the bytes of the queries that wait, and about 200 bytes per batch; logarithmic searches.

mod stored;

use crate::packet::Span;
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;

/// Marks an offset whose query has been used: offsets are below 2^20.
const USED: u32 = 1 << 31;

/// The name of a query, which its answer was given out with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Name of the replica.
    pub replica: u64,
    /// Which of its lives.
    pub incarnation: u32,
    /// Its place in the sequence of the replica.
    pub sequence: u64,
}

/// Where a query waits: valid until something is taken or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    batch: u64,
    slot: usize,
}

/// What is left of the queries of a packet.
#[derive(Debug, Clone, PartialEq)]
struct Batch {
    version: u32,
    replica: u64,
    incarnation: u32,
    first: u64,
    /// Offsets of queries from the first, ascending.
    offsets: Vec<u32>,
    /// Their planes.
    body: Vec<u8>,
    stride: usize,
    open: usize,
}

impl Batch {
    fn key(&self) -> (u64, u32, u64) {
        (self.replica, self.incarnation, self.first)
    }

    /// Leaves out what has been used, once that is half of it.
    fn pack(&mut self) {
        if 2 * self.open > self.offsets.len() {
            return;
        }
        let (mut offsets, mut body) =
            (Vec::with_capacity(self.open), Vec::with_capacity(self.open * self.stride));
        for (offset, planes) in self.offsets.iter().zip(self.body.chunks_exact(self.stride)) {
            if offset & USED == 0 {
                offsets.push(*offset);
                body.extend_from_slice(planes);
            }
        }
        (self.offsets, self.body) = (offsets, body);
    }

    /// Marks the first queries that wait, at most so many; how many there were.
    fn expire(&mut self, most: usize) -> usize {
        let waiting = self.offsets.iter_mut().filter(|offset| **offset & USED == 0);
        let expired = waiting.take(most).map(|offset| *offset |= USED).count();
        self.open -= expired;
        expired
    }
}

/// All queries that wait.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pending {
    /// By the order of admission.
    batches: BTreeMap<u64, Batch>,
    /// The place in that order, by replica, incarnation and first sequence.
    index: BTreeMap<(u64, u32, u64), u64>,
    admitted: u64,
    open: usize,
    /// Queries that wait, of each replica that has some.
    held: FxHashMap<u64, usize>,
    bytes: usize,
}

impl Pending {
    /// Takes the queries of a packet that teach: their offsets from the first, ascending, and their planes.
    pub fn admit(&mut self, version: u32, span: &Span, offsets: Vec<u32>, body: &[u8], stride: usize) {
        if offsets.is_empty() {
            return;
        }
        debug_assert_eq!(body.len(), offsets.len() * stride);
        let Span { replica, incarnation, first, .. } = *span;
        let (open, body) = (offsets.len(), body.to_vec());
        let batch = Batch { version, replica, incarnation, first, offsets, body, stride, open };
        self.open += open;
        *self.held.entry(replica).or_default() += open;
        self.bytes += batch.body.len();
        self.index.insert(batch.key(), self.admitted);
        self.batches.insert(self.admitted, batch);
        self.admitted += 1;
    }

    /// Where a query waits, if it does.
    pub fn find(&self, ticket: &Ticket) -> Option<Place> {
        let last = (ticket.replica, ticket.incarnation, ticket.sequence);
        let (key, &batch) = self.index.range((ticket.replica, ticket.incarnation, 0)..=last).next_back()?;
        let offset = u32::try_from(ticket.sequence - key.2).ok()?;
        let offsets = &self.batches[&batch].offsets;
        let slot = offsets.binary_search_by_key(&offset, |offset| offset & !USED).ok()?;
        (offsets[slot] & USED == 0).then_some(Place { batch, slot })
    }

    /// The version that a query was answered with.
    pub fn version(&self, place: Place) -> u32 {
        self.batches[&place.batch].version
    }

    /// The planes of a query.
    pub fn planes(&self, place: Place) -> &[u8] {
        let batch = &self.batches[&place.batch];
        &batch.body[place.slot * batch.stride..][..batch.stride]
    }

    /// Takes a query out.
    pub fn take(&mut self, place: Place) {
        self.change(place.batch, |batch| {
            batch.offsets[place.slot] |= USED;
            batch.open -= 1;
            1
        });
    }

    /// Gives up the oldest queries until at most `most` wait; how many were given up.
    pub fn expire_above(&mut self, most: usize) -> usize {
        let before = self.open;
        while self.open > most {
            let Some((&oldest, _)) = self.batches.first_key_value() else { break };
            let excess = self.open - most;
            self.change(oldest, |batch| batch.expire(excess));
        }
        before - self.open
    }

    /// Gives up the queries of some versions; how many there were.
    pub fn expire(&mut self, gone: impl Fn(u32) -> bool) -> usize {
        let before = self.open;
        let old: Vec<u64> =
            self.batches.iter().filter(|(_, batch)| gone(batch.version)).map(|(id, _)| *id).collect();
        old.into_iter().for_each(|id| self.change(id, |batch| batch.expire(usize::MAX)));
        before - self.open
    }

    /// Changes a batch, of which `change` says how many queries wait no longer.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Batch) -> usize) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        let bytes = batch.body.len();
        let gone = change(batch);
        batch.pack();
        self.open -= gone;
        self.bytes -= bytes - batch.body.len();
        let (replica, key, empty) = (batch.replica, batch.key(), batch.open == 0);
        if empty {
            self.batches.remove(&id);
            self.index.remove(&key);
        }
        if let Some(held) = self.held.get_mut(&replica) {
            *held -= gone;
            if *held == 0 {
                self.held.remove(&replica);
            }
        }
    }

    /// Number of queries that wait.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Number of queries of a replica that wait.
    pub fn held(&self, replica: u64) -> usize {
        self.held.get(&replica).copied().unwrap_or(0)
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        let offsets: usize = self.batches.values().map(|batch| 4 * batch.offsets.capacity()).sum();
        let batch = 2 * size_of::<u64>() + size_of::<(u64, u32, u64)>() + size_of::<Batch>();
        self.bytes + offsets + self.batches.len() * batch + self.held.capacity().div_ceil(7) * 8 * 17
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(replica: u64, first: u64, queries: u32) -> Span {
        Span { replica, incarnation: 1, first, queries, dropped: 0 }
    }

    fn ticket(replica: u64, sequence: u64) -> Ticket {
        Ticket { replica, incarnation: 1, sequence }
    }

    /// Two replicas; the queries of the first are 10, 12, 14, ... and hold their number.
    fn filled() -> Pending {
        let mut pending = Pending::default();
        let body: Vec<u8> = (0..8).map(|i| 10 + 2 * i).collect();
        pending.admit(3, &span(1, 10, 16), (0..8).map(|i| 2 * i).collect(), &body, 1);
        pending.admit(4, &span(2, 0, 4), (0..4).collect(), &[0, 1, 2, 3], 1);
        pending
    }

    #[test]
    fn a_query_is_found_until_it_is_used() {
        let mut pending = filled();
        for sequence in [12, 24, 10, 18, 20, 14, 22, 16] {
            let place = pending.find(&ticket(1, sequence)).unwrap();
            assert_eq!((pending.planes(place), pending.version(place)), (&[sequence as u8][..], 3));
            pending.take(place);
            assert_eq!(pending.find(&ticket(1, sequence)), None);
        }
        assert_eq!((pending.open(), pending.held(1), pending.held(2)), (4, 0, 4));
        assert_eq!((pending.batches.len(), pending.index.len(), pending.held.len()), (1, 1, 1));
    }

    #[test]
    fn what_was_never_admitted_is_not_found() {
        let pending = filled();
        for (replica, sequence) in [(1, 9), (1, 11), (1, 26), (1, u64::MAX), (2, 4), (3, 0)] {
            assert_eq!(pending.find(&ticket(replica, sequence)), None);
        }
        assert_eq!(pending.find(&Ticket { incarnation: 2, ..ticket(1, 10) }), None);
    }

    #[test]
    fn the_oldest_are_given_up_first() {
        let mut pending = filled();
        pending.take(pending.find(&ticket(1, 12)).unwrap());
        assert_eq!(pending.expire_above(6), 5);
        let left: Vec<u64> = (10..26).filter(|s| pending.find(&ticket(1, *s)).is_some()).collect();
        assert_eq!((left, pending.open(), pending.held(1)), (vec![22, 24], 6, 2));
        assert_eq!(pending.expire_above(3), 3);
        assert_eq!((pending.held(1), pending.held(2), pending.find(&ticket(2, 0))), (0, 3, None));
    }

    #[test]
    fn versions_are_given_up() {
        let mut pending = filled();
        assert_eq!((pending.expire(|v| v < 3), pending.expire(|v| v < 4), pending.open()), (0, 8, 4));
    }

    #[test]
    fn bytes_follow_what_waits() {
        let mut pending = Pending::default();
        for i in 0..100 {
            pending.admit(0, &span(i, 0, 1000), (0..1000).collect(), &[7; 80_000], 80);
        }
        let full = pending.nbytes();
        assert!(full >= 8_000_000);
        // One query of each packet is left: it does not hold the packet.
        for replica in 0..100 {
            for sequence in 0..999 {
                pending.take(pending.find(&ticket(replica, sequence)).unwrap());
            }
        }
        assert_eq!(pending.open(), 100);
        assert!(pending.nbytes() < full / 100, "{} of {full}", pending.nbytes());
    }
}
