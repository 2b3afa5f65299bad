//! Who has joined, and what is expected of each replica next.
//!
//! A replica that begins gets an incarnation, which it repeats in its packets; its queries count from zero on. It sends one
//! packet after the other, so one number says all that has been received of it: the sequence that is expected next.
//!
//! Invariant: of a replica only the newest incarnation may send; 1 is the first.
//! Cost: 8 bytes per replica beside its name, incarnation and sequence packed into one `u64`; a hash table in all.

use crate::packet::{INCARNATION_BITS, SEQUENCE_BITS};
use crate::stored::{Put, Take};
use efl_core::Result;
use rustc_hash::FxHashMap;

/// What is expected of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The only incarnation that may send.
    pub incarnation: u32,
    /// The sequence of its next query.
    pub next: u64,
}

impl Expected {
    fn pack(self) -> u64 {
        u64::from(self.incarnation) << SEQUENCE_BITS | self.next
    }

    fn unpack(packed: u64) -> Self {
        let incarnation = (packed >> SEQUENCE_BITS) as u32;
        Expected { incarnation, next: packed & ((1 << SEQUENCE_BITS) - 1) }
    }
}

/// Every replica that has joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registry(FxHashMap<u64, u64>);

impl Registry {
    /// Begins a life of a replica; `None` if it has had too many, or if it is one too many.
    pub fn join(&mut self, replica: u64, most: usize) -> Option<u32> {
        let before = self.expected(replica).map_or(0, |expected| expected.incarnation);
        let incarnation = before + 1;
        if incarnation >> INCARNATION_BITS != 0 || (before == 0 && self.0.len() >= most) {
            return None;
        }
        self.0.insert(replica, Expected { incarnation, next: 0 }.pack());
        Some(incarnation)
    }

    /// What is expected of a replica, if it has joined.
    pub fn expected(&self, replica: u64) -> Option<Expected> {
        self.0.get(&replica).map(|packed| Expected::unpack(*packed))
    }

    /// Notes that all queries before `next` have been received.
    pub fn advance(&mut self, replica: u64, expected: Expected) {
        debug_assert!(expected.next < 1 << SEQUENCE_BITS);
        self.0.insert(replica, expected.pack());
    }

    pub(crate) fn put(&self, put: &mut Put) {
        let mut sorted: Vec<(u64, u64)> = self.0.iter().map(|(name, packed)| (*name, *packed)).collect();
        sorted.sort_unstable();
        put.len(sorted.len());
        for (name, packed) in sorted {
            put.u64(name);
            put.u64(packed);
        }
    }

    pub(crate) fn read(take: &mut Take<'_>) -> Result<Self> {
        let (mut registry, mut last) = (Registry::default(), None);
        for _ in 0..take.len(16)? {
            let (name, packed) = (take.u64()?, take.u64()?);
            let sound = last < Some(name) && Expected::unpack(packed).incarnation > 0;
            take.check(sound, || format!("replica {name} is out of order, or has not joined"))?;
            registry.0.insert(name, packed);
            last = Some(name);
        }
        Ok(registry)
    }

    /// Number of replicas.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no replica has joined.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes held.
    pub fn nbytes(&self) -> usize {
        // A table is full at seven eighths, and has a byte of its own for each place.
        self.0.capacity().div_ceil(7) * 8 * 17
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incarnations_begin_anew() {
        let mut registry = Registry::default();
        assert_eq!((registry.join(7, 2), registry.join(8, 2), registry.join(9, 2)), (Some(1), Some(1), None));
        registry.advance(7, Expected { incarnation: 1, next: (1 << SEQUENCE_BITS) - 1 });
        assert_eq!(registry.expected(7), Some(Expected { incarnation: 1, next: (1 << SEQUENCE_BITS) - 1 }));
        assert_eq!(registry.join(7, 2), Some(2));
        assert_eq!(registry.expected(7), Some(Expected { incarnation: 2, next: 0 }));
        assert_eq!((registry.expected(9), registry.len()), (None, 2));
    }

    #[test]
    fn the_last_incarnation_is_the_last() {
        let mut registry = Registry::default();
        let last = (1 << INCARNATION_BITS) - 1;
        registry.advance(7, Expected { incarnation: last, next: 0 });
        assert_eq!(registry.join(7, 2), None);
    }
}
