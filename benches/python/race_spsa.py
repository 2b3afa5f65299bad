"""The opponents of the race that shift all parameters at once: SPSA, SPSA with Adam, QNSPSA.

A direction is measured by the difference of two losses, c before and behind. Both sides measure the same
settings with the same shots, so that what settings differ by cancels; shots are shared by the standard
deviations seen so far. With fewer shots than settings some are drawn.
"""

import numpy as np
from race_measure import Meter, Spreads, shares, unbiased


class Adam:
    def __init__(self, size, rate, first=0.9, second=0.999):
        self.rate, self.first, self.second, self.k = rate, first, second, 0
        self.mean, self.square = np.zeros((2, size))

    def step(self, gradient):
        """What to add to the parameters."""
        self.k += 1
        self.mean = self.first * self.mean + (1 - self.first) * gradient
        self.square = self.second * self.square + (1 - self.second) * gradient**2
        square = np.sqrt(self.square / (1 - self.second**self.k))
        return -self.rate * self.mean / (1 - self.first**self.k) / (square + 1e-12)


class Directions:
    """Estimates of the gradient from random directions of +1 and -1."""

    def __init__(self, problem, seed):
        self.problem, self.rng = problem, np.random.default_rng([seed, 17])
        self.meter = Meter(problem, self.rng)
        self.spreads = Spreads(problem.spreads)

    def signs(self, number=1):
        return self.rng.choice([-1.0, 1.0], (number, self.problem.n_parameters))

    def gradient(self, theta, reach, shots, number=1):
        """The mean over directions; `shots` are those of all of them."""
        signs, share = self.signs(number), self.spreads.values / self.spreads.values.sum()
        expected = np.tile(share * max(shots / 2 / number, 1), (number, 1))
        counts = shares(expected, np.arange(number), self.rng)
        angles = self.problem.angles(np.concatenate([theta + reach * signs, theta - reach * signs]))
        sums, squares = self.meter.measure(angles, np.concatenate([counts, counts]))
        self.spreads.add(2 * counts.sum(0), sums.sum(0), squares.sum(0))
        difference = unbiased(sums[:number] - sums[number:], counts, expected).sum(1)
        return (difference[:, None] * signs).mean(0) / (2 * reach)

    def metric(self, theta, reach, shots):
        """An estimate of the Fubini-Study metric from four fidelities, after Gacon et al."""
        a, b = self.signs(2)
        others = np.array([a + b, a, b - a, -a]) * reach + theta
        f = self.meter.fidelities(self.problem.angles(theta), self.problem.angles(others), shots)
        difference = f[0] - f[1] - f[2] + f[3]
        return -difference / (4 * reach**2) * (np.outer(a, b) + np.outer(b, a)) / 2


def _shots(problem, rng, low, high):
    """Of a step, in units of those that tell a random direction."""
    return max(2, round(problem.scale * problem.n_parameters**0.5 * 10 ** rng.uniform(low, high)))


def _log(rng, low, high):
    return float(10 ** rng.uniform(np.log10(low), np.log10(high)))


def draw_spsa(problem, rng):
    return {
        "shots": _shots(problem, rng, -0.3, 2),
        "step": _log(rng, 0.01, 0.5),
        "reach": _log(rng, 0.04, 0.5),
    }


def spsa(problem, seed, hyper, trace):
    """Spall's gains: a / (A + k)^0.602 and c / k^0.101."""
    theta, ways, k = problem.initial(seed), Directions(problem, seed), 0
    while True:
        gain = hyper["step"] / problem.figures["curvature"] * (20 / (20 + k)) ** 0.602
        theta = theta - gain * ways.gradient(theta, hyper["reach"] / (1 + k) ** 0.101, hyper["shots"])
        k += 1
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace


def draw_adam(problem, rng):
    number = int(rng.choice([1, 1, 2, 4]))
    return {
        "shots": max(2 * number, _shots(problem, rng, -0.3, 2)),
        "rate": problem.length * _log(rng, 0.01, 0.3),
        "reach": _log(rng, 0.04, 0.5),
        "directions": number,
    }


def spsa_adam(problem, seed, hyper, trace):
    theta, ways = problem.initial(seed), Directions(problem, seed)
    adam = Adam(len(theta), hyper["rate"])
    while True:
        theta = theta + adam.step(ways.gradient(theta, hyper["reach"], hyper["shots"], hyper["directions"]))
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace


def draw_qnspsa(problem, rng):
    shots = _shots(problem, rng, -0.3, 2)
    return {
        "shots": shots,
        "metric_shots": max(2, round(shots * _log(rng, 0.02, 0.5))),
        "step": _log(rng, 0.01, 1),
        "reach": _log(rng, 0.04, 0.5),
        "regular": _log(rng, 0.01, 1),
    }


def qnspsa(problem, seed, hyper, trace):
    """SPSA in the running mean of estimated metrics, without the blocking of steps, which costs shots."""
    theta, ways, k = problem.initial(seed), Directions(problem, seed), 0
    mean = one = np.eye(len(theta))
    while True:
        gradient = ways.gradient(theta, hyper["reach"], hyper["shots"])
        k += 1
        mean = mean + (ways.metric(theta, hyper["reach"], hyper["metric_shots"]) - mean) / (k + 1)
        levels, axes = np.linalg.eigh(mean)
        metric = ((axes * np.abs(levels)) @ axes.T + hyper["regular"] * one) / (1 + hyper["regular"])
        theta = theta - hyper["step"] / problem.figures["curvature"] * np.linalg.solve(metric, gradient)
        if trace.add(theta, ways.meter.shots, ways.meter.circuits):
            return trace
