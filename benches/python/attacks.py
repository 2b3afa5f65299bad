"""Replicas that lie: packets of honest ones and of liars, and what a learner makes of both together.

Liars have keys and send packets that are in order: what they choose are bits, how many queries they send, and
which of those they give up. The settings of their queries they know, and cannot choose.
"""

from dataclasses import dataclass, field

import numpy as np

import efl_core as efl
from efl_core._native import FleetMachine, fleet_gradient
from efl_core.fleet import Learner
from efl_core.fleet.buckets import trimmed_mean
from efl_core.fleet.recipes import recipe_of
from efl_core.fleet.versions import made_reader

ATTACKS = ("worst bits", "sign flip", "constant", "volume", "selection")
TIMES = 10  # more queries of those who attack by volume


@dataclass
class Fleet:
    """Replicas of one circuit at one query, whose exact gradient is known."""

    circuit: efl.Circuit
    replicas: int
    queries: int
    """Of each replica."""
    buckets: int = 512
    trim: float = 0.15
    seed: int = 0
    learner: Learner = field(init=False)

    def __post_init__(self):
        self.inputs = np.zeros(len(self.circuit.inputs))
        self.learner = Learner(self.circuit, loss="energy", inputs=self.inputs, seed=1, buckets=self.buckets)
        self.version = self.learner.version
        self.native = self.version.native
        self.reader = made_reader(self.version, self.learner._loss)
        self.exact = efl.propagate(self.circuit.at(self.circuit.parameters, self.inputs)).gradient
        self.norm = self.learner.bound(1.0).norm
        # The derivative that is attacked: the largest, whose sign there is something to be gained by.
        self.target = int(np.argmax(np.abs(self.exact)))
        self.against = -np.sign(self.exact[self.target])
        random = np.random.default_rng(self.seed)
        self.names = [int(name) for name in random.integers(0, 2**63, self.replicas)]
        self._packets, self._outcomes = {}, {}

    def outcomes(self, entry):
        """The bits of all outcomes of an entry, their probabilities, and what each says of the derivative."""
        if entry not in self._outcomes:
            n, experiment = self.circuit.n_qubits, self.version.roster.entries[entry].experiment
            bits = (np.arange(2**n)[:, None] >> np.arange(n)[::-1]) & 1
            said = np.zeros(2**n)
            for place, (_, parameter) in enumerate(experiment.derivatives):
                if parameter == self.target:
                    for word, coefficient in experiment.reading(place).terms():
                        found, sign = experiment.setting.reveal(word)
                        said += coefficient * sign * (1 - 2 * (bits[:, found].sum(axis=1) & 1))
            run = recipe_of(experiment).at(self.circuit.at(self.circuit.parameters, self.inputs)).made()
            for name, *wires in experiment.setting.gates:
                run.clifford(name, *wires)
            probabilities = np.abs(efl.simulate(run)) ** 2
            self._outcomes[entry] = bits.astype(np.uint8), probabilities / probabilities.sum(), said
        return self._outcomes[entry]

    def honest(self, replica, queries):
        """What an honest replica measures: its teaching bits, and the entries that those are of."""
        entries = self.native.entries(self.names[replica], 1, 0, queries)
        each, n = self.native.teach_shots // self.native.settings, self.circuit.n_qubits
        teaches = np.zeros((queries, self.native.settings, each, n), np.uint8)
        random = np.random.default_rng((self.seed, replica))
        for entry in np.unique(entries):
            bits, probabilities, _ = self.outcomes(int(entry))
            which, where = np.nonzero(entries == entry)
            teaches[which, where] = bits[random.choice(len(bits), (len(which), each), p=probabilities)]
        return teaches.reshape(queries, -1, n), entries

    def packets(self, replica, attack):
        """The packets of a replica; attack None is that of an honest one."""
        known = (replica, attack)
        if known not in self._packets:
            self._packets[known] = self._made(replica, attack)
        return self._packets[known]

    def _made(self, replica, attack):
        count = self.queries * (TIMES if attack == "volume" else 1)
        teaches, entries = self.honest(replica, count)
        # Nothing is read from answers where the loss is an energy.
        answers = np.zeros((count, self.native.answer_shots, self.circuit.n_qubits), np.uint8)
        if attack in ("worst bits", "volume", "sign flip"):
            teaches = self._lies(teaches, entries, attack)
        if attack == "constant":
            teaches = np.zeros_like(teaches)
        if attack == "selection":
            return self._selected(replica, answers, teaches)
        return [
            self._encoded(replica, first, answers[first : first + 1000], teaches[first : first + 1000])
            for first in range(0, count, 1000)
        ]

    def _encoded(self, replica, first, answers, teaches, dropped=0):
        return self.native.encode(
            replica=self.names[replica],
            incarnation=1,
            first=first,
            queries=len(answers),
            answers=answers,
            teaches=teaches,
            dropped=dropped,
        )

    def _lies(self, teaches, entries, attack):
        """Bits that say as much as possible, or the opposite of what was measured."""
        lied = teaches.copy()
        each = teaches.shape[1] // entries.shape[1]
        powers = 1 << np.arange(teaches.shape[2])[::-1]
        for query, own in enumerate(entries):
            for j, entry in enumerate(own):
                bits, _, said = self.outcomes(int(entry))
                part = slice(j * each, (j + 1) * each)
                if attack == "sign flip":
                    measured = said[teaches[query, part] @ powers]
                    chosen = np.abs(said[None, :] + measured[:, None]).argmin(axis=1)
                else:
                    chosen = np.full(each, (said * self.against).argmax())
                lied[query, part] = bits[chosen]
        return lied

    def _selected(self, replica, answers, teaches):
        """Honest bits, of which the half that says least is declared as given up."""
        one = self._encoded(replica, 0, answers, teaches)
        said = self.reader.contributions(one, np.ones((len(answers), 1)))[:, self.target]
        kept = np.flatnonzero(said * self.against > np.median(said * self.against))
        runs = np.split(kept, np.flatnonzero(np.diff(kept) != 1) + 1)
        packets, end = [], 0
        for run in runs:
            first = int(run[0])
            packets.append(self._encoded(replica, first, answers[run], teaches[run], first - end))
            end = first + len(run)
        return packets

    def attacked(self, attack, liars):
        """The errors of mean and trimmed mean of a derivative, and the part of the queries that lie."""
        machine = FleetMachine(
            fleet=self.native.fleet,
            n_outputs=1,
            n_parameters=self.circuit.n_parameters,
            buckets=self.buckets,
        )
        # Versions of a machine follow each other from the first that it is given.
        machine.publish(self.reader)
        own = total = 0
        for replica in range(self.replicas):
            assert machine.join(self.names[replica]) == 1
            before = machine.counts["admitted"]
            for packet in self.packets(replica, attack if replica < liars else None):
                refused, *_ = machine.submit(packet)
                assert refused is None, refused
            sent = machine.counts["admitted"] - before
            own, total = own + sent * (replica < liars), total + sent
        held = machine.tallies(1, 1)
        weights = np.ones(len(held))
        mean, _, _ = fleet_gradient([tally for *_, tally in held], weights)
        trimmed = trimmed_mean(held, weights, mean.shape, self.trim)
        truth = self.exact[self.target]
        return mean[self.target] - truth, trimmed.value[self.target] - truth, own / total

    def bound(self, fraction):
        """How far liars with a fraction of the queries move the mean at most."""
        return fraction * (self.norm[self.target] + abs(self.exact[self.target]))
