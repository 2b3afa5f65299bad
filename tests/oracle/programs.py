"""Random circuits, written three times: for efl_core, for PennyLane, and as dense matrices.

A program is a list of gates; an angle is ``(parameter, scale, offset)``, or a number if it is fixed.
"""

import numpy as np
import pennylane as qml
from scipy.linalg import expm
from tests.oracle.dense import sum_matrix, word_matrix

import efl_core as efl

# Name, number of wires and PennyLane's operation.
CLIFFORDS = {
    "H": (1, qml.H),
    "S": (1, qml.S),
    "SX": (1, qml.SX),
    "CNOT": (2, qml.CNOT),
    "CZ": (2, qml.CZ),
    "CY": (2, qml.CY),
    "ISWAP": (2, qml.ISWAP),
    "ECR": (2, qml.ECR),
}


def random_word(rng, n_qubits):
    """A label of one or two letters that are not I."""
    letters = ["I"] * n_qubits
    for q in rng.permutation(n_qubits)[: rng.integers(1, min(2, n_qubits) + 1)]:
        letters[q] = "XYZ"[rng.integers(3)]
    return "".join(letters)


def random_program(seed, n_qubits, n_gates, n_parameters):
    """Gates of all kinds; every parameter is used, most are shared by gates of different scale and offset."""
    rng = np.random.default_rng(seed)
    program = []
    for q in range(n_qubits):  # leaves the symmetric input
        program.append(("rotation", "I" * q + "Y" + "I" * (n_qubits - q - 1), float(rng.uniform(0.4, 1.2))))
    for k in range(n_gates):
        parameter = k if k < n_parameters else int(rng.integers(n_parameters))
        scale = [1.0, 1.0, 2.0, -0.5][rng.integers(4)]
        angle = (parameter, scale, float(rng.choice([0.0, 0.3, -0.8])))
        if k % 7 == 5:
            wire = int(rng.integers(n_qubits))
            program.append(("tilted", wire, float(rng.uniform(0.3, 1)), float(rng.uniform(0.3, 1)), angle))
        else:
            program.append(("rotation", random_word(rng, n_qubits), angle))
        name = rng.choice([name for name, (wires, _) in CLIFFORDS.items() if wires <= n_qubits])
        wires = [int(q) for q in rng.permutation(n_qubits)[: CLIFFORDS[name][0]]]
        program.append(("clifford", str(name), wires))
        if k % 5 == 2:
            matrix = rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2))
            program.append(("unitary", np.linalg.qr(matrix)[0], [int(rng.integers(n_qubits))]))
        if k % 3 == 1:
            program.append(("rotation", random_word(rng, n_qubits), float(rng.uniform(-2, 2))))
    return program


def random_observable(seed, n_qubits, n_terms=4):
    """A dict from labels to coefficients, the identity included."""
    rng = np.random.default_rng(seed)
    labels = ["".join(rng.choice(list("IXYZ"), n_qubits)) for _ in range(n_terms)]
    return {label: float(rng.normal()) for label in ["I" * n_qubits, *labels]}


def tilted_generator(wire, x, z, n_qubits):
    """The generator ``x X + z Z`` of a wire: words that do not commute."""
    return {
        "I" * wire + letter + "I" * (n_qubits - wire - 1): weight for letter, weight in (("X", x), ("Z", z))
    }


def build(program, n_qubits, parameters):
    """The program as an `efl_core.Circuit`."""
    circuit = efl.Circuit(n_qubits, parameters)

    def written(angle):
        return efl.Parameter(angle[0]) * angle[1] + angle[2] if isinstance(angle, tuple) else angle

    for kind, *gate in program:
        if kind == "rotation":
            circuit.rotation(gate[0], written(gate[1]))
        elif kind == "tilted":
            circuit.evolution(tilted_generator(*gate[:3], n_qubits), written(gate[3]))
        elif kind == "clifford":
            circuit.clifford(gate[0], *gate[1])
        else:
            circuit.unitary(gate[0], *gate[1])
    return circuit


def apply(program, parameters):
    """Queue the program's PennyLane operations."""

    def value(angle):
        return parameters[angle[0]] * angle[1] + angle[2] if isinstance(angle, tuple) else angle

    for kind, *gate in program:
        if kind == "rotation":
            letters = [(q, letter) for q, letter in enumerate(gate[0]) if letter != "I"]
            qml.PauliRot(value(gate[1]), "".join(x for _, x in letters), wires=[q for q, _ in letters])
        elif kind == "tilted":
            wire, x, z, angle = gate
            tilt = np.arctan2(x, z)  # x X + z Z = r RY(tilt) Z RY(-tilt)
            qml.RY(-tilt, wires=wire)
            qml.RZ(2 * np.hypot(x, z) * value(angle), wires=wire)
            qml.RY(tilt, wires=wire)
        elif kind == "clifford":
            CLIFFORDS[gate[0]][1](wires=gate[1])
        else:
            qml.QubitUnitary(gate[0], wires=gate[1])


def embedded(matrix, wires, n_qubits):
    """A matrix on some wires, the first most significant, as a matrix on all."""
    count = len(wires)
    rest = [q for q in range(n_qubits) if q not in wires]
    full = np.kron(matrix, np.eye(2 ** (n_qubits - count))).reshape((2,) * (2 * n_qubits))
    order = np.argsort([*wires, *rest])
    return full.transpose([*order, *(n_qubits + order)]).reshape(2**n_qubits, 2**n_qubits)


def dense_gates(program, n_qubits, parameters):
    """Of each gate the matrix, and the parameter with the generator A of ``exp(-i theta A)``, or None."""
    for kind, *gate in program:
        if kind in ("rotation", "tilted"):
            if kind == "rotation":
                generator = word_matrix(gate[0]) / 2
            else:
                generator = sum_matrix(tilted_generator(*gate[:3], n_qubits))
            if isinstance(gate[-1], tuple):
                parameter, scale, offset = gate[-1]
                angle = scale * parameters[parameter] + offset
                yield expm(-1j * angle * generator), (parameter, scale * generator)
            else:
                yield expm(-1j * gate[-1] * generator), None
        elif kind == "clifford":
            name, wires = gate
            yield embedded(qml.matrix(CLIFFORDS[name][1](wires=range(len(wires)))), wires, n_qubits), None
        else:
            yield embedded(gate[0], gate[1], n_qubits), None


def dense_gradients(program, n_qubits, parameters, observable):
    """Every gradient observable, ``sum over gates of i [V A V^dag, O]``, V the gates after the gate."""
    gradients = np.zeros((len(parameters), 2**n_qubits, 2**n_qubits), dtype=complex)
    after = np.eye(2**n_qubits, dtype=complex)
    for matrix, trained in reversed(list(dense_gates(program, n_qubits, parameters))):
        if trained:
            parameter, generator = trained
            moved = after @ generator @ after.conj().T
            gradients[parameter] += 1j * (moved @ observable - observable @ moved)
        after = after @ matrix
    return gradients


def matrix_of(observable, n_qubits):
    """A `PauliSum` as a dense matrix."""
    total = np.zeros((2**n_qubits, 2**n_qubits), dtype=complex)
    for word, coefficient in observable.terms():
        total += coefficient * word_matrix(str(word))
    return total


def operator(terms):
    """A dict from labels to coefficients as a PennyLane operator."""
    words = [qml.prod(*(getattr(qml, x)(q) for q, x in enumerate(label))) for label in terms]
    return qml.dot(list(terms.values()), words)
