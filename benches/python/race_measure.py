"""What the methods of the race measure with: every shot and every circuit is counted here, and nowhere else.

- `Trace` is the run of a method: cumulative shots and circuits after each step, the exact loss there, and
  when to stop. A circuit is one circuit with one measurement setting, submitted once, whatever its shots.
- `Meter` draws shots of settings from the exact probabilities, adds them up, and counts.
- `shares` makes whole numbers of shots whose means are the wanted ones (systematic sampling).
- `Spreads` keeps running estimates of standard deviations, from the shots that were taken anyway.

What a method knows beforehand is the circuit, the standard deviation of each setting on the maximally mixed
state, and the loss from start to goal, which scales its hyper-parameters.
"""

from dataclasses import dataclass, field

import numpy as np

RATIO = 1000
"""t_circuit / t_shot: what a circuit costs beside its shots."""
STEPS, TOGETHER, HELD = 2000, 8, 3
"""A run ends after so many steps; losses are found for so many at once; so many in a row reach the target."""


@dataclass
class Trace:
    """A run towards the target; it ends there, or beyond the bounds of shots and of time both.

    The target is reached with the first of `HELD` steps in a row whose loss is at most that, so that no leap
    of noise counts. What the others took is not charged.
    """

    problem: object
    most_shots: float = np.inf
    most_time: float = np.inf
    shots: list[int] = field(default_factory=list)
    circuits: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    reached: bool = False
    _pending: list[np.ndarray] = field(default_factory=list)

    def add(self, theta, shots, circuits):
        """Note the parameters after a step, and what all steps together took; return whether to stop.

        It may be told a few steps late: what was added after the target was reached is left out.
        """
        self.shots.append(int(shots))
        self.circuits.append(int(circuits))
        self._pending.append(np.array(theta, dtype=float))
        late = shots > self.most_shots and self.time > self.most_time
        over = late or len(self.shots) >= STEPS or not np.all(np.isfinite(theta))
        if over or len(self._pending) == TOGETHER:
            self.settle()
        return over or self.reached

    def settle(self):
        """Find the losses of the steps that were added."""
        if self._pending:
            self.losses += map(float, self.problem.losses(self.problem.angles(self._pending)))
            self._pending = []
        below = np.array(self.losses) <= self.problem.target
        held = np.flatnonzero(np.convolve(below, np.ones(HELD), mode="valid") > HELD - 0.5)
        if len(held) and not self.reached:
            self.reached = True
            for steps in (self.shots, self.circuits, self.losses):
                del steps[held[0] + 1 :]
        return self

    @property
    def time(self):
        """In units of a shot."""
        return self.shots[-1] + RATIO * self.circuits[-1]


class Meter:
    """Draws shots; K circuits times the settings of the problem."""

    def __init__(self, problem, rng):
        self.problem, self.rng = problem, rng
        self.shots = self.circuits = 0

    def measure(self, angles, counts):
        """The sum of the values and of their squares of `counts` shots, by row of angles and setting."""
        total, squares = np.zeros((2, *counts.shape))
        used = np.flatnonzero(counts.any(1))
        prepared = self.problem.prepare(angles[used])
        for reading in self.problem.readings:
            settings = np.array(reading.settings)
            rows, columns = np.nonzero(counts[np.ix_(used, settings)])
            if len(rows) == 0:
                continue
            chances = reading.probabilities(prepared[rows, np.array(reading.points)[columns]])
            places = used[rows], settings[columns]
            found = self._draw(chances, np.array(reading.values), columns, counts[places])
            total[places], squares[places] = found
        self.shots += int(counts.sum())
        self.circuits += int(np.count_nonzero(counts))
        return total, squares

    def fidelities(self, first, angles, shots):
        """How often one state's circuit and then another's backwards return to the start, of `shots`."""
        prepared = self.problem.prepare(np.concatenate([first, angles]))
        states = prepared[:, self.rng.integers(prepared.shape[1])]
        exact = np.minimum(np.abs(states[1:] @ states[0].conj()) ** 2, 1)
        self.shots += shots * len(angles)
        self.circuits += len(angles)
        return self.rng.binomial(shots, exact) / shots

    def _draw(self, probabilities, values, kinds, counts):
        """Sums by row: shot by shot, or the number of shots of each outcome, whichever is less work.

        `kinds` says which row of the values is meant.
        """
        if counts.sum() > 2 * probabilities.size:
            drawn = self.rng.multinomial(counts, probabilities / probabilities.sum(1, keepdims=True))
            own = values[kinds]
            return np.sum(drawn * own, 1), np.sum(drawn * own**2, 1)
        width = probabilities.shape[1]
        ladder = np.cumsum(probabilities.ravel())
        ends = ladder[width - 1 :: width]
        starts = np.concatenate([[0.0], ends[:-1]])
        rows = np.repeat(np.arange(len(counts)), counts)
        places = starts[rows] + self.rng.random(len(rows)) * (ends - starts)[rows]
        index = np.searchsorted(ladder, places, side="right") - rows * width
        seen = values[kinds[rows], np.clip(index, 0, width - 1)]
        sums = [np.bincount(rows, x, len(counts)) for x in (seen, seen**2)]
        return sums[0], sums[1]


def shares(expected, groups, rng):
    """Whole numbers of shots with the given means, each rounded up or down, rows of one group side by side.

    Rows and settings are taken in random order, so that any two may be rounded up together; a group's shots
    are its mean, rounded up or down.
    """
    places = rng.permutation(expected.size)
    turn = rng.permutation(int(max(groups)) + 1)[np.repeat(groups, expected.shape[1])]
    order = np.lexsort((places, turn))
    steps = np.floor(np.cumsum(expected.ravel()[order]) + rng.random())
    counts = np.empty(expected.size, dtype=np.int64)
    counts[order] = np.diff(steps, prepend=0.0)
    return counts.reshape(expected.shape)


def unbiased(sums, counts, expected):
    """Means of the shots of each entry whose average is right, though some entries had none."""
    return np.where(counts > 0, sums / np.maximum(counts, 1), 0.0) / np.minimum(expected, 1)


class Spreads:
    """Standard deviations of a shot, estimated from what was measured, older shots counting less."""

    PRIOR, KEEP = 2.0, 0.8
    """The prior counts as so many shots; with each new batch, older ones count so much."""

    def __init__(self, prior):
        self.prior = np.array(prior)
        self.number, self.sums, self.squares = np.zeros((3, *self.prior.shape))

    def add(self, counts, sums, squares):
        keep = np.where(counts > 0, self.KEEP, 1.0)
        self.number = keep * self.number + counts
        self.sums = keep * self.sums + sums
        self.squares = keep * self.squares + squares

    @property
    def values(self):
        number = np.maximum(self.number, 1e-12)
        within = np.maximum(self.squares - self.sums**2 / number, 0)
        # the sum of squares around its own mean says what number - 1 shots do
        free = np.maximum(self.number - 1, 0)
        variance = (self.PRIOR * self.prior**2 + within) / (self.PRIOR + free)
        return np.sqrt(variance)
