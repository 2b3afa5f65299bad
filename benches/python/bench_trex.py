"""Values and gradients beside IBM's stack: its estimator with readout mitigation (TREX), at equal shots.

IBM's estimator runs in its local mode on Aer, at resilience level 1: measurements are twirled, and a
calibration of the readout is part of its job. Ours are `efl.calibrate` and ``calibration=`` on the same
simulator, with as many shots as that job took, a fifth of them for the calibration.

What both estimate is what the gates give, their errors included, and a perfect readout reads: TREX removes
no other errors. It is computed from the density matrix.

- values: a set of observables in one job, 100 randomisations of 200 shots for each basis and as many for the
  calibration; then single observables near 1, where the calibration matters as much as the values. Ours is
  the device ``efl.fleet``. RMS and median of errors over the repeats, and the sampling error of the ratio.
- gradient: parameter-shift over the estimator, both shifts of all parameters in one job. Ours is
  `shadow_grad`, told the errors of gates by ``noise=``. RMS over points and derivatives.

Machines: depolarising errors of 1 % after two-qubit gates, and readouts that take 0 for 1 in 2 % and 1 for 0
in 5 %; IBM's FakeManilaV2 as Aer models it, for values.

Goals: values at most the RMS error of resilience level 1, each of them; a gradient at most half of it.

It needs what the benches do not install (and with it another environment, as versions differ):

    python -m venv trex && trex/bin/pip install "qiskit-ibm-runtime>=0.50" qiskit-aer \
        "pennylane>=0.45,<0.46" dist/efl_core-*.whl
    trex/bin/python benches/python/bench_trex.py [--part values|gradient] [--smoke]
"""

import argparse
import importlib.metadata
import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import efl_core as efl

VALUES, GRADIENT, CALIBRATION = 1.0, 0.5, 0.2
RANDOMIZATIONS, SHOTS = (100, 200), (25, 64)
"""Of values and of derivatives: randomisations, and shots of each. The latter are those that 1,600 shots of a
circuit get by default."""
QUBITS = 4
H2 = json.loads((Path(__file__).parents[1] / "data" / "h2_4.json").read_text())["words"]
SET = ["ZIII", "IZII", "IIIZ", "ZZII", "IZZI", "ZIIZ", "ZZZZ", "XIII", "XXII", "XXXX", "XZZX", "ZXXZ"]
VERSIONS = ("efl-core", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "qiskit-mitigation", "pennylane")


def stack():
    """The module of IBM's stack, or None with what is missing said."""
    try:
        import ibm_stack
    except ImportError as error:
        print(f"not run: {error}; it needs qiskit-ibm-runtime >= 0.50 and qiskit-aer, see the docstring")
        return None
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS))
    return ibm_stack


# ---- circuits --------------------------------------------------------------------------------------------


def brick(ibm, layers=3):
    gates, k = [], 0
    for layer in range(layers):
        for q in range(QUBITS):
            gates.append(("ry", (q,), k))
            k += 1
        gates += [("cz", (q, q + 1), None) for q in range(layer % 2, QUBITS - 1, 2)]
    return ibm.Circuit(f"brick, {layers} layers", QUBITS, k, tuple(gates))


def coupled_cluster(ibm):
    """UCCSD of H2 without its singles, which are zero in the ground state: exp(-i t YXXX / 2)."""
    into = [("rx", (0,), np.pi / 2), *(("h", (q,), None) for q in (1, 2, 3))]
    back = [("rx", (0,), -np.pi / 2), *into[1:]]
    down = [("cx", (q, q + 1), None) for q in range(QUBITS - 1)]
    occupied = [("x", (0,), None), ("x", (1,), None)]
    gates = [*occupied, *into, *down, ("rz", (3,), 0), *down[::-1], *back]
    return ibm.Circuit("UCC double of H2", QUBITS, 1, tuple(gates))


def hardware_efficient(ibm, layers=2):
    """RY and RZ on all qubits between lines of CZ, from the Hartree-Fock state of H2."""
    gates, k = [("x", (0,), None), ("x", (1,), None)], 0
    for layer in range(layers + 1):
        for name in ("ry", "rz") if layer < layers else ("ry",):
            for q in range(QUBITS):
                gates.append((name, (q,), k))
                k += 1
        if layer < layers:
            gates += [("cz", (q, q + 1), None) for q in range(QUBITS - 1)]
    return ibm.Circuit(f"hardware-efficient H2, {layers} layers", QUBITS, k, tuple(gates))


def model(circuit, observables, device):
    """A QNode of the circuit and some observables, given as words and coefficients."""
    sums = []
    for words in observables:
        own = [qml.pauli.string_to_pauli_word(w, {q: q for q in range(QUBITS)}) for w in words]
        sums.append(qml.dot(list(words.values()), own))

    @qml.qnode(device)
    def run(theta):
        circuit.apply(theta)
        found = [qml.expval(sum) for sum in sums]
        return found if len(found) > 1 else found[0]

    return run


def lowest(circuit):
    """The angle of least energy of one rotation: the energy is a sinusoid of it."""
    energy = model(circuit, [H2], qml.device("default.qubit", wires=QUBITS))
    middle, up, down = (float(energy(np.array([angle]))) for angle in (0.0, np.pi / 2, -np.pi / 2))
    centre = (up + down) / 2
    return np.array([np.arctan2(-(up - down) / 2, -(middle - centre))])


# ---- values ----------------------------------------------------------------------------------------------


def measured(machine, circuit, theta, observables, total, seed):
    """Our values, by as many shots as the other job took, and never more."""
    inner = machine.device(QUBITS, seed)
    calibration = efl.calibrate(inner, shots=int(CALIBRATION * total), seed=seed)
    shots = total - calibration.shots
    device = qml.device("efl.fleet", inner, shots=shots, calibration=calibration, seed=seed)
    found = np.atleast_1d(np.array(model(circuit, observables, device)(theta)))
    assert inner.spent <= total, f"{inner.spent} shots instead of {total}"
    return found


def values_of(machine, circuit, theta, named, repeats, label):
    """Print a row for each observable; return the largest ratio of RMS errors."""
    names, observables = list(named), list(named.values())
    truth = machine.truth(circuit, theta, observables)
    theirs, ours, total = [], [], 0
    for seed in range(repeats):
        found, total = machine.trex(circuit, theta[np.newaxis], observables, *RANDOMIZATIONS, seed)
        theirs.append(found[:, 0] - truth)
        ours.append(measured(machine, circuit, theta, observables, total, seed) - truth)
    print(f"\n{label}, {circuit.name}, {machine.name}: {total:,} shots, {repeats} repeats")
    titles = ("TREX, RMS", "median", "ours, RMS", "median")
    print(f"{'observable':12}{'value':>8}" + "".join(f"{title:>11}" for title in titles) + f"{'ratio':>7}")
    theirs, ours, worst = np.array(theirs), np.array(ours), 0.0
    for j, name in enumerate(names):
        ratio, error = compared(ours[:, j], theirs[:, j])
        figures = [f(own[:, j]) for own in (theirs, ours) for f in (rms, middle)]
        columns = "".join(f"{figure:11.4f}" for figure in figures)
        print(f"{name:12}{truth[j]:8.3f}{columns}{ratio:7.2f} +- {error:.2f}", flush=True)
        worst = max(worst, ratio)
    return worst


def rms(errors):
    return float(np.sqrt(np.mean(np.square(errors))))


def middle(errors):
    return float(np.median(np.abs(errors)))


def compared(ours, theirs):
    """The ratio of two RMS errors, and its sampling error."""
    squares = [np.square(own).ravel() for own in (ours, theirs)]
    ratio = np.sqrt(squares[0].mean() / squares[1].mean())
    parts = [np.std(own) / own.mean() / 2 / np.sqrt(len(own)) for own in squares]
    return ratio, ratio * np.hypot(*parts)


def values(ibm, repeats, smoke):
    everything = {word: {word: 1.0} for word in SET} | {"H2": H2}
    circuit, depolarising = coupled_cluster(ibm), ibm.depolarising()
    theta = lowest(circuit)
    random = np.random.default_rng(0).uniform(-np.pi, np.pi, brick(ibm).n_parameters)
    worst = [values_of(depolarising, brick(ibm), random, everything, repeats, "a set")]
    if not smoke:
        worst.append(values_of(depolarising, circuit, theta, everything, repeats, "a set"))
        worst.append(values_of(ibm.manila(), circuit, theta, everything, repeats, "a set"))
        for name in ("ZIII", "ZZZZ", "H2"):
            alone = {name: everything[name]}
            worst.append(values_of(depolarising, circuit, theta, alone, repeats, "alone"))
        judge("largest ratio of values", max(worst), VALUES)


# ---- gradient --------------------------------------------------------------------------------------------


def shifts(theta):
    """The angles of parameter-shift: all steps forward, then all back."""
    steps = np.pi / 2 * np.eye(len(theta))
    return np.concatenate([theta + steps, theta - steps])


def slopes(machine, circuit, words, theta):
    """The derivatives of what the gates give: all angles are those of rotations."""
    values = np.array([machine.truth(circuit, angles, [words])[0] for angles in shifts(theta)])
    return (values[: len(theta)] - values[len(theta) :]) / 2


def shifted(machine, circuit, words, theta, seed):
    """Derivatives by parameter-shift over the estimator, and the shots of the job."""
    found, total = machine.trex(circuit, shifts(theta), [words], *SHOTS, seed)
    return (found[0, : len(theta)] - found[0, len(theta) :]) / 2, total


def designed(machine, circuit, words, theta, total, seed):
    """Our derivatives, by as many shots, and never more; and the method that was chosen."""
    inner = machine.device(QUBITS, seed)
    calibration = efl.calibrate(inner, shots=int(CALIBRATION * total), seed=seed)
    reports = []
    gradient = efl.gradient_with_errors(
        model(circuit, [words], inner),
        shots=total - calibration.shots,
        seed=seed,
        noise=machine.model,
        calibration=calibration,
        report=reports,
    )
    found, _ = gradient(pnp.array(theta, requires_grad=True))
    assert inner.spent <= total, f"{inner.spent} shots instead of {total}"
    return np.asarray(found), reports[0].method


def gradient(ibm, points, smoke):
    machine = ibm.depolarising()
    cases = [
        (brick(ibm), "Z1 Z2", {"IZZI": 1.0}, np.pi / np.sqrt(3)),
        (brick(ibm), "H2", H2, np.pi / np.sqrt(3)),
        (hardware_efficient(ibm), "H2", H2, 0.4),
    ]
    print(f"\n{'gradient, ' + machine.name:40}{'shots':>10}{'TREX, RMS':>11}{'ours, RMS':>11}{'ratio':>7}")
    worst = 0.0
    for circuit, name, words, spread in cases[: 1 if smoke else None]:
        theirs, ours, totals, method = [], [], [], ""
        for seed in range(points):
            theta = spread * np.random.default_rng(seed).uniform(
                -np.sqrt(3), np.sqrt(3), circuit.n_parameters
            )
            truth = slopes(machine, circuit, words, theta)
            found, total = shifted(machine, circuit, words, theta, seed)
            theirs.append(found - truth)
            found, method = designed(machine, circuit, words, theta, total, seed)
            ours.append(found - truth)
            totals.append(total)
        ratio, error = compared(np.array(ours), np.array(theirs))
        columns = f"{int(np.mean(totals)):>10,}{rms(theirs):>11.4f}{rms(ours):>11.4f}"
        print(f"{circuit.name + ', ' + name:40}{columns}{ratio:7.2f} +- {error:.2f}  {method}", flush=True)
        worst = max(worst, ratio)
    if not smoke:
        judge("largest ratio of gradients", worst, GRADIENT)


def judge(what, ratio, goal):
    print(f"goal {'reached' if ratio <= goal else 'missed'}: {what} {ratio:.2f}, at most {goal}")


def main(options):
    ibm = stack()
    if ibm is None:
        return
    start = time.perf_counter()
    if options.part in ("values", "all"):
        values(ibm, 2 if options.smoke else options.repeats, options.smoke)
    if options.part in ("gradient", "all"):
        gradient(ibm, 1 if options.smoke else options.points, options.smoke)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--part", choices=("values", "gradient", "all"), default="all")
    parser.add_argument("--repeats", type=int, default=40, help="of values")
    parser.add_argument("--points", type=int, default=6, help="angles of gradients")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # those of Qiskit
    main(parser.parse_args())
