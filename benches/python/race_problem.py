"""A training problem of the race: a circuit, its loss, and what a shot of each setting says.

A loss is a sum over settings: a constant plus, for each setting, the mean of a value of its outcomes. For an
energy a setting is a group of qubit-wise commuting words; for the classifier it is a point of the data, for
hinge loss max(0, 1 - y f) is linear where |f| <= 1. So every method may share shots among settings, draw some
of them, and read single shots. A trained parameter is one gate, whose words may be shifted one by one.

States are simulated by `race_simulator.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pennylane as qml
from competitors import TO_Z, Turn, pennylane_groups, read, sorted_groups, terms
from race_simulator import Simulator

import efl_core as efl


@dataclass(frozen=True)
class Reading:
    """Rotations of the two halves of the qubits; the settings that read so, their inputs and values."""

    left: np.ndarray
    right: np.ndarray
    settings: list[int] = field(default_factory=list)
    points: list[int] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)

    def probabilities(self, states):
        """The probability of each outcome, for every row."""
        half, rest = len(self.left), len(self.right)
        moved = self.left @ states.reshape(-1, half, rest) @ self.right.T
        return (moved.real**2 + moved.imag**2).reshape(len(states), -1)


@dataclass(frozen=True)
class Pair:
    """Two shifted circuits whose losses are subtracted: the parameter, the coefficient, shifts by word."""

    parameter: int
    coefficient: float
    shifts: np.ndarray


@dataclass
class Problem:
    """A circuit to train, or one circuit on several inputs."""

    name: str
    tape: qml.tape.QuantumScript
    """The circuit and its observable; with inputs, at the first of them."""
    start: Callable[[np.random.Generator], np.ndarray]
    fraction: float = 0.9
    """How far from the initial to the best loss the target is."""
    inputs: np.ndarray | None = None
    """The angles that encode each point, one per qubit; the tape begins with their rotations."""
    labels: np.ndarray | None = None
    """Of each point, 1 or -1."""
    figures: dict = field(default_factory=dict)

    @cached_property
    def n(self):
        return len(self.tape.wires)

    @cached_property
    def n_parameters(self):
        return len(self.tape.trainable_params)

    @cached_property
    def circuits(self):
        """A circuit of efl_core for each input (one, where there are none), observables included."""
        return [efl.Circuit.from_tape(tape) for tape in self.tapes(self.tape_parameters)]

    @cached_property
    def weights(self):
        """The factor of each circuit's observable in the loss."""
        return np.ones(1) if self.labels is None else -self.labels / len(self.labels)

    @property
    def target(self):
        return self.figures["initial"] + self.fraction * (self.figures["best"] - self.figures["initial"])

    @property
    def gap(self):
        """From the initial to the best loss: the unit in which hyper-parameters are drawn."""
        return self.figures["initial"] - self.figures["best"]

    @property
    def length(self):
        """How far parameters have to move, more or less: the unit of steps."""
        return (2 * self.gap / self.figures["curvature"]) ** 0.5

    @cached_property
    def scale(self):
        """The shots, optimally shared by settings, that tell the loss to within the gap at the start."""
        angles = self.angles([self.initial(seed) for seed in range(1000, 1010)])
        means, squares = self.moments(angles)
        spread = np.sqrt(np.maximum(squares - means**2, 0).mean(0)).sum()
        return float((spread / self.gap) ** 2)

    @property
    def tape_parameters(self):
        return [float(x) for x in self.tape.get_parameters()]

    def tapes(self, theta):
        """The tape at some parameters, for each input."""
        found = []
        for features in [[]] if self.inputs is None else self.inputs:
            values = iter([*features, *theta])
            operations = [_bound(operation, values) for operation in self.tape.operations]
            found.append(self.tape.copy(operations=operations, trainable_params=self.tape.trainable_params))
        return found

    def initial(self, seed):
        return self.start(np.random.default_rng([seed, 11]))

    # ---- states --------------------------------------------------------------------------------------

    @cached_property
    def _read(self):
        return read(self.tape)[0]

    @cached_property
    def turns(self):
        return [gate for gate in self._read if isinstance(gate, Turn)]

    @cached_property
    def words(self):
        """For each word that turns: the parameter it belongs to, and its factor."""
        owners = [turn.parameter for turn in self.turns for _ in turn.words]
        return np.array(owners), np.array([slope for turn in self.turns for *_, slope in turn.words])

    @cached_property
    def _machine(self):
        """The circuit after the encoding, with an angle for each word."""
        return Simulator(self._read[0 if self.inputs is None else self.n :], self.n)

    @cached_property
    def _encoded(self):
        """The state of each input, before the circuit."""
        if self.inputs is None:
            return np.eye(1, 2**self.n, dtype=complex)
        found = []
        for features in self.inputs:
            state = np.ones(1)
            for x in features:
                state = np.kron(state, [np.cos(x / 2), np.sin(x / 2)])
            found.append(state)
        return np.array(found, dtype=complex)

    def angles(self, thetas):
        """The angle of every word, for each row of parameters."""
        owners, slopes = self.words
        return np.atleast_2d(thetas)[:, owners] * slopes

    def prepare(self, angles):
        """The final states at each row of angles, by row and input."""
        angles = np.atleast_2d(angles)
        return self._machine(np.tile(self._encoded, (len(angles), 1, 1)), angles)

    # ---- the loss ------------------------------------------------------------------------------------

    @cached_property
    def constant(self):
        words = qml.pauli.pauli_sentence(self.tape.measurements[0].obs)
        identity = float(np.real(words.get(qml.pauli.PauliWord({}), 0)))
        return identity if self.labels is None else 1.0

    @cached_property
    def groups(self):
        """The words of the observable that are read together: PennyLane's groups, or better ones."""
        found = terms(self.tape)
        groupings = [[[found[i] for i in g] for g in way(found)] for way in (pennylane_groups, sorted_groups)]
        cost = [sum(np.sqrt(sum(c**2 for _, c in g)) for g in way) for way in groupings]
        return groupings[int(np.argmin(cost))]

    @property
    def n_settings(self):
        return len(self.groups) * len(self.weights)

    @cached_property
    def readings(self):
        """All settings; setting `i * groups + g` reads group g of input i."""
        found = []
        for g, group in enumerate(self.groups):
            letters = {q: letter for word, _ in group for q, letter in word.items()}
            turns = [TO_Z[letters[q]] if letters.get(q, "Z") != "Z" else np.eye(2) for q in range(self.n)]
            values = sum(c * _signs(word, self.n) for word, c in group)
            reading = Reading(_kron(turns[: self.n // 2]), _kron(turns[self.n // 2 :]))
            for point, weight in enumerate(self.weights):
                reading.settings.append(point * len(self.groups) + g)
                reading.points.append(point)
                reading.values.append(weight * values)
            found.append(reading)
        return found

    @cached_property
    def spreads(self):
        """The standard deviation of a shot of each setting on the maximally mixed state."""
        found = np.empty(self.n_settings)
        for reading in self.readings:
            found[reading.settings] = np.sqrt(np.mean(np.square(reading.values), axis=1))
        return found

    def moments(self, angles):
        """The means of the values of a shot and of their squares, by row of angles and setting."""
        prepared = self.prepare(angles)
        found = np.empty((2, len(prepared), self.n_settings))
        for reading in self.readings:
            states = prepared[:, reading.points]
            chances = reading.probabilities(states.reshape(-1, states.shape[-1])).reshape(states.shape)
            for k, values in enumerate((np.array(reading.values), np.square(reading.values))):
                found[k][:, reading.settings] = np.einsum("kpx,px->kp", chances, values)
        return found

    def losses(self, angles):
        """The exact loss of each row of angles."""
        return self.constant + self.moments(angles)[0].sum(1)

    def loss(self, theta):
        return float(self.losses(self.angles(theta))[0])

    # ---- derivatives ---------------------------------------------------------------------------------

    @cached_property
    def pairs(self):
        """The shifted circuits of all derivatives that are not identically zero."""
        everything = self._all_pairs
        rng = np.random.default_rng(5)
        thetas = rng.normal(size=(3, self.n_parameters))
        size = np.max([np.abs(self._gradient(theta, everything)) for theta in thetas], axis=0)
        return [pair for pair in everything if size[pair.parameter] > 1e-9]

    @cached_property
    def _all_pairs(self):
        found, first, width = [], 0, len(self.words[0])
        for turn in self.turns:
            for coefficient, shifts in _rule(turn, self.n):
                whole = np.zeros(width)
                whole[first : first + len(turn.words)] = shifts
                found.append(Pair(turn.parameter, coefficient, whole))
            first += len(turn.words)
        return found

    def _gradient(self, theta, pairs):
        angles, shifts = self.angles(theta), np.array([pair.shifts for pair in pairs])
        losses = self.losses(np.concatenate([angles + shifts, angles - shifts])).reshape(2, -1)
        total = np.zeros(self.n_parameters)
        coefficients = np.array([pair.coefficient for pair in pairs])
        np.add.at(total, [pair.parameter for pair in pairs], coefficients * (losses[0] - losses[1]))
        return total

    def gradient(self, theta):
        """The exact gradient of the loss."""
        return self._gradient(theta, self.pairs)


def _bound(operation, values):
    """The same gate at the next of the values, if it has a parameter."""
    if isinstance(operation, qml.ops.Evolution):  # its data are those of the generator, too
        return qml.evolve(operation.base, float(next(values)))
    return type(operation)(float(next(values)), wires=operation.wires) if operation.num_params else operation


def _label(flips, signs, n):
    bits = [1 << (n - 1 - q) for q in range(n)]
    return {
        q: "IXZY"[bool(flips & b) + 2 * bool(signs & b)] for q, b in enumerate(bits) if (flips | signs) & b
    }


def _signs(word, n):
    """The value of a word of Z by outcome; other letters are turned to Z before."""
    support = sum(1 << (n - 1 - q) for q in word)
    return (-1.0) ** np.bitwise_count(np.arange(2**n) & support)


def _kron(matrices):
    total = np.eye(1)
    for matrix in matrices:
        total = np.kron(total, matrix)
    return total


def _rule(turn, n):
    """The cheaper rule of a gate: one shift of each of its words, or of the whole gate.

    Cheaper is the lower sum of coefficients, which is the error of optimal shots, and then fewer circuits.
    """
    slopes = np.array([slope for *_, slope in turn.words])
    by_word = [(s / 2, np.pi / 2 * (np.arange(len(slopes)) == i)) for i, s in enumerate(slopes)]
    if len(slopes) == 1:
        return by_word
    generator = sum(s / 2 * qml.pauli.PauliWord(_label(f, g, n)).to_mat(range(n)) for f, g, s in turn.words)
    levels = np.unique(np.round(np.linalg.eigvalsh(generator), 8))
    gaps = np.unique(np.round(np.subtract.outer(levels, levels), 7))
    gaps = gaps[gaps > 0]
    base, order = gaps[0], round(gaps[-1] / gaps[0])
    if not np.allclose(gaps / base, np.round(gaps / base), atol=1e-5):
        return by_word
    whole = []
    for mu in range(1, order + 1):
        x = (2 * mu - 1) * np.pi / (2 * order)
        coefficient = base * (-1) ** (mu - 1) / (4 * order * np.sin(x / 2) ** 2)
        whole.append((coefficient, x / base * slopes))
    weight = [sum(abs(c) for c, _ in rule) for rule in (by_word, whole)]
    return whole if (round(weight[1], 6), len(whole)) <= (round(weight[0], 6), len(by_word)) else by_word
