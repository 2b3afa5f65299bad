"""A gradient on a noisy device: biased without a word about the noise, right with it, and audited.

A simulator of density matrices has depolarising errors after its gates and a readout that confuses 1 with 0.
The exact gradient of what it gives, readout apart, is the reference.

    python examples/noisy.py [--shots 400000]
"""

import argparse
import warnings

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import efl_core as efl
from efl_core.pennylane import noise_model

NOISE = efl.Noise(one_qubit=0.002, two_qubit=0.04)
MISREAD = 0.06
# Standard errors that 12 derivatives without a bias stay within, but for one run in ten thousand.
LIMIT = 4.5


def gates(theta):
    angles = iter(theta)
    for _ in range(2):
        for q in range(3):
            qml.RY(next(angles), q)
            qml.RZ(next(angles), q)
        qml.CNOT([0, 1])
        qml.CNOT([1, 2])


def model(theta):
    gates(theta)
    return qml.expval(qml.Z(0) @ qml.Z(1) + qml.X(2))


def noisy_device():
    """Gates that err, and 1 read as 0 in some of the shots."""
    misread = {
        qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.AmplitudeDamping(MISREAD, w) for w in mp.wires]
    }
    device = qml.add_noise(qml.device("default.mixed", wires=3, seed=5), qml.NoiseModel({}, meas_map=misread))
    return qml.add_noise(device, noise_model(NOISE))


def measured(theta, device, **options):
    """The gradient, and how far it is off in standard errors."""
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs={"seed": 1, **options})
    gradient = qml.grad(qnode)(theta)
    return gradient, efl.shadow_grad.last_report()


def main(shots=400_000):
    """Return how far both gradients are off, in standard errors of the derivative that is off the most."""
    theta = pnp.array(np.random.default_rng(3).uniform(-2, 2, 12), requires_grad=True)
    exact = qml.grad(
        qml.add_noise(qml.QNode(model, qml.device("default.mixed", wires=3)), noise_model(NOISE))
    )(theta)
    device = noisy_device()
    calibration = efl.calibrate(device, shots=shots, seed=1)
    print(calibration)
    worst = {}
    for name, options in {
        "as if there were no noise": {},
        "with noise and calibration": {"noise": NOISE, "calibration": calibration, "audit": 0.2},
    }.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gradient, report = measured(theta, device, shots=shots, **options)
        live = report.stderr[0] > 0
        z = np.abs(gradient - exact)[live] / report.stderr[0][live]
        worst[name] = z.max()
        print(
            f"{name:28} {report.method:10} RMS error {np.sqrt(np.mean((gradient - exact) ** 2)):.4f}, ",
            end="",
        )
        print(f"RMS standard error {report.observed:.4f}, worst {z.max():.1f} standard errors")
        if report.audit is not None:
            print(report.audit)
    plain, known = worst.values()
    return plain, known


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shots", type=int, default=400_000)
    BIASED, RIGHT = main(parser.parse_args().shots)
    if RIGHT > LIMIT or BIASED < LIMIT:
        raise SystemExit(f"expected at most {LIMIT} standard errors with the noise said, and more without")
