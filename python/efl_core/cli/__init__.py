"""The command line: ``efl demo``, ``plan FILE.py:NAME``, ``inspect FILE``, ``fleet``, ``doctor``."""

import argparse
import ast
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from efl_core import __version__
from efl_core.cli import fleet_serving, journals
from efl_core.errors import EflError, InvalidInputError

__all__ = ["main"]


def _demo(options: argparse.Namespace) -> None:
    if options.what == "estimate":
        from efl_core.cli import demo_estimate

        demo_estimate.run(shots=options.shots, words=options.words, seed=options.seed)
        return
    from efl_core.cli import demo_fleet

    demo_fleet.run(queries=options.queries, seed=options.seed, replicas=options.replicas)


def _doctor(options: argparse.Namespace) -> None:
    from efl_core.cli.versions import show_versions

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


def _plan(options: argparse.Namespace) -> None:
    from efl_core import Circuit, plan

    file, colon, name = options.what.rpartition(":")
    if not colon:
        raise InvalidInputError(f"{options.what}: expected FILE.py:NAME")
    scope = _scope(Path(file))
    if name not in scope:
        raise InvalidInputError(f"{options.what}: expected FILE.py:NAME, but {file} has no name {name!r}")
    made = plan(scope[name], target=options.target)
    if not isinstance(scope[name], Circuit):
        made = made(*(_argument(text, scope) for text in options.args))
    print(made)


def _scope(file: Path) -> dict[str, Any]:
    """Run a file as a module and return its names."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise InvalidInputError(f"{file}: expected a file of Python, FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)


def _argument(text: str, scope: dict[str, Any]) -> Any:  # noqa: ANN401 (whatever the QNode takes)
    """Return the value of a name in the file, or the trainable array that a literal is."""
    if text in scope:
        return scope[text]
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError) as error:
        raise InvalidInputError(f"--args: expected a name in the file or numbers, got {text!r}") from error
    from efl_core.pennylane import trainable

    return trainable(value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="efl", description="Classical shadows designed for gradients.")
    parser.add_argument("--version", action="version", version=f"efl-core {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    demo = verbs.add_parser(
        "demo", help="a fleet that learns while it answers; or estimates against the truth"
    )
    demo.add_argument(
        "what",
        nargs="?",
        choices=("fleet", "estimate"),
        default="fleet",
        help="digits learnt by a fleet (the default), or a million snapshots and a thousand words",
    )
    demo.add_argument("--queries", type=int, default=12_800, help="of the fleet (default 12800)")
    demo.add_argument("--replicas", type=int, default=4, help="of the fleet (default 4)")
    demo.add_argument("--shots", type=int, default=1_000_000, help="snapshots of estimate (default 1000000)")
    demo.add_argument("--words", type=int, default=1_000, help="random words of estimate (default 1000)")
    demo.add_argument("--seed", type=int, default=7, help="of all that is drawn (default 7)")
    demo.set_defaults(run=_demo)

    plan = verbs.add_parser("plan", help="what the gradient of a QNode costs, by every way of measuring it")
    plan.add_argument("what", metavar="FILE.py:NAME", help="a QNode or a Circuit in a file that is run")
    plan.add_argument("--target", type=float, default=0.01, help="RMS error that is wanted (default 0.01)")
    plan.add_argument(
        "--args",
        nargs="*",
        default=[],
        help="the QNode's arguments: names in the file, or numbers such as [0.1,0.2]",
    )
    plan.set_defaults(run=_plan)

    inspect = verbs.add_parser("inspect", help="what a file of snapshots or a tally holds")
    inspect.add_argument("file", type=Path)
    inspect.set_defaults(run=_inspect)

    fleet = verbs.add_parser("fleet", help="serve a learner over HTTP, see how it is doing, read its journal")
    parts = fleet.add_subparsers(dest="fleet_verb", required=True, metavar="VERB")
    fleet_serving.add(parts, _scope)
    journals.add_verbs(parts)

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
