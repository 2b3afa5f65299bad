"""The training problems of the race: circuits, losses, starts, targets, and what a shot of each setting says.

A loss is a sum over settings: a constant plus, for each setting, the mean of a value of its outcomes. For an
energy a setting is a group of qubit-wise commuting words; for the classifier it is a point of the data, for
hinge loss max(0, 1 - y f) is linear where |f| <= 1. So every method may share shots among settings, draw some
of them, and read single shots. A trained parameter is one gate, whose words may be shifted one by one.

Targets are `initial + fraction * (best - initial)`: the mean loss of 20 starts, and the lowest that exact
optimisation from 12 starts found. They are kept in benches/data/race.json, with how many of the 12 reached
the target and the largest curvature at a start. This file makes it in minutes:

    python benches/python/race_problems.py

States are simulated by `race_simulator.py`.
"""

import sidebyside  # noqa: F401 isort: skip (before numpy)
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pennylane as qml
from catalogue import DATA, Script, _cubic, cut, hardware_efficient, max_cut
from competitors import TO_Z, Turn, pennylane_groups, read, sorted_groups, terms
from race_digits import digits
from race_simulator import Simulator

import efl_core as efl

TARGETS = DATA / "race.json"
STARTS, MEAN_STARTS = 12, 20


@dataclass(frozen=True)
class Setting:
    """One measurement: which input, the rotations of the two halves of the qubits, the values of outcomes."""

    point: int
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray

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
        prepared = self.prepare(self.angles([self.initial(seed) for seed in range(1000, 1010)]))
        spread = 0.0
        for s in self.settings:
            probabilities = s.probabilities(prepared[:, s.point])
            means = probabilities @ s.values
            spread += np.sqrt(np.mean(np.maximum(probabilities @ s.values**2 - means**2, 0)))
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
        initial = np.tile(self._encoded, (len(angles), 1))
        states = self._machine(initial, np.repeat(angles, len(self._encoded), axis=0))
        return states.reshape(len(angles), len(self._encoded), -1)

    # ---- the loss ------------------------------------------------------------------------------------

    @cached_property
    def constant(self):
        words = qml.pauli.pauli_sentence(self.tape.measurements[0].obs)
        identity = float(np.real(words.get(qml.pauli.PauliWord({}), 0)))
        return identity if self.labels is None else 1.0

    @cached_property
    def settings(self):
        found = terms(self.tape)
        groupings = [[[found[i] for i in g] for g in way(found)] for way in (pennylane_groups, sorted_groups)]
        cost = [sum(np.sqrt(sum(c**2 for _, c in g)) for g in way) for way in groupings]
        groups = groupings[int(np.argmin(cost))]
        return [
            self._setting(point, weight, group)
            for point, weight in enumerate(self.weights)
            for group in groups
        ]

    def _setting(self, point, weight, group):
        n, index = self.n, np.arange(2**self.n)
        letters = {q: letter for word, _ in group for q, letter in word.items()}
        turns = [TO_Z[letters[q]] if letters.get(q, "Z") != "Z" else np.eye(2) for q in range(n)]
        values = np.zeros(2**n)
        for word, c in group:
            support = sum(1 << (n - 1 - q) for q in word)
            values += weight * c * (-1.0) ** np.bitwise_count(index & support)
        return Setting(point, _kron(turns[: n // 2]), _kron(turns[n // 2 :]), values)

    @cached_property
    def spreads(self):
        """The standard deviation of a shot of each setting on the maximally mixed state."""
        return np.array([np.sqrt(np.mean(s.values**2)) for s in self.settings])

    def losses(self, angles):
        """The exact loss of each row of angles."""
        prepared = self.prepare(angles)
        total = np.full(len(angles), self.constant)
        for s in self.settings:
            total += s.probabilities(prepared[:, s.point]) @ s.values
        return total

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


# ---- the list --------------------------------------------------------------------------------------------


def _normal(size, width, centre=0.0):
    return lambda rng: rng.normal(centre, width, size)


def _made(name, script, observable, start, **options):
    tape = qml.tape.QuantumScript(
        script.operations, [qml.expval(observable)], trainable_params=script.trained
    )
    size = len(script.trained)
    return Problem(name, tape, lambda rng: start(rng, size), **options)


def ising(n):
    """The transverse-field Ising chain at its critical point."""
    script = Script(n, 0)
    hardware_efficient(script, qml.CZ, 2, 0)
    pairs = [qml.Z(q) @ qml.Z(q + 1) for q in range(n - 1)]
    energy = qml.dot([-1.0] * (2 * n - 1), pairs + [qml.X(q) for q in range(n)])
    return _made(f"TFIM n={n}", script, energy, lambda rng, size: rng.normal(0, 0.5, size))


def qaoa(layers, weighted=False):
    script, edges = Script(8, 0), _cubic(8)
    cost, mixer = cut(edges), qml.dot([1.0] * 8, [qml.X(q) for q in range(8)])
    if weighted:
        weights = np.random.default_rng(3).uniform(0.2, 1.0, len(edges))
        cost = qml.dot(weights, [qml.Z(a) @ qml.Z(b) for a, b in edges])
        for q in range(8):
            script.add(qml.Hadamard(q))
        for _ in range(layers):
            script.add(qml.evolve(cost, 0.1), trained=True)
            script.add(qml.evolve(mixer, 0.1), trained=True)
    else:
        max_cut(script, edges, layers)
    kind = "weighted" if weighted else "3-regular"
    step = (np.arange(layers) + 0.5) / layers
    ramp = 0.3 * np.column_stack([step, step - 1]).ravel()
    return _made(f"QAOA {kind} p={layers}", script, cost, lambda rng, size: rng.normal(ramp, 0.1))


def molecule(file, name):
    """UCCSD, from near the Hartree-Fock state."""
    found = json.loads((DATA / f"{file}.json").read_text())
    n = len(next(iter(found["words"])))
    energy = qml.dot(
        list(found["words"].values()),
        [qml.pauli.string_to_pauli_word(label, dict(enumerate(range(n)))) for label in found["words"]],
    )
    script = Script(n, 0)
    for q in range(found["electrons"]):
        script.add(qml.X(q))
    singles, doubles = qml.qchem.excitations(found["electrons"], n)
    for taken, given in [((a,), (b,)) for a, b in singles] + [((a, b), (c, d)) for a, b, c, d in doubles]:
        script.add(qml.evolve(_excitation(taken, given), 0.1), trained=True)
    return _made(f"UCCSD {name}", script, energy, lambda rng, size: rng.normal(0, 0.01, size))


def _excitation(taken, given):
    """The generator i (T - T^dag), T taking electrons from some orbitals to others: commuting words."""
    up = qml.fermi.FermiWord(
        {(k, q): "+" if q in given else "-" for k, q in enumerate([*reversed(given), *taken])}
    )
    sentence = qml.jordan_wigner(1j * (up - up.adjoint()), ps=True)
    return qml.dot([float(c.real) for c in sentence.values()], [word.operation() for word in sentence])


def heisenberg(n, layers):
    """The Hamiltonian variational ansatz of the Heisenberg chain, from singlets on its even bonds."""

    def bonds(first, factor=1.0):
        words = [qml.prod(p(q), p(q + 1)) for q in range(first, n - 1, 2) for p in (qml.X, qml.Y, qml.Z)]
        return qml.dot([factor] * len(words), words)

    script = Script(n, 0)
    for q in range(0, n, 2):
        for gate in (qml.X(q), qml.X(q + 1), qml.Hadamard(q), qml.CNOT([q, q + 1])):
            script.add(gate)
    for _ in range(layers):
        script.add(qml.evolve(bonds(1, 0.25), 0.1), trained=True)
        script.add(qml.evolve(bonds(0, 0.25), 0.1), trained=True)
    return _made(
        f"Heisenberg HVA n={n}", script, bonds(0) + bonds(1), lambda rng, size: rng.uniform(-0.8, 0.8, size)
    )


def classifier(n, layers):
    """A brick wall that tells synthetic threes from eights, by Z of a middle qubit."""
    features, labels = digits(n)
    script = Script(n, 0)
    for x in features[0]:
        script.add(qml.RY(float(x), len(script.operations)))
    for layer in range(layers):
        script.turn_all("RY", "RZ")
        script.bricks(layer)
    script.turn_all("RY", "RZ")
    return _made(
        f"digits n={n}",
        script,
        qml.Z(n // 2),
        lambda rng, size: rng.normal(0, 0.5, size),
        inputs=features,
        labels=labels,
        fraction=0.8,
    )


MAKERS = {
    "TFIM n=6": lambda: ising(6),
    "TFIM n=10": lambda: ising(10),
    **{f"QAOA 3-regular p={p}": lambda p=p: qaoa(p) for p in (1, 2, 3, 4)},
    "QAOA weighted p=3": lambda: qaoa(3, weighted=True),
    "UCCSD H2": lambda: molecule("h2_4", "H2"),
    "UCCSD LiH-6": lambda: molecule("lih_6", "LiH-6"),
    "UCCSD H4": lambda: molecule("h4_8", "H4"),
    "Heisenberg HVA n=8": lambda: heisenberg(8, 3),
    "digits n=6": lambda: classifier(6, 3),
}


def load(name):
    """A problem with its figures."""
    problem = MAKERS[name]()
    problem.figures = json.loads(TARGETS.read_text())[name]
    return problem


def optimise(problem, seed):
    """The lowest loss that exact optimisation finds from a start."""
    from scipy.optimize import minimize

    found = minimize(
        problem.loss, problem.initial(seed), jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 300}
    )
    return float(found.fun)


def curvature(problem, seed):
    """The largest eigenvalue of the Hessian at a start, in absolute value."""
    theta, step = problem.initial(seed), 1e-4
    moved = np.eye(problem.n_parameters) * step
    hessian = [(problem.gradient(theta + d) - problem.gradient(theta - d)) / (2 * step) for d in moved]
    return float(np.abs(np.linalg.eigvalsh((np.array(hessian) + np.transpose(hessian)) / 2)).max())


def main():
    wanted = sys.argv[1:] or list(MAKERS)
    table = json.loads(TARGETS.read_text()) if TARGETS.exists() else {}
    for name in wanted:
        problem = MAKERS[name]()
        starts = [problem.loss(problem.initial(seed)) for seed in range(MEAN_STARTS)]
        ends = [optimise(problem, seed) for seed in range(STARTS)]
        problem.figures = {"initial": float(np.mean(starts)), "best": min(ends)}
        problem.figures["reached"] = sum(end <= problem.target for end in ends)
        problem.figures["curvature"] = curvature(problem, 1000)
        table[name] = {key: round(value, 6) for key, value in problem.figures.items()}
        TARGETS.write_text(json.dumps(table, indent=1) + "\n")
        print(name, problem.figures, f"target {problem.target:.6g}", np.round(np.sort(ends), 4), flush=True)


if __name__ == "__main__":
    main()
