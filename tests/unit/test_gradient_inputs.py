"""Circuits and gradients refuse bad input: the right class of error, which argument, what came.

A panic, an abort or a plain built-in exception is a failure.
"""

import copy
import pickle
import re

import numpy as np
import pytest

import efl_core as efl
from efl_core import (
    Circuit,
    InputTypeError,
    InvalidInputError,
    Parameter,
    PauliSum,
    ResourceLimitError,
    ShapeError,
    Truncation,
)

NAN, INF = float("nan"), float("inf")
FLIP = [0.5**0.5 * np.eye(2), 0.5**0.5 * np.array([[0, 1], [1, 0]])]


def model():
    """A fresh circuit of two qubits and two parameters."""
    return Circuit(2, [0.3, 0.4]).ry(Parameter(0), 0).clifford("CNOT", 0, 1).rx(Parameter(1), 1)


def deep():
    """One parameter, then many words."""
    circuit = Circuit(3, [0.3]).rx(Parameter(0), 0)
    for k in range(6):
        for q in range(3):
            circuit.ry(0.7 + q, q).rz(0.3 + k, q)
        circuit.clifford("CNOT", 0, 1).clifford("CNOT", 1, 2)
    return circuit


CIRCUIT, ROWS, DEEP = (
    model(),
    efl.gradient_observables(model(), "ZZ"),
    efl.gradient_observables(deep(), "ZZZ"),
)
SNAPS = efl.sample([1, 0, 0, 0], shots=10, seed=1)
WIDE = efl.sample(np.eye(8)[0], shots=10, seed=1)
BLIND = efl.Ensemble.biased([[0.5, 0.5, 0], [0.3, 0.3, 0.4]])
FIVE = {"I" * q + "X" + "I" * (4 - q): 1.0 for q in range(5)} | {"ZZZZZ": 1.0}


def case(identity, call, error, name, *said):
    return pytest.param(call, error, name, said, id=identity)


def propagated(observable="ZZ", **truncation):
    return lambda: efl.propagate(CIRCUIT, observable, truncation=Truncation(**truncation))


GATES = [
    case("angle-nan", lambda: model().rx(NAN, 0), InvalidInputError, "angle", "finite", "NaN"),
    case("angle-infinite", lambda: model().rz(-INF, 0), InvalidInputError, "angle", "finite", "inf"),
    case("angle-complex", lambda: model().rx(1j, 0), InputTypeError, "angle", "real number", "1j"),
    case("angle-numpy", lambda: model().rx(np.complex128(1), 0), InputTypeError, "angle", "real number"),
    case("angle-str", lambda: model().rx("half", 0), InputTypeError, "angle", "real number", "str 'half'"),
    case("angle-digits", lambda: model().rx("0.3", 0), InputTypeError, "angle", "str '0.3'"),
    case("angle-huge", lambda: model().rx(10**400, 0), InvalidInputError, "angle", "float"),
    case("scale-str", lambda: model().rx(Parameter(0, "x"), 0), InputTypeError, "angle", "scale", "str 'x'"),
    case("offset-none", lambda: model().rx(Parameter(0, 1.0, None), 0), InputTypeError, "angle", "offset"),
    case("product", lambda: Parameter(0) * Parameter(1), InputTypeError, "factor", "affine", "Parameter"),
    case("sum", lambda: Parameter(0) + Parameter(1), InputTypeError, "offset", "affine", "Parameter"),
    case("times-complex", lambda: 1j * Parameter(0), InputTypeError, "factor", "1j"),
    case("by-zero", lambda: Parameter(0) / 0, InvalidInputError, "divisor", "zero", "got 0"),
    case("minus-list", lambda: Parameter(0) - [1], InputTypeError, "offset", "[1]"),
    case("name-type", lambda: model().clifford(3, 0), InputTypeError, "name", "int 3"),
    case("kraus-type", lambda: model().channel(3, 0), InputTypeError, "kraus", "int"),
    case("kraus-mixed", lambda: model().channel([np.eye(2), np.eye(4)], 0), ShapeError, "kraus[1]", "(4, 4)"),
    case("angle-none", lambda: model().ry(None, 0), InputTypeError, "angle", "NoneType"),
    case("angle-vector", lambda: model().ry([0.1, 0.2], 0), InputTypeError, "angle", "[0.1, 0.2]"),
    case("evolution-nan", lambda: model().evolution("XX", NAN), InvalidInputError, "angle", "NaN"),
    case("rotation-nan", lambda: model().rotation("XX", NAN), InvalidInputError, "angle", "NaN"),
    case("parameter", lambda: model().rx(Parameter(2), 0), InvalidInputError, "angle", "below 2", "got 2"),
    case("parameter-negative", lambda: model().rx(Parameter(-1), 0), InvalidInputError, "angle", "-1"),
    case("parameter-str", lambda: model().rx(Parameter("a"), 0), InputTypeError, "angle", "str 'a'"),
    case("parameter-float", lambda: model().rx(Parameter(0.0), 0), InputTypeError, "angle", "float 0.0"),
    case("scale-nan", lambda: model().rx(Parameter(0, NAN), 0), InvalidInputError, "angle", "NaN"),
    case("offset-nan", lambda: model().rx(Parameter(0) + INF, 0), InvalidInputError, "angle", "inf"),
    case("twice", lambda: model().clifford("CZ", 1, 1), InvalidInputError, "wires", "once", "qubit 1 twice"),
    case("unitary-twice", lambda: model().unitary(np.eye(4), 0, 0), InvalidInputError, "wires", "0 twice"),
    case("channel-twice", lambda: model().channel([np.eye(4)], 0, 0), InvalidInputError, "wires", "0 twice"),
    case("wire", lambda: model().clifford("H", 2), InvalidInputError, "wires", "below 2", "got 2"),
    case("wire-negative", lambda: model().clifford("H", -1), InvalidInputError, "wires", "-1"),
    case("wire-float", lambda: model().clifford("H", 0.0), InputTypeError, "wires", "float 0.0"),
    case("wire-str", lambda: model().rx(0.1, "a"), InputTypeError, "wire", "str 'a'"),
    case("rx-negative", lambda: model().rx(0.1, -1), InvalidInputError, "wire", "-1"),
    case("wires-many", lambda: model().clifford("H", 0, 1), ShapeError, "wires", "1 for H", "got 2"),
    case("wires-none", lambda: model().clifford("CNOT"), ShapeError, "wires", "2 for CNOT", "got 0"),
    case("unknown", lambda: model().clifford("FOO", 0), InvalidInputError, "name", "CNOT", "ECR", "'FOO'"),
    case("lower-case", lambda: model().clifford("cz", 0, 1), InvalidInputError, "name", "'cz'"),
    case("no-unitary", lambda: model().unitary([[1, 0], [0, 2]], 0), InvalidInputError, "matrix", "unitary"),
    case("matrix-nan", lambda: model().unitary([[NAN, 0], [0, 1]], 0), InvalidInputError, "matrix", "finite"),
    case("matrix-size", lambda: model().unitary(np.eye(2), 0, 1), ShapeError, "matrix", "4 x 4", "got 4"),
    case("matrix-shape", lambda: model().unitary(np.ones((2, 3)), 0), ShapeError, "matrix", "(2, 3)"),
    case("matrix-ragged", lambda: model().unitary([[1, 0], [0]], 0), ShapeError, "matrix", "lengths"),
    case("matrix-str", lambda: model().unitary("abc", 0), InputTypeError, "matrix", "dtype <U3"),
    case("matrix-wires", lambda: Circuit(3).unitary(np.eye(8), 0, 1, 2), ShapeError, "wires", "1 or 2", "3"),
    case("matrix-no-wires", lambda: model().unitary(np.eye(2)), ShapeError, "wires", "1 or 2", "got 0"),
    case("kraus-sum", lambda: model().channel([np.eye(2)] * 2, 0), InvalidInputError, "kraus", "K^dag K = 1"),
    case("kraus-none", lambda: model().channel([], 0), InvalidInputError, "kraus"),
    case("kraus-size", lambda: model().channel([np.eye(4)], 0), ShapeError, "kraus", "2 x 2", "got 16"),
    case("kraus-shape", lambda: model().channel([np.eye(2), [1]], 0), ShapeError, "kraus[1]", "(1,)"),
    case(
        "kraus-nan", lambda: model().channel([np.full((2, 2), NAN)], 0), InvalidInputError, "kraus", "finite"
    ),
    case(
        "generator", lambda: Circuit(5).evolution(FIVE, 0.1), InvalidInputError, "generator", "4 qubits", "5"
    ),
    case("word-letter", lambda: model().rotation("XQ", 0.1), InvalidInputError, "word", "'Q' at position 1"),
    case("word-width", lambda: model().rotation("XYZ", 0.1), ShapeError, "word", "2 qubits", "got 3 qubits"),
    case("word-type", lambda: model().rotation(3, 0.1), InputTypeError, "word", "Pauli word", "int 3"),
    case("rx-wire", lambda: model().rx(0.1, 2), InvalidInputError, "wire", "0 to 1", "got 2"),
    case(
        "generator-width",
        lambda: model().evolution("XXX", 0.1),
        ShapeError,
        "generator",
        "2 qubits",
        "3 qubits",
    ),
    case(
        "generator-complex",
        lambda: model().evolution({"XX": 1j}, 0.1),
        InputTypeError,
        "generator",
        "real",
        "1j",
    ),
    case(
        "generator-nan",
        lambda: model().evolution({"XX": NAN}, 0.1),
        InvalidInputError,
        "generator",
        "finite",
        "NaN",
    ),
    case(
        "generator-type",
        lambda: model().evolution(3, 0.1),
        InputTypeError,
        "generator",
        "Pauli word or sum",
        "int 3",
    ),
]

CIRCUITS = [
    case("width-zero", lambda: Circuit(0), InvalidInputError, "n_qubits", "got 0"),
    case("width-negative", lambda: Circuit(-1), InvalidInputError, "n_qubits", "got -1"),
    case("width-float", lambda: Circuit(2.0), InputTypeError, "n_qubits", "float 2.0"),
    case("width-huge", lambda: Circuit(2**40), InvalidInputError, "n_qubits", str(2**40)),
    case("parameters-nan", lambda: Circuit(1, [0, NAN]), InvalidInputError, "parameters[1]", "nan"),
    case("parameters-str", lambda: Circuit(1, ["a"]), InputTypeError, "parameters", "dtype <U1"),
    case("parameters-none", lambda: Circuit(1, None), InputTypeError, "parameters", "dtype object"),
    case("parameters-table", lambda: Circuit(1, [[1]]), ShapeError, "parameters", "(1, 1)"),
    case("parameters-ragged", lambda: Circuit(1, [[1], [1, 2]]), ShapeError, "parameters", "lengths"),
    case("at-short", lambda: CIRCUIT.at([1.0]), ShapeError, "parameters", "2 values", "got 1"),
    case("at-long", lambda: CIRCUIT.at([1, 2, 3]), ShapeError, "parameters", "2 values", "got 3"),
    case("at-infinite", lambda: CIRCUIT.at([-INF, 1]), InvalidInputError, "parameters[0]", "-inf"),
    case("at-complex", lambda: CIRCUIT.at([1, 1j]), InputTypeError, "parameters", "complex128"),
    case("at-scalar", lambda: CIRCUIT.at(1.0), ShapeError, "parameters", "()"),
    case("prepare-shape", lambda: model().prepare([[0, 0, 1]]), ShapeError, "bloch", "(2, 3)", "(1, 3)"),
    case("prepare-str", lambda: model().prepare("up"), InputTypeError, "bloch", "dtype <U2"),
    case("prepare-complex", lambda: model().prepare([[0, 0, 1j]] * 2), InputTypeError, "bloch", "complex128"),
    case("tape", lambda: Circuit.from_tape(3), InputTypeError, "tape", "int"),
    case("qnode", lambda: efl.circuit(3)(1), InputTypeError, "qnode", "int"),
]


def prepared(bloch):
    return lambda: efl.propagate(model().prepare(bloch), "ZZ")


ANSWERS = [
    case("circuit", lambda: efl.propagate("circuit", "ZZ"), InputTypeError, "circuit", "Circuit", "str"),
    case("circuit-none", lambda: efl.gradient_observables(None, "Z"), InputTypeError, "circuit", "NoneType"),
    case("none", lambda: efl.gradient_observables(CIRCUIT), InvalidInputError, "observables", "got none"),
    case("empty", lambda: efl.gradient_observables(CIRCUIT, []), InvalidInputError, "observables", "empty"),
    case("propagate-none", lambda: efl.propagate(CIRCUIT), InvalidInputError, "observable", "has 0"),
    case(
        "propagate-list", propagated(["ZZ", "XX"]), InputTypeError, "observable", "Pauli word or sum", "list"
    ),
    case(
        "type",
        lambda: efl.gradient_observables(CIRCUIT, [5]),
        InputTypeError,
        "observables[0]",
        "word or sum",
        "int 5",
    ),
    case("propagate-type", propagated(5), InputTypeError, "observable", "Pauli word or sum", "int 5"),
    case(
        "width",
        lambda: efl.gradient_observables(CIRCUIT, ["ZZ", "ZZZ"]),
        ShapeError,
        "observables",
        "got 3 qubits",
    ),
    case("propagate-width", propagated("Z"), ShapeError, "observable", "2 qubits", "got 1 qubits"),
    case("letter", propagated("ZQ"), InvalidInputError, "observable", "'Q' at position 1"),
    case("coefficient-nan", propagated({"ZZ": NAN}), InvalidInputError, "observable", "finite", "NaN"),
    case("coefficient-complex", propagated({"ZZ": 1j}), InputTypeError, "observable", "real number", "1j"),
    case("input", prepared(None), InvalidInputError, "circuit", "product input", "gradient_observables"),
    case("bloch-long", prepared([[0, 0, 2], [0, 0, 1]]), InvalidInputError, "bloch", "at most 1", "qubit 0"),
    case("bloch-nan", prepared([[0, 0, 1], [0, NAN, 1]]), InvalidInputError, "bloch", "qubit 1"),
    case("weight", propagated(max_weight=-1), InvalidInputError, "max_weight", "got -1"),
    case("weight-float", propagated(max_weight=1.5), InputTypeError, "max_weight", "float 1.5"),
    case("cut-negative", propagated(min_coefficient=-1), InvalidInputError, "min_coefficient", "got -1"),
    case("cut-nan", propagated(min_coefficient=NAN), InvalidInputError, "min_coefficient", "NaN"),
    case("cut-infinite", propagated(min_coefficient=INF), InvalidInputError, "min_coefficient", "inf"),
    case("cut-none", propagated(min_coefficient=None), InputTypeError, "min_coefficient", "None"),
    case("cut-complex", propagated(min_coefficient=1j), InputTypeError, "min_coefficient", "1j"),
    case("cut-str", propagated(min_coefficient="0.1"), InputTypeError, "min_coefficient", "str '0.1'"),
    case(
        "truncation", lambda: efl.propagate(CIRCUIT, "ZZ", truncation=3), InputTypeError, "truncation", "int"
    ),
    case("truncate", lambda: ROWS.rebase([1, 2], truncation=3), InputTypeError, "truncation", "int"),
    case("number", lambda: efl.gradient_observables(CIRCUIT, 5), InputTypeError, "observables", "int 5"),
    case("at-short", lambda: ROWS.at([1.0]), ShapeError, "parameters", "2 values", "got 1"),
    case("at-rebased", lambda: ROWS.rebase([1, 2]).at([1, 2]), InvalidInputError, "observables", "rebased"),
    case("budget", propagated(max_terms=0), InvalidInputError, "max_terms", "got 0"),
    case("budget-float", propagated(max_terms=2.0), InputTypeError, "max_terms", "float 2.0"),
    case("derivative", lambda: ROWS.derivative(0, 2), InvalidInputError, "parameter", "0 to 1", "got 2"),
    case("derivative-of", lambda: ROWS.derivative(1, 0), InvalidInputError, "observable", "0 to 0", "got 1"),
    case("derivative-last", lambda: ROWS.derivative(0, -1), InvalidInputError, "parameter", "got -1"),
    case("derivative-str", lambda: ROWS.derivative(0, "a"), InputTypeError, "parameter", "str 'a'"),
    case("rebase", lambda: ROWS.rebase([1.0]), ShapeError, "parameters", "2 values", "got 1"),
    case("rebase-nan", lambda: ROWS.rebase([1.0, NAN]), InvalidInputError, "parameters[1]", "nan"),
]


def estimated(snaps=SNAPS, rows=ROWS, **options):
    return lambda: efl.gradient(snaps, rows, **options)


MEDIAN = {"combine": "median_of_means"}
ESTIMATES = [
    case("snaps", estimated(3), InputTypeError, "snaps", "Snapshots", "int"),
    case("tally", estimated(efl.tally(SNAPS, "ZZ")), InputTypeError, "snaps", "Tally"),
    case("width", estimated(WIDE), ShapeError, "snaps", "2 qubits", "got 3 qubits"),
    case("no-snapshots", estimated(SNAPS[:0]), InvalidInputError, "snaps", "at least one", "none"),
    case("observables", estimated(rows="ZZ"), InputTypeError, "observables", "gradient_observables", "str"),
    case("circuit", estimated(rows=CIRCUIT), InputTypeError, "observables", "got Circuit"),
    case("combine", estimated(combine="sum"), InvalidInputError, "combine", "hit_normalised", "'sum'"),
    case("combine-none", estimated(combine=None), InvalidInputError, "combine", "'mean'", "None"),
    case("buckets", estimated(buckets=3), InvalidInputError, "buckets", "median_of_means", "got int 3"),
    case("buckets-zero", estimated(**MEDIAN, buckets=0), InvalidInputError, "buckets", "got 0"),
    case("buckets-many", estimated(**MEDIAN, buckets=11), InvalidInputError, "buckets", "1 to 10", "got 11"),
    case("buckets-float", estimated(**MEDIAN, buckets=3.0), InputTypeError, "buckets", "float 3.0"),
    case(
        "never-revealed",
        estimated(SNAPS.with_ensemble(BLIND), efl.gradient_observables(CIRCUIT, "XX")),
        InvalidInputError,
        "observables",
        "got ZI",
        "never",
    ),
]


@pytest.mark.parametrize(("call", "error", "name", "said"), [*GATES, *CIRCUITS, *ANSWERS, *ESTIMATES])
def test_refused(call, error, name, said):
    with pytest.raises(efl.EflError) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is error, text
    assert re.match(re.escape(name) + r"[:\[,]", text), text
    assert "expected" in text, text
    assert ", got " in text, text
    for part in said:
        assert part in text, text


@pytest.mark.parametrize(
    "call",
    [
        lambda: efl.propagate(deep(), "ZZZ", truncation=Truncation(max_terms=4)),
        lambda: efl.propagate(deep(), "ZZZ", truncation=Truncation(max_terms=4), gradient=False),
        lambda: efl.gradient_observables(deep(), "ZZZ", truncation=Truncation(max_terms=4)),
        lambda: DEEP.rebase([2.2], truncation=Truncation(max_terms=4)),
    ],
    ids=["propagate", "value", "gradient_observables", "rebase"],
)
def test_a_budget_says_what_is_needed_and_what_to_change(call):
    with pytest.raises(ResourceLimitError, match=r"terms .* \d+ needed, the limit is 4") as caught:
        call()
    needed = int(re.search(r"(\d+) needed", str(caught.value))[1])
    assert needed > 4
    for remedy in ("max_terms", "max_weight", "min_coefficient"):
        assert remedy in str(caught.value)


def test_a_sufficient_budget_changes_nothing():
    exact = efl.gradient_observables(deep(), "ZZZ", truncation=Truncation(max_terms=64))
    assert exact.gradients == DEEP.gradients


def test_a_channel_in_the_forward_cone_that_loses_letters_is_refused():
    noisy = model().channel(FLIP, 1)
    with pytest.raises(InvalidInputError, match="a channel at gate 3, after gate 0 of parameter 0") as caught:
        efl.gradient_observables(noisy, "ZZ")
    assert str(caught.value).startswith("circuit: expected channels")
    assert "leave something of every letter" in str(caught.value)
    assert abs(efl.propagate(noisy, "ZZ").value) < 1e-12  # which has no such limit
    # Before the trainable gates, or off their light cone, it does no harm.
    before = Circuit(2, [0.3]).channel(FLIP, 0).ry(Parameter(0), 0).channel(FLIP, 1)
    found = efl.gradient_observables(before, "ZI")
    assert found.gradients == [PauliSum({"XI": -1.0})] or found.gradients == [PauliSum({"XI": 1.0})]


def test_rebasing_over_a_channel_is_refused():
    circuit = Circuit(2, [0.3]).ry(Parameter(0), 0).channel(FLIP, 1)
    rows = efl.gradient_observables(circuit, "ZI")
    with pytest.raises(InvalidInputError, match=r"^circuit: expected unitary gates only .* gate 1$"):
        rows.rebase([0.5])


def test_a_refused_gate_leaves_the_circuit_as_it_was():
    circuit = model()
    before = efl.propagate(circuit, "ZZ")
    for call, *_ in (parameter.values for parameter in GATES):
        with pytest.raises(efl.EflError):
            call()
    for bad in (
        lambda: circuit.rx(NAN, 0),
        lambda: circuit.clifford("CZ", 0, 0),
        lambda: circuit.unitary(np.ones((2, 2)), 0),
        lambda: circuit.channel([np.eye(2), np.eye(2)], 0),
        lambda: circuit.rotation("XYZ", 0.2),
        lambda: circuit.evolution({"XX": NAN}, 0.2),
    ):
        with pytest.raises(efl.EflError):
            bad()
    assert circuit.n_gates == 3
    after = efl.propagate(circuit, "ZZ")
    assert after.value == before.value
    assert (after.gradient == before.gradient).all()


def test_parameter_arithmetic_is_affine():
    theta = Parameter(3)
    assert theta == Parameter(3, 1.0, 0.0)
    assert 2 * theta == theta * 2
    assert 2 * theta + 0.5 == Parameter(3, 2.0, 0.5) == 0.5 + theta * 2
    assert (2 * theta + 0.5) / 2 == Parameter(3, 1.0, 0.25)
    assert -(2 * theta + 0.5) == Parameter(3, -2.0, -0.5)
    assert 1 - theta == Parameter(3, -1.0, 1.0)
    assert theta - 1 == Parameter(3, 1.0, -1.0)
    assert 3 * (theta - 1) + 3 == Parameter(3, 3.0, 0.0)
    assert np.float64(2) * theta + np.float64(0.5) == Parameter(3, 2.0, 0.5)
    assert np.float64(2) - theta == Parameter(3, -1.0, 2.0)
    assert isinstance((np.float64(2) * theta).scale, float)
    assert repr(2 * theta + 0.5) == "Parameter(index=3, scale=2.0, offset=0.5)"
    assert {theta: 1}[Parameter(3)] == 1
    with pytest.raises(AttributeError):
        theta.index = 1
    assert pickle.loads(pickle.dumps(theta)) == theta


def test_a_parameter_that_is_never_used():
    found = efl.gradient_observables(Circuit(1, [0.1, 0.2]).ry(Parameter(1), 0), "Z")
    assert found.is_zero.tolist() == [True, False]
    assert repr(found) == (
        "GradientObservables(1 observables, 2 parameters, 2 words, 1 derivatives identically zero, "
        "error <= 0)"
    )


def test_a_circuit_without_parameters():
    circuit = Circuit(1)
    found = efl.gradient_observables(circuit, "Z")
    assert (found.gradients, found.n_parameters, found.is_zero.shape) == ([], 0, (0,))
    estimate = efl.gradient(efl.sample([1, 0], shots=50, seed=1), found)
    assert (estimate.gradient.shape, estimate.stderr.shape) == ((0,), (0,))
    assert repr(estimate) == "Gradient(0 parameters, rms stderr 0, shots=50)"
    assert efl.propagate(circuit, "Z").gradient.shape == (0,)


def test_a_copy_is_independent():
    circuit = model()
    other = circuit.copy()
    other.rx(0.7, 0)
    other.prepare([[1, 0, 0], [0, 0, 1]])
    assert (circuit.n_gates, other.n_gates) == (3, 4)
    assert circuit.bloch.tolist() == [[0, 0, 1], [0, 0, 1]]
    assert efl.propagate(circuit, "ZZ").value == pytest.approx(efl.propagate(model(), "ZZ").value)
    assert efl.propagate(other, "ZZ").value != pytest.approx(efl.propagate(model(), "ZZ").value)


def test_at_shares_the_gates_and_has_its_own_parameters():
    circuit = model()
    other = circuit.at([1.0, 2.0])
    assert circuit.parameters.tolist() == [0.3, 0.4]
    assert other.parameters.tolist() == [1.0, 2.0]
    assert (other.n_qubits, other.n_gates, other.n_parameters) == (2, 3, 2)
    other.prepare(None)
    assert circuit.bloch is not None
    expected = Circuit(2, [1.0, 2.0]).ry(Parameter(0), 0).clifford("CNOT", 0, 1).rx(Parameter(1), 1)
    assert (
        efl.gradient_observables(other, "ZZ").gradients == efl.gradient_observables(expected, "ZZ").gradients
    )
    with pytest.raises(ValueError, match="read-only"):
        circuit.parameters[0] = 1.0


def with_inputs():
    """A parameter between two inputs."""
    circuit = Circuit(2, [0.3])
    a, b = circuit.input(0.5), circuit.input(-1)
    circuit.ry(a, 0).clifford("CNOT", 0, 1).rx(Parameter(0), 1)
    return circuit.evolution({"XY": 0.4, "ZI": 0.3}, b)


def test_inputs_are_angles_without_derivatives():
    circuit = with_inputs()
    assert (circuit.n_parameters, circuit.inputs.tolist()) == (1, [0.5, -1.0])
    rows = efl.gradient_observables(circuit, "ZZ")
    for x in [(0.5, -1.0), (0.0, np.pi / 2), (2.0, 0.0)]:
        fixed = Circuit(2, [0.7]).ry(x[0], 0).clifford("CNOT", 0, 1).rx(Parameter(0), 1)
        fixed.evolution({"XY": 0.4, "ZI": 0.3}, x[1])
        moved = circuit.at([0.7], inputs=x)
        np.testing.assert_allclose(efl.simulate(moved), efl.simulate(fixed), atol=1e-14)
        a, b = efl.propagate(moved, "ZZ"), efl.propagate(fixed, "ZZ")
        assert (a.value, *a.gradient) == pytest.approx((b.value, *b.gradient), abs=1e-14)
        [wanted] = efl.gradient_observables(fixed, "ZZ").gradients
        [found] = rows.at([0.7], inputs=x).gradients
        assert (found - wanted).l1_norm < 1e-14
    assert circuit.at([0.1]).inputs.tolist() == [0.5, -1.0]


def test_inputs_are_copied_pickled_and_checked():
    circuit = with_inputs()
    for other in (circuit.copy(), copy.deepcopy(circuit), pickle.loads(pickle.dumps(circuit))):
        assert other.inputs.tolist() == [0.5, -1.0]
        assert np.array_equal(efl.simulate(other), efl.simulate(circuit))
        other.rz(other.input(0.1), 0)
        assert (len(other.inputs), len(circuit.inputs)) == (3, 2)
    with pytest.raises(ValueError, match="read-only"):
        circuit.inputs[0] = 1.0
    with pytest.raises(ShapeError, match="inputs: expected 2 values, got 1"):
        circuit.at([0.3], inputs=[0.5])
    with pytest.raises(InvalidInputError, match="value"):
        circuit.input(NAN)
    with pytest.raises(InputTypeError, match="value"):
        circuit.input("x")
    with pytest.raises(InvalidInputError, match="angle: expected an input below 0, got 1"):
        Circuit(1).rx(efl.circuits.Input(1), 0)


def test_parameters_are_copied_in():
    values = np.array([0.3, 0.4])
    circuit = Circuit(2, values).ry(Parameter(0), 0)
    values[:] = 9
    assert circuit.parameters.tolist() == [0.3, 0.4]
    assert circuit.at(np.array([1, 2], dtype=np.int8)).parameters.dtype == np.float64
    bloch = np.array([[1.0, 0, 0], [0, 0, 1]])
    circuit.prepare(bloch)
    bloch[:] = 9
    assert circuit.bloch.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_observables_keep_the_parameters_they_were_made_for():
    assert ROWS.circuit.parameters.tolist() == [0.3, 0.4]
    assert ROWS.rebase([0.1, 0.2]).circuit.parameters.tolist() == [0.3, 0.4]


def test_calls_chain():
    circuit = Circuit(2, [0.1])
    assert circuit.prepare([[0, 0, 1]] * 2) is circuit
    assert circuit.rx(0.1, 0).ry(0.1, 0).rz(0.1, 0).rotation("XX", Parameter(0)) is circuit
    assert circuit.evolution({"XX": 0.5, "ZZ": 1}, 0.1).unitary(np.eye(2), 0).channel(FLIP, 1) is circuit
    assert circuit.clifford("SXDG", 0) is circuit
    assert circuit.n_gates == 8


def test_reprs_say_what_it_is():
    assert repr(model()) == "Circuit(2 qubits, 3 gates, 2 parameters)"
    assert repr(efl.propagate(CIRCUIT, "ZZ")) == (
        "Propagation(value=0.921061, 2 parameters, 2 terms, error <= 0)"
    )
    cut = efl.propagate(CIRCUIT, "ZZ", truncation=Truncation(min_coefficient=0.5))
    assert "error <= 0.39" in repr(cut)
    assert cut.dropped.count == 1
    assert repr(Truncation(max_weight=3)) == "Truncation(max_weight=3, min_coefficient=0.0, max_terms=None)"
    several = efl.gradient(SNAPS, efl.gradient_observables(CIRCUIT, ["ZZ", "XI"]))
    assert re.fullmatch(r"Gradient\(2 parameters, rms stderr [\d.]+, shots=10\)", repr(several))
    assert repr(ROWS.dropped) == "Dropped(count=0, l1=0.0)"


def test_one_observable_or_a_list_of_one():
    one, listed = efl.gradient_observables(CIRCUIT, "ZZ"), efl.gradient_observables(CIRCUIT, ["ZZ"])
    assert listed.value == [one.value]
    assert listed.gradients == [one.gradients]
    assert (one.is_zero.shape, listed.is_zero.shape) == ((2,), (1, 2))
    found, table = efl.gradient(SNAPS, one), efl.gradient(SNAPS, listed)
    assert isinstance(found.value, float)
    assert table.value.shape == (1,)
    assert (found.gradient.shape, table.gradient.shape) == ((2,), (1, 2))
    assert table.gradient[0].tolist() == found.gradient.tolist()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_values_are_copied_and_pickled(how):
    truncation = Truncation(max_weight=3, min_coefficient=1e-3, max_terms=50)
    assert how(truncation) == truncation
    assert hash(how(truncation)) == hash(truncation)
    assert how(ROWS.dropped) == ROWS.dropped
    assert how(CIRCUIT).parameters.tolist() == [0.3, 0.4]
    assert efl.gradient_observables(how(CIRCUIT), "ZZ").gradients == ROWS.gradients
    found = efl.gradient(SNAPS, ROWS)
    assert how(found).gradient.tolist() == found.gradient.tolist()
    assert how(efl.propagate(CIRCUIT, "ZZ")).value == efl.propagate(CIRCUIT, "ZZ").value
