"""The classical road: the value and the gradient of a circuit, without measuring anything.

`propagate` moves an observable backwards through a circuit to its product input: a warm start, a check, and
often all that is needed, for where a circuit and its input can be propagated, measuring them teaches nothing
new. A `Truncation` bounds the work; what it leaves out is counted in `Dropped`.
"""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.arguments import integer, real
from efl_core.circuits import Circuit, check_circuit, only_observable
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable

__all__ = ["Dropped", "Limits", "Propagation", "Truncation", "propagate", "read_limits"]

Limits: TypeAlias = tuple[int | None, float, int | None]
"""A truncation as the compiled module takes it: weight, coefficient, number of terms."""


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

    def limits(self) -> Limits:
        """Return the three numbers, checked."""
        weight = None if self.max_weight is None else integer("max_weight", self.max_weight, 0)
        terms = None if self.max_terms is None else integer("max_terms", self.max_terms, 1)
        return weight, real("min_coefficient", self.min_coefficient), terms


def read_limits(truncation: Truncation | None) -> Limits:
    """Return the three numbers of a truncation, or of the default."""
    if truncation is None:
        return Truncation().limits()
    if not isinstance(truncation, Truncation):
        raise InputTypeError.of("truncation", "a Truncation", type(truncation).__name__)
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
        raise InvalidInputError.of(
            "circuit",
            "a product input state",
            "another one: its value has to be measured (gradient_observables does not need the input)",
        )
    value, slopes, terms, dropped = _native.evaluate(
        circuit._native,
        circuit._theta,
        only_observable(circuit, observable),
        circuit.bloch,
        read_limits(truncation),
        bool(gradient),
    )
    return Propagation(value, slopes, terms, Dropped(*dropped))
