"""The door of the fleet: arrays in, packets and tallies out, and errors that name their argument."""

import itertools
import threading

import numpy as np
import pytest

import efl_core as efl
from efl_core._native import (
    FLEET_OUTCOMES,
    FLEET_REFUSALS,
    FleetMachine,
    FleetReader,
    FleetTally,
    FleetVersion,
    fleet_gradient,
)

N, ANSWER, TEACH, SETTINGS = 3, 7, 6, 2
SHARES = [0.5, 0.2, 0.3]
LETTERS = ["XYZ", "ZZZ", "YXX"]
WORDS = [["XYI", "IIZ"], ["ZZZ", "ZII"], ["IXX", "YIX"]]


def version(**changes):
    fields = {
        "fleet": 1,
        "number": 0,
        "seed": 3,
        "n_qubits": N,
        "answer_shots": ANSWER,
        "teach_shots": TEACH,
        "settings": SETTINGS,
        "shares": SHARES,
    }
    return FleetVersion(**{**fields, **changes})


def entries():
    return [
        (efl.Setting(letters), [(k, efl.PauliSum({word: k + 1.5})) for k, word in enumerate(words)], [])
        for letters, words in zip(LETTERS, WORDS, strict=True)
    ]


def reader(number=0, **changes):
    fields = {
        "n_outputs": 1,
        "n_parameters": 2,
        "entries": entries(),
        "answers": [(efl.Setting("ZZZ"), ANSWER, [(0, efl.PauliSum({"ZIZ": 1.0}))])],
    }
    return FleetReader(version(number=number), **{**fields, **changes})


def bits(queries, seed=0):
    rng = np.random.default_rng(seed)
    shape = (queries, ANSWER + TEACH, N)
    both = rng.integers(0, 2, shape, dtype=np.uint8)
    return both[:, :ANSWER], both[:, ANSWER:]


def packet(queries=5, replica=9, first=0, made=None, seed=0, **changes):
    answers, teaches = bits(queries, seed)
    return (made or version()).encode(
        replica=replica,
        incarnation=1,
        first=first,
        queries=queries,
        answers=answers,
        teaches=teaches,
        **changes,
    )


def machine(**changes):
    made = FleetMachine(**{"fleet": 1, "n_outputs": 1, "n_parameters": 2, **changes})
    made.publish(reader())
    return made


def tickets(replica, sequences):
    sequences = np.asarray(sequences, np.uint64)
    return np.full(len(sequences), replica, np.uint64), np.ones(len(sequences), np.uint32), sequences


def test_contributions_are_readings_divided_by_shares():
    queries, made = 20, version()
    _, teaches = bits(queries)
    weights = np.linspace(-1, 1, queries)
    found = reader().contributions(packet(queries), weights[:, None])
    drawn = made.entries(9, 1, 0, queries)
    assert drawn.shape == (queries, SETTINGS)
    assert drawn.dtype == np.int64
    assert set(drawn.ravel()) <= {0, 1, 2}
    expected = np.zeros((queries, 2))
    for query, j, t in itertools.product(range(queries), range(SETTINGS), range(TEACH // SETTINGS)):
        entry = drawn[query, j]
        shot = 1.0 - 2.0 * teaches[query, j * (TEACH // SETTINGS) + t]
        for k, word in enumerate(WORDS[entry]):
            sign = np.prod([s for s, letter in zip(shot, word, strict=True) if letter != "I"])
            expected[query, k] += weights[query] * (k + 1.5) * sign / made.shares[entry] / TEACH
    np.testing.assert_allclose(found, expected, atol=1e-12)
    own = np.repeat(weights[:, None, None], SETTINGS, axis=1)
    np.testing.assert_allclose(reader().contributions(packet(queries), own), expected, atol=1e-12)


def test_answers_and_shots_are_those_of_the_bits():
    answers, _ = bits(8)
    signs = (1.0 - 2.0 * answers[:, :, 0]) * (1.0 - 2.0 * answers[:, :, 2])
    value, positive = reader().values(packet(8))
    np.testing.assert_allclose(value[:, 0], signs.mean(axis=1), atol=1e-12)
    assert np.array_equal(positive[:, 0], (signs > 0).sum(axis=1))
    assert np.array_equal(reader().shots(packet(8))[:, :, 0], signs)


def test_packed_rows_and_bools_are_the_same_bits():
    answers, teaches = bits(5)
    own = {"replica": 9, "incarnation": 1, "first": 0, "queries": 5}
    packed = [
        (part.astype(np.uint64) << np.arange(N, dtype=np.uint64)).sum(-1, keepdims=True)
        for part in (answers, teaches)
    ]
    assert version().encode(**own, answers=packed[0], teaches=packed[1]) == packet()
    assert version().encode(**own, answers=answers == 1, teaches=teaches == 1) == packet()


def test_slopes_turn_gate_parameters_into_arguments():
    slopes = np.array([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]])
    weights = np.ones((5, 1))
    plain, turned = reader(), reader(slopes=slopes)
    assert (plain.n_parameters, turned.n_parameters) == (2, 3)
    found = turned.contributions(packet(), weights)
    np.testing.assert_allclose(found, plain.contributions(packet(), weights) @ slopes, atol=1e-12)


def test_a_fleet_is_learnt_from_once():
    made, sent = machine(), packet(12)
    assert made.join(9) == 1
    assert made.submit(sent) == (None, 0, 12)
    assert made.submit(sent) == ("duplicate", 0, 12)
    code, number, value, positive = made.values(*tickets(9, [3, 99]))
    assert (code.tolist(), number.tolist()) == ([0, 1], [0, 0])
    expected = reader().values(sent)
    assert (value[0], positive[0]) == (expected[0][3], expected[1][3])
    assert made.shots(*tickets(9, [1, 2])).shape == (2, ANSWER, 1)
    weights, losses = np.linspace(0, 1, 12)[:, None], np.linspace(2, 3, 12)
    outcome = made.weights(*tickets(9, range(12)), weights, losses)
    assert [FLEET_OUTCOMES[code] for code in outcome] == ["taught"] * 12
    assert FLEET_OUTCOMES[made.weights(*tickets(9, [0]), weights[:1])[0]] == "unknown_or_used"
    tally = reader().tally(sent, weights, losses)
    assert made.tallies(0, 0) == [(0, 0, tally)]
    rows = reader().contributions(sent, weights)
    gradient, stderr, queries, age = made.gradient(0, 0)
    np.testing.assert_allclose(gradient, rows.mean(axis=0), atol=1e-11)
    np.testing.assert_allclose(stderr, rows.std(axis=0, ddof=1) / np.sqrt(12), rtol=1e-9)
    assert (queries, age) == (12, 0.0)
    assert tally.loss == pytest.approx((2.5, losses.std(ddof=1) / np.sqrt(12)))
    assert (tally.queries, tally.shots, tally.losses) == (12, 12 * TEACH, 12)
    assert made.take(0, 0) == [(0, 0, tally)]
    assert made.tallies(0, 0) == []
    counts = made.counts
    assert counts["admitted"] == counts["taught"] == 12
    assert (counts["duplicate"], counts["unknown_or_used"], counts["pending"]) == (1, 1, 0)
    assert set(FLEET_REFUSALS) <= set(counts)
    assert made.versions == [0]
    assert made.nbytes > 0


def test_tallies_add_up_and_come_back_from_bytes():
    parts = [reader().tally(packet(4, seed=i), np.full((4, 1), 0.1 * i)) for i in range(5)]
    total = sum(parts)
    assert total == sum(reversed(parts))
    assert FleetTally.from_bytes(total.to_bytes()) == total
    gradient, stderr, queries = fleet_gradient(parts)
    assert queries == total.queries == 20
    np.testing.assert_allclose(gradient, total.gradient[0], atol=1e-12)
    np.testing.assert_allclose(stderr, total.gradient[1], rtol=1e-9)
    alone = fleet_gradient(parts[:2], np.array([1.0, 0.0]))
    np.testing.assert_allclose(alone[0], parts[0].gradient[0], atol=1e-12)
    with pytest.raises(efl.errors.CorruptDataError):
        FleetTally.from_bytes(total.to_bytes()[:-1])
    with pytest.raises(TypeError):
        parts[0] + 1


def test_threads_that_share_a_machine_count_the_same_bits():
    def learn(threads):
        made, replicas = machine(), range(24)
        for replica in replicas:
            made.join(replica)

        def work(mine):
            for replica in mine:
                for i in range(4):
                    assert made.submit(packet(10, replica=replica, first=10 * i, seed=replica))[0] is None
                weights = np.random.default_rng(replica).normal(size=(40, 1))
                assert not made.weights(*tickets(replica, range(40)), weights).any()

        workers = [threading.Thread(target=work, args=(replicas[i::threads],)) for i in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        [(_, _, tally)] = made.tallies(0, 0)
        return tally.to_bytes()

    one = learn(1)
    assert all(learn(threads) == one for threads in (2, 3, 8))


def test_queries_that_do_not_teach_send_nothing():
    made = version(teach=0.25)
    drawn = made.entries(9, 1, 0, 400)[:, 0]
    teaching = int((drawn >= 0).sum())
    assert abs(teaching - 100) < 39  # 4.5 standard deviations
    answers, teaches = bits(teaching)
    sent = made.encode(replica=9, incarnation=1, first=0, queries=400, answers=answers, teaches=teaches)
    assert len(sent) == 68 + teaching * made.stride
    with pytest.raises(efl.errors.ShapeError, match="answers"):
        made.encode(replica=9, incarnation=1, first=0, queries=400, answers=answers[1:], teaches=teaches)


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"shares": [1.0, -1.0]}, "shares[1]"),
        ({"shares": []}, "shares"),
        ({"teach_shots": 7}, "teach_shots"),
        ({"teach": 1.5}, "teach"),
        ({"n_qubits": 70_000}, "n_qubits"),
        ({"number": 2**32}, "number"),
        ({"seed": -1}, "seed"),
    ],
)
def test_versions_that_cannot_be_are_refused(changes, argument):
    with pytest.raises(efl.errors.InvalidInputError) as caught:
        version(**changes)
    assert caught.value.argument == argument


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"entries": entries()[:2]}, "entries"),
        (
            {"entries": [*entries()[:2], (efl.Setting("ZZZ"), [(0, efl.PauliSum({"XII": 1.0}))], [])]},
            "entries[2]",
        ),
        (
            {"entries": [*entries()[:2], (efl.Setting("ZZZ"), [(2, efl.PauliSum({"ZII": 1.0}))], [])]},
            "entries[2]",
        ),
        ({"answers": []}, "answers"),
        ({"answers": [(efl.Setting("ZZZ"), ANSWER, [])]}, "answers"),
        ({"slopes": np.ones((3, 2))}, "slopes"),
        ({"weights": np.ones(2)}, "weights"),
        ({"weights": np.array([np.nan])}, "weights[0]"),
        ({"n_outputs": 0}, "n_outputs"),
        ({"n_parameters": 2**40}, "n_parameters"),
    ],
)
def test_readers_that_cannot_read_are_refused(changes, argument):
    with pytest.raises(efl.errors.InvalidInputError) as caught:
        reader(**changes)
    assert caught.value.argument == argument


def test_entries_of_another_kind_are_named():
    with pytest.raises(efl.errors.InputTypeError, match=r"entries\[1\]: expected an experiment"):
        reader(entries=[entries()[0], "XYZ", entries()[2]])


@pytest.mark.parametrize(
    ("changes", "argument"),
    [
        ({"answers": np.zeros((5, ANSWER, N + 1), np.uint8)}, "answers"),
        ({"answers": np.zeros((5, ANSWER + 1, N), np.uint8)}, "answers"),
        ({"answers": np.full((5, ANSWER, N), 2, np.uint8)}, "answers[shot 0]"),
        ({"answers": np.full((5, ANSWER, 1), 8, np.uint64)}, "answers[shot 0]"),
        ({"answers": np.zeros((5, ANSWER, N))}, "answers"),
        ({"teaches": np.zeros((4, TEACH, N), np.uint8)}, "teaches"),
        ({"queries": 0}, "queries"),
        ({"incarnation": 0}, "incarnation"),
        ({"first": 2**40}, "first"),
        ({"dropped": 1}, "dropped"),
    ],
)
def test_packets_that_cannot_be_made_are_refused(changes, argument):
    answers, teaches = bits(5)
    fields = {
        "replica": 9,
        "incarnation": 1,
        "first": 0,
        "queries": 5,
        "answers": answers,
        "teaches": teaches,
    }
    with pytest.raises(efl.errors.EflError) as caught:
        version().encode(**{**fields, **changes})
    assert caught.value.argument == argument


def test_packets_of_another_version_are_not_read():
    with pytest.raises(efl.errors.InvalidInputError, match="one of version 1"):
        reader().values(packet(made=version(number=1)))
    with pytest.raises(efl.errors.CorruptDataError, match="checksum"):
        reader().values(packet()[:-1] + b"\0")
    made = machine()
    assert made.submit(packet())[0] == "unknown_replica"
    made.join(9)
    assert made.submit(packet(made=version(number=1)))[0] == "unknown_version"
    assert made.submit(b"")[0] == "malformed"
    assert made.submit(packet(made=version(fleet=2))) == ("other_fleet", 0, 0)
    assert (made.counts["admitted"], made.counts["replicas"]) == (0, 1)


@pytest.mark.parametrize(
    ("weights", "losses", "argument"),
    [
        (np.zeros((3, 1)), None, "weights"),
        (np.zeros((2, 2)), None, "weights"),
        (np.zeros(2), None, "weights"),
        (np.zeros((2, SETTINGS + 1, 1)), None, "weights"),
        (np.zeros((2, 1)), np.zeros(3), "losses"),
    ],
)
def test_weights_of_another_shape_are_refused(weights, losses, argument):
    made = machine()
    made.join(9)
    made.submit(packet())
    with pytest.raises(efl.errors.ShapeError) as caught:
        made.weights(*tickets(9, [0, 1]), weights, losses)
    assert caught.value.argument == argument
    assert made.counts["pending"] == 5


def test_weights_that_are_no_numbers_leave_the_query_waiting():
    made = machine()
    made.join(9)
    made.submit(packet())
    for weight, loss, name in [
        (np.nan, 0.0, "not_finite"),
        (1.0, np.inf, "not_finite"),
        (1e9, 0.0, "out_of_range"),
    ]:
        code = made.weights(*tickets(9, [0]), np.array([[weight]]), np.array([loss]))
        assert FLEET_OUTCOMES[code[0]] == name
    assert made.counts["pending"] == 5
    assert (
        FLEET_OUTCOMES[made.weights(*tickets(9, [0]), np.array([[1.0]]), np.array([np.nan]))[0]] == "taught"
    )


def test_versions_have_to_follow_each_other():
    made = machine()
    with pytest.raises(efl.errors.InvalidInputError, match="the number after the newest, 0, got 2"):
        made.publish(reader(number=2))
    made.publish(reader(number=1))
    assert made.versions == [0, 1]
