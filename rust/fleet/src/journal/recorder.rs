//! A machine whose changes are written down as they happen.

use super::event::{Event, FIRST_NOTE};
use super::frame::{Mark, framed};
use crate::machine::{Machine, Options, Outcome, Receipt, Refusal};
use crate::pending::Ticket;
use crate::reader::Reader;
use crate::stored::{Put, opened, sealed};
use crate::tally::Tally;
use efl_core::{Error, Result};
use std::sync::Arc;

pub(super) const MARK: [u8; 8] = *b"EFLSTAT\0";
/// Versions may be calibrated since 2; else it is as 1.
pub(super) const FORMAT: u32 = 2;

/// A machine, and the events since the last frame.
///
/// Invariant: events are in the order in which the machine has changed; without a journal there are none.
#[derive(Debug)]
pub struct Recorder {
    machine: Machine,
    /// Behind the last frame; `None` if nothing is written down.
    at: Option<Mark>,
    events: Put,
    count: u32,
    /// Whether some events are being framed, see [`Recorder::cut`].
    is_cut: bool,
}

/// Events that are to be in one frame.
#[derive(Debug)]
pub struct Cut {
    at: Mark,
    count: u32,
    events: Vec<u8>,
}

impl Cut {
    /// Their frame, and the place behind it.
    pub fn framed(&self) -> (Vec<u8>, Mark) {
        framed(self.at, self.count, &self.events)
    }
}

impl Recorder {
    /// A machine of which nothing is written down.
    pub fn silent(machine: Machine) -> Self {
        Recorder { machine, at: None, events: Put::default(), count: 0, is_cut: false }
    }

    /// A machine that begins, and its journal.
    pub fn new(options: Options) -> Result<Self> {
        let machine = Machine::new(options.clone())?;
        let mut recorder =
            Recorder { machine, at: Some(Mark::default()), events: Put::default(), count: 0, is_cut: false };
        recorder.record(|| Event::Open(options));
        Ok(recorder)
    }

    /// A machine that goes on where its journal ends.
    pub fn resumed(machine: Machine, at: Mark) -> Self {
        Recorder { machine, at: Some(at), events: Put::default(), count: 0, is_cut: false }
    }

    fn record<'a>(&mut self, event: impl FnOnce() -> Event<'a>) {
        if self.at.is_some() {
            event().put(&mut self.events);
            self.count += 1;
        }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// See [`Machine::rebound`]; bounds that are the same are no event.
    pub fn rebound(&mut self, options: Options) -> Result<()> {
        if *self.machine.options() == options {
            return Ok(());
        }
        self.machine.rebound(options.clone())?;
        self.record(|| Event::Open(options));
        Ok(())
    }

    /// See [`Machine::join`].
    pub fn join(&mut self, replica: u64) -> Result<u32> {
        let found = self.machine.join(replica);
        match found {
            Ok(_) => self.record(|| Event::Join { replica }),
            Err(_) => self.record(|| Event::Refuse(Refusal::OverCapacity)),
        }
        found
    }

    /// See [`Machine::publish`].
    pub fn publish(&mut self, reader: Arc<Reader>) -> Result<()> {
        self.machine.publish(reader.clone())?;
        self.record(|| Event::Publish(reader));
        Ok(())
    }

    /// See [`Machine::propose`].
    pub fn propose(&mut self, reader: Arc<Reader>, below: u64) -> Result<()> {
        self.machine.propose(reader.clone(), below)?;
        self.record(|| Event::Propose { reader, below });
        Ok(())
    }

    /// See [`Machine::settle`].
    pub fn settle(&mut self, is_good: bool) -> Option<u32> {
        let found = self.machine.settle(is_good);
        if found.is_some() {
            self.record(|| Event::Settle { is_good });
        }
        found
    }

    /// See [`Machine::submit`]. A packet that is refused is counted and not kept.
    pub fn submit(&mut self, packet: &[u8]) -> Receipt {
        let receipt = self.machine.submit(packet);
        match receipt.refused {
            None => self.record(|| Event::Submit(packet)),
            Some(refusal) => self.record(|| Event::Refuse(refusal)),
        }
        receipt
    }

    /// See [`Machine::weights`].
    pub fn weights(
        &mut self,
        tickets: &[Ticket],
        weights: &[f64],
        losses: Option<&[f64]>,
    ) -> Result<Vec<Outcome>> {
        let outcomes = self.machine.weights(tickets, weights, losses)?;
        self.record(|| Event::Weights {
            tickets: tickets.to_vec(),
            weights: weights.to_vec(),
            losses: losses.map(<[f64]>::to_vec),
        });
        Ok(outcomes)
    }

    /// See [`Machine::take`].
    pub fn take(&mut self, first: u32, last: u32) -> Vec<(u32, u32, Tally)> {
        let taken = self.machine.take(first, last);
        if !taken.is_empty() {
            self.record(|| Event::Take { first, last });
        }
        taken
    }

    /// Writes something down between what happens to the machine.
    pub fn note(&mut self, kind: u8, body: &[u8]) -> Result<()> {
        if kind < FIRST_NOTE {
            return Err(Error::invalid("kind", format!("{FIRST_NOTE} to 255"), kind.to_string()));
        }
        if u32::try_from(body.len()).is_err() {
            return Err(Error::invalid("body", "less than 4 GiB", format!("{} bytes", body.len())));
        }
        self.record(|| Event::Note { kind, body });
        Ok(())
    }

    /// How many events there have been; those in frames and the others.
    pub fn recorded(&self) -> u64 {
        self.at.map_or(0, |at| at.next + u64::from(self.count))
    }

    /// Bytes of events that are in no frame.
    pub fn unframed(&self) -> usize {
        self.events.0.len()
    }

    /// The events since the last frame, if there are any: those that come meanwhile go into the next one. They are to be
    /// brought back, with the place behind their frame, before there is another.
    pub fn cut(&mut self) -> Option<Cut> {
        let at = self.at.filter(|_| self.count > 0 && !self.is_cut)?;
        let cut = Cut { at, count: self.count, events: std::mem::take(&mut self.events.0) };
        // Its checksum is not known yet.
        self.at = Some(Mark { next: at.next + u64::from(self.count), chain: at.chain });
        (self.count, self.is_cut) = (0, true);
        Some(cut)
    }

    /// Takes events back that are in a frame, which ends at some place.
    pub fn bring_back(&mut self, cut: Cut, end: Mark) {
        (self.at, self.is_cut) = (Some(end), false);
        if self.events.0.is_empty() {
            // Their room is for others; that of one large frame is not to be paid for forever.
            self.events.0 = cut.events;
            self.events.0.clear();
            self.events.0.shrink_to(super::MAX_BYTES);
        }
    }

    /// The frame of the events since the last one, if there are any.
    pub fn frame(&mut self) -> Option<Vec<u8>> {
        let cut = self.cut()?;
        let (frame, end) = cut.framed();
        self.bring_back(cut, end);
        Some(frame)
    }

    /// The state behind the last frame, with its place; only what is framed may be kept as a state.
    pub fn state(&self) -> Result<Vec<u8>> {
        let Some(at) = self.at.filter(|_| self.count == 0 && !self.is_cut) else {
            return Err(Error::invalid(
                "state",
                "a journal, and no event outside of a frame",
                self.count.to_string(),
            ));
        };
        let mut put = Put::default();
        put.u64(at.next);
        put.u32(at.chain);
        self.machine.put(&mut put);
        Ok(sealed(MARK, FORMAT, put))
    }
}

/// What [`Recorder::state`] wrote.
pub(super) fn restored(bytes: &[u8]) -> Result<(Machine, Mark)> {
    let mut take = opened("checkpoint of a journal", MARK, FORMAT, bytes)?;
    let at = Mark { next: take.u64()?, chain: take.u32()? };
    let machine = Machine::read(&mut take)?;
    take.end()?;
    Ok((machine, at))
}
