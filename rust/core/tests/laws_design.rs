//! Laws of the design: shares that cannot be improved, families that are complete, costs that are what they say.
//!
//! Every law is checked on circuits whose seeds are fixed; nothing here is sampled.

mod dense;
mod plans;

use dense::Random;
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::{
    DirectMeasurement, Goal, Kind, Mix, Objective, Options, Problem, Route, Shares, design,
};
use efl_core::ensemble::Ensemble;
use efl_core::gates::Clifford;
use efl_core::pauli::{Letter, PauliSum, PauliWord, Sums};
use efl_core::plan::{Method, Plan, Row};
use efl_core::stabiliser::{Connectivity, Setting};
use efl_core::state::ProductState;
use plans::{Case, applies, assert_close, case, listed, mean_gradient, observable, quick, sum, tilted};
use std::collections::BTreeSet;

// ---- shares --------------------------------------------------------------------------------------------------

/// A random problem: sums, families that reveal every word, and direct measurements of some rows.
fn problem(random: &mut Random, direct: bool) -> (Sums, Objective, Vec<Vec<u32>>, Vec<DirectMeasurement>) {
    let n = 4;
    let rows = 2 + random.below(5);
    let sums: Vec<PauliSum> = (0..rows).map(|_| observable(random, n, 6)).collect();
    let sums = Sums::from_sums(n, &sums).unwrap();
    let words = sums.words().len() as u32;
    let weights = (0..rows).map(|_| 0.05 + random.real().abs()).collect();
    let objective = Objective::new(&sums, 0, &Goal::Weighted(weights), 0.0).unwrap();
    let mut families: Vec<Vec<u32>> = (0..3 + random.below(8))
        .map(|_| (0..words).filter(|_| random.below(3) == 0).collect::<Vec<u32>>())
        .filter(|f| !f.is_empty())
        .collect();
    families.extend((0..words).step_by(2).map(|c| (c..words.min(c + 2)).collect()));
    let mut measurements = Vec::new();
    if direct {
        for route in [Route::Echo, Route::Shift] {
            // Every row is measured once or twice by each route.
            for r in 0..rows as u32 {
                let mut given = vec![(r, 0.1 + 3.0 * random.real().abs())];
                if random.below(2) == 0 {
                    given.push(((r + 1) % rows as u32, 0.1 + random.real().abs()));
                }
                measurements.push(DirectMeasurement { route, rows: given });
            }
        }
    }
    (sums, objective, families, measurements)
}

fn weighted(problem: &Problem<'_>, shares: &Shares) -> f64 {
    let variances = problem.variances(shares);
    variances.iter().zip(problem.objective.weights()).filter(|(_, w)| **w > 0.0).map(|(v, w)| v * w).sum()
}

#[test]
fn shares_are_certified_and_nothing_near_them_is_better() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let (sums, objective, families, direct) = problem(&mut random, seed % 2 == 1);
        let problem = Problem { sums: &sums, objective: &objective, families: &families, direct: &direct };
        let found = problem.solve(None, 100_000_000, &Cancel::new()).unwrap();
        let total: f64 = found.families.iter().chain(&found.direct).sum();
        assert!((total - 1.0).abs() < 1e-12, "seed {seed}: {total}");
        assert!(found.families.iter().chain(&found.direct).all(|q| *q >= 0.0));
        assert!(found.value >= found.bound && found.value <= 1.003 * found.bound, "seed {seed}: {found:?}");
        assert!((weighted(&problem, &found) / found.value - 1.0).abs() < 1e-9, "seed {seed}");
        for (mix, w) in found.mix.iter().zip(objective.weights()) {
            let sum = mix.total();
            assert!(if *w > 0.0 { (sum - 1.0).abs() < 1e-12 } else { sum == 0.0 }, "seed {seed}: {mix:?}");
        }
        for trial in 0..300 {
            let size = [1.0, 0.3, 0.03][trial % 3];
            let mut other = found.clone();
            let mut stir =
                |q: &mut f64| *q = (*q * (size * random.real()).exp()) + 1e-3 * size * random.real().abs();
            other.families.iter_mut().chain(&mut other.direct).for_each(&mut stir);
            let total: f64 = other.families.iter().chain(&other.direct).sum();
            other.families.iter_mut().chain(&mut other.direct).for_each(|q| *q /= total);
            if !direct.is_empty() && trial % 2 == 0 {
                for mix in other.mix.iter_mut().filter(|m| **m != Mix::NONE) {
                    mix.iter_mut().for_each(|a| *a = (*a + 0.1 * size * random.real()).max(1e-6));
                    mix.divide(mix.total());
                }
            }
            // Shares and mix are jointly convex: what is not better nearby is not better anywhere. Small weights of a
            // mix are given up for simplicity, which may cost a little.
            let value = weighted(&problem, &other);
            assert!(value >= found.value * 0.99, "seed {seed}, trial {trial}: {value} < {}", found.value);
            if other.mix == found.mix {
                assert!(value >= found.bound * (1.0 - 1e-12), "seed {seed}, trial {trial}");
            }
        }
    }
}

#[test]
fn shares_of_known_problems() {
    let cancel = Cancel::new();
    // One word in each of two families: shares go with the size of the coefficients.
    let sums = Sums::from_sums(1, [&sum(&[("X", 3.0), ("Z", 1.0)])]).unwrap();
    let objective = Objective::new(&sums, 0, &Goal::Mean, 0.0).unwrap();
    let families = [vec![0], vec![1]];
    let problem = Problem { sums: &sums, objective: &objective, families: &families, direct: &[] };
    let found = problem.solve(None, 1_000_000, &cancel).unwrap();
    let x = (0..2).find(|&c| sums.words().get(c).to_string() == "X").unwrap();
    assert!((found.families[x] - 0.75).abs() < 0.02 && (found.value - 16.0).abs() < 0.05, "{found:?}");
    // Two routes of the same variance for one row: half of the row by each would need both, so either alone is optimal.
    let one = Sums::from_sums(1, [&sum(&[("X", 1.0)])]).unwrap();
    let objective = Objective::new(&one, 0, &Goal::Mean, 0.0).unwrap();
    let direct = [
        DirectMeasurement { route: Route::Echo, rows: vec![(0, 4.0)] },
        DirectMeasurement { route: Route::Shift, rows: vec![(0, 4.0)] },
    ];
    let problem = Problem { sums: &one, objective: &objective, families: &[], direct: &direct };
    let found = problem.solve(None, 1_000_000, &cancel).unwrap();
    assert!((found.value - 4.0).abs() < 0.02, "{found:?}");
    // Words that no family reveals are named.
    let families = [vec![(1 - x) as u32]];
    let objective = Objective::new(&sums, 0, &Goal::Mean, 0.0).unwrap();
    let problem = Problem { sums: &sums, objective: &objective, families: &families, direct: &[] };
    let error = problem.solve(None, 1_000_000, &cancel).unwrap_err().to_string();
    assert!(error.contains("none that reveals X"), "{error}");
    // Nothing to measure.
    let constant = Sums::from_sums(2, [&sum(&[("II", 2.0)]), &PauliSum::zero(2)]).unwrap();
    let objective = Objective::new(&constant, 0, &Goal::Mean, 0.0).unwrap();
    for direct in [vec![], vec![DirectMeasurement { route: Route::Echo, rows: vec![(1, 1.0)] }]] {
        let problem =
            Problem { sums: &constant, objective: &objective, families: &[vec![0]], direct: &direct };
        let found = problem.solve(None, 1_000, &cancel).unwrap();
        assert_eq!(found.value, 0.0);
        assert!(found.families.iter().chain(&found.direct).all(|q| q.is_finite()), "{found:?}");
        assert_eq!(problem.variances(&found), [0.0, 0.0]);
    }
    assert!(Objective::new(&sums, 0, &Goal::Weighted(vec![-1.0]), 0.0).is_err());
    assert!(Objective::new(&sums, 0, &Goal::Weighted(vec![f64::NAN]), 0.0).is_err());
    assert!(Objective::new(&sums, 0, &Goal::Weighted(vec![1.0, 1.0]), 0.0).is_err());
}

#[test]
fn lists_of_product_settings_reach_the_optimum_over_all_of_them() {
    let all: Vec<Setting> = product_settings(5);
    for seed in 0..12 {
        let mut random = Random(1000 + seed);
        let sum = random.observable(5, 60);
        let sums = Sums::from_sums(5, [&sum]).unwrap();
        let reveals = |s: &Setting| {
            let revealed = |c: &u32| s.reveal(sums.words().get(*c as usize)).unwrap().is_some();
            (0..sums.words().len() as u32).filter(revealed).collect::<Vec<u32>>()
        };
        let families: Vec<Vec<u32>> = all.iter().map(reveals).collect();
        let objective = Objective::new(&sums, 0, &Goal::Mean, 0.0).unwrap();
        let problem = Problem { sums: &sums, objective: &objective, families: &families, direct: &[] };
        let optimum = problem.solve(None, 1_000_000_000, &Cancel::new()).unwrap();
        let list = design(&sums, 0, &[Kind::Product], &Options::default(), &Cancel::new()).unwrap();
        let parts = sums.terms(0).filter(|(word, _)| !word.is_identity());
        let variance: f64 = parts.map(|(word, c)| c * c / list.reveal_probability(word).unwrap()).sum();
        assert!(variance >= optimum.bound * (1.0 - 1e-12), "seed {seed}: {variance}, {optimum:?}");
        assert!(variance <= 1.001 * optimum.value, "seed {seed}: {variance}, {}", optimum.value);
    }
}

// ---- families ------------------------------------------------------------------------------------------------

/// The least mean variance that lists of these settings are certified to have, and one that the list of all has.
fn least(plan: &Plan, settings: &[Setting]) -> (f64, f64) {
    let sums = plan.observables().sums();
    let derivatives: Vec<PauliSum> =
        (plan.observables().n_observables()..sums.len()).map(|r| sums.sum(r).unwrap()).collect();
    let derivatives: Vec<&PauliSum> =
        derivatives.iter().filter(|sum| sum.coefficients().iter().any(|c| *c != 0.0)).collect();
    let sums = Sums::from_sums(sums.n_qubits(), derivatives).unwrap();
    let reveals = |s: &Setting| {
        let revealed = |c: &u32| s.reveal(sums.words().get(*c as usize)).unwrap().is_some();
        (0..sums.words().len() as u32).filter(revealed).collect::<Vec<u32>>()
    };
    let families: Vec<Vec<u32>> = settings.iter().map(reveals).collect();
    let objective = Objective::new(&sums, 0, &Goal::Mean, 0.0).unwrap();
    let problem = Problem { sums: &sums, objective: &objective, families: &families, direct: &[] };
    let found = problem.solve(None, 1_000_000_000, &Cancel::new()).unwrap();
    (found.bound, found.value)
}

fn product_settings(n: usize) -> Vec<Setting> {
    let label = |mut code: usize| {
        let mut letters = String::new();
        for _ in 0..n {
            letters.push(['X', 'Y', 'Z'][code % 3]);
            code /= 3;
        }
        Setting::product(&letters).unwrap()
    };
    (0..3usize.pow(n as u32)).map(label).collect()
}

#[test]
fn lists_of_settings_are_within_a_percent_of_the_best_of_all_settings() {
    let (mut far, mut cases) = (Vec::new(), 0);
    for seed in 0..60 {
        let n = 2 + seed as usize % 3;
        let case = case(seed, n, 6 + seed as usize % 9, 1 + seed as usize % 2);
        let plan = case.plan(quick());
        let cliffords = Ensemble::clifford(n).unwrap().block_list()[0].settings().to_vec();
        let lists = [(Method::Product, product_settings(n)), (Method::Clifford, cliffords)];
        for (method, settings) in lists {
            let (cost, (bound, least)) = (plan.row(method).cost, least(&plan, &settings));
            if plan.is_trivial() {
                continue;
            }
            cases += 1;
            assert!(cost >= bound * (1.0 - 1e-9), "seed {seed}, {method:?}: {cost} below {bound}");
            assert!(least <= 1.02 * bound, "seed {seed}, {method:?}: {least} and {bound}");
            if cost > 1.01 * least {
                far.push((seed, method, cost / least));
            }
        }
    }
    assert!(cases > 100 && far.is_empty(), "{cases}: {far:?}");
}

#[test]
fn settings_reveal_the_members_of_their_families_and_read_all_of_them() {
    for seed in 0..30 {
        let n = 1 + seed as usize % 6;
        let case = case(seed, n, 12, 2);
        let connectivity = [Connectivity::All, Connectivity::Line][seed as usize % 2];
        let plan = case.plan(Options { connectivity, ..quick() });
        let observables = plan.observables();
        let sums = observables.sums();
        let needed: BTreeSet<String> = (observables.n_observables()..sums.len())
            .flat_map(|r| sums.terms(r))
            .filter(|(_, c)| *c != 0.0)
            .map(|(word, _)| word.to_string())
            .collect();
        for method in [Method::Product, Method::Clifford] {
            let row = plan.row(method);
            let experiments = plan.experiments(method, &Cancel::new()).unwrap();
            assert!(row.served && row.settings.unwrap() >= experiments.len(), "seed {seed}");
            let total: f64 = experiments.iter().map(|(_, share)| share).sum();
            assert!((total - 1.0).abs() < 1e-9);
            let mut covered = BTreeSet::new();
            for (experiment, _) in &experiments {
                let setting = experiment.setting();
                let reveals = |label: &&String| {
                    setting.reveal(PauliWord::from_label(label).unwrap().view()).unwrap().is_some()
                };
                let expected: BTreeSet<String> = needed.iter().filter(reveals).cloned().collect();
                let found: BTreeSet<String> =
                    experiment.readings().sums().words().iter().map(|w| w.to_string()).collect();
                assert_eq!(found, expected, "seed {seed}, {method:?}: {setting:?}");
                for (a, b) in found.iter().flat_map(|a| found.iter().map(move |b| (a, b))) {
                    let [a, b] = [a, b].map(|label| PauliWord::from_label(label).unwrap());
                    assert!(a.commutes_with(&b).unwrap());
                    assert!(method == Method::Clifford || a.view().qubit_wise_commutes(b.view()).unwrap());
                }
                for gate in setting.gates().iter().filter(|gate| gate.wires().len() == 2) {
                    assert_eq!(method, Method::Clifford);
                    let apart = gate.wires()[0].abs_diff(gate.wires()[1]);
                    assert!(connectivity == Connectivity::All || apart == 1);
                }
                covered.extend(found);
            }
            assert_eq!(covered, needed, "seed {seed}, {method:?}");
        }
    }
}

// ---- costs ---------------------------------------------------------------------------------------------------

/// The mean over a basis of inputs of what [`Plan::exact`] is on each, with the squares of the means put back.
fn mean_over_inputs(plan: &Plan, method: Method, n: usize, rows: usize) -> Vec<f64> {
    let experiments = plan.experiments(method, &Cancel::new()).unwrap();
    let mut second = vec![0.0; rows];
    for state in 0..1usize << n {
        let sign = |q: usize| if state >> q & 1 == 1 { -1.0 } else { 1.0 };
        let input = ProductState::from_bloch((0..n).map(|q| [0.0, 0.0, sign(q)]).collect()).unwrap();
        for (experiment, share) in &experiments {
            for m in experiment.moments(plan.theta(), &input, &Cancel::new()).unwrap() {
                second[m.row] += (m.variance + m.mean * m.mean) / share / (1 << n) as f64;
            }
        }
    }
    second
}

#[test]
fn variances_are_the_mean_over_states() {
    for seed in 0..24 {
        let n = 1 + seed as usize % 4;
        let case = case(seed, n, 8, 2);
        let connectivity = [Connectivity::All, Connectivity::Line, Connectivity::None][seed as usize % 3];
        let goal = if seed % 4 == 3 { Goal::Max } else { Goal::Mean };
        let plan = case.plan(Options { connectivity, goal, ..quick() });
        let rows = case.theta.len() * 2;
        for method in listed(&plan) {
            let row = plan.row(method);
            let mut expected = mean_over_inputs(&plan, method, n, rows);
            // Parameter-shift as it is reads derivatives too that are known to be zero.
            let known_zero = |v: &f64| method == Method::Shift && *v == 0.0;
            expected
                .iter_mut()
                .zip(&row.variances)
                .filter(|(_, v)| known_zero(v))
                .for_each(|(e, _)| *e = 0.0);
            assert_close(&row.variances, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
            let live: Vec<f64> = row.variances.iter().copied().filter(|v| *v > 0.0).collect();
            let mean = live.iter().sum::<f64>() / live.len().max(1) as f64;
            assert!((row.cost - mean).abs() <= 1e-9 * mean, "seed {seed}, {method:?}");
            assert_eq!(row.worst, live.iter().copied().fold(0.0, f64::max));
        }
    }
}

#[test]
fn experiments_of_every_method_give_the_gradient() {
    for seed in 0..40 {
        let n = 1 + seed as usize % 6;
        let case = case(seed, n, 10, 2);
        let input = if seed % 2 == 0 { ProductState::zero(n) } else { tilted(n) };
        let connectivity = [Connectivity::All, Connectivity::Line, Connectivity::None][seed as usize % 3];
        let known = if seed % 4 < 2 { Some(&input) } else { None };
        let plan = case.plan_on(known, Options { connectivity, ..quick() });
        let expected = case.gradient(&input);
        for method in listed(&plan) {
            let experiments = plan.experiments(method, &Cancel::new()).unwrap();
            let found = mean_gradient(&experiments, &case.theta, &input, expected.len());
            assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
        }
    }
}

/// One of eigenstates of all kinds, in which gates are idle.
fn eigen(n: usize, seed: u64) -> ProductState {
    let mut random = Random(seed);
    let bloch = |_| {
        let mut r = [0.0; 3];
        r[random.below(3)] = if random.below(2) == 0 { 1.0 } else { -1.0 };
        r
    };
    ProductState::from_bloch((0..n).map(bloch).collect()).unwrap()
}

/// Gates straight on the input, so that some are idle; parameters are shared between idle gates and others.
fn idle_case(seed: u64, n: usize) -> Case {
    let mut random = Random(seed);
    let mut circuit = Circuit::new(n, 5).unwrap();
    for k in 0..9 {
        let count = 1 + random.below(2.min(n));
        let wires = random.wires(count, n);
        circuit.rotation(random.letters(&wires), Angle::parameter(k % 5)).unwrap();
        if n > 1 && k % 3 == 2 {
            circuit.clifford(Clifford::Cnot, &random.wires(2, n)).unwrap();
        }
    }
    let observables = vec![random.observable(n, 2)];
    let theta = (0..5).map(|_| random.angle()).collect();
    Case { circuit, observables, theta }
}

#[test]
fn idle_gates_leave_no_trace() {
    for seed in 0..80 {
        let n = 1 + seed as usize % 4;
        let case = idle_case(seed, n);
        let input = if seed % 2 == 0 { ProductState::zero(n) } else { eigen(n, seed) };
        let plan = case.plan_on(Some(&input), quick());
        let expected = case.gradient(&input);
        for method in listed(&plan) {
            let experiments = plan.experiments(method, &Cancel::new()).unwrap();
            let found = mean_gradient(&experiments, &case.theta, &input, expected.len());
            assert_close(&found, &expected, 1e-9, &format!("seed {seed}, {method:?}"));
        }
    }
    // RZ does nothing to |0>, so the generators that matter commute; the derivative of RX is the only one.
    let mut circuit = Circuit::new(1, 2).unwrap();
    circuit.rotation([(0, Letter::Z)], Angle::parameter(0)).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(1)).unwrap();
    let case = Case { circuit, observables: vec![sum(&[("Z", 1.0)])], theta: vec![0.4, 1.1] };
    let zero = ProductState::zero(1);
    let plan = case.plan_on(Some(&zero), quick());
    let found =
        mean_gradient(&plan.experiments(Method::Commuting, &Cancel::new()).unwrap(), &case.theta, &zero, 2);
    assert_close(&found, &case.gradient(&zero), 1e-12, "commuting");
    assert_eq!(plan.row(Method::Commuting).variances, [0.0, 1.0]);
}

#[test]
fn a_mixture_is_not_worse_than_its_parts() {
    let parts = [Method::Product, Method::Clifford, Method::Echo, Method::ShiftPruned];
    for seed in 0..40 {
        let n = 2 + seed as usize % 5;
        let case = case(seed, n, 8 + seed as usize % 12, 1 + seed as usize % 3);
        let connectivity = [Connectivity::All, Connectivity::None][seed as usize % 2];
        let goal = [Goal::Mean, Goal::Max][seed as usize / 2 % 2].clone();
        let plan = case.plan(Options { connectivity, goal: goal.clone(), ..quick() });
        let again = plan.at(&case.theta.iter().map(|t| t + 0.7).collect::<Vec<_>>(), &Cancel::new()).unwrap();
        for plan in [&plan, &again] {
            let of = |row: &Row| if goal == Goal::Max { row.worst } else { row.cost };
            let mixture = of(plan.row(Method::Mixture));
            for method in parts {
                let part = of(plan.row(method));
                // 1 % is the certificate and what is given up for fewer circuits; 5 % for the largest variance.
                let slack = if goal == Goal::Max { 1.05 } else { 1.01 };
                assert!(
                    mixture <= slack * part,
                    "seed {seed}, {goal:?}: {mixture} against {part} of {method:?}"
                );
            }
            let pruned = plan.row(Method::ShiftPruned).cost;
            assert!(goal == Goal::Max || pruned <= 1.005 * plan.row(Method::Shift).cost, "seed {seed}");
            let blocks = plan.row(Method::Block);
            let [biased, uniform] = [Method::Biased, Method::Uniform].map(|m| plan.row(m).cost);
            assert!(goal == Goal::Max || biased <= uniform * (1.0 + 1e-9), "seed {seed}");
            assert!(!applies(blocks) || blocks.served);
        }
    }
}

#[test]
fn the_best_is_the_cheapest_that_is_known() {
    for seed in 0..20 {
        let plan = case(seed, 2 + seed as usize % 4, 9, 1).plan(quick());
        let least = plan.rows().iter().filter(|r| !r.bound).map(|r| r.cost).fold(f64::INFINITY, f64::min);
        assert!(plan.best().cost <= 1.02 * least);
        assert_eq!(plan.rows().len(), Method::ALL.len());
        for (row, method) in plan.rows().iter().zip(Method::ALL) {
            assert_eq!((row.method, Method::from_name(method.name())), (method, Some(method)));
            assert_eq!(plan.row(method), row);
            assert!(row.worst >= row.cost * (1.0 - 1e-12));
        }
    }
}

// ---- goals ---------------------------------------------------------------------------------------------------

#[test]
fn the_goal_max_makes_the_largest_variance_smaller() {
    for seed in 0..24 {
        let n = 2 + seed as usize % 4;
        let case = case(seed, n, 10, 1);
        let mean = case.plan(quick());
        let max = case.plan(Options { goal: Goal::Max, ..quick() });
        for method in [Method::Product, Method::Clifford, Method::Echo, Method::ShiftPruned, Method::Mixture]
        {
            let (mean, max) = (mean.row(method), max.row(method));
            let what = format!(
                "seed {seed}, {method:?}: {} {} and {} {}",
                mean.cost, mean.worst, max.cost, max.worst
            );
            assert!(max.worst <= mean.worst * 1.01, "{what}");
            assert!(max.cost >= mean.cost * 0.98, "{what}");
        }
    }
}

#[test]
fn weights_say_what_is_measured() {
    for seed in 0..16 {
        let case = case(seed, 2 + seed as usize % 3, 8, 2);
        let count = 2 * case.theta.len();
        let mut random = Random(seed);
        let weights: Vec<f64> =
            (0..count).map(|_| if random.below(3) == 0 { 0.0 } else { random.real().abs() }).collect();
        let even = case.plan(Options { goal: Goal::Weighted(vec![2.5; count]), ..quick() });
        let mean = case.plan(quick());
        let plan = case.plan(Options { goal: Goal::Weighted(weights.clone()), ..quick() });
        for method in listed(&mean) {
            let (a, b) = (even.row(method), mean.row(method));
            assert!((a.cost / b.cost - 1.0).abs() < 1e-6, "seed {seed}, {method:?}");
            // The weighted mean of its own variances, and not more than what the design for equal weights has.
            let row = plan.row(method);
            let of = |row: &Row| {
                let (mut sum, mut all) = (0.0, 0.0);
                for ((v, w), live) in row.variances.iter().zip(&weights).zip(&mean.row(method).variances) {
                    if *w > 0.0 && *live > 0.0 {
                        (sum, all) = (sum + v * w, all + w);
                    }
                }
                sum / all
            };
            assert!(
                (of(row) / row.cost - 1.0).abs() < 1e-9,
                "seed {seed}, {method:?}: {} {}",
                of(row),
                row.cost
            );
            assert!(row.cost <= 1.01 * of(mean.row(method)), "seed {seed}, {method:?}");
        }
    }
    let case = case(1, 2, 8, 1);
    for bad in [vec![1.0; 3], vec![-1.0; case.theta.len()], vec![f64::NAN; case.theta.len()]] {
        let options = Options { goal: Goal::Weighted(bad), ..quick() };
        let error = Plan::new(&case.circuit, &case.observables, &case.theta, None, options, &Cancel::new());
        assert!(error.unwrap_err().to_string().contains("goal"));
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        let options = Options { value_weight: bad, ..quick() };
        let error = Plan::new(&case.circuit, &case.observables, &case.theta, None, options, &Cancel::new());
        assert!(error.unwrap_err().to_string().contains("value_weight"));
    }
}

#[test]
fn a_derivative_of_weight_zero_is_not_claimed_to_be_known() {
    // d/da and d/db of <ZZ> after two rotations; only the first is asked for.
    let mut circuit = Circuit::new(2, 2).unwrap();
    circuit.rotation([(0, Letter::Y)], 0.4).unwrap();
    circuit.rotation([(1, Letter::Y)], 0.8).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    circuit.rotation([(1, Letter::X)], Angle::parameter(1)).unwrap();
    let case = Case { circuit, observables: vec![sum(&[("ZZ", 1.0)])], theta: vec![0.3, 0.5] };
    let zero = ProductState::zero(2);
    let options = Options { goal: Goal::Weighted(vec![1.0, 0.0]), ..quick() };
    let plan = case.plan_on(Some(&zero), options);
    let expected = case.gradient(&zero);
    for method in listed(&plan) {
        let found = plan.simulate(method, 4000, 1, &Cancel::new()).unwrap();
        for row in 0..2 {
            let z = (found.gradient[row] - expected[row]).abs() / found.stderr[row];
            assert!(z < 6.0, "{method:?}, row {row}: {found:?} for {expected:?}");
        }
    }
}

#[test]
fn values_can_be_measured_too() {
    for seed in 0..12 {
        let case = case(seed, 3, 8, 2);
        let plan = case.plan(Options { value_weight: 0.5, ..quick() });
        let without = case.plan(quick());
        for method in [Method::Product, Method::Clifford] {
            let ensemble = plan.ensemble(method, &Cancel::new()).unwrap();
            for o in &case.observables {
                for (word, _) in o.iter() {
                    assert!(ensemble.reveal_probability(word).unwrap() > 0.0, "seed {seed}, {word}");
                }
            }
            assert!(plan.row(method).cost >= 0.995 * without.row(method).cost, "seed {seed}");
        }
        for method in [Method::Echo, Method::ShiftPruned, Method::Shift] {
            assert!((plan.row(method).cost / without.row(method).cost - 1.0).abs() < 1e-9);
        }
    }
}
