//! What is known of the state that is measured: the state itself, or what was measured of it before.
//!
//! Invariant: with a state, moments are exact; with a memory they are those that it recalls.
//! Cost: for a state a simulation of every circuit, `n 2^n` for every setting; for a memory a pass over its outcomes.

use super::Plan;
use super::pool::Parities;
use crate::bits::parallel::Cancel;
use crate::circuit::{Circuit, evolve, product};
use crate::ensemble::{Ensemble, MAX_EXACT_QUBITS};
use crate::error::{Error, Result};
use crate::estimate::{Memory, Part, Recalled};
use crate::experiment::{Experiment, on_states};
use crate::pauli::Sums;
use crate::pauli::word::check_width;
use crate::state::StateVector;
use num_complex::Complex64;

/// Pairs of words, all rows together, for which the variance of drawn settings is computed.
const MAX_PAIRS: usize = 20_000_000;

/// What a plan is told of the state that its circuit prepares.
#[derive(Debug, Clone, Copy)]
pub enum State<'a> {
    /// It is what the circuit makes of its product input, at the angles of the plan.
    Prepared,
    /// It is this one, whatever the input of the circuit is.
    Vector(&'a StateVector<'a>),
    /// Some of it was measured before.
    Memory(&'a Memory),
}

/// The same, ready to be asked.
pub(super) enum Known<'a> {
    /// The state before the circuit and after it.
    Vectors {
        input: Vec<Complex64>,
        last: Vec<Complex64>,
        theta: &'a [f64],
    },
    Memory(&'a Memory),
}

impl<'a> Known<'a> {
    pub(super) fn new(plan: &'a Plan, state: State<'a>, cancel: &Cancel) -> Result<Self> {
        let (circuit, theta) = (&plan.structure.circuit, plan.theta());
        Ok(match state {
            State::Memory(memory) => Known::Memory(memory),
            State::Prepared => {
                let input = product(plan.input()?, cancel)?;
                let mut last = input.clone();
                evolve(circuit, theta, &mut last, cancel)?;
                Known::Vectors { input, last, theta }
            }
            State::Vector(last) => {
                check_width("state", circuit.n_qubits(), last.n_qubits())?;
                let last = last.amplitudes().to_vec();
                let mut input = last.clone();
                evolve(&undoing(circuit)?, theta, &mut input, cancel)?;
                Known::Vectors { input, last, theta }
            }
        })
    }

    /// Whether moments are exact.
    pub(super) fn is_exact(&self) -> bool {
        matches!(self, Known::Vectors { .. })
    }

    /// What is known of experiments.
    pub(super) fn recall(&self, experiments: &[&Experiment], cancel: &Cancel) -> Result<Vec<Recalled>> {
        match self {
            Known::Memory(memory) => memory.recall(experiments, cancel),
            Known::Vectors { input, theta, .. } => {
                on_states(experiments, input, theta, cancel, |i, state| {
                    Ok(Recalled { moments: experiments[i].moments_on(state, cancel)?, known: true })
                })
            }
        }
    }

    /// How the words of settings vary together.
    pub(super) fn parities(
        &self,
        experiments: &[&Experiment],
        part: Part,
        cancel: &Cancel,
    ) -> Result<Vec<Parities>> {
        match self {
            Known::Vectors { input, theta, .. } => {
                on_states(experiments, input, theta, cancel, |i, state| {
                    Ok(Parities {
                        means: experiments[i].parities_on(state, cancel)?,
                        trust: 1.0,
                        shots: f64::INFINITY,
                    })
                })
            }
            Known::Memory(memory) => {
                let found = memory.parities(experiments, part, cancel)?;
                let trusted = |((means, shots), experiment): ((Vec<f64>, f64), &&Experiment)| {
                    // A covariance of many words that few shots tell would be mostly chance.
                    let words = experiment.readings().sums().words().len() as f64;
                    Parities { means, trust: shots / (shots + words), shots }
                };
                Ok(found.into_iter().zip(experiments).map(trusted).collect())
            }
        }
    }

    /// The variance of one shot of sums in settings that are drawn; none where it is not known, or too long a computation.
    pub(super) fn drawn(
        &self,
        ensemble: &Ensemble,
        sums: &Sums,
        cancel: &Cancel,
    ) -> Result<Option<Vec<f64>>> {
        let Known::Vectors { last, .. } = self else { return Ok(None) };
        let pairs: usize = (0..sums.len()).map(|r| sums.row(r).0.len().pow(2) / 2).sum();
        if sums.n_qubits() > MAX_EXACT_QUBITS || pairs > MAX_PAIRS {
            return Ok(None);
        }
        ensemble.exact_variances(sums, &StateVector::new(last)?, cancel).map(Some)
    }
}

/// The circuit that undoes another one.
fn undoing(circuit: &Circuit) -> Result<Circuit> {
    let mut undone = circuit.emptied();
    for (index, operation) in circuit.operations().iter().enumerate().rev() {
        undone.push(operation.inverse().ok_or_else(|| {
            let found = format!("a channel at gate {}", circuit.gate_of(index));
            Error::invalid("circuit", "unitary gates, to go back from a given state", found)
        })?);
    }
    Ok(undone)
}
