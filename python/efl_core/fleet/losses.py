"""What a fleet makes small: from the answer shots of a query and its label to the weight of its gradient.

The gradient of a loss of outputs f is the sum over outputs of ``dL/df`` times the derivative of the output.
The answer shots give the first factor, the teaching shots the second; they are other copies of the state, so
that the product has no bias where its factors have none. What each loss promises of the first factor:

=================  =======================================  ==============================================
loss               objective                                bias of the weight
=================  =======================================  ==============================================
`Expectation`      a combination of the outputs             none
`Squared`          the squared distance of the exact output none
a `Margin` of one  the mean loss of the *served* answers,   none, for any function of the answer
word               which are means of so many shots
a `Margin` of      the loss of the exact output             O(1 / shots^2), by a jackknife; O(1 / shots)
another output                                              where a setting has one shot
`CrossEntropy`     that of the exact outputs                the same
`Upstream`         that of a head, by its gradients         that of its own: O(1 / shots) for a smooth head
=================  =======================================  ==============================================
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import array, described, real
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.fleet.readouts import Readout

__all__ = [
    "CrossEntropy",
    "Expectation",
    "Function",
    "Hinge",
    "Logistic",
    "Loss",
    "Margin",
    "Squared",
    "Upstream",
    "read_loss",
    "served_weights",
]

Floats = NDArray[np.float64]


class Loss(Protocol):
    """What labels, and the answers to which they belong, make of a gradient."""

    needs_label: bool
    """Whether a query teaches when its label comes, or at once."""

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> NDArray[np.generic]:
        """Return labels as an array with one row for each query; refuse what is none."""

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the loss of each query, given values of the outputs, shape ``(queries, outputs)``."""

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return the weight of each output's derivatives, shape ``(queries, outputs)``."""


@dataclass(frozen=True)
class Expectation:
    """A combination of the outputs, an energy for example; no label, and no bias.

    >>> import numpy as np
    >>> from efl_core.fleet.losses import Expectation
    >>> Expectation().value(np.array([[0.5, -0.2]]), np.zeros(1))
    array([0.3])
    """

    coefficients: tuple[float, ...] | None = None
    """What each output counts; 1 if not given."""
    needs_label = False

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> NDArray[np.generic]:
        """Refuse labels."""
        raise InvalidInputError.of("label", "none, as the loss is an expectation value", described(labels))

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the combination."""
        found: Floats = outputs @ self.of(outputs.shape[1])
        return found

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return the coefficients."""
        queries = len(readout.shots[0])
        return np.tile(self.of(len(readout.constant)), (queries, 1))

    def of(self, outputs: int) -> Floats:
        """Return the coefficients of so many outputs."""
        if self.coefficients is None:
            return np.ones(outputs)
        if len(self.coefficients) != outputs:
            raise ShapeError.of("coefficients", f"{outputs} numbers", len(self.coefficients))
        return np.array(self.coefficients, dtype=np.float64)


@dataclass(frozen=True)
class Upstream:
    """The loss of a head that only its owner knows: gradients by the outputs are handed in, and no labels."""

    needs_label = True

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> NDArray[np.generic]:
        """Refuse labels."""
        raise InvalidInputError.of(
            "label", "a gradient, as the learner has no loss of its own", described(labels)
        )

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return that nobody knows the loss."""
        return np.full(len(outputs), np.nan)

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return the gradients."""
        return cast(Floats, labels)


@dataclass(frozen=True)
class Squared:
    """The squared distance of the outputs from the label; no bias with one answer shot or more."""

    needs_label = True

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> Floats:
        """Return labels, shape ``(queries, outputs)``."""
        found = _numbers(labels)
        if found.size != queries * outputs:
            raise ShapeError.of("label", f"{outputs} numbers for each of {queries} queries", found.shape)
        return found.reshape(queries, outputs)

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the sum of the squares."""
        found: Floats = np.square(outputs - cast(Floats, labels)).sum(axis=1)
        return found

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return twice the distances."""
        return 2 * (readout.mean - cast(Floats, labels))


class Margin(ABC):
    """A loss of one output whose label is -1 or 1; subclasses say which."""

    needs_label = True

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> Floats:
        """Return labels, shape ``(queries, 1)``."""
        if outputs != 1:
            raise InvalidInputError.of("loss", "one for several outputs, such as 'cross-entropy'", self)
        found = _numbers(labels)
        if found.size != queries:
            raise ShapeError.of("label", f"a number for each of {queries} queries", found.shape)
        if not np.isin(found, (-1, 1)).all():
            raise InvalidInputError.of("label", "-1 or 1", found[~np.isin(found, (-1, 1))].flat[0])
        return found.reshape(queries, 1)

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the loss of each query."""
        return self.loss(outputs[:, 0], cast(Floats, labels)[:, 0])

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return unbiased weights of the served loss for one word, else the jackknifed slope."""
        own = cast(Floats, labels)
        if readout.word is not None:
            return served_weights(readout, self.loss, own[:, 0])[:, None]

        def slope(values: Floats, labels: NDArray[np.generic]) -> Floats:
            return self.slope(values[:, 0], cast(Floats, labels)[:, 0])[:, None]

        return readout.jackknifed(slope, own)

    @abstractmethod
    def loss(self, values: Floats, labels: Floats) -> Floats:
        """Return the loss of values, elementwise."""

    @abstractmethod
    def slope(self, values: Floats, labels: Floats) -> Floats:
        """Return its derivative by the value, elementwise."""


@dataclass(frozen=True)
class Logistic(Margin):
    """``log(1 + exp(-label * scale * output))``."""

    scale: float = 1.0
    """How steep the logit is in the output."""

    def loss(self, values: Floats, labels: Floats) -> Floats:
        """Return the loss of values, elementwise."""
        return np.logaddexp(0.0, -self.scale * labels * values)

    def slope(self, values: Floats, labels: Floats) -> Floats:
        """Return its derivative by the value, elementwise."""
        return -self.scale * labels * np.exp(-np.logaddexp(0.0, self.scale * labels * values))


@dataclass(frozen=True)
class Hinge(Margin):
    """``max(0, margin - label * output)``; of other outputs than one word its kink leaves a bias nearby."""

    margin: float = 1.0
    """How far on the right side an output costs nothing."""

    def loss(self, values: Floats, labels: Floats) -> Floats:
        """Return the loss of values, elementwise."""
        return np.maximum(0.0, self.margin - labels * values)

    def slope(self, values: Floats, labels: Floats) -> Floats:
        """Return its derivative by the value, elementwise."""
        return np.where(labels * values < self.margin, -labels, 0.0)


@dataclass(frozen=True)
class Function:
    """Any function of an output and its label, both arrays; smooth or not, known or a black box.

    Of one word the mean of the served loss is made small, without bias and without a slope. Of another output
    the slope by the value is needed, and jackknifed.

    >>> from efl_core.fleet.losses import Function
    >>> mistakes = Function(lambda value, label: (value * label <= 0).astype(float))
    """

    function: Callable[[Floats, Floats], Floats]
    """The loss of values and labels, elementwise."""
    by_value: Callable[[Floats, Floats], Floats] | None = None
    """Its derivative by the value."""
    needs_label = True

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> Floats:
        """Return labels, one number for each query."""
        if outputs != 1:
            raise InvalidInputError.of("loss", "one for several outputs, or gradients of a head", self)
        found = _numbers(labels)
        if found.size != queries:
            raise ShapeError.of("label", f"a number for each of {queries} queries", found.shape)
        return found.reshape(queries, 1)

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the loss of each query."""
        return np.asarray(self.function(outputs[:, 0], cast(Floats, labels)[:, 0]), dtype=np.float64)

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return unbiased weights of the served loss for one word, else the jackknifed slope."""
        own, by_value = cast(Floats, labels), self.by_value
        if readout.word is not None:
            return served_weights(readout, self.function, own[:, 0])[:, None]
        if by_value is None:
            raise InvalidInputError.of(
                "loss", "a slope (Function(loss, by_value)) where an output is not one word", self
            )

        def slope(values: Floats, labels: NDArray[np.generic]) -> Floats:
            found = by_value(values[:, 0], cast(Floats, labels)[:, 0])
            return np.asarray(found, dtype=np.float64)[:, None]

        return readout.jackknifed(slope, own)


@dataclass(frozen=True)
class CrossEntropy:
    """The negative logarithm of the softmax of the outputs at the label: the class, or the next token."""

    scale: float = 1.0
    """How steep the logits are in the outputs."""
    needs_label = True

    def labels(self, labels: ArrayLike, queries: int, outputs: int) -> NDArray[np.int64]:
        """Return labels as numbers of outputs, shape ``(queries,)``."""
        if outputs < 2:
            raise InvalidInputError.of("loss", "one for one output, such as 'logistic'", self)
        found = array("label", labels, "numbers of outputs")
        if found.size != queries:
            raise ShapeError.of("label", f"a number for each of {queries} queries", found.shape)
        if found.dtype.kind not in "iu" or (found < 0).any() or (found >= outputs).any():
            raise InvalidInputError.of("label", f"integers from 0 to {outputs - 1}", described(labels))
        return found.reshape(queries).astype(np.int64)

    def value(self, outputs: Floats, labels: NDArray[np.generic]) -> Floats:
        """Return the loss of each query."""
        logits = self.scale * outputs
        chosen = np.take_along_axis(logits, cast(NDArray[np.int64], labels)[:, None], axis=1)[:, 0]
        found: Floats = np.logaddexp.reduce(logits, axis=1) - chosen
        return found

    def weights(self, readout: Readout, labels: NDArray[np.generic]) -> Floats:
        """Return the jackknifed slopes."""
        return readout.jackknifed(self._slopes, labels)

    def _slopes(self, values: Floats, labels: NDArray[np.generic]) -> Floats:
        logits = self.scale * values
        found: Floats = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
        found[np.arange(len(found)), cast(NDArray[np.int64], labels)] -= 1
        return self.scale * found


def served_weights(
    readout: Readout, loss: Callable[[Floats, Floats], Floats], labels: Floats
) -> NDArray[np.float64]:
    """Return for each query an unbiased slope of the mean loss of the answers, for an output of one word.

    With k of m shots at +1 it is ``(k (l_k - l_{k-1}) + (m - k) (l_{k+1} - l_k)) / 2``, l_j the loss at j.
    """
    assert readout.word is not None
    count, pluses = readout.shots[0].shape[1], readout.pluses
    constant, word = float(readout.constant[0]), readout.word

    def at(number: NDArray[np.int64]) -> Floats:
        inside = np.clip(number, 0, count)  # what is outside counts nothing
        value = constant + word * (2 * inside / count - 1)
        return np.asarray(loss(value, labels), dtype=np.float64)

    here = at(pluses)
    found: Floats = pluses * (here - at(pluses - 1)) + (count - pluses) * (at(pluses + 1) - here)
    return found / (2 * word)


_NAMED: Mapping[str, Callable[[], Loss]] = {
    "upstream": Upstream,
    "expectation": Expectation,
    "energy": Expectation,
    "squared": Squared,
    "logistic": Logistic,
    "hinge": Hinge,
    "cross-entropy": CrossEntropy,
}


def read_loss(loss: object) -> Loss:
    """Return a loss by its name, an object that is one, or a function of an output and a label."""
    if isinstance(loss, str):
        if loss not in _NAMED:
            raise InvalidInputError.of("loss", f"one of {', '.join(_NAMED)}, or a function", repr(loss))
        return _NAMED[loss]()
    if all(hasattr(loss, name) for name in ("needs_label", "labels", "value", "weights")):
        checked = cast(Loss, loss)
        scale = getattr(checked, "scale", 1.0)
        if not np.isfinite(real("loss: scale", scale)):
            raise InvalidInputError.of("loss: scale", "a finite number", scale)
        return checked
    if callable(loss):
        return Function(loss)
    raise InputTypeError.of("loss", "a name, a loss or a function", described(loss))


def _numbers(labels: ArrayLike) -> Floats:
    found = array("label", labels, "real numbers")
    if found.dtype.kind == "c":
        raise InputTypeError.of("label", "real numbers", f"dtype {found.dtype}")
    numbers = found.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InvalidInputError.of("label", "finite numbers", numbers[~np.isfinite(numbers)].flat[0])
    return numbers
