"""PennyLane's own conformance suite for devices, as `pl-device-test --device efl.fleet` runs it.

It runs in a process of its own, since the suite brings its own pytest configuration. What it leaves out, and
why, is in two tables: a test that is skipped for another reason fails this one.
"""

import importlib.util
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ARGUMENTS = ["--device=efl.fleet", "--shots=1000000", "--skip-ops", "--no-flaky-report"]

# Reasons that PennyLane gives, and what they mean here.
SKIPPED = {
    "could not import": "an optional interface is not installed",
    "Device is in non-analytical mode": "comparison with default.qubit to 6 digits: this device has shots",
    "test should only be run in analytic mode": "derivatives to 6 digits: the same",
    "test only works with analytic-mode": "states and exact probabilities: the same",
    "SparseHamiltonian only supported in analytic mode": "sparse matrices are not expanded in words",
    "test only works with backprop": "the gradient method does not exist on a device that measures",
    "test only works with parameter-shift": "the other half of that test",
    "device does not support diff_method": "adjoint and backprop need a state vector",
    "If shots!=None no error is raised": "a check of analytic mode",
    "Some plugins don't update state information": "a state after shots",
    "only works on qutrit devices": "qutrits",
    "old device interface": "PennyLane's former interface for devices",
    "old interface specific": "the same",
}
EXPECTED_FAILURES = {
    "most devices do not support CV": "continuous variables",
    "Operator Beamsplitter": "continuous variables, left out by --skip-ops",
    "Operator Displacement": "the same",
    "Operator Squeezing": "the same",
    "Observable QuadX": "the same",
    "Observable NumberOperator": "the same",
    "custom measurement transforms": "a measurement that takes the device, as no other one does",
}


def run(tmp_path, *arguments):
    report = tmp_path / "report.xml"
    # PennyLane imports without its interfaces being there; -P keeps the working directory off the path.
    [suite] = importlib.util.find_spec("pennylane.devices.tests").submodule_search_locations
    command = [sys.executable, "-P", "-m", "pytest", suite, *ARGUMENTS, *arguments]
    quiet = ["-q", "--tb=short", "-p", "no:cacheprovider", "-p", "no:warnings", f"--junitxml={report}"]
    done = subprocess.run([*command, *quiet], capture_output=True, text=True, cwd=tmp_path, timeout=900)
    return done, ElementTree.parse(report).getroot() if report.exists() else None


@pytest.mark.slow
@pytest.mark.timeout(1000)
@pytest.mark.parametrize("inner", ["default.qubit", "lightning.qubit"])
def test_conformance_suite(tmp_path, inner):
    for package in ("flaky", "pytest_mock"):
        pytest.importorskip(package)
    done, report = run(tmp_path, "--device-kwargs", f"inner={inner}", "seed=1")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]

    known = "|".join(map(re.escape, [*SKIPPED, *EXPECTED_FAILURES]))
    skipped = [case.find("skipped") for case in report.iter("testcase")]
    reasons = [found.get("message") + (found.text or "") for found in skipped if found is not None]
    assert [reason for reason in reasons if not re.search(known, reason)] == []
    assert len(skipped) - len(reasons) > 350
    assert len(reasons) < 80
