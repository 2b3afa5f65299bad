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
from numpy.typing import NDArray

from efl_core import _native
from efl_core.errors import CorruptDataError, EflError, InvalidInputError, NewerFormatError
from efl_core.snapshots import Snapshots
from efl_core.storage.backend import Schema, pa

__all__ = ["FORMAT", "MAX_QUBITS", "PROVENANCE", "SETTING", "Layout", "read_ensemble", "read_layout"]

FORMAT = 2
"""Newest format that is read: 1 for letters, which older versions read too, 2 for lists of settings."""
MAX_QUBITS = 2**20
SETTING = "setting"
PROVENANCE: dict[str, type[np.unsignedinteger[Any]]] = {
    "version": np.uint32,
    "replica": np.uint64,
    "sequence": np.uint64,
}

_SETTINGS_BUDGET = 1 << 30
"""Bytes that settings may take in memory: a few gates on very many qubits are few bytes at rest."""
_GATES_BUDGET = 1 << 28
"""Gates of settings times the words of 64 qubits that each moves: some seconds."""

_SCHEMA, _N_QUBITS, _ENSEMBLE = b"efl.schema", b"efl.n_qubits", b"efl.ensemble"
_ALLOCATED = b"efl.allocated"


@dataclass(frozen=True)
class Layout:
    """Ensemble (and with it the width) and columns of a table of snapshots."""

    ensemble: _native.Ensemble
    columns: tuple[str, ...]
    allocated: bool = False
    """Whether how often each setting of a list was measured was fixed beforehand."""

    @classmethod
    def of(cls, snaps: Snapshots) -> "Layout":
        """Return the layout that snapshots are stored in."""
        if snaps.n_qubits > MAX_QUBITS:
            raise InvalidInputError.of("snaps", f"up to {MAX_QUBITS} qubits to store", snaps.n_qubits)
        if snaps.ensemble.kind == "global_clifford":
            raise InvalidInputError.of(
                "snaps",
                "snapshots in letters or lists to store (pickle those of all bases, or keep to_arrays())",
                "a global_clifford ensemble",
            )
        none = snaps[:0]  # asking all of them for a column would copy it
        known = tuple(name for name in PROVENANCE if getattr(none, name) is not None)
        return cls(snaps.ensemble, _measured(snaps.ensemble) + known, snaps.allocated)

    @property
    def format(self) -> int:
        """The format that this is written in."""
        return _format(self.ensemble)

    @property
    def n_blocks(self) -> int:
        """Number of lists that settings are drawn from, 0 for letters."""
        return _n_blocks(self.ensemble)

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
        if name in PROVENANCE:
            return np.dtype(PROVENANCE[name]).itemsize
        return 4 * self.n_blocks if name == SETTING else 8 * self.words

    def shape(self, name: str) -> tuple[int, type[np.unsignedinteger[Any]]]:
        """Numbers per row of a column that is not of provenance, and their type."""
        return (self.n_blocks, np.uint32) if name == SETTING else (self.words, np.uint64)

    def metadata(self) -> dict[bytes, bytes]:
        """Return the schema metadata."""
        said = {
            _SCHEMA: str(self.format).encode(),
            _N_QUBITS: str(self.n_qubits).encode(),
            _ENSEMBLE: _ensemble_text(self.ensemble).encode(),
        }
        return said | {_ALLOCATED: b"true"} if self.allocated else said

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
        said: list[Any] = [self.format, self.n_qubits, _ensemble_text(self.ensemble), self.columns]
        if self.allocated:  # nothing for others, whose checksums are older
            said.append("allocated")
        return zlib.crc32(json.dumps(said).encode())


def _format(ensemble: _native.Ensemble) -> int:
    return 2 if _n_blocks(ensemble) else 1


def _n_blocks(ensemble: _native.Ensemble) -> int:
    if ensemble.kind in ("uniform", "biased"):
        return 0
    return 1 if ensemble.kind == "settings" else len(ensemble.block_list)


def _measured(ensemble: _native.Ensemble) -> tuple[str, ...]:
    return (SETTING, "outcome") if _n_blocks(ensemble) else ("x", "z", "outcome")


def _ensemble_text(ensemble: _native.Ensemble) -> str:
    said: dict[str, Any] = {"kind": ensemble.kind}
    if ensemble.kind == "biased":
        said["probabilities"] = ensemble.probabilities.tolist()  # repr of a float gives the same float back
    elif ensemble.kind == "settings":
        said |= _list_said(ensemble.setting_list, ensemble.probabilities)
    elif ensemble.kind == "blocks":
        lists: dict[int, int] = {}  # a list that blocks share is one object, and written once
        blocks = ensemble.block_list
        said["lists"] = []
        for _, settings, probabilities in blocks:
            if id(settings) not in lists:
                lists[id(settings)] = len(lists)
                said["lists"].append(_list_said(settings, probabilities))
        said["blocks"] = [
            {"qubits": list(qubits), "list": lists[id(settings)]} for qubits, settings, _ in blocks
        ]
    return json.dumps(said)


def _list_said(settings: list[_native.Setting], probabilities: NDArray[np.float64]) -> dict[str, Any]:
    """Say a product setting by its letters, any other by its gates."""

    def one(setting: _native.Setting) -> str | list[list[Any]]:
        if setting.is_product:
            return "".join(word.strip("I") for _, word in setting.measured)
        return [list(gate) for gate in setting.gates]

    return {"settings": [one(setting) for setting in settings], "probabilities": probabilities.tolist()}


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
        found = _parse_ensemble(metadata[_ENSEMBLE], n_qubits)
    except (EflError, ValueError, RecursionError) as error:
        raise CorruptDataError(
            f"{source}: efl.ensemble: expected the JSON of an ensemble of {n_qubits} qubits, "
            f"got {_short(metadata[_ENSEMBLE])} ({error})"
        ) from error
    if _natural(metadata[_SCHEMA]) != _format(found):
        raise CorruptDataError(
            f"{source}: efl.schema: expected {_format(found)} for a {found.kind} ensemble, "
            f"got {_short(metadata[_SCHEMA])}"
        )
    return found


def _check_format(source: str, text: bytes) -> None:
    found = _natural(text)
    if found is not None and found > FORMAT:
        raise NewerFormatError(
            f"{source}: has snapshot format {found}, but this version of efl_core reads up to {FORMAT}: "
            "upgrade efl-core"
        )
    if not found:
        raise CorruptDataError(f"{source}: efl.schema: expected 1 to {FORMAT}, got {_short(text)}")


def _natural(text: bytes) -> int | None:
    return int(text) if re.fullmatch(rb"0|[1-9][0-9]{0,8}", text) else None


def _short(text: bytes) -> str:
    return f"{text[:60]!r}{'...' if len(text) > 60 else ''}"


def _parse_ensemble(text: bytes, n_qubits: int) -> _native.Ensemble:
    said = json.loads(text)
    if said == {"kind": "uniform"}:
        return _native.Ensemble.uniform(n_qubits)
    keys = {
        "biased": {"kind", "probabilities"},
        "settings": {"kind", "settings", "probabilities"},
        "blocks": {"kind", "lists", "blocks"},
    }
    kind = said.get("kind") if isinstance(said, dict) else None
    if not isinstance(kind, str) or said.keys() != keys.get(kind):
        raise ValueError('the kinds are "uniform", "biased", "settings" and "blocks", each with its own keys')
    if kind == "settings":
        return _native.Ensemble.settings(*_parse_list(said, n_qubits, _Budget()))
    if kind == "blocks":
        return _parse_blocks(said, n_qubits)
    rows = said["probabilities"]
    if not isinstance(rows, list) or len(rows) != n_qubits:
        raise ValueError(f"probabilities: expected {n_qubits} rows")
    if not all(
        isinstance(row, list) and len(row) == 3 and {type(p) for p in row} <= {float, int} for row in rows
    ):
        raise ValueError("probabilities: expected rows of three numbers")
    return _native.Ensemble.biased(rows)


class _Budget:
    """What settings may still take."""

    def __init__(self) -> None:
        self._bytes, self._gates = _SETTINGS_BUDGET, _GATES_BUDGET

    def spend(self, n_qubits: int, gates: int) -> None:
        words = -(-n_qubits // 64)
        self._bytes -= 512 + 48 * n_qubits * words
        self._gates -= gates * words
        if self._bytes < 0:
            raise ValueError(f"settings: expected up to {_SETTINGS_BUDGET} bytes of them in memory")
        if self._gates < 0:
            raise ValueError(f"settings: expected up to {_GATES_BUDGET} gates times words of 64 qubits")


def _parse_blocks(said: dict[str, Any], n_qubits: int) -> _native.Ensemble:
    if not isinstance(said["lists"], list) or not isinstance(said["blocks"], list):
        raise ValueError("lists and blocks: expected lists")
    budget = _Budget()
    blocks: list[Any] = []
    lists: dict[int, Any] = {}
    for block in said["blocks"]:
        if not isinstance(block, dict) or block.keys() != {"qubits", "list"}:
            raise ValueError("blocks: expected qubits and a list each")
        qubits, place = block["qubits"], block["list"]
        if type(place) is not int or not 0 <= place < len(said["lists"]):
            raise ValueError(f"blocks: expected a list below {len(said['lists'])}")
        if not isinstance(qubits, list) or not all(type(q) is int for q in qubits) or len(qubits) > 4:
            raise ValueError("qubits: expected up to four integers")
        if place not in lists:  # blocks that share a list are given the same objects
            found = said["lists"][place]
            if not isinstance(found, dict) or found.keys() != {"settings", "probabilities"}:
                raise ValueError("lists: expected settings and probabilities each")
            lists[place] = _parse_list(found, len(qubits), budget)
        blocks.append((qubits, *lists[place]))
    return _native.Ensemble.blocks(n_qubits, blocks)


def _parse_list(
    said: dict[str, Any], n_qubits: int, budget: "_Budget"
) -> tuple[list[_native.Setting], list[float]]:
    settings, probabilities = said["settings"], said["probabilities"]
    if not isinstance(settings, list) or not isinstance(probabilities, list):
        raise ValueError("settings and probabilities: expected lists")
    if not {type(p) for p in probabilities} <= {float, int}:
        raise ValueError("probabilities: expected numbers")
    return [_parse_setting(setting, n_qubits, budget) for setting in settings], probabilities


def _parse_setting(said: object, n_qubits: int, budget: "_Budget") -> _native.Setting:
    if isinstance(said, str):
        if len(said) != n_qubits:
            raise ValueError(f"settings: expected letters for {n_qubits} qubits")
        return _native.Setting(said)
    if not isinstance(said, list) or not all(isinstance(gate, list) for gate in said):
        raise ValueError("settings: expected letters, or a list of gates")
    budget.spend(n_qubits, len(said))
    return _native.Setting.from_gates(n_qubits, [tuple(gate) for gate in said])


def read_layout(source: str, schema: Schema, ensemble: _native.Ensemble, *, ours: bool) -> Layout:
    """Check the columns of a schema.

    ``ours`` is for files, which only we write: other columns are refused, and the types are exactly ours.
    Without it, other columns are left alone, and bit planes may be of any binary type, since polars and
    others have no binary of fixed size; the width of each value is then checked with the values.
    """
    names = list(schema.names)
    planes = _measured(ensemble)
    repeated = [name for name in (*planes, *PROVENANCE) if names.count(name) > 1]
    if repeated:
        raise CorruptDataError(f"{source}: column {repeated[0]} is there {names.count(repeated[0])} times")
    missing = [name for name in planes if name not in names]
    if missing:
        raise CorruptDataError(f"{source}: no column {', '.join(missing)} among {_listed(names)}")
    unknown = [name for name in names if name not in planes and name not in PROVENANCE]
    if ours and unknown:
        raise CorruptDataError(f"{source}: unknown column {_listed(unknown)}")
    known = tuple(name for name in PROVENANCE if name in names)
    layout = Layout(ensemble, planes + known, _read_allocated(source, schema.metadata, ensemble))
    for name in layout.columns:
        _check_type(source, layout, name, schema.field(name).type, ours=ours)
    return layout


def _read_allocated(source: str, metadata: Mapping[bytes, bytes] | None, ensemble: _native.Ensemble) -> bool:
    found = (metadata or {}).get(_ALLOCATED)
    if found is not None and (found != b"true" or ensemble.kind != "settings"):
        raise CorruptDataError(
            f"{source}: efl.allocated: expected nothing, or 'true' for a list of settings, got "
            f"{_short(found)} for a {ensemble.kind} ensemble"
        )
    return found is not None


def _check_type(source: str, layout: Layout, name: str, found: Any, *, ours: bool) -> None:  # noqa: ANN401
    expected = layout.type(name)
    if found == expected:
        return
    kinds = pa.types
    variable = kinds.is_binary(found) or kinds.is_large_binary(found) or kinds.is_binary_view(found)
    if name not in PROVENANCE and variable and not ours:
        return
    raise CorruptDataError(
        f"{source}: column {name}: expected {expected} for {layout.n_qubits} qubits, got {found}"
    )


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:10])}{' ...' if len(names) > 10 else ''}" or "none"
