//! The machine of a learner. It has a lock, so that threads may share it.

use super::reader::FleetReader;
use super::tally::{FleetTally, means};
use super::{column, count, narrow, part, table};
use crate::boundary::{float, integer};
use crate::error::{OrRaise, shape};
use efl_fleet::journal::{Batch, Recorder};
use efl_fleet::machine::{self as state, Options, Outcome, Refusal};
use efl_fleet::pending::Ticket;
use numpy::{
    IntoPyArray, PyArray1, PyArray2, PyArray3, PyArrayMethods, PyReadonlyArray1, PyReadonlyArrayDyn,
    PyUntypedArrayMethods,
};
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBytes, PyDict};
use std::sync::Mutex;

type Numbers<'py> = PyReadonlyArray1<'py, u64>;

/// Tickets from three columns.
fn tickets(
    replica: &Numbers<'_>,
    incarnation: &PyReadonlyArray1<'_, u32>,
    sequence: &Numbers<'_>,
) -> PyResult<Vec<Ticket>> {
    let count = replica.len();
    for (name, found) in [("incarnation", incarnation.len()), ("sequence", sequence.len())] {
        if found != count {
            return Err(shape(name, format!("shape ({count},)"), format!("({found},)")));
        }
    }
    let columns = replica.as_array();
    let rows = columns.iter().zip(incarnation.as_array()).zip(sequence.as_array());
    let ticket = |((&replica, &incarnation), &sequence)| Ticket { replica, incarnation, sequence };
    Ok(rows.map(ticket).collect())
}

type Pooled<'py> = (Bound<'py, PyArray1<f64>>, Bound<'py, PyArray1<f64>>, u64, f64);

/// Bytes of a packet that is read with the GIL held: some ten microseconds.
const BRIEF: usize = 1 << 16;

/// The state of a learner.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct FleetMachine(Mutex<Recorder>);

type Tallies = Vec<(u32, u32, FleetTally)>;
type Found<'py> = (
    Bound<'py, PyArray1<u8>>,
    Bound<'py, PyArray1<u32>>,
    Bound<'py, PyArray2<f64>>,
    Bound<'py, PyArray2<i64>>,
);

impl FleetMachine {
    /// Does something with the state and its journal, without the GIL.
    fn change<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Recorder) -> T + Send) -> T {
        py.detach(|| work(&mut self.0.lock().expect("no call has panicked")))
    }

    /// The same for work of some microseconds. The GIL is kept, for to hand it to one of many threads that wait takes
    /// longer; unless somebody else is at the state.
    pub(super) fn briefly<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Recorder) -> T + Send) -> T {
        match self.0.try_lock() {
            Ok(mut recorder) => work(&mut recorder),
            Err(_) => self.change(py, work),
        }
    }

    /// Looks at the state, without the GIL.
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&state::Machine) -> T + Send) -> T {
        self.change(py, |recorder| work(recorder.machine()))
    }

    /// A frame of what has happened since the last one, and the number of the event behind it; without the GIL. The state
    /// is locked for a moment only: whoever waits for it holds up others.
    pub(super) fn batch(&self) -> Option<Batch> {
        let lock = || self.0.lock().expect("no call has panicked");
        let cut = lock().cut()?;
        let (frame, end) = cut.framed();
        lock().bring_back(cut, end);
        Some((frame, end.next))
    }

    /// Of the machine that a journal ends with.
    pub(super) fn of(recorder: Recorder) -> Self {
        FleetMachine(Mutex::new(recorder))
    }
}

/// A bound that has a default.
fn bound(name: &str, value: Option<&Bound<'_, PyAny>>, default: usize) -> PyResult<usize> {
    value.map_or(Ok(default), |value| integer(name, value, 1).map(|v| v as usize))
}

#[pymethods]
impl FleetMachine {
    #[new]
    #[pyo3(signature = (*, fleet, n_outputs, n_parameters, keep=None, pending=None, quota=None, buckets=None, replicas=None, record=false))]
    #[expect(clippy::too_many_arguments, reason = "named in Python")]
    fn new(
        fleet: &Bound<'_, PyAny>,
        n_outputs: &Bound<'_, PyAny>,
        n_parameters: &Bound<'_, PyAny>,
        keep: Option<&Bound<'_, PyAny>>,
        pending: Option<&Bound<'_, PyAny>>,
        quota: Option<&Bound<'_, PyAny>>,
        buckets: Option<&Bound<'_, PyAny>>,
        replicas: Option<&Bound<'_, PyAny>>,
        record: bool,
    ) -> PyResult<Self> {
        let options = Options {
            fleet: integer("fleet", fleet, 0)?,
            n_outputs: count("n_outputs", n_outputs)?,
            n_parameters: count("n_parameters", n_parameters)?,
            keep: bound("keep", keep, 64)?,
            pending: bound("pending", pending, 200_000)?,
            quota: bound("quota", quota, usize::MAX)?,
            buckets: buckets.map_or(Ok(1), |buckets| narrow("buckets", buckets, 1))?,
            replicas: bound("replicas", replicas, 1 << 24)?,
        };
        let recorder = match record {
            true => Recorder::new(options),
            false => state::Machine::new(options).map(Recorder::silent),
        };
        recorder.or_raise().map(FleetMachine::of)
    }

    fn join(&self, py: Python<'_>, replica: &Bound<'_, PyAny>) -> PyResult<u32> {
        let replica = integer("replica", replica, 0)?;
        self.change(py, |machine| machine.join(replica)).or_raise()
    }

    /// Other bounds of the same fleet.
    #[pyo3(signature = (*, keep, pending))]
    fn rebound(&self, py: Python<'_>, keep: &Bound<'_, PyAny>, pending: &Bound<'_, PyAny>) -> PyResult<()> {
        let (keep, pending) = (bound("keep", Some(keep), 1)?, bound("pending", Some(pending), 1)?);
        self.change(py, |machine| {
            let options = Options { keep, pending, ..machine.machine().options().clone() };
            machine.rebound(options)
        })
        .or_raise()
    }

    /// Serves a version; with a part of the queries it is a candidate.
    #[pyo3(signature = (reader, canary=None))]
    fn publish(
        &self,
        py: Python<'_>,
        reader: &FleetReader,
        canary: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let reader = reader.0.clone();
        let below = canary.map(|canary| part(&float("canary", canary)?)).transpose()?;
        self.change(py, |machine| match below {
            Some(below) => machine.propose(reader, below),
            None => machine.publish(reader),
        })
        .or_raise()
    }

    /// Serves the candidate, or gives it up; its number, if there is one.
    fn settle(&self, py: Python<'_>, is_good: bool) -> Option<u32> {
        self.change(py, |machine| machine.settle(is_good))
    }

    /// Why a packet was refused, the version that is served, the sequence that is expected next.
    fn submit(&self, py: Python<'_>, packet: &[u8]) -> (Option<&'static str>, Option<u32>, u64) {
        let take = |machine: &mut Recorder| machine.submit(packet);
        let receipt = if packet.len() <= BRIEF { self.briefly(py, take) } else { self.change(py, take) };
        (receipt.refused.map(Refusal::name), receipt.served, receipt.next)
    }

    /// Writes something down in the journal.
    fn note(&self, py: Python<'_>, kind: &Bound<'_, PyAny>, body: &[u8]) -> PyResult<()> {
        let kind = narrow("kind", kind, 0)?;
        self.change(py, |machine| machine.note(kind, body)).or_raise()
    }

    /// The number of the next event of the journal.
    #[getter]
    fn recorded(&self, py: Python<'_>) -> u64 {
        self.briefly(py, |machine| machine.recorded())
    }

    /// The events since the last frame.
    fn frame<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.change(py, |machine| machine.frame()).map(|frame| PyBytes::new(py, &frame))
    }

    /// The state behind the last frame.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, &self.change(py, |machine| machine.state()).or_raise()?))
    }

    /// All of the state, as bytes.
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.with(py, |machine| machine.to_bytes()))
    }

    /// The incarnation of a replica and the sequence that is expected next; zeros if it has not joined.
    fn expected(&self, py: Python<'_>, replica: &Bound<'_, PyAny>) -> PyResult<(u32, u64)> {
        let replica = integer("replica", replica, 0)?;
        Ok(self.with(py, |machine| machine.follows(replica)).unwrap_or_default())
    }

    /// What pending queries answered.
    fn values<'py>(
        &self,
        py: Python<'py>,
        replica: Numbers<'py>,
        incarnation: PyReadonlyArray1<'py, u32>,
        sequence: Numbers<'py>,
    ) -> PyResult<Found<'py>> {
        let tickets = tickets(&replica, &incarnation, &sequence)?;
        let found = self.with(py, |machine| (machine.values(&tickets), machine.options().n_outputs));
        let (found, outputs) = found;
        let code = |pending: &bool| {
            if *pending { Outcome::Taught as u8 } else { Outcome::UnknownOrUsed as u8 }
        };
        let codes: Vec<u8> = found.pending.iter().map(code).collect();
        let shape = [tickets.len(), outputs];
        let values = found.values.into_pyarray(py).reshape(shape)?;
        let positive = found.positive.into_pyarray(py).reshape(shape)?;
        Ok((codes.into_pyarray(py), found.versions.into_pyarray(py), values, positive))
    }

    /// The readings of every shot of pending queries.
    fn shots<'py>(
        &self,
        py: Python<'py>,
        replica: Numbers<'py>,
        incarnation: PyReadonlyArray1<'py, u32>,
        sequence: Numbers<'py>,
    ) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let tickets = tickets(&replica, &incarnation, &sequence)?;
        let found = self.with(py, |machine| (machine.shots(&tickets), machine.options().n_outputs));
        let (shots, each) = found.0.or_raise()?;
        shots.into_pyarray(py).reshape([tickets.len(), each, found.1])
    }

    /// Counts tickets with their weights: a code for each.
    #[pyo3(signature = (replica, incarnation, sequence, weights, losses=None))]
    fn weights<'py>(
        &self,
        py: Python<'py>,
        replica: Numbers<'py>,
        incarnation: PyReadonlyArray1<'py, u32>,
        sequence: Numbers<'py>,
        weights: PyReadonlyArrayDyn<'py, f64>,
        losses: Option<PyReadonlyArray1<'py, f64>>,
    ) -> PyResult<Bound<'py, PyArray1<u8>>> {
        let tickets = tickets(&replica, &incarnation, &sequence)?;
        let outputs = self.with(py, |machine| machine.options().n_outputs);
        let (weights, _) = table(&weights, tickets.len(), outputs, None)?;
        let losses = column("losses", losses, tickets.len())?;
        let outcomes =
            self.change(py, |machine| machine.weights(&tickets, &weights, losses.as_deref())).or_raise()?;
        let codes: Vec<u8> = outcomes.into_iter().map(|outcome| outcome as u8).collect();
        Ok(codes.into_pyarray(py))
    }

    fn tallies(
        &self,
        py: Python<'_>,
        first: &Bound<'_, PyAny>,
        last: &Bound<'_, PyAny>,
    ) -> PyResult<Tallies> {
        let (first, last) = (narrow("first", first, 0)?, narrow("last", last, 0)?);
        Ok(self.with(py, |machine| {
            let found = machine.tallies(first, last);
            found.map(|(version, bucket, tally)| (version, bucket, FleetTally(tally.clone()))).collect()
        }))
    }

    fn take(&self, py: Python<'_>, first: &Bound<'_, PyAny>, last: &Bound<'_, PyAny>) -> PyResult<Tallies> {
        let (first, last) = (narrow("first", first, 0)?, narrow("last", last, 0)?);
        let taken = self.change(py, |machine| machine.take(first, last));
        Ok(taken.into_iter().map(|(version, bucket, tally)| (version, bucket, FleetTally(tally))).collect())
    }

    /// Gradient, standard error, queries and mean age.
    #[pyo3(signature = (first, last, decay=None))]
    fn gradient<'py>(
        &self,
        py: Python<'py>,
        first: &Bound<'py, PyAny>,
        last: &Bound<'py, PyAny>,
        decay: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Pooled<'py>> {
        let (first, last) = (narrow("first", first, 0)?, narrow("last", last, 0)?);
        let decay = decay.map_or(Ok(1.0), |decay| float("decay", decay))?;
        let found = self.with(py, |machine| machine.gradient(first, last, decay)).or_raise()?;
        let (value, stderr) = means(py, found.gradient);
        Ok((value, stderr, found.queries, found.mean_age))
    }

    #[getter]
    fn versions(&self, py: Python<'_>) -> Vec<u32> {
        self.with(py, |machine| machine.versions().map(|reader| reader.version().number()).collect())
    }

    /// The number of the version that is served.
    #[getter]
    fn served(&self, py: Python<'_>) -> Option<u32> {
        self.with(py, |machine| machine.served())
    }

    /// The number of the version that came last.
    #[getter]
    fn newest(&self, py: Python<'_>) -> Option<u32> {
        self.with(py, |machine| machine.newest())
    }

    /// The number of the candidate, if there is one.
    #[getter]
    fn candidate(&self, py: Python<'_>) -> Option<u32> {
        self.with(py, |machine| machine.candidate().map(|candidate| candidate.version))
    }

    /// Fleet, outputs, parameters, versions that are read, and queries that may wait.
    #[getter]
    fn bounds(&self, py: Python<'_>) -> (u64, usize, usize, usize, usize) {
        let of = |options: &Options| {
            (options.fleet, options.n_outputs, options.n_parameters, options.keep, options.pending)
        };
        self.with(py, |machine| of(machine.options()))
    }

    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.with(py, |machine| machine.counts().named()).into_py_dict(py)
    }

    #[getter]
    fn nbytes(&self, py: Python<'_>) -> usize {
        self.with(py, |machine| machine.nbytes())
    }
}
