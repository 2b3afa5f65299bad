//! Pauli words and sums.

use crate::boundary::{float, size, width};
use crate::error::{OrRaise, describe, invalid, shape, wrong_type};
use efl_core::pauli::{self as core, Letter};
use numpy::{IntoPyArray, PyArray1};
use pyo3::IntoPyObjectExt;
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyComplex, PyDict, PyMapping, PyString};

/// A Pauli string without a phase: one letter I, X, Y or Z per qubit.
///
/// Parameters
/// ----------
/// letters
///     A label such as ``"XIZY"`` (character i is qubit i), a dict from qubits to letters, or another word.
/// n_qubits
///     Width of a word given as a dict; a label has its own.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> word = efl.PauliWord("XIZY")
/// >>> word.weight, word.support
/// (3, {0: 'X', 2: 'Z', 3: 'Y'})
/// >>> efl.PauliWord({0: "X", 5: "Z"}, n_qubits=6)
/// PauliWord('XIIIIZ')
/// >>> word.commutes_with(efl.PauliWord("ZIXI"))
/// True
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct PauliWord(pub(crate) core::PauliWord);

fn letter(place: &str, value: &Bound<'_, PyAny>) -> PyResult<Letter> {
    let found = value.extract::<char>().ok();
    let letters = [('I', Letter::I), ('X', Letter::X), ('Y', Letter::Y), ('Z', Letter::Z)];
    found
        .and_then(|c| letters.iter().find(|(name, _)| *name == c))
        .map(|(_, letter)| *letter)
        .ok_or_else(|| invalid(place, "a letter 'I', 'X', 'Y' or 'Z'", describe(value)))
}

/// A dict, or a copy of another mapping.
fn mapping<'py>(value: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyDict>>> {
    if let Ok(dict) = value.cast::<PyDict>() {
        return Ok(Some(dict.clone()));
    }
    match value.cast::<PyMapping>() {
        Ok(other) => PyDict::from_sequence(other.items()?.as_any()).map(Some),
        Err(_) => Ok(None),
    }
}

/// Reads a word in any form that users write it in; `name` is what an error calls it.
pub(crate) fn read_word(
    name: &str,
    value: &Bound<'_, PyAny>,
    n_qubits: Option<usize>,
) -> PyResult<core::PauliWord> {
    let word = if let Ok(label) = value.cast::<PyString>() {
        core::PauliWord::from_label(&label.to_string_lossy())
            .map_err(|error| error.named(name.to_owned()))
            .or_raise()?
    } else if let Ok(word) = value.cast::<PauliWord>() {
        word.get().0.clone()
    } else if let Some(dict) = mapping(value)? {
        let Some(n_qubits) = n_qubits else {
            return Err(invalid(name, "n_qubits beside a dict of letters", "none"));
        };
        let mut letters = Vec::with_capacity(dict.len());
        for (q, l) in dict {
            let qubit = size(&format!("{name}, qubit"), &q, 0)?;
            letters.push((qubit, letter(&format!("{name}[{qubit}]"), &l)?));
        }
        core::PauliWord::from_sparse(n_qubits, letters)
            .map_err(|error| error.named(name.to_owned()))
            .or_raise()?
    } else {
        let expected = "a Pauli word (a label 'XIZ', a dict {0: 'X'} or a PauliWord)";
        return Err(wrong_type(name, expected, value));
    };
    match n_qubits {
        Some(n) if n != word.n_qubits() => {
            Err(shape(name, format!("a word of {n} qubits"), format!("{} qubits", word.n_qubits())))
        }
        _ => Ok(word),
    }
}

/// Words on more qubits are shown by their support.
const WIDE: usize = 64;

fn optional_width(n_qubits: Option<&Bound<'_, PyAny>>) -> PyResult<Option<usize>> {
    n_qubits.map(|n| width("n_qubits", n)).transpose()
}

#[pymethods]
impl PauliWord {
    #[new]
    #[pyo3(signature = (letters, *, n_qubits=None))]
    fn new(letters: &Bound<'_, PyAny>, n_qubits: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        read_word("letters", letters, optional_width(n_qubits)?).map(PauliWord)
    }

    /// Number of qubits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// Number of letters that are not I.
    #[getter]
    fn weight(&self) -> usize {
        self.0.weight()
    }

    /// The label, one character per qubit.
    #[getter]
    fn label(&self) -> String {
        self.0.to_string()
    }

    /// The letters that are not I, by qubit.
    #[getter]
    fn support<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (q, l) in self.0.support() {
            dict.set_item(q, l.to_string())?;
        }
        Ok(dict)
    }

    /// Whether the two operators commute.
    fn commutes_with(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.0.commutes_with(&read_word("other", other, Some(self.0.n_qubits()))?).or_raise()
    }

    /// Whether the letters agree wherever both words have one, so that one product setting reveals both.
    fn qubit_wise_commutes(&self, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.0.qubit_wise_commutes(&read_word("other", other, Some(self.0.n_qubits()))?).or_raise()
    }

    /// The product as ``(phase, word)`` with the phase 1, 1j, -1 or -1j.
    ///
    /// >>> import efl_core as efl
    /// >>> efl.PauliWord("X").multiply("Y")
    /// (1j, PauliWord('Z'))
    fn multiply<'py>(
        &self,
        py: Python<'py>,
        other: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyComplex>, PauliWord)> {
        let other = read_word("other", other, Some(self.0.n_qubits()))?;
        let (phase, word) = self.0.multiply(&other).or_raise()?;
        let phase = phase.to_complex();
        Ok((PyComplex::from_doubles(py, phase.re, phase.im), PauliWord(word)))
    }

    /// The word with I outside the given qubits.
    fn restrict(&self, qubits: &Bound<'_, PyAny>) -> PyResult<PauliWord> {
        let items = qubits.try_iter().map_err(|_| wrong_type("qubits", "a sequence of integers", qubits))?;
        let qubits: Vec<usize> = items.map(|q| size("qubits", &q?, 0)).collect::<PyResult<_>>()?;
        self.0.restrict(&qubits).or_raise().map(PauliWord)
    }

    fn __richcmp__(&self, other: &Bound<'_, PyAny>, op: CompareOp, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match other.cast::<PauliWord>() {
            Ok(other) => op.matches(self.0.cmp(&other.get().0)).into_py_any(py),
            Err(_) => Ok(py.NotImplemented()),
        }
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        hasher.finish()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        if self.0.n_qubits() <= WIDE {
            return format!("PauliWord('{}')", self.0);
        }
        let more = if self.0.weight() > WIDE { ", ..." } else { "" };
        let letters: Vec<String> = self.0.support().take(WIDE).map(|(q, l)| format!("{q}: '{l}'")).collect();
        format!("PauliWord({{{}{more}}}, n_qubits={})", letters.join(", "), self.0.n_qubits())
    }

    fn __getnewargs__(&self) -> (String,) {
        (self.0.to_string(),)
    }
}

/// A real combination of Pauli words, without duplicates, in a fixed order.
///
/// Parameters
/// ----------
/// terms
///     A dict from words to coefficients, a sequence of ``(word, coefficient)`` pairs, a word, or another sum.
/// n_qubits
///     Width; needed when words are dicts or there is no term at all.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> energy = efl.PauliSum({"ZI": 1.0, "XX": 0.5})
/// >>> energy + 2 * efl.PauliSum("XX")
/// PauliSum('1*ZI + 2.5*XX')
/// >>> efl.PauliSum([({0: "X"}, 0.5)], n_qubits=3)
/// PauliSum('0.5*XII')
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct PauliSum(pub(crate) core::PauliSum);

/// What a sum is read from.
const SUM: &str = "a Pauli word or sum (a label, a dict of words and coefficients, a sequence of (word, coefficient) \
                   pairs, a PauliWord or a PauliSum)";

/// Reads a sum in any form that users write it in, a single word included.
pub(crate) fn read_sum(
    name: &str,
    value: &Bound<'_, PyAny>,
    n_qubits: Option<usize>,
) -> PyResult<core::PauliSum> {
    if let Ok(sum) = value.cast::<PauliSum>() {
        let sum = &sum.get().0;
        return match n_qubits {
            Some(n) if n != sum.n_qubits() => {
                Err(shape(name, format!("{n} qubits"), format!("{} qubits", sum.n_qubits())))
            }
            _ => Ok(sum.clone()),
        };
    }
    // Before anything is asked whether it is a mapping, which takes Python a microsecond.
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PauliWord>() {
        return Ok(core::PauliSum::from_word(&read_word(name, value, n_qubits)?));
    }
    // A dict from qubits to letters is a word; one from words to coefficients is a sum.
    let is_letter =
        |key: &Bound<'_, PyAny>| !key.is_instance_of::<PyString>() && !key.is_instance_of::<PauliWord>();
    let pairs: Vec<(Bound<'_, PyAny>, Bound<'_, PyAny>)> = match mapping(value)? {
        Some(dict) if !dict.is_empty() && dict.iter().all(|(key, _)| is_letter(&key)) => {
            return Ok(core::PauliSum::from_word(&read_word(name, value, n_qubits)?));
        }
        Some(dict) => dict.iter().collect(),
        None => {
            let items = value.try_iter().and_then(|items| items.collect::<PyResult<Vec<_>>>());
            let pairs = items.and_then(|items| items.iter().map(|item| item.extract()).collect());
            pairs.map_err(|_| wrong_type(name, SUM, value))?
        }
    };
    let mut terms = Vec::with_capacity(pairs.len());
    for (i, (word, coefficient)) in pairs.iter().enumerate() {
        let place = format!("{name}, term {i}");
        let width = n_qubits.or_else(|| terms.first().map(|(w, _): &(core::PauliWord, f64)| w.n_qubits()));
        terms.push((read_word(&place, word, width)?, float(&place, coefficient)?));
    }
    let width = n_qubits
        .or_else(|| terms.first().map(|(w, _)| w.n_qubits()))
        .ok_or_else(|| invalid(name, "n_qubits beside an empty sum", "none"))?;
    core::PauliSum::from_terms(width, terms.iter().map(|(w, c)| (w, *c)))
        .map_err(|error| error.named(name.to_owned()))
        .or_raise()
}

/// Reads one observable or a sequence of them, of the width of the first if none is given; the second result says
/// whether it was one.
pub(crate) fn read_sums(
    name: &str,
    value: &Bound<'_, PyAny>,
    n_qubits: Option<usize>,
) -> PyResult<(Vec<core::PauliSum>, bool)> {
    let one = value.is_instance_of::<PyString>()
        || value.is_instance_of::<PauliWord>()
        || value.is_instance_of::<PauliSum>()
        || value.cast::<PyMapping>().is_ok();
    if one {
        return Ok((vec![read_sum(name, value, n_qubits)?], true));
    }
    let wrong = || wrong_type(name, "a Pauli word or sum, or a sequence of them", value);
    if value.is_instance_of::<PyBytes>() {
        return Err(wrong()); // it is iterable, but never what was meant
    }
    let mut sums: Vec<core::PauliSum> = Vec::new();
    for (i, item) in value.try_iter().map_err(|_| wrong())?.enumerate() {
        let width = n_qubits.or_else(|| sums.first().map(core::PauliSum::n_qubits));
        sums.push(read_sum(&format!("{name}[{i}]"), &item?, width)?);
    }
    Ok((sums, false))
}

/// Reads a word; errors call it `name`.
#[pyfunction]
#[pyo3(name = "read_word")]
pub(crate) fn named_word(name: &str, value: &Bound<'_, PyAny>, n_qubits: usize) -> PyResult<PauliWord> {
    read_word(name, value, Some(n_qubits)).map(PauliWord)
}

/// Reads a word or sum; errors call it `name`.
#[pyfunction]
#[pyo3(name = "read_sum")]
pub(crate) fn named_sum(name: &str, value: &Bound<'_, PyAny>, n_qubits: Option<usize>) -> PyResult<PauliSum> {
    read_sum(name, value, n_qubits).map(PauliSum)
}

/// Reads one word or sum, or several; the second result says whether it was one.
#[pyfunction]
#[pyo3(name = "read_sums")]
pub(crate) fn named_sums(
    name: &str,
    value: &Bound<'_, PyAny>,
    n_qubits: usize,
) -> PyResult<(Vec<PauliSum>, bool)> {
    let (sums, single) = read_sums(name, value, Some(n_qubits))?;
    Ok((sums.into_iter().map(PauliSum).collect(), single))
}

type SumTerms = (Vec<(PauliWord, f64)>,);

#[pymethods]
impl PauliSum {
    #[new]
    #[pyo3(signature = (terms, *, n_qubits=None))]
    fn new(terms: &Bound<'_, PyAny>, n_qubits: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        read_sum("terms", terms, optional_width(n_qubits)?).map(PauliSum)
    }

    /// Number of qubits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// The words, sorted.
    #[getter]
    fn words(&self) -> Vec<PauliWord> {
        self.0.words().to_words().into_iter().map(PauliWord).collect()
    }

    /// The coefficients, in the order of the words.
    #[getter]
    fn coefficients<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        self.0.coefficients().to_vec().into_pyarray(py)
    }

    /// The ``(word, coefficient)`` pairs, sorted by word.
    fn terms(&self) -> Vec<(PauliWord, f64)> {
        self.0.iter().map(|(word, c)| (PauliWord(word.to_word()), c)).collect()
    }

    /// The coefficient of a word, zero if the sum does not have it.
    fn coefficient(&self, word: &Bound<'_, PyAny>) -> PyResult<f64> {
        Ok(self.0.coefficient(&read_word("word", word, Some(self.0.n_qubits()))?))
    }

    /// Sum of the absolute coefficients.
    #[getter]
    fn l1_norm(&self) -> f64 {
        self.0.l1_norm()
    }

    /// Root of the sum of the squared coefficients.
    #[getter]
    fn l2_norm(&self) -> f64 {
        self.0.l2_norm()
    }

    fn __add__(&self, other: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        let other = read_sum("other", other, Some(self.0.n_qubits()))?;
        self.0.add(&other).map_err(|error| error.named("other")).or_raise().map(PauliSum)
    }

    fn __sub__(&self, other: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        let other = read_sum("other", other, Some(self.0.n_qubits()))?.scale(-1.0).or_raise()?;
        self.0.add(&other).map_err(|error| error.named("other")).or_raise().map(PauliSum)
    }

    fn __radd__(&self, other: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        self.__add__(other)
    }

    fn __rsub__(&self, other: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        self.__neg__()?.__add__(other)
    }

    fn __mul__(&self, factor: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        let factor = float("factor", factor)?;
        self.0.scale(factor).map_err(|error| error.named("factor")).or_raise().map(PauliSum)
    }

    fn __rmul__(&self, factor: &Bound<'_, PyAny>) -> PyResult<PauliSum> {
        self.__mul__(factor)
    }

    fn __neg__(&self) -> PyResult<PauliSum> {
        self.0.scale(-1.0).or_raise().map(PauliSum)
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PauliSum>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("PauliSum('{}')", self.0)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(SumTerms, Bound<'py, PyDict>)> {
        let keywords = PyDict::new(py);
        keywords.set_item("n_qubits", self.0.n_qubits())?;
        Ok(((self.terms(),), keywords))
    }
}
