"""The plugin of pytest that puts `shadow_grad` in the place of PennyLane's gradient transforms.

Loaded before any test; see `pennylane_suite`. A test that asked and failed runs once more, with more shots.
What became of every test is written down, a line of JSON each.
"""

import json
import os
import sys
import zlib
from functools import partial

import numpy as np
import pennylane as qml
import pytest
from _pytest.runner import runtestprotocol

import efl_core as efl
from efl_core.pennylane.transforms import expand

NAMES = ("param_shift", "finite_diff", "spsa_grad", "hadamard_grad")
ABSOLUTE, RELATIVE = 0.02, 0.005
SHOTS, MORE_SHOTS = 1_000_000, 8_000_000
# No shots help against these.
NOT_FOR_SHOTS = ("got a derivative of one", "DID NOT RAISE", "DID NOT WARN")
called, answered, more = [False], [False], [False]
approx = pytest.approx


def expanded(tape, **_):
    """Rewrite a tape, whatever options the peer's transform was given."""
    called[0] = True
    return expand(tape)


@partial(
    qml.transform,
    expand_transform=expanded,
    classical_cotransform=qml.gradients.gradient_transform.contract_qjac_with_cjac,
    final_transform=True,
)
def substitute(tape, argnum=None, device_options=None, sampler=None, **_):
    """Measure the gradient, whatever options the peer's transform was given."""
    called[0] = True
    options = {"argnum": argnum, "seed": 7, "device_options": device_options}
    if not tape.shots.has_partitioned_shots:
        options["shots"] = MORE_SHOTS if more[0] else SHOTS
    elif more[0]:  # of every copy
        options["shots"] = SHOTS
    tapes, read = efl.shadow_grad.tape_transform(tape, **options)

    count = len(tape.trainable_params) if argnum is None else np.size(argnum)
    factor = 1 / count if getattr(sampler, "__name__", "") == "coordinate_sampler" else 1

    def result(results):
        found = scaled(read(results), factor)
        answered[0] = True
        return found

    return tapes, result


def scaled(found, factor):
    """Multiply a nested gradient."""
    if factor == 1:
        return found
    if isinstance(found, tuple):
        return tuple(scaled(v, factor) for v in found)
    return np.asarray(np.asarray(found) * factor)


@substitute.custom_qnode_transform
def _with_device(self, qnode, targs, tkwargs):
    return self.default_qnode_transform(qnode, targs, {**tkwargs, "device_options": {"device": qnode.device}})


def loose(function, *args, **options):
    """Compare with a tolerance that shots can meet."""
    compared, tolerances = args[:2], dict(zip(("rtol", "atol"), args[2:], strict=False))
    options = {**tolerances, **options}
    options["atol"] = np.maximum(options.get("atol", 0.0), ABSOLUTE)
    options["rtol"] = np.maximum(options.get("rtol", 0.0), RELATIVE)
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
    import device_shots_to_analytic as helper  # of the suite; samples have no values without shots

    helper.shots_to_analytic = lambda device: device


@pytest.fixture
def seed(request):
    """Stand for the fixture of pytest-rng, which PennyLane's own overrides."""
    return zlib.crc32(request.node.nodeid.encode())


def _run(item, nextitem):
    called[0] = answered[0] = False
    return runtestprotocol(item, nextitem=nextitem, log=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item, nextitem):
    """Run a test; if it asked and failed, with more shots too."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    more[0] = False
    reports = _run(item, nextitem)
    first = _message(reports)
    if called[0] and first is not None and not any(text in first for text in NOT_FOR_SHOTS):
        more[0] = True
        item._initrequest()
        reports = _run(item, nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    _write(item, reports, first)
    return True


def _message(reports) -> str | None:
    failed = [report for report in reports if report.failed]
    return str(failed[0].longreprtext)[-6000:] if failed else None


def _write(item, reports, first) -> None:
    entry = {
        "file": str(item.path.name),
        "name": item.nodeid,
        "asked": called[0],
        "answered": answered[0],
        "skipped": any(report.skipped for report in reports),
        "more": more[0],
        "first": first,
        "message": _message(reports),
    }
    with open(os.environ["EFL_FOREIGN_RESULTS"], "a") as file:
        file.write(json.dumps(entry) + "\n")
