"""State vectors of one circuit at many angles at once, so that a race of thousands of steps takes minutes.

Gates become few array operations: neighbouring gates of one qubit are one matrix for each half of the qubits,
and neighbouring commuting words that flip the same qubits are one rotation of pairs of amplitudes. Time is
about 50 us for each of these, and for large batches 20 ns for each amplitude. `bench_race.py` checks losses
against PennyLane.
"""

import numpy as np
from competitors import Turn

LETTERS = {
    (1, 0): np.array([[0, 1], [1, 0]], dtype=complex),
    (1, 1): np.array([[0, -1j], [1j, 0]]),
    (0, 1): np.array([[1, 0], [0, -1]], dtype=complex),
}


class Locals:
    """Gates of single qubits: F cos(angle / 2) + G sin(angle / 2), in slices of one for each qubit."""

    def __init__(self, n):
        self.n, self.items = n, [[] for _ in range(n)]

    def finish(self, words):
        """Pad to slices; angles of fixed gates are the last one, which is zero."""
        depth = max(map(len, self.items))
        nothing = (np.eye(2), np.zeros((2, 2)), words)
        padded = [row + [nothing] * (depth - len(row)) for row in self.items]
        self.fixed, self.turned = (
            np.array([[row[k][i] for row in padded] for k in range(depth)], dtype=complex) for i in (0, 1)
        )
        self.index = np.array([[row[k][2] for row in padded] for k in range(depth)])
        return self

    def __call__(self, states, half):
        cos, sin = np.cos(half[:, self.index]), np.sin(half[:, self.index])
        slices = cos[..., None, None] * self.fixed + sin[..., None, None] * self.turned
        total = slices[:, 0]
        for k in range(1, len(self.fixed)):
            total = slices[:, k] @ total
        middle = self.n // 2
        left, right = _kron(total[:, :middle]), _kron(total[:, middle:])
        cube = states.reshape(*states.shape[:2], left.shape[1], -1)
        return (left[:, None] @ cube @ right.transpose(0, 2, 1)[:, None]).reshape(states.shape)


class Words:
    """Commuting words that flip the same qubits: a rotation of pairs of amplitudes, or phases."""

    def __init__(self, n, flips, signs, columns):
        index = np.arange(2**n)
        table = [
            (-1.0) ** np.bitwise_count((index ^ flips) & s) * 1j ** ((flips & s).bit_count() % 4)
            for s in signs
        ]
        table, self.columns = np.array(table), columns
        self.rows = np.flatnonzero(np.abs(_sums(table)) > 0) if flips and len(signs) > 1 else index
        if flips:
            self.rows = np.unique(np.concatenate([self.rows, self.rows ^ flips]))
        self.table, self.others, self.flips = table[:, self.rows], self.rows ^ flips, flips

    def __call__(self, states, half):
        slopes = (half[:, self.columns] @ (self.table if self.flips else self.table.real))[:, None]
        if not self.flips:
            return states * np.exp(-1j * slopes)
        size = np.abs(slopes)
        ratio = np.sin(size) / np.maximum(size, 1e-300)
        turned = np.cos(size) * states[..., self.rows] - 1j * ratio * slopes * states[..., self.others]
        if len(self.rows) == states.shape[-1]:
            return turned
        states = states.copy()
        states[..., self.rows] = turned
        return states


class Fixed:
    """A gate of several qubits without an angle."""

    def __init__(self, n, matrix, wires):
        self.n, self.matrix, self.wires = n, matrix, wires
        self.phases = None
        if np.allclose(matrix, np.diag(np.diag(matrix))):
            index = np.arange(2**n)
            place = sum((index >> (n - 1 - w) & 1) << (len(wires) - 1 - i) for i, w in enumerate(wires))
            self.phases = np.diag(matrix)[place]

    def __call__(self, states, half):
        if self.phases is not None:
            return states * self.phases
        axes = [w + 1 for w in self.wires]
        cube = np.moveaxis(states.reshape((-1,) + (2,) * self.n), axes, range(1, len(axes) + 1))
        shape = cube.shape
        cube = (self.matrix @ cube.reshape(shape[0], len(self.matrix), -1)).reshape(shape)
        return np.moveaxis(cube, range(1, len(axes) + 1), axes).reshape(states.shape)


class Simulator:
    """The gates of `competitors.read`, each word with an angle of its own."""

    def __init__(self, gates, n):
        self.n, self.words = n, sum(len(g.words) for g in gates if isinstance(g, Turn))
        self.operations, first = [], 0
        for gate in gates:
            if isinstance(gate, Turn):
                for i, (flips, signs, _) in enumerate(gate.words):
                    self._turn(flips, signs, first + i)
                first += len(gate.words)
            elif len(gate.wires) == 1:
                self._local(gate.wires[0], gate.matrix, np.zeros((2, 2)), self.words)
            else:
                self._fixed(Fixed(n, gate.matrix, gate.wires))
        self.operations = [self._finished(operation) for operation in self.operations]

    def __call__(self, states, angles):
        """Run states through the circuit: axes are rows of angles, inputs, amplitudes."""
        half = np.pad(angles / 2, ((0, 0), (0, 1)))
        for operation in self.operations:
            states = operation(states, half)
        return states

    def _last(self, kind):
        return bool(self.operations) and isinstance(self.operations[-1], kind)

    def _local(self, qubit, fixed, turned, word):
        if not self._last(Locals):
            self.operations.append(Locals(self.n))
        self.operations[-1].items[qubit].append((fixed, turned, word))

    def _turn(self, flips, signs, word):
        support = flips | signs
        if support.bit_count() == 1:
            letter = LETTERS[bool(flips), bool(signs)]
            self._local(self.n - support.bit_length(), np.eye(2), -1j * letter, word)
            return
        last = self.operations[-1] if self._last(list) else None
        if last and last[0][0] == flips and all(_commute(flips, signs, *other[:2]) for other in last):
            last.append((flips, signs, word))
        else:
            self.operations.append([(flips, signs, word)])

    def _fixed(self, gate):
        if gate.phases is not None and self._last(Fixed) and self.operations[-1].phases is not None:
            self.operations[-1].phases = self.operations[-1].phases * gate.phases
        else:
            self.operations.append(gate)

    def _finished(self, operation):
        if isinstance(operation, Locals):
            return operation.finish(self.words)
        if isinstance(operation, list):
            return Words(self.n, operation[0][0], [s for _, s, _ in operation], [w for *_, w in operation])
        return operation


def _commute(flips, signs, other_flips, other_signs):
    return ((flips & other_signs).bit_count() + (signs & other_flips).bit_count()) % 2 == 0


def _sums(table):
    """Random combinations of the rows: zero where all entries are."""
    return np.random.default_rng(1).normal(size=len(table)) @ table


def _kron(matrices):
    """The Kronecker product along axis 1, row by row."""
    total = matrices[:, 0]
    for k in range(1, matrices.shape[1]):
        size = 2 * total.shape[1]
        total = (total[:, :, None, :, None] * matrices[:, k][:, None, :, None, :]).reshape(-1, size, size)
    return total
