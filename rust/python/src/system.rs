//! Threads and CPU levels.

use crate::boundary::{size, text};
use crate::error::{OrRaise, invalid};
use efl_core::bits::dispatch::{self, CpuLevel};
use efl_core::bits::{memory, parallel};
use pyo3::prelude::*;

/// The number of threads that the next call uses.
#[pyfunction]
pub(crate) fn num_threads() -> usize {
    parallel::num_threads()
}

/// Sets the number of threads for the whole process. Results do not depend on it.
///
/// Without this call it is the environment variable ``EFL_NUM_THREADS``, else the number of cores.
///
/// >>> import efl_core as efl
/// >>> efl.set_num_threads(2)
/// >>> efl.num_threads()
/// 2
#[pyfunction]
pub(crate) fn set_num_threads(threads: &Bound<'_, PyAny>) -> PyResult<()> {
    parallel::set_num_threads(size("threads", threads, 1)?).or_raise()
}

/// Bytes that one computation may take: half of what the machine, the container and the process have left.
#[pyfunction]
pub(crate) fn memory_budget() -> u64 {
    memory::budget()
}

/// The instruction set in use.
#[pyfunction]
pub(crate) fn cpu_level() -> &'static str {
    dispatch::cpu_level().name()
}

/// Every instruction set that this CPU has, lowest first.
#[pyfunction]
pub(crate) fn available_cpu_levels() -> Vec<&'static str> {
    CpuLevel::available().into_iter().map(CpuLevel::name).collect()
}

/// Uses a lower instruction set, for tests and benches. Results do not depend on it.
#[pyfunction]
pub(crate) fn set_cpu_level(level: &Bound<'_, PyAny>) -> PyResult<()> {
    let level = text("level", level, "the name of an instruction set")?;
    let found = CpuLevel::available().into_iter().find(|l| l.name() == level);
    let found = found
        .ok_or_else(|| invalid("level", format!("one of {}", available_cpu_levels().join(", ")), &level))?;
    dispatch::set_cpu_level(found).or_raise()
}
