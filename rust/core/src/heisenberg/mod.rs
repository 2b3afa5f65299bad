//! From a circuit to the observables of its gradient.
//!
//! A Pauli sum moves through a circuit in either direction ([`propagate`]); what [`Truncation`] drops is accounted
//! for. [`gradient_observables`] gives the Pauli sums whose expectation values on
//! the final state are the gradient, [`GradientTemplate`] the same again and again at new angles, and [`rebase`]
//! carries them to a state that was prepared at older ones. The classical surrogate ([`value`],
//! [`value_and_gradient`]) ends at a product state.
//!
//! ```
//! use efl_core::bits::parallel::Cancel;
//! use efl_core::circuit::{Angle, Circuit};
//! use efl_core::gates::Clifford;
//! use efl_core::heisenberg::{Truncation, gradient_observables, value_and_gradient};
//! use efl_core::pauli::{Letter, PauliSum};
//! use efl_core::state::ProductState;
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
//! | change the hot loop | `terms/rotation.rs`, then `benches/rust/propagate.rs` |
//! | understand the reverse sweep | `record.rs` |

mod cone;
mod forward;
mod gradient;
mod observables;
mod products;
mod propagation;
mod rebase;
mod record;
mod returned;
mod surrogate;
mod template;
mod terms;
mod truncation;

pub(crate) use cone::{QubitSet, walk};
pub use gradient::gradient_observables;
pub use observables::GradientObservables;
pub use propagation::{Propagated, propagate};
pub use rebase::rebase;
pub use returned::mitigated_observables;
pub use surrogate::{Evaluation, value, value_and_gradient};
pub use template::GradientTemplate;
pub use truncation::{Dropped, Truncation};
