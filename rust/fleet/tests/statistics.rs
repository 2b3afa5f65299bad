//! Gradients of many small fleets: no bias, and error bars that are true.

mod common;

use common::{Random, span};
use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::design::Options;
use efl_core::experiment::Experiment;
use efl_core::gates::Clifford;
use efl_core::heisenberg::{Truncation, value_and_gradient};
use efl_core::pauli::{Letter, PauliSum};
use efl_core::plan::{Method, Plan};
use efl_core::state::ProductState;
use efl_fleet::packet::{Bits, Packet, encode};
use efl_fleet::reader::{Entry, Reader, Slopes};
use efl_fleet::sequence::Sequence;
use efl_fleet::version::{Shape, Version};

const N: usize = 4;

fn brick(layers: usize) -> (Circuit, Vec<f64>) {
    let mut circuit = Circuit::new(N, 2 * N * layers).unwrap();
    (0..N).for_each(|q| circuit.rotation([(q, Letter::Y)], 0.4 + 0.5 * q as f64).unwrap());
    for layer in 0..layers {
        for q in 0..N {
            for (i, letter) in [Letter::Y, Letter::Z].into_iter().enumerate() {
                circuit.rotation([(q, letter)], Angle::parameter(2 * (N * layer + q) + i)).unwrap();
            }
        }
        for q in [0, 2, 1] {
            circuit.clifford(Clifford::Cz, &[q, q + 1]).unwrap();
        }
    }
    let mut random = Random::new(12);
    let theta = (0..2 * N * layers).map(|_| 3.0 * random.signed()).collect();
    (circuit, theta)
}

/// Outcomes of experiments, drawn by their probabilities.
struct Device {
    cumulative: Vec<Vec<f64>>,
}

impl Device {
    fn new(experiments: &[Experiment], theta: &[f64]) -> Self {
        let cumulative = |experiment: &Experiment| {
            let p = experiment.probabilities(theta, &ProductState::zero(N), &Cancel::new()).unwrap();
            p.iter().scan(0.0, |sum, p| (*sum += p, Some(*sum)).1).collect()
        };
        Device { cumulative: experiments.iter().map(cumulative).collect() }
    }

    fn shot(&self, entry: usize, random: &mut Random, bits: &mut Vec<u8>) {
        let (value, last) = (random.unit(), (1 << N) - 1);
        let outcome = self.cumulative[entry].partition_point(|c| *c <= value).min(last);
        bits.extend((0..N).map(|q| (outcome >> (N - 1 - q) & 1) as u8));
    }
}

/// What is seen of one derivative over many fleets.
#[derive(Clone, Default)]
struct Seen {
    sum: f64,
    square: f64,
    predicted: f64,
    within: [u32; 2],
}

struct Case {
    method: Method,
    settings: u16,
    shots: u16,
    /// Weights are 1, give or take this.
    spread: f64,
}

const FLEETS: u32 = 2000;
const QUERIES: u32 = 50;

impl Case {
    /// The exact gradient, and what fleets say of it.
    fn run(&self, seed: u64) -> (Vec<f64>, Vec<Seen>) {
        let (circuit, theta) = brick(2);
        let word = |q: usize| -> String { (0..N).map(|p| if p == q { 'Z' } else { 'I' }).collect() };
        let words: Vec<String> = (0..N).map(word).collect();
        let observable = PauliSum::from_labels(words.iter().map(|word| (word.as_str(), 0.5))).unwrap();
        let (input, cancel) = (ProductState::zero(N), Cancel::new());
        let exact =
            value_and_gradient(&circuit, &theta, &observable, &input, &Truncation::EXACT, &cancel).unwrap();
        let options = Options { effort: 2_000_000, ..Options::default() };
        let plan = Plan::new(&circuit, &[observable], &theta, None, options, &cancel).unwrap();
        let (experiments, shares): (Vec<Experiment>, Vec<f64>) =
            plan.experiments(self.method, &cancel).unwrap().into_iter().unzip();
        let device = Device::new(&experiments, &theta);
        let entries: Vec<Entry> = experiments.iter().map(|e| Entry::from_experiment(e).unwrap()).collect();
        let Case { settings, shots, .. } = *self;
        let shape = Shape { n_qubits: N as u16, answer_shots: 0, teach_shots: settings * shots, settings };
        let slopes = Slopes::identity(exact.gradient.len());
        let (mut seen, mut random) = (vec![Seen::default(); exact.gradient.len()], Random::new(seed));
        for fleet in 0..FLEETS {
            let version = Version::new(1, 0, u64::from(fleet), shape, &shares, 1.0, b"").unwrap();
            let (sequence, mut bits) = (Sequence::new(&version, 5, 1), Vec::new());
            for entry in (0..u64::from(QUERIES)).flat_map(|query| sequence.entries(query)) {
                (0..shots).for_each(|_| device.shot(entry, &mut random, &mut bits));
            }
            let (none, bits) = (Bits::Bytes(&[]), Bits::Bytes(&bits));
            let packet = encode(&version, &span(5, 1, 0, QUERIES), none, bits).unwrap();
            let reader = Reader::new(version, 1, &entries, &[], &slopes, None, None).unwrap();
            let weights: Vec<f64> = (0..QUERIES).map(|_| 1.0 + self.spread * random.signed()).collect();
            let tally = reader.tally(&Packet::decode(&packet).unwrap(), &weights, None).unwrap();
            for ((seen, mean), exact) in seen.iter_mut().zip(tally.gradient()).zip(&exact.gradient) {
                let error = mean.value - exact;
                seen.sum += error;
                seen.square += error * error;
                seen.predicted += mean.stderr * mean.stderr;
                for (k, within) in seen.within.iter_mut().enumerate() {
                    *within += u32::from(error.abs() <= (k + 1) as f64 * mean.stderr);
                }
            }
        }
        (exact.gradient, seen)
    }
}

/// Over 2,000 fleets of 50 queries: no derivative is off by 4.5 standard errors, which of 80 looked at happens by chance
/// with probability 6e-4. The predicted error is within a tenth of the observed one, and one and two error bars hold 68 and
/// 95 per cent within 2.5 points, on average over the derivatives; chance makes a fraction of that.
#[test]
fn fleets_have_no_bias_and_true_error_bars() {
    let case = |method, settings, shots, spread| Case { method, settings, shots, spread };
    let cases = [
        case(Method::Clifford, 4, 4, 1.0),
        case(Method::Clifford, 4, 4, 0.0),
        case(Method::Clifford, 1, 8, 0.0),
        case(Method::Product, 8, 2, 1.0),
        case(Method::ShiftPruned, 2, 4, 1.0),
    ];
    for (seed, case) in cases.iter().enumerate() {
        let (exact, seen) = case.run(seed as u64);
        let name = format!("{} {} {}", case.method.name(), case.settings, case.spread);
        // Derivatives that are zero whatever the parameters have no readings, and no error.
        let varies = |seen: &&Seen| seen.square > 0.0;
        let (fleets, derivatives) = (f64::from(FLEETS), seen.iter().filter(varies).count() as f64);
        assert!(derivatives >= 10.0 && exact.iter().filter(|g| g.abs() > 0.01).count() >= 10);
        let (mut observed, mut predicted, mut within) = (0.0, 0.0, [0.0; 2]);
        for (k, seen) in seen.iter().filter(varies).enumerate() {
            let z = seen.sum / seen.square.sqrt();
            assert!(z.abs() < 4.5, "{name}: derivative {k} is off by {z:.1} standard errors");
            observed += seen.square;
            predicted += seen.predicted;
            (0..2).for_each(|i| within[i] += f64::from(seen.within[i]) / fleets / derivatives);
        }
        let ratio = (predicted / observed).sqrt();
        assert!((0.9..1.1).contains(&ratio), "{name}: predicted / observed error {ratio:.3}");
        // Where a derivative is read by 2 of 24 circuits, most queries say nothing of it: 50 are few for its error bar.
        if case.method != Method::ShiftPruned {
            assert!((within[0] - 0.683).abs() < 0.025, "{name}: {:.3} within one error bar", within[0]);
            assert!((within[1] - 0.954).abs() < 0.025, "{name}: {:.3} within two error bars", within[1]);
        }
    }
}
