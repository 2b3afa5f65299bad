//! The working form of a sum while it moves through gates: terms in numbered slots, and an index of their words.
//!
//! Words are `[u64; W]` pairs with `W` fixed at compile time, chosen at run time from the width of the light cone.
//! Invariant: the words of the slots are distinct; while `indexed`, the open-addressing table finds each of them
//! (an entry is the low half of the hash and the slot plus one). A dropped term stays as a slot with coefficient
//! zero until the next compaction, so that a rotation never moves slots. A Clifford gate renames words in place and
//! only marks the index as stale; it is rebuilt at the next gate that needs it, once per run of Clifford gates.
//! Every list grows by announcing it ([`Held`]), and every loop over the slots looks at the flag that asks to stop: after
//! an error the terms mean nothing.
//! Cost: a rotation scans the slots and looks up one partner per anticommuting pair.
//!
//! Measured (20 qubits, 590 gates, up to 29,000 terms, one thread): this index 31 and 25 ms on two sets of angles;
//! sorted arrays with a merge per gate, re-sorted once per run of Clifford gates, 59 and 24 to 44 ms, and their terms
//! move, so that the sweep back would have to search for them.

use super::cone::Turn;
use super::record::Record;
use super::truncation::{Dropped, Truncation};
use crate::bits::memory::Held;
use crate::bits::parallel::Cancel;
use crate::bits::{room, zeros_watched};
use crate::error::{Error, Result};
use crate::gates::{LocalMap, Permutation};
use crate::pauli::Letter;
use crate::pauli::word::product_power;

/// The x and z bits of a word.
pub(crate) type Key<const W: usize> = ([u64; W], [u64; W]);

/// Most terms that a sum may have, where the memory holds them. A gate may double them, and the tape needs a bit of a
/// 32-bit slot number.
const MAX_TERMS: usize = 1 << 30;
/// What the memory of the terms is called.
const WHAT: &str = "the terms of a propagated sum (max_weight and min_coefficient drop some)";
/// Slots between two looks at the flag that asks to stop: a few milliseconds where each misses the cache.
const CHUNK: usize = 1 << 15;

/// A sum on its way through a circuit.
pub(crate) struct Terms<'c, const W: usize> {
    cancel: &'c Cancel,
    held: Held,
    x: Vec<[u64; W]>,
    z: Vec<[u64; W]>,
    coefficients: Vec<f64>,
    table: Vec<u64>,
    shift: u32,
    indexed: bool,
    /// Slots that truncation emptied since the last compaction.
    dead: usize,
    /// The rotation that last turned a slot as the partner of another.
    turned: Vec<u32>,
    rotation: u32,
    /// Slots to visit, and slots to drop afterwards.
    visit: Vec<u32>,
    small: Vec<u32>,
    max_weight: usize,
    min_coefficient: f64,
    max_terms: usize,
    pub(crate) dropped: Dropped,
}

fn hash<const W: usize>(x: &[u64; W], z: &[u64; W]) -> u64 {
    let mut h = 0u64;
    for i in 0..W {
        h = (h ^ x[i]).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        h = (h ^ z[i]).wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
    h ^ h >> 32
}

fn weight<const W: usize>(x: &[u64; W], z: &[u64; W]) -> usize {
    (0..W).map(|i| (x[i] | z[i]).count_ones() as usize).sum()
}

/// The power of `i` in the product of two words.
pub(crate) fn power<const W: usize>(a: &Key<W>, b: &Key<W>) -> u32 {
    (0..W).fold(0u32, |power, i| power.wrapping_add(product_power(a.0[i], a.1[i], b.0[i], b.1[i]))) & 3
}

/// The word with these letters.
pub(crate) fn key<const W: usize>(letters: impl IntoIterator<Item = (usize, Letter)>) -> Key<W> {
    let (mut x, mut z) = ([0; W], [0; W]);
    for (q, letter) in letters {
        x[q / 64] |= u64::from(letter.x()) << (q % 64);
        z[q / 64] |= u64::from(letter.z()) << (q % 64);
    }
    (x, z)
}

impl<'c, const W: usize> Terms<'c, W> {
    pub(crate) fn new(truncation: &Truncation, cancel: &'c Cancel) -> Self {
        Terms {
            cancel,
            held: Held::default(),
            x: Vec::new(),
            z: Vec::new(),
            coefficients: Vec::new(),
            table: vec![0; 64],
            shift: 58,
            indexed: true,
            dead: 0,
            turned: Vec::new(),
            rotation: 0,
            visit: Vec::new(),
            small: Vec::new(),
            max_weight: truncation.max_weight.unwrap_or(usize::MAX),
            min_coefficient: truncation.min_coefficient,
            max_terms: truncation.max_terms.unwrap_or(MAX_TERMS).min(MAX_TERMS),
            dropped: Dropped::default(),
        }
    }

    /// In a loop over the slots: an error once somebody asks to stop.
    #[inline]
    pub(crate) fn listen(&self, slot: usize) -> Result<()> {
        if slot.is_multiple_of(CHUNK) { self.cancel.check() } else { Ok(()) }
    }

    /// Adds `coefficient * word` and tells the slot of the word. Nothing is truncated.
    pub(crate) fn accumulate(&mut self, word: &Key<W>, coefficient: f64) -> Result<usize> {
        self.index()?;
        let h = hash(&word.0, &word.1);
        match self.find(&word.0, &word.1, h) {
            Ok(slot) => {
                self.coefficients[slot] += coefficient;
                Ok(slot)
            }
            Err(vacant) => self.insert(word.0, word.1, h, vacant, coefficient),
        }
    }

    /// The words and coefficients that are not zero, in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key<W>, f64)> + '_ {
        let words = self.x.iter().zip(&self.z).map(|(x, z)| (*x, *z));
        words.zip(self.coefficients.iter().copied()).filter(|(_, c)| *c != 0.0)
    }

    /// The words of all slots, the empty ones included.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Key<W>> + '_ {
        self.x.iter().zip(&self.z).map(|(x, z)| (*x, *z))
    }

    /// The coefficients of all slots.
    pub(crate) fn coefficients(&self) -> &[f64] {
        &self.coefficients
    }

    /// The coefficients of all slots; the words are given back.
    pub(crate) fn into_coefficients(self) -> Vec<f64> {
        self.coefficients
    }

    /// Drops what the truncation does not want, before the first gate.
    pub(crate) fn truncate<R: Record>(&mut self, record: &mut R) -> Result<()> {
        record.truncation(self.coefficients.len())?;
        let mut kept = self.list()?;
        for slot in 0..self.coefficients.len() {
            if weight(&self.x[slot], &self.z[slot]) > self.max_weight
                || self.coefficients[slot].abs() < self.min_coefficient
            {
                self.drop_slot(slot, record);
            } else {
                kept.push(slot as u32);
            }
        }
        self.compact(&kept, record)?;
        self.check_size::<R>()
    }

    /// A list of slots, empty, with room for all of them.
    fn list(&self) -> Result<Vec<u32>> {
        room(WHAT, self.coefficients.len(), 1)
    }

    /// Turns every word that anticommutes with P into `cos Q + sin i P Q`.
    pub(crate) fn rotate<R: Record>(
        &mut self,
        letters: &[(usize, Letter)],
        turn: Turn,
        record: &mut R,
    ) -> Result<()> {
        if turn.sin == 0.0 && turn.cos == 1.0 && !(R::ON && turn.open) {
            return Ok(());
        }
        let p: Key<W> = key(letters.iter().copied());
        // A multiple of a quarter turn renames words, and must then rename those of empty slots as well.
        let zeros = renames::<R>(turn) || self.zeros_matter::<R>();
        if self.dead * 2 > self.coefficients.len() + 64 {
            self.compact_dead(record)?;
        }
        match letters {
            [(q, letter)] => {
                let (word, bit) = (q / 64, q % 64);
                let (px, pz) = (u64::from(letter.x()), u64::from(letter.z()));
                self.visit_where(zeros, |x, z| ((x[word] >> bit & pz) ^ (z[word] >> bit & px)) != 0)?;
                // The sign of i P Q depends on the letter of Q on this qubit alone, and the weight stays.
                let mut signs = [0.0; 4];
                for code in 0..4u64 {
                    signs[code as usize] = sign(product_power(px, pz, code & 1, code >> 1));
                }
                let sign = |x: &[u64; W], z: &[u64; W]| {
                    signs[((x[word] >> bit & 1) | (z[word] >> bit & 1) << 1) as usize]
                };
                self.turn::<R, false>(&p, turn, sign, record)?;
            }
            _ => {
                self.visit_where(zeros, |x, z| {
                    let overlap = (0..W).fold(0, |all, i| all ^ (x[i] & p.1[i]) ^ (z[i] & p.0[i]));
                    overlap.count_ones() & 1 == 1
                })?;
                let sign = |x: &[u64; W], z: &[u64; W]| sign(power(&p, &(*x, *z)));
                self.turn::<R, true>(&p, turn, sign, record)?;
            }
        }
        self.check_size::<R>()
    }

    /// Lists the slots whose words satisfy the condition, with those that are zero or without.
    fn visit_where(&mut self, zeros: bool, condition: impl Fn(&[u64; W], &[u64; W]) -> bool) -> Result<()> {
        let slots = self.coefficients.len();
        self.visit.clear();
        self.held.reserve(WHAT, &mut self.visit, slots)?;
        let mut found = 0;
        for start in (0..slots).step_by(CHUNK) {
            self.cancel.check()?;
            let end = (start + CHUNK).min(slots);
            self.visit.resize(found + end - start, 0);
            for slot in start..end {
                let wanted =
                    condition(&self.x[slot], &self.z[slot]) & (zeros | (self.coefficients[slot] != 0.0));
                self.visit[found] = slot as u32;
                found += usize::from(wanted);
            }
        }
        self.visit.truncate(found);
        Ok(())
    }

    /// Turns the listed slots with their partners. `WIDENS`: whether a partner may weigh more.
    fn turn<R: Record, const WIDENS: bool>(
        &mut self,
        p: &Key<W>,
        turn: Turn,
        sign: impl Fn(&[u64; W], &[u64; W]) -> f64,
        record: &mut R,
    ) -> Result<()> {
        if self.visit.is_empty() {
            return Ok(());
        }
        if renames::<R>(turn) {
            return self.turn_quarters::<R, WIDENS>(p, turn, sign, record);
        }
        let Turn { cos, sin, operation, .. } = turn;
        self.index()?;
        let slots = self.coefficients.len();
        self.rotation = self.rotation.wrapping_add(1);
        if self.rotation == 0 || self.turned.len() < slots {
            self.clear_turned(slots)?;
        }
        record.rotation(cos, sin, operation, self.visit.len())?;
        let visit = std::mem::take(&mut self.visit);
        let mut small = std::mem::take(&mut self.small);
        let min = self.min_coefficient;
        let mut emptied = 0;
        for (at, &slot) in visit.iter().enumerate() {
            self.listen(at)?;
            let slot = slot as usize;
            if self.turned[slot] == self.rotation {
                continue;
            }
            let (mut x, mut z) = (self.x[slot], self.z[slot]);
            let sign = sign(&x, &z);
            for i in 0..W {
                x[i] ^= p.0[i];
                z[i] ^= p.1[i];
            }
            let h = hash(&x, &z);
            let before = self.coefficients[slot];
            let child = sign * sin * before;
            let after = match self.find(&x, &z, h) {
                Ok(partner) => {
                    let other = self.coefficients[partner];
                    if partner < slots {
                        self.turned[partner] = self.rotation;
                    }
                    let turned = cos * other + child;
                    self.coefficients[partner] = turned;
                    record.pair(slot, partner, sign < 0.0);
                    if turned.abs() < min {
                        self.held.push(WHAT, &mut small, partner as u32)?;
                    }
                    cos * before - sign * sin * other
                }
                Err(vacant) => {
                    if child.abs() < min || (WIDENS && weight(&x, &z) > self.max_weight) {
                        self.dropped.add(child);
                        record.lone(slot, before)?;
                    } else if R::ON || child != 0.0 {
                        let partner = self.insert(x, z, h, vacant, child)?;
                        record.pair(slot, partner, sign < 0.0);
                    }
                    cos * before
                }
            };
            self.coefficients[slot] = after;
            if after.abs() < min {
                self.held.push(WHAT, &mut small, slot as u32)?;
            } else if after == 0.0 {
                emptied += 1;
            }
        }
        if !small.is_empty() {
            record.truncation(small.len())?;
            small.drain(..).for_each(|slot| self.drop_slot(slot as usize, record));
        }
        if !R::ON {
            self.dead += emptied;
        }
        self.visit = visit;
        self.small = small;
        Ok(())
    }

    /// Forgets which slots were turned, with room for twice as many.
    fn clear_turned(&mut self, slots: usize) -> Result<()> {
        let size = slots.next_power_of_two();
        self.turned.clear();
        self.held.reserve(WHAT, &mut self.turned, size)?;
        while self.turned.len() < size {
            self.cancel.check()?;
            self.turned.resize((self.turned.len() + 32 * CHUNK).min(size), 0);
        }
        self.rotation = 1;
        Ok(())
    }

    /// [`Self::turn`] by a multiple of a quarter turn: words are renamed and signs change, nothing branches.
    fn turn_quarters<R: Record, const WIDENS: bool>(
        &mut self,
        p: &Key<W>,
        Turn { cos, sin, .. }: Turn,
        sign: impl Fn(&[u64; W], &[u64; W]) -> f64,
        record: &mut R,
    ) -> Result<()> {
        record.signs(self.visit.len())?;
        let visit = std::mem::take(&mut self.visit);
        let mut heavy = Vec::new();
        for (i, &slot) in visit.iter().enumerate() {
            self.listen(i)?;
            let at = slot as usize;
            let (x, z) = (&mut self.x[at], &mut self.z[at]);
            let factor = if cos == 0.0 { sign(x, z) * sin } else { cos };
            if cos == 0.0 {
                for i in 0..W {
                    x[i] ^= p.0[i];
                    z[i] ^= p.1[i];
                }
                if WIDENS && weight(x, z) > self.max_weight {
                    self.held.push(WHAT, &mut heavy, slot)?;
                }
            }
            if factor < 0.0 {
                self.coefficients[at] = -self.coefficients[at];
                record.flipped(at);
            }
        }
        self.indexed &= cos != 0.0;
        self.visit = visit;
        self.drop_heavy(heavy, record)
    }

    /// Renames the words by a Clifford gate.
    pub(crate) fn permute<R: Record>(
        &mut self,
        wires: &[usize],
        table: &[u8; 16],
        record: &mut R,
    ) -> Result<()> {
        record.signs(self.coefficients.len())?;
        let wide = wires.len() > 1 && self.max_weight != usize::MAX;
        let mut heavy = Vec::new();
        for slot in 0..self.coefficients.len() {
            self.listen(slot)?;
            let code = self.code(slot, wires);
            if code == 0 {
                continue;
            }
            let image = usize::from(table[code] & 15);
            if table[code] & Permutation::NEGATIVE != 0 {
                self.coefficients[slot] = -self.coefficients[slot];
                record.flipped(slot);
            }
            if image == code {
                continue;
            }
            set_code(&mut self.x[slot], &mut self.z[slot], wires, code ^ image);
            if wide && weight(&self.x[slot], &self.z[slot]) > self.max_weight {
                self.held.push(WHAT, &mut heavy, slot as u32)?;
            }
        }
        self.indexed = false;
        self.drop_heavy(heavy, record)
    }

    /// Drops slots, ascending, and closes the gaps.
    fn drop_heavy<R: Record>(&mut self, heavy: Vec<u32>, record: &mut R) -> Result<()> {
        if heavy.is_empty() {
            return Ok(());
        }
        record.truncation(heavy.len())?;
        heavy.iter().for_each(|&slot| self.drop_slot(slot as usize, record));
        let mut heavy = heavy.into_iter().peekable();
        let slots = self.coefficients.len() as u32;
        let mut kept = self.list()?;
        kept.extend((0..slots).filter(|slot| heavy.next_if_eq(slot).is_none()));
        self.compact(&kept, record)
    }

    /// Applies a linear map on the words of a few qubits.
    pub(crate) fn map<R: Record>(
        &mut self,
        wires: &[usize],
        map: &LocalMap,
        operation: usize,
        record: &mut R,
    ) -> Result<()> {
        let slots = self.coefficients.len();
        // The old lists and the new ones are there at the same time.
        let x = std::mem::take(&mut self.x);
        let z = std::mem::take(&mut self.z);
        let before = std::mem::take(&mut self.coefficients);
        self.held.reserve(WHAT, &mut self.x, slots)?;
        self.held.reserve(WHAT, &mut self.z, slots)?;
        self.held.reserve(WHAT, &mut self.coefficients, slots)?;
        self.table.fill(0);
        self.indexed = true;
        self.dead = 0;
        record.map(&before, operation)?;
        let zeros_matter = self.zeros_matter::<R>();
        // Words that are too heavy are summed too, for the ledger, and fall at the end.
        let mut heavy = Vec::new();
        for slot in 0..slots {
            if before[slot] == 0.0 && !zeros_matter {
                continue;
            }
            self.listen(slot)?;
            // What truncation will take away again must not fill the memory before.
            self.check_terms(self.coefficients.len() / 2)?;
            let code = code_of(&x[slot], &z[slot], wires);
            record.entries(map.row(code).len())?;
            for entry in map.row(code) {
                if entry.value == 0.0 && !R::ON {
                    continue;
                }
                let (mut x, mut z) = (x[slot], z[slot]);
                set_code(&mut x, &mut z, wires, code ^ entry.to as usize);
                let h = hash(&x, &z);
                let term = entry.value * before[slot];
                let to = match self.find(&x, &z, h) {
                    Ok(to) => {
                        self.coefficients[to] += term;
                        to
                    }
                    Err(vacant) => {
                        let to = self.insert(x, z, h, vacant, term)?;
                        if weight(&x, &z) > self.max_weight {
                            self.held.push(WHAT, &mut heavy, to as u32)?;
                        }
                        to
                    }
                };
                record.entry(slot, to, code, entry);
            }
        }
        if heavy.is_empty() && self.min_coefficient == 0.0 {
            return self.check_size::<R>();
        }
        record.truncation(self.coefficients.len())?;
        let mut heavy = heavy.into_iter().peekable();
        let mut kept = self.list()?;
        for slot in 0..self.coefficients.len() as u32 {
            let too_heavy = heavy.next_if_eq(&slot).is_some();
            if too_heavy || self.coefficients[slot as usize].abs() < self.min_coefficient {
                self.drop_slot(slot as usize, record);
            } else {
                kept.push(slot);
            }
        }
        self.compact(&kept, record)?;
        self.check_size::<R>()
    }

    fn code(&self, slot: usize, wires: &[usize]) -> usize {
        code_of(&self.x[slot], &self.z[slot], wires)
    }

    fn drop_slot<R: Record>(&mut self, slot: usize, record: &mut R) {
        let before = std::mem::take(&mut self.coefficients[slot]);
        record.dropped(slot, before);
        self.dropped.add(before);
        self.dead += 1;
    }

    fn compact_dead<R: Record>(&mut self, record: &mut R) -> Result<()> {
        let mut kept = self.list()?;
        let slots = 0..self.coefficients.len() as u32;
        kept.extend(slots.filter(|&slot| self.coefficients[slot as usize] != 0.0));
        self.compact(&kept, record)
    }

    fn compact<R: Record>(&mut self, kept: &[u32], record: &mut R) -> Result<()> {
        self.dead = 0;
        let slots = self.coefficients.len();
        if kept.len() == slots {
            return Ok(());
        }
        record.compacted(kept, slots)?;
        for (new, &old) in kept.iter().enumerate() {
            self.listen(new)?;
            self.x[new] = self.x[old as usize];
            self.z[new] = self.z[old as usize];
            self.coefficients[new] = self.coefficients[old as usize];
        }
        self.x.truncate(kept.len());
        self.z.truncate(kept.len());
        self.coefficients.truncate(kept.len());
        self.indexed = false;
        Ok(())
    }

    /// Whether a term that is zero must be kept, because its derivative is not.
    fn zeros_matter<R: Record>(&self) -> bool {
        R::ON && self.min_coefficient == 0.0
    }

    /// Refuses more terms than the truncation allows.
    fn check_size<R: Record>(&self) -> Result<()> {
        let slots = self.coefficients.len();
        if slots <= self.max_terms {
            return Ok(());
        }
        let zeros_matter = self.zeros_matter::<R>();
        self.check_terms(self.coefficients.iter().filter(|c| zeros_matter || **c != 0.0).count())
    }

    pub(crate) fn check_terms(&self, needed: usize) -> Result<()> {
        if needed <= self.max_terms {
            return Ok(());
        }
        Err(Error::Limit {
            what: "terms of a propagated sum".into(),
            needed: needed as u64,
            limit: self.max_terms as u64,
            remedy: "raise max_terms, or truncate more with max_weight or min_coefficient".into(),
        })
    }

    /// Makes the index valid.
    fn index(&mut self) -> Result<()> {
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
    fn find(&self, x: &[u64; W], z: &[u64; W], h: u64) -> std::result::Result<usize, usize> {
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
    fn insert(&mut self, x: [u64; W], z: [u64; W], h: u64, vacant: usize, coefficient: f64) -> Result<usize> {
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

/// Whether a rotation is by quarter turns that nobody will differentiate: it moves words and does not branch.
fn renames<R: Record>(turn: Turn) -> bool {
    (turn.sin == 0.0 || turn.cos == 0.0) && !(R::ON && turn.open)
}

/// The sign of `i P Q` from the power of `i` in `P Q`.
#[inline]
fn sign(power: u32) -> f64 {
    if power & 3 == 1 { -1.0 } else { 1.0 }
}

/// The code of a word on a few qubits.
#[inline]
fn code_of<const W: usize>(x: &[u64; W], z: &[u64; W], wires: &[usize]) -> usize {
    let mut code = 0;
    for (j, &q) in wires.iter().enumerate() {
        let (word, bit) = (q / 64, q % 64);
        code |= ((x[word] >> bit & 1) | (z[word] >> bit & 1) << 1) << (2 * j);
    }
    code as usize
}

/// Flips the bits of a code difference.
#[inline]
fn set_code<const W: usize>(x: &mut [u64; W], z: &mut [u64; W], wires: &[usize], difference: usize) {
    for (j, &q) in wires.iter().enumerate() {
        let (word, bit) = (q / 64, q % 64);
        x[word] ^= ((difference >> (2 * j) & 1) as u64) << bit;
        z[word] ^= ((difference >> (2 * j + 1) & 1) as u64) << bit;
    }
}
