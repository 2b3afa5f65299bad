//! How the words of a setting vary together, as a matrix that is multiplied by what they contribute.
//!
//! Invariant: all ways of multiplying are the same product, up to rounding; which one is taken depends on sizes alone.
//! Cost: the matrix, where it is kept, or two transforms of `2^n` numbers.

use crate::bits::dispatch::{Kernel, dispatch};
use crate::bits::hadamard;

/// A pass over the matrix takes this part of the time of a transform with as many operations.
const FASTER: usize = 2;
/// Rows of the matrix that are added at once.
const ROWS: usize = 4;

/// The covariances of the words of a setting.
pub(super) struct Covariances {
    /// For each word the mask of its parity, and -1 where an even parity means that.
    masks: Vec<(usize, f64)>,
    /// Of every parity of the outcomes.
    means: Vec<f64>,
    /// The means, transformed, in the place of a matrix.
    weights: Vec<f64>,
    /// All covariances, row after row; empty where transforms are less work, or there is no room.
    matrix: Vec<f64>,
}

impl Covariances {
    /// Those of words with these masks, where parities have these means. The matrix takes its place from `room`.
    pub(super) fn new(masks: Vec<(usize, f64)>, means: Vec<f64>, room: &mut usize) -> Self {
        let pairs = masks.len().saturating_mul(masks.len());
        let (mut matrix, mut weights) = (Vec::new(), Vec::new());
        if pairs <= FASTER * transforms(means.len()) && pairs <= *room {
            *room -= pairs;
            matrix.reserve_exact(pairs);
            for (a, sign) in &masks {
                let own = sign * means[*a];
                matrix.extend(
                    masks.iter().map(|(b, other)| sign * other * means[a ^ b] - own * (other * means[*b])),
                );
            }
        } else {
            weights.clone_from(&means);
            hadamard(&mut weights);
            let scale = means.len() as f64;
            weights.iter_mut().for_each(|w| *w /= scale);
        }
        Covariances { masks, means, weights, matrix }
    }

    /// The covariances of some of the words with a combination of them.
    pub(super) fn times(&self, places: &[u32], x: &[f64], out: &mut [f64]) {
        let n = self.masks.len();
        out.fill(0.0);
        if self.matrix.is_empty() {
            self.without_matrix(places, x, out);
        } else if places.len() == n {
            dispatch(Multiplied { matrix: &self.matrix, x, out });
        } else {
            for (&place, x) in places.iter().zip(x).filter(|(_, x)| **x != 0.0) {
                let row = &self.matrix[place as usize * n..][..n];
                out.iter_mut().zip(places).for_each(|(out, &other)| *out += x * row[other as usize]);
            }
        }
    }

    fn without_matrix(&self, places: &[u32], x: &[f64], out: &mut [f64]) {
        let terms = || places.iter().map(|&place| self.masks[place as usize]);
        let mean: f64 = terms().zip(x).map(|((mask, sign), x)| sign * x * self.means[mask]).sum();
        let used: Vec<(usize, f64)> =
            terms().zip(x).filter(|(_, x)| **x != 0.0).map(|((m, sign), x)| (m, sign * x)).collect();
        if used.len() * places.len() <= transforms(self.means.len()) {
            for (out, (mask, sign)) in out.iter_mut().zip(terms()) {
                let all: f64 = used.iter().map(|(other, x)| x * self.means[mask ^ other]).sum();
                *out = sign * (all - self.means[mask] * mean);
            }
            return;
        }
        // A sum over the differences of masks is a product of what their transforms are.
        let mut values = vec![0.0; self.means.len()];
        used.iter().for_each(|(mask, x)| values[*mask] += x);
        hadamard(&mut values);
        values.iter_mut().zip(&self.weights).for_each(|(v, w)| *v *= w);
        hadamard(&mut values);
        for (out, (mask, sign)) in out.iter_mut().zip(terms()) {
            *out = sign * (values[mask] - self.means[mask] * mean);
        }
    }
}

/// The operations of two transforms of so many numbers.
pub(super) fn transforms(length: usize) -> usize {
    2 * length.ilog2() as usize * length
}

/// A symmetric matrix times a vector, row by row in their order.
struct Multiplied<'a> {
    matrix: &'a [f64],
    x: &'a [f64],
    out: &'a mut [f64],
}

impl Kernel for Multiplied<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Multiplied { matrix, x, out } = self;
        let n = out.len();
        let blocks = x.chunks_exact(ROWS).zip(matrix.chunks_exact(ROWS * n));
        for (x, rows) in blocks.filter(|(x, _)| x.iter().any(|x| *x != 0.0)) {
            let (first, second) = rows.split_at(2 * n);
            let ((a, b), (c, d)) = (first.split_at(n), second.split_at(n));
            for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *out = *out + x[0] * a + x[1] * b + x[2] * c + x[3] * d;
            }
        }
        let done = x.len() / ROWS * ROWS;
        for (x, row) in x[done..].iter().zip(matrix[done * n..].chunks_exact(n)) {
            out.iter_mut().zip(row).for_each(|(out, own)| *out += x * own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Means of all parities of some outcomes, by counting.
    fn means(n: usize, outcomes: &[usize]) -> Vec<f64> {
        let sign =
            |mask: usize, o: &usize| if (o & mask).count_ones().is_multiple_of(2) { 1.0 } else { -1.0 };
        let all = outcomes.len() as f64;
        (0..1usize << n).map(|mask| outcomes.iter().map(|o| sign(mask, o)).sum::<f64>() / all).collect()
    }

    #[test]
    fn all_ways_of_multiplying_are_the_covariances_of_the_outcomes() {
        let mut state = 3u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        for n in 1..7usize {
            let outcomes: Vec<usize> = (0..40).map(|_| below(1 << n)).collect();
            let means = means(n, &outcomes);
            let masks: Vec<(usize, f64)> = (1..1usize << n)
                .map(|mask| (mask, below(6)))
                .filter(|(_, drawn)| *drawn > 1)
                .map(|(mask, drawn)| (mask, if drawn % 2 == 0 { 1.0 } else { -1.0 }))
                .collect();
            let all: Vec<u32> = (0..masks.len() as u32).collect();
            let some: Vec<u32> = all.iter().copied().filter(|place| place % 3 != 1).collect();
            let with = Covariances::new(masks.clone(), means.clone(), &mut usize::MAX.clone());
            let without = Covariances::new(masks.clone(), means.clone(), &mut 0);
            for places in [all, some] {
                let x: Vec<f64> = places.iter().map(|p| f64::from(p % 5) - 1.0).collect();
                let value = |o: &usize, place: &u32| {
                    let (mask, sign) = masks[*place as usize];
                    if (o & mask).count_ones().is_multiple_of(2) { sign } else { -sign }
                };
                let mean =
                    |of: &dyn Fn(&usize) -> f64| outcomes.iter().map(of).sum::<f64>() / outcomes.len() as f64;
                let sum = |o: &usize| places.iter().zip(&x).map(|(p, x)| x * value(o, p)).sum::<f64>();
                for covariances in [&with, &without] {
                    let mut found = vec![7.0; places.len()];
                    covariances.times(&places, &x, &mut found);
                    for (place, found) in places.iter().zip(found) {
                        let expected = mean(&|o| value(o, place) * sum(o))
                            - mean(&|o| value(o, place)) * mean(&|o| sum(o));
                        assert!((found - expected).abs() < 1e-12, "{n} {place} {found} {expected}");
                    }
                }
            }
        }
    }
}
