//! Settings: a Clifford rotation and what its readout bits mean.

use crate::boundary::{enter, listen, size, text, width};
use crate::error::{OrRaise, invalid, wrong_type};
use crate::pauli::read_word;
use efl_core::bits::memory;
use efl_core::gates::Clifford;
use efl_core::pauli::Words;
use efl_core::stabiliser as core;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// A measurement setting: a Clifford rotation, then a readout of all qubits.
///
/// It reveals the words that its readout bits measure, and their products: one shot gives the signs of all of them.
///
/// Parameters
/// ----------
/// letters
///     One letter X, Y or Z per qubit, such as ``"XYZ"``: the basis in which each qubit is read. Other settings are
///     made by `Setting.from_gates` and `Setting.of_family`.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> setting = efl.Setting("XYZ")
/// >>> setting.reveal("XIZ")
/// ([0, 2], 1)
/// >>> setting.reveal("ZII") is None
/// True
/// >>> bell = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
/// >>> bell.measured
/// [(1, 'XX'), (1, 'ZZ')]
/// >>> bell.reveal("YY")
/// ([0, 1], -1)
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct Setting(pub(crate) core::Setting);

/// Below this many words of 64 qubits to write a setting is made while the GIL is held: some microseconds.
const SMALL: usize = 1024;

/// Reads `("CNOT", 0, 1)`; `name` is what an error calls it.
fn gate(name: &str, value: &Bound<'_, PyAny>) -> PyResult<efl_core::gates::CliffordGate> {
    let wrong = || wrong_type(name, "a name and its wires, such as (\"CNOT\", 0, 1)", value);
    let items: Vec<Bound<'_, PyAny>> = value.extract().map_err(|_| wrong())?;
    let (first, wires) = items.split_first().ok_or_else(wrong)?;
    let gate: String = first.extract().map_err(|_| wrong())?;
    let Some(clifford) = Clifford::from_name(&gate) else {
        let known: Vec<&str> = Clifford::ALL.iter().map(|gate| gate.name()).collect();
        return Err(invalid(name, format!("one of {}", known.join(", ")), format!("{gate:?}")));
    };
    let wires: Vec<usize> = wires.iter().map(|q| size(name, q, 0)).collect::<PyResult<_>>()?;
    efl_core::gates::CliffordGate::new(clifford, &wires)
        .map_err(|error| error.named(name.to_owned()))
        .or_raise()
}

/// Reads a list of gates.
fn read_gates(gates: &Bound<'_, PyAny>) -> PyResult<Vec<efl_core::gates::CliffordGate>> {
    let expected = "a sequence such as [(\"H\", 0), (\"CNOT\", 0, 1)]";
    let items = gates.try_iter().map_err(|_| wrong_type("gates", expected, gates))?.enumerate();
    items.map(|(i, item)| listen(gates.py(), i).and_then(|()| gate(&format!("gates[{i}]"), &item?))).collect()
}

/// Reads words of one width, that of the first if none is given.
fn family(words: &Bound<'_, PyAny>, n_qubits: Option<usize>) -> PyResult<Words> {
    let wrong = || wrong_type("words", "a sequence of Pauli words such as [\"XX\", \"ZZ\"]", words);
    if words.is_instance_of::<PyString>() {
        return Err(wrong());
    }
    let mut list = n_qubits.map(Words::new);
    for (i, word) in words.try_iter().map_err(|_| wrong())?.enumerate() {
        listen(words.py(), i)?;
        let word = read_word(&format!("words[{i}]"), &word?, list.as_ref().map(Words::n_qubits))?;
        list.get_or_insert_with(|| Words::new(word.n_qubits())).push(&word).or_raise()?;
    }
    list.ok_or_else(|| invalid("words", "n_qubits beside an empty family", "none"))
}

/// Reads where two-qubit gates may be.
pub(crate) fn read_connectivity(value: &Bound<'_, PyAny>) -> PyResult<core::Connectivity> {
    let expected = "'all', 'line' or 'none'";
    match text("connectivity", value, expected)?.as_str() {
        "all" => Ok(core::Connectivity::All),
        "line" => Ok(core::Connectivity::Line),
        "none" => Ok(core::Connectivity::None),
        other => Err(invalid("connectivity", expected, format!("'{other}'"))),
    }
}

#[pymethods]
impl Setting {
    #[new]
    fn new(letters: &Bound<'_, PyAny>) -> PyResult<Self> {
        core::Setting::of_letters(read_word("letters", letters, None)?).or_raise().map(Setting)
    }

    /// The readout after these gates, each a name and its wires: ``[("H", 0), ("CNOT", 0, 1)]``.
    #[staticmethod]
    fn from_gates(py: Python<'_>, n_qubits: &Bound<'_, PyAny>, gates: &Bound<'_, PyAny>) -> PyResult<Self> {
        let n_qubits = width("n_qubits", n_qubits)?;
        let gates = read_gates(gates)?;
        let work = n_qubits.div_ceil(64) * (n_qubits + gates.len());
        if work < SMALL {
            return core::Setting::from_gates(n_qubits, gates).or_raise().map(Setting);
        }
        enter(py, |cancel| core::Setting::from_gates_watched(n_qubits, gates, cancel)).map(Setting)
    }

    /// A setting that reveals all of ``words``, which must commute, and their products, by a short circuit.
    ///
    /// Parameters
    /// ----------
    /// words
    ///     Labels, dicts or words, of one width.
    /// connectivity
    ///     ``"all"``: two-qubit gates on any pair of qubits; ``"line"``: on neighbours only; ``"none"``: no two-qubit
    ///     gates, for words that commute qubit by qubit.
    /// effort
    ///     Number of attempts, of which the circuit with the fewest two-qubit gates is returned.
    /// n_qubits
    ///     Width; needed when the first word is a dict or there is none.
    ///
    /// Examples
    /// --------
    /// >>> import efl_core as efl
    /// >>> setting = efl.Setting.of_family(["XXI", "ZZI", "IIY"])
    /// >>> setting.two_qubit_gates
    /// 1
    /// >>> setting.reveal("YYY") is not None
    /// True
    #[staticmethod]
    #[pyo3(signature = (words, connectivity=None, *, effort=None, n_qubits=None), text_signature = "(words, connectivity='all', *, effort=None, n_qubits=None)")]
    fn of_family(
        py: Python<'_>,
        words: &Bound<'_, PyAny>,
        connectivity: Option<&Bound<'_, PyAny>>,
        effort: Option<&Bound<'_, PyAny>>,
        n_qubits: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let effort = effort.map_or(Ok(1), |effort| size("effort", effort, 1))?;
        let n_qubits = n_qubits.map(|n| width("n_qubits", n)).transpose()?;
        let connectivity = connectivity.map_or(Ok(core::Connectivity::All), read_connectivity)?;
        let words = family(words, n_qubits)?;
        enter(py, |cancel| core::diagonalise(&words, connectivity, effort, cancel)).map(Setting)
    }

    /// Number of qubits, which is the number of readout bits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// Whether every qubit is read by itself, in the basis of a letter.
    #[getter]
    fn is_product(&self) -> bool {
        self.0.letters().is_some()
    }

    /// The gates before the readout, in order, each as its name and its wires.
    #[getter]
    fn gates<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyTuple>>> {
        let tuple = |gate: efl_core::gates::CliffordGate| {
            let mut items = vec![gate.clifford().name().into_bound_py_any(py)?];
            for q in gate.wires() {
                items.push(q.into_bound_py_any(py)?);
            }
            PyTuple::new(py, items)
        };
        self.0.gates().into_iter().map(tuple).collect()
    }

    /// Number of layers of gates, when gates on different qubits run at the same time.
    #[getter]
    fn depth(&self) -> usize {
        self.0.depth()
    }

    /// Number of gates on two qubits.
    #[getter]
    fn two_qubit_gates(&self) -> usize {
        self.0.two_qubit_gates()
    }

    /// What each readout bit measures: its sign and the label of its word.
    ///
    /// As many characters as the square of the number of qubits.
    #[getter]
    fn measured(&self, py: Python<'_>) -> PyResult<Vec<(i8, String)>> {
        let n = self.0.n_qubits();
        memory::check("the labels of the measured words", (n as u64).saturating_mul(n as u64)).or_raise()?;
        (0..n)
            .map(|i| {
                listen(py, i)?;
                let (word, negative) = self.0.measured(i).or_raise()?;
                Ok((sign(negative), word.to_string()))
            })
            .collect()
    }

    /// How ``word`` is read: the readout bits whose parity it is and its sign, or None if it is not revealed.
    ///
    /// Its outcome is the sign if an even number of these bits is 1, and minus the sign otherwise.
    fn reveal(&self, word: &Bound<'_, PyAny>) -> PyResult<Option<(Vec<usize>, i8)>> {
        let word = read_word("word", word, Some(self.0.n_qubits()))?;
        let reading = self.0.reveal(word.view()).or_raise()?;
        Ok(reading.map(|reading| {
            let bits = (0..self.0.n_qubits()).filter(|i| reading.mask[i / 64] >> (i % 64) & 1 == 1);
            (bits.collect(), sign(reading.negative))
        }))
    }

    /// Settings are equal when they have the same letters, or the same gates.
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Setting>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __hash__(&self) -> u64 {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        match self.0.letters() {
            Some(letters) => letters.hash(&mut hasher),
            None => (self.0.n_qubits(), self.0.gates()).hash(&mut hasher),
        }
        hasher.finish()
    }

    fn __repr__(&self) -> String {
        match self.0.letters() {
            Some(letters) => format!("Setting('{letters}')"),
            None => format!(
                "Setting(n_qubits={}, two_qubit_gates={}, depth={})",
                self.0.n_qubits(),
                self.0.two_qubit_gates(),
                self.0.depth()
            ),
        }
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let class = py.get_type::<Setting>();
        match self.0.letters() {
            Some(letters) => Ok((class.into_any(), (letters.to_string(),).into_pyobject(py)?)),
            None => {
                Ok((class.getattr("from_gates")?, (self.0.n_qubits(), self.gates(py)?).into_pyobject(py)?))
            }
        }
    }
}

/// A state that a Clifford circuit prepares from zeros, of any number of qubits.
///
/// `sample` measures it, `fidelity` compares with it.
///
/// Parameters
/// ----------
/// n_qubits
///     Number of qubits.
/// gates
///     Each a name and its wires: ``[("H", 0), ("CNOT", 0, 1)]``.
///
/// Examples
/// --------
/// >>> import efl_core as efl
/// >>> bell = efl.StabiliserState(2, [("H", 0), ("CNOT", 0, 1), ("Z", 0)])
/// >>> bell.words
/// [(-1, 'XX'), (1, 'ZZ')]
/// >>> bell == efl.StabiliserState.from_words([(-1, "XX"), (1, "ZZ")])
/// True
#[pyclass(frozen, module = "efl_core", from_py_object)]
#[derive(Clone)]
pub(crate) struct StabiliserState(pub(crate) std::sync::Arc<core::StabiliserState>);

#[pymethods]
impl StabiliserState {
    #[new]
    fn new(py: Python<'_>, n_qubits: &Bound<'_, PyAny>, gates: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (n_qubits, gates) = (width("n_qubits", n_qubits)?, read_gates(gates)?);
        enter(py, |cancel| core::StabiliserState::from_gates_watched(n_qubits, &gates, cancel))
            .map(|state| StabiliserState(state.into()))
    }

    /// The state that has these values of commuting, independent words: as many as qubits, each a sign and a word.
    #[staticmethod]
    fn from_words(py: Python<'_>, words: &Bound<'_, PyAny>) -> PyResult<Self> {
        let expected = "a sequence of signs and words such as [(1, \"XX\"), (-1, \"ZZ\")]";
        let items = words.try_iter().map_err(|_| wrong_type("words", expected, words))?;
        let (mut list, mut negative): (Option<Words>, Vec<bool>) = (None, Vec::new());
        for (i, item) in items.enumerate() {
            listen(py, i)?;
            let (name, item) = (format!("words[{i}]"), item?);
            let (sign, word): (i64, Bound<'_, PyAny>) = item
                .extract()
                .map_err(|_| wrong_type(&name, "a sign, 1 or -1, and a word such as \"XX\"", &item))?;
            if sign.abs() != 1 {
                return Err(invalid(&name, "a sign of 1 or -1", sign));
            }
            let word = read_word(&name, &word, list.as_ref().map(Words::n_qubits))?;
            list.get_or_insert_with(|| Words::new(word.n_qubits())).push(&word).or_raise()?;
            negative.push(sign < 0);
        }
        let list = list.ok_or_else(|| invalid("words", expected, "none"))?;
        enter(py, |_| core::StabiliserState::from_words(list, negative))
            .map(|state| StabiliserState(state.into()))
    }

    /// Number of qubits.
    #[getter]
    fn n_qubits(&self) -> usize {
        self.0.n_qubits()
    }

    /// Independent words that fix the state, each with the sign of its value.
    #[getter]
    fn words(&self, py: Python<'_>) -> PyResult<Vec<(i8, String)>> {
        let n = self.0.n_qubits();
        memory::check("the labels of the words", (n as u64).saturating_mul(n as u64)).or_raise()?;
        let label = |(i, word): (usize, efl_core::pauli::WordRef<'_>)| {
            listen(py, i)?;
            Ok((sign(self.0.negative()[i]), word.to_string()))
        };
        self.0.words().iter().enumerate().map(label).collect()
    }

    /// States are equal when they have the same words in the same order.
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<StabiliserState>().is_ok_and(|other| self.0 == other.get().0)
    }

    fn __repr__(&self) -> String {
        format!("StabiliserState(n_qubits={})", self.0.n_qubits())
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let make = py.get_type::<StabiliserState>().getattr("from_words")?;
        Ok((make, (self.words(py)?,).into_pyobject(py)?))
    }
}

fn sign(negative: bool) -> i8 {
    if negative { -1 } else { 1 }
}
