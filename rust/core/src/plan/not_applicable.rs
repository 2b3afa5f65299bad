//! Why a method cannot be run on a circuit, or why its figures are only bounds.
//!
//! Invariant: what went wrong is data; the text is for the reader of a table alone. Cost: none.

use std::fmt;

/// Why a method has no design.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotApplicable {
    /// The plan is of other methods.
    NotAsked,
    /// A channel cannot be undone.
    Channel {
        /// The first gate that is one.
        gate: usize,
    },
    /// It measures the derivative of the value that the device gives, and the one without noise is wanted.
    OfNoisyValue,
    /// The two-term shift rule needs generators whose words commute.
    NoShiftRule {
        /// The first trainable gate that has another one.
        gate: usize,
    },
    /// Trainable gates that matter for a word of an observable do not commute.
    GeneratorsDoNotCommute,
    /// A gate that comes later does not commute with a trainable one, though it does not matter for the observable.
    LaterGate,
    /// Settings without two-qubit gates cannot measure this.
    TwoQubitGates {
        /// What needs them, in the plural.
        what: &'static str,
    },
    /// The register has one qubit only.
    OneQubit,
    /// The circuits of the method are too long and too many to be written down.
    TooManySteps {
        /// The largest number of gates of all of them together that is allowed.
        limit: u64,
    },
    /// The words of all derivatives together are too many for a list of settings.
    TooManyWords {
        /// The number of words.
        words: usize,
        /// The largest number that is allowed.
        limit: usize,
    },
    /// A derivative has too many words.
    LongDerivative {
        /// The largest number of words that is allowed.
        limit: usize,
    },
    /// Derivatives whose words are not known are not counted: there is a bound only.
    Uncounted {
        /// The number of such derivatives.
        derivatives: usize,
        /// The largest number of words that is allowed.
        limit: usize,
        /// Whether a channel may be the reason.
        channel: bool,
    },
    /// Derivatives whose words are too many for settings cannot be measured otherwise either.
    NoDirectMeasurement,
    /// A setting is drawn for every shot, and the number of settings is limited.
    Drawn,
    /// The method takes more circuits and settings than are wanted.
    Crowded {
        /// The number that the method takes.
        runs: usize,
        /// The largest number that is allowed.
        most: usize,
    },
}

impl fmt::Display for NotApplicable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotApplicable::NotAsked => f.write_str("not asked for at these angles"),
            NotApplicable::Channel { gate } => write!(f, "gate {gate} is a channel, which cannot be undone"),
            NotApplicable::OfNoisyValue => f.write_str(
                "it measures the derivative of the noisy value, and the one without noise is wanted",
            ),
            NotApplicable::NoShiftRule { gate } => {
                write!(
                    f,
                    "the shift rule needs generators whose words commute, and those of gate {gate} do not"
                )
            }
            NotApplicable::GeneratorsDoNotCommute => {
                f.write_str("the trainable generators do not all commute")
            }
            NotApplicable::LaterGate => {
                f.write_str("a later gate does not commute with a trainable generator")
            }
            NotApplicable::TwoQubitGates { what } => {
                write!(f, "{what} need two-qubit gates, and connectivity is \"none\"")
            }
            NotApplicable::TooManySteps { limit } => {
                write!(f, "its circuits have more than {limit} gates, all of them together")
            }
            NotApplicable::OneQubit => f.write_str("a block needs two qubits"),
            NotApplicable::TooManyWords { words, .. } => {
                write!(f, "{words} words are too many for a list of settings")
            }
            NotApplicable::LongDerivative { limit } => write!(f, "a derivative has more than {limit} words"),
            NotApplicable::Uncounted { derivatives, limit, channel: false } => {
                write!(f, "{derivatives} derivatives have more than {limit} words and are not counted")
            }
            NotApplicable::Uncounted { derivatives, limit, channel: true } => write!(
                f,
                "{derivatives} derivatives are not counted: a channel that cannot be undone follows their gates, or they \
                 have more than {limit} words"
            ),
            NotApplicable::NoDirectMeasurement => {
                f.write_str("derivatives with too many words have neither echoes nor shifts")
            }
            NotApplicable::Drawn => {
                f.write_str("it draws a setting for every shot, and their number is limited")
            }
            NotApplicable::Crowded { runs, .. } => {
                write!(f, "it takes {runs} circuits and settings, more than are wanted")
            }
        }
    }
}

/// Something that a method needs, or why the circuit does not have it.
pub(crate) type Applies<T> = std::result::Result<T, NotApplicable>;
