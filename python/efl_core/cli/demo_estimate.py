"""The demonstration: a million snapshots, a thousand words, and how far the estimates are from the truth.

The state is the ground state of the critical transverse-field Ising ring of 10 qubits, small enough that
every expectation value is known exactly. Nothing is precomputed: each run samples, estimates and compares.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core._native import Ensemble, PauliSum, PauliWord
from efl_core.estimates import Estimate, estimate
from efl_core.snapshots import sample

__all__ = ["exact_value", "ising_ground_state", "ising_ring", "run"]

State: TypeAlias = NDArray[np.complex128]

_N_QUBITS = 10


def ising_ring(n_qubits: int) -> PauliSum:
    """Return ``-sum ZZ - sum X`` on a ring."""
    bonds = [({q: "Z", (q + 1) % n_qubits: "Z"}, -1.0) for q in range(n_qubits)]
    fields = [({q: "X"}, -1.0) for q in range(n_qubits)]
    return PauliSum(bonds + fields, n_qubits=n_qubits)


def _apply(word: PauliWord, state: State) -> State:
    n_qubits = word.n_qubits
    index = np.arange(2**n_qubits)
    flips, amplitudes = 0, state
    for q, letter in word.support.items():
        bit = 1 << (n_qubits - 1 - q)
        signs = 1.0 - 2.0 * ((index & bit) != 0)
        if letter != "X":
            amplitudes = amplitudes * signs
        if letter == "Y":
            amplitudes = amplitudes * 1j
        if letter != "Z":
            flips |= bit
    return np.asarray(amplitudes[index ^ flips], dtype=np.complex128)


def exact_value(observable: PauliSum | PauliWord, state: State) -> float:
    """Return the expectation value in a state vector."""
    terms = [(observable, 1.0)] if isinstance(observable, PauliWord) else observable.terms()
    return float(sum(c * np.vdot(state, _apply(word, state)).real for word, c in terms))


def ising_ground_state(n_qubits: int) -> State:
    """Return the ground state of `ising_ring`, by power iteration on the shifted Hamiltonian."""
    hamiltonian = ising_ring(n_qubits)
    terms = hamiltonian.terms()
    state: State = np.full(2**n_qubits, 2.0 ** (-n_qubits / 2), dtype=np.complex128)
    shift = hamiltonian.l1_norm
    for _ in range(100_000):
        image = shift * state - sum(c * _apply(word, state) for word, c in terms)
        previous, state = state, np.asarray(image / np.linalg.norm(image), dtype=np.complex128)
        if np.linalg.norm(state - previous) < 1e-12:
            break
    return state


def _random_words(count: int, n_qubits: int, rng: np.random.Generator) -> list[PauliWord]:
    words = []
    for _ in range(count):
        qubits = rng.choice(n_qubits, size=rng.integers(1, 5), replace=False)
        words.append(PauliWord({int(q): "XYZ"[rng.integers(3)] for q in qubits}, n_qubits=n_qubits))
    return words


def _timed(task: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    result = task()
    return result, time.perf_counter() - start


def _table(
    named: list[tuple[str, PauliWord | PauliSum]], found: Estimate, exact: list[float]
) -> Iterator[str]:
    yield f"  {'observable':<24} {'exact':>9} {'estimate':>9} {'stderr':>8} {'off by':>9}"
    for i, (name, _) in enumerate(named):
        value, error = found.value[i], found.stderr[i]  # type: ignore[index]
        sigmas = (value - exact[i]) / error
        yield f"  {name:<24} {exact[i]:>9.4f} {value:>9.4f} {error:>8.4f} {sigmas:>+6.1f} se"


def run(shots: int = 1_000_000, words: int = 1_000, seed: int = 7) -> dict[str, float]:
    """Run the demonstration, print it, and return the figures that it prints.

    The result has ``coverage_68`` and ``coverage_95``: the part of the words whose exact value lies within
    1.00 and 1.96 standard errors, and the times in seconds.
    """
    n = _N_QUBITS
    rng = np.random.default_rng(seed)
    state, setup = _timed(lambda: ising_ground_state(n))
    print(f"Ground state of the critical Ising ring, {n} qubits ({setup:.2f} s to prepare)\n")

    snaps, sampling = _timed(lambda: sample(state, Ensemble.uniform(n), shots=shots, seed=seed))
    print(f"sampled    {shots:>9,} snapshots in {sampling:6.3f} s   {sampling / shots * 1e6:5.2f} us each")
    print(f"holding    {snaps.nbytes / 1e6:9.2f} MB")

    random_words = _random_words(words, n, rng)
    found, estimating = _timed(lambda: estimate(snaps, random_words))
    print(f"estimated  {words:>9,} words     in {estimating:6.3f} s   each with its standard error\n")

    named: list[tuple[str, PauliWord | PauliSum]] = [
        ("energy / qubit (20 words)", ising_ring(n) * (1 / n)),
        ("X0", PauliWord({0: "X"}, n_qubits=n)),
        *[(f"Z0 Z{r}", PauliWord({0: "Z", r: "Z"}, n_qubits=n)) for r in (1, 2, 5)],
        ("Y0 Y1", PauliWord({0: "Y", 1: "Y"}, n_qubits=n)),
        ("X0 X1 X2", PauliWord({0: "X", 1: "X", 2: "X"}, n_qubits=n)),
        ("Z0 X1 X2 Z3", PauliWord({0: "Z", 1: "X", 2: "X", 3: "Z"}, n_qubits=n)),
    ]
    shown = estimate(snaps, [observable for _, observable in named])
    print("\n".join(_table(named, shown, [exact_value(o, state) for _, o in named])))

    exact = np.array([exact_value(word, state) for word in random_words])
    sigmas = np.abs(found.value - exact) / found.stderr
    inside = {limit: float(np.mean(sigmas <= limit)) for limit in (1.0, 1.96)}
    print(
        f"\nOf {words:,} random words of weight 1 to 4, {inside[1.0]:.1%} lie within 1 standard error of the "
        f"exact value\nand {inside[1.96]:.1%} within 1.96 (expected: 68.3% and 95.0%; "
        f"worst {sigmas.max():.1f})."
    )
    return {
        "coverage_68": inside[1.0],
        "coverage_95": inside[1.96],
        "worst": float(sigmas.max()),
        "sampling": sampling,
        "estimating": estimating,
    }
