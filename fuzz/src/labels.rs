//! Labels of words, and settings from letters and from gates.

use efl_core::gates::{Clifford, CliffordGate};
use efl_core::pauli::{PauliSum, PauliWord};
use efl_core::stabiliser::Setting;

/// Labels, and gates in the form that [`run`] reads.
pub fn seeds() -> Vec<Vec<u8>> {
    let wide = "IXYZ".repeat(33);
    let texts = ["X", "IXYZ", "ZZZZZZZZ", &wide, "XY Z", "xyz", "X\u{e9}Y"];
    texts.iter().map(|text| text.as_bytes().to_vec()).chain([(0..64).collect(), vec![0x80; 9]]).collect()
}

/// As a label, and as gates on a few qubits.
pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(word) = PauliWord::from_label(&text) {
        assert_eq!(word.to_string(), text);
        assert_eq!(word.weight(), word.support().count());
        let sum = PauliSum::from_labels([(&*text, 0.5), (&*text, 0.25)]).expect("a word twice");
        assert_eq!((sum.len(), sum.coefficient(&word)), (1, 0.75));
        match Setting::product(&text) {
            Ok(setting) => check(&setting, &word),
            Err(_) => assert!(word.weight() < word.n_qubits()),
        }
    }
    gates(data);
}

/// The first byte is the number of qubits, then three for each gate.
fn gates(data: &[u8]) {
    let Some((&first, rest)) = data.split_first() else { return };
    let n = usize::from(first);
    let gates = rest.chunks_exact(3).take(64).filter_map(|bytes| {
        let clifford = Clifford::ALL[usize::from(bytes[0]) % Clifford::ALL.len()];
        let wires = [usize::from(bytes[1]), usize::from(bytes[2])];
        CliffordGate::new(clifford, &wires[..clifford.n_wires()]).ok()
    });
    // Most wires are too large for the register: half of the inputs are folded into it.
    let fold = |gate: CliffordGate| {
        let wires: Vec<usize> = gate.wires().iter().map(|q| q % n.max(1)).collect();
        CliffordGate::new(gate.clifford(), &wires).ok()
    };
    let gates: Vec<CliffordGate> =
        if data.len() % 2 == 0 { gates.filter_map(fold).collect() } else { gates.collect() };
    let fits = (1..=1 << 20).contains(&n) && gates.iter().all(|gate| gate.wires().iter().all(|q| *q < n));
    match Setting::from_gates(n, gates) {
        Ok(setting) => {
            assert!(fits);
            let some = setting.measured(n / 2).expect("a readout bit").0;
            check(&setting, &some);
        }
        Err(_) => assert!(!fits),
    }
}

/// A word that is measured is revealed by its own bit; any word is revealed or not without a fuss.
fn check(setting: &Setting, word: &PauliWord) {
    let n = setting.n_qubits();
    for i in [0, n / 2, n - 1] {
        let (measured, negative) = setting.measured(i).expect("a readout bit");
        let reading = setting.reveal(measured.view()).expect("a word of the same width");
        let reading = reading.expect("what is measured is revealed");
        assert_eq!(reading.negative, negative);
        assert!(
            reading.mask.iter().enumerate().all(|(k, m)| *m == if k == i / 64 { 1 << (i % 64) } else { 0 })
        );
    }
    setting.reveal(word.view()).expect("a word of the same width");
}
