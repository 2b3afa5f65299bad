//! Laws of the Pauli algebra, each test named after the law that it states.

use efl_core::pauli::{Letter, PauliSum, PauliWord, Phase, Words};
use proptest::prelude::*;

const WIDTHS: [usize; 5] = [1, 5, 63, 64, 130];

fn letter() -> impl Strategy<Value = Letter> {
    prop::sample::select(vec![Letter::I, Letter::X, Letter::Y, Letter::Z])
}

fn word(n: usize) -> impl Strategy<Value = PauliWord> {
    prop::collection::vec(letter(), n)
        .prop_map(move |letters| PauliWord::from_sparse(n, letters.into_iter().enumerate()).unwrap())
}

/// `count` words of one width.
fn words(count: usize) -> impl Strategy<Value = Vec<PauliWord>> {
    prop::sample::select(WIDTHS.to_vec()).prop_flat_map(move |n| prop::collection::vec(word(n), count))
}

/// `count` sums of up to 8 terms on 3 qubits, with coefficients that add without rounding.
fn sums(count: usize) -> impl Strategy<Value = Vec<PauliSum>> {
    let term = (word(3), (-8i32..=8).prop_map(f64::from));
    let sum = prop::collection::vec(term, 0..8)
        .prop_map(|terms| PauliSum::from_terms(3, terms.iter().map(|(w, c)| (w, *c))).unwrap());
    prop::collection::vec(sum, count)
}

proptest! {
    #[test]
    fn multiplication_is_associative(w in words(3)) {
        let (p, ab) = w[0].multiply(&w[1]).unwrap();
        let (q, left) = ab.multiply(&w[2]).unwrap();
        let (r, bc) = w[1].multiply(&w[2]).unwrap();
        let (s, right) = w[0].multiply(&bc).unwrap();
        prop_assert_eq!(left, right);
        prop_assert_eq!(p.multiply(q), r.multiply(s));
    }

    #[test]
    fn a_word_squares_to_the_identity(w in words(1)) {
        prop_assert_eq!(w[0].multiply(&w[0]).unwrap(), (Phase::ONE, PauliWord::identity(w[0].n_qubits())));
    }

    #[test]
    fn reversing_a_product_conjugates_its_phase_and_commutation_is_its_reality(w in words(2)) {
        let (p, ab) = w[0].multiply(&w[1]).unwrap();
        let (q, ba) = w[1].multiply(&w[0]).unwrap();
        prop_assert_eq!(&ab, &ba);
        prop_assert_eq!(p.multiply(q), Phase::ONE);
        prop_assert_eq!(w[0].commutes_with(&w[1]).unwrap(), p == q);
        if w[0].qubit_wise_commutes(&w[1]).unwrap() {
            prop_assert!(p == q);
        }
    }

    #[test]
    fn labels_and_bits_and_supports_round_trip(w in words(1)) {
        let w = &w[0];
        prop_assert_eq!(&PauliWord::from_label(&w.to_string()).unwrap(), w);
        prop_assert_eq!(&PauliWord::from_bits(w.n_qubits(), w.x(), w.z()).unwrap(), w);
        prop_assert_eq!(&PauliWord::from_sparse(w.n_qubits(), w.support()).unwrap(), w);
        prop_assert_eq!(w.support().count(), w.weight());
    }

    #[test]
    fn restriction_splits_a_word_into_a_product(w in words(1), at in 0usize..130) {
        let n = w[0].n_qubits();
        let (low, high): (Vec<usize>, Vec<usize>) = (0..n).partition(|&q| q < at);
        let (a, b) = (w[0].restrict(&low).unwrap(), w[0].restrict(&high).unwrap());
        prop_assert_eq!(a.multiply(&b).unwrap(), (Phase::ONE, w[0].clone()));
    }

    #[test]
    fn sorting_is_idempotent_and_its_index_is_a_homomorphism(w in words(12), pick in prop::collection::vec(0usize..12, 0..40)) {
        let list = Words::from_words(w[0].n_qubits(), pick.iter().map(|&i| &w[i])).unwrap();
        let (sorted, index) = list.sort_dedup().unwrap();
        for (old, &new) in index.iter().enumerate() {
            prop_assert_eq!(sorted.get(new as usize), list.get(old));
        }
        let (again, identity) = sorted.sort_dedup().unwrap();
        prop_assert_eq!(&again, &sorted);
        prop_assert!(identity.iter().enumerate().all(|(i, &j)| i == j as usize));
    }

    #[test]
    fn addition_is_commutative_and_associative(s in sums(3)) {
        let add = |a: &PauliSum, b: &PauliSum| a.add(b).unwrap();
        prop_assert_eq!(add(&s[0], &s[1]), add(&s[1], &s[0]));
        prop_assert_eq!(add(&add(&s[0], &s[1]), &s[2]), add(&s[0], &add(&s[1], &s[2])));
    }

    #[test]
    fn the_commutator_is_a_lie_bracket(s in sums(3)) {
        let bracket = |a: &PauliSum, b: &PauliSum| a.commutator_i_half(b).unwrap();
        let add = |a: &PauliSum, b: &PauliSum| a.add(b).unwrap();
        prop_assert_eq!(bracket(&s[0], &s[1]), bracket(&s[1], &s[0]).scale(-1.0).unwrap());
        let jacobi = add(
            &add(&bracket(&s[0], &bracket(&s[1], &s[2])), &bracket(&s[1], &bracket(&s[2], &s[0]))),
            &bracket(&s[2], &bracket(&s[0], &s[1])),
        );
        prop_assert_eq!(jacobi, PauliSum::zero(3));
    }

    #[test]
    fn the_symmetric_product_obeys_the_jordan_identity(s in sums(2)) {
        let product = |a: &PauliSum, b: &PauliSum| a.anticommutator_half(b).unwrap();
        let (a, b) = (&s[0], &s[1]);
        prop_assert_eq!(product(a, b), product(b, a));
        let square = product(a, a);
        prop_assert_eq!(product(&product(a, b), &square), product(a, &product(b, &square)));
    }

    #[test]
    fn the_norms_are_ordered(s in sums(1)) {
        prop_assert!(s[0].l2_norm() <= s[0].l1_norm() + 1e-12);
        prop_assert!(s[0].identity_coefficient().abs() <= s[0].l2_norm() + 1e-12);
    }
}
