"""Results do not depend on the C library: not on which variant it takes for the CPU at hand.

glibc has several versions of sin, exp and pow, with and without fused multiply-add, that differ in the last
bit. ``GLIBC_TUNABLES`` takes away those of newer CPUs; with other libraries the tests say nothing.
"""

import pytest
from tests.robustness.child import run

OLDER = "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX,-AVX2_Usable,-FMA_Usable"

SCRIPT = """
import numpy as np
import efl_core as efl

for seed in range(2):
    n, layers = 5, 2
    circuit = efl.Circuit(n, parameters=np.random.default_rng(seed).uniform(-3, 3, 2 * n * layers))
    for k in range(n * layers):
        circuit.ry(efl.Parameter(2 * k), k % n)
        circuit.rz(efl.Parameter(2 * k + 1), k % n)
        if k % n == n - 1:
            for q in range(n):
                circuit.clifford("CNOT", q, (q + 1) % n)
    circuit.evolution({"XIIII": 0.3, "ZIIII": 0.4, "ZZIII": 0.1}, efl.Parameter(0))
    print(*efl.simulate(circuit).tolist())
    observables = efl.gradient_observables(circuit, "ZZZZZ")
    for kind in ("biased", "clifford", "block") if seed == 0 else ():
        ensemble = efl.design(observables, kind)
        print(kind, np.asarray(ensemble.predicted_variance(observables)).tolist())
    plan = efl.plan(circuit, "ZZZZZ")
    print(plan.best.name, *[row.cost for row in plan])
    print(*[row.cost for row in plan.at(circuit.parameters + 0.1)])
    for method in ("mixture", "clifford", "product", "biased"):
        if plan[method].applies:
            print(method, plan.simulate(500, method, seed=4).gradient.tolist())
"""


@pytest.mark.slow
def test_an_older_cpu_gives_the_same_plan():
    newer, older = run(SCRIPT), run(SCRIPT, GLIBC_TUNABLES=OLDER)
    assert "mixture" in newer
    assert newer.count("\n") > 10
    assert older == newer


def test_an_older_cpu_gives_the_same_sums():
    script = """
import numpy as np
import efl_core as efl
angles = np.random.default_rng(0).uniform(-10, 10, 3000)
circuit = efl.Circuit(2, angles)
for k in range(1000):
    circuit.ry(efl.Parameter(3 * k), 0).clifford("CNOT", 0, 1).rx(efl.Parameter(3 * k + 1), 1)
    circuit.rz(efl.Parameter(3 * k + 2), 1)
print(efl.simulate(circuit).tolist(), efl.propagate(circuit, "ZX").gradient.tolist())
"""
    assert run(script) == run(script, GLIBC_TUNABLES=OLDER)
