"""QNodes from two copies: the circuit twice on one device; for gradients then once in settings.

Simulators of state vectors run the circuit once, and both stages are drawn from its state. Other devices
get the circuit twice at once, on twice the wires, with a Bell readout as one tape of all pairs; then a tape
for each setting, as one batch.

Invariant: the second copy is on wires that the circuit does not use; nothing is measured midway.
Cost: two submissions; by state vectors one, and ``4**n`` numbers.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial
from typing import Any, SupportsIndex

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.tape import QuantumScript

from efl_core.arguments import integer
from efl_core.circuits import Circuit
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable
from efl_core.pennylane.execution import Program, Run, submit
from efl_core.pennylane.execution.state import read_state, state_tape
from efl_core.pennylane.execution.submission import suiting_mode
from efl_core.pennylane.qnodes import tape_of
from efl_core.pennylane.tapes import from_tape
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.uncertainty import linearised, trained_arguments
from efl_core.snapshots import Snapshots
from efl_core.two_copies import bell_setting, two_copies
from efl_core.two_copy_gradients import Asked, Measure, TwoCopyGradient, fresh_seed, measure_state

__all__ = ["bell_snapshots", "of_qnode"]


def bell_snapshots(
    qnode: qml.QNode, *, shots: SupportsIndex, seed: SupportsIndex | None = None
) -> Callable[..., Snapshots]:
    """Return a function of the QNode's arguments that measures two copies of its state in the Bell basis.

    Parameters
    ----------
    qnode
        The QNode; what it returns does not matter. Its device needs twice the wires of the circuit, unless
        it is a simulator of state vectors.
    shots
        Pairs of copies.
    seed
        Decides simulated outcomes.

    Examples
    --------
    >>> import pennylane as qml
    >>> @qml.qnode(qml.device("default.qubit"))
    ... def bell(angle):
    ...     qml.RY(angle, wires=0)
    ...     qml.CNOT(wires=[0, 1])
    ...     return qml.expval(qml.Z(0))
    >>> snaps = efl.bell_snapshots(bell, shots=2000, seed=1)(0.8)
    >>> efl.word_squares(snaps, ["ZZ", "XX"]).value.round(1)  # 1 and sin(0.8)**2
    array([1. , 0.5])
    """
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"qnode: expected a PennyLane QNode, got {type(qnode).__name__}")
    count = np.array([integer("shots", shots, 1)])
    key = integer("seed", fresh_seed() if seed is None else seed, 0, 2**64 - 1)

    def measured(*args: object, **kwargs: object) -> Snapshots:
        tape = tape_of(qnode, args, kwargs)
        circuit = from_tape(tape)
        bell = Ensemble.settings([bell_setting(circuit.n_qubits)])
        return _on_device(qnode.device, with_numbers(tape), circuit, key)(two_copies(circuit), bell, count)

    return measured


def of_qnode(
    qnode: qml.QNode, observables: Observable | Iterable[Observable] | None, asked: Asked, seed: int
) -> Callable[..., TwoCopyGradient]:
    """Return a function of the QNode's arguments that measures its gradient by them."""
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"circuit: expected a Circuit or a PennyLane QNode, got {type(qnode).__name__}")

    def measured(*args: object, **kwargs: object) -> TwoCopyGradient:
        tape_of(qnode, args, kwargs)  # which refuses what is measured midway
        trained = trained_arguments(args, None)
        batched, [tape, *_], [matrices, *_] = linearised(qnode, args, kwargs, trained)
        if batched:
            raise InvalidInputError("args: expected those of one circuit, got a broadcast of several")
        circuit = from_tape(tape)
        slopes = np.concatenate([matrix.reshape(len(matrix), -1) for matrix in matrices], axis=1)
        if len(slopes) != circuit.n_parameters:
            raise InvalidInputError(
                "args: expected numbers that turn gates, got some that observables depend on"
            )
        measure = _on_device(qnode.device, with_numbers(tape), circuit, seed)
        return asked.measured(circuit, observables, measure, slopes)

    return measured


def _on_device(device: Device, tape: QuantumScript, circuit: Circuit, seed: int) -> Measure:
    """Return what measures one or two copies of a circuit on a device."""
    wires = circuit.wires
    program = Program(partial(list, tape.operations))
    if suiting_mode(device, [Run(program, Setting("Z" * len(wires)), 1)], len(wires)) == "state":
        [result] = qml.execute([state_tape(program.operations, wires, device)], device, diff_method=None)
        return _tracked(device, measure_state(circuit, read_state(result, wires, device), seed))
    second = _other_wires(device, wires)
    moved = dict(zip(wires, second, strict=True))
    twice = Program(lambda: [*tape.operations, *(op.map_wires(moved) for op in tape.operations)])

    def measure(asked: Circuit, ensemble: Ensemble, counts: NDArray[np.intp]) -> Snapshots:
        pair = asked.n_qubits != circuit.n_qubits
        own, labels = (twice, (*wires, *second)) if pair else (program, wires)
        settings = zip(ensemble.setting_list, counts, strict=True)
        runs = [Run(own, setting, int(count)) for setting, count in settings]
        submission = submit(runs, labels, mode="tapes", seed=seed, device=device)
        bits: list[Any] = submission.read(qml.execute(submission.tapes, device, diff_method=None))
        index = np.repeat(np.arange(len(counts)), counts)
        return Snapshots.from_settings(np.concatenate(bits), index, ensemble=ensemble, allocated=True)

    return measure


def _tracked(device: Device, measure: Measure) -> Measure:
    """Measure; a tracker of the device counts what a device without state vectors would have run."""
    executed = 1  # for the state

    def counted(circuit: Circuit, ensemble: Ensemble, counts: NDArray[np.intp]) -> Snapshots:
        nonlocal executed
        tracker = device.tracker
        if tracker.active:
            tracker.update(shots=int(counts.sum()), executions=len(counts) - executed)
            tracker.record()
            executed = 0
        return measure(circuit, ensemble, counts)

    return counted


def _other_wires(device: Device, wires: Sequence[Hashable]) -> tuple[Hashable, ...]:
    """Return wires for the second copy."""
    if device.wires is None:
        numbers = [wire for wire in wires if isinstance(wire, int)]
        first = max(numbers, default=-1) + 1
        return tuple(range(first, first + len(wires)))
    idle = [wire for wire in device.wires if wire not in wires]
    if len(idle) < len(wires):
        raise InvalidInputError(
            f"qnode: expected a device of {2 * len(wires)} wires, as two copies of the {len(wires)} wires of "
            f"the circuit need, got one of {len(device.wires)}"
        )
    return tuple(idle[: len(wires)])
