"""The learner of a fleet: takes in what replicas have measured, and turns it into steps.

What is counted, and all refusals, are those of the native machine; here are versions, labels and steps.
Threads may share a learner.

Invariant: a contribution is used in one step at most; a version is complete before a replica sees it; with a
journal nobody is told anything before it is on disk.
Cost: a packet is checked and read in Rust; a step is one sum for each parameter, and a version some 10 ms.
"""

import logging
import math
import os
import threading
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, Literal, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer, real
from efl_core.designs import Connectivity
from efl_core.errors import InvalidInputError, ResourceLimitError, ShapeError
from efl_core.fleet.buckets import LiarBound, liar_bound, trimmed_mean
from efl_core.fleet.canary import Canary, Verdict, read_canary
from efl_core.fleet.forecasts import forecast
from efl_core.fleet.gentle import answer_word, gentle_entries
from efl_core.fleet.journal import Journal, Recovered, Store, recover
from efl_core.fleet.journal.notes import VERSION, Step, VersionNote
from efl_core.fleet.labels import Desk
from efl_core.fleet.losses import Expectation, Upstream, read_loss
from efl_core.fleet.models import Model, first_parameters, made_model
from efl_core.fleet.reports import FleetGradient, Forecast, Price, Report, price_of
from efl_core.fleet.roster import Designer, Serve, Split
from efl_core.fleet.status import HISTORY, Status, StepNote
from efl_core.fleet.tickets import read_tickets
from efl_core.fleet.updates import Update, read_update
from efl_core.fleet.versions import Version, kind_of, made_reader, made_version, name_of_fleet
from efl_core.plans import PlanOptions
from efl_core.training.optimizers import Optimizer, read_optimizer

__all__ = ["Learner"]

LOGGER = logging.getLogger("efl_core")
Floats = NDArray[np.float64]
_Counted: TypeAlias = tuple[int, int, _native.FleetTally]
"""Contributions of a version, and the bucket that they are in."""


class Learner:
    """Where the contributions of replicas become steps.

    Parameters
    ----------
    qnode
        What is served: a QNode that is called with the inputs of a query and then the parameters, or an
        `efl.Circuit` with observables, whose inputs are those of a query.
    params
        The parameters to start at: one array of any shape. For a circuit, its own by default.
    loss
        ``"expectation"`` (or ``"energy"``), ``"squared"``, ``"logistic"``, ``"hinge"``, ``"cross-entropy"``,
        an object of `efl_core.fleet.losses`, or a function of an output that is one word and its label. By
        default ``"upstream"``: a head of the user's has the loss, and hands in gradients.
    inputs
        The arguments of a query, a tuple, or its only argument: then all is planned at once, and `price` is
        known before a query is served. By default that waits for the first one.
    shots, share, serve, settings
        How the shots of a query are split, unless the first replica says so: all of them, the part that
        teaches, ``"split"`` or ``"gentle"``, and in how many settings a query teaches.
    method, served_only, connectivity
        Which row of `efl.plan` teaches: the cheapest list, or only such as measure the served circuit; and
        the two-qubit gates that settings may use.
    keep, pending
        Versions whose contributions are still read, and queries that wait for their labels at most.
    buckets
        Among how many replicas are spread, by a hash, where some are not trusted: then gradients have a
        trimmed mean over buckets beside the mean. Best several times as many as there are replicas.
    combine
        What a step uses: ``"mean"``, or ``"trimmed"``.
    trim
        The part of the buckets that the trimmed mean leaves out at each end: liars in fewer move it little.
    seed
        Decides which setting a query teaches in; the same seed, the same settings.
    journal
        A file: what replicas and users hand in is on disk before they are told so, and a learner that is
        started with the file of another one goes on where that ended, at its parameters.
    """

    def __init__(
        self,
        qnode: object,
        params: ArrayLike | None = None,
        *,
        loss: object = "upstream",
        inputs: object = None,
        shots: SupportsIndex | None = None,
        share: SupportsFloat | None = None,
        serve: Serve | None = None,
        settings: SupportsIndex | None = None,
        method: str = "auto",
        served_only: bool = False,
        connectivity: Connectivity = "all",
        keep: SupportsIndex = 64,
        pending: SupportsIndex = 200_000,
        buckets: SupportsIndex = 1,
        combine: Literal["mean", "trimmed"] = "mean",
        trim: SupportsFloat = 0.15,
        seed: SupportsIndex | None = None,
        journal: "os.PathLike[str] | str | None" = None,
    ) -> None:
        self._qnode, self._loss = qnode, read_loss(loss)
        start = first_parameters(qnode, params)
        self._shape, self._start = start.shape, start
        self._asked = {"shots": shots, "share": share, "serve": serve}
        self._settings, self._method, self._served_only = settings, method, served_only
        self._options = PlanOptions(connectivity=connectivity)
        self._keep, self._pending = integer("keep", keep, 1), integer("pending", pending, 1)
        self._buckets, self._combine = integer("buckets", buckets, 1, 65_536), _combined(combine, buckets)
        self._trim = real("trim", trim)
        if not 0 <= self._trim < 0.5:
            raise InvalidInputError.of("trim", "a part of the buckets, from 0 to less than 0.5", self._trim)
        drawn = int(np.random.SeedSequence().generate_state(1, np.uint64)[0])
        self._seed = drawn if seed is None else integer("seed", seed, 0, 2**64 - 1)
        # Who makes versions holds the first, who counts the second; never the other way round.
        self._stepping = threading.RLock()
        self._changed = threading.Condition(threading.RLock())
        self._version: Version | None = None
        self._machine: _native.FleetMachine | None = None
        self._desk: Desk | None = None
        self._designer: Designer | None = None
        self._steps = self._fleet = 0
        # Queries that could teach, when each version came.
        self._served: list[int] = []
        # What a step has taken and could not use.
        self._left: list[_Counted] = []
        self._history: deque[StepNote] = deque(maxlen=HISTORY)
        self._optimizers: dict[str, Optimizer] = {}
        self._canary: Canary | None = None
        self._verdicts: list[Verdict] = []
        # Contributions of candidates that were given up, since the last step.
        self._lost = 0
        # What the machine has, as far as it is published: what a checkpoint is made of.
        self._known = Recovered()
        self._store = None if journal is None else Store(journal)
        self._journal: Journal | None = None
        try:
            if self._store is not None and not self._store.is_empty:
                self._resume(recover(self._store))
            if inputs is not None:
                self.open(inputs if isinstance(inputs, tuple) else (inputs,))
        except BaseException:
            self.close()
            raise

    # ---- the journal -------------------------------------------------------------------------------------

    def _resume(self, found: Recovered) -> None:
        """Go on where a journal ends."""
        assert self._store is not None  # that is where it comes from
        if found.params is not None:
            if found.params.shape != self._shape:
                raise ShapeError.of("journal", f"parameters of shape {self._shape}", found.params.shape)
            self._start = found.params
        machine = found.replay.machine()
        durable = machine.recorded
        machine.rebound(keep=self._keep, pending=self._pending)
        if machine.settle(False) is not None:
            found.counts["rolled_back"] += 1
            found.trial = None
        self._machine, self._known = machine, found
        self._fleet, *_ = machine.bounds
        self._steps, self._served, self._left = found.steps, found.served, found.left
        for name, state in found.updates.items():
            self._optimizers[name] = read_optimizer(name, None)
            self._optimizers[name].restore(state)
        self._desk = Desk(machine, self._loss, self._pending, found.early.values(), found.counts)
        self._journal = Journal(self._store, machine, durable, self._snapshot)
        LOGGER.info("%s goes on behind event %d, version %s", self._store.path, durable, machine.served)

    def _snapshot(self) -> tuple[bytes | None, bytes, bytes]:
        """Return what happened last, the state behind it, and what is known beside that."""
        with self._changed:
            assert self._machine is not None  # or nothing is written
            assert self._desk is not None
            frame, state = self._machine.checkpoint()
            known, desk = self._known, self._desk
            known.steps, known.served, known.left = self._steps, self._served, self._left
            known.early, known.counts, known.pending = desk.waiting, desk.counts, self._pending
            return frame, state, known.to_bytes()

    def _check(self) -> None:
        """Refuse to change anything if it could not be written down."""
        if self._journal is not None:
            self._journal.check()

    def _commit(self) -> None:
        """Wait until all that has happened is on disk. Nobody who waits may hold what counts."""
        if self._journal is not None:
            self._journal.wait()

    def checkpoint(self) -> None:
        """Write all of the state into the journal, so that a start reads nothing else."""
        if self._journal is not None:
            self._journal.checkpoint()

    def close(self) -> None:
        """Let go of the journal, with a checkpoint at its end; a learner without one needs no closing."""
        if self._journal is not None:
            self._journal.close()
        elif self._store is not None:
            self._store.close()

    def __enter__(self) -> "Learner":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # ---- versions ----------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the inputs of a query are known, and with them what is measured."""
        return self._version is not None

    @property
    def version(self) -> Version:
        """The version that is served."""
        if self._version is None:
            raise InvalidInputError.of("inputs", "those of a query, before anything is planned", "none yet")
        return self._version

    @property
    def canary(self) -> Canary | None:
        """The version that answers a part of the queries until it is judged, if there is one."""
        return self._canary

    @property
    def verdicts(self) -> list[Verdict]:
        """What was found out about candidates since the learner was started, the last 1,000."""
        return list(self._verdicts)

    @property
    def params(self) -> Floats:
        """The parameters that are served, in the shape in which they came."""
        return self._start.copy() if self._version is None else self._version.params.copy()

    @property
    def price(self) -> Price:
        """What teaching costs: print it before serving."""
        return price_of(self.version.roster)

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Take how a replica wants its shots to be split; refuse another way than that of the fleet."""
        with self._stepping:
            for name, wanted in (("shots", shots), ("share", share), ("serve", serve)):
                if wanted is None:
                    continue
                known = self._asked[name]
                if known is None and not self.is_open:
                    self._asked[name] = wanted  # type: ignore[assignment]
                elif (self._split[name] if known is None else known) != wanted:
                    other = self._split[name] if known is None else known
                    raise InvalidInputError.of(name, f"{other!r}, as everywhere in this fleet", repr(wanted))

    @property
    def _split(self) -> dict[str, Any]:
        split = self.version.roster.split
        return {"shots": split.shots, "share": split.share, "serve": split.serve}

    def open(self, inputs: tuple[Any, ...]) -> Version:
        """Read the structure of what is served at the inputs of a query, and plan; once."""
        with self._stepping:
            if self._version is not None:
                return self._version
            model = made_model(self._qnode, self._start, inputs)
            split = Split.of(
                64 if self._asked["shots"] is None else self._asked["shots"],
                0.25 if self._asked["share"] is None else self._asked["share"],
                self._asked["serve"] or "split",
                self._settings,
                simulated=model.is_simulated,
            )
            self._check_gentle(model, split)
            designer = Designer(
                model,
                split,
                method=self._method,
                served_only=self._served_only,
                options=self._options,
                gentle=gentle_entries,
            )
            if isinstance(self._loss, Expectation):
                self._loss.of(len(model.outputs))
            self._designer = designer
            self._publish(*self._made(model, self._start.ravel()))
            if self._desk is not None and self._desk.early:
                with self._changed:  # of packets that came before anything was planned
                    for replica in {replica for replica, _, _ in self._desk.waiting}:
                        self._desk.arrived(replica, self.version)
            LOGGER.info("%s", self.price)
            return self.version

    def _check_gentle(self, model: Model, split: Split) -> None:
        if not split.is_gentle:
            return
        answer_word(model.outputs)
        if split.shots > 1 and not isinstance(self._loss, Expectation):
            raise InvalidInputError.of(
                "serve", "'split' for a loss with labels, or one shot", f"'gentle' with {split.shots} shots"
            )

    def publish(
        self, params: ArrayLike, *, canary: SupportsFloat | None = None, labels: SupportsIndex = 32
    ) -> Version:
        """Serve other parameters from now on; contributions of former versions are still read.

        Parameters
        ----------
        canary
            The part of the queries that take them as long as nobody knows whether they are good. Losses of
            answers, as they were served, are compared with those of the version before: it is served if they
            are not larger by two standard errors, else given up.
        labels
            So many labelled queries of both versions decide.

        Returns
        -------
        Version
            The one that was made; with ``canary`` the candidate.
        """
        with self._stepping:
            model, found = self.version.model, self._checked("params", params)
            trial = None if canary is None else read_canary(canary, labels)
            version, reader = self._made(model, found.ravel())
            self._publish(version, reader, trial=trial)
            return version

    def _made(self, model: Model, vector: Floats) -> tuple[Version, _native.FleetReader | None]:
        """Make the next version, and what reads it; nobody sees them yet."""
        assert self._designer is not None  # it is open
        newest = None if self._machine is None else self._machine.newest
        number = (newest or (0 if self._version is None else self._version.number)) + 1
        point = model.at(vector)
        roster = self._designer.at(point)
        if self._version is None:
            fleet = name_of_fleet(model, point, kind_of(self._loss), roster.split)
            if self._journal is not None and fleet != self._fleet:
                raise InvalidInputError.of(
                    "journal",
                    "that of this circuit, loss and split of shots",
                    f"{self._journal.path!r} of others",
                )
            self._fleet = fleet
        version = made_version(number, self._shape, model, point, roster, fleet=self._fleet, seed=self._seed)
        return version, None if version.native is None else made_reader(version, self._loss)

    def _begin(self, version: Version) -> _native.FleetMachine:
        """Return the machine, which the first version that teaches makes."""
        if self._machine is None:
            self._machine = _native.FleetMachine(
                fleet=self._fleet,
                n_outputs=len(version.model.outputs),
                n_parameters=version.params.size,
                keep=self._keep,
                pending=self._pending,
                buckets=self._buckets,
                record=self._store is not None,
            )
            self._desk = Desk(self._machine, self._loss, self._pending)
            if self._store is not None:
                self._journal = Journal(self._store, self._machine, 0, self._snapshot)
        return self._machine

    def _publish(
        self,
        version: Version,
        reader: _native.FleetReader | None,
        *,
        trial: tuple[float, int] | None = None,
        step: Step | None = None,
    ) -> None:
        """Serve a version, or try it, once it is on disk; the contributions of a step are used up with it."""
        if reader is None:
            if self._store is not None or trial is not None:
                name = "journal" if trial is None else "canary"
                raise InvalidInputError.of(name, "none where nothing is taught (share=0)", "one")
        else:
            if trial is not None and not self._has_losses:
                raise InvalidInputError.of("canary", "none with a loss that the learner does not know", "one")
            self._check()
            with self._changed:
                machine, known = self._begin(version), self._known
                self._settle(False)
                settings = tuple(repr(entry.setting) for entry in version.roster.entries)
                machine.note(VERSION, VersionNote(version.params, step, settings).to_bytes())
                machine.publish(reader, None if trial is None else trial[0])
                if trial is None:
                    known.params = version.params
                else:
                    known.trial = version.params
                if step is not None:
                    self._left, self._lost = [], 0
                    self._steps += 1
                    if step.update is not None:
                        known.updates[step.update] = step.state
                self._served.append(_served(machine.counts))
            self._commit()
        with self._changed:
            if trial is None:
                self._version = version
            else:
                self._canary = Canary(version, *trial)
            self._changed.notify_all()

    # ---- candidates --------------------------------------------------------------------------------------

    @property
    def _has_losses(self) -> bool:
        """Whether the losses of answers are known."""
        return not isinstance(self._loss, Upstream)

    def _settle(self, is_good: bool) -> None:
        """Serve the candidate, or give it up, if there is one."""
        assert self._machine is not None
        assert self._desk is not None
        number = self._machine.candidate
        if number is None:
            return
        if not is_good:
            self._lost += sum(tally.queries for _, _, tally in self._machine.tallies(number, number))
        self._machine.settle(is_good)
        canary, self._canary = self._canary, None
        if is_good and canary is not None:
            self._version, self._known.params = canary.version, canary.version.params
        self._known.trial = None
        self._desk.counts["promoted" if is_good else "rolled_back"] += 1

    def _judge(self) -> None:
        """Settle the candidate if enough of its queries have their labels."""
        canary = self._canary
        if canary is None or self._machine is None:
            return
        verdict = canary.judged(self._losses(canary.version), self._losses(self.version))
        if verdict is not None:
            self._settle(verdict.is_good)
            self._verdicts = [*self._verdicts[-999:], verdict]
            LOGGER.log(logging.INFO if verdict.is_good else logging.WARNING, "%s", verdict)

    def _losses(self, version: Version) -> tuple[float, float, int]:
        """Return mean, error and number of the losses of a version that no step has used."""
        assert self._machine is not None
        tallies = [tally for _, _, tally in self._machine.tallies(version.number, version.number)]
        if not tallies:
            return math.nan, math.nan, 0
        total = sum(tallies[1:], tallies[0])
        return *self._loss_of(total), total.queries if isinstance(self._loss, Expectation) else total.losses

    def _loss_of(self, total: _native.FleetTally) -> tuple[float, float]:
        """Return the mean loss of answers and its error."""
        if not isinstance(self._loss, Expectation):
            return total.loss
        own = self._loss.of(total.n_outputs)
        mean, error = total.values
        # At most: outputs are read from the same shots.
        return float((mean + self.version.roster.untaught.constant) @ own), float(error @ np.abs(own))

    def _checked(self, name: str, params: ArrayLike) -> Floats:
        plain = params.detach().cpu().numpy() if hasattr(params, "detach") else params
        found = array(name, plain, "real numbers")
        if found.shape != self._shape:
            raise ShapeError.of(name, f"shape {self._shape}", found.shape)
        if found.dtype.kind not in "fiu" or not np.isfinite(found).all():
            raise InvalidInputError.of(name, "finite real numbers", described(params))
        return found.astype(np.float64)

    # ---- what replicas call ------------------------------------------------------------------------------

    def join(self, replica: SupportsIndex) -> int:
        """Return the incarnation of a replica that begins."""
        if self._machine is None:
            return 1
        self._check()
        with self._changed:
            found = self._machine.join(replica)
        self._commit()
        return found

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Take a packet: why it was refused, the version served, and the query expected next."""
        if self._machine is None:
            raise InvalidInputError.of("packet", "none, as nothing is taught", f"{len(packet)} bytes")
        self._check()
        with self._changed:
            found = self._machine.submit(packet)
            desk = self._desk
            if desk is not None and self.is_open and found[0] is None:
                if desk.early:
                    desk.arrived(int.from_bytes(packet[32:40], "little"), self.version)
                self._judge()
            self._changed.notify_all()
        self._commit()  # a duplicate, too: what it doubles may be under way
        return found

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Take the labels of some answers, or the gradients of a loss by them; from any worker.

        Parameters
        ----------
        tickets
            The ticket of an answer, or a sequence of them.
        label
            What the loss compares the answers to, one for each ticket.
        gradient
            In its place the slopes of the user's own loss by the outputs, shape ``(tickets, outputs)``.

        Returns
        -------
        dict
            How many queries went which way: ``taught``; ``early``, where the packet has not come;
            ``answered_only``, where none of the shots taught; ``unknown_or_used``.
        """
        found = read_tickets(tickets)
        version, desk = self.version, self._desk
        if desk is None:
            raise InvalidInputError.of("share", "above 0, or nothing learns from labels", 0)
        if gradient is not None and version.roster.split.is_gentle:
            raise InvalidInputError.of(
                "gradient", "none with gentle answers, which must not weigh themselves", "one"
            )
        given = desk.checked(found, label, gradient, len(version.model.outputs))
        self._check()
        with self._changed:
            told = desk.hand_in(found, given, version, is_gradient=gradient is not None)
            self._judge()
            self._changed.notify_all()
        self._commit()
        return told

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait for their labels were answered with, ``(queries, outputs)``."""
        if self._desk is None:
            raise InvalidInputError.of("share", "above 0, or nothing waits for a label", 0)
        return self._desk.outputs(read_tickets(tickets), self.version)

    # ---- learning ----------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """What became of queries and labels, by name.

        ``admitted = taught + expired + pending + answered_only``, exactly; labels that wait for their
        packets are ``early``; refused packets by their reason.
        """
        if self._machine is None or self._desk is None:
            return {}
        found = Counter(self._machine.counts)
        found.update({"early": self._desk.early, **self._desk.counts})
        return dict(found)

    def status(self) -> Status:
        """Return how it is doing: print it. The last thousand steps are remembered."""
        split = self.version.roster.split
        history: tuple[StepNote, ...] = tuple(self._history.copy())
        return Status(
            version=self.version.number,
            candidate=None if self._canary is None else self._canary.version.number,
            steps=self._steps,
            waiting=self.taught,
            shots=split.shots,
            share=split.share,
            method=self.version.roster.method,
            counts=self.counts,
            history=history,
        )

    @property
    def taught(self) -> int:
        """Contributions that no step has used."""
        return 0 if self._machine is None else _number(self._unused(None))

    def _unused(self, window: SupportsIndex | None) -> "list[_Counted]":
        machine, oldest = self._teaching(), self._oldest(window)
        with self._changed:
            left = [one for one in self._left if one[0] >= oldest]
            return left + machine.tallies(oldest, self.version.number)

    def gradient(self, *, window: SupportsIndex | None = None, decay: SupportsFloat = 1.0) -> FleetGradient:
        """Return the gradient that unused contributions say, of the newest versions.

        Parameters
        ----------
        window
            How many versions; all that are kept by default. A contribution says the gradient at its own
            version.
        decay
            What a version counts for each step that it is older.
        """
        held, rate = self._unused(window), self._decay(decay)
        if not held:
            nothing = np.full(self._shape, np.nan)
            return FleetGradient(nothing, nothing, 0, math.nan)
        return self._pooled(held, self.version.number, rate)[0]

    def step(
        self,
        update: object,
        *,
        window: SupportsIndex | None = None,
        decay: SupportsFloat = 1.0,
        canary: SupportsFloat | None = None,
        labels: SupportsIndex = 32,
    ) -> Report:
        """Use all contributions since the last step for one update, and publish the parameters.

        If the update fails they are there for the next one. Replicas hand over meanwhile. With ``canary`` the
        parameters are a candidate, see `publish`.
        """
        change, rate = self._read_update(update), self._decay(decay)
        trial = None if canary is None else read_canary(canary, labels)
        with self._stepping:
            self._check()
            machine, before, oldest = self._teaching(), self.version, self._oldest(window)
            with self._changed:
                self._left += machine.take(oldest, before.number)
            held = [one for one in self._left if one[0] >= oldest]
            if not held:
                raise InvalidInputError.of("queries", "a contribution at least, before a step", "none")
            gradient, loss, loss_stderr = self._pooled(held, before.number, rate)
            used = gradient.value
            if self._combine == "trimmed" and gradient.trimmed is not None:
                used = gradient.trimmed.value
            after = self._checked("update", change(before.params.copy(), used))
            version, reader = self._made(before.model, after.ravel())
            # What was added up, for whoever adds it up again.
            note = Step(
                value=gradient.value,
                stderr=gradient.stderr,
                queries=gradient.queries,
                oldest=oldest,
                served=before.number,
                decay=rate,
                update=update if isinstance(update, str) else None,
                state=self._optimizers[update].to_dict() if isinstance(update, str) else {},
            )
            self._publish(version, reader, trial=trial, step=note)
            counts = self.counts
            report = Report(
                step=self._steps,
                version=version.number,
                gradient=gradient,
                loss=loss,
                loss_stderr=loss_stderr,
                moved=float(np.abs(after - before.params).sum()),
                label_rate=self._label_rate(counts, gradient.age),
                share=self.version.roster.split.share,
                counts=counts,
                canary=0.0 if trial is None else trial[0],
            )
            self._history.append(StepNote.of(report))
            return report

    def train(
        self,
        update: object,
        *,
        queries: SupportsIndex = 64,
        steps: SupportsIndex | None = None,
        window: SupportsIndex | None = None,
        decay: SupportsFloat = 1.0,
        timeout: SupportsFloat | None = None,
        canary: SupportsFloat | None = 0.25,
        labels: SupportsIndex | None = None,
    ) -> Iterator[Report]:
        """Step whenever so many queries have taught, while others serve; yields a report for each step.

        Parameters
        ----------
        update
            From parameters and a gradient to parameters: a function, ``"adam"`` or ``"descent"``, or an
            object of `efl_core.training` or `efl_core.fleet.updates`.
        queries
            Contributions of a step.
        steps
            After how many it ends; never by default.
        timeout
            Seconds that it waits for contributions before it raises.
        canary, labels
            What part of the queries a step's parameters answer until so many labels say that they are not
            worse, see `publish`; by default half of what that part brings in a step, 8 at least. The next
            step waits for that, so that others have to go on serving; what a candidate that was given up has
            taught counts as come. With None parameters are served at once, as with losses that nobody knows.
        """
        self._read_update(update)  # refused before anything waits
        wanted = integer("queries", queries, 1)
        last = None if steps is None else self._steps + integer("steps", steps, 1)
        seconds = None if timeout is None else real("timeout", timeout)
        trial, enough = (None, 8) if canary is None else read_canary(canary, 8 if labels is None else labels)
        if trial is not None and labels is None:
            enough = max(8, round(0.5 * wanted * trial))
        if not self._has_losses or self._keep < 2:
            trial = None

        def ready() -> bool:
            return self._canary is None and _number(self._unused(window)) + self._lost >= wanted

        while last is None or self._steps < last:
            with self._changed:
                if not self._changed.wait_for(ready, seconds):
                    raise ResourceLimitError.of(
                        "timeout",
                        f"{wanted} queries that teach within {seconds:g} s",
                        f"{_number(self._unused(window))}, "
                        + ("and a candidate that waits for labels" if self._canary else "and no candidate"),
                    )
            yield self.step(update, window=window, decay=decay, canary=trial, labels=enough)

    def bound(self, fraction: SupportsFloat, *, weight: SupportsFloat = 1.0) -> LiarBound:
        """Return by how much liars with a fraction of the queries can move the mean: print it.

        Parameters
        ----------
        fraction
            The part of the queries that they send.
        weight
            The largest slope of the loss by an output; a loss without labels has its own.
        """
        part, slope = real("fraction", fraction), real("weight", weight)
        gradient = np.nan_to_num(self.gradient().value)
        return liar_bound(self.version, self._loss, gradient, part, slope)

    def forecast(
        self,
        inputs: object,
        labels: ArrayLike | None = None,
        *,
        queries: SupportsIndex = 400,
        seed: SupportsIndex = 0,
    ) -> Forecast:
        """Run queries like those to come, and return how precisely they say the gradient; nothing learns.

        Parameters
        ----------
        inputs
            Examples: a sequence of the inputs of queries, of which the runs are drawn.
        labels
            Their labels, if the loss has any.
        queries
            How many are run: simulated for a simulator of state vectors, else on the device.
        seed
            Of the draws.
        """
        examples = [x if isinstance(x, tuple) else (x,) for x in inputs]  # type: ignore[attr-defined]
        version = self.open(examples[0])
        number, key = integer("queries", queries, 2), integer("seed", seed, 0)
        deviation = forecast(version, self._loss, examples, labels, number, key)
        return Forecast(deviation.reshape(self._shape), number)

    def _read_update(self, update: object) -> Update:
        """Return a function of parameters and a gradient; one that is named keeps its state here."""
        if not isinstance(update, str):
            return read_update(update)
        if update not in self._optimizers:
            self._optimizers[update] = read_optimizer(update, None)
        return self._optimizers[update].update

    def _label_rate(self, counts: dict[str, int], age: float) -> float:
        """Return the part of the queries that have got a label, of those old enough to have one.

        Labels that are so many versions late on average are those of queries before that.
        """
        back = round(age)
        served = self._served[max(1, len(self._served) - back)] if back and len(self._served) > 1 else 0
        return min(1.0, counts["taught"] / max(1, served or _served(counts)))

    def _teaching(self) -> _native.FleetMachine:
        if self._machine is None:
            self.version  # noqa: B018 (says so, if nothing was served)
            raise InvalidInputError.of("share", "above 0, or there is no gradient", 0)
        return self._machine

    def _oldest(self, window: SupportsIndex | None) -> int:
        back = self._keep if window is None else integer("window", window, 1)
        return max(1, self.version.number - back + 1)

    @staticmethod
    def _decay(decay: SupportsFloat) -> float:
        found = real("decay", decay)
        if not 0 < found <= 1:
            raise InvalidInputError.of("decay", "a number above 0, up to 1", found)
        return found

    def _pooled(
        self, held: "list[_Counted]", newest: int, decay: float
    ) -> tuple[FleetGradient, float, float]:
        """Return the gradient of some tallies, and the mean loss of their answers."""
        ages = np.array([newest - number for number, _, _ in held], dtype=np.float64)
        tallies = [tally for _, _, tally in held]
        weights = decay**ages
        value, stderr, queries = _native.fleet_gradient(tallies, weights)
        counted = weights * [tally.queries for tally in tallies]
        total = tallies[0]
        for tally in tallies[1:]:
            total = total + tally
        loss, loss_stderr = self._loss_of(total)
        shape = self._shape
        age = float((ages * counted).sum() / counted.sum())
        trimmed = trimmed_mean(held, weights, shape, self._trim) if self._buckets > 1 else None
        gradient = FleetGradient(value.reshape(shape), stderr.reshape(shape), queries, age, trimmed)
        return gradient, loss, loss_stderr


def _number(counted: list[_Counted]) -> int:
    return sum(tally.queries for _, _, tally in counted)


def _combined(combine: str, buckets: SupportsIndex) -> str:
    if combine not in ("mean", "trimmed"):
        raise InvalidInputError.of("combine", "'mean' or 'trimmed'", repr(combine))
    if combine == "trimmed" and integer("buckets", buckets, 1) == 1:
        raise InvalidInputError.of("buckets", "several for a trimmed mean over them", 1)
    return combine


def _served(counts: dict[str, int]) -> int:
    return counts["admitted"] - counts["answered_only"]
