"""What fleets are measured on: circuits with their inputs and labels, and their exact gradients.

`Case` is a model, a population of queries and a loss; `fleets` runs many small fleets on it and compares what
they say with what is exact.
"""

from dataclasses import dataclass
from functools import cached_property
from math import comb

import numpy as np

import efl_core as efl
from efl_core.fleet import Learner, Replica, Ticket, losses
from efl_core.fleet.labels import read_shots
from efl_core.fleet.tickets import Tickets

POPULATION = 12


def brick(n_qubits, layers=2, outputs="vector", scale=1.0, seed=0):
    """Angles of the inputs, then layers of RY, RZ and a brick of CZ, and a last layer of RY and RZ."""
    random = np.random.default_rng(seed)
    circuit = efl.Circuit(n_qubits, parameters=random.uniform(-1.5, 1.5, 2 * n_qubits * (layers + 1)))
    for qubit in range(n_qubits):
        circuit.ry(circuit.input(0.1 * qubit), qubit)
    count = 0
    for layer in range(layers + 1):
        for qubit in range(n_qubits):
            circuit.ry(efl.Parameter(count), qubit).rz(efl.Parameter(count + 1), qubit)
            count += 2
        if layer < layers:
            for first in (0, 1):
                for qubit in range(first, n_qubits - 1, 2):
                    circuit.clifford("CZ", qubit, qubit + 1)
    circuit.observables = outputs_of(n_qubits, outputs, scale)
    return circuit


def ring(n_qubits, layers=2, outputs="word", scale=1.0, seed=0):
    """Angles of the inputs, then layers of general rotations and a ring of CNOTs."""
    random = np.random.default_rng(seed)
    circuit = efl.Circuit(n_qubits, parameters=random.uniform(-1.5, 1.5, 3 * n_qubits * layers))
    for qubit in range(n_qubits):
        circuit.ry(circuit.input(0.1 * qubit), qubit)
    count = 0
    for layer in range(layers):
        for qubit in range(n_qubits):
            circuit.rz(efl.Parameter(count), qubit).ry(efl.Parameter(count + 1), qubit)
            circuit.rz(efl.Parameter(count + 2), qubit)
            count += 3
        for qubit in range(n_qubits):
            circuit.clifford("CNOT", qubit, (qubit + layer + 1) % n_qubits)
    circuit.observables = outputs_of(n_qubits, outputs, scale)
    return circuit


def reuploading(n_qubits, layers=2, outputs="word", scale=1.0, seed=0):
    """Inputs enter before every layer."""
    random = np.random.default_rng(seed)
    circuit = efl.Circuit(n_qubits, parameters=random.uniform(-1.5, 1.5, 2 * n_qubits * layers))
    angles = [circuit.input(0.1 * qubit) for qubit in range(n_qubits)]
    count = 0
    for _ in range(layers):
        for qubit in range(n_qubits):
            circuit.rx(angles[qubit], qubit)
        for qubit in range(n_qubits):
            circuit.ry(efl.Parameter(count), qubit).rz(efl.Parameter(count + 1), qubit)
            count += 2
        for qubit in range(n_qubits - 1):
            circuit.clifford("CZ", qubit, qubit + 1)
    circuit.observables = outputs_of(n_qubits, outputs, scale)
    return circuit


def outputs_of(n_qubits, outputs, scale):
    """The outputs by their name: one word, all Z as one, many words, or the energy of an Ising chain."""
    letters = ["".join("Z" if q in own else "I" for q in range(n_qubits)) for own in _places(n_qubits)]
    if outputs == "word":
        return (efl.PauliSum({letters[1]: scale}),)
    if outputs == "vector":
        return (efl.PauliSum({label: scale / np.sqrt(n_qubits) for label in letters[:n_qubits]}),)
    if outputs == "many":
        return tuple(efl.PauliSum({label: scale}) for label in letters)
    fields = ["".join("X" if q == own else "I" for q in range(n_qubits)) for own in range(n_qubits)]
    return (efl.PauliSum({**dict.fromkeys(letters[n_qubits:], -1.0), **dict.fromkeys(fields, -0.7)}),)


def _places(n_qubits):
    """Every qubit, then every pair of neighbours but the last: 10 of them for 6 qubits."""
    pairs = [(q, q + 1) for q in range(n_qubits - 1)]
    return [(q,) for q in range(n_qubits)] + (pairs[:-1] if n_qubits > 4 else pairs)


@dataclass(frozen=True, eq=False)
class Case:
    """A model that is served to a population of queries."""

    name: str
    circuit: efl.Circuit
    loss: object
    method: str = "auto"

    @property
    def has_bias(self):
        """Whether weights are jackknifed."""
        many = sum(len(own) for own in self.circuit.observables) > 1
        return many and not isinstance(self.loss, losses.Expectation | losses.Squared)

    @cached_property
    def inputs(self):
        return np.random.default_rng(5).uniform(-1.2, 1.2, (POPULATION, len(self.circuit.inputs)))

    @cached_property
    def labels(self):
        random, outputs = np.random.default_rng(6), len(self.circuit.observables)
        if isinstance(self.loss, losses.CrossEntropy):
            return random.integers(0, outputs, POPULATION)
        if isinstance(self.loss, losses.Squared):
            return random.uniform(-1, 1, (POPULATION, outputs))
        return random.choice([-1.0, 1.0], POPULATION)

    @cached_property
    def exact(self):
        """The outputs, shape (queries, outputs), and their derivatives, (queries, outputs, parameters)."""
        found = [
            [
                efl.propagate(self.circuit.at(self.circuit.parameters, x), own)
                for own in self.circuit.observables
            ]
            for x in self.inputs
        ]
        values = np.array([[one.value for one in row] for row in found])
        return values, np.array([[one.gradient for one in row] for row in found])

    def objective(self, answer_shots):
        """The exact gradient, where the objective is an expectation, a square, or that of served words."""
        values, slopes = self.exact
        if isinstance(self.loss, losses.Expectation):
            weights = np.ones_like(values)
        elif isinstance(self.loss, losses.Squared):
            weights = 2 * (values - self.labels)
        else:
            weights = np.array(
                [[self._served(v[0], y, answer_shots)] for v, y in zip(values, self.labels, strict=True)]
            )
        return np.einsum("qo,qok->k", weights, slopes) / len(values)

    def _served(self, value, label, shots):
        """The slope of the mean loss of an answer of so many shots."""
        word = float(self.circuit.observables[0].coefficients[0])
        chance, k = (1 + value / word) / 2, np.arange(shots + 1)
        losses_ = self.loss.value((word * (2 * k / shots - 1))[:, None], np.full((shots + 1, 1), label))
        binomial = np.array([comb(shots - 1, j) for j in range(shots)], dtype=float)
        weights = binomial * chance ** k[:-1] * (1 - chance) ** (shots - 1 - k[:-1])
        return float(shots * weights @ np.diff(losses_)) / (2 * word)


def cases():
    """Circuits of every kind of roster, each with losses that suit its outputs."""
    logistic, hinge = losses.Logistic(2.0), losses.Hinge(0.5)
    mistakes = losses.Function(lambda value, label: (value * label <= 0).astype(float))
    return [
        Case("brick n=6, 10 outputs, cross-entropy", brick(6, outputs="many"), losses.CrossEntropy(2.0)),
        Case("brick n=6, 10 outputs, squared", brick(6, outputs="many"), losses.Squared()),
        Case("brick n=6, 10 outputs, expectation", brick(6, outputs="many"), losses.Expectation()),
        Case("brick n=6, vector, logistic", brick(6), logistic),
        Case("ring n=4, logistic", ring(4), logistic, "mixture"),
        Case("ring n=4, hinge", ring(4), hinge, "mixture"),
        Case("ring n=4, mistakes", ring(4), mistakes, "mixture"),
        Case("ring n=4, squared", ring(4), losses.Squared(), "mixture"),
        Case("re-uploading n=4, logistic", reuploading(4), logistic, "echo"),
        Case("re-uploading n=4, squared", reuploading(4), losses.Squared(), "echo"),
        Case("energy n=4", ring(4, outputs="energy"), losses.Expectation()),
    ]


@dataclass(frozen=True, eq=False)
class Found:
    """What many fleets said."""

    gradients: np.ndarray
    """Of each fleet, shape (fleets, parameters)."""
    stderrs: np.ndarray
    exact: np.ndarray
    """The gradient of the objective; or for each fleet what exact derivatives make of its weights."""

    @property
    def z(self):
        """The mean less the exact gradient, in standard errors of the mean over fleets."""
        off = self.gradients - self.exact
        error = off.std(axis=0, ddof=1) / np.sqrt(len(off))
        return np.where(error > 1e-12, off.mean(axis=0) / np.maximum(error, 1e-12), off.mean(axis=0) * 1e12)

    def coverage(self, sigmas):
        """The part of derivatives within so many standard errors."""
        moving = self.stderrs > 0
        return float(np.mean((np.abs(self.gradients - self.exact) <= sigmas * self.stderrs)[moving]))

    @property
    def ratio(self):
        """Predicted over observed error: the RMS of standard errors, and that of errors."""
        observed = np.sqrt(np.mean(np.square(self.gradients - self.exact)))
        return float(np.sqrt(np.mean(np.square(self.stderrs))) / observed)


def fleets(case, answer_shots, teach_shots=4, *, count=2000, queries=50, replicas=5, seed=0):
    """Run so many fleets of so many queries at the first version, and return what they said.

    Against the objective, and given what their answer shots were: then what exact derivatives make of the
    weights of the queries that each fleet happened to have. That holds whatever bias weights have.
    """
    shots = answer_shots + teach_shots
    learner = Learner(
        case.circuit,
        loss=case.loss,
        inputs=case.inputs[0],
        shots=shots,
        share=teach_shots / shots,
        method=case.method,
        seed=seed,
    )
    random, (_, slopes) = np.random.default_rng(seed), case.exact
    said, given = [], []
    for _ in range(count):
        chosen, weights = random.integers(0, POPULATION, queries), []
        for part in np.array_split(chosen, replicas):
            with Replica(case.circuit, learner, seed=int(random.integers(2**63))) as replica:
                found = replica.answers(case.inputs[part])
                replica.flush()
            if learner._loss.needs_label:
                weights.append(weights_of(learner, found.tickets, case.labels[part]))
                learner.feedback(found.tickets, case.labels[part])
            else:
                weights.append(np.ones((len(part), len(case.circuit.observables))))
        gradient = learner.gradient()
        said.append((gradient.value, gradient.stderr))
        given.append(np.einsum("qo,qok->k", np.concatenate(weights), slopes[chosen]) / queries)
        learner._machine.take(1, 1)
    gradients, stderrs = map(np.array, zip(*said, strict=True))
    exact = None if case.has_bias else case.objective(answer_shots)
    return Found(gradients, stderrs, exact), Found(gradients, stderrs, np.array(given))


def weights_of(learner, tickets, labels):
    """The weights that queries which wait will have."""
    own = Tickets.of([Ticket.read(text) for text in tickets])
    readout = read_shots(learner.version, learner._machine.shots(*own))
    return learner._loss.weights(readout, learner._loss.labels(labels, len(tickets), readout.mean.shape[1]))
