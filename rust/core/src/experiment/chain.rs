//! Derivatives by what the parameters of a circuit are computed from: the chain rule, with its covariances.
//!
//! A [`Chain`] holds the slopes of the parameters by some arguments. A derivative by an argument is a combination of
//! derivatives by parameters; what one experiment reads for several of them varies together.
//!
//! Invariant: rows are observable by observable, as in the gradient observables, with arguments in place of parameters.
//! Cost: linear in the entries of the readings, once for every argument that a parameter depends on.

use super::{Experiment, on_states};
use crate::bits::parallel::{self, Cancel};
use crate::circuit::product;
use crate::error::{Error, Result};
use crate::heisenberg::GradientObservables;
use crate::pauli::{PauliSum, Sums};
use crate::state::ProductState;

/// How the parameters of a circuit follow some arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    n_parameters: usize,
    /// For every argument the parameters that depend on it, ascending, with their slopes.
    arguments: Vec<Vec<(usize, f64)>>,
}

impl Chain {
    /// From a table with a row for every parameter and a column for every argument.
    pub fn new(n_parameters: usize, n_arguments: usize, slopes: &[f64]) -> Result<Self> {
        if slopes.len() != n_parameters * n_arguments {
            let expected = format!("{n_parameters} rows of {n_arguments}");
            return Err(Error::shape("chain", expected, slopes.len().to_string()));
        }
        if let Some(bad) = slopes.iter().find(|slope| !slope.is_finite()) {
            return Err(Error::invalid("chain", "finite slopes", bad.to_string()));
        }
        let of = |i: usize| {
            let column = (0..n_parameters).map(|k| (k, slopes[k * n_arguments + i]));
            column.filter(|(_, slope)| *slope != 0.0).collect()
        };
        Ok(Chain { n_parameters, arguments: (0..n_arguments).map(of).collect() })
    }

    /// For every parameter the one argument that it depends on, with its slope; none where there are several, or none.
    pub(crate) fn fed(&self) -> Vec<Option<(usize, f64)>> {
        let mut fed = vec![Vec::new(); self.n_parameters];
        for (argument, parameters) in self.arguments.iter().enumerate() {
            parameters.iter().for_each(|&(k, slope)| fed[k].push((argument, slope)));
        }
        fed.into_iter().map(|own| if let [one] = own[..] { Some(one) } else { None }).collect()
    }

    /// Refuses a chain of other parameters than those of a circuit.
    pub(crate) fn check(&self, n_parameters: usize) -> Result<()> {
        if self.n_parameters == n_parameters {
            return Ok(());
        }
        Err(Error::shape("chain", format!("{n_parameters} rows"), self.n_parameters.to_string()))
    }

    /// How many derivatives by arguments there are of so many observables.
    pub(crate) fn n_rows(&self, n_observables: usize) -> usize {
        n_observables * self.arguments.len()
    }

    /// For a row by an argument, what is read for the parameters it depends on: the place among the readings, the slope.
    fn parts(&self, experiment: &Experiment, row: usize) -> Vec<(usize, f64)> {
        let rows = experiment.readings().rows();
        let (observable, argument) = (row / self.arguments.len(), row % self.arguments.len());
        let place = |&(k, slope): &(usize, f64)| {
            let found = rows.binary_search(&(observable * self.n_parameters + k)).ok()?;
            Some((found, slope))
        };
        self.arguments[argument].iter().filter_map(place).collect()
    }
}

impl Chain {
    /// The same measurement read for derivatives by arguments: those that it contributes to, and the experiment whose
    /// rows are their places.
    pub(crate) fn combined(
        &self,
        experiment: &Experiment,
        n_observables: usize,
    ) -> Result<(Vec<usize>, Experiment)> {
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for row in 0..self.n_rows(n_observables) {
            let parts = self.parts(experiment, row);
            if !parts.is_empty() {
                let mut own = vec![0.0; experiment.readings().rows().len()];
                parts.into_iter().for_each(|(j, slope)| own[j] = slope);
                rows.push(row);
                weights.push(own);
            }
        }
        Ok((rows, experiment.combined(&weights)?))
    }

    /// The sums that the derivatives by arguments are on the final state, observable by observable.
    pub(crate) fn sums(&self, observables: &GradientObservables) -> Result<Sums> {
        let mut sums = Vec::new();
        for observable in 0..observables.n_observables() {
            for argument in &self.arguments {
                let mut terms = Vec::new();
                for &(k, slope) in argument {
                    let row = observables.sums().terms(observables.gradient_row(observable, k));
                    terms.extend(row.map(|(word, c)| (word.to_word(), c * slope)));
                }
                let terms = terms.iter().map(|(word, c)| (word, *c));
                sums.push(PauliSum::from_terms(observables.n_qubits(), terms)?);
            }
        }
        Sums::from_sums(observables.n_qubits(), &sums)
    }
}

/// The variance of every derivative by an argument, on the maximally mixed state, from experiments with their numbers of
/// shots; with their shares, that of one shot.
pub fn chained(
    runs: &[(&Experiment, f64)],
    chain: &Chain,
    n_observables: usize,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let n_rows = chain.n_rows(n_observables);
    let found = parallel::map(runs.len(), cancel, |run| {
        let (experiment, shots) = runs[run];
        let sums = experiment.readings().sums();
        let mut total = vec![0.0; sums.words().len()];
        let mut variances = Vec::new();
        for row in 0..n_rows {
            let parts = chain.parts(experiment, row);
            let second: f64 = match parts[..] {
                [] => continue,
                [(j, slope)] => sums.row(j).1.iter().map(|c| (slope * c).powi(2)).sum(),
                _ => {
                    let entries = || {
                        parts.iter().flat_map(|&(j, slope)| {
                            let (columns, coefficients) = sums.row(j);
                            columns.iter().zip(coefficients).map(move |(&c, v)| (c as usize, slope * v))
                        })
                    };
                    entries().for_each(|(c, v)| total[c] += v);
                    // Every word counts where it is met first.
                    entries().map(|(c, _)| std::mem::take(&mut total[c]).powi(2)).sum()
                }
            };
            variances.push((row, second / shots));
        }
        Ok(variances)
    })?;
    Ok(summed(n_rows, found))
}

/// The same on the state that is prepared, by simulation.
pub fn chained_exact(
    runs: &[(&Experiment, f64)],
    chain: &Chain,
    n_observables: usize,
    (theta, input): (&[f64], &ProductState),
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let n_rows = chain.n_rows(n_observables);
    let combined = parallel::map(runs.len(), cancel, |run| chain.combined(runs[run].0, n_observables))?;
    let experiments: Vec<&Experiment> = combined.iter().map(|(_, experiment)| experiment).collect();
    let found = on_states(&experiments, &product(input, cancel)?, theta, cancel, |run, state| {
        let (rows, shots) = (&combined[run].0, runs[run].1);
        let moments = experiments[run].moments_on(state, cancel)?;
        Ok(moments.iter().map(|moment| (rows[moment.row], moment.variance / shots)).collect())
    })?;
    Ok(summed(n_rows, found))
}

fn summed(n_rows: usize, found: Vec<Vec<(usize, f64)>>) -> Vec<f64> {
    let mut variances = vec![0.0; n_rows];
    found.into_iter().flatten().for_each(|(row, variance)| variances[row] += variance);
    variances
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::Circuit;
    use crate::experiment::Readings;
    use crate::pauli::PauliWord;
    use crate::stabiliser::Setting;

    #[test]
    fn what_is_read_together_varies_together() {
        let word = |label: &str| PauliWord::from_label(label).unwrap();
        let entries = [(0, word("ZI"), 1.0), (1, word("ZI"), 0.5), (1, word("IZ"), 2.0)];
        let readings = Readings::new(2, &entries).unwrap();
        let setting = Setting::product("ZZ").unwrap();
        let experiment = Experiment::new(Circuit::new(2, 2).unwrap(), setting, readings).unwrap();
        // By the sum of both parameters, by twice the first, and by nothing.
        let chain = Chain::new(2, 3, &[1.0, 2.0, 0.0, 1.0, 0.0, 0.0]).unwrap();
        let runs = [(&experiment, 4.0), (&experiment, 2.0)];
        let found = chained(&runs, &chain, 1, &Cancel::new()).unwrap();
        assert_eq!(found, [(2.25 + 4.0) * 0.75, 4.0 * 0.75, 0.0]);
        assert!(Chain::new(2, 2, &[1.0; 3]).is_err() && Chain::new(1, 1, &[f64::NAN]).is_err());
    }
}
