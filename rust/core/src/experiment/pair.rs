//! Two experiments that differ by one angle: what an echo and a shift have in common.

use super::{Experiment, Readings};
use crate::circuit::Size;
use crate::error::Result;

/// Two experiments whose readings, added up, are derivatives: an echo or a shift.
pub trait Pair: Sync {
    /// What is read from the experiments, up to a sign.
    fn readings(&self) -> &Readings;

    /// What is added to the original circuit.
    fn extra(&self) -> Size;

    /// The experiment whose angle is turned by `pi/2`.
    fn plus(&self) -> Result<Experiment>;

    /// The experiment whose angle is turned by `-pi/2`.
    fn minus(&self) -> Result<Experiment>;

    /// What tells its two circuits from those of other pairs: pairs that differ in their setting alone share them.
    fn circuits(&self) -> usize;

    /// The one that turns by a positive angle, or the other.
    fn experiment(&self, plus: bool) -> Result<Experiment> {
        if plus { self.plus() } else { self.minus() }
    }
}
