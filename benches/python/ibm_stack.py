"""IBM's stack as `bench_trex.py` needs it: circuits, noisy simulators, jobs of its estimator, and truths.

Circuits are lists of gates, so that both sides run the same: IBM's estimator as a circuit of Qiskit, ours as
tapes on `Aer`, a device that hands them to the same simulator.

Invariant: what is compared has errors of gates and none of readouts, which is what calibrations take out.
Cost: Aer simulates density matrices without fusion, a few milliseconds a circuit.
"""

from dataclasses import dataclass

import numpy as np
import pennylane as qml
from pennylane.devices import Device
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator, noise
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from efl_core.pennylane.aer import GATES

QUICK = {"method": "density_matrix", "fusion_enable": False, "max_parallel_experiments": 2}
NATIVE = ["rz", "sx", "x", "cx", "cz", "swap"]
"""What estimators that twirl take; the twirl of a readout is no part of a rotation."""
WRITTEN = ["rx", "ry", "h", "s", "sdg", "p"]
OPERATIONS = {"rx": qml.RX, "ry": qml.RY, "rz": qml.RZ, "x": qml.X, "h": qml.H, "cx": qml.CNOT, "cz": qml.CZ}


@dataclass(frozen=True)
class Circuit:
    """Gates: each a name of Qiskit, its qubits, and the number of a parameter, an angle, or neither."""

    name: str
    n_qubits: int
    n_parameters: int
    gates: tuple[tuple[str, tuple[int, ...], int | float | None], ...]

    def apply(self, theta):
        """Queue the gates in a QNode."""
        for name, qubits, turn in self.gates:
            OPERATIONS[name](*_angle(turn, theta), wires=qubits)

    def written(self, theta=None):
        """Return a circuit of Qiskit; with parameters where no angles are given."""
        angles = ParameterVector("t", self.n_parameters) if theta is None else theta
        circuit = QuantumCircuit(self.n_qubits)
        for name, qubits, turn in self.gates:
            getattr(circuit, name)(*_angle(turn, angles), *qubits)
        return circuit


def _angle(turn, angles):
    if turn is None:
        return []
    return [turn if isinstance(turn, float) else angles[turn]]


def sparse(words):
    """An observable of Qiskit, whose qubit 0 is the last letter."""
    return SparsePauliOp.from_list([(word[::-1], float(c)) for word, c in words.items()])


class Machine:
    """A noisy simulator, with readout errors and without."""

    def __init__(self, name, model, gates_only, target=None):
        self.name, self.model, self.gates_only, self._target = name, model, gates_only, target
        self.simulator = AerSimulator(noise_model=model, **QUICK)
        self._exact = AerSimulator(noise_model=gates_only, **QUICK)

    def fitted(self, circuits):
        """Circuits as the machine runs them."""
        if self._target is None:
            return transpile(circuits, basis_gates=NATIVE, optimization_level=0)
        layout = list(range(circuits[0].num_qubits))
        return transpile(
            circuits, self._target, initial_layout=layout, optimization_level=1, seed_transpiler=1
        )

    def truth(self, circuit, theta, observables):
        """The values that gates with errors give and a perfect readout reads."""
        [fitted] = self.fitted([circuit.written(theta)])
        fitted.save_density_matrix()
        state = self._exact.run(fitted).result().data()["density_matrix"]
        placed = [sparse(words).apply_layout(fitted.layout) for words in observables]
        return np.array([float(np.real(state.expectation_value(own))) for own in placed])

    def trex(self, circuit, thetas, observables, randomizations, shots, seed):
        """Values of observables at rows of angles, shape (observables, rows); and the shots of the job."""
        [fitted] = self.fitted([circuit.written()])
        placed = [[sparse(words).apply_layout(fitted.layout)] for words in observables]
        estimator = Estimator(mode=self.simulator)
        estimator.options.resilience_level = 1
        estimator.options.twirling.num_randomizations = randomizations
        estimator.options.twirling.shots_per_randomization = shots
        estimator.options.simulator.seed_simulator = seed
        pub = (fitted, placed, thetas)
        program, _ = prepare([pub], estimator.options, add_tags=True, backend=estimator.backend())
        total = int(program.shots * sum(item.size() for item in program.items))
        return np.asarray(estimator.run([pub]).result()[0].data.evs), total

    def device(self, n_qubits, seed):
        """The same simulator as a device of PennyLane."""
        return Aer(self, n_qubits, seed)


def depolarising(two=0.01, confusion=((0.98, 0.02), (0.05, 0.95))):
    """Depolarising errors after two-qubit gates; readouts that take 0 and 1 for each other."""
    models = []
    for readout in (True, False):
        model = noise.NoiseModel()
        model.add_basis_gates(NATIVE + WRITTEN)
        error = noise.depolarizing_error(two * 16 / 15, 2)
        model.add_all_qubit_quantum_error(error, ["cx", "cz", "swap"])
        if readout:
            model.add_all_qubit_readout_error([list(row) for row in confusion])
        models.append(model)
    return Machine("depolarising", *models)


def manila():
    """IBM's FakeManilaV2: Aer's model of it, gates and coupling of the device."""
    backend = FakeManilaV2()
    whole = AerSimulator.from_backend(backend).options.noise_model
    gates_only = noise.NoiseModel.from_backend(backend, readout_error=False)
    return Machine("FakeManilaV2", whole, gates_only, backend)


class Aer(Device):
    """Tapes of samples on a `Machine`; counts the shots that it takes."""

    def __init__(self, machine, n_qubits, seed):
        super().__init__(wires=range(n_qubits))
        self._machine, self.spent = machine, 0
        self._random = np.random.default_rng(seed)

    def execute(self, circuits, execution_config=None):
        """Run tapes, those of equal shots together."""
        written = self._machine.fitted([self._written(tape) for tape in circuits])
        shots = [tape.shots.total_shots for tape in circuits]
        self.spent += sum(shots)
        found = [None] * len(circuits)
        for size in sorted(set(shots)):
            own = [i for i, count in enumerate(shots) if count == size]
            seed = int(self._random.integers(2**31))
            job = self._machine.simulator.run([written[i] for i in own], shots=size, seed_simulator=seed)
            result = job.result()
            for place, i in enumerate(own):
                counts = result.get_counts(place)
                rows = np.array([[int(bit) for bit in reversed(bits)] for bits in counts], dtype=np.uint8)
                found[i] = np.repeat(rows, list(counts.values()), axis=0)
        return tuple(found)

    def _written(self, tape):
        circuit = QuantumCircuit(len(self.wires))
        for op in tape.operations:
            getattr(circuit, GATES[op.name])(*map(float, op.parameters), *op.wires)
        circuit.measure_all()
        return circuit
