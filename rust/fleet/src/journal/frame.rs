//! Frames: events that become durable together.
//!
//! All numbers are little-endian.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `EFLJ`, format (u16) = 2, reserved (u16) = 0 |
//! | 8 | length of the frame in bytes (u64) |
//! | 16 | number of its first event (u64) |
//! | 24 | events (u32), checksum of the frame before (u32), 0 for the first |
//! | 32 | the events |
//! | end - 4 | CRC-32 of everything before |
//!
//! Invariant: a frame follows exactly one other frame, by number and by checksum.

use super::event::Event;
use crate::stored::{Put, Take};
use efl_core::{Error, Result};

const MAGIC: [u8; 4] = *b"EFLJ";
/// Versions may be calibrated since 2; else it is as 1.
const FORMAT: u16 = 2;
const HEADER: usize = 32;
const TRAILER: usize = 4;
/// Bytes of a frame, from which on its events are to be written without waiting for more.
pub const MAX_BYTES: usize = 1 << 20;

/// A place in a journal: behind some frame.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// The number of the next event.
    pub next: u64,
    /// The checksum of the last frame.
    pub chain: u32,
}

/// A frame whose bytes are intact.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The number of its first event.
    pub first: u64,
    /// Number of events.
    pub count: u32,
    /// The checksum of the frame before.
    pub before: u32,
    /// The place behind it.
    pub end: Mark,
    events: &'a [u8],
}

/// The frame of some events, and the place behind it.
pub(super) fn framed(at: Mark, count: u32, events: &[u8]) -> (Vec<u8>, Mark) {
    let length = HEADER + events.len() + TRAILER;
    let mut put = Put(Vec::with_capacity(length));
    put.0.extend_from_slice(&MAGIC);
    put.u16(FORMAT);
    put.u16(0);
    put.len(length);
    put.u64(at.next);
    put.u32(count);
    put.u32(at.chain);
    put.0.extend_from_slice(events);
    let chain = crc32fast::hash(&put.0);
    put.u32(chain);
    (put.0, Mark { next: at.next + u64::from(count), chain })
}

impl<'a> Frame<'a> {
    /// Reads the header of a frame, and checks that all of it is there.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        let mut take = Take::new("frame of a journal", bytes);
        let magic = take.array::<4>()?;
        take.check(magic == MAGIC, || "it does not begin with the mark of a frame".to_owned())?;
        let (format, reserved) = (take.u16()?, take.u16()?);
        if format > FORMAT {
            let (what, found) = ("journal of a fleet".into(), format.into());
            return Err(Error::NewerFormat { what, found, supported: FORMAT.into() });
        }
        take.check(format >= 1 && reserved == 0, || format!("format {format} does not exist"))?;
        let length = take.size()?;
        let whole = length == bytes.len() && length >= HEADER + TRAILER;
        take.check(whole, || format!("it claims {length} bytes and has {}", bytes.len()))?;
        let (first, count, before) = (take.u64()?, take.u32()?, take.u32()?);
        let events = take.raw(length - HEADER - TRAILER)?;
        let chain = take.u32()?;
        let sum = crc32fast::hash(&bytes[..length - TRAILER]);
        take.check(sum == chain, || "the checksum does not match (truncated or altered)".to_owned())?;
        let next = first.checked_add(count.into()).ok_or_else(|| take.damaged("its numbers end"))?;
        Ok(Frame { first, count, before, end: Mark { next, chain }, events })
    }

    /// Its events, one after the other.
    pub fn events(&self) -> impl Iterator<Item = Result<Event<'a>>> + use<'a> {
        let (mut take, mut left) = (Take::new("frame of a journal", self.events), self.count);
        std::iter::from_fn(move || {
            if left == 0 {
                // Bytes behind the last event, once.
                return std::mem::replace(&mut take, Take::new("frame of a journal", &[]))
                    .end()
                    .err()
                    .map(Err);
            }
            left -= 1;
            let event = Event::take(&mut take);
            if event.is_err() {
                (left, take) = (0, Take::new("frame of a journal", &[]));
            }
            Some(event)
        })
    }
}
