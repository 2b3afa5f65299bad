"""efl_core's trainer in the race: `efl.Trainer`, with its own choice of a method.

Its hyper-parameters are what a circuit costs beside a shot (nothing, or what it costs in the race), the
learning rate, how large the noise of a step may be beside the gradient, and how far points of the loss are
apart, where it measures those. With random directions and surfaces they are factors of the trainer's own
defaults, and the first trial is the defaults; learning rates of other methods have the unit that opponents'
have. Points of data are drawn by `efl_core.training.Points`.
"""

import sidebyside  # isort: skip (before numpy)  # noqa: F401

import numpy as np
from race_measure import RATIO

import efl_core as efl
from efl_core.training import Adam, Designed, Directions, Points, Surface, natural_length
from efl_core.training.directions import REACH
from efl_core.training.sources import simulated
from efl_core.training.values import Loss

PLANS, METHODS = {}, {}


def _plan(problem):
    if problem.name not in PLANS:
        [loss] = problem.circuits[0].observables
        circuit = problem.circuits[0] if problem.labels is None else _with_inputs(problem)
        PLANS[problem.name] = efl.plan(circuit, loss)
    return PLANS[problem.name]


def _with_inputs(problem):
    """The circuit of a classifier, whose first gates are turned by its inputs."""
    circuit, numbers = efl.Circuit(problem.n, problem.initial(1000)), iter(range(problem.n_parameters))
    for operation in problem.tape.operations:
        wires, name = operation.wires.tolist(), operation.name
        if circuit.n_gates < problem.n:
            circuit.ry(circuit.input(problem.inputs[0, wires[0]]), wires[0])
        elif operation.num_params:
            {"RY": circuit.ry, "RZ": circuit.rz}[name](efl.Parameter(next(numbers)), wires[0])
        else:
            circuit.clifford(name, *wires)
    return circuit


def _method(problem, circuit):
    """What the trainer chooses where a circuit costs so much, at the first of the tuning seeds."""
    key = problem.name, circuit
    if key not in METHODS:
        made = _plan(problem).at(problem.initial(1000))
        METHODS[key] = efl.Trainer(made, cost=efl.Cost(circuit=circuit)).method
    return METHODS[key]


def draw_efl(problem, rng):
    def log(low, high):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    circuit = float(rng.choice([0, RATIO]))
    if _method(problem, 0.0) in ("directions", "surface"):
        scales = {"rate": log(0.4, 2.5), "noise": log(0.4, 2.5), "reach": log(0.6, 1 / 0.6)}
    else:
        scales = {"rate": problem.length * log(0.01, 0.3), "noise": log(2, 20)}
    return {"circuit": circuit, **scales}


def run_efl(problem, seed, hyper, trace):
    made, cost = _plan(problem), efl.Cost(circuit=hyper["circuit"])
    circuit, loss = made.circuit.at(problem.initial(seed)), made.observables[0]
    method, optimizer, noise = _method(problem, hyper["circuit"]), None, None
    if method == "directions":
        method = Directions(circuit, loss, simulated, hyper["reach"] * REACH * natural_length(circuit, loss))
        optimizer, noise = Adam(method.rate * hyper["rate"]), method.noise * hyper["noise"]
    elif method == "surface":
        square = Loss(loss, simulated).square
        length, noisy = hyper["reach"] * natural_length(circuit, loss), not hyper["circuit"]
        method = Surface(problem.initial(seed), length, square, noisy)
    else:
        if problem.labels is None:
            method = Designed(made, simulated)
        else:
            method = Points(made, problem.inputs, problem.weights)
        optimizer, noise = Adam(hyper["rate"]), hyper["noise"]
    options = {"optimizer": optimizer, "noise": noise, "cost": cost, "seed": seed}
    trainer = efl.Trainer(circuit, loss, method=method, **options)
    while not trace.add(*_step(trainer)):
        pass
    return trace


def _step(trainer):
    step = trainer.step()
    return trainer.parameters, step.total_shots, step.total_circuits
