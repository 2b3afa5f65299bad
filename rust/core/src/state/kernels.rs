//! The loops over amplitudes: safe code over runs that lie side by side, compiled for each instruction set.
//!
//! Invariant: an amplitude is the same sum of the same products whatever the instruction set, the stride, and the
//! piece it is in; terms that a matrix has zeros for may be left out, which changes the sign of zeros only.
//! Cost: 0.3 to 1 ns per amplitude.

use crate::bits::dispatch::Kernel;
use crate::bits::real::sin_cos;
use num_complex::Complex64;
use std::array::from_fn;
use std::ops::Range;

/// A matrix on one wire.
pub(super) struct One<'a> {
    pub(super) matrix: &'a [Complex64; 4],
    pub(super) stride: usize,
    pub(super) amplitudes: &'a mut [Complex64],
}

impl Kernel for One<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        if self.stride == 1 {
            let m = self.matrix;
            for [a, b] in self.amplitudes.as_chunks_mut::<2>().0 {
                (*a, *b) = (m[0] * *a + m[1] * *b, m[2] * *a + m[3] * *b);
            }
            return;
        }
        for pair in self.amplitudes.chunks_exact_mut(2 * self.stride) {
            let (low, high) = pair.split_at_mut(self.stride);
            Pairs { matrix: self.matrix, low, high }.run();
        }
    }
}

/// Amplitudes that a gate on one wire mixes.
pub(super) struct Pairs<'a> {
    pub(super) matrix: &'a [Complex64; 4],
    pub(super) low: &'a mut [Complex64],
    pub(super) high: &'a mut [Complex64],
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

/// A matrix that exchanges amplitudes and multiplies them by numbers, as CNOT, CZ and SWAP do.
#[derive(Clone, Copy)]
pub(super) struct Exchange {
    /// Where what comes to each of the four places is from.
    from: [usize; 4],
    factors: [Complex64; 4],
}

impl Exchange {
    /// What a matrix is that has one entry in each row and column.
    pub(super) fn of(matrix: &[Complex64; 16]) -> Option<Exchange> {
        let mut found = Exchange { from: [0; 4], factors: [Complex64::default(); 4] };
        for (row, entries) in matrix.as_chunks::<4>().0.iter().enumerate() {
            let mut others = entries.iter().enumerate().filter(|(_, entry)| **entry != Complex64::default());
            let (Some((from, entry)), None) = (others.next(), others.next()) else { return None };
            if found.from[..row].contains(&from) {
                return None;
            }
            (found.from[row], found.factors[row]) = (from, *entry);
        }
        Some(found)
    }
}

/// A matrix on two wires.
pub(super) struct Two<'a> {
    pub(super) matrix: &'a [Complex64; 16],
    /// What it is, if it is no more than that.
    pub(super) exchange: Option<Exchange>,
    /// Index bits of the wires.
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) quarters: Range<usize>,
    pub(super) amplitudes: &'a mut [Complex64],
}

/// Shorter runs of amplitudes are gone through index by index.
const RUN: usize = 4;

impl Kernel for Two<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Two { matrix, exchange, first, second, quarters, amplitudes } = self;
        let (low, high) = (first.min(second), first.max(second));
        // The index with zeros put in at both wires.
        let index = |quarter: usize| {
            let i = (quarter & !(low - 1)) << 1 | quarter & (low - 1);
            (i & !(high - 1)) << 1 | i & (high - 1)
        };
        if low < RUN {
            for quarter in quarters {
                let i = index(quarter);
                let at = [i, i | second, i | first, i | first | second];
                let old = [amplitudes[at[0]], amplitudes[at[1]], amplitudes[at[2]], amplitudes[at[3]]];
                if let Some(Exchange { from, factors }) = exchange {
                    for row in 0..4 {
                        amplitudes[at[row]] = factors[row] * old[from[row] % 4];
                    }
                    continue;
                }
                for (row, place) in matrix.as_chunks::<4>().0.iter().zip(at) {
                    amplitudes[place] = row[0] * old[0] + row[1] * old[1] + row[2] * old[2] + row[3] * old[3];
                }
            }
            return;
        }
        let mut quarter = quarters.start;
        while quarter < quarters.end {
            let skipped = quarter & (low - 1);
            let length = (low - skipped).min(quarters.end - quarter);
            let (a, rest) = amplitudes[index(quarter - skipped)..].split_at_mut(low);
            let (b, rest) = rest.split_at_mut(high - low);
            let (c, d) = rest.split_at_mut(low);
            let (b, c) = if first > second { (b, c) } else { (c, b) };
            let run = skipped..skipped + length;
            let parts = [&mut a[run.clone()], &mut b[run.clone()], &mut c[run.clone()], &mut d[run]];
            match exchange {
                Some(exchange) => swap(exchange, parts),
                None => mix(matrix, parts),
            }
            quarter += length;
        }
    }
}

/// Mixes amplitudes with the bits 00, 01, 10 and 11.
#[inline(always)]
fn mix(matrix: &[Complex64; 16], [a, b, c, d]: [&mut [Complex64]; 4]) {
    let [p, q, r, s] = matrix.as_chunks::<4>().0 else { return }; // of four rows
    for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
        let old = [*a, *b, *c, *d];
        *a = p[0] * old[0] + p[1] * old[1] + p[2] * old[2] + p[3] * old[3];
        *b = q[0] * old[0] + q[1] * old[1] + q[2] * old[2] + q[3] * old[3];
        *c = r[0] * old[0] + r[1] * old[1] + r[2] * old[2] + r[3] * old[3];
        *d = s[0] * old[0] + s[1] * old[1] + s[2] * old[2] + s[3] * old[3];
    }
}

/// Exchanges them, and multiplies by what is not one.
#[inline(always)]
fn swap(Exchange { mut from, factors }: Exchange, mut parts: [&mut [Complex64]; 4]) {
    for row in 0..4 {
        let other = from[row];
        if other != row {
            // What was here waits where it came from; places before this one are done.
            let (before, rest) = parts.split_at_mut(other);
            before[row].swap_with_slice(rest[0]);
            from.iter_mut().filter(|from| **from == row).for_each(|from| *from = other);
        }
    }
    for (factor, part) in factors.into_iter().zip(parts) {
        if factor != Complex64::new(1.0, 0.0) {
            for a in part {
                *a = factor * *a;
            }
        }
    }
}

/// Most wires of [`Many`].
pub(super) const MAX_WIRES: usize = 4;

/// A matrix on a few wires.
pub(super) struct Many<'a> {
    pub(super) matrix: &'a [Complex64],
    /// Index bits of the wires.
    pub(super) strides: &'a [usize],
    pub(super) indices: Range<usize>,
    pub(super) amplitudes: &'a mut [Complex64],
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

/// A rotation about a word, given as masks of an index: `P |j> = i^y (-1)^(j . z) |j ^ x>`, y the number of letters Y.
#[derive(Clone, Copy)]
pub(super) struct Rotate {
    x: usize,
    z: usize,
    sin: f64,
    cos: f64,
    n_qubits: usize,
}

/// Some of the work of a rotation.
pub(super) struct Rotation<'a> {
    of: Rotate,
    tasks: Range<usize>,
    amplitudes: &'a mut [Complex64],
}

/// Amplitudes side by side that are turned together; a vector of one qubit has two.
const LANES: usize = 4;

impl Rotate {
    pub(super) fn new(x: usize, z: usize, angle: f64, n_qubits: usize) -> Self {
        let (sin, cos) = sin_cos(angle / 2.0);
        Rotate { x, z, sin, cos, n_qubits }
    }

    /// How many pieces of work it is on so many amplitudes: each of them if none are exchanged, else lanes, or pairs
    /// of those.
    pub(super) fn tasks(self, length: usize) -> usize {
        let lanes = length.min(LANES);
        match self.x {
            0 => length,
            x if x < lanes => length / lanes,
            _ => length / lanes / 2,
        }
    }

    pub(super) fn on(self, tasks: Range<usize>, amplitudes: &mut [Complex64]) -> Rotation<'_> {
        Rotation { of: self, tasks, amplitudes }
    }

    /// With `L` lanes, the index of whose partners differs by `WITHIN` in them.
    #[inline(always)]
    fn turn<const L: usize, const WITHIN: usize>(self, tasks: Range<usize>, amplitudes: &mut [Complex64]) {
        let Rotate { x, z, sin, cos, .. } = self;
        let odd = |bits: usize| bits.count_ones() % 2 == 1;
        if x == 0 {
            let (plus, minus) = (Complex64::new(cos, -sin), Complex64::new(cos, sin));
            for (i, a) in tasks.clone().zip(&mut amplitudes[tasks]) {
                *a *= if odd(i & z) { minus } else { plus };
            }
            return;
        }
        let blocks = amplitudes.as_chunks_mut::<L>().0;
        // Of even blocks and of odd ones.
        let signs = |block: usize| odd(block & (z / L)) as usize;
        // -i sin i^y, the factor of what comes from the other index, whose sign it has.
        let factor = Complex64::new(0.0, -sin) * Complex64::i().powu((x & z).count_ones() % 4);
        let factors: [[Complex64; L]; 2] = from_fn(|block| {
            from_fn(|lane| if odd((lane ^ WITHIN) & z) == (block == 1) { factor } else { -factor })
        });
        if x < L {
            for block in tasks {
                let (old, factors) = (blocks[block], &factors[signs(block)]);
                let mut new = old;
                for lane in 0..L {
                    new[lane] = cos * old[lane] + factors[lane] * old[lane ^ WITHIN];
                }
                blocks[block] = new;
            }
            return;
        }
        let (across, top) = (x / L, 1 << (x / L).ilog2());
        for half in tasks {
            let j = (half & !(top - 1)) << 1 | half & (top - 1);
            let k = j ^ across;
            let (a, b) = (blocks[j], blocks[k]);
            let (of_b, of_a) = (&factors[signs(k)], &factors[signs(j)]);
            let (mut c, mut d) = (a, b);
            for lane in 0..L {
                c[lane] = cos * a[lane] + of_b[lane] * b[lane ^ WITHIN];
                d[lane] = cos * b[lane] + of_a[lane] * a[lane ^ WITHIN];
            }
            (blocks[j], blocks[k]) = (c, d);
        }
    }
}

impl Kernel for Rotation<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Rotation { of, tasks, amplitudes } = self;
        match (of.n_qubits, of.x % LANES) {
            (1, 0) => of.turn::<2, 0>(tasks, amplitudes),
            (1, _) => of.turn::<2, 1>(tasks, amplitudes),
            (_, 0) => of.turn::<LANES, 0>(tasks, amplitudes),
            (_, 1) => of.turn::<LANES, 1>(tasks, amplitudes),
            (_, 2) => of.turn::<LANES, 2>(tasks, amplitudes),
            _ => of.turn::<LANES, 3>(tasks, amplitudes),
        }
    }
}
