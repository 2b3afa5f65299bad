"""The circuits that people train, as PennyLane tapes and as circuits of efl_core.

An entry makes its case from a seed: every angle and input feature is drawn from U(-pi, pi) unless its row
says otherwise. Only the trained parameters count: input features, encoded by fixed rotations, are not
trained. An answer is Z of one qubit, or `vector`: a unit combination of the Z of all qubits, as the
vector-Jacobian product of a model with an answer per qubit has it.

`CATALOGUE` lists the entries. Making a case takes milliseconds.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

import efl_core as efl

DATA = Path(__file__).parent.parent / "data"


@dataclass(frozen=True)
class Case:
    """One circuit at one draw of its angles; parameter k of both forms is the same."""

    tape: QuantumScript
    circuit: efl.Circuit
    observable: efl.PauliSum


@dataclass(frozen=True)
class Entry:
    """A row of the comparison."""

    name: str
    n: int
    make: Callable[[int], Case]
    """The case of a seed."""


class Script:
    """Gates in order, of which some are trained."""

    def __init__(self, n, seed, draw=None):
        self.n, self.rng = n, np.random.default_rng(seed)
        self.draw = draw or (lambda: self.rng.uniform(-np.pi, np.pi))
        self.operations, self.trained, self.used = [], [], 0

    def add(self, operation, trained=False):
        """Add a gate; each parameter of a trained one is trained."""
        if isinstance(operation, qml.Rot):  # so that every trained gate has one parameter
            for part in operation.decomposition():
                self.add(part, trained)
            return
        if trained:
            self.trained.append(self.used)
        self.operations.append(operation)
        self.used += operation.num_params

    def turn(self, gates, q):
        """Trained rotations of a qubit, e.g. ``("RY", "RZ")``."""
        for gate in gates:
            self.add(getattr(qml, gate)(self.draw(), q), trained=True)

    def turn_all(self, *gates):
        for q in range(self.n):
            self.turn(gates, q)

    def encode(self, trained=False):
        """Angle encoding of input features."""
        for q in range(self.n):
            self.add(qml.RY(self.rng.uniform(-np.pi, np.pi), q), trained)

    def bricks(self, layer):
        """Every other CZ of a chain."""
        for q in range(layer % 2, self.n - 1, 2):
            self.add(qml.CZ([q, q + 1]))

    def chain(self, gate=qml.CNOT):
        for q in range(self.n - 1):
            self.add(gate([q, q + 1]))

    def ring(self, gate=qml.CNOT):
        for q in range(self.n):
            self.add(gate([q, (q + 1) % self.n]))

    def case(self, observable):
        tape = QuantumScript(self.operations, [qml.expval(observable)], trainable_params=self.trained)
        circuit = efl.Circuit.from_tape(tape)
        return Case(tape, circuit, circuit.observables[0])


# ---- answers ---------------------------------------------------------------------------------------------


def vector(script):
    weights = script.rng.normal(size=script.n)
    return qml.dot(weights / np.linalg.norm(weights), [qml.Z(q) for q in range(script.n)])


def z(qubit):
    return lambda script: qml.Z(qubit)


def parity(script):
    return qml.prod(*(qml.Z(q) for q in range(script.n)))


def neighbours(script):
    """The unit sum of Z Z along the chain."""
    pairs = [qml.Z(q) @ qml.Z(q + 1) for q in range(script.n - 1)]
    return qml.dot([len(pairs) ** -0.5] * len(pairs), pairs)


def all_zeros(script):
    """The projector on |0...0>."""
    return _projector(0, script.n)


def _projector(index, n):
    """|index><index| in words of Z."""
    words = {}
    for support in range(2**n):
        wires = [q for q in range(n) if support >> (n - 1 - q) & 1]
        words[qml.pauli.PauliWord(dict.fromkeys(wires, "Z"))] = (-1) ** (support & index).bit_count() / 2**n
    return qml.pauli.PauliSentence(words).operation(range(n))


# ---- circuits --------------------------------------------------------------------------------------------


def strongly_entangling(s, layers, gate, trained="weights"):
    """Angle encoding and StronglyEntanglingLayers, the circuit of hybrid transformers (HyQuT)."""
    s.encode(trained == "inputs")
    shape = qml.StronglyEntanglingLayers.shape(layers, s.n)
    weights = np.array([s.draw() for _ in range(np.prod(shape))]).reshape(shape)
    template = qml.StronglyEntanglingLayers(weights, range(s.n), imprimitive=gate)
    for operation in template.decomposition():
        s.add(operation, trained == "weights" and operation.num_params > 0)


def brick(s, layers):
    """RY RZ and a brick wall of CZ, then RY RZ."""
    s.encode()
    for layer in range(layers):
        s.turn_all("RY", "RZ")
        s.bricks(layer)
    s.turn_all("RY", "RZ")


def controlled_ring(s, reaches):
    """One encoding, then CNOT(q, q + c) RY(q + c) around the ring three times for each c up to `reaches`.

    The circuit of quantum fine-tuning of language models (Kim et al. of IonQ).
    """
    s.encode()
    for _ in range(3):
        for c in range(1, reaches + 1):
            for q in range(s.n):
                s.add(qml.CNOT([q, (q + c) % s.n]))
                s.turn(["RY"], (q + c) % s.n)


def reuploaded_bricks(s, uploads):
    """The same with a brick wall of CZ for each ring: encoding, CZ, RY for each upload, then CZ, RY."""
    for layer in range(uploads + 1):
        if layer < uploads:
            s.encode()
        s.bricks(layer)
        s.turn_all("RY")


def reuploaded_qubit(s, times):
    """Data re-uploading as the activation function of a Kolmogorov-Arnold network (DARUAN)."""
    s.add(qml.RY(np.pi / 2, 0))
    for _ in range(times):
        s.turn(["RZ", "RY"], 0)
        s.add(qml.RZ(s.draw(), 0))
    s.turn(["RZ", "RY"], 0)


def basic_entangler(s, layers):
    """Angle encoding, then layers of RY and a ring of CNOT (BasicEntanglerLayers)."""
    s.encode()
    for _ in range(layers):
        s.turn_all("RY")
        s.ring()


def convolution(s):
    """Quantum convolutional network after Cong, Choi and Lukin: 8, 4, 2, 1 qubits.

    Between neighbours RY RY CNOT RY RY; the pooling is RZ CNOT RX.
    """
    s.encode()
    active = list(range(s.n))
    while len(active) > 1:
        count = len(active)
        pairs = [(i, i + 1) for i in range(0, count, 2)]
        pairs += [(i, (i + 1) % count) for i in range(1, count, 2)] if count > 2 else []
        for a, b in ((active[i], active[j]) for i, j in pairs):
            s.turn(["RY"], a)
            s.turn(["RY"], b)
            s.add(qml.CNOT([a, b]))
            s.turn(["RY"], a)
            s.turn(["RY"], b)
        for source, target in zip(active[1::2], active[::2], strict=True):
            s.turn(["RZ"], target)
            s.add(qml.CNOT([source, target]))
            s.turn(["RX"], target)
        active = active[::2]


def entangled_chain(s, layers):
    """RY and a chain of CNOT, then RY: the adapter of quantum tensor hybrid adaptation (QTHA)."""
    s.encode()
    for _ in range(layers):
        s.turn_all("RY")
        s.chain()
    s.turn_all("RY")


def feature_map(s, x):
    """Two layers of the feature map of Havlicek et al., with a trained RY on every qubit."""
    for _ in range(2):
        for q in range(s.n):
            s.add(qml.Hadamard(q))
            s.add(qml.RZ(x[q], q))
        for q in range(s.n - 1):
            s.add(qml.IsingZZ((np.pi - x[q]) * (np.pi - x[q + 1]) / np.pi, [q, q + 1]))
        s.turn_all("RY")


def projected_kernel(s):
    feature_map(s, s.rng.uniform(-np.pi, np.pi, s.n))


def fidelity_kernel(s):
    """The feature map of x, then the inverse one of x', with the same angles; each gate is trained."""
    x, other = s.rng.uniform(-np.pi, np.pi, (2, s.n))
    feature_map(s, x)
    angles = iter([s.operations[i].data[0] for i in _trained_gates(s)])
    mirror = Script(s.n, 0, lambda: next(angles))
    feature_map(mirror, other)
    trained = set(_trained_gates(mirror))
    for i in reversed(range(len(mirror.operations))):
        operation = mirror.operations[i]
        inverse = type(operation)(*(-d for d in operation.data), wires=operation.wires)
        s.add(inverse, i in trained)


def _trained_gates(script):
    owners = [i for i, operation in enumerate(script.operations) for _ in operation.data]
    return [owners[k] for k in script.trained]


def grover_attention(s):
    """Grover-inspired hard attention (GQHAN): a phase for every basis state, then a trained diffusion."""
    s.encode()
    for j in range(2**s.n):
        s.add(qml.evolve(_projector(j, s.n), s.draw()), trained=True)
    s.turn_all("RY")
    s.add(qml.evolve(_projector(0, s.n), s.draw()), trained=True)
    s.turn_all("RY")


def max_cut(s, edges, layers):
    """QAOA of MaxCut; one parameter for each cost layer and one for each mixer."""
    mixer = qml.dot([1.0] * s.n, [qml.X(q) for q in range(s.n)])
    for q in range(s.n):
        s.add(qml.Hadamard(q))
    for _ in range(layers):
        s.add(qml.evolve(cut(edges), s.draw()), trained=True)
        s.add(qml.evolve(mixer, s.draw()), trained=True)


def cut(edges):
    """Minus the cut, without the part that depends on no state."""
    return qml.dot([0.5] * len(edges), [qml.Z(a) @ qml.Z(b) for a, b in edges])


def _cycle(n):
    return [(q, (q + 1) % n) for q in range(n)]


def _cubic(n):
    """A random 3-regular graph: three ends per vertex, paired until no pair is a loop or comes twice."""
    rng = np.random.default_rng(7)
    while True:
        pairs = rng.permutation(np.repeat(np.arange(n), 3)).reshape(-1, 2)
        edges = {(int(min(pair)), int(max(pair))) for pair in pairs}
        if len(edges) == len(pairs) and all(a != b for a, b in edges):
            return sorted(edges)


def hardware_efficient(s, gate, layers, electrons):
    """The Hartree-Fock state, layers of RY RZ and a chain of CZ or CNOT, then RY RZ."""
    for q in range(electrons):
        s.add(qml.X(q))
    for _ in range(layers):
        s.turn_all("RY", "RZ")
        s.chain(gate)
    s.turn_all("RY", "RZ")


def random_clifford(s, layers):
    """Layers of random Cliffords of one qubit, CNOT or CZ of random pairs, RZ of every other qubit."""
    frames = [[], [qml.Hadamard], [qml.S], [qml.SX], [qml.Hadamard, qml.S], [qml.S, qml.Hadamard]]
    s.encode()
    for _ in range(layers):
        for q in range(s.n):
            for gate in frames[s.rng.integers(len(frames))]:
                s.add(gate(q))
        order = [int(q) for q in s.rng.permutation(s.n)]
        for a, b in zip(order[::2], order[1::2], strict=False):
            s.add([qml.CNOT, qml.CZ][s.rng.integers(2)]([a, b]))
        for q in order[::2]:
            s.turn(["RZ"], q)
    for q in range(s.n):
        for gate in frames[s.rng.integers(len(frames))]:
            s.add(gate(q))


# ---- the list --------------------------------------------------------------------------------------------


def _entry(name, n, build, answer, *arguments, **options):
    def make(seed):
        script = Script(n, seed)
        build(script, *arguments, **options)
        return script.case(answer(script))

    return Entry(f"{name} n={n}", n, make)


def _near_zero(n):
    """Strongly entangling layers with angles from N(0, 0.1)."""

    def make(seed):
        script = Script(n, seed)
        script.draw = lambda: script.rng.normal(0, 0.1)
        strongly_entangling(script, 2, qml.CNOT)
        return script.case(vector(script))

    return Entry(f"SEL-CNOT L2 near zero, vector n={n}", n, make)


def _qaoa(kind, n, layers):
    edges = _cycle(n) if kind == "ring" else _cubic(n)
    return _entry(f"QAOA {kind} p={layers}", n, max_cut, lambda s: cut(edges), edges, layers)


def _molecule(file, name, gate):
    found = json.loads((DATA / f"{file}.json").read_text())
    words = {
        qml.pauli.PauliWord({q: a for q, a in enumerate(label) if a != "I"}): coefficient
        for label, coefficient in found["words"].items()
    }
    n = len(next(iter(found["words"])))

    def energy(s):
        return qml.pauli.PauliSentence(words).operation(range(n))

    return _entry(f"HEA-{gate.__name__} {name}", n, hardware_efficient, energy, gate, 2, found["electrons"])


def _catalogue():
    sel, cnot, cz = strongly_entangling, qml.CNOT, qml.CZ
    rows = [_entry("SEL-CNOT L2, vector", n, sel, vector, 2, cnot) for n in (4, 6, 8, 10)]
    rows += [_entry("SEL-CNOT L1, vector", n, sel, vector, 1, cnot) for n in (6, 8)]
    rows += [_near_zero(8)]
    rows += [_entry("SEL-CNOT L2 inputs, vector", 6, sel, vector, 2, cnot, trained="inputs")]
    rows += [_entry(f"SEL-CNOT L{layers}, Z3", 6, sel, z(3), layers, cnot) for layers in (1, 2)]
    rows += [_entry("SEL-CZ L2, vector", n, sel, vector, 2, cz) for n in (4, 6, 8, 10)]
    rows += [_entry("SEL-CZ L2, Z3", 6, sel, z(3), 2, cz)]
    rows += [_entry("deep SEL L=2n, Z0", n, sel, z(0), 2 * n, cnot) for n in (4, 6, 8)]

    rows += [_entry(f"brick L{layers}, vector", 8, brick, vector, layers) for layers in (1, 2, 3, 4)]
    rows += [_entry("brick L2, vector", 10, brick, vector, 2)]
    rows += [_entry("brick L2, parity", 8, brick, parity, 2)]
    rows += [_entry(f"brick L{layers}, Z3", 6, brick, z(3), layers) for layers in (1, 2, 3)]
    rows += [_entry(f"brick L{layers}, vector", 6, brick, vector, layers) for layers in (1, 2, 3)]

    rows += [_entry("CNOT-RY ring, Z0", n, controlled_ring, z(0), 1) for n in (4, 6, 8, 10)]
    rows += [_entry("CNOT-RY ring C2, Z0", 8, controlled_ring, z(0), 2)]
    rows += [_entry("CNOT-RY ring, Z3", 6, controlled_ring, z(3), 1)]
    rows += [_entry("CNOT-RY ring, vector", 6, controlled_ring, vector, 1)]
    rows += [_entry(f"re-uploaded brick N{times}, Z3", 8, reuploaded_bricks, z(3), times) for times in (1, 2)]
    rows += [
        _entry(f"re-uploaded qubit r={times}, Z0", 1, reuploaded_qubit, z(0), times) for times in (1, 3, 5)
    ]

    rows += [
        _entry(f"RY-CNOT ring L{layers}, vector", 4, basic_entangler, vector, layers) for layers in (1, 2, 3)
    ]
    rows += [_entry("brick L2, vector", 4, brick, vector, 2)]
    for name, answer in (("Z3", z(3)), ("vector", vector)):
        rows += [_entry(f"RY-CNOT ring L{x}, {name}", 6, basic_entangler, answer, x) for x in (2, 3)]
    rows += [_entry("QCNN, Z0", 8, convolution, z(0))]
    rows += [_entry("RY-CNOT chain L2, vector", n, entangled_chain, vector, 2) for n in (4, 6, 8)]
    rows += [_entry("RY-CNOT chain L2, Z3", 6, entangled_chain, z(3), 2)]

    rows += [_entry("fidelity kernel", n, fidelity_kernel, all_zeros) for n in (2, 4, 6)]
    rows += [_entry("projected kernel", n, projected_kernel, neighbours) for n in (2, 4, 6)]
    rows += [_entry("Grover attention, Z0", 4, grover_attention, z(0))]

    rows += [_qaoa(kind, n, p) for kind in ("ring", "3-regular") for n in (4, 6, 8, 10) for p in (1, 2, 3)]
    for gate in (cz, cnot):
        rows += [_molecule("h2_4", "H2", gate)]
        rows += [_molecule(f"lih_{n}", "LiH", gate) for n in (4, 6, 8, 10, 12)]
    rows += [
        _entry(f"Clifford+RZ L{x}, vector", n, random_clifford, vector, x)
        for n in (4, 6, 8, 10)
        for x in (4, 8)
    ]
    return rows


CATALOGUE = _catalogue()
