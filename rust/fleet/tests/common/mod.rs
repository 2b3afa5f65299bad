//! Rosters at random, and the slow obvious twins of what reads them.
#![allow(dead_code, unreachable_pub)] // each test binary uses a part

use efl_core::bits::philox::{philox, unit_interval};
use efl_core::estimate::Calibration;
use efl_core::gates::{Clifford, CliffordGate};
use efl_core::pauli::{PauliSum, PauliWord};
use efl_core::stabiliser::Setting;
use efl_fleet::packet::{Bits, Packet, Span, encode};
use efl_fleet::reader::{Answer, Entry, Reader, Slopes};
use efl_fleet::sequence::Sequence;
use efl_fleet::version::{Shape, Version};

/// Random numbers from a seed.
#[derive(Debug, Clone)]
pub struct Random {
    seed: u64,
    counter: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Random { seed, counter: 0 }
    }

    pub fn next(&mut self) -> u64 {
        self.counter += 1;
        philox([self.seed, 77], [self.counter, 0, 0, 0])[0]
    }

    pub fn below(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize
    }

    pub fn unit(&mut self) -> f64 {
        unit_interval(self.next())
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Between -1 and 1.
    pub fn signed(&mut self) -> f64 {
        2.0 * self.unit() - 1.0
    }

    /// A number of successes before a failure of probability `p`.
    pub fn geometric(&mut self, p: f64) -> u64 {
        (1.0 - self.unit()).ln().div_euclid((1.0 - p).ln()).max(0.0) as u64
    }
}

pub fn setting(n: usize, random: &mut Random) -> Setting {
    if random.chance(0.3) {
        let letters: String = (0..n).map(|_| ['X', 'Y', 'Z'][random.below(3)]).collect();
        return Setting::product(&letters).unwrap();
    }
    let gate = |random: &mut Random| {
        let q = random.below(n);
        let (clifford, wires) = match random.below(if n > 1 { 5 } else { 3 }) {
            0 => (Clifford::H, vec![q]),
            1 => (Clifford::S, vec![q]),
            2 => (Clifford::Sx, vec![q]),
            3 => (Clifford::Cnot, vec![q, (q + 1) % n]),
            _ => (Clifford::Cz, vec![q, (q + 1) % n]),
        };
        CliffordGate::new(clifford, &wires).unwrap()
    };
    let gates: Vec<CliffordGate> = (0..3 * n.min(8)).map(|_| gate(random)).collect();
    Setting::from_gates(n, gates).unwrap()
}

/// A sum of a few words that a setting reveals.
pub fn revealed(setting: &Setting, random: &mut Random) -> PauliSum {
    let n = setting.n_qubits();
    let terms: Vec<(PauliWord, f64)> = (0..1 + random.below(3))
        .map(|_| {
            let mut word = PauliWord::identity(n);
            for _ in 0..random.below(4) {
                let (measured, _) = setting.measured(random.below(n)).unwrap();
                word = word.multiply(&measured).unwrap().1;
            }
            (word, random.signed())
        })
        .collect();
    PauliSum::from_terms(n, terms.iter().map(|(word, c)| (word, *c))).unwrap()
}

/// All that makes a reader.
#[derive(Debug, Clone)]
pub struct Roster {
    pub version: Version,
    pub n_outputs: usize,
    pub entries: Vec<Entry>,
    pub answers: Vec<Answer>,
    /// A row for each gate parameter.
    pub slopes: Vec<f64>,
    pub columns: usize,
}

/// How large a random roster is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub n: usize,
    pub outputs: usize,
    pub parameters: usize,
    pub answer_shots: u16,
    pub setting_shots: u16,
    pub settings: u16,
    pub entries: usize,
    pub teach: f64,
    pub gentle: bool,
}

impl Size {
    pub fn small() -> Self {
        Size {
            n: 3,
            outputs: 2,
            parameters: 3,
            answer_shots: 5,
            setting_shots: 3,
            settings: 2,
            entries: 4,
            teach: 1.0,
            gentle: false,
        }
    }

    pub fn random(random: &mut Random) -> Self {
        Size {
            n: [1, 2, 3, 5, 66][random.below(5)],
            outputs: 1 + random.below(3),
            parameters: 1 + random.below(4),
            answer_shots: [1, 7, 8, 64, 100][random.below(5)],
            setting_shots: [1, 2, 5, 16, 70][random.below(5)],
            settings: 1 + random.below(4) as u16,
            entries: 1 + random.below(6),
            teach: if random.chance(0.5) { 1.0 } else { 0.6 },
            gentle: random.chance(0.3),
        }
    }
}

impl Roster {
    pub fn random(size: Size, fleet: u64, number: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let shape = Shape {
            n_qubits: size.n as u16,
            answer_shots: if size.gentle { 0 } else { size.answer_shots },
            teach_shots: size.setting_shots * size.settings,
            settings: size.settings,
        };
        let shares: Vec<f64> = (0..size.entries).map(|_| 0.1 + random.unit()).collect();
        let version = Version::new(fleet, number, seed, shape, &shares, size.teach, b"").unwrap();
        let values = |setting: &Setting, random: &mut Random| -> Vec<(usize, PauliSum)> {
            (0..size.outputs).map(|o| (o, revealed(setting, random))).collect()
        };
        let entries = (0..size.entries)
            .map(|_| {
                let setting = setting(size.n, &mut random);
                let rows = size.outputs * size.parameters;
                let mut readings = Vec::new();
                for row in 0..rows {
                    if random.chance(0.7) {
                        readings.push((row, revealed(&setting, &mut random)));
                    }
                }
                let values = if size.gentle { values(&setting, &mut random) } else { Vec::new() };
                Entry { setting, readings, values }
            })
            .collect();
        let mut answers = Vec::new();
        if !size.gentle {
            let first = random.below(usize::from(size.answer_shots)) as u16;
            for shots in [first, size.answer_shots - first] {
                if shots > 0 {
                    let setting = setting(size.n, &mut random);
                    let values = values(&setting, &mut random);
                    answers.push(Answer { setting, shots, values });
                }
            }
        }
        let columns = 1 + random.below(4);
        let slope = |random: &mut Random| if random.chance(0.5) { random.signed() } else { 0.0 };
        let slopes = (0..size.parameters * columns).map(|_| slope(&mut random)).collect();
        Roster { version, n_outputs: size.outputs, entries, answers, slopes, columns }
    }

    pub fn reader(&self, constant: Option<Vec<f64>>) -> Reader {
        self.calibrated(constant, None)
    }

    /// A reader that says how wrong a calibration may be.
    pub fn calibrated(&self, constant: Option<Vec<f64>>, calibration: Option<&Calibration>) -> Reader {
        let Roster { version, n_outputs, entries, answers, slopes, columns } = self;
        let slopes = Slopes::table(slopes, *columns).unwrap();
        Reader::new(version.clone(), *n_outputs, entries, answers, &slopes, constant, calibration).unwrap()
    }

    /// The roster whose readings are those by which its own are wrong in a direction of a calibration.
    pub fn wrong(&self, calibration: &Calibration, direction: usize) -> Roster {
        let (mut found, mut directions) = (self.clone(), calibration.directions());
        for entry in &mut found.entries {
            for (_, sum) in &mut entry.readings {
                let coefficients: Vec<f64> = sum
                    .iter()
                    .map(|(word, c)| {
                        let parity = entry.setting.reveal(word).unwrap().unwrap();
                        c * directions.of(&parity.mask).unwrap().1[direction]
                    })
                    .collect();
                *sum = PauliSum::new(sum.words(), &coefficients).unwrap();
            }
        }
        found
    }

    pub fn parameters(&self) -> usize {
        self.slopes.len() / self.columns
    }

    /// Random queries of a replica, as a packet, with their bits.
    pub fn queries(&self, span: Span, random: &mut Random) -> Sent {
        let shape = self.version.shape();
        let sequence = Sequence::new(&self.version, span.replica, span.incarnation);
        let numbers: Vec<u64> =
            sequence.offsets(span.first, span.queries).map(|i| span.first + u64::from(i)).collect();
        let mut bits = |shots: u16| -> Vec<u8> {
            let count = numbers.len() * usize::from(shots) * usize::from(shape.n_qubits);
            (0..count).map(|_| (random.next() & 1) as u8).collect()
        };
        let (answers, teaches) = (bits(shape.answer_shots), bits(shape.teach_shots));
        let packet = encode(&self.version, &span, Bits::Bytes(&answers), Bits::Bytes(&teaches)).unwrap();
        Sent { span, numbers, answers, teaches, packet }
    }
}

/// Bits of some queries, and their packet.
#[derive(Debug, Clone)]
pub struct Sent {
    pub span: Span,
    /// The queries that teach.
    pub numbers: Vec<u64>,
    pub answers: Vec<u8>,
    pub teaches: Vec<u8>,
    pub packet: Vec<u8>,
}

/// The reading of a sum in one shot, a word and a qubit at a time.
fn reading(setting: &Setting, sum: &PauliSum, shot: &[u8]) -> f64 {
    let value = |(word, coefficient): (efl_core::pauli::WordRef<'_>, f64)| {
        let parity = setting.reveal(word).unwrap().unwrap();
        let mut sign = if parity.negative { -1.0 } else { 1.0 };
        for (q, bit) in shot.iter().enumerate() {
            if parity.mask[q / 64] >> (q % 64) & 1 == 1 && *bit == 1 {
                sign = -sign;
            }
        }
        sign * coefficient
    };
    sum.iter().map(value).sum()
}

impl Sent {
    fn shot<'a>(&self, bits: &'a [u8], shots: u16, query: usize, t: usize, n: usize) -> &'a [u8] {
        &bits[(query * usize::from(shots) + t) * n..][..n]
    }

    /// What a query says of the gradient, a shot at a time. Weights are one per teach setting and output.
    pub fn contribution(&self, roster: &Roster, query: usize, weights: &[f64]) -> Vec<f64> {
        let (shape, parameters) = (roster.version.shape(), roster.parameters());
        let (n, c) = (usize::from(shape.n_qubits), shape.setting_shots());
        let sequence = Sequence::new(&roster.version, self.span.replica, self.span.incarnation);
        let mut y = vec![0.0; roster.columns];
        for j in 0..usize::from(shape.settings) {
            let e = sequence.entries(self.numbers[query]).nth(j).unwrap();
            let (entry, share) = (&roster.entries[e], roster.version.share(e));
            for t in j * c..(j + 1) * c {
                let shot = self.shot(&self.teaches, shape.teach_shots, query, t, n);
                for (row, sum) in &entry.readings {
                    let (o, k) = (row / parameters, row % parameters);
                    let value = weights[j * roster.n_outputs + o] * reading(&entry.setting, sum, shot)
                        / (share * f64::from(shape.teach_shots));
                    for (m, y) in y.iter_mut().enumerate() {
                        *y += roster.slopes[k * roster.columns + m] * value;
                    }
                }
            }
        }
        y
    }

    /// The reading of every output in every shot that answers.
    pub fn shots(&self, roster: &Roster, query: usize) -> Vec<Vec<f64>> {
        let shape = roster.version.shape();
        let n = usize::from(shape.n_qubits);
        let mut rows = Vec::new();
        let mut read = |setting: &Setting, values: &[(usize, PauliSum)], shot: &[u8]| {
            let mut row = vec![0.0; roster.n_outputs];
            values.iter().for_each(|(o, sum)| row[*o] += reading(setting, sum, shot));
            rows.push(row);
        };
        if roster.answers.is_empty() {
            let sequence = Sequence::new(&roster.version, self.span.replica, self.span.incarnation);
            for t in 0..usize::from(shape.teach_shots) {
                let e = sequence.entries(self.numbers[query]).nth(t / shape.setting_shots()).unwrap();
                let shot = self.shot(&self.teaches, shape.teach_shots, query, t, n);
                read(&roster.entries[e].setting, &roster.entries[e].values, shot);
            }
            return rows;
        }
        let mut t = 0;
        for run in &roster.answers {
            for _ in 0..run.shots {
                read(&run.setting, &run.values, self.shot(&self.answers, shape.answer_shots, query, t, n));
                t += 1;
            }
        }
        rows
    }

    /// The answers: of every run a mean over its shots.
    pub fn values(&self, roster: &Roster, query: usize) -> Vec<f64> {
        let (shots, mut values, mut start) = (self.shots(roster, query), vec![0.0; roster.n_outputs], 0);
        let counts: Vec<usize> = match roster.answers.is_empty() {
            true => vec![shots.len()],
            false => roster.answers.iter().map(|run| usize::from(run.shots)).collect(),
        };
        for count in counts {
            for row in &shots[start..start + count] {
                values.iter_mut().zip(row).for_each(|(v, x)| *v += x / count as f64);
            }
            start += count;
        }
        values
    }

    pub fn decoded(&self) -> Packet<'_> {
        Packet::decode(&self.packet).unwrap()
    }
}

pub fn span(replica: u64, incarnation: u32, first: u64, queries: u32) -> Span {
    Span { replica, incarnation, first, queries, dropped: 0 }
}
