"""Defects found while the tests were written: each test holds what should be, and stays once mended."""

import pickle
import subprocess
import sys
from types import MappingProxyType

import numpy as np
import pytest
from tests.robustness.child import run

import efl_core as efl
from efl_core import Ensemble, PauliSum, PauliWord, Snapshots

SNAPS = Snapshots.from_arrays([[0, 1], [1, 1], [0, 0]], [[0, 2], [2, 2], [1, 0]])

IN_LITTLE_MEMORY = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**32, 2**32))
import efl_core as efl
try:
    {call}
except (efl.EflError, MemoryError) as error:
    assert type(error).__module__ in ("efl_core.errors", "builtins")
    print("refused", error)
"""


@pytest.mark.parametrize(
    "call",
    [
        "efl.sample([1, 0], shots=2**62)",
        "efl.sample([1, 0], shots=2**63 - 1)",
        "efl.sample([1, 0], shots=2**45)",
        "efl.PauliWord({0: 'X'}, n_qubits=2**62)",
        "efl.PauliWord({}, n_qubits=2**64 - 1)",
        "efl.PauliWord({}, n_qubits=2**45)",
        "efl.PauliSum([({0: 'X'}, 1)], n_qubits=2**62)",
        "efl.Ensemble.uniform(2**62).probabilities",
        "efl.Ensemble.uniform(2**45).probabilities",
        "efl.Ensemble.uniform(2**62).reveal_probability({0: 'X'})",
    ],
)
def test_sizes_beyond_memory_are_refused_and_do_not_end_the_process(call):
    done = subprocess.run(
        [sys.executable, "-c", IN_LITTLE_MEMORY.format(call=call)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.startswith("refused")


def test_long_words_have_a_short_repr():
    assert len(repr(PauliWord({0: "X"}, n_qubits=10**6))) < 1000


@pytest.mark.parametrize("value", [128, 200, 255])
@pytest.mark.parametrize("name", ["bits", "bases"])
def test_unsigned_bytes_are_reported_as_they_came(name, value):
    tables = {"bits": [[0]], "bases": [[0]], name: np.array([[value]], np.uint8)}
    with pytest.raises(efl.InvalidInputError, match=rf"^{name}\[0, 0\]: expected .*, got {value}$"):
        Snapshots.from_arrays(**tables)


@pytest.mark.filterwarnings("default")
def test_complex_probabilities_are_refused_and_not_truncated():
    with pytest.raises(efl.InputTypeError, match=r"^probabilities: expected real numbers"):
        Ensemble.biased(np.array([[1 + 5j, 0, 0]]))


def test_probabilities_are_not_read_from_text():
    with pytest.raises(efl.InputTypeError, match=r"^probabilities: expected real numbers"):
        Ensemble.biased([["1", "0", "0"]])


@pytest.mark.parametrize("dtype", [np.int8, np.int16])
def test_negative_indices_of_a_narrow_type_count_from_the_end(dtype):
    bits = np.arange(40_000)[:, None] % 2
    snaps = Snapshots.from_arrays(bits, bits * 2)
    found = snaps[np.array([-1, 5, -100], dtype=dtype)]
    assert found == snaps[[-1, 5, -100]]


@pytest.mark.parametrize("qubits", [[-1], [2**70], [0.5], ["0"], 3, "01"], ids=repr)
def test_restrict_refuses_in_our_own_words(qubits):
    with pytest.raises(efl.EflError, match=r"^qubits"):
        PauliWord("XYZ").restrict(qubits)


def test_a_label_that_is_no_unicode_is_refused_in_our_own_words():
    with pytest.raises(efl.InvalidInputError, match=r"^letters: "):
        PauliWord("X\ud800")


def test_concat_of_no_sequence_is_refused_in_our_own_words():
    with pytest.raises(efl.InputTypeError, match=r"^parts: expected .*, got int"):
        Snapshots.concat(3)


@pytest.mark.parametrize("key", [slice(None, None, 0), slice(1.5, None), slice("a")], ids=repr)
def test_slices_that_make_no_sense_are_refused_in_our_own_words(key):
    with pytest.raises(efl.EflError):
        SNAPS[key]


def test_any_mapping_is_a_dict_as_the_types_promise():
    assert PauliWord(MappingProxyType({0: "X"}), n_qubits=2) == PauliWord("XI")
    assert efl.estimate(SNAPS, MappingProxyType({"XX": 1.0})).value == efl.estimate(SNAPS, "XX").value
    assert efl.tally(SNAPS, MappingProxyType({0: "X"})) == efl.tally(SNAPS, "XI")


def test_sums_are_added_from_the_left_as_the_types_promise():
    assert {"X": 1.0} + PauliSum("Z") == PauliSum({"X": 1.0, "Z": 1.0})
    assert {"X": 1.0} - PauliSum("Z") == PauliSum({"X": 1.0, "Z": -1.0})
    assert PauliWord("X") + PauliSum("Z") == PauliSum({"X": 1.0, "Z": 1.0})


def test_a_text_coefficient_is_named_as_such():
    with pytest.raises(efl.InputTypeError, match="real number, got str '1'"):
        efl.estimate(SNAPS, {"XX": "1"})
    with pytest.raises(efl.InputTypeError, match="real number, got str '1'"):
        PauliSum({"XX": "1"})


def test_an_empty_column_fits_no_snapshots():
    empty = np.zeros((0, 2), int)
    assert Snapshots.from_arrays(empty, empty, version=[]).version.shape == (0,)


def test_snapshots_plus_a_tally_blames_no_argument_of_another_method():
    with pytest.raises(TypeError) as caught:
        SNAPS + efl.tally(SNAPS, "XX")
    assert "expected a Tally" not in str(caught.value)


INTERRUPT_TO_ARRAYS = """
import os, signal, threading, time
import numpy as np
import efl_core as efl

table = np.zeros((3_000_000, 64), np.uint8)
snaps = efl.Snapshots.from_arrays(table, table)
latencies = []
for attempt in range(3):
    due = time.perf_counter() + 0.1
    threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    try:
        {call}
        time.sleep(1)
    except KeyboardInterrupt:
        latencies.append(time.perf_counter() - due)
print(min(latencies))
"""


@pytest.mark.parametrize("call", ["snaps.to_arrays()", "snaps[::-1]"])
def test_ctrl_c_ends_long_conversions(call):
    # One of three, because a loaded machine may keep any process waiting for longer than that.
    latencies = (float(run(INTERRUPT_TO_ARRAYS.format(call=call))) for _ in range(3))
    assert any(latency < 0.2 for latency in latencies)


def small_circuit():
    first, second = efl.Parameter(0), efl.Parameter(1)
    return efl.Circuit(2, [0.3, 0.4]).ry(first, 0).clifford("CNOT", 0, 1).rx(second, 1)


def test_gradient_observables_keep_the_circuit_that_they_were_made_of():
    circuit = small_circuit()
    observables = efl.gradient_observables(circuit, "IZ")
    before = observables.rebase([0.1, 0.2]).gradients, observables.at([0.1, 0.2]).gradients
    circuit.ry(0.9, 0).rx(efl.Parameter(0), 1)
    assert (observables.rebase([0.1, 0.2]).gradients, observables.at([0.1, 0.2]).gradients) == before


def test_the_input_of_a_circuit_is_read_only():
    circuit = small_circuit()
    with pytest.raises(ValueError, match="read-only"):
        circuit.copy().bloch[0] = [1.0, 0.0, 0.0]
    given = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    circuit.prepare(given)
    given[0] = 0.0
    assert circuit.bloch[0, 0] == 1.0


def test_circuits_and_gradient_observables_are_pickled():
    circuit = small_circuit().unitary(np.diag([1, 1j]), 1).evolution({"XY": 0.5}, efl.Parameter(1) * 2 + 0.1)
    again = pickle.loads(pickle.dumps(circuit))
    assert efl.propagate(again, "ZZ").value == efl.propagate(circuit, "ZZ").value
    observables = efl.gradient_observables(circuit, ["IZ", "XX"])
    assert pickle.loads(pickle.dumps(observables)).gradients == observables.gradients
    with pytest.raises(efl.EflError, match="rebase again"):
        pickle.dumps(observables.rebase([0.0, 0.0]))
