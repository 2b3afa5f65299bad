"""Run tests of Qiskit's estimator gradients with `efl_core.qiskit.ShadowEstimatorGradient` in their place.

Nothing is fetched: the argument is a checkout of qiskit-algorithms or qiskit-machine-learning, at the version
that is installed (``ddt`` too). Its ``test/gradients/test_estimator_gradient.py`` is adapted:

- every list of gradient classes that a test is made for becomes the one class, on Qiskit's own sampler with
  200,000 shots and a seed (with the precision where a test gives one);
- values may be off by five standard errors of the last gradient, or by what the test allows.

Tests of what only the peer has are named with the reason.

    python tests/foreign/qiskit_suite.py CHECKOUT
"""

import ast
import importlib.util
import sys
import tempfile
import unittest
import warnings
from pathlib import Path

import numpy as np
from qiskit.primitives import StatevectorSampler

from efl_core.qiskit import ShadowEstimatorGradient

FILE = Path("test", "gradients", "test_estimator_gradient.py")
PEERS = ("FiniteDiff", "ParamShift", "LinComb", "Reverse", "SPSA")
SHOTS = 200_000
SIGMAS = 5.0
DOES_NOT_APPLY = {
    "test_spsa_gradient": "options and draws of SPSA",
    "test_complex_gradient": "imaginary parts, which no expectation value has",
    "test_product_rule_check": "a private function of the peer",
    "test_options": "options of the peer's estimator",
    "test_precision": "the default precision of an estimator, which a sampler does not have",
    "test_operations_preserved": "looks into an estimator, which is not run",
}
errors = [0.0]


class Watched(ShadowEstimatorGradient):
    """Remembers the largest standard error of the last gradients."""

    def run(self, *args, **options):
        job = super().run(*args, **options)
        errors[0] = max((float(own.max(initial=0.0)) for own in job.result().stderrs), default=0.0)
        return job


def substitute(
    estimator=None, *_, precision=None, transpiler=None, pass_manager=None, transpiler_options=None, **__
):
    """Return the gradient, whatever the peer's class was given beside a precision and a transpiler."""
    shots = None if precision is not None else SHOTS
    found = transpiler or pass_manager
    if found is not None and transpiler_options:
        found = _WithOptions(found, transpiler_options)
    return Watched(StatevectorSampler(seed=5), precision, shots=shots, seed=5, pass_manager=found)


class _WithOptions:
    def __init__(self, manager, options):
        self._manager, self._options = manager, options

    def run(self, circuit):
        return self._manager.run(circuit, **self._options)


def almost(case, first, second, places=7, *_, **__):
    """Compare numbers with a tolerance that shots can meet."""
    assert abs(first - second) <= max(10.0**-places, SIGMAS * errors[0]), (first, second, errors[0])


def close(actual, desired, rtol=1e-7, atol=0.0, **_):
    """Compare arrays so, of any lengths."""
    for one, other in zip(actual, desired, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=max(atol, SIGMAS * errors[0]))


def is_peer(node: ast.expr) -> bool:
    """Say whether a name is that of a gradient class of the peer."""
    return isinstance(node, ast.Name) and node.id.startswith(PEERS) and node.id.endswith("EstimatorGradient")


class Adapted(ast.NodeTransformer):
    """Puts the class in the place of the peer's, and loosens comparisons."""

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        if ast.unparse(node.targets[0]) == "gradient_factories":
            node.value = ast.parse("[efl_substitute]", mode="eval").body
            return node
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and any(map(is_peer, decorator.args)):
                decorator.args = [ast.Name("efl_substitute", ast.Load())]
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        name = ast.unparse(node.func)
        if name == "self.assertAlmostEqual":
            return ast.Call(
                ast.Name("efl_almost", ast.Load()), [ast.Name("self", ast.Load()), *node.args], []
            )
        if name == "np.testing.assert_allclose":
            node.func = ast.Name("efl_close", ast.Load())
        return node


def loaded(checkout: Path, folder: Path):
    """Return the adapted module."""
    tree = Adapted().visit(ast.parse((checkout / FILE).read_text()))
    for node in tree.body:  # relative imports
        if isinstance(node, ast.ImportFrom) and node.level:
            node.level, node.module = 0, f"test.gradients.{node.module}"
    sys.path.insert(0, str(checkout))
    target = folder / "adapted_estimator_gradient.py"
    target.write_text(ast.unparse(ast.fix_missing_locations(tree)))
    spec = importlib.util.spec_from_file_location("adapted_estimator_gradient", target)
    module = importlib.util.module_from_spec(spec)
    module.__dict__.update(efl_substitute=substitute, efl_almost=almost, efl_close=close)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def reason(test: unittest.TestCase) -> str | None:
    """Return why a test does not apply, if it does not."""
    name = test.id().rpartition(".")[2]
    return next((why for start, why in DOES_NOT_APPLY.items() if name.startswith(start)), None)


def main() -> None:
    """Run, and show."""
    if len(sys.argv) != 2 or not (Path(sys.argv[1]) / FILE).is_file():
        raise SystemExit(__doc__)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        module = loaded(Path(sys.argv[1]).resolve(), Path(folder))
        suite = unittest.defaultTestLoader.loadTestsFromModule(module)
        tests = [test for group in suite for test in group]
        chosen = [test for test in tests if reason(test) is None]
        result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(chosen))
    bad = len({getattr(test, "test_case", test).id() for test, _ in [*result.failures, *result.errors]})
    print(f"passed {len(chosen) - bad}, failed {bad}, do not apply {len(tests) - len(chosen)}:")
    for test in tests:
        if reason(test) is not None:
            print(f"    {test.id().rpartition('.')[2]}: {reason(test)}")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
