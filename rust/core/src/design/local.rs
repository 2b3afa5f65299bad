//! Independent settings on blocks of qubits: the best probabilities of each block.
//!
//! With independent blocks a word is revealed with a product of probabilities, one per block that it touches, and the
//! objective `sum_Q s_Q / prod_b P_b(Q_b)` is a geometric program. Blocks of one qubit are the biased letters. The
//! damped fixed point gives each setting of a block the square root of the objective that hangs on what it reveals.
//!
//! Invariant: deterministic; the best probabilities met are returned, and they are never worse than even ones.
//! Cost: words times blocks per step, a few dozen steps.

use crate::bits::parallel::Cancel;
use crate::error::Result;
use crate::pauli::Words;

/// A block and, for each of its settings, the local words that it reveals: two bits per qubit, x then z.
pub(crate) struct LocalBlock {
    pub(crate) qubits: Vec<usize>,
    pub(crate) reveals: Vec<Vec<u16>>,
}

const MAX_STEPS: usize = 400;
const TOLERANCE: f64 = 1e-7;

/// The probabilities of the settings of every block, and the objective.
pub(crate) fn optimise(
    words: &Words,
    scores: &[f64],
    blocks: &[LocalBlock],
    effort: u64,
    cancel: &Cancel,
) -> Result<(Vec<Vec<f64>>, f64)> {
    let needed: Vec<usize> = (0..words.len()).filter(|&i| scores[i] > 0.0).collect();
    let codes: Vec<u16> = (needed.iter())
        .flat_map(|&i| {
            let word = words.get(i);
            blocks.iter().map(move |block| {
                let code = |(j, &q): (usize, &usize)| {
                    let letter = word.letter(q);
                    (u16::from(letter.x()) | u16::from(letter.z()) << 1) << (2 * j)
                };
                block.qubits.iter().enumerate().map(code).sum::<u16>()
            })
        })
        .collect();
    let even = |b: &LocalBlock| vec![1.0 / b.reveals.len() as f64; b.reveals.len()];
    let mut shares: Vec<Vec<f64>> = blocks.iter().map(even).collect();
    let mut best = (shares.clone(), f64::INFINITY);
    let steps = (effort / (codes.len() as u64 + 1)).clamp(4, MAX_STEPS as u64);
    for _ in 0..steps {
        cancel.check()?;
        let revealed: Vec<Vec<f64>> = blocks.iter().zip(&shares).map(|(b, s)| b.revealed(s)).collect();
        let mut hangs: Vec<Vec<f64>> = revealed.iter().map(|r| vec![0.0; r.len()]).collect();
        let mut value = 0.0;
        for (&i, codes) in needed.iter().zip(codes.chunks_exact(blocks.len())) {
            let h: f64 = codes.iter().zip(&revealed).map(|(&c, r)| r[c as usize]).product();
            let part = scores[i] / h;
            value += part;
            codes.iter().zip(&mut hangs).for_each(|(&c, m)| m[c as usize] += part);
        }
        let gained = best.1 - value;
        if gained > 0.0 {
            best = (shares.clone(), value);
        }
        if gained.is_finite() && gained.abs() <= TOLERANCE * value {
            break;
        }
        for ((block, shares), (hangs, revealed)) in
            blocks.iter().zip(&mut shares).zip(hangs.iter().zip(&revealed))
        {
            for (share, reveals) in shares.iter_mut().zip(&block.reveals) {
                let term = |&c: &u16| {
                    if hangs[c as usize] > 0.0 { hangs[c as usize] / revealed[c as usize] } else { 0.0 }
                };
                *share *= reveals.iter().map(term).sum::<f64>().sqrt();
            }
            let total: f64 = shares.iter().sum();
            if total > 0.0 {
                shares.iter_mut().for_each(|s| *s /= total);
            } else {
                *shares = even(block); // no word touches the block
            }
        }
    }
    Ok(best)
}

impl LocalBlock {
    /// The probability that each local word is revealed; 1 for the identity.
    fn revealed(&self, shares: &[f64]) -> Vec<f64> {
        let mut revealed = vec![0.0; 1 << (2 * self.qubits.len())];
        for (reveals, share) in self.reveals.iter().zip(shares) {
            reveals.iter().for_each(|&c| revealed[c as usize] += share);
        }
        revealed[0] = 1.0;
        revealed
    }
}
