"""Tapes become circuits, and circuits that are to run become operations."""

from efl_core.pennylane.tapes.conversion import from_qnode, from_tape, trainable

__all__ = ["from_qnode", "from_tape", "trainable"]
