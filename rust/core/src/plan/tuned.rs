//! A plan at a state: the shares of every method follow the variances there, and its figures are those of the state.
//!
//! Settings and circuits stay those of the plan. What settings contribute to the derivatives (`pool.rs`), the shares and
//! the weights of the routes (`balance.rs`) are found in turn: each step makes the variance smaller.
//!
//! Invariant: estimates stay unbiased, for shares and weights of routes follow from the state, or from earlier shots, never
//! from the shots that are read. No shares do worse at the state than those of the plan.
//! Cost: what is known of every experiment (`known.rs`), and the descents.

use super::approach::{Design, Figures, Solution, Source};
use super::balance::{Balance, Balanced, Measured};
use super::candidates::Candidates;
use super::known::{Known, State};
use super::pool::{self, Pool};
use super::solver::Solver;
use super::{Method, Plan, Row};
use crate::bits::parallel::{Cancel, map};
use crate::design::search::ListDesign;
use crate::design::{Goal, Mix, PerRoute, Route};
use crate::ensemble::Ensemble;
use crate::error::{Error, Result};
use crate::estimate::{Part, Recalled};
use crate::experiment::{Chain, Experiment, Readings};
use crate::stabiliser::Setting;
use std::cmp::Ordering;
use std::sync::Arc;

/// How often what settings read and their shares are found in turn, at most.
const ROUNDS: usize = 16;
/// The last round is one that gains no more than this part.
const SETTLED: f64 = 5e-3;
/// Descents for half of the shots.
const DESCENTS: usize = 3;
/// The least that other shots may make of a variance.
const LEAST_FACTOR: f64 = 0.5;
/// What counts as the share of a setting that is not run.
const LEAST_SHARE: f64 = 1e-12;
/// Rounds of reweighting towards the largest variance.
const LEVELS: usize = 24;
/// More echoes and shifts than this, together, do not enter a mixture anew.
const MAX_ENTERING: usize = 40_000;

/// Whose variances count, and how much.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aim<'a> {
    /// Of the derivatives by parameters, observable by observable; equal weights, or the goal of the plan, if there are
    /// none.
    pub weights: Option<&'a [f64]>,
    /// Of derivatives by what parameters are computed from instead, with a weight for each.
    pub chain: Option<(&'a Chain, &'a [f64])>,
}

/// What a method comes to at a state.
struct Found {
    solution: Solution,
    /// Of every derivative that the aim is about; none where the method has no figures there.
    variances: Option<Vec<f64>>,
}

/// A design with other shares, those of the two circuits of an echo or a shift one by one.
#[derive(Debug)]
struct Tuned {
    design: Arc<dyn Design>,
    shares: Vec<f64>,
    /// For sources that are settings, what they are read for at the angles of the plan.
    settings: Vec<Option<(Setting, Readings)>>,
}

impl Plan {
    /// The same plan for a state: shares, weights of routes, variances and the best method are those for it. A method
    /// that says nothing of the state keeps its average over all states, and a mere bound does not hold there.
    pub fn at_state(&self, state: State<'_>, aim: Aim<'_>, cancel: &Cancel) -> Result<Plan> {
        let known = Known::new(self, state, cancel)?;
        let goal = aim.weights.map(|weights| Goal::Weighted(weights.to_vec()));
        let goal = goal.as_ref().unwrap_or(&self.structure.options.goal);
        let solver = Solver::new(&self.structure, &self.observables, &self.theta, goal, cancel)?;
        let first = self.structure.n_observables();
        let weights = match aim.chain {
            None => solver.weights[first..].to_vec(),
            Some((chain, weights)) => {
                let expected = chain.n_rows(first);
                if weights.len() != expected {
                    let expected = format!("{expected} weights, one for each derivative");
                    return Err(Error::shape("weights", expected, weights.len().to_string()));
                }
                weights.to_vec()
            }
        };
        let chain = aim.chain.map(|(chain, _)| chain);
        let mut made = Plan { former: None, ..self.clone() };
        made.moving = Some(solver.live[first..].to_vec());
        for (m, method) in Method::ALL.into_iter().enumerate() {
            cancel.check()?;
            let tuning = Tuning { plan: self, method, known: &known, chain, weights: &weights, cancel };
            let found = tuning.found(&self.solutions[m])?;
            made.rows[m] = match &found.variances {
                Some(variances) if chain.is_none() => {
                    let figures = solver.row(method, &found.solution)?;
                    let mean = weights.iter().zip(variances).filter(|(w, _)| **w > 0.0).map(|(w, v)| w * v);
                    let worst = weights.iter().zip(variances).filter(|(w, _)| **w > 0.0).map(|(_, v)| *v);
                    Row {
                        cost: mean.sum(),
                        worst: worst.fold(0.0, f64::max),
                        variances: variances.clone(),
                        at_state: true,
                        ..figures
                    }
                }
                Some(_) => Row { at_state: true, ..solver.row(method, &found.solution)? },
                None => solver.row(method, &found.solution)?,
            };
            made.solutions[m] = found.solution;
            made.by_arguments[m] = found.variances.filter(|_| chain.is_some()).unwrap_or_default();
        }
        Ok(made)
    }
}

/// One method at a state.
struct Tuning<'a> {
    plan: &'a Plan,
    method: Method,
    known: &'a Known<'a>,
    chain: Option<&'a Chain>,
    weights: &'a [f64],
    cancel: &'a Cancel,
}

/// The experiments of a method, and what is known of them.
struct Stage<'a> {
    sources: Vec<Source<'a>>,
    /// Which of the design's own sources these are.
    places: Vec<usize>,
    experiments: Vec<Experiment>,
    measured: Vec<Measured>,
    /// Whether the variances of each are those of the state.
    known: Vec<bool>,
}

/// Shares and weights of routes, what they come to, and what settings are read for.
struct Best {
    figure: f64,
    balanced: Balanced,
    readings: Vec<Readings>,
}

impl Tuning<'_> {
    fn found(&self, solution: &Solution) -> Result<Found> {
        let design = match solution {
            Solution::Design(design) => design.of_all_angles().unwrap_or_else(|| design.clone()),
            // It holds on average over all states, not at this one.
            Solution::Bound(_, reason) => {
                return Ok(Found { solution: Solution::Absent(reason.clone()), variances: None });
            }
            Solution::Absent(_) => return Ok(Found { solution: solution.clone(), variances: None }),
        };
        match design.sources(&self.plan.structure) {
            None => Ok(Found { solution: solution.clone(), variances: self.drawn(&*design)? }),
            Some(sources) => self.listed(&design, sources),
        }
    }

    /// The variances of a method that draws a setting for every shot.
    fn drawn(&self, design: &dyn Design) -> Result<Option<Vec<f64>>> {
        let Some(ensemble) = design.ensemble(&self.plan.structure, self.cancel)? else { return Ok(None) };
        let sums = match self.chain {
            Some(chain) => chain.sums(&self.plan.observables)?,
            None => self.plan.observables.derivatives(),
        };
        self.known.drawn(&ensemble, &sums, self.cancel)
    }

    fn listed(&self, design: &Arc<dyn Design>, all: Vec<(Source<'_>, f64)>) -> Result<Found> {
        let structure = &self.plan.structure;
        let list = design.list();
        let enters = self.known.is_exact() && self.chain.is_none() && all.len() <= MAX_ENTERING;
        let enters = enters && list.is_some_and(|list| list.routes.len() > 1);
        let wanted = |(source, share): &(Source<'_>, f64)| {
            *share > 0.0 || (enters && matches!(source, Source::Turned { .. }))
        };
        let places: Vec<usize> = (0..all.len()).filter(|&i| wanted(&all[i])).collect();
        let sources: Vec<Source<'_>> = places.iter().map(|&i| all[i].0).collect();
        let total: f64 = all.iter().map(|(_, share)| share).sum();
        let shares = places.iter().map(|&i| all[i].1 / total.max(f64::MIN_POSITIVE)).collect();
        let now = Balanced { shares, mix: self.mix(list) };
        let open = if self.chain.is_none() { self.open(list, &sources, &now) } else { None };
        let mut stage = self.stage(sources, places, &now, open.as_deref())?;
        // A design for values too, or one with shares of its own, keeps them.
        let own: Vec<f64> = all.iter().map(|(_, share)| *share).collect();
        if design.with_shares(&own, None).is_none() || structure.options.value_weight > 0.0 {
            let variances = self.variances(&stage, &now);
            let known = self.is_known(&stage, &now);
            return Ok(Found {
                solution: Solution::Design(design.clone()),
                variances: known.then_some(variances),
            });
        }
        let by_routes = open.is_some();
        let best = self.best(&mut stage, now, open)?;
        // Through a chain rule settings keep their contributions: nothing was made for the shots that are remembered.
        if !self.known.is_exact() && self.chain.is_none() {
            self.foresee(&mut stage, &best)?;
        }
        let mut shares = vec![0.0; all.len()];
        stage.places.iter().zip(&best.balanced.shares).for_each(|(place, share)| shares[*place] = *share);
        let mix = list.filter(|_| self.chain.is_none()).map(|_| best.balanced.mix.as_slice());
        let Some(other) = design.with_shares(&shares, mix) else {
            return Ok(Found { solution: Solution::Design(design.clone()), variances: None });
        };
        let mut settings: Vec<Option<(Setting, Readings)>> = vec![None; all.len()];
        let mut readings = best.readings.iter();
        for (source, place) in stage.sources.iter().zip(&stage.places) {
            if let (Source::Family(family), Some(own)) = (source, readings.next()) {
                // They were found as if settings were the only route.
                let mix = &best.balanced.mix;
                let part = |row: usize| if by_routes { mix[row][Route::Settings] } else { 1.0 };
                let own = own.scaled(part)?;
                settings[*place] = Some((family.setting(self.cancel)?.clone(), own));
            }
        }
        let variances = self.variances(&stage, &best.balanced);
        let known = self.is_known(&stage, &best.balanced);
        let solution = Solution::of(Tuned { design: other, shares, settings });
        Ok(Found { solution, variances: known.then_some(variances) })
    }

    /// The best shares, weights of routes and contributions of settings, found in turn; `stage` is left at them. The
    /// readings are those of all sources that come first, which are the settings.
    fn best(
        &self,
        stage: &mut Stage<'_>,
        now: Balanced,
        mut open: Option<Vec<PerRoute<bool>>>,
    ) -> Result<Best> {
        let families = stage.sources.iter().take_while(|s| matches!(s, Source::Family(_))).count();
        let mut pool = self.pool(stage, families, &now, Part::All)?;
        let readings = |stage: &Stage<'_>| -> Vec<Readings> {
            stage.experiments[..families].iter().map(|e| e.readings().clone()).collect()
        };
        let mut best = Best { figure: self.figure(stage, &now), balanced: now, readings: readings(stage) };
        let mut measured = stage.measured.clone();
        let rounds = pool.as_ref().map_or(1, |pool| pool.descents().min(ROUNDS));
        for _ in 0..rounds {
            if let Some(pool) = &mut pool {
                // A share of zero is that of a setting which no row needs any more.
                pool.set_shares(best.balanced.shares.iter().map(|share| share.max(LEAST_SHARE)));
                pool.descend(self.cancel)?;
                let found = pool.variances(self.cancel)?;
                stage.measured.iter_mut().zip(found).for_each(|(own, rows)| own.rows = rows);
            }
            let (found, left) = self.balanced(stage, &best.balanced, open);
            open = left;
            let figure = self.figure(stage, &found);
            if figure.partial_cmp(&best.figure) != Some(Ordering::Less) {
                break;
            }
            let gains = figure < best.figure * (1.0 - SETTLED);
            let words = self.plan.observables.sums().words();
            let readings = pool.as_ref().map_or_else(|| best.readings.clone(), |pool| pool.readings(words));
            (best, measured) = (Best { figure, balanced: found, readings }, stage.measured.clone());
            if !gains {
                break;
            }
        }
        stage.measured = measured;
        Ok(best)
    }

    /// The contributions of the settings, if they can be found in time.
    fn pool(&self, stage: &Stage<'_>, families: usize, now: &Balanced, part: Part) -> Result<Option<Pool>> {
        let experiments: Vec<&Experiment> = stage.experiments[..families].iter().collect();
        let words = self.plan.observables.sums().words();
        if families < 2 || self.chain.is_some() || !pool::fits(words.n_qubits(), families) {
            return Ok(None);
        }
        let parities = self.known.parities(&experiments, part, self.cancel)?;
        let shares: Vec<f64> = now.shares[..families].iter().map(|share| share.max(LEAST_SHARE)).collect();
        let effort = if self.known.is_exact() { pool::AT_LEISURE } else { pool::IN_A_STEP };
        Ok(Pool::new(words, &experiments, parities, &shares, effort))
    }

    /// Puts what is to be expected of the settings in the place of what earlier shots say: contributions that were made
    /// for these shots do better on them than on others. Contributions that are made for half of the shots, and judged
    /// by the other half, are as much worse than the truth, twice, as what was made for all of them is better.
    fn foresee(&self, stage: &mut Stage<'_>, best: &Best) -> Result<()> {
        let families = best.readings.len();
        let read = |(experiment, readings): (&Experiment, &Readings)| {
            Experiment::new(experiment.circuit(), experiment.setting().clone(), readings.clone())
        };
        let made = stage.experiments[..families].iter().zip(&best.readings).map(read);
        let made: Vec<Experiment> = made.collect::<Result<_>>()?;
        let recalled = self.known.recall(&made.iter().collect::<Vec<_>>(), self.cancel)?;
        let rows = |own: &Recalled| own.moments.iter().map(|m| (m.row, m.variance)).collect();
        let own: Vec<Vec<(usize, f64)>> = recalled.iter().map(rows).collect();
        let shares: Vec<f64> = best.balanced.shares[..families].iter().map(|s| s.max(LEAST_SHARE)).collect();
        let mut judged = Vec::new();
        for [part, other] in [[Part::First, Part::Second], [Part::Second, Part::First]] {
            let Some(mut pool) = self.pool(stage, families, &best.balanced, part)? else { break };
            for _ in 0..DESCENTS.min(pool.descents()) {
                pool.descend(self.cancel)?;
            }
            let experiments: Vec<&Experiment> = stage.experiments[..families].iter().collect();
            let others = self.known.parities(&experiments, other, self.cancel)?;
            judged.push(self.totals(&pool.judged(others, self.cancel)?, &shares));
        }
        let total = self.totals(&own, &shares);
        let factor = |row: usize| match &judged[..] {
            [a, b] if total[row] > 0.0 => {
                let other = (a[row] + b[row]) / 2.0;
                ((total[row] + 2.0 * other) / (3.0 * total[row])).max(LEAST_FACTOR)
            }
            _ => 1.0,
        };
        for (measured, own) in stage.measured.iter_mut().zip(own) {
            measured.rows = own.into_iter().map(|(row, variance)| (row, variance * factor(row))).collect();
        }
        Ok(())
    }

    /// The variance of every row from settings alone.
    fn totals(&self, settings: &[Vec<(usize, f64)>], shares: &[f64]) -> Vec<f64> {
        let mut totals = vec![0.0; self.weights.len()];
        for (rows, share) in settings.iter().zip(shares) {
            rows.iter().for_each(|(row, variance)| totals[*row] += variance / share);
        }
        totals
    }

    /// The weights of the routes in each row that the aim is about: those of the design.
    fn mix(&self, list: Option<&ListDesign>) -> Vec<Mix> {
        let first = self.plan.structure.n_observables();
        match (self.chain, list) {
            (None, Some(list)) => list.shares.mix[first..].to_vec(),
            _ => vec![PerRoute::of(|_| 1.0); self.weights.len()],
        }
    }

    /// The routes that each row may take: through settings where they reveal all of its words, through echoes and shifts
    /// where they give it. None for designs without routes.
    fn open(
        &self,
        list: Option<&ListDesign>,
        sources: &[Source<'_>],
        now: &Balanced,
    ) -> Option<Vec<PerRoute<bool>>> {
        let list = list?;
        let plan = self.plan;
        let (sums, first) = (plan.observables.sums(), plan.structure.n_observables());
        let revealed = plan.revealed(sources, &now.shares);
        let by_settings = plan.structure.by_settings(&plan.observables);
        let mut open: Vec<PerRoute<bool>> = (first..sums.len())
            .map(|r| {
                let (columns, coefficients) = sums.row(r);
                let mut needed = columns.iter().zip(coefficients).filter(|(_, v)| **v != 0.0);
                let all = needed.all(|(&c, _)| revealed[c as usize] > 0.0);
                let used = list.shares.mix[r] != Mix::NONE;
                PerRoute::of(|route| route == Route::Settings && by_settings[r] && all && used)
            })
            .collect();
        for source in sources {
            if let Source::Turned { pair, route, .. } = source {
                for &row in pair.readings().rows().iter().filter(|row| now.mix[**row] != Mix::NONE) {
                    open[row][*route] = true;
                }
            }
        }
        Some(open)
    }

    /// The experiments of sources, and what is known of them.
    fn stage<'s>(
        &self,
        sources: Vec<Source<'s>>,
        places: Vec<usize>,
        now: &Balanced,
        open: Option<&[PerRoute<bool>]>,
    ) -> Result<Stage<'s>> {
        let plan = self.plan;
        let n_observables = plan.structure.n_observables();
        let part = |row: usize, route: Route| match open {
            // As if the route were the only one: its weight comes later.
            Some(open) => f64::from(u8::from(open[row][route])),
            None => plan.part(self.method, n_observables + row, route),
        };
        let all: Vec<usize> = (0..sources.len()).collect();
        let experiments = plan.build_parts(&sources, &now.shares, &all, &part, self.cancel)?;
        let combined = match self.chain {
            None => None,
            Some(chain) => {
                Some(map(experiments.len(), self.cancel, |i| chain.combined(&experiments[i], n_observables))?)
            }
        };
        let read: Vec<&Experiment> = match &combined {
            None => experiments.iter().collect(),
            Some(combined) => combined.iter().map(|(_, experiment)| experiment).collect(),
        };
        let found = self.known.recall(&read, self.cancel)?;
        let measured = |(i, Recalled { moments, .. }): (usize, &Recalled)| {
            let row = |row: usize| combined.as_ref().map_or(row, |combined| combined[i].0[row]);
            let route = match sources[i] {
                Source::Turned { route, .. } => route,
                Source::Family(_) | Source::Setting(..) => Route::Settings,
            };
            Measured { route, rows: moments.iter().map(|m| (row(m.row), m.variance)).collect() }
        };
        let measured = found.iter().enumerate().map(measured).collect();
        let known = found.iter().map(|recalled| recalled.known).collect();
        Ok(Stage { sources, places, experiments, measured, known })
    }

    /// The best shares and weights for what is known; of the largest variance, if that is the goal.
    fn balanced(
        &self,
        stage: &Stage<'_>,
        now: &Balanced,
        open: Option<Vec<PerRoute<bool>>>,
    ) -> (Balanced, Option<Vec<PerRoute<bool>>>) {
        let mut balance = Balance { measured: &stage.measured, weights: self.weights, open };
        let mut found = balance.solve(now);
        if !self.is_max() {
            return (found, balance.open);
        }
        let mut weights = self.weights.to_vec();
        let mut best = (self.largest(&balance.variances(&found)), found.clone());
        for _ in 0..LEVELS {
            let variances = balance.variances(&found);
            let largest = self.largest(&variances).max(f64::MIN_POSITIVE);
            weights.iter_mut().zip(&variances).for_each(|(w, v)| *w *= (v / largest).sqrt().max(1e-3));
            let open = balance.open.clone();
            found = Balance { measured: &stage.measured, weights: &weights, open }.solve(&found);
            let largest = self.largest(&balance.variances(&found));
            if largest < best.0 {
                best = (largest, found.clone());
            }
        }
        (best.1, balance.open)
    }

    fn is_max(&self) -> bool {
        self.plan.structure.options.goal == Goal::Max
    }

    fn largest(&self, variances: &[f64]) -> f64 {
        let counted = self.weights.iter().zip(variances).filter(|(w, _)| **w > 0.0);
        counted.map(|(_, v)| *v).fold(0.0, f64::max)
    }

    /// The variance of one shot of every row that the aim is about.
    fn variances(&self, stage: &Stage<'_>, of: &Balanced) -> Vec<f64> {
        let balance = Balance { measured: &stage.measured, weights: self.weights, open: None };
        let mut found = balance.variances(of);
        if self.chain.is_none() {
            let unmeasured = self.plan.unmeasured(self.method);
            found.iter_mut().zip(unmeasured).for_each(|(v, more)| *v += more);
        }
        found
    }

    fn figure(&self, stage: &Stage<'_>, of: &Balanced) -> f64 {
        let balance = Balance { measured: &stage.measured, weights: self.weights, open: None };
        let variances = balance.variances(of);
        if self.is_max() { self.largest(&variances) } else { balance.mean(&variances) }
    }

    /// Whether at least half of the variance comes from experiments whose variances are those of the state.
    fn is_known(&self, stage: &Stage<'_>, of: &Balanced) -> bool {
        let (mut known, mut all) = (0.0, 0.0);
        for ((own, share), is_known) in stage.measured.iter().zip(&of.shares).zip(&stage.known) {
            let part = |(row, v): &(usize, f64)| self.weights[*row] * of.mix[*row][own.route].powi(2) * v;
            let variance: f64 = own.rows.iter().map(part).sum();
            if *share > 0.0 && variance > 0.0 {
                all += variance / share;
                known += if *is_known { variance / share } else { 0.0 };
            }
        }
        self.known.is_exact() || known > 0.5 * all
    }
}

impl Design for Tuned {
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>> {
        self.design.variances(solver)
    }

    fn runs(&self) -> Option<usize> {
        self.design.runs()
    }

    fn figures(&self, structure: &Candidates, cancel: &Cancel) -> Result<Figures> {
        self.design.figures(structure, cancel)
    }

    fn ensemble(&self, structure: &Candidates, cancel: &Cancel) -> Result<Option<Ensemble>> {
        self.design.ensemble(structure, cancel)
    }

    fn sources<'p>(&'p self, structure: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>> {
        let sources = self.design.sources(structure)?.into_iter().zip(&self.settings);
        let own = |((source, _), setting): ((Source<'p>, f64), &'p Option<(Setting, Readings)>)| {
            setting.as_ref().map_or(source, |(setting, readings)| Source::Setting(setting, readings))
        };
        Some(sources.map(own).zip(self.shares.iter().copied()).collect())
    }

    fn of_all_angles(&self) -> Option<Arc<dyn Design>> {
        Some(self.design.clone())
    }

    fn list(&self) -> Option<&ListDesign> {
        self.design.list()
    }

    fn with_shares(&self, shares: &[f64], mix: Option<&[Mix]>) -> Option<Arc<dyn Design>> {
        self.design.with_shares(shares, mix)
    }
}
