"""Gradients on noisy simulators: with noise, calibrations, audits. Seeds are fixed.

A limit of 4.5 standard errors has a false-alarm rate of 7e-6 for a derivative, below 1e-3 for a test of 100.
"""

import warnings

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl
from efl_core.pennylane import noise_model

LIMIT = 4.5
SHOTS = 400_000
TABLE = efl.Noise(one_qubit=0.004, two_qubit=0.03)


@qml.transform
def read_badly(tape, rates):
    """Amplitude damping before the readout: 1 is read as 0 more often than 0 as 1."""
    extra = [qml.AmplitudeDamping(rate, wire) for wire, rate in enumerate(rates)]
    return [tape.copy(operations=[*tape.operations, *extra])], lambda results: results[0]


@qml.transform
def read_together(tape, rate):
    """A common flip of the first two wires before the readout."""
    kraus = [np.sqrt(1 - rate) * np.eye(4), np.sqrt(rate) * np.fliplr(np.eye(4))]
    error = qml.QubitChannel(kraus, wires=[0, 1])
    return [tape.copy(operations=[*tape.operations, error])], lambda results: results[0]


def flipped(wires, rate):
    """A device that reads each bit wrongly with a probability."""
    errors = {qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.BitFlip(rate, w) for w in mp.wires]}
    device = qml.device("default.mixed", wires=wires, seed=1)
    return qml.add_noise(device, qml.NoiseModel({}, meas_map=errors))


def layered(theta):
    """Three qubits, two layers: 12 angles."""
    angles = iter(theta)
    for _ in range(2):
        for q in range(3):
            qml.RY(next(angles), q)
            qml.RZ(next(angles), q)
        qml.CNOT([0, 1])
        qml.CNOT([1, 2])


THETA = np.random.default_rng(4).uniform(-2, 2, 12)
OBSERVABLE = qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(2)


def model(device, **options):
    @qml.qnode(device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": SHOTS, "seed": 3, **options})
    def value(theta):
        layered(theta)
        return qml.expval(OBSERVABLE)

    return value


def exact(noise):
    @qml.qnode(qml.device("default.mixed", wires=3), diff_method="parameter-shift")
    def value(theta):
        layered(theta)
        return qml.expval(OBSERVABLE)

    noisy = value if noise is None else qml.add_noise(value, noise)
    return qml.grad(noisy)(pnp.array(THETA, requires_grad=True))


def mixed(noise=None):
    device = qml.device("default.mixed", wires=3, seed=11)
    return device if noise is None else qml.add_noise(device, noise)


def measured(device, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"method '[a-z-]+' needs")  # it is asked for all the same
        gradient = qml.grad(model(device, **options))(pnp.array(THETA, requires_grad=True))
    report = efl.shadow_grad.last_report()
    np.testing.assert_array_equal(gradient, report.gradient[0])
    return gradient, report.stderr[0], report


def scores(found, expected):
    gradient, stderr, _ = found
    live = stderr > 0
    np.testing.assert_allclose(gradient[~live], expected[~live], atol=1e-9)
    return (gradient - expected)[live] / stderr[live]


@pytest.mark.parametrize("method", ["auto", "product", "clifford", "mixture", "shift-pruned", "uniform"])
def test_the_gradient_of_the_noisy_value_has_no_bias(method):
    noise = noise_model(TABLE)
    found = measured(mixed(noise), noise=TABLE, method=method)
    assert np.abs(scores(found, exact(noise))).max() < LIMIT


def test_without_the_noise_settings_are_biased():
    """So the test above shows something."""
    noise = noise_model(efl.Noise(two_qubit=0.3))
    found = measured(mixed(noise), method="product", shots=4 * SHOTS)
    assert np.abs(scores(found, exact(noise))).max() > 1.5 * LIMIT


def test_a_model_of_pennylane_is_taken():
    """Also one with errors that are no Pauli errors."""
    noise = qml.NoiseModel(
        {qml.noise.op_eq(qml.CNOT): lambda op, **_: [qml.AmplitudeDamping(0.05, w) for w in op.wires]}
    )
    found = measured(mixed(noise), noise=noise, method="mixture")
    assert np.abs(scores(found, exact(noise))).max() < LIMIT


def test_the_gradient_without_noise_is_measured_on_the_noisy_device():
    noise = noise_model(TABLE)
    found = measured(mixed(noise), noise=TABLE, mitigate=True)
    z = scores(found, exact(None))
    assert np.abs(z).max() < LIMIT
    assert np.abs(scores(found, exact(noise))).max() > LIMIT
    assert 0.9 < found[2].observed / found[2].predicted < 1.1


def test_without_noise_gates_before_the_trained_ones_count_too():
    """Their noise is left out as well: what was planned at one angle of theirs is not taken at another."""
    table, theta = efl.Noise(one_qubit=0.1), pnp.array([0.4], requires_grad=True)
    device = qml.add_noise(qml.device("default.mixed", wires=1, seed=5), noise_model(table))
    for angle in (0.3, 2.1):

        @qml.qnode(
            device,
            diff_method=efl.shadow_grad,
            gradient_kwargs={"shots": SHOTS, "seed": 3, "noise": table, "mitigate": True},
        )
        def value(x, angle=angle):
            qml.RX(angle, 0)
            qml.RZ(x[0], 0)
            qml.RX(0.7, 0)
            return qml.expval(qml.Z(0))

        found, stderr = qml.grad(value)(theta), efl.shadow_grad.last_report().stderr[0]
        wanted = np.sin(angle) * np.sin(0.7) * np.sin(0.4)
        assert np.abs(found[0] - wanted) < LIMIT * stderr[0], (angle, found, wanted)


@pytest.mark.parametrize("method", ["auto", "mixture", "shift-pruned", "shift"])
def test_channels_after_trained_gates_are_run(method):
    """What a user writes between trained gates, and what `qml.add_noise` writes there."""

    def noisy(t):
        qml.RY(t[0], 0)
        qml.RY(t[1], 1)
        qml.CNOT([0, 1])
        qml.DepolarizingChannel(0.05, wires=1)
        qml.RX(t[2], 1)
        qml.RY(t[3], 0)
        qml.AmplitudeDamping(0.1, wires=0)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    theta = pnp.array([0.3, 0.7, -0.4, 1.1], requires_grad=True)
    device = qml.device("default.mixed", wires=2, seed=5)
    options = {"shots": 200_000, "seed": 2, "method": method}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"method '[a-z-]+' needs")
        found = qml.grad(qml.QNode(noisy, device, diff_method=efl.shadow_grad, gradient_kwargs=options))(
            theta
        )
    stderr = efl.shadow_grad.last_report().stderr[0]
    expected = qml.grad(qml.QNode(noisy, device, diff_method="parameter-shift"))(theta)
    assert (np.abs(found - expected) < LIMIT * np.maximum(stderr, 1e-12)).all()


def test_the_fleet_device_takes_channels_and_noise():
    noise = noise_model(TABLE)
    device = qml.device("efl.fleet", mixed(noise), shots=SHOTS, seed=7, noise=TABLE)

    @qml.qnode(device)
    def value(theta):
        layered(theta)
        return qml.expval(OBSERVABLE)

    gradient = qml.grad(value)(pnp.array(THETA, requires_grad=True))
    report = efl.shadow_grad.last_report()
    expected = exact(noise)
    assert np.abs((gradient - expected) / np.maximum(report.stderr[0], 1e-9)).max() < LIMIT

    @qml.qnode(qml.device("default.mixed", wires=3))
    def answer(theta):
        layered(theta)
        return qml.expval(OBSERVABLE)

    noisy = qml.add_noise(answer, noise)(THETA)
    assert abs(report.value[0] - noisy) < LIMIT * report.value_stderr[0]


READOUTS = {
    "flips": lambda: flipped(3, 0.03),
    "amplitude damping": lambda: read_badly(mixed(), rates=[0.1, 0.05, 0.08]),
    "correlated": lambda: read_together(mixed(), rate=0.15),
}


@pytest.mark.parametrize("readout", READOUTS)
@pytest.mark.parametrize("method", ["product", "clifford", "shift-pruned", "uniform"])
def test_a_calibrated_readout_has_no_bias(readout, method):
    device = READOUTS[readout]()
    calibration = efl.calibrate(device, shots=400_000, seed=1)
    found = measured(device, calibration=calibration, method=method)
    assert np.abs(scores(found, exact(None))).max() < LIMIT
    if (readout, method) == ("correlated", "shift-pruned"):
        return  # which reads the observable's own words, and a common flip leaves those as they are
    plain = measured(device, method=method)
    assert np.abs(scores(plain, exact(None))).max() > LIMIT


def test_the_bias_without_a_calibration_is_the_predicted_factor():
    """Flips of 3 %: a word of weight w keeps 0.94^w, and the derivative here is one word of weight 1."""
    device = flipped(2, 0.03)

    def value(t):
        qml.RY(t, 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.X(0) @ qml.X(1))

    options = {"shots": 1_000_000, "seed": 1, "method": "product"}
    qnode = qml.QNode(value, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found = qml.grad(qnode)(pnp.array(0.4, requires_grad=True))
    [[stderr]] = efl.shadow_grad.last_report().stderr
    assert abs(found - 0.94 * np.cos(0.4)) < LIMIT * stderr < 0.01


def test_a_small_calibration_lengthens_the_error_bars():
    """With 2,000 shots of calibration the errors of contrasts are most of the error, and are counted."""
    device = flipped(3, 0.05)
    z = []
    for seed in range(12):
        calibration = efl.calibrate(device, shots=2000, seed=seed)
        found = measured(device, calibration=calibration, method="product", seed=seed)
        z.append(scores(found, exact(None)))
    # 12 runs of one common error each: the mean square of z, whose derivatives go together, is within 4 sigma
    # of one for 12 independent numbers (false alarm below 1e-3).
    assert np.mean(np.square(z)) < 1 + 4 * np.sqrt(2 / 12)
    assert np.abs(z).max() < 5
    large = efl.calibrate(device, shots=400_000, seed=1)
    known = measured(device, calibration=large, method="product")
    assert known[2].observed < 0.9 * found[2].observed


def test_noise_and_readout_together():
    noise = noise_model(TABLE)
    device = read_badly(mixed(noise), rates=[0.1, 0.05, 0.08])
    calibration = efl.calibrate(device, shots=400_000, seed=1)
    found = measured(device, noise=TABLE, calibration=calibration)
    assert np.abs(scores(found, exact(noise))).max() < LIMIT


# ---- the audit ------------------------------------------------------------------------------------


def test_an_audit_agrees_with_the_right_model():
    noise = noise_model(TABLE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, _, report = measured(mixed(noise), noise=TABLE, audit=0.3, method="product")
    audit = report.audit
    assert not audit.is_biased
    assert len(audit.places) == 3
    assert report.shots == pytest.approx(SHOTS, rel=0.01)
    assert audit.shots == pytest.approx(0.3 * SHOTS, rel=0.01)
    assert "no bias" in str(audit)


@pytest.mark.parametrize("on_bias", ["warn", "raise", "shift"])
def test_an_audit_finds_a_model_that_is_wrong(on_bias):
    """An over-rotation after each CNOT that nobody knows of."""
    noise = qml.NoiseModel({qml.noise.op_eq(qml.CNOT): lambda op, **_: qml.RX(0.3, wires=op.wires[1])})
    audit = efl.Audit(share=0.4, derivatives=8, on_bias=on_bias)
    options = {"audit": audit, "method": "product"}
    if on_bias == "raise":
        with pytest.raises(efl.BiasError, match="biased"):
            measured(mixed(noise), **options)
        return
    with pytest.warns(UserWarning, match="biased"):
        _, _, report = measured(mixed(noise), **options)
    assert report.audit.is_biased
    size, blur = report.audit.bias
    assert size > 3 * blur > 0
    if on_bias == "shift":
        again = measured(mixed(noise), **options)
        assert again[2].method == "shift"
        assert np.abs(scores(again, exact(noise))).max() < LIMIT


def test_an_audit_of_shifts_is_none():
    report = measured(mixed(), audit=0.2, method="shift")[2]
    assert report.audit is None


# ---- refusals -------------------------------------------------------------------------------------

CALIBRATION = efl.Calibration.from_bits(np.zeros((1000, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("device", "options", "parts"),
    [
        ("default.qubit", {"noise": TABLE}, ["noisy device", "default.qubit"]),
        ("default.qubit", {"calibration": CALIBRATION}, ["noisy device"]),
        ("default.mixed", {"noise": 3}, ["noise", "NoiseModel"]),
        ("default.mixed", {"calibration": 3}, ["calibration", "efl.Calibration"]),
        ("default.mixed", {"mitigate": True}, ["mitigate", "noise="]),
        ("default.mixed", {"noise": TABLE, "mitigate": True, "method": "shift"}, ["method", "noisy value"]),
        ("default.mixed", {"noise": TABLE, "mitigate": True, "audit": 0.1}, ["audit", "mitigate"]),
        ("default.mixed", {"noise": TABLE, "method": "block"}, ["noise", "ensemble"]),
        ("default.mixed", {"audit": 2.0}, ["audit", "share"]),
        ("default.mixed", {"audit": "yes"}, ["audit"]),
        ("default.mixed", {"audit": 0.1, "ensemble": efl.Ensemble.uniform(3)}, ["audit", "ensemble"]),
        ("default.mixed", {"audit": 1e-5, "method": "product"}, ["audit", "share of at least"]),
        ("default.mixed", {"noise": TABLE, "device_options": {"mode": "state"}}, ["tapes"]),
        (
            "default.mixed",
            {"calibration": efl.Calibration.from_bits(np.zeros((10, 3), dtype=np.uint8), wires="abc")},
            ["calibration", "one of the wires"],
        ),
    ],
)
def test_bad_options_are_refused_by_name(device, options, parts):
    with pytest.raises(efl.EflError) as caught:
        measured(qml.device(device, wires=3), **options)
    for part in parts:
        assert part in str(caught.value)


def test_noise_of_settings_that_is_no_pauli_channel_is_refused():
    """What amplitude damping after H makes of a letter is not the letter alone."""
    noise = qml.NoiseModel(
        {qml.noise.op_in([qml.H, "CNOT"]): lambda op, **_: [qml.AmplitudeDamping(0.05, w) for w in op.wires]}
    )
    with pytest.raises(efl.InvalidInputError, match=r"noise: expected Pauli errors .* AmplitudeDamping"):
        measured(mixed(noise), noise=noise, method="product")


def test_a_model_that_replaces_gates_is_refused():
    def before(op, **_):
        qml.PhaseFlip(0.1, op.wires[0])
        qml.apply(op)

    noise = qml.NoiseModel({qml.noise.op_eq(qml.CNOT): before})
    with pytest.raises(efl.InvalidInputError, match="noise: expected operations after"):
        measured(mixed(), noise=noise)


def test_a_calibration_of_too_few_shots_says_how_many():
    device = flipped(2, 0.45)
    with pytest.raises(efl.InvalidInputError, match=r"shots: expected about [\d,]+, which"):
        efl.calibrate(device, shots=200, seed=1)


def test_plans_know_the_noise():
    circuit = efl.circuit(model(mixed()), noise=TABLE)(pnp.array(THETA, requires_grad=True))
    clean, noisy = (
        efl.plan(model(mixed()), noise=n)(pnp.array(THETA, requires_grad=True)) for n in (None, TABLE)
    )
    assert not noisy["echo"].applies
    assert noisy["mixture"].applies
    assert 0.5 < noisy["product"].cost / clean["product"].cost < 1.5
    mitigated = efl.plan(circuit, mitigate=True)
    assert mitigated["product"].cost > noisy["product"].cost
    assert not mitigated["shift"].applies


def short(device, **options):
    """Two qubits and two angles, on a device that relaxes or not."""

    @qml.qnode(device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 20_000, "seed": 3, **options})
    def value(theta):
        qml.RY(theta[0], 0)
        qml.CNOT([0, 1])
        qml.RX(theta[1], 1)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    return value


@pytest.mark.parametrize("twirled", [False, True])
def test_circuits_relax_as_devices_do(twirled):
    noise = efl.Noise(t1=60e-6, t2=50e-6, one_qubit_time=1e-6, two_qubit_time=9e-6, twirled=twirled)
    theta = pnp.array([0.4, 0.7], requires_grad=True)
    plain = qml.QNode(short(qml.device("default.mixed", wires=2)).func, qml.device("default.mixed", wires=2))
    circuit = efl.circuit(plain, noise=noise)(theta)
    expected = qml.add_noise(plain, noise_model(noise))(theta)
    assert efl.propagate(circuit).value == pytest.approx(expected, abs=1e-10)


def test_relaxation_is_read_where_the_device_twirls_and_refused_where_settings_would_not_be_right():
    times = {"t1": 60e-6, "t2": 50e-6, "one_qubit_time": 1e-6, "two_qubit_time": 9e-6}
    theta = pnp.array([0.4, 0.7], requires_grad=True)
    inner = qml.device("default.mixed", wires=2, seed=11)
    noise = efl.Noise(**times, twirled=True)
    qnode = short(qml.add_noise(inner, noise_model(noise)), noise=noise)
    found = qml.grad(qnode)(theta)
    errors = efl.shadow_grad.last_report().stderr[0]
    exact = efl.propagate(efl.circuit(qnode, noise=noise)(theta)).gradient
    assert np.all(np.abs(found - exact) < LIMIT * errors + 1e-12)
    plain = efl.Noise(**times)
    with pytest.raises(efl.InvalidInputError, match=r"say twirled=True"):
        qml.grad(short(qml.add_noise(inner, noise_model(plain)), noise=plain, shots=1_000))(theta)


def test_errors_of_readouts_ask_for_a_calibration():
    both = qml.NoiseModel(
        {qml.noise.op_in([qml.CNOT]): lambda op, **_: qml.DepolarizingChannel(0.1, op.wires[0])},
        meas_map={qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.BitFlip(0.02, w) for w in mp.wires]},
    )
    theta = pnp.array([0.4, 0.7], requires_grad=True)
    qnode = short(qml.device("default.mixed", wires=2), noise=both)
    with pytest.raises(efl.InvalidInputError, match=r"^calibration: expected one"):
        qml.grad(qnode)(theta)
    values = [
        efl.propagate(efl.circuit(qnode, noise=own)(theta)).value
        for own in (both, qml.NoiseModel(both.model_map))
    ]
    assert values[0] == values[1]
