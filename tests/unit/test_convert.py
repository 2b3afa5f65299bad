"""What a converted PennyLane circuit consists of, and what cannot be converted."""

import subprocess
import sys
from functools import partial

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl
from efl_core import Circuit, InputTypeError, InvalidInputError, PauliSum
from efl_core.pennylane import from_qnode, from_tape
from efl_core.pennylane.tapes.gates import CLIFFORDS, ROTATIONS, clifford, rotation

Z0 = qml.expval(qml.Z(0))


def tape(*operations, measured=(Z0,), trainable=None):
    return qml.tape.QuantumScript(operations, measured, trainable_params=trainable)


def test_parameters_are_those_of_the_tape_in_its_order():
    made = tape(qml.RX(0.1, 0), qml.Rot(0.2, 0.3, 0.4, 1), qml.RY(0.5, 0), trainable=[4, 1, 3])
    circuit = from_tape(made)
    np.testing.assert_array_equal(circuit.parameters, [0.5, 0.2, 0.4])
    np.testing.assert_array_equal(circuit.parameters, made.get_parameters())


def test_an_array_is_its_entries_row_after_row():
    weights = np.arange(12).reshape(1, 4, 3) / 10
    made = tape(qml.RX(-1.0, 0), qml.StronglyEntanglingLayers(weights, range(4)), qml.RX(9.0, 0))
    np.testing.assert_array_equal(from_tape(made).parameters, [-1, *weights.ravel(), 9])


def test_each_parameter_moves_the_circuit_as_it_moves_the_tape():
    """The affine dependence holds away from the point where it was read off."""
    gates = [qml.CRot(0.1, 0.2, 0.3, [0, 1]), qml.U3(0.4, 0.5, 0.6, 1), qml.PSWAP(0.7, [1, 0])]
    made = tape(qml.H(0), qml.RX(0.3, 1), *gates, qml.S(1), trainable=range(1, 8))
    circuit = from_tape(made)
    elsewhere = np.random.default_rng(4).uniform(-3, 3, 7)
    moved = made.bind_new_parameters(list(elsewhere), list(range(1, 8)))
    expected = qml.execute([moved], qml.device("default.qubit"))[0]
    assert efl.propagate(circuit.at(elsewhere)).value == pytest.approx(expected, abs=1e-12)


def test_trainable_coefficients_of_observables_are_left_out():
    hamiltonian = qml.Hamiltonian([0.5, 2.0], [qml.Z(0), qml.X(1)])
    circuit = from_tape(tape(qml.RX(0.1, 0), measured=[qml.expval(hamiltonian)]))
    assert circuit.parameters.tolist() == [0.1]
    assert circuit.observables == (PauliSum({"ZI": 0.5, "IX": 2.0}),)


def test_no_measurement_is_no_observable():
    assert from_tape(tape(qml.RX(0.1, 0), measured=())).observables == ()


def test_observables_of_the_identity_and_with_cancelling_phases():
    measured = [qml.expval(qml.I(0)), qml.expval(-1j * (qml.X(0) @ qml.Y(0)))]
    assert from_tape(tape(qml.X(0), measured=measured)).observables == (PauliSum("I"), PauliSum("Z"))


@pytest.mark.parametrize(
    ("wires", "expected"),
    [((2, 0, 1), (0, 1, 2)), ((2, 5), (2, 5)), (("b", "a"), ("b", "a")), ((1,), (1,))],
)
def test_wires_of_a_tape(wires, expected):
    circuit = from_tape(tape(*(qml.X(w) for w in wires), measured=[qml.expval(qml.Z(wires[0]))]))
    assert circuit.wires == expected
    assert circuit.observables == (PauliSum({expected.index(wires[0]): "Z"}, n_qubits=len(expected)),)


def test_wires_can_be_named():
    circuit = from_tape(tape(qml.X(0)), wires=["spare", 0])
    assert circuit.wires == ("spare", 0)
    assert circuit.copy().wires == circuit.at([]).wires == ("spare", 0)
    with pytest.raises(
        InvalidInputError, match=r"wires: expected each wire of the tape once, \[0\], got \[1\]"
    ):
        from_tape(tape(qml.X(0)), wires=[1])
    with pytest.raises(InvalidInputError, match="wires"):
        from_tape(tape(qml.X(0)), wires=[0, 0])
    assert Circuit(3).wires == (0, 1, 2)


def test_work_wires_are_qubits():
    gate = qml.MultiControlledX(range(5), work_wires=["w"], work_wire_type="zeroed")
    assert from_tape(tape(gate, measured=[qml.expval(qml.Z(4))])).wires == (0, 1, 2, 3, 4, "w")


def test_wires_of_a_qnode_are_those_of_its_device():
    def model():
        qml.X("b")
        return qml.expval(qml.Z("b"))

    with_wires = from_qnode(qml.QNode(model, qml.device("default.qubit", wires=["a", "b", "c"])))()
    assert with_wires.wires == ("a", "b", "c")
    assert with_wires.observables == (PauliSum("IZI"),)
    assert from_qnode(qml.QNode(model, qml.device("default.qubit")))().wires == ("b",)


def test_qnode_with_processing_keywords_and_transforms():
    @qml.transforms.merge_rotations
    @qml.qnode(qml.device("default.qubit"))
    def model(x, *, shift):
        qml.RX(2 * x[0], wires=0)
        qml.RX(x[1], wires=0)
        qml.RY(shift, wires=1)
        return qml.expval(qml.Z(0))

    circuit = from_qnode(model)(pnp.array([0.1, 0.5]), shift=0.7)
    assert circuit.n_gates == 2
    np.testing.assert_allclose(circuit.parameters, [0.7])
    assert circuit.at([0.2]).parameters == [0.2]
    assert efl.circuit(model)(pnp.array([0.1, 0.5]), shift=0.7).parameters.tolist() == [0.7]


def test_untrained_qnode_says_so():
    @qml.qnode(qml.device("default.qubit"))
    def model(x):
        qml.RX(x, wires=0)
        return qml.expval(qml.Z(0))

    for x in (0.3, np.array(0.3), pnp.array(0.3, requires_grad=False)):
        with pytest.warns(UserWarning, match="no trainable parameter"):
            circuit = from_qnode(model)(x)
        assert circuit.n_parameters == 0
        assert efl.propagate(circuit).value == pytest.approx(np.cos(0.3))


def test_tapes_of_a_gradient_transform():
    """Inside a differentiated function the parameters are boxes, and trainable as the framework says."""
    seen = []

    @partial(qml.transform, final_transform=True)
    def gradient(script):
        circuit = from_tape(script)
        seen.append(circuit)
        return [], lambda _: tuple(np.array(g) for g in efl.propagate(circuit).gradient)

    def model(x, y):
        qml.RX(2 * x, wires=0)
        qml.evolve(0.5 * qml.Y(0) + qml.Z(0), 0.4)
        qml.CRot(0.1, y, x, wires=[0, 1])
        return qml.expval(qml.Z(0) + qml.X(1))

    x, y = pnp.array(0.3), pnp.array(0.8)
    dev = qml.device("default.qubit")
    found = qml.grad(qml.QNode(model, dev, diff_method=gradient))(x, y)
    assert seen[0].parameters.tolist() == [0.6, 0.8, 0.3]
    np.testing.assert_allclose(found, qml.grad(qml.QNode(model, dev, diff_method="adjoint"))(x, y), atol=1e-9)


def test_tiny_slopes_are_kept():
    weak = qml.ApproxTimeEvolution(qml.dot([1e-12, 0.5], [qml.X(0), qml.Z(1)]), 0.7, 1)
    circuit = from_tape(tape(weak, trainable=[2], measured=[qml.expval(qml.Y(0))]))
    assert efl.propagate(circuit).gradient[0] == pytest.approx(-2e-12, rel=1e-3)


def test_single_precision_is_read_exactly():
    weights = np.random.default_rng(0).uniform(-2, 2, (2, 2, 3)).astype(np.float32)
    gates = [qml.StronglyEntanglingLayers(weights, range(2)), qml.CRot(*weights[0, 0], wires=[0, 1])]
    circuit = from_tape(tape(*gates))
    np.testing.assert_array_equal(circuit.parameters, [*weights.ravel(), *weights[0, 0]])


def test_what_has_no_effect_is_no_gate():
    idle = [qml.Barrier(0), qml.Snapshot(), qml.WireCut(0), qml.I(0), qml.GlobalPhase(0.2)]
    circuit = from_tape(tape(*idle, qml.BasisState([1], 0), trainable=[]))
    assert circuit.n_gates == 0
    assert efl.propagate(circuit).value == -1


def test_angles_stay_simple():
    """One gate where one parameter turns by one generator; an angle of two parameters is two gates."""
    assert from_tape(tape(qml.SingleExcitation(0.1, [0, 1]))).n_gates == 1
    assert from_tape(tape(qml.DoubleExcitation(0.1, range(4)))).n_gates == 1
    assert from_tape(tape(qml.CRX(0.1, [0, 1]))).n_gates == 1
    assert from_tape(tape(qml.Rot(0.1, 0.2, 0.3, 0))).n_gates == 3
    assert from_tape(tape(qml.Rot(0.1, 0.2, 0.3, 0), trainable=[])).n_gates == 1


def test_all_cliffords_are_named():
    one, two = (
        ["PauliX", "PauliY", "PauliZ", "Hadamard", "S", "SX"],
        ["CNOT", "CY", "CZ", "SWAP", "ISWAP", "ECR"],
    )
    gates = [getattr(qml, n)(0) for n in one] + [getattr(qml, n)([0, 1]) for n in two]
    gates += [qml.adjoint(g) for g in (qml.S(0), qml.SX(0), qml.ISWAP([0, 1]))]
    assert {g.name for g in gates} == set(CLIFFORDS) - {"Identity"}


def test_inputs():
    basis = from_tape(tape(qml.BasisState([1, 0], [0, 1]), trainable=[]))
    np.testing.assert_array_equal(basis.bloch, [[0, 0, -1], [0, 0, 1]])
    product = from_tape(tape(qml.StatePrep([0.5**0.5, 0, 0.5**0.5 * 1j, 0], [0, 1]), trainable=[]))
    np.testing.assert_allclose(product.bloch, [[0, 1, 0], [0, 0, 1]], atol=1e-12)
    entangled = from_tape(
        tape(qml.AmplitudeEmbedding([1, 0, 0, 1], [0, 1], normalize=True), qml.RX(0.1, 0), trainable=[1])
    )
    assert entangled.bloch is None
    with pytest.raises(InvalidInputError, match="product input state"):
        efl.propagate(entangled)


def measured_midway():
    with qml.queuing.AnnotatedQueue() as queue:
        outcome = qml.measure(0)
        qml.cond(outcome, qml.X)(1)
        qml.apply(Z0)
    return qml.tape.QuantumScript.from_queue(queue)


def conditional():
    return qml.tape.QuantumScript(measured_midway().operations[1:], [Z0])


class Opaque(qml.operation.Operation):
    """An operation that PennyLane knows nothing of."""

    num_wires = 1


class Squared(qml.operation.Operation):
    """An operation with an angle that is not affine."""

    num_params = num_wires = 1

    @staticmethod
    def compute_decomposition(angle, wires):
        return [qml.RX(angle**2, wires)]


class Branching(Squared):
    """An operation whose gates depend on its value."""

    @staticmethod
    def compute_decomposition(angle, wires):
        return [qml.RX(angle, wires) if angle < 0.5 else qml.RY(angle, wires)]


class Unused(Squared):
    """An operation that ignores its parameter."""

    @staticmethod
    def compute_decomposition(angle, wires):
        return [qml.X(wires)]


class Endless(Squared):
    """An operation that decomposes into itself."""

    @staticmethod
    def compute_decomposition(angle, wires):
        return [Endless(angle, wires)]


UNITARY = np.array([[0.6, 0.8], [-0.8, 0.6]])
WIDE = qml.dot([1.0] * 6, [qml.X(0), *(qml.Z(i) @ qml.Z(i + 1) for i in range(5))])
REFUSED = {
    "mid-circuit measurement": (measured_midway, "MidMeasure.*defer_measurements"),
    "conditional": (conditional, "Conditional.*defer_measurements"),
    "broadcast": (lambda: tape(qml.RX([0.1, 0.2], 0)), "broadcast of 2.*broadcast_expand"),
    "BasisState after a gate": (
        lambda: tape(qml.X(0), qml.BasisState([1], 0), trainable=[]),
        "BasisState.*move it to the start",
    ),
    "StatePrep after a gate": (
        lambda: tape(qml.X(0), qml.StatePrep([0, 1], 0), trainable=[]),
        "StatePrep.*move it to the start",
    ),
    "trained StatePrep": (lambda: tape(qml.StatePrep([0, 1.0], 0)), "to be angles.*StatePrep.*requires_grad"),
    "trained QubitUnitary": (lambda: tape(qml.QubitUnitary(UNITARY, 0)), "to be angles.*QubitUnitary"),
    "trained complex QubitUnitary": (
        lambda: tape(qml.QubitUnitary(1j * UNITARY, 0)),
        "real trainable parameters, got complex128 in QubitUnitary",
    ),
    "trained controlled QubitUnitary": (
        lambda: tape(qml.ctrl(qml.QubitUnitary(UNITARY, 0), 1)),
        "Controlled.*not affine",
    ),
    "trained noise": (lambda: tape(qml.BitFlip(0.1, 0)), "to be angles.*BitFlip.*tape.trainable_params"),
    "trained exp": (
        lambda: tape(qml.exp(qml.X(0), 0.1j)),
        r"complex128 in Exp.*qml\.evolve\(operator, time\)",
    ),
    "trained product of features": (
        lambda: tape(qml.IQPEmbedding([0.1, 0.2], range(2))),
        "a \\* theta \\+ b, got IQPEmbedding.*not affine",
    ),
    "trained coefficients of a generator": (
        lambda: tape(qml.ApproxTimeEvolution(qml.dot([0.3, 0.4], [qml.X(0), qml.Z(0)]), 0.7, 1)),
        "ApproxTimeEvolution.*not affine",
    ),
    "square": (lambda: tape(Squared(0.1, 0)), "a \\* theta \\+ b, got Squared.*not affine"),
    "branch": (lambda: tape(Branching(0.1, 0)), "Branching.*other gates at other parameters"),
    "unused": (lambda: tape(Unused(0.1, 0)), "Unused.*do not depend on all"),
    "endless": (lambda: tape(Endless(0.1, 0)), "Endless.*does not end"),
    "opaque": (lambda: tape(Opaque(0)), "the operation Opaque.*write it as gates"),
    "trained and opaque": (
        lambda: tape(qml.TRX(0.1, 0)),
        "with a Pauli generator .* the trained operation TRX",
    ),
    "real exp": (lambda: tape(qml.exp(qml.X(0), 0.1), trainable=[]), "Exp.*unitary"),
    "not a unitary": (lambda: tape(qml.Projector([0], 0), trainable=[]), "Projector.*unitary"),
    "wide channel": (
        lambda: tape(qml.QubitChannel([np.eye(8)], range(3)), trainable=[]),
        "the channel QubitChannel",
    ),
    "wide evolution": (lambda: tape(qml.evolve(WIDE, 0.3)), "Evolution.*at most 4 qubits.*Trotter product"),
    "NaN": (lambda: tape(qml.RX(np.nan, 0)), r"finite parameters, got RX\(nan"),
    "infinite and fixed": (
        lambda: tape(qml.Rot(0.1, np.inf, 0.2, 0), trainable=[]),
        "finite parameters, got Rot",
    ),
    "complex angle": (lambda: tape(qml.RX(0.1 + 0.2j, 0)), "real trainable parameters, got complex128 in RX"),
    "complex and fixed": (lambda: tape(qml.RX(0.1 + 0.2j, 0), trainable=[]), "a real angle, got RX"),
    "complex coefficient": (
        lambda: tape(qml.X(0), measured=[qml.expval(1j * qml.Z(0))]),
        "real coefficients, got 1j for Z",
    ),
    "non-Hermitian matrix": (
        lambda: tape(qml.X(0), measured=[qml.expval(qml.Hermitian(np.array([[0, 1], [0, 0]]), 0))]),
        "Hermitian matrix, got Hermitian",
    ),
    "wide matrix": (
        lambda: tape(qml.X(0), measured=[qml.expval(qml.Hermitian(np.eye(32), range(5)))]),
        r"at most 4 wires, got Hermitian\(.*sum of Pauli words",
    ),
    "probabilities of many wires": (
        lambda: tape(qml.X(0), measured=[qml.probs(range(9))]),
        "at most 8 wires, got 9, which are 512",
    ),
    "probabilities of a wide sum": (
        lambda: tape(qml.X(0), measured=[qml.probs(op=qml.prod(*map(qml.Hadamard, range(5))))]),
        "an observable on at most 4 wires",
    ),
    "sample": (lambda: tape(qml.X(0), measured=[qml.sample(wires=0)]), "got sample"),
    "counts": (lambda: tape(qml.X(0), measured=[qml.counts(wires=0)]), "got .*[cC]ounts"),
    "state": (lambda: tape(qml.X(0), measured=[qml.state()]), "got state"),
    "shadow": (lambda: tape(qml.X(0), measured=[qml.classical_shadow(0)]), "got shadow"),
    "shadow expectation": (lambda: tape(qml.X(0), measured=[qml.shadow_expval(qml.Z(0))]), "got "),
    "no wires": (lambda: tape(measured=()), "wires"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    make, message = REFUSED[name]
    with pytest.raises(InvalidInputError, match=message):
        from_tape(make())


def test_deferred_measurements_are_converted():
    [deferred], _ = qml.defer_measurements(measured_midway())
    assert efl.propagate(from_tape(deferred)).value == 1.0


def test_expanded_broadcast_is_converted():
    tapes, _ = qml.transforms.broadcast_expand(tape(qml.RX([0.1, 0.2], 0)))
    assert [from_tape(t).parameters.tolist() for t in tapes] == [[0.1], [0.2]]


def test_wrong_types():
    with pytest.raises(InputTypeError, match="tape: expected a PennyLane tape, got str"):
        from_tape("tape")
    with pytest.raises(InputTypeError, match="qnode: expected a PennyLane QNode, got function"):
        from_qnode(lambda: None)
    with pytest.raises(InputTypeError, match="QNode"):
        efl.circuit(tape())


def test_qnode_that_becomes_several_tapes():
    @qml.transforms.split_non_commuting
    @qml.qnode(qml.device("default.qubit"))
    def model():
        qml.H(0)
        return qml.expval(qml.X(0)), qml.expval(qml.Z(0))

    with pytest.raises(InvalidInputError, match="expected one tape, got 2"):
        from_qnode(model)()


def test_from_tape_is_a_method_of_circuit():
    assert Circuit.from_tape(tape(qml.RX(0.1, 0))).parameters.tolist() == [0.1]


def test_without_pennylane():
    code = """
import sys
sys.modules["pennylane"] = None
import efl_core as efl
try:
    efl.Circuit.from_tape(None)
except efl.MissingExtraError as error:
    assert 'pip install "efl-core[pennylane]"' in str(error), error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fixed_angles_become_inputs_where_they_are_wanted():
    gates = [
        qml.RX(0.1, 0),
        qml.Rot(0.2, np.pi, 0.4, 1),
        qml.RY(np.pi / 2, 0),
        qml.T(0),
        qml.QFT(range(2)),
        qml.CRZ(0.5, [0, 1]),
        qml.RZ(0.0, 1),
        qml.RY(0.7, 1),
    ]
    made = tape(*gates, trainable=[7])
    assert (from_tape(made).inputs.size, from_tape(made).parameters.tolist()) == (0, [0.7])
    circuit = from_tape(made, inputs=True)
    assert (circuit.inputs.tolist(), circuit.parameters.tolist()) == ([0.1, 0.2, np.pi, 0.4, 0.5, 0.0], [0.7])
    states = [efl.simulate(found) for found in (circuit, from_tape(made))]
    assert abs(np.vdot(*states)) == pytest.approx(1)


def test_equal_gates_with_other_data_make_an_equal_circuit():
    def made(x):
        gates = [qml.IQPEmbedding(x, range(3)), qml.CRot(*x, [0, 1]), qml.SingleExcitation(x[0], [1, 2])]
        return from_tape(tape(*gates, trainable=[]), inputs=True)

    data = np.random.default_rng(0).uniform(-3, 3, (2, 3))
    a, b = map(made, data)
    moved = a.at([], b.inputs)
    assert abs(np.vdot(efl.simulate(moved), efl.simulate(b))) == pytest.approx(1)
    assert abs(np.vdot(efl.simulate(a), efl.simulate(b))) < 0.99


def test_what_is_no_angle_is_no_input():
    gates = [
        qml.QubitUnitary(np.array([[0, 1], [1j, 0]]), 0),
        qml.DepolarizingChannel(0.1, 1),
        qml.BasisState(np.array([1]), wires=2),
        qml.Hadamard(0),
    ]
    assert from_tape(tape(*gates, trainable=[]), inputs=True).inputs.size == 0


def test_gates_are_read_as_they_are_written():
    """One table serves both directions."""
    for name, own in CLIFFORDS.items():
        width = 2 if own in ("CNOT", "CY", "CZ", "SWAP", "ISWAP", "ISWAPDG", "ECR") else 1
        assert clifford(own, range(width)).name == name
    for letters in set(ROTATIONS.values()) | {"XYZ", "XY"}:
        written = rotation(letters, 0.3, range(len(letters)))
        circuit = from_tape(tape(written, trainable=[0]))
        [(kind, (word, _))] = circuit._gates
        assert (kind, word.label) == ("rotation", letters)


def test_integer_scalars():
    """Those of pennylane.numpy are numpy's, and no tensors of a framework."""
    circuit = from_tape(tape(qml.RY(qml.numpy.int64(1), 0), qml.RX(np.int32(2), 0), trainable=[0]))
    np.testing.assert_array_equal(circuit.parameters, [1.0])
