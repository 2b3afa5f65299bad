"""From a circuit to its gradient as observables of the one final state.

`gradient_observables` turns a circuit and what it answers with into Pauli sums whose expectation values on
the final state are the value and all derivatives; `efl_core.estimates.gradient` reads them off snapshots.
"""

from collections.abc import Iterable
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import integer
from efl_core.circuits import Circuit, check_circuit, given_sums
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable, PauliSum
from efl_core.propagation import Dropped, Limits, Truncation, read_limits

__all__ = ["GradientObservables", "gradient_observables"]

_Number = TypeVar("_Number", np.bool_, np.float64)


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
            raise InvalidInputError.of("observables", "ones that were not rebased", "rebased ones")
        circuit = self._circuit.at(parameters, inputs)
        return GradientObservables(self._made.at(circuit), circuit, self._single, self._made)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._made is None:
            raise InputTypeError("rebased observables are not pickled: pickle the others, and rebase again")
        made = self._made
        return _make, (self._circuit, made.sums, made.limits, self._single, made.mitigate)

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
            read_limits(truncation),
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

    __slots__ = ("limits", "mitigate", "structure", "sums")

    def __init__(self, sums: list[PauliSum], limits: Limits, mitigate: bool) -> None:
        self.sums, self.limits, self.mitigate = sums, limits, mitigate
        self.structure: _native.GradientTemplate | None = None

    def directly(self, circuit: Circuit) -> _native.GradientObservables:
        if self.mitigate:
            return _native.mitigated_observables(circuit._native, circuit._theta, self.sums, self.limits[2])
        return _native.gradient_observables(circuit._native, circuit._theta, self.sums, self.limits)

    def at(self, circuit: Circuit) -> _native.GradientObservables:
        max_weight, min_coefficient, max_terms = self.limits
        if max_weight is not None or min_coefficient > 0 or self.mitigate:
            return self.directly(circuit)
        if self.structure is None:
            self.structure = _native.GradientTemplate(circuit._native, self.sums, max_terms)
        return self.structure.at(circuit._theta)


def gradient_observables(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    truncation: Truncation | None = None,
    mitigate: bool = False,
) -> GradientObservables:
    """Compute the Pauli sums whose expectation values on the final state are the value and the gradient.

    For a gate ``exp(-i theta P / 2)`` followed by the gates V, the derivative of ``<O>`` is the expectation
    value of ``(i/2) [V P V^dag, O]``. The input state does not matter. Past channels, and past what a device
    does by itself (`Circuit.noise`), it is the derivative of the noisy value, read on the noisy state.

    Parameters
    ----------
    circuit
        The circuit at its current parameters.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    truncation
        What to leave out while operators are moved; by default nothing.
    mitigate
        Whether values and derivatives are those without what the device does by itself: still read on the
        state that it leaves, at the price of larger coefficients.

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
    limits = read_limits(truncation)
    if mitigate and (limits[0] is not None or limits[1] > 0):
        raise InvalidInputError.of(
            "truncation", "none but max_terms with mitigate=True", "max_weight or min_coefficient"
        )
    return _make(circuit.copy(), sums, limits, single, bool(mitigate))  # a copy: gates may be added later


def _make(
    circuit: Circuit, sums: list[PauliSum], limits: Limits, single: bool, mitigate: bool = False
) -> GradientObservables:
    made = _Made(sums, limits, mitigate)
    return GradientObservables(made.directly(circuit), circuit, single, made)
