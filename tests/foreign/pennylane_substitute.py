"""The plugin of pytest that puts `shadow_grad` in the place of PennyLane's gradient transforms.

Loaded before any test; see `pennylane_suite`.
"""

import json
import os
import sys
import zlib
from functools import partial

import pennylane as qml
import pytest

import efl_core as efl
from efl_core.pennylane.transforms import expand

NAMES = ("param_shift", "finite_diff", "spsa_grad", "hadamard_grad")
ABSOLUTE, RELATIVE = 0.02, 0.005
called = [False]
approx = pytest.approx


@partial(
    qml.transform,
    expand_transform=lambda tape, **_: expand(tape),
    classical_cotransform=qml.gradients.gradient_transform.contract_qjac_with_cjac,
    final_transform=True,
)
def substitute(tape, argnum=None, **_):
    """Measure the gradient, whatever options the peer's transform was given."""
    called[0] = True
    options = {"argnum": argnum, "seed": 7}
    if not tape.shots.has_partitioned_shots:
        options["shots"] = 1_000_000
    return efl.shadow_grad.tape_transform(tape, **options)


@substitute.custom_qnode_transform
def _with_device(self, qnode, targs, tkwargs):
    return self.default_qnode_transform(qnode, targs, tkwargs)


def loose(function, *args, **options):
    """Compare with a tolerance that shots can meet."""
    compared, tolerances = args[:2], dict(zip(("rtol", "atol"), args[2:], strict=False))
    options = {**tolerances, **options}
    options["atol"] = max(options.get("atol", 0.0), ABSOLUTE)
    options["rtol"] = max(options.get("rtol", 0.0), RELATIVE)
    return function(*compared, **options)


def loose_approx(expected, rel=None, abs=None, nan_ok=False):
    """Do the same for pytest's own comparison."""
    return approx(expected, rel=max(rel or 0.0, RELATIVE), abs=max(abs or 0.0, ABSOLUTE), nan_ok=nan_ok)


def _replace() -> None:
    modules = [qml.gradients, qml.gradients.parameter_shift, qml.gradients.finite_difference]
    modules += [qml.gradients.spsa_gradient, qml.gradients.hadamard_gradient]
    originals = {id(getattr(qml.gradients, name)) for name in NAMES}
    for module in modules:
        for name in NAMES:
            if hasattr(module, name):
                setattr(module, name, substitute)
    # Tables that were filled when PennyLane was imported.
    for module in [m for name, m in list(sys.modules.items()) if name.startswith("pennylane")]:
        for table in [v for v in vars(module).values() if isinstance(v, dict)]:
            for key in [
                k for k, v in list(table.items()) if id(v) in originals and not str(k).startswith("_")
            ]:
                table[key] = substitute


def pytest_configure(config):
    """Substitute before tests are imported."""
    pytest.efl_loose, pytest.approx = loose, loose_approx
    _replace()


@pytest.fixture
def seed(request):
    """Stand for the fixture of pytest-rng, which PennyLane's own overrides."""
    return zlib.crc32(request.node.nodeid.encode())


def pytest_runtest_setup(item):
    """Begin to watch whether the transform is called."""
    called[0] = False


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Write what became of a test that asked."""
    report = (yield).get_result()
    if report.when != "call" or report.skipped or not (called[0] or report.failed):
        return
    entry = {"file": item.path.name, "name": item.nodeid, "message": None}
    if report.failed:
        entry["message"] = str(report.longreprtext)[-3000:]
    with open(os.environ["EFL_FOREIGN_RESULTS"], "a") as file:
        file.write(json.dumps(entry) + "\n")
