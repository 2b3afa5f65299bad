//! Events: everything that changes a machine, and notes of those who use one.
//!
//! An event is its kind (u8), the length of its body (u32), and the body:
//!
//! | kind | body |
//! |---|---|
//! | 0 open | sizes and bounds |
//! | 1 join | replica (u64) |
//! | 2 publish, 3 propose | the part of a candidate (u64, 0 for publish), a reader |
//! | 4 settle | whether the candidate was good (u8) |
//! | 5 submit | an admitted packet |
//! | 6 refuse | a reason (u8): of a refused packet, or of a join |
//! | 7 weights | tickets (replica u64, incarnation u32, sequence u64), weights, losses |
//! | 8 take | first and last version (u32 each) |
//! | 128 ... 255 note | whatever; the machine does not read it |
//!
//! Invariant: an event has one encoding.

use crate::machine::{Options, Refusal};
use crate::pending::Ticket;
use crate::reader::Reader;
use crate::stored::{Put, Take};
use efl_core::Result;
use std::sync::Arc;

/// What notes begin with.
pub(super) const FIRST_NOTE: u8 = 128;

/// Something that happens to a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// It begins, or goes on with other bounds.
    Open(Options),
    /// A life of a replica begins.
    Join {
        /// Its name.
        replica: u64,
    },
    /// A version is served.
    Publish(Arc<Reader>),
    /// A version is a candidate.
    Propose {
        /// The version.
        reader: Arc<Reader>,
        /// The part of queries that it answers, in 2^-64.
        below: u64,
    },
    /// The candidate is served, or given up.
    Settle {
        /// Whether it is served.
        is_good: bool,
    },
    /// A packet is admitted.
    Submit(&'a [u8]),
    /// A packet, or a join, is refused.
    Refuse(Refusal),
    /// Queries get their weights.
    Weights {
        /// Which queries.
        tickets: Vec<Ticket>,
        /// Their weights, equally many for each.
        weights: Vec<f64>,
        /// Their losses, if they are known.
        losses: Option<Vec<f64>>,
    },
    /// Contributions are handed out.
    Take {
        /// The first version.
        first: u32,
        /// The last version.
        last: u32,
    },
    /// What a user of the machine writes down.
    Note {
        /// What it is, from 128 on.
        kind: u8,
        /// What it says.
        body: &'a [u8],
    },
}

impl<'a> Event<'a> {
    /// Appends the event.
    pub(super) fn put(&self, put: &mut Put) {
        let start = put.0.len();
        put.u8(0);
        put.u32(0);
        let kind = match self {
            Event::Open(options) => {
                options.put(put);
                0
            }
            Event::Join { replica } => {
                put.u64(*replica);
                1
            }
            Event::Publish(reader) => {
                put.u64(0);
                reader.put(put);
                2
            }
            Event::Propose { reader, below } => {
                put.u64(*below);
                reader.put(put);
                3
            }
            Event::Settle { is_good } => {
                put.u8((*is_good).into());
                4
            }
            Event::Submit(packet) => {
                put.0.extend_from_slice(packet);
                5
            }
            Event::Refuse(refusal) => {
                put.u8(*refusal as u8);
                6
            }
            Event::Weights { tickets, weights, losses } => {
                put_weights(put, tickets, weights, losses.as_deref());
                7
            }
            Event::Take { first, last } => {
                put.u32(*first);
                put.u32(*last);
                8
            }
            Event::Note { kind, body } => {
                put.0.extend_from_slice(body);
                *kind
            }
        };
        let length = (put.0.len() - start - 5) as u32;
        put.0[start] = kind;
        put.0[start + 1..start + 5].copy_from_slice(&length.to_le_bytes());
    }

    /// Reads the next event.
    pub(super) fn take(take: &mut Take<'a>) -> Result<Self> {
        let (kind, length) = (take.u8()?, take.u32()?);
        let bytes = take.raw(length as usize)?;
        let mut body = Take::new("event of a journal", bytes);
        let event = match kind {
            0 => Event::Open(Options::read(&mut body)?),
            1 => Event::Join { replica: body.u64()? },
            2 | 3 => {
                let (below, reader) = (body.u64()?, Arc::new(Reader::read(&mut body)?));
                body.check((kind == 3) == (below > 0), || format!("a part of {below}"))?;
                if below == 0 { Event::Publish(reader) } else { Event::Propose { reader, below } }
            }
            4 => match body.u8()? {
                0 => Event::Settle { is_good: false },
                1 => Event::Settle { is_good: true },
                other => return Err(body.damaged(format!("a candidate is good to {other}"))),
            },
            5 => Event::Submit(body.raw(bytes.len())?),
            6 => {
                let code = body.u8()?;
                let known = Refusal::ALL.get(usize::from(code));
                Event::Refuse(*known.ok_or_else(|| body.damaged(format!("reason {code} does not exist")))?)
            }
            7 => take_weights(&mut body)?,
            8 => Event::Take { first: body.u32()?, last: body.u32()? },
            FIRST_NOTE.. => Event::Note { kind, body: body.raw(bytes.len())? },
            _ => return Err(take.damaged(format!("events of kind {kind} do not exist"))),
        };
        body.end()?;
        Ok(event)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Event::Open(_) => "open",
            Event::Join { .. } => "join",
            Event::Publish(_) => "publish",
            Event::Propose { .. } => "propose",
            Event::Settle { .. } => "settle",
            Event::Submit(_) => "submit",
            Event::Refuse(_) => "refuse",
            Event::Weights { .. } => "weights",
            Event::Take { .. } => "take",
            Event::Note { .. } => "note",
        }
    }
}

fn put_weights(put: &mut Put, tickets: &[Ticket], weights: &[f64], losses: Option<&[f64]>) {
    put.len(tickets.len());
    for Ticket { replica, incarnation, sequence } in tickets {
        put.u64(*replica);
        put.u32(*incarnation);
        put.u64(*sequence);
    }
    put.f64s(weights);
    put.u8(losses.is_some().into());
    if let Some(losses) = losses {
        put.f64s(losses);
    }
}

fn take_weights<'a>(body: &mut Take<'_>) -> Result<Event<'a>> {
    let ticket = |body: &mut Take<'_>| {
        Ok(Ticket { replica: body.u64()?, incarnation: body.u32()?, sequence: body.u64()? })
    };
    let tickets = (0..body.len(20)?).map(|_| ticket(body)).collect::<Result<Vec<_>>>()?;
    let weights = body.f64s()?;
    let losses = match body.u8()? {
        0 => None,
        1 => Some(body.f64s()?),
        other => return Err(body.damaged(format!("losses are there {other} times"))),
    };
    Ok(Event::Weights { tickets, weights, losses })
}
