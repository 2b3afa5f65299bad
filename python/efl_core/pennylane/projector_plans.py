"""Plans of gradients of projectors that are too wide for words.

Invariant: with the shots of a row, the RMS error of the derivatives that are not identically zero is at most
the target (of a bound), or the target (at the state).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import array, described, integer
from efl_core.circuits import Circuit
from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.compared import Compared
from efl_core.pennylane.jobs.mixed import Shares
from efl_core.pennylane.tapes.projectors import WideProjector
from efl_core.plans import Cost, Plan, PlanRow, preferred
from efl_core.plans.table import as_dict, as_html, as_text, pasted

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["ProjectorPlan"]


@dataclass(frozen=True, eq=False)
class ProjectorPlan:
    """What measuring the gradient of wide projectors costs, for random bases and for parameter-shift.

    It is read as a `Plan` is: a mapping from names to rows, printed alike, with `best`, `methods`, `time`,
    `predicted_error`, `curves`, `plot`, `retarget` and `to_dict`. It is made for one circuit at its angles:
    another one is planned anew. Beside other measurements ``words`` is the plan of those, and ``shots`` what
    both take together.
    """

    compared: Compared
    cost: Cost | None = None
    """What circuits and shots take, if the best method is the one that takes the least time."""
    words: Plan | None = None
    """The plan of the other measurements of the tape."""
    shares: Shares | None = None
    """What both cost beside each other."""
    redesign_pays: bool = False
    """Nothing is designed."""

    @property
    def least_copies(self) -> int | None:
        """None: two copies reveal squares of words, of which a wide projector has too many."""
        return None

    @property
    def of_qnode(self) -> bool:
        """Whether a QNode can take the shots of the best method as they are."""
        return self.words is None

    @property
    def circuit(self) -> Circuit:
        """The circuit, at the angles of the plan."""
        return self.compared.whole.circuit

    @property
    def observables(self) -> list[tuple[WideProjector, ...]]:
        """The projectors that each result is made of."""
        return list(self.compared.whole.sums)

    @property
    def target(self) -> float:
        """The RMS error that `PlanRow.shots` is for."""
        return self.compared.target

    @property
    def state(self) -> str | None:
        """``"prepared"`` where figures are those of the circuit's state; None where they are bounds."""
        return "prepared" if self.compared.at_state else None

    @property
    def n_derivatives(self) -> int:
        """What every projector is differentiated by."""
        return int(self.compared.weights.shape[1])

    @property
    def slopes(self) -> NDArray[np.float64] | None:
        """The slopes of the circuit's parameters by the QNode's arguments; None where they are the same."""
        return None if self.compared.slopes is None else self.compared.weights

    @property
    def best(self) -> PlanRow:
        """The method that `efl.shadow_grad` runs; with a ``cost=`` the one that takes the least time."""
        return preferred(self, self.time if self.cost is not None else lambda row: row.cost)

    @property
    def shots(self) -> int | None:
        """Shots for the target of all derivatives, those of ``words`` included, by the best methods."""
        return self.best.shots if self.shares is None else self.shares.needed(self.target)

    @property
    def methods(self) -> list[str]:
        """Names of the methods that can be run."""
        return [row.name for row in self if row.applies]

    def time(self, row: PlanRow) -> float:
        """Return how long a method takes to reach the target, as `Plan.time` does."""
        shots = float("inf") if row.shots is None else max(row.shots, row.settings or 0)
        cost = Cost() if self.cost is None else self.cost
        circuits = shots if row.settings is None else row.settings
        return cost.of(circuits, shots) if cost.circuit else cost.shot * shots

    def at_state(self, state: object) -> "ProjectorPlan":
        """Return the same plan at the state that the circuit prepares, ``"prepared"``."""
        if not (isinstance(state, str) and state == "prepared") or self.compared.whole.is_noisy:
            raise InvalidInputError.of("state", '"prepared", without noise, for projectors', described(state))
        made = replace(self, compared=replace(self.compared, at_state=True))
        if self.words is None or self.shares is None:
            return made
        words, shares = self.words.at_state(state), self.shares
        costs = words.best.cost * shares.n_words, made.best.cost * shares.n_projectors
        return replace(made, words=words, shares=replace(shares, words=costs[0], projectors=costs[1]))

    def retarget(self, target: float) -> "ProjectorPlan":
        """Return the same plan with shots for another target."""
        words = None if self.words is None else self.words.retarget(target)
        return replace(self, compared=replace(self.compared, target=target), words=words)

    def predicted_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative: at the plan's state, or at most."""
        row = self.best if name is None else self[name]
        if row.variances is None:
            expected = f"a method that can be run ({', '.join(self.methods)})"
            raise InvalidInputError.of("name", expected, f"{row.name}: {row.note}")
        return np.sqrt(row.variances / integer("shots", shots, 1))

    def curves(self, shots: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the RMS error of each method with these numbers of shots."""
        counts = array("shots", shots, "numbers of shots")
        if counts.dtype.kind == "c" or not (counts > 0).all():
            raise InvalidInputError("shots: expected numbers above zero")
        return {row.name: np.sqrt(row.cost / counts) for row in self if row.shots is not None}

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the RMS error against shots, a line for each method and the target; needs matplotlib."""
        from efl_core.plots import plot_plan

        return plot_plan(self, ax)

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self.compared.rows)

    def __len__(self) -> int:
        return len(self.compared.rows)

    def __contains__(self, name: object) -> bool:
        return name in [row.name for row in self]

    def __getitem__(self, name: str) -> PlanRow:
        for row in self:
            if row.name == name:
                return row
        raise InvalidInputError.of("name", f"one of {', '.join(row.name for row in self)}", described(name))

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the variances of single derivatives, ready for JSON."""
        found = as_dict(self)
        return found if self.words is None else {**found, "shots": self.shots, "words": self.words.to_dict()}

    def __str__(self) -> str:
        if self.words is None:
            return as_text(self)
        return "\n\n".join([as_text(self), str(self.words), self._together])

    def _repr_html_(self) -> str:
        if self.words is None:
            return as_html(self)
        return f"{as_html(self)}{self.words._repr_html_()}<p><small>{escape(self._together)}</small></p>"

    @property
    def _together(self) -> str:
        assert self.shares is not None  # beside words
        assert self.shots is not None
        part = round(100 * (1 - self.shares.of_words))
        found = f"Together: {self.shots:,} shots, {part} % of them for the projectors."
        return found if self.state is not None else f"{found}\n{pasted(self.shots)}"

    def __repr__(self) -> str:
        return (
            f"ProjectorPlan({self.circuit.n_qubits} qubits, {self.n_derivatives} parameters, "
            f"best={self.best.name!r}, shots={self.shots}, target={self.target:g})"
        )
