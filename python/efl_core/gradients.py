"""From a circuit to its value and gradient: propagated classically, or observed in snapshots.

`propagate` needs no measurement. It is a warm start, a check, and often all that is needed: where a circuit
and its input can be propagated, measuring them teaches nothing new.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.arguments import integer
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable, PauliSum

__all__ = ["Dropped", "Propagation", "Truncation", "propagate"]


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
        try:
            return weight, float(self.min_coefficient), terms
        except (TypeError, ValueError):
            raise InputTypeError(
                f"min_coefficient: expected a real number, got {self.min_coefficient!r:.40}"
            ) from None


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
        Whether to compute the gradient as well (about twice the cost, whatever the number of parameters).

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
    columns: Any = _native.evaluate(
        circuit._native,
        circuit.parameters,
        only_observable(circuit, observable),
        circuit.bloch,
        (truncation or Truncation()).limits(),
        bool(gradient),
    )
    value, slopes, terms, dropped = columns
    return Propagation(value, slopes, terms, Dropped(*dropped))


def check_circuit(circuit: Circuit) -> None:
    """Refuse anything but a circuit."""
    if not isinstance(circuit, Circuit):
        raise InputTypeError(f"circuit: expected a Circuit, got {type(circuit).__name__}")


def only_observable(circuit: Circuit, observable: Observable | None) -> PauliSum:
    """Return the observable asked for, or the only one that the circuit has."""
    if observable is not None:
        return PauliSum(observable, n_qubits=circuit.n_qubits)
    if len(circuit.observables) != 1:
        raise InvalidInputError(
            f"observable: expected one, because the circuit has {len(circuit.observables)} of its own, got none"
        )
    return circuit.observables[0]
