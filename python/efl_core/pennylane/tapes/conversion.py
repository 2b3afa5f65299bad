"""From a PennyLane tape or QNode to a circuit.

The parameters of the circuit are those of the tape, not those of the decomposition of its operations.

On demand, angles that are not trained but come from the numbers of an operation become inputs: what is found
for the circuit then holds for other data. Rotations by exact odd multiples of pi/2 stay as they are: people
write Clifford gates so, and where those could be anything there would be more words.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.operations import Conversion, parameters
from efl_core.pennylane.tapes.outputs import Outputs, read_outputs

if TYPE_CHECKING:
    from efl_core.pennylane.noise import NoiseLike

__all__ = ["converted", "from_qnode", "from_tape", "one_tape", "trainable", "wire_order"]


def from_tape(
    tape: QuantumScript,
    *,
    wires: Iterable[Hashable] | None = None,
    inputs: bool = False,
    noise: "NoiseLike | None" = None,
) -> Circuit:
    """Convert a tape.

    Parameters
    ----------
    tape
        The tape. Its trainable parameters that belong to operations become the parameters of the circuit, in
        its order; the entries of an array, row after row. Trainable coefficients of observables are left out.
    wires
        Which wire each qubit is. By default qubit i is wire i if the wires are 0, 1, 2, ... in any order,
        otherwise the i-th wire that the tape uses.
    inputs
        Whether fixed angles of gates become inputs of the circuit, so that equal gates with other data make
        an equal circuit.
    noise
        What the device does by itself after each operation, an `efl.Noise` or a ``qml.NoiseModel``.

    Returns
    -------
    Circuit
        The circuit with its observables and `Circuit.wires`: one for each ``expval``, the projectors of
        ``probs``, an observable and its square for ``var``.

    Examples
    --------
    >>> import pennylane as qml
    >>> from efl_core.pennylane import from_tape
    >>> gates = [qml.Rot(0.1, 0.2, 0.3, wires="a"), qml.CRot(0.4, 0.5, 0.6, wires=["a", "b"])]
    >>> circuit = from_tape(qml.tape.QuantumScript(gates, [qml.expval(qml.Z("b"))]))
    >>> circuit.parameters, circuit.wires
    (array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), ('a', 'b'))
    """
    if not isinstance(tape, QuantumScript):
        raise InputTypeError(f"tape: expected a PennyLane tape, got {type(tape).__name__}")
    if tape.batch_size is not None:
        raise InvalidInputError(
            f"tape: expected one circuit, got a broadcast of {tape.batch_size}; apply "
            "qml.transforms.broadcast_expand first"
        )
    if noise is None:
        return converted(with_numbers(tape), wires=wires, inputs=inputs)[0]
    from efl_core.pennylane.noise import noise_after, read_noise

    after = partial(noise_after, read_noise(noise))
    return converted(with_numbers(tape), wires=wires, inputs=inputs, noise_after=after)[0]


def converted(
    tape: QuantumScript,
    *,
    trainable: Sequence[int] | None = None,
    wires: Iterable[Hashable] | None = None,
    inputs: bool = False,
    noise_after: Callable[[Operator], Iterable[tuple[Sequence[Any], Sequence[Hashable]]]] | None = None,
) -> tuple[Circuit, Outputs]:
    """Convert a tape of plain numbers, see `from_tape`; and say how its results follow from observables.

    ``trainable`` are parameters in the place of those that the tape marks.
    ``noise_after`` tells what the device does by itself after an operation: Kraus operators, and their wires.
    """
    labels = tuple(wire_order(tape) if wires is None else wires)
    unknown = [w for w in tape.wires if w not in labels]
    if unknown or len(set(labels)) < len(labels) or not labels:
        raise InvalidInputError(
            f"wires: expected each wire of the tape once, {list(tape.wires)}, got {list(labels)}"
        )

    values, forms = parameters(tape, tape.trainable_params if trainable is None else trainable)
    circuit = Circuit(len(labels), values)
    circuit.wires = labels
    conversion = Conversion(circuit, inputs=inputs)
    for operation, own in zip(tape.operations, forms, strict=True):
        conversion.convert(operation, own)
        for kraus, where in () if noise_after is None else noise_after(operation):
            circuit.noise(kraus, *(conversion.qubits[wire] for wire in where))
    outputs, circuit.observables = read_outputs(tape.measurements, conversion.qubits)
    return circuit, outputs


def one_tape(qnode: qml.QNode, args: Sequence[object], kwargs: Mapping[str, object]) -> QuantumScript:
    """Return the tape of a QNode, after its transforms, with what PennyLane takes for trainable."""
    tapes, _ = qml.workflow.construct_batch(qnode, level="user")(*args, **kwargs)
    if len(tapes) != 1:
        raise InvalidInputError(
            f"qnode: expected one tape, got {len(tapes)} from its transforms; convert them one by one "
            "(qml.workflow.construct_batch, from_tape)"
        )
    [tape] = tapes
    trained = qml.math.get_trainable_indices(tape.get_parameters(trainable_only=False))
    return tape.copy(trainable_params=sorted(trained))


def from_qnode(qnode: qml.QNode, *, noise: "NoiseLike | None" = None) -> Callable[..., Circuit]:
    """Return a function that takes the QNode's arguments and returns its circuit, on a device with ``noise``.

    Transforms that were applied to the QNode are applied; the device decomposes nothing. Parameters of the
    circuit are the gate parameters that PennyLane takes for trainable, as computed from the QNode's trainable
    arguments. Qubit i is the i-th wire of the device if that lists its wires, else as in `from_tape`.
    """
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"qnode: expected a PennyLane QNode, got {type(qnode).__name__}")

    def convert(*args: object, **kwargs: object) -> Circuit:
        tape = one_tape(qnode, args, kwargs)
        circuit = from_tape(tape, wires=qnode.device.wires, noise=noise)
        if circuit.n_parameters == 0 and any(op.num_params for op in tape.operations):
            warnings.warn(
                "the QNode has no trainable parameter, so the circuit has none: pass arguments that "
                "PennyLane trains (pennylane.numpy arrays with requires_grad=True, or torch tensors that "
                "require a gradient)",
                UserWarning,
                stacklevel=2,
            )
        return circuit

    return convert


def trainable(value: Any) -> Any:  # noqa: ANN401 (numbers in, PennyLane's arrays out)
    """Return numbers as an array that PennyLane trains."""
    return qml.numpy.array(value, dtype=float, requires_grad=True)


def wire_order(tape: QuantumScript) -> Sequence[Hashable]:
    """Return the wire of each qubit, where nobody says it."""
    work = [wire for op in tape.operations for wire in getattr(op, "work_wires", None) or ()]
    found = list(dict.fromkeys([*tape.wires, *work]))
    standard = range(len(found))
    return standard if set(found) == set(standard) else found
