"""Circuits and primitives of Qiskit, as efl_core sees them: the only part of it that imports qiskit."""

from efl_core.errors import MissingExtraError

try:
    import qiskit as _qiskit  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        f'efl_core.qiskit needs qiskit ({error}): pip install "efl-core[qiskit]"'
    ) from error

from efl_core.qiskit.circuits import from_circuit
from efl_core.qiskit.gradients import GradientJob, GradientResult, ShadowEstimatorGradient
from efl_core.qiskit.observables import pauli_sum

__all__ = ["GradientJob", "GradientResult", "ShadowEstimatorGradient", "from_circuit", "pauli_sum"]
