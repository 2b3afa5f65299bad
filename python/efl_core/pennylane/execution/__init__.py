"""How circuits in settings reach a device: from jobs to tapes, and from results back to bits."""

from efl_core.pennylane.execution.runs import Draw, Job, Outcome, Program, Run
from efl_core.pennylane.execution.submission import Mode, Submission, has_equal_shots, known_cost, submit

__all__ = [
    "Draw",
    "Job",
    "Mode",
    "Outcome",
    "Program",
    "Run",
    "Submission",
    "has_equal_shots",
    "known_cost",
    "submit",
]
