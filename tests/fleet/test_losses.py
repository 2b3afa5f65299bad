"""What losses make of answer shots: the bias of each weight is that which its docstring states.

Expectations over outcomes are exact, by enumeration: nothing is drawn.
"""

from itertools import product
from math import comb

import numpy as np
import pytest

import efl_core as efl
from efl_core.fleet import losses
from efl_core.fleet.readouts import AnswerPlan

WORD = (efl.PauliSum({"ZI": 0.8, "II": 0.1}),)
# An output of two words in one setting: not a word.
PAIR = (efl.PauliSum({"ZI": 0.6, "IZ": 0.5}),)
SHOTS = [1, 2, 3, 8]


def words_of(count, chance):
    """All numbers of pluses of so many shots, with their probabilities, as bits of one output ZI."""
    bits = np.zeros((count + 1, count, 2), np.uint8)
    for pluses in range(count + 1):
        bits[pluses, pluses:, 0] = 1
    chances = [comb(count, k) * chance**k * (1 - chance) ** (count - k) for k in range(count + 1)]
    return bits, np.array(chances)


def outcomes_of(count, qubits):
    """All outcomes of a few shots of independent qubits that show 0 with these probabilities."""
    singles = list(product([0, 1], repeat=len(qubits)))
    weight = [np.prod([p if b == 0 else 1 - p for b, p in zip(s, qubits, strict=True)]) for s in singles]
    places = list(product(range(len(singles)), repeat=count))
    bits = np.array([[singles[i] for i in own] for own in places], np.uint8)
    return bits, np.array([np.prod([weight[i] for i in own]) for own in places])


def exact(loss, plan, bits, chances, label):
    """The expectation of the weights, and of the loss of the answers."""
    readout = plan.readout(bits)
    labels = loss.labels(np.full(len(bits), label), len(bits), plan.outputs)
    return chances @ loss.weights(readout, labels), chances @ loss.value(readout.mean, labels)


FUNCTIONS = {
    "logistic": losses.Logistic(4.0),
    "hinge": losses.Hinge(),
    "mistakes": losses.Function(lambda value, label: (value * label <= 0).astype(float)),
    "steep": losses.Function(lambda value, label: np.exp(3 * value) * label**2),
}


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_weights_of_a_word_are_the_slope_of_the_mean_served_loss(name, shots):
    loss, plan = FUNCTIONS[name], AnswerPlan.of(WORD, shots)

    def mean(value):
        return exact(loss, plan, *words_of(shots, (1 + (value - 0.1) / 0.8) / 2), 1)

    value, step = 0.37, 1e-5
    weight, _ = mean(value)
    slope = (mean(value + step)[1] - mean(value - step)[1]) / (2 * step)
    assert weight == pytest.approx(slope, rel=1e-7)


@pytest.mark.parametrize("shots", SHOTS)
@pytest.mark.parametrize("sums", [WORD, PAIR])
def test_weights_of_squares_have_no_bias(sums, shots):
    plan = AnswerPlan.of(sums, min(shots, 3))
    bits, chances = outcomes_of(plan.shots, [0.7, 0.2])
    weight, _ = exact(losses.Squared(), plan, bits, chances, 0.25)
    value = sum(c * {"ZI": 0.4, "IZ": -0.6, "II": 1.0}[word.label] for word, c in sums[0].terms())
    assert weight == pytest.approx(2 * (value - 0.25))


def jackknifed_bias(loss, sums, shots, label):
    """How far the mean weights of outputs of independent qubits are from the slopes at the exact outputs."""
    plan, (p, q) = AnswerPlan.of(sums, shots), (0.7, 0.35)
    bits, chances = outcomes_of(shots, [p, q])
    means = {"ZI": 2 * p - 1, "IZ": 2 * q - 1}
    value = np.array([[sum(c * means[word.label] for word, c in own.terms()) for own in sums]])
    labels = loss.labels(np.array([label]), 1, len(sums))
    step, slopes = 1e-6, []
    for o in range(len(sums)):
        up, down = value.copy(), value.copy()
        up[0, o] += step
        down[0, o] -= step
        slopes.append(float((loss.value(up, labels) - loss.value(down, labels))[0]) / (2 * step))
    return np.abs(exact(loss, plan, bits, chances, label)[0] - slopes).max()


@pytest.mark.parametrize(
    ("loss", "sums", "label"),
    [
        (losses.Logistic(2.0), PAIR, -1),
        (losses.CrossEntropy(2.0), (efl.PauliSum({"ZI": 1.0}), efl.PauliSum({"IZ": 1.0})), 1),
        (
            losses.Function(lambda v, y: (v - y) ** 4, lambda v, y: 4 * (v - y) ** 3),
            PAIR,
            0.5,
        ),
    ],
)
def test_the_jackknife_leaves_a_bias_of_second_order(loss, sums, label):
    """Twice the shots leave about a quarter of the bias; of the plain slope they would leave half."""
    small, large = (jackknifed_bias(loss, sums, shots, label) for shots in (3, 6))
    assert large < small / 2.5
    assert large < 0.05


def test_a_function_of_another_output_than_a_word_needs_its_slope():
    plan = AnswerPlan.of(PAIR, 2)
    loss = losses.Function(lambda v, y: v * y)
    with pytest.raises(efl.InvalidInputError, match=r"^loss: expected a slope"):
        loss.weights(plan.readout(np.zeros((1, 2, 2), np.uint8)), np.ones((1, 1)))


@pytest.mark.parametrize(
    ("loss", "outputs", "labels", "message"),
    [
        ("logistic", 1, [0.0], r"^label: expected -1 or 1, got 0"),
        ("logistic", 1, [np.nan], r"^label: expected finite numbers, got nan"),
        ("logistic", 2, [1], r"^loss: expected one for several outputs"),
        ("cross-entropy", 1, [0], r"^loss: expected one for one output"),
        ("cross-entropy", 3, [3], r"^label: expected integers from 0 to 2"),
        ("cross-entropy", 3, [0.5], r"^label: expected integers from 0 to 2"),
        ("squared", 2, [1.0], r"^label: expected 2 numbers for each of 1 queries"),
        ("expectation", 1, [1.0], r"^label: expected none"),
        ("upstream", 1, [1.0], r"^label: expected a gradient"),
    ],
)
def test_labels_are_checked(loss, outputs, labels, message):
    with pytest.raises(efl.InvalidInputError, match=message):
        losses.read_loss(loss).labels(labels, 1, outputs)


def test_a_loss_is_named_or_given():
    assert losses.read_loss("energy") == losses.Expectation()
    assert losses.read_loss(losses.Logistic(3.0)).scale == 3.0
    assert isinstance(losses.read_loss(lambda value, label: value * label), losses.Function)
    with pytest.raises(efl.InvalidInputError, match=r"^loss: expected one of upstream, expectation"):
        losses.read_loss("quadratic")
    with pytest.raises(efl.InputTypeError, match=r"^loss: expected a name, a loss or a function"):
        losses.read_loss(3)


def test_words_are_pooled_over_the_settings_that_reveal_them():
    sums = (efl.PauliSum({"ZZ": 0.5, "XX": 1.0, "ZI": 0.25}), efl.PauliSum({"IZ": 1.0, "II": -2.0}))
    plan = AnswerPlan.of(sums, 8)
    assert plan.shots == 8
    assert len(plan.runs) == 2
    bits = np.zeros((1, 8, 2), np.uint8)
    readout = plan.readout(bits)
    assert readout.mean[0] == pytest.approx([1.75, -1.0])
    assert (readout.stderr > 0).all()
    with pytest.raises(efl.InvalidInputError, match=r"^shots: expected 2 answer shots or more"):
        AnswerPlan.of(sums, 1)


def test_standard_errors_are_those_of_the_mean():
    """The mean of the squared errors is the variance of the mean, but for one shot of prior: 1 / 64 here."""
    plan = AnswerPlan.of((efl.PauliSum({"ZI": 1.0}),), 64)
    bits, chances = words_of(64, 0.8)
    found = plan.readout(bits)
    variance = chances @ np.square(found.mean[:, 0] - 0.6)
    assert variance < chances @ np.square(found.stderr[:, 0]) < variance * (1 + 1 / 24)
