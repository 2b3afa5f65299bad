"""Classical shadows designed for gradients: from measured snapshots to estimates with error bars.

>>> import efl_core as efl
>>> snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=100_000, seed=7)
>>> efl.estimate(snaps, {"XX": 0.5, "ZZ": 0.5})
Estimate(1.00386 +- 0.0059, shots=100000)

Importing this module imports numpy and nothing else. Optional dependencies are imported by the function
that needs them: `efl_core.storage` needs pyarrow, `Plan.plot` matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from efl_core._native import VERSION as __version__
from efl_core._native import num_threads, set_num_threads
from efl_core.calibrations import BasisCalibration, Calibration, Contrast
from efl_core.circuits import Circuit, Parameter, circuit, simulate
from efl_core.collective import EntangledFleet
from efl_core.designs import design
from efl_core.diagnoses import Diagnosis, diagnose
from efl_core.ensembles import Ensemble, Setting, StabiliserState
from efl_core.errors import (
    BiasError,
    CorruptDataError,
    EflError,
    InputTypeError,
    InvalidInputError,
    JournalError,
    LearnerAwayError,
    MissingExtraError,
    NewerFormatError,
    ResourceLimitError,
    ShapeError,
)
from efl_core.estimates import Estimate, Gradient, Tally, estimate, gradient, tally
from efl_core.experiments import Experiment
from efl_core.gradients import GradientObservables, gradient_observables
from efl_core.hardware import HARDWARE, Coherence, Hardware, coherence
from efl_core.kernels import alignment_gradient, kernel_alignment, projected_kernel
from efl_core.memory import Memory
from efl_core.noise import Noise
from efl_core.observables import PauliSum, PauliWord
from efl_core.parts import entropy, purity, reduced_density_matrix, shadow_kernel, state_overlap
from efl_core.plans import Cost, Plan, PlanRow, Simulated, TwoCopyCost, plan
from efl_core.pointers import CollectivePointer
from efl_core.propagation import Dropped, Propagation, Truncation, propagate
from efl_core.snapshots import Snapshots, sample
from efl_core.text_files import load_parts, load_snapshots, load_words
from efl_core.training import Budget, History, Trainer
from efl_core.two_copies import bell_setting, two_copies, word_squares
from efl_core.two_copy_gradients import TwoCopyGradient, two_copy_gradient
from efl_core.whole_state import fidelity, fidelity_gradient, low_rank

if TYPE_CHECKING:
    from efl_core import fleet
    from efl_core.cli.versions import show_versions
    from efl_core.fleet import Fleet
    from efl_core.pennylane import (
        Audit,
        bell_snapshots,
        calibrate,
        echo_grad,
        gradient_with_errors,
        learn_noise,
        shadow_grad,
    )

__all__ = [
    "HARDWARE",
    "Audit",
    "BasisCalibration",
    "BiasError",
    "Budget",
    "Calibration",
    "Circuit",
    "Coherence",
    "CollectivePointer",
    "Contrast",
    "CorruptDataError",
    "Cost",
    "Diagnosis",
    "Dropped",
    "EflError",
    "Ensemble",
    "EntangledFleet",
    "Estimate",
    "Experiment",
    "Fleet",
    "Gradient",
    "GradientObservables",
    "Hardware",
    "History",
    "InputTypeError",
    "InvalidInputError",
    "JournalError",
    "LearnerAwayError",
    "Memory",
    "MissingExtraError",
    "NewerFormatError",
    "Noise",
    "Parameter",
    "PauliSum",
    "PauliWord",
    "Plan",
    "PlanRow",
    "Propagation",
    "ResourceLimitError",
    "Setting",
    "ShapeError",
    "Simulated",
    "Snapshots",
    "StabiliserState",
    "Tally",
    "Trainer",
    "Truncation",
    "TwoCopyCost",
    "TwoCopyGradient",
    "__version__",
    "alignment_gradient",
    "bell_setting",
    "bell_snapshots",
    "calibrate",
    "circuit",
    "coherence",
    "design",
    "diagnose",
    "echo_grad",
    "entropy",
    "estimate",
    "fidelity",
    "fidelity_gradient",
    "fleet",
    "gradient",
    "gradient_observables",
    "gradient_with_errors",
    "kernel_alignment",
    "learn_noise",
    "load_parts",
    "load_snapshots",
    "load_words",
    "low_rank",
    "num_threads",
    "plan",
    "projected_kernel",
    "propagate",
    "purity",
    "reduced_density_matrix",
    "sample",
    "set_num_threads",
    "shadow_grad",
    "shadow_kernel",
    "show_versions",
    "simulate",
    "state_overlap",
    "tally",
    "two_copies",
    "two_copy_gradient",
    "word_squares",
]

_LATER = {
    "Audit": "efl_core.pennylane",
    "Fleet": "efl_core.fleet",
    "bell_snapshots": "efl_core.pennylane",
    "calibrate": "efl_core.pennylane",
    "echo_grad": "efl_core.pennylane",
    "gradient_with_errors": "efl_core.pennylane",
    "learn_noise": "efl_core.pennylane",
    "shadow_grad": "efl_core.pennylane",
    "show_versions": "efl_core.cli.versions",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (what those modules have)
    """Import what needs PennyLane, the fleet, or the command line, when it is asked for."""
    if name == "fleet":
        return import_module("efl_core.fleet")
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
