//! Echoes and parameter shifts against exact gradients; simulated states against dense matrices.

mod dense;

use dense::{Dense, Gate, ONE, Random, Twin, product_state};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::RotationLayers;
use efl_core::circuit::{Angle, Circuit};
use efl_core::circuit::{evolve, simulate};
use efl_core::estimate::read;
use efl_core::experiment::{Experiment, Pair, Reach, Readings, echoes, shifts};
use efl_core::gates::{Clifford, Direction};
use efl_core::heisenberg::{Truncation, gradient_observables, propagate, value, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::snapshots::{Outcomes, measure_experiment, measure_experiments};
use efl_core::stabiliser::{Connectivity, Setting};
use efl_core::state::ProductState;
use num_complex::Complex64;
use std::collections::BTreeSet;

const TOLERANCE: f64 = 1e-10;

/// A random circuit without channels, with sparse Clifford gates of all kinds in between.
fn twin(seed: u64) -> (Twin, Vec<PauliSum>) {
    let n = 1 + seed as usize % 6;
    let twin = Twin::random(seed, n, 10 + seed as usize % 12, 4, false);
    let mut random = Random(seed + 1000);
    let observables = vec![random.observable(n, 3), random.observable(n, 2)];
    (twin, observables)
}

fn connectivity(seed: u64) -> Connectivity {
    [Connectivity::All, Connectivity::Line, Connectivity::None][seed as usize % 3]
}

/// Every product setting that a word of the observables needs.
fn settings(observables: &[PauliSum]) -> Vec<Setting> {
    let words = observables.iter().flat_map(|o| o.words().to_words());
    let letters =
        |word: PauliWord| (0..word.n_qubits()).map(move |q| (q, word.letter(q))).collect::<Vec<_>>();
    words
        .map(|word| {
            let filled =
                letters(word).into_iter().map(|(q, l)| (q, if l == Letter::I { Letter::X } else { l }));
            Setting::of_letters(PauliWord::from_sparse(observables[0].n_qubits(), filled).unwrap()).unwrap()
        })
        .collect()
}

fn exact(circuit: &Circuit, theta: &[f64], observables: &[PauliSum], input: &ProductState) -> Vec<f64> {
    let gradient = |o| {
        value_and_gradient(circuit, theta, o, input, &Truncation::EXACT, &Cancel::new()).unwrap().gradient
    };
    observables.iter().flat_map(gradient).collect()
}

fn add(experiment: &Experiment, theta: &[f64], input: &ProductState, gradient: &mut [f64]) {
    for moment in experiment.moments(theta, input, &Cancel::new()).unwrap() {
        gradient[moment.row] += moment.mean;
    }
}

/// [`add`] by propagation, for what cannot be simulated.
fn propagated(experiment: &Experiment, theta: &[f64], input: &ProductState, gradient: &mut [f64]) {
    for (j, row) in experiment.readings().rows().iter().enumerate() {
        let sum = experiment.readings().sums().sum(j).unwrap();
        let found =
            value(&experiment.circuit(), theta, &sum, input, &Truncation::EXACT, &Cancel::new()).unwrap();
        gradient[*row] += found.value;
    }
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < TOLERANCE, "{what}, row {row}: {a} instead of {b}");
    }
}

/// A pure product state that is not symmetric.
fn input(n: usize) -> ProductState {
    let bloch = |q: usize| {
        let (polar, azimuth) = (0.4 + 0.3 * q as f64, 1.0 + q as f64);
        [polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()]
    };
    ProductState::from_bloch((0..n).map(bloch).collect()).unwrap()
}

#[test]
fn simulated_states_are_those_of_dense_matrices() {
    for seed in 0..40 {
        let (twin, _) = twin(seed);
        let n = twin.circuit.n_qubits();
        for input in [ProductState::zero(n), input(n)] {
            let state = simulate(&twin.circuit, &twin.theta, &input, &Cancel::new()).unwrap();
            let expected = twin.run(&twin.theta, &product_state(input.bloch()));
            let d = state.len();
            let found = Dense { d, m: (0..d * d).map(|i| state[i / d] * state[i % d].conj()).collect() };
            let error = found.distance(&expected);
            assert!(error < TOLERANCE, "seed {seed}: {error}");
        }
    }
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let mut circuit = Circuit::new(2, 0).unwrap();
    let cancel = Cancel::new();
    let mixed = ProductState::from_bloch(vec![[0.0, 0.0, 1.0], [0.0, 0.5, 0.0]]).unwrap();
    let error = simulate(&circuit, &[], &mixed, &cancel).unwrap_err().to_string();
    assert!(error.contains("length 0.5 at qubit 1"), "{error}");
    assert!(simulate(&circuit, &[0.1], &ProductState::zero(2), &cancel).is_err());
    assert!(simulate(&circuit, &[], &ProductState::zero(3), &cancel).is_err());
    assert!(evolve(&circuit, &[], &mut [ONE; 8], &cancel).is_err());
    let half = |m: Dense| m.scaled(ONE * 0.5f64.sqrt()).m;
    circuit.channel(&[half(Dense::identity(2)), half(dense::letter(Letter::X))], &[0]).unwrap();
    let error = simulate(&circuit, &[], &ProductState::zero(2), &cancel).unwrap_err().to_string();
    assert!(error.contains("a channel at gate 0"), "{error}");
    // A Pauli channel stands in no rotation's way, another one may.
    assert!(RotationLayers::new(&circuit, None).is_ok());
    let (o, p) = (Complex64::default(), 0.1f64);
    let keep = vec![ONE, o, o, ONE * (1.0 - p).sqrt()];
    circuit.channel(&[keep, vec![o, ONE * p.sqrt(), o, o]], &[0]).unwrap();
    assert!(RotationLayers::new(&circuit, None).unwrap_err().to_string().contains("a channel at gate 1"));
    let wide = Circuit::new(27, 0).unwrap();
    assert!(simulate(&wide, &[], &ProductState::zero(27), &cancel).unwrap_err().to_string().contains("26"));
}

#[test]
fn noise_of_strength_zero_is_a_gate() {
    let mut circuit = Circuit::new(1, 1).unwrap();
    circuit.rotation([(0, Letter::X)], Angle::parameter(0)).unwrap();
    let (zero, y) = (Complex64::default(), dense::letter(Letter::Y));
    circuit.channel(&[y.scaled(zero).m, y.scaled(ONE * 0.6).m, y.scaled(ONE * 0.8).m], &[0]).unwrap();
    let state = simulate(&circuit, &[0.4], &ProductState::zero(1), &Cancel::new()).unwrap();
    assert!((state[0].norm() - 0.2f64.sin()).abs() < 1e-15);
    assert!(RotationLayers::new(&circuit, None).is_ok());
}

#[test]
fn echoes_add_up_to_the_gradient() {
    let (mut found, mut together) = (0, 0);
    for seed in 0..120 {
        let (twin, observables) = twin(seed);
        let n = twin.circuit.n_qubits();
        // On |0...0> the first gates may be idle.
        let input = if seed % 2 == 0 { input(n) } else { ProductState::zero(n) };
        let rotations = RotationLayers::new(&twin.circuit, Some(&input)).unwrap();
        let mut gradient = vec![0.0; 8];
        for echo in echoes(&rotations, &observables, connectivity(seed), &Cancel::new()).unwrap() {
            found += 1;
            together += usize::from(echo.words().len() > 1);
            for experiment in [echo.minus().unwrap(), echo.plus().unwrap()] {
                add(&experiment, &twin.theta, &input, &mut gradient);
            }
        }
        let expected = exact(&twin.circuit, &twin.theta, &observables, &input);
        assert_close(&gradient, &expected, &format!("seed {seed}"));
    }
    assert!(found > 1000 && together > 5, "{found} {together}");
}

#[test]
fn shifts_add_up_to_the_gradient() {
    for seed in 0..80 {
        let (twin, observables) = twin(seed);
        let commuting = twin.gates.iter().zip(0..).all(|(gate, k)| match gate {
            Gate::Evolution(_, Angle::Trainable { .. }) => is_rotation(&twin, k),
            _ => true,
        });
        let (input, settings) = (input(twin.circuit.n_qubits()), settings(&observables));
        for reach in [Reach::Wires, Reach::Chains] {
            let all = shifts(&twin.circuit, &observables, &settings, reach, Some(&input));
            let all = match all {
                Err(error) if !commuting => {
                    assert!(error.to_string().contains("do not commute"));
                    continue;
                }
                all => all.unwrap(),
            };
            let mut gradient = vec![0.0; 8];
            for shift in all {
                for experiment in [shift.minus().unwrap(), shift.plus().unwrap()] {
                    add(&experiment, &twin.theta, &input, &mut gradient);
                }
            }
            let expected = exact(&twin.circuit, &twin.theta, &observables, &input);
            assert_close(&gradient, &expected, &format!("seed {seed}"));
        }
    }
}

/// Whether the words of the generator of a gate commute.
fn is_rotation(twin: &Twin, gate: usize) -> bool {
    let Gate::Evolution(a, _) = &twin.gates[gate] else { return true };
    let n = twin.circuit.n_qubits();
    let words: Vec<Dense> = (0..1usize << (2 * n))
        .map(|code| {
            let letters = (0..n)
                .map(|q| (q, Letter::from_bits(code >> (2 * q) & 1 == 1, code >> (2 * q + 1) & 1 == 1)));
            dense::word(&PauliWord::from_sparse(n, letters).unwrap())
        })
        .filter(|word| word.times(a).trace().norm() > 1e-9)
        .collect();
    words.iter().all(|a| words.iter().all(|b| a.times(b).distance(&b.times(a)) < 1e-9))
}

/// Rotations of every qubit about the axes in turn, then CNOTs along `pairs`; again for every layer.
fn layered(n: usize, axes: &[Letter], pairs: &[Vec<(usize, usize)>]) -> Circuit {
    let mut circuit = Circuit::new(n, n * axes.len() * pairs.len()).unwrap();
    let mut parameter = 0..;
    for pairs in pairs {
        for q in 0..n {
            for &axis in axes {
                circuit.rotation([(q, axis)], Angle::parameter(parameter.next().unwrap())).unwrap();
            }
        }
        pairs.iter().for_each(|&(a, b)| circuit.clifford(Clifford::Cnot, &[a, b]).unwrap());
    }
    circuit
}

fn layer_sizes(circuit: &Circuit, word: &str, zero: bool) -> Vec<usize> {
    let input = zero.then(|| ProductState::zero(circuit.n_qubits()));
    let layers = RotationLayers::new(circuit, input.as_ref())
        .unwrap()
        .layers(&PauliWord::from_label(word).unwrap())
        .unwrap();
    layers.iter().map(Vec::len).collect()
}

#[test]
fn layers_of_known_circuits() {
    use Letter::{Y, Z};
    // Strongly entangling layers: RZ RY RZ, then a ring of CNOTs of range 1, 2, ...
    let ring = |n: usize, range: usize| (0..n).map(|q| (q, (q + range) % n)).collect::<Vec<_>>();
    let strong = layered(4, &[Z, Y, Z], &[ring(4, 1), ring(4, 2)]);
    // CNOTs map words of Z to words of Z, so the RZ before a ring and those after it are one layer.
    assert_eq!(layer_sizes(&strong, "XXXX", false), [4, 4, 6, 2, 2]);
    assert_eq!(layer_sizes(&strong, "ZIII", false), [4, 4, 3, 1]);
    // RZ does nothing to |0>.
    assert_eq!(layer_sizes(&strong, "XXXX", true), [4, 6, 2, 2]);
    // The 24 parameters of observables that reach all of them.
    let words = ["XXXX", "XIII", "IXII", "IIXI", "IIIX", "XYXY", "YXYX"];
    let rotations = RotationLayers::new(&strong, None).unwrap();
    let layers = words.map(|word| rotations.layers(&PauliWord::from_label(word).unwrap()).unwrap());
    assert!(layers.iter().all(|layers| layers.len() <= 5));
    assert_eq!(layers.iter().flatten().flatten().collect::<BTreeSet<_>>().len(), 24);
    let chain = (0..5).map(|q| (q, q + 1)).collect::<Vec<_>>();
    let real = layered(6, &[Y], &[chain.clone(), chain]);
    assert_eq!(layer_sizes(&real, "IIIIIZ", false), [6, 6]);
    assert_eq!(layer_sizes(&real, "ZIIIII", false), [2, 1]);
}

#[test]
fn gates_that_are_no_rotations_stand_in_the_way_of_what_they_do_not_commute_with() {
    let phase = |angle: f64| Complex64::new(angle.cos(), angle.sin());
    let zero = Complex64::default();
    let t = vec![ONE, zero, zero, phase(0.7)];
    let tilted = Random(1).hermitian(2).evolution(0.4).m;
    for (matrix, layers) in [(t, 1), (tilted, 2)] {
        let mut circuit = Circuit::new(2, 2).unwrap();
        circuit.rotation([(0, Letter::Z)], Angle::parameter(0)).unwrap();
        circuit.clifford(Clifford::Cnot, &[0, 1]).unwrap();
        circuit.unitary(&matrix, &[0]).unwrap();
        circuit.rotation([(0, Letter::Z)], Angle::parameter(1)).unwrap();
        assert_eq!(layer_sizes(&circuit, "XI", false).len(), layers);
    }
    // A controlled phase lets Z on either wire pass, and X on a third.
    let mut matrix = Dense::identity(4).m;
    matrix[15] = phase(0.3);
    let mut circuit = Circuit::new(3, 6).unwrap();
    for q in 0..3 {
        let axis = if q < 2 { Letter::Z } else { Letter::X };
        circuit.rotation([(q, axis)], Angle::parameter(q)).unwrap();
    }
    circuit.unitary(&matrix, &[1, 0]).unwrap();
    for q in 0..3 {
        let axis = if q < 2 { Letter::Z } else { Letter::X };
        circuit.rotation([(q, axis)], Angle::parameter(3 + q)).unwrap();
    }
    assert_eq!(layer_sizes(&circuit, "XXZ", false), [6]);
}

#[test]
fn shifts_need_no_unitary_circuit() {
    for seed in 0..20 {
        let n = 2 + seed as usize % 3;
        let twin = Twin::random(seed, n, 10, 3, true);
        let observables = vec![Random(seed).observable(n, 2)];
        let input = input(n);
        for reach in [Reach::Wires, Reach::Chains] {
            let found = shifts(&twin.circuit, &observables, &settings(&observables), reach, Some(&input));
            let Ok(found) = found else { continue }; // generators of words that do not commute
            let mut gradient = vec![0.0; 3];
            for shift in found {
                propagated(&shift.plus().unwrap(), &twin.theta, &input, &mut gradient);
                propagated(&shift.minus().unwrap(), &twin.theta, &input, &mut gradient);
            }
            assert_close(&gradient, &exact(&twin.circuit, &twin.theta, &observables, &input), "channels");
        }
    }
}

#[test]
fn words_that_depend_on_different_gates_share_an_echo() {
    let n = 10;
    let mut circuit = Circuit::new(n, 4 * n).unwrap();
    let mut parameter = 0..;
    for layer in 0..2 {
        for q in 0..n {
            for axis in [Letter::Y, Letter::Z] {
                circuit.rotation([(q, axis)], Angle::parameter(parameter.next().unwrap())).unwrap();
            }
        }
        (layer..n - 1).step_by(2).for_each(|q| circuit.clifford(Clifford::Cz, &[q, q + 1]).unwrap());
    }
    let words = (0..n).map(|q| (PauliWord::from_sparse(n, [(q, Letter::X)]).unwrap(), 0.1 * (q + 1) as f64));
    let words: Vec<_> = words.collect();
    let observables = [PauliSum::from_terms(n, words.iter().map(|(w, c)| (w, *c))).unwrap()];
    let mut random = Random(3);
    let theta: Vec<f64> = (0..4 * n).map(|_| random.angle()).collect();
    let (input, cancel) = (input(n), Cancel::new());
    let rotations = RotationLayers::new(&circuit, None).unwrap();
    let found = echoes(&rotations, &observables, Connectivity::All, &cancel).unwrap();
    // Four layers of ten words each, but words far apart depend on different gates.
    assert_eq!(found.iter().map(|echo| echo.words().len()).sum::<usize>(), 40);
    assert!(found.len() <= 9, "{}", found.len());
    let mut gradient = vec![0.0; 4 * n];
    for echo in found {
        add(&echo.minus().unwrap(), &theta, &input, &mut gradient);
        add(&echo.plus().unwrap(), &theta, &input, &mut gradient);
    }
    assert_close(&gradient, &exact(&circuit, &theta, &observables, &input), "brick");
}

#[test]
fn echoes_of_wide_registers_add_up_too() {
    let n = 70;
    let pairs: Vec<_> = (0..n - 1).map(|q| (q, q + 1)).collect();
    let circuit = layered(n, &[Letter::Y], &[pairs[64..].to_vec(), pairs[62..68].to_vec()]);
    let word = PauliWord::from_sparse(n, [(66, Letter::Z), (69, Letter::X)]).unwrap();
    let observables = [PauliSum::from_word(&word)];
    let mut random = Random(5);
    let theta: Vec<f64> = (0..circuit.n_parameters()).map(|_| random.angle()).collect();
    let (input, cancel) = (ProductState::zero(n), Cancel::new());
    let mut gradient = vec![0.0; theta.len()];
    for echo in
        echoes(&RotationLayers::new(&circuit, None).unwrap(), &observables, Connectivity::Line, &cancel)
            .unwrap()
    {
        for experiment in [echo.minus().unwrap(), echo.plus().unwrap()] {
            propagated(&experiment, &theta, &input, &mut gradient);
        }
    }
    assert!(gradient.iter().filter(|g| **g != 0.0).count() > 8);
    assert_close(&gradient, &exact(&circuit, &theta, &observables, &input), "wide");
}

/// The generator of a gate at the start of the circuit, moved by the Clifford gates before it alone.
fn at_start(cliffords: &[(Clifford, Vec<usize>)], n: usize, word: &PauliWord) -> PauliWord {
    let mut circuit = Circuit::new(n, 0).unwrap();
    cliffords.iter().for_each(|(gate, wires)| circuit.clifford(*gate, wires).unwrap());
    let sum = PauliSum::from_word(word);
    let moved = propagate(&circuit, &[], &sum, Direction::Heisenberg, &Truncation::EXACT, &Cancel::new());
    moved.unwrap().sum.words().get(0).to_word()
}

#[test]
fn layers_are_the_longest_chains_and_others_have_no_derivative() {
    let mut relevant = 0;
    for seed in 0..60 {
        let (n, mut random) = (2 + seed as usize % 4, Random(seed));
        let (mut circuit, mut cliffords) = (Circuit::new(n, 12).unwrap(), Vec::new());
        let mut words: Vec<(PauliWord, Option<usize>)> = Vec::new();
        for parameter in 0..12 {
            let gate = Clifford::ALL[random.below(Clifford::ALL.len())];
            let wires = random.wires(gate.n_wires(), n);
            circuit.clifford(gate, &wires).unwrap();
            cliffords.push((gate, wires));
            let count = 1 + random.below(2);
            let wires = random.wires(count, n);
            let word = PauliWord::from_sparse(n, random.letters(&wires)).unwrap();
            let trained = random.below(4) > 0;
            let angle = if trained { Angle::parameter(parameter) } else { Angle::Fixed(random.angle()) };
            words.push((at_start(&cliffords, n, &word), trained.then_some(circuit.n_gates())));
            circuit.rotation(word.support(), angle).unwrap();
        }
        let observable = PauliSum::from_word(random.observable(n, 1).words().get(0));
        let end = at_start(&cliffords, n, &observable.words().get(0).to_word());
        // Level of each gate, and whether a chain leads to the end.
        let mut layers: Vec<usize> = Vec::new();
        for (b, (word, trained)) in words.iter().enumerate() {
            let before = (0..b).filter(|&a| !words[a].0.commutes_with(word).unwrap()).map(|a| layers[a]);
            layers.push(before.max().unwrap_or(0) + usize::from(trained.is_some()));
        }
        let mut leads = vec![false; words.len()];
        for a in (0..words.len()).rev() {
            let meets = |b: usize| leads[b] && !words[a].0.commutes_with(&words[b].0).unwrap();
            leads[a] = !words[a].0.commutes_with(&end).unwrap() || (a + 1..words.len()).any(meets);
        }
        let found = RotationLayers::new(&circuit, None)
            .unwrap()
            .layers(&observable.words().get(0).to_word())
            .unwrap();
        for (a, (_, trained)) in words.iter().enumerate() {
            let Some(gate) = trained else { continue };
            let at = found.iter().position(|layer| layer.contains(gate)).map(|layer| layer + 1);
            assert_eq!(at, leads[a].then_some(layers[a]), "seed {seed}, gate {gate}");
        }
        let theta: Vec<f64> = (0..12).map(|_| random.angle()).collect();
        let rows = gradient_observables(
            &circuit,
            &theta,
            std::slice::from_ref(&observable),
            &Truncation::EXACT,
            &Cancel::new(),
        )
        .unwrap();
        for (a, (_, trained)) in words.iter().enumerate().filter(|(_, (_, trained))| trained.is_some()) {
            relevant += usize::from(leads[a]);
            assert_eq!(rows.is_zero(0, a), !leads[a], "seed {seed}, {trained:?}");
        }
    }
    assert!(relevant > 100, "{relevant}");
}

#[test]
fn one_shot_of_an_echo_of_a_word_has_a_variance_below_one() {
    for seed in 0..40 {
        let n = 2 + seed as usize % 4;
        let mut random = Random(seed);
        let pairs = || (1..n).map(|q| (q - 1, q)).collect::<Vec<_>>();
        let circuit = layered(n, &[Letter::X, Letter::Z], &[pairs(), pairs()]);
        let theta: Vec<f64> = (0..circuit.n_parameters()).map(|_| random.angle()).collect();
        let observable = PauliSum::from_word(random.observable(n, 1).words().get(0));
        let rotations = RotationLayers::new(&circuit, None).unwrap();
        let (input, cancel) = (ProductState::zero(n), Cancel::new());
        for echo in echoes(&rotations, &[observable], connectivity(seed), &cancel).unwrap() {
            let minus = echo.minus().unwrap().moments(&theta, &input, &cancel).unwrap();
            let plus = echo.plus().unwrap().moments(&theta, &input, &cancel).unwrap();
            for (minus, plus) in minus.iter().zip(&plus) {
                // Half of the shots for each.
                assert!(2.0 * (minus.variance + plus.variance) <= 1.0 + 1e-12, "seed {seed}");
            }
        }
    }
}

#[test]
fn variances_of_readings_are_those_of_dense_matrices() {
    for seed in 0..20 {
        let n = 2 + seed as usize % 3;
        let twin = Twin::random(seed, n, 8, 2, false);
        let mut random = Random(seed);
        let letters: Vec<usize> = (0..n).collect();
        let setting = PauliWord::from_sparse(n, random.letters(&letters)).unwrap();
        let entries: Vec<_> = (0..5)
            .map(|i| {
                let count = 1 + random.below(n);
                (i / 3, setting.restrict(&random.wires(count, n)).unwrap(), random.real())
            })
            .collect();
        let readings = Readings::new(n, &entries).unwrap();
        let sums: Vec<Dense> = (0..2).map(|j| dense::sum(&readings.sums().sum(j).unwrap())).collect();
        let setting = Setting::of_letters(setting).unwrap();
        let experiment = Experiment::new(twin.circuit.clone(), setting, readings).unwrap();
        let (input, cancel) = (input(n), Cancel::new());
        let rho = twin.run(&twin.theta, &product_state(input.bloch()));
        let exact = experiment.moments(&twin.theta, &input, &cancel).unwrap();
        for (moment, o) in exact.iter().zip(&sums) {
            let mean = o.times(&rho).trace().re;
            assert!((moment.mean - mean).abs() < TOLERANCE);
            assert!((moment.variance - (o.times(o).times(&rho).trace().re - mean * mean)).abs() < TOLERANCE);
        }
        // 40 means within 5 standard errors: a false alarm in less than 1e-4 of all choices of seeds.
        let shots = 20_000;
        let run = || {
            let found = measure_experiment(&experiment, &twin.theta, &input, shots, seed, &cancel).unwrap();
            read(&experiment, &Outcomes::narrow(n, found), &cancel).unwrap()
        };
        for (found, exact) in run().iter().zip(&exact) {
            let error = (exact.variance / shots as f64).sqrt();
            assert!((found.mean - exact.mean).abs() <= 5.0 * error + 1e-12, "seed {seed}");
            assert!((found.variance - exact.variance).abs() < 0.2 * exact.variance + 1e-3, "seed {seed}");
        }
        assert_eq!(run(), run());
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let word = |label| PauliWord::from_label(label).unwrap();
    let circuit = layered(2, &[Letter::Y], &[vec![(0, 1)]]);
    let setting = Setting::product("ZZ").unwrap();
    let readings = Readings::new(2, &[(0, word("XI"), 1.0)]).unwrap();
    let error = Experiment::new(circuit.clone(), setting.clone(), readings).unwrap_err().to_string();
    assert!(error.contains("got XI"), "{error}");
    let zx = [PauliSum::from_labels([("ZX", 1.0), ("II", 2.0)]).unwrap()];
    let error =
        shifts(&circuit, &zx, std::slice::from_ref(&setting), Reach::Wires, None).unwrap_err().to_string();
    assert!(error.contains("got ZX"), "{error}");
    assert!(shifts(&circuit, &zx, &[Setting::product("Z").unwrap()], Reach::Wires, None).is_err());
    let rotations = RotationLayers::new(&circuit, None).unwrap();
    let identity = [PauliSum::from_labels([("II", 2.0)]).unwrap()];
    assert!(echoes(&rotations, &identity, Connectivity::All, &Cancel::new()).unwrap().is_empty());
    assert!(shifts(&circuit, &identity, &[], Reach::Chains, None).unwrap().is_empty());
    let narrow = [PauliSum::from_labels([("Z", 2.0)]).unwrap()];
    assert!(echoes(&rotations, &narrow, Connectivity::All, &Cancel::new()).is_err());
    // Rows that cancel are not read.
    let entries = [(1, word("ZI"), 0.5), (0, word("ZZ"), 1.0), (1, word("ZI"), -0.5)];
    assert_eq!(Readings::new(2, &entries).unwrap().rows(), [0]);
}

#[test]
fn circuits_that_experiments_share_are_simulated_once_and_say_the_same() {
    let circuit = layered(3, &[Letter::Y, Letter::X], &[vec![(0, 1), (1, 2)], vec![(0, 2)]]);
    let theta: Vec<f64> = (0..circuit.n_parameters()).map(|k| 0.3 + k as f64).collect();
    let sum = PauliSum::from_labels([("ZZI", 1.0), ("XIX", 0.5), ("IYY", 2.0)]).unwrap();
    let settings = ["ZZZ", "XXX", "YYY"].map(|letters| Setting::product(letters).unwrap());
    let (input, cancel) = (ProductState::zero(3), Cancel::new());
    let found = shifts(&circuit, &[sum], &settings, Reach::Wires, None).unwrap();
    let both = |shift: &efl_core::experiment::Shift| [shift.plus().unwrap(), shift.minus().unwrap()];
    let made: Vec<Experiment> = found.iter().flat_map(both).collect();
    let runs: Vec<_> = made.iter().enumerate().map(|(i, e)| (e, 50 + i, 7 * i as u64)).collect();
    let together = measure_experiments(&runs, &theta, &input, &cancel).unwrap();
    for ((experiment, shots, seed), found) in runs.iter().zip(&together) {
        assert_eq!(*found, measure_experiment(experiment, &theta, &input, *shots, *seed, &cancel).unwrap());
    }
    assert!(measure_experiments(&[(&made[0], 0, 1)], &theta, &input, &cancel).is_err());
    assert!(measure_experiments(&[], &theta, &input, &cancel).unwrap().is_empty());
}
