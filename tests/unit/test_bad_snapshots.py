"""Snapshots and sampling: bad input raises the right class of error, and says what is wrong."""

import numpy as np
import pytest
from tests.unit.refusals import BIASED, INF, NAN, ONE, SNAPS, case, refused

import efl_core as efl
from efl_core import (
    Ensemble,
    InputTypeError,
    InvalidInputError,
    ShapeError,
    Snapshots,
)


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


@pytest.mark.parametrize(("call", "error", "name", "said"), ARRAYS)
def test_snapshots_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), SAMPLES)
def test_sample_refuses(call, error, name, said):
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
