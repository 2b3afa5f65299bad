"""Every example in a docstring runs: of the Python modules, and of the extension, which doctest does not see.

`efl` (efl_core) and `np` (numpy) are there without an import, as numpydoc has it for np.
"""

import doctest
import importlib
import importlib.util
import inspect
import pkgutil

import numpy as np
import pytest

import efl_core
from efl_core import _native

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BOUND_BY_CLASS = (classmethod, staticmethod)
NAMES = {"efl": efl_core, "np": np}


def modules():
    yield efl_core
    for info in pkgutil.walk_packages(efl_core.__path__, "efl_core."):
        if info.name.endswith("torch_layer") and not importlib.util.find_spec("torch"):
            continue
        if info.name.startswith("efl_core.qiskit") and not importlib.util.find_spec("qiskit"):
            continue
        if info.name == "efl_core.fleet.ray" and not importlib.util.find_spec("ray"):
            continue
        if not info.name.endswith(("__main__", "._native")):
            yield importlib.import_module(info.name)


def extension_docstrings(owner, path):
    """The (path, docstring) of an extension module or class and of everything public in it."""
    yield path, owner.__doc__ or ""
    for name, member in vars(owner).items():
        special = name.startswith("_") and not (inspect.isclass(owner) and name.startswith("__"))
        if special or name in ("__doc__", "__module__"):
            continue
        if inspect.isclass(member):
            yield from extension_docstrings(member, f"{path}.{name}")
        elif callable(member) or inspect.isdatadescriptor(member) or isinstance(member, BOUND_BY_CLASS):
            yield f"{path}.{name}", member.__doc__ or ""


def examples():
    """Every doctest, once: what the package re-exports from the extension has the same docstring."""
    found = {}
    parser = doctest.DocTestParser()
    for path, doc in extension_docstrings(_native, "efl_core._native"):
        found.setdefault(doc, parser.get_doctest(doc, dict(NAMES), path, "extension", 0))
    for transform in (efl_core.shadow_grad, efl_core.echo_grad):  # objects, which doctest passes over
        found[transform.__doc__] = parser.get_doctest(
            transform.__doc__, dict(NAMES), repr(transform), None, 0
        )
    for module in modules():
        for test in doctest.DocTestFinder().find(module, extraglobs=dict(NAMES)):
            found.setdefault(test.docstring, test)
    return [test for test in found.values() if test.examples]


@pytest.mark.parametrize("example", examples(), ids=lambda example: example.name)
def test_example(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = []
    result = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(example, out=report.append)
    assert result.failed == 0, "".join(report)
