"""Noisy devices of replicas at an address, and of replicas that are spread over shards.

Statistics: fixed seeds. A z-score beyond 4.5 is a false alarm in 150,000, of which there are 7 here.
"""

import json
import warnings

import numpy as np
import pennylane as qml
import pytest
from tests.fleet.noisy import (
    NOISE,
    THETA,
    X,
    bits_with_errors,
    exact,
    learner_of,
    noisy_device,
    off,
    served,
    uploading,
)
from tests.fleet.served import key, serving

import efl_core as efl
from efl_core.fleet import Replica
from efl_core.fleet.cluster import Coordinator, Shard
from efl_core.fleet.cluster.links import Spread
from efl_core.fleet.models import made_model
from efl_core.fleet.serving import serve
from efl_core.fleet.versions import kind_of
from efl_core.fleet.web.wire import described_version, made_here, read_version

RUN = {}
"""Tapes that devices here have run: they are alike, but for their seeds."""
CALIBRATION = efl.Calibration.from_bits(bits_with_errors(50_000, 1))
DEVICES = pytest.mark.parametrize(
    "known",
    [{"noise": NOISE, "calibration": CALIBRATION}, {"noise": NOISE}, {"calibration": CALIBRATION}],
    ids=["both", "noise", "calibration"],
)


def sent(learner):
    return described_version(learner.version, kind_of(learner._loss), learner._fleet)


def arrived(data, node, x=X):
    """The version as a worker elsewhere has it, who knows nothing of noise."""
    found = read_version(data)
    return made_here(found, made_model(node, found.params, (np.array(x),), found.device))


# ---- as data ---------------------------------------------------------------------------------------------


@DEVICES
@pytest.mark.parametrize("made", [served, uploading])
def test_a_version_that_was_sent_answers_the_same(known, made):
    """The same seed, the same bits, values and errors; and circuits that teach without the noise."""
    learner = learner_of(made(noisy_device(2, 5)), loss="squared", **known)
    version, data = learner.version, sent(learner)
    assert data == sent(learner)
    there = arrived(data, made(noisy_device(2, 5)))
    assert there.native.hash == version.native.hash
    queries = [(np.array(x),) for x in np.random.default_rng(3).uniform(-1, 1, (4, 2))]
    entries = version.native.entries(7, 1, 0, 4)
    for native in (entries, np.full((4, 1), -1)):
        own = serve(version.model, version.point, version.roster, queries, native, 5)
        other = serve(there.model, there.point, there.roster, queries, native, 5)
        for one, two in zip(own, other, strict=True):
            assert (one.answers == two.answers).all()
            assert (one.readout.mean == two.readout.mean).all()
            assert (one.readout.stderr == two.readout.stderr).all()
            assert (one.teaches is None) == (two.teaches is None)
            if one.teaches is not None:
                assert (one.teaches == two.teaches).all()
    for plan, own in ((version.roster.answers, there.roster.answers),):
        assert plan.word == own.word
        assert all((a == b).all() for a, b in zip(plan.squares, own.squares, strict=True))


def test_channels_of_the_user_are_sent_with_circuits_that_teach():
    def circuit(x, angles):
        qml.RX(x[0], 0)
        qml.RY(angles[0], 0)
        qml.AmplitudeDamping(0.1, 0)
        qml.RX(x[1], 0)
        qml.RY(angles[1], 0)
        return qml.expval(qml.Z(0))

    node = qml.QNode(circuit, qml.device("default.mixed", wires=1))
    learner = efl.fleet.Learner(node, THETA[:2], loss="squared", inputs=np.array(X), seed=1)
    assert learner.version.roster.method in ("shift", "shift-pruned")
    there = arrived(sent(learner), node)
    for one, two in zip(learner.version.roster.entries, there.roster.entries, strict=True):
        gates = [
            own.experiment.at(version.model.ask(version.point, (np.array(X),)).circuit).gates()
            for own, version in ((one, learner.version), (two, there))
        ]
        assert repr(gates[0]) == repr(gates[1])
        assert any(kind == "channel" for kind, *_ in gates[0])


def test_damaged_devices_are_refused():
    node = served(noisy_device(2))
    found = json.loads(sent(learner_of(node, noise=NOISE, calibration=CALIBRATION)))
    letters, text = found["device"]
    with pytest.raises(efl.CorruptDataError, match=r"^version: expected what noise leaves of all letters"):
        arrived(json.dumps(found | {"device": [[], text]}), node)
    for device in (
        [[[1, "Z", 1.5]], text],
        [[[1, "Z", 0]], text],
        [letters, text[:-8]],
        [letters, "AAAA"],
        [letters],
        [[["a", 1]], text],
    ):
        with pytest.raises(efl.CorruptDataError):
            read_version(json.dumps(found | {"device": device}))


def test_wires_that_are_neither_numbers_nor_texts_are_refused():
    names = (0.5, 1.5)
    node = served(qml.add_noise(qml.device("default.mixed", wires=names), qml.NoiseModel({})), names)
    known = efl.Calibration.from_bits(bits_with_errors(20_000, 1), wires=names)
    with pytest.raises(efl.InvalidInputError, match=r"^calibration: expected one of wires that are numbers"):
        sent(learner_of(node, calibration=known))


# ---- over HTTP -------------------------------------------------------------------------------------------


@DEVICES
def test_replicas_at_an_address_teach_the_noisy_value(known):
    node, queries = served(noisy_device(2, 6)), 200
    learner = learner_of(node, **known)
    with serving(learner) as (url, _), Replica(node, url, seed=3, key=key()) as replica:
        answers = replica.answers(np.tile(X, (queries, 1)))
        assert replica.flush(10)
    found = learner.gradient()
    assert found.queries == queries
    if "calibration" in known:
        _, value, truth = exact(node, X, THETA)
        spread = answers.value.std(ddof=1)
        assert abs(answers.value.mean() - value) < 4.5 * spread / np.sqrt(queries)
        assert 0.8 < np.sqrt(np.mean(answers.stderr**2)) / spread < 1.25  # of 200, good to 5 %: 4.5 of those
        if "noise" in known:
            assert off(found, truth) < 4.5
    direct = learner_of(node, **known)
    with Replica(node, direct, seed=3) as replica:
        replica.answers(np.tile(X, (queries, 1)))
        assert replica.flush(10)
    there = direct.gradient()
    apart = np.abs(found.value - there.value)[found.stderr > 0]
    assert (apart < 4.5 * np.hypot(found.stderr, there.stderr)[found.stderr > 0]).all()


def test_a_newer_calibration_reaches_replicas_at_an_address():
    node = served(noisy_device(2, 7))
    learner = learner_of(node, noise=NOISE, calibration=CALIBRATION)
    with serving(learner) as (url, _), Replica(node, url, seed=3, key=key()) as replica:
        assert replica.answer(np.array(X)).version == 1
        fresh = efl.Calibration.from_bits(bits_with_errors(20_000, 4))
        learner.recalibrate(fresh)
        assert replica.refresh() == 2
        assert replica.answer(np.array(X)).version == 2
        told = replica._link.version((np.array(X),)).roster.correction
        assert told.calibration == fresh
        assert told.calibration != CALIBRATION


def test_replicas_at_an_address_are_compared():
    node = served(noisy_device(2, 8))
    alike = efl.Calibration.from_bits(bits_with_errors(20_000, 5))
    other = efl.Calibration.from_bits(bits_with_errors(20_000, 1) | bits_with_errors(20_000, 2))
    calibrated = learner_of(node, noise=NOISE, calibration=CALIBRATION)
    moved, plain = served(noisy_device(3), (1, 2)), served(qml.device("default.qubit", wires=2))
    with serving(calibrated) as (url, _):
        with Replica(node, url, key=key(), calibration=alike) as replica:
            assert replica.answer(np.array(X)).version == 1
        for own, options, match in (
            (node, {"calibration": other}, r"^calibration: expected a device like those of the fleet"),
            (moved, {}, r"^qnode: expected wires \[0, 1\], whose readout"),
            (plain, {}, r"^qnode: expected one on a noisy device"),
            (
                uploading(noisy_device(2)),
                {},
                r"^qnode: expected the gates and outputs that the learner knows",
            ),
        ):
            with (
                Replica(own, url, key=key(), **options) as replica,
                pytest.raises(efl.InvalidInputError, match=match),
            ):
                replica.answer(np.array(X))
    with (
        serving(learner_of(node, noise=NOISE)) as (url, _),
        Replica(node, url, key=key(), calibration=alike) as replica,
        pytest.raises(efl.InvalidInputError, match=r"^calibration: expected none in a fleet without one"),
    ):
        replica.answer(np.array(X))


# ---- in clusters -----------------------------------------------------------------------------------------


def shards(count, folder=None):
    return [
        Shard(
            served(noisy_device(2)),
            THETA,
            inputs=np.array(X),
            loss="squared",
            index=index,
            shards=count,
            buckets=8,
            journal=None if folder is None else folder / f"{index}.journal",
        )
        for index in range(count)
    ]


def coordinator(parts, **known):
    options = {"loss": "squared", "shots": 32, "share": 0.5, "seed": 1, "buckets": 8, "every": 600}
    return Coordinator(served(noisy_device(2)), THETA, shards=parts, inputs=np.array(X), **options, **known)


def trained(learner, link=lambda learner, node, name: learner):
    """Two steps of four replicas with devices of their own; all that follows, as bits."""
    found, labels = [], np.linspace(-1, 1, 16)
    for step in range(2):
        for name in range(4):
            node = served(noisy_device(2, 10 * step + name, known=RUN))
            with Replica(node, link(learner, node, name), seed=name + 20 * step) as replica:
                answers = replica.answers(np.tile([[0.2, 0.5], [0.1 * name, -0.4]], (8, 1)))
                assert replica.feedback(answers.tickets, labels) == {"taught": 16}
        report = learner.step("adam")
        own = report.gradient
        found += [own.value.tobytes(), own.stderr.tobytes(), own.trimmed.stderr.tobytes(), own.queries]
        found += [answers.value.tobytes(), report.loss, learner.params.tobytes()]
    return found


@DEVICES
def test_any_number_of_shards_gives_the_bits_of_one_learner(known):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = trained(learner_of(served(noisy_device(2)), loss="squared", buckets=8, **known))
        for count in (1, 2):
            parts = shards(count)
            with coordinator(parts, **known) as learner:
                assert trained(learner) == alone
            assert all(part.counts["taught"] for part in parts)
        # And so it is for replicas that ask the shards.
        with coordinator(shards(2), **known) as learner:

            def link(learner, node, name):
                return Spread(node, learner._ports, name=name + 20 * learner._steps)

            assert trained(learner, link) == alone


def test_shards_go_on_where_they_ended(tmp_path):
    """With the calibrations of what they had counted; a fleet that is calibrated otherwise is another one."""
    known = {"noise": NOISE, "calibration": CALIBRATION}
    parts = shards(2, tmp_path)
    with coordinator(parts, **known) as learner:
        trained(learner)
        learner.recalibrate(efl.Calibration.from_bits(bits_with_errors(20_000, 4)))
        with Replica(served(noisy_device(2, known=RUN)), learner, seed=99) as replica:
            answers = replica.answers(np.tile(X, (16, 1)))
            replica.feedback(answers.tickets, np.ones(16))
        before, params = learner.gradient(), learner.params
    for part in parts:
        part.close()
    parts = shards(2, tmp_path)
    for other in ({"noise": NOISE}, {"calibration": CALIBRATION}):
        with pytest.raises(efl.InvalidInputError, match=r"^shards: expected those of this circuit, loss"):
            coordinator(parts, **other)
    with coordinator(parts, **known) as learner:
        after = learner.gradient()
        assert (learner.params == params).all()
        assert (after.value == before.value).all()
        assert (after.stderr == before.stderr).all()
        assert learner.step("adam").gradient.queries == 16
    for part in parts:
        part.close()
