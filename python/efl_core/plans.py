"""What a gradient will cost: every way of measuring it, side by side, before a shot is taken.

`plan` looks at a circuit, designs each method for it, predicts the variance of every derivative, and says
which method needs the fewest shots. A `Plan` also says what to run: settings of the final state
(`Plan.ensemble`), or circuits with what their outcomes mean (`Plan.experiments`).

All predictions are for the maximally mixed state, the mean over all states: known without data and the same
for every method. `Plan.exact_error` is for the state that is prepared, by simulation.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, integer, real
from efl_core.circuits import Circuit, given_sums, simulate
from efl_core.circuits import circuit as circuit_of
from efl_core.designs import Connectivity, Goal, read_connectivity, read_goal
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.experiments import Experiment
from efl_core.observables import Observable, PauliSum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pennylane import QNode

__all__ = ["Plan", "PlanRow", "Simulated", "plan"]

_PASTE = '@qml.qnode(dev, diff_method=efl.shadow_grad, gradient_kwargs={{"shots": {shots}}})'
_CURRENCY = (
    "shots: runs of a circuit, all circuits together, until the RMS error of the derivatives is the target.",
    "worst: until the worst derivative has it. served: shots are of the state that answers are read from.",
)


@dataclass(frozen=True, slots=True, eq=False)
class PlanRow:
    """A method in a plan."""

    name: str
    """Which method."""
    shots: int | None
    """Shots for the target, all circuits together; a bound is at least that; None if it does not apply."""
    worst_shots: int | None
    """Shots until the worst derivative has the target error."""
    settings: int | None
    """Different settings, all circuits together; None if one is drawn for every shot."""
    circuits: int
    """Different circuits before the measurement."""
    extra_gates: int
    """Gates of the largest circuit beyond the original one, rotations of settings included."""
    extra_two_qubit_gates: int
    """Two-qubit gates among them."""
    extra_depth: int
    """Their depth."""
    served: bool
    """Whether all shots are of the final state, as those of served answers are."""
    bound: bool
    """Whether the figures are only bounds from below."""
    note: str | None
    """Why the method does not apply, or why there is only a bound."""
    cost: float
    """The variance of one shot, averaged over the derivatives that are not identically zero."""
    variances: NDArray[np.float64] | None
    """That of every derivative, shape ``(n_observables, n_parameters)``; 0 if it is not measured."""
    gain: float | None
    """How many times more shots the former design needs at these angles; None in a first plan."""

    @property
    def applies(self) -> bool:
        """Whether the method can be run."""
        return self.shots is not None and not self.bound


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A gradient from simulated shots."""

    gradient: NDArray[np.float64]
    """Estimated derivatives, shape ``(n_observables, n_parameters)``."""
    stderr: NDArray[np.float64]
    """Their standard errors."""
    shots: int
    """Shots used."""

    def __repr__(self) -> str:
        rms = float(np.sqrt(np.mean(np.square(self.stderr)))) if self.stderr.size else 0.0
        return f"Simulated({self.gradient.shape[-1]} parameters, rms stderr {rms:.2g}, shots={self.shots})"


class Plan:
    """What measuring a gradient costs, for every method. Made by `plan`.

    A plan is a mapping from names to rows: ``plan["echo"].shots``, ``for row in plan``.
    """

    __slots__ = ("_circuit", "_native", "_observables", "_pasted", "_rows", "_target")

    def __init__(
        self,
        native: _native.Plan,
        circuit: Circuit,
        observables: list[PauliSum],
        target: float,
        *,
        pasted: bool,
    ) -> None:
        self._native, self._circuit, self._observables = native, circuit, observables
        self._target, self._pasted = target, pasted
        self._rows = {row[0]: self._row(*row) for row in native.rows()}

    def _row(
        self,
        name: str,
        cost: float,
        worst: float,
        settings: int | None,
        circuits: int,
        extra: tuple[int, int, int],
        served: bool,
        bound: bool,
        note: str | None,
    ) -> PlanRow:
        found = self._native.variances(name)
        return PlanRow(
            name=name,
            shots=_shots(cost, self._target),
            worst_shots=_shots(worst, self._target),
            settings=settings,
            circuits=circuits,
            extra_gates=extra[0],
            extra_two_qubit_gates=extra[1],
            extra_depth=extra[2],
            served=served,
            bound=bound,
            note=note,
            cost=cost,
            variances=self._shaped(found) if len(found) or not self._shape[1] else None,
            gain=self._native.gain(name),
        )

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self._observables), self._circuit.n_parameters

    def _shaped(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        return found.reshape(self._shape)

    @property
    def circuit(self) -> Circuit:
        """The circuit, at the angles of the plan."""
        return self._circuit

    @property
    def observables(self) -> list[PauliSum]:
        """What the circuit answers with."""
        return list(self._observables)

    @property
    def target(self) -> float:
        """The RMS error that `PlanRow.shots` is for."""
        return self._target

    @property
    def methods(self) -> list[str]:
        """Names of the methods that can be run."""
        return [row.name for row in self if row.applies]

    @property
    def best(self) -> PlanRow:
        """The method with the fewest shots, for the goal of the plan; the simplest of those within 2 %."""
        return self._rows[self._native.best]

    @property
    def redesign_pays(self) -> bool:
        """Whether the former design of the best method needs over 10 % more shots than the present one."""
        gain = self.best.gain
        return gain is not None and gain > 1.1

    def gain(self, name: str | None = None) -> float | None:
        """Return how many times more shots the former design needs at these angles; None in a first plan."""
        return self._named(name).gain

    def __getitem__(self, name: str) -> PlanRow:
        if name not in self:
            raise InvalidInputError(f"name: expected one of {', '.join(self._rows)}, got {name!r:.40}")
        return self._rows[name]

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in list(self._rows)  # of a list, so that nothing has to be hashable

    def _named(self, name: str | None) -> PlanRow:
        return self.best if name is None else self[name]

    def _runnable(self, name: str | None) -> PlanRow:
        row = self._named(name)
        if not row.applies:
            raise InvalidInputError(
                f"name: expected a method that can be run ({', '.join(self.methods)}), "
                f"got {row.name}: {row.note}"
            )
        return row

    def at(
        self,
        parameters: ArrayLike,
        inputs: ArrayLike | None = None,
        *,
        methods: str | Iterable[str] | None = None,
    ) -> "Plan":
        """Plan for other parameters (and inputs): words and circuits are kept, and the search starts here.

        The designs of this plan stay unbiased at any angles; `gain` says how many times more shots they need.
        Planning only the `methods` that will be run is faster; the other rows then do not apply.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).rx(efl.Parameter(1), 1)
        >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ")
        >>> later = plan.at([0.5, 0.1])
        >>> later.best.gain >= 1, later.redesign_pays
        (True, False)
        >>> plan.at([0.5, 0.1], methods=["product", "echo"]).methods
        ['product', 'echo']
        """
        circuit = self._circuit.at(parameters, inputs)
        wanted = [methods] if isinstance(methods, str) else methods
        names = None if wanted is None else [self[name].name for name in wanted]
        native = self._native.at(circuit._theta, names)
        return Plan(native, circuit, self._observables, self._target, pasted=self._pasted)

    def retarget(self, target: float) -> "Plan":
        """Return the same plan with shots for another target."""
        return Plan(self._native, self._circuit, self._observables, _read_target(target), pasted=self._pasted)

    def ensemble(self, name: str | None = None) -> Ensemble:
        """Return the settings to measure the final state in, of a method that does no more than that."""
        return self._native.ensemble(self._runnable(name).name)

    def experiments(self, name: str | None = None) -> list[tuple[Experiment, float]]:
        """Return the circuits of a method, each with its share of the shots.

        Methods that draw a setting for every shot have none: sample their `ensemble`.
        """
        found = self._native.experiments(self._runnable(name).name)
        return [(Experiment(native, self._circuit), share) for native, share in found]

    def allocate(
        self, shots: SupportsIndex, name: str | None = None, *, seed: SupportsIndex = 0
    ) -> list[tuple[Experiment, int]]:
        """Return the circuits of a method with whole numbers of shots, at least one each; without bias.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> plan = efl.plan(circuit, "Z")
        >>> [(experiment.setting, shots) for experiment, shots in plan.allocate(1000, "product")]
        [(Setting('X'), 1000)]
        """
        count, key = integer("shots", shots, 1), integer("seed", seed, 0, 2**64 - 1)
        found = self._native.allocate(self._runnable(name).name, count, key)
        return [(Experiment(native, self._circuit), number) for native, number in found]

    def predicted_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative on average over all states."""
        variances = self._runnable(name).variances
        assert variances is not None  # of a method that can be run
        return np.sqrt(variances / integer("shots", shots, 1))

    def exact_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative on the state that is prepared, by simulation."""
        row, count = self._runnable(name), integer("shots", shots, 1)
        if row.settings is not None:
            return np.sqrt(self._shaped(self._native.exact(row.name)) / count)
        found = _native.predicted_variances(
            self._native.ensemble(row.name), self._native.observables, simulate(self._circuit)
        )
        return np.sqrt(self._shaped(found) / count)

    def simulate(
        self, shots: SupportsIndex, name: str | None = None, *, seed: SupportsIndex = 0
    ) -> Simulated:
        """Run a method on the simulated state.

        The same seed gives the same gradient with any number of threads.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> found = efl.plan(circuit, "Z").simulate(10_000, seed=1)
        >>> bool(abs(found.gradient[0, 0] + np.sin(0.3)) < 5 * found.stderr[0, 0])
        True
        """
        row, count = self._runnable(name), integer("shots", shots, 1)
        key = integer("seed", seed, 0, 2**64 - 1)
        if row.settings is not None:
            slopes, stderr = self._native.simulate(row.name, count, key)
        else:
            ensemble = self._native.ensemble(row.name)
            snaps = _native.sample(simulate(self._circuit), ensemble, count, None, key)
            value, deviation, _, _ = _native.estimate_gradient(snaps, self._native.observables, "mean", 1)
            first = len(self._observables)
            slopes, stderr = value[first:], deviation[first:]
        return Simulated(self._shaped(slopes), self._shaped(stderr), count)

    def curves(self, shots: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the RMS error after so many shots of each method: at least that, for a bound."""
        counts = array("shots", shots, "numbers of shots")
        if counts.dtype.kind == "c" or not (counts > 0).all():
            raise InvalidInputError("shots: expected numbers above zero")
        return {row.name: np.sqrt(row.cost / counts) for row in self if row.shots is not None}

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the RMS error against shots, a line for each method and the target; needs matplotlib."""
        from efl_core.plots import plot_plan

        return plot_plan(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the variances of single derivatives, ready for JSON."""
        fields = [name for name in PlanRow.__slots__ if name != "variances"]
        rows = [{name: getattr(row, name) for name in fields} for row in self]
        for row in rows:
            row["cost"] = row["cost"] if math.isfinite(row["cost"]) else None
        return {
            "target": self._target,
            "n_qubits": self._circuit.n_qubits,
            "n_observables": len(self._observables),
            "n_parameters": self._circuit.n_parameters,
            "best": self.best.name,
            "rows": rows,
        }

    def _head(self) -> str:
        observables = _counted(len(self._observables), "observable")
        parameters = _counted(self._circuit.n_parameters, "parameter")
        qubits = _counted(self._circuit.n_qubits, "qubit")
        return (
            f"The gradient of {observables} by {parameters} on {qubits}, to an RMS error of {self._target:g}"
        )

    def _tail(self) -> list[str]:
        lines = [f"not here: {row.name} ({row.note})" for row in self if row.shots is None]
        lines += [f"{row.name}: {row.note}" for row in self if row.shots is not None and row.note]
        best = self.best
        if best.shots == 0:
            lines.append("Every derivative is identically zero: nothing has to be measured.")
        elif best.gain is not None and self.redesign_pays:
            lines.append(
                f"The former design of {best.name} needs {best.gain:.2g} times as many shots: take this one."
            )
        if self._pasted and best.shots:
            lines.append(_PASTE.format(shots=best.shots))
        return lines

    def _table(self) -> list[tuple[str, ...]]:
        listed = sorted((row for row in self if row.shots is not None), key=lambda row: (row.bound, row.cost))
        return [
            ("", "method", "shots", "worst", "settings", "circuits", "2-qubit gates added", "served"),
            *(
                (
                    "*" if row.name == self.best.name else "",
                    row.name,
                    (">= " if row.bound else "") + _spelled(row.shots),
                    "" if row.bound else _spelled(row.worst_shots),
                    "drawn" if row.settings is None else str(row.settings),
                    str(row.circuits),
                    "" if row.bound else str(row.extra_two_qubit_gates),
                    "yes" if row.served else "no",
                )
                for row in listed
            ),
        ]

    def __str__(self) -> str:
        table = self._table()
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(line, widths, strict=True))
            )
            for line in table
        ]
        return "\n".join(
            [self._head(), "", *(line.rstrip() for line in lines), "", *_CURRENCY, *self._tail()]
        )

    def _repr_html_(self) -> str:
        head, *rows = self._table()
        cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        notes = "<br>".join(escape(line) for line in [*_CURRENCY, *self._tail()])
        return (
            f"<p>{escape(self._head())}</p><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"
            f"<p><small>{notes}</small></p>"
        )

    def __repr__(self) -> str:
        best = self.best
        return (
            f"Plan({self._circuit.n_qubits} qubits, {self._circuit.n_parameters} parameters, "
            f"best={best.name!r}, shots={best.shots}, target={self._target:g})"
        )

    def __reduce__(self) -> NoReturn:
        raise InputTypeError("a Plan is not pickled: send its circuit and plan there, or send to_dict()")


def _shots(cost: float, target: float) -> int | None:
    if not math.isfinite(cost):
        return None
    return math.ceil(cost / target**2 * (1 - 1e-12))  # a whole number stays one after rounding


def _spelled(shots: int | None) -> str:
    return "" if shots is None else f"{shots:,}" if shots < 10**12 else f"{shots:.3g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _read_target(target: float) -> float:
    found = real("target", target)
    if not (math.isfinite(found) and found > 0):
        raise InvalidInputError(f"target: expected a number above zero, got {found}")
    return found


@overload
def plan(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    target: float = 0.01,
    goal: Goal = "mean",
    value_weight: float = 0.0,
    connectivity: Connectivity = "all",
    effort: SupportsIndex | None = None,
    max_terms: SupportsIndex | None = None,
    max_settings: SupportsIndex | None = None,
) -> Plan: ...
@overload
def plan(
    circuit: "QNode",
    observables: Observable | Iterable[Observable] | None = None,
    *,
    target: float = 0.01,
    goal: Goal = "mean",
    value_weight: float = 0.0,
    connectivity: Connectivity = "all",
    effort: SupportsIndex | None = None,
    max_terms: SupportsIndex | None = None,
    max_settings: SupportsIndex | None = None,
) -> Callable[..., Plan]: ...
def plan(
    circuit: "Circuit | QNode",
    observables: Observable | Iterable[Observable] | None = None,
    *,
    target: float = 0.01,
    goal: Goal = "mean",
    value_weight: float = 0.0,
    connectivity: Connectivity = "all",
    effort: SupportsIndex | None = None,
    max_terms: SupportsIndex | None = None,
    max_settings: SupportsIndex | None = None,
) -> Plan | Callable[..., Plan]:
    """Compare the ways of measuring the gradient of a circuit, and design each for it.

    Parameters
    ----------
    circuit
        The circuit at its current parameters; or a PennyLane QNode, and then the result is a function of the
        QNode's arguments that returns the plan.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    target
        The RMS error over the derivatives that are not identically zero.
    goal
        What designs make small: the ``"mean"`` of the variances, the largest (``"max"``), or a mean with the
        weights of an array of shape ``(n_observables, n_parameters)``; an upstream gradient is squared by the
        caller. A derivative of weight 0 is not measured.
    value_weight
        Weight of the values of the observables in designs on the final state, beside one for all derivatives.
    connectivity
        Two-qubit gates that settings may use: between ``"all"`` pairs, neighbours on a ``"line"``, or
        ``"none"``.
    effort
        Bound on each search for settings, in words visited; the default takes about a second.
    max_terms
        Derivatives with more words are left to echoes and shifts; the methods that then are not complete have
        bounds.
    max_settings
        Most circuits and settings of a method, where each costs a compilation: designs are thinned to it, and
        methods that need more do not apply.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ", target=0.02)
    >>> plan
    Plan(2 qubits, 2 parameters, best='biased', shots=2500, target=0.02)
    >>> plan["uniform"].shots
    7500
    """
    if not isinstance(circuit, Circuit):
        if not callable(circuit):
            raise InputTypeError(
                f"circuit: expected a Circuit or a PennyLane QNode, got {type(circuit).__name__}"
            )
        converted = circuit_of(circuit)
    sums, _ = ([], False) if not isinstance(circuit, Circuit) else given_sums(circuit, observables)
    error = _read_target(target)
    read_connectivity(connectivity)
    weight = real("value_weight", value_weight)
    work = None if effort is None else integer("effort", effort, 1)
    terms = None if max_terms is None else integer("max_terms", max_terms, 1)
    settings = None if max_settings is None else integer("max_settings", max_settings, 1)

    def made(circuit: Circuit, sums: list[PauliSum], *, pasted: bool) -> Plan:
        circuit = circuit.copy()  # gates may be added later
        native = _native.Plan(
            circuit._native,
            circuit._theta,
            sums,
            circuit.bloch,
            *read_goal(goal, (len(sums), circuit.n_parameters)),
            weight,
            connectivity,
            work,
            terms,
            settings,
        )
        return Plan(native, circuit, sums, error, pasted=pasted)

    if isinstance(circuit, Circuit):
        return made(circuit, sums, pasted=False)

    def planned(*args: object, **kwargs: object) -> Plan:
        found = converted(*args, **kwargs)
        return made(found, given_sums(found, observables)[0], pasted=True)

    return planned
