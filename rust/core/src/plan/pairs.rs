//! Two circuits whose outcomes differ by derivatives: what echoes and shifts have in common.

use crate::circuit::Size;
use crate::error::Result;
use crate::experiment::{Echo, Experiment, Readings, Shift};

/// Two circuits whose outcomes differ by derivatives: an echo or a shift.
pub(super) trait Pair: Sync {
    /// What is read after a positive angle, up to the sign.
    fn readings(&self) -> &Readings;

    /// What is added to the original circuit.
    fn extra(&self) -> Size;

    /// The experiment that turns by a positive angle, or the other one.
    fn experiment(&self, plus: bool) -> Result<Experiment>;
}

impl Pair for Echo {
    fn readings(&self) -> &Readings {
        self.readings()
    }

    fn extra(&self) -> Size {
        self.extra()
    }

    fn experiment(&self, plus: bool) -> Result<Experiment> {
        if plus { self.plus() } else { self.minus() }
    }
}

impl Pair for Shift {
    fn readings(&self) -> &Readings {
        self.readings()
    }

    fn extra(&self) -> Size {
        self.extra()
    }

    fn experiment(&self, plus: bool) -> Result<Experiment> {
        if plus { self.plus() } else { self.minus() }
    }
}
