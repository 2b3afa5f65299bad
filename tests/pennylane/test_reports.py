"""What a report counts, and what it holds on to."""

from itertools import product

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.pennylane.models import entangler, exact, layers, stacked, trainable

import efl_core as efl
from efl_core.pennylane import reports
from efl_core.pennylane.caches import Cache

THETA = trainable(np.random.default_rng(1).uniform(-1, 1, (2, 3)))
SHOTS = 20_000
ALL = ["".join(letters) for letters in product("XYZ", repeat=3)]


def measured(device="default.qubit", model=entangler, theta=THETA, **options):
    found = []
    qnode = qml.QNode(model, qml.device(device, wires=3), diff_method=efl.shadow_grad)
    qnode = qnode.update(gradient_kwargs={"shots": SHOTS, "seed": 2, "report": found, **options})
    qml.jacobian(stacked(qnode))(theta)
    return found[0]


@pytest.mark.parametrize("method", ["auto", "product", "uniform"])
@pytest.mark.filterwarnings("ignore:method .* needs")
def test_settings_are_counted_however_they_reach_the_device(method):
    """A setting that is cut into several tapes is one; settings that are drawn are counted after the fact."""
    states = measured(method=method)
    tapes = measured(method=method, device_options={"mode": "tapes"})
    assert states.settings == tapes.settings == tapes.tapes
    equal = measured(method=method, device_options={"mode": "tapes", "equal_shots": True})
    assert equal.tapes > equal.settings or method == "uniform"
    assert equal.settings <= states.settings


def test_uniform_letters_are_all_there():
    assert measured(ensemble=efl.Ensemble.uniform(3)).settings == 27


@pytest.mark.parametrize("shots", [1_000, 100_000])
@pytest.mark.parametrize("method", ["auto", "product", "echo", "uniform"])
@pytest.mark.filterwarnings("ignore:method .* needs")
def test_a_report_holds_counts(shots, method):
    """With more shots than there are outcomes a list of settings takes no more memory."""
    report = measured(method=method, shots=shots)
    assert np.allclose(report.stderr_of(np.eye(6)), report.stderr, rtol=1e-9)
    if method != "uniform":
        [[found]] = report._measured.copies
        assert found.nbytes <= 200 * len(found.outcomes)  # of eight outcomes each
    else:  # three bits for each qubit, and not a byte
        assert report._measured.nbytes < 9 * shots / 8 + 1_000


def test_what_is_too_much_is_not_kept(monkeypatch):
    monkeypatch.setattr(reports, "MOST_KEPT", 100)
    report = measured()
    assert report is efl.shadow_grad.last_report()
    assert report._measured is None
    with pytest.raises(efl.ResourceLimitError, match="weights: expected a report of at most 100 bytes"):
        report.stderr_of(np.eye(6))
    # The chain rule is applied before: through two parameters that share an angle.
    qnode = qml.QNode(entangler, qml.device("default.qubit"))
    found, stderr = efl.gradient_with_errors(qnode, shots=SHOTS, seed=2)(THETA)
    assert np.all(
        np.abs(np.reshape(found, (2, 6)) - np.reshape(exact(entangler, THETA), (2, 6)))
        <= 5 * np.reshape(stderr, (2, 6)) + 1e-9
    )


@pytest.mark.filterwarnings("ignore:method .* needs")
@pytest.mark.parametrize("ensemble", [None, efl.Ensemble.settings(ALL, np.arange(1, 28) / 378)])
def test_settings_that_are_drawn_do_not_depend_on_the_mode(ensemble, monkeypatch):
    """The same seed, the same settings, shot by shot: by a state vector, and by tapes."""
    seen = []
    read = efl.estimate

    def watched(snaps, sums, **options):
        seen.append(snaps.to_arrays()[1])
        return read(snaps, sums, **options)

    monkeypatch.setattr("efl_core.pennylane.jobs.sums.estimate", watched)
    given = {"method": "uniform"} if ensemble is None else {"ensemble": ensemble}
    for mode in ("state", "tapes"):
        measured(**given, device_options={"mode": mode})
    states, tapes = seen
    assert len(states) == SHOTS
    assert np.array_equal(states, tapes)


@pytest.mark.parametrize("mode", ["state", "tapes"])
def test_medians_of_drawn_settings(mode):
    """Parts of the snapshots, of which the median is taken, have all settings in every mode."""
    options = {"ensemble": efl.Ensemble.uniform(3), "combine": "median_of_means", "shots": 200_000}
    report = measured(**options, device_options={"mode": mode})
    wanted = np.reshape(exact(entangler, THETA), (2, 6))
    assert np.all(np.abs(report.gradient - wanted) <= 5 * report.stderr + 1e-9)
    assert np.mean(report.stderr) < 0.1


def test_copies_have_seeds_of_their_own():
    """The first copy of a shot vector is what a tape without one gives; the others differ from it."""
    theta = pnp.array(np.random.default_rng(4).uniform(-1, 1, (1, 3, 3)), requires_grad=True)

    def gradient(shots):
        found = []
        qnode = qml.QNode(layers, qml.device("default.qubit", wires=3), diff_method=efl.shadow_grad)
        qnode = qml.set_shots(qnode.update(gradient_kwargs={"seed": 5, "report": found}), shots)
        qml.jacobian(lambda x: pnp.stack(qnode(x)) if isinstance(shots, tuple) else qnode(x))(theta)
        return found[0].gradient

    alone, copies = gradient(700), gradient((700, 700, 900))
    assert np.array_equal(alone, copies[0])
    assert not np.array_equal(copies[0], copies[1])


def test_a_cache_lets_the_oldest_go():
    cache, made = Cache(2), []

    def get(key):
        return cache.get(key, lambda: made.append(key) or key)

    for key in "abacab":
        assert get(key) == key
    assert made == ["a", "b", "c", "b"]
    assert len(cache) == 2
    assert cache.add("d")
    assert not cache.add("d")
