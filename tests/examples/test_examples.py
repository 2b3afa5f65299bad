"""The scripts in examples/ reach the figures that they print, at their small sizes.

Seeds are fixed, so that a run is repeated and not redrawn.
"""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vqe_reaches_chemical_accuracy():
    vqe = load("vqe_h2")
    found = vqe.main()
    assert -1e-9 < found.energy - found.exact < vqe.CHEMICAL_ACCURACY
    assert found.shots <= vqe.SMALL.shots * vqe.SMALL.steps
    assert found.shots < found.pruned < found.shift


def test_classifier_tells_the_classes_apart():
    pytest.importorskip("torch", reason="examples/classifier_torch.py needs torch: make test-torch")
    classifier = load("classifier_torch")
    assert classifier.main().accuracy >= classifier.ACCURACY
