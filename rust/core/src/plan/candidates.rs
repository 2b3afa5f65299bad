//! What a plan knows of the circuit, at all angles.

use crate::bits::parallel::Cancel;
use crate::circuit::Circuit;
use crate::circuit::layers::RotationLayers;
use crate::design::Options;
use crate::design::allocate::{Direct, Way};
use crate::design::families::{Choice, Family, Grouping};
use crate::design::search::MAX_WORDS;
use crate::error::{Error, Result};
use crate::experiment::Readings;
use crate::experiment::{Echo, echoes};
use crate::experiment::{Reach, Shift, shifts};
use crate::heisenberg::{GradientObservables, GradientTemplate};
use crate::pauli::{PauliSum, PauliWord, Sums, Words};
use crate::stabiliser::Setting;
use crate::stabiliser::{Connectivity, diagonalise};
use crate::state::ProductState;
use std::sync::Arc;

/// What does not depend on the angles.
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
    pub(crate) echoes: std::result::Result<Vec<Echo>, String>,
    /// Relevant gates, words in commuting families of the heaviest words.
    pub(crate) pruned: std::result::Result<Vec<Shift>, String>,
    /// Gates that are wired to the observable, words grouped qubit by qubit.
    pub(crate) wired: std::result::Result<Vec<Shift>, String>,
    /// A setting for every observable word, with the rows it gives, where all generators commute.
    pub(crate) commuting: std::result::Result<Vec<(Setting, Readings)>, String>,
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
        let frame = RotationLayers::new(circuit, input);
        let acting = frame.as_ref().map_or_else(|_| circuit.clone(), |frame| without_idle(circuit, frame));
        let gradients = GradientTemplate::within(&acting, observables, options.max_terms, cancel)?;
        let reason = |error: Error| error.to_string();
        let echoes = match &frame {
            Ok(frame) => match echoes(frame, observables, options.connectivity, cancel) {
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                found => found.map_err(reason),
            },
            Err(error) => Err(error.to_string()),
        };
        let groups = |grouping, connectivity| groups(&sums, grouping, connectivity);
        let wide = match options.connectivity {
            Connectivity::None => groups(Grouping::QubitWise, Connectivity::None)?,
            connectivity => groups(Grouping::Commuting, connectivity)?,
        };
        let narrow = groups(Grouping::QubitWise, Connectivity::None)?;
        let pruned = shifts(circuit, observables, &wide, Reach::Chains, input);
        let wired = shifts(circuit, observables, &narrow, Reach::Wires, None);
        let mut relevant = vec![false; observables.len() * circuit.n_parameters()];
        match (&pruned, &echoes) {
            (Ok(shifts), _) => shifts.iter().for_each(|s| mark(&mut relevant, s.readings())),
            (_, Ok(echoes)) => echoes.iter().for_each(|e| mark(&mut relevant, e.readings())),
            _ => relevant.fill(true),
        }
        let commuting = match frame {
            Ok(frame) => commuting(&acting, &frame, &sums, &options, cancel)?,
            Err(error) => Err(error.to_string()),
        };
        Ok(Candidates {
            circuit: Arc::new(circuit.clone()),
            input: input.cloned(),
            sums,
            options,
            gradients,
            relevant,
            echoes,
            pruned: pruned.map_err(reason),
            wired: wired.map_err(reason),
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

    /// Which derivatives are to be measured from settings: those with known words, the shortest first as long as all
    /// their words together are not too many.
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

    /// What the echoes and shifts give, as direct measurements with the variance of one shot.
    pub(crate) fn direct(&self, way: Way) -> Vec<Direct> {
        let direct = |readings: &Readings| Direct {
            way,
            rows: (readings.rows().iter().enumerate())
                .map(|(j, &row)| {
                    // Half of the shots go to each of the two circuits, and the reading of each holds half the
                    // derivative: 2 (c/2)^2 / (1/2) = c^2 with c = twice the coefficient.
                    let second: f64 = readings.sums().row(j).1.iter().map(|c| c * c).sum();
                    ((self.n_observables() + row) as u32, 4.0 * second)
                })
                .collect(),
        };
        match way {
            Way::Echo => self.echoes.iter().flatten().map(|e| direct(e.readings())).collect(),
            Way::Shift => self.pruned.iter().flatten().map(|s| direct(s.readings())).collect(),
            Way::Settings => Vec::new(),
        }
    }
}

/// The circuit without the gates that leave the input alone: the final state is the same, and so are its derivatives.
fn without_idle(circuit: &Circuit, frame: &RotationLayers) -> Circuit {
    let mut acting = circuit.emptied();
    let idle = frame.idle();
    let operations = circuit.operations().iter().enumerate();
    operations.filter(|(index, _)| !idle[*index]).for_each(|(_, operation)| acting.push(operation.clone()));
    acting
}

fn mark(relevant: &mut [bool], readings: &Readings) {
    readings.rows().iter().for_each(|&row| relevant[row] = true);
}

/// Settings for the words of the observables, heaviest words first, each word in the first that reveals it.
fn groups(sums: &Sums, grouping: Grouping, connectivity: Connectivity) -> Result<Vec<Setting>> {
    let mut weights = vec![0.0; sums.words().len()];
    for r in 0..sums.len() {
        let (columns, coefficients) = sums.row(r);
        columns.iter().zip(coefficients).for_each(|(&c, v)| weights[c as usize] += v * v);
    }
    let identity = |c: &u32| sums.words().get(*c as usize).is_identity();
    let mut missing: Vec<u32> = (0..weights.len() as u32).filter(|c| !identity(c)).collect();
    missing.sort_by(|&a, &b| weights[b as usize].total_cmp(&weights[a as usize]).then(a.cmp(&b)));
    let choice = Choice::new(sums.words());
    let mut settings = Vec::new();
    while !missing.is_empty() {
        let family: Family = choice.greedy(&missing, grouping);
        missing.retain(|c| family.members.binary_search(c).is_err());
        settings.push(family.setting(sums.n_qubits(), connectivity)?.clone());
    }
    Ok(settings)
}

/// One setting per observable word when all trainable generators that matter for it commute: then so do all its
/// gradient observables, which are words.
fn commuting(
    circuit: &Circuit,
    frame: &RotationLayers,
    sums: &Sums,
    options: &Options,
    cancel: &Cancel,
) -> Result<std::result::Result<Vec<(Setting, Readings)>, String>> {
    let n = circuit.n_qubits();
    let words: Vec<PauliWord> =
        sums.words().iter().filter(|w| !w.is_identity()).map(|w| w.to_word()).collect();
    for word in &words {
        if frame.levels(word)?.len() > 1 {
            return Ok(Err("the trainable generators do not all commute".to_owned()));
        }
    }
    let single: Vec<PauliSum> = words.iter().map(|word| PauliSum::from_word(word.view())).collect();
    let probe = GradientTemplate::within(circuit, &single, options.max_terms, cancel)?;
    if !(0..circuit.n_parameters()).all(|k| probe.is_known(k)) {
        return Ok(Err(format!("a derivative has more than {} words", options.max_terms)));
    }
    let theta: Vec<f64> = (0..circuit.n_values()).map(|k| 0.3 + 0.1 * k as f64).collect();
    let rows = probe.at(&theta, cancel)?;
    let mut found = Vec::new();
    for (h, word) in words.iter().enumerate() {
        let mut family = Words::new(n);
        let mut entries = Vec::new();
        for k in 0..circuit.n_parameters() {
            for (revealed, coefficient) in rows.sums().terms(rows.gradient_row(h, k)) {
                family.push(revealed)?;
                for o in 0..sums.len() {
                    if let Some((_, v)) = sums.terms(o).find(|(other, _)| *other == word.view()) {
                        entries.push((o * circuit.n_parameters() + k, revealed.to_word(), v * coefficient));
                    }
                }
            }
        }
        if family.is_empty() {
            continue;
        }
        // A later gate that does not commute would make these sums depend on the angles; then there is no family.
        match diagonalise(&family, options.connectivity, 4, cancel) {
            Ok(setting) => found.push((setting, Readings::new(n, &entries)?)),
            Err(error) => return Ok(Err(error.to_string())),
        }
    }
    Ok(Ok(found))
}
