"""What whole-state questions refuse, by name."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import efl_core as efl

GLOBAL = efl.Ensemble.global_clifford(2)
SNAPS = efl.sample([1, 0, 0, 0], GLOBAL, shots=20, seed=1)
LOCAL = efl.sample([1, 0, 0, 0], shots=20, seed=1)
ONE_SIDED = efl.sample([1, 0, 0, 0], efl.Ensemble.biased([[0.5, 0, 0.5]] * 2), shots=20, seed=1)
CIRCUIT = efl.Circuit(2, parameters=[0.9]).ry(efl.Parameter(0), 0)
ZEROS = efl.StabiliserState(2, [])
TWIRL = efl.Ensemble.global_clifford(2, twirled=True)
TWIRLED = efl.sample(ZEROS, TWIRL, shots=200, seed=1)
KNOWN = efl.BasisCalibration.from_snapshots(TWIRLED)
NOISE = efl.BasisCalibration(2, [[0, 40, 40], [1, 50, 26], [2, 10, 3]])
READOUT = efl.Calibration.from_bits(np.zeros((50, 2), np.uint8))
OLD = datetime.now(UTC) - timedelta(hours=2)

CASES = {
    "fidelity of letters": (
        lambda: efl.fidelity(LOCAL, ZEROS),
        "snaps: expected snapshots of Ensemble.global",
    ),
    "another width": (lambda: efl.fidelity(SNAPS, efl.StabiliserState(3, [])), "target: expected 2 qubits"),
    "a short vector": (lambda: efl.fidelity(SNAPS, [1, 0]), "target: expected 4 amplitudes"),
    "not normalised": (lambda: efl.fidelity(SNAPS, [1, 1, 0, 0]), "target: expected a normalised vector"),
    "a vector of too many qubits": (
        lambda: efl.fidelity(
            efl.sample(efl.StabiliserState(40, []), efl.Ensemble.global_clifford(40), shots=9), [1, 0]
        ),
        "target: expected a StabiliserState, for 40 qubits",
    ),
    "one of several": (lambda: efl.fidelity(SNAPS, [ZEROS, [1, 0]]), r"target\[1\]: expected 4 amplitudes"),
    "too few for the buckets": (
        lambda: efl.fidelity(SNAPS, ZEROS, failure=1e-9),
        "snaps: expected at least 43, one for each bucket, got 20",
    ),
    "failure for means": (
        lambda: efl.fidelity(SNAPS, ZEROS, combine="mean", failure=0.1),
        "failure: expected none",
    ),
    "no probability": (lambda: efl.fidelity(SNAPS, ZEROS, failure=2), "failure: expected a probability"),
    "an unknown rule": (lambda: efl.fidelity(SNAPS, ZEROS, combine="mode"), "combine: expected 'mean'"),
    "a truncated mean that never fails": (
        lambda: efl.fidelity(SNAPS, ZEROS, combine="truncated_mean", failure=0),
        "failure: expected a probability",
    ),
    "an operator of letters": (
        lambda: efl.low_rank(LOCAL, [[1, 0, 0, 0]]),
        "snaps: expected snapshots of Ensemble.global",
    ),
    "an operator, of no snapshots": (lambda: efl.low_rank(None, [[1, 0, 0, 0]]), "snaps: expected Snapshots"),
    "short vectors of an operator": (lambda: efl.low_rank(SNAPS, [[1, 0]]), "vectors: expected rows of"),
    "no vectors of an operator": (
        lambda: efl.low_rank(SNAPS, np.zeros((0, 4))),
        "vectors: expected rows of",
    ),
    "one vector of an operator, not as a row": (
        lambda: efl.low_rank(SNAPS, [1, 0, 0, 0]),
        "vectors: expected rows of",
    ),
    "dependent vectors": (
        lambda: efl.low_rank(SNAPS, [[1, 0, 0, 0], [2j, 0, 0, 0]]),
        "vectors: expected independent ones",
    ),
    "more vectors than dimensions": (
        lambda: efl.low_rank(SNAPS, np.ones((5, 4))),
        "vectors: expected independent ones",
    ),
    "vectors with infinities": (
        lambda: efl.low_rank(SNAPS, [[np.inf, 0, 0, 0]]),
        "vectors: expected finite numbers",
    ),
    "too many weights": (
        lambda: efl.low_rank(SNAPS, [[1, 0, 0, 0]], [1, 2]),
        r"weights: expected \(1,\) or \(1, 1\)",
    ),
    "weights that are not Hermitian": (
        lambda: efl.low_rank(SNAPS, np.eye(4)[:2], [[0, 1], [0, 0]]),
        "weights: expected a Hermitian matrix",
    ),
    "complex weights": (
        lambda: efl.low_rank(SNAPS, [[1, 0, 0, 0]], [1j]),
        "weights: expected a Hermitian matrix",
    ),
    "weights with infinities": (
        lambda: efl.low_rank(SNAPS, [[1, 0, 0, 0]], [np.nan]),
        "weights: expected finite numbers",
    ),
    "snapshots as a target": (lambda: efl.fidelity(SNAPS, LOCAL), "target: expected .*, got Snapshots"),
    "a list of snapshots": (
        lambda: efl.fidelity(SNAPS, [LOCAL, LOCAL]),
        "target: expected .*, got Snapshots",
    ),
    "snapshots as vectors": (lambda: efl.low_rank(SNAPS, [LOCAL]), "vectors: expected .*, got Snapshots"),
    "a gradient of letters": (
        lambda: efl.fidelity_gradient(LOCAL, CIRCUIT, [1, 0, 0, 0]),
        "snaps: expected snapshots of Ensemble.global",
    ),
    "a circuit of another width": (
        lambda: efl.fidelity_gradient(SNAPS, efl.Circuit(3), [1, 0, 0, 0]),
        "circuit: expected 2 qubits, as the snapshots have, got 3 qubits",
    ),
    "no circuit": (lambda: efl.fidelity_gradient(SNAPS, None, [1, 0, 0, 0]), "circuit: expected a"),
    "a stabiliser state for a gradient": (
        lambda: efl.fidelity_gradient(SNAPS, CIRCUIT, ZEROS),
        r"target: expected 2\^n amplitudes .*, got a StabiliserState",
    ),
    "a target that is not normalised": (
        lambda: efl.fidelity_gradient(SNAPS, CIRCUIT, [1, 1, 0, 0]),
        "target: expected a normalised vector",
    ),
    "a channel": (
        lambda: efl.fidelity_gradient(
            SNAPS, CIRCUIT.copy().channel([np.eye(2) * 0.6, np.eye(2)[::-1] * 0.8], 1), [1, 0, 0, 0]
        ),
        "circuit: expected unitary gates .*, got a channel at gate 1",
    ),
    "purity of bases": (lambda: efl.purity(SNAPS, [0]), "snaps: expected snapshots in letters"),
    "a calibration of other qubits": (
        lambda: efl.purity(LOCAL, [0], calibration=efl.Calibration.from_bits(np.zeros((50, 3), np.uint8))),
        "calibration: expected",
    ),
    "a calibration of qubits that err together": (
        lambda: efl.purity(
            LOCAL, [1, 0], calibration=efl.Calibration.from_bits(np.arange(900).reshape(-1, 1) % [9, 9] == 0)
        ),
        "calibration: expected one of qubits that err apart, .* 0 and 1",
    ),
    "a calibration of noise alone": (
        lambda: efl.purity(
            LOCAL, [0], calibration=efl.Calibration.from_bits(np.arange(90).reshape(-1, 1) // [1, 2] % 2)
        ),
        "calibration: expected contrasts clearly above zero, got that of qubit 0",
    ),
    "no qubit": (lambda: efl.purity(LOCAL, []), "qubits: expected 1 to 8 qubits"),
    "a qubit twice": (lambda: efl.purity(LOCAL, [1, 1]), "qubits: expected different qubits"),
    "a qubit outside": (lambda: efl.purity(LOCAL, [0, 2]), r"qubits\[1\]: expected an integer from 0 to 1"),
    "one snapshot": (lambda: efl.purity(LOCAL[:1], [0]), "snaps: expected at least 2 snapshots"),
    "a letter that never comes": (lambda: efl.purity(ONE_SIDED, [1]), "snaps: expected letters X, Y and Z"),
    "two ensembles": (
        lambda: efl.state_overlap(LOCAL, ONE_SIDED),
        "b: expected snapshots of the ensemble of a",
    ),
    "a part of pure states": (
        lambda: efl.shadow_kernel([LOCAL, LOCAL], qubits=[1], pure=True),
        "pure: expected False where qubits are left out",
    ),
    "no state": (lambda: efl.shadow_kernel([]), "states: expected at least one"),
    "a list of settings": (
        lambda: efl.sample(ZEROS, efl.Ensemble.settings(["XX"]), shots=3),
        "ensemble: expected letters or global_clifford",
    ),
    "words that anticommute": (
        lambda: efl.StabiliserState.from_words([(1, "XX"), (1, "ZI")]),
        r"words\[1\]: expected words that commute",
    ),
    "dependent words": (
        lambda: efl.StabiliserState.from_words([(1, "XX"), (1, "XX")]),
        r"words\[1\]: expected a word that is no product",
    ),
    "too few words": (
        lambda: efl.StabiliserState.from_words([(1, "XX")]),
        "words: expected one for each of 2",
    ),
    "no sign": (
        lambda: efl.StabiliserState.from_words([(0, "X")]),
        r"words\[0\]: expected a sign of 1 or -1",
    ),
    "a gate outside": (lambda: efl.StabiliserState(2, [("H", 2)]), r"gates\[0\]: expected qubits below 2"),
    "indices of bases": (
        lambda: efl.Snapshots.from_settings([[0, 1]], [0], ensemble=GLOBAL),
        "setting_index|ensemble: expected",
    ),
    "probabilities of bases": (
        lambda: GLOBAL.probabilities,
        "probabilities: expected an ensemble of letters",
    ),
    "a calibration of bases that are not twirled": (
        lambda: efl.fidelity(SNAPS, ZEROS, calibration=KNOWN),
        r"calibration: expected snapshots of .*twirled=True\) .*, got a global_clifford ensemble that is not",
    ),
    "a readout's calibration for the same": (
        lambda: efl.estimate(SNAPS, "ZZ", calibration=READOUT),
        r"calibration: expected snapshots of .*twirled=True\)",
    ),
    "a gradient of bases that are not twirled": (
        lambda: efl.fidelity_gradient(SNAPS, CIRCUIT, [1, 0, 0, 0], calibration=READOUT),
        r"calibration: expected snapshots of .*twirled=True\)",
    ),
    "an operator of bases that are not twirled": (
        lambda: efl.low_rank(SNAPS, [[1, 0, 0, 0]], calibration=READOUT),
        r"calibration: expected snapshots of .*twirled=True\)",
    ),
    "a calibration of bases for letters": (
        lambda: efl.estimate(LOCAL, "ZZ", calibration=KNOWN),
        "calibration: expected an efl_core.Calibration, got .*BasisCalibration",
    ),
    "a calibration of bases for parts": (
        lambda: efl.purity(LOCAL, [0], calibration=KNOWN),
        "calibration: expected an efl_core.Calibration, got .*BasisCalibration",
    ),
    "no calibration of bases": (
        lambda: efl.fidelity(TWIRLED, ZEROS, calibration=0.9),
        "calibration: expected an efl_core.Calibration or BasisCalibration, got float 0.9",
    ),
    "one of another width": (
        lambda: efl.fidelity(TWIRLED, ZEROS, calibration=efl.BasisCalibration(3, [[1, 9, 9]])),
        "calibration: expected one of 2 qubits, got 3 qubits",
    ),
    "one of noise alone": (
        lambda: efl.fidelity(TWIRLED, ZEROS, calibration=NOISE),
        r"calibration: expected a contrast that is 4 standard errors above zero \(about [\d,]+ shots",
    ),
    "a readout of noise alone": (
        lambda: efl.estimate(
            TWIRLED, "ZZ", calibration=efl.Calibration.from_bits(np.arange(90).reshape(-1, 1) // [1, 2] % 2)
        ),
        "calibration: expected a contrast that is 4 standard errors above zero",
    ),
    "an old one": (
        lambda: efl.fidelity(
            TWIRLED, ZEROS, calibration=efl.BasisCalibration(2, [[1, 99, 99]], made=OLD, max_age=60)
        ),
        "calibration: expected one that is at most 60 s old",
    ),
    "a calibration of letters as bases": (
        lambda: efl.BasisCalibration.from_snapshots(LOCAL),
        r"snaps: expected snapshots of .*twirled=True\) .*, got a uniform ensemble",
    ),
    "a calibration of plain bases": (
        lambda: efl.BasisCalibration.from_snapshots(SNAPS),
        "snaps: expected snapshots of .* not twirled",
    ),
    "a calibration of bases as letters": (
        lambda: efl.Calibration.from_snapshots(TWIRLED),
        r"snaps: expected snapshots in letters \(BasisCalibration",
    ),
    "no snapshots to calibrate with": (
        lambda: efl.BasisCalibration.from_snapshots(TWIRLED[:0]),
        "snaps: expected at least one snapshot",
    ),
    "a table that cannot be": (
        lambda: efl.BasisCalibration(2, [[1, 5, 6]]),
        "table: expected integers, rows of",
    ),
    "a table of bases without a word": (
        lambda: efl.BasisCalibration(2, [[0, 5, 5]]),
        "table: expected shots in bases that have a word",
    ),
    "a table of one row": (lambda: efl.BasisCalibration(2, [1, 5, 5]), "table: expected integers, rows of"),
    "text of another calibration": (
        lambda: efl.BasisCalibration.from_json(READOUT.to_json()),
        "text: expected 'efl_core basis calibration 1'",
    ),
    "text that is damaged": (
        lambda: efl.BasisCalibration.from_json(KNOWN.to_json().replace("table", "tables")),
        "text: expected a basis calibration",
    ),
    "plain bases said to be twirled": (
        lambda: SNAPS.with_ensemble(TWIRL),
        "ensemble: expected the settings that were measured",
    ),
    "plain and twirled bases": (lambda: SNAPS + TWIRLED, r"parts\[1\]: expected the ensemble of the first"),
    "another ensemble": (lambda: LOCAL.with_ensemble(GLOBAL), "ensemble: expected the settings"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    call, message = CASES[case]
    with pytest.raises(efl.EflError, match=message):
        call()


def test_a_list_of_numbers_is_one_target_and_a_list_of_states_is_several():
    assert np.ndim(efl.fidelity(SNAPS, [1, 0, 0, 0]).value) == 0
    assert efl.fidelity(SNAPS, [ZEROS, [0, 1, 0, 0]]).value.shape == (2,)
    assert efl.fidelity(SNAPS, (np.eye(4)[0],)).value.shape == (1,)
