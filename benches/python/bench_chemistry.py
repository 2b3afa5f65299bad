"""Deep chemistry: the gradient of the energy of LiH on 12 qubits by all 92 excitations, with its error bars.

Written as excitations, `qml.SingleExcitation` and `qml.DoubleExcitation`, and as `qml.UCCSD` writes them: 640
rotations in ladders of some 11,000 gates, with one angle in many of them. Each gradient in a process of its
own, from near the Hartree-Fock state, with 200,000 shots on a simulator of state vectors: the first, with its
plan, and another at other angles. Time is that of the wall, with as many threads as there are cores; memory
is the most that the process held.

Goals: the first of excitations in at most 20 s and 2 GB; UCCSD in at most 3 GB. Checks: errors are as the
error bars say (a false alarm once in 10,000).

    python benches/python/bench_chemistry.py [--smoke] [--json FILE]
"""

import sidebyside as side  # isort: skip (before numpy)
import json
import resource
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp
from scipy.stats import chi2

import efl_core as efl

DATA = Path(__file__).parent.parent / "data"
SHOTS, SECONDS, GIGABYTES = 200_000, 20.0, {"excitations": 2.0, "UCCSD": 3.0}


def energy(file):
    found = json.loads((DATA / f"{file}.json").read_text())
    n = len(next(iter(found["words"])))
    words = [qml.pauli.string_to_pauli_word(w, dict(enumerate(range(n)))) for w in found["words"]]
    return qml.dot(list(found["words"].values()), words), n, found["electrons"]


def model(file, written):
    """The QNode, without its way to a gradient, and angles for it."""
    observable, n, electrons = energy(file)
    singles, doubles = qml.qchem.excitations(electrons, n)
    prepared = qml.qchem.hf_state(electrons, n)

    def excitations(angles):
        qml.AllSinglesDoubles(angles, range(n), prepared, singles, doubles)
        return qml.expval(observable)

    def ladders(angles):
        by_wires = qml.qchem.excitations_to_wires(singles, doubles)
        qml.UCCSD(angles, range(n), *by_wires, init_state=prepared)
        return qml.expval(observable)

    angles = np.random.default_rng(0).normal(0, 0.05, len(singles) + len(doubles))
    made = excitations if written == "excitations" else ladders
    return qml.QNode(made, qml.device("lightning.qubit", wires=n)), angles


def measure(file, written):
    """Measure two gradients; print their times, errors and the memory as JSON."""
    warnings.simplefilter("ignore", UserWarning)  # that there are many settings
    qnode, angles = model(file, written)
    exact = qml.grad(qnode.update(diff_method="adjoint"))
    shadow = efl.gradient_with_errors(qnode.update(diff_method=efl.shadow_grad), shots=SHOTS, seed=1)
    seconds, z, rms = [], [], []
    for turn in (0.0, 0.01):
        at = pnp.array(angles + turn, requires_grad=True)
        start = time.perf_counter()
        gradient, stderr = shadow(at)
        seconds.append(time.perf_counter() - start)
        z += list(((gradient - exact(at)) / stderr)[stderr > 0])
        rms.append(float(np.sqrt(np.mean(np.square(stderr)))))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    report = efl.shadow_grad.last_report()
    found = {"seconds": seconds, "gigabytes": used, "rms": rms, "z": z, "settings": report.settings}
    print(json.dumps(found | {"derivatives": len(angles)}))


def main(report):
    file = "h2_4" if report.smoke else "lih_12"
    for written in ("excitations", "UCCSD"):
        report.title(f"{file}, written as {written}")
        own = [sys.executable, __file__, "--measure", file, written]
        done = subprocess.run(own, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        found = json.loads(done.stdout.splitlines()[-1])
        first, again = found["seconds"]
        limit = SECONDS if written == "excitations" else None
        report.figure(f"first gradient of {found['derivatives']} derivatives", first, "s", at_most=limit)
        report.figure("another, at other angles", again, "s")
        report.figure("memory", found["gigabytes"], "GB", at_most=GIGABYTES[written])
        report.figure("circuits and settings", found["settings"], "")
        report.figure("RMS error bar", found["rms"][1], "Hartree")
        z = np.square(found["z"])
        # Derivatives of one gradient share snapshots: they are counted as if each gradient had 20.
        bound = chi2.ppf(1 - 1e-4, min(40, len(z))) / min(40, len(z))
        report.check(
            "errors are as their bars say", z.mean() < bound, f"mean square {z.mean():.2f} < {bound:.2f}"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        side.run(main, __doc__.splitlines()[0])
