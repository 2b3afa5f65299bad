"""What collective pointers and entangled fleets refuse, by name."""

import numpy as np
import pytest
from tests.unit.refusals import INF, NAN, case, refused

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError

CIRCUIT = efl.Circuit(1, parameters=[0.7]).ry(efl.Parameter(0), 0)
SUMS = efl.gradient_observables(CIRCUIT, "Z")
FLEET = efl.EntangledFleet([[1, 0], [0.6, 0.8]], seed=1)
WIDE = {"X" + "I" * 10: 1.0, "Z" * 11: 1.0}
MADE = efl.CollectivePointer


def zeros(n):
    return np.eye(1, 2**n)[0]


def ring():
    """A circuit whose first derivative is a word, its second a sum on all of its qubits."""
    circuit = efl.Circuit(11, parameters=[0.4, 0.3])
    return circuit.rx(efl.Parameter(1), 0).rotation("Z" * 11, 0.7).rx(efl.Parameter(0), 0)


RINGS = efl.EntangledFleet([zeros(11)] * 2, seed=1)


CASES = [
    case("no width", lambda: MADE(0, 5), InvalidInputError, "width", "from 1e-9 to 1e9, got 0.0"),
    case("a negative width", lambda: MADE(-1, 5), InvalidInputError, "width"),
    case("a width that is no number", lambda: MADE(NAN, 5), InvalidInputError, "width", "nan"),
    case("an infinite width", lambda: MADE(INF, 5), InvalidInputError, "width", "inf"),
    case("text for a width", lambda: MADE("0.1", 5), InputTypeError, "width"),
    case("no replica", lambda: MADE(1, 0), InvalidInputError, "replicas", "from 1 to 10000000"),
    case("half a replica", lambda: MADE(1, 2.5), InputTypeError, "replicas", "an integer"),
    case("text for replicas", lambda: MADE(1, "five"), InputTypeError, "replicas"),
    case("no weight", lambda: MADE(1, []), InvalidInputError, "replicas", "not all zero"),
    case("weights of zero", lambda: MADE(1, [0.0, 0.0]), InvalidInputError, "replicas", "not all zero"),
    case("a weight that is no number", lambda: MADE(1, [0.5, NAN]), InvalidInputError, "replicas"),
    case("complex weights", lambda: MADE(1, [0.5, 1j]), InputTypeError, "replicas", "real numbers"),
    case("weights of two lengths", lambda: MADE(1, [[1], [1, 2]]), ShapeError, "replicas", "lengths"),
    case("more replicas than any", lambda: MADE(1, 10**8), InvalidInputError, "replicas"),
    case("a table of weights", lambda: MADE(1, [[0.5, 0.5]]), ShapeError, "replicas", "(1, 2)"),
    case("no damping at all", lambda: MADE.of_damping(1, 5), InvalidInputError, "damping", "below 1"),
    case("all damping", lambda: MADE.of_damping(0, 5), InvalidInputError, "damping"),
    case(
        "an error that no reading has",
        lambda: MADE.of_error(0.5, 4),
        InvalidInputError,
        "error",
        "more than 0.5, that of projective readings",
    ),
    case("an expectation above one", lambda: MADE(1, 2).variance(1.5), InvalidInputError, "expectations"),
    case("one of two", lambda: MADE(1, 2).variance([0.5]), ShapeError, "expectations", "a number or 2"),
    case("a commutator too many", lambda: MADE(1, 2).extra_variance([0] * 3), ShapeError, "commutators"),
    case("a NaN among commutators", lambda: MADE(1, 2).extra_variance(NAN), InvalidInputError, "commutators"),
    case(
        "no parameter",
        lambda: MADE.of_gradient(0, error=0.1, damping=0.9),
        InvalidInputError,
        "parameters",
    ),
    case(
        "an error that no fleet reaches",
        lambda: MADE.of_gradient(3, error=1e-5, damping=0.9),
        InvalidInputError,
        "error",
        "10^7 replicas",
    ),
    case(
        "negative commutators",
        lambda: MADE.of_gradient(3, error=0.1, damping=0.9, commutators=-1),
        InvalidInputError,
        "commutators",
    ),
    case("no state", lambda: efl.EntangledFleet([]), ShapeError, "states", "(replicas, 2^n)"),
    case("one state", lambda: efl.EntangledFleet([1, 0]), ShapeError, "states", "(2,)"),
    case("three amplitudes", lambda: efl.EntangledFleet([[1, 0, 0]]), ShapeError, "states", "(1, 3)"),
    case("states of no qubit", lambda: efl.EntangledFleet([[1], [1]]), ShapeError, "states", "(2, 1)"),
    case("different widths", lambda: efl.EntangledFleet([[1, 0], [1, 0, 0, 0]]), ShapeError, "states"),
    case("text", lambda: efl.EntangledFleet("state"), InputTypeError, "states"),
    case(
        "not normalised",
        lambda: efl.EntangledFleet([[1, 0], [1, 1]]),
        InvalidInputError,
        "states[1]",
        "a normalised vector, got norm 1.41421",
    ),
    case("NaN", lambda: efl.EntangledFleet([[NAN, 0]]), InvalidInputError, "states[0]", "norm nan"),
    case("a negative seed", lambda: efl.EntangledFleet([[1, 0]], seed=-1), InvalidInputError, "seed"),
    case(
        "a joint state too wide",
        lambda: efl.EntangledFleet([[1, 0]] * 21, joint=True),
        ResourceLimitError,
        "joint",
        "at most 20 qubits in all, got 21",
    ),
    case("a word too wide", lambda: FLEET.read("XX", 1), ShapeError, "observable", "1 qubits"),
    case("no letter", lambda: FLEET.read("Q", 1), InvalidInputError, "observable"),
    case("one of three", lambda: FLEET.read(["X"] * 3, 1), ShapeError, "observable", "2, one for each"),
    case("a bad one", lambda: FLEET.read(["X", "Q"], 1), InvalidInputError, "observable[1]"),
    case("no width to read", lambda: FLEET.read("X", 0), InvalidInputError, "width"),
    case("a single weight", lambda: FLEET.read("X", 1, weights=0.5), InputTypeError, "weights"),
    case("a weight missing", lambda: FLEET.read("X", 1, weights=[1.0]), ShapeError, "weights", "got 1"),
    case(
        "a sum too wide",
        lambda: efl.EntangledFleet([zeros(11)]).read(WIDE, 1),
        InvalidInputError,
        "observable",
        "a word, or a sum that acts on at most 10 qubits, got 2 words on 11 qubits",
    ),
    case(
        "a derivative too wide",
        lambda: RINGS.gradient(efl.gradient_observables(ring(), "Z" * 11), 1),
        InvalidInputError,
        "observables",
        "on 11 qubits",
    ),
    case("an answer of a sum", lambda: FLEET.answer({"X": 1.0, "Z": 1.0}), InputTypeError, "word"),
    case("another expectation", lambda: FLEET.expectation("XX"), ShapeError, "observable"),
    case("a word for a gradient", lambda: FLEET.gradient("X", 1), InputTypeError, "observables"),
    case("words for a gradient", lambda: FLEET.gradient(["X"] * 2, 1), InputTypeError, "observables[0]"),
    case("one of two gradients", lambda: FLEET.gradient([SUMS], 1), ShapeError, "observables", "got 1"),
    case(
        "several outputs",
        lambda: FLEET.gradient(efl.gradient_observables(CIRCUIT, ["Z", "X"]), 1),
        InvalidInputError,
        "observables",
        "one output, got 2",
    ),
    case(
        "other parameters",
        lambda: FLEET.gradient([SUMS, efl.gradient_observables(efl.Circuit(1), "Z")], 1),
        ShapeError,
        "observables[1]",
    ),
    case(
        "another circuit",
        lambda: FLEET.gradient(
            efl.gradient_observables(efl.Circuit(2, parameters=[0.1]).ry(efl.Parameter(0), 0), "ZI"), 1
        ),
        ShapeError,
        "observables",
    ),
]


@pytest.mark.parametrize(("call", "error", "name", "said"), CASES)
def test_refused(call, error, name, said):
    before = FLEET.state, RINGS.state
    refused(call, error, name, *said)
    assert (FLEET.state == before[0]).all()
    assert (RINGS.state == before[1]).all()


def test_what_is_refused_wide_is_read_as_a_word_or_on_few_qubits():
    wide = efl.EntangledFleet([zeros(11), zeros(11)], seed=1)
    assert wide.answer("Z" * 11).tolist() == [1, 1]
    assert abs(wide.read("Z" * 11, 1e-6).value - 1) < 1e-4
    narrow = {"Z" + "I" * 10: 0.5, "I" * 10 + "Z": 0.25}
    assert wide.expectation(narrow) == pytest.approx([0.75, 0.75])


def test_no_parameters_have_no_readings():
    found = FLEET.copy().gradient(efl.gradient_observables(efl.Circuit(1), "Z"), 1)
    assert found.value.shape == found.stderr.shape == (0,)
    assert (found.damping == 1).all()
