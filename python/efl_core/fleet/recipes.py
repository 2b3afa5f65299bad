"""The circuits of experiments as data, for workers that have no plan: each angle follows one number.

An experiment is made of the structure of a circuit alone, and every rotation of it turns by a constant, or by
a constant and a multiple of one parameter or input. Three sets of numbers tell which: zeros, ones, and 1, 2,
3 ... Those are all that is asked of the experiment.

Invariant: the gates are those of the experiment at all angles, to the last digit but one.
Cost: three lists of gates for each circuit, once for each version.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.circuits import Circuit
from efl_core.errors import CorruptDataError
from efl_core.experiments import Experiment

__all__ = ["Recipe", "Spelt", "recipe_of", "spelt"]

Gate = tuple[Any, ...]
"""``("rotation", [(qubit, letter), ...], (offset, scale, index))``, ``("clifford", name, wires)``,
``("unitary", matrix, wires)`` or ``("channel", matrices, wires)``.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Spelt:
    """The gates of a recipe at the angles of a circuit."""

    circuit: Circuit
    recipe: "Recipe"

    def gates(self) -> list[Gate]:
        """Return the gates, as `Experiment.gates` does."""
        theta = self.circuit._theta
        found: list[Gate] = []
        for kind, what, more in self.recipe.rules:
            if kind == "rotation":
                offset, scale, index = more
                found.append((kind, what, scale * float(theta[index]) + offset if scale else offset))
            else:
                found.append((kind, what, more))
        return found

    def made(self) -> Circuit:
        """Return the circuit that it is."""
        made = Circuit(self.circuit.n_qubits).prepare(self.circuit.bloch)
        for kind, what, more in self.gates():
            if kind == "rotation":
                made.rotation(dict(what), more)
            elif kind == "clifford":
                made.clifford(what, *more)
            elif kind == "channel":
                made.channel(what, *more)
            else:
                made.unitary(what, *more)
        return made


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """A circuit of an experiment, at all angles."""

    rules: tuple[Gate, ...]

    @property
    def served(self) -> bool:
        """Whether it is the circuit that is served: never, or no recipe would be needed."""
        return False

    def at(self, circuit: Circuit) -> Spelt:
        """Return it at the angles of a circuit."""
        return Spelt(circuit, self)

    def to_list(self) -> list[list[Any]]:
        """Return the gates as lists of text and numbers."""
        write: dict[str, Callable[[Any], Any]] = {
            "rotation": lambda letters: [list(one) for one in letters],
            "clifford": str,
            "unitary": _numbers,
            "channel": lambda kraus: list(map(_numbers, kraus)),
        }
        return [[kind, write[kind](what), list(more)] for kind, what, more in self.rules]

    @staticmethod
    def of_list(gates: Sequence[Sequence[Any]], n_qubits: int, n_angles: int) -> "Recipe":
        """Read what `to_list` wrote; anything else is refused."""
        return Recipe(tuple(_rule(gate, n_qubits, n_angles) for gate in gates))


def spelt(experiments: Sequence[Experiment]) -> tuple[list[Recipe], list[int]]:
    """Return the different circuits of some experiments, and which of them each one runs."""
    recipes: list[Recipe] = []
    places: dict[str, int] = {}
    found = []
    for experiment in experiments:
        name = repr(experiment._native.gates(_ramp(experiment)))
        if name not in places:
            places[name] = len(recipes)
            recipes.append(recipe_of(experiment))
        found.append(places[name])
    return recipes, found


def recipe_of(experiment: Experiment) -> Recipe:
    """Return the circuit of an experiment as data."""
    native, ramp = experiment._native, _ramp(experiment)
    at_zero, at_one, at_ramp = (native.gates(theta) for theta in (0 * ramp, 0 * ramp + 1, ramp))
    rules: list[Gate] = []
    for (kind, what, offset), (_, _, one), (_, _, own) in zip(at_zero, at_one, at_ramp, strict=True):
        if kind != "rotation":
            rules.append((kind, what, offset))
            continue
        scale = one - offset
        index = round((own - offset) / scale) - 1 if scale else 0
        rules.append((kind, what, (offset, scale, index)))
    return Recipe(tuple(rules))


def _ramp(experiment: Experiment) -> NDArray[np.float64]:
    return np.arange(1.0, 1.0 + len(experiment.circuit._theta))


def _numbers(matrix: NDArray[np.complex128]) -> list[list[list[float]]]:
    return [[[float(value.real), float(value.imag)] for value in row] for row in matrix]


def _matrix(numbers: Any) -> NDArray[np.complex128]:  # noqa: ANN401 (of a text from outside)
    found: NDArray[np.complex128] = np.array(numbers, dtype=np.float64) @ np.array([1, 1j])
    return found


def _rule(gate: Sequence[Any], n_qubits: int, n_angles: int) -> Gate:
    try:
        kind, what, more = gate
        if kind == "rotation":
            letters = [(_within(qubit, n_qubits), str(letter)) for qubit, letter in what]
            offset, scale, index = more
            return kind, letters, (float(offset), float(scale), _within(index, max(1, n_angles)))
        wires = [_within(wire, n_qubits) for wire in more]
        if kind == "clifford":
            return kind, str(what), wires
        if kind == "unitary":
            return kind, _matrix(what), wires
        if kind == "channel":
            return kind, [_matrix(own) for own in what], wires
    except (TypeError, ValueError):
        pass
    raise CorruptDataError.of("version", "gates of experiments", f"{gate!r:.60}")


def _within(value: Any, below: int) -> int:  # noqa: ANN401 (of a text from outside)
    if not isinstance(value, int) or not 0 <= value < below:
        raise ValueError
    return value
