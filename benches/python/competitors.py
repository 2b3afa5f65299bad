"""What parameter-shift costs, exactly, by state vectors: the yardstick of the planner.

Costs are N eps^2: total shots times the squared error, averaged over the M parameters whose derivative is
not identically zero. Shots are independent, an observable is read in groups of qubit-wise commuting words,
and of a group all words are read at once, covariances included.

- as it is: PennyLane's parameter-shift. Every parameter in the light cone of the wires, every shifted
  circuit and every group (PennyLane's default grouping) gets the same number of shots.
- pruned: derivatives that are identically zero are left out, and every circuit and group gets shots in
  proportion to its standard deviation times its coefficient, which is optimal. A gate with several
  frequencies (QAOA) takes the better of two rules: one shift of each of its words, or the general rule of
  the whole gate. Words are grouped by PennyLane or from the largest coefficient down, whichever is cheaper.
- reached: pruned, and of every shifted circuit only those words of the observable are used whose expectation
  value the shifted gate can change. What parameter-shift can do at best with what is known beforehand.

Each cost comes twice: at the actual state, and for the maximally mixed one ("mixed"), where it is known
before anything runs.

All shifted circuits are simulated in one sweep: a shifted copy joins the batch at its gate. Memory is 16
bytes times 2^n times the number of shifts or of words.
"""

import math
from dataclasses import dataclass

import numpy as np
import pennylane as qml

MOST_SHIFTS = 64
"""Half the shifts of the longest general rule that is considered."""
ZERO = 1e-9
"""A derivative of a word on a random state that is below this is zero."""


@dataclass(frozen=True)
class Turn:
    """The gate exp(-i theta A / 2), A a sum of commuting words: their index masks and coefficients."""

    words: list[tuple[int, int, float]]
    angle: float
    parameter: int


@dataclass(frozen=True)
class Fixed:
    matrix: np.ndarray
    wires: tuple[int, ...]


@dataclass(frozen=True)
class Shift:
    """One shifted circuit: its coefficient in the derivative, and what is added to the angle of each word."""

    rule: int
    coefficient: float
    angles: tuple[float, ...]


@dataclass(frozen=True)
class Costs:
    """N eps^2 of parameter-shift."""

    parameters: int
    """M, the number of derivatives that are not identically zero."""
    as_it_is: float
    pruned: float
    reached: float
    as_it_is_mixed: float
    pruned_mixed: float
    reached_mixed: float


# ---- circuits and observables ----------------------------------------------------------------------------


def read(tape):
    """The gates of a tape over 0, 1, ..., n - 1, and n; each trained parameter has a gate of its own."""
    n, gates, used, trained = len(tape.wires), [], 0, list(tape.trainable_params)
    for operation in tape.operations:
        if used in trained and operation.num_params:
            # exp(i theta G): the words of -2 G, and not the identity, which is a phase
            generator = qml.pauli.pauli_sentence(operation.generator())
            words = [(*masks(w, n), -2 * float(np.real(c))) for w, c in generator.items() if len(w)]
            gates.append(Turn(words, float(operation.data[0]), trained.index(used)))
        else:
            gates.append(Fixed(qml.matrix(operation, wire_order=operation.wires), tuple(operation.wires)))
        used += operation.num_params
    return gates, n


def masks(word, n):
    """What a word flips, and where it has a sign: bits of a state-vector index."""
    flips = sum(1 << (n - 1 - q) for q, letter in word.items() if letter in "XY")
    signs = sum(1 << (n - 1 - q) for q, letter in word.items() if letter in "YZ")
    return flips, signs


def terms(tape):
    """The words of the observable and their coefficients, without the identity."""
    sentence = qml.pauli.pauli_sentence(tape.measurements[0].obs)
    return [(word, float(np.real(c))) for word, c in sentence.items() if len(word)]


def pennylane_groups(found):
    """PennyLane's default grouping."""
    operators = [word.operation() for word, _ in found]
    indices = qml.pauli.compute_partition_indices(operators, grouping_type="qwc", method="lf")
    return [list(group) for group in indices]


def sorted_groups(found):
    """Words from the largest coefficient down, each into the first group where it fits."""
    groups = []
    for i in sorted(range(len(found)), key=lambda i: -abs(found[i][1])):
        word = found[i][0]
        for letters, members in groups:
            if all(letters.get(q, letter) == letter for q, letter in word.items()):
                letters.update(word)
                members.append(i)
                break
        else:
            groups.append((dict(word), [i]))
    return [members for _, members in groups]


def in_cone(tape):
    """Which parameters have a gate that the observable is connected to by wires."""
    reached, found = set(tape.measurements[0].obs.wires), set()
    used = sum(operation.num_params for operation in tape.operations)
    for operation in reversed(tape.operations):
        used -= operation.num_params
        if reached & set(operation.wires):
            reached |= set(operation.wires)
            if operation.num_params and used in tape.trainable_params:
                found.add(tape.trainable_params.index(used))
    return found


# ---- shift rules -----------------------------------------------------------------------------------------


def rules(turn):
    """The shifted circuits of a gate: rule 0 as PennyLane has it, rule 1 another one if there is."""
    slopes = [slope for _, _, slope in turn.words]
    by_word = [
        Shift(0, sign * slope / 2, tuple(sign * math.pi / 2 * (i == j) for j in range(len(slopes))))
        for i, slope in enumerate(slopes)
        for sign in (1, -1)
    ]
    if len(slopes) == 1:
        return by_word
    gaps = frequencies(turn)
    base, highest = min(np.diff([0.0, *gaps])), gaps[-1]
    order = round(highest / base)
    ratios = np.array(gaps) / base
    if order > MOST_SHIFTS or np.abs(ratios - np.round(ratios)).max() > 1e-6:
        return by_word  # no rule of equal distances, or one of far too many shifts
    whole = []
    for mu in range(1, 2 * order + 1):
        x = (2 * mu - 1) * math.pi / (2 * order)
        coefficient = base * (-1) ** (mu - 1) / (4 * order * math.sin(x / 2) ** 2)
        whole.append(Shift(0 if order == 1 else 1, coefficient, tuple(s * x / base for s in slopes)))
    return whole if order == 1 else by_word + whole


def frequencies(turn):
    """The positive differences of the eigenvalues of the generator of a gate whose words commute."""
    used = 0
    for flips, signs, _ in turn.words:
        used |= flips | signs
    places = [q for q in range(used.bit_length()) if used >> q & 1]
    basis = np.eye(1 << len(places), dtype=complex)

    def packed(mask):
        return sum(1 << i for i, q in enumerate(places) if mask >> q & 1)

    generator = sum(s / 2 * pauli(basis, packed(f), packed(z)) for f, z, s in turn.words)
    levels = np.unique(np.round(np.linalg.eigvalsh(generator), 9))
    differences = np.unique(np.round(np.subtract.outer(levels, levels), 9))
    return [float(d) for d in differences if d > 0]


# ---- states ----------------------------------------------------------------------------------------------


def pauli(states, flips, signs):
    """Apply a word to every row."""
    index = np.arange(states.shape[1]) ^ flips
    phase = (-1.0) ** np.bitwise_count(index & signs) * 1j ** ((flips & signs).bit_count() % 4)
    return states[:, index] * phase


def rotate(states, flips, signs, angle):
    """Apply exp(-i angle P / 2) to every row."""
    return math.cos(angle / 2) * states - 1j * math.sin(angle / 2) * pauli(states, flips, signs)


def apply(states, matrix, wires, n):
    """Apply a matrix to some qubits of every row."""
    axes = [w + 1 for w in wires]
    tensor = np.moveaxis(states.reshape((-1,) + (2,) * n), axes, range(1, len(axes) + 1))
    shape = tensor.shape
    tensor = (matrix @ tensor.reshape(len(states), len(matrix), -1)).reshape(shape)
    return np.moveaxis(tensor, range(1, len(axes) + 1), axes).reshape(len(states), -1)


def run(gate, states, n):
    if isinstance(gate, Fixed):
        return apply(states, gate.matrix, gate.wires, n)
    for flips, signs, slope in gate.words:
        states = rotate(states, flips, signs, slope * gate.angle)
    return states


def undo(gate, states, n):
    if isinstance(gate, Fixed):
        return apply(states, gate.matrix.conj().T, gate.wires, n)
    for flips, signs, slope in gate.words:
        states = rotate(states, flips, signs, -slope * gate.angle)
    return states


def zeros(n):
    state = np.zeros((1, 2**n), dtype=complex)
    state[0, 0] = 1
    return state


def derivatives(gates, n, found, state):
    """The derivative of each word of the observable (column) by the angle of each word of each gate (row).

    By undoing the circuit. A list by parameter.
    """
    for gate in gates:
        state = run(gate, state, n)
    bras = np.concatenate([pauli(state, *masks(word, n)) for word, _ in found])
    slopes = {}
    for gate in reversed(gates):
        if isinstance(gate, Turn):
            moved = [pauli(state, flips, signs)[0] for flips, signs, _ in gate.words]
            slopes[gate.parameter] = np.array([(bras.conj() @ ket).imag for ket in moved])
        state, bras = undo(gate, state, n), undo(gate, bras, n)
    return [slopes[k] for k in range(len(slopes))]


def reach(gates, n, found):
    """Which words of the observable each word of each gate changes: those with a derivative.

    On a random state a derivative that is not identically zero is zero with probability 0 only.
    """
    normal = np.random.default_rng(5).normal(size=(2, 1, 2**n))
    state = normal[0] + 1j * normal[1]
    slopes = derivatives(gates, n, found, state / np.linalg.norm(state))
    return [np.abs(s) > ZERO for s in slopes]


def shifted(gates, n, wanted):
    """The shifts of the wanted parameters, and the final state of each."""
    states, shifts = zeros(n), []
    for gate in gates:
        own = rules(gate) if isinstance(gate, Turn) and gate.parameter in wanted else []
        states = run(gate, states, n)
        joining = []
        for shift in own:
            state = states[:1]
            for (flips, signs, _), angle in zip(gate.words, shift.angles, strict=True):
                state = rotate(state, flips, signs, angle) if angle else state
            joining.append(state)
        states = np.concatenate([states, *joining])
        shifts += [(gate.parameter, shift) for shift in own]
    return shifts, states[1:]


HADAMARD = np.array([[1, 1], [1, -1]]) / math.sqrt(2)
TO_Z = {"X": HADAMARD, "Y": HADAMARD @ np.diag([1, -1j])}


def readout(states, group, n):
    """The probability of each outcome for every state, and the value of each word of a group for it."""
    letters = {q: letter for word, _ in group for q, letter in word.items()}
    for q, letter in letters.items():
        if letter in TO_Z:
            states = apply(states, TO_Z[letter], (q,), n)
    index = np.arange(2**n)
    supports = [sum(1 << (n - 1 - q) for q in word) for word, _ in group]
    values = [c * (-1.0) ** np.bitwise_count(index & s) for s, (_, c) in zip(supports, group, strict=True)]
    return np.abs(states) ** 2, np.array(values)


# ---- costs -----------------------------------------------------------------------------------------------


class ParameterShift:
    """The shifted circuits of one tape with one observable, simulated."""

    def __init__(self, tape):
        self.gates, self.n = read(tape)
        self.terms, self.cone = terms(tape), in_cone(tape)
        table = reach(self.gates, self.n, self.terms)
        self.alive = np.array([words.any() for words in table])
        """Which derivatives are not identically zero."""
        self.shifts, self.states = shifted(self.gates, self.n, set(np.flatnonzero(self.alive)))
        self.reached = np.array(
            [table[parameter][np.array(shift.angles) != 0].any(0) for parameter, shift in self.shifts]
        )
        """Which words of the observable each shift changes."""
        self.groupings = [pennylane_groups(self.terms), sorted_groups(self.terms)]

    def costs(self):
        every = np.ones_like(self.reached)
        count = int(self.alive.sum())
        found = []
        for mixed in (False, True):
            spread = self.mixed if mixed else self.deviations
            pruned = [spread(groups, every) for groups in self.groupings]
            reached = [spread(groups, self.reached) for groups in self.groupings]
            found.append(self.equal(pruned[0]))
            found += [min(self.allocated(s)[0] for s in way) ** 2 / count for way in (pruned, reached)]
        return Costs(count, *found)

    def mixed(self, groups, used):
        """As `deviations`, at the maximally mixed state."""
        squares = used * np.square([c for _, c in self.terms])
        return np.sqrt(np.stack([squares[:, group].sum(1) for group in groups], 1))

    def deviations(self, groups, used):
        """The standard deviation of a shot of the used words, by shift and group."""
        spreads = np.empty((len(self.shifts), len(groups)))
        for g, group in enumerate(groups):
            probabilities, parts = readout(self.states, [self.terms[i] for i in group], self.n)
            patterns, which = np.unique(used[:, group], axis=0, return_inverse=True)
            for p, pattern in enumerate(patterns):
                rows, values = which.ravel() == p, pattern @ parts
                means = probabilities[rows] @ values
                spreads[rows, g] = np.sqrt(np.maximum(probabilities[rows] @ values**2 - means**2, 0))
        return spreads

    def equal(self, spreads):
        """As PennyLane has it: rule 0, the same shots for each circuit and group."""
        variance = sum(
            shift.coefficient**2 * np.sum(s**2)
            for (_, shift), s in zip(self.shifts, spreads, strict=True)
            if shift.rule == 0
        )
        return self.circuits() * spreads.shape[1] * variance / self.alive.sum()

    def circuits(self):
        """The number of shifted circuits that PennyLane makes."""
        turns = [gate for gate in self.gates if isinstance(gate, Turn) and gate.parameter in self.cone]
        return sum(shift.rule == 0 for turn in turns for shift in rules(turn))

    def allocated(self, spreads):
        """The better rule of each parameter: the sum of |coefficient| times deviation, and its shifts."""
        totals = {}
        for i, ((parameter, shift), s) in enumerate(zip(self.shifts, spreads, strict=True)):
            by_rule = totals.setdefault(parameter, {})
            total, members = by_rule.get(shift.rule, (0.0, []))
            by_rule[shift.rule] = (total + abs(shift.coefficient) * s.sum(), [*members, i])
        chosen = [min(by_rule.values()) for by_rule in totals.values()]
        return sum(total for total, _ in chosen), [i for _, members in chosen for i in members]

    def gradient(self):
        """The derivatives, without shifts."""
        slopes, coefficients = (
            derivatives(self.gates, self.n, self.terms, zeros(self.n)),
            [c for _, c in self.terms],
        )
        turns = {gate.parameter: gate for gate in self.gates if isinstance(gate, Turn)}
        return np.array([[w[2] for w in turns[k].words] @ s @ coefficients for k, s in enumerate(slopes)])

    def simulate(self, shots, repeats, seed, only_reached=False):
        """Run the pruned (or reached) way: errors by repeat and parameter, and the shots of a repeat."""
        rng = np.random.default_rng(seed)
        used = self.reached if only_reached else np.ones_like(self.reached)
        ways = [
            (self.allocated(s), s, groups)
            for groups in self.groupings
            for s in [self.deviations(groups, used)]
        ]
        (total, chosen), spreads, groups = min(ways, key=lambda way: way[0][0])
        estimates, spent = np.zeros((repeats, len(self.alive))), 0
        for g, group in enumerate(groups):
            probabilities, parts = readout(self.states, [self.terms[i] for i in group], self.n)
            for i in chosen:
                parameter, shift = self.shifts[i]
                values = used[i, group] @ parts
                # At least one shot: where there is no spread, it is certain.
                own = max(1, round(shots * abs(shift.coefficient) * spreads[i, g] / total))
                counts = rng.multinomial(own, probabilities[i] / probabilities[i].sum(), size=repeats)
                estimates[:, parameter] += shift.coefficient * (counts @ values) / own
                spent += own
        return (estimates - self.gradient())[:, self.alive], spent
