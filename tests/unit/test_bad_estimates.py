"""Estimates, tallies and the machine: bad input raises the right class of error, and says what is wrong."""

import pytest
from tests.unit.refusals import BIASED, COUNTS, INF, NAN, ONE, SNAPS, Index, case, refused

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, PauliSum, PauliWord, ShapeError, Snapshots, Tally


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
    case("estimate: sum width", value(PauliSum("X")), ShapeError, "observables", "2 qubits", "1 qubits"),
    case("estimate: term width", value({"XX": 1, "X": 1}), ShapeError, "observables", "term 1", "2", "1"),
    case("estimate: letter", value("Xx"), InvalidInputError, "observables", "'x' at position 1"),
    case("estimate: empty label", value(""), InvalidInputError, "observables", "empty"),
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
        "estimate: complex",
        value({"XX": 1j}),
        InputTypeError,
        "observables",
        "term 0",
        "real number",
        "complex",
    ),
    case(
        "estimate: none coefficient",
        value({"XX": None}),
        InputTypeError,
        "observables",
        "term 0",
        "real number",
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
    case("buckets with the mean", value(buckets=2), InvalidInputError, "buckets", "none", "got int 2"),
    case(
        "buckets with hit_normalised",
        value(combine="hit_normalised", buckets=1),
        InvalidInputError,
        "buckets",
        "none",
        "got int 1",
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


@pytest.mark.parametrize(("call", "error", "name", "said"), ESTIMATES)
def test_estimates_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), MERGES)
def test_merges_refuse(call, error, name, said):
    refused(call, error, name, *said)


@pytest.mark.parametrize(("call", "error", "name", "said"), MACHINE)
def test_the_rest_refuses(call, error, name, said):
    refused(call, error, name, *said)


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
