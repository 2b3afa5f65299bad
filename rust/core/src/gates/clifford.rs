//! The named Clifford gates.
//!
//! A gate is stated once, by its matrix; how it moves Pauli words is derived from that (see
//! [`super::transfer`]), so there is no table of signs to get wrong. Cost: a few microseconds per gate that is
//! added to a circuit.

use super::matrix::Matrix;
use super::transfer::{Direction, Permutation, Transfer};
use crate::error::{Error, Result};
use num_complex::Complex64;
use std::sync::OnceLock;

/// A named Clifford gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Clifford {
    /// The identity.
    I,
    /// The bit flip.
    X,
    /// Bit and phase flip.
    Y,
    /// The phase flip.
    Z,
    /// The Hadamard gate.
    H,
    /// `diag(1, i)`.
    S,
    /// `diag(1, -i)`.
    Sdg,
    /// The square root of X, `exp(-i pi X / 4)` up to a phase.
    Sx,
    /// The inverse of [`Clifford::Sx`].
    Sxdg,
    /// Flips the second wire where the first is 1.
    Cnot,
    /// Applies Y to the second wire where the first is 1.
    Cy,
    /// Changes the sign where both wires are 1.
    Cz,
    /// Exchanges the wires.
    Swap,
    /// Exchanges the wires and multiplies by i where they differ.
    Iswap,
    /// The inverse of [`Clifford::Iswap`].
    Iswapdg,
    /// The echoed cross resonance gate, `(I X - X Y) / sqrt 2` in matrix order, first wire most significant.
    Ecr,
}

impl Clifford {
    /// Every named gate.
    pub const ALL: [Clifford; 16] = [
        Clifford::I,
        Clifford::X,
        Clifford::Y,
        Clifford::Z,
        Clifford::H,
        Clifford::S,
        Clifford::Sdg,
        Clifford::Sx,
        Clifford::Sxdg,
        Clifford::Cnot,
        Clifford::Cy,
        Clifford::Cz,
        Clifford::Swap,
        Clifford::Iswap,
        Clifford::Iswapdg,
        Clifford::Ecr,
    ];

    /// The name that [`Clifford::from_name`] reads.
    pub const fn name(self) -> &'static str {
        match self {
            Clifford::I => "I",
            Clifford::X => "X",
            Clifford::Y => "Y",
            Clifford::Z => "Z",
            Clifford::H => "H",
            Clifford::S => "S",
            Clifford::Sdg => "SDG",
            Clifford::Sx => "SX",
            Clifford::Sxdg => "SXDG",
            Clifford::Cnot => "CNOT",
            Clifford::Cy => "CY",
            Clifford::Cz => "CZ",
            Clifford::Swap => "SWAP",
            Clifford::Iswap => "ISWAP",
            Clifford::Iswapdg => "ISWAPDG",
            Clifford::Ecr => "ECR",
        }
    }

    /// The gate of that name, exactly as [`Clifford::name`] spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        Clifford::ALL.into_iter().find(|gate| gate.name() == name)
    }

    /// Number of wires, 1 or 2.
    pub const fn n_wires(self) -> usize {
        match self {
            Clifford::I
            | Clifford::X
            | Clifford::Y
            | Clifford::Z
            | Clifford::H
            | Clifford::S
            | Clifford::Sdg
            | Clifford::Sx
            | Clifford::Sxdg => 1,
            _ => 2,
        }
    }

    /// The matrix, row after row, first wire most significant.
    pub fn matrix(self) -> Vec<Complex64> {
        let (o, l) = (Complex64::new(0.0, 0.0), Complex64::new(1.0, 0.0));
        let i = Complex64::new(0.0, 1.0);
        let (p, m) = (Complex64::new(0.5, 0.5), Complex64::new(0.5, -0.5));
        let h = Complex64::new(std::f64::consts::FRAC_1_SQRT_2, 0.0);
        match self {
            Clifford::I => vec![l, o, o, l],
            Clifford::X => vec![o, l, l, o],
            Clifford::Y => vec![o, -i, i, o],
            Clifford::Z => vec![l, o, o, -l],
            Clifford::H => vec![h, h, h, -h],
            Clifford::S => vec![l, o, o, i],
            Clifford::Sdg => vec![l, o, o, -i],
            Clifford::Sx => vec![p, m, m, p],
            Clifford::Sxdg => vec![m, p, p, m],
            Clifford::Cnot => vec![l, o, o, o, o, l, o, o, o, o, o, l, o, o, l, o],
            Clifford::Cy => vec![l, o, o, o, o, l, o, o, o, o, o, -i, o, o, i, o],
            Clifford::Cz => vec![l, o, o, o, o, l, o, o, o, o, l, o, o, o, o, -l],
            Clifford::Swap => vec![l, o, o, o, o, o, l, o, o, l, o, o, o, o, o, l],
            Clifford::Iswap => vec![l, o, o, o, o, o, i, o, o, i, o, o, o, o, o, l],
            Clifford::Iswapdg => vec![l, o, o, o, o, o, -i, o, o, -i, o, o, o, o, o, l],
            Clifford::Ecr => {
                vec![o, o, h, i * h, o, o, i * h, h, h, -i * h, o, o, -i * h, h, o, o]
            }
        }
    }

    pub(crate) fn dense(self) -> Result<Matrix> {
        Matrix::new("gate", self.n_wires(), &self.matrix())
    }
}

/// Where each code on the wires of a gate goes: the letters (two bits per wire), with the sign that [`negates`] reads.
pub(crate) fn clifford_table(gate: Clifford, direction: Direction) -> &'static [u8; 16] {
    static TABLES: OnceLock<Vec<Permutation>> = OnceLock::new();
    let tables = TABLES.get_or_init(|| {
        let permutation =
            |gate: Clifford| Transfer::of_unitary(gate.n_wires(), &gate.dense().ok()?).ok()?.to_permutation();
        Clifford::ALL.map(|gate| permutation(gate).expect("named gates are Clifford gates")).into()
    });
    tables[gate as usize].table(direction)
}

/// Whether an entry of [`clifford_table`] changes the sign.
fn negates(image: u8) -> bool {
    image & Permutation::NEGATIVE != 0
}

/// Moves a word (its rows) through a gate; returns whether its sign changes.
pub(crate) fn conjugate(x: &mut [u64], z: &mut [u64], wires: &[usize], table: &[u8; 16]) -> bool {
    let mut code = 0;
    for (i, q) in wires.iter().enumerate() {
        code |= ((x[q / 64] >> (q % 64) & 1) | (z[q / 64] >> (q % 64) & 1) << 1) << (2 * i);
    }
    let image = table[code as usize];
    for (i, q) in wires.iter().enumerate() {
        let letter = u64::from(image >> (2 * i));
        let put = |row: &mut u64, bit: u64| *row = *row & !(1 << (q % 64)) | (bit & 1) << (q % 64);
        put(&mut x[q / 64], letter);
        put(&mut z[q / 64], letter >> 1);
    }
    negates(image)
}

/// Moves many words through a gate at once: row `2 q` of `columns` has the z bits on qubit q, one for each word, row
/// `2 q + 1` the x bits. Flips the sign of those that it negates.
pub(crate) fn conjugate_columns(columns: &mut [u64], signs: &mut [u64], wires: &[usize], table: &[u8; 16]) {
    let (row, bits) = (signs.len(), 2 * wires.len());
    // Bit `b` of a code is x or z of a wire. Up to signs, the image of a product is the product of the images.
    let place = |b: usize| (2 * wires[b / 2] + 1 - b % 2) * row;
    let all = |yes: bool| if yes { u64::MAX } else { 0 };
    let mut takes = [[0; 4]; 4];
    for b in 0..bits {
        (0..bits).for_each(|from| takes[b][from] = all(table[1 << from] >> b & 1 == 1));
    }
    let negated: Vec<[u64; 4]> = (1..1 << bits)
        .filter(|&code| negates(table[code]))
        .map(|code| std::array::from_fn(|b| all(code >> b & 1 == 0)))
        .collect();
    for k in 0..row {
        let mut code = [0; 4];
        (0..bits).for_each(|b| code[b] = columns[place(b) + k]);
        for pattern in &negated {
            signs[k] ^= (0..bits).fold(u64::MAX, |is, b| is & (code[b] ^ pattern[b]));
        }
        for b in 0..bits {
            columns[place(b) + k] = (0..bits).fold(0, |sum, from| sum ^ (code[from] & takes[b][from]));
        }
    }
}

/// A Clifford gate on its wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CliffordGate {
    clifford: Clifford,
    wires: [usize; 2],
}

impl CliffordGate {
    /// A gate on one wire, or on two, in the order of [`Clifford`].
    pub fn new(clifford: Clifford, wires: &[usize]) -> Result<Self> {
        match *wires {
            [q] if clifford.n_wires() == 1 => Ok(CliffordGate { clifford, wires: [q, q] }),
            [a, b] if clifford.n_wires() == 2 && a != b => Ok(CliffordGate { clifford, wires: [a, b] }),
            _ => Err(Error::invalid(
                "wires",
                format!("{} different wires for {}", clifford.n_wires(), clifford.name()),
                format!("{wires:?}"),
            )),
        }
    }

    /// A gate whose wires are known to fit.
    pub(crate) fn on(clifford: Clifford, wires: [usize; 2]) -> Self {
        CliffordGate { clifford, wires }
    }

    /// Which gate.
    pub fn clifford(&self) -> Clifford {
        self.clifford
    }

    /// On which wires.
    pub fn wires(&self) -> &[usize] {
        &self.wires[..self.clifford.n_wires()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_are_exact() {
        for gate in Clifford::ALL {
            assert_eq!(Clifford::from_name(gate.name()), Some(gate));
            assert_eq!(Clifford::ALL[gate as usize], gate);
            assert_eq!(gate.matrix().len(), 1 << (2 * gate.n_wires()));
        }
        assert_eq!(Clifford::from_name("cnot"), None);
    }
}
