//! The slow obvious twin: dense matrices, Kronecker products, density matrices. Qubit 0 is the most significant bit.
#![allow(dead_code, unreachable_pub)] // each test file uses its own part

use efl_core::circuit::{Angle, Circuit};
use efl_core::gates::Clifford;
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use num_complex::Complex64;

pub const ONE: Complex64 = Complex64::new(1.0, 0.0);
pub const I: Complex64 = Complex64::new(0.0, 1.0);

/// A square complex matrix.
#[derive(Clone, Debug)]
pub struct Dense {
    pub d: usize,
    pub m: Vec<Complex64>,
}

impl Dense {
    pub fn zero(d: usize) -> Self {
        Dense { d, m: vec![Complex64::default(); d * d] }
    }

    pub fn identity(d: usize) -> Self {
        let mut result = Dense::zero(d);
        (0..d).for_each(|i| result.m[i * d + i] = ONE);
        result
    }

    pub fn times(&self, other: &Dense) -> Dense {
        let mut result = Dense::zero(self.d);
        for i in 0..self.d {
            for k in 0..self.d {
                let f = self.m[i * self.d + k];
                if f != Complex64::default() {
                    for j in 0..self.d {
                        result.m[i * self.d + j] += f * other.m[k * self.d + j];
                    }
                }
            }
        }
        result
    }

    pub fn dagger(&self) -> Dense {
        let m = (0..self.d * self.d).map(|i| self.m[i % self.d * self.d + i / self.d].conj()).collect();
        Dense { d: self.d, m }
    }

    pub fn plus(&self, factor: Complex64, other: &Dense) -> Dense {
        Dense { d: self.d, m: self.m.iter().zip(&other.m).map(|(a, b)| a + factor * b).collect() }
    }

    pub fn scaled(&self, factor: Complex64) -> Dense {
        Dense::zero(self.d).plus(factor, self)
    }

    pub fn kron(&self, other: &Dense) -> Dense {
        let d = self.d * other.d;
        let m = (0..d * d).map(|i| {
            let (r, c) = (i / d, i % d);
            self.m[r / other.d * self.d + c / other.d] * other.m[r % other.d * other.d + c % other.d]
        });
        Dense { d, m: m.collect() }
    }

    pub fn trace(&self) -> Complex64 {
        (0..self.d).map(|i| self.m[i * self.d + i]).sum()
    }

    pub fn distance(&self, other: &Dense) -> f64 {
        self.m.iter().zip(&other.m).map(|(a, b)| (a - b).norm()).fold(0.0, f64::max)
    }

    /// U M U^dag.
    pub fn conjugated_by(&self, u: &Dense) -> Dense {
        u.times(self).times(&u.dagger())
    }

    /// exp(-i t M) by a plain series after halving.
    pub fn evolution(&self, t: f64) -> Dense {
        let halvings = 12;
        let step = self.scaled(-I * t / f64::from(1 << halvings));
        let (mut result, mut power) = (Dense::identity(self.d), Dense::identity(self.d));
        for k in 1..12 {
            power = power.times(&step).scaled(ONE / f64::from(k));
            result = result.plus(ONE, &power);
        }
        (0..halvings).for_each(|_| result = result.times(&result));
        result
    }
}

pub fn letter(letter: Letter) -> Dense {
    let o = Complex64::default();
    let m = match letter {
        Letter::I => vec![ONE, o, o, ONE],
        Letter::X => vec![o, ONE, ONE, o],
        Letter::Y => vec![o, -I, I, o],
        Letter::Z => vec![ONE, o, o, -ONE],
    };
    Dense { d: 2, m }
}

pub fn word(word: &PauliWord) -> Dense {
    (0..word.n_qubits()).fold(Dense::identity(1), |m, q| m.kron(&letter(word.letter(q))))
}

pub fn sum(sum: &PauliSum) -> Dense {
    let zero = Dense::zero(1 << sum.n_qubits());
    sum.iter().fold(zero, |m, (w, c)| m.plus(ONE * c, &word(&w.to_word())))
}

/// A matrix on some wires, first wire most significant, as a matrix on all qubits.
pub fn embed(gate: &Dense, wires: &[usize], n: usize) -> Dense {
    let d = 1 << n;
    let bit = |index: usize, q: usize| index >> (n - 1 - q) & 1;
    let local = |index: usize| wires.iter().fold(0, |code, &q| code << 1 | bit(index, q));
    let rest = |index: usize| wires.iter().fold(index, |left, &q| left & !(1 << (n - 1 - q)));
    let m = (0..d * d).map(|i| {
        let (r, c) = (i / d, i % d);
        if rest(r) == rest(c) { gate.m[local(r) * gate.d + local(c)] } else { Complex64::default() }
    });
    Dense { d, m: m.collect() }
}

/// Pseudo-random numbers (splitmix64), so that every run tests the same circuits.
pub struct Random(pub u64);

impl Random {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// Uniform in [-1, 1).
    pub fn real(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn angle(&mut self) -> f64 {
        self.real() * std::f64::consts::PI
    }

    pub fn wires(&mut self, count: usize, n: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        (0..count).map(|_| all.remove(self.below(all.len()))).collect()
    }

    pub fn letters(&mut self, wires: &[usize]) -> Vec<(usize, Letter)> {
        wires.iter().map(|&q| (q, [Letter::X, Letter::Y, Letter::Z][self.below(3)])).collect()
    }

    pub fn hermitian(&mut self, d: usize) -> Dense {
        let mut m = Dense::zero(d);
        m.m.iter_mut().for_each(|e| *e = Complex64::new(self.real(), self.real()));
        m.plus(ONE, &m.dagger())
    }

    pub fn observable(&mut self, n: usize, terms: usize) -> PauliSum {
        let terms: Vec<_> = (0..terms)
            .map(|_| {
                let count = 1 + self.below(n);
                let wires = self.wires(count, n);
                (PauliWord::from_sparse(n, self.letters(&wires)).unwrap(), self.real())
            })
            .collect();
        PauliSum::from_terms(n, terms.iter().map(|(w, c)| (w, *c))).unwrap()
    }
}

/// A gate of the dense twin: Kraus operators at an angle, and what feeds the angle.
#[derive(Clone)]
pub enum Gate {
    Fixed(Vec<Dense>),
    /// exp(-i angle A)
    Evolution(Dense, Angle),
}

/// A circuit next to its dense twin.
pub struct Twin {
    pub circuit: Circuit,
    pub gates: Vec<Gate>,
    pub theta: Vec<f64>,
}

impl Twin {
    pub fn random(seed: u64, n: usize, n_gates: usize, n_parameters: usize, channels: bool) -> Twin {
        let mut random = Random(seed);
        let mut circuit = Circuit::new(n, n_parameters).unwrap();
        let (mut gates, mut inputs) = (Vec::new(), Vec::new());
        for k in 0..n_gates {
            let angle = match random.below(5) {
                0 if k % 2 == 0 => {
                    inputs.push(random.angle());
                    circuit.input()
                }
                0 => Angle::Fixed(random.angle()),
                4 => Angle::Fixed(std::f64::consts::FRAC_PI_2 * (random.below(9) as f64 - 4.0)),
                1 => Angle::parameter(random.below(n_parameters)),
                _ => Angle::Trainable {
                    parameter: random.below(n_parameters),
                    scale: 2.0 * random.real(),
                    offset: random.angle(),
                },
            };
            let full = |letters: &[(usize, Letter)]| {
                word(&PauliWord::from_sparse(n, letters.iter().copied()).unwrap())
            };
            match random.below(if channels { 8 } else { 7 }) {
                0 | 1 => {
                    let count = 1 + random.below(n);
                    let wires = random.wires(count, n);
                    let letters = random.letters(&wires);
                    circuit.rotation(letters.iter().copied(), angle).unwrap();
                    gates.push(Gate::Evolution(full(&letters).scaled(ONE * 0.5), angle));
                }
                2 | 3 => {
                    let clifford = Clifford::ALL[random.below(Clifford::ALL.len())];
                    if clifford.n_wires() > n {
                        continue;
                    }
                    let wires = random.wires(clifford.n_wires(), n);
                    circuit.clifford(clifford, &wires).unwrap();
                    let matrix = Dense { d: 1 << wires.len(), m: clifford.matrix() };
                    gates.push(Gate::Fixed(vec![embed(&matrix, &wires, n)]));
                }
                4 => {
                    let count = 1 + random.below(2.min(n));
                    let wires = random.wires(count, n);
                    let matrix = random.hermitian(1 << count).evolution(1.0);
                    circuit.unitary(&matrix.m, &wires).unwrap();
                    gates.push(Gate::Fixed(vec![embed(&matrix, &wires, n)]));
                }
                5 => {
                    // Any words on a few qubits: mostly they do not commute.
                    let count = 1 + random.below(3.min(n));
                    let wires = random.wires(count, n);
                    let terms: Vec<_> = (0..3)
                        .map(|_| {
                            let some = 1 + random.below(count);
                            let letters = random.letters(&wires[..some]);
                            (PauliWord::from_sparse(n, letters).unwrap(), random.real())
                        })
                        .collect();
                    let a = PauliSum::from_terms(n, terms.iter().map(|(w, c)| (w, *c))).unwrap();
                    circuit.evolution(&a, angle).unwrap();
                    gates.push(Gate::Evolution(sum(&a), angle));
                }
                6 => {
                    // Commuting words at any width: products of Z.
                    let terms: Vec<_> = (0..3)
                        .map(|_| {
                            let count = 1 + random.below(n);
                            let wires = random.wires(count, n);
                            let letters = wires.into_iter().map(|q| (q, Letter::Z));
                            (PauliWord::from_sparse(n, letters).unwrap(), random.real())
                        })
                        .collect();
                    let a = PauliSum::from_terms(n, terms.iter().map(|(w, c)| (w, *c))).unwrap();
                    circuit.evolution(&a, angle).unwrap();
                    gates.push(Gate::Evolution(sum(&a), angle));
                }
                _ => {
                    let p = 0.5 * (random.real() + 1.0);
                    let (a, b) = (ONE * (1.0 - p).sqrt(), ONE * p.sqrt());
                    let o = Complex64::default();
                    let (kraus, count) = if n > 1 && random.below(2) == 0 {
                        let mix = Dense { d: 4, m: Clifford::Iswap.matrix() };
                        (vec![Dense::identity(4).scaled(a), mix.scaled(b)], 2)
                    } else {
                        // Amplitude damping: not unital.
                        let keep = Dense { d: 2, m: vec![ONE, o, o, a] };
                        (vec![keep, Dense { d: 2, m: vec![o, b, o, o] }], 1)
                    };
                    let wires = random.wires(count, n);
                    let operators: Vec<_> = kraus.iter().map(|k| k.m.clone()).collect();
                    circuit.channel(&operators, &wires).unwrap();
                    gates.push(Gate::Fixed(kraus.iter().map(|k| embed(k, &wires, n)).collect()));
                }
            }
        }
        let theta = (0..n_parameters).map(|_| random.angle()).chain(inputs).collect();
        Twin { circuit, gates, theta }
    }

    /// The place in `theta` that an angle follows.
    pub fn place(&self, angle: Angle) -> Option<usize> {
        match angle {
            Angle::Fixed(_) => None,
            Angle::Trainable { parameter, .. } => Some(parameter),
            Angle::Input { input, .. } => Some(self.circuit.n_parameters() + input),
        }
    }

    fn angle(&self, angle: Angle, theta: &[f64]) -> f64 {
        let value = self.place(angle).map(|place| theta[place]);
        match angle {
            Angle::Fixed(angle) => angle,
            Angle::Trainable { scale, offset, .. } | Angle::Input { scale, offset, .. } => {
                scale * value.unwrap() + offset
            }
        }
    }

    pub fn kraus(&self, gate: usize, theta: &[f64]) -> Vec<Dense> {
        match &self.gates[gate] {
            Gate::Fixed(kraus) => kraus.clone(),
            Gate::Evolution(a, angle) => vec![a.evolution(self.angle(*angle, theta))],
        }
    }

    /// The density matrix after the circuit.
    pub fn run(&self, theta: &[f64], initial: &Dense) -> Dense {
        let mut rho = initial.clone();
        for gate in 0..self.gates.len() {
            rho = self
                .kraus(gate, theta)
                .iter()
                .fold(Dense::zero(rho.d), |next, k| next.plus(ONE, &rho.conjugated_by(k)));
        }
        rho
    }

    /// The unitary of the gates from `start` on.
    pub fn unitary(&self, theta: &[f64], start: usize) -> Dense {
        let identity = Dense::identity(1 << self.circuit.n_qubits());
        (start..self.gates.len()).fold(identity, |u, gate| self.kraus(gate, theta)[0].times(&u))
    }

    /// The exact derivative of tr(O rho) by each parameter, by the product rule over gates.
    pub fn gradient(&self, initial: &Dense, observable: &Dense) -> Vec<f64> {
        let mut gradient = vec![0.0; self.circuit.n_parameters()];
        for (k, gate) in self.gates.iter().enumerate() {
            let Gate::Evolution(a, Angle::Trainable { parameter, scale, .. }) = gate else { continue };
            let mut rho = initial.clone();
            for gate in 0..self.gates.len() {
                rho = self
                    .kraus(gate, &self.theta)
                    .iter()
                    .fold(Dense::zero(rho.d), |next, u| next.plus(ONE, &rho.conjugated_by(u)));
                if gate == k {
                    rho = a.times(&rho).plus(-ONE, &rho.times(a)).scaled(-I);
                }
            }
            gradient[*parameter] += scale * observable.times(&rho).trace().re;
        }
        gradient
    }
}

/// The density matrix of a product state.
pub fn product_state(bloch: &[[f64; 3]]) -> Dense {
    bloch.iter().fold(Dense::identity(1), |rho, r| {
        let mut qubit = letter(Letter::I);
        for (c, l) in r.iter().zip([Letter::X, Letter::Y, Letter::Z]) {
            qubit = qubit.plus(ONE * *c, &letter(l));
        }
        rho.kron(&qubit.scaled(ONE * 0.5))
    })
}
