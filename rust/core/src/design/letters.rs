//! Product settings: the letters, one per qubit, that reveal the heaviest words together.
//!
//! Words are bits of planes: for every qubit and letter, those that have another letter there. The words that clash with
//! a setting nowhere, and on one qubit only, come from counting planes to two; they say what every change of a single
//! letter gains. A *climb* makes the best change until none gains. A *branch search* assigns letters to one qubit after the
//! other and leaves a branch when a bound says that it holds nothing heavier than what is asked for: what a word still
//! needs is shared out evenly among the qubits where it needs a letter, and each of these can satisfy one letter only.
//! Its visits are spread over the branches, or it is exhaustive.
//!
//! Invariant: deterministic; a setting has no letter (0) only where no word that fits has one.
//! Cost: a climb takes a pass per change, a fraction of a nanosecond per word and qubit; an exhaustive search is
//! exponential in the worst case, and a visit of a word takes some 10 ns.

use crate::bits::parallel::Cancel;
use crate::bits::philox::{philox, unit_interval};
use crate::error::Result;
use crate::pauli::Words;
use std::ops::Range;

/// X, Z and Y as bits of x and z; 0 is no letter.
pub(crate) type Code = u8;
const CODES: usize = 4;
const TURNING: u64 = u64::from_le_bytes(*b"branches");

/// The words to choose from.
pub(crate) struct Letters {
    n_qubits: usize,
    len: usize,
    limbs: usize,
    /// For each qubit and code a plane: the words with another letter than this; for code 0, with any letter.
    planes: Vec<u64>,
    /// Where each word has letters: its places are `places[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    places: Vec<(u32, Code)>,
}

/// What a branch search found.
pub(crate) struct Heavy {
    /// Settings that are heavier than was asked for, the heaviest first, with what they weigh.
    pub(crate) settings: Vec<(f64, Vec<Code>)>,
    /// Whether no other setting is heavier than the lightest of these, or than what was asked for if there are fewer
    /// than were wanted.
    pub(crate) complete: bool,
    /// Words visited.
    pub(crate) visits: u64,
}

impl Letters {
    pub(crate) fn new(words: &Words) -> Self {
        let (n_qubits, len) = (words.n_qubits(), words.len());
        let limbs = len.div_ceil(64);
        let mut planes = vec![0; n_qubits * CODES * limbs];
        let (mut starts, mut places) = (Vec::with_capacity(len + 1), Vec::new());
        for (i, word) in words.iter().enumerate() {
            starts.push(places.len() as u32);
            for (k, (x, z)) in word.x().iter().zip(word.z()).enumerate() {
                let mut support = x | z;
                while support != 0 {
                    let bit = support.trailing_zeros();
                    support &= support - 1;
                    let code = (x >> bit & 1 | (z >> bit & 1) << 1) as Code;
                    let qubit = 64 * k + bit as usize;
                    places.push((qubit as u32, code));
                    for other in (0..CODES).filter(|other| *other != code as usize) {
                        planes[(qubit * CODES + other) * limbs + i / 64] |= 1 << (i % 64);
                    }
                }
            }
        }
        starts.push(places.len() as u32);
        Letters { n_qubits, len, limbs, planes, starts, places }
    }

    /// Words that one pass of a climb looks at, in those that are looked at one by one.
    pub(crate) fn visits(&self) -> u64 {
        (self.len / 4 + self.n_qubits) as u64
    }

    fn plane(&self, qubit: usize, code: Code) -> &[u64] {
        &self.planes[(qubit * CODES + code as usize) * self.limbs..][..self.limbs]
    }

    fn places(&self, word: u32) -> &[(u32, Code)] {
        &self.places[self.starts[word as usize] as usize..self.starts[word as usize + 1] as usize]
    }

    /// Adds to a setting the letters of the words of `order`, one after the other if they fit.
    pub(crate) fn grow(&self, letters: &mut [Code], order: impl IntoIterator<Item = u32>) {
        for word in order {
            let places = self.places(word);
            if places.iter().all(|&(q, code)| letters[q as usize] == 0 || letters[q as usize] == code) {
                places.iter().for_each(|&(q, code)| letters[q as usize] = code);
            }
        }
    }

    /// The words that a setting reveals, ascending.
    pub(crate) fn members(&self, letters: &[Code]) -> Vec<u32> {
        let mut clashes = vec![0; self.limbs];
        for (q, &code) in letters.iter().enumerate() {
            clashes.iter_mut().zip(self.plane(q, code)).for_each(|(c, plane)| *c |= plane);
        }
        let mut members = Vec::new();
        for (k, clash) in clashes.iter().enumerate() {
            each_bit(!clash & self.filled(k), |bit| members.push((64 * k) as u32 + bit));
        }
        members
    }

    /// The bits of a limb that are words.
    fn filled(&self, limb: usize) -> u64 {
        let left = self.len - 64 * limb;
        if left < 64 { (1 << left) - 1 } else { u64::MAX }
    }

    /// Changes single letters, the one that gains most first, until none gains; returns the number of passes.
    pub(crate) fn climb(&self, letters: &mut [Code], weights: &[f64], most: usize) -> u64 {
        let mut scratch = vec![0; 2 * self.limbs];
        for passes in 1..=most as u64 {
            match self.best_change(letters, weights, &mut scratch) {
                Some((qubit, code)) => letters[qubit] = code,
                None => return passes,
            }
        }
        most as u64
    }

    /// The change of one letter that gains most weight, if any gains.
    fn best_change(&self, letters: &[Code], weights: &[f64], scratch: &mut [u64]) -> Option<(usize, Code)> {
        scratch.fill(0);
        let (once, twice) = scratch.split_at_mut(self.limbs);
        for (q, &code) in letters.iter().enumerate() {
            for ((once, twice), plane) in once.iter_mut().zip(twice.iter_mut()).zip(self.plane(q, code)) {
                *twice |= *once & plane;
                *once |= plane;
            }
        }
        let mut loss = vec![0.0; self.n_qubits];
        for (k, (once, twice)) in once.iter_mut().zip(twice.iter()).enumerate() {
            each_bit(!*once & self.filled(k), |bit| {
                let word = (64 * k) as u32 + bit;
                let w = weights[word as usize];
                self.places(word).iter().for_each(|&(q, _)| loss[q as usize] += w);
            });
            *once &= !*twice;
        }
        let mut best = (0.0, None);
        for (q, &code) in letters.iter().enumerate() {
            let mut gains = [0.0; CODES];
            let planes = [1, 2].map(|other| self.plane(q, other));
            let [not_x, not_z] = planes;
            for (k, (once, clash)) in once.iter().zip(self.plane(q, code)).enumerate() {
                each_bit(once & clash, |bit| {
                    let other =
                        3 - 2 * u64::from(not_x[k] >> bit & 1 == 0) - u64::from(not_z[k] >> bit & 1 == 0);
                    gains[other as usize] += weights[64 * k + bit as usize];
                });
            }
            for (other, gain) in (1..).zip(&gains[1..]) {
                let net = gain - loss[q];
                if net > 1e-9 * (gain + loss[q]) && net > best.0 {
                    best = (net, Some((q, other)));
                }
            }
        }
        best.1
    }
}

impl Letters {
    /// The settings that weigh more than `above`, at most `most` of them and the heaviest ones, found by visiting about
    /// `visits` words: all branches one after the other; or, given a `turn`, a part of each of them, in an order that
    /// depends on the turn.
    pub(crate) fn heavier(
        &self,
        weights: &[f64],
        above: f64,
        most: usize,
        visits: u64,
        turn: Option<u64>,
        cancel: &Cancel,
    ) -> Result<Heavy> {
        let importance = |q: usize| {
            turn.map_or(1.0, |turn| 0.25 + unit_interval(philox([turn, TURNING], [q as u64, 0, 0, 0])[0]))
        };
        let mut branching = Branching {
            words: self,
            weights,
            most,
            threshold: above,
            setting: vec![0; self.n_qubits],
            importance: (0..self.n_qubits).map(importance).collect(),
            loads: vec![[0.0; CODES]; self.n_qubits],
            open: Vec::new(),
            found: Vec::new(),
            spread: turn.is_some(),
            complete: true,
            cancel,
        };
        let (mut fixed, all) = (0.0, 0..self.len as u32);
        for word in all.filter(|&word| weights[word as usize] > 0.0) {
            match self.places(word).len() as u32 {
                0 => fixed += weights[word as usize],
                letters => branching.open.push(Open { word, letters }),
            }
        }
        let visited = branching.assign(0, fixed, visits as i64)?;
        Ok(Heavy { settings: branching.found, complete: branching.complete, visits: visited as u64 })
    }
}

/// A word that fits the letters so far and needs more of them.
#[derive(Clone, Copy)]
struct Open {
    word: u32,
    letters: u32,
}

/// A branch search.
struct Branching<'a> {
    words: &'a Letters,
    weights: &'a [f64],
    most: usize,
    /// What a setting must weigh more than.
    threshold: f64,
    setting: Vec<Code>,
    /// Factors of the loads by which the next qubit is chosen.
    importance: Vec<f64>,
    /// Scratch: what each letter of an open qubit may add.
    loads: Vec<[f64; CODES]>,
    /// The open words of every branch on the way to the present one, one after the other.
    open: Vec<Open>,
    found: Vec<(f64, Vec<Code>)>,
    /// Whether the visits are shared out among the branches.
    spread: bool,
    /// Whether no branch was skipped that might hold something.
    complete: bool,
    cancel: &'a Cancel,
}

impl Branching<'_> {
    /// Searches the branch whose open words begin at `from` and whose satisfied words weigh `fixed`; returns how many words
    /// it visited. Where no visits are left, the letter that promises most is followed alone.
    fn assign(&mut self, from: usize, fixed: f64, visits: i64) -> Result<i64> {
        let to = self.open.len();
        self.cancel.check()?;
        if from == to {
            self.keep(fixed);
            return Ok(1);
        }
        let mut visited = (to - from) as i64;
        let (bound, qubit) = self.bound(from);
        let Some(qubit) = qubit else {
            self.keep(fixed); // what is open weighs too little to be told from nothing
            return Ok(visited);
        };
        if fixed + bound <= self.threshold {
            return Ok(visited);
        }
        let loads = self.loads[qubit];
        let mut codes = [1, 2, 3];
        codes.sort_by(|&a: &Code, &b| loads[b as usize].total_cmp(&loads[a as usize]).then(a.cmp(&b)));
        for (place, code) in codes.into_iter().enumerate().filter(|(_, code)| loads[*code as usize] > 0.0) {
            if place > 0 && visits <= visited {
                self.complete = false;
                break;
            }
            self.setting[qubit] = code;
            let (satisfied, hoped) = self.fix(from..to, qubit, code);
            if fixed + satisfied + hoped > self.threshold {
                let parts = if self.spread { codes.len() - place } else { 1 };
                let part = (visits - visited) / parts as i64;
                visited += self.assign(to, fixed + satisfied, part)?;
            }
            self.open.truncate(to);
        }
        self.setting[qubit] = 0;
        Ok(visited)
    }

    /// Lists the open words that stay so with a letter; what those weigh that it satisfies, and the others.
    fn fix(&mut self, open: Range<usize>, qubit: usize, code: Code) -> (f64, f64) {
        let (mut satisfied, mut hoped) = (0.0, 0.0);
        for place in open {
            let Open { word, letters } = self.open[place];
            let (limb, bit) = (word as usize / 64, word % 64);
            if self.words.plane(qubit, code)[limb] >> bit & 1 == 1 {
                continue;
            }
            let (touched, weight) =
                (self.words.plane(qubit, 0)[limb] >> bit & 1, self.weights[word as usize]);
            match letters - touched as u32 {
                0 => satisfied += weight,
                letters => {
                    hoped += weight;
                    self.open.push(Open { word, letters });
                }
            }
        }
        (satisfied, hoped)
    }

    /// What the open words can add at most, and the open qubit that matters most to them.
    fn bound(&mut self, from: usize) -> (f64, Option<usize>) {
        let open = self.setting.iter().zip(&mut self.loads).filter(|(code, _)| **code == 0);
        open.for_each(|(_, loads)| *loads = [0.0; CODES]);
        for &Open { word, letters } in &self.open[from..] {
            let part = self.weights[word as usize] / f64::from(letters);
            for &(q, code) in self.words.places(word) {
                if self.setting[q as usize] == 0 {
                    self.loads[q as usize][code as usize] += part;
                }
            }
        }
        let (mut bound, mut first) = (0.0, (0.0, None));
        for (q, [_, x, z, y]) in self.loads.iter().enumerate().filter(|(q, _)| self.setting[*q] == 0) {
            bound += x.max(*z).max(*y);
            let matters = (x + y + z) * self.importance[q];
            if matters > first.0 {
                first = (matters, Some(q));
            }
        }
        (bound, first.1)
    }

    fn keep(&mut self, weight: f64) {
        if weight <= self.threshold {
            return;
        }
        let place = self.found.partition_point(|(other, _)| *other >= weight);
        self.found.insert(place, (weight, self.setting.clone()));
        self.found.truncate(self.most);
        if self.found.len() == self.most {
            self.threshold = self.threshold.max(self.found[self.most - 1].0);
        }
    }
}

/// Calls a function with the places of the bits that are set, ascending.
#[inline]
fn each_bit(mut bits: u64, mut call: impl FnMut(u32)) {
    while bits != 0 {
        call(bits.trailing_zeros());
        bits &= bits - 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::PauliWord;

    const LABELS: [&str; 12] = [
        "XXIII", "IYYXI", "ZZZZZ", "ZIIIZ", "IXXII", "YIYIX", "IIXZY", "XIIIY", "IZIZI", "YYYII", "IIIIX",
        "ZIXXI",
    ];

    fn letters(labels: &[&str]) -> Letters {
        let mut words = Words::new(labels[0].len());
        for label in labels {
            let word = PauliWord::from_label(label).unwrap();
            words.push_rows(word.view().x(), word.view().z());
        }
        Letters::new(&words)
    }

    fn weights(turn: u64, count: usize) -> Vec<f64> {
        (0..count as u64).map(|i| unit_interval(philox([turn, 5], [i, 0, 0, 0])[0])).collect()
    }

    /// What every setting with a letter on each qubit weighs, by the definition.
    fn all(labels: &[&str], weights: &[f64]) -> Vec<(f64, Vec<Code>)> {
        let n = labels[0].len();
        let settings = (0..3usize.pow(n as u32)).map(|number| {
            (0..n as u32).map(|q| 1 + (number / 3usize.pow(q) % 3) as Code).collect::<Vec<_>>()
        });
        let reveals = |setting: &[Code], label: &str| {
            label
                .bytes()
                .zip(setting)
                .all(|(letter, code)| letter == b'I' || letter == b" XZY"[*code as usize])
        };
        let weigh = |setting: Vec<Code>| {
            let revealed = labels.iter().zip(weights).filter(|(label, _)| reveals(&setting, label));
            (revealed.map(|(_, w)| w).sum(), setting)
        };
        settings.map(weigh).collect()
    }

    #[test]
    fn an_exhaustive_search_finds_what_is_heavier_and_nothing_else() {
        let pool = letters(&LABELS);
        for turn in 0..20 {
            let weights = weights(turn, LABELS.len());
            let mut expected = all(&LABELS, &weights);
            expected.sort_by(|a, b| b.0.total_cmp(&a.0));
            for above in [0.5 * expected[0].0, expected[4].0, expected[0].0 + 1e-9] {
                let found = pool.heavier(&weights, above, 1000, 1 << 20, None, &Cancel::new()).unwrap();
                assert!(found.complete);
                // Letters that no open word needs are left out: one setting stands for those that reveal the same words.
                let mut distinct: Vec<Vec<u32>> = expected.iter().map(|(_, s)| pool.members(s)).collect();
                let heavier = expected.iter().take_while(|(w, _)| *w > above + 1e-12).count();
                distinct.truncate(heavier);
                for (weight, setting) in &found.settings {
                    let members = pool.members(setting);
                    let sum: f64 = members.iter().map(|&c| weights[c as usize]).sum();
                    assert!((sum - weight).abs() < 1e-12 && *weight > above, "{turn}: {setting:?}");
                }
                assert_eq!(found.settings.is_empty(), distinct.is_empty(), "{turn}, {above}");
                if let Some((weight, _)) = found.settings.first() {
                    assert!((weight - expected[0].0).abs() < 1e-12, "{turn}: {weight}");
                }
                for members in distinct {
                    let stands = |(_, s): &(f64, Vec<Code>)| {
                        let own = pool.members(s);
                        members.iter().all(|c| own.contains(c)) || own.iter().all(|c| members.contains(c))
                    };
                    assert!(found.settings.iter().any(stands), "{turn}: {members:?}");
                }
                // The heaviest ones alone, and the search that is spread over the branches with all it needs.
                let few = pool.heavier(&weights, above, 2, 1 << 20, None, &Cancel::new()).unwrap();
                assert_eq!(few.settings[..], found.settings[..few.settings.len()]);
                let spread = pool.heavier(&weights, above, 2, 1 << 40, Some(turn), &Cancel::new()).unwrap();
                let weigh = |found: &Heavy| found.settings.first().map(|(w, _)| (w * 1e9).round());
                assert_eq!(weigh(&spread), weigh(&few));
            }
        }
    }

    #[test]
    fn a_search_says_when_it_is_not_complete_and_can_be_interrupted() {
        let (pool, weights) = (letters(&LABELS), weights(0, LABELS.len()));
        let short = pool.heavier(&weights, 0.0, 10, 20, None, &Cancel::new()).unwrap();
        assert!(!short.complete && !short.settings.is_empty() && short.visits < 200);
        let cancel = Cancel::new();
        cancel.raise();
        assert!(pool.heavier(&weights, 0.0, 10, 1000, None, &cancel).is_err());
    }

    #[test]
    fn a_climb_ends_where_no_single_letter_gains() {
        let pool = letters(&LABELS);
        for turn in 0..20 {
            let weights = weights(turn, LABELS.len());
            let by_setting = all(&LABELS, &weights);
            let weigh = |s: &[Code]| by_setting.iter().find(|(_, other)| other == s).unwrap().0;
            let mut setting = by_setting[7 * turn as usize].1.clone();
            let before = weigh(&setting);
            let passes = pool.climb(&mut setting, &weights, 64);
            assert!(weigh(&setting) >= before && passes < 64);
            for q in 0..setting.len() {
                for code in 1..=3 {
                    let mut other = setting.clone();
                    other[q] = code;
                    assert!(weigh(&other) <= weigh(&setting) + 1e-9, "{turn}: {setting:?} {other:?}");
                }
            }
        }
    }
}
