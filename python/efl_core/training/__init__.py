"""Training: gradients from as few shots and circuits as a step needs, until a goal or a budget is reached.

`Trainer` is the loop; `sources` are the ways to a gradient, `optimizers` what is done with it, `history` what
came of it. Nothing here knows of PennyLane: a trainer of a QNode has its source from `efl_core.pennylane`.
"""

from efl_core.training.directions import Directions, natural_length
from efl_core.training.history import History, Step
from efl_core.training.optimizers import Adam, Descent, Optimizer
from efl_core.training.pace import Budget
from efl_core.training.points import Points
from efl_core.training.sources import Designed, Measured, Request, Source
from efl_core.training.surface import Surface
from efl_core.training.trainer import Trainer

__all__ = [
    "Adam",
    "Budget",
    "Descent",
    "Designed",
    "Directions",
    "History",
    "Measured",
    "Optimizer",
    "Points",
    "Request",
    "Source",
    "Step",
    "Surface",
    "Trainer",
    "natural_length",
]
