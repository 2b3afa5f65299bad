"""Fleets on noisy devices: gates that err, and readouts that confuse 0 and 1.

`Remembered` is a device whose probabilities are those of `default.mixed` with noise: every different tape is
simulated once, so that many queries cost no more than their shots.
"""

import numpy as np
import pennylane as qml
from pennylane.devices import Device
from pennylane.tape import QuantumScript

import efl_core as efl
from efl_core.fleet import Learner
from efl_core.pennylane import noise_model

NOISE = efl.Noise(one_qubit=0.01, two_qubit=0.04)
FLIPS = (0.06, 0.03, 0.08)
"""How often each wire is read wrongly."""
THETA = np.array([0.4, -0.3, 0.8, 0.5, 0.6])
X = (0.2, 0.5)


def readout(measured, **_):
    """Read every wire wrongly with its own probability."""
    for wire in measured.wires:
        qml.BitFlip(FLIPS[wire], wire)


def noisy_device(n_wires, seed=0, noise=NOISE, known=None):
    """A device with errors of gates and readouts; ``known`` are the tapes that others like it have run."""
    model = qml.NoiseModel(
        noise_model(noise).model_map, meas_map={qml.BooleanFn(lambda _: True, name="any"): readout}
    )
    return Remembered(qml.add_noise(qml.device("default.mixed", wires=n_wires), model), seed, known)


class Remembered(Device):
    """Samples of a device that gives probabilities; each different tape is run once."""

    def __init__(self, device, seed, known=None):
        super().__init__(wires=device.wires)
        self._device, self._random = device, np.random.default_rng(seed)
        self._known = {} if known is None else known

    def preprocess_transforms(self, execution_config=None):
        return qml.CompilePipeline()

    def execute(self, circuits, execution_config=None):
        return tuple(self._samples(tape) for tape in circuits)

    def _samples(self, tape):
        wires = tape.measurements[0].wires
        key = tuple((op.name, op.wires.labels, *map(float, op.data)) for op in tape.operations)
        if key not in self._known:
            plain = QuantumScript(tape.operations, [qml.probs(wires=wires)])
            [chances] = qml.execute([plain], self._device, diff_method=None)
            self._known[key] = np.cumsum(np.clip(np.asarray(chances, dtype=float), 0, None))
        total = self._known[key]
        drawn = np.searchsorted(total, total[-1] * self._random.random(tape.shots.total_shots), "right")
        return (drawn[:, None] >> np.arange(len(wires))[::-1]) & 1


def served(device, wires=(0, 1)):
    """A QNode of two inputs and five parameters on two wires; inputs come before the first of them."""
    one, other = wires

    def function(x, angles):
        qml.RY(x[0], one)
        qml.RY(x[1], other)
        qml.CNOT([one, other])
        for place, wire in enumerate(wires):
            qml.RY(angles[2 * place], wire)
            qml.RZ(angles[2 * place + 1], wire)
        qml.CNOT([one, other])
        qml.RY(angles[4], other)
        return qml.expval(qml.Z(other))

    return qml.QNode(function, device)


def uploading(device, layers=2):
    """The same of inputs that come again in every layer."""

    def function(x, angles):
        for layer in range(layers):
            qml.RX(x[0], 0)
            qml.RX(x[1], 1)
            qml.RY(angles[2 * layer], 0)
            qml.RY(angles[2 * layer + 1], 1)
            qml.CZ([0, 1])
        qml.RY(angles[2 * layers], 0)
        return qml.expval(qml.Z(0))

    return qml.QNode(function, device)


def exact(qnode, x, theta, noise=NOISE):
    """The value that the noisy device gives, readout apart, and its gradient."""
    circuit = efl.circuit(qnode, noise=noise)(np.array(x), qml.numpy.array(theta, requires_grad=True))
    found = efl.propagate(circuit)
    return circuit, found.value, found.gradient


def contrast(qubits):
    """What the readout leaves of a parity."""
    return float(np.prod([1 - 2 * FLIPS[q] for q in qubits]))


def learner_of(node, *, x=X, **options):
    known = {"loss": "energy", "shots": 32, "share": 0.5, "seed": 1, **options}
    return Learner(node, THETA, inputs=np.array(x), **known)


def bits_with_errors(shots, seed):
    """Bits of |00> as the readout gives them."""
    return (np.random.default_rng(seed).random((shots, 2)) < FLIPS[:2]).astype(np.uint8)


def off(found, truth):
    """The distances in standard errors, of derivatives that are not known to be zero."""
    moving = found.stderr > 0
    return np.abs((found.value - truth) / np.where(moving, found.stderr, 1.0))[moving].max()
