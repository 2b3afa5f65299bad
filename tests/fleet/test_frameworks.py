"""Replicas inside models of torch and JAX: the backward pass is the feedback."""

import difflib
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick

import efl_core as efl
from efl_core.fleet import Learner, Replica

HERE = Path(__file__).parent
X = np.random.default_rng(3).uniform(-1, 1, (12, 3))


def made(outputs="many", **options):
    circuit = brick(3, 1, outputs=outputs)
    learner = Learner(circuit, inputs=X[0], seed=1, **{"shots": 16, "loss": "squared", **options})
    return circuit, learner, Replica(circuit, learner, seed=2)


def test_a_layer_of_torch_hands_in_its_gradients():
    torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
    circuit, learner, replica = made()
    twin = Replica(circuit, Learner(circuit, inputs=X[0], seed=1, shots=16, loss="squared"), seed=2)
    head = torch.nn.Linear(5, 1)
    outputs = replica.layer(torch.as_tensor(X, dtype=torch.float32))
    expected = twin.answers(X)
    assert outputs.shape == (12, 5)
    assert outputs.dtype == torch.float32
    assert outputs.detach().numpy() == pytest.approx(expected.value, abs=1e-6)
    torch.tanh(head(outputs)).square().sum().backward()
    assert head.weight.grad is not None
    assert learner.counts["taught"] == 12

    copy = torch.as_tensor(expected.value, dtype=torch.float32).requires_grad_()
    torch.tanh(head(copy)).square().sum().backward()
    twin.feedback(expected.tickets, gradient=copy.grad)
    assert twin._link._learner.gradient().value == pytest.approx(learner.gradient().value, abs=1e-6)
    replica.close()
    twin.close()


def test_a_row_is_one_query_and_one_output_has_no_axis():
    torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
    _, learner, replica = made("word")
    one = replica.layer(torch.as_tensor(X[0]))
    assert one.shape == ()
    one.backward()
    several = replica.layer(torch.as_tensor(X))
    assert several.shape == (12,)
    several.sum().backward()
    assert learner.counts["taught"] == 13
    replica.close()


def test_late_labels_are_recalled():
    torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
    _, learner, replica = made()
    answers = replica.answers(X)
    features = replica.recall(answers.tickets)
    assert features.detach().numpy() == pytest.approx(answers.value, abs=1e-6)
    torch.nn.Linear(5, 1)(features).sum().backward()
    assert learner.counts["taught"] == 12
    with pytest.raises(efl.InvalidInputError, match=r"^ticket: expected one of a query that waits"):
        replica.recall(answers.tickets[0])
    replica.close()


def test_inputs_that_want_gradients_are_refused():
    torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
    _, _, replica = made()
    with pytest.raises(efl.InvalidInputError, match=r"^inputs: expected data"):
        replica.layer(torch.as_tensor(X).requires_grad_())
    with pytest.raises(
        efl.InvalidInputError, match=r"^inputs: expected a tensor of torch or an array of JAX"
    ):
        replica.layer(X)
    replica.close()


@pytest.mark.parametrize("jitted", [False, True])
def test_a_layer_of_jax_hands_in_its_gradients(jitted):
    jax = pytest.importorskip("jax")
    _, learner, replica = made()

    def loss(weights, x):
        return (replica.layer(x) @ weights).sum()

    grad = jax.grad(loss, argnums=(0, 1))
    found, by_inputs = (jax.jit(grad) if jitted else grad)(
        np.arange(5.0, dtype=np.float32), jax.numpy.asarray(X)
    )
    jax.effects_barrier()
    assert learner.counts["taught"] == 12
    assert (np.asarray(by_inputs) == 0).all()
    means = [
        [efl.propagate(brick(3, 1).at(brick(3, 1).parameters, x), o).value for o in outputs()] for x in X
    ]
    assert np.asarray(found) == pytest.approx(np.sum(means, axis=0), abs=6 * np.sqrt(12 / 12))
    replica.close()


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize("kind", ["many", "word"])
def test_late_labels_are_recalled_in_jax(kind, jitted):
    jax = pytest.importorskip("jax")
    _, learner, replica = made(kind)
    twin = Replica(*made(kind)[:2], seed=2)
    answers, same = replica.answers(X), twin.answers(X)

    def loss(weights):
        features = replica.recall(answers.tickets, through=weights)
        return jax.numpy.tanh(features.reshape(12, -1) @ weights["w"] + weights["b"]).sum()

    weights = {"w": np.linspace(-1, 1, np.size(answers.value) // 12, dtype=np.float32), "b": np.float32(0.1)}
    found = (jax.jit(jax.grad(loss)) if jitted else jax.grad(loss))(weights)
    jax.effects_barrier()
    features = np.reshape(answers.value, (12, -1))
    slopes = 1 - np.tanh(features @ weights["w"] + weights["b"]) ** 2
    assert np.asarray(found["w"]) == pytest.approx(slopes @ features, abs=1e-4)
    assert float(found["b"]) == pytest.approx(slopes.sum(), abs=1e-4)
    twin.feedback(same.tickets, gradient=slopes[:, None] * weights["w"])
    assert learner.counts["taught"] == 12
    assert learner.gradient().value == pytest.approx(twin._link._learner.gradient().value, abs=1e-5)
    with pytest.raises(efl.InvalidInputError, match=r"^ticket: expected one of a query that waits"):
        replica.recall(answers.tickets[0], through=weights)
    replica.close()
    twin.close()


def test_one_late_label_is_recalled_in_jax():
    jax = pytest.importorskip("jax")
    _, learner, replica = made("word")
    answer = replica.answer(X[0])
    value, slope = jax.value_and_grad(lambda w: w * replica.recall(answer.ticket, through=w))(2.0)
    jax.effects_barrier()
    assert value == pytest.approx(2 * answer.value, abs=1e-6)
    assert slope == pytest.approx(answer.value, abs=1e-6)
    assert learner.counts["taught"] == 1
    replica.close()


def outputs():
    return brick(3, 1, outputs="many").observables


def load(name):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_service_gets_it_with_six_changed_lines():
    """The diff of two services, without imports and empty lines; and the changed one learns its task.

    Its labels say whether the first two inputs have one sign, which the head alone cannot tell of features
    at the start; the loss of the last 10 batches is below that of the first 10 (5 seeds tried).
    """
    torch = pytest.importorskip("torch", reason="needs torch: make test-torch")
    before, after = (
        [line for line in (HERE / f"{name}.py").read_text().splitlines()[1:] if line.strip()]
        for name in ("service_before", "service_after")
    )
    changed = [line for line in difflib.ndiff(before, after) if line.startswith("+ ")]
    assert len(changed) <= 6, changed
    torch.manual_seed(0)
    service, random = load("service_after"), np.random.default_rng(1)
    losses = []
    for _ in range(40):
        x = torch.as_tensor(random.uniform(-1.5, 1.5, (32, 4)))
        labels = (x[:, 0] * x[:, 1] > 0).float()
        losses.append(service.learn(service.answer(x), labels))
    assert service.learner.version.number == 41
    assert service.learner.counts["taught"] == 40 * 32
    assert service.learner.counts["unknown_or_used"] == 0
    assert np.mean(losses[-10:]) < np.mean(losses[:10])
    service.replica.close()


def test_torch_is_not_imported_for_nothing():
    done = subprocess.run(
        [sys.executable, "-c", "import efl_core.fleet, sys; print({'torch'} & set(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"
