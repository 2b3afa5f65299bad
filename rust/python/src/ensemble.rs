//! Ensembles of measurement settings.

use crate::boundary::{enter, integer, numbers, size, width};
use crate::error::{OrRaise, invalid, shape, wrong_type};
use crate::observables::estimated;
use crate::pauli::read_word;
use crate::setting::Setting;
use efl_core::Error;
use efl_core::ensemble as core;
use efl_core::snapshots::{Address, draw_setting};
use efl_core::state::StateVector;
use num_complex::Complex64;
use numpy::{IntoPyArray, PyArray1, PyArrayDyn, PyArrayMethods, ToPyArray};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// How measurement settings are drawn, and so how often each word is revealed.
///
/// Made by `Ensemble.uniform` or `Ensemble.biased` (a letter X, Y or Z per qubit), by `Ensemble.settings` (one of a
/// list), by `Ensemble.blocks`, `Ensemble.random_blocks` or `Ensemble.clifford` (one of a list for each block of
/// qubits), or by `Ensemble.global_clifford` (one of all stabiliser bases).
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> uniform = efl.Ensemble.uniform(3)
/// >>> uniform.reveal_probability("XIZ")
/// 0.1111111111111111
/// >>> biased = efl.Ensemble.biased([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
/// >>> biased.reveal_probability("XZ")
/// 0.25
/// >>> bell = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
/// >>> designed = efl.Ensemble.settings([bell, "ZZ"], [0.75, 0.25])
/// >>> designed.reveal_probability("XX"), designed.reveal_probability("ZZ"), designed.reveal_probability("IZ")
/// (0.75, 1.0, 0.25)
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct Ensemble(pub(crate) core::Ensemble);

fn sequence<'py>(name: &str, value: &Bound<'py, PyAny>, expected: &str) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if value.is_instance_of::<pyo3::types::PyString>() {
        return Err(wrong_type(name, expected, value));
    }
    value.try_iter().map_err(|_| wrong_type(name, expected, value))?.collect()
}

/// Settings, or labels such as "XYZ".
fn read_settings(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<efl_core::stabiliser::Setting>> {
    let items = sequence(name, value, "a sequence of settings or labels such as \"XYZ\"")?;
    let read = |(f, item): (usize, &Bound<'_, PyAny>)| {
        if let Ok(setting) = item.cast::<Setting>() {
            return Ok(setting.get().0.clone());
        }
        let name = format!("{name}[{f}]");
        let word = read_word(&name, item, None)?;
        efl_core::stabiliser::Setting::of_letters(word).map_err(|error| error.named(name)).or_raise()
    };
    items.iter().enumerate().map(read).collect()
}

/// One for each setting, equal ones if none are given.
fn read_probabilities(name: &str, value: Option<&Bound<'_, PyAny>>, settings: usize) -> PyResult<Vec<f64>> {
    match value {
        None => Ok(vec![1.0 / settings as f64; settings]),
        Some(value) => Ok(numbers::<f64>(name, value, "real numbers of shape (n_settings,)", 1)?
            .as_array()
            .iter()
            .copied()
            .collect()),
    }
}

/// An error of the core about an argument of the block that `name` is.
fn within(name: &str, error: Error) -> Error {
    match error.argument().map(|argument| format!("{name}.{argument}")) {
        Some(place) => error.named(place),
        None => error,
    }
}

#[pymethods]
impl Ensemble {
    /// X, Y and Z with probability 1/3 on each of ``n_qubits`` qubits.
    #[staticmethod]
    fn uniform(n_qubits: &Bound<'_, PyAny>) -> PyResult<Self> {
        core::Ensemble::uniform(width("n_qubits", n_qubits)?).or_raise().map(Ensemble)
    }

    /// The probabilities of X, Y and Z for each qubit, array-like of shape ``(n_qubits, 3)``; rows sum to one.
    #[staticmethod]
    fn biased(probabilities: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = "real numbers of shape (n_qubits, 3)";
        let array = numbers::<f64>("probabilities", probabilities, expected, 2)?;
        let array = array.as_array();
        if array.shape()[1] != 3 {
            return Err(shape("probabilities", expected, format!("shape {:?}", array.shape())));
        }
        let rows = array.rows().into_iter().map(|r| [r[0], r[1], r[2]]).collect();
        core::Ensemble::biased(rows).or_raise().map(Ensemble)
    }

    /// One of a list of settings, each with its probability.
    ///
    /// Parameters
    /// ----------
    /// settings
    ///     `Setting` objects, or labels such as ``"XYZ"``, all of the same number of qubits.
    /// probabilities
    ///     One for each setting; they sum to one. Equal if not given.
    ///
    /// Examples
    /// --------
    /// >>> import efl_core as efl
    /// >>> ensemble = efl.Ensemble.settings(["XX", "ZZ"])
    /// >>> ensemble.pair_probability("XI", "IX"), ensemble.pair_probability("XI", "IZ")
    /// (0.5, 0.0)
    /// >>> ensemble.allocate(101, seed=1).sum()
    /// np.uint64(101)
    #[staticmethod]
    #[pyo3(signature = (settings, probabilities=None))]
    fn settings(settings: &Bound<'_, PyAny>, probabilities: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let settings = read_settings("settings", settings)?;
        let probabilities = read_probabilities("probabilities", probabilities, settings.len())?;
        core::Ensemble::settings(settings, probabilities).or_raise().map(Ensemble)
    }

    /// A setting for each block of qubits, drawn independently.
    ///
    /// Parameters
    /// ----------
    /// n_qubits
    ///     Number of qubits.
    /// blocks
    ///     For each block its qubits, its settings and, unless they are equal, their probabilities. Blocks have 1 to
    ///     4 qubits, and every qubit is in one of them. Readout bit ``j`` of a setting belongs to qubit ``qubits[j]``.
    ///
    /// Examples
    /// --------
    /// >>> import efl_core as efl
    /// >>> bell = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
    /// >>> ensemble = efl.Ensemble.blocks(3, [((0, 2), [bell, "ZZ"]), ((1,), ["X", "Y"], [0.2, 0.8])])
    /// >>> ensemble.reveal_probability("XYX")
    /// 0.4
    #[staticmethod]
    fn blocks(n_qubits: &Bound<'_, PyAny>, blocks: &Bound<'_, PyAny>) -> PyResult<Self> {
        let n_qubits = width("n_qubits", n_qubits)?;
        let expected = "(qubits, settings) or (qubits, settings, probabilities)";
        let mut items = Vec::new();
        let mut made: Vec<core::Block> = Vec::new();
        for (b, item) in sequence("blocks", blocks, &format!("a sequence of {expected}"))?.iter().enumerate()
        {
            let name = format!("blocks[{b}]");
            let parts = sequence(&name, item, expected)?;
            let (qubits, settings, probabilities) = match &parts[..] {
                [qubits, settings] => (qubits, settings, None),
                [qubits, settings, probabilities] => (qubits, settings, Some(probabilities)),
                _ => {
                    return Err(shape(&name, expected, format!("{} items", parts.len())));
                }
            };
            let qubits: Vec<usize> = sequence(&format!("{name}.qubits"), qubits, "a sequence of qubits")?
                .iter()
                .map(|q| size(&format!("{name}.qubits"), q, 0))
                .collect::<PyResult<_>>()?;
            // The same two objects as in an earlier block: its list is shared, as `block_list` shows it.
            let same = |other: &(Bound<'_, PyAny>, Option<Bound<'_, PyAny>>, usize)| {
                let equal = match (&other.1, probabilities) {
                    (None, None) => true,
                    (Some(a), Some(b)) => a.is(b),
                    _ => false,
                };
                other.0.is(settings) && equal && other.2 == qubits.len()
            };
            let block = if let Some(place) = items.iter().position(same) {
                made[place].moved(qubits.iter().copied())
            } else {
                let list = read_settings(&format!("{name}.settings"), settings)?;
                let q = read_probabilities(&format!("{name}.probabilities"), probabilities, list.len())?;
                core::Block::new(qubits.clone(), list, q)
            };
            made.push(block.map_err(|error| within(&name, error)).or_raise()?);
            items.push((settings.clone(), probabilities.cloned(), qubits.len()));
        }
        core::Ensemble::blocks(n_qubits, made).or_raise().map(Ensemble)
    }

    /// Contiguous blocks of ``qubits_per_block`` qubits, each measured in a random stabiliser basis.
    ///
    /// Blocks have 1 to 4 qubits (the last one may have fewer than the others). All 3, 15, 135 or 2295 stabiliser bases
    /// of a block of k qubits are equally likely, so that a word is revealed with probability 1 / (2^k + 1) for
    /// each block that it touches.
    ///
    /// >>> import efl_core as efl
    /// >>> round(1 / efl.Ensemble.random_blocks(6, 2).reveal_probability("XYZIII"))
    /// 25
    #[staticmethod]
    fn random_blocks(n_qubits: &Bound<'_, PyAny>, qubits_per_block: &Bound<'_, PyAny>) -> PyResult<Self> {
        let n_qubits = width("n_qubits", n_qubits)?;
        let each = size("qubits_per_block", qubits_per_block, 1)?;
        core::Ensemble::random_blocks(n_qubits, each).or_raise().map(Ensemble)
    }

    /// A random stabiliser basis of all of 1 to 4 qubits: random Clifford gates on the whole register.
    #[staticmethod]
    fn clifford(n_qubits: &Bound<'_, PyAny>) -> PyResult<Self> {
        core::Ensemble::clifford(size("n_qubits", n_qubits, 1)?).or_raise().map(Ensemble)
    }

    /// A random stabiliser basis of all of ``n_qubits`` qubits, any number: what a random Clifford circuit measures.
    ///
    /// All bases are equally likely. Each is drawn from the address of its snapshot, a seed and an index, and never stored:
    /// `draw_setting` gives its circuit. Made for questions about the whole state, such as `fidelity`; a word is revealed
    /// with probability 1 / (2^n + 1) only.
    ///
    /// ``twirled`` puts random CNOTs (some n^2 / 2) and Paulis before every readout; `Snapshots.from_addresses` undoes them
    /// in the bits. A readout that errs then leaves the same part of every word, which a calibration knows.
    ///
    /// >>> import efl_core as efl
    /// >>> ensemble = efl.Ensemble.global_clifford(3)
    /// >>> ensemble.reveal_probability("XYZ")
    /// 0.1111111111111111
    #[staticmethod]
    #[pyo3(signature = (n_qubits, twirled=false))]
    fn global_clifford(n_qubits: &Bound<'_, PyAny>, twirled: bool) -> PyResult<Self> {
        let n_qubits = width("n_qubits", n_qubits)?;
        let made = match twirled {
            true => core::Ensemble::twirled_clifford(n_qubits),
            false => core::Ensemble::global_clifford(n_qubits),
        };
        made.or_raise().map(Ensemble)
    }

    /// The setting at an address: that of snapshot ``index`` of `sample` with this seed.
    ///
    /// With it snapshots are taken on a device, one circuit for each: `Snapshots.from_addresses` packs their bits. Of a list
    /// of settings it is the one that `sample` draws with ``allocated=False``.
    ///
    /// >>> import efl_core as efl
    /// >>> setting = efl.Ensemble.global_clifford(2).draw_setting(seed=7, index=0)
    /// >>> setting.gates
    /// [('CZ', 0, 1), ('SDG', 1), ('H', 0), ('H', 1)]
    fn draw_setting(
        &self,
        py: Python<'_>,
        seed: &Bound<'_, PyAny>,
        index: &Bound<'_, PyAny>,
    ) -> PyResult<Setting> {
        let address = Address { seed: integer("seed", seed, 0)?, index: integer("index", index, 0)? };
        enter(py, |cancel| draw_setting(&self.0, address, cancel)).map(Setting)
    }

    /// Number of qubits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// ``"uniform"``, ``"biased"``, ``"settings"``, ``"blocks"`` or ``"global_clifford"``.
    #[getter]
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    /// Whether readouts of random bases are twirled.
    #[getter]
    fn twirled(&self) -> bool {
        self.0.is_twirled()
    }

    /// Of letters, the probabilities of X, Y and Z, shape ``(n_qubits, 3)``; of a list, one for each setting.
    #[getter]
    fn probabilities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArrayDyn<f64>>> {
        if let Some(list) = self.0.single() {
            return Ok(list.probabilities().to_pyarray(py).to_dyn().clone());
        }
        if self.0.letter_probabilities(0).is_none() {
            let found = match self.0.is_global() {
                true => "all stabiliser bases, which are equally likely",
                false => "several blocks, which have their own, see block_list",
            };
            return Err(invalid("probabilities", "an ensemble of letters or with one list", found));
        }
        let letters = (0..self.0.n_qubits()).filter_map(|q| self.0.letter_probabilities(q));
        let rows: Vec<f64> = letters.flatten().collect();
        Ok(rows.to_pyarray(py).reshape([self.0.n_qubits(), 3])?.to_dyn().clone())
    }

    /// The settings of an ensemble that draws one of a list.
    #[getter]
    fn setting_list(&self) -> PyResult<Vec<Setting>> {
        let Some(list) = self.0.single() else {
            let found = format!("kind '{}'", self.0.kind());
            return Err(invalid("setting_list", "an ensemble of kind 'settings'", found));
        };
        Ok(list.settings().iter().cloned().map(Setting).collect())
    }

    /// For each block its qubits, its settings and their probabilities; empty if settings are drawn letter by letter or from
    /// all bases.
    #[getter]
    fn block_list<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let blocks = self.0.block_list();
        let mut lists: BTreeMap<usize, (Bound<'py, PyList>, Bound<'py, PyArray1<f64>>)> = BTreeMap::new();
        let mut shown = Vec::with_capacity(blocks.len());
        for block in blocks {
            // A list that blocks share is one object, which pickle then writes once.
            let list = match lists.entry(block.list_address()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => {
                    py.check_signals()?;
                    let settings = block.settings().iter().cloned().map(Setting);
                    let settings = settings.map(|s| s.into_pyobject(py)).collect::<PyResult<Vec<_>>>()?;
                    place.insert((PyList::new(py, settings)?, block.probabilities().to_pyarray(py)))
                }
            };
            shown.push(list.clone());
        }
        let tuple = |(block, (settings, probabilities)): (&core::Block, _)| {
            let qubits = PyTuple::new(py, block.qubits())?;
            (qubits, settings, probabilities).into_pyobject(py)
        };
        blocks.iter().zip(shown).map(tuple).collect()
    }

    /// The probability that one snapshot reveals ``word``.
    fn reveal_probability(&self, word: &Bound<'_, PyAny>) -> PyResult<f64> {
        let word = read_word("word", word, Some(self.0.n_qubits()))?;
        self.0.reveal_probability(word.view()).or_raise()
    }

    /// The probability that one snapshot reveals both words.
    ///
    /// With coefficients c and reveal probabilities h, the variance per snapshot of a sum O of words is
    /// ``sum c c' pair_probability(Q, Q') / (h h') <Q Q'> - <O>^2``.
    fn pair_probability(&self, a: &Bound<'_, PyAny>, b: &Bound<'_, PyAny>) -> PyResult<f64> {
        let a = read_word("a", a, Some(self.0.n_qubits()))?;
        let b = read_word("b", b, Some(self.0.n_qubits()))?;
        self.0.pair_probability(a.view(), b.view()).or_raise()
    }

    /// The variance of one snapshot of each observable: divide by the number of snapshots, and take the root, for the
    /// standard error.
    ///
    /// Parameters
    /// ----------
    /// observables
    ///     A Pauli word or sum, or a list of them; or made by `gradient_observables`, for the variances of the
    ///     derivatives, in the shape of `Gradient.gradient`.
    /// state
    ///     Without it, the variance on average over all states (up to the square of the value, over 2^n). With a state
    ///     vector of at most 12 qubits, the exact one, covariances between the words of a sum included.
    ///
    /// Examples
    /// --------
    /// >>> import efl_core as efl
    /// >>> uniform, zero = efl.Ensemble.uniform(2), [1, 0, 0, 0]
    /// >>> uniform.predicted_variance("ZZ"), uniform.predicted_variance("ZZ", zero)
    /// (9.0, 8.0)
    #[pyo3(signature = (observables, state=None))]
    fn predicted_variance<'py>(
        &self,
        py: Python<'py>,
        observables: &Bound<'py, PyAny>,
        state: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (sums, shape) = estimated(observables, self.0.n_qubits())?;
        let amplitudes: Option<Vec<Complex64>> = state
            .map(|state| numbers::<Complex64>("state", state, "a vector of 2^n amplitudes", 1))
            .transpose()?
            .map(|amplitudes| amplitudes.as_array().iter().copied().collect());
        let found = enter(py, |cancel| match &amplitudes {
            None => self.0.predicted_variances(&sums, cancel),
            Some(amplitudes) => self.0.exact_variances(&sums, &StateVector::new(amplitudes)?, cancel),
        })?;
        match (&shape[..], &found[..]) {
            ([], [one]) => one.into_bound_py_any(py),
            _ => Ok(found.into_pyarray(py).reshape(shape)?.into_any()),
        }
    }

    /// How many of ``shots`` snapshots each setting of a list gets.
    ///
    /// ``shots`` times its probability, rounded down or up at random so that the expectation is exact; the counts sum
    /// to ``shots``. `sample` takes them as ``counts``.
    ///
    /// >>> import efl_core as efl
    /// >>> efl.Ensemble.settings(["XX", "ZZ", "YY"], [0.5, 0.3, 0.2]).allocate(1000, seed=3)
    /// array([500, 300, 200], dtype=uint64)
    fn allocate<'py>(
        &self,
        py: Python<'py>,
        shots: &Bound<'_, PyAny>,
        seed: &Bound<'_, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<u64>>> {
        let (shots, seed) = (integer("shots", shots, 0)?, integer("seed", seed, 0)?);
        Ok(self.0.allocate(shots, seed).or_raise()?.into_pyarray(py))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Ensemble>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __repr__(&self) -> String {
        let (kind, n) = (self.0.kind(), self.0.n_qubits());
        match (self.0.single(), self.0.block_list().len()) {
            (Some(list), _) => format!("Ensemble.{kind}({} settings of {n} qubits)", list.settings().len()),
            (None, 0) if self.0.is_twirled() => format!("Ensemble.{kind}(n_qubits={n}, twirled=True)"),
            (None, 0) => format!("Ensemble.{kind}(n_qubits={n})"),
            (None, blocks) => format!("Ensemble.{kind}({blocks} blocks of {n} qubits)"),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = py.get_type::<Ensemble>();
        let make = class.getattr(self.0.kind())?;
        let arguments = match self.0.kind() {
            "uniform" => (self.0.n_qubits(),).into_pyobject(py)?,
            "global_clifford" => (self.0.n_qubits(), self.0.is_twirled()).into_pyobject(py)?,
            "biased" => (self.probabilities(py)?,).into_pyobject(py)?,
            "settings" => (self.setting_list()?, self.probabilities(py)?).into_pyobject(py)?,
            _ => (self.0.n_qubits(), self.block_list(py)?).into_pyobject(py)?,
        };
        Ok((make, arguments))
    }
}
