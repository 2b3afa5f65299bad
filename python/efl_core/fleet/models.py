"""What is served: a QNode of inputs and parameters, or a circuit with its own inputs, seen the same way.

Invariant: the circuits of all queries have the same gates; those of a version have the same parameters.
Cost: a query of a circuit is one simulation; see `efl_core.pennylane.serving` for QNodes.
"""

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described
from efl_core.circuits import Circuit, simulate
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.experiments import Experiment
from efl_core.fleet.recipes import Spelt
from efl_core.observables import PauliSum
from efl_core.pennylane.options import Options
from efl_core.pennylane.serving import Asked, Piece, Point, ServedQNode, is_qnode

__all__ = ["CircuitModel", "Model", "first_parameters", "made_model", "reuploads", "run_pieces"]

Floats = NDArray[np.float64]
Bits = NDArray[np.uint8]


class Model(Protocol):
    """A function of inputs and parameters whose outputs are expectation values."""

    def is_of(self, served: object) -> bool:
        """Return whether it was made of this very QNode or circuit."""

    @property
    def outputs(self) -> tuple[PauliSum, ...]:
        """The observables."""

    @property
    def feeds(self) -> tuple[int, ...]:
        """Which gates turn by the inputs of a query."""

    @property
    def wires(self) -> tuple[Hashable, ...]:
        """The wire of each qubit."""

    @property
    def options(self) -> Options:
        """What is known of the noise of the device; a calibration says that readouts are flipped."""

    @property
    def is_simulated(self) -> bool:
        """Whether shots are drawn from state vectors that are made here."""

    def shaped(self, outputs: Floats) -> Any:  # noqa: ANN401
        """Return outputs, the last axis, in the form in which the user knows them."""

    def at(self, vector: Floats) -> Point:
        """Return the model at some parameters."""

    def ask(self, point: Point, inputs: tuple[Any, ...]) -> Asked:
        """Return the circuit of a query."""

    def run(self, queries: Sequence[tuple[Asked, Sequence[Piece]]], seed: int) -> list[list[Bits]]:
        """Run the pieces of queries on a device, as one batch."""


class CircuitModel:
    """A circuit that is served by simulation: a query is a vector of its inputs."""

    def __init__(self, circuit: Circuit) -> None:
        if not circuit.observables:
            raise InvalidInputError.of("circuit", "one with observables (circuit.observables)", "none")
        if not circuit.n_parameters:
            raise InvalidInputError.of("circuit", "one with parameters", "none")
        if circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        self._given, self._circuit = circuit, circuit.copy()
        self.outputs = circuit.observables
        """The observables."""
        self.feeds = tuple(
            place
            for place, (_, arguments) in enumerate(circuit._gates)
            if isinstance(arguments[-1], tuple) and len(arguments[-1]) == 1
        )
        """Which gates turn by the inputs of a query."""
        self.is_simulated = True
        """Always: there is no device."""
        self.wires: tuple[Hashable, ...] = circuit.wires
        """The wire of each qubit."""
        self.options = Options()
        """Nothing is known of noise, as there is none."""

    def is_of(self, served: object) -> bool:
        """Return whether it was made of this very circuit."""
        return served is self._given

    def shaped(self, outputs: Floats) -> Floats:
        """Return one output as a number, several as an array."""
        return outputs[..., 0] if outputs.shape[-1] == 1 else outputs

    def at(self, vector: Floats) -> Point:
        """Return the circuit at some parameters."""
        return Point(vector, self._circuit.at(vector), np.eye(len(vector)))

    def ask(self, point: Point, inputs: tuple[Any, ...]) -> Asked:
        """Return the circuit with the inputs of a query."""
        if len(inputs) > 1 or (not inputs and len(self._circuit.inputs)):
            raise InvalidInputError.of(
                "inputs", "one vector, the circuit's inputs", f"{len(inputs)} arguments"
            )
        values = inputs[0] if inputs else self._circuit.inputs
        return Asked(point.circuit.at(point.vector, cast("ArrayLike", values)))

    def run(self, queries: Sequence[tuple[Asked, Sequence[Piece]]], seed: int) -> list[list[Bits]]:
        """Simulate."""
        return run_pieces(queries, seed)


def made_model(
    served: object, params: Floats, inputs: tuple[Any, ...], options: Options | None = None
) -> "Model":
    """Return what is served, given its parameters, the inputs of a query and what is known of noise."""
    if isinstance(served, Circuit):
        if options is not None and options.is_noisy:
            raise InvalidInputError.of(
                "qnode",
                "a QNode on a noisy device with noise= or calibration=",
                "a Circuit, which is simulated",
            )
        return CircuitModel(served)
    return ServedQNode(served, params, inputs, options)


def first_parameters(served: object, params: Any) -> Floats:  # noqa: ANN401 (an array of any framework)
    """Return the parameters to start at, checked."""
    if isinstance(served, Circuit):
        given = served.parameters if params is None else params
    elif is_qnode(served):
        given = params
    else:
        raise InputTypeError.of("qnode", "a PennyLane QNode or a Circuit", described(served))
    if given is None:
        raise InvalidInputError.of("params", "the array of parameters that a QNode starts at", params)
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    found = array("params", given, "real numbers")
    if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
        raise InvalidInputError.of("params", "finite real numbers", described(given))
    if isinstance(served, Circuit) and found.shape != (served.n_parameters,):
        raise ShapeError.of("params", f"shape ({served.n_parameters},)", found.shape)
    return np.array(found, dtype=np.float64)


def reuploads(model: Model, point: Point) -> bool:
    """Return whether inputs enter after the first trained gate: derivatives then are other sums for each."""
    return any(place >= point.circuit._native.trainable_block for place in model.feeds)


def run_pieces(queries: Sequence[tuple[Asked, Sequence[Piece]]], seed: int) -> list[list[Bits]]:
    """Simulate the pieces of queries: the same seed gives the same bits."""
    count = sum(len(pieces) for _, pieces in queries)
    seeds = iter(np.random.SeedSequence(seed).generate_state(max(1, count), np.uint64))
    return [_simulated(asked.circuit, pieces, seeds) for asked, pieces in queries]


def _simulated(circuit: Circuit, pieces: Sequence[Piece], seeds: Any) -> list[Bits]:  # noqa: ANN401
    assert circuit.bloch is not None  # or it is not simulated
    state = simulate(circuit)
    found: dict[int, Bits] = {}
    own: dict[int, tuple[Any, int, int]] = {}
    others: dict[int, tuple[Any, int, int]] = {}
    for place, piece in enumerate(pieces):
        seed = int(next(seeds))
        if piece.experiment is not None and not piece.experiment.served:
            own_circuit = piece.experiment.at(circuit)
            if isinstance(own_circuit, Spelt):
                turned = simulate(own_circuit.made())
                [found[place]] = _native.measured(turned, [(piece.setting, piece.shots, seed)])
            else:
                assert isinstance(own_circuit, Experiment)  # of a plan that was made here
                others[place] = own_circuit._native, piece.shots, seed
        elif piece.kick is not None:
            kicked = simulate(circuit.copy().rotation(*piece.kick))
            [found[place]] = _native.measured(kicked, [(piece.setting, piece.shots, seed)])
        else:
            own[place] = piece.setting, piece.shots, seed
    if own:
        found |= zip(own, _native.measured(state, list(own.values())), strict=True)
    if others:
        bits = _native.simulated(list(others.values()), circuit._theta, circuit.bloch)
        found |= zip(others, bits, strict=True)
    return [found[place] for place in range(len(pieces))]
