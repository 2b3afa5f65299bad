//! The extension module `efl_core._native`: one file per concept, no mathematics.

#![forbid(unsafe_code)]

mod boundary;
mod circuit;
mod design;
mod ensemble;
mod error;
mod estimate;
mod experiment;
mod pauli;
mod plan;
mod setting;
mod snapshots;
mod system;

use pyo3::prelude::*;

/// The compiled half of `efl_core`; import the names from `efl_core` instead.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::circuit::{
        Circuit, GradientObservables, GradientTemplate, evaluate, gradient_observables, propagate, rebase,
        simulate,
    };
    #[pymodule_export]
    use crate::design::{design, predicted_variances};
    #[pymodule_export]
    use crate::ensemble::Ensemble;
    #[pymodule_export]
    use crate::estimate::{Observables, Tally, estimate, estimate_gradient, estimate_tally, tally};
    #[pymodule_export]
    use crate::experiment::{Experiment, measured, read_together, simulated};
    #[pymodule_export]
    use crate::pauli::{PauliSum, PauliWord};
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::setting::Setting;
    #[pymodule_export]
    use crate::snapshots::{Snapshots, sample};
    #[pymodule_export]
    use crate::system::{
        available_cpu_levels, cpu_level, memory_budget, num_threads, set_cpu_level, set_num_threads,
    };

    /// Version of the package.
    #[pymodule_export]
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    /// Newest format of `Tally.to_bytes`.
    #[pymodule_export]
    const TALLY_FORMAT: u32 = efl_core::estimate::TALLY_FORMAT;
}
