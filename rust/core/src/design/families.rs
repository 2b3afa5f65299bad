//! Families: words that one setting reveals together, found so that they weigh as much as possible.
//!
//! A *commuting* family is a stabiliser group and may contain any words that commute (`commuting.rs`); a *qubit-wise* family
//! is a letter per qubit (`letters.rs`). Finding the heaviest is hard in general. A greedy family (heaviest word first),
//! or a family at hand, is improved by the best exchange of a single generator or letter until none gains weight.
//!
//! Invariant: a family is maximal, no word of the list could be added to it. Everything is deterministic.
//! Cost: a pass over the words for a greedy family and for every move.

use super::commuting::Groups;
use super::letters::{Code, Letters};
use crate::bits::limbs;
use crate::bits::parallel::Cancel;
use crate::error::Result;
use crate::pauli::Words;
use crate::stabiliser::Setting;
use crate::stabiliser::{Connectivity, diagonalise};
use std::cmp::Reverse;
use std::sync::{Arc, OnceLock};

/// The words that may be measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grouping {
    /// Words that agree wherever they overlap: no two-qubit gates.
    QubitWise,
    /// Words that commute.
    Commuting,
}

/// A family and the words of the list that belong to it.
#[derive(Debug, Clone)]
pub(crate) struct Family {
    /// Rows (x then z) of independent generators; of a qubit-wise family a single row, its letters.
    generators: Vec<u64>,
    grouping: Grouping,
    /// Columns, ascending.
    pub(crate) members: Vec<u32>,
    n_qubits: usize,
    /// The two-qubit gates of the setting.
    connectivity: Connectivity,
    setting: Arc<OnceLock<Setting>>,
}

/// The words to choose from.
pub(crate) struct WordPool {
    n_qubits: usize,
    len: usize,
    connectivity: Connectivity,
    search: Search,
}

/// A pool with weights.
pub(crate) struct Weighed<'a> {
    pool: &'a WordPool,
    weights: &'a [f64],
    /// Words of positive weight, heaviest first.
    leaders: Vec<u32>,
}

/// What a branch search found.
pub(crate) struct Heavier {
    pub(crate) families: Vec<Family>,
    /// Whether no other family is heavier.
    pub(crate) complete: bool,
    /// Words visited.
    pub(crate) visits: u64,
}

/// How families of a kind are searched for.
enum Search {
    QubitWise(Letters),
    Commuting(Groups),
}

/// Attempts at a short diagonalising circuit.
const ATTEMPTS: usize = 2;
/// Moves of a local search: a bound that is hardly ever met.
const MAX_MOVES: usize = 64;
/// How many of the heaviest words a search for groups looks at; the rest fill up in any order.
const LEADERS: usize = 4096;

impl Grouping {
    /// The largest families that two-qubit gates of a connectivity allow.
    pub(crate) fn of(connectivity: Connectivity) -> Self {
        match connectivity {
            Connectivity::None => Grouping::QubitWise,
            Connectivity::All | Connectivity::Line => Grouping::Commuting,
        }
    }
}

impl WordPool {
    /// The words of a list, for families of a kind whose settings use gates of this connectivity.
    pub(crate) fn new(words: &Words, grouping: Grouping, connectivity: Connectivity) -> Self {
        let search = match grouping {
            Grouping::QubitWise => Search::QubitWise(Letters::new(words)),
            Grouping::Commuting => Search::Commuting(Groups::new(words)),
        };
        WordPool { n_qubits: words.n_qubits(), len: words.len(), connectivity, search }
    }

    /// Whether there is a branch search.
    pub(crate) fn branches(&self) -> bool {
        self.grouping() == Grouping::QubitWise
    }

    /// The kind of the families.
    pub(crate) fn grouping(&self) -> Grouping {
        match &self.search {
            Search::QubitWise(_) => Grouping::QubitWise,
            Search::Commuting(_) => Grouping::Commuting,
        }
    }

    /// Words that one move of a search looks at, generators counted.
    pub(crate) fn visits(&self) -> u64 {
        match &self.search {
            Search::QubitWise(letters) => letters.visits(),
            Search::Commuting(_) => (self.len + self.len.min(LEADERS) * self.n_qubits) as u64,
        }
    }

    /// Weights to search by.
    pub(crate) fn weigh<'a>(&'a self, weights: &'a [f64]) -> Weighed<'a> {
        Weighed { pool: self, weights, leaders: self.leaders(weights) }
    }

    /// The family that takes the words of `order` one after the other if they fit.
    pub(crate) fn greedy(&self, order: &[u32]) -> Family {
        match &self.search {
            Search::QubitWise(letters) => {
                let mut codes = vec![0; self.n_qubits];
                letters.grow(&mut codes, order.iter().copied());
                self.product(letters, codes)
            }
            Search::Commuting(groups) => {
                let mut generators = Vec::new();
                groups.grow(&mut generators, order.iter().copied());
                self.group(groups, generators)
            }
        }
    }

    /// Words of positive weight, heaviest first, at most [`LEADERS`] of them.
    fn leaders(&self, weights: &[f64]) -> Vec<u32> {
        // Positive numbers are ordered as their bits are.
        let key = |i: u32| (Reverse(weights[i as usize].to_bits()), i);
        let mut order: Vec<_> =
            (0..self.len as u32).filter(|&i| weights[i as usize] > 0.0).map(key).collect();
        if LEADERS < order.len() {
            order.select_nth_unstable(LEADERS);
            order.truncate(LEADERS);
        }
        order.sort_unstable();
        order.into_iter().map(|(_, i)| i).collect()
    }

    /// A group that is made maximal.
    fn group(&self, groups: &Groups, mut generators: Vec<u64>) -> Family {
        if !groups.is_full(&generators) {
            groups.grow(&mut generators, 0..self.len as u32);
        }
        let members = groups.members(&generators);
        self.family(generators, Grouping::Commuting, members)
    }

    /// A product setting that is made maximal.
    fn product(&self, letters: &Letters, mut codes: Vec<Code>) -> Family {
        if codes.contains(&0) {
            letters.grow(&mut codes, 0..self.len as u32);
        }
        let row = limbs(self.n_qubits);
        let mut generators = vec![0; 2 * row];
        for (q, code) in codes.iter().enumerate() {
            generators[q / 64] |= u64::from(code & 1) << (q % 64);
            generators[row + q / 64] |= u64::from(code >> 1) << (q % 64);
        }
        self.family(generators, Grouping::QubitWise, letters.members(&codes))
    }

    /// The letters of a product setting.
    fn codes(&self, generators: &[u64]) -> Vec<Code> {
        let row = limbs(self.n_qubits);
        let bit = |part: usize, q: usize| (generators[part + q / 64] >> (q % 64) & 1) as Code;
        (0..self.n_qubits).map(|q| bit(0, q) | bit(row, q) << 1).collect()
    }

    fn family(&self, generators: Vec<u64>, grouping: Grouping, members: Vec<u32>) -> Family {
        let (n_qubits, connectivity) = (self.n_qubits, self.connectivity);
        Family { generators, grouping, members, n_qubits, connectivity, setting: Arc::default() }
    }
}

impl Weighed<'_> {
    /// The heaviest family that a greedy choice and moves find, and the number of moves. Words of weight zero come last.
    pub(crate) fn heaviest(&self) -> (Family, u64) {
        let leaders = self.leaders.iter().copied();
        match &self.pool.search {
            Search::QubitWise(letters) => {
                let mut codes = vec![0; self.pool.n_qubits];
                letters.grow(&mut codes, leaders);
                self.climb(letters, codes)
            }
            Search::Commuting(groups) => {
                let mut generators = Vec::new();
                groups.grow(&mut generators, leaders);
                self.exchange(groups, generators)
            }
        }
    }

    /// What moves make of a family of the same kind, if any gains, and the number of moves.
    pub(crate) fn improved(&self, family: &Family) -> (Option<Family>, u64) {
        let generators = &family.generators;
        let (found, moves) = match &self.pool.search {
            Search::QubitWise(letters) => self.climb(letters, self.pool.codes(generators)),
            Search::Commuting(groups) => self.exchange(groups, generators.clone()),
        };
        ((moves > 1).then_some(found), moves)
    }

    /// The heaviest of the product settings that weigh more than `above`, at most `most` of them, by a branch search
    /// ([`Letters::heavier`]); there is none for groups.
    pub(crate) fn heavier(
        &self,
        above: f64,
        most: usize,
        visits: u64,
        turn: Option<u64>,
        cancel: &Cancel,
    ) -> Result<Heavier> {
        let Search::QubitWise(letters) = &self.pool.search else {
            return Ok(Heavier { families: Vec::new(), complete: false, visits: 0 });
        };
        let found = letters.heavier(self.weights, above, most, visits, turn, cancel)?;
        let families = found.settings.into_iter().map(|(_, codes)| self.pool.product(letters, codes));
        Ok(Heavier { families: families.collect(), complete: found.complete, visits: found.visits })
    }

    fn climb(&self, letters: &Letters, mut codes: Vec<Code>) -> (Family, u64) {
        let moves = letters.climb(&mut codes, self.weights, MAX_MOVES);
        (self.pool.product(letters, codes), moves)
    }

    fn exchange(&self, groups: &Groups, mut generators: Vec<u64>) -> (Family, u64) {
        let mut moves = 1;
        while moves < MAX_MOVES as u64
            && let Some(start) = groups.exchange(&generators, &self.leaders, self.weights)
        {
            generators = start;
            groups.grow(&mut generators, self.leaders.iter().copied());
            moves += 1;
        }
        (self.pool.group(groups, generators), moves)
    }
}

impl Family {
    pub(crate) fn grouping(&self) -> Grouping {
        self.grouping
    }

    /// The setting that reveals the family; made once, clones share it.
    pub(crate) fn setting(&self, cancel: &Cancel) -> Result<&Setting> {
        if let Some(setting) = self.setting.get() {
            return Ok(setting);
        }
        let row = limbs(self.n_qubits);
        let mut words = Words::new(self.n_qubits);
        match self.grouping {
            Grouping::QubitWise => words.push_rows(&self.generators[..row], &self.generators[row..]),
            Grouping::Commuting => {
                self.generators.chunks_exact(2 * row).for_each(|g| words.push_rows(&g[..row], &g[row..]));
            }
        }
        let setting = diagonalise(&words, self.connectivity, ATTEMPTS, cancel)?;
        Ok(self.setting.get_or_init(|| setting))
    }
}
