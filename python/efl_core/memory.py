"""What settings have answered, from step to step: a memory that plans can ask for the variances at hand.

A setting is known by the structure of its circuit and by how it is measured, at any values of the
parameters; so one memory serves a whole training run, and several circuits at once. Outcomes are kept, not
variances: the covariances of all that a setting reveals follow from them, at other angles and for other
combinations of derivatives, too.

Cost: at most 1024 different outcomes of each setting (8 bytes each, and 8 for their weight).
"""

from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, byte_table, described, integer, listed, real
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.experiments import Experiment

__all__ = ["Memory"]

_FIELDS = ("key", "n_qubits", "step", "squares", "outcomes", "weights", "halves")


class Memory:
    """Outcomes of settings, those of later steps with more weight.

    Parameters
    ----------
    forget
        How much of its weight a shot loses with every further step: from 0, for a state that stays, to below
        1; 0.1 if not given. In training the state moves, and old shots tell less of it.

    Shares that follow a memory depend on earlier steps alone, so that gradients stay without bias. What was
    never measured counts as uncertain as what was, relative to the average over all states.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    >>> plan = efl.plan(circuit, "Z")
    >>> memory = efl.Memory()
    >>> for experiment, shots in plan.allocate(200, "product", seed=1):
    ...     memory.observe([(experiment, [[0]] * 130 + [[1]] * 70)])
    >>> memory
    Memory(1 settings, 1 steps, forget=0.1)
    >>> later = plan.at([0.35], state=memory)
    >>> later.best.name, later.best.at_state
    ('product', True)
    >>> efl.Memory.from_dict(memory.to_dict()) == memory
    True
    """

    __slots__ = ("_native",)
    __hash__ = None  # type: ignore[assignment]  # it changes

    def __init__(self, forget: float = 0.1) -> None:
        lost = real("forget", forget)
        if not 0 <= lost < 1:
            raise InvalidInputError.of("forget", "a number from 0 to below 1", lost)
        self._native = _native.Memory(1 - lost)

    @property
    def forget(self) -> float:
        """How much of its weight a shot loses with every further step."""
        return round(1 - self._native.keep, 15)

    @property
    def steps(self) -> int:
        """How many steps were observed."""
        return self._native.steps

    def __len__(self) -> int:
        return len(self._native)

    def observe(self, runs: Iterable[tuple[Experiment, ArrayLike]]) -> None:
        """Add a step: experiments, each with its bits of shape ``(shots, n_qubits)``."""
        expected = "pairs of an experiment and its bits"
        counted: list[tuple[_native.Experiment, NDArray[np.uint8]]] = []
        for i, item in enumerate(listed("runs", runs, expected)):
            if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Experiment)):
                raise InputTypeError.of(f"runs[{i}]", expected, described(item))
            experiment, bits = item
            table = byte_table(f"runs[{i}]", bits, 1)
            if table.shape[1] != experiment.n_qubits:
                raise ShapeError.of(f"runs[{i}]", f"shape (shots, {experiment.n_qubits})", table.shape)
            counted.append((experiment._native, table))
        self.observe_counted(_native.Outcomes.count(counted))

    def observe_counted(self, outcomes: list[_native.Outcomes]) -> None:
        """Add a step of outcomes that are counted already."""
        self._native = self._native.observed(outcomes)

    def copy(self) -> Self:
        """Return an independent memory of the same."""
        return self._of(self._native)

    @classmethod
    def _of(cls, native: _native.Memory) -> Self:
        made = cls.__new__(cls)
        made._native = native  # which is never changed, only replaced
        return made

    def to_dict(self) -> dict[str, Any]:
        """Return what is remembered, ready for JSON."""
        settings = []
        for key, n_qubits, step, squares, (rows, weights, halves) in self._native.parts():
            outcomes = [bytes(row).hex() for row in rows.astype("<u8").reshape(len(weights), -1)]
            known = (bytes(np.array(key, "<u8")).hex(), n_qubits, step, squares)
            values = (*known, outcomes, weights.tolist(), halves.tolist())
            settings.append(dict(zip(_FIELDS, values, strict=True)))
        return {"keep": self._native.keep, "steps": self.steps, "settings": settings}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the memory that `to_dict` was taken of."""
        expected = "what to_dict returned"
        if not isinstance(data, dict):
            raise InputTypeError.of("data", expected, described(data))
        for name in ("keep", "steps", "settings"):
            if name not in data:
                raise InvalidInputError.of("data", expected, f"one without {name!r}")
        settings = [
            _setting(f"settings[{i}]", own)
            for i, own in enumerate(listed("settings", data["settings"], "a list of settings"))
        ]
        steps = integer("steps", data["steps"], 0)
        return cls._of(_native.Memory.from_parts(real("keep", data["keep"]), steps, settings))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Memory) and self.to_dict() == other.to_dict()

    def __reduce__(self) -> tuple[Any, ...]:
        return Memory.from_dict, (self.to_dict(),)

    def __repr__(self) -> str:
        return f"Memory({len(self)} settings, {self.steps} steps, forget={self.forget:g})"


def _setting(name: str, own: Any) -> "_native._Seen":  # noqa: ANN401 (checked here)
    """Return a setting of `to_dict` as the core has it."""
    if not isinstance(own, dict) or any(field not in own for field in _FIELDS):
        raise InvalidInputError.of(name, f"a dict of {', '.join(_FIELDS)}", described(own))
    key = _words(f"{name}.key", own["key"])
    if len(key) != 2:
        raise ShapeError.of(f"{name}.key", "32 hexadecimal digits", described(own["key"]))
    n_qubits = integer(f"{name}.n_qubits", own["n_qubits"], 1, 2**20)
    rows = [
        _words(f"{name}.outcomes[{j}]", row)
        for j, row in enumerate(listed(f"{name}.outcomes", own["outcomes"], "a list of outcomes"))
    ]
    limbs = -(-n_qubits // 64)
    if any(len(row) != limbs for row in rows):
        raise ShapeError.of(f"{name}.outcomes", f"{16 * limbs} hexadecimal digits each", "others")
    return (
        [int(part) for part in key],
        n_qubits,
        integer(f"{name}.step", own["step"], 0),
        real(f"{name}.squares", own["squares"]),
        (
            np.concatenate([np.zeros(0, np.uint64), *rows]),
            _numbers(f"{name}.weights", own["weights"]),
            _numbers(f"{name}.halves", own["halves"]),
        ),
    )


def _numbers(name: str, given: Any) -> NDArray[np.float64]:  # noqa: ANN401 (checked here)
    """Return a vector of numbers."""
    found = array(name, given, "a vector of numbers")
    if found.dtype.kind not in "iuf" or found.ndim != 1:
        raise InputTypeError.of(name, "a vector of numbers", described(given))
    return found.astype(np.float64)


def _words(name: str, text: object) -> NDArray[np.uint64]:
    """Return hexadecimal digits as numbers of 64 bits, the least byte first."""
    try:
        return np.frombuffer(bytes.fromhex(text), "<u8").astype(np.uint64)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InvalidInputError.of(name, "hexadecimal digits, 16 for 64 bits", described(text)) from None
