"""Measured snapshots, packed, and how to simulate them.

A snapshot is one measurement of all qubits: a setting, and a bit per qubit (0 is the eigenvalue +1). The
setting is a letter X, Y or Z per qubit, and `Snapshots` then holds 3 bits per qubit; or it is one of a
list, by its index; or one of all stabiliser bases, by the address that it is drawn from.
"""

import operator
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core._native import Ensemble, StabiliserState
from efl_core.arguments import array, byte_table, check_range, column, described, integer, listed
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["Snapshots", "sample"]


class Snapshots:
    """T measurements of n qubits.

    Made by `from_arrays`, `from_settings`, `from_pennylane`, `from_arrow`, `read_parquet` or `sample`.
    Immutable.

    Examples
    --------
    >>> import efl_core as efl
    >>> snaps = efl.Snapshots.from_arrays(bits=[[0, 1], [1, 1], [0, 0]], bases=[[0, 2], [2, 2], [1, 0]])
    >>> snaps
    Snapshots(3 of 2 qubits, uniform)
    >>> snaps[1:].to_arrays()[0]
    array([[1, 1],
           [0, 0]], dtype=uint8)
    """

    __slots__ = ("_native",)

    def __init__(self, native: _native.Snapshots) -> None:
        if not isinstance(native, _native.Snapshots):
            raise InputTypeError(
                "Snapshots are made by Snapshots.from_arrays, .from_settings, .from_pennylane, .from_arrow, "
                f".read_parquet or efl_core.sample, not from {type(native).__name__}"
            )
        self._native = native

    @classmethod
    def from_arrays(
        cls,
        bits: ArrayLike,
        bases: ArrayLike,
        *,
        ensemble: Ensemble | None = None,
        version: ArrayLike | None = None,
        replica: ArrayLike | None = None,
        sequence: ArrayLike | None = None,
    ) -> "Snapshots":
        """Pack measured arrays.

        Parameters
        ----------
        bits
            Outcomes 0 or 1, shape ``(shots, n_qubits)``, integers or booleans. 0 is the eigenvalue +1.
        bases
            Letters 0, 1, 2 for X, Y, Z, same shape.
        ensemble
            What the settings were drawn from; uniform letters if not given.
        version, replica, sequence
            Optional provenance, an integer per snapshot (or one for all): version of the parameters
            (32 bits), replica, and position in that replica's own sequence (64 bits).

        Notes
        -----
        C-contiguous arrays of one byte per value are read where they are; others are copied once.
        """
        outcomes, letters = byte_table("bits", bits, 1), byte_table("bases", bases, 2)
        if outcomes.shape != letters.shape:
            raise ShapeError.of("bases", f"shape {outcomes.shape}, as bits has", letters.shape)
        ensemble = _check_ensemble(ensemble, outcomes.shape[1])
        try:
            snaps = cls(_native.Snapshots.from_arrays(outcomes, letters, ensemble))
        except InvalidInputError:  # bytes went over: say what the value is in the caller's own type
            check_range("bits", np.asarray(bits), 1)
            check_range("bases", np.asarray(bases), 2)
            raise
        if version is None and replica is None and sequence is None:
            return snaps
        return snaps.with_provenance(version=version, replica=replica, sequence=sequence)

    @classmethod
    def from_settings(
        cls,
        bits: ArrayLike,
        setting_index: ArrayLike,
        *,
        ensemble: Ensemble,
        allocated: bool = False,
        version: ArrayLike | None = None,
        replica: ArrayLike | None = None,
        sequence: ArrayLike | None = None,
    ) -> "Snapshots":
        """Pack bits that were measured in settings of a list, or of one list for each block of qubits.

        Parameters
        ----------
        bits
            Outcomes 0 or 1, shape ``(shots, n_qubits)``, integers or booleans, in the order of the qubits.
        setting_index
            Which setting of the list, shape ``(shots,)``; of several blocks, shape ``(shots, n_blocks)``.
        ensemble
            What the settings were drawn from, of kind ``"settings"`` or ``"blocks"``.
        allocated
            Of a list of settings: whether how often each was measured was fixed beforehand, as by
            `Ensemble.allocate`, and not left to chance. Estimates then take the numbers of shots as they are.
        version, replica, sequence
            As in `from_arrays`.

        Examples
        --------
        >>> import efl_core as efl
        >>> ensemble = efl.Ensemble.settings(["XZ", "YY"])
        >>> snaps = efl.Snapshots.from_settings([[0, 1], [1, 1]], [1, 0], ensemble=ensemble)
        >>> snaps
        Snapshots(2 of 2 qubits, settings)
        >>> snaps.to_arrays()[1]
        array([1, 0], dtype=uint32)
        """
        outcomes = byte_table("bits", bits, 1)
        ensemble = _check_ensemble(ensemble, outcomes.shape[1])
        indices = _index_table(setting_index, len(outcomes), ensemble)
        try:
            snaps = cls(_native.Snapshots.from_settings(outcomes, indices, ensemble, bool(allocated)))
        except InvalidInputError:  # bytes went over: say what the value is in the caller's own type
            check_range("bits", np.asarray(bits), 1)
            raise
        if version is None and replica is None and sequence is None:
            return snaps
        return snaps.with_provenance(version=version, replica=replica, sequence=sequence)

    @classmethod
    def from_addresses(cls, bits: ArrayLike, addresses: ArrayLike, *, ensemble: Ensemble) -> "Snapshots":
        """Pack bits whose settings are known by address: nothing else of them is kept or sent.

        Parameters
        ----------
        bits
            Outcomes 0 or 1, shape ``(shots, n_qubits)``, in the order of the qubits.
        addresses
            Seed and index, shape ``(shots, 2)``: the setting is the one that `sample` draws from the ensemble
            for snapshot ``index`` of that seed. Tables and pickles hold the settings instead.
        ensemble
            What the settings are drawn from.

        Examples
        --------
        >>> import efl_core as efl
        >>> drawn = efl.sample([1, 0, 0, 0], shots=50, seed=7)
        >>> addresses = [(7, index) for index in range(50)]
        >>> known = efl.Snapshots.from_addresses(drawn.to_arrays()[0], addresses, ensemble=drawn.ensemble)
        >>> bool((known.to_arrays()[1] == drawn.to_arrays()[1]).all())
        True
        """
        outcomes = byte_table("bits", bits, 1)
        ensemble = _check_ensemble(ensemble, outcomes.shape[1])
        found = array("addresses", addresses, "seed and index, two integers per snapshot")
        if found.shape != (len(outcomes), 2):
            raise ShapeError.of("addresses", f"shape ({len(outcomes)}, 2)", found.shape)
        if found.dtype.kind not in "iu" and found.size:
            raise InputTypeError.of("addresses", "integers", f"dtype {found.dtype}")
        check_range("addresses", found, 2**64 - 1)
        where = np.ascontiguousarray(found, dtype=np.uint64)
        return cls(_native.Snapshots.from_addresses(outcomes, where, ensemble))

    @classmethod
    def from_pennylane(cls, shadow: ArrayLike, *, ensemble: Ensemble | None = None) -> "Snapshots":
        """Pack the result of ``qml.classical_shadow``: ``(bits, recipes)``, an array of shape ``(2, T, n)``.

        >>> import efl_core as efl
        >>> efl.Snapshots.from_pennylane([[[0, 1]], [[2, 0]]])
        Snapshots(1 of 2 qubits, uniform)
        """
        if isinstance(shadow, (tuple, list)) and len(shadow) == 2:
            bits, recipes = shadow
        else:
            found = array("shadow", shadow, "bits and recipes, shape (2, shots, n_qubits)")
            if found.ndim != 3 or found.shape[0] != 2:
                raise ShapeError.of("shadow", "shape (2, shots, n_qubits)", found.shape)
            bits, recipes = found[0], found[1]
        return cls.from_arrays(bits, recipes, ensemble=ensemble)

    @classmethod
    def from_arrow(
        cls, data: object, *, ensemble: Ensemble | None = None, max_bytes: SupportsIndex | None = None
    ) -> "Snapshots":
        """Read exported snapshots from any object with an Arrow stream (pyarrow, polars, duckdb ...).

        ``ensemble`` is needed if the schema metadata are lost, as polars and duckdb lose them. ``max_bytes``
        bounds the size of the snapshots: half of the memory if not given.
        """
        from efl_core import storage

        return storage.from_arrow(data, ensemble=ensemble, max_bytes=max_bytes)

    @classmethod
    def read_parquet(
        cls, path: "str | PathLike[str]", *, max_bytes: SupportsIndex | None = None
    ) -> "Snapshots":
        """Read a Parquet file of snapshots, after checking all of it.

        ``max_bytes`` bounds the size that it may declare: half of the memory if not given.
        """
        from efl_core import storage

        return storage.read_parquet(path, max_bytes=max_bytes)

    @classmethod
    def concat(cls, parts: Iterable["Snapshots"]) -> "Snapshots":
        """Join snapshots of one width and ensemble, in order."""
        found = listed("parts", parts, "a sequence of Snapshots")
        for i, part in enumerate(found):
            if not isinstance(part, Snapshots):
                raise InputTypeError.of(f"parts[{i}]", "Snapshots", type(part).__name__)
        return cls(_native.Snapshots.concat([part._native for part in found]))

    def write_parquet(self, path: "str | PathLike[str]") -> None:
        """Write a Parquet file; it appears complete, by rename, or not at all.

        A file that is replaced keeps its mode; a device, a pipe or a socket is not replaced.
        """
        from efl_core import storage

        storage.write_parquet(self, path)

    def to_arrow(self) -> Any:  # noqa: ANN401 (pyarrow is optional, so its types cannot be named here)
        """Return a ``pyarrow.Table`` of packed rows."""
        from efl_core import storage

        return storage.to_arrow(self)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow().__arrow_c_stream__(requested_schema)

    def to_arrays(
        self,
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | NDArray[np.uint32] | NDArray[np.uint64]]:
        """Return ``(bits, bases)`` of `from_arrays`, or ``(bits, setting_index)`` of `from_settings`.

        Of `Ensemble.global_clifford` it is ``(bits, addresses)`` of `from_addresses`.
        """
        bits, bases = self._native.to_arrays()
        if self.ensemble.kind in ("uniform", "biased"):
            return bits, bases
        if (addresses := self.addresses) is not None and self.ensemble.kind == "global_clifford":
            return bits, addresses
        settings = self._native.settings
        return bits, settings[:, 0] if self.ensemble.kind == "settings" else settings

    def with_provenance(
        self,
        *,
        version: ArrayLike | None = None,
        replica: ArrayLike | None = None,
        sequence: ArrayLike | None = None,
    ) -> "Snapshots":
        """Return the same snapshots with these provenance columns and no others."""
        return Snapshots(
            self._native.with_provenance(
                column("version", version, np.uint32, len(self)),
                column("replica", replica, np.uint64, len(self)),
                column("sequence", sequence, np.uint64, len(self)),
            )
        )

    def with_ensemble(self, ensemble: Ensemble) -> "Snapshots":
        """Return the same snapshots, said to be drawn from another ensemble.

        It may draw the settings with other probabilities, but they have to be the same settings.
        """
        return Snapshots(self._native.with_ensemble(_check_ensemble(ensemble, self.n_qubits)))

    def with_allocated(self, allocated: bool) -> "Snapshots":
        """Return the same snapshots, said to have settings in fixed numbers of shots, or drawn ones."""
        return Snapshots(self._native.with_allocated(bool(allocated)))

    @property
    def allocated(self) -> bool:
        """Whether how often each setting of the list was measured was fixed beforehand."""
        return self._native.allocated

    @property
    def addresses(self) -> NDArray[np.uint64] | None:
        """Seed and index that each setting is drawn from, if that is how they are kept."""
        return self._native.addresses

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._native.n_qubits

    @property
    def ensemble(self) -> Ensemble:
        """What the settings were drawn from."""
        return self._native.ensemble

    @property
    def version(self) -> NDArray[np.uint32] | None:
        """Version of the parameters of each snapshot, if known."""
        return self._native.version

    @property
    def replica(self) -> NDArray[np.uint64] | None:
        """Replica of each snapshot, if known."""
        return self._native.replica

    @property
    def sequence(self) -> NDArray[np.uint64] | None:
        """Position of each snapshot in its replica's sequence, if known."""
        return self._native.sequence

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._native.nbytes

    def __len__(self) -> int:
        return len(self._native)

    def __getitem__(self, key: slice | ArrayLike) -> "Snapshots":
        """Select snapshots by a slice, a boolean mask or an array of indices."""
        if isinstance(key, slice):
            try:
                start, stop, step = key.indices(len(self))
            except (TypeError, ValueError) as error:
                raise InvalidInputError.of("slice", "integers and a step", f"{key} ({error})") from None
            if step == 1:
                return Snapshots(self._native.slice(start, max(start, stop)))
            order = np.arange(start, stop, step)
        else:
            order = self._order(key)
        return Snapshots(self._native.take(np.ascontiguousarray(order, dtype=np.uint64)))

    def _order(self, key: ArrayLike) -> NDArray[Any]:
        try:
            found = np.asarray(key)
        except ValueError:
            raise ShapeError.of(
                "mask or indices", f"shape ({len(self)},)", "rows of different lengths"
            ) from None
        if found.ndim == 0:
            raise InputTypeError(
                "snapshots are selected by a slice, a mask or an array of indices, got "
                f"{described(key)} (write snaps[i : i + 1] for one)"
            )
        if found.ndim != 1 or (found.dtype.kind == "b" and len(found) != len(self)):
            raise ShapeError.of("mask or indices", f"shape ({len(self)},)", found.shape)
        if found.dtype.kind == "b":
            return np.flatnonzero(found)
        if found.dtype.kind not in "iu" and found.size:
            raise InputTypeError.of("indices", "integers", f"dtype {found.dtype}")
        wide = found.astype(np.int64) if found.dtype.kind == "i" else found
        order = np.where(wide < 0, wide + len(self), wide) if found.dtype.kind == "i" else wide
        if order.size and (order.min() < 0 or order.max() >= len(self)):
            raise InvalidInputError.of(
                "indices", f"-{len(self)} to {len(self) - 1}", f"values from {found.min()} to {found.max()}"
            )
        return order

    def __add__(self, other: "Snapshots") -> "Snapshots":
        if not isinstance(other, Snapshots):
            return NotImplemented
        return Snapshots.concat([self, other])

    def __iter__(self) -> Iterator[Any]:
        raise InputTypeError("snapshots are not iterated one by one: use slices, or to_arrays()")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshots) and self._native == other._native

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Snapshots({len(self)} of {self.n_qubits} qubits, {self.ensemble.kind})"

    def __reduce__(self) -> tuple[Any, ...]:
        columns = (self.version, self.replica, self.sequence)
        if self.ensemble.kind == "global_clifford":
            return _from_addresses, (*self.to_arrays(), self.ensemble, *columns)
        return _from_rows, (*self._native.rows(), self.ensemble, *columns, self.allocated)


def _from_rows(*arguments: Any) -> Snapshots:  # noqa: ANN401 (the arguments of Snapshots.__reduce__)
    return Snapshots(_native.Snapshots.from_rows(*arguments))


def _from_addresses(
    bits: NDArray[np.uint8],
    addresses: NDArray[np.uint64],
    ensemble: Ensemble,
    version: NDArray[np.uint32] | None,
    replica: NDArray[np.uint64] | None,
    sequence: NDArray[np.uint64] | None,
) -> Snapshots:
    snaps = Snapshots.from_addresses(bits, addresses, ensemble=ensemble)
    return snaps.with_provenance(version=version, replica=replica, sequence=sequence)


def _check_ensemble(ensemble: Ensemble | None, n_qubits: int) -> Ensemble:
    if ensemble is None:
        return Ensemble.uniform(n_qubits)
    if not isinstance(ensemble, Ensemble):
        raise InputTypeError.of("ensemble", "an Ensemble", type(ensemble).__name__)
    if ensemble.n_qubits != n_qubits:
        raise ShapeError.of("ensemble", f"{n_qubits} qubits", f"{ensemble.n_qubits} qubits")
    return ensemble


def _index_table(setting_index: ArrayLike, shots: int, ensemble: Ensemble) -> NDArray[np.uint32]:
    """Return indices of settings, a row for each snapshot and a column for each block."""
    expected = "indices of settings, an integer per snapshot and block"
    found = array("setting_index", setting_index, expected)
    blocks = 1 if ensemble.kind == "settings" else len(ensemble.block_list)
    shape = found.shape
    if found.ndim == 1 and blocks == 1:
        found = found[:, np.newaxis]
    if found.shape != (shots, blocks):
        wanted = f"({shots},)" if blocks == 1 else f"({shots}, {blocks})"
        raise ShapeError.of("setting_index", f"shape {wanted}", shape)
    if found.dtype.kind not in "iu" and found.size:
        raise InputTypeError.of("setting_index", expected, f"dtype {found.dtype}")
    check_range("setting_index", found, 2**32 - 1)
    return np.ascontiguousarray(found, dtype=np.uint32)


def _counts(counts: ArrayLike) -> NDArray[np.uint64]:
    expected = "integers that are not negative, one for each setting"
    found = array("counts", counts, expected)
    if found.ndim != 1:
        raise ShapeError.of("counts", "shape (n_settings,)", found.shape)
    if found.dtype.kind not in "iu":
        raise InputTypeError.of("counts", expected, f"dtype {found.dtype}")
    if found.size and found.min() < 0:
        raise InvalidInputError.of("counts", expected, found.min())
    return np.ascontiguousarray(found, dtype=np.uint64)


def _amplitudes(state: ArrayLike) -> NDArray[np.complex128]:
    expected = "2^n real or complex amplitudes"
    amplitudes = array("state", state, expected)
    if amplitudes.ndim != 1:
        raise ShapeError.of("state", f"{expected} of shape (2**n,)", f"shape {amplitudes.shape}")
    return np.ascontiguousarray(amplitudes, dtype=np.complex128)


def _width(state: StabiliserState | NDArray[np.complex128]) -> int:
    if isinstance(state, StabiliserState):
        return state.n_qubits
    length = len(state)
    if length < 2 or length & (length - 1):
        raise ShapeError.of("state", "2^n real or complex amplitudes", length)
    return length.bit_length() - 1


def sample(
    state: ArrayLike | StabiliserState,
    ensemble: Ensemble | None = None,
    *,
    shots: SupportsIndex | None = None,
    counts: ArrayLike | None = None,
    allocated: bool | None = None,
    seed: SupportsIndex | None = None,
) -> Snapshots:
    """Simulate snapshots of a pure state.

    Parameters
    ----------
    state
        Amplitudes, length 2^n, normalised; wire 0 is the most significant bit of the index, as in
        PennyLane. complex128 is read where it is; other real or complex types are converted. Or a
        `StabiliserState` of any width, in letters or in `Ensemble.global_clifford`.
    ensemble
        Distribution of the settings; uniform letters if not given.
    shots
        Number of snapshots.
    counts
        In place of ``shots``, for an ensemble of a list of settings: how often each is measured, one after
        the other.
    allocated
        Whether the settings of a list come in fixed numbers, those of `Ensemble.allocate`, one setting after
        the other (the default for lists); or each snapshot draws one, as it does for other ensembles. Chance
        in these numbers only adds to the error.
    seed
        0 to 2^64 - 1. The same seed gives the same snapshots with any number of threads, and, where settings
        are drawn, fewer shots give the first of them. Without one, fresh entropy is drawn.

    Examples
    --------
    >>> import efl_core as efl
    >>> bell = [2**-0.5, 0, 0, 2**-0.5]
    >>> snaps = efl.sample(bell, shots=100_000, seed=7)
    >>> efl.estimate(snaps, ["XX", "YY", "ZZ"]).value.round(1)
    array([ 1., -1.,  1.])
    >>> ensemble = efl.Ensemble.settings(["XX", "ZZ"], [0.3, 0.7])
    >>> efl.sample(bell, ensemble, shots=1000, seed=7).allocated
    True
    >>> efl.sample(bell, ensemble, counts=[1, 3], seed=7).to_arrays()[1]
    array([0, 1, 1, 1], dtype=uint32)
    """
    prepared = state if isinstance(state, StabiliserState) else _amplitudes(state)
    if ensemble is None:
        ensemble = Ensemble.uniform(_width(prepared))
    elif not isinstance(ensemble, Ensemble):
        raise InputTypeError.of("ensemble", "an Ensemble", type(ensemble).__name__)
    if shots is not None and counts is not None:
        raise InvalidInputError.of("counts", "none with shots", "both")
    if allocated and ensemble.kind != "settings":
        raise InvalidInputError.of(
            "allocated",
            "none, as only a list of settings comes in fixed numbers",
            f"True for {ensemble.kind}",
        )
    if allocated is False and counts is not None:
        raise InvalidInputError.of("allocated", "none with counts, which are fixed numbers", "False")
    given = int(np.random.SeedSequence().generate_state(1, np.uint64)[0]) if seed is None else seed
    key = integer("seed", operator.index(given) if isinstance(given, np.integer) else given, 0, 2**64 - 1)
    count = integer("shots", shots, 1) if counts is None else 0
    if isinstance(prepared, StabiliserState):
        if counts is not None:
            raise InvalidInputError.of("counts", "none with a stabiliser state", "some")
        return Snapshots(_native.sample_stabiliser(prepared, ensemble, count, key))
    each = None if counts is None else _counts(counts)
    if each is None and ensemble.kind == "settings" and allocated is not False:
        each = ensemble.allocate(count, key)
    return Snapshots(_native.sample(prepared, ensemble, count, each, key))
