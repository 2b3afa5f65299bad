//! What the bits of one setting mean: words as sets of planes, with coefficients.
//!
//! The value of a word in a shot is the parity of some bits. Over 64 shots at once that is the XOR of some planes, and its
//! sum over the shots is their number less twice the bits set. Words are made from each other: a straight list of steps, in
//! which each XORs two limbs that are there. So no loop has a length that depends on a word, and none is mispredicted.
//!
//! Invariant: words ascend by their planes and are different; signs are part of the coefficients; no coefficient is
//! zero. Sums are added in this order, so they have the same bits on all machines.
//! Cost: per word and 64 shots about two XORs and one population count, then a multiplication per coefficient.

mod stored;

use efl_core::estimate::{DIRECTIONS, Directions};
use efl_core::pauli::PauliSum;
use efl_core::stabiliser::Setting;
use efl_core::{Error, Result};
use std::collections::BTreeMap;

/// A limb that is the XOR of two others.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step(u32, u32);

/// A word that an output reads: the limb of its values.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Source {
    limb: u32,
    output: u32,
}

/// A coefficient of a source, and the number that it contributes to.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    source: u32,
    column: u32,
    coefficient: f64,
}

/// Words of one setting. Limbs are a zero, the planes, then those of the steps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Masks {
    steps: Vec<Step>,
    sources: Vec<Source>,
    terms: Vec<Term>,
    /// For each direction in which a calibration may be wrong, by which part of itself each source is: so many tables as
    /// there are directions, or none.
    wrong: Vec<f64>,
}

/// Sums on their way to masks: for each set of planes the coefficient of each (output, column).
#[derive(Debug)]
pub(crate) struct Collect<'s> {
    setting: &'s Setting,
    words: BTreeMap<Vec<u16>, BTreeMap<(u32, u32), f64>>,
}

impl<'s> Collect<'s> {
    pub(crate) fn new(setting: &'s Setting) -> Self {
        Collect { setting, words: BTreeMap::new() }
    }

    /// Adds `factor` times a sum, all of whose words the setting has to reveal.
    pub(crate) fn add(&mut self, output: u32, column: u32, sum: &PauliSum, factor: f64) -> Result<()> {
        for (word, coefficient) in sum.iter() {
            let Some(parity) = self.setting.reveal(word)? else {
                let expected = format!("words that {:?} reveals", self.setting);
                return Err(Error::invalid("readings", expected, word.to_word().to_string()));
            };
            let planes: Vec<u16> = (0..self.setting.n_qubits())
                .filter(|q| parity.mask[q / 64] >> (q % 64) & 1 == 1)
                .map(|q| q as u16)
                .collect();
            let value = if parity.negative { -coefficient } else { coefficient } * factor;
            *self.words.entry(planes).or_default().entry((output, column)).or_insert(0.0) += value;
        }
        Ok(())
    }

    /// The masks, and how wrong they may be because of the calibration that sums were divided by.
    pub(crate) fn finish(self, mut directions: Option<&mut Directions<'_>>) -> Result<Masks> {
        let (mut masks, n) = (Masks::default(), self.setting.n_qubits() as u32);
        let mut limbs: BTreeMap<Vec<u16>, u32> = BTreeMap::new();
        let mut wrong: [Vec<f64>; DIRECTIONS] = Default::default();
        for (planes, terms) in self.words {
            let mut mask = vec![0; (n as usize).div_ceil(64)];
            planes.iter().for_each(|q| mask[usize::from(*q) / 64] |= 1 << (q % 64));
            let own = directions.as_mut().map(|directions| directions.of(&mask)).transpose()?;
            let mut last = None;
            for ((output, column), coefficient) in terms.into_iter().filter(|(_, c)| *c != 0.0) {
                if last != Some(output) {
                    let limb = masks.limb(n, &planes, &mut limbs);
                    masks.sources.push(Source { limb, output });
                    if let Some((_, own)) = own {
                        wrong.iter_mut().zip(own).for_each(|(all, own)| all.push(own));
                    }
                    last = Some(output);
                }
                masks.terms.push(Term { source: masks.sources.len() as u32 - 1, column, coefficient });
            }
        }
        masks.wrong = wrong.concat();
        Ok(masks)
    }
}

/// Consecutive shots, as the limbs of a plane that hold them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Window {
    /// Number of shots.
    pub(crate) shots: usize,
    first: usize,
    limbs: Vec<u64>,
}

impl Window {
    pub(crate) fn new(start: usize, shots: usize) -> Self {
        let end = start + shots;
        let (first, last) = (start / 64, end.div_ceil(64));
        let limb = |k: usize| {
            let (low, high) = (start.max(64 * k) - 64 * k, end.min(64 * k + 64) - 64 * k);
            (u64::MAX >> (64 - (high - low))) << low
        };
        Window { shots, first, limbs: if shots == 0 { vec![] } else { (first..last).map(limb).collect() } }
    }
}

/// The planes of a query, a number of limbs for each qubit.
#[derive(Debug, Clone, Default)]
pub(crate) struct Planes {
    /// Limbs of a plane.
    limbs: usize,
    bits: Vec<u64>,
}

impl Planes {
    /// Takes the planes of so many shots.
    #[inline(always)]
    pub(crate) fn load(&mut self, bytes: &[u8], shots: usize) {
        let plane = shots.div_ceil(8);
        self.limbs = shots.div_ceil(64);
        self.bits.clear();
        if plane == 0 {
            return;
        }
        for plane in bytes.chunks_exact(plane) {
            for part in plane.chunks(8) {
                let limb = part.iter().rev().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
                self.bits.push(limb);
            }
        }
    }
}

/// Room that reading needs, to be used again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    limbs: Vec<u64>,
    ones: Vec<u32>,
    signals: Vec<f64>,
    scaled: Vec<f64>,
}

/// The first values of a list that is as long as it ever had to be: what is in them is old.
#[inline(always)]
fn room<T: Copy + Default>(list: &mut Vec<T>, count: usize) -> &mut [T] {
    if list.len() < count {
        list.resize(count, T::default());
    }
    &mut list[..count]
}

impl Masks {
    /// The limb of a set of planes: made from that of all but the last of them.
    fn limb(&mut self, n_qubits: u32, planes: &[u16], limbs: &mut BTreeMap<Vec<u16>, u32>) -> u32 {
        let Some((last, rest)) = planes.split_last() else { return 0 };
        let plane = 1 + u32::from(*last);
        if rest.is_empty() {
            return plane;
        }
        if let Some(limb) = limbs.get(planes) {
            return *limb;
        }
        let before = self.limb(n_qubits, rest, limbs);
        self.steps.push(Step(before, plane));
        let limb = n_qubits + self.steps.len() as u32;
        limbs.insert(planes.to_vec(), limb);
        limb
    }

    pub(crate) fn are_finite(&self) -> bool {
        self.terms.iter().all(|term| term.coefficient.is_finite()) && self.wrong.iter().all(|w| w.is_finite())
    }

    /// The columns that terms contribute to are below this.
    pub(crate) fn columns(&self) -> usize {
        self.terms.iter().map(|term| term.column as usize + 1).max().unwrap_or(0)
    }

    pub(crate) fn nbytes(&self) -> usize {
        size_of_val(&*self.steps)
            + size_of_val(&*self.sources)
            + size_of_val(&*self.terms)
            + size_of_val(&*self.wrong)
    }

    /// The limbs of all words, of limb `k` of the planes.
    #[inline(always)]
    fn run<'l>(&self, planes: &Planes, k: usize, limbs: &'l mut Vec<u64>) -> &'l [u64] {
        let n = planes.bits.len() / planes.limbs;
        // A slice, whose place is known in the loops; that of a vector is looked up every time.
        let limbs = room(limbs, 1 + n + self.steps.len());
        limbs[0] = 0;
        for q in 0..n {
            limbs[1 + q] = planes.bits[q * planes.limbs + k];
        }
        for (i, Step(a, b)) in self.steps.iter().enumerate() {
            limbs[1 + n + i] = limbs[*a as usize] ^ limbs[*b as usize];
        }
        limbs
    }

    /// For each source in how many shots of a window its word is odd.
    #[inline(always)]
    fn ones<'w>(
        &self,
        planes: &Planes,
        window: &Window,
        limbs: &mut Vec<u64>,
        ones: &'w mut Vec<u32>,
    ) -> &'w [u32] {
        let ones = room(ones, self.sources.len());
        ones.fill(0);
        for (k, mask) in window.limbs.iter().enumerate() {
            let limbs = self.run(planes, window.first + k, limbs);
            for (ones, source) in ones.iter_mut().zip(&self.sources) {
                *ones += (limbs[source.limb as usize] & mask).count_ones();
            }
        }
        ones
    }

    /// Adds to `out` the sums over a window, those of an output with its weight; with a calibration, behind them by how
    /// much they are wrong in each direction.
    #[inline(always)]
    pub(crate) fn contract(
        &self,
        planes: &Planes,
        window: &Window,
        weights: &[f64],
        work: &mut Work,
        out: &mut [f64],
    ) {
        let Work { limbs, ones, signals, scaled } = work;
        let signals = room(signals, self.sources.len());
        let signal = |ones: u32, source: &Source| {
            (window.shots as i64 - 2 * i64::from(ones)) as f64 * weights[source.output as usize]
        };
        if let [mask] = window.limbs[..] {
            // Nearly always: no counts to be added up.
            let limbs = self.run(planes, window.first, limbs);
            for (value, source) in signals.iter_mut().zip(&self.sources) {
                *value = signal((limbs[source.limb as usize] & mask).count_ones(), source);
            }
        } else {
            let ones = self.ones(planes, window, limbs, ones);
            for ((value, ones), source) in signals.iter_mut().zip(ones).zip(&self.sources) {
                *value = signal(*ones, source);
            }
        }
        if self.wrong.is_empty() {
            return self.spread(signals, out);
        }
        let columns = out.len() / (1 + DIRECTIONS);
        let (values, more) = out.split_at_mut(columns);
        self.spread(signals, values);
        for (out, wrong) in more.chunks_exact_mut(columns).zip(self.wrong.chunks_exact(self.sources.len())) {
            let scaled = room(scaled, signals.len());
            for ((scaled, signal), wrong) in scaled.iter_mut().zip(&*signals).zip(wrong) {
                *scaled = signal * wrong;
            }
            self.spread(scaled, out);
        }
    }

    /// Adds what sources say to the numbers that they contribute to.
    #[inline(always)]
    fn spread(&self, signals: &[f64], out: &mut [f64]) {
        for term in &self.terms {
            out[term.column as usize] += term.coefficient * signals[term.source as usize];
        }
    }

    /// Adds the readings of every shot of a window to `out`, whose rows have `n_outputs` values.
    pub(crate) fn shots(
        &self,
        planes: &Planes,
        window: &Window,
        n_outputs: usize,
        work: &mut Work,
        out: &mut [f64],
    ) {
        let mut row = 0;
        for (k, mask) in window.limbs.iter().enumerate() {
            let limbs = self.run(planes, window.first + k, &mut work.limbs);
            for bit in (0..64).filter(|bit| mask >> bit & 1 == 1) {
                for term in &self.terms {
                    let source = self.sources[term.source as usize];
                    let odd = limbs[source.limb as usize] >> bit & 1 == 1;
                    out[row * n_outputs + source.output as usize] +=
                        if odd { -term.coefficient } else { term.coefficient };
                }
                row += 1;
            }
        }
    }

    /// In how many shots of a window the reading of an output is positive, if at most one word makes it.
    pub(crate) fn positive(
        &self,
        planes: &Planes,
        window: &Window,
        output: usize,
        work: &mut Work,
    ) -> Option<i64> {
        let own = |term: &&Term| self.sources[term.source as usize].output as usize == output;
        let mut terms = self.terms.iter().filter(own);
        let Some(term) = terms.next() else { return Some(0) };
        if terms.next().is_some() {
            return None;
        }
        let odd = i64::from(self.ones(planes, window, &mut work.limbs, &mut work.ones)[term.source as usize]);
        Some(if term.coefficient > 0.0 { window.shots as i64 - odd } else { odd })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_a_bit_for_every_shot() {
        for (start, shots) in
            [(0, 1), (0, 64), (3, 61), (3, 62), (60, 8), (64, 64), (63, 130), (128, 5), (7, 0)]
        {
            let window = Window::new(start, shots);
            let bits: Vec<usize> = window
                .limbs
                .iter()
                .enumerate()
                .flat_map(|(k, limb)| (0..64).filter(move |b| limb >> b & 1 == 1).map(move |b| 64 * k + b))
                .map(|b| 64 * window.first + b)
                .collect();
            assert_eq!(bits, (start..start + shots).collect::<Vec<_>>(), "{start} {shots}");
        }
    }

    fn sum(terms: &[(&'static str, f64)]) -> PauliSum {
        PauliSum::from_labels(terms.iter().copied()).unwrap()
    }

    #[test]
    fn terms_add_up_and_those_that_cancel_are_left_out() {
        let setting = Setting::product("ZX").unwrap();
        let mut collect = Collect::new(&setting);
        collect.add(0, 1, &sum(&[("ZI", 0.5), ("IX", 1.0)]), 2.0).unwrap();
        collect.add(0, 1, &sum(&[("ZI", -1.0), ("ZX", 1.0)]), 1.0).unwrap();
        assert!(collect.add(0, 0, &sum(&[("XI", 1.0)]), 1.0).is_err());
        let masks = collect.finish(None).unwrap();
        assert_eq!(masks.steps, [Step(1, 2)]); // ZX; IX is a plane
        assert_eq!(masks.sources.iter().map(|source| source.limb).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(masks.terms.iter().map(|term| term.coefficient).collect::<Vec<_>>(), [1.0, 2.0]);
    }

    #[test]
    fn words_are_made_from_each_other() {
        let setting = Setting::product("ZZZZ").unwrap();
        let mut collect = Collect::new(&setting);
        let all = ["ZZII", "ZZZI", "ZZZZ", "ZIZZ", "IIII"].map(|label| (label, 1.0));
        collect.add(0, 0, &sum(&all), 1.0).unwrap();
        collect.add(1, 0, &sum(&all[1..2]), 1.0).unwrap();
        let masks = collect.finish(None).unwrap();
        // ZZ, ZZZ, ZZZZ take a step each, Z.ZZ two, the identity none; two outputs share ZZZ.
        assert_eq!((masks.steps.len(), masks.sources.len(), masks.terms.len()), (5, 6, 6));
    }
}
