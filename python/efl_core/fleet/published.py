"""What a learner serves: versions, candidates, and with a journal all of it on disk.

Invariant: a version is complete, and written down, before a replica sees it; a candidate is served or given
up, never both. Cost: a plan when it is opened, and some 10 ms for a version.
"""

import logging
import math
import os
import threading
from dataclasses import replace
from typing import Any, Self, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer
from efl_core.calibrations import Calibration
from efl_core.designs import Connectivity
from efl_core.errors import InvalidInputError, ShapeError
from efl_core.fleet.canary import Canary, Verdict, read_canary
from efl_core.fleet.gentle import check_gentle, gentle_entries
from efl_core.fleet.journal import Journal, Recovered, Store, recover
from efl_core.fleet.journal.notes import VERSION, Step, VersionNote
from efl_core.fleet.labels import Desk
from efl_core.fleet.losses import Expectation, Upstream, read_loss
from efl_core.fleet.models import Model, first_parameters, made_model
from efl_core.fleet.reports import Price, price_of
from efl_core.fleet.roster import Designer, Serve, Split
from efl_core.fleet.versions import Version, kind_of, made_reader, made_version, name_of_fleet
from efl_core.pennylane.jobs.corrections import correction_of
from efl_core.pennylane.noise import Correction, connectivity_of
from efl_core.pennylane.options import Options
from efl_core.plans import PlanOptions
from efl_core.training.optimizers import Optimizer, read_optimizer

__all__ = ["Counted", "Published", "could_teach"]

LOGGER = logging.getLogger("efl_core")
Floats = NDArray[np.float64]
Counted: TypeAlias = tuple[int, int, _native.FleetTally]
"""Contributions of a version, and the bucket that they are in."""


class Published:
    """The part of a `Learner` that serves: what is published, to whom, and what is known of it on disk."""

    def __init__(
        self,
        qnode: object,
        params: ArrayLike | None,
        *,
        loss: object,
        shots: SupportsIndex | None,
        share: SupportsFloat | None,
        serve: Serve | None,
        settings: SupportsIndex | None,
        method: str,
        served_only: bool,
        connectivity: Connectivity,
        keep: SupportsIndex,
        pending: SupportsIndex,
        buckets: SupportsIndex,
        noise: object,
        calibration: Calibration | None,
        seed: SupportsIndex | None,
        journal: "os.PathLike[str] | str | None",
    ) -> None:
        self._qnode, self._loss = qnode, read_loss(loss)
        start = first_parameters(qnode, params)
        self._shape, self._start = start.shape, start
        self._asked = {"shots": shots, "share": share, "serve": serve}
        self._settings, self._method, self._served_only = settings, method, served_only
        self._options = PlanOptions(connectivity=connectivity)
        self._device = Options.read({"noise": noise, "calibration": calibration})
        self._keep, self._pending = integer("keep", keep, 1), integer("pending", pending, 1)
        self._buckets = integer("buckets", buckets, 1, 65_536)
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
        self._left: list[Counted] = []
        self._optimizers: dict[str, Optimizer] = {}
        self._canary: Canary | None = None
        self._verdicts: list[Verdict] = []
        # Contributions of candidates that were given up, since the last step.
        self._lost = 0
        # What the machine has, as far as it is published: what a checkpoint is made of.
        self._known = Recovered()
        self._store = None if journal is None else Store(journal)
        self._journal: Journal | None = None

    def _start_up(self, inputs: object) -> None:
        """Go on where the journal ends, if it has anything, and open where the inputs are known."""
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
        if found.buckets != self._buckets:  # what they have counted apart stays apart
            raise InvalidInputError.of("buckets", f"{found.buckets}, as in the journal", self._buckets)
        machine = found.replay.machine()
        durable = machine.recorded
        machine.rebound(keep=self._keep, pending=self._pending)
        self._end_trial(machine, found)
        self._machine, self._known = machine, found
        self._fleet, *_ = machine.bounds
        self._steps, self._served, self._left = found.steps, found.served, found.left
        for name, state in found.updates.items():
            self._optimizers[name] = read_optimizer(name, None)
            self._optimizers[name].restore(state)
        self._desk = Desk(machine, self._loss, self._pending, found.early.values(), found.counts)
        self._journal = Journal(self._store, machine, durable, self._changed, self._beside)
        LOGGER.info("%s goes on behind event %d, version %s", self._store.path, durable, machine.served)

    def _end_trial(self, machine: _native.FleetMachine, found: Recovered) -> None:
        """Give up a candidate that nobody has judged."""
        if machine.settle(False) is not None:
            found.counts["rolled_back"] += 1
            found.trial = None

    def _beside(self) -> bytes:
        """Return what is known beside the machine; nothing changes meanwhile."""
        assert self._desk is not None  # or nothing is written
        known, desk = self._known, self._desk
        known.steps, known.served, known.left = self._steps, self._served, self._left
        known.early, known.counts, known.pending = desk.waiting, desk.counts, self._pending
        known.buckets = self._buckets
        return known.to_bytes()

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

    def __enter__(self) -> Self:
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
            model = made_model(self._qnode, self._start, inputs, self._device)
            split = Split.of(
                64 if self._asked["shots"] is None else self._asked["shots"],
                0.25 if self._asked["share"] is None else self._asked["share"],
                self._asked["serve"] or "split",
                self._settings,
                simulated=model.is_simulated,
            )
            designer = Designer(
                model,
                split,
                method=self._method,
                served_only=self._served_only,
                options=self._plan_options(model),
                gentle=gentle_entries,
                correction=self._correction(model, split),
            )
            self._check_gentle(designer, split)
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

    def _plan_options(self, model: Model) -> PlanOptions:
        """Return how lists are planned: settings have no two-qubit gates whose noise is no Pauli noise."""
        if self._options.connectivity != "all":
            return self._options
        return replace(self._options, connectivity=connectivity_of(self._device.noise, model.wires))

    def _correction(self, model: Model, split: Split) -> Correction | None:
        """Return what readings are divided by; None where nothing is known of the device."""
        if not self._device.is_noisy:
            return None
        if split.is_gentle:
            what = "'split' with noise= or calibration=, as a shot that answers and teaches is not divided"
            raise InvalidInputError.of("serve", what, f"'gentle' with {split.shots} shots")
        return correction_of(self._device, model.wires)

    def _check_calibration(self) -> None:
        """Refuse a calibration that is too old before anything is done with what it would divide."""
        if self._designer is not None:
            self._designer.check()

    def recalibrate(self, calibration: Calibration) -> Version:
        """Divide by the contrasts of a newer calibration from now on, in a version of the same parameters.

        Contributions of former versions are read with the calibration that these had. A candidate is given
        up.
        """
        with self._stepping:
            if self._device.calibration is None:
                raise InvalidInputError.of(
                    "calibration", "none in a fleet that has begun without (Learner(calibration=))", "one"
                )
            before = self.version, self._designer, self._device
            served, designer, device = before
            assert designer is not None  # it is open
            self._device = Options.read({"noise": device.noise, "calibration": calibration})
            try:
                found = self._correction(served.model, served.roster.split)
                assert found is not None  # it is calibrated
                self._designer = designer.corrected(found)
                return self.publish(served.params)
            except BaseException:
                _, self._designer, self._device = before
                raise

    def _check_gentle(self, designer: Designer, split: Split) -> None:
        if not split.is_gentle:
            return
        is_linear = isinstance(self._loss, Expectation)
        check_gentle(designer.untaught, sums=is_linear)
        if split.shots > 1 and not is_linear:
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
        number = (self._newest or (0 if self._version is None else self._version.number)) + 1
        point = model.at(vector)
        roster = self._designer.at(point)
        if self._version is None:
            fleet = name_of_fleet(model, point, kind_of(self._loss), roster.split)
            if self._journal is not None and fleet != self._fleet:
                raise InvalidInputError.of(
                    "journal",
                    "that of this circuit, loss and split of shots, of the same noise= and calibrated alike",
                    f"{self._journal.path!r} of others",
                )
            self._fleet = fleet
        version = made_version(number, self._shape, model, point, roster, fleet=self._fleet, seed=self._seed)
        return version, None if version.native is None else made_reader(version, self._loss)

    @property
    def _newest(self) -> int | None:
        """The number of the version that came last."""
        return None if self._machine is None else self._machine.newest

    def _begin(self, version: Version, reader: _native.FleetReader) -> _native.FleetMachine:
        """Return the machine, which the first version that teaches makes."""
        if self._machine is None:
            self._machine = _native.FleetMachine(
                fleet=self._fleet,
                n_outputs=len(version.model.outputs),
                n_parameters=reader.n_parameters,
                keep=self._keep,
                pending=self._pending,
                buckets=self._buckets,
                record=self._store is not None,
            )
            self._desk = Desk(self._machine, self._loss, self._pending)
            if self._store is not None:
                self._journal = Journal(self._store, self._machine, 0, self._changed, self._beside)
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
                machine, known = self._begin(version, reader), self._known
                self._settle(False)
                settings = tuple(repr(entry.setting) for entry in version.roster.entries)
                machine.note(VERSION, VersionNote(version.params, step, settings, self._buckets).to_bytes())
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
                self._served.append(could_teach(machine.counts))
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
        if canary is None:
            return
        verdict = canary.judged(self._losses(canary.version), self._losses(self.version))
        if verdict is not None:
            self._settle(verdict.is_good)
            self._verdicts = [*self._verdicts[-999:], verdict]
            LOGGER.log(logging.INFO if verdict.is_good else logging.WARNING, "%s", verdict)

    def _losses(self, version: Version) -> tuple[float, float, int]:
        """Return mean, error and number of the losses of a version that no step has used."""
        tallies = [tally for _, _, tally in self._tallies(version.number, version.number)]
        if not tallies:
            return math.nan, math.nan, 0
        total = sum(tallies[1:], tallies[0])
        return *self._loss_of(total), total.queries if isinstance(self._loss, Expectation) else total.losses

    def _tallies(self, first: int, last: int) -> list[Counted]:
        """Return what has been counted of some versions, and no step has taken."""
        return [] if self._machine is None else self._machine.tallies(first, last)

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


def could_teach(counts: dict[str, int]) -> int:
    """Return how many queries had bits that teach."""
    return counts["admitted"] - counts["answered_only"]
