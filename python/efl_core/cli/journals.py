"""``efl fleet``: what the journal of a learner says."""

import argparse
from pathlib import Path

from efl_core.errors import CorruptDataError, InvalidInputError

__all__ = ["add_verbs"]


def _inspect(options: argparse.Namespace) -> None:
    from efl_core.fleet.journal.audit import summary

    for name, value in summary(options.journal).to_dict().items():
        print(f"{name:>20}  {value}")


def _replay(options: argparse.Namespace) -> None:
    from efl_core.fleet.journal.audit import gradients

    count, others = 0, []
    for count, taught in enumerate(gradients(options.journal), 1):
        if not taught.is_same:
            others.append(taught.version)
        if not options.quiet:
            norm = float((taught.step.value**2).sum() ** 0.5)
            same = "the same bits" if taught.is_same else "OTHER BITS"
            print(
                f"step {count:5d}  version {taught.version:5d}  queries {taught.step.queries:6d}  "
                f"gradient {norm:.6g}  {same}"
            )
    if others:
        raise CorruptDataError(
            f"journal: expected the gradients that were published, got others for versions {others}"
        )
    print(f"{count} gradients, all with the bits that were published")


def _verify(options: argparse.Namespace) -> None:
    from efl_core.fleet.journal.audit import verified

    found = verified(options.journal)
    for line in found.checkpoints:
        print(line)
    if not found.is_whole:
        raise CorruptDataError(found.damage or "journal: expected sound checkpoints, got the above")
    print(f"{found.events} events, whole")


def _export(options: argparse.Namespace) -> None:
    if options.parquet.exists():
        raise InvalidInputError.of("--parquet", "a file that is not there yet", repr(str(options.parquet)))
    from efl_core.fleet.journal.audit import queries
    from efl_core.storage.queries import write_queries

    count = write_queries(queries(options.journal), options.parquet)
    print(f"{count} queries in {options.parquet}")


def add_verbs(own: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what ``efl fleet`` does with a journal."""

    def verb(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = own.add_parser(name, help=text)
        made.add_argument("journal", type=Path, help="the file of a learner that is not running")
        made.set_defaults(run=run)
        return made

    verb("inspect", _inspect, "what a journal holds")
    replay = verb("replay", _replay, "add up every published gradient once more, bit for bit")
    replay.add_argument("--quiet", action="store_true", help="say the result only")
    verb("verify", _verify, "check every checksum, every event and every checkpoint")
    export = verb("export", _export, "queries with their bits, weights and losses")
    export.add_argument("--parquet", type=Path, required=True, help="the file to write")
