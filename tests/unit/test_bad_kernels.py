"""What kernels, alignments and two copies refuse, by name."""

import numpy as np
import pytest

import efl_core as efl

LOCAL = efl.sample([1, 0, 0, 0], shots=20, seed=1)
WIDE = efl.sample(np.eye(8)[0], shots=20, seed=1)
ONE_SIDED = efl.sample([1, 0, 0, 0], efl.Ensemble.biased([[0.5, 0, 0.5]] * 2), shots=20, seed=1)
CIRCUIT = efl.Circuit(2, parameters=[0.9]).ry(efl.Parameter(0), 0)
PAIR = efl.sample([1, 0, 0, 0], efl.Ensemble.settings([efl.bell_setting(1)]), shots=20, seed=1)
KERNEL = np.eye(2)


def counted(*counts):
    ensemble = efl.Ensemble.settings(["XX", "YY", "ZZ"])
    return efl.sample([1, 0, 0, 0], ensemble, counts=counts, seed=1)


def aligned(states=(LOCAL, LOCAL), circuits=(CIRCUIT, CIRCUIT), labels=(0, 1), gamma=1.0, **options):
    return efl.alignment_gradient(states, circuits, labels, gamma=gamma, **options)


def bell(n_qubits):
    return efl.Ensemble.settings([efl.bell_setting(n_qubits)])


def signed(**options):
    return efl.two_copy_gradient(CIRCUIT, "ZZ", **{"error": 0.2, **options})


CASES = {
    "no state": (lambda: efl.projected_kernel([], gamma=1), "states: expected at least one state, got none"),
    "no snapshots": (lambda: efl.projected_kernel([LOCAL, 3], gamma=1), r"states\[1\]: expected Snapshots"),
    "no columns": (lambda: efl.projected_kernel([LOCAL], [], gamma=1), "others: expected at least one"),
    "another width": (
        lambda: efl.projected_kernel([LOCAL, WIDE], gamma=1),
        r"states\[1\]: expected 2 qubits, as states\[0\] has, got 3 qubits",
    ),
    "another width of a column": (
        lambda: efl.projected_kernel([LOCAL], [LOCAL, WIDE], gamma=1),
        r"others\[1\]: expected 2 qubits",
    ),
    "one snapshot": (
        lambda: efl.projected_kernel([LOCAL[:1]], gamma=1),
        r"states\[0\]: expected at least 2 snapshots, got 1",
    ),
    "a letter that never comes": (
        lambda: efl.projected_kernel([LOCAL, ONE_SIDED], gamma=1),
        r"states\[1\]: expected snapshots of an ensemble that reveals all words .* never reveals YI",
    ),
    "a setting that was not measured": (
        lambda: efl.projected_kernel([counted(4, 4, 4), counted(4, 4, 0)], gamma=1),
        r"states\[1\]: expected snapshots that reveal each word of the parts, got none that reveals ZI",
    ),
    "a setting for one half": (
        lambda: aligned(states=[counted(4, 4, 4), counted(4, 4, 1)]),
        r"states\[1\]: expected snapshots that reveal each word of the parts in each half, got none",
    ),
    "gamma of zero": (
        lambda: efl.projected_kernel([LOCAL], gamma=0),
        "gamma: expected a finite number",
    ),
    "no gamma": (lambda: efl.projected_kernel([LOCAL], gamma="scale"), "gamma: expected a real number"),
    "not a number": (lambda: efl.projected_kernel([LOCAL], gamma=np.nan), "gamma: expected a finite number"),
    "no part": (lambda: efl.projected_kernel([LOCAL], gamma=1, parts=[]), "parts: expected at least one"),
    "qubits for parts": (
        lambda: efl.projected_kernel([LOCAL], gamma=1, parts=[0, 1]),
        r"parts\[0\]: expected a sequence of qubits",
    ),
    "an empty part": (
        lambda: efl.projected_kernel([LOCAL], gamma=1, parts=[[0], []]),
        r"parts\[1\]: expected 1 to 4 different qubits",
    ),
    "a qubit twice": (
        lambda: efl.projected_kernel([LOCAL], gamma=1, parts=[[1, 1]]),
        r"parts\[0\]: expected 1 to 4 different qubits",
    ),
    "a qubit outside": (
        lambda: efl.projected_kernel([LOCAL], gamma=1, parts=[[0, 2]]),
        r"parts\[0\]\[1\]: expected an integer from 0 to 1",
    ),
    "a kernel that is not square": (
        lambda: efl.kernel_alignment(np.ones((2, 3)), [0, 1]),
        r"kernel: expected a square matrix of real numbers, got shape \(2, 3\)",
    ),
    "a complex kernel": (lambda: efl.kernel_alignment(1j * KERNEL, [0, 1]), "kernel: expected .* complex"),
    "a kernel with holes": (lambda: efl.kernel_alignment(np.nan * KERNEL, [0, 1]), "kernel: expected finite"),
    "a kernel of ones": (
        lambda: efl.kernel_alignment(np.ones((2, 2)), [0, 1]),
        "kernel: expected entries that are not all alike",
    ),
    "too few labels": (lambda: efl.kernel_alignment(KERNEL, [0]), "labels: expected 2 real numbers"),
    "one class": (lambda: efl.kernel_alignment(KERNEL, [1, 1]), "labels: expected at least two different"),
    "names for labels": (lambda: efl.kernel_alignment(KERNEL, ["a", "b"]), "labels: expected 2 real numbers"),
    "a label that is none": (lambda: efl.kernel_alignment(KERNEL, [1, np.inf]), "labels: expected finite"),
    "labels of no sign": (
        lambda: efl.kernel_alignment(KERNEL, [0, 1], centred=False),
        "labels: expected -1 and 1 with centred=False",
    ),
    "too few circuits": (lambda: aligned(circuits=[CIRCUIT]), "circuits: expected 2, one for each state"),
    "no circuit": (lambda: aligned(circuits=[CIRCUIT, None]), r"circuits\[1\]: expected a Circuit"),
    "a circuit of another width": (
        lambda: aligned(circuits=[efl.Circuit(3, [0.9]), CIRCUIT]),
        r"circuits\[0\]: expected 2 qubits, as the snapshots have, got 3",
    ),
    "other parameters": (
        lambda: aligned(circuits=[CIRCUIT, CIRCUIT.at([0.8])]),
        r"circuits\[1\]: expected the parameters of circuits\[0\]",
    ),
    "three snapshots": (lambda: aligned(states=[LOCAL, LOCAL[:3]]), r"states\[1\]: expected at least 4"),
    "labels of other points": (lambda: aligned(labels=[0, 1, 1]), "labels: expected 2 real numbers"),
    "states of two widths": (
        lambda: aligned(states=[LOCAL, WIDE], circuits=[CIRCUIT, efl.Circuit(3, [0.9])]),
        r"states\[1\]: expected 2 qubits",
    ),
    "no qubits": (lambda: efl.bell_setting(0), "n_qubits: expected an integer from 1"),
    "copies of nothing": (lambda: efl.two_copies(None), "circuit: expected a Circuit"),
    "an odd width": (
        lambda: efl.word_squares(WIDE, "Z"),
        "snaps: expected an even number of qubits, as two copies have, got 3",
    ),
    "arrays for snapshots": (
        lambda: efl.word_squares([[0, 1]], "Z"),
        r"snaps\[0\]: expected Snapshots, got list",
    ),
    "a number for snapshots": (lambda: efl.word_squares(3, "Z"), "snaps: expected Snapshots, or a sequence"),
    "one pair": (lambda: efl.word_squares([PAIR], "Z"), "snaps: expected Snapshots of two pairs or more"),
    "pairs of two widths": (
        lambda: efl.word_squares([PAIR, efl.sample([1, *[0] * 15], bell(2), shots=9, seed=1)], {0: "Z"}),
        r"snaps\[1\]: expected 2 qubits, as the first, got 4",
    ),
    "a copy of nothing": (lambda: efl.two_copies(CIRCUIT, "x"), "other: expected a Circuit"),
    "a wider copy": (lambda: efl.two_copies(CIRCUIT, efl.Circuit(3, [0.9])), "other: expected 2 qubits"),
    "a copy at other parameters": (
        lambda: efl.two_copies(CIRCUIT, CIRCUIT.at([0.8])),
        "other: expected the parameters of the circuit",
    ),
    "no error": (lambda: signed(error=0), "error: expected a number above zero"),
    "a threshold in the noise": (
        lambda: signed(deviations=0.5),
        "deviations: expected .* 1 or more",
    ),
    "less than no weight": (lambda: signed(value_weight=-1), "value_weight: expected a number that is not"),
    "no connectivity": (lambda: signed(connectivity="ring"), "connectivity: expected 'all', 'line' or"),
    "an unknown option": (lambda: signed(shots=9), "got an unexpected option 'shots'"),
    "no circuit to differentiate": (
        lambda: efl.two_copy_gradient("Z", "Z"),
        "circuit: expected a Circuit",
    ),
    "nothing measured": (
        lambda: signed(measure=lambda *_: None),
        "measure: expected a function that",
    ),
    "too little measured": (
        lambda: signed(measure=lambda _, ensemble, counts: efl.sample([1, *[0] * 15], ensemble, shots=9)),
        "measure: expected 626 snapshots in 1 settings, as it was asked for, got 9",
    ),
    "two copies of a plan without noise": (
        lambda: efl.plan(CIRCUIT, "ZZ", mitigate=True).two_copies(),
        "plan: expected derivatives of the state as it is",
    ),
    "a word of both copies": (lambda: efl.word_squares(PAIR, "ZZ"), "words: expected"),
    "a word that is none": (lambda: efl.word_squares(PAIR, ["Z", "Q"]), r"words\[1\]: expected"),
    "a sum": (lambda: efl.word_squares(PAIR, [efl.PauliSum({"Z": 0.5})]), r"words\[0\]: expected"),
    "a basis that does not reveal it": (
        lambda: efl.word_squares(efl.sample([1, 0, 0, 0], efl.Ensemble.settings(["ZZ"]), shots=9), "X"),
        r"snaps: expected snapshots that reveal XX, as those of bell_setting\(1\) do, got a settings",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(case):
    call, message = CASES[case]
    with pytest.raises(efl.EflError, match=message):
        call()
