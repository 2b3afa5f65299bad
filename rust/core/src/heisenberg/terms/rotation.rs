//! Rotations: slots turn in pairs, in place.
//!
//! Invariant: no slot moves, a pair turns once, and partners that are new have the slots after the old ones.

use super::key::{hash, key, power, weight};
use super::{CHUNK, Key, Terms, WHAT};
use crate::error::Result;
use crate::heisenberg::cone::Turn;
use crate::heisenberg::record::Record;
use crate::pauli::Letter;
use crate::pauli::word::product_power;

impl<const W: usize> Terms<'_, W> {
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
