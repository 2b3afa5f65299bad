"""A fleet: reading packets of bits, and a million replicas with one packet each. One thread.

Brickwork on 10 qubits, one vector observable, the Clifford settings of its plan; a query has 48 answer shots
and 16 teaching shots in 4 settings. Seconds are those of the processor, which other work on the machine does
not lengthen as it does those of a clock.

- reading: a packet is decoded, every query is contracted with its weight, and the sums are added up exactly.
  Its twin in numpy is given the bits unpacked and the tables of the settings for nothing: the parities of
  words by a product of matrices, and a contraction, query by query as they come. Grouped is the same for all
  queries that run a setting at once, which a learner can do when it has all their weights.
- weighing: the same by way of a machine, which joins tickets with their queries.
- a million: every replica joins, makes a packet of one query, which is admitted and counted. Memory is what
  the process takes more of at its height than before.

Goals: 3e7 shots per second read, shots of answers included, and 50 times as fast as the twin; a million
replicas in 20 s and 500 MB.

    python benches/python/bench_fleet.py [--smoke] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import resource
import time

import numpy as np

import efl_core as efl
from efl_core._native import FleetMachine, FleetReader, FleetVersion

N, LAYERS, ANSWER, TEACH, SETTINGS = 10, 3, 48, 16, 4


def brickwork():
    """The circuit at random angles."""
    angles = np.random.default_rng(1).uniform(-3, 3, 2 * N * LAYERS)
    circuit = efl.Circuit(N, parameters=angles)
    for wire in range(N):
        circuit.ry(0.1 + wire, wire)
    for layer in range(LAYERS):
        for wire in range(N):
            circuit.ry(efl.Parameter(2 * (N * layer + wire)), wire)
            circuit.rz(efl.Parameter(2 * (N * layer + wire) + 1), wire)
        for wire in [*range(0, N - 1, 2), *range(1, N - 1, 2)]:
            circuit.clifford("CZ", wire, wire + 1)
    return circuit


def roster(circuit):
    """Version and reader of the list of Clifford settings, and its experiments."""
    observable = efl.PauliSum({"I" * q + "Z" + "I" * (N - 1 - q): N**-0.5 for q in range(N)})
    experiments = efl.plan(circuit, observable).experiments("clifford")
    version = FleetVersion(
        fleet=7,
        number=0,
        seed=3,
        n_qubits=N,
        answer_shots=ANSWER,
        teach_shots=TEACH,
        settings=SETTINGS,
        shares=[share for _, share in experiments],
    )
    make = {
        "n_outputs": 1,
        "n_parameters": circuit.n_parameters,
        "entries": [experiment._native for experiment, _ in experiments],
        "answers": [(efl.Setting("Z" * N), ANSWER, [(0, observable)])],
    }
    return version, make, [experiment for experiment, _ in experiments]


def processor(run, rounds):
    """The least of the seconds of the processor over some rounds, and the last result."""
    least = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        result = run()
        least = min(least, time.process_time() - start)
    return least, result


def tables(experiments, shares, n_parameters):
    """For each entry the masks of its words (words, qubits) and their coefficients (words, parameters)."""
    found = []
    for experiment, share in zip(experiments, shares, strict=True):
        words, table = {}, []
        for k, (_, parameter) in enumerate(experiment.derivatives):
            for word, coefficient in experiment.reading(k).terms():
                table.append((words.setdefault(word.label, len(words)), parameter, coefficient))
        masks, coefficients = np.zeros((len(words), N)), np.zeros((len(words), n_parameters))
        signs = np.zeros(len(words))
        for label, i in words.items():
            bits, signs[i] = experiment.setting.reveal(label)
            masks[i, bits] = 1
        for i, parameter, coefficient in table:
            coefficients[i, parameter] += signs[i] * coefficient / (share * TEACH)
        found.append((masks, coefficients))
    return found


def twin(entries, tables, teaches, weights, n_parameters):
    """Mean and squares of the contributions of all queries, one after the other."""
    shots = TEACH // SETTINGS
    gradient = np.zeros((len(weights), n_parameters))
    for query in range(len(weights)):
        for j, entry in enumerate(entries[query]):
            masks, coefficients = tables[entry]
            bits = teaches[query, j * shots : (j + 1) * shots]
            gradient[query] += (1 - 2 * ((bits @ masks.T) % 2)).sum(axis=0) @ coefficients
    gradient *= weights
    return gradient.sum(axis=0), (gradient**2).sum(axis=0)


def grouped(entries, tables, teaches, weights, n_parameters):
    """The same, setting by setting."""
    bits = teaches.reshape(len(teaches), SETTINGS, TEACH // SETTINGS, N)
    gradient = np.zeros((len(weights), n_parameters))
    for entry, (masks, coefficients) in enumerate(tables):
        queries, settings = np.nonzero(entries == entry)
        sums = (1 - 2 * ((bits[queries, settings] @ masks.T) % 2)).sum(axis=1)
        np.add.at(gradient, queries, sums @ coefficients)
    gradient *= weights
    return gradient.sum(axis=0), (gradient**2).sum(axis=0)


def reading(report, circuit, version, make, experiments):
    report.title("reading")
    reader = FleetReader(version, **make)
    queries, rng = 200 if report.smoke else 4_000, np.random.default_rng(2)
    answers = rng.integers(0, 2, (queries, ANSWER, N), dtype=np.uint8)
    teaches = rng.integers(0, 2, (queries, TEACH, N), dtype=np.uint8)
    weights = rng.normal(size=(queries, 1))
    own = {"replica": 5, "incarnation": 1, "first": 0, "queries": queries}
    encode, packet = processor(
        lambda: version.encode(**own, answers=answers, teaches=teaches), 1 if report.smoke else 5
    )
    rounds = 1 if report.smoke else 15
    seconds, tally = processor(lambda: reader.tally(packet, weights), rounds)
    tickets = (
        np.full(queries, 5, np.uint64),
        np.full(queries, 1, np.uint32),
        np.arange(queries, dtype=np.uint64),
    )

    def weigh():
        machine = FleetMachine(fleet=7, n_outputs=1, n_parameters=circuit.n_parameters)
        machine.publish(reader)
        machine.join(5)
        assert machine.submit(packet)[0] is None
        machine.weights(*tickets, weights)
        return machine.take(0, 0)[0][2]

    weighing, weighed = processor(weigh, rounds)
    table = tables(experiments, version.shares, circuit.n_parameters)
    entries = version.entries(5, 1, 0, queries)
    bits = teaches.astype(np.float32)
    own = (entries, table, bits, weights, circuit.n_parameters)
    once = 1 if report.smoke else 3
    slow, (total, squares) = processor(lambda: twin(*own), once)
    together, other = processor(lambda: grouped(*own), once)
    shots = queries * (ANSWER + TEACH)
    report.figure("a reader", reader.nbytes / 1e3, "KB")
    report.figure("bytes of a query", len(packet) / queries, "B")
    report.figure("made", encode / queries * 1e6, "us a query")
    report.figure("read", seconds / queries * 1e6, "us a query")
    rate, ratio = shots / seconds, slow / seconds
    report._judge("read on one thread", f"{rate:.3g} shots/s", rate, at_least=3e7)
    report._judge("the twin takes", f"{ratio:,.0f}x as long", ratio, at_least=50)
    report.figure("the twin, grouped", together / seconds, "times as long")
    report.figure("admitted and weighed", weighing / queries * 1e6, "us a query")
    report.check("reader and machine have the same bits", weighed == tally)
    mean, error = tally.gradient
    report.close(mean, total / queries, "reader and twin, means")
    expected = np.sqrt((squares / queries - (total / queries) ** 2) / (queries - 1))
    report.close(error, expected, "reader and twin, errors")
    report.close(other, (total, squares), "twin and grouped twin")


def million(report, circuit, version, make):
    report.title("a million replicas")
    replicas, rng = 2_000 if report.smoke else 1_000_000, np.random.default_rng(3)
    pool = 64
    answers = rng.integers(0, 2, (pool, 1, ANSWER, N), dtype=np.uint8)
    teaches = rng.integers(0, 2, (pool, 1, TEACH, N), dtype=np.uint8)
    reader = FleetReader(version, **make, weights=np.array([0.5]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    machine = FleetMachine(fleet=7, n_outputs=1, n_parameters=circuit.n_parameters)
    machine.publish(reader)

    def run():
        encode, join, submit = version.encode, machine.join, machine.submit
        for replica in range(replicas):
            packet = encode(
                replica=replica,
                incarnation=join(replica),
                first=0,
                queries=1,
                answers=answers[replica % pool],
                teaches=teaches[replica % pool],
            )
            submit(packet)

    seconds, _ = processor(run, 1)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    counts = machine.counts
    report.check("every query is counted", counts["taught"] == counts["replicas"] == replicas)
    report.figure("joined, made, admitted, counted", seconds, "s", at_most=20)
    report.figure("memory", grown / 1e3, "MB", at_most=500)
    report.figure("of that, held by the machine", machine.nbytes / 1e6, "MB")


def main(report):
    circuit = brickwork()
    version, make, experiments = roster(circuit)
    reading(report, circuit, version, make, experiments)
    million(report, circuit, version, make)


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0])
