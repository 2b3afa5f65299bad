//! Derivatives that are added up: searches make the variance of the sums small, covariances included.
//!
//! An argument of a program may feed several parameters of its circuit, as one angle of QAOA does for the gates of all
//! edges. Its derivative is a sum of theirs, which a setting reads together: where they have words in common, the sum
//! varies less, or more, than its parts do by themselves. So a search has one row for each sum, and what it finds goes to all
//! of its members. Members whose words are known are one sum, those that are left to echoes and shifts another one.
//!
//! Invariant: a design measures each derivative that counts, also words that cancel in the sum: the parameters are what
//! experiments read. A parameter that feeds no argument, or several, is a row by itself.
//! Cost: a pass over the entries of the gradient observables.

use super::candidates::Candidates;
use crate::design::allocate::{DirectMeasurement, Problem};
use crate::design::objective::Objective;
use crate::design::search::ListDesign;
use crate::design::{Mix, Route};
use crate::experiment::Chain;
use crate::pauli::Sums;
use std::collections::BTreeMap;

/// What the square of a member's coefficient adds to that of the sum.
const SLIGHT: f64 = 1e-5;

/// The rows of a search for derivatives that are added up.
pub(super) struct Together {
    /// Rows of the plan, each with its factor.
    members: Vec<Vec<(usize, f64)>>,
    /// For every row of the plan the one that it belongs to.
    of: Vec<usize>,
    objective: Objective,
}

impl Together {
    /// The sums that a chain rule makes of rows with these weights; none where it adds nothing up.
    pub(super) fn new(chain: &Chain, first: usize, weights: &[f64], open: &[bool]) -> Option<Self> {
        let fed = chain.fed();
        let mut members: Vec<Vec<(usize, f64)>> = Vec::new();
        let mut of = Vec::new();
        let mut known: BTreeMap<(usize, usize, bool), usize> = BTreeMap::new();
        for (r, weight) in weights.iter().enumerate() {
            let place = r.checked_sub(first).map(|row| (row / fed.len(), row % fed.len()));
            let fed = place.and_then(|(o, k)| fed[k].map(|(argument, slope)| (o, argument, slope)));
            let (group, factor) = match fed.filter(|_| *weight > 0.0) {
                Some((o, argument, slope)) => {
                    (*known.entry((o, argument, open[r])).or_insert(members.len()), slope)
                }
                None => (members.len(), 1.0),
            };
            members.resize_with(members.len().max(group + 1), Vec::new);
            members[group].push((r, factor));
            of.push(group);
        }
        if members.len() == weights.len() {
            return None;
        }
        // A member counts by its weight, which is that of the sum times the square of its slope, or a little more.
        let counts = members.iter_mut().map(|members| {
            let steepest = members.iter().map(|(_, factor)| factor.abs()).fold(0.0, f64::max);
            let most = members.iter().map(|(r, _)| weights[*r]).fold(0.0, f64::max);
            if most > 0.0 {
                let size = |r: usize| steepest * (weights[r] / most).sqrt();
                members.iter_mut().for_each(|(r, factor)| *factor = size(*r).copysign(*factor));
            }
            most / (steepest * steepest)
        });
        let counts = counts.collect();
        let open = members.iter().map(|members| open[members[0].0]).collect();
        Some(Together { members, of, objective: Objective::of(counts, open) })
    }

    /// What counts how much.
    pub(super) fn objective(&self) -> &Objective {
        &self.objective
    }

    /// The sums for a search.
    pub(super) fn sums(&self, rows: &Sums) -> Sums {
        self.added(rows, SLIGHT, |_| 1.0)
    }

    /// What direct measurements say of the sums, for a search.
    pub(super) fn direct(&self, structure: &Candidates, routes: &[Route]) -> Vec<DirectMeasurement> {
        self.read(structure, routes, SLIGHT, |_, _| 1.0)
    }

    /// The weights of the routes of every sum, from those of its members.
    pub(super) fn gathered(&self, mix: &[Mix]) -> Vec<Mix> {
        let first = |members: &Vec<(usize, f64)>| mix.get(members[0].0).copied().unwrap_or(Mix::NONE);
        self.members.iter().map(first).collect()
    }

    /// The weights of the routes of every row of the plan.
    pub(super) fn spread(&self, mix: &[Mix]) -> Vec<Mix> {
        self.of.iter().map(|&group| mix[group]).collect()
    }

    /// What a design makes of the mean variance of the sums, or of the largest; infinite where it does not measure all.
    pub(super) fn figure(&self, structure: &Candidates, rows: &Sums, list: &ListDesign, max: bool) -> f64 {
        let part = |r: usize, route: Route| list.shares.mix[r][route];
        let counts = |group: &usize| self.objective.weights()[*group] > 0.0;
        let missing = |(r, group): (usize, &usize)| counts(group) && list.shares.mix[r] == Mix::NONE;
        if self.of.iter().enumerate().any(missing) {
            return f64::INFINITY;
        }
        let sums = self.added(rows, 0.0, |r| part(r, Route::Settings));
        let direct = self.read(structure, &list.routes, 0.0, part);
        let families = list.members();
        let problem =
            Problem { sums: &sums, objective: &self.objective, families: &families, direct: &direct };
        let mut shares = list.shares.clone();
        shares.mix = vec![Mix::of(|_| 1.0); self.members.len()];
        self.objective.figure(&problem.variances(&shares), max)
    }

    /// The sums of the rows, each times a part, over the same words.
    fn added(&self, rows: &Sums, slight: f64, part: impl Fn(usize) -> f64) -> Sums {
        let mut both = vec![(0.0, 0.0); rows.words().len()];
        let (mut starts, mut columns, mut coefficients) = (vec![0], Vec::new(), Vec::new());
        for members in &self.members {
            let from = columns.len();
            for &(r, factor) in members {
                let (own, values) = rows.row(r);
                let factor = factor * part(r);
                own.iter().zip(values).for_each(|(&c, v)| add(&mut both, &mut columns, c, factor * v));
            }
            columns[from..].sort_unstable();
            coefficients.extend(columns[from..].iter().map(|&c| taken(&mut both, c, slight).sqrt()));
            starts.push(columns.len());
        }
        Sums::from_rows(rows.words().clone(), starts, columns, coefficients)
    }

    /// The variance of one shot of direct measurements, of each row a part.
    fn read(
        &self,
        structure: &Candidates,
        routes: &[Route],
        slight: f64,
        part: impl Fn(usize, Route) -> f64,
    ) -> Vec<DirectMeasurement> {
        let factors: BTreeMap<usize, f64> = self.members.iter().flatten().copied().collect();
        let mut found = Vec::new();
        for &route in routes {
            for pair in structure.pairs(route) {
                let readings = pair.readings();
                let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
                for (j, row) in readings.rows().iter().enumerate() {
                    groups.entry(self.of[structure.n_observables() + row]).or_default().push(j);
                }
                let mut both = vec![(0.0, 0.0); readings.sums().words().len()];
                let mut second = |read: Vec<usize>| {
                    let mut columns = Vec::new();
                    for j in read {
                        let r = structure.n_observables() + readings.rows()[j];
                        let factor = factors[&r] * part(r, route);
                        let (own, values) = readings.sums().row(j);
                        own.iter()
                            .zip(values)
                            .for_each(|(&c, v)| add(&mut both, &mut columns, c, factor * v));
                    }
                    // As in `Candidates::direct`.
                    4.0 * columns.into_iter().map(|c| taken(&mut both, c, slight)).sum::<f64>()
                };
                let rows = groups.into_iter().map(|(group, read)| (group as u32, second(read))).collect();
                found.push(DirectMeasurement { route, rows });
            }
        }
        found
    }
}

/// Adds to the sum and the squares of a word, which is listed where it is met first.
fn add(both: &mut [(f64, f64)], columns: &mut Vec<u32>, column: u32, value: f64) {
    let own = &mut both[column as usize];
    // Only where nothing has been added are there no squares.
    if own.1 == 0.0 && value != 0.0 {
        columns.push(column);
    }
    *own = (own.0 + value, own.1 + value * value);
}

/// The square of the sum and a little of the squares; what was added is gone.
fn taken(both: &mut [(f64, f64)], column: u32, slight: f64) -> f64 {
    let (sum, squares) = std::mem::take(&mut both[column as usize]);
    sum * sum + slight * squares
}
