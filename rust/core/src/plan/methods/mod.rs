//! The methods of a plan, each in a file of its own.
//!
//! A new method is a file with an [`Approach`] and a design, a name in `plan/method.rs`, and a line below, which the compiler
//! asks for. Cost: the searches; see each file.

mod commuting;
mod drawn;
mod echo;
mod lists;
mod mixture;
mod shift;

use super::approach::Approach;
use super::method::Method;

/// How a method is solved.
pub(super) fn approach(method: Method) -> &'static dyn Approach {
    match method {
        Method::Uniform => &drawn::Uniform,
        Method::Biased => &drawn::Biased,
        Method::Product => &lists::Product,
        Method::Clifford => &lists::Clifford,
        Method::Block => &drawn::Blocks,
        Method::Commuting => &commuting::Commuting,
        Method::Echo => &echo::Echoes,
        Method::Mixture => &mixture::Mixture,
        Method::ShiftPruned => &shift::Pruned,
        Method::Shift => &shift::Wired,
    }
}
