//! Laws of the plan at its corners: next to nothing to measure, special angles, other angles, wide registers, channels,
//! words that are too many.

mod dense;
mod plans;

use dense::{Random, Twin};
use efl_core::bits::parallel::{Cancel, num_threads, set_num_threads};
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::Options;
use efl_core::error::Error;
use efl_core::experiment::Chain;
use efl_core::gates::Clifford;
use efl_core::heisenberg::{Truncation, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::plan::{Method, NotApplicable, Plan};
use efl_core::stabiliser::Connectivity;
use efl_core::state::ProductState;
use num_complex::Complex64;
use plans::{
    Case, applies, assert_close, case, chained_cost, gradient, listed, mean_gradient, observable, quick,
    ring, sum, tilted,
};
use std::f64::consts::{FRAC_PI_2, PI};

#[test]
fn plans_of_next_to_nothing() {
    let cancel = Cancel::new();
    let zero = ProductState::zero(2);
    let z = sum(&[("ZI", 1.0)]);
    let mut fixed = Circuit::new(2, 0).unwrap();
    fixed.rotation([(0, Letter::X)], 0.4).unwrap();
    let mut elsewhere = Circuit::new(2, 2).unwrap();
    elsewhere.rotation([(1, Letter::X)], Angle::parameter(0)).unwrap();
    let mut after = Circuit::new(2, 1).unwrap();
    after.rotation([(0, Letter::Z)], Angle::parameter(0)).unwrap();
    let mut moving = Circuit::new(2, 1).unwrap();
    moving.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    let cases: Vec<(Circuit, Vec<PauliSum>)> = vec![
        (fixed, vec![z.clone()]),
        (elsewhere, vec![z.clone()]),
        (after, vec![z]),
        (moving.clone(), vec![sum(&[("II", 2.0)])]),
        (moving.clone(), vec![PauliSum::zero(2)]),
    ];
    for (i, (circuit, observables)) in cases.iter().enumerate() {
        let theta = vec![0.3; circuit.n_parameters()];
        for (input, value_weight) in [(None, 0.0), (Some(&zero), 0.0), (Some(&zero), 1.0)] {
            let options = Options { value_weight, ..quick() };
            let plan = Plan::new(circuit, observables, &theta, input, options, &cancel).unwrap();
            assert!(plan.is_trivial(), "case {i}");
            let again = plan.at(&theta, &cancel).unwrap();
            for plan in [&plan, &again] {
                for row in plan.rows().iter().filter(|row| applies(row)) {
                    assert_eq!((row.cost, row.worst), (0.0, 0.0), "case {i}, {:?}", row.method);
                    assert_eq!(row.variances, vec![0.0; theta.len()], "case {i}, {:?}", row.method);
                }
                for method in listed(plan).into_iter().filter(|_| input.is_some()) {
                    assert_eq!(plan.exact(method, &cancel).unwrap().len(), theta.len());
                    let found = plan.simulate(method, 50, 1, &cancel).unwrap();
                    assert_eq!(found.gradient, vec![0.0; theta.len()], "case {i}, {method:?}");
                }
            }
        }
    }
    assert!(Plan::new(&moving, &[], &[0.1], None, quick(), &cancel).is_err());
    assert!(Plan::new(&moving, &[sum(&[("ZI", 1.0)])], &[], None, quick(), &cancel).is_err());
    assert!(Plan::new(&moving, &[sum(&[("Z", 1.0)])], &[0.1], None, quick(), &cancel).is_err());
    let plan = Plan::new(&moving, &[sum(&[("ZI", 1.0)])], &[0.1], None, quick(), &cancel).unwrap();
    assert!(plan.at(&[], &cancel).is_err());
    assert!(plan.at(&[f64::NAN], &cancel).is_err());
    // A single word that a single setting reads: one shot has variance one.
    for method in [Method::Product, Method::Clifford, Method::Mixture, Method::Commuting] {
        assert!((plan.row(method).cost - 1.0).abs() < 1e-9, "{method:?}: {}", plan.row(method).cost);
    }
    assert!((plan.row(Method::Uniform).cost - 3.0).abs() < 1e-12);
    assert!((plan.row(Method::Biased).cost - 1.0).abs() < 1e-3);
    assert!((plan.row(Method::Shift).cost - 1.0).abs() < 1e-12);
}

#[test]
fn constant_terms_and_zero_rows_change_nothing() {
    for seed in 0..10 {
        let case = case(seed, 3, 8, 1);
        let identity = sum(&[("III", 3.0)]);
        let shifted = vec![case.observables[0].add(&identity).unwrap(), identity, PauliSum::zero(3)];
        let other = Case { circuit: case.circuit.clone(), observables: shifted, theta: case.theta.clone() };
        let (a, b) = (case.plan(quick()), other.plan(quick()));
        for method in listed(&a) {
            let (a, b) = (a.row(method), b.row(method));
            assert!((a.cost / b.cost - 1.0).abs() < 5e-3, "seed {seed}, {method:?}: {} {}", a.cost, b.cost);
            assert!(b.variances[case.theta.len()..].iter().all(|v| *v == 0.0));
        }
    }
}

#[test]
fn angles_at_which_coefficients_vanish() {
    let special = [0.0, FRAC_PI_2, PI, -FRAC_PI_2];
    for seed in 0..40 {
        let n = 2 + seed as usize % 3;
        let mut random = Random(seed);
        let general = case(seed, n, 9, 1);
        // Without offsets, so that the angles of the gates are special too.
        let mut circuit = Circuit::new(n, 9).unwrap();
        for k in 0..9 {
            let count = 1 + random.below(2);
            let wires = random.wires(count, n);
            circuit.rotation(random.letters(&wires), Angle::parameter(k)).unwrap();
        }
        let mut some = || special[random.below(4)];
        let theta: Vec<f64> = (0..9).map(|_| some()).collect();
        let half: Vec<f64> = (0..9).map(|k| if k % 2 == 0 { 0.3 + 0.1 * k as f64 } else { some() }).collect();
        let generic: Vec<f64> = (0..9).map(|k| 0.3 + 0.2 * k as f64).collect();
        let input = tilted(n);
        let (observables, cancel) = (&general.observables, Cancel::new());
        let from =
            |theta: &[f64]| Plan::new(&circuit, observables, theta, Some(&input), quick(), &cancel).unwrap();
        let plans = [
            from(&theta),
            from(&half),
            from(&generic),
            from(&generic).at(&theta, &cancel).unwrap(),
            from(&theta).at(&generic, &cancel).unwrap(),
            from(&half).at(&theta, &cancel).unwrap().at(&half, &cancel).unwrap(),
        ];
        for (i, plan) in plans.iter().enumerate() {
            let expected = gradient(&circuit, plan.theta(), observables, &input);
            for method in listed(plan) {
                let found = mean_gradient(
                    &plan.experiments(method, &Cancel::new()).unwrap(),
                    plan.theta(),
                    &input,
                    9,
                );
                assert_close(&found, &expected, 1e-9, &format!("seed {seed}, plan {i}, {method:?}"));
                let exact = plan.exact(method, &cancel).unwrap();
                assert!(exact.iter().all(|v| v.is_finite()));
            }
            assert!(applies(plan.row(Method::Clifford)), "{:?}", plan.row(Method::Clifford).note);
        }
        // The same angles by different ways cost the same.
        for (a, b) in [(0, 3), (2, 4), (1, 5)] {
            for method in listed(&plans[a]) {
                let (a, b) = (plans[a].row(method).cost, plans[b].row(method).cost);
                assert!((a - b).abs() <= 0.02 * b, "seed {seed}, {method:?}: {a} {b}");
            }
        }
    }
}

#[test]
fn a_plan_at_other_angles() {
    let cancel = Cancel::new();
    for seed in 0..20 {
        let n = 2 + seed as usize % 4;
        let case = case(seed, n, 10, 1);
        let input = tilted(n);
        let plan = case.plan_on(Some(&input), quick());
        assert_eq!(plan.gain(Method::Clifford), None);
        let same = plan.at(&case.theta, &cancel).unwrap();
        let other: Vec<f64> =
            case.theta.iter().enumerate().map(|(k, t)| t + 0.5 * (k as f64).sin()).collect();
        let moved = plan.at(&other, &cancel).unwrap();
        let fresh = Plan::new(&case.circuit, &case.observables, &other, Some(&input), quick(), &cancel);
        let fresh = fresh.unwrap();
        let expected = gradient(&case.circuit, &other, &case.observables, &input);
        for method in Method::ALL.into_iter().filter(|m| applies(plan.row(*m))) {
            let what = format!("seed {seed}, {method:?}");
            assert!(same.row(method).cost <= plan.row(method).cost * (1.0 + 2e-3), "{what}");
            let gain = same.gain(method).unwrap();
            assert!((0.998..1.05).contains(&gain), "{what}: {gain}");
            // Following the angles is as good as planning from nothing, and not worse than the design before.
            let (a, b) = (moved.row(method).cost, fresh.row(method).cost);
            assert!(a <= 1.03 * b, "{what}: {a} instead of {b}");
            let gain = moved.gain(method).unwrap();
            assert!(gain >= 0.995, "{what}: {gain}");
        }
        for method in listed(&moved) {
            let found = mean_gradient(
                &moved.experiments(method, &Cancel::new()).unwrap(),
                &other,
                &input,
                expected.len(),
            );
            assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
        }
        // Experiments without settings of the final state are those of all angles.
        for method in [Method::Echo, Method::ShiftPruned, Method::Shift] {
            let found = mean_gradient(
                &plan.experiments(method, &Cancel::new()).unwrap(),
                &other,
                &input,
                expected.len(),
            );
            assert_close(&found, &expected, 1e-9, &format!("seed {seed}, old {method:?}"));
        }
        // The old settings reveal every word at the new angles.
        for method in [Method::Uniform, Method::Biased, Method::Product, Method::Clifford, Method::Block] {
            let ensemble = plan.ensemble(method, &Cancel::new()).unwrap();
            let sums = moved.observables().sums();
            for (word, c) in (1..sums.len()).flat_map(|r| sums.terms(r)) {
                assert!(
                    c == 0.0 || ensemble.reveal_probability(word).unwrap() > 0.0,
                    "seed {seed}, {method:?}"
                );
            }
        }
    }
}

#[test]
fn a_narrow_cone_in_a_wide_register() {
    let (n, cancel) = (66, Cancel::new());
    let mut circuit = Circuit::new(n, 12).unwrap();
    for layer in 0..2 {
        for (i, q) in (62..66).enumerate() {
            let parameter = Angle::parameter(4 * layer + i);
            circuit.rotation([(q, [Letter::Y, Letter::X][layer])], parameter).unwrap();
        }
        (62..65).for_each(|q| circuit.clifford(Clifford::Cnot, &[q, q + 1]).unwrap());
    }
    (0..4).for_each(|q| circuit.rotation([(q, Letter::Y)], Angle::parameter(8 + q)).unwrap());
    let word = PauliWord::from_sparse(n, [(63, Letter::Z), (65, Letter::X)]).unwrap();
    let theta: Vec<f64> = (0..12).map(|k| 0.2 + 0.3 * k as f64).collect();
    let observables = [PauliSum::from_word(&word)];
    // The same on four qubits.
    let mut small = Circuit::new(4, 8).unwrap();
    for layer in 0..2 {
        (0..4).for_each(|q| {
            small.rotation([(q, [Letter::Y, Letter::X][layer])], Angle::parameter(4 * layer + q)).unwrap()
        });
        (0..3).for_each(|q| small.clifford(Clifford::Cnot, &[q, q + 1]).unwrap());
    }
    let narrow = [sum(&[("IZIX", 1.0)])];
    let small_plan = Plan::new(&small, &narrow, &theta[..8], None, quick(), &cancel).unwrap();
    for connectivity in [Connectivity::All, Connectivity::Line] {
        let options = Options { connectivity, ..quick() };
        let plan = Plan::new(&circuit, &observables, &theta, None, options, &cancel).unwrap();
        for method in Method::ALL.into_iter().filter(|m| applies(small_plan.row(*m)) && *m != Method::Block) {
            let (a, b) = (plan.row(method), small_plan.row(method));
            assert!((a.cost / b.cost - 1.0).abs() < 0.01, "{method:?}: {} {}", a.cost, b.cost);
            assert!(a.variances[8..].iter().all(|v| *v == 0.0));
        }
        let sums = plan.observables().sums();
        for (experiment, _) in plan.experiments(Method::Clifford, &Cancel::new()).unwrap() {
            assert!(experiment.readings().sums().words().len() <= sums.words().len());
        }
    }
}

#[test]
fn circuits_with_channels_have_no_echoes() {
    let (n, cancel) = (3, Cancel::new());
    let (o, one) = (Complex64::default(), Complex64::new(1.0, 0.0));
    let damping = [vec![one, o, o, one * 0.9f64.sqrt()], vec![o, one * 0.1f64.sqrt(), o, o]];
    let mut circuit = Circuit::new(n, 6).unwrap();
    for k in 0..6 {
        circuit.rotation([(k % n, [Letter::X, Letter::Y][k / n])], Angle::parameter(k)).unwrap();
        circuit.channel(&damping, &[k % n]).unwrap();
        circuit.clifford(Clifford::Cnot, &[k % n, (k + 1) % n]).unwrap();
    }
    let observables = [sum(&[("ZZI", 1.0), ("IIX", 0.5)])];
    let theta: Vec<f64> = (0..6).map(|k| 0.4 + 0.3 * k as f64).collect();
    let plan = Plan::new(&circuit, &observables, &theta, None, quick(), &cancel).unwrap();
    assert!(plan.row(Method::Echo).cost.is_infinite());
    assert_eq!(plan.row(Method::Echo).note, Some(NotApplicable::Channel { gate: 1 }));
    assert!(plan.experiments(Method::Echo, &Cancel::new()).unwrap_err().to_string().contains("echo"));
    let listed = [Method::Mixture, Method::ShiftPruned, Method::Shift, Method::Product, Method::Clifford];
    for method in listed {
        assert!(applies(plan.row(method)), "{method:?}");
    }
    assert!(plan.row(Method::Mixture).cost <= 1.01 * plan.row(Method::ShiftPruned).cost);
    assert!(plan.at(&theta, &cancel).is_ok());
    let input = ProductState::zero(n);
    let expected = gradient(&circuit, &theta, &observables, &input);
    for method in listed {
        let mut found = vec![0.0; 6];
        for (experiment, _) in plan.experiments(method, &Cancel::new()).unwrap() {
            for (j, &row) in experiment.readings().rows().iter().enumerate() {
                let sum = experiment.readings().sums().sum(j).unwrap();
                let value = value_and_gradient(
                    &experiment.circuit(),
                    &theta,
                    &sum,
                    &input,
                    &Truncation::EXACT,
                    &cancel,
                );
                found[row] += value.unwrap().value;
            }
        }
        assert_close(&found, &expected, 1e-9, &format!("{method:?}"));
    }
    // What a channel leaves nothing of is measured otherwise, and methods that need its words have bounds.
    let mut lost = circuit.clone();
    let quarter = one * 0.5;
    let paulis = [[one, o, o, one], [o, one, one, o], [one, o, o, -one]];
    let y = vec![o, -Complex64::i() * quarter, Complex64::i() * quarter, o];
    let mut kraus: Vec<Vec<Complex64>> =
        paulis.iter().map(|p| p.iter().map(|entry| entry * quarter).collect()).collect();
    kraus.push(y);
    lost.channel(&kraus, &[1]).unwrap();
    let plan = Plan::new(&lost, &observables, &theta, None, quick(), &cancel).unwrap();
    for method in [Method::Uniform, Method::Biased, Method::Product, Method::Clifford, Method::Block] {
        let row = plan.row(method);
        assert!(row.bound && matches!(row.note, Some(NotApplicable::Uncounted { channel: true, .. })));
    }
    assert!(applies(plan.row(Method::ShiftPruned)) && applies(plan.row(Method::Mixture)));
    // Gates that no channel follows are measured from the final state.
    let mut early = Circuit::new(1, 1).unwrap();
    early.channel(&damping, &[0]).unwrap();
    early.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    let plan = Plan::new(&early, &[sum(&[("Z", 1.0)])], &[0.3], None, quick(), &cancel).unwrap();
    assert!((plan.row(Method::Product).cost - 1.0).abs() < 1e-9);
}

#[test]
fn commuting_settings_follow_the_inputs() {
    let cancel = Cancel::new();
    let mut circuit = Circuit::new(2, 2).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.rotation([(1, Letter::X)], Angle::parameter(1)).unwrap();
    let angle = circuit.input();
    circuit.rotation([(0, Letter::Y)], angle).unwrap();
    let observables = [sum(&[("ZI", 1.0), ("ZZ", 0.5)])];
    let state = tilted(2);
    let first = Plan::new(&circuit, &observables, &[0.5, -0.4, 1.2], Some(&state), quick(), &cancel).unwrap();
    let next = first.at(&[0.7, 0.2, -2.0], &cancel).unwrap();
    // At this input the derivative by the first parameter vanishes with the words that it is read from.
    let special = next.at(&[0.7, 0.2, FRAC_PI_2], &cancel).unwrap();
    for (i, plan) in [first, next, special].iter().enumerate() {
        let expected = gradient(&circuit, plan.theta(), &observables, &state);
        for method in listed(plan) {
            let experiments = plan.experiments(method, &cancel).unwrap();
            let found = mean_gradient(&experiments, plan.theta(), &state, 2);
            assert_close(&found, &expected, 1e-9, &format!("plan {i}, {method:?}"));
        }
        assert!(applies(plan.row(Method::Commuting)), "{:?}", plan.row(Method::Commuting).note);
    }
}

#[test]
fn a_method_says_why_it_does_not_apply() {
    let note = |circuit: &Circuit, word: &str, connectivity| {
        let options = Options { connectivity, ..quick() };
        let theta = vec![0.3; circuit.n_values()];
        let plan = Plan::new(circuit, &[sum(&[(word, 1.0)])], &theta, None, options, &Cancel::new()).unwrap();
        plan.row(Method::Commuting).note.clone()
    };
    let circuit = |n: usize, gates: &[&[(usize, Letter)]]| {
        let mut circuit = Circuit::new(n, gates.len()).unwrap();
        for (k, letters) in gates.iter().enumerate() {
            circuit.rotation(letters.iter().copied(), Angle::parameter(k)).unwrap();
        }
        circuit
    };
    let (x, y, z) = (Letter::X, Letter::Y, Letter::Z);
    // X and Y of one qubit, both of which move Z.
    let clash = circuit(1, &[&[(0, x)], &[(0, y)]]);
    assert_eq!(note(&clash, "Z", Connectivity::All), Some(NotApplicable::GeneratorsDoNotCommute));
    // The second rotation keeps ZI, and turns what the derivative by the first is read from.
    let later = circuit(2, &[&[(0, x)], &[(0, z), (1, z)]]);
    assert_eq!(note(&later, "ZI", Connectivity::All), Some(NotApplicable::LaterGate));
    // The words YZ and ZY commute, but not qubit by qubit.
    let pair = circuit(2, &[&[(0, x)], &[(1, x)]]);
    assert_eq!(note(&pair, "ZZ", Connectivity::All), None);
    let needed = note(&pair, "ZZ", Connectivity::None);
    assert!(matches!(needed, Some(NotApplicable::TwoQubitGates { .. })), "{needed:?}");
    // A row that was not asked for.
    let plan = Plan::new(&pair, &[sum(&[("ZZ", 1.0)])], &[0.1, 0.2], None, quick(), &Cancel::new()).unwrap();
    let some = plan.some_at(&[0.3, 0.4], &[Method::Echo], None, None, &Cancel::new()).unwrap();
    assert_eq!(some.row(Method::Shift).note, Some(NotApplicable::NotAsked));
    assert!(applies(some.row(Method::Echo)));
    // An input state of another width is an error, not a note.
    let wide =
        Plan::new(&pair, &[sum(&[("ZZ", 1.0)])], &[0.1, 0.2], Some(&tilted(3)), quick(), &Cancel::new());
    assert!(matches!(wide, Err(Error::Shape { .. } | Error::Invalid { .. })), "{wide:?}");
}

#[test]
fn any_circuit_of_unitary_gates_has_a_plan() {
    // Evolutions of words that do not commute, unitaries, shared parameters: echoes apply, shifts may not.
    let mut without_shifts = 0;
    for seed in 0..40 {
        let n = 1 + seed as usize % 5;
        let twin = Twin::random(seed, n, 10, 4, false);
        let mut random = Random(seed + 7);
        let case = Case {
            observables: vec![random.observable(n, 3), random.observable(n, 2)],
            circuit: twin.circuit.clone(),
            theta: twin.theta.clone(),
        };
        let connectivity = [Connectivity::All, Connectivity::Line, Connectivity::None][seed as usize % 3];
        let input = if seed % 2 == 0 { tilted(n) } else { ProductState::zero(n) };
        let plan = case.plan_on(Some(&input), Options { connectivity, ..quick() });
        without_shifts += usize::from(!applies(plan.row(Method::Shift)));
        let expected = case.gradient(&input);
        assert!(applies(plan.row(Method::Echo)), "seed {seed}");
        for method in listed(&plan) {
            let found = mean_gradient(
                &plan.experiments(method, &Cancel::new()).unwrap(),
                &case.theta,
                &input,
                expected.len(),
            );
            assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
        }
        assert!(plan.row(Method::Mixture).cost <= 1.01 * plan.row(Method::Echo).cost, "seed {seed}");
    }
    assert!(without_shifts > 3, "{without_shifts}");
}

#[test]
fn without_two_qubit_gates() {
    for seed in 0..12 {
        let n = 2 + seed as usize % 4;
        let case = case(seed, n, 9, 2);
        let plan = case.plan(Options { connectivity: Connectivity::None, ..quick() });
        for method in [Method::Clifford, Method::Block] {
            assert!(plan.row(method).cost.is_infinite() && plan.row(method).note.is_some());
            assert!(
                plan.ensemble(method, &Cancel::new()).is_err()
                    && plan.experiments(method, &Cancel::new()).is_err()
            );
        }
        for method in listed(&plan) {
            for (experiment, _) in plan.experiments(method, &Cancel::new()).unwrap() {
                assert_eq!(experiment.setting().two_qubit_gates(), 0, "seed {seed}, {method:?}");
            }
        }
    }
}

#[test]
fn bounds_are_bounds() {
    let (mut seen, cancel) = (0, Cancel::new());
    for seed in 0..30 {
        let n = 2 + seed as usize % 4;
        let case = case(seed, n, 14, 1 + seed as usize % 2);
        let whole = case.plan(quick());
        for max_terms in [1, 3, 10] {
            let plan = case.plan(Options { max_terms, ..quick() });
            for method in Method::ALL {
                let (part, whole) = (plan.row(method), whole.row(method));
                if part.bound {
                    seen += 1;
                    let what = format!("seed {seed}, {max_terms}, {method:?}: {} {}", part.cost, whole.cost);
                    assert!(
                        part.cost <= whole.cost * (1.0 + 1e-9) && part.worst <= whole.worst * (1.0 + 1e-9),
                        "{what}"
                    );
                    let uncounted =
                        matches!(part.note, Some(NotApplicable::Uncounted { channel: false, .. }));
                    assert!(uncounted && part.variances.is_empty());
                    assert!(
                        plan.experiments(method, &Cancel::new()).is_err()
                            && plan.ensemble(method, &Cancel::new()).is_err()
                    );
                    assert_ne!(plan.best().method, method);
                }
            }
            // What is too long for settings is measured by echoes and shifts.
            let mixture = plan.row(Method::Mixture);
            assert!(applies(mixture) && mixture.cost <= 1.01 * plan.row(Method::Echo).cost);
            let input = tilted(n);
            for method in listed(&plan) {
                let experiments = plan.experiments(method, &Cancel::new()).unwrap();
                let expected = case.gradient(&input);
                let found = mean_gradient(&experiments, &case.theta, &input, expected.len());
                assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {max_terms}, {method:?}"));
            }
            let other: Vec<f64> = case.theta.iter().map(|t| t + 0.3).collect();
            assert!(applies(plan.at(&other, &cancel).unwrap().row(Method::Mixture)));
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn little_effort_is_enough_for_a_plan() {
    for seed in 0..6 {
        let case = case(seed, 4, 12, 1);
        let full = case.plan(quick());
        for effort in [0, 1, 1000] {
            let plan = case.plan(Options { effort, ..quick() });
            for method in listed(&full) {
                let row = plan.row(method);
                assert!(applies(row), "{effort}, {method:?}: {:?}", row.note);
                assert!(row.cost >= 0.98 * full.row(method).cost, "{effort}, {method:?}");
            }
        }
    }
}

#[test]
fn fewer_settings_than_the_best_design_has() {
    let cancel = Cancel::new();
    let (mut thinned, mut refused) = (0, 0);
    for seed in 0..16 {
        let case = case(seed, 3, 9, 2);
        let input = tilted(3);
        let theta: Vec<f64> = case.theta.iter().map(|angle| angle + 0.3).collect();
        let whole = case.plan(quick());
        for most in [1, 3, 6, 9, 14, 20] {
            let options = Options { max_settings: Some(most), ..quick() };
            let made =
                Plan::new(&case.circuit, &case.observables, &case.theta, Some(&input), options, &cancel);
            let Ok(plan) = made else {
                let error = made.unwrap_err();
                assert!(
                    matches!(&error, Error::Invalid { argument, .. } if argument == "max_settings"),
                    "{error}"
                );
                refused += 1;
                continue;
            };
            let later = plan.at(&theta, &cancel);
            for (plan, theta) in [(Some(&plan), &case.theta), (later.as_ref().ok(), &theta)] {
                let Some(plan) = plan else { continue };
                let expected = gradient(&case.circuit, theta, &case.observables, &input);
                for row in plan.rows().iter().filter(|row| applies(row)) {
                    let what = format!("seed {seed}, {most}, {:?}", row.method);
                    let experiments = plan.experiments(row.method, &cancel).unwrap();
                    assert!(experiments.len() <= most && row.settings == Some(experiments.len()), "{what}");
                    let found = mean_gradient(&experiments, theta, &input, expected.len());
                    assert_close(&found, &expected, 1e-9, &what);
                }
            }
            for (few, all) in plan.rows().iter().zip(whole.rows()).filter(|(few, _)| applies(few)) {
                assert!(few.cost >= all.cost * 0.98, "seed {seed}, {most}, {:?}", few.method);
                thinned += usize::from(few.settings < all.settings);
            }
        }
    }
    assert!(thinned > 20 && refused > 5, "{thinned} {refused}");
}

#[test]
fn a_plan_is_the_same_with_any_number_of_threads() {
    let case = case(3, 5, 16, 2);
    let other: Vec<f64> = case.theta.iter().map(|t| t + 0.4).collect();
    let before = num_threads();
    let plans: Vec<Plan> = [1, 2, 5]
        .into_iter()
        .map(|threads| {
            set_num_threads(threads).unwrap();
            case.plan_on(Some(&tilted(5)), quick()).at(&other, &Cancel::new()).unwrap()
        })
        .collect();
    set_num_threads(before).unwrap();
    for plan in &plans[1..] {
        assert_eq!(plan.rows(), plans[0].rows());
        for method in listed(plan) {
            let [a, b] =
                [plan, &plans[0]].map(|plan| plan.simulate(method, 3000, 8, &Cancel::new()).unwrap());
            assert_eq!(a, b, "{method:?}");
        }
    }
}

/// Rotations and evolutions by data, as numbers or as inputs, between gates of six parameters.
fn with_data(seed: u64, n: usize, data: &[f64], open: bool) -> Circuit {
    let mut random = Random(seed);
    let mut circuit = Circuit::new(n, 6).unwrap();
    for (k, &x) in data.iter().enumerate() {
        let angle = if open { circuit.input() } else { Angle::Fixed(x) };
        let wires = random.wires(2, n);
        if k % 3 == 2 {
            let letters = [random.letters(&wires), random.letters(&wires[..1])];
            let words = letters.map(|letters| PauliWord::from_sparse(n, letters).unwrap());
            let generator = PauliSum::from_terms(n, [(&words[0], 0.7), (&words[1], 0.4)]).unwrap();
            circuit.evolution(&generator, angle).unwrap();
        } else {
            circuit.rotation(random.letters(&wires[..1 + k % 2]), angle).unwrap();
        }
        circuit.rotation(random.letters(&wires[k % 2..]), Angle::parameter(k % 6)).unwrap();
        circuit.clifford([Clifford::Cz, Clifford::Ecr][k % 2], &wires).unwrap();
    }
    circuit
}

#[test]
fn data_are_the_same_as_numbers_and_as_inputs() {
    let cancel = Cancel::new();
    for seed in 0..12 {
        let n = 2 + seed as usize % 4;
        let mut random = Random(seed + 50);
        let data: Vec<f64> = (0..8).map(|_| random.angle()).collect();
        let theta: Vec<f64> = (0..6).map(|_| random.angle()).collect();
        let observables = vec![observable(&mut random, n, 3), observable(&mut random, n, 2)];
        let at = |data: &[f64], open| {
            let values = if open { [&theta, data].concat() } else { theta.clone() };
            Case { circuit: with_data(seed, n, data, open), observables: observables.clone(), theta: values }
        };
        let plan = at(&data, true).plan_on(Some(&tilted(n)), quick());
        let fixed = at(&data, false).plan_on(Some(&tilted(n)), quick());
        assert_eq!(plan.rows(), fixed.rows(), "seed {seed}");
        // Zeros and quarter turns are where fewer words are moved.
        let special = (0..8).map(|k| FRAC_PI_2 * f64::from(k % 4)).collect();
        for data in [data.iter().map(|x| x + 1.0).collect::<Vec<f64>>(), special] {
            let (open, fixed) = (at(&data, true), at(&data, false));
            let plan = plan.at(&open.theta, &cancel).unwrap();
            let expected = fixed.gradient(&tilted(n));
            assert_close(&open.gradient(&tilted(n)), &expected, 1e-9, "propagated");
            for method in listed(&plan) {
                let experiments = plan.experiments(method, &Cancel::new()).unwrap();
                let found = mean_gradient(&experiments, &open.theta, &tilted(n), expected.len());
                assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
            }
        }
    }
}

#[test]
fn derivatives_that_add_up_are_designed_for_as_their_sum() {
    let (cancel, input) = (Cancel::new(), ProductState::zero(4));
    let ((apart, chain), (shared, _)) = (ring(false), ring(true));
    let plan = apart.plan_on(Some(&input), quick());
    let weights: Vec<f64> = (0..18).map(|k| if (8..12).contains(&k) { 2.25 } else { 1.0 }).collect();
    let before = plan.some_at(&apart.theta, &Method::ALL, Some(&weights), None, &cancel).unwrap();
    let after = plan.some_at(&apart.theta, &Method::ALL, Some(&weights), Some(&chain), &cancel).unwrap();
    let whole = shared.plan_on(Some(&input), quick());
    let exact = apart.gradient(&input);
    for method in [Method::Product, Method::Clifford, Method::Echo, Method::Mixture] {
        let cost = chained_cost(&after, method, &chain);
        // One parameter for all gates of an argument is the same problem.
        let own = 4.0 * whole.row(method).cost;
        assert!(cost <= own * 1.02, "{method:?} {cost} {own}");
        let former = chained_cost(&before, method, &chain);
        assert!(cost <= former * 1.01, "{method:?} {cost} {former}");
        // Each parameter is measured, whatever cancels in the sums.
        let found = mean_gradient(&after.experiments(method, &cancel).unwrap(), &apart.theta, &input, 18);
        assert_close(&found, &exact, 1e-9, method.name());
        assert!(after.row(method).variances.iter().all(|v| v.is_finite()));
        assert!(after.gain(method).unwrap() > 0.99, "{method:?} {:?}", after.gain(method));
    }
    // Covariances count: without them the list of settings costs more.
    let [plain, summed] = [&before, &after].map(|plan| chained_cost(plan, Method::Clifford, &chain));
    assert!(summed < 0.97 * plain, "{summed} {plain}");
    let narrow = Chain::new(1, 1, &[1.0]).unwrap();
    assert!(plan.some_at(&apart.theta, &Method::ALL, None, Some(&narrow), &cancel).is_err());
}
