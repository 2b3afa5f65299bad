//! The classical surrogate: the value of a circuit on a product state, and the gradient of that value.
//!
//! The observable is propagated backwards once; the gradient by all parameters is one sweep over the record of that
//! propagation (reverse-mode differentiation). Invariant: the gradient is that of the value which is returned, the
//! truncated one, with the set of dropped terms held fixed; with nothing dropped it is exact, also where angles are
//! zero. Cost: the gradient costs less than the propagation, and its record 8 bytes per rotated pair of terms.

use super::cone::Program;
use super::propagation::{Job, dispatch, support};
use super::record::{Record, ReverseRecord, Silent};
use super::terms::Key;
use super::truncation::{Dropped, Truncation};
use crate::bits::parallel::Cancel;
use crate::bits::room;
use crate::circuit::Angle;
use crate::circuit::Circuit;
use crate::error::Result;
use crate::gates::Direction;
use crate::pauli::PauliSum;
use crate::pauli::word::check_width;
use crate::state::ProductState;

/// The value of a circuit, perhaps with its gradient.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The expectation value of the propagated observable.
    pub value: f64,
    /// Its derivative by every parameter; empty when it was not asked for.
    pub gradient: Vec<f64>,
    /// Number of terms of the propagated observable.
    pub n_terms: usize,
    /// What truncation left out: the value is off by at most `dropped.l1`.
    pub dropped: Dropped,
}

/// The expectation value of an observable after the circuit has acted on a product state.
pub fn value(
    circuit: &Circuit,
    theta: &[f64],
    observable: &PauliSum,
    state: &ProductState,
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<Evaluation> {
    evaluate(circuit, theta, observable, state, truncation, cancel, false)
}

/// [`value`], and its derivative by every parameter.
pub fn value_and_gradient(
    circuit: &Circuit,
    theta: &[f64],
    observable: &PauliSum,
    state: &ProductState,
    truncation: &Truncation,
    cancel: &Cancel,
) -> Result<Evaluation> {
    evaluate(circuit, theta, observable, state, truncation, cancel, true)
}

fn evaluate(
    circuit: &Circuit,
    theta: &[f64],
    observable: &PauliSum,
    state: &ProductState,
    truncation: &Truncation,
    cancel: &Cancel,
    gradient: bool,
) -> Result<Evaluation> {
    let n = circuit.n_qubits();
    check_width("observable", n, observable.n_qubits())?;
    check_width("state", n, state.n_qubits())?;
    truncation.check()?;
    let bound = circuit.bind(theta)?;
    let range = 0..circuit.operations().len();
    let program = Program::new(&bound, range, Direction::Heisenberg, &support(observable));
    let job = Evaluate { program: &program, observable, state, truncation, cancel, gradient };
    let (mut evaluation, slopes) = dispatch(&program, job)?;
    if gradient {
        evaluation.gradient = vec![0.0; circuit.n_parameters()];
        for (operation, slope) in slopes {
            if let Some((parameter, scale)) = circuit.operations()[operation].angle().and_then(Angle::feed) {
                evaluation.gradient[parameter] += scale * slope;
            }
        }
    }
    Ok(evaluation)
}

struct Evaluate<'a> {
    program: &'a Program<'a>,
    observable: &'a PauliSum,
    state: &'a ProductState,
    truncation: &'a Truncation,
    cancel: &'a Cancel,
    gradient: bool,
}

impl Job for Evaluate<'_> {
    /// The evaluation, and the derivative by the angle of each operation that was met.
    type Output = (Evaluation, Vec<(usize, f64)>);

    fn run<const W: usize>(self) -> Result<Self::Output> {
        let mut slopes = Vec::new();
        if !self.gradient {
            return self.value::<W, _>(&mut Silent).map(|(evaluation, ..)| (evaluation, slopes));
        }
        let mut record = ReverseRecord::default();
        let (evaluation, coefficients, expectations) = self.value::<W, _>(&mut record)?;
        let slope_of = |operation, slope| slopes.push((operation, slope));
        record.sweep(&coefficients, &expectations, self.cancel, slope_of)?;
        Ok((evaluation, slopes))
    }
}

impl Evaluate<'_> {
    /// The evaluation, and for each slot its coefficient and expectation value.
    fn value<const W: usize, R: Record>(&self, record: &mut R) -> Result<(Evaluation, Vec<f64>, Vec<f64>)> {
        let terms = self.program.run::<W, R>(self.observable, self.truncation, record, self.cancel)?;
        let expectation = |word: Key<W>| self.state.expectation(self.program.letters(&word));
        let coefficients = terms.coefficients();
        let n_terms = coefficients.iter().filter(|c| **c != 0.0).count();
        let mut expectations = room("the expectation values of a sum", coefficients.len(), 1)?;
        for (i, word) in terms.slots().enumerate() {
            terms.listen(i)?;
            expectations.push(expectation(word));
        }
        let value = coefficients.iter().zip(&expectations).map(|(c, e)| c * e).sum();
        let evaluation = Evaluation { value, gradient: Vec::new(), n_terms, dropped: terms.dropped };
        Ok((evaluation, terms.into_coefficients(), expectations))
    }
}
