"""Gradients from two copies beside the best plan on one copy: predicted, taken, reached.

The circuit is a rotation on each qubit and a random Clifford circuit, so that every derivative of a word is a
word. Most words that are asked for are random, and near zero; the others are large: words of a few letters Z
before the Clifford circuit. `one copy` is the best method of `efl.plan` for the same RMS error, on average
over all states; `at the state` that of a plan for the prepared state. Copies are counted: two for a pair.
`rms` is the error of the derivatives, over repeats; `zero` what the gradient 0 has. `single` is the error of
the best method on one copy with as many copies, and `and cut` that of the same where what is within three
standard errors of zero is set to zero.

Goals: copies within a tenth of the prediction; the RMS of the error bars, and the RMS error, no more than the
error asked for; the mean square of the errors in bars at most 1.2.

    python benches/python/bench_two_copies.py [--smoke] [--json FILE]
"""

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import numpy as np

import efl_core as efl

ROWS = ((6, 100, 0.2), (8, 200, 0.2), (8, 200, 0.3), (10, 400, 0.2), (10, 400, 0.3), (10, 400, 0.4))
"""Qubits, words asked for, RMS error."""
SMOKE = ((4, 30, 0.3),)
LARGE = 0.2
"""The part of the words that is large."""


class Frame:
    """A random Clifford circuit, and what it makes of words."""

    def __init__(self, qubits, random):
        self.gates = []
        for _ in range(3 * qubits):
            a, b = (int(q) for q in random.choice(qubits, 2, replace=False))
            self.gates += [("CNOT", a, b), ("S", a), ("H", b)]

    def after(self, label):
        """Return a word moved to the end of the circuit; its sign does not matter here."""
        x, z = ([letter in letters for letter in label] for letters in ("XY", "YZ"))
        for name, *wires in self.gates:
            q = wires[0]
            if name == "H":
                x[q], z[q] = z[q], x[q]
            elif name == "S":
                z[q] ^= x[q]
            else:
                x[wires[1]] ^= x[q]
                z[q] ^= z[wires[1]]
        return "".join("IZXY"[2 * a + b] for a, b in zip(x, z, strict=True))


def problem(qubits, asked, seed):
    """Return a circuit and the words that it is asked for."""
    random = np.random.default_rng(seed)
    frame = Frame(qubits, random)
    circuit = efl.Circuit(qubits, parameters=random.uniform(0.1, 0.9, qubits))
    for q in range(qubits):
        circuit.ry(efl.Parameter(q), q)
    for name, *wires in frame.gates:
        circuit.clifford(name, *wires)
    words = set()
    while len(words) < LARGE * asked:
        letters = random.choice(list("IZ"), qubits)
        letters[random.integers(qubits)] = "X"
        words.add(frame.after("".join(letters)))
    while len(words) < asked:
        words.add("".join(random.choice(list("IXYZ"), qubits)))
    return circuit, sorted(words)


def measured(circuit, words, error, repeats):
    """Return copies, RMS error and bars over repeats, and the mean square of errors in bars."""
    exact = np.array([efl.propagate(circuit, word).gradient for word in words])
    runs = [efl.two_copy_gradient(circuit, words, error=error, seed=seed) for seed in range(repeats)]
    live = runs[0].stderr > 0
    off = np.array([(run.gradient - exact)[live] for run in runs])
    bars = np.array([run.stderr[live] for run in runs])
    return {
        "copies": float(np.mean([run.copies for run in runs])),
        "kept": float(np.mean([len(run.signed) for run in runs])),
        "rms": float(np.sqrt(np.mean(off**2))),
        "bars": float(np.sqrt(np.mean(bars**2))),
        "score": float(np.mean((off / bars) ** 2)),
        "zero": float(np.sqrt(np.mean(exact[live] ** 2))),
        "worst": float(np.abs(off / bars).max()),
    }


def single(plan, circuit, words, copies, repeats):
    """Return the RMS error on one copy: as measured, and where small derivatives are set to zero."""
    exact = np.array([efl.propagate(circuit, word).gradient for word in words])
    off, cut = [], []
    for seed in range(repeats):
        found = plan.simulate(copies, seed=seed)
        live = found.stderr > 0
        kept = np.where(np.abs(found.gradient) > 3 * found.stderr, found.gradient, 0.0)
        off.append((found.gradient - exact)[live])
        cut.append((kept - exact)[live])
    return tuple(float(np.sqrt(np.mean(np.square(each)))) for each in (off, cut))


def main(report):
    repeats = 5 if report.smoke else 10
    report.title(f"two copies, {repeats} repeats; copies of the state")
    columns = ["words", "large", "one copy", "at the state", "two copies", "predicted", "rms", "bars", "zero"]
    columns += ["single", "and cut"]
    report.head("", columns)
    for qubits, asked, error in SMOKE if report.smoke else ROWS:
        circuit, words = problem(qubits, asked, seed=qubits)
        plan = efl.plan(circuit, words, target=error)
        cost = plan.at_state("prepared").two_copies()
        found = measured(circuit, words, error, repeats)
        name = f"{qubits} qubits, {asked} words, {error:g}"
        figures = {
            "words": cost.words,
            "large": found["kept"],
            "one copy": plan.best.shots,
            "at the state": cost.best_shots,
            "two copies": found["copies"],
            "predicted": cost.copies,
            "rms": found["rms"],
            "bars": found["bars"],
            "zero": found["zero"],
        }
        alone = single(plan, circuit, words, round(found["copies"]), repeats // 2)
        figures |= dict(zip(("single", "and cut"), alone, strict=True))
        report.row(name, figures)
        ratio = found["copies"] / cost.copies
        report.check(f"{name}: copies within a tenth", abs(ratio - 1) < 0.1, f"{ratio:.3f}")
        report.check(f"{name}: bars and error", max(found["rms"], found["bars"]) < 1.05 * error)
        report.check(f"{name}: errors in bars", found["score"] < 1.2, f"{found['score']:.2f}")


if __name__ == "__main__":
    side.run(main, __doc__)
