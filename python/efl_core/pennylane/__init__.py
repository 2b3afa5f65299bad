"""PennyLane circuits, as efl_core sees them: the only part of the package that imports pennylane."""

from efl_core.errors import MissingExtraError

try:
    import pennylane as _pennylane  # noqa: F401
except ImportError as error:
    raise MissingExtraError(
        f'efl_core.pennylane needs pennylane ({error}): pip install "efl-core[pennylane]"'
    ) from error

from efl_core.pennylane.audits import Audit, AuditReport
from efl_core.pennylane.calibrating import calibrate
from efl_core.pennylane.noise import noise_model
from efl_core.pennylane.qnodes import plan_qnode
from efl_core.pennylane.rates import NoiseFit, learn_noise
from efl_core.pennylane.reports import Report
from efl_core.pennylane.tapes import from_qnode, from_tape, trainable
from efl_core.pennylane.transforms import echo_grad, shadow_grad
from efl_core.pennylane.two_copies import bell_snapshots
from efl_core.pennylane.uncertainty import gradient_with_errors

__all__ = [
    "Audit",
    "AuditReport",
    "NoiseFit",
    "Report",
    "bell_snapshots",
    "calibrate",
    "echo_grad",
    "from_qnode",
    "from_tape",
    "gradient_with_errors",
    "learn_noise",
    "noise_model",
    "plan_qnode",
    "shadow_grad",
    "trainable",
]
