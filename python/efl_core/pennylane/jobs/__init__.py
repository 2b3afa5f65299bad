"""What is measured for a tape: its gradient, its values, and how outcomes become both."""

from efl_core.pennylane.jobs.gradient import GradientJob, gradient_job
from efl_core.pennylane.jobs.values import ValueJob, value_job

__all__ = ["GradientJob", "ValueJob", "gradient_job", "value_job"]
