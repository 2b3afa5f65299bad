//! Ensembles of local Pauli settings: one letter X, Y or Z per qubit, drawn independently per snapshot.
//!
//! A setting reveals a word when it has the word's letter on every qubit of its support, so the probability of
//! being revealed is a product over the support: `3^-w` for uniform letters, `prod beta_i(Q_i)` for biased ones.
//! Cost: O(weight) per word.

use crate::bits::check_qubits;
use crate::error::{Error, Result};
use crate::pauli::{Letter, WordRef};
use std::sync::Arc;

/// How far the probabilities of a qubit may sum from one before they are refused.
const SUM_TOLERANCE: f64 = 1e-9;

/// A distribution over measurement settings.
///
/// ```
/// use efl_core::{design::Ensemble, pauli::PauliWord};
/// let uniform = Ensemble::uniform(3)?;
/// let word = PauliWord::from_label("XIZ")?;
/// assert_eq!(uniform.reveal_probability(word.view()), 1.0 / 9.0);
/// # Ok::<(), efl_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    n_qubits: usize,
    letters: Letters,
}

#[derive(Debug, Clone, PartialEq)]
enum Letters {
    Uniform,
    Biased(Arc<[[f64; 3]]>),
}

impl Ensemble {
    /// X, Y and Z with probability 1/3 each on every qubit.
    pub fn uniform(n_qubits: usize) -> Result<Self> {
        check_qubits(n_qubits)?;
        Ok(Ensemble { n_qubits, letters: Letters::Uniform })
    }

    /// The probabilities of X, Y and Z for each qubit.
    pub fn biased(probabilities: Vec<[f64; 3]>) -> Result<Self> {
        check_qubits(probabilities.len())?;
        for (q, row) in probabilities.iter().enumerate() {
            if let Some(bad) = row.iter().find(|p| !(p.is_finite() && **p >= 0.0)) {
                return Err(Error::invalid(
                    format!("probabilities[{q}]"),
                    "finite numbers that are not negative",
                    bad.to_string(),
                ));
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                return Err(Error::invalid(
                    format!("probabilities[{q}]"),
                    "three numbers that sum to 1",
                    format!("{row:?}, which sums to {sum}"),
                ));
            }
        }
        Ok(Ensemble { n_qubits: probabilities.len(), letters: Letters::Biased(probabilities.into()) })
    }

    /// Number of qubits of every setting.
    pub fn n_qubits(&self) -> usize {
        self.n_qubits
    }

    /// `"uniform"` or `"biased"`.
    pub fn kind(&self) -> &'static str {
        match self.letters {
            Letters::Uniform => "uniform",
            Letters::Biased(_) => "biased",
        }
    }

    /// The probabilities of X, Y and Z on qubit `q`.
    pub fn letter_probabilities(&self, q: usize) -> [f64; 3] {
        match &self.letters {
            Letters::Uniform => [1.0 / 3.0; 3],
            Letters::Biased(rows) => rows[q],
        }
    }

    /// The probability that a snapshot reveals `word`: 1 for the identity.
    pub fn reveal_probability(&self, word: WordRef<'_>) -> f64 {
        match &self.letters {
            // Division by an exact integer power, so that 3^w comes out exactly on inversion.
            Letters::Uniform => 1.0 / 3f64.powi(word.weight() as i32),
            Letters::Biased(rows) => word
                .support()
                .map(|(q, letter)| match letter {
                    Letter::X => rows[q][0],
                    Letter::Y => rows[q][1],
                    Letter::Z => rows[q][2],
                    Letter::I => 1.0,
                })
                .product(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pauli::PauliWord;

    #[test]
    fn reveal_probability_is_a_product_over_the_support() {
        let word = PauliWord::from_label("XIYZ").unwrap();
        let uniform = Ensemble::uniform(4).unwrap();
        assert_eq!(1.0 / uniform.reveal_probability(word.view()), 27.0);
        let biased =
            Ensemble::biased(vec![[0.5, 0.5, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5], [0.0, 0.0, 1.0]]);
        assert!((biased.unwrap().reveal_probability(word.view()) - 0.15).abs() < 1e-15);
    }

    #[test]
    fn probabilities_are_checked() {
        for bad in [[0.5, 0.5, 0.5], [-0.5, 1.0, 0.5], [f64::NAN, 0.5, 0.5], [f64::INFINITY, 0.0, 0.0]] {
            assert!(Ensemble::biased(vec![[1.0, 0.0, 0.0], bad]).is_err(), "{bad:?}");
        }
        assert!(Ensemble::uniform(0).is_err());
        assert!(Ensemble::biased(vec![]).is_err());
    }
}
