//! Gates on a few qubits that are no rotations: Clifford gates rename words, linear maps make new lists.

use super::key::{code_of, hash, set_code, weight};
use super::{Terms, WHAT};
use crate::error::Result;
use crate::gates::{LocalMap, Permutation};
use crate::heisenberg::record::Record;

impl<const W: usize> Terms<'_, W> {
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
            let code = code_of(&self.x[slot], &self.z[slot], wires);
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

    /// Applies a linear map on the words of a few qubits.
    pub(crate) fn map<R: Record>(
        &mut self,
        wires: &[usize],
        map: &LocalMap,
        operation: usize,
        record: &mut R,
    ) -> Result<()> {
        if !R::ON && map.is_diagonal() {
            return self.multiply(wires, map, record);
        }
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

    /// Applies a map that multiplies each word by a number, in place.
    fn multiply<R: Record>(&mut self, wires: &[usize], map: &LocalMap, record: &mut R) -> Result<()> {
        let codes = 1 << (2 * wires.len());
        let factors: Vec<f64> = (0..codes).map(|code| map.value(code, code as u32)).collect();
        for slot in 0..self.coefficients.len() {
            self.listen(slot)?;
            self.coefficients[slot] *= factors[code_of(&self.x[slot], &self.z[slot], wires)];
        }
        if self.min_coefficient > 0.0 { self.truncate(record) } else { Ok(()) }
    }
}
