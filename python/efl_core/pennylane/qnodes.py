"""Plans of QNodes: what their gradients cost, by their own arguments, and which method will be run.

A plan of a QNode is that of the gradient transform: the same circuit, the same kept plan, the same choice.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

from efl_core.chains import Chain
from efl_core.circuits import Circuit, given_sums
from efl_core.designs import read_goal
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable
from efl_core.pennylane.differentiated import recorded, slopes_of
from efl_core.pennylane.execution import known_cost
from efl_core.pennylane.jobs.compared import Compared
from efl_core.pennylane.jobs.mixed import live_words, shares_of, words_tape
from efl_core.pennylane.jobs.whole import read_projectors
from efl_core.pennylane.options import Options
from efl_core.pennylane.planning import Figure, best_base
from efl_core.pennylane.projector_plans import ProjectorPlan
from efl_core.pennylane.tapes import from_qnode, from_tape
from efl_core.pennylane.tapes.conversion import converted, one_tape
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.operations import MEASURED_MIDWAY
from efl_core.pennylane.tapes.projectors import has_projector
from efl_core.pennylane.transforms import expand
from efl_core.plans import Plan, PlanOptions, made_plan

__all__ = ["plan_qnode", "tape_of"]


def plan_qnode(
    qnode: qml.QNode, observables: Observable | Iterable[Observable] | None, options: PlanOptions
) -> Callable[..., Plan]:
    """Return a function of the QNode's arguments that plans its gradient by them; see `efl_core.plan`."""
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"circuit: expected a Circuit or a PennyLane QNode, got {type(qnode).__name__}")

    def planned(*args: object, **kwargs: object) -> Plan:
        def build(*values: object) -> Sequence[QuantumScript]:
            return [tape_of(qnode, values, kwargs, midway=True)]

        trained = sorted(qml.math.get_trainable_indices(args))
        autograd = [i for i in trained if qml.math.get_interface(args[i]) == "autograd"]
        [tape] = recorded(build, args, autograd) if autograd else build(*args)
        if has_projector(tape.measurements):
            of_projectors: Any = _of_projectors(tape, qnode, observables, options)
            return of_projectors  # type: ignore[no-any-return] # what is read of a plan is there
        circuit = from_tape(tape, wires=qnode.device.wires, inputs=True, noise=options.noise)
        if not circuit.n_parameters:  # it says so, and of some observables the gates can be anything
            plain = from_qnode(qnode, noise=options.noise)(*args, **kwargs)
            return made_plan(plain, observables, replace(options, noise=None), of_qnode=True)
        return _of_words(tape, circuit, qnode, observables, options)

    return planned


def _of_words(
    tape: QuantumScript,
    circuit: Circuit,
    qnode: qml.QNode,
    observables: Observable | Iterable[Observable] | None,
    options: PlanOptions,
) -> Plan:
    """Plan the gradient of a tape whose circuit this is."""
    state, averages = options.state, replace(options, state=None, noise=None)
    sums, _ = given_sums(circuit, observables)
    circuit.observables = tuple(sums)
    chain = _chain(tape, circuit)
    shape = len(sums), circuit.n_parameters if chain is None else chain.slopes.shape[1]
    _, weights = read_goal(options.goal, shape)
    own = averages if weights is None else replace(averages, goal=weights.reshape(shape))
    if own.cost is None:
        own = replace(own, cost=known_cost(qnode.device, None))
    base, known = best_base(circuit, own, chain, Figure(own.cost, math.inf, own.target))
    first = base.through(chain, circuit, known.promising, options=own)
    made = base.through(chain, circuit, options=own, first=first)
    return made if state is None else made.at_state(state)


def _of_projectors(
    tape: QuantumScript, qnode: qml.QNode, observables: object, options: PlanOptions
) -> ProjectorPlan:
    """Plan the gradient of wide projectors, beside the plan of whatever else the tape asks for."""
    usual = PlanOptions()
    given = [
        f.name for f in fields(usual) if not np.array_equal(getattr(options, f.name), getattr(usual, f.name))
    ]
    others = [name for name in given if name not in ("target", "state", "cost", "noise")]
    if observables is not None or others:
        name = "observables" if observables is not None else others[0]
        raise InvalidInputError(
            f"{name}: expected none where a projector is on more than four wires, whose plan has target=, "
            'cost=, noise= and state="prepared"'
        )
    at_state = isinstance(options.state, str) and options.state == "prepared"
    if options.state is not None and (not at_state or options.noise is not None):
        raise InvalidInputError(
            f'state: expected none, or "prepared" without noise=, for a projector, got {options.state!r:.40}'
        )
    slopes = slopes_of(tape)
    cost = known_cost(qnode.device, None) if options.cost is None else options.cost
    asked = Options(target=options.target, noise=options.noise, cost=cost)
    split, whole = read_projectors(tape, asked)
    compared = Compared(whole, slopes, at_state, options.target)
    if not split.words:
        return ProjectorPlan(compared, cost)
    words, _ = words_tape(tape, split)
    circuit = from_tape(words, wires=whole.circuit.wires, inputs=True, noise=options.noise)
    plan = _of_words(words, circuit, qnode, None, options)
    plan.of_qnode = False  # whose shots are those of both
    outputs = converted(with_numbers(QuantumScript([], words.measurements)), wires=circuit.wires)[1]
    best = ProjectorPlan(compared, cost).best
    shares = shares_of(
        tape,
        split,
        outputs,
        (live_words(plan, compared.weights), plan.best.cost),
        (compared.live, best.cost),
    )
    return ProjectorPlan(compared, cost, plan, shares)


def tape_of(
    qnode: qml.QNode, args: Sequence[object], kwargs: dict[str, object], *, midway: bool = False
) -> QuantumScript:
    """Return the tape of a QNode as a gradient transform sees it.

    Measurements ``midway`` are moved to wires of their own, or refused where those may not be there.
    """
    tape = one_tape(qnode, args, kwargs)
    if not midway and any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations):
        raise InvalidInputError(
            "qnode: expected gates and channels, got a circuit that is measured midway; apply "
            "qml.defer_measurements"
        )
    if tape.batch_size is not None or not tape.trainable_params:
        return tape  # which `from_tape` refuses, or which needs no more
    return next(iter(expand(tape)[0]))


def _chain(tape: QuantumScript, circuit: Circuit) -> Chain | None:
    """Return the chain rule from parameters of the circuit to arguments; None where they are the same."""
    slopes = slopes_of(tape)
    if slopes is None:
        return None
    n_gates = len(tape.operations)
    of_gates = [t for t in range(len(slopes)) if tape.get_operation(t)[1] < n_gates]
    own = slopes[of_gates]
    if len(own) != circuit.n_parameters:
        raise InvalidInputError(
            "args: expected trained parameters of gates that are angles, got an array; hand data over as "
            "plain numpy arrays, and normalise states before"
        )
    same = own.shape[0] == own.shape[1] and bool((own == np.eye(len(own))).all())
    return None if same else Chain(np.ascontiguousarray(own), own != 0)
