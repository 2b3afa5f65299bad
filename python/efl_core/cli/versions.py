"""What efl_core says about itself and its machine."""

import platform
from importlib import metadata

from efl_core import _native

__all__ = ["show_versions", "versions"]

_OPTIONAL = ("numpy", "pyarrow", "pennylane")


def versions() -> dict[str, str]:
    """Return the versions and settings that a bug report needs."""
    found = {
        "efl_core": _native.VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu level": f"{_native.cpu_level()} of {', '.join(_native.available_cpu_levels())}",
        "threads": str(_native.num_threads()),
        "tally format": str(_native.TALLY_FORMAT),
    }
    for name in _OPTIONAL:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def show_versions() -> None:
    """Print what a bug report needs: versions, CPU level, threads."""
    for name, value in versions().items():
        print(f"{name:>14}  {value}")
