//! One setting per observable word, where all trainable gates that matter for it commute.
//!
//! Their gradient observables are then words that commute, up to what gates without a parameter do to them: one shot of
//! the final state gives all derivatives of the word. Which gates commute is known from the layers of the circuit.
//!
//! Invariant: no trainable gate acts on what is read, so the settings hold at all angles; the coefficients follow the
//! inputs. Cost: one diagonalisation per word, once; the coefficients are replayed at other angles.

use crate::bits::parallel::Cancel;
use crate::circuit::Size;
use crate::design::Mix;
use crate::ensemble::Ensemble;
use crate::error::Result;
use crate::experiment::Readings;
use crate::plan::approach::{Approach, Design, Figures, Solution, Source, Start, size_of};
use crate::plan::candidates::Candidates;
use crate::plan::commuting_families::CommutingFamilies;
use crate::plan::solver::Solver;
use std::sync::Arc;

/// The settings of the commuting families.
pub(super) struct Commuting;

impl Approach for Commuting {
    fn solve(&self, solver: &Solver<'_>, _: Start<'_>) -> Result<Solution> {
        let families = match &solver.structure.commuting {
            Ok(families) => families,
            Err(reason) => return Ok(Solution::Absent(reason.clone())),
        };
        let readings = families.readings(solver.theta, solver.cancel)?;
        let first = solver.structure.n_observables();
        let root = |readings: &Readings| {
            let second = readings.second_moments().map(|(row, second)| solver.weights[first + row] * second);
            second.sum::<f64>().sqrt()
        };
        let roots: Vec<f64> = readings.iter().map(root).collect();
        let total: f64 = roots.iter().sum();
        let share = |r: &f64| if total > 0.0 { r / total } else { 1.0 / roots.len() as f64 };
        Ok(Solution::of(Shared { shares: roots.iter().map(share).collect(), readings }))
    }
}

/// Shares of the settings, and what they contribute at the angles they were made for.
#[derive(Debug)]
struct Shared {
    shares: Vec<f64>,
    readings: Vec<Readings>,
}

impl Design for Shared {
    fn variances(&self, solver: &Solver<'_>) -> Result<Vec<f64>> {
        let mut variances = vec![0.0; solver.observables.sums().len()];
        let first = solver.structure.n_observables();
        if let Ok(families) = &solver.structure.commuting {
            let readings = families.readings(solver.theta, solver.cancel)?;
            for (readings, share) in readings.iter().zip(&self.shares) {
                for (row, second) in readings.second_moments() {
                    variances[first + row] += second / share;
                }
            }
        }
        Ok(variances)
    }

    fn runs(&self) -> Option<usize> {
        Some(self.shares.len())
    }

    fn figures(&self, structure: &Candidates, _: &Cancel) -> Result<Figures> {
        let settings = structure.commuting.iter().flat_map(CommutingFamilies::settings);
        let extra = settings.map(size_of).fold(Size::default(), Size::largest);
        Ok(Figures { circuits: 1, extra, served: true })
    }

    fn ensemble(&self, structure: &Candidates, _: &Cancel) -> Result<Option<Ensemble>> {
        let settings = structure.commuting.iter().flat_map(CommutingFamilies::settings).cloned();
        Ensemble::settings(settings.collect(), self.shares.clone()).map(Some)
    }

    fn with_shares(&self, shares: &[f64], _: Option<&[Mix]>) -> Option<Arc<dyn Design>> {
        Some(Arc::new(Shared { shares: shares.to_vec(), readings: self.readings.clone() }))
    }

    fn sources<'p>(&'p self, structure: &'p Candidates) -> Option<Vec<(Source<'p>, f64)>> {
        let settings = structure.commuting.iter().flat_map(CommutingFamilies::settings);
        let sources =
            settings.zip(&self.readings).map(|(setting, readings)| Source::Setting(setting, readings));
        Some(sources.zip(self.shares.iter().copied()).collect())
    }
}
