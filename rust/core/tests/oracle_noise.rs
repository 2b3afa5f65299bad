//! Derivatives past channels, and without noise, against what the reverse sweep says of the noisy and the clean value; that
//! is compared with dense density matrices in `oracle_propagation.rs`.

mod dense;

use dense::{Random, Twin};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::gates::{Clifford, Direction};
use efl_core::heisenberg::{
    GradientObservables, GradientTemplate, Truncation, gradient_observables, mitigated_observables,
    propagate, value, value_and_gradient,
};
use efl_core::pauli::{Letter, PauliSum};
use efl_core::state::ProductState;
use num_complex::Complex64;

const TOLERANCE: f64 = 1e-10;
/// Circuits that are compared, of 2 to 6 qubits.
const CIRCUITS: u64 = 20;

type Kraus = Vec<Vec<Complex64>>;

/// Every word with the same probability, on as many wires as there are.
fn depolarising(wires: usize, p: f64) -> Kraus {
    let codes = 1usize << (2 * wires);
    let weight = |code: usize| if code == 0 { 1.0 - p + p / codes as f64 } else { p / codes as f64 };
    (0..codes).map(|code| scaled(&pauli(code, wires), weight(code).sqrt())).collect()
}

fn scaled(matrix: &[Complex64], factor: f64) -> Vec<Complex64> {
    matrix.iter().map(|entry| entry * factor).collect()
}

/// The matrix of a word, two bits for each wire.
fn pauli(code: usize, wires: usize) -> Vec<Complex64> {
    let letters = [Letter::I, Letter::X, Letter::Y, Letter::Z];
    let one = vec![Complex64::new(1.0, 0.0)];
    let (mut matrix, mut side) = (one, 1);
    for wire in 0..wires {
        let letter = dense::letter(letters[code >> (2 * wire) & 3]);
        let wide = 2 * side;
        let mut next = vec![Complex64::default(); wide * wide];
        for row in 0..wide {
            for column in 0..wide {
                next[row * wide + column] =
                    matrix[(row / 2) * side + column / 2] * letter.m[(row % 2) * 2 + column % 2];
            }
        }
        (matrix, side) = (next, wide);
    }
    matrix
}

fn amplitude_damping(p: f64) -> Kraus {
    let number = |re: f64| Complex64::new(re, 0.0);
    vec![
        [1.0, 0.0, 0.0, (1.0 - p).sqrt()].map(number).to_vec(),
        [0.0, p.sqrt(), 0.0, 0.0].map(number).to_vec(),
    ]
}

fn over_rotation(angle: f64) -> Kraus {
    let (c, s) = ((angle / 2.0).cos(), (angle / 2.0).sin());
    vec![vec![
        Complex64::new(c, 0.0),
        Complex64::new(0.0, -s),
        Complex64::new(0.0, -s),
        Complex64::new(c, 0.0),
    ]]
}

/// Layers of rotations and two-qubit gates, with what a device does after each if it is `noisy`.
fn layers(seed: u64, n: usize, depth: usize, noisy: bool) -> (Circuit, Vec<f64>) {
    let mut random = Random(seed);
    let mut circuit = Circuit::new(n, 2 * n * depth).unwrap();
    let mut parameter = 0;
    for layer in 0..depth {
        for q in 0..n {
            for letter in [Letter::Y, Letter::Z] {
                circuit.rotation([(q, letter)], Angle::parameter(parameter)).unwrap();
                parameter += 1;
            }
            if noisy {
                circuit.noise(&over_rotation(0.1), &[q]).unwrap();
                circuit.noise(&amplitude_damping(0.03), &[q]).unwrap();
            }
        }
        for q in 0..n - 1 {
            let gate = if (q + layer) % 2 == 0 { Clifford::Cnot } else { Clifford::Cz };
            circuit.clifford(gate, &[q, q + 1]).unwrap();
            if noisy {
                circuit.noise(&depolarising(2, 0.05), &[q, q + 1]).unwrap();
            }
        }
    }
    let theta = (0..parameter).map(|_| random.angle()).collect();
    (circuit, theta)
}

fn expectations(
    circuit: &Circuit,
    theta: &[f64],
    rows: &GradientObservables,
    input: &ProductState,
) -> Vec<f64> {
    let own = |r: usize| {
        let sum = rows.sums().sum(r).unwrap();
        value(circuit, theta, &sum, input, &Truncation::EXACT, &Cancel::new()).unwrap().value
    };
    (0..rows.n_rows()).map(own).collect()
}

/// Values and derivatives in the order of rows.
fn exact(circuit: &Circuit, theta: &[f64], observables: &[PauliSum], input: &ProductState) -> Vec<f64> {
    let found: Vec<_> = observables
        .iter()
        .map(|o| value_and_gradient(circuit, theta, o, input, &Truncation::EXACT, &Cancel::new()).unwrap())
        .collect();
    let values = found.iter().map(|f| f.value);
    values.chain(found.iter().flat_map(|f| f.gradient.clone())).collect()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < TOLERANCE, "{what}: {a} {b}");
    }
}

#[test]
fn derivatives_of_the_noisy_value_are_read_on_the_noisy_state() {
    let cancel = Cancel::new();
    for seed in 0..CIRCUITS {
        let n = 2 + seed as usize % 5;
        let (circuit, theta) = layers(seed, n, if n < 5 { 2 } else { 1 }, true);
        let observables = [Random(seed + 100).observable(n, 3), Random(seed + 200).observable(n, 1)];
        let input = ProductState::zero(n);
        let rows = gradient_observables(&circuit, &theta, &observables, &Truncation::EXACT, &cancel).unwrap();
        let expected = exact(&circuit, &theta, &observables, &input);
        assert_close(&expectations(&circuit, &theta, &rows, &input), &expected, &format!("seed {seed}"));
        // The template says the same at other angles.
        let template = GradientTemplate::new(&circuit, &observables, None, &cancel).unwrap();
        assert_close(
            &expectations(&circuit, &theta, &template.at(&theta, &cancel).unwrap(), &input),
            &expected,
            &format!("template {seed}"),
        );
    }
}

#[test]
fn any_channels_between_any_gates_are_passed() {
    let (cancel, mut compared) = (Cancel::new(), 0);
    for seed in 0..2 * CIRCUITS {
        let n = 1 + seed as usize % 4;
        let twin = Twin::random(seed + 40, n, 14, 4, true);
        let observables = [Random(seed + 300).observable(n, 3)];
        let input = ProductState::zero(n);
        let Ok(rows) =
            gradient_observables(&twin.circuit, &twin.theta, &observables, &Truncation::EXACT, &cancel)
        else {
            continue; // a channel of the twin may leave nothing of a letter
        };
        let found = expectations(&twin.circuit, &twin.theta, &rows, &input);
        let expected = exact(&twin.circuit, &twin.theta, &observables, &input);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() < 1e-7, "seed {seed}: {a} {b}"); // twins damp down to a hundredth
        }
        compared += 1;
    }
    assert!(compared > CIRCUITS, "{compared}");
}

#[test]
fn derivatives_without_noise_are_read_on_the_noisy_state() {
    let cancel = Cancel::new();
    for seed in 0..CIRCUITS {
        let n = 2 + seed as usize % 3;
        let (noisy, theta) = layers(seed, n, 2, true);
        let (clean, _) = layers(seed, n, 2, false);
        let observables = [Random(seed + 100).observable(n, 3), Random(seed + 200).observable(n, 1)];
        let input = ProductState::zero(n);
        let rows = mitigated_observables(&noisy, &theta, &observables, None, &cancel).unwrap();
        let expected = exact(&clean, &theta, &observables, &input);
        assert_close(&expectations(&noisy, &theta, &rows, &input), &expected, &format!("seed {seed}"));
        let template = GradientTemplate::mitigated(&noisy, &observables, 100_000, &cancel).unwrap();
        let rows = template.at(&theta, &cancel).unwrap();
        assert_close(&expectations(&noisy, &theta, &rows, &input), &expected, &format!("template {seed}"));
    }
}

#[test]
fn recovery_undoes_the_way_back() {
    for seed in 0..10 {
        let n = 2 + seed as usize % 3;
        let (circuit, theta) = layers(seed, n, 2, true);
        let sum = Random(seed + 7).observable(n, 3);
        let moved = |sum: &PauliSum, direction| {
            propagate(&circuit, &theta, sum, direction, &Truncation::EXACT, &Cancel::new()).unwrap().sum
        };
        let back = moved(&moved(&sum, Direction::Heisenberg), Direction::Recovery);
        assert!(dense::sum(&back).distance(&dense::sum(&sum)) < TOLERANCE, "seed {seed}");
    }
}

#[test]
fn what_a_device_does_by_itself_is_no_gate() {
    let (noisy, theta) = layers(3, 3, 1, true);
    let (clean, _) = layers(3, 3, 1, false);
    assert_eq!(noisy.gates(&theta).unwrap(), clean.gates(&theta).unwrap());
    assert_ne!(noisy.fingerprint(), clean.fingerprint());
}

#[test]
fn what_is_lost_is_not_recovered() {
    let mut circuit = Circuit::new(1, 1).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.noise(&depolarising(1, 1.0), &[0]).unwrap();
    let z = [PauliSum::from_labels([("Z", 1.0)]).unwrap()];
    let cancel = Cancel::new();
    let lost = [
        gradient_observables(&circuit, &[0.1], &z, &Truncation::EXACT, &cancel).unwrap_err(),
        mitigated_observables(&circuit, &[0.1], &z, None, &cancel).unwrap_err(),
        propagate(&circuit, &[0.1], &z[0], Direction::Recovery, &Truncation::EXACT, &cancel).unwrap_err(),
    ];
    for error in lost.map(|error| error.to_string()) {
        assert!(error.contains("a channel at gate 1") && error.contains("of every letter"), "{error}");
    }
    // A truncation would be amplified.
    let mut kept = Circuit::new(1, 1).unwrap();
    kept.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    kept.noise(&depolarising(1, 0.1), &[0]).unwrap();
    let cut = Truncation { max_weight: Some(1), ..Truncation::EXACT };
    let error = gradient_observables(&kept, &[0.1], &z, &cut, &cancel).unwrap_err().to_string();
    assert!(error.starts_with("truncation: "), "{error}");
}
