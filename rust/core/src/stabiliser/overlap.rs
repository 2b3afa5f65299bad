//! Stabiliser bases against state vectors.
//!
//! The elements of a basis are spread evenly over an affine space: on turned qubits the index is a linear function of the
//! index on the others, shifted by the outcome, and phases are powers of i: -1 for each pair that M couples, i for each one
//! on its diagonal. So an amplitude is a signed sum over `2^r` amplitudes of the vector, with r qubits not turned, and a
//! sample is drawn by halving a vector of that length r times. No gate is applied, no rotated vector is kept.
//!
//! Invariant: sums are added in a fixed order. Cost: one pass over `2^r` amplitudes (an amplitude of the basis: 1 ns each;
//! a sample: 4 ns each), nearly always r > n - 3.

use super::graph::GraphBasis;
use num_complex::Complex64;

/// Qubits of the inner loop.
const INNER: usize = 5;
const LANES: usize = 1 << INNER;

/// `(-1)^|row & column|`.
static SIGNS: [[f64; LANES]; LANES] = {
    let mut table = [[1.0; LANES]; LANES];
    let (mut row, mut column) = (0, 0);
    while row < LANES {
        while column < LANES {
            if (row & column).count_ones() % 2 == 1 {
                table[row][column] = -1.0;
            }
            column += 1;
        }
        (row, column) = (row + 1, 0);
    }
    table
};

const POWERS: [[f64; 2]; 4] = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];

/// The bits of a row, as the bits of an index: qubit 0 is the most significant of `n`.
#[inline(always)]
fn as_index(row: u64, n: usize) -> u32 {
    (row.reverse_bits() >> (64 - n)) as u32
}

/// The space that the elements of a basis are spread over, and their phases.
#[derive(Debug)]
pub(crate) struct Spread {
    /// Number of qubits that are not turned.
    free: usize,
    /// Bits of the index of the qubits that are not turned.
    pivots: u32,
    /// Of the last qubits: where they are, and the power of i.
    inner: [u32; LANES],
    /// Whether they are all of the lowest bits of an index, in order.
    contiguous: bool,
    factor: [[f64; LANES]; 2],
    /// Of the others: where they are, the power of i, and the inner qubits that they couple to.
    outer: Vec<(u32, u8, u8)>,
    halves: [Vec<f64>; 2],
}

impl Spread {
    pub(crate) fn new() -> Self {
        let [inner, factor] = [[0; LANES], [0; LANES]];
        let factor = [factor.map(f64::from); 2];
        Spread {
            free: 0,
            pivots: 0,
            inner,
            contiguous: false,
            factor,
            outer: Vec::new(),
            halves: [Vec::new(), Vec::new()],
        }
    }

    /// Takes a basis of at most 30 qubits, and which of its elements: those whose turned readout bits are those of the outcome,
    /// and of their phases those of the outcome.
    #[inline(always)]
    pub(crate) fn take(&mut self, basis: &GraphBasis, outcome: u64) {
        let n = basis.n_qubits();
        let turned = as_index(basis.turned()[0], n);
        let outcome = as_index(outcome, n);
        self.pivots = !turned & (u64::MAX >> (64 - n)) as u32;
        self.free = self.pivots.count_ones() as usize;
        let own = self.free.min(INNER);
        self.factor = [[0.0; LANES]; 2];
        let mut phases = [0u8; LANES];
        self.inner[0] = outcome & turned;
        self.outer.clear();
        self.outer.push((0, 0, 0));
        // Where each bit of the index is among the pivots.
        let mut place = [0u8; 32];
        let mut left = self.pivots;
        for i in 0..self.free {
            let bit = left.trailing_zeros();
            left &= left - 1;
            place[bit as usize] = i as u8;
            let row = as_index(basis.row(n - 1 - bit as usize)[0], n);
            let flips = row & turned | 1 << bit;
            // The element has i on the diagonal, so its conjugate -i.
            let phase = if row >> bit & 1 == 1 { 3 } else { 0 } + 2 * (outcome >> bit & 1) as u8;
            let mut coupled = row & self.pivots & ((1 << bit) - 1);
            let mut coupling = 0u32;
            while coupled != 0 {
                coupling |= 1 << place[coupled.trailing_zeros() as usize];
                coupled &= coupled - 1;
            }
            if i < own {
                for k in 0..1 << i {
                    let odd = (k as u32 & coupling).count_ones() as u8 & 1;
                    self.inner[1 << i | k] = self.inner[k] ^ flips;
                    phases[1 << i | k] = phases[k] + phase + 2 * odd;
                }
            } else {
                let (inner, outer) = ((coupling & (LANES as u32 - 1)) as u8, coupling >> INNER);
                for k in 0..1usize << (i - INNER) {
                    let (at, power, couples) = self.outer[k];
                    let odd = (k as u32 & outer).count_ones() as u8 & 1;
                    self.outer.push((at ^ flips, power.wrapping_add(phase + 2 * odd), couples ^ inner));
                }
            }
        }
        // Then the other bits of an outer place are all higher.
        self.contiguous = own == INNER && (0..INNER).all(|i| self.inner[1 << i] == self.inner[0] ^ 1 << i);
        for k in 0..1 << own {
            let [re, im] = POWERS[usize::from(phases[k] & 3)];
            (self.factor[0][k], self.factor[1][k]) = (re, im);
        }
    }

    /// The amplitudes of a vector at the inner places of an outer one; the last ones mean nothing if there are fewer.
    #[inline(always)]
    fn at<'a>(
        &self,
        outer: u32,
        vector: &'a [Complex64],
        buffer: &'a mut [Complex64; LANES],
    ) -> &'a [Complex64; LANES] {
        if self.contiguous
            && let Some(found) = vector[(outer ^ self.inner[0]) as usize..].first_chunk()
        {
            return found;
        }
        for (value, &inner) in buffer.iter_mut().zip(&self.inner) {
            *value = vector[(outer ^ inner) as usize & (vector.len() - 1)];
        }
        buffer
    }

    /// The inner product of the element with a vector of the same width.
    #[inline(always)]
    pub(crate) fn amplitude(&self, vector: &[Complex64]) -> Complex64 {
        let (mut re, mut im) = ([0.0; LANES], [0.0; LANES]);
        let mut buffer = [Complex64::default(); LANES];
        for &(at, power, couples) in &self.outer {
            let signs = &SIGNS[usize::from(couples)];
            let [c, s] = POWERS[usize::from(power & 3)];
            for (k, value) in self.at(at, vector, &mut buffer).iter().enumerate() {
                let (a, b) = (signs[k] * value.re, signs[k] * value.im);
                re[k] += c * a - s * b;
                im[k] += c * b + s * a;
            }
        }
        let (mut sum_re, mut sum_im) = ([0.0; 8], [0.0; 8]);
        for k in 0..LANES {
            let (c, s) = (self.factor[0][k], self.factor[1][k]);
            sum_re[k % 8] += c * re[k] - s * im[k];
            sum_im[k % 8] += c * im[k] + s * re[k];
        }
        let fold = |v: [f64; 8]| ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
        Complex64::new(fold(sum_re), fold(sum_im)) * norm(self.free)
    }

    /// Measures a normalised vector in a basis of at most 30 qubits. `cumulative` has the sums of the squares of its
    /// amplitudes, `random` gives numbers in [0, 1).
    #[inline(always)]
    pub(crate) fn measure(
        &mut self,
        basis: &GraphBasis,
        vector: &[Complex64],
        cumulative: &[f64],
        mut random: impl FnMut() -> f64,
    ) -> u64 {
        // A readout of all qubits in the computational basis gives the turned bits their probabilities.
        let n = basis.n_qubits();
        let point = random() * cumulative[cumulative.len() - 1];
        let index = cumulative.partition_point(|&edge| edge <= point).min(vector.len() - 1);
        let row = (index as u64).reverse_bits() >> (64 - n);
        let mut outcome = 0;
        let mut left = basis.turned()[0];
        while left != 0 {
            let q = left.trailing_zeros() as usize;
            let parity = (basis.row(q)[0] & row).count_ones() as u64 & 1 ^ row >> q & 1;
            outcome |= parity << q;
            left &= left - 1;
        }
        self.take(basis, outcome);
        outcome | u64::from(self.draw(vector, random)).reverse_bits() >> (64 - n)
    }

    /// Draws the readout bits of the qubits that are not turned, as bits of an index. Those of the outcome that was taken
    /// are zero, its others have been drawn.
    #[inline(always)]
    fn draw(&mut self, vector: &[Complex64], mut random: impl FnMut() -> f64) -> u32 {
        let used = LANES.min(1 << self.free);
        let [mut re, mut im] = std::mem::take(&mut self.halves);
        re.clear();
        im.clear();
        let mut buffer = [Complex64::default(); LANES];
        for &(at, power, couples) in &self.outer {
            let signs = &SIGNS[usize::from(couples)];
            let [c, s] = POWERS[usize::from(power & 3)];
            let (mut own_re, mut own_im) = ([0.0; LANES], [0.0; LANES]);
            for (k, value) in self.at(at, vector, &mut buffer).iter().enumerate() {
                let (inner_re, inner_im) = (self.factor[0][k], self.factor[1][k]);
                let (c, s) = (c * inner_re - s * inner_im, c * inner_im + s * inner_re);
                own_re[k] = signs[k] * (c * value.re - s * value.im);
                own_im[k] = signs[k] * (c * value.im + s * value.re);
            }
            re.extend_from_slice(&own_re[..used]);
            im.extend_from_slice(&own_im[..used]);
        }
        let (mut length, mut drawn) = (re.len(), 0u32);
        // From the first pivot to the last, which are the high and the low bits of the place in the vector.
        for i in (0..self.free).rev() {
            length /= 2;
            let (low_re, high_re) = re[..2 * length].split_at_mut(length);
            let (low_im, high_im) = im[..2 * length].split_at_mut(length);
            let (mut own, mut cross) = ([0.0; 8], [0.0; 8]);
            for k in 0..length {
                let (a, b, c, d) = (low_re[k], low_im[k], high_re[k], high_im[k]);
                own[k % 8] += (a * a + b * b) + (c * c + d * d);
                cross[k % 8] += a * c + b * d;
            }
            let (own, cross): (f64, f64) = (own.iter().sum(), cross.iter().sum());
            let one = random() * 2.0 * own >= own + 2.0 * cross;
            let sign = if one { -1.0 } else { 1.0 };
            for k in 0..length {
                low_re[k] = (low_re[k] + sign * high_re[k]) * 0.5;
                low_im[k] = (low_im[k] + sign * high_im[k]) * 0.5;
            }
            drawn |= u32::from(one) << i;
        }
        self.halves = [re, im];
        // From places among the pivots to bits of the index.
        let (mut left, mut index) = (self.pivots, 0);
        for i in 0..self.free {
            index |= (drawn >> i & 1) << left.trailing_zeros();
            left &= left - 1;
        }
        index
    }
}

/// `2^(-r / 2)`.
fn norm(r: usize) -> f64 {
    0.5f64.powi((r / 2) as i32) * if r % 2 == 1 { std::f64::consts::FRAC_1_SQRT_2 } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bits::parallel::Cancel;
    use crate::bits::philox::{RandomBits, unit_interval};
    use crate::state::apply;

    /// Amplitudes that are all different.
    fn vector(n: usize) -> Vec<Complex64> {
        let mut random = RandomBits::new([n as u64, 17], [0; 3]);
        let mut number = || unit_interval(random.take(64)) - 0.5;
        let drawn: Vec<_> = (0..1 << n).map(|_| Complex64::new(number(), number())).collect();
        let norm = drawn.iter().map(Complex64::norm_sqr).sum::<f64>().sqrt();
        drawn.into_iter().map(|a| a / norm).collect()
    }

    #[test]
    fn amplitudes_are_those_of_the_rotated_vector_up_to_phases() {
        for n in 1..=8 {
            let vector = vector(n);
            for seed in 0..12 {
                let mut basis = GraphBasis::new(n);
                basis.draw(&mut RandomBits::new([seed, 5], [n as u64, 0, 0]));
                let mut rotated = vector.clone();
                for gate in basis.gates() {
                    apply(&gate.clifford().matrix(), gate.wires(), &mut rotated, &Cancel::new()).unwrap();
                }
                let mut spread = Spread::new();
                for (index, expected) in rotated.iter().enumerate() {
                    spread.take(&basis, (index as u64).reverse_bits() >> (64 - n));
                    assert!((spread.amplitude(&vector) - expected).norm() < 1e-12, "{n} {seed} {index}");
                }
            }
        }
    }

    #[test]
    fn outcomes_have_the_probabilities_of_the_rotated_vector() {
        for n in [1, 3, 6] {
            let vector = vector(n);
            let mut sum = 0.0;
            let cumulative: Vec<f64> = vector
                .iter()
                .map(|a| {
                    sum += a.norm_sqr();
                    sum
                })
                .collect();
            for seed in 0..6 {
                let mut basis = GraphBasis::new(n);
                basis.draw(&mut RandomBits::new([seed, 5], [n as u64, 0, 0]));
                let mut rotated = vector.clone();
                for gate in basis.gates() {
                    apply(&gate.clifford().matrix(), gate.wires(), &mut rotated, &Cancel::new()).unwrap();
                }
                let (mut spread, shots) = (Spread::new(), 20_000);
                let mut random = RandomBits::new([seed, 6], [n as u64, 0, 0]);
                let mut counts = vec![0.0; 1 << n];
                for _ in 0..shots {
                    let number = || unit_interval(random.take(64));
                    let outcome = spread.measure(&basis, &vector, &cumulative, number);
                    counts[as_index(outcome, n) as usize] += 1.0;
                }
                // Chi squared: 5 sigma above its mean has a false-alarm rate below 1e-4 for all of the cases.
                let expected = |index: usize| f64::from(shots) * rotated[index].norm_sqr();
                let chi: f64 = (0..1 << n).map(|i| (counts[i] - expected(i)).powi(2) / expected(i)).sum();
                let degrees = f64::from((1 << n) - 1);
                assert!(chi < degrees + 5.0 * (2.0 * degrees).sqrt() + 10.0, "{n} {seed}: {chi}");
            }
        }
    }
}
