"""The exceptions of efl_core: one tree, and each also is the built-in that a user would expect.

Every message names the argument, what was expected and what came; `EflError.argument` is that name, so that
no code has to read a message. This module imports nothing of the package: the compiled module raises these
classes by name.
"""

from typing import Self

__all__ = [
    "BiasError",
    "CorruptDataError",
    "EflError",
    "InputTypeError",
    "InvalidInputError",
    "JournalError",
    "LearnerAwayError",
    "MissingExtraError",
    "NewerFormatError",
    "ResourceLimitError",
    "ShapeError",
]


class EflError(Exception):
    """Everything that efl_core raises on purpose."""

    argument: str | None = None
    """The argument that the message begins with, and the place in it; None where none is to blame."""

    @classmethod
    def of(cls, argument: str, expected: object, got: object) -> Self:
        """Make the error about an argument: what was expected of it, and what came."""
        error = cls(f"{argument}: expected {expected}, got {got}")
        error.argument = argument
        return error


class InvalidInputError(EflError, ValueError):
    """A value is outside what the argument accepts."""


class ShapeError(InvalidInputError):
    """Things that belong together have different sizes."""


class InputTypeError(EflError, TypeError):
    """An argument has a type that cannot be read, or only with loss."""


class BiasError(EflError, RuntimeError):
    """What was measured is not what was to be measured, as an audit has found."""


class CorruptDataError(EflError, ValueError):
    """Stored data are damaged, truncated or were never ours."""


class NewerFormatError(CorruptDataError):
    """Stored data were written by a newer version of efl_core."""


class ResourceLimitError(EflError, RuntimeError):
    """The work would exceed a stated budget."""


class LearnerAwayError(EflError, ConnectionError):
    """The learner of a fleet cannot be reached, or takes nothing at the moment: try again later."""


class MissingExtraError(EflError, ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""


class JournalError(EflError, OSError):
    """A journal cannot be opened or written; nothing is acknowledged until the learner is started again."""
