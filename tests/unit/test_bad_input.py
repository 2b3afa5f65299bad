"""Bad input raises the right class of error, and says which argument, what was expected and what came.

A panic, an abort or a plain built-in exception is a failure.
"""

import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

import efl_core as efl
from efl_core import (
    CorruptDataError,
    Ensemble,
    InputTypeError,
    InvalidInputError,
    NewerFormatError,
    PauliSum,
    PauliWord,
    ShapeError,
    Snapshots,
    Tally,
)

SNAPS = Snapshots.from_arrays([[0, 1], [1, 1], [0, 0]], [[0, 2], [2, 2], [1, 0]])
COUNTS = efl.tally(SNAPS, ["XX", "ZZ"])
BIASED = Ensemble.biased([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
ONE = [[0]]
NAN, INF = float("nan"), float("inf")


class Index:
    """An integer of another type, so that a dict can hold the same qubit twice."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


def refused(call, error, name, *said):
    """Holds a call to its class of error, the argument its message begins with, and what else it says."""
    with pytest.raises(efl.EflError) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is error, text
    assert re.match(re.escape(name) + r"[:\[,]", text), text
    assert "expected" in text, text
    assert ", got " in text, text
    for part in said:
        assert part in text, text


def case(identity, call, error, name, *said):
    return pytest.param(call, error, name, said, id=identity)


def arrays(bits=ONE, bases=ONE, **options):
    return lambda: Snapshots.from_arrays(bits, bases, **options)


ARRAYS = (
    [
        case(f"{name}-{what}", arrays(**{name: value}), error, name, *said)
        for name, most in (("bits", 1), ("bases", 2))
        for what, value, error, said in [
            ("float", [[0.0]], InputTypeError, ("float64",)),
            ("float nan", [[NAN]], InputTypeError, ("float64",)),
            ("half", np.zeros((1, 1), np.float16), InputTypeError, ("float16",)),
            ("complex", [[1j]], InputTypeError, ("complex128",)),
            ("object", np.array([[0]], dtype=object), InputTypeError, ("object",)),
            ("none", None, InputTypeError, ("object",)),
            ("none inside", [[None]], InputTypeError, ("object",)),
            ("string", "01", InputTypeError, ("<U2",)),
            ("strings", [["0"]], InputTypeError, ("<U1",)),
            ("bytes", b"\0", InputTypeError, ("S1",)),
            ("dates", np.zeros((1, 1), "M8[s]"), InputTypeError, ("datetime64",)),
            ("record", np.zeros((1, 1), [("a", "u1")]), InputTypeError, ("'a'",)),
            ("above 64 bits", [[2**64]], InputTypeError, ("object",)),
            ("ragged", [[0], [0, 1]], ShapeError, ("different lengths",)),
            ("number", 0, ShapeError, ("(shots, n_qubits)", "()")),
            ("one axis", [0], ShapeError, ("(shots, n_qubits)", "(1,)")),
            ("three axes", [[[0]]], ShapeError, ("(shots, n_qubits)", "(1, 1, 1)")),
            ("no columns", np.zeros((3, 0), int), ShapeError, ("(shots, n_qubits)", "(3, 0)")),
            ("one more", [[most + 1]], InvalidInputError, ("[0, 0]", f"got {most + 1}")),
            ("negative", [[-1]], InvalidInputError, ("[0, 0]", "got -1")),
            ("negative byte", np.array([[-1]], np.int8), InvalidInputError, ("[0, 0]", "got -1")),
            ("byte", np.array([[127]], np.uint8), InvalidInputError, ("[0, 0]", "got 127")),
            ("int64 that wraps to 0", [[256]], InvalidInputError, ("[0, 0]", "got 256")),
            ("int64 huge", [[2**62]], InvalidInputError, ("[0, 0]", f"got {2**62}")),
            (
                "uint64 huge",
                np.array([[2**64 - 1]], np.uint64),
                InvalidInputError,
                ("[0, 0]", f"got {2**64 - 1}"),
            ),
        ]
    ]
    + [
        case("fewer bases", arrays([[0, 1]], [[0]]), ShapeError, "bases", "(1, 2)", "(1, 1)"),
        case("more bases", arrays([[0]], [[0], [1]]), ShapeError, "bases", "(1, 1)", "(2, 1)"),
        case(
            "transposed bases", arrays([[0, 1, 1]], [[0], [1], [1]]), ShapeError, "bases", "(1, 3)", "(3, 1)"
        ),
        case("ensemble type", arrays(ensemble="uniform"), InputTypeError, "ensemble", "str"),
        case(
            "ensemble width",
            arrays(ensemble=Ensemble.uniform(2)),
            ShapeError,
            "ensemble",
            "1 qubits",
            "2 qubits",
        ),
        case("version negative", arrays(version=-1), InvalidInputError, "version", "4294967295", "-1"),
        case(
            "version too large",
            arrays(version=2**32),
            InvalidInputError,
            "version",
            "4294967295",
            "4294967296",
        ),
        case("version float", arrays(version=1.0), InputTypeError, "version", "float64"),
        case("version string", arrays(version="a"), InputTypeError, "version", "<U1"),
        case("version too long", arrays(version=[1, 2]), ShapeError, "version", "(1,)", "(2,)"),
        case("replica negative", arrays(replica=[-5]), InvalidInputError, "replica", "-5"),
        case("replica too large", arrays(replica=2**64), InputTypeError, "replica", "object"),
        case("replica ragged", arrays(replica=[[1], [2, 3]]), ShapeError, "replica", "different lengths"),
        case("sequence two axes", arrays(sequence=[[1]]), ShapeError, "sequence", "(1,)", "(1, 1)"),
        case("sequence complex", arrays(sequence=1j), InputTypeError, "sequence", "complex128"),
        case(
            "columns: replaced",
            lambda: SNAPS.with_provenance(replica=[1]),
            ShapeError,
            "replica",
            "(3,)",
            "(1,)",
        ),
        case("ensemble: replaced", lambda: SNAPS.with_ensemble(3), InputTypeError, "ensemble", "int"),
        case(
            "ensemble: width",
            lambda: SNAPS.with_ensemble(Ensemble.uniform(3)),
            ShapeError,
            "ensemble",
            "2",
            "3",
        ),
    ]
    + [
        case(f"pennylane-{what}", lambda v=value: Snapshots.from_pennylane(v), error, name, *said)
        for what, value, error, name, said in [
            ("number", 3, ShapeError, "shadow", ("(2, shots, n_qubits)", "()")),
            ("string", "ab", InputTypeError, "shadow", ("<U2",)),
            ("one table", [[[0]]], ShapeError, "shadow", ("(1, 1, 1)",)),
            ("three tables", np.zeros((3, 2, 2), int), ShapeError, "shadow", ("(3, 2, 2)",)),
            ("two axes", np.zeros((2, 4), int), ShapeError, "shadow", ("(2, 4)",)),
            ("float", np.zeros((2, 2, 2)), InputTypeError, "bits", ("float64",)),
            ("rows", [[0], [0]], ShapeError, "bits", ("(1,)",)),
            ("value", np.array([[[0]], [[3]]]), InvalidInputError, "bases", ("[0, 0]", "got 3")),
            ("shapes", ([[0, 1]], [[0]]), ShapeError, "bases", ("(1, 2)", "(1, 1)")),
        ]
    ]
    + [
        case("concat nothing", lambda: Snapshots.concat([]), InvalidInputError, "parts", "at least one"),
        case("concat other", lambda: Snapshots.concat([SNAPS, 3]), InputTypeError, "parts", "[1]", "int"),
        case(
            "concat widths",
            lambda: SNAPS + Snapshots.from_arrays(ONE, ONE),
            ShapeError,
            "parts",
            "[1]",
            "2",
            "1",
        ),
        case(
            "concat ensembles",
            lambda: SNAPS + SNAPS.with_ensemble(BIASED),
            InvalidInputError,
            "parts",
            "[1]",
            "biased",
        ),
        case(
            "concat columns",
            lambda: SNAPS + SNAPS.with_provenance(version=1),
            InvalidInputError,
            "version",
            "1 of 2",
        ),
        case("index above", lambda: SNAPS[[0, 3]], InvalidInputError, "indices", "-3 to 2", "0 to 3"),
        case("index below", lambda: SNAPS[[-4]], InvalidInputError, "indices", "-3 to 2", "-4"),
        case(
            "index wraps",
            lambda: SNAPS[np.array([2**64 - 1], np.uint64)],
            InvalidInputError,
            "indices",
            str(2**64 - 1),
        ),
        case("index of nothing", lambda: SNAPS[:0][[0]], InvalidInputError, "indices", "0 to 0"),
        case("index float", lambda: SNAPS[[0.5]], InputTypeError, "indices", "float64"),
        case("index string", lambda: SNAPS[["a"]], InputTypeError, "indices", "<U1"),
        case("index axes", lambda: SNAPS[[[0]]], ShapeError, "mask or indices", "(1, 1)"),
        case("mask length", lambda: SNAPS[[True]], ShapeError, "mask or indices", "(3,)", "(1,)"),
    ]
)


def word(letters, **options):
    return lambda: PauliWord(letters, **options)


WORDS = [
    case("empty", word(""), InvalidInputError, "letters", "empty"),
    case("lower case", word("XYz"), InvalidInputError, "letters", "'z' at position 2"),
    case("unknown letter", word("XQ"), InvalidInputError, "letters", "'Q' at position 1"),
    case("space", word("X Z"), InvalidInputError, "letters", "' ' at position 1"),
    case("digits", word("X0Z1"), InvalidInputError, "letters", "'0' at position 1"),
    case("greek", word("XΧ"), InvalidInputError, "letters", "'Χ' at position 1"),  # noqa: RUF001 (is not an X)
    case("emoji", word("\U0001f600"), InvalidInputError, "letters", "position 0"),
    case("zero byte", word("X\0"), InvalidInputError, "letters", "position 1"),
    case("bytes", word(b"X"), InputTypeError, "letters", "bytes"),
    case("number", word(3), InputTypeError, "letters", "int 3"),
    case("none", word(None), InputTypeError, "letters", "NoneType"),
    case("list", word(["X"]), InputTypeError, "letters", "list"),
    case("sum", word(PauliSum("X")), InputTypeError, "letters", "PauliSum"),
    case("no width", word({0: "X"}), InvalidInputError, "letters", "n_qubits", "none"),
    case("wire above", word({2: "X"}, n_qubits=2), InvalidInputError, "letters", "below 2", "got 2"),
    case("wire far above", word({2**62: "X"}, n_qubits=2), InvalidInputError, "letters", str(2**62)),
    case(
        "wire beyond 64 bits",
        word({2**64: "X"}, n_qubits=2),
        InvalidInputError,
        "letters",
        "int 18446744073709551616",
    ),
    case("wire negative", word({-1: "X"}, n_qubits=2), InvalidInputError, "letters", "int -1"),
    case("wire float", word({0.0: "X"}, n_qubits=2), InputTypeError, "letters", "float 0.0"),
    case("wire string", word({"0": "X"}, n_qubits=2), InputTypeError, "letters", "str '0'"),
    case("wire tuple", word({(0,): "X"}, n_qubits=2), InputTypeError, "letters", "tuple"),
    case(
        "wire twice", word({0: "X", Index(0): "Z"}, n_qubits=2), InvalidInputError, "letters", "qubit 0 twice"
    ),
    case(
        "same letter twice",
        word({1: "X", Index(1): "X"}, n_qubits=2),
        InvalidInputError,
        "letters",
        "qubit 1 twice",
    ),
    case("dict lower case", word({0: "x"}, n_qubits=2), InvalidInputError, "letters", "[0]", "'x'"),
    case("dict two letters", word({1: "XX"}, n_qubits=2), InvalidInputError, "letters", "[1]", "'XX'"),
    case("dict empty letter", word({1: ""}, n_qubits=2), InvalidInputError, "letters", "[1]", "''"),
    case("dict number", word({1: 3}, n_qubits=2), InvalidInputError, "letters", "[1]", "int 3"),
    case("dict surrogate", word({0: "\ud800"}, n_qubits=2), InvalidInputError, "letters", "[0]"),
    case("width of a label", word("X", n_qubits=2), ShapeError, "letters", "2 qubits", "1 qubits"),
    case("width of a word", word(PauliWord("XX"), n_qubits=1), ShapeError, "letters", "1 qubits", "2 qubits"),
    case("width zero", word({}, n_qubits=0), InvalidInputError, "n_qubits", "at least 1", "int 0"),
    case("width negative", word({}, n_qubits=-1), InvalidInputError, "n_qubits", "at least 1", "int -1"),
    case("width beyond 64 bits", word({}, n_qubits=2**64), InvalidInputError, "n_qubits", "2^64"),
    case("width float", word({}, n_qubits=2.0), InputTypeError, "n_qubits", "float 2.0"),
    case("width string", word({}, n_qubits="2"), InputTypeError, "n_qubits", "str '2'"),
    case("product width", lambda: PauliWord("XY").multiply("X"), ShapeError, "other", "2 qubits", "1 qubits"),
    case("product type", lambda: PauliWord("XY").multiply(3), InputTypeError, "other", "int 3"),
    case("commute width", lambda: PauliWord("XY").commutes_with("XYZ"), ShapeError, "other", "2", "3"),
    case("commute letter", lambda: PauliWord("XY").commutes_with("Xy"), InvalidInputError, "other", "'y'"),
    case("qubit-wise width", lambda: PauliWord("XY").qubit_wise_commutes("X"), ShapeError, "other", "2", "1"),
    case(
        "restrict above",
        lambda: PauliWord("XY").restrict([0, 2]),
        InvalidInputError,
        "qubits",
        "below 2",
        "got 2",
    ),
]


def total(terms, **options):
    return lambda: PauliSum(terms, **options)


SUMS = [
    case("number", total(3), InputTypeError, "terms", "int 3"),
    case("none", total(None), InputTypeError, "terms", "NoneType"),
    case("label", total("xx"), InvalidInputError, "terms", "'x' at position 0"),
    case("empty label", total(""), InvalidInputError, "terms", "empty"),
    case("labels without coefficients", total(["XX", 1]), InputTypeError, "terms", "list"),
    case("triples", total([("X", 1, 2)]), InputTypeError, "terms", "list"),
    case("no width", total([]), InvalidInputError, "terms", "n_qubits", "none"),
    case("empty dict", total({}), InvalidInputError, "terms", "n_qubits", "none"),
    case("dict word without width", total([({0: "X"}, 1)]), InvalidInputError, "terms", "n_qubits"),
    case("widths", total({"X": 1, "XX": 1}), ShapeError, "terms", "term 1", "1 qubits", "2 qubits"),
    case("width", total({"X": 1}, n_qubits=2), ShapeError, "terms", "term 0", "2 qubits", "1 qubits"),
    case("width of a sum", total(PauliSum("X"), n_qubits=2), ShapeError, "terms", "2 qubits", "1 qubits"),
    case("bad word", total([("X", 1), ("q", 1)]), InvalidInputError, "terms", "term 1", "'q'"),
    case("word type", total([(3, 1)]), InputTypeError, "terms", "term 0", "int 3"),
    case("nan", total({"X": NAN}), InvalidInputError, "terms", "finite", "NaN"),
    case("infinite", total({"X": 1, "Y": -INF}), InvalidInputError, "terms", "finite", "inf", "position 1"),
    case("complex", total({"X": 1j}), InputTypeError, "terms", "term 0", "real number", "complex 1j"),
    case("numpy complex", total({"X": np.complex64(1)}), InputTypeError, "terms", "real number", "complex64"),
    case("string coefficient", total([("X", "1")]), InputTypeError, "terms", "real number", "str '1'"),
    case("none coefficient", total({"X": None}), InputTypeError, "terms", "real number", "NoneType"),
    case("array coefficient", total({"X": np.ones(2)}), InputTypeError, "terms", "real number", "ndarray"),
    case("integer beyond a float", total({"X": 10**400}), InputTypeError, "terms", "real number", "int 1000"),
    case(
        "overflow of equal words",
        total([("X", 1e308), ("X", 1e308)]),
        InvalidInputError,
        "terms",
        "finite",
        "inf",
    ),
    case("width zero", total({}, n_qubits=0), InvalidInputError, "n_qubits", "at least 1", "int 0"),
    case("width float", total({}, n_qubits=1.5), InputTypeError, "n_qubits", "float 1.5"),
    case("plus number", lambda: PauliSum("X") + 3, InputTypeError, "other", "int 3"),
    case("plus width", lambda: PauliSum("X") + "XX", ShapeError, "other", "1 qubits", "2 qubits"),
    case("minus width", lambda: PauliSum("X") - PauliSum("XX"), ShapeError, "other", "1 qubits", "2 qubits"),
    case(
        "plus overflow",
        lambda: PauliSum({"X": 1e308}) + {"X": 1e308},
        InvalidInputError,
        "coefficients",
        "inf",
    ),
    case("times string", lambda: PauliSum("X") * "a", InputTypeError, "factor", "str 'a'"),
    case("times complex", lambda: PauliSum("X") * 1j, InputTypeError, "factor", "complex 1j"),
    case("times nan", lambda: PauliSum("X") * NAN, InvalidInputError, "factor", "NaN"),
    case("times infinity", lambda: INF * PauliSum("X"), InvalidInputError, "factor", "inf"),
    case("times overflow", lambda: PauliSum({"X": 1e308}) * 1e10, InvalidInputError, "coefficients", "inf"),
    case(
        "coefficient width",
        lambda: PauliSum("X").coefficient("XX"),
        ShapeError,
        "word",
        "1 qubits",
        "2 qubits",
    ),
    case("coefficient type", lambda: PauliSum("X").coefficient(0), InputTypeError, "word", "int 0"),
]


def biased(rows):
    return lambda: Ensemble.biased(rows)


ENSEMBLES = [
    case("zero", lambda: Ensemble.uniform(0), InvalidInputError, "n_qubits", "at least 1", "int 0"),
    case("negative", lambda: Ensemble.uniform(-3), InvalidInputError, "n_qubits", "at least 1", "int -3"),
    case("huge", lambda: Ensemble.uniform(2**64), InvalidInputError, "n_qubits", "2^64"),
    case("float", lambda: Ensemble.uniform(2.0), InputTypeError, "n_qubits", "float 2.0"),
    case("string", lambda: Ensemble.uniform("2"), InputTypeError, "n_qubits", "str '2'"),
    case("none", lambda: Ensemble.uniform(None), InputTypeError, "n_qubits", "NoneType"),
    case("text", biased("x"), InputTypeError, "probabilities", "str 'x'"),
    case("complex", biased([[1j, 0, 0]]), InputTypeError, "probabilities", "real numbers"),
    case("ragged", biased([[1, 0, 0], [1, 0]]), InputTypeError, "probabilities", "(n_qubits, 3)"),
    case("one axis", biased([1, 0, 0]), ShapeError, "probabilities", "(n_qubits, 3)", "[3]"),
    case("four letters", biased([[0.25] * 4]), ShapeError, "probabilities", "(n_qubits, 3)", "[1, 4]"),
    case("three axes", biased([[[1, 0, 0]]]), ShapeError, "probabilities", "(n_qubits, 3)", "[1, 1, 3]"),
    case("nothing", biased([]), ShapeError, "probabilities", "(n_qubits, 3)", "[0]"),
    case("no rows", biased(np.zeros((0, 3))), InvalidInputError, "n_qubits", "1 to 1048576", "0"),
    case(
        "sum too large",
        biased([[1, 0, 0], [0.5, 0.5, 0.5]]),
        InvalidInputError,
        "probabilities",
        "[1]",
        "1.5",
    ),
    case("sum too small", biased([[0.3, 0.3, 0.3]]), InvalidInputError, "probabilities", "[0]", "sum to 1"),
    case(
        "sum by 1e-8",
        biased([[0.5, 0.25, 0.25 + 1e-8]]),
        InvalidInputError,
        "probabilities",
        "[0]",
        "sum to 1",
    ),
    case("negative probability", biased([[-0.5, 1, 0.5]]), InvalidInputError, "probabilities", "[0]", "-0.5"),
    case("nan", biased([[1, 0, 0], [NAN, 0, 1]]), InvalidInputError, "probabilities", "[1]", "NaN"),
    case("infinite", biased([[INF, 0, 0]]), InvalidInputError, "probabilities", "[0]", "inf"),
    case("infinities", biased([[INF, -INF, 1]]), InvalidInputError, "probabilities", "[0]", "inf"),
    case("word width", lambda: BIASED.reveal_probability("X"), ShapeError, "word", "2 qubits", "1 qubits"),
    case("word type", lambda: BIASED.reveal_probability(3), InputTypeError, "word", "int 3"),
    case(
        "word wire",
        lambda: BIASED.reveal_probability({2: "X"}),
        InvalidInputError,
        "word",
        "below 2",
        "got 2",
    ),
]


def draw(state=(1, 0), ensemble=None, shots=5, seed=1):
    return lambda: efl.sample(state, ensemble, shots=shots, seed=seed)


SAMPLES = [
    case("state empty", draw([]), ShapeError, "state", "2^n", "got 0"),
    case("state length 1", draw([1]), ShapeError, "state", "2^n", "got 1"),
    case("state length 3", draw([1, 0, 0]), ShapeError, "state", "2^n", "got 3"),
    case(
        "state length 3, ensemble", draw([1, 0, 0], Ensemble.uniform(2)), ShapeError, "state", "2^n", "got 3"
    ),
    case("state length 1, ensemble", draw([1], Ensemble.uniform(1)), ShapeError, "state", "2^n", "got 1"),
    case("state two axes", draw([[1, 0], [0, 0]]), ShapeError, "state", "(2**n,)", "(2, 2)"),
    case("state number", draw(1.0), ShapeError, "state", "(2**n,)", "()"),
    case("state ragged", draw([[1], [0, 0]]), ShapeError, "state", "different lengths"),
    case("state text", draw("10"), InputTypeError, "state", "<U2"),
    case("state strings", draw(["1", "0"]), InputTypeError, "state", "<U1"),
    case("state none", draw([None, 1]), InputTypeError, "state", "object"),
    case("state unnormalised", draw([1, 1]), InvalidInputError, "state", "squared norm 1", "squared norm 2"),
    case("state slightly off", draw([1.0001, 0]), InvalidInputError, "state", "squared norm 1"),
    case("state zero", draw([0, 0]), InvalidInputError, "state", "squared norm 0"),
    case("state huge", draw([1e200, 0]), InvalidInputError, "state", "squared norm inf"),
    case("state nan", draw([0, NAN]), InvalidInputError, "state", "[1]", "finite", "NaN"),
    case(
        "state imaginary nan", draw([complex(0, NAN), 1]), InvalidInputError, "state", "[0]", "finite", "NaN"
    ),
    case("state infinite", draw([INF, 0]), InvalidInputError, "state", "[0]", "finite", "inf"),
    case("ensemble type", draw(ensemble="uniform"), InputTypeError, "ensemble", "str"),
    case("ensemble class", draw(ensemble=Ensemble), InputTypeError, "ensemble", "type"),
    case(
        "ensemble width", draw(ensemble=Ensemble.uniform(2)), ShapeError, "ensemble", "1 qubits", "2 qubits"
    ),
] + [
    case(f"{name} {what}", draw(**{name: value}), error, name, *said)
    for name, what, value, error, said in [
        ("shots", "zero", 0, InvalidInputError, ("from 1", "got 0")),
        ("shots", "negative", -5, InvalidInputError, ("from 1", "got -5")),
        ("shots", "beyond 63 bits", 2**63, InvalidInputError, (f"to {2**63 - 1}", f"got {2**63}")),
        ("shots", "float", 100.0, InputTypeError, ("float 100.0",)),
        ("shots", "numpy float", np.float64(100), InputTypeError, ("float64",)),
        ("shots", "string", "100", InputTypeError, ("str '100'",)),
        ("shots", "none", None, InputTypeError, ("NoneType",)),
        ("shots", "list", [100], InputTypeError, ("list [100]",)),
        ("seed", "negative", -1, InvalidInputError, ("from 0", "got -1")),
        ("seed", "beyond 64 bits", 2**64, InvalidInputError, (f"to {2**64 - 1}", f"got {2**64}")),
        ("seed", "float", 1.0, InputTypeError, ("float 1.0",)),
        ("seed", "string", "1", InputTypeError, ("str '1'",)),
        ("seed", "array", np.array([1, 2]), InputTypeError, ("ndarray",)),
    ]
]


def count(words="XX", snaps=SNAPS, **options):
    return lambda: efl.tally(snaps, words, **options)


def value(observables="XX", data=SNAPS, **options):
    return lambda: efl.estimate(data, observables, **options)


ESTIMATES = [
    case("tally: data", count(snaps=3), InputTypeError, "snaps", "Snapshots", "int"),
    case("tally: counts", count(snaps=COUNTS), InputTypeError, "snaps", "Snapshots", "Tally"),
    case("tally: nothing", count(snaps=SNAPS[:0]), InvalidInputError, "snaps", "at least one", "none"),
    case("tally: number", count(3), InputTypeError, "words", "int"),
    case("tally: none", count(None), InputTypeError, "words", "NoneType"),
    case("tally: sum", count(PauliSum("XX")), InputTypeError, "words", "PauliSum"),
    case("tally: word type", count(["XX", 3]), InputTypeError, "words", "[1]", "int 3"),
    case("tally: word width", count(["XX", "X"]), ShapeError, "words", "[1]", "2 qubits", "1 qubits"),
    case("tally: word letter", count(["xX"]), InvalidInputError, "words", "[0]", "'x'"),
    case("tally: wire", count([{2: "X"}]), InvalidInputError, "words", "[0]", "below 2", "got 2"),
    case("estimate: data", value(data=[[0, 1]]), InputTypeError, "data", "Snapshots or a Tally", "list"),
    case("estimate: data none", value(data=None), InputTypeError, "data", "NoneType"),
    case("estimate: nothing", value(data=SNAPS[:0]), InvalidInputError, "snaps", "at least one", "none"),
    case("estimate: no observables", value(None), InvalidInputError, "observables", "none"),
    case("estimate: number", value(3), InputTypeError, "observables", "int 3"),
    case("estimate: item", value(["XX", None]), InputTypeError, "observables", "[1]", "NoneType"),
    case("estimate: nested", value(["XX", ["XX"]]), InputTypeError, "observables", "[1]", "list"),
    case("estimate: width", value(["XX", "X"]), ShapeError, "observables", "[1]", "2 qubits", "1 qubits"),
    case(
        "estimate: sum width", value(PauliSum("X")), ShapeError, "observables", "[0]", "2 qubits", "1 qubits"
    ),
    case("estimate: term width", value({"XX": 1, "X": 1}), ShapeError, "observables", "term 1", "2", "1"),
    case("estimate: letter", value("Xx"), InvalidInputError, "observables", "[0]", "'x' at position 1"),
    case("estimate: empty label", value(""), InvalidInputError, "observables", "[0]", "empty"),
    case("estimate: wire", value({0: "X", 2: "Z"}), InvalidInputError, "observables", "below 2", "got 2"),
    case("estimate: wire negative", value({-1: "Z"}), InvalidInputError, "observables", "int -1"),
    case(
        "estimate: wire twice",
        value({0: "X", Index(0): "X"}),
        InvalidInputError,
        "observables",
        "qubit 0 twice",
    ),
    case("estimate: nan", value([{"XX": NAN}]), InvalidInputError, "observables", "[0]", "finite", "NaN"),
    case(
        "estimate: infinite",
        value(["ZZ", {"XX": INF}]),
        InvalidInputError,
        "observables",
        "[1]",
        "finite",
        "inf",
    ),
    case(
        "estimate: complex", value({"XX": 1j}), InputTypeError, "observables", "[0]", "real number", "complex"
    ),
    case(
        "estimate: none coefficient", value({"XX": None}), InputTypeError, "observables", "[0]", "real number"
    ),
    case(
        "never revealed",
        value("XX", SNAPS.with_ensemble(BIASED)),
        InvalidInputError,
        "observables",
        "XX",
        "never",
    ),
    case(
        "never revealed, in a sum",
        value({"ZX": 1, "IY": 1}, SNAPS.with_ensemble(BIASED)),
        InvalidInputError,
        "observables",
        "IY",
        "never",
    ),
    case(
        "never revealed, counts",
        value(None, efl.tally(SNAPS.with_ensemble(BIASED), ["XX"])),
        InvalidInputError,
        "observables",
        "XX",
        "never",
    ),
    case("word not counted", value("YY", COUNTS), InvalidInputError, "observables", "YY"),
    case(
        "word not counted, in a sum",
        value({"XX": 1, "IX": 1}, COUNTS),
        InvalidInputError,
        "observables",
        "IX",
    ),
    case("counts: width", value("X", COUNTS), ShapeError, "observables", "2 qubits", "1 qubits"),
    case(
        "sum from one bucket",
        value({"XX": 1, "ZZ": 1}, COUNTS),
        InvalidInputError,
        "observables",
        "buckets=32",
    ),
    case(
        "buckets with counts", value("XX", COUNTS, buckets=2), InvalidInputError, "buckets", "none", "Tally"
    ),
    case("buckets with the mean", value(buckets=2), InvalidInputError, "buckets", "none", "got 2"),
    case(
        "buckets with hit_normalised",
        value(combine="hit_normalised", buckets=1),
        InvalidInputError,
        "buckets",
        "none",
        "got 1",
    ),
]
for options in (
    {"combine": "median"},
    {"combine": "MEAN"},
    {"combine": ""},
    {"combine": None},
    {"combine": ["mean"]},
):
    given = options["combine"]
    for kind, data in (("snapshots", SNAPS), ("counts", COUNTS)):
        ESTIMATES.append(
            case(
                f"combine {given!r} of {kind}",
                value("XX", data, **options),
                InvalidInputError,
                "combine",
                "'mean', 'hit_normalised' or 'median_of_means'",
                repr(given),
            )
        )
for what, buckets, error, said in [
    ("more than shots", 4, InvalidInputError, ("1 to 3", "got 4")),
    ("zero", 0, InvalidInputError, ("from 1", "got 0")),
    ("negative", -1, InvalidInputError, ("from 1", "got -1")),
    ("huge", 2**62, InvalidInputError, ("1 to 3", f"got {2**62}")),
    ("beyond 64 bits", 2**64, InvalidInputError, ("from 1", f"got {2**64}")),
    ("float", 2.0, InputTypeError, ("float 2.0",)),
    ("string", "2", InputTypeError, ("str '2'",)),
]:
    ESTIMATES.append(case(f"tally: buckets {what}", count(buckets=buckets), error, "buckets", *said))
    median = value(combine="median_of_means", buckets=buckets)
    ESTIMATES.append(case(f"median: buckets {what}", median, error, "buckets", *said))

MERGES = [
    case(f"{what}", lambda v=other: COUNTS + v, error, "other", *said)
    for what, other, error, said in [
        ("number", 3, InputTypeError, ("Tally", "int 3")),
        ("bytes", COUNTS.to_bytes(), InputTypeError, ("Tally", "bytes")),
        ("fewer words", efl.tally(SNAPS, ["XX"]), InvalidInputError, ("2 words", "1 words")),
        ("other words", efl.tally(SNAPS, ["XX", "YY"]), InvalidInputError, ("2 words",)),
        ("other order", efl.tally(SNAPS, ["ZZ", "XX"]), InvalidInputError, ("same order",)),
        ("buckets", efl.tally(SNAPS, ["XX", "ZZ"], buckets=2), ShapeError, ("1 buckets", "2 buckets")),
        (
            "ensemble",
            efl.tally(SNAPS.with_ensemble(BIASED), ["XX", "ZZ"]),
            InvalidInputError,
            ("biased ensemble",),
        ),
        ("width", efl.tally(Snapshots.from_arrays(ONE, ONE), ["X", "Z"]), InvalidInputError, ("2 words",)),
    ]
] + [
    case("sum from one", lambda: sum([COUNTS], 1), InputTypeError, "other", "Tally", "int 1"),
    case("sum from text", lambda: COUNTS.__radd__("a"), InputTypeError, "other", "Tally", "str 'a'"),
]

MACHINE = [
    case("zero threads", lambda: efl.set_num_threads(0), InvalidInputError, "threads", "at least 1", "int 0"),
    case(
        "negative threads",
        lambda: efl.set_num_threads(-1),
        InvalidInputError,
        "threads",
        "at least 1",
        "int -1",
    ),
    case(
        "too many threads",
        lambda: efl.set_num_threads(1025),
        InvalidInputError,
        "threads",
        "1 to 1024",
        "1025",
    ),
    case("float threads", lambda: efl.set_num_threads(2.0), InputTypeError, "threads", "float 2.0"),
    case("string threads", lambda: efl.set_num_threads("2"), InputTypeError, "threads", "str '2'"),
    case(
        "cpu level", lambda: efl._native.set_cpu_level("8086"), InvalidInputError, "level", "baseline", "8086"
    ),
    case("bytes from text", lambda: Tally.from_bytes("EFLTALLY"), InputTypeError, "data", "bytes", "str"),
    case("bytes from number", lambda: Tally.from_bytes(3), InputTypeError, "data", "bytes", "int 3"),
    case("bytes from none", lambda: Tally.from_bytes(None), InputTypeError, "data", "bytes", "NoneType"),
]


@pytest.mark.parametrize(("call", "error", "name", "said"), ARRAYS)
def test_snapshots_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), WORDS)
def test_words_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), SUMS)
def test_sums_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), ENSEMBLES)
def test_ensembles_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), SAMPLES)
def test_sample_refuses(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), ESTIMATES)
def test_estimates_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), MERGES)
def test_merges_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), MACHINE)
def test_the_rest_refuses(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
@pytest.mark.parametrize(
    ("shots", "n_qubits", "row", "qubit"),
    [
        (1, 1, 0, 0),
        (130, 70, 0, 0),
        (130, 70, 0, 7),
        (130, 70, 0, 8),
        (130, 70, 63, 63),
        (130, 70, 64, 64),
        (130, 70, 77, 69),
        (130, 70, 129, 69),
        (40_000, 3, 32_767, 2),
        (40_000, 3, 32_768, 0),
        (40_000, 3, 39_999, 2),
    ],
)
@pytest.mark.parametrize(("name", "bad"), [("bits", 2), ("bases", 3), ("bits", 127), ("bases", 64)])
def test_a_bad_value_is_named_wherever_it_is(dtype, shots, n_qubits, row, qubit, name, bad):
    tables = {"bits": np.zeros((shots, n_qubits), dtype), "bases": np.full((shots, n_qubits), 2, dtype)}
    tables[name][row, qubit] = bad
    refused(
        lambda: Snapshots.from_arrays(**tables), InvalidInputError, f"{name}[{row}, {qubit}]", f"got {bad}"
    )


def test_the_first_bad_value_is_the_one_named():
    bits = np.zeros((40_000, 3), np.uint8)
    bits[[7, 33_000], 1] = 9, 8
    for table in (bits, bits.astype(np.int32)):
        refused(
            lambda table=table: Snapshots.from_arrays(table, bits * 0),
            InvalidInputError,
            "bits[7, 1]",
            "got 9",
        )


@pytest.mark.parametrize("key", [0, -1, 1.5, "a", None, ..., True])
def test_a_single_snapshot_is_not_selected(key):
    with pytest.raises(InputTypeError, match="slice, a mask or an array of indices, got"):
        SNAPS[key]


def test_snapshots_are_not_made_by_hand():
    with pytest.raises(InputTypeError, match=r"Snapshots are made by Snapshots\.from_arrays.*, not from int"):
        Snapshots(3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: PauliWord("X", qubits=1),
        lambda: PauliSum("X", qubits=1),
        lambda: Snapshots.from_arrays(ONE, ONE, basis=ONE),
        lambda: Snapshots.from_pennylane([ONE, ONE], version=1),
        lambda: SNAPS.with_provenance(worker=1),
        lambda: efl.sample([1, 0], shots=1, sed=3),
        lambda: efl.tally(SNAPS, "XX", bucket=2),
        lambda: efl.estimate(SNAPS, "XX", combined="mean"),
        lambda: efl.estimate(SNAPS, "XX", "mean"),
        lambda: efl.sample([1, 0], None, 5),
        lambda: Snapshots.from_arrays(ONE),
        lambda: PauliWord(),
        lambda: PauliSum(),
        lambda: efl.estimate(),
    ],
    ids=range(14),
)
def test_python_itself_refuses_unknown_and_missing_arguments(call):
    with pytest.raises(TypeError, match="argument") as caught:
        call()
    assert type(caught.value) is TypeError


def test_unsupported_operators_stay_type_errors():
    for call in (
        lambda: SNAPS + 3,
        lambda: 3 + SNAPS,
        lambda: COUNTS * 2,
        lambda: PauliSum("X") @ PauliSum("X"),
    ):
        with pytest.raises(TypeError, match="unsupported operand"):
            call()


# Tally bytes ------------------------------------------------------------

GOOD = efl.tally(SNAPS, ["XX", "ZZ"], buckets=2).to_bytes()
GOOD_BIASED = efl.tally(SNAPS.with_ensemble(BIASED), ["XX", "ZZ"], buckets=2).to_bytes()
HEADER = 40
COUNT_OFFSET = HEADER + 8 * (4 + 2)  # after two words of one u64 each, x and z, and two buckets


def sealed(body):
    """The bytes with a valid checksum, as somebody who knows the format would forge them."""
    return body + struct.pack("<I", zlib.crc32(body))


def patched(at, form, *values, source=GOOD):
    body = bytearray(source[:-4])
    struct.pack_into("<" + form, body, at, *values)
    return sealed(bytes(body))


def test_the_format_is_the_documented_one():
    assert sealed(GOOD[:-4]) == GOOD
    assert GOOD[:8] == b"EFLTALLY"
    assert struct.unpack_from("<IIQQQ", GOOD, 8) == (1, 0, 2, 2, 2)
    assert struct.unpack_from("<QQ", GOOD, HEADER + 32) == (1, 2)
    revealed_and_minus = struct.unpack_from("<8Q", GOOD, COUNT_OFFSET)
    counted = efl.Tally.from_bytes(GOOD)
    np.testing.assert_array_equal(revealed_and_minus[::2], counted.revealed.ravel())
    np.testing.assert_array_equal(revealed_and_minus[1::2], counted.minus.ravel())


def damaged(data, *said):
    with pytest.raises(CorruptDataError) as caught:
        Tally.from_bytes(data)
    assert type(caught.value) is CorruptDataError
    text = str(caught.value)
    assert text.startswith("tally is damaged: "), text
    for part in said:
        assert part in text, text


@pytest.mark.parametrize("source", [GOOD, GOOD_BIASED], ids=["uniform", "biased"])
def test_every_truncation_is_noticed(source):
    for length in range(len(source)):
        damaged(source[:length])
    damaged(source + b"\0", "checksum")


@pytest.mark.parametrize("source", [GOOD, GOOD_BIASED], ids=["uniform", "biased"])
def test_every_changed_byte_is_noticed(source):
    for at in range(len(source)):
        for flip in (1, 0x80, 0xFF):
            with pytest.raises(CorruptDataError):
                Tally.from_bytes(source[:at] + bytes([source[at] ^ flip]) + source[at + 1 :])


@pytest.mark.parametrize(
    "data", [b"", b"EFLTALLY", b"x" * 500, GOOD[::-1], b"PAR1" + GOOD, bytes(44)], ids=range(6)
)
def test_foreign_bytes_are_refused(data):
    damaged(data)


def test_a_newer_format_is_said_to_be_newer():
    for version in (3, 7, 2**32 - 1):
        with pytest.raises(
            NewerFormatError, match=rf"^tally has format {version}, .* reads up to 2: upgrade efl-core"
        ):
            Tally.from_bytes(patched(8, "I", version))


FORGED = {
    "format zero": (patched(8, "I", 0), "format 0"),
    "unknown ensemble": (patched(12, "I", 2), "ensemble 2"),
    "no qubits": (patched(16, "Q", 0), "0 qubits"),
    "no buckets": (patched(32, "Q", 0), "0 buckets"),
    "too few words": (patched(24, "Q", 1), "1 words"),
    "many qubits": (patched(16, "Q", 2**62), "qubits"),
    "all qubits": (patched(16, "Q", 2**64 - 1), "qubits"),
    "many words": (patched(24, "Q", 2**60), "words"),
    "words that wrap the length": (patched(24, "Q", 2**61 + 2), "words"),
    "many buckets": (patched(32, "Q", 2**60), "buckets"),
    "buckets that wrap the length": (patched(32, "Q", 2**61 + 2), "buckets"),
    "everything": (patched(16, "QQQ", 2**64 - 1, 2**64 - 1, 2**64 - 1), "words"),
    "biased without probabilities": (patched(12, "I", 1), "bytes"),
    "letter past the last qubit": (patched(HEADER, "Q", 1 << 2), "qubit 2"),
    "letter in the padding": (patched(HEADER + 24, "Q", 1 << 63), "qubit 2"),
    "minus above revealed": (patched(COUNT_OFFSET, "QQ", 0, 1), "1 minus of 0 revealed"),
    "revealed above shots": (patched(COUNT_OFFSET, "QQ", 2, 0), "2 revealed of 1 shots"),
    "revealed above shots, last word": (patched(COUNT_OFFSET + 48, "QQ", 3, 0), "word 1 of bucket 1"),
    "huge counts": (patched(COUNT_OFFSET, "QQ", 2**64 - 1, 2**64 - 1), "revealed"),
    "shots of 2^63": (patched(HEADER + 32, "Q", 2**63), "2^63"),
    "shots that wrap": (patched(HEADER + 32, "QQ", 2**63, 2**63 + 3), "2^63"),
    "negative probability": (patched(HEADER, "3d", -0.5, 1, 0.5, source=GOOD_BIASED), "-0.5"),
    "nan probability": (patched(HEADER, "d", NAN, source=GOOD_BIASED), "NaN"),
    "probabilities above one": (patched(HEADER, "3d", 1, 1, 0, source=GOOD_BIASED), "sum"),
}


@pytest.mark.parametrize(("data", "said"), FORGED.values(), ids=FORGED)
def test_forged_bytes_with_a_valid_checksum_are_refused(data, said):
    damaged(data, said)


FORGED_IN_LITTLE_MEMORY = """
import resource, struct, sys, zlib
import efl_core as efl
linux = sys.platform == "linux"
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() if linux else 2**36
resource.setrlimit(resource.RLIMIT_AS, (used + 2**27, used + 2**27))
for data in eval(sys.stdin.read()):
    try:
        efl.Tally.from_bytes(data)
    except efl.CorruptDataError:
        print("refused")
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_giant_headers_allocate_nothing():
    forged = [data for name, (data, _) in FORGED.items() if "many" in name or "all" in name or "wrap" in name]
    forged += [patched(16, "Q", n, source=GOOD) for n in (2**32, 2**40, 2**58, 2**63)]
    forged += [patched(24, "QQ", words, buckets) for words in (2**20, 2**40) for buckets in (2**20, 2**40)]
    done = subprocess.run(
        [sys.executable, "-c", FORGED_IN_LITTLE_MEMORY],
        input=repr(forged),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("refused") == len(forged)


def test_a_merge_that_would_overflow_is_refused():
    body = bytearray(GOOD[:-4])
    struct.pack_into("<QQ", body, HEADER + 32, 2**62, 2**62 - 1)
    struct.pack_into("<QQ", body, COUNT_OFFSET, 2**62, 2**62)
    large = Tally.from_bytes(sealed(bytes(body)))
    assert large.shots == 2**63 - 1
    refused(lambda: large + large, InvalidInputError, "other", "2^63")
    assert np.isfinite(efl.estimate(large, "ZZ").value)


def test_an_empty_bucket_cannot_be_estimated():
    body = bytearray(GOOD[:-4])
    struct.pack_into("<QQ", body, HEADER + 32, 0, 3)
    struct.pack_into("<4Q", body, COUNT_OFFSET, 0, 0, 0, 0)
    empty = Tally.from_bytes(sealed(bytes(body)))
    refused(lambda: efl.estimate(empty, "XX"), InvalidInputError, "tally", "empty bucket")
