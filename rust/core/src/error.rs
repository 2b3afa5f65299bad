//! The one error type of the crate.
//!
//! Every message names the argument, what was expected and what came; a remedy follows where there is one.
//! Bad input never panics: a panic is a bug of this crate. [`Error::kind`] is what bindings dispatch on, so a
//! message can be reworded without changing the class of the exception that a user catches.

use std::borrow::Cow;

/// Result of every fallible operation of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, with the facts that a caller needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value is outside what the argument accepts.
    #[error("{argument}: expected {expected}, got {found}")]
    Invalid {
        /// The argument as the caller knows it.
        argument: Cow<'static, str>,
        /// What would have been accepted.
        expected: Cow<'static, str>,
        /// What came.
        found: Cow<'static, str>,
    },
    /// Two things that belong together have different sizes.
    #[error("{argument}: expected {expected}, got {found}")]
    Shape {
        /// The argument as the caller knows it.
        argument: Cow<'static, str>,
        /// The size that was needed.
        expected: Cow<'static, str>,
        /// The size that came.
        found: Cow<'static, str>,
    },
    /// Stored bytes that are damaged, truncated or were never ours.
    #[error("{what} is damaged: {reason}")]
    Corrupt {
        /// What was being read.
        what: Cow<'static, str>,
        /// The first thing that is wrong with it.
        reason: Cow<'static, str>,
    },
    /// Stored bytes of a newer format than this version reads.
    #[error("{what} has format {found}, but this version reads up to {supported}: upgrade efl-core")]
    NewerFormat {
        /// What was being read.
        what: Cow<'static, str>,
        /// The format found.
        found: u32,
        /// The newest format that is understood.
        supported: u32,
    },
    /// The work would exceed a stated budget.
    #[error("{what}: {needed} needed, the limit is {limit}; {remedy}")]
    Limit {
        /// What is being counted.
        what: Cow<'static, str>,
        /// How many are needed.
        needed: u64,
        /// How many are allowed.
        limit: u64,
        /// What to change.
        remedy: Cow<'static, str>,
    },
    /// The operating system has no room for the result.
    #[error("not enough memory for {what}: {bytes} bytes; ask for less at a time")]
    Memory {
        /// What would be held.
        what: Cow<'static, str>,
        /// Bytes that it takes.
        bytes: u128,
    },
    /// The caller asked for the computation to stop.
    #[error("interrupted")]
    Interrupted,
}

/// The class of an [`Error`], which bindings map to an exception type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// See [`Error::Invalid`].
    Invalid,
    /// See [`Error::Shape`].
    Shape,
    /// See [`Error::Corrupt`].
    Corrupt,
    /// See [`Error::NewerFormat`].
    NewerFormat,
    /// See [`Error::Limit`] and [`Error::Memory`].
    Limit,
    /// See [`Error::Interrupted`].
    Interrupted,
}

type Text = Cow<'static, str>;

impl Error {
    /// A value outside what `argument` accepts.
    pub fn invalid(argument: impl Into<Text>, expected: impl Into<Text>, found: impl Into<Text>) -> Self {
        Error::Invalid { argument: argument.into(), expected: expected.into(), found: found.into() }
    }

    /// A size that does not fit.
    pub fn shape(argument: impl Into<Text>, expected: impl Into<Text>, found: impl Into<Text>) -> Self {
        Error::Shape { argument: argument.into(), expected: expected.into(), found: found.into() }
    }

    /// Damaged bytes.
    pub fn corrupt(what: impl Into<Text>, reason: impl Into<Text>) -> Self {
        Error::Corrupt { what: what.into(), reason: reason.into() }
    }

    /// The argument that is to blame, as the caller knows it; none where no single one is.
    pub fn argument(&self) -> Option<&str> {
        match self {
            Error::Invalid { argument, .. } | Error::Shape { argument, .. } => Some(argument),
            _ => None,
        }
    }

    /// This error with the name that a caller of the caller gave the argument; an error that blames no argument stays
    /// what it is.
    ///
    /// ```
    /// use efl_core::pauli::PauliWord;
    /// let error = PauliWord::from_label("XQ").unwrap_err().named("words[3]");
    /// assert_eq!(error.argument(), Some("words[3]"));
    /// assert!(error.to_string().starts_with("words[3]: expected "));
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl Into<Text>) -> Self {
        if let Error::Invalid { argument, .. } | Error::Shape { argument, .. } = &mut self {
            *argument = name.into();
        }
        self
    }

    /// The class of this error.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::Invalid { .. } => ErrorKind::Invalid,
            Error::Shape { .. } => ErrorKind::Shape,
            Error::Corrupt { .. } => ErrorKind::Corrupt,
            Error::NewerFormat { .. } => ErrorKind::NewerFormat,
            Error::Limit { .. } | Error::Memory { .. } => ErrorKind::Limit,
            Error::Interrupted => ErrorKind::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_argument_the_expectation_and_the_value() {
        let text = Error::invalid("shots", "a positive number", "0").to_string();
        assert_eq!(text, "shots: expected a positive number, got 0");
    }

    #[test]
    fn renaming_changes_the_argument_and_nothing_else() {
        for error in [Error::invalid("label", "letters", "7"), Error::shape("label", "2", "3")] {
            let named = error.clone().named("words[1]");
            assert_eq!((error.argument(), named.argument()), (Some("label"), Some("words[1]")));
            assert_eq!(named.kind(), error.kind());
            assert_eq!(named.to_string(), error.to_string().replace("label", "words[1]"));
        }
        let memory = Error::Memory { what: "terms".into(), bytes: 8 };
        for error in [Error::corrupt("tally", "short"), memory, Error::Interrupted] {
            assert_eq!(error.argument(), None);
            assert_eq!(error.clone().named("bits"), error);
        }
    }
}
