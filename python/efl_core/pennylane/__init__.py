"""PennyLane circuits, as efl_core sees them: the only part of the package that imports pennylane."""

from efl_core.errors import MissingExtraError

try:
    import pennylane as _pennylane  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        f'efl_core.pennylane needs pennylane ({error}): pip install "efl-core[pennylane]"'
    ) from error

from efl_core.pennylane.conversion import from_qnode, from_tape, trainable

__all__ = ["from_qnode", "from_tape", "trainable"]
