"""The small version of every example reaches its figure. Seeds are fixed, so the outcome is too."""

import importlib.util
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_vqe_reaches_chemical_accuracy_with_fewer_shots(capsys):
    vqe = load("vqe_h2")
    found = vqe.main(vqe.SMALL)
    assert abs(found.energy - found.exact) < vqe.CHEMICAL_ACCURACY
    assert found.shots < found.pruned < found.shift
    assert "chemical accuracy" in capsys.readouterr().out
