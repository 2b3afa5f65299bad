"""A shard: a learner that counts what its replicas hand in, and is told by a coordinator when to step.

It has a machine and a journal of its own, and makes no version: it is given them. A version comes in two
moves. `prepare` writes it down, with the contributions that its step has used; `settle` serves it, which the
coordinator asks for when all shards have prepared it. Both may be asked for twice. A shard that is started
again has what it had prepared, and waits to be told.

Invariant: a version has the same number and the same bits on all shards; contributions are used up by the
version whose step has used these and no others, and once. Cost: that of a learner without its plans.
"""

import os
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import integer
from efl_core.errors import CorruptDataError, InvalidInputError, LearnerAwayError, ShapeError
from efl_core.fleet.away import Newest
from efl_core.fleet.canary import Canary
from efl_core.fleet.cluster.drafts import Draft, State, digest_of, held_as_bytes
from efl_core.fleet.cluster.routing import replica_of, shard_of
from efl_core.fleet.journal import Recovered
from efl_core.fleet.journal.notes import VERSION, Step, VersionNote
from efl_core.fleet.learner import Learner
from efl_core.fleet.models import Model, made_model
from efl_core.fleet.published import Counted, could_teach
from efl_core.fleet.updates import Update
from efl_core.fleet.versions import Version, kind_of
from efl_core.fleet.web.wire import made_here, read_version

__all__ = ["Shard"]

Floats = NDArray[np.float64]
# What a version that no replica is given is a candidate for, as far as the machine is concerned.
NOBODY = 0.5
# Versions whose bytes are kept, for replicas that are a little behind.
KEPT = 4


class Shard(Learner):
    """A part of the replicas of a fleet, and what they have taught.

    Parameters
    ----------
    qnode, params, inputs, loss
        As the coordinator has them: what is served, parameters of the right shape, the inputs of a query,
        and the loss.
    index, shards
        Which of how many it is: replicas of others are refused.
    keep, pending, buckets, journal
        See `Learner`; ``pending`` is for each shard.

    Examples
    --------
    >>> import efl_core as efl
    >>> from efl_core.fleet.cluster import Coordinator, Shard
    >>> circuit = efl.Circuit(1, parameters=[0.4])
    >>> x = circuit.input(0.0)
    >>> model = circuit.ry(x, 0).ry(efl.Parameter(0), 0)
    >>> model.observables = (efl.PauliSum("Z"),)
    >>> shards = [
    ...     Shard(model, inputs=[0.0], loss="squared", index=index, shards=2) for index in range(2)
    ... ]
    >>> with Coordinator(model, shards=shards, inputs=[0.0], loss="squared", seed=1) as learner:
    ...     for name in range(4):
    ...         with efl.fleet.Replica(model, learner, seed=name) as replica:
    ...             answers = replica.answers(np.linspace(-1, 1, 16)[:, None])
    ...             told = replica.feedback(answers.tickets, np.cos(np.linspace(-1, 1, 16) + 0.1))
    ...     report = learner.step("descent")
    >>> report.gradient.queries, [shard.counts["taught"] for shard in shards]
    (64, [48, 16])
    """

    def __init__(
        self,
        qnode: object,
        params: ArrayLike | None = None,
        *,
        inputs: object,
        loss: object = "upstream",
        index: SupportsIndex = 0,
        shards: SupportsIndex = 1,
        keep: SupportsIndex = 64,
        pending: SupportsIndex = 200_000,
        buckets: SupportsIndex = 1,
        journal: "os.PathLike[str] | str | None" = None,
    ) -> None:
        self._shards = integer("shards", shards, 1, 1024)
        self._index = integer("index", index, 0, self._shards - 1)
        integer("keep", keep, 2)  # the version that is served, and one that is prepared
        self._inputs = inputs if isinstance(inputs, tuple) else (inputs,)
        self._model: Model | None = None
        self._prepared: Canary | None = None
        self._is_shown = False
        self._drafts: dict[int, Draft] = {}
        super().__init__(
            qnode, params, loss=loss, keep=keep, pending=pending, buckets=buckets, journal=journal
        )

    # ---- starting again ----------------------------------------------------------------------------------

    def _end_trial(self, machine: _native.FleetMachine, found: Recovered) -> None:
        """Keep a version that was prepared: others may have it, too."""

    def _resume(self, found: Recovered) -> None:
        super()._resume(found)
        machine = self._machine
        assert machine is not None  # that is what there is to resume
        if not found.draft:
            raise InvalidInputError.of("journal", "that of a shard", "that of a learner by itself")
        draft = Draft.of(found.draft)
        if draft.shards != self._shards:
            raise InvalidInputError.of("shards", f"{draft.shards}, as in the journal", self._shards)
        self._drafts[draft.number] = draft
        self._version = self._made_of(draft)
        # The first one may be here alone.
        self._is_shown = len(self._served) > 1
        if found.trial_draft:
            draft = Draft.of(found.trial_draft)
            self._drafts[draft.number] = draft
            self._prepared = Canary(self._made_of(draft), *(draft.trial or (NOBODY, 2)))

    def _made_of(self, draft: Draft) -> Version:
        """Make the version of a draft; refuse one of another circuit or loss."""
        described = read_version(draft.wire)
        if described.content["kind"] != kind_of(self._loss):
            raise InvalidInputError.of(
                "loss", f"{described.content['kind']}, as the coordinator has it", kind_of(self._loss)
            )
        if described.params.shape != self._shape:
            raise ShapeError.of(
                "params", f"shape {described.params.shape}, as the coordinator's", self._shape
            )
        if self._model is None:
            self._model = made_model(self._qnode, described.params, self._inputs, described.device)
        version = made_here(described, self._model)
        if version.native is None or version.number != draft.number:
            raise CorruptDataError.of("draft", f"version {draft.number}, which teaches", "another one")
        return version

    # ---- versions ----------------------------------------------------------------------------------------

    def state(self) -> State:
        """Return how it is doing, for a coordinator."""
        with self._changed:
            machine, version, prepared = self._machine, self._version, self._prepared
            drafts = [
                "" if own is None else self._drafts[own.number].name
                for own in (version, None if prepared is None else prepared.version)
            ]
            return State(
                shard=self._index,
                shards=self._shards,
                newest=None if machine is None else machine.newest,
                served=None if machine is None else machine.served,
                candidate=None if machine is None else machine.candidate,
                versions=len(self._served),
                is_shown=self.is_open,
                is_tried=self._canary is not None,
                drafts=(drafts[0], drafts[1]),
                counts=self.counts,
            )

    def draft(self, *, served: bool = False) -> bytes | None:
        """Return the last draft that it has, or that of the version which is served."""
        with self._changed:
            own = self._version if served or self._prepared is None else self._prepared.version
            return None if own is None else self._drafts[own.number].to_bytes()

    def prepare(self, draft: bytes) -> None:
        """Write down a version that nobody is given yet; contributions of its step are used up.

        The same draft is taken once. Another one for the same number is refused, as is one whose step has
        used other contributions than those that were last set apart.
        """
        own = Draft.of(draft)
        with self._stepping:
            self._check()
            if not self._is_news(own):
                return
            version, reader = self._made_of(own), own.reader()
            if reader.version != version.native:
                raise CorruptDataError.of("draft", f"the readings of version {own.number}", "others")
            self._write(own, version, reader)
            self._commit()

    def _is_news(self, own: Draft) -> bool:
        """Return whether a draft is the one that comes next; False for the one that came last."""
        if own.shards != self._shards:
            raise InvalidInputError.of("shards", f"{self._shards} of them", own.shards)
        machine = self._machine
        if machine is None:  # the first, whatever its number: a shard may be new among others
            return True
        newest = machine.newest or 0
        known = self._drafts.get(own.number)
        if known is not None and own.number == newest:
            if known.name != own.name:
                raise InvalidInputError.of(
                    "draft",
                    f"version {newest} as it is known here",
                    "another: is there a second coordinator?",
                )
            return False
        if own.number != newest + 1 or machine.candidate is not None:
            what = f"version {newest + 1}" if machine.candidate is None else f"version {newest} to be settled"
            raise InvalidInputError.of("draft", what, f"version {own.number}")
        if own.step is not None:
            count, digest = own.used[self._index]
            if digest_of(self._left[:count]) != digest:
                raise InvalidInputError.of(
                    "draft",
                    "a step that has used what was set apart here",
                    "another: is there a second coordinator?",
                )
        return True

    def _write(self, own: Draft, version: Version, reader: _native.FleetReader) -> None:
        """Do what `Learner._publish` does, with a version that was made elsewhere."""
        with self._changed:
            if self._machine is None:
                assert version.native is not None  # it teaches
                self._fleet = version.native.fleet
            is_first, known = self._machine is None, self._known
            machine = self._begin(version, reader)
            step = None if own.step is None else self._part(own.step, own.used[self._index][0])
            note = VersionNote(version.params, step, own.settings, self._buckets, own.to_bytes())
            machine.note(VERSION, note.to_bytes())
            share, labels = own.trial or (NOBODY, 2)
            machine.publish(reader, None if is_first else share)
            if is_first:
                self._version, known.params, known.draft = version, version.params, own.to_bytes()
            else:
                self._prepared = Canary(version, share, labels)
                known.trial, known.trial_draft = version.params, own.to_bytes()
            self._drafts[own.number] = own
            if step is not None:
                self._left, self._lost = self._left[step.used :], 0
                self._steps += 1
            self._served.append(could_teach(machine.counts))

    def _part(self, step: Step, used: int) -> Step:
        """Return what this shard's contributions alone say, for whoever adds them up again."""
        held = [one for one in self._left[:used] if one[0] >= step.oldest]
        value, stderr, queries = np.zeros(0), np.zeros(0), 0
        if held:
            ages = np.array([step.served - number for number, _, _ in held], dtype=np.float64)
            weights = step.decay**ages
            value, stderr, queries = _native.fleet_gradient([tally for _, _, tally in held], weights)
        return Step(value, stderr, queries, step.oldest, step.served, step.decay, used=used)

    def show(self, number: int) -> None:
        """Give a candidate to replicas, for a part of their queries."""
        with self._changed:
            if self._prepared is None or self._prepared.version.number != number:
                raise InvalidInputError.of("number", "that of a version that was prepared", number)
            self._canary = self._prepared

    def settle(self, number: int, is_good: bool) -> None:
        """Serve a version that was prepared, or give it up; what was settled like that before stays so."""
        with self._stepping:
            self._check()
            with self._changed:
                machine = self._machine
                if machine is not None and machine.candidate == number:
                    self._end(is_good)
                elif machine is None or machine.newest != number or is_good != (machine.served == number):
                    what = "that of the version that was prepared last"
                    raise InvalidInputError.of("number", what, number)
                self._is_shown = self._is_shown or is_good
                self._changed.notify_all()
            self._commit()

    def _end(self, is_good: bool) -> None:
        """Serve what was prepared, or give it up."""
        known = self._known
        if is_good:
            self._canary, known.draft = self._prepared, known.trial_draft
        self._settle(is_good)
        self._prepared, self._canary, known.trial_draft = None, None, b""
        assert self._version is not None  # or nothing is prepared
        served, newest = self._version.number, max(self._drafts)
        self._drafts = {
            number: own for number, own in self._drafts.items() if number == served or number > newest - KEPT
        }

    def _judge(self) -> None:
        """Leave that to the coordinator, who knows all losses."""

    # ---- what replicas ask -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether there is a version that replicas are given."""
        return self._version is not None and self._is_shown

    @property
    def version(self) -> Version:
        """The version that is served."""
        if self._version is None or not self._is_shown:
            raise LearnerAwayError.of("shard", "a version from its coordinator", "none yet")
        return self._version

    def open(self, inputs: tuple[Any, ...]) -> Version:
        """Return the version that is served; a shard makes none."""
        return self.version

    def newest(self) -> Newest:
        """Return the numbers and names of the versions that replicas are given."""
        with self._changed:
            version, canary = self.version, self._canary
            own = self._drafts[version.number].hash
            if canary is None:
                return Newest(version.number, own, None, "", 0.0)
            tried = canary.version.number
            return Newest(version.number, own, tried, self._drafts[tried].hash, canary.share)

    def wire(self, name: str) -> bytes:
        """Return the bytes of a version by their name."""
        with self._changed:
            for own in self._drafts.values():
                if own.hash == name:
                    return own.wire
        raise InvalidInputError.of("name", "that of a version which is kept", name)

    def join(self, replica: SupportsIndex) -> int:
        """Return the incarnation of a replica that begins."""
        self._check_own(int(replica))
        self.version  # noqa: B018 (says so, if there is none)
        return super().join(replica)

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Take a packet: why it was refused, the version served, and the query expected next."""
        self._check_own(replica_of(packet))
        self.version  # noqa: B018 (says so, if there is none)
        return super().submit(packet)

    def _check_own(self, replica: int) -> None:
        if shard_of(replica, self._shards) != self._index:
            raise InvalidInputError.of("replica", f"one of shard {self._index} of {self._shards}", replica)

    # ---- what a coordinator asks -------------------------------------------------------------------------

    def held(self, first: int, last: int) -> bytes:
        """Return the contributions to some versions that no step has used."""
        with self._changed:
            left: list[Counted] = [own for own in self._left if first <= own[0] <= last]
            return held_as_bytes(left + self._tallies(first, last))

    def take(self, first: int, last: int) -> bytes:
        """Set contributions apart for a step, with all that was set apart before, and return those."""
        with self._stepping:
            self._check()
            if self._machine is None:
                raise LearnerAwayError.of("shard", "a version from its coordinator", "none yet")
            self._take(first, last)
            self._commit()
            return held_as_bytes(self._left)

    def _read_update(self, update: object) -> Update:
        raise InvalidInputError.of("update", "the coordinator's, who steps for all shards", "one of a shard")

    def publish(
        self, params: ArrayLike, *, canary: SupportsFloat | None = None, labels: SupportsIndex = 32
    ) -> Version:
        """Refuse: the coordinator publishes, on all shards."""
        raise InvalidInputError.of("params", "the coordinator's, who publishes on all shards", "some for one")
