//! The one door between Python and the core.
//!
//! [`enter`] releases the GIL for the length of a computation and lets Ctrl-C stop it; every call that may take
//! more than about 20 us goes through it, or through [`enter_briefly`] where it is known to end soon. [`integer`]
//! and [`float`] turn arguments of the wrong type into errors of our own tree, which name the argument.

use crate::error::{OrRaise, Outcome, describe, invalid, shape, wrong_type};
use efl_core::Result;
use efl_core::bits::MAX_QUBITS;
use efl_core::bits::parallel::{self, Cancel};
use numpy::{Element, PyArrayDescrMethods, PyReadonlyArrayDyn};
use pyo3::prelude::*;

/// Runs `work` without the GIL, on a thread of its own; signals are looked at every 20 ms.
pub(crate) fn enter<T: Send>(py: Python<'_>, work: impl FnOnce(&Cancel) -> Result<T> + Send) -> PyResult<T> {
    py.detach(|| parallel::watched(work, || Python::attach(|py| py.check_signals()).map_err(Outcome::from)))
        .map_err(PyErr::from)
}

/// Nanoseconds of work, roughly, that may be done on the calling thread: Ctrl-C waits for as long.
pub(crate) const BRIEF: u64 = 1 << 21;

/// Runs `work` without the GIL on the calling thread: a thread of its own costs 50 us, and more on a busy machine.
pub(crate) fn enter_briefly<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Cancel) -> Result<T> + Send,
) -> PyResult<T> {
    py.detach(|| work(&Cancel::new())).or_raise()
}

/// Lets Ctrl-C into loops over objects of Python, which hold the GIL; `i` counts their rounds.
pub(crate) fn listen(py: Python<'_>, i: usize) -> PyResult<()> {
    if i % 1024 == 1023 { py.check_signals() } else { Ok(()) }
}

/// An integer argument of at least `least`.
pub(crate) fn integer(name: &str, value: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    let index = value.call_method0("__index__").map_err(|_| wrong_type(name, "an integer", value))?;
    match index.extract::<u64>() {
        Ok(found) if found >= least => Ok(found),
        _ => Err(invalid(name, format!("an integer of at least {least} and below 2^64"), describe(value))),
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
        return Err(invalid(name, format!("1 to {MAX_QUBITS} qubits"), found));
    }
    Ok(found)
}

/// A real number.
pub(crate) fn float(name: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    value.extract::<f64>().map_err(|_| wrong_type(name, "a real number", value))
}

/// A word such as the name of an option.
pub(crate) fn text(name: &str, value: &Bound<'_, PyAny>, expected: &str) -> PyResult<String> {
    value.extract::<String>().map_err(|_| wrong_type(name, expected, value))
}

/// An array argument of numbers that are read as `T` without loss, with so many dimensions.
pub(crate) fn numbers<'py, T: Element>(
    name: &str,
    value: &Bound<'py, PyAny>,
    expected: &str,
    dimensions: usize,
) -> PyResult<PyReadonlyArrayDyn<'py, T>> {
    let py = value.py();
    let wrong = || wrong_type(name, expected, value);
    let array = py.import("numpy")?.call_method1("asarray", (value,)).map_err(|_| wrong())?;
    let kind: char = array.getattr("dtype")?.getattr("kind")?.extract()?;
    let dtype = T::get_dtype(py);
    let complex = char::from(dtype.kind()) == 'c';
    if !("biuf".contains(kind) || complex && kind == 'c') {
        return Err(wrong());
    }
    let array = array.call_method1("astype", (dtype,))?;
    let found: Vec<usize> = array.getattr("shape")?.extract()?;
    if found.len() != dimensions {
        return Err(shape(name, expected, format!("shape {found:?}")));
    }
    array.extract()
}
