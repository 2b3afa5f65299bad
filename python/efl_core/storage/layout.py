"""The layout of stored snapshots: the columns, the schema metadata, and the checks of both.

A `Layout` is what a table says about itself. Invariant: one that was read has a known format, a width from
1 to `MAX_QUBITS`, a valid ensemble of that width and columns of exactly the right types; the rows are still
unchecked.
Cost: nothing that depends on the number of rows.
"""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from efl_core import _native
from efl_core.errors import CorruptDataError, EflError, InvalidInputError, NewerFormatError
from efl_core.snapshots import Snapshots
from efl_core.storage.backend import Schema, pa

__all__ = ["FORMAT", "MAX_QUBITS", "PLANES", "PROVENANCE", "Layout", "read_ensemble", "read_layout"]

FORMAT = 1
MAX_QUBITS = 2**20
PLANES = ("x", "z", "outcome")
PROVENANCE: dict[str, type[np.unsignedinteger[Any]]] = {
    "version": np.uint32,
    "replica": np.uint64,
    "sequence": np.uint64,
}

_SCHEMA, _N_QUBITS, _ENSEMBLE = b"efl.schema", b"efl.n_qubits", b"efl.ensemble"


@dataclass(frozen=True)
class Layout:
    """Ensemble (and with it the width) and columns of a table of snapshots."""

    ensemble: _native.Ensemble
    columns: tuple[str, ...]

    @classmethod
    def of(cls, snaps: Snapshots) -> "Layout":
        """Return the layout that snapshots are stored in."""
        if snaps.n_qubits > MAX_QUBITS:
            raise InvalidInputError(
                f"snaps: expected up to {MAX_QUBITS} qubits to store, got {snaps.n_qubits}"
            )
        none = snaps[:0]  # asking all of them for a column would copy it
        known = tuple(name for name in PROVENANCE if getattr(none, name) is not None)
        return cls(snaps.ensemble, PLANES + known)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self.ensemble.n_qubits

    @property
    def words(self) -> int:
        """Words per row of a bit plane."""
        return -(-self.n_qubits // 64)

    @property
    def row_bytes(self) -> int:
        """Bytes per row, all columns."""
        return sum(self.width(name) for name in self.columns)

    def width(self, name: str) -> int:
        """Bytes per value of a column."""
        return np.dtype(PROVENANCE[name]).itemsize if name in PROVENANCE else 8 * self.words

    def metadata(self) -> dict[bytes, bytes]:
        """Return the schema metadata."""
        return {
            _SCHEMA: str(FORMAT).encode(),
            _N_QUBITS: str(self.n_qubits).encode(),
            _ENSEMBLE: _ensemble_text(self.ensemble).encode(),
        }

    def schema(self) -> Schema:
        """Return the Arrow schema."""
        fields = [pa.field(name, self.type(name), nullable=False) for name in self.columns]
        return pa.schema(fields, metadata=self.metadata())

    def type(self, name: str) -> Any:  # noqa: ANN401 (a pyarrow type)
        """Return the Arrow type of a column."""
        if name in PROVENANCE:
            return pa.uint32() if PROVENANCE[name] is np.uint32 else pa.uint64()
        return pa.binary(self.width(name))

    def checksum(self) -> int:
        """CRC-32 of all of the above."""
        said = [FORMAT, self.n_qubits, _ensemble_text(self.ensemble), self.columns]
        return zlib.crc32(json.dumps(said).encode())


def _ensemble_text(ensemble: _native.Ensemble) -> str:
    said: dict[str, Any] = {"kind": ensemble.kind}
    if ensemble.kind != "uniform":
        said["probabilities"] = ensemble.probabilities.tolist()  # repr of a float gives the same float back
    return json.dumps(said)


def read_ensemble(source: str, metadata: Mapping[bytes, bytes] | None) -> _native.Ensemble | None:
    """Return the ensemble that schema metadata describe; None if they have nothing of ours."""
    metadata = metadata or {}
    if not any(key in metadata for key in (_SCHEMA, _N_QUBITS, _ENSEMBLE)):
        return None
    for key in (_SCHEMA, _N_QUBITS, _ENSEMBLE):  # the format first: a newer one may have other keys
        if key not in metadata:
            raise CorruptDataError(f"{source}: the schema metadata have no {key.decode()}")
        if key == _SCHEMA:
            _check_format(source, metadata[key])
    n_qubits = _natural(metadata[_N_QUBITS])
    if n_qubits is None or not 1 <= n_qubits <= MAX_QUBITS:
        raise CorruptDataError(
            f"{source}: efl.n_qubits: expected an integer from 1 to {MAX_QUBITS}, "
            f"got {_short(metadata[_N_QUBITS])}"
        )
    try:
        return _parse_ensemble(metadata[_ENSEMBLE], n_qubits)
    except (EflError, ValueError, RecursionError) as error:
        raise CorruptDataError(
            f"{source}: efl.ensemble: expected the JSON of an ensemble of {n_qubits} qubits, "
            f"got {_short(metadata[_ENSEMBLE])} ({error})"
        ) from error


def _check_format(source: str, text: bytes) -> None:
    found = _natural(text)
    if found is not None and found > FORMAT:
        raise NewerFormatError(
            f"{source}: has snapshot format {found}, but this version of efl_core reads format {FORMAT}: "
            "upgrade efl-core"
        )
    if found != FORMAT:
        raise CorruptDataError(f"{source}: efl.schema: expected {FORMAT}, got {_short(text)}")


def _natural(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"0|[1-9][0-9]{0,8}", text) else None


def _short(text: bytes) -> str:
    return f"{text[:60]!r}{'...' if len(text) > 60 else ''}"


def _parse_ensemble(text: bytes, n_qubits: int) -> _native.Ensemble:
    said = json.loads(text)
    if said == {"kind": "uniform"}:
        return _native.Ensemble.uniform(n_qubits)
    if not isinstance(said, dict) or said.keys() != {"kind", "probabilities"} or said["kind"] != "biased":
        raise ValueError('the kinds are {"kind": "uniform"} and {"kind": "biased", "probabilities": [...]}')
    rows = said["probabilities"]
    if not isinstance(rows, list) or len(rows) != n_qubits:
        raise ValueError(f"probabilities: expected {n_qubits} rows")
    if not all(
        isinstance(row, list) and len(row) == 3 and {type(p) for p in row} <= {float, int} for row in rows
    ):
        raise ValueError("probabilities: expected rows of three numbers")
    return _native.Ensemble.biased(rows)


def read_layout(source: str, schema: Schema, ensemble: _native.Ensemble, *, ours: bool) -> Layout:
    """Check the columns of a schema.

    ``ours`` is for files, which only we write: other columns are refused, and the types are exactly ours.
    Without it, other columns are left alone, and bit planes may be of any binary type, since polars and
    others have no binary of fixed size; the width of each value is then checked with the values.
    """
    names = list(schema.names)
    repeated = [name for name in (*PLANES, *PROVENANCE) if names.count(name) > 1]
    if repeated:
        raise CorruptDataError(f"{source}: column {repeated[0]} is there {names.count(repeated[0])} times")
    missing = [name for name in PLANES if name not in names]
    if missing:
        raise CorruptDataError(f"{source}: no column {', '.join(missing)} among {_listed(names)}")
    unknown = [name for name in names if name not in PLANES and name not in PROVENANCE]
    if ours and unknown:
        raise CorruptDataError(f"{source}: unknown column {_listed(unknown)}")
    layout = Layout(ensemble, PLANES + tuple(name for name in PROVENANCE if name in names))
    for name in layout.columns:
        _check_type(source, layout, name, schema.field(name).type, ours=ours)
    return layout


def _check_type(source: str, layout: Layout, name: str, found: Any, *, ours: bool) -> None:  # noqa: ANN401
    expected = layout.type(name)
    if found == expected:
        return
    kinds = pa.types
    variable = kinds.is_binary(found) or kinds.is_large_binary(found) or kinds.is_binary_view(found)
    if name in PLANES and variable and not ours:
        return
    raise CorruptDataError(
        f"{source}: column {name}: expected {expected} for {layout.n_qubits} qubits, got {found}"
    )


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:10])}{' ...' if len(names) > 10 else ''}" or "none"
