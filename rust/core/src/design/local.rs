//! Independent settings on blocks of qubits: the best probabilities of each block.
//!
//! With independent blocks a word is revealed with a product of probabilities, one per block that it touches, and the
//! objective `sum_Q s_Q / prod_b P_b(Q_b)` is convex. Blocks of one qubit are the biased letters. Block after block,
//! the share of each setting is multiplied by the square root of the slope of the objective, which never makes it worse.
//!
//! Invariant: deterministic; no step makes the objective larger, and the bound that is returned is a certificate.
//! Cost: words times blocks per step, a few dozen steps.

use crate::bits::parallel::Cancel;
use crate::ensemble::{Block, LocalParity};
use crate::error::Result;
use crate::pauli::Words;

const MAX_STEPS: usize = 400;
/// When to stop: the certified relative distance from the optimum.
const TOLERANCE: f64 = 1e-4;

/// The probabilities of the settings of every block, and what no probabilities do better than.
pub(crate) fn optimise(
    words: &Words,
    scores: &[f64],
    blocks: &[Block],
    effort: u64,
    cancel: &Cancel,
) -> Result<(Vec<Vec<f64>>, f64)> {
    let needed: Vec<usize> = (0..words.len()).filter(|&i| scores[i] > 0.0).collect();
    let codes: Vec<u8> = (blocks.iter())
        .flat_map(|block| needed.iter().map(move |&i| block.code(words.get(i)) as u8))
        .collect();
    let codes = |b: usize| &codes[b * needed.len()..(b + 1) * needed.len()];
    let mut shares: Vec<Vec<f64>> =
        blocks.iter().map(|b| vec![1.0 / b.settings().len() as f64; b.settings().len()]).collect();
    let mut bound = 0.0f64;
    let steps = (effort / ((needed.len() * blocks.len()) as u64 + 1)).clamp(4, MAX_STEPS as u64);
    for _ in 0..steps {
        cancel.check()?;
        // What every word contributes to the objective.
        let mut parts: Vec<f64> = needed.iter().map(|&i| scores[i]).collect();
        for (b, block) in blocks.iter().enumerate() {
            let reveals = revealed(block, &shares[b]);
            parts.iter_mut().zip(codes(b)).for_each(|(part, &c)| *part /= reveals[c as usize]);
        }
        let value: f64 = parts.iter().sum();
        // Block by block from the same point, which certifies it: the objective is convex in all shares.
        let load = |b: usize, parts: &[f64]| {
            let mut loads = vec![0.0; 1 << (2 * blocks[b].qubits().len())];
            parts.iter().zip(codes(b)).for_each(|(part, &c)| loads[c as usize] += part);
            loads
        };
        let excess: f64 = (0..blocks.len())
            .map(|b| {
                let loads = load(b, &parts);
                let steepest = slopes(&blocks[b], &shares[b], &loads).into_iter().fold(0.0, f64::max);
                steepest - loads[1..].iter().sum::<f64>()
            })
            .sum();
        bound = bound.max(value - excess);
        if excess <= TOLERANCE * value {
            break;
        }
        // One after the other, because a step in all at once may overshoot.
        for (b, block) in blocks.iter().enumerate() {
            let before = revealed(block, &shares[b]);
            let steps = slopes(block, &shares[b], &load(b, &parts));
            if steps.iter().all(|slope| *slope == 0.0) {
                continue; // no word touches the block
            }
            shares[b].iter_mut().zip(steps).for_each(|(share, slope)| *share *= slope.sqrt());
            let total: f64 = shares[b].iter().sum();
            shares[b].iter_mut().for_each(|share| *share /= total);
            let after = revealed(block, &shares[b]);
            let ratio: Vec<f64> = before.iter().zip(&after).map(|(b, a)| b / a).collect();
            parts.iter_mut().zip(codes(b)).for_each(|(part, &c)| *part *= ratio[c as usize]);
        }
    }
    Ok((shares, bound))
}

/// How much of the objective each setting of a block would lower: minus its derivative.
fn slopes(block: &Block, shares: &[f64], loads: &[f64]) -> Vec<f64> {
    let revealed = revealed(block, shares);
    let slope = |parity: &LocalParity| {
        let c = parity.code as usize;
        if loads[c] > 0.0 { loads[c] / revealed[c] } else { 0.0 }
    };
    block.parities().chunks_exact(local_words(block)).map(|reveals| reveals.iter().map(slope).sum()).collect()
}

/// How many local words a setting of a block reveals.
fn local_words(block: &Block) -> usize {
    (1 << block.qubits().len()) - 1
}

/// The probability that each local word is revealed; 1 for the identity.
fn revealed(block: &Block, shares: &[f64]) -> Vec<f64> {
    let mut revealed = vec![0.0; 1 << (2 * block.qubits().len())];
    for (reveals, share) in block.parities().chunks_exact(local_words(block)).zip(shares) {
        reveals.iter().for_each(|parity| revealed[parity.code as usize] += share);
    }
    revealed[0] = 1.0;
    revealed
}
