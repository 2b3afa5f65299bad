//! What a fleet reads is the gradient: exactly, by adding up all entries with their shares and all outcomes with their
//! probabilities.

mod common;

use common::span;
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::Options;
use efl_core::experiment::{Experiment, Readings};
use efl_core::gates::Clifford;
use efl_core::heisenberg::{Truncation, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use efl_core::plan::{Method, Plan};
use efl_core::stabiliser::Setting;
use efl_core::state::ProductState;
use efl_fleet::packet::{Bits, Packet, encode};
use efl_fleet::reader::{Entry, Query, Reader, Scratch, Slopes, Weights};
use efl_fleet::sequence::Sequence;
use efl_fleet::version::{Shape, Version};

fn version(n: usize, shares: &[f64]) -> Version {
    let shape = Shape { n_qubits: n as u16, answer_shots: 0, teach_shots: 1, settings: 1 };
    Version::new(1, 0, 3, shape, shares, 1.0, b"").unwrap()
}

/// A query that runs an entry and shows an outcome, whose qubit 0 is the most significant bit.
fn with_query<T>(version: &Version, entry: usize, outcome: usize, read: impl FnOnce(&Query<'_>) -> T) -> T {
    let n = usize::from(version.shape().n_qubits);
    let sequence = Sequence::new(version, 9, 1);
    let number = (0..).find(|q| sequence.entries(*q).next() == Some(entry)).unwrap();
    let bits: Vec<u8> = (0..n).map(|q| (outcome >> (n - 1 - q) & 1) as u8).collect();
    let packet = encode(version, &span(9, 1, number, 1), Bits::Bytes(&[]), Bits::Bytes(&bits)).unwrap();
    let packet = Packet::decode(&packet).unwrap();
    let query = Query::all(version, &packet.span, packet.body).next().unwrap();
    read(&query)
}

/// Two layers of rotations that are fed twice from the same inputs.
fn circuit() -> (Circuit, Vec<f64>) {
    let mut circuit = Circuit::new(3, 6).unwrap();
    for layer in 0..2 {
        for q in 0..3 {
            circuit.rotation([(q, Letter::X)], 0.3 + 0.2 * q as f64).unwrap();
            circuit.rotation([(q, Letter::Y)], Angle::parameter(3 * layer + q)).unwrap();
        }
        circuit.clifford(Clifford::Cz, &[0, 1]).unwrap();
        circuit.clifford(Clifford::Cnot, &[1, 2]).unwrap();
    }
    (circuit, vec![0.4, -1.1, 0.7, 2.0, -0.3, 1.3])
}

/// The mean of what queries say, over entries and outcomes.
fn mean(reader: &Reader, experiments: &[Experiment], theta: &[f64], weights: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let (version, input) = (reader.version(), ProductState::zero(experiments[0].n_qubits()));
    let weights = Weights::new(weights, reader.n_outputs(), 1).unwrap();
    let (mut gradient, mut values) = (vec![0.0; reader.n_parameters()], vec![0.0; reader.n_outputs()]);
    let mut scratch = Scratch::default();
    for (e, experiment) in experiments.iter().enumerate() {
        let probabilities = experiment.probabilities(theta, &input, &Cancel::new()).unwrap();
        for (outcome, p) in probabilities.iter().enumerate() {
            let p = p * version.share(e);
            with_query(version, e, outcome, |query| {
                let found = reader.contribution(query, weights, &mut scratch);
                gradient.iter_mut().zip(found).for_each(|(sum, y)| *sum += p * y);
                let found = reader.values(query, &mut scratch);
                values.iter_mut().zip(found).for_each(|(sum, f)| *sum += p * f);
            });
        }
    }
    (gradient, values)
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() < 1e-12, "{what}, {i}: {a} instead of {b}");
    }
}

#[test]
fn rosters_of_every_list_of_a_plan_teach_the_gradient() {
    let (circuit, theta) = circuit();
    let observables = [
        PauliSum::from_labels([("ZII", 1.0)]).unwrap(),
        PauliSum::from_labels([("IZZ", 0.5), ("XIX", -1.5)]).unwrap(),
    ];
    let options = Options { effort: 2_000_000, ..Options::default() };
    let plan = Plan::new(&circuit, &observables, &theta, None, options, &Cancel::new()).unwrap();
    let exact: Vec<Vec<f64>> = observables
        .iter()
        .map(|o| {
            let input = ProductState::zero(3);
            let found = value_and_gradient(&circuit, &theta, o, &input, &Truncation::EXACT, &Cancel::new());
            found.unwrap().gradient
        })
        .collect();
    // Two arguments, each of which feeds several gates.
    let table: Vec<f64> = (0..12).map(|i| [0.5, -1.0, 0.0, 2.0][i % 4]).collect();
    let slopes = Slopes::table(&table, 2).unwrap();
    let weights = [0.7, -0.4];
    let expected: Vec<f64> = (0..2)
        .map(|m| {
            let one = |o: usize, k: usize| weights[o] * exact[o][k] * table[2 * k + m];
            (0..2).flat_map(|o| (0..6).map(move |k| one(o, k))).sum()
        })
        .collect();
    let drawn = [Method::Uniform, Method::Biased, Method::Block];
    let mut methods = 0;
    for method in Method::ALL.into_iter().filter(|method| !drawn.contains(method)) {
        let row = plan.row(method);
        if row.bound || !row.cost.is_finite() {
            continue;
        }
        let (experiments, shares): (Vec<Experiment>, Vec<f64>) =
            plan.experiments(method, &Cancel::new()).unwrap().into_iter().unzip();
        let entries: Vec<Entry> = experiments.iter().map(|e| Entry::from_experiment(e).unwrap()).collect();
        let reader = Reader::new(version(3, &shares), 2, &entries, &[], &slopes, None, None).unwrap();
        let (gradient, values) = mean(&reader, &experiments, &theta, &weights);
        assert_close(&gradient, &expected, method.name());
        assert!(values.iter().all(|f| f.is_nan()), "nothing reads answers here");
        methods += 1;
    }
    assert!(methods >= 5, "{methods}");
}

#[test]
fn a_gentle_pair_teaches_and_answers() {
    // X0 is read weakly, then Z0: a kick by a small angle about i X0 Z0 = Y0, both ways, then Z0 and Z1.
    let (base, theta) = circuit();
    let lam: f64 = 0.4;
    let (mu, phi) = ((1.0 - lam * lam).sqrt(), lam.asin());
    let kicked = |sign: f64| {
        let mut circuit = base.clone();
        circuit.rotation([(0, Letter::Y)], -sign * phi).unwrap();
        let nothing = Readings::new(3, &[]).unwrap();
        Experiment::new(circuit, Setting::product("ZZZ").unwrap(), nothing).unwrap()
    };
    let sum = |label: &str, c: f64| PauliSum::from_labels([(label, c)]).unwrap();
    let entry = |sign: f64| Entry {
        setting: Setting::product("ZZZ").unwrap(),
        readings: vec![(0, sum("ZII", sign / lam)), (1, sum("ZZI", 0.5 * sign / lam))],
        values: vec![(0, sum("ZII", 1.0 / mu))],
    };
    // The words that are read weakly are the mean of a half each way, so a row is read twice in half of the queries.
    let entries = [1.0, -1.0].map(|sign| {
        let entry = entry(sign);
        let half = |(row, sum): &(usize, PauliSum)| (*row, sum.scale(0.5).unwrap());
        Entry { readings: entry.readings.iter().map(half).collect(), ..entry }
    });
    let reader =
        Reader::new(version(3, &[1.0, 1.0]), 1, &entries, &[], &Slopes::identity(2), None, None).unwrap();
    let (gradient, values) = mean(&reader, &[kicked(1.0), kicked(-1.0)], &theta, &[1.0]);
    let expectation = |label: &str| {
        let word = PauliWord::from_label(label).unwrap();
        let setting =
            Setting::product(&label.replace('I', "Z")).expect("letters of a word that has an X or a Z");
        let readings = Readings::new(3, &[(0, word, 1.0)]).unwrap();
        let experiment = Experiment::new(base.clone(), setting, readings).unwrap();
        experiment.moments(&theta, &ProductState::zero(3), &Cancel::new()).unwrap()[0].mean
    };
    assert_close(&gradient, &[expectation("XII"), 0.5 * expectation("XZI")], "gentle gradient");
    assert_close(&values, &[expectation("ZII")], "gentle answer");
    assert!(expectation("XII").abs() > 0.1 && expectation("ZII").abs() > 0.05);
}

#[test]
fn what_a_setting_does_not_reveal_is_refused() {
    let entry = |label: &str| Entry {
        setting: Setting::product("ZZZ").unwrap(),
        readings: vec![(0, PauliSum::from_labels([(label, 1.0)]).unwrap())],
        values: Vec::new(),
    };
    let make = |entries: &[Entry]| {
        let shares = vec![1.0; entries.len()];
        Reader::new(version(3, &shares), 1, entries, &[], &Slopes::identity(2), None, None)
    };
    assert!(make(&[entry("ZIZ")]).is_ok());
    let error = make(&[entry("ZIZ"), entry("XII")]).unwrap_err();
    assert_eq!(error.argument(), Some("entries[1]"), "{error}");
    let far = Entry { readings: vec![(2, PauliSum::from_labels([("ZII", 1.0)]).unwrap())], ..entry("ZII") };
    assert_eq!(make(&[far]).unwrap_err().argument(), Some("entries[0]"));
    let narrow = Entry { setting: Setting::product("ZZ").unwrap(), readings: vec![], values: vec![] };
    assert_eq!(make(&[narrow]).unwrap_err().argument(), Some("entries[0]"));
}
