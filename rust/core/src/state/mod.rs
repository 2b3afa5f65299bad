//! State vectors, and the gates that act on them.
//!
//! Qubit 0 is the most significant bit of an index. [`apply`] multiplies by a matrix on a few wires, [`rotate`]
//! by `exp(-i angle P / 2)` for a Pauli word P of any weight; both work in place.
//!
//! Invariant: a [`StateVector`] is finite and normalised. The kernels take any vector of 2^n amplitudes, normalised
//! or not, and do not renormalise.
//! Cost: one pass over the vector per gate, on the calling thread; a look at the flag of an interrupt per 16 MB.

mod kernels;
mod product;

pub use product::ProductState;

use crate::bits::dispatch::dispatch;
use crate::bits::parallel::Cancel;
use crate::error::{Error, Result};
use crate::pauli::WordRef;
use crate::pauli::word::{check_width, check_wire};
use kernels::{Exchange, MAX_WIRES, Many, One, Pairs, Rotate, Two};
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
            let exchange = Exchange::of(matrix);
            let (first, second) = (1 << (n - 1 - a), 1 << (n - 1 - b));
            pieces(amplitudes.len() / 4).try_for_each(|quarters| {
                cancel.check()?;
                dispatch(Two { matrix, exchange, first, second, quarters, amplitudes });
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
    let rotate = Rotate::new(x, z, angle, n);
    pieces(rotate.tasks(amplitudes.len())).try_for_each(|tasks| {
        cancel.check()?;
        dispatch(rotate.on(tasks, amplitudes));
        Ok(())
    })
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

    /// A rotation, pair of indices by pair of indices.
    fn rotated(word: &PauliWord, angle: f64, vector: &[Complex64]) -> Vec<Complex64> {
        let n = word.n_qubits();
        let mask = |row: &[u64]| (row[0].reverse_bits() >> (64 - n)) as usize;
        let (x, z) = (mask(word.view().x()), mask(word.view().z()));
        let (sin, cos) = crate::bits::real::sin_cos(angle / 2.0);
        let factor = Complex64::new(0.0, -sin) * Complex64::i().powu((x & z).count_ones() % 4);
        let odd = |j: usize| (j & z).count_ones() % 2 == 1;
        let turned = |j: usize| {
            let k = j ^ x;
            if x == 0 {
                vector[j] * Complex64::new(cos, if odd(j) { sin } else { -sin })
            } else {
                cos * vector[j] + (if odd(k) { -factor } else { factor }) * vector[k]
            }
        };
        (0..vector.len()).map(turned).collect()
    }

    #[test]
    fn rotations_have_the_bits_of_their_pairs_of_indices() {
        for n in 1..=5 {
            for code in 0..4usize.pow(n as u32) {
                let label: String = (0..n).map(|q| b"IXYZ"[code >> (2 * q) & 3] as char).collect();
                let word = PauliWord::from_label(&label).unwrap();
                let mut found = vector(n);
                rotate(word.view(), 0.7, &mut found, &Cancel::new()).unwrap();
                assert_eq!(found, rotated(&word, 0.7, &vector(n)), "{label}");
            }
        }
    }

    #[test]
    fn matrices_on_two_wires_have_the_bits_of_all_their_entries() {
        let dense: [Complex64; 16] = vector(4).try_into().unwrap();
        let mut matrices = vec![dense];
        for gate in Clifford::ALL.into_iter().filter(|gate| gate.n_wires() == 2) {
            matrices.push(gate.matrix().try_into().unwrap());
        }
        let turned = Complex64::from_polar(1.0, 0.3);
        matrices.push(matrices[1].map(|entry| entry * turned));
        // Entry by entry in the order of the matrix, zeros included.
        let of = |matrix: &[Complex64; 16], [a, b]: [usize; 2], i: usize, vector: &[Complex64]| {
            let row = (i >> a & 1) << 1 | i >> b & 1;
            let place = |column: usize| i & !(1 << a | 1 << b) | (column >> 1) << a | (column & 1) << b;
            (0..4).map(|column| matrix[4 * row + column] * vector[place(column)]).sum::<Complex64>()
        };
        for n in 2..=5 {
            for (a, b) in (0..n).flat_map(|a| (0..n).map(move |b| (a, b))).filter(|(a, b)| a != b) {
                for matrix in &matrices {
                    let mut found = vector(n);
                    apply(matrix, &[a, b], &mut found, &Cancel::new()).unwrap();
                    let (old, bits) = (vector(n), [n - 1 - a, n - 1 - b]);
                    let expected: Vec<_> = (0..1 << n).map(|i| of(matrix, bits, i, &old)).collect();
                    assert_eq!(found, expected, "{n} {a} {b}");
                }
            }
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
