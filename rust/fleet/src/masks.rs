//! What the bits of one setting mean: words as sets of planes, with coefficients.
//!
//! The value of a word in a shot is the parity of some bits. Over 64 shots at once that is the XOR of some planes, and its
//! sum over the shots is their number less twice the bits set.
//!
//! Invariant: words ascend by their planes and are different; signs are part of the coefficients; no coefficient is
//! zero. Sums are added in this order, so they have the same bits on all machines.
//! Cost: per word and 64 shots one XOR per letter and one population count, then a multiplication per coefficient.

use efl_core::pauli::PauliSum;
use efl_core::stabiliser::Setting;
use efl_core::{Error, Result};
use std::collections::BTreeMap;

/// A coefficient of a word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Term {
    /// The output that it belongs to.
    pub(crate) output: u32,
    /// The derivative that it contributes to.
    pub(crate) column: u32,
    pub(crate) coefficient: f64,
}

/// Where the planes and the terms of a word end.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Ends {
    planes: u32,
    terms: u32,
}

/// Words of one setting.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Masks {
    ends: Vec<Ends>,
    planes: Vec<u16>,
    terms: Vec<Term>,
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

    pub(crate) fn finish(self) -> Masks {
        let mut masks = Masks::default();
        for (planes, terms) in self.words {
            let terms = terms.into_iter().filter(|(_, coefficient)| *coefficient != 0.0);
            let before = masks.terms.len();
            masks.terms.extend(terms.map(|((output, column), coefficient)| Term {
                output,
                column,
                coefficient,
            }));
            if masks.terms.len() > before {
                masks.planes.extend(planes);
                masks.ends.push(Ends { planes: masks.planes.len() as u32, terms: masks.terms.len() as u32 });
            }
        }
        masks
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
    limbs: usize,
    bits: Vec<u64>,
}

impl Planes {
    /// Takes the planes of so many shots.
    #[inline]
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

impl Masks {
    pub(crate) fn terms(&self) -> &[Term] {
        &self.terms
    }

    pub(crate) fn nbytes(&self) -> usize {
        size_of_val(&*self.ends) + size_of_val(&*self.planes) + size_of_val(&*self.terms)
    }

    /// Hands over each word: its planes and its terms.
    #[inline(always)]
    fn words(&self, mut visit: impl FnMut(&[u16], &[Term])) {
        let (mut plane, mut term) = (0, 0);
        for ends in &self.ends {
            let (planes, terms) = (ends.planes as usize, ends.terms as usize);
            visit(&self.planes[plane..planes], &self.terms[term..terms]);
            (plane, term) = (planes, terms);
        }
    }

    /// Hands over each word: the sum of its values over a window, and its terms.
    #[inline(always)]
    pub(crate) fn sums(&self, planes: &Planes, window: &Window, mut visit: impl FnMut(f64, &[Term])) {
        let shots = window.shots as i64;
        if let ([mask], 1) = (&*window.limbs, planes.limbs) {
            return self.words(|word, terms| {
                let parity = word.iter().fold(0, |parity, &q| parity ^ planes.bits[usize::from(q)]);
                visit((shots - 2 * i64::from((parity & mask).count_ones())) as f64, terms);
            });
        }
        self.words(|word, terms| {
            let limb =
                |k: usize| word.iter().fold(0, |p, &q| p ^ planes.bits[usize::from(q) * planes.limbs + k]);
            let ones = |(k, mask): (usize, &u64)| i64::from((limb(window.first + k) & mask).count_ones());
            let ones: i64 = window.limbs.iter().enumerate().map(ones).sum();
            visit((shots - 2 * ones) as f64, terms);
        });
    }

    /// Adds the readings of every shot of a window to `out`, whose rows have `n_outputs` values.
    pub(crate) fn shots(
        &self,
        planes: &Planes,
        window: &Window,
        start: usize,
        n_outputs: usize,
        out: &mut [f64],
    ) {
        self.words(|word, terms| {
            for t in 0..window.shots {
                let at = start + t;
                let bit = |q: &u16| planes.bits[usize::from(*q) * planes.limbs + at / 64] >> (at % 64) & 1;
                let odd = word.iter().map(bit).sum::<u64>() % 2 == 1;
                for term in terms {
                    let value = if odd { -term.coefficient } else { term.coefficient };
                    out[t * n_outputs + term.output as usize] += value;
                }
            }
        });
    }

    /// In how many shots of a window the reading of an output is positive, if one word makes it.
    pub(crate) fn positive(&self, planes: &Planes, window: &Window, output: usize) -> Option<i64> {
        let (mut words, mut positive) = (0, 0);
        self.sums(planes, window, |sum, terms| {
            for term in terms.iter().filter(|term| term.output as usize == output) {
                let sum = if term.coefficient > 0.0 { sum as i64 } else { -(sum as i64) };
                (words, positive) = (words + 1, (window.shots as i64 + sum) / 2);
            }
        });
        (words <= 1).then_some(positive)
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

    #[test]
    fn terms_add_up_and_those_that_cancel_are_left_out() {
        let setting = Setting::product("ZX").unwrap();
        let sum = |terms: &[(&'static str, f64)]| PauliSum::from_labels(terms.iter().copied()).unwrap();
        let mut collect = Collect::new(&setting);
        collect.add(0, 1, &sum(&[("ZI", 0.5), ("IX", 1.0)]), 2.0).unwrap();
        collect.add(0, 1, &sum(&[("ZI", -1.0), ("ZX", 1.0)]), 1.0).unwrap();
        assert!(collect.add(0, 0, &sum(&[("XI", 1.0)]), 1.0).is_err());
        let masks = collect.finish();
        assert_eq!(masks.planes, [0, 1, 1]); // ZX on 0 and 1, IX on 1
        assert_eq!(masks.terms.iter().map(|t| t.coefficient).collect::<Vec<_>>(), [1.0, 2.0]);
    }
}
