"""The opponents of the race that shift parameters one by one: iCANS, gCANS, parameter-shift with Adam.

Derivatives that are identically zero are never measured. A unit of measurement is a pair of shifted circuits
and a setting, the same shots on both sides. Shots go to units by the deviations seen so far, which is
optimal; each unit keeps its own. iCANS and gCANS give every parameter its number of shots (Kuebler et al.,
Gu et al.); where these are fewer than its units, some are drawn, as `qml.ShotAdaptiveOptimizer` draws terms
(Arrasmith et al.). Parameter-shift measures every unit in every step, or some that are drawn (Sweke et al.).
"""

import numpy as np
from race_measure import Meter, Spreads, shares, unbiased
from race_spsa import Adam, _log, _shots


class Shifts:
    def __init__(self, problem, seed):
        self.problem, self.rng = problem, np.random.default_rng([seed, 19])
        self.meter = Meter(problem, self.rng)
        self.shifts = np.array([pair.shifts for pair in problem.pairs])
        self.coefficients = np.array([pair.coefficient for pair in problem.pairs])[:, None]
        alive = sorted({pair.parameter for pair in problem.pairs})
        self.alive = np.array(alive)
        self.owners = np.array([alive.index(pair.parameter) for pair in problem.pairs])
        """Of each pair: the place of its parameter among those that are measured."""
        self.spreads = Spreads(np.tile(problem.spreads, (2 * len(self.shifts), 1)))

    @property
    def deviations(self):
        """Of each unit: the deviation of its part of the derivative with one shot on each side."""
        a, b = np.split(self.spreads.values, 2)
        return np.abs(self.coefficients) * np.hypot(a, b)

    def by_parameter(self, units):
        return np.bincount(self.owners, units.sum(1), len(self.alive))

    @property
    def sigmas(self):
        """Of each parameter: the deviation of its derivative times the root of its shots, at best."""
        return np.sqrt(2) * self.by_parameter(self.deviations)

    def gradient(self, theta, expected):
        """The gradient from so many shots on each side of each unit, on average."""
        counts = shares(expected, self.owners, self.rng)
        base = self.problem.angles(theta)
        angles = np.concatenate([base + self.shifts, base - self.shifts])
        both = np.concatenate([counts, counts])
        sums, squares = self.meter.measure(angles, both)
        self.spreads.add(both, sums, squares)
        half = len(counts)
        parts = self.coefficients * unbiased(sums[:half] - sums[half:], counts, expected)
        gradient = np.zeros(self.problem.n_parameters)
        gradient[self.alive] = self.by_parameter(parts)
        return gradient

    def split(self, shots):
        """Shots of each parameter, shared by its units, on each side."""
        deviations = self.deviations
        return deviations * (shots / 2 / self.by_parameter(deviations))[self.owners][:, None]


MOST = 1e9
"""Shots of a step: where nothing bounds them, a vanishing gradient asks for more than can be counted."""


def draw_cans(problem, rng):
    return {
        "least": _shots(problem, rng, -1.5, 0.5),
        "slope": _log(rng, 0.3, 3),
        "rate": float(rng.uniform(0.2, 1)),
        "memory": float(rng.choice([0.9, 0.99])),
    }


def _cans(problem, seed, hyper, trace, wanted):
    """Gradient descent whose shots follow from running means of derivatives and of their variances."""
    theta, ways, memory = problem.initial(seed), Shifts(problem, seed), hyper["memory"]
    slope = hyper["slope"] * problem.figures["curvature"]
    rate, k = hyper["rate"] / slope, 0
    shots = np.full(len(ways.alive), float(hyper["least"]))
    mean, variance = np.zeros((2, len(ways.alive)))
    while True:
        gradient = ways.gradient(theta, ways.split(shots))
        theta = theta - rate * gradient
        k += 1
        mean = memory * mean + (1 - memory) * gradient[ways.alive]
        variance = memory * variance + (1 - memory) * ways.sigmas**2
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace
        known = 1 - memory**k
        small = 1e-6 * problem.gap**2 * memory**k
        shots = wanted(slope, rate, mean / known, variance / known, small, hyper["least"])
        # nobody spends everything in one step
        shots *= min(1, min(trace.most_shots / 4, MOST) / shots.sum())
        shots = np.maximum(shots, hyper["least"])


def _individual(slope, rate, mean, variance, small, least):
    """ICANS1: the shots that gain most per shot, parameter by parameter, at most those of the best."""
    shots = np.ceil(2 * slope * rate / (2 - slope * rate) * variance / (mean**2 + small))
    shots = np.maximum(shots, least)
    gain = (rate - slope * rate**2 / 2) * mean**2 - slope * rate**2 / (2 * shots) * variance
    return np.minimum(shots, shots[np.argmax(gain / shots)])


def _together(slope, rate, mean, variance, small, least):
    """GCANS: the shots that gain most per shot, for the whole gradient."""
    sigma = np.sqrt(variance)
    shots = 2 * slope * rate / (2 - slope * rate) * sigma * sigma.sum() / (np.sum(mean**2) + small)
    return np.maximum(np.ceil(shots), least)


def icans(problem, seed, hyper, trace):
    return _cans(problem, seed, hyper, trace, _individual)


def gcans(problem, seed, hyper, trace):
    return _cans(problem, seed, hyper, trace, _together)


def draw_shift(problem, rng):
    units = 2 * len(problem.pairs) * problem.n_settings
    return {
        "shots": max(units, _shots(problem, rng, -0.5, 2)),
        "rate": problem.length * _log(rng, 0.03, 0.6),
    }


def shift(problem, seed, hyper, trace):
    """Every unit, at least once, with Adam."""
    theta, ways = problem.initial(seed), Shifts(problem, seed)
    adam = Adam(len(theta), hyper["rate"])
    while True:
        deviations = ways.deviations
        expected = np.maximum(deviations * (hyper["shots"] / 2 / deviations.sum()), 1)
        theta = theta + adam.step(ways.gradient(theta, expected))
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace


def draw_sampled(problem, rng):
    return {
        "shots": _shots(problem, rng, -0.3, 2),
        "rate": problem.length * _log(rng, 0.01, 0.3),
    }


def sampled(problem, seed, hyper, trace):
    """Some units, drawn by their deviations, with Adam."""
    theta, ways = problem.initial(seed), Shifts(problem, seed)
    adam = Adam(len(theta), hyper["rate"])
    while True:
        deviations = ways.deviations
        expected = deviations * (hyper["shots"] / 2 / deviations.sum())
        theta = theta + adam.step(ways.gradient(theta, expected))
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace
