//! Diagonalising circuits: commuting words become a short rotation after which each of them is a product of Z.
//!
//! A qubit is *open* while the family has two different letters on it; the circuit is complete, up to one rotation
//! of each qubit, when none is. The element of the group that is lightest on the open qubits is brought to a single
//! letter, one two-qubit gate per letter that it loses: all others commute with it, so that qubit is closed, and
//! the rest is a smaller problem. Light elements are found by elimination in random orders and by adding pairs;
//! among the gates that shorten the lightest element, the one that leaves the others lightest is taken.
//!
//! On a line what counts is how many independent elements cross each bond: a gate changes that for its own bond only,
//! by two at most, so gates are taken that lower it. Where none does, an element is shortened as above; it must be
//! brought together first, so its cost counts the holes between its letters.
//!
//! Invariant: every gate lowers the number of crossings (or the next one does) or the cost of the lightest element,
//! which is followed until it closes a qubit; the number of open qubits never rises. So the search ends.
//! Signs are left to [`Setting::from_gates`]. Everything is a function of the words: the random numbers are addressed.
//! Cost: O(n^4 / 64) for each attempt on any pairs (0.2 ms for 10 qubits), O(n^5 / 64) on a line (0.5 ms).

use super::rows::{Rows, X, Y, Z, anticommute, ends, letter, multiply, rank};

use crate::bits::{check_qubits, limbs, parallel::Cancel, philox::philox};
use crate::error::{Error, Result};
use crate::gates::Clifford;
use crate::gates::CliffordGate;
use crate::pauli::{Letter, PauliWord, Words};
use crate::stabiliser::Setting;

/// Which pairs of qubits a two-qubit gate may act on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Connectivity {
    /// Any pair.
    All,
    /// Neighbours `q` and `q + 1` only.
    Line,
    /// None: product settings only.
    None,
}

/// Elements that are kept to judge gates by.
const POOL: usize = 24;
/// Random orders of elimination whenever elements are gathered.
const ORDERS: usize = 4;
/// Equally good gates on a line that are followed one step further.
const LOOKAHEAD: usize = 4;
/// How much less an element counts for every gate that it is away from a single letter.
const DISCOUNT: f64 = 0.25;

/// A setting that reveals every one of `words`, which must commute, and all their products.
///
/// The circuit consists of H, SDG, CNOT and CZ. Words that commute qubit by qubit give a product setting (Z where no
/// word has a letter). Of `effort` attempts the one with the fewest two-qubit gates is taken, the shallowest of equals.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::stabiliser::{Connectivity, diagonalise};
/// use efl_core::pauli::{PauliWord, Words};
/// let labels = ["XXI", "ZZI", "IIY"].map(|label| PauliWord::from_label(label).unwrap());
/// let setting = diagonalise(&Words::from_words(3, &labels)?, Connectivity::Line, 1, &Cancel::new())?;
/// assert_eq!(setting.two_qubit_gates(), 1);
/// assert!(setting.reveal(PauliWord::from_label("YYY")?.view())?.is_some());
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn diagonalise(
    words: &Words,
    connectivity: Connectivity,
    effort: usize,
    cancel: &Cancel,
) -> Result<Setting> {
    check_qubits(words.n_qubits())?;
    if effort == 0 {
        return Err(Error::invalid("effort", "at least 1 attempt", "0"));
    }
    let line = match (common_letters(words), connectivity) {
        (Ok(letters), _) => return Setting::of_letters(letters),
        (Err(clash), Connectivity::None) => return Err(clash),
        (Err(_), connectivity) => connectivity == Connectivity::Line,
    };
    let rows = generators(words)?;
    let mut best: Option<Search> = None;
    for attempt in 0..effort {
        let mut search = Search::new(words.n_qubits(), line, rows.clone(), attempt as u64);
        let bound = best.as_ref().map_or(usize::MAX, |best| best.two_qubit_gates);
        if search.run(bound, cancel)? && best.as_ref().is_none_or(|best| search.rank() < best.rank()) {
            best = Some(search);
        }
    }
    Setting::from_gates(words.n_qubits(), best.map_or_else(Vec::new, |best| best.gates))
}

/// Whether a setting with such gates reveals all of the words.
pub(crate) fn is_measurable(words: &Words, connectivity: Connectivity) -> bool {
    match connectivity {
        Connectivity::None => common_letters(words).is_ok(),
        Connectivity::All | Connectivity::Line => generators(words).is_ok(),
    }
}

/// The letter of every qubit, Z where there is none, or the first two words that differ on a qubit.
fn common_letters(words: &Words) -> Result<PauliWord> {
    let mut first: Vec<Option<(Letter, usize)>> = vec![None; words.n_qubits()];
    for (index, word) in words.iter().enumerate() {
        for (q, letter) in word.support() {
            let (before, at) = *first[q].get_or_insert((letter, index));
            if before != letter {
                let found = format!("{} and {word}, which differ on qubit {q}", words.get(at));
                return Err(Error::invalid("words", "words that commute on every qubit", found));
            }
        }
    }
    let letters =
        first.iter().enumerate().map(|(q, found)| (q, found.map_or(Letter::Z, |(letter, _)| letter)));
    PauliWord::from_sparse(words.n_qubits(), letters)
}

/// Words that generate all others, or two that do not commute.
fn generators(words: &Words) -> Result<Rows> {
    let mut rows = Rows { stride: 2 * words.limbs_per_row(), bits: Vec::new() };
    words.iter().for_each(|word| rows.push(word.x().iter().chain(word.z())));
    let kept = rows.independent();
    for (i, &a) in kept.iter().enumerate() {
        for &b in &kept[..i] {
            if !words.get(a).commutes_with(words.get(b))? {
                let found = format!("{} and {}", words.get(b), words.get(a));
                return Err(Error::invalid("words", "words that commute with each other", found));
            }
        }
    }
    Ok(rows.select(&kept))
}

/// The two-qubit gate that multiplies what anticommutes with letter `a.1` on qubit `a.0` by `b`, and vice versa.
#[derive(Clone, Copy)]
struct Entangler {
    a: (usize, u8),
    b: (usize, u8),
}

impl Entangler {
    fn apply(self, row: &mut [u64]) {
        let ((a, at_a), (b, at_b)) = (self.a, self.b);
        let (on_a, on_b) = (letter(row, a), letter(row, b));
        if anticommute(on_b, at_b) {
            multiply(row, a, at_a);
        }
        if anticommute(on_a, at_a) {
            multiply(row, b, at_b);
        }
    }
}

/// One attempt at a circuit.
struct Search {
    n_qubits: usize,
    line: bool,
    /// The generators, moved through the gates so far.
    rows: Rows,
    /// Qubits on which the rows have two different letters.
    open: Vec<u64>,
    /// Generators of what the group is on the open qubits.
    live: Rows,
    /// Light elements of it, and their costs.
    pool: Rows,
    costs: Vec<usize>,
    gates: Vec<CliffordGate>,
    two_qubit_gates: usize,
    /// Whether the last gate on a line did nothing but open ways to go on.
    idle: bool,
    /// Layers of gates on every qubit.
    layers: Vec<usize>,
    /// Address of the next random number.
    address: [u64; 2],
}

impl Search {
    fn new(n_qubits: usize, line: bool, rows: Rows, attempt: u64) -> Self {
        let empty = Rows { stride: rows.stride, bits: Vec::new() };
        Search {
            n_qubits,
            line,
            live: rows.clone(),
            rows,
            open: vec![0; limbs(n_qubits)],
            pool: empty,
            costs: Vec::new(),
            gates: Vec::new(),
            two_qubit_gates: 0,
            idle: false,
            layers: vec![0; n_qubits],
            address: [attempt, 0],
        }
    }

    /// What makes one circuit better than another.
    fn rank(&self) -> (usize, usize, usize) {
        (self.two_qubit_gates, self.layers.iter().fold(0, |most, &l| most.max(l)), self.gates.len())
    }

    /// Whether a circuit with at most `bound` two-qubit gates was found.
    fn run(&mut self, bound: usize, cancel: &Cancel) -> Result<bool> {
        loop {
            cancel.check()?;
            self.close();
            if self.open.iter().all(|&limb| limb == 0) {
                break;
            }
            if self.line && self.narrow() {
                if self.two_qubit_gates > bound {
                    return Ok(false);
                }
                continue;
            }
            self.gather();
            while let Some(lightest) = self.lightest() {
                self.shorten(lightest);
                if self.two_qubit_gates > bound {
                    return Ok(false);
                }
            }
        }
        for q in 0..self.n_qubits {
            let found = self.letter_of(q);
            if found == Y {
                self.turn(Clifford::Sdg, q);
            }
            if found & X != 0 {
                self.turn(Clifford::H, q);
            }
        }
        Ok(true)
    }

    fn random(&mut self, below: usize) -> usize {
        self.address[1] += 1;
        let bits = philox([0, 0], [self.address[0], self.address[1], 0, 0])[0];
        ((u128::from(bits) * below as u128) >> 64) as usize
    }

    /// The one letter on a closed qubit.
    fn letter_of(&self, q: usize) -> u8 {
        self.rows.iter().fold(0, |found, row| found | letter(row, q))
    }

    /// Finds the open qubits, and what is independent on them.
    fn close(&mut self) {
        for (k, open) in self.open.iter_mut().enumerate() {
            let (mut x, mut y, mut z) = (0, 0, 0);
            for row in self.rows.iter() {
                let (on_x, on_z) = (row[k], row[row.len() / 2 + k]);
                (x, y, z) = (x | on_x & !on_z, y | on_x & on_z, z | on_z & !on_x);
            }
            *open = x & y | y & z | z & x;
        }
        self.live.mask(&self.open);
        self.live = self.live.select(&self.live.independent());
    }

    /// Fills the pool with light elements.
    fn gather(&mut self) {
        self.pool.bits.clear();
        self.costs.clear();
        let mut rows = self.live.clone();
        let mut qubits = self.open_qubits();
        let mut element = vec![0; rows.stride];
        for order in 0..=ORDERS {
            if order > 0 {
                self.shuffle(&mut qubits);
                rows.eliminate(&qubits, true);
            }
            for i in 0..rows.len() {
                self.offer(rows.row(i));
                for j in 0..i {
                    let pair = rows.row(i).iter().zip(rows.row(j));
                    element.iter_mut().zip(pair).for_each(|(e, (a, b))| *e = a ^ b);
                    self.offer(&element);
                }
            }
        }
    }

    /// An order of elimination: any, or on a line the far ends first as seen from some qubit, so that what is
    /// left has its letters close to it.
    fn shuffle(&mut self, qubits: &mut [usize]) {
        if self.line {
            let centre = 2 * qubits[self.random(qubits.len())] + self.random(2);
            qubits.sort_by_key(|&q| std::cmp::Reverse((2 * q).abs_diff(centre)));
            return;
        }
        for i in (1..qubits.len()).rev() {
            let j = self.random(i + 1);
            qubits.swap(i, j);
        }
    }

    /// Two-qubit gates that bring an element to one letter.
    fn cost(&self, row: &[u64]) -> usize {
        let half = row.len() / 2;
        let support = |k: usize| row[k] | row[half + k];
        let weight: usize = (0..half).map(|k| support(k).count_ones() as usize).sum();
        if !self.line {
            return weight - 1;
        }
        let (first, last) = ends(row);
        2 * (last - first) + 1 - weight
    }

    /// Keeps an element if it is among the lightest so far.
    fn offer(&mut self, row: &[u64]) {
        let cost = self.cost(row);
        let same = |(i, &c): (usize, &usize)| c == cost && self.pool.row(i) == row;
        if self.costs.len() < POOL {
            if !self.costs.iter().enumerate().any(same) {
                self.pool.push(row);
                self.costs.push(cost);
            }
            return;
        }
        let heaviest = (0..POOL).fold(0, |most, i| if self.costs[i] > self.costs[most] { i } else { most });
        if cost < self.costs[heaviest] && !self.costs.iter().enumerate().any(same) {
            self.pool.bits[heaviest * self.pool.stride..(heaviest + 1) * self.pool.stride]
                .copy_from_slice(row);
            self.costs[heaviest] = cost;
        }
    }

    /// One of the lightest elements, none once an element has a single letter.
    fn lightest(&mut self) -> Option<usize> {
        let least = *self.costs.iter().min()?;
        let equals: Vec<usize> = (0..self.costs.len()).filter(|&i| self.costs[i] == least).collect();
        let chosen = equals[self.random(equals.len())];
        (least > 0).then_some(chosen)
    }

    /// On a line: adds a gate after which fewer independent elements cross the bond that it acts on, if there is one.
    ///
    /// Of a few that are as good, the one that opens most ways to go on is taken. A gate that is none the better
    /// for itself is added only if it opens one, and not twice in a row.
    fn narrow(&mut self) -> bool {
        let qubits = self.open_qubits();
        let gains = bond_gains(&self.live, &qubits);
        let best = gains.iter().map(|found| found.0).fold(0, u32::max);
        if best == 0 && self.idle {
            self.idle = false;
            return false;
        }
        self.idle = best == 0;
        let mut equals: Vec<Entangler> =
            gains.iter().filter(|found| found.0 == best).map(|found| found.1).collect();
        let mut chosen = None;
        let tries = if self.idle { 2 * LOOKAHEAD } else { LOOKAHEAD };
        for i in 0..equals.len().min(tries) {
            let other = i + self.random(equals.len() - i);
            equals.swap(i, other);
            let gate = equals[i];
            let mut next = self.live.clone();
            next.iter_mut().for_each(|row| gate.apply(row));
            let after = bond_gains(&next, &qubits);
            let most = |bond: &[(u32, Entangler)]| bond.iter().map(|found| found.0).fold(0, u32::max);
            let onward: u32 = after.chunk_by(|f, g| f.1.a.0 == g.1.a.0).map(most).sum();
            let early = usize::MAX - self.layers[gate.a.0].max(self.layers[gate.b.0]);
            if best + onward > 0 && chosen.is_none_or(|(key, _)| (onward, early) > key) {
                chosen = Some(((onward, early), gate));
            }
        }
        match chosen {
            Some((_, gate)) => self.entangle(gate),
            None => self.idle = false,
        }
        chosen.is_some()
    }

    fn open_qubits(&self) -> Vec<usize> {
        (0..self.n_qubits).filter(|q| self.open[q / 64] >> (q % 64) & 1 == 1).collect()
    }

    /// Adds the best gate that lowers the cost of an element of the pool.
    fn shorten(&mut self, index: usize) {
        let gates = self.candidates(self.pool.row(index));
        if gates.is_empty() {
            let (first, last) = ends(self.pool.row(index));
            let next = [(first, first + 1), (last, last - 1)][self.random(2)];
            return self.carry(next.0, next.1);
        }
        let mut element = vec![0; self.pool.stride];
        let start = self.random(gates.len());
        let mut best = (f64::NEG_INFINITY, gates[start]);
        for i in 0..gates.len() {
            let gate = gates[(start + i) % gates.len()];
            let mut score = 0.0;
            for row in self.pool.iter() {
                element.copy_from_slice(row);
                gate.apply(&mut element);
                score += DISCOUNT.powi(self.cost(&element) as i32);
            }
            if score > best.0 {
                best = (score, gate);
            }
        }
        self.entangle(best.1);
    }

    /// Gates that lower the cost of an element by one.
    fn candidates(&self, row: &[u64]) -> Vec<Entangler> {
        let mut gates = Vec::new();
        // Multiplies the element by `there` on a qubit, using its letter `here` on another.
        let mut push = |(a, here): (usize, u8), (b, there): (usize, u8)| {
            gates.extend(
                [X, Y, Z].into_iter().filter(|l| *l != here).map(|l| Entangler { a: (a, l), b: (b, there) }),
            );
        };
        if !self.line {
            let on = |q: usize| (q, letter(row, q));
            let support: Vec<_> = (0..self.n_qubits).map(on).filter(|(_, letter)| *letter != 0).collect();
            for &a in &support {
                support.iter().filter(|b| b.0 != a.0).for_each(|&b| push(a, b));
            }
            return gates;
        }
        let (first, last) = ends(row);
        for q in first..last {
            let (left, right) = ((q, letter(row, q)), (q + 1, letter(row, q + 1)));
            let is_open = |q: usize| self.open[q / 64] >> (q % 64) & 1 == 1;
            match (left.1, right.1) {
                (0, 0) => {}
                (0, _) if is_open(q) => [X, Y, Z].into_iter().for_each(|l| push(right, (q, l))),
                (_, 0) if is_open(q + 1) => [X, Y, Z].into_iter().for_each(|l| push(left, (q + 1, l))),
                (0, _) | (_, 0) => {}
                _ => {
                    if q == first {
                        push(right, left);
                    }
                    if q + 1 == last {
                        push(left, right);
                    }
                }
            }
        }
        gates
    }

    /// Moves what is on an open qubit to a closed neighbour, which changes places with it.
    fn carry(&mut self, from: usize, to: usize) {
        let known = match self.letter_of(to) {
            0 => Z,
            found => found,
        };
        let other = if known == X { Z } else { X };
        self.entangle(Entangler { a: (from, Z), b: (to, other) });
        self.entangle(Entangler { a: (from, X), b: (to, known) });
        self.open[from / 64] &= !(1 << (from % 64));
        self.open[to / 64] |= 1 << (to % 64);
        self.live.mask(&self.open);
        self.pool.mask(&self.open);
        self.weigh();
    }

    /// Adds a two-qubit gate, and rotations of its qubits so that it is a CNOT or a CZ.
    fn entangle(&mut self, gate: Entangler) {
        let Entangler { mut a, mut b } = gate;
        for (q, letter) in [&mut a, &mut b] {
            if *letter == Y {
                self.turn(Clifford::Sdg, *q);
                *letter = X;
            }
        }
        if (a.1, b.1) == (X, X) {
            let (q, letter) = if self.layers[a.0] <= self.layers[b.0] { &mut a } else { &mut b };
            self.turn(Clifford::H, *q);
            *letter = Z;
        }
        let (clifford, wires) = match (a.1, b.1) {
            (Z, X) => (Clifford::Cnot, [a.0, b.0]),
            (X, _) => (Clifford::Cnot, [b.0, a.0]),
            _ => (Clifford::Cz, [a.0, b.0]),
        };
        self.gates.push(CliffordGate::on(clifford, wires));
        self.two_qubit_gates += 1;
        let layer = 1 + self.layers[a.0].max(self.layers[b.0]);
        (self.layers[a.0], self.layers[b.0]) = (layer, layer);
        let rows = self.rows.iter_mut().chain(self.live.iter_mut()).chain(self.pool.iter_mut());
        rows.for_each(|row| Entangler { a, b }.apply(row));
        self.weigh();
    }

    /// Adds H or SDG on a qubit.
    fn turn(&mut self, clifford: Clifford, q: usize) {
        self.gates.push(CliffordGate::on(clifford, [q, q]));
        self.layers[q] += 1;
        for row in self.rows.iter_mut().chain(self.live.iter_mut()).chain(self.pool.iter_mut()) {
            let before = letter(row, q);
            let after = match clifford {
                Clifford::H => before >> 1 | (before & 1) << 1,
                _ => before ^ (before & 1) << 1,
            };
            multiply(row, q, before ^ after);
        }
    }

    fn weigh(&mut self) {
        self.costs = self.pool.iter().map(|row| self.cost(row)).collect();
    }
}

/// By how much the nine gates on every bond between two open qubits lower the number of independent elements that
/// cross it, on its left and on its right; nothing for a gate that raises it.
///
/// The elements on one side of a bond and one qubit beyond it are all that matters on that side: after a gate,
/// those without a letter beyond the bond no longer cross it.
fn bond_gains(live: &Rows, qubits: &[usize]) -> Vec<(u32, Entangler)> {
    let (mut from_left, mut from_right) = (live.clone(), live.clone());
    from_right.eliminate(qubits, false);
    from_left.eliminate(&qubits.iter().rev().copied().collect::<Vec<_>>(), false);
    let mut gains = Vec::new();
    for bond in qubits.windows(2).filter(|bond| bond[0] + 1 == bond[1]) {
        let (a, b) = (bond[0], bond[1]);
        let pair = |row: &[u64]| (letter(row, a), letter(row, b));
        let left: Vec<_> = from_left.iter().filter(|row| ends(row).1 <= b).map(pair).collect();
        let right: Vec<_> = from_right.iter().filter(|row| ends(row).0 >= a).map(pair).collect();
        let crossing = |at_a: u8, at_b: u8| {
            let on_b = rank(left.iter().map(|p| p.1 ^ if anticommute(p.0, at_a) { at_b } else { 0 }));
            let on_a = rank(right.iter().map(|p| p.0 ^ if anticommute(p.1, at_b) { at_a } else { 0 }));
            on_a + on_b
        };
        let before = crossing(0, 0);
        for (at_a, at_b) in [X, Y, Z].into_iter().flat_map(|l| [X, Y, Z].map(|m| (l, m))) {
            let after = crossing(at_a, at_b);
            if after <= before {
                gains.push((before - after, Entangler { a: (a, at_a), b: (b, at_b) }));
            }
        }
    }
    gains
}
