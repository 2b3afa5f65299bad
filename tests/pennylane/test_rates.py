"""Error rates that are learnt from a device, against the device's own; statistics at fixed seeds."""

import numpy as np
import pennylane as qml
import pytest

import efl_core as efl
from efl_core.pennylane import noise_model

TRUE = efl.Noise(one_qubit=0.004, two_qubit=0.03)


def device(n_qubits, noise=TRUE, flips=0.0, seed=1):
    made = qml.add_noise(qml.device("default.mixed", wires=n_qubits, seed=seed), noise_model(noise))
    if flips:
        every = {qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.BitFlip(flips, w) for w in mp.wires]}
        made = qml.add_noise(made, qml.NoiseModel({}, meas_map=every))
    return made


def ring(theta):
    n = len(theta) // 2
    for q in range(n):
        qml.RY(theta[2 * q], q)
        qml.RZ(theta[2 * q + 1], q)
    for q in range(n):
        qml.CNOT([q, (q + 1) % n])
    return qml.expval(qml.Z(0))


def gates_of_all_kinds(x, y):
    qml.BasisState([1, 0, 1], wires=["a", "b", "c"])
    qml.Hadamard("a")
    qml.CRX(x, ["a", "b"])
    qml.IsingXX(y, ["b", "c"])
    qml.Rot(x, y, 0.3, "c")
    qml.CZ(["c", "a"])
    qml.PauliRot(0.4, "YZ", ["a", "c"])
    qml.adjoint(qml.S)("b")
    qml.SWAP(["a", "b"])
    return qml.probs(wires="a")


def scores(found):
    return np.array(
        [
            (found.one_qubit - TRUE.one_qubit) / found.one_qubit_stderr,
            (found.two_qubit - TRUE.two_qubit) / found.two_qubit_stderr,
        ]
    )


def test_error_bars_are_true():
    """The mean square of 60 scores has a standard error of 0.18: 4 of them is a false-alarm rate of 1e-4."""
    qnode = qml.QNode(ring, device(2))
    runs = [efl.learn_noise(qnode, shots=1500, circuits=8, seed=seed)(np.zeros(4)) for seed in range(30)]
    z = np.array([scores(found) for found in runs])
    assert np.mean(z**2) == pytest.approx(1, abs=0.73)
    assert abs(z.mean(axis=0)).max() < 4 / np.sqrt(30)
    # Words of one setting go together, so the mean of so many misfits is known to some 0.1.
    assert np.mean([found.misfit for found in runs]) == pytest.approx(0.95, abs=0.35)


@pytest.mark.parametrize("seed", [1, 2])
def test_all_gates_that_are_clifford_gates_somewhere(seed):
    """Of 4 scores none is beyond 4.5: a false-alarm rate of 3e-5."""
    mixed = qml.device("default.mixed", wires=["a", "b", "c"], seed=seed)
    qnode = qml.QNode(gates_of_all_kinds, qml.add_noise(mixed, noise_model(TRUE)))
    found = efl.learn_noise(qnode, shots=60_000, seed=seed)(0.1, 0.2)
    assert np.abs(scores(found)).max() < 4.5
    assert found.two_qubit_stderr < 0.003
    assert found.misfit < 2


def test_a_calibration_takes_the_readout_out():
    made = device(3, flips=0.03)
    calibration = efl.calibrate(made, shots=200_000, seed=1)
    qnode = qml.QNode(ring, made)
    with_it = efl.learn_noise(qnode, shots=50_000, calibration=calibration, seed=2)(np.zeros(6))
    without = efl.learn_noise(qnode, shots=50_000, seed=2)(np.zeros(6))
    assert np.abs(scores(with_it)).max() < 4.5
    assert scores(without).max() > 10


def test_a_misfit_says_that_the_device_is_no_such_table():
    """Every CNOT turns too far by 0.25, which no rates of errors explain."""

    def over(op, **_):
        qml.RX(0.5, op.wires[1])

    model = qml.NoiseModel({qml.noise.op_eq(qml.CNOT): over})
    qnode = qml.QNode(ring, qml.add_noise(qml.device("default.mixed", wires=3, seed=1), model))
    assert efl.learn_noise(qnode, shots=50_000, seed=1)(np.zeros(6)).misfit > 5


def test_what_is_learnt_is_a_table_for_gradients():
    qnode = qml.QNode(ring, device(2))
    found = efl.learn_noise(qnode, shots=100_000, seed=3)(np.zeros(4))
    assert found.noise == efl.Noise(one_qubit=max(found.one_qubit, 0), two_qubit=found.two_qubit)
    theta = qml.numpy.array([0.4, 0.7, -0.3, 0.2], requires_grad=True)
    noisy = efl.circuit(qnode, noise=found.noise)(theta)
    exact = efl.circuit(qnode, noise=TRUE)(theta)
    assert efl.propagate(noisy).gradient == pytest.approx(efl.propagate(exact).gradient, abs=0.02)
    assert "two_qubit 0.03" in str(found) or "two_qubit 0.02" in str(found)


def test_a_device_without_errors_has_none():
    found = efl.learn_noise(qml.QNode(ring, device(2, efl.Noise())), shots=4000, seed=1)(np.zeros(4))
    assert abs(found.one_qubit) < 3 * found.one_qubit_stderr < 0.01
    assert found.noise.two_qubit < 3 * found.two_qubit_stderr < 0.02


def test_gates_of_one_kind():
    def turned(theta):
        qml.RX(theta, 0)
        return qml.expval(qml.Z(0))

    found = efl.learn_noise(qml.QNode(turned, device(1)), shots=20_000, seed=1)(0.3)
    assert abs(found.one_qubit - TRUE.one_qubit) < 4.5 * found.one_qubit_stderr
    assert (found.two_qubit, found.two_qubit_stderr) == (0, np.inf)


def test_a_seed_gives_the_same_settings():
    qnode = qml.QNode(ring, qml.device("default.qubit", wires=2, seed=5))
    again = qml.QNode(ring, qml.device("default.qubit", wires=2, seed=5))
    one, two = (efl.learn_noise(q, shots=300, seed=4)(np.zeros(4)) for q in (qnode, again))
    assert one == two


def with_t(x):
    qml.RX(x, 0)
    qml.T(0)
    return qml.expval(qml.Z(0))


def with_state(x):
    qml.StatePrep([0.6, 0.8], wires=0)
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def with_channel(x):
    qml.RX(x, 0)
    qml.BitFlip(0.1, 0)
    return qml.expval(qml.Z(0))


def empty(x):
    return qml.expval(qml.Z(0))


def of(circuit, **options):
    return efl.learn_noise(
        qml.QNode(circuit, qml.device("default.mixed", wires=1)), **{"shots": 100, **options}
    )(0.1)


REFUSED = {
    "T": (lambda: of(with_t), r"qnode: expected gates that are Clifford gates at multiples .*, got T"),
    "a state": (lambda: of(with_state), "qnode: expected gates that are Clifford gates .*, got StatePrep"),
    "a channel": (lambda: of(with_channel), "qnode: expected gates that are Clifford gates .*, got BitFlip"),
    "no gates": (lambda: of(empty, shots=5000), "qnode: expected gates that a word crosses, got none"),
    "few shots": (
        lambda: of(empty, shots=3, circuits=4),
        "shots: expected 8 or more, 2 for each setting, got 3",
    ),
    "no circuits": (lambda: of(empty, circuits=0), "circuits: expected an integer from 1"),
    "no QNode": (lambda: efl.learn_noise(empty, shots=10), "qnode: expected a PennyLane QNode, got function"),
    "a calibration of other wires": (
        lambda: of(empty, calibration=efl.Calibration.from_bits(np.zeros((50, 1), np.uint8), wires=["a"])),
        "calibration: expected",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(efl.EflError, match=message):
        call()
