"""Replicas and their learner: what is taught, counted and refused, and that answers do not care."""

import logging
import os
import threading
import time

import numpy as np
import pennylane as qml
import pytest
from tests.fleet.cases import brick, ring

import efl_core as efl
from efl_core.fleet import Fleet, Learner, Replica, Ticket, updates
from efl_core.training import Adam

CIRCUIT = brick(3, 1, outputs="word")
X = np.random.default_rng(3).uniform(-1, 1, (40, 3))
Y = np.where(X[:, 0] > 0, 1.0, -1.0)


def made(loss="logistic", **options):
    learner = Learner(CIRCUIT, loss=loss, inputs=X[0], seed=1, **{"shots": 16, **options})
    return learner, Replica(CIRCUIT, learner, seed=2)


def balanced(counts):
    return counts["admitted"] == sum(
        counts[name] for name in ("taught", "expired", "pending", "answered_only")
    )


def test_an_answer_and_its_label_teach():
    learner, replica = made()
    answer = replica.answer(X[0])
    assert Ticket.read(answer.ticket) == Ticket(2, 1, 0, True)
    assert answer.version == 1
    assert replica.feedback(answer.ticket, 1) == {"taught": 1}
    assert replica.feedback(answer.ticket, 1) == {"unknown_or_used": 1}
    assert learner.counts["taught"] == 1
    gradient = learner.gradient()
    assert gradient.queries == 1
    assert gradient.value.shape == learner.params.shape
    replica.teach(X[1], label=-1)
    assert learner.taught == 2
    report = learner.step("descent")
    assert (report.step, report.version, report.gradient.queries, learner.taught) == (1, 2, 2, 0)
    assert replica.answer(X[0]).version == 2
    replica.close()


def test_expectations_teach_without_labels():
    learner, replica = made("energy")
    replica.answers(X)
    assert replica.flush(5)
    assert learner.taught == 40
    report = learner.step(lambda params, gradient: params - 0.1 * gradient)
    assert (
        abs(report.loss - np.mean([efl.propagate(CIRCUIT.at(CIRCUIT.parameters, x)).value for x in X])) < 0.5
    )
    assert report.loss_stderr > 0
    answer = replica.answer(X[0])
    with pytest.raises(efl.InvalidInputError, match=r"^label: expected none"):
        replica.feedback(answer.ticket, 1)
    with pytest.raises(efl.InvalidInputError, match=r"^gradient: expected none"):
        replica.feedback(answer.ticket, gradient=1.0)
    replica.close()


def test_a_label_may_come_before_its_packet():
    learner, replica = made()
    held = threading.Event()
    submit = learner.submit

    def slow(packet):
        held.wait(10)
        return submit(packet)

    learner.submit = slow
    found = replica.answers(X)
    assert learner.feedback(found.tickets[:30], Y[:30]) == {"early": 30}
    assert learner.feedback(found.tickets[:1], Y[:1]) == {"unknown_or_used": 1}
    assert learner.counts["early"] == 30
    held.set()
    assert replica.flush(5)
    counts = learner.counts
    assert (counts["taught"], counts["pending"], counts["early"]) == (30, 10, 0)
    assert balanced(counts)
    replica.close()


def test_labels_from_any_worker():
    learner, replica = made()
    other = Replica(CIRCUIT, learner, seed=5)
    found = replica.answers(X)
    assert replica.flush(5)
    assert other.feedback(found.tickets, Y) == {"taught": 40}
    replica.close()


def test_late_missing_repeated_and_unknown_labels_are_all_accounted_for():
    learner, replica = made(pending=500)
    random, waiting = np.random.default_rng(0), []
    given = {"taught": 0, "unknown_or_used": 0, "early": 0}
    for query in range(0, 2000, 40):
        found = replica.answers(X)
        replica.flush(5)
        for ticket, label in zip(found.tickets, Y, strict=True):
            if random.random() < 0.3:
                continue
            for _ in range(1 + (random.random() < 0.05)):
                waiting.append((query + random.geometric(1 / 300), ticket, label))
            if random.random() < 0.05:
                stranger = Ticket(int(random.integers(2**63)), 1, int(random.integers(100)))
                waiting.append((query + 1, stranger.text, 1.0))
        ready = [one for one in waiting if one[0] <= query]
        waiting = [one for one in waiting if one[0] > query]
        if ready:
            for name, count in learner.feedback([t for _, t, _ in ready], [y for *_, y in ready]).items():
                given[name] += count
        if learner.taught >= 64:
            learner.step(Adam(0.02))
        assert balanced(learner.counts)
    counts = learner.counts
    assert counts["taught"] == given["taught"] > 500
    assert counts["unknown_or_used"] == given["unknown_or_used"] > 50
    assert counts["expired"] > 0
    assert counts["admitted"] == 2000
    assert given["early"] == 0
    replica.close()


class Away:
    """A learner that cannot be reached, for a while."""

    def __init__(self, learner, wait=0.0):
        self.learner, self.wait, self.is_away = learner, wait, True

    def __getattr__(self, name):
        return getattr(self.learner, name)

    def submit(self, packet):
        if self.is_away:
            time.sleep(self.wait)
            raise ConnectionError("nobody there")
        return self.learner.submit(packet)


def test_answers_go_on_while_the_learner_is_away(caplog):
    learner, other = made()
    other.close()
    away = Away(learner)
    replica = Replica(CIRCUIT, away, seed=3, packet=10, bound=100)
    with caplog.at_level(logging.WARNING, "efl_core"):
        expected = [replica.answer(x).value for x in X]
        for _ in range(5):
            replica.answers(X)
        assert not replica.flush(0.2)
    assert caplog.text.count("the learner is away, and answers go on: ConnectionError: nobody there") == 1
    counts = replica.counts
    assert counts["away"] > 0
    assert counts["waiting"] <= 110
    assert counts["dropped"] + counts["waiting"] == 240
    away.is_away = False
    assert replica.flush(10)
    assert replica.counts["waiting"] == 0
    counts = learner.counts
    assert counts["admitted"] + counts["dropped"] == 240
    assert counts["admitted"] == replica.counts["sent"]
    with Replica(CIRCUIT, learner, seed=3) as same:  # the same answers, with the learner there
        assert [same.answer(x).value for x in X] == expected
    replica.close()


def test_a_learner_is_told_from_a_link_without_asking_it_anything():
    class Loud:
        """A learner that has every name of a link, and may not be asked for any yet."""

        def agree(self, shots, share, serve):
            pass

        def __getattr__(self, name):
            raise LookupError(f"{name} is asked for")

    Replica(CIRCUIT, Loud()).close()  # `close` finds nothing that it would have to hand over


def test_an_answer_does_not_wait_for_the_learner():
    learner, other = made()
    other.close()
    replica = Replica(CIRCUIT, Away(learner, wait=0.5), seed=3, packet=1)
    replica.answer(X[0])
    start = time.perf_counter()
    for x in X:
        replica.answer(x)
    assert time.perf_counter() - start < 5  # and 20 if each waited for a call
    replica.close(timeout=0)


def test_a_query_that_fails_is_not_taught_and_holds_nothing_up():
    def broken(x, theta):
        if x[0] > 5:
            raise ValueError("the model fails here")
        qml.RY(x[0], wires=0)
        qml.RX(theta[0], wires=0)
        return qml.expval(qml.Z(0))

    node = qml.QNode(broken, qml.device("default.qubit", wires=1))
    learner = Learner(node, np.array([0.4]), loss="squared", inputs=np.array([0.1]), seed=1)
    with Replica(node, learner) as replica:
        first = replica.answer(np.array([0.1]))
        with pytest.raises(ValueError, match="the model fails here"):
            replica.answer(np.array([9.0]))
        last = replica.answer(np.array([0.2]))
        assert replica.feedback([first.ticket, last.ticket], [0.5, 0.5]) == {"taught": 2}
    assert learner.counts["dropped"] == 1
    assert replica.counts["dropped"] == 1


def test_replicas_in_threads_lose_nothing():
    learner, replica = made("energy")
    threads = [threading.Thread(target=lambda: [replica.answer(x) for x in X]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replica.flush(10)
    assert learner.counts["admitted"] == learner.taught == 160
    replica.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")
def test_a_forked_worker_is_another_replica():
    _, replica = made("energy")
    name = Ticket.read(replica.answer(X[0]).ticket).replica
    replica.flush(5)
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        ticket = Ticket.read(replica.answer(X[0]).ticket)
        os.write(writing, b"another" if ticket.replica != name and ticket.sequence == 0 else b"the same")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100) == b"another"
    replica.close()


def test_how_shots_are_split_is_one_for_a_fleet():
    learner, replica = made(shots=32, share=0.5)
    split = learner.version.roster.split
    assert (split.answer_shots, split.teach_shots, split.settings) == (16, 16, 4)
    assert replica.answer(X[0]).stderr > 0
    Replica(CIRCUIT, learner, shots=32, share=0.5)
    for name, value in (("shots", 16), ("share", 0.25), ("serve", "gentle")):
        with pytest.raises(efl.InvalidInputError, match=rf"^{name}: expected .* as everywhere in this fleet"):
            Replica(CIRCUIT, learner, **{name: value})
    first = Learner(CIRCUIT, loss="logistic")
    Replica(CIRCUIT, first, shots=8, share=0.5)
    assert first.open((X[0],)).roster.split.teach_shots == 4
    replica.close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"share": 1.0}, r"^share: expected a part of the shots"),
        ({"share": -0.1}, r"^share: expected a part of the shots"),
        ({"share": float("nan")}, r"^share: expected a part of the shots"),
        ({"shots": 0}, r"^shots: expected an integer from 1"),
        (
            {"shots": 16, "share": 0.25, "settings": 3},
            r"^settings: expected a divisor of the 4 teaching shots",
        ),
        ({"shots": 2, "share": 0.9}, r"^share: expected one that leaves some of 2 shots"),
        ({"serve": "both"}, r"^serve: expected 'split' or 'gentle', got 'both'"),
        ({"loss": "cubic"}, r"^loss: expected one of"),
        ({"method": "uniform"}, r"^method: expected 'auto' or one of"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(efl.InvalidInputError, match=message):
        Learner(CIRCUIT, inputs=X[0], **options)


def test_few_shots_mean_that_some_queries_teach():
    learner, replica = made("energy", shots=2, share=0.25)
    replica.answers(np.tile(X, (10, 1)))
    assert replica.flush(5)
    counts = learner.counts
    assert balanced(counts)
    assert abs(counts["taught"] - 200) < 45  # half of 400, and 4.5 standard deviations
    assert learner.price.stretch == pytest.approx(np.sqrt(2 / 1.5))
    replica.close()
    learner, replica = made(shots=2, share=0.25)
    found = replica.answers(np.tile(X, (10, 1)))
    told = replica.feedback(found.tickets, np.tile(Y, 10))
    assert told["taught"] + told["answered_only"] == 400
    replica.close()


def test_learning_can_be_switched_off():
    learner, replica = made(share=0)
    answer = replica.answer(X[0])
    assert abs(answer.value) <= 1
    assert "nothing is taught" in str(learner.price)
    for call in (learner.gradient, lambda: learner.step("adam"), lambda: replica.feedback(answer.ticket, 1)):
        with pytest.raises(efl.InvalidInputError, match=r"^share: expected above 0"):
            call()
    assert replica.counts["waiting"] == 0
    replica.close()


@pytest.mark.parametrize(
    ("tickets", "label", "gradient", "message"),
    [
        ("nonsense", 1, None, r"^ticket: expected the 32 letters"),
        (["A" * 32, "A" * 31], [1, 1], None, r"^ticket: expected the 32 letters"),
        (b"bytes", 1, None, r"^ticket: expected a ticket, or a sequence"),
        (3, 1, None, r"^ticket: expected a ticket, or a sequence"),
        ("A" * 32, None, None, r"^label: expected a label or a gradient, got none"),
        ("A" * 32, 1, 1.0, r"^label: expected a label or a gradient, got both"),
        ("A" * 32, float("nan"), None, r"^label: expected finite numbers"),
        ("A" * 32, [1, 1], None, r"^label: expected a number for each of 1 queries"),
        ("A" * 32, None, float("inf"), r"^gradient: expected finite numbers"),
        ("A" * 32, None, [1.0, 2.0], r"^gradient: expected shape \(1, 1\)"),
    ],
)
def test_feedback_is_checked_and_refused_whole(tickets, label, gradient, message):
    learner, replica = made()
    found = replica.answers(X)
    replica.feedback(found.tickets[:20], Y[:20])
    before = learner.counts
    with pytest.raises(efl.EflError, match=message):
        replica.feedback(tickets, label, gradient=gradient)
    assert learner.counts == before
    replica.close()


def test_a_bad_update_leaves_everything_as_it_was():
    learner, replica = made()
    found = replica.answers(X)
    replica.feedback(found.tickets, Y)
    before, value = learner.params, learner.gradient().value
    for update in (
        lambda params, gradient: params * np.nan,
        lambda params, gradient: params[:-1],
        lambda params, gradient: params * 1j,
        lambda params, gradient: 1 / 0,
    ):
        with pytest.raises((efl.EflError, ZeroDivisionError)):
            learner.step(update)
    with pytest.raises(efl.InputTypeError, match=r"^update: expected a function"):
        learner.step(3)
    assert (learner.params == before).all()
    assert (learner.gradient().value == value).all()
    assert learner.version.number == 1
    with pytest.raises(efl.ShapeError, match=r"^params: expected shape"):
        learner.publish(before[:-1])
    with pytest.raises(efl.InvalidInputError, match=r"^params: expected finite"):
        learner.publish(before * np.inf)
    learner.step("descent")
    with pytest.raises(efl.InvalidInputError, match=r"^queries: expected a contribution"):
        learner.step("descent")
    replica.close()


def test_late_contributions_are_read_with_their_own_version():
    """Labels of three versions at once: the gradient is the mean over queries, and says how old they are."""
    learner, replica = made()
    found = []
    for shift in (0.1, 0.2, 0.0):
        found.append(replica.answers(X))
        replica.flush(5)
        learner.publish(CIRCUIT.parameters + shift)
    parts = []
    for answers in found:
        replica.feedback(answers.tickets, Y)
    for version in (1, 2, 3):
        value, _, queries, _ = learner._machine.gradient(version, version)
        assert queries == 40
        parts.append(value)
    gradient = learner.gradient()
    assert gradient.queries == 120
    assert gradient.age == pytest.approx(2.0)
    assert gradient.value == pytest.approx(np.mean(parts, axis=0))
    assert learner.gradient(window=2).value == pytest.approx(parts[2])
    faded = learner.gradient(decay=0.5)
    assert faded.value == pytest.approx(np.average(parts, axis=0, weights=[0.25, 0.5, 1]))
    report = learner.step("descent", decay=0.5)
    assert report.gradient.value == pytest.approx(faded.value)
    replica.close()


def test_what_comes_after_its_version_is_given_up_expires():
    learner, replica = made(keep=2)
    found = replica.answers(X)
    replica.flush(5)
    for shift in (0.1, 0.2):
        learner.publish(CIRCUIT.parameters + shift)
    assert replica.feedback(found.tickets, Y) == {"unknown_or_used": 40}
    assert learner.counts["expired"] == 40
    replica.close()


def test_training_steps_whenever_enough_has_been_taught():
    learner, replica = made("energy")
    reports = learner.train(Adam(0.1), queries=40, steps=5, timeout=30, canary=None)
    for step in range(1, 6):
        replica.answers(X)
        report = next(reports)
        assert (report.step, report.gradient.queries) == (step, 40)
    assert next(reports, None) is None
    assert set(report.to_dict()) >= {"loss", "gradient_norm", "queries", "label_rate", "taught"}
    assert "gradient" in str(report)
    with pytest.raises(
        efl.ResourceLimitError, match=r"^timeout: expected 8 queries that teach within 0.05 s"
    ):
        next(learner.train("adam", queries=8, timeout=0.05))
    with pytest.raises(efl.InvalidInputError, match=r"^canary: expected a part of the queries"):
        next(learner.train("adam", queries=8, canary=1.0))
    replica.close()


def test_reports_say_when_labels_are_too_rare():
    learner, replica = made(share=0.5)
    found = replica.answers(X)
    replica.feedback(found.tickets[:4], Y[:4])
    rare = learner.step("descent")
    assert rare.label_rate == pytest.approx(0.1)
    assert not rare.is_worth_it
    assert "teach anew" in str(rare)
    replica.feedback(found.tickets[4:], Y[4:])
    assert learner.step("descent").is_worth_it
    replica.close()


def test_late_labels_are_not_rare_ones():
    """All labels come, four batches late: at each step a fraction of the queries waits for its own."""
    learner, replica = made(share=0.5)
    waiting, reports = [], []
    for _ in range(12):
        waiting.append(replica.answers(X).tickets)
        replica.flush(5)
        if len(waiting) > 4:
            learner.feedback(waiting.pop(0), Y)
            reports.append(learner.step("descent"))
    assert all(report.label_rate > 0.6 for report in reports[4:])
    assert reports[-1].gradient.age == pytest.approx(4)
    replica.close()


def test_the_price_is_known_beforehand():
    learner, replica = made(shots=64, share=0.25)
    price = learner.price
    assert price.stretch == pytest.approx(np.sqrt(4 / 3))
    assert price.worth == 0.25
    assert price.queries(0.1) == int(np.ceil(price.variance / 0.01))
    text = str(price)
    assert "worth it if more than 25%" in text
    assert "1.155" in text
    with pytest.raises(efl.InvalidInputError, match=r"^error: expected a number above zero"):
        price.queries(0)
    with pytest.raises(efl.InvalidInputError, match=r"^inputs: expected .* none yet"):
        Learner(CIRCUIT).price  # noqa: B018 (a property)
    replica.close()


@pytest.mark.parametrize("name", ["pennylane", "optax", "torch", "adam", "function"])
def test_optimisers_of_others_make_the_same_step(name):
    """Adam by four of them."""
    params, gradients = np.array([[0.3, -0.2]]), [np.array([[0.4, -1.0]]), np.array([[0.1, 0.3]])]
    own = Adam(0.1, beta2=0.999)
    if name == "pennylane":
        update = updates.of_pennylane(qml.AdamOptimizer(0.1, beta2=0.999))
    elif name == "optax":
        update = updates.of_optax(pytest.importorskip("optax").adam(0.1))
    elif name == "torch":
        torch = pytest.importorskip("torch")
        update = updates.of_torch(lambda p: torch.optim.Adam(p, lr=0.1))
    else:
        update = updates.read_update(Adam(0.1, beta2=0.999) if name == "adam" else own.update)
        own = Adam(0.1, beta2=0.999)
    mine = theirs = params
    for gradient in gradients:
        mine, theirs = own.update(mine, gradient), update(theirs, gradient)
    assert theirs == pytest.approx(mine, abs=1e-5)  # optax computes in single precision
    assert theirs.shape == params.shape


def test_a_named_optimiser_keeps_its_state():
    steps = []
    for update in ("adam", Adam(0.1)):
        learner, replica = made("energy")
        for _ in range(3):
            replica.answers(X)
            replica.flush(5)
            learner.step(update)
        steps.append(learner.params)
        replica.close()
    assert (steps[0] == steps[1]).all()


def test_a_fleet_in_threads_learns():
    """Half of the squared loss is gone after 30 steps, whatever the order of threads (5 seeds tried)."""
    circuit = ring(3, 1)
    inputs = np.random.default_rng(1).uniform(-1, 1, (1920, 3))
    target = circuit.at(circuit.parameters + 0.6)
    labels = np.array([efl.propagate(target.at(target.parameters, x)).value for x in inputs])
    with Fleet(circuit, replicas=3, loss="squared", shots=32, seed=1) as fleet:
        reports = list(fleet.run(inputs, labels, Adam(0.1), queries=64))
        assert len(reports) == 30
        assert fleet.answer(inputs[0]).version == 31
        assert fleet.learner.counts["taught"] == 1920
    before, after = (
        np.mean(
            [
                (efl.propagate(circuit.at(p, x)).value - y) ** 2
                for x, y in zip(inputs[:100], labels[:100], strict=True)
            ]
        )
        for p in (circuit.parameters, fleet.learner.params)
    )
    assert after < before / 2


def test_the_same_seed_gives_the_same_fleet():
    def run():
        learner, replica = made()
        for start in range(0, 40, 8):
            found = replica.answers(X[start : start + 8])
            replica.feedback(found.tickets, Y[start : start + 8])
            learner.step(lambda params, gradient: params - 0.1 * gradient)
        replica.close()
        return learner.params

    assert (run() == run()).all()


def test_names():
    assert efl.Fleet is Fleet
    assert efl.fleet.Replica is Replica
    assert "Fleet" in dir(efl)
    with pytest.raises(efl.InputTypeError, match=r"^qnode: expected a PennyLane QNode or a Circuit"):
        Learner(lambda x: x)
    with pytest.raises(efl.InvalidInputError, match=r"^circuit: expected one with observables"):
        Learner(efl.Circuit(1, parameters=[0.1]).ry(efl.Parameter(0), 0), inputs=())
