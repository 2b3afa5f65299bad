//! Experiments that were drawn from a longer list.
//!
//! A step of training may run some of a list's experiments only. Their readings are then divided by the probability of
//! running them, and the error of a gradient is mostly how much they differ: a draw, not a shot, is what is repeated.
//!
//! Invariant: the experiments of a draw follow each other, and those of one step share one [`Draws`].

use std::sync::Arc;

/// The draws of one step.
#[derive(Debug, PartialEq)]
pub struct Draws {
    /// How many there are.
    pub count: usize,
    /// For every row of the gradient the second moment of what a single draw would say of it, on the maximally mixed state.
    pub second: Vec<f64>,
}

/// Which draw an experiment belongs to; an echo and a shift are two circuits of one draw.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Its place among the draws.
    pub place: usize,
    /// The draws of the step.
    pub of: Arc<Draws>,
}
