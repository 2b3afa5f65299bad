//! What a propagation did to its coefficients, so that it can be undone and differentiated.
//!
//! Terms live in numbered slots. Every change of the coefficients is a linear map between few slots, written down
//! as an [`Event`]; rotations are orthogonal and are undone without being stored. Invariant: replaying the events
//! from the last to the first restores every coefficient, and carries `lambda` (the derivative of the value by each
//! coefficient) along as the transposed maps. Cost: 8 bytes per rotated pair, 16 per truncation; the sweep back
//! touches each entry once and never hashes.

use crate::bits::memory::Held;
use crate::bits::parallel::Cancel;
use crate::bits::room;
use crate::error::Result;
use crate::gates::LocalEntry;

/// What the memory of a record is called.
const WHAT: &str = "the record of a propagation (max_weight and min_coefficient make it shorter)";
/// Entries between two looks at the flag that asks to stop.
const CHUNK: usize = 1 << 16;

/// Receives the changes of a propagation. The silent recorder [`Silent`] costs nothing.
///
/// Whatever begins a series says how many may follow, so that there is room for them.
pub(crate) trait Record {
    /// Whether anything is kept; terms that are zero matter only then, for their derivatives do not vanish.
    const ON: bool;
    /// The rotation of an operation of the circuit begins; its pairs and lone terms follow.
    fn rotation(&mut self, cos: f64, sin: f64, operation: usize, pairs: usize) -> Result<()>;
    /// Slots `a` and `b` turned: `a' = cos a - s sin b`, `b' = cos b + s sin a`, with `s = -1` when `negative`.
    fn pair(&mut self, a: usize, b: usize, negative: bool);
    /// The slot held `before` and was multiplied by `cos`; its partner was truncated.
    fn lone(&mut self, slot: usize, before: f64) -> Result<()>;
    /// Truncations of slots begin.
    fn truncation(&mut self, slots: usize) -> Result<()>;
    /// The slot held `before` and was set to zero.
    fn dropped(&mut self, slot: usize, before: f64);
    /// Changes of sign begin.
    fn signs(&mut self, slots: usize) -> Result<()>;
    /// The slot changed its sign.
    fn flipped(&mut self, slot: usize);
    /// Only these of `before` slots remain, in this order.
    fn compacted(&mut self, kept: &[u32], before: usize) -> Result<()>;
    /// The linear map of an operation begins; its entries follow. `before` are the coefficients that it reads.
    fn map(&mut self, before: &[f64], operation: usize) -> Result<()>;
    /// As many entries may follow.
    fn entries(&mut self, more: usize) -> Result<()>;
    /// The new slot `to` received the entry of the local row `code` times the old slot `from`.
    fn entry(&mut self, from: usize, to: usize, code: usize, entry: &LocalEntry);
}

/// Records nothing.
pub(crate) struct Silent;

impl Record for Silent {
    const ON: bool = false;
    fn rotation(&mut self, _: f64, _: f64, _: usize, _: usize) -> Result<()> {
        Ok(())
    }
    fn pair(&mut self, _: usize, _: usize, _: bool) {}
    fn lone(&mut self, _: usize, _: f64) -> Result<()> {
        Ok(())
    }
    fn truncation(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn dropped(&mut self, _: usize, _: f64) {}
    fn signs(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn flipped(&mut self, _: usize) {}
    fn compacted(&mut self, _: &[u32], _: usize) -> Result<()> {
        Ok(())
    }
    fn map(&mut self, _: &[f64], _: usize) -> Result<()> {
        Ok(())
    }
    fn entries(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn entry(&mut self, _: usize, _: usize, _: usize, _: &LocalEntry) {}
}

/// One change; the numbers are where its entries start in the arrays of the [`ReverseRecord`].
#[derive(Debug, Clone, Copy)]
enum Event {
    Rotation { cos: f64, sin: f64, operation: usize, pairs: usize, lone: usize },
    Truncation { dropped: usize },
    Signs { flipped: usize },
    Compaction { kept: usize, before: usize },
    Map { operation: usize, entries: usize, before: usize },
}

/// Marks the negative sign of a pair in its second slot.
const NEGATIVE: u32 = 1 << 31;

#[derive(Debug, Clone, Copy)]
struct Entry {
    from: u32,
    to: u32,
    value: f64,
    slope: f64,
}

/// The recorder that [`ReverseRecord::sweep`] reads back.
#[derive(Debug, Default)]
pub(crate) struct ReverseRecord {
    events: Vec<Event>,
    pairs: Vec<(u32, u32)>,
    lone: Vec<(u32, f64)>,
    dropped: Vec<(u32, f64)>,
    flipped: Vec<u32>,
    kept: Vec<u32>,
    entries: Vec<Entry>,
    before: Vec<f64>,
    held: Held,
}

impl Record for ReverseRecord {
    const ON: bool = true;

    fn rotation(&mut self, cos: f64, sin: f64, operation: usize, pairs: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.pairs, pairs)?;
        let (pairs, lone) = (self.pairs.len(), self.lone.len());
        self.events.push(Event::Rotation { cos, sin, operation, pairs, lone });
        Ok(())
    }

    #[inline]
    fn pair(&mut self, a: usize, b: usize, negative: bool) {
        self.pairs.push((a as u32, b as u32 | if negative { NEGATIVE } else { 0 }));
    }

    #[inline]
    fn lone(&mut self, slot: usize, before: f64) -> Result<()> {
        self.held.push(WHAT, &mut self.lone, (slot as u32, before))
    }

    fn truncation(&mut self, slots: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.dropped, slots)?;
        self.events.push(Event::Truncation { dropped: self.dropped.len() });
        Ok(())
    }

    #[inline]
    fn dropped(&mut self, slot: usize, before: f64) {
        self.dropped.push((slot as u32, before));
    }

    fn signs(&mut self, slots: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.flipped, slots)?;
        self.events.push(Event::Signs { flipped: self.flipped.len() });
        Ok(())
    }

    #[inline]
    fn flipped(&mut self, slot: usize) {
        self.flipped.push(slot as u32);
    }

    fn compacted(&mut self, kept: &[u32], before: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.kept, kept.len())?;
        self.events.push(Event::Compaction { kept: self.kept.len(), before });
        self.kept.extend_from_slice(kept);
        Ok(())
    }

    fn map(&mut self, before: &[f64], operation: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.before, before.len())?;
        self.events.push(Event::Map { operation, entries: self.entries.len(), before: self.before.len() });
        self.before.extend_from_slice(before);
        Ok(())
    }

    fn entries(&mut self, more: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.entries, more)
    }

    #[inline]
    fn entry(&mut self, from: usize, to: usize, _: usize, entry: &LocalEntry) {
        let LocalEntry { value, slope, .. } = *entry;
        self.entries.push(Entry { from: from as u32, to: to as u32, value, slope });
    }
}

impl ReverseRecord {
    /// Undoes the propagation that ended with `coefficients`, whose value has the derivatives `lambda` by them,
    /// and hands the derivative of the value by the angle of each operation that it meets to `slope_of`.
    pub(crate) fn sweep(
        mut self,
        coefficients: &[f64],
        lambda: &[f64],
        cancel: &Cancel,
        mut slope_of: impl FnMut(usize, f64),
    ) -> Result<()> {
        // Coefficient and derivative side by side: a pair costs two cache lines, not four.
        let mut slots = room("the sweep back", coefficients.len(), 1)?;
        slots.extend(coefficients.iter().zip(lambda).map(|(&c, &l)| [c, l]));
        while let Some(event) = self.events.pop() {
            cancel.check()?;
            match event {
                Event::Rotation { cos, sin, operation, pairs, lone } => {
                    let mut slope = 0.0;
                    for chunk in self.pairs[pairs..].chunks(CHUNK) {
                        cancel.check()?;
                        for &(a, b) in chunk {
                            let sign = if b & NEGATIVE == 0 { 1.0 } else { -1.0 };
                            let (a, b) = (a as usize, (b & !NEGATIVE) as usize);
                            let ([ca, la], [cb, lb]): ([f64; 2], [f64; 2]) = (slots[a], slots[b]);
                            slope += sign * (lb * ca - la * cb);
                            let s = sign * sin;
                            slots[a] = [cos * ca + s * cb, cos * la + s * lb];
                            slots[b] = [cos * cb - s * ca, cos * lb - s * la];
                        }
                    }
                    for &(a, before) in &self.lone[lone..] {
                        let slot = &mut slots[a as usize];
                        slope -= slot[1] * sin * before;
                        *slot = [before, cos * slot[1]];
                    }
                    self.pairs.truncate(pairs);
                    self.lone.truncate(lone);
                    slope_of(operation, slope);
                }
                Event::Truncation { dropped } => {
                    for (slot, before) in self.dropped.drain(dropped..) {
                        slots[slot as usize] = [before, 0.0];
                    }
                }
                Event::Signs { flipped } => {
                    for slot in self.flipped.drain(flipped..) {
                        let [c, l] = slots[slot as usize];
                        slots[slot as usize] = [-c, -l];
                    }
                }
                Event::Compaction { kept, before } => {
                    let mut spread = room("the sweep back", before, 1)?;
                    spread.resize(before, [0.0; 2]);
                    for (new, old) in self.kept.drain(kept..).enumerate() {
                        spread[old as usize] = slots[new];
                    }
                    slots = spread;
                }
                Event::Map { operation, entries, before } => {
                    let mut old = room("the sweep back", self.before.len() - before, 1)?;
                    old.extend(self.before.drain(before..).map(|c| [c, 0.0]));
                    let mut slope = 0.0;
                    for chunk in self.entries[entries..].chunks(CHUNK) {
                        cancel.check()?;
                        for entry in chunk {
                            let [c, l]: &mut [f64; 2] = &mut old[entry.from as usize];
                            let lambda = slots[entry.to as usize][1];
                            *l += entry.value * lambda;
                            slope += entry.slope * lambda * *c;
                        }
                    }
                    self.entries.truncate(entries);
                    slots = old;
                    slope_of(operation, slope);
                }
            }
        }
        Ok(())
    }
}
