//! Readers: what the bits of a version mean.

use super::tally::FleetTally;
use super::version::FleetVersion;
use super::{column, count, narrow, table};
use crate::boundary::enter;
use crate::error::{OrRaise, shape, wrong_type};
use crate::estimate::Calibration;
use crate::experiment::Experiment;
use crate::pauli::PauliSum;
use crate::setting::Setting;
use efl_fleet::packet::Packet;
use efl_fleet::reader::{self as core, Answer, Entry, Query, Scratch, Slopes, Weights};
use numpy::{
    IntoPyArray, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArray2, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use std::sync::Arc;

type Valued<'py> = (Bound<'py, PyArray2<f64>>, Bound<'py, PyArray2<i64>>);
type Sums<'py> = Vec<(usize, PyRef<'py, PauliSum>)>;

fn sums(pairs: Sums<'_>) -> Vec<(usize, efl_core::pauli::PauliSum)> {
    pairs.into_iter().map(|(row, sum)| (row, sum.0.clone())).collect()
}

fn entry(i: usize, value: &Bound<'_, PyAny>) -> PyResult<Entry> {
    if let Ok(experiment) = value.cast::<Experiment>() {
        return Entry::from_experiment(&experiment.get().0).or_raise();
    }
    let parts = value.extract::<(PyRef<'_, Setting>, Sums<'_>, Sums<'_>)>();
    let Ok((setting, readings, values)) = parts else {
        let expected = "an experiment, or (setting, [(row, sum)], [(output, sum)])";
        return Err(wrong_type(&format!("entries[{i}]"), expected, value));
    };
    Ok(Entry { setting: setting.0.clone(), readings: sums(readings), values: sums(values) })
}

fn answer(i: usize, value: &Bound<'_, PyAny>) -> PyResult<Answer> {
    let name = format!("answers[{i}]");
    let parts = value.extract::<(PyRef<'_, Setting>, Bound<'_, PyAny>, Sums<'_>)>();
    let Ok((setting, shots, values)) = parts else {
        return Err(wrong_type(&name, "(setting, shots, [(output, sum)])", value));
    };
    let shots = narrow(&format!("{name} shots"), &shots, 1)?;
    Ok(Answer { setting: setting.0.clone(), shots, values: sums(values) })
}

/// What the bits of a version mean, compiled.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct FleetReader(pub(super) Arc<core::Reader>);

impl FleetReader {
    /// A packet of the version of the reader, and how many of its queries teach.
    fn packet<'a>(&self, packet: &'a [u8]) -> efl_core::Result<(Packet<'a>, usize)> {
        let packet = Packet::decode(packet)?;
        let teaching = packet.check(self.0.version())?;
        Ok((packet, teaching))
    }

    /// Weights of queries, one after the other, from an array with one row for each.
    fn weights(&self, weights: &PyReadonlyArrayDyn<'_, f64>, queries: usize) -> PyResult<(Vec<f64>, usize)> {
        let settings = usize::from(self.0.version().shape().settings);
        table(weights, queries, self.0.n_outputs(), Some(settings))
    }
}

#[pymethods]
impl FleetReader {
    #[new]
    #[pyo3(signature = (version, *, n_outputs, n_parameters, entries, answers=None, slopes=None, weights=None, calibration=None))]
    #[expect(clippy::too_many_arguments, reason = "named in Python")]
    fn new(
        py: Python<'_>,
        version: &FleetVersion,
        n_outputs: &Bound<'_, PyAny>,
        n_parameters: &Bound<'_, PyAny>,
        entries: Vec<Bound<'_, PyAny>>,
        answers: Option<Vec<Bound<'_, PyAny>>>,
        slopes: Option<PyReadonlyArray2<'_, f64>>,
        weights: Option<PyReadonlyArray1<'_, f64>>,
        calibration: Option<PyRef<'_, Calibration>>,
    ) -> PyResult<Self> {
        let n_outputs = count("n_outputs", n_outputs)?;
        let n_parameters = count("n_parameters", n_parameters)?;
        let slopes = match slopes {
            None => Slopes::identity(n_parameters),
            Some(table) if table.shape()[0] == n_parameters => {
                let values: Vec<f64> = table.as_array().iter().copied().collect();
                Slopes::table(&values, table.shape()[1]).or_raise()?
            }
            Some(table) => {
                let expected = format!("shape ({n_parameters}, parameters that are counted)");
                return Err(shape("slopes", expected, format!("{:?}", table.shape())));
            }
        };
        let entries: Vec<Entry> =
            entries.iter().enumerate().map(|(i, value)| entry(i, value)).collect::<PyResult<_>>()?;
        let answers = answers.unwrap_or_default();
        let answers: Vec<Answer> =
            answers.iter().enumerate().map(|(i, value)| answer(i, value)).collect::<PyResult<_>>()?;
        let weights = weights.map(|weights| weights.as_array().to_vec());
        let version = (*version.0).clone();
        let calibration = calibration.map(|calibration| calibration.0.clone());
        let calibration = calibration.as_deref();
        enter(py, |_| {
            core::Reader::new(version, n_outputs, &entries, &answers, &slopes, weights, calibration)
        })
        .map(|reader| FleetReader(Arc::new(reader)))
    }

    #[getter]
    fn version(&self) -> FleetVersion {
        FleetVersion(Arc::new(self.0.version().clone()))
    }

    #[getter]
    fn n_outputs(&self) -> usize {
        self.0.n_outputs()
    }

    #[getter]
    fn n_parameters(&self) -> usize {
        self.0.n_parameters()
    }

    #[getter]
    fn nbytes(&self) -> usize {
        self.0.nbytes()
    }

    /// The answers, and of how many shots the reading of an output was positive.
    fn values<'py>(&self, py: Python<'py>, packet: &[u8]) -> PyResult<Valued<'py>> {
        let outputs = self.0.n_outputs();
        let (values, positive) = py
            .detach(|| {
                let (packet, _) = self.packet(packet)?;
                let (mut values, mut positive, mut scratch) = (Vec::new(), Vec::new(), Scratch::default());
                for query in Query::all(self.0.version(), &packet.span, packet.body) {
                    values.extend_from_slice(self.0.values(&query, &mut scratch));
                    positive.extend((0..outputs).map(|output| self.0.positive(&query, output, &mut scratch)));
                }
                Ok((values, positive))
            })
            .or_raise()?;
        let rows = values.len() / outputs;
        let shape = [rows, outputs];
        Ok((values.into_pyarray(py).reshape(shape)?, positive.into_pyarray(py).reshape(shape)?))
    }

    /// The reading of every output in every shot.
    fn shots<'py>(&self, py: Python<'py>, packet: &[u8]) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let (shots, queries) = py
            .detach(|| {
                let (packet, teaching) = self.packet(packet)?;
                let (mut shots, mut scratch) = (Vec::new(), Scratch::default());
                for query in Query::all(self.0.version(), &packet.span, packet.body) {
                    shots.extend_from_slice(self.0.shots(&query, &mut scratch));
                }
                Ok((shots, teaching))
            })
            .or_raise()?;
        shots.into_pyarray(py).reshape([queries, self.0.value_shots(), self.0.n_outputs()])
    }

    /// What each query says of the gradient.
    fn contributions<'py>(
        &self,
        py: Python<'py>,
        packet: &[u8],
        weights: PyReadonlyArrayDyn<'py, f64>,
    ) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let (packet, teaching) = self.packet(packet).or_raise()?;
        let (weights, each) = self.weights(&weights, teaching)?;
        let settings = self.0.version().shape().settings.into();
        let found = py
            .detach(|| {
                let (mut found, mut scratch) = (Vec::new(), Scratch::default());
                for (i, query) in Query::all(self.0.version(), &packet.span, packet.body).enumerate() {
                    let weights = Weights::new(&weights[i * each..][..each], self.0.n_outputs(), settings)?;
                    found.extend_from_slice(self.0.contribution(&query, weights, &mut scratch));
                }
                Ok(found)
            })
            .or_raise()?;
        found.into_pyarray(py).reshape([teaching, self.0.n_parameters()])
    }

    /// The same, added up exactly.
    #[pyo3(signature = (packet, weights, losses=None))]
    fn tally(
        &self,
        py: Python<'_>,
        packet: &[u8],
        weights: PyReadonlyArrayDyn<'_, f64>,
        losses: Option<PyReadonlyArray1<'_, f64>>,
    ) -> PyResult<FleetTally> {
        let (packet, teaching) = self.packet(packet).or_raise()?;
        let (weights, _) = self.weights(&weights, teaching)?;
        let losses = column("losses", losses, teaching)?;
        py.detach(|| self.0.tally(&packet, &weights, losses.as_deref())).or_raise().map(FleetTally)
    }
}
