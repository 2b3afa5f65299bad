"""The way of runs to a sampler: few circuits with parameters, many values for them, one job.

Runs of equal structure share a circuit: angles that differ are its parameters, and so is the basis in which a
qubit is measured, two rotations before the measurement of Z. A job then has a circuit for each structure, and
each is transpiled once for all gradients to come. Values with equal shots go together; so that these are few,
shots are rounded down to powers of the square root of two, and what is left over goes where most was taken.

Invariant: outcomes come back in the order of the runs, bit q of a shot being qubit q.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Instruction, Operation, Parameter, ParameterExpression, ParameterVector, Qubit
from qiskit.circuit.library import PauliEvolutionGate

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.qiskit.gates import EULER, KNOWN, ROTATIONS, append

__all__ = ["Bits", "Body", "Circuits", "Run", "Served", "Written", "rounded", "submission", "taken"]

Bits: TypeAlias = NDArray[np.uint8]
Gate: TypeAlias = tuple[Any, ...]
Pub: TypeAlias = tuple[Any, ...]
REGISTER = "efl"
QUARTER = -np.pi / 2
# Before the measurement of Z: about Z, then about Y.
TURNS = {"X": (0.0, QUARTER), "Y": (QUARTER, QUARTER), "Z": (0.0, 0.0)}


class Body(Protocol):
    """A circuit without its measurement."""

    @property
    def structure(self) -> Hashable:
        """What it shares with bodies that differ by angles."""

    @property
    def angles(self) -> tuple[float, ...]:
        """Its angles."""

    @property
    def moves(self) -> tuple[bool, ...]:
        """Which of them are others in the next gradient."""

    def write(self, which: Sequence[bool]) -> tuple[QuantumCircuit, list[Parameter]]:
        """Return a circuit in which some angles are parameters."""


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """The circuit that the user wrote; its angles are the values of its parameters."""

    circuit: QuantumCircuit
    key: bytes
    """What tells circuits apart."""
    values: tuple[float, ...]
    """Of its parameters."""

    @property
    def structure(self) -> Hashable:
        """Parameters of the same name are others in another circuit."""
        return self.key, tuple(self.circuit.parameters)

    @property
    def angles(self) -> tuple[float, ...]:
        """The values of the parameters."""
        return self.values

    @property
    def moves(self) -> tuple[bool, ...]:
        """All of them are."""
        return (True,) * len(self.values)

    def write(self, which: Sequence[bool]) -> tuple[QuantumCircuit, list[Parameter]]:
        """Return the circuit itself, but for what simulators take for something else."""
        made = self.circuit.copy_empty_like()
        _append_all(made, self.circuit, made.qubits)
        return made, list(self.circuit.parameters)


def _append_all(made: QuantumCircuit, circuit: QuantumCircuit, qubits: Sequence[Qubit]) -> None:
    for item in circuit.data:
        own = [qubits[circuit.find_bit(q).index] for q in item.qubits]
        if _is_written_out(item.operation):
            _append_all(made, item.operation.definition, own)
        else:
            made.append(item.operation, own, [], copy=False)


def _is_written_out(op: Operation) -> bool:
    """Return whether an operation is replaced by those that define it.

    Some simulators take exact evolutions for the products that Qiskit defines. Aer (0.17) gives values to the
    parameters of controlled rotations as if those had no control.
    """
    if not isinstance(op, Instruction) or op.definition is None:
        return False
    if any(isinstance(p, ParameterExpression) for p in op.params):
        return op.name not in ROTATIONS and op.name not in EULER
    if isinstance(op, PauliEvolutionGate):
        return True
    if op.num_qubits < 2 or op.name in KNOWN:
        return False
    return any(_is_written_out(item.operation) for item in op.definition.data)


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """The circuit of an experiment."""

    n_qubits: int
    gates: tuple[Gate, ...]
    moves: tuple[bool, ...]

    @staticmethod
    def of(experiment: Experiment, elsewhere: NDArray[np.float64]) -> "Written":
        """Write an experiment, given other angles, at which those of its gates that move are others."""
        gates = experiment.gates()
        others = experiment._native.gates(elsewhere)
        pairs = zip(gates, others, strict=True)
        moves = tuple(one[2] != other[2] for one, other in pairs if one[0] == "rotation")
        return Written(experiment.n_qubits, tuple(gates), moves)

    @property
    def structure(self) -> Hashable:
        """The gates without the angles of rotations."""
        return self.n_qubits, tuple(map(_form, self.gates))

    @property
    def angles(self) -> tuple[float, ...]:
        """The angles of the rotations."""
        return tuple(gate[2] for gate in self.gates if gate[0] == "rotation")

    def write(self, which: Sequence[bool]) -> tuple[QuantumCircuit, list[Parameter]]:
        """Return a circuit in which some angles are parameters."""
        circuit, vector = QuantumCircuit(self.n_qubits), list(ParameterVector("efl_angle", sum(which)))
        waiting, free = iter(vector), iter(which)
        for gate in self.gates:
            append(circuit, gate, next(waiting) if gate[0] == "rotation" and next(free) else None)
        return circuit, vector


def _form(gate: Gate) -> Hashable:
    kind, what, more = gate
    if kind == "rotation":
        return kind, tuple(what)
    return (kind, what.tobytes() if kind == "unitary" else what, tuple(more))


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Shots of a circuit in a setting."""

    body: Body
    setting: Setting
    shots: int

    @property
    def letters(self) -> str | None:
        """The letter that each qubit is measured in; None for a setting with gates between qubits."""
        if not self.setting.is_product:
            return None
        measured = self.setting.measured
        if any(sign < 0 for sign, _ in measured):
            return None
        return "".join(label[q] for q, (_, label) in enumerate(measured))


class Circuits:
    """Circuits that were written and transpiled before."""

    def __init__(self, transpile: Callable[[QuantumCircuit], QuantumCircuit] | None, most: int = 256) -> None:
        self._transpile, self._most = transpile, most
        self._kept: dict[Hashable, tuple[QuantumCircuit, list[Parameter]]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(
        self, key: Hashable, make: Callable[[], tuple[QuantumCircuit, list[Parameter]]]
    ) -> tuple[QuantumCircuit, list[Parameter]]:
        """Return a circuit and its parameters in the order of their values."""
        if key not in self._kept:
            circuit, parameters = make()
            if self._transpile is not None:
                circuit = self._transpile(circuit)
            while len(self._kept) >= self._most:
                self._kept.pop(next(iter(self._kept)))
            self._kept[key] = circuit, parameters
        return self._kept[key]


def submission(runs: Sequence[Run], circuits: Circuits) -> tuple[list[Pub], list[list[int]]]:
    """Return what a sampler is handed, and the runs that each part of it is for."""
    families: dict[Hashable, list[int]] = defaultdict(list)
    for i, run in enumerate(runs):
        letters = run.letters
        basis = ("product",) if letters is not None else tuple(map(tuple, run.setting.gates))
        families[run.body.structure, basis].append(i)
    pubs: list[Pub] = []
    places: list[list[int]] = []
    for key, family in families.items():
        for pub, own in _of_family(key, [(i, runs[i]) for i in family], circuits):
            pubs.append(pub)
            places.append(own)
    return pubs, places


def _of_family(
    key: Hashable, family: Sequence[tuple[int, Run]], circuits: Circuits
) -> list[tuple[Pub, list[int]]]:
    """Return the parts of runs that share a circuit: one for each number of shots."""
    first = family[0][1]
    table = np.array([run.body.angles for _, run in family]).reshape(len(family), -1)
    free = (table != table[0]).any(axis=0) | np.any([run.body.moves for _, run in family], axis=0)
    bases = [run.letters for _, run in family]
    turned: list[int] = []
    values = table[:, free]
    if first.letters is not None:
        turned = [q for q, own in enumerate(zip(*map(str, bases), strict=True)) if set(own) != {"Z"}]
        turns = [[turn for q in turned for turn in TURNS[str(own)[q]]] for own in bases]
        values = np.hstack([values, np.array(turns).reshape(len(family), -1)])

    def make() -> tuple[QuantumCircuit, list[Parameter]]:
        circuit, parameters = first.body.write(free.tolist())
        basis = list(ParameterVector("efl_basis", 2 * len(turned)))
        for q, about_z, about_y in zip(turned, basis[::2], basis[1::2], strict=True):
            circuit.rz(about_z, q)
            circuit.ry(about_y, q)
        if first.letters is None:
            for name, *qubits in first.setting.gates:
                append(circuit, ("clifford", name, qubits))
        register = ClassicalRegister(circuit.num_qubits, REGISTER)
        circuit.add_register(register)
        circuit.measure(circuit.qubits, list(register))
        return circuit, parameters + basis

    fixed = tuple(table[0, ~free])
    circuit, parameters = circuits.get((key, tuple(free), fixed, tuple(turned)), make)
    there = set(circuit.parameters)  # a transpiler removes what no measurement sees
    kept = [j for j, parameter in enumerate(parameters) if parameter in there]
    by_shots: dict[int, list[int]] = defaultdict(list)
    for row, (_, run) in enumerate(family):
        by_shots[run.shots].append(row)
    parts: list[tuple[Pub, list[int]]] = []
    for shots, rows in by_shots.items():
        if not kept:
            parts += [((circuit, None, shots), [family[row][0]]) for row in rows]
            continue
        bound = {tuple(parameters[j] for j in kept): values[np.ix_(rows, kept)]}
        parts.append(((circuit, bound, shots), [family[row][0] for row in rows]))
    return parts


def taken(result: Any, places: Sequence[Sequence[int]], runs: Sequence[Run]) -> list[Bits]:  # noqa: ANN401
    """Return the bits of every run, from the result of the sampler's job."""
    found: dict[int, Bits] = {}
    for part, own in zip(result, places, strict=True):
        shots, width = runs[own[0]].shots, runs[own[0]].setting.n_qubits
        bits = np.asarray(part.data[REGISTER].to_bool_array(order="little"))
        if bits.size != len(own) * shots * width:
            raise InvalidInputError.of(
                "sampler", f"{shots} shots of {width} qubits for {len(own)} values", f"shape {bits.shape}"
            )
        table = np.ascontiguousarray(bits.reshape(len(own), shots, width), dtype=np.uint8)
        found.update(zip(own, table, strict=True))
    return [found[i] for i in range(len(runs))]


def rounded(counts: Sequence[int]) -> list[int]:
    """Return numbers of shots of which many are equal, as many in all, and none less than 0.7 of its own."""
    rungs = sorted({int(2 ** (j / 2)) for j in range(2 * max(counts, default=1).bit_length() + 2)})
    found = [next(rung for rung in reversed(rungs) if rung <= count) for count in counts]
    left = sum(counts) - sum(found)
    by_loss = sorted(range(len(counts)), key=lambda i: found[i] / counts[i])
    for i in by_loss:
        more = rungs[rungs.index(found[i]) + 1] - found[i]
        if found[i] < counts[i] and more <= left:
            found[i] += more
            left -= more
    if found:
        found[int(np.argmax(found))] += left
    return found
