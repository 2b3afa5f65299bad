"""Squares of words of any weight, from Bell measurements of two copies of a state.

Words that do not commute have no common basis, but ``Q (x) Q`` on two copies have one: that of Bell pairs
between qubit q of the one copy and qubit q of the other. Its mean is ``<Q>**2``, so each snapshot reveals the
squares of all ``4**n`` words, with its sign, whatever their weight; the signs of ``<Q>`` it does not
(`two_copy_gradient` measures them besides). The copies may have different inputs, as pairs of a fleet do.

Invariant: squares are unbiased, and not clipped at zero.
Cost: that of `estimate` on twice the qubits.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, SupportsIndex

import numpy as np

from efl_core.arguments import integer, listed
from efl_core.circuits import Circuit, check_circuit
from efl_core.ensembles import Setting
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.estimates import Estimate, estimate
from efl_core.observables import PauliSum, PauliWord, WordLike, read_word, without_operators
from efl_core.snapshots import Snapshots

__all__ = ["bell_setting", "twice", "two_copies", "word_squares"]


def bell_setting(n_qubits: SupportsIndex) -> Setting:
    """Return the setting on two copies of n qubits that reveals ``Q (x) Q`` for every word Q.

    Qubit q of the second copy is qubit n + q: a CNOT from q to n + q, then H on q, for each q.

    >>> import efl_core as efl
    >>> efl.bell_setting(2).gates
    [('CNOT', 0, 2), ('CNOT', 1, 3), ('H', 0), ('H', 1)]
    >>> efl.bell_setting(1).reveal("YY")  # which bits, and the sign of their parity
    ([0, 1], -1)
    """
    n = integer("n_qubits", n_qubits, 1, 2**30)
    gates: list[tuple[str | int, ...]] = [("CNOT", q, n + q) for q in range(n)]
    return Setting.from_gates(2 * n, [*gates, *(("H", q) for q in range(n))])


def two_copies(circuit: Circuit, other: Circuit | None = None) -> Circuit:
    """Return the circuit twice, on qubits 0 to n - 1 and n to 2n - 1, with the same parameters.

    Parameters
    ----------
    circuit
        The first copy.
    other
        The second copy where it is another: as wide and at the same parameters, for other inputs. Those of
        the pair are the inputs of the first, then of the second; without it both copies have the same inputs.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[2.0]).ry(efl.Parameter(0), 0)
    >>> pair = efl.simulate(efl.two_copies(circuit))
    >>> snaps = efl.sample(pair, efl.Ensemble.settings([efl.bell_setting(1)]), shots=10_000, seed=1)
    >>> efl.word_squares(snaps, ["X", "Z"]).value.round(1)  # sin(2)**2 and cos(2)**2
    array([0.8, 0.2])
    """
    check_circuit(circuit)
    second = _second(circuit, other)
    n = circuit.n_qubits
    made = Circuit(2 * n, circuit.parameters)
    for value in circuit.inputs if other is None else [*circuit.inputs, *other.inputs]:
        made.input(value)
    blochs = [copy.bloch for copy in (circuit, second)]
    made.prepare(None if any(bloch is None for bloch in blochs) else np.concatenate(blochs))  # type: ignore[arg-type]
    for copy, by, inputs in ((circuit, 0, 0), (second, n, 0 if other is None else len(circuit.inputs))):
        for kind, arguments in copy._gates:
            made._add(kind, *(_moved(argument, by, inputs, n) for argument in _on_wires(kind, arguments)))
    return made


def _second(circuit: Circuit, other: Circuit | None) -> Circuit:
    """Return the second copy, checked."""
    if other is None:
        return circuit
    if not isinstance(other, Circuit):
        raise InputTypeError.of("other", "a Circuit", type(other).__name__)
    if other.n_qubits != circuit.n_qubits:
        raise ShapeError.of("other", f"{circuit.n_qubits} qubits, as the circuit has", other.n_qubits)
    if not np.array_equal(other.parameters, circuit.parameters):
        raise InvalidInputError.of("other", "the parameters of the circuit", "others (circuit.at sets them)")
    return other


class _Wires(list[int]):
    """The qubits of a gate, among its arguments."""


def _on_wires(kind: str, arguments: tuple[Any, ...]) -> list[Any]:
    if kind in ("rotation", "evolution"):
        return list(arguments)
    return [*arguments[:-1], _Wires(arguments[-1])]


def _moved(argument: Any, by: int, inputs: int, n_qubits: int) -> Any:  # noqa: ANN401 (of a native method)
    """Return an argument of a gate, on the qubits of one of two copies, at its inputs."""
    if isinstance(argument, tuple) and len(argument) == 1:
        return (argument[0] + inputs,)
    if isinstance(argument, _Wires):
        return [q + by for q in argument]
    if isinstance(argument, PauliWord):
        return PauliWord({q + by: letter for q, letter in argument.support.items()}, n_qubits=2 * n_qubits)
    if isinstance(argument, PauliSum):
        return PauliSum([(_moved(word, by, inputs, n_qubits), factor) for word, factor in argument.terms()])
    return argument


def word_squares(snaps: Snapshots | Sequence[Snapshots], words: Iterable[WordLike] | WordLike) -> Estimate:
    """Estimate ``<Q>**2`` for words of any weight, from snapshots of two copies.

    The standard error is at most ``1 / sqrt(shots - 1)`` for each word. That of a magnitude ``|<Q>|`` is that
    of the square over ``2 |<Q>|``: to tell it from zero takes some ``1 / <Q>**4`` snapshots.

    Parameters
    ----------
    snaps
        Snapshots of 2n qubits that reveal ``Q (x) Q``: of ``Ensemble.settings([bell_setting(n)])``. Or a
        list of them, one for each pair of circuits at different inputs (``two_copies(circuit, other)``): then
        the value is the mean over the pairs of ``<Q> <Q>'``, which is the square of the mean of ``<Q>`` over
        the inputs, if all inputs are drawn independently. Its error is that of independent pairs.
    words
        A Pauli word of n qubits, or a list of them.

    Returns
    -------
    Estimate
        Values may be negative: they are unbiased, and not clipped.

    Examples
    --------
    >>> import efl_core as efl
    >>> ensemble = efl.Ensemble.settings([efl.bell_setting(2)])
    >>> bell = np.array([1, 0, 0, 1]) / 2**0.5
    >>> snaps = efl.sample(np.kron(bell, bell), ensemble, shots=2000, seed=1)
    >>> efl.word_squares(snaps, ["XX", "YY"]).value
    array([1., 1.])
    """
    if isinstance(snaps, Snapshots):
        return estimate(snaps, _doubled("snaps", snaps, words))
    pairs = listed("snaps", snaps, "Snapshots, or a sequence of them")
    words = words if isinstance(words, (str, PauliWord, Mapping)) else list(words)
    found = []
    for i, own in enumerate(pairs):
        doubled = _doubled(f"snaps[{i}]", own, words)
        if own.n_qubits != pairs[0].n_qubits:
            raise ShapeError.of(f"snaps[{i}]", f"{pairs[0].n_qubits} qubits, as the first", own.n_qubits)
        found.append(estimate(own, doubled))
    if len(found) < 2:
        raise InvalidInputError.of("snaps", "Snapshots of two pairs or more, for an error", len(found))
    values, shots = np.array([one.value for one in found]), sum(one.shots for one in found)
    count = len(pairs)
    # No less than what pairs that all agree leave, as everywhere; of a pair whose product is zero.
    least = (1 - (count / (count + 2)) ** 2) * count / shots
    stderr = np.sqrt(np.maximum(values.var(axis=0, ddof=1), least) / count)
    if values.ndim == 1:
        return Estimate(float(values.mean()), float(stderr), shots, shots)
    return Estimate(values.mean(axis=0), stderr, np.full(values.shape[1], shots, dtype=np.uint64), shots)


def _doubled(
    name: str, snaps: Snapshots, words: Iterable[WordLike] | WordLike
) -> PauliWord | list[PauliWord]:
    """Return ``Q (x) Q`` for words that snapshots of two copies reveal."""
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of(name, "Snapshots", type(snaps).__name__)
    if snaps.n_qubits % 2:
        raise ShapeError.of(name, "an even number of qubits, as two copies have", snaps.n_qubits)
    n = snaps.n_qubits // 2
    words = without_operators("words", words, n, words=True)
    one = isinstance(words, (str, PauliWord, Mapping))
    given: list[Any] = [words] if one else listed("words", words, "a sequence of Pauli words")
    names = ["words"] if one else [f"words[{i}]" for i in range(len(given))]
    doubled = [twice(read_word(called, word, n)) for called, word in zip(names, given, strict=True)]
    for word in doubled:
        if snaps.ensemble.reveal_probability(word) == 0:
            expected = f"snapshots that reveal {word.label}, as those of bell_setting({n}) do"
            raise InvalidInputError.of(name, expected, f"a {snaps.ensemble.kind} ensemble that never does")
    return doubled[0] if one else doubled


def twice(word: PauliWord) -> PauliWord:
    """Return ``Q (x) Q`` for a word Q."""
    n = word.n_qubits
    support = word.support
    return PauliWord({**support, **{n + q: letter for q, letter in support.items()}}, n_qubits=2 * n)
