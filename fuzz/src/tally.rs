//! `Tally::from_bytes`, with the checksum repaired: otherwise it refuses nearly everything.

use efl_core::ensemble::{Block, Ensemble};
use efl_core::estimate::Tally;
use efl_core::gates::{Clifford, CliffordGate};
use efl_core::pauli::{PauliWord, Words};
use efl_core::snapshots::Snapshots;
use efl_core::stabiliser::Setting;
use efl_core::{bits::parallel::Cancel, estimate::tally, snapshots::sample, state::StateVector};

/// Tallies of every kind of ensemble.
pub fn seeds() -> Vec<Vec<u8>> {
    let gate = |clifford, wires: &[usize]| CliffordGate::new(clifford, wires).expect("a gate");
    let bell = |n| {
        let gates = [gate(Clifford::Cnot, &[0, 1]), gate(Clifford::H, &[0]), gate(Clifford::S, &[1])];
        Setting::from_gates(n, gates).expect("a setting")
    };
    let product = |letters: &str| Setting::product(letters).expect("a setting");
    let pair = Block::new(vec![2, 0], vec![bell(2), product("XY")], vec![0.25, 0.75]).expect("a block");
    let one = Block::new(vec![1], vec![product("Z")], vec![1.0]).expect("a block");
    let ensembles = [
        Ensemble::uniform(3),
        Ensemble::biased(vec![[0.5, 0.25, 0.25]; 3]),
        Ensemble::settings(vec![product("XYZ"), bell(3)], vec![0.5, 0.5]),
        Ensemble::blocks(3, vec![pair, one]),
        Ensemble::random_blocks(3, 1),
        Ensemble::random_blocks(3, 2),
    ];
    let words = ["IIZ", "XYI", "ZZZ", "III"].map(|label| PauliWord::from_label(label).expect("a label"));
    let words = Words::from_words(3, &words).expect("words of one width");
    let mut amplitudes = vec![Default::default(); 8];
    amplitudes[5] = efl_core::pauli::Phase::ONE.to_complex();
    let state = StateVector::new(&amplitudes).expect("a state");
    let bytes = ensembles.map(|ensemble| {
        let snaps: Snapshots =
            sample(&state, &ensemble.expect("an ensemble"), 40, 7, &Cancel::new()).expect("snapshots");
        tally(&snaps, &words, 2, &Cancel::new()).and_then(|tally| tally.to_bytes()).expect("a tally")
    });
    bytes.into()
}

/// Reads; what is accepted is written back as it was, merges with itself and answers.
pub fn run(data: &[u8]) {
    let mut bytes = data.to_vec();
    if bytes.len() > 12 {
        bytes[..8].copy_from_slice(b"EFLTALLY");
        let body = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..body]).to_le_bytes();
        bytes[body..].copy_from_slice(&crc);
    }
    let Ok(tally) = Tally::from_bytes(&bytes) else { return };
    let again = tally.to_bytes().expect("as many bytes as there were");
    let read = Tally::from_bytes(&again).expect("bytes of our own");
    assert!(read == tally, "another tally came back");
    assert!(read.to_bytes().expect("as many bytes as there were") == again, "other bytes came back");
    if tally.shots() < 1 << 40 {
        let twice = tally.merge(&read).expect("a tally of the same words");
        assert_eq!(twice.shots(), 2 * tally.shots());
    }
    for word in tally.words().iter() {
        let h = tally.ensemble().reveal_probability(word).expect("a word of the same width");
        assert!((0.0..=1.0 + 1e-9).contains(&h), "a word is revealed with probability {h}");
    }
}
