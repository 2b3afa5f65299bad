"""The compiled module; import the names from efl_core instead."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, SupportsFloat, SupportsIndex, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "FLEET_OUTCOMES",
    "FLEET_REFUSALS",
    "METHODS",
    "TALLY_FORMAT",
    "TIE",
    "VERSION",
    "Calibration",
    "Circuit",
    "Ensemble",
    "Experiment",
    "FleetCommits",
    "FleetMachine",
    "FleetReader",
    "FleetReplay",
    "FleetTally",
    "FleetVersion",
    "GradientObservables",
    "GradientTemplate",
    "Memory",
    "Observables",
    "Outcomes",
    "PauliSum",
    "PauliWord",
    "Plan",
    "Setting",
    "Snapshots",
    "StabiliserState",
    "Tally",
    "agreements",
    "available_cpu_levels",
    "calibration_variances",
    "chained",
    "cpu_level",
    "design",
    "draw_settings",
    "estimate",
    "estimate_gradient",
    "estimate_tally",
    "evaluate",
    "fidelity",
    "fidelity_along",
    "fidelity_gradient",
    "fleet_frame",
    "fleet_gradient",
    "gradient_observables",
    "low_rank",
    "measured",
    "memory_budget",
    "mitigated_observables",
    "num_threads",
    "pattern_counts",
    "read_combined",
    "read_sum",
    "read_sums",
    "read_together",
    "read_word",
    "rebase",
    "sample",
    "sample_stabiliser",
    "set_cpu_level",
    "set_num_threads",
    "simulate",
    "simulated",
    "tally",
    "tangents",
]

VERSION: Final[str]
TALLY_FORMAT: Final[int]
TIE: Final[float]
METHODS: Final[tuple[str, ...]]

@final
class PauliWord:
    def __new__(
        cls, letters: str | Mapping[int, str] | PauliWord, *, n_qubits: SupportsIndex | None = None
    ) -> PauliWord: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def weight(self) -> int: ...
    @property
    def label(self) -> str: ...
    @property
    def support(self) -> dict[int, str]: ...
    def commutes_with(self, other: str | Mapping[int, str] | PauliWord) -> bool: ...
    def qubit_wise_commutes(self, other: str | Mapping[int, str] | PauliWord) -> bool: ...
    def multiply(self, other: str | Mapping[int, str] | PauliWord) -> tuple[complex, PauliWord]: ...
    def restrict(self, qubits: Sequence[int]) -> PauliWord: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __lt__(self, other: PauliWord, /) -> bool: ...
    def __le__(self, other: PauliWord, /) -> bool: ...
    def __gt__(self, other: PauliWord, /) -> bool: ...
    def __ge__(self, other: PauliWord, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[str]: ...

_WordLike = str | Mapping[int, str] | PauliWord
_SumLike = (
    _WordLike
    | Mapping[str, float]
    | Mapping[PauliWord, float]
    | Iterable[tuple[_WordLike, SupportsFloat]]
    | "PauliSum"
)

@final
class PauliSum:
    def __new__(cls, terms: _SumLike, *, n_qubits: SupportsIndex | None = None) -> PauliSum: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def words(self) -> list[PauliWord]: ...
    @property
    def coefficients(self) -> NDArray[np.float64]: ...
    def terms(self) -> list[tuple[PauliWord, float]]: ...
    def coefficient(self, word: _WordLike) -> float: ...
    @property
    def l1_norm(self) -> float: ...
    @property
    def l2_norm(self) -> float: ...
    def __add__(self, other: _SumLike, /) -> PauliSum: ...
    def __radd__(self, other: _SumLike, /) -> PauliSum: ...
    def __sub__(self, other: _SumLike, /) -> PauliSum: ...
    def __rsub__(self, other: _SumLike, /) -> PauliSum: ...
    def __mul__(self, factor: SupportsFloat, /) -> PauliSum: ...
    def __rmul__(self, factor: SupportsFloat, /) -> PauliSum: ...
    def __neg__(self) -> PauliSum: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[list[tuple[PauliWord, float]]], dict[str, int]]: ...

@final
class Setting:
    def __new__(cls, letters: str | PauliWord) -> Setting: ...
    @staticmethod
    def from_gates(n_qubits: SupportsIndex, gates: Iterable[Sequence[str | int]]) -> Setting: ...
    @staticmethod
    def of_family(
        words: Iterable[_WordLike],
        connectivity: str = "all",
        *,
        effort: SupportsIndex | None = None,
        n_qubits: SupportsIndex | None = None,
    ) -> Setting: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def is_product(self) -> bool: ...
    @property
    def gates(self) -> list[tuple[Any, ...]]: ...
    @property
    def depth(self) -> int: ...
    @property
    def two_qubit_gates(self) -> int: ...
    @property
    def measured(self) -> list[tuple[int, str]]: ...
    def reveal(self, word: _WordLike) -> tuple[list[int], int] | None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class StabiliserState:
    def __new__(cls, n_qubits: SupportsIndex, gates: Iterable[Sequence[str | int]]) -> StabiliserState: ...
    @staticmethod
    def from_words(words: Iterable[tuple[int, _WordLike]]) -> StabiliserState: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def words(self) -> list[tuple[int, str]]: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Ensemble:
    @staticmethod
    def uniform(n_qubits: SupportsIndex) -> Ensemble: ...
    @staticmethod
    def biased(probabilities: ArrayLike) -> Ensemble: ...
    @staticmethod
    def settings(
        settings: Iterable[Setting | _WordLike], probabilities: ArrayLike | None = None
    ) -> Ensemble: ...
    @staticmethod
    def blocks(
        n_qubits: SupportsIndex,
        blocks: Iterable[
            tuple[Iterable[SupportsIndex], Iterable[Setting | _WordLike]]
            | tuple[Iterable[SupportsIndex], Iterable[Setting | _WordLike], ArrayLike]
        ],
    ) -> Ensemble: ...
    @staticmethod
    def random_blocks(n_qubits: SupportsIndex, qubits_per_block: SupportsIndex) -> Ensemble: ...
    @staticmethod
    def clifford(n_qubits: SupportsIndex) -> Ensemble: ...
    @staticmethod
    def global_clifford(n_qubits: SupportsIndex, twirled: bool = False) -> Ensemble: ...
    def draw_setting(self, seed: SupportsIndex, index: SupportsIndex) -> Setting: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def twirled(self) -> bool: ...
    @property
    def probabilities(self) -> NDArray[np.float64]: ...
    @property
    def setting_list(self) -> list[Setting]: ...
    @property
    def block_list(self) -> list[tuple[tuple[int, ...], list[Setting], NDArray[np.float64]]]: ...
    def reveal_probability(self, word: _WordLike) -> float: ...
    def pair_probability(self, a: _WordLike, b: _WordLike) -> float: ...
    def predicted_variance(
        self, observables: object, state: ArrayLike | None = None
    ) -> NDArray[np.float64] | float: ...
    def allocate(self, shots: SupportsIndex, seed: SupportsIndex) -> NDArray[np.uint64]: ...
    def __eq__(self, other: object, /) -> bool: ...

def read_word(name: str, value: object, n_qubits: int) -> PauliWord: ...
def read_sum(name: str, value: object, n_qubits: int | None) -> PauliSum: ...
def read_sums(name: str, value: object, n_qubits: int) -> tuple[list[PauliSum], bool]: ...

_Angle = float | tuple[int, float, float] | tuple[int]
_Limits = tuple[int | None, float, int | None]

@final
class Circuit:
    def __new__(cls, n_qubits: int, n_parameters: int) -> Circuit: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_gates(self) -> int: ...
    @property
    def trainable_block(self) -> int: ...
    def copy(self) -> Circuit: ...
    def input(self) -> None: ...
    def clifford(self, name: str, wires: Sequence[int]) -> None: ...
    def rotation(self, word: _WordLike, turn: _Angle) -> None: ...
    def evolution(self, generator: _SumLike, turn: _Angle) -> None: ...
    def unitary(self, matrix: NDArray[np.complex128], wires: Sequence[int]) -> None: ...
    def channel(self, kraus: Sequence[NDArray[np.complex128]], wires: Sequence[int]) -> None: ...
    def noise(self, kraus: Sequence[NDArray[np.complex128]], wires: Sequence[int]) -> None: ...

def evaluate(
    circuit: Circuit,
    theta: NDArray[np.float64],
    observable: PauliSum,
    bloch: NDArray[np.float64],
    limits: _Limits,
    gradient: bool,
) -> tuple[float, NDArray[np.float64], int, tuple[int, float]]: ...

@final
class GradientObservables:
    @property
    def n_qubits(self) -> int: ...
    @property
    def n_observables(self) -> int: ...
    @property
    def n_parameters(self) -> int: ...
    @property
    def n_words(self) -> int: ...
    def row(self, index: int) -> PauliSum: ...
    def row_lengths(self) -> NDArray[np.uint64]: ...
    def dropped(self) -> tuple[int, float]: ...
    def dropped_rows(self) -> NDArray[np.float64]: ...
    def constants(self) -> NDArray[np.float64]: ...

@final
class GradientTemplate:
    def __new__(
        cls, circuit: Circuit, observables: Sequence[PauliSum], max_terms: int | None
    ) -> GradientTemplate: ...
    def at(self, theta: NDArray[np.float64]) -> GradientObservables: ...

def gradient_observables(
    circuit: Circuit, theta: NDArray[np.float64], observables: Sequence[PauliSum], limits: _Limits
) -> GradientObservables: ...
def mitigated_observables(
    circuit: Circuit, theta: NDArray[np.float64], observables: Sequence[PauliSum], max_terms: int | None
) -> GradientObservables: ...
def rebase(
    observables: GradientObservables,
    circuit: Circuit,
    theta_new: NDArray[np.float64],
    theta_old: NDArray[np.float64],
    start: int,
    limits: _Limits,
) -> GradientObservables: ...
def simulate(
    circuit: Circuit, theta: NDArray[np.float64], bloch: NDArray[np.float64]
) -> NDArray[np.complex128]: ...

@final
class Snapshots:
    @staticmethod
    def from_arrays(bits: NDArray[np.uint8], bases: NDArray[np.uint8], ensemble: Ensemble) -> Snapshots: ...
    @staticmethod
    def from_rows(
        x: NDArray[np.uint64],
        z: NDArray[np.uint64],
        outcome: NDArray[np.uint64],
        settings: NDArray[np.uint32],
        ensemble: Ensemble,
        version: NDArray[np.uint32] | None = None,
        replica: NDArray[np.uint64] | None = None,
        sequence: NDArray[np.uint64] | None = None,
        allocated: bool = False,
    ) -> Snapshots: ...
    @staticmethod
    def from_settings(
        bits: NDArray[np.uint8], setting_index: NDArray[np.uint32], ensemble: Ensemble, allocated: bool
    ) -> Snapshots: ...
    @staticmethod
    def from_addresses(
        bits: NDArray[np.uint8], addresses: NDArray[np.uint64], ensemble: Ensemble
    ) -> Snapshots: ...
    @property
    def addresses(self) -> NDArray[np.uint64] | None: ...
    @property
    def allocated(self) -> bool: ...
    def with_allocated(self, allocated: bool) -> Snapshots: ...
    def rows(
        self,
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint32]]: ...
    @property
    def settings(self) -> NDArray[np.uint32]: ...
    def to_arrays(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
    def slice(self, start: int, end: int) -> Snapshots: ...
    def take(self, order: NDArray[np.uint64]) -> Snapshots: ...
    @staticmethod
    def concat(parts: Sequence[Snapshots]) -> Snapshots: ...
    def with_provenance(
        self,
        version: NDArray[np.uint32] | None = None,
        replica: NDArray[np.uint64] | None = None,
        sequence: NDArray[np.uint64] | None = None,
    ) -> Snapshots: ...
    def with_ensemble(self, ensemble: Ensemble) -> Snapshots: ...
    @property
    def version(self) -> NDArray[np.uint32] | None: ...
    @property
    def replica(self) -> NDArray[np.uint64] | None: ...
    @property
    def sequence(self) -> NDArray[np.uint64] | None: ...
    @property
    def ensemble(self) -> Ensemble: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Observables:
    @staticmethod
    def read(observables: object, n_qubits: int | None) -> tuple[Observables, bool]: ...
    def constants(self) -> NDArray[np.float64]: ...
    def __len__(self) -> int: ...

def design(
    observables: Observables | GradientObservables,
    kinds: Sequence[str],
    wanted: str,
    weights: NDArray[np.float64] | None,
    value_weight: float,
    connectivity: str,
    qubits_per_block: int,
    effort: int | None,
    shots: int | None,
) -> Ensemble: ...

_Moments = tuple[NDArray[np.float64], NDArray[np.float64]]

@final
class Experiment:
    @property
    def n_qubits(self) -> int: ...
    @property
    def setting(self) -> Setting: ...
    @property
    def served(self) -> bool: ...
    @property
    def rows(self) -> list[int]: ...
    def reading(self, index: int) -> PauliSum: ...
    @property
    def cost(self) -> tuple[int, int, int]: ...
    def gates(self, theta: NDArray[np.float64]) -> list[tuple[Any, ...]]: ...
    def calibrated(self, calibration: Calibration | None, setting: Circuit | None) -> Experiment: ...
    def read(self, bits: NDArray[np.uint8]) -> _Moments: ...
    def exact(self, theta: NDArray[np.float64], bloch: NDArray[np.float64]) -> _Moments: ...

_Row = tuple[str, float, float, int | None, int, tuple[int, int, int], bool, bool, str | None, bool]

def measured(
    state: NDArray[np.complex128], runs: Sequence[tuple[Setting, int, int]]
) -> list[NDArray[np.uint8]]: ...
def simulated(
    runs: Sequence[tuple[Experiment, int, int]], theta: NDArray[np.float64], bloch: NDArray[np.float64]
) -> list[NDArray[np.uint8]]: ...

@final
class Outcomes:
    @staticmethod
    def count(runs: Sequence[tuple[Experiment, NDArray[np.uint8]]]) -> list[Outcomes]: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def shots(self) -> int: ...

# Key, qubits, last step, sum of squared weights; outcomes, their weights, and those of the first half.
_Seen = tuple[
    Sequence[int],
    int,
    int,
    float,
    tuple[NDArray[np.uint64], NDArray[np.float64], NDArray[np.float64]] | list[NDArray[Any]],
]

@final
class Memory:
    def __new__(cls, keep: float) -> Memory: ...
    @staticmethod
    def from_parts(keep: float, steps: int, seen: Sequence[_Seen]) -> Memory: ...
    def parts(self) -> list[_Seen]: ...
    @property
    def keep(self) -> float: ...
    @property
    def steps(self) -> int: ...
    def __len__(self) -> int: ...
    def observed(self, outcomes: Sequence[Outcomes]) -> Memory: ...

def read_together(
    outcomes: Sequence[Outcomes], n_rows: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def read_combined(outcomes: Sequence[Outcomes], weights: NDArray[np.float64]) -> NDArray[np.float64]: ...
def calibration_variances(
    outcomes: Sequence[Outcomes], calibration: Calibration, weights: NDArray[np.float64]
) -> NDArray[np.float64]: ...
def chained(
    runs: Sequence[tuple[Experiment, float]],
    slopes: NDArray[np.float64],
    n_observables: int,
    prepared: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]: ...

@final
class Plan:
    def __new__(
        cls,
        *,
        circuit: Circuit,
        theta: NDArray[np.float64],
        observables: Sequence[PauliSum],
        bloch: NDArray[np.float64] | None,
        connectivity: str,
        goal: str = "mean",
        weights: NDArray[np.float64] | None = None,
        value_weight: float = 0.0,
        valued: Sequence[bool] | None = None,
        effort: int | None = None,
        max_terms: int | None = None,
        max_settings: int | None = None,
        mitigated: bool = False,
    ) -> Plan: ...
    def at(
        self,
        theta: NDArray[np.float64],
        names: list[str] | None,
        weights: NDArray[np.float64] | None = None,
        slopes: NDArray[np.float64] | None = None,
    ) -> Plan: ...
    def held_at(self, theta: NDArray[np.float64], names: list[str]) -> Plan: ...
    def at_state(
        self,
        *,
        vector: NDArray[np.complex128] | None = None,
        memory: Memory | None = None,
        weights: NDArray[np.float64] | None = None,
        slopes: NDArray[np.float64] | None = None,
    ) -> Plan: ...
    def moving(self) -> list[bool] | None: ...
    def by_arguments(self, name: str) -> NDArray[np.float64]: ...
    def rows(self) -> list[_Row]: ...
    @property
    def best(self) -> str: ...
    @property
    def observables(self) -> GradientObservables: ...
    def variances(self, name: str) -> NDArray[np.float64]: ...
    def gain(self, name: str) -> float | None: ...
    def ensemble(self, name: str) -> Ensemble: ...
    def experiments(self, name: str) -> list[tuple[Experiment, float]]: ...
    def allocate(
        self, name: str, shots: int, seed: int, settings: int | None = None, step: int = 0
    ) -> list[tuple[Experiment, int]]: ...
    def exact_step(self, name: str, shots: int, settings: int) -> NDArray[np.float64]: ...
    def exact(self, name: str) -> NDArray[np.float64]: ...
    def simulate(
        self, name: str, shots: int, seed: int, settings: int | None = None, step: int = 0
    ) -> _Moments: ...

@final
class Calibration:
    def __new__(cls, bits: NDArray[np.uint8], seen: NDArray[np.uint8] | None = None) -> Calibration: ...
    @property
    def n_qubits(self) -> int: ...
    @property
    def shots(self) -> int: ...
    def contrast(self, qubits: Sequence[int]) -> tuple[float, float, int]: ...
    def divisors(self, masks: Sequence[Sequence[int]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what parities are divided by, (masks,), and their relative errors in a few directions, (masks, directions)."""
    def patterns(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint64]]: ...

@final
class Tally:
    @property
    def words(self) -> list[PauliWord]: ...
    @property
    def ensemble(self) -> Ensemble: ...
    @property
    def shots(self) -> int: ...
    @property
    def allocated(self) -> bool: ...
    @property
    def bucket_shots(self) -> NDArray[np.uint64]: ...
    @property
    def revealed(self) -> NDArray[np.uint64]: ...
    @property
    def minus(self) -> NDArray[np.uint64]: ...
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> Tally: ...
    def __add__(self, other: Tally, /) -> Tally: ...
    def __radd__(self, other: int, /) -> Tally: ...
    def __len__(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...

_Columns = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint64], NDArray[np.float64], int]

def estimate(
    snaps: Snapshots, observables: Observables, combine: str, buckets: int, calibration: Calibration | None
) -> _Columns: ...
def estimate_gradient(
    snaps: Snapshots,
    observables: GradientObservables,
    combine: str,
    buckets: int,
    calibration: Calibration | None,
) -> _Columns: ...
def estimate_tally(
    tally: Tally, observables: Observables, combine: str, calibration: Calibration | None
) -> _Columns: ...
def fidelity(
    snaps: Snapshots, target: StabiliserState | ArrayLike, combine: str, amount: float
) -> _Columns: ...
def fidelity_gradient(
    snaps: Snapshots, circuit: Circuit, theta: NDArray[np.float64], target: NDArray[np.complex128]
) -> _Columns: ...
def low_rank(
    snaps: Snapshots,
    vectors: NDArray[np.complex128],
    weights: Sequence[float],
    combine: str,
    amount: float,
) -> _Columns: ...
def tangents(
    circuit: Circuit, theta: NDArray[np.float64], target: NDArray[np.complex128]
) -> NDArray[np.complex128]: ...
def fidelity_along(
    snaps: Snapshots, target: NDArray[np.complex128], tangents: NDArray[np.complex128]
) -> _Columns: ...
def agreements(snaps: Snapshots) -> NDArray[np.uint64]: ...
def pattern_counts(snaps: Snapshots, qubits: Sequence[int]) -> NDArray[np.uint64]: ...
def tally(snaps: Snapshots, words: Sequence[Any], buckets: int) -> Tally: ...
def sample(
    state: NDArray[np.complex128],
    ensemble: Ensemble,
    shots: int,
    counts: NDArray[np.uint64] | None,
    seed: int,
) -> Snapshots: ...
def sample_stabiliser(state: StabiliserState, ensemble: Ensemble, shots: int, seed: int) -> Snapshots: ...
def draw_settings(ensemble: Ensemble, shots: int, seed: int) -> NDArray[np.uint32]: ...
def num_threads() -> int: ...
def set_num_threads(threads: SupportsIndex) -> None: ...
def cpu_level() -> str: ...
def available_cpu_levels() -> list[str]: ...
def memory_budget() -> int: ...
def set_cpu_level(level: str) -> None: ...

# ---- the fleet --------------------------------------------------------------------------------------------
# Bits are 0 or 1 (uint8 or bool, qubit by qubit) or packed rows (uint64, qubit q in bit q % 64 of limb q / 64).
# T is the number of queries that teach, Q a number of tickets, R of outputs, M of derivatives. Row o * K + k of a
# reading is the derivative of output o by gate parameter k of K, as in `Experiment.rows`.

FLEET_REFUSALS: Final[tuple[str, ...]]
"""Why a packet is refused: malformed, other_fleet, unknown_replica, superseded, unknown_version, too_old, duplicate,
gap, over_quota, over_capacity, out_of_range."""

FLEET_OUTCOMES: Final[tuple[str, ...]]
"""What became of the weights of a ticket, by code: 0 taught, 1 unknown_or_used, 2 not_finite, 3 out_of_range."""

_Entry = Experiment | tuple[Setting, Sequence[tuple[int, PauliSum]], Sequence[tuple[int, PauliSum]]]
_Answer = tuple[Setting, int, Sequence[tuple[int, PauliSum]]]
_Pooled = tuple[NDArray[np.float64], NDArray[np.float64], int, float]

@final
class FleetVersion:
    """What a replica has to know of a version: how shots are split, and which entry each teach setting is."""

    def __new__(
        cls,
        *,
        fleet: SupportsIndex,
        number: SupportsIndex,
        seed: SupportsIndex,
        n_qubits: SupportsIndex,
        answer_shots: SupportsIndex,
        teach_shots: SupportsIndex,
        settings: SupportsIndex,
        shares: ArrayLike,
        teach: float | None = None,
        content: bytes | None = None,
    ) -> FleetVersion:
        """Shots are those of a query that teaches; `teach_shots` is a multiple of `settings`, the teach settings of it.

        `answer_shots` may be 0: then teach settings are read for the answers too (gentle). `shares` (entries,), positive,
        need not add up to 1. `teach` is the probability that a query teaches, 1 by default. `content` is whatever else makes the
        version (parameters, circuits): it goes into the hash.
        """
    @property
    def fleet(self) -> int: ...
    @property
    def number(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def hash(self) -> int:
        """32 bits of all of it, which every packet repeats."""
    @property
    def n_qubits(self) -> int: ...
    @property
    def answer_shots(self) -> int: ...
    @property
    def teach_shots(self) -> int: ...
    @property
    def settings(self) -> int: ...
    @property
    def shares(self) -> NDArray[np.float64]:
        """The quantised shares, which add up to 1 and which readings are divided by."""
    @property
    def teach(self) -> float:
        """The quantised probability that a query teaches."""
    @property
    def stride(self) -> int:
        """Bytes of a query that teaches."""
    @property
    def max_queries(self) -> int:
        """Most queries of one packet, so that it has at most 1 MiB."""
    def entries(
        self, replica: SupportsIndex, incarnation: SupportsIndex, first: SupportsIndex, queries: SupportsIndex
    ) -> NDArray[np.int64]:
        """Return the entries that queries first, first + 1, ... run: shape (queries, settings), -1 where a query teaches nothing."""
    def chosen(
        self,
        canary: float,
        replica: SupportsIndex,
        incarnation: SupportsIndex,
        first: SupportsIndex,
        queries: SupportsIndex,
    ) -> NDArray[np.bool_]:
        """Return which of queries first, first + 1, ... this version answers, as a candidate for a part of them: whole blocks of 8."""
    def encode(
        self,
        *,
        replica: SupportsIndex,
        incarnation: SupportsIndex,
        first: SupportsIndex,
        queries: SupportsIndex,
        answers: NDArray[Any],
        teaches: NDArray[Any],
        dropped: SupportsIndex | None = None,
    ) -> bytes:
        """Return the packet of queries first ... first + queries - 1, of which T teach.

        `answers` (T, answer_shots, n_qubits) and `teaches` (T, teach_shots, n_qubits), the shots of one teach setting
        after those of another. `dropped` queries directly before `first` are not sent, and never will be (0).
        """
    def __eq__(self, other: object, /) -> bool: ...

@final
class FleetReader:
    """What the bits of a version mean, compiled."""

    def __new__(
        cls,
        version: FleetVersion,
        *,
        n_outputs: SupportsIndex,
        n_parameters: SupportsIndex,
        entries: Sequence[_Entry],
        answers: Sequence[_Answer] | None = None,
        slopes: NDArray[np.float64] | None = None,
        weights: NDArray[np.float64] | None = None,
        calibration: Calibration | None = None,
    ) -> FleetReader:
        """`entries`, one per share: an experiment, or (setting, [(row, sum)], [(output, sum)]), the last for gentle entries.

        A gentle pair is two entries of equal shares, with readings of opposite signs. `answers`: (setting, shots,
        [(output, sum)]), whose shots add up to `answer_shots`. `n_parameters` is K; `slopes` (K, M) turns derivatives
        by gate parameters into those by arguments, else M = K. With constant `weights` (R,) queries need no ticket:
        they are counted as they are submitted. With the calibration that readings were divided by, M counts the
        derivatives and then, for each direction of the calibration, by how much they are wrong in it.
        """
    @property
    def version(self) -> FleetVersion: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def n_parameters(self) -> int:
        """M."""
    @property
    def nbytes(self) -> int: ...
    def values(self, packet: bytes) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return the answers (T, R), and of how many shots the reading of an output was positive (T, R)."""
    def shots(self, packet: bytes) -> NDArray[np.float64]:
        """Return the reading of every output in every shot, (T, shots, R), zero where a shot does not read an output.

        Shots are those of the answers, or of the teach settings where there are none.
        """
    def contributions(self, packet: bytes, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what each query says of the gradient, (T, M): its weights times its readings, divided by shares.

        `weights` is (T, R), or (T, settings, R) where every teach setting has its own.
        """
    def tally(
        self, packet: bytes, weights: NDArray[np.float64], losses: NDArray[np.float64] | None = None
    ) -> FleetTally:
        """Return the same, added up exactly, for a combiner that is trusted; `losses` is (T,)."""

@final
class FleetTally:
    """Exact sums over queries and of squares, in units of 2^-40 and 2^-80: they merge by addition, in any order."""

    @property
    def n_parameters(self) -> int: ...
    @property
    def n_outputs(self) -> int: ...
    @property
    def queries(self) -> int: ...
    @property
    def shots(self) -> int:
        """Teaching shots."""
    @property
    def losses(self) -> int:
        """Queries whose loss is known."""
    @property
    def gradient(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard error (M,); NaN where there are no queries, and an error of NaN with one."""
    @property
    def loss(self) -> tuple[float, float]:
        """Mean and standard error of the losses."""
    @property
    def values(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard error of the answers (R,)."""
    def to_bytes(self) -> bytes: ...
    @staticmethod
    def from_bytes(data: bytes) -> FleetTally: ...
    def __add__(self, other: FleetTally, /) -> FleetTally: ...
    def __radd__(self, other: int, /) -> FleetTally: ...
    def __eq__(self, other: object, /) -> bool: ...

def fleet_gradient(
    tallies: Sequence[FleetTally], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return the weighted mean over the queries of several tallies, its standard error, and their number; a weight per tally."""

@final
class FleetMachine:
    """The learner's state: who has joined, what waits for weights, what has been counted. It has no clock and no thread.

    A lock guards it, so that threads may share it; calls that take long release the GIL.
    """

    def __new__(
        cls,
        *,
        fleet: SupportsIndex,
        n_outputs: SupportsIndex,
        n_parameters: SupportsIndex,
        keep: SupportsIndex | None = None,
        pending: SupportsIndex | None = None,
        quota: SupportsIndex | None = None,
        buckets: SupportsIndex | None = None,
        replicas: SupportsIndex | None = None,
        record: bool = False,
    ) -> FleetMachine:
        """Take the sizes and the bounds; `n_parameters` is M.

        `keep` (64): versions that are read; `pending` (200,000): queries that wait for weights at most, of one replica
        `quota` (all of them); `buckets` (1): tallies of a version, among which replicas are spread; `replicas`
        (2^24): how many may join. With `record` all that happens is written down, see `frame`.
        """
    def rebound(self, *, keep: SupportsIndex, pending: SupportsIndex) -> None:
        """Take other bounds, and give up what they leave no room for."""
    def join(self, replica: SupportsIndex) -> int:
        """Return the incarnation of a replica that begins; what an earlier one sends from now on is refused as superseded."""
    def publish(self, reader: FleetReader, canary: float | None = None) -> None:
        """Serve a version, whose number is one more than the newest. The oldest is given up when `keep` are held.

        With `canary` it is a candidate, which answers that part of the queries until it is settled; `keep` is 2 at least.
        """
    def settle(self, is_good: bool) -> int | None:
        """Serve the candidate from now on, or give it up with its tallies and what waits for it; return its number, or None."""
    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Return why it was refused (see FLEET_REFUSALS) or None, the version served, and the sequence expected next.

        That sequence is the one of the replica that the packet names; 0 if it is not known.
        A refusal changes nothing but its counter. A duplicate was counted before: send the next one. A gap: send from
        the expected sequence on, or say what was dropped. too_old, out_of_range: drop it, and say so with the next one.
        """
    def expected(self, replica: SupportsIndex) -> tuple[int, int]:
        """Return the incarnation of a replica and the sequence expected next; zeros if it has not joined."""
    def values(
        self, replica: NDArray[np.uint64], incarnation: NDArray[np.uint32], sequence: NDArray[np.uint64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint32], NDArray[np.float64], NDArray[np.int64]]:
        """Return, of tickets that wait for weights: code (0, or 1 unknown_or_used), version, answers (Q, R), positive shots (Q, R)."""
    def shots(
        self, replica: NDArray[np.uint64], incarnation: NDArray[np.uint32], sequence: NDArray[np.uint64]
    ) -> NDArray[np.float64]:
        """Return the readings of every shot (Q, shots, R), see FleetReader.shots: of pending tickets of one shape, else an error."""
    def weights(
        self,
        replica: NDArray[np.uint64],
        incarnation: NDArray[np.uint32],
        sequence: NDArray[np.uint64],
        weights: NDArray[np.float64],
        losses: NDArray[np.float64] | None = None,
    ) -> NDArray[np.uint8]:
        """Count tickets with their weights, (Q, R) or (Q, settings, R): a code of FLEET_OUTCOMES for each.

        A ticket counts once; one whose weights are not finite, or whose contribution is out of range (2^20), goes on
        waiting. `losses` (Q,) are recorded with it; NaN where a loss is not known.
        """
    def tallies(self, first: SupportsIndex, last: SupportsIndex) -> list[tuple[int, int, FleetTally]]:
        """Return (version, bucket, tally) of the versions first ... last, both included, that have counted something."""
    def take(self, first: SupportsIndex, last: SupportsIndex) -> list[tuple[int, int, FleetTally]]:
        """Return the same, and begin anew: every contribution is handed out once."""
    def gradient(self, first: SupportsIndex, last: SupportsIndex, decay: float | None = None) -> _Pooled:
        """Return gradient, standard error, queries and mean age of the versions first ... last, pooled.

        A version has age last - version, its queries weight decay ** age (1 by default); the mean age is over queries so weighted.
        """
    def note(self, kind: SupportsIndex, body: bytes) -> None:
        """Write something down between what happens to the machine; kinds are 128 to 255."""
    @property
    def recorded(self) -> int:
        """The number of the next event that is written down; 0 without `record`."""
    def frame(self) -> bytes | None:
        """Return the events since the last frame, with their place and checksums; None if there are none.

        Frames that are handed to a `FleetReplay` in their order make the same machine.
        """
    def state(self) -> bytes:
        """Return the state behind the last frame, from which a `FleetReplay` goes on; an error if there are events outside of it."""
    def to_bytes(self) -> bytes:
        """Return all of the state; the same state, the same bytes."""
    @property
    def bounds(self) -> tuple[int, int, int, int, int]:
        """Fleet, outputs, parameters, versions that are read, and queries that may wait."""
    @property
    def served(self) -> int | None:
        """The number of the version that is served."""
    @property
    def newest(self) -> int | None:
        """The number of the version that came last; it may be a candidate, or have been given up."""
    @property
    def candidate(self) -> int | None:
        """The number of the candidate, if there is one."""
    @property
    def versions(self) -> list[int]:
        """The numbers of the versions that are read, ascending."""
    @property
    def counts(self) -> dict[str, int]:
        """Counters by name; admitted = taught + expired + pending + answered_only, exactly.

        Also dropped, replicas, packets, refused packets by reason (FLEET_REFUSALS), and refused weights:
        unknown_or_used, weights_not_finite, weights_out_of_range.
        """
    @property
    def nbytes(self) -> int: ...

@final
class FleetReplay:
    """A machine on its way to where its journal ends."""

    def __new__(cls, state: bytes | None = None) -> FleetReplay:
        """Begin with a state of `FleetMachine.checkpoint`, or before the first event."""
    @property
    def next(self) -> int:
        """The number of the next event."""
    def frame(self, frame: bytes) -> list[tuple[int, str, Any]]:
        """Do what a frame says; return (number, name, facts) of its events. A frame that does not follow is an error.

        Facts: open, (fleet, keep, pending); join, (replica, incarnation); publish and propose, (reader, canary, queries until then that
        could teach); settle, whether it was good; submit, the packet; refuse, the reason; weights, the columns of the
        tickets, weights, losses or None, outcomes; take, (first, last, [(version, bucket, tally)]); note, (kind, body).
        """
    def machine(self) -> FleetMachine:
        """Return the machine, which goes on and writes down what happens."""

@final
class FleetCommits:
    """The file of frames of a learner that runs, and who waits for it: group commit, without the GIL.

    One of those who wait writes all that has happened and tells the others; nothing is written after a write that failed.
    """

    def __new__(cls, path: os.PathLike[str] | str, *, key: bytes, end: SupportsIndex) -> FleetCommits:
        """Go on with a file that ends at some place; `key` (1 to 64 bytes) is that of the hashes before its frames."""
    def resume(self, durable: SupportsIndex) -> None:
        """Say how many events the file holds, before anybody waits."""
    def wait(self, machine: FleetMachine) -> bool:
        """Return when all that has happened to a machine is on the disk, and say whether it is."""
    @property
    def durable(self) -> int:
        """How many events are on the disk."""
    @property
    def end(self) -> int:
        """Where the next frame goes."""
    @property
    def commits(self) -> int:
        """Frames so far."""
    @property
    def failure(self) -> str | None:
        """Why nothing is written any more, if that is so."""
    def fail(self, reason: str) -> None:
        """Write nothing any more; the first reason stays."""
    def close(self) -> None:
        """Let go of the file, when nobody writes; who waits is told that it failed."""

def fleet_frame(frame: bytes) -> tuple[int, int, int, int]:
    """Return the place of a frame that is intact: its first event, their number, and the checksums before and of it."""
