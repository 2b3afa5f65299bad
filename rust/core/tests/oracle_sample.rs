//! The sampler against exact probabilities, computed by applying rotations to the whole vector.

use efl_core::Error;
use efl_core::bits::parallel::Cancel;
use efl_core::ensemble::Ensemble;
use efl_core::snapshots::{Address, draw_settings, sample, unpack};
use efl_core::stabiliser::Setting;
use efl_core::state::StateVector;
use num_complex::Complex64;

fn random_state(n: usize, seed: u64) -> Vec<Complex64> {
    let mut draw = seed;
    let mut unit = move || {
        draw = draw.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (draw >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    };
    let state: Vec<Complex64> = (0..1 << n).map(|_| Complex64::new(unit(), unit())).collect();
    let norm = state.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
    state.into_iter().map(|a| a / norm).collect()
}

/// Outcome probabilities in the given letters (0, 1, 2 for X, Y, Z), by full-size rotations.
fn exact(state: &[Complex64], n: usize, letters: &[u8]) -> Vec<f64> {
    let mut state = state.to_vec();
    let root = 0.5f64.sqrt();
    for (q, &letter) in letters.iter().enumerate() {
        let stride = 1 << (n - 1 - q);
        for i in (0..state.len()).filter(|i| i & stride == 0) {
            let (a, b) = (state[i], state[i + stride]);
            (state[i], state[i + stride]) = match letter {
                0 => (root * (a + b), root * (a - b)),
                1 => {
                    let ib = Complex64::new(-b.im, b.re);
                    (root * (a - ib), root * (a + ib))
                }
                _ => (a, b),
            };
        }
    }
    state.iter().map(Complex64::norm_sqr).collect()
}

/// Chi-square over every (setting, outcome). With k degrees of freedom, k + 4 sqrt(2 k) + 11 bounds the statistic
/// with a false-alarm rate below 1e-4 (Laurent and Massart); seeds are fixed, so the test is repeatable.
#[test]
fn frequencies_follow_the_exact_probabilities() {
    for (n, shots, biased) in
        [(1, 20_000, false), (3, 300_000, false), (3, 300_000, true), (5, 2_000_000, true)]
    {
        let state = random_state(n, 99 + n as u64);
        let rows: Vec<[f64; 3]> =
            (0..n).map(|q| if q % 2 == 0 { [0.5, 0.2, 0.3] } else { [0.0, 0.6, 0.4] }).collect();
        let ensemble = if biased { Ensemble::biased(rows) } else { Ensemble::uniform(n) }.unwrap();
        let snaps = sample(&StateVector::new(&state).unwrap(), &ensemble, shots, 5, &Cancel::new()).unwrap();
        let (bits, bases) = unpack(&snaps, &Cancel::new()).unwrap();
        let settings = 3usize.pow(n as u32);
        let mut seen = vec![0u64; settings << n];
        for t in 0..shots {
            let setting = bases[t * n..][..n].iter().fold(0, |s, &b| 3 * s + usize::from(b));
            let outcome = bits[t * n..][..n].iter().fold(0, |s, &b| 2 * s + usize::from(b));
            seen[(setting << n) + outcome] += 1;
        }
        let (mut statistic, mut cells) = (0.0, 0.0);
        for setting in 0..settings {
            let letters: Vec<u8> =
                (0..n).map(|q| (setting / 3usize.pow((n - 1 - q) as u32) % 3) as u8).collect();
            let weight: f64 = letters
                .iter()
                .enumerate()
                .map(|(q, &b)| ensemble.letter_probabilities(q).unwrap()[usize::from(b)])
                .product();
            for (outcome, p) in exact(&state, n, &letters).into_iter().enumerate() {
                let (expected, found) = (weight * p * shots as f64, seen[(setting << n) + outcome] as f64);
                if expected == 0.0 {
                    assert_eq!(found, 0.0, "an impossible outcome");
                } else {
                    statistic += (found - expected).powi(2) / expected;
                    cells += 1.0;
                }
            }
        }
        let degrees: f64 = cells - 1.0;
        assert!(statistic < degrees + 4.0 * (2.0 * degrees).sqrt() + 11.0, "{statistic} for {degrees}");
        assert!(statistic > degrees - 4.0 * (2.0 * degrees).sqrt(), "{statistic} for {degrees}: too good");
    }
}

/// More qubits than one random block serves: every qubit of |+i>^18 read in Y gives 0, in X and Z a fair coin.
#[test]
fn wide_states_use_fresh_randomness_per_group() {
    let n = 18;
    let root = 0.5f64.sqrt().powi(n);
    let state: Vec<Complex64> =
        (0..1usize << n).map(|i| Complex64::i().powi((i.count_ones() % 4) as i32) * root).collect();
    let n = n as usize;
    let shots = 2000;
    let ensemble = Ensemble::uniform(n).unwrap();
    let snaps = sample(&StateVector::new(&state).unwrap(), &ensemble, shots, 3, &Cancel::new()).unwrap();
    let (bits, bases) = unpack(&snaps, &Cancel::new()).unwrap();
    let mut ones = vec![[0f64; 2]; n];
    for (i, (&bit, &base)) in bits.iter().zip(&bases).enumerate() {
        if base == 1 {
            assert_eq!(bit, 0, "|+i> read in Y");
        } else {
            ones[i % n][0] += f64::from(bit);
            ones[i % n][1] += 1.0;
        }
    }
    for (q, [ones, total]) in ones.into_iter().enumerate() {
        // 5 sigma on 18 qubits: a false-alarm rate of 1e-5.
        assert!((ones - total / 2.0).abs() < 5.0 * (total / 4.0).sqrt(), "qubit {q}: {ones} of {total}");
        assert!((total - shots as f64 * 2.0 / 3.0).abs() < 5.0 * (shots as f64 * 2.0 / 9.0).sqrt());
    }
}

/// Settings that are drawn without a state are those that the simulator measures in, on more qubits than one random
/// block serves and on more shots than one task draws.
fn first(shots: u64, seed: u64) -> Vec<Address> {
    (0..shots).map(|index| Address { seed, index }).collect()
}

#[test]
fn settings_are_a_function_of_the_seed_alone() {
    let (n, shots, seed) = (18, 20_000, 6);
    let mut state = vec![Complex64::new(0.0, 0.0); 1 << n];
    state[5] = Complex64::new(1.0, 0.0);
    let rows = (0..n).map(|q| [0.5, 0.5 - 0.02 * q as f64, 0.02 * q as f64]).collect();
    for ensemble in [Ensemble::uniform(n).unwrap(), Ensemble::biased(rows).unwrap()] {
        let snaps =
            sample(&StateVector::new(&state).unwrap(), &ensemble, shots, seed, &Cancel::new()).unwrap();
        let (_, bases) = unpack(&snaps, &Cancel::new()).unwrap();
        let drawn = draw_settings(&ensemble, &first(shots as u64, seed), &Cancel::new()).unwrap();
        assert!(bases.iter().zip(&drawn).all(|(&base, &letter)| u32::from(base) == letter));
        assert_eq!(drawn.len(), bases.len());
        assert_eq!(drawn[..33 * n], draw_settings(&ensemble, &first(33, seed), &Cancel::new()).unwrap());
    }
    let listed = ["ZZX", "XYZ", "YYY"].map(|label| Setting::product(label).unwrap()).to_vec();
    let list = Ensemble::settings(listed, vec![0.2, 0.7, 0.1]).unwrap();
    for ensemble in [list, Ensemble::random_blocks(3, 2).unwrap()] {
        let snaps =
            sample(&StateVector::new(&state[..8]).unwrap(), &ensemble, shots, seed, &Cancel::new()).unwrap();
        assert_eq!(
            snaps.settings(),
            draw_settings(&ensemble, &first(shots as u64, seed), &Cancel::new()).unwrap()
        );
    }
    // Devices are wider than state vectors: letters of many groups, all of them drawn.
    let wide = draw_settings(&Ensemble::uniform(100).unwrap(), &first(300, seed), &Cancel::new()).unwrap();
    for q in 0..100 {
        assert!((0..3).all(|letter| (0..300).any(|t| wide[t * 100 + q] == letter)));
    }
}

#[test]
fn states_are_checked() {
    let one = Complex64::new(1.0, 0.0);
    let zero = Complex64::new(0.0, 0.0);
    assert!(matches!(StateVector::new(&[]), Err(Error::Shape { .. })));
    assert!(matches!(StateVector::new(&[one]), Err(Error::Shape { .. })));
    assert!(matches!(StateVector::new(&[one, zero, zero]), Err(Error::Shape { .. })));
    assert!(matches!(StateVector::new(&[one, one]), Err(Error::Invalid { .. })));
    assert!(matches!(StateVector::new(&[Complex64::new(f64::NAN, 0.0), one]), Err(Error::Invalid { .. })));
    let state = [one, zero];
    let state = StateVector::new(&state).unwrap();
    let wide = Ensemble::uniform(2).unwrap();
    assert!(matches!(sample(&state, &wide, 10, 0, &Cancel::new()), Err(Error::Shape { .. })));
    let uniform = Ensemble::uniform(1).unwrap();
    assert!(matches!(sample(&state, &uniform, 0, 0, &Cancel::new()), Err(Error::Invalid { .. })));
}
