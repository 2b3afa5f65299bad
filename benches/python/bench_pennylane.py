"""A training step in PennyLane: the Jacobian of `efl.shadow_grad` beside parameter-shift of equal error.

The circuits are two of `catalogue.py`, 10 qubits and 60 parameters, on lightning.qubit, with an output Z for
every qubit or the probabilities of four. Every call is at other angles, as in training: the plan of the first
call follows them.

- efl.shadow_grad has 100,000 shots for the whole Jacobian.
- parameter-shift has shots: as many for each tape as give the same RMS error, at the angles of the first
  call. Its error is computed from the values of the shifted circuits, that of efl_core from its error bars;
  both only over the derivatives that do not vanish identically, and the table has what was measured.
- snapshots: a state vector of lightning.qubit and `efl.sample` beside `qml.classical_shadow`, of which a part
  is run and scaled. Peak memory is measured in a process of its own, after a small warm-up there.

Goals: a third of the wall time of parameter-shift for the brick wall of CZ, with values and with
probabilities, and no more than it for the rings of CNOT; snapshots 100 times faster, in at most 200 MB.

Checks: Jacobians and expectation values are within 6 standard errors of the exact ones (a false alarm in
about a million runs).

    python benches/python/bench_pennylane.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside as side  # isort: skip (before numpy)
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pennylane as qml
from catalogue import CATALOGUE
from pennylane import numpy as pnp

import efl_core as efl

SEED = 0
FARTHEST = 6
"""Standard errors."""

MEMORY = """
import resource, sys
sys.path.insert(0, {folder!r})
import bench_pennylane as bench

def peak():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e6 / 1024)

model = bench.Model({name!r})
model.snapshots(100)
before = peak()
snaps = model.snapshots({shots})
print(before, peak(), snaps.nbytes / 1e6)
"""


class Model:
    """A circuit of the catalogue with an output for every qubit, and the ways to its Jacobian.

    With ``measured`` outputs are the probabilities of so many qubits.
    """

    def __init__(self, name, measured=None):
        self.measured = measured
        entry = next(e for e in CATALOGUE if e.name == name)
        case = entry.make(SEED)
        self.n = entry.n
        owners = {case.tape.get_operation(k)[1]: k for k in range(case.tape.num_params)}
        self.owned = [(gate, owners.get(i)) for i, gate in enumerate(case.tape.operations)]
        self.theta = np.array(case.tape.get_parameters(), dtype=float)
        self.device = qml.device("lightning.qubit", wires=self.n)
        self.random = np.random.default_rng(SEED)
        self.reports: list = []
        if measured is None:
            self.exact = self.jacobian(diff_method="adjoint")
        else:  # of which lightning.qubit has no exact derivatives
            self.exact = self.jacobian(device=qml.device("default.qubit"), diff_method="backprop")

    def gates(self, theta):
        """Apply the gates of the tape with other angles."""
        for gate, parameter in self.owned:
            if parameter is None:
                qml.apply(gate)
            else:
                type(gate)(theta[parameter], wires=gate.wires)

    def outputs(self, theta):
        self.gates(theta)
        if self.measured is not None:
            return qml.probs(wires=range(self.measured))
        return [qml.expval(qml.Z(q)) for q in range(self.n)]

    @property
    def n_outputs(self):
        return self.n if self.measured is None else 2**self.measured

    def turned(self):
        """Angles near the first ones, new at every call."""
        return self.theta + self.random.normal(0, 0.02, len(self.theta))

    def jacobian(self, shots=None, device=None, **options):
        """The function from angles to a Jacobian of shape (outputs, parameters)."""
        node = qml.QNode(self.outputs, device or self.device, **options)
        node = qml.set_shots(node, shots) if shots else node
        single = self.measured is not None
        found = qml.jacobian(node if single else lambda theta: pnp.stack(node(theta)))
        return lambda theta: np.asarray(found(pnp.array(theta, requires_grad=True)))

    def shadow_grad(self, shots):
        kwargs = {"shots": shots, "seed": SEED, "report": self.reports}
        return self.jacobian(diff_method=efl.shadow_grad, gradient_kwargs=kwargs)

    def shift_variances(self, theta):
        """Variances of parameter-shift with one shot for each tape, of shape (outputs, parameters)."""
        tape = qml.workflow.construct_tape(qml.QNode(self.outputs, self.device))(
            pnp.array(theta, requires_grad=True)
        )
        # Gates that no output depends on have no tapes.
        pairs = [qml.gradients.param_shift(tape, argnum=[k])[0] for k in range(len(theta))]
        self.n_tapes = sum(map(len, pairs))
        tapes = [one for pair in pairs for one in pair]
        found = iter(np.array(qml.execute(tapes, self.device, diff_method=None), dtype=float))
        values = np.zeros((len(theta), 2, self.n_outputs))
        values[:] = 1.0 if self.measured is None else 0.0  # certain
        for own, pair in zip(values, pairs, strict=True):
            for i in range(len(pair)):
                own[i] = next(found)
        spread = 1 - values**2 if self.measured is None else values * (1 - values)
        return spread.sum(1).T / 4

    def snapshots(self, shots):
        """Snapshots of the final state in uniform letters."""

        @qml.qnode(self.device)
        def state():
            self.gates(self.theta)
            return qml.state()

        return efl.sample(np.asarray(state()), shots=shots, seed=SEED)

    def classical_shadow(self, shots):
        """The same as PennyLane does it."""

        @qml.set_shots(shots)
        @qml.qnode(qml.device("default.qubit", wires=self.n, seed=SEED))
        def shadow():
            self.gates(self.theta)
            return qml.classical_shadow(wires=range(self.n), seed=SEED)

        return shadow()


def rms(numbers, kept):
    return math.sqrt(np.mean(np.square(numbers)[kept]))


def farthest(differences, errors):
    """Largest difference in standard errors; where there is no error there is no difference, but rounding."""
    return float((np.abs(differences) / np.maximum(errors, 1e-9)).max())


def compare(report, name, shots, at_least, measured=None):
    """Time a Jacobian both ways at equal error."""
    model = Model(name, measured)
    kind = "outputs" if measured is None else f"probabilities of {measured} qubits"
    report.title(f"{name}: {model.n_outputs} {kind}, {len(model.theta)} parameters")
    gradient = model.shadow_grad(shots)
    start = time.perf_counter()
    gradient(model.theta)
    first = time.perf_counter() - start
    stderr, method = model.reports[0].stderr, model.reports[0].method
    kept = stderr > 0
    variances = model.shift_variances(model.theta)
    per_tape = max(1, round(float(np.mean(variances[kept])) / rms(stderr, kept) ** 2))
    shifted = model.jacobian(per_tape, diff_method="parameter-shift")

    found = {"efl.shadow_grad": [], "parameter-shift": []}

    def call(way, jacobian):
        def run():
            theta = model.turned()
            found[way].append((theta, jacobian(theta)))

        return run

    timings = report.race(
        [
            side.Method("efl.shadow_grad", call("efl.shadow_grad", gradient)),
            side.Method("parameter-shift", call("parameter-shift", shifted)),
        ]
    )
    report.table(list(timings.values()))
    report.figure(f"first call of efl.shadow_grad ({method})", first, "s")
    report.ratio(
        "parameter-shift / efl.shadow_grad",
        timings["parameter-shift"],
        timings["efl.shadow_grad"],
        at_least=at_least,
    )

    differences = {way: [g - model.exact(theta) for theta, g in pairs] for way, pairs in found.items()}
    tapes = model.n_tapes
    report.head("RMS error", ["expected", "measured", "shots", "per tape"])
    for way, expected, total, each in (
        ("efl.shadow_grad", rms(stderr, kept), shots, "-"),
        ("parameter-shift", math.sqrt(np.mean(variances[kept]) / per_tape), tapes * per_tape, per_tape),
    ):
        error = math.sqrt(np.mean([rms(d, kept) ** 2 for d in differences[way]]))
        report.row(way, {"expected": expected, "measured": error, "shots": total, "per tape": each})

    errors = [r.stderr for r in model.reports[1:]]
    worst = max(map(farthest, differences["efl.shadow_grad"], errors))
    detail = f"{len(errors)} of them, farthest {worst:.2f}, allowed {FARTHEST}"
    report.check("Jacobians of efl.shadow_grad, in standard errors", worst < FARTHEST, detail)
    errors = np.sqrt(model.shift_variances(found["parameter-shift"][-1][0]) / per_tape)
    worst = farthest(differences["parameter-shift"][-1], errors)
    detail = f"the last of them, farthest {worst:.2f}, allowed {FARTHEST}"
    report.check("Jacobian of parameter-shift, in standard errors", worst < FARTHEST, detail)


def collect(report, name, shots, part):
    """Time the snapshots of a state, and see what memory they take."""
    folder = str(Path(__file__).parent)
    # While this process is small: a child's ru_maxrss starts at what its parent held.
    code = MEMORY.format(folder=folder, name=name, shots=shots)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, peak, held = map(float, done.stdout.split()[-3:])
    model = Model(name)
    report.title(f"{shots:,} snapshots of the state of {name!r}, uniform letters")
    part_of = side.Method(
        "qml.classical_shadow, default.qubit",
        lambda: model.classical_shadow(part),
        runs=3,
        times=shots / part,
        part=f"{part:,} snapshots",
    )
    own = side.Method("lightning.qubit and efl.sample", lambda: model.snapshots(shots))
    timings = report.race([own, part_of])
    ours, theirs = timings[own.name], timings[part_of.name]
    report.table([ours, theirs])
    report.ratio("qml.classical_shadow / efl", theirs, ours, at_least=100)
    report.figure(f"peak memory added (held: {held:.1f} MB)", peak - before, "MB", at_most=200)

    words = [{q: "Z"} for q in range(model.n)] + [{q: "Z", q + 1: "Z"} for q in range(model.n - 1)]

    @qml.qnode(model.device)
    def values():
        model.gates(model.theta)
        return [qml.expval(qml.prod(*(qml.Z(q) for q in word))) for word in words]

    exact = np.array(values(), dtype=float)
    for way, snaps in (
        ("efl", ours.result),
        ("qml.classical_shadow", efl.Snapshots.from_pennylane(theirs.result)),
    ):
        estimate = efl.estimate(snaps, words)
        worst = farthest(estimate.value - exact, estimate.stderr)
        detail = f"{len(snaps):,} snapshots, farthest {worst:.2f}, allowed {FARTHEST}"
        report.check(f"{way}: Z and ZZ, in standard errors", worst < FARTHEST, detail)


def main(report):
    n, shots, part = (4, 5_000, 500) if report.smoke else (10, 100_000, 5_000)
    side.peer("pennylane", "pennylane", "0.45.1")
    side.peer("pennylane_lightning", "pennylane-lightning", "0.45.0")
    collect(report, f"brick L2, vector n={n}", shots, part)
    compare(report, f"brick L2, vector n={n}", shots, at_least=3)
    compare(report, f"brick L2, vector n={n}", shots, at_least=3, measured=2 if report.smoke else 4)
    compare(report, f"SEL-CNOT L2, vector n={n}", shots, at_least=1)


if __name__ == "__main__":
    side.run(main, __doc__.splitlines()[0])
