//! All stabiliser bases of a few qubits: 3, 15, 135 and 2295 of them for 1 to 4 qubits.
//!
//! Found by a search from the computational basis: putting a gate in front of a rotation conjugates the group that
//! it reveals. Rotations with the fewest gates on two qubits, then the fewest gates, come first, so each basis gets
//! a shortest circuit of that kind over H, the inverse of S, and CZ.
//! Invariant: every group of 2^k commuting words appears once; the order is fixed.
//! Cost: 50 ms for four qubits, once per process.

use crate::bits::elimination::eliminate;
use crate::ensemble::{Block, MAX_BLOCK_QUBITS};
use crate::error::Result;
use crate::gates::CliffordGate;
use crate::gates::conjugate;
use crate::gates::{Clifford, Direction, clifford_table};
use crate::stabiliser::Setting;
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::OnceLock;

/// Generators of a group as (x, z) in one number, in reduced echelon form: what makes two groups comparable.
type Group = Vec<u64>;

/// Each stabiliser basis of `k` qubits with the same probability, on qubits `0 .. k`.
pub(crate) fn all_bases(k: usize) -> Block {
    static BLOCKS: [OnceLock<Block>; MAX_BLOCK_QUBITS] = [const { OnceLock::new() }; MAX_BLOCK_QUBITS];
    let make = || {
        let settings = search(k).expect("gates on the qubits of the block");
        let probabilities = vec![1.0 / settings.len() as f64; settings.len()];
        Block::new((0..k).collect(), settings, probabilities).expect("equal probabilities")
    };
    BLOCKS[k - 1].get_or_init(make).clone()
}

fn search(k: usize) -> Result<Vec<Setting>> {
    let mut moves = Vec::new();
    for a in 0..k {
        moves.push(CliffordGate::new(Clifford::H, &[a])?);
        moves.push(CliffordGate::new(Clifford::Sdg, &[a])?);
        for b in a + 1..k {
            moves.push(CliffordGate::new(Clifford::Cz, &[a, b])?);
        }
    }
    let computational: Group = (0..k).rev().map(|q| 1 << (k + q)).collect();
    // Gates as indices of moves, last gate first, so that putting one in front is a push.
    let mut open = BinaryHeap::from([Reverse((0, 0, Vec::<usize>::new(), computational))]);
    let (mut found, mut settings) = (FxHashSet::default(), Vec::new());
    while let Some(Reverse((pairs, length, gates, group))) = open.pop() {
        if !found.insert(group.clone()) {
            continue;
        }
        settings.push(Setting::from_gates(k, gates.iter().rev().map(|&i| moves[i]))?);
        for (i, gate) in moves.iter().enumerate() {
            let image = reduced(group.iter().map(|&word| moved(word, gate, k)).collect());
            if !found.contains(&image) {
                let longer = gates.iter().copied().chain([i]).collect();
                let pairs = pairs + usize::from(gate.wires().len() == 2);
                open.push(Reverse((pairs, length + 1, longer, image)));
            }
        }
    }
    Ok(settings)
}

/// The word that is read when `gate` comes before the measurement of `word`; signs do not matter here.
fn moved(word: u64, gate: &CliffordGate, k: usize) -> u64 {
    let mask = (1 << k) - 1;
    let (mut x, mut z) = ([word & mask], [word >> k]);
    conjugate(&mut x, &mut z, gate.wires(), clifford_table(gate.clifford(), Direction::Heisenberg));
    x[0] | z[0] << k
}

/// Generators in the one form that a group has, eliminated from the highest bit down.
fn reduced(mut group: Group) -> Group {
    eliminate(&mut group, 1, (0..2 * MAX_BLOCK_QUBITS).rev(), true);
    group
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_basis_is_there_once() {
        for (k, count) in [(1, 3), (2, 15), (3, 135), (4, 2295)] {
            let block = all_bases(k);
            assert_eq!(block.settings().len(), count);
            // As many settings reveal each word: probability 1 / (2^k + 1).
            let mut times = vec![0; 1 << (2 * k)];
            block.parities().iter().for_each(|r| times[usize::from(r.code)] += 1);
            assert!(times[1..].iter().all(|&t| t * ((1 << k) + 1) == count), "{k}");
            let pairs = |s: &Setting| s.gates().iter().filter(|g| g.wires().len() == 2).count();
            let product = block.settings().iter().filter(|s| pairs(s) == 0).count();
            assert_eq!(product, 3usize.pow(k as u32));
        }
    }
}
