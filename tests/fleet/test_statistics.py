"""Many fleets say the gradient of the stated objective, with the errors that they state.

Against exact derivatives, for every kind of roster and every loss. Each test looks at no more than 36
derivatives twice, and no |z| > 4.5 is a false alarm in 2,000 of them; fixed seeds make it none.
"""

import numpy as np
import pytest

from efl_core.fleet import Learner
from tests.fleet.cases import cases, fleets

CASES = {case.name: case for case in cases()}


def answer_shots(case, wanted):
    """At least one shot for each setting that the outputs are read in."""
    return max(wanted, 2) if case.name.startswith("energy") else wanted


def check(name, shots, count):
    case = CASES[name]
    found, given = fleets(case, answer_shots(case, shots), count=count)
    assert np.abs(given.z).max() < 4.5
    if found.exact is not None:
        assert np.abs(found.z).max() < 4.5
    return found if found.exact is not None else given


@pytest.mark.parametrize("name", CASES)
def test_fleets_are_unbiased(name):
    check(name, 2, 60)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shots", [1, 2, 8])
@pytest.mark.parametrize("name", CASES)
def test_many_fleets_are_unbiased_and_know_their_errors(name, shots):
    """Coverage of 68 and 95 % within 2.5 points, predicted over observed error within 0.9 and 1.1."""
    found = check(name, shots, 2000)
    if found.exact.ndim == 1:  # what is given the answer shots has less variance than the errors say
        assert abs(found.coverage(1.0) - 0.683) < 0.025
        assert abs(found.coverage(1.96) - 0.95) < 0.025
        assert 0.9 < found.ratio < 1.1


@pytest.mark.parametrize("name", ["ring n=4, logistic", "re-uploading n=4, squared", "energy n=4"])
def test_the_error_is_forecast_before_serving(name):
    """A forecast from 2,000 queries against the errors of 150 fleets: both have a relative error below 4 %."""
    case = CASES[name]
    shots = answer_shots(case, 4) + 4
    learner = Learner(
        case.circuit, loss=case.loss, inputs=case.inputs[0], shots=shots, share=4 / shots, method=case.method
    )
    forecast = learner.forecast(case.inputs, case.labels if case.loss.needs_label else None, queries=2000)
    found, _ = fleets(case, shots - 4, count=150)
    observed = np.sqrt(np.mean(np.square(found.gradients - found.exact)))
    predicted = np.sqrt(np.mean(np.square(forecast.stderr(50))))
    assert 0.9 < predicted / observed < 1.1
    assert forecast.needed(predicted) in range(49, 52)
