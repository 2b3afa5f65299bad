//! The one door between Python and the core.
//!
//! [`enter`] releases the GIL for the length of a computation and lets Ctrl-C stop it; every call that may take
//! more than about 20 us goes through it. [`integer`] and [`float`] turn arguments of the wrong type into errors of our
//! own tree, which name the argument.

use crate::error::{self, InputTypeError, InvalidInputError};
use efl_core::Result;
use efl_core::bits::MAX_QUBITS;
use efl_core::bits::parallel::{self, Cancel};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Runs `work` without the GIL, on the pool; signals are looked at every 20 ms.
pub(crate) fn enter<T: Send>(py: Python<'_>, work: impl FnOnce(&Cancel) -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| {
        parallel::watched(work, || Python::attach(|py| py.check_signals()).map_err(error::Outcome::from))
    })
    .map_err(PyErr::from)
}

/// Lets Ctrl-C into loops over objects of Python, which hold the GIL; `i` counts their rounds.
pub(crate) fn listen(py: Python<'_>, i: usize) -> PyResult<()> {
    if i % 1024 == 1023 { py.check_signals() } else { Ok(()) }
}

/// What came, for an error message: the type and a short form of the value.
pub(crate) fn describe(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type().name().map_or_else(|_| "an object".to_owned(), |name| name.to_string());
    let text = value.repr().map_or_else(|_| String::new(), |repr| repr.to_string());
    if text.chars().count() > 40 {
        return format!("{kind} {}...", text.chars().take(40).collect::<String>());
    }
    format!("{kind} {text}")
}

/// An integer argument of at least `least`.
pub(crate) fn integer(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    let wrong_type =
        || InputTypeError::new_err(format!("{name}: expected an integer, got {}", describe(value)));
    let index = value.call_method0("__index__").map_err(|_| wrong_type())?;
    match index.extract::<u64>() {
        Ok(found) if found >= least => Ok(found),
        _ => Err(InvalidInputError::new_err(format!(
            "{name}: expected an integer of at least {least} and below 2^64, got {}",
            describe(value)
        ))),
    }
}

/// The same for sizes.
pub(crate) fn size(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<usize> {
    integer(name, value, least).map(|v| v as usize)
}

/// A number of qubits.
pub(crate) fn width(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let found = size(name, value, 1)?;
    if found > MAX_QUBITS {
        return Err(InvalidInputError::new_err(format!(
            "{name}: expected 1 to {MAX_QUBITS} qubits, got {found}"
        )));
    }
    Ok(found)
}

/// A real number.
pub(crate) fn float(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    value.extract::<f64>().map_err(|_| {
        InputTypeError::new_err(format!("{name}: expected a real number, got {}", describe(value)))
    })
}

/// A text argument.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>) -> PyResult<String> {
    let found = value.cast::<PyString>().map_err(|_| {
        InputTypeError::new_err(format!("{name}: expected a string, got {}", describe(value)))
    })?;
    Ok(found.to_string_lossy().into_owned())
}
