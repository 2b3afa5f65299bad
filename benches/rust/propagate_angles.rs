//! The efl_core side of `benches/python/bench_propagate.py`: reads angles from standard input, one set per line,
//! and writes for each `value terms seconds_value seconds_gradient`, best of five, on one thread.

use efl_core::bits::parallel::Cancel;
use efl_core::heisenberg::{Evaluation, ProductState, Truncation, value, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use std::io::{BufRead, Write};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let n = 20;
    let circuit = efl_benches::brickwork(n, 10);
    let zz = PauliSum::from_word(&PauliWord::from_sparse(n, [(9, Letter::Z), (10, Letter::Z)])?);
    let truncation = Truncation { max_weight: Some(6), min_coefficient: 1e-4, max_terms: None };
    let (state, cancel) = (ProductState::zero(n), Cancel::new());
    let best = |run: &dyn Fn() -> efl_core::Result<Evaluation>| {
        let times = (0..5).map(|_| {
            let start = Instant::now();
            run().map(|_| start.elapsed().as_secs_f64())
        });
        times.collect::<Result<Vec<f64>, _>>().map(|times| times.into_iter().fold(f64::INFINITY, f64::min))
    };
    for line in std::io::stdin().lock().lines() {
        let theta: Vec<f64> = line?.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let evaluation = value(&circuit, &theta, &zz, &state, &truncation, &cancel)?;
        let value_time = best(&|| value(&circuit, &theta, &zz, &state, &truncation, &cancel))?;
        let gradient_time =
            best(&|| value_and_gradient(&circuit, &theta, &zz, &state, &truncation, &cancel))?;
        let (value, terms) = (evaluation.value, evaluation.n_terms);
        writeln!(std::io::stdout(), "{value} {terms} {value_time} {gradient_time}")?;
    }
    Ok(())
}
