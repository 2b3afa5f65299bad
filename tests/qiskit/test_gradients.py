"""Gradients through Qiskit's primitives: right, calibrated, in one job, and wherever Qiskit takes a gradient.

A comparison is within five standard errors: with some 600 of them at 6e-7 each, a change of the draws fails
by chance once in 3,000.
"""

import numpy as np
import pytest

pytest.importorskip("qiskit", reason="`make test-qiskit` installs it")

from qiskit import QuantumCircuit, generate_preset_pass_manager
from qiskit.circuit import Parameter
from qiskit.circuit.library import real_amplitudes, zz_feature_map
from qiskit.primitives import StatevectorEstimator, StatevectorSampler
from qiskit.quantum_info import SparsePauliOp
from tests.qiskit.circuits import models

import efl_core as efl
from efl_core.qiskit import ShadowEstimatorGradient
from efl_core.qiskit.submission import rounded

pytestmark = pytest.mark.filterwarnings("ignore")  # those of Qiskit
SIGMAS = 5
MODELS = models()
METHODS = ["auto", "product", "clifford", "echo", "mixture", "shift-pruned", "shift"]


class Counted(StatevectorSampler):
    """Counts jobs, and keeps what each was handed."""

    def __init__(self):
        super().__init__(seed=3)
        self.jobs = []

    def run(self, pubs, *, shots=None):
        self.jobs.append(list(pubs))
        return super().run(pubs, shots=shots)

    @property
    def circuits(self):
        return {id(pub[0]) for pub in self.jobs[-1]}


def assert_close(found, exact, stderr):
    found, exact, stderr = map(np.asarray, (found, exact, stderr))
    assert np.all(np.abs(found - exact) <= SIGMAS * stderr + 1e-7), (found - exact) / stderr


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", MODELS)
def test_every_circuit_by_every_method(name, method):
    model, sampler = MODELS[name], Counted()
    gradient = ShadowEstimatorGradient(sampler, shots=20_000, method=method, values=True, seed=1)
    found = gradient.run([model.circuit], [model.observable], [model.values]).result()
    assert_close(found.gradients[0], model.gradient(), found.stderrs[0])
    assert_close(found.values, [model.value()], found.value_stderrs)
    assert len(sampler.jobs) == 1
    assert found.shots == found.metadata[0]["shots"] == 20_000
    assert found.metadata[0]["parameters"] == list(model.circuit.parameters)
    if method != "auto":
        assert found.metadata[0]["method"] == method


def test_error_bars_are_calibrated():
    """The mean of z^2 over 60 seeds is 1 within four of its standard deviations: once in 15,000 by chance."""
    model = MODELS["all_kinds"]
    exact, z = model.gradient(), []
    for seed in range(60):
        gradient = ShadowEstimatorGradient(StatevectorSampler(seed=seed), shots=2_000, seed=seed)
        found = gradient.run(model.circuit, model.observable, [model.values]).result()
        z.append((found.gradients[0] - exact) / found.stderrs[0])
    z = np.array(z)
    assert np.all(np.abs(z.mean(axis=0)) < 4.5 / np.sqrt(60))
    assert abs(np.mean(z**2, axis=1).mean() - 1) < 4 * np.mean(z**2, axis=1).std() / np.sqrt(60) + 0.05


def test_precision_is_the_error_of_the_derivatives():
    model = MODELS["efficient_su2"]
    gradient = ShadowEstimatorGradient(StatevectorSampler(seed=1), precision=0.02, seed=1)
    found = gradient.run([model.circuit], [model.observable], [model.values]).result()
    moving = found.stderrs[0] > 0
    assert np.sqrt(np.mean(found.stderrs[0][moving] ** 2)) == pytest.approx(0.02, rel=0.25)
    assert found.precision == gradient.precision == 0.02

    gradient.precision = 0.05
    fewer = gradient.run([model.circuit], [model.observable], [model.values]).result()
    assert fewer.shots < found.shots / 5
    each = gradient.run(
        [model.circuit] * 2, [model.observable] * 2, [model.values] * 2, precision=[0.02, 0.1]
    )
    assert each.result().precision == [0.02, 0.1]
    assert each.result().metadata[0]["shots"] == found.shots > 20 * each.result().metadata[1]["shots"]
    assert gradient.run([model.circuit], [model.observable], [model.values], shots=500).result().shots == 500


def test_a_gradient_is_one_job_of_few_circuits():
    model, sampler = MODELS["efficient_su2"], Counted()
    gradient = ShadowEstimatorGradient(sampler, shots=10_000, connectivity="none", method="product", seed=1)
    found = gradient.run([model.circuit], [model.observable], [model.values]).result()
    assert found.metadata[0]["settings"] > 10
    assert len(sampler.circuits) == 1  # every product setting is a value of its parameters
    shifted = ShadowEstimatorGradient(sampler, shots=10_000, method="shift", seed=1)
    shifted.run([model.circuit], [model.observable], [model.values]).result()
    assert len(sampler.circuits) <= 2
    assert len(sampler.jobs) == 2


def test_steps_reuse_plans_and_transpiled_circuits():
    model, made = MODELS["features"], []

    class Manager:
        def run(self, circuit):
            made.append(circuit)
            return circuit

    sampler = Counted()
    gradient = ShadowEstimatorGradient(sampler, shots=4_000, method="echo", seed=1, pass_manager=Manager())
    rng = np.random.default_rng(0)
    for step in range(4):
        values = rng.uniform(-1, 1, len(model.values))
        gradient.run([model.circuit], [model.observable], [values]).result()
        if step == 0:
            first = len(made)
    assert len(made) == first > 0
    assert gradient._planner._plan.cache_info().misses == 1


def test_observables_at_the_same_values_share_shots():
    model, sampler = MODELS["efficient_su2"], Counted()
    others = [model.observable, SparsePauliOp("ZZZ"), SparsePauliOp("IIZ")]
    gradient = ShadowEstimatorGradient(sampler, shots=20_000, seed=1, values=True)
    found = gradient.run([model.circuit] * 3, others, [model.values] * 3).result()
    assert found.shots == 20_000
    for i, observable in enumerate(others):
        own = model._replace(observable=observable)
        assert_close(found.gradients[i], own.gradient(), found.stderrs[i])
        assert_close(found.values[i], own.value(), found.value_stderrs[i])


def test_parameters_in_any_order():
    model = MODELS["all_kinds"]
    p = list(model.circuit.parameters)
    asked = [[p[2], p[0]], None, [p[3]]]
    gradient = ShadowEstimatorGradient(StatevectorSampler(seed=1), shots=20_000, seed=1)
    found = gradient.run([model.circuit] * 3, [model.observable] * 3, [model.values] * 3, asked).result()
    exact = model.gradient()
    for own, error, which in zip(found.gradients, found.stderrs, ([2, 0], range(6), [3]), strict=True):
        assert_close(own, exact[list(which)], error)


def test_what_does_not_move_is_not_measured():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1, global_phase=b)
    circuit.rz(a, 0)
    sampler = Counted()
    job = ShadowEstimatorGradient(sampler, shots=100).run(circuit, SparsePauliOp("Z"), [[0.3, 0.4]])
    found = job.result()
    assert (found.gradients[0].tolist(), found.stderrs[0].tolist(), found.shots) == ([0, 0], [0, 0], 0)
    assert sampler.jobs == []
    assert job.done()
    assert job.in_final_state()
    values = ShadowEstimatorGradient(sampler, shots=100, values=True)
    identity = values.run(circuit, SparsePauliOp("I", 2.0), [[0.3, 0.4]]).result()
    assert (identity.values, identity.value_stderrs) == ([2.0], [0.0])
    assert values.run(circuit, SparsePauliOp("Z"), [[0.3, 0.4]]).result().values == [1.0]


def test_a_transpiler_may_remove_parameters():
    """The gate before the measurement of Z changes nothing, and is gone with its parameter."""
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(2)
    circuit.ry(a, 0)
    circuit.cx(0, 1)
    circuit.rz(b, 1)
    manager = generate_preset_pass_manager(optimization_level=2, basis_gates=["rz", "sx", "cx"])
    gradient = ShadowEstimatorGradient(Counted(), shots=4_000, pass_manager=manager, method="shift", seed=1)
    found = gradient.run([circuit], [SparsePauliOp("ZI")], [[0.4, 0.7]]).result()
    assert_close(found.gradients[0], [-np.sin(0.4), 0.0], found.stderrs[0])


def test_other_samplers():
    pytest.importorskip("qiskit_aer", reason="`make test-qiskit` installs it")
    pytest.importorskip("qiskit_ibm_runtime", reason="`make test-qiskit` installs it")
    from qiskit_aer import AerSimulator
    from qiskit_aer.primitives import SamplerV2 as AerSampler
    from qiskit_ibm_runtime import SamplerV2 as RuntimeSampler

    model, backend = MODELS["all_kinds"], AerSimulator(seed_simulator=5)
    manager = generate_preset_pass_manager(optimization_level=1, backend=backend, seed_transpiler=1)
    samplers = [(AerSampler(seed=2), manager), (RuntimeSampler(mode=backend), manager)]
    for sampler, transpiler in samplers:
        for method in ("auto", "product", "echo", "shift-pruned"):
            gradient = ShadowEstimatorGradient(
                sampler, shots=20_000, method=method, seed=1, pass_manager=transpiler
            )
            found = gradient.run([model.circuit], [model.observable], [model.values]).result()
            assert_close(found.gradients[0], model.gradient(), found.stderrs[0])


@pytest.mark.parametrize("input_gradients", [False, True])
def test_estimator_qnn(input_gradients):
    pytest.importorskip("qiskit_machine_learning", reason="`make test-qiskit` installs it")
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    circuit = features.compose(ansatz)
    observables = [SparsePauliOp("ZI"), SparsePauliOp(["XX", "IZ"], [1.0, 0.5])]
    rng = np.random.default_rng(0)
    inputs, weights = rng.uniform(-1, 1, (4, 2)), rng.uniform(-1, 1, 4)
    sampler = Counted()

    def network(gradient):
        return EstimatorQNN(
            circuit=circuit,
            estimator=StatevectorEstimator(),
            observables=observables,
            input_params=features.parameters,
            weight_params=ansatz.parameters,
            gradient=gradient,
            input_gradients=input_gradients,
        )

    gradient = ShadowEstimatorGradient(sampler, shots=100_000, seed=1)
    found, exact = network(gradient).backward(inputs, weights), network(None).backward(inputs, weights)
    assert len(sampler.jobs) == 1  # of four inputs and two outputs
    np.testing.assert_allclose(found[1], exact[1], atol=0.05)
    if input_gradients:
        np.testing.assert_allclose(found[0], exact[0], atol=0.15)  # derivatives up to five


def test_torch_connector():
    torch = pytest.importorskip("torch", reason="`make test-torch` installs it")
    pytest.importorskip("qiskit_machine_learning", reason="`make test-qiskit` installs it")
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    features, ansatz = zz_feature_map(2, reps=1), real_amplitudes(2, reps=1)
    network = EstimatorQNN(
        circuit=features.compose(ansatz),
        estimator=StatevectorEstimator(),
        input_params=features.parameters,
        weight_params=ansatz.parameters,
        gradient=ShadowEstimatorGradient(StatevectorSampler(seed=1), shots=50_000, seed=1),
    )
    weights = np.array([0.1, 0.5, -0.3, 0.8])
    model = TorchConnector(network, initial_weights=weights)
    inputs = torch.tensor([[0.2, 0.7], [-0.4, 0.1]], dtype=torch.float64)
    model(inputs).sum().backward()
    network.gradient = ParamShiftEstimatorGradient(StatevectorEstimator())
    exact = network.backward(inputs.numpy(), weights)[1].sum(axis=(0, 1))
    np.testing.assert_allclose(model.weight.grad.numpy(), exact, atol=0.05)


def test_vqe():
    pytest.importorskip("qiskit_algorithms", reason="`make test-qiskit` installs it")
    from qiskit_algorithms import VQE
    from qiskit_algorithms.optimizers import GradientDescent

    energy = SparsePauliOp(["ZZ", "XI", "IX"], [1.0, 0.6, 0.6])
    found = VQE(
        StatevectorEstimator(seed=1),
        real_amplitudes(2, reps=1),
        GradientDescent(maxiter=40, learning_rate=0.2),
        gradient=ShadowEstimatorGradient(StatevectorSampler(seed=1), shots=2_000, seed=1),
        initial_point=[0.1, -0.4, 0.5, 0.3],
    ).compute_minimum_eigenvalue(energy)
    assert found.eigenvalue.real == pytest.approx(np.linalg.eigvalsh(energy.to_matrix())[0], abs=0.05)


def test_shots_are_rounded_to_few_numbers():
    counts = np.random.default_rng(0).integers(1, 3_000, 200).tolist()
    found = rounded(counts)
    assert sum(found) == sum(counts)
    assert all(one >= 0.7 * own for one, own in zip(found, counts, strict=True))
    assert len(set(found)) < 26
    assert rounded([]) == []
    assert rounded([1, 1, 7]) == [1, 1, 7]


def run(gradient=None, circuits=None, observables=None, values=None, parameters=None, **options):
    model = MODELS["evolutions"]
    gradient = (
        ShadowEstimatorGradient(StatevectorSampler(seed=1), shots=500) if gradient is None else gradient
    )
    return gradient.run(
        [model.circuit] if circuits is None else circuits,
        [model.observable] if observables is None else observables,
        [model.values] if values is None else values,
        parameters,
        **options,
    )


PLAIN = QuantumCircuit(3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"circuits": [PLAIN]}, r"circuits\[0\]: expected a circuit with parameters, got one without"),
        ({"circuits": ["x"]}, r"circuits\[0\]: expected a QuantumCircuit, got str 'x'"),
        ({"observables": [SparsePauliOp("Z")]}, r"observables\[0\]: expected one on the 3 qubits"),
        ({"observables": []}, "observables: expected 1, one for each circuit, got 0"),
        ({"values": [[0.1]]}, r"parameter_values\[0\]: expected 3 values, got shape \(1,\)"),
        ({"values": [[0.1, 0.2, np.inf]]}, r"parameter_values\[0\]: expected finite real numbers"),
        ({"values": [[1, 2, 3]] * 2}, "parameter_values: expected 1, one for each circuit, got 2"),
        ({"parameters": [[Parameter("z")]]}, r"parameters\[0\]: expected parameters of the circuit"),
        ({"parameters": [None, None]}, "parameters: expected 1, one for each circuit, got 2"),
        ({"precision": 0.1, "shots": 10}, "shots: expected none beside a precision, got 10"),
        ({"precision": -0.1}, "precision: expected a number above zero, got -0.1"),
        ({"precision": [0.1, 0.2]}, "precision: expected 1, one for each circuit, got 2"),
        ({"shots": 2}, r"shots: expected at least \d+, one for every circuit and setting, got 2"),
        ({"precision": 1e-6}, "precision: expected at most 2,147,483,648 bits in one job"),
    ],
)
def test_refused_runs(given, message):
    with pytest.raises(efl.EflError, match=message):
        run(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": StatevectorEstimator()}, "sampler: expected a BaseSamplerV2, got StatevectorEstimator"),
        ({"method": "best"}, "method: expected 'auto' or one of uniform, "),
        ({"pass_manager": 3}, r"pass_manager: expected something with run\(circuit\), got int 3"),
        ({"shots": 0}, "shots: expected an integer from 1 to"),
        ({"connectivity": "ring"}, "connectivity"),
        ({"seed": -1}, "seed: expected an integer from 0"),
    ],
)
def test_refused_options(options, message):
    with pytest.raises(efl.EflError, match=message):
        ShadowEstimatorGradient(**{"sampler": StatevectorSampler(), **options})


def test_a_method_that_draws_settings_is_refused():
    gradient = ShadowEstimatorGradient(StatevectorSampler(), shots=500, method="uniform")
    with pytest.raises(efl.InvalidInputError, match="method: expected one that has a list of settings"):
        run(gradient)
