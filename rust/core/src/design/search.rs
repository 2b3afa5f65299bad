//! The search for settings: columns are generated while they make the optimum better.
//!
//! First families are chosen until every word is revealed, heaviest words first. Then the shares are optimised
//! ([`Problem::solve`]) and the price of every word, `s_Q / h_Q^2`, says which further family would lower the variance:
//! one whose prices sum to more than the objective ([`Pricing`]). That is repeated until the search finds none or the
//! effort is used up. Every word counts in every family that reveals it.
//!
//! The objective is convex in the shares and of degree -1. So where no family is worth more than `1 + e` times the
//! objective, no list at all is better than by a part `e`; for product settings that can be known.
//!
//! Invariant: deterministic; the effort is counted in words visited, not in seconds.
//! Cost: about 10 ns per word visited.

use super::allocate::{DirectMeasurement, Problem, Shares};
use super::families::{Family, Grouping, WordPool};
use super::objective::Objective;
use super::pricing::Pricing;
use super::route::Route;
use crate::bits::parallel::Cancel;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::pauli::{Sums, Words};
use crate::stabiliser::Connectivity;

/// Words of a list of settings; a mixture picks its words itself.
pub(crate) const MAX_WORDS: usize = 40_000;
/// Words visited by a search of ordinary effort: about a second.
pub(crate) const EFFORT: u64 = 60_000_000;
/// Words visited for one incidence of a family and a word, until shares are optimal again.
const SOLUTION: i64 = 8;
/// The same, where a word enters many sums.
const DEAR: i64 = 50;
/// The search ends after so many rounds that gained no more than this part of the objective.
const PATIENCE: usize = 3;
const STALLED: f64 = 2e-5;
/// More families than this are not mixed with others at the start.
const MANY: usize = 3000;
/// Shares below this are not kept, unless they are needed for a word.
const SMALL: f64 = 1e-7;

/// A list of settings: families with their shares, and the shares of the direct measurements.
#[derive(Debug, Clone)]
pub(crate) struct ListDesign {
    pub(crate) families: Vec<Family>,
    pub(crate) shares: Shares,
    /// The routes of the direct measurements, in the order of their shares.
    pub(crate) routes: Vec<Route>,
}

impl ListDesign {
    /// The words that each family reveals.
    pub(crate) fn members(&self) -> Vec<Vec<u32>> {
        self.families.iter().map(|family| family.members.clone()).collect()
    }

    /// How many circuits and settings are run: an echo or a shift is two circuits.
    pub(crate) fn runs(&self) -> usize {
        let run = |shares: &[f64]| shares.iter().filter(|share| **share > 0.0).count();
        run(&self.shares.families) + 2 * run(&self.shares.direct)
    }

    /// Whether all shots are of the final state.
    pub(crate) fn is_served(&self) -> bool {
        self.shares.direct.iter().all(|share| *share == 0.0)
    }

    /// The settings of the families, with their shares as probabilities.
    pub(crate) fn ensemble(&self, cancel: &Cancel) -> Result<Ensemble> {
        let settings = self.families.iter().map(|family| family.setting(cancel).cloned());
        Ensemble::settings(settings.collect::<Result<_>>()?, self.shares.families.clone())
    }

    /// The families without the direct measurements, as a start for another search.
    pub(crate) fn alone(&self) -> Self {
        let shares = Shares { direct: Vec::new(), mix: Vec::new(), ..self.shares.clone() };
        ListDesign { families: self.families.clone(), shares, routes: Vec::new() }
    }
}

/// A search for families and shares: what it makes small, and by what.
pub(crate) struct ColumnGeneration<'a> {
    pub(crate) sums: &'a Sums,
    pub(crate) objective: &'a Objective,
    pub(crate) direct: &'a [DirectMeasurement],
    pub(crate) grouping: Grouping,
    /// The two-qubit gates of the settings.
    pub(crate) connectivity: Connectivity,
    pub(crate) effort: u64,
    /// Entries of all rows, those of a kind too, by which effort is counted where settings share rows with echoes and
    /// shifts: a search among fewer rows takes less time, and is as long.
    pub(crate) entries: usize,
    /// Whether families at hand are improved and branches searched: it pays for a few sums of many words, and not for the
    /// many derivatives of a gradient, whose shares take most of the effort.
    pub(crate) thorough: bool,
}

impl ColumnGeneration<'_> {
    /// Families and shares from nothing, or better ones than `start` has; for the largest variance if `max`.
    pub(crate) fn run(&self, start: Option<&ListDesign>, max: bool, cancel: &Cancel) -> Result<ListDesign> {
        let found = self.generate(start, cancel)?;
        if !max {
            return Ok(found);
        }
        let again = |objective: &Objective, found: &ListDesign| {
            let search = ColumnGeneration { objective, ..*self };
            let shares =
                search.solve(&found.families, Some(&found.shares), self.effort / 16, false, cancel)?;
            Ok(ListDesign { shares, ..found.clone() })
        };
        self.objective.clone().level(found, |found| self.variances(found), again)
    }

    /// The variance of one shot of every row.
    fn variances(&self, found: &ListDesign) -> Vec<f64> {
        let members = found.members();
        let problem =
            Problem { sums: self.sums, objective: self.objective, families: &members, direct: self.direct };
        problem.variances(&found.shares)
    }

    fn generate(&self, start: Option<&ListDesign>, cancel: &Cancel) -> Result<ListDesign> {
        let pool = WordPool::new(self.sums.words(), self.grouping, self.connectivity);
        let scores = self.objective.scores(self.sums);
        let mut families = start.map_or_else(Vec::new, |f| f.families.clone());
        let fresh = start.is_none_or(|f| f.shares.mix.is_empty());
        if fresh && families.len() < MANY && families.iter().any(|f| f.grouping() != self.grouping) {
            // Families of another kind are a part of the start only.
            let mut own = Vec::new();
            self.cover(&pool, &scores, &mut own, cancel)?;
            families.extend(own);
        }
        self.cover(&pool, &scores, &mut families, cancel)?;
        let mut shares = self.solve(&families, start.map(|f| &f.shares), self.effort / 8, true, cancel)?;
        if fresh {
            self.prune(&mut families, &mut shares);
        }
        let mut pricing = Pricing::new(&pool, self.effort, self.thorough);
        let mut idle = 0;
        let (solution, patience) = if self.thorough { (SOLUTION, PATIENCE) } else { (DEAR, usize::MAX) };
        while pricing.left > 0 && idle < patience {
            let (prices, _) = self.prices(&families, &shares);
            let found = pricing.better(&families, &prices, shares.value, cancel)?;
            if found.is_empty() {
                break;
            }
            // New families come last, so that the former shares still belong to the first ones.
            families.extend(found);
            let before = shares.value;
            shares = self.solve(&families, Some(&shares), self.effort / 16, true, cancel)?;
            idle = if before - shares.value > STALLED * before { 0 } else { idle + 1 };
            let incidences: i64 = families.iter().map(|f| f.members.len() as i64).sum();
            pricing.left -= (incidences + self.entries as i64) * solution;
            self.prune(&mut families, &mut shares);
        }
        shares = self.solve(&families, Some(&shares), self.effort / 8, false, cancel)?;
        self.prune(&mut families, &mut shares);
        Ok(ListDesign { families, shares, routes: Vec::new() })
    }

    /// Optimal shares of given families; while the search is `open`, every row keeps all its routes.
    pub(crate) fn solve(
        &self,
        families: &[Family],
        start: Option<&Shares>,
        effort: u64,
        open: bool,
        cancel: &Cancel,
    ) -> Result<Shares> {
        let members: Vec<Vec<u32>> = families.iter().map(|f| f.members.clone()).collect();
        let problem =
            Problem { sums: self.sums, objective: self.objective, families: &members, direct: self.direct };
        problem.descend(start, effort, self.entries, open, cancel)
    }

    /// Adds families until every word that counts is revealed: the missing ones, heaviest first, and what else fits.
    fn cover(
        &self,
        pool: &WordPool,
        scores: &[f64],
        families: &mut Vec<Family>,
        cancel: &Cancel,
    ) -> Result<()> {
        let mut revealed = vec![false; scores.len()];
        families.iter().flat_map(|f| &f.members).for_each(|&c| revealed[c as usize] = true);
        let mut order: Vec<u32> = (0..scores.len() as u32).filter(|&c| scores[c as usize] > 0.0).collect();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        let mut missing: Vec<u32> = order.iter().copied().filter(|&c| !revealed[c as usize]).collect();
        while !missing.is_empty() {
            cancel.check()?;
            let first = missing.len();
            missing.extend_from_slice(&order);
            let family = pool.greedy(&missing);
            missing.truncate(first);
            family.members.iter().for_each(|&c| revealed[c as usize] = true);
            missing.retain(|&c| !revealed[c as usize]);
            families.push(family);
        }
        Ok(())
    }

    /// What revealing each word more often is worth, and how often it is revealed.
    fn prices(&self, families: &[Family], shares: &Shares) -> (Vec<f64>, Vec<f64>) {
        let mut revealed = vec![0.0; self.sums.words().len()];
        for (family, share) in families.iter().zip(&shares.families) {
            family.members.iter().for_each(|&c| revealed[c as usize] += share);
        }
        let scores = self.objective.scores_of_mix(self.sums, &shares.mix);
        let price = |(s, h): (&f64, &f64)| if *s == 0.0 { 0.0 } else { s / (h * h) };
        (scores.iter().zip(&revealed).map(price).collect(), revealed)
    }

    /// Drops families without a share, and those that no word needs.
    pub(crate) fn prune(&self, families: &mut Vec<Family>, shares: &mut Shares) {
        let (_, revealed) = self.prices(families, shares);
        let scores = self.objective.scores_of_mix(self.sums, &shares.mix);
        let mut left = revealed;
        let mut keep = vec![true; families.len()];
        for (k, family) in families.iter().enumerate() {
            let share = shares.families[k];
            let needed = family.members.iter().any(|&c| {
                let (s, h) = (scores[c as usize], left[c as usize]);
                s > 0.0 && h - share <= 1e-3 * h.max(SMALL)
            });
            if share < SMALL && !needed {
                keep[k] = false;
                family.members.iter().for_each(|&c| left[c as usize] -= share);
            }
        }
        let mut kept = keep.iter();
        families.retain(|_| *kept.next().unwrap_or(&true));
        let mut kept = keep.iter();
        shares.families.retain(|_| *kept.next().unwrap_or(&true));
        let total: f64 = shares.families.iter().chain(&shares.direct).sum();
        shares.families.iter_mut().chain(&mut shares.direct).for_each(|s| *s /= total);
    }
}

/// What no list of settings of `n` qubits can do better than: a setting reveals at most `2^n - 1` words, and a product
/// setting at most `n choose w` words of weight w. Needs no families.
pub(crate) fn lower_bound(words: &Words, scores: &[f64], grouping: Grouping) -> f64 {
    let n = words.n_qubits();
    let mut roots = vec![0.0; n + 1];
    for (word, s) in words.iter().zip(scores) {
        roots[word.weight()] += s.sqrt();
    }
    match grouping {
        Grouping::Commuting => roots[1..].iter().sum::<f64>().powi(2) / (2f64.powi(n.min(1000) as i32) - 1.0),
        Grouping::QubitWise => {
            let mut choose = 1.0;
            (1..=n)
                .map(|w| {
                    choose *= (n + 1 - w) as f64 / w as f64;
                    roots[w] * roots[w] / choose
                })
                .sum()
        }
    }
}
