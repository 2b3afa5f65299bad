"""What is run and read for some of a gradient: a circuit, its final setting, and what outcomes mean.

Every method has this form. A derivative is the sum of the expectation values that the experiments of the
method read for it.
"""

from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import byte_table, integer
from efl_core.circuits import Circuit
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError, ShapeError
from efl_core.observables import PauliSum

__all__ = ["Experiment"]


class Experiment:
    """A circuit to run, how to measure it, and what its outcomes say. Made by `Plan.experiments`.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    >>> [(experiment, share)] = efl.plan(circuit, "Z").experiments("product")
    >>> experiment.gates(), experiment.setting
    ([('rotation', [(0, 'Y')], 0.3)], Setting('X'))
    >>> experiment.derivatives, experiment.reading(0)
    ([(0, 0)], PauliSum('-1*X'))
    >>> experiment.read([[0], [0], [1], [0]])
    (array([-0.5]), array([1.]))
    """

    __slots__ = ("_circuit", "_native")

    def __init__(self, native: _native.Experiment, circuit: Circuit) -> None:
        self._native, self._circuit = native, circuit

    @property
    def circuit(self) -> Circuit:
        """The circuit whose gradient is measured, at the angles of the plan; what is run is in `gates`."""
        return self._circuit

    def at(self, circuit: Circuit) -> "Experiment":
        """Return it at the angles of a circuit with the same gates: nothing but angles depends on those."""
        return Experiment(self._native, circuit)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._native.n_qubits

    @property
    def setting(self) -> Setting:
        """How the final state is measured."""
        return self._native.setting

    @property
    def served(self) -> bool:
        """Whether it runs the original circuit, as served answers do."""
        return self._native.served

    @property
    def derivatives(self) -> list[tuple[int, int]]:
        """What it contributes to: (observable, parameter) of each derivative."""
        count = self._circuit.n_parameters
        return [(row // count, row % count) for row in self._native.rows]

    def reading(self, index: SupportsIndex) -> PauliSum:
        """Return the sum that is read for one of `derivatives`, by its place there."""
        return self._native.reading(integer("index", index, 0, len(self._native.rows) - 1))

    @property
    def n_gates(self) -> int:
        """Number of gates, those of the setting included."""
        return self._native.cost[0]

    @property
    def two_qubit_gates(self) -> int:
        """Two-qubit gates, those of the setting included; a rotation of weight w counts 2 (w - 1)."""
        return self._native.cost[1]

    @property
    def depth(self) -> int:
        """Longest sequence of gates, those of the setting included."""
        return self._native.cost[2]

    def gates(self) -> list[tuple[Any, ...]]:
        """Return the gates of the circuit at the angles of the plan, without those of the setting.

        ``("rotation", [(qubit, letter), ...], angle)``, ``("clifford", name, wires)``,
        ``("unitary", matrix, wires)`` or ``("channel", kraus, wires)``. They act on the input state of the
        original circuit. What the device does by itself (`Circuit.noise`) is left out.
        """
        return self._native.gates(self._circuit._theta)

    def read(self, bits: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the mean, and the variance of one shot, of what is read for each of `derivatives`.

        Bits are 0 or 1, shape ``(shots, n_qubits)``. The variance is that of the
        sample, and not below what so many shots leave if they all agree; divide it by the number of shots for
        that of the mean.
        """
        outcomes = byte_table("bits", bits, 1)
        if outcomes.shape[1] != self.n_qubits:
            raise ShapeError.of("bits", f"shape (shots, {self.n_qubits})", outcomes.shape)
        return self._native.read(outcomes)

    def exact(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what infinitely many shots would say, by simulation: `read` of them."""
        if self._circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        return self._native.exact(self._circuit._theta, self._circuit.bloch)

    def __repr__(self) -> str:
        return f"Experiment({self.n_gates} gates, {len(self._native.rows)} derivatives, {self.setting!r})"
