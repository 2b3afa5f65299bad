//! Journals: the events of a machine, and the machine that they make.

use super::machine::FleetMachine;
use super::reader::FleetReader;
use super::tally::FleetTally;
use crate::error::{OrRaise, invalid};
use efl_fleet::journal::{Applied, Commits, Event, Frame, Replay};
use efl_fleet::machine::{Machine, Outcome};
use efl_fleet::pending::Ticket;
use numpy::IntoPyArray;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::path::PathBuf;
use std::sync::Mutex;

/// The place of a frame: its first event, how many there are, and the checksums of the frame before and of its own.
#[pyfunction]
pub(crate) fn fleet_frame(frame: &[u8]) -> PyResult<(u64, u32, u32, u32)> {
    let frame = Frame::decode(frame).or_raise()?;
    Ok((frame.first, frame.count, frame.before, frame.end.chain))
}

/// An event that was applied, without the GIL: what Python makes of it comes later.
struct Seen {
    number: u64,
    name: &'static str,
    what: What,
}

enum What {
    Nothing,
    Opened(u64, usize, usize),
    Joined(u64, u32),
    /// A version, the part of a candidate, and the queries that could have taught until then.
    Version(FleetReader, f64, u64),
    Settled(bool),
    Bytes(Vec<u8>),
    Text(&'static str),
    Weighed(Vec<Ticket>, Vec<f64>, Option<Vec<f64>>, Vec<Outcome>),
    Taken(u32, u32, Vec<(u32, u32, FleetTally)>),
    Note(u8, Vec<u8>),
}

impl Seen {
    fn new(number: u64, event: &Event<'_>, applied: Applied, machine: &Machine) -> Self {
        let served = || {
            let counts = machine.counts();
            counts.admitted - counts.answered_only
        };
        let what = match (event, applied) {
            (Event::Open(options), _) => What::Opened(options.fleet, options.keep, options.pending),
            (Event::Join { replica }, Applied::Joined(incarnation)) => What::Joined(*replica, incarnation),
            (Event::Publish(reader), _) => What::Version(FleetReader(reader.clone()), 0.0, served()),
            (Event::Propose { reader, below }, _) => {
                What::Version(FleetReader(reader.clone()), *below as f64 / 2f64.powi(64), served())
            }
            (Event::Settle { is_good }, _) => What::Settled(*is_good),
            (Event::Submit(packet), _) => What::Bytes(packet.to_vec()),
            (Event::Refuse(refusal), _) => What::Text(refusal.name()),
            (Event::Weights { tickets, weights, losses }, Applied::Weighed(outcomes)) => {
                What::Weighed(tickets.clone(), weights.clone(), losses.clone(), outcomes)
            }
            (Event::Take { first, last }, Applied::Taken(tallies)) => {
                let tally = |(version, bucket, tally)| (version, bucket, FleetTally(tally));
                What::Taken(*first, *last, tallies.into_iter().map(tally).collect())
            }
            (Event::Note { kind, body }, _) => What::Note(*kind, body.to_vec()),
            _ => What::Nothing,
        };
        Seen { number, name: event.name(), what }
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Event3> {
        let what = match self.what {
            What::Nothing => py.None(),
            What::Opened(fleet, keep, pending) => (fleet, keep, pending).into_py_any(py)?,
            What::Joined(replica, incarnation) => (replica, incarnation).into_py_any(py)?,
            What::Version(reader, canary, served) => (reader, canary, served).into_py_any(py)?,
            What::Settled(is_good) => is_good.into_py_any(py)?,
            What::Bytes(bytes) => PyBytes::new(py, &bytes).into_py_any(py)?,
            What::Text(text) => text.into_py_any(py)?,
            What::Taken(first, last, tallies) => (first, last, tallies).into_py_any(py)?,
            What::Note(kind, body) => (kind, PyBytes::new(py, &body)).into_py_any(py)?,
            What::Weighed(tickets, weights, losses, outcomes) => {
                let column = |of: fn(&Ticket) -> u64| tickets.iter().map(of).collect::<Vec<_>>();
                let incarnation: Vec<u32> = tickets.iter().map(|ticket| ticket.incarnation).collect();
                let codes: Vec<u8> = outcomes.into_iter().map(|outcome| outcome as u8).collect();
                (
                    column(|ticket| ticket.replica).into_pyarray(py),
                    incarnation.into_pyarray(py),
                    column(|ticket| ticket.sequence).into_pyarray(py),
                    weights.into_pyarray(py),
                    losses.map(|losses| losses.into_pyarray(py)),
                    codes.into_pyarray(py),
                )
                    .into_py_any(py)?
            }
        };
        Ok((self.number, self.name, what))
    }
}

type Event3 = (u64, &'static str, Py<PyAny>);

/// A machine on its way to where its journal ends.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct FleetReplay(Mutex<Replay>);

impl FleetReplay {
    fn with<T: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Replay) -> T + Send) -> T {
        py.detach(|| work(&mut self.0.lock().expect("no call has panicked")))
    }
}

#[pymethods]
impl FleetReplay {
    #[new]
    #[pyo3(signature = (state=None))]
    fn new(py: Python<'_>, state: Option<&[u8]>) -> PyResult<Self> {
        let replay = match state {
            None => Replay::new(),
            Some(state) => py.detach(|| Replay::from_state(state)).or_raise()?,
        };
        Ok(FleetReplay(Mutex::new(replay)))
    }

    /// The number of the next event.
    #[getter]
    fn next(&self, py: Python<'_>) -> u64 {
        self.with(py, |replay| replay.at().next)
    }

    /// Does what a frame says, and returns its events.
    fn frame(&self, py: Python<'_>, frame: &[u8]) -> PyResult<Vec<Event3>> {
        let seen = self.with(py, |replay| {
            let mut seen = Vec::new();
            let note = |number, event: &Event<'_>, applied, machine: &Machine| {
                seen.push(Seen::new(number, event, applied, machine));
            };
            replay.frame(frame, note).map(|()| seen)
        });
        seen.or_raise()?.into_iter().map(|seen| seen.into_python(py)).collect()
    }

    /// The machine, of which all that happens is written down.
    fn machine(&self, py: Python<'_>) -> PyResult<FleetMachine> {
        let recorder = self.with(py, |replay| replay.clone().finish());
        recorder.map(FleetMachine::of).ok_or_else(|| invalid("journal", "one that has begun", "an empty one"))
    }
}

/// The file of frames of a learner that runs, and who waits for it.
#[pyclass(frozen, module = "efl_core._native")]
pub(crate) struct FleetCommits(Commits);

#[pymethods]
impl FleetCommits {
    #[new]
    #[pyo3(signature = (path, *, key, end))]
    fn new(path: PathBuf, key: &[u8], end: u64) -> PyResult<Self> {
        if !(1..=64).contains(&key.len()) {
            return Err(invalid("key", "1 to 64 bytes", key.len()));
        }
        Ok(FleetCommits(Commits::open(&path, key, end)?))
    }

    /// Says how many events the file holds.
    fn resume(&self, durable: u64) {
        self.0.resume(durable);
    }

    /// Returns when all that has happened to a machine is on the disk, and says whether it is.
    fn wait(&self, py: Python<'_>, machine: &Bound<'_, FleetMachine>) -> bool {
        let machine = machine.get();
        let wanted = machine.briefly(py, |machine| machine.recorded());
        if self.0.durable() >= wanted {
            return true;
        }
        // Dropped with the GIL.
        let told = py.detach(|| self.0.wait(wanted, || machine.batch()));
        told.is_durable
    }

    #[getter]
    fn durable(&self) -> u64 {
        self.0.durable()
    }

    #[getter]
    fn end(&self) -> u64 {
        self.0.end()
    }

    #[getter]
    fn commits(&self) -> u64 {
        self.0.commits()
    }

    #[getter]
    fn failure(&self) -> Option<String> {
        self.0.failure()
    }

    fn fail(&self, reason: String) {
        self.0.fail(reason);
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }
}
