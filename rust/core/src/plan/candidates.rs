//! What a plan knows of the circuit, at all angles.
//!
//! Invariant: nothing here depends on the angles. Cost: linear in the gates of all echoes and shifts, and the words of
//! the gradient observables.

use super::commuting_families::CommutingFamilies;
use super::not_applicable::{Applies, NotApplicable};
use crate::bits::parallel::Cancel;
use crate::circuit::layers::RotationLayers;
use crate::circuit::{Circuit, Operation};
use crate::design::families::{Grouping, WordPool};
use crate::design::search::MAX_WORDS;
use crate::design::{DirectMeasurement, Options, Route};
use crate::error::{Error, Result};
use crate::experiment::{Echo, Pair, Reach, Readings, Shift, ShiftRule, echoes, most_steps, shift_rule};
use crate::heisenberg::{GradientObservables, GradientTemplate};
use crate::pauli::{PauliSum, Sums};
use crate::stabiliser::{Connectivity, Setting};
use crate::state::ProductState;
use std::sync::Arc;

/// Gates of all echoes together, 8 bytes each. Beyond, echoes are too many to win: each is for a layer of a word.
const MOST_STEPS: u64 = 100_000_000;

/// The structural part of a plan: words, layers, the circuits of echoes and shifts.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) circuit: Arc<Circuit>,
    /// What the circuit acts on, when that is known: gates that leave it alone have no derivative.
    pub(crate) input: Option<ProductState>,
    pub(crate) sums: Sums,
    pub(crate) options: Options,
    pub(crate) gradients: GradientTemplate,
    /// Derivatives that some gate can move at all.
    pub(crate) relevant: Vec<bool>,
    pub(super) echoes: Applies<Vec<Echo>>,
    /// Relevant gates, words in commuting families of the heaviest words.
    pub(super) pruned: Applies<Vec<Shift>>,
    /// Gates that are wired to the observable, words grouped qubit by qubit.
    pub(super) wired: Applies<Vec<Shift>>,
    /// A setting for every observable word, where all generators commute.
    pub(super) commuting: Applies<CommutingFamilies>,
}

impl Candidates {
    pub(crate) fn new(
        circuit: &Circuit,
        observables: &[PauliSum],
        input: Option<&ProductState>,
        options: Options,
        cancel: &Cancel,
    ) -> Result<Self> {
        let n = circuit.n_qubits();
        if observables.is_empty() {
            return Err(Error::invalid("observables", "at least one", "none"));
        }
        let sums = Sums::from_sums(n, observables)?;
        let first = |found: &dyn Fn(&Operation) -> bool| {
            let place = circuit.operations().iter().position(found);
            place.map(|operation| NotApplicable::Channel { gate: circuit.gate_of(operation) })
        };
        // Channels that move no word stand in nobody's way, but no echo undoes what a device does by itself.
        let layers = match first(&|operation| !operation.is_unitary() && !operation.is_transparent()) {
            None => Ok(RotationLayers::new(circuit, input)?),
            Some(reason) => Err(reason),
        };
        let noisy = first(&|operation| !operation.is_unitary() || operation.is_by_device());
        let acting = layers.as_ref().map_or_else(|_| circuit.clone(), |layers| without_idle(circuit, layers));
        let within = if options.mitigated { GradientTemplate::mitigated } else { GradientTemplate::within };
        let gradients = within(&acting, observables, options.max_terms, cancel)?;
        let connectivity = options.connectivity;
        let echoes = match (&layers, &noisy) {
            (Ok(layers), None) if most_steps(layers, observables, cancel)? <= MOST_STEPS => {
                Ok(echoes(layers, observables, connectivity, cancel)?)
            }
            (Ok(_), None) => Err(NotApplicable::TooManySteps { limit: MOST_STEPS }),
            (Err(reason), _) | (_, Some(reason)) => Err(reason.clone()),
        };
        let wide = groups(&sums, connectivity, cancel)?;
        let narrow = groups(&sums, Connectivity::None, cancel)?;
        let shifts = |settings: &[Setting], reach, input| -> Result<Applies<Vec<Shift>>> {
            Ok(match shift_rule(circuit, observables, settings, reach, input)? {
                ShiftRule::Shifts(shifts) => Ok(shifts),
                ShiftRule::Missing { gate } => Err(NotApplicable::NoShiftRule { gate }),
            })
        };
        let pruned = shifts(&wide, Reach::Chains, input)?;
        let wired = shifts(&narrow, Reach::Wires, None)?;
        let mut relevant = vec![false; observables.len() * circuit.n_parameters()];
        match (&pruned, &echoes) {
            (Ok(shifts), _) => shifts.iter().for_each(|s| mark(&mut relevant, s.readings())),
            (_, Ok(echoes)) => echoes.iter().for_each(|e| mark(&mut relevant, e.readings())),
            _ => relevant.fill(true),
        }
        let noise = circuit.operations().iter().any(Operation::is_by_device);
        let biased = |shifts: Applies<Vec<Shift>>| {
            if options.mitigated && noise { Err(NotApplicable::OfNoisyValue) } else { shifts }
        };
        let (pruned, wired) = (biased(pruned), biased(wired));
        let commuting = match (&layers, noisy) {
            (Ok(layers), None) => CommutingFamilies::new(&acting, layers, &sums, &options, cancel)?,
            (Err(reason), _) => Err(reason.clone()),
            (_, Some(reason)) => Err(reason),
        };
        Ok(Candidates {
            circuit: Arc::new(circuit.clone()),
            input: input.cloned(),
            sums,
            options,
            gradients,
            relevant,
            echoes,
            pruned,
            wired,
            commuting,
        })
    }

    /// The gradient observables at these angles.
    pub(crate) fn observables(&self, theta: &[f64], cancel: &Cancel) -> Result<GradientObservables> {
        self.gradients.at(theta, cancel)
    }

    pub(crate) fn n_observables(&self) -> usize {
        self.sums.len()
    }

    /// Whether each row may be measured from settings: those with known words, the shortest first as long as all their
    /// words together are not too many.
    pub(crate) fn by_settings(&self, observables: &GradientObservables) -> Vec<bool> {
        let sums = observables.sums();
        let known = |r: usize| {
            r < self.n_observables()
                || self.gradients.is_known((r - self.n_observables()) % self.circuit.n_parameters().max(1))
        };
        let mut open: Vec<bool> = (0..sums.len()).map(known).collect();
        if sums.words().len() <= MAX_WORDS {
            return open;
        }
        let mut order: Vec<usize> = (self.n_observables()..sums.len()).filter(|&r| open[r]).collect();
        order.sort_by_key(|&r| (sums.row(r).0.len(), r));
        let mut seen = vec![false; sums.words().len()];
        let mut count = 0;
        for r in order {
            let fresh = sums.row(r).0.iter().filter(|&&c| !seen[c as usize]).count();
            open[r] = count + fresh <= MAX_WORDS;
            if open[r] {
                sums.row(r).0.iter().for_each(|&c| seen[c as usize] = true);
                count += fresh;
            }
        }
        open
    }

    /// The pairs of circuits of a route; settings are none.
    pub(super) fn pairs(&self, route: Route) -> Vec<&dyn Pair> {
        match route {
            Route::Settings => Vec::new(),
            Route::Echo => self.echoes.iter().flatten().map(|echo| echo as &dyn Pair).collect(),
            Route::Shift => self.pruned.iter().flatten().map(|shift| shift as &dyn Pair).collect(),
        }
    }

    /// What the pairs of a route give, as direct measurements with the variance of one shot.
    pub(crate) fn direct(&self, route: Route) -> Vec<DirectMeasurement> {
        // Half of the shots go to each of the two circuits, and the reading of each holds half the derivative:
        // 2 (c/2)^2 / (1/2) = c^2 with c = twice the coefficient.
        let row = |(row, second)| ((self.n_observables() + row) as u32, 4.0 * second);
        let direct = |pair: &dyn Pair| pair.readings().second_moments().map(row).collect();
        self.pairs(route).into_iter().map(|pair| DirectMeasurement { route, rows: direct(pair) }).collect()
    }
}

/// The circuit without the gates that leave the input alone: the final state is the same, and so are its derivatives.
fn without_idle(circuit: &Circuit, layers: &RotationLayers) -> Circuit {
    let mut acting = circuit.emptied();
    let idle = layers.idle();
    let operations = circuit.operations().iter().enumerate();
    operations.filter(|(index, _)| !idle[*index]).for_each(|(_, operation)| acting.push(operation.clone()));
    acting
}

fn mark(relevant: &mut [bool], readings: &Readings) {
    readings.rows().iter().for_each(|&row| relevant[row] = true);
}

/// Settings for the words of the observables, heaviest words first, each word in the first that reveals it.
fn groups(sums: &Sums, connectivity: Connectivity, cancel: &Cancel) -> Result<Vec<Setting>> {
    let mut weights = vec![0.0; sums.words().len()];
    for r in 0..sums.len() {
        let (columns, coefficients) = sums.row(r);
        columns.iter().zip(coefficients).for_each(|(&c, v)| weights[c as usize] += v * v);
    }
    let identity = |c: &u32| sums.words().get(*c as usize).is_identity();
    let mut missing: Vec<u32> = (0..weights.len() as u32).filter(|c| !identity(c)).collect();
    missing.sort_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b)));
    let pool = WordPool::new(sums.words(), Grouping::of(connectivity), connectivity);
    let mut settings = Vec::new();
    while !missing.is_empty() {
        cancel.check()?;
        let family = pool.greedy(&missing);
        missing.retain(|c| family.members.binary_search(c).is_err());
        settings.push(family.setting(cancel)?.clone());
    }
    Ok(settings)
}
