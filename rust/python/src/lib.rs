//! The extension module `efl_core._native`: one file per concept, no mathematics.

#![forbid(unsafe_code)]

mod boundary;
mod circuit;
mod design;
mod ensemble;
mod error;
mod estimate;
mod experiment;
mod fleet;
mod memory;
mod observables;
mod pauli;
mod plan;
mod setting;
mod snapshots;
mod system;

use pyo3::prelude::*;

/// The compiled half of `efl_core`; import the names from `efl_core` instead.
#[pymodule]
mod _native {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;

    #[pymodule_export]
    use crate::circuit::{
        Circuit, GradientObservables, GradientTemplate, evaluate, gradient_observables,
        mitigated_observables, rebase, simulate,
    };
    #[pymodule_export]
    use crate::design::design;
    #[pymodule_export]
    use crate::ensemble::Ensemble;
    #[pymodule_export]
    use crate::estimate::{
        Calibration, Tally, agreements, estimate, estimate_gradient, estimate_tally, fidelity,
        fidelity_along, fidelity_gradient, low_rank, pattern_counts, tally, tangents,
    };
    #[pymodule_export]
    use crate::experiment::{
        Experiment, Outcomes, calibration_variances, chained, measured, read_combined, read_together,
        simulated,
    };
    #[pymodule_export]
    use crate::fleet::{
        FleetCommits, FleetMachine, FleetReader, FleetReplay, FleetTally, FleetVersion, fleet_frame,
        fleet_gradient,
    };
    #[pymodule_export]
    use crate::memory::Memory;
    #[pymodule_export]
    use crate::observables::Observables;
    #[pymodule_export]
    use crate::pauli::{PauliSum, PauliWord, named_sum, named_sums, named_word};
    #[pymodule_export]
    use crate::plan::Plan;
    #[pymodule_export]
    use crate::setting::{Setting, StabiliserState};
    #[pymodule_export]
    use crate::snapshots::{Snapshots, draw_settings, sample, sample_stabiliser};
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
    /// How much worse than the best something may be that is preferred because it is simpler.
    #[pymodule_export]
    const TIE: f64 = efl_core::design::TIE;
    /// The methods of a plan, in the order of preference among equals.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let names = efl_core::plan::Method::ALL.map(efl_core::plan::Method::name);
        module.add("METHODS", PyTuple::new(module.py(), names)?)?;
        crate::fleet::names(module)
    }
}
