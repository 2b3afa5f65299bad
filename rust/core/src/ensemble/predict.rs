//! What an ensemble will do for given sums, before anything is measured: variances per snapshot.
//!
//! On the maximally mixed state, the mean over all states, a sum has the variance `sum_Q c_Q^2 m_Q` (`m_Q`: the second
//! moment of its [`Response`]). On a known state, read ideally, it is `sum c c' Pr[both] / (r r') <Q Q'> - <O>^2`, with `r`
//! the factors of the responses.
//!
//! Invariant: the identity is known without measuring, so it adds nothing.
//! Cost: one look-up per word; on a known state one pass over the vector per setting and row of a list, else the
//! `4^n` expectation values of all words and the pairs of words of each row.

use crate::bits::hadamard;
use crate::bits::parallel::{self, Cancel};
use crate::ensemble::{Block, Ensemble, Response};
use crate::error::{Error, Result};
use crate::pauli::word::check_width;
use crate::pauli::{Sums, WordRef};
use crate::state::{StateVector, apply};

/// Words whose reveal probabilities one task finds.
const WORDS_PER_TASK: usize = 1 << 12;
/// Most qubits of a known state.
pub const MAX_EXACT_QUBITS: usize = 12;

impl Ensemble {
    /// The response of each word; a word that has a coefficient and never is revealed is an error.
    pub(crate) fn responses(&self, sums: &Sums, cancel: &Cancel) -> Result<Vec<Response>> {
        let words = sums.words();
        let mut needed = vec![false; words.len()];
        for (columns, coefficients) in (0..sums.len()).map(|j| sums.row(j)) {
            let used = columns.iter().zip(coefficients).filter(|(_, v)| **v != 0.0);
            used.for_each(|(&c, _)| needed[c as usize] = true);
        }
        let remedy = |word: WordRef<'_>| match self.kind() {
            "settings" => format!(
                "add a setting that reveals it, such as {}, or give one a probability above zero",
                word.to_string().replace('I', "Z")
            ),
            "blocks" => {
                "give each block that it touches a setting whose group has its letters there".to_owned()
            }
            _ => "give its letters a probability above zero".to_owned(),
        };
        let response = |i: usize| match self.response(words.get(i)) {
            response if response.is_revealed() => Ok(response),
            _ if !needed[i] => Ok(Response::ideal(1.0)), // never used
            _ => Err(Error::invalid(
                "observables",
                "words that the ensemble can reveal",
                format!("{}, which it never does: {}", words.get(i), remedy(words.get(i))),
            )),
        };
        let parts = parallel::map(words.len().div_ceil(WORDS_PER_TASK), cancel, |task| {
            let range = task * WORDS_PER_TASK..((task + 1) * WORDS_PER_TASK).min(words.len());
            range.map(response).collect::<Result<Vec<Response>>>()
        })?;
        Ok(parts.concat())
    }

    /// The variance of one snapshot of every sum, on average over all states.
    ///
    /// ```
    /// use efl_core::{bits::parallel::Cancel, ensemble::Ensemble, pauli::{PauliSum, Sums}};
    /// let sums = Sums::from_sums(2, [&PauliSum::from_labels([("XX", 0.5), ("ZI", 1.0)])?])?;
    /// let found = Ensemble::uniform(2)?.predicted_variances(&sums, &Cancel::new())?;
    /// assert_eq!(found, [0.25 * 9.0 + 3.0]);
    /// # Ok::<(), efl_core::Error>(())
    /// ```
    pub fn predicted_variances(&self, sums: &Sums, cancel: &Cancel) -> Result<Vec<f64>> {
        check_width("observables", self.n_qubits(), sums.n_qubits())?;
        Ok(mixed(sums, &self.responses(sums, cancel)?))
    }

    /// The same where words that are never revealed make a variance infinite.
    pub(crate) fn variances(&self, sums: &Sums) -> Vec<f64> {
        let responses: Vec<Response> = sums.words().iter().map(|word| self.response(word)).collect();
        mixed(sums, &responses)
    }

    /// The variance of one snapshot of every sum on a known state of at most [`MAX_EXACT_QUBITS`] qubits.
    pub fn exact_variances(&self, sums: &Sums, state: &StateVector<'_>, cancel: &Cancel) -> Result<Vec<f64>> {
        check_width("observables", self.n_qubits(), sums.n_qubits())?;
        check_width("state", self.n_qubits(), state.n_qubits())?;
        if self.n_qubits() > MAX_EXACT_QUBITS {
            return Err(Error::Limit {
                what: "qubits of a known state".into(),
                needed: self.n_qubits() as u64,
                limit: MAX_EXACT_QUBITS as u64,
                remedy: "predict without the state, or simulate snapshots".into(),
            });
        }
        let responses = self.responses(sums, cancel)?;
        match self.single() {
            Some(list) => of_list(list, sums, &responses, state, cancel),
            None => self.of_pairs(sums, &responses, state, cancel),
        }
    }

    fn of_pairs(
        &self,
        sums: &Sums,
        responses: &[Response],
        state: &StateVector<'_>,
        cancel: &Cancel,
    ) -> Result<Vec<f64>> {
        let n = self.n_qubits();
        let expectation = expectations(state, cancel)?;
        parallel::map(sums.len(), cancel, |r| {
            let terms = terms(sums, r);
            let (mut mean, mut second) = (0.0, 0.0);
            for (i, &(c, v)) in terms.iter().enumerate() {
                cancel.check()?;
                let a = sums.words().get(c);
                let [ax, az] = indices(a, n);
                mean += v * expectation[ax << n | az];
                second += v * v * responses[c].second_moment();
                for &(d, w) in &terms[..i] {
                    let b = sums.words().get(d);
                    let both = self.pair_probability(a, b)?;
                    if both > 0.0 {
                        let [bx, bz] = indices(b, n);
                        let (x, z) = (ax ^ bx, az ^ bz);
                        // Words that are revealed together commute, so the power of i is 0 or 2.
                        let ones = |m: usize| m.count_ones();
                        let power = ones(ax & az) + ones(bx & bz) + 2 * ones(az & bx) + 3 * ones(x & z);
                        let value = expectation[x << n | z] * if power % 4 == 0 { 1.0 } else { -1.0 };
                        let factors = responses[c].factor() * responses[d].factor();
                        second += 2.0 * v * w * both / factors * value;
                    }
                }
            }
            Ok((second - mean * mean).max(0.0))
        })
    }
}

/// Terms of a row that vary: (column, coefficient).
fn terms(sums: &Sums, r: usize) -> Vec<(usize, f64)> {
    let (columns, coefficients) = sums.row(r);
    let varies = |c: u32, v: f64| v != 0.0 && !sums.words().get(c as usize).is_identity();
    let all = columns.iter().zip(coefficients).filter(|(c, v)| varies(**c, **v));
    all.map(|(&c, &v)| (c as usize, v)).collect()
}

fn mixed(sums: &Sums, responses: &[Response]) -> Vec<f64> {
    let row =
        |r| terms(sums, r).into_iter().fold(0.0, |sum, (c, v)| sum + v * v * responses[c].second_moment());
    (0..sums.len()).map(row).collect()
}

/// The x and z bits of a word as indices of a state vector.
fn indices(word: WordRef<'_>, n: usize) -> [usize; 2] {
    [word.x()[0], word.z()[0]].map(|bits| (bits.reverse_bits() >> (64 - n)) as usize)
}

/// The expectation values of all words: that of (x, z) at `x << n | z`.
fn expectations(state: &StateVector<'_>, cancel: &Cancel) -> Result<Vec<f64>> {
    let amplitudes = state.amplitudes();
    let parts = parallel::map(amplitudes.len(), cancel, |x| {
        // The word is `i^|x z|` times a sign that depends on the index and a shift of the index by x.
        let products = amplitudes.iter().enumerate().map(|(b, a)| amplitudes[b ^ x].conj() * a);
        let (mut re, mut im): (Vec<f64>, Vec<f64>) = products.map(|p| (p.re, p.im)).unzip();
        hadamard(&mut re);
        hadamard(&mut im);
        let value = |z: usize| match (x & z).count_ones() % 4 {
            0 => re[z],
            1 => -im[z],
            2 => -re[z],
            _ => im[z],
        };
        Ok((0..amplitudes.len()).map(value).collect::<Vec<f64>>())
    })?;
    Ok(parts.concat())
}

/// A list of settings: the reading of a snapshot is a function of its outcome, made by one transform per row.
fn of_list(
    list: &Block,
    sums: &Sums,
    responses: &[Response],
    state: &StateVector<'_>,
    cancel: &Cancel,
) -> Result<Vec<f64>> {
    let n = state.n_qubits();
    let rows: Vec<Vec<(usize, f64)>> = (0..sums.len()).map(|r| terms(sums, r)).collect();
    let drawn: Vec<_> = list.settings().iter().zip(list.probabilities()).filter(|(_, p)| **p > 0.0).collect();
    let moments = parallel::map(drawn.len(), cancel, |f| {
        let (setting, share) = drawn[f];
        let mut amplitudes = state.amplitudes().to_vec();
        for gate in setting.gates() {
            apply(&gate.clifford().matrix(), gate.wires(), &mut amplitudes, cancel)?;
        }
        let probabilities: Vec<f64> = amplitudes.iter().map(num_complex::Complex64::norm_sqr).collect();
        let reading = |word| {
            let mut mask = [0];
            let negative = setting.read(word, &mut mask)?;
            Some(((mask[0].reverse_bits() >> (64 - n)) as usize, if negative { -1.0 } else { 1.0 }))
        };
        let readings: Vec<_> = sums.words().iter().map(reading).collect();
        let moments = rows.iter().map(|terms| {
            cancel.check()?;
            let mut values = vec![0.0; probabilities.len()];
            for &(c, v) in terms {
                if let Some((mask, sign)) = readings[c] {
                    values[mask] += sign * v / responses[c].factor();
                }
            }
            hadamard(&mut values);
            let moment =
                |power| values.iter().zip(&probabilities).map(|(v, p)| p * f64::powi(*v, power)).sum();
            let (first, second): (f64, f64) = (moment(1), moment(2));
            Ok([share * first, share * second])
        });
        moments.collect::<Result<Vec<_>>>()
    })?;
    let variance = |r: usize| {
        let [mean, second] = moments.iter().fold([0.0; 2], |sum, m| [sum[0] + m[r][0], sum[1] + m[r][1]]);
        f64::max(second - mean * mean, 0.0)
    };
    Ok((0..sums.len()).map(variance).collect())
}
