"""The learner of a fleet: takes in what replicas have measured, and turns it into steps.

What is counted, and all refusals, are those of the native machine; what is served is in `published`; here are
labels and steps. Threads may share a learner.

Invariant: a contribution is used in one step at most; a version is complete before a replica sees it; with a
journal nobody is told anything before it is on disk.
Cost: a packet is checked and read in Rust; a step is one sum for each parameter, and a version some 10 ms.
"""

import math
import os
from collections import Counter, deque
from collections.abc import Iterator
from typing import Literal, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import integer, real
from efl_core.calibrations import Calibration
from efl_core.designs import Connectivity
from efl_core.errors import InvalidInputError, ResourceLimitError
from efl_core.fleet.buckets import LiarBound, Trimmed, liar_bound, pooled_mean, trimmed_mean
from efl_core.fleet.canary import read_canary
from efl_core.fleet.forecasts import forecast
from efl_core.fleet.journal.notes import Step
from efl_core.fleet.published import Counted, Published, could_teach
from efl_core.fleet.reports import FleetGradient, Forecast, Report
from efl_core.fleet.roster import Serve
from efl_core.fleet.status import HISTORY, Status, StepNote
from efl_core.fleet.tickets import read_tickets
from efl_core.fleet.updates import Update, read_update
from efl_core.training.optimizers import read_optimizer

__all__ = ["Learner"]

Floats = NDArray[np.float64]


class Learner(Published):
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
    noise
        What the devices of replicas do by themselves after gates: an `efl.Noise`, a ``qml.NoiseModel`` or one
        of Qiskit's Aer. Then the gradient is that of the noisy value.
    calibration
        An `efl.Calibration` of the readout of their devices, which have to be alike: by its contrasts answers
        and gradients are divided. Replicas flip readouts as it did.
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
        noise: object = None,
        calibration: Calibration | None = None,
        seed: SupportsIndex | None = None,
        journal: "os.PathLike[str] | str | None" = None,
    ) -> None:
        self._combine = _combined(combine, buckets)
        self._trim = real("trim", trim)
        if not 0 <= self._trim < 0.5:
            raise InvalidInputError.of("trim", "a part of the buckets, from 0 to less than 0.5", self._trim)
        self._history: deque[StepNote] = deque(maxlen=HISTORY)
        super().__init__(
            qnode,
            params,
            loss=loss,
            shots=shots,
            share=share,
            serve=serve,
            settings=settings,
            method=method,
            served_only=served_only,
            connectivity=connectivity,
            keep=keep,
            pending=pending,
            buckets=buckets,
            noise=noise,
            calibration=calibration,
            seed=seed,
            journal=journal,
        )
        self._start_up(inputs)

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

    def _unused(self, window: SupportsIndex | None) -> "list[Counted]":
        self._check_teaching()
        oldest = self._oldest(window)
        with self._changed:
            left = [one for one in self._left if one[0] >= oldest]
            return left + self._tallies(oldest, self.version.number)

    def _take(self, oldest: int, newest: int) -> None:
        """Set apart what no step has used, and count anew; it is left until a step is published."""
        assert self._machine is not None  # it teaches
        with self._changed:
            self._left += self._machine.take(oldest, newest)

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
            self._check_teaching()
            self._check_calibration()
            before, oldest = self.version, self._oldest(window)
            self._take(oldest, before.number)
            held = [one for one in self._left if one[0] >= oldest]
            if not held:
                raise InvalidInputError.of("queries", "a contribution at least, before a step", "none")
            gradient, loss, loss_stderr = self._pooled(held, before.number, rate)
            trimmed = gradient.trimmed if self._combine == "trimmed" else None
            used: FleetGradient | Trimmed = gradient if trimmed is None else trimmed
            after = self._checked("update", change(before.params.copy(), used.value))
            version, reader = self._made(before.model, after.ravel())
            # What was added up, for whoever adds it up again.
            note = Step(
                value=used.value,
                stderr=used.stderr,
                queries=gradient.queries,
                oldest=oldest,
                served=before.number,
                decay=rate,
                update=update if isinstance(update, str) else None,
                state=self._optimizers[update].to_dict() if isinstance(update, str) else {},
                trim=None if trimmed is None else self._trim,
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
        return min(1.0, counts["taught"] / max(1, served or could_teach(counts)))

    def _check_teaching(self) -> None:
        if self.version.native is None:
            raise InvalidInputError.of("share", "above 0, or there is no gradient", 0)

    def _oldest(self, window: SupportsIndex | None) -> int:
        back = self._keep if window is None else integer("window", window, 1)
        return max(1, self.version.number - back + 1)

    @staticmethod
    def _decay(decay: SupportsFloat) -> float:
        found = real("decay", decay)
        if not 0 < found <= 1:
            raise InvalidInputError.of("decay", "a number above 0, up to 1", found)
        return found

    def _pooled(self, held: "list[Counted]", newest: int, decay: float) -> tuple[FleetGradient, float, float]:
        """Return the gradient of some tallies, and the mean loss of their answers."""
        ages = np.array([newest - number for number, _, _ in held], dtype=np.float64)
        tallies = [tally for _, _, tally in held]
        weights = decay**ages
        value, stderr, queries = pooled_mean(tallies, weights, math.prod(self._shape))
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


def _number(counted: list[Counted]) -> int:
    return sum(tally.queries for _, _, tally in counted)


def _combined(combine: str, buckets: SupportsIndex) -> str:
    if combine not in ("mean", "trimmed"):
        raise InvalidInputError.of("combine", "'mean' or 'trimmed'", repr(combine))
    if combine == "trimmed" and integer("buckets", buckets, 1) == 1:
        raise InvalidInputError.of("buckets", "several for a trimmed mean over them", 1)
    return combine
