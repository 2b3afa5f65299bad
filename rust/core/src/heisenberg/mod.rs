//! From a circuit to the observables of its gradient.
//!
//! A [`Circuit`] is gates in order. A Pauli sum moves through it in either [`Direction`] ([`propagate`]); what
//! [`Truncation`] drops is accounted for. [`gradient_observables`] gives the Pauli sums whose expectation values on
//! the final state are the gradient, [`GradientStructure`] the same again and again at new angles, and [`rebase`]
//! carries them to a state that was prepared at older ones. The classical surrogate ([`value`],
//! [`value_and_gradient`]) ends at a product state.
//!
//! ```
//! use efl_core::bits::parallel::Cancel;
//! use efl_core::heisenberg::{Angle, Circuit, Clifford, ProductState, Truncation};
//! use efl_core::heisenberg::{gradient_observables, value_and_gradient};
//! use efl_core::pauli::{Letter, PauliSum};
//!
//! let mut circuit = Circuit::new(2, 2)?;
//! circuit.rotation([(0, Letter::Y)], Angle::parameter(0))?;
//! circuit.clifford(Clifford::Cnot, &[0, 1])?;
//! circuit.rotation([(1, Letter::X)], Angle::parameter(1))?;
//! let (theta, zz) = ([0.4, 0.3], PauliSum::from_labels([("ZZ", 1.0)])?);
//! let cancel = Cancel::new();
//!
//! let rows = gradient_observables(&circuit, &theta, &[zz.clone()], &Truncation::EXACT, &cancel)?;
//! // d<ZZ>/dtheta_1 = <ZY> on the state that the circuit prepares.
//! assert_eq!(rows.sums().sum(rows.gradient_row(0, 1))?.to_string(), "1*ZY");
//!
//! let state = ProductState::zero(2);
//! let exact = value_and_gradient(&circuit, &theta, &zz, &state, &Truncation::EXACT, &cancel)?;
//! assert!((exact.value - f64::cos(0.3)).abs() < 1e-15);
//! # Ok::<(), efl_core::Error>(())
//! ```
//!
//! Invariant: `exp(-i theta P / 2)` turns an observable as `Q -> cos(theta) Q + sin(theta) i P Q` in the Heisenberg
//! picture; every other sign in this module follows from the matrices of the gates.
//! Cost: proportional to terms times gates inside the light cone, and nothing outside of it.
//!
//! | to ... | look in |
//! |---|---|
//! | add a named gate | `clifford.rs`: its matrix, and nothing else |
//! | add a kind of gate | `circuit.rs`: as rotations or a transfer matrix if at all possible |
//! | change the hot loop | `terms.rs`, then `benches/rust/propagate.rs` |
//! | understand the reverse sweep | `tape.rs` |

mod angle;
mod circuit;
mod clifford;
mod cone;
mod forward;
mod gradient;
mod matrix;
mod observables;
mod propagation;
mod rebase;
mod structure;
mod surrogate;
mod tape;
mod terms;
mod transfer;

pub use angle::Angle;
pub use circuit::{Circuit, Gate};
pub(crate) use circuit::{Operation, exponential};
pub use clifford::Clifford;
pub(crate) use clifford::{clifford_table, negates};
pub(crate) use cone::{QubitSet, walk};
pub use gradient::gradient_observables;
pub use observables::GradientObservables;
pub use propagation::{Dropped, Propagated, Truncation, propagate};
pub use rebase::rebase;
pub use structure::GradientStructure;
pub use surrogate::{Evaluation, ProductState, value, value_and_gradient};
pub use transfer::Direction;
