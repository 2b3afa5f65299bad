//! A machine that is made from its journal.

use super::event::Event;
use super::frame::{Frame, Mark};
use super::recorder::{Recorder, restored};
use crate::machine::{Machine, Outcome};
use crate::tally::Tally;
use efl_core::{Error, Result};

/// What an event has done.
#[derive(Debug, Clone, PartialEq)]
pub enum Applied {
    /// What its name says.
    Done,
    /// The incarnation of a replica.
    Joined(u32),
    /// The outcome of each weight.
    Weighed(Vec<Outcome>),
    /// Contributions: (version, bucket, tally).
    Taken(Vec<(u32, u32, Tally)>),
}

/// A machine on its way to where its journal ends.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    machine: Option<Machine>,
    at: Mark,
}

impl Replay {
    /// Before the first event.
    pub fn new() -> Self {
        Replay::default()
    }

    /// Goes on from a state of [`Recorder::state`].
    pub fn from_state(bytes: &[u8]) -> Result<Self> {
        let (machine, at) = restored(bytes)?;
        Ok(Replay { machine: Some(machine), at })
    }

    /// The place behind the last frame.
    pub fn at(&self) -> Mark {
        self.at
    }

    /// The machine, once it has begun.
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_ref()
    }

    /// Does what a frame says, and hands every event to `seen`: its number, what it was, what it has done, and the machine
    /// behind it. A frame that does not follow changes nothing.
    pub fn frame(
        &mut self,
        bytes: &[u8],
        mut seen: impl FnMut(u64, &Event<'_>, Applied, &Machine),
    ) -> Result<()> {
        let frame = Frame::decode(bytes).map_err(|error| self.located(error))?;
        if (frame.first, frame.before) != (self.at.next, self.at.chain) {
            let reason = match frame.first == self.at.next {
                true => format!("the frame of event {} follows another one", frame.first),
                false => format!(
                    "event {} follows event {}, some are missing or double",
                    frame.first, self.at.next
                ),
            };
            return Err(Error::corrupt("journal of a fleet", reason));
        }
        for (number, event) in (frame.first..).zip(frame.events()) {
            let event = event.map_err(|error| self.located(error))?;
            let applied = self.apply(&event).map_err(|error| {
                Error::corrupt("journal of a fleet", format!("event {number} ({}): {error}", event.name()))
            })?;
            let machine = self.machine.as_ref().expect("an event that was applied has a machine");
            seen(number, &event, applied, machine);
        }
        self.at = frame.end;
        Ok(())
    }

    fn located(&self, error: Error) -> Error {
        match error {
            Error::Corrupt { what, reason } => {
                Error::corrupt("journal of a fleet", format!("at event {}, {what}: {reason}", self.at.next))
            }
            other => other,
        }
    }

    fn apply(&mut self, event: &Event<'_>) -> Result<Applied> {
        let refused = |what: String| Error::corrupt("journal", what);
        if let Event::Open(options) = event {
            match &mut self.machine {
                Some(machine) => machine.rebound(options.clone())?,
                None => self.machine = Some(Machine::new(options.clone())?),
            }
            return Ok(Applied::Done);
        }
        let machine =
            self.machine.as_mut().ok_or_else(|| refused("it does not begin with its bounds".to_owned()))?;
        Ok(match event {
            Event::Open(_) | Event::Note { .. } => Applied::Done,
            Event::Join { replica } => Applied::Joined(machine.join(*replica)?),
            Event::Publish(reader) => {
                machine.publish(reader.clone())?;
                Applied::Done
            }
            Event::Propose { reader, below } => {
                machine.propose(reader.clone(), *below)?;
                Applied::Done
            }
            Event::Settle { is_good } => {
                machine.settle(*is_good).ok_or_else(|| refused("there is no candidate".to_owned()))?;
                Applied::Done
            }
            Event::Submit(packet) => {
                if let Some(refusal) = machine.submit(packet).refused {
                    return Err(refused(format!("the packet is refused: {}", refusal.name())));
                }
                Applied::Done
            }
            Event::Refuse(refusal) => {
                machine.refuse(*refusal);
                Applied::Done
            }
            Event::Weights { tickets, weights, losses } => {
                Applied::Weighed(machine.weights(tickets, weights, losses.as_deref())?)
            }
            Event::Take { first, last } => Applied::Taken(machine.take(*first, *last)),
        })
    }

    /// The machine, which goes on; `None` if nothing has begun.
    pub fn finish(self) -> Option<Recorder> {
        Some(Recorder::resumed(self.machine?, self.at))
    }
}
