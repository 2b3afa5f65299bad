//! What has happened to a machine, as bytes: events in frames, and the machine that they make.
//!
//! ```text
//! Recorder: machine + events that are not yet framed ──frame──> log (one writes for all, then they are told)
//!                                                                  │ state, frames after it
//!                                                                  v
//!                                                     Replay: the same machine, bit for bit
//! ```
//!
//! A [`Recorder`] does what is asked of its machine and writes it down in the same order. [`Commits`] makes frames durable;
//! nobody is told that something has happened before its frame is. A [`Replay`] starts with a state or with nothing, and takes
//! the frames after it.
//!
//! | module | holds |
//! |---|---|
//! | `commits` | who waits, and who writes |
//! | `event` | what changes a machine, and its bytes |
//! | `frame` | events with their place, the checksum of the frame before, and one of its own |
//! | `log` | the file of frames, as it is written |
//! | `recorder` | a machine that is written down |
//! | `replay` | a machine that is made from what was written down |
//!
//! Invariant: frames that are accepted are all frames since the start, in their order, each as it was written: a frame that is
//! missing, doubled, torn or altered, or of another journal, is an error that says where.
//! Cost: a copy of each event; a replay costs what the events did.

mod commits;
mod event;
mod frame;
mod log;
mod recorder;
mod replay;

pub use commits::{Batch, Commits, Told};
pub use event::Event;
pub use frame::{Frame, MAX_BYTES, Mark};
pub use recorder::{Cut, Recorder};
pub use replay::{Applied, Replay};
