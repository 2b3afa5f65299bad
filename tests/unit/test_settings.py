"""Settings: what is read after a rotation, and which words it reveals."""

import copy
import pickle

import numpy as np
import pytest

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, PauliWord, Setting, ShapeError

BELL = Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])


def test_a_product_setting_reads_every_qubit_in_its_letter():
    setting = Setting("XYZ")
    assert (setting.n_qubits, setting.is_product, setting.two_qubit_gates) == (3, True, 0)
    assert setting.gates == [("H", 0), ("SDG", 1), ("H", 1)]
    assert setting.depth == 2
    assert setting.measured == [(1, "XII"), (1, "IYI"), (1, "IIZ")]
    assert setting.reveal("XIZ") == ([0, 2], 1)
    assert setting.reveal("III") == ([], 1)
    assert setting.reveal("XXI") is None
    assert repr(setting) == "Setting('XYZ')"


def test_a_clifford_setting_reveals_the_group_of_what_it_measures():
    assert (BELL.n_qubits, BELL.is_product, BELL.two_qubit_gates, BELL.depth) == (2, False, 1, 2)
    assert BELL.gates == [("CNOT", 0, 1), ("H", 0)]
    assert BELL.measured == [(1, "XX"), (1, "ZZ")]
    assert BELL.reveal("YY") == ([0, 1], -1)
    assert BELL.reveal(PauliWord("ZZ")) == ([1], 1)
    assert BELL.reveal({}) == ([], 1)
    assert BELL.reveal("ZI") is None
    assert repr(BELL) == "Setting(n_qubits=2, two_qubit_gates=1, depth=2)"
    assert Setting.from_gates(1, [("X", 0)]).measured == [(-1, "Z")]


def test_gates_may_come_as_lists_numpy_integers_and_iterators():
    gates = iter([["CNOT", np.int64(0), np.uint8(1)], ("H", np.int32(0))])
    assert Setting.from_gates(np.int64(2), gates) == BELL
    assert Setting.from_gates(3, []).measured == [(1, "ZII"), (1, "IZI"), (1, "IIZ")]


def test_equality_and_hash():
    assert Setting("XYZ") == Setting(PauliWord("XYZ")) != Setting("XYX")
    assert Setting("XYZ") != Setting("XY")
    assert Setting("Z") != "Z"
    assert Setting.from_gates(2, BELL.gates) == BELL != Setting.from_gates(2, [("H", 0)])
    assert len({Setting("XYZ"), Setting("XYZ"), BELL, Setting.from_gates(2, BELL.gates)}) == 2


@pytest.mark.parametrize("setting", [Setting("XYZ"), BELL], ids=["product", "clifford"])
@pytest.mark.parametrize("carry", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
def test_settings_survive_pickle_and_copy(setting, carry):
    carried = carry(setting)
    assert carried == setting
    assert (carried.gates, carried.measured) == (setting.gates, setting.measured)


STEANE = ["IIIXXXX", "IXXIIXX", "XIXIXIX", "IIIZZZZ", "IZZIIZZ", "ZIZIZIZ"]


@pytest.mark.parametrize(("connectivity", "apart"), [("all", 6), ("line", 1)])
def test_a_family_becomes_a_circuit(connectivity, apart):
    setting = Setting.of_family(STEANE, connectivity)
    for i, word in enumerate(STEANE):
        assert setting.reveal(word) is not None
        for other in STEANE[:i]:
            assert setting.reveal(PauliWord(word).multiply(other)[1]) is not None
    assert {gate[0] for gate in setting.gates} <= {"H", "SDG", "CNOT", "CZ"}
    pairs = [gate[1:] for gate in setting.gates if len(gate) == 3]
    assert len(pairs) == setting.two_qubit_gates > 0
    assert max(abs(a - b) for a, b in pairs) <= apart
    assert Setting.of_family(STEANE, connectivity) == setting
    assert Setting.of_family(STEANE, connectivity, effort=8).two_qubit_gates <= setting.two_qubit_gates


def test_words_that_commute_qubit_by_qubit_become_a_product_setting():
    for connectivity in ["all", "line", "none"]:
        assert Setting.of_family(["XIY", "IIY", "XII"], connectivity) == Setting("XZY")
    assert Setting.of_family([], n_qubits=2) == Setting("ZZ")
    assert Setting.of_family([{1: "X"}, PauliWord("YI")], n_qubits=2) == Setting("YX")
    assert Setting.of_family(iter(["II"])) == Setting("ZZ")


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: Setting("XIZ"), InvalidInputError, "letters: expected X, Y or Z on every qubit, got XIZ"),
        (lambda: Setting("XA"), InvalidInputError, "letters: expected one of the capital"),
        (lambda: Setting(""), InvalidInputError, "letters: expected"),
        (lambda: Setting(3), InputTypeError, "letters: expected a Pauli word"),
        (lambda: Setting.from_gates(0, []), InvalidInputError, "n_qubits: expected"),
        (lambda: Setting.from_gates("2", []), InputTypeError, "n_qubits: expected"),
        (lambda: Setting.from_gates(2, 5), InputTypeError, "gates: expected a sequence"),
        (lambda: Setting.from_gates(2, ["H"]), InputTypeError, "gates[0]: expected a name and its wires"),
        (lambda: Setting.from_gates(2, [("H", 0), 5]), InputTypeError, "gates[1]: expected a name"),
        (lambda: Setting.from_gates(2, [()]), InputTypeError, "gates[0]: expected a name"),
        (lambda: Setting.from_gates(2, [(0, "H")]), InputTypeError, "gates[0]: expected a name"),
        (lambda: Setting.from_gates(2, [("h", 0)]), InvalidInputError, "gates[0]: expected one of I, X, Y"),
        (lambda: Setting.from_gates(2, [("T", 0)]), InvalidInputError, 'got "T"'),
        (
            lambda: Setting.from_gates(2, [("H", 2)]),
            InvalidInputError,
            "gates[0]: expected qubits below 2, got 2",
        ),
        (lambda: Setting.from_gates(2, [("H", -1)]), InvalidInputError, "gates[0]: expected an integer"),
        (lambda: Setting.from_gates(2, [("H", 0.0)]), InputTypeError, "gates[0]: expected an integer"),
        (
            lambda: Setting.from_gates(2, [("CNOT", 0)]),
            InvalidInputError,
            "gates[0]: expected 2 different wires",
        ),
        (lambda: Setting.from_gates(2, [("CNOT", 1, 1)]), InvalidInputError, "got [1, 1]"),
        (lambda: Setting.from_gates(2, [("H", 0, 1)]), InvalidInputError, "expected 1 different wires for H"),
        (
            lambda: Setting.of_family(["XI", "ZI"]),
            InvalidInputError,
            "each other, got XI and ZI",
        ),
        (
            lambda: Setting.of_family(["IXX", "IZZ"], "none"),
            InvalidInputError,
            "words: expected words that commute on every qubit, got IXX and IZZ, which differ on qubit 1",
        ),
        (lambda: Setting.of_family(["XX", "ZZ"], "ring"), InvalidInputError, "connectivity: expected 'all'"),
        (
            lambda: Setting.of_family(["XX", "ZZZ"]),
            ShapeError,
            "words[1]: expected a word of 2 qubits",
        ),
        (lambda: Setting.of_family(["XX"], n_qubits=3), ShapeError, "words[0]: expected a word of 3 qubits"),
        (lambda: Setting.of_family([]), InvalidInputError, "words: expected n_qubits"),
        (lambda: Setting.of_family([{0: "X"}]), InvalidInputError, "words[0]: expected n_qubits"),
        (lambda: Setting.of_family("XX"), InputTypeError, "words: expected a sequence"),
        (lambda: Setting.of_family(5), InputTypeError, "words: expected a sequence"),
        (lambda: Setting.of_family(["XX", 5]), InputTypeError, "words[1]: expected a Pauli word"),
        (lambda: Setting.of_family(["XX"], effort=0), InvalidInputError, "effort: expected an integer"),
        (lambda: Setting.of_family(["XX"], effort=1.5), InputTypeError, "effort: expected an integer"),
        (lambda: BELL.reveal("XXX"), ShapeError, "word: expected a word of 2 qubits, got 3"),
        (lambda: BELL.reveal(1), InputTypeError, "word: expected a Pauli word"),
    ],
)
def test_bad_input_is_refused(call, error, said):
    with pytest.raises(efl.EflError) as caught:
        call()
    assert type(caught.value) is error
    assert said in str(caught.value)
