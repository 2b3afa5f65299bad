"""Circuits and observables of Qiskit become ours: expectation values agree with Qiskit's state vectors."""

import numpy as np
import pytest

pytest.importorskip("qiskit", reason="`make test-qiskit` installs it")

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit import library as lib
from qiskit.quantum_info import (
    Operator,
    Pauli,
    SparseObservable,
    SparsePauliOp,
    Statevector,
    random_clifford,
)

import efl_core as efl
from efl_core.qiskit import pauli_sum

pytestmark = pytest.mark.filterwarnings("ignore")  # those of Qiskit and scipy
A = ParameterVector("a", 4)
GATES = {
    "u": lambda q: q.u(A[0], A[1], A[2], 0),
    "u2": lambda q: q.append(lib.U2Gate(A[0], A[1]), [1]),
    "u3": lambda q: q.append(lib.U3Gate(A[0], A[1], A[2]), [1]),
    "r": lambda q: q.r(A[0], A[1], 2),
    "p": lambda q: q.p(A[0], 2),
    "crx": lambda q: q.crx(A[0], 0, 2),
    "cry": lambda q: q.cry(A[0], 2, 1),
    "crz": lambda q: q.crz(A[0], 1, 0),
    "cp": lambda q: q.cp(A[0], 1, 0),
    "cu": lambda q: q.append(lib.CUGate(A[0], A[1], A[2], A[3]), [0, 2]),
    "rzx": lambda q: q.rzx(A[0], 2, 0),
    "affine in two": lambda q: q.rxx(2 * A[0] + A[1] - 1, 2, 0),
    "ecr": lambda q: q.ecr(0, 2),
    "iswap": lambda q: q.iswap(2, 1),
    "iswap_dg": lambda q: q.append(lib.iSwapGate().inverse(), [0, 1]),
    "ccx": lambda q: q.ccx(0, 1, 2),
    "cswap": lambda q: q.cswap(2, 0, 1),
    "xx_plus_yy": lambda q: q.append(lib.XXPlusYYGate(A[0], A[1]), [0, 2]),
    "clifford": lambda q: q.append(random_clifford(3, seed=1), [2, 0, 1]),
    "two controls": lambda q: q.append(lib.RXGate(A[0]).control(2), [0, 1, 2]),
    "open control": lambda q: q.append(lib.CXGate(ctrl_state=0), [1, 0]),
    "modifier": lambda q: q.append(lib.RXGate(A[0]).control(1, annotated=True), [0, 1]),
    "t": lambda q: (q.t(0), q.tdg(1)),
    "csdg": lambda q: q.csdg(0, 1),
    "matrix on two": lambda q: q.append(lib.UnitaryGate(Operator(lib.QFTGate(2)).data), [2, 0]),
    "matrix on three": lambda q: q.append(lib.UnitaryGate(Operator(lib.QFTGate(3)).data), [1, 0, 2]),
    "initialised": lambda q: None,
}


def assert_agrees(circuit):
    rng = np.random.default_rng(1)
    values = rng.uniform(-2, 2, circuit.num_parameters)
    found = efl.Circuit.from_qiskit(circuit, values)
    assert found.n_parameters == circuit.num_parameters
    state = Statevector(circuit.assign_parameters(values))
    for _ in range(8):
        word = SparsePauliOp("".join(rng.choice(list("IXYZ"), circuit.num_qubits)))
        value = efl.propagate(found, pauli_sum(word, circuit.num_qubits)).value
        assert value == pytest.approx(state.expectation_value(word).real, abs=1e-9)


@pytest.mark.parametrize("name", GATES)
def test_gates(name):
    circuit = QuantumCircuit(3)
    if name == "initialised":
        circuit.initialize([0.5, 0.5, 0.5, -0.5], [2, 0])
        circuit.reset(1)
    for q in range(3):
        circuit.ry(0.3 + 0.4 * q, q)
        circuit.rz(0.2 - 0.7 * q, q)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    GATES[name](circuit)
    circuit.barrier()
    circuit.h(0)
    circuit.sxdg(1)
    assert_agrees(circuit)


def test_a_gate_of_a_known_name_is_read_by_its_definition():
    inner = QuantumCircuit(1, name="x")
    inner.h(0)
    circuit = QuantumCircuit(1)
    circuit.append(inner.to_gate(), [0])
    assert efl.propagate(efl.Circuit.from_qiskit(circuit), "X").value == pytest.approx(1)


def test_evolutions_are_the_products_that_qiskit_runs():
    operator = SparsePauliOp(["ZZ", "XI"], [0.7, 0.4])
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.append(lib.PauliEvolutionGate(operator, A[0]), [0, 1])
    found = efl.Circuit.from_qiskit(circuit, [0.9])
    state = Statevector(circuit.decompose("PauliEvolution").assign_parameters([0.9]))
    assert efl.propagate(found, "YX").value == pytest.approx(state.expectation_value(Pauli("XY")).real)


@pytest.mark.parametrize(
    "operator",
    [
        SparsePauliOp(["IZ", "XX"], [1.0, 0.5]),
        SparseObservable.from_list([("IZ", 1.0), ("XX", 0.5)]),
        Operator(SparsePauliOp(["IZ", "XX"], [1.0, 0.5])),
    ],
    ids=lambda o: type(o).__name__,
)
def test_observables(operator):
    found = pauli_sum(operator, 2)
    assert (found.coefficient("ZI"), found.coefficient("XX"), len(found)) == (1.0, 0.5, 2)


def test_a_projector_is_an_observable():
    assert pauli_sum(SparseObservable("0I"), 2) == efl.PauliSum({"II": 0.5, "IZ": 0.5})
    assert pauli_sum(Pauli("-YI"), 2) == efl.PauliSum({"IY": -1.0})


def built(*steps):
    circuit = QuantumCircuit(1, 1)
    for name, *arguments in steps:
        getattr(circuit, name)(*arguments)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "message"),
    [
        (built(("rx", A[0].sin(), 0)), r"circuit: expected angles that are affine .*, got sin\(a\[0\]\)"),
        (built(("measure", 0, 0)), r"got measure on qubits \[0\] \(circuit.remove_final_measurements"),
        (built(("h", 0), ("reset", 0)), r"states initialised before any of them, got reset on qubits \[0\]"),
        ("circuit", "circuit: expected a QuantumCircuit, got str"),
    ],
)
def test_refused_circuits(circuit, message):
    with pytest.raises(efl.EflError, match=message):
        efl.Circuit.from_qiskit(circuit, None if isinstance(circuit, str) else [0.1] * circuit.num_parameters)


def test_refused_numbers():
    circuit = built(("rx", A[0], 0))
    with pytest.raises(efl.ShapeError, match=r"parameters: expected 1 values, got shape \(2,\)"):
        efl.Circuit.from_qiskit(circuit, [0.1, 0.2])
    with pytest.raises(efl.InvalidInputError, match="parameters"):
        efl.Circuit.from_qiskit(circuit, [np.nan])


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (SparsePauliOp(["Z"], [1j]), "observable: expected a Hermitian operator, got one with complex"),
        (SparsePauliOp(["Z"], np.array([A[0]])), "observable: expected numbers as coefficients"),
        (SparsePauliOp(["ZZ"]), "observable: expected one on the 1 qubits of the circuit, got 2"),
        ("Z", "observable: expected a SparsePauliOp, .* got str 'Z'"),
    ],
)
def test_refused_observables(operator, message):
    with pytest.raises(efl.EflError, match=message):
        pauli_sum(operator, 1)
