//! Steps that run some settings only, drawn by their shares: no bias, whatever the number of settings and shots, and
//! error bars from how much the settings differ.
//!
//! A mean passes within the z that a standard normal exceeds with probability 1e-3 / N for N comparisons, so that all
//! together raise a false alarm once in a thousand choices of seeds; the seeds are fixed.

mod dense;
mod plans;

use efl_core::bits::parallel::{Cancel, map};
use efl_core::design::Options;
use efl_core::plan::{Method, Step};
use efl_core::state::ProductState;
use plans::{applies, case, quick};

const CIRCUITS: u64 = 6;
const REPEATS: usize = 1_500;
/// Exceeded by a standard normal, either way, once in 2e6: 1e-3 for 2,000 comparisons. There are fewer.
const Z: f64 = 5.1;
const COMPARISONS: usize = 2_000;
const METHODS: [Method; 6] =
    [Method::Product, Method::Clifford, Method::Echo, Method::Shift, Method::Mixture, Method::Commuting];

#[test]
fn a_step_of_a_few_settings_is_unbiased() {
    let cancel = Cancel::new();
    let mut compared = 0;
    // By draws and shots: mean of the squared standard errors over the mean squared error, all derivatives together.
    let mut bars = [[0.0; 3]; 4];
    for seed in 0..CIRCUITS {
        let n = 2 + seed as usize % 4;
        let case = case(100 + seed, n, 8, 1 + seed as usize % 2);
        let input = ProductState::zero(n);
        let plan = case.plan_on(Some(&input), Options { ..quick() });
        let exact = case.gradient(&input);
        for method in METHODS.into_iter().filter(|m| applies(plan.row(*m))) {
            // One shot is for one of the two circuits of an echo or a shift.
            for (i, (draws, shots)) in [(1, 1), (1, 2), (2, 6), (8, 16)].into_iter().enumerate() {
                let step = Step { draws, number: 0 };
                let predicted = plan.exact_step(method, shots, draws, &cancel).unwrap();
                let runs = map(REPEATS, &cancel, |run| {
                    plan.simulate_step(method, shots, step, 5_000 * seed + run as u64, &cancel)
                })
                .unwrap();
                for (k, exact) in exact.iter().enumerate() {
                    let errors: Vec<f64> = runs.iter().map(|run| run.gradient[k] - exact).collect();
                    let count = REPEATS as f64;
                    let mean = errors.iter().sum::<f64>() / count;
                    let square = errors.iter().map(|e| e * e).sum::<f64>() / count;
                    compared += 1;
                    let scale = (square / count).sqrt().max(1e-12);
                    assert!(mean.abs() <= Z * scale, "{seed} {method:?} {draws} {k}: {mean} {scale}");
                    bars[i][0] += runs.iter().map(|run| run.stderr[k].powi(2)).sum::<f64>() / count;
                    bars[i][1] += square;
                    bars[i][2] += predicted[k];
                }
            }
        }
    }
    assert!(compared > 500 && compared < COMPARISONS, "{compared}");
    let of = |i: usize| bars.map(|bars| bars[i] / bars[1]);
    let (said, predicted) = (of(0), of(2));
    // Draws are systematic, and a single one says nothing of its spread: on the long side.
    assert!(said.iter().all(|ratio| (0.95..2.0).contains(ratio)), "{said:?}");
    let alone = predicted[..2].iter().all(|ratio| (ratio - 1.0).abs() < 0.03);
    assert!(alone, "one draw is independent of the others: {predicted:?}");
    assert!(predicted.iter().all(|ratio| (0.85..1.4).contains(ratio)), "{predicted:?}");
}

#[test]
fn steps_that_follow_each_other_average_faster_than_independent_ones() {
    let cancel = Cancel::new();
    let case = case(103, 5, 10, 1);
    let input = ProductState::zero(5);
    let plan = case.plan_on(Some(&input), quick());
    let exact = case.gradient(&input);
    let (method, steps) = (Method::Product, 32);
    let squared = |follow: bool| -> f64 {
        let runs = map(60, &cancel, |run| {
            let mut sum = vec![0.0; exact.len()];
            for number in 0..steps {
                // Many shots: what is left is which settings were run.
                let (seed, number) =
                    if follow { (run as u64, number) } else { (run as u64 * steps + number, 0) };
                let found = plan.simulate_step(method, 4_000, Step { draws: 4, number }, seed, &cancel)?;
                sum.iter_mut().zip(&found.gradient).for_each(|(s, g)| *s += g / steps as f64);
            }
            Ok(sum.iter().zip(&exact).map(|(s, e)| (s - e).powi(2)).sum::<f64>())
        });
        runs.unwrap().iter().sum()
    };
    let (follow, apart) = (squared(true), squared(false));
    assert!(follow < 0.5 * apart, "{follow} {apart}");
}
