"""Circuits of Qiskit that tests share, and what is exact of them."""

from typing import NamedTuple

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import (
    PauliEvolutionGate,
    efficient_su2,
    real_amplitudes,
    zz_feature_map,
)
from qiskit.quantum_info import SparsePauliOp, Statevector

STEP = 1e-4
OBSERVABLE = SparsePauliOp(["ZZI", "XIX", "IYY"], [1.0, 0.5, -0.3])


class Model(NamedTuple):
    circuit: QuantumCircuit
    observable: SparsePauliOp
    values: np.ndarray

    def value(self, values=None):
        """Return the expectation value, evolutions as the products that Qiskit makes of them."""
        written = self.circuit.decompose(["circuit*", "PauliEvolution"], reps=2)
        bound = written.assign_parameters(self.values if values is None else values)
        return Statevector(bound).expectation_value(self.observable).real

    def gradient(self):
        """Return the exact derivatives, from differences of fourth order."""
        found = []
        for k in range(len(self.values)):

            def at(steps, k=k):
                moved = self.values.copy()
                moved[k] += steps * STEP
                return self.value(moved)

            found.append((8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * STEP))
        return np.array(found)


def _all_kinds():
    circuit = real_amplitudes(3, reps=1)
    p = circuit.parameters
    circuit.rx(3.0 * p[0] + p[1].sin(), 0)
    circuit.rz(p[0] * p[1] - p[2], 2)
    circuit.crx(p[0].exp(), 1, 2)
    circuit.cp(p[1], 0, 2)
    circuit.u(p[0].sin(), p[1] - 2, p[2] * p[3], 1)
    circuit.csdg(0, 1)
    circuit.ccx(0, 1, 2)
    circuit.iswap(0, 2)
    circuit.global_phase = p[0] * p[1]
    return circuit


def _evolutions():
    a = ParameterVector("a", 3)
    circuit = QuantumCircuit(3)
    circuit.h([0, 1, 2])
    inner = QuantumCircuit(3)
    inner.append(PauliEvolutionGate(SparsePauliOp(["ZZI", "IXX", "IZZ"], [0.7, 0.4, 0.3]), a[0]), [0, 1, 2])
    circuit.append(inner.to_gate(), [2, 0, 1])
    circuit.rx(a[1], [0, 1])
    circuit.append(PauliEvolutionGate(SparsePauliOp(["ZXI", "XYI"]), 2 * a[2]), [0, 1, 2])
    return circuit


def _initialised():
    a = ParameterVector("a", 3)
    circuit = QuantumCircuit(3)
    circuit.initialize([0.5, 0.5, 0.5, -0.5], [2, 0])
    circuit.crx(a[0], 0, 1)
    circuit.rzz(a[1], 1, 2)
    circuit.ry(a[2] / 2, [0, 1, 2])
    circuit.t(1)
    return circuit


def models():
    """Return circuits with observables and values."""
    found = {
        "efficient_su2": efficient_su2(3, reps=1),
        "features": zz_feature_map(3, reps=1).compose(real_amplitudes(3, reps=1)),
        "all_kinds": _all_kinds(),
        "evolutions": _evolutions(),
        "initialised": _initialised(),
    }
    rng = np.random.default_rng(4)
    return {
        name: Model(circuit, OBSERVABLE, rng.uniform(-1.5, 1.5, circuit.num_parameters))
        for name, circuit in found.items()
    }
