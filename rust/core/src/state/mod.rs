//! State vectors, and the gates that act on them.
//!
//! Qubit 0 is the most significant bit of an index. [`apply`] multiplies by a matrix on a few wires, [`rotate`]
//! by `exp(-i angle P / 2)` for a Pauli word P of any weight; both work in place.
//!
//! Invariant: a [`StateVector`] is finite and normalised. The kernels take any vector of 2^n amplitudes, normalised
//! or not, and do not renormalise.
//! Cost: one pass over the vector per gate, on the calling thread; a look at the flag of an interrupt per 16 MB.

mod product;

pub use product::ProductState;

use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::parallel::Cancel;
use crate::bits::real::sin_cos;
use crate::error::{Error, Result};
use crate::pauli::WordRef;
use crate::pauli::word::{check_width, check_wire};
use num_complex::Complex64;
use std::ops::Range;

/// Most qubits of a state vector.
pub const MAX_STATE_QUBITS: usize = 30;
/// How far the squared norm may be from one: loose enough for single-precision simulators.
const NORM_TOLERANCE: f64 = 1e-5;

/// A normalised pure state; qubit 0 is the most significant bit of the index.
#[derive(Debug, Clone)]
pub struct StateVector<'a> {
    amplitudes: &'a [Complex64],
    n_qubits: usize,
}

impl<'a> StateVector<'a> {
    /// Checks length, finiteness and norm.
    pub fn new(amplitudes: &'a [Complex64]) -> Result<Self> {
        let n_qubits = width(amplitudes)?;
        if let Some(i) = amplitudes.iter().position(|a| !(a.re.is_finite() && a.im.is_finite())) {
            return Err(Error::invalid(
                format!("state[{i}]"),
                "a finite amplitude",
                amplitudes[i].to_string(),
            ));
        }
        let norm: f64 = amplitudes.iter().map(Complex64::norm_sqr).sum();
        if (norm - 1.0).abs() > NORM_TOLERANCE {
            return Err(Error::invalid(
                "state",
                "a normalised vector (squared norm 1)",
                format!("squared norm {norm}"),
            ));
        }
        Ok(StateVector { amplitudes, n_qubits })
    }

    /// Number of qubits.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// The amplitudes.
    pub fn amplitudes(&self) -> &'a [Complex64] {
        self.amplitudes
    }
}

fn width(amplitudes: &[Complex64]) -> Result<usize> {
    let length = amplitudes.len();
    if length < 2 || !length.is_power_of_two() || length > 1 << MAX_STATE_QUBITS {
        return Err(Error::shape(
            "state",
            format!("2^n amplitudes with n from 1 to {MAX_STATE_QUBITS}"),
            format!("{length}"),
        ));
    }
    Ok(length.trailing_zeros() as usize)
}

/// Amplitudes between two looks at the flag of an interrupt: some milliseconds.
const PIECE: usize = 1 << 20;

/// Indices below `length`, a piece of work at a time.
fn pieces(length: usize) -> impl Iterator<Item = Range<usize>> {
    (0..length).step_by(PIECE).map(move |start| start..length.min(start + PIECE))
}

/// Most wires of [`apply`].
const MAX_WIRES: usize = 4;

/// Multiplies by a matrix on one to four wires: its rows one after the other, the first wire most significant.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, gates::Clifford, state::apply};
/// use num_complex::Complex64;
/// let mut state = vec![Complex64::default(); 4];
/// state[0] = Complex64::new(1.0, 0.0);
/// apply(&Clifford::H.matrix(), &[0], &mut state, &Cancel::new())?;
/// apply(&Clifford::Cnot.matrix(), &[0, 1], &mut state, &Cancel::new())?;
/// assert!((state[0b11].re - 0.5f64.sqrt()).abs() < 1e-15);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn apply(
    matrix: &[Complex64],
    wires: &[usize],
    amplitudes: &mut [Complex64],
    cancel: &Cancel,
) -> Result<()> {
    let n = width(amplitudes)?;
    wires.iter().try_for_each(|&q| check_wire("wires", q, n))?;
    let entries = || {
        Error::shape(
            "matrix",
            format!("{} entries for {} wires", 1usize << (2 * wires.len()), wires.len()),
            matrix.len().to_string(),
        )
    };
    match *wires {
        [q] => {
            let matrix = matrix.try_into().map_err(|_| entries())?;
            apply_to_one(matrix, 1 << (n - 1 - q), amplitudes, cancel)
        }
        [a, b] if a != b => {
            let matrix = matrix.try_into().map_err(|_| entries())?;
            let (first, second) = (1 << (n - 1 - a), 1 << (n - 1 - b));
            pieces(amplitudes.len() / 4).try_for_each(|quarters| {
                cancel.check()?;
                dispatch(Two { matrix, first, second, quarters, amplitudes });
                Ok(())
            })
        }
        _ => {
            let distinct = wires.iter().enumerate().all(|(i, q)| !wires[..i].contains(q));
            if !distinct || wires.is_empty() || wires.len() > MAX_WIRES {
                let expected = format!("1 to {MAX_WIRES} different wires");
                return Err(Error::invalid("wires", expected, format!("{wires:?}")));
            }
            if matrix.len() != 1 << (2 * wires.len()) {
                return Err(entries());
            }
            let strides: Vec<usize> = wires.iter().map(|q| 1 << (n - 1 - q)).collect();
            pieces(amplitudes.len()).try_for_each(|indices| {
                cancel.check()?;
                dispatch(Many { matrix, strides: &strides, indices, amplitudes });
                Ok(())
            })
        }
    }
}

fn apply_to_one(
    matrix: &[Complex64; 4],
    stride: usize,
    amplitudes: &mut [Complex64],
    cancel: &Cancel,
) -> Result<()> {
    for piece in amplitudes.chunks_mut(PIECE.max(2 * stride)) {
        if 2 * stride <= PIECE {
            cancel.check()?;
            dispatch(One { matrix, stride, amplitudes: piece });
            continue;
        }
        let (low, high) = piece.split_at_mut(stride);
        for (low, high) in low.chunks_mut(PIECE).zip(high.chunks_mut(PIECE)) {
            cancel.check()?;
            dispatch(Pairs { matrix, low, high });
        }
    }
    Ok(())
}

/// Multiplies by `exp(-i angle P / 2)`, P the Pauli word.
///
/// ```
/// use efl_core::{bits::parallel::Cancel, pauli::PauliWord, state::rotate};
/// use num_complex::Complex64;
/// let mut state = [Complex64::new(1.0, 0.0), Complex64::default()];
/// rotate(PauliWord::from_label("Y")?.view(), 0.6, &mut state, &Cancel::new())?;
/// assert!((state[0].re - 0.3f64.cos()).abs() + (state[1].re - 0.3f64.sin()).abs() < 1e-15);
/// # Ok::<(), efl_core::Error>(())
/// ```
pub fn rotate(word: WordRef<'_>, angle: f64, amplitudes: &mut [Complex64], cancel: &Cancel) -> Result<()> {
    let n = width(amplitudes)?;
    check_width("word", n, word.n_qubits())?;
    if !angle.is_finite() {
        return Err(Error::invalid("angle", "a finite number", angle.to_string()));
    }
    // As masks of an index, in which qubit 0 is the most significant bit.
    let mask = |row: &[u64]| (row[0].reverse_bits() >> (64 - n)) as usize;
    let (x, z) = (mask(word.x()), mask(word.z()));
    pieces(amplitudes.len() / if x == 0 { 1 } else { 2 }).try_for_each(|indices| {
        cancel.check()?;
        dispatch(Rotate { x, z, angle, indices, amplitudes });
        Ok(())
    })
}

struct One<'a> {
    matrix: &'a [Complex64; 4],
    stride: usize,
    amplitudes: &'a mut [Complex64],
}

impl Kernel for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for pair in self.amplitudes.chunks_exact_mut(2 * self.stride) {
            let (low, high) = pair.split_at_mut(self.stride);
            Pairs { matrix: self.matrix, low, high }.run();
        }
    }
}

/// Amplitudes that a gate on one wire mixes.
struct Pairs<'a> {
    matrix: &'a [Complex64; 4],
    low: &'a mut [Complex64],
    high: &'a mut [Complex64],
}

impl Kernel for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let m = self.matrix;
        for (a, b) in self.low.iter_mut().zip(self.high) {
            (*a, *b) = (m[0] * *a + m[1] * *b, m[2] * *a + m[3] * *b);
        }
    }
}

struct Two<'a> {
    matrix: &'a [Complex64; 16],
    /// Index bits of the wires.
    first: usize,
    second: usize,
    quarters: Range<usize>,
    amplitudes: &'a mut [Complex64],
}

impl Kernel for Two<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Two { matrix, first, second, quarters, amplitudes } = self;
        let (low, high) = (first.min(second), first.max(second));
        for quarter in quarters {
            // The index with zeros put in at both wires.
            let i = (quarter & !(low - 1)) << 1 | quarter & (low - 1);
            let i = (i & !(high - 1)) << 1 | i & (high - 1);
            let at = [i, i | second, i | first, i | first | second];
            let old = at.map(|i| amplitudes[i]);
            for (row, i) in matrix.as_chunks::<4>().0.iter().zip(at) {
                amplitudes[i] = row[0] * old[0] + row[1] * old[1] + row[2] * old[2] + row[3] * old[3];
            }
        }
    }
}

struct Many<'a> {
    matrix: &'a [Complex64],
    /// Index bits of the wires.
    strides: &'a [usize],
    indices: Range<usize>,
    amplitudes: &'a mut [Complex64],
}

impl Kernel for Many<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Many { matrix, strides, indices, amplitudes } = self;
        let (d, k) = (1 << strides.len(), strides.len());
        let mut offsets = [0; 1 << MAX_WIRES];
        for (local, offset) in offsets[..d].iter_mut().enumerate() {
            *offset = (0..k).filter(|j| local >> (k - 1 - j) & 1 == 1).map(|j| strides[j]).sum();
        }
        let mut old = [Complex64::default(); 1 << MAX_WIRES];
        for i in indices.filter(|i| i & offsets[d - 1] == 0) {
            old[..d].iter_mut().zip(&offsets).for_each(|(a, offset)| *a = amplitudes[i | offset]);
            for (row, offset) in matrix.chunks_exact(d).zip(&offsets) {
                amplitudes[i | offset] = row.iter().zip(&old).map(|(m, a)| m * a).sum();
            }
        }
    }
}

struct Rotate<'a> {
    x: usize,
    z: usize,
    angle: f64,
    /// Of amplitudes, if none are exchanged, else of pairs.
    indices: Range<usize>,
    amplitudes: &'a mut [Complex64],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    /// `P |j> = i^y (-1)^(j . z) |j ^ x>`, y the number of letters Y.
    #[inline(always)]
    fn run(self) {
        let Rotate { x, z, angle, indices, amplitudes } = self;
        let (sin, cos) = sin_cos(angle / 2.0);
        let odd = |j: usize| (j & z).count_ones() % 2 == 1;
        if x == 0 {
            let (plus, minus) = (Complex64::new(cos, -sin), Complex64::new(cos, sin));
            for (j, a) in indices.clone().zip(&mut amplitudes[indices]) {
                *a *= if odd(j) { minus } else { plus };
            }
            return;
        }
        // -i sin i^y, the factor of what comes from the other index.
        let factor = Complex64::new(0.0, -sin) * Complex64::i().powu((x & z).count_ones() % 4);
        let top = 1 << x.ilog2();
        for half in indices {
            let j = (half & !(top - 1)) << 1 | half & (top - 1);
            let k = j ^ x;
            let (a, b) = (amplitudes[j], amplitudes[k]);
            let signed = |odd: bool| if odd { -factor } else { factor };
            amplitudes[j] = cos * a + signed(odd(k)) * b;
            amplitudes[k] = cos * b + signed(odd(j)) * a;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Clifford;
    use crate::pauli::PauliWord;

    fn vector(n: usize) -> Vec<Complex64> {
        (0..1 << n).map(|i| Complex64::new((i as f64).sin() + 0.2, (3.0 * i as f64).cos())).collect()
    }

    /// The sum over all entries of the matrix, index by index.
    fn slow(matrix: &[Complex64], wires: &[usize], n: usize, vector: &[Complex64]) -> Vec<Complex64> {
        let bits = |j: usize| wires.iter().fold(0, |code, q| code << 1 | j >> (n - 1 - q) & 1);
        let rest = |j: usize| wires.iter().fold(j, |j, q| j & !(1 << (n - 1 - q)));
        let entry = |i: usize, j: usize| {
            if rest(i) == rest(j) { matrix[bits(i) << wires.len() | bits(j)] } else { Complex64::default() }
        };
        (0..vector.len()).map(|i| (0..vector.len()).map(|j| entry(i, j) * vector[j]).sum()).collect()
    }

    fn close(a: &[Complex64], b: &[Complex64]) -> bool {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).norm() < 1e-12)
    }

    #[test]
    fn gates_equal_their_matrices_on_all_wires() {
        let n = 4;
        for gate in Clifford::ALL {
            for a in 0..n {
                for b in 0..n {
                    let wires: &[usize] = if gate.n_wires() == 1 { &[a] } else { &[a, b] };
                    let mut found = vector(n);
                    let result = apply(&gate.matrix(), wires, &mut found, &Cancel::new());
                    if gate.n_wires() == 2 && a == b {
                        assert!(result.is_err());
                        continue;
                    }
                    assert!(close(&found, &slow(&gate.matrix(), wires, n, &vector(n))), "{gate:?} {wires:?}");
                }
            }
        }
    }

    #[test]
    fn wider_matrices_equal_their_sums_over_all_entries() {
        let n = 5;
        for wires in [[4, 0, 2].as_slice(), &[1, 3, 0, 4]] {
            let matrix: Vec<_> = vector(8)[..1 << (2 * wires.len())].to_vec();
            let mut found = vector(n);
            apply(&matrix, wires, &mut found, &Cancel::new()).unwrap();
            let expected = slow(&matrix, wires, n, &vector(n));
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).norm() < 1e-10));
        }
    }

    #[test]
    fn rotations_are_the_cosine_and_the_sine_of_their_word() {
        let n = 3;
        for label in ["XII", "IYI", "ZIZ", "YXZ", "YYI", "III", "YYY"] {
            let word = PauliWord::from_label(label).unwrap();
            let mut image = vector(n);
            for (q, letter) in word.support() {
                let gate = Clifford::from_name(&letter.to_string()).unwrap();
                apply(&gate.matrix(), &[q], &mut image, &Cancel::new()).unwrap();
            }
            let (sin, cos) = 0.35f64.sin_cos();
            let expected: Vec<_> =
                vector(n).iter().zip(&image).map(|(a, p)| a * cos - Complex64::i() * sin * p).collect();
            let mut found = vector(n);
            rotate(word.view(), 0.7, &mut found, &Cancel::new()).unwrap();
            assert!(close(&found, &expected), "{label}");
        }
    }

    #[test]
    fn long_vectors_are_turned_piece_by_piece_to_the_same_bits() {
        let n = 22;
        let places = [0, 1, n - 2, n - 1];
        let index =
            |small: usize| (0..4).map(|j| (small >> (3 - j) & 1) << (n - 1 - places[j])).sum::<usize>();
        let (mut small, mut long) = (vector(4), vec![Complex64::default(); 1 << n]);
        (0..16).for_each(|i| long[index(i)] = small[i]);
        let cancel = Cancel::new();
        for (wires, label) in
            [(vec![0], "XIIZ"), (vec![3], "ZIIZ"), (vec![0, 3], "IYXI"), (vec![3, 1, 0], "YYIX")]
        {
            let matrix: Vec<_> = vector(2 * wires.len());
            let far: Vec<usize> = wires.iter().map(|&q| places[q]).collect();
            apply(&matrix, &wires, &mut small, &cancel).unwrap();
            apply(&matrix, &far, &mut long, &cancel).unwrap();
            let word = PauliWord::from_label(label).unwrap();
            let wide =
                PauliWord::from_sparse(n, word.support().map(|(q, letter)| (places[q], letter))).unwrap();
            rotate(word.view(), 0.3, &mut small, &cancel).unwrap();
            rotate(wide.view(), 0.3, &mut long, &cancel).unwrap();
            assert!((0..16).all(|i| long[index(i)] == small[i]), "{wires:?} {label}");
        }
        cancel.raise();
        assert!(apply(&Clifford::H.matrix(), &[0], &mut long, &cancel).is_err());
    }

    #[test]
    fn arguments_are_checked() {
        let mut state = vector(2);
        let h = Clifford::H.matrix();
        assert!(apply(&h, &[2], &mut state, &Cancel::new()).is_err());
        assert!(apply(&h, &[0, 1], &mut state, &Cancel::new()).is_err());
        assert!(apply(&h, &[], &mut state, &Cancel::new()).is_err());
        assert!(apply(&vector(6), &[0, 1, 1], &mut vector(3), &Cancel::new()).is_err());
        assert!(apply(&vector(5), &[0, 1, 2], &mut vector(3), &Cancel::new()).is_err());
        assert!(apply(&h, &[0], &mut state[..3], &Cancel::new()).is_err());
        let word = PauliWord::from_label("XYZ").unwrap();
        assert!(rotate(word.view(), 0.1, &mut state, &Cancel::new()).is_err());
        assert!(rotate(PauliWord::identity(2).view(), f64::NAN, &mut state, &Cancel::new()).is_err());
    }
}
