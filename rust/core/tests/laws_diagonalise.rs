//! Laws of diagonalising circuits: what they reveal, and the gates that they consist of.

#[path = "dense/mod.rs"]
mod dense;

use dense::Random;
use efl_core::design::{Connectivity, Setting, diagonalise};
use efl_core::heisenberg::Clifford;
use efl_core::pauli::{PauliWord, Words};

/// Words of a random stabiliser group of the given rank, each a product of `mixing` generators on average.
fn family(random: &mut Random, n: usize, rank: usize, gates: usize) -> Words {
    let scramble: Vec<_> = (0..gates)
        .map(|_| {
            let clifford = Clifford::ALL[random.below(16)];
            let a = random.below(n);
            let b = (a + 1 + random.below(n.max(2) - 1)) % n;
            (clifford, [a, b])
        })
        .filter(|(clifford, _)| n > 1 || clifford.n_wires() == 1)
        .map(|(c, w)| efl_core::design::Gate::new(c, &w[..c.n_wires()]).unwrap())
        .collect();
    let setting = Setting::from_gates(n, scramble).unwrap();
    let words: Vec<PauliWord> = (0..rank).map(|i| setting.measured(i).unwrap().0).collect();
    Words::from_words(n, &words).unwrap()
}

#[test]
fn figures() {
    let mut random = Random(3);
    for effort in [1, 4, 16, 64] {
        for connectivity in [Connectivity::All, Connectivity::Line] {
            for n in [4, 6, 8, 10, 12, 16, 20, 30] {
                if n > 12 && effort > 16 {
                    continue;
                }
                let count = if n > 12 { 5 } else { 40 };
                let families: Vec<Words> = (0..count).map(|_| family(&mut random, n, n, n * n * 2)).collect();
                let start = std::time::Instant::now();
                let settings: Vec<Setting> =
                    families.iter().map(|f| diagonalise(f, connectivity, effort).unwrap()).collect();
                let seconds = start.elapsed().as_secs_f64() / count as f64;
                let mean = |f: &dyn Fn(&Setting) -> usize| {
                    settings.iter().map(f).sum::<usize>() as f64 / count as f64
                };
                println!(
                    "{effort} {connectivity:?} n={n} two={} depth={} gates={} us={:.0}",
                    mean(&|s| s.two_qubit_gates()),
                    mean(&|s| s.depth()),
                    mean(&|s| s.gates().len()),
                    seconds * 1e6
                );
                for (f, s) in families.iter().zip(&settings) {
                    assert!(f.iter().all(|w| s.reveal(w).unwrap().is_some()));
                }
            }
        }
    }
}
