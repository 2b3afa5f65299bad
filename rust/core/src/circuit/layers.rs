//! The layers of a circuit: which gates stand in each other's way, and in how few layers the trainable ones fit.
//!
//! Pushing every Clifford gate to the end leaves a sequence of rotations (about words that the Cliffords before them
//! have moved) and of *barriers*, the other unitaries. Two of these depend on each other when they do not commute.
//! The *layer* of a trainable rotation is one more than the largest layer of a trainable rotation that it depends
//! on, directly or through others; gates of one layer commute and can be brought together.
//!
//! A gate is *idle* when nothing but idle gates stands between it and an input that it does not change, such as RZ on
//! qubits in |0>: it is as good as absent.
//!
//! Invariant: layers are the longest chains, so no fewer will do. A gate is *relevant* for an observable word
//! iff it is not idle and a chain leads from it to the word; the others commute with all that follows, and their
//! derivative vanishes.
//! Cost: quadratic in the number of gates, about a nanosecond per pair of gates and 64 qubits.

use crate::pauli::word::anticommute;

use crate::circuit::{Angle, Circuit, Operation};
use crate::error::{Error, Result};
use crate::gates::Direction;
use crate::gates::conjugate;
use crate::pauli::word::check_width;
use crate::pauli::{Letter, PauliWord, WordRef, Words};
use crate::state::ProductState;
use std::ops::Range;
use std::sync::Arc;

/// A set of items.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Members(Vec<u64>);

impl Members {
    pub(crate) fn new(count: usize) -> Self {
        Members(vec![0; count.div_ceil(64)])
    }

    pub(crate) fn insert(&mut self, item: usize) {
        self.0[item / 64] |= 1 << (item % 64);
    }

    pub(crate) fn of(count: usize, items: &[usize]) -> Self {
        let mut members = Members::new(count);
        items.iter().for_each(|&item| members.insert(item));
        members
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|bits| bits.count_ones() as usize).sum()
    }

    pub(crate) fn contains(&self, item: usize) -> bool {
        self.0[item / 64] >> (item % 64) & 1 == 1
    }

    pub(crate) fn insert_all(&mut self, other: &Members) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn meets(&self, other: &Members) -> bool {
        self.0.iter().zip(&other.0).any(|(a, b)| a & b != 0)
    }
}

/// A word with a sign on its way through Clifford gates.
#[derive(Debug, Clone)]
pub(crate) struct Moving {
    n_qubits: usize,
    x: Vec<u64>,
    z: Vec<u64>,
    pub(crate) negative: bool,
}

impl Moving {
    pub(crate) fn new(word: WordRef<'_>) -> Self {
        Moving { n_qubits: word.n_qubits(), x: word.x().to_vec(), z: word.z().to_vec(), negative: false }
    }

    /// Moves through an operation if it is a Clifford gate.
    pub(crate) fn pass(&mut self, operation: &Operation, direction: Direction) {
        if let Operation::Permutation { wires, table, .. } = operation {
            self.negative ^= conjugate(&mut self.x, &mut self.z, wires, table.table(direction));
        }
    }

    /// The word at the start of the circuit, moved there through the Clifford gates of `operations` before it.
    pub(crate) fn into_start(mut self, operations: &[Operation]) -> Self {
        operations.iter().rev().for_each(|operation| self.pass(operation, Direction::Heisenberg));
        self
    }

    pub(crate) fn word(&self) -> WordRef<'_> {
        WordRef::from_rows_unchecked(self.n_qubits, &self.x, &self.z)
    }
}

/// A rotation or a barrier: what is left when the Clifford gates have been pushed to the end.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) operation: usize,
    /// What does not commute with one of these words does not commute with the item.
    words: Range<usize>,
    /// The parameter that feeds it, and the derivative by it of the angle of a rotation about the (one) word.
    pub(crate) fed: Option<(usize, f64)>,
    /// False for the place before an evolution where a word of its generator is read: nothing happens there.
    pub(crate) acts: bool,
}

/// The rotations and barriers of a circuit without its Clifford gates, and the layers of the trainable ones.
///
/// ```
/// use efl_core::circuit::RotationLayers;
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::gates::Clifford;
/// use efl_core::pauli::{Letter, PauliWord};
/// let mut circuit = Circuit::new(2, 2)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// circuit.clifford(Clifford::Cnot, &[0, 1])?;
/// circuit.rotation([(1, Letter::X)], Angle::parameter(1))?; // commutes with what the first gate has become
/// let rotations = RotationLayers::new(&circuit, None)?;
/// assert_eq!(rotations.layers(&PauliWord::from_label("IZ")?)?, vec![vec![0, 2]]); // gates, both at once
/// assert_eq!(rotations.layers(&PauliWord::from_label("ZZ")?)?, vec![vec![2]]); // the first gate does not matter
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct RotationLayers {
    circuit: Arc<Circuit>,
    items: Vec<Item>,
    /// The words of all items, moved to the start of the circuit.
    words: Words,
    /// Whether each word has a minus sign.
    negative: Vec<bool>,
    /// For each item those after it that depend on it directly.
    next: Vec<Members>,
    /// For each item the largest layer up to and including it.
    layer: Vec<usize>,
    idle: Members,
}

impl RotationLayers {
    /// The layers of a circuit of unitary gates that acts on `input`; without one, on any state. Pauli channels, which move
    /// no word, stand in nobody's way.
    pub fn new(circuit: &Circuit, input: Option<&ProductState>) -> Result<Self> {
        let (n, operations) = (circuit.n_qubits(), circuit.operations());
        input.map_or(Ok(()), |input| check_width("input", n, input.n_qubits()))?;
        let mut found = RotationLayers {
            circuit: Arc::new(circuit.clone()),
            items: Vec::new(),
            words: Words::new(n),
            negative: Vec::new(),
            next: Vec::new(),
            layer: Vec::new(),
            idle: Members::new(0),
        };
        for (index, operation) in operations.iter().enumerate() {
            if operation.is_transparent() {
                continue;
            }
            if !operation.is_unitary() {
                return Err(Error::invalid(
                    "circuit",
                    "unitary gates and Pauli channels (another channel cannot be undone: use parameter shifts)",
                    format!("a channel at gate {}", circuit.gate_of(index)),
                ));
            }
            let fed = operation.angle().and_then(Angle::feed).filter(|fed| fed.1 != 0.0);
            match (operation, fed) {
                (Operation::Permutation { .. }, _) => {}
                (Operation::Rotation { .. }, fed) => {
                    found.push(index, &operation.obstacles(n)?, fed, true)?;
                }
                (_, fed) => {
                    if let Some((parameter, scale)) = fed {
                        for (word, weight) in operation.generator(n)? {
                            found.push(index, &[word], Some((parameter, scale * weight)), false)?;
                        }
                    }
                    found.push(index, &operation.obstacles(n)?, None, true)?;
                }
            }
        }
        found.connect(input);
        Ok(found)
    }

    fn push(
        &mut self,
        operation: usize,
        words: &[PauliWord],
        fed: Option<(usize, f64)>,
        acts: bool,
    ) -> Result<()> {
        let start = self.words.len();
        for word in words {
            let moved = Moving::new(word.view()).into_start(&self.circuit.operations()[..operation]);
            self.words.push(moved.word())?;
            self.negative.push(moved.negative);
        }
        self.items.push(Item { operation, words: start..self.words.len(), fed, acts });
        Ok(())
    }

    fn connect(&mut self, input: Option<&ProductState>) {
        let count = self.items.len();
        self.next = vec![Members::new(count); count];
        self.layer = vec![0; count];
        self.idle = Members::new(count);
        for b in 0..count {
            let (mut layer, mut idle) = (0, input.is_some_and(|input| self.keeps(b, input)));
            for a in 0..b {
                if self.words_of(a).any(|word| !self.commutes(b, word)) {
                    self.next[a].insert(b);
                    layer = layer.max(self.layer[a]);
                    idle &= self.idle.contains(a);
                }
            }
            if idle {
                self.idle.insert(b);
            } else {
                self.layer[b] = layer + usize::from(self.items[b].fed.is_some());
            }
        }
    }

    /// Whether an item at the very start changes an input by a phase alone.
    fn keeps(&self, item: usize, input: &ProductState) -> bool {
        self.words_of(item).all(|word| {
            word.support().all(|(q, letter)| match (letter, input.bloch()[q]) {
                (Letter::X, [r, _, _]) | (Letter::Y, [_, r, _]) | (Letter::Z, [_, _, r]) => r.abs() == 1.0,
                (Letter::I, _) => true,
            })
        })
    }

    fn words_of(&self, item: usize) -> impl Iterator<Item = WordRef<'_>> {
        self.items[item].words.clone().map(|i| self.words.get(i))
    }

    fn commutes(&self, item: usize, word: WordRef<'_>) -> bool {
        self.words_of(item).all(|other| !anticommute(other, word))
    }

    pub(crate) fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The word of a trainable item at the start of the circuit, signed.
    pub(crate) fn word(&self, item: usize) -> Moving {
        let at = self.items[item].words.start;
        Moving { negative: self.negative[at], ..Moving::new(self.words.get(at)) }
    }

    /// For each operation whether it is idle.
    pub(crate) fn idle(&self) -> Vec<bool> {
        let mut idle = vec![false; self.circuit.operations().len()];
        for (i, item) in self.items.iter().enumerate().filter(|(_, item)| item.acts) {
            idle[item.operation] = self.idle.contains(i);
        }
        idle
    }

    /// The items, other than the idle ones, from which a chain leads to an observable word at the end of the circuit.
    pub(crate) fn relevant(&self, observable: &PauliWord) -> Result<Members> {
        check_width("observable", self.circuit.n_qubits(), observable.n_qubits())?;
        let end = Moving::new(observable.view()).into_start(self.circuit.operations());
        let mut relevant = Members::new(self.items.len());
        for item in (0..self.items.len()).rev() {
            let met = self.next[item].meets(&relevant) || !self.commutes(item, end.word());
            if met && !self.idle.contains(item) {
                relevant.insert(item);
            }
        }
        Ok(relevant)
    }

    /// The items to which a chain leads from one of `items`, which are not among them.
    pub(crate) fn after(&self, items: &[usize]) -> Members {
        let mut after = Members::new(self.items.len());
        for item in items.first().copied().unwrap_or_default()..self.items.len() {
            if after.contains(item) || items.binary_search(&item).is_ok() {
                after.insert_all(&self.next[item]);
            }
        }
        after
    }

    /// The trainable items among `relevant`, layer by layer; within a layer they ascend and commute.
    pub(crate) fn by_layer(&self, relevant: &Members) -> Vec<Vec<usize>> {
        let mut layers: Vec<Vec<usize>> = Vec::new();
        for (item, &layer) in self.layer.iter().enumerate() {
            if self.items[item].fed.is_some() && relevant.contains(item) {
                layers.resize_with(layers.len().max(layer), Vec::new);
                layers[layer - 1].push(item);
            }
        }
        layers
    }

    /// The gates whose parameters can move `<observable>`, layer by layer. A gate made of several rotations may occur
    /// more than once.
    pub fn layers(&self, observable: &PauliWord) -> Result<Vec<Vec<usize>>> {
        let layers = self.by_layer(&self.relevant(observable)?);
        let gate = |&item: &usize| self.circuit.gate_of(self.items[item].operation);
        Ok(layers.iter().map(|layer| layer.iter().map(gate).collect()).collect())
    }
}
