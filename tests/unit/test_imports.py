"""What `import efl_core` costs: numpy, and nothing else from outside the standard library."""

import json
import subprocess
import sys

PROBE = """
import json, sys, time
before = set(sys.modules)
import numpy
numpy_done = time.perf_counter()
import efl_core
seconds = time.perf_counter() - numpy_done
tops = {name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names
files = {top: getattr(sys.modules.get(top), "__file__", None) or "" for top in tops}
third_party = sorted(top for top, file in files.items() if "site-packages" in file)
print(json.dumps({"third_party": third_party, "loaded": sorted(sys.modules), "seconds": seconds}))
"""


def probe():
    done = subprocess.run([sys.executable, "-I", "-c", PROBE], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_loads_only_numpy(capsys):
    found = probe()
    assert found["third_party"] == ["efl_core", "numpy"]

    seconds = min(found["seconds"], *(probe()["seconds"] for _ in range(2)))
    with capsys.disabled():
        print(f"\nimport efl_core, numpy loaded: {seconds * 1e3:.1f} ms (best of 3)")


def test_optional_packages_are_not_loaded():
    found = probe()
    assert not {"matplotlib", "pennylane", "pyarrow", "ray", "scipy"} & set(found["loaded"])


def test_the_fleet_is_loaded_when_it_is_asked_for():
    assert not [name for name in probe()["loaded"] if name.startswith("efl_core.fleet")]


def test_the_command_line_is_loaded_when_it_is_asked_for():
    assert not [name for name in probe()["loaded"] if name.startswith("efl_core.cli")]
