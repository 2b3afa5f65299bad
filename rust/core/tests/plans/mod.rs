//! Circuits to plan for, and what their plans are compared with.
#![allow(dead_code, unreachable_pub)] // each test file uses its own part

use crate::dense::Random;
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::Options;
use efl_core::experiment::{Chain, Experiment, chained};
use efl_core::gates::Clifford;
use efl_core::heisenberg::{Truncation, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum};
use efl_core::plan::{Method, Plan, Row};
use efl_core::state::ProductState;

/// A short search: circuits are small.
pub fn quick() -> Options {
    Options { effort: 4_000_000, ..Options::default() }
}

/// Rotations about random words of one or two letters between random Cliffords. Parameters are shared, some scaled.
pub struct Case {
    pub circuit: Circuit,
    pub observables: Vec<PauliSum>,
    pub theta: Vec<f64>,
}

pub fn case(seed: u64, n: usize, n_gates: usize, n_observables: usize) -> Case {
    let mut random = Random(seed);
    let n_parameters = n_gates - n_gates / 4;
    let mut circuit = Circuit::new(n, n_parameters).unwrap();
    for q in 0..n {
        circuit.rotation([(q, Letter::Y)], random.angle()).unwrap();
    }
    for k in 0..n_gates {
        let count = 1 + random.below(2.min(n));
        let wires = random.wires(count, n);
        let scale = [1.0, 1.0, 2.0, -0.5][random.below(4)];
        let angle = Angle::Trainable { parameter: k % n_parameters, scale, offset: 0.3 * (k % 2) as f64 };
        circuit.rotation(random.letters(&wires), angle).unwrap();
        let gate = Clifford::ALL[random.below(Clifford::ALL.len())];
        if gate.n_wires() <= n {
            circuit.clifford(gate, &random.wires(gate.n_wires(), n)).unwrap();
        }
    }
    let observables = (0..n_observables).map(|_| observable(&mut random, n, 3)).collect();
    let theta = (0..n_parameters).map(|_| random.angle()).collect();
    Case { circuit, observables, theta }
}

/// A sum of at most `most` words.
pub fn observable(random: &mut Random, n: usize, most: usize) -> PauliSum {
    let terms = 1 + random.below(most);
    random.observable(n, terms)
}

impl Case {
    pub fn plan(&self, options: Options) -> Plan {
        self.plan_on(None, options)
    }

    pub fn plan_on(&self, input: Option<&ProductState>, options: Options) -> Plan {
        Plan::new(&self.circuit, &self.observables, &self.theta, input, options, &Cancel::new()).unwrap()
    }

    pub fn gradient(&self, input: &ProductState) -> Vec<f64> {
        gradient(&self.circuit, &self.theta, &self.observables, input)
    }
}

pub fn gradient(
    circuit: &Circuit,
    theta: &[f64],
    observables: &[PauliSum],
    input: &ProductState,
) -> Vec<f64> {
    let one = |o| {
        value_and_gradient(circuit, theta, o, input, &Truncation::EXACT, &Cancel::new()).unwrap().gradient
    };
    observables.iter().flat_map(one).collect()
}

pub fn sum(terms: &[(&str, f64)]) -> PauliSum {
    PauliSum::from_labels(terms.iter().copied()).unwrap()
}

pub fn applies(row: &Row) -> bool {
    !row.bound && row.cost.is_finite()
}

/// The methods of a plan that are lists of circuits.
pub fn listed(plan: &Plan) -> Vec<Method> {
    let drawn = [Method::Uniform, Method::Biased, Method::Block];
    Method::ALL.into_iter().filter(|m| !drawn.contains(m) && applies(plan.row(*m))).collect()
}

pub fn mean_gradient(
    experiments: &[(Experiment, f64)],
    theta: &[f64],
    input: &ProductState,
    rows: usize,
) -> Vec<f64> {
    let mut gradient = vec![0.0; rows];
    for (experiment, _) in experiments {
        let moments = experiment.moments(theta, input, &Cancel::new()).unwrap();
        moments.iter().for_each(|m| gradient[m.row] += m.mean);
    }
    gradient
}

pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (row, (a, b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= tolerance * b.abs().max(1.0), "{what}, row {row}: {a} instead of {b}");
    }
}

/// A pure product state that is not symmetric.
pub fn tilted(n: usize) -> ProductState {
    let bloch = |q: usize| {
        let (polar, azimuth) = (0.4 + 0.3 * q as f64, 1.0 + q as f64);
        [polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin(), polar.cos()]
    };
    ProductState::from_bloch((0..n).map(bloch).collect()).unwrap()
}

/// What one word is made of.
type Letters = Vec<(usize, Letter)>;

/// Two layers of QAOA for a ring of four nodes, each gate with a parameter of its own or with that of its layer; and how
/// the former follow from the latter. Two gates of the last layer are undone at once: their words cancel in the sum.
pub fn ring(shared: bool) -> (Case, Chain) {
    const ANGLES: [f64; 4] = [0.7, -0.4, 1.1, 0.9];
    let mut layers: Vec<(usize, f64, Vec<Letters>)> = Vec::new();
    for argument in 0..4 {
        let edge = |q: usize| vec![(q, Letter::Z), ((q + 1) % 4, Letter::Z)];
        let words = (0..4).map(|q| if argument % 2 == 0 { edge(q) } else { vec![(q, Letter::X)] });
        layers.push((argument, if argument == 2 { 1.5 } else { 1.0 }, words.collect()));
    }
    let last = (0..2).map(|q| vec![(q, Letter::X)]).collect();
    layers.push((3, -1.0, last));
    let gates: usize = layers.iter().map(|(_, _, words)| words.len()).sum();
    let mut circuit = Circuit::new(4, if shared { 4 } else { gates }).unwrap();
    (0..4).for_each(|q| circuit.clifford(Clifford::H, &[q]).unwrap());
    let (mut theta, mut slopes) = (Vec::new(), Vec::new());
    for (argument, scale, words) in layers {
        for word in words {
            let angle = if shared {
                Angle::Trainable { parameter: argument, scale, offset: 0.0 }
            } else {
                Angle::parameter(theta.len())
            };
            circuit.rotation(word, angle).unwrap();
            theta.push(scale * ANGLES[argument]);
            slopes.extend((0..4).map(|i| if i == argument { scale } else { 0.0 }));
        }
    }
    let cut = [("ZZII", 1.0), ("IZZI", 0.5), ("IIZZ", -0.8), ("ZIIZ", 1.2)];
    let theta = if shared { ANGLES.to_vec() } else { theta };
    (Case { circuit, observables: vec![sum(&cut)], theta }, Chain::new(gates, 4, &slopes).unwrap())
}

/// The sum over arguments of the variances of one shot.
pub fn chained_cost(plan: &Plan, method: Method, chain: &Chain) -> f64 {
    let runs = plan.experiments(method, &Cancel::new()).unwrap();
    let runs: Vec<_> = runs.iter().map(|(experiment, share)| (experiment, *share)).collect();
    chained(&runs, chain, 1, &Cancel::new()).unwrap().iter().sum()
}
