"""Ensembles that are designed for what is to be estimated.

`design` finds the settings, and how often to take each, that make the variance of given observables small.
`Ensemble.predicted_variance` says what an ensemble will reach, before anything is measured.
"""

from collections.abc import Iterable
from typing import Literal, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer, real
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.gradients import GradientObservables
from efl_core.observables import Observable, read_observables

__all__ = ["Connectivity", "Goal", "Kind", "design", "read_connectivity", "read_goal"]

Kind: TypeAlias = Literal["auto", "uniform", "biased", "product", "clifford", "block"]
Connectivity: TypeAlias = Literal["all", "line", "none"]
Goal: TypeAlias = Literal["mean", "max"] | ArrayLike
"""What is made small: the mean of the variances, the largest, or a mean with given weights."""


def design(
    observables: GradientObservables | Observable | Iterable[Observable],
    kind: Kind = "auto",
    *,
    goal: Goal = "mean",
    value_weight: float = 0.0,
    connectivity: Connectivity = "all",
    qubits_per_block: SupportsIndex = 2,
    effort: SupportsIndex | None = None,
    shots: SupportsIndex | None = None,
) -> Ensemble:
    """Find the ensemble whose snapshots estimate the observables with the smallest variance.

    Variances are those on average over all states, so that the design needs no data. It is the same with any
    number of threads.

    Parameters
    ----------
    observables
        Made by `gradient_observables`; or a Pauli word or sum, or a list of them, which all weigh the same.
    kind
        ``"uniform"`` and ``"biased"`` (a letter per qubit), ``"product"`` (a list of product settings),
        ``"clifford"`` (a list of settings that reveal commuting words), ``"block"`` (Clifford settings of
        neighbouring qubits, drawn independently), or ``"auto"``: the best of them, a simpler one if it is
        within 2 %.
    goal
        ``"mean"`` of the variances, the largest (``"max"``), or weights: one per derivative, shape
        ``(n_observables, n_parameters)``, or one per plain observable. An upstream gradient is squared by the
        caller.
    value_weight
        Of gradient observables: the weight of all values together, beside one for all derivatives. With 0 the
        values may not be revealed at all, and `gradient` says NaN for them.
    connectivity
        Two-qubit gates of the settings: between ``"all"`` pairs, neighbours on a ``"line"``, or ``"none"``.
    qubits_per_block
        1 to 4, for ``"block"``.
    effort
        Bound on the search for settings, in words visited; the default takes a second or two. A search ends
        before where nothing is left to find. Product settings for up to a thousand words on 14 qubits
        are then about as good as any; larger ones gain a little from ten times the default of 60 million.
    shots
        How many snapshots will be taken. A list of settings is then as long as they can feed: no setting gets
        fewer than two, and what costs more to read than it may be worth is left out, first of all words with
        small coefficients. `Estimate.unrevealed` says how much that was; the error bars contain it. Without
        a number the list is that of very many shots, and few of them leave many settings with one or none.

    Examples
    --------
    >>> import efl_core as efl
    >>> ensemble = efl.design(["XX", "ZZ", "YY"])
    >>> ensemble.kind, ensemble.reveal_probability("YY")
    ('settings', 1.0)
    >>> ensemble.predicted_variance(["XX", "ZZ"]), efl.Ensemble.uniform(2).predicted_variance(["XX", "ZZ"])
    (array([1., 1.]), array([9., 9.]))
    """
    if isinstance(observables, GradientObservables):
        rows: _native.GradientObservables | _native.Observables = observables._native
        shape: tuple[int, ...] = (observables.n_observables, observables.n_parameters)
    else:
        rows, _ = read_observables(observables, None)
        shape = (len(rows),)
    if not isinstance(kind, str):
        raise InputTypeError.of("kind", "a name", described(kind))
    read_connectivity(connectivity)
    kinds = ["uniform", "biased", "product", "clifford", "block"] if kind == "auto" else [kind]
    return _native.design(
        rows,
        kinds,
        *read_goal(goal, shape),
        real("value_weight", value_weight),
        connectivity,
        integer("qubits_per_block", qubits_per_block, 1, 4),
        None if effort is None else integer("effort", effort, 1),
        None if shots is None else integer("shots", shots, 2),
    )


def read_goal(goal: Goal, shape: tuple[int, ...]) -> tuple[str, NDArray[np.float64] | None]:
    """Return the name of a goal, or the weights that it is."""
    if isinstance(goal, str):
        if goal not in ("mean", "max"):
            raise InvalidInputError.of("goal", "'mean', 'max' or an array of weights", described(goal))
        return goal, None
    found = array("goal", goal, "'mean', 'max' or an array of weights")
    if found.dtype.kind == "c":
        raise InputTypeError.of("goal", "real weights", f"dtype {found.dtype}")
    if found.shape != shape and not (shape[0] == 1 and found.shape == shape[1:]):
        raise ShapeError.of("goal", f"weights of shape {shape}", found.shape)
    weights = np.array(found, dtype=np.float64)
    bad = ~(np.isfinite(weights) & (weights >= 0))
    if bad.any():
        place = ", ".join(str(i) for i in np.argwhere(bad)[0])
        raise InvalidInputError.of(f"goal[{place}]", "a weight that is not negative", weights[bad][0])
    if weights.size and not weights.any():
        raise InvalidInputError.of("goal", "a weight above zero", "zeros only")
    return "weighted", weights.ravel()


def read_connectivity(connectivity: Connectivity) -> str:
    """Return the name, checked."""
    if connectivity not in ("all", "line", "none"):
        raise InvalidInputError.of("connectivity", "'all', 'line' or 'none'", described(connectivity))
    return connectivity
