"""The error tree: every class, its parents, and that one `except` catches all."""

import pickle

import pytest

import efl_core
from efl_core import errors

TREE = {
    "BiasError": ("EflError", RuntimeError),
    "CorruptDataError": ("EflError", ValueError),
    "EflError": (None, Exception),
    "InputTypeError": ("EflError", TypeError),
    "InvalidInputError": ("EflError", ValueError),
    "JournalError": ("EflError", OSError),
    "LearnerAwayError": ("EflError", ConnectionError),
    "MissingExtraError": ("EflError", ImportError),
    "NewerFormatError": ("CorruptDataError", ValueError),
    "ResourceLimitError": ("EflError", RuntimeError),
    "ShapeError": ("InvalidInputError", ValueError),
}


def test_the_tree_is_complete():
    assert sorted(TREE) == sorted(errors.__all__)
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert defined == set(TREE)


@pytest.mark.parametrize("name", TREE)
def test_every_class_is_public_documented_and_has_its_parents(name):
    cls = getattr(efl_core, name)
    parent, builtin = TREE[name]
    assert cls is getattr(errors, name)
    assert name in efl_core.__all__
    assert issubclass(cls, efl_core.EflError)
    assert issubclass(cls, builtin)
    assert cls.__doc__
    if parent is not None:
        assert getattr(errors, parent) in cls.__bases__


@pytest.mark.parametrize("name", TREE)
def test_errors_keep_their_message_across_processes(name):
    error = pickle.loads(pickle.dumps(getattr(errors, name)("shots: expected 1, got 0")))
    assert type(error) is getattr(errors, name)
    assert str(error) == "shots: expected 1, got 0"


def test_the_compiled_module_raises_these_very_classes():
    with pytest.raises(efl_core.InvalidInputError) as caught:
        efl_core.PauliWord("Q")
    assert type(caught.value) is errors.InvalidInputError
    with pytest.raises(efl_core.CorruptDataError) as caught:
        efl_core.Tally.from_bytes(b"")
    assert type(caught.value) is errors.CorruptDataError


def test_bad_values_are_caught_as_the_builtin_too():
    with pytest.raises(ValueError, match=r"^letters: "):
        efl_core.PauliWord("Q")
    with pytest.raises(TypeError, match=r"^letters: "):
        efl_core.PauliWord(3)


def test_every_public_name_exists():
    for name in efl_core.__all__:
        assert getattr(efl_core, name) is not None
    assert len(set(efl_core.__all__)) == len(efl_core.__all__)


def test_every_error_has_an_argument():
    for name in TREE:
        error = getattr(errors, name)("not of an argument")
        assert error.argument is None
        said = getattr(errors, name).of("shots[3]", "an integer", "str 'a'")
        assert (said.argument, str(said)) == ("shots[3]", "shots[3]: expected an integer, got str 'a'")
        again = pickle.loads(pickle.dumps(said))
        assert (type(again), again.argument, str(again)) == (type(said), said.argument, str(said))


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda: efl_core.PauliWord("Q"), "letters"),
        (lambda: efl_core.PauliWord(3), "letters"),
        (lambda: efl_core.PauliSum([("X", 1), ("Q", 1)]), "terms, term 1"),
        (lambda: efl_core.Circuit(2).rotation("XQ", 0.1), "word"),
        (lambda: efl_core.Circuit(2).evolution({"XX": float("nan")}, 0.1), "generator"),
        (lambda: efl_core.Setting.from_gates(2, [("CNOT", 0, 0)]), "gates[0]"),
        (lambda: efl_core.Ensemble.settings(["XI"]), "settings[0]"),
        (lambda: efl_core.Ensemble.blocks(1, [((0,), ["X", "Y"], [0.5, 0.6])]), "blocks[0].probabilities"),
        (lambda: efl_core.Ensemble.blocks(1, [((0,), ["X"], [[1.0]])]), "blocks[0].probabilities"),
        (lambda: efl_core.sample([1, 0], shots=0), "shots"),
        (lambda: efl_core.Snapshots.from_arrays([[2]], [[0]]), "bits[0, 0]"),
        (lambda: efl_core.Tally.from_bytes(b""), None),
        (lambda: efl_core.simulate(efl_core.Circuit(40)), None),
    ],
)
def test_an_error_says_which_argument_it_is_about(call, argument):
    with pytest.raises(efl_core.EflError) as caught:
        call()
    assert caught.value.argument == argument
    assert argument is None or str(caught.value).startswith(f"{argument}: ")
