"""`plan`: from a circuit or a QNode to a `Plan`."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from numbers import Number
from typing import TYPE_CHECKING, Unpack, overload

from efl_core import _native
from efl_core.arguments import described
from efl_core.circuits import Circuit, given_sums
from efl_core.designs import read_goal
from efl_core.errors import InputTypeError
from efl_core.noise import Noise
from efl_core.observables import Observable
from efl_core.plans.options import PlanKeywords, PlanOptions
from efl_core.plans.plan import Plan

if TYPE_CHECKING:
    from pennylane import QNode

__all__ = ["made_plan", "plan"]


@overload
def plan(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Plan: ...
@overload
def plan(
    circuit: "QNode",
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Callable[..., Plan]: ...
def plan(
    circuit: "Circuit | QNode",
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Plan | Callable[..., Plan]:
    """Compare the ways of measuring the gradient of a circuit, and design each for it.

    Parameters
    ----------
    circuit
        The circuit at its current parameters; or a PennyLane QNode, and then the result is a function of the
        QNode's arguments that returns the plan: of derivatives by the arguments, and the best method is the
        one that `efl.shadow_grad` runs. A QNode that answers with projectors on more than four wires has a
        plan of two rows, random bases of all qubits and parameter-shift, beside the plan of whatever else it
        answers with; its options are ``target``, ``cost``, ``noise`` and ``state="prepared"``.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    target
        The RMS error over the derivatives that are not identically zero; 0.01 if not given.
    goal
        What designs make small: the ``"mean"`` of the variances (if not given), the largest (``"max"``), or a
        mean with the weights of an array of shape ``(n_observables, n_parameters)``; an upstream gradient is
        squared by the caller. A derivative of weight 0 is not measured.
    value_weight
        Weight of the values of the observables in designs on the final state, beside one for all derivatives;
        0 if not given.
    connectivity
        Two-qubit gates that settings may use: between ``"all"`` pairs (if not given), neighbours on a
        ``"line"``, or ``"none"``.
    effort
        Bound on each search for settings, in words visited; the default takes about a second.
    max_terms
        Derivatives with more words are left to echoes and shifts; the methods that then are not complete have
        bounds.
    max_settings
        Most circuits and settings of a method, where each costs a compilation: designs are thinned to it, and
        methods that need more do not apply.
    cost
        An `efl.Cost`, what circuits and shots take: the best method then is the one that reaches the target
        in the least time, and the table has that time.
    state
        What the figures, the shares and the choice of the best method are for: ``"prepared"``, a state
        vector, a product state or an `efl.Memory`, as in `Plan.at_state`; the average over all states if not
        given. For a QNode the method that a gradient takes is that of the average; name another one in
        ``method=``.
    noise
        What the device does by itself after each gate, an `efl.Noise` (or, for a QNode, a
        ``qml.NoiseModel``): figures then are those of the derivatives of the noisy value.
    mitigate
        Whether derivatives are those without what the device does by itself (`Circuit.noise`), read on the
        state that it leaves: settings only, with larger coefficients.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ", target=0.02)
    >>> plan
    Plan(2 qubits, 2 parameters, best='product', shots=2500, target=0.02)
    >>> plan["uniform"].shots
    7500
    """
    if isinstance(circuit, Circuit):
        return made_plan(circuit, observables, PlanOptions(**options), of_qnode=False)
    if not callable(circuit):
        raise InputTypeError.of("circuit", "a Circuit or a PennyLane QNode", described(circuit))
    _refuse_arguments(observables)
    from efl_core.pennylane import plan_qnode

    return plan_qnode(circuit, observables, PlanOptions(**options))


def made_plan(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None,
    options: PlanOptions,
    *,
    of_qnode: bool,
) -> Plan:
    """Plan for a circuit at its angles."""
    sums, _ = given_sums(circuit, observables)
    circuit = circuit.copy() if options.noise is None else _noisy(circuit, options.noise)  # a copy
    goal, weights = read_goal(options.goal, (len(sums), circuit.n_parameters))
    native = _native.Plan(
        circuit=circuit._native,
        theta=circuit._theta,
        observables=sums,
        bloch=circuit.bloch,
        goal=goal,
        weights=weights,
        value_weight=options.value_weight,
        valued=options.valued,
        connectivity=options.connectivity,
        mitigated=bool(options.mitigate),
        **options.limits(),
    )
    made = Plan(native, circuit, sums, replace(options, state=None, noise=None), of_qnode=of_qnode)
    return made if options.state is None else made.at_state(options.state)


def _noisy(circuit: Circuit, noise: object) -> Circuit:
    """Return a circuit on a noisy device."""
    if not isinstance(noise, Noise):
        raise InputTypeError.of("noise", "an efl.Noise for a circuit, or a QNode", described(noise))
    return noise.on(circuit)


def _refuse_arguments(observables: object) -> None:
    """Refuse numbers, which were meant for the QNode."""
    items = observables if isinstance(observables, (list, tuple)) else [observables]
    if any(isinstance(item, Number) or hasattr(item, "dtype") for item in items):
        raise InputTypeError.of(
            "observables",
            "Pauli words or sums",
            f"{described(observables)} (for the QNode? write efl.plan(qnode)(theta))",
        )
