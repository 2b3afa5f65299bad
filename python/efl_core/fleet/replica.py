"""A replica: answers queries as a QNode does, and leaves behind what its measurements say of the gradient.

It lives in a worker of the user's. Answers never wait for the learner: what teaches goes into an outbox, and
a thread of its own hands that over.

Invariant: an answer is the same with the learner there or away; a query has one number, whatever becomes of
it. Cost: a query is one tape and its shots; see `efl_core.pennylane.serving`.
"""

import math
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import integer, listed
from efl_core.calibrations import Calibration
from efl_core.errors import InvalidInputError
from efl_core.fleet.links import Direct, Teacher, Uplink
from efl_core.fleet.models import Model, made_model
from efl_core.fleet.outbox import Life, Outbox
from efl_core.fleet.roster import Serve
from efl_core.fleet.serving import Served, serve
from efl_core.fleet.versions import Version
from efl_core.fleet.web.remote import Remote
from efl_core.pennylane.keys import same_gates
from efl_core.pennylane.options import Options
from efl_core.pennylane.serving import Point

__all__ = ["Answer", "Answers", "Replica"]

Floats = NDArray[np.float64]
# Standard errors by which contrasts of devices that are alike may differ.
ALIKE = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """The answer to a query."""

    value: Any
    """What the QNode returns: a number, or a tuple or list of them."""
    stderr: Any
    """Its standard error, of the same form."""
    ticket: str
    """By which a label finds the query."""
    version: int
    """The version of the parameters that answered."""

    def __repr__(self) -> str:
        return f"Answer({self.value!r} +- {self.stderr!r}, version {self.version})"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The answers to several queries."""

    value: Any
    """As `Answer.value`, each number an array of them."""
    stderr: Any
    """The standard errors, of the same form."""
    tickets: list[str]
    """The ticket of each query."""
    version: int
    """The version of the parameters that answered; the older one where a candidate has answered some."""

    def __len__(self) -> int:
        return len(self.tickets)


class Replica:
    """A QNode that is served, and teaches while it answers.

    Parameters
    ----------
    qnode
        The QNode, on the worker's own device, or the circuit that the learner has.
    learner
        Where contributions go: a `Learner`, the address of one, ``"http://host:port"``, that is served
        (`efl_core.fleet.asgi`), or a link to one (`efl_core.fleet.cluster.Spread`).
    shots, share, serve
        How the shots of a query are split, the same in the whole fleet: all of them, the part that teaches,
        and ``"split"`` or ``"gentle"``. By default as the learner says: 64, 0.25, ``"split"``.
    packet
        Queries that are sent together at most; those that wait are sent after 50 ms.
    bound
        Queries that wait for a learner that is away; the oldest are given up.
    seed
        Of outcomes that are simulated, and of the replica's name: another one for each replica. What a device
        draws has its own.
    calibration
        Of the readout of its own device, where the learner has one: only compared with that, as a fleet has
        devices that are alike. Signs are divided by the learner's.
    key
        With an address, by what the learner knows its replicas: `Keys.of` and `efl fleet key` give it out.
    """

    def __init__(
        self,
        qnode: object,
        learner: Teacher | Uplink | str,
        *,
        shots: SupportsIndex | None = None,
        share: SupportsFloat | None = None,
        serve: Serve | None = None,
        packet: SupportsIndex = 64,
        bound: SupportsIndex = 10_000,
        seed: SupportsIndex | None = None,
        calibration: Calibration | None = None,
        key: str | None = None,
    ) -> None:
        self._link = _linked(qnode, learner, key)
        self._link.agree(shots, share, serve)
        self._qnode = qnode
        self._packet, self._bound = integer("packet", packet, 1, 10_000), integer("bound", bound, 1)
        self._seed = None if seed is None else integer("seed", seed, 0, 2**64 - 1)
        self._calibration = Options.read({"calibration": calibration}).calibration
        self._lock = threading.RLock()
        self._model: Model | None = None
        self._at: dict[Version, Point] = {}
        self._box: Outbox | None = None
        self._pid = 0

    # ---- answering ---------------------------------------------------------------------------------------

    def answer(self, *inputs: Any) -> Answer:  # noqa: ANN401 (what the QNode takes)
        """Answer a query: ``qnode(*inputs, params)`` at the newest parameters, from shots."""
        [(version, served, ticket)] = self._serve([inputs])
        model, readout = version.model if self._model is None else self._model, served.readout
        return Answer(model.shaped(readout.mean[0]), model.shaped(readout.stderr[0]), ticket, version.number)

    def answers(self, inputs: Any, *more: Any) -> Answers:  # noqa: ANN401
        """Answer several queries as one batch: of each argument a sequence, with an entry for each query."""
        columns = [self._rows(values) for values in (inputs, *more)]
        if len({len(column) for column in columns}) != 1:
            raise InvalidInputError.of(
                "inputs", "as many of each argument", [len(column) for column in columns]
            )
        if not columns[0]:
            raise InvalidInputError.of("inputs", "those of one query or more", "none")
        found = self._serve(list(zip(*columns, strict=True)))
        oldest = min((version for version, _, _ in found), key=lambda version: version.number)
        model = oldest.model if self._model is None else self._model
        mean = np.concatenate([one.readout.mean for _, one, _ in found])
        stderr = np.concatenate([one.readout.stderr for _, one, _ in found])
        tickets = [ticket for _, _, ticket in found]
        return Answers(model.shaped(mean), model.shaped(stderr), tickets, oldest.number)

    @staticmethod
    def _rows(values: Any) -> list[Any]:  # noqa: ANN401
        return listed("inputs", values, "a sequence with an entry for each query")

    def _serve(self, queries: Sequence[tuple[Any, ...]]) -> list[tuple[Version, Served, str]]:
        """Run queries under numbers of their own, and leave their bits in the outbox."""
        version, box = self._ready(queries[0])
        candidate, life = self._link.candidate, box.life

        def versions(first: int) -> Sequence[Version]:
            native = None if candidate is None else candidate.version.native
            if candidate is None or native is None or not life.is_known:
                return [version] * len(queries)
            chosen = native.chosen(candidate.share, *life, first, len(queries))
            return [candidate.version if own else version for own in chosen]

        numbered = box.begin(versions)
        found: list[tuple[Version, Served]] = []
        try:
            for own, part in groupby(range(len(queries)), lambda i: numbered[i].version):
                places = list(part)
                served = self._run(own, life, numbered[places[0]].sequence, [queries[i] for i in places])
                found += [(own, one) for one in served]
            for query, (_, one) in zip(numbered, found, strict=True):
                if one.teaches is not None:
                    query.answers, query.teaches = one.answers, one.teaches
        finally:
            if len(found) < len(queries):
                for query in numbered:
                    query.is_lost = True
            if version.native is not None and life.is_known:
                box.done(numbered)
        return [
            (own, one, self._link.ticket(life, query.sequence, query.teaches is not None))
            for query, (own, one) in zip(numbered, found, strict=True)
        ]

    def _run(self, version: Version, life: Life, first: int, queries: list[tuple[Any, ...]]) -> list[Served]:
        """Run consecutive queries of a version."""
        model, point = version.model if self._model is None else self._model, self._point(version)
        if version.native is None or not life.is_known:
            entries = np.full((len(queries), 1), -1)
        else:
            entries = version.native.entries(*life, first, len(queries))
        return serve(model, point, version.roster, queries, entries, self._drawn(first))

    def _drawn(self, number: int) -> int:
        """Return the seed of the outcomes of queries from this number on."""
        entropy = None if self._seed is None else (self._seed, number)
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])

    def _ready(self, inputs: tuple[Any, ...]) -> tuple[Version, Outbox]:
        """Return the version that is served, and the outbox."""
        version = self._link.version(inputs)
        known, box = self._at, self._box
        if version in known and box is not None and not self._is_over(box):
            return version, box
        with self._lock:
            if self._box is None or self._is_over(self._box):
                self._box = self._begun(self._box)
            if self._model is None and not version.model.is_of(self._qnode):
                self._model = made_model(self._qnode, version.params, inputs, version.model.options)
                self._check(self._model, version)
            if self._calibration is not None and version not in known:
                _check_alike(self._calibration, version)
            self._point(version)
            return version, self._box

    def _point(self, version: Version) -> Point:
        """Return what serves a version here."""
        if version in self._at:
            return self._at[version]
        with self._lock:
            model = self._model
            point = version.point if model is None else model.at(version.point.vector)
            # The version that is served and its candidate.
            self._at = dict([*list(self._at.items())[-1:], (version, point)])
            return point

    def _is_over(self, box: Outbox) -> bool:
        """Say whether queries need another outbox: the learner does not know this one, or not yet."""
        return self._pid != os.getpid() or not box.life.is_known or (self._link.rejoins and box.is_over)

    def _begun(self, before: Outbox | None) -> Outbox:
        """Begin a life; a forked worker is another replica."""
        name = int.from_bytes(os.urandom(8), "little") if self._seed is None else self._seed
        if self._pid not in (0, os.getpid()):
            name, before = int.from_bytes(os.urandom(8), "little"), None
        life = self._link.begin(name)
        self._pid = os.getpid()
        if before is None:
            return Outbox(self._link, life, self._packet, self._bound)
        if not (life.is_known or before.is_over):
            return before
        before.abandon()
        return Outbox(self._link, life, self._packet, self._bound, before.counts)

    @staticmethod
    def _check(model: Model, version: Version) -> None:
        if version.model.options.calibration is not None and model.wires != version.model.wires:
            what = f"wires {list(version.model.wires)}, whose readout the learner has calibrated"
            raise InvalidInputError.of("qnode", what, list(model.wires))
        own, known = model.at(version.point.vector).circuit, version.point.circuit
        if not same_gates(own, known) or model.outputs != version.model.outputs:
            raise InvalidInputError.of("qnode", "the gates and outputs that the learner knows", "others")

    # ---- teaching ----------------------------------------------------------------------------------------

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Hand in the labels of some answers, or the slopes of a loss by them; see `Learner.feedback`.

        The answers may be those of other replicas. What is measured here is handed over before.
        """
        self.flush(1.0)
        return self._link.feedback(tickets, label, gradient=gradient)

    def teach(self, *inputs: Any, label: ArrayLike) -> Answer:  # noqa: ANN401
        """Measure a query whose label is known, now and at the newest parameters: it teaches at once."""
        answer = self.answer(*inputs)
        self.feedback(answer.ticket, label)
        return answer

    def layer(self, inputs: Any) -> Any:  # noqa: ANN401 (a tensor of torch, an array of JAX)
        """Answer queries inside a model of torch or JAX: what its backward pass brings is their feedback.

        Inputs are a row for each query; outputs have shape ``(queries,)``, or ``(queries, outputs)``. The
        layer has no parameters of its own, and no derivatives by its inputs.
        """
        return self._framework(inputs).layer(self, inputs)

    def recall(self, tickets: object, *, through: Any = None) -> Any:  # noqa: ANN401
        """Return the outputs of queries that wait for a label, for a backward pass that is their feedback.

        Torch tensors; with ``through``, arrays of JAX. That is what the loss is differentiated by, such as
        the parameters of the head (any tree of arrays): JAX runs backwards to nothing else. Their gradient
        does not change.
        """
        if through is None:
            from efl_core.fleet import torch_layer

            return torch_layer.recall(self, tickets)
        from efl_core.fleet import jax_layer

        return jax_layer.recall(self, tickets, through)

    @staticmethod
    def _framework(inputs: Any) -> Any:  # noqa: ANN401
        name = type(inputs).__module__.partition(".")[0]
        if name == "torch":
            from efl_core.fleet import torch_layer

            return torch_layer
        if name in ("jax", "jaxlib"):
            from efl_core.fleet import jax_layer

            return jax_layer
        raise InvalidInputError.of("inputs", "a tensor of torch or an array of JAX", type(inputs).__name__)

    def n_outputs(self, *inputs: Any) -> int:  # noqa: ANN401
        """Return how many outputs a query has."""
        return len(self._link.version(inputs).model.outputs)

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait for their labels were answered with, ``(queries, outputs)``."""
        return self._link.outputs(tickets)

    def refresh(self) -> int:
        """Ask a learner elsewhere for its newest version now, not within a second; return its number."""
        return self._link.refresh()

    def flush(self, timeout: float | None = None) -> bool:
        """Hand over what was measured, and return whether all of it was."""
        return True if self._box is None else self._box.flush(timeout)

    def close(self, timeout: float | None = 1.0) -> None:
        """Hand over what was measured, if the learner takes it, and end the thread."""
        if self._box is not None:
            self._box.flush(timeout)
            self._box.close()
        self._link.close()

    @property
    def counts(self) -> dict[str, int]:
        """What became of queries, ``sent``, ``dropped``, ``refused``, ``waiting``; and of calls: ``away``."""
        box = self._box
        if box is None:
            return {"waiting": 0}
        return {**box.counts, "waiting": box.waiting}

    def __enter__(self) -> "Replica":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _linked(qnode: object, learner: Teacher | Uplink | str, key: str | None) -> Uplink:
    if isinstance(learner, str):
        return Remote(qnode, learner, key)
    if key is not None:
        raise InvalidInputError.of("key", "one with the address of a learner only", "one with a Learner")
    return learner if isinstance(learner, Uplink) else Direct(learner)


def _check_alike(calibration: Calibration, version: Version) -> None:
    """Refuse a device whose readout is not that which the learner divides by."""
    known = None if version.roster.correction is None else version.roster.correction.calibration
    if known is None:
        raise InvalidInputError.of(
            "calibration", "none in a fleet without one (Learner(calibration=))", "one"
        )
    own, read = calibration.check(known.wires), version.roster.untaught.readings
    masks: set[tuple[int, ...]] = {(qubit,) for qubit in range(known.n_qubits)}
    masks |= {tuple(np.flatnonzero(row).tolist()) for table, *_ in read for row in table.T}
    for qubits in sorted(masks):
        here, there = own.contrast(qubits), known.contrast(qubits)
        if abs(here.value - there.value) > ALIKE * math.hypot(here.stderr, there.stderr):
            raise InvalidInputError.of(
                "calibration",
                f"a device like those of the fleet, whose parity of qubits {list(qubits)} has the contrast "
                f"{there.value:.3f} +- {there.stderr:.3f} (give devices that differ a learner of their own; "
                "where all have changed, Learner.recalibrate)",
                f"{here.value:.3f} +- {here.stderr:.3f}",
            )
