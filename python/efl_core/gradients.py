"""From a circuit to its value and gradient: observed in snapshots, or propagated classically.

`gradient_observables` turns a circuit and what it answers with into Pauli sums whose expectation values on
the final state are the value and all derivatives; `gradient` estimates them from one set of snapshots.
`propagate` needs no measurement at all: a warm start, a check, and often all that is needed, for where a
circuit and its input can be propagated, measuring them teaches nothing new.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import integer, real
from efl_core.circuits import Circuit, check_circuit
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.estimates import Combine, check_combination
from efl_core.observables import Observable, PauliSum, read_sum, read_sums
from efl_core.snapshots import Snapshots

__all__ = [
    "Dropped",
    "Gradient",
    "GradientObservables",
    "Propagation",
    "Truncation",
    "gradient",
    "gradient_observables",
    "propagate",
]


_Number = TypeVar("_Number", np.bool_, np.float64)


@dataclass(frozen=True, slots=True)
class Truncation:
    """What is left out of a sum after every gate; the default leaves out nothing.

    Parameters
    ----------
    max_weight
        Words with more letters than this are dropped.
    min_coefficient
        Terms whose absolute coefficient is below this are dropped.
    max_terms
        More terms than this are a `ResourceLimitError`: a bound on time and memory, not a truncation.
    """

    max_weight: int | None = None
    min_coefficient: float = 0.0
    max_terms: int | None = None

    def limits(self) -> tuple[int | None, float, int | None]:
        """Return the three numbers, checked."""
        weight = None if self.max_weight is None else integer("max_weight", self.max_weight, 0)
        terms = None if self.max_terms is None else integer("max_terms", self.max_terms, 1)
        return weight, real("min_coefficient", self.min_coefficient), terms


def _limits(truncation: Truncation | None) -> tuple[int | None, float, int | None]:
    if truncation is None:
        return Truncation().limits()
    if not isinstance(truncation, Truncation):
        raise InputTypeError(f"truncation: expected a Truncation, got {type(truncation).__name__}")
    return truncation.limits()


@dataclass(frozen=True, slots=True)
class Dropped:
    """What a truncation left out."""

    count: int
    """Number of terms, counted each time that one was dropped."""
    l1: float
    """Sum of their absolute coefficients: the value is off by at most this."""


@dataclass(frozen=True, slots=True, eq=False)
class Propagation:
    """The value of a circuit, computed classically."""

    value: float
    """Expectation value of the propagated observable."""
    gradient: NDArray[np.float64]
    """Derivative of the value by every parameter; exact for the truncated value."""
    terms: int
    """Number of terms of the propagated observable."""
    dropped: Dropped
    """What truncation left out."""

    def __repr__(self) -> str:
        return (
            f"Propagation(value={self.value:.6g}, {len(self.gradient)} parameters, {self.terms} terms, "
            f"error <= {self.dropped.l1:.2g})"
        )


def propagate(
    circuit: Circuit,
    observable: Observable | None = None,
    *,
    truncation: Truncation | None = None,
    gradient: bool = True,
) -> Propagation:
    """Compute the value of a circuit on a product input, and its gradient, without measuring anything.

    Parameters
    ----------
    circuit
        The circuit at its current parameters.
    observable
        A Pauli word or sum; by default the circuit's own if it has exactly one.
    truncation
        What to leave out; by default nothing.
    gradient
        Whether to compute the gradient as well (up to half as much again, whatever their number).

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    >>> found = efl.propagate(circuit, "Z")
    >>> bool(np.isclose(found.value, np.cos(0.3)) and np.isclose(found.gradient[0], -np.sin(0.3)))
    True
    """
    check_circuit(circuit)
    if circuit.bloch is None:
        raise InvalidInputError(
            "circuit: expected a product input state, got another one: its value has to be measured "
            "(gradient_observables does not need the input)"
        )
    value, slopes, terms, dropped = _native.evaluate(
        circuit._native,
        circuit._theta,
        only_observable(circuit, observable),
        circuit.bloch,
        _limits(truncation),
        bool(gradient),
    )
    return Propagation(value, slopes, terms, Dropped(*dropped))


class GradientObservables:
    """Pauli sums on the final state: the value of each observable, and its derivative by each parameter.

    Made by `gradient_observables`. All sums share one list of words, so that snapshots are counted once.
    """

    __slots__ = ("_circuit", "_made", "_native", "_single")

    def __init__(
        self, native: _native.GradientObservables, circuit: Circuit, single: bool, made: "_Made | None"
    ) -> None:
        self._native, self._circuit, self._single, self._made = native, circuit, single, made

    @property
    def circuit(self) -> Circuit:
        """The circuit, at the parameters that the observables were made for."""
        return self._circuit

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._native.n_qubits

    @property
    def n_observables(self) -> int:
        """Number of observables that the circuit answers with."""
        return self._native.n_observables

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""
        return self._native.n_parameters

    @property
    def n_words(self) -> int:
        """Number of distinct words of all sums."""
        return self._native.n_words

    @property
    def value(self) -> PauliSum | list[PauliSum]:
        """The observable itself (a list of them if a list was given)."""
        sums = [self._native.row(o) for o in range(self.n_observables)]
        return sums[0] if self._single else sums

    @property
    def gradients(self) -> list[PauliSum] | list[list[PauliSum]]:
        """The sum of each derivative, by parameter (for a list of observables, a list for each)."""
        rows = [[self.derivative(o, k) for k in range(self.n_parameters)] for o in range(self.n_observables)]
        return rows[0] if self._single else rows

    def derivative(self, observable: SupportsIndex, parameter: SupportsIndex) -> PauliSum:
        """Return one derivative as a sum, without making the others."""
        o = integer("observable", observable, 0, self.n_observables - 1)
        k = integer("parameter", parameter, 0, self.n_parameters - 1)
        return self._native.row(self.n_observables + o * self.n_parameters + k)

    @property
    def is_zero(self) -> NDArray[np.bool_]:
        """Which derivatives vanish on every state.

        Shape ``(n_parameters,)``, or ``(n_observables, n_parameters)`` for a list of observables.
        """
        lengths = self._native.row_lengths()[self.n_observables :]
        return self._shape(lengths == 0)

    @property
    def dropped(self) -> Dropped:
        """What truncation left out of all sums together."""
        return Dropped(*self._native.dropped())

    @property
    def error_bound(self) -> NDArray[np.float64]:
        """How far each derivative may be off because of truncation; shape as `is_zero`."""
        return self._shape(self._native.dropped_rows()[self.n_observables :])

    def _shape(self, rows: NDArray[_Number]) -> NDArray[_Number]:
        return rows if self._single else rows.reshape(self.n_observables, self.n_parameters)

    def at(self, parameters: ArrayLike, inputs: ArrayLike | None = None) -> "GradientObservables":
        """Return the same derivatives at other parameters (and inputs), reusing what does not depend on them.

        The first call finds the structure, at about the cost of `gradient_observables`; every further one is
        4 to 35 times cheaper. With a truncation there is no structure to reuse: everything is computed again.
        """
        if self._made is None:
            raise InvalidInputError("observables: expected ones that were not rebased, got rebased ones")
        circuit = self._circuit.at(parameters, inputs)
        return GradientObservables(self._made.at(circuit), circuit, self._single, self._made)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._made is None:
            raise InputTypeError("rebased observables are not pickled: pickle the others, and rebase again")
        return _make, (self._circuit, self._made.sums, self._made.limits, self._single)

    def rebase(self, parameters: ArrayLike, *, truncation: Truncation | None = None) -> "GradientObservables":
        """Return the same derivatives as observables of the state at other, older parameters.

        Snapshots taken at ``parameters`` then estimate the gradient at the parameters of `circuit`, without
        bias. The trainable block, from the first trainable gate to the end, must be unitary.
        """
        old = self._circuit.at(parameters)
        native = _native.rebase(
            self._native,
            self._circuit._native,
            self._circuit._theta,
            old._theta,
            self._circuit._native.trainable_block,
            _limits(truncation),
        )
        return GradientObservables(native, self._circuit, self._single, None)

    def __repr__(self) -> str:
        zeros = int(np.count_nonzero(self.is_zero))
        return (
            f"GradientObservables({self.n_observables} observables, {self.n_parameters} parameters, "
            f"{self.n_words} words, {zeros} derivatives identically zero, error <= {self.dropped.l1:.2g})"
        )


class _Made:
    """What gradient observables were made of, and the structure that those at all angles share."""

    __slots__ = ("limits", "structure", "sums")

    def __init__(self, sums: list[PauliSum], limits: tuple[int | None, float, int | None]) -> None:
        self.sums, self.limits = sums, limits
        self.structure: _native.GradientTemplate | None = None

    def directly(self, circuit: Circuit) -> _native.GradientObservables:
        return _native.gradient_observables(circuit._native, circuit._theta, self.sums, self.limits)

    def at(self, circuit: Circuit) -> _native.GradientObservables:
        max_weight, min_coefficient, max_terms = self.limits
        if max_weight is not None or min_coefficient > 0:
            return self.directly(circuit)
        if self.structure is None:
            self.structure = _native.GradientTemplate(circuit._native, self.sums, max_terms)
        return self.structure.at(circuit._theta)


def gradient_observables(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    truncation: Truncation | None = None,
) -> GradientObservables:
    """Compute the Pauli sums whose expectation values on the final state are the value and the gradient.

    For a gate ``exp(-i theta P / 2)`` followed by the gates V, the derivative of ``<O>`` is the expectation
    value of ``(i/2) [V P V^dag, O]``. The input state does not matter.

    Parameters
    ----------
    circuit
        The circuit at its current parameters.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    truncation
        What to leave out while operators are moved; by default nothing.

    Examples
    --------
    >>> import efl_core as efl
    >>> theta, phi = efl.Parameter(0), efl.Parameter(1)
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.0]).ry(theta, 0).clifford("CNOT", 0, 1).rx(phi, 1)
    >>> efl.gradient_observables(circuit, "IZ").gradients
    [PauliSum('1*YY'), PauliSum('1*IY')]
    """
    check_circuit(circuit)
    sums, single = given_sums(circuit, observables)
    return _make(circuit.copy(), sums, _limits(truncation), single)  # a copy: gates may be added later


def _make(
    circuit: Circuit, sums: list[PauliSum], limits: tuple[int | None, float, int | None], single: bool
) -> GradientObservables:
    made = _Made(sums, limits)
    return GradientObservables(made.directly(circuit), circuit, single, made)


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """Values and gradients estimated from snapshots; with a leading axis if there are several observables."""

    value: NDArray[np.float64] | float
    """Estimated value of the observable; NaN if the ensemble was not designed to reveal its words."""
    value_stderr: NDArray[np.float64] | float
    """Its standard error."""
    gradient: NDArray[np.float64]
    """Estimated derivative by each parameter."""
    stderr: NDArray[np.float64]
    """Standard error of each derivative, covariances between its words included."""
    revealed: NDArray[np.uint64]
    """How many snapshots revealed the rarest word of each derivative."""
    bound: NDArray[np.float64]
    """How far each derivative may be off besides, because of truncation."""
    shots: int
    """Number of snapshots used."""

    def __repr__(self) -> str:
        rms = float(np.sqrt(np.mean(np.square(self.stderr)))) if self.stderr.size else 0.0
        return f"Gradient({self.gradient.shape[-1]} parameters, rms stderr {rms:.2g}, shots={self.shots})"


def gradient(
    snaps: Snapshots,
    observables: GradientObservables,
    *,
    combine: Combine = "mean",
    buckets: SupportsIndex | None = None,
) -> Gradient:
    """Estimate the value and all derivatives from one set of snapshots of the final state.

    Parameters
    ----------
    snaps
        Snapshots of the state at the parameters that the observables were made (or rebased) for.
    observables
        Made by `gradient_observables`.
    combine, buckets
        As in `estimate`.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    >>> state = [np.cos(0.15), np.sin(0.15)]
    >>> found = efl.gradient(efl.sample(state, shots=50_000, seed=3), efl.gradient_observables(circuit, "Z"))
    >>> bool(abs(found.gradient[0] + np.sin(0.3)) < 5 * found.stderr[0])
    True
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError(f"snaps: expected Snapshots, got {type(snaps).__name__}")
    if not isinstance(observables, GradientObservables):
        raise InputTypeError(
            f"observables: expected the result of gradient_observables, got {type(observables).__name__}"
        )
    if snaps.n_qubits != observables.n_qubits:
        raise ShapeError(
            f"snaps: expected {observables.n_qubits} qubits, as the circuit has, got {snaps.n_qubits} qubits"
        )
    rows, single = observables.n_observables, observables._single
    count = check_combination(combine, buckets, len(observables._native.row_lengths()), len(snaps))
    value, stderr, revealed, shots = _native.estimate_gradient(
        snaps._native, observables._native, combine, count
    )
    shape = (observables.n_parameters,) if single else (rows, observables.n_parameters)
    return Gradient(
        value=float(value[0]) if single else value[:rows],
        value_stderr=float(stderr[0]) if single else stderr[:rows],
        gradient=value[rows:].reshape(shape),
        stderr=stderr[rows:].reshape(shape),
        revealed=revealed[rows:].reshape(shape),
        bound=observables._native.dropped_rows()[rows:].reshape(shape),
        shots=shots,
    )


def given_sums(
    circuit: Circuit, observables: Observable | Iterable[Observable] | None
) -> tuple[list[PauliSum], bool]:
    """Return the observables asked for, or those of the circuit, and whether it is one."""
    if observables is None:
        sums, single = list(circuit.observables), len(circuit.observables) == 1
        if not sums:
            raise InvalidInputError(
                "observables: expected some, because the circuit has none of its own, got none"
            )
    else:
        sums, single = read_sums(observables, circuit.n_qubits)
        if not sums:
            raise InvalidInputError("observables: expected at least one, got an empty sequence")
    return sums, single


def only_observable(circuit: Circuit, observable: Observable | None) -> PauliSum:
    """Return the observable asked for, or the only one that the circuit has."""
    if observable is not None:
        return read_sum("observable", observable, circuit.n_qubits)
    if len(circuit.observables) != 1:
        raise InvalidInputError(
            f"observable: expected one, as the circuit has {len(circuit.observables)} of its own, got none"
        )
    return circuit.observables[0]
