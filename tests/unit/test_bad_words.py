"""Words and sums: bad input raises the right class of error, and says what is wrong."""

import numpy as np
import pytest
from tests.unit.refusals import INF, NAN, Index, case, refused

from efl_core import (
    InputTypeError,
    InvalidInputError,
    PauliSum,
    PauliWord,
    ShapeError,
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
        "other",
        "inf",
    ),
    case("times string", lambda: PauliSum("X") * "a", InputTypeError, "factor", "str 'a'"),
    case("times complex", lambda: PauliSum("X") * 1j, InputTypeError, "factor", "complex 1j"),
    case("times nan", lambda: PauliSum("X") * NAN, InvalidInputError, "factor", "NaN"),
    case("times infinity", lambda: INF * PauliSum("X"), InvalidInputError, "factor", "inf"),
    case("times overflow", lambda: PauliSum({"X": 1e308}) * 1e10, InvalidInputError, "factor", "inf"),
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


@pytest.mark.parametrize(("call", "error", "name", "said"), WORDS)
def test_words_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), SUMS)
def test_sums_refuse(call, error, name, said):
    refused(call, error, name, *said)
