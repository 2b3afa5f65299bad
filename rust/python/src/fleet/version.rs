//! Versions: what a replica has to know, and the packets that it makes.

use super::{narrow, part};
use crate::boundary::{float, integer, numbers};
use crate::error::{OrRaise, shape, wrong_type};
use efl_fleet::packet::{Bits, Span, encode};
use efl_fleet::sequence::Sequence;
use efl_fleet::version::{self, Shape};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::sync::Arc;

/// Bits as they come: a byte for each, or packed rows.
enum Shots {
    Bytes(Vec<u8>),
    Rows(Vec<u64>),
}

impl Shots {
    /// From an array of shape (queries, shots, values of a shot).
    fn read(name: &str, array: &Bound<'_, PyAny>, shots: usize, n_qubits: usize) -> PyResult<Self> {
        let check = |found: &[usize], width: usize| match found {
            [_, s, w] if (*s, *w) == (shots, width) => Ok(()),
            _ => Err(shape(
                name,
                format!("shape (queries that teach, {shots}, {width})"),
                format!("{found:?}"),
            )),
        };
        if let Ok(rows) = array.extract::<PyReadonlyArrayDyn<'_, u64>>() {
            check(rows.shape(), n_qubits.div_ceil(64))?;
            return Ok(Shots::Rows(rows.as_array().iter().copied().collect()));
        }
        if let Ok(bytes) = array.extract::<PyReadonlyArrayDyn<'_, bool>>() {
            check(bytes.shape(), n_qubits)?;
            return Ok(Shots::Bytes(bytes.as_array().iter().map(|bit| u8::from(*bit)).collect()));
        }
        let Ok(bytes) = array.extract::<PyReadonlyArrayDyn<'_, u8>>() else {
            return Err(wrong_type(name, "an array of uint8, bool or (packed rows) uint64", array));
        };
        check(bytes.shape(), n_qubits)?;
        Ok(Shots::Bytes(bytes.as_array().iter().copied().collect()))
    }

    fn bits(&self) -> Bits<'_> {
        match self {
            Shots::Bytes(values) => Bits::Bytes(values),
            Shots::Rows(values) => Bits::Rows(values),
        }
    }
}

/// What a replica has to know of a version: how shots are split, and which entry each teach setting is.
#[pyclass(frozen, module = "efl_core._native", from_py_object)]
#[derive(Clone)]
pub(crate) struct FleetVersion(pub(super) Arc<version::Version>);

#[pymethods]
impl FleetVersion {
    #[new]
    #[pyo3(signature = (*, fleet, number, seed, n_qubits, answer_shots, teach_shots, settings, shares, teach=None, content=None))]
    #[expect(clippy::too_many_arguments, reason = "all of them make the version")]
    fn new(
        fleet: &Bound<'_, PyAny>,
        number: &Bound<'_, PyAny>,
        seed: &Bound<'_, PyAny>,
        n_qubits: &Bound<'_, PyAny>,
        answer_shots: &Bound<'_, PyAny>,
        teach_shots: &Bound<'_, PyAny>,
        settings: &Bound<'_, PyAny>,
        shares: &Bound<'_, PyAny>,
        teach: Option<&Bound<'_, PyAny>>,
        content: Option<&[u8]>,
    ) -> PyResult<Self> {
        let shape = Shape {
            n_qubits: narrow("n_qubits", n_qubits, 1)?,
            answer_shots: narrow("answer_shots", answer_shots, 0)?,
            teach_shots: narrow("teach_shots", teach_shots, 1)?,
            settings: narrow("settings", settings, 1)?,
        };
        let (fleet, number, seed) =
            (integer("fleet", fleet, 0)?, narrow("number", number, 0)?, integer("seed", seed, 0)?);
        let shares = numbers::<f64>("shares", shares, "a list of numbers", 1)?;
        let shares: Vec<f64> = shares.as_array().iter().copied().collect();
        let teach = teach.map_or(Ok(1.0), |teach| float("teach", teach))?;
        let content = content.unwrap_or_default();
        let made = version::Version::new(fleet, number, seed, shape, &shares, teach, content);
        made.or_raise().map(|version| FleetVersion(Arc::new(version)))
    }

    #[getter]
    fn fleet(&self) -> u64 {
        self.0.fleet()
    }

    #[getter]
    fn number(&self) -> u32 {
        self.0.number()
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    #[getter]
    fn hash(&self) -> u32 {
        self.0.hash()
    }

    #[getter]
    fn n_qubits(&self) -> u16 {
        self.0.shape().n_qubits
    }

    #[getter]
    fn answer_shots(&self) -> u16 {
        self.0.shape().answer_shots
    }

    #[getter]
    fn teach_shots(&self) -> u16 {
        self.0.shape().teach_shots
    }

    #[getter]
    fn settings(&self) -> u16 {
        self.0.shape().settings
    }

    #[getter]
    fn shares<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<f64>> {
        (0..self.0.entries()).map(|e| self.0.share(e)).collect::<Vec<_>>().into_pyarray(py)
    }

    #[getter]
    fn teach(&self) -> f64 {
        self.0.teach()
    }

    #[getter]
    fn stride(&self) -> usize {
        self.0.shape().stride()
    }

    #[getter]
    fn max_queries(&self) -> u32 {
        self.0.shape().max_queries()
    }

    /// The entries that queries run, -1 where one teaches nothing.
    fn entries<'py>(
        &self,
        py: Python<'py>,
        replica: &Bound<'py, PyAny>,
        incarnation: &Bound<'py, PyAny>,
        first: &Bound<'py, PyAny>,
        queries: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray2<i64>>> {
        let sequence =
            Sequence::new(&self.0, integer("replica", replica, 0)?, narrow("incarnation", incarnation, 1)?);
        let (first, queries) = (integer("first", first, 0)?, narrow::<u32>("queries", queries, 0)?);
        let settings = usize::from(self.0.shape().settings);
        let mut entries = Vec::with_capacity(queries as usize * settings);
        for query in (0..u64::from(queries)).map(|i| first.wrapping_add(i)) {
            let teaches = sequence.teaches(query);
            entries.extend(sequence.entries(query).map(|entry| if teaches { entry as i64 } else { -1 }));
        }
        entries.into_pyarray(py).reshape([queries as usize, settings])
    }

    /// Which queries a candidate answers, of which it answers a part.
    fn chosen<'py>(
        &self,
        py: Python<'py>,
        canary: &Bound<'py, PyAny>,
        replica: &Bound<'py, PyAny>,
        incarnation: &Bound<'py, PyAny>,
        first: &Bound<'py, PyAny>,
        queries: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyArray1<bool>>> {
        let sequence =
            Sequence::new(&self.0, integer("replica", replica, 0)?, narrow("incarnation", incarnation, 1)?);
        let below = part(&float("canary", canary)?)?;
        let (first, queries) = (integer("first", first, 0)?, narrow::<u32>("queries", queries, 0)?);
        let chosen = (0..u64::from(queries)).map(|i| sequence.is_chosen(first.wrapping_add(i), below));
        Ok(chosen.collect::<Vec<_>>().into_pyarray(py))
    }

    /// The packet of consecutive queries.
    #[pyo3(signature = (*, replica, incarnation, first, queries, answers, teaches, dropped=None))]
    #[expect(clippy::too_many_arguments, reason = "one per field")]
    fn encode<'py>(
        &self,
        py: Python<'py>,
        replica: &Bound<'py, PyAny>,
        incarnation: &Bound<'py, PyAny>,
        first: &Bound<'py, PyAny>,
        queries: &Bound<'py, PyAny>,
        answers: &Bound<'py, PyAny>,
        teaches: &Bound<'py, PyAny>,
        dropped: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let span = Span {
            replica: integer("replica", replica, 0)?,
            incarnation: narrow("incarnation", incarnation, 1)?,
            first: integer("first", first, 0)?,
            queries: narrow("queries", queries, 1)?,
            dropped: dropped.map_or(Ok(0), |dropped| narrow("dropped", dropped, 0))?,
        };
        let shape = self.0.shape();
        let n = usize::from(shape.n_qubits);
        let answers = Shots::read("answers", answers, shape.answer_shots.into(), n)?;
        let teaches = Shots::read("teaches", teaches, shape.teach_shots.into(), n)?;
        let bytes = py.detach(|| encode(&self.0, &span, answers.bits(), teaches.bits())).or_raise()?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<FleetVersion>().is_ok_and(|other| self.0 == other.get().0)
    }
}
