"""Numbers at the edges, and things that are no numbers at all: refused within the tree, by the right name."""

import numpy as np
import pytest
from tests.unit.refusals import SNAPS, case, refused

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, PauliSum, ShapeError, Snapshots


def turned(scale=1.0):
    return efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0, scale), 0)


def planned(observable="Z", *, scale=1.0, **options):
    return lambda: efl.plan(turned(scale), observable, **options)


PLAN = planned()()
ROWS = efl.gradient_observables(turned(), "Z")
HUGE, TINY = {"Z": 1e154}, {"Z": 1e-200}
NUMBER = np.array(3)

CASES = [
    case("0-d observables", lambda: efl.estimate(SNAPS, NUMBER), InputTypeError, "observables", "ndarray"),
    case("0-d words", lambda: efl.tally(SNAPS, NUMBER), InputTypeError, "words", "ndarray"),
    case("0-d parts", lambda: Snapshots.concat(NUMBER), InputTypeError, "parts", "ndarray"),
    case("0-d kraus", lambda: turned().channel(NUMBER, 0), InputTypeError, "kraus", "ndarray"),
    case(
        "0-d gradient",
        lambda: efl.gradient_observables(turned(), NUMBER),
        InputTypeError,
        "observables",
        "ndarray",
    ),
    case("ragged indices", lambda: SNAPS[[[1], [1, 2]]], ShapeError, "mask or indices", "different lengths"),
    case("objects as indices", lambda: SNAPS[np.array([None])], InputTypeError, "indices", "object"),
    case("methods", lambda: PLAN.at([0.3], methods=3), InputTypeError, "methods", "int 3"),
    case("unknown method", lambda: PLAN.at([0.3], methods=["spsa"]), InvalidInputError, "name", "spsa"),
    case("replica true", lambda: SNAPS.with_provenance(replica=True), InputTypeError, "replica", "bool"),
    case(
        "version of none", lambda: SNAPS[:0].with_provenance(version=-5), InvalidInputError, "version", "-5"
    ),
    case(
        "large version of none",
        lambda: SNAPS[:0].with_provenance(version=2**40),
        InvalidInputError,
        "version",
        str(2**40),
    ),
    case("cpu level", lambda: efl._native.set_cpu_level(5), InputTypeError, "level", "int 5"),
    case(
        "connectivity of a family",
        lambda: efl.Setting.of_family(["X"], 5),
        InputTypeError,
        "connectivity",
        "int 5",
    ),
    case("tiny target", planned(target=1e-200), InvalidInputError, "target", "1e-200"),
    case("tiny new target", lambda: PLAN.retarget(1e-300), InvalidInputError, "target", "1e-300"),
    case("plan, huge", planned(HUGE), InvalidInputError, "observables", "1e140", "1e154"),
    case("plan, tiny", planned(TINY), InvalidInputError, "observables", "1e-140", "1e-200"),
    case("plan, steep angle", planned(scale=1e200), InvalidInputError, "observables", "1e140", "1e200"),
    case("plan, both huge", planned({"Z": 1e80}, scale=1e80), InvalidInputError, "observables", "e160"),
    case(
        "norm", lambda: PauliSum({"Z": 1e308, "X": -1e308}), InvalidInputError, "terms", "1-norm", "got inf"
    ),
    case(
        "norm of an observable",
        lambda: efl.estimate(SNAPS, {"ZI": 1.7e308, "XI": 1.7e308}),
        InvalidInputError,
        "observables",
        "1-norm",
    ),
    case(
        "a long integer",
        lambda: efl.sample([1, 0], shots=10**5000),
        InvalidInputError,
        "shots",
        "a larger one",
    ),
]


@pytest.mark.parametrize(("call", "error", "name", "said"), CASES)
def test_extremes_are_refused(call, error, name, said):
    refused(call, error, name, *said)


def test_a_message_survives_a_repr_that_fails():
    class Broken:
        def __repr__(self):
            raise RuntimeError("no repr")

    for call, name in [
        (lambda: efl.sample([1, 0], shots=Broken()), "shots"),
        (lambda: efl.plan(turned(), target=Broken()), "target"),
        (lambda: efl.PauliWord(Broken()), "letters"),
        (lambda: efl.tally(SNAPS, Broken()), "words"),
        (lambda: efl.design("Z", Broken()), "kind"),
    ]:
        refused(call, InputTypeError, name, "Broken")


def test_a_target_beyond_every_error_still_takes_a_shot():
    plan = planned(target=1e200)()
    assert plan.best.shots == 1
    assert "identically zero" not in str(plan)
    idle = efl.plan(turned(), "Y", target=1e200)
    assert idle.best.shots == 0


@pytest.mark.parametrize("scale", [1e300, 1e154, 1e-154, 1e-300])
@pytest.mark.parametrize("kind", ["biased", "product", "clifford", "auto"])
def test_a_design_does_not_depend_on_the_scale(kind, scale):
    terms = {"XX": 1.0, "ZI": 0.5, "YY": -0.25, "IX": 0.125}
    ordinary = efl.design(terms, kind)
    scaled = efl.design({word: c * scale for word, c in terms.items()}, kind)
    assert scaled.kind == ordinary.kind
    for word in terms:
        assert np.isclose(scaled.reveal_probability(word), ordinary.reveal_probability(word), rtol=1e-6)


def test_the_identity_may_be_of_any_size():
    circuit = turned()
    with_constant, without = efl.plan(circuit, {"I": 1e200, "Z": 1.0}), efl.plan(circuit, "Z")
    assert with_constant.best.shots == without.best.shots


@pytest.mark.parametrize("given", [0.3, np.array([0.1, 0.2]), [0.1, 0.2], np.float64(0.3), [np.ones(2)]])
def test_the_arguments_of_a_qnode_are_not_taken_for_observables(given):
    def qnode(theta):
        raise AssertionError("not called")

    refused(lambda: efl.plan(qnode, given), InputTypeError, "observables", "write efl.plan(qnode)(theta)")
