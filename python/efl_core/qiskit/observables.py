"""From Qiskit's operators to Pauli sums: letter i of a sum is qubit i, which Qiskit's labels write last."""

import numpy as np
from qiskit.quantum_info import Operator, Pauli, SparseObservable, SparsePauliOp
from qiskit.quantum_info.operators.base_operator import BaseOperator

from efl_core.arguments import described
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.observables import PauliSum

__all__ = ["pauli_sum"]

# Imaginary parts that are rounding errors, of the largest coefficient.
ROUNDING = 1e-12


def pauli_sum(operator: BaseOperator | SparseObservable, n_qubits: int, name: str = "observable") -> PauliSum:
    """Convert an observable: `SparsePauliOp`, `Pauli`, `SparseObservable`, or a matrix.

    >>> from qiskit.quantum_info import SparsePauliOp
    >>> from efl_core.qiskit import pauli_sum
    >>> pauli_sum(SparsePauliOp(["IZ", "XX"], [1.0, 0.5]), 2)
    PauliSum('1*ZI + 0.5*XX')
    """
    if isinstance(operator, SparsePauliOp):
        found = operator
    elif isinstance(operator, Pauli):
        found = SparsePauliOp(operator)
    elif isinstance(operator, SparseObservable):
        found = SparsePauliOp.from_sparse_observable(operator)
    elif isinstance(operator, BaseOperator):
        found = SparsePauliOp.from_operator(Operator(operator))
    else:
        expected = "a SparsePauliOp, a Pauli, a SparseObservable or another operator of Qiskit"
        raise InputTypeError.of(name, expected, described(operator))
    if found.num_qubits != n_qubits:
        raise ShapeError.of(name, f"one on the {n_qubits} qubits of the circuit", f"{found.num_qubits}")
    try:
        coefficients = np.asarray(found.coeffs, dtype=np.complex128)
    except TypeError:
        raise InvalidInputError.of(name, "numbers as coefficients", "parameters") from None
    largest = np.abs(coefficients).max(initial=0.0)
    if np.abs(coefficients.imag).max(initial=0.0) > ROUNDING * largest:
        raise InvalidInputError.of(name, "a Hermitian operator", "one with complex coefficients")
    terms = zip(found.paulis.to_labels(), coefficients.real, strict=True)
    return PauliSum([(label[::-1], float(c)) for label, c in terms], n_qubits=n_qubits)
