//! From a circuit to the observables of its gradient.
//!
//! A [`Circuit`] is gates in order. A Pauli sum moves through it in either [`Direction`]; what [`Truncation`] drops
//! is accounted for. The classical surrogate ([`value`], [`value_and_gradient`]) ends at a product state.
//!
//! Invariant: `exp(-i theta P / 2)` turns an observable as `Q -> cos(theta) Q + sin(theta) i P Q` in the Heisenberg
//! picture; every other sign in this module follows from the matrices of the gates.
//! Cost: proportional to terms times gates inside the light cone, and nothing outside of it.

mod circuit;
mod clifford;
mod cone;
mod gradient;
mod matrix;
mod observables;
mod propagation;
mod rebase;
mod surrogate;
mod tape;
mod terms;
mod transfer;

pub use circuit::{Angle, Circuit};
pub use clifford::Clifford;
pub use gradient::gradient_observables;
pub use observables::GradientObservables;
pub use propagation::{Dropped, Propagated, Truncation, propagate};
pub use rebase::rebase;
pub use surrogate::{Evaluation, ProductState, value, value_and_gradient};
pub use transfer::Direction;
