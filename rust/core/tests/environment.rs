//! Results do not depend on the CPU level or the number of threads. One test, because both are process-wide.

mod common;

use common::case;
use efl_core::bits::dispatch::{CpuLevel, set_cpu_level};
use efl_core::bits::parallel::{Cancel, set_num_threads};
use efl_core::ensemble::Ensemble;
use efl_core::estimate::{Combine, estimate, tally};
use efl_core::gates::Clifford;
use efl_core::pauli::{PauliSum, PauliWord, Sums};
use efl_core::snapshots::{Rows, Snapshots, sample};
use efl_core::state::{StateVector, apply, rotate};
use num_complex::Complex64;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn settings() -> impl Iterator<Item = (CpuLevel, usize)> {
    CpuLevel::available().into_iter().flat_map(|level| [1, 2, 5].map(|threads| (level, threads)))
}

fn use_setting((level, threads): (CpuLevel, usize)) {
    set_cpu_level(level).unwrap();
    set_num_threads(threads).unwrap();
}

#[test]
fn same_bits_at_every_level_and_with_any_number_of_threads() {
    let cancel = Cancel::new();
    let mut runner = TestRunner::new(ProptestConfig::with_cases(24));
    runner
        .run(&case(), |case| {
            let naive = case.naive_counts();
            let sum = PauliSum::from_terms(case.n, case.words.iter().map(|w| (w, 0.3))).unwrap();
            let sums = Sums::from_sums(case.n, [&sum, &sum]).unwrap();
            let mut first = None;
            for setting in settings() {
                use_setting(setting);
                let snaps = case.snapshots();
                let counted = tally(&snaps, &case.words(), case.buckets, &cancel).unwrap();
                for (b, expected) in naive.iter().enumerate() {
                    prop_assert_eq!(counted.bucket(b), &expected[..]);
                }
                let rows = Rows::from_snapshots(&snaps);
                let estimates = estimate(&snaps, &sums, Combine::Mean, 1, &cancel).unwrap();
                let bits: Vec<u64> = estimates.stderr.iter().map(|v| v.to_bits()).collect();
                let now = (rows, bits);
                prop_assert_eq!(first.get_or_insert_with(|| now.clone()), &now);
            }
            Ok(())
        })
        .unwrap();

    // Long enough for several tasks of every kernel.
    let amplitude = |i: usize| Complex64::new((i as f64 * 0.7).sin(), (i as f64 * 1.3).cos());
    let state: Vec<Complex64> = (0..1 << 5).map(amplitude).collect();
    let norm = state.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
    let state: Vec<Complex64> = state.into_iter().map(|a| a / norm).collect();
    let state = StateVector::new(&state).unwrap();
    let rows = (0..5).map(|q| [0.1 + 0.1 * f64::from(q), 0.3, 0.6 - 0.1 * f64::from(q)]).collect();
    for ensemble in [Ensemble::uniform(5).unwrap(), Ensemble::biased(rows).unwrap()] {
        let labels = [("XYZII", 0.5), ("IZZII", 1.0), ("IIXXX", -0.25), ("ZIIII", 2.0)];
        let sums = Sums::from_sums(5, [&PauliSum::from_labels(labels).unwrap()]).unwrap();
        let mut first: Option<(Snapshots, Vec<u64>)> = None;
        for setting in settings() {
            use_setting(setting);
            let snaps = sample(&state, &ensemble, 100_000, 42, &cancel).unwrap();
            let found = estimate(&snaps, &sums, Combine::Mean, 1, &cancel).unwrap();
            let now = (snaps, found.stderr.iter().chain(&found.value).map(|v| v.to_bits()).collect());
            assert!(*first.get_or_insert_with(|| now.clone()) == now, "{setting:?}");
        }
        // A shorter run is a prefix of a longer one.
        let short = sample(&state, &ensemble, 777, 42, &cancel).unwrap();
        assert!(short == first.unwrap().0.slice(0, 777).unwrap());
    }

    // State vectors: rotations about words, and gates on wires at every distance.
    let mut first: Option<Vec<Complex64>> = None;
    for setting in settings() {
        use_setting(setting);
        let mut turned = state.amplitudes().to_vec();
        for label in ["XIIII", "IIIIY", "IIIXI", "ZIXIZ", "YYIIX", "IIIZZ"] {
            let word = PauliWord::from_label(label).unwrap();
            rotate(word.view(), 0.4, &mut turned, &cancel).unwrap();
        }
        for gate in Clifford::ALL {
            for (a, b) in [(0, 1), (4, 3), (1, 4), (2, 0)] {
                apply(&gate.matrix(), &[a, b][..gate.n_wires()], &mut turned, &cancel).unwrap();
            }
        }
        assert!(*first.get_or_insert_with(|| turned.clone()) == turned, "{setting:?}");
    }
}
