"""The demonstration runs, and says what it should; small here, `efl demo` is the whole of it."""

import numpy as np
import pytest

import efl_core as efl
from efl_core.cli import main
from efl_core.cli.digit_head import Labels, by_exact_gradients, by_fleet, by_regression, head
from efl_core.fleet.digits import digits


def test_digits_are_those_of_the_file():
    data = digits(10, seed=3)
    assert data.train.shape == (250, 10)
    assert data.test.shape == (107, 10)
    labels = np.concatenate([data.train_labels, data.test_labels])
    assert ((labels == 1).sum(), (labels == -1).sum()) == (183, 174)
    assert np.abs(data.train).max(axis=0) == pytest.approx(np.pi / 2)
    assert by_regression(data).accuracy > 0.95
    with pytest.raises(efl.InvalidInputError, match=r"^features: expected an integer from 1 to 64"):
        digits(65)


def test_a_fleet_learns_digits_nearly_as_well_as_exact_gradients():
    """A fifth of the queries of the bench: the loss of the fleet is below 1.6 times the exact (3 seeds)."""
    data = digits(10, seed=1)
    fleet, counts = by_fleet(data, 2_560, 1, every=1000)
    exact = by_exact_gradients(data, 2_560, 1, every=1000)
    assert counts["taught"] == counts["admitted"] == 2_560
    assert fleet.loss < 1.6 * exact.loss
    assert fleet.loss < fleet.curve[0][1] / 4
    assert fleet.extra_shots == 40_960


def test_messy_labels_are_accounted_for():
    plan = Labels(
        late=lambda random: float(random.geometric(1 / 300)), missing=0.3, repeated=0.1, unknown=0.1
    )
    run, counts = by_fleet(digits(10, seed=1), 1_280, 1, labels=plan, every=1000)
    parts = ("taught", "expired", "pending", "answered_only")
    assert counts["admitted"] == sum(counts[name] for name in parts) == 1_280
    assert counts["unknown_or_used"] > 100
    assert run.loss < run.curve[0][1]


def test_the_demonstration_prints_its_table(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    assert main(["demo", "--queries", "1280", "--replicas", "2"]) == 0
    printed = capsys.readouterr().out
    for name in ("the fleet", "exact gradients", "parameter-shift, pruned", "SPSA", "logistic regression"):
        assert f"\n  {name}" in printed
    assert "worth it if more than 25%" in printed
    assert (tmp_path / "efl_demo_fleet.png").stat().st_size > 10_000


def test_the_former_demonstration_is_still_there(capsys):
    assert main(["demo", "estimate", "--shots", "20000", "--words", "100"]) == 0
    assert "standard error" in capsys.readouterr().out


def test_the_head_has_an_output_of_all_qubits():
    circuit = head(1)
    assert (circuit.n_qubits, circuit.n_parameters, len(circuit.observables[0])) == (10, 60, 10)
