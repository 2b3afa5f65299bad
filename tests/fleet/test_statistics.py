"""Many fleets say the gradient of the stated objective, with the errors that they state.

Against exact derivatives, for every kind of roster and every loss. Each test looks at no more than 36
derivatives twice, and no |z| > 4.5 is a false alarm in 2,000 of them; fixed seeds make it none. The same with
2,000 fleets, and how often errors cover the truth: `benches/python/bench_fleet_learns.py`.
"""

import numpy as np
import pytest
from tests.fleet.cases import cases, fleets

from efl_core.fleet import Learner

CASES = {case.name: case for case in cases()}


def answer_shots(case, wanted):
    """At least one shot for each setting that the outputs are read in."""
    return max(wanted, 2) if case.name.startswith("energy") else wanted


@pytest.mark.parametrize("shots", [1, 2, 8])
@pytest.mark.parametrize("name", CASES)
def test_fleets_are_unbiased(name, shots):
    case = CASES[name]
    found, given = fleets(case, answer_shots(case, shots), count=50)
    assert np.abs(given.z).max() < 4.5
    if found.exact is not None:
        assert np.abs(found.z).max() < 4.5


@pytest.mark.parametrize("name", ["ring n=4, logistic", "re-uploading n=4, squared", "energy n=4"])
def test_the_error_is_forecast_before_serving(name):
    """2,000 queries beforehand against the errors of 150 fleets: both figures are good to 4 %."""
    case = CASES[name]
    shots = answer_shots(case, 4) + 4
    learner = Learner(
        case.circuit,
        loss=case.loss,
        inputs=case.inputs[0],
        shots=shots,
        share=4 / shots,
        method=case.method,
        seed=1,
    )
    forecast = learner.forecast(case.inputs, case.labels if case.loss.needs_label else None, queries=2000)
    found, _ = fleets(case, shots - 4, count=150)
    observed = np.sqrt(np.mean(np.square(found.gradients - found.exact)))
    predicted = np.sqrt(np.mean(np.square(forecast.stderr(50))))
    assert 0.9 < predicted / observed < 1.1
    assert forecast.needed(predicted) in range(49, 52)
