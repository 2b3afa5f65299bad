//! Laws of propagation, each test named after the law that it states.

use efl_core::bits::parallel::Cancel;
use efl_core::circuit::{Angle, Circuit};
use efl_core::gates::{Clifford, Direction};
use efl_core::heisenberg::{Truncation, propagate};
use efl_core::pauli::{Letter, PauliSum, PauliWord};
use proptest::prelude::*;

const N: usize = 5;

fn letters() -> impl Strategy<Value = Vec<(usize, Letter)>> {
    let letter = prop::sample::select(vec![Letter::I, Letter::X, Letter::Y, Letter::Z]);
    prop::collection::vec(letter, N).prop_map(|letters| letters.into_iter().enumerate().collect())
}

fn sum() -> impl Strategy<Value = PauliSum> {
    prop::collection::vec((letters(), -1.0f64..1.0), 1..6).prop_map(|terms| {
        let words: Vec<_> =
            terms.iter().map(|(l, c)| (PauliWord::from_sparse(N, l.iter().copied()).unwrap(), *c)).collect();
        PauliSum::from_terms(N, words.iter().map(|(w, c)| (w, *c))).unwrap()
    })
}

#[derive(Debug, Clone)]
enum Gate {
    Rotation(Vec<(usize, Letter)>, f64),
    Clifford(Clifford, usize, usize),
}

fn gates() -> impl Strategy<Value = Vec<Gate>> {
    let clifford = (prop::sample::select(Clifford::ALL.to_vec()), 0..N, 1..N)
        .prop_map(|(gate, q, step)| Gate::Clifford(gate, q, (q + step) % N));
    let rotation = (letters(), -4.0f64..4.0).prop_map(|(letters, angle)| Gate::Rotation(letters, angle));
    prop::collection::vec(prop_oneof![clifford, rotation], 0..16)
}

fn circuit(gates: &[Gate]) -> Circuit {
    let mut circuit = Circuit::new(N, 0).unwrap();
    for gate in gates {
        match gate {
            Gate::Rotation(letters, angle) => circuit.rotation(letters.iter().copied(), *angle).unwrap(),
            Gate::Clifford(gate, a, b) => circuit.clifford(*gate, &[*a, *b][..gate.n_wires()]).unwrap(),
        }
    }
    circuit
}

fn moved(gates: &[Gate], sum: &PauliSum, direction: Direction) -> PauliSum {
    propagate(&circuit(gates), &[], sum, direction, &Truncation::EXACT, &Cancel::new()).unwrap().sum
}

fn distance(a: &PauliSum, b: &PauliSum) -> f64 {
    a.add(&b.scale(-1.0).unwrap()).unwrap().l1_norm()
}

const PICTURES: [Direction; 2] = [Direction::Heisenberg, Direction::Schroedinger];

proptest! {
    #[test]
    fn the_pictures_are_inverse_to_each_other(g in gates(), s in sum()) {
        for [first, second] in [PICTURES, [PICTURES[1], PICTURES[0]]] {
            prop_assert!(distance(&moved(&g, &moved(&g, &s, first), second), &s) < 1e-11);
        }
    }

    #[test]
    fn propagation_is_linear(g in gates(), a in sum(), b in sum(), f in -2.0f64..2.0) {
        for picture in PICTURES {
            let whole = moved(&g, &a.add(&b.scale(f).unwrap()).unwrap(), picture);
            let parts = moved(&g, &a, picture).add(&moved(&g, &b, picture).scale(f).unwrap()).unwrap();
            prop_assert!(distance(&whole, &parts) < 1e-11);
        }
    }

    #[test]
    fn unitaries_keep_the_two_norm_the_trace_and_the_bracket(g in gates(), a in sum(), b in sum()) {
        for picture in PICTURES {
            let (ma, mb) = (moved(&g, &a, picture), moved(&g, &b, picture));
            prop_assert!((ma.l2_norm() - a.l2_norm()).abs() < 1e-11);
            prop_assert!((ma.identity_coefficient() - a.identity_coefficient()).abs() < 1e-11);
            let bracket = moved(&g, &a.commutator_i_half(&b).unwrap(), picture);
            prop_assert!(distance(&bracket, &ma.commutator_i_half(&mb).unwrap()) < 1e-10);
        }
    }

    #[test]
    fn gates_compose(g in gates(), h in gates(), s in sum()) {
        let both: Vec<Gate> = g.iter().chain(&h).cloned().collect();
        let forwards = moved(&h, &moved(&g, &s, Direction::Schroedinger), Direction::Schroedinger);
        prop_assert!(distance(&moved(&both, &s, Direction::Schroedinger), &forwards) < 1e-11);
        let backwards = moved(&g, &moved(&h, &s, Direction::Heisenberg), Direction::Heisenberg);
        prop_assert!(distance(&moved(&both, &s, Direction::Heisenberg), &backwards) < 1e-11);
    }

    #[test]
    fn a_rotation_is_the_evolution_under_half_its_word(l in letters(), angle in -4.0f64..4.0, s in sum()) {
        let word = PauliSum::from_word(&PauliWord::from_sparse(N, l.iter().copied()).unwrap());
        let mut evolution = Circuit::new(N, 1).unwrap();
        evolution.evolution(&word.scale(0.5).unwrap(), Angle::parameter(0)).unwrap();
        for picture in PICTURES {
            let evolved =
                propagate(&evolution, &[angle], &s, picture, &Truncation::EXACT, &Cancel::new()).unwrap().sum;
            prop_assert!(distance(&moved(&[Gate::Rotation(l.clone(), angle)], &s, picture), &evolved) < 1e-12);
        }
    }
}
