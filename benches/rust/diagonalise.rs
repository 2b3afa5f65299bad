//! Diagonalising circuits of random maximal families.
//!
//! | bench | goal |
//! |---|---|
//! | `diagonalise/all/10`, `diagonalise/line/10` | 300 families in well under 0.3 s: at most 0.5 ms each |
//! | `diagonalise/all/30` | what a circuit that is made once may take: at most 50 ms |

use criterion::{Criterion, criterion_group, criterion_main};
use efl_core::bits::{parallel::Cancel, philox::philox};
use efl_core::gates::Clifford;
use efl_core::gates::CliffordGate;
use efl_core::pauli::{PauliWord, Words};
use efl_core::stabiliser::{Connectivity, Setting, diagonalise};
use std::hint::black_box;

/// What all qubits read after a random circuit.
fn family(n: usize, seed: u64) -> Words {
    let gates = (0..2 * (n * n) as u64).filter_map(|t| {
        let [gate, a, b, _] = philox([seed, 0], [t, 0, 0, 0]).map(|bits| (bits >> 8) as usize);
        let clifford = Clifford::ALL[gate % 16];
        CliffordGate::new(clifford, &[a % n, b % n][..clifford.n_wires()]).ok()
    });
    let setting = Setting::from_gates(n, gates).unwrap();
    let words: Vec<PauliWord> = (0..n).map(|i| setting.measured(i).unwrap().0).collect();
    Words::from_words(n, &words).unwrap()
}

fn circuits(c: &mut Criterion) {
    let cancel = Cancel::new();
    let mut group = c.benchmark_group("diagonalise");
    for (name, connectivity, n) in [
        ("all/10", Connectivity::All, 10),
        ("line/10", Connectivity::Line, 10),
        ("all/30", Connectivity::All, 30),
    ] {
        let families: Vec<Words> = (0..20).map(|seed| family(n, seed)).collect();
        let mut turn = 0;
        group.bench_function(name, |b| {
            b.iter(|| {
                turn = (turn + 1) % families.len();
                diagonalise(black_box(&families[turn]), connectivity, 1, &cancel).unwrap()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, circuits);
criterion_main!(benches);
