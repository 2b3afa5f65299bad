//! What survives a crash: the frames of a journal and a checkpoint, and the machine that they make.

use efl_fleet::journal::{Event, Frame, Replay};
use std::collections::BTreeSet;

/// What survives a crash. A commit is a transaction: all of it is there, or nothing.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) frames: Vec<Vec<u8>>,
    /// The numbers of their first events.
    firsts: Vec<u64>,
    /// A state.
    pub(super) checkpoint: Option<Vec<u8>>,
    /// The bits of the state behind each frame.
    pub(super) states: Vec<u32>,
}

/// What the frames of a disk say, without a machine: which queries were admitted, and in which packet.
pub(super) struct Written {
    pub(super) packets: Vec<Vec<u8>>,
    pub(super) versions: BTreeSet<u32>,
}

impl Disk {
    /// Writes a frame, and a state behind it; a frame of the same number is refused, as by a primary key.
    pub(super) fn insert(&mut self, frame: Vec<u8>, state: u32) -> bool {
        let first = Frame::decode(&frame).expect("a frame that was just made").first;
        let end = self.frames.last().map_or(0, |last| Frame::decode(last).expect("undamaged").end.next);
        assert!(first <= end, "a learner has left events out");
        if first < end {
            return false;
        }
        self.frames.push(frame);
        self.firsts.push(first);
        self.states.push(state);
        true
    }

    /// The machine of the journal, from its checkpoint or from its beginning.
    pub(super) fn replay(&self, from_checkpoint: bool) -> efl_core::Result<Replay> {
        let mut replay = match &self.checkpoint {
            Some(state) if from_checkpoint => Replay::from_state(state)?,
            _ => Replay::new(),
        };
        for frame in &self.frames[self.after(replay.at().next)..] {
            replay.frame(frame, |_, _, _, _| {})?;
        }
        Ok(replay)
    }

    /// The place of the first frame whose events are not before this one. Numbers are kept beside frames, as in a table.
    pub(super) fn after(&self, event: u64) -> usize {
        self.firsts.partition_point(|first| *first < event)
    }

    pub(super) fn written(&self) -> Written {
        let mut written = Written { packets: Vec::new(), versions: BTreeSet::new() };
        for frame in &self.frames {
            for event in Frame::decode(frame).expect("undamaged").events() {
                match event.expect("undamaged") {
                    Event::Submit(packet) => written.packets.push(packet.to_vec()),
                    Event::Publish(reader) | Event::Propose { reader, .. } => {
                        written.versions.insert(reader.version().number());
                    }
                    _ => {}
                }
            }
        }
        written
    }
}
