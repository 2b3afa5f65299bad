//! Core errors become exceptions of `efl_core.errors`: one match, on the kind of the error.
//!
//! An exception carries the argument that its message begins with. [`invalid`], [`shape`] and [`wrong_type`] make those
//! of this crate, in the grammar of the core.

use efl_core::{Error, ErrorKind};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::import_exception;
use pyo3::prelude::*;
use std::fmt::Display;

import_exception!(efl_core.errors, CorruptDataError);
import_exception!(efl_core.errors, InputTypeError);
import_exception!(efl_core.errors, InvalidInputError);
import_exception!(efl_core.errors, NewerFormatError);
import_exception!(efl_core.errors, ResourceLimitError);
import_exception!(efl_core.errors, ShapeError);

/// A failure on its way to Python: of the core, or an exception that is already one.
#[derive(Debug)]
pub(crate) enum Outcome {
    Core(Error),
    Python(PyErr),
}

impl From<Error> for Outcome {
    fn from(error: Error) -> Self {
        Outcome::Core(error)
    }
}

impl From<PyErr> for Outcome {
    fn from(error: PyErr) -> Self {
        Outcome::Python(error)
    }
}

impl From<Outcome> for PyErr {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Python(error) => error,
            Outcome::Core(error) => exception(&error),
        }
    }
}

fn exception(error: &Error) -> PyErr {
    let text = error.to_string();
    let made = match error.kind() {
        ErrorKind::Invalid => InvalidInputError::new_err(text),
        ErrorKind::Shape => ShapeError::new_err(text),
        ErrorKind::Corrupt => CorruptDataError::new_err(text),
        ErrorKind::NewerFormat => NewerFormatError::new_err(text),
        ErrorKind::Limit => ResourceLimitError::new_err(text),
        ErrorKind::Interrupted => PyKeyboardInterrupt::new_err(text),
        kind => InvalidInputError::new_err(format!("{text} ({kind:?})")),
    };
    match error.argument() {
        Some(argument) => blaming(argument, made),
        None => made,
    }
}

/// The exception with the argument that it is about.
fn blaming(argument: &str, exception: PyErr) -> PyErr {
    Python::attach(|py| match exception.value(py).setattr("argument", argument) {
        Ok(()) => exception,
        Err(failure) => failure,
    })
}

/// A value outside what the argument `name` accepts.
pub(crate) fn invalid(name: &str, expected: impl Display, found: impl Display) -> PyErr {
    exception(&Error::invalid(name.to_owned(), expected.to_string(), found.to_string()))
}

/// A size that does not fit the argument `name`.
pub(crate) fn shape(name: &str, expected: impl Display, found: impl Display) -> PyErr {
    exception(&Error::shape(name.to_owned(), expected.to_string(), found.to_string()))
}

/// A value of a type that the argument `name` cannot be read from.
pub(crate) fn wrong_type(name: &str, expected: impl Display, value: &Bound<'_, PyAny>) -> PyErr {
    let text = format!("{name}: expected {expected}, got {}", describe(value));
    blaming(name, InputTypeError::new_err(text))
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

/// `?` for core results in functions that return Python results.
pub(crate) trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for efl_core::Result<T> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|error| exception(&error))
    }
}
