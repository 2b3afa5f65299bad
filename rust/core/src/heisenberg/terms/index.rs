//! The open-addressing index: from a word to its slot.
//!
//! Invariant: while `indexed`, the table finds the word of every slot; an entry is the low half of the hash and the slot
//! plus one, and at most half of the table is full.

use super::key::hash;
use super::{Terms, WHAT};
use crate::bits::zeros_watched;
use crate::error::Result;

impl<const W: usize> Terms<'_, W> {
    /// Makes the index valid.
    pub(super) fn index(&mut self) -> Result<()> {
        if self.indexed { Ok(()) } else { self.reindex(self.coefficients.len()) }
    }

    fn reindex(&mut self, room: usize) -> Result<()> {
        let size = (room * 2 + 2).next_power_of_two().max(64);
        if size > self.table.len() || size * 4 < self.table.len() {
            let bytes = 8 * size as u64;
            self.held.add(WHAT, bytes.saturating_sub(8 * self.table.len() as u64))?;
            self.table = Vec::new();
            self.table = zeros_watched(WHAT, size, 1, self.cancel)?;
        } else {
            self.table.fill(0);
        }
        self.shift = 64 - self.table.len().trailing_zeros();
        let mask = self.table.len() - 1;
        for slot in 0..self.coefficients.len() {
            self.listen(slot)?;
            let h = hash(&self.x[slot], &self.z[slot]);
            let mut at = (h >> self.shift) as usize;
            while self.table[at] != 0 {
                at = (at + 1) & mask;
            }
            self.table[at] = h << 32 | (slot as u64 + 1);
        }
        self.indexed = true;
        Ok(())
    }

    /// The slot of a word, or where in the table it would go.
    #[inline]
    pub(super) fn find(&self, x: &[u64; W], z: &[u64; W], h: u64) -> std::result::Result<usize, usize> {
        let mask = self.table.len() - 1;
        let mut at = (h >> self.shift) as usize;
        loop {
            let entry = self.table[at];
            if entry == 0 {
                return Err(at);
            }
            if (entry >> 32) as u32 == h as u32 {
                let slot = (entry as u32 - 1) as usize;
                if self.x[slot] == *x && self.z[slot] == *z {
                    return Ok(slot);
                }
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    pub(super) fn insert(
        &mut self,
        x: [u64; W],
        z: [u64; W],
        h: u64,
        vacant: usize,
        coefficient: f64,
    ) -> Result<usize> {
        let slot = self.coefficients.len();
        if slot == self.x.capacity() || slot == self.z.capacity() || slot == self.coefficients.capacity() {
            self.grow()?;
        }
        self.x.push(x);
        self.z.push(z);
        self.coefficients.push(coefficient);
        if (slot + 1) * 2 > self.table.len() {
            self.reindex(2 * slot + 2)?;
        } else {
            self.table[vacant] = h << 32 | (slot as u64 + 1);
        }
        Ok(slot)
    }

    /// Room for twice as many terms.
    #[cold]
    fn grow(&mut self) -> Result<()> {
        let more = self.coefficients.len().max(16);
        self.held.reserve(WHAT, &mut self.x, more)?;
        self.held.reserve(WHAT, &mut self.z, more)?;
        self.held.reserve(WHAT, &mut self.coefficients, more)
    }
}
