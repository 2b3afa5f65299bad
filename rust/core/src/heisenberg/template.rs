//! The part of the gradient observables that depends on the circuit and not on its angles.
//!
//! Which words appear, where each comes from and with which sign is the same at all angles; a training loop needs it
//! once. [`GradientTemplate::at`] replays the recorded rotations on plain arrays: no words, no hashing, no sorting.
//! Invariant: [`GradientTemplate::at`] gives the untruncated gradient observables; entries whose coefficients happen
//! to vanish at some angles stay. Circuits with channels are computed anew at all angles, over the same words.
//! Cost: 8 bytes per rotated pair and 8 per product with a word of an observable (`products.rs`);
//! a replay takes a tenth to a thirtieth of the direct way (60 parameters on 10 qubits, `benches/rust/propagate.rs`:
//! 525 ms to 16 ms for a ring of CNOTs, 1.3 ms to 0.17 ms for a ring of CZs).

use super::cone::sin_cos;
use super::forward::{Push, Use, Uses, Way};
use super::gradient::{by_observable, column};
use super::observables::GradientObservables;
use super::products::Products;
use super::propagation::{Job, dispatch};
use super::record::Record;
use super::returned::Mitigation;
use super::terms::Terms;
use super::truncation::{Dropped, Truncation};
use crate::bits::memory::Held;
use crate::bits::parallel::{Cancel, map};
use crate::bits::room;
use crate::circuit::{Bound, Circuit};
use crate::error::{Error, Result};
use crate::gates::{Direction, LocalEntry};
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, WordRef, Words};

/// What the memory of a template is called.
pub(super) const WHAT: &str = "the template of a gradient (max_terms bounds it)";
/// Steps between two looks at the flag that asks to stop.
const CHUNK: usize = 1 << 16;

/// The gradient observables of a circuit at angles yet to be given.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::heisenberg::GradientTemplate;
/// use efl_core::pauli::{Letter, PauliSum};
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let z = PauliSum::from_labels([("Z", 1.0)])?;
/// let structure = GradientTemplate::new(&circuit, &[z], None, &Cancel::new())?;
/// let rows = structure.at(&[0.3], &Cancel::new())?;
/// assert_eq!(rows.sums().sum(rows.gradient_row(0, 0))?.to_string(), "1*Y");
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GradientTemplate {
    circuit: Circuit,
    /// The rows with every word that may appear; the coefficients of the values are right, the others are ones.
    rows: GradientObservables,
    columns: Columns,
}

/// How the rows follow from the angles.
#[derive(Debug, Clone)]
enum Columns {
    /// For each parameter what its gates contribute; `None` when it has too many words.
    Replayed(Vec<Option<Vec<Contribution>>>),
    /// They are computed again, for there are channels; and which parameters have a row.
    Direct(Box<Direct>, Vec<bool>),
}

/// What one use of a parameter adds to the rows of its parameter.
#[derive(Debug, Clone)]
struct Contribution {
    initial: Vec<f64>,
    trace: Trace,
    /// For each active observable its products.
    products: Vec<(usize, Products)>,
}

impl GradientTemplate {
    /// Finds the words of all gradients; more than `max_terms` in one of them is an error.
    pub fn new(
        circuit: &Circuit,
        observables: &[PauliSum],
        max_terms: Option<usize>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let truncation = Truncation { max_terms, ..Truncation::EXACT };
        GradientTemplate::build(circuit, observables, &truncation, false, cancel)
    }

    /// The same, but parameters whose derivatives have more than `max_terms` words, or are no observables of the final
    /// state because a channel follows that cannot be undone, are left out: their rows are empty, and [`GradientTemplate::is_known`] says so.
    pub fn within(
        circuit: &Circuit,
        observables: &[PauliSum],
        max_terms: usize,
        cancel: &Cancel,
    ) -> Result<Self> {
        let truncation = Truncation { max_terms: Some(max_terms), ..Truncation::EXACT };
        GradientTemplate::build(circuit, observables, &truncation, true, cancel)
    }

    /// [`GradientTemplate::within`] for derivatives without what the device does by itself, read on the state that it leaves.
    pub fn mitigated(
        circuit: &Circuit,
        observables: &[PauliSum],
        max_terms: usize,
        cancel: &Cancel,
    ) -> Result<Self> {
        let truncation = Truncation { max_terms: Some(max_terms), ..Truncation::EXACT };
        let mitigation = Mitigation::new(circuit, observables)?;
        let direct = Direct::new(circuit, observables, truncation, Some(mitigation));
        GradientTemplate::direct(circuit, direct, true, cancel)
    }

    /// Whether the words of the derivatives by `parameter` were found.
    pub fn is_known(&self, parameter: usize) -> bool {
        match &self.columns {
            Columns::Replayed(columns) => columns[parameter].is_some(),
            Columns::Direct(_, known) => known[parameter],
        }
    }

    /// The words that are there at usual angles.
    fn direct(circuit: &Circuit, direct: Direct, partial: bool, cancel: &Cancel) -> Result<Self> {
        let n_observables = direct.observables.len();
        let found = direct.at(circuit, &probe(circuit), partial, &[], cancel)?;
        let known = found.columns.iter().map(Option::is_some).collect();
        let none = || vec![(PauliSum::zero(circuit.n_qubits()), Dropped::default()); n_observables];
        let columns = found.columns.into_iter().map(|column| column.unwrap_or_else(none)).collect();
        let mut rows: Vec<_> = found.values.into_iter().map(|sum| (sum, Dropped::default())).collect();
        rows.extend(by_observable(columns, n_observables));
        let rows = GradientObservables::assemble(
            circuit.n_qubits(),
            n_observables,
            circuit.n_parameters(),
            &rows,
            cancel,
        )?;
        let columns = Columns::Direct(Box::new(direct), known);
        Ok(GradientTemplate { circuit: circuit.clone(), rows, columns })
    }

    fn build(
        circuit: &Circuit,
        observables: &[PauliSum],
        limit: &Truncation,
        partial: bool,
        cancel: &Cancel,
    ) -> Result<Self> {
        let (n, n_parameters) = (circuit.n_qubits(), circuit.n_parameters());
        observables.iter().try_for_each(|o| check_width("observables", n, o.n_qubits()))?;
        if circuit.operations().iter().any(|operation| !operation.is_unitary()) {
            let direct = Direct::new(circuit, observables, *limit, None);
            return GradientTemplate::direct(circuit, direct, partial, cancel);
        }
        let probe = probe(circuit);
        let bound = circuit.bind(&probe)?;
        let uses = Uses::new(circuit, observables);
        let none = || vec![(PauliSum::zero(n), Dropped::default()); observables.len()];
        let columns = map(n_parameters, cancel, |parameter| {
            let mut words = vec![Words::new(n); observables.len()];
            let (mut contributions, mut held) = (Vec::new(), Vec::new());
            for &of in &uses.of_parameter[parameter] {
                let active = uses.active(of);
                if active.is_empty() {
                    continue;
                }
                match trace(&bound, of, observables, &active, limit, cancel, &mut words) {
                    Err(Error::Limit { .. } | Error::Invalid { .. }) if partial => {
                        return Ok(((None, none()), Vec::new()));
                    }
                    found => {
                        let (contribution, memory) = found?;
                        contributions.push(contribution);
                        held.push(memory);
                    }
                }
            }
            // Products knew their words by their position in the list so far; now by that in the sorted row.
            let (mut sorted, mut places) = (Vec::new(), Vec::new());
            for list in &words {
                let (row, place) = list.sort_dedup_watched(cancel)?;
                let mut ones = room("the words of a gradient", row.len(), 1)?;
                ones.resize(row.len(), 1.0);
                sorted.push((PauliSum::from_sorted(row, ones)?, Dropped::default()));
                places.push(place);
            }
            for (o, products) in contributions.iter_mut().flat_map(|c| &mut c.products) {
                products.move_to(&places[*o]);
            }
            let widest = sorted.iter().map(|(sum, _)| sum.len()).max().unwrap_or_default();
            if partial && limit.max_terms.is_some_and(|most| widest > most) {
                return Ok(((None, none()), Vec::new()));
            }
            Ok(((Some(contributions), sorted), held))
        })?;
        // What is made stays held until all of it is there.
        let (columns, _held): (Vec<_>, Vec<Vec<Held>>) = columns.into_iter().unzip();
        let (columns, sorted): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mut rows: Vec<_> = observables.iter().map(|o| (o.clone(), Dropped::default())).collect();
        rows.extend(by_observable(sorted, observables.len()));
        let rows = GradientObservables::assemble(n, observables.len(), n_parameters, &rows, cancel)?;
        let columns = Columns::Replayed(columns);
        Ok(GradientTemplate { circuit: circuit.clone(), rows, columns })
    }

    /// The gradient observables at these angles.
    pub fn at(&self, theta: &[f64], cancel: &Cancel) -> Result<GradientObservables> {
        let columns = match &self.columns {
            Columns::Replayed(columns) => columns,
            Columns::Direct(direct, known) => {
                let found = direct.at(&self.circuit, theta, false, known, cancel)?;
                return self.rows.aligned(found.rows(&self.circuit)?);
            }
        };
        let bound = self.circuit.bind(theta)?;
        let (sums, n_observables) = (self.rows.sums(), self.rows.n_observables());
        let columns = map(columns.len(), cancel, |parameter| {
            let contributions = columns[parameter].iter().flatten();
            let length = |o: usize| sums.row(self.rows.gradient_row(o, parameter)).0.len();
            let mut rows: Vec<Vec<f64>> = Vec::with_capacity(n_observables);
            for o in 0..n_observables {
                let mut row = room("the rows of a gradient", length(o), 1)?;
                row.resize(length(o), 0.0);
                rows.push(row);
            }
            for contribution in contributions {
                cancel.check()?;
                let pushed = contribution.trace.replay(&contribution.initial, &bound, cancel)?;
                for (o, products) in &contribution.products {
                    products.add(&pushed, &mut rows[*o], cancel)?;
                }
            }
            Ok(rows)
        })?;
        let mut coefficients = room("the rows of a gradient", sums.entries(), 1)?;
        coefficients.extend((0..n_observables).flat_map(|o| sums.row(o).1).copied());
        by_observable(columns, n_observables).for_each(|row| coefficients.extend(row));
        Ok(self.rows.with_coefficients(coefficients))
    }

    /// Every word that may appear.
    pub fn words(&self) -> &Words {
        self.rows.sums().words()
    }

    /// The words that may appear in a derivative.
    pub(crate) fn derivative_words(
        &self,
        observable: usize,
        parameter: usize,
    ) -> impl Iterator<Item = WordRef<'_>> {
        self.rows.sums().terms(self.rows.gradient_row(observable, parameter)).map(|(word, _)| word)
    }

    /// Number of entries of all rows.
    pub fn n_entries(&self) -> usize {
        self.rows.sums().entries()
    }
}

/// Angles that are not special: any will do for rotations, but at some an entry of an evolution would be missed.
fn probe(circuit: &Circuit) -> Vec<f64> {
    let spread = |k: usize| 0.7 + 0.4 * (0.618_034 * k as f64).fract();
    (0..circuit.n_values()).map(spread).collect()
}

/// Rows that are computed anew at all angles.
#[derive(Debug, Clone)]
struct Direct {
    observables: Vec<PauliSum>,
    uses: Uses,
    truncation: Truncation,
    /// Where derivatives are those without noise.
    mitigation: Option<Mitigation>,
}

/// The rows at some angles, a column for each parameter that has few words.
struct DirectRows {
    values: Vec<PauliSum>,
    columns: Vec<Option<Vec<(PauliSum, Dropped)>>>,
}

impl DirectRows {
    /// All rows in their order, those without words empty.
    fn rows(self, circuit: &Circuit) -> Result<Vec<PauliSum>> {
        let n_observables = self.values.len();
        let empty = || vec![PauliSum::zero(circuit.n_qubits()); n_observables];
        let sums = |column: Vec<(PauliSum, Dropped)>| column.into_iter().map(|(sum, _)| sum).collect();
        let columns = self.columns.into_iter().map(|column| column.map_or_else(empty, sums)).collect();
        let mut rows = self.values;
        rows.extend(by_observable(columns, n_observables));
        Ok(rows)
    }
}

impl Direct {
    fn new(
        circuit: &Circuit,
        observables: &[PauliSum],
        truncation: Truncation,
        mitigation: Option<Mitigation>,
    ) -> Self {
        let uses = Uses::new(circuit, observables);
        Direct { observables: observables.to_vec(), uses, truncation, mitigation }
    }

    /// The rows at some angles; with `partial`, columns that have too many words are left out, and so are those that are
    /// not `known`.
    fn at(
        &self,
        circuit: &Circuit,
        theta: &[f64],
        partial: bool,
        known: &[bool],
        cancel: &Cancel,
    ) -> Result<DirectRows> {
        let noisy = circuit.bind(theta)?;
        let ideal = match &self.mitigation {
            Some(mitigation) => Some((mitigation, mitigation.ideal.bind(theta)?)),
            None => None,
        };
        let columns = map(circuit.n_parameters(), cancel, |parameter| {
            if !known.is_empty() && !known[parameter] {
                return Ok(None);
            }
            let found = match &ideal {
                None => column(&noisy, &self.uses, parameter, &self.observables, &self.truncation, cancel)
                    .map(|(found, _)| found),
                Some((mitigation, ideal)) => {
                    mitigation.column(ideal, &noisy, parameter, &self.observables, &self.truncation, cancel)
                }
            };
            let most = self.truncation.max_terms.filter(|_| partial);
            match found {
                Err(Error::Limit { .. } | Error::Invalid { .. }) if partial => Ok(None),
                Ok(found) if most.is_some_and(|most| found.iter().any(|(sum, _)| sum.len() > most)) => {
                    Ok(None)
                }
                found => found.map(Some),
            }
        })?;
        let values = match &ideal {
            None => self.observables.clone(),
            Some((mitigation, ideal)) => {
                let own = |o: &PauliSum| mitigation.moved(ideal, &noisy, o, &self.truncation, cancel);
                self.observables.iter().map(own).collect::<Result<_>>()?
            }
        };
        Ok(DirectRows { values, columns })
    }
}

/// Records how one use of a parameter reaches the words of its derivatives, which are appended to `words`.
fn trace(
    bound: &Bound<'_>,
    of: Use,
    observables: &[PauliSum],
    active: &[usize],
    limit: &Truncation,
    cancel: &Cancel,
    words: &mut [Words],
) -> Result<(Contribution, Held)> {
    let Way::Push(push) = Way::new(bound, of, observables, active)? else {
        return Err(Error::invalid("circuit", "unitary gates, where rows are replayed", "a channel"));
    };
    dispatch(&push.program, Tracing { push: &push, observables, active, limit, cancel, words })
}

struct Tracing<'a> {
    push: &'a Push<'a>,
    observables: &'a [PauliSum],
    active: &'a [usize],
    limit: &'a Truncation,
    cancel: &'a Cancel,
    words: &'a mut [Words],
}

impl Job for Tracing<'_> {
    type Output = (Contribution, Held);

    fn run<const W: usize>(self) -> Result<Self::Output> {
        let push = self.push;
        let mut tracer = Tracer::default();
        let pushed = push.program.run::<W, _>(&push.generator, self.limit, &mut tracer, self.cancel)?;
        let Tracer { mut trace, mut held } = tracer;
        trace.shrink();
        let mut all = Vec::with_capacity(self.active.len());
        for &o in self.active {
            let start = self.words[o].len();
            let words = push.touched::<W>(&self.observables[o]);
            let mut products = Products::of(words.iter().map(|(_, weight)| *weight).collect());
            let mut commutator = Terms::<W>::new(self.limit, self.cancel);
            push.commute(pushed.slots().enumerate(), &words, self.cancel, |slot, place, word, weight| {
                let entry = start + commutator.accumulate(word, 0.0)?;
                products.push(slot, place, entry, weight, &mut held)?;
                commutator.check_terms(commutator.coefficients().len())
            })?;
            self.words[o].extend(&push.program.collect_slots(&commutator)?)?;
            products.shrink();
            all.push((o, products));
        }
        let initial = push.generator.coefficients().to_vec();
        Ok((Contribution { initial, trace, products: all }, held))
    }
}

/// A propagation without truncation, as index arithmetic that any angles can be put into.
#[derive(Debug, Clone, Default)]
struct Trace {
    events: Vec<Event>,
    /// Number of slots so far.
    slots: usize,
    pairs: Vec<(u32, u32)>,
    flipped: Vec<u32>,
    entries: Vec<Entry>,
}

/// The numbers are where the entries of the event end; `slots` is how many slots there are after it.
#[derive(Debug, Clone, Copy)]
enum Event {
    Rotation { operation: usize, pairs: usize, slots: usize },
    Signs { flipped: usize },
    Map { operation: usize, entries: usize, slots: usize },
}

impl Event {
    fn slots(&self) -> usize {
        match *self {
            Event::Rotation { slots, .. } | Event::Map { slots, .. } => slots,
            Event::Signs { .. } => 0,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    from: u32,
    to: u32,
    row: u16,
    column: u16,
}

/// Marks the negative sign of a pair in its second slot.
const NEGATIVE: u32 = 1 << 31;

/// A [`Trace`] in the making.
#[derive(Default)]
struct Tracer {
    trace: Trace,
    held: Held,
}

impl Record for Tracer {
    const ON: bool = true;

    fn rotation(&mut self, _: f64, _: f64, operation: usize, pairs: usize) -> Result<()> {
        let trace = &mut self.trace;
        self.held.reserve(WHAT, &mut trace.pairs, pairs)?;
        let (pairs, slots) = (trace.pairs.len(), trace.slots);
        trace.events.push(Event::Rotation { operation, pairs, slots });
        Ok(())
    }

    #[inline]
    fn pair(&mut self, a: usize, b: usize, negative: bool) {
        let trace = &mut self.trace;
        trace.pairs.push((a as u32, b as u32 | if negative { NEGATIVE } else { 0 }));
        trace.slots = trace.slots.max(b + 1);
        if let Some(Event::Rotation { pairs, slots, .. }) = trace.events.last_mut() {
            (*pairs, *slots) = (trace.pairs.len(), trace.slots);
        }
    }

    fn signs(&mut self, slots: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.trace.flipped, slots)?;
        self.trace.events.push(Event::Signs { flipped: self.trace.flipped.len() });
        Ok(())
    }

    #[inline]
    fn flipped(&mut self, slot: usize) {
        self.trace.flipped.push(slot as u32);
        if let Some(Event::Signs { flipped }) = self.trace.events.last_mut() {
            *flipped = self.trace.flipped.len();
        }
    }

    fn map(&mut self, _: &[f64], operation: usize) -> Result<()> {
        self.trace.slots = 0;
        self.trace.events.push(Event::Map { operation, entries: self.trace.entries.len(), slots: 0 });
        Ok(())
    }

    fn entries(&mut self, more: usize) -> Result<()> {
        self.held.reserve(WHAT, &mut self.trace.entries, more)
    }

    #[inline]
    fn entry(&mut self, from: usize, to: usize, row: usize, entry: &LocalEntry) {
        let trace = &mut self.trace;
        trace.entries.push(Entry {
            from: from as u32,
            to: to as u32,
            row: row as u16,
            column: entry.to as u16,
        });
        trace.slots = trace.slots.max(to + 1);
        if let Some(Event::Map { entries, slots, .. }) = trace.events.last_mut() {
            (*entries, *slots) = (trace.entries.len(), trace.slots);
        }
    }

    // Nothing is truncated, so nothing is lost or moved.
    fn lone(&mut self, _: usize, _: f64) -> Result<()> {
        Ok(())
    }
    fn truncation(&mut self, _: usize) -> Result<()> {
        Ok(())
    }
    fn dropped(&mut self, _: usize, _: f64) {}
    fn compacted(&mut self, _: &[u32], _: usize) -> Result<()> {
        Ok(())
    }
}

impl Trace {
    fn shrink(&mut self) {
        self.events.shrink_to_fit();
        self.pairs.shrink_to_fit();
        self.flipped.shrink_to_fit();
        self.entries.shrink_to_fit();
    }

    /// The coefficients at the end, from those at the start, at the angles of a circuit.
    fn replay(&self, initial: &[f64], bound: &Bound<'_>, cancel: &Cancel) -> Result<Vec<f64>> {
        let most = self.events.iter().map(|event| event.slots()).max().unwrap_or_default();
        let mut slots = room("the terms of a propagated sum", most.max(initial.len()), 1)?;
        slots.extend_from_slice(initial);
        let (mut pair, mut flip, mut entry) = (0, 0, 0);
        for event in &self.events {
            cancel.check()?;
            match *event {
                Event::Rotation { operation, pairs, slots: n } => {
                    slots.resize(n.max(slots.len()), 0.0);
                    let (sin, cos) = sin_cos(bound.angles[operation]);
                    for chunk in self.pairs[pair..pairs].chunks(CHUNK) {
                        cancel.check()?;
                        for &(a, b) in chunk {
                            // Forwards: the sine has the opposite sign of the Heisenberg picture.
                            let s = if b & NEGATIVE == 0 { -sin } else { sin };
                            let (a, b) = (a as usize, (b & !NEGATIVE) as usize);
                            let (ca, cb): (f64, f64) = (slots[a], slots[b]);
                            slots[a] = cos * ca - s * cb;
                            slots[b] = cos * cb + s * ca;
                        }
                    }
                    pair = pairs;
                }
                Event::Signs { flipped } => {
                    self.flipped[flip..flipped].iter().for_each(|&slot| slots[slot as usize] *= -1.0);
                    flip = flipped;
                }
                Event::Map { operation, entries, slots: n } => {
                    let map = bound.map(operation, Direction::Schroedinger);
                    let mut next = room("the terms of a propagated sum", n, 1)?;
                    next.resize(n, 0.0);
                    for chunk in self.entries[entry..entries].chunks(CHUNK) {
                        cancel.check()?;
                        for step in chunk {
                            next[step.to as usize] +=
                                map.value(step.row.into(), step.column.into()) * slots[step.from as usize];
                        }
                    }
                    slots = next;
                    entry = entries;
                }
            }
        }
        Ok(slots)
    }
}
