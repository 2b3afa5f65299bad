//! Every kind of ensemble against dense matrices and per-shot twins: what is revealed and with which sign, how often,
//! how snapshots are drawn, how they are counted, and what error the estimates have.

mod dense;

use dense::{Dense, Random};
use efl_core::bits::parallel::{self, Cancel};
use efl_core::ensemble::{Block, Ensemble};
use efl_core::estimate::{Combine, Tally, estimate, estimate_tally, tally};
use efl_core::gates::Clifford;
use efl_core::gates::CliffordGate;
use efl_core::pauli::{Letter, PauliSum, PauliWord, Sums, Words};
use efl_core::snapshots::{Provenance, Rows, Snapshots, sample, sample_counts, unpack};
use efl_core::stabiliser::Setting;
use efl_core::state::StateVector;
use num_complex::Complex64;

const LETTERS: [Letter; 4] = [Letter::I, Letter::X, Letter::Y, Letter::Z];

fn all_words(n: usize) -> Vec<PauliWord> {
    let word =
        |code: usize| PauliWord::from_sparse(n, (0..n).map(|q| (q, LETTERS[code >> (2 * q) & 3]))).unwrap();
    (0..1 << (2 * n)).map(word).collect()
}

fn random_clifford(random: &mut Random, n: usize, length: usize) -> Setting {
    let gates = (0..length).map(|_| {
        let clifford = Clifford::ALL[random.below(Clifford::ALL.len())];
        let clifford = if clifford.n_wires() > n { Clifford::H } else { clifford };
        CliffordGate::new(clifford, &random.wires(clifford.n_wires(), n)).unwrap()
    });
    Setting::from_gates(n, gates.collect::<Vec<_>>()).unwrap()
}

fn random_probabilities(random: &mut Random, count: usize) -> Vec<f64> {
    let weights: Vec<f64> = (0..count).map(|_| 1.1 + random.real()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|w| w / sum).collect()
}

fn random_block(random: &mut Random, qubits: &[usize], count: usize) -> Block {
    let settings = (0..count).map(|_| random_clifford(random, qubits.len(), 12)).collect();
    let probabilities = random_probabilities(random, count);
    Block::new(qubits.to_vec(), settings, probabilities).unwrap()
}

/// One of each kind, all of which are small enough to enumerate.
fn ensembles() -> Vec<Ensemble> {
    let mut random = Random(5);
    let product = |labels: &[&str]| labels.iter().map(|l| Setting::product(l).unwrap()).collect::<Vec<_>>();
    let cliffords: Vec<Setting> = (0..7).map(|_| random_clifford(&mut random, 3, 20)).collect();
    let probabilities = random_probabilities(&mut random, 7);
    let blocks = vec![random_block(&mut random, &[2, 0], 5), random_block(&mut random, &[3, 1], 4)];
    let uneven = vec![random_block(&mut random, &[1], 3), random_block(&mut random, &[3, 0, 2], 4)];
    vec![
        Ensemble::uniform(3).unwrap(),
        Ensemble::biased(vec![[0.5, 0.2, 0.3], [0.0, 0.4, 0.6]]).unwrap(),
        Ensemble::settings(product(&["XYZ", "ZZZ", "XXY", "ZYX"]), vec![0.25, 0.0, 0.25, 0.5]).unwrap(),
        Ensemble::settings(cliffords, probabilities).unwrap(),
        Ensemble::blocks(4, blocks).unwrap(),
        Ensemble::blocks(4, uneven).unwrap(),
        Ensemble::random_blocks(2, 1).unwrap(),
        Ensemble::random_blocks(3, 2).unwrap(),
        Ensemble::clifford(2).unwrap(),
    ]
}

/// One setting of all qubits: its probability, the index of each block's setting, and the rotation.
struct Drawn {
    probability: f64,
    indices: Vec<u32>,
    rotation: Dense,
    /// Product settings of letter ensembles.
    letters: Vec<u8>,
}

fn rotation(setting: &Setting, wires: &[usize], n: usize) -> Dense {
    setting.gates().iter().fold(Dense::identity(1 << n), |u, gate| {
        let wires: Vec<usize> = gate.wires().iter().map(|&q| wires[q]).collect();
        let d = 1 << wires.len();
        dense::embed(&Dense { d, m: gate.clifford().matrix() }, &wires, n).times(&u)
    })
}

fn every_setting(ensemble: &Ensemble) -> Vec<Drawn> {
    let n = ensemble.n_qubits();
    let start =
        Drawn { probability: 1.0, indices: vec![], rotation: Dense::identity(1 << n), letters: vec![] };
    if ensemble.block_list().is_empty() {
        return (0..n).fold(vec![start], |all, q| {
            let p = ensemble.letter_probabilities(q).unwrap();
            let next = |d: &Drawn, l: usize| Drawn {
                probability: d.probability * p[l],
                indices: vec![],
                rotation: rotation(&Setting::product(["X", "Y", "Z"][l]).unwrap(), &[q], n)
                    .times(&d.rotation),
                letters: [&d.letters[..], &[l as u8]].concat(),
            };
            all.iter().flat_map(|d| (0..3).map(move |l| next(d, l))).collect()
        });
    }
    ensemble.block_list().iter().fold(vec![start], |all, block| {
        let rotations: Vec<Dense> = block.settings().iter().map(|s| rotation(s, block.qubits(), n)).collect();
        let next = |d: &Drawn, f: usize| Drawn {
            probability: d.probability * block.probabilities()[f],
            indices: [&d.indices[..], &[f as u32]].concat(),
            rotation: rotations[f].times(&d.rotation),
            letters: vec![],
        };
        all.iter().flat_map(|d| (0..rotations.len()).map(|f| next(d, f)).collect::<Vec<_>>()).collect()
    })
}

/// The sign of the word for each outcome if the rotation makes it diagonal: `C P C^dag`.
fn dense_signs(rotation: &Dense, word: &Dense) -> Option<Vec<f64>> {
    let image = word.conjugated_by(rotation);
    let diagonal: Vec<f64> = (0..image.d).map(|i| image.m[i * image.d + i].re).collect();
    diagonal
        .iter()
        .all(|v| (v.abs() - 1.0).abs() < 1e-9)
        .then(|| diagonal.iter().map(|v| v.round()).collect())
}

fn random_state(n: usize, seed: u64) -> Vec<Complex64> {
    let mut random = Random(seed);
    let state: Vec<_> = (0..1 << n).map(|_| Complex64::new(random.real(), random.real())).collect();
    let norm = state.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
    state.into_iter().map(|a| a / norm).collect()
}

fn expectation(state: &[Complex64], word: &PauliWord) -> f64 {
    let m = dense::word(word);
    let image = (0..m.d).map(|i| (0..m.d).map(|j| m.m[i * m.d + j] * state[j]).sum::<Complex64>());
    state.iter().zip(image).map(|(a, b)| (a.conj() * b).re).sum()
}

/// The sign that every (setting, outcome) gives each word, where it reveals it: `[setting][word][outcome]`.
fn table(settings: &[Drawn], words: &[PauliWord]) -> Vec<Vec<Option<Vec<f64>>>> {
    let words: Vec<Dense> = words.iter().map(dense::word).collect();
    settings.iter().map(|d| words.iter().map(|w| dense_signs(&d.rotation, w)).collect()).collect()
}

/// Settings, by their place in `settings`, and outcomes of all snapshots.
fn observed(snaps: &Snapshots, settings: &[Drawn]) -> Vec<(usize, usize)> {
    let n = snaps.n_qubits();
    let blocks = snaps.ensemble().block_list().len();
    let (bits, bases) = unpack(snaps, &Cancel::new()).unwrap();
    (0..snaps.len())
        .map(|t| {
            let place = |d: &Drawn| {
                if blocks == 0 {
                    d.letters == bases[t * n..][..n]
                } else {
                    d.indices == snaps.settings()[t * blocks..][..blocks]
                }
            };
            let outcome = bits[t * n..][..n].iter().fold(0, |o, &b| 2 * o + usize::from(b));
            (settings.iter().position(place).unwrap(), outcome)
        })
        .collect()
}

#[test]
fn settings_reveal_what_dense_matrices_make_diagonal() {
    let mut random = Random(11);
    for n in 1..=4 {
        let words = all_words(n);
        for _ in 0..6 {
            let setting = random_clifford(&mut random, n, 6 * n);
            let wires: Vec<usize> = (0..n).collect();
            let rotation = rotation(&setting, &wires, n);
            for word in &words {
                let reading = setting.reveal(word.view()).unwrap();
                let expected = dense_signs(&rotation, &dense::word(word));
                assert_eq!(reading.is_some(), expected.is_some(), "{setting:?} {word}");
                let (Some(reading), Some(expected)) = (reading, expected) else { continue };
                for (outcome, sign) in expected.into_iter().enumerate() {
                    let ones = (0..n)
                        .filter(|q| reading.mask[0] >> q & 1 == 1 && outcome >> (n - 1 - q) & 1 == 1)
                        .count();
                    let found = if (ones % 2 == 1) != reading.negative { -1.0 } else { 1.0 };
                    assert_eq!(found, sign, "{setting:?} {word} {outcome}");
                }
            }
        }
    }
}

#[test]
fn probabilities_equal_the_enumeration() {
    for ensemble in ensembles() {
        let n = ensemble.n_qubits();
        let words = all_words(n);
        let settings = every_setting(&ensemble);
        let revealed: Vec<Vec<bool>> = table(&settings, &words)
            .into_iter()
            .map(|row| row.into_iter().map(|signs| signs.is_some()).collect())
            .collect();
        let sum = |condition: &dyn Fn(&[bool]) -> bool| -> f64 {
            settings.iter().zip(&revealed).filter(|(_, r)| condition(r)).map(|(d, _)| d.probability).sum()
        };
        for (i, a) in words.iter().enumerate() {
            let expected = sum(&|r| r[i]);
            let found = ensemble.reveal_probability(a.view()).unwrap();
            assert!((found - expected).abs() < 1e-12, "{} {a}: {found} {expected}", ensemble.kind());
            for (j, b) in words.iter().enumerate().step_by(if n > 3 { 7 } else { 1 }) {
                let expected = sum(&|r| r[i] && r[j]);
                let found = ensemble.pair_probability(a.view(), b.view()).unwrap();
                assert!((found - expected).abs() < 1e-12, "{} {a} {b}: {found} {expected}", ensemble.kind());
            }
        }
        let wide = PauliWord::identity(n + 1);
        assert!(ensemble.reveal_probability(wide.view()).is_err());
        assert!(ensemble.pair_probability(words[1].view(), wide.view()).is_err());
    }
    // Random blocks of k qubits reveal every word with probability 1 / (2^k + 1) for each block that it touches.
    let blocks = Ensemble::random_blocks(6, 4).unwrap();
    for (label, h) in [("XIIIII", 17.0), ("XYZZII", 17.0), ("IIIIIZ", 5.0), ("IXIIYZ", 85.0)] {
        let found = blocks.reveal_probability(PauliWord::from_label(label).unwrap().view()).unwrap();
        assert!((found * h - 1.0).abs() < 1e-12, "{label} {found}");
    }
}

/// Chi-square over every (setting, outcome). With k degrees of freedom, k + 4 sqrt(2 k) + 11 bounds the statistic
/// with a false-alarm rate below 1e-4 (Laurent and Massart); seeds are fixed, so the test is repeatable.
#[test]
fn frequencies_follow_the_exact_probabilities() {
    for (seed, ensemble) in (0..).zip(ensembles()) {
        let n = ensemble.n_qubits();
        let state = random_state(n, 40 + seed);
        let settings = every_setting(&ensemble);
        let shots = 400_000;
        let snaps =
            sample(&StateVector::new(&state).unwrap(), &ensemble, shots, seed, &Cancel::new()).unwrap();
        let mut seen = vec![0u64; settings.len() << n];
        observed(&snaps, &settings).into_iter().for_each(|(f, outcome)| seen[(f << n) + outcome] += 1);
        let (mut statistic, mut cells) = (0.0, 0.0);
        for (f, setting) in settings.iter().enumerate() {
            for outcome in 0..1 << n {
                let row = &setting.rotation.m[outcome << n..][..1 << n];
                let p = row.iter().zip(&state).map(|(a, b)| a * b).sum::<Complex64>().norm_sqr();
                let expected = setting.probability * p * shots as f64;
                let found = seen[(f << n) + outcome] as f64;
                if expected < 1e-9 {
                    assert_eq!(found, 0.0, "an impossible outcome");
                } else {
                    statistic += (found - expected).powi(2) / expected;
                    cells += 1.0;
                }
            }
        }
        let degrees: f64 = cells - 1.0;
        let kind = ensemble.kind();
        assert!(statistic < degrees + 4.0 * (2.0 * degrees).sqrt() + 11.0, "{kind} {statistic} {degrees}");
        assert!(statistic > degrees - 4.0 * (2.0 * degrees).sqrt(), "{kind} {statistic} {degrees}: too good");
    }
}

#[test]
fn counts_equal_the_dense_twin_and_merge() {
    for (seed, ensemble) in (0..).zip(ensembles()) {
        let n = ensemble.n_qubits();
        let words = all_words(n);
        let list = Words::from_words(n, &words).unwrap();
        let settings = every_setting(&ensemble);
        let signs = table(&settings, &words);
        let state = random_state(n, 70 + seed);
        let (shots, buckets) = (3001, 7);
        let snaps =
            sample(&StateVector::new(&state).unwrap(), &ensemble, shots, seed, &Cancel::new()).unwrap();
        let observed = observed(&snaps, &settings);
        let counted = tally(&snaps, &list, buckets, &Cancel::new()).unwrap();
        for b in 0..buckets {
            let range = b * shots / buckets..(b + 1) * shots / buckets;
            for (w, word) in words.iter().enumerate() {
                let mut expected = [0, 0];
                for &(f, outcome) in &observed[range.clone()] {
                    if let Some(signs) = &signs[f][w] {
                        expected[0] += 1;
                        expected[1] += u64::from(signs[outcome] < 0.0);
                    }
                }
                assert_eq!(counted.bucket(b)[w], expected, "{} {word}", ensemble.kind());
            }
        }
        // Parts merge to the whole; bytes and rows round-trip; a single thread gives the same.
        let parts = [snaps.slice(0, 1234).unwrap(), snaps.slice(1234, shots).unwrap()];
        assert_eq!(Snapshots::concat(&[&parts[0], &parts[1]]).unwrap(), snaps);
        let [a, b] = parts.map(|part| tally(&part, &list, 1, &Cancel::new()).unwrap());
        let whole = tally(&snaps, &list, 1, &Cancel::new()).unwrap();
        assert_eq!(a.merge(&b).unwrap(), whole);
        assert_eq!(Tally::from_bytes(&whole.to_bytes().unwrap()).unwrap(), whole);
        let rows = Rows::from_snapshots(&snaps);
        let again = rows.into_snapshots(shots, ensemble.clone(), Provenance::default()).unwrap();
        assert_eq!(again, snaps);
        let backwards: Vec<usize> = (0..shots).rev().collect();
        let turned = snaps.take(&backwards, &Cancel::new()).unwrap();
        assert_eq!(tally(&turned, &list, 1, &Cancel::new()).unwrap(), whole);
    }
}

#[test]
fn threads_do_not_matter_and_short_runs_are_prefixes() {
    let threads = parallel::num_threads();
    let mut random = Random(3);
    let wide: Vec<Setting> = (0..5).map(|_| random_clifford(&mut random, 6, 40)).collect();
    let probabilities = random_probabilities(&mut random, 5);
    let list = Ensemble::settings(wide, probabilities).unwrap();
    for ensemble in [list, Ensemble::random_blocks(6, 2).unwrap()] {
        let state = random_state(6, 4);
        let state = StateVector::new(&state).unwrap();
        let sums = [random.observable(6, 12), random.observable(6, 9)];
        let sums = Sums::from_sums(6, &sums).unwrap();
        let run = || {
            let snaps = sample(&state, &ensemble, 70_000, 9, &Cancel::new()).unwrap();
            let found = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new());
            (snaps, found)
        };
        let many = run();
        parallel::set_num_threads(1).unwrap();
        let one = run();
        parallel::set_num_threads(threads).unwrap();
        assert_eq!(many, one);
        let short = sample(&state, &ensemble, 777, 9, &Cancel::new()).unwrap();
        assert_eq!(short, many.0.slice(0, 777).unwrap());
    }
}

/// The mean of 20,000 estimates of 40 snapshots each is exact within 5 standard errors, and their variance is
/// `(sum c c' Pr[both] / (h h') <Q Q'> - <O>^2) / 40` within 5 % (known to 1 %, so a false-alarm rate below 1e-5), as
/// is the mean of the variances that the estimates claim.
#[test]
fn estimates_are_unbiased_with_the_variance_that_the_ensemble_predicts() {
    let (runs, each) = (20_000, 40);
    for (seed, ensemble) in (0..).zip(ensembles()) {
        let n = ensemble.n_qubits();
        let mut random = Random(90 + seed);
        let state = random_state(n, 100 + seed);
        let possible: Vec<PauliWord> = all_words(n)
            .into_iter()
            .skip(1)
            .filter(|w| ensemble.reveal_probability(w.view()).unwrap() > 0.05)
            .collect();
        let sum = PauliSum::from_terms(n, possible.iter().step_by(2).map(|w| (w, random.real()))).unwrap();
        let h = |w: &PauliWord| ensemble.reveal_probability(w.view()).unwrap();
        let mean: f64 = sum.iter().map(|(w, c)| c * expectation(&state, &w.to_word())).sum();
        let mut second = 0.0;
        for (a, c) in sum.iter() {
            for (b, d) in sum.iter() {
                let both = ensemble.pair_probability(a, b).unwrap();
                if both > 0.0 {
                    let (phase, product) = a.multiply(b).unwrap();
                    let value = phase.to_complex().re * expectation(&state, &product);
                    second += c * d * both / (h(&a.to_word()) * h(&b.to_word())) * value;
                }
            }
        }
        let variance = (second - mean * mean) / f64::from(each);
        let sums = Sums::from_sums(n, [&sum]).unwrap();
        let vector = StateVector::new(&state).unwrap();
        let snaps = sample(&vector, &ensemble, (runs * each) as usize, seed, &Cancel::new()).unwrap();
        let whole = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new()).unwrap();
        let counted = tally(&snaps, sums.words(), runs as usize, &Cancel::new()).unwrap();
        let total = f64::from(runs);
        let values: Vec<f64> = (0..runs as usize)
            .map(|b| {
                let terms = sums.terms(0).zip(counted.bucket(b));
                terms
                    .map(|((w, c), [m, minus])| {
                        c * (*m as f64 - 2.0 * *minus as f64) / (f64::from(each) * h(&w.to_word()))
                    })
                    .sum()
            })
            .collect();
        let found = values.iter().sum::<f64>() / total;
        let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / total;
        let kind = ensemble.kind();
        assert!((found - whole.value[0]).abs() < 1e-9, "{kind}");
        assert!((found - mean).abs() < 5.0 * (variance / total).sqrt(), "{kind}: {found} {mean}");
        assert!((spread / variance - 1.0).abs() < 0.05, "{kind}: {spread} {variance}");
        let claimed = whole.stderr[0].powi(2) * total;
        assert!((claimed / variance - 1.0).abs() < 0.05, "{kind}: {claimed} {variance}");
        let buckets = estimate_tally(&counted, &sums, Combine::Mean, None).unwrap();
        assert!((buckets.stderr[0].powi(2) * total / variance - 1.0).abs() < 0.05, "{kind}");
        for combine in [Combine::HitNormalised, Combine::MedianOfMeans] {
            let count = if combine == Combine::MedianOfMeans { 21 } else { 1 };
            let other = estimate(&snaps, &sums, combine, count, &Cancel::new()).unwrap();
            assert!((other.value[0] - mean).abs() < 5.0 * other.stderr[0], "{kind} {combine:?}");
        }
    }
}

#[test]
fn counts_of_settings_are_kept_and_estimates_stay_unbiased() {
    let ensemble = ensembles().remove(3);
    let state = random_state(3, 8);
    let vector = StateVector::new(&state).unwrap();
    let counts = ensemble.allocate(300_000, 1).unwrap();
    let snaps = sample_counts(&vector, &ensemble, &counts, 2, &Cancel::new()).unwrap();
    for (f, &count) in counts.iter().enumerate() {
        assert_eq!(snaps.settings().iter().filter(|s| **s == f as u32).count() as u64, count);
    }
    assert!(snaps.settings().is_sorted());
    let words: Vec<PauliWord> =
        all_words(3).into_iter().filter(|w| ensemble.reveal_probability(w.view()).unwrap() > 0.0).collect();
    let sums = Sums::from_words(&Words::from_words(3, &words).unwrap()).unwrap();
    let found = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new()).unwrap();
    for (j, word) in words.iter().enumerate() {
        // 5 sigma on fewer than 64 words: a false-alarm rate below 1e-4.
        let exact = expectation(&state, word);
        assert!((found.value[j] - exact).abs() < 5.0 * found.stderr[j] + 1e-4, "{word}");
    }
    assert!(sample_counts(&vector, &ensemble, &counts[1..], 2, &Cancel::new()).is_err());
    assert!(sample_counts(&vector, &ensemble, &[0; 7], 2, &Cancel::new()).is_err());
    let uniform = Ensemble::uniform(3).unwrap();
    assert!(sample_counts(&vector, &uniform, &counts, 2, &Cancel::new()).is_err());
}

#[test]
fn arrays_are_checked_and_round_trip() {
    let list = Ensemble::clifford(2).unwrap();
    let blocks = Ensemble::random_blocks(3, 2).unwrap();
    let cancel = Cancel::new();
    let make = |bits: &[u8], settings: &[u32], shots, ensemble: &Ensemble| {
        Snapshots::from_settings(bits, settings, shots, ensemble.clone(), &cancel)
    };
    let snaps = make(&[0, 1, 1, 1], &[14, 3], 2, &list).unwrap();
    assert_eq!(unpack(&snaps, &cancel).unwrap(), (vec![0, 1, 1, 1], vec![]));
    assert_eq!((snaps.settings(), snaps.nbytes()), ([14, 3].as_slice(), 2 * 8 + 2 * 4));
    assert_eq!(make(&[0, 1, 1], &[14, 2], 1, &blocks).unwrap().settings(), [14, 2]);
    let text = |result: efl_core::Result<Snapshots>| result.unwrap_err().to_string();
    assert!(
        text(make(&[0, 1, 1, 1], &[14, 15], 2, &list)).starts_with("setting_index[1, 0]: expected 0 to 14")
    );
    assert!(text(make(&[0, 1, 1], &[1, 3], 1, &blocks)).starts_with("setting_index[0, 1]: expected 0 to 2"));
    assert!(text(make(&[0, 2, 1, 1], &[1, 1], 2, &list)).starts_with("bits[0, 1]"));
    assert!(make(&[0, 1, 1], &[1, 1], 2, &list).is_err());
    assert!(make(&[0, 1, 1, 1], &[1], 2, &list).is_err());
    assert!(make(&[0, 1], &[], 1, &Ensemble::uniform(2).unwrap()).is_err());
    assert!(Snapshots::from_arrays(&[0, 1], &[0, 1], 1, list.clone()).is_err());
    // The bits of one list mean nothing in another; probabilities may change.
    assert!(snaps.clone().with_ensemble(Ensemble::uniform(2).unwrap()).is_err());
    let settings = list.block_list()[0].settings().to_vec();
    let mut probabilities = vec![0.0; 15];
    (probabilities[3], probabilities[14]) = (0.5, 0.5);
    let other = Ensemble::settings(settings, probabilities).unwrap();
    assert_eq!(snaps.clone().with_ensemble(other.clone()).unwrap().ensemble(), &other);
    assert!(Snapshots::concat(&[&snaps, &snaps.clone().with_ensemble(other).unwrap()]).is_err());
}

#[test]
fn a_word_that_is_never_revealed_is_named_with_a_remedy() {
    let list = Ensemble::settings(vec![Setting::product("XX").unwrap()], vec![1.0]).unwrap();
    let snaps = Snapshots::from_settings(&[0, 1], &[0], 1, list, &Cancel::new()).unwrap();
    let sums =
        Sums::from_words(&Words::from_words(2, &[PauliWord::from_label("IY").unwrap()]).unwrap()).unwrap();
    let refused = estimate(&snaps, &sums, Combine::Mean, 1, &Cancel::new()).unwrap_err().to_string();
    assert!(refused.contains("IY") && refused.contains("ZY"), "{refused}");
}

#[test]
fn damaged_bytes_of_lists_are_refused() {
    let mut random = Random(1);
    let blocks = vec![random_block(&mut random, &[2, 0], 3), random_block(&mut random, &[1], 2)];
    let ensemble = Ensemble::blocks(3, blocks).unwrap();
    let state = random_state(3, 1);
    let snaps = sample(&StateVector::new(&state).unwrap(), &ensemble, 50, 1, &Cancel::new()).unwrap();
    let words = Words::from_words(3, &all_words(3)[..5]).unwrap();
    let bytes = tally(&snaps, &words, 2, &Cancel::new()).unwrap().to_bytes().unwrap();
    for at in 0..bytes.len() {
        assert!(Tally::from_bytes(&bytes[..at]).is_err());
    }
    // With a checksum that fits, whatever was changed: refused or another tally, never a panic.
    let body = bytes.len() - 4;
    for at in 16..body {
        for flip in [1u8, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            let crc = crc32(&damaged[..body]);
            damaged[body..].copy_from_slice(&crc.to_le_bytes());
            let _ = Tally::from_bytes(&damaged);
        }
    }
}

/// Bit by bit, as the standard defines it.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { c >> 1 ^ 0xEDB8_8320 } else { c >> 1 })
    })
}
