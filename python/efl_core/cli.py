"""The command line: ``efl demo``, ``efl inspect FILE``, ``efl doctor``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from efl_core import __version__
from efl_core.errors import EflError

__all__ = ["main"]


def _demo(options: argparse.Namespace) -> None:
    from efl_core import demo

    demo.run(shots=options.shots, words=options.words, seed=options.seed)


def _doctor(options: argparse.Namespace) -> None:
    from efl_core.report import show_versions

    show_versions()


def _inspect(options: argparse.Namespace) -> None:
    path: Path = options.file
    with path.open("rb") as file:
        head = file.read(8)
    if head == b"EFLTALLY":
        from efl_core import Tally

        print(Tally.from_bytes(path.read_bytes()))
        return
    from efl_core.storage import inspect

    for name, value in inspect(path).items():
        print(f"{name:>14}  {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="efl", description="Classical shadows designed for gradients.")
    parser.add_argument("--version", action="version", version=f"efl-core {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = verbs.add_parser("demo", help="a million snapshots, a thousand words, against the exact values")
    demo.add_argument("--shots", type=int, default=1_000_000, help="snapshots (default 1000000)")
    demo.add_argument("--words", type=int, default=1_000, help="random words (default 1000)")
    demo.add_argument("--seed", type=int, default=7, help="seed of snapshots and words (default 7)")
    demo.set_defaults(run=_demo)

    inspect = verbs.add_parser("inspect", help="what a file of snapshots or a tally holds")
    inspect.add_argument("file", type=Path)
    inspect.set_defaults(run=_inspect)

    doctor = verbs.add_parser("doctor", help="versions, CPU level and threads, for a bug report")
    doctor.set_defaults(run=_doctor)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (EflError, OSError) as error:
        print(f"efl: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0
