//! The parameter-shift rule, as experiments: the same circuit with one angle turned by a quarter, both ways.
//!
//! For a gate `exp(-i phi P / 2)` the derivative of an expectation value by phi is half its value at `phi + pi/2` less
//! half its value at `phi - pi/2`. Observables that one setting cannot read take one experiment per setting.
//!
//! Invariant: experiments are built from the structure alone and are valid at all parameters.
//! Cost: linear in the gates for every turned angle; circuits are made when they are run, one for all settings of a turn.

use crate::circuit::Size;

use crate::circuit::layers::RotationLayers;
use crate::circuit::{Angle, Circuit, Operation};
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Pair, Readings, Recipe, Source};
use crate::gates::Direction;
use crate::heisenberg::{QubitSet, walk};
use crate::pauli::word::check_width;
use crate::pauli::{PauliSum, PauliWord, Sums, WordRef};
use crate::stabiliser::Setting;
use crate::state::ProductState;
use std::f64::consts::FRAC_PI_2;
use std::sync::Arc;

/// Which gates are shifted, and what is read of an observable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Gates from which wires lead to an observable, and all of that observable: what a general tool does.
    Wires,
    /// Gates from which a chain of gates that do not commute leads to a word of an observable, and only such words:
    /// all others have a derivative of zero, also gates that are idle on the input. Where there are channels
    /// other than Pauli channels, words to which wires lead.
    Chains,
}

/// The two experiments of one gate (one rotation of it) and one setting.
#[derive(Debug, Clone)]
pub struct Shift {
    turned: Arc<Turned>,
    parameter: usize,
    setting: Arc<Setting>,
    setting_index: usize,
    readings: Readings,
}

/// A circuit with one angle that is turned, both ways.
#[derive(Debug)]
struct Turned {
    circuit: Arc<Circuit>,
    operation: usize,
}

impl Recipe for Turned {
    fn circuit(&self, plus: bool) -> Circuit {
        let turn = if plus { FRAC_PI_2 } else { -FRAC_PI_2 };
        let mut built = self.circuit.emptied();
        for (index, operation) in self.circuit.operations().iter().enumerate() {
            built.push(match operation {
                Operation::Rotation { letters, angle } if index == self.operation => {
                    Operation::Rotation { letters: letters.clone(), angle: angle.plus(turn) }
                }
                _ => operation.clone(),
            });
        }
        built
    }

    fn n_qubits(&self) -> usize {
        self.circuit.n_qubits()
    }
}

impl Shift {
    /// The gate whose angle is shifted.
    pub fn gate(&self) -> usize {
        self.turned.circuit.gate_of(self.turned.operation)
    }

    /// The parameter that feeds it.
    pub fn parameter(&self) -> usize {
        self.parameter
    }

    /// Which of the settings.
    pub fn setting(&self) -> usize {
        self.setting_index
    }

    fn read(&self, plus: bool, readings: Readings) -> Result<Experiment> {
        Experiment::of(Source::Made(self.turned.clone(), plus), (*self.setting).clone(), readings)
    }
}

impl Pair for Shift {
    /// The readings of [`Shift::plus`]; those of [`Shift::minus`] have the other sign.
    fn readings(&self) -> &Readings {
        &self.readings
    }

    /// What is added to the circuit: the rotation of the setting.
    fn extra(&self) -> Size {
        Size::of(self.turned.circuit.n_qubits(), [], &self.setting.gates())
    }

    /// The experiment with the angle turned by `pi/2`.
    fn plus(&self) -> Result<Experiment> {
        self.read(true, self.readings.clone())
    }

    fn circuits(&self) -> usize {
        Arc::as_ptr(&self.turned).addr()
    }

    /// The experiment with the angle turned by `-pi/2`.
    fn minus(&self) -> Result<Experiment> {
        self.read(false, self.readings.negated())
    }
}

/// The experiments of the parameter-shift rule, gate by gate. Each word of the observables is read in the first of
/// `settings` that reveals it. The `input` matters for [`Reach::Chains`] only.
///
/// ```
/// use efl_core::bits::parallel::Cancel;
/// use efl_core::experiment::{Pair, Reach, shifts};
/// use efl_core::stabiliser::Setting;
/// use efl_core::circuit::{Angle, Circuit};
/// use efl_core::state::ProductState;
/// use efl_core::pauli::{Letter, PauliSum};
/// let mut circuit = Circuit::new(1, 1)?;
/// circuit.rotation([(0, Letter::X)], Angle::parameter(0))?;
/// let z = PauliSum::from_labels([("Z", 1.0)])?;
/// let found = shifts(&circuit, &[z], &[Setting::product("Z")?], Reach::Chains, None)?;
/// let moments = found[0].plus()?.moments(&[0.3], &ProductState::zero(1), &Cancel::new())?;
/// assert!((moments[0].mean + 0.3f64.sin() / 2.0).abs() < 1e-15); // half the derivative of cos(theta)
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn shifts(
    circuit: &Circuit,
    observables: &[PauliSum],
    settings: &[Setting],
    reach: Reach,
    input: Option<&ProductState>,
) -> Result<Vec<Shift>> {
    match shift_rule(circuit, observables, settings, reach, input)? {
        ShiftRule::Shifts(shifts) => Ok(shifts),
        ShiftRule::Missing { gate } => Err(Error::invalid(
            "circuit",
            "trainable gates whose generators have commuting words (the two-term shift rule needs them)",
            format!("gate {gate}, whose words do not commute"),
        )),
    }
}

/// What the parameter-shift rule makes of a circuit.
pub(crate) enum ShiftRule {
    /// The experiments of all trainable gates.
    Shifts(Vec<Shift>),
    /// There is no such rule for a trainable gate.
    Missing {
        /// The first such gate.
        gate: usize,
    },
}

/// The experiments of [`shifts`], or a gate that has none.
pub(crate) fn shift_rule(
    circuit: &Circuit,
    observables: &[PauliSum],
    settings: &[Setting],
    reach: Reach,
    input: Option<&ProductState>,
) -> Result<ShiftRule> {
    let n = circuit.n_qubits();
    settings.iter().try_for_each(|setting| check_width("settings", n, setting.n_qubits()))?;
    let sums = Sums::from_sums(n, observables)?;
    let assigned = assign(&sums, settings)?;
    let reached = reached(circuit, &sums, reach, input)?;
    let settings: Vec<Arc<Setting>> = settings.iter().cloned().map(Arc::new).collect();
    let circuit = Arc::new(circuit.clone());
    let mut shifts = Vec::new();
    for (operation, found) in circuit.operations().iter().enumerate() {
        let Some((parameter, scale)) = found.angle().and_then(Angle::feed).filter(|fed| fed.1 != 0.0) else {
            continue;
        };
        // (observable, word, coefficient) of what the gate moves.
        let mut moved: Vec<(usize, u32, f64)> = Vec::new();
        for observable in 0..sums.len() {
            let (columns, coefficients) = sums.row(observable);
            let some = columns.iter().any(|&column| reached[column as usize][operation]);
            for (&column, &c) in columns.iter().zip(coefficients) {
                if some && (reach == Reach::Wires || reached[column as usize][operation]) {
                    moved.push((observable, column, c));
                }
            }
        }
        if moved.is_empty() {
            continue;
        }
        if !matches!(found, Operation::Rotation { .. }) {
            return Ok(ShiftRule::Missing { gate: circuit.gate_of(operation) });
        }
        let turned = Arc::new(Turned { circuit: circuit.clone(), operation });
        for (setting_index, setting) in settings.iter().enumerate() {
            let entries: Vec<(usize, PauliWord, f64)> = moved
                .iter()
                .filter(|(_, column, _)| assigned[*column as usize] == Some(setting_index))
                .map(|&(observable, column, c)| {
                    let row = observable * circuit.n_parameters() + parameter;
                    (row, sums.words().get(column as usize).to_word(), c * scale / 2.0)
                })
                .collect();
            let readings = Readings::new(n, &entries)?;
            if !readings.rows().is_empty() {
                let (turned, setting) = (turned.clone(), setting.clone());
                shifts.push(Shift { turned, parameter, setting, setting_index, readings });
            }
        }
    }
    Ok(ShiftRule::Shifts(shifts))
}

/// For each word the setting that reads it; `None` for the identity, which has no derivative.
fn assign(sums: &Sums, settings: &[Setting]) -> Result<Vec<Option<usize>>> {
    let setting = |word: WordRef<'_>| {
        if word.is_identity() {
            return Ok(None);
        }
        let found = settings.iter().position(|setting| setting.reveals(word));
        let expected = || "settings that reveal every word of the observables; add one for this word";
        found.map(Some).ok_or_else(|| Error::invalid("settings", expected(), word.to_string()))
    };
    sums.words().iter().map(setting).collect()
}

/// For each word the operations that can move it.
fn reached(
    circuit: &Circuit,
    sums: &Sums,
    reach: Reach,
    input: Option<&ProductState>,
) -> Result<Vec<Vec<bool>>> {
    let operations = circuit.operations();
    let layered = |operation: &Operation| operation.is_unitary() || operation.is_transparent();
    let unitary = operations.iter().all(layered);
    let rotations =
        if reach == Reach::Chains && unitary { Some(RotationLayers::new(circuit, input)?) } else { None };
    let of_word = |word: WordRef<'_>| {
        let mut reached = vec![false; operations.len()];
        if let Some(rotations) = &rotations {
            let relevant = rotations.relevant(&word.to_word())?;
            let items = rotations.items().iter().enumerate().filter(|(i, _)| relevant.contains(*i));
            items.for_each(|(_, item)| reached[item.operation] = true);
            return Ok(reached);
        }
        let mut cone = QubitSet::new(circuit.n_qubits());
        cone.insert_support(word);
        for index in walk(operations, 0..operations.len(), Direction::Heisenberg, &mut cone, |_| false) {
            reached[index] = true;
        }
        Ok(reached)
    };
    sums.words().iter().map(of_word).collect()
}
