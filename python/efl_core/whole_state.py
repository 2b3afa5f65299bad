"""Questions about a state as a whole: how close it is to a target, and where a circuit gets closer.

All read snapshots in uniformly random stabiliser bases (`Ensemble.global_clifford`).

Invariant: values are unbiased; with a calibration to first order in its error, which is in the bars.
Cost: each snapshot some ``n**3 / 64`` steps of a stabiliser state, ``2**n`` ns of a vector.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core._native import StabiliserState
from efl_core.arguments import array, described, listed, real
from efl_core.calibrations import BasisCalibration, Calibration, check_basis_contrast, divided
from efl_core.circuits import Circuit, check_circuit
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.estimates import Estimate, Gradient
from efl_core.snapshots import Snapshots

__all__ = ["fidelity", "fidelity_gradient", "low_rank"]

Target: TypeAlias = StabiliserState | ArrayLike
"""A state that Clifford gates prepare, or a vector of ``2**n`` amplitudes."""

Average: TypeAlias = Literal["mean", "median_of_means", "truncated_mean"]
"""How readings become one value."""


def fidelity(
    snaps: Snapshots,
    target: Target | Sequence[Target],
    *,
    combine: Average | None = None,
    failure: float | None = None,
    calibration: Calibration | BasisCalibration | None = None,
) -> Estimate:
    """Estimate the fidelity ``<target|rho|target>`` of the measured state with pure states.

    The number of snapshots does not grow with the number of qubits: the standard error is at most
    ``sqrt(3 / shots)``, and near ``sqrt(2 / shots)`` where the target is the state itself.

    Parameters
    ----------
    snaps
        Snapshots of `Ensemble.global_clifford`.
    target
        A `StabiliserState` of any width; or a vector of ``2**n`` amplitudes, whose snapshots take some
        ``2**n`` ns each; or a list of such.
    combine
        ``"mean"``, the default for stabiliser states: all moments of a reading are bounded whatever the
        width. ``"median_of_means"``, the default for vectors, whose readings may have heavy tails.
        ``"truncated_mean"`` for a state that drifts while it is measured: readings far out count as zero,
        and the value is that of the average state, even where the drift depends on what was measured before.
    failure
        The probability that any of M targets is off by more than is stated here, 0.05 if not given. For
        medians that is ``sqrt(34 * buckets * variance / shots)``; the number of buckets follows, the least
        odd one that is at least ``2 log(2 M / failure)``. For truncated means it is
        ``3.1 * sqrt(3 * log(2 M / failure) / shots)``, of which ``sqrt(3 * log(2 M / failure) / shots)`` may
        be bias, which the standard error does not know. Bounds are those of values without a calibration.
    calibration
        Of the readout, or of the bases, of a device that errs: what they leave of the state is made good, and
        the error of that is in the error bar. Of bases that are twirled.

    Returns
    -------
    Estimate
        Values may lie outside of 0 to 1: they are unbiased, and not clipped.

    Examples
    --------
    >>> import efl_core as efl
    >>> ghz = efl.StabiliserState(100, [("H", 0), *(("CNOT", q, q + 1) for q in range(99))])
    >>> snaps = efl.sample(ghz, efl.Ensemble.global_clifford(100), shots=2000, seed=3)
    >>> found = efl.fidelity(snaps, ghz)
    >>> bool(abs(found.value - 1) < 4 * found.stderr), bool(found.stderr < 0.04)
    (True, True)
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    several = isinstance(target, (list, tuple)) and any(
        isinstance(one, (StabiliserState, list, tuple)) or getattr(one, "ndim", 0) > 0 for one in target
    )
    given: list[Any] = listed("target", target, "a state or a list of states") if several else [target]
    names = [f"target[{i}]" for i in range(len(given))] if several else ["target"]
    targets = [_target(name, one, snaps.n_qubits) for name, one in zip(names, given, strict=True)]
    if combine is None:
        stabilisers = all(isinstance(one, StabiliserState) for one in targets)
        combine = "mean" if stabilisers and failure is None else "median_of_means"
    amount = _amount(combine, failure, len(targets), len(snaps), 3.0)
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    rows = [_native.fidelity(snaps._native, one, combine, amount) for one in targets]
    value, stderr = np.array([row[0][0] for row in rows]), np.array([row[1][0] for row in rows])
    value, stderr = divided(value, stderr, 0.5**snaps.n_qubits, contrast)
    if not several:
        return Estimate(float(value[0]), float(stderr[0]), len(snaps), len(snaps))
    counts = np.full(len(rows), len(snaps), dtype=np.uint64)
    return Estimate(value, stderr, counts, len(snaps), np.zeros(len(rows)))


def low_rank(
    snaps: Snapshots,
    vectors: ArrayLike,
    weights: ArrayLike | None = None,
    *,
    combine: Average = "median_of_means",
    failure: float | None = None,
    calibration: Calibration | BasisCalibration | None = None,
) -> Estimate:
    """Estimate the value of an operator ``sum_jk weights[j, k] |v_j><v_k|`` of few vectors.

    The number of snapshots does not grow with the number of qubits: the mean square of a reading is at most
    three times ``tr O^2``, or little more.

    Parameters
    ----------
    snaps
        Snapshots of `Ensemble.global_clifford`.
    vectors
        Rows of ``2**n`` numbers, of any length and angle to each other, but independent.
    weights
        A Hermitian matrix, or real numbers for a diagonal one; ones if not given. The overlap ``<a|rho|b>``
        of two vectors has as its real part the value of the weights ``[[0, 0.5], [0.5, 0]]``, and as its
        imaginary part that of ``[[0, 0.5j], [-0.5j, 0]]``.
    combine, failure, calibration
        As of `fidelity`; with ``tr O^2`` beside each 3 of the bounds.

    Examples
    --------
    >>> import efl_core as efl
    >>> snaps = efl.sample([0.6, 0, 0, 0.8], efl.Ensemble.global_clifford(2), shots=20_000, seed=3)
    >>> found = efl.low_rank(snaps, [[1, 0, 0, 0], [0, 0, 0, 1]], [[0, 0.5], [0.5, 0]])
    >>> bool(abs(found.value - 0.48) < 4 * found.stderr), bool(found.stderr < 0.02)
    (True, True)
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    rows = array("vectors", vectors, "rows of 2^n numbers")
    if snaps.n_qubits > 30 or rows.ndim != 2 or not len(rows) or rows.shape[1] != 1 << snaps.n_qubits:
        expected = f"rows of 2^n numbers, as the snapshots have {snaps.n_qubits} qubits (30 at most)"
        raise ShapeError.of("vectors", expected, f"shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise InvalidInputError.of("vectors", "finite numbers", "others")
    basis, triangle = np.linalg.qr(np.asarray(rows, dtype=np.complex128).T)
    if len(rows) > basis.shape[1] or np.linalg.cond(triangle) > 1e10:
        raise InvalidInputError.of("vectors", "independent ones", "some that others make up")
    values, turn = np.linalg.eigh(triangle @ _matrix(weights, len(rows)) @ triangle.conj().T)
    own = np.ascontiguousarray((basis @ turn).T)
    square = float(3 * (values**2).sum() + 2 * abs(values.sum()) * abs(values).max() / (basis.shape[0] + 2))
    amount = _amount(combine, failure, 1, len(snaps), square)
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    found = _native.low_rank(snaps._native, own, values.tolist(), combine, amount)
    value, stderr = divided(found[0][0], found[1][0], float(values.sum()) / basis.shape[0], contrast)
    return Estimate(float(value), float(stderr), len(snaps), len(snaps))


def _matrix(weights: ArrayLike | None, size: int) -> NDArray[Any]:
    if weights is None:
        return np.eye(size)
    found = array("weights", weights, "a Hermitian matrix, or real numbers")
    if found.shape not in ((size,), (size, size)):
        expected = f"({size},) or ({size}, {size}), as there are {size} vectors"
        raise ShapeError.of("weights", expected, f"shape {found.shape}")
    if not np.isfinite(found).all():
        raise InvalidInputError.of("weights", "finite numbers", "others")
    matrix = np.diag(found) if found.ndim == 1 else found
    if not np.allclose(matrix, matrix.conj().T, rtol=0, atol=1e-12 * max(1.0, float(np.abs(matrix).max()))):
        raise InvalidInputError.of("weights", "a Hermitian matrix, or real numbers", "another")
    return (matrix + matrix.conj().T) / 2


def fidelity_gradient(
    snaps: Snapshots,
    circuit: Circuit,
    target: ArrayLike,
    *,
    calibration: Calibration | BasisCalibration | None = None,
) -> Gradient:
    """Estimate the fidelity with a vector, and its derivatives by all parameters, from one set of snapshots.

    The number of snapshots for a given error grows neither with the number of qubits nor with that of
    parameters: a reading of ``d F / d theta`` has a variance of at most ``1 - <target|P|target>**2``, with P
    the generator of the parameter's rotation moved to the end of the circuit.

    Parameters
    ----------
    snaps
        Snapshots of `Ensemble.global_clifford`, of the state that the circuit leaves at its angles.
    circuit
        Unitary gates. What it acts on does not matter and may be mixed.
    target
        ``2**n`` amplitudes, normalised. Each snapshot takes some ``2**n`` ns for each parameter.
    calibration
        As of `fidelity`.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.9]).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    >>> bell = [2**-0.5, 0, 0, 2**-0.5]
    >>> snaps = efl.sample(efl.simulate(circuit), efl.Ensemble.global_clifford(2), shots=50_000, seed=1)
    >>> found = efl.fidelity_gradient(snaps, circuit, bell)  # F = (1 + sin theta) / 2
    >>> round(found.value, 1), found.gradient.round(1)
    (0.9, array([0.3]))
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    check_circuit(circuit)
    if circuit.n_qubits != snaps.n_qubits:
        expected = f"{snaps.n_qubits} qubits, as the snapshots have"
        raise ShapeError.of("circuit", expected, f"{circuit.n_qubits} qubits")
    if isinstance(target, StabiliserState):
        raise InputTypeError.of("target", "2^n amplitudes (efl.simulate of a circuit)", "a StabiliserState")
    vector = _target("target", target, snaps.n_qubits)
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    value, stderr, revealed, _, shots = _native.fidelity_gradient(
        snaps._native, circuit._native, circuit._theta, vector
    )
    center = np.zeros(len(value))
    center[0] = 0.5**snaps.n_qubits
    value, stderr = divided(value, stderr, center, contrast)
    bound = np.zeros(len(value) - 1)
    return Gradient(float(value[0]), float(stderr[0]), value[1:], stderr[1:], revealed[1:], bound, shots)


def _target(name: str, value: Any, n_qubits: int) -> Any:  # noqa: ANN401 (a target of any kind)
    if isinstance(value, StabiliserState):
        if value.n_qubits != n_qubits:
            expected = f"{n_qubits} qubits, as the snapshots have"
            raise ShapeError.of(name, expected, f"{value.n_qubits} qubits")
        return value
    expected = "a StabiliserState or 2^n amplitudes"
    found = array(name, value, expected)
    if n_qubits > 30:
        raise ShapeError.of(name, f"a StabiliserState, for {n_qubits} qubits", f"shape {found.shape}")
    if found.shape != (1 << n_qubits,):
        expected = f"{1 << n_qubits} amplitudes, as the snapshots have {n_qubits} qubits"
        raise ShapeError.of(name, expected, f"shape {found.shape}")
    return np.ascontiguousarray(found, dtype=np.complex128)


def _amount(combine: str, failure: float | None, targets: int, shots: int, square: float) -> float:
    """Return the number of buckets, or the largest reading that counts; ``square`` is their mean square."""
    if combine not in get_args(Average):
        raise InvalidInputError.of("combine", " or ".join(map(repr, get_args(Average))), described(combine))
    if combine == "mean":
        if failure is not None:
            raise InvalidInputError.of("failure", "none with combine='mean'", described(failure))
        return 1
    chance = 0.05 if failure is None else real("failure", failure)
    if not 0 < chance < 1:
        raise InvalidInputError.of("failure", "a probability above 0 and below 1", chance)
    needed = math.log(2 * max(targets, 1) / chance)
    if combine == "truncated_mean":
        # Of the same order as the error, so that neither what is cut off nor what is left dominates. An
        # operator of zero has readings of zero.
        return math.sqrt(square * max(shots, 1) / needed) or 1.0
    wanted = math.ceil(2 * needed)
    buckets = wanted + 1 - wanted % 2
    if buckets > shots:
        raise InvalidInputError.of("snaps", f"at least {buckets}, one for each bucket", shots)
    return buckets
