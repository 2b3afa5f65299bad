"""How long a circuit takes on a device, and what is left of it by then.

`coherence` lays the durations of gates and readout beside the times in which qubits decay and dephase, for
two ways of learning from replicas: snapshots of single copies, which have to fit into the coherence of one
device, and joint measurements of two replicas, whose qubits have to wait for a network as well.

Figures of devices are those of their sources; what no source says is marked as assumed. All of them can be
replaced: ``dataclasses.replace(efl.HARDWARE["willow"], t2=60e-6)``.

Invariant: figures are estimates from a table, of no simulation: errors are independent, gates start as soon
as their qubits are free, and a gate between any two qubits is one gate.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, SupportsFloat, SupportsIndex

from efl_core.arguments import described, integer, listed, real
from efl_core.circuits import Circuit, check_circuit
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.noise import Noise, gate_wires

__all__ = ["HARDWARE", "Coherence", "Hardware", "Window", "coherence"]

TIMES = ("t1", "t2", "one_qubit_time", "two_qubit_time", "readout_time", "pair_time")
CHANCES = ("one_qubit", "two_qubit", "readout", "pair")


@dataclass(frozen=True, slots=True)
class Hardware:
    """A row of the table: times in seconds, errors as probabilities of anything but what was meant."""

    name: str
    """What it is called."""
    t1: float
    """In which a 1 decays to 1/e."""
    t2: float
    """In which a coherence decays to 1/e, with the echoes that the source takes."""
    one_qubit_time: float
    """Of a gate on one qubit."""
    two_qubit_time: float
    """Of a gate on two qubits."""
    readout_time: float
    """Of a readout."""
    one_qubit: float
    """Error of a gate on one qubit."""
    two_qubit: float
    """Error of a gate on two qubits."""
    readout: float
    """Error of a readout of one qubit."""
    pair_time: float = 0.0
    """For an entangled pair with another replica; 0 where pairs wait ready."""
    pair: float = 0.0
    """Error of such a pair."""
    source: str = ""
    """Where the figures are from."""
    assumed: str = ""
    """Which of them are nobody's measurement."""

    def __post_init__(self) -> None:
        for name in TIMES:
            value = real(name, getattr(self, name))
            least = name in ("t1", "t2")
            if not (value > 0 if least else 0 <= value < math.inf):
                expected = (
                    "seconds, a number above zero" if least else "seconds, a number that is not negative"
                )
                raise InvalidInputError.of(name, expected, value)
            object.__setattr__(self, name, value)
        for name in CHANCES:
            value = real(name, getattr(self, name))
            if not 0 <= value < 1:
                raise InvalidInputError.of(name, "a probability from 0 to below 1", value)
            object.__setattr__(self, name, value)
        if self.t2 > 2 * self.t1:
            raise InvalidInputError.of("t2", f"at most twice t1, {2 * self.t1:g}", self.t2)

    def noise(self) -> Noise:
        """Return the errors of its gates as `efl.Noise`, all of them Pauli errors: what a plan takes."""
        return Noise(one_qubit=self.one_qubit, two_qubit=self.two_qubit)


HARDWARE: Mapping[str, Hardware] = MappingProxyType(
    {
        "willow": Hardware(
            "Willow (Google)",
            t1=68e-6,
            t2=89e-6,
            one_qubit_time=25e-9,
            two_qubit_time=42e-9,
            readout_time=600e-9,
            one_qubit=0.00035,
            two_qubit=0.0033,
            readout=0.0077,
            source="T1, T2 (CPMG), cycle of 1.1 us: Nature 638, 920 (2025); errors: its spec sheet (2024)",
            assumed="durations of gates and readout, those of its cycle and of Nature 614, 676 (2023); "
            "from memory of the sheet, not read again: errors of one-qubit gates and readouts",
        ),
        "nighthawk": Hardware(
            "Nighthawk (IBM)",
            t1=273e-6,
            t2=342e-6,
            one_qubit_time=32e-9,
            two_qubit_time=68e-9,
            readout_time=2.2e-6,
            one_qubit=0.00015,
            two_qubit=0.0027,
            readout=0.0049,
            source="medians of FakeNighthawk, properties of 2025-12-08, qiskit-ibm-runtime 0.45",
            assumed="that these properties are typical, which its release notes do not say",
        ),
        "ions": Hardware(
            "ion trap (Aria, IonQ)",
            t1=10.0,
            t2=1.0,
            one_qubit_time=135e-6,
            two_qubit_time=600e-6,
            readout_time=300e-6,
            one_qubit=0.0005,
            two_qubit=0.004,
            readout=0.0039,
            pair_time=0.103,
            pair=0.031,
            source="learn.microsoft.com/azure/quantum/provider-ionq; pairs: Nature 638, 383 (2025)",
            assumed="duration of a readout; pairs of another trap (time and error from memory of "
            "the paper, not read again); gates on different ions at once",
        ),
        "atoms": Hardware(
            "neutral atoms (rubidium)",
            t1=4.0,
            t2=1.5,
            one_qubit_time=2e-6,
            two_qubit_time=300e-6,
            readout_time=500e-6,
            one_qubit=0.001,
            two_qubit=0.005,
            readout=0.002,
            source="gates: Nature 622, 268 (2023), arXiv 2408.08288; T1, T2, moves: Nature 604, 451 (2022)",
            assumed="a move of 300 us for each gate on two qubits; duration and error of a readout; "
            "T1 and T2 from memory of the paper, not read again",
        ),
    }
)
"""Devices by their names."""


@dataclass(frozen=True, slots=True)
class Window:
    """What one way of learning from a replica takes, and what is left by then."""

    time: float
    """Seconds from the first gate to the end of the readout."""
    used: float
    """That time over the shorter of T1 and T2: above 1 nothing is left worth reading."""
    idle: float
    """What relaxation until the readout leaves, as the probability of no error. Gates take part of that time,
    and their errors contain it too: the estimate is on the safe side."""
    gates: float
    """What errors of gates, pairs and readouts leave, as the probability of no error."""

    @property
    def left(self) -> float:
        """The probability of no error at all."""
        return self.idle * self.gates

    @property
    def shots(self) -> float:
        """How many times the shots, if contrasts are divided by what is left."""
        return math.inf if self.left == 0 else self.left**-2


@dataclass(frozen=True, slots=True)
class Coherence:
    """What `coherence` found for a device."""

    hardware: Hardware
    """The device, as it was assumed to be."""
    single: Window
    """A snapshot of one copy: the circuit, the gates of a setting, a readout."""
    joint: Window
    """A joint measurement of two replicas: the circuit, a pair for every qubit, the round trip, a readout."""
    repeats: int
    """How many more circuits of this length fit before a snapshot, until ``1/e`` is left of it."""


class CoherenceTable(tuple[Coherence, ...]):
    """Rows of `coherence`, which print as a table."""

    __slots__ = ()

    def __str__(self) -> str:
        head = (
            f"{'':26}{'T1':>9}{'T2':>9} |{'single copy':>12}{'used':>8}{'left':>7}{'shots':>10} |"
            f"{'joint':>9}{'used':>8}{'left':>7}{'shots':>10} |{'repeats':>8}"
        )
        rows = [head]
        for row in self:
            windows = "".join(
                f"{_time(w.time):>{first}}{_share(w.used):>8}{w.left:>7.2f}{_times(w.shots):>10} |"
                for w, first in ((row.single, 12), (row.joint, 9))
            )
            times = f"{_time(row.hardware.t1):>9}{_time(row.hardware.t2):>9}"
            rows.append(f"{row.hardware.name:26}{times} |{windows}{row.repeats:>8}")
        notes = [
            f"{row.hardware.name}: {row.hardware.source}"
            + (f". Assumed: {row.hardware.assumed}" if row.hardware.assumed else "")
            for row in self
            if row.hardware.source or row.hardware.assumed
        ]
        return "\n".join([*rows, *notes])

    __repr__ = __str__


def coherence(
    devices: Hardware | str | Iterable[Hardware | str] | None,
    circuit: Circuit,
    *,
    setting_depth: SupportsIndex = 0,
    round_trip: SupportsFloat = 100e-6,
    pairs_at_once: SupportsIndex = 1,
) -> CoherenceTable:
    """Say whether a circuit fits into the coherence of devices, for snapshots and for joint measurements.

    Parameters
    ----------
    devices
        Rows of the table, or their names in `HARDWARE`; all of them for None.
    circuit
        The circuit. A word of w letters is turned by ``2 (w - 1)`` two-qubit gates and a rotation, a unitary
        on two wires by three.
    setting_depth
        Layers of two-qubit gates in a setting; a layer of one-qubit gates is always there.
    round_trip
        Seconds of a message to the other replica and back, which a joint measurement waits for: by default
        100 us, two racks and their software; between cities it is milliseconds.
    pairs_at_once
        Entangled pairs that links make at the same time; one is needed for every qubit.

    Returns
    -------
    CoherenceTable
        A tuple with a `Coherence` for each device, which prints as a table.

    Examples
    --------
    >>> import efl_core as efl
    >>> def layers(n, depth):
    ...     circuit = efl.Circuit(n, parameters=np.zeros(n * depth))
    ...     for layer in range(depth):
    ...         for q in range(n):
    ...             circuit.ry(efl.Parameter(n * layer + q), q)
    ...         for q in range(layer % 2, n - 1, 2):
    ...             circuit.clifford("CZ", q, q + 1)
    ...     return circuit
    >>> circuit = layers(6, 4)
    >>> [found] = efl.coherence("willow", circuit)
    >>> found.single.used < 0.02 < 1 < found.joint.used
    True
    >>> from dataclasses import replace
    >>> [slow] = efl.coherence(replace(efl.HARDWARE["willow"], two_qubit_time=1e-6), circuit)
    >>> slow.single.time > found.single.time
    True
    """
    check_circuit(circuit)
    rows = _devices(devices)
    layers = integer("setting_depth", setting_depth, 0)
    at_once = integer("pairs_at_once", pairs_at_once, 1)
    trip = real("round_trip", round_trip)
    if not 0 <= trip < math.inf:
        raise InvalidInputError.of("round_trip", "seconds, a number that is not negative", trip)
    return CoherenceTable(_row(own, circuit, layers, trip, at_once) for own in rows)


def _devices(devices: object) -> list[Hardware]:
    if devices is None:
        return list(HARDWARE.values())
    several = (
        [devices] if isinstance(devices, (str, Hardware)) else listed("devices", devices, "rows or names")
    )
    found = []
    for own in several:
        if isinstance(own, str):
            if own not in HARDWARE:
                raise InvalidInputError.of(
                    "devices", f"some of {', '.join(HARDWARE)}, or rows of your own", repr(own)
                )
            own = HARDWARE[own]
        if not isinstance(own, Hardware):
            raise InputTypeError.of("devices", "efl.Hardware or a name", described(own))
        found.append(own)
    if not found:
        raise InvalidInputError.of("devices", "at least one", "none")
    return found


def _row(device: Hardware, circuit: Circuit, layers: int, trip: float, at_once: int) -> Coherence:
    n = circuit.n_qubits
    length, ones, twos = _schedule(device, circuit)
    setting = device.one_qubit_time + layers * (device.two_qubit_time + device.one_qubit_time)
    ones += n * (1 + layers)
    twos += layers * (n // 2)
    gates = (1 - device.one_qubit) ** ones * (1 - device.two_qubit) ** twos
    read = (1 - device.readout) ** n
    single = _window(device, n, length + setting, gates * read)
    # Bell measurements of two copies, qubit by qubit: each replica holds its state until its pairs are there
    # and both know what the other has read. Its own qubit and its half of the pair are read.
    waits = math.ceil(n / at_once) * device.pair_time + trip
    other = device.two_qubit_time + device.one_qubit_time
    both = ((1 - device.one_qubit) ** (ones + n) * (1 - device.two_qubit) ** (twos + n) * read) ** 2
    joint = _window(device, 2 * n, length + waits + other, both * (1 - device.pair) ** n * read)
    spent = -math.log(single.left) if single.left > 0 else math.inf
    again = 0 if not spent else int(max(0.0, 1 / spent - 1) if math.isfinite(spent) else 0)
    return Coherence(device, single, joint, again)


def _window(device: Hardware, n: int, held: float, gates: float) -> Window:
    """Return what holding n qubits for some time leaves, by the process fidelity of relaxation."""
    kept, coherent = math.exp(-held / device.t1), math.exp(-held / device.t2)
    idle = ((1 + kept + 2 * coherent) / 4) ** n
    time = held + device.readout_time
    return Window(time, time / min(device.t1, device.t2), idle, gates)


def _schedule(device: Hardware, circuit: Circuit) -> tuple[float, int, int]:
    """Return how long the gates take, each as soon as its qubits are free, and how many of each kind."""
    free = [0.0] * circuit.n_qubits
    ones = twos = 0
    for kind, arguments in circuit._gates:
        if kind in ("channel", "noise"):
            continue
        wires = gate_wires(kind, arguments)
        one, two = _compiled(kind, arguments, len(wires))
        end = (
            max((free[q] for q in wires), default=0.0)
            + one * device.one_qubit_time
            + two * device.two_qubit_time
        )
        for q in wires:
            free[q] = end
        ones, twos = ones + one, twos + two
    return max(free), ones, twos


def _compiled(kind: str, arguments: tuple[Any, ...], width: int) -> tuple[int, int]:
    """Return how many gates on one and on two qubits a gate is."""
    if kind == "clifford":
        return (0, 1) if width == 2 else (width, 0)
    if kind == "unitary":
        return (1, 0) if width == 1 else (8, 3)
    weights = [width] if kind == "rotation" else [word.weight for word, _ in arguments[0].terms()]
    return sum(1 for w in weights if w), sum(2 * (w - 1) for w in weights if w > 1)


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _share(value: float) -> str:
    return f"{value:.2%}" if value < 0.1 else f"{value:.0%}" if value < 10 else f"{value:.0f}x"


def _times(value: float) -> str:
    return f"{value:.3g}x" if value < 1e6 else "-"
