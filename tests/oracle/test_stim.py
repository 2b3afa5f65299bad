"""Bases and stabiliser states against stim's tableaux, to 200 qubits; comparisons are exact."""

import numpy as np
import pytest
import stim

import efl_core as efl

OURS = {
    "I": "I",
    "X": "X",
    "Y": "Y",
    "Z": "Z",
    "H": "H",
    "S": "S",
    "S_DAG": "SDG",
    "SQRT_X": "SX",
    "SQRT_X_DAG": "SXDG",
    "CX": "CNOT",
    "CY": "CY",
    "CZ": "CZ",
    "SWAP": "SWAP",
    "ISWAP": "ISWAP",
    "ISWAP_DAG": "ISWAPDG",
}
THEIRS = {ours: theirs for theirs, ours in OURS.items()}


def to_stim(gates, n_qubits):
    circuit = stim.Circuit()
    circuit.append("I", range(n_qubits))
    for name, *wires in gates:
        circuit.append(THEIRS[name], wires)
    return circuit


def from_stim(circuit):
    return [
        (OURS[operation.name], *(target.value for target in group))
        for operation in circuit
        for group in operation.target_groups()
    ]


def word(pauli):
    """A word of stim's as ours: a sign and a label."""
    return int(pauli.sign.real), str(pauli)[1:].replace("_", "I")


def stabilisers(tableau):
    return [word(tableau.z_output(q)) for q in range(len(tableau))]


def random_gates(n_qubits, seed):
    """A circuit that entangles everything."""
    rng = np.random.default_rng(seed)
    gates = []
    for _ in range(4):
        gates += [(str(rng.choice(["H", "S", "SX", "SDG"])), q) for q in range(n_qubits)]
        order = rng.permutation(n_qubits).tolist()
        names = ["CNOT", "CZ", "ISWAP", "CY", "SWAP"]
        gates += [(str(rng.choice(names)), a, b) for a, b in zip(order[::2], order[1::2], strict=False)]
    return gates


def probability(circuit, outcome):
    """Of an outcome, as an exact power of two."""
    simulator = stim.TableauSimulator()
    simulator.do(circuit)
    found = 1.0
    for q, bit in enumerate(outcome.tolist()):
        value = simulator.peek_z(q)
        if value == 0:
            found /= 2
            simulator.postselect_z(q, desired_value=bool(bit))
        elif value != 1 - 2 * bit:
            return 0.0
    return found


def test_every_clifford_of_two_qubits():
    """All 11,520: the state that each prepares, and what a readout after it measures."""
    prepared, read, count = set(), set(), 0
    for tableau in stim.Tableau.iter_all(2):
        gates = from_stim(tableau.to_circuit())
        words, measured = efl.StabiliserState(2, gates).words, efl.Setting.from_gates(2, gates).measured
        assert words == stabilisers(tableau)
        assert measured == stabilisers(tableau.inverse())
        prepared.add(tuple(words))
        read.add(tuple(measured))
        count += 1
    # 60 states, each with six ways to choose two of its three words.
    assert (count, len(prepared), len(read)) == (11_520, 360, 360)


@pytest.mark.parametrize("n_qubits", [1, 7, 64, 65, 200])
def test_states_go_to_tableaux_and_back(n_qubits):
    gates = random_gates(n_qubits, n_qubits)
    state, tableau = efl.StabiliserState(n_qubits, gates), to_stim(gates, n_qubits).to_tableau()
    assert state.words == stabilisers(tableau)
    assert efl.StabiliserState.from_words(stabilisers(tableau)) == state
    assert efl.StabiliserState(n_qubits, from_stim(tableau.to_circuit())).words == state.words
    again = stim.Tableau.from_stabilizers(
        [stim.PauliString(f"{'+' if sign > 0 else '-'}{label}") for sign, label in state.words]
    )
    assert stabilisers(again) == state.words


@pytest.mark.parametrize("n_qubits", [2, 5, 64, 65, 200])
def test_random_bases_measure_what_their_circuits_do(n_qubits):
    ensemble = efl.Ensemble.global_clifford(n_qubits)
    for index in range(2):
        setting = ensemble.draw_setting(11, index)
        tableau = to_stim(setting.gates, n_qubits).to_tableau()
        assert setting.measured == stabilisers(tableau.inverse())
        assert setting.two_qubit_gates <= n_qubits**2 / 2


@pytest.mark.parametrize(("n_qubits", "shots"), [(2, 60), (5, 60), (40, 10), (100, 5), (200, 3)])
def test_outcomes_and_fidelities_of_snapshots(n_qubits, shots):
    """Every outcome is possible, and every reading `(2^n + 1) p - 1`."""
    prepared, near = random_gates(n_qubits, 1), [("S", 0), ("H", n_qubits - 1), ("CZ", 0, n_qubits - 1)]
    state, target = (efl.StabiliserState(n_qubits, gates) for gates in (prepared, prepared + near))
    ensemble = efl.Ensemble.global_clifford(n_qubits)
    snaps = efl.sample(state, ensemble, shots=shots, seed=4)
    bits, addresses = snaps.to_arrays()
    seen = []
    for t in range(shots):
        basis = to_stim(ensemble.draw_setting(*addresses[t].tolist()).gates, n_qubits)
        for one, gates in ((state, prepared), (target, prepared + near)):
            found = probability(to_stim(gates, n_qubits) + basis, bits[t])
            assert found > 0 or one is target
            assert efl.fidelity(snaps[t : t + 1], one).value == (2.0**n_qubits + 1) * found - 1
            seen.append(found * 2.0**n_qubits)
    assert len(set(seen)) > 2  # words in common, or none, or an outcome that the target never gives
