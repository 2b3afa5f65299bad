"""How circuits in settings reach a device: from jobs to tapes, and from results back to bits."""

from efl_core.pennylane.execution.runs import Draw, Job, Outcome, Program, Question, Run
from efl_core.pennylane.execution.submission import (
    Mode,
    Submission,
    has_equal_shots,
    has_states,
    known_cost,
    submit,
)

__all__ = [
    "Draw",
    "Job",
    "Mode",
    "Outcome",
    "Program",
    "Question",
    "Run",
    "Submission",
    "has_equal_shots",
    "has_states",
    "known_cost",
    "submit",
]
