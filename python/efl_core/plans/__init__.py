"""What a gradient will cost: every way of measuring it, side by side, before a shot is taken.

`plan` looks at a circuit, designs each method for it, predicts the variance of every derivative, and says
which method needs the fewest shots. A `Plan` also says what to run: settings of the final state
(`Plan.ensemble`), or circuits with what their outcomes mean (`Plan.experiments`).

Derivatives are those by the parameters of a circuit; those of a QNode are by its arguments, through what
its parameters are computed by.

Predictions are for the maximally mixed state, the mean over all states: known without data and the same for
every method. A plan for a state (`Plan.at_state`) has those of the state, given or remembered.
`Plan.exact_error` is for the state that is prepared, by simulation.
"""

from efl_core.plans.copies import TwoCopyCost
from efl_core.plans.making import made_plan, plan
from efl_core.plans.options import Cost, PlanKeywords, PlanOptions
from efl_core.plans.plan import Plan
from efl_core.plans.rows import PlanRow, preferred
from efl_core.plans.runs import Simulated
from efl_core.plans.states import State

__all__ = [
    "Cost",
    "Plan",
    "PlanKeywords",
    "PlanOptions",
    "PlanRow",
    "Simulated",
    "State",
    "TwoCopyCost",
    "made_plan",
    "plan",
    "preferred",
]
