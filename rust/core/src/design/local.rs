//! Independent settings on blocks of qubits: the best probabilities of each block.
//!
//! With independent blocks a word is revealed with a product of probabilities, one per block that it touches, and the
//! objective `sum_Q s_Q / prod_b P_b(Q_b)` is a geometric program. Blocks of one qubit are the biased letters. The
//! damped fixed point gives each setting of a block the square root of the objective that hangs on what it reveals.
//!
//! Invariant: deterministic; the best probabilities met are returned, and they are never worse than even ones.
//! Cost: words times blocks per step, a few dozen steps.

use super::block::{Block, LocalReading};
use crate::bits::parallel::Cancel;
use crate::error::Result;
use crate::pauli::Words;

const MAX_STEPS: usize = 400;
const TOLERANCE: f64 = 1e-7;

/// The probabilities of the settings of every block, and the objective.
pub(crate) fn optimise(
    words: &Words,
    scores: &[f64],
    blocks: &[Block],
    effort: u64,
    cancel: &Cancel,
) -> Result<(Vec<Vec<f64>>, f64)> {
    let needed: Vec<usize> = (0..words.len()).filter(|&i| scores[i] > 0.0).collect();
    let codes: Vec<u8> = (needed.iter())
        .flat_map(|&i| blocks.iter().map(move |block| block.code(words.get(i)) as u8))
        .collect();
    let even = |b: &Block| vec![1.0 / b.settings().len() as f64; b.settings().len()];
    let mut shares: Vec<Vec<f64>> = blocks.iter().map(even).collect();
    let mut best = (shares.clone(), f64::INFINITY);
    let steps = (effort / (codes.len() as u64 + 1)).clamp(4, MAX_STEPS as u64);
    for _ in 0..steps {
        cancel.check()?;
        let revealed: Vec<Vec<f64>> = blocks.iter().zip(&shares).map(|(b, s)| revealed(b, s)).collect();
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
            for (share, reveals) in shares.iter_mut().zip(block.readings().chunks_exact(local_words(block))) {
                let term = |reading: &LocalReading| {
                    let c = reading.code as usize;
                    if hangs[c] > 0.0 { hangs[c] / revealed[c] } else { 0.0 }
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

/// How many local words a setting of a block reveals.
fn local_words(block: &Block) -> usize {
    (1 << block.qubits().len()) - 1
}

/// The probability that each local word is revealed; 1 for the identity.
fn revealed(block: &Block, shares: &[f64]) -> Vec<f64> {
    let mut revealed = vec![0.0; 1 << (2 * block.qubits().len())];
    for (reveals, share) in block.readings().chunks_exact(local_words(block)).zip(shares) {
        reveals.iter().for_each(|reading| revealed[reading.code as usize] += share);
    }
    revealed[0] = 1.0;
    revealed
}
