//! Pricing: families that are worth more than they cost at the present shares.
//!
//! Three searches take turns. *Moves* start from every family at hand, which is worth what it costs, and from greedy
//! families; they find many at first and few later. A *branch search*, for product settings, shares its work out among
//! the branches, in another order each time. When that finds nothing it is *exhaustive*, and if it finds nothing
//! within what it may visit then there is nothing. Commuting families have no branch search: their greedy families are
//! tried from perturbed prices in its place.
//!
//! Invariant: deterministic; no family is found that is known, or worth less than [`PROMISE`] times its cost.
//! Cost: counted in words visited, at most the effort and one round of moves.

use super::families::{Family, WordPool};
use crate::bits::parallel::Cancel;
use crate::bits::philox::{philox, unit_interval};
use crate::error::Result;
use rustc_hash::FxHashSet;

/// What a family must be worth, relative to its cost, to become a column.
pub(super) const PROMISE: f64 = 1.001;
/// Greedy families tried per round.
const TRIES: usize = 12;
/// Moves are left to the branch search once they find no more than this part of the families at hand.
const FEW: usize = 16;
/// So many of the heaviest families are taken from a branch search; it may visit more when it finds less than a part of them.
const HEAVIEST: usize = 128;
const SPARSE: usize = 16;
/// Rounds from perturbed prices, after moves found nothing.
const SHAKES: u64 = 6;
const SHAKING: u64 = u64::from_le_bytes(*b"families");

/// The state of the search.
pub(super) struct Pricing<'a> {
    pool: &'a WordPool,
    /// Effort that is left.
    pub(super) left: i64,
    /// Whether moves are worth their effort.
    moving: bool,
    /// Words that the next branch search may visit.
    visits: i64,
    /// Whether the next branch search is exhaustive.
    exhaustive: bool,
    /// Branch searches, or rounds from perturbed prices, so far.
    round: u64,
    /// Whether there are moves and branch searches at all, beside greedy families.
    thorough: bool,
}

impl<'a> Pricing<'a> {
    pub(super) fn new(pool: &'a WordPool, effort: u64, thorough: bool) -> Self {
        Pricing { pool, left: effort as i64, moving: true, visits: 0, exhaustive: false, round: 0, thorough }
    }

    /// New families whose prices sum to more than what a family costs, which is the objective; none at the end of the
    /// search.
    pub(super) fn better(
        &mut self,
        families: &[Family],
        prices: &[f64],
        cost: f64,
        cancel: &Cancel,
    ) -> Result<Vec<Family>> {
        let known = families.iter().map(|f| f.members.clone()).collect();
        let mut found = Found { prices, least: PROMISE * cost, known, families: Vec::new() };
        let branches = self.thorough && self.pool.branches();
        if !self.thorough {
            self.try_greedy(prices.to_vec(), &mut found, cancel)?;
        } else if self.moving {
            let before = self.left;
            self.move_from(families, &mut found, cancel)?;
            self.try_greedy(prices.to_vec(), &mut found, cancel)?;
            self.visits = before - self.left;
            self.moving = found.families.len() > if branches { families.len() / FEW } else { 0 };
        }
        let mut over = false;
        while !over && self.left > 0 && (found.families.is_empty() || branches) {
            over = if branches { self.branch(&mut found, cancel)? } else { self.shake(&mut found, cancel)? };
        }
        Ok(found.families)
    }

    /// Moves from every family of the kind.
    fn move_from(&mut self, families: &[Family], found: &mut Found<'_>, cancel: &Cancel) -> Result<()> {
        let weighed = self.pool.weigh(found.prices);
        for family in families.iter().filter(|family| family.grouping() == self.pool.grouping()) {
            cancel.check()?;
            let (improved, moves) = weighed.improved(family);
            self.left -= (moves * self.pool.visits()) as i64;
            if let Some(family) = improved {
                found.take(family);
            }
        }
        Ok(())
    }

    /// Greedy families with moves, each from weights that the ones before have lowered.
    fn try_greedy(&mut self, mut weights: Vec<f64>, found: &mut Found<'_>, cancel: &Cancel) -> Result<()> {
        for _ in 0..TRIES {
            cancel.check()?;
            let (family, moves) = self.pool.weigh(&weights).heaviest();
            self.left -= (moves * self.pool.visits()) as i64;
            family.members.iter().for_each(|&c| weights[c as usize] *= 0.5);
            found.take(family);
        }
        Ok(())
    }

    /// A branch search; says whether it is enough for the round.
    fn branch(&mut self, found: &mut Found<'_>, cancel: &Cancel) -> Result<bool> {
        let before = found.families.len();
        let turn = (!self.exhaustive).then_some(self.round);
        let visits = self.visits.min(self.left) as u64;
        let weighed = self.pool.weigh(found.prices);
        let heavier = weighed.heavier(found.least, HEAVIEST, visits, turn, cancel)?;
        self.left -= heavier.visits as i64;
        self.round += 1;
        heavier.families.into_iter().for_each(|family| found.take(family));
        let new = found.families.len() - before;
        if !heavier.complete {
            self.exhaustive = new == 0 && !self.exhaustive;
            if new < HEAVIEST / SPARSE {
                self.visits = (2 * self.visits).min(self.left.max(1));
            }
        }
        Ok(heavier.complete || new > 0)
    }

    /// Greedy families from perturbed prices; says whether there is no use in more.
    fn shake(&mut self, found: &mut Found<'_>, cancel: &Cancel) -> Result<bool> {
        self.round += 1;
        if self.round > SHAKES {
            return Ok(true);
        }
        let mut weights = found.prices.to_vec();
        for (i, w) in weights.iter_mut().enumerate().filter(|(_, w)| **w > 0.0) {
            *w *= 0.25 + unit_interval(philox([self.round, SHAKING], [i as u64, 0, 0, 0])[0]);
        }
        self.try_greedy(weights, found, cancel)?;
        self.moving = true;
        Ok(false)
    }
}

/// New families that are worth more than they cost.
struct Found<'a> {
    prices: &'a [f64],
    least: f64,
    known: FxHashSet<Vec<u32>>,
    families: Vec<Family>,
}

impl Found<'_> {
    fn take(&mut self, family: Family) {
        let worth: f64 = family.members.iter().map(|&c| self.prices[c as usize]).sum();
        if worth > self.least && self.known.insert(family.members.clone()) {
            self.families.push(family);
        }
    }
}
