//! Angles of gates: numbers, or affine functions of what a circuit is given the values of.
//!
//! Invariant: what is found for a circuit holds at all values of the angles that are open; only those of parameters
//! have derivatives. Cost: none.

/// The angle of a gate: a number, or `scale * value + offset` of a parameter or an input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Angle {
    /// A number.
    Fixed(f64),
    /// An affine function of one parameter.
    Trainable {
        /// Index of the parameter.
        parameter: usize,
        /// What the parameter is multiplied by.
        scale: f64,
        /// What is added.
        offset: f64,
    },
    /// An affine function of one input: it changes as a parameter does, but nothing is differentiated by it.
    Input {
        /// Index of the input.
        input: usize,
        /// What the input is multiplied by.
        scale: f64,
        /// What is added.
        offset: f64,
    },
}

impl Angle {
    /// The parameter itself.
    pub const fn parameter(parameter: usize) -> Self {
        Angle::Trainable { parameter, scale: 1.0, offset: 0.0 }
    }

    pub(crate) fn scaled(self, factor: f64) -> Self {
        match self {
            Angle::Fixed(angle) => Angle::Fixed(angle * factor),
            Angle::Trainable { parameter, scale, offset } => {
                Angle::Trainable { parameter, scale: scale * factor, offset: offset * factor }
            }
            Angle::Input { input, scale, offset } => {
                Angle::Input { input, scale: scale * factor, offset: offset * factor }
            }
        }
    }

    /// The angle and a number.
    pub(crate) fn plus(self, turn: f64) -> Self {
        match self {
            Angle::Fixed(angle) => Angle::Fixed(angle + turn),
            Angle::Trainable { parameter, scale, offset } => {
                Angle::Trainable { parameter, scale, offset: offset + turn }
            }
            Angle::Input { input, scale, offset } => Angle::Input { input, scale, offset: offset + turn },
        }
    }

    /// The parameter that feeds it and the derivative of the angle by it.
    pub(crate) fn feed(self) -> Option<(usize, f64)> {
        match self {
            Angle::Fixed(_) | Angle::Input { .. } => None,
            Angle::Trainable { parameter, scale, .. } => Some((parameter, scale)),
        }
    }

    /// Whether the circuit is to be right at other values of it.
    pub(crate) fn is_open(self) -> bool {
        !matches!(self, Angle::Fixed(_))
    }

    /// Its value.
    pub(crate) fn value(self, parameters: &[f64], inputs: &[f64]) -> f64 {
        match self {
            Angle::Fixed(angle) => angle,
            Angle::Trainable { parameter, scale, offset } => scale * parameters[parameter] + offset,
            Angle::Input { input, scale, offset } => scale * inputs[input] + offset,
        }
    }
}

impl From<f64> for Angle {
    fn from(angle: f64) -> Self {
        Angle::Fixed(angle)
    }
}
