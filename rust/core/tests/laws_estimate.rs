//! Laws of snapshots, tallies and estimates on random inputs, against per-shot twins.

mod common;

use common::{Case, case};
use efl_core::Error;
use efl_core::bits::parallel::Cancel;
use efl_core::ensemble::Ensemble;
use efl_core::estimate::{Combine, Tally, estimate, estimate_tally, tally};
use efl_core::pauli::{PauliSum, PauliWord, Sums, Words};
use efl_core::snapshots::{Provenance, Rows, Snapshots, unpack};
use proptest::prelude::*;

fn count(case: &Case) -> Tally {
    tally(&case.snapshots(), &case.words(), case.buckets, &Cancel::new()).unwrap()
}

/// A sum of all words of the case with coefficients 1, -2, 3, -4 ...
fn sum_of_all(case: &Case) -> PauliSum {
    let coefficient = |i: usize| (i + 1) as f64 * if i.is_multiple_of(2) { 1.0 } else { -1.0 };
    PauliSum::from_terms(case.n, case.words.iter().enumerate().map(|(i, w)| (w, coefficient(i)))).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packing_and_rows_round_trip(case in case()) {
        let snaps = case.snapshots();
        prop_assert_eq!(unpack(&snaps, &Cancel::new()).unwrap(), (case.bits.clone(), case.bases.clone()));
        let rows = Rows::from_snapshots(&snaps);
        let uniform = Ensemble::uniform(case.n).unwrap();
        let again = rows.clone().into_snapshots(case.shots, uniform.clone(), Provenance::default()).unwrap();
        prop_assert_eq!(&again, &snaps);
        // A missing letter and a bit past the last qubit are found.
        let mut broken = rows.clone();
        (broken.x[0], broken.z[0]) = (broken.x[0] & !1, broken.z[0] & !1);
        prop_assert!(broken.into_snapshots(case.shots, uniform.clone(), Provenance::default()).is_err());
        if case.n % 64 != 0 {
            let mut broken = rows;
            *broken.outcome.last_mut().unwrap() |= 1 << 63;
            prop_assert!(broken.into_snapshots(case.shots, uniform, Provenance::default()).is_err());
        }
    }

    #[test]
    fn counts_equal_the_naive_twin(case in case()) {
        let tally = count(&case);
        for (b, expected) in case.naive_counts().iter().enumerate() {
            prop_assert_eq!(tally.bucket(b), &expected[..]);
        }
    }

    #[test]
    fn merge_is_associative_commutative_and_agrees_with_concatenation(
        case in case(), first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>()
    ) {
        let mut cuts = [first.index(case.shots + 1), second.index(case.shots + 1)];
        cuts.sort_unstable();
        let snaps = case.snapshots();
        let words = case.words();
        let parts: Vec<Tally> = [(0, cuts[0]), (cuts[0], cuts[1]), (cuts[1], case.shots)]
            .into_iter()
            .filter(|(a, b)| a < b)
            .map(|(a, b)| tally(&snaps.slice(a, b).unwrap(), &words, 1, &Cancel::new()).unwrap())
            .collect();
        let whole = tally(&snaps, &words, 1, &Cancel::new()).unwrap();
        let forward = parts[1..].iter().fold(parts[0].clone(), |sum, part| sum.merge(part).unwrap());
        let backward = parts.iter().rev().skip(1).fold(parts[parts.len() - 1].clone(), |sum, part| part.merge(&sum).unwrap());
        prop_assert_eq!(&forward, &whole);
        prop_assert_eq!(&backward, &whole);
        prop_assert_eq!(forward.to_bytes().unwrap(), whole.to_bytes().unwrap());
    }

    #[test]
    fn bytes_round_trip_and_damage_is_found(case in case(), at in any::<prop::sample::Index>(), flip in 1u8..=255) {
        let tally = count(&case);
        let bytes = tally.to_bytes().unwrap();
        prop_assert_eq!(&Tally::from_bytes(&bytes).unwrap(), &tally);
        let at = at.index(bytes.len());
        prop_assert!(Tally::from_bytes(&bytes[..at]).is_err());
        let mut damaged = bytes;
        damaged[at] ^= flip;
        prop_assert!(Tally::from_bytes(&damaged).is_err());
    }

    #[test]
    fn values_and_errors_equal_the_per_shot_formulas(case in case()) {
        prop_assume!(case.shots > 1);
        let (snaps, sum) = (case.snapshots(), sum_of_all(&case));
        let sums = Sums::from_sums(case.n, [&sum]).unwrap();
        let found = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new()).unwrap();
        let shots = case.shots as f64;
        let inverse = |word: &PauliWord| 3f64.powi(word.weight() as i32);
        let per_shot: Vec<f64> = (0..case.shots)
            .map(|t| {
                sum.iter()
                    .map(|(word, c)| {
                        let word = word.to_word();
                        case.naive_sign(t, &word).map_or(0.0, |sign| c * inverse(&word) * sign)
                    })
                    .sum()
            })
            .collect();
        let mean = per_shot.iter().sum::<f64>() / shots;
        let scale: f64 = 1.0 + per_shot.iter().map(|v| v.abs()).fold(0.0, f64::max);
        prop_assert!((found.value[0] - mean).abs() <= 1e-12 * scale, "{} {}", found.value[0], mean);
        // The sample variance, with the second moment of each word replaced by the known one.
        let identity = sum.identity_coefficient();
        let sampled = per_shot.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / shots;
        let mut known = sampled;
        let (mut bound, mut mixed) = (0.0, 0.0);
        for (word, c) in sum.iter().filter(|(word, _)| !word.is_identity()) {
            let word = word.to_word();
            let hits = (0..case.shots).filter(|&t| case.naive_sign(t, &word).is_some()).count() as f64;
            known += c * c * inverse(&word) * (1.0 - hits / shots * inverse(&word));
            bound += c.abs();
            mixed += c * c * inverse(&word);
        }
        let square = (mean - identity).powi(2);
        known += square - square.min(bound * bound);
        // Not less than what as many shots leave open that all agree.
        let open = (1.0 - (shots / (shots + 2.0)).powi(2)) * mixed / shots;
        let variance = f64::max(if known > 0.0 { known } else { sampled } / (shots - 1.0), open);
        prop_assert!(
            (found.stderr[0].powi(2) - variance).abs() <= 1e-10 * scale * scale,
            "{} {}", found.stderr[0].powi(2), variance
        );
    }

    #[test]
    fn medians_and_hit_normalised_values_equal_the_naive_ones(case in case()) {
        let (snaps, words) = (case.snapshots(), case.words());
        let sums = Sums::from_words(&words).unwrap();
        let hit = estimate(&snaps, &sums, Combine::HitNormalised, 1, &Cancel::new()).unwrap();
        let median = estimate(&snaps, &sums, Combine::MedianOfMeans, case.buckets, &Cancel::new()).unwrap();
        let counts = case.naive_counts();
        for (i, word) in case.words.iter().enumerate() {
            let total = counts.iter().fold([0, 0], |a, b| [a[0] + b[i][0], a[1] + b[i][1]]);
            let signs = total[0] as f64 - 2.0 * total[1] as f64;
            let expected = if total[0] == 0 { 0.0 } else { signs / total[0] as f64 };
            prop_assert_eq!(hit.value[i], expected);
            prop_assert_eq!(hit.revealed[i], total[0]);
            let mut means: Vec<f64> = (0..case.buckets)
                .map(|b| {
                    let shots = (b + 1) * case.shots / case.buckets - b * case.shots / case.buckets;
                    (counts[b][i][0] as f64 - 2.0 * counts[b][i][1] as f64) / shots as f64
                        * 3f64.powi(word.weight() as i32)
                })
                .collect();
            means.sort_by(f64::total_cmp);
            let (low, high) = (means[(means.len() - 1) / 2], means[means.len() / 2]);
            prop_assert!((median.value[i] - (low + high) / 2.0).abs() < 1e-9);
            prop_assert!(median.stderr[i].is_finite() && hit.stderr[i].is_finite());
        }
    }
}

#[test]
fn tallies_estimate_sums_from_their_buckets() {
    let n = 3;
    let shots = 4000;
    let mut draw = 1u64;
    let mut next = move |below: u64| {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((draw >> 33) % below) as u8
    };
    let bits: Vec<u8> = (0..n * shots).map(|_| next(2)).collect();
    let bases: Vec<u8> = (0..n * shots).map(|_| next(3)).collect();
    let snaps = Snapshots::from_arrays(&bits, &bases, shots, Ensemble::uniform(n).unwrap()).unwrap();
    let sum = PauliSum::from_labels([("XII", 1.0), ("IXI", 1.0), ("III", 2.0)]).unwrap();
    let sums = Sums::from_sums(n, [&sum]).unwrap();
    let direct = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new()).unwrap();
    for (buckets, combine) in [(100, Combine::Mean), (100, Combine::HitNormalised)] {
        let counted = tally(&snaps, sums.words(), buckets, &Cancel::new()).unwrap();
        let found = estimate_tally(&counted, &sums, combine, None).unwrap();
        if combine == Combine::Mean {
            assert!((found.value[0] - direct.value[0]).abs() < 1e-12);
        }
        // 99 degrees of freedom: the error bar is known to 7 %.
        assert!((found.stderr[0] / direct.stderr[0] - 1.0).abs() < 0.3, "{found:?} {direct:?}");
    }
    let single = tally(&snaps, sums.words(), 1, &Cancel::new()).unwrap();
    let refused = estimate_tally(&single, &sums, Combine::Mean, None).unwrap_err().to_string();
    assert!(refused.contains("one bucket"), "{refused}");
}

#[test]
fn refusals_name_the_argument() {
    let snaps = Snapshots::from_arrays(&[0, 1], &[0, 2], 2, Ensemble::uniform(1).unwrap()).unwrap();
    let word =
        |label: &str| Words::from_words(label.len(), &[PauliWord::from_label(label).unwrap()]).unwrap();
    let count = |snaps: &Snapshots, label: &str, buckets| tally(snaps, &word(label), buckets, &Cancel::new());
    assert!(matches!(count(&snaps, "XX", 1), Err(Error::Shape { .. })));
    assert!(matches!(count(&snaps, "X", 0), Err(Error::Invalid { .. })));
    assert!(matches!(count(&snaps, "X", 3), Err(Error::Invalid { .. })));
    assert!(matches!(count(&snaps.slice(0, 0).unwrap(), "X", 1), Err(Error::Invalid { .. })));
    let never = Ensemble::biased(vec![[0.5, 0.5, 0.0]]).unwrap();
    let snaps = snaps.with_ensemble(never).unwrap();
    let z = Sums::from_words(&word("Z")).unwrap();
    let refused = estimate(&snaps, &z, Combine::Mean, 1, &Cancel::new()).unwrap_err().to_string();
    assert!(refused.contains('Z') && refused.contains("observables"), "{refused}");
    let raised = Cancel::new();
    raised.raise();
    assert_eq!(tally(&snaps, &word("X"), 1, &raised), Err(Error::Interrupted));
}
