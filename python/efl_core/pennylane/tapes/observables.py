"""From PennyLane's observables to sums of Pauli words.

Words, sums, products and Hermitian matrices on few wires are expanded exactly; anything wider is refused.
"""

from collections.abc import Hashable, Mapping
from functools import reduce
from operator import matmul

import pennylane as qml
from pennylane.operation import Operator
from pennylane.pauli import PauliSentence

from efl_core.circuits import Circuit
from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.tapes.tracing import described

__all__ = ["derivative_by_coefficient", "pauli_sum", "square"]

# Widest operator that is expanded in Pauli words by its matrix: 256 words.
MAX_EXPANDED_WIRES = 4
# Widest product of such operators.
MAX_FACTORED_WIRES = 8
ROUNDING = 1e-9


def derivative_by_coefficient(observable: Operator, position: int, circuit: Circuit) -> PauliSum:
    """Return what a coefficient of an observable multiplies: the difference that one more of it makes."""
    data = list(observable.data)
    qubits = {label: qubit for qubit, label in enumerate(circuit.wires)}
    data[position] = data[position] + 1.0
    with qml.QueuingManager.stop_recording():
        more = qml.ops.functions.bind_new_parameters(observable, data)
        return pauli_sum(more, qubits) - pauli_sum(observable, qubits)


def pauli_sum(operator: Operator, qubits: Mapping[Hashable, int]) -> PauliSum:
    """Expand an operator in Pauli words."""
    return _real(_sentence(operator), operator, qubits)


def square(operator: Operator, qubits: Mapping[Hashable, int]) -> PauliSum:
    """Expand the square of an operator."""
    sentence = _sentence(operator)
    return _real(sentence @ sentence, operator, qubits)


def _real(sentence: PauliSentence, operator: Operator, qubits: Mapping[Hashable, int]) -> PauliSum:
    terms = []
    for word, coefficient in sentence.items():
        number = complex(coefficient)
        if not abs(number.imag) <= ROUNDING * (1 + abs(number)):
            raise InvalidInputError(
                f"tape: expected real coefficients, got {number} for {word} in {described(operator)}"
            )
        terms.append(({qubits[wire]: letter for wire, letter in word.items()}, number.real))
    return PauliSum(terms, n_qubits=len(qubits))


def _sentence(operator: Operator) -> PauliSentence:
    if operator.pauli_rep is not None:
        return operator.pauli_rep
    width = len(operator.wires)
    if isinstance(operator, qml.ops.Sum):
        return sum((_sentence(term) for term in operator.operands), PauliSentence())
    if isinstance(operator, qml.ops.SProd):
        return _sentence(operator.base) * operator.scalar
    if isinstance(operator, qml.ops.Prod) and width <= MAX_FACTORED_WIRES:
        return reduce(matmul, map(_sentence, operator.operands))
    if width > MAX_EXPANDED_WIRES:
        advice = "write it as a sum of Pauli words"
        if isinstance(operator, qml.Projector):
            advice = (
                "its gradient is measured by efl.shadow_grad, efl.fidelity_gradient and the device efl.fleet"
            )
        raise InvalidInputError(
            "tape: expected an observable of Pauli words, or of matrices on at most "
            f"{MAX_EXPANDED_WIRES} wires, got {described(operator)}; {advice}"
        )
    try:
        matrix = qml.matrix(operator, wire_order=operator.wires)
        return qml.pauli_decompose(matrix, wire_order=operator.wires, pauli=True)
    except (ValueError, qml.exceptions.QuantumFunctionError, qml.operation.MatrixUndefinedError) as error:
        raise InvalidInputError(
            f"tape: expected an observable with a Hermitian matrix, got {described(operator)} ({error})"
        ) from error
