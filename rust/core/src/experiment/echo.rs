//! The echo gradient: two circuits give the derivatives of observable words by all gates of a layer.
//!
//! `exp(-i phi O / 2)` with phi = -+ pi/2 turns an operator P that is measured after it into `(P + O P O)/2 +- (i/2)
//! [P, O]`: so run the circuit, *kick* it about the observable word O, undo the gates V after the layer and read the
//! generators `P_j` of the layer, which commute, all at once: `g_j = (<P_j>_minus - <P_j>_plus) / 2`, O being a
//! word, for `(i/2) [V P_j V^dag, O]` is the gradient observable. The echoes of a sum of words add up. Words that
//! commute and depend on different gates of the layer are kicked together: each generator feels its own kick only.
//!
//! Left out, exactly: gates that are not relevant for a word (they commute with all that follows, so the derivative
//! is that of the circuit without them), undoing gates that do not depend on the layer, and everything outside the
//! light cone of what is read. Clifford gates after the last relevant gate are pulled through the kick where that saves
//! two-qubit gates.
//!
//! Invariant: experiments are built from the structure alone and are valid at all parameters.
//! Cost: linear in the gates per echo; circuits are built when they are asked for.

use crate::bits::parallel::{Cancel, map};
use crate::circuit::Size;
use crate::circuit::layers::{Members, Moving, RotationLayers};
use crate::circuit::{Angle, Circuit, Operation};
use crate::error::Result;
use crate::experiment::{Experiment, Pair, Readings, Recipe, Source};
use crate::gates::Direction;
use crate::heisenberg::QubitSet;
use crate::pauli::word::anticommute;
use crate::pauli::{Letter, PauliSum, PauliWord, Sums, Words};
use crate::stabiliser::Setting;
use crate::stabiliser::{Connectivity, diagonalise};
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

/// Attempts at a short rotation before the readout.
const EFFORT: usize = 1;

/// The two experiments of some observable words and a layer.
#[derive(Debug, Clone)]
pub struct Echo {
    course: Arc<Course>,
    words: Vec<PauliWord>,
    layer: usize,
    setting: Setting,
    readings: Readings,
    extra: Size,
}

/// What is run one after the other.
#[derive(Debug)]
struct Course {
    circuit: Arc<Circuit>,
    /// The rotations of the kick, and whether each turns the other way.
    kicks: Vec<(Vec<(usize, Letter)>, bool)>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Run(u32),
    Kick(u32),
    Undo(u32),
}

impl Echo {
    /// The observable words, no two of which depend on one gate of the layer.
    pub fn words(&self) -> &[PauliWord] {
        &self.words
    }

    /// The layer of its gates, from 1.
    pub fn layer(&self) -> usize {
        self.layer
    }

    /// The setting of both experiments.
    pub fn setting(&self) -> &Setting {
        &self.setting
    }

    fn read(&self, plus: bool, readings: Readings) -> Result<Experiment> {
        Experiment::of(Source::Made(self.course.clone(), plus), self.setting.clone(), readings)
    }
}

impl Recipe for Course {
    fn circuit(&self, plus: bool) -> Circuit {
        let kick = if plus { FRAC_PI_2 } else { -FRAC_PI_2 };
        let mut built = self.circuit.emptied();
        self.steps.iter().for_each(|step| built.push(self.operation(*step, kick)));
        built
    }

    fn n_qubits(&self) -> usize {
        self.circuit.n_qubits()
    }
}

impl Course {
    fn operation(&self, step: Step, kick: f64) -> Operation {
        let operations = self.circuit.operations();
        match step {
            Step::Run(index) => operations[index as usize].clone(),
            Step::Undo(index) => {
                let inverse = operations[index as usize].inverse();
                inverse.expect("echoes are of unitary gates")
            }
            Step::Kick(index) => {
                let (letters, negative) = &self.kicks[index as usize];
                let angle = Angle::Fixed(if *negative { -kick } else { kick });
                Operation::Rotation { letters: letters.clone(), angle }
            }
        }
    }
}

impl Pair for Echo {
    /// The readings of [`Echo::minus`]; those of [`Echo::plus`] have the other sign.
    fn readings(&self) -> &Readings {
        &self.readings
    }

    /// What comes after the circuit: the kicks, the way back and the rotation of the setting.
    fn extra(&self) -> Size {
        self.extra
    }

    /// The experiment with kicks by `pi/2`.
    fn plus(&self) -> Result<Experiment> {
        self.read(true, self.readings.negated())
    }

    fn circuits(&self) -> usize {
        Arc::as_ptr(&self.course).addr()
    }

    /// The experiment with kicks by `-pi/2`.
    fn minus(&self) -> Result<Experiment> {
        self.read(false, self.readings.clone())
    }
}

/// How many gates the echoes of `observables` have at most, all of them together: each is about as long as the circuit,
/// and there are as many as words have layers, unless some share one.
pub(crate) fn most_steps(
    rotations: &RotationLayers,
    observables: &[PauliSum],
    cancel: &Cancel,
) -> Result<u64> {
    let words = Sums::from_sums(rotations.circuit().n_qubits(), observables)?.words().to_words();
    let layers = map(words.len(), cancel, |column| {
        Ok(rotations.by_layer(&rotations.relevant(&words[column])?).len() as u64)
    })?;
    Ok(layers.iter().sum::<u64>() * rotations.circuit().operations().len() as u64)
}

/// The echoes that measure the gradients of `observables`, layer by layer. The
/// connectivity is that of the rotations before the readout; without two-qubit gates a layer may take several echoes.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::stabiliser::Connectivity;
/// use efl_core::circuit::RotationLayers;
/// use efl_core::experiment::{Pair, echoes};
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::state::ProductState;
/// use efl_core::pauli::{Letter, PauliSum};
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let z = PauliSum::from_labels([("Z", 1.0)])?;
/// let found = echoes(&RotationLayers::new(&circuit, None)?, &[z], Connectivity::All, &Cancel::new())?;
/// let state = ProductState::zero(1);
/// let mean = |e: efl_core::experiment::Experiment| e.moments(&[0.3], &state, &Cancel::new()).unwrap()[0].mean;
/// let gradient = mean(found[0].minus()?) + mean(found[0].plus()?);
/// assert!((gradient + 0.3f64.sin()).abs() < 1e-15); // <Z> = cos(theta)
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn echoes(
    rotations: &RotationLayers,
    observables: &[PauliSum],
    connectivity: Connectivity,
    cancel: &Cancel,
) -> Result<Vec<Echo>> {
    let sums = Sums::from_sums(rotations.circuit().n_qubits(), observables)?;
    let mut uses = vec![Vec::new(); sums.words().len()];
    for observable in 0..sums.len() {
        let (columns, coefficients) = sums.row(observable);
        columns
            .iter()
            .zip(coefficients)
            .for_each(|(&column, &c)| uses[column as usize].push((observable, c)));
    }
    let words = sums.words().to_words();
    let seen = map(words.len(), cancel, |column| {
        let relevant = rotations.relevant(&words[column])?;
        let layers = rotations.by_layer(&relevant);
        Ok((relevant, layers))
    })?;
    let depth = seen.iter().map(|(_, layers)| layers.len()).max().unwrap_or_default();
    let found = map(depth, cancel, |number| {
        let (mut columns, mut layers) = (Vec::new(), Vec::new());
        for (column, (_, all)) in seen.iter().enumerate().filter(|(_, seen)| seen.1.len() > number) {
            columns.push(column);
            layers.push(Members::of(rotations.items().len(), &all[number]));
        }
        let clash = |a: usize, b: usize| {
            let [a_word, b_word] = [&words[columns[a]], &words[columns[b]]];
            layers[a].meets(&layers[b]) || anticommute(a_word.view(), b_word.view())
        };
        let mut echoes = Vec::new();
        for class in colour(columns.len(), clash) {
            cancel.check()?;
            let mut relevant = Members::new(rotations.items().len());
            class.iter().for_each(|&i| relevant.insert_all(&seen[columns[i]].0));
            let owners = class.iter().map(|&i| columns[i]);
            let mut layer: Vec<(usize, usize)> = owners
                .clone()
                .flat_map(|column| seen[column].1[number].iter().map(move |&item| (item, column)))
                .collect();
            layer.sort_unstable();
            let kicked = owners.map(|column| words[column].clone()).collect();
            Kicked::new(rotations, kicked, connectivity, relevant).echoes(
                number + 1,
                &layer,
                &uses,
                &mut echoes,
                cancel,
            )?;
        }
        Ok(echoes)
    })?;
    Ok(found.into_iter().flatten().collect())
}

/// Parts of `0..count` without clashes, few of them: the next to get a part is always one that clashes with most
/// parts, of these one that clashes with most others.
fn colour(count: usize, clash: impl Fn(usize, usize) -> bool) -> Vec<Vec<usize>> {
    let mut clashes = vec![Members::new(count); count];
    for a in 0..count {
        for b in (0..a).filter(|&b| clash(a, b)) {
            clashes[a].insert(b);
            clashes[b].insert(a);
        }
    }
    let degrees: Vec<usize> = clashes.iter().map(Members::len).collect();
    let (mut taken, mut choices) = (vec![Members::new(count); count], vec![0usize; count]);
    let mut parts: Vec<Vec<usize>> = Vec::new();
    let mut left: Vec<usize> = (0..count).rev().collect();
    while let Some(at) = (0..left.len()).max_by_key(|&i| (choices[left[i]], degrees[left[i]], i)) {
        let next = left.remove(at);
        let part = (0..parts.len()).find(|&part| !taken[next].contains(part)).unwrap_or(parts.len());
        parts.resize_with(parts.len().max(part + 1), Vec::new);
        parts[part].push(next);
        for &other in left.iter().filter(|&&other| clashes[next].contains(other)) {
            choices[other] += usize::from(!taken[other].contains(part));
            taken[other].insert(part);
        }
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    parts
}

/// The circuit as some observable words see it.
struct Kicked<'f> {
    rotations: &'f RotationLayers,
    words: Vec<PauliWord>,
    connectivity: Connectivity,
    relevant: Members,
    /// For each operation whether it is run.
    kept: Vec<bool>,
    /// The item that acts by each operation.
    item: Vec<Option<usize>>,
    /// The operation before which the kicks come.
    kick_at: usize,
    kicks: Vec<Moving>,
}

impl<'f> Kicked<'f> {
    fn new(
        rotations: &'f RotationLayers,
        words: Vec<PauliWord>,
        connectivity: Connectivity,
        relevant: Members,
    ) -> Self {
        let operations = rotations.circuit().operations();
        let mut item = vec![None; operations.len()];
        for (i, found) in rotations.items().iter().enumerate().filter(|(_, found)| found.acts) {
            item[found.operation] = Some(i);
        }
        let mut cone = QubitSet::new(rotations.circuit().n_qubits());
        words.iter().for_each(|word| cone.insert_support(word.view()));
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
        let kicks = words.iter().map(|word| Moving::new(word.view())).collect();
        let mut made =
            Kicked { rotations, words, relevant, kept, item, kick_at: operations.len(), kicks, connectivity };
        made.place_kicks();
        made
    }

    /// The kicks come where they cost the fewest two-qubit gates after the last relevant gate.
    fn place_kicks(&mut self) {
        let operations = self.rotations.circuit().operations();
        let end = |index: &usize| self.kept[*index] && self.item[*index].is_some();
        let start = (0..operations.len()).rev().find(end).map_or(0, |index| index + 1);
        let links = |operation: &Operation| operation.wires().count() - 1;
        let after: Vec<usize> = (start..operations.len()).rev().filter(|&index| self.kept[index]).collect();
        // Clifford gates before the kicks are run and mostly undone; a rotation takes two ladders.
        let mut gates: usize = after.iter().map(|&index| links(&operations[index])).sum();
        let weight = |kicks: &[Moving]| kicks.iter().map(|kick| kick.word().weight()).sum::<usize>();
        let mut moving = self.kicks.clone();
        let mut least = gates + weight(&moving);
        for index in after {
            moving.iter_mut().for_each(|kick| kick.pass(&operations[index], Direction::Heisenberg));
            gates -= links(&operations[index]);
            let cost = gates + weight(&moving);
            if cost <= least {
                (least, self.kick_at) = (cost, index);
                self.kicks.clone_from(&moving);
            }
        }
    }

    /// The echoes of one layer, given by its items and the observable word that each is relevant for: one echo, or one
    /// for each family that a setting reads. `uses` has for each observable word its observables and coefficients.
    fn echoes(
        &self,
        number: usize,
        layer: &[(usize, usize)],
        uses: &[Vec<(usize, f64)>],
        echoes: &mut Vec<Echo>,
        cancel: &Cancel,
    ) -> Result<()> {
        let circuit = self.rotations.circuit();
        let items: Vec<usize> = layer.iter().map(|(item, _)| *item).collect();
        let after = self.rotations.after(&items);
        let undone = |index: usize| {
            self.kept[index]
                && self.item[index].is_none_or(|item| after.contains(item) && self.relevant.contains(item))
        };
        // The gates before the first that is undone stay; there the generators are read.
        let first = (0..self.kick_at).find(|&index| self.item[index].is_some() && undone(index));
        let cut = first.unwrap_or(self.kick_at);
        let read: Vec<Moving> = items.iter().map(|&item| self.at_cut(item, cut)).collect();
        for family in families(&read, self.connectivity) {
            let (mut words, mut entries) = (Words::new(circuit.n_qubits()), Vec::new());
            for &j in &family {
                let Some((parameter, weight)) = self.rotations.items()[items[j]].fed else { continue };
                words.push(read[j].word())?;
                let weight = if read[j].negative { -weight } else { weight } / 2.0;
                for (observable, c) in &uses[layer[j].1] {
                    let row = observable * circuit.n_parameters() + parameter;
                    entries.push((row, read[j].word().to_word(), c * weight));
                }
            }
            let run =
                (0..self.kick_at).filter(|&index| self.kept[index]).map(|index| Step::Run(index as u32));
            let back = (cut..self.kick_at).rev().filter(|&index| undone(index));
            let kicks = (0..self.kicks.len()).map(|index| Step::Kick(index as u32));
            let steps = run.chain(kicks).chain(back.map(|index| Step::Undo(index as u32))).collect();
            let readings = Readings::new(circuit.n_qubits(), &entries)?;
            if readings.rows().is_empty() {
                continue;
            }
            let kicks = self.kicks.iter().map(|k| (k.word().support().collect(), k.negative)).collect();
            let mut course = Course { circuit: circuit.clone(), kicks, steps };
            course.prune(&words);
            let setting = diagonalise(&words, self.connectivity, EFFORT, cancel)?;
            let extra = course.extra(&setting);
            let (words, layer) = (self.words.clone(), number);
            echoes.push(Echo { course: Arc::new(course), words, layer, setting, readings, extra });
        }
        Ok(())
    }

    /// The word of a trainable item where it is read.
    fn at_cut(&self, item: usize, cut: usize) -> Moving {
        let mut word = self.rotations.word(item);
        let operations = &self.rotations.circuit().operations()[..cut];
        for (operation, _) in operations.iter().zip(&self.kept).filter(|(_, kept)| **kept) {
            word.pass(operation, Direction::Schroedinger);
        }
        word
    }
}

impl Course {
    /// Leaves out what is outside the light cone of the words that are read.
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
                Step::Kick(index) => self.kicks[index as usize].0.iter().map(|(q, _)| *q).collect(),
            };
            let met = wires.iter().any(|&q| cone.contains(q));
            if met {
                wires.iter().for_each(|&q| cone.insert(q));
            }
            met
        });
        steps.reverse();
        steps.shrink_to_fit();
        self.steps = steps;
    }

    /// What comes after the circuit itself, up to the readout.
    fn extra(&self, setting: &Setting) -> Size {
        let after = self.steps.iter().filter(|step| !matches!(step, Step::Run(_)));
        let extra: Vec<Operation> = after.map(|&step| self.operation(step, FRAC_PI_2)).collect();
        Size::of(self.circuit.n_qubits(), &extra, &setting.gates())
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
