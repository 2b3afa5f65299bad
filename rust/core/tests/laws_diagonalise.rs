//! Laws of diagonalising circuits, on random stabiliser groups: what they reveal, and the gates they consist of.

#[path = "dense/mod.rs"]
mod dense;

use dense::{Dense, Random};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::Circuit;
use efl_core::gates::CliffordGate;
use efl_core::gates::{Clifford, Direction};
use efl_core::heisenberg::{Truncation, propagate};
use efl_core::pauli::{Letter, PauliSum, PauliWord, Words};
use efl_core::stabiliser::{Connectivity, Setting, diagonalise};

const LAYOUTS: [Connectivity; 2] = [Connectivity::All, Connectivity::Line];

fn solve(words: &Words, connectivity: Connectivity, effort: usize) -> Setting {
    diagonalise(words, connectivity, effort, &Cancel::new()).unwrap()
}

/// The generators of a random group: `rank` letters Z behind a random circuit.
fn group(random: &mut Random, n: usize, rank: usize, gates: usize) -> Vec<PauliWord> {
    let mut scramble = Vec::new();
    while scramble.len() < gates {
        let clifford = Clifford::ALL[random.below(16)];
        let wires = [random.below(n), random.below(n)];
        scramble.extend(CliffordGate::new(clifford, &wires[..clifford.n_wires().min(n)]).ok());
    }
    let setting = Setting::from_gates(n, scramble).unwrap();
    (0..rank).map(|i| setting.measured(i).unwrap().0).collect()
}

/// Words of a group: products of some generators, so that they depend on each other, or the generators themselves.
fn family(random: &mut Random, n: usize) -> Words {
    let gates = [n / 2, 2 * n, 2 * n * n][random.below(3)];
    let rank = random.below(n + 1);
    let generators = group(random, n, rank, gates);
    let mixed = random.below(2) == 1;
    let count = if mixed { random.below(2 * n + 1) } else { rank };
    let words = (0..count).map(|i| match mixed {
        true => product(n, &generators, random),
        false => generators[i].clone(),
    });
    Words::from_words(n, &words.collect::<Vec<_>>()).unwrap()
}

/// The product of a random half of the words, without its phase.
fn product(n: usize, words: &[PauliWord], random: &mut Random) -> PauliWord {
    let half = words.iter().filter(|_| random.below(2) == 1);
    half.fold(PauliWord::identity(n), |left, word| left.multiply(word).unwrap().1)
}

/// Moves words through the gates one after the other as coefficients 1, 2, ... of a sum, and compares what they
/// become with what the setting says of them.
fn check_by_propagation(setting: &Setting, words: &[PauliWord]) {
    let n = setting.n_qubits();
    let mut circuit = Circuit::new(n, 0).unwrap();
    for gate in setting.gates() {
        circuit.clifford(gate.clifford(), gate.wires()).unwrap();
    }
    let sum = PauliSum::from_terms(n, words.iter().zip((1..).map(f64::from))).unwrap();
    let (exact, cancel) = (Truncation::EXACT, Cancel::new());
    let moved = propagate(&circuit, &[], &sum, Direction::Schroedinger, &exact, &cancel).unwrap().sum;
    assert_eq!(moved.len(), words.len());
    for (image, coefficient) in moved.iter() {
        let word = &words[coefficient.abs().round() as usize - 1];
        let reading = setting.reveal(word.view()).unwrap().expect("a word of the group is revealed");
        assert!(image.x().iter().all(|x| *x == 0), "{word} becomes {image}");
        assert_eq!(reading.mask, image.z(), "{word}");
        assert_eq!(reading.negative, coefficient < 0.0, "{word}");
    }
}

fn check_gates(setting: &Setting, connectivity: Connectivity) {
    for gate in setting.gates() {
        let known = [Clifford::H, Clifford::Sdg, Clifford::Cnot, Clifford::Cz];
        assert!(known.contains(&gate.clifford()));
        if let [a, b] = *gate.wires() {
            assert!(
                connectivity == Connectivity::All || connectivity == Connectivity::Line && a.abs_diff(b) == 1
            );
        }
    }
}

/// The distinct words of a family and some of their products.
fn samples(words: &Words, random: &mut Random) -> Vec<PauliWord> {
    let mut all = words.to_words();
    let products: Vec<_> = (0..all.len()).map(|_| product(words.n_qubits(), &all, random)).collect();
    all.extend(products);
    all.push(PauliWord::identity(words.n_qubits()));
    all.sort();
    all.dedup();
    all
}

fn qubit_wise(words: &Words) -> bool {
    words.iter().enumerate().all(|(i, a)| (0..i).all(|j| a.qubit_wise_commutes(words.get(j)).unwrap()))
}

#[test]
fn the_whole_group_is_revealed_with_its_signs() {
    let mut random = Random(1);
    for case in 0..1000 {
        let n = 1 + random.below([6, 10, 14, 20, 30][case % 5]);
        let words = family(&mut random, n);
        let samples = samples(&words, &mut random);
        for connectivity in LAYOUTS {
            let setting = solve(&words, connectivity, 1);
            check_gates(&setting, connectivity);
            check_by_propagation(&setting, &samples);
            assert_eq!(setting.letters().is_some(), qubit_wise(&words));
        }
        let product = diagonalise(&words, Connectivity::None, 1, &Cancel::new());
        assert_eq!(product.is_ok(), qubit_wise(&words));
        if let Ok(setting) = product {
            check_gates(&setting, Connectivity::None);
            check_by_propagation(&setting, &samples);
        }
    }
}

#[test]
fn registers_of_more_than_one_machine_word() {
    let mut random = Random(2);
    for (rank, gates) in [(3, 300), (10, 60), (66, 40), (20, 2000)] {
        let words = group(&mut random, 66, rank, gates);
        let words = Words::from_words(66, &words).unwrap();
        let samples = samples(&words, &mut random);
        for connectivity in LAYOUTS {
            let setting = solve(&words, connectivity, 1);
            check_gates(&setting, connectivity);
            check_by_propagation(&setting, &samples);
        }
    }
}

#[test]
fn the_unitary_turns_every_product_into_a_signed_word_of_z() {
    let mut random = Random(3);
    for case in 0..60 {
        let n = 1 + case % 5;
        let words = family(&mut random, n);
        for connectivity in LAYOUTS {
            let setting = solve(&words, connectivity, 1);
            let unitary = setting.gates().iter().fold(Dense::identity(1 << n), |u, gate| {
                let matrix = gate.clifford().matrix();
                let matrix = Dense { d: 1 << gate.wires().len(), m: matrix };
                dense::embed(&matrix, gate.wires(), n).times(&u)
            });
            for word in samples(&words, &mut random) {
                let reading = setting.reveal(word.view()).unwrap().unwrap();
                let letters = (0..n).filter(|q| reading.mask[0] >> q & 1 == 1).map(|q| (q, Letter::Z));
                let image = dense::word(&PauliWord::from_sparse(n, letters).unwrap());
                let image = image.scaled(dense::ONE * if reading.negative { -1.0 } else { 1.0 });
                assert!(dense::word(&word).conjugated_by(&unitary).distance(&image) < 1e-12, "{word}");
            }
        }
    }
}

fn words(labels: &[&str]) -> Words {
    let words: Vec<_> = labels.iter().map(|label| PauliWord::from_label(label).unwrap()).collect();
    Words::from_words(words[0].n_qubits(), &words).unwrap()
}

#[test]
fn qubits_that_need_no_gate_have_none() {
    // One letter on qubits 2 and 4, none on 3, and a Bell pair.
    let family = words(&["XXZII", "ZZZIX", "IIIIX"]);
    let setting = solve(&family, Connectivity::All, 1);
    assert_eq!(setting.two_qubit_gates(), 1);
    let touched: Vec<usize> = setting.gates().iter().flat_map(|gate| gate.wires().to_vec()).collect();
    assert!(!touched.contains(&2) && !touched.contains(&3));
    assert_eq!(touched.iter().filter(|q| **q == 4).count(), 1);
    // The pair at the ends of a line must meet; nothing else is known of the qubits between.
    assert_eq!(solve(&words(&["XIIX", "ZIIZ"]), Connectivity::Line, 1).two_qubit_gates(), 5);
    assert_eq!(
        solve(&words(&["XIZY", "IIZI", "XIII"]), Connectivity::None, 1).letters().unwrap().to_string(),
        "XZZY"
    );
    assert_eq!(solve(&Words::new(2), Connectivity::All, 1), Setting::product("ZZ").unwrap());
}

#[test]
fn circuits_are_short() {
    let ghz = |n: usize| {
        let chain = (1..n).map(|q| PauliWord::from_sparse(n, [(q - 1, Letter::Z), (q, Letter::Z)]).unwrap());
        let flip = PauliWord::from_sparse(n, (0..n).map(|q| (q, Letter::X))).unwrap();
        Words::from_words(n, &chain.chain([flip]).collect::<Vec<_>>()).unwrap()
    };
    for connectivity in LAYOUTS {
        assert_eq!(solve(&ghz(12), connectivity, 1).two_qubit_gates(), 11, "{connectivity:?}");
    }
    // 40 random groups of 10 qubits. A graph state has 22.5 edges on average; 25 is what crossing the bonds takes.
    let mut random = Random(4);
    let families: Vec<Words> =
        (0..40).map(|_| Words::from_words(10, &group(&mut random, 10, 10, 200)).unwrap()).collect();
    for (connectivity, limit) in [(Connectivity::All, 13.0), (Connectivity::Line, 28.5)] {
        let counts = families.iter().map(|f| solve(f, connectivity, 1).two_qubit_gates());
        let mean = counts.sum::<usize>() as f64 / families.len() as f64;
        assert!(mean < limit, "{connectivity:?}: {mean}");
    }
}

#[test]
fn more_effort_is_never_worse_and_everything_repeats() {
    let mut random = Random(5);
    for n in [5, 8] {
        let family = Words::from_words(n, &group(&mut random, n, n, 100)).unwrap();
        for connectivity in LAYOUTS {
            let rank = |effort| {
                let setting = solve(&family, connectivity, effort);
                assert_eq!(setting, solve(&family, connectivity, effort));
                (setting.two_qubit_gates(), setting.depth())
            };
            assert!(rank(8) <= rank(2) && rank(2) <= rank(1));
        }
    }
}

#[test]
fn families_without_a_circuit_are_refused_by_name() {
    let refused = |labels: &[&str], connectivity, effort| {
        diagonalise(&words(labels), connectivity, effort, &Cancel::new()).unwrap_err().to_string()
    };
    let text = refused(&["ZZI", "XXI", "XII"], Connectivity::All, 1);
    assert_eq!(text, "words: expected words that commute with each other, got ZZI and XII");
    let text = refused(&["ZZI", "XXI"], Connectivity::None, 1);
    assert_eq!(
        text,
        "words: expected words that commute on every qubit, got ZZI and XXI, which differ on qubit 0"
    );
    assert!(refused(&["Z"], Connectivity::All, 0).starts_with("effort: expected"));
    let cancel = Cancel::new();
    cancel.raise();
    assert!(diagonalise(&words(&["ZZ", "XX"]), Connectivity::All, 1, &cancel).is_err());
}
