//! The generator of an evolution: a Pauli sum, and the form in which `exp(-i angle A)` is computed.
//!
//! Invariant: the words of [`Form::Rotations`] commute and none is the identity, which is a global phase; the codes of
//! [`Form::Dense`] are on at most [`MAX_EVOLUTION_WIRES`] qubits. Cost: see [`crate::pauli::Words::first_clash`].

use crate::bits::parallel::Cancel;
use crate::error::{Error, Result};
use crate::pauli::{Letter, PauliSum, WordRef, Words};
use std::collections::BTreeSet;

/// Widest non-commuting generator, in qubits.
const MAX_EVOLUTION_WIRES: usize = 4;

/// A Pauli sum that a circuit can evolve under.
#[derive(Debug, Clone, PartialEq)]
pub struct Generator {
    pub(super) n_qubits: usize,
    pub(super) form: Form,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    /// The letters of words that commute, with their coefficients.
    Rotations(Vec<(Vec<(usize, Letter)>, f64)>),
    /// Wires, and local words on them as codes, with their coefficients.
    Dense(Vec<usize>, Vec<(usize, f64)>),
}

impl Generator {
    /// Looks at whether the words commute, or are on few qubits; anything else is refused.
    pub fn new(sum: &PauliSum, cancel: &Cancel) -> Result<Self> {
        let n_qubits = sum.n_qubits();
        let terms: Vec<_> = sum.iter().filter(|(word, _)| !word.is_identity()).collect();
        let words = Words::from_words(n_qubits, terms.iter().map(|(word, _)| *word))?;
        let Some((a, b)) = words.first_clash(cancel)? else {
            let words = terms.iter().map(|(word, c)| (word.support().collect(), *c)).collect();
            return Ok(Generator { n_qubits, form: Form::Rotations(words) });
        };
        let support: BTreeSet<usize> =
            terms.iter().flat_map(|(word, _)| word.support()).map(|(q, _)| q).collect();
        if support.len() > MAX_EVOLUTION_WIRES {
            let name = |word: WordRef<'_>| {
                word.support().map(|(q, l)| format!("{l}{q}")).collect::<Vec<_>>().join(" ")
            };
            let expected = format!(
                "commuting words, or at most {MAX_EVOLUTION_WIRES} qubits; split the gate into rotations (a Trotter \
                 product) otherwise"
            );
            let (a, b) = (name(words.get(a)), name(words.get(b)));
            let found = format!("{} qubits, and {a} does not commute with {b}", support.len());
            return Err(Error::invalid("generator", expected, found));
        }
        let wires: Vec<usize> = support.into_iter().collect();
        let code = |q: usize, letter: Letter| {
            let local = wires.iter().position(|&w| w == q).unwrap_or_default();
            (usize::from(letter.x()) | usize::from(letter.z()) << 1) << (2 * local)
        };
        let codes = terms.iter().map(|(word, c)| (word.support().map(|(q, l)| code(q, l)).sum(), *c));
        let codes = codes.collect();
        Ok(Generator { n_qubits, form: Form::Dense(wires, codes) })
    }
}
