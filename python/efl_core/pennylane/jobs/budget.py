"""How the shots of a tape are shared: between its derivatives by gates and by coefficients, and its values.

Settings of the final state that are there for the gradient are read for the values as well; values get their
own settings if those of the gradient do not reveal them. They get the error of the derivatives then, or the
one that is asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.options import Options
from efl_core.pennylane.planning import Plans, TooFewShotsError
from efl_core.pennylane.value_plans import ValuePlan
from efl_core.plans import Cost

__all__ = ["Budget", "Share", "equal_piece", "needed_shots", "share"]

# Outcomes that one measurement may have, in bits; each takes about three bytes on the way.
MAX_BITS = 2**31
# Runs for each setting on average, where all have the same shots.
PIECES = (4.0, 2.0, 1.5, 1.0)


@dataclass(frozen=True, slots=True)
class Share:
    """Shots of one copy of a shot vector."""

    gates: int
    words: int
    values: int


@dataclass(frozen=True, slots=True)
class Budget:
    """Shots of all copies."""

    shares: tuple[Share, ...]
    piece: int
    """Shots of every run, where all have the same; 1 where a run has any number."""

    @property
    def for_gradient(self) -> float:
        """Shots of one copy that measure derivatives, on average."""
        return sum(share.gates + share.words for share in self.shares) / len(self.shares)


def share(
    wanted: Wanted, plans: Plans, options: Options, *, value_target: float | None, equal: bool
) -> Budget:
    """Share the shots.

    The values are to have the error ``value_target``; without one they share the shots of the gradient.
    """
    totals = _planned(wanted, plans, options) if wanted.shots is None else wanted.shots
    for_values = _for_values(plans, totals, value_target)
    if value_target is None:
        totals = [total - count for total, count in zip(totals, for_values, strict=True)]
    if sum(totals) * wanted.circuit.n_qubits > MAX_BITS:
        most = MAX_BITS // wanted.circuit.n_qubits
        raise InvalidInputError(
            f"shots: expected at most {most:,} in one measurement, which is held in memory, got "
            f"{sum(totals):,}; average several, or ask for a larger target"
        )
    copies = [
        (total, _for_words(wanted, plans, total), count)
        for total, count in zip(totals, for_values, strict=True)
    ]
    piece = _piece(plans, copies, options.cost) if equal else 1
    return Budget(tuple(_share(wanted, plans, *copy, piece) for copy in copies), piece)


def _planned(wanted: Wanted, plans: Plans, options: Options) -> Sequence[int]:
    """Return the shots for a target."""
    if plans.chosen is None or options.target is None:
        raise InvalidInputError(
            "target: expected trainable gates, whose errors are planned, got none; write shots= instead"
        )
    row = plans.chosen.row
    return [max(math.ceil(row.cost / options.target**2), row.settings or 1)] * wanted.copies


def _for_values(plans: Plans, totals: Sequence[int], target: float | None) -> list[int]:
    """Return the shots of settings that are for the values alone."""
    values = plans.values
    if values is None or not values.n_settings:
        return [0] * len(totals)
    cost = values.cost if plans.chosen is None else plans.chosen.row.cost
    if cost == 0 and plans.words is not None:  # what is asked for depends on coefficients only
        cost = plans.words.cost
    if target is not None:
        return [needed_shots(values, target, total, plans.free) for total in totals]
    if plans.free < math.inf:
        return [0] * len(totals)
    # So many that the values get the error of what the others measure.
    part = values.cost / (values.cost + cost)
    found = [min(max(round(total * part), values.n_settings), total) for total in totals]
    if plans.chosen is not None and plans.chosen.row.cost > 0:
        _check_values(values, min(totals))
        rest = plans.chosen.circuits_per_draw
        found = [
            min(count, max(values.n_settings, total - rest))
            for count, total in zip(found, totals, strict=True)
        ]
    return found


def _check_values(values: ValuePlan, shots: int) -> None:
    """Refuse fewer shots than the settings of the values, which are not drawn, leave for derivatives."""
    if shots < values.n_settings + 1:
        raise InvalidInputError(
            f"shots: expected at least {values.n_settings + 1}, {values.n_settings} of them for the "
            f"settings that values are read in, got {shots}; diff_method=efl.shadow_grad measures no values "
            "but those that derivatives of qml.var follow from"
        )


def _for_words(wanted: Wanted, plans: Plans, total: int) -> int:
    """Return the shots of derivatives by coefficients, by their number; at least one for each setting."""
    if plans.words is None:
        return 0
    count = len(wanted.coefficients)
    return max(1, plans.words.n_settings, total * count // (count + len(wanted.by_gates)))


def needed_shots(plan: ValuePlan, target: float | None, others: float = 0, variance: float = math.inf) -> int:
    """Return the shots for an RMS error, beside others of which one has the variance ``variance``."""
    if target is None or not plan.n_settings:
        return 0
    rest = plan.cost * (1 / target**2 - others / variance)
    return max(math.ceil(rest), plan.n_settings) if rest > 0 else 0


def _piece(plans: Plans, copies: Sequence[tuple[int, int, int]], cost: Cost | None) -> int:
    """Return the shots of every run, given those of the copies: in all, for coefficients, for the values."""
    total, words, values = min(copies)  # in runs that the others can fill too
    parts: list[tuple[int, int]] = []
    if plans.words is not None and plans.words.n_settings:
        parts.append((words, plans.words.n_settings))
    longest = math.inf
    if plans.chosen is not None and plans.chosen.row.cost > 0 and plans.chosen.row.settings:
        draws = plans.draws(total - words)
        if draws is not None and draws * plans.chosen.circuits_per_draw < plans.chosen.row.settings:
            # Those that are drawn have the same shots anyway: a run for each.
            longest = max(1, (total - words) // (draws * plans.chosen.circuits_per_draw))
            if plans.values is not None and values:
                longest = min(longest, max(1, values // plans.values.n_settings))
        else:
            parts.append((total - words, plans.chosen.row.settings))
    if not parts and plans.values is not None and values:
        parts.append((values, plans.values.n_settings))
    if not parts:
        return 1 if longest == math.inf else int(longest)
    shots, settings = (sum(numbers) for numbers in zip(*parts, strict=True))
    shortest = math.ceil(shots / plans.most_runs)
    if shots // max(1, shortest) < settings:  # rounded up, it would leave too few for all settings
        shortest -= 1
    return int(max(shortest, min(longest, *(equal_piece(*part, cost) for part in parts))))


def _share(wanted: Wanted, plans: Plans, total: int, words: int, values: int, piece: int) -> Share:
    if plans.words is not None and piece > 1:  # whole runs
        words = max(words // piece, plans.words.n_settings) * piece
    moved = plans.chosen is not None and plans.chosen.row.cost > 0
    if words and wanted.by_gates and moved and words >= total:
        raise InvalidInputError(f"shots: expected more, as coefficients alone take {words}, got {total}")
    settings = plans.chosen.row.settings if moved and plans.chosen is not None else None
    if plans.settings_per_step is None and wanted.by_gates and total - words < (settings or 0):
        raise TooFewShotsError(
            f"shots: expected at least {settings} for the derivatives, one for each circuit and setting, got "
            f"{total - words} beside those of the values"
        )
    return Share(total - words if wanted.by_gates else 0, words, values)


def equal_piece(shots: int, settings: int, cost: Cost | None = None) -> int:
    """Return the shots of one run, where all runs have the same: about four runs for each setting.

    Fewer where runs have a cost. Shares of settings that are rounded to k runs each are off by some 1/k,
    which costs the square of that in shots: a half, for one run each.
    """

    def time(runs: float) -> float:
        spent = 0.0 if cost is None else cost.of(runs * settings, shots)
        return (1 + 0.5 / runs**2) * spent

    runs = PIECES[0] if cost is None else min(PIECES, key=time)
    return max(1, int(shots / (runs * settings)))
