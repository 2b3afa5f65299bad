"""The scripts in examples/ reach the figures that they print, at their small sizes.

Seeds are fixed. Another processor rounds differently and so draws other shots from the same start: six to
ten such draws of each training by a transform stayed far from its limit (0.955 and above where 0.9 is asked,
0.066 and below where 0.1 is).
"""

import importlib.util
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning"),  # of PennyLane
    pytest.mark.filterwarnings("ignore:method 'echo' needs"),
]
EXAMPLES = Path(__file__).parents[2] / "examples"
METHODS = ["shadow", "echo", "fleet"]


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vqe_reaches_chemical_accuracy():
    vqe = load("vqe")
    found = vqe.main("h2")
    assert -1e-9 < found.energy - found.exact < vqe.CHEMICAL_ACCURACY
    assert found.shots == vqe.SIZES["h2"].shots * vqe.SIZES["h2"].steps
    assert found.shots < found.pruned < found.shift


def test_vqe_by_qiskit_reaches_chemical_accuracy():
    pytest.importorskip("qiskit", reason="`make test-qiskit` installs it")
    vqe = load("vqe_qiskit")
    found = vqe.main()
    assert -1e-9 < found.energy - found.exact < vqe.CHEMICAL_ACCURACY
    assert found.shots == vqe.SHOTS * vqe.STEPS
    assert found.circuits <= 2


def test_vqe_keeps_the_excitations_that_matter():
    """Six pairs that go up together; the smallest derivative first."""
    vqe = load("vqe")
    found = vqe.problem(vqe.SIZES["lih"])
    assert found.qubits == 10
    assert len(found.excitations) == 6
    assert found.excitations[-1] == [0, 1, 8, 9]


@pytest.mark.parametrize("by_circuits", [False, True])
def test_a_chain_comes_near_its_ground_state(by_circuits):
    training = load("training")
    found = training.main(by_circuits)
    assert found.way >= training.REACHED
    assert found.circuits < found.shift
    if not by_circuits:
        assert found.shots == training.BUDGET.shots


def test_a_noisy_device_is_read_right_once_its_noise_is_said():
    noisy = load("noisy")
    biased, right = noisy.main(100_000)
    assert right < noisy.LIMIT < biased


@pytest.mark.parametrize("method", METHODS)
def test_classifier_tells_the_classes_apart(method):
    pytest.importorskip("torch", reason="examples/classifier_torch.py needs torch: make test-torch")
    classifier = load("classifier_torch")
    assert classifier.main(method=method).accuracy >= classifier.ACCURACY


@pytest.mark.parametrize("method", METHODS)
def test_curve_is_fitted_in_jax(method):
    training = load("training_jax")
    assert training.main(method=method).error <= training.ERROR


@pytest.mark.timeout(300)
def test_a_fleet_learns_digits_from_late_labels():
    fleet = load("fleet")
    found = fleet.main()
    assert found.accuracy >= fleet.ACCURACY > found.before
    assert found.versions > 30
