"""The coordinator: a learner whose contributions are counted by shards, and who steps for all of them.

It merges their tallies, which are integers, so that the gradient has the same bits with any number of shards.
A version is prepared on the first shard, then on the others, then served on the first, then on the others.
What the first shard has written down is decided: whoever coordinates next goes on from there.

Invariant: a version is on all shards before a replica is given it; a step has used the contributions that its
version uses up, also where a coordinator dies between two calls, or where there are two of them.
Cost: for a step four calls to each shard; it watches them ten times a second.
"""

import logging
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import real
from efl_core.errors import InvalidInputError, ShapeError
from efl_core.fleet.canary import Canary
from efl_core.fleet.cluster.drafts import Draft, Port, State, compiled, digest_of, held_of, merged
from efl_core.fleet.cluster.routing import hand_in, outputs_of, replica_of, shard_of
from efl_core.fleet.journal.notes import Step
from efl_core.fleet.learner import Learner
from efl_core.fleet.models import Model
from efl_core.fleet.published import Counted, could_teach
from efl_core.fleet.versions import Version, kind_of
from efl_core.fleet.web.wire import described_version, read_version
from efl_core.training.optimizers import read_optimizer

__all__ = ["Coordinator"]

LOGGER = logging.getLogger("efl_core")
Floats = NDArray[np.float64]
T = TypeVar("T")
# Counters of a shard that say how many versions it was given: they are not its own.
VERSIONS = ("promoted", "rolled_back")
# Versions of which nobody has said that they were prepared, and which may be later.
LATE = 8


class _Move(NamedTuple):
    """A version that is being published: it may be known to some shards."""

    draft: Draft
    version: Version
    is_step: bool


class Coordinator(Learner):
    """A learner whose replicas are spread over shards.

    It is used as any `Learner` is: by ``train``, ``step``, ``publish``, ``gradient``, ``status``, by replicas
    in its own process and by `asgi`. One that is started again goes on at the parameters that are served.

    Parameters
    ----------
    qnode, params, loss, options
        See `Learner`; the options are its own but for ``journal``, which shards have.
    shards
        All of them, in the order of their indices.
    inputs
        Those of a query, as a tuple, or its only argument.
    every
        Seconds between two looks at the shards.
    renew
        Whether shards that know nothing may begin anew among others that do: their journals are gone, and
        what they had counted since the last step is given up. Otherwise that is refused.
    """

    def __init__(
        self,
        qnode: object,
        params: ArrayLike | None = None,
        *,
        shards: Sequence[Port],
        inputs: object,
        every: SupportsFloat = 0.1,
        renew: bool = False,
        **options: Any,  # noqa: ANN401 (those of Learner)
    ) -> None:
        self._ports = tuple(shards)
        if not self._ports:
            raise InvalidInputError.of("shards", "one or more", "none")
        if options.get("journal") is not None:
            raise InvalidInputError.of("journal", "none here: each shard has one", "one")
        self._every, self._renew = real("every", every), renew
        self._number: int | None = None
        # Those that shards may have been told of: a call that nobody has answered may be done later.
        self._moves: list[_Move] = []
        self._is_moving = False
        self._verdict: tuple[int, bool] | None = None
        self._used: tuple[tuple[int, str], ...] = ()
        # What updates keep, as of the last step that was published.
        self._kept: dict[str, dict[str, Any]] = {}
        self._told: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(len(self._ports), thread_name_prefix="efl-shards")
        self._ending = threading.Event()
        self._trouble = ""
        super().__init__(qnode, params, inputs=inputs, **options)
        watcher = threading.Thread(
            target=_watched,
            args=(weakref.ref(self), self._ending, self._every),
            name="efl-coordinator",
            daemon=True,
        )
        watcher.start()

    # ---- calls to shards ---------------------------------------------------------------------------------

    def _all(self, call: Callable[[Port], T], ports: Sequence[Port] | None = None) -> list[T]:
        """Call shards at the same time; raise where one of them is away, when all have answered."""
        calls = [self._pool.submit(call, port) for port in (self._ports if ports is None else ports)]
        failed = [error for error in (own.exception() for own in calls) if error is not None]
        if failed:
            raise failed[0]
        return [own.result() for own in calls]

    def _first_then_all(self, call: Callable[[Port], None]) -> None:
        """Call the first shard, by which it is decided, and then the others."""
        call(self._ports[0])
        self._all(call, self._ports[1:])

    @property
    def trouble(self) -> str:
        """Why shards were not reached when they were looked at last; empty if they were."""
        return self._trouble

    # ---- beginning ---------------------------------------------------------------------------------------

    def _start_up(self, inputs: object) -> None:
        try:
            self._go_on()
            self.open(inputs if isinstance(inputs, tuple) else (inputs,))
        except BaseException:
            self.close()
            raise

    def _go_on(self) -> None:
        """End what another coordinator has begun, and start at what is served."""
        states = self._all(lambda port: port.state())
        for index, state in enumerate(states):
            if (state.shard, state.shards) != (index, len(states)):
                raise InvalidInputError.of(
                    f"shards[{index}]",
                    f"shard {index} of {len(states)}",
                    f"shard {state.shard} of {state.shards}",
                )
        known = [index for index, state in enumerate(states) if state.newest is not None]
        if not known:
            return
        first = states[known[0]]
        number = first.newest
        assert number is not None  # it is known
        draft = Draft.of(_present(self._ports[known[0]].draft()))
        # A first version that is not everywhere: nobody was given it, and no replica has joined.
        joined = sum(state.counts.get("replicas", 0) for state in states)
        is_begun = known[0] == 0 and first.versions == 1 and not joined
        for index, state in enumerate(states):
            if state.newest is None and not (is_begun or self._renew):
                raise self._forgotten(index)
            if state.newest is not None and not number - 1 <= state.newest <= number:
                what = "a journal as new as that of the others"
                raise InvalidInputError.of(f"shards[{index}]", what, f"one of version {state.newest}")
        if first.served == number or first.candidate == number:
            behind = [
                own
                for own, state in zip(self._ports, states, strict=True)
                if state.newest == number - 1 or (state.newest is None and is_begun)
            ]
            self._all(lambda port: port.prepare(draft.to_bytes()), behind)
            is_good = first.served == number or draft.trial is None
        else:
            is_good = False
        told = [own for own, state in zip(self._ports, states, strict=True) if state.newest or is_begun]
        for port in told:
            port.settle(number, is_good)
        served = Draft.of(_present(self._ports[known[0]].draft(served=True)))
        params = read_version(served.wire).params
        if params.shape != self._shape:
            raise ShapeError.of("shards", f"parameters of shape {self._shape}", params.shape)
        self._number, self._start, self._steps = number, params, draft.steps
        self._fleet = draft.reader().version.fleet
        self._keep_updates(draft.updates)
        LOGGER.info("%d shards go on behind version %d", len(states), number)

    @staticmethod
    def _forgotten(index: int) -> InvalidInputError:
        what = "a journal that has the versions of the others (or renew=True)"
        return InvalidInputError.of(f"shards[{index}]", what, "an empty one")

    def _keep_updates(self, updates: dict[str, dict[str, Any]]) -> None:
        """Let updates be as they were when a step was published."""
        self._kept = updates
        for name in {*self._optimizers, *updates}:
            fresh = read_optimizer(name, None)
            own = self._optimizers.setdefault(name, fresh)  # in place: a step may be at work with it
            own.restore(updates.get(name, fresh.to_dict()))

    # ---- versions ----------------------------------------------------------------------------------------

    @property
    def _newest(self) -> int | None:
        return self._number

    def _check(self) -> None:
        """End what was begun when a shard went away."""
        with self._stepping:
            if self._verdict is not None:
                self._decide(*self._verdict)
            first = self._ports[0].state()
            for move in self._moves:
                if move.draft.name in first.drafts:
                    self._make(move)
                    self._keep_updates(self._kept)
                    return
            self._check_known(0, first)
            if self._is_moving:  # nothing was decided: the step has not happened
                self._is_moving = False
                self._keep_updates(self._kept)

    def _check_known(self, index: int, state: State) -> None:
        """Refuse a shard that others have told of versions, or that has forgotten them."""
        if state.newest is None and self._number is not None and not self._renew:
            raise self._forgotten(index)
        if state.newest is not None and state.newest != self._number:
            what = f"one that has published version {state.newest}"
            raise InvalidInputError.of("coordinator", "no other one of these shards", what)

    def _made(self, model: Model, vector: Floats) -> tuple[Version, _native.FleetReader | None]:
        self._check()
        before = self._fleet
        found = super()._made(model, vector)
        if self._number is not None and self._fleet != before:
            what = "those of this circuit, loss and split of shots"
            raise InvalidInputError.of("shards", what, "those of others")
        return found

    def _publish(
        self,
        version: Version,
        reader: _native.FleetReader | None,
        *,
        trial: tuple[float, int] | None = None,
        step: Step | None = None,
    ) -> None:
        """Publish a version on all shards; the contributions of a step are used up with it."""
        if reader is None:
            raise InvalidInputError.of("share", "above 0, or there is nothing to count", 0)
        if trial is not None and not self._has_losses:
            raise InvalidInputError.of("canary", "none with a loss that the learner does not know", "one")
        self._settle(False)
        updates = dict(self._kept)
        if step is not None and step.update is not None:
            updates[step.update] = step.state
        draft = Draft(
            number=version.number,
            shards=len(self._ports),
            wire=described_version(version, kind_of(self._loss), self._fleet),
            compiled=compiled(reader),
            settings=tuple(repr(entry.setting) for entry in version.roster.entries),
            trial=trial,
            step=step,
            used=() if step is None else self._used,
            steps=self._steps + (step is not None),
            updates=updates,
        )
        self._moves = [*self._moves[-LATE:], _Move(draft, version, step is not None)]
        self._is_moving = True
        self._make(self._moves[-1])

    def _make(self, move: _Move) -> None:
        """Prepare a version everywhere, then serve it, or try it; what was done before is not done twice."""
        draft = move.draft
        data, number = draft.to_bytes(), draft.number
        self._first_then_all(lambda port: port.prepare(data))
        if draft.trial is None:
            self._first_then_all(lambda port: port.settle(number, True))
        else:
            self._all(lambda port: port.show(number))
        with self._changed:
            self._moves, self._is_moving = [], False
            self._number, self._kept = number, draft.updates
            if move.is_step:
                self._left, self._lost = [], 0
                self._steps = draft.steps
            self._served.append(could_teach(self.counts))
            if draft.trial is None:
                self._version = move.version
            else:
                self._canary = Canary(move.version, *draft.trial)
            self._changed.notify_all()

    # ---- candidates --------------------------------------------------------------------------------------

    def _settle(self, is_good: bool) -> None:
        """Serve the candidate, or give it up, if there is one."""
        if self._canary is not None:
            self._decide(self._canary.version.number, is_good)

    def _decide(self, number: int, is_good: bool) -> None:
        canary = self._canary
        assert canary is not None  # there is one until all shards have been told
        if not is_good and self._verdict is None:
            self._lost += sum(tally.queries for _, _, tally in self._tallies(number, number))
        self._verdict = number, is_good
        self._first_then_all(lambda port: port.settle(number, is_good))
        with self._changed:
            self._verdict, self._canary = None, None
            if is_good:
                self._version = canary.version
            self._told["promoted" if is_good else "rolled_back"] += 1
            self._changed.notify_all()

    # ---- what replicas call, where they are in this process ----------------------------------------------

    def _port(self, replica: int) -> Port:
        return self._ports[shard_of(replica, len(self._ports))]

    def join(self, replica: SupportsIndex) -> int:
        """Return the incarnation of a replica that begins."""
        return self._port(int(replica)).join(int(replica))

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Take a packet: why it was refused, the version served, and the query expected next."""
        return self._port(replica_of(packet)).submit(packet)

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Take the labels of some answers, or gradients by them; see `Learner.feedback`.

        Where a shard is away, some may have been taken: hand in all of them again, and each counts once.
        """
        return hand_in(self._ports, tickets, label, gradient)

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait for their labels were answered with, ``(queries, outputs)``."""
        return outputs_of(self._ports, tickets)

    # ---- learning ----------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """What became of queries and labels on all shards; of candidates, since the coordinator began."""
        found: Counter[str] = Counter()
        for state in self._all(lambda port: port.state()):
            found.update({name: count for name, count in state.counts.items() if name not in VERSIONS})
        found.update(self._told)
        return dict(found)

    @property
    def taught(self) -> int:
        """Contributions that no step has used."""
        return sum(tally.queries for _, _, tally in self._unused(None))

    def _unused(self, window: SupportsIndex | None) -> list[Counted]:
        self._check_teaching()
        return self._tallies(self._oldest(window), self.version.number)

    def _tallies(self, first: int, last: int) -> list[Counted]:
        return merged(held_of(data) for data in self._all(lambda port: port.held(first, last)))

    def _take(self, oldest: int, newest: int) -> None:
        parts = [held_of(data) for data in self._all(lambda port: port.take(oldest, newest))]
        self._used = tuple((len(part), digest_of(part)) for part in parts)
        self._left = merged(parts)

    def look(self) -> list[State]:
        """Look at all shards now: tell those that were started again, and judge a candidate."""
        with self._stepping:
            self._check()
            canary = self._canary
            states = self._all(lambda port: port.state())
            for index, (port, state) in enumerate(zip(self._ports, states, strict=True)):
                self._check_known(index, state)
                if not state.is_shown and state.served == self.version.number:
                    port.settle(self.version.number, True)
                if canary is not None and state.candidate is not None and not state.is_tried:
                    port.show(canary.version.number)
            with self._changed:
                self._judge()
                self._changed.notify_all()
            return states

    # ---- ending ------------------------------------------------------------------------------------------

    def checkpoint(self) -> None:
        """Let all shards write their states into their journals."""
        self._all(lambda port: port.checkpoint())

    def close(self) -> None:
        """Stop looking at the shards, and leave them as they are: they go on counting."""
        self._ending.set()
        self._pool.shutdown(wait=True)


def _present(draft: bytes | None) -> bytes:
    if draft is None:
        raise InvalidInputError.of("shards", "the version that they serve", "none")
    return draft


def _watched(which: "weakref.ref[Coordinator]", ending: threading.Event, every: float) -> None:
    """Look at the shards again and again, as long as there is a coordinator."""
    while not ending.wait(every):
        coordinator = which()
        if coordinator is None:
            return
        try:
            if coordinator.is_open:
                coordinator.look()
            coordinator._trouble = ""
        except Exception as error:  # whatever it is, it is tried again
            if ending.is_set():
                return
            if str(error) != coordinator._trouble:
                LOGGER.warning("shards are not reached: %s", error)
            coordinator._trouble = str(error)
        del coordinator
