//! Core errors become exceptions of `efl_core.errors`: one match, on the kind of the error.

use efl_core::{Error, ErrorKind};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::import_exception;
use pyo3::prelude::*;

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
    match error.kind() {
        ErrorKind::Invalid => InvalidInputError::new_err(text),
        ErrorKind::Shape => ShapeError::new_err(text),
        ErrorKind::Corrupt => CorruptDataError::new_err(text),
        ErrorKind::NewerFormat => NewerFormatError::new_err(text),
        ErrorKind::Limit => ResourceLimitError::new_err(text),
        ErrorKind::Interrupted => PyKeyboardInterrupt::new_err(text),
        kind => InvalidInputError::new_err(format!("{text} ({kind:?})")),
    }
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
