//! Every gradient observable as a matrix, and what follows from it, against dense matrices up to 6 qubits.

mod dense;

use dense::{Dense, Gate, I, ONE, Random, Twin, product_state};
use efl_core::bits::parallel::{Cancel, set_num_threads};
use efl_core::circuit::{Angle, Circuit};
use efl_core::gates::Clifford;
use efl_core::heisenberg::{
    GradientObservables, GradientTemplate, Truncation, gradient_observables, rebase, value_and_gradient,
};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::state::ProductState;

const TOLERANCE: f64 = 1e-10;

fn gradients(twin: &Twin, observables: &[PauliSum], truncation: &Truncation) -> GradientObservables {
    gradient_observables(&twin.circuit, &twin.theta, observables, truncation, &Cancel::new()).unwrap()
}

/// Every G_k as a matrix: `sum over gates of scale * i [V A V^dag, O]`.
fn dense_gradients(twin: &Twin, observable: &Dense) -> Vec<Dense> {
    let mut result = vec![Dense::zero(observable.d); twin.circuit.n_parameters()];
    for (k, gate) in twin.gates.iter().enumerate() {
        let Gate::Evolution(a, Angle::Trainable { parameter, scale, .. }) = gate else { continue };
        let pushed = a.conjugated_by(&twin.unitary(&twin.theta, k + 1));
        let commutator = pushed.times(observable).plus(-ONE, &observable.times(&pushed));
        result[*parameter] = result[*parameter].plus(I * *scale, &commutator);
    }
    result
}

fn expectation(rows: &GradientObservables, row: usize, rho: &Dense) -> f64 {
    dense::sum(&rows.sums().sum(row).unwrap()).times(rho).trace().re
}

#[test]
fn every_gradient_observable_is_the_commutator_of_dense_matrices() {
    for seed in 0..40 {
        let n = 1 + seed as usize % 6;
        let twin = Twin::random(seed, n, if n == 6 { 8 } else { 14 }, 4, false);
        let mut random = Random(seed + 50);
        let observables = [random.observable(n, 3), random.observable(n, 1)];
        let rows = gradients(&twin, &observables, &Truncation::EXACT);
        assert_eq!(rows.n_rows(), 2 * 5);
        assert_eq!(rows.dropped().count, 0);
        for (o, observable) in observables.iter().enumerate() {
            assert_eq!(&rows.sums().sum(o).unwrap(), observable);
            for (k, expected) in dense_gradients(&twin, &dense::sum(observable)).iter().enumerate() {
                let found = rows.sums().sum(rows.gradient_row(o, k)).unwrap();
                assert!(dense::sum(&found).distance(expected) < TOLERANCE, "seed {seed}, parameter {k}");
                assert_eq!(found.identity_coefficient(), 0.0, "a commutator has no trace");
                assert_eq!(
                    rows.is_zero(o, k),
                    expected.distance(&Dense::zero(expected.d)) < 1e-12,
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn expectation_values_on_the_final_state_are_the_derivatives() {
    for seed in 100..130 {
        let n = 2 + seed as usize % 4;
        let twin = Twin::random(seed, n, 12, 5, false);
        let observable = Random(seed).observable(n, 3);
        let initial = product_state(&vec![[0.0, 0.0, 1.0]; n]);
        let rho = twin.run(&twin.theta, &initial);
        let rows = gradients(&twin, std::slice::from_ref(&observable), &Truncation::EXACT);
        let exact = twin.gradient(&initial, &dense::sum(&observable));
        let state = ProductState::zero(n);
        let surrogate = value_and_gradient(
            &twin.circuit,
            &twin.theta,
            &observable,
            &state,
            &Truncation::EXACT,
            &Cancel::new(),
        )
        .unwrap();
        for k in 0..5 {
            let found = expectation(&rows, rows.gradient_row(0, k), &rho);
            assert!((found - exact[k]).abs() < TOLERANCE, "seed {seed}: {found} {}", exact[k]);
            assert!((surrogate.gradient[k] - exact[k]).abs() < TOLERANCE, "seed {seed}");
            let shifted = |t: f64| {
                let mut theta = twin.theta.clone();
                theta[k] += t;
                dense::sum(&observable).times(&twin.run(&theta, &initial)).trace().re
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((difference - found).abs() < 1e-7, "seed {seed}: {difference} {found}");
        }
    }
}

#[test]
fn the_answer_and_its_gradient_anticommute() {
    // O^2 = 1 implies d(O^2) = 0: {O, G_k} = 0.
    for seed in 0..15 {
        let n = 2 + seed as usize % 4;
        let twin = Twin::random(seed + 20, n, 15, 4, false);
        let observable = PauliSum::from_word(Random(seed).observable(n, 1).words().get(0));
        let rows = gradients(&twin, std::slice::from_ref(&observable), &Truncation::EXACT);
        for k in 0..4 {
            let gradient = rows.sums().sum(rows.gradient_row(0, k)).unwrap();
            assert!(observable.anticommutator_half(&gradient).unwrap().l1_norm() < 1e-12);
        }
    }
}

#[test]
fn a_parameter_that_feeds_several_gates_sums_them_times_their_scales() {
    // RX(2 t) RX(-0.5 t + 1) = RX(1.5 t + 1): <Z> = cos(1.5 t + 1).
    let mut circuit = Circuit::new(1, 2).unwrap();
    for (scale, offset) in [(2.0, 0.0), (-0.5, 1.0)] {
        circuit.rotation([(0, Letter::X)], Angle::Trainable { parameter: 1, scale, offset }).unwrap();
    }
    let z = PauliSum::from_labels([("Z", 1.0)]).unwrap();
    let rows = gradient_observables(&circuit, &[0.0, 0.3], &[z], &Truncation::EXACT, &Cancel::new()).unwrap();
    assert!(rows.is_zero(0, 0));
    // (i/2)[X, Z] = Y, times 1.5.
    let expected = PauliSum::from_labels([("Y", 1.5)]).unwrap();
    assert_eq!(rows.sums().sum(rows.gradient_row(0, 1)).unwrap(), expected);
}

#[test]
fn what_does_not_matter_is_known_to_be_zero() {
    let mut circuit = Circuit::new(4, 5).unwrap();
    circuit.rotation([(0, Letter::Y)], Angle::parameter(0)).unwrap();
    circuit.rotation([(2, Letter::Y)], Angle::parameter(1)).unwrap(); // off the cone of Z_0
    circuit.clifford(Clifford::Cz, &[0, 1]).unwrap();
    circuit.rotation([(0, Letter::Z)], Angle::parameter(2)).unwrap(); // commutes with Z_0
    circuit.rotation([(0, Letter::X)], Angle::Trainable { parameter: 3, scale: 0.0, offset: 0.2 }).unwrap();
    let z = PauliSum::from_labels([("ZIII", 1.0)]).unwrap();
    let rows = gradient_observables(&circuit, &[0.1; 5], &[z], &Truncation::EXACT, &Cancel::new()).unwrap();
    assert_eq!((0..5).map(|k| rows.is_zero(0, k)).collect::<Vec<_>>(), [false, true, false, true, true]);
}

#[test]
fn channels_are_refused_inside_the_light_cone_only() {
    let s = ONE * 0.5f64.sqrt();
    let (mut kraus, mut flip) = (Dense::identity(2), dense::letter(Letter::X));
    kraus = kraus.scaled(s);
    flip = flip.scaled(s);
    let build = |wire: usize| {
        let mut circuit = Circuit::new(2, 1).unwrap();
        circuit.rotation([(0, Letter::Y)], Angle::parameter(0)).unwrap();
        circuit.channel(&[kraus.m.clone(), flip.m.clone()], &[wire]).unwrap();
        circuit
    };
    let z = [PauliSum::from_labels([("ZZ", 1.0)]).unwrap()];
    let cancel = Cancel::new();
    assert!(gradient_observables(&build(1), &[0.1], &z, &Truncation::EXACT, &cancel).is_ok());
    let error =
        gradient_observables(&build(0), &[0.1], &z, &Truncation::EXACT, &cancel).unwrap_err().to_string();
    assert!(error.contains("a channel at gate 1, after gate 0 of parameter 0"), "{error}");
    let off = [PauliSum::from_labels([("IZ", 1.0)]).unwrap()];
    assert!(
        gradient_observables(&build(0), &[0.1], &off, &Truncation::EXACT, &cancel).unwrap().is_zero(0, 0)
    );
}

#[test]
fn the_ledger_bounds_the_error_of_every_row() {
    for seed in 0..15 {
        let n = 5;
        let twin = Twin::random(seed + 700, n, 22, 5, false);
        let observable = Random(seed + 60).observable(n, 3);
        let exact = gradients(&twin, std::slice::from_ref(&observable), &Truncation::EXACT);
        let truncation = Truncation { max_weight: Some(3), min_coefficient: 1e-2, max_terms: None };
        let cut = gradients(&twin, std::slice::from_ref(&observable), &truncation);
        let rho = twin.run(&twin.theta, &product_state(&vec![[0.0, 0.0, 1.0]; n]));
        for row in 0..exact.n_rows() {
            let error = (expectation(&exact, row, &rho) - expectation(&cut, row, &rho)).abs();
            assert!(error <= cut.dropped_row(row).l1 + 1e-12, "seed {seed}, row {row}: {error}");
            assert!(cut.sums().row(row).0.len() <= exact.sums().row(row).0.len());
        }
        assert_eq!(exact.dropped().count, 0);
    }
}

#[test]
fn rows_have_the_same_bits_with_one_thread_and_with_many() {
    let twin = Twin::random(31, 6, 24, 8, false);
    let observables = [Random(1).observable(6, 3), Random(2).observable(6, 3)];
    let all: Vec<GradientObservables> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            set_num_threads(threads).unwrap();
            gradients(&twin, &observables, &Truncation::EXACT)
        })
        .collect();
    assert!(all.iter().all(|rows| rows == &all[0]));
    for row in 0..all[0].n_rows() {
        let ((_, a), (_, b)) = (all[0].sums().row(row), all[2].sums().row(row));
        assert!(a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}

#[test]
fn rebased_observables_read_old_states_as_new_ones() {
    for seed in 0..15 {
        let n = 1 + seed as usize % 4;
        let twin = Twin::random(seed + 40, n, 12, 4, false);
        let start = twin.gates.len() / 2;
        // Parameters and inputs of the gates before the block stay as they are.
        let frozen: Vec<usize> = twin.gates[..start]
            .iter()
            .filter_map(|gate| match gate {
                Gate::Evolution(_, angle) => twin.place(*angle),
                Gate::Fixed(_) => None,
            })
            .collect();
        let mut random = Random(seed);
        let old: Vec<f64> = (0..twin.theta.len())
            .map(|k| if frozen.contains(&k) { twin.theta[k] } else { twin.theta[k] + random.real() })
            .collect();
        let observable = random.observable(n, 3);
        let rows = gradients(&twin, std::slice::from_ref(&observable), &Truncation::EXACT);
        let rebased =
            rebase(&rows, &twin.circuit, &twin.theta, &old, start, &Truncation::EXACT, &Cancel::new())
                .unwrap();
        let w = twin.unitary(&old, start).times(&twin.unitary(&twin.theta, start).dagger());
        let initial = product_state(&vec![[0.0, 0.0, 1.0]; n]);
        let (new_state, old_state) = (twin.run(&twin.theta, &initial), twin.run(&old, &initial));
        for row in 0..rows.n_rows() {
            let expected = dense::sum(&rows.sums().sum(row).unwrap()).conjugated_by(&w);
            assert!(
                dense::sum(&rebased.sums().sum(row).unwrap()).distance(&expected) < TOLERANCE,
                "seed {seed}"
            );
            let (a, b) = (expectation(&rows, row, &new_state), expectation(&rebased, row, &old_state));
            assert!((a - b).abs() < TOLERANCE, "seed {seed}");
        }
        for k in frozen {
            let mut moved = old.clone();
            moved[k] += 0.1;
            let refused =
                rebase(&rows, &twin.circuit, &twin.theta, &moved, start, &Truncation::EXACT, &Cancel::new());
            // A parameter may feed a gate with a scale of zero only by chance, which these seeds do not have.
            assert!(refused.unwrap_err().to_string().contains("changed, which feeds gate"));
        }
    }
}

#[test]
fn words_past_the_cone_and_past_64_qubits_are_kept() {
    let n = 200;
    let mut circuit = Circuit::new(n, 1).unwrap();
    circuit.rotation([(150, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.rotation([(150, Letter::Y), (151, Letter::Y)], 0.4).unwrap();
    let word = |letters: &[(usize, Letter)]| PauliWord::from_sparse(n, letters.iter().copied()).unwrap();
    let zz = word(&[(3, Letter::Z), (150, Letter::Z)]);
    let far = word(&[(7, Letter::X)]);
    let observable = PauliSum::from_terms(n, [(&zz, 2.0), (&far, 1.0)]).unwrap();
    let rows =
        gradient_observables(&circuit, &[0.1], &[observable], &Truncation::EXACT, &Cancel::new()).unwrap();
    // X~ = cos X + sin (Z Y) up to sign: with Z Z_3 only the part that anticommutes with Z_150 remains.
    let gradient = rows.sums().sum(1).unwrap();
    assert_eq!(gradient.len(), 1);
    let expected = word(&[(3, Letter::Z), (150, Letter::Y)]);
    assert!((gradient.coefficient(&expected) - 2.0 * f64::cos(0.4)).abs() < 1e-15);
}

#[test]
fn a_structure_gives_the_same_observables_at_all_angles() {
    for seed in 0..25 {
        let n = 1 + seed as usize % 5;
        let twin = Twin::random(seed + 11, n, 12, 4, false);
        let mut random = Random(seed + 3);
        let observables = [random.observable(n, 3), random.observable(n, 2)];
        let structure = GradientTemplate::new(&twin.circuit, &observables, None, &Cancel::new()).unwrap();
        let elsewhere = (0..twin.theta.len()).map(|_| random.angle()).collect();
        for theta in [twin.theta.clone(), vec![0.0; twin.theta.len()], elsewhere] {
            let direct =
                gradient_observables(&twin.circuit, &theta, &observables, &Truncation::EXACT, &Cancel::new())
                    .unwrap();
            let replayed = structure.at(&theta, &Cancel::new()).unwrap();
            assert_eq!(replayed.n_rows(), direct.n_rows());
            for row in 0..direct.n_rows() {
                let minus = direct.sums().sum(row).unwrap().scale(-1.0).unwrap();
                let difference = replayed.sums().sum(row).unwrap().add(&minus).unwrap();
                assert!(difference.l1_norm() < TOLERANCE, "seed {seed}, row {row}: {difference}");
            }
        }
    }
}

/// Gates on 5 qubits, placed on the given qubits of a register.
fn placed(n: usize, qubits: &[usize; 5]) -> (Circuit, PauliSum, Vec<f64>) {
    let mut random = Random(2024);
    let mut circuit = Circuit::new(n, 12).unwrap();
    for k in 0..36 {
        let count = 1 + random.below(3);
        let letters = {
            let wires = random.wires(count, 5);
            random.letters(&wires)
        };
        circuit.rotation(letters.iter().map(|(q, l)| (qubits[*q], *l)), Angle::parameter(k % 12)).unwrap();
        let (a, b) = (random.below(5), 1 + random.below(4));
        circuit.clifford(Clifford::Ecr, &[qubits[a], qubits[(a + b) % 5]]).unwrap();
        if k % 9 == 0 {
            let word = |letters: &[(usize, Letter)]| {
                PauliWord::from_sparse(n, letters.iter().map(|(q, l)| (qubits[*q], *l))).unwrap()
            };
            let terms = [(word(&[(0, Letter::X), (1, Letter::Y)]), 0.3), (word(&[(1, Letter::Z)]), 0.8)];
            let a = PauliSum::from_terms(n, terms.iter().map(|(w, c)| (w, *c))).unwrap();
            circuit.evolution(&a, Angle::parameter(k % 12)).unwrap();
        }
    }
    let words: Vec<_> =
        (0..5).map(|q| PauliWord::from_sparse(n, [(qubits[q], Letter::Z)]).unwrap()).collect();
    let observable = PauliSum::from_terms(n, words.iter().map(|w| (w, random.real()))).unwrap();
    let theta = (0..12).map(|_| random.angle()).collect();
    (circuit, observable, theta)
}

#[test]
fn where_the_qubits_are_in_the_register_does_not_matter() {
    let cancel = Cancel::new();
    let cut = Truncation { max_weight: Some(3), min_coefficient: 1e-2, max_terms: None };
    let (narrow, o, theta) = placed(5, &[0, 1, 2, 3, 4]);
    for (n, qubits) in [(64, [1, 7, 30, 62, 63]), (65, [0, 1, 2, 63, 64]), (300, [3, 64, 127, 128, 299])] {
        let (wide, wide_o, _) = placed(n, &qubits);
        let letters = |word: &PauliWord| word.support().map(|(q, l)| (qubits[q], l)).collect::<Vec<_>>();
        let moved = |sum: &PauliSum| {
            let words: Vec<_> = sum
                .iter()
                .map(|(w, c)| (PauliWord::from_sparse(n, letters(&w.to_word())).unwrap(), c))
                .collect();
            PauliSum::from_terms(n, words.iter().map(|(w, c)| (w, *c))).unwrap()
        };
        for truncation in [Truncation::EXACT, cut] {
            let value = |circuit: &Circuit, o: &PauliSum| {
                let state = ProductState::zero(circuit.n_qubits());
                value_and_gradient(circuit, &theta, o, &state, &truncation, &cancel).unwrap()
            };
            let (a, b) = (value(&narrow, &o), value(&wide, &wide_o));
            assert!((a.value - b.value).abs() < 1e-12 && a.n_terms == b.n_terms);
            assert!(a.gradient.iter().zip(&b.gradient).all(|(x, y)| (x - y).abs() < 1e-11));
            let rows = |circuit: &Circuit, o: &PauliSum| {
                gradient_observables(circuit, &theta, std::slice::from_ref(o), &truncation, &cancel).unwrap()
            };
            let (a, b) = (rows(&narrow, &o), rows(&wide, &wide_o));
            let structure =
                GradientTemplate::new(&wide, std::slice::from_ref(&wide_o), None, &cancel).unwrap();
            let replayed = structure.at(&theta, &cancel).unwrap();
            for row in 0..a.n_rows() {
                let expected = moved(&a.sums().sum(row).unwrap()).scale(-1.0).unwrap();
                assert!(b.sums().sum(row).unwrap().add(&expected).unwrap().l1_norm() < 1e-11);
                if truncation == Truncation::EXACT {
                    assert!(replayed.sums().sum(row).unwrap().add(&expected).unwrap().l1_norm() < 1e-11);
                }
            }
        }
    }
}
