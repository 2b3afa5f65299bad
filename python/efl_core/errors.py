"""The exceptions of efl_core: one tree, and each also is the built-in that a user would expect.

Every message names the argument, what was expected and what came. This module imports nothing: the
compiled module raises these classes by name.
"""

__all__ = [
    "CorruptDataError",
    "EflError",
    "InputTypeError",
    "InvalidInputError",
    "MissingExtraError",
    "NewerFormatError",
    "ResourceLimitError",
    "ShapeError",
]


class EflError(Exception):
    """Everything that efl_core raises on purpose."""

    argument: str | None = None
    """The argument that was refused, where the error is about one."""


class InvalidInputError(EflError, ValueError):
    """A value is outside what the argument accepts."""


class ShapeError(InvalidInputError):
    """Things that belong together have different sizes."""


class InputTypeError(EflError, TypeError):
    """An argument has a type that cannot be read, or only with loss."""


class CorruptDataError(EflError, ValueError):
    """Stored data are damaged, truncated or were never ours."""


class NewerFormatError(CorruptDataError):
    """Stored data were written by a newer version of efl_core."""


class ResourceLimitError(EflError, RuntimeError):
    """The work would exceed a stated budget."""


class MissingExtraError(EflError, ImportError):
    """An optional dependency is not installed; the message has the line that installs it."""
