"""What a tape asks for: derivatives by the parameters of gates, and by the coefficients of observables.

A derivative by a coefficient is the expectation value of what the coefficient multiplies, on the final state.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pennylane as qml
from pennylane.gradients.gradient_transform import choose_trainable_param_indices
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Circuit
from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.noise import noise_after
from efl_core.pennylane.options import Options
from efl_core.pennylane.tapes.conversion import converted
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.observables import derivative_by_coefficient
from efl_core.pennylane.tapes.outputs import DRAWN, Outputs
from efl_core.pennylane.tapes.tracing import described

__all__ = ["Coefficient", "Wanted", "parameters_of", "read_tape", "shots_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Coefficient:
    """A trainable coefficient of an observable."""

    observable: int
    parameter: int
    """Its number among the trainable parameters of the tape."""
    sum: PauliSum
    """What it multiplies."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """A tape, read."""

    tape: QuantumScript
    """With plain numbers."""
    circuit: Circuit
    """Its parameters are those of `by_gates`; fixed angles are inputs."""
    outputs: Outputs
    """How the results of the tape follow from the circuit's observables."""
    by_gates: tuple[int, ...]
    """Trainable parameters of the tape that turn gates."""
    coefficients: tuple[Coefficient, ...]
    """The others."""
    shots: tuple[int, ...] | None
    """Shots of every copy of a shot vector; None if they follow from a target."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of observables and of trainable parameters."""
        return self.outputs.n_observables, len(self.tape.trainable_params)

    @property
    def copies(self) -> int:
        """Length of the shot vector."""
        return max(1, int(self.tape.shots.num_copies))

    @property
    def is_partitioned(self) -> bool:
        """Whether results have an axis for the shot vector."""
        return bool(self.tape.shots.has_partitioned_shots)


def read_tape(tape: QuantumScript, options: Options, wires: Sequence[Hashable] | None = None) -> Wanted:
    """Read a tape: its circuit, on more wires if they are given, what to differentiate by, and its shots."""
    _check_measurements(tape)
    shots = shots_of(tape, options)
    by_gates, places = parameters_of(tape, options.argnum)
    plain = with_numbers(tape)
    marked = [plain.trainable_params[t] for t in by_gates]
    noise = options.noise
    circuit, outputs = converted(
        plain,
        trainable=marked,
        wires=wires,
        inputs=True,
        noise_after=None if noise is None else partial(noise_after, noise),
    )
    if circuit.n_parameters != len(marked):
        raise InvalidInputError(
            "tape: expected trainable parameters that are numbers, got an array; decompose its operation"
        )
    if shots is None and not outputs.is_linear:
        raise InvalidInputError(
            "target: expected shots for qml.var, whose derivatives depend on values that nobody knows yet, "
            "got a target"
        )
    coefficients = tuple(
        Coefficient(
            outputs.items[m].first, t, derivative_by_coefficient(plain.measurements[m].obs, place, circuit)
        )
        for t, (m, place) in places.items()
    )
    return Wanted(plain, circuit, outputs, by_gates, coefficients, shots)


def _check_measurements(tape: QuantumScript) -> None:
    """Refuse what has no gradient from snapshots."""
    if tape.measurements and all(isinstance(m, DRAWN) for m in tape.measurements):
        raise InvalidInputError(
            "diff_method: expected measurements qml.expval, qml.var or qml.probs beside samples and counts, "
            f"which have no derivatives, got {described(tape.measurements[0])} alone"
        )
    for measurement in tape.measurements:
        if isinstance(measurement, DRAWN):
            continue
        known = isinstance(measurement, (ExpectationMP, VarianceMP))
        known = known and (measurement.obs is not None or measurement.mv is not None)
        if not known and not isinstance(measurement, ProbabilityMP):
            raise InvalidInputError(
                "diff_method: expected measurements qml.expval, qml.var or qml.probs, got "
                f'{described(measurement)}; write it by these, or use diff_method="finite-diff"'
            )


def shots_of(tape: QuantumScript, options: Options) -> tuple[int, ...] | None:
    """Return the shots of every copy of a shot vector, if they do not follow from a target."""
    if options.shots is not None:
        return (options.shots,) * max(1, int(tape.shots.num_copies))
    if options.target is not None:
        return None
    if not tape.shots:
        raise InvalidInputError(
            "shots: expected a number of shots for the gradient, and the QNode has none; write "
            'gradient_kwargs={"shots": 10_000}, or {"target": 0.01} for an RMS error'
        )
    return tuple(tape.shots)


def parameters_of(
    tape: QuantumScript, argnum: int | Sequence[int] | None
) -> tuple[tuple[int, ...], dict[int, tuple[int, int]]]:
    """Return the numbers of parameters of gates, and the places of those of observables."""
    count = len(tape.trainable_params)
    given = [argnum] if isinstance(argnum, int) else argnum or []
    if any(t >= count for t in given):
        raise InvalidInputError(f"argnum: expected numbers below {count}, got {argnum}")
    n_gates = len(tape.operations)
    chosen = {t: tape.get_operation(t) for t in choose_trainable_param_indices(tape, argnum)}
    by_gates = tuple(t for t, (_, which, _) in chosen.items() if which < n_gates)
    places = {
        t: (which - n_gates, place)
        for t, (observable, which, place) in chosen.items()
        if which >= n_gates
        and _is_coefficient(observable, tape.measurements[which - n_gates], place, t, tape)
    }
    return by_gates, places


def _is_coefficient(
    observable: Operator, measurement: MeasurementProcess, place: int, t: int, tape: QuantumScript
) -> bool:
    """Say whether a parameter of an observable is a number; PennyLane marks constant matrices as well."""
    if np.ndim(observable.data[place]) == 0 and isinstance(measurement, ExpectationMP):
        return True
    if qml.math.requires_grad(tape.get_parameters()[t]):
        raise InvalidInputError(
            "tape: expected trainable parameters that are angles, or coefficients of expectation values, got "
            f"one of {described(measurement)}; leave it out of tape.trainable_params (requires_grad=False)"
        )
    return False
