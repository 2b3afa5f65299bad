//! The echo gradient: two circuits for each observable word and level give the derivatives by all gates of the level.
//!
//! `exp(-i phi O / 2)` with phi = -+ pi/2 turns an operator P that is measured after it into `(P + O P O)/2 -+ (i/2)
//! [P, O]`: so run the circuit, *kick* it about the observable word O, undo the gates V after the level and read the
//! generators `P_j` of the level, which commute, all at once: `g_j = (<P_j>_minus - <P_j>_plus) / 2`, O being a
//! word, for `(i/2) [V P_j V^dag, O]` is the gradient observable. The echoes of a sum of words add up.
//!
//! Left out, exactly: gates that are not relevant for the word (they commute with all that follows, so the derivative
//! is that of the circuit without them), undoing gates that do not depend on the level, and everything outside the
//! light cone of what is read. Clifford gates after the last relevant gate are pulled through the kick where that saves
//! two-qubit gates.
//!
//! Invariant: experiments are built from the structure alone and are valid at all parameters.
//! Cost: linear in the gates per echo; circuits are built when they are asked for.

use super::diagonalise::{Connectivity, diagonalise};
use super::experiment::{Cost, Experiment, Readings};
use super::levels::{Frame, Members, Moving};
use super::setting::Setting;
use crate::bits::parallel::{Cancel, map};
use crate::error::Result;
use crate::heisenberg::{Angle, Circuit, Direction, Operation, QubitSet};
use crate::pauli::{Letter, PauliSum, PauliWord, Sums, Words};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

/// Attempts at a short rotation before the readout.
const EFFORT: usize = 1;

/// The two experiments of an observable word and a level.
#[derive(Debug, Clone)]
pub struct Echo {
    circuit: Arc<Circuit>,
    word: PauliWord,
    level: usize,
    kick: (Vec<(usize, Letter)>, bool),
    steps: Vec<Step>,
    setting: Setting,
    readings: Readings,
    extra: Cost,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Run(u32),
    Kick,
    Undo(u32),
}

impl Echo {
    /// The observable word.
    pub fn word(&self) -> &PauliWord {
        &self.word
    }

    /// The level of its gates, from 1.
    pub fn level(&self) -> usize {
        self.level
    }

    /// The setting of both experiments.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    /// The readings of [`Echo::minus`]; those of [`Echo::plus`] have the other sign.
    pub fn readings(&self) -> &Readings {
        &self.readings
    }

    /// What comes after the circuit: the kick, the way back and the rotation of the setting.
    pub fn extra(&self) -> Cost {
        self.extra
    }

    /// The experiment with the kick by `-pi/2`.
    pub fn minus(&self) -> Result<Experiment> {
        Experiment::new(self.build(-FRAC_PI_2)?, self.setting.clone(), self.readings.clone())
    }

    /// The experiment with the kick by `pi/2`.
    pub fn plus(&self) -> Result<Experiment> {
        Experiment::new(self.build(FRAC_PI_2)?, self.setting.clone(), self.readings.negated())
    }

    fn build(&self, kick: f64) -> Result<Circuit> {
        let mut built = Circuit::new(self.circuit.n_qubits(), self.circuit.n_parameters())?;
        self.steps.iter().for_each(|step| built.push(self.operation(*step, kick)));
        Ok(built)
    }

    fn operation(&self, step: Step, kick: f64) -> Operation {
        let operations = self.circuit.operations();
        match step {
            Step::Run(index) => operations[index as usize].clone(),
            Step::Undo(index) => {
                let inverse = operations[index as usize].inverse();
                inverse.expect("the frame is of unitary gates")
            }
            Step::Kick => {
                let (letters, negative) = &self.kick;
                let angle = Angle::Fixed(if *negative { -kick } else { kick });
                Operation::Rotation { letters: letters.clone(), angle }
            }
        }
    }
}

/// The echoes that measure the gradients of `observables`, word by word and level by level. The
/// connectivity is that of the rotations before the readout; without two-qubit gates a level may take several echoes.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::design::{Connectivity, Frame, echoes};
/// use efl_core::heisenberg::{Angle, Circuit, ProductState};
/// use efl_core::pauli::{Letter, PauliSum};
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let z = PauliSum::from_labels([("Z", 1.0)])?;
/// let found = echoes(&Frame::new(&circuit, None)?, &[z], Connectivity::All, &Cancel::new())?;
/// let state = ProductState::zero(1);
/// let mean = |e: efl_core::design::Experiment| e.moments(&[0.3], &state, &Cancel::new()).unwrap()[0].mean;
/// let gradient = mean(found[0].minus()?) + mean(found[0].plus()?);
/// assert!((gradient + 0.3f64.sin()).abs() < 1e-15); // <Z> = cos(theta)
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn echoes(
    frame: &Frame,
    observables: &[PauliSum],
    connectivity: Connectivity,
    cancel: &Cancel,
) -> Result<Vec<Echo>> {
    let sums = Sums::from_sums(frame.circuit().n_qubits(), observables)?;
    let mut uses = vec![Vec::new(); sums.words().len()];
    for observable in 0..sums.len() {
        let (columns, coefficients) = sums.row(observable);
        columns
            .iter()
            .zip(coefficients)
            .for_each(|(&column, &c)| uses[column as usize].push((observable, c)));
    }
    let found = map(sums.words().len(), cancel, |column| {
        let word = sums.words().get(column).to_word();
        let way = Way::new(frame, &word, connectivity)?;
        let layers = frame.layers(&way.relevant);
        let mut echoes = Vec::new();
        for (level, layer) in layers.iter().enumerate() {
            cancel.check()?;
            way.echoes(level + 1, layer, &uses[column], &mut echoes)?;
        }
        Ok(echoes)
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// The circuit as an observable word sees it.
struct Way<'f> {
    frame: &'f Frame,
    word: &'f PauliWord,
    connectivity: Connectivity,
    relevant: Members,
    /// For each operation whether it is run.
    kept: Vec<bool>,
    /// The item that acts by each operation.
    item: Vec<Option<usize>>,
    /// The operation before which the kick comes.
    kick_at: usize,
    kick: Moving,
}

impl<'f> Way<'f> {
    fn new(frame: &'f Frame, word: &'f PauliWord, connectivity: Connectivity) -> Result<Self> {
        let operations = frame.circuit().operations();
        let relevant = frame.relevant(word)?;
        let mut item = vec![None; operations.len()];
        for (i, found) in frame.items().iter().enumerate().filter(|(_, found)| found.acts) {
            item[found.operation] = Some(i);
        }
        let mut cone = QubitSet::new(word.n_qubits());
        cone.insert_support(word.view());
        let mut kept = vec![false; operations.len()];
        for (index, operation) in operations.iter().enumerate().rev() {
            kept[index] = match item[index] {
                Some(item) => relevant.contains(item),
                None => operation.wires().any(|q| cone.contains(q)),
            };
            if kept[index] {
                operation.wires().for_each(|q| cone.insert(q));
            }
        }
        let mut way = Way {
            frame,
            word,
            relevant,
            kept,
            item,
            kick_at: operations.len(),
            kick: Moving::new(word.view()),
            connectivity,
        };
        way.place_kick();
        Ok(way)
    }

    /// The kick comes where it costs the fewest two-qubit gates after the last relevant gate.
    fn place_kick(&mut self) {
        let operations = self.frame.circuit().operations();
        let end = |index: &usize| self.kept[*index] && self.item[*index].is_some();
        let start = (0..operations.len()).rev().find(end).map_or(0, |index| index + 1);
        let links = |operation: &Operation| operation.wires().count() - 1;
        let after: Vec<usize> = (start..operations.len()).rev().filter(|&index| self.kept[index]).collect();
        // Clifford gates before the kick are run and mostly undone; a rotation takes two ladders.
        let mut gates: usize = after.iter().map(|&index| links(&operations[index])).sum();
        let mut moving = self.kick.clone();
        let mut least = gates + self.word.weight();
        for index in after {
            moving.pass(&operations[index], Direction::Heisenberg);
            gates -= links(&operations[index]);
            let cost = gates + moving.word().weight();
            if cost <= least {
                (least, self.kick_at, self.kick) = (cost, index, moving.clone());
            }
        }
    }

    /// The echoes of one level: one, or one for each family that a setting reads.
    fn echoes(
        &self,
        level: usize,
        layer: &[usize],
        uses: &[(usize, f64)],
        echoes: &mut Vec<Echo>,
    ) -> Result<()> {
        let circuit = self.frame.circuit();
        let after = self.frame.after(layer);
        let undone = |index: usize| {
            self.kept[index]
                && self.item[index].is_none_or(|item| after.contains(item) && self.relevant.contains(item))
        };
        // The gates before the first that is undone stay; there the generators are read.
        let first = (0..self.kick_at).find(|&index| self.item[index].is_some() && undone(index));
        let cut = first.unwrap_or(self.kick_at);
        let read: Vec<Moving> = layer.iter().map(|&item| self.at_cut(item, cut)).collect();
        for family in families(&read, self.connectivity) {
            let (mut words, mut entries) = (Words::new(circuit.n_qubits()), Vec::new());
            for &j in &family {
                let Some((parameter, weight)) = self.frame.items()[layer[j]].fed else { continue };
                words.push(read[j].word())?;
                let weight = if read[j].negative { -weight } else { weight } / 2.0;
                for (observable, c) in uses {
                    let row = observable * circuit.n_parameters() + parameter;
                    entries.push((row, read[j].word().to_word(), c * weight));
                }
            }
            let run =
                (0..self.kick_at).filter(|&index| self.kept[index]).map(|index| Step::Run(index as u32));
            let back = (cut..self.kick_at).rev().filter(|&index| undone(index));
            let steps = run.chain([Step::Kick]).chain(back.map(|index| Step::Undo(index as u32))).collect();
            let mut echo = Echo {
                circuit: circuit.clone(),
                word: self.word.clone(),
                level,
                kick: (self.kick.word().support().collect(), self.kick.negative),
                steps,
                setting: diagonalise(&words, self.connectivity, EFFORT)?,
                readings: Readings::new(circuit.n_qubits(), &entries)?,
                extra: Cost::default(),
            };
            if echo.readings.rows().is_empty() {
                continue;
            }
            echo.prune(&words);
            echoes.push(echo);
        }
        Ok(())
    }

    /// The word of a trainable item where it is read.
    fn at_cut(&self, item: usize, cut: usize) -> Moving {
        let mut word = self.frame.word(item);
        let operations = &self.frame.circuit().operations()[..cut];
        for (operation, _) in operations.iter().zip(&self.kept).filter(|(_, kept)| **kept) {
            word.pass(operation, Direction::Schroedinger);
        }
        word
    }
}

impl Echo {
    /// Leaves out what is outside the light cone of the words that are read, and counts the rest.
    fn prune(&mut self, words: &Words) {
        let mut cone = QubitSet::new(words.n_qubits());
        words.iter().for_each(|word| cone.insert_support(word));
        let mut steps = std::mem::take(&mut self.steps);
        steps.reverse();
        steps.retain(|&step| {
            let wires: Vec<usize> = match step {
                Step::Run(index) | Step::Undo(index) => {
                    self.circuit.operations()[index as usize].wires().collect()
                }
                Step::Kick => self.kick.0.iter().map(|(q, _)| *q).collect(),
            };
            let met = wires.iter().any(|&q| cone.contains(q));
            if met {
                wires.iter().for_each(|&q| cone.insert(q));
            }
            met
        });
        steps.reverse();
        self.steps = steps;
        let extra: Vec<Operation> = self
            .steps
            .iter()
            .filter(|step| !matches!(step, Step::Run(_)))
            .map(|&step| self.operation(step, FRAC_PI_2))
            .collect();
        self.extra = Cost::of(self.circuit.n_qubits(), &extra, &self.setting);
    }
}

/// What one setting reads each: everything, for the words commute, or words that commute qubit by qubit.
fn families(words: &[Moving], connectivity: Connectivity) -> Vec<Vec<usize>> {
    let mut families: Vec<Vec<usize>> = Vec::new();
    for (j, word) in words.iter().enumerate() {
        let fits = |family: &&mut Vec<usize>| {
            let fits = |&i: &usize| words[i].word().qubit_wise_commutes(word.word()).unwrap_or(false);
            connectivity != Connectivity::None || family.iter().all(fits)
        };
        match families.iter_mut().find(fits) {
            Some(family) => family.push(j),
            None => families.push(vec![j]),
        }
    }
    families
}
