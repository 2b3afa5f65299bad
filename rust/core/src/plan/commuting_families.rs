//! The words that the derivatives of each observable word consist of, where the trainable gates commute.
//!
//! Invariant: no trainable gate acts on what is read, so the settings hold at all angles; the coefficients follow the
//! inputs. Cost: one diagonalisation per word, once; the coefficients are replayed at other angles.

use super::not_applicable::{Applies, NotApplicable};
use crate::bits::parallel::Cancel;
use crate::circuit::Circuit;
use crate::circuit::layers::RotationLayers;
use crate::design::Options;
use crate::error::Result;
use crate::experiment::Readings;
use crate::heisenberg::GradientTemplate;
use crate::pauli::{PauliSum, PauliWord, Sums, Words};
use crate::stabiliser::{Connectivity, Setting, diagonalise, is_measurable};

/// Attempts at a short rotation before the readout.
const ATTEMPTS: usize = 4;

/// The words that the derivatives of each observable word consist of, with a setting that reveals them.
#[derive(Debug)]
pub(super) struct CommutingFamilies {
    /// The gradient observables of the words of the observables, each by itself.
    template: GradientTemplate,
    families: Vec<CommutingFamily>,
}

#[derive(Debug)]
struct CommutingFamily {
    /// Which of the template's observables.
    word: usize,
    /// The observables that the word belongs to, with its coefficients.
    uses: Vec<(usize, f64)>,
    setting: Setting,
}

impl CommutingFamilies {
    /// The families of a circuit without idle gates.
    pub(super) fn new(
        circuit: &Circuit,
        layers: &RotationLayers,
        sums: &Sums,
        options: &Options,
        cancel: &Cancel,
    ) -> Result<Applies<Self>> {
        let words: Vec<PauliWord> =
            sums.words().iter().filter(|w| !w.is_identity()).map(|w| w.to_word()).collect();
        for word in &words {
            if layers.layers(word)?.len() > 1 {
                return Ok(Err(NotApplicable::GeneratorsDoNotCommute));
            }
        }
        let single: Vec<PauliSum> = words.iter().map(|word| PauliSum::from_word(word.view())).collect();
        let template = GradientTemplate::within(circuit, &single, options.max_terms, cancel)?;
        if !(0..circuit.n_parameters()).all(|k| template.is_known(k)) {
            return Ok(Err(NotApplicable::LongDerivative { limit: options.max_terms }));
        }
        let mut families = Vec::new();
        for (word, own) in words.iter().enumerate() {
            let mut family = Words::new(circuit.n_qubits());
            for k in 0..circuit.n_parameters() {
                template.derivative_words(word, k).try_for_each(|revealed| family.push(revealed))?;
            }
            if family.is_empty() {
                continue;
            }
            if let Some(reason) = clash(&family, options.connectivity) {
                return Ok(Err(reason));
            }
            let coefficient = |o: usize| sums.terms(o).find(|(other, _)| *other == own.view());
            let uses = (0..sums.len()).filter_map(|o| Some((o, coefficient(o)?.1))).collect();
            let setting = diagonalise(&family, options.connectivity, ATTEMPTS, cancel)?;
            families.push(CommutingFamily { word, uses, setting });
        }
        Ok(Ok(CommutingFamilies { template, families }))
    }

    /// What each setting contributes to the derivatives at some angles and inputs.
    pub(super) fn readings(&self, theta: &[f64], cancel: &Cancel) -> Result<Vec<Readings>> {
        let rows = self.template.at(theta, cancel)?;
        let n_parameters = rows.n_parameters();
        let readings = |family: &CommutingFamily| {
            let mut entries = Vec::new();
            for k in 0..n_parameters {
                for (revealed, coefficient) in rows.sums().terms(rows.gradient_row(family.word, k)) {
                    let entry = |&(o, v)| (o * n_parameters + k, revealed.to_word(), v * coefficient);
                    entries.extend(family.uses.iter().map(entry));
                }
            }
            Readings::new(rows.n_qubits(), &entries)
        };
        self.families.iter().map(readings).collect()
    }

    pub(super) fn settings(&self) -> impl Iterator<Item = &Setting> {
        self.families.iter().map(|family| &family.setting)
    }
}

/// Why no setting reveals all words of a family.
fn clash(family: &Words, connectivity: Connectivity) -> Option<NotApplicable> {
    if !is_measurable(family, Connectivity::All) {
        // The words would depend on the angle of that gate.
        return Some(NotApplicable::LaterGate);
    }
    let what = "the commuting words";
    (!is_measurable(family, connectivity)).then_some(NotApplicable::TwoQubitGates { what })
}
