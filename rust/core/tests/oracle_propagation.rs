//! Propagation, values and their gradients against dense density matrices, up to 6 qubits.

mod dense;

use dense::{Dense, ONE, Random, Twin, product_state};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::gates::{Clifford, Direction};
use efl_core::heisenberg::{Truncation, propagate, value, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::state::ProductState;

const TOLERANCE: f64 = 1e-10;

fn bloch(random: &mut Random, n: usize) -> Vec<[f64; 3]> {
    (0..n).map(|_| [random.real(), random.real(), random.real()].map(|c| c / 3f64.sqrt())).collect()
}

#[test]
fn products_of_words_are_products_of_matrices() {
    let mut random = Random(1);
    for n in 1..=4 {
        for _ in 0..20 {
            let (a, b) = (random.observable(n, 3), random.observable(n, 3));
            let (da, db) = (dense::sum(&a), dense::sum(&b));
            let commutator = da.times(&db).plus(-ONE, &db.times(&da)).scaled(dense::I * 0.5);
            let anticommutator = da.times(&db).plus(ONE, &db.times(&da)).scaled(ONE * 0.5);
            assert!(dense::sum(&a.commutator_i_half(&b).unwrap()).distance(&commutator) < 1e-12);
            assert!(dense::sum(&a.anticommutator_half(&b).unwrap()).distance(&anticommutator) < 1e-12);
        }
    }
}

#[test]
fn every_clifford_moves_every_word_as_its_matrix_does() {
    for gate in Clifford::ALL {
        for wires in [[0, 1], [2, 0]] {
            let wires = &wires[..gate.n_wires()];
            let mut circuit = Circuit::new(3, 0).unwrap();
            circuit.clifford(gate, wires).unwrap();
            let u = dense::embed(&Dense { d: 1 << wires.len(), m: gate.matrix() }, wires, 3);
            let letters = [Letter::I, Letter::X, Letter::Y, Letter::Z];
            for code in 0..64usize {
                let word =
                    PauliWord::from_sparse(3, (0..3).map(|q| (q, letters[code >> (2 * q) & 3]))).unwrap();
                for (direction, by) in
                    [(Direction::Schroedinger, u.clone()), (Direction::Heisenberg, u.dagger())]
                {
                    let sum = PauliSum::from_word(&word);
                    let moved = propagate(&circuit, &[], &sum, direction, &Truncation::EXACT, &Cancel::new())
                        .unwrap();
                    assert_eq!(moved.sum.len(), 1);
                    let expected = dense::word(&word).conjugated_by(&by);
                    assert!(dense::sum(&moved.sum).distance(&expected) < TOLERANCE, "{gate:?} {word}");
                }
            }
        }
    }
}

#[test]
fn sums_move_as_matrices_in_both_pictures() {
    for seed in 0..40 {
        let n = 1 + seed as usize % 5;
        let twin = Twin::random(seed, n, 12, 4, false);
        let sum = Random(seed + 1000).observable(n, 3);
        let u = twin.unitary(&twin.theta, 0);
        for (direction, by) in [(Direction::Schroedinger, u.clone()), (Direction::Heisenberg, u.dagger())] {
            let moved =
                propagate(&twin.circuit, &twin.theta, &sum, direction, &Truncation::EXACT, &Cancel::new())
                    .unwrap();
            let expected = dense::sum(&sum).conjugated_by(&by);
            assert!(dense::sum(&moved.sum).distance(&expected) < TOLERANCE, "seed {seed}");
            assert_eq!(moved.dropped.count, 0);
        }
    }
}

#[test]
fn channels_move_operators_forwards_as_kraus_sums() {
    for seed in 0..20 {
        let n = 1 + seed as usize % 4;
        let twin = Twin::random(seed + 77, n, 10, 2, true);
        let sum = Random(seed + 1000).observable(n, 3);
        let forwards = Direction::Schroedinger;
        let moved = propagate(&twin.circuit, &twin.theta, &sum, forwards, &Truncation::EXACT, &Cancel::new());
        let expected = twin.run(&twin.theta, &dense::sum(&sum));
        assert!(dense::sum(&moved.unwrap().sum).distance(&expected) < TOLERANCE, "seed {seed}");
    }
}

#[test]
fn values_and_gradients_are_those_of_density_matrices() {
    for seed in 0..60 {
        let n = 1 + seed as usize % 6;
        let twin = Twin::random(seed, n, if n == 6 { 10 } else { 14 }, 5, seed % 2 == 0);
        let mut random = Random(seed + 500);
        let observable = random.observable(n, 4);
        let r = bloch(&mut random, n);
        let (state, rho) = if seed % 3 == 0 {
            (ProductState::zero(n), product_state(&vec![[0.0, 0.0, 1.0]; n]))
        } else {
            (ProductState::from_bloch(r.clone()).unwrap(), product_state(&r))
        };
        let result = value_and_gradient(
            &twin.circuit,
            &twin.theta,
            &observable,
            &state,
            &Truncation::EXACT,
            &Cancel::new(),
        )
        .unwrap();
        let matrix = dense::sum(&observable);
        let expected = matrix.times(&twin.run(&twin.theta, &rho)).trace().re;
        assert!((result.value - expected).abs() < TOLERANCE, "seed {seed}");
        for (a, b) in result.gradient.iter().zip(twin.gradient(&rho, &matrix)) {
            assert!((a - b).abs() < TOLERANCE, "seed {seed}: {a} {b}");
        }
        let alone =
            value(&twin.circuit, &twin.theta, &observable, &state, &Truncation::EXACT, &Cancel::new())
                .unwrap();
        assert!((alone.value - expected).abs() < TOLERANCE && alone.gradient.is_empty());
    }
}

#[test]
fn order_and_sign_of_one_circuit_are_those_of_first_principles() {
    // RX(a) then RZ(b) on |0>: <Y> = -sin a cos b, <X> = sin a sin b, <Z> = cos a.
    let (a, b) = (0.7, 0.4);
    let mut circuit = Circuit::new(1, 2).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.rotation([(0, Letter::Z)], Angle::parameter(1)).unwrap();
    let (sa, ca, sb, cb) = (f64::sin(a), f64::cos(a), f64::sin(b), f64::cos(b));
    for (label, value, gradient) in
        [("X", sa * sb, [ca * sb, sa * cb]), ("Y", -sa * cb, [-ca * cb, sa * sb]), ("Z", ca, [-sa, 0.0])]
    {
        let observable = PauliSum::from_labels([(label, 1.0)]).unwrap();
        let state = ProductState::zero(1);
        let result =
            value_and_gradient(&circuit, &[a, b], &observable, &state, &Truncation::EXACT, &Cancel::new())
                .unwrap();
        assert!((result.value - value).abs() < 1e-15, "{label}");
        assert!(result.gradient.iter().zip(gradient).all(|(x, y)| (x - y).abs() < 1e-15), "{label}");
    }
}

#[test]
fn the_gradient_at_zero_angles_is_exact() {
    // Every rotation is the identity, yet the derivatives are not zero.
    let twin = Twin::random(3, 4, 20, 6, false);
    let zeros = vec![0.0; twin.theta.len()];
    let observable = Random(9).observable(4, 5);
    let state = ProductState::from_bloch(bloch(&mut Random(4), 4)).unwrap();
    let at = |theta: &[f64]| {
        value(&twin.circuit, theta, &observable, &state, &Truncation::EXACT, &Cancel::new()).unwrap().value
    };
    assert!(twin.circuit.n_inputs() > 0);
    let exact =
        value_and_gradient(&twin.circuit, &zeros, &observable, &state, &Truncation::EXACT, &Cancel::new())
            .unwrap()
            .gradient;
    for k in 0..6 {
        let shifted = |t: f64| {
            let mut theta = zeros.clone();
            theta[k] = t;
            at(&theta)
        };
        let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
        assert!((difference - exact[k]).abs() < 1e-8, "{k}: {difference} {}", exact[k]);
    }
    let mut circuit = Circuit::new(1, 2).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.rotation([(0, Letter::Y)], Angle::parameter(1)).unwrap();
    let x = PauliSum::from_labels([("X", 1.0)]).unwrap();
    let state = ProductState::zero(1);
    let result =
        value_and_gradient(&circuit, &[0.0, 0.0], &x, &state, &Truncation::EXACT, &Cancel::new()).unwrap();
    assert_eq!((result.value, result.gradient), (0.0, vec![0.0, 1.0]));
}

#[test]
fn the_ledger_bounds_the_error_and_the_gradient_is_that_of_the_truncated_value() {
    for seed in 0..30 {
        let n = 5;
        let twin = Twin::random(seed + 300, n, 25, 5, seed % 2 == 0);
        let observable = Random(seed + 900).observable(n, 4);
        let state = ProductState::zero(n);
        let truncation = Truncation { max_weight: Some(3), min_coefficient: 1e-3, max_terms: None };
        let at = |theta: &[f64], truncation: &Truncation| {
            value_and_gradient(&twin.circuit, theta, &observable, &state, truncation, &Cancel::new()).unwrap()
        };
        let (exact, cut) = (at(&twin.theta, &Truncation::EXACT), at(&twin.theta, &truncation));
        assert!(cut.dropped.count > 0 || cut.value == exact.value);
        assert!((exact.value - cut.value).abs() <= cut.dropped.l1 + 1e-12, "seed {seed}");
        let alone =
            value(&twin.circuit, &twin.theta, &observable, &state, &truncation, &Cancel::new()).unwrap();
        assert!((alone.value - cut.value).abs() < 1e-13 && alone.n_terms == cut.n_terms);
        assert_eq!(alone.dropped.count, cut.dropped.count);
        for k in 0..5 {
            let shifted = |t: f64| {
                let mut theta = twin.theta.clone();
                theta[k] += t;
                at(&theta, &truncation)
            };
            let (plus, minus) = (shifted(1e-6), shifted(-1e-6));
            if [&plus, &minus].iter().any(|e| e.dropped.count != cut.dropped.count) {
                continue; // a term crossed the threshold between the two points
            }
            let difference = (plus.value - minus.value) / 2e-6;
            assert!(
                (difference - cut.gradient[k]).abs() < 1e-6,
                "seed {seed}: {difference} {}",
                cut.gradient[k]
            );
        }
    }
}

#[test]
fn too_many_terms_are_an_error_that_says_what_to_change() {
    let twin = Twin::random(5, 6, 30, 5, false);
    let observable = Random(2).observable(6, 4);
    let truncation = Truncation { max_terms: Some(20), ..Truncation::EXACT };
    let error = propagate(
        &twin.circuit,
        &twin.theta,
        &observable,
        Direction::Heisenberg,
        &truncation,
        &Cancel::new(),
    )
    .unwrap_err()
    .to_string();
    assert!(error.contains("the limit is 20") && error.contains("max_terms"), "{error}");
}

#[test]
fn wide_registers_cost_only_their_light_cone() {
    // The same gates on the last qubits of 3000: the cone is narrow, so the narrow path runs; and a GHZ-like chain
    // over 130 qubits takes the wide one.
    let mut circuit = Circuit::new(3000, 1).unwrap();
    for q in 0..2999 {
        circuit.rotation([(q, Letter::Y)], Angle::parameter(0)).unwrap();
    }
    circuit.clifford(Clifford::Cnot, &[2500, 2501]).unwrap();
    let z = PauliSum::from_word(&PauliWord::from_sparse(3000, [(2501, Letter::Z)]).unwrap());
    let state = ProductState::zero(3000);
    let result =
        value_and_gradient(&circuit, &[0.3], &z, &state, &Truncation::EXACT, &Cancel::new()).unwrap();
    assert!((result.value - f64::cos(0.3).powi(2)).abs() < 1e-14);
    assert!((result.gradient[0] + 2.0 * f64::cos(0.3) * f64::sin(0.3)).abs() < 1e-14);

    let n = 130;
    let mut chain = Circuit::new(n, 1).unwrap();
    chain.clifford(Clifford::H, &[0]).unwrap();
    (1..n).for_each(|q| chain.clifford(Clifford::Cnot, &[q - 1, q]).unwrap());
    chain.rotation([(0, Letter::Z), (129, Letter::Z)], Angle::parameter(0)).unwrap();
    chain.rotation([(64, Letter::Z)], Angle::parameter(0)).unwrap();
    // X on all: +1 on GHZ; the ZZ commutes, the Z rotates the logical qubit by theta.
    let x = PauliWord::from_sparse(n, (0..n).map(|q| (q, Letter::X))).unwrap();
    let x = PauliSum::from_word(&x);
    let result =
        value(&chain, &[0.3], &x, &ProductState::zero(n), &Truncation::EXACT, &Cancel::new()).unwrap();
    assert!((result.value - f64::cos(0.3)).abs() < 1e-14);
}

#[test]
fn quarter_turns_are_the_clifford_gates_that_they_are_also_after_truncation() {
    let quarter = std::f64::consts::FRAC_PI_2;
    let n = 6;
    let mut random = Random(12);
    let (mut turned, mut named) = (Circuit::new(n, 40).unwrap(), Circuit::new(n, 40).unwrap());
    for k in 0..40 {
        let q = random.below(n);
        let letters = [(q, [Letter::X, Letter::Y, Letter::Z][random.below(3)])];
        turned.rotation(letters, Angle::parameter(k)).unwrap();
        named.rotation(letters, Angle::parameter(k)).unwrap();
        let other = (q + 1) % n;
        turned.rotation([(q, Letter::X)], quarter).unwrap();
        named.clifford(Clifford::Sx, &[q]).unwrap();
        turned.rotation([(q, Letter::Z), (other, Letter::Z)], -quarter).unwrap();
        turned.rotation([(q, Letter::Z)], quarter).unwrap();
        turned.rotation([(other, Letter::Z)], quarter).unwrap();
        named.clifford(Clifford::Cz, &[q, other]).unwrap();
    }
    let theta: Vec<f64> = (0..40).map(|_| random.angle()).collect();
    let observable = random.observable(n, 3);
    let state = ProductState::zero(n);
    for min_coefficient in [0.0, 1e-2] {
        let truncation = Truncation { min_coefficient, ..Truncation::EXACT };
        let [a, b] = [&turned, &named].map(|circuit| {
            value_and_gradient(circuit, &theta, &observable, &state, &truncation, &Cancel::new()).unwrap()
        });
        let [c, d] = [&turned, &named]
            .map(|circuit| value(circuit, &theta, &observable, &state, &truncation, &Cancel::new()).unwrap());
        for other in [&b, &c, &d] {
            assert!((a.value - other.value).abs() < 1e-12, "{} {}", a.value, other.value);
            assert_eq!((a.n_terms, a.dropped.count), (other.n_terms, other.dropped.count));
        }
        assert!(a.gradient.iter().zip(&b.gradient).all(|(x, y)| (x - y).abs() < 1e-12));
    }
}
