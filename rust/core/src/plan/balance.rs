//! Shares of the shots, and weights of the routes, once the variance of every experiment is known.
//!
//! Experiment i leaves each row r the variance `a^2 v_ir / q_i`, with `a` the weight of its route in the row and `q_i` its
//! share. For given weights the best shares are in proportion to `sqrt(sum_r w_r a^2 v_ir)`, as Neyman found for strata;
//! for given shares the best weights are inversely proportional to the variances of the routes. The objective is jointly
//! convex, so that doing both in turn leads to its optimum.
//!
//! Invariant: what is read at all keeps a share above zero, also where it does not vary. Cost: a pass over the readings of
//! all experiments per round.

use crate::design::{Mix, PerRoute, Route};

/// Rounds of shares and weights.
const ROUNDS: usize = 300;
/// Rounds end where one gains no more than this part.
const SETTLED: f64 = 1e-7;
/// A row leaves a route that has less than this weight in the end.
const NEGLIGIBLE: f64 = 0.02;
/// What is read has at least this part of an even share.
const FLOOR: f64 = 1e-3;

/// An experiment: the route that it is of, and the variance of one shot that it leaves to rows of that route.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) route: Route,
    pub(super) rows: Vec<(usize, f64)>,
}

/// Experiments and what their shares are for.
pub(super) struct Balance<'a> {
    pub(super) measured: &'a [Measured],
    /// How much the variance of each row counts.
    pub(super) weights: &'a [f64],
    /// The routes that a row may take; none where the weights of the routes stay as they are.
    pub(super) open: Option<Vec<PerRoute<bool>>>,
}

/// Shares and weights of routes.
#[derive(Debug, Clone)]
pub(super) struct Balanced {
    pub(super) shares: Vec<f64>,
    pub(super) mix: Vec<Mix>,
}

impl Balance<'_> {
    /// The best shares and weights, from given ones.
    pub(super) fn solve(&mut self, start: &Balanced) -> Balanced {
        let mut found = start.clone();
        if self.open.is_some() {
            // A share of zero would keep its route closed.
            let even = 1.0 / found.shares.len().max(1) as f64;
            found.shares.iter_mut().for_each(|share| *share = 0.5 * (*share + even));
        }
        self.alternate(&mut found);
        if let Some(open) = &mut self.open {
            for (open, mix) in open.iter_mut().zip(&found.mix) {
                *open = PerRoute::of(|route| open[route] && mix[route] >= NEGLIGIBLE);
            }
            self.alternate(&mut found);
        }
        found
    }

    /// The variance of one shot of every row.
    pub(super) fn variances(&self, of: &Balanced) -> Vec<f64> {
        let mut found = vec![0.0; self.weights.len()];
        for (own, share) in self.measured.iter().zip(&of.shares) {
            for &(row, variance) in &own.rows {
                let part = of.mix[row][own.route].powi(2) * variance;
                if part > 0.0 {
                    found[row] += part / share;
                }
            }
        }
        found
    }

    /// The weighted mean of variances.
    pub(super) fn mean(&self, variances: &[f64]) -> f64 {
        self.weights.iter().zip(variances).filter(|(w, _)| **w > 0.0).map(|(w, v)| w * v).sum()
    }

    fn alternate(&self, found: &mut Balanced) {
        let mut last = f64::INFINITY;
        for _ in 0..ROUNDS {
            self.mix(found);
            self.share(found);
            let now = self.mean(&self.variances(found));
            if last - now <= SETTLED * now {
                break;
            }
            last = now;
        }
    }

    /// The best weights of the routes, for the shares.
    fn mix(&self, found: &mut Balanced) {
        let Some(open) = &self.open else { return };
        let mut routes = vec![PerRoute::<f64>::default(); open.len()];
        for (own, share) in self.measured.iter().zip(&found.shares) {
            for &(row, variance) in &own.rows {
                routes[row][own.route] += if *share > 0.0 { variance / share } else { f64::INFINITY };
            }
        }
        let counted = (0..open.len()).filter(|&row| self.weights[row] > 0.0);
        for row in counted {
            let usable = |route: Route| open[row][route] && routes[row][route].is_finite();
            let least = Route::ALL.into_iter().filter(|&route| usable(route)).map(|route| routes[row][route]);
            let least = least.fold(f64::INFINITY, f64::min);
            // What does not vary at all is enough by itself.
            let floor = (1e-12 * least).max(f64::MIN_POSITIVE.sqrt());
            let mut mix =
                Mix::of(|route| if usable(route) { 1.0 / routes[row][route].max(floor) } else { 0.0 });
            let total = mix.total();
            if total > 0.0 {
                mix.divide(total);
                found.mix[row] = mix;
            }
        }
    }

    /// The best shares, for the weights of the routes.
    fn share(&self, found: &mut Balanced) {
        let used = |own: &Measured, row: usize| found.mix[row][own.route] > 0.0;
        let roots = self.measured.iter().map(|own| {
            let part = |(row, v): &(usize, f64)| self.weights[*row] * found.mix[*row][own.route].powi(2) * v;
            let read = own.rows.iter().any(|(row, _)| self.weights[*row] > 0.0 && used(own, *row));
            read.then(|| own.rows.iter().map(part).sum::<f64>().sqrt())
        });
        let roots: Vec<Option<f64>> = roots.collect();
        let total: f64 = roots.iter().flatten().sum();
        let count = roots.iter().flatten().count().max(1) as f64;
        let share = |root: &Option<f64>| {
            root.map_or(0.0, |root| {
                let own = if total > 0.0 { root / total } else { 1.0 / count };
                own.max(FLOOR / count)
            })
        };
        found.shares = roots.iter().map(share).collect();
        let total: f64 = found.shares.iter().sum();
        if total > 0.0 {
            found.shares.iter_mut().for_each(|share| *share /= total);
        }
    }
}
