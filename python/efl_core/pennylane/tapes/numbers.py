"""The numbers of a tape: whatever a framework has put in their place becomes numpy's, in double precision."""

from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.tapes.tracing import bound, described

__all__ = ["with_numbers"]


def with_numbers(tape: QuantumScript) -> QuantumScript:
    """Replace what a framework has put in the place of numbers, and single precision; refuse infinity."""
    operations = []
    for op in tape.operations:
        numbers = [_number(d, op) for d in op.data]
        kept = all(type(new) is type(old) for new, old in zip(numbers, op.data, strict=True))
        operations.append(op if kept else bound(op, numbers))
    measurements = tape.measurements
    if any(m.obs is not None and m.obs.data for m in measurements):
        [plain], _ = qml.transforms.convert_to_numpy_parameters(QuantumScript([], measurements))
        measurements = plain.measurements
    return QuantumScript(operations, measurements, shots=tape.shots, trainable_params=tape.trainable_params)


def _number(data: Any, op: Operator) -> Any:  # noqa: ANN401
    # Scalars of pennylane.numpy are numpy's, but `unwrap` takes integer ones for tensors of a framework.
    plain = data if isinstance(data, np.generic) else qml.math.unwrap([data])[0]
    array = np.asarray(plain)
    if array.dtype.kind in "fc" and not np.isfinite(array).all():
        raise InvalidInputError(f"tape: expected finite parameters, got {described(op)}")
    if isinstance(plain, (int, float, complex)):
        return plain
    if array.dtype.kind not in "fc":
        return array[()]
    return array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)[()]
