"""Numbers at the ends of what floating point holds: refused by their own name, or right."""

import subprocess
import sys

import numpy as np
import pytest

import efl_core as efl
from efl_core import _native

GENERATOR = {"XI": 0.5, "ZI": 0.3, "ZZ": 0.2}


def circuit(angle):
    return efl.Circuit(2, parameters=[angle]).ry(0.3, 0).evolution(GENERATOR, efl.Parameter(0))


CALLS = {
    "simulate": efl.simulate,
    "propagate": lambda c: efl.propagate(c, "ZZ"),
    "gradient_observables": lambda c: efl.gradient_observables(c, "ZZ"),
    "plan": lambda c: efl.plan(c, "ZZ"),
}


@pytest.mark.parametrize("name", list(CALLS))
@pytest.mark.parametrize("angle", [1e8, 1e16, -1e300, 1e308])
def test_an_evolution_that_floating_point_cannot_resolve_names_its_angle(name, angle):
    with pytest.raises(efl.InvalidInputError, match=r"angle: expected an evolution whose angle .* got -?1e"):
        CALLS[name](circuit(angle))


def test_an_evolution_by_a_large_angle_is_still_one():
    state = efl.simulate(circuit(1e6))
    assert abs(np.vdot(state, state).real - 1) < 1e-6
    small = np.array([efl.propagate(circuit(angle), "ZZ").value for angle in (1e5, 1e5 + 1e-7)])
    assert abs(small[0] - small[1]) < 1e-6


@pytest.mark.parametrize("size", [1e154, 1e200, 1e-200])
def test_plans_name_the_observables_whose_squares_do_not_fit_and_designs_scale_them(size):
    c = efl.Circuit(2, parameters=[0.4, 0.2]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    c.clifford("CNOT", 0, 1)
    with pytest.raises(efl.InvalidInputError, match=r"^observables: expected .* largest coefficient from"):
        efl.plan(c, {"ZZ": size, "XI": size / 2})
    found = efl.design({"ZZ": size, "XI": size / 2}, "clifford")
    usual = efl.design({"ZZ": 1.0, "XI": 0.5}, "clifford")
    np.testing.assert_allclose(found.probabilities, usual.probabilities, rtol=1e-12)


def test_a_norm_near_the_largest_number_drops_no_derivative():
    c = efl.Circuit(2, parameters=[0.4]).ry(efl.Parameter(0), 0)
    found = efl.gradient_observables(c, {"ZI": 0.7e308, "ZZ": 0.7e308})
    assert found.dropped.l1 == 0
    assert len(found.gradients[0]) == 2
    with pytest.raises(efl.InvalidInputError, match="1-norm that is finite"):
        efl.gradient_observables(c, {"ZI": 1.5e308, "ZZ": 1.5e308})


def test_arguments_of_other_types_are_named():
    for wrong in (5, None, b"avx2"):
        with pytest.raises(efl.InputTypeError, match="level: expected the name of an instruction set"):
            _native.set_cpu_level(wrong)
    for wrong in (5, b"all"):
        with pytest.raises(efl.InputTypeError, match="connectivity: expected 'all', 'line' or 'none'"):
            efl.Setting.of_family(["XX"], wrong)
    assert efl.Setting.of_family(["XX"], connectivity="line").two_qubit_gates == 0


def test_nothing_of_this_takes_long():
    # 2^31 squarings once.
    script = (
        "import efl_core as efl\n"
        "c = efl.Circuit(2, [1e308]).evolution({'XI': .5, 'ZI': .3}, efl.Parameter(0))\n"
        "try: efl.simulate(c)\n"
        "except efl.InvalidInputError: print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100)
    assert done.stdout == "refused\n", done.stderr
