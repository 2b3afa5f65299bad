"""A fleet on a Ray cluster: two shards, a coordinator, and replicas behind Ray Serve.

    pip install "efl-core[ray]" "ray[serve]"
    python examples/fleet_ray.py     # a minute

A process of the cluster is killed on the way, as a machine that fails would end it. Answers go on, and what
was acknowledged counts once.
"""

import os
import signal
import tempfile
from typing import NamedTuple

import numpy as np
import ray
from ray import serve

import efl_core as efl
from efl_core.fleet.cluster import Coordinator, Spread
from efl_core.fleet.ray import start_shards, stop_shards

QUERIES, BATCH = 512, 32
TARGET = np.array([0.9, -0.4])


class Served(NamedTuple):
    answered: int
    """Queries."""
    failed: int
    """Requests that were asked again: those that a replica had at hand when it was killed."""
    taught: int
    """Queries whose labels were counted."""
    steps: int
    before: float
    after: float
    """The mean squared error of answers at the parameters of the beginning, and of the end."""


def model(params=(0.1, 0.5)):
    circuit = efl.Circuit(2, parameters=params)
    x = circuit.input(0.0)
    circuit.ry(x, 0).ry(efl.Parameter(0), 0).clifford("CZ", 0, 1).rx(efl.Parameter(1), 0)
    circuit.observables = (efl.PauliSum("ZI"),)
    return circuit


def exact(params, inputs):
    circuit = model()
    return np.array([efl.propagate(circuit.at(params, [x])).value for x in inputs])


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.1})
class Answers:
    """A replica of Ray Serve is one of the fleet: it answers, and what it measures teaches."""

    def __init__(self, circuit, shards):
        self.replica = efl.fleet.Replica(circuit, Spread(circuit, shards))

    def __call__(self, inputs):
        found = self.replica.answers(inputs)
        return found.value, found.tickets

    def learn(self, tickets, labels):
        return self.replica.feedback(tickets, labels)

    def pid(self):
        return os.getpid()


def run(shards, kill):
    circuit, random = model(), np.random.default_rng(0)
    answered = failed = 0

    def ask(method, *arguments):
        nonlocal failed
        while True:
            try:
                return method.remote(*arguments).result()
            except ray.exceptions.RayError:
                failed += 1
                if failed > 20:
                    raise

    with Coordinator(circuit, shards=shards, inputs=[0.0], loss="squared", seed=1) as learner:
        # Replicas begin when there is a version.
        served = serve.run(Answers.bind(circuit, shards), name="efl-example", route_prefix=None)
        start = learner.params
        for asked in range(0, QUERIES, BATCH):
            if kill and asked == QUERIES // 2:
                os.kill(ask(served.pid), signal.SIGKILL)
            inputs = random.uniform(-1.5, 1.5, (BATCH, 1))
            values, tickets = ask(served, inputs)
            answered += len(values)
            # By any replica: a label that comes before its query waits for it.
            ask(served.learn, tickets, exact(TARGET, inputs[:, 0]))
            if learner.taught >= 64:
                print(learner.step("adam"))
        print(learner.status())
        grid = np.linspace(-1.5, 1.5, 31)
        before, after = (
            float(np.mean((exact(own, grid) - exact(TARGET, grid)) ** 2)) for own in (start, learner.params)
        )
        return Served(answered, failed, learner.counts["taught"], learner.status().steps, before, after)


def main(kill=True):
    with tempfile.TemporaryDirectory() as folder:
        circuit = model()
        shards = start_shards(circuit, folder=folder, shards=2, name="example", inputs=[0.0], loss="squared")
        try:
            return run(shards, kill)
        finally:
            serve.delete("efl-example")
            stop_shards(shards)


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    serve.start(proxy_location="Disabled")  # nobody asks over HTTP here
    print(main())
    serve.shutdown()
    ray.shutdown()
