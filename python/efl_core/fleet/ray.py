"""Shards of a fleet as actors of Ray. The only module that imports Ray: ``pip install 'efl-core[ray]'``.

`start_shards` starts an actor for each shard, which Ray starts again wherever it dies, with its journal;
`shards_of` finds them by their name, in any process of the cluster. What both return is what a `Coordinator`
and the `Spread` of a replica are given. Ray delivers calls at least once, and nothing rests on it: an actor
that was killed has done what its journal says, and what is handed in twice counts once.

Whoever is a part of a Ray cluster may run anything there. Replicas that are not trusted reach a learner over
HTTP (`efl_core.fleet.asgi` of the coordinator) and are never given the cluster's address or token.

Cost: a call takes about a millisecond; an actor that was killed is back after some seconds.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import described, integer, real
from efl_core.errors import (
    EflError,
    InputTypeError,
    InvalidInputError,
    JournalError,
    LearnerAwayError,
    MissingExtraError,
)
from efl_core.fleet.away import Newest
from efl_core.fleet.cluster.drafts import Port, State
from efl_core.fleet.cluster.shard import Shard

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ImportError as error:
    raise MissingExtraError(f'efl_core.fleet.ray needs ray ({error}): pip install "efl-core[ray]"') from error

__all__ = ["RayShard", "shards_of", "start_shards", "stop_shards"]

LOGGER = logging.getLogger("efl_core")
Floats = NDArray[np.float64]
# Calls that an actor answers at the same time: those that wait for a commit share it.
THREADS = 32
# Seconds in which the process of a shard that died lets go of its journal.
PATIENCE = 30.0


class _Actor:
    """The process of a shard."""

    def __init__(self, journal: str, options: Mapping[str, Any]) -> None:
        self._shard: Shard | None = None
        self._failure: EflError | None = None
        ends = time.monotonic() + PATIENCE
        while self._shard is None and self._failure is None:
            try:
                self._shard = Shard(journal=journal, **options)
            except EflError as error:
                # The process before may be on its way out; anything else is told to whoever calls.
                if not isinstance(error, JournalError) or time.monotonic() > ends:
                    self._failure = error
                else:
                    time.sleep(0.1)

    def call(self, name: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401 (of any method)
        """Ask the shard."""
        if self._failure is not None:
            raise self._failure
        return getattr(self._shard, name)(*arguments, **named)

    def pid(self) -> int:
        """Return the number of the process."""
        return os.getpid()


class RayShard:
    """A shard in an actor of Ray, as coordinators and replicas know it: see `Port`.

    It may be sent to other processes of the cluster.

    Parameters
    ----------
    actor
        The handle of the actor.
    timeout
        Seconds that a call takes at most, restarts included: then `efl.LearnerAwayError` is raised.
    """

    def __init__(self, actor: Any, timeout: SupportsFloat = 60.0) -> None:  # noqa: ANN401 (a handle of Ray's)
        self.actor = actor
        self._timeout = real("timeout", timeout)

    def _call(self, name: str, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
        try:
            return ray.get(self.actor.call.remote(name, *arguments, **named), timeout=self._timeout)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, EflError):
                raise cause from None
            raise
        except RayError as error:  # an actor that is being started again, or the cluster itself
            raise LearnerAwayError.of("shard", "an answer", f"{type(error).__name__}: {error}") from error

    def pid(self) -> int:
        """Return the number of the actor's process."""
        found: int = ray.get(self.actor.pid.remote(), timeout=self._timeout)
        return found

    def state(self) -> State:
        """Return how it is doing."""
        return State(*self._call("state"))

    def draft(self, *, served: bool = False) -> bytes | None:
        """Return the last draft that it has, or that of the version which is served."""
        found: bytes | None = self._call("draft", served=served)
        return found

    def prepare(self, draft: bytes) -> None:
        """Write down a version that nobody is given yet."""
        self._call("prepare", draft)

    def show(self, number: int) -> None:
        """Give a candidate to replicas, for a part of their queries."""
        self._call("show", number)

    def settle(self, number: int, is_good: bool) -> None:
        """Serve a version that was prepared, or give it up."""
        self._call("settle", number, is_good)

    def held(self, first: int, last: int) -> bytes:
        """Return the contributions to some versions that no step has used."""
        found: bytes = self._call("held", first, last)
        return found

    def take(self, first: int, last: int) -> bytes:
        """Set contributions apart for a step, and return all that are."""
        found: bytes = self._call("take", first, last)
        return found

    def newest(self) -> Newest:
        """Return the numbers and names of the versions that replicas are given."""
        return Newest(*self._call("newest"))

    def wire(self, name: str) -> bytes:
        """Return the bytes of a version by their name."""
        found: bytes = self._call("wire", name)
        return found

    def join(self, replica: int) -> int:
        """Return the incarnation of a replica that begins."""
        found: int = self._call("join", replica)
        return found

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Hand in a packet."""
        refused, newest, expected = self._call("submit", packet)
        return refused, newest, expected

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Hand in labels or gradients of answers."""
        found: dict[str, int] = self._call("feedback", tickets, label, gradient=gradient)
        return found

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait were answered with."""
        return np.asarray(self._call("outputs", tickets), dtype=np.float64)

    def checkpoint(self) -> None:
        """Write all of its state into its journal."""
        self._call("checkpoint")


def start_shards(
    qnode: object,
    params: ArrayLike | None = None,
    *,
    folder: "os.PathLike[str] | str",
    shards: SupportsIndex,
    name: str = "efl",
    namespace: str = "efl",
    actor: Callable[[int], Mapping[str, Any]] | None = None,
    timeout: SupportsFloat = 60.0,
    **options: Any,  # noqa: ANN401 (those of Shard)
) -> list[RayShard]:
    """Start the shards of a fleet, or find those that run; return them in the order of their indices.

    Parameters
    ----------
    qnode, params, options
        See `Shard`: ``inputs``, ``loss``, ``keep``, ``pending``, ``buckets``.
    folder
        Where their journals are, ``NAME-INDEX.journal``: a disk that is there wherever Ray may start the
        actor again, and that is no network file system.
    shards
        How many.
    name, namespace
        Of the fleet: actors are named ``NAME-INDEX``, in a namespace of Ray.
    actor
        Returns options of Ray for the actor of an index: ``num_cpus``, ``resources``, ``lifetime`` ...
    timeout
        Seconds that a call takes at most, restarts included.
    """
    count = integer("shards", shards, 1, 1024)
    where = Path(folder).resolve()
    try:
        ray.cloudpickle.dumps(qnode)
    except Exception as error:  # whatever a device of the user's raises
        raise InputTypeError.of(
            "qnode", "one that can be sent to another process", f"{described(qnode)} ({error})"
        ) from error
    found = []
    for index in range(count):
        own = {
            "num_cpus": 0.1,
            **({} if actor is None else actor(index)),
            "name": f"{name}-{index}",
            "namespace": namespace,
            "get_if_exists": True,
            "max_restarts": -1,
            "max_task_retries": -1,
            "max_concurrency": THREADS,
        }
        journal = str(where / f"{name}-{index}.journal")
        given = {**options, "qnode": qnode, "params": params, "index": index, "shards": count}
        found.append(RayShard(ray.remote(_Actor).options(**own).remote(journal, given), timeout))
    for one in found:
        try:
            one.state()
        except EflError:  # one that cannot begin is in nobody's way
            ray.kill(one.actor, no_restart=True)
            raise
    return found


def shards_of(name: str = "efl", *, namespace: str = "efl", timeout: SupportsFloat = 60.0) -> list[RayShard]:
    """Return the shards of a fleet that anybody in this cluster has started."""

    def found(index: int) -> RayShard:
        return RayShard(ray.get_actor(f"{name}-{index}", namespace), timeout)

    try:
        first = found(0)
        return [first, *(found(index) for index in range(1, first.state().shards))]
    except ValueError as error:  # Ray's
        what = "that of a fleet whose shards run in this cluster"
        raise InvalidInputError.of("name", what, repr(name)) from error


def stop_shards(shards: Sequence[Port]) -> None:
    """End actors, for good: checkpoints are written, and journals stay."""
    for shard in shards:
        if isinstance(shard, RayShard):
            shard._call("close")
            ray.kill(shard.actor, no_restart=True)
