//! Laws of the search for a plan: why methods do not apply, bounds, few settings, little effort, any number of threads.

mod dense;
mod plans;

use dense::{Random, Twin};
use efl_core::bits::parallel::{Cancel, num_threads, set_num_threads};
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::Options;
use efl_core::error::Error;
use efl_core::experiment::Chain;
use efl_core::pauli::Letter;
use efl_core::plan::{Method, NotApplicable, Plan};
use efl_core::stabiliser::Connectivity;
use efl_core::state::ProductState;
use plans::{
    Case, applies, assert_close, case, chained_cost, gradient, listed, mean_gradient, quick, ring, sum,
    tilted,
};

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
