"""Ensembles: bad input raises the right class of error, and says what is wrong."""

import numpy as np
import pytest
from tests.unit.refusals import BIASED, INF, NAN, case, refused

from efl_core import (
    Ensemble,
    InputTypeError,
    InvalidInputError,
    ShapeError,
)


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


@pytest.mark.parametrize(("call", "error", "name", "said"), ENSEMBLES)
def test_ensembles_refuse(call, error, name, said):
    refused(call, error, name, *said)
